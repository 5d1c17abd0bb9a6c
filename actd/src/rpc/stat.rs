//! `jobs.stat`: the server's columns as a table. The columns of the poll come from the board; any others are read from the
//! server for the call, once for all who ask at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use act_proto::MAX_PAGE;
use act_proto::error::{ApiError, Kind};
use act_proto::jobs::StatParams;
use act_proto::method::JobsStat;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::Api;
use super::look::bad_selector;
use super::register::{raw, register_written as add_written};
use super::table::{Table, columns};
use crate::auth::report::remote_error;
use crate::job::select::{self, Parsed};
use crate::job::{Job, Key, ServerId};
use crate::remote::RemoteError;
use crate::work::Hands;

/// Longest that a call waits for a fresher list.
const PATIENCE: Duration = Duration::from_secs(30);
/// From so many jobs on, one list of all is gentler than explicit ids in many requests.
const MANY: usize = 300;
/// Most columns in one call.
const MAX_COLUMNS: usize = 100;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add_written::<JobsStat, _, _>(module, |api, p| async move { stat(&api, p).await })?;
    Ok(())
}

/// Rows of the server, by id; keys as it sends them: `c_jobname`, `a_State`.
pub(super) type Rows = HashMap<ServerId, Map<String, Value>>;

/// What was asked for: the ids (none: all) and the columns.
type Question = (Vec<ServerId>, Vec<String>, Vec<String>);

/// Columns that were read from the server lately. Whoever asks the same while it is being read waits for that answer.
#[derive(Debug, Default)]
pub struct Cache {
    answers: Mutex<HashMap<Question, (Instant, Answer)>>,
    /// The columns that there are, the client table's and the ARC table's.
    known: OnceCell<(HashSet<String>, HashSet<String>)>,
}

type Answer = Arc<OnceCell<Arc<Rows>>>;

/// So many answers are kept; each may be megabytes.
const ANSWERS: usize = 16;

impl Cache {
    /// Columns of these jobs, no older than `max_age`.
    ///
    /// # Errors
    /// The server's.
    pub(super) async fn read(
        &self,
        hands: &Hands,
        ids: &[ServerId],
        client: &[&str],
        arc: &[&str],
        max_age: Duration,
    ) -> Result<Arc<Rows>, ApiError> {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let question = (ids.to_vec(), words(client), words(arc));
        let answer = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let young = |asked: &Instant, answer: &Answer| !answer.initialized() || now - *asked <= max_age;
            match answers.get(&question) {
                Some((asked, answer)) if young(asked, answer) => answer.clone(),
                _ => {
                    if answers.len() >= ANSWERS {
                        let oldest = answers.iter().min_by_key(|(_, (asked, _))| *asked).map(|(q, _)| q.clone());
                        oldest.and_then(|q| answers.remove(&q));
                    }
                    let answer = Answer::default();
                    answers.insert(question, (now, answer.clone()));
                    answer
                }
            }
        };
        // A failure leaves the cell empty: the next who waits asks again.
        let rows = answer.get_or_try_init(|| async {
            // Every row must say whose it is.
            let mut client = client.to_vec();
            if !client.contains(&"id") {
                client.push("id");
            }
            let rows = hands.columns(ids, &client, arc).await.map_err(|e| remote_error(&e))?;
            let by_id = |row: Map<String, Value>| Some((row.get("c_id")?.as_u64()?, row));
            Ok::<_, ApiError>(Arc::new(rows.into_iter().filter_map(by_id).collect()))
        });
        rows.await.cloned()
    }

    /// Makes sure that there are such columns, as the server would when it has no row to show. A server that is away is
    /// no reason to refuse: they come out empty then.
    async fn check(&self, hands: &Hands, client: &[&str], arc: &[&str]) -> Result<(), ApiError> {
        let known = self.known.get_or_try_init(|| async {
            let info = hands.info().await?;
            Ok::<_, RemoteError>((info.client.into_iter().collect(), info.arc.into_iter().collect()))
        });
        let Ok((clients, arcs)) = known.await else { return Ok(()) };
        let unknown = client.iter().find(|c| !clients.contains(**c)).or(arc.iter().find(|c| !arcs.contains(**c)));
        unknown.map_or(Ok(()), |name| Err(invalid_column(name)))
    }
}

fn invalid_column(name: &str) -> ApiError {
    ApiError::new(Kind::BadParams, format!("Invalid column \"{name}\""))
        .hint("`actctl stat --get-cols` lists the columns")
}

