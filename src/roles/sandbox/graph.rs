//! The stand-in itself: a request in, a response out, no I/O. Finds version, token, node and edge, in Graph's order.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{HeaderMap, Method};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::business::Sample;
use super::fields::Params;
use super::oauth::{self, Token};
use super::rules::{self, Fault, Refusal, Usage};
use super::{instagram, marketing};
use crate::clock::Clock;

/// Which of Meta's hosts a request is for; a token of one means nothing on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// graph.facebook.com
    Facebook,
    /// graph.instagram.com
    Instagram,
}

/// A request, as a server has read it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The host that the listener stands for.
    pub host: Host,
    /// Where this host is reached, without a slash at the end, such as `http://127.0.0.1:3007`; begins the paging links.
    pub base: String,
    /// The path, such as `/v26.0/17841400000000001/media`.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers; `authorization`, `content-type` and `x-sandbox-fault` matter.
    pub headers: HeaderMap,
    /// The body; a form or JSON.
    pub body: Vec<u8>,
}

/// What a response carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Graph's usual answer.
    Json(Value),
    /// Text to be sent as it is: the HTML of an outage, JSON that was cut.
    Raw(String),
}

/// A response, for a server to write.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, and values, with the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
    /// How long the server should wait before it answers; set by the fault `hang`.
    pub delay: Option<Duration>,
}

/// How many requests [`StandIn::calls`] and [`StandIn::batched`] remember.
const REMEMBERED: usize = 1000;
/// How many entries a batch may have (Graph's guide on batch requests).
const BATCH: usize = 50;

/// The stand-in for the Graph API.
pub struct StandIn {
    clock: Clock,
    sample: Sample,
    count: AtomicU64,
    calls: Mutex<VecDeque<String>>,
    batched: Mutex<VecDeque<String>>,
    /// How often a path with a `transient_…` fault has failed already.
    failures: Mutex<HashMap<String, u32>>,
}

/// Keeps a request as text, without tokens and proofs.
fn remember(calls: &Mutex<VecDeque<String>>, request: &Request) {
    let hidden = ["access_token", "input_token", "appsecret_proof"];
    let shown = request.query.iter().filter(|(name, _)| !hidden.contains(&name.as_str()));
    let query: Vec<String> = shown.map(|(name, value)| format!("{name}={value}")).collect();
    let separator = if query.is_empty() { "" } else { "?" };
    let mut calls = locked(calls);
    if calls.len() == REMEMBERED {
        calls.pop_front();
    }
    calls.push_back(format!("{} {}{separator}{}", request.method, request.path, query.join("&")));
}

impl StandIn {
    /// A stand-in whose numbers all derive from `seed`, and whose history ends at the clock's now.
    #[must_use]
    pub fn new(seed: u64, clock: Clock) -> Self {
        Self {
            clock,
            sample: Sample::new(seed),
            count: AtomicU64::new(0),
            calls: Mutex::default(),
            batched: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// How many requests were answered; a batch counts as one.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The last 1000 requests, oldest first, as `METHOD path?query` without tokens and proofs.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        locked(&self.calls).iter().cloned().collect()
    }

    /// The last 1000 entries of batches, in the same form.
    #[must_use]
    pub fn batched(&self) -> Vec<String> {
        locked(&self.batched).iter().cloned().collect()
    }

    /// Answers one request as Graph would.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Response {
        self.count.fetch_add(1, Ordering::Relaxed);
        remember(&self.calls, request);
        self.respond(request, false)
    }

    /// Answers a request, or with `inner` one entry of a batch.
    fn respond(&self, request: &Request, inner: bool) -> Response {
        let now = self.clock.now();
        let mut segments: Vec<&str> = request.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let asked = segments.first().copied().filter(|first| is_version(first));
        if asked.is_some() {
            segments.remove(0);
        }
        let (mut response, version, upgraded_from) =
            match rules::serve(asked, now.to_zoned_datetime(TimeZone::UTC).date()) {
                Err(refusal) => (Response::from(refusal), rules::VERSION, None),
                Ok(served) => {
                    let response = self.on_version(request, &served, &segments, now, inner);
                    (response, served.version, served.upgraded_from)
                }
            };
        let id = self.call_count();
        response.headers.push(("facebook-api-version", version.to_owned()));
        response.headers.push(("x-fb-request-id", format!("Asandbox{id:06}")));
        response.headers.push(("x-fb-trace-id", format!("Esandbox{id:06}")));
        if let Some(asked) = upgraded_from {
            let warning = format!("The call has been auto-upgraded to {version} as {asked} has been deprecated.");
            response.headers.push(("x-ad-api-version-warning", warning));
        }
        response
    }

