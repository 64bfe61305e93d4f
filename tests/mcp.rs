//! The MCP roles towards their callers: every error in both envelopes, bad input, and what faults of Meta become.

mod support;

use std::time::{Duration, Instant};

use aiviary::clock::Clock;
use aiviary::credential::{AccountKind, Login};
use aiviary::platforms::Platform;
use aiviary::roles::{mcp, sandbox};
use aiviary::tool::{Answer as ToolAnswer, Ask, Column, Done, Tool, ToolError, Writes};
use futures_util::future::{BoxFuture, join_all};
use sandbox::FAULTS;
use serde_json::{Value, json};
use support::tools::{
    Stub, assert_clean, assert_clean_log, assert_failure, by_instagram_login, exchange, faulty, nobody, path_of, with,
};
use support::{Fixture, Roles, answer, assert_no_token, sample, status, with_descriptors};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A moment at which the sandbox's messages, which tell the time, stand still.
fn fixed() -> Clock {
    Clock::fixed("2026-11-20T12:00:00Z".parse().unwrap())
}

/// Tools for what the platforms' own do not do yet.
const OWN: &[Tool] = &[
    Tool::read("get_node", AccountKind::Instagram).row(&[Column::id("id"), Column::text("name")]),
    Tool::read("get_facebook_only", AccountKind::Instagram).only(Login::Facebook).row(&[Column::id("id")]),
    Tool::read("get_instagram_only", AccountKind::Instagram).only(Login::Instagram).row(&[Column::id("id")]),
    Tool::write("post_once", AccountKind::Instagram).row(&[Column::id("id")]).run(post_once),
    Tool::write_all("post_for_good", AccountKind::Instagram).row(&[Column::id("id")]).run(post_once),
];

fn post_once(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move { Ok(ToolAnswer::Row(ask.graph.post(&ask.own("{}/media")?).await?).into()) })
}

/// Clients in every state that a stored credential can be in.
async fn world(fixture: Fixture) -> Roles {
    let roles = fixture.start().await;
    let dead = |client, token: &str| with(client, json!({ "access_token": token }));
    for body in [
        sample("main"),
        sample("past"),
        sample("broken"),
        dead("ended", sandbox::EXPIRED_TOKEN),
        dead("revoked", sandbox::REVOKED_TOKEN),
        dead("other_host", sandbox::INSTAGRAM_TOKEN),
        dead("no_insights", sandbox::NO_INSIGHTS_TOKEN),
        with("no_account", json!({"instagram_business_account_id": null, "ad_account_id": null})),
        by_instagram_login("by_instagram"),
    ] {
        roles.keep(&body).await;
    }
    for fault in FAULTS {
        roles.keep(&faulty(fault)).await;
    }
    roles.edit("past", "token_expires_at", Some("2026-11-01T00:00:00Z"));
    let other = roles.cell("main", "access_token");
    roles.edit("broken", "access_token", other.as_deref());
    roles
}

/// Who asks what, and what the refusal is.
struct Case {
    client: &'static str,
    tool: &'static str,
    params: Value,
    is: (u16, &'static str, bool),
    says: &'static [&'static str],
    graph: Value,
}

fn case(
    client: &'static str,
    tool: &'static str,
    is: (u16, &'static str, bool),
    says: &'static [&'static str],
) -> Case {
    Case { client, tool, params: json!({}), is, says, graph: Value::Null }
}

impl Case {
    fn with(self, params: Value) -> Self {
        Self { params, ..self }
    }

    fn of_graph(self, code: i64, subcode: Option<i64>) -> Self {
        let mut graph = json!({ "code": code });
        if let Some(subcode) = subcode {
            graph["subcode"] = subcode.into();
        }
        Self { graph, ..self }
    }
}

async fn check(roles: &Roles, cases: Vec<Case>) {
    join_all(cases.into_iter().map(async |case| {
        let path = if case.client.is_empty() { "/mcp".to_owned() } else { path_of(case.client) };
        let name = format!("{} for {path}", case.tool);
        let came = roles.refused(roles.instagram, &path, case.tool, &case.params).await;
        let error = &came.json()["error"];
        let (status, code, retryable) = case.is;
        assert_eq!((came.status, came.code().as_str()), (status, code), "{name}: {}", came.text);
        assert_eq!(error["retryable"], retryable, "{name}: {}", came.text);
        for word in case.says {
            assert!(came.message().contains(word), "{name}: {word:?} in {}", came.text);
        }
        assert_eq!(error["graph"]["code"], case.graph["code"], "{name}: {}", came.text);
        assert_eq!(error["graph"]["subcode"], case.graph["subcode"], "{name}: {}", came.text);
        assert_eq!(error["graph"]["trace_id"].is_string(), !case.graph.is_null(), "{name}: {}", came.text);
    }))
    .await;
}

