//! Config files, good and bad.

use super::*;

struct Dir(tempfile::TempDir);

impl Dir {
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("c.yaml"), text).unwrap();
        Self(dir)
    }

    fn flags(&self) -> Flags {
        Flags {
            selection: Selection { conf: Some(self.0.path().join("c.yaml")), ..Selection::default() },
            state: Some(self.0.path().join("state")),
        }
    }

    fn load(&self) -> Result<Config, ApiError> {
        Config::load(&self.flags())
    }
}

fn origin<'a>(config: &'a Config, key: &str) -> &'a str {
    &config.settings.iter().find(|s| s.key == key).unwrap_or_else(|| panic!("no setting {key}")).origin
}

#[test]
fn act_s_own_file_is_read_unchanged() {
    let dir = Dir::with(
        "server: http://127.0.0.1:18080\nport: 443\nclusters:\n  default:\n    - https://a.example.org/q\n    - https://b.example.org\n  one: https://c.example.org\ntoken: $HOME/t\nwebdav: https://dav.example.org/u/\n",
    );
    let c = dir.load().unwrap();
    assert_eq!(c.server.port(), Some(18080));
    assert_eq!(c.clusters["default"].len(), 2);
    assert_eq!(c.clusters["one"], ["https://c.example.org"]);
    assert_eq!(c.webdav.as_deref(), Some("https://dav.example.org/u"));
    assert_eq!((origin(&c, "server"), origin(&c, "actd.keep")), ("file", "default"));
    assert!(c.warnings().is_empty(), "{:?}", c.warnings());
    assert_eq!(c.keep, Duration::from_secs(14 * DAY));
}

#[test]
fn the_daemon_s_keys() {
    let dir = Dir::with(
        "server: https://h\nactd:\n  keep: 3d\n  min_free_disk: 2 GiB\n  download: manual\n  transfers: 3\n  results: ~/r\n",
    );
    let c = dir.load().unwrap();
    assert_eq!((c.keep, c.min_free_disk, c.transfers), (Duration::from_secs(3 * DAY), 2 << 30, 3));
    assert_eq!(c.download, Download::Manual);
    assert!(c.results.is_absolute() && c.results.ends_with("r"));
    assert_eq!(origin(&c, "actd.results"), "file");
}

#[test]
fn what_results_are_named_after() {
    let of = |text: &str| Dir::with(&format!("server: https://h\n{text}")).load().unwrap().results_name.to_string();
    assert_eq!(of(""), "{hash}");
    assert_eq!(of("actd:\n  use_jobname: true\n"), "{name}");
    assert_eq!(of("actd:\n  results_name: '{name}-{id}'\n  use_jobname: false\n"), "{name}-{id}");
}

#[test]
fn bad_values_say_where() {
    for (text, place, words) in [
        ("server: https://h\nactd:\n  keep: soon\n", ":3:9: ", "14d"),
        ("server: https://h\nactd:\n  transfers: many\n", ":3:14: ", "transfers"),
        ("server: ftp://h\n", ":1:9: ", "https://"),
        ("server: https://h\nclusters:\n  x:\n   - nonsense\n", ":4:6: ", "nonsense"),
        ("server: https://h\nport: 99999\n", ":2:7: ", "99999"),
        ("server: https://h\nport: http\n", ":2:7: ", "expected a number up to 65535"),
        ("server: https://h\nactd:\n  requests: few\n", ":3:13: ", "expected a number"),
        ("server: https://h\nactd: [keep]\n", ":2:7: ", "expected indented lines"),
        ("- server\n", ":1:1: ", "expected lines of the form"),
        ("server: https://h\nactd: {download: often}\n", ":2:", "auto"),
        ("server: https://h\nactd:\n  results_name: '{nam}'\n", ":3:17: ", "{hash}, {name}, {id}"),
        ("server: https://h\nactd:\n  results_name: a/{id}\n", ":3:17: ", "{hash}, {name}, {id}"),
        ("server: https://h\nactd:\n  results_name: {name}\n", ":3:17: ", "in quotes"),
        ("server: [\n", ":1:", ""),
        ("server: https://h\nactd: {keep: 3d\n", ":", ""),
    ] {
        let e = Dir::with(text).load().unwrap_err();
        assert_eq!(e.data.kind, Kind::BadConfig);
        assert!(e.message.contains(&format!("c.yaml{place}")) && e.message.contains(words), "{text:?}: {}", e.message);
        assert!(e.data.hint.is_some(), "{text:?}");
    }
}

