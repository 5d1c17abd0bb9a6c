//! Conversations without HTTP: one JSON value per line, or `Content-Length` headers. Both are the same session, read and
//! written differently. What a message means is `dispatch`'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use act_proto::MAX_MESSAGE;
use jsonrpsee::core::server::Methods;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::dispatch::Dispatcher;
use super::peer::{Language, Peer, Whole};

/// Calls of one connection that may be under way at a time; further ones wait in the socket.
const CALLS: usize = 64;
/// Replies and events that wait to be written.
const OUT: usize = 64;
/// A client that takes nothing for so long is cut off.
const SLOW: Duration = Duration::from_secs(30);
/// What is ready when a conversation ends is written for so long.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Longest line of a `Content-Length` head.
const HEAD_LINE: u64 = 1024;

/// Speaks with one client until it hangs up, or the daemon stops.
pub(super) async fn serve(stream: Whole, language: Language, methods: Methods, peer: Peer, stop: CancellationToken) {
    let (reader, writer) = tokio::io::split(stream);
    let (out, replies) = mpsc::channel(OUT);
    let (gone, finish) = (CancellationToken::new(), CancellationToken::new());
    let calls = Arc::new(Semaphore::new(CALLS));
    let dispatcher = Arc::new(Dispatcher::new(methods, peer, out));
    let mut writing = tokio::spawn(write(BufWriter::new(writer), replies, language, gone.clone(), finish.clone()));
    let reading = read(BufReader::new(reader), language, dispatcher, calls.clone());
    tokio::select! {
        ended = reading => {
            if let Err(e) = ended {
                tracing::debug!(connection = peer.connection, "a client's connection: {e}");
            }
            // `echo ... | nc -U` has closed its side before the answer is ready. Subscriptions end with it.
            tokio::select! {
                _ = calls.acquire_many(CALLS as u32) => {}
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

async fn read(
    mut reader: impl AsyncBufRead + Unpin,
    language: Language,
    dispatcher: Arc<Dispatcher>,
    calls: Arc<Semaphore>,
) -> io::Result<()> {
    loop {
        // A call's place first: what cannot be carried out yet is not even read.
        let Ok(place) = calls.clone().acquire_owned().await else { return Ok(()) };
        let message = match language {
            Language::Headers => framed(&mut reader).await,
            Language::Lines | Language::Http => line(&mut reader).await,
        };
        match message {
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

fn too_large() -> io::Error {
    io::Error::from(io::ErrorKind::FileTooLarge)
}

/// One line; none at the end. The last one needs no newline.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let max = u64::from(MAX_MESSAGE) + 1;
    if reader.take(max).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.len() as u64 >= max {
        return Err(too_large());
    }
    Ok(Some(line))
}

/// One message behind its head; none at the end.
async fn framed(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut length: Option<usize> = None;
    let mut first = true;
    // No real head has more lines.
    for _ in 0..16 {
        let mut line = Vec::new();
        if (&mut *reader).take(HEAD_LINE).read_until(b'\n', &mut line).await? == 0 && first {
            return Ok(None);
        }
        first = false;
        let text = std::str::from_utf8(&line).map_err(|_| broken("a head that is no text"))?;
        let Some(text) = text.strip_suffix('\n') else { return Err(broken("a head that does not end")) };
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            let Some(length) = length else { return Err(broken("a head without Content-Length")) };
            if length > MAX_MESSAGE as usize {
                return Err(too_large());
            }
            let mut message = Vec::new();
            // Grows with what arrives: a length alone must not take memory.
            let n = (&mut *reader).take(length as u64).read_to_end(&mut message).await?;
            return if n == length { Ok(Some(message)) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) };
        }
        let Some((name, value)) = text.split_once(':') else { return Err(broken("a line of a head without a colon")) };
        if name.trim().eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| broken("a Content-Length that is no number"))?);
        }
    }
    Err(broken("a head of too many lines"))
}

async fn write(
    mut writer: BufWriter<impl AsyncWrite + Unpin>,
    mut replies: mpsc::Receiver<Box<RawValue>>,
    language: Language,
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
            if language == Language::Headers {
                writer.write_all(format!("Content-Length: {}\r\n\r\n", reply.get().len()).as_bytes()).await?;
                writer.write_all(reply.get().as_bytes()).await?;
            } else {
                writer.write_all(reply.get().as_bytes()).await?;
                writer.write_all(b"\n").await?;
            }
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
    let _ = writer.shutdown().await;
}
