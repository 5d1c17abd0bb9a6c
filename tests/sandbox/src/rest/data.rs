//! PUT /jobs/ID/data/PATH: uploads. As on the real server a body that breaks off is stored and answered as if it had
//! been whole; unlike there, no path leads out of the job's directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use axum::{body::Body, response::Response};
use futures_util::StreamExt;
use http::StatusCode;
use tokio::{fs, io::AsyncWriteExt};

use super::reply;
use crate::shared::Shared;

/// The place of a decoded name under `base`. None for names that would leave it or that no file can have.
pub(crate) fn inside(base: &Path, name: &[u8]) -> Option<PathBuf> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let mut path = base.to_owned();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            _ if part.contains(&0) || part.len() > 255 => return None,
            _ => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

/// Stores an upload. `limit` cuts it off after that many bytes (a fault). Returns the answer and the bytes received.
pub(super) async fn put(
    shared: &Shared,
    proxyid: i64,
    id: i64,
    name: &[u8],
    body: Body,
    limit: Option<u64>,
) -> (Response, u64) {
    if shared.read(|state| state.own(proxyid, id).is_none()) {
        return (reply::message(StatusCode::BAD_REQUEST, "Client Job ID None does not exist"), 0);
    }
    let base = shared.dirs.data(id);
    let path = inside(&base, name).filter(|path| *path != base && !name.ends_with(b"/"));
    let Some(path) = path else { return (reply::server_error(), 0) };
    let mut received = 0;
    match store(&path, body, limit, &mut received).await {
        Ok(()) => (reply::no_content(), received),
        Err(error) => {
            tracing::debug!(%error, path = %path.display(), "upload refused");
            (reply::server_error(), received)
        }
    }
}

async fn store(path: &Path, body: Body, limit: Option<u64>, received: &mut u64) -> io::Result<()> {
    let place = path.to_owned();
    let create = move || {
        place.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::File::create(place)
    };
    let mut file = fs::File::from_std(tokio::task::spawn_blocking(create).await.map_err(io::Error::other)??);
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        let room = limit.map_or(u64::MAX, |limit| limit - *received);
        let chunk = chunk.slice(..chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        file.write_all(&chunk).await?;
        *received += chunk.len() as u64;
        if limit == Some(*received) {
            break;
        }
    }
    file.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let at = |name: &str| inside(Path::new("/base"), name.as_bytes());
        assert_eq!(at("x//y/./z"), Some("/base/x/y/z".into()));
        for bad in ["..", "../x", "a/../../x", "nul\0x", &"n".repeat(256)] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