#[test]
fn unknown_keys_are_told_with_a_guess() {
    let dir = Dir::with("server: https://h\nactd:\n  resluts: /x\n  renew: arcproxy\nkeep: 3d\nhobby: x\n");
    let c = dir.load().unwrap();
    let all = c.warnings().join("\n");
    assert!(all.contains("line 3: unknown key `actd.resluts` is ignored; did you mean `actd.results`?"), "{all}");
    assert!(!all.contains("renew"), "{all}");
    assert!(all.contains("did you mean `actd.keep`"), "{all}");
    assert!(all.contains("line 6: unknown key `hobby` is ignored"), "{all}");
}

#[test]
fn commands_are_words_without_a_shell() {
    let dir = Dir::with("server: https://h\nactd:\n  on_done: ~/bin/x 'two words' $HOME\n  on_failed: [a, 'b c']\n");
    let c = dir.load().unwrap();
    let home = std::env::var("HOME").unwrap();
    assert_eq!(c.hooks.on_done.unwrap().0, [format!("{home}/bin/x").as_str(), "two words", "$HOME"]);
    assert_eq!(c.hooks.on_failed.unwrap().0, ["a", "b c"]);
    for bad in ["on_done: \"a 'b\"", "on_done: ''", "on_done: []", "notify: sometimes"] {
        let e = Dir::with(&format!("server: https://h\nactd:\n  {bad}\n")).load().unwrap_err();
        assert!(e.message.contains("c.yaml:3:"), "{bad}: {}", e.message);
    }
}

#[test]
fn no_server_and_no_file() {
    let e = Dir::with("clusters: {}\n").load().unwrap_err();
    assert!(e.message.contains("`server` is missing"), "{}", e.message);
    let dir = Dir::with("");
    std::fs::remove_file(dir.0.path().join("c.yaml")).unwrap();
    assert!(dir.load().unwrap_err().message.contains("there is no config file"));
}

#[test]
fn flags_win_and_another_server_has_its_own_token() {
    let dir = Dir::with("server: https://h\ntoken: /somewhere/token\n");
    let mut flags = dir.flags();
    assert_eq!(Config::load(&flags).unwrap().token, Path::new("/somewhere/token"));
    flags.selection.server = Some("https://other:8443".into());
    let c = Config::load(&flags).unwrap();
    assert_eq!(origin(&c, "server"), "flag");
    assert_eq!(c.token, dir.0.path().join("state/token"));
}

#[test]
fn the_directories_of_the_file_are_watched_for_its_server_only() {
    let dir = Dir::with("server: https://h\nactd:\n  dirs: [/in]\n");
    let mut flags = dir.flags();
    let c = Config::load(&flags).unwrap();
    assert_eq!((c.dirs.len(), c.warnings().len()), (1, 0));
    flags.selection.server = Some("https://other:8443".into());
    let c = Config::load(&flags).unwrap();
    assert!(c.dirs.is_empty());
    assert!(c.warnings().iter().any(|w| w.contains("actd.dirs")), "{:?}", c.warnings());
}

#[test]
fn limits_of_values() {
    for (text, words) in [
        ("poll_min: 10s\n  poll_max: 5s", "poll_max"),
        ("requests: 0", "between 1 and 64"),
        ("dirs: [/in/accepted/more, /other, /in]", "belongs to the watched directory /in"),
        ("rate_limit: 0", "rate_limit"),
        ("poll_min: 1ms", "100ms"),
        ("log: '=,=x=trace['", "log"),
        ("results_name: '{id}'\n  use_jobname: true", "actd.use_jobname"),
    ] {
        let e = Dir::with(&format!("server: https://h\nactd:\n  {text}\n")).load().unwrap_err();
        assert!(e.message.contains(words), "{}", e.message);
    }
}

#[test]
fn lists_of_clusters() {
    let c = Dir::with("server: https://h\nclusters:\n  default: [https://a, https://b]\n  big: https://c\n")
        .load()
        .unwrap();
    assert_eq!(c.clusterlist(None).unwrap().len(), 2);
    assert_eq!(c.clusterlist(Some("big")).unwrap(), ["https://c"]);
    assert_eq!(c.clusterlist(Some("https://x/q, https://y")).unwrap(), ["https://x/q", "https://y"]);
    let e = c.clusterlist(Some("bgi")).unwrap_err();
    assert_eq!(e.data.kind, Kind::UnknownClusters);
    assert!(e.data.hint.unwrap().contains("did you mean the group `big`?"));
    assert!(c.clusterlist(Some("")).is_err());
    assert!(c.webdav_base("").is_err());
}
