//! The role itself: find the tool, check its arguments, get the grant, run it, scrub its value.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::failure::CallError;
use super::grants::{GrantError, Grants};
use super::journal::Writes;
use super::protocol::Protocol;
use super::{Settings, StartError};
use crate::api::Grant;
use crate::clock::Clock;
use crate::credential::{ClientId, Login};
use crate::exposure::Rules;
use crate::graph::{Caller, Graph, Host, Scrubber, Session};
use crate::platforms::Platform;
use crate::secret::Secret;
use crate::server::{Failure, Keys, Readiness};
use crate::telemetry::Metrics;
use crate::tool::param::{nearest, shown};
use crate::tool::write::TIME_TO_SETTLE;
use crate::tool::{self, Access, Account, Args, Ask, Memory, Progress, Tool, ToolError};

/// Every call ends within this, queueing and waits included.
pub const CALL_MAX: Duration = Duration::from_secs(45);

/// A platform's tools, and which of them are offered.
pub struct Offer {
    platform: Platform,
    catalogue: &'static [Tool],
    offered: Vec<&'static Tool>,
    writes: tool::Writes,
}

/// A name or a pattern of `[mcp.…] tools` that no tool has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTool {
    /// A name.
    #[error("there is no tool {name}")]
    Name {
        /// The name.
        name: String,
        /// The tool that was most likely meant.
        near: Option<&'static str>,
    },
    /// A pattern.
    #[error("no tool fits {pattern}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The tool that is most like it.
        near: Option<&'static str>,
    },
}

impl UnknownTool {
    /// What to write instead.
    #[must_use]
    pub fn help(&self, platform: Platform) -> String {
        let all = format!("`aiviary tools --platform {}` lists them", platform.name());
        match self {
            Self::Name { near: Some(near), .. } => format!("did you mean {near}?"),
            Self::Pattern { near: Some(near), .. } => format!("the nearest is {near}; {all}"),
            Self::Name { near: None, .. } | Self::Pattern { near: None, .. } => all,
        }
    }
}

/// An element of `[mcp.…] tools` without its sign: a name or a pattern.
fn unsigned(element: &str) -> &str {
    element.strip_prefix('-').unwrap_or(element)
}

/// Whether any tool of `catalogue` has the name or fits the pattern of `element`, an element of `[mcp.…] tools`.
///
/// # Errors
/// None does.
pub fn check_tool(element: &str, catalogue: &'static [Tool]) -> Result<(), UnknownTool> {
    let wanted = unsigned(element);
    if catalogue.iter().any(|tool| fits(wanted, tool.name)) {
        return Ok(());
    }
    let near = nearest(&wanted.replace('*', ""), catalogue.iter().map(|tool| tool.name));
    let text = wanted.to_owned();
    Err(if wanted.contains('*') {
        UnknownTool::Pattern { pattern: text, near }
    } else {
        UnknownTool::Name { name: text, near }
    })
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| fits(after, &rest[at..]))
        }),
    }
}

impl Offer {
    /// The tools of `catalogue` that `patterns` and `writes` leave.
    ///
    /// # Errors
    /// A name or a pattern that no tool has.
    pub fn new(
        platform: Platform,
        catalogue: &'static [Tool],
        patterns: &[String],
        writes: tool::Writes,
    ) -> Result<Self, UnknownTool> {
        patterns.iter().try_for_each(|pattern| check_tool(pattern, catalogue))?;
        let wanted = |tool: &Tool| {
            let last = patterns.iter().rev().find(|pattern| fits(unsigned(pattern), tool.name));
            last.is_some_and(|pattern| !pattern.starts_with('-'))
        };
        let offered = catalogue.iter().filter(|tool| wanted(tool) && tool.access.needs() <= writes).collect();
        Ok(Self { platform, catalogue, offered, writes })
    }

    /// What is offered, in the catalogue's order.
    #[must_use]
    pub fn tools(&self) -> &[&'static Tool] {
        &self.offered
    }

