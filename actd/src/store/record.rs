//! Disk records: how jobs, specs and events are written. Each begins with its version; what is newer than this program is
//! refused, never guessed at.
//!
//! Version 1 is the postcard encoding of the types of [`crate::job`] as they are. Postcard names no fields, so **any**
//! change of these types is a new version: freeze the old types in `store/migrate/` first. A test holds recorded bytes
//! of every version against this. The one exception is what comes new at the end of a job and may be missing: without it a
//! record is as it was, and postcard does not look at what follows a value.

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

/// What a spec record says of the file that it came from. Lists of jobs show it: nothing else of the record is copied, nor
/// the description.
pub(super) fn source(bytes: &[u8]) -> Option<String> {
    /// The beginning of [`crate::job::Spec`]; a test holds the two against each other.
    #[derive(Deserialize)]
    struct Beginning<'a> {
        _text: &'a str,
        _clusters: Vec<&'a str>,
        #[serde(borrow)]
        _inputs: Vec<Input<'a>>,
        _webdav: Option<&'a str>,
        _results: &'a str,
        source: Option<&'a str>,
    }
    #[derive(Deserialize)]
    struct Input<'a> {
        _name: &'a str,
        _path: &'a str,
        _size: u64,
        _mtime_ns: i64,
        _dev_ino: (u64, u64),
    }
    let rest = bytes.strip_prefix(&[VERSION])?;
    let (beginning, _) = postcard::take_from_bytes::<Beginning<'_>>(rest).ok()?;
    beginning.source.map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{InputFile, Spec};

    /// A hundred thousand jobs are to fit into memory and be read in a moment.
    #[test]
    fn a_job_is_a_few_hundred_bytes_in_memory_and_on_disk() {
        use crate::job::{Arcstate, Job, Origin, Phase, Saved, Seen};
        let run = format!("https://arc.example.org:443/arex/rest/1.0/jobs/{:054}", 7);
        let job = Job {
            name: Some("a-name-of-a-job-as-people-really-give-them".into()),
            batch: Some("b-2026-11-22-1".into()),
            webdav: Some("https://dav.example.org:8443/users/somebody/inputs".into()),
            seen: Some(Seen {
                arcstate: Arcstate::Failed,
                state: "Failed".into(),
                run: run.as_str().into(),
                since: Time(1_790_000_000_000),
            }),
            saved: Some(Box::new(Saved { run: run.into(), dir: "/home/somebody/act-results/logs/12345678".into() })),
            error: Some("Error reported by the batch system: the job was killed for its memory".into()),
            ..Job::new(Key(99_999), Origin::Submitted, 1_234, Phase::Active { id: 12_345_678 }, Time(1_790_000_000_000))
        };
        let bytes = encode(&job).unwrap().len();
        assert!(bytes <= 600, "{bytes} bytes on disk");
        let fixed = size_of::<Job>();
        assert!(fixed <= 600, "{fixed} bytes in memory without its texts");
    }

    /// What came later stands at the end: a record without it is one of before, and who does not know it passes over it.
    #[test]
    fn what_a_submission_failed_for_may_be_missing() {
        use crate::job::{Cause, Job, Origin, Phase};
        let before = Job::new(Key(7), Origin::Submitted, 1, Phase::Queued, Time(5));
        let bytes = encode(&before).unwrap();
        assert_eq!(decode::<Job>(&bytes).unwrap(), before);
        for cause in [Cause::Clusters, Cause::Description, Cause::Local, Cause::Server] {
            let job = Job { cause: Some(cause), ..before.clone() };
            let more = encode(&job).unwrap();
            assert_eq!(decode::<Job>(&more).unwrap(), job);
            assert_eq!(more[..bytes.len()], bytes, "all else is where it was");
            let text = serde_json::to_string(&job).unwrap();
            assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job, "an export keeps it");
        }
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), before);
        assert!(serde_json::from_str::<Job>(&text.replacen('{', r#"{"cause":"Moon","#, 1)).is_err());
    }

    #[test]
    fn a_source_is_read_without_the_rest_of_its_spec() {
        let input = |name: &str| InputFile {
            name: name.into(),
            path: format!("/data/{name}").into(),
            size: 300,
            mtime_ns: -5,
            dev_ino: (1 << 40, 3),
        };
        for source in [None, Some("a.xrsl".to_owned())] {
            let spec = Spec {
                text: "&(executable=/bin/true)".into(),
                clusters: vec!["https://ce".into(), "https://ce2".into()],
                inputs: vec![input("x"), input("y/z")],
                webdav: Some("https://dav".into()),
                results: "/home/u/results".into(),
                source: source.clone(),
                base_dir: "/home/u".into(),
                staged: Vec::new(),
            };
            assert_eq!(super::source(&encode(&spec).unwrap()), source);
        }
        assert_eq!(super::source(&[VERSION]), None);
        assert_eq!(super::source(&[VERSION + 1, 0]), None);
    }
}
