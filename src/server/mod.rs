//! The HTTP/1.1 server under every role: listeners by exposure, one order of checks, bounded everything.
//!
//! `serve` accepts on all listeners of a role until its stop signal, then lets running requests finish. What a
//! listener carries and what a request must prove is decided in [`admission`](self) from the role's route table, never
//! in a handler.

mod admission;
mod bind;
mod call;
mod gateway;
pub mod json;
mod keys;
mod ready;
mod reply;
mod route;
mod signal;
mod throttle;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::exposure::{Exposure, Peer, Refusal, Rules};
use crate::telemetry::Metrics;

pub use bind::{BindError, Bound, Listening, Local, addresses, bind};
pub use call::{Call, Caller};
pub use keys::{Keys, KeysError};
pub use ready::{Readiness, announce_ready, announce_stopping, watchdog};
pub use reply::{Body, Failure, Reply};
pub use route::{KeyKind, Route};
pub use signal::{hangups, stop_signal};

use call::RequestIds;
use gateway::Gateways;
use throttle::Throttle;

/// What a role brings to the server.
pub trait App: Send + Sync + Sized + 'static {
    /// Its routes.
    const ROUTES: &'static [Route<Self>];

    /// What internal routes ask of a request.
    fn rules(&self) -> &Rules;

    /// The keys of one kind; `None` when none is configured, which admits everyone.
    fn keys(&self, kind: KeyKind) -> Option<&Keys>;

    /// Told of each refused request on a row that exists.
    fn refused(&self, refusal: Refusal, caller: &Caller);

    /// What is counted.
    fn metrics(&self) -> &Metrics;

    /// Dresses an error of the server itself as this role's errors look.
    fn dress(&self, failure: Failure) -> Failure {
        failure
    }
}

/// Bounds of one kind of listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; further ones are accepted and closed.
    pub connections: usize,
    /// Open connections of one peer (/32, /64); loopback and unix sockets are exempt.
    pub connections_per_peer: Option<usize>,
    /// Requests at work; further ones get 503 `busy`.
    pub requests: usize,
    /// To read a request's head, and to wait for the next one.
    pub head_time: Duration,
    /// To read a body.
    pub body_time: Duration,
    /// The longest body, in bytes.
    pub body_max: usize,
    /// From the head to the answer.
    pub request_time: Duration,
}

impl Limits {
    /// Of connect's public listeners.
    pub const PUBLIC: Self = Self {
        connections: 1024,
        connections_per_peer: Some(128),
        requests: 64,
        head_time: Duration::from_secs(10),
        body_time: Duration::from_secs(10),
        body_max: 64 << 10,
        request_time: Duration::from_secs(15),
    };
    /// Of connect's internal listeners.
    pub const INTERNAL: Self = Self {
        connections: 16384,
        connections_per_peer: None,
        requests: 1024,
        head_time: Duration::from_secs(60),
        request_time: Duration::from_secs(10),
        ..Self::PUBLIC
    };
    /// Of the MCP roles.
    pub const MCP: Self =
        Self { requests: 2048, body_max: 1 << 20, request_time: Duration::from_secs(55), ..Self::INTERNAL };
}

/// The longest head of a request, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A role's listeners with what answers on them.
pub struct Server<A: App> {
    app: Arc<A>,
    listening: Listening,
    internal: Limits,
}

impl<A: App> Server<A> {
    /// Joins bound listeners and a role; `internal` bounds the internal ones.
    #[must_use]
    pub fn new(listening: Listening, app: Arc<A>, internal: Limits) -> Self {
        Self { app, listening, internal }
    }

    /// Serves until `stop`, then lets running requests finish for `drain`.
    pub async fn serve(self, stop: CancellationToken, drain: Duration) {
        let graceful = Arc::new(GracefulShutdown::new());
        let throttle = Arc::new(Throttle::default());
        let ids = Arc::new(RequestIds::default());
        let gateways = Arc::new(Gateways::of_this_machine());
        let mut loops = JoinSet::new();
        for bound in self.listening {
            let limits = match bound.exposure {
                Exposure::Public => Limits::PUBLIC,
                Exposure::Internal => self.internal,
            };
            let door = Arc::new(Door {
                app: self.app.clone(),
                at: bound.shown(),
                exposure: bound.exposure,
                limits,
                connections: Arc::new(Semaphore::new(limits.connections)),
                requests: Semaphore::new(limits.requests),
                peers: Mutex::default(),
                throttle: throttle.clone(),
                ids: ids.clone(),
                gateways: gateways.clone(),
            });
            loops.spawn(accept_loop(bound, door, graceful.clone(), stop.clone()));
        }
        while loops.join_next().await.is_some() {}
        let graceful = Arc::into_inner(graceful).expect("the loops that held it have ended");
        if timeout(drain, graceful.shutdown()).await.is_err() {
            warn!(drain = ?drain, "requests were still running at the end of the drain time and were cut");
        }
    }
}

/// One listener at work.
struct Door<A: App> {
    app: Arc<A>,
    at: String,
    exposure: Exposure,
    limits: Limits,
    connections: Arc<Semaphore>,
    requests: Semaphore,
    peers: Mutex<HashMap<IpAddr, usize>>,
    throttle: Arc<Throttle>,
    ids: Arc<RequestIds>,
    gateways: Arc<Gateways>,
}

