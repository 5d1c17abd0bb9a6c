//! The core's words in the API's words.

use act_proto::jobs::Phase as Wire;

use crate::job::Phase;

/// The name of a phase on the wire.
#[must_use]
pub fn wire_phase(phase: &Phase) -> Wire {
    match phase {
        Phase::Queued => Wire::Queued,
        Phase::Creating { .. } => Wire::Creating,
        Phase::Created { .. } => Wire::Created,
        Phase::Uploading { .. } => Wire::Uploading,
        Phase::Confirming { .. } => Wire::Confirming,
        Phase::Active { .. } => Wire::Active,
        Phase::Retrieving { .. } => Wire::Retrieving,
        Phase::Retrieved { .. } => Wire::Retrieved,
        Phase::Cleaning { .. } => Wire::Cleaning,
        Phase::Stored { .. } => Wire::Stored,
        Phase::Collecting { .. } => Wire::Collecting,
        Phase::Unknown { .. } => Wire::Unknown,
        Phase::Closed { .. } => Wire::Closed,
    }
}
