//! `aiviary health`: asks running roles whether they are ready.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::{Context, Exit, Failure, Health, print};
use crate::config::{Config, Role};
use crate::exposure::{Exposure, ListenAt};
use crate::roles::mcp::ConnectAt;
use crate::server::{Readiness, addresses};
use crate::telemetry::chain;

/// What one role may take to answer, connection included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a role may be asked.
enum Place {
    Url(String),
    Unix(std::path::PathBuf),
}

/// What came of asking.
pub(super) enum Outcome {
    /// It serves.
    Ready,
    /// It answers, and says what it waits for.
    NotReady(String),
    /// It does not answer.
    Unreachable(String),
}

/// Asks each and says what it said.
pub(super) fn run(args: &Health, context: &Context) -> Result<Exit, Failure> {
    crate::graph::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked: Vec<(&str, Vec<Place>)> = match (&args.url, args.role) {
        (Some(url), role) => vec![(role.map_or("service", Role::name), vec![Place::Url(url.clone())])],
        (None, role) => {
            let config = context.load()?;
            let roles = role.map_or(Role::REAL.to_vec(), |role| vec![role]);
            roles.into_iter().map(|role| (role.name(), places(&config, role))).collect()
        }
    };
    let mut exit = Exit::Done;
    let mut text = String::new();
    for (name, places) in asked {
        let said = match runtime.block_on(ask_any(&places)) {
            Outcome::Ready => "ready".to_owned(),
            Outcome::NotReady(why) => {
                exit = if exit == Exit::Done { Exit::Failed } else { exit };
                format!("not ready: {why}")
            }
            Outcome::Unreachable(why) => {
                exit = Exit::Unavailable;
                format!("not reachable: {why}")
            }
        };
        let _ = writeln!(text, "{name}: {said}");
    }
    print(&text)?;
    Ok(exit)
}

/// Asks `role` where it listens on this machine.
pub(super) async fn ask_role(config: &Config, role: Role) -> Outcome {
    crate::graph::install_crypto_provider();
    ask_any(&places(config, role)).await
}

/// Asks connect where the MCP servers ask it.
pub(super) async fn ask_connect(config: &Config) -> Outcome {
    crate::graph::install_crypto_provider();
    match config.connect_at() {
        ConnectAt::Unix(path) => ask("http://localhost", Some(path)).await,
        ConnectAt::Url(url) => ask(url, None).await,
    }
}

/// Where `role` listens on this machine. A public listener does not carry the question.
fn places(config: &Config, role: Role) -> Vec<Place> {
    let internal = config.listeners(role).iter().filter(|listener| listener.exposure == Exposure::Internal);
    let each = internal.flat_map(|listener| match &listener.at {
        ListenAt::Unix(path) => vec![Place::Unix(path.clone())],
        _ => {
            let all = addresses(listener, config.networks(role)).unwrap_or_default();
            all.into_iter().map(|address| Place::Url(format!("http://{address}"))).collect()
        }
    });
    each.collect()
}

/// The first place that answers decides.
async fn ask_any(places: &[Place]) -> Outcome {
    let mut last = Outcome::Unreachable("this machine has no address for its listeners".to_owned());
    for place in places {
        last = match place {
            Place::Url(url) => ask(url, None).await,
            Place::Unix(path) => ask("http://localhost", Some(path)).await,
        };
        if !matches!(last, Outcome::Unreachable(_)) {
            break;
        }
    }
    last
}

async fn ask(url: &str, socket: Option<&Path>) -> Outcome {
    let at = socket.map_or_else(|| url.to_owned(), |path| format!("unix:{}", path.display()));
    let unreachable = |error: reqwest::Error| Outcome::Unreachable(format!("{at}: {}", chain(&error.without_url())));
    let mut client =
        reqwest::Client::builder().no_proxy().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if !url.starts_with("https:") {
        // Images without certificates could not build a client, though plain http needs none.
        client = client.tls_certs_only([]);
    }
    if let Some(path) = socket {
        client = client.unix_socket(path);
    }
    let url = url.trim_end_matches('/');
    let url = if url.ends_with("/readyz") { url.to_owned() } else { format!("{url}/readyz") };
    let asked = async { client.build()?.get(url).send().await };
    let answer = match asked.await {
        Ok(answer) => answer,
        Err(error) => return unreachable(error),
    };
    let status = answer.status();
    match answer.bytes().await.map(|body| serde_json::from_slice::<Readiness>(&body)) {
        Err(error) => unreachable(error),
        Ok(Ok(said)) if status.is_success() && said.ready => Outcome::Ready,
        Ok(Ok(said)) => Outcome::NotReady(said.waiting_for.join(", ")),
        Ok(Err(_)) => Outcome::NotReady(format!("{at} answers {status} and is no role of aiviary")),
    }
}
