//! The stand-in for the Graph API: against the published samples and specifications, and by its own promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aiviary::clock::Clock;
use aiviary::roles::sandbox::{
    AD_ACCOUNT, APP_TOKEN, Body, EXPIRED_TOKEN, FAULTS, Host, IG_ACCOUNT, INSTAGRAM_TOKEN, MENTIONED_COMMENT,
    MENTIONED_MEDIA, NO_BUSINESS_TOKEN, NO_INSIGHTS_TOKEN, OTHER_AD_ACCOUNT, OTHER_IG_ACCOUNT, OTHER_TOKEN,
    REVOKED_TOKEN, Request, Response, SMALL_IG_ACCOUNT, StandIn, TOKEN, served_fields, served_rows,
};
use hyper::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

fn stand_in() -> StandIn {
    StandIn::new(7, Clock::fixed("2026-11-23T18:00:00Z".parse().expect("a time")))
}

/// `GET` on the Facebook host; `target` is a path with a raw query.
fn ask(stand_in: &StandIn, token: &str, target: &str) -> Response {
    stand_in.answer(&request(token, target))
}

fn request(token: &str, target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut headers = HeaderMap::new();
    if !token.is_empty() {
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    }
    Request {
        method: Method::GET,
        host: Host::Facebook,
        base: "http://127.0.0.1:3007".to_owned(),
        path: format!("/v26.0/{path}"),
        query: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        headers,
        body: Vec::new(),
    }
}

#[track_caller]
fn body(response: &Response) -> &Value {
    match &response.body {
        Body::Json(body) => body,
        Body::Raw(text) => panic!("raw: {text}"),
    }
}

/// The body of an answer that has to succeed.
#[track_caller]
fn good(stand_in: &StandIn, token: &str, target: &str) -> Value {
    let response = ask(stand_in, token, target);
    assert_eq!(response.status, 200, "{target}: {:?}", response.body);
    body(&response).clone()
}

/// Status, code and subcode of a refusal, 0 where there is none.
fn refusal(response: &Response) -> (u16, i64, i64) {
    let error = &body(response)["error"];
    (response.status, error["code"].as_i64().unwrap_or(0), error["error_subcode"].as_i64().unwrap_or(0))
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["data"].as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number as text"))
}

/// The published facts beside the repository; absent in a plain checkout.
fn shared() -> Option<PathBuf> {
    let default = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned();
    let folder = PathBuf::from(std::env::var("AIVIARY_SHARED").unwrap_or_else(|_| default())).join("graph-api");
    if !folder.is_dir() {
        println!("skipped: ../shared is not there");
        return None;
    }
    Some(folder)
}

fn read(path: PathBuf) -> Value {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// A sample by its number, the fault to ask for, and the members that either side may leave out.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("05-debug-token-valid", "", ""),
    ("06-debug-token-invalid", "", ""),
    ("10-ig-refresh", "", ""),
    ("11-me-permissions", "", ""),
    ("12-me-accounts", "", ""),
    ("13-me-accounts-silently-empty", "", ""),
    ("14-me-adaccounts", "", ""),
    ("15-error-token-expired", "", ""),
    ("16-error-token-garbage", "", ""),
    ("17-error-no-token", "", ""),
    ("18-error-object-not-found", "", ""),
    ("19-error-unknown-field", "", ""),
    ("20-error-fields-syntax", "", ""),
    ("21-error-permission", "", ""),
    ("22-error-appsecret-proof", "", ""),
    ("23-error-app-rate-limit", "rate_limit", ""),
    ("24-error-instagram-buc-limit", "ig_rate_limit", ""),
    ("25-error-ads-buc-limit", "ads_rate_limit", ""),
    ("26-error-transient", "transient", ""),
    ("27-error-reduce-data", "reduce_data", ""),
    ("28-error-in-http-200", "pending_action", ""),
    ("29-error-ids-removed", "", ""),
    ("30-error-old-ads-version", "", ""),
    ("31-old-graph-version-upgraded", "", ""),
    ("32-ig-user-fb", "", ""),
    ("33-ig-me-instagram-login", "", ""),
    ("34-ig-media-page1", "", "caption like_count thumbnail_url"),
    ("35-ig-media-last-page", "", "caption like_count"),
    ("36-ig-media-node", "", ""),
    ("37-ig-insights-reach-series", "", ""),
    ("38-ig-insights-total-value", "", ""),
    ("39-ig-insights-breakdown", "", ""),
    ("40-ig-insights-follows", "", ""),
    ("41-ig-insights-demographics", "", ""),
    ("42-ig-insights-online-followers", "", ""),
    ("43-ig-insights-no-data", "", ""),
    ("44-ig-insights-impressions-removed", "", ""),
    ("45-ig-insights-needs-total-value", "", ""),
    ("46-ig-insights-wrong-metric-type", "", ""),
    ("47-ig-insights-window-too-wide", "", ""),
    ("48-ig-media-insights-reel", "", ""),
    ("49-ig-media-insights-profile-activity", "", ""),
    ("50-ig-story-insights-too-few", "", ""),
    ("51-ig-media-insights-unsupported", "", ""),
    ("59-ig-publishing-limit", "", ""),
    ("60-ig-comments", "", "next"),
    ("63-ig-business-discovery", "", "before like_count"),
    ("64-ig-business-discovery-unknown", "", "is_transient"),
    ("65-ig-hashtag-search", "", ""),
    ("66-ad-account", "", ""),
    ("67-campaigns", "", ""),
    ("72-adset-node", "", ""),
    ("73-ads-insights", "", ""),
    ("74-ads-insights-daily-breakdown", "", ""),
    ("75-ads-insights-empty", "", ""),
    ("76-ads-insights-bad-combination", "", ""),
    ("77-ads-insights-37-months", "", ""),
    ("86-batch", "", ""),
];

/// Samples whose message holds a time or the words that the sample's note calls made up.
const OWN_WORDS: &[&str] = &["15-error-token-expired"];

