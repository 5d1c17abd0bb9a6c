//! Disk records: how jobs, specs and events are written. Each begins with its version; what is newer than this program is
//! refused, never guessed at.
//!
//! Version 1 is the postcard encoding of the types of [`crate::job`] as they are. Postcard names no fields, so **any**
//! change of these types is a new version: freeze the old types in `store/migrate/` first. A test holds recorded bytes
//! of every version against this.

use act_proto::jobs::Phase as WirePhase;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::job::{Key, Time};

/// The version that is written.
pub const VERSION: u8 = 1;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("it was written by a newer actd (record version {0}, this one knows {VERSION})")]
    Newer(u8),
    /// Not such a record at all.
    #[error("it cannot be decoded: {0}")]
    Damaged(String),
}

/// An event on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When.
    pub at: Time,
    /// Its type's word.
    pub kind: String,
    /// The job.
    pub key: Option<Key>,
    /// The job before.
    pub before: Option<Brief>,
    /// The job after.
    pub after: Option<Brief>,
    /// Words for people.
    pub text: String,
}

/// A job in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The server's id.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<String>,
    /// The daemon's state.
    pub phase: WirePhase,
    /// The server's state.
    pub arcstate: Option<String>,
    /// ARC's state.
    pub state: Option<String>,
    /// Its batch.
    pub batch: Option<String>,
}

/// Version byte and postcard.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|e| RecordError::Damaged(e.to_string()))
}

/// The other way.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| RecordError::Damaged(e.to_string())),
        Some((&version, _)) => Err(RecordError::Newer(version)),
        None => Err(RecordError::Damaged("it is empty".into())),
    }
}
