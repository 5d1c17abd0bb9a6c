//! What can be typed: act's own command lines, and ours.

use clap::{CommandFactory, Parser};

use super::*;
use crate::cli_jobs::Output;
use crate::words::join_webdav;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    let args = words.split_whitespace().map(|w| if w == "EMPTY" { "".into() } else { w.into() }).collect();
    Cli::try_parse_from(join_webdav(args))
}

fn command(words: &str) -> Command {
    parse(words).unwrap_or_else(|e| panic!("{words}: {e}")).command.unwrap()
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_of_act_is_taken() {
    for line in [
        "act --server http://h --port 80 --conf c.yaml -v info",
        "act --verbose stat -a -i 1,2-3 -n x -s done --arc JobID,State --client id,jobname",
        "act stat --get-cols",
        "act stat --all --id 5 --name x --state running",
        "act sub --clusterlist default a.xrsl b.xrsl",
        "act sub a.xrsl --webdav",
        "act sub --webdav=https://dav/me a.xrsl",
        "act get -a -i 5 -n x -s done --webdav --use-jobname --noclean",
        "act kill -a -i 5 -n x -s running --webdav",
        "act clean -a -i 5 -n x -s done --webdav https://dav/me",
        "act fetch -a -i 5 -n x",
        "act resub -a -i 5 -n x",
        "act cat -a -i 5 -n x -s done -o -e --stdout --stderr",
        "act proxy",
        "act stat --client= --arc State",
    ] {
        parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn defaults_are_acts() {
    let Command::Sub(sub) = command("act sub a.xrsl") else { panic!() };
    assert_eq!((sub.clusterlist.as_str(), &sub.webdav.webdav), ("default", &None));
    let Command::Stat(stat) = command("act stat") else { panic!() };
    assert_eq!((stat.jobs.id, stat.jobs.name.as_str(), stat.jobs.states.len()), (None, "", 0));
    assert_eq!(stat.output, Output::Table);
}

#[test]
fn webdav_with_and_without_a_url() {
    let webdav = |line: &str| {
        let Command::Sub(sub) = command(line) else { panic!() };
        (sub.webdav.webdav, sub.files.len())
    };
    assert_eq!(webdav("act sub --webdav a.xrsl"), (Some(String::new()), 1));
    assert_eq!(webdav("act sub a.xrsl --webdav"), (Some(String::new()), 1));
    assert_eq!(webdav("act sub --webdav https://d/x a.xrsl"), (Some("https://d/x".into()), 1));
    assert_eq!(webdav("act sub --webdav=https://d/x a.xrsl b.xrsl"), (Some("https://d/x".into()), 2));
}

#[test]
fn options_are_read_as_argparse_reads_them() {
    let Command::Stat(stat) = command("act stat -i1,2 --stat running") else { panic!() };
    assert_eq!((stat.jobs.id.as_deref(), stat.jobs.states), (Some("1,2"), vec!["running".to_owned()]));
    let Command::Stat(stat) = command("act stat -i 1 -i 2") else { panic!() };
    assert_eq!(stat.jobs.id.as_deref(), Some("2"), "the last one counts");
    let Command::Stat(stat) = command("act stat -i -3") else { panic!() };
    assert_eq!(stat.jobs.id.as_deref(), Some("-3"), "then refused as a range without a start");
    let Command::Stat(stat) = command("act stat --client EMPTY --arc State") else { panic!() };
    assert_eq!(stat.client.as_deref(), Some(""));
}

#[test]
fn global_options_before_and_after_the_verb() {
    for line in ["x --json -v --server u stat", "x stat --json -v --server u", "x --json stat -v --server u"] {
        let global = parse(line).unwrap().global;
        assert!(global.json && global.verbose == 1, "{line}");
        assert_eq!(global.server.as_deref(), Some("u"), "{line}");
    }
}

#[test]
fn what_act_refuses_is_refused() {
    for line in ["act bogus", "act sub", "act stat --nosuch", "act info extra", "act --port x info"] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
    assert!(parse("act").unwrap().command.is_none(), "act alone shows its help");
}

#[test]
fn help_has_every_verb_of_the_interface() {
    let help = Cli::command().render_help().to_string();
    for verb in [
        "info",
        "proxy",
        "sub",
        "stat",
        "get",
        "cat",
        "fetch",
        "resub",
        "kill",
        "clean",
        "wait",
        "adopt",
        "history",
        "log",
        "events",
        "daemon",
        "config",
        "ls",
        "tail",
        "rpc",
        "completions",
        "man",
        "why",
        "run",
    ] {
        assert!(help.lines().any(|l| l.trim_start().starts_with(&format!("{verb} "))), "{verb} is not in\n{help}");
    }
}

#[test]
fn every_option_and_verb_is_explained() {
    fn check(command: &clap::Command, path: &str) {
        for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 3, "{path} {}: no help", arg.get_id());
        }
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{path} {}: no help", sub.get_name());
            check(sub, &format!("{path} {}", sub.get_name()));
        }
    }
    check(&Cli::command(), "actctl");
}
