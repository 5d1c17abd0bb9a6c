//! Every lint at work, and the corrections: a description with all its fixes applied is no worse than before.

use std::collections::BTreeSet;
use xrsl::lint::CODES;
use xrsl::{FileKind, Files, Level, LintContext, apply_edits, apply_fixes, check, parse};

fn codes(text: &str) -> Vec<&'static str> {
    check(text, &LintContext::default()).iter().map(|d| d.code).collect()
}

/// Text, and the codes it must give in the order of the text. `W` stands for a walltime that keeps W33 away.
const CASES: &[(&str, &[&str])] = &[
    ("&(executable=/a)W", &[]),
    ("(executable=/a)W", &["E04"]),
    ("&(executable=/a)W(arguments=--n=10)", &["E03"]),
    ("&(executable=/a)W(stdout=\"x)\n(stderr=\"y\")", &["E02"]),
    ("&(executable=/a)W(arguments=\"a\n(stdout=x\")", &["W02"]),
    ("&(executable=/a)W\n&(executable=/b)W", &["E05"]),
    ("&(executable=/a)W(* x", &["E06"]),
    ("&(executable=/a)W(arguments='(*.x')", &["E07"]),
    ("&(executable=/a)W(arguments=^xabc)", &["E08"]),
    ("&(executable=/a)W(arguments=\"a\\\"b\")", &["E09"]),
    ("&(executable=/a)W(arguments=\"a\\\"b\\\"c\")", &["W09"]),
    ("\u{feff}&(executable=/a)W", &["E10"]),
    ("&(executable=/a)W(arguments=a, b)", &["W11"]),
    ("&(executable=/a)W(arguments=$(X))", &["W12"]),
    ("&(executable=/a)W(rsl_substitution=(X 1))(arguments=\"a$(X)\")", &["W13"]),
    ("&(executable=/a)W(arguments=\"$(X)\")", &["I13"]),
    ("#!/bin/sh\n./run (a=b)", &["E00"]),
    ("&(executable=/a)W;\n", &["E00"]),
    ("&(stdout=x)W", &["E20"]),
    ("&(exectutable=/a)W", &["E21"]),
    ("&(executable=/a)(exectutable=/b)W", &["E21"]),
    ("&(executable=/a)W(quux=1)(stdinput=x)", &["W21", "W21"]),
    ("&(executable=/a)(maxwalltime=5)", &["W33", "W22"]),
    ("&(executable=/a)W(cluster=x)(gridtime=5)", &["W23", "W23", "E25"]),
    ("&(executable=/a)W(executable=/b)", &["E24"]),
    ("&(executable=/a)W(memory=100)(memory=200)", &["W24"]),
    ("&(executable=/a)W(environment=(\"A=1\"))(inputfiles=(a))(stdout=a b)", &["E25", "E25", "E25"]),
    ("&(executable=/a)W(memory>=100)", &["W26"]),
    ("&(executable=/a)W(queue<q)", &["E27"]),
    ("+(&(executable=/a)W)(&(executable=/b)W)", &["W28"]),
    ("&(executable=/a)W(|(queue=a)(queue=b))", &["W28"]),
    ("&(executable=/a)(walltime=\"1:30\")", &["E30"]),
    ("&(executable=/a)(walltime=\"unlimited\")", &["E30"]),
    ("&(executable=/a)(walltime=P30M)", &["W31"]),
    ("&(executable=/a)(walltime=20000)", &["W32"]),
    ("&(executable=/a)", &["W33"]),
    ("&(executable=/a)(walltime=0)(cputime=-5)", &["W34", "W34"]),
    ("&(executable=/a)W(memory=2GB)(disk=1.5)", &["E35", "E35"]),
    ("&(executable=/a)W(memory=4)", &["W36"]),
    ("&(executable=/a)W(count=2)(countpernode=2)(memory=100)", &["I37"]),
    ("&(executable=/a)W(count=0)", &["E38"]),
    ("&(executable=/a)W(count=x)", &["E38"]),
    ("&(executable=/a)W(countpernode=2)", &["E39"]),
    ("&(executable=/a)W(count=4)(countpernode=3)", &["W40"]),
    ("&(executable=/a)W(count=4)", &["W41"]),
    ("&(executable=/a)W(join=yes)", &["E42"]),
    ("&(executable=/a)W(stdout=o)(join=YES)", &["W43"]),
    ("&(executable=/a)W(dryrun=true)", &["W44"]),
    ("&(executable=/a)W(starttime=\"2030-05-25 21:30\")", &["E45"]),
    ("&(executable=/a)W(notify=be me@x)", &["E46"]),
    ("&(executable=/a)W(priority=101)(rerun=x)", &["W47", "W47"]),
    ("&(executable=/a)W(ftpthreads=11)", &["W23", "E48"]),
    ("&(executable=/a)W(runtimeenvironment=\"\")(runtimeenvironment>=A-1)", &["W49", "W49"]),
    ("&(executable=/a)W(nodeaccess=in)(cache=maybe)(jobreport=x:y)", &["W50", "W50", "W23", "W50"]),
    ("&(executable=/a)W(inputfiles=(/x y)(../x y)(\"\" y))", &["E61", "E61", "E61"]),
    ("&(executable=/a)W(inputfiles=(a b)(a c))", &["E62"]),
    ("&(executable=/a)W(inputfiles=(a \" \"))", &["E63"]),
    ("&(executable=/a)W(inputfiles=(a ~/a)(b \"$HOME/b\"))", &["E64", "E64"]),
    ("&(executable=a)W(stdin=b)", &["W65", "W65"]),
    ("&(executable=./a)W(inputfiles=(a \"\"))", &["W66"]),
    ("&(executable=/a)W(executables=x)", &["E67"]),
    ("&(executable=/a)W(outputfiles=(a /tmp/a))", &["W68"]),
    ("&(executable=/a)W(outputfiles=(a \"\")(a \"\"))(stdout=o)(stderr=o)", &["W69", "W69"]),
    ("&(executable=/a)W(inputfiles=(a \"http://h/a\")(b \"gsiftp://h/b\"))", &["W71", "W71"]),
    ("&(executable=/a)W(inputfiles=(a \"foo://h/a\"))", &["W72"]),
    ("&(executable=/a)W(inputfiles=(a \"C:/a\"))", &["E73"]),
    ("&(executable=/a)W(inputfiles=(a \"\" x)(b c \"d=e\"))", &["W74", "W74"]),
    ("&(executable=/a)W(cache=no)(inputfiles=(a \"\"))", &["W75"]),
    ("&(executable=/a)W(stdout=/o)", &["W76"]),
    ("&(executable=\"http://h/x\")W", &["W77"]),
    ("&(executable=/a)W(inputfiles=(\"a b\" \"\"))(outputfiles=(\"100%\" \"\"))", &["E79", "E79"]),
    ("&(executable=\"my run.sh\")W(stdin=\"a b\")", &["E79", "E79"]),
    ("&(executable=/a)W(stdout=\"my out\")(gmlog=\"100%\")", &["E79", "E79"]),
    ("&(executable=run.sh)W(inputfiles=(./run.sh /other))", &["E62", "W65"]),
    ("&(executable=bin/sh)W(stdin=bin)", &["E62", "W65", "W65"]),
    ("&(executable=/a)W(inputfiles=(a @list))", &["E80"]),
];

