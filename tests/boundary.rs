//! The edge of connect as bytes: targets, methods, framing, time, the unix socket, and the end of a process.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use aiviary::exposure::{Exposure, Listener};
use aiviary::roles::connect;
use aiviary::roles::connect::audit::WriteLock;
use aiviary::server;
use serde_json::{Value, json};
use support::wire::{RawAnswer, TOKEN_MARK, Wire, ask, assert_dressed, request};
use support::{API_KEY, Fixture, Roles};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

const PATH: &str = "/api/credentials";
const TOKEN_PATH: &str = "/api/credentials/token";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("X-API-Key", API_KEY);
const WRONG: (&str, &str) = ("X-API-Key", "wrong");

fn token() -> String {
    format!("{TOKEN_MARK}EdgeAb9ZyX")
}

fn body() -> String {
    json!({"client_id": "edge", "access_token": token()}).to_string()
}

/// Connect with a credential of client `edge`.
async fn start() -> Roles {
    let roles = Fixture::new().start_connect().await;
    assert_eq!(ask(roles.internal, "POST", PATH, &[KEY, JSON], &body()).await.status(), 201);
    roles
}

/// Sends `bytes` and reads what comes until the server closes.
async fn exchange(roles: &Roles, bytes: impl AsRef<[u8]>) -> Vec<RawAnswer> {
    let mut wire = Wire::open(roles.internal).await;
    wire.send(bytes).await;
    wire.answers().await
}

fn events(roles: &Roles, event: &str) -> usize {
    roles.trail().iter().filter(|line| line["event"] == event).count()
}

/// Lets the server work until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

fn brief(answers: &[RawAnswer]) -> Vec<(u16, String)> {
    answers.iter().map(|answer| (answer.status(), answer.code())).collect()
}

