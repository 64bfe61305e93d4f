//! The one client of Meta's Graph API: addresses and bounds from settings, the token as an argument of each session.
//!
//! [`Graph`] lives as long as the process. [`Graph::session`] lends it to one call of ours, with that call's token and
//! deadline; a [`Request`] says what to ask, a [`Page`] is a list's answer, a [`GraphError`] says why there is none.

mod error;
mod page;
mod request;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::join_all;
use percent_encoding::utf8_percent_encode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

pub use self::error::{ErrorKind, Fault, GraphError, Said, one_line};
pub use self::page::{Cursor, CursorError, Page, nested};
pub use self::request::{Request, is_node};
pub use self::usage::Usage;
use crate::clock::Clock;
use crate::secret::Secret;

/// The largest answer that is read, in bytes after decompression.
pub const MAX_BODY_BYTES: usize = 8 << 20;

/// The most requests of one batch (Meta, batch requests page, 2026).
pub const MAX_BATCH: usize = 50;

/// Answers over this are read [`LARGE_AT_ONCE`] at a time.
const LARGE_BYTES: usize = 1 << 20;
const LARGE_AT_ONCE: usize = 4;

/// Requests of one call at once (catalogue rules of Instagram, 2026): the rest wait.
const AT_ONCE: usize = 4;

/// Clients whose places are remembered while they are idle.
const IDLE_CLIENTS: usize = 1024;

/// `[graph]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where Facebook logins are served. Default: `https://graph.facebook.com`.
    pub base_url: String,
    /// Where Instagram logins are served. Default: `https://graph.instagram.com`.
    pub instagram_base_url: String,
    /// Graph version of every path. Default: `v26.0`.
    pub version: String,
    /// Time for one attempt, its whole answer included. Default: 20 s.
    pub timeout: Duration,
    /// Calls at once for one client, 1 to 4096. Default: 64.
    pub concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: "https://graph.facebook.com".to_owned(),
            instagram_base_url: "https://graph.instagram.com".to_owned(),
            version: "v26.0".to_owned(),
            timeout: Duration::from_secs(20),
            concurrency: 64,
        }
    }
}

/// Why there can be no [`Graph`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("`graph.{key}`: {reason}")]
    Setting {
        /// The key below `[graph]`.
        key: &'static str,
        /// What it may be.
        reason: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("the client of the Graph API could not be made")]
    Client(#[source] reqwest::Error),
}

impl Settings {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`StartError::Setting`] for the first that cannot be used.
    pub fn check(&self) -> Result<(), StartError> {
        let must = |holds: bool, key: &'static str, reason: &'static str| {
            if holds { Ok(()) } else { Err(StartError::Setting { key, reason }) }
        };
        for (key, url) in [("base_url", &self.base_url), ("instagram_base_url", &self.instagram_base_url)] {
            let url = Url::parse(url).map_err(|_| StartError::Setting { key, reason: "write https://HOST" })?;
            let bare = url.username().is_empty() && url.password().is_none();
            let bare = bare && url.query().is_none() && url.fragment().is_none();
            must(bare && url.has_host(), key, "write https://HOST, without user, query or fragment")?;
            let reason = "write https; plain http is for loopback and private addresses (as numbers, or localhost)";
            must(url.scheme() == "https" || (url.scheme() == "http" && is_near(&url)), key, reason)?;
        }
        let number = |text: &str, longest: usize| {
            (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        let version = self.version.strip_prefix('v').and_then(|version| version.split_once('.'));
        let versioned = version.is_some_and(|(major, minor)| number(major, 3) && number(minor, 2));
        must(versioned, "version", "write it as Meta does: v26.0")?;
        let timely = self.timeout >= Duration::from_millis(1) && self.timeout <= Duration::from_secs(45);
        must(timely, "timeout", "1ms to 45s, the time of a whole call")?;
        must((1..=4096).contains(&self.concurrency), "concurrency", "1 to 4096")
    }

    fn is_plain(&self) -> [bool; 2] {
        [&self.base_url, &self.instagram_base_url]
            .map(|url| url.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("http:")))
    }
}

/// Whether a URL names this machine or its private neighbourhood.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => host == "localhost",
    }
}

/// Makes ring the process's cryptography, once; later calls do nothing. reqwest panics where there is none.
pub fn install_crypto_provider() {
    // An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Meta's proof that a caller knows the app secret: HMAC-SHA-256 over the token, in hex
/// (developers.facebook.com/docs/graph-api/securing-requests).
#[must_use]
pub fn proof(app_secret: &Secret, token: &Secret) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.expose().as_bytes());
    Secret::new(hex::encode(hmac::sign(&key, token.expose().as_bytes())))
}

