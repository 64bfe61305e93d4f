//! The edge: listeners, peers, proxies, hosts, pages, and the unix socket.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use aiviary::exposure::{Exposure, Listener, Peer, Refusal, Rules, is_internal};
use aiviary::roles::connect;
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::binary::{self, BIN, Service};
use crate::support::skipped::skipped;
use crate::support::wire::{RawAnswer, TOKEN_MARK, Wire, ask, request};
use crate::support::{API_KEY, ENCRYPTION_KEY, Fixture, Roles, sample};

const PATH: &str = "/api/credentials";
const TOKEN_PATH: &str = "/api/credentials/token";
const KEY: (&str, &str) = ("X-API-Key", API_KEY);
const JSON: (&str, &str) = ("Content-Type", "application/json");
const CLOSE: (&str, &str) = ("Connection", "close");

fn token() -> String {
    format!("{TOKEN_MARK}Edge0Zz9")
}

async fn start() -> Roles {
    let roles = Fixture::new().start_connect().await;
    let mut body = sample("edge");
    body["access_token"] = token().into();
    assert_eq!(roles.store(&body).await.status, 201);
    roles
}

async fn exchange(at: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<RawAnswer> {
    let mut wire = Wire::open(at).await;
    wire.send(bytes).await;
    wire.answers().await
}

/// Ways to write the path of the grant; `{}` stands for the word that makes it that path.
const SPELLINGS: [&str; 44] = [
    "/api/credentials/{}",
    "/api/credentials/{}?client_id=edge",
    "/api/credentials/{}?",
    "/api/credentials/{}?x=1",
    "/api/credentials/{}?client_id=edge&client_id=edge",
    "/api/credentials/{}?client_id=%zz",
    "//api/credentials/{}",
    "/api//credentials/{}",
    "/api/credentials//{}",
    "///api/credentials/{}",
    "/./api/credentials/{}",
    "/api/./credentials/{}",
    "/api/credentials/./{}",
    "/api/credentials/{}/.",
    "/api/credentials/{}/..",
    "/x/../api/credentials/{}",
    "/api/credentials/x/../{}",
    "/api/credentials/../credentials/{}",
    "/../api/credentials/{}",
    "/%2e/api/credentials/{}",
    "/api/credentials/%2e%2e/credentials/{}",
    "/api/credentials%2f{}",
    "/api/credentials%2F{}",
    "/api%2fcredentials%2f{}",
    "/%61pi/credentials/{}",
    "/api/credentials/%20{}",
    "/api/credentials/{}%20",
    "/api/credentials/{}%00",
    "/api/credentials/{}%0a",
    "/api/credentials/{};a",
    "/api/credentials/{};",
    "/api/credentials;a=b/{}",
    "/api/credentials/{}/",
    "/api/credentials/{}//",
    "/api/credentials/{}.json",
    "/api/credentials/{}*",
    "/API/CREDENTIALS/{}",
    "/Api/Credentials/{}",
    "/api/credentials\\{}",
    "/api\\credentials\\{}",
    "/api/credentials/{}#x",
    "http://localhost/api/credentials/{}",
    "http://LOCALHOST/api/credentials/{}",
    "https://localhost/api/credentials/{}",
];

#[tokio::test]
async fn the_grant_on_a_public_listener_is_an_unknown_path_in_every_spelling() {
    let roles = start().await;
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "GRANT"];
    for method in methods {
        for (word, other) in [("token", "nokot"), ("TOKEN", "NOKOT"), ("%74oken", "%6eokot"), ("t%6Fken", "n%6Fkot")] {
            for spelling in SPELLINGS {
                let answer = async |word: &str| {
                    let target = spelling.replace("{}", word);
                    let answers = exchange(roles.public, request(method, &target, &[KEY, JSON, CLOSE], "")).await;
                    assert_eq!(answers.len(), 1, "{method} {target}: {answers:?}");
                    answers[0].without_date()
                };
                let (grant, unknown) = (answer(word).await, answer(other).await);
                assert_eq!(grant, unknown, "{method} {spelling} {word}");
                assert!(grant.starts_with("HTTP/1.1 40"), "{method} {spelling} {word}: {grant}");
                // A spelling in full per method is enough beyond the plain word.
                if word != "token" && method != "GET" {
                    break;
                }
            }
        }
    }
    assert!(!roles.trail().iter().any(|line| line["event"] == "grant" || line["event"] == "refuse"));
    roles.finish(&[&token()]).await;
}

