//! The flow that the whole project exists for, end to end over real sockets.

mod support;

use aiviary::roles::sandbox;
use serde_json::{Value, json};
use support::{Fixture, answer, assert_no_token, logs, sample};

#[tokio::test]
async fn a_token_comes_in_and_a_workflow_gets_numbers() {
    let roles = Fixture::new().start().await;
    let without_key = roles.post_raw(roles.internal, None, sample("flow").to_string()).await;
    assert_eq!((without_key.status, without_key.code().as_str()), (401, "unauthorized"));

    let stored = roles.store(&sample("flow")).await;
    assert_eq!(stored.status, 201, "{}", stored.text);
    let summary = roles.get(roles.internal, "/api/credentials").await;
    assert_eq!(summary.json()["instagram_business_account_id"], sandbox::IG_ACCOUNT);
    assert!(!summary.text.contains(sandbox::TOKEN));

    let grant = roles.get(roles.internal, "/api/credentials/token").await;
    assert_eq!(grant.json()["access_token"], sandbox::TOKEN);
    assert!(logs().text().contains("[Token Access] Provided decrypted token for client: flow"));
    let trail = std::fs::read_to_string(roles.path("audit.jsonl")).unwrap();
    assert!(trail.lines().any(|line| line.contains(r#""event":"grant","client_id":"flow""#)), "{trail}");

    let cell = roles.cell("flow", "access_token").unwrap();
    let (iv, data) = cell.split_once(':').unwrap();
    assert_eq!(iv.len(), 24);
    assert!(data.bytes().all(|b| b.is_ascii_hexdigit()));

    let before = roles.graph_seen.call_count();
    let params = json!({"period": "day", "metrics": ["impressions", "reach", "profile_views"]});
    let insights = roles.plain(roles.instagram, "get_account_insights", params).await;
    assert_eq!(insights.status, 200, "{}", insights.text);
    let value = insights.json();
    for name in ["impressions", "reach", "profile_views"] {
        assert!(value[name].as_u64().is_some_and(|n| n > 0), "{name} in {value}");
    }
    assert_eq!(value["impressions_source"], "views");
    assert_eq!(roles.graph_seen.call_count(), before + 1, "{:?}", roles.graph_seen.calls());

    let media = roles.plain(roles.instagram, "get_recent_media", json!({})).await;
    assert_eq!(media.json()["media"].as_array().map(Vec::len), Some(10), "{}", media.text);
    assert!(media.json()["next_cursor"].is_string());
    assert_eq!(roles.graph_seen.call_count(), before + 2);

    roles.edit("flow", "token_expires_at", Some("2024-01-01"));
    let expired = roles.get(roles.internal, "/api/credentials/token").await;
    assert_eq!(expired.json()["token_expired"], true);
    assert!(logs().text().contains("[Token Expired] Token expired at 2024-01-01T00:00:00Z"));
    let refused = roles.plain(roles.instagram, "get_profile", json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (424, "token_expired"), "{}", refused.text);
    assert_eq!(roles.graph_seen.call_count(), before + 2, "Graph was not asked");

    let folder = roles.folder.clone();
    roles.stop().await;
    assert_no_token(folder.path(), sandbox::TOKEN);
}

#[tokio::test]
async fn the_same_tools_answer_over_mcp() {
    let roles = Fixture::new().start().await;
    roles.store(&sample("mcp")).await;
    let url = format!("http://{}/mcp", roles.instagram);
    let post = async |body: Value| {
        let request = roles.http.post(&url).header("accept", "application/json, text/event-stream");
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    };
    let hello = post(json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
        "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}))
    .await;
    assert_eq!(hello.json()["result"]["protocolVersion"], "2025-11-25", "{}", hello.text);
    assert_eq!(post(json!({"jsonrpc":"2.0","method":"notifications/initialized"})).await.status, 202);
    let list = post(json!({"jsonrpc":"2.0","id":1,"method":"tools/list"})).await.json();
    let names: Vec<&str> =
        list["result"]["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    let catalogue = aiviary::platforms::Platform::Instagram.catalogue().iter();
    let reading = catalogue.filter(|tool| tool.access == aiviary::tool::Access::Read);
    assert_eq!(names, reading.map(|tool| tool.name).collect::<Vec<_>>(), "writes are off");
    let call =
        post(json!({"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_profile","arguments":{}}}))
            .await
            .json();
    assert_eq!(call["result"]["isError"], false, "{call}");
    assert_eq!(call["result"]["structuredContent"]["id"], sandbox::IG_ACCOUNT);
    let text: Value = serde_json::from_str(call["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, call["result"]["structuredContent"]);
}
