//! The routes of connect, and the handlers below them: decode, one call, encode.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;
use zeroize::Zeroize as _;

use super::failure::ConnectError;
use super::service::{Connect, Saved};
use crate::credential::ClientId;
use crate::exposure::Exposure::{Internal, Public};
use crate::exposure::{Refusal, Rules};
use crate::server::{App, Call, Caller, Failure, KeyKind, Keys, Reply, Route};
use crate::telemetry::{METRICS_TYPE, Metrics};

/// Every route of the role. An `Internal` row does not exist on a public listener.
pub const ROUTES: &[Route<Connect>] = &[
    Route::new(Method::POST, "/api/credentials", Public, |connect, call| Box::pin(save(connect, call)))
        .key(KeyKind::Api)
        .json(),
    Route::new(Method::DELETE, "/api/credentials", Public, |connect, call| Box::pin(remove(connect, call)))
        .key(KeyKind::Api)
        .query(&["client_id"]),
    Route::new(Method::GET, "/api/credentials", Internal, |connect, call| Box::pin(describe(connect, call)))
        .query(&["client_id"])
        .grants(),
    Route::new(Method::GET, "/api/credentials/token", Internal, |connect, call| Box::pin(grant(connect, call)))
        .key(KeyKind::Service)
        .query(&["client_id"])
        .grants(),
    Route::new(Method::GET, "/healthz", Public, |_, _| Box::pin(async { Ok(Reply::json(&json!({ "ok": true }))) })),
    Route::new(Method::GET, "/readyz", Internal, |connect, _| {
        Box::pin(async move { Ok(connect.readiness().await.reply()) })
    }),
    Route::new(Method::GET, "/metrics", Internal, |connect, _| {
        Box::pin(async move { Ok(Reply::bytes(StatusCode::OK, METRICS_TYPE, connect.metrics_text())) })
    }),
];

impl App for Connect {
    const ROUTES: &'static [Route<Self>] = ROUTES;

    fn rules(&self) -> &Rules {
        self.boundary()
    }

    fn keys(&self, kind: KeyKind) -> Option<&Keys> {
        match kind {
            KeyKind::Api => Some(self.api_keys()),
            KeyKind::Service => self.service_keys(),
            KeyKind::Mcp => None,
        }
    }

    fn refused(&self, refusal: Refusal, caller: &Caller) {
        self.note_refusal(refusal.reason(), None, caller);
    }

    fn metrics(&self) -> &Metrics {
        self.counted()
    }
}

/// `POST /api/credentials`: stores a token. Runs to its end when the caller leaves.
async fn save(connect: Arc<Connect>, call: Call) -> Result<Reply, Failure> {
    let saved = connect.save(&call.body, call.key, &call.caller).await;
    if let Ok(mut body) = call.body.try_into_mut() {
        // Where nobody else has it, the token in it ends here.
        body.zeroize();
    }
    let Saved { created, summary, ignored } = saved?;
    let mut body = json!(summary);
    if !ignored.is_empty() {
        body["ignored_fields"] = json!(ignored);
    }
    Ok(Reply::json_with(if created { StatusCode::CREATED } else { StatusCode::OK }, &body))
}

/// `DELETE /api/credentials`: forgets a client's token. Runs to its end when the caller leaves.
async fn remove(connect: Arc<Connect>, call: Call) -> Result<Reply, Failure> {
    // Never the only one or the configured one: who forgets a name must not lose a token by it.
    let named = named_client(&call)?.ok_or(ConnectError::ClientMissing)?;
    let client = connect.remove(named, call.key, &call.caller).await?;
    Ok(Reply::json(&json!({ "client_id": client, "removed": true })))
}

/// `GET /api/credentials`: all but the token.
async fn describe(connect: Arc<Connect>, call: Call) -> Result<Reply, Failure> {
    Ok(Reply::json(&connect.summary(named_client(&call)?).await?))
}

/// `GET /api/credentials/token`: the decrypted token, for an MCP role.
async fn grant(connect: Arc<Connect>, call: Call) -> Result<Reply, Failure> {
    Ok(Reply::json(&connect.grant_token(named_client(&call)?, &call.caller).await?))
}

fn named_client(call: &Call) -> Result<Option<ClientId>, ConnectError> {
    call.query("client_id").map(|text| text.parse().map_err(|_| ConnectError::ClientGrammar)).transpose()
}
