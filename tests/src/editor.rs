//! A program that speaks JSON-RPC with `Content-Length` heads over a child's stdin and stdout: `actctl lsp`, or
//! `actctl rpc --stdio`. What it says is collected, so that a test can wait for it in any order.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use serde_json::{Value, json};

use crate::bins;
use crate::user::User;
use crate::wait::LONG;

/// A conversation.
pub struct Editor {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Value>,
    /// What has come and nobody has asked for yet.
    kept: Vec<Value>,
    last: i64,
}

impl Editor {
    /// Starts `actctl` with these arguments.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(user: &User, args: &[&str]) -> Self {
        let mut command = user.command(bins::program("actctl"));
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("actctl runs");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout"));
        let (tell, messages) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            while let Some(message) = read(&mut reader) {
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, messages, kept: Vec::new(), last: 0 }
    }

    /// Starts `actctl lsp` and introduces itself with these capabilities.
    #[must_use]
    pub fn lsp(user: &User, capabilities: &Value) -> Self {
        let mut editor = Self::start(user, &["lsp"]);
        let reply =
            editor.ask("initialize", &json!({"processId": null, "rootUri": null, "capabilities": capabilities}));
        assert!(reply["result"]["capabilities"].is_object(), "{reply}");
        editor.tell("initialized", &json!({}));
        editor
    }

    /// Sends a message as it is.
    ///
    /// # Panics
    /// The program has ended.
    pub fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let stdin = self.stdin.as_mut().expect("the conversation is going on");
        write!(stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).and_then(|()| stdin.flush()).expect("it listens");
    }

    /// Sends a notification.
    pub fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Sends a request without waiting for its answer; its id.
    pub fn begin(&mut self, method: &str, params: &Value) -> i64 {
        self.last += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}));
        self.last
    }

    /// Sends a request and waits for its answer, whole.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        self.wait(&format!("the answer to {method}"), |m| m["id"] == id && m.get("method").is_none())
    }

    /// The result of a request.
    ///
    /// # Panics
    /// It is an error.
    #[track_caller]
    pub fn result(&mut self, method: &str, params: &Value) -> Value {
        let mut reply = self.ask(method, params);
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    /// Waits for a message that fits; others are kept.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(i) = self.kept.iter().position(&fits) {
            return self.kept.remove(i);
        }
        let until = Instant::now() + LONG;
        loop {
            match self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) if fits(&message) => return message,
                Ok(message) => self.kept.push(message),
                Err(RecvTimeoutError::Timeout) => panic!("{what} does not come; what came: {:#?}", self.kept),
                Err(RecvTimeoutError::Disconnected) => panic!("{what} does not come: it has ended; {:#?}", self.kept),
            }
        }
    }

    /// Waits for a notification of a method.
    #[track_caller]
    pub fn notified(&mut self, method: &str) -> Value {
        self.wait(method, |m| m["method"] == method)["params"].take()
    }

    /// Forgets what has come and was not asked for.
    pub fn forget(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            drop(message);
        }
        self.kept.clear();
    }

    /// Hangs up and waits for the end.
    ///
    /// # Panics
    /// It does not end.
    pub fn end(mut self) -> ExitStatus {
        self.stdin = None;
        self.ended()
    }

    /// Waits for its end without hanging up.
    ///
    /// # Panics
    /// It does not end.
    pub fn ended(mut self) -> ExitStatus {
        crate::wait_for("the end of actctl", LONG, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", n)) => length = n.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
