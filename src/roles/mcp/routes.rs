//! The routes of the MCP roles, and the handlers below them: two envelopes on one endpoint.

use std::sync::Arc;

use hyper::header::ACCEPT;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::failure::{CallError, told_when};
use super::service::Mcp;
use super::{plain, protocol};
use crate::credential::ClientId;
use crate::exposure::Exposure::{Internal, Public};
use crate::exposure::{Refusal, Rules};
use crate::server::{App, Call, Caller, Failure, KeyKind, Keys, Reply, Route, json as body};
use crate::telemetry::{METRICS_TYPE, Metrics};

/// Every route of the role.
pub const ROUTES: &[Route<Mcp>] = &[
    Route::new(Method::POST, "/mcp", Internal, |mcp, call| Box::pin(answer(mcp, call))).key(KeyKind::Mcp).json(),
    Route::new(Method::POST, "/clients/{}/mcp", Internal, |mcp, call| Box::pin(answer(mcp, call)))
        .key(KeyKind::Mcp)
        .json(),
    Route::new(Method::GET, "/healthz", Public, |_, _| Box::pin(async { Ok(Reply::json(&json!({ "ok": true }))) })),
    Route::new(Method::GET, "/readyz", Internal, |mcp, _| Box::pin(async move { Ok(mcp.readiness().await.reply()) })),
    Route::new(Method::GET, "/metrics", Internal, |mcp, _| {
        Box::pin(async move { Ok(Reply::bytes(StatusCode::OK, METRICS_TYPE, mcp.metrics_text())) })
    }),
];

impl App for Mcp {
    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn rules(&self) -> &Rules {
        self.boundary()
    }

    fn keys(&self, kind: KeyKind) -> Option<&Keys> {
        self.mcp_keys().filter(|_| kind == KeyKind::Mcp)
    }

    fn refused(&self, refusal: Refusal, caller: &Caller) {
        tracing::debug!(peer = %caller.peer, reason = refusal.reason(), "refused");
    }

    fn metrics(&self) -> &Metrics {
        self.counted()
    }

    /// n8n's users read `retryable` of every error, and of some when to repeat.
    fn dress(&self, failure: Failure) -> Failure {
        if failure.says("retryable") {
            return failure;
        }
        let retryable = matches!(failure.code(), "busy" | "starting" | "request_timeout" | "too_many_failures");
        told_when(failure.with("retryable", retryable))
    }
}

/// `POST /mcp` and `POST /clients/{client_id}/mcp`: a member `jsonrpc` makes it MCP.
async fn answer(mcp: Arc<Mcp>, call: Call) -> Result<Reply, Failure> {
    let client = match &call.captured {
        Some(text) => Some(text.parse::<ClientId>().map_err(|_| CallError::Client.failure(mcp.platform(), ""))?),
        None => None,
    };
    match body::object(&call.body) {
        Ok(object) if object.contains_key("jsonrpc") => Ok(protocol::answer(&mcp, call, &object, client).await),
        Ok(object) => plain::answer(&mcp, object, client).await,
        Err(fault) if speaks_mcp(&call) => Ok(protocol::unreadable(&fault)),
        Err(fault) => Err(Failure::invalid_json(&fault)),
    }
}

/// Whether a body that cannot be read came from an MCP client.
fn speaks_mcp(call: &Call) -> bool {
    let streams =
        |accept: &hyper::header::HeaderValue| accept.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    let headers = &call.parts.headers;
    headers.contains_key("mcp-protocol-version") || headers.get_all(ACCEPT).iter().any(streams)
}
