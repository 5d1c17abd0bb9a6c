//! How a method comes into the one list of methods: its parameters are read whole, its errors become JSON-RPC errors, and
//! calls that change something run to their end even if their caller hangs up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use act_proto::error::{ApiError, Kind};
use act_proto::{MAX_MESSAGE, Method};
use futures_util::FutureExt;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde_json::value::{RawValue, to_raw_value};

use super::Api;
use crate::call::{self, Call};

/// The error on the wire.
#[must_use]
pub(super) fn object(e: ApiError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(e.data.kind.code().0, e.message, Some(e.data))
}

/// Reads the parameter object of a method; nothing is the same as `{}`.
pub(super) fn params<M: Method>(params: &Params<'_>) -> Result<M::Params, ApiError> {
    read(M::NAME, params)
}

/// The same for what is no [`Method`]: the subscription.
pub(super) fn read<P: serde::de::DeserializeOwned>(method: &str, params: &Params<'_>) -> Result<P, ApiError> {
    let bad = |why: String| {
        ApiError::new(Kind::BadParams, format!("parameters of {method}: {why}"))
            .hint(format!("`rpc.discover` describes the parameters of {method}"))
    };
    let text = match params.as_str().map(str::trim) {
        None | Some("" | "[]") => "{}",
        Some(text) if text.starts_with('[') => return Err(bad("they go by name, in one object".into())),
        Some(text) => text,
    };
    serde_json::from_str(text).map_err(|e| {
        let why = e.to_string();
        let unknown = unknown_field(&why).map(str::to_owned);
        let mut error = bad(why);
        error.data.unknown_field = unknown;
        error
    })
}

/// The field that serde does not know: it tells of it in words only.
fn unknown_field(why: &str) -> Option<&str> {
    why.strip_prefix("unknown field `")?.split('`').next()
}

/// Adds a method.
pub(super) fn register<M, F, Fut>(module: &mut RpcModule<Api>, handler: F) -> Result<(), RegisterMethodError>
where
    M: Method,
    F: Fn(Arc<Api>, M::Params) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<M::Reply, ApiError>> + Send + 'static,
{
    register_written::<M, _, _>(module, move |api, params| {
        let reply = handler(api, params);
        async move { raw(&reply.await?) }
    })
}

/// A reply as JSON.
pub(super) fn raw(reply: &impl serde::Serialize) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(reply).map_err(|e| ApiError::new(Kind::Internal, e.to_string()))
}

/// Adds a method that writes its reply itself.
pub(super) fn register_written<M, F, Fut>(module: &mut RpcModule<Api>, handler: F) -> Result<(), RegisterMethodError>
where
    M: Method,
    F: Fn(Arc<Api>, M::Params) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Box<RawValue>, ApiError>> + Send + 'static,
{
    module.register_async_method(M::NAME, move |given, api, about| {
        let handler = handler.clone();
        let causes = call::union(about.get::<Arc<Call>>().into_iter());
        call::on_behalf(causes.clone(), async move {
            let result = match params::<M>(&given) {
                Ok(params) => run::<M, _>(&api, handler(api.clone(), params)).await,
                Err(e) => Err(e),
            };
            result.map_err(|mut e| {
                if e.data.kind.is_logged() {
                    tracing::info!(method = M::NAME, kind = e.data.kind.word(), "{e}");
                    e.data.request = causes.first().map(|c| c.id().to_owned());
                } else {
                    tracing::debug!(method = M::NAME, kind = e.data.kind.word(), "{e}");
                }
                object(e)
            })
        })
    })?;
    Ok(())
}

async fn run<M: Method, Fut>(api: &Api, work: Fut) -> Result<Box<RawValue>, ApiError>
where
    Fut: Future<Output = Result<Box<RawValue>, ApiError>> + Send + 'static,
{
    let ended = if M::CHANGES {
        // The future of a call is dropped with its connection; a task of its own is not.
        api.tasks.spawn(call::on_behalf(call::causes(), work)).await.map_err(|e| e.to_string())
    } else {
        AssertUnwindSafe(work).catch_unwind().await.map_err(|_| "it panicked".to_owned())
    };
    let raw = ended.map_err(|why| {
        tracing::error!(method = M::NAME, "a call failed by a mistake of the daemon's: {why}");
        ApiError::new(Kind::Internal, format!("{} failed by a mistake of the daemon's", M::NAME))
            .hint("see `actctl daemon logs`, and report it")
    })??;
    if raw.get().len() > MAX_MESSAGE as usize {
        return Err(ApiError::new(Kind::TooMany, format!("the reply is larger than {} MiB", MAX_MESSAGE >> 20))
            .hint("ask for fewer jobs or fewer columns at a time"));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use act_proto::jobs::BulkParams;

    use super::*;

    #[test]
    fn a_field_that_is_not_known_is_named() {
        let named = |text| {
            let e = read::<BulkParams>("jobs.kill", &Params::new(Some(text))).expect_err(text);
            (e.data.kind, e.data.unknown_field)
        };
        assert_eq!(named(r#"{"dry_rum":true}"#), (Kind::BadParams, Some("dry_rum".to_owned())));
        assert_eq!(named(r#"{"filter":{"selct":[]}}"#), (Kind::BadParams, Some("selct".to_owned())));
        assert_eq!(named(r#"{"filter":"unknown field `x`"}"#), (Kind::BadParams, None));
    }
}
