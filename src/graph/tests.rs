//! Behaviour of the client against local servers on port 0.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::TcpListener as StdListener;
use std::sync::atomic::AtomicUsize;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::unbounded_channel;

use super::*;

const TOKEN: &str = "EAAtest|to+ken/1";
const PROOF: &str = "0f1e2d3c4b5a";

/// An error means: the connection breaks without an answer.
type Reply = io::Result<Response<BoxBody<Bytes, io::Error>>>;

#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: String,
}

/// A stand-in for Graph that remembers what it was asked.
struct Meta {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Meta {
    /// Answers the n-th request (from 0) with `reply(n)`.
    async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::slow(move |n| {
            let reply = reply(n);
            Box::pin(async { reply })
        })
        .await
    }

    async fn slow(reply: impl Fn(usize) -> BoxFuture<'static, Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&seen), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                        let (target, headers) = (head.uri.to_string(), head.headers);
                        let n = {
                            let mut log = lock(&log);
                            log.push(Seen { method: head.method, target, headers, body });
                            log.len() - 1
                        };
                        reply(n).await
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { url, seen }
    }

    fn settings(&self) -> Settings {
        Settings { base_url: self.url.clone(), instagram_base_url: format!("{}/ig/", self.url), ..Settings::default() }
    }

    fn graph(&self) -> Graph {
        graph(&self.settings())
    }

    fn session(&self) -> Session {
        self.graph().session(caller())
    }

    fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

fn graph(settings: &Settings) -> Graph {
    let backoff = ExponentialBuilder::new().with_min_delay(Duration::from_millis(1)).with_max_times(2);
    Graph::with_backoff(settings, Clock::fixed(Timestamp::from_second(1_800_000_000).unwrap()), backoff).unwrap()
}

fn caller() -> Caller {
    let (token, proof) = (Secret::new(TOKEN.to_owned()), Some(Secret::new(PROOF.to_owned())));
    Caller {
        key: "clienta".to_owned(),
        host: Host::Facebook,
        token,
        proof,
        deadline: within(Duration::from_secs(45)),
        app_secret: None,
        writes: true,
    }
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

fn me() -> Request {
    Request::new("me", &[]).unwrap()
}

fn answer(status: u16, body: impl Into<Bytes>) -> Reply {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed();
    Ok(Response::builder().status(status).body(body).unwrap())
}

fn with(name: &'static str, value: &str, mut reply: Reply) -> Reply {
    reply.as_mut().unwrap().headers_mut().insert(name, value.parse().unwrap());
    reply
}

fn ok() -> Reply {
    answer(200, r#"{"id":"1"}"#)
}

fn refusal(status: u16, code: i64) -> Reply {
    answer(status, json!({"error": {"message": "no", "code": code, "is_transient": true}}).to_string())
}

/// A body that begins and then breaks (`false`) or never goes on (`true`).
fn begun(hangs: bool) -> Reply {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"id\":")))]);
    let rest = stream::iter((!hangs).then(|| Err(io::Error::other("cut"))));
    let end = stream::pending().take(usize::from(hangs));
    Ok(Response::new(BodyExt::boxed(StreamBody::new(first.chain(rest).chain(end)))))
}

#[tokio::test]
async fn the_token_goes_in_one_header_and_nowhere_else() {
    let meta = Meta::start(|_| ok()).await;
    let graph = meta.graph();
    let session = graph.session(caller());
    let request = Request::new("{}/insights", &["17841400000000001"]).unwrap().query("metric", "reach");
    session.get(&request).await.unwrap();
    session.post(&request).await.unwrap();
    session.delete(&me()).await.unwrap();
    let instagram = graph.session(Caller { host: Host::Instagram, proof: None, ..caller() });
    instagram.get(&me()).await.unwrap();

    let seen = meta.seen();
    let form = format!("metric=reach&appsecret_proof={PROOF}");
    let wanted = [
        (Method::GET, format!("/v26.0/17841400000000001/insights?{form}"), ""),
        (Method::POST, "/v26.0/17841400000000001/insights".to_owned(), form.as_str()),
        (Method::DELETE, format!("/v26.0/me?appsecret_proof={PROOF}"), ""),
        (Method::GET, "/ig/v26.0/me".to_owned(), ""),
    ];
    assert_eq!(seen.len(), wanted.len());
    for (seen, (method, target, body)) in seen.iter().zip(&wanted) {
        assert_eq!((&seen.method, seen.target.as_str(), seen.body.as_str()), (method, target.as_str(), *body));
        assert_eq!(seen.headers[AUTHORIZATION], format!("Bearer {TOKEN}"));
        assert_eq!(seen.headers.values().filter(|value| value.to_str().unwrap().contains("EAAtest")).count(), 1);
        assert!(!seen.headers.contains_key("cookie") && !seen.headers.contains_key("referer"));
        assert_eq!(seen.headers["accept-encoding"], "gzip");
    }
    assert!(session.bearer().unwrap().is_sensitive());
    assert!(!format!("{:?}", session.caller).contains("EAA"));
    assert_eq!((graph.stats().calls(), graph.stats().retries()), (4, 0));
}

