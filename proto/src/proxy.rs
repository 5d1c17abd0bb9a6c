//! `proxy.*`: the grid proxy, its delegation to the server, the token. No secret is ever in a reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Parameters of `proxy.submit`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ProxySubmitParams")]
pub struct SubmitParams {
    /// The proxy file to use, absolute; nothing: the daemon's own choice. (A service does not see the shell's
    /// `X509_USER_PROXY`: `actctl` passes it on.)
    pub path: Option<String>,
    /// Take another identity than the one that the daemon has jobs of.
    pub switch_identity: bool,
}

/// Reply of `proxy.submit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// Where the token is stored.
    pub token_path: String,
    /// The state after it.
    pub status: Status,
}

/// Reply of `proxy.status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProxyStatus")]
pub struct Status {
    /// `ok`, `missing`, `expired`, `not_delegated`, `rejected`, `other_identity`.
    pub state: String,
    /// The sentence for people.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The proxy file in use.
    pub proxy_path: String,
    /// The end entity's name, without the proxies' CNs.
    pub dn: Option<String>,
    /// VOMS attributes, first first.
    pub voms: Vec<String>,
    /// When the proxy ends.
    pub proxy_expires: Option<Timestamp>,
    /// When its VOMS attributes end.
    pub voms_expires: Option<Timestamp>,
    /// The token file.
    pub token_path: String,
    /// When the token ends; null: there is none.
    pub token_expires: Option<Timestamp>,
    /// The server's number of this identity (DN and first VOMS attribute).
    pub proxyid: Option<i64>,
    /// Jobs of this daemon that are not finished: they need the credential.
    pub jobs: u64,
    /// When the last of them should have ended, by the walltimes in their descriptions; null: none says.
    pub needed_until: Option<Timestamp>,
    /// How many of them may run longer than the credential lives.
    pub outlived_by: u64,
}
