//! Posts, stories, comments, others: the traps of each, and what they cost of Graph.

use super::*;

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn texts(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].as_str().unwrap_or_else(|| panic!("{name} of {row}")).to_owned()).collect()
}

/// All rows of a list, and how many pages it had.
async fn pages(roles: &Roles, tool: &str, key: &str, params: Value) -> (Vec<Value>, usize) {
    let (mut all, mut params, mut pages) = (Vec::new(), params, 0);
    loop {
        let page = roles.ig("main", tool, params.clone()).await;
        all.extend(list(&page, key).iter().cloned());
        pages += 1;
        assert!(pages < 100, "{tool} ends");
        match &page["next_cursor"] {
            Value::Null => return (all, pages),
            cursor => params["cursor"] = cursor.clone(),
        }
    }
}

fn assert_each_once(rows: &[Value]) {
    let mut seen = HashSet::new();
    assert!(rows.iter().all(|row| seen.insert(row["id"].to_string())), "each once");
}

async fn keep_small(roles: &Roles) {
    roles.keep(&with("small", json!({"instagram_business_account_id": sandbox::SMALL_IG_ACCOUNT}))).await;
}

async fn keep_bare(roles: &Roles) {
    roles.keep(&with("bare", json!({"access_token": sandbox::NO_INSIGHTS_TOKEN}))).await;
}

/// A post with more than 20 comments.
async fn discussed(roles: &Roles) -> Value {
    let page = roles.ig("main", "get_recent_media", json!({"limit": 60})).await;
    let much = |row: &&Value| row["comments_count"].as_u64().is_some_and(|count| (20..50).contains(&count));
    rows(&page).iter().find(much).expect("a discussed post").clone()
}

// Comments.

#[tokio::test]
async fn comments_are_flat_rows_with_replies_behind_their_parent() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    let post = discussed(&roles).await;
    let (value, calls) = roles.counted("main", "list_comments", json!({"media_id": post["id"], "limit": 50})).await;
    assert_eq!(calls, 1);
    let comments = list(&value, "comments");
    assert_each_once(comments);
    let (mut parent, mut replies) = (Value::Null, 0);
    for row in comments {
        assert_eq!(row["media_id"], post["id"]);
        match &row["parent_id"] {
            Value::Null => {
                assert_eq!(row["answered"], row["replies_count"] == 1, "the sample's owner alone replies: {row}");
                parent = row["id"].clone();
            }
            of => {
                assert_eq!((of, &row["replies_count"], &row["answered"]), (&parent, &Value::Null, &Value::Null));
                replies += 1;
            }
        }
    }
    let top = comments.iter().filter(|row| row["parent_id"].is_null()).count();
    assert!(replies > 2 && (top as u64) < post["comments_count"].as_u64().unwrap(), "restricted people are left out");

    // By Instagram Login the account is known by another id, and its replies are its own all the same.
    let (login, calls) = roles.counted("login", "list_comments", json!({"media_id": post["id"], "limit": 50})).await;
    assert_eq!(calls, 1);
    assert_eq!(
        list(&login, "comments").iter().map(|row| &row["answered"]).collect::<Vec<_>>(),
        comments.iter().map(|row| &row["answered"]).collect::<Vec<_>>()
    );
    let bare = json!({"media_id": post["id"], "limit": 5, "replies": false});
    let (paged, count) = pages(&roles, "list_comments", "comments", bare).await;
    assert!(count > 3 && paged.len() == top && paged.iter().all(|row| row["answered"].is_null()), "{count}");
    assert!(!roles.graph_seen.calls().pop().unwrap().contains("replies"));
}

#[tokio::test]
async fn comments_need_their_permission() {
    let roles = roles().await;
    keep_bare(&roles).await;
    let post = discussed(&roles).await;
    for (tool, params) in [
        ("list_comments", json!({"media_id": post["id"]})),
        ("get_comment", json!({"comment_id": answered_comment(&roles).await})),
        ("list_recent_comments", json!({})),
        ("list_unanswered_comments", json!({})),
        ("list_unanswered_comments", json!({"media_ids": [post["id"]]})),
        ("list_tagged_media", json!({})),
    ] {
        let came = roles.ig_refused("bare", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
        assert!(came.message().contains("instagram_manage_comments"), "{}", came.text);
    }
    // Meta may also show nothing: known scopes tell which it is.
    let mut lacking = faulty(sandbox::Fault::named("empty_data").unwrap());
    for (client, scopes, code) in [
        ("none", json!(["instagram_basic"]), 424),
        ("all", json!(["instagram_basic", "pages_show_list", "instagram_manage_comments"]), 200),
    ] {
        (lacking["client_id"], lacking["scopes"]) = (client.into(), scopes);
        roles.keep(&lacking).await;
        let body = json!({"method": "list_recent_comments", "params": {}}).to_string();
        let came = roles.post_mcp(roles.instagram, &path_of(client), body).await;
        assert_eq!(came.status, code, "{}", came.text);
        assert!(code == 424 || came.json()["note"].as_str().unwrap().contains("permission is missing"));
    }
}

#[tokio::test]
async fn recent_comments_are_one_call_over_all_posts() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "list_recent_comments", json!({"posts": 12, "per_post": 5})).await;
    assert_eq!((calls, &value["truncated"]), (1, &json!(true)));
    let comments = list(&value, "comments");
    let posts: HashSet<String> = texts(comments, "media_id").into_iter().collect();
    assert!(posts.len() > 5, "{posts:?}");
    let times = texts(comments, "timestamp");
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first over all");
    assert!(comments.iter().all(|row| row["media_permalink"].is_string() && row["parent_id"].is_null()));
    let since = &times[times.len() / 2];
    let (newer, _) =
        roles.counted("main", "list_recent_comments", json!({"posts": 12, "per_post": 50, "since": since})).await;
    assert!(texts(list(&newer, "comments"), "timestamp").iter().all(|at| at >= since), "{newer}");
    assert_eq!(newer["truncated"], false, "what is older was not asked for");
}