#[tokio::test]
async fn every_error_of_the_contract_is_the_same_in_both_envelopes() {
    let roles = world(Fixture { clock: fixed(), ..Fixture::new() }).await;
    let insights = "get_account_insights";
    check(
        &roles,
        vec![
            case("main", "get_recent_media", (400, "invalid_params", false), &["limit", "1 to 100", "\"ten\" came"])
                .with(json!({"limit": "ten"})),
            case("main", "get_profile", (400, "invalid_params", false), &["url", "takes no parameters"])
                .with(json!({"url": "https://example.com"})),
            case("nobody", "get_profile", (409, "not_connected", false), &["nobody"]),
            case("", "get_profile", (409, "client_required", false), &["/clients/{client_id}/mcp", "main", "revoked"]),
            case("no_account", "get_profile", (409, "missing_account", false), &["instagram_business_account_id"]),
            case("broken", "get_profile", (409, "credential_unreadable", false), &["broken"]),
            case("past", "get_profile", (424, "token_expired", false), &["2026-11-01T00:00:00Z", "authorise again"]),
            case("ended", "get_profile", (424, "token_expired", false), &["authorise again", "Session has expired"])
                .of_graph(190, Some(463)),
            case("revoked", "get_profile", (424, "token_invalid", false), &["authorise again", "password"])
                .of_graph(190, Some(460)),
            case("other_host", "get_profile", (424, "token_invalid", false), &["authorise again"]).of_graph(190, None),
            case("no_insights", insights, (424, "missing_permission", false), &["instagram_manage_insights"])
                .of_graph(10, None),
            case("permission", "get_profile", (424, "missing_permission", false), &["instagram_basic"])
                .of_graph(10, None),
            case("pending_action", "get_profile", (424, "action_required", false), &["complete the pending step"])
                .of_graph(31, Some(3_858_385)),
            case("not_found", "get_profile", (422, "rejected_by_meta", false), &["does not exist"])
                .of_graph(100, Some(33)),
            case("old_version", "get_profile", (422, "rejected_by_meta", false), &["[graph] version"])
                .of_graph(2635, None),
            case("ig_rate_limit", "get_profile", (429, "rate_limited", true), &["wait 1140 s"]).of_graph(80_002, None),
            case("rate_limit", "get_profile", (429, "rate_limited", true), &["wait 3600 s"]).of_graph(4, None),
            case("transient", "get_profile", (502, "meta_unavailable", true), &["retry your request"])
                .of_graph(2, None),
            case(
                "unavailable",
                "get_profile",
                (502, "meta_unavailable", true),
                &["available: the answer is a web page"],
            ),
            case("cut", "get_profile", (502, "meta_unavailable", true), &["available: the answer is cut off"]),
            case("redirect", "get_profile", (502, "meta_unavailable", true), &["available: the answer is a redirect"]),
        ],
    )
    .await;

    let served = roles.ig("main", "get_profile", json!({})).await;
    assert_eq!(served["id"], sandbox::IG_ACCOUNT, "the client in the path is served");
    let folder = roles.folder.clone();
    roles.stop().await;
    assert_no_token(folder.path(), sandbox::TOKEN);
    assert_clean_log();
}

#[tokio::test]
async fn an_unknown_tool_is_named_with_its_nearest() {
    let roles = world(Fixture::new()).await;
    for (name, nearest) in [("get_recent_medias", "get_recent_media"), ("get_profle", "get_profile")] {
        let plain = roles.plain(roles.instagram, name, json!({})).await;
        assert_failure(&plain);
        assert_eq!((plain.status, plain.code().as_str()), (404, "unknown_method"), "{}", plain.text);
        assert!(plain.message().contains(&format!("the nearest: {nearest}")), "{}", plain.text);
    }
    let long = "x".repeat(100_000);
    let plain = roles.plain(roles.instagram, &long, json!({})).await;
    assert_failure(&plain);
    assert!(plain.text.len() < 500, "what came is not repeated whole");
}

#[tokio::test]
async fn a_tool_that_was_taken_away_is_told_as_such() {
    let tools = ["*", "-get_*"].map(str::to_owned).to_vec();
    let roles = world(Fixture { tools, ..Fixture::new() }).await;
    for (at, tool, section) in
        [(roles.instagram, "get_media", "instagram"), (roles.meta_ads, "get_ad_account", "meta_ads")]
    {
        let plain = roles.plain(at, tool, json!({})).await;
        assert_failure(&plain);
        assert_eq!((plain.status, plain.code().as_str()), (404, "unknown_method"), "{}", plain.text);
        assert_eq!(plain.message(), format!("{tool} is not offered: [mcp.{section}] tools leaves it out"));
    }
    let plain = roles.plain(roles.instagram, "list_coments", json!({})).await;
    assert!(plain.message().starts_with("there is no tool list_coments; the nearest: list_comments"), "{}", plain.text);
    let call = json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_media","arguments":{}}});
    let answer = roles.rpc(roles.instagram, "/mcp", &call).await.json();
    let said = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(said.ends_with("get_media is not offered: [mcp.instagram] tools leaves it out"), "{answer}");
}

#[tokio::test]
async fn the_credential_decides_which_login_a_tool_is_for() {
    let roles = world(Fixture { catalogue: Some(OWN), clock: fixed(), ..Fixture::new() }).await;
    let (at, none) = (409, "not_offered_by_login");
    check(
        &roles,
        vec![
            case("by_instagram", "get_facebook_only", (at, none, false), &["facebook", "Facebook Login"]),
            case("main", "get_instagram_only", (at, none, false), &["instagram", "Instagram Login"]),
        ],
    )
    .await;
    assert_eq!(roles.ig("main", "get_facebook_only", json!({})).await["id"], sandbox::IG_ACCOUNT);
}