#[test]
fn sixty_addresses_have_their_verdicts() {
    let verdicts: &[(bool, &[&str])] = &[
        (
            true,
            &[
                "127.0.0.1",
                "127.0.0.2",
                "127.255.255.254",
                "10.0.0.0",
                "10.0.0.1",
                "10.255.255.255",
                "172.16.0.0",
                "172.16.0.1",
                "172.30.10.7",
                "172.31.255.255",
                "192.168.0.0",
                "192.168.0.1",
                "192.168.255.255",
                "::1",
                "fc00::",
                "fc00::1",
                "fd00::1",
                "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "::ffff:172.31.0.1",
                "::ffff:192.168.1.1",
            ],
        ),
        (
            false,
            &[
                "0.0.0.0",
                "0.0.0.1",
                "8.8.8.8",
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.167.255.255",
                "192.169.0.0",
                "169.254.0.1",
                "169.254.169.254",
                "100.64.0.1",
                "100.127.255.254",
                "192.0.2.1",
                "198.18.0.1",
                "203.0.113.9",
                "224.0.0.1",
                "239.1.1.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::2",
                "fe80::1",
                "fe80::a00:1",
                "febf::1",
                "fec0::1",
                "fbff::1",
                "fe00::1",
                "ff02::1",
                "2001:db8::1",
                "2606:4700::1111",
                "::ffff:8.8.8.8",
                "::ffff:169.254.169.254",
                "::ffff:100.64.0.1",
                "::ffff:0.0.0.0",
                "::10.0.0.1",
                "::127.0.0.1",
                "64:ff9b::10.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b:1::10.0.0.1",
                "2002:a00:1::",
                "2002:7f00:1::1",
                "2001:0:a00:1::",
                "::ffff:0:10.0.0.1",
                "1::ffff:10.0.0.1",
            ],
        ),
    ];
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    let rules = Rules { hosts: vec!["localhost".to_owned()], ..Rules::default() };
    let listed =
        Rules { networks: vec!["100.64.0.0/10".parse().unwrap(), "fe80::/10".parse().unwrap()], ..rules.clone() };
    let mut judged = 0;
    for (internal, addresses) in verdicts {
        for text in *addresses {
            let ip: IpAddr = text.parse().unwrap();
            let expected = if *internal { Ok(()) } else { Err(Refusal::NotInternal) };
            assert_eq!(rules.admit(&Peer::Ip(ip), "127.0.0.1".parse().ok(), &headers), expected, "{text}");
            assert_eq!(is_internal(ip, &[]), *internal, "{text}");
            let by_list =
                ["100.64", "100.127", "::ffff:100.64", "fe80", "febf"].iter().any(|start| text.starts_with(start));
            let now = listed.admit(&Peer::Ip(ip), "127.0.0.1".parse().ok(), &headers).is_ok();
            assert_eq!(now, *internal || by_list, "{text} with more networks");
            judged += 1;
        }
    }
    assert!(judged >= 60, "{judged}");
}

/// What a proxy makes of a request's head.
type Change = Box<dyn Fn(&str) -> String + Send>;

/// A proxy on this host: sends each request on to `to` as `change` makes of its head.
struct Proxy {
    at: SocketAddr,
    change: Arc<Mutex<Change>>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let change: Arc<Mutex<Change>> = Arc::new(Mutex::new(Box::new(str::to_owned)));
        let changing = change.clone();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let changing = changing.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let end = loop {
                        if caller.read_buf(&mut bytes).await.unwrap() == 0 {
                            return;
                        }
                        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                            break end + 4;
                        }
                    };
                    let head = changing.lock().unwrap()(std::str::from_utf8(&bytes[..end]).unwrap());
                    let mut upstream = TcpStream::connect(to).await.unwrap();
                    upstream.write_all(head.as_bytes()).await.unwrap();
                    upstream.write_all(&bytes[end..]).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
                });
            }
        });
        Self { at, change }
    }

    /// The proxy from now on sets `Host` to its upstream, as nginx does, and adds `line`.
    fn adds(&self, line: &'static str) {
        let with = move |head: &str| head.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1);
        *self.change.lock().unwrap() = Box::new(with);
    }
}

