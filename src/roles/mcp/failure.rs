//! Errors of this role, and the only place where they become status, code and public words.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::grants::GrantError;
use crate::credential::Login;
use crate::graph::{ErrorKind, GraphError};
use crate::platforms::Platform;
use crate::server::Failure;
use crate::tool::param::ArgumentError;
use crate::tool::{ToolError, Writes};

/// Why a call has no value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such tool; the nearest ones.
    #[error("there is no tool {name}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Vec<&'static str>,
    },
    /// There is such a tool, and the operator has taken it away.
    #[error("{tool} is not offered: [mcp.{section}] tools leaves it out")]
    LeftOut {
        /// The tool.
        tool: &'static str,
        /// `instagram` or `meta_ads`.
        section: &'static str,
    },
    /// A changing tool, and writes of its kind are off.
    #[error("{tool} changes the account, and [mcp.{section}] writes is {is:?}")]
    WritesOff {
        /// The tool.
        tool: &'static str,
        /// `instagram` or `meta_ads`.
        section: &'static str,
        /// What is set.
        is: &'static str,
        /// What is needed.
        needs: Writes,
    },
    /// The arguments are no object.
    #[error("params: must be an object")]
    NoObject,
    /// The path's client is no client id.
    #[error("the client in the path may be {}", crate::credential::ClientId::GRAMMAR)]
    Client,
    /// No grant.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The token's end is past, by what is stored.
    #[error("the token of client {client} expired at {at}")]
    Expired {
        /// Whose.
        client: String,
        /// When.
        at: String,
    },
    /// The tool has no value.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The client has too many calls at work.
    #[error("too many calls of this client are at work; try again in a moment")]
    Busy,
    /// The call's time is over.
    #[error("the call took longer than {} s", .0.as_secs())]
    Timeout(Duration),
}

impl From<ArgumentError> for CallError {
    fn from(error: ArgumentError) -> Self {
        Self::Tool(error.into())
    }
}

/// How long to wait at a throttle, where Meta does not say.
fn default_wait(platform: Platform) -> Duration {
    match platform {
        Platform::Instagram => Duration::from_secs(3600),
        Platform::MetaAds => Duration::from_secs(300),
    }
}

/// Meta blocks by policy for hours to days.
const BLOCKED_FOR: Duration = Duration::from_secs(86_400);

impl CallError {
    /// As status, code and words. `needs` are the permissions of the tool, for words that Meta does not have.
    #[must_use]
    pub fn failure(self, platform: Platform, needs: &str) -> Failure {
        let told = self.to_string();
        let fail = |status: StatusCode, code, message: String| Failure::new(status, code, message);
        let (failure, retryable) = match self {
            Self::Unknown { ref nearest, .. } => {
                let hint =
                    if nearest.is_empty() { String::new() } else { format!("; the nearest: {}", nearest.join(", ")) };
                (fail(StatusCode::NOT_FOUND, "unknown_method", format!("{told}{hint}")), false)
            }
            Self::LeftOut { .. } => (fail(StatusCode::NOT_FOUND, "unknown_method", told), false),
            Self::WritesOff { section, needs, .. } => {
                let message = format!("{told}; an operator may set [mcp.{section}] writes = \"{}\"", needs.word());
                (fail(StatusCode::UNPROCESSABLE_ENTITY, "writes_off", message), false)
            }
            Self::NoObject | Self::Client => (fail(StatusCode::BAD_REQUEST, "invalid_params", told), false),
            Self::Expired { .. } => {
                let message = format!("{told}; the client must authorise again");
                (fail(StatusCode::FAILED_DEPENDENCY, "token_expired", message), false)
            }
            Self::Busy => {
                let wait = Duration::from_secs(1);
                (later(fail(StatusCode::SERVICE_UNAVAILABLE, "busy", told), wait), true)
            }
            Self::Timeout(_) => {
                (fail(StatusCode::GATEWAY_TIMEOUT, "meta_timeout", format!("{told}; ask for less, or try again")), true)
            }
            Self::Grant(error) => grant(&error, told),
            Self::Tool(error) => return tool(error, platform, needs),
        };
        failure.with("retryable", retryable)
    }
}

fn grant(error: &GrantError, told: String) -> (Failure, bool) {
    let conflict = |code| (Failure::new(StatusCode::CONFLICT, code, told.clone()), false);
    match error {
        GrantError::NotConnected(_) => conflict("not_connected"),
        GrantError::ClientRequired(named) => {
            // The same words for n8n and for `aiviary call`.
            let how = "call /clients/{client_id}/mcp, or aiviary call --client,";
            let message = format!("{told}; {how} with one of: {named}");
            (Failure::new(StatusCode::CONFLICT, "client_required", message), false)
        }
        GrantError::Unreadable(_) => conflict("credential_unreadable"),
        GrantError::Unavailable(_) => {
            (Failure::new(StatusCode::SERVICE_UNAVAILABLE, "connect_unavailable", told), true)
        }
        GrantError::Refused(_) => (Failure::new(StatusCode::SERVICE_UNAVAILABLE, "connect_refused", told), false),
    }
}

