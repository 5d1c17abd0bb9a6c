//! `xrsl.*`: job descriptions as such. The judging is the xrsl package's.

use std::path::Path;

use act_proto::error::{ApiError, Kind};
use act_proto::method::XrslCheck;
use act_proto::xrsl::{CheckParams, Checked};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::Api;
use super::register::register as add;
use crate::intake;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<XrslCheck, _, _>(module, |_, p| check(p))?;
    Ok(())
}

/// Off the async threads: a long text takes its time, and inputs are looked at.
async fn check(p: CheckParams) -> Result<Checked, ApiError> {
    if let Some(dir) = p.base_dir.as_deref().filter(|dir| !Path::new(dir).is_absolute()) {
        return Err(ApiError::new(Kind::BadParams, format!("`base_dir` must be an absolute path, not `{dir}`")));
    }
    let judged = tokio::task::spawn_blocking(move || intake::judge(&p.text, p.base_dir.as_deref().map(Path::new)));
    judged.await.map_err(|e| ApiError::new(Kind::Internal, format!("the description broke its reader: {e}")))
}
