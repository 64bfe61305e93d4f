//! The plain envelope: `{"method","params"}` in, the tool's value itself out.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::failure::CallError;
use super::service::Mcp;
use crate::credential::ClientId;
use crate::server::{Failure, Reply};
use crate::tool::Progress;
use crate::tool::param::shown;

/// Answers a plain body.
///
/// # Errors
/// The failure as it leaves.
pub async fn answer(mcp: &Arc<Mcp>, mut body: Map<String, Value>, client: Option<ClientId>) -> Result<Reply, Failure> {
    let refused = |error: CallError| error.failure(mcp.platform(), "");
    let Some(Value::String(method)) = body.remove("method") else {
        return Err(invalid("method: name a tool, as {\"method\":\"get_profile\",\"params\":{}}".to_owned()));
    };
    let params = match body.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(refused(CallError::NoObject)),
    };
    // A `dry_run` that nobody reads would be a change.
    if let Some(name) = body.keys().next() {
        let name = shown(name);
        return Err(invalid(format!("{name}: a call has method and params only; put what the tool takes into params")));
    }
    let served = mcp.call(&method, params, client, Progress::default()).await?;
    Ok(Reply::bytes(StatusCode::OK, "application/json", served.text))
}

fn invalid(message: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "invalid_params", message).with("retryable", false)
}
