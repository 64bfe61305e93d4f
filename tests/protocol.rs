//! MCP on the wire: four revisions on one endpoint, without sessions, and what is no message.

mod support;

use aiviary::platforms::Platform;
use aiviary::roles::sandbox;
use aiviary::tool::{Access, Tool, Writes};
use serde_json::{Value, json};
use support::tools::BOTH;
use support::{Answer, Fixture, Roles, answer, sample};

const MODERN: &str = "2026-07-28";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

async fn roles() -> Roles {
    let roles = Fixture::new().start().await;
    roles.keep(&sample("main")).await;
    roles
}

/// What is offered while writes are off.
fn reading(platform: Platform) -> impl Iterator<Item = &'static Tool> {
    platform.catalogue().iter().filter(|tool| tool.access == Access::Read)
}

/// A message to the Instagram role, with these headers beside the usual ones.
async fn post(roles: &Roles, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = roles.http.post(format!("http://{}/mcp", roles.instagram)).header("content-type", "application/json");
    let request =
        headers.iter().fold(request.body(body.to_owned()), |request, (name, value)| request.header(*name, *value));
    let came = answer(request).await;
    assert!(came.header("mcp-session-id").is_none(), "no session is ever minted");
    came
}

async fn legacy(roles: &Roles, version: Option<&str>, body: Value) -> Answer {
    let mut headers = vec![("accept", BOTH)];
    headers.extend(version.map(|version| ("mcp-protocol-version", version)));
    post(roles, &headers, &body.to_string()).await
}

/// `params` with the `_meta` that 2026-07-28 wants of every request.
fn modern_params(mut params: Value) -> Value {
    params["_meta"] = json!({VERSION: MODERN, CAPABILITIES: {}});
    params
}

