//! What connect promises its callers, over real sockets: each error, each rule of saving, each grant and its line.

mod support;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::time::{Duration, Instant};

use aiviary::clock::Clock;
use aiviary::exposure::Peer;
use aiviary::roles::connect::audit::WriteLock;
use aiviary::roles::{StartError, connect};
use aiviary::server::Caller;
use aiviary::store::Mode;
use futures_util::future::join_all;
use ring::hmac;
use serde_json::{Value, json};
use support::wire::{RawAnswer, Wire, ask, request};
use support::{API_KEY, ENCRYPTION_KEY, Fixture, Roles, logs};

const PATH: &str = "/api/credentials";
const TOKEN_PATH: &str = "/api/credentials/token";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("X-API-Key", API_KEY);
const NOW: &str = "2026-11-23T09:00:00Z";

async fn start() -> Roles {
    Fixture::new().start_connect().await
}

/// Roles whose clock stands at [`NOW`] until it is moved.
async fn start_at_noon() -> Roles {
    Fixture { clock: Clock::fixed(NOW.parse().unwrap()), ..Fixture::new() }.start_connect().await
}

fn token(name: &str) -> String {
    format!("{}{name}Ab9ZyX", support::wire::TOKEN_MARK)
}

fn whole(client: &str, token: &str) -> Value {
    json!({
        "client_id": client,
        "access_token": token,
        "instagram_business_account_id": "17841400000000001",
        "facebook_page_id": "108154000000001",
        "ad_account_id": "act_123456",
        "meta_user_id": "12345678",
        "token_expires_at": "2099-01-01T00:00:00Z",
        "scopes": ["instagram_basic"],
    })
}

async fn post(roles: &Roles, body: impl ToString) -> RawAnswer {
    ask(roles.internal, "POST", PATH, &[KEY, JSON], &body.to_string()).await
}

async fn delete(roles: &Roles, client: &str) -> RawAnswer {
    ask(roles.internal, "DELETE", &format!("{PATH}?client_id={client}"), &[KEY], "").await
}

async fn get(roles: &Roles, target: &str) -> RawAnswer {
    ask(roles.internal, "GET", target, &[], "").await
}

async fn summary(roles: &Roles, client: &str) -> RawAnswer {
    get(roles, &format!("{PATH}?client_id={client}")).await
}

async fn grant(roles: &Roles, client: &str) -> RawAnswer {
    get(roles, &format!("{TOKEN_PATH}?client_id={client}")).await
}

#[track_caller]
fn assert_error(name: &str, answer: &RawAnswer, status: u16, code: &str) {
    assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{name}: {answer:?}");
    let body = answer.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{name}: {body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{name}: {body}");
}

/// The value of the one sample whose name fits and which has all of `labels`.
fn sample(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let fits = |line: &&str| {
        let rest = line.strip_prefix(name)?;
        (rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))).then_some(())
    };
    let found: Vec<&str> = metrics.lines().filter(|line| fits(line).is_some()).collect();
    assert!(found.len() < 2, "{name} {labels:?} is not one sample: {found:?}");
    found.first().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

// ---- errors ----