fn tool(error: ToolError, platform: Platform, needs: &str) -> Failure {
    let told = error.to_string();
    let fail = |status: StatusCode, code, message: String| Failure::new(status, code, message);
    let (failure, retryable) = match error {
        ToolError::Arguments(_) => (fail(StatusCode::BAD_REQUEST, "invalid_params", told), false),
        ToolError::MissingAccount(kind) => {
            let message = format!("{told}; send it with POST /api/credentials as {}", kind.name());
            (fail(StatusCode::CONFLICT, "missing_account", message), false)
        }
        ToolError::NotOffered { needs } => {
            let how = match needs {
                Login::Facebook => "connect the account again through Facebook Login",
                Login::Instagram => "connect the account again through Instagram Login",
            };
            (fail(StatusCode::CONFLICT, "not_offered_by_login", format!("{told}; {how}")), false)
        }
        ToolError::MissingPermission(_) => {
            let message = format!("{told}; the client must authorise again and grant it");
            (fail(StatusCode::FAILED_DEPENDENCY, "missing_permission", message), false)
        }
        ToolError::NearLimit(wait) | ToolError::QuotaUsed { wait, .. } => {
            (limited(format!("{told}; wait {} s", wait.as_secs()), wait), true)
        }
        ToolError::Rejected(_) => (fail(StatusCode::UNPROCESSABLE_ENTITY, "rejected_by_meta", told), false),
        ToolError::OutcomeUnknown { again, said, .. } => {
            let advice = if again { "the same call finds what was made" } else { "look before repeating it" };
            let message = format!("the change may have happened: {told}; {advice}");
            let failure = fail(StatusCode::BAD_GATEWAY, "outcome_unknown", message).with("retryable", again);
            return match said {
                Some(error) => with_graph(failure, &error),
                None => failure,
            };
        }
        ToolError::Journal(_) => {
            let message = format!("{told}; nothing more was sent. [mcp] state names the file");
            (fail(StatusCode::SERVICE_UNAVAILABLE, "state_unavailable", message), true)
        }
        ToolError::Graph(error) => return graph(&error, platform, needs),
        ToolError::TooMuch { ref refusal, .. } => {
            let words = refusal.words();
            let message = format!("{told} (Meta: {words})");
            let failure = fail(StatusCode::UNPROCESSABLE_ENTITY, "rejected_by_meta", message).with("retryable", false);
            return with_graph(failure, refusal);
        }
        ToolError::Currency(_) | ToolError::Fault(_) | ToolError::DryRun(_) => {
            (fail(StatusCode::INTERNAL_SERVER_ERROR, "internal", told), false)
        }
    };
    failure.with("retryable", retryable)
}

fn limited(message: String, wait: Duration) -> Failure {
    later(Failure::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message), wait)
}

/// When to come back, as header and as member.
pub(super) fn told_when(failure: Failure) -> Failure {
    match failure.retry_after_s() {
        Some(seconds) => failure.with("retry_after_s", seconds),
        None => failure,
    }
}

fn later(failure: Failure, wait: Duration) -> Failure {
    told_when(failure.retry_after(wait))
}

fn graph(error: &GraphError, platform: Platform, needs: &str) -> Failure {
    let words = error.words();
    let fail = |status: StatusCode, code, message: String| Failure::new(status, code, message);
    let dependency = |code, message: String| (fail(StatusCode::FAILED_DEPENDENCY, code, message), false);
    let refused = |message: String| (fail(StatusCode::UNPROCESSABLE_ENTITY, "rejected_by_meta", message), false);
    let (failure, retryable) = match &error.kind {
        ErrorKind::TokenExpired => dependency(
            "token_expired",
            format!("the token has expired; the client must authorise again (Meta: {words})"),
        ),
        ErrorKind::TokenInvalid => dependency(
            "token_invalid",
            format!("the token is no longer valid; the client must authorise again (Meta: {words})"),
        ),
        ErrorKind::MissingPermission { permission } => {
            let named = permission.as_deref().unwrap_or(needs);
            dependency(
                "missing_permission",
                format!(
                    "the token lacks a permission, most likely {named}; the client must authorise again and grant it (Meta: {words})"
                ),
            )
        }
        ErrorKind::ActionRequired => {
            dependency("action_required", format!("something must be done at Meta first: {words}"))
        }
        ErrorKind::RateLimited { retry_after } => {
            let wait = retry_after.unwrap_or_else(|| default_wait(platform));
            (limited(format!("Meta's call limit is used up; wait {} s (Meta: {words})", wait.as_secs()), wait), true)
        }
        ErrorKind::Blocked => {
            (limited(format!("Meta has blocked this for hours or days (Meta: {words})"), BLOCKED_FOR), false)
        }
        ErrorKind::Rejected => refused(format!("Meta refused the request: {words}")),
        ErrorKind::ReduceData => {
            refused(format!("Meta finds this too much at once; ask for fewer rows or a shorter time (Meta: {words})"))
        }
        ErrorKind::OldVersion => {
            refused(format!("Meta no longer serves this version; set [graph] version (Meta: {words})"))
        }
        ErrorKind::Timeout => {
            (fail(StatusCode::GATEWAY_TIMEOUT, "meta_timeout", format!("Meta did not answer in time: {words}")), true)
        }
        ErrorKind::OutcomeUnknown => (
            fail(
                StatusCode::BAD_GATEWAY,
                "outcome_unknown",
                format!("the change may have happened; look before repeating it: {words}"),
            ),
            false,
        ),
        ErrorKind::InvalidRequest => (fail(StatusCode::BAD_REQUEST, "invalid_params", words), false),
        _ => (fail(StatusCode::BAD_GATEWAY, "meta_unavailable", format!("Meta is not available: {words}")), true),
    };
    with_graph(failure.with("retryable", retryable), error)
}

/// Meta's codes and trace id, where it named some.
fn with_graph(failure: Failure, error: &GraphError) -> Failure {
    let Some(said) = &error.said else { return failure };
    let mut graph = Map::new();
    graph.insert("code".to_owned(), said.code.into());
    if let Some(subcode) = said.subcode {
        graph.insert("subcode".to_owned(), subcode.into());
    }
    if let Some(trace) = &said.trace_id {
        graph.insert("trace_id".to_owned(), trace.as_str().into());
    }
    failure.with("graph", Value::Object(graph))
}
