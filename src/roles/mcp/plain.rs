//! The plain envelope: `{"method","params"}` in, the tool's value itself out.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::failure::CallError;
use super::service::Mcp;
use crate::credential::ClientId;
use crate::server::{Failure, Reply};
use crate::tool::Progress;

/// Answers a plain body.
///
/// # Errors
/// The failure as it leaves.
pub async fn answer(mcp: &Arc<Mcp>, mut body: Map<String, Value>, client: Option<ClientId>) -> Result<Reply, Failure> {
    let refused = |error: CallError| error.failure(mcp.platform(), "");
    let Some(Value::String(method)) = body.remove("method") else {
        let message = "method: name a tool, as {\"method\":\"get_profile\",\"params\":{}}";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_params", message).with("retryable", false));
    };
    let params = match body.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(refused(CallError::NoObject)),
    };
    let served = mcp.call(&method, params, client, Progress::default()).await?;
    Ok(Reply::bytes(StatusCode::OK, "application/json", served.text))
}