#[tokio::test]
async fn each_refusal_of_the_table_has_its_status_and_code() {
    let roles = start().await;
    post(&roles, whole("table", &token("Table"))).await;
    let body = whole("table", &token("Other")).to_string();
    let text = ("Content-Type", "text/plain");
    let bad_key = ("X-API-Key", "wrong");
    for (name, method, target, headers, body, status, code) in [
        ("an unknown path", "GET", "/nothing", &[][..], "", 404, "not_found"),
        ("an unknown path with a key", "POST", "/api", &[KEY, JSON], &body[..], 404, "not_found"),
        ("an unknown client", "GET", "/api/credentials?client_id=nobody", &[], "", 404, "not_found"),
        ("an unknown client's token", "GET", "/api/credentials/token?client_id=nobody", &[], "", 404, "not_found"),
        ("removal of nothing", "DELETE", "/api/credentials?client_id=nobody", &[KEY], "", 404, "not_found"),
        ("a method that the path lacks", "PUT", PATH, &[KEY, JSON], &body, 405, "method_not_allowed"),
        ("a post of the token", "POST", TOKEN_PATH, &[KEY, JSON], &body, 405, "method_not_allowed"),
        ("an unknown query name", "GET", "/api/credentials?client=table", &[], "", 400, "invalid_query"),
        (
            "a repeated query name",
            "GET",
            "/api/credentials?client_id=table&client_id=table",
            &[],
            "",
            400,
            "invalid_query",
        ),
        ("a token in the query", "GET", "/api/credentials/token?access_token=x", &[], "", 400, "invalid_query"),
        ("a client outside the grammar", "GET", "/api/credentials?client_id=a%20b", &[], "", 400, "invalid_query"),
        ("a client that is two dots", "GET", "/api/credentials?client_id=..", &[], "", 400, "invalid_query"),
        ("an empty client", "GET", "/api/credentials?client_id=", &[], "", 400, "invalid_query"),
        ("a client without a value", "DELETE", "/api/credentials?client_id", &[KEY], "", 400, "invalid_query"),
        ("a client that is no UTF-8", "GET", "/api/credentials?client_id=%ff", &[], "", 400, "invalid_query"),
        ("an encoded name of a query", "GET", "/api/credentials?%63lient_id=table", &[], "", 400, "invalid_query"),
        ("an empty pair", "GET", "/api/credentials?client_id=table&", &[], "", 400, "invalid_query"),
        (
            "a query where none is taken",
            "POST",
            "/api/credentials?client_id=table",
            &[KEY, JSON],
            &body,
            400,
            "invalid_query",
        ),
        ("a query of healthz", "GET", "/healthz?x", &[], "", 400, "invalid_query"),
        ("no key", "POST", PATH, &[JSON], &body, 401, "unauthorized"),
        ("a wrong key", "POST", PATH, &[bad_key, JSON], &body, 401, "unauthorized"),
        ("the key twice", "POST", PATH, &[KEY, KEY, JSON], &body, 401, "unauthorized"),
        ("no key to remove", "DELETE", "/api/credentials?client_id=table", &[], "", 401, "unauthorized"),
        ("no content type", "POST", PATH, &[KEY], &body, 415, "unsupported_media_type"),
        ("a web form's content type", "POST", PATH, &[KEY, text], &body, 415, "unsupported_media_type"),
        (
            "a content type that begins as ours",
            "POST",
            PATH,
            &[KEY, ("Content-Type", "application/jsonx")],
            &body,
            415,
            "unsupported_media_type",
        ),
        ("no body", "POST", PATH, &[KEY, JSON], "", 400, "invalid_json"),
        ("the key is asked before the query", "DELETE", "/api/credentials?x=1", &[bad_key], "", 401, "unauthorized"),
        ("the key is asked before the type", "POST", PATH, &[bad_key, text], &body, 401, "unauthorized"),
        ("the path is asked before the proxy", "GET", "/nothing", &[("Via", "x")], "", 404, "not_found"),
        ("the method is asked before the proxy", "PUT", TOKEN_PATH, &[("Via", "x")], "", 405, "method_not_allowed"),
        (
            "the proxy is asked before the query",
            "GET",
            "/api/credentials?x=1",
            &[("Via", "x")],
            "",
            403,
            "not_internal",
        ),
    ] {
        let answer = ask(roles.internal, method, target, headers, body).await;
        assert_error(name, &answer, status, code);
        assert_eq!(answer.header("allow").is_some(), status == 405, "{name}: {answer:?}");
    }
    assert_eq!(grant(&roles, "table").await.json()["access_token"], token("Table"), "none of them changed anything");
    roles.finish(&[&token("Table"), &token("Other")]).await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let roles = start().await;
    for (name, at, method, target, allow) in [
        ("internal", roles.internal, "PUT", PATH, "POST, DELETE, GET"),
        ("public", roles.public, "GET", PATH, "POST, DELETE"),
        ("token", roles.internal, "DELETE", TOKEN_PATH, "GET"),
        ("HEAD would be a grant", roles.internal, "HEAD", TOKEN_PATH, "GET"),
        ("HEAD of the summary", roles.internal, "HEAD", PATH, "POST, DELETE, GET"),
        ("a preflight", roles.internal, "OPTIONS", PATH, "POST, DELETE, GET"),
        ("lower case is another method", roles.internal, "get", TOKEN_PATH, "GET"),
        ("health", roles.public, "POST", "/healthz", "GET"),
        ("metrics", roles.internal, "POST", "/metrics", "GET"),
    ] {
        let answer = ask(at, method, target, &[KEY], "").await;
        assert_eq!((answer.status(), answer.header("allow")), (405, Some(allow)), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_missing_a_wrong_and_a_doubled_key_cannot_be_told_apart() {
    let long = "x".repeat(5000);
    let with_service_key = Fixture { service_key: Some("service-key-0123456789".to_owned()), ..Fixture::new() };
    let roles = with_service_key.start_connect().await;
    let prefix = &API_KEY[..API_KEY.len() - 1];
    let mut seen = Vec::new();
    for headers in [
        &[JSON][..],
        &[JSON, ("X-API-Key", "")],
        &[JSON, ("X-API-Key", "wrong")],
        &[JSON, ("X-API-Key", prefix)],
        &[JSON, ("X-API-Key", &long)],
        &[JSON, KEY, KEY],
        &[JSON, ("Authorization", API_KEY)],
    ] {
        let answer = ask(roles.internal, "POST", PATH, headers, "{}").await;
        assert_error(&format!("{headers:?}"), &answer, 401, "unauthorized");
        seen.push(answer.without_date());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");

    let right = ("Authorization", "Bearer service-key-0123456789");
    let mut seen = Vec::new();
    for headers in [
        &[][..],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "service-key-0123456789")],
        &[("Authorization", "Basic service-key-0123456789")],
        &[right, right],
        &[KEY],
    ] {
        let answer = ask(roles.internal, "GET", TOKEN_PATH, headers, "").await;
        assert_error(&format!("{headers:?}"), &answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        seen.push(answer.without_date());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn proxies_pages_and_other_hosts_get_nothing_from_an_internal_route() {
    let roles = start().await;
    post(&roles, whole("inside", &token("Inside"))).await;
    let mut cases: Vec<(&str, &str, u16)> = [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "CF-Connecting-IP",
        "True-Client-IP",
    ]
    .map(|name| (name, "", 403))
    .to_vec();
    cases.extend([
        ("Origin", "null", 403),
        ("Origin", "http://localhost", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-origin", 403),
        ("Sec-Fetch-Site", "none", 200),
        ("Sec-Fetch-Mode", "cors", 200),
        ("Host", "evil.example", 403),
        ("Host", "localhost.evil.example", 403),
        ("Host", "localhost.", 403),
        ("Host", "127.1", 403),
        ("Host", "0x7f.1", 403),
        ("Host", "2130706433", 403),
        ("Host", "[::ffff:127.0.0.2]", 403),
        ("Host", "10.0.0.1", 403),
        ("Host", "LocalHost:1", 200),
        ("Host", "aiviary-connect:3006", 200),
        ("Host", "127.0.0.1:9", 200),
        ("Host", "[::1]:9", 200),
        ("Host", "", 400),
        ("Host", "user@localhost", 400),
        ("Host", "localhost:80a", 400),
        ("Host", "localhost, localhost", 400),
        ("Host", "localhost/", 400),
    ]);
    for target in [PATH, TOKEN_PATH, "/readyz", "/metrics"] {
        for (name, value, status) in &cases {
            let answer = ask(roles.internal, "GET", target, &[(name, value)], "").await;
            let code = match status {
                403 => "not_internal",
                400 => "bad_request",
                _ => "",
            };
            assert_eq!(
                (answer.status(), answer.code().as_str()),
                (*status, code),
                "{target} {name}: {value}: {answer:?}"
            );
        }
    }
    // What is public asks neither: its proxy adds such headers to every request.
    let headers = [KEY, JSON, ("X-Forwarded-For", "203.0.113.9"), ("Host", "broker.example"), ("Via", "1.1 proxy")];
    let body = whole("inside", &token("Inside")).to_string();
    assert_eq!(ask(roles.public, "POST", PATH, &headers, &body).await.status(), 200);

    // A line of each kind, none of them with what the header held, and a grant for each 200 of the token only.
    let trail = roles.trail();
    for reason in ["forwarded", "host", "browser"] {
        assert!(trail.iter().any(|line| line["event"] == "refuse" && line["reason"] == reason), "{reason}: {trail:?}");
    }
    assert_eq!(trail.iter().filter(|line| line["event"] == "grant").count(), 6);
    assert!(!fs::read_to_string(roles.path("audit.jsonl")).unwrap().contains("evil"));
    roles.finish(&[&token("Inside")]).await;
}

#[tokio::test]
async fn http_1_0_reads_no_credential() {
    let roles = start().await;
    post(&roles, whole("old", &token("Old"))).await;
    for (target, status, code) in
        [(PATH, 403, "not_internal"), (TOKEN_PATH, 403, "not_internal"), ("/readyz", 200, ""), ("/healthz", 200, "")]
    {
        let mut wire = Wire::open(roles.internal).await;
        wire.send(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await;
        let answers = wire.answers().await;
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!((answers[0].status(), answers[0].code().as_str()), (status, code), "{target}");
    }
    roles.finish(&[&token("Old")]).await;
}

#[tokio::test]
async fn a_public_listener_hides_every_internal_route() {
    let roles = start().await;
    post(&roles, whole("hidden", &token("Hidden"))).await;
    let internal = [TOKEN_PATH, "/api/credentials/token?client_id=hidden", "/readyz", "/metrics"];
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "FROB"] {
        for headers in [&[][..], &[KEY, JSON], &[("Via", "x")], &[("Host", "evil.example")], &[("Origin", "null")]] {
            for body in ["", "{}"] {
                let unknown = ask(roles.public, method, "/api/credentials/nothing", headers, body).await;
                assert_eq!(unknown.status(), 404);
                for target in internal {
                    let answer = ask(roles.public, method, target, headers, body).await;
                    assert_eq!(answer.without_date(), unknown.without_date(), "{method} {target} {headers:?}");
                }
            }
        }
    }
    assert_eq!(ask(roles.public, "GET", "/healthz", &[], "").await.body, r#"{"ok":true}"#);
    let trail = roles.trail();
    assert!(!trail.iter().any(|line| line["event"] == "grant"), "{trail:?}");
    roles.finish(&[&token("Hidden")]).await;
}

#[tokio::test]
async fn a_body_may_have_64_kib_and_no_byte_more() {
    let roles = start().await;
    let mut body = whole("large", &token("Large")).to_string();
    body.push_str(&" ".repeat((64 << 10) - body.len()));
    assert_eq!(post(&roles, &body).await.status(), 201);
    body.push(' ');
    assert_error("one byte more", &post(&roles, &body).await, 413, "too_large");
    for (name, length) in [("announced only", "65537"), ("announced in exabytes", "9223372036854775807")] {
        let headers = [KEY, JSON, ("Content-Length", length)];
        assert_error(name, &ask(roles.internal, "POST", PATH, &headers, "").await, 413, "too_large");
    }
    let chunked = format!("10001\r\n{}\r\n0\r\n\r\n", &body[..0x1_0001]);
    let headers = [KEY, JSON, ("Transfer-Encoding", "chunked")];
    assert_error("in chunks", &ask(roles.internal, "POST", PATH, &headers, &chunked).await, 413, "too_large");

    // A client that sends all of a megabyte before it looks still learns why it was refused.
    let answer = roles.post_raw(roles.internal, Some(API_KEY), "x".repeat(1 << 20)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    roles.finish(&[&token("Large")]).await;
}

#[tokio::test]
async fn wrong_keys_are_slowed_and_the_right_one_never() {
    let roles = start().await;
    let body = whole("broker", &token("Broker")).to_string();
    let mut statuses = BTreeMap::new();
    for number in 0..60 {
        let key = format!("guess-{number}");
        let answer = ask(roles.public, "POST", PATH, &[("X-API-Key", &key), JSON], &body).await;
        if answer.status() == 429 {
            assert_error("too many", &answer, 429, "too_many_failures");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=6).contains(&wait), "{wait}");
        } else {
            assert_error("a wrong key", &answer, 401, "unauthorized");
        }
        *statuses.entry(answer.status()).or_insert(0) += 1;
    }
    assert!(statuses[&401] >= 20 && statuses[&429] >= 30, "{statuses:?}");
    assert_eq!(ask(roles.public, "POST", PATH, &[KEY, JSON], &body).await.status(), 201);
    assert_eq!(grant(&roles, "broker").await.status(), 200);
    let target = "/api/credentials?client_id=broker";
    assert_eq!(ask(roles.public, "DELETE", target, &[KEY], "").await.status(), 200);
    // Each 401 is in the trail, and no 429.
    let refusals = roles.trail().iter().filter(|line| line["reason"] == "unauthorized").count();
    assert_eq!(refusals, statuses[&401]);
    roles.finish(&[&token("Broker")]).await;
}

#[tokio::test]
async fn a_public_listener_that_is_busy_says_so_and_leaves_grants_alone() {
    let roles = start().await;
    post(&roles, whole("busy", &token("Busy"))).await;
    let body = whole("busy", &token("Busy")).to_string();
    let length = body.len().to_string();
    let head = request("POST", PATH, &[KEY, JSON, ("Content-Length", &length), ("Expect", "100-continue")], "");
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut wire = Wire::open(roles.public).await;
        wire.send(&head).await;
        assert_eq!(wire.answer().await.unwrap().status(), 100, "the body is wanted, so the request is at work");
        waiting.push(wire);
    }
    let refused = ask(roles.public, "POST", PATH, &[KEY, JSON], &body).await;
    assert_error("the 65th", &refused, 503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(grant(&roles, "busy").await.status(), 200, "the internal listener has room of its own");
    for wire in &mut waiting {
        wire.send(&body).await;
    }
    for wire in &mut waiting {
        assert_eq!(wire.answer().await.unwrap().status(), 200);
    }
    assert_eq!(ask(roles.public, "POST", PATH, &[KEY, JSON], &body).await.status(), 200);
    roles.finish(&[&token("Busy")]).await;
}

#[tokio::test]
async fn without_an_audit_trail_nothing_is_granted_or_changed() {
    let roles = start().await;
    post(&roles, whole("untold", &token("Untold"))).await;
    let cell = roles.cell("untold", "access_token");
    let (path, away) = (roles.path("audit.jsonl"), roles.path("audit.away"));
    fs::rename(&path, &away).unwrap();
    fs::create_dir(&path).unwrap();

    for (name, answer) in [
        ("grant", grant(&roles, "untold").await),
        ("save", post(&roles, whole("untold", &token("Newer"))).await),
        ("first save", post(&roles, whole("untold2", &token("Newer"))).await),
        ("removal", delete(&roles, "untold").await),
    ] {
        assert_error(name, &answer, 503, "audit_unavailable");
        assert!(answer.header("retry-after").is_some(), "{name}");
    }
    let ready = get(&roles, "/readyz").await;
    assert_eq!((ready.status(), ready.json()["waiting_for"].clone()), (503, json!(["audit"])), "{ready:?}");
    assert_eq!(get(&roles, "/healthz").await.status(), 200, "the process lives");
    assert_eq!(summary(&roles, "untold").await.status(), 200, "a summary needs no line");
    assert_eq!(roles.cell("untold", "access_token"), cell);

    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    assert_eq!(grant(&roles, "untold").await.json()["access_token"], token("Untold"), "it goes on by itself");
    assert_eq!(get(&roles, "/readyz").await.status(), 200);
    assert_error("never stored", &summary(&roles, "untold2").await, 404, "not_found");
    roles.finish(&[&token("Untold"), &token("Newer")]).await;
}

#[tokio::test]
async fn without_a_store_every_credential_request_is_503_until_it_is_back() {
    let roles = start().await;
    post(&roles, whole("lost", &token("Lost"))).await;
    roles.sql("ALTER TABLE meta_credentials RENAME TO away");
    for (name, answer) in [
        ("grant", grant(&roles, "lost").await),
        ("grant of the only one", get(&roles, TOKEN_PATH).await),
        ("summary", summary(&roles, "lost").await),
        ("save", post(&roles, whole("lost", &token("Newer"))).await),
        ("removal", delete(&roles, "lost").await),
    ] {
        assert_error(name, &answer, 503, "store_unavailable");
        assert!(answer.header("retry-after").is_some(), "{name}");
    }
    let ready = get(&roles, "/readyz").await;
    assert_eq!((ready.status(), ready.json()["waiting_for"].clone()), (503, json!(["store"])), "{ready:?}");
    assert_eq!(get(&roles, "/healthz").await.status(), 200);

    roles.sql("ALTER TABLE away RENAME TO meta_credentials");
    assert_eq!(grant(&roles, "lost").await.json()["access_token"], token("Lost"));
    assert_eq!(get(&roles, "/readyz").await.status(), 200);
    assert_eq!(post(&roles, whole("lost", &token("Newer"))).await.status(), 200, "the removal did not happen");
    roles.finish(&[&token("Lost"), &token("Newer")]).await;
}

#[tokio::test]
async fn a_store_that_refuses_or_spoils_a_write_acknowledges_nothing() {
    let roles = start().await;
    post(&roles, whole("kept", &token("Kept"))).await;
    roles.sql("CREATE TRIGGER no BEFORE INSERT ON meta_credentials BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_error("a write", &post(&roles, whole("kept", &token("Newer"))).await, 503, "store_unavailable");
    assert_eq!(roles.trail().last().unwrap()["event"], "save_failed");
    assert_eq!(grant(&roles, "kept").await.json()["access_token"], token("Kept"), "the old one is still good");
    roles.sql("DROP TRIGGER no");
    roles.sql("CREATE TRIGGER no BEFORE DELETE ON meta_credentials BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_error("a removal", &delete(&roles, "kept").await, 503, "store_unavailable");
    assert_eq!(grant(&roles, "kept").await.json()["access_token"], token("Kept"));
    roles.sql("DROP TRIGGER no");

    for column in ["facebook_page_id", "login", "access_token", "token_expires_at"] {
        let value = if column == "login" { "'instagram'" } else { "substr(NEW.access_token, 1, 60)" };
        roles.sql(&format!(
            "CREATE TRIGGER no AFTER INSERT ON meta_credentials
             BEGIN UPDATE meta_credentials SET {column} = {value} WHERE client_id = NEW.client_id; END"
        ));
        let client = format!("kept-{column}");
        let answer = post(&roles, whole(&client, &token("Newer"))).await;
        assert_error(column, &answer, 503, "store_unavailable");
        assert!(answer.message().contains(column), "{answer:?}");
        roles.sql("DROP TRIGGER no");
        assert_eq!(post(&roles, whole(&client, &token("Newer"))).await.status(), 200, "posting again repairs");
        assert_eq!(grant(&roles, &client).await.json()["access_token"], token("Newer"));
    }
    roles.finish(&[&token("Kept"), &token("Newer")]).await;
}

#[tokio::test]
async fn a_removal_that_fails_leaves_no_trace_and_one_that_cannot_look_is_not_announced() {
    let roles = start_at_noon().await;
    let mut body = whole("stays", &token("Stays"));
    body["issued_at"] = json!("2026-11-20T00:00:00Z");
    assert_eq!(post(&roles, &body).await.status(), 201);
    roles.sql("CREATE TRIGGER no BEFORE DELETE ON meta_credentials BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_error("a removal", &delete(&roles, "stays").await, 503, "store_unavailable");
    roles.sql("DROP TRIGGER no");
    body["access_token"] = json!(token("Again"));
    assert_eq!(post(&roles, &body).await.status(), 200, "nothing was removed, so nothing is older than a removal");

    roles.sql("ALTER TABLE meta_credentials RENAME TO away");
    let lines = roles.trail().len();
    assert_error("no look at the row", &delete(&roles, "stays").await, 503, "store_unavailable");
    assert_eq!(roles.trail().len(), lines, "what cannot be looked at is not announced");
    roles.sql("ALTER TABLE away RENAME TO meta_credentials");
    assert_eq!(post(&roles, &body).await.status(), 200);
    assert_eq!(delete(&roles, "stays").await.status(), 200);
    assert_error("issued before it", &post(&roles, &body).await, 409, "stale");
    roles.finish(&[&token("Stays"), &token("Again")]).await;
}

#[tokio::test]
async fn a_client_that_another_process_is_changing_is_busy_within_seconds_and_a_stop_does_not_wait() {
    let roles = start().await;
    post(&roles, whole("held", &token("Held"))).await;
    let held = WriteLock::of(&"held".parse().unwrap(), &roles.path("audit.jsonl")).await.unwrap();
    let began = Instant::now();
    let (changed, removed) = tokio::join!(post(&roles, whole("held", &token("Other"))), delete(&roles, "held"));
    for (name, answer) in [("save", changed), ("removal", removed)] {
        assert_error(name, &answer, 503, "busy");
        assert!(answer.header("retry-after").is_some(), "{name}");
    }
    assert!((4..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(grant(&roles, "held").await.json()["access_token"], token("Held"), "grants go on");
    assert_eq!(post(&roles, whole("free", &token("Free"))).await.status(), 201, "and other clients");
    assert_eq!(get(&roles, "/readyz").await.status(), 200);

    let began = Instant::now();
    let (at, stop) = (roles.internal, roles.stop_signal());
    let body = whole("held", &token("Other")).to_string();
    let waiting = tokio::spawn(async move { ask(at, "POST", PATH, &[KEY, JSON], &body).await });
    let at_work = async {
        while !logs().text().contains("a change waits for its turn client.id=held") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), at_work).await.unwrap();
    stop.cancel();
    roles.finish(&[&token("Held"), &token("Other"), &token("Free")]).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    waiting.abort();
    drop(held);
}

#[tokio::test]
async fn a_row_that_does_not_open_is_500_in_the_trail_and_repaired_by_a_post() {
    let roles = start().await;
    let cell_of = async |client: &str| {
        post(&roles, whole(client, &token(client))).await;
        roles.cell(client, "access_token").unwrap()
    };
    let (cut, other) = (cell_of("cut").await, cell_of("other").await);
    let (iv, data) = other.split_once(':').unwrap();
    let plaintext = token("Planted");
    let flipped = format!("{iv}:{}{}", &data[..40], if &data[40..41] == "0" { "1" } else { "0" }) + &data[41..];
    let foreign_key = format!("{iv}:01{}{}", "ab".repeat(8), &data[18..]);
    for (client, column, value) in [
        ("cut", "access_token", Some(&cut[..cut.len() - 2])),
        ("cut-half", "access_token", Some(&cut[..cut.len() - 1])),
        ("swapped", "access_token", Some(other.as_str())),
        ("upper-case", "access_token", Some(&*other.to_uppercase())),
        ("plaintext", "access_token", Some(&plaintext)),
        ("flipped", "access_token", Some(&flipped)),
        ("foreign-key", "access_token", Some(&foreign_key)),
        ("empty", "access_token", Some("")),
        ("null", "access_token", None),
        ("page-edited", "facebook_page_id", Some("108154000000002")),
        ("instagram-edited", "instagram_business_account_id", Some("17841400000000002")),
        ("ads-edited", "ad_account_id", Some("act_1")),
        ("user-cleared", "meta_user_id", None),
        ("login-edited", "login", Some("instagram")),
        ("login-unknown", "login", Some("myspace")),
    ] {
        assert_eq!(post(&roles, whole(client, &token(client))).await.status(), if client == "cut" { 200 } else { 201 });
        assert_eq!(grant(&roles, client).await.status(), 200, "{client}");
        roles.edit(client, column, value);
        let answer = grant(&roles, client).await;
        assert_error(client, &answer, 500, "credential_unreadable");
        assert!(answer.message().contains(client), "{answer:?}");
        let repaired = post(&roles, json!({"client_id": client, "access_token": token(client)})).await;
        assert_eq!(repaired.status(), 200, "{client}");
        assert_eq!(repaired.json()["facebook_page_id"], Value::Null, "{client}: ids of a bad row are not taken over");
        assert_eq!(grant(&roles, client).await.json()["access_token"], token(client), "{client}");
        let unreadable = |line: &&Value| line["reason"] == "unreadable" && line["client_id"] == client;
        let trail = roles.trail();
        let lines: Vec<_> = trail.iter().filter(unreadable).collect();
        assert_eq!(lines.len(), 1, "{client}: {lines:?}");
        assert_eq!(lines[0]["event"], "refuse");
    }
    assert_eq!(roles.get(roles.internal, "/readyz").await.json()["unreadable"], 0);
    roles.finish(&[&token("cut"), &token("plaintext"), &token("Planted")]).await;
}

// ---- bodies ----

#[tokio::test]
async fn a_body_that_is_not_one_json_object_is_refused_and_not_repeated() {
    let roles = start().await;
    let secret = token("Body");
    let deep = format!(r#"{{"access_token":"{secret}","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let deep_objects = format!(r#"{{"access_token":"{secret}","x":{}"#, r#"{"a":"#.repeat(10_000));
    for (name, body) in [
        ("not JSON", secret.clone()),
        ("a form", format!("access_token={secret}")),
        ("JSON and more", format!(r#"{{"access_token":"{secret}"}} x"#)),
        ("two objects", format!(r#"{{"access_token":"{secret}"}}{{"access_token":"{secret}"}}"#)),
        ("cut off", format!(r#"{{"access_token":"{secret}"#)),
        ("a list", format!(r#"[{{"access_token":"{secret}"}}]"#)),
        ("a string", format!(r#""{secret}""#)),
        ("null", "null".to_owned()),
        ("a number", "1".to_owned()),
        ("nothing but space", "  ".to_owned()),
        ("nested lists", deep),
        ("nested objects", deep_objects),
        ("a member twice", format!(r#"{{"access_token":"x","access_token":"{secret}"}}"#)),
        ("a member twice by escapes", format!(r#"{{"access_token":"x","access\u005ftoken":"{secret}"}}"#)),
        ("an unknown member twice", format!(r#"{{"access_token":"{secret}","x":1,"x":1}}"#)),
        ("a member twice within", format!(r#"{{"access_token":"{secret}","x":[{{"y":1,"y":2}}]}}"#)),
        ("half a surrogate", format!(r#"{{"access_token":"{secret}\ud800"}}"#)),
        ("a byte order mark", format!("\u{feff}{{\"access_token\":\"{secret}\"}}")),
        ("a comment", format!(r#"{{"access_token":"{secret}"/**/}}"#)),
        ("NaN", format!(r#"{{"access_token":"{secret}","x":NaN}}"#)),
        ("a comma at the end", format!(r#"{{"access_token":"{secret}",}}"#)),
    ] {
        assert_error(name, &post(&roles, body).await, 400, "invalid_json");
    }
    let latin = roles.post_raw(roles.internal, Some(API_KEY), b"{\"access_token\":\"a\xe4\"}".to_vec()).await;
    assert_eq!((latin.status, latin.code().as_str()), (400, "invalid_json"), "bytes that are no UTF-8");
    assert_error("nothing was stored", &get(&roles, PATH).await, 404, "not_found");
    roles.finish(&[&secret]).await;
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_named_and_its_value_never_repeated() {
    let roles = start_at_noon().await;
    let long = format!("422mark{}", "x".repeat(4090));
    let token_cases = [
        ("spaces", json!("EAAB 422mark")),
        ("a space behind", json!("422mark ")),
        ("a line break", json!("EAAB\n422mark")),
        ("a line break behind", json!("422mark\n")),
        ("a carriage return", json!("EAAB\r\n422mark: x")),
        ("a tab", json!("EAAB\t422mark")),
        ("NUL", json!("EAAB\u{0}422mark")),
        ("escape", json!("EAAB\u{1b}[31m422mark")),
        ("delete", json!("EAAB\u{7f}422mark")),
        ("a C1 control", json!("EAAB\u{85}422mark")),
        ("a line separator", json!("EAAB\u{2028}422mark")),
        ("no ASCII", json!("EAAB422markÄ")),
        ("too long", json!(long)),
        ("empty", json!("")),
        ("null", json!(null)),
        ("a number", json!(4_220_000_422_u64)),
        ("a list", json!(["422mark"])),
        ("an object", json!({"token": "422mark"})),
    ];
    for (name, value) in token_cases {
        let answer = post(&roles, json!({"client_id": "fields", "access_token": value})).await;
        assert_error(name, &answer, 422, "invalid_field");
        assert!(answer.message().contains("access_token"), "{name}: {answer:?}");
        assert!(!answer.body.contains("422mark"), "{name}: {answer:?}");
    }
    assert_error("no token at all", &post(&roles, r#"{"client_id":"fields"}"#).await, 422, "invalid_field");

    for (field, value) in [
        ("client_id", r#""422mark b""#),
        ("client_id", r#""""#),
        ("client_id", r#""..""#),
        ("client_id", r#""a/422mark""#),
        ("client_id", "422"),
        ("client_id", r#""a\n422mark""#),
        ("login", r#""422mark""#),
        ("login", r#""Facebook""#),
        ("login", "true"),
        ("instagram_business_account_id", r#""422mark""#),
        ("instagram_business_account_id", "1e17"),
        ("instagram_business_account_id", "17841400000000000.0"),
        ("instagram_business_account_id", "-17841400000000000"),
        ("instagram_business_account_id", r#""""#),
        ("instagram_business_account_id", "true"),
        ("facebook_page_id", r#"" 1""#),
        ("facebook_page_id", r#""+1""#),
        ("facebook_page_id", r#""act_1""#),
        ("facebook_page_id", r#"["422"]"#),
        ("facebook_page_id", r#""١٢٣""#),
        ("facebook_page_id", "123456789012345678901234567890123"),
        ("ad_account_id", r#""act_""#),
        ("ad_account_id", r#""act_act_1""#),
        ("ad_account_id", r#""ACT_1""#),
        ("meta_user_id", r#"{"id":"422mark"}"#),
        ("token_expires_at", r#""422mark""#),
        ("token_expires_at", r#""""#),
        ("token_expires_at", "1893456000"),
        ("token_expires_at", r#""2027-01-10T00:00:00""#),
        ("token_expires_at", r#""2027-01-10""#),
        ("token_expires_at", r#""2027-02-30T00:00:00Z""#),
        ("token_expires_at", r#""-000001-01-10T00:00:00Z""#),
        ("token_expires_at", r#""2027-01-10T00:00:00Z[Europe/Berlin]""#),
        ("expires_in", r#""422mark""#),
        ("expires_in", "-1"),
        ("expires_in", "1.5"),
        ("expires_in", "1e3"),
        ("expires_in", "99999999999999999999999"),
        ("expires_in", "true"),
        ("issued_at", r#""422mark""#),
        ("issued_at", "1700000000"),
        ("issued_at", r#""2026-11-23T09:10:01Z""#),
        ("issued_at", r#""9999-01-01T00:00:00Z""#),
        ("scopes", "422"),
        ("scopes", r#"{"a":"422mark"}"#),
        ("scopes", r#"["a b"]"#),
        ("scopes", r#"["a","422mark\n"]"#),
        ("scopes", r#"["a,b"]"#),
        ("scopes", "[1]"),
        ("scopes", r#"[""]"#),
        ("scopes", r#""a;422mark""#),
    ] {
        let answer = post(&roles, format!(r#"{{"access_token":"{}","{field}":{value}}}"#, token("Fields"))).await;
        assert_error(&format!("{field} {value}"), &answer, 422, "invalid_field");
        assert!(answer.message().contains(field), "{field} {value}: {answer:?}");
        assert!(!answer.body.contains("422mark"), "{field} {value}: {answer:?}");
    }
    for client in [".", ".."] {
        let answer = post(&roles, json!({"client_id": client, "access_token": token("Fields")})).await;
        assert_error(client, &answer, 422, "invalid_field");
        assert!(answer.message().contains("neither . nor .. alone"), "{answer:?}");
    }
    let both = json!({"access_token": token("Fields"), "expires_in": 5, "token_expires_at": "2027-01-10T00:00:00Z"});
    assert_error("two ends", &post(&roles, both).await, 422, "invalid_field");
    let many: Vec<String> = (0..101).map(|n| format!("scope_{n}")).collect();
    let many = json!({"access_token": token("Fields"), "scopes": many});
    assert_error("too many scopes", &post(&roles, many).await, 422, "invalid_field");

    let at_the_edge =
        json!({"client_id": "fields", "access_token": token("Fields"), "issued_at": "2026-11-23T09:10:00Z"});
    assert_eq!(post(&roles, at_the_edge).await.status(), 201, "ten minutes ahead is a clock that is off");
    assert!(!logs().text().contains("422mark"), "no value is logged");
    assert!(!fs::read_to_string(roles.path("audit.jsonl")).unwrap().contains("422mark"));
    roles.finish(&[&token("Fields")]).await;
}

#[tokio::test]
async fn ids_of_any_length_stay_exact() {
    let roles = start().await;
    let body = format!(
        r#"{{"client_id":"exact","access_token":"{}","instagram_business_account_id":17841400000000000123,
            "facebook_page_id":9007199254740993,"ad_account_id":12345678901234567890123456789012,"meta_user_id":"00042"}}"#,
        token("Exact")
    );
    let stored = post(&roles, &body).await;
    assert_eq!(stored.status(), 201, "{stored:?}");
    for answer in [stored, summary(&roles, "exact").await, grant(&roles, "exact").await] {
        let answer = answer.json();
        assert_eq!(answer["instagram_business_account_id"], "17841400000000000123");
        assert_eq!(answer["facebook_page_id"], "9007199254740993");
        assert_eq!(answer["ad_account_id"], "act_12345678901234567890123456789012");
        assert_eq!(answer["meta_user_id"], "00042");
    }
    assert_eq!(roles.cell("exact", "facebook_page_id").as_deref(), Some("9007199254740993"));
    roles.finish(&[&token("Exact")]).await;
}

#[tokio::test]
async fn any_json_content_type_is_taken() {
    let roles = start().await;
    for value in ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"] {
        let headers = [KEY, ("Content-Type", value)];
        let answer = ask(roles.internal, "POST", PATH, &headers, &whole("typed", &token("Typed")).to_string()).await;
        assert!(matches!(answer.status(), 200 | 201), "{value}: {answer:?}");
    }
    roles.finish(&[&token("Typed")]).await;
}

// ---- saving ----

#[tokio::test]
async fn a_credential_is_made_then_replaced_and_every_answer_has_the_same_shape() {
    let roles = start_at_noon().await;
    let mut body = whole("shape", &token("Shape"));
    body["colour"] = json!("red");
    body["acess_token"] = json!("typo");
    let made = post(&roles, &body).await;
    let mut expected = json!({
        "client_id": "shape",
        "instagram_business_account_id": "17841400000000001",
        "facebook_page_id": "108154000000001",
        "ad_account_id": "act_123456",
        "meta_user_id": "12345678",
        "token_expires_at": "2099-01-01T00:00:00Z",
        "token_expired": false,
        "scopes": ["instagram_basic"],
        "login": "facebook",
        "updated_at": NOW,
    });
    assert_eq!(summary(&roles, "shape").await.json(), expected);
    let mut granted = expected.clone();
    granted["access_token"] = json!(token("Shape"));
    assert_eq!(grant(&roles, "shape").await.json(), granted);
    expected["ignored_fields"] = json!(["colour", "acess_token"]);
    assert_eq!((made.status(), made.json()), (201, expected.clone()));

    roles.clock.set("2026-11-24T10:00:00Z".parse().unwrap());
    let replaced = post(&roles, json!({"client_id": "shape", "access_token": token("Second")})).await;
    assert_eq!(replaced.status(), 200);
    let expected = json!({
        "client_id": "shape",
        "instagram_business_account_id": "17841400000000001",
        "facebook_page_id": "108154000000001",
        "ad_account_id": "act_123456",
        "meta_user_id": "12345678",
        "token_expires_at": null,
        "token_expired": false,
        "scopes": null,
        "login": "facebook",
        "updated_at": "2026-11-24T10:00:00Z",
    });
    assert_eq!(replaced.json(), expected, "ids are kept, expiry and scopes are the new body's");
    assert_eq!(grant(&roles, "shape").await.json()["access_token"], token("Second"));
    roles.finish(&[&token("Shape"), &token("Second")]).await;
}

#[tokio::test]
async fn an_identical_repeat_is_200_and_leaves_the_row_as_it_is() {
    let roles = start_at_noon().await;
    let mut body = whole("repeat", &token("Repeat"));
    body["issued_at"] = json!("2026-11-01T00:00:00Z");
    let first = post(&roles, &body).await;
    let cell = roles.cell("repeat", "access_token").unwrap();
    roles.clock.set("2026-11-24T10:00:00Z".parse().unwrap());
    for (name, body) in [
        ("the same", body.clone()),
        ("the same account in its other spelling", {
            let mut body = body.clone();
            body["ad_account_id"] = json!(123_456);
            body["token_expires_at"] = json!("2099-01-01T01:00:00+01:00");
            body["scopes"] = json!(" instagram_basic ");
            body
        }),
        ("ids left out", {
            let mut body = body.clone();
            body.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_id") || name == "client_id");
            body
        }),
    ] {
        let again = post(&roles, &body).await;
        assert_eq!((again.status(), again.json()), (200, first.json()), "{name}");
        assert_eq!(roles.cell("repeat", "access_token").unwrap(), cell, "{name}");
    }
    for (name, member, value) in [
        ("another token", "access_token", json!(token("Other"))),
        ("another id", "meta_user_id", json!("9")),
        ("another end", "token_expires_at", json!("2098-01-01T00:00:00Z")),
        ("other scopes", "scopes", json!(["ads_read"])),
        ("issued later", "issued_at", json!("2026-11-02T00:00:00Z")),
    ] {
        let before = roles.cell("repeat", "access_token").unwrap();
        body[member] = value;
        assert_eq!(post(&roles, &body).await.status(), 200, "{name}");
        assert_ne!(roles.cell("repeat", "access_token").unwrap(), before, "{name}");
    }
    assert_eq!(roles.trail().iter().filter(|line| line["event"] == "save").count(), 6);
    roles.finish(&[&token("Repeat"), &token("Other")]).await;
}

#[tokio::test]
async fn a_replacement_keeps_what_it_leaves_out_and_clears_what_is_null() {
    let roles = start().await;
    let mut body = whole("merge", &token("Merge"));
    body["login"] = json!("instagram");
    post(&roles, &body).await;
    let next = json!({
        "client_id": "merge", "access_token": token("Merge2"), "facebook_page_id": null, "meta_user_id": "77",
    });
    let answer = post(&roles, next).await.json();
    assert_eq!(answer["instagram_business_account_id"], "17841400000000001", "left out: kept");
    assert_eq!(answer["facebook_page_id"], Value::Null, "null: cleared");
    assert_eq!(answer["meta_user_id"], "77");
    assert_eq!(answer["login"], "instagram", "left out: kept");
    assert_eq!(roles.cell("merge", "facebook_page_id").filter(|id| !id.is_empty()), None);
    let next = json!({"client_id": "merge", "access_token": token("Merge2"), "login": "facebook"});
    assert_eq!(post(&roles, next).await.json()["login"], "facebook");
    assert_eq!(grant(&roles, "merge").await.json()["access_token"], token("Merge2"));
    roles.finish(&[&token("Merge"), &token("Merge2")]).await;
}

#[tokio::test]
async fn the_end_of_a_token_comes_in_each_form() {
    let roles = start_at_noon().await;
    for (name, more, end, expired) in [
        ("none", json!({}), None, false),
        ("null", json!({"token_expires_at": null}), None, false),
        ("a date", json!({"token_expires_at": "2027-01-10T00:00:00Z"}), Some("2027-01-10T00:00:00Z"), false),
        ("an offset", json!({"token_expires_at": "2027-01-10T02:00:00+02:00"}), Some("2027-01-10T00:00:00Z"), false),
        ("a fraction", json!({"token_expires_at": "2027-01-10T00:00:00.5Z"}), Some("2027-01-10T00:00:00Z"), false),
        ("in the past", json!({"token_expires_at": "2024-01-01T00:00:00Z"}), Some("2024-01-01T00:00:00Z"), true),
        ("long ago", json!({"token_expires_at": "0033-04-03T15:00:00Z"}), Some("0033-04-03T15:00:00Z"), true),
        ("just now", json!({"token_expires_at": NOW}), Some(NOW), true),
        ("seconds from arrival", json!({"expires_in": 5_184_000}), Some("2027-01-22T09:00:00Z"), false),
        ("seconds as text", json!({"expires_in": "60"}), Some("2026-11-23T09:01:00Z"), false),
        (
            "seconds from the issue",
            json!({"expires_in": 60, "issued_at": "2026-11-23T08:00:00Z"}),
            Some("2026-11-23T08:01:00Z"),
            true,
        ),
        ("zero seconds", json!({"expires_in": 0}), None, false),
        ("zero seconds as text", json!({"expires_in": "0"}), None, false),
        ("zero and null", json!({"expires_in": 0, "token_expires_at": null}), None, false),
    ] {
        let client = name.replace(' ', "-");
        let mut body = json!({"client_id": client, "access_token": token("Ends")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = post(&roles, &body).await;
        assert_eq!(answer.status(), 201, "{name}: {answer:?}");
        for answer in [answer.json(), summary(&roles, &client).await.json(), grant(&roles, &client).await.json()] {
            let found = (answer["token_expires_at"].as_str(), answer["token_expired"].as_bool());
            assert_eq!(found, (end, Some(expired)), "{name}: {answer}");
        }
    }
    roles.finish(&[&token("Ends")]).await;
}

#[tokio::test]
async fn scopes_come_as_a_list_or_as_text() {
    let roles = start().await;
    for (name, scopes, shown, cell) in [
        ("a list", json!(["a_b", "c.d"]), json!(["a_b", "c.d"]), Some("a_b,c.d")),
        ("text", json!("a_b, c.d"), json!(["a_b", "c.d"]), Some("a_b,c.d")),
        ("text with empty parts", json!("a_b,,c.d,"), json!(["a_b", "c.d"]), Some("a_b,c.d")),
        ("null", json!(null), json!(null), None),
        ("an empty list", json!([]), json!(null), None),
        ("empty text", json!(""), json!(null), None),
    ] {
        let answer =
            post(&roles, json!({"client_id": "scopes", "access_token": token("Scopes"), "scopes": scopes})).await;
        assert_eq!(answer.json()["scopes"], shown, "{name}");
        assert_eq!(roles.cell("scopes", "scopes").as_deref(), cell, "{name}");
    }
    roles.finish(&[&token("Scopes")]).await;
}

#[tokio::test]
async fn an_older_token_never_replaces_a_newer_one() {
    let roles = start_at_noon().await;
    let body = |name: &str, issued: Option<&str>| {
        let mut body = whole("order", &token(name));
        if let Some(issued) = issued {
            body["issued_at"] = json!(issued);
        }
        body
    };
    assert_eq!(post(&roles, body("OrderB", Some("2026-11-20T00:00:00Z"))).await.status(), 201);
    let row = |column| roles.cell("order", column);
    let (cell, updated) = (row("access_token"), row("updated_at"));
    for older in ["2026-11-19T23:59:59Z", "2026-11-20T00:30:00+01:00", "1999-01-01T00:00:00Z"] {
        let answer = post(&roles, body("OrderA", Some(older))).await;
        assert_error(older, &answer, 409, "stale");
        assert_eq!((row("access_token"), row("updated_at")), (cell.clone(), updated.clone()), "{older}");
    }
    assert_eq!(grant(&roles, "order").await.json()["access_token"], token("OrderB"));
    assert_eq!(post(&roles, body("OrderC", Some("2026-11-20T00:00:00Z"))).await.status(), 200, "equal is taken");
    assert_eq!(post(&roles, body("OrderD", Some("2026-11-21T00:00:00Z"))).await.status(), 200, "newer is taken");
    assert_eq!(post(&roles, body("OrderE", None)).await.status(), 200, "without a date the last to arrive wins");
    assert_eq!(row("issued_at"), None, "the issue date is always the new body's");
    assert_eq!(post(&roles, body("OrderC", Some("2026-11-21T00:00:00.750+00:00"))).await.status(), 200);
    assert_eq!(row("issued_at").as_deref(), Some("2026-11-21T00:00:00.75Z"));
    let cell = row("access_token");
    assert_error(
        "older within the second",
        &post(&roles, body("OrderA", Some("2026-11-21T00:00:00.5Z"))).await,
        409,
        "stale",
    );
    assert_error("older, whole", &post(&roles, body("OrderA", Some("2026-11-21T00:00:00Z"))).await, 409, "stale");
    assert_eq!(post(&roles, body("OrderC", Some("2026-11-21T00:00:00.75Z"))).await.status(), 200, "the same again");
    assert_eq!(row("access_token"), cell);
    assert_eq!(post(&roles, body("OrderE", None)).await.status(), 200);
    assert_eq!(row("issued_at"), None);
    assert_eq!(
        post(&roles, body("OrderF", Some("2026-11-19T00:00:00Z"))).await.status(),
        200,
        "nothing to compare with"
    );
    assert_eq!(grant(&roles, "order").await.json()["access_token"], token("OrderF"));
    roles
        .finish(&["A", "B", "C", "D", "E", "F"].map(|x| token(&format!("Order{x}"))).each_ref().map(String::as_str))
        .await;
}

#[tokio::test]
async fn a_removed_token_does_not_come_back_by_a_late_retry() {
    let roles = start_at_noon().await;
    assert_error("nothing there", &delete(&roles, "gone").await, 404, "not_found");
    post(&roles, whole("gone", &token("Gone"))).await;
    let removed = delete(&roles, "gone").await;
    assert_eq!((removed.status(), removed.json()), (200, json!({"client_id": "gone", "removed": true})));
    assert_error("summary", &summary(&roles, "gone").await, 404, "not_found");
    assert_error("grant", &grant(&roles, "gone").await, 404, "not_found");
    assert_error("a second time", &delete(&roles, "gone").await, 404, "not_found");
    let metrics = get(&roles, "/metrics").await.body;
    assert_eq!(sample(&metrics, "aiviary_token_expiry_timestamp_seconds", &[r#"client="gone""#]), None);

    let mut late = whole("gone", &token("Gone"));
    late["issued_at"] = json!("2026-11-23T08:59:59Z");
    assert_error("issued before the removal", &post(&roles, &late).await, 409, "stale");
    let folder = roles.folder.clone();
    roles.finish(&[&token("Gone")]).await;

    // It outlives a restart.
    let again = Fixture { clock: Clock::fixed(NOW.parse().unwrap()), ..Fixture::on(&folder) }.start_connect().await;
    assert_error("after a restart", &post(&again, &late).await, 409, "stale");
    let mut other = late.clone();
    other["client_id"] = json!("other");
    assert_eq!(post(&again, &other).await.status(), 201, "another client was not removed");
    late["issued_at"] = json!(NOW);
    assert_eq!(post(&again, &late).await.status(), 201, "issued at the removal or later");
    assert_eq!(delete(&again, "gone").await.status(), 200);
    late.as_object_mut().unwrap().remove("issued_at");
    assert_eq!(post(&again, &late).await.status(), 201, "without a date nothing tells that it is old");
    again.finish(&[&token("Gone")]).await;
}

#[tokio::test]
async fn sixty_four_first_posts_at_once_make_one_row() {
    let roles = start().await;
    let posts = (0..64).map(|n| {
        let body = whole("crowd", &token(&format!("Crowd{n:02}")));
        let roles = &roles;
        async move { post(roles, body).await.status() }
    });
    let mut statuses = BTreeMap::new();
    for status in join_all(posts).await {
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 63), (201, 1)]));
    let trail = roles.trail();
    let last = trail.iter().rfind(|line| line["event"] == "save").unwrap();
    let cell = roles.cell("crowd", "access_token").unwrap();
    assert_eq!(last["envelope"].as_str(), cell.split(':').next(), "the last line is the row's");
    let db = rusqlite::Connection::open(roles.path("aiviary.db")).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM meta_credentials", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    drop(db);
    let granted = join_all((0..64).map(|_| grant(&roles, "crowd"))).await;
    let tokens: std::collections::BTreeSet<String> =
        granted.iter().map(|answer| answer.json()["access_token"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    roles.finish(&[&token("Crowd00"), &token("Crowd63")]).await;
}

// ---- which client ----

#[tokio::test]
async fn the_client_is_the_named_one_the_configured_one_or_the_only_one() {
    let roles = start().await;
    assert_error("nothing is stored", &get(&roles, PATH).await, 404, "not_found");
    assert_error("nothing is stored", &get(&roles, TOKEN_PATH).await, 404, "not_found");
    let stored = post(&roles, json!({"access_token": token("First")})).await;
    assert_eq!(stored.json()["client_id"], "default", "the name of who has none");
    assert_eq!(get(&roles, TOKEN_PATH).await.json()["access_token"], token("First"));
    post(&roles, whole("second", &token("Second"))).await;
    for target in [PATH, TOKEN_PATH] {
        let answer = ask(roles.internal, "GET", target, &[], "").await;
        assert_error(target, &answer, 409, "client_required");
        let error = &answer.json()["error"];
        assert_eq!(error["message"], "several clients are stored; name one with ?client_id=, of: default, second");
        assert_eq!((&error["clients"], &error["truncated"]), (&json!(["default", "second"]), &json!(false)));
    }
    assert_eq!(get(&roles, "/api/credentials?client_id=%73econd").await.json()["client_id"], "second");
    let folder = roles.folder.clone();
    roles.finish(&[&token("First"), &token("Second")]).await;

    let configured = Fixture { client: Some("second".to_owned()), ..Fixture::on(&folder) }.start_connect().await;
    assert_eq!(get(&configured, TOKEN_PATH).await.json()["access_token"], token("Second"));
    assert_eq!(get(&configured, PATH).await.json()["client_id"], "second");
    assert_eq!(grant(&configured, "default").await.json()["access_token"], token("First"));
    let stored = post(&configured, json!({"access_token": token("Third")})).await;
    assert_eq!((stored.status(), stored.json()["client_id"].clone()), (200, json!("second")));
    let unnamed = ask(configured.internal, "DELETE", PATH, &[KEY], "").await;
    assert_error("a removal names its client", &unnamed, 400, "invalid_query");
    assert_eq!(grant(&configured, "second").await.json()["access_token"], token("Third"), "nothing was removed");
    assert_eq!(delete(&configured, "second").await.json()["client_id"], "second");
    assert_error("configured and absent", &get(&configured, PATH).await, 404, "not_found");
    configured.finish(&[&token("First"), &token("Second"), &token("Third")]).await;
}

// ---- grants ----

#[tokio::test]
async fn each_grant_has_one_line_in_the_trail_and_one_in_the_log() {
    let roles = start_at_noon().await;
    post(&roles, whole("lines", &token("Lines"))).await;
    let cell = roles.cell("lines", "access_token").unwrap();
    for _ in 0..3 {
        assert_eq!(grant(&roles, "lines").await.status(), 200);
    }
    roles.edit("lines", "token_expires_at", Some("2024-01-01T00:00:00Z"));
    assert_eq!(grant(&roles, "lines").await.json()["token_expired"], true);
    summary(&roles, "lines").await;
    grant(&roles, "lines-of-nobody").await;
    delete(&roles, "lines").await;

    let mut trail = roles.trail();
    trail.retain(|line| line["event"] != "save_confirmed");
    let events: Vec<&str> = trail.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["open", "save", "grant", "grant", "grant", "grant", "refuse", "remove"]);
    for (line, expired) in trail[2..6].iter().zip([false, false, false, true]) {
        assert_eq!(line["client_id"], "lines");
        assert_eq!(line["peer"], "127.0.0.1");
        assert_eq!(line["listener"], roles.internal.to_string());
        assert_eq!(line["token_expired"], expired);
        assert_eq!(line["envelope"].as_str(), cell.split(':').next());
        assert!(line["request_id"].as_str().is_some_and(|id| logs().text().contains(id)), "{line}");
        assert_eq!(line["time"], "2026-11-23T09:00:00.000Z");
    }
    assert_eq!((&trail[1]["key"], &trail[7]["key"]), (&json!("1"), &json!("1")));
    assert_eq!((&trail[6]["reason"], &trail[6]["client_id"]), (&json!("unknown_client"), &json!("lines-of-nobody")));

    let log = logs().text();
    let of = |text: &str| log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>();
    let granted = of("[Token Access] Provided decrypted token for client: lines");
    assert_eq!(granted.len(), 4);
    assert!(granted.iter().all(|line| line.contains("INFO")), "{granted:?}");
    let expired: Vec<_> = of("[Token Expired] Token expired at 2024-01-01T00:00:00Z");
    assert!(expired.iter().any(|line| line.contains("WARN") && line.contains("client.id=lines")), "{expired:?}");
    roles.finish(&[&token("Lines")]).await;
}

#[tokio::test]
async fn an_expiry_edited_by_hand_holds_for_the_next_grant() {
    let roles = start_at_noon().await;
    post(&roles, whole("edited", &token("Edited"))).await;
    for (cell, end, expired) in [
        (Some("2024-01-01T00:00:00Z"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2024-01-01 00:00:00Z"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2024-01-01T00:00:00"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2024-01-01 00:00:00"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2024-01-01"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2024-01-01T01:00:00+01:00"), Some("2024-01-01T00:00:00Z"), true),
        (Some("2026-11-23"), Some("2026-11-23T00:00:00Z"), true),
        (Some("2026-11-24"), Some("2026-11-24T00:00:00Z"), false),
        (Some("2099-01-01T00:00:00Z"), Some("2099-01-01T00:00:00Z"), false),
        (Some(""), None, false),
        (None, None, false),
    ] {
        roles.edit("edited", "token_expires_at", cell);
        for answer in [grant(&roles, "edited").await, summary(&roles, "edited").await] {
            let answer = answer.json();
            let found = (answer["token_expires_at"].as_str(), answer["token_expired"].as_bool());
            assert_eq!(found, (end, Some(expired)), "{cell:?}");
        }
    }
    assert_eq!(get(&roles, "/readyz").await.json().get("expiry_unreadable"), None);

    roles.edit("edited", "token_expires_at", Some("next spring"));
    let granted = grant(&roles, "edited").await.json();
    assert_eq!((granted["token_expires_at"].clone(), granted["token_expired"].clone()), (Value::Null, json!(false)));
    let ready = get(&roles, "/readyz").await;
    assert_eq!((ready.status(), ready.json()["expiry_unreadable"].clone()), (200, json!(1)));
    let is_told = |line: &str| line.contains("ERROR") && line.contains("client.id=edited");
    assert!(logs().text().lines().any(is_told), "an operator should look");
    assert!(!logs().text().contains("next spring"));
    roles.finish(&[&token("Edited")]).await;
}

#[tokio::test]
async fn grants_carry_metas_proof_when_the_app_secret_is_set() {
    let app_secret = "0123456789abcdef0123456789abcdef";
    let roles = Fixture { app_secret: Some(app_secret.to_owned()), ..Fixture::new() }.start_connect().await;
    post(&roles, whole("proof", &token("Proof"))).await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.as_bytes());
    let proof = hex::encode(hmac::sign(&key, token("Proof").as_bytes()));
    assert_eq!(grant(&roles, "proof").await.json()["appsecret_proof"], proof);
    assert_eq!(summary(&roles, "proof").await.json().get("appsecret_proof"), None);
    post(&roles, json!({"client_id": "proof", "access_token": token("Proof"), "login": "instagram"})).await;
    assert_eq!(grant(&roles, "proof").await.json().get("appsecret_proof"), None, "another app's secret is no proof");
    assert!(!logs().text().contains(&proof));
    let folder = roles.folder.clone();
    roles.finish(&[&token("Proof"), app_secret, &proof]).await;
    let without = Fixture::on(&folder).start_connect().await;
    post(&without, json!({"client_id": "proof", "access_token": token("Proof"), "login": "facebook"})).await;
    assert_eq!(grant(&without, "proof").await.json().get("appsecret_proof"), None);
}

#[tokio::test]
async fn a_service_key_is_wanted_for_tokens_and_for_nothing_else() {
    let keys = "new-service-key-0123456789,old-service-key-0123456789";
    let roles = Fixture { service_key: Some(keys.to_owned()), ..Fixture::new() }.start_connect().await;
    post(&roles, whole("service", &token("Service"))).await;
    for value in
        ["Bearer new-service-key-0123456789", "bearer new-service-key-0123456789", "Bearer old-service-key-0123456789"]
    {
        let answer = ask(roles.internal, "GET", TOKEN_PATH, &[("Authorization", value)], "").await;
        assert_eq!(answer.status(), 200, "{value}");
    }
    for (name, headers) in [
        ("none", &[][..]),
        ("both at once", &[("Authorization", "Bearer new-service-key-0123456789,old-service-key-0123456789")]),
        ("cut", &[("Authorization", "Bearer new-service-key-012345678")]),
        ("the broker's key", &[KEY]),
    ] {
        let answer = ask(roles.internal, "GET", TOKEN_PATH, headers, "").await;
        assert_error(name, &answer, 401, "unauthorized");
    }
    for target in [PATH, "/readyz", "/metrics", "/healthz"] {
        assert_eq!(get(&roles, target).await.status(), 200, "{target}");
    }
    assert_eq!(ask(roles.public, "GET", TOKEN_PATH, &[], "").await.code(), "not_found");
    let mut trail = roles.trail();
    trail.retain(|line| line["event"] == "grant");
    assert_eq!(trail.len(), 3);
    roles.finish(&[&token("Service"), "new-service-key-0123456789"]).await;
}

#[tokio::test]
async fn while_rotating_both_api_keys_work_and_are_told_apart() {
    let api_keys = format!("brand-new-api-key-0123456789,{API_KEY}");
    let roles = Fixture { api_keys, ..Fixture::new() }.start_connect().await;
    for (n, (key, position)) in
        [("brand-new-api-key-0123456789", "1"), (API_KEY, "2"), (API_KEY, "2")].iter().enumerate()
    {
        let body = whole("rotating", &token(&format!("Rotating{n}"))).to_string();
        let answer = ask(roles.public, "POST", PATH, &[("X-API-Key", key), JSON], &body).await;
        assert!(matches!(answer.status(), 200 | 201), "{answer:?}");
        assert_eq!(roles.trail().last().unwrap()["key"], *position);
    }
    let metrics = get(&roles, "/metrics").await.body;
    assert_eq!(sample(&metrics, "aiviary_saves_total", &[r#"key="1""#]), Some(1.0));
    assert_eq!(sample(&metrics, "aiviary_saves_total", &[r#"key="2""#]), Some(2.0));
    roles.finish(&[&token("Rotating0"), "brand-new-api-key-0123456789", API_KEY]).await;
}

// ---- health ----

#[tokio::test]
async fn health_readiness_and_metrics_have_their_shapes_and_no_token() {
    let roles = start_at_noon().await;
    assert_eq!(get(&roles, "/healthz").await.body, r#"{"ok":true}"#);
    assert_eq!(get(&roles, "/readyz").await.body, r#"{"ready":true,"waiting_for":[],"unreadable":0}"#);
    for client in ["meter-a", "meter-b", "meter-c", "meter-d"] {
        post(&roles, whole(client, &token("Meter"))).await;
    }
    ask(roles.internal, "GET", TOKEN_PATH, &[("Via", "x")], "").await;
    // Its line is waited for, and that of the refusal is before it.
    grant(&roles, "meter-a").await;
    get(&roles, "/no/such\"path").await;
    get(&roles, "/another/path").await;

    roles.edit("meter-b", "access_token", Some("no envelope"));
    roles.edit("meter-c", "login", Some("myspace"));
    let cell = roles.cell("meter-d", "access_token").unwrap();
    roles.edit("meter-d", "access_token", Some(&format!("{}{}{}", &cell[..27], "ab".repeat(8), &cell[43..])));
    let ready = get(&roles, "/readyz").await;
    let warning = "1 stored credentials need the key abababababababab, which is not in ENCRYPTION_KEY";
    let expected = json!({"ready": true, "waiting_for": [], "unreadable": 3, "warnings": [warning]});
    assert_eq!((ready.status(), ready.json()), (200, expected));

    let answer = get(&roles, "/metrics").await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let text = answer.body;
    assert_prometheus_text(&text);
    let count = |name: &str, labels: &[&str]| sample(&text, name, labels);
    assert_eq!(count("aiviary_grants_total", &[r#"client="meter-a""#]), Some(1.0));
    assert_eq!(count("aiviary_refusals_total", &[r#"reason="forwarded""#]), Some(1.0));
    assert_eq!(count("aiviary_requests_total", &[r#"route="none""#, r#"status="404""#]), Some(2.0), "{text}");
    assert_eq!(count("aiviary_requests_total", &[r#"route="/api/credentials""#, r#"status="201""#]), Some(4.0));
    let end = "2099-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second() as f64;
    assert_eq!(count("aiviary_token_expiry_timestamp_seconds", &[r#"client="meter-a""#]), Some(end));
    assert_eq!(count("aiviary_audit_seq", &[]), Some(roles.trail().len() as f64));
    assert_eq!(count("aiviary_panics_total", &[]), Some(0.0));
    assert!(!text.contains(API_KEY) && !text.contains("path\""), "{text}");
    roles.finish(&[&token("Meter")]).await;
}

#[tokio::test]
async fn the_expiry_of_a_client_that_was_removed_elsewhere_is_no_longer_shown() {
    let roles = start().await;
    let shown = async |client: &str| {
        let metrics = get(&roles, "/metrics").await.body;
        sample(&metrics, "aiviary_token_expiry_timestamp_seconds", &[&format!(r#"client="{client}""#)]).is_some()
    };
    for client in ["gone-a", "gone-b", "stays"] {
        post(&roles, whole(client, &token("Shown"))).await;
    }
    roles.sql("DELETE FROM meta_credentials WHERE client_id = 'gone-a'");
    assert_error("gone", &grant(&roles, "gone-a").await, 404, "not_found");
    assert_eq!((shown("gone-a").await, shown("gone-b").await), (false, true));
    roles.sql("DELETE FROM meta_credentials WHERE client_id = 'gone-b'");
    assert_eq!(get(&roles, "/readyz").await.status(), 200);
    assert_eq!((shown("gone-b").await, shown("stays").await), (false, true));
    roles.finish(&[&token("Shown")]).await;
}

/// The text format 0.0.4 of prometheus.io/docs/instrumenting/exposition_formats: families in one group, types known,
/// samples distinct, values numbers.
fn assert_prometheus_text(text: &str) {
    assert!(text.ends_with('\n'));
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.as_bytes()[0].is_ascii_digit()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
    };
    let (mut kinds, mut current, mut samples) = (BTreeMap::new(), String::new(), std::collections::BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "a family twice: {line}");
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(labels.ends_with('}') && is_name(name), "{line}");
            let suffix = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("outside its family: {line}"));
            let known = if kinds[&current] == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
            assert!(known.contains(&suffix), "{line}");
            assert!(samples.insert(series.to_owned()), "a sample twice: {line}");
        }
    }
    assert!(!samples.is_empty());
}

// ---- starting ----

/// Why connect does not start.
async fn refusal(settings: connect::Settings) -> (StartError, String) {
    let Err(error) = connect::start(settings).await else { panic!("it started") };
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    (error, text)
}

#[tokio::test]
async fn a_second_start_finds_everything() {
    let roles = start().await;
    post(&roles, whole("again", &token("Again"))).await;
    let before = summary(&roles, "again").await.json();
    let folder = roles.folder.clone();
    roles.finish(&[&token("Again")]).await;
    let again = Fixture::on(&folder).start_connect().await;
    assert_eq!(summary(&again, "again").await.json(), before);
    assert_eq!(grant(&again, "again").await.json()["access_token"], token("Again"));
    assert_eq!(post(&again, whole("again", &token("Again"))).await.status(), 200, "an identical repeat, still");
    let events: Vec<Value> = again.trail().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["open", "save", "save_confirmed", "stop", "open", "grant"]);
    again.finish(&[&token("Again")]).await;
}

#[tokio::test]
async fn a_start_reads_of_the_trail_what_came_since_the_last() {
    let roles = start().await;
    let (folder, path) = (roles.folder.clone(), roles.path("audit.jsonl"));
    post(&roles, whole("settled", &token("Settled"))).await;
    roles.finish(&[]).await;
    let second = Fixture::on(&folder).start_connect().await;
    post(&second, whole("settled", &token("Settled2"))).await;
    second.finish(&[]).await;
    // What a start has settled is behind it: were it read again, this would be a crash to look into.
    let text = fs::read_to_string(&path).unwrap();
    let first = |event: &str| text.find(&format!(r#""event":"{event}""#)).unwrap() + 9;
    let (told, stop) = (first("save_confirmed"), first("stop"));
    let between = &text[told + 14..stop];
    fs::write(&path, format!("{}stop{between}open{}", &text[..told], &text[stop + 4..])).unwrap();
    let third = Fixture::on(&folder).start_connect().await;
    let events: Vec<Value> = third.trail().iter().map(|line| line["event"].clone()).collect();
    assert_eq!(events, ["open", "save", "stop", "open", "open", "save", "save_confirmed", "stop", "open"]);
    third.stop().await;
}

#[tokio::test]
async fn a_wrong_key_does_not_start_and_a_further_key_does() {
    let other = "ff".repeat(32);
    let roles = start().await;
    post(&roles, whole("locked", &token("Locked"))).await;
    let sealed_by = roles.cell("locked", "access_token").unwrap()[27..43].to_owned();
    let folder = roles.folder.clone();
    roles.finish(&[&token("Locked")]).await;

    let wrong = Fixture { encryption_keys: other.clone(), ..Fixture::on(&folder) };
    let wrong_trail = wrong.path("audit.jsonl");
    let (error, text) = refusal(wrong.connect_settings()).await;
    assert!(matches!(error, StartError::Configuration(_)), "{error:?}");
    assert!(text.contains("ENCRYPTION_KEY") && text.contains(&sealed_by), "{text}");
    let trail = fs::read_to_string(wrong_trail).unwrap();
    let stops = trail.lines().filter(|line| line.contains(r#""event":"stop""#)).count();
    assert_eq!(stops, 2, "a start that fails ends in order: {trail}");
    assert!(!text.contains(&other) && !text.contains(ENCRYPTION_KEY), "{text}");
    let ids: Vec<&str> =
        text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 16 && *word != sealed_by).collect();
    assert_eq!(ids.len(), 1, "the configured key is named too: {text}");

    let both = Fixture { encryption_keys: format!("{other},{ENCRYPTION_KEY}"), ..Fixture::on(&folder) };
    let roles = both.start_connect().await;
    assert_eq!(grant(&roles, "locked").await.json()["access_token"], token("Locked"));
    post(&roles, whole("locked", &token("Locked2"))).await;
    assert_eq!(&roles.cell("locked", "access_token").unwrap()[27..43], ids[0], "the first key seals");
    post(&roles, whole("locked-b", &token("LockedB"))).await;
    roles.finish(&[&token("Locked2")]).await;

    let old_only = Fixture::on(&folder);
    assert!(matches!(refusal(old_only.connect_settings()).await.0, StartError::Configuration(_)));
    let new_only = Fixture { encryption_keys: other.clone(), ..Fixture::on(&folder) }.start_connect().await;
    assert_eq!(grant(&new_only, "locked").await.json()["access_token"], token("Locked2"));
    new_only.finish(&[&token("Locked2"), &other]).await;
}

#[tokio::test]
async fn a_row_that_goes_while_keys_rotate_is_not_counted_as_sealed_anew() {
    let roles = start().await;
    for client in ["rotates-a", "rotates-b"] {
        post(&roles, whole(client, &token("Rotates"))).await;
    }
    let both =
        Fixture { encryption_keys: format!("{},{ENCRYPTION_KEY}", "ff".repeat(32)), ..Fixture::on(&roles.folder) };
    let connect = connect::open(both.connect_settings(), Mode::Existing).await.unwrap();
    let mut told = Vec::new();
    let caller = Caller { peer: Peer::Unix { uid: 0, pid: None }, listener: "test".into(), request_id: "1".into() };
    let rotated = connect.rotate(&caller, |one| {
        told.push(one.client.clone());
        roles.sql("DELETE FROM meta_credentials WHERE client_id = 'rotates-b'");
    });
    let rotation = rotated.await.unwrap();
    assert_eq!((told, rotation.done, rotation.is_whole()), (vec!["rotates-a".to_owned()], 1, true));
    connect.close(Duration::from_secs(1)).await.unwrap();
    roles.finish(&[&token("Rotates")]).await;
}

#[tokio::test]
async fn one_row_under_a_lost_key_leaves_the_others_served() {
    let lost = Fixture { encryption_keys: "ff".repeat(32), ..Fixture::new() }.start_connect().await;
    post(&lost, whole("lost-row", &token("LostRow"))).await;
    let folder = lost.folder.clone();
    lost.finish(&[&token("LostRow")]).await;
    let keys = format!("{ENCRYPTION_KEY},{}", "ff".repeat(32));
    let both = Fixture { encryption_keys: keys, ..Fixture::on(&folder) }.start_connect().await;
    post(&both, whole("good-row", &token("GoodRow"))).await;
    both.finish(&[&token("GoodRow")]).await;

    let roles = Fixture::on(&folder).start_connect().await;
    let needed = &roles.cell("lost-row", "access_token").unwrap()[27..43];
    let ready = get(&roles, "/readyz").await;
    let warning = format!("1 stored credentials need the key {needed}, which is not in ENCRYPTION_KEY");
    let expected = json!({"ready": true, "waiting_for": [], "unreadable": 1, "warnings": [warning]});
    assert_eq!((ready.status(), ready.json()), (200, expected));
    assert_eq!(grant(&roles, "good-row").await.status(), 200);
    assert_error("lost", &grant(&roles, "lost-row").await, 500, "credential_unreadable");
    roles.finish(&[&token("GoodRow"), &token("LostRow")]).await;
}

#[tokio::test]
async fn keys_that_cannot_be_keys_do_not_start_and_are_not_told() {
    for (name, change) in [
        ("ENCRYPTION_KEY", Fixture { encryption_keys: "secretly-short".to_owned(), ..Fixture::new() }),
        ("ENCRYPTION_KEY", Fixture { encryption_keys: String::new(), ..Fixture::new() }),
        ("ENCRYPTION_KEY", Fixture { encryption_keys: format!("{ENCRYPTION_KEY},"), ..Fixture::new() }),
        ("ENCRYPTION_KEY", Fixture { encryption_keys: format!("{ENCRYPTION_KEY},{ENCRYPTION_KEY}"), ..Fixture::new() }),
        ("VM_API_KEY", Fixture { api_keys: String::new(), ..Fixture::new() }),
        ("VM_API_KEY", Fixture { api_keys: "secretly broken".to_owned(), ..Fixture::new() }),
        ("VM_API_KEY", Fixture { api_keys: "a,,secretly".to_owned(), ..Fixture::new() }),
        ("CONNECT_SERVICE_KEY", Fixture { service_key: Some("secretly\u{7}".to_owned()), ..Fixture::new() }),
    ] {
        let (error, text) = refusal(change.connect_settings()).await;
        assert!(matches!(error, StartError::Configuration(_)), "{error:?}");
        assert!(text.contains(name), "{text}");
        assert!(!text.contains("secretly") && !text.contains(ENCRYPTION_KEY), "{text}");
        assert!(!change.path("aiviary.db").exists(), "{name}: nothing is made");
    }
}

#[tokio::test]
async fn files_that_are_not_ours_are_named_and_left_alone() {
    let sqlite = |statements: &'static str| {
        move |path: &std::path::Path| {
            rusqlite::Connection::open(path).unwrap().execute_batch(statements).unwrap();
        }
    };
    let text = |path: &std::path::Path| fs::write(path, "a letter to somebody\n".repeat(100)).unwrap();
    let folder = |path: &std::path::Path| fs::create_dir(path).unwrap();
    let link = |path: &std::path::Path| {
        fs::write(path.with_extension("target"), "").unwrap();
        std::os::unix::fs::symlink(path.with_extension("target"), path).unwrap();
    };
    type Make = Box<dyn Fn(&std::path::Path)>;
    let cases: Vec<(&str, &str, Make, &str)> = vec![
        (
            "somebody's database",
            "aiviary.db",
            Box::new(sqlite("CREATE TABLE t (a)")),
            "not an aiviary credential store",
        ),
        ("no database", "aiviary.db", Box::new(text), "not a SQLite file"),
        ("a folder", "aiviary.db", Box::new(folder), "not a regular file"),
        ("a link", "aiviary.db", Box::new(link), "links are not followed"),
        ("somebody's state", "connect.db", Box::new(sqlite("CREATE TABLE t (a)")), "not an aiviary connect state file"),
        ("no state", "connect.db", Box::new(text), "not a SQLite file"),
        ("no trail", "audit.jsonl", Box::new(text), "not an audit file"),
        ("a folder as trail", "audit.jsonl", Box::new(folder), "not a regular file"),
        ("a link as trail", "audit.jsonl", Box::new(link), "links are not followed"),
    ];
    for (name, file, make, words) in cases {
        let fixture = Fixture::new();
        let path = fixture.path(file);
        make(&path);
        let before = fs::read(&path).ok();
        let (error, text) = refusal(fixture.connect_settings()).await;
        assert!(matches!(error, StartError::Configuration(_)), "{name}: {error:?}");
        assert!(text.contains(words) && text.contains(file), "{name}: {text}");
        assert_eq!(fs::read(&path).ok(), before, "{name}");
    }

    // The store of this release, and of a later one.
    let roles = start().await;
    let folder = roles.folder.clone();
    roles.stop().await;
    let newer = Fixture::on(&folder);
    rusqlite::Connection::open(newer.path("aiviary.db")).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let (error, text) = refusal(newer.connect_settings()).await;
    assert!(matches!(error, StartError::Configuration(_)), "{error:?}");
    assert!(text.contains("version 99") && text.contains("newer"), "{text}");
    // The state file is not the store, although both are ours.
    fs::copy(newer.path("connect.db"), newer.path("aiviary.db")).unwrap();
    assert!(refusal(newer.connect_settings()).await.1.contains("not an aiviary credential store"));
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    // A folder that not even root may write to; where there is none, there is nothing to test.
    let sealed = std::path::Path::new("/sys");
    if !sealed.is_dir() || fs::File::create(sealed.join("aiviary-probe")).is_ok() {
        support::skipped::skipped("this machine has no folder that nobody may write to");
        return;
    }
    let fixture = Fixture::new();
    for (name, settings) in [
        ("store", {
            let mut settings = fixture.connect_settings();
            settings.store.url = aiviary::store::Url::Sqlite(sealed.join("aiviary.db"));
            settings
        }),
        ("state", connect::Settings { state: sealed.join("aiviary.db"), ..fixture.connect_settings() }),
        ("audit", connect::Settings { audit: sealed.join("aiviary.db"), ..fixture.connect_settings() }),
    ] {
        let (error, text) = refusal(settings).await;
        assert!(matches!(error, StartError::Configuration(_)), "{name}: {error:?}");
        assert!(text.contains("aiviary.db") && text.contains("cannot be"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_key() {
    let roles = start().await;
    for (position, key) in [(0, "connect.internal[0]"), (1, "connect.public[0]")] {
        let fixture = Fixture::new();
        let mut settings = fixture.connect_settings();
        settings.listeners[position].at = roles.internal.to_string().parse().unwrap();
        let (error, text) = refusal(settings).await;
        assert!(matches!(error, StartError::Failed(_)), "{error:?}");
        assert!(text.contains(&roles.internal.to_string()) && text.contains(key), "{text}");
        assert!(!fixture.path("aiviary.db").exists(), "nothing is made before every listener is bound");
    }
    for at in ["0.0.0.0:0", "[::]:0", "8.8.8.8:0"] {
        let mut settings = Fixture::new().connect_settings();
        settings.listeners[0].at = at.parse().unwrap();
        let (error, text) = refusal(settings).await;
        assert!(matches!(error, StartError::Configuration(_)), "{error:?}");
        assert!(text.contains("connect.internal[0]") && text.contains("not internal"), "{text}");
    }
}