    fn on_version(
        &self,
        request: &Request,
        served: &rules::Served,
        path: &[&str],
        now: Timestamp,
        inner: bool,
    ) -> Response {
        let params = params_of(request);
        let asked = request.headers.get("x-sandbox-fault").and_then(|name| name.to_str().ok());
        let mut fault = match asked.map(|name| Fault::named(name).ok_or(name)) {
            None => None,
            Some(Ok(fault)) => Some(fault),
            // A misspelt fault must not look like a success.
            Some(Err(name)) => return Refusal::parameter(format!("no sandbox fault is called {name}")).into(),
        };
        let (text, token) = match authenticate(request, &params, path, now) {
            Ok(found) => found,
            // Faults asked for by header come before the token, for callers that only try their error handling.
            Err(refusal) => {
                let early = fault.and_then(|fault| rules::faulty(fault, "get", "", &Usage::App, now));
                return early.unwrap_or_else(|| refusal.into());
            }
        };
        let target = path.first().copied().unwrap_or_default();
        if fault.is_none() && token.business == Some(0) {
            fault = Fault::of_account(target).or_else(|| token.fault.and_then(Fault::named));
        }
        let call = Call {
            method: &request.method,
            host: request.host,
            base: &request.base,
            version: served.version,
            ads: served.ads,
            text,
            token,
            params,
            now,
            sample: &self.sample,
            fault,
            usage: RefCell::default(),
            hangs: Cell::new(false),
        };
        if let Some(fault) = fault {
            let usage = if target.starts_with("act_") {
                Usage::Ads(target.trim_start_matches("act_").to_owned())
            } else if target.starts_with("1784") {
                Usage::Instagram(target.to_owned())
            } else {
                Usage::App
            };
            let method = request.method.as_str().to_lowercase();
            if let Some(response) = rules::faulty(fault, &method, target, &usage, now) {
                return response;
            }
            let fails = match fault.name {
                "transient_once" => 1,
                "transient_twice" => 2,
                _ => 0,
            };
            if self.fails_again(&request.path, fails) {
                return Refusal::transient().into();
            }
        }
        let result = if path.is_empty() && request.method == Method::POST && !inner {
            self.batch(request, &call)
        } else {
            route(&call, path)
        };
        let mut response = match result {
            Ok(body) => Response::json(200, body),
            Err(refusal) => refusal.into(),
        };
        response.headers.extend(call.usage.borrow().ordinary());
        response.delay = (call.has("hang") || call.hangs.get()).then_some(rules::HANG);
        response
    }

    /// Counts a failure of `path` while fewer than `most` have happened.
    fn fails_again(&self, path: &str, most: u32) -> bool {
        let mut failures = locked(&self.failures);
        if most == 0 || (failures.len() >= REMEMBERED && !failures.contains_key(path)) {
            return false;
        }
        let failed = failures.entry(path.to_owned()).or_default();
        let fails = *failed < most;
        *failed += u32::from(fails);
        fails
    }

    /// Answers each entry of a batch on its own; errors stay inside the entries.
    fn batch(&self, request: &Request, call: &Call<'_>) -> Result<Value, Refusal> {
        call.count_as(Usage::Uncounted);
        let entries = match call.params.get("batch").map(serde_json::from_str) {
            Some(Ok(Value::Array(entries))) => entries,
            Some(_) => return Err(Refusal::parameter("param batch must be an array.")),
            None => return Err(Refusal::new(100, "Unsupported post request.")),
        };
        if entries.len() > BATCH {
            return Err(Refusal::new(100, "Too many requests in batch message. Maximum batch size is 50"));
        }
        let with_headers = call.params.get("include_headers") != Some("false");
        let answers = entries.iter().map(|entry| {
            let relative = entry["relative_url"].as_str().unwrap_or_default().trim_start_matches('/');
            let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
            let versioned = is_version(path.split('/').next().unwrap_or_default());
            let mut query = decode_form(query);
            if !query.iter().any(|(name, _)| name == "access_token") {
                query.push(("access_token".to_owned(), call.text.clone()));
            }
            let mut headers = HeaderMap::new();
            if let Some(fault) = request.headers.get("x-sandbox-fault") {
                headers.insert("x-sandbox-fault", fault.clone());
            }
            let inner = Request {
                method: entry["method"].as_str().and_then(|name| name.parse().ok()).unwrap_or(Method::GET),
                host: request.host,
                base: request.base.clone(),
                path: if versioned { format!("/{path}") } else { format!("/{}/{path}", call.version) },
                query,
                headers,
                body: Vec::new(),
            };
            remember(&self.batched, &inner);
            let answer = self.respond(&inner, true);
            if answer.delay.is_some() {
                return Value::Null; // how Graph shows an entry that timed out
            }
            let body = match &answer.body {
                Body::Json(body) => body.to_string(),
                Body::Raw(text) => text.clone(),
            };
            let mut shown = json!({"code": answer.status});
            if with_headers {
                let pairs = answer.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
                shown["headers"] = pairs.collect();
            }
            shown["body"] = body.into();
            shown
        });
        Ok(answers.collect())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call, past version and token.
pub(super) struct Call<'a> {
    pub method: &'a Method,
    pub host: Host,
    base: &'a str,
    version: &'static str,
    /// Whether this version's Marketing half is alive.
    ads: bool,
    /// The token as it was sent; real paging links repeat it.
    pub text: String,
    pub token: &'static Token,
    pub params: Params,
    pub now: Timestamp,
    pub sample: &'a Sample,
    fault: Option<&'static Fault>,
    usage: RefCell<Usage>,
    hangs: Cell<bool>,
}

impl Call<'_> {
    /// The answer will come after ten minutes.
    pub fn hang(&self) {
        self.hangs.set(true);
    }

