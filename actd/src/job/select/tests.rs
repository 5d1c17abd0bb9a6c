//! Selectors: examples, and rules that hold for any.

use proptest::prelude::*;

use super::super::Seen;
use super::*;

fn job(key: u64, id: Option<u64>, name: &str, arcstate: Option<&str>) -> Job {
    let phase = id.map_or(Phase::Queued, |id| Phase::Active { id });
    let submitted = Time(1000 * i64::try_from(key).unwrap());
    Job {
        name: (!name.is_empty()).then(|| name.into()),
        batch: Some(if key.is_multiple_of(2) { "even" } else { "odd" }.into()),
        seen: id.map(|id| Seen {
            arcstate: Arcstate::from_word(arcstate),
            state: "".into(),
            run: format!("https://ce.example.org:443/arex/rest/1.0/jobs/hash{id}").into(),
            since: Time(0),
        }),
        ..Job::new(Key(key), Origin::Submitted, 1, phase, submitted)
    }
}

struct World(BTreeMap<Key, Arc<Job>>);

fn world(jobs: Vec<Job>) -> World {
    World(jobs.into_iter().map(|j| (j.key, Arc::new(j))).collect())
}

impl World {
    fn select(&self, filter: &Filter) -> Result<Selection, BadSelector> {
        let on_server = self.0.values().filter(|j| j.on_server());
        let by_id = on_server.filter_map(|j| Some((j.id()?, j.key))).collect();
        Ok(Parsed::new(filter)?.select(Jobs { by_key: &self.0, by_id: &by_id }))
    }

    fn keys(&self, select: &[&str]) -> Vec<u64> {
        let filter = Filter { select: select.iter().map(|s| (*s).to_owned()).collect(), ..Filter::default() };
        self.select(&filter).unwrap().keys.into_iter().map(|k| k.0).collect()
    }
}

fn four() -> World {
    world(vec![
        job(1, Some(101), "alpha", Some("done")),
        job(2, Some(102), "beta_1", Some("running")),
        job(3, Some(103), "a,b", Some("Done")),
        job(4, None, "", None),
    ])
}

#[test]
fn every_form_of_term() {
    let w = four();
    assert_eq!(w.keys(&["101"]), [1]);
    assert_eq!(w.keys(&["101-103"]), [1, 2, 3]);
    assert_eq!(w.keys(&["101-103:2"]), [1, 3]);
    assert_eq!(w.keys(&["1-18446744073709551615"]), [1, 2, 3]);
    assert_eq!(w.keys(&["j4", "102"]), [2, 4]);
    assert_eq!(w.keys(&["last"]), [4]);
    assert_eq!(w.keys(&["last:2"]), [3, 4]);
    assert_eq!(w.keys(&["@odd"]), [1, 3]);
    assert_eq!(w.keys(&["https://ce.example.org:443/arex/rest/1.0/jobs/hash102/"]), [2]);
    assert_eq!(w.keys(&["hash102"]), [2]);
    assert_eq!(w.keys(&["alpha"]), [1]);
    assert_eq!(w.keys(&["a,b"]), [3]);
    assert_eq!(w.keys(&["101, 102,j4"]), [1, 2, 4]);
    assert_eq!(w.keys(&[]), [1, 2, 3, 4]);
}

#[test]
fn an_id_also_names_a_job_that_is_stored_here() {
    let mut stored = job(1, Some(7), "x", Some("done"));
    stored.phase = Phase::Stored { id: 7, dir: None, at: Time(0) };
    assert_eq!(world(vec![stored]).keys(&["7"]), [1]);
}

#[test]
fn what_names_no_job_is_told() {
    let w = four();
    let filter = Filter { select: vec!["7,101,zeta".into(), "500-600".into()], ..Filter::default() };
    let s = w.select(&filter).unwrap();
    assert_eq!(s.keys, [Key(1)]);
    assert_eq!(s.missing, ["7", "zeta", "500-600"]);
}

#[test]
fn the_history_is_asked_only_where_it_can_answer() {
    let asks = |select: &[&str], missing: &[&str]| {
        let filter = Filter { select: select.iter().map(|s| (*s).to_owned()).collect(), ..Filter::default() };
        let missing: Vec<String> = missing.iter().map(|s| (*s).to_owned()).collect();
        Parsed::new(&filter).unwrap().asks_history(&missing)
    };
    assert!(asks(&[], &[]) && asks(&["a-name"], &[]) && asks(&["1-9"], &[]) && asks(&["5,@b"], &[]));
    assert!(!asks(&["5"], &[]) && !asks(&["5,6", "j7"], &[]) && !asks(&["last:3"], &["last:3"]));
    assert!(asks(&["5", "6"], &["6"]) && asks(&["j5,j6"], &["j6"]));
    let keys = |select: &[&str]| {
        let filter = Filter { select: select.iter().map(|s| (*s).to_owned()).collect(), ..Filter::default() };
        Parsed::new(&filter).unwrap().keys()
    };
    assert_eq!(keys(&["j5", "j7,j2"]), Some([Key(2), Key(5), Key(7)].into()));
    assert_eq!((keys(&["j5", "6"]), keys(&[])), (None, None));
}

