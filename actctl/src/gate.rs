//! Why nothing goes on just now: the server is away, there is no credential, the disk is full, or all jobs that are asked for
//! belong to another identity.

use act_proto::error::ApiError;
use act_proto::jobs::{ChangesParams, Job};
use act_proto::method::{DaemonStatus, JobsChanges};
use act_proto::{Kind, MAX_PAGE};

use crate::ctx::Session;
use crate::failure::Failure;

/// What each of these jobs waits for that does not end by itself, as a failure with its exit code; `None`: nothing in
/// general.
///
/// # Errors
/// The daemon's.
pub async fn closed(session: &mut Session<'_>, jobs: &[String]) -> Result<Option<Failure>, Failure> {
    let status = session.call::<DaemonStatus>(&Default::default()).await?;
    if let Some((kind, group)) = status.waiting.iter().find_map(|g| Some((kind(&g.reason)?, g))) {
        let mut error = ApiError::new(kind, sentence(&group.reason, &group.message));
        error.data.hint.clone_from(&group.hint);
        return Ok(Some(error.into()));
    }
    // A parked job of another identity holds up nobody but itself.
    if jobs.is_empty() || !status.waiting.iter().any(|g| g.reason == PARKED) {
        return Ok(None);
    }
    let keys = jobs.iter().take(MAX_PAGE).cloned().collect();
    let jobs = session.call::<JobsChanges>(&ChangesParams { keys, ..ChangesParams::default() }).await?.items;
    Ok(all_parked(&jobs))
}

/// How the daemon says that a job belongs to another identity.
const PARKED: &str = "other_identity";

fn all_parked(jobs: &[Job]) -> Option<Failure> {
    let mut all = jobs.iter().map(|job| job.waiting.as_ref().filter(|w| w.reason == PARKED));
    let first = all.next()??;
    all.all(|w| w.is_some()).then(|| {
        let mut error = ApiError::new(Kind::OtherIdentity, first.message.clone());
        error.data.hint.clone_from(&first.hint);
        error.into()
    })
}

fn kind(reason: &str) -> Option<Kind> {
    Some(match reason {
        "credential" => Kind::NoToken,
        "server" => Kind::ServerUnreachable,
        "disk" => Kind::DiskFull,
        _ => return None,
    })
}

/// What a job waits for, for people.
#[must_use]
pub fn sentence(reason: &str, message: &str) -> String {
    match reason {
        "server" => format!("the aCT server is away: {message}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_for_all_jobs_is_a_gate() {
        assert_eq!(kind("server").map(Kind::exit), Some(5));
        assert_eq!(kind("credential").map(Kind::exit), Some(3));
        assert_eq!(kind("disk").map(Kind::exit), Some(6));
        assert_eq!(kind("retry"), None);
        assert_eq!(kind("other_identity"), None, "the jobs of another identity hold up nobody else's");
        assert_eq!(sentence("server", "x"), "the aCT server is away: x");
    }
}
