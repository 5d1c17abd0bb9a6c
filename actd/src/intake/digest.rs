//! What is in local input files: the name under which equal files are one file on a WebDAV store. Reads files, blocks.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use openssl::sha::Sha256;

use crate::job::InputFile;

/// Device and inode, time of change, size.
type Stamp = ((u64, u64), i64, u64);

/// Contents that were read for one call: a file that a thousand jobs share is read once.
#[derive(Debug, Default)]
pub struct Digests {
    known: Mutex<HashMap<Stamp, Arc<OnceLock<String>>>>,
}

impl Digests {
    /// `actd-SHA256-SIZE` of a file that still is as recorded.
    ///
    /// # Errors
    /// It cannot be read, or it changes meanwhile.
    pub fn content(&self, input: &InputFile) -> io::Result<String> {
        let stamp = (input.dev_ino, input.mtime_ns, input.size);
        let place = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(stamp).or_default().clone()
        };
        if let Some(content) = place.get() {
            return Ok(content.clone());
        }
        let content = read(input)?;
        Ok(place.get_or_init(|| content).clone())
    }
}

fn read(input: &InputFile) -> io::Result<String> {
    let mut file = std::fs::File::open(&input.path)?;
    let same = |file: &std::fs::File| match file.metadata() {
        Ok(meta) if input.is_same(&meta) => Ok(()),
        Ok(_) => Err(io::Error::other("changes while it is read")),
        Err(e) => Err(e),
    };
    same(&file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    same(&file)?;
    let hex: String = hasher.finish().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("actd-{hex}-{}", input.size))
}
