//! From bytes to messages and back: one JSON value per line, `Content-Length` heads, or a WebSocket's messages. What a
//! message means is not known here.

use std::io;
use std::time::Duration;

use act_proto::MAX_MESSAGE;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf, split,
};

use super::peer::Whole;

/// From the first byte of a message to its last; how long a client is silent between messages is its own affair.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest line of a `Content-Length` head.
const HEAD_LINE: u64 = 1024;

/// What a client sends.
pub(super) enum Incoming {
    Lines(BufReader<ReadHalf<Whole>>),
    Heads(BufReader<ReadHalf<Whole>>),
    Socket(SplitStream<WebSocket>),
}

/// What goes to a client.
pub(super) enum Outgoing {
    Lines(BufWriter<WriteHalf<Whole>>),
    Heads(BufWriter<WriteHalf<Whole>>),
    Socket(SplitSink<WebSocket, Message>),
}

/// One JSON value per line, both ways.
pub(super) fn lines(stream: Whole) -> (Incoming, Outgoing) {
    let (reader, writer) = split(stream);
    (Incoming::Lines(BufReader::new(reader)), Outgoing::Lines(BufWriter::new(writer)))
}

/// `Content-Length` heads, both ways.
pub(super) fn heads(stream: Whole) -> (Incoming, Outgoing) {
    let (reader, writer) = split(stream);
    (Incoming::Heads(BufReader::new(reader)), Outgoing::Heads(BufWriter::new(writer)))
}

/// One JSON value per message of a WebSocket, both ways.
pub(super) fn websocket(socket: WebSocket) -> (Incoming, Outgoing) {
    let (writer, reader) = socket.split();
    (Incoming::Socket(reader), Outgoing::Socket(writer))
}

impl Incoming {
    /// The next message, maybe of white space only; none at the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`]: it is larger than a message may be. Others end the conversation without a word.
    pub(super) async fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Lines(reader) => {
                reader.fill_buf().await?;
                in_time(line(reader), PATIENCE).await
            }
            Self::Heads(reader) => {
                reader.fill_buf().await?;
                in_time(framed(reader), PATIENCE).await
            }
            Self::Socket(reader) => match reader.next().await {
                None | Some(Ok(Message::Close(_))) => Ok(None),
                Some(Ok(Message::Text(text))) => within(text.as_bytes().to_vec()),
                Some(Ok(Message::Binary(bytes))) => within(bytes.into()),
                // Pings are answered where WebSockets are made.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Some(Vec::new())),
                Some(Err(e)) => Err(io::Error::other(e)),
            },
        }
    }
}

impl Outgoing {
    /// Writes a message; what is not yet flushed may stay in memory.
    pub(super) async fn message(&mut self, message: Box<RawValue>) -> io::Result<()> {
        match self {
            Self::Lines(writer) => {
                writer.write_all(message.get().as_bytes()).await?;
                writer.write_all(b"\n").await
            }
            Self::Heads(writer) => {
                writer.write_all(format!("Content-Length: {}\r\n\r\n", message.get().len()).as_bytes()).await?;
                writer.write_all(message.get().as_bytes()).await
            }
            Self::Socket(writer) => {
                let text = String::from(Box::<str>::from(message));
                writer.feed(Message::Text(text.into())).await.map_err(io::Error::other)
            }
        }
    }

    /// Hands everything to the system.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(writer) | Self::Heads(writer) => writer.flush().await,
            Self::Socket(writer) => writer.flush().await.map_err(io::Error::other),
        }
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(writer) | Self::Heads(writer) => writer.shutdown().await,
            Self::Socket(writer) => writer.close().await.map_err(io::Error::other),
        }
    }
}

/// A client that never comes to the end of its message would hold its place for ever.
async fn in_time(
    message: impl Future<Output = io::Result<Option<Vec<u8>>>>,
    patience: Duration,
) -> io::Result<Option<Vec<u8>>> {
    tokio::time::timeout(patience, message).await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

fn within(message: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    if message.len() > MAX_MESSAGE as usize { Err(too_large()) } else { Ok(Some(message)) }
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

/// Reads any bytes as messages in both framings, to their end: none is larger than a message may be, and it comes to an end.
#[cfg(fuzzing)]
pub(super) fn fuzz(data: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    runtime.block_on(async {
        for is_line in [true, false] {
            let (mut rest, mut count) = (data, 0);
            while let Ok(Some(message)) = if is_line { line(&mut rest).await } else { framed(&mut rest).await } {
                count += 1;
                assert!(message.len() <= MAX_MESSAGE as usize && count <= data.len(), "{count} messages");
                // As the dispatcher takes them.
                let _ = serde_json::from_slice::<Vec<&RawValue>>(&message);
                let _ = serde_json::from_slice::<jsonrpsee::types::Request<'_>>(&message);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn silence_is_borne_and_half_a_message_is_not() {
        for (whole, half) in [("{}\n", "{"), ("Content-Length: 2\r\n\r\n{}", "Content-Length: 99\r\n\r\n{")] {
            let (mut client, server) = duplex(1024);
            let mut reader = BufReader::new(server);
            let is_line = whole.starts_with('{');
            let mut next = async || {
                reader.fill_buf().await?;
                if is_line {
                    in_time(line(&mut reader), SHORT).await
                } else {
                    in_time(framed(&mut reader), SHORT).await
                }
            };
            client.write_all(whole.as_bytes()).await.expect("write");
            assert!(next().await.expect("a message").is_some());
            assert!(tokio::time::timeout(SHORT * 5, next()).await.is_err(), "silence is no fault");
            let drip = async {
                client.write_all(half.as_bytes()).await.expect("write");
                loop {
                    tokio::time::sleep(SHORT / 20).await;
                    // The daemon hangs up at some time.
                    let _ = client.write_all(b" ").await;
                }
            };
            let ended = tokio::select! { ended = next() => ended, () = drip => unreachable!("it drips for ever") };
            assert_eq!(ended.expect_err(half).kind(), io::ErrorKind::TimedOut);
        }
    }
}
