//! Request bodies that are read from a file while they are sent, or were before: exact length, progress, and a gate for
//! `Expect: 100-continue`. It must not open files: the caller hands over one it has already checked.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::AsyncSeekExt as _;
use tokio::time::Instant;

/// Bytes read from the file, and handed to the connection, at a time.
const CHUNK: usize = 256 * 1024;

/// Called with the number of bytes handed to the connection so far; must not block.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// A file to send: an open handle and the size that it must have. The handle and not the path, so that what was
/// checked is what is sent. It is read from byte 0 wherever its position is.
#[derive(Debug)]
pub struct InputFile {
    source: Source,
    size: u64,
}

#[derive(Debug)]
enum Source {
    File(File),
    /// All of it.
    Memory(Bytes),
}

impl InputFile {
    /// `size` is what the file had when it was checked; a file that has become shorter or longer is not sent.
    pub fn new(file: File, size: u64) -> Self {
        Self { source: Source::File(file), size }
    }

    /// A small file that has been read already.
    pub fn read(content: Bytes) -> Self {
        Self { size: content.len() as u64, source: Source::Memory(content) }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A second handle on the same open file, for a request that has to be sent twice.
    pub async fn again(&self) -> std::io::Result<Self> {
        let source = match &self.source {
            Source::File(file) => Source::File(file.try_clone().await?),
            Source::Memory(content) => Source::Memory(content.clone()),
        };
        Ok(Self { source, size: self.size })
    }

    pub(crate) async fn into_body(mut self, progress: Option<Progress>) -> std::io::Result<FileBody> {
        if let Source::File(file) = &mut self.source {
            file.rewind().await?;
        }
        Ok(FileBody {
            source: self.source,
            size: self.size,
            sent: 0,
            done: false,
            buffer: BytesMut::new(),
            progress,
            activity: Activity::default(),
            gate: None,
        })
    }
}

/// So begins what is said of a file that was opened and then could not be read.
pub(crate) const UNREADABLE: &str = "cannot read the input file";

/// The file could not be sent as promised; found again in the chain of hyper's error.
#[derive(Debug)]
pub(crate) struct SourceError(String);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SourceError {}

/// When bytes last moved, so that a long upload is not taken for a silent server.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    start: Instant,
    last_millis: Arc<AtomicU64>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { start: Instant::now(), last_millis: Arc::new(AtomicU64::new(0)) }
    }
}

impl Activity {
    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }
}

/// Ends with true to let the body through, false to break it off.
type Gate = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The body of an upload. Ends with an error, which breaks the connection off, unless exactly the promised bytes were read.
pub(crate) struct FileBody {
    source: Source,
    size: u64,
    sent: u64,
    done: bool,
    buffer: BytesMut,
    progress: Option<Progress>,
    activity: Activity,
    gate: Option<Gate>,
}

impl FileBody {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// No byte is read or sent before this future ends; none at all if it ends with false.
    pub(crate) fn hold_until(&mut self, gate: impl Future<Output = bool> + Send + 'static) {
        self.gate = Some(Box::pin(gate));
    }

    /// Waits at the gate, if there is one; false means that nothing may be sent any more.
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(gate) = self.gate.as_mut() else { return Poll::Ready(true) };
        let open = std::task::ready!(gate.as_mut().poll(cx));
        self.gate = None;
        self.activity.touch();
        Poll::Ready(open)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        if !std::task::ready!(this.poll_gate(cx)) {
            this.done = true;
            return Poll::Ready(Some(Err(SourceError("not wanted by the server".into()))));
        }
        let left = this.size - this.sent;
        let piece = match &mut this.source {
            Source::Memory(content) => Ok(std::mem::take(content)),
            Source::File(file) => {
                this.buffer.reserve(CHUNK);
                let read = tokio_util::io::poll_read_buf(Pin::new(file), cx, &mut this.buffer);
                std::task::ready!(read).map(|_| this.buffer.split().freeze())
            }
        };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                this.done = true;
                return Poll::Ready(Some(Err(SourceError(format!("{UNREADABLE}: {error}")))));
            }
        };
        let read = piece.len() as u64;
        if read > left || (read == 0 && left > 0) {
            this.done = true;
            let what = if read > left { "grew" } else { "shrank" };
            return Poll::Ready(Some(Err(SourceError(format!(
                "the input file {what} while it was sent (it had {} bytes)",
                this.size
            )))));
        }
        if read == 0 {
            this.done = true;
            return Poll::Ready(None);
        }
        this.sent += read;
        this.activity.touch();
        if let Some(progress) = &this.progress {
            progress(this.sent);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.done || (self.size == 0 && self.gate.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size - self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::io::Write as _;

    async fn input(content: &[u8], size: u64) -> InputFile {
        let mut file = tempfile::tempfile().expect("temp file");
        file.write_all(content).expect("write");
        InputFile::new(File::from_std(file), size)
    }

    #[tokio::test]
    async fn the_whole_file_from_its_start_or_nothing() {
        let content = vec![7u8; CHUNK * 2 + 5];
        let file = input(&content, content.len() as u64).await;
        let seen = Arc::new(AtomicU64::new(0));
        let progress: Progress = {
            let seen = seen.clone();
            Arc::new(move |n| seen.store(n, Ordering::Relaxed))
        };
        for _ in 0..2 {
            let body = file.again().await.expect("again").into_body(Some(progress.clone())).await.expect("body");
            assert_eq!(body.collect().await.expect("collect").to_bytes(), content);
            assert_eq!(seen.load(Ordering::Relaxed), content.len() as u64);
        }
        for wrong in [content.len() as u64 + 1, content.len() as u64 - 1] {
            let body = input(&content, wrong).await.into_body(None).await.expect("body");
            assert!(body.collect().await.is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_empty_file_is_an_empty_body() {
        for file in [input(b"", 0).await, InputFile::read(Bytes::new())] {
            let body = file.into_body(None).await.expect("body");
            assert!(body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(0));
            assert!(body.collect().await.expect("collect").to_bytes().is_empty());
        }
    }

    #[tokio::test]
    async fn what_was_read_before_is_sent_as_often_as_need_be() {
        let file = InputFile::read(Bytes::from_static(b"hello"));
        for _ in 0..2 {
            let body = file.again().await.expect("again").into_body(None).await.expect("body");
            assert_eq!(body.size_hint().exact(), Some(5));
            assert_eq!(body.collect().await.expect("collect").to_bytes(), "hello");
        }
    }
}