#[tokio::test]
async fn a_proxy_on_the_same_host_gets_nothing() {
    let roles = start().await;
    let proxy = Proxy::start(roles.internal).await;
    let host = roles.internal.to_string();
    let through = async |target: &str| exchange(proxy.at, request("GET", target, &[("Host", &host), CLOSE], "")).await;
    for line in [
        "Forwarded: for=203.0.113.9",
        "Forwarded:",
        "Via: 1.1 proxy",
        "X-Forwarded-For: 203.0.113.9",
        "x-forwarded-for: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Server: proxy",
        "X-Forwarded-Prefix: /",
        "X-Forwarded-Client-Cert: Hash=0",
        "X-Forwarded: for=127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "X-Client-IP: 127.0.0.1",
        "X-Cluster-Client-IP: 127.0.0.1",
        "X-Original-URL: /healthz",
        "X-Original-Host: localhost",
        "X-Original-Forwarded-For: 127.0.0.1",
        "X-Rewrite-URL: /healthz",
        "CF-Connecting-IP: 127.0.0.1",
        "True-Client-IP: 127.0.0.1",
    ] {
        proxy.adds(line);
        for target in [TOKEN_PATH, PATH, "/readyz", "/metrics"] {
            let answers = through(target).await;
            assert_eq!((answers[0].status(), answers[0].code().as_str()), (403, "not_internal"), "{line} {target}");
        }
    }
    // nginx before 1.29.7 added nothing, and spoke 1.0.
    *proxy.change.lock().unwrap() = Box::new(|head| head.replacen("HTTP/1.1", "HTTP/1.0", 1));
    for (target, status) in [(TOKEN_PATH, 403), (PATH, 403), ("/readyz", 200)] {
        assert_eq!(through(target).await[0].status(), status, "bare 1.0 {target}");
    }
    // One that shows itself in no way is let in, as docs/security.md says: the service key is what keeps it out.
    *proxy.change.lock().unwrap() = Box::new(str::to_owned);
    assert_eq!(through(TOKEN_PATH).await[0].status(), 200);
    let grants = roles.trail().iter().filter(|line| line["event"] == "grant").count();
    assert_eq!(grants, 1);
    roles.finish(&[&token()]).await;

    let fixture = Fixture { service_key: Some("service-key-0123456789abcdef".to_owned()), ..Fixture::new() };
    let roles = fixture.start_connect().await;
    assert_eq!(roles.store(&sample("edge")).await.status, 201);
    let bare = Proxy::start(roles.internal).await;
    let host = roles.internal.to_string();
    let answers = exchange(bare.at, request("GET", TOKEN_PATH, &[("Host", &host), CLOSE], "")).await;
    assert_eq!(answers[0].status(), 401);
    // On the public listener, where a proxy belongs, its headers change nothing.
    let outside = Proxy::start(roles.public).await;
    outside.adds("X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 10.0.0.1\r\nX-Original-URL: /api/credentials/token");
    let answers = exchange(outside.at, request("POST", PATH, &[KEY, JSON, CLOSE], &sample("edge").to_string())).await;
    assert_eq!(answers[0].status(), 200);
    let answers = exchange(outside.at, request("GET", TOKEN_PATH, &[CLOSE], "")).await;
    assert_eq!((answers[0].status(), answers[0].code().as_str()), (404, "not_found"));
    roles.finish(&[aiviary::roles::sandbox::TOKEN]).await;
}

