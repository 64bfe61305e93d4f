//! What sealing, a grant and a tool call cost, each beside the bare floor that this machine has in the same run.
//!
//! The floors: AES-256-GCM alone, a hyper server that answers a constant, and that server asked through the same
//! HTTP client. The last lines show each path as a ratio to its floor.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aiviary::crypto::{Bound, Sealer, generate_key};
use aiviary::roles::sandbox;
use aiviary::secret::Secret;
use criterion::{Criterion, criterion_group};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tokio::runtime::Runtime;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Fixture, Roles, sample};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const BOUND: Bound<'static> = ["bench", "facebook", sandbox::IG_ACCOUNT, "", "", ""];

/// A token of the usual length.
fn token() -> Secret {
    Secret::new("EAAB".to_owned() + &"x".repeat(196))
}

fn sealing(c: &mut Criterion) {
    let sealer = Sealer::parse(&generate_key()).unwrap();
    let token = token();
    let sealed = sealer.seal(&token, &BOUND);
    let mut group = c.benchmark_group("seal");
    group.bench_function("floor: AES-256-GCM", |b| {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        b.iter(|| {
            let mut text = token.expose().as_bytes().to_vec();
            let nonce = Nonce::assume_unique_for_key([1; 12]);
            key.seal_in_place_append_tag(nonce, Aad::from([0u8; 120]), &mut text).unwrap();
            black_box(text)
        });
    });
    group.bench_function("seal", |b| b.iter(|| black_box(sealer.seal(&token, &BOUND))));
    group.bench_function("open", |b| b.iter(|| black_box(sealer.open(&sealed, &BOUND).unwrap())));
    group.finish();
}

/// A bare hyper server that answers `body` to everything.
async fn bare(body: &'static [u8]) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = service_fn(move |_: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(body))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn roles() -> Roles {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("bench")).await.status, 201);
    roles
}

async fn get(http: &reqwest::Client, url: &str) -> usize {
    let answer = http.get(url).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.bytes().await.unwrap().len()
}

async fn post(http: &reqwest::Client, url: &str, body: &'static str) -> usize {
    let answer = http.post(url).header("content-type", "application/json").body(body).send().await.unwrap();
    assert!(answer.status().is_success());
    answer.bytes().await.unwrap().len()
}

const PROFILE: &str = r#"{"method":"get_profile","params":{}}"#;

fn sockets(c: &mut Criterion) {
    let runtime = runtime();
    let roles = runtime.block_on(roles());
    let floor = runtime.block_on(bare(br#"{"client_id":"bench","access_token":"EAAB"}"#));
    let http = roles.http.clone();
    let urls = [
        ("floor: bare hyper", format!("http://{floor}/")),
        ("summary", format!("http://{}/api/credentials", roles.internal)),
        ("grant, audited and synced", format!("http://{}/api/credentials/token", roles.internal)),
    ];
    let mut group = c.benchmark_group("grant");
    for (name, url) in &urls {
        group.bench_function(*name, |b| b.to_async(&runtime).iter(|| get(&http, url)));
    }
    group.finish();

    let graph = format!("http://{}/v26.0/me", roles.sandbox);
    let call = format!("http://{}/mcp", roles.instagram);
    let mut group = c.benchmark_group("tool call");
    group.bench_function("floor: bare hyper", |b| b.to_async(&runtime).iter(|| post(&http, &urls[0].1, PROFILE)));
    group.bench_function("floor: local Graph alone", |b| {
        b.to_async(&runtime).iter(|| async {
            let asked = http.get(&graph).bearer_auth(sandbox::TOKEN).send().await.unwrap();
            assert!(asked.status().is_success());
            asked.bytes().await.unwrap().len()
        });
    });
    group.bench_function("get_profile, with its grant and Graph call", |b| {
        b.to_async(&runtime).iter(|| post(&http, &call, PROFILE));
    });
    group.finish();
    runtime.block_on(roles.stop());
}

criterion_group!(benches, sealing, sockets);

/// The median of `runs` timings of `work`.
fn median<T>(runs: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut all: Vec<Duration> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            black_box(work());
            began.elapsed()
        })
        .collect();
    all.sort_unstable();
    all[runs / 2]
}

/// Each path and its floor in turn, so that the machine's speed of the moment counts for both.
fn ratios() {
    let runtime = runtime();
    let roles = runtime.block_on(roles());
    let floor = format!("http://{}/", runtime.block_on(bare(b"{}")));
    let http = roles.http.clone();
    let grant = format!("http://{}/api/credentials/token", roles.internal);
    let call = format!("http://{}/mcp", roles.instagram);
    let time = |url: &str| median(500, || runtime.block_on(get(&http, url)));
    let time_post = |url: &str| median(500, || runtime.block_on(post(&http, url, PROFILE)));
    println!("\nratios to the bare floor of the same run, medians of 500");
    for _ in 0..2 {
        let (bare, granted) = (time(&floor), time(&grant));
        println!("grant / bare hyper: {:.2} ({granted:.1?} / {bare:.1?})", granted.as_secs_f64() / bare.as_secs_f64());
        let (bare, called) = (time_post(&floor), time_post(&call));
        println!(
            "tool call / bare hyper: {:.2} ({called:.1?} / {bare:.1?})",
            called.as_secs_f64() / bare.as_secs_f64()
        );
    }
    runtime.block_on(roles.stop());
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only wants to see that they run.
    if !std::env::args().any(|arg| arg == "--test") {
        ratios();
    }
}
