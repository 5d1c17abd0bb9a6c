//! The language server as an editor sees it: the real `actctl lsp` over its stdin and stdout.

use std::time::{Duration, Instant};

use act_tests::{Editor, LONG, User, World, wait_for, xrsl};
use serde_json::{Value, json};

const GOOD: &str = "&(executable=\"run.sh\")\n (inputfiles=(\"run.sh\" \"\")\n  (\"data.txt\" \"in/data.txt\"))\n \
                    (rsl_substitution=(\"OUT\" \"result.txt\"))\n (stdout=$(OUT))\n (walltime=\"2 hours\")\n \
                    (jobname=\"good\")\n";

/// An open file.
struct File {
    uri: String,
    text: String,
    version: i64,
}

fn open(editor: &mut Editor, user: &User, name: &str, text: &str) -> File {
    user.write(name, text);
    let uri = format!("file://{}", user.work().join(name).display());
    let item = json!({"uri": uri, "languageId": "xrsl", "version": 1, "text": text});
    editor.tell("textDocument/didOpen", &json!({"textDocument": item}));
    File { uri, text: text.to_owned(), version: 1 }
}

/// Codes of the findings of a version, with their first line and column.
fn findings(editor: &mut Editor, file: &File) -> Vec<(String, u64, u64)> {
    let told = editor.wait(&format!("findings of version {}", file.version), |m| {
        m["method"] == "textDocument/publishDiagnostics"
            && m["params"]["uri"] == file.uri.as_str()
            && m["params"]["version"] == file.version
    });
    let list = told["params"]["diagnostics"].as_array().expect("an array").clone();
    let at = |d: &Value, part: &str| d["range"]["start"][part].as_u64().expect("a place");
    list.iter().map(|d| (d["code"].as_str().expect("a code").to_owned(), at(d, "line"), at(d, "character"))).collect()
}

/// Replaces the first occurrence of `old`, as one incremental change.
fn change(editor: &mut Editor, file: &mut File, old: &str, new: &str) {
    let at = file.text.find(old).unwrap_or_else(|| panic!("{old} in {}", file.text));
    let range = json!({"start": place(&file.text, at), "end": place(&file.text, at + old.len())});
    file.text.replace_range(at..at + old.len(), new);
    file.version += 1;
    editor.tell(
        "textDocument/didChange",
        &json!({"textDocument": {"uri": file.uri, "version": file.version}, "contentChanges": [{"range": range, "text": new}]}),
    );
}

/// The place of a byte: line and UTF-16 column.
fn place(text: &str, at: usize) -> Value {
    let before = &text[..at];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    json!({"line": line, "character": before[start..].encode_utf16().count()})
}

/// Parameters of a request about the place behind `word`, less `back` bytes.
fn at(file: &File, word: &str, back: usize) -> Value {
    let offset = file.text.find(word).unwrap_or_else(|| panic!("{word}")) + word.len() - back;
    json!({"textDocument": {"uri": file.uri}, "position": place(&file.text, offset)})
}

/// Applies edits of one file, as an editor does.
fn apply(text: &str, edits: &Value) -> String {
    let offset = |p: &Value| {
        let (line, column) = (p["line"].as_u64().expect("line"), p["character"].as_u64().expect("character"));
        let start: usize = text.split_inclusive('\n').take(line as usize).map(str::len).sum();
        let mut units = 0;
        for (i, c) in text[start..].char_indices() {
            if units >= column {
                return start + i;
            }
            units += c.len_utf16() as u64;
        }
        text.len()
    };
    let mut edits: Vec<(usize, usize, &str)> = edits
        .as_array()
        .expect("edits")
        .iter()
        .map(|e| (offset(&e["range"]["start"]), offset(&e["range"]["end"]), e["newText"].as_str().expect("a text")))
        .collect();
    edits.sort_unstable();
    let mut out = text.to_owned();
    for (start, end, new) in edits.into_iter().rev() {
        out.replace_range(start..end, new);
    }
    out
}

fn labels(items: &Value) -> Vec<&str> {
    items.as_array().expect("items").iter().filter_map(|i| i["label"].as_str()).collect()
}

fn titles(editor: &mut Editor, file: &File) -> Vec<String> {
    let lenses = editor.result("textDocument/codeLens", &json!({"textDocument": {"uri": file.uri}}));
    let title = |l: &Value| l["command"]["title"].as_str().expect("a title").to_owned();
    lenses.as_array().expect("lenses").iter().map(title).collect()
}

