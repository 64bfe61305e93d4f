//! What changes the account: publishing as a state machine that posts once, whatever happens on the way.

mod support;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiviary::clock::Clock;
use aiviary::roles::sandbox;
use aiviary::tool::Writes;
use serde_json::{Value, json};
use support::process::{PATIENCE, Served};
use support::tools::{Stub, by_instagram_login, path_of, with};
use support::{Fixture, Roles, answer, sample};

const NOW: &str = "2026-11-20T12:00:00Z";
const TEA: &str = "https://example.com/tea.jpg";

async fn roles() -> Roles {
    roles_at(Clock::fixed(NOW.parse().unwrap())).await
}

async fn roles_at(clock: Clock) -> Roles {
    let fixture = Fixture { clock, writes: Writes::All, ..Fixture::new() };
    let roles = fixture.start().await;
    roles.keep(&sample("main")).await;
    roles
}

/// What Graph was asked, without the version before each path.
fn asked(roles: &Roles) -> Vec<String> {
    let short = |call: String| call.replace("/v26.0/17841405309210001", "/ig").replace("/v26.0", "");
    roles.graph_seen.calls().into_iter().map(short).collect()
}

fn posts_with(roles: &Roles, caption: &str) -> usize {
    // The sandbox itself, past every cache and cursor of ours.
    let found = asked_of_sandbox(roles, "17841405309210001/media?fields=caption&limit=100");
    found["data"].as_array().unwrap().iter().filter(|row| row["caption"] == caption).count()
}