#[tokio::test]
async fn one_comment_has_its_replies_and_a_reply_its_parent() {
    let roles = roles().await;
    let id = answered_comment(&roles).await;
    let (value, calls) = roles.counted("main", "get_comment", json!({ "comment_id": id })).await;
    assert_eq!((calls, &value["answered"], &value["replies_count"]), (1, &json!(true), &json!(1)));
    let reply = &list(&value, "replies")[0];
    assert_eq!((&reply["parent_id"], &reply["media_id"]), (&json!(id), &value["media_id"]));
    let node = roles.ig("main", "get_comment", json!({"comment_id": reply["id"]})).await;
    assert_eq!((&node["parent_id"], &node["text"], &node["replies"]), (&json!(id), &reply["text"], &json!([])));
}

#[tokio::test]
async fn those_who_wait_for_an_answer_are_strangers_without_one() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    let (value, calls) =
        roles.counted("main", "list_unanswered_comments", json!({"posts": 20, "since_days": 30})).await;
    assert_eq!(calls, 1);
    let waiting = list(&value, "comments");
    assert!(waiting.len() > 20, "{}", waiting.len());
    let now: Timestamp = NOW.parse().unwrap();
    for row in waiting {
        let written: Timestamp = row["timestamp"].as_str().unwrap().parse().unwrap();
        let until: Timestamp = row["private_reply_until"].as_str().unwrap().parse().unwrap();
        assert_eq!((&row["answered"], &row["hidden"], &row["parent_id"]), (&json!(false), &json!(false), &Value::Null));
        assert_ne!(row["user_id"], sandbox::IG_ACCOUNT);
        assert_eq!(row["age_hours"], now.duration_since(written).as_hours());
        assert_eq!(until.duration_since(written).as_hours(), 168);
        assert!((0..=720).contains(&now.duration_since(written).as_hours()));
    }
    let (week, _) = roles.counted("main", "list_unanswered_comments", json!({})).await;
    assert!(list(&week, "comments").iter().all(|row| row["age_hours"].as_i64() <= Some(168)), "{week}");

    let wanted: BTreeSet<String> = texts(waiting, "media_id").into_iter().take(30).collect();
    let wanted: Vec<String> = wanted.into_iter().take(3).collect();
    let params = json!({"media_ids": [wanted[0], wanted[1], wanted[2], "17903000000001000"], "since_days": 30});
    for (client, most) in [("main", 1), ("login", 4)] {
        let (named, calls) = roles.counted(client, "list_unanswered_comments", params.clone()).await;
        assert_eq!(calls, most, "{client}");
        let of: BTreeSet<String> = texts(list(&named, "comments"), "media_id").into_iter().collect();
        assert_eq!(of.into_iter().collect::<Vec<_>>(), wanted, "{client}");
        let note = named["note"].as_str().unwrap();
        assert_eq!(note, "17903000000001000: gone, or not visible to this token");
    }
    let came = roles.ig_refused("main", "list_unanswered_comments", json!({"media_ids": ["17903000000001000"]})).await;
    assert_eq!(came.code(), "rejected_by_meta", "nothing at all is a refusal: {}", came.text);
}

// Stories.

#[tokio::test]
async fn stories_are_one_call_and_those_that_few_saw_have_no_numbers() {
    let roles = roles().await;
    keep_small(&roles).await;
    keep_bare(&roles).await;
    let (value, calls) = roles.counted("main", "list_stories", json!({})).await;
    let stories = list(&value, "stories");
    assert!(calls == 1 && !stories.is_empty(), "{calls}: {:?}", roles.graph_seen.calls());
    for story in stories {
        assert_eq!((&story["format"], &story["saved"]), (&json!("STORY"), &Value::Null));
        for name in ["views", "reach", "replies", "total_interactions", "follows", "link_clicks", "navigation"] {
            assert!(story[name].is_u64(), "{name} of {story}");
        }
        let [at, end] =
            ["timestamp", "expires_at"].map(|name| story[name].as_str().unwrap().parse::<Timestamp>().unwrap());
        assert_eq!(end.duration_since(at).as_hours(), 24);
        assert!(story.get("media_url").is_none());
    }
    let linked = roles.ig("main", "list_stories", json!({"urls": true, "insights": false})).await;
    assert!(list(&linked, "stories").iter().all(|row| row["media_url"].is_string() && row["views"].is_null()));

    let (small, calls) = roles.counted("small", "list_stories", json!({})).await;
    assert_eq!(calls, 3, "with numbers, bare, and each by itself in one batch");
    for story in list(&small, "stories") {
        assert_eq!((&story["views"], &story["insights_note"]), (&Value::Null, &json!("fewer than 5 people saw it")));
        assert!(story["id"].is_string() && story["expires_at"].is_string());
    }
    let bare = roles.ig("bare", "list_stories", json!({})).await;
    for story in list(&bare, "stories") {
        assert_eq!(story["insights_note"], "the token lacks instagram_manage_insights");
    }
    keep_faulty(&roles, "empty_data").await;
    let none = roles.ig("empty_data", "list_stories", json!({})).await;
    assert_eq!(none, json!({"stories": [], "next_cursor": null, "truncated": false, "note": "no story is live now"}));
}

