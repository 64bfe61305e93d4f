//! The `sandbox` role: a stand-in for Meta's Graph API v26.0, filled with a sample business.
//!
//! The stand-in is a plain library: [`graph::StandIn::answer`] turns a request into a response without any
//! I/O, so that tests call it directly and the role only has to put it behind a listener. A request goes
//! through `graph` (path, version, token) to one of `oauth`, `instagram` and `marketing`; `rules` holds
//! what the real API refuses and the faults on request, `fields` its fields language and paging,
//! `business` the sample numbers.

mod business;
mod fields;
pub mod graph;
mod instagram;
mod marketing;
mod messages;
mod oauth;
mod publish;
mod rules;
mod world;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::header::{HOST, HeaderName};
use hyper::{Method, Response as HttpResponse, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::StartError;
use crate::clock::Clock;
use crate::credential::ClientId;
use crate::exposure::{Exposure, Listener, Refusal, Rules};
use crate::server::{
    self, App, Call, Caller, Failure, KeyKind, Keys, Limits, Listening, Readiness, Reply, Route, Server,
};
use crate::telemetry::Metrics;

pub use business::{
    AD_ACCOUNT, IG_ACCOUNT, OTHER_AD_ACCOUNT, OTHER_IG_ACCOUNT, OTHER_PAGE, OTHER_USER, PAGE, SMALL_IG_ACCOUNT, USER,
};
pub use graph::{Body, Host, Request, Response, StandIn};
pub use instagram::{INVITED, MENTIONED_COMMENT, MENTIONED_MEDIA};
pub use oauth::{
    APP_ID, APP_SECRET, APP_TOKEN, EXPIRED_TOKEN, INSTAGRAM_TOKEN, NARROW_INSIGHTS_TOKEN, NO_BUSINESS_TOKEN,
    NO_INSIGHTS_TOKEN, OTHER_INSTAGRAM_TOKEN, OTHER_TOKEN, PAGE_TOKEN, REVOKED_TOKEN, TOKEN,
};
pub use rules::{FAULTS, Fault};

/// The fields that each object of Meta's specification serves here, set or not; tests compare them with that.
#[must_use]
pub fn served_fields() -> Vec<(&'static str, Vec<&'static str>)> {
    let served = [
        ("IGUser", instagram::USER_KIND.known),
        ("IGUserForIGOnlyAPI", instagram::LOGIN_USER_KIND.known),
        ("IGMedia", instagram::MEDIA_KIND.known),
        ("IGMediaForIGOnlyAPI", instagram::LOGIN_MEDIA_KIND.known),
        ("IGComment", instagram::COMMENT_KIND.known),
        ("AdAccount", marketing::ACCOUNT_KIND.known),
        ("Campaign", marketing::CAMPAIGN_KIND.known),
        ("AdSet", marketing::AD_SET_KIND.known),
        ("Ad", marketing::AD_KIND.known),
        ("AdsInsights", marketing::INSIGHTS_FIELDS),
    ];
    served.into_iter().map(|(object, names)| (object, names.split(' ').collect())).collect()
}

/// The same of lists whose rows are no objects of their own.
pub fn served_rows() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    instagram::served_rows().map(|(object, names)| (object, names.split_whitespace().collect()))
}

/// Settings of the role, checked.
#[derive(Debug)]
pub struct Settings {
    /// Internal listeners. Default: one on 127.0.0.1:3007.
    pub listeners: Vec<Listener>,
    /// What a request must be.
    pub rules: Rules,
    /// From what the sample data is derived. Default: 1.
    pub seed: u64,
    /// Wall time.
    pub clock: Clock,
}

/// The path below which the stand-in answers as `graph.instagram.com`.
pub const INSTAGRAM_PATH: &str = "/graph.instagram.com";
/// How long running requests may take at stop.
const DRAIN: Duration = Duration::from_secs(1);

/// The stand-in behind its listener.
pub struct Sandbox {
    stand_in: Arc<StandIn>,
    rules: Rules,
    metrics: Metrics,
}

/// The role, bound, not yet serving.
pub struct Running {
    sandbox: Arc<Sandbox>,
    listening: Listening,
}

/// Binds the listeners; nothing is read or written.
///
/// # Errors
/// A listener that cannot be bound.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let listening = server::bind(&settings.listeners, &settings.rules.networks).await?;
    let stand_in = Arc::new(StandIn::new(settings.seed, settings.clock));
    let sandbox = Arc::new(Sandbox { stand_in, rules: settings.rules, metrics: Metrics::new("sandbox") });
    Ok(Running { sandbox, listening })
}

impl Running {
    /// Its bound listeners.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The stand-in itself: what it was asked, for tests.
    #[must_use]
    pub fn stand_in(&self) -> Arc<StandIn> {
        self.sandbox.stand_in.clone()
    }

    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        for bound in &self.listening {
            info!("the sandbox listens on {}: a stand-in with invented data, not Meta's Graph API", bound.shown());
        }
        Server::new(self.listening, self.sandbox, Limits::MCP).serve(stop, DRAIN).await;
    }
}

/// The client of the sample business.
#[must_use]
pub fn sample_client() -> ClientId {
    "sample".parse().expect("a client id")
}

/// What `POST /api/credentials` takes to connect the sample business.
#[must_use]
pub fn sample_credential() -> Value {
    json!({
        "client_id": sample_client(),
        "access_token": TOKEN,
        "instagram_business_account_id": IG_ACCOUNT,
        "facebook_page_id": PAGE,
        "ad_account_id": AD_ACCOUNT,
        "meta_user_id": USER,
    })
}

impl App for Sandbox {
    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn keys(&self, _: KeyKind) -> Option<&Keys> {
        None
    }

    fn refused(&self, _: Refusal, _: &Caller) {}

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// The stand-in answers every path but our own two.
pub const ROUTES: &[Route<Sandbox>] = &[
    Route::new(Method::GET, "/healthz", Exposure::Internal, |_, _| {
        Box::pin(async { Ok(Reply::json(&json!({ "ok": true }))) })
    }),
    Route::new(Method::GET, "/readyz", Exposure::Internal, |_, _| {
        let ready = Readiness { ready: true, ..Readiness::default() };
        Box::pin(async move { Ok(ready.reply()) })
    }),
    Route::new(Method::GET, "*", Exposure::Internal, |sandbox, call| Box::pin(answer(sandbox, call))).anything(),
];

async fn answer(sandbox: Arc<Sandbox>, call: Call) -> Result<Reply, Failure> {
    let path = call.parts.uri.path();
    let own = call.parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let (host, path, base) = match path.strip_prefix(INSTAGRAM_PATH) {
        Some(rest) => (Host::Instagram, rest, format!("http://{own}{INSTAGRAM_PATH}")),
        None => (Host::Facebook, path, format!("http://{own}")),
    };
    let request = Request {
        method: call.parts.method.clone(),
        host,
        base,
        path: path.to_owned(),
        query: graph::decode_form(call.parts.uri.query().unwrap_or_default()),
        headers: call.parts.headers.clone(),
        body: call.body.to_vec(),
    };
    let answer = sandbox.stand_in.answer(&request);
    if let Some(delay) = answer.delay {
        tokio::time::sleep(delay).await;
    }
    let body = match answer.body {
        Body::Json(value) => value.to_string(),
        Body::Raw(text) => text,
    };
    let mut response = HttpResponse::new(Full::new(body.into()).boxed());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = Reply::response(response);
    for (name, value) in answer.headers {
        if let Ok(name) = name.parse::<HeaderName>() {
            reply = reply.header(name, &value);
        }
    }
    Ok(reply)
}