/// `Host` values of a page whose name was made to point here, and of others that are none of ours.
const HOSTS: [(&str, u16); 46] = [
    ("evil.example", 403),
    ("evil.example:3006", 403),
    ("localhost.evil.example", 403),
    ("evil.localhost", 403),
    ("localhost.", 403),
    ("LOCALHOST.", 403),
    ("localhost.localdomain", 403),
    ("localhost6", 403),
    ("127.1", 403),
    ("127.0.1", 403),
    ("127.0.0.1.", 403),
    ("127.0.0.01", 403),
    ("0177.0.0.1", 403),
    ("0x7f.1", 403),
    ("0x7f000001", 403),
    ("0x7f.0x0.0x0.0x1", 403),
    ("2130706433", 403),
    ("017700000001", 403),
    ("127.0.0.1.nip.io", 403),
    ("0.0.0.0", 403),
    ("0", 403),
    ("10.0.0.1", 403),
    ("169.254.169.254", 403),
    ("[::]", 403),
    ("[::2]", 403),
    ("[fe80::1]", 403),
    ("[::ffff:127.0.0.2]", 403),
    ("[127.0.0.1]", 403),
    ("[localhost]", 403),
    ("aiviary-connect.evil.example", 403),
    ("aiviary_connect", 403),
    ("xn--localhost-abc", 403),
    ("\u{24db}ocalhost", 400),
    ("l\u{f6}calhost", 400),
    ("localhost:80:80", 400),
    ("localhost:80a", 400),
    ("localhost:-1", 400),
    ("user@localhost", 400),
    ("user:pw@localhost", 400),
    ("localhost/", 400),
    ("localhost, localhost", 400),
    ("localhost evil.example", 400),
    ("", 400),
    (":3006", 400),
    ("[::1", 400),
    ("[::1]80", 400),
];

#[tokio::test]
async fn names_that_were_made_to_point_here_get_nothing() {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("edge")).await.status, 201);
    let call = r#"{"method":"get_profile"}"#;
    for (host, status) in HOSTS {
        for (at, bytes) in [
            (roles.internal, request("GET", TOKEN_PATH, &[("Host", host), CLOSE], "")),
            (roles.internal, request("GET", PATH, &[("Host", host), CLOSE], "")),
            (roles.instagram, request("POST", "/mcp", &[("Host", host), JSON, CLOSE], call)),
            (roles.meta_ads, request("GET", "/readyz", &[("Host", host), CLOSE], "")),
        ] {
            let answers = exchange(at, bytes).await;
            assert_eq!(answers.iter().map(RawAnswer::status).collect::<Vec<_>>(), [status], "{host}");
        }
    }
    for lines in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nhost: evil.example\r\n"] {
        for at in [roles.internal, roles.instagram] {
            let answers = exchange(at, format!("GET /readyz HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")).await;
            assert_eq!(answers[0].status(), 400, "{lines}");
        }
    }
    assert!(!roles.trail().iter().any(|line| line["event"] == "grant"));
    assert_eq!(roles.graph_seen.call_count(), 0);
    // The right names are let in by all of them.
    for host in ["localhost", "127.0.0.1:1", "LocalHost:3006", "[::1]", "[::1]:3006"] {
        assert_eq!(ask(roles.internal, "GET", TOKEN_PATH, &[("Host", host)], "").await.status(), 200, "{host}");
        assert_eq!(ask(roles.instagram, "POST", "/mcp", &[("Host", host), JSON], call).await.status(), 200, "{host}");
    }
    roles.finish(&[aiviary::roles::sandbox::TOKEN]).await;
}

