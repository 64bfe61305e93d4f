//! The `mcp` role: answers plain and MCP calls with a platform's tools.

mod failure;
mod grants;
mod journal;
mod plain;
mod protocol;
mod routes;
mod service;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::StartError;
use crate::clock::Clock;
use crate::credential::ClientId;
use crate::exposure::{Listener, Rules};
use crate::graph::{self, Graph};
use crate::platforms::Platform;
use crate::secret::Secret;
use crate::server::{self, Keys, Limits, Listening, Server};
use crate::tool::{Tool, Writes};

pub use failure::CallError;
pub use routes::ROUTES;
pub use service::{Mcp, Offer, Served, UnknownTool, check_tool};

/// Where `serve connect` is asked for grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectAt {
    /// A base URL: loopback, private or https.
    Url(String),
    /// A unix socket.
    Unix(PathBuf),
}

/// Settings of the role, checked.
pub struct Settings {
    /// Whose tools are served.
    pub platform: Platform,
    /// The tools to choose from: the platform's, or a test's own.
    pub catalogue: &'static [Tool],
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
    /// `META_APP_SECRET`, where set: for proofs of a Page's own token.
    pub app_secret: Option<Secret>,
    /// The journal of writes.
    pub state: PathBuf,
    /// The Graph API.
    pub graph: graph::Settings,
    /// How long running calls may take at stop. Default: 50 s.
    pub drain: Duration,
    /// Wall time.
    pub clock: Clock,
}

/// The role, bound, not yet serving.
pub struct Running {
    mcp: Arc<Mcp>,
    listening: Listening,
    drain: Duration,
}

/// Binds every listener and makes the clients; asks nobody anything.
///
/// # Errors
/// What stands in the way.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let listening = server::bind(&settings.listeners, &settings.rules.networks).await?;
    let drain = settings.drain;
    Ok(Running { mcp: Arc::new(open(settings)?), listening, drain })
}

/// The role without its listeners: for `aiviary call`.
///
/// # Errors
/// A setting that does not fit.
pub fn open(settings: Settings) -> Result<Mcp, StartError> {
    let graph = Graph::new(&settings.graph, settings.clock.clone()).map_err(StartError::configuration)?;
    let keys = settings.keys.as_ref().map(Keys::parse).transpose();
    let keys = keys.map_err(|error| StartError::configuration(format!("MCP_API_KEY: {error}")))?;
    Mcp::new(settings, graph, keys)
}

impl Running {
    /// Its bound listeners.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Serves until `stop`, then lets running calls finish.
    pub async fn serve(self, stop: CancellationToken) {
        for bound in &self.listening {
            info!(platform = self.mcp.platform().name(), "mcp listens on {}", bound.shown());
        }
        let mcp = Arc::clone(&self.mcp);
        let server = Server::new(self.listening, self.mcp, Limits::MCP);
        let stopped = async {
            stop.cancelled().await;
            Instant::now()
        };
        let (stopped, ()) = tokio::join!(stopped, server.serve(stop.clone(), self.drain));
        mcp.settle(stopped + self.drain).await;
    }
}
