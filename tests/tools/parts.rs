//! Answers of several calls of which one fails: what came is answered, with what is missing and why.

use super::support::tools::Stub;
use super::*;

/// A stub of Graph in which each request that has `part` is refused with this code.
async fn without(part: &'static str, code: i64) -> Stub {
    Stub::start(move |line, _| {
        if line.contains(part) {
            return (400, json!({"error": {"code": code, "message": "no", "type": "OAuthException"}}).to_string());
        }
        (200, answer(line).to_string())
    })
    .await
}

fn answer(line: &str) -> Value {
    let total = |name: &str| json!({"name": name, "total_value": {"value": 10}});
    let post = |at: usize| {
        let insights = json!({"data": [{"name": "views", "values": [{"value": at}]}]});
        json!({"id": format!("179{at:03}"), "media_type": "IMAGE", "media_product_type": "FEED",
            "timestamp": format!("2026-11-19T12:00:{at:02}+0000"), "insights": insights})
    };
    let posts = |from: usize| (from..from + 50).map(|at| post(at % 60)).collect::<Vec<Value>>();
    let paging = json!({"cursors": {"after": "x"}, "next": "https://graph.test/?after=x"});
    match line {
        line if line.contains("demographics") => {
            let by = if line.contains("country") { "country" } else { "gender" };
            let results = json!([{"dimension_values": ["DE"], "value": 300}]);
            let total = json!({"breakdowns": [{"dimension_keys": [by], "results": results}]});
            json!({"data": [{"name": "follower_demographics", "total_value": total}]})
        }
        line if line.contains("time_series") => {
            let values = json!([{"value": 5, "end_time": "2026-11-20T08:00:00+0000"}]);
            json!({"data": [{"name": "follower_count", "values": values}]})
        }
        line if line.contains("/insights?") => json!({"data": [total("views"), total("reach")]}),
        line if line.contains("/stories?") => json!({ "data": posts(0)[..2] }),
        line if line.contains("/media?") && line.contains("after=x") => json!({ "data": posts(50) }),
        line if line.contains("/media?") => json!({ "data": posts(0), "paging": paging }),
        _ => json!({"id": "1", "followers_count": 512, "insights": {"data": [total("views"), total("reach")]},
            "media": {"data": posts(0), "paging": paging}}),
    }
}

