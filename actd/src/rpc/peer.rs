//! One accepted connection: who is at the other end, and what they speak. Reads only as many bytes as it takes to tell,
//! and gives them back to whoever speaks it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// How long a client may take to say its first word.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Who is at the other end. Given to every call as a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// A number of the connection: never used twice.
    pub connection: u32,
    /// Its process, as far as the system tells.
    pub pid: Option<i32>,
}

/// Refuses connections of other users. The socket's mode does that already, unless somebody changes it.
///
/// # Errors
/// It is another user's, or the system does not say whose.
pub(super) fn check(stream: &UnixStream, connection: u32) -> io::Result<Peer> {
    let peer = stream.peer_cred()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("uid {} (pid {}) is not the user of this daemon", peer.uid(), peer.pid().unwrap_or(0));
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(Peer { connection, pid: peer.pid() })
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// HTTP/1.1: POST, or an upgrade to WebSocket.
    Http,
    /// One JSON value per line.
    Lines,
    /// `Content-Length` headers as language servers have them.
    Headers,
}

/// Tells what is spoken. No HTTP method begins like `Content-`, and none with a brace.
fn language(head: &[u8]) -> Option<Language> {
    let start = head.iter().position(|b| !b.is_ascii_whitespace())?;
    let word = &head[start..];
    if matches!(word[0], b'{' | b'[') {
        return Some(Language::Lines);
    }
    const HEADER: &[u8] = b"content-";
    let n = word.len().min(HEADER.len());
    if !word[..n].eq_ignore_ascii_case(&HEADER[..n]) {
        return Some(Language::Http);
    }
    (n == HEADER.len()).then_some(Language::Headers)
}

/// Waits for the first bytes.
///
/// # Errors
/// None came in time, or the client hung up.
pub(super) async fn sniff(mut stream: UnixStream) -> io::Result<(Language, Whole)> {
    let mut head = Vec::with_capacity(64);
    let told = tokio::time::timeout(FIRST_WORD, async {
        loop {
            if let Some(language) = language(&head) {
                return Ok(language);
            }
            // Only white space so far: whoever sends that much of it sends no HTTP.
            if head.len() >= 64 {
                return Ok(Language::Lines);
            }
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    });
    let language = told.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok((language, Whole { head, read: 0, stream }))
}

/// A connection with its first bytes put back.
#[derive(Debug)]
pub(super) struct Whole {
    head: Vec<u8>,
    read: usize,
    stream: UnixStream,
}

impl AsyncRead for Whole {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read < self.head.len() {
            let n = buf.remaining().min(self.head.len() - self.read);
            buf.put_slice(&self.head[self.read..self.read + n]);
            self.read += n;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Whole {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        for (head, is) in [
            ("{\"jsonrpc\"", Some(Language::Lines)),
            (" \r\n [", Some(Language::Lines)),
            ("Content-Length: 3", Some(Language::Headers)),
            ("content-type: x", Some(Language::Headers)),
            ("Cont", None),
            ("  ", None),
            ("", None),
            ("CONNECT h", Some(Language::Http)),
            ("POST /rpc", Some(Language::Http)),
            ("\0\u{1}", Some(Language::Http)),
        ] {
            assert_eq!(language(head.as_bytes()), is, "{head:?}");
        }
    }
}
