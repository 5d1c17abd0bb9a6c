//! `/info` and `/jobs`: create, upload, confirm, list, and the four actions.
//! It must not send a mutation without explicit ids, nor a range of ids (a reversed one means every job).

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::super::body::{InputFile, Progress};
use super::super::error::{ErrorClass, RemoteError};
use super::super::http::{Answer, SendData};
use super::super::ids::Ids;
use super::super::limit::Lane;
use super::super::wire::{self, Element};
use super::super::{MAX_IDS, path};
use super::{ActClient, Plan};

/// Uploads up to this size finish so fast that their latency tells about the server.
const SMALL_UPLOAD: u64 = 64 * 1024;

/// What the server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Names of the columns of ARC jobs, without the `a_` that answers put before them.
    pub arc: Vec<String>,
    /// Names of the columns of client jobs, without the `c_`.
    pub client: Vec<String>,
    /// Clusters that jobs may go to, as the server's configuration spells them.
    pub clusters: Vec<String>,
}

/// A job that the server has accepted; it will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The job's name as the server read it from the description; may be empty.
    pub name: String,
}

/// A description that the server refused; its row is unchanged, and the PUT may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The server's reason.
    pub msg: String,
}

/// A column that a listing can ask for; the id always comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Jobname,
    /// aCT's own state: `done`, `failed`, ...
    ArcState,
    /// The CE's state; stays at its last value when a job is killed.
    State,
    /// The ARC job id (a URL); new after a resubmission.
    JobId,
}

impl Column {
    /// What a poll needs to see every change, and no more.
    pub const POLL: &'static [Column] = &[Column::Jobname, Column::JobId, Column::State, Column::ArcState];

    /// The server's name, and whether it is a column of the client's table.
    fn name(self) -> (&'static str, bool) {
        match self {
            Column::Jobname => ("jobname", true),
            Column::ArcState => ("arcstate", false),
            Column::State => ("State", false),
            Column::JobId => ("JobID", false),
        }
    }
}

/// One job in a listing. A column that was not asked for, is null, or cannot be read is `None`.
/// All columns of the ARC job are `None` until aCT has taken the job up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRow {
    pub id: u64,
    pub jobname: Option<String>,
    pub arcstate: Option<String>,
    pub state: Option<String>,
    /// ARC job id (a URL).
    pub job_id: Option<String>,
}

/// All jobs of the token's identity at one moment.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Without a promised order; a real server gives ascending ids.
    pub rows: Vec<ListRow>,
    /// Rows without a readable id. If this is not 0, the listing proves nothing about an id that is missing from it.
    pub unreadable: usize,
    /// Our clock just before the request was sent: the listing says nothing about what was changed after it.
    pub sent_at: SystemTime,
    /// The server's clock when it answered.
    pub server_date: Option<SystemTime>,
}

/// Chosen columns of one job, as the server sent them.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    pub id: u64,
    /// Keys as sent: `c_` before client columns, `a_` before ARC columns.
    pub columns: Map<String, Value>,
}

/// A job that the server agreed to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    pub id: u64,
    /// Row number of the ARC job; `None` if aCT had not taken the job up.
    pub arc_id: Option<u64>,
    /// State before the cancellation.
    pub arcstate: Option<String>,
}

impl Cancelled {
    /// The row was deleted at once. Otherwise the job goes to `cancelled`, which takes seconds to minutes.
    pub fn is_gone(&self) -> bool {
        self.arc_id.is_none() || matches!(self.arcstate.as_deref(), None | Some("" | "tosubmit"))
    }
}

impl ActClient {
    /// `GET /info`. Also the cheapest way to learn whether server and token work.
    pub async fn info(&self) -> Result<Info, RemoteError> {
        let (answer, body) = self.json(Method::GET, "info", Plan::read()).await.map_err(no_api)?;
        let info: wire::Info = parse(&answer, &body)?;
        let strings = |list: Vec<wire::Text>| list.into_iter().filter_map(|text| text.0).collect();
        Ok(Info { arc: strings(info.arc), client: strings(info.client), clusters: strings(info.clusters) })
    }