#[tokio::test]
async fn a_page_in_a_browser_changes_nothing() {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("page")).await.status, 201);
    let row = ["access_token", "updated_at", "facebook_page_id"].map(|column| roles.cell("page", column));
    let mut other = sample("page");
    other["access_token"] = "EAABplanted".into();
    other["facebook_page_id"] = "1".into();
    let (other, call) = (other.to_string(), r#"{"method":"get_profile"}"#);
    let text = ("Content-Type", "text/plain");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let multipart = ("Content-Type", "multipart/form-data; boundary=x");
    let origin = |value| ("Origin", value);
    let cross = ("Sec-Fetch-Site", "cross-site");
    // What a page can send without asking first: no key, no JSON type.
    for kind in [&[][..], &[text], &[form], &[multipart], &[("Content-Type", "text/plain; application/json")]] {
        for from in [&[][..], &[origin("null")], &[origin("https://evil.example")], &[cross], &[origin("null"), cross]]
        {
            let headers: Vec<(&str, &str)> = kind.iter().chain(from).copied().collect();
            let with_key: Vec<_> = headers.iter().copied().chain([KEY]).collect();
            for at in [roles.internal, roles.public] {
                // Few enough without a key not to be slowed, which is another test's.
                if from.is_empty() {
                    assert_eq!(ask(at, "POST", PATH, &headers, &other).await.status(), 401, "{headers:?}");
                }
                assert_eq!(ask(at, "POST", PATH, &with_key, &other).await.status(), 415, "{headers:?}");
            }
            let status = if from.iter().any(|(name, _)| *name == "Origin") { 403 } else { 415 };
            for at in [roles.instagram, roles.meta_ads] {
                assert_eq!(ask(at, "POST", "/mcp", &headers, call).await.status(), status, "{headers:?}");
            }
        }
    }
    for from in [origin("null"), origin("https://evil.example"), origin("http://localhost:3006"), origin(""), cross] {
        for target in [TOKEN_PATH, PATH, "/readyz", "/metrics"] {
            let answer = ask(roles.internal, "GET", target, &[from], "").await;
            assert_eq!((answer.status(), answer.code().as_str()), (403, "not_internal"), "{from:?} {target}");
        }
        let status = if from == cross { 200 } else { 403 };
        let answer = ask(roles.instagram, "POST", "/mcp", &[JSON, from], call).await;
        assert_eq!(answer.status(), status, "{from:?}: a page on another site always sends its Origin with a POST");
    }
    for kind in [text, form, multipart, ("Content-Type", "application/jsonx"), ("Content-Type", "json")] {
        for at in [roles.internal, roles.public] {
            assert_eq!(ask(at, "POST", PATH, &[KEY, kind], &other).await.status(), 415, "{kind:?}");
        }
        assert_eq!(ask(roles.instagram, "POST", "/mcp", &[kind], call).await.status(), 415, "{kind:?}");
    }
    // The question that a browser asks before it sends a key or JSON is never answered with leave; `ask` looks for
    // CORS headers in each answer.
    let preflight = [origin("https://evil.example"), ("Access-Control-Request-Method", "POST")];
    for (at, target) in
        [(roles.internal, PATH), (roles.public, PATH), (roles.internal, TOKEN_PATH), (roles.instagram, "/mcp")]
    {
        let answer = ask(at, "OPTIONS", target, &preflight, "").await;
        assert_eq!(answer.status(), 405, "{target}");
        assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{answer:?}");
    }
    assert_eq!(["access_token", "updated_at", "facebook_page_id"].map(|column| roles.cell("page", column)), row);
    assert!(!roles.trail().iter().any(|line| line["event"] == "remove"));
    roles.finish(&["EAABplanted"]).await;
}

