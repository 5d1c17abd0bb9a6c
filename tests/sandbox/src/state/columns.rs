//! The 68 + 8 columns of GET /jobs: their names, their order in GET /info, and their values.

use httpdate::fmt_http_date;
use std::{
    borrow::Cow,
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::{ArcRow, Job, Proxy, Seconds};
use crate::rest::reply::escape;

/// Columns of `arcjobs`, in the order of GET /info (observed).
pub(crate) const ARC: [&str; 68] = [
    "id",
    "modified",
    "created",
    "arcstate",
    "tarcstate",
    "tstate",
    "cluster",
    "clusterlist",
    "jobdesc",
    "attemptsleft",
    "downloadfiles",
    "proxyid",
    "appjobid",
    "priority",
    "fairshare",
    "ActivityOldID",
    "ComputingManagerEndTime",
    "ComputingManagerExitCode",
    "ComputingManagerSubmissionTime",
    "CreationTime",
    "DelegationID",
    "EndTime",
    "Error",
    "ExecutionNode",
    "ExitCode",
    "IDFromEndpoint",
    "JobDescription",
    "JobID",
    "JobManagementInterfaceName",
    "JobManagementURL",
    "JobStatusInterfaceName",
    "JobStatusURL",
    "LocalIDFromManager",
    "LocalInputFiles",
    "LocalOwner",
    "LocalSubmissionTime",
    "LogDir",
    "Name",
    "OtherMessages",
    "Owner",
    "ProxyExpirationTime",
    "Queue",
    "RequestedApplicationEnvironment",
    "RequestedSlots",
    "RequestedTotalCPUTime",
    "RequestedTotalWallTime",
    "RestartState",
    "ServiceInformationInterfaceName",
    "ServiceInformationURL",
    "SessionDir",
    "StageInDir",
    "StageOutDir",
    "StartTime",
    "State",
    "StdErr",
    "StdIn",
    "StdOut",
    "SubmissionClientName",
    "SubmissionHost",
    "SubmissionTime",
    "Type",
    "UsedMainMemory",
    "UsedTotalCPUTime",
    "UsedTotalWallTime",
    "UserDomain",
    "Validity",
    "WaitingPosition",
    "WorkingAreaEraseTime",
];

/// Columns of `clientjobs`, in the order of GET /info (observed).
pub(crate) const CLIENT: [&str; 8] =
    ["id", "modified", "created", "jobname", "jobdesc", "clusterlist", "arcjobid", "proxyid"];

/// `Sun, 22 Nov 2026 07:36:57 GMT`.
pub(crate) fn timestamp(time: Seconds) -> String {
    fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.max(0).unsigned_abs()))
}

/// A value of a column.
pub(crate) enum Cell<'a> {
    Null,
    Number(i64),
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    /// Appends it as JSON in ASCII. Ten thousand rows are an everyday answer, so nothing is built on the way.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Cell::Null => out.push_str("null"),
            // Writing to a string cannot fail.
            Cell::Number(number) => drop(write!(out, "{number}")),
            Cell::Text(text) if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Cell::Text(text) => escape(&serde_json::Value::from(text.as_ref()).to_string(), out),
        }
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Cell::Number(number)
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Text(text.into())
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Text(text.into())
    }
}

impl<'a> From<&'a String> for Cell<'a> {
    fn from(text: &'a String) -> Self {
        Cell::Text(text.into())
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(value: &'a Option<String>) -> Self {
        value.as_ref().into()
    }
}

fn time(value: Option<Seconds>) -> Cell<'static> {
    Cell::from(value.map(timestamp))
}

/// The value of a client column.
pub(crate) fn client<'a>(job: &'a Job, column: &str) -> Cell<'a> {
    match column {
        "id" => Cell::from(job.id),
        "modified" => time(Some(job.modified)),
        "created" => time(Some(job.created)),
        "jobname" => Cell::from(&job.name),
        "jobdesc" => Cell::from(&job.jobdesc),
        "clusterlist" => Cell::from(&job.clusterlist),
        "arcjobid" => Cell::from(job.arc.as_ref().map(|arc| arc.id)),
        "proxyid" => Cell::from(job.proxyid),
        _ => Cell::Null,
    }
}

