//! One client's conversation, however it is framed: messages are read and carried out side by side, answers and events
//! written as they come. How bytes become messages is `framing`'s, what a message means is `dispatch`'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::server::Methods;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::MAX_CALLS;
use super::dispatch::Dispatcher;
use super::framing::{Incoming, Outgoing};
use super::peer::Peer;

/// Replies and events that wait to be written.
const OUT: usize = 64;
/// A client that takes nothing for so long is cut off.
const SLOW: Duration = Duration::from_secs(30);
/// What is ready when a conversation ends is written for so long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Speaks with one client until it hangs up, or the daemon stops.
pub(super) async fn serve(
    (reader, writer): (Incoming, Outgoing),
    methods: Methods,
    peer: Peer,
    stop: CancellationToken,
) {
    let (out, replies) = mpsc::channel(OUT);
    let (gone, finish) = (CancellationToken::new(), CancellationToken::new());
    let calls = Arc::new(Semaphore::new(MAX_CALLS));
    let dispatcher = Arc::new(Dispatcher::new(methods, peer, out));
    let mut writing = tokio::spawn(write(writer, replies, gone.clone(), finish.clone()));
    let reading = read(reader, dispatcher, calls.clone());
    tokio::select! {
        ended = reading => {
            if let Err(e) = ended {
                tracing::debug!(connection = peer.connection, "a client's connection: {e}");
            }
            // `echo ... | nc -U` has closed its side before the answer is ready. Subscriptions end with it.
            tokio::select! {
                _ = calls.acquire_many(MAX_CALLS as u32) => {}
                () = gone.cancelled() => {}
            }
            finish.cancel();
        }
        () = gone.cancelled() => {}
        // Calls and subscriptions end by themselves now, and have their last word.
        () = stop.cancelled() => {}
    }
    if tokio::time::timeout(LAST_WORDS, &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn read(mut reader: Incoming, dispatcher: Arc<Dispatcher>, calls: Arc<Semaphore>) -> io::Result<()> {
    loop {
        // A call's place first: what cannot be carried out yet is not even read.
        let Ok(place) = calls.clone().acquire_owned().await else { return Ok(()) };
        match reader.message().await {
            Ok(Some(message)) if message.iter().all(u8::is_ascii_whitespace) => {}
            Ok(Some(message)) => {
                let dispatcher = dispatcher.clone();
                tokio::spawn(async move {
                    dispatcher.message(message).await;
                    drop(place);
                });
            }
            Ok(None) => return Ok(()),
            Err(e) => {
                if e.kind() == io::ErrorKind::FileTooLarge {
                    dispatcher.too_large().await;
                }
                return Err(e);
            }
        }
    }
}

async fn write(
    mut writer: Outgoing,
    mut replies: mpsc::Receiver<Box<RawValue>>,
    gone: CancellationToken,
    finish: CancellationToken,
) {
    let _cut = gone.drop_guard();
    loop {
        let reply = tokio::select! {
            biased;
            reply = replies.recv() => reply,
            () = finish.cancelled() => None,
        };
        let Some(reply) = reply else { break };
        let wrote = tokio::time::timeout(SLOW, async {
            writer.message(reply).await?;
            // One write for all that is ready.
            if replies.is_empty() {
                writer.flush().await?;
            }
            io::Result::Ok(())
        });
        match wrote.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return tracing::info!("a client that takes nothing is cut off"),
        }
    }
    let _ = writer.close().await;
}
