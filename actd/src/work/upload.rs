//! Uploading the inputs of one job, one after the other: to the aCT server, into the job's WebDAV directory, or to where
//! jobs with equal files share one. A file is sent only as it was when the job was submitted.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::hands::{Inner, Tools};
use super::progress::{Meter, TransferKind};
use super::trouble::{self, Repeat, blocking};
use super::{Done, ProgressSink, plain_path, webdav_dir};
use crate::failpoint;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};
use crate::job::{InputFile, Key, ServerId, Spec};
use crate::remote::act::ActClient;
use crate::remote::webdav::{self, WebdavClient};
use crate::remote::{self, RemoteError};

/// Inputs up to this size are read whole before they are sent: what was checked is in hand then, and need not be looked
/// at again.
const SMALL: u64 = 64 * 1024;
/// A file that is being sent when the work is told to end has so long to arrive.
const LAST_FILE: Duration = Duration::from_secs(5);

/// Where the files go.
enum Target<'a> {
    Server(&'a ActClient),
    Store {
        store: &'a WebdavClient,
        dir: Url,
    },
    /// Names below the base, one for each input.
    Shared {
        store: &'a WebdavClient,
        base: Url,
        files: &'a [Arc<str>],
    },
}

/// The upload of one job.
struct Upload<'a> {
    hands: &'a Inner,
    target: Target<'a>,
    key: Key,
    id: ServerId,
    meter: Arc<Meter>,
    cancel: &'a CancellationToken,
}

/// A failure, and whether it is one of the exchange with the aCT server.
type Failure = (Fault, bool);

pub(super) async fn upload(
    hands: &Inner,
    tools: &Tools,
    key: Key,
    id: ServerId,
    spec: &Spec,
    sink: &ProgressSink,
    cancel: &CancellationToken,
) -> Done {
    let meter = sink.meter(key, TransferKind::Upload);
    meter.update(|p| p.total = spec.inputs.iter().map(|i| i.size).sum());
    let target = match &spec.webdav {
        None => Ok(Target::Server(&tools.act)),
        Some(base) if !spec.staged.is_empty() => {
            store(tools, base).map(|(store, base)| Target::Shared { store, base, files: &spec.staged })
        }
        Some(base) => store(tools, &webdav_dir(base, id)).map(|(store, dir)| Target::Store { store, dir }),
    };
    let result = match target {
        Ok(target) => Upload { hands, target, key, id, meter, cancel }.run(spec).await,
        Err(fault) => Err((fault, false)),
    };
    match result {
        Ok(()) => Done::one(key, Input::Uploaded(Ok(())), None),
        Err((fault, of_server)) => {
            let stops_all = (of_server && trouble::stops_all(&fault)).then(|| fault.clone());
            Done::one(key, Input::Uploaded(Err(fault)), stops_all)
        }
    }
}