#[tokio::test]
async fn a_story_report_follows_the_viewers_in_order_of_publishing() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    keep_small(&roles).await;
    let (value, calls) = roles.counted("main", "get_story_report", json!({})).await;
    let stories = list(&value, "stories");
    assert_eq!(calls, 2, "the stories, and the steps of each in one batch");
    assert!(texts(stories, "timestamp").is_sorted());
    for story in stories {
        let [views, exits] = ["views", "exits"].map(|name| story[name].as_f64().unwrap());
        assert!((story["exit_rate"].as_f64().unwrap() - 100.0 * exits / views).abs() < 0.006, "{story}");
        assert!(["taps_forward", "taps_back", "swipes", "replies", "reach"].iter().all(|name| story[*name].is_u64()));
    }
    let [first, last] = [&stories[0], stories.last().unwrap()].map(|story| story["views"].as_f64().unwrap());
    assert!((value["completion_rate"].as_f64().unwrap() - 100.0 * last / first).abs() < 0.006, "{value}");
    let (login, calls) = roles.counted("login", "get_story_report", json!({})).await;
    assert_eq!((calls, &login), (1 + stories.len() as u64, &value), "its host knows no batches");

    let (small, calls) = roles.counted("small", "get_story_report", json!({})).await;
    assert_eq!(calls, 3, "no steps of stories without numbers");
    assert_eq!(small["completion_rate"], Value::Null);
    for story in list(&small, "stories") {
        assert_eq!((&story["exits"], &story["insights_note"]), (&Value::Null, &json!("fewer than 5 people saw it")));
    }
}

// Others.

#[tokio::test]
async fn tags_end_though_meta_never_says_so() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "list_tagged_media", json!({"limit": 10})).await;
    assert_eq!((calls, rows(&value).len()), (1, 10));
    assert!(rows(&value).iter().all(|row| row["username"].is_string() && row.get("media_url").is_none()));
    let (all, count) = pages(&roles, "list_tagged_media", "media", json!({"limit": 30})).await;
    assert_eq!(count, all.len().div_ceil(30) + 1, "the page without a new row is the last");
    assert_each_once(&all);
    let params = json!({"limit": 30, "since": "2026-10-01", "until": "2026-10-31"});
    let (some, _) = pages(&roles, "list_tagged_media", "media", params).await;
    let inside =
        |row: &&Value| ("2026-10-01T07:00:00Z".."2026-11-01T07:00:00Z").contains(&row["timestamp"].as_str().unwrap());
    assert!(!some.is_empty());
    assert_eq!(some.iter().collect::<Vec<_>>(), all.iter().filter(inside).collect::<Vec<_>>());
    let came =
        roles.ig_refused("main", "list_tagged_media", json!({"since": "2026-10-02", "until": "2026-10-01"})).await;
    assert!(came.message().contains("until"), "{}", came.text);
}