/// What stands in a sample, and what it is here.
fn names(stand_in: &StandIn) -> Vec<(&'static str, String)> {
    let posts =
        good(stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?limit=100&fields=media_type,comments_count,like_count"));
    let post = |kind: &str| {
        let fits = |post: &&Value| post["media_type"] == kind && post["comments_count"].as_i64() > Some(12);
        rows(&posts).iter().find(fits).expect(kind)["id"].as_str().expect("an id").to_owned()
    };
    let stories = good(stand_in, TOKEN, &format!("{SMALL_IG_ACCOUNT}/stories"));
    let campaigns = good(stand_in, TOKEN, &format!("{AD_ACCOUNT}/campaigns?fields=name"));
    let campaign = |name: &str| {
        rows(&campaigns).iter().find(|row| row["name"] == name).expect(name)["id"].as_str().expect("an id").to_owned()
    };
    let retargeting = campaign("Evergreen | Retargeting");
    let sets = good(stand_in, TOKEN, &format!("{retargeting}/adsets"));
    let mut names = vec![
        ("EAAtest-no-business-management", NO_BUSINESS_TOKEN.to_owned()),
        ("EAAtest-no-insights", NO_INSIGHTS_TOKEN.to_owned()),
        ("EAAtest-user-token", TOKEN.to_owned()),
        ("EAAtest-expired", EXPIRED_TOKEN.to_owned()),
        ("EAAtest-revoked", REVOKED_TOKEN.to_owned()),
        ("IGAAtest-long", INSTAGRAM_TOKEN.to_owned()),
        ("IGAAtest-token", INSTAGRAM_TOKEN.to_owned()),
        ("111|app-secret", APP_TOKEN.to_owned()),
        ("17841400000000001", IG_ACCOUNT.to_owned()),
        ("act_1000000000000001", AD_ACCOUNT.to_owned()),
        ("17900000000000001", post("VIDEO")),
        ("17900000000000002", post("CAROUSEL_ALBUM")),
        ("17900000000000003", post("IMAGE")),
        ("17900000000000031", rows(&stories)[0]["id"].as_str().expect("a story").to_owned()),
        ("23850000000000101", rows(&sets)[0]["id"].as_str().expect("an ad set").to_owned()),
        ("23850000000000001", campaign("Evergreen | Shop | DE")),
        ("23850000000000002", campaign("Never started")),
        ("rivalgarden", "sakura.cycles".to_owned()),
        ("garden", "tea".to_owned()),
    ];
    names.push(("QVFIUpage1a", last_cursor(stand_in)));
    names
}

/// The cursor that leads to the last page of two posts.
fn last_cursor(stand_in: &StandIn) -> String {
    let mut cursor = String::new();
    loop {
        let after = if cursor.is_empty() { String::new() } else { format!("&after={cursor}") };
        let page = good(stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?limit=2{after}"));
        if page["paging"]["next"].is_null() {
            return cursor;
        }
        cursor = page["paging"]["cursors"]["after"].as_str().expect("a cursor").to_owned();
    }
}

fn sampled(sample: &Value, file: &str, fault: &str, names: &[(&str, String)]) -> Request {
    let renamed = |text: &str| {
        let mut text = text.to_owned();
        for (theirs, ours) in names {
            text = text.replace(theirs, ours);
        }
        match file {
            // An account below 100 followers has no data.
            "43-ig-insights-no-data" => text.replace(IG_ACCOUNT, SMALL_IG_ACCOUNT),
            _ => text,
        }
    };
    let asked = &sample["request"];
    let pairs = |object: &Value| -> Vec<(String, String)> {
        let members = object.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.clone(), renamed(value.as_str().expect("text")))).collect()
    };
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(&asked["headers"]) {
        let name: hyper::header::HeaderName = name.parse().expect("a header");
        headers.insert(name, value.parse().expect("a header"));
    }
    if !fault.is_empty() {
        headers.insert("x-sandbox-fault", fault.parse().expect("a header"));
    }
    let form: Vec<String> = pairs(&asked["body"])
        .into_iter()
        .map(|(name, value)| {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            format!("{}={}", encode(&name), encode(&value))
        })
        .collect();
    Request {
        method: asked["method"].as_str().expect("a method").parse().expect("a method"),
        host: if asked["host"] == "graph.instagram.com" { Host::Instagram } else { Host::Facebook },
        base: "http://127.0.0.1:3007".to_owned(),
        path: renamed(asked["path"].as_str().expect("a path")),
        query: pairs(&asked["query"]),
        headers,
        body: form.join("&").into_bytes(),
    }
}

/// Every path to a value within `value`, list items merged, with the JSON type that stands there.
fn shape(value: &Value, at: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            items.iter().for_each(|item| shape(item, &format!("{at}[]"), found));
            "list"
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| shape(member, &format!("{at}.{name}"), found));
            "object"
        }
    };
    found.entry(at.to_owned()).or_default().insert(kind);
}