impl Upload<'_> {
    async fn run(self, spec: &Spec) -> Result<(), Failure> {
        let here = |fault| (fault, false);
        if let Target::Store { store, dir } = &self.target {
            self.hands.may_ask(dir).map_err(here)?;
            failpoint!("webdav.mkcol.before");
            let made = make_dirs(store, dir, spec).await;
            failpoint!("webdav.mkcol.after");
            self.hands.asked(dir, made.as_ref().err());
            made.map_err(|e| here(trouble::store(&e)))?;
        }
        let mut sent = 0;
        for (n, input) in spec.inputs.iter().enumerate() {
            if n >= self.uploaded() {
                self.share(n, input, sent).await.inspect_err(|(fault, _)| self.forget_after(fault))?;
                self.remember(n + 1);
            }
            sent += input.size;
            self.meter.update(|p| {
                p.bytes = sent;
                p.files += 1;
            });
        }
        self.forget();
        Ok(())
    }

    /// Where the input is one that jobs share: it is uploaded unless it is there.
    async fn share(&self, n: usize, input: &InputFile, before: u64) -> Result<(), Failure> {
        let Target::Shared { store, base, files } = &self.target else { return self.one(input, None, before).await };
        let here = |fault| (fault, false);
        let file = files.get(n).ok_or_else(|| here(Fault::new(Class::Local, "it shares fewer files than it has")))?;
        let url = shared_url(base, file).map_err(here)?;
        let mut place = tokio::select! {
            () = self.cancel.cancelled() => return Err(here(trouble::stopped())),
            place = self.hands.staged.turn(url.as_str()) => place,
        };
        if place.is_there() {
            failpoint!("shared.believed");
            return Ok(());
        }
        self.hands.may_ask(&url).map_err(here)?;
        // Also whoever began the file's life may have uploaded it in vain before, to another row or before a restart, and
        // clusters may be reading it by now.
        let found = store.stat(&url).await;
        self.hands.asked(&url, found.as_ref().err());
        let found = found.map_err(|e| here(trouble::store(&e)))?;
        if found.is_some_and(|stat| stat.size == Some(input.size) && stat.is_dir != Some(true)) {
            place.seen();
            failpoint!("shared.found");
            return Ok(());
        }
        self.one(input, Some(&url), before).await?;
        place.seen();
        Ok(())
    }

    async fn one(&self, input: &InputFile, at: Option<&Url>, before: u64) -> Result<(), Failure> {
        let here = |fault| (fault, false);
        let _place = tokio::select! {
            () = self.cancel.cancelled() => return Err(here(trouble::stopped())),
            place = self.hands.uploads.acquire() => place.map_err(|_| here(trouble::stopped()))?,
        };
        let (body, file) = match open(input).await.map_err(here)? {
            Opened::Small(content) => (remote::InputFile::read(content.into()), None),
            Opened::Large(file) => {
                let handle = file.try_clone().map_err(|e| here(trouble::input(&e, &input.path)))?;
                (remote::InputFile::new(tokio::fs::File::from_std(handle), input.size), Some(file))
            }
        };
        let meter = self.meter.clone();
        let progress: remote::Progress = Arc::new(move |sent| meter.update(|p| p.bytes = before + sent));
        let send = std::pin::pin!(self.send(input, at, body, progress));
        // A request that is given up may still be executed, and its row must be left alone for long. One that comes to its
        // end soon leaves nothing behind.
        let given_up = async {
            self.cancel.cancelled().await;
            tokio::time::sleep(LAST_FILE).await;
        };
        tokio::select! {
            biased;
            result = send => result?,
            () = given_up => return Err(here(trouble::interrupted())),
        }
        if self.cancel.is_cancelled() {
            return Err(here(trouble::stopped()));
        }
        match file {
            Some(file) => still_same(file, input).await.map_err(here),
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        input: &InputFile,
        at: Option<&Url>,
        body: remote::InputFile,
        progress: remote::Progress,
    ) -> Result<(), Failure> {
        let name = plain_path(&input.name);
        match &self.target {
            Target::Server(act) => {
                failpoint!("upload.before");
                let result = act.upload(self.id, &name, body, Some(progress)).await;
                failpoint!("upload.after");
                result.map_err(|error| match error.class() {
                    remote::ErrorClass::Local => (trouble::input_sent(&error, input), false),
                    _ => (trouble::remote(&error, Repeat::Harmless), true),
                })
            }
            Target::Store { store, dir: base } | Target::Shared { store, base, .. } => {
                let url = at.cloned().or_else(|| webdav::below(base, &name)).ok_or_else(|| {
                    let why = format!("the input \"{}\" cannot have a URL on a WebDAV store", input.name);
                    (Fault::new(Class::Local, why), false)
                })?;
                failpoint!("webdav.put.before");
                let result = store.put(&url, &body, Some(progress)).await;
                failpoint!("webdav.put.after");
                self.hands.asked(base, result.as_ref().err());
                result.map_err(|error| match error.class() {
                    remote::ErrorClass::Local => (trouble::input_sent(&error, input), false),
                    _ => (trouble::store(&error), false),
                })
            }
        }
    }

    /// How many inputs are on the other side already.
    fn uploaded(&self) -> usize {
        self.lock().get(&self.key).filter(|(id, _)| *id == self.id).map_or(0, |(_, count)| *count)
    }

    fn remember(&self, count: usize) {
        self.lock().insert(self.key, (self.id, count));
    }

    fn forget(&self) {
        self.lock().remove(&self.key);
    }

    /// The row is gone or given up.
    fn forget_after(&self, fault: &Fault) {
        if matches!(fault.class, Class::NoRow | Class::Rejected | Class::Local) {
            self.forget();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<Key, (ServerId, usize)>> {
        self.hands.uploaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job's directory and those below it that its inputs need, outermost first.
async fn make_dirs(store: &WebdavClient, dir: &Url, spec: &Spec) -> Result<(), RemoteError> {
    store.mkcol(dir).await?;
    let mut needed = BTreeSet::new();
    for input in &spec.inputs {
        let name = plain_path(&input.name);
        needed.extend(name.match_indices('/').map(|(at, _)| name[..at].to_owned()));
    }
    // In this order a directory comes after the one that holds it.
    for name in needed {
        if let Some(url) = webdav::below(dir, &name) {
            store.mkcol(&url).await?;
        }
    }
    Ok(())
}

/// The URL of a file that jobs share.
pub(super) fn shared_url(base: &Url, file: &str) -> Result<Url, Fault> {
    webdav::below(base, file).ok_or_else(|| Fault::new(Class::Local, format!("{file} cannot be below {base}")))
}

/// The client for a place on a WebDAV store, and its URL.
pub(super) fn store<'a>(tools: &'a Tools, place: &str) -> Result<(&'a WebdavClient, Url), Fault> {
    let url = Url::parse(place)
        .map_err(|e| Fault::new(Class::Local, format!("the WebDAV URL {place} cannot be used: {e}")))?;
    let store = tools.webdav().ok_or_else(|| {
        let why = format!("there is no valid proxy to present to {}", url.origin().ascii_serialization());
        Fault::new(Class::Transient, why)
    })?;
    Ok((store.map_err(|error| trouble::remote(&error, Repeat::Harmless))?, url))
}

/// An input as it was recorded.
#[derive(Debug)]
enum Opened {
    /// All of it.
    Small(Vec<u8>),
    /// It is read while it is sent.
    Large(File),
}

/// Opens the input if it is the file recorded; a small one is read at once.
async fn open(input: &InputFile) -> Result<Opened, Fault> {
    let input = input.clone();
    blocking(move || {
        let failed = |e: std::io::Error| trouble::input(&e, &input.path);
        // Whatever has taken the file's place: opening a pipe must not wait.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let mut file = File::options().read(true).custom_flags(flags).open(&input.path).map_err(failed)?;
        check(&input, &file.metadata().map_err(failed)?)?;
        if input.size > SMALL {
            return Ok(Opened::Large(file));
        }
        let mut content = Vec::with_capacity(usize::try_from(input.size).unwrap_or(0) + 1);
        file.by_ref().take(input.size + 1).read_to_end(&mut content).map_err(failed)?;
        // Written to while it was read?
        check(&input, &file.metadata().map_err(failed)?)?;
        if content.len() as u64 == input.size { Ok(Opened::Small(content)) } else { Err(changed(&input)) }
    })
    .await
}

/// The file that was read, and what now has its name, still are the one recorded.
async fn still_same(file: File, input: &InputFile) -> Result<(), Fault> {
    let input = input.clone();
    blocking(move || {
        let read = file.metadata().map_err(|e| trouble::input(&e, &input.path))?;
        check(&input, &read)?;
        let named = std::fs::metadata(&input.path).map_err(|e| trouble::input(&e, &input.path))?;
        check(&input, &named)
    })
    .await
}

fn check(input: &InputFile, meta: &Metadata) -> Result<(), Fault> {
    if meta.is_file() && input.is_same(meta) {
        return Ok(());
    }
    Err(changed(input))
}

fn changed(input: &InputFile) -> Fault {
    Fault::new(Class::Local, format!("input changed since submission: {}", input.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_recorded_file_is_opened() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("in.txt");
        let large = vec![b'x'; SMALL as usize + 1];
        for content in [&b"one"[..], &large[..]] {
            std::fs::write(&path, content).expect("write");
            let input = InputFile::stat("in.txt".into(), path.clone()).expect("stat");
            let opened = open(&input).await.expect("open");
            std::fs::write(dir.path().join("new"), &content[1..]).expect("write");
            std::fs::rename(dir.path().join("new"), &path).expect("an editor's save");
            let mut faults = vec![open(&input).await.expect_err("another")];
            match opened {
                Opened::Small(read) => assert_eq!(read, content),
                Opened::Large(file) => faults.push(still_same(file, &input).await.expect_err("another")),
            }
            for fault in faults {
                assert_eq!(fault.class, Class::Local);
                assert!(fault.why.starts_with("input changed since submission"), "{}", fault.why);
            }
        }
        let input = InputFile::stat("in.txt".into(), path.clone()).expect("stat");
        std::fs::remove_file(&path).expect("remove");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("fifo");
        assert_eq!(open(&input).await.expect_err("a pipe").class, Class::Local);
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(open(&input).await.expect_err("nothing").class, Class::Local);
    }

    #[tokio::test]
    async fn a_large_file_is_looked_at_again() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("in.txt");
        std::fs::write(&path, vec![b'x'; SMALL as usize + 1]).expect("write");
        let input = InputFile::stat("in.txt".into(), path).expect("stat");
        let Opened::Large(file) = open(&input).await.expect("open") else { panic!("it is large") };
        still_same(file, &input).await.expect("the same");
    }
}
