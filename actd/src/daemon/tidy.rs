//! Housekeeping in directories of results: the trash loses what has been in it for its time, and downloads that nobody
//! goes on with are removed. It never touches results that have their name, nor anything that this daemon has not made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::handle::EngineHandle;
use crate::job::{Job, Key, Outcome, Phase};
use crate::rpc::Shared;
use crate::work::{empty_trash, remove_stale};

/// How often.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// Tidies at once and then from time to time.
pub(super) async fn run(engine: EngineHandle, config: Shared, instance: String, end: CancellationToken) {
    let mut times = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            _ = times.tick() => {}
        }
        let config = config.get();
        let (results, keep) = (config.results.clone(), config.keep);
        let (engine, instance) = (engine.clone(), instance.clone());
        let tidied = tokio::task::spawn_blocking(move || tidy(&engine, results, &instance, keep)).await;
        if let Err(error) = tidied {
            tracing::warn!(%error, "the directories of results were not tidied");
        }
    }
}

fn tidy(engine: &EngineHandle, results: PathBuf, instance: &str, keep: Duration) {
    // Where downloads and deliveries leave something, and, for true, where results are put into the trash, too.
    let mut places = BTreeMap::from([(results, true)]);
    let mut remember = |job: &Job| {
        let stored_in = || engine.spec(job.key).map(|spec| spec.results);
        match (&job.phase, job.results().and_then(Path::parent)) {
            // What is not there any more may have been put into the trash.
            (Phase::Closed { outcome: Outcome::Cleaned, .. }, None) => {
                places.extend(stored_in().map(|place| (place, true)));
            }
            (phase, Some(place)) => {
                let has_trash = places.entry(place.to_owned()).or_default();
                *has_trash = *has_trash
                    || match phase {
                        Phase::Stored { .. } => true,
                        Phase::Closed { outcome: Outcome::Collected, .. } => false,
                        // In a directory of the user's a `.trash` is the user's, too.
                        _ => stored_in().is_some_and(|own| own == place),
                    };
            }
            (_, None) => {}
        }
    };
    engine.board.read().by_key.values().for_each(|job| remember(job));
    // Nothing is kept of it: only the places are of interest.
    drop(engine.history(usize::MAX, &mut |job| {
        remember(job);
        false
    }));
    for (place, has_trash) in places {
        let trash = if has_trash { empty_trash(&place, instance, keep) } else { Ok(0) };
        match (trash, remove_stale(&place, instance, |key| is_wanted(engine, key))) {
            (Ok(0), Ok(0)) => {}
            (Ok(trashed), Ok(stale)) => {
                tracing::info!(place = %place.display(), trashed, stale, "old results removed");
            }
            (trash, stale) => {
                for error in [trash.err(), stale.err()].into_iter().flatten() {
                    tracing::warn!(place = %place.display(), %error, "not tidied");
                }
            }
        }
    }
}

/// A job whose unfinished download is still of use: one that goes on, or one of ours that vanished from the server meanwhile,
/// of which maybe nobody has more than that.
fn is_wanted(engine: &EngineHandle, key: Key) -> bool {
    engine.job(key).is_some_and(|job| match job.phase {
        Phase::Closed { outcome, .. } => outcome == Outcome::Gone && job.is_ours(),
        _ => true,
    })
}
