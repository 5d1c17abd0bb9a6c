//! Why nothing goes on for any job just now: the server is away, there is no credential, the disk is full.

use act_proto::Kind;
use act_proto::error::ApiError;
use act_proto::method::DaemonStatus;

use crate::ctx::Session;
use crate::failure::Failure;

/// What everything waits for, as a failure with its exit code; `None`: nothing in general.
///
/// # Errors
/// The daemon's.
pub async fn closed(session: &mut Session<'_>) -> Result<Option<Failure>, Failure> {
    let status = session.call::<DaemonStatus>(&Default::default()).await?;
    let group = status.waiting.into_iter().find_map(|g| Some((kind(&g.reason)?, g)));
    Ok(group.map(|(kind, group)| {
        let mut error = ApiError::new(kind, sentence(&group.reason, &group.message));
        error.data.hint = group.hint;
        error.into()
    }))
}

fn kind(reason: &str) -> Option<Kind> {
    Some(match reason {
        "credential" => Kind::NoToken,
        "other_identity" => Kind::OtherIdentity,
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
        assert_eq!(sentence("server", "x"), "the aCT server is away: x");
    }
}
