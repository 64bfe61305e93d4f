//! Real roles on port 0: connect, the sandbox, both MCP servers, each over real sockets.
#![allow(dead_code)] // each test binary uses its own part

pub mod process;
pub mod skipped;
pub mod tools;
pub mod wire;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use aiviary::clock::Clock;
use aiviary::exposure::{Exposure, Listener, Rules};
use aiviary::graph;
use aiviary::platforms::Platform;
use aiviary::roles::sandbox::StandIn;
use aiviary::roles::{connect, mcp, sandbox};
use aiviary::secret::Secret;
use aiviary::store;
use aiviary::tool::{Tool, Writes};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The key that the fixture's connect wants in `X-API-Key`.
pub const API_KEY: &str = "test-api-key-0123456789abcdef";
/// The fixture's `ENCRYPTION_KEY`.
pub const ENCRYPTION_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Settings that a test may change before it starts the roles.
pub struct Fixture {
    pub folder: Arc<TempDir>,
    pub clock: Clock,
    pub encryption_keys: String,
    pub api_keys: String,
    pub service_key: Option<String>,
    /// The key that the MCP roles send, where it is not `service_key`.
    pub service_key_sent: Option<String>,
    pub mcp_key: Option<String>,
    pub app_secret: Option<String>,
    pub client: Option<String>,
    pub writes: Writes,
    pub tools: Vec<String>,
    pub catalogue: Option<&'static [Tool]>,
    pub origins: Vec<String>,
    /// Where Graph is, instead of the sandbox.
    pub graph: Option<String>,
    pub graph_timeout: Duration,
    /// Where credentials are kept, instead of the folder's SQLite file.
    pub store: Option<store::Settings>,
    /// Where connect is, instead of the fixture's own.
    pub connect: Option<mcp::ConnectAt>,
}

impl Default for Fixture {
    fn default() -> Self {
        logs();
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            clock: Clock::system(),
            encryption_keys: ENCRYPTION_KEY.to_owned(),
            api_keys: API_KEY.to_owned(),
            service_key: None,
            service_key_sent: None,
            mcp_key: None,
            app_secret: None,
            client: None,
            writes: Writes::Off,
            tools: vec!["*".to_owned()],
            catalogue: None,
            origins: Vec::new(),
            graph: None,
            graph_timeout: Duration::from_secs(20),
            store: None,
            connect: None,
        }
    }
}

fn listener(exposure: Exposure, key: &str) -> Listener {
    Listener { at: "127.0.0.1:0".parse().unwrap(), exposure, key: key.to_owned() }
}

fn rules(hosts: &[&str], origins: &[String], refuse_fetch_site: bool) -> Rules {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Rules { hosts, origins: origins.to_vec(), refuse_fetch_site, ..Rules::default() }
}

impl Fixture {
    pub fn new() -> Self {
        Self::default()
    }