/// A copy of the binary that other users may run.
fn binary_for_all(folder: &std::path::Path) -> std::path::PathBuf {
    let copy = folder.join("aiviary");
    std::fs::copy(BIN, &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

#[tokio::test]
async fn the_kernel_keeps_a_foreign_user_out_of_the_unix_socket() {
    if !nix::unistd::geteuid().is_root() {
        skipped("only root can become another user");
        return;
    }
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (fixture, socket, bin) = (Fixture::new(), open.path().join("connect.sock"), binary_for_all(open.path()));
    // What a process that died left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let at = format!("unix:{}", socket.display());
    let listener = |at: &str| Listener {
        at: at.parse().unwrap(),
        exposure: Exposure::Internal,
        key: "connect.internal[0]".to_owned(),
    };
    let listeners = vec![listener(&at), listener("127.0.0.1:0")];
    let settings = connect::Settings { listeners, ..fixture.connect_settings() };
    let running = connect::start(settings).await.unwrap();
    let tcp = running.listening().addresses()[0];
    let stop = CancellationToken::new();
    let serving = tokio::spawn(running.serve(stop.clone()));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(ask(tcp, "POST", PATH, &[KEY, JSON], &sample("edge").to_string()).await.status(), 201);

    // Meta is nowhere: whoever got a grant says so, and whoever got none says that instead.
    let variables = [("AIVIARY__MCP__CONNECT_URL", at.as_str()), ("AIVIARY__GRAPH__BASE_URL", "http://127.0.0.1:9")];
    let call = async |uid: u32, gid: u32| {
        let mut command = Command::new(&bin);
        let arguments = ["call", "--platform", "instagram", "get_profile"];
        binary::dress(&mut command, open.path(), &arguments, &variables);
        command.uid(uid).gid(gid);
        binary::said(&tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()).1
    };
    let (nobody, group) = (65_534, nix::unistd::getegid().as_raw());
    let said = call(nobody, nobody).await;
    assert!(said.contains("[connect_unavailable]"), "{said}");
    let said = call(nobody, group).await;
    assert!(said.contains("[meta_unavailable]"), "the socket's group is let in: {said}");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let said = call(nobody, nobody).await;
    assert!(said.contains("[meta_unavailable]"), "it was the mode that kept it out: {said}");

    stop.cancel();
    serving.await.unwrap().unwrap();
    let trail = std::fs::read_to_string(fixture.path("audit.jsonl")).unwrap();
    let grants: Vec<Value> = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "grant")
        .collect();
    assert_eq!(grants.len(), 2, "{grants:?}");
    for line in grants {
        assert!(line["peer"].as_str().unwrap().starts_with("unix uid=65534 pid="), "the kernel's word: {line}");
        assert_eq!(line["listener"], json!(at));
    }
}

/// Two network namespaces joined by a pair of interfaces, taken away at the end.
struct Networks {
    here: String,
    there: String,
}

impl Networks {
    fn ip(arguments: &str) -> bool {
        let done = Command::new("ip").args(arguments.split(' ')).stderr(std::process::Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }

    /// `None` where this process may not make them.
    fn make(here_name: &str) -> Option<Self> {
        let id = std::process::id();
        let networks = Self { here: format!("aivh{id}"), there: format!("aivt{id}") };
        let (here, there) = (&networks.here, &networks.there);
        let made = Self::ip(&format!("netns add {here}")) && Self::ip(&format!("netns add {there}"));
        (made && Self::ip(&format!("link add {here_name} netns {here} type veth peer name there netns {there}")))
            .then_some(networks)
    }

    fn here(&self, arguments: &str) {
        assert!(Self::ip(&format!("-n {} {arguments}", self.here)), "ip {arguments}");
    }

    fn there(&self, arguments: &str) {
        assert!(Self::ip(&format!("-n {} {arguments}", self.there)), "ip {arguments}");
    }

    /// A request from the other namespace, by the shell alone.
    async fn ask(&self, host: &str, port: u16, target: &str) -> String {
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port} && printf 'GET {target} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.there, "timeout", "5", "bash", "-c", &script]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            Self::ip(&format!("netns del {name}"));
        }
    }
}