#[tokio::test]
async fn a_business_is_one_call_and_an_unknown_one_says_no_more_than_meta() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    let (value, calls) = roles.counted("main", "get_business_profile", json!({"username": "@Sakura.Cycles"})).await;
    assert_eq!((calls, rows(&value).len()), (1, 12));
    assert_eq!(value["username"], "sakura.cycles");
    assert!(value["followers_count"].as_u64() > Some(1000) && value["public_engagement_rate"].is_number(), "{value}");
    for row in rows(&value) {
        assert_eq!(row["view_count"].is_u64(), row["format"] == "REEL", "{row}");
    }
    let params = json!({"username": "https://www.instagram.com/sakura.cycles/", "media_limit": 50});
    let (all, count) = pages(&roles, "get_business_profile", "media", params).await;
    assert!(count > 3 && all.len() > 100, "{count}");
    assert_each_once(&all);
    let (none, calls) =
        roles.counted("main", "get_business_profile", json!({"username": "sakura.cycles", "media_limit": 0})).await;
    assert_eq!((calls, rows(&none).len(), &none["next_cursor"]), (1, 0, &Value::Null));

    let came = roles.ig_refused("main", "get_business_profile", json!({"username": "nobody_here"})).await;
    assert_eq!((came.status, came.code().as_str()), (422, "rejected_by_meta"), "{}", came.text);
    assert_eq!(came.json()["error"]["graph"]["subcode"], 2_207_013);
    let before = roles.graph_seen.call_count();
    for name in ["a){id}", "two words", "https://evil.example/x", "\u{fc}ber"] {
        let came = roles.ig_refused("main", "get_business_profile", json!({ "username": name })).await;
        assert_eq!(came.code(), "invalid_params", "{name}: {}", came.text);
    }
    for (tool, params) in [
        ("get_business_profile", json!({"username": "sakura.cycles"})),
        ("list_hashtag_media", json!({"hashtag": "tea"})),
        ("compare_businesses", json!({"usernames": "a,b"})),
    ] {
        let came = roles.ig_refused("login", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (409, "not_offered_by_login"), "{tool}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before, "Graph was not asked");
}

#[tokio::test]
async fn businesses_are_compared_with_one_call_each_and_one_for_the_own_account() {
    let roles = roles().await;
    let params = json!({"usernames": ["sakura.cycles", "@nobody_here", "fernandkettle.lab"]});
    let (value, calls) = roles.counted("main", "compare_businesses", params).await;
    assert_eq!(calls, 4);
    let names = ["fernandkettle", "sakura.cycles", "nobody_here", "fernandkettle.lab"];
    let businesses = list(&value, "businesses");
    assert_eq!(texts(businesses, "username"), names, "the own account first, the others as they were named");
    for row in businesses {
        let unknown = row["username"] == "nobody_here";
        assert_eq!((row["problem"].is_string(), row["followers"].is_null()), (unknown, unknown), "{row}");
    }
    let own = &businesses[0];
    assert!(own["median_likes"].is_number() && own["median_views"].is_number() && own["posts_30d"].is_u64(), "{own}");
    assert!(own["top_post_permalink"].as_str().unwrap().starts_with("https://www.instagram.com/"));
    assert_eq!(value["note"], "1 of 4 accounts have no numbers; see problem");

    let both = json!({"usernames": "fernandkettle,sakura.cycles"});
    let (again, calls) = roles.counted("main", "compare_businesses", both).await;
    assert_eq!((calls, &list(&again, "businesses")[0]), (2, own), "the own name among them is asked once");
    let (unknown, calls) = roles.counted("main", "compare_businesses", json!({"usernames": "nobody_a,nobody_b"})).await;
    assert_eq!((calls, list(&unknown, "businesses").len()), (4, 3), "then the own name is asked for");
    assert!(list(&unknown, "businesses")[0]["problem"].is_null());
    let came = roles.ig_refused("main", "compare_businesses", json!({"usernames": "a,@A"})).await;
    assert!(came.message().contains("2 to 10"), "{}", came.text);
    keep_bare(&roles).await;
    let came = roles.ig_refused("bare", "compare_businesses", json!({"usernames": "sakura.cycles,other"})).await;
    assert_eq!(came.code(), "missing_permission", "{}", came.text);
}

#[tokio::test]
async fn a_hashtags_id_is_asked_once_and_its_endless_list_ends() {
    let roles = roles().await;
    roles.keep(&sample("second")).await;
    let (value, calls) = roles.counted("main", "list_hashtag_media", json!({"hashtag": "#Tea", "limit": 40})).await;
    assert_eq!((calls, rows(&value).len()), (3, 40), "the quota, the id and the posts");
    let params = json!({"hashtag": "tea", "limit": 40, "cursor": value["next_cursor"]});
    let other = roles.ig_refused("main", "list_hashtag_media", params).await;
    assert!(other.message().contains("other parameters"), "the same spelling, as of every parameter: {}", other.text);
    let (again, calls) = roles.counted("second", "list_hashtag_media", json!({"hashtag": "tea"})).await;
    assert_eq!((calls, &again["hashtag_id"]), (1, &value["hashtag_id"]), "ids are the same for everybody");
    let (_, calls) = roles.counted("main", "list_hashtag_media", json!({"hashtag": "matcha"})).await;
    assert_eq!(calls, 2, "whatever was searched in 7 days is not searched again");
    let quota = roles.ig("main", "get_hashtag_quota", json!({})).await;
    assert_eq!(
        (texts(list(&quota, "hashtags"), "name"), &quota["left"]),
        (vec!["tea".to_owned(), "matcha".to_owned()], &json!(28))
    );
    let (all, count) = pages(&roles, "list_hashtag_media", "media", json!({"hashtag": "tea", "limit": 40})).await;
    assert_eq!((all.len(), count), (60, 3), "Meta gives its last page again and again");
    assert_each_once(&all);
    let recent = roles.ig("main", "list_hashtag_media", json!({"hashtag": "tea", "sort": "recent"})).await;
    assert!(texts(rows(&recent), "timestamp").iter().all(|at| at.as_str() >= "2026-11-19T12:00:00Z"), "{recent}");

    let came = roles.ig_refused("main", "list_hashtag_media", json!({"hashtag": "nosuchtag"})).await;
    assert_eq!(came.json()["error"]["graph"]["subcode"], 2_207_024, "{}", came.text);
    keep_faulty(&roles, "hashtag_limit").await;
    let before = roles.graph_seen.call_count();
    let came = roles.ig_refused("hashtag_limit", "list_hashtag_media", json!({"hashtag": "leipzig"})).await;
    assert_eq!((came.status, came.code().as_str()), (429, "rate_limited"), "{}", came.text);
    assert_eq!(roles.graph_seen.call_count(), before + 1, "30 are used up: no search goes out");
    let came = roles.ig_refused("main", "list_hashtag_media", json!({"hashtag": "two words"})).await;
    assert_eq!(came.code(), "invalid_params", "{}", came.text);
}

#[tokio::test]
async fn the_publishing_limit_is_metas() {
    let roles = roles().await;
    keep_bare(&roles).await;
    let (value, calls) = roles.counted("main", "get_publishing_limit", json!({})).await;
    assert_eq!((calls, &value["total"], &value["window_hours"]), (1, &json!(100), &json!(24)));
    assert_eq!(value["left"].as_i64().unwrap(), 100 - value["used"].as_i64().unwrap());
    let came = roles.ig_refused("bare", "get_publishing_limit", json!({})).await;
    assert_eq!(came.code(), "missing_permission", "{}", came.text);
    keep_faulty(&roles, "empty_data").await;
    let empty = roles.ig("empty_data", "get_publishing_limit", json!({})).await;
    assert!(empty["left"].is_null() && empty["note"].is_string(), "{empty}");
}

// Questions about the posts of a time.

#[tokio::test]
async fn the_best_posts_are_those_of_the_list_in_order() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "get_top_posts", json!({"days": 60, "limit": 25})).await;
    assert_eq!((calls, value["truncated"].as_bool()), (1, Some(false)), "under 50 posts are one call");
    let window = json!({"since": "2026-09-21", "until": "2026-11-19", "limit": 100});
    let posts = roles.ig("main", "get_recent_media", window).await;
    assert_eq!((&value["since"], &value["until"]), (&json!("2026-09-21T07:00:00Z"), &json!("2026-11-20T08:00:00Z")));
    assert_eq!(value["sample"], rows(&posts).len());
    let mut wanted: Vec<&Value> = rows(&posts).iter().collect();
    wanted.sort_by_key(|row| std::cmp::Reverse(row["total_interactions"].as_i64()));
    for (at, (row, wanted)) in rows(&value).iter().zip(wanted).enumerate() {
        assert_eq!((&row["id"], &row["rank"]), (&wanted["id"], &json!(at + 1)));
        assert_eq!(members(row)[..19], members(wanted)[..]);
        assert!(row["vs_median"].is_number(), "{row}");
    }
    let worst = roles.ig("main", "get_top_posts", json!({"days": 60, "order": "worst", "by": "engagement_rate"})).await;
    let rates: Vec<f64> = rows(&worst).iter().map(|row| row["engagement_rate"].as_f64().unwrap()).collect();
    assert!(rates.is_sorted() && rates.len() == 5, "{rates:?}");
    let reels = roles.ig("main", "get_top_posts", json!({"days": 60, "format": "REEL", "min_reach": 5000})).await;
    assert!(rows(&reels).iter().all(|row| row["format"] == "REEL" && row["reach"].as_i64() >= Some(5000)), "{reels}");

    let (year, calls) = roles.counted("main", "get_top_posts", json!({"days": 365})).await;
    assert_eq!((calls, &year["sample"], &year["truncated"]), (4, &json!(200), &json!(true)));
    assert!(year["note"].as_str().unwrap().contains("newest 200"), "{year}");
}

