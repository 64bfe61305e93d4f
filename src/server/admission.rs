//! The order of checks, first failure wins: target form, route, method, boundary, key, query, content type, length.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use hyper::{Method, Request, Uri, Version};

use super::call::{ParseQuery as _, Query};
use super::route::Match;
use super::{App, Caller, Door, Failure, Route};
use crate::exposure::{Exposure, Refusal, single_host};

/// A request that may be read.
pub(super) struct Admitted<A: App> {
    pub route: &'static Route<A>,
    pub captured: Option<String>,
    pub query: Query,
    /// Which of the configured keys it carried, counted from 1.
    pub key: Option<usize>,
}

/// The label of requests that met no route.
const NO_ROUTE: &str = "none";

impl<A: App> Door<A> {
    pub(super) fn admit(
        &self,
        request: &Request<Incoming>,
        caller: &Caller,
        local: Option<IpAddr>,
    ) -> Result<Admitted<A>, (&'static str, Failure)> {
        let headers = request.headers();
        if request.method() == Method::CONNECT {
            return Err((NO_ROUTE, Failure::method_not_allowed(&[])));
        }
        check_target(request.uri(), headers, request.version(), local).map_err(|failure| (NO_ROUTE, failure))?;
        check_framing(headers).map_err(|failure| (NO_ROUTE, failure))?;

        let (route, captured) = match Route::find(A::ROUTES, self.exposure, request.method(), request.uri().path()) {
            Match::Found(route, captured) => (route, captured),
            Match::OtherMethods(path, methods) => return Err((path, Failure::method_not_allowed(&methods))),
            Match::None => return Err((NO_ROUTE, Failure::not_found())),
        };
        let fail = |failure| (route.path, failure);
        if self.exposure == Exposure::Internal && route.exposure == Exposure::Internal {
            self.check_boundary(route, request, caller, local).map_err(fail)?;
        }
        let key = self.check_key(route, headers, caller).map_err(fail)?;
        let query = Query::parse(request.uri().query(), route.query).map_err(fail)?;
        if route.wants_json {
            check_content(headers, route.body_max(self.limits.body_max)).map_err(fail)?;
        }
        Ok(Admitted { route, captured, query, key })
    }

    fn check_boundary(
        &self,
        route: &Route<A>,
        request: &Request<Incoming>,
        caller: &Caller,
        local: Option<IpAddr>,
    ) -> Result<(), Failure> {
        // nginx before 1.29.7 spoke 1.0 to its upstreams unless told otherwise: the mark of a bare proxy.
        let refusal = if route.grants && request.version() == Version::HTTP_10 {
            Err(Refusal::Forwarded)
        } else {
            self.app.rules().admit(&caller.peer, local, request.headers())
        };
        refusal.map_err(|refusal| {
            self.app.refused(refusal, caller);
            Failure::not_internal(refusal)
        })
    }

    fn check_key(&self, route: &Route<A>, headers: &HeaderMap, caller: &Caller) -> Result<Option<usize>, Failure> {
        let Some(kind) = route.key else { return Ok(None) };
        let Some(keys) = self.app.keys(kind) else { return Ok(None) };
        if let Some(position) = keys.find(kind.read(headers)) {
            return Ok(Some(position));
        }
        // The right key is never slowed: only what failed is counted.
        if let Err(wait) = self.throttle.failed(&caller.peer) {
            return Err(Failure::too_many_failures(wait));
        }
        self.app.refused(Refusal::Unauthorized, caller);
        Err(Failure::unauthorized(kind))
    }
}

/// Origin form; absolute form only where it says what `Host` says.
fn check_target(uri: &Uri, headers: &HeaderMap, version: Version, local: Option<IpAddr>) -> Result<(), Failure> {
    // Without a Host an HTTP/1.0 request is well-formed, and on a unix socket any will do.
    let host = single_host(headers);
    let excused = local.is_none() || (version == Version::HTTP_10 && !headers.contains_key(hyper::header::HOST));
    if host.is_err() && !excused {
        return Err(Failure::bad_request("send exactly one well-formed Host header"));
    }
    let agrees = match (uri.scheme_str(), uri.authority()) {
        (None, None) => uri.path().starts_with('/'),
        (Some("http"), Some(authority)) => {
            !authority.as_str().contains('@') && host.is_ok_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
        }
        _ => false,
    };
    if agrees { Ok(()) } else { Err(Failure::bad_request("send a path as the request target")) }
}

/// One way to frame a body. hyper refuses most others; what it lets through is a smuggler's.
fn check_framing(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let plain = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if plain { Ok(()) } else { Err(Failure::bad_request("the only transfer encoding taken is chunked")) }
}

fn check_content(headers: &HeaderMap, most: usize) -> Result<(), Failure> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if essence.as_deref() != Some("application/json") {
        return Err(Failure::unsupported_media_type());
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(Failure::too_large(most));
    }
    Ok(())
}