#[tokio::test]
async fn reads_are_repeated_where_that_can_help() {
    use ErrorKind as K;
    type Case = (&'static str, fn(usize) -> Reply, Option<ErrorKind>, usize);
    let cases: &[Case] = &[
        ("html once", |n| if n == 0 { answer(503, "<html>down") } else { ok() }, None, 2),
        ("code 2 for ever", |_| refusal(500, 2), Some(K::Unavailable), 3),
        ("empty 500", |_| answer(500, ""), Some(K::Unavailable), 3),
        ("connection lost twice", |n| if n < 2 { Err(io::Error::other("gone")) } else { ok() }, None, 3),
        ("cut body", |n| if n == 0 { begun(false) } else { ok() }, None, 2),
        ("cut json", |_| answer(200, r#"{"id":"#), Some(K::Unavailable), 3),
        ("throttle", |_| refusal(403, 4), Some(K::RateLimited { retry_after: None }), 1),
        ("html 429", |_| answer(429, "<html>"), Some(K::RateLimited { retry_after: None }), 1),
        (
            "too much data",
            |_| answer(500, r#"{"error":{"code":1,"message":"Please reduce the amount of data"}}"#),
            Some(K::ReduceData),
            1,
        ),
        ("error in a success", |_| answer(200, r#"{"error":{"code":190}}"#), Some(K::TokenInvalid), 1),
        ("not json", |_| answer(200, "{]"), Some(K::Unavailable), 1),
        ("too deep", |_| answer(200, "[".repeat(129) + &"]".repeat(129)), Some(K::Unavailable), 1),
        ("no reason", |_| answer(404, "{}"), Some(K::Rejected), 1),
        ("too large", |_| answer(200, vec![b' '; MAX_BODY_BYTES + 1]), Some(K::ReduceData), 1),
    ];
    for (name, reply, kind, times) in cases {
        let meta = Meta::start(reply).await;
        let graph = meta.graph();
        let kind_seen = graph.session(caller()).get(&me()).await.err().map(|error| error.kind);
        assert_eq!((&kind_seen, meta.seen().len()), (kind, *times), "{name}");
        assert_eq!(graph.stats().retries(), *times as u64 - 1, "{name}");
        assert_eq!(graph.stats().errors().map(|(_, count)| count).sum::<u64>(), u64::from(kind.is_some()), "{name}");
    }
}

#[tokio::test]
async fn writes_are_sent_once_and_say_whether_they_may_have_happened() {
    use ErrorKind as K;
    type Case = (&'static str, fn(usize) -> Reply, ErrorKind);
    let cases: &[Case] = &[
        ("html 503", |_| answer(503, "<html>"), K::OutcomeUnknown),
        ("code 2", |_| refusal(500, 2), K::OutcomeUnknown),
        ("connection lost", |_| Err(io::Error::other("gone")), K::OutcomeUnknown),
        ("cut body", |_| begun(false), K::OutcomeUnknown),
        ("throttle", |_| refusal(400, 17), K::RateLimited { retry_after: None }),
        ("refused", |_| answer(400, r#"{"error":{"code":100}}"#), K::Rejected),
    ];
    for (name, reply, kind) in cases {
        let meta = Meta::start(reply).await;
        let session = meta.session();
        assert_eq!(session.post(&me()).await.unwrap_err().kind, *kind, "{name}");
        assert_eq!(session.delete(&me()).await.unwrap_err().kind, *kind, "{name}");
        assert_eq!(meta.seen().len(), 2, "{name}");
    }
    // Bound, so that nobody else gets it, and not listening.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", nobody.local_addr().unwrap());
    let settings = Settings { base_url: base.clone(), instagram_base_url: base, ..Settings::default() };
    let error = graph(&settings).session(caller()).post(&me()).await.unwrap_err();
    assert_eq!(error.kind, K::Unavailable, "nothing was sent");
    let causes = format!("{error:?}");
    assert!(!causes.contains("/v26.0/") && !causes.contains(PROOF), "{causes}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = Meta::start(|_| ok()).await;
    let there = format!("{}/v26.0/me", trap.url);
    let meta = Meta::start(move |_| with("location", &there, answer(307, ""))).await;
    let error = meta.session().get(&me()).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Unavailable, Some(307)));
    assert_eq!((meta.seen().len(), trap.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_gzip_bomb_stays_small() {
    // A deflate block of 64 KiB of zeros that ends on a byte, 16384 times: 1 GiB.
    let block = BASE64_STANDARD.decode(format!("7MEBAQAAAICQ/q/uCAo{}BqAAAA//8=", "A".repeat(83))).unwrap();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let bomb = Bytes::from([&head[..], &block.repeat(16384)].concat());
    let before = peak_kib();
    let meta = Meta::start(move |_| with("content-encoding", "gzip", answer(200, bomb.clone()))).await;
    let error = meta.session().get(&me()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReduceData);
    assert!(matches!(std::error::Error::source(&error).unwrap().downcast_ref(), Some(Fault::TooLarge)));
    assert!(peak_kib() - before < 200 << 10, "memory grew by {} KiB", peak_kib() - before);
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

#[tokio::test]
async fn time_limits_hold_whatever_the_other_side_does() {
    let hang: fn(usize) -> BoxFuture<'static, Reply> = |_| Box::pin(std::future::pending());
    let slow: fn(usize) -> BoxFuture<'static, Reply> = |_| Box::pin(async { begun(true) });
    let fails: fn(usize) -> BoxFuture<'static, Reply> = |_| Box::pin(async { refusal(500, 2) });
    for (name, reply, kind) in [
        ("no answer", hang, ErrorKind::Timeout),
        ("slow body", slow, ErrorKind::Timeout),
        ("no time to repeat", fails, ErrorKind::Unavailable),
    ] {
        let meta = Meta::slow(reply).await;
        let settings = Settings { timeout: Duration::from_millis(200), ..meta.settings() };
        let patient = ExponentialBuilder::new().with_min_delay(Duration::from_secs(60));
        let graph = Graph::with_backoff(&settings, Clock::system(), patient).unwrap();
        let began = Instant::now();
        let error = graph.session(caller()).get(&me()).await.unwrap_err();
        assert_eq!((error.kind, meta.seen().len()), (kind, 1), "{name}: one attempt");
        let short = graph.session(Caller { deadline: within(Duration::from_millis(100)), ..caller() });
        assert!(short.post(&me()).await.unwrap_err().kind == ErrorKind::OutcomeUnknown, "{name}: a write");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}");
    }
    let meta = Meta::start(|_| ok()).await;
    let late = meta.graph().session(Caller { deadline: Instant::now(), ..caller() });
    assert_eq!(late.post(&me()).await.unwrap_err().kind, ErrorKind::Timeout);
    assert!(meta.seen().is_empty());
}

#[tokio::test]
async fn a_client_has_so_many_calls_at_once_and_no_more() {
    let (arrive, mut arrivals) = unbounded_channel();
    let (gate, inside, most) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (open, top) = (Arc::clone(&gate), Arc::clone(&most));
    let meta = Meta::slow(move |_| {
        let (arrive, open, inside, top) = (arrive.clone(), Arc::clone(&open), Arc::clone(&inside), Arc::clone(&top));
        Box::pin(async move {
            top.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            arrive.send(()).unwrap();
            open.acquire().await.unwrap().forget();
            inside.fetch_sub(1, Ordering::SeqCst);
            ok()
        })
    })
    .await;
    let graph = graph(&Settings { concurrency: 2, ..meta.settings() });
    let sessions: Vec<_> = (0..6).map(|_| graph.session(caller())).collect();
    let calls = tokio::spawn(async move {
        let request = me();
        join_all(sessions.iter().map(|session| session.get(&request))).await
    });
    for n in 0..6 {
        if n >= 2 {
            gate.add_permits(1);
        }
        arrivals.recv().await.unwrap();
        if n == 1 {
            let waits = graph.session(Caller { deadline: within(Duration::from_millis(20)), ..caller() });
            let error = waits.get(&me()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Timeout);
            assert_eq!(std::error::Error::source(&error).unwrap().to_string(), Fault::NoPlace.to_string());
        }
    }
    gate.add_permits(3);
    assert!(calls.await.unwrap().iter().all(Result::is_ok));
    graph.session(Caller { key: "clientb".to_owned(), ..caller() }).get(&me()).await.unwrap();
    assert_eq!((most.load(Ordering::SeqCst), meta.seen().len()), (2, 7));
}

#[tokio::test]
async fn idle_clients_are_forgotten() {
    let graph = Meta::start(|_| ok()).await.graph();
    let kept = graph.session(caller());
    for n in 0..=IDLE_CLIENTS {
        drop(graph.session(Caller { key: format!("c{n}"), ..caller() }));
    }
    let places = lock(&graph.0.places);
    assert!(places.len() <= IDLE_CLIENTS && places.contains_key(&kept.caller.key));
}

#[tokio::test]
async fn what_meta_says_is_scrubbed() {
    let said = format!("bad {TOKEN} and EAAtest%7Cto%2Bken%2F1 and EAAtest%7cto%2Bken%2F1 and {PROOF}");
    let said = json!({"error": {"code": 100, "message": said, "error_user_msg": said, "fbtrace_id": "A1"}}).to_string();
    let meta = Meta::start(move |_| answer(400, said.clone())).await;
    let session = meta.session();
    let error = session.get(&me()).await.unwrap_err();
    let said = error.said.as_ref().unwrap();
    assert_eq!(said.message, "bad [secret] and [secret] and [secret] and [secret]");
    assert_eq!(said.user_msg.as_ref().unwrap(), &said.message);
    assert_eq!(said.trace_id.as_deref(), Some("A1"));
    assert!(!format!("{error:?} {error}").contains("EAAtest"));

    let page = session.with_token(Secret::new("EAApage-token".to_owned()));
    let mut text = format!("{TOKEN} EAApage-token");
    assert_eq!((page.scrubber().scrub(&mut text), text.as_str()), (2, "[secret] [secret]"));
    let mut text = "EAApage-token".to_owned();
    assert_eq!(session.scrubber().scrub(&mut text), 1, "the session knows the tokens made from it");
    assert_eq!(Scrubber::default().scrub(&mut "anything".to_owned()), 0);
}

#[tokio::test]
async fn headers_tell_usage_version_and_warning() {
    let business = r#"{"1":[{"type":"instagram","call_count":100,"estimated_time_to_regain_access":3}]}"#;
    let meta = Meta::start(move |_| {
        let reply = with("x-business-use-case-usage", business, refusal(400, 80002));
        with("x-ad-api-version-warning", "auto-upgraded", reply)
    })
    .await;
    let graph = meta.graph();
    let session = graph.session(caller());
    assert_eq!(session.usage(), None);
    for _ in 0..2 {
        let error = session.get(&me()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(180)) });
    }
    assert_eq!(session.usage().unwrap().highest_pct, 100.0);
    assert_eq!(graph.session(Caller { key: "clientb".to_owned(), ..caller() }).usage(), None);
    assert_eq!(lock(&graph.0.warned).len(), 1);
}

#[tokio::test]
async fn a_page_takes_a_cursor_and_gives_one() {
    let link = format!("https://elsewhere.test/?access_token={TOKEN}&after=b");
    let body = json!({"data": [{"id": "1"}], "paging": {"cursors": {"after": "b"}, "next": link}});
    let meta = Meta::start(move |_| answer(200, body.to_string())).await;
    let session = meta.session();
    let request = Request::new("{}/media", &["1"]).unwrap().fields("id");
    let page = session.page(&request, Some(&"a=".parse().unwrap()), 25).await.unwrap();
    assert_eq!((page.rows.len(), page.next.unwrap().as_str()), (1, "b"));
    let target = meta.seen()[0].target.clone();
    assert_eq!(target, format!("/v26.0/1/media?fields=id&limit=25&after=a%3D&appsecret_proof={PROOF}"));
    assert!(!session.get(&request).await.unwrap().to_string().contains("EAAtest"));
}

#[tokio::test]
async fn a_batch_is_one_call_with_an_answer_for_each() {
    let body = json!([
        {"code": 200, "body": r#"{"id":"1","paging":{"next":"https://g.test/?access_token=EAA"}}"#},
        {"code": 400, "body": r#"{"error":{"code":100,"error_subcode":33,"message":"no"}}"#},
        null,
    ]);
    let meta = Meta::start(move |_| answer(200, body.to_string())).await;
    let session = meta.session();
    let requests = [me().fields("id"), Request::new("{}/media", &["1"]).unwrap(), me()];
    let answers = session.batch(&requests).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap(), &json!({"id": "1", "paging": {"next": true}}));
    assert!(answers[1].as_ref().unwrap_err().is_not_visible());
    assert_eq!(answers[2].as_ref().unwrap_err().kind, ErrorKind::Timeout);

    let seen = meta.seen();
    assert_eq!((seen.len(), &seen[0].method, seen[0].target.as_str()), (1, &Method::POST, "/v26.0/"));
    let form = reqwest::Url::parse(&format!("http://x/?{}", seen[0].body)).unwrap();
    let form: HashMap<_, _> = form.query_pairs().into_owned().collect();
    assert_eq!(form["appsecret_proof"], PROOF);
    let entries: Value = serde_json::from_str(&form["batch"]).unwrap();
    assert_eq!(entries[0], json!({"method": "GET", "relative_url": "me?fields=id"}));
    assert_eq!(entries[1], json!({"method": "GET", "relative_url": "1/media"}));

    assert_eq!(session.batch(&vec![me(); 51]).await.unwrap_err().kind, ErrorKind::InvalidRequest);
    assert!(session.batch(&[]).await.unwrap().is_empty());
    assert_eq!(meta.session().batch(&[me()]).await.unwrap_err().kind, ErrorKind::Unavailable, "three answers to one");
}

#[tokio::test]
async fn a_batch_becomes_single_calls_at_instagram() {
    let meta = Meta::start(|_| ok()).await;
    let session = meta.graph().session(Caller { host: Host::Instagram, ..caller() });
    // Spawned, as a server does it: its future is `Send`.
    let answers = tokio::spawn(async move { session.batch(&vec![me(); 6]).await }).await.unwrap().unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(meta.seen().iter().filter(|seen| seen.target.starts_with("/ig/v26.0/me?")).count(), 6);
}

/// Runs another test in a process of its own, since no test may change the environment of all.
fn passes_with(test: &str, environment: &[(&str, &str)]) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", &format!("graph::tests::{test}")]).envs(environment.iter().copied());
    let output = again.output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
    passes_with("the_token_goes_in_one_header_and_nowhere_else", &names.map(|name| (name, "http://127.0.0.1:9")));
}

#[test]
fn bundled_roots_serve_where_the_machine_has_none() {
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")];
    passes_with("the_default_settings_make_a_client", &none);
    passes_with("a_certificate_of_nobody_is_refused", &none);
}

#[test]
fn the_default_settings_make_a_client() {
    assert!(Graph::new(&Settings::default(), Clock::system()).is_ok());
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused() {
    install_crypto_provider();
    // Made for this test, for the name localhost; nothing trusts it.
    let cert = BASE64_STANDARD.decode(include_str!("testdata/self-signed.der.b64").trim()).unwrap();
    let key = BASE64_STANDARD.decode(include_str!("testdata/self-signed.key.b64").trim()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.into());
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.into()], key).unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tls = Arc::new(tls);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket.unwrap());
            if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        }
    });
    let settings = Settings { base_url: base, ..Settings::default() };
    let error = graph(&settings).session(caller()).get(&me()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let causes = format!("{error:?}");
    assert!(causes.contains("InvalidCertificate"), "{causes}");
}

#[test]
fn settings_are_checked() {
    let fine = |url: &str| Settings { base_url: url.to_owned(), ..Settings::default() }.check();
    for url in ["https://graph.facebook.com", "https://proxy.test/meta", "http://127.0.0.1:3007", "http://localhost:1"]
    {
        assert!(fine(url).is_ok(), "{url}");
    }
    for url in ["http://10.0.0.1", "http://[::1]:3007", "http://[fd00::1]", "http://[::ffff:192.168.0.1]"] {
        assert!(fine(url).is_ok(), "{url}");
    }
    for url in ["http://graph.facebook.com", "http://8.8.8.8", "http://[2001:db8::1]", "ftp://127.0.0.1", "graph"] {
        assert!(fine(url).is_err(), "{url}");
    }
    for url in ["https://u:p@graph.facebook.com", "https://graph.facebook.com/?a", "https://graph.facebook.com/#a", ""]
    {
        assert!(fine(url).is_err(), "{url}");
    }
    let others = [
        ("version", Settings { version: "26".to_owned(), ..Settings::default() }),
        ("version", Settings { version: "v26.0/../x".to_owned(), ..Settings::default() }),
        ("timeout", Settings { timeout: Duration::ZERO, ..Settings::default() }),
        ("concurrency", Settings { concurrency: 0, ..Settings::default() }),
    ];
    for (wrong, settings) in others {
        assert!(matches!(settings.check(), Err(StartError::Setting { key, .. }) if key == wrong));
    }
}