    /// The tool of that name.
    ///
    /// # Errors
    /// It is not offered: unknown, taken away, or writes of its kind are off.
    pub fn find(&self, name: &str) -> Result<&'static Tool, CallError> {
        if let Some(tool) = self.offered.iter().find(|tool| tool.is_called(name)) {
            return Ok(tool);
        }
        if let Some(tool) = self.catalogue.iter().find(|tool| tool.is_called(name)) {
            let (tool, section, needs) = (tool.name, self.platform.section(), tool.access.needs());
            let is = self.writes.word();
            return Err(if needs > self.writes {
                CallError::WritesOff { tool, section, is, needs }
            } else {
                CallError::LeftOut { tool, section }
            });
        }
        let mut scored: Vec<(f64, &str)> = self
            .offered
            .iter()
            .filter(|_| name.len() <= 64)
            .map(|tool| (strsim::jaro_winkler(name, tool.name), tool.name))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let nearest = scored.into_iter().take(3).filter(|(score, _)| *score > 0.6).map(|(_, name)| name).collect();
        Err(CallError::Unknown { name: shown(name), nearest })
    }
}

/// A finished value: its members, and the same as the text that leaves.
#[derive(Debug)]
pub struct Served {
    /// The members.
    pub value: Map<String, Value>,
    /// The members as JSON.
    pub text: String,
}

impl Served {
    fn of(value: Map<String, Value>) -> Self {
        let text = serde_json::to_string(&value).expect("a value is JSON");
        Self { value, text }
    }
}

/// The role at work.
pub struct Mcp {
    offer: Offer,
    grants: Grants,
    graph: Graph,
    memory: Arc<Memory>,
    client: Option<ClientId>,
    keys: Option<Keys>,
    rules: Rules,
    clock: Clock,
    app_secret: Option<Arc<Secret>>,
    metrics: Metrics,
    calls: prometheus::IntCounterVec,
    scrubbed: prometheus::IntCounterVec,
    graph_calls: prometheus::IntCounterVec,
    protocol: Protocol,
    scrape: Mutex<()>,
    journal: Arc<Writes>,
    /// Calls at work, by client.
    busy: Mutex<HashMap<ClientId, usize>>,
    /// Writes whose caller may have left.
    writes: TaskTracker,
}

/// Calls of one client at work at once (`SECURITY.md` 9); the others get 503.
const CLIENT_CALLS_MAX: usize = 1024;

/// A call's place among its client's; free again when dropped.
struct Place(Arc<Mcp>, ClientId);

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.1);
            }
        }
    }
}

impl Mcp {
    pub(super) fn new(settings: Settings, graph: Graph, keys: Option<Keys>) -> Result<Self, StartError> {
        let unknown = |error: UnknownTool| {
            let (section, help) = (settings.platform.section(), error.help(settings.platform));
            StartError::configuration(format!("mcp.{section}.tools: {error}; {help}"))
        };
        let offer = Offer::new(settings.platform, settings.catalogue, &settings.tools, settings.writes);
        let offer = offer.map_err(unknown)?;
        let grants =
            Grants::new(&settings.connect, settings.connect_key.as_ref()).map_err(StartError::configuration)?;
        let metrics = Metrics::new(settings.platform.name());
        Ok(Self {
            protocol: Protocol::new(settings.platform, offer.tools()),
            offer,
            grants,
            graph,
            memory: Arc::default(),
            client: settings.client,
            keys,
            rules: settings.rules,
            clock: settings.clock,
            app_secret: settings.app_secret.map(Arc::new),
            calls: metrics.counters("aiviary_tool_calls_total", "Tool calls, by outcome.", &["tool", "outcome"]),
            scrubbed: metrics.counters(
                "aiviary_scrubbed_total",
                "Secrets found in finished answers: each is a bug.",
                &[],
            ),
            graph_calls: metrics.counters("aiviary_graph_calls_total", "Graph calls, by kind.", &["kind"]),
            metrics,
            scrape: Mutex::default(),
            journal: Arc::new(Writes::new(settings.platform.name(), settings.state)),
            busy: Mutex::default(),
            writes: TaskTracker::new(),
        })
    }

    /// Waits for writes whose callers have left, until `until` at the latest.
    pub(super) async fn settle(&self, until: Instant) {
        self.writes.close();
        if timeout_at(until, self.writes.wait()).await.is_err() {
            warn!(writes = self.writes.len(), "stopped in the middle of writes; the journal has how far they came");
        }
    }

