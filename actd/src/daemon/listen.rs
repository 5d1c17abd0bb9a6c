//! The socket: bound here, or passed in by a service manager. It must not know what is spoken on it.
//!
//! Only who holds the state directory's lock may call this: a socket file that is in the way is then a leftover. (Not so in
//! the directory that all sessions share: there it may be of a daemon with another state directory.)

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use act_proto::error::{ApiError, Kind};
use act_proto::instance::check_runtime_dir;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::UnixListener;
use tokio::sync::watch;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 256;

/// A listening socket.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    /// Where it is now.
    path: watch::Sender<PathBuf>,
    /// Where clients look first.
    usual: PathBuf,
    /// Where it is while the directory of the session is gone.
    otherwise: PathBuf,
    /// Device and inode of the file by which clients find it.
    file: (u64, u64),
    /// Whether that file is ours to remove; else it is the service manager's.
    own: bool,
}

impl Socket {
    /// The socket that a service manager passed in, else a new one at `path`. While the session's directory is gone it is to be
    /// in `sessionless`.
    ///
    /// # Errors
    /// What was passed in is no listening Unix socket; the directory or the path cannot be used.
    pub fn open(path: &Path, sessionless: &Path) -> Result<Self, ApiError> {
        let bad =
            |e: io::Error| ApiError::new(Kind::LocalFile, format!("the socket passed in by the service manager: {e}"));
        let mut passed = sd_notify::listen_fds().map_err(bad)?;
        let path = match passed.next() {
            Some(fd) => match Self::inherit(fd).map_err(bad)? {
                Ok(passed) => return Ok(Self::at(passed, sessionless)),
                Err(path) => path,
            },
            None => path.to_owned(),
        };
        Ok(Self::at(Bound::new(&path)?, sessionless))
    }

    fn at(bound: Bound, sessionless: &Path) -> Self {
        let Bound { listener, path, file, own } = bound;
        let otherwise = sessionless.join(path.file_name().unwrap_or_default());
        Self { listener, usual: path.clone(), otherwise, path: watch::Sender::new(path), file, own }
    }

    /// The socket that was passed in; or the path of one that clients cannot find any more. The service manager does not
    /// notice when somebody removes the file: whoever it starts next gets the same socket, while at the path there is
    /// nothing, or what an earlier daemon has left there.
    fn inherit(fd: RawFd) -> io::Result<Result<Bound, PathBuf>> {
        // SAFETY: the service manager opened this descriptor for this process (LISTEN_PID names it), and `open` is the only
        // place that takes it; it is called once, before any other descriptor could have been given this number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if sockopt::socket_domain(&fd)? != AddressFamily::UNIX
            || sockopt::socket_type(&fd)? != SocketType::STREAM
            || !sockopt::socket_acceptconn(&fd)?
        {
            return Err(io::Error::other("it is no listening Unix stream socket"));
        }
        Bound::adopt(StdListener::from(fd))
    }

    /// Where it is, as that changes.
    #[must_use]
    pub fn path(&self) -> watch::Receiver<PathBuf> {
        self.path.subscribe()
    }

    /// The listener.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Whether clients still find this socket at its path: a logout removes the whole runtime directory, and a tidy user
    /// may remove the file.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&*self.path.borrow()).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file)
    }

    /// Listens anew where clients do not find it any more: in its usual place, or where those without a session look while
    /// that cannot be had, until it can again. `None`: all is well.
    ///
    /// # Errors
    /// See [`Self::open`]; the old socket stays as it is then.
    pub fn keep_in_place(&mut self) -> Option<Result<(), ApiError>> {
        // Only its last directory is ours to make.
        let session = self.usual.parent().and_then(Path::parent).is_some_and(Path::exists);
        let path = if session { self.usual.clone() } else { self.otherwise.clone() };
        if self.is_in_place() && (!session || *self.path.borrow() == path) {
            return None;
        }
        Some(self.move_to(&path))
    }

    fn move_to(&mut self, path: &Path) -> Result<(), ApiError> {
        if path != self.usual && answers(path).unwrap_or(true) {
            let text = format!("cannot listen at {}: another daemon may do so", path.display());
            return Err(ApiError::new(Kind::LocalFile, text));
        }
        let bound = Bound::new(path)?;
        if *self.path.borrow() != path {
            self.remove();
        }
        (self.listener, self.file, self.own) = (bound.listener, bound.file, bound.own);
        self.path.send_replace(bound.path);
        Ok(())
    }

    /// Removes the socket file, if it is ours and still the one that was made.
    pub fn remove(&self) {
        if self.own && self.is_in_place() {
            let _ = fs::remove_file(&*self.path.borrow());
        }
    }
}

/// A listening socket at a path.
#[derive(Debug)]
struct Bound {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
    own: bool,
}

