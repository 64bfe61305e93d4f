//! Callers who guess keys, flood, or write what they like into every field.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::binary::{self, Service};
use crate::support::process::reserved;
use crate::support::wire::{RawAnswer, Wire, ask, request};
use crate::support::{API_KEY, Fixture, Roles, logs, sample};
use crate::volume;

const PATH: &str = "/api/credentials";
const TOKEN_PATH: &str = "/api/credentials/token";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("X-API-Key", API_KEY);

/// Sends `count` requests on one connection and gives how many answers had which status.
async fn flood(at: SocketAddr, count: usize, one: impl Fn(usize) -> Vec<u8>) -> Vec<(u16, usize)> {
    let last = request("GET", "/healthz", &[("Connection", "close")], "");
    let bytes: Vec<u8> = (0..count).flat_map(one).chain(last).collect();
    let (mut read, mut write) = TcpStream::connect(at).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        write
    });
    let mut came = Vec::new();
    read.read_to_end(&mut came).await.unwrap();
    sending.await.unwrap();
    let came = String::from_utf8(came).unwrap();
    let mut statuses = std::collections::BTreeMap::new();
    // No body of ours holds a status line.
    for answer in came.split("HTTP/1.1 ").skip(1) {
        *statuses.entry(answer[..3].parse().unwrap()).or_insert(0) += 1;
    }
    *statuses.get_mut(&200).expect("the last was answered") -= 1;
    statuses.retain(|_, count| *count > 0);
    statuses.into_iter().collect()
}

#[tokio::test]
async fn thousands_of_wrong_keys_never_lock_out_the_right_one() {
    let roles = Fixture::new().start_connect().await;
    let count = volume(5000);
    let guess = |number: usize| {
        let key = format!("{}{number}", &API_KEY[..API_KEY.len() - 1]);
        request("POST", PATH, &[("X-API-Key", &key), JSON], "")
    };
    let statuses = flood(roles.public, count, guess).await;
    assert_eq!(statuses.iter().map(|(_, count)| count).sum::<usize>(), count, "{statuses:?}");
    assert!(statuses.iter().all(|(status, _)| matches!(status, 401 | 429)), "{statuses:?}");
    assert!(statuses.iter().any(|(status, many)| *status == 401 && *many <= 60), "few are let through: {statuses:?}");
    // From the very address that was slowed.
    for status in [201, 200, 200] {
        let answer = ask(roles.public, "POST", PATH, &[KEY, JSON], &sample("broker").to_string()).await;
        assert_eq!(answer.status(), status, "{answer:?}");
    }
    roles.stop().await;
}

