//! What is sent for a job: the user's bytes but for the edits that the server needs, and the files that go with it.

use xrsl::{for_submission, parse, submissions};

fn codes(text: &str) -> Vec<&'static str> {
    submissions(text).expect_err("refused").iter().map(|d| d.code).collect()
}

fn locals(text: &str) -> Vec<(String, String, bool, bool)> {
    let s = for_submission(text, 0).expect("good");
    s.locals.into_iter().map(|l| (l.name, l.path, l.executable, l.implicit)).collect()
}

fn local(name: &str, path: &str, executable: bool, implicit: bool) -> (String, String, bool, bool) {
    (name.to_owned(), path.to_owned(), executable, implicit)
}

#[test]
fn a_good_description_is_sent_as_it_is() {
    let text = "(* mine *)\n&(Executable = run.sh)\n  (inputfiles = (run.sh '')(* x *) (\"d/in\" file:/data/in)\n(r \"https://h/r\" \"cache=no\"))";
    let s = for_submission(text, 0).expect("good");
    assert_eq!(s.text(), text);
    assert_eq!(locals(text), [local("run.sh", "run.sh", true, false), local("d/in", "/data/in", false, false)]);
}

#[test]
fn sources_are_replaced_and_nothing_else() {
    let text = "&(executable=run.sh)(* c *)(inputfiles=(run.sh \"\") (\"a b\" x)(r \"https://h/r\"))(stdin=in)";
    assert_eq!(codes(text), ["E79"]);
    let text = text.replace("a b", "ab");
    let s = for_submission(&text, 0).expect("good");
    let sent = s.with_sources(|name| (name != "ab").then(|| format!("https://dav/\"{name}")));
    let want = "&(executable=run.sh)(* c *)(inputfiles=(run.sh \"https://dav/\"\"run.sh\") (\"ab\" x)(r \"https://h/r\") \
                (\"in\" \"https://dav/\"\"in\"))(stdin=in)";
    assert_eq!(sent, want);
    assert!(parse(&sent).accepted());
}

#[test]
fn names_that_get_a_job_stuck_are_refused_wherever_they_stand() {
    assert_eq!(codes("&(executable=\"my run.sh\")(stdin=\"a b\")"), ["E79"; 2]);
    assert_eq!(codes("&(executable=/a)(stdout=\"my out\")(stderr=\"é\")(gmlog=\"a?\")"), ["E79"; 3]);
    assert_eq!(codes("&(executable=/a)(stdout=\"a b\")(outputfiles=(\"a b\" \"\"))"), ["E79"]);
    assert_eq!(codes("&(executable=run.sh)(inputfiles=(./run.sh /other))"), ["E62"]);
    let adl = |inputs: &str| {
        format!(
            "<ActivityDescription><Application><Executable><Path>/bin/sh</Path></Executable></Application>\
             <DataStaging>{inputs}</DataStaging></ActivityDescription>"
        )
    };
    assert_eq!(codes(&adl("<InputFile><Name>a b</Name></InputFile>")), ["E79"]);
    assert_eq!(codes(&adl("<InputFile><Name>a</Name></InputFile><InputFile><Name>./a</Name></InputFile>")), ["E62"]);
}

#[test]
fn unlisted_executable_and_stdin_are_added() {
    let text = "&(executable=./run.sh)\n (stdin=\"in\")\n (walltime=5)";
    let s = for_submission(text, 0).expect("good");
    let want =
        "&(executable=\"run.sh\")\n (stdin=\"in\")\n (walltime=5)\n (inputfiles=(\"run.sh\" \"\") (\"in\" \"\"))";
    assert_eq!(s.text(), want);
    assert_eq!(locals(text), [local("run.sh", "./run.sh", true, true), local("in", "in", false, true)]);
    assert_eq!(s.notes.iter().map(|d| d.code).collect::<Vec<_>>(), ["W66", "W65", "W65"]);
}