fn text_of(case: &str) -> String {
    case.replace(")W", ")(walltime=60)").replace("W(", "(walltime=60)(")
}

#[test]
fn every_lint_speaks_where_it_should() {
    let mut wrong = Vec::new();
    for (case, want) in CASES {
        let got = codes(&text_of(case));
        if got != *want {
            wrong.push(format!("{case}: {got:?}, not {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_is_listed_and_its_letter_fits_its_level() {
    let listed: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(listed.len(), CODES.len(), "a code is listed twice");
    for (case, _) in CASES {
        for d in check(&text_of(case), &LintContext::default()) {
            assert!(listed.contains(d.code), "{} is not listed", d.code);
            let fits = match d.level {
                Level::Error => d.code.starts_with('E'),
                Level::Warning => d.code.starts_with('W'),
                Level::Hint => !d.code.starts_with('E'),
            };
            assert!(fits, "{} is {:?}: {}", d.code, d.level, d.message);
            assert!(!d.message.ends_with('.') && !d.message.is_empty(), "{}", d.message);
        }
    }
}

/// What stands behind a file's name may be an argument or another file: together they would be the name of none.
#[test]
fn values_of_a_file_are_not_made_one() {
    let fixes = |text: &str| {
        let found = check(text, &LintContext::default());
        found.iter().filter(|d| d.code == "E25").map(|d| d.fix.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(fixes("&(executable=/bin/echo hello)(walltime=5)"), [false]);
    assert_eq!(fixes("&(executable=/a)(stdout=out.txt err.txt)(walltime=5)"), [false]);
    assert_eq!(fixes("&(executable=/a)(jobname=my job)(walltime=5)"), [true]);
}

#[test]
fn fixes_apply_and_cure_what_they_are_for() {
    for (case, _) in CASES {
        let text = text_of(case);
        for d in check(&text, &LintContext::default()) {
            let Some(fix) = &d.fix else { continue };
            let (fixed, applied) = apply_edits(&text, &fix.edits);
            assert_eq!(applied, fix.edits.len(), "{case}: the fix of {} does not fit", d.code);
            let before = codes(&text).iter().filter(|c| **c == d.code).count();
            let after = codes(&fixed).iter().filter(|c| **c == d.code).count();
            assert!(after < before, "{case}: {} is not cured by {fixed}", d.code);
        }
    }
}

#[test]
fn ten_mistakes_are_ten_reports() {
    let text = "(* ten mistakes *)\n&(executabel=\"run.sh\")\n (arguments=--n=10 \"x\")\n (stdout=\"out.txt)\n (stderr=\"err.txt\"\n \
                (inputfiles=\"data\" \"data.txt\")\n (memory=\"2GB\")\n (walltime=\"1:30\")\n # the end\n (environment=(\"A=1\"))\n \
                (count \"4\")\n (queue<\"long\"))\n";
    let found = check(text, &LintContext::default());
    let index = xrsl::LineIndex::new(text);
    let errors: Vec<(usize, &str)> = found
        .iter()
        .filter(|d| d.level == Level::Error)
        .map(|d| (index.position(text, d.span.start).line, d.code))
        .collect();
    let want = [
        (2, "E21"),
        (3, "E03"),
        (4, "E02"),
        (5, "E01"),
        (6, "E25"),
        (7, "E35"),
        (8, "E30"),
        (9, "E00"),
        (10, "E25"),
        (11, "E00"),
        (12, "E27"),
        (12, "E01"),
    ];
    assert_eq!(errors, want, "{found:#?}");
    // Applying what can be applied, round after round, leaves only what needs a person.
    let mut text = text.to_owned();
    for _ in 0..10 {
        text = apply_fixes(&text, &check(&text, &LintContext::default())).0;
    }
    let left: Vec<&str> = codes(&text).into_iter().filter(|c| c.starts_with('E')).collect();
    assert_eq!(left, ["E30", "E27"], "{text}");
}

#[test]
fn a_file_that_is_not_utf8_is_told_at_its_first_odd_byte() {
    let told = |bytes: &[u8]| {
        let text = xrsl::decode(bytes);
        xrsl::check_encoding(bytes, &text).map(|d| (d.code, d.level, d.span.of(text.as_bytes()).to_vec()))
    };
    assert_eq!(told(b"(* caf\xe9 *)"), Some(("W10", Level::Warning, "é".as_bytes().to_vec())));
    assert_eq!(told("(* café *)".as_bytes()), None);
}

struct Fake;

impl Files for Fake {
    fn kind(&self, path: &str) -> FileKind {
        match path {
            "good" | "~/odd" => FileKind::File(1),
            "big" => FileKind::File(11 << 30),
            "dir" => FileKind::Directory,
            "secret" => FileKind::Unreadable,
            "socket" => FileKind::Special,
            _ => FileKind::Missing,
        }
    }
}

#[test]
fn local_files_are_asked_for() {
    let context = LintContext { files: Some(&Fake) };
    let text = "&(executable=good)(stdin=gone)(walltime=5)(inputfiles=(a big)(b dir)(c secret)(d socket)(e none)(f \"~/odd\")(g \"https://h/g\"))";
    let found: Vec<(&str, String)> = check(text, &context)
        .into_iter()
        .map(|d| (d.code, String::from_utf8_lossy(d.span.of(text.as_bytes())).into_owned()))
        .collect();
    let place = |code, s: &str| (code, s.to_owned());
    assert!(found.contains(&place("W78", text)), "{found:?}");
    for s in ["gone", "dir", "secret", "socket", "none"] {
        assert!(found.contains(&place("E60", s)), "{s}: {found:?}");
    }
    assert_eq!(found.iter().filter(|(c, _)| *c == "E60").count(), 5, "{found:?}");
    assert!(!found.iter().any(|(c, _)| *c == "E64"), "{found:?}");
    let adl =
        "<ActivityDescription><DataStaging><InputFile><Name>x</Name></InputFile></DataStaging></ActivityDescription>";
    let found = check(adl, &context);
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["E60"]);
}

#[test]
fn a_damaged_attribute_is_not_judged_twice() {
    assert_eq!(codes("&(executable=/a)(walltime=1:30=x)(memory=2GB"), ["E03", "E01", "E35"]);
    assert!(!parse("&(executable=/a)(memory=2GB").accepted());
}