    /// A second start on the same files.
    pub fn on(folder: &Arc<TempDir>) -> Self {
        Self { folder: folder.clone(), ..Self::default() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn connect_settings(&self) -> connect::Settings {
        let secret = |text: &Option<String>| text.clone().map(Secret::new);
        connect::Settings {
            store: self.store.clone().unwrap_or_else(|| store::Settings::sqlite(self.path("aiviary.db"))),
            listeners: vec![
                listener(Exposure::Internal, "connect.internal[0]"),
                listener(Exposure::Public, "connect.public[0]"),
            ],
            rules: rules(&["localhost", "aiviary-connect"], &[], true),
            client: self.client.as_ref().map(|client| client.parse().unwrap()),
            state: self.path("connect.db"),
            audit: self.path("audit.jsonl"),
            drain: Duration::from_secs(2),
            encryption_keys: Secret::new(self.encryption_keys.clone()),
            api_keys: Secret::new(self.api_keys.clone()),
            service_keys: secret(&self.service_key),
            app_secret: secret(&self.app_secret),
            instagram_app_secret: None,
            clock: self.clock.clone(),
        }
    }

    /// Starts connect, the sandbox and both MCP servers.
    pub async fn start(self) -> Roles {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        let settings = sandbox::Settings {
            listeners: vec![listener(Exposure::Internal, "sandbox.listen[0]")],
            rules: rules(&["localhost"], &[], false),
            seed: 1,
            clock: self.clock.clone(),
        };
        let stand_in = sandbox::start(settings).await.unwrap();
        let (sandbox_address, graph_seen) = (stand_in.listening().addresses()[0], stand_in.stand_in());
        tasks.push(tokio::spawn(stand_in.serve(stop.clone())));

        let running = connect::start(self.connect_settings()).await.unwrap();
        let addresses = running.listening().addresses();
        let serving = running.serve(stop.clone());
        tasks.push(tokio::spawn(async move { serving.await.unwrap() }));

        let mut platforms = Vec::new();
        for platform in Platform::ALL {
            let running = mcp::start(self.mcp_settings(platform, addresses[0], sandbox_address)).await.unwrap();
            platforms.push(running.listening().addresses()[0]);
            tasks.push(tokio::spawn(running.serve(stop.clone())));
        }
        Roles {
            folder: self.folder,
            clock: self.clock,
            internal: addresses[0],
            public: addresses[1],
            instagram: platforms[0],
            meta_ads: platforms[1],
            sandbox: sandbox_address,
            graph_seen,
            stop,
            tasks,
            http: client(),
        }
    }

    fn mcp_settings(&self, platform: Platform, connect: SocketAddr, sandbox: SocketAddr) -> mcp::Settings {
        let base = self.graph.clone().unwrap_or_else(|| format!("http://{sandbox}"));
        mcp::Settings {
            platform,
            catalogue: self.catalogue.unwrap_or_else(|| platform.catalogue()),
            writes: self.writes,
            tools: self.tools.clone(),
            listeners: vec![listener(Exposure::Internal, "mcp.listen[0]")],
            rules: rules(&["localhost", "instagram-mcp", "meta-ads-mcp"], &self.origins, false),
            client: self.client.as_ref().map(|client| client.parse().unwrap()),
            connect: self.connect.clone().unwrap_or(mcp::ConnectAt::Url(format!("http://{connect}"))),
            connect_key: self.service_key_sent.clone().or_else(|| self.service_key.clone()).map(Secret::new),
            keys: self.mcp_key.clone().map(Secret::new),
            app_secret: self.app_secret.clone().map(Secret::new),
            state: self.path("mcp.db"),
            graph: graph::Settings {
                instagram_base_url: format!("{base}{}", sandbox::INSTAGRAM_PATH),
                base_url: base,
                timeout: self.graph_timeout,
                ..graph::Settings::default()
            },
            drain: Duration::from_secs(2),
            clock: self.clock.clone(),
        }
    }
}

/// Running roles.
pub struct Roles {
    pub folder: Arc<TempDir>,
    pub clock: Clock,
    pub internal: SocketAddr,
    pub public: SocketAddr,
    pub instagram: SocketAddr,
    pub meta_ads: SocketAddr,
    pub sandbox: SocketAddr,
    /// What Graph was asked.
    pub graph_seen: Arc<StandIn>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    pub http: reqwest::Client,
}

/// A plain HTTP client.
pub fn client() -> reqwest::Client {
    graph::install_crypto_provider();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// Status, headers and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The error code of the body.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

/// Lets this process have that many descriptors; whether it may.
pub fn with_descriptors(wanted: usize) -> bool {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = wanted as u64;
    wanted <= soft || (wanted <= hard && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok())
}

/// A credential that the sandbox knows.
pub fn sample(client: &str) -> Value {
    json!({
        "client_id": client,
        "access_token": sandbox::TOKEN,
        "instagram_business_account_id": sandbox::IG_ACCOUNT,
        "facebook_page_id": sandbox::PAGE,
        "ad_account_id": sandbox::AD_ACCOUNT,
        "meta_user_id": sandbox::USER,
        "token_expires_at": "2099-01-01T00:00:00Z",
    })
}

impl Roles {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `POST /api/credentials` with the key.
    pub async fn store(&self, body: &Value) -> Answer {
        self.post_raw(self.internal, Some(API_KEY), body.to_string()).await
    }

    pub async fn post_raw(&self, at: SocketAddr, key: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
        let mut request =
            self.http.post(format!("http://{at}/api/credentials")).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        answer(request.body(body)).await
    }

    pub async fn get(&self, at: SocketAddr, target: &str) -> Answer {
        answer(self.http.get(format!("http://{at}{target}"))).await
    }

    /// A plain call of a tool.
    pub async fn plain(&self, at: SocketAddr, method: &str, params: Value) -> Answer {
        self.post_mcp(at, "/mcp", json!({ "method": method, "params": params }).to_string()).await
    }

    pub async fn post_mcp(&self, at: SocketAddr, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.http.post(format!("http://{at}{path}")).header("content-type", "application/json").body(body)).await
    }

    /// Stops everything and waits for it.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// A row of the store, column by column, as any SQLite tool shows it.
    pub fn cell(&self, client: &str, column: &str) -> Option<String> {
        let db = rusqlite::Connection::open(self.path("aiviary.db")).unwrap();
        let query = format!("SELECT {column} FROM meta_credentials WHERE client_id = ?1");
        db.query_row(&query, [client], |row| row.get(0)).unwrap()
    }

    /// An operator's edit.
    pub fn edit(&self, client: &str, column: &str, value: Option<&str>) {
        let db = rusqlite::Connection::open(self.path("aiviary.db")).unwrap();
        let query = format!("UPDATE meta_credentials SET {column} = ?2 WHERE client_id = ?1");
        assert_eq!(db.execute(&query, (client, value)).unwrap(), 1);
    }
}

/// Sends bytes as they are and reads until the server closes or has answered `answers` times.
pub async fn raw(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a raw answer.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// Everything that was logged in this process.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of this test binary, at debug for our own crate.
pub fn logs() -> Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| {
        let logs = Logs::default();
        let writer = logs.clone();
        tracing_subscriber::fmt()
            .with_env_filter("aiviary=debug,warn")
            .with_ansi(false)
            .with_writer(move || aiviary::telemetry::OneLine::new(writer.clone(), false))
            .init();
        logs
    })
    .clone()
}

/// Asserts that no form of the token is in any file below `folder`, nor in the log.
pub fn assert_no_token(folder: &Path, token: &str) {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(token);
    let forms = [token.to_owned(), encoded.trim_end_matches('=').to_owned(), hex::encode(token)];
    let log = logs().text();
    for form in &forms {
        assert!(!log.contains(form.as_str()), "the log holds the token as {form}");
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            for form in &forms {
                let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
                assert!(!found, "{} holds the token as {form}", path.display());
            }
        }
    }
}

