//! The way to Meta: where calls go, what comes back, and who cannot be between.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aiviary::platforms::Platform;
use aiviary::roles::mcp::ConnectAt;
use aiviary::roles::sandbox;
use aiviary::tool::write::WAIT_S;
use aiviary::tool::{Access, ParamKind, Tool, Writes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::binary::{self, Service};
use crate::callers::{FORGERIES, assert_log_is_plain};
use crate::support::process::reserved;
use crate::support::tools::{Stub, assert_failure};
use crate::support::{Fixture, Roles, sample};
use crate::volume;

/// A listener that answers each connection with the same bytes and keeps what it was sent.
struct Fixed {
    at: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fixed {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A connection counts as heard before a byte of it came.
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(String::new());
                    all.len() - 1
                };
                let (all, answer) = (all.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            break;
                        }
                    }
                    all.lock().unwrap()[number] = String::from_utf8_lossy(&bytes).into_owned();
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { at, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// What a trap would answer: a grant, and an account, so that whoever follows would succeed.
async fn trap() -> Fixed {
    let mut grant = sample("trap");
    grant["token_expired"] = false.into();
    grant["scopes"] = json!([]);
    grant["login"] = "facebook".into();
    grant["id"] = "1".into();
    let body = grant.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    Fixed::start(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await
}

#[tokio::test]
async fn no_redirect_takes_a_token_away() {
    let trap = trap().await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("http://{}", trap.at);
        for path in ["/api/credentials/token", "/v26.0/me"] {
            let head = format!(
                "HTTP/1.1 {status} X\r\nlocation: {to}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let here = Fixed::start(head).await;
            let url = format!("http://{}", here.at);
            let roles = if path.starts_with("/v26") {
                Fixture { graph: Some(url), ..Fixture::new() }.start().await
            } else {
                let service_key_sent = Some("service-key-0123456789abcdef".to_owned());
                Fixture { connect: Some(ConnectAt::Url(url)), service_key_sent, ..Fixture::new() }.start().await
            };
            assert_eq!(roles.store(&sample("main")).await.status, 201);
            let came = roles.plain(roles.instagram, "get_profile", json!({})).await;
            assert!(came.status >= 500, "{status} {path}: {}", came.text);
            assert_failure(&came);
            assert_eq!(here.heard().len(), 1, "{status} {path}: asked once");
            assert!(!came.text.contains(&trap.at.to_string()), "its address is not passed on: {}", came.text);
            roles.stop().await;
        }
    }
    assert_eq!(trap.heard(), [""; 0]);
}

/// The variables by which programs find proxies, all naming `trap`.
fn proxies(trap: SocketAddr) -> Vec<(&'static str, String)> {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    names.into_iter().map(|name| (name, format!("http://{trap}"))).collect()
}

async fn call(roles: &Roles, more: &[(&str, &str)]) -> (i32, String) {
    let connect = format!("http://{}", roles.internal);
    let graph = format!("http://{}", roles.sandbox);
    let mut variables = vec![("AIVIARY__MCP__CONNECT_URL", connect.as_str()), ("AIVIARY__GRAPH__BASE_URL", &graph)];
    variables.extend(more);
    let arguments = ["call", "--platform", "instagram", "--client", "main", "get_profile"];
    let mut command = binary::command(roles.folder.path(), &arguments, &variables);
    binary::said(&tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}

#[tokio::test]
async fn no_proxy_variable_takes_a_token_away() {
    let (trap, roles) = (trap().await, Fixture::new().start().await);
    assert_eq!(roles.store(&sample("main")).await.status, 201);
    let named = proxies(trap.at);
    let named: Vec<(&str, &str)> = named.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (exit, said) = call(&roles, &named).await;
    assert_eq!(exit, 0, "connect and Graph are asked directly: {said}");
    // A name that only a proxy could resolve, and TLS, which a proxy would be asked to tunnel.
    let port = format!("https://localhost:{}", reserved().port());
    for (name, url) in [
        ("AIVIARY__GRAPH__BASE_URL", "https://graph.invalid"),
        ("AIVIARY__GRAPH__BASE_URL", &port),
        ("AIVIARY__MCP__CONNECT_URL", "https://connect.invalid"),
        ("AIVIARY__MCP__CONNECT_URL", &port),
    ] {
        let more = [&named[..], &[(name, url)]].concat();
        let (exit, said) = call(&roles, &more).await;
        assert_eq!(exit, 69, "{name} {url}: {said}");
    }
    assert_eq!(trap.heard(), [""; 0]);
    // The trap does work: a client that heeds the variable falls into it.
    let heeds = reqwest::Client::builder()
        .tls_certs_only([])
        .proxy(reqwest::Proxy::all(format!("http://{}", trap.at)).unwrap());
    heeds.build().unwrap().get(format!("http://{}/readyz", roles.internal)).send().await.unwrap();
    assert_eq!(trap.heard().len(), 1);
    roles.stop().await;
}

fn certificate(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/security/certs/{name}.b64", env!("CARGO_MANIFEST_DIR"));
    STANDARD.decode(std::fs::read_to_string(path).unwrap().trim()).unwrap()
}

/// A Graph behind TLS that shows `chain`, and how often a request reached it.
fn behind_tls(chain: &str) -> (String, Arc<Mutex<usize>>) {
    aiviary::graph::install_crypto_provider();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certificate("leaf.key").into());
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = Arc::new(tls.with_single_cert(vec![certificate(chain).into()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket.unwrap());
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                *count.lock().unwrap() += 1;
                let body = r#"{"id":"1","username":"behind_tls"}"#;
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_certificate_of_another_name_an_expired_and_an_unknown_one_are_refused() {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("main")).await.status, 201);
    let root = format!("{}/tests/security/certs/root.pem", env!("CARGO_MANIFEST_DIR"));
    for (name, chain, roots, trusted) in [
        ("the right one", "right.der", root.as_str(), true),
        ("another name", "other.der", &root, false),
        ("expired", "expired.der", &root, false),
        ("of nobody", "right.der", "/dev/null", false),
    ] {
        let (url, asked) = behind_tls(chain);
        let more =
            [("AIVIARY__GRAPH__BASE_URL", url.as_str()), ("SSL_CERT_FILE", roots), ("SSL_CERT_DIR", "/nonexistent")];
        let (exit, said) = call(&roles, &more).await;
        if trusted {
            assert!(exit == 0 && said.contains("behind_tls"), "{name}: {said}");
        } else {
            assert!(exit == 69 && said.contains("[meta_unavailable]"), "{name}: {said}");
        }
        assert_eq!(*asked.lock().unwrap() > 0, trusted, "{name}: no request, and so no token, before the certificate");
    }
    // The way to connect checks as much.
    let (url, asked) = behind_tls("other.der");
    let more =
        [("AIVIARY__MCP__CONNECT_URL", url.as_str()), ("SSL_CERT_FILE", &root), ("SSL_CERT_DIR", "/nonexistent")];
    let (exit, said) = call(&roles, &more).await;
    assert!(exit == 69 && said.contains("[connect_unavailable]"), "{said}");
    assert_eq!(*asked.lock().unwrap(), 0);
    roles.stop().await;
}

/// What would change a path, a query, a header or a batch, were it not encoded: 200 texts.
fn payloads() -> Vec<String> {
    let cores = [
        "../me",
        "..",
        ".",
        "/me",
        "//evil.example/",
        "?access_token=EAABplanted",
        "&method=delete",
        "#x",
        "%2f..%2fme",
        "%2e%2e/me",
        "..%2Fme",
        "\\..\\me",
        ";me",
        "%00",
        "\u{0}",
        "%0d%0aHost: evil.example",
        "\r\nHost: evil.example\r\n\r\n",
        "http://evil.example/",
        "https://u:p@evil.example",
        "{result=a:$.data.*.id}",
        "access_token",
        "id,access_token",
        "fields(access_token)",
        "insights{access_token}",
        "&fields=access_token",
        "=1&access_token=x",
        "me/accounts?fields=access_token",
        "1/media?fields=access_token",
        "\"},{\"method\":\"DELETE\",\"relative_url\":\"1",
        "'; DROP TABLE x; --",
        "$(id)",
        "\u{2025}/me",
        "\u{ff0e}\u{ff0e}/me",
        "\u{202e}em/..",
        "a\tb",
        "+/me",
        "%252e%252e%252fme",
        "act_1/../me",
        "me?ids=1,2",
        "*",
    ];
    let around = ["{}", "1{}", "{}1", "17900000000000001{}", "1,{}"];
    around.iter().flat_map(|form| cores.iter().map(|core| form.replace("{}", core))).collect()
}

/// Every request of `line` and, where it is a batch, of its body, as target after the version.
fn targets(line: &str, body: &str) -> Vec<(String, String)> {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    assert_eq!((words.next(), words.next()), (Some("HTTP/1.1"), None), "{line}");
    let batch = body.split('&').find_map(|pair| pair.strip_prefix("batch="));
    let Some(batch) = batch else {
        // What is written stands in the body: a form, or JSON, of which the names count here.
        let sent = match serde_json::from_str::<Map<String, Value>>(body) {
            Ok(object) => object.keys().map(|name| format!("{name}=object")).collect::<Vec<_>>().join("&"),
            Err(_) => body.to_owned(),
        };
        let target = if sent.is_empty() { target } else { format!("{target}?{sent}") };
        return vec![(method, target)];
    };
    assert_eq!(method, "POST", "{line}");
    let batch = percent_encoding::percent_decode_str(&batch.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let entries: Vec<Value> = serde_json::from_str(&batch).unwrap_or_else(|error| panic!("{error}: {batch}"));
    entries
        .iter()
        .map(|entry| {
            for name in entry.as_object().unwrap().keys() {
                assert!(
                    ["method", "relative_url", "include_headers", "omit_response_on_success", "name"]
                        .contains(&name.as_str()),
                    "{batch}"
                );
            }
            let url = entry["relative_url"].as_str().unwrap().trim_start_matches('/');
            let url = url.strip_prefix("v26.0/").unwrap_or(url);
            (entry["method"].as_str().unwrap().to_owned(), format!("/v26.0/{url}"))
        })
        .collect()
}

/// Whether a segment has the form of a thread's or message's id, as messages have.
fn is_opaque(segment: &str) -> bool {
    let segment = segment.replace("%3D", "=");
    segment.len() >= 16
        && segment.bytes().any(|b| b.is_ascii_digit())
        && segment.bytes().any(|b| b.is_ascii_uppercase())
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_=-".contains(&b))
}

/// Asserts that a request is one that a tool can make: own places, known names, and only a changing tool writes.
fn assert_in_shape(
    what: &str,
    access: Access,
    method: &str,
    target: &str,
    names: &Mutex<std::collections::BTreeSet<String>>,
    learn: bool,
) {
    assert!(method == "GET" || (access != Access::Read && ["POST", "DELETE"].contains(&method)), "{what}: {target}");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix(sandbox::INSTAGRAM_PATH).unwrap_or(path);
    let rest = path.strip_prefix("/v26.0/").unwrap_or_else(|| panic!("{what}: {target}"));
    let segments: Vec<&str> = rest.split('/').collect();
    // Which permissions the token has, and the Page's own token for its messages: no argument is in either.
    if rest == "me/permissions" || (rest == sandbox::PAGE && query == "fields=access_token") {
        return;
    }
    let node = segments[0].strip_prefix("act_").unwrap_or(segments[0]);
    let is_id = !node.is_empty() && node.bytes().all(|b| b.is_ascii_digit());
    assert!(is_id || rest == "ig_hashtag_search" || is_opaque(node), "{what}: the node is an id: {target}");
    let edge = |segment: &&str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(segments[1..].iter().all(edge) && segments.len() <= 2, "{what}: {target}");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{what}: {pair} in {target}"));
        let mut names = names.lock().unwrap();
        if learn {
            names.insert(name.to_owned());
        }
        assert!(names.contains(name), "{what}: {name} in {target}, known are {names:?}");
        assert!(
            value.bytes().all(|b| b.is_ascii_alphanumeric() || b"%-._~+*,:(){}!'\"[]$".contains(&b)),
            "{what}: {target}"
        );
        let fields = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        // What stands in parentheses is a value, as a username, and no field.
        let mut depth = 0;
        let outside: String = fields
            .chars()
            .filter(|c| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth == 0
            })
            .collect();
        assert!(name != "fields" || !outside.contains("access_token"), "{what}: {target}");
    }
}

#[tokio::test]
async fn no_argument_changes_where_a_call_goes() {
    type Seen = Arc<Mutex<Vec<(String, String)>>>;
    let seen: Seen = Arc::default();
    let log = seen.clone();
    let stub = Stub::start(move |line, body| {
        log.lock().unwrap().push((line.to_owned(), body.to_owned()));
        let entries = body.matches("relative_url").count().max(body.matches("relative%5Furl").count());
        let object = json!({"id": "1", "access_token": "EAApage", "success": true, "name": "n", "currency": "EUR", "timezone_name": "Europe/Berlin", "account_id": "1", "data": []});
        if body.contains("batch=") {
            let one = json!({"code": 200, "headers": [], "body": object.to_string()});
            return (200, Value::from(vec![one; entries]).to_string());
        }
        (200, object.to_string())
    })
    .await;
    let roles = Fixture { graph: Some(stub.url.clone()), writes: Writes::All, ..Fixture::new() }.start().await;
    assert_eq!(roles.store(&sample("main")).await.status, 201);
    let names = Mutex::default();
    let call = async |platform: Platform, tool: &Tool, mut arguments: Map<String, Value>| {
        // This Meta never takes a file in: nobody waits for it.
        if tool.params.iter().any(|param| param.name == WAIT_S.name) {
            arguments.insert(WAIT_S.name.to_owned(), 0.into());
        }
        roles.plain(roles.of(platform), tool.name, arguments.into()).await
    };
    // The names that examples ask with, and that the cursor of a list brings.
    for platform in Platform::ALL {
        for tool in platform.catalogue() {
            call(platform, tool, serde_json::from_str(tool.example).unwrap()).await;
            for param in tool.params {
                let value: Value = serde_json::from_str(param.example).unwrap();
                let mut arguments: Map<String, Value> = serde_json::from_str(tool.example).unwrap();
                arguments.insert(param.name.to_owned(), value);
                call(platform, tool, arguments).await;
            }
            for (line, body) in std::mem::take(&mut *seen.lock().unwrap()) {
                for (method, target) in targets(&line, &body) {
                    assert_in_shape(tool.name, tool.access, &method, &target, &names, true);
                }
            }
        }
    }
    assert!(names.lock().unwrap().contains("fields"), "{names:?}");

    let all = payloads();
    assert_eq!(all.len(), 200);
    let many = volume(all.len());
    let (mut refused, mut passed, mut offset) = (0, 0, 0);
    for platform in Platform::ALL {
        for tool in platform.catalogue() {
            for param in tool.params {
                offset += 7;
                for number in 0..many {
                    let text = &all[(number * (all.len() / many) + offset) % all.len()];
                    let lists = matches!(param.kind, ParamKind::List(..));
                    for value in [json!(text), json!([text])].into_iter().take(1 + usize::from(lists)) {
                        let mut arguments: Map<String, Value> = serde_json::from_str(tool.example).unwrap();
                        arguments.insert(param.name.to_owned(), value.clone());
                        let what = format!("{} {}={value}", tool.name, param.name);
                        let came = call(platform, tool, arguments).await;
                        let asked = std::mem::take(&mut *seen.lock().unwrap());
                        if came.status == 400 {
                            assert_eq!(came.code(), "invalid_params", "{what}: {}", came.text);
                            refused += 1;
                        } else {
                            assert!(came.status != 500, "{what}: {}", came.text);
                            passed += 1;
                        }
                        for (line, body) in asked {
                            for (method, target) in targets(&line, &body) {
                                assert_in_shape(&what, tool.access, &method, &target, &names, false);
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(refused > passed && passed > 0, "{refused} refused, {passed} passed");
    roles.stop().await;
}

#[tokio::test]
async fn clients_tokens_and_addresses_are_no_arguments() {
    let roles = Fixture { writes: Writes::All, ..Fixture::new() }.start().await;
    for client in ["main", "other"] {
        assert_eq!(roles.store(&sample(client)).await.status, 201);
    }
    let planted = [
        "client_id",
        "client",
        "clientId",
        "access_token",
        "token",
        "api_key",
        "appsecret_proof",
        "instagram_business_account_id",
        "facebook_page_id",
        "ad_account_id",
        "meta_user_id",
        "account_id",
        "url",
        "base_url",
        "host",
        "version",
        "login",
    ];
    let mut tried = 0;
    for platform in Platform::ALL {
        let at = roles.of(platform);
        for tool in platform.catalogue() {
            for name in planted {
                assert!(
                    tool.params
                        .iter()
                        .all(|param| param.name != name || !["client_id", "access_token", "url"].contains(&name)),
                    "{}",
                    tool.name
                );
                if tool.params.iter().any(|param| param.name == name) {
                    continue;
                }
                let mut arguments: Map<String, Value> = serde_json::from_str(tool.example).unwrap();
                arguments.insert(name.to_owned(), "other".into());
                let came = roles.refused(at, "/clients/main/mcp", tool.name, &arguments.into()).await;
                assert_eq!(
                    (came.status, came.code().as_str()),
                    (400, "invalid_params"),
                    "{} {name}: {}",
                    tool.name,
                    came.text
                );
                assert!(came.message().starts_with(name), "{} {name}: {}", tool.name, came.text);
                tried += 1;
            }
        }
    }
    assert!(tried >= 8 * 15, "{tried}");
    assert_eq!(roles.graph_seen.call_count(), 0, "Meta was not asked");
    assert!(!roles.trail().iter().any(|line| line["event"] == "grant"), "and no token was granted for it");
    roles.stop().await;
}

/// A Graph that answers as the id in the path says.
async fn hostile() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(harass(stream));
        }
    });
    at
}

async fn harass(mut stream: TcpStream) -> Option<()> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let is = |id: &str| head.contains(&format!("/{id}?"));
    if is(BOMB) {
        // A deflate block of 64 KiB of zeros that ends on a byte, 16384 times: 1 GiB.
        let block = STANDARD.decode(format!("7MEBAQAAAICQ/q/uCAo{}BqAAAA//8=", "A".repeat(83))).unwrap();
        stream.write_all(format!("{ok}content-encoding: gzip\r\n\r\n").as_bytes()).await.ok()?;
        stream.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]).await.ok()?;
        for _ in 0..16384 {
            stream.write_all(&block).await.ok()?;
        }
    } else if is(DEEP) {
        let deep = format!("{{\"id\":\"1\",\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        stream.write_all(format!("{ok}content-length: {}\r\n\r\n{deep}", deep.len()).as_bytes()).await.ok()?;
    } else if is(ENDLESS) {
        stream.write_all(format!("{ok}\r\n{{\"id\":\"").as_bytes()).await.ok()?;
        while stream.write_all(&[b'1'; 65536]).await.is_ok() {}
    } else if is(HEADERS) {
        stream.write_all(ok.as_bytes()).await.ok()?;
        while stream.write_all(b"X-More: and more\r\n").await.is_ok() {}
    } else if is(DRIPPING) {
        stream.write_all(format!("{ok}content-length: 1000000\r\n\r\n{{").as_bytes()).await.ok()?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            stream.write_all(b" ").await.ok()?;
        }
    } else {
        stream.write_all(format!("{ok}content-length: 10\r\n\r\n{{\"id\":\"1\"}}").as_bytes()).await.ok()?;
    }
    stream.shutdown().await.ok()
}

const BOMB: &str = "17841400000000011";
const DEEP: &str = "17841400000000012";
const ENDLESS: &str = "17841400000000013";
const HEADERS: &str = "17841400000000014";
const DRIPPING: &str = "17841400000000015";
const CALM: &str = "17841400000000016";

#[tokio::test]
async fn huge_deep_and_slow_answers_end_in_time_and_in_little_memory() {
    let roles = Fixture::new().start_connect().await;
    for id in [BOMB, DEEP, ENDLESS, HEADERS, DRIPPING, CALM] {
        let body = json!({"client_id": id, "access_token": sandbox::TOKEN, "instagram_business_account_id": id});
        assert_eq!(roles.store(&body).await.status, 201);
    }
    let (port, graph) = (reserved().to_string(), format!("http://{}", hostile().await));
    let connect = format!("http://{}", roles.internal);
    let variables = [
        ("AIVIARY__MCP__INSTAGRAM__LISTEN", port.as_str()),
        ("AIVIARY__MCP__CONNECT_URL", &connect),
        ("AIVIARY__GRAPH__BASE_URL", &graph),
        ("AIVIARY__GRAPH__TIMEOUT", "5s"),
    ];
    let arguments = ["serve", "mcp", "--platform", "instagram"];
    let mut service = Service::start(&mut binary::command(roles.folder.path(), &arguments, &variables));
    service.wait_for("mcp listens on");
    let at: SocketAddr = port.parse().unwrap();
    let ask = async |id: &str| {
        let began = Instant::now();
        let came = roles.post_mcp(at, &format!("/clients/{id}/mcp"), r#"{"method":"get_profile"}"#).await;
        (came, began.elapsed())
    };
    let (calm, _) = ask(CALM).await;
    assert_eq!(calm.status, 200, "{}", calm.text);
    let quiet = service.peak_kib();
    let asked = [BOMB, DEEP, ENDLESS, HEADERS, DRIPPING].map(async |id| (id, ask(id).await));
    for (id, (came, took)) in futures_util::future::join_all(asked).await {
        assert_failure(&came);
        assert!(matches!(came.status, 422 | 502 | 504), "{id}: {}", came.text);
        assert!(took < Duration::from_secs(30), "{id} took {took:?}");
    }
    let (calm, _) = ask(CALM).await;
    assert_eq!(calm.status, 200, "it goes on: {}", calm.text);
    let peak = service.peak_kib();
    assert!(peak < 64 << 10, "{peak} KiB, {quiet} of them before");
    service.end();
    roles.finish(&[sandbox::TOKEN]).await;
}

#[tokio::test]
async fn texts_of_meta_stay_within_one_line_of_log_and_error() {
    let next = Arc::new(Mutex::new(String::new()));
    let text = next.clone();
    let stub = Stub::start(move |line, _| {
        let text = text.lock().unwrap().clone();
        let name = if line.contains("Via") { "" } else { text.as_str() };
        let error = json!({
            "message": name, "type": name, "code": 100, "error_subcode": 33, "fbtrace_id": name,
            "error_user_title": name, "error_user_msg": name, "error_data": name,
        });
        (400, json!({ "error": error }).to_string())
    })
    .await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    assert_eq!(roles.store(&sample("main")).await.status, 201);
    for text in FORGERIES {
        *next.lock().unwrap() = text.to_owned();
        for (platform, tool) in [(Platform::Instagram, "get_profile"), (Platform::MetaAds, "get_ad_account")] {
            let came = roles.plain(roles.of(platform), tool, json!({})).await;
            assert_failure(&came);
            assert_eq!(came.code(), "rejected_by_meta", "{}", came.text);
            assert!(!came.message().contains(|c: char| c.is_control()), "{text:?}: {:?}", came.message());
        }
    }
    assert_log_is_plain();
    roles.stop().await;
}