async fn accept_loop<A: App>(
    bound: Bound,
    door: Arc<Door<A>>,
    graceful: Arc<GracefulShutdown>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = bound.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer, local)) => door.clone().take(stream, peer, local, graceful.watcher()),
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                error!(listener = door.at, %error, "cannot accept connections just now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The caller went away between knocking and entering.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Gives a peer's place back when its connection ends.
struct PeerPlace<A: App> {
    door: Arc<Door<A>>,
    of: Option<IpAddr>,
}

impl<A: App> Drop for PeerPlace<A> {
    fn drop(&mut self) {
        let Some(of) = self.of else { return };
        let mut peers = self.door.peers.lock().expect("no holder panics");
        if let Some(count) = peers.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&of);
            }
        }
    }
}

impl<A: App> Door<A> {
    /// Serves one connection, or closes it where a bound is reached.
    fn take(self: Arc<Self>, stream: bind::Stream, peer: Peer, local: Option<IpAddr>, watcher: Watcher) {
        let (Ok(place), Some(peer_place)) =
            (self.connections.clone().try_acquire_owned(), self.clone().place_of(&peer))
        else {
            self.app.metrics().connection_refused();
            return;
        };
        if self.exposure == Exposure::Internal {
            self.gateways.meet(&peer, &self.at);
        }
        match stream {
            bind::Stream::Tcp(stream) => {
                // Answers are small and whole: waiting for more to send only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "cannot set TCP_NODELAY");
                }
                tokio::spawn(self.connection(stream, peer, local, watcher, (place, peer_place)));
            }
            bind::Stream::Unix(stream) => {
                tokio::spawn(self.connection(stream, peer, local, watcher, (place, peer_place)));
            }
        }
    }

    fn place_of(self: Arc<Self>, peer: &Peer) -> Option<PeerPlace<A>> {
        let of = match (self.limits.connections_per_peer, peer) {
            (Some(_), Peer::Ip(ip)) if !ip.is_loopback() => Some(throttle::source(*ip)),
            _ => None,
        };
        if let (Some(of), Some(most)) = (of, self.limits.connections_per_peer) {
            let mut peers = self.peers.lock().expect("no holder panics");
            let count = peers.entry(of).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(PeerPlace { door: self, of })
    }

    async fn connection<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        local: Option<IpAddr>,
        watcher: Watcher,
        _places: (OwnedSemaphorePermit, PeerPlace<A>),
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.clone().request(request, peer.clone(), local));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            debug!(listener = self.at, %peer, %error, "the connection ended badly");
        }
    }

    async fn request(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        local: Option<IpAddr>,
    ) -> Result<Response<Body>, io::Error> {
        let began = Instant::now();
        let caller = Caller { peer, listener: self.at.clone(), request_id: self.ids.next() };
        let chunked = request.headers().contains_key(hyper::header::TRANSFER_ENCODING);
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        let id = caller.request_id.clone();
        let metrics = self.app.metrics().clone();

        let work = AssertUnwindSafe(self.clone().answer(request, caller, local)).catch_unwind();
        let outcome = match timeout(self.limits.request_time, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => {
                metrics.panicked();
                error!(request_id = id, "a handler panicked");
                Outcome::before_body("internal", Failure::internal(&id))
            }
            Err(_elapsed) => Outcome::before_body("timeout", Failure::request_timeout()),
        };
        let mut response = match outcome.result {
            Ok(reply) => reply.into_response(),
            Err(failure) => {
                failure.log(&id);
                self.app.dress(failure).into_reply().into_response()
            }
        };
        if chunked || (has_body && !outcome.body_read) {
            response.headers_mut().insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
        }
        let status = response.status().as_u16();
        metrics.request(outcome.route, status, began.elapsed());
        debug!(request_id = id, route = outcome.route, status, "answered");
        Ok(response)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, caller: Caller, local: Option<IpAddr>) -> Outcome {
        let admitted = match self.admit(&request, &caller, local) {
            Ok(admitted) => admitted,
            Err((route, failure)) => return Outcome::before_body(route, failure),
        };
        let route = admitted.route.path;
        let Ok(_working) = self.requests.try_acquire() else {
            return Outcome::before_body(route, Failure::busy());
        };
        let (parts, body) = request.into_parts();
        let body =
            match call::read_body(body, admitted.route.body_max(self.limits.body_max), self.limits.body_time).await {
                Ok(body) => body,
                Err(failure) => return Outcome::before_body(route, failure),
            };
        let call = Call::new(parts, body, admitted.captured, admitted.query, admitted.key, caller);
        let result = (admitted.route.handler)(self.app.clone(), call).await;
        Outcome { route, body_read: true, result }
    }
}

/// What became of a request.
struct Outcome {
    /// The route's path, or a word where there was none: bounded, for a metric's label.
    route: &'static str,
    body_read: bool,
    result: Result<Reply, Failure>,
}

impl Outcome {
    fn before_body(route: &'static str, failure: Failure) -> Self {
        Self { route, body_read: false, result: Err(failure) }
    }
}