    fn place(self: &Arc<Self>, client: &ClientId) -> Result<Place, CallError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(client.clone()).or_default();
        if *count >= CLIENT_CALLS_MAX {
            return Err(CallError::Busy);
        }
        *count += 1;
        Ok(Place(Arc::clone(self), client.clone()))
    }

    pub(super) fn platform(&self) -> Platform {
        self.offer.platform
    }

    /// The tools that are offered.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    pub(super) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(super) fn boundary(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn mcp_keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    pub(super) fn counted(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn metrics_text(&self) -> Vec<u8> {
        // Two scrapes at once must not add the same calls twice.
        let _turn = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = self.graph.stats();
        let show = |kind: &str, count: u64| {
            let counter = self.graph_calls.with_label_values(&[kind]);
            counter.inc_by(count.saturating_sub(counter.get()));
        };
        show("call", stats.calls());
        show("retry", stats.retries());
        for (kind, count) in stats.errors() {
            show(kind, count);
        }
        self.metrics.text()
    }

    /// `/readyz`: connect's word, and nothing else.
    pub(super) async fn readiness(&self) -> Readiness {
        match self.grants.readiness().await {
            Ok(connect) if connect.ready => {
                Readiness { ready: true, unreadable: connect.unreadable, ..Readiness::default() }
            }
            Ok(connect) => Readiness {
                waiting_for: connect.waiting_for.iter().map(|what| format!("connect: {what}")).collect(),
                unreadable: connect.unreadable,
                ..Readiness::default()
            },
            Err(error) => {
                warn!(%error, "connect does not answer");
                Readiness { waiting_for: vec!["connect".to_owned()], ..Readiness::default() }
            }
        }
    }

    /// One call of a tool, from its name to its value. Writes run to their end when the caller leaves.
    ///
    /// # Errors
    /// The failure as it leaves, in either envelope.
    pub async fn call(
        self: &Arc<Self>,
        name: &str,
        params: Map<String, Value>,
        client: Option<ClientId>,
        progress: Progress,
    ) -> Result<Served, Failure> {
        let began = Instant::now();
        let client = client.or_else(|| self.client.clone());
        let tool = match self.offer.find(name) {
            Ok(tool) => tool,
            Err(error) => {
                return self.ended("unknown", client.as_ref(), began, Err((error, "its permissions".to_owned())));
            }
        };
        let this = self.clone();
        // Also a write whose caller has left is counted and logged.
        let work = async move {
            let done = this.run(tool, params, client.clone(), began + CALL_MAX, progress).await;
            let done = done.map_err(|(error, login)| (error, needs_of(tool, login)));
            this.ended(tool.name, client.as_ref(), began, done)
        };
        if tool.access == Access::Read {
            return work.await;
        }
        self.writes.spawn(work).await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                let error = CallError::from(ToolError::unknown("the server is stopping", true));
                Err(error.failure(self.offer.platform, ""))
            }
        })
    }

    /// Counts and logs a call. The words beside an error are its tool's permissions.
    fn ended(
        &self,
        tool: &str,
        client: Option<&ClientId>,
        began: Instant,
        outcome: Result<Served, (CallError, String)>,
    ) -> Result<Served, Failure> {
        let outcome = outcome.map_err(|(error, needs)| error.failure(self.offer.platform, &needs));
        let word = outcome.as_ref().map_or_else(|failure| failure.code(), |_| "ok");
        self.calls.with_label_values(&[tool, word]).inc();
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let client = client.map_or("", ClientId::as_str);
        match &outcome {
            Ok(_) => info!(tool, client.id = client, ms, "answered"),
            Err(failure) => info!(tool, client.id = client, ms, code = word, "failed: {:.256}", failure.message()),
        }
        outcome
    }

    async fn run(
        self: &Arc<Self>,
        tool: &'static Tool,
        params: Map<String, Value>,
        client: Option<ClientId>,
        deadline: Instant,
        progress: Progress,
    ) -> Result<Served, (CallError, Login)> {
        let login = OnceLock::new();
        let writes = tool.access != Access::Read;
        let work = async {
            let args = Args::check(tool.params, &params)?;
            let grant = match self.grants.grant(client.as_ref()).await {
                Err(error @ (GrantError::NotConnected(_) | GrantError::Unreadable(_))) if tool.is_of_connection() => {
                    return Ok(Served::of(tool.unconnected(&error.to_string())));
                }
                grant => grant?,
            };
            let _ = login.set(grant.summary.login);
            if grant.summary.token_expired && !tool.is_of_connection() {
                let at = grant.summary.token_expires_at.unwrap_or_default();
                return Err(CallError::Expired { client: grant.summary.client_id.to_string(), at });
            }
            let _place = self.place(&grant.summary.client_id)?;
            // A write keeps some of its time to write down how it ended.
            let ends = if writes { deadline - TIME_TO_SETTLE } else { deadline };
            let (account, session) = self.session(grant, ends, writes);
            let scrubber = session.scrubber();
            let ask = Ask {
                tool,
                args,
                account,
                graph: Arc::new(session),
                memory: self.memory.clone(),
                clock: self.clock.clone(),
                journal: Some(self.journal.clone()),
                arrived: deadline - CALL_MAX,
                progress,
            };
            let value = tool.answer(ask).await?;
            Ok(self.scrub(value, &scrubber))
        };
        // Before there was a grant nothing can have been sent.
        let over = || match writes && login.get().is_some() {
            true => ToolError::unknown(CallError::Timeout(CALL_MAX), true).into(),
            false => CallError::Timeout(CALL_MAX),
        };
        let outcome = timeout_at(deadline, work).await.unwrap_or_else(|_| Err(over()));
        // Which permissions a refusal names depends on the login, as far as the call came to know it.
        outcome.map_err(|error| (error, login.get().copied().unwrap_or_default()))
    }

    fn session(&self, grant: Grant, deadline: Instant, writes: bool) -> (Account, Session) {
        let summary = grant.summary;
        let account = Account {
            ids: summary.ids(),
            client: summary.client_id,
            login: summary.login,
            scopes: summary.scopes,
            updated_at: summary.updated_at,
            token_expires_at: summary.token_expires_at,
            token_expired: summary.token_expired,
        };
        let host = match account.login {
            Login::Facebook => Host::Facebook,
            Login::Instagram => Host::Instagram,
        };
        let caller = Caller {
            key: account.client.to_string(),
            host,
            token: grant.access_token,
            proof: grant.appsecret_proof,
            app_secret: self.app_secret.clone(),
            deadline,
            writes,
        };
        let session = self.graph.session(caller);
        (account, session)
    }

    /// The last look before a value leaves: no column lets a token pass, so a hit is a bug, and is counted.
    fn scrub(&self, value: Map<String, Value>, scrubber: &Scrubber) -> Served {
        let mut served = Served::of(value);
        let hits = scrubber.scrub(&mut served.text);
        if hits == 0 {
            return served;
        }
        error!(hits, "a secret stood in a finished answer and was replaced");
        self.scrubbed.with_label_values(&[] as &[&str]).inc_by(hits as u64);
        served.value = serde_json::from_str(&served.text).unwrap_or_default();
        served
    }
}