impl Fixture {
    /// Starts connect alone, with no MCP server. The sandbox is there for the type's sake.
    pub async fn start_connect(self) -> Roles {
        let stop = CancellationToken::new();
        let settings = sandbox::Settings {
            listeners: vec![listener(Exposure::Internal, "sandbox.listen[0]")],
            rules: rules(&["localhost"], &[], false),
            seed: 1,
            clock: self.clock.clone(),
        };
        let stand_in = sandbox::start(settings).await.unwrap();
        let (sandbox_address, graph_seen) = (stand_in.listening().addresses()[0], stand_in.stand_in());
        let running = connect::start(self.connect_settings()).await.unwrap();
        let addresses = running.listening().addresses();
        let nowhere = "0.0.0.0:0".parse().unwrap();
        Roles {
            folder: self.folder,
            clock: self.clock,
            internal: addresses[0],
            public: addresses[1],
            instagram: nowhere,
            meta_ads: nowhere,
            sandbox: sandbox_address,
            graph_seen,
            tasks: vec![tokio::spawn({
                let serving = running.serve(stop.clone());
                async move { serving.await.unwrap() }
            })],
            stop,
            http: client(),
        }
    }
}

impl Roles {
    /// The stop signal, for a test of the draining.
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The lines of the trail so far.
    pub fn trail(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs statements on the store, as any SQLite tool would.
    pub fn sql(&self, statements: &str) {
        rusqlite::Connection::open(self.path("aiviary.db")).unwrap().execute_batch(statements).unwrap();
    }

    /// Stops everything; then the trail must be whole and no file or log may hold one of `tokens`.
    pub async fn finish(self, tokens: &[&str]) {
        let folder = self.folder.clone();
        self.stop().await;
        let verified = connect::audit::verify(&[folder.path().join("audit.jsonl")], None);
        assert!(verified.as_ref().is_ok_and(|verified| verified.lines >= 2), "{verified:?}");
        for token in tokens {
            assert_no_token(folder.path(), token);
        }
    }
}
