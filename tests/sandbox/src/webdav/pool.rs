//! The pool behind a dCache door: it takes the body of an upload that the door has sent here, and asks for no credential
//! but the one-time key in the URL.
//!
//! A key is good for one try. What the door checks before it gives a key away is the door's affair.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};

use super::methods::{failed, receive};
use super::store::Store;

/// Keys that nobody used are forgotten beyond this many.
const MAX_KEYS: usize = 10_000;
/// The name under which a real dCache puts its key into the query.
const KEY: &str = "dcache-http-uuid=";

/// The keys given away and not yet used.
#[derive(Default)]
pub(super) struct Keys(Mutex<VecDeque<(String, PathBuf)>>);

impl Keys {
    /// A key to store one file at this place, as a query string.
    pub(super) fn issue(&self, place: PathBuf) -> String {
        let key: String = (0..32).map(|_| fastrand::alphanumeric()).collect();
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() == MAX_KEYS {
            keys.pop_front();
        }
        keys.push_back((key.clone(), place));
        format!("{KEY}{key}")
    }

    fn redeem(&self, query: &str) -> Option<PathBuf> {
        let key = query.split('&').find_map(|pair| pair.strip_prefix(KEY))?;
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = keys.iter().position(|(known, _)| known == key)?;
        keys.remove(at).map(|(_, place)| place)
    }
}

struct Pool {
    store: Arc<Store>,
    keys: Arc<Keys>,
}

pub(super) fn router(store: Arc<Store>, keys: Arc<Keys>) -> Router {
    Router::new().fallback(put).with_state(Arc::new(Pool { store, keys }))
}

async fn put(State(pool): State<Arc<Pool>>, request: Request) -> Response {
    if request.method() != Method::PUT {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(place) = pool.keys.redeem(request.uri().query().unwrap_or_default()) else {
        return (StatusCode::BAD_REQUEST, "No such transfer, or its key was used before\n").into_response();
    };
    match receive(&pool.store, request, &place).await {
        Ok(_) => StatusCode::CREATED.into_response(),
        Err(error) => failed(&error),
    }
}
