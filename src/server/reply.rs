//! What leaves: a reply, or a failure with a status, a code, public words and a private cause.

use std::error::Error;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::{error, warn};

use super::KeyKind;
use crate::exposure::Refusal;
use crate::telemetry;

/// The body of an answer.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// An answer.
pub struct Reply(Response<Body>);

impl Reply {
    /// `value` as JSON with 200.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// `value` as JSON.
    ///
    /// # Panics
    /// When `value` cannot be JSON, as a map with other keys than text: a fault of ours.
    #[must_use]
    pub fn json_with(status: StatusCode, value: &impl Serialize) -> Self {
        Self::bytes(status, "application/json", serde_json::to_vec(value).expect("our types are JSON"))
    }

    /// Finished bytes of that media type.
    #[must_use]
    pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(Full::new(body.into()).boxed());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self(response)
    }

    /// A whole response of another maker, as rmcp's.
    #[must_use]
    pub fn response(response: Response<Body>) -> Self {
        Self(response)
    }

    /// Adds a header; a value that cannot be one is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// With what every answer carries.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = self.0;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// A refused or failed request.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    message: String,
    more: Map<String, Value>,
    retry_after_s: Option<u64>,
    headers: Vec<(HeaderName, String)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with its contract's status and code, and one sentence that a person can act on.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts {
            status,
            code,
            message,
            more: Map::new(),
            retry_after_s: None,
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// The private cause: logged once, never sent.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    /// One more member of the error object.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// More members of the error object: those of `value`.
    #[must_use]
    pub fn with_members(mut self, value: &impl Serialize) -> Self {
        if let Ok(Value::Object(members)) = serde_json::to_value(value) {
            self.0.more.extend(members);
        }
        self
    }

    /// Whether the error object has a member beyond code and message.
    #[must_use]
    pub fn says(&self, name: &str) -> bool {
        self.0.more.contains_key(name)
    }

    /// When to come back: the header, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// What the header `Retry-After` says, where there is one.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.0.retry_after_s
    }

    fn header(mut self, name: HeaderName, value: String) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `{"error":{…}}`, as everywhere.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.0.code.into());
        error.insert("message".to_owned(), self.0.message.as_str().into());
        error.extend(self.0.more.clone());
        json!({ "error": error })
    }

    pub(super) fn into_reply(self) -> Reply {
        let mut reply = Reply::json_with(self.0.status, &self.body());
        for (name, value) in self.0.headers {
            reply = reply.header(name, &value);
        }
        if let Some(seconds) = self.0.retry_after_s {
            reply = reply.header(RETRY_AFTER, &seconds.to_string());
        }
        reply
    }

    /// The whole chain, once.
    pub(super) fn log(&self, request_id: &str) {
        let Some(cause) = &self.0.cause else { return };
        let chain = telemetry::chain(&**cause);
        if self.0.status.is_server_error() {
            error!(request_id, code = self.0.code, cause = chain, "{}", self.0.message);
        } else {
            warn!(request_id, code = self.0.code, cause = chain, "{}", self.0.message);
        }
    }

    /// 400: the head is not one request.
    #[must_use]
    pub fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 400: a query name is unknown or repeated.
    #[must_use]
    pub fn invalid_query(known: &[&str]) -> Self {
        let message = if known.is_empty() {
            "this path takes no query".to_owned()
        } else {
            format!("the query may hold each of these once: {}", known.join(", "))
        };
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", message)
    }

    /// 400: the body is not one JSON object.
    #[must_use]
    pub fn invalid_json(fault: &super::json::JsonFault) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", fault.to_string())
    }

    /// 401: the same for a missing, a wrong and a doubled key.
    #[must_use]
    pub fn unauthorized(kind: KeyKind) -> Self {
        let failure = |message| Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        match kind {
            KeyKind::Api => failure("send the key of VM_API_KEY in the header X-API-Key"),
            KeyKind::Service => failure("send the key of CONNECT_SERVICE_KEY as Authorization: Bearer")
                .header(WWW_AUTHENTICATE, "Bearer".to_owned()),
            KeyKind::Mcp => failure("send the key of MCP_API_KEY as Authorization: Bearer")
                .header(WWW_AUTHENTICATE, "Bearer".to_owned()),
        }
    }

    /// 403: an internal route, and something about the request is not.
    #[must_use]
    pub fn not_internal(refusal: Refusal) -> Self {
        let message = match refusal {
            Refusal::NotInternal => {
                "this route answers internal callers only; list the caller's network in internal_networks"
            }
            Refusal::Forwarded => "this route answers no proxy; call it directly",
            Refusal::Host => {
                "the Host is none of this listener's names; list it in internal_hosts (connect) or hosts (mcp)"
            }
            Refusal::Browser => "this route answers no web page; list its origin in mcp.origins where that is meant",
            Refusal::Unauthorized => "this route wants a key",
        };
        Self::new(StatusCode::FORBIDDEN, "not_internal", message)
    }

    /// The words of [`Failure::not_found`]: tells a missing path from a missing thing.
    pub const NO_SUCH_PATH: &'static str = "there is nothing at this path";

    /// 404: no such path on this listener.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", Self::NO_SUCH_PATH)
    }

    /// 405 with `Allow`.
    #[must_use]
    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let allow = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let message =
            if allow.is_empty() { "this method is never taken".to_owned() } else { format!("this path takes {allow}") };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).header(ALLOW, allow)
    }

    /// 408
    #[must_use]
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request took too long; send it again")
    }

    /// 413
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body may have {most} bytes at most"))
    }

    /// 415
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        let message = "send JSON, with the header Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 429: wrong keys only.
    #[must_use]
    pub fn too_many_failures(wait: Duration) -> Self {
        let message = "too many wrong keys came from this address; wait, or send the right key, which is never slowed";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message).retry_after(wait)
    }

    /// 500 with the id under which the log tells more.
    #[must_use]
    pub fn internal(request_id: &str) -> Self {
        let message = format!("something went wrong here; the log has it under request id {request_id}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: too many requests at work.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests are at work; send it again in a second")
            .retry_after(Duration::from_secs(1))
    }
}
