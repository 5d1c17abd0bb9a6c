//! `dirs.*`: watched directories.

use std::path::{Path, PathBuf};

use act_proto::dirs::{AddParams, DirList};
use act_proto::error::{ApiError, Kind};
use act_proto::method::{DirsAdd, DirsList, DirsPause, DirsResume, DirsRm};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::Api;
use super::register::register as add;
use crate::dirs::Settings;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<DirsList, _, _>(module, |api, _| async move { Ok(DirList { items: api.dirs.list().await }) })?;
    add::<DirsAdd, _, _>(module, |api, p| async move { api.dirs.add(settings(&api, p)?).await })?;
    add::<DirsRm, _, _>(module, |api, p| async move { api.dirs.rm(Path::new(&p.path)).await })?;
    add::<DirsPause, _, _>(module, |api, p| async move { api.dirs.pause(Path::new(&p.path), true).await })?;
    add::<DirsResume, _, _>(module, |api, p| async move { api.dirs.pause(Path::new(&p.path), false).await })?;
    Ok(())
}

fn settings(api: &Api, p: AddParams) -> Result<Settings, ApiError> {
    if p.settle_ms.is_some_and(|ms| ms > 3_600_000) {
        return Err(ApiError::new(Kind::BadParams, "`settle_ms` is more than an hour"));
    }
    let path = PathBuf::from(p.path);
    if path.starts_with(&api.config.get().state) {
        return Err(ApiError::new(Kind::LocalFile, "the daemon's own state directory cannot be watched"));
    }
    Ok(Settings {
        path,
        clusterlist: p.clusterlist,
        webdav: p.webdav,
        results: p.results.map(PathBuf::from),
        settle_ms: p.settle_ms,
        sweep_s: p.sweep_s,
        poll: p.poll,
    })
}