/// The value of an ARC column; null without an ARC row.
pub(crate) fn arc<'a>(job: &'a Job, proxy: Option<&'a Proxy>, column: &str) -> Cell<'a> {
    let Some(row) = &job.arc else { return Cell::Null };
    match column {
        "id" => Cell::from(row.id),
        "modified" => time(Some(row.modified)),
        "created" => time(Some(row.created)),
        "arcstate" => Cell::from(&row.arcstate),
        "tarcstate" => time(Some(row.tarcstate)),
        "tstate" => time(row.tstate),
        "cluster" => Cell::from(&row.cluster),
        "clusterlist" => Cell::from(&job.clusterlist),
        // The number of a row in another table, not a text.
        "jobdesc" => Cell::from(row.id),
        "attemptsleft" => Cell::from(row.attempts_left),
        "downloadfiles" => Cell::from(download_files(job)),
        "proxyid" => Cell::from(job.proxyid),
        // A string in this table, though it is the client's integer id.
        "appjobid" => Cell::from(job.id.to_string()),
        "priority" => Cell::from(50),
        "fairshare" => Cell::from(""),
        "DelegationID" => Cell::from(&row.delegation_id),
        "EndTime" => time(row.end_time),
        "Error" => Cell::from(&row.error),
        "ExecutionNode" => Cell::from(&row.execution_node),
        "ExitCode" => Cell::from(row.exit_code),
        "IDFromEndpoint" => Cell::from(&row.id_from_endpoint),
        "JobID" => Cell::from(&row.job_id),
        "LocalIDFromManager" => Cell::from(&row.local_id),
        "State" => Cell::from(&row.state),
        "SubmissionTime" => time(row.submission_time),
        "RequestedSlots" if row.job_id.is_some() => Cell::from(if row.checked { slots(job) } else { -1 }),
        "RequestedTotalCPUTime" if row.job_id.is_some() => Cell::from(row.requested_cpu_time),
        "RequestedTotalWallTime" if row.job_id.is_some() => Cell::from(row.requested_wall_time),
        "UsedMainMemory" | "UsedTotalCPUTime" if row.job_id.is_some() => Cell::from(0),
        "UsedTotalWallTime" if row.job_id.is_some() => Cell::from(row.used_wall_time),
        _ if row.checked => checked(job, row, proxy, column),
        _ => Cell::Null,
    }
}

/// Columns that are null until the CE's answer to the first status check.
fn checked<'a>(job: &'a Job, row: &'a ArcRow, proxy: Option<&'a Proxy>, column: &str) -> Cell<'a> {
    const WEEK: Seconds = 7 * 86_400;
    let file = |name: Option<&'a String>| Cell::from(name.map_or("/dev/null", String::as_str));
    let description = job.submitted.as_deref();
    match column {
        "LocalOwner" => Cell::from("nobody"),
        "LogDir" => Cell::from(log_dir(job)),
        "Owner" => Cell::from(proxy.map(|proxy| proxy.dn.as_str())),
        "ProxyExpirationTime" => time(proxy.map(|proxy| proxy.expires)),
        "Queue" => Cell::from(queue(row)),
        "StdErr" if description.is_some_and(|job| job.join) => file(description.and_then(|job| job.stdout.as_ref())),
        "StdErr" => file(description.and_then(|job| job.stderr.as_ref())),
        "StdIn" => file(description.and_then(|job| job.stdin.as_ref())),
        "StdOut" => file(description.and_then(|job| job.stdout.as_ref())),
        "Type" => Cell::from("single"),
        "WorkingAreaEraseTime" => time(row.end_time.map(|end| end + WEEK)),
        _ => Cell::Null,
    }
}

fn slots(job: &Job) -> i64 {
    job.submitted.as_ref().map_or(1, |description| i64::try_from(description.count).unwrap_or(i64::MAX))
}

/// The directory of the CE's own logs among the results.
pub(crate) fn log_dir(job: &Job) -> String {
    let named = job.submitted.as_ref().and_then(|description| description.gmlog.clone());
    named.map(|name| name.trim_matches('/').to_owned()).filter(|name| !name.is_empty()).unwrap_or("gmlog".to_owned())
}

fn queue(row: &ArcRow) -> Option<&str> {
    row.cluster.as_deref().and_then(|cluster| cluster.rsplit('/').next())
}

fn download_files(job: &Job) -> String {
    let mut files: Vec<String> = Vec::new();
    if let Some(description) = &job.submitted {
        let kept = description.outputs.iter().filter(|output| output.target.is_empty());
        files.extend(kept.map(|output| output.name.clone()));
        let everything = files.iter().any(|name| name == "/");
        for name in [&description.stdout, &description.stderr].into_iter().flatten() {
            if !everything && !files.contains(name) {
                files.push(name.clone());
            }
        }
    }
    files.push(format!("diagnose={}/", log_dir(job)));
    files.join(";")
}
