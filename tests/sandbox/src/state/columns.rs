//! The 68 + 8 columns of GET /jobs: their names, their order in GET /info, and their values.

use httpdate::fmt_http_date;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

use super::{ArcRow, Job, Proxy, Seconds};

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

fn time(value: Option<Seconds>) -> Value {
    value.map_or(Value::Null, |time| Value::String(timestamp(time)))
}

/// The value of a client column.
pub(crate) fn client(job: &Job, column: &str) -> Value {
    match column {
        "id" => json!(job.id),
        "modified" => time(Some(job.modified)),
        "created" => time(Some(job.created)),
        "jobname" => json!(job.name),
        "jobdesc" => json!(job.jobdesc),
        "clusterlist" => json!(job.clusterlist),
        "arcjobid" => json!(job.arc.as_ref().map(|arc| arc.id)),
        "proxyid" => json!(job.proxyid),
        _ => Value::Null,
    }
}

/// The value of an ARC column; null without an ARC row.
pub(crate) fn arc(job: &Job, proxy: Option<&Proxy>, column: &str) -> Value {
    let Some(row) = &job.arc else { return Value::Null };
    match column {
        "id" => json!(row.id),
        "modified" => time(Some(row.modified)),
        "created" => time(Some(row.created)),
        "arcstate" => json!(row.arcstate),
        "tarcstate" => time(Some(row.tarcstate)),
        "tstate" => time(row.tstate),
        "cluster" => json!(row.cluster),
        "clusterlist" => json!(job.clusterlist),
        // The number of a row in another table, not a text.
        "jobdesc" => json!(row.id),
        "attemptsleft" => json!(row.attempts_left),
        "downloadfiles" => json!(download_files(job)),
        "proxyid" => json!(job.proxyid),
        // A string in this table, though it is the client's integer id.
        "appjobid" => json!(job.id.to_string()),
        "priority" => json!(50),
        "fairshare" => json!(""),
        "DelegationID" => json!(row.delegation_id),
        "EndTime" => time(row.end_time),
        "Error" => json!(row.error),
        "ExecutionNode" => json!(row.execution_node),
        "ExitCode" => json!(row.exit_code),
        "IDFromEndpoint" => json!(row.id_from_endpoint),
        "JobID" => json!(row.job_id),
        "LocalIDFromManager" => json!(row.local_id),
        "State" => json!(row.state),
        "SubmissionTime" => time(row.submission_time),
        "RequestedSlots" if row.job_id.is_some() => json!(if row.checked { slots(job) } else { -1 }),
        "RequestedTotalCPUTime" if row.job_id.is_some() => json!(row.requested_cpu_time),
        "RequestedTotalWallTime" if row.job_id.is_some() => json!(row.requested_wall_time),
        "UsedMainMemory" | "UsedTotalCPUTime" if row.job_id.is_some() => json!(0),
        "UsedTotalWallTime" if row.job_id.is_some() => json!(row.used_wall_time),
        _ if row.checked => checked(job, row, proxy, column),
        _ => Value::Null,
    }
}

/// Columns that are null until the CE's answer to the first status check.
fn checked(job: &Job, row: &ArcRow, proxy: Option<&Proxy>, column: &str) -> Value {
    const WEEK: Seconds = 7 * 86_400;
    let file = |name: Option<&String>| json!(name.map_or("/dev/null", String::as_str));
    let description = job.submitted.as_deref();
    match column {
        "LocalOwner" => json!("nobody"),
        "LogDir" => json!(log_dir(job)),
        "Owner" => json!(proxy.map(|proxy| proxy.dn.as_str())),
        "ProxyExpirationTime" => time(proxy.map(|proxy| proxy.expires)),
        "Queue" => json!(queue(row)),
        "StdErr" if description.is_some_and(|job| job.join) => file(description.and_then(|job| job.stdout.as_ref())),
        "StdErr" => file(description.and_then(|job| job.stderr.as_ref())),
        "StdIn" => file(description.and_then(|job| job.stdin.as_ref())),
        "StdOut" => file(description.and_then(|job| job.stdout.as_ref())),
        "Type" => json!("single"),
        "WorkingAreaEraseTime" => time(row.end_time.map(|end| end + WEEK)),
        _ => Value::Null,
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
