//! The job cache as JSON lines, for people, for moving, and for the day on which sled's file is broken.
//!
//! One object a line, with one field that says what it is: `job` (live or closed), `spec` and `shared` with their `key`,
//! `client_ref`, `lost_post`, and the daemon's own facts.
//! Events are not exported: they tell of the past, the jobs are the present.

use std::io::{self, BufRead, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::job::orphan::LostPost;
use crate::job::{Job, Key, Spec};

use super::{Batch, Store, StoreError, number, read};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Job(Box<Job>),
    Spec { key: Key, spec: Box<Spec> },
    Shared { key: Key, files: Vec<String> },
    ClientRef { name: String, key: Key },
    LostPost { number: u64, post: LostPost },
    NextKey(u64),
    ProxyId(i64),
    Instance(String),
}

/// A line that cannot be taken is an error with its number, from 1.
const LONGEST_LINE: u64 = 64 << 20;

impl Store {
    /// Writes everything but events.
    ///
    /// # Errors
    /// A record that cannot be read, or the writer's errors.
    pub fn export(&self, out: &mut dyn Write) -> Result<u64, StoreError> {
        let mut lines = 0;
        let mut line = |line: &Line| -> Result<(), StoreError> {
            lines += 1;
            serde_json::to_writer(&mut *out, line)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(|source| StoreError::Io { path: "the export".into(), source })
        };
        let loaded = self.load()?;
        line(&Line::Instance(self.instance_id.clone()))?;
        line(&Line::NextKey(loaded.next_key))?;
        if let Some(proxyid) = loaded.proxyid {
            line(&Line::ProxyId(proxyid))?;
        }
        for (number, post) in loaded.lost_posts {
            line(&Line::LostPost { number, post })?;
        }
        for item in self.tree.iter() {
            let (key, value) = item.map_err(|e| self.sled_error(&e))?;
            match key.first() {
                Some(b'j' | b'c') => line(&Line::Job(Box::new(read(&key, &value)?)))?,
                Some(b's') => line(&Line::Spec { key: Key(number(&key)), spec: Box::new(read(&key, &value)?) })?,
                Some(b'w') => line(&Line::Shared { key: Key(number(&key)), files: read(&key, &value)? })?,
                Some(b'r') => line(&Line::ClientRef {
                    name: String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned(),
                    key: Key(number(&value)),
                })?,
                _ => {}
            }
        }
        Ok(lines)
    }

    /// Reads an export into this cache. Records of the same keys are replaced.
    ///
    /// # Errors
    /// A line that is none of ours: then nothing is taken.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<u64, StoreError> {
        let bad = |n: u64, why: String| StoreError::Io {
            path: Path::new("the export").to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, format!("line {n}: {why}")),
        };
        // All of it is read before any of it is written.
        let (mut batches, mut batch) = (Vec::new(), Batch::default());
        let mut lines = 0;
        loop {
            let mut text = String::new();
            let read = io::Read::take(&mut *input, LONGEST_LINE)
                .read_line(&mut text)
                .map_err(|e| bad(lines + 1, e.to_string()))?;
            if read == 0 {
                break;
            }
            lines += 1;
            match serde_json::from_str::<Line>(&text).map_err(|e| bad(lines, e.to_string()))? {
                Line::Job(job) => batch.job(&job)?,
                Line::Spec { key, spec } => batch.spec(key, &spec)?,
                Line::Shared { key, files } => batch.shared(key, &files)?,
                Line::ClientRef { name, key } => batch.client_ref(&name, key),
                Line::LostPost { number, post } => batch.lost_post(number, &post)?,
                Line::NextKey(next) => batch.next_key(next),
                Line::ProxyId(proxyid) => batch.proxyid(proxyid),
                // Results on the disk and files on WebDAV are marked with it: they stay known as this directory's.
                Line::Instance(id) => batch.instance(&id),
            }
            if lines % 1_000 == 0 {
                batches.push(std::mem::take(&mut batch));
            }
        }
        batches.push(batch);
        for batch in batches {
            self.commit(batch)?;
        }
        Ok(lines)
    }
}
