//! The core under any sequence of events: what must hold whatever happens in whatever order.

mod cases;
mod sent;

use std::path::PathBuf;

use act_proto::jobs::Origin;
use proptest::prelude::*;

use super::apply::{Input, Kill, Row, Wish, Words, apply, sweep_later};
use super::fault::{Class, Fault};
use super::next::{Action, Next, Policy, next};
use super::recover::{clock_set_back, recover};
use super::{Arcstate, Delivery, Job, Key, Options, Outcome, Phase, Time};

const POLICY: Policy =
    Policy { download: true, fetch_failed: false, keep_ms: 14 * 86_400_000, keep_failed_ms: 14 * 86_400_000 };

pub(crate) fn new_job(inputs: bool, webdav: bool) -> Job {
    Job {
        name: Some("n".into()),
        webdav: webdav.then(|| "https://dav/x".into()),
        options: Options { has_inputs: inputs, ..Options::default() },
        ..Job::new(Key(7), Origin::Submitted, 1, Phase::Queued, Time(1_000_000))
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Transient),
        Just(Class::Ambiguous),
        Just(Class::Auth),
        Just(Class::Rejected),
        Just(Class::NoRow),
        Just(Class::DiskFull),
        Just(Class::Local),
    ]
}

fn result<T: Clone + std::fmt::Debug>(ok: impl Strategy<Value = T>) -> impl Strategy<Value = Result<T, Fault>> {
    prop_oneof![3 => ok.prop_map(Ok), 2 => class().prop_map(|c| Err(Fault::new(c, "why")))]
}

fn arcstate() -> impl Strategy<Value = Arcstate> {
    let words = [
        "tosubmit",
        "submitting",
        "submitted",
        "running",
        "finished",
        "done",
        "failed",
        "donefailed",
        "cancelled",
        "lost",
        "odd",
    ];
    prop_oneof![Just(Arcstate::None), prop::sample::select(words.to_vec()).prop_map(|w| Arcstate::from_word(Some(w)))]
}