#[tokio::test]
async fn a_target_is_a_path_or_says_what_host_says() {
    let roles = start().await;
    for (name, target, host, status, code) in [
        ("a path", TOKEN_PATH, "localhost", 200, ""),
        ("absolute and equal", "http://localhost/api/credentials/token", "localhost", 200, ""),
        ("absolute, equal but for case", "http://LOCALHOST/api/credentials/token", "localhost", 200, ""),
        ("absolute with the port", "http://localhost:80/api/credentials/token", "localhost:80", 200, ""),
        ("absolute of another host", "http://evil.example/api/credentials/token", "localhost", 400, "bad_request"),
        ("both of another host", "http://evil.example/api/credentials/token", "evil.example", 403, "not_internal"),
        ("another port", "http://localhost:81/api/credentials/token", "localhost:80", 400, "bad_request"),
        ("userinfo", "http://user@localhost/api/credentials/token", "localhost", 400, "bad_request"),
        ("empty userinfo", "http://@localhost/api/credentials/token", "localhost", 400, "bad_request"),
        ("https", "https://localhost/api/credentials/token", "localhost", 400, "bad_request"),
        ("another scheme", "ftp://localhost/api/credentials/token", "localhost", 400, "bad_request"),
        ("an asterisk", "*", "localhost", 400, "bad_request"),
        ("an authority", "localhost:80", "localhost:80", 400, "bad_request"),
        ("a bare word", "localhost", "localhost", 400, "bad_request"),
        ("a path as host", "http:///api/credentials/token", "localhost", 400, ""),
        ("no slash", "api/credentials/token", "localhost", 400, ""),
        ("nothing", "", "localhost", 400, ""),
        ("a space within", "/api/credentials /token", "localhost", 400, ""),
    ] {
        let headers = [("Host", host), ("Connection", "close")];
        let answers = exchange(&roles, request("GET", target, &headers, "")).await;
        assert_eq!(brief(&answers), [(status, code.to_owned())], "{name}");
    }
    let options = exchange(&roles, request("OPTIONS", "*", &[("Connection", "close")], "")).await;
    assert_eq!(brief(&options), [(400, "bad_request".to_owned())]);
    for target in ["localhost:443", "localhost", "*", "/api/credentials", "http://localhost/"] {
        let answers = exchange(&roles, request("CONNECT", target, &[("Connection", "close")], "")).await;
        assert_eq!(answers.len(), 1, "{target}");
        assert!(matches!(answers[0].status(), 400 | 405), "{target}: {answers:?}");
        if answers[0].status() == 405 {
            assert!(answers[0].header("allow").is_some() && answers[0].code() == "method_not_allowed");
        }
    }
    let (name, same) = ("Host", "localhost");
    for (case, lines) in [
        ("no Host", String::new()),
        ("two", format!("{name}: {same}\r\n{name}: {same}\r\n")),
        ("two in two cases", format!("{name}: {same}\r\nhost: evil.example\r\n")),
        ("two in one", format!("{name}: {same},{same}\r\n")),
        ("empty", format!("{name}:\r\n")),
        ("no ASCII", format!("{name}: l\u{f6}calhost\r\n")),
    ] {
        for at in [roles.internal, roles.public] {
            for target in [TOKEN_PATH, "/healthz", "/nothing"] {
                let mut wire = Wire::open(at).await;
                wire.send(format!("GET {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")).await;
                let answers = wire.answers().await;
                assert_eq!(brief(&answers), [(400, "bad_request".to_owned())], "{case} {target}");
                assert_dressed(&answers[0]);
            }
        }
    }
    assert_eq!(events(&roles, "grant"), 4);
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_path_is_compared_byte_for_byte() {
    let roles = start().await;
    for path in [
        "//api/credentials/token",
        "/api//credentials/token",
        "/api/credentials//token",
        "/./api/credentials/token",
        "/api/./credentials/token",
        "/api/x/../credentials/token",
        "/api/credentials/../credentials/token",
        "/api/credentials/%2e%2e/credentials/token",
        "/api/credentials/%74oken",
        "/api/credentials/token%20",
        "/api/credentials/token%00",
        "/api/credentials%2ftoken",
        "/api/credentials%2Ftoken",
        "/api/credentials/token;a",
        "/api/credentials;a/token",
        "/api/credentials/token.json",
        "/api/credentials/token/",
        "/api/credentials/token/.",
        "/api/credentials/token//",
        "/API/credentials/token",
        "/api/Credentials/token",
        "/api/credentials/TOKEN",
        "/api/credentials/",
        "/api/credential",
        "/api/credentials\\token",
        "/api\\credentials/token",
        "/api/credentials/tok\u{e9}n",
        "/",
        "/healthz/",
        "/*",
        "/{}",
    ] {
        for at in [roles.internal, roles.public] {
            for method in ["GET", "POST"] {
                let mut wire = Wire::open(at).await;
                wire.send(request(method, path, &[("Connection", "close")], "")).await;
                let answers = wire.answers().await;
                assert_eq!(answers.len(), 1, "{method} {path}");
                // A backslash is no part of a target: the parser may refuse it before the table is asked.
                let refused = answers[0].status() == 400 && path.contains('\\');
                assert!(refused || answers[0].code() == "not_found", "{method} {path}: {answers:?}");
                assert!(refused || answers[0].status() == 404, "{method} {path}: {answers:?}");
            }
        }
    }
    assert_eq!(events(&roles, "grant"), 0);
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn only_the_method_of_the_request_line_counts() {
    let roles = start().await;
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        for value in ["DELETE", "GET"] {
            let answer = ask(roles.internal, "GET", PATH, &[KEY, (header, value)], "").await;
            assert_eq!((answer.status(), answer.json()["client_id"].clone()), (200, json!("edge")), "{header}");
            let answer = ask(roles.internal, "HEAD", TOKEN_PATH, &[KEY, (header, value)], "").await;
            assert_eq!(answer.status(), 405, "{header}");
        }
    }
    for method in ["HEAD", "OPTIONS", "TRACE", "PATCH", "PUT", "get", "Get", "GETT", "PRI", "FROB"] {
        let answer = ask(roles.internal, method, TOKEN_PATH, &[KEY], "").await;
        assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET")), "{method}");
        assert!(!answer.body.contains(TOKEN_MARK));
    }
    assert_eq!(events(&roles, "grant"), 0);
    assert_eq!(ask(roles.internal, "GET", PATH, &[], "").await.status(), 200, "nothing was removed");
    roles.finish(&[&token()]).await;
}

/// One request with doubtful framing and, behind it, one that would remove the credential.
#[tokio::test]
async fn no_framing_hides_a_second_request() {
    let roles = start().await;
    let hidden = String::from_utf8(request("DELETE", "/api/credentials?client_id=edge", &[KEY], "")).unwrap();
    let length = hidden.len();
    let half = length / 2;
    let post = |framing: &str, body: &str| {
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\nContent-Type: application/json\r\n{framing}\r\n{body}"
        )
    };
    let get = |framing: &str, body: &str| format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{body}");
    let chunks_then = format!("0\r\n\r\n{hidden}");
    let json = body();
    let chunked_json = format!("{:x}\r\n{json}\r\n0\r\n\r\n{hidden}", json.len());
    let both = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunked_json.len());
    let one = |framing: &str| (post(framing, &chunks_then), get(framing, &chunks_then));
    let mut cases = Vec::new();
    for (name, framing) in [
        ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("chunks and no length", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
        ("chunked in two headers", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("gzip and chunked in two headers", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked and identity in two headers", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("xchunked", "Transfer-Encoding: xchunked\r\n"),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n"),
        ("a parameter", "Transfer-Encoding: chunked;a=b\r\n"),
        ("an empty coding", "Transfer-Encoding:\r\n"),
        ("a comma behind", "Transfer-Encoding: chunked,\r\n"),
        ("a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("a folded line", "Transfer-Encoding:\r\n chunked\r\n"),
        ("a folded line of another header", "X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("a header without a name", ": chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("two lengths", "Content-Length: 0\r\nContent-Length: 5\r\n"),
        ("a list of lengths", "Content-Length: 0, 5\r\n"),
        ("a signed length", "Content-Length: +5\r\n"),
        ("a negative length", "Content-Length: -5\r\n"),
        ("a hex length", "Content-Length: 0x5\r\n"),
        ("a length of spaces", "Content-Length: 5 5\r\n"),
        ("an empty length", "Content-Length:\r\n"),
        ("a space before a length's colon", "Content-Length : 5\r\n"),
        ("a bare return", "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5, 6\r\n"),
        ("a NUL", "X: y\u{0}z\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        let (post, get) = one(framing);
        cases.push((format!("{name}, POST"), post));
        cases.push((format!("{name}, GET"), get));
    }
    for (name, framing) in [
        ("whole length around", format!("Connection: close\r\nContent-Length: {}\r\n", length + 5)),
        ("length into the hidden one", format!("Content-Length: {half}\r\nContent-Length: {length}\r\n")),
    ] {
        cases.push((format!("{name}, POST"), post(&framing, &chunks_then)));
    }
    cases.push(("chunks within a length, POST".to_owned(), post(&both, &chunked_json)));
    cases.push((
        "chunks in 1.0".to_owned(),
        one("Transfer-Encoding: chunked\r\n")
            .0
            .replace("HTTP/1.1\r\nHost: localhost\r\nX", "HTTP/1.0\r\nHost: localhost\r\nX"),
    ));
    for (name, size) in [
        ("a chunk size with a sign", "+0"),
        ("a chunk size in 0x", "0x0"),
        ("an endless chunk size", "fffffffffffffffff"),
        ("a chunk size of letters", "zz"),
        ("no chunk size", ""),
    ] {
        let body = format!("{size}\r\n\r\n{hidden}");
        cases.push((format!("{name}, POST"), post("Transfer-Encoding: chunked\r\n", &body)));
    }
    cases.push((
        "a chunk without its end".to_owned(),
        post("Transfer-Encoding: chunked\r\n", &format!("2\r\n{{}}{hidden}")),
    ));
    cases.push((
        "a trailer".to_owned(),
        post("Transfer-Encoding: chunked\r\n", &format!("2\r\n{{}}\r\n0\r\nX-API-Key: x\r\n\r\n{hidden}")),
    ));

    for (name, bytes) in cases {
        let mut wire = Wire::open(roles.internal).await;
        wire.send(&bytes).await;
        // The server closes by itself: were it to go on, this would wait in vain for its end.
        let answers = wire.answers().await;
        assert_eq!(answers.len(), 1, "{name}: {answers:?}");
        assert!(!answers[0].body.contains("removed"), "{name}: {answers:?}");
        assert!(answers[0].closes(), "{name}: {answers:?}");
        // Beside chunks a length does not count (RFC 9112, 6.3): that is one request, and the last.
        let expected = match &*name {
            "length and chunks, GET" | "chunks and length, GET" | "chunks and no length, GET" => 200,
            "chunks within a length, POST" => 200,
            "a trailer" => 422,
            _ => 400,
        };
        assert_eq!(answers[0].status(), expected, "{name}: {answers:?}");
    }
    assert_eq!(events(&roles, "remove"), 0);
    assert_eq!(ask(roles.internal, "GET", PATH, &[], "").await.status(), 200, "it is still stored");
    let metrics = ask(roles.internal, "GET", "/metrics", &[], "").await.body;
    assert!(!metrics.contains("route=\"/api/credentials\",status=\"404\""), "{metrics}");
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_body_of_a_get_is_never_the_next_request() {
    let roles = start().await;
    let hidden = String::from_utf8(request("DELETE", "/api/credentials?client_id=edge", &[KEY], "")).unwrap();
    for target in [PATH, TOKEN_PATH, "/healthz", "/readyz", "/nothing"] {
        let last = request("GET", "/healthz", &[("Connection", "close")], "");
        let mut bytes = request("GET", target, &[], &hidden);
        bytes.extend_from_slice(&last);
        let answers = exchange(&roles, bytes).await;
        // Either it closes, or it skips the body and answers what follows.
        assert!((1..=2).contains(&answers.len()), "{target}: {answers:?}");
        assert!(answers.get(1).is_none_or(|answer| answer.body == r#"{"ok":true}"#), "{target}: {answers:?}");
    }
    assert_eq!(events(&roles, "remove"), 0);
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn the_key_is_checked_before_a_byte_of_the_body_is_read() {
    let roles = start().await;
    let announced = ("Content-Length", "65536");
    let expect = ("Expect", "100-continue");
    for at in [roles.internal, roles.public] {
        for (name, headers, status) in [
            ("no key", vec![JSON, announced], 401),
            ("a wrong key", vec![WRONG, JSON, announced], 401),
            ("a wrong key that asks first", vec![WRONG, JSON, announced, expect], 401),
            ("a wrong key in chunks", vec![WRONG, JSON, ("Transfer-Encoding", "chunked")], 401),
            ("no JSON", vec![KEY, announced], 415),
            ("no JSON that asks first", vec![KEY, announced, expect], 415),
            ("too long", vec![KEY, JSON, ("Content-Length", "65537"), expect], 413),
        ] {
            // Nothing of the body is ever sent, and the answer comes all the same.
            let began = Instant::now();
            let mut wire = Wire::open(at).await;
            wire.send(request("POST", PATH, &headers, "")).await;
            let answers = wire.answers().await;
            assert_eq!(answers.len(), 1, "{name}: {answers:?}");
            assert_eq!(answers[0].status(), status, "{name}");
            assert!(answers[0].closes(), "{name}: {answers:?}");
            assert_dressed(&answers[0]);
            assert!(began.elapsed() < Duration::from_secs(5), "{name} took {:?}", began.elapsed());
        }
    }
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn an_error_before_the_body_was_read_closes_and_hides_what_follows() {
    let roles = start().await;
    let behind = String::from_utf8(request("DELETE", "/api/credentials?client_id=edge", &[KEY], "")).unwrap();
    for (name, method, target, headers, status) in [
        ("401", "POST", PATH, vec![WRONG, JSON], 401),
        ("415", "POST", PATH, vec![KEY], 415),
        ("400 of the query", "POST", "/api/credentials?x=1", vec![KEY, JSON], 400),
        ("400 of the host", "POST", PATH, vec![KEY, JSON, ("Host", "")], 400),
        ("404", "POST", "/nothing", vec![KEY, JSON], 404),
        ("405", "PUT", PATH, vec![KEY, JSON], 405),
        ("403", "GET", TOKEN_PATH, vec![("Via", "x")], 403),
        ("413", "POST", PATH, vec![KEY, JSON, ("Content-Length", "100000")], 413),
    ] {
        let mut bytes = request(method, target, &headers, "{}");
        bytes.extend_from_slice(behind.as_bytes());
        let answers = exchange(&roles, bytes).await;
        assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [status], "{name}");
        assert!(answers[0].closes(), "{name}: {answers:?}");
    }
    assert_eq!(events(&roles, "remove"), 0);
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_connection_is_kept_after_every_answer_that_read_its_request() {
    let roles = start().await;
    let mut wire = Wire::open(roles.internal).await;
    for (name, bytes, status) in [
        ("a grant", request("GET", TOKEN_PATH, &[], ""), 200),
        ("a save", request("POST", PATH, &[KEY, JSON], &body()), 200),
        ("an error of the body", request("POST", PATH, &[KEY, JSON], "{}"), 422),
        ("no JSON", request("POST", PATH, &[KEY, JSON], "{"), 400),
        ("a missing path", request("GET", "/nothing", &[], ""), 404),
        ("a missing client", request("GET", "/api/credentials?client_id=no", &[], ""), 404),
        ("a wrong method", request("PUT", PATH, &[], ""), 405),
        ("a HEAD", request("DELETE", "/healthz", &[], ""), 405),
        ("a proxy", request("GET", PATH, &[("Via", "x")], ""), 403),
        ("a wrong key", request("DELETE", PATH, &[WRONG], ""), 401),
        ("a bad query", request("GET", "/readyz?x", &[], ""), 400),
        ("another grant", request("GET", TOKEN_PATH, &[], ""), 200),
    ] {
        wire.send(bytes).await;
        let answer = wire.answer().await.unwrap_or_else(|| panic!("{name}: closed"));
        assert_eq!((answer.status(), answer.closes()), (status, false), "{name}: {answer:?}");
        assert_dressed(&answer);
    }
    // Two at once are answered in order.
    let mut two = request("GET", "/healthz", &[], "");
    two.extend(request("GET", TOKEN_PATH, &[], ""));
    wire.send(two).await;
    assert_eq!(wire.answer().await.unwrap().body, r#"{"ok":true}"#);
    assert_eq!(wire.answer().await.unwrap().json()["access_token"], token());
    // A chunked request is served, and is the last.
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", body().len(), body());
    wire.send(request("POST", PATH, &[KEY, JSON, ("Transfer-Encoding", "Chunked")], &chunked)).await;
    let answers = wire.answers().await;
    assert_eq!(brief(&answers), [(200, String::new())]);
    assert!(answers[0].closes());
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_head_has_bounds() {
    let roles = start().await;
    let large = "x".repeat(17 << 10);
    let answers = exchange(&roles, request("GET", TOKEN_PATH, &[("X", &large)], "")).await;
    assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [431], "a long header");
    let answers = exchange(&roles, request("GET", &format!("/{large}"), &[], "")).await;
    assert_eq!(answers.len(), 1, "a long target");
    assert!(matches!(answers[0].status(), 414 | 431), "{answers:?}");
    let many: Vec<(&str, &str)> = (0..101).map(|_| ("X", "y")).collect();
    let answers = exchange(&roles, request("GET", TOKEN_PATH, &many, "")).await;
    assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [431], "many headers");
    for (name, bytes) in [
        ("another protocol", &b"SSH-2.0-OpenSSH_9\r\n\r\n"[..]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/0.9", b"GET /api/credentials/token\r\n\r\n"),
        ("HTTP/1.2", b"GET /api/credentials/token HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        ("lower case", b"GET /api/credentials/token http/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let answers = exchange(&roles, bytes).await;
        assert!(answers.len() <= 1, "{name}: {answers:?}");
        assert!(answers.iter().all(|answer| (400..600).contains(&answer.status())), "{name}: {answers:?}");
    }
    let mut wire = Wire::open(roles.internal).await;
    let upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQ")];
    wire.send(request("GET", "/healthz", &upgrade, "")).await;
    assert_eq!(wire.answer().await.unwrap().status(), 200, "no upgrade is made");
    assert_eq!(events(&roles, "grant"), 0);
    roles.finish(&[&token()]).await;
}

/// The one test that waits: the limits of a public listener are ten seconds, and all cases wait at once.
#[tokio::test]
async fn a_slow_head_a_slow_body_and_a_slow_request_end_in_time() {
    let roles = start().await;
    let began = Instant::now();
    let in_time = |name: &str, from: u64| {
        let took = began.elapsed();
        let (least, most) = (Duration::from_secs(from) - Duration::from_millis(200), Duration::from_secs(from + 6));
        assert!((least..most).contains(&took), "{name} took {took:?}");
    };
    let slow_head = async {
        let mut wire = Wire::open(roles.public).await;
        wire.send("GET /healthz HTTP/1.1\r\nHost: local").await;
        let answers = wire.answers().await;
        assert!(answers.iter().all(|answer| answer.status() == 408), "{answers:?}");
        in_time("a head", 10);
    };
    let idle = async {
        let mut wire = Wire::open(roles.public).await;
        wire.send(request("GET", "/healthz", &[], "")).await;
        assert_eq!(wire.answer().await.unwrap().status(), 200);
        assert_eq!(wire.answers().await, [], "an idle connection is closed without a word");
        in_time("an idle connection", 10);
    };
    let dripping = async {
        let mut wire = Wire::open(roles.public).await;
        wire.send(request("POST", PATH, &[KEY, JSON, ("Content-Length", "1000")], "")).await;
        wire.send("{").await;
        let answers = wire.answers().await;
        assert_eq!(brief(&answers), [(408, "request_timeout".to_owned())]);
        assert!(answers[0].closes());
        assert_dressed(&answers[0]);
        in_time("a body", 10);
    };
    let cut = async {
        let mut stream = TcpStream::connect(roles.public).await.unwrap();
        let half = request("POST", PATH, &[KEY, JSON, ("Content-Length", "1000")], "{");
        stream.write_all(&half).await.unwrap();
        drop(stream);
    };
    // As a command on the store that takes long would: what writes waits for it.
    let held = WriteLock::of(&"stuck".parse().unwrap(), &roles.path("audit.jsonl")).await.unwrap();
    let stuck_body = body().replace("edge", "stuck");
    let stuck = async {
        let answer = ask(roles.internal, "POST", PATH, &[KEY, JSON], &stuck_body).await;
        assert_eq!((answer.status(), answer.code().as_str()), (503, "busy"));
        in_time("a request", 5);
    };
    tokio::join!(slow_head, idle, dripping, cut, stuck);
    assert_eq!(ask(roles.internal, "GET", "/api/credentials/token?client_id=edge", &[], "").await.status(), 200);
    assert_eq!(events(&roles, "save"), 1, "half a body stores nothing, and nothing is stored without the lock");
    drop(held);
    let again = ask(roles.internal, "POST", PATH, &[KEY, JSON], &stuck_body).await;
    assert_eq!(again.status(), 201, "what was refused did not go on behind its caller's back");
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_running_request_is_finished_at_stop_and_new_ones_are_not_taken() {
    let roles = start().await;
    let mut running = Wire::open(roles.internal).await;
    let second = json!({"client_id": "late", "access_token": token()}).to_string();
    let length = second.len().to_string();
    let headers = [KEY, JSON, ("Content-Length", &*length), ("Expect", "100-continue")];
    running.send(request("POST", PATH, &headers, "")).await;
    assert_eq!(running.answer().await.unwrap().status(), 100, "it is at work");
    let mut idle = Wire::open(roles.internal).await;
    idle.send(request("GET", "/healthz", &[], "")).await;
    assert_eq!(idle.answer().await.unwrap().status(), 200);

    roles.stop_signal().cancel();
    assert_eq!(idle.answers().await, [], "an idle connection is closed");
    // The listeners are gone once the idle ones are closed: that is the order of the draining.
    assert!(TcpStream::connect(roles.internal).await.is_err() && TcpStream::connect(roles.public).await.is_err());
    running.send(&second).await;
    let answers = running.answers().await;
    assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [201], "{answers:?}");
    let folder = roles.folder.clone();
    roles.finish(&[&token()]).await;

    let again = Fixture::on(&folder).start_connect().await;
    assert_eq!(ask(again.internal, "GET", "/api/credentials?client_id=late", &[], "").await.status(), 200);
    let events: Vec<Value> = again.trail().iter().map(|line| line["event"].clone()).collect();
    let expected = ["open", "save", "save_confirmed", "save", "save_confirmed", "stop", "open"];
    assert_eq!(events, expected, "the trail is closed after the last request");
    again.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_undo_its_save() {
    let roles = start().await;
    // The store takes no write until this transaction ends.
    let db = rusqlite::Connection::open(roles.path("aiviary.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut wire = Wire::open(roles.internal).await;
    wire.send(request("POST", PATH, &[KEY, JSON], &body().replace("edge", "left"))).await;
    let trail = || std::fs::read_to_string(roles.path("audit.jsonl")).unwrap();
    until("the save is at work", || trail().contains(r#""event":"save","client_id":"left""#)).await;
    drop(wire);
    let ended = format!("the connection ended badly listener=\"{}\"", roles.internal);
    until("the caller's end is seen", || support::logs().text().contains(&ended)).await;
    db.execute_batch("COMMIT").unwrap();
    let grant = ask(roles.internal, "GET", "/api/credentials/token?client_id=left", &[], "").await;
    assert_eq!(grant.json()["access_token"], token(), "a grant waits for the save before it");
    roles.finish(&[&token()]).await;
}

#[tokio::test]
async fn a_unix_socket_is_internal_takes_any_host_and_tells_who_called() {
    let fixture = Fixture::new();
    let path = fixture.path("connect.sock");
    let at = format!("unix:{}", path.display()).parse().unwrap();
    let key = "connect.internal[0]".to_owned();
    let listeners = vec![Listener { at, exposure: Exposure::Internal, key }];
    let settings = connect::Settings { listeners, ..fixture.connect_settings() };
    let running = connect::start(settings).await.unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(running.serve(stop.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);

    for (name, bytes, status) in [
        ("a save", request("POST", PATH, &[KEY, JSON, ("Connection", "close")], &body()), 201),
        ("a wrong key", request("POST", PATH, &[WRONG, JSON, ("Connection", "close")], &body()), 401),
        ("any host", request("GET", TOKEN_PATH, &[("Host", "anything.example"), ("Connection", "close")], ""), 200),
        ("no host", b"GET /api/credentials/token HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(), 200),
        ("a proxy", request("GET", TOKEN_PATH, &[("Via", "x"), ("Connection", "close")], ""), 403),
        ("a page", request("GET", TOKEN_PATH, &[("Origin", "null"), ("Connection", "close")], ""), 403),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(support::status(&answer), status, "{name}: {answer}");
    }
    let uid = nix::unistd::getuid();
    let trail = std::fs::read_to_string(fixture.path("audit.jsonl")).unwrap();
    let grants: Vec<&str> = trail.lines().filter(|line| line.contains(r#""event":"grant""#)).collect();
    assert_eq!(grants.len(), 2);
    assert!(grants.iter().all(|line| line.contains(&format!("uid={uid} pid={}", std::process::id()))), "{grants:?}");

    // A live socket is not taken over.
    let at = format!("unix:{}", path.display()).parse().unwrap();
    let listeners = vec![Listener { at, exposure: Exposure::Internal, key: "connect.internal[0]".to_owned() }];
    let second = Fixture::new();
    let refused = connect::start(connect::Settings { listeners, ..second.connect_settings() }).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("connect.internal[0]")));
    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(!path.exists(), "the socket goes with its listener");
    support::assert_no_token(fixture.folder.path(), &token());
}

#[tokio::test]
async fn a_burst_of_callers_waits_to_be_accepted() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    if most.trim().parse().is_ok_and(|most: usize| most < 600) {
        support::skipped::skipped(&format!("this system lets {} connections wait", most.trim()));
        return;
    }
    let listener = Listener {
        at: "127.0.0.1:0".parse().unwrap(),
        exposure: Exposure::Internal,
        key: "connect.internal[0]".to_owned(),
    };
    let listening = server::bind(&[listener], &[]).await.unwrap();
    let at = listening.addresses()[0];
    let come = || std::net::TcpStream::connect_timeout(&at, Duration::from_millis(900));
    let came: Vec<_> = (0..500).map_while(|_| come().ok()).collect();
    assert_eq!(came.len(), 500, "nobody has accepted one yet");
}
