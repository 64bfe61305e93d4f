//! The route table: who may reach a row, and what it asks, are columns.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::{Call, Failure, Reply};
use crate::exposure::Exposure;

/// Answers one admitted call.
pub type Handler<A> = fn(Arc<A>, Call) -> BoxFuture<'static, Result<Reply, Failure>>;

/// Which key a row wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `VM_API_KEY` in `X-API-Key`.
    Api,
    /// `CONNECT_SERVICE_KEY` in `Authorization: Bearer`.
    Service,
    /// `MCP_API_KEY` in `Authorization: Bearer`.
    Mcp,
}

impl KeyKind {
    /// The bytes of the key that a request carries; `None` when it carries none or several.
    pub(super) fn read(self, headers: &HeaderMap) -> Option<&[u8]> {
        let single = |name| {
            let mut all = headers.get_all(name).iter();
            match (all.next(), all.next()) {
                (Some(value), None) => Some(HeaderValue::as_bytes(value)),
                _ => None,
            }
        };
        match self {
            Self::Api => single("x-api-key"),
            Self::Service | Self::Mcp => {
                let value = single(AUTHORIZATION.as_str())?;
                let (scheme, key) = value.split_at_checked("Bearer ".len())?;
                scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
            }
        }
    }
}

/// One row: method, path, who may reach it, what answers.
pub struct Route<A> {
    pub(super) method: Method,
    /// The path, compared byte for byte; one segment may be `{}`, and a lone `*` matches every path.
    pub(super) path: &'static str,
    pub(super) exposure: Exposure,
    pub(super) key: Option<KeyKind>,
    pub(super) grants: bool,
    pub(super) wants_json: bool,
    /// Names that the query may hold; `None` takes any.
    pub(super) query: Option<&'static [&'static str]>,
    pub(super) handler: Handler<A>,
}

impl<A> Route<A> {
    /// A row without key, body or query.
    #[must_use]
    pub const fn new(method: Method, path: &'static str, exposure: Exposure, handler: Handler<A>) -> Self {
        Self { method, path, exposure, key: None, grants: false, wants_json: false, query: Some(&[]), handler }
    }

    /// The key that a request must carry where one is configured.
    #[must_use]
    pub const fn key(mut self, kind: KeyKind) -> Self {
        self.key = Some(kind);
        self
    }

    /// Tells of credentials: refused over HTTP/1.0, as old proxies speak it.
    #[must_use]
    pub const fn grants(mut self) -> Self {
        self.grants = true;
        self
    }

    /// Takes a JSON body.
    #[must_use]
    pub const fn json(mut self) -> Self {
        self.wants_json = true;
        self
    }

    /// Names that may stand in the query, once each.
    #[must_use]
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = Some(names);
        self
    }

    /// Takes any query and any body: the handler judges.
    #[must_use]
    pub const fn anything(mut self) -> Self {
        self.query = None;
        self
    }

    /// The path, with `{}` where a segment is taken.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Who can reach it.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }

    /// How many bytes of body are read: rows that take none read none.
    pub(super) fn body_max(&self, most: usize) -> usize {
        if self.wants_json || self.query.is_none() { most } else { 0 }
    }

    /// What `path` captures of the row's `{}`; `None` when it is another path.
    fn captures(&self, path: &str) -> Option<Option<String>> {
        if self.path == "*" || self.path == path {
            return Some(None);
        }
        let (before, after) = self.path.split_once("{}")?;
        let segment = path.strip_prefix(before)?.strip_suffix(after)?;
        (!segment.is_empty() && !segment.contains('/')).then(|| Some(segment.to_owned()))
    }

    /// The row that a listener of `exposure` carries for this request. Rows that it does not carry do not exist.
    pub(super) fn find(routes: &'static [Self], exposure: Exposure, method: &Method, path: &str) -> Match<A> {
        let carried = routes.iter().filter(|row| exposure == Exposure::Internal || row.exposure == Exposure::Public);
        let mut others = Vec::new();
        let mut at = "";
        for row in carried {
            let Some(captured) = row.captures(path) else { continue };
            if row.method == *method || row.path == "*" {
                return Match::Found(row, captured);
            }
            at = row.path;
            others.push(row.method.clone());
        }
        if others.is_empty() { Match::None } else { Match::OtherMethods(at, others) }
    }
}

/// What the table says of a request.
pub(super) enum Match<A: 'static> {
    Found(&'static Route<A>, Option<String>),
    OtherMethods(&'static str, Vec<Method>),
    None,
}