/// A container's network: an interface with private, public and link-local addresses, a gateway, and a caller behind it.
#[tokio::test]
async fn an_interface_serves_its_private_addresses_to_private_peers_and_tells_of_the_gateway() {
    let Some(networks) = Networks::make("inside0") else {
        skipped("this process may not make network namespaces");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let secrets = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("VM_API_KEY", API_KEY)];
    let serve = |internal: &str, public: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &networks.here, BIN]);
        let listeners = [("AIVIARY__CONNECT__INTERNAL", internal), ("AIVIARY__CONNECT__PUBLIC", public)];
        let variables = [&secrets[..], &listeners].concat();
        binary::dress(&mut command, folder.path(), &["serve", "connect"], &variables);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    };
    // Not there yet: a unit tries again.
    for internal in ["inside0:3006", "nosuch0:3006", "10.9.9.0/24:3006"] {
        let (exit, said) = binary::said(&serve(internal, "").output().unwrap());
        assert_eq!(exit, 69, "{internal}: {said}");
        assert!(said.contains("connect.internal[0]") && said.contains("no internal address"), "{said}");
    }
    networks.here("link set lo up");
    let (exit, said) = binary::said(&serve("127.0.0.1:3006", "inside0:3026").output().unwrap());
    assert_eq!(exit, 69, "{said}");
    assert!(said.contains("connect.public[0]") && said.contains("no address for inside0:3026"), "{said}");

    for (end, address) in [
        (true, "10.9.9.1/24"),
        (true, "10.9.9.2/24"),
        (true, "198.51.100.1/24"),
        (false, "10.9.9.254/24"),
        (false, "203.0.113.5/32"),
    ] {
        if end {
            networks.here(&format!("addr add {address} dev inside0"));
        } else {
            networks.there(&format!("addr add {address} dev there"));
        }
    }
    networks.here("addr add fd00:9::1/64 dev inside0 nodad");
    networks.here("link set inside0 up");
    networks.there("link set there up");
    networks.here("route add default via 10.9.9.254");
    // To the second address the caller goes with its public one.
    networks.there("route add 10.9.9.2/32 dev there src 203.0.113.5");
    networks.there("route add 198.51.100.0/24 dev there src 10.9.9.254");

    let mut service = Service::start(&mut serve("inside0:3006,10.9.9.0/25:3016", "inside0:3026,198.51.100.0/24:3036"));
    service.wait_for("connect listens on");
    // All listeners are bound before the first line of them.
    let gateway = networks.ask("10.9.9.1", 3006, "/readyz").await;
    assert!(gateway.starts_with("HTTP/1.1 200"), "a private peer: {gateway:?}");
    assert!(networks.ask("10.9.9.1", 3016, "/readyz").await.starts_with("HTTP/1.1 200"), "by the prefix");
    let public = networks.ask("10.9.9.2", 3006, "/readyz").await;
    assert!(public.starts_with("HTTP/1.1 403") && public.contains("not_internal"), "a public peer: {public:?}");
    assert_eq!(
        networks.ask("198.51.100.1", 3006, "/readyz").await,
        "",
        "nothing internal listens on the public address"
    );
    for port in [3026, 3036] {
        let alive = networks.ask("198.51.100.1", port, "/healthz").await;
        assert!(alive.starts_with("HTTP/1.1 200"), "a public listener takes any address: {alive:?}");
        let grant = networks.ask("198.51.100.1", port, TOKEN_PATH).await;
        assert!(grant.starts_with("HTTP/1.1 404"), "and carries no grant: {grant:?}");
    }
    service.wait_for("default gateway");
    let heard = service.end();
    let told = |what: &str| heard.iter().filter(|line| line.contains(what)).collect::<Vec<_>>();
    assert_eq!(told("default gateway").len(), 1, "one warning: {heard:#?}");
    assert!(told("default gateway")[0].contains("WARN") && told("default gateway")[0].contains("10.9.9.254"));
    let mut bound: Vec<&str> = told("connect listens on ")
        .iter()
        .filter_map(|line| line.split("listens on ").nth(1))
        .map(|text| text.split(' ').next().unwrap())
        .collect();
    bound.sort_unstable();
    assert_eq!(
        bound,
        [
            "10.9.9.1:3006",
            "10.9.9.1:3016",
            "10.9.9.1:3026",
            "10.9.9.2:3006",
            "10.9.9.2:3016",
            "10.9.9.2:3026",
            "198.51.100.1:3026",
            "198.51.100.1:3036",
            "[fd00:9::1]:3006",
            "[fd00:9::1]:3026"
        ],
        "{heard:#?}"
    );
    let trail = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let refused: Vec<&str> = trail.lines().filter(|line| line.contains("not_internal")).collect();
    assert!(refused.iter().all(|line| line.contains(r#""peer":"203.0.113.5""#)), "{trail}");
}