#[test]
fn mistakes_are_shown_while_they_are_typed_and_corrected_on_demand() {
    let world = World::new();
    let mut editor = Editor::lsp(&world.user, &json!({}));
    world.user.write("run.sh", "#!/bin/sh\n");
    world.user.write("in/data.txt", "1\n");
    let mut file = open(&mut editor, &world.user, "job.xrsl", GOOD);
    assert_eq!(findings(&mut editor, &file), []);
    // Columns are UTF-16: an é is one, a 𝄞 two.
    change(&mut editor, &mut file, "(jobname=\"good\")", "(jobname=\"é𝄞\")(memroy=100)");
    let found = findings(&mut editor, &file);
    assert_eq!(
        found.iter().map(|(code, line, column)| (code.as_str(), *line, *column)).collect::<Vec<_>>(),
        [("E21", 6, 17)]
    );
    let range = json!({"start": {"line": 6, "character": 18}, "end": {"line": 6, "character": 18}});
    let ask = json!({"textDocument": {"uri": file.uri}, "range": range, "context": {"diagnostics": []}});
    let actions = editor.result("textDocument/codeAction", &ask);
    assert_eq!(actions[0]["kind"], "quickfix", "{actions}");
    let mended = apply(&file.text, &actions[0]["edit"]["changes"][&file.uri]);
    assert!(mended.contains("(jobname=\"é𝄞\")(memory=100)"), "{mended}");
    // A missing input appears, and the finding goes when the file is there.
    change(&mut editor, &mut file, "(memroy=100)", "");
    change(&mut editor, &mut file, "in/data.txt", "in/other.txt");
    file.version = 4;
    assert_eq!(findings(&mut editor, &file).iter().filter(|f| f.0 == "E60").count(), 1);
    world.user.write("in/other.txt", "1\n");
    editor.tell("textDocument/didSave", &json!({"textDocument": {"uri": file.uri}}));
    assert_eq!(findings(&mut editor, &file), []);
    // And when it is gone again, without a word from the editor.
    std::fs::remove_file(world.user.work().join("in/other.txt")).expect("removed");
    assert_eq!(findings(&mut editor, &file).iter().filter(|f| f.0 == "E60").count(), 1);
    world.user.write("in/other.txt", "1\n");
    assert_eq!(findings(&mut editor, &file), []);
    // Broken beyond recognition, and back.
    change(&mut editor, &mut file, "&(executable=\"run.sh\")", "&(executable=\"run.sh)((");
    assert!(findings(&mut editor, &file).iter().any(|f| f.0.starts_with("E0")));
    change(&mut editor, &mut file, "&(executable=\"run.sh)((", "&(executable=\"run.sh\")");
    assert_eq!(findings(&mut editor, &file), []);
    // All at once.
    change(&mut editor, &mut file, "(walltime=\"2 hours\")", "(walltme=5)(arguments=--n=1)");
    assert_eq!(findings(&mut editor, &file).iter().filter(|f| f.0.starts_with('E')).count(), 2);
    let all = json!({"textDocument": {"uri": file.uri}, "range": range, "context": {"diagnostics": [], "only": ["source.fixAll"]}});
    let actions = editor.result("textDocument/codeAction", &all);
    let mended = apply(&file.text, &actions[0]["edit"]["changes"][&file.uri]);
    assert!(mended.contains("(walltime=5)(arguments=\"--n=1\")"), "{mended}");
    // Closed: its findings go.
    editor.tell("textDocument/didClose", &json!({"textDocument": {"uri": file.uri}}));
    let last = editor.wait("no findings", |m| m["params"]["diagnostics"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(last["params"]["uri"], file.uri.as_str());
    editor.result("shutdown", &Value::Null);
    editor.tell("exit", &Value::Null);
    assert!(editor.end().success());
    assert!(world.user.daemon_pid().is_none(), "nobody has asked for a daemon");
}

#[test]
fn what_can_be_typed_is_offered_with_its_shape() {
    let world = World::new();
    let user = &world.user;
    let snippets = json!({"textDocument": {"completion": {"completionItem": {"snippetSupport": true}}}});
    let mut editor = Editor::lsp(user, &snippets);
    user.write("run.sh", "");
    user.write("data/one.txt", "");
    let text = "&(exec)\n (inputfiles=(\"r\" \"\")(\"x\" \"data/\"))\n (queue=)\n (join=\"\")\n (runtimeenvironment=\"\")\n \
                (rsl_substitution=(\"DIR\" \"d\"))(stdout=$()\n";
    let file = open(&mut editor, user, "half.xrsl", text);
    let mut offered = |word: &str, back: usize| editor.result("textDocument/completion", &at(&file, word, back));
    let names = offered("&(exec", 0);
    let item =
        names.as_array().expect("items").iter().find(|i| i["label"] == "executable").expect("executable").clone();
    assert_eq!(item["textEdit"]["newText"], "executable=\"$1\"", "{item}");
    assert_eq!(item["insertTextFormat"], 2);
    assert!(item["documentation"]["value"].as_str().is_some_and(|d| d.contains("The program to run")), "{item}");
    let new = apply(text, &json!([item["textEdit"]]));
    assert!(new.starts_with("&(executable=\"$1\")\n"), "{new}");
    let inputs = names.as_array().expect("items").iter().find(|i| i["label"] == "inputfiles").expect("inputfiles");
    assert_eq!(inputs["textEdit"]["newText"], "inputfiles=(\"${1:name}\" \"$2\")");
    assert!(!labels(&names).contains(&"jobtype"), "what ARC ignores is not offered");
    let files = offered("(\"r", 0);
    assert!(labels(&files).contains(&"run.sh") && labels(&files).contains(&"data/"), "{files}");
    assert_eq!(labels(&offered("\"data/", 0)), ["data/one.txt"]);
    assert_eq!(labels(&offered("join=\"", 0)), ["yes", "true", "no"]);
    assert_eq!(labels(&offered("$(", 0)), ["DIR"]);
    assert!(labels(&offered("runtimeenvironment=\"", 0)).contains(&"ENV/PROXY"));
    assert_eq!(offered("(queue=", 0), json!([]), "no daemon, nothing known");
    // With a daemon there are clusters and queues.
    let _ = user.actctl(&["proxy"]).ok();
    wait_for("clusters in completion", LONG, || {
        let items = editor.result("textDocument/completion", &at(&file, "(queue=", 0));
        if labels(&items).is_empty() { Err(items.to_string()) } else { Ok(()) }
    });
}

#[test]
fn the_shape_of_a_description() {
    let world = World::new();
    let user = &world.user;
    let mut editor = Editor::lsp(user, &json!({}));
    user.write("run.sh", "");
    user.write("in/data.txt", "12345");
    let file = open(&mut editor, user, "job.xrsl", GOOD);
    let document = json!({"textDocument": {"uri": file.uri}});
    let hover = editor.result("textDocument/hover", &at(&file, "(walltime", 3));
    let words = hover["contents"]["value"].as_str().expect("Markdown");
    assert!(words.contains("minutes") && words.contains("the queue's default"), "{words}");
    let hover = editor.result("textDocument/hover", &at(&file, "2 hours", 3));
    assert!(hover["contents"]["value"].as_str().is_some_and(|w| w.contains("7200")), "{hover}");
    let hover = editor.result("textDocument/hover", &at(&file, "\"data.txt", 3));
    assert!(hover["contents"]["value"].as_str().is_some_and(|w| w.contains("5 bytes")), "{hover}");
    assert_eq!(editor.result("textDocument/hover", &at(&file, "&", 1))["contents"], Value::Null);

    let symbols = editor.result("textDocument/documentSymbol", &document);
    assert_eq!((&symbols[0]["name"], &symbols[0]["detail"]), (&json!("good"), &json!("run.sh")));
    let names: Vec<&Value> = symbols[0]["children"].as_array().expect("children").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["executable", "inputfiles", "rsl_substitution", "stdout", "walltime", "jobname"]);
    assert_eq!(symbols[0]["children"][1]["children"][1]["name"], "data.txt");

    let file_of = |reply: &Value| reply[0]["uri"].as_str().unwrap_or_default().to_owned();
    for (word, back) in [("\"data.txt", 2), ("in/data.txt", 2)] {
        let there = editor.result("textDocument/definition", &at(&file, word, back));
        assert!(file_of(&there).ends_with("/work/in/data.txt"), "{there}");
    }
    let there = editor.result("textDocument/definition", &at(&file, "=\"run.sh", 2));
    assert!(file_of(&there).ends_with("/work/run.sh"), "the executable is an input: {there}");
    let there = editor.result("textDocument/definition", &at(&file, "$(OUT", 1));
    assert_eq!(there[0]["range"]["start"], place(GOOD, GOOD.find("OUT").expect("OUT")), "{there}");

    let mut rename = at(&file, "$(OUT", 1);
    assert_eq!(editor.result("textDocument/prepareRename", &rename)["placeholder"], "OUT");
    rename["newName"] = json!("RESULT");
    let edit = editor.result("textDocument/rename", &rename);
    let renamed = apply(GOOD, &edit["changes"][&file.uri]);
    assert!(renamed.contains("(\"RESULT\" \"result.txt\")") && renamed.contains("$(RESULT)"), "{renamed}");
    rename["newName"] = json!("a b");
    assert!(editor.ask("textDocument/rename", &rename)["error"]["message"].is_string());
    let references = editor.result("textDocument/references", &json!({
        "textDocument": {"uri": file.uri}, "position": at(&file, "$(OUT", 1)["position"], "context": {"includeDeclaration": true},
    }));
    assert_eq!(references.as_array().map(Vec::len), Some(2));

    let folds = editor.result("textDocument/foldingRange", &document);
    let lines: Vec<(u64, u64)> = folds
        .as_array()
        .expect("folds")
        .iter()
        .map(|f| (f["startLine"].as_u64().expect("start"), f["endLine"].as_u64().expect("end")))
        .collect();
    assert_eq!(lines, [(0, 6), (1, 2)], "{folds}");
    let tokens = editor.result("textDocument/semanticTokens/full", &document);
    let data = tokens["data"].as_array().expect("data");
    assert!(data.len() > 50 && data.len().is_multiple_of(5));
    // `&` is a keyword at the start, `executable` a property two columns on.
    assert_eq!(data[..10], [0, 0, 1, 6, 0, 0, 2, 10, 1, 0].map(|n| json!(n)));

    let options = json!({"tabSize": 4, "insertSpaces": true});
    let ask = json!({"textDocument": {"uri": file.uri}, "options": options});
    let edits = editor.result("textDocument/formatting", &ask);
    let laid_out = apply(GOOD, &edits);
    user.write("again.xrsl", &laid_out);
    let _ = user.actctl(&["fmt", "--check", "again.xrsl"]).ok();

    let unknown = editor.ask("textDocument/nothing", &document);
    assert_eq!(unknown["error"]["code"], -32601);
    let elsewhere = editor.ask(
        "textDocument/hover",
        &json!({"textDocument": {"uri": "file:///no"}, "position": {"line": 0, "character": 0}}),
    );
    assert!(elsewhere["error"]["message"].as_str().is_some_and(|m| m.contains("not open")), "{elsewhere}");
}

#[test]
fn a_letter_is_judged_in_milliseconds() {
    let world = World::new();
    let mut editor = Editor::lsp(&world.user, &json!({}));
    world.user.write("run.sh", "");
    world.user.write("in/data.txt", "");
    let mut file = open(&mut editor, &world.user, "job.xrsl", GOOD);
    let _ = findings(&mut editor, &file);
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..100 {
        let (old, new) = if n % 2 == 0 { ("walltime", "walltimee") } else { ("walltimee", "walltime") };
        let began = Instant::now();
        change(&mut editor, &mut file, old, new);
        let _ = findings(&mut editor, &file);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!("from a letter to its findings: median {:?}, 99 of 100 within {:?}", took[50], took[98]);
    // Half a millisecond on a free machine, without optimisation.
    assert!(took[50] < Duration::from_millis(10), "{took:?}");
}

#[test]
fn the_lens_submits_and_tells_how_its_jobs_stand() {
    let world = World::ready();
    let user = &world.user;
    let refresh = json!({"workspace": {"codeLens": {"refreshSupport": true}}});
    let mut editor = Editor::lsp(user, &refresh);
    let file = open(&mut editor, user, "job.xrsl", &xrsl::with("lens", "echo out; echo err >&2; sleep 1", ""));
    wait_for("lenses for the groups", LONG, || match titles(&mut editor, &file) {
        titles if titles == ["Submit to default", "Submit to down"] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let lenses = editor.result("textDocument/codeLens", &json!({"textDocument": {"uri": file.uri}}));
    editor.forget();
    let run = |editor: &mut Editor, command: &Value| {
        let params = json!({"command": command["command"], "arguments": command["arguments"]});
        editor.result("workspace/executeCommand", &params)
    };
    let submitted = run(&mut editor, &lenses[0]["command"]);
    assert_eq!(submitted["keys"].as_array().map(Vec::len), Some(1), "{submitted}");
    let message = editor.notified("window/showMessage");
    assert!(message["message"].as_str().is_some_and(|m| m.contains("Submitted lens (j1) to default")), "{message}");
    // Each change is announced; the text is right whenever it is asked for.
    let mut seen: Vec<String> = Vec::new();
    loop {
        let titles = titles(&mut editor, &file);
        let last = titles.iter().find(|t| t.starts_with("Last: ")).expect("how its jobs stand").clone();
        let done = titles.iter().any(|t| t == "Get results") && last == "Last: 1 done";
        if seen.last() != Some(&last) {
            seen.push(last);
        }
        if done {
            break;
        }
        editor.notified("workspace/codeLens/refresh");
    }
    assert_eq!(seen.last().map(String::as_str), Some("Last: 1 done"), "{seen:?}");
    assert!(seen.len() >= 2, "it was told on its way: {seen:?}");
    user.wait_phase("lens", "stored");
    let told = editor
        .result("workspace/executeCommand", &json!({"command": "actd.showJobs", "arguments": [{"uri": file.uri}]}));
    assert_eq!(told, "1 lens done");
    for (command, want) in [(json!({"uri": file.uri}), "out\n"), (json!({"keys": ["j1"], "file": "stderr"}), "err\n")] {
        let output =
            editor.result("workspace/executeCommand", &json!({"command": "actd.openStdout", "arguments": [command]}));
        let path = output["path"].as_str().expect("a path");
        assert_eq!(std::fs::read_to_string(path).expect("it is there"), want);
    }
    let got =
        editor.result("workspace/executeCommand", &json!({"command": "actd.fetch", "arguments": [{"uri": file.uri}]}));
    let dir = got["dirs"][0].as_str().unwrap_or_else(|| panic!("{got}"));
    assert_eq!(user.read(format!("{dir}/out.txt")), "out\n");
    let view = editor.result("actd/jobs", &json!({}));
    assert_eq!((&view["connected"], &view["items"][0]["standing"]), (&json!(true), &json!("done")), "{view}");
    assert_eq!(view["proxy"]["state"], "ok", "{view}");
    assert!(editor.end().success(), "hanging up is an end, too");
}

#[test]
fn a_lens_of_many_jobs_kills_and_survives_the_daemon() {
    let world = World::ready();
    let user = &world.user;
    let mut editor = Editor::lsp(user, &json!({}));
    let text =
        format!("+({})({})({})\n", xrsl::endless("a").trim(), xrsl::endless("b").trim(), xrsl::fail("c", 3).trim());
    let file = open(&mut editor, user, "three.xrsl", &text);
    assert_eq!(titles(&mut editor, &file)[0], "Submit 3 jobs to default");
    // Submitted from elsewhere: the editor shows it just the same.
    let _ = user.actctl(&["sub", "three.xrsl"]).ok();
    let last = |editor: &mut Editor, want: &str| {
        wait_for(want, LONG, || {
            let titles = titles(editor, &file);
            if titles.iter().any(|t| t == want) { Ok(titles) } else { Err(format!("{titles:?}")) }
        })
    };
    last(&mut editor, "Last: 2 running, 1 failed");
    user.kill_daemon();
    let submit = json!({"command": "actd.submit", "arguments": [{"uri": "file:///not/open", "group": "default"}]});
    assert!(editor.ask("workspace/executeCommand", &submit)["error"]["message"].is_string());
    // The command starts another daemon, and does what was asked.
    let killed =
        editor.result("workspace/executeCommand", &json!({"command": "actd.kill", "arguments": [{"uri": file.uri}]}));
    assert_eq!(killed["killed"], 2, "{killed}");
    let titles = last(&mut editor, "Last: 1 failed, 2 killed");
    assert!(!titles.iter().any(|t| t == "Kill"), "{titles:?}");
    let show = json!({"command": "actd.showJobs", "arguments": [{"uri": file.uri}]});
    wait_for("why it has failed", LONG, || match editor.result("workspace/executeCommand", &show) {
        Value::String(told) if told.contains("c failed: ") && told.contains("exit code") => Ok(()),
        other => Err(other.to_string()),
    });
    let bad = open(&mut editor, user, "bad.xrsl", "&(executabel=x)");
    let refused =
        editor.ask("workspace/executeCommand", &json!({"command": "actd.submit", "arguments": [{"uri": bad.uri}]}));
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("not submitted")), "{refused}");
}