    /// Says whose limits this call counts against.
    pub fn count_as(&self, usage: Usage) {
        self.usage.replace(usage);
    }

    /// Whether the caller met the fault of this name.
    pub fn has(&self, fault: &str) -> bool {
        self.fault.is_some_and(|found| found.name == fault)
    }

    /// A full URL of this API, with the token in it as real paging links have.
    pub fn link(&self, path: &str, query: &[(String, String)]) -> String {
        /// What form encoding leaves alone.
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        let encoded = |text: &str| utf8_percent_encode(text, KEPT).to_string();
        let mut link = format!("{}/{}/{path}?access_token={}", self.base, self.version, encoded(&self.text));
        for (name, value) in query.iter().filter(|(name, _)| name != "access_token") {
            link.push_str(&format!("&{}={}", encoded(name), encoded(value)));
        }
        link
    }
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').and_then(|rest| rest.split_once('.')).is_some_and(|(major, minor)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(major) && digits(minor)
    })
}

/// Query and body as one list; the query comes first and so wins.
fn params_of(request: &Request) -> Params {
    let mut params = request.query.clone();
    let text = String::from_utf8_lossy(&request.body);
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        if let Ok(Value::Object(object)) = serde_json::from_str(&text) {
            params.extend(object.into_iter().map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            }));
        }
    } else if request.method != Method::GET {
        params.extend(decode_form(&text));
    }
    Params(params)
}

pub(super) fn decode_form(text: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// The token of a request, if it is alive, meant for this host, and its proof right.
fn authenticate(
    request: &Request,
    params: &Params,
    path: &[&str],
    now: Timestamp,
) -> Result<(String, &'static Token), Refusal> {
    let header = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    let text = bearer.or_else(|| params.get("access_token")).unwrap_or_default();
    if text.is_empty() {
        let about_me = path.first() == Some(&"me");
        return Err(if about_me {
            Refusal::new(2500, "An active access token must be used to query information about the current user.")
        } else {
            Refusal::new(104, "An access token is required to request this resource.")
        });
    }
    let token = oauth::find(text).filter(|token| token.host == request.host).ok_or_else(Refusal::unreadable_token)?;
    token.refusal(now).map_or(Ok(()), Err)?;
    if let Some(proof) = params.get("appsecret_proof")
        && proof != oauth::proof_of(text)
    {
        let message = "Invalid appsecret_proof provided in the API argument";
        return Err(Refusal { kind: "GraphMethodException", ..Refusal::new(100, message) });
    }
    Ok((text.to_owned(), token))
}

/// Finds the node and edge that a path means.
fn route(call: &Call<'_>, path: &[&str]) -> Result<Value, Refusal> {
    if call.params.get("ids").is_some() {
        // Removed on every version on 2026-10-27; the code and the text are not known.
        return Err(Refusal { status: 500, ..Refusal::new(1, "The ids parameter is deprecated starting from v26.0") });
    }
    if call.params.get("date_format").is_some() {
        return Err(Refusal::parameter("The date_format parameter is deprecated starting from v26.0"));
    }
    let method = call.method.as_str().to_lowercase();
    let Some((&target, edge)) = path.split_first() else {
        return Err(Refusal::new(100, format!("Unsupported {method} request.")));
    };
    if *call.method != Method::GET {
        let changed = oauth::change(call, target, edge).or_else(|| instagram::change(call, target, edge));
        return changed.unwrap_or_else(|| Err(Refusal::not_found(&method, target)));
    }
    if marketing::is_ads_path(path) && !call.ads {
        return Err(rules::deprecated_ads_version());
    }
    let found = match call.host {
        Host::Facebook => oauth::answer(call, target, edge)
            .or_else(|| instagram::answer(call, target, edge))
            .or_else(|| marketing::answer(call, target, edge)),
        Host::Instagram if path == ["refresh_access_token"] => Some(oauth::refresh(call)),
        Host::Instagram => instagram::answer(call, target, edge),
    };
    found.unwrap_or_else(|| Err(Refusal::not_found("get", target)))
}

/// The refusal of an edge that a node does not have.
pub(super) fn unknown_path(edge: &[&str]) -> Refusal {
    Refusal::new(2500, format!("Unknown path components: /{}", edge.join("/")))
}