#[test]
fn answers_have_the_shape_of_the_published_samples() {
    let Some(folder) = shared() else { return };
    let stand_in = stand_in();
    let names = names(&stand_in);
    let mut wrong = Vec::new();
    for (file, fault, optional) in SAMPLES {
        let sample = read(folder.join("samples").join(format!("{file}.json")));
        let (theirs, ours) = (&sample["response"], stand_in.answer(&sampled(&sample, file, fault, &names)));
        if theirs["status"] != ours.status {
            wrong.push(format!("{file}: status {} for {}, {:?}", ours.status, theirs["status"], ours.body));
            continue;
        }
        for name in theirs["headers"].as_object().expect("headers").keys() {
            if !ours.headers.iter().any(|(found, _)| found == name) {
                wrong.push(format!("{file}: no header {name}"));
            }
        }
        let (their_body, our_body) = (&theirs["body"], body(&ours));
        for member in ["code", "error_subcode", "type", "message"] {
            let same = their_body["error"][member] == our_body["error"][member];
            let mapped = names.iter().any(|(theirs, _)| their_body["error"]["message"].to_string().contains(theirs));
            if !same && !(member == "message" && (mapped || OWN_WORDS.contains(file))) {
                wrong.push(format!(
                    "{file}: {member} {} for {}",
                    our_body["error"][member], their_body["error"][member]
                ));
            }
        }
        let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
        shape(their_body, "", &mut expected);
        shape(our_body, "", &mut found);
        let may_miss = |path: &&String| {
            let last = path.rsplit('.').next().unwrap_or_default();
            !optional.split(' ').any(|name| name == last)
        };
        let missing: Vec<_> = expected.keys().filter(|path| !found.contains_key(*path)).filter(may_miss).collect();
        let extra: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).filter(may_miss).collect();
        if !missing.is_empty() || !extra.is_empty() {
            wrong.push(format!("{file}: missing {missing:?}, extra {extra:?}"));
        }
        for (path, kinds) in &expected {
            if found.get(path).is_some_and(|ours| ours != kinds) {
                wrong.push(format!("{file}: {path} is {:?} for {kinds:?}", found[path]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_field_served_exists_in_metas_specification() {
    let Some(folder) = shared() else { return };
    for (object, fields) in served_fields() {
        let spec = read(folder.join("spec").join(format!("{object}.json")));
        let edges: Vec<&str> =
            spec["edges"].as_array().expect("edges").iter().filter_map(|edge| edge["e"].as_str()).collect();
        for field in fields {
            assert!(!spec["fields"][field].is_null() || edges.contains(&field), "{object}.{field}");
        }
    }
    for (object, fields) in served_rows() {
        let spec = read(folder.join("spec").join(format!("{object}.json")));
        for field in fields.into_iter().filter(|field| *field != "id") {
            assert!(!spec["fields"][field].is_null(), "{object}.{field}");
        }
    }
}

#[test]
fn every_field_that_is_served_may_be_asked_for() {
    let stand_in = stand_in();
    let posts = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?fields=comments_count&limit=5"));
    let media = rows(&posts)[0]["id"].as_str().expect("an id").to_owned();
    let comments = good(&stand_in, TOKEN, &format!("{media}/comments"));
    let ids = |edge: &str| {
        rows(&good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/{edge}")))[0]["id"].as_str().expect("an id").to_owned()
    };
    for (object, fields) in served_fields() {
        let (host, token, id) = match object {
            "IGUser" => (Host::Facebook, TOKEN, IG_ACCOUNT.to_owned()),
            "IGUserForIGOnlyAPI" => (Host::Instagram, INSTAGRAM_TOKEN, "me".to_owned()),
            "IGMedia" => (Host::Facebook, TOKEN, media.clone()),
            "IGMediaForIGOnlyAPI" => (Host::Instagram, INSTAGRAM_TOKEN, media.clone()),
            "IGComment" => (Host::Facebook, TOKEN, rows(&comments)[0]["id"].as_str().expect("an id").to_owned()),
            "AdAccount" => (Host::Facebook, TOKEN, AD_ACCOUNT.to_owned()),
            "Campaign" => (Host::Facebook, TOKEN, ids("campaigns")),
            "AdSet" => (Host::Facebook, TOKEN, ids("adsets")),
            "Ad" => (Host::Facebook, TOKEN, ids("ads")),
            _ => (Host::Facebook, TOKEN, format!("{AD_ACCOUNT}/insights")),
        };
        let fields: Vec<String> = fields
            .into_iter()
            .map(|field| match field {
                "insights" if object.starts_with("IGUser") => "insights.metric(reach).period(day)".to_owned(),
                "insights" if object.starts_with("IGMedia") => "insights.metric(reach)".to_owned(),
                "business_discovery" => "business_discovery.username(sakura.cycles){id}".to_owned(),
                "mentioned_media" => format!("mentioned_media.media_id({MENTIONED_MEDIA})"),
                "mentioned_comment" => format!("mentioned_comment.comment_id({MENTIONED_COMMENT})"),
                field => field.to_owned(),
            })
            .collect();
        let mut request = request(token, &id);
        request.host = host;
        request.query.push(("fields".to_owned(), fields.join(",")));
        let response = stand_in.answer(&request);
        assert_eq!(response.status, 200, "{object}: {:?}", response.body);
        assert!(!body(&response).to_string().contains("null"), "{object}: unset members are left out");
    }
}

#[test]
fn a_token_reaches_its_own_accounts_only_and_on_its_own_host() {
    let stand_in = stand_in();
    for (token, mine, theirs) in [
        (TOKEN, [IG_ACCOUNT, AD_ACCOUNT], [OTHER_IG_ACCOUNT, OTHER_AD_ACCOUNT]),
        (OTHER_TOKEN, [OTHER_IG_ACCOUNT, OTHER_AD_ACCOUNT], [IG_ACCOUNT, AD_ACCOUNT]),
    ] {
        for account in mine {
            assert_eq!(good(&stand_in, token, account)["id"], account);
        }
        for account in theirs {
            for edge in ["", "/insights", "/media", "/campaigns"] {
                let response = ask(&stand_in, token, &format!("{account}{edge}"));
                assert_eq!(refusal(&response), (400, 100, 33), "{account}{edge}");
            }
        }
    }
    let media = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?limit=1"));
    let campaigns = good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/campaigns?limit=1"));
    for list in [&media, &campaigns] {
        let id = rows(list)[0]["id"].as_str().expect("an id");
        assert_eq!(refusal(&ask(&stand_in, OTHER_TOKEN, id)), (400, 100, 33), "{id}");
    }
    for fault in FAULTS {
        assert_eq!(refusal(&ask(&stand_in, OTHER_TOKEN, &fault.ig_account())), (400, 100, 33), "{}", fault.name);
    }
    assert_eq!(refusal(&ask(&stand_in, INSTAGRAM_TOKEN, IG_ACCOUNT)), (400, 190, 0));
    let mut wrong_host = request(TOKEN, "me");
    wrong_host.host = Host::Instagram;
    assert_eq!(refusal(&stand_in.answer(&wrong_host)), (400, 190, 0));
    assert_eq!(refusal(&ask(&stand_in, "", IG_ACCOUNT)), (400, 104, 0));
}

#[test]
fn a_fault_comes_by_header_and_by_reserved_account() {
    /// Status and code; code -1 stands for a body that is no JSON, 0 for a body without an error.
    const EXPECTED: &[(&str, u16, i64)] = &[
        ("rate_limit", 403, 4),
        ("user_limit", 400, 17),
        ("pending_action", 200, 31),
        ("ig_rate_limit", 400, 80002),
        ("ads_rate_limit", 400, 80004),
        ("transient", 500, 2),
        ("transient_once", 500, 2),
        ("transient_twice", 500, 2),
        ("reduce_data", 500, 1),
        ("token_expired", 400, 190),
        ("token_revoked", 400, 190),
        ("action_required", 400, 190),
        ("permission", 403, 10),
        ("permission_200", 403, 200),
        ("not_found", 400, 100),
        ("old_version", 400, 2635),
        ("unavailable", 503, -1),
        ("empty_500", 500, -1),
        ("hang", 200, 0),
        ("cut", 200, -1),
        ("garbage", 200, -1),
        ("redirect", 302, -1),
        ("huge", 200, -1),
        ("token_in_error", 400, 100),
        ("empty_data", 200, 0),
        ("views_refused", 400, 100),
        ("follows_refused", 400, 100),
        ("media_insights_refused", 400, 100),
        ("media_metrics_refused", 400, 100),
        ("newest_day_late", 200, 0),
        ("hashtag_limit", 400, 18),
    ];
    assert_eq!(EXPECTED.len(), FAULTS.len());
    let shown = |response: &Response| match &response.body {
        Body::Json(body) => (response.status, body["error"]["code"].as_i64().unwrap_or(0)),
        Body::Raw(text) => {
            // `huge` alone is sound JSON.
            let sound = serde_json::from_str::<Value>(text).is_ok();
            assert_eq!(sound, text.len() > 8 << 20, "{} bytes", text.len());
            (response.status, -1)
        }
    };
    for (fault, (name, status, code)) in FAULTS.iter().zip(EXPECTED) {
        assert_eq!(fault.name, *name);
        let instagram = |account: &str| match *name {
            "media_insights_refused" | "media_metrics_refused" => {
                format!("{account}/media?fields=id,insights.metric(views)")
            }
            "follows_refused" => format!("{account}/insights?metric=follower_count&period=day"),
            "hashtag_limit" => format!("ig_hashtag_search?user_id={account}&q=tea"),
            _ => format!("{account}/insights?metric=views&period=day&metric_type=total_value"),
        };
        let by_account = ask(&stand_in(), TOKEN, &instagram(&fault.ig_account()));
        assert_eq!(shown(&by_account), (*status, *code), "{name} by Instagram account");
        let mut by_header = request(TOKEN, &instagram(IG_ACCOUNT));
        by_header.headers.insert("x-sandbox-fault", name.parse().expect("a header"));
        assert_eq!(shown(&stand_in().answer(&by_header)), (*status, *code), "{name} by header");
        let by_ads = ask(&stand_in(), TOKEN, &format!("{}/insights?fields=spend", fault.ad_account()));
        let instagrams = name.ends_with("refused") || *name == "hashtag_limit";
        let ads_expected = if instagrams { (200, 0) } else { (*status, *code) };
        assert_eq!(shown(&by_ads), ads_expected, "{name} by ad account");
        assert_eq!(by_account.delay.is_some(), *name == "hang", "{name}");
    }
    let mut misspelt = request(TOKEN, "me");
    misspelt.headers.insert("x-sandbox-fault", "rate-limit".parse().expect("a header"));
    assert_eq!(stand_in().answer(&misspelt).status, 400);
}

#[test]
fn a_fault_leaves_the_rest_of_its_account_alone() {
    let stand_in = stand_in();
    let account = |name: &str| FAULTS.iter().find(|fault| fault.name == name).expect(name).ig_account();
    let once = account("transient_once");
    assert_eq!([0, 1, 2].map(|_| ask(&stand_in, TOKEN, &once).status), [500, 200, 200]);
    let media = format!("{}/media", account("transient_twice"));
    assert_eq!([0, 1, 2].map(|_| ask(&stand_in, TOKEN, &media).status), [500, 500, 200]);
    let refused = account("views_refused");
    let others = "insights?metric=reach,profile_views&period=day&metric_type=total_value";
    assert_eq!(rows(&good(&stand_in, TOKEN, &format!("{refused}/{others}"))).len(), 2);
    assert_eq!(good(&stand_in, TOKEN, &refused)["id"], refused.as_str());
    let series = "insights?metric=reach&period=day&metric_type=time_series";
    assert_eq!(rows(&good(&stand_in, TOKEN, &format!("{}/{series}", account("follows_refused")))).len(), 1);
    let list = good(&stand_in, TOKEN, &format!("{}/media?limit=1", account("media_insights_refused")));
    let post = rows(&list)[0]["id"].as_str().expect("an id");
    assert_eq!(rows(&good(&stand_in, TOKEN, &format!("{post}/insights?metric=views"))).len(), 1);
    let leaky = account("token_in_error");
    let caption = good(&stand_in, TOKEN, &format!("{leaky}/media?limit=1&fields=caption"));
    assert!(rows(&caption)[0]["caption"].to_string().contains(TOKEN));
    let error = ask(&stand_in, TOKEN, &format!("{leaky}/insights?metric=reach&period=day"));
    assert!(body(&error).to_string().contains(TOKEN));
}

#[test]
fn a_walk_over_pages_meets_every_post_once_in_both_directions() {
    let stand_in = stand_in();
    let mut forwards = Vec::new();
    let mut target = format!("{IG_ACCOUNT}/media?limit=40");
    let (mut last_page, mut pages) = (Value::Null, 0);
    while !target.is_empty() {
        let page = good(&stand_in, TOKEN, &target);
        forwards.extend(rows(&page).iter().map(|row| row["id"].to_string()));
        let next = page["paging"]["next"].as_str().unwrap_or_default();
        assert!(next.is_empty() || next.contains(&format!("access_token={TOKEN}")), "{next}");
        assert!(next.is_empty() || next.starts_with("http://127.0.0.1:3007/v26.0/"), "{next}");
        target = next.split_once("/v26.0/").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        (last_page, pages) = (page, pages + 1);
    }
    let distinct: BTreeSet<&String> = forwards.iter().collect();
    assert!(pages >= 4 && forwards.len() >= 150 && distinct.len() == forwards.len(), "{} on {pages}", forwards.len());
    let mut backwards: Vec<String> = rows(&last_page).iter().map(|row| row["id"].to_string()).collect();
    while let Some(link) = last_page["paging"]["previous"].as_str() {
        let target = link.split_once("/v26.0/").map(|(_, rest)| rest.to_owned()).expect("a link");
        last_page = good(&stand_in, TOKEN, &target);
        backwards.splice(0..0, rows(&last_page).iter().map(|row| row["id"].to_string()));
    }
    assert_eq!(backwards, forwards);
    let stale = ask(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?after=QVFIold"));
    assert_eq!(refusal(&stale), (400, 100, 0));
}

#[test]
fn media_windows_and_strange_posts_answer_as_metas_do() {
    let stand_in = stand_in();
    let fields = "fields=id,caption,timestamp,like_count,media_url,media_type,children{id},insights.metric(reach)";
    let all =
        good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?limit=100&fields=timestamp,like_count,media_url,caption"));
    for member in ["like_count", "media_url", "caption"] {
        let absent = rows(&all).iter().filter(|post| post.get(member).is_none()).count();
        assert!((1..60).contains(&absent), "{member} is absent on {absent}");
    }
    let window = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?since=2026-11-01&until=2026-11-15&{fields}"));
    assert!((4..=13).contains(&rows(&window).len()));
    for post in rows(&window) {
        let at = post["timestamp"].as_str().expect("a time");
        assert!(("2026-11-01T07:00"..="2026-11-15T08:00").contains(&at), "{at}");
        assert_eq!(post["insights"]["data"][0]["name"], "reach");
        assert_eq!(post.get("children").is_some(), post["media_type"] == "CAROUSEL_ALBUM");
    }
    // The last post is older than the professional account: its insights fail any list that holds it.
    let oldest = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?until=2024-12-31"));
    let id = rows(&oldest)[0]["id"].as_str().expect("an id");
    assert_eq!(refusal(&ask(&stand_in, TOKEN, &format!("{id}/insights?metric=reach"))), (400, 100, 2_108_006));
    let list = format!("{IG_ACCOUNT}/media?until=2024-12-31&fields=id,insights.metric(reach)");
    assert_eq!(refusal(&ask(&stand_in, TOKEN, &list)), (400, 100, 2_108_006));
    let stories = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/stories?fields=timestamp,media_product_type"));
    assert!(!rows(&stories).is_empty() && rows(&stories).iter().all(|story| story["media_product_type"] == "STORY"));
}

#[test]
fn account_insights_add_up_where_metas_do() {
    let stand_in = stand_in();
    let ask_days = |metrics: &str, since: i64, until: i64| {
        let target = format!(
            "{IG_ACCOUNT}/insights?metric={metrics}&period=day&metric_type=total_value&since={since}&until={until}"
        );
        let answer = good(&stand_in, TOKEN, &target);
        let value = |row: &Value| row["total_value"]["value"].as_i64().expect("a number");
        rows(&answer).iter().map(value).collect::<Vec<i64>>()
    };
    let (day, first) = (86_400, 1_793_602_800 - 9 * 86_400); // Los Angeles midnights, all in summer time
    let whole = ask_days("views,likes,reach", first, first + 7 * day);
    let days: Vec<Vec<i64>> =
        (0..7).map(|at| ask_days("views,likes,reach", first + at * day, first + (at + 1) * day)).collect();
    let sum = |at: usize| days.iter().map(|day| day[at]).sum::<i64>();
    assert_eq!((whole[0], whole[1]), (sum(0), sum(1)));
    assert!(whole[2] < sum(2) && whole[2] < whole[0] && whole[2] > days.iter().map(|day| day[2]).max().unwrap_or(0));
    let series = format!("{IG_ACCOUNT}/insights?metric=reach&period=day&since={first}&until={}", first + 7 * day);
    let series = good(&stand_in, TOKEN, &series);
    let values = series["data"][0]["values"].as_array().expect("values");
    let reach: Vec<i64> = values.iter().map(|value| value["value"].as_i64().expect("a number")).collect();
    assert_eq!(reach, days.iter().map(|day| day[2]).collect::<Vec<_>>());
    assert!(values.iter().all(|value| value["end_time"].to_string().contains("T07:00:00+0000")), "{values:?}");
    let expanded = good(
        &stand_in,
        TOKEN,
        &format!("{IG_ACCOUNT}?fields=insights.metric(reach).period(day).since({first}).until({})", first + 7 * day),
    );
    assert_eq!(expanded["insights"]["data"], series["data"]);
}

#[test]
fn insights_refuse_what_meta_refuses() {
    let total = "period=day&metric_type=total_value";
    for (query, code, text) in [
        ("period=day".to_owned(), 100, "The parameter metric is required"),
        ("metric=reach".to_owned(), 100, "The parameter period is required"),
        ("metric=reach,plays&period=day".to_owned(), 100, "metric[1] must be one of the following values: reach, follower"),
        ("metric=reach&period=year".to_owned(), 100, "period must be one of"),
        ("metric=views&period=day&metric_type=time_series".to_owned(), 100, "(views) is incompatible with the metric type (time_series)"),
        ("metric=views,likes&period=day".to_owned(), 100, "(views,likes) should be specified with parameter metric_type=total_value"),
        (format!("metric=views&breakdown=follower_type&{total}"), 100, "breakdown must be one of"),
        (format!("metric=likes&breakdown=follow_type&{total}"), 1, "An unknown error has occurred."),
        (format!("metric=reach&since=0&until=2592001&{total}"), 100, "There cannot be more than 30 days (2592000 s)"),
        ("metric=follower_count&period=day&since=2026-10-01&until=2026-10-10".to_owned(), 100, "last 30 days excluding"),
        ("metric=online_followers&period=lifetime&since=2026-10-01&until=2026-10-10".to_owned(), 100, "(online_followers) metric only"),
        ("metric=online_followers&period=day".to_owned(), 100, "incompatible with the period"),
        (format!("metric=online_followers&{}", total.replace("day", "lifetime")), 100, "incompatible with the metric type (total_value)"),
        ("metric=reach,follower_count&period=day&metric_type=total_value".to_owned(), 100, "(follower_count) is incompatible"),
        (format!("metric=reach,views&breakdown=contact_button_type&{total}"), 1, "An unknown error has occurred."),
        ("metric=engaged_audience_demographics&period=lifetime&metric_type=total_value&breakdown=age".to_owned(), 100, "requires the parameter timeframe"),
        (format!("metric=threads_views&{total}"), 100, "not available"),
        ("metric=follower_demographics&period=lifetime&metric_type=total_value".to_owned(), 100, "breakdown"),
        ("metric=engaged_audience_demographics&period=lifetime&metric_type=total_value&breakdown=age&timeframe=last_30_days".to_owned(), 100, "timeframe must be one of"),
    ] {
        let response = ask(&stand_in(), TOKEN, &format!("{IG_ACCOUNT}/insights?{query}"));
        let message = body(&response)["error"]["message"].to_string();
        assert!(refusal(&response) == (400, code, 0) && message.contains(text), "{query}: {message}");
    }
    let wide = format!("{IG_ACCOUNT}/insights?metric=reach&since=1790000000&until=1792592000&{total}");
    assert_eq!(ask(&stand_in(), TOKEN, &wide).status, 200, "exactly 30 days");
}

#[test]
fn archived_and_deleted_campaigns_hide_unless_asked_for() {
    let stand_in = stand_in();
    let names =
        |query: &str| good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/campaigns?fields=effective_status&{query}"));
    let usual = names("summary=total_count");
    assert_eq!(usual["summary"]["total_count"], 9);
    let hidden = ["ARCHIVED", "DELETED"];
    let is_hidden = |row: &Value| row["effective_status"].as_str().is_some_and(|status| hidden.contains(&status));
    assert!(!rows(&usual).iter().any(is_hidden));
    let gone = names(r#"effective_status=["ARCHIVED","DELETED"]"#);
    assert!(rows(&gone).len() == 3 && rows(&gone).iter().all(is_hidden));
    let named = names(r#"filtering=[{"field":"name","operator":"CONTAIN","value":"evergreen"}]"#);
    assert_eq!(rows(&named).len(), 2);
    assert_eq!(
        refusal(&ask(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/campaigns?effective_status=[\"GONE\"]"))),
        (400, 100, 0)
    );
    let issues = good(
        &stand_in,
        TOKEN,
        &format!("{AD_ACCOUNT}/campaigns?effective_status=[\"WITH_ISSUES\"]&fields=issues_info"),
    );
    assert!(rows(&issues)[0]["issues_info"][0]["error_summary"].is_string());
}

#[test]
fn ads_insights_are_consistent_text() {
    let stand_in = stand_in();
    let fields = "fields=impressions,clicks,spend,ctr,cpc,reach,frequency,actions,action_values,purchase_roas,cost_per_action_type,results";
    let range = r#"time_range={"since":"2026-11-01","until":"2026-11-14"}"#;
    let ask_rows =
        |more: &str| good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/insights?{fields}&{range}&limit=500&{more}"));
    let whole = ask_rows("");
    let total = &rows(&whole)[0];
    let purchases = |row: &Value| {
        let found =
            row["actions"].as_array().and_then(|list| list.iter().find(|entry| entry["action_type"] == "purchase"));
        found.map_or(0.0, |entry| number(&entry["value"]))
    };
    for row in rows(&ask_rows("level=ad")).iter().chain([total]) {
        let of = |name: &str| number(&row[name]);
        assert!((of("ctr") - 100.0 * of("clicks") / of("impressions")).abs() < 1e-5, "{row}");
        assert!((of("cpc") - of("spend") / of("clicks")).abs() < 1e-5, "{row}");
        assert!(
            (of("frequency") - of("impressions") / of("reach")).abs() < 1e-5 && of("reach") < of("impressions"),
            "{row}"
        );
        assert!(
            row["spend"].as_str().is_some_and(|text| text.split_once('.').is_some_and(|(_, cents)| cents.len() == 2))
        );
    }
    for more in [
        "level=campaign",
        "level=ad",
        "time_increment=1",
        "breakdowns=age,gender",
        "breakdowns=platform_position,publisher_platform",
        "time_increment=7&level=adset&breakdowns=country",
    ] {
        let answer = ask_rows(more);
        let sum = |of: &dyn Fn(&Value) -> f64| rows(&answer).iter().map(of).sum::<f64>();
        assert!(rows(&answer).len() > 1, "{more}");
        assert!((sum(&|row| number(&row["spend"])) - number(&total["spend"])).abs() < 0.001, "{more}");
        assert!((sum(&|row| number(&row["impressions"])) - number(&total["impressions"])).abs() < 0.5, "{more}");
        assert!((sum(&purchases) - purchases(total)).abs() < 0.5, "{more}");
        if !more.contains("breakdowns") {
            assert!(sum(&|row| number(&row["reach"])) > number(&total["reach"]), "{more}: reach is not additive");
        }
    }
    assert!(purchases(total) > 10.0);
    let summed = ask_rows("level=campaign&default_summary=true&limit=1");
    assert_eq!(summed["summary"]["spend"], total["spend"]);
    let sorted = ask_rows("level=ad&sort=spend_descending");
    assert!(rows(&sorted).is_sorted_by(|a, b| number(&a["spend"]) >= number(&b["spend"])));
    let ids = good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/campaigns?limit=1"));
    let id = rows(&ids)[0]["id"].as_str().expect("an id");
    let filtering = format!(r#"filtering=[{{"field":"campaign.id","operator":"IN","value":["{id}"]}}]"#);
    let filtered = ask_rows(&filtering);
    assert!(number(&rows(&filtered)[0]["spend"]) < number(&total["spend"]));
    assert_eq!(rows(&filtered)[0]["spend"], rows(&ask_rows(&format!("level=campaign&{filtering}")))[0]["spend"]);
    let windows = ask_rows(r#"action_attribution_windows=["7d_click","1d_view","28d_view"]"#);
    let entry = &rows(&windows)[0]["actions"][0];
    assert!(entry["7d_click"].is_string() && entry["28d_view"].is_null(), "{entry}");
    let yen =
        good(&stand_in, OTHER_TOKEN, &format!("{OTHER_AD_ACCOUNT}/insights?fields=spend,account_currency&{range}"));
    assert_eq!(rows(&yen)[0]["account_currency"], "JPY");
    assert!(rows(&yen)[0]["spend"].as_str().is_some_and(|text| !text.contains('.')));
}

#[test]
fn ads_insights_refuse_what_meta_refuses() {
    for (query, code, subcode, text) in [
        ("fields=spend&date_preset=lifetime", 100, 0, "date_preset must be one of the following values: today"),
        ("fields=spends", 100, 0, "spends is not valid for fields param"),
        ("fields=spend&breakdowns=Age", 100, 0, "breakdowns[0] must be one of the following values"),
        ("fields=spend&breakdowns=platform_position", 100, 0, "(platform_position) is invalid"),
        ("fields=spend&level=creative", 100, 0, "level must be one of"),
        (r#"fields=spend&time_range={"since":"2023-10-01","until":"2023-10-02"}"#, 3018, 0, "37 months"),
        ("fields=spend&time_increment=91", 100, 0, "time_increment"),
        ("fields=spend&filtering=spend", 100, 0, "filtering must be an array"),
        (r#"fields=spend&action_attribution_windows=["9d_click"]"#, 100, 0, "must be one of"),
    ] {
        let response = ask(&stand_in(), TOKEN, &format!("{AD_ACCOUNT}/insights?{query}"));
        let message = body(&response)["error"]["message"].to_string();
        assert!(refusal(&response) == (400, code, subcode) && message.contains(text), "{query}: {message}");
    }
    let stand_in = stand_in();
    let ads = good(&stand_in, TOKEN, &format!("{AD_ACCOUNT}/ads?limit=1"));
    let ad = rows(&ads)[0]["id"].as_str().expect("an id");
    assert_eq!(refusal(&ask(&stand_in, TOKEN, &format!("{ad}/insights?level=adset"))), (400, 1, 99));
}

#[test]
fn a_batch_answers_each_entry_and_keeps_errors_inside() {
    let stand_in = stand_in();
    let batch = |entries: Value| {
        let mut request = request(TOKEN, "");
        request.method = Method::POST;
        request.headers.insert("content-type", "application/json".parse().expect("a header"));
        request.body = json!({"batch": entries, "include_headers": false}).to_string().into_bytes();
        stand_in.answer(&request)
    };
    let entry = |url: &str| json!({"method": "GET", "relative_url": url});
    let hang = FAULTS.iter().find(|fault| fault.name == "hang").expect("hang").ig_account();
    let before = stand_in.call_count();
    let answer = batch(json!([
        entry("me?fields=id"),
        entry(&format!("{IG_ACCOUNT}?fields=foo")),
        entry(&hang),
        entry(&format!("v26.0/me?access_token={OTHER_TOKEN}&fields=name")),
        {"method": "POST", "relative_url": "?batch=[]"},
    ]));
    assert_eq!(stand_in.call_count(), before + 1);
    let answers = body(&answer).as_array().expect("a list");
    let codes: Vec<i64> = answers.iter().map(|entry| entry["code"].as_i64().unwrap_or(0)).collect();
    assert_eq!(codes, [200, 400, 0, 200, 400]);
    assert!(answers[2].is_null() && answers[0].get("headers").is_none());
    assert_eq!(answers[3]["body"], r#"{"name":"Haru Ono","id":"10200530922000001"}"#);
    let many: Vec<Value> = (0..51).map(|_| entry("me")).collect();
    assert_eq!(refusal(&batch(many.into())), (400, 100, 0));
}

#[test]
fn versions_are_refused_upgraded_or_served_as_meta_does() {
    let stand_in = stand_in();
    let at = |version: &str, path: &str| {
        let mut request = request(TOKEN, "");
        request.path = format!("/{version}{path}");
        stand_in.answer(&request)
    };
    let header = |response: &Response, wanted: &str| {
        response.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
    };
    let upgraded = at("v19.0/", "me");
    assert_eq!((upgraded.status, header(&upgraded, "facebook-api-version").as_deref()), (200, Some("v26.0")));
    assert!(header(&upgraded, "x-ad-api-version-warning").is_some());
    assert_eq!(header(&at("v22.0/", "me"), "facebook-api-version").as_deref(), Some("v22.0"));
    assert_eq!(refusal(&at("v99.0/", "me")).1, 2500);
    for version in ["v24.0/", "v18.0/", ""] {
        assert_eq!(refusal(&at(version, AD_ACCOUNT)).1, 2635, "{version}");
    }
    assert_eq!(at("v25.0/", AD_ACCOUNT).status, 200);
    assert_eq!(refusal(&at("v26.0/", "me/cats")), (400, 2500, 0));
}

#[test]
fn a_right_proof_passes_and_removed_parameters_do_not() {
    let stand_in = stand_in();
    // printf %s EAAsandboxFernAndKettle | openssl dgst -sha256 -hmac sandbox-app-secret
    let proof = "7f5627efdf8979b5997103e1b9c0c328312cae2410ba84750f21979083f50933";
    assert_eq!(ask(&stand_in, TOKEN, &format!("me?appsecret_proof={proof}")).status, 200);
    let other = ask(&stand_in, OTHER_TOKEN, &format!("me?appsecret_proof={proof}"));
    assert_eq!(refusal(&other), (400, 100, 0), "a proof belongs to one token");
    assert_eq!(refusal(&ask(&stand_in, TOKEN, "me?date_format=U")), (400, 100, 0));
    assert_eq!(ask(&stand_in, TOKEN, "me?pretty=1&debug=all").status, 200);
}

#[test]
fn calls_are_counted_and_remembered_without_tokens() {
    let stand_in = stand_in();
    let _ = ask(&stand_in, "", &format!("me?access_token={TOKEN}&fields=id"));
    let _ = ask(&stand_in, TOKEN, &format!("debug_token?input_token={OTHER_TOKEN}"));
    assert_eq!(stand_in.calls(), ["GET /v26.0/me?fields=id", "GET /v26.0/debug_token"]);
    for _ in 0..1100 {
        let _ = ask(&stand_in, TOKEN, "me");
    }
    assert_eq!((stand_in.call_count(), stand_in.calls().len()), (1102, 1000));
}

#[test]
fn nothing_is_written() {
    let stand_in = stand_in();
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        let mut request = request(TOKEN, &format!("{AD_ACCOUNT}/campaigns"));
        request.method = method.clone();
        let response = stand_in.answer(&request);
        assert_eq!(refusal(&response), (400, 100, 33));
        let expected = format!("Unsupported {} request", method.as_str().to_lowercase());
        assert!(body(&response).to_string().contains(&expected), "{:?}", response.body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_request_makes_it_panic(
        target in prop_oneof![
            "\\PC{0,40}",
            Just(IG_ACCOUNT.to_owned()), Just(AD_ACCOUNT.to_owned()), Just("me".to_owned()),
            "17[6-9]0[123]0000[0-9]{8}", "2385[12]00000000[0-9]{4}",
        ],
        edge in prop_oneof![Just(String::new()), Just("/insights".to_owned()), Just("/media".to_owned()), Just("/campaigns".to_owned()), "/\\PC{0,9}"],
        query in proptest::collection::vec((
            prop_oneof![Just("fields"), Just("metric"), Just("period"), Just("since"), Just("until"), Just("after"), Just("before"),
                Just("limit"), Just("time_range"), Just("time_ranges"), Just("time_increment"), Just("breakdowns"), Just("filtering"), Just("sort"), Just("batch")],
            prop_oneof!["\\PC{0,30}", "-?[0-9]{1,20}", "[a-z_,{}().]{0,30}", Just("{\"since\":\"-9999-01-01\",\"until\":\"9999-12-31\"}".to_owned()),
                Just("reach".to_owned()), Just("day".to_owned()), Just("monthly".to_owned())],
        ), 0..5),
        now in -2_000_000_000_i64..200_000_000_000,
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        post in any::<bool>(),
    ) {
        let clock = Clock::fixed(jiff::Timestamp::from_second(now).expect("a time"));
        let mut request = request(TOKEN, &format!("{target}{edge}"));
        request.query.extend(query.into_iter().map(|(name, value)| (name.to_owned(), value)));
        request.body = bytes;
        if post { request.method = Method::POST; }
        let response = StandIn::new(1, clock).answer(&request);
        prop_assert!((200..=503).contains(&response.status));
    }
}

#[test]
fn comments_need_their_permission_and_leave_out_those_of_restricted_people() {
    let stand_in = stand_in();
    let posts = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/media?limit=60&fields=comments_count"));
    let (mut counted, mut shown) = (0, 0);
    let mut own = 0;
    for post in rows(&posts).iter().filter(|post| (1..50).contains(&post["comments_count"].as_u64().unwrap_or(0))) {
        let id = post["id"].as_str().expect("an id");
        let fields = "id,from{id},user,timestamp,replies{id,parent_id,user}";
        let comments = good(&stand_in, TOKEN, &format!("{id}/comments?limit=50&fields={fields}"));
        counted += post["comments_count"].as_u64().expect("a count");
        shown += rows(&comments).len() as u64;
        for row in rows(&comments) {
            assert_eq!(row["user"].is_object(), row["from"]["id"] == IG_ACCOUNT, "{row}");
            own += u64::from(row["user"].is_object());
            assert!(row["timestamp"].as_str().expect("a time") <= "2026-11-23T18:00:00", "{row}");
            if let Some(reply) = row["replies"]["data"].get(0) {
                let node = reply["id"].as_str().expect("an id");
                let node = good(&stand_in, TOKEN, &format!("{node}?fields=id,parent_id,user"));
                assert_eq!((&node, &node["parent_id"]), (reply, &row["id"]));
            }
        }
    }
    assert!(shown < counted && shown * 5 > counted * 4 && own > 0, "{shown} of {counted}, {own} own");
    let id = rows(&posts)[0]["id"].as_str().expect("an id");
    for target in [format!("{id}/comments"), format!("{IG_ACCOUNT}/media?fields=comments{{id}}")] {
        assert_eq!(refusal(&ask(&stand_in, NO_INSIGHTS_TOKEN, &target)), (403, 10, 0), "{target}");
    }
    let limit = format!("{IG_ACCOUNT}/content_publishing_limit");
    assert_eq!(refusal(&ask(&stand_in, NO_INSIGHTS_TOKEN, &limit)), (403, 10, 0));
}

#[test]
fn tags_and_hashtags_page_without_links() {
    let stand_in = stand_in();
    let (mut ids, mut target) = (BTreeSet::new(), format!("{IG_ACCOUNT}/tags?limit=30&fields=id,username,timestamp"));
    loop {
        let page = good(&stand_in, TOKEN, &target);
        if rows(&page).is_empty() {
            assert!(page.get("paging").is_none());
            break;
        }
        assert!(page["paging"]["next"].is_null() && page["paging"]["previous"].is_null(), "{page}");
        assert!(rows(&page).iter().all(|row| ids.insert(row["id"].to_string())), "each once");
        let after = page["paging"]["cursors"]["after"].as_str().expect("a cursor").to_owned();
        target = format!("{IG_ACCOUNT}/tags?limit=30&fields=id,username,timestamp&after={after}");
    }
    assert!(ids.len() > 60, "{}", ids.len());
    let since = "2026-11-01T00:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_second();
    let newer = good(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/tags?limit=100&posted_after={since}&fields=timestamp"));
    assert!((1..ids.len()).contains(&rows(&newer).len()));
    assert!(rows(&newer).iter().all(|row| row["timestamp"].as_str() >= Some("2026-11-01")), "{newer}");
    assert_eq!(ask(&stand_in, TOKEN, &format!("{IG_ACCOUNT}/tags?fields=id,insights.metric(views)")).status, 403);

    let found = good(&stand_in, TOKEN, &format!("ig_hashtag_search?user_id={IG_ACCOUNT}&q=Tea"));
    let tag = rows(&found)[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(good(&stand_in, TOKEN, &format!("{tag}?fields=name"))["name"], "tea");
    let page = |edge: &str, rest: &str| good(&stand_in, TOKEN, &format!("{tag}/{edge}?user_id={IG_ACCOUNT}{rest}"));
    let first = page("top_media", "&limit=40");
    let after = first["paging"]["cursors"]["after"].as_str().expect("a cursor").to_owned();
    let second = page("top_media", &format!("&limit=40&after={after}"));
    assert_eq!((rows(&first).len(), rows(&second).len()), (40, 20));
    assert_eq!(first["paging"], second["paging"], "the cursor is the same on each page");
    let recent = page("recent_media", "&fields=timestamp");
    assert!(rows(&recent).iter().all(|row| row["timestamp"].as_str() >= Some("2026-11-22T18:00:00")), "{recent}");
    for (target, wanted) in [
        (format!("ig_hashtag_search?user_id={IG_ACCOUNT}&q=nosuchtag"), (400, 24, 2_207_024)),
        (format!("ig_hashtag_search?user_id={OTHER_IG_ACCOUNT}&q=tea"), (400, 100, 33)),
        ("ig_hashtag_search?q=tea".to_owned(), (400, 100, 0)),
        (format!("{tag}/top_media?user_id={IG_ACCOUNT}&fields=id,username"), (400, 100, 0)),
    ] {
        assert_eq!(refusal(&ask(&stand_in, TOKEN, &target)), wanted, "{target}");
    }
    let mut elsewhere = request(INSTAGRAM_TOKEN, &format!("ig_hashtag_search?user_id={IG_ACCOUNT}&q=tea"));
    elsewhere.host = Host::Instagram;
    assert_eq!(refusal(&stand_in.answer(&elsewhere)), (400, 100, 33), "Facebook Login only");
}