/// Which of Meta's hosts a credential belongs to; neither takes the other's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Facebook Login: Graph, ads, and Instagram accounts of Pages.
    Facebook,
    /// Instagram Login.
    Instagram,
}

/// On whose behalf, and until when.
#[derive(Debug)]
pub struct Caller {
    /// The client's id: places and usage are counted by it.
    pub key: String,
    /// Where the token is good.
    pub host: Host,
    /// The access token.
    pub token: Secret,
    /// `appsecret_proof` of that token, where the app's secret is known.
    pub proof: Option<Secret>,
    /// The app's secret, where it is known: for proofs of a Page's token.
    pub app_secret: Option<Arc<Secret>>,
    /// When everything ends: waiting, attempts and repetitions.
    pub deadline: Instant,
    /// Whether it may change anything: a session without refuses [`Session::post`] and [`Session::delete`].
    pub writes: bool,
}

/// The client of the Graph API; clones share everything.
#[derive(Clone)]
pub struct Graph(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    settings: Settings,
    clock: Clock,
    backoff: ExponentialBuilder,
    large: Semaphore,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    usage: Mutex<usage::Book>,
    warned: Mutex<HashSet<String>>,
    stats: Stats,
}

impl Graph {
    /// Makes the client; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the setting, or has what hinders the HTTP client.
    pub fn new(settings: &Settings, clock: Clock) -> Result<Self, StartError> {
        // Two repetitions, after 200 to 400 ms and 400 to 800 ms: backon's jitter is added to the delay.
        let backoff = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(1))
            .with_max_times(2);
        Self::with_backoff(settings, clock, backoff)
    }

    fn with_backoff(settings: &Settings, clock: Clock, backoff: ExponentialBuilder) -> Result<Self, StartError> {
        settings.check()?;
        install_crypto_provider();
        Ok(Self(Arc::new(Inner {
            http: client(settings).map_err(StartError::Client)?,
            settings: settings.clone(),
            clock,
            backoff,
            large: Semaphore::new(LARGE_AT_ONCE),
            places: Mutex::default(),
            usage: Mutex::default(),
            warned: Mutex::default(),
            stats: Stats::default(),
        })))
    }

    /// Lends the client to one call.
    #[must_use]
    pub fn session(&self, caller: Caller) -> Session {
        let mut places = lock(&self.0.places);
        if places.len() >= IDLE_CLIENTS && !places.contains_key(&caller.key) {
            places.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.0.settings.concurrency));
        let places = Arc::clone(places.entry(caller.key.clone()).or_insert_with(new));
        let scrubber = Scrubber::default();
        scrubber.learn(&caller.token, caller.proof.as_ref());
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        Session { graph: self.clone(), caller, places, at_once, scrubber }
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }
}

