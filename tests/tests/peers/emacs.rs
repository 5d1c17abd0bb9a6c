//! Emacs, with the lines that the README gives, without a screen: it starts the server, shows a mistake, and has words.

use std::time::Duration;

use act_tests::World;

#[test]
fn emacs_with_the_lines_of_the_readme() {
    let world = World::new();
    let user = &world.user;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    let lines = readme.split("```elisp\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines for Emacs");
    user.write("init.el", lines);
    user.write("job.xrsl", "&(exectuable=\"/bin/sh\")\n (stdout=\"o\")\n (walltime=\"5\")\n");
    let script = r#"
(package-initialize)
(load-file "init.el")
(setq eglot-sync-connect 30)
(find-file "job.xrsl")
(require 'eglot)
; What the hook asks for comes after a command, and a batch has none.
(run-hooks 'post-command-hook)
(let ((n 0))
  (while (and (< n 300) (null (flymake-diagnostics)))
    (accept-process-output nil 0.1)
    (when (eglot-managed-p) (flymake-start))
    (setq n (1+ n))))
(dolist (d (flymake-diagnostics)) (princ (format "%s: %s\n" major-mode (flymake-diagnostic-text d))))
(search-forward "(wall")
(let ((words (jsonrpc-request (eglot--current-server-or-lose) :textDocument/completion (eglot--TextDocumentPositionParams))))
  (princ (format "%d words\n" (length words))))
"#;
    user.write("day.el", script);
    let mut emacs = user.command("emacs");
    emacs.args(["--batch", "-l", "day.el"]);
    let ran = user.run(emacs, Duration::from_secs(90)).ok();
    assert!(ran.stdout.starts_with("xrsl-mode: ") && ran.stdout.contains("[E21]"), "{ran}");
    let words = ran.lines().last().and_then(|l| l.strip_suffix(" words")?.parse::<u32>().ok());
    assert!(words > Some(20), "{ran}");
}