async fn on(stub: &Stub) -> Roles {
    let clock = Clock::fixed(NOW.parse().unwrap());
    let roles = Fixture { clock, graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    roles
}

const LIMIT: i64 = 80_002;
const USED_UP: &str = "Meta's call limit is used up";

#[tokio::test]
async fn a_call_that_fails_costs_its_own_part_and_the_note_says_so() {
    for (tool, params, part, lost, kept, says) in [
        ("get_follower_growth", json!({"days": 7}), "time_series", "gained", "followers_now", "follower_count"),
        (
            "get_follower_growth",
            json!({"days": 7}),
            "fields=followers_count",
            "followers_now",
            "gained",
            "followers_now",
        ),
        ("get_account_report", json!({}), "time_series", "new_followers", "views", "follower_count"),
        ("get_account_report", json!({}), "fields=followers_count", "posts_published", "new_followers", "posts"),
        (
            "get_account_insights",
            json!({"metrics": "views,follower_count"}),
            "time_series",
            "follower_count",
            "views",
            "follower_count",
        ),
        (
            "get_account_insights",
            json!({"metrics": "views,follower_count"}),
            "total_value",
            "views",
            "follower_count",
            "views",
        ),
    ] {
        let roles = on(&without(part, LIMIT).await).await;
        let value = roles.ig("main", tool, params).await;
        let note = value["note"].as_str().unwrap_or_else(|| panic!("{tool}: {value}"));
        assert!(note.contains(says) && note.contains(USED_UP), "{tool} {part}: {note}");
        assert_eq!((value[lost].is_null(), value[kept].is_u64()), (true, true), "{tool} {part}: {value}");
    }
}

#[tokio::test]
async fn of_many_calls_those_that_failed_are_nulls() {
    let roles = on(&without("breakdown=country", LIMIT).await).await;
    let value = roles.ig("main", "get_audience_demographics", json!({"by": "country,gender"})).await;
    let segments = value["segments"].as_array().unwrap();
    assert!(segments.len() == 1 && segments[0]["by"] == "gender", "{value}");
    let note = value["note"].as_str().unwrap();
    assert!(note.contains("there is nothing by country") && note.contains(USED_UP), "{note}");

    // 2026-11-18 begins at 1794988800 of unix time.
    let roles = on(&without("since=1794988800", LIMIT).await).await;
    let days = roles.ig("main", "get_account_insights_by_day", json!({"metrics": "views", "days": 3})).await;
    let views: Vec<&Value> = days["days"].as_array().unwrap().iter().map(|row| &row["views"]).collect();
    assert_eq!(views, [&json!(10), &Value::Null, &json!(10)], "{days}");
    assert!(days["note"].as_str().unwrap().contains(&format!("views could not be read: {USED_UP}")), "{days}");
    let one = json!({"days": 1, "metrics": "views"});
    let compared = roles.ig("main", "compare_periods", one).await;
    let row = &compared["metrics"][0];
    assert_eq!((&row["current"], &row["previous"], &row["change"]), (&json!(10), &Value::Null, &Value::Null));
    assert!(compared["note"].as_str().unwrap().contains(USED_UP), "{compared}");
}

#[tokio::test]
async fn posts_and_stories_that_were_read_are_answered_whatever_becomes_of_the_rest() {
    let roles = on(&without("after=x", LIMIT).await).await;
    for tool in ["get_top_posts", "get_content_mix", "get_hashtag_performance"] {
        let value = roles.ig("main", tool, json!({})).await;
        assert_eq!((&value["sample"], &value["truncated"]), (&json!(50), &json!(true)), "{tool}");
        assert!(value["note"].as_str().unwrap().contains(USED_UP), "{tool}: {value}");
    }
    let report = roles.ig("main", "get_account_report", json!({})).await;
    assert_eq!((&report["posts_published"], &report["truncated"]), (&json!(50), &json!(true)));
    assert!(report["note"].as_str().unwrap().contains("the rest of the posts could not be read"), "{report}");

    let roles = on(&without("POST /", LIMIT).await).await;
    let value = roles.ig("main", "get_story_report", json!({})).await;
    let stories = value["stories"].as_array().unwrap();
    assert!(stories.len() == 2 && stories.iter().all(|story| story["views"].is_u64()), "{value}");
    assert!(stories.iter().all(|story| story["insights_note"] == USED_UP), "{value}");
}

#[tokio::test]
async fn where_nothing_came_or_the_token_is_dead_there_is_no_answer() {
    for (part, code, status, word) in [
        ("GET /", LIMIT, 429, "rate_limited"),
        ("time_series", 190, 424, "token_invalid"),
        ("time_series", 10, 424, "missing_permission"),
    ] {
        let roles = on(&without(part, code).await).await;
        for (tool, params) in [
            ("get_follower_growth", json!({})),
            ("get_account_report", json!({})),
            ("get_account_insights", json!({"metrics": "views,follower_count"})),
            ("compare_periods", json!({"metrics": "views,follower_count"})),
        ] {
            let came = roles.ig_refused("main", tool, params).await;
            assert_eq!((came.status, came.code().as_str()), (status, word), "{tool} {part}: {}", came.text);
        }
    }
}

#[tokio::test]
async fn a_permission_that_meta_names_is_the_one_that_is_told() {
    let needs: BTreeSet<&str> = all()
        .flat_map(|(_, tool)| tool.needs.iter().chain(tool.needs_instagram))
        .flat_map(|any| any.iter().copied())
        .collect();
    let names: Vec<&str> = needs.into_iter().collect();
    let (asked, named) = (std::sync::atomic::AtomicUsize::new(0), names.clone());
    let stub = Stub::start(move |_, _| {
        let name = named[asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed)];
        let message = format!("(#200) Requires {name} permission");
        (403, json!({"error": {"code": 200, "message": message, "type": "OAuthException"}}).to_string())
    })
    .await;
    let roles = on(&stub).await;
    for name in names {
        let came = roles.ig_refused("main", "get_profile", json!({})).await;
        assert_eq!(came.code(), "missing_permission", "{}", came.text);
        assert!(came.message().contains(name), "{name}: {}", came.text);
    }
}