/// Nothing behind these locks can be left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client(settings: &Settings) -> reqwest::Result<reqwest::Client> {
    let plain = settings.is_plain();
    let builder = || {
        // reqwest itself repeats only what HTTP/2 says was never looked at (RFC 9113, 8.7): right for writes too.
        reqwest::Client::builder()
            .user_agent(concat!("aiviary/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .https_only(plain == [false, false])
            .connect_timeout(Duration::from_secs(5))
            .tcp_keepalive(Duration::from_secs(30))
            // One HTTP/2 connection carries everything: without pings a dead one would take all calls down with it.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            // Shorter than what load balancers keep: a write on a connection that is just closing is a lost answer.
            .pool_idle_timeout(Duration::from_secs(45))
            .pool_max_idle_per_host(64)
    };
    if plain == [true, true] {
        // Images without a certificate store can still talk to the sandbox.
        return builder().tls_certs_only([]).build();
    }
    builder().build().or_else(|error| {
        tracing::warn!(error = %error, "no usable certificate store on this machine: using the bundled roots");
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        let roots = roots.iter().map(|root| reqwest::Certificate::from_der(root)).collect::<Result<Vec<_>, _>>()?;
        builder().tls_certs_only(roots).build()
    })
}

/// The client of Graph, lent to one call. Several futures may use it at once.
pub struct Session {
    graph: Graph,
    caller: Caller,
    places: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
    scrubber: Scrubber,
}

impl Session {
    /// Reads. Passing faults are met by two repetitions within the deadline.
    ///
    /// # Errors
    ///
    /// Whatever [`ErrorKind`] names but [`ErrorKind::OutcomeUnknown`].
    pub async fn get(&self, request: &Request) -> Result<Value, GraphError> {
        self.call(Method::GET, request, true).await.and_then(object)
    }

    /// Reads one node. Every node has an id: what has none is no node, and a row of nulls would look like one.
    ///
    /// # Errors
    ///
    /// As [`Session::get`]; [`GraphError::malformed`] without an id.
    pub async fn node(&self, request: &Request) -> Result<Value, GraphError> {
        let node = self.get(request).await?;
        if node.get("id").is_none() { Err(self.counted(GraphError::malformed())) } else { Ok(node) }
    }

    /// Writes, once: the parameters go as a form.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutcomeUnknown`] where it may have happened; with all others it did not.
    pub async fn post(&self, request: &Request) -> Result<Value, GraphError> {
        self.change(Method::POST, request).await
    }

    /// Deletes, once.
    ///
    /// # Errors
    ///
    /// As [`Session::post`].
    pub async fn delete(&self, request: &Request) -> Result<Value, GraphError> {
        self.change(Method::DELETE, request).await
    }

    async fn change(&self, method: Method, request: &Request) -> Result<Value, GraphError> {
        self.check_writes()?;
        self.call(method, request, false).await.and_then(|answer| object(answer).map_err(GraphError::of_write))
    }

    fn check_writes(&self) -> Result<(), GraphError> {
        if self.caller.writes { Ok(()) } else { Err(GraphError::invalid("this call may only read")) }
    }

    /// Reads one page of a list, `limit` rows from `cursor` on.
    ///
    /// # Errors
    ///
    /// As [`Session::get`]; [`ErrorKind::ReduceData`] asks for a smaller `limit`.
    pub async fn page(&self, request: &Request, cursor: Option<&Cursor>, limit: u32) -> Result<Page, GraphError> {
        let mut request = request.clone().query("limit", limit.to_string());
        if let Some(cursor) = cursor {
            request = request.query("after", cursor.as_str());
        }
        Page::from_value(self.get(&request).await?)
    }

    /// Reads up to [`MAX_BATCH`] things, in one call at Facebook and four at a time at Instagram, whose host is not
    /// known to take batches. Answers stand in the order of the requests; each counts against Meta's limits.
    ///
    /// # Errors
    ///
    /// As [`Session::get`], for the batch; within it a missing answer is [`ErrorKind::Timeout`].
    pub async fn batch(&self, requests: &[Request]) -> Result<Vec<Result<Value, GraphError>>, GraphError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        if requests.len() > MAX_BATCH {
            return Err(GraphError::invalid("a batch has at most 50 requests"));
        }
        if self.caller.host == Host::Instagram {
            return Ok(join_all(requests.iter().map(|request| self.call(Method::GET, request, true))).await);
        }
        let entry = |request: &Request| {
            let (path, params) = (request.path().trim_start_matches('/'), request.encoded(None));
            let url = if params.is_empty() { path.to_owned() } else { format!("{path}?{params}") };
            json!({ "method": "GET", "relative_url": url })
        };
        let entries = Value::Array(requests.iter().map(entry).collect());
        let batch = Request::root().query("include_headers", "false").query("batch", entries.to_string());
        match self.call(Method::POST, &batch, true).await? {
            Value::Array(answers) if answers.len() == requests.len() => {
                Ok(answers.iter().map(|answer| self.batch_answer(answer)).collect())
            }
            _ => Err(self.counted(GraphError::malformed())),
        }
    }

    /// The same call with the Page's own token, which Meta wants for a Page's messages: same client, host and deadline.
    /// This session's [`Session::scrubber`] knows the secrets too. One read; the token lives as long as the session.
    ///
    /// # Errors
    ///
    /// As [`Session::get`]; [`ErrorKind::MissingPermission`] where Meta gives no token of the Page.
    pub async fn as_page(&self, page: &str) -> Result<Session, GraphError> {
        let mut answer = self.get(&Request::new("{}", &[page])?.fields("access_token").for_token()).await?;
        let Value::String(token) = answer["access_token"].take() else {
            let permission = Some("pages_show_list".to_owned());
            return Err(GraphError::of_kind(ErrorKind::MissingPermission { permission }));
        };
        Ok(self.with_token(Secret::new(token)))
    }

    fn with_token(&self, token: Secret) -> Session {
        let app_secret = self.caller.app_secret.clone();
        let proof = app_secret.as_ref().map(|app_secret| proof(app_secret, &token));
        self.scrubber.learn(&token, proof.as_ref());
        let caller = Caller { key: self.caller.key.clone(), token, proof, app_secret, ..self.caller };
        Session {
            graph: self.graph.clone(),
            caller,
            places: Arc::clone(&self.places),
            at_once: Arc::clone(&self.at_once),
            scrubber: self.scrubber.clone(),
        }
    }

    /// How much of Meta's limits this client has used, by the newest headers; `None` where none came lately.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        lock(&self.graph.0.usage).usage(&self.caller.key, self.graph.0.clock.now())
    }

    /// Finds this call's secrets in finished texts. It outlives the session where it must.
    #[must_use]
    pub fn scrubber(&self) -> Scrubber {
        self.scrubber.clone()
    }

    /// When this call ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.caller.deadline
    }

    fn batch_answer(&self, answer: &Value) -> Result<Value, GraphError> {
        if answer.is_null() {
            return Err(GraphError::fault(ErrorKind::Timeout, Fault::NoEntry));
        }
        let status = answer.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let body = answer.get("body").and_then(Value::as_str);
        match (status, body) {
            (Some(status), Some(body)) => {
                let mut value = self.interpret(status, body.as_bytes()).and_then(object)?;
                page::strip_links(&mut value);
                Ok(value)
            }
            _ => Err(GraphError::malformed()),
        }
    }

    async fn call(&self, method: Method, request: &Request, reads: bool) -> Result<Value, GraphError> {
        let stats = &self.graph.0.stats;
        let answer = async {
            let _place = self.place().await?;
            let mut delays = self.graph.0.backoff.build();
            loop {
                if self.caller.deadline <= Instant::now() {
                    return Err(GraphError::time_over());
                }
                stats.calls.fetch_add(1, Ordering::Relaxed);
                let error = match self.attempt(&method, request).await {
                    Err(error) if reads => error,
                    Err(error) => return Err(error.of_write()),
                    answer => return answer,
                };
                let delay = if error.is_transient() { delays.next() } else { None };
                let Some(delay) = delay.filter(|delay| Instant::now() + *delay < self.caller.deadline) else {
                    return Err(error);
                };
                stats.retries.fetch_add(1, Ordering::Relaxed);
                let trace = error.said.as_ref().and_then(|said| said.trace_id.as_deref());
                tracing::debug!(status = error.status, codes = ?error.codes(), trace, "a read of Graph failed, once more");
                sleep(delay).await;
            }
        };
        answer.await.map_err(|error| self.counted(error))
    }

    fn counted(&self, error: GraphError) -> GraphError {
        self.graph.0.stats.errors[error.kind.index()].fetch_add(1, Ordering::Relaxed);
        error
    }

    /// A place among this call's own, then one among the client's.
    async fn place(&self) -> Result<[OwnedSemaphorePermit; 2], GraphError> {
        let places = async {
            let own = Arc::clone(&self.at_once).acquire_owned().await.ok()?;
            Some([own, Arc::clone(&self.places).acquire_owned().await.ok()?])
        };
        let places = timeout_at(self.caller.deadline, places).await.ok().flatten();
        places.ok_or_else(|| GraphError::fault(ErrorKind::Timeout, Fault::NoPlace))
    }

    async fn attempt(&self, method: &Method, request: &Request) -> Result<Value, GraphError> {
        let until = self.caller.deadline.min(Instant::now() + self.graph.0.settings.timeout);
        timeout_at(until, self.exchange(method, request)).await.unwrap_or_else(|_| Err(GraphError::time_over()))
    }

    async fn exchange(&self, method: &Method, request: &Request) -> Result<Value, GraphError> {
        let inner = &self.graph.0;
        let base = match self.caller.host {
            Host::Facebook => &inner.settings.base_url,
            Host::Instagram => &inner.settings.instagram_base_url,
        };
        let mut url = format!("{}/{}{}", base.trim_end_matches('/'), inner.settings.version, request.path());
        let proof = self.caller.proof.as_ref().map(Secret::expose);
        let params = request.encoded(proof);
        let http = if *method == Method::POST && request.is_json() {
            let json = HeaderValue::from_static("application/json");
            inner.http.post(url).header(CONTENT_TYPE, json).body(request.json(proof))
        } else if *method == Method::POST {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            inner.http.post(url).header(CONTENT_TYPE, form).body(params)
        } else {
            if !params.is_empty() {
                url.push('?');
                url.push_str(&params);
            }
            inner.http.request(method.clone(), url)
        };
        let response = http.header(AUTHORIZATION, self.bearer()?).send().await.map_err(GraphError::network)?;
        self.note(response.headers());
        let status = response.status();
        if status.is_redirection() {
            return Err(GraphError::answer(status.as_u16(), Fault::Redirect));
        }
        let mut value = self.read(response).await?;
        if !request.is_for_token() {
            page::strip_links(&mut value);
        }
        Ok(value)
    }

    /// The only place where a token leaves its wrapper to be sent.
    fn bearer(&self) -> Result<HeaderValue, GraphError> {
        let text = Zeroizing::new(format!("Bearer {}", self.caller.token.expose()));
        let refused = |_| GraphError::fault(ErrorKind::TokenInvalid, Fault::Request("the token is no header value"));
        let mut header = HeaderValue::from_str(&text).map_err(refused)?;
        header.set_sensitive(true);
        Ok(header)
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Value, GraphError> {
        let status = response.status().as_u16();
        let (mut body, mut turn) = (Vec::new(), None);
        while let Some(chunk) = response.chunk().await.map_err(GraphError::network)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(GraphError::answer(status, Fault::TooLarge));
            }
            body.extend_from_slice(&chunk);
            if body.len() > LARGE_BYTES && turn.is_none() {
                turn = self.graph.0.large.acquire().await.ok();
            }
        }
        self.interpret(status, &body)
    }

    /// Takes the value out of an answer; Graph's links are still in it.
    fn interpret(&self, status: u16, body: &[u8]) -> Result<Value, GraphError> {
        // serde_json stops at a depth of 128.
        let value = match serde_json::from_slice::<Value>(body) {
            Ok(value) => value,
            Err(error) => {
                let fault = match body.trim_ascii_start().first() {
                    Some(b'<') => Fault::Html,
                    _ if error.is_eof() => Fault::Cut,
                    _ => Fault::Malformed,
                };
                return Err(self.with_retry_after(GraphError::answer(status, fault)));
            }
        };
        if let Some(error) = GraphError::in_answer(status, &value, &self.scrubber) {
            return Err(self.with_retry_after(error));
        }
        if !(200..300).contains(&status) {
            return Err(self.with_retry_after(GraphError::answer(status, Fault::NoReason)));
        }
        Ok(value)
    }

    fn with_retry_after(&self, mut error: GraphError) -> GraphError {
        if let ErrorKind::RateLimited { retry_after } = &mut error.kind {
            *retry_after = self.usage().and_then(|usage| usage.regain);
        }
        error
    }

    /// Reads the headers that come with successes and errors alike.
    fn note(&self, headers: &HeaderMap) {
        let inner = &self.graph.0;
        lock(&inner.usage).note(&self.caller.key, headers, inner.clock.now());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(warning) = text("x-ad-api-version-warning") {
            let warning: String = warning.chars().take(256).collect();
            let mut warned = lock(&inner.warned);
            // The text names two versions and little else; should it ever vary more, the log is not flooded.
            if warned.len() < 64 && warned.insert(warning.clone()) {
                tracing::warn!(
                    warning,
                    asked = inner.settings.version,
                    "Meta warns of the Graph version: change `graph.version`"
                );
            }
        }
    }
}

