//! The list of methods: one line each, from which the server registers, the client calls and the OpenRPC document is made.
//!
//! Why a list of our own and not `jsonrpsee`'s trait macro: the macro takes each argument apart and silently drops
//! fields that it does not know. Here every method has exactly one parameter object, `deny_unknown_fields`, so a
//! misspelt field is answered with -32602 and its name.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::{daemon, dirs, events, jobs, proxy, server, xrsl};

/// A method of the API. Implemented by the empty types in this module; `NAME` is the word on the wire.
pub trait Method: 'static {
    /// The name on the wire, `area.verb`.
    const NAME: &'static str;
    /// One sentence on what it does.
    const SUMMARY: &'static str;
    /// Whether it can change anything (jobs, credentials, configuration); such a call finishes though its caller hangs up.
    const CHANGES: bool;
    /// The parameter object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The result.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;
}

/// What the OpenRPC document needs to know of a method.
pub struct MethodInfo {
    /// The name on the wire.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// See [`Method::CHANGES`].
    pub changes: bool,
    /// Makes the schema of the parameters.
    pub params: fn(&mut SchemaGenerator) -> Schema,
    /// Makes the schema of the reply.
    pub reply: fn(&mut SchemaGenerator) -> Schema,
}

macro_rules! methods {
    ($($kind:ident $type:ident = $name:literal ($params:ty) -> $reply:ty : $summary:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $summary)]
            pub struct $type;
            impl Method for $type {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = $summary;
                const CHANGES: bool = methods!(@$kind);
                type Params = $params;
                type Reply = $reply;
            }
        )*
        /// Every method but the subscription `events.subscribe` and `rpc.discover`, in the order of the documentation.
        pub const ALL: &[MethodInfo] = &[$(MethodInfo {
            name: $name,
            summary: $summary,
            changes: methods!(@$kind),
            params: |g| g.subschema_for::<$params>(),
            reply: |g| g.subschema_for::<$reply>(),
        },)*];
    };
    (@read) => { false };
    (@change) => { true };
}

methods! {
    read DaemonHello = "daemon.hello" (daemon::HelloParams) -> daemon::Hello: "Says who calls and learns the daemon's version, protocol and capabilities.";
    read DaemonStatus = "daemon.status" (daemon::NoParams) -> daemon::Status: "What the daemon is doing: jobs by phase, server, credential, what waits for what.";
    read DaemonDoctor = "daemon.doctor" (daemon::NoParams) -> daemon::Checkup: "Looks at everything that the daemon needs, the server and the WebDAV store included; takes up to ten seconds.";
    read DaemonRequests = "daemon.requests" (daemon::RequestsParams) -> daemon::Requests: "What the daemon has sent to servers for this connection's calls, background work that they began included.";
    change DaemonStop = "daemon.stop" (daemon::NoParams) -> daemon::Stopping: "Stops the daemon cleanly; work goes on at its next start.";
    change DaemonReload = "daemon.reload" (daemon::NoParams) -> daemon::ConfigReply: "Reads the config file again; a bad file changes nothing.";
    read DaemonConfig = "daemon.config" (daemon::NoParams) -> daemon::ConfigReply: "The configuration in force, with the origin of each value.";

    change JobsSubmit = "jobs.submit" (jobs::SubmitParams) -> jobs::SubmitReply: "Takes job descriptions; when it answers, they are on disk and will be submitted.";
    read JobsList = "jobs.list" (jobs::ListParams) -> jobs::JobList: "Jobs as the daemon knows them.";
    read JobsChanges = "jobs.changes" (jobs::ChangesParams) -> jobs::JobList: "Waits until one of the jobs changes after a revision, or for a time.";
    read JobsStat = "jobs.stat" (jobs::StatParams) -> jobs::StatReply: "The server's columns of jobs, as a table.";
    read JobsHistory = "jobs.history" (jobs::HistoryParams) -> jobs::JobList: "Jobs that are finished with, newest first.";
    read JobsLog = "jobs.log" (jobs::OneParams) -> jobs::JobLog: "The timeline of one job.";
    change JobsGet = "jobs.get" (jobs::GetParams) -> jobs::OperationStarted: "Delivers results into a directory and cleans the server; an operation.";
    read OperationsGet = "operations.get" (jobs::OperationParams) -> jobs::Operation: "The items of an operation that are done, and whether it is over; can wait.";
    change OperationsCancel = "operations.cancel" (jobs::OperationCancelParams) -> jobs::Operation: "Ends an operation; what it has done stays.";
    read JobsCat = "jobs.cat" (jobs::CatParams) -> jobs::CatReply: "A piece of a job's stdout, stderr or other file, while it runs or after.";
    read JobsFiles = "jobs.files" (jobs::OneParams) -> jobs::FileList: "The files of a job, at the computing element or in its results.";
    change JobsKill = "jobs.kill" (jobs::BulkParams) -> jobs::Bulk: "Kills jobs, and keeps killing those that come back.";
    change JobsClean = "jobs.clean" (jobs::BulkParams) -> jobs::Bulk: "Drops jobs and their results from the server.";
    change JobsFetch = "jobs.fetch" (jobs::BulkParams) -> jobs::Bulk: "Has the server fetch the results of failed jobs from the computing element.";
    change JobsResubmit = "jobs.resubmit" (jobs::BulkParams) -> jobs::Bulk: "Runs failed jobs again.";
    change JobsAdopt = "jobs.adopt" (jobs::BulkParams) -> jobs::Bulk: "Makes jobs that another client submitted this daemon's own.";

    read TransfersList = "transfers.list" (daemon::NoParams) -> jobs::TransferList: "Uploads and downloads under way.";
    change ProxySubmit = "proxy.submit" (proxy::SubmitParams) -> proxy::Submitted: "Delegates the proxy to the server and stores the token.";
    read ProxyStatus = "proxy.status" (daemon::NoParams) -> proxy::Status: "The proxy, its attributes and the token: whose, and for how long.";
    read ServerInfo = "server.info" (server::InfoParams) -> server::Info: "The server's clusters and columns.";
    read XrslCheck = "xrsl.check" (xrsl::CheckParams) -> xrsl::Checked: "Finds mistakes in a job description; nothing is submitted.";
    read EventsList = "events.list" (events::ListParams) -> events::EventList: "Events after a number; can wait for the next one.";
    read DirsList = "dirs.list" (daemon::NoParams) -> dirs::DirList: "Watched directories and how they stand.";
    change DirsAdd = "dirs.add" (dirs::AddParams) -> dirs::Dir: "Watches a directory: descriptions that are put there are submitted.";
    change DirsRm = "dirs.rm" (dirs::OneParams) -> dirs::Dir: "Watches a directory no longer; its files stay.";
    change DirsPause = "dirs.pause" (dirs::OneParams) -> dirs::Dir: "Takes no files out of a directory until it is resumed.";
    change DirsResume = "dirs.resume" (dirs::OneParams) -> dirs::Dir: "Takes files out of a paused directory again.";
}
