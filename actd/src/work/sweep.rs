//! Deleting a job's directory on its WebDAV store.

use super::Done;
use super::hands::{Inner, Tools};
use super::trouble;
use super::upload::store;
use crate::failpoint;
use crate::job::apply::Input;
use crate::job::fault::Fault;
use crate::job::{Key, ServerId};

pub(super) async fn sweep(hands: &Inner, tools: &Tools, key: Key, id: ServerId, base: &str) -> Done {
    Done::one(key, Input::Swept(id, delete(hands, tools, id, base).await), None)
}

async fn delete(hands: &Inner, tools: &Tools, id: ServerId, base: &str) -> Result<(), Fault> {
    let (store, dir) = store(tools, base, id)?;
    hands.may_ask(&dir)?;
    failpoint!("webdav.delete.before");
    let deleted = store.delete(&dir).await;
    failpoint!("webdav.delete.after");
    hands.asked(&dir, deleted.as_ref().err());
    deleted.map(drop).map_err(|e| trouble::store(&e))
}