/// Nodes, lists and outcomes are objects: what reads them may rely on it.
fn object(answer: Value) -> Result<Value, GraphError> {
    if answer.is_object() { Ok(answer) } else { Err(GraphError::malformed()) }
}

/// Finds a call's secrets in texts: tokens, their percent-encoded form and proofs. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Scrubber(Arc<RwLock<Vec<Secret>>>);

impl Scrubber {
    /// What stands where a secret stood.
    pub const MARK: &'static str = "[secret]";

    /// Shorter texts are no secrets, and would be found everywhere.
    const SHORTEST: usize = 6;

    /// Replaces every secret in `text` by [`Scrubber::MARK`], and says how many there were.
    pub fn scrub(&self, text: &mut String) -> usize {
        let mut hits = 0;
        for secret in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let found = text.matches(secret.expose()).count();
            if found > 0 {
                *text = text.replace(secret.expose(), Self::MARK);
                hits += found;
            }
        }
        hits
    }

    fn learn(&self, token: &Secret, proof: Option<&Secret>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut add = |text: String| {
            let text = Secret::new(text);
            let new = known.iter().all(|secret| secret.expose() != text.expose());
            if new && text.expose().len() >= Self::SHORTEST {
                known.push(text);
            }
        };
        add(token.expose().to_owned());
        let encoded = utf8_percent_encode(token.expose(), request::ESCAPED).to_string();
        add(encoded.replace("%7C", "%7c"));
        add(encoded);
        if let Some(proof) = proof {
            add(proof.expose().to_owned());
        }
    }
}

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Stats {
    calls: AtomicU64,
    retries: AtomicU64,
    errors: [AtomicU64; ErrorKind::NAMES.len()],
}

impl Stats {
    /// Requests sent to Meta, repetitions included; a batch is one.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Repetitions of reads.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Calls that ended without a value, by [`ErrorKind::NAMES`]; what stands inside a batch is not counted.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ErrorKind::NAMES.into_iter().zip(self.errors.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
