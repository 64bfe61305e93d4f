//! A stand-in for Graph on port 0 that remembers what it was asked, and calls of our tools against it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::CATALOGUE;
use crate::clock::Clock;
use crate::credential::{AccountIds, AccountKind, Login};
use crate::graph::{Caller, Graph, Host, Settings};
use crate::secret::Secret;
use crate::tool::{Account, Args, Ask, Memory, Progress, ToolError};

pub(super) const ACCOUNT: &str = "act_1000000000000001";

pub(super) struct StandIn {
    graph: Graph,
    seen: Arc<Mutex<Vec<String>>>,
    account: Account,
    memory: Arc<Memory>,
    pub clock: Clock,
}

impl StandIn {
    /// Answers each path and query, percent-decoded, with `reply`.
    pub async fn start(reply: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&seen), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let target = percent_decode_str(&request.uri().to_string()).decode_utf8().unwrap().into_owned();
                    let (status, body) = reply(&target);
                    log.lock().unwrap().push(target);
                    let body = Full::new(Bytes::from(body.to_string()));
                    async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(socket), service));
            }
        });
        let clock = Clock::fixed("2026-11-23T10:00:00Z".parse().unwrap());
        let settings = Settings { instagram_base_url: base_url.clone(), base_url, ..Settings::default() };
        let mut ids = AccountIds::default();
        ids.set(AccountKind::Ads, Some(ACCOUNT.to_owned()));
        let account = Account {
            client: "clienta".parse().unwrap(),
            login: Login::Facebook,
            ids,
            scopes: Some(vec!["ads_read".to_owned()]),
            updated_at: None,
            token_expires_at: None,
            token_expired: false,
        };
        Self { graph: Graph::new(&settings, clock.clone()).unwrap(), seen, account, memory: Arc::default(), clock }
    }

    /// Knows the account, and answers `edge` of any node with `reply`; all else is an error of Graph's.
    pub async fn edge(edge: &'static str, reply: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::start(move |asked| {
            let path = asked.split('?').next().unwrap_or_default();
            match path.rsplit('/').next() {
                Some(last) if last == edge => reply(asked),
                Some(ACCOUNT) => (200, node()),
                _ => refusal(400, 100, "Unsupported get request"),
            }
        })
        .await
    }

    pub async fn account_only() -> Self {
        Self::account(json!({})).await
    }

    /// Knows the account alone, with these members.
    pub async fn account(with: Value) -> Self {
        let mut account = node();
        account.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        Self::start(move |_| (200, account.clone())).await
    }

    pub fn with_scopes(mut self, scopes: &[&str]) -> Self {
        self.account.scopes = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
        self
    }

    /// Calls a tool as the role does.
    pub async fn answer(&self, tool: &str, args: Value) -> Result<Value, ToolError> {
        let tool = CATALOGUE.iter().find(|known| known.name == tool).expect("a tool of the catalogue");
        let args = Args::check(tool.params, args.as_object().unwrap())?;
        let graph = self.graph.session(Caller {
            key: "clienta".to_owned(),
            host: Host::Facebook,
            token: Secret::new("EAAtest".to_owned()),
            proof: None,
            app_secret: None,
            deadline: tokio::time::Instant::now() + Duration::from_secs(45),
            writes: false,
        });
        let (account, memory) = (self.account.clone(), Arc::clone(&self.memory));
        let (graph, clock, progress) = (Arc::new(graph), self.clock.clone(), Progress::default());
        let arrived = tokio::time::Instant::now();
        let ask = Ask { tool, args, account, graph, memory, clock, journal: None, arrived, progress };
        tool.answer(ask).await.map(Value::Object)
    }

    /// Paths with queries, percent-decoded, in the order in which they came.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn node() -> Value {
    json!({
        "id": ACCOUNT, "account_id": "1000000000000001", "name": "Finch EU", "currency": "EUR", "account_status": 1,
        "amount_spent": "1289345", "balance": "2450", "spend_cap": "0", "timezone_name": "Europe/Paris",
        "timezone_offset_hours_utc": 1, "min_daily_budget": 100
    })
}

pub(super) fn refusal(status: u16, code: i64, message: &str) -> (u16, Value) {
    (status, json!({"error": {"message": message, "type": "OAuthException", "code": code}}))
}

/// The body of a recorded answer, where the facts of the project are at hand.
pub(super) fn sample(name: &str) -> Option<Value> {
    let text = crate::tool::shared_file(&format!("graph-api/samples/{name}")).ok()?;
    let mut sample: Value = serde_json::from_str(&text).unwrap();
    Some(sample["response"]["body"].take())
}