#[tokio::test]
async fn a_401_has_the_same_bytes_for_every_key_that_is_wrong() {
    let keys = format!("{API_KEY},another-key-0123456789abcdef");
    let roles = Fixture { api_keys: keys.clone(), ..Fixture::new() }.start_connect().await;
    let (upper, long, near) = (API_KEY.to_uppercase(), "x".repeat(12_000), format!("{}_", &API_KEY[..28]));
    let (padded, quoted) = (format!("{API_KEY},"), format!("\"{API_KEY}\""));
    let cases = [
        None,
        Some(""),
        Some("x"),
        Some(&API_KEY[1..]),
        Some(&API_KEY[..API_KEY.len() - 1]),
        Some(&upper),
        Some(&near),
        Some(&padded),
        Some(&quoted),
        Some(&keys),
        Some(&long),
    ];
    let mut seen = Vec::new();
    for case in cases {
        for method in ["POST", "DELETE"] {
            let mut headers = vec![JSON];
            headers.extend(case.map(|key| ("X-API-Key", key)));
            let mut wire = Wire::open(roles.public).await;
            headers.push(("Connection", "close"));
            wire.send(request(method, PATH, &headers, "")).await;
            let answers = wire.answers().await;
            assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [401], "{case:?}");
            seen.push(answers[0].without_date());
        }
        // A new process has its burst of failures again.
        if seen.len() == 18 {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    roles.stop().await;
    let again = Fixture { api_keys: keys.clone(), ..Fixture::new() }.start_connect().await;
    for case in [cases[9], cases[10]] {
        let answer = ask(again.public, "POST", PATH, &[JSON, ("X-API-Key", case.unwrap())], "").await;
        assert_eq!(answer.without_date(), seen[0], "{case:?}");
    }
    again.stop().await;
}

/// How many refusals of `reason` the trail tells of: lines, and sums of what was left out.
fn refusals(trail: &[Value], reason: &str) -> (usize, u64) {
    let of = |event: &str| {
        trail.iter().filter(|line| line["event"] == event && line["reason"] == reason).collect::<Vec<_>>()
    };
    (of("refuse").len(), of("suppressed").iter().map(|line| line["count"].as_u64().unwrap()).sum())
}

#[tokio::test]
async fn a_flood_of_refusals_leaves_few_lines_whose_counts_add_up() {
    let roles = Fixture::new().start_connect().await;
    assert_eq!(roles.store(&sample("calm")).await.status, 201);
    let count = volume(100_000);
    let (internal, public) = (roles.internal, roles.public);
    let forwarded = tokio::spawn(flood(internal, count / 2, |_| request("GET", TOKEN_PATH, &[("Via", "x")], "")));
    let hosts = tokio::spawn(flood(internal, count / 4, |_| request("GET", PATH, &[("Host", "evil.example")], "")));
    let keys = tokio::spawn(flood(public, count / 4, |_| request("POST", PATH, &[("X-API-Key", "x"), JSON], "")));
    for _ in 0..50 {
        let granted = roles.get(internal, "/api/credentials/token?client_id=calm").await;
        assert_eq!(granted.status, 200, "grants go on: {}", granted.text);
    }
    assert_eq!(forwarded.await.unwrap(), [(403, count / 2)]);
    assert_eq!(hosts.await.unwrap(), [(403, count / 4)]);
    let keys = keys.await.unwrap();
    assert_eq!(keys.iter().map(|(_, count)| count).sum::<usize>(), count / 4, "{keys:?}");
    let wrong = keys.iter().find(|(status, _)| *status == 401).unwrap().1;
    let path = roles.path("audit.jsonl");
    let folder = roles.folder.clone();
    roles.finish(&[aiviary::roles::sandbox::TOKEN]).await;

    let text = std::fs::read_to_string(&path).unwrap();
    let trail: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (reason, expected) in [("forwarded", count / 2), ("host", count / 4), ("unauthorized", wrong)] {
        let (lines, left_out) = refusals(&trail, reason);
        assert_eq!(lines as u64 + left_out, expected as u64, "{reason}");
    }
    let grants = trail.iter().filter(|line| line["event"] == "grant").count();
    assert_eq!(grants, 50);
    // Sixty a minute of each reason: with three reasons a soak of minutes stays below a thousand.
    let most = if count > 10_000 { 1000 } else { 250 + grants };
    assert!(trail.len() <= most, "{} lines", trail.len());
    drop(folder);
}

/// Every line of this process's log begins with a moment and holds nothing that a terminal or a reader would obey.
pub fn assert_log_is_plain() {
    for line in logs().text().lines() {
        let begins = line.as_bytes().first().is_some_and(u8::is_ascii_digit) && line.as_bytes().get(4) == Some(&b'-');
        assert!(begins, "no line of ours: {line:?}");
        let obeyed = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}' | '\u{85}');
        assert!(!line.contains(obeyed), "{line:?}");
    }
}

/// What a forger writes, with a mark to find it by.
pub const FORGERIES: [&str; 8] = [
    "\r\n2026-11-23T09:00:00Z  INFO FORGED",
    "\n{\"v\":1,\"seq\":9,\"event\":\"grant\",\"FORGED\":1}",
    "\u{1b}[2J\u{1b}[31mFORGED",
    "FORGED\u{2028}FORGED\u{2029}FORGED",
    "\",\"event\":\"grant\",\"FORGED\":\"",
    "FORGED\u{0}\u{7f}\u{85}\u{9b}31m",
    "\u{202e}DEGROF FORGED\\n\\r",
    "\tFORGED\u{b}\u{c}\u{8}",
];

