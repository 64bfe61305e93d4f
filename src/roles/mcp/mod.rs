//! The `mcp` role: answers plain and MCP calls with a platform's tools.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::credential::ClientId;
use crate::exposure::{Listener, Rules};
use crate::platforms::Platform;
use crate::secret::Secret;
use crate::tool::Writes;

/// Where `serve connect` is asked for grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectAt {
    /// A base URL: loopback, private or https.
    Url(String),
    /// A unix socket.
    Unix(PathBuf),
}

/// Settings of the role, checked.
#[derive(Debug)]
pub struct Settings {
    /// Whose tools are served.
    pub platform: Platform,
    /// Which changing tools are offered.
    pub writes: Writes,
    /// Names and patterns of the tools to offer, in order; a `-` before one takes away. Default: `*`.
    pub tools: Vec<String>,
    /// Internal listeners. Default: one on 127.0.0.1, port 3005 (Instagram) or 3004 (Meta Ads).
    pub listeners: Vec<Listener>,
    /// What a request must be.
    pub rules: Rules,
    /// The client of `/mcp`.
    pub client: Option<ClientId>,
    /// Where grants come from.
    pub connect: ConnectAt,
    /// `CONNECT_SERVICE_KEY`, where set.
    pub connect_key: Option<Secret>,
    /// `MCP_API_KEY`, where set: what callers must carry; one or several.
    pub keys: Option<Secret>,
    /// The journal of writes.
    pub state: PathBuf,
    /// How long running calls may take at stop. Default: 50 s.
    pub drain: Duration,
    /// Wall time.
    pub clock: Clock,
}