    /// `GET /info` without the token: whether a server of this API is there at all. One that wants a token, as a real one
    /// does, is. It tells its time.
    ///
    /// # Errors
    /// Nobody answers, or what answers is no such server.
    pub async fn reach(&self) -> Result<(), RemoteError> {
        match self.send(Method::GET, "info", Plan::read(), http::HeaderMap::new()).await.map_err(no_api) {
            Ok((mut answer, _place)) => {
                let body = answer.bytes(super::MAX_JSON).await?;
                parse::<wire::Info>(&answer, &body).map(drop)
            }
            Err(e) if matches!(e.class(), ErrorClass::Auth { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// `POST /jobs`: one empty row per element, which will not run before [`ActClient::confirm`].
    ///
    /// At most [`MAX_IDS`] elements, each the clusters one job may go to. The answer has the same length and order: the
    /// new id, or the server's reason for refusing that element. Never repeat it after `Ambiguous` without accounting
    /// for the rows that the lost request may have made.
    pub async fn create(&self, clusters: &[Vec<String>]) -> Result<Vec<Result<u64, String>>, RemoteError> {
        if clusters.is_empty() {
            return Ok(Vec::new());
        }
        self.check_batch("POST /jobs", clusters.len())?;
        let elements: Vec<_> = clusters.iter().map(|list| wire::CreateElement { clusterlist: list }).collect();
        let (answer, body) = self.json(Method::POST, "jobs", Plan::json(self.encode(&elements)?)).await?;
        let elements = elements_of::<wire::JobAnswer>(&answer, &body, clusters.len())?;
        elements
            .into_iter()
            .map(|element| match (element.msg.0, element.id.id()) {
                (Some(msg), _) => Ok(Err(super::super::error::clean(&msg))),
                (None, Some(id)) => Ok(Ok(id)),
                (None, None) => Err(answer.nonsense("an element with neither id nor message")),
            })
            .collect()
    }

    /// `PUT /jobs/ID/data/NAME`: one input file, whole, replacing any earlier upload of that name.
    ///
    /// `name` is the first member of the description's inputfiles pair; sub-directories are allowed. Good only if it
    /// returns `Ok`: a real server keeps a truncated upload and says nothing, so after any error the file must be sent
    /// again, from its start, before the job is confirmed. `Local` if the file changed its size meanwhile;
    /// [`RemoteError::is_no_such_job`] if the row is gone.
    pub async fn upload(
        &self,
        id: u64,
        name: &str,
        file: InputFile,
        progress: Option<Progress>,
    ) -> Result<(), RemoteError> {
        let what = || format!("PUT /jobs/{id}/data/{name} on {}", self.origin());
        let local = |detail: String| RemoteError::new(ErrorClass::Local, what(), detail);
        let encoded = path::encode_path(name)
            .ok_or_else(|| local("an input's name must be a relative path without `.`, `..` or empty parts".into()))?;
        let size = file.size();
        let body = file.into_body(progress).await.map_err(|e| local(format!("cannot read the input file: {e}")))?;
        let plan = Plan { lane: Lane::Transfer, data: SendData::File(body), json: false, sample: size <= SMALL_UPLOAD };
        let (mut answer, _place) =
            self.request(Method::PUT, &format!("jobs/{id}/data/{encoded}"), plan).await.map_err(old_dialect)?;
        // 204 without a body; whatever a proxy adds is of no interest.
        drop(answer.bytes(super::MAX_ERROR).await);
        Ok(())
    }

    /// `PUT /jobs`: descriptions for rows whose inputs are all uploaded; from now on the jobs run.
    ///
    /// At most [`MAX_IDS`] pairs of id and description (one job per description). The answer has the same length and
    /// order; one of another length, or with other ids, is `Ambiguous`. Safe to repeat within seconds.
    pub async fn confirm(&self, jobs: &[(u64, String)]) -> Result<Vec<Result<Confirmed, Rejection>>, RemoteError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.check_batch("PUT /jobs", jobs.len())?;
        let elements: Vec<_> = jobs.iter().map(|(id, desc)| wire::ConfirmElement { id: *id, desc }).collect();
        let (answer, body) = self.json(Method::PUT, "jobs", Plan::json(self.encode(&elements)?)).await?;
        let elements = elements_of::<wire::JobAnswer>(&answer, &body, jobs.len())?;
        jobs.iter()
            .zip(elements)
            .map(|((id, _), element)| {
                // A refused element may lack the id; a wrong one means that the answer cannot be matched to the batch.
                if element.id.0.is_some() && element.id.id() != Some(*id) {
                    return Err(answer.nonsense(format!("an answer for another job where {id} was expected")));
                }
                match element.msg.0 {
                    Some(msg) => Ok(Err(Rejection { msg: super::super::error::clean(&msg) })),
                    None if element.id.0.is_some() => Ok(Ok(Confirmed { name: element.name.0.unwrap_or_default() })),
                    None => Err(answer.nonsense("an element with neither id nor message")),
                }
            })
            .collect()
    }

    /// `GET /jobs` for every job of the identity, with these columns and the id.
    pub async fn list(&self, columns: &[Column]) -> Result<Listing, RemoteError> {
        let mut client = vec!["id"];
        let mut arc = Vec::new();
        for column in columns {
            let (name, of_client) = column.name();
            if of_client { client.push(name) } else { arc.push(name) }
        }
        let sent_at = SystemTime::now();
        // A long listing is slow because it is long: its latency says nothing about the load.
        let plan = Plan { sample: false, ..Plan::read() };
        let (answer, body) = self.json(Method::GET, &columns_path(&client, &arc), plan).await?;
        let (mut rows, mut unreadable) = (Vec::new(), 0);
        wire::for_each(&body, |element: Element<wire::Row>| match element {
            Element::Read(row) => match row.c_id.id() {
                Some(id) => rows.push(list_row(id, row)),
                None => unreadable += 1,
            },
            Element::Skipped => unreadable += 1,
        })
        .map_err(|e| not_json(&answer, &e))?;
        Ok(Listing { rows, unreadable, sent_at, server_date: answer.date() })
    }

    /// `GET /jobs` for these ids, with any columns by their server names (see [`Info`]). Ids that do not exist are missing
    /// from the answer. An unknown column is `Rejected`.
    pub async fn details(&self, ids: &Ids, client: &[&str], arc: &[&str]) -> Result<Vec<Details>, RemoteError> {
        self.columns(Some(ids), client, arc).await
    }

    /// The same for every job of the identity, in one listing.
    pub async fn details_of_all(&self, client: &[&str], arc: &[&str]) -> Result<Vec<Details>, RemoteError> {
        self.columns(None, client, arc).await
    }

    async fn columns(&self, ids: Option<&Ids>, client: &[&str], arc: &[&str]) -> Result<Vec<Details>, RemoteError> {
        let bad = |name: &&&str| name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if let Some(name) = client.iter().chain(arc).find(bad) {
            let what = format!("GET /jobs on {}", self.origin());
            return Err(RemoteError::new(ErrorClass::Local, what, format!("\"{name}\" is not the name of a column")));
        }
        // Without a column the answer would be empty, which looks like "all gone".
        let with_id: Vec<&str> = std::iter::once("id").chain(client.iter().copied().filter(|c| *c != "id")).collect();
        let mut target = columns_path(&with_id, arc);
        if let Some(ids) = ids {
            target.push_str("&id=");
            target.push_str(&ids.query_value());
        }
        let plan = Plan { sample: ids.is_some(), ..Plan::read() };
        let (answer, body) = self.json(Method::GET, &target, plan).await?;
        let mut rows = Vec::new();
        let mut foreign = 0;
        wire::for_each(&body, |element: Element<Map<String, Value>>| {
            if let Element::Read(columns) = element {
                let id = columns.get("c_id").and_then(value_id);
                match id.filter(|id| ids.is_none_or(|ids| ids.contains(*id))) {
                    Some(id) => rows.push(Details { id, columns }),
                    None => foreign += 1,
                }
            }
        })
        .map_err(|e| not_json(&answer, &e))?;
        if foreign > 0 {
            tracing::warn!(foreign, "the server sent rows that were not asked for");
        }
        Ok(rows)
    }

    /// `PATCH /jobs?action=cancel`. Ids in other states than submitted, running or before are missing from the answer,
    /// and so are those already cancelled: look at the next listing.
    pub async fn cancel(&self, ids: &Ids) -> Result<Vec<Cancelled>, RemoteError> {
        let target = format!("jobs?id={}&action=cancel", ids.query_value());
        let (answer, body) = self.json(Method::PATCH, &target, action_plan()).await?;
        let mut cancelled = Vec::new();
        wire::for_each(&body, |element: Element<wire::CancelAnswer>| {
            if let Element::Read(row) = element
                && let Some(id) = row.c_id.id()
            {
                cancelled.push(Cancelled { id, arc_id: row.a_id.id(), arcstate: row.a_arcstate.0 });
            }
        })
        .map_err(|e| not_json(&answer, &e))?;
        warn_foreign("cancel", ids, cancelled.iter().map(|c| c.id));
        cancelled.retain(|c| ids.contains(c.id));
        Ok(cancelled)
    }

    /// `PATCH /jobs?action=fetch`: brings logs and outputs of failed jobs to the server. Answers the ids it will fetch.
    pub async fn fetch(&self, ids: &Ids) -> Result<Vec<u64>, RemoteError> {
        self.ids_action("fetch", Method::PATCH, &format!("jobs?id={}&action=fetch", ids.query_value()), ids).await
    }

    /// `PATCH /jobs?action=resubmit`: runs failed or donefailed jobs again, under the same id with a new ARC job.
    /// Answers the ids it will run. Not repeatable once the new run may have failed.
    pub async fn resubmit(&self, ids: &Ids) -> Result<Vec<u64>, RemoteError> {
        self.ids_action("resubmit", Method::PATCH, &format!("jobs?id={}&action=resubmit", ids.query_value()), ids).await
    }

    /// `DELETE /jobs`: removes finished jobs with their results. Answers the ids removed; an id that is missing may have
    /// been removed before, or be in a state that does not allow it.
    pub async fn clean(&self, ids: &Ids) -> Result<Vec<u64>, RemoteError> {
        self.ids_action("clean", Method::DELETE, &format!("jobs?id={}", ids.query_value()), ids).await
    }

    async fn ids_action(&self, verb: &str, method: Method, target: &str, ids: &Ids) -> Result<Vec<u64>, RemoteError> {
        let (answer, body) = self.json(method, target, action_plan()).await?;
        let list: Vec<wire::Int> = parse(&answer, &body)?;
        let mut answered: Vec<u64> = list.into_iter().filter_map(wire::Int::id).collect();
        warn_foreign(verb, ids, answered.iter().copied());
        answered.retain(|id| ids.contains(*id));
        Ok(answered)
    }

    fn check_batch(&self, what: &str, len: usize) -> Result<(), RemoteError> {
        if len <= MAX_IDS {
            return Ok(());
        }
        let what = format!("{what} on {}", self.origin());
        Err(RemoteError::new(ErrorClass::Local, what, format!("{len} jobs in one request; at most {MAX_IDS} are sent")))
    }
}

fn action_plan() -> Plan {
    Plan { sample: false, ..Plan::read() }
}

fn columns_path(client: &[&str], arc: &[&str]) -> String {
    let mut target = format!("jobs?client={}", client.join("%2C"));
    if !arc.is_empty() {
        target.push_str("&arc=");
        target.push_str(&arc.join("%2C"));
    }
    target
}

fn list_row(id: u64, row: wire::Row) -> ListRow {
    ListRow { id, jobname: row.c_jobname.0, arcstate: row.a_arcstate.0, state: row.a_state.0, job_id: row.a_job_id.0 }
}

fn value_id(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn warn_foreign(verb: &str, ids: &Ids, answered: impl Iterator<Item = u64>) {
    let foreign: Vec<u64> = answered.filter(|id| !ids.contains(*id)).take(10).collect();
    if !foreign.is_empty() {
        tracing::warn!(verb, ?foreign, "the server acted on jobs that were not named");
    }
}

/// The elements of an answer that must match a batch one to one.
fn elements_of<T: for<'de> serde::Deserialize<'de>>(
    answer: &Answer,
    body: &Bytes,
    expected: usize,
) -> Result<Vec<T>, RemoteError> {
    let (mut elements, mut skipped) = (Vec::with_capacity(expected), false);
    wire::for_each(body, |element: Element<T>| match element {
        Element::Read(element) => elements.push(element),
        Element::Skipped => skipped = true,
    })
    .map_err(|e| not_json(answer, &e))?;
    if skipped || elements.len() != expected {
        return Err(answer.nonsense(format!("an answer of {} elements for {expected} jobs", elements.len())));
    }
    Ok(elements)
}

pub(super) fn parse<T: for<'de> serde::Deserialize<'de>>(answer: &Answer, body: &Bytes) -> Result<T, RemoteError> {
    serde_json::from_slice(body).map_err(|e| not_json(answer, &e))
}

pub(super) fn not_json(answer: &Answer, error: &serde_json::Error) -> RemoteError {
    answer.nonsense(format!("the answer is not the JSON of an aCT server ({error})"))
}

/// A 404 in HTML for a path that every server of this API has: the job-specific paths are newer than the others.
pub(super) fn old_dialect(error: RemoteError) -> RemoteError {
    if error.status() == Some(404) && !error.is_from_application() {
        return error.with_class(ErrorClass::Dialect);
    }
    error
}

/// A 404 in HTML for `/info`: there is some web server, but not this API.
fn no_api(error: RemoteError) -> RemoteError {
    if error.status() == Some(404) && !error.is_from_application() {
        return error.with_class(ErrorClass::Server).explained("there is no aCT REST API at this address");
    }
    error
}