#[test]
fn what_could_mean_every_job_is_an_error() {
    for bad in [
        "",
        " ",
        "5-3",
        "1-",
        "-",
        "1,,2",
        ",",
        "1-2-3",
        "1:2",
        "1-9:0",
        "last:0",
        "last:x",
        "@",
        "99999999999999999999",
    ] {
        if bad == "-" {
            // No digits: a name, which names no job.
            continue;
        }
        assert!(Term::parse(bad).is_err(), "{bad:?} was read as {:?}", Term::parse(bad));
    }
}

#[test]
fn names_are_filtered_as_the_server_does() {
    let w = four();
    let by = |name: &str| {
        let f = Filter { name: Some(name.into()), ..Filter::default() };
        w.select(&f).unwrap().keys.into_iter().map(|k| k.0).collect::<Vec<_>>()
    };
    assert_eq!(by("alph"), [1]);
    assert_eq!(by("Alph"), [0u64; 0]);
    assert_eq!(by("_"), [2]);
    assert_eq!(by("%"), [1, 2, 3]);
    assert_eq!(by("b%a_"), [2]);
}

#[test]
fn states_are_exact_in_any_case_and_an_empty_one_matches_none() {
    let w = four();
    let by = |states: &[&str]| {
        let f = Filter { states: states.iter().map(|s| (*s).to_owned()).collect(), ..Filter::default() };
        w.select(&f).unwrap().keys.into_iter().map(|k| k.0).collect::<Vec<_>>()
    };
    assert_eq!(by(&["DONE"]), [1, 3]);
    assert_eq!(by(&["done", "running"]), [1, 2, 3]);
    assert_eq!(by(&["don"]), [0u64; 0]);
    assert_eq!(by(&[""]), [0u64; 0]);
}

#[test]
fn since_is_a_moment() {
    let w = four();
    let f = Filter { since: Some("1970-01-01T00:00:03Z".into()), ..Filter::default() };
    assert_eq!(w.select(&f).unwrap().keys, [Key(3), Key(4)]);
    assert!(w.select(&Filter { since: Some("2h".into()), ..Filter::default() }).is_err());
}

#[test]
fn verbs_take_what_the_server_takes() {
    let in_state = |word: &str| job(1, Some(1), "x", Some(word));
    for (word, kill, clean, get, fetch, resubmit) in [
        ("running", true, false, false, false, false),
        ("done", false, true, true, false, false),
        ("failed", false, true, false, true, true),
        ("donefailed", false, true, true, false, true),
        ("cancelled", false, true, false, false, false),
        ("lost", false, true, false, false, false),
        ("finished", false, false, false, false, false),
        ("cancelling", false, false, false, false, false),
        ("toresubmit", false, false, false, false, false),
    ] {
        let j = in_state(word);
        let is = (can_kill(&j), can_clean(&j), can_get(&j), can_fetch(&j), can_resubmit(&j));
        assert_eq!(is, (kill, clean, get, fetch, resubmit), "{word}");
    }
    assert!(can_kill(&job(1, None, "x", None)));
}

proptest! {
    #[test]
    fn parsing_never_panics_and_never_gives_an_empty_range(text in ".{0,40}") {
        if let Ok(Term::Range(from, to, step)) = Term::parse(&text) {
            prop_assert!(from <= to && step > 0);
        }
    }

    #[test]
    fn a_range_selects_exactly_its_members(from in 0u64..300, length in 0u64..300, step in 1u64..20, ids in prop::collection::btree_set(0u64..600, 0..60)) {
        let w = world(ids.iter().map(|id| job(id + 1, Some(*id), "", None)).collect());
        let to = from + length;
        let expected: Vec<u64> = ids.iter().copied().filter(|id| (from..=to).step_by(usize::try_from(step).unwrap()).any(|n| n == *id)).map(|id| id + 1).collect();
        prop_assert_eq!(w.keys(&[&format!("{from}-{to}:{step}")]), expected);
    }

    #[test]
    fn a_selection_has_only_jobs_that_are_there_each_once(terms in prop::collection::vec("[0-9a-z@,:-]{1,8}", 0..5)) {
        let w = four();
        let filter = Filter { select: terms, ..Filter::default() };
        if let Ok(s) = w.select(&filter) {
            prop_assert!(s.keys.windows(2).all(|p| p[0] < p[1]));
            prop_assert!(s.keys.iter().all(|k| w.0.contains_key(k)));
        }
    }
}