async fn stat(api: &Api, p: StatParams) -> Result<Box<RawValue>, ApiError> {
    let parsed = Parsed::new(&p.filter).map_err(bad_selector)?;
    if p.client.len() + p.arc.len() > MAX_COLUMNS {
        return Err(ApiError::new(Kind::TooMany, format!("at most {MAX_COLUMNS} columns at a time")));
    }
    if let Some(bad) =
        p.client.iter().chain(&p.arc).find(|c| !c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    {
        return Err(invalid_column(bad));
    }
    refresh(api, p.max_age_ms).await;
    let (mut jobs, mut missing, as_of, mut warnings) = {
        let board = api.engine.board.read();
        let selection = parsed.select(select::Jobs { by_key: &board.by_key, by_id: &board.by_id });
        let jobs: Vec<Arc<Job>> = selection.keys.iter().filter_map(|k| board.by_key.get(k)).cloned().collect();
        let mut warnings = Vec::new();
        let problem = board.gates.credential.clone().or(board.gates.server.as_ref().map(|(why, _)| why.clone()));
        if let Some(why) = problem {
            warnings.push(match board.as_of {
                Some(t) => format!("shown as of {}: {why}", t.rfc3339()),
                None => why,
            });
        }
        (jobs, selection.missing, board.as_of, warnings)
    };
    jobs.retain(|j| select::is_shown(j));
    if as_of.is_none() && jobs.is_empty() {
        no_list(api)?;
    }
    // As the server lists them; what has no id yet comes last.
    jobs.sort_by_key(|j| (j.id().is_none(), j.id(), j.key));
    if let Some(after) = &p.after {
        let key: Key = after
            .parse()
            .map_err(|()| ApiError::new(Kind::BadParams, format!("`{after}` is no job key, such as j12")))?;
        if let Some(last) = api.engine.job(key) {
            let passed = (last.id().is_none(), last.id(), last.key);
            jobs.retain(|j| (j.id().is_none(), j.id(), j.key) > passed);
            missing.clear();
        }
    }
    let limit = p.limit.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let next = if jobs.len() > limit {
        limit.checked_sub(1).and_then(|i| jobs.get(i)).map(|j| j.key.to_string())
    } else {
        None
    };
    jobs.truncate(limit);

    let wants_more = more_columns(&p).0.len() + more_columns(&p).1.len() > 0;
    let extra = extra(api, &p, &jobs, parsed.is_everything(), &mut warnings).await?;
    let gone = jobs.iter().filter(|j| wants_more && !j.on_server());
    let kept = gone.filter_map(|j| Some((j.key, api.engine.columns(j.key)?))).collect();
    let table = Table { jobs: &jobs, columns: columns(&p), kept, extra: extra.as_deref() };
    raw(&table.reply(as_of, missing, warnings, next))
}

/// Sees to it that the server's list is no older than that; without an age: that there is one at all.
pub(super) async fn refresh(api: &Api, max_age_ms: Option<u64>) {
    let never = api.engine.as_of().is_none();
    if never && api.auth.problem().await.is_some() {
        return;
    }
    let max_age = match max_age_ms {
        Some(ms) => Duration::from_millis(ms),
        // A daemon that has no jobs on disk knows nothing yet when it starts: its first list is worth waiting for.
        None if never && api.engine.board.read().by_key.is_empty() => Duration::from_secs(u64::from(u32::MAX)),
        None => return,
    };
    let _ = tokio::time::timeout(PATIENCE, api.engine.refresh(max_age)).await;
}

/// There is nothing to show, and nothing was ever read: the reason is the answer.
pub(super) fn no_list(api: &Api) -> Result<(), ApiError> {
    if let Some(problem) = api.auth.state().borrow().problem.clone() {
        return Err(problem);
    }
    let board = api.engine.board.read();
    match &board.gates.server {
        Some((why, _)) => Err(ApiError::new(Kind::ServerUnreachable, why.clone())),
        None => Ok(()),
    }
}

/// The columns asked for that the board does not have: of the client table, of the ARC table.
fn more_columns(p: &StatParams) -> (Vec<&str>, Vec<&str>) {
    fn but<'a>(all: &'a [String], known: &[&str]) -> Vec<&'a str> {
        all.iter().map(String::as_str).filter(|c| !known.contains(c)).collect()
    }
    (but(&p.client, super::table::CLIENT), but(&p.arc, super::table::ARC))
}

/// Reads the columns that the board does not have.
async fn extra(
    api: &Api,
    p: &StatParams,
    jobs: &[Arc<Job>],
    everything: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<Rows>>, ApiError> {
    let (client, arc) = more_columns(p);
    let mut ids: Vec<ServerId> = jobs.iter().filter(|j| j.on_server()).filter_map(|j| j.id()).collect();
    if client.is_empty() && arc.is_empty() {
        return Ok(None);
    }
    api.columns.check(&api.hands, &client, &arc).await?;
    if ids.is_empty() {
        return Ok(None);
    }
    if everything || ids.len() > MANY {
        ids.clear();
    }
    let max_age = p.max_age_ms.map_or(api.config.get().poll_min, Duration::from_millis);
    match api.columns.read(&api.hands, &ids, &client, &arc, max_age).await {
        Ok(rows) => Ok(Some(rows)),
        // What the caller did wrong is an error; a server that is away costs only these columns.
        Err(e) if e.data.kind == Kind::ServerRefused => Err(e),
        Err(e) => {
            let names: Vec<&str> = client.into_iter().chain(arc).collect();
            warnings.push(format!("columns {} could not be read: {e}", names.join(", ")));
            Ok(None)
        }
    }
}
