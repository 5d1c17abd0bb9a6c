//! `actctl lsp`: a language server for xRSL on stdin and stdout.
//!
//! Two halves: `server` answers the editor on a thread of its own, from the open documents and what is known of jobs; it
//! never waits for anybody. `link` and `commands` talk to the daemon. Without one, everything works that is not about
//! jobs.

pub mod commands;
pub mod complete;
pub mod document;
pub mod hover;
pub mod jobs;
pub mod lenses;
pub mod link;
pub mod mend;
pub mod navigate;
pub mod outline;
pub mod scan;
mod server;
pub mod text;

#[cfg(test)]
mod hostile_tests;

use std::io::IsTerminal;
use std::sync::Arc;

use lsp_server::{Connection, RequestId};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};

/// Commands that wait for the daemon at a time.
const ORDERS: usize = 64;
/// Pieces of news that wait for the editor's side.
const NEWS: usize = 64;

/// What came of a command that an editor has asked for.
type Done = (RequestId, Result<commands::Outcome, Failure>);

/// Serves one editor until it says goodbye or hangs up.
///
/// # Errors
/// What the editor sends is no language server protocol.
pub async fn run(ctx: &Ctx) -> Outcome {
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage("`lsp` talks to an editor, not to a terminal")
            .hint("actctl/editors has plugins, and the README lines for other editors; `actctl check` is for people"));
    }
    let (news_in, news) = crossbeam_channel::bounded(NEWS);
    let (done_in, done) = crossbeam_channel::bounded::<Done>(ORDERS);
    let (orders_in, mut orders) = mpsc::channel::<(RequestId, commands::Order)>(ORDERS);
    let (ended_in, mut ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("lsp".to_owned()).spawn(move || {
        let (connection, threads) = Connection::stdio();
        let served = server::serve(&connection, &news, &done, orders_in);
        drop(connection);
        // The last answers are still being written.
        let written = threads.join().map_err(|e| format!("stdin or stdout: {e}"));
        let _ = ended_in.send(served.and(written));
    });
    thread.map_err(|e| Failure::local(format!("cannot start a thread: {e}")))?;
    let wake = Arc::new(Notify::new());
    let following = link::follow(ctx, news_in, wake.clone());
    tokio::pin!(following);
    let mut following_ended = false;
    let shared = Arc::new(ctx.clone());
    loop {
        tokio::select! {
            end = &mut ended => {
                return match end {
                    Ok(Ok(())) => Ok(OK),
                    Ok(Err(why)) => Err(Failure::usage(format!("the editor: {why}"))),
                    Err(_) => Err(Failure::local("the language server has ended by a mistake of its own")),
                };
            }
            () = &mut following, if !following_ended => following_ended = true,
            Some((id, order)) = orders.recv() => {
                let (ctx, done, wake) = (shared.clone(), done_in.clone(), wake.clone());
                tokio::spawn(async move {
                    let outcome = commands::run(&ctx, order).await;
                    wake.notify_one();
                    // The editor may have gone.
                    let _ = done.send((id, outcome));
                });
            }
        }
    }
}