#[tokio::test]
async fn hostile_text_in_any_field_stays_within_one_line() {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("plain")).await.status, 201);
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    for text in FORGERIES {
        for name in
            ["client_id", "access_token", "facebook_page_id", "ad_account_id", "token_expires_at", "login", "scopes"]
        {
            let mut body = sample("plain");
            body[name] = text.into();
            let came = roles.store(&body).await;
            // Words of some forgeries are names of permissions, and a token may hold whatever a header can carry.
            let may_pass = name == "scopes" || (name == "access_token" && text.bytes().all(|b| b.is_ascii_graphic()));
            assert!(came.status == 422 || (may_pass && came.status == 200), "{name} {text:?}: {}", came.text);
        }
        let mut body = sample("plain");
        body[text] = "unknown".into();
        assert_eq!(roles.store(&body).await.status, 200);
        for target in ["/api/credentials?client_id=", "/api/credentials/token?client_id=", "/api/credentials?", "/"] {
            let came = ask(roles.internal, "GET", &format!("{target}{}", encode(text)), &[], "").await;
            assert!((400..500).contains(&came.status()), "{target}: {came:?}");
        }
        // Header values as bytes: what no header can carry is refused by the parser.
        for header in
            ["Host", "X-API-Key", "User-Agent", "Via", "Origin", "Authorization", "X-Request-Id", "Content-Type"]
        {
            let mut wire = Wire::open(roles.internal).await;
            let headers = [(header, text), ("Connection", "close")];
            wire.send(request("GET", TOKEN_PATH, &headers, "")).await;
            wire.answers().await;
        }
        for body in [
            json!({"method": text}),
            json!({"method": "get_profile", "params": {text: 1}}),
            json!({"method": "get_media", "params": {"media_id": text}}),
            json!({"jsonrpc": "2.0", "id": text, "method": text}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": text}}),
        ] {
            roles.post_mcp(roles.instagram, "/mcp", body.to_string()).await;
        }
        roles.post_mcp(roles.instagram, &format!("/clients/{}/mcp", encode(text)), "{}").await;
        roles.edit("plain", "token_expires_at", Some(text));
        roles.edit("plain", "scopes", Some(text));
        assert_eq!(roles.get(roles.internal, "/api/credentials/token").await.status, 200);
        roles.edit("plain", "ad_account_id", Some(text));
        assert_eq!(roles.get(roles.internal, "/api/credentials/token").await.status, 500);
        roles.edit("plain", "client_id", Some(text));
        assert!(matches!(roles.get(roles.internal, "/api/credentials/token").await.status, 404 | 500));
        assert_eq!(roles.get(roles.internal, "/readyz").await.status, 200);
        roles.sql("DELETE FROM meta_credentials");
        assert_eq!(roles.store(&sample("plain")).await.status, 201);
    }
    assert_log_is_plain();
    assert_trail_is_plain(&roles);
    roles.stop().await;
}

#[tokio::test]
async fn a_running_service_logs_each_event_on_one_line() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let at = reserved().to_string();
        let variables = [("AIVIARY__MCP__INSTAGRAM__LISTEN", at.as_str()), ("AIVIARY__LOG__FORMAT", format)];
        let arguments = ["serve", "mcp", "--platform", "instagram"];
        let mut service = Service::start(&mut binary::command(folder.path(), &arguments, &variables));
        service.wait_for("mcp listens on");
        let http = crate::support::client();
        for text in FORGERIES {
            for body in [json!({"method": text}), json!({"jsonrpc": "2.0", "id": 1, "method": text})] {
                let request = http.post(format!("http://{at}/mcp")).header("content-type", "application/json");
                crate::support::answer(request.body(body.to_string())).await;
            }
        }
        let lines = service.end();
        assert!(lines.iter().any(|line| line.contains("FORGED")), "a library repeats it: {lines:#?}");
        for line in lines {
            let begins = if format == "json" { line.starts_with("{\"timestamp\":") } else { line.starts_with("20") };
            assert!(begins && !line.starts_with("2026-11-23T09:00:00Z"), "{line:?}");
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{line:?}");
            assert!(format == "text" || serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
    }
}

fn assert_trail_is_plain(roles: &Roles) {
    let trail = std::fs::read(roles.path("audit.jsonl")).unwrap();
    for line in trail.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        assert!(line.iter().all(|b| (0x20..0x7f).contains(b)), "{}", String::from_utf8_lossy(line));
        let line: Value = serde_json::from_slice(line).unwrap();
        assert_eq!((line["v"].as_u64(), line.get("FORGED")), (Some(1), None), "{line}");
        assert!(line["hash"].is_string(), "{line}");
    }
}