#[test]
fn a_bare_relation_gets_an_and() {
    let s = for_submission("executable = run.sh (* c *)", 0).expect("good");
    assert_eq!(s.text(), "&(executable = run.sh)(inputfiles=(\"run.sh\" \"\")) (* c *)");
    assert!(parse(&s.text()).accepted());
}

#[test]
fn each_job_of_a_multi_job_is_sent_alone() {
    let text =
        "+(&(executable=/bin/a)(jobname=a) (* one *) )( (* two *) &(executable=/bin/b)(jobname=b))(executable=/bin/c)";
    let all = submissions(text).expect("good");
    let texts: Vec<String> = all.iter().map(xrsl::Submission::text).collect();
    assert_eq!(
        texts,
        [
            "&(executable=/bin/a)(jobname=a) (* one *) ",
            " (* two *) &(executable=/bin/b)(jobname=b)",
            "executable=/bin/c"
        ]
    );
    assert_eq!(all[1].name.as_deref(), Some("b"));
    assert!(for_submission(text, 3).is_err());
}

#[test]
fn cache_moves_to_the_urls_when_there_are_local_inputs() {
    let text =
        "&(executable=/bin/a)(cache=no)(inputfiles=(a \"\")(b \"https://h/b\")(c \"https://h/c\" \"cache=yes\"))";
    let s = for_submission(text, 0).expect("good");
    let want =
        "&(executable=/bin/a)(inputfiles=(a \"\")(b \"https://h/b\" \"cache=no\")(c \"https://h/c\" \"cache=yes\"))";
    assert_eq!(s.text(), want);
    assert_eq!(s.notes[0].code, "W75");
    let remote = "&(executable=/bin/a)(cache=no)(inputfiles=(b \"https://h/b\"))";
    assert_eq!(for_submission(remote, 0).expect("good").text(), remote);
    let branch = "&(executable=/bin/a)(|(cache=no)(cache=yes))(inputfiles=(a \"\"))";
    assert_eq!(codes(branch), ["E75"]);
}

#[test]
fn members_behind_an_empty_source_go_when_it_becomes_a_url() {
    let text = "&(executable=/bin/a)(inputfiles=(a \"\" (* c *) junk 'more'))";
    let s = for_submission(text, 0).expect("good");
    assert_eq!(s.text(), text);
    let sent = s.with_sources(|_| Some("https://u".to_owned()));
    assert_eq!(sent, "&(executable=/bin/a)(inputfiles=(a \"https://u\" (* c *) ))");
    assert!(parse(&sent).accepted());
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    assert_eq!(codes("&(stdout=x)"), ["E20"]);
    assert_eq!(codes("&(executable=/a)(inputfiles=(/etc/passwd \"\")(../x y)(d/ y)(\"\u{7}\" y))"), ["E61"; 4]);
    assert_eq!(codes("&(executable=/a)(inputfiles=(a \"\")(./a b)(c/d \"\")(c \"\"))"), ["E62"; 2]);
    assert_eq!(codes("&(executable=/a)(inputfiles=(a @l)(b \" \")(\"http://h/x\" \"\"))"), ["E80", "E63", "E61"]);
    assert_eq!(codes("&(executable=../run.sh)"), ["E61"]);
    assert_eq!(codes("&(executable=/a)(outputfiles=(\"a b\" \"\")(\"é\" \"\")(\"100%\" \"\"))"), ["E79"; 3]);
    assert!(submissions("&(executable=/a)(outputfiles=(\"/\" \"\")(\"out/\" \"\")(\"@list\" \"\"))").is_ok());
    // The place of an error is in the whole text, also for a job of several.
    let text = "+(&(executable=/a))(&(executable=/b)(inputfiles=(/x y)))";
    let errors = submissions(text).expect_err("refused");
    assert_eq!(errors[0].span.of(text.as_bytes()), b"/x");
}