#[tokio::test]
async fn a_changing_tool_is_neither_listed_nor_run_while_writes_are_off() {
    let listed = async |roles: &Roles| {
        let list = roles.rpc(roles.instagram, "/mcp", &json!({"jsonrpc":"2.0","id":1,"method":"tools/list"})).await;
        let list = list.json();
        let tools = list["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let off = world(Fixture { catalogue: Some(OWN), ..Fixture::new() }).await;
    let before = off.graph_seen.call_count();
    check(
        &off,
        vec![
            case("main", "post_once", (422, "writes_off", false), &["[mcp.instagram] writes", "\"on\""]),
            case("main", "post_for_good", (422, "writes_off", false), &["[mcp.instagram] writes", "\"all\""]),
        ],
    )
    .await;
    assert_eq!(off.graph_seen.call_count(), before, "Graph was not asked");
    assert_eq!(listed(&off).await, ["get_node", "get_facebook_only", "get_instagram_only"]);

    let on = world(Fixture { catalogue: Some(OWN), writes: Writes::On, ..Fixture::new() }).await;
    check(&on, vec![case("main", "post_for_good", (422, "writes_off", false), &["\"all\""])]).await;
    assert_eq!(listed(&on).await, ["get_node", "get_facebook_only", "get_instagram_only", "post_once"]);
    let ads = on.refused(on.meta_ads, &path_of("main"), "post_for_good", &json!({})).await;
    assert!(ads.message().contains("[mcp.meta_ads] writes"), "{}", ads.text);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_never_repeated() {
    let fixture = Fixture {
        catalogue: Some(OWN),
        writes: Writes::All,
        clock: fixed(),
        graph_timeout: Duration::from_millis(1000),
        ..Fixture::new()
    };
    let roles = world(fixture).await;
    let unknown = (502, "outcome_unknown", false);
    let may = &["may have happened"];
    check(
        &roles,
        vec![
            case("transient", "post_once", unknown, may).of_graph(2, None),
            case("transient_twice", "post_for_good", unknown, may).of_graph(2, None),
            case("unavailable", "post_once", unknown, may),
            case("empty_500", "post_once", unknown, may),
            case("cut", "post_once", unknown, may),
            case("garbage", "post_for_good", unknown, may),
            case("hang", "post_once", unknown, may),
            case("rate_limit", "post_once", (429, "rate_limited", true), &[]).of_graph(4, None),
            case("permission", "post_once", (424, "missing_permission", false), &[]).of_graph(10, None),
        ],
    )
    .await;
    for name in ["transient", "transient_twice", "unavailable", "empty_500", "cut", "garbage", "hang", "rate_limit"] {
        let id = sandbox::Fault::named(name).unwrap().ig_account();
        assert_eq!(roles.asked_about(&id), 2, "{name}: once in each envelope");
    }
}

/// Permits for each tool that has begun, may go on, was dropped, or is done.
static BEGUN: Semaphore = Semaphore::const_new(0);
static MAY_GO_ON: Semaphore = Semaphore::const_new(0);
static DROPPED: Semaphore = Semaphore::const_new(0);
static DONE: Semaphore = Semaphore::const_new(0);

const SLOW: &[Tool] = &[
    Tool::read("get_slowly", AccountKind::Instagram).row(&[Column::id("id")]).run(|ask| {
        Box::pin(async move {
            struct Told(#[expect(dead_code, reason = "lives as long as the work")] Ask);
            impl Drop for Told {
                fn drop(&mut self) {
                    DROPPED.add_permits(1);
                }
            }
            let _told = Told(ask);
            BEGUN.add_permits(1);
            std::future::pending().await
        })
    }),
    Tool::write("post_slowly", AccountKind::Instagram).row(&[Column::id("id")]).run(|ask| {
        Box::pin(async move {
            BEGUN.add_permits(1);
            MAY_GO_ON.acquire().await.unwrap().forget();
            let answer = ask.graph.post(&ask.own("{}/media")?).await;
            DONE.add_permits(1);
            Ok(ToolAnswer::Row(answer?).into())
        })
    }),
];

#[tokio::test]
async fn a_write_ends_when_its_caller_leaves_and_a_read_does_not_go_on() {
    let roles = Fixture { catalogue: Some(SLOW), writes: Writes::On, ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    let take = async |permits: &Semaphore, what: &str| {
        let taken = timeout(Duration::from_secs(20), permits.acquire()).await;
        taken.unwrap_or_else(|_| panic!("no tool is {what}")).unwrap().forget();
    };
    let leave = async |body: String| {
        let mut stream = TcpStream::connect(roles.instagram).await.unwrap();
        let head = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", roles.instagram);
        let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(whole.as_bytes()).await.unwrap();
        take(&BEGUN, "begun").await;
    };
    let plain = |tool: &str| json!({ "method": tool }).to_string();
    let over =
        |tool: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string();
    for call in [&plain as &dyn Fn(&str) -> String, &over] {
        leave(call("post_slowly")).await;
        leave(call("get_slowly")).await;
        take(&DROPPED, "dropped").await;
        MAY_GO_ON.add_permits(1);
        take(&DONE, "done").await;
    }
    let posts = roles.graph_seen.calls();
    assert_eq!(posts.iter().filter(|call| call.starts_with("POST")).count(), 2, "{posts:?}");
    // Nobody heard the answers: they are counted all the same.
    let counted = async {
        let line = "aiviary_tool_calls_total{outcome=\"rejected_by_meta\",tool=\"post_slowly\",role=\"instagram\"} 2";
        while !roles.get(roles.instagram, "/metrics").await.text.lines().any(|counted| counted == line) {}
    };
    timeout(Duration::from_secs(20), counted).await.expect("both writes are counted");
}

#[tokio::test]
async fn one_client_never_takes_the_places_of_the_others() {
    static ASKED: Semaphore = Semaphore::const_new(0);
    const WAITING: &[Tool] =
        &[Tool::read("get_in_the_end", AccountKind::Instagram).row(&[Column::id("id")]).run(|ask| {
            Box::pin(async move {
                ASKED.add_permits(1);
                drop(ask);
                std::future::pending().await
            })
        })];
    let places = 1024;
    assert!(with_descriptors(4 * places), "so many connections need a higher `ulimit -n`");
    let roles = Fixture { catalogue: Some(WAITING), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    roles.keep(&sample("other")).await;
    let asked = async |calls: usize| {
        let all = timeout(Duration::from_secs(50), ASKED.acquire_many(calls.try_into().unwrap())).await;
        all.expect("all calls are at work").unwrap().forget();
    };
    let call = |client: &str| {
        let (at, path, body) = (roles.instagram, path_of(client), r#"{"method": "get_in_the_end"}"#);
        async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n");
            let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(whole.as_bytes()).await.unwrap();
            stream
        }
    };
    let mut at_work = Vec::new();
    // Not all at one moment: each has its own grant first.
    while at_work.len() < places {
        at_work.extend(join_all((0..64).map(|_| call("main"))).await);
        asked(64).await;
    }
    let refused = roles.post_mcp(roles.instagram, &path_of("main"), r#"{"method": "get_in_the_end"}"#).await;
    assert_failure(&refused);
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"), "{}", refused.text);
    at_work.push(call("other").await);
    asked(1).await;
    // Who leaves frees a place, once it was seen.
    drop(at_work.swap_remove(0));
    let freed = async {
        loop {
            let mut again = call("main").await;
            let mut first = [0; 12];
            tokio::select! {
                () = asked(1) => break,
                read = again.read_exact(&mut first) => {
                    read.unwrap();
                    assert_eq!(&first, b"HTTP/1.1 503");
                }
            }
        }
    };
    timeout(Duration::from_secs(20), freed).await.expect("the place that was left is free");
}

#[tokio::test]
async fn a_credential_service_that_does_not_answer_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let roles = Fixture { connect: Some(mcp::ConnectAt::Url(url)), ..Fixture::new() }.start().await;
    let began = Instant::now();
    let came = roles.plain(roles.instagram, "get_profile", json!({})).await;
    assert_failure(&came);
    assert_eq!((came.status, came.code().as_str()), (503, "connect_unavailable"), "{}", came.text);
    assert!(came.message().contains("did not answer in time"), "{}", came.text);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wrong_service_key_is_told_as_such_however_often_it_is_tried() {
    let connect = Fixture { service_key: Some("service-key-0123456789".to_owned()), ..Fixture::new() }.start().await;
    let roles = Fixture {
        connect: Some(mcp::ConnectAt::Url(format!("http://{}", connect.internal))),
        service_key_sent: Some("another-key-0123".to_owned()),
        ..Fixture::new()
    };
    let roles = roles.start().await;
    // More than connect hears out before it slows whoever fails.
    for attempt in 1..=30 {
        let came = roles.plain(roles.instagram, "get_profile", json!({})).await;
        assert_failure(&came);
        let told = (came.status, came.code(), came.json()["error"]["retryable"].clone());
        assert_eq!(told, (503, "connect_refused".to_owned(), json!(false)), "attempt {attempt}: {}", came.text);
        assert!(came.message().contains("the same CONNECT_SERVICE_KEY"), "attempt {attempt}: {}", came.text);
    }
}

#[tokio::test]
async fn a_credential_service_that_is_away_is_told_from_one_that_refuses() {
    let away = ("connect_unavailable", true);
    let refuses = ("connect_refused", false);
    let keyed = Fixture { service_key: Some("service-key-0123456789".to_owned()), ..Fixture::new() }.start().await;
    let open = world(Fixture::new()).await;
    let stub = |status: u16, body: &'static str| Stub::start(move |_, _| (status, body.to_owned()));
    let (lost, odd, page) = (stub(500, "{}").await, stub(200, "[]").await, stub(404, "<html>").await);
    let starting = stub(503, r#"{"error":{"code":"starting","message":"the store is not there yet"}}"#).await;
    let cases = [
        ("nobody listens", nobody(), None, away, "cannot be reached"),
        ("it fails", lost.url.clone(), None, away, "500"),
        ("it answers something else", odd.url.clone(), None, away, "no grant"),
        ("it starts", starting.url.clone(), None, away, "the store is not there yet"),
        ("another server", page.url.clone(), None, refuses, "internal listener"),
        ("its public listener", format!("http://{}", open.public), None, refuses, "internal listener"),
        ("no key", format!("http://{}", keyed.internal), None, refuses, "CONNECT_SERVICE_KEY"),
        ("a wrong key", format!("http://{}", keyed.internal), Some("another-key-0123"), refuses, "CONNECT_SERVICE_KEY"),
    ];
    for (name, url, key, (code, retryable), says) in cases {
        let fixture = Fixture {
            connect: Some(mcp::ConnectAt::Url(url)),
            service_key_sent: key.map(str::to_owned),
            ..Fixture::new()
        };
        let roles = fixture.start().await;
        let came = roles.refused(roles.instagram, "/mcp", "get_profile", &json!({})).await;
        assert_eq!((came.status, came.code().as_str()), (503, code), "{name}: {}", came.text);
        assert_eq!(came.json()["error"]["retryable"], retryable, "{name}: {}", came.text);
        assert!(came.message().contains(says), "{name}: {}", came.text);
        assert!(!came.text.contains("another-key"), "{name}: {}", came.text);
        let hello = json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
            "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}});
        let hello = roles.rpc(roles.instagram, "/mcp", &hello).await.json();
        assert!(hello["result"].is_object(), "{name}: opening needs nobody: {hello}");
    }
    assert!(lost.seen().len() <= 2, "connect is asked once a call: {:?}", lost.seen());
}

#[tokio::test]
async fn with_a_service_key_on_both_sides_grants_are_given() {
    let roles = Fixture { service_key: Some("service-key-0123456789".to_owned()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    assert_eq!(roles.ig("main", "get_profile", json!({})).await["id"], sandbox::IG_ACCOUNT);
}

#[tokio::test]
async fn a_configured_client_is_the_one_of_the_bare_path() {
    let roles = world(Fixture { client: Some("revoked".to_owned()), ..Fixture::new() }).await;
    let came = roles.refused(roles.instagram, "/mcp", "get_profile", &json!({})).await;
    assert_eq!(came.code(), "token_invalid", "{}", came.text);
    assert_eq!(
        roles.ig("main", "get_profile", json!({})).await["id"],
        sandbox::IG_ACCOUNT,
        "a path still names others"
    );
}

#[tokio::test]
async fn an_mcp_key_closes_the_endpoint_and_nothing_else() {
    let roles = Fixture { mcp_key: Some("mcp-key-0123456789, older-key-012345".to_owned()), ..Fixture::new() };
    let roles = roles.start().await;
    roles.keep(&sample("main")).await;
    let body = json!({"method": "get_profile"}).to_string();
    let post = async |path: &str, key: Option<&str>| {
        let request = roles.http.post(format!("http://{}{path}", roles.instagram)).body(body.clone());
        let request = request.header("content-type", "application/json");
        answer(key.into_iter().fold(request, |request, key| request.header("authorization", key))).await
    };
    for path in ["/mcp", "/clients/main/mcp"] {
        for key in [None, Some("Bearer wrong"), Some("mcp-key-0123456789"), Some("Bearer ")] {
            let came = post(path, key).await;
            assert_eq!((came.status, came.code().as_str()), (401, "unauthorized"), "{path} {key:?}");
            assert_eq!(came.header("www-authenticate"), Some("Bearer"), "{path} {key:?}");
            assert_eq!(came.json()["error"]["retryable"], false);
            assert!(came.message().contains("MCP_API_KEY"), "{}", came.text);
        }
        for key in ["Bearer mcp-key-0123456789", "bearer older-key-012345"] {
            assert_eq!(post(path, Some(key)).await.status, 200, "{path} {key}");
        }
    }
    assert_eq!(roles.get(roles.instagram, "/healthz").await.status, 200);
    assert_eq!(roles.get(roles.instagram, "/.well-known/oauth-protected-resource").await.status, 404);
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_its_reason() {
    let roles = Fixture::new().start().await;
    roles.keep(&sample("main")).await;
    let before = roles.graph_seen.call_count();
    let deep = format!(r#"{{"method":"get_profile","params":{{"limit":{}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let json = (400, "invalid_json");
    let params = (400, "invalid_params");
    let media = |params: &str| format!(r#"{{"method":"get_recent_media","params":{params}}}"#);
    let insights = |params: &str| format!(r#"{{"method":"get_account_insights","params":{params}}}"#);
    let cases: Vec<(&str, String, (u16, &str), &str)> = vec![
        ("nothing", String::new(), json, "too early"),
        ("half of it", r#"{"method":"get_pro"#.into(), json, "too early"),
        ("no JSON", "method=get_profile".into(), json, "out of place"),
        ("two values", r#"{"method":"get_profile"} {}"#.into(), json, "out of place"),
        ("a list", r#"[{"method":"get_profile"}]"#.into(), json, "one JSON object"),
        ("text", r#""get_profile""#.into(), json, "one JSON object"),
        ("null", "null".into(), json, "one JSON object"),
        ("a number", "42".into(), json, "one JSON object"),
        ("too deep", deep, json, "nested too deep"),
        ("a member twice", r#"{"method":"get_profile","method":"get_media"}"#.into(), json, "twice: method"),
        ("a parameter twice", media(r#"{"limit":1,"limit":2}"#), json, "twice: limit"),
        ("no UTF-8 escape", r#"{"method":"\ud800"}"#.into(), json, ""),
        ("no method", r#"{"params":{}}"#.into(), params, "method: name a tool"),
        ("method is no text", r#"{"method":7}"#.into(), params, "method: name a tool"),
        (
            "a parameter beside params",
            r#"{"method":"get_recent_media","params":{},"dry_run":true}"#.into(),
            params,
            "dry_run: a call has method and params only",
        ),
        (
            "params by another name",
            r#"{"method":"get_profile","arguments":{}}"#.into(),
            params,
            "arguments: a call has",
        ),
        ("params is a list", media("[10]"), params, "params: must be an object"),
        ("params is text", media(r#""limit=10""#), params, "params: must be an object"),
        ("limit is true", media(r#"{"limit":true}"#), params, "limit: "),
        ("limit is a fraction", media(r#"{"limit":1.5}"#), params, "limit: "),
        ("limit is a list", media(r#"{"limit":[1]}"#), params, "limit: "),
        ("limit is too small", media(r#"{"limit":0}"#), params, "limit: "),
        ("limit is too large", media(r#"{"limit":101}"#), params, "limit: "),
        ("limit overflows", media(r#"{"limit":1e400}"#), json, ""),
        ("limit is huge", media(r#"{"limit":99999999999999999999999}"#), params, "limit: "),
        ("urls is a number", media(r#"{"urls":1}"#), params, "urls: must be true or false"),
        ("urls is another word", media(r#"{"urls":"yes"}"#), params, "urls: must be true or false"),
        ("format is another word", media(r#"{"format":"REELS"}"#), params, "did you mean REEL?"),
        ("since is no day", media(r#"{"since":"2026-13-01"}"#), params, "since: "),
        ("since is an object", media(r#"{"since":{"$gt":""}}"#), params, "since: "),
        ("cursor is no cursor", media(r#"{"cursor":"QVFIUabc"}"#), params, "cursor: "),
        ("cursor has odd letters", media(r#"{"cursor":"a&limit=100"}"#), params, "cursor: "),
        (
            "a parameter misspelt",
            media(r#"{"limits":5}"#),
            params,
            "limits: there is no such parameter; did you mean limit?",
        ),
        ("a token", media(r#"{"access_token":"x"}"#), params, "access_token: there is no such parameter"),
        ("a client", media(r#"{"client_id":"main"}"#), params, "client_id: there is no such parameter"),
        ("an address", media(r#"{"graph_url":"https://x"}"#), params, "graph_url: there is no such parameter"),
        ("metrics is a number", insights(r#"{"metrics":5}"#), params, "metrics: "),
        ("metrics holds a list", insights(r#"{"metrics":[["views"]]}"#), params, "metrics: "),
        ("metrics is empty", insights(r#"{"metrics":[]}"#), params, "metrics: name at least one"),
        ("a metric misspelt", insights(r#"{"metrics":["reech"]}"#), params, "did you mean reach?"),
        ("a metric misspelt in text", insights(r#"{"metrics":"views, reech"}"#), params, "did you mean reach?"),
        ("since after until", insights(r#"{"since":"2026-11-10","until":"2026-11-09"}"#), params, "since: "),
        ("over a year", insights(r#"{"since":"2025-01-01","until":"2026-06-01"}"#), params, "365 days"),
        ("no post named", r#"{"method":"get_media"}"#.into(), params, "one of media_id, permalink and shortcode"),
        (
            "two posts named",
            r#"{"method":"get_media","params":{"media_id":"1","shortcode":"a"}}"#.into(),
            params,
            "one of media_id, permalink and shortcode",
        ),
        (
            "a path for an id",
            r#"{"method":"get_media","params":{"media_id":"../me/accounts"}}"#.into(),
            params,
            "media_id: must be an id of 1 to 32 digits",
        ),
        (
            "an id that JSON has rounded",
            r#"{"method":"get_media","params":{"media_id":17900000000000001}}"#.into(),
            params,
            "media_id: send the id as text",
        ),
        (
            "a link to elsewhere",
            r#"{"method":"get_media","params":{"permalink":"https://evil.example/p/Cx2/"}}"#.into(),
            params,
            "permalink: ",
        ),
    ];
    for (name, body, (status, code), says) in cases {
        let came = roles.post_mcp(roles.instagram, "/mcp", body).await;
        assert_failure(&came);
        assert_eq!((came.status, came.code().as_str()), (status, code), "{name}: {}", came.text);
        assert!(came.message().contains(says), "{name}: {}", came.text);
        assert_eq!(came.json()["error"]["retryable"], false, "{name}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before, "Graph was never asked");
}

#[tokio::test]
async fn the_same_bad_arguments_are_the_tools_error_over_mcp() {
    let roles = Fixture { clock: fixed(), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    for (tool, params) in [
        ("get_recent_media", json!({"limit": 0})),
        ("get_recent_media", json!({"limits": 1})),
        ("get_recent_media", json!({"client_id": "main"})),
        ("get_recent_media", json!({"access_token": "x"})),
        ("get_account_insights", json!({"metrics": []})),
        ("get_account_insights", json!({"metrics": ["reech"]})),
        ("get_media", json!({})),
        ("get_media_insights", json!({"media_id": "1", "media_ids": ["2"]})),
    ] {
        let came = roles.refused(roles.instagram, "/mcp", tool, &params).await;
        assert_eq!((came.status, came.code().as_str()), (400, "invalid_params"), "{tool} {params}");
    }
}

#[tokio::test]
async fn arguments_as_n8n_writes_them_are_taken() {
    let roles = Fixture { clock: fixed(), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    for (tool, plain, text) in [
        ("get_recent_media", json!({"limit": 3, "urls": true}), json!({"limit": " 3 ", "urls": "true"})),
        ("get_recent_media", json!({"limit": 3, "insights": false}), json!({"limit": "3", "insights": "false"})),
        ("get_recent_media", json!({"format": "REEL"}), json!({"format": "reel", "cursor": null, "since": null})),
        (
            "get_account_insights",
            json!({"metrics": ["views", "reach"], "days_ago": 2}),
            json!({"metrics": "views, reach", "days_ago": "2"}),
        ),
        ("get_account_insights", json!({"metrics": ["reach"]}), json!({"metrics": "reach"})),
    ] {
        let (plain, text) = (roles.ig("main", tool, plain).await, roles.ig("main", tool, text).await);
        assert_eq!(plain, text, "{tool}");
    }
    let bare = roles.post_mcp(roles.instagram, "/mcp", r#"{"method":"get_profile","params":null}"#).await;
    assert_eq!(bare.status, 200, "{}", bare.text);
    let typed = roles.http.post(format!("http://{}/mcp", roles.instagram)).body(r#"{"method":"get_profile"}"#);
    let typed = answer(typed.header("content-type", "Application/JSON; charset=utf-8")).await;
    assert_eq!(typed.status, 200, "{}", typed.text);
}

#[tokio::test]
async fn what_is_no_post_of_json_to_a_known_path_is_refused() {
    let allowed = vec!["http://localhost:5678".to_owned()];
    let roles = Fixture { origins: allowed, ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    let at = roles.instagram;
    let call = r#"{"method":"get_profile"}"#;
    let request = |method: &str, path: &str, headers: &str| {
        let length = call.len();
        let host = if headers.contains("\nHost:") { String::new() } else { format!("Host: {at}\r\n") };
        format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{call}"
        )
    };
    let json = "Content-Type: application/json\r\n";
    let with = |header: &str| format!("{json}{header}\r\n");
    let cases = [
        ("the call itself", request("POST", "/mcp", json), 200, ""),
        ("by the container's name", request("POST", "/mcp", &with("Host: instagram-mcp:3005")), 200, ""),
        ("GET", request("GET", "/mcp", json), 405, "method_not_allowed"),
        ("PUT", request("PUT", "/mcp", json), 405, "method_not_allowed"),
        ("DELETE", request("DELETE", "/mcp", json), 405, "method_not_allowed"),
        ("GET of a client's", request("GET", "/clients/main/mcp", json), 405, "method_not_allowed"),
        ("a slash at the end", request("POST", "/mcp/", json), 404, "not_found"),
        ("capitals", request("POST", "/MCP", json), 404, "not_found"),
        ("no client in the path", request("POST", "/clients//mcp", json), 404, "not_found"),
        ("a path for a client", request("POST", "/clients/a/b/mcp", json), 404, "not_found"),
        ("no client id", request("POST", "/clients/a%20b/mcp", json), 400, "invalid_params"),
        ("two dots", request("POST", "/clients/../mcp", json), 400, "invalid_params"),
        ("a query", request("POST", "/mcp?client_id=main", json), 400, "invalid_query"),
        ("text", request("POST", "/mcp", "Content-Type: text/plain\r\n"), 415, "unsupported_media_type"),
        (
            "a form",
            request("POST", "/mcp", "Content-Type: application/x-www-form-urlencoded\r\n"),
            415,
            "unsupported_media_type",
        ),
        ("no type", request("POST", "/mcp", ""), 415, "unsupported_media_type"),
        ("a foreign Host", request("POST", "/mcp", &with("Host: evil.example")), 403, "not_internal"),
        ("a foreign Origin", request("POST", "/mcp", &with("Origin: https://evil.example")), 403, "not_internal"),
        ("a null Origin", request("POST", "/mcp", &with("Origin: null")), 403, "not_internal"),
        ("a listed Origin", request("POST", "/mcp", &with("Origin: http://localhost:5678")), 200, ""),
        ("through a proxy", request("POST", "/mcp", &with("X-Forwarded-For: 203.0.113.9")), 403, "not_internal"),
    ];
    for (name, request, wanted, code) in cases {
        let came = exchange(at, request.as_bytes()).await;
        assert_eq!(status(&came), wanted, "{name}: {came}");
        assert!(code.is_empty() || came.contains(&format!("\"code\":\"{code}\"")), "{name}: {came}");
        assert!(wanted == 200 || came.contains("\"retryable\":false"), "{name}: {came}");
        assert_eq!(came.to_ascii_lowercase().contains("allow: post"), wanted == 405, "{name}: {came}");
    }
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_refused_announced_or_not() {
    let roles = Fixture::new().start().await;
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", roles.instagram);
    let announced = format!("{head}Content-Length: {}\r\n\r\n", (1 << 20) + 1);
    let chunk = " ".repeat((1 << 20) + 1);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    for request in [announced, chunked] {
        let came = exchange(roles.instagram, request.as_bytes()).await;
        assert_eq!(status(&came), 413, "{came}");
        assert!(came.contains("\"code\":\"too_large\"") && came.contains("1048576"), "{came}");
    }
    let padded = format!("{}{}", r#"{"method":"get_profile"}"#, " ".repeat((1 << 20) - 24));
    assert_eq!(padded.len(), 1 << 20);
    let came = roles.post_mcp(roles.instagram, "/mcp", padded).await;
    assert_eq!(came.code(), "not_connected", "the longest body is read: {}", came.text);
}

/// What a fault becomes through the tool that reads the account's own node, and how often Meta was asked.
const FATES: &[(&str, u16, &str, usize)] = &[
    ("rate_limit", 429, "rate_limited", 1),
    ("user_limit", 429, "rate_limited", 1),
    ("pending_action", 424, "action_required", 1),
    ("ig_rate_limit", 429, "rate_limited", 1),
    ("ads_rate_limit", 429, "rate_limited", 1),
    ("transient", 502, "meta_unavailable", 3),
    ("transient_once", 200, "", 2),
    ("transient_twice", 200, "", 3),
    ("reduce_data", 422, "rejected_by_meta", 1),
    ("token_expired", 424, "token_expired", 1),
    ("token_revoked", 424, "token_invalid", 1),
    ("action_required", 424, "action_required", 1),
    ("permission", 424, "missing_permission", 1),
    ("permission_200", 424, "missing_permission", 1),
    ("not_found", 422, "rejected_by_meta", 1),
    ("old_version", 422, "rejected_by_meta", 1),
    ("unavailable", 502, "meta_unavailable", 3),
    ("empty_500", 502, "meta_unavailable", 3),
    ("hang", 504, "meta_timeout", 1),
    ("cut", 502, "meta_unavailable", 3),
    ("garbage", 502, "meta_unavailable", 3),
    ("redirect", 502, "meta_unavailable", 1),
    ("huge", 422, "rejected_by_meta", 1),
    ("token_in_error", 200, "", 1),
    ("empty_data", 502, "meta_unavailable", 1),
    ("views_refused", 200, "", 1),
    ("follows_refused", 200, "", 1),
    ("media_insights_refused", 200, "", 1),
    ("media_metrics_refused", 200, "", 1),
    ("newest_day_late", 200, "", 1),
    ("hashtag_limit", 200, "", 1),
];

#[tokio::test]
async fn every_fault_of_meta_becomes_its_code_after_a_bounded_number_of_calls() {
    assert_eq!(FAULTS.len(), FATES.len(), "each fault has its line");
    let fixture = Fixture { graph_timeout: Duration::from_secs(4), clock: fixed(), ..Fixture::new() };
    let roles = world(fixture).await;
    let probes = [(Platform::Instagram, "get_profile"), (Platform::MetaAds, "get_ad_account")];
    for (platform, tool) in probes {
        if platform.catalogue().is_empty() {
            continue;
        }
        let began = Instant::now();
        join_all(FATES.iter().map(async |(name, status, code, calls)| {
            let fault = sandbox::Fault::named(name).unwrap_or_else(|| panic!("there is no fault {name}"));
            let id = match platform {
                Platform::Instagram => fault.ig_account(),
                Platform::MetaAds => fault.ad_account(),
            };
            let body = json!({ "method": tool }).to_string();
            let came = roles.post_mcp(roles.of(platform), &path_of(name), body).await;
            assert_eq!(came.status, *status, "{name}: {}", came.text);
            assert_clean(&came.text);
            if *status != 200 {
                assert_failure(&came);
                assert_eq!(came.code(), *code, "{name}: {}", came.text);
                assert_eq!(came.json()["error"]["retryable"], *status > 424, "{name}: {}", came.text);
            }
            assert_eq!(roles.asked_about(&id), *calls, "{name}: {:?}", roles.graph_seen.calls());
        }))
        .await;
        assert!(began.elapsed() < Duration::from_secs(20), "the hanging one ends in time: {:?}", began.elapsed());
    }
    assert_clean_log();
}

#[tokio::test]
async fn a_fault_never_leaks_through_any_tool_of_any_platform() {
    let roles = world(Fixture { graph_timeout: Duration::from_secs(4), clock: fixed(), ..Fixture::new() }).await;
    let mut calls = Vec::new();
    for platform in Platform::ALL {
        for tool in platform.catalogue().iter().filter(|tool| tool.params.iter().all(|param| !param.required)) {
            for fault in FAULTS.iter().filter(|fault| !["hang", "huge"].contains(&fault.name)) {
                calls.push((platform, tool.name, fault.name));
            }
        }
    }
    assert!(calls.len() >= FAULTS.len());
    join_all(calls.into_iter().map(async |(platform, tool, client)| {
        let came = roles.post_mcp(roles.of(platform), &path_of(client), json!({ "method": tool }).to_string()).await;
        assert_clean(&came.text);
        match came.status {
            200 => assert!(came.json().get("error").is_none(), "{tool} {client}: {}", came.text),
            _ => assert_failure(&came),
        }
        assert_ne!(came.code(), "internal", "{tool} {client}: {}", came.text);
    }))
    .await;
    assert_clean_log();
}

#[tokio::test]
async fn a_token_in_metas_own_texts_is_taken_out() {
    let roles = world(Fixture { clock: fixed(), ..Fixture::new() }).await;
    let came = roles.refused(roles.instagram, &path_of("token_in_error"), "get_account_insights", &json!({})).await;
    assert_eq!(came.code(), "rejected_by_meta");
    assert!(came.message().contains("with token [secret]"), "{}", came.text);

    let media = roles.ig("token_in_error", "get_recent_media", json!({"limit": 2})).await;
    assert_eq!(media["media"][0]["caption"], "Our token is [secret]!");
    assert_clean(&media.to_string());
    let over = roles.tool(roles.instagram, &path_of("token_in_error"), "get_recent_media", &json!({"limit": 2})).await;
    assert_eq!(over["structuredContent"], media);
    assert_clean(&over.to_string());
    let metrics = roles.get(roles.instagram, "/metrics").await.text;
    assert!(metrics.contains("aiviary_scrubbed_total"), "{metrics}");
    assert!(!metrics.contains("aiviary_scrubbed_total 0"), "a hit is counted: {metrics}");
    assert_clean(&metrics);
    assert_clean_log();
}

#[tokio::test]
async fn a_token_passes_in_none_of_its_spellings_nor_in_any_member() {
    const TOKEN: &str = "EAAB|plant/2+x=%41~y";
    const ENCODED: &str = "EAAB%7Cplant%2F2%2Bx%3D%2541~y";
    let plant = Stub::start(|_, _| {
        let next = format!("https://graph.facebook.com/v26.0/1/media?access_token={ENCODED}&after=QVFI");
        let row = json!({
            "id": "17900000000000001",
            "caption": format!("raw {TOKEN}, encoded {ENCODED}, small {}", ENCODED.replace("%7C", "%7c")),
            "permalink": format!("https://www.instagram.com/p/x/?access_token={ENCODED}"),
            "access_token": TOKEN,
            "username": TOKEN,
            "paging": { "next": next },
        });
        let page =
            json!({"data": [row], "access_token": TOKEN, "paging": {"cursors": {"after": "QVFI"}, "next": next}});
        (200, page.to_string())
    })
    .await;
    let roles = Fixture { graph: Some(plant.url.clone()), clock: fixed(), ..Fixture::new() }.start().await;
    roles.keep(&with("plant", json!({ "access_token": TOKEN }))).await;
    let came = roles.post_mcp(roles.instagram, "/mcp", r#"{"method":"get_recent_media"}"#).await;
    assert_eq!(came.status, 200, "{}", came.text);
    let over = roles.tool(roles.instagram, "/mcp", "get_recent_media", &json!({})).await;
    for text in [came.text.clone(), over.to_string(), support::logs().text()] {
        for form in [TOKEN, ENCODED, &ENCODED.replace("%7C", "%7c"), "access_token\"", "graph.facebook.com/v26.0/1"] {
            assert!(!text.contains(form), "{form} in {text}");
        }
    }
    assert_eq!(came.json()["media"][0]["caption"], "raw [secret], encoded [secret], small [secret]");
    assert!(came.json()["next_cursor"].is_string(), "the cursor itself is had: {}", came.text);
    assert!(plant.seen().iter().all(|line| !line.contains("EAAB")), "the token is never in a URL: {:?}", plant.seen());
    assert_no_token(roles.folder.path(), TOKEN);
}

#[tokio::test]
async fn a_proof_of_the_app_secret_goes_along_and_is_never_shown() {
    let fixture = Fixture { app_secret: Some(sandbox::APP_SECRET.to_owned()), clock: fixed(), ..Fixture::new() };
    let roles = fixture.start().await;
    roles.keep(&sample("main")).await;
    assert_eq!(roles.ig("main", "get_profile", json!({})).await["id"], sandbox::IG_ACCOUNT);

    let echo = Stub::start(|line, _| {
        let proof = line.split("appsecret_proof=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
        let name = format!("proof {}", proof.unwrap_or("none"));
        (200, json!({"id": "1", "name": name}).to_string())
    })
    .await;
    let fixture = Fixture { graph: Some(echo.url.clone()), app_secret: Some("shh".to_owned()), ..Fixture::new() };
    let roles = fixture.start().await;
    roles.keep(&sample("main")).await;
    assert_eq!(roles.ig("main", "get_profile", json!({})).await["name"], "proof [secret]");
}

#[tokio::test]
async fn a_graph_that_cannot_be_reached_is_told_as_metas_absence() {
    let roles = Fixture { graph: Some(nobody()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    let began = Instant::now();
    let came = roles.refused(roles.instagram, "/mcp", "get_profile", &json!({})).await;
    assert_eq!((came.status, came.code().as_str()), (502, "meta_unavailable"), "{}", came.text);
    assert!(!came.text.contains("127.0.0.1"), "no address leaves: {}", came.text);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn readiness_and_counts_are_told_beside_the_tools() {
    let roles = world(Fixture::new()).await;
    roles.ig("main", "get_profile", json!({})).await;
    roles.ig_refused("revoked", "get_profile", json!({})).await;
    let ready = roles.get(roles.instagram, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)), "{}", ready.text);
    assert_eq!(roles.get(roles.instagram, "/healthz").await.status, 200);
    let metrics = roles.get(roles.instagram, "/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [r#"outcome="ok""#, r#"outcome="token_invalid""#, r#"tool="get_profile""#] {
        assert!(metrics.text.contains(line), "{line} in {}", metrics.text);
    }

    let lonely = Fixture { connect: Some(mcp::ConnectAt::Url(nobody())), ..Fixture::new() }.start().await;
    let ready = lonely.get(lonely.instagram, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["waiting_for"]), (503, &json!(["connect"])), "{}", ready.text);
    assert_eq!(lonely.get(lonely.instagram, "/healthz").await.status, 200);
}