impl Bound {
    fn adopt(listener: StdListener) -> io::Result<Result<Self, PathBuf>> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        if !answers(&path)? {
            return Ok(Err(path));
        }
        let meta = fs::symlink_metadata(&path)?;
        let file = (meta.dev(), meta.ino());
        Ok(Ok(Self { listener: UnixListener::from_std(listener)?, path, file, own: false }))
    }

    fn new(path: &Path) -> Result<Self, ApiError> {
        let local = |e: io::Error| {
            ApiError::new(Kind::LocalFile, format!("cannot listen at {}: {e}", path.display()))
                .hint("check XDG_RUNTIME_DIR, or remove what is in the way")
        };
        let dir = path.parent().ok_or_else(|| local(io::Error::other("it has no directory")))?;
        check_runtime_dir(dir, true).map_err(local)?;
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path).map_err(local)?,
            Ok(_) => return Err(local(io::Error::other("something that is no socket is in the way"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(local(e)),
        }
        // The process's umask (077) and the directory's mode keep others out from the first moment. The umask is not changed
        // for a better mode: it belongs to all threads, and these make files meanwhile.
        let listener = Self::listen(path).map_err(local)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(local)?;
        let meta = fs::symlink_metadata(path).map_err(local)?;
        Ok(Self { listener, path: path.to_owned(), file: (meta.dev(), meta.ino()), own: true })
    }

    fn listen(path: &Path) -> io::Result<UnixListener> {
        let socket = tokio::net::UnixSocket::new_stream()?;
        socket.bind(path)?;
        socket.listen(BACKLOG)
    }
}

/// Whether anybody listens at a path: as nobody but the holder of the lock does, that is the socket that was passed in. It
/// finds a client there that has nothing to say.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
        None,
    )?;
    match rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(path)?) {
        // More clients wait than there is room for.
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("actd/x.sock");
        (dir, path)
    }

    fn bind(path: &Path) -> Result<Socket, ApiError> {
        let sessionless = path.parent().unwrap().parent().unwrap().with_extension("sessionless");
        Ok(Socket::at(Bound::new(path)?, &sessionless))
    }

    #[tokio::test]
    async fn only_the_user_may_connect() {
        let (_dir, path) = path();
        let socket = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        socket.remove();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_leftover_is_replaced_and_a_file_is_not() {
        let (_dir, path) = path();
        drop(bind(&path).unwrap());
        assert!(path.exists(), "a dead daemon leaves its socket file");
        let socket = bind(&path).unwrap();
        assert!(socket.is_in_place());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).unwrap_err().message.contains("in the way"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn it_comes_back_when_its_directory_vanishes() {
        let (_dir, path) = path();
        let mut socket = bind(&path).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert!(!socket.is_in_place());
        socket.keep_in_place().unwrap().unwrap();
        assert!(socket.is_in_place() && path.exists() && socket.keep_in_place().is_none());
    }

    #[tokio::test]
    async fn while_its_session_is_gone_it_listens_where_those_without_one_look() {
        let dir = tempfile::tempdir().unwrap();
        let (session, sessionless) = (dir.path().join("session"), dir.path().join("sessionless"));
        let usual = session.join("actd/x.sock");
        fs::create_dir(&session).unwrap();
        let mut socket = Socket::at(Bound::new(&usual).unwrap(), &sessionless);
        let place = socket.path();
        fs::remove_dir_all(&session).unwrap();
        // A daemon of another state directory is there: it stays.
        let otherwise = sessionless.join("x.sock");
        let other = bind(&otherwise).unwrap();
        assert!(socket.keep_in_place().unwrap().unwrap_err().message.contains("another daemon"));
        assert!(other.is_in_place() && *place.borrow() == usual);
        drop(other);
        socket.keep_in_place().unwrap().unwrap();
        assert_eq!(*place.borrow(), otherwise);
        assert!(socket.is_in_place() && answers(&otherwise).unwrap() && socket.keep_in_place().is_none());
        // The next login.
        fs::create_dir(&session).unwrap();
        socket.keep_in_place().unwrap().unwrap();
        assert_eq!(*place.borrow(), usual);
        assert!(socket.is_in_place() && !otherwise.exists() && socket.keep_in_place().is_none());
    }

    #[tokio::test]
    async fn one_that_was_passed_in_is_taken_only_where_clients_find_it() {
        let (_dir, path) = path();
        check_runtime_dir(path.parent().unwrap(), true).unwrap();
        let passed = StdListener::bind(&path).unwrap();
        let bound = Bound::adopt(passed.try_clone().unwrap()).unwrap().expect("it is in place");
        let socket = Socket::at(bound, Path::new("/nowhere"));
        assert!(socket.is_in_place());
        socket.remove();
        assert!(path.exists(), "it is not ours");
        // Somebody removes it, the daemon listens anew, and dies: its file is left.
        fs::remove_file(&path).unwrap();
        assert!(!socket.is_in_place());
        drop(bind(&path).unwrap());
        assert!(path.exists() && !socket.is_in_place());
        assert_eq!(Bound::adopt(passed.try_clone().unwrap()).unwrap().expect_err("nobody finds it"), path);
        fs::remove_file(&path).unwrap();
        assert_eq!(Bound::adopt(passed).unwrap().expect_err("nobody finds it"), path);
    }
}
