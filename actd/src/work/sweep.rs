//! Deleting what a job has on its WebDAV store: its directory, or files that no other job shares with it any more.

use std::sync::Arc;

use url::Url;

use super::hands::{Inner, Tools};
use super::trouble;
use super::upload::store;
use super::{Done, webdav_dir};
use crate::failpoint;
use crate::job::apply::Input;
use crate::job::fault::Fault;
use crate::job::{Key, ServerId};
use crate::remote::webdav::{WebdavClient, below};

pub(super) async fn sweep(
    hands: &Inner,
    tools: &Tools,
    key: Key,
    id: ServerId,
    base: &str,
    files: Option<&[Arc<str>]>,
) -> Done {
    let swept = match files {
        None => delete_dir(hands, tools, id, base).await,
        Some(files) => delete_files(hands, tools, base, files).await,
    };
    Done::one(key, Input::Swept(id, swept), None)
}

async fn delete_dir(hands: &Inner, tools: &Tools, id: ServerId, base: &str) -> Result<(), Fault> {
    let (store, dir) = store(tools, &webdav_dir(base, id))?;
    delete(hands, store, &dir).await
}

async fn delete_files(hands: &Inner, tools: &Tools, base: &str, files: &[Arc<str>]) -> Result<(), Fault> {
    if files.is_empty() {
        failpoint!("shared.kept");
        return Ok(());
    }
    let (store, base) = store(tools, base)?;
    for file in files {
        if let Some(url) = below(&base, file) {
            delete(hands, store, &url).await?;
        }
    }
    Ok(())
}

async fn delete(hands: &Inner, store: &WebdavClient, dir: &Url) -> Result<(), Fault> {
    hands.may_ask(dir)?;
    failpoint!("webdav.delete.before");
    let deleted = store.delete(dir).await;
    failpoint!("webdav.delete.after");
    hands.asked(dir, deleted.as_ref().err());
    deleted.map(drop).map_err(|e| trouble::store(&e))
}