#[tokio::test]
async fn the_mix_of_formats_is_the_posts_and_one_call_for_views() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "get_content_mix", json!({})).await;
    assert_eq!(calls, 2);
    let formats = list(&value, "formats");
    assert_eq!(texts(formats, "format"), ["POST", "CAROUSEL", "REEL", "STORY", "AD"]);
    assert!(value["note"].as_str().unwrap().contains("one hour later"), "summer time ended in these 30 days: {value}");
    let posts: i64 = formats[..3].iter().map(|row| row["posts"].as_i64().unwrap()).sum();
    assert_eq!(value["sample"], posts);
    let shares: f64 = formats.iter().map(|row| row["account_views_share_pct"].as_f64().unwrap()).sum();
    assert!((shares - 100.0).abs() < 0.5, "{shares}");
    for row in &formats[3..] {
        assert!(members(row)[1..9].iter().all(|name| row[*name].is_null()), "{row}");
    }
    keep_faulty(&roles, "views_refused").await;
    let part = roles.ig("views_refused", "get_content_mix", json!({"days": 7})).await;
    assert!(list(&part, "formats").iter().all(|row| row["account_views_share_pct"].is_null()));
    assert!(list(&part, "formats").iter().any(|row| row["median_reach"].is_number()), "{part}");
    assert!(part["note"].as_str().unwrap().contains("views by format could not be read"), "{part}");
    let (_, calls) = roles.counted("views_refused", "get_content_mix", json!({"days": 7})).await;
    assert_eq!(calls, 1, "a refused metric is not asked for again");
}

#[tokio::test]
async fn the_best_time_stands_on_posts_and_on_when_followers_are_online() {
    let roles = roles().await;
    keep_small(&roles).await;
    let (value, calls) = roles.counted("main", "get_best_time_to_post", json!({"timezone": "Europe/Berlin"})).await;
    assert_eq!(calls, 3, "two pages of posts, and the hours");
    assert!(
        roles
            .graph_seen
            .calls()
            .iter()
            .any(|call| call.contains("metric=online_followers") && call.contains("until=1794988800")),
        "the newest two days are not asked for: {:?}",
        roles.graph_seen.calls()
    );
    let slots = list(&value, "slots");
    assert_eq!(slots.len(), 5);
    let scores: Vec<f64> = slots.iter().map(|slot| slot["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    for slot in slots {
        let [index, online, score] = ["slot_index", "online_index", "score"].map(|name| slot[name].as_f64().unwrap());
        assert!((score - 0.7 * index - 0.3 * online).abs() < 0.002, "{slot}");
        assert!(slot["from_hour"].as_u64().is_some_and(|hour| hour % 3 == 0 && hour < 24));
    }
    let month = roles.ig("main", "get_best_time_to_post", json!({"timezone": "UTC", "days": 30, "limit": 56})).await;
    let newest = roles.ig("main", "get_recent_media", json!({"since": "2026-10-21", "limit": 100})).await;
    let settled = rows(&newest).iter().filter(|row| row["timestamp"].as_str() <= Some("2026-11-17T12:00:00Z")).count();
    assert_eq!(month["sample"], settled, "posts younger than 72 hours are left out");
    assert_eq!(list(&month, "slots").len(), 56);
    assert!(list(&month, "slots").iter().any(|slot| slot["online_index"] != 1), "{month}");
    let small = roles.ig("small", "get_best_time_to_post", json!({"timezone": "Asia/Kolkata"})).await;
    assert!(list(&small, "slots").iter().all(|slot| slot["online_index"] == 1), "{small}");
    assert!(small["note"].as_str().unwrap().contains("under 100 followers"), "{small}");
    keep_faulty(&roles, "empty_data").await;
    let none = roles.ig("empty_data", "get_best_time_to_post", json!({"timezone": "UTC"})).await;
    assert_eq!((&none["slots"], &none["sample"]), (&json!([]), &json!(0)));
    let came = roles.ig_refused("main", "get_best_time_to_post", json!({})).await;
    assert!(came.message().starts_with("timezone: "), "{}", came.text);
}

#[tokio::test]
async fn hashtags_are_ranked_by_the_reach_of_their_posts() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "get_hashtag_performance", json!({})).await;
    assert_eq!(calls, 2, "two pages of posts");
    let hashtags = list(&value, "hashtags");
    let places: Vec<f64> = hashtags.iter().map(|row| row["vs_median"].as_f64().unwrap()).collect();
    assert!(places.len() > 3 && places.is_sorted_by(|a, b| a >= b), "{places:?}");
    assert!(hashtags.iter().all(|row| row["posts"].as_u64() >= Some(3) && row["last_used"].is_string()), "{value}");
    let one = roles.ig("main", "get_hashtag_performance", json!({"min_posts": 50})).await;
    assert_eq!((&one["hashtags"], one["note"].is_string()), (&json!([]), true));
}