fn row() -> impl Strategy<Value = Row> {
    (arcstate(), 0..3_u8, any::<bool>()).prop_map(|(arcstate, run, named)| Row {
        id: 5,
        name: named.then(|| "n".to_owned()),
        arcstate,
        state: Some("Running".into()),
        run: (run > 0).then(|| format!("https://ce/jobs/r{run}")),
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let parent = prop::sample::select(vec!["/d", "/e", "/r"]);
    let exclude = prop::option::of(Just("gmlog/".to_owned()));
    (parent, any::<bool>(), any::<bool>(), exclude).prop_map(|(parent, noclean, copy, exclude)| Delivery {
        parent: parent.into(),
        use_jobname: false,
        noclean,
        copy,
        exclude: exclude.into_iter().collect(),
        operation: 1,
    })
}

fn kill() -> Input {
    Input::Wish(Wish::Kill { webdav: None, is_idle: false })
}

/// What a step always comes to, in a world that does not change.
#[derive(Debug, Clone)]
struct Answers {
    created: Result<u64, Fault>,
    uploaded: Result<(), Fault>,
    confirmed: Result<Option<String>, Fault>,
    looked: Result<Words, Fault>,
    retrieved: Result<Option<PathBuf>, Fault>,
    cleaned: Result<(), Fault>,
    killed: Result<Option<Kill>, Fault>,
    asked: Result<bool, Fault>,
    swept: Result<(), Fault>,
    delivered: Result<PathBuf, Fault>,
}

fn answers() -> impl Strategy<Value = Answers> {
    let server = (
        result(Just(5_u64)),
        result(Just(())),
        result(Just(None)),
        result(Just(Words::default())),
        result(prop::option::of((arcstate(), any::<bool>()).prop_map(|(arcstate, gone)| Kill { arcstate, gone }))),
        result(any::<bool>()),
    );
    let here = (
        result(prop::option::of(Just(PathBuf::from("/r/h")))),
        result(Just(())),
        result(Just(())),
        result(Just("/d/h".into())),
    );
    (server, here).prop_map(|((created, uploaded, confirmed, looked, killed, asked), here)| {
        let (retrieved, cleaned, swept, delivered) = here;
        Answers { created, uploaded, confirmed, looked, retrieved, cleaned, killed, asked, swept, delivered }
    })
}

impl Answers {
    fn to(&self, action: Action, id: u64) -> Input {
        let all = self.clone();
        match action {
            Action::Create => Input::Created(all.created),
            Action::Upload => Input::Uploaded(all.uploaded),
            Action::Confirm => Input::Confirmed(all.confirmed),
            Action::Look => Input::Looked(all.looked),
            Action::Retrieve => Input::Retrieved(all.retrieved),
            Action::Clean => Input::Cleaned(all.cleaned),
            Action::Kill => Input::Killed(all.killed),
            Action::Fetch => Input::Fetched(all.asked),
            Action::Resubmit => Input::Resubmitted(all.asked),
            Action::Deliver => Input::Delivered(all.delivered),
            Action::Discard | Action::Expire => Input::Discarded(all.swept),
            Action::CancelRow => Input::RowCancelled(id, all.swept.map(|()| true)),
            Action::Sweep => Input::Swept(id, all.swept),
        }
    }
}

fn begin(job: &mut Job, action: Action, now: Time) {
    match action {
        Action::Create => apply(job, Input::BeginCreate { floor: 1 }, now),
        Action::Retrieve => {
            let parent = job.delivery.as_ref().map_or_else(|| "/r".into(), |d| d.parent.clone());
            apply(job, Input::BeginRetrieve { parent }, now);
        }
        other => apply(job, Input::Begin(other), now),
    }
}

fn input() -> impl Strategy<Value = Input> {
    let action = prop::sample::select(vec![
        Action::Upload,
        Action::Confirm,
        Action::Clean,
        Action::Deliver,
        Action::Expire,
        Action::Kill,
        Action::Look,
    ]);
    prop_oneof![
        Just(Input::BeginCreate { floor: 3 }),
        Just(Input::BeginRetrieve { parent: "/r".into() }),
        action.prop_map(Input::Begin),
        result(Just(5_u64)).prop_map(Input::Created),
        result(Just(())).prop_map(Input::Uploaded),
        result(Just(Some("n".to_owned()))).prop_map(Input::Confirmed),
        row().prop_map(Input::Listed),
        prop::option::of((0..3_000_000_i64).prop_map(Time)).prop_map(|empty_at| Input::Missing { empty_at }),
        result(Just(Words::default())).prop_map(Input::Looked),
        result(prop::option::of(Just(PathBuf::from("/r/h")))).prop_map(Input::Retrieved),
        result(Just(())).prop_map(Input::Cleaned),
        row().prop_map(Input::NotCleaned),
        result(prop::option::of((arcstate(), any::<bool>()).prop_map(|(arcstate, gone)| Kill { arcstate, gone })))
            .prop_map(Input::Killed),
        result(any::<bool>()).prop_map(Input::Fetched),
        result(any::<bool>()).prop_map(Input::Resubmitted),
        result(any::<bool>()).prop_map(|r| Input::RowCancelled(5, r)),
        row().prop_map(Input::ListedUntaken),
        result(Just(())).prop_map(|r| Input::Swept(5, r)),
        result(Just(PathBuf::from("/d/h"))).prop_map(Input::Delivered),
        result(Just(())).prop_map(Input::Discarded),
        delivery().prop_map(|delivery| Input::Wish(Wish::Get { delivery, webdav: None })),
        any::<bool>().prop_map(|is_idle| Input::Wish(Wish::Kill { webdav: None, is_idle })),
        prop::sample::select(vec![
            Wish::Clean { webdav: None, is_stored: false },
            Wish::Clean { webdav: None, is_stored: true },
            Wish::Fetch,
            Wish::Resubmit,
            Wish::DropGet,
            Wish::Adopt,
        ])
        .prop_map(Input::Wish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants(
        inputs in prop::collection::vec((input(), 0..2_000_000_i64), 1..60),
        has_inputs: bool,
        webdav: bool,
    ) {
        let mut job = new_job(has_inputs, webdav);
        let mut now = Time(1_000_000);
        let mut wanted_gone = false;
        for (input, pause) in inputs {
            now = now.plus(pause);
            let before = job.clone();
            wanted_gone |= matches!(input, Input::Wish(Wish::Clean { .. }) | Input::Begin(Action::Clean | Action::Expire));
            let creates = matches!(input, Input::Created(Ok(_)));
            let downloaded = matches!(input, Input::Retrieved(Ok(_)));
            apply(&mut job, input.clone(), now);

            // Closed stays closed: nothing brings a job back to run again.
            if matches!(before.phase, Phase::Closed { .. }) {
                prop_assert_eq!(&before.phase, &job.phase, "by {:?}", input);
            }
            // A row is only ever gained from Creating, so one row at a time is being made into this job.
            if before.id().is_none() && job.id().is_some() {
                prop_assert!(creates && matches!(before.phase, Phase::Creating { .. }), "{:?} by {:?}", before.phase, input);
            }
            // A row that may have run is never replaced by another one.
            if matches!(before.phase, Phase::Active { .. } | Phase::Retrieving { .. } | Phase::Retrieved { .. } | Phase::Cleaning { .. }) {
                prop_assert!(!matches!(job.phase, Phase::Queued | Phase::Creating { .. }), "{:?} by {:?}", before.phase, input);
            }
            // A description that may have been taken is not sent for another row, unless the job cannot have run.
            if let Phase::Confirming { at, .. } = before.phase && before.in_flight_until > Time::default() && job.phase == Phase::Queued {
                let known = matches!(input, Input::Missing { empty_at } if now.since(at.max(empty_at.unwrap_or_default())) < 20_000);
                prop_assert!(known && before.missing > 0, "by {:?}", input);
            }
            // Cleaning by itself only of what is saved here.
            if let Phase::Cleaning { then, dir: None, .. } = &job.phase && !matches!(before.phase, Phase::Cleaning { .. }) {
                let empty = matches!(before.phase, Phase::Retrieved { dir: None, .. });
                prop_assert!(empty || wanted_gone, "{then:?} from {:?} by {input:?}", before.phase);
            }
            // Results that are complete here are not forgotten unless somebody said so.
            if before.results().is_some() && job.results().is_none() {
                let newer_run = downloaded || matches!(job.phase, Phase::Active { .. } | Phase::Retrieved { .. } | Phase::Cleaning { .. });
                prop_assert!(newer_run || wanted_gone, "{:?} -> {:?} by {:?}", before, job.phase, input);
            }
// What is stored was downloaded or was here before.
            let stored = matches!(job.phase, Phase::Stored { dir: Some(_), .. });
            prop_assert!(!stored || before.results().is_some(), "by {:?}", input);
            // A row that we gave up is in the leftovers until it is gone.
            if matches!(job.phase, Phase::Closed { outcome: Outcome::NotSubmitted | Outcome::Killed, .. })
                && matches!(before.phase, Phase::Created { .. } | Phase::Uploading { .. } | Phase::Confirming { .. })
                && job.recreated == before.recreated
                && !matches!(input, Input::Missing { .. } | Input::Uploaded(Err(_)) | Input::Confirmed(Err(_)))
            {
                prop_assert!(job.leftovers.iter().any(|l| l.row), "by {input:?}");
            }
            // The question of what is next always has an answer, and a closed job without leftovers needs nothing.
            let step = next(&job, now, &POLICY);
            if job.is_history() {
                prop_assert_eq!(step, Next::Nothing);
            }
            // No busy loop: a failure puts the same step off.
            if job.retry.attempts > before.retry.attempts {
                prop_assert!(job.retry.at > now);
            }
            // A crash here changes nothing that matters.
            let mut again = job.clone();
            recover(&mut again, now);
            prop_assert_eq!(again.id().is_some(), job.id().is_some());
            prop_assert_eq!(again.results(), job.results());
        }
    }

    /// Where the same question always gets the same answer and nobody says anything new, no step is taken over and over:
    /// there is an end, or a pause.
    #[test]
    fn in_a_world_that_does_not_change_it_comes_to_rest(
        inputs in prop::collection::vec((input(), 0..2_000_000_i64), 1..40),
        answers in answers(),
        fetch_failed: bool,
        has_inputs: bool,
        webdav: bool,
    ) {
        let policy = Policy { fetch_failed, ..POLICY };
        let mut job = new_job(has_inputs, webdav);
        let mut now = Time(1_000_000);
        for (input, pause) in inputs {
            now = now.plus(pause);
            apply(&mut job, input, now);
        }
        let mut taken = Vec::new();
        while let Next::Do(action) = next(&job, now, &policy) {
            taken.push(action);
            // Each leftover takes its own.
            prop_assert!(taken.len() < 30 + 2 * job.leftovers.len(), "{taken:?} for ever: {job:?}");
            prop_assert!(action != Action::Discard || job.results().is_some(), "nothing to discard: {job:?}");
            begin(&mut job, action, now);
            let is_row = action == Action::CancelRow;
            let left = job.leftovers.iter().find(|l| l.row == is_row && l.not_before <= now).map_or(5, |l| l.id);
            let answer = match (answers.to(action, left), &job.phase) {
                // They are where they were to be.
                (Input::Retrieved(Ok(Some(_))), Phase::Retrieving { parent, .. }) => {
                    Input::Retrieved(Ok(Some(parent.join("h"))))
                }
                (answer, _) => answer,
            };
            apply(&mut job, answer, now);
        }
    }

    #[test]
    fn records_survive_the_disk(inputs in prop::collection::vec(input(), 0..30)) {
        let mut job = new_job(true, true);
        for input in inputs {
            apply(&mut job, input, Time(5));
        }
        let bytes = crate::store::record::encode(&job).unwrap();
        prop_assert!(bytes.len() < 1_000);
        let back: Job = crate::store::record::decode(&bytes).unwrap();
        prop_assert_eq!(back, job);
    }
}

/// Takes what `next` says and answers as a server does on a good day, until nothing is left to do.
fn good_day(job: &mut Job, mut server: impl FnMut(Action) -> Vec<Input>) -> Vec<Action> {
    let mut done = Vec::new();
    let mut now = Time(2_000_000);
    for _ in 0..40 {
        match next(job, now, &POLICY) {
            Next::Do(action) => {
                done.push(action);
                begin(job, action, now);
                for input in server(action) {
                    apply(job, input, now);
                }
            }
            Next::Wait(at) if at.since(now) < 3_600_000 => now = at,
            _ => return done,
        }
    }
    panic!("no end: {done:?}, {job:?}");
}

fn done_row() -> Row {
    Row {
        id: 5,
        name: Some("n".into()),
        arcstate: Arcstate::Done,
        state: Some("Finished".into()),
        run: Some("https://ce/jobs/h".into()),
    }
}

fn answer(action: Action) -> Vec<Input> {
    match action {
        Action::Create => vec![Input::Created(Ok(5))],
        Action::Upload => vec![Input::Uploaded(Ok(()))],
        Action::Confirm => vec![Input::Confirmed(Ok(Some("n".into()))), Input::Listed(done_row())],
        Action::Retrieve => vec![Input::Retrieved(Ok(Some("/r/h".into())))],
        Action::Clean => vec![Input::Cleaned(Ok(()))],
        Action::Sweep => vec![Input::Swept(5, Ok(()))],
        Action::Deliver => vec![Input::Delivered(Ok("/d/h".into()))],
        Action::Discard => vec![Input::Discarded(Ok(()))],
        _ => vec![],
    }
}

fn delivery_to(parent: &str, noclean: bool) -> Delivery {
    let parent = parent.into();
    Delivery { parent, use_jobname: false, noclean, copy: noclean, exclude: vec![], operation: 1 }
}
