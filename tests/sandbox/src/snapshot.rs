//! The state on disk, so that a sandbox started again in the same directory knows its jobs: `state.jsonl`, the first
//! line everything but the jobs, then one job a line. It is written soon after a change, not before the answer: what
//! changed in the last moment before a crash is lost, but no id is given out twice.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    shared::{Dirs, Shared},
    state::{Job, State},
};

const NAME: &str = "state.jsonl";
/// Jobs written while the lock is held once: others must not wait for long.
const CHUNK: usize = 200;
/// Least pause between two snapshots; with many jobs it is longer, so that writing takes a small part of the time.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_FACTOR: u32 = 20;
/// After a crash this many ids are skipped: more than could have been given out since the last snapshot.
const SKIP: i64 = 1000;

/// Reads the snapshot of an earlier run, or begins with an empty state.
///
/// # Errors
/// The file cannot be read or is no snapshot.
pub(crate) fn load(dirs: &Dirs) -> io::Result<State> {
    let file = match File::open(dirs.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token_key = (0..32).map(|_| fastrand::alphanumeric()).collect();
            return Ok(State { token_key, ..State::default() });
        }
        Err(error) => return Err(error),
    };
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().ok_or_else(|| io::Error::other("the snapshot is empty"))??;
    let mut state: State = serde_json::from_str(&first)?;
    for line in lines {
        let job: Job = serde_json::from_str(&line?)?;
        state.last_client_id = state.last_client_id.max(job.id);
        state.last_arc_id = state.last_arc_id.max(job.arc.as_ref().map_or(0, |arc| arc.id));
        state.jobs.insert(job.id, job);
    }
    if !std::mem::take(&mut state.closed) {
        state.last_client_id += SKIP;
        state.last_arc_id += SKIP;
    }
    Ok(state)
}

/// Writes snapshots until the sandbox stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            () = shared.changed.notified() => {}
            () = shared.stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => return,
        }
        let begin = Instant::now();
        let writer = shared.clone();
        // A panic while writing is reported by its task, and the next change tries again.
        let _ = tokio::task::spawn_blocking(move || save(&writer, false)).await;
        pause = PAUSE.max(begin.elapsed() * PAUSE_FACTOR);
    }
}

/// Writes one snapshot; failures go to the log. One that is not the `last` gives up when the sandbox stops.
pub(crate) fn save(shared: &Shared, last: bool) {
    let _one_at_a_time = shared.saving.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = write(shared, last) {
        tracing::error!(%error, "the snapshot was not written");
    }
}

fn write(shared: &Shared, last: bool) -> io::Result<()> {
    let part = shared.dirs.join("state.part");
    let mut file = BufWriter::new(File::create(&part)?);
    let (first, ids) = shared.read(|state| (line(state), state.jobs.keys().copied().collect::<Vec<_>>()));
    file.write_all(&first?)?;
    for chunk in ids.chunks(CHUNK) {
        let text = shared.read(|state| {
            let jobs = chunk.iter().filter_map(|id| state.jobs.get(id));
            jobs.map(line).collect::<io::Result<Vec<_>>>()
        });
        file.write_all(&text?.concat())?;
        if !last && shared.stop.is_cancelled() {
            return Ok(());
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(part, shared.dirs.join(NAME))
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_out_twice_after_a_crash() {
        let home = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(home.path()).unwrap();
        assert_eq!(load(&dirs).unwrap().last_client_id, 0);
        for closed in [true, false] {
            let mut state = State { closed, ..State::default() };
            let first = line(&state).unwrap();
            // Created after the first line was written.
            let id = state.create(1, "https://h:1/q".to_owned(), 0);
            state.hand_over(id, 0);
            let job = line(&state.jobs[&id]).unwrap();
            fs::write(dirs.join(NAME), [first, job].concat()).unwrap();
            let loaded = load(&dirs).unwrap();
            assert_eq!(loaded.jobs[&id].arcstate(), Some("tosubmit"));
            let skipped = if closed { 0 } else { SKIP };
            assert_eq!((loaded.last_client_id, loaded.last_arc_id, loaded.closed), (1 + skipped, 1 + skipped, false));
        }
        fs::write(dirs.join(NAME), "nonsense\n").unwrap();
        assert!(load(&dirs).is_err());
    }
}