#[tokio::test]
async fn posts_whose_numbers_fail_the_list_are_read_one_by_one_and_missing_permissions_are_named() {
    let roles = roles().await;
    keep_faulty(&roles, "media_insights_refused").await;
    keep_bare(&roles).await;
    let params = json!({"days": 60});
    let (value, calls) = roles.counted("media_insights_refused", "get_top_posts", params.clone()).await;
    assert_eq!(calls, 3, "the list, the bare list, each post in one batch");
    assert_eq!(rows(&value), rows(&roles.ig("main", "get_top_posts", params).await), "nothing is lost");
    for (tool, params) in [
        ("get_top_posts", json!({})),
        ("get_content_mix", json!({})),
        ("get_hashtag_performance", json!({})),
        ("get_best_time_to_post", json!({"timezone": "UTC"})),
    ] {
        let came = roles.ig_refused("bare", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
        assert!(came.message().contains("instagram_manage_insights"), "{}", came.text);
    }
    let (value, _) = roles.counted("bare", "get_top_posts", json!({"by": "comments_count"})).await;
    assert!(rows(&value).iter().all(|row| row["reach"].is_null() && row["comments_count"].is_u64()), "{value}");
    assert!(value["note"].as_str().unwrap().contains("the token lacks instagram_manage_insights"), "{value}");
}

#[tokio::test]
async fn a_metric_that_meta_refuses_of_a_post_costs_only_itself() {
    let roles = roles().await;
    roles.keep(&with("narrow", json!({"access_token": sandbox::NARROW_INSIGHTS_TOKEN}))).await;
    let main = roles.ig("main", "get_recent_media", json!({"limit": 20})).await;
    let (list, calls) = roles.counted("narrow", "get_recent_media", json!({"limit": 20})).await;
    assert_eq!(
        calls,
        5,
        "the list, bare, all, then without views, then without shares: {:?}",
        roles.graph_seen.calls()
    );
    let lacks = |format: &Value, name: &str| match name {
        "views" => format == "IMAGE" || format == "CAROUSEL",
        "shares" => format == "IMAGE",
        _ => false,
    };
    let notes = |format: &str| match format {
        "IMAGE" => json!("Meta refused views, shares for this kind of post"),
        "CAROUSEL" => json!("Meta refused views for this kind of post"),
        _ => Value::Null,
    };
    for (row, whole) in rows(&list).iter().zip(rows(&main)) {
        for (name, value) in whole.as_object().unwrap() {
            match name.as_str() {
                "insights_note" => assert_eq!(row[name], notes(row["format"].as_str().unwrap()), "{row}"),
                _ if lacks(&row["format"], name) => assert_eq!(row[name], Value::Null, "{name} of {row}"),
                _ => assert_eq!(&row[name], value, "{name} of {row}"),
            }
        }
    }
    let (again, calls) = roles.counted("narrow", "get_recent_media", json!({"limit": 20})).await;
    assert_eq!((calls, &again), (3, &list), "what is refused is remembered");
    let of = |format: &str| rows(&list).iter().find(|row| row["format"] == format).unwrap()["id"].clone();
    let (image, album, reel) = (of("IMAGE"), of("CAROUSEL"), of("REEL"));
    roles.keep(&with("fresh", json!({"access_token": sandbox::NARROW_INSIGHTS_TOKEN}))).await;
    for (client, wanted) in [("narrow", [3, 3, 2]), ("fresh", [4, 3, 2])] {
        for (id, calls_wanted) in [&image, &album, &reel].into_iter().zip(wanted) {
            let (post, calls) = roles.counted(client, "get_media", json!({ "media_id": id })).await;
            assert_eq!(calls, calls_wanted, "{client}: {post}");
            assert!(post["reach"].is_u64() && post["saved"].is_u64() && post["total_interactions"].is_u64(), "{post}");
            assert_eq!(post["insights_note"], notes(post["format"].as_str().unwrap()), "{post}");
            let (same, calls) = roles.counted(client, "get_media", json!({ "media_id": id })).await;
            assert_eq!((calls, &same), (1, &post), "kind and refusals are remembered");
        }
    }
    roles.keep(&with("third", json!({"access_token": sandbox::NARROW_INSIGHTS_TOKEN}))).await;
    for client in ["narrow", "third"] {
        let value = roles.ig(client, "get_media_insights", json!({"media_ids": [image, album, reel]})).await;
        for row in rows(&value) {
            assert!(row["reach"].is_u64() && row["likes"].is_u64() && row["reposts"].is_u64(), "{row}");
            assert_eq!(row["shares"].is_null(), row["format"] == "IMAGE", "{row}");
            assert_eq!(row["insights_note"], notes(row["format"].as_str().unwrap()), "{row}");
        }
        let one = roles.ig(client, "get_media_insights", json!({ "media_id": image })).await;
        assert_eq!(one, rows(&value)[0]);
    }
    let top = roles.ig("narrow", "get_top_posts", json!({"days": 60, "by": "reach", "limit": 25})).await;
    let whole = roles.ig("main", "get_top_posts", json!({"days": 60, "by": "reach", "limit": 25})).await;
    assert_eq!(ids(&top), ids(&whole), "nothing but views and shares is lost");
    assert!(top["note"].as_str().unwrap().contains("posts lack numbers: Meta refused views"), "{top}");
}

#[tokio::test]
async fn old_names_of_a_posts_numbers_are_served_from_their_successor_and_labelled() {
    let roles = roles().await;
    let page = roles.ig("main", "get_recent_media", json!({"limit": 1})).await;
    let old = "plays,video_views,impressions,engagement,saves,reach";
    let params = json!({"media_ids": ids(&page), "metrics": old});
    let value = roles.ig("main", "get_media_insights", params).await;
    let (row, now) = (&rows(&value)[0], &rows(&page)[0]);
    for (name, source) in [
        ("plays", "views"),
        ("video_views", "views"),
        ("impressions", "views"),
        ("engagement", "total_interactions"),
        ("saves", "saved"),
    ] {
        assert_eq!((&row[name], &row[format!("{name}_source")]), (&now[source], &json!(source)), "{row}");
        assert!(row[name].is_u64(), "{row}");
    }
    assert!(row["reach"].is_u64() && row["likes"].is_null(), "{row}");
    let call = roles.graph_seen.calls().pop().unwrap();
    assert!(call.ends_with("metric=views,reach,saved,total_interactions"), "{call}");
    let plain = roles.ig("main", "get_media_insights", json!({"media_id": row["media_id"]})).await;
    assert!(members(&plain).iter().all(|name| !name.ends_with("_source")), "{plain}");
}

/// A stub of Graph with posts whose insights are empty lists.
async fn silent_posts() -> support::tools::Stub {
    support::tools::Stub::start(|line, _| {
        let post = |id: usize| {
            json!({"id": format!("1790000000000000{id}"), "media_type": "IMAGE", "media_product_type": "FEED",
                "timestamp": "2026-11-18T12:00:00+0000", "insights": {"data": []}})
        };
        let answer = match line {
            line if line.contains("/insights?") => json!({"data": []}),
            line if line.contains("/media?") || line.contains("/stories?") => json!({"data": [post(1), post(2)]}),
            _ => post(1),
        };
        (200, answer.to_string())
    })
    .await
}

#[tokio::test]
async fn posts_without_any_number_say_what_that_may_mean() {
    let stub = silent_posts().await;
    let clock = Clock::fixed(NOW.parse().unwrap());
    let roles = Fixture { clock, graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    let scopes = |more: &[&str]| json!([&["instagram_basic", "pages_show_list"], more].concat());
    roles.keep(&with("main", json!({"scopes": scopes(&["instagram_manage_insights"])}))).await;
    roles.keep(&with("bare", json!({"scopes": scopes(&[])}))).await;
    let causes = ["there were none", "under 100 followers", "permission is missing"];
    for (tool, key) in [("get_recent_media", "media"), ("list_stories", "stories"), ("get_story_report", "stories")] {
        let value = roles.ig("main", tool, json!({})).await;
        assert_eq!(list(&value, key).len(), 2, "{tool}");
        for row in list(&value, key) {
            let note = row["insights_note"].as_str().unwrap_or_else(|| panic!("{tool}: {row}"));
            assert!(row["views"].is_null() && causes.iter().all(|cause| note.contains(cause)), "{tool}: {row}");
        }
        let value = roles.ig("bare", tool, json!({})).await;
        let lacks = |row: &Value| row["insights_note"] == "the token lacks instagram_manage_insights";
        assert!(list(&value, key).iter().all(lacks), "{tool}: {value}");
    }
    let id = "17900000000000001";
    for (tool, params) in [
        ("get_media", json!({ "media_id": id })),
        ("get_media_insights", json!({ "media_id": id })),
        ("get_media_insights", json!({ "media_ids": [id] })),
    ] {
        let value = roles.ig("main", tool, params.clone()).await;
        let row = value["media"].get(0).unwrap_or(&value);
        assert!(causes.iter().all(|cause| row["insights_note"].as_str().unwrap().contains(cause)), "{tool}: {value}");
        if tool == "get_media_insights" {
            let came = roles.ig_refused("bare", tool, params).await;
            assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
        }
    }
    let bare = roles.ig("bare", "get_media", json!({ "media_id": id })).await;
    assert_eq!(bare["insights_note"], "the token lacks instagram_manage_insights");
    for tool in ["get_top_posts", "get_content_mix", "get_hashtag_performance"] {
        let came = roles.ig_refused("bare", tool, json!({})).await;
        assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
        let value = roles.ig("main", tool, json!({})).await;
        assert!(value["note"].as_str().unwrap().contains("2 posts have no numbers: Meta gave no numbers"), "{value}");
    }
}

#[tokio::test]
async fn a_post_in_full_is_asked_for_the_metrics_of_its_kind() {
    let roles = roles().await;
    let story = roles.graph_ids(&format!("{}/stories", sandbox::IG_ACCOUNT)).await[0].clone();
    for calls_wanted in [3, 1] {
        let (value, calls) = roles.counted("main", "get_media", json!({ "media_id": story })).await;
        assert_eq!(calls, calls_wanted, "a kind that is not known is looked at first: {value}");
        assert!(value["views"].is_u64() && value["reach"].is_u64() && value["total_interactions"].is_u64(), "{value}");
        assert_eq!((&value["saved"], &value["insights_note"]), (&Value::Null, &Value::Null));
    }
    let post = roles.ig("main", "get_recent_media", json!({"limit": 30})).await;
    let image = rows(&post).iter().find(|row| row["format"] == "IMAGE").unwrap()["id"].clone();
    let asked = async |params: Value| {
        let before = roles.graph_seen.calls().len() + roles.graph_seen.batched().len();
        roles.ig("main", "get_media_insights", params).await;
        let all: Vec<String> = roles.graph_seen.calls().into_iter().chain(roles.graph_seen.batched()).collect();
        assert!(all.len() > before);
        all.iter().filter(|call| call.contains("facebook_views")).count()
    };
    for id in [&image, &json!(story)] {
        assert_eq!(asked(json!({ "media_id": id })).await, 0, "it fails where it was not shared");
    }
    assert_eq!(asked(json!({"media_id": image, "metrics": "facebook_views"})).await, 1);
}

#[tokio::test]
async fn near_metas_limit_questions_of_several_calls_are_not_begun() {
    let roles = roles().await;
    keep_faulty(&roles, "ig_rate_limit").await;
    roles.ig_refused("ig_rate_limit", "get_profile", json!({})).await;
    let before = roles.graph_seen.call_count();
    for (tool, params) in [
        ("get_content_mix", json!({})),
        ("get_best_time_to_post", json!({"timezone": "UTC"})),
        ("get_story_report", json!({})),
        ("compare_businesses", json!({"usernames": "a,b"})),
        ("list_unanswered_comments", json!({"media_ids": ["1", "2"]})),
        ("list_hashtag_media", json!({"hashtag": "tea"})),
        ("search_catalog_products", json!({"q": "tea"})),
        ("list_conversations", json!({})),
        ("get_conversation", json!({"conversation_id": "1"})),
        ("get_message_sender", json!({"sender_id": "1"})),
        ("get_message_window", json!({"recipient_id": "1"})),
    ] {
        let came = roles.ig_refused("ig_rate_limit", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (429, "rate_limited"), "{tool}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before);
}

#[tokio::test]
async fn a_page_that_does_not_come_in_time_cuts_the_answer_short() {
    let post = |at: usize| {
        let insights = json!({"data": [{"name": "total_interactions", "values": [{"value": at}]}]});
        json!({"id": format!("17{at}"), "media_type": "IMAGE", "media_product_type": "FEED",
            "timestamp": format!("2026-11-{:02}T12:00:00+0000", 1 + at % 18), "insights": insights})
    };
    let stub = support::tools::Stub::start(move |line, _| {
        if line.contains("after=") {
            return (support::tools::Stub::NEVER, String::new());
        }
        let posts: Vec<Value> = (0..50).map(post).collect();
        let paging = json!({"cursors": {"after": "x"}, "next": "https://graph.test/?after=x"});
        (200, json!({"data": posts, "paging": paging}).to_string())
    })
    .await;
    let clock = Clock::fixed(NOW.parse().unwrap());
    let graph_timeout = std::time::Duration::from_secs(1);
    let fixture = Fixture { clock, graph: Some(stub.url.clone()), graph_timeout, ..Fixture::new() };
    let roles = fixture.start().await;
    roles.keep(&sample("main")).await;
    let value = roles.ig("main", "get_top_posts", json!({"days": 60})).await;
    assert_eq!((&value["truncated"], &value["sample"]), (&json!(true), &json!(50)));
    assert!(value["note"].as_str().unwrap().contains("newest 50"), "{value}");
}

#[tokio::test]
async fn a_kind_that_meta_does_not_tell_is_asked_again_and_gets_the_numbers_of_all_kinds() {
    let stub = support::tools::Stub::start(|line, _| {
        let numbers = json!({"data": [{"name": "reach", "values": [{"value": 7}]}]});
        let node = json!({"id": "17900000000000001", "media_type": "IMAGE"});
        (200, if line.contains("/insights?") { numbers } else { node }.to_string())
    })
    .await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    for _ in 0..2 {
        let params = json!({"media_id": "17900000000000001", "metrics": "reach,follows,avg_watch_time_ms"});
        let value = roles.ig("main", "get_media_insights", params).await;
        assert_eq!(
            (&value["reach"], &value["follows"], &value["insights_note"]),
            (&json!(7), &Value::Null, &Value::Null)
        );
    }
    let seen = stub.seen();
    assert_eq!(seen.iter().filter(|line| line.contains("media_product_type")).count(), 2, "{seen:?}");
    assert!(seen.iter().all(|line| !line.contains("follows") && !line.contains("watch")), "{seen:?}");
}

#[tokio::test]
async fn an_answer_with_something_else_in_a_list_within_it_is_metas_fault() {
    const ODD: &str = r#"{"id": "1", "data": [{"id": "1", "comments": {"data": ["x"]}, "replies": {"data": ["x"]}}],
        "comments": {"data": ["x"]}, "replies": {"data": ["x"]}, "mentioned_media": "x"}"#;
    let stub = support::tools::Stub::start(|_, _| (200, ODD.to_owned())).await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    for (tool, params) in [
        ("list_comments", json!({"media_id": "1"})),
        ("list_recent_comments", json!({})),
        ("get_comment", json!({"comment_id": "1"})),
        ("list_unanswered_comments", json!({})),
        ("get_mention", json!({"media_id": "1"})),
        ("get_mention", json!({"comment_id": "1"})),
    ] {
        let came = roles.ig_refused("main", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (502, "meta_unavailable"), "{tool}: {}", came.text);
    }
    let stub = support::tools::Stub::start(|_, _| (200, r#"{"access_token": "EAApage"}"#.to_owned())).await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    for (tool, params) in [
        ("get_profile", json!({})),
        ("get_media", json!({"media_id": "1"})),
        ("get_container_status", json!({"container_id": "1"})),
        ("get_message_sender", json!({"sender_id": "1"})),
    ] {
        let came = roles.ig_refused("main", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (502, "meta_unavailable"), "{tool}: {}", came.text);
    }
}

#[tokio::test]
async fn a_hashtag_that_meta_does_not_find_is_unknown_or_not_permitted() {
    let stub = support::tools::Stub::start(|_, _| (200, json!({"data": []}).to_string())).await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    let came = roles.ig_refused("main", "list_hashtag_media", json!({"hashtag": "nobodys"})).await;
    assert_eq!((came.status, came.code().as_str()), (422, "rejected_by_meta"), "{}", came.text);
    assert!(came.message().contains("nobodys") && came.message().contains("not permitted"), "{}", came.text);
    assert_eq!(came.json()["error"]["retryable"], false, "{}", came.text);
}

#[tokio::test]
async fn threads_that_are_too_much_for_meta_are_asked_smaller() {
    let stub = support::tools::Stub::start(|line, _| {
        let message = "Please reduce the amount of data you're asking for, then retry your request";
        match line {
            line if line.contains("access_token") => (200, json!({"id": "1", "access_token": "EAApage"}).to_string()),
            line if line.contains("limit=20&") || line.contains("limit=20 ") => {
                (500, json!({"error": {"code": 1, "message": message}}).to_string())
            }
            _ => (200, json!({"data": [{"id": "t_1"}]}).to_string()),
        }
    })
    .await;
    let roles = Fixture { graph: Some(stub.url.clone()), ..Fixture::new() }.start().await;
    roles.keep(&sample("main")).await;
    let value = roles.ig("main", "list_conversations", json!({"limit": 20})).await;
    assert_eq!(list(&value, "conversations").len(), 1, "{value}");
    let asked: Vec<String> = stub.seen().into_iter().filter(|line| line.contains("/conversations?")).collect();
    assert!(asked.len() == 2 && asked[1].contains("limit=10"), "{asked:?}");
}

#[tokio::test]
async fn without_its_page_a_facebook_login_cannot_message() {
    let roles = roles().await;
    let mut body = sample("pageless");
    body.as_object_mut().unwrap().remove("facebook_page_id");
    roles.keep(&body).await;
    let connected = roles.ig("main", "get_connection_status", json!({})).await;
    assert_eq!((&connected["can_message"], &connected["can_publish"]), (&json!(true), &json!(true)));
    let pageless = roles.ig("pageless", "get_connection_status", json!({})).await;
    assert_eq!((&pageless["can_message"], &pageless["can_publish"]), (&json!(false), &json!(true)));
    let came = roles.ig_refused("pageless", "list_conversations", json!({})).await;
    assert_eq!(came.code(), "missing_account", "{}", came.text);
}