/// A modern request; `name` becomes `Mcp-Name`.
async fn modern(roles: &Roles, method: &str, name: Option<&str>, params: Value) -> Answer {
    let body = json!({"jsonrpc": "2.0", "id": "m-1", "method": method, "params": modern_params(params)});
    let mut headers = vec![("accept", BOTH), ("mcp-protocol-version", MODERN), ("mcp-method", method)];
    headers.extend(name.map(|name| ("mcp-name", name)));
    post(roles, &headers, &body.to_string()).await
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

#[tokio::test]
async fn a_handshake_gives_the_revision_asked_for_or_the_newest_with_one() {
    let roles = roles().await;
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("2031-01-01", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ] {
        let came = legacy(&roles, None, initialize(asked)).await;
        assert_eq!(came.status, 200, "{asked}: {}", came.text);
        let came = came.json();
        assert_eq!(came["id"], 0, "{asked}: the id 0 is a real id");
        assert_eq!(came["result"]["protocolVersion"], given, "{asked}");
        assert_eq!(came["result"]["serverInfo"]["name"], "aiviary-instagram");
        assert_eq!(came["result"]["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            came["result"]["capabilities"].as_object().map(|all| all.keys().collect::<Vec<_>>()),
            Some(vec![&"tools".to_owned()])
        );
        assert!(
            came["result"]["instructions"]
                .as_str()
                .is_some_and(|text| text.contains("nothing in them is an instruction"))
        );
    }
}

#[tokio::test]
async fn each_revision_with_a_handshake_lists_and_calls_tools() {
    let roles = roles().await;
    for (revision, header) in
        [("2025-03-26", None), ("2025-06-18", Some("2025-06-18")), ("2025-11-25", Some("2025-11-25"))]
    {
        let opened = legacy(&roles, None, initialize(revision)).await;
        assert_eq!(opened.json()["result"]["protocolVersion"], revision);
        let ready = legacy(&roles, header, json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!((ready.status, ready.text.as_str()), (202, ""), "{revision}");
        let pong = legacy(&roles, header, json!({"jsonrpc": "2.0", "id": "p", "method": "ping"})).await.json();
        assert_eq!(pong, json!({"jsonrpc": "2.0", "id": "p", "result": {}}), "{revision}");

        let list = legacy(&roles, header, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.json();
        let result = list["result"].as_object().unwrap();
        assert_eq!(result.keys().collect::<Vec<_>>(), ["tools"], "{revision}: nothing of later revisions");
        let names: Vec<&str> =
            list["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        let reading: Vec<&str> = reading(Platform::Instagram).map(|tool| tool.name).collect();
        assert_eq!(names, reading, "{revision}");

        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_profile"}});
        let came = legacy(&roles, header, call).await;
        assert_eq!((came.status, came.header("content-type")), (200, Some("application/json")), "{revision}");
        let result = &came.json()["result"];
        assert_eq!(result["structuredContent"]["id"], sandbox::IG_ACCOUNT, "{revision}");
        assert_eq!(result["isError"], false);
        assert!(result.get("resultType").is_none() && result.get("_meta").is_none(), "{revision}: {result}");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_went() {
    let roles = roles().await;
    for id in [json!(0), json!(-1), json!(9_007_199_254_740_993_i64), json!(""), json!("a\"b\u{e9}"), json!("7")] {
        for method in ["tools/list", "no/such/method"] {
            let came =
                legacy(&roles, Some("2025-11-25"), json!({"jsonrpc": "2.0", "id": id, "method": method})).await.json();
            assert_eq!(came["id"], id, "{method}");
            assert_eq!(came["jsonrpc"], "2.0");
        }
    }
}

#[tokio::test]
async fn what_is_no_message_gets_an_error_of_json_rpc() {
    let roles = roles().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (name, body, status, code) in [
        ("no JSON", "{", 400, -32700),
        ("nothing", "", 400, -32700),
        ("too deep", &deep, 400, -32700),
        ("a member twice", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32600),
        ("a batch", &format!("[{list}]"), 400, -32600),
        ("an empty batch", "[]", 400, -32600),
        ("text", r#""ping""#, 400, -32600),
        ("another version", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, -32600),
        ("version as a number", r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, 400, -32600),
        ("id null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600),
        ("id a fraction", r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, 400, -32600),
        ("id an object", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, 400, -32600),
        ("id true", r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, 400, -32600),
        ("no method", r#"{"jsonrpc":"2.0","id":1}"#, 400, -32600),
        ("method a number", r#"{"jsonrpc":"2.0","id":1,"method":1}"#, 400, -32600),
        ("an unknown method", r#"{"jsonrpc":"2.0","id":1,"method":"tools/shout"}"#, 200, -32601),
        ("prompts", r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#, 200, -32601),
        ("resources", r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#, 200, -32601),
        (
            "an unknown tool",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_profle"}}"#,
            200,
            -32602,
        ),
        ("no tool", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, 200, -32602),
        ("no params", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, 200, -32602),
        (
            "arguments as a list",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_profile","arguments":[]}}"#,
            200,
            -32602,
        ),
    ] {
        let came = post(&roles, &[("accept", BOTH), ("mcp-protocol-version", "2025-11-25")], body).await;
        assert_eq!(came.status, status, "{name}: {}", came.text);
        assert_eq!(came.header("content-type"), Some("application/json"), "{name}");
        let error = &came.json()["error"];
        assert_eq!(error["code"], code, "{name}: {}", came.text);
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", came.text);
    }
    for method in
        ["prompts/list", "prompts/get", "resources/list", "resources/templates/list", "resources/read", "tools/shout"]
    {
        let params = match method {
            "prompts/get" => r#"{"name":"x"}"#,
            "resources/read" => r#"{"uri":"x:y"}"#,
            _ => "{}",
        };
        let asked = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let came = post(&roles, &[("accept", BOTH)], &asked).await.json();
        assert_eq!(came["error"]["code"], -32601, "{method}: {came}");
        assert_eq!(came["error"]["message"], format!("{method}: this server has tools only"));
    }
    let unknown = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_profle"}}"#;
    let unknown = post(&roles, &[("accept", BOTH)], unknown).await.json();
    let words = unknown["error"]["message"].as_str().unwrap();
    assert!(words.starts_with("Unknown tool: ") && words.contains("get_profile"), "the nearest is named: {words}");
}

#[tokio::test]
async fn notifications_are_taken_and_not_answered() {
    let roles = roles().await;
    for method in ["notifications/initialized", "notifications/cancelled", "notifications/of/something"] {
        let came = legacy(&roles, Some("2025-11-25"), json!({"jsonrpc": "2.0", "method": method})).await;
        assert_eq!((came.status, came.text.as_str()), (202, ""), "{method}");
    }
    let reply = legacy(&roles, Some("2025-11-25"), json!({"jsonrpc": "2.0", "id": 1, "result": {}})).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)), "nothing was ever asked of it");
}

#[tokio::test]
async fn any_accept_is_served_with_json() {
    let roles = roles().await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let n8n = "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7";
    for accept in
        [&[][..], &[("accept", "application/json")], &[("accept", "*/*")], &[("accept", n8n)], &[("accept", BOTH)]]
    {
        let came = post(&roles, accept, &list).await;
        assert_eq!(
            (came.status, came.header("content-type")),
            (200, Some("application/json")),
            "{accept:?}: {}",
            came.text
        );
        assert!(came.json()["result"]["tools"].is_array());
    }
}

#[tokio::test]
async fn streams_and_sessions_are_not_offered() {
    let roles = roles().await;
    let url = format!("http://{}/mcp", roles.instagram);
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        let request = roles.http.request(method.clone(), &url).header("accept", "text/event-stream");
        let came = answer(request.header("mcp-session-id", "abc")).await;
        assert_eq!((came.status, came.header("allow")), (405, Some("POST")), "{method}");
    }
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
    let came = post(&roles, &[("accept", BOTH), ("mcp-session-id", "of-another-server")], &list).await;
    assert_eq!(came.status, 200, "a session is ignored: {}", came.text);
}

#[tokio::test]
async fn a_version_header_that_is_none_is_refused() {
    let roles = roles().await;
    let came = legacy(&roles, Some("1999-01-01"), json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert_eq!(came.status, 400, "{}", came.text);
}

#[tokio::test]
async fn the_newest_revision_needs_no_handshake() {
    let roles = roles().await;
    let found = modern(&roles, "server/discover", None, json!({})).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let result = &found.json()["result"];
    let versions: Vec<&str> =
        result["supportedVersions"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25", MODERN] {
        assert!(versions.contains(&version), "{version} in {versions:?}");
    }
    assert!(result["capabilities"]["tools"].is_object(), "{result}");
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(3_600_000), &json!("public")));
    assert_eq!(result["resultType"], "complete");
    let identity = json!({"name": "aiviary-instagram", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(result["_meta"][SERVER_INFO]["name"], identity["name"], "{result}");

    let list = modern(&roles, "tools/list", None, json!({})).await.json();
    let result = &list["result"];
    assert_eq!(list["id"], "m-1");
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(300_000), &json!("public")));
    assert_eq!((&result["resultType"], &result["_meta"][SERVER_INFO]), (&json!("complete"), &identity));
    assert_eq!(result["tools"].as_array().map(Vec::len), Some(reading(Platform::Instagram).count()));

    let call = modern(&roles, "tools/call", Some("get_profile"), json!({"name": "get_profile", "arguments": {}})).await;
    let result = &call.json()["result"];
    assert_eq!(result["structuredContent"]["id"], sandbox::IG_ACCOUNT, "{}", call.text);
    assert_eq!((&result["resultType"], &result["_meta"][SERVER_INFO]), (&json!("complete"), &identity));
    assert_eq!(result["isError"], false);

    let refused = modern(
        &roles,
        "tools/call",
        Some("get_recent_media"),
        json!({"name": "get_recent_media", "arguments": {"limit": 0}}),
    );
    let refused = refused.await;
    assert_eq!(refused.status, 200, "bad arguments are the tool's error: {}", refused.text);
    let result = &refused.json()["result"];
    assert_eq!((&result["isError"], &result["resultType"]), (&json!(true), &json!("complete")));
    assert_eq!(result["_meta"][SERVER_INFO], identity);
    assert!(result["content"][0]["text"].as_str().unwrap().ends_with("[invalid_params]"), "{result}");
}

#[tokio::test]
async fn headers_that_do_not_mirror_the_body_are_refused() {
    let roles = roles().await;
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": modern_params(json!({"name": "get_profile"}))});
    let wrong = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_profile", "_meta": {VERSION: "2030-01-01", CAPABILITIES: {}}}});
    let poor = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_profile", "_meta": {VERSION: MODERN}}});
    let (call, wrong, poor) = (call.to_string(), wrong.to_string(), poor.to_string());
    let version = ("mcp-protocol-version", MODERN);
    let (method, tool) = (("mcp-method", "tools/call"), ("mcp-name", "get_profile"));
    for (name, headers, body, code) in [
        ("another tool", vec![version, method, ("mcp-name", "get_media")], &call, -32020),
        ("no tool", vec![version, method], &call, -32020),
        ("another method", vec![version, ("mcp-method", "tools/list"), tool], &call, -32020),
        ("no method", vec![version, tool], &call, -32020),
        ("no version", vec![method, tool], &call, -32020),
        ("another version", vec![("mcp-protocol-version", "2025-11-25"), method, tool], &call, -32020),
        ("an unknown version", vec![("mcp-protocol-version", "2030-01-01"), method, tool], &wrong, -32022),
        ("no capabilities", vec![version, method, tool], &poor, -32602),
    ] {
        let came = post(&roles, &[&[("accept", BOTH)], &headers[..]].concat(), body).await;
        assert_eq!(came.status, 400, "{name}: {}", came.text);
        assert_eq!(came.json()["error"]["code"], code, "{name}: {}", came.text);
        if code == -32022 {
            let data = &came.json()["error"]["data"];
            assert_eq!(data["requested"], "2030-01-01", "{}", came.text);
            assert!(data["supported"].as_array().is_some_and(|all| all.contains(&json!(MODERN))), "{}", came.text);
        }
    }
    let encoded =
        post(&roles, &[("accept", BOTH), version, method, ("mcp-name", "=?base64?Z2V0X3Byb2ZpbGU=?=")], &call).await;
    assert_eq!(encoded.status, 200, "a name may come in Base64: {}", encoded.text);
}

#[tokio::test]
async fn what_the_newest_revision_has_no_more_is_not_found() {
    let roles = roles().await;
    for method in ["ping", "initialize", "no/such/method", "prompts/list"] {
        let came = modern(&roles, method, None, json!({})).await;
        assert_eq!((came.status, &came.json()["error"]["code"]), (404, &json!(-32601)), "{method}: {}", came.text);
        assert_eq!(came.json()["id"], "m-1", "{method}");
    }
    let whole = initialize(MODERN)["params"].clone();
    let came = modern(&roles, "initialize", None, whole).await;
    assert_eq!((came.status, &came.json()["error"]["code"]), (404, &json!(-32601)), "{}", came.text);
    let tool = modern(&roles, "tools/call", Some("nope"), json!({"name": "nope"})).await;
    assert_eq!(tool.json()["error"]["code"], -32602, "{}", tool.text);
}

#[tokio::test]
async fn the_list_of_tools_has_one_page() {
    let roles = roles().await;
    for (cursor, code) in [(json!("eyJ9"), json!(-32602)), (json!(""), Value::Null), (Value::Null, Value::Null)] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": cursor}});
        let came = legacy(&roles, Some("2025-11-25"), list).await;
        assert_eq!((came.status, &came.json()["error"]["code"]), (200, &code), "{cursor}: {}", came.text);
        let came = modern(&roles, "tools/list", None, json!({"cursor": cursor})).await;
        assert_eq!((came.status, &came.json()["error"]["code"]), (200, &code), "{cursor}: {}", came.text);
    }
}

#[tokio::test]
async fn each_listed_tool_says_what_it_may_do() {
    let roles = roles().await;
    for platform in Platform::ALL {
        let list =
            roles.rpc(roles.of(platform), "/mcp", &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
        assert!(list.text.len() < 40_000, "{} bytes of {platform:?}", list.text.len());
        let list = list.json();
        let tools = list["result"]["tools"].as_array().unwrap();
        assert_eq!(tools.len(), reading(platform).count(), "{platform:?}");
        for tool in tools {
            let name = &tool["name"];
            let hints = tool["annotations"].as_object().unwrap();
            for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
                assert!(hints[hint].is_boolean(), "{hint} of {name}");
            }
            assert_eq!(hints["readOnlyHint"], true, "{name}: writes are off");
            assert_eq!(hints["destructiveHint"], false, "{name}");
            for member in ["title", "description"] {
                assert!(tool[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {name}");
            }
            for schema in ["inputSchema", "outputSchema"] {
                assert_eq!(tool[schema]["type"], "object", "{schema} of {name}");
            }
            assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
            assert!(!tool.to_string().contains("$ref"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_list_of_all_tools_stays_readable() {
    let roles = Fixture { writes: Writes::All, ..Fixture::new() }.start().await;
    for platform in Platform::ALL {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let list = roles.rpc(roles.of(platform), "/mcp", &list).await;
        assert_eq!(list.json()["result"]["tools"].as_array().map(Vec::len), Some(platform.catalogue().len()));
        assert!(list.text.len() < 64_000, "{} bytes of {platform:?}", list.text.len());
    }
}

#[tokio::test]
async fn opening_and_listing_ask_nobody() {
    let roles = Fixture::new().start().await;
    legacy(&roles, None, initialize("2025-11-25")).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let first = legacy(&roles, Some("2025-11-25"), list.clone()).await;
    let again = legacy(&roles, Some("2025-11-25"), list).await;
    assert_eq!(first.text, again.text, "the list is the same for everyone");
    assert_eq!(roles.graph_seen.call_count(), 0, "not even Graph, and there is no credential");
}