fn asked_of_sandbox(roles: &Roles, target: &str) -> Value {
    let at = roles.sandbox;
    let target = format!("/v26.0/{target}&access_token={}", sandbox::TOKEN);
    let (status, body) =
        std::thread::spawn(move || support::process::request(at.port(), "GET", &target, &[], "")).join().unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn publish(roles: &Roles, arguments: Value) -> Value {
    roles.ig("main", "publish_image", arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_out_after_quota_container_look_publishing_and_link() {
    let roles = roles().await;
    let value = publish(&roles, json!({"image_url": TEA, "caption": "First flush"})).await;
    assert_eq!((value["state"].as_str(), value["repeated"].as_bool()), (Some("published"), Some(false)), "{value}");
    assert!(value["permalink"].as_str().unwrap().starts_with("https://www.instagram.com/p/"), "{value}");
    let (container, media) = (value["container_id"].as_str().unwrap(), value["media_id"].as_str().unwrap());
    let steps = [
        "GET /ig/content_publishing_limit?fields=quota_usage,config".to_owned(),
        "POST /ig/media".to_owned(),
        format!("GET /{container}?fields=status_code,status"),
        "POST /ig/media_publish".to_owned(),
        format!("GET /{media}?fields=id,permalink,timestamp"),
    ];
    assert_eq!(asked(&roles), steps);
    assert_eq!(posts_with(&roles, "First flush"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_again_gives_what_was_stored_and_asks_nobody() {
    let roles = roles().await;
    let arguments = json!({"image_url": TEA, "caption": "Once"});
    let first = publish(&roles, arguments.clone()).await;
    let before = asked(&roles).len();
    let mut again = publish(&roles, arguments.clone()).await;
    assert_eq!(again["repeated"].take(), true);
    let mut expected = first.clone();
    expected["repeated"].take();
    assert_eq!(again, expected);
    let with_key = json!({"image_url": TEA, "caption": "Once", "idempotency_key": first["idempotency_key"]});
    assert_eq!(publish(&roles, with_key).await["media_id"], first["media_id"], "the key of the answer is the call's");
    assert_eq!(asked(&roles).len(), before);

    let once_more = json!({"image_url": TEA, "caption": "Once", "force_new": true});
    assert_ne!(publish(&roles, once_more).await["media_id"], first["media_id"]);
    let another = json!({"image_url": TEA, "caption": "Once", "idempotency_key": "second"});
    assert_eq!(publish(&roles, another).await["repeated"], false);
    assert_eq!(posts_with(&roles, "Once"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_an_hour_counts_and_with_one_seven_days() {
    let roles = roles().await;
    let unnamed = json!({"image_url": TEA, "caption": "Hourly"});
    let named = json!({"image_url": TEA, "caption": "Weekly", "idempotency_key": "week 47/a"});
    let at = |text: &str| roles.clock.set(text.parse().unwrap());
    for (now, hourly, weekly) in [
        ("2026-11-20T12:00:00Z", false, false),
        ("2026-11-20T12:59:59Z", true, true),
        ("2026-11-20T13:00:00Z", false, true),
        ("2026-11-27T11:59:59Z", false, true),
        ("2026-11-27T12:00:00Z", true, false),
    ] {
        at(now);
        assert_eq!(publish(&roles, unnamed.clone()).await["repeated"], hourly, "{now}");
        assert_eq!(publish(&roles, named.clone()).await["repeated"], weekly, "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_parameters_is_a_mistake() {
    let roles = roles().await;
    publish(&roles, json!({"image_url": TEA, "caption": "A", "idempotency_key": "k"})).await;
    let other = json!({"image_url": TEA, "caption": "B", "idempotency_key": "k"});
    let refused = roles.ig_refused("main", "publish_image", other).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_params"));
    assert!(refused.message().contains("idempotency_key"), "{}", refused.message());
    assert_eq!(posts_with(&roles, "B"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_sent_and_sends_nothing() {
    let roles = roles().await;
    let cases = [
        ("publish_image", json!({"image_url": TEA, "caption": "Dry", "dry_run": "true"}), 2),
        ("publish_carousel", json!({"items": [{"image_url": TEA}, {"image_url": TEA}], "dry_run": true}), 4),
        ("create_media_container", json!({"kind": "image", "image_url": TEA, "dry_run": true}), 1),
        ("publish_container", json!({"container_id": "18001000000000001", "dry_run": true}), 1),
    ];
    for (tool, arguments, requests) in cases {
        let value = roles.ig("main", tool, arguments).await;
        assert_eq!(value["dry_run"], true, "{value}");
        let told: Value = serde_json::from_str(value["would_send"].as_str().unwrap()).unwrap();
        assert_eq!(told.as_array().unwrap().len(), requests, "{told}");
        assert!(told[0]["path"].as_str().unwrap().starts_with("/17841405309210001/media"), "{told}");
    }
    assert!(asked(&roles).iter().all(|call| call.starts_with("GET ")), "{:?}", asked(&roles));
    assert!(!roles.path("mcp.db").exists(), "nothing was begun");
    // What the real call would not send is not told either.
    let done = json!({"image_url": TEA, "idempotency_key": "done"});
    roles.ig("main", "publish_image", done.clone()).await;
    let dry = |caption: Option<&str>| json!({"image_url": TEA, "caption": caption, "idempotency_key": "done", "dry_run": true});
    let value = roles.ig("main", "publish_image", dry(None)).await;
    assert_eq!((&value["repeated"], &value["would_send"]), (&json!(true), &json!("[]")), "{value}");
    assert_eq!(roles.ig_refused("main", "publish_image", dry(Some("Other"))).await.code(), "invalid_params");
    let gone = json!({"comment_id": "17700000000000404", "dry_run": true});
    let value = roles.ig("main", "delete_comment", gone).await;
    assert_eq!((&value["dry_run"], &value["would_send"]), (&json!(true), &json!("[]")), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_posts_once_and_the_post_is_found() {
    let roles = roles().await;
    for word in ["[lost:publish]", "[spam:publish]", "[lost:container]"] {
        let caption = format!("Tea {word}");
        let value = publish(&roles, json!({"image_url": TEA, "caption": caption})).await;
        assert_eq!(value["state"], "published", "{word}: {value}");
        assert!(value["media_id"].is_string() && value["permalink"].is_string(), "{word}: {value}");
        assert_eq!(posts_with(&roles, &caption), 1, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_cannot_be_told_from_another_is_not_guessed() {
    let roles = roles().await;
    let same = |key: &str| json!({"image_url": TEA, "caption": "Twins [lost:publish]", "idempotency_key": key});
    let first = publish(&roles, same("one")).await;
    assert!(first["media_id"].is_string(), "{first}");
    let second = publish(&roles, same("two")).await;
    assert_eq!((second["state"].as_str(), second["media_id"].is_null()), (Some("published"), true), "{second}");
    assert!(second["note"].as_str().unwrap().contains("could not be told"), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_meta_cannot_fetch_at_first_is_tried_again() {
    let roles = roles().await;
    let value = publish(&roles, json!({"image_url": "https://example.com/flaky.jpg"})).await;
    assert_eq!(value["state"], "published");
    let refused =
        roles.ig_refused("main", "publish_image", json!({"image_url": "https://example.com/missing.jpg"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "rejected_by_meta"));
    assert!(refused.message().contains("could not be fetched"), "{}", refused.message());
    let creations = asked(&roles).iter().filter(|call| *call == "POST /ig/media").count();
    assert_eq!(creations, 2 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reel_that_takes_long_is_gone_on_with_by_the_same_call() {
    let roles = roles().await;
    let reel = json!({"video_url": "https://example.com/five.mp4", "caption": "Five cups", "wait_s": 0});
    // The other name of the same tool.
    let first = roles.ig("main", "publish_video", reel.clone()).await;
    assert_eq!((first["state"].as_str(), first["media_id"].is_null()), (Some("processing"), true), "{first}");
    let second = roles
        .ig(
            "main",
            "publish_reel",
            json!({
                "video_url": "https://example.com/five.mp4", "caption": "Five cups", "wait_s": 20,
            }),
        )
        .await;
    assert_eq!(second["state"], "published", "{second}");
    assert_eq!(second["container_id"], first["container_id"]);
    assert!(second["permalink"].as_str().unwrap().contains("/reel/"), "{second}");
    assert_eq!(posts_with(&roles, "Five cups"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_meta_cannot_take_is_refused_with_what_to_change_and_made_anew_next_time() {
    let roles = roles().await;
    let reel = json!({"video_url": "https://example.com/broken.mp4"});
    for containers in 1..=2 {
        let refused = roles.ig_refused("main", "publish_reel", reel.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "rejected_by_meta"));
        assert!(refused.message().contains("2207026") && refused.message().contains("H.264"), "{}", refused.message());
        let made = asked(&roles).iter().filter(|call| *call == "POST /ig/media").count();
        assert_eq!(made, containers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_is_made_of_its_items_in_their_order_and_counts_once() {
    let roles = roles().await;
    let items =
        json!([{"image_url": TEA, "alt_text": "Tea"}, {"video_url": "https://example.com/2.mp4"}, {"image_url": TEA}]);
    let value = roles.ig("main", "publish_carousel", json!({"items": items, "caption": "Three"})).await;
    assert_eq!(value["state"], "published", "{value}");
    let calls = asked(&roles);
    assert_eq!(calls.iter().filter(|call| *call == "POST /ig/media").count(), 4);
    assert_eq!(calls.iter().filter(|call| *call == "POST /ig/media_publish").count(), 1);
    let left = value["quota_left"].as_i64().unwrap();
    let limit = asked_of_sandbox(&roles, "17841405309210001/content_publishing_limit?fields=quota_usage,config");
    assert_eq!(100 - limit["data"][0]["quota_usage"].as_i64().unwrap(), left);

    let bad = json!([{"image_url": TEA}, {"image_url": "https://example.com/wide.jpg"}]);
    let refused = roles.ig_refused("main", "publish_carousel", json!({"items": bad})).await;
    assert!(refused.message().contains("item 2") && refused.message().contains("1.91:1"), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_out_and_is_found_again_among_the_stories() {
    let roles = roles().await;
    let value = roles.ig("main", "publish_story", json!({"image_url": "https://example.com/today.jpg"})).await;
    assert_eq!(value["state"], "published", "{value}");
    assert!(value["permalink"].as_str().unwrap().contains("/stories/"), "{value}");
    let lost = json!({"image_url": "https://example.com/lost-publish.jpg", "idempotency_key": "lost"});
    roles.clock.set("2026-11-20T12:01:00Z".parse().unwrap());
    let value = roles.ig("main", "publish_story", lost).await;
    assert_eq!((value["state"].as_str(), value["media_id"].is_string()), (Some("published"), true), "{value}");
    assert!(value["note"].as_str().unwrap().contains("its answer was lost"), "{value}");
    assert!(asked(&roles).iter().any(|call| call.starts_with("GET /ig/stories")));
}

#[tokio::test(flavor = "multi_thread")]
async fn once_more_is_for_what_was_done_and_not_for_what_is_under_way() {
    let roles = roles().await;
    let reel = json!({"video_url": "https://example.com/slow.mp4", "wait_s": 0, "force_new": true});
    let first = roles.ig("main", "publish_reel", reel.clone()).await;
    let second = roles.ig("main", "publish_reel", reel).await;
    assert_eq!((&first["state"], &second["container_id"]), (&json!("processing"), &first["container_id"]), "{second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_is_published_by_another_call() {
    let roles = roles().await;
    let staged = roles
        .ig("main", "create_media_container", json!({"kind": "image", "image_url": TEA, "caption": "Later"}))
        .await;
    assert_eq!(
        (staged["state"].as_str(), staged["expires_at"].as_str()),
        (Some("staged"), Some("2026-11-21T12:00:00Z"))
    );
    assert_eq!(posts_with(&roles, "Later"), 0);
    let container = json!({"container_id": staged["container_id"]});
    let status = roles.ig("main", "get_container_status", container.clone()).await;
    assert_eq!(status["state"], "FINISHED", "{status}");
    let value = roles.ig("main", "publish_container", container.clone()).await;
    assert_eq!(value["state"], "published", "{value}");
    assert_eq!(roles.ig("main", "publish_container", container.clone()).await["repeated"], true);
    assert_eq!(posts_with(&roles, "Later"), 1);
    assert_eq!(roles.ig("main", "get_container_status", container).await["state"], "PUBLISHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_equal_calls_at_once_post_once() {
    let roles = Arc::new(roles().await);
    let arguments = json!({"image_url": TEA, "caption": "Both at once"});
    let calls = (0..4).map(|_| {
        let (roles, arguments) = (roles.clone(), arguments.clone());
        tokio::spawn(async move { publish(&roles, arguments).await })
    });
    let mut repeated = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        repeated.push(call.await.unwrap()["repeated"].as_bool().unwrap());
    }
    repeated.sort_unstable();
    assert_eq!(repeated, [false, true, true, true]);
    assert_eq!(posts_with(&roles, "Both at once"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_calls_of_two_processes_at_once_post_once() {
    let roles = roles_at(Clock::system()).await;
    let (first, second) = (instagram(&roles), instagram(&roles));
    let body = json!({"method": "publish_image", "params": {"image_url": TEA, "idempotency_key": "one-for-all"}});
    let calls = [first.1, second.1, first.1, second.1].map(|port| {
        let url = format!("http://127.0.0.1:{port}{}", path_of("main"));
        let post = roles.http.post(url).header("content-type", "application/json").timeout(Duration::from_secs(60));
        tokio::spawn(answer(post.body(body.to_string())))
    });
    let mut repeated = Vec::new();
    for call in calls {
        let came = call.await.unwrap();
        repeated.push(came.json()["repeated"].as_bool().unwrap_or_else(|| panic!("{}", came.text)));
    }
    repeated.sort_unstable();
    assert_eq!(repeated, [false, true, true, true]);
    assert_eq!(asked(&roles).iter().filter(|call| call.contains("/media_publish")).count(), 1, "{:?}", asked(&roles));
    first.0.end("KILL");
    second.0.end("KILL");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_nothing_is_sent() {
    let roles = roles().await;
    std::fs::write(roles.path("mcp.db"), "no journal at all, but somebody's notes").unwrap();
    std::fs::set_permissions(roles.path("mcp.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let refused = roles.ig_refused("main", "publish_image", json!({"image_url": TEA})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "state_unavailable"));
    assert!(asked(&roles).iter().all(|call| !call.starts_with("POST")), "{:?}", asked(&roles));
    assert!(refused.message().contains("[mcp] state"), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_would_refuse_is_told_before_anything_is_sent() {
    let roles = roles().await;
    let many = "#a ".repeat(31);
    for (tool, arguments, names) in [
        ("publish_image", json!({"image_url": "http://example.com/a.jpg"}), "image_url"),
        ("publish_image", json!({"image_url": "https://localhost/a.jpg"}), "image_url"),
        ("publish_image", json!({"image_url": "https://10.0.0.1/a.jpg"}), "image_url"),
        ("publish_image", json!({"image_url": "https://[::ffff:127.0.0.1]/a.jpg"}), "image_url"),
        ("publish_image", json!({"image_url": "https://user:secret@example.com/a.jpg"}), "image_url"),
        ("publish_image", json!({"image_url": TEA, "caption": many}), "caption"),
        ("publish_image", json!({"image_url": TEA, "caption": "a".repeat(2201)}), "caption"),
        ("publish_image", json!({"image_url": TEA, "user_tags": [{"username": "a", "x": "1.5"}]}), "user_tags"),
        ("publish_image", json!({"image_url": TEA, "user_tags": [{"name": "a"}]}), "user_tags"),
        (
            "publish_reel",
            json!({"video_url": "https://example.com/a.mp4", "user_tags": [{"username": "a", "x": "0.5"}]}),
            "user_tags",
        ),
        (
            "publish_story",
            json!({"video_url": "https://example.com/a.mp4", "user_tags": [{"username": "a", "y": "0.5"}]}),
            "user_tags",
        ),
        ("publish_carousel", json!({"items": [{"image_url": TEA}]}), "items"),
        ("publish_carousel", json!({"items": [{"image_url": TEA}, {"alt_text": "a"}]}), "number 2"),
        ("publish_story", json!({"alt_text": "a"}), "alt_text"),
        ("publish_story", json!({}), "image_url"),
        ("create_media_container", json!({"kind": "story", "image_url": TEA, "caption": "a"}), "caption"),
        ("create_media_container", json!({"kind": "image", "image_url": TEA, "audio_name": "a"}), "audio_name"),
        ("create_media_container", json!({"kind": "image", "image_url": TEA, "share_to_feed": false}), "share_to_feed"),
        (
            "publish_reel",
            json!({"video_url": "https://example.com/a.mp4", "cover_url": TEA, "thumb_offset_ms": 0}),
            "thumb_offset_ms",
        ),
        (
            "publish_carousel",
            json!({"items": [{"image_url": TEA}, {"video_url": "https://example.com/a.mp4", "alt_text": "a"}]}),
            "number 2",
        ),
        (
            "publish_carousel",
            json!({"items": "[{\"image_url\":\"https://example.com/a.jpg\"},{\"bad\":1}]"}),
            "number 2",
        ),
        ("hide_comment", json!({"comment_id": 17_701_000_020_779_008_u64}), "as text"),
        ("set_webhook_fields", json!({"fields": ""}), "fields"),
    ] {
        let refused = roles.ig_refused("main", tool, arguments.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_params"), "{tool} {arguments}");
        assert!(refused.message().contains(names), "{tool} {arguments}: {}", refused.message());
        assert!(!refused.message().contains("secret"), "{}", refused.message());
    }
    assert!(asked(&roles).is_empty(), "{:?}", asked(&roles));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_co_authors_lose_the_sign_that_meta_refuses() {
    let roles = roles().await;
    let value = publish(&roles, json!({"image_url": TEA, "collaborators": ["@mira.tea"], "caption": "Together"})).await;
    assert_eq!(value["state"], "published", "{value}");
    let own = json!({"image_url": TEA, "collaborators": "@fernandkettle", "caption": "Alone"});
    let refused = roles.ig_refused("main", "publish_image", own).await;
    assert_eq!(refused.code(), "invalid_params", "{}", refused.text);
    assert_eq!(posts_with(&roles, "Alone"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_is_told_before_anything_is_made() {
    let roles = roles().await;
    loop {
        let arguments = json!({"image_url": TEA, "force_new": true});
        let body = json!({"method": "publish_image", "params": arguments}).to_string();
        let came = roles.post_mcp(roles.instagram, &path_of("main"), body).await;
        if came.status != 200 {
            assert_eq!((came.status, came.code().as_str()), (429, "rate_limited"), "{}", came.text);
            assert_eq!(came.header("retry-after"), Some("3600"));
            break;
        }
        assert!(came.json()["quota_left"].as_i64().unwrap() >= 0, "{}", came.text);
    }
    assert!(asked(&roles).last().unwrap().starts_with("GET /ig/content_publishing_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_is_not_listed_and_says_how_to_turn_it_on() {
    let roles = Fixture::new().start().await;
    roles.keep(&sample("main")).await;
    let refused = roles.ig_refused("main", "publish_image", json!({"image_url": TEA})).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "writes_off"));
    assert!(refused.message().contains("writes = \"on\""), "{}", refused.message());
    let list = roles.rpc(roles.instagram, "/mcp", &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(!list.text.contains("publish_image"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mcp_client_that_asks_for_it_is_told_how_far_a_post_came() {
    let roles = roles().await;
    let (steps, last) = told_steps(&roles, json!({"image_url": TEA})).await;
    assert_eq!(steps, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        (&last["id"], &last["result"]["structuredContent"]["state"]),
        (&json!(9), &json!("published")),
        "{last}"
    );
}

/// The steps that publishing a photo tells an MCP client, and the last message.
async fn told_steps(roles: &Roles, arguments: Value) -> (Vec<f64>, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {
        "name": "publish_image", "arguments": arguments, "_meta": {"progressToken": "p1"},
    }});
    let came = roles.rpc(roles.instagram, &path_of("main"), &body).await;
    let mut messages: Vec<Value> =
        came.text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect();
    let steps: Vec<f64> = messages
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| {
            assert_eq!(message["params"]["progressToken"], "p1");
            message["params"]["progress"].as_f64().unwrap()
        })
        .collect();
    (steps, messages.pop().unwrap())
}

// Comments, and posts that go.

/// The newest post that has comments of others, and the newest of those.
async fn commented(roles: &Roles) -> (String, Value) {
    let fields = "media?fields=id,comments.limit(50){id,text,username,user,replies{id}}&limit=30";
    let posts = asked_of_sandbox(roles, &format!("17841405309210001/{fields}"));
    for post in posts["data"].as_array().unwrap() {
        let comments = post["comments"]["data"].as_array().cloned().unwrap_or_default();
        if let Some(comment) = comments.into_iter().find(|row| row["user"].is_null() && row["replies"].is_null()) {
            return (post["id"].as_str().unwrap().to_owned(), comment);
        }
    }
    panic!("the sample has comments without an answer");
}

fn texts(rows: &Value) -> Vec<&str> {
    rows["data"].as_array().unwrap().iter().filter_map(|row| row["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_answered_once_even_when_the_answer_is_lost() {
    let roles = roles().await;
    let (media, comment) = commented(&roles).await;
    let id = comment["id"].as_str().unwrap();
    for text in ["Thank you!", "See you soon [lost]"] {
        let arguments = json!({"comment_id": id, "message": text});
        let value = roles.ig("main", "reply_to_comment", arguments.clone()).await;
        assert_eq!(value["media_id"], media.as_str(), "{value}");
        assert!(value["id"].is_string(), "{value}");
        assert_eq!(roles.ig("main", "reply_to_comment", arguments).await["repeated"], true);
    }
    let replies = asked_of_sandbox(&roles, &format!("{id}/replies?fields=text"));
    assert_eq!(texts(&replies), ["Thank you!", "See you soon [lost]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_reply_goes_below_the_comment_and_names_the_writer() {
    let roles = roles().await;
    let (_, comment) = commented(&roles).await;
    let id = comment["id"].as_str().unwrap();
    let reply = roles.ig("main", "reply_to_comment", json!({"comment_id": id, "message": "First"})).await;
    let value = roles.ig("main", "reply_to_comment", json!({"comment_id": reply["id"], "message": "Second"})).await;
    assert!(value["id"].is_string(), "{value}");
    let replies = asked_of_sandbox(&roles, &format!("{id}/replies?fields=text,username"));
    let username = replies["data"][0]["username"].as_str().unwrap();
    assert_eq!(texts(&replies), ["First", &format!("@{username} Second")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_comment_is_written_once_and_not_on_a_closed_post() {
    let roles = roles().await;
    let (media, _) = commented(&roles).await;
    for text in ["#tea #slowliving", "Recipe below [lost]"] {
        let value = roles.ig("main", "create_comment", json!({"media_id": media, "message": text})).await;
        assert!(value["id"].is_string(), "{value}");
    }
    let comments = asked_of_sandbox(&roles, &format!("{media}/comments?fields=text&limit=5"));
    assert_eq!(texts(&comments)[..2], ["Recipe below [lost]", "#tea #slowliving"]);
    let closed = roles.ig("main", "set_comments_enabled", json!({"media_id": media, "enabled": "false"})).await;
    assert_eq!(closed["success"], true);
    assert_eq!(roles.ig("main", "get_media", json!({"media_id": media})).await["is_comment_enabled"], false);
    let refused = roles.ig_refused("main", "create_comment", json!({"media_id": media, "message": "Late"})).await;
    assert_eq!(refused.code(), "rejected_by_meta");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_hidden_shown_and_deleted() {
    let roles = roles().await;
    let (media, comment) = commented(&roles).await;
    let id = comment["id"].as_str().unwrap();
    for hide in [true, false] {
        let value = roles.ig("main", "hide_comment", json!({"comment_id": id, "hide": hide})).await;
        assert_eq!((&value["success"], &value["hidden"]), (&json!(true), &json!(hide)), "{value}");
        assert_eq!(asked_of_sandbox(&roles, &format!("{id}?fields=hidden"))["hidden"], hide);
    }
    let own = roles.ig("main", "create_comment", json!({"media_id": media, "message": "Ours"})).await;
    let value = roles.ig("main", "hide_comment", json!({"comment_id": own["id"]})).await;
    assert_eq!(value["hidden"], false, "{value}");
    assert!(value["note"].as_str().unwrap().contains("stays visible"), "{value}");

    let dry = roles.ig("main", "delete_comment", json!({"comment_id": id, "dry_run": true})).await;
    assert!(dry["would_send"].as_str().unwrap().contains("DELETE"), "{dry}");
    let value = roles.ig("main", "delete_comment", json!({"comment_id": id})).await;
    assert_eq!((&value["success"], &value["text"]), (&json!(true), &comment["text"]), "{value}");
    let again = roles.ig("main", "delete_comment", json!({"comment_id": id})).await;
    assert_eq!((&again["success"], again["note"].is_string()), (&json!(true), true), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_deleted_only_with_its_own_link() {
    let roles = roles().await;
    let post = roles.ig("main", "get_recent_media", json!({"limit": 1})).await["media"][0].clone();
    let delete = |link: &Value| json!({"media_id": post["id"], "confirm_permalink": link});
    let wrong = json!("https://www.instagram.com/p/other/");
    let refused = roles.ig_refused("main", "delete_media", delete(&wrong)).await;
    assert_eq!(refused.code(), "invalid_params");
    let value = roles.ig("main", "delete_media", delete(&post["permalink"])).await;
    assert_eq!((&value["success"], &value["caption"]), (&json!(true), &post["caption"]), "{value}");
    let newest = roles.ig("main", "get_recent_media", json!({"limit": 1})).await;
    assert_ne!(newest["media"][0]["id"], post["id"]);
    // Which post that was can no longer be told.
    let gone = roles.ig("main", "delete_media", delete(&post["permalink"])).await;
    assert!(gone["success"].is_null() && gone["note"].as_str().unwrap().contains("gone already"), "{gone}");

    roles.keep(&by_instagram_login("direct")).await;
    let refused = roles.ig_refused("direct", "delete_media", delete(&post["permalink"])).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_offered_by_login"));
}

// A Meta that answers as no sandbox does.

/// The roles before a Graph that answers the n-th request (from 1) of a method and the end of a path as told; all else
/// is an empty list.
async fn before(answer: impl Fn(&str, &str, usize) -> Option<(u16, Value)> + Send + Sync + 'static) -> (Roles, Stub) {
    let clock = Clock::fixed(NOW.parse().unwrap());
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    let stub = Stub::start(move |line, _| {
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.split(['?', ' ']).next().unwrap();
        let last = path.rsplit('/').next().unwrap();
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(format!("{method} {last}")).or_default();
        *count += 1;
        let (status, body) = answer(method, last, *count).unwrap_or((200, json!({"data": []})));
        (status, body.to_string())
    })
    .await;
    let roles = Fixture { graph: Some(stub.url.clone()), writes: Writes::All, clock, ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    roles.keep(&by_instagram_login("direct")).await;
    (roles, stub)
}

fn error(status: u16, code: i64, subcode: i64) -> Option<(u16, Value)> {
    let error = json!({"message": "no", "type": "OAuthException", "code": code, "error_subcode": subcode});
    Some((status, json!({ "error": error })))
}

fn methods(stub: &Stub) -> Vec<String> {
    stub.seen().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_a_refusal_does_not_free_the_key() {
    let (roles, stub) = before(|method, last, count| match (method, last, count) {
        ("POST", "comments", 1) => error(500, 2, 0),
        ("POST", "comments", 2) => error(403, 4, 0),
        ("POST", "comments", _) => Some((200, json!({"id": "17500000000000001"}))),
        _ => None,
    })
    .await;
    let arguments = json!({"media_id": "17900000000000001", "message": "Once"});
    let lost = roles.ig_refused("main", "create_comment", arguments.clone()).await;
    assert_eq!((lost.code().as_str(), lost.json()["error"]["graph"]["code"].clone()), ("outcome_unknown", json!(2)));
    // It may be on its way for a minute: a quick repetition only looks.
    let soon = roles.ig_refused("main", "create_comment", arguments.clone()).await;
    assert_eq!((soon.code().as_str(), soon.json()["error"]["retryable"].clone()), ("outcome_unknown", json!(true)));
    assert!(soon.message().contains("may still come"), "{}", soon.text);
    roles.clock.set("2026-11-20T12:01:01Z".parse().unwrap());
    assert_eq!(roles.ig_refused("main", "create_comment", arguments.clone()).await.code(), "rate_limited");
    roles.clock.set("2026-11-20T12:02:02Z".parse().unwrap());
    assert!(roles.ig("main", "create_comment", arguments).await["id"].is_string());
    assert_eq!(methods(&stub), ["POST", "GET", "GET", "GET", "POST", "GET", "POST"], "each sending is looked before");
}

/// A page of comments, `seconds` after noon, with a next one.
fn comments(seconds: i64, texts: &[&str], next: bool) -> Option<(u16, Value)> {
    let at = format!("2026-11-20T12:{:02}:{:02}+0000", seconds / 60, seconds % 60);
    let row = |(index, text): (usize, &&str)| {
        let id = format!("1750000{seconds:05}{index:05}");
        json!({"id": id, "text": text, "timestamp": at, "from": {"id": sandbox::IG_ACCOUNT}})
    };
    let rows: Vec<Value> = texts.iter().enumerate().map(row).collect();
    let mut page = json!({ "data": rows });
    if next {
        let after = format!("after-{seconds}");
        page["paging"] = json!({"cursors": {"after": after}, "next": "https://graph.facebook.com/next"});
    }
    Some((200, page))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_found_on_a_later_page_too() {
    let comment = json!({"id": "17700000000000001", "media": {"id": "17900000000000001"}});
    let (roles, stub) = before(move |method, last, count| match (method, last, count) {
        ("GET", "17700000000000001", _) => Some((200, comment.clone())),
        ("POST", "replies", _) => error(500, 2, 0),
        // Oldest first: ours is the last.
        ("GET", "replies", 1) => comments(0, &["Others"], true),
        ("GET", "replies", 2) => comments(60, &["Others", "Ours"], false),
        _ => None,
    })
    .await;
    let arguments = json!({"comment_id": "17700000000000001", "message": "Ours"});
    assert_eq!(roles.ig("main", "reply_to_comment", arguments).await["id"], "17500000006000001");
    assert_eq!(methods(&stub), ["GET", "POST", "GET", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_for_a_comment_ends_with_the_first_older_one_or_is_given_up() {
    let (roles, stub) = before(|method, last, count| match (method, last) {
        ("POST", "comments") => error(500, 2, 0),
        ("GET", "comments") if count == 1 => comments(60, &["Others"], true),
        // Before the call came, by more than a minute.
        ("GET", "comments") => Some((200, json!({
            "data": [{"id": "1", "text": "Ours", "timestamp": "2026-11-20T11:58:00+0000", "from": {"id": sandbox::IG_ACCOUNT}}],
            "paging": {"cursors": {"after": "more"}, "next": "https://graph.facebook.com/next"},
        }))),
        _ => None,
    })
    .await;
    let arguments = json!({"media_id": "17900000000000001", "message": "Ours"});
    let lost = roles.ig_refused("main", "create_comment", arguments.clone()).await;
    assert_eq!((lost.code().as_str(), lost.json()["error"]["retryable"].clone()), ("outcome_unknown", json!(true)));
    assert_eq!(methods(&stub), ["POST", "GET", "GET"]);

    let (roles, stub) = before(|method, last, count| match (method, last) {
        ("POST", "comments") => error(500, 2, 0),
        ("GET", "comments") => comments(count as i64, &["Others"], true),
        _ => None,
    })
    .await;
    let lost = roles.ig_refused("main", "create_comment", arguments).await;
    assert_eq!((lost.code().as_str(), lost.json()["error"]["retryable"].clone()), ("outcome_unknown", json!(false)));
    assert_eq!(methods(&stub).len(), 11, "ten pages are enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_nothing_is_looked_after() {
    let (roles, _) = before(|method, last, _| match (method, last) {
        ("POST", "comments") => Some((200, json!({}))),
        ("GET", "comments") => comments(1, &["Ours"], false),
        _ => None,
    })
    .await;
    let value = roles.ig("main", "create_comment", json!({"media_id": "17900000000000001", "message": "Ours"})).await;
    assert_eq!((&value["id"], &value["repeated"]), (&json!("17500000000100000"), &json!(false)), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_may_have_gone_out_is_looked_for_after_the_window_too() {
    let thread = |messages: Value| Some((200, json!({"data": [{"id": "t", "messages": {"data": messages}}]})));
    let theirs =
        || json!({"id": "1", "from": {"id": "33"}, "created_time": "2026-11-19T12:30:00+0000", "message": "Hi"});
    let ours =
        || json!({"id": "2", "from": {"id": "17"}, "created_time": "2026-11-20T12:00:09+0000", "message": "Ours"});
    let (roles, stub) = before(move |method, last, count| match (method, last) {
        ("POST", "messages") => error(500, 2, 0),
        ("GET", "conversations") if count < 3 => thread(json!([theirs()])),
        ("GET", "conversations") => thread(json!([ours(), theirs()])),
        _ => None,
    })
    .await;
    let arguments = json!({"recipient_id": "33", "message": "Ours"});
    assert_eq!(roles.ig_refused("direct", "send_message", arguments.clone()).await.code(), "outcome_unknown");
    roles.clock.set("2026-11-20T12:45:00Z".parse().unwrap());
    assert_eq!(roles.ig("direct", "send_message", arguments).await["message_id"], "2");
    assert_eq!(methods(&stub), ["GET", "POST", "GET", "GET"]);
}

/// What a container's publishing meets: `publish` is the answer of `media_publish`, `container` of the looks at it.
fn publishing(
    publish: impl Fn(usize) -> Option<(u16, Value)>,
    container: impl Fn(usize) -> Option<(u16, Value)>,
) -> impl Fn(&str, &str, usize) -> Option<(u16, Value)> {
    move |method, last, count| match (method, last) {
        ("POST", "media") => Some((200, json!({"id": "18000000000000001"}))),
        ("POST", "media_publish") => publish(count),
        ("GET", "18000000000000001") => container(count),
        _ => None,
    }
}

fn status(code: &str) -> Option<(u16, Value)> {
    Some((200, json!({"id": "18000000000000001", "status_code": code})))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_read_after_a_lost_answer_stays_unknown() {
    let looks = |count| if count == 1 { status("FINISHED") } else { error(400, 100, 33) };
    let (roles, stub) = before(publishing(|_| error(500, 2, 0), looks)).await;
    for _ in 0..2 {
        let came = roles.ig_refused("main", "publish_image", json!({"image_url": TEA})).await;
        assert_eq!((came.status, came.code().as_str()), (502, "outcome_unknown"), "{}", came.text);
        assert_eq!(came.json()["error"]["retryable"], true);
    }
    assert_eq!(stub.seen().iter().filter(|line| line.contains("media_publish")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_gone_before_publishing_is_made_anew() {
    let looks = |count| if count == 1 { status("IN_PROGRESS") } else { error(400, 100, 33) };
    let (roles, stub) = before(publishing(|_| None, looks)).await;
    let arguments = json!({"image_url": TEA, "wait_s": 0});
    assert_eq!(roles.ig("main", "publish_image", arguments.clone()).await["state"], "processing");
    let gone = roles.ig_refused("main", "publish_image", arguments.clone()).await;
    assert!(gone.message().contains("make a new one"), "{}", gone.text);
    roles.ig_refused("main", "publish_image", arguments).await;
    let made = stub.seen().iter().filter(|line| line.starts_with("POST") && line.contains("/media ")).count();
    assert_eq!(made, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_publishing_frees_the_key_for_what_was_mended() {
    let publish =
        |count| if count == 1 { error(400, 36004, 2_207_010) } else { Some((200, json!({"id": "17900000000000001"}))) };
    let (roles, _) = before(publishing(publish, |_| status("FINISHED"))).await;
    let with = |caption: &str| json!({"image_url": TEA, "caption": caption, "idempotency_key": "k"});
    assert_eq!(roles.ig_refused("main", "publish_image", with("too long")).await.code(), "rejected_by_meta");
    assert_eq!(roles.ig("main", "publish_image", with("short")).await["media_id"], "17900000000000001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_not_ready_yet_frees_the_key_too_and_progress_only_grows() {
    let publish = |count| match count {
        1 => error(400, 9007, 2_207_027),
        2 => error(400, 36004, 2_207_010),
        3 => error(400, 9007, 2_207_027),
        _ => Some((200, json!({"id": "17900000000000001"}))),
    };
    let (roles, _) = before(publishing(publish, |_| status("FINISHED"))).await;
    let with = |caption: &str| json!({"image_url": TEA, "caption": caption, "idempotency_key": "k"});
    assert_eq!(roles.ig_refused("main", "publish_image", with("too long")).await.code(), "rejected_by_meta");
    let (steps, last) = told_steps(&roles, with("short")).await;
    assert_eq!(last["result"]["structuredContent"]["media_id"], "17900000000000001", "{last}");
    assert_eq!(steps, [1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_more_that_is_refused_leaves_what_was_done_before() {
    let publish =
        |count| if count == 1 { Some((200, json!({"id": "17900000000000001"}))) } else { error(400, 36004, 2_207_010) };
    let (roles, stub) = before(publishing(publish, |_| status("FINISHED"))).await;
    let arguments = json!({"image_url": TEA});
    assert_eq!(roles.ig("main", "publish_image", arguments.clone()).await["repeated"], false);
    let again = json!({"image_url": TEA, "force_new": true});
    assert_eq!(roles.ig_refused("main", "publish_image", again).await.code(), "rejected_by_meta");
    let asked = stub.seen().len();
    let value = roles.ig("main", "publish_image", arguments).await;
    assert_eq!((&value["repeated"], &value["media_id"]), (&json!(true), &json!("17900000000000001")), "{value}");
    assert_eq!(stub.seen().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_publishing_does_not_find_twice_is_made_anew() {
    let publish =
        |count| if count < 3 { error(400, 24, 2_207_008) } else { Some((200, json!({"id": "17900000000000001"}))) };
    let (roles, stub) = before(publishing(publish, |_| status("FINISHED"))).await;
    let arguments = json!({"image_url": TEA});
    for _ in 0..2 {
        let refused = roles.ig_refused("main", "publish_image", arguments.clone()).await;
        assert_eq!(
            (refused.code().as_str(), refused.json()["error"]["retryable"].clone()),
            ("meta_unavailable", json!(true))
        );
    }
    assert_eq!(roles.ig("main", "publish_image", arguments).await["state"], "published");
    let made = stub.seen().iter().filter(|line| line.starts_with("POST") && line.contains("/media ")).count();
    assert_eq!(made, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_expires_a_day_after_it_was_made() {
    let looks = |count| status(if count == 1 { "IN_PROGRESS" } else { "FINISHED" });
    let (roles, _) = before(publishing(|_| None, looks)).await;
    let item = json!({"image_url": TEA});
    let arguments = json!({"kind": "carousel", "items": [item, item], "wait_s": 0});
    let value = roles.ig("main", "create_media_container", arguments.clone()).await;
    assert_eq!((&value["state"], &value["expires_at"]), (&json!("processing"), &json!(null)), "{value}");
    roles.clock.set("2026-11-20T12:30:00Z".parse().unwrap());
    let value = roles.ig("main", "create_media_container", arguments).await;
    assert_eq!((&value["state"], &value["expires_at"]), (&json!("staged"), &json!("2026-11-21T12:30:00Z")), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instagram_login_whose_collaborators_are_refused_is_told_why_that_may_be() {
    let (roles, _) = before(|method, last, _| match (method, last) {
        ("POST", "media") => error(400, 100, 0),
        ("GET", sandbox::IG_ACCOUNT) => Some((200, json!({"id": sandbox::IG_ACCOUNT, "username": "fern"}))),
        _ => None,
    })
    .await;
    let arguments = json!({"image_url": TEA, "collaborators": ["mona"]});
    let refused = roles.ig_refused("direct", "publish_image", arguments.clone()).await;
    assert_eq!(refused.code(), "rejected_by_meta", "{}", refused.text);
    assert!(refused.message().contains("may take no collaborators"), "{}", refused.text);
    let refused = roles.ig_refused("main", "publish_image", arguments).await;
    assert!(!refused.message().contains("may take no collaborators"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_answer_of_publishing_that_names_no_post_is_looked_after() {
    for answer in [
        (500, json!({"error": {"message": "no", "code": 100, "error_subcode": 2_207_089}})),
        (200, json!({"success": true})),
    ] {
        let looks = |count| status(if count == 1 { "FINISHED" } else { "PUBLISHED" });
        let (roles, _) = before(publishing(move |_| Some(answer.clone()), looks)).await;
        let value = roles.ig("main", "publish_image", json!({"image_url": TEA})).await;
        assert_eq!((&value["state"], value["media_id"].is_null()), (&json!("published"), true), "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_look_is_at_the_end_of_the_patience() {
    let (roles, stub) = before(publishing(|_| None, |_| status("IN_PROGRESS"))).await;
    let began = std::time::Instant::now();
    assert_eq!(roles.ig("main", "publish_image", json!({"image_url": TEA, "wait_s": 5})).await["state"], "processing");
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    let looks = stub.seen().iter().filter(|line| line.contains("18000000000000001")).count();
    assert_eq!(looks, 4, "at once, after 1 and 3 s, and at 5 s");
}

// The rest of the account.

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_listed_and_answered() {
    let roles = roles().await;
    let invites = roles.ig("main", "list_collaboration_invites", json!({})).await;
    let media = invites["invites"][0]["media_id"].clone();
    let answer = json!({"media_id": media, "accept": true});
    assert_eq!(roles.ig("main", "respond_to_collaboration_invite", answer).await["success"], true);
    assert_eq!(roles.ig("main", "list_collaboration_invites", json!({})).await["invites"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_found_tagged_and_read_back() {
    let roles = roles().await;
    let found = roles.ig("main", "search_catalog_products", json!({"q": "matcha"})).await;
    let product = found["products"][0]["product_id"].clone();
    let media = roles.ig("main", "get_recent_media", json!({"limit": 1})).await["media"][0]["id"].clone();
    let tag = json!({"media_id": media, "tags": [{"product_id": product, "x": "0.25"}]});
    assert_eq!(roles.ig("main", "set_product_tags", tag).await["success"], true);
    let tags = roles.ig("main", "get_product_tags", json!({"media_id": media})).await;
    let row = &tags["tags"][0];
    assert_eq!((&row["product_id"], &row["x"], &row["y"]), (&product, &json!(0.25), &json!(0.5)), "{tags}");
    let wrong = json!({"media_id": media, "tags": [{"product_id": product, "x": "1.25"}]});
    assert_eq!(roles.ig_refused("main", "set_product_tags", wrong).await.code(), "invalid_params");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_fields_are_chosen_and_ended() {
    let roles = roles().await;
    for fields in [json!(["comments", "mentions"]), json!([])] {
        let set = roles.ig("main", "set_webhook_fields", json!({"fields": fields})).await;
        assert_eq!(set["success"], true, "{set}");
        let list = roles.ig("main", "list_webhook_fields", json!({})).await;
        let names: Vec<&Value> = list["fields"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
        assert_eq!(names, fields.as_array().unwrap().iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_is_read_by_its_id_and_answered_where_a_lost_answer_stays_unknown() {
    let roles = roles().await;
    for (name, id) in [("media_id", sandbox::MENTIONED_MEDIA), ("comment_id", sandbox::MENTIONED_COMMENT)] {
        let mention = roles.ig("main", "get_mention", json!({name: id})).await;
        assert_eq!(mention[name], id, "{mention}");
        assert!(mention["username"].is_string() && mention["text"].is_string(), "{mention}");
    }
    let answer = json!({"media_id": sandbox::MENTIONED_MEDIA, "message": "Thank you"});
    assert!(roles.ig("main", "reply_to_mention", answer).await["id"].is_string());
    let lost = json!({"media_id": sandbox::MENTIONED_MEDIA, "message": "Thank you [lost]"});
    for _ in 0..2 {
        let refused = roles.ig_refused("main", "reply_to_mention", lost.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (502, "outcome_unknown"), "{}", refused.text);
        assert_eq!(refused.json()["error"]["retryable"], false);
    }
    let sent = asked(&roles).iter().filter(|call| *call == "POST /ig/mentions").count();
    assert_eq!(sent, 2, "what may have been said is not said again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_like_is_set_and_taken_back() {
    let roles = roles().await;
    let media = roles.ig("main", "get_recent_media", json!({"limit": 1})).await["media"][0]["id"].clone();
    for like in [true, false] {
        assert_eq!(roles.ig("main", "set_like", json!({"media_id": media, "like": like})).await["success"], true);
    }
    assert_eq!(roles.ig_refused("main", "set_like", json!({})).await.code(), "invalid_params");
}

// Messages.

/// Who wrote 2 hours ago, and 30, 60 and 400.
const PEOPLE: [&str; 4] = ["33010000000000000", "33010000000000001", "33010000000000002", "33010000000000003"];

#[tokio::test(flavor = "multi_thread")]
async fn threads_say_who_wrote_last_and_until_when_an_answer_may_go_out() {
    let roles = roles().await;
    let list = roles.ig("main", "list_conversations", json!({})).await;
    let threads = list["conversations"].as_array().unwrap();
    let people: Vec<&str> = threads.iter().map(|thread| thread["participant_id"].as_str().unwrap()).collect();
    assert_eq!(people, PEOPLE, "newest first");
    let first = &threads[0];
    let facts = (&first["participant_username"], &first["last_from_us"], &first["closes_at"]);
    assert_eq!(facts, (&json!("mona.reads"), &json!(false), &json!("2026-11-21T10:00:00Z")));
    let thread = roles.ig("main", "get_conversation", json!({"conversation_id": first["id"]})).await;
    let ours: Vec<bool> =
        thread["messages"].as_array().unwrap().iter().map(|row| row["from_us"].as_bool().unwrap()).collect();
    assert_eq!(ours, [false, true]);
    for (person, open) in PEOPLE.into_iter().zip([true, false, false, false]) {
        let window = roles.ig("main", "get_message_window", json!({"recipient_id": person})).await;
        assert_eq!(window["open"], open, "{person}: {window}");
    }
    let sender = roles.ig("main", "get_message_sender", json!({"sender_id": PEOPLE[0]})).await;
    assert_eq!(sender["username"], "mona.reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_out_within_the_window_only_and_once() {
    let roles = roles().await;
    let send = |person: &str, text: &str| json!({"recipient_id": person, "message": text});
    let value = roles.ig("main", "send_message", send(PEOPLE[0], "It is back")).await;
    assert_eq!((&value["recipient_id"], &value["repeated"]), (&json!(PEOPLE[0]), &json!(false)), "{value}");
    assert_eq!(roles.ig("main", "send_message", send(PEOPLE[0], "It is back")).await["repeated"], true);
    // The answer is lost: it is found in the thread, and not sent again.
    let lost = roles.ig("main", "send_message", send(PEOPLE[0], "Come by [lost]")).await;
    assert!(lost["message_id"].is_string(), "{lost}");
    let thread = roles.ig("main", "list_conversations", json!({"limit": 1})).await;
    let id = &thread["conversations"][0]["id"];
    let messages = roles.ig("main", "get_conversation", json!({"conversation_id": id})).await;
    let texts: Vec<&str> =
        messages["messages"].as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts.iter().filter(|text| **text == "It is back").count(), 1, "{texts:?}");
    assert_eq!(texts.iter().filter(|text| **text == "Come by [lost]").count(), 1, "{texts:?}");

    for (person, words) in [(PEOPLE[1], "closed at 2026-11-20T06:00:00Z"), ("33000000000000009", "cold messages")] {
        let refused = roles.ig_refused("main", "send_message", send(person, "Hello")).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "rejected_by_meta"));
        assert!(refused.message().contains(words), "{}", refused.message());
    }
    let human = json!({"recipient_id": PEOPLE[1], "message": "A person writes", "human_agent": true});
    assert!(roles.ig("main", "send_message", human).await["message_id"].is_string());
    for arguments in [
        json!({"recipient_id": PEOPLE[0]}),
        json!({"recipient_id": PEOPLE[0], "message": "é".repeat(501)}),
        json!({"recipient_id": PEOPLE[0], "attachment_url": "https://example.com/a.pdf"}),
        json!({"recipient_id": PEOPLE[0], "attachment_url": "https://127.0.0.1/a.pdf", "attachment_type": "file"}),
    ] {
        assert_eq!(roles.ig_refused("main", "send_message", arguments).await.code(), "invalid_params");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_answered_in_private_once() {
    let roles = roles().await;
    let post = roles.ig("main", "get_recent_media", json!({"limit": 1})).await["media"][0]["id"].clone();
    let comments = asked_of_sandbox(&roles, &format!("{}/comments?fields=id&limit=1", post.as_str().unwrap()));
    let comment = comments["data"][0]["id"].clone();
    let reply = |text: &str| json!({"comment_id": comment, "message": text});
    let value = roles.ig("main", "send_private_reply", reply("Here it is")).await;
    assert!(value["message_id"].is_string(), "{value}");
    let refused = roles.ig_refused("main", "send_private_reply", reply("And again")).await;
    assert_eq!(refused.code(), "rejected_by_meta", "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_marked_and_reacted_to() {
    let roles = roles().await;
    let seen = roles.ig("main", "mark_conversation_seen", json!({"recipient_id": PEOPLE[2]})).await;
    assert_eq!(seen["success"], true);
    let id = "aWdfZAG1faXRlbToxOk1lc3NhZA01x0a";
    for reaction in ["love", "none"] {
        let arguments = json!({"recipient_id": PEOPLE[0], "message_id": id, "reaction": reaction});
        assert_eq!(roles.ig("main", "react_to_message", arguments).await["success"], true);
    }
    let sent = asked(&roles).iter().filter(|call| call.starts_with("POST") && call.ends_with("/messages")).count();
    assert_eq!(sent, 3);
    let nobody = json!({"recipient_id": "33010000000000009"});
    assert_eq!(roles.ig_refused("main", "mark_conversation_seen", nobody).await.code(), "rejected_by_meta");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_need_the_page_and_its_token_is_never_seen() {
    let roles = roles().await;
    roles.keep(&with("pageless", json!({"facebook_page_id": null}))).await;
    let refused = roles.ig_refused("pageless", "list_conversations", json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "missing_account"));
    roles.keep(&by_instagram_login("direct")).await;
    let list = roles.ig("direct", "list_conversations", json!({})).await;
    assert_eq!(list["conversations"].as_array().unwrap().len(), 4, "{list}");
    let own = roles.ig("main", "list_conversations", json!({})).await;
    assert!(!own.to_string().contains(sandbox::PAGE_TOKEN), "{own}");
    roles.ig("main", "send_message", json!({"recipient_id": PEOPLE[0], "message": "Kept in the journal"})).await;
    assert!(roles.path("mcp.db").exists());
    for token in [sandbox::PAGE_TOKEN, sandbox::TOKEN] {
        support::assert_no_token(roles.folder.path(), token);
    }
}

/// The role as a process of its own, on the connect and the sandbox of `roles`.
fn instagram(roles: &Roles) -> (Served, u16) {
    let (connect, graph) = (format!("http://{}", roles.internal), format!("http://{}", roles.sandbox));
    let served = Served::start(
        roles.folder.path(),
        &["serve", "mcp", "--platform", "instagram"],
        &[
            ("AIVIARY__MCP__CONNECT_URL", &connect),
            ("AIVIARY__GRAPH__BASE_URL", &graph),
            ("AIVIARY__MCP__STATE", "killed.db"),
            ("AIVIARY__MCP__INSTAGRAM__WRITES", "on"),
            ("AIVIARY__MCP__INSTAGRAM__LISTEN", "127.0.0.1:0"),
        ],
    );
    let port = served.port("mcp listens on 127.0.0.1:");
    (served, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_it_posts_once_all_the_same() {
    // The killed process has the system's clock.
    let roles = roles_at(Clock::system()).await;
    // The step at which it is killed, and the request that the sandbox has seen by then.
    for (step, seen) in [
        ("[hang:container]", "POST /ig/media"),
        ("[hang:status]", "GET /180"),
        ("[hang:publish]", "POST /ig/media_publish"),
        ("[hang:permalink]", "?fields=id,permalink,timestamp"),
    ] {
        let caption = format!("Killed at {step}");
        let body = json!({"method": "publish_image", "params": {"image_url": TEA, "caption": caption}}).to_string();
        let before = asked(&roles).len();
        let (first, port) = instagram(&roles);
        let url = format!("http://127.0.0.1:{port}{}", path_of("main"));
        let post = roles.http.post(&url).header("content-type", "application/json").body(body.clone());
        let call = tokio::spawn(post.send());
        let reached = async {
            while !asked(&roles)[before..].iter().any(|call| call.contains(seen)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{step} was not reached"));
        first.end("KILL");
        assert!(call.await.unwrap().is_err(), "{step}: its caller has no answer");

        let (second, port) = instagram(&roles);
        let url = format!("http://127.0.0.1:{port}{}", path_of("main"));
        let again = roles.http.post(&url).header("content-type", "application/json").timeout(Duration::from_secs(60));
        let came = answer(again.body(body)).await;
        assert_eq!(came.status, 200, "{step}: {}", came.text);
        assert_eq!(came.json()["state"], "published", "{step}: {}", came.text);
        assert!(came.json()["media_id"].is_string(), "{step}: {}", came.text);
        assert_eq!(posts_with(&roles, &caption), 1, "{step}");
        second.end("KILL");
    }
}
