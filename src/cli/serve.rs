//! `aiviary serve`: starts roles, tells the service manager, waits for the stop signal.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, Exit, Failure, Serve, print};
use crate::config::{Config, Role, Secrets};
use crate::exposure::Peer;
use crate::platforms::Platform;
use crate::roles::{StartError, connect, mcp, sandbox};
use crate::server::{self, Caller, Listening};
use crate::telemetry;

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Configuration(_) => Exit::BadConfiguration,
            StartError::Unavailable(_) => Exit::Unavailable,
            StartError::Failed(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(args: Serve, context: &Context) -> Result<Exit, Failure> {
    let (config, secrets) = (context.load()?, context.secrets());
    let (roles, data) = match &args {
        Serve::Connect => (vec![Role::Connect], None),
        Serve::Mcp { platform } => (vec![Role::from(*platform)], None),
        Serve::Sandbox => (vec![Role::Sandbox], None),
        Serve::All { sandbox: false, .. } => (Role::REAL.to_vec(), None),
        Serve::All { sandbox: true, data } => {
            (vec![Role::Sandbox, Role::Connect, Role::Instagram, Role::MetaAds], Some(data.as_path()))
        }
    };
    let (config, secrets) = match data {
        Some(data) => config.in_sandbox(data, &context.environment)?,
        None => (config, secrets),
    };
    config.check_roles(&secrets, &roles)?;
    telemetry::init(&config.log());
    info!(version = env!("CARGO_PKG_VERSION"), configuration = %config.chosen(), "aiviary starts");
    for warning in config.warnings(&secrets, &roles) {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&config, &secrets, &roles, data))?;
    Ok(Exit::Done)
}

async fn serve(config: &Config, secrets: &Secrets, roles: &[Role], data: Option<&Path>) -> Result<(), Failure> {
    let stop = server::stop_signal()?;
    // Connect reopens its trail at SIGHUP; elsewhere the signal is harmless, and this keeps it so.
    let mut hangups = server::hangups()?;
    tokio::spawn(async move { while hangups.next().await.is_some() {} });

    let mut serving: JoinSet<Result<(), StartError>> = JoinSet::new();
    let mut bound: Vec<(Role, SocketAddr)> = Vec::new();
    let mut own = None;
    // All are bound and open before the first serves; connect last, as its trail tells of each opening.
    let mut ready: Vec<(Role, Running)> = Vec::new();
    let (connect, others): (Vec<Role>, Vec<Role>) = roles.iter().partition(|role| **role == Role::Connect);
    for role in others.into_iter().chain(connect) {
        let running = match role {
            Role::Connect => {
                let running = connect::start(config.connect(secrets)?).await?;
                own = Some(running.connect());
                Running::Connect(running)
            }
            Role::Instagram => Running::Mcp(mcp::start(config.mcp(Platform::Instagram, secrets)?).await?),
            Role::MetaAds => Running::Mcp(mcp::start(config.mcp(Platform::MetaAds, secrets)?).await?),
            Role::Sandbox => Running::Sandbox(sandbox::start(config.sandbox()).await?),
        };
        bound.extend(running.listening().addresses().into_iter().map(|address| (role, address)));
        ready.push((role, running));
    }
    let watched = ready.last().and_then(|(_, running)| running.listening().local());
    for (_, running) in ready {
        serving.spawn(running.serve(stop.clone()));
    }
    let mut failed = None;
    if let (Some(_), Some(connect)) = (data, own) {
        // A repeat of what is stored changes nothing.
        let caller = Caller {
            peer: Peer::Unix { uid: nix::unistd::geteuid().as_raw(), pid: Some(nix::unistd::getpid().as_raw()) },
            listener: "sandbox".to_owned(),
            request_id: "start".to_owned(),
        };
        let sample = sandbox::sample_credential().to_string();
        if let Err(error) = connect.save(sample.as_bytes(), None, &caller).await {
            failed = Some(StartError::failed(error));
            stop.cancel();
        }
    }
    server::announce_ready();
    if let Some(at) = watched {
        tokio::spawn(server::watchdog(at, stop.clone()));
    }
    if let Some(data) = data
        && answers(&bound).await
    {
        print(&first_steps(&bound, data))?;
    }
    // A role that ends by itself takes the others with it: a unit sees one exit code.
    failed = tokio::select! {
        () = stop.cancelled() => failed,
        Some(ended) = serving.join_next() => failed.or(ended.map_err(StartError::failed).flatten().err()),
    };
    stop.cancel();
    info!("stopping: running requests finish first");
    server::announce_stopping();
    while let Some(ended) = serving.join_next().await {
        let error = ended.map_err(StartError::failed).flatten().err();
        failed = failed.or(error);
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    info!("stopped");
    Ok(())
}

/// One role, bound and open.
enum Running {
    Connect(connect::Running),
    Mcp(mcp::Running),
    Sandbox(sandbox::Running),
}

impl Running {
    fn listening(&self) -> &Listening {
        match self {
            Self::Connect(running) => running.listening(),
            Self::Mcp(running) => running.listening(),
            Self::Sandbox(running) => running.listening(),
        }
    }

    async fn serve(self, stop: CancellationToken) -> Result<(), StartError> {
        match self {
            Self::Connect(running) => running.serve(stop).await?,
            Self::Mcp(running) => running.serve(stop).await,
            Self::Sandbox(running) => running.serve(stop).await,
        }
        Ok(())
    }
}

/// Whether every role answers `/readyz`.
async fn answers(bound: &[(Role, SocketAddr)]) -> bool {
    crate::graph::install_crypto_provider();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(10)).build();
    let Ok(client) = client else { return false };
    for (role, address) in bound {
        let asked = client.get(format!("http://{address}/readyz")).send().await;
        if !asked.is_ok_and(|answer| answer.status().is_success()) {
            warn!(role = role.name(), %address, "the role does not answer; see the lines above");
            return false;
        }
    }
    true
}

/// What is where, and three commands to paste.
fn first_steps(bound: &[(Role, SocketAddr)], data: &Path) -> String {
    let at = |wanted: Role| {
        let found = bound.iter().find(|(role, _)| *role == wanted);
        found.map_or_else(String::new, |(_, address)| format!("http://{address}"))
    };
    let (connect, instagram, ads, graph) =
        (at(Role::Connect), at(Role::Instagram), at(Role::MetaAds), at(Role::Sandbox));
    format!(
        "aiviary is up, with an invented business behind it. Nothing here reaches Meta.

  connect      {connect}   credentials in, tokens out
  instagram    {instagram}   POST /mcp
  meta-ads     {ads}   POST /mcp
  sandbox      {graph}   stands in for Meta's Graph API
  data, keys   {}

Paste in another terminal:

  curl -s {connect}/api/credentials

  curl -s {instagram}/mcp -H 'Content-Type: application/json' -d '{{\"method\":\"get_account_insights\",\"params\":{{\"period\":\"day\",\"metrics\":[\"impressions\",\"reach\",\"profile_views\"]}}}}'

  curl -s {ads}/mcp -H 'Content-Type: application/json' -d '{{\"method\":\"list_campaigns\",\"params\":{{\"limit\":3}}}}'

Ctrl-C ends it; the next start finds everything as it was.
",
        data.display()
    )
}
