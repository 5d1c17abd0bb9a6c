//! The calls of clients, and what was sent to servers because of them: the thread that leads from a command line to the
//! daemon's log and to the servers' own. It knows no jobs and changes nothing.
//!
//! A call is handed on with the task that works for it. What goes on after its answer, as a submission does, keeps it for as
//! long as the daemon lives; that it is lost with a restart changes nothing but a line of the log.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use act_proto::daemon::Request;
use tracing::Instrument as _;

/// The requests of a call that are remembered.
const KEPT: usize = 500;
/// A piece of work that many calls wanted is noted with so many of them.
const MOST: usize = 8;
/// The longest URL that is shown, in characters.
const LONGEST: usize = 400;

/// The calls for which something is done; mostly one or none.
pub type Causes = Arc<[Arc<Call>]>;

tokio::task_local! {
    static CAUSES: Causes;
}

/// One client's conversation with the daemon.
#[derive(Debug)]
pub struct Call {
    id: String,
    sent: Mutex<(u64, VecDeque<Request>)>,
}

impl Call {
    /// A new one, with an id that no other has, nor one of an earlier daemon, as good as certainly.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        static RUN: LazyLock<u32> = LazyLock::new(|| fastrand::u32(..1 << 20));
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let id = format!("{:05x}-{}", *RUN, NUMBER.fetch_add(1, Ordering::Relaxed));
        Arc::new(Self { id, sent: Mutex::default() })
    }

    /// The id, as the log and clients show it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was sent after the request of that number, and whether some of it is forgotten.
    #[must_use]
    pub fn sent_after(&self, number: u64) -> (Vec<Request>, bool) {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = sent.1.front().map_or(sent.0 + 1, |s| s.number);
        (sent.1.iter().filter(|s| s.number > number).cloned().collect(), number + 1 < first)
    }

    fn note(&self, mut one: Request) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.0 += 1;
        one.number = sent.0;
        if sent.1.len() == KEPT {
            sent.1.pop_front();
        }
        sent.1.push_back(one);
    }
}

/// The calls that the task at hand works for.
#[must_use]
pub fn causes() -> Causes {
    CAUSES.try_with(Arc::clone).unwrap_or_else(|_| none())
}

/// No call.
#[must_use]
pub fn none() -> Causes {
    static NONE: LazyLock<Causes> = LazyLock::new(|| Arc::from([]));
    NONE.clone()
}

/// All of these, each once, and not too many.
#[must_use]
pub fn union<'a>(all: impl Iterator<Item = &'a Arc<Call>>) -> Causes {
    let mut several: Vec<Arc<Call>> = Vec::new();
    for call in all {
        if several.len() == MOST {
            break;
        }
        if !several.iter().any(|c| Arc::ptr_eq(c, call)) {
            several.push(call.clone());
        }
    }
    if several.is_empty() { none() } else { several.into() }
}

/// Does something for these calls: every line that it logs names them.
pub async fn on_behalf<T>(causes: Causes, work: impl Future<Output = T>) -> T {
    if causes.is_empty() {
        return work.await;
    }
    let ids: Vec<&str> = causes.iter().map(|c| c.id()).collect();
    let span = tracing::info_span!("for", request = %ids.join(","));
    CAUSES.scope(causes, work.instrument(span)).await
}

/// Notes a request with all calls that it was made for. Whether there are any.
pub(crate) fn note(method: &str, url: &str, answer: Result<u16, &str>, millis: u64) -> bool {
    let causes = causes();
    if causes.is_empty() {
        return false;
    }
    let one = Request {
        number: 0,
        method: method.to_owned(),
        url: shown_url(url),
        status: answer.ok(),
        error: answer.err().map(str::to_owned),
        millis,
    };
    for call in causes.iter() {
        call.note(one.clone());
    }
    true
}

/// Parameters of the aCT server's own API: numbers, names of jobs, states and columns.
const PLAIN: &[&str] = &["id", "name", "state", "client", "arc", "clienttab", "arctab"];

/// A URL for people: without user and password, and with the values of such parameters only that hold no secret.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (url, None),
    };
    let mut shown = match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    };
    if let Some(query) = query {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some((name, _)) if !PLAIN.contains(&name) => format!("{name}=..."),
            Some(_) => part.replace("%2C", ","),
            // A value without a name may be anything.
            None => "...".to_owned(),
        });
        shown.push('?');
        shown.push_str(&parts.collect::<Vec<_>>().join("&"));
    }
    let mut clean: String = shown.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect();
    if shown.chars().nth(LONGEST).is_some() {
        clean.push_str("...");
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for (url, shown) in [
            ("https://act.example/jobs?id=1,2&client=id,jobname", "https://act.example/jobs?id=1,2&client=id,jobname"),
            ("https://me:pass@dav.example/d/f", "https://dav.example/d/f"),
            ("https://dav.example/f?X-Amz-Signature=abc&id=3", "https://dav.example/f?X-Amz-Signature=...&id=3"),
            ("https://dav.example/f?abcdef", "https://dav.example/f?..."),
            ("https://h/jobs?arc=JobID%2CState", "https://h/jobs?arc=JobID,State"),
            ("https://h", "https://h"),
            ("no url", "no url"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
        assert_eq!(shown_url(&format!("https://h/{}", "é".repeat(500))).chars().count(), LONGEST + 3);
    }

    #[tokio::test]
    async fn requests_are_noted_where_a_call_caused_them() {
        let (one, other) = (Call::begin(), Call::begin());
        assert_ne!(one.id(), other.id());
        assert!(!note("GET", "http://h/", Ok(200), 1), "nobody asked");
        let both = union([&one, &other, &one].into_iter());
        assert_eq!(both.len(), 2);
        on_behalf(both, async {
            assert!(note("GET", "http://h/a", Ok(200), 1));
            on_behalf(union([&one].into_iter()), async { note("PUT", "http://h/b", Err("reset"), 2) }).await;
        })
        .await;
        let numbers = |call: &Call, after| call.sent_after(after).0.into_iter().map(|s| s.number).collect::<Vec<_>>();
        assert_eq!((numbers(&one, 0), numbers(&one, 1), numbers(&other, 0)), (vec![1, 2], vec![2], vec![1]));
        assert_eq!(one.sent_after(1).0[0].error.as_deref(), Some("reset"));
        on_behalf(union([&other].into_iter()), async {
            for _ in 0..KEPT {
                note("GET", "http://h/", Ok(200), 0);
            }
        })
        .await;
        let (kept, forgotten) = other.sent_after(0);
        assert_eq!((kept.len(), forgotten, kept[0].number), (KEPT, true, 2));
        assert!(!other.sent_after(1).1);
    }
}