/// A tool's permissions in words, for refusals that Meta does not explain.
fn needs_of(tool: &Tool, login: Login) -> String {
    let all: Vec<String> = tool.needs_of(login).iter().map(|any| any.join(" or ")).collect();
    if all.is_empty() { "one that this tool needs".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::AccountKind;
    use crate::tool::Writes;

    const TOOLS: &[Tool] = &[
        Tool::read("get_profile", AccountKind::Instagram),
        Tool::read("get_media", AccountKind::Instagram),
        Tool::write("hide_comment", AccountKind::Instagram),
        Tool::write_all("delete_comment", AccountKind::Instagram),
    ];

    fn offered(patterns: &[&str], writes: Writes) -> Vec<&'static str> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let offer = Offer::new(Platform::Instagram, TOOLS, &patterns, writes).unwrap();
        offer.tools().iter().map(|tool| tool.name).collect()
    }

    #[test]
    fn patterns_and_writes_choose_the_tools() {
        assert_eq!(offered(&["*"], Writes::Off), ["get_profile", "get_media"]);
        assert_eq!(offered(&["*"], Writes::On), ["get_profile", "get_media", "hide_comment"]);
        assert_eq!(
            offered(&["*", "-get_*", "get_media"], Writes::All),
            ["get_media", "hide_comment", "delete_comment"]
        );
        assert_eq!(offered(&["get_*file"], Writes::All), ["get_profile"]);
        assert_eq!(offered(&[], Writes::All), [""; 0]);
    }

    #[test]
    fn a_name_or_a_pattern_that_no_tool_has_is_refused_with_the_nearest() {
        for (element, what, help) in [
            ("get_profil", "there is no tool get_profil", "did you mean get_profile?"),
            ("-delete_coment", "there is no tool delete_coment", "did you mean delete_comment?"),
            ("zzz", "there is no tool zzz", "`aiviary tools --platform instagram` lists them"),
            (
                "-delte_*",
                "no tool fits delte_*",
                "the nearest is delete_comment; `aiviary tools --platform instagram` lists them",
            ),
        ] {
            let offer = Offer::new(Platform::Instagram, TOOLS, &["*".to_owned(), element.to_owned()], Writes::All);
            let wrong = offer.err().unwrap();
            assert_eq!((wrong.to_string().as_str(), wrong.help(Platform::Instagram).as_str()), (what, help));
        }
    }
}
