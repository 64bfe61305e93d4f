//! One admitted request, as a handler gets it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::Failure;
use crate::exposure::Peer;

/// Who called: for the audit trail and the log.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The socket's far end.
    pub peer: Peer,
    /// The listener, as it was bound.
    pub listener: String,
    /// Names this request in the log and in a 500.
    pub request_id: String,
}

/// Query parameters, decoded.
pub(super) type Query = HashMap<&'static str, String>;

/// A request that passed every check, with its whole body.
#[derive(Debug)]
pub struct Call {
    /// Method, target and headers.
    pub parts: Parts,
    /// The body; empty where the route takes none.
    pub body: Bytes,
    /// The path segment that the route's `{}` matched, as it was sent.
    pub captured: Option<String>,
    /// Which configured key it carried, counted from 1.
    pub key: Option<usize>,
    /// Who called.
    pub caller: Caller,
    query: HashMap<&'static str, String>,
}

impl Call {
    pub(super) fn new(
        parts: Parts,
        body: Bytes,
        captured: Option<String>,
        query: Query,
        key: Option<usize>,
        caller: Caller,
    ) -> Self {
        Self { parts, body, captured, key, caller, query }
    }

    /// A query parameter of the route's list.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

pub(super) trait ParseQuery: Sized {
    fn parse(raw: Option<&str>, known: Option<&'static [&'static str]>) -> Result<Self, Failure>;
}

impl ParseQuery for Query {
    /// Known names, once each.
    fn parse(raw: Option<&str>, known: Option<&'static [&'static str]>) -> Result<Self, Failure> {
        let mut query = Self::new();
        let (Some(raw), Some(known)) = (raw.filter(|raw| !raw.is_empty()), known) else { return Ok(query) };
        for pair in raw.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = known.iter().find(|known| **known == name).ok_or_else(|| Failure::invalid_query(known))?;
            let value = percent_decode_str(value).decode_utf8().map_err(|_| Failure::invalid_query(known))?;
            if query.insert(name, value.into_owned()).is_some() {
                return Err(Failure::invalid_query(known));
            }
        }
        Ok(query)
    }
}

/// The whole body, within its bounds of size and time.
pub(super) async fn read_body(body: Incoming, most: usize, within: Duration) -> Result<Bytes, Failure> {
    if most == 0 {
        return Ok(Bytes::new());
    }
    match timeout(within, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large(most)),
        Ok(Err(_)) => Err(Failure::bad_request("the body ended early")),
        Err(_elapsed) => Err(Failure::request_timeout()),
    }
}

/// Numbers requests: unique within a process, and told apart between two.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        Self { process: std::process::id() ^ nanos, next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    pub(super) fn next(&self) -> String {
        format!("{:08x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
