//! Each tool against the sandbox: what it answers, what it asks of Graph, and one snapshot of both.

#[path = "tools/media.rs"]
mod media;
#[path = "tools/parts.rs"]
mod parts;
mod support;

use std::collections::{BTreeSet, HashSet};

use aiviary::clock::Clock;
use aiviary::platforms::Platform;
use aiviary::roles::sandbox;
use aiviary::tool::write::{DRY_RUN, FORCE_NEW, IDEMPOTENCY_KEY, KEY, REPEATED, WAS_DRY_RUN, WOULD_SEND};
use aiviary::tool::{Access, Args, Column, Kind, Position, Shape, Tool, Writes};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use support::tools::{assert_clean, by_instagram_login, faulty, misfit, path_of, with};
use support::{Fixture, Roles, sample};

const NOW: &str = "2026-11-20T12:00:00Z";

/// The roles at a moment that stands still, with the sample business as the client `main`.
async fn roles() -> Roles {
    let fixture = Fixture { clock: Clock::fixed(NOW.parse().unwrap()), writes: Writes::All, ..Fixture::new() };
    let roles = fixture.start().await;
    roles.keep(&sample("main")).await;
    roles
}

async fn keep_faulty(roles: &Roles, name: &str) {
    roles.keep(&faulty(sandbox::Fault::named(name).unwrap())).await;
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

fn rows(value: &Value) -> &Vec<Value> {
    value["media"].as_array().unwrap_or_else(|| panic!("{value}"))
}

fn ids(value: &Value) -> Vec<String> {
    rows(value).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Every tool of every platform.
fn all() -> impl Iterator<Item = (Platform, &'static Tool)> {
    Platform::ALL.into_iter().flat_map(|platform| platform.catalogue().iter().map(move |tool| (platform, tool)))
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

// The whole catalogue.

const VERBS: &[&str] = &[
    "build",
    "check",
    "compare",
    "create",
    "delete",
    "duplicate",
    "estimate",
    "explain",
    "export",
    "find",
    "get",
    "hide",
    "list",
    "mark",
    "pause",
    "preview",
    "publish",
    "react",
    "reply",
    "respond",
    "resume",
    "search",
    "send",
    "set",
    "update",
    "upload",
    "validate",
];

#[test]
fn names_are_unique_and_begin_with_a_verb() {
    let mut seen = HashSet::new();
    for (platform, tool) in all() {
        let name = tool.name;
        assert!(seen.insert((platform.name(), name)), "{name} stands twice");
        assert!(name.len() < 40, "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert!(VERBS.contains(&name.split('_').next().unwrap()), "{name} begins with no verb");
        assert!(!name.contains("__") && !name.ends_with('_'), "{name}");
        assert!(tool.about.len() > 40 && tool.about.ends_with('.'), "{name} says when to use it");
        assert!(!tool.needs.is_empty(), "{name} says what permission it needs");
        assert!(!tool.group.is_empty(), "{name} stands in a group");
        assert!(tool.access != Access::Read || (!tool.destructive && tool.idempotent), "{name}");
    }
    assert!(seen.len() >= 5);
}

#[test]
fn changing_tools_have_a_dry_run_and_a_key_where_a_repetition_would_do_it_twice() {
    for (_, tool) in all().filter(|(_, tool)| tool.access != Access::Read) {
        let name = tool.name;
        let param = |wanted: &str| tool.params.iter().any(|param| param.name == wanted);
        let column = |wanted: &str| tool.row_columns().iter().any(|column| column.name == wanted);
        assert!(param(DRY_RUN.name) && column(WAS_DRY_RUN.name) && column(WOULD_SEND.name), "{name}");
        let keyed = [param(IDEMPOTENCY_KEY.name), param(FORCE_NEW.name), column(KEY.name), column(REPEATED.name)];
        assert_eq!(keyed, [!tool.idempotent; 4], "{name}");
    }
}

#[test]
fn parameters_are_described_and_their_examples_and_defaults_pass_their_own_check() {
    for (_, tool) in all() {
        let mut seen = HashSet::new();
        for param in tool.params {
            let name = format!("{} of {}", param.name, tool.name);
            assert!(seen.insert(param.name), "{name} stands twice");
            assert!(!["access_token", "token", "client_id", "client", "url"].contains(&param.name), "{name}");
            assert!(param.about.len() > 8 && param.about.ends_with('.'), "{name} is described");
            let example: Value = serde_json::from_str(param.example).unwrap_or_else(|error| panic!("{name}: {error}"));
            let sent = Map::from_iter([(param.name.to_owned(), example.clone())]);
            let taken = Args::check(&[*param], &sent).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(taken.has(param.name), "{name}");
            assert_eq!(misfit(&param.schema(), &example, "example"), None, "{name}");
            if let Some(default) = param.default_value() {
                assert!(!param.required, "{name} needs no default");
                assert_eq!(misfit(&param.schema(), &default, "default"), None, "{name}");
            }
        }
        let example = object(tool.example);
        Args::check(tool.params, &example).unwrap_or_else(|error| panic!("the example of {}: {error}", tool.name));
        assert_eq!(misfit(&tool.input_schema().into(), &example.into(), tool.name), None);
    }
}

#[test]
fn columns_are_named_once_and_text_of_strangers_is_warned_of() {
    for (_, tool) in all() {
        let mut seen = HashSet::new();
        for column in tool.row_columns() {
            assert!(seen.insert(column.name), "{} of {} stands twice", column.name, tool.name);
            assert!(column.only_with.is_none_or(|name| tool.params.iter().any(|param| param.name == name)));
        }
        assert!(!seen.is_empty(), "{} has columns", tool.name);
        if tool.row_columns().iter().any(|column| column.by_strangers) {
            assert!(tool.about.contains("instructions"), "{} says that its texts are data", tool.name);
        }
    }
}

/// Edges of the sandbox where real ids for an example's come from: a parameter's name and its plural.
const REAL: &[(&str, &str)] = &[
    ("media_id", "17841405309210001/media?limit=3"),
    ("campaign_id", "act_1053092100000001/campaigns?limit=3"),
    ("ad_set_id", "act_1053092100000001/adsets?limit=3"),
    ("ad_id", "act_1053092100000001/ads?limit=3"),
    ("object_id", "act_1053092100000001/campaigns?limit=3"),
];

/// The tool's example, with ids that are there.
async fn arguments(roles: &Roles, tool: &Tool) -> Value {
    let mut arguments = object(tool.example);
    for (name, edge) in REAL {
        let plural = format!("{name}s");
        if arguments.contains_key(*name) || arguments.contains_key(&plural) {
            let found = roles.graph_ids(edge).await;
            if let Some(one) = arguments.get_mut(*name) {
                *one = found[0].clone().into();
            }
            if let Some(many) = arguments.get_mut(&plural) {
                *many = found[..2].to_vec().into();
            }
        }
    }
    if arguments.contains_key("container_id") {
        let staged = json!({"kind": "image", "image_url": "https://example.com/tea.jpg"});
        let staged = roles.ig("main", "create_media_container", staged).await;
        arguments.insert("container_id".to_owned(), staged["container_id"].clone());
    }
    if let Some(link) = arguments.get("confirm_permalink").and(arguments.get("media_id")).and_then(Value::as_str) {
        let post = roles.ig("main", "get_media", json!({"media_id": link})).await;
        arguments.insert("confirm_permalink".to_owned(), post["permalink"].clone());
    }
    let others = match tool.name {
        "get_mention" => Some(sandbox::MENTIONED_MEDIA),
        "respond_to_collaboration_invite" => Some(sandbox::INVITED),
        _ => None,
    };
    if let Some(media) = others {
        arguments.insert("media_id".to_owned(), media.into());
    }
    if arguments.contains_key("conversation_id") {
        let threads = roles.ig("main", "list_conversations", json!({"limit": 1})).await;
        arguments.insert("conversation_id".to_owned(), threads["conversations"][0]["id"].clone());
    }
    for person in ["recipient_id", "sender_id"] {
        if arguments.contains_key(person) {
            arguments.insert(person.to_owned(), "33010000000000000".into());
        }
    }
    if arguments.contains_key("comment_id") {
        arguments.insert("comment_id".to_owned(), answered_comment(roles).await.into());
    }
    arguments.into()
}

/// A comment of the sample business that has an answer.
async fn answered_comment(roles: &Roles) -> String {
    for media in roles.graph_ids(&format!("{}/media?limit=20", sandbox::IG_ACCOUNT)).await {
        for comment in roles.graph_ids(&format!("{media}/comments?limit=50")).await {
            if !roles.graph_ids(&format!("{comment}/replies")).await.is_empty() {
                return comment;
            }
        }
    }
    panic!("no comment is answered")
}

/// A row has the declared members, all of them, in their order, each of its kind.
fn check_row<'a>(columns: impl IntoIterator<Item = &'a Column>, row: &Value, at: &str) {
    let row = row.as_object().unwrap_or_else(|| panic!("{at}: {row}"));
    let mut names = row.keys().map(String::as_str).peekable();
    let mut columns = columns.into_iter().peekable();
    while let Some(column) = columns.next() {
        if column.is_pattern() {
            let next = columns.peek().map(|column| column.name);
            while let Some(name) = names.next_if(|name| Some(*name) != next) {
                let fits = row[name].is_null() || row[name].is_number() || name.ends_with("_source");
                assert!(fits, "{at}.{name}: {}", row[name]);
            }
        } else {
            assert_eq!(names.next(), Some(column.name), "{at}: {row:?}");
            check_value(column, &row[column.name], &format!("{at}.{}", column.name));
        }
    }
    assert_eq!(names.next(), None, "{at}: {row:?}");
}

fn check_value(column: &Column, value: &Value, at: &str) {
    assert_eq!(misfit(&column.schema(), value, at), None);
    let decimals = |most: usize| value.to_string().split_once('.').is_none_or(|(_, rest)| rest.len() <= most);
    let text = value.as_str();
    let fits = match (column.kind, text) {
        (_, _) if value.is_null() => true,
        (Kind::Id, Some(id)) => !id.is_empty() && id.trim_start_matches("act_").bytes().all(|b| b.is_ascii_digit()),
        (Kind::Time, Some(text)) => text.ends_with('Z') && text.parse::<Timestamp>().is_ok(),
        (Kind::Day, Some(text)) => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        (Kind::Money | Kind::MinorMoney, Some(text)) => text.parse::<f64>().is_ok(),
        (Kind::Percent, None) => decimals(2),
        (Kind::Ratio, None) => decimals(4),
        (Kind::Rows(columns), None) => {
            value.as_array().unwrap().iter().for_each(|row| check_row(columns, row, at));
            true
        }
        _ => true,
    };
    assert!(fits, "{at}: {value}");
    assert!(text.is_none_or(|text| !text.contains("access_token")), "{at}: {value}");
}

fn check_answer(tool: &Tool, arguments: &Value, value: &Value) {
    let args = Args::check(tool.params, arguments.as_object().unwrap()).unwrap();
    let (key, beside) = match tool.shape {
        Shape::Row(_) => return check_row(tool.columns(&args), value, tool.name),
        Shape::RowOrList { many, .. } if !args.has(many) => return check_row(tool.columns(&args), value, tool.name),
        Shape::RowOrList { key, .. } => (key, &[][..]),
        Shape::List { key, beside, .. } => (key, beside),
    };
    let list = value[key].as_array().unwrap_or_else(|| panic!("{key} of {value}"));
    for (place, row) in list.iter().enumerate() {
        check_row(tool.columns(&args), row, &format!("{}.{key}[{place}]", tool.name));
    }
    assert!(value["next_cursor"].is_null() || value["next_cursor"].is_string(), "{value}");
    let mut rest = value.as_object().unwrap().clone();
    let first: Vec<String> = rest.keys().take(2).cloned().collect();
    assert_eq!(first, [key, "next_cursor"], "{}", tool.name);
    rest.retain(|name, _| name != key && name != "next_cursor");
    check_row(beside, &rest.into(), tool.name);
}

#[tokio::test]
async fn each_tool_answers_its_example_alike_in_both_envelopes_with_what_it_declares() {
    let mut examples = Platform::ALL.map(|_| Map::new());
    for (platform, tool) in all() {
        let roles = roles().await; // of its own: what the process remembers would change the calls
        let at = roles.of(platform);
        let arguments = arguments(&roles, tool).await;
        let before = roles.graph_seen.calls().len();
        let batched = roles.graph_seen.batched().len();
        let value = roles.value(at, "/mcp", tool.name, &arguments).await;
        let mut graph = roles.graph_seen.calls().split_off(before);
        let batched = roles.graph_seen.batched().split_off(batched);
        graph.sort_unstable();

        // What is done is not done again: the other envelope gets a business of its own.
        let fresh = if tool.access == Access::Read { None } else { Some(self::roles().await) };
        let other = fresh.as_ref().unwrap_or(&roles);
        if fresh.is_some() {
            assert_eq!(self::arguments(other, tool).await, arguments, "{}: both businesses are alike", tool.name);
        }
        let over = other.tool(other.of(platform), "/mcp", tool.name, &arguments).await;
        assert_eq!(over["isError"], false, "{}: {over}", tool.name);
        assert_eq!(over["structuredContent"], value, "{}", tool.name);
        let text: Value = serde_json::from_str(over["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, value, "{}", tool.name);

        check_answer(tool, &arguments, &value);
        let list = roles.rpc(at, "/mcp", &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.json();
        let listed = list["result"]["tools"].as_array().unwrap().iter().find(|listed| listed["name"] == tool.name);
        let listed = listed.unwrap_or_else(|| panic!("{} is not listed", tool.name));
        assert_eq!(misfit(&listed["outputSchema"], &value, tool.name), None);
        assert_eq!(misfit(&listed["inputSchema"], &arguments, tool.name), None);
        assert_clean(&value.to_string());

        let example = json!({
            "request": arguments, "answer": cut(&value), "calls": graph.len(), "graph": edges(&graph, &batched, &arguments),
        });
        examples[usize::from(platform != Platform::ALL[0])].insert(tool.name.to_owned(), example);
        let whole = json!({"listed": listed, "arguments": arguments, "graph": graph, "value": value});
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_json_snapshot!(format!("{}__{}", platform.name(), tool.name), whole);
        });
    }
    for (platform, examples) in Platform::ALL.into_iter().zip(examples) {
        let now = format!("{:#}\n", Value::from(examples));
        let path = format!("src/platforms/{}/examples.json", platform.name().replace('-', "_"));
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")), now).unwrap();
        } else {
            assert!(now == platform.examples(), "{path} is old: as the snapshots, and then `make docs`");
        }
    }
}

/// With each list cut to its first row.
fn cut(value: &Value) -> Value {
    match value {
        Value::Array(rows) => rows.iter().take(1).map(cut).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), cut(value))).collect(),
        other => other.clone(),
    }
}

/// Edges that Graph expands within a call.
const EXPANDED: &[&str] = &[
    "business_discovery",
    "children",
    "comments",
    "insights",
    "media",
    "mentioned_comment",
    "mentioned_media",
    "messages",
    "replies",
];

/// The calls for people: words for ids, what is expanded, and how often each.
fn edges(calls: &[String], batched: &[String], arguments: &Value) -> Vec<String> {
    let counted = |calls: &[String]| {
        let mut all: Vec<(String, usize)> = Vec::new();
        for edge in calls.iter().map(|call| edge(call, arguments)) {
            match all.iter_mut().find(|(known, _)| *known == edge) {
                Some((_, count)) => *count += 1,
                None => all.push((edge, 1)),
            }
        }
        let times = |(edge, count)| if count == 1 { edge } else { format!("{edge} ×{count}") };
        all.into_iter().map(times).collect::<Vec<String>>()
    };
    let mut all = counted(calls);
    all.sort_by_key(|edge| (!edge.starts_with("GET "), edge.clone()));
    if !batched.is_empty() {
        let batch = all.iter_mut().find(|edge| edge.as_str() == "POST /").expect("one batch");
        *batch = format!("POST / with a batch of {}", counted(batched).join(" and "));
    }
    all
}

fn edge(call: &str, arguments: &Value) -> String {
    let (method, rest) = call.split_once(' ').unwrap();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let word = |segment: &str| {
        let sent = arguments.as_object().unwrap().iter().find(|(_, sent)| *sent == segment);
        let named = match segment {
            sandbox::IG_ACCOUNT => "ig",
            sandbox::PAGE => "page",
            _ if segment.starts_with("act_") => "ad_account",
            _ if segment.starts_with("18001") => "container",
            _ if segment.starts_with("178438") => "hashtag",
            _ => match sent {
                Some((name, _)) => name.trim_end_matches("_id"),
                None if segment.len() > 10 && segment.bytes().all(|b| b.is_ascii_digit()) => "media",
                None => return segment.to_owned(),
            },
        };
        format!("{{{named}}}")
    };
    let path: Vec<String> = path.trim_start_matches("/v26.0/").split('/').map(word).collect();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut expanded: Vec<&str> = Vec::new();
    for (at, _) in query.match_indices(['.', '{']) {
        let name = &query[query[..at].rfind(|c| !is_name(c)).map_or(0, |before| before + 1)..at];
        if EXPANDED.contains(&name) && !expanded.contains(&name) {
            expanded.push(name);
        }
    }
    let expanded = if expanded.is_empty() { String::new() } else { format!(" with {}", expanded.join(", ")) };
    format!("{method} /{}{expanded}", path.join("/"))
}

// The account.

#[tokio::test]
async fn a_profile_has_its_account_type_only_by_instagram_login() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    let (facebook, calls) = roles.counted("main", "get_profile", json!({})).await;
    assert_eq!(calls, 1);
    assert_eq!(facebook["account_type"], Value::Null);
    assert_eq!(facebook["id"], sandbox::IG_ACCOUNT);
    assert!(facebook["followers_count"].as_u64().is_some_and(|count| count > 100));
    let (instagram, calls) = roles.counted("login", "get_profile", json!({})).await;
    assert_eq!(calls, 1);
    assert_eq!(instagram["account_type"], "BUSINESS");
    assert_eq!(instagram["username"], facebook["username"]);
    assert_eq!(members(&instagram), members(&facebook));
    let asked = roles.graph_seen.calls();
    assert_eq!(asked.iter().filter(|call| call.contains("account_type")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn the_three_metrics_of_a_daily_report_are_one_call() {
    let roles = roles().await;
    let params = json!({"period": "day", "metrics": ["impressions", "reach", "profile_views"]});
    let (value, calls) = roles.counted("main", "get_account_insights", params).await;
    assert_eq!(calls, 1, "{:?}", roles.graph_seen.calls());
    let names = [
        "impressions",
        "impressions_source",
        "reach",
        "profile_views",
        "date",
        "since",
        "until",
        "provisional",
        "note",
    ];
    assert_eq!(members(&value), names);
    assert_eq!(
        [&value["date"], &value["since"], &value["until"], &value["provisional"], &value["impressions_source"]],
        [
            "2026-11-19".into(),
            "2026-11-19T08:00:00Z".into(),
            "2026-11-20T08:00:00Z".into(),
            json!(true),
            "views".into()
        ]
        .each_ref()
    );
    assert!(value["note"].as_str().is_some_and(|note| note.contains("removed impressions")), "{value}");
    let call = roles.graph_seen.calls().pop().unwrap();
    assert!(call.contains("metric=views,reach,profile_views&period=day"), "{call}");
}

#[tokio::test]
async fn metrics_cost_one_call_for_each_group() {
    let roles = roles().await;
    for (metrics, wanted) in [
        ("", 1),
        ("views,reach,likes,comments,saves,shares,replies,reposts,website_clicks", 1),
        ("impressions,plays,video_views,views", 1),
        ("follower_count", 1),
        ("follows,unfollows", 1),
        ("email_contacts,phone_call_clicks,text_message_clicks", 1),
        ("views,follower_count,follows,unfollows,email_contacts", 4),
    ] {
        let params = if metrics.is_empty() { json!({}) } else { json!({ "metrics": metrics }) };
        let (value, calls) = roles.counted("main", "get_account_insights", params).await;
        assert_eq!(calls, wanted, "{metrics}");
        for name in metrics.split(',').filter(|name| !name.is_empty() && *name != "text_message_clicks") {
            assert!(value[name].is_u64(), "{name} of {value}");
        }
    }
}

#[tokio::test]
async fn removed_names_are_served_from_their_successor_and_labelled() {
    let roles = roles().await;
    let old = "impressions,plays,video_views,engagement,saved,email_contacts,phone_call_clicks";
    let value = roles.ig("main", "get_account_insights", json!({ "metrics": old })).await;
    let now = roles.ig("main", "get_account_insights", json!({"metrics": "views,total_interactions,saves"})).await;
    for (name, source) in [
        ("impressions", "views"),
        ("plays", "views"),
        ("video_views", "views"),
        ("engagement", "total_interactions"),
        ("saved", "saves"),
        ("email_contacts", "profile_links_taps"),
        ("phone_call_clicks", "profile_links_taps"),
    ] {
        assert_eq!(value[format!("{name}_source")], source, "{value}");
        assert!(value["note"].as_str().unwrap().contains(name), "{value}");
        assert!(now.get(source).is_none_or(|current| *current == value[name]), "{name}");
    }
    assert!(members(&now).iter().all(|name| !name.ends_with("_source")), "{now}");
    assert_eq!(now["note"], Value::Null);
}

#[tokio::test]
async fn windows_are_those_of_los_angeles() {
    let roles = roles().await;
    for (params, date, since, until, provisional) in [
        (json!({"days_ago": 2}), json!("2026-11-18"), "2026-11-18T08:00:00Z", "2026-11-19T08:00:00Z", true),
        (json!({"days_ago": 3}), json!("2026-11-17"), "2026-11-17T08:00:00Z", "2026-11-18T08:00:00Z", false),
        (json!({"period": "week"}), json!(null), "2026-11-13T08:00:00Z", "2026-11-20T08:00:00Z", true),
        (
            json!({"period": "days_28", "days_ago": 4}),
            json!(null),
            "2026-10-20T07:00:00Z",
            "2026-11-17T08:00:00Z",
            false,
        ),
        (
            json!({"since": "2026-11-02", "until": "2026-11-02"}),
            json!("2026-11-02"),
            "2026-11-02T08:00:00Z",
            "2026-11-03T08:00:00Z",
            false,
        ),
        (
            json!({"since": "2026-11-02T10:00:00+01:00", "until": "2026-11-04T00:00:00Z"}),
            json!(null),
            "2026-11-02T09:00:00Z",
            "2026-11-04T00:00:00Z",
            false,
        ),
    ] {
        let (value, calls) = roles.counted("main", "get_account_insights", params.clone()).await;
        assert_eq!(calls, 1, "{params}");
        let came = [&value["date"], &value["since"], &value["until"], &value["provisional"]];
        assert_eq!(came, [&date, &json!(since), &json!(until), &json!(provisional)], "{params}");
    }
}

#[tokio::test]
async fn long_windows_are_added_up_and_reach_is_not() {
    let roles = roles().await;
    let (start, middle, end) = ("2026-09-20T08:00:00Z", "2026-10-20T08:00:00Z", "2026-11-19T08:00:00Z");
    let ask = async |since: &str, until: &str| {
        let metrics = "views,reach,accounts_engaged,likes";
        roles.counted("main", "get_account_insights", json!({"metrics": metrics, "since": since, "until": until})).await
    };
    let (whole, calls) = ask(start, end).await;
    assert_eq!(calls, 2, "one for each 30 days");
    let ((older, _), (newer, one)) = (ask(start, middle).await, ask(middle, end).await);
    assert_eq!(one, 1);
    for name in ["views", "likes"] {
        let sum = older[name].as_i64().unwrap() + newer[name].as_i64().unwrap();
        assert_eq!(whole[name], sum, "{name}");
    }
    for name in ["reach", "accounts_engaged"] {
        assert_eq!(whole[name], Value::Null, "{name} cannot be added up");
        assert_eq!(whole[format!("{name}_last_30_days")], newer[name], "{name}");
        assert!(newer.get(format!("{name}_last_30_days")).is_none());
    }
    assert!(whole["note"].as_str().unwrap().contains("cannot be added up"), "{whole}");
    let (year, calls) = ask("2025-11-25", "2026-11-18").await;
    assert_eq!(calls, 12);
    assert!(year["views"].as_i64().unwrap() > whole["views"].as_i64().unwrap());
}

#[tokio::test]
async fn a_refused_metric_is_null_with_a_note_and_not_asked_again() {
    let roles = roles().await;
    keep_faulty(&roles, "views_refused").await;
    let client = "views_refused";
    let params = json!({"metrics": ["impressions", "reach", "profile_views"]});
    let (value, calls) = roles.counted(client, "get_account_insights", params.clone()).await;
    assert_eq!(calls, 2, "all, then all but the refused one");
    assert_eq!((&value["impressions"], &value["impressions_source"]), (&Value::Null, &json!("views")));
    assert!(value["reach"].is_u64() && value["profile_views"].is_u64(), "{value}");
    assert!(value["note"].as_str().unwrap().contains("Meta refused views"), "{value}");
    let (again, calls) = roles.counted(client, "get_account_insights", params).await;
    assert_eq!((calls, &again), (1, &value), "the refusal is remembered");
    let (alone, calls) = roles.counted(client, "get_account_insights", json!({"metrics": "views"})).await;
    assert_eq!((calls, &alone["views"]), (0, &Value::Null));
    assert!(alone["note"].as_str().unwrap().contains("Meta refused views"), "{alone}");
    let (main, calls) = roles.counted("main", "get_account_insights", json!({"metrics": "views"})).await;
    assert!(calls == 1 && main["views"].is_u64(), "another account is not concerned: {main}");
}

#[tokio::test]
async fn a_small_account_has_nulls_and_the_note_says_why() {
    let roles = roles().await;
    roles.keep(&with("small", json!({"instagram_business_account_id": sandbox::SMALL_IG_ACCOUNT}))).await;
    let causes = ["under 100 followers", "there were none", "permission"];
    for (metrics, null, number) in [
        ("follower_count", "follower_count", None),
        ("follows,unfollows", "follows", None),
        ("reach,follower_count", "follower_count", Some("reach")),
    ] {
        let value = roles.ig("small", "get_account_insights", json!({ "metrics": metrics })).await;
        assert_eq!(value[null], Value::Null, "{metrics}");
        assert!(number.is_none_or(|name| value[name].is_u64()), "{value}");
        let note = value["note"].as_str().unwrap_or_else(|| panic!("{metrics}: {value}"));
        assert!(causes.iter().all(|cause| note.contains(cause)) && note.contains(null), "{metrics}: {note}");
    }
    let stories = roles.graph_ids(&format!("{}/stories", sandbox::SMALL_IG_ACCOUNT)).await;
    let story = roles.ig("small", "get_media_insights", json!({"media_id": stories[0]})).await;
    assert_eq!((&story["format"], &story["reach"]), (&json!("STORY"), &Value::Null));
    assert_eq!(story["insights_note"], "fewer than 5 people saw it");
}

#[tokio::test]
async fn follower_counts_reach_back_a_month_only() {
    let roles = roles().await;
    let params = json!({"metrics": "follower_count", "since": "2026-09-01", "until": "2026-09-10"});
    let (value, calls) = roles.counted("main", "get_account_insights", params).await;
    assert_eq!((calls, &value["follower_count"]), (0, &Value::Null), "Meta would refuse it");
    assert!(value["note"].as_str().unwrap().contains("30 days only"), "{value}");
}

#[tokio::test]
async fn without_the_permission_the_account_has_no_numbers_and_posts_have_none_either() {
    let roles = roles().await;
    roles.keep(&with("bare", json!({"access_token": sandbox::NO_INSIGHTS_TOKEN}))).await;
    let refused = roles.ig_refused("bare", "get_account_insights", json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (424, "missing_permission"), "{}", refused.text);

    let (list, calls) = roles.counted("bare", "get_recent_media", json!({"limit": 3})).await;
    assert_eq!(calls, 3, "with numbers, without, and what the token may do");
    for row in rows(&list) {
        assert_eq!((&row["views"], &row["engagement_rate"]), (&Value::Null, &Value::Null));
        assert_eq!(row["insights_note"], "the token lacks instagram_manage_insights");
        assert!(row["comments_count"].is_u64(), "{row}");
    }
    let (_, calls) = roles.counted("bare", "get_recent_media", json!({"limit": 3})).await;
    assert_eq!(calls, 2, "what the token may do is asked once");
    let id = ids(&list)[0].clone();
    let (post, calls) = roles.counted("bare", "get_media", json!({ "media_id": id })).await;
    assert_eq!((calls, &post["views"]), (2, &Value::Null));
    assert!(post["insights_note"].as_str().unwrap().contains("permission"), "{post}");
    let refused = roles.ig_refused("bare", "get_media_insights", json!({ "media_id": id })).await;
    assert_eq!(refused.code(), "missing_permission", "{}", refused.text);
}

#[tokio::test]
async fn windows_that_are_said_twice_and_words_of_elsewhere_are_refused_with_what_to_do() {
    let roles = roles().await;
    let before = roles.graph_seen.call_count();
    for (tool, params, says) in [
        ("get_account_insights", json!({"period": "day", "since": "2026-11-01"}), "period: since says already"),
        ("get_account_insights", json!({"days_ago": 2, "until": "2026-11-01"}), "days_ago: until says already"),
        ("get_account_insights", json!({"period": "lifetime"}), "use get_audience_demographics"),
        ("get_account_insights", json!({"period": "month"}), "use days_28, or since and until"),
        ("get_account_insights", json!({"metrics": "reach,audience_city"}), "use get_audience_demographics"),
        ("get_account_insights", json!({"metrics": "online_followers"}), "use get_online_followers"),
        ("get_account_insights", json!({"metrics": "reech"}), "did you mean reach?"),
        ("get_account_insights_by_day", json!({"days": 7, "since": "2026-11-01"}), "days: since says already"),
        ("get_account_insights_by_day", json!({"since": "2026-08-01"}), "since: the window may be 90 days"),
        ("get_account_insights_by_day", json!({"metrics": "views", "days": 31}), "take 31 Graph calls"),
        ("get_account_insights_by_day", json!({"metrics": "views,follows", "days": 16}), "take 32 Graph calls"),
        ("get_account_insights_by_day", json!({"metrics": "audience_country"}), "use get_audience_demographics"),
        ("get_account_insights_breakdown", json!({"metric": "likes", "by": "follow_type"}), "divides views, reach"),
        ("get_account_insights_breakdown", json!({"by": "follower_type"}), "did you mean follow_type?"),
        ("get_account_insights_breakdown", json!({"metric": "reach", "since": "2026-09-01"}), "30 days at most"),
        ("get_audience_demographics", json!({"timeframe": "last_30_days"}), "ended it in August 2024"),
        ("get_online_followers", json!({"timezone": "Europe/Leipzig"}), "a time zone such as"),
        ("compare_periods", json!({"days": 7, "since": "2026-11-01"}), "days: since says already"),
        ("compare_periods", json!({"compare_since": "2026-11-19"}), "compare_until: must not lie in the future"),
        ("get_account_report", json!({"date": "2026-11-20"}), "must not be after 2026-11-19"),
        ("get_account_report", json!({"date": "2026-11-18", "days_ago": 1}), "days_ago: date says already"),
    ] {
        let came = roles.ig_refused("main", tool, params.clone()).await;
        assert_eq!((came.status, came.code().as_str()), (400, "invalid_params"), "{tool} {params}: {}", came.text);
        assert!(came.message().contains(says), "{tool} {params}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before, "Graph was not asked");
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn sum(rows: &[Value], name: &str) -> i64 {
    rows.iter().map(|row| row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row}"))).sum()
}

#[tokio::test]
async fn days_of_series_are_one_call_and_other_metrics_one_a_day() {
    let roles = roles().await;
    for (params, wanted, len) in [
        (json!({}), 1, 7),
        (json!({"days": 30}), 2, 30), // the end of summer time is in it: 29 days and one
        (json!({"metrics": "reach", "days": 90}), 4, 90),
        (json!({"days": 60}), 4, 60), // new followers are there for 30 days only
        (json!({"metrics": "views,likes,profile_views", "days": 5}), 5, 5),
        (json!({"metrics": "impressions,reach,follower_count", "days": 3}), 4, 3),
        (json!({"metrics": "views,follows,unfollows", "days": 2}), 4, 2),
        (json!({"since": "2026-10-05T10:00:00Z", "until": "2026-10-07"}), 1, 3),
    ] {
        let (value, calls) = roles.counted("main", "get_account_insights_by_day", params.clone()).await;
        let days = list(&value, "days");
        assert_eq!((calls, days.len()), (wanted, len), "{params}: {:?}", roles.graph_seen.calls());
        let dates: Vec<&str> = days.iter().map(|row| row["date"].as_str().unwrap()).collect();
        assert!(dates.is_sorted(), "oldest first: {dates:?}");
    }
    let (value, _) = roles.counted("main", "get_account_insights_by_day", json!({"days": 3})).await;
    let days = list(&value, "days");
    assert_eq!((&days[2]["date"], &days[2]["provisional"]), (&json!("2026-11-19"), &json!(true)));
    assert_eq!((&days[0]["date"], &days[0]["provisional"]), (&json!("2026-11-17"), &json!(false)));
    assert!(days.iter().all(|row| row["reach"].is_u64() && row["follower_count"].is_u64()), "{value}");
    for row in days {
        let day = row["date"].as_str().unwrap();
        let params = json!({"metrics": "reach,follower_count", "since": day, "until": day});
        let total = roles.ig("main", "get_account_insights", params).await;
        assert_eq!((&total["reach"], &total["follower_count"]), (&row["reach"], &row["follower_count"]), "{day}");
    }
    let old = roles.ig("main", "get_account_insights_by_day", json!({"days": 40})).await;
    assert_eq!(list(&old, "days")[0]["follower_count"], Value::Null);
    assert!(list(&old, "days").iter().all(|row| row["reach"].is_u64()), "{old}");
    assert!(old["note"].as_str().unwrap().contains("reaches back 30 days only"), "{old}");
    let odd = json!({"since": "2026-11-05T10:00:00Z", "until": "2026-11-07"});
    let odd = roles.ig("main", "get_account_insights_by_day", odd).await;
    assert_eq!((list(&odd, "days").len(), &list(&odd, "days")[0]["date"]), (3, &json!("2026-11-05")));
    assert!(odd["note"].as_str().unwrap().contains("whole Los Angeles days"), "{odd}");
}

#[tokio::test]
async fn the_sum_of_new_followers_reaches_back_thirty_days_and_the_change_of_the_clock_costs_no_day() {
    let roles = roles().await;
    let days = roles.ig("main", "get_account_insights_by_day", json!({"metrics": "follower_count", "days": 30})).await;
    let params = json!({"metrics": "follower_count", "since": "2026-10-21"});
    let (value, calls) = roles.counted("main", "get_account_insights", params).await;
    assert_eq!((calls, value["follower_count"].as_i64()), (2, Some(sum(list(&days, "days"), "follower_count"))));
}

#[tokio::test]
async fn a_sum_names_the_days_that_it_lacks_wherever_it_stands() {
    let roles = roles().await;
    keep_faulty(&roles, "newest_day_late").await;
    let client = "newest_day_late";
    let week = json!({"metrics": "follower_count", "days": 7});
    let whole = roles.ig("main", "get_account_insights_by_day", week.clone()).await;
    let six: i64 = list(&whole, "days")[..6].iter().map(|row| row["follower_count"].as_i64().unwrap()).sum();
    let says = |value: &Value| {
        let note = value["note"].as_str().unwrap_or_else(|| panic!("{value}"));
        assert!(note.contains("no follower_count of 2026-11-19, and the sum is without it"), "{value}");
    };
    let params = json!({"metrics": "follower_count", "period": "week"});
    let totals = roles.ig(client, "get_account_insights", params).await;
    assert_eq!(totals["follower_count"], six);
    says(&totals);
    let report = roles.ig(client, "get_account_report", json!({"period": "week"})).await;
    assert_eq!(report["new_followers"], six);
    says(&report);
    let growth = roles.ig(client, "get_follower_growth", json!({"days": 7})).await;
    assert_eq!((&growth["gained"], &list(&growth, "days")[6]["new_followers"]), (&json!(six), &Value::Null));
    says(&growth);
    let compared = roles.ig(client, "compare_periods", week).await;
    assert_eq!(list(&compared, "metrics")[0]["current"], six);
    says(&compared);
}

#[tokio::test]
async fn an_old_name_is_divided_as_its_successor_and_labelled() {
    let roles = roles().await;
    for (old, now) in [
        ("impressions", "views"),
        ("plays", "views"),
        ("video_views", "views"),
        ("engagement", "total_interactions"),
        ("saved", "saves"),
    ] {
        let value = roles.ig("main", "get_account_insights_breakdown", json!({ "metric": old })).await;
        let same = roles.ig("main", "get_account_insights_breakdown", json!({ "metric": now })).await;
        assert_eq!((&value["metric"], &value["source"]), (&json!(old), &json!(now)));
        assert_eq!((&value["parts"], &value["total"]), (&same["parts"], &same["total"]));
        assert!(value["note"].as_str().unwrap().contains(&format!("removed {old}")), "{value}");
        assert_eq!((&same["source"], &same["note"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn every_answer_of_insights_says_its_window() {
    let roles = roles().await;
    for (tool, params) in [
        ("get_follower_growth", json!({"days": 1})),
        ("compare_periods", json!({"days": 1})),
        ("get_online_followers", json!({"days": 1})),
    ] {
        let value = roles.ig("main", tool, params).await;
        let date = if tool == "get_online_followers" { "2026-11-17" } else { "2026-11-19" };
        assert_eq!((&value["date"], value["provisional"].is_boolean()), (&json!(date), true), "{tool}: {value}");
        let week = roles.ig("main", tool, json!({"days": 7})).await;
        assert_eq!(week["date"], Value::Null, "{tool}");
    }
    let days = roles.ig("main", "get_account_insights_by_day", json!({"days": 7})).await;
    assert_eq!((&days["since"], &days["until"]), (&json!("2026-11-13T08:00:00Z"), &json!("2026-11-20T08:00:00Z")));
}

#[tokio::test]
async fn parts_of_a_metric_are_one_call_with_shares_of_its_total() {
    let roles = roles().await;
    for (params, metric, keys) in [
        (json!({}), "views", vec!["AD", "CAROUSEL", "POST", "REEL", "STORY"]),
        (json!({"by": "follow_type", "metric": "reach"}), "reach", vec!["FOLLOWER", "NON_FOLLOWER", "UNKNOWN"]),
        (
            json!({"by": "button", "period": "days_28"}),
            "profile_links_taps",
            vec!["CALL", "DIRECTION", "EMAIL", "UNDEFINED"],
        ),
        (json!({"metric": "saves", "period": "week"}), "saves", vec!["AD", "CAROUSEL", "POST", "REEL", "STORY"]),
    ] {
        let (value, calls) = roles.counted("main", "get_account_insights_breakdown", params.clone()).await;
        assert_eq!((calls, &value["metric"]), (1, &json!(metric)), "{params}");
        let parts = list(&value, "parts");
        let found: BTreeSet<&str> = parts.iter().map(|part| part["key"].as_str().unwrap()).collect();
        assert!(!found.is_empty() && found.iter().all(|key| keys.contains(key)), "{params}: {found:?}");
        assert!(parts.is_sorted_by_key(|part| std::cmp::Reverse(part["value"].as_i64())), "{value}");
        let total = value["total"].as_i64().unwrap();
        assert!(if metric == "reach" {
            sum(parts, "value") > total
        } else {
            (total - 5..=total).contains(&sum(parts, "value"))
        });
        for part in parts {
            let share = 100.0 * part["value"].as_f64().unwrap() / total as f64;
            assert!((part["share_pct"].as_f64().unwrap() - share).abs() < 0.006, "{part}");
        }
        let same =
            roles.ig("main", "get_account_insights", json!({"metrics": metric, "period": params["period"]})).await;
        assert_eq!(value["total"], same[metric], "{params}");
    }
    let long = json!({"since": "2026-09-20T08:00:00Z", "until": "2026-11-19T08:00:00Z"});
    let (value, calls) = roles.counted("main", "get_account_insights_breakdown", long).await;
    assert_eq!((calls, &value["date"]), (2, &Value::Null));
    assert!(list(&value, "parts").len() == 5 && value["total"].is_u64(), "{value}");
    keep_faulty(&roles, "views_refused").await;
    let (value, calls) = roles.counted("views_refused", "get_account_insights_breakdown", json!({})).await;
    assert_eq!((calls, list(&value, "parts").len(), &value["total"]), (1, 0, &Value::Null));
    assert!(value["note"].as_str().unwrap().contains("Meta refused views"), "{value}");
}

#[tokio::test]
async fn growth_of_followers_is_three_calls() {
    let roles = roles().await;
    for (params, wanted, len) in [(json!({}), 3, 28), (json!({"days": 7}), 3, 7), (json!({"days": 30}), 4, 30)] {
        let (value, calls) = roles.counted("main", "get_follower_growth", params.clone()).await;
        assert_eq!((calls, list(&value, "days").len()), (wanted, len), "{params}");
        assert_eq!(value["gained"].as_i64().unwrap(), sum(list(&value, "days"), "new_followers"), "{params}");
        let net = value["follows"].as_i64().unwrap() - value["unfollows"].as_i64().unwrap();
        assert_eq!(value["net"], net);
        assert!(value["followers_now"].as_i64().unwrap() > 100, "{value}");
    }
    roles.keep(&with("small", json!({"instagram_business_account_id": sandbox::SMALL_IG_ACCOUNT}))).await;
    let small = roles.ig("small", "get_follower_growth", json!({"days": 7})).await;
    assert!(small["followers_now"].as_i64().unwrap() < 100, "{small}");
    for name in ["gained", "follows", "unfollows", "net"] {
        assert_eq!(small[name], Value::Null, "{name}");
    }
    assert!(list(&small, "days").iter().all(|row| row["new_followers"].is_null()), "{small}");
    assert!(small["note"].as_str().unwrap().contains("under 100 followers"), "{small}");
    // In the first hours of a day the last complete one is two days back, and the month of Meta begins a day later.
    let early = Fixture { clock: Clock::fixed("2026-08-20T08:00:00Z".parse().unwrap()), ..Fixture::new() };
    let early = early.start().await;
    early.keep(&sample("main")).await;
    let (value, calls) = early.counted("main", "get_follower_growth", json!({"days": 30})).await;
    assert_eq!((calls, list(&value, "days").len()), (3, 29));
    assert!(value["gained"].is_u64() && value["since"] == "2026-07-21T07:00:00Z", "{value}");
}

#[tokio::test]
async fn refused_metrics_of_followers_are_null_wherever_they_are_asked() {
    let roles = roles().await;
    keep_faulty(&roles, "follows_refused").await;
    let client = "follows_refused";
    let params = json!({"metrics": "reach,follower_count,follows"});
    let (value, calls) = roles.counted(client, "get_account_insights", params.clone()).await;
    assert_eq!(calls, 3);
    assert!(value["reach"].is_u64() && value["follower_count"].is_null() && value["follows"].is_null(), "{value}");
    let note = value["note"].as_str().unwrap();
    assert!(
        note.contains("Meta refused") && note.contains("follower_count") && !note.contains("gave no numbers"),
        "{note}"
    );
    let (again, calls) = roles.counted(client, "get_account_insights", params).await;
    assert_eq!((calls, again["note"].as_str().map(str::len)), (1, Some(note.len())), "both refusals are remembered");
    let (days, calls) = roles.counted(client, "get_account_insights_by_day", json!({})).await;
    assert_eq!(calls, 1, "reach alone");
    assert!(list(&days, "days").iter().all(|row| row["reach"].is_u64() && row["follower_count"].is_null()), "{days}");
    let (growth, calls) = roles.counted(client, "get_follower_growth", json!({})).await;
    assert_eq!((calls, &growth["gained"], &growth["net"]), (1, &Value::Null, &Value::Null));
    assert!(growth["followers_now"].is_u64(), "{growth}");
    roles.keep(&sample("other")).await;
    let mixed = json!({"metrics": "follower_count,reach"});
    let (fresh, calls) = roles.counted("other", "get_account_insights_by_day", mixed).await;
    assert!(calls == 1 && list(&fresh, "days")[0]["follower_count"].is_u64(), "{fresh}");
}

#[tokio::test]
async fn a_series_goes_on_without_the_metric_that_meta_refuses() {
    let roles = roles().await;
    keep_faulty(&roles, "follows_refused").await;
    let (days, calls) = roles.counted("follows_refused", "get_account_insights_by_day", json!({})).await;
    assert_eq!(calls, 2, "both, then reach alone");
    assert!(list(&days, "days").iter().all(|row| row["reach"].is_u64() && row["follower_count"].is_null()), "{days}");
    assert!(days["note"].as_str().unwrap().contains("Meta refused follower_count"), "{days}");
}

#[tokio::test]
async fn audiences_are_one_call_for_each_division_without_metas_timeframe() {
    let roles = roles().await;
    for (params, wanted, timeframe) in [
        (json!({}), 4, json!(null)),
        (json!({"by": "country"}), 1, json!(null)),
        (json!({"audience": "engaged", "by": "age_gender"}), 1, json!("this_month")),
        (json!({"audience": "reached", "by": "city,gender", "timeframe": "this_week"}), 2, json!("this_week")),
    ] {
        let (value, calls) = roles.counted("main", "get_audience_demographics", params.clone()).await;
        assert_eq!((calls, &value["timeframe"]), (wanted, &timeframe), "{params}: {value}");
        let segments = list(&value, "segments");
        let divisions: BTreeSet<&str> = segments.iter().map(|row| row["by"].as_str().unwrap()).collect();
        assert_eq!(divisions.len() as u64, wanted);
        for by in divisions {
            let rows: Vec<&Value> = segments.iter().filter(|row| row["by"] == by).collect();
            let shares: f64 = rows.iter().map(|row| row["share_pct"].as_f64().unwrap()).sum();
            assert!((shares - 100.0).abs() < 0.3, "{by}: {shares}");
            for row in rows {
                let key = row["key"].as_str().unwrap();
                assert!(!["THIS_MONTH", "THIS_WEEK"].contains(&key), "{row}");
                assert_eq!(row["key2"].is_string(), by == "age_gender", "{row}");
                assert!(
                    by != "age_gender"
                        || (key.contains(['-', '+']) && ["F", "M", "U"].contains(&row["key2"].as_str().unwrap()))
                );
            }
        }
        assert_eq!(value["note"], Value::Null, "{value}");
    }
    let calls = roles.graph_seen.calls();
    let followers = calls.iter().filter(|call| call.contains("follower_demographics"));
    assert!(followers.clone().count() > 0 && followers.clone().all(|call| !call.contains("timeframe")), "{calls:?}");
    roles.keep(&with("small", json!({"instagram_business_account_id": sandbox::SMALL_IG_ACCOUNT}))).await;
    let small = roles.ig("small", "get_audience_demographics", json!({})).await;
    assert!(list(&small, "segments").is_empty(), "{small}");
    assert!(small["note"].as_str().unwrap().contains("under 100 followers"), "{small}");
}

#[tokio::test]
async fn online_hours_are_those_of_the_zone_and_the_newest_days_are_left_out() {
    let roles = roles().await;
    let (utc, calls) = roles.counted("main", "get_online_followers", json!({})).await;
    assert_eq!((calls, &utc["days_counted"], list(&utc, "hours").len()), (1, &json!(7), 24));
    assert_eq!((&utc["since"], &utc["until"]), (&json!("2026-11-11T08:00:00Z"), &json!("2026-11-18T08:00:00Z")));
    let berlin = roles.ig("main", "get_online_followers", json!({"timezone": "Europe/Berlin"})).await;
    for hour in 0..24 {
        let row = &list(&utc, "hours")[hour];
        assert_eq!(row["hour"], hour);
        assert!(row["average"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(list(&berlin, "hours")[(hour + 1) % 24]["average"], row["average"], "{hour}");
    }
    let (most, calls) = roles.counted("main", "get_online_followers", json!({"days": "30"})).await;
    assert_eq!((calls, &most["days_counted"]), (1, &json!(28)), "Meta keeps 30 days");
    roles.keep(&with("small", json!({"instagram_business_account_id": sandbox::SMALL_IG_ACCOUNT}))).await;
    let small = roles.ig("small", "get_online_followers", json!({})).await;
    assert!(list(&small, "hours").len() == 24 && list(&small, "hours").iter().all(|row| row["average"].is_null()));
    assert!(small["note"].as_str().unwrap().contains("under 100 followers"), "{small}");
}

#[tokio::test]
async fn two_periods_are_two_calls_and_reach_is_of_each_window() {
    let roles = roles().await;
    let (value, calls) = roles.counted("main", "compare_periods", json!({})).await;
    assert_eq!((calls, list(&value, "metrics").len()), (2, 5));
    let ends = ["since", "until", "compare_since", "compare_until"].map(|name| value[name].as_str().unwrap());
    assert_eq!(ends, ["2026-11-13T08:00:00Z", "2026-11-20T08:00:00Z", "2026-11-06T08:00:00Z", "2026-11-13T08:00:00Z"]);
    for (row, since, until, member) in list(&value, "metrics")
        .iter()
        .flat_map(|row| [(row, ends[0], ends[1], "current"), (row, ends[2], ends[3], "previous")])
    {
        let name = row["metric"].as_str().unwrap();
        let params = json!({"metrics": name, "since": since, "until": until});
        let one = roles.ig("main", "get_account_insights", params).await;
        assert_eq!(row[member], one[name], "{row}");
    }
    let params = json!({"metrics": "impressions,reach,follows", "since": "2026-09-21", "until": "2026-11-18"});
    let (long, calls) = roles.counted("main", "compare_periods", params).await;
    assert_eq!(calls, 8, "two groups, two slices, two windows");
    let rows = list(&long, "metrics");
    let names: Vec<&str> = rows.iter().map(|row| row["metric"].as_str().unwrap()).collect();
    assert_eq!(names, ["impressions", "reach", "reach_last_30_days", "follows"]);
    assert_eq!((&rows[0]["source"], &rows[1]["source"]), (&json!("views"), &Value::Null));
    assert_eq!((&rows[1]["current"], &rows[1]["change_pct"]), (&Value::Null, &Value::Null));
    assert!(rows[2]["current"].is_u64() && rows[2]["previous"].is_u64(), "{long}");
    assert!(long["note"].as_str().unwrap().contains("cannot be added up"), "{long}");
}

#[tokio::test]
async fn a_report_is_two_calls_and_says_the_same_as_the_tools_that_it_gathers() {
    let roles = roles().await;
    let metrics = [
        "views",
        "reach",
        "profile_views",
        "accounts_engaged",
        "total_interactions",
        "likes",
        "comments",
        "saves",
        "shares",
        "profile_links_taps",
    ];
    let mut shapes = BTreeSet::new();
    for (params, calls_wanted, since) in [
        (json!({}), 2, "2026-11-19T08:00:00Z"),
        (json!({"days_ago": 3}), 2, "2026-11-17T08:00:00Z"),
        (json!({"period": "week", "date": "2026-11-15"}), 2, "2026-11-09T08:00:00Z"),
        (json!({"period": "month"}), 3, "2026-10-21T08:00:00Z"), // the series is 29 days and one
        (json!({"period": "month", "date": "2026-10-10"}), 1, "2026-09-11T07:00:00Z"), // no new followers so far back
    ] {
        let (value, calls) = roles.counted("main", "get_account_report", params.clone()).await;
        assert_eq!((calls, value["since"].as_str().unwrap()), (calls_wanted, since), "{params}: {value}");
        shapes.insert(members(&value).join(","));
        let window = json!({"since": value["since"], "until": value["until"]});
        let mut all = window.clone();
        all["metrics"] = json!(metrics);
        let totals = roles.ig("main", "get_account_insights", all).await;
        for name in metrics {
            assert!(value[name].is_u64() && value[name] == totals[name], "{name} of {value}");
        }
        let rate = 100.0 * value["total_interactions"].as_f64().unwrap() / value["reach"].as_f64().unwrap();
        assert!((value["engagement_rate"].as_f64().unwrap() - rate).abs() < 0.006, "{value}");
        assert_eq!(value["new_followers"].is_u64(), calls_wanted > 1, "{value}");
        let mut list = window;
        list["limit"] = json!(100);
        let posts = roles.ig("main", "get_recent_media", list).await;
        assert_eq!(value["posts_published"], rows(&posts).len(), "{params}");
        let best = rows(&posts).iter().map(|row| row["total_interactions"].as_i64().unwrap()).max();
        assert_eq!(value["top_post_interactions"].as_i64(), best, "{params}");
        let top = rows(&posts).iter().find(|row| row["id"] == value["top_post_id"]);
        assert_eq!(top.map(|row| &row["permalink"]), top.map(|_| &value["top_post_permalink"]));
        assert_eq!((top.is_some(), &value["truncated"]), (best.is_some(), &json!(false)));
    }
    assert_eq!(shapes.len(), 1, "the same members whatever the period");
}

#[tokio::test]
async fn a_report_that_one_number_or_post_spoils_is_read_call_by_call() {
    let roles = roles().await;
    let week = json!({"period": "week", "date": "2026-11-17"});
    let main = roles.ig("main", "get_account_report", week.clone()).await;
    keep_faulty(&roles, "views_refused").await;
    let (value, calls) = roles.counted("views_refused", "get_account_report", week.clone()).await;
    // The whole, the series, followers, totals twice, and posts with their numbers.
    assert_eq!(calls, 1 + 1 + 1 + 2 + 1, "{:?}", roles.graph_seen.calls());
    assert_eq!(value["views"], Value::Null);
    for name in ["reach", "likes", "followers", "new_followers", "posts_published", "top_post_id", "engagement_rate"] {
        assert_eq!(value[name], main[name], "{name}");
    }
    assert!(value["note"].as_str().unwrap().contains("Meta refused views"), "{value}");
    let (again, calls) = roles.counted("views_refused", "get_account_report", week.clone()).await;
    assert_eq!((calls, again), (2, value), "the refusal is remembered");
    keep_faulty(&roles, "media_insights_refused").await;
    let value = roles.ig("media_insights_refused", "get_account_report", week).await;
    assert_eq!(value, main, "nothing is lost");
}

#[tokio::test]
async fn an_answer_without_numbers_is_a_missing_permission_only_where_one_is_missing() {
    let roles = roles().await;
    keep_faulty(&roles, "empty_data").await;
    let value = roles.ig("empty_data", "get_account_insights", json!({})).await;
    assert_eq!(value["reach"], Value::Null);
    let note = value["note"].as_str().unwrap();
    assert!(
        ["there were none", "under 100 followers", "permission"].iter().all(|cause| note.contains(cause)),
        "{note}"
    );

    let mut lacking = faulty(sandbox::Fault::named("empty_data").unwrap());
    lacking["client_id"] = "lacking".into();
    lacking["scopes"] = json!(["instagram_basic", "pages_show_list"]);
    roles.keep(&lacking).await;
    for (tool, params) in [
        ("get_account_insights", json!({})),
        ("get_account_insights", json!({"metrics": "follower_count"})),
        ("get_account_insights_by_day", json!({})),
        ("get_account_insights_breakdown", json!({})),
        ("get_audience_demographics", json!({})),
        ("get_online_followers", json!({})),
        ("compare_periods", json!({})),
    ] {
        let came = roles.ig_refused("lacking", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
        assert!(came.message().contains("instagram_manage_insights"), "{tool}: {}", came.text);
        let empty = roles.ig("empty_data", tool, json!({})).await;
        assert!(empty["note"].as_str().is_some_and(|note| note.contains("permission")), "{tool}: {empty}");
    }
    for tool in ["get_follower_growth", "get_account_report"] {
        let came = roles.ig_refused("empty_data", tool, json!({})).await;
        assert_eq!(came.code(), "meta_unavailable", "a list where the account belongs: {}", came.text);
    }
    roles.keep(&with("bare", json!({"access_token": sandbox::NO_INSIGHTS_TOKEN}))).await;
    for tool in ["get_follower_growth", "get_account_report", "get_online_followers", "get_audience_demographics"] {
        let came = roles.ig_refused("bare", tool, json!({})).await;
        assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{tool}: {}", came.text);
    }
}

#[tokio::test]
async fn the_accounts_numbers_are_the_same_by_both_logins() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    for tool in [
        "get_account_insights_by_day",
        "get_account_insights_breakdown",
        "get_follower_growth",
        "get_audience_demographics",
        "get_online_followers",
        "compare_periods",
        "get_account_report",
    ] {
        let (facebook, calls) = roles.counted("main", tool, json!({})).await;
        let (instagram, same) = roles.counted("login", tool, json!({})).await;
        assert_eq!((instagram, same), (facebook, calls), "{tool}");
    }
}

// Posts.

/// All pages of the list, and how many there were.
async fn walk(roles: &Roles, client: &str, params: Value) -> (Vec<Value>, usize) {
    let (mut all, mut params, mut pages) = (Vec::new(), params, 0);
    loop {
        let page = roles.ig(client, "get_recent_media", params.clone()).await;
        all.extend(rows(&page).iter().cloned());
        pages += 1;
        assert!(pages < 200, "the list ends");
        match &page["next_cursor"] {
            Value::Null => return (all, pages),
            cursor => params["cursor"] = cursor.clone(),
        }
    }
}

#[tokio::test]
async fn a_list_is_paged_to_its_end_with_each_post_once() {
    let roles = roles().await;
    let (small, pages) = walk(&roles, "main", json!({"limit": 17})).await;
    assert!(pages > 5, "{pages}");
    let (large, _) = walk(&roles, "main", json!({"limit": "100"})).await;
    let mut seen = HashSet::new();
    for row in &small {
        assert!(seen.insert(row["id"].as_str().unwrap()), "{} twice", row["id"]);
    }
    assert_eq!(small, large, "the size of a page changes nothing");
    let times: Vec<&str> = small.iter().map(|row| row["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    assert!(small.iter().any(|row| row["like_count"].is_null()), "hidden likes are null");
    assert!(small.iter().any(|row| row["caption"].is_null()), "no caption is null");

    // The oldest post was published before the account became a professional one: it alone has no numbers.
    let (last, others) = small.split_last().unwrap();
    assert_eq!((&last["views"], &last["total_interactions"]), (&Value::Null, &Value::Null));
    assert_eq!(last["insights_note"], "published before the account became a professional one");
    for row in others {
        assert!(row["views"].is_u64() && row["reach"].is_u64() && row["engagement_rate"].is_number(), "{row}");
        assert_eq!(row["insights_note"], Value::Null);
    }
    let formats: BTreeSet<&str> = small.iter().map(|row| row["format"].as_str().unwrap()).collect();
    assert_eq!(formats, BTreeSet::from(["CAROUSEL", "IMAGE", "REEL"]));

    let (reels, reel_pages) = walk(&roles, "main", json!({"limit": 17, "format": "REEL"})).await;
    assert_eq!(reel_pages, pages, "it filters after reading");
    let wanted: Vec<&Value> = small.iter().filter(|row| row["format"] == "REEL").collect();
    assert_eq!(reels.iter().collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn a_page_of_posts_with_numbers_is_one_call() {
    let roles = roles().await;
    for (params, len) in [
        (json!({}), 10),
        (json!({"limit": 1}), 1),
        (json!({"limit": 100}), 100),
        (json!({"limit": 5, "urls": true, "insights": false}), 5),
    ] {
        let (value, calls) = roles.counted("main", "get_recent_media", params.clone()).await;
        assert_eq!((calls, rows(&value).len()), (1, len), "{params}");
    }
    let (bare, _) = roles.counted("main", "get_recent_media", json!({"insights": false})).await;
    let call = roles.graph_seen.calls().pop().unwrap();
    assert!(!call.contains("insights"), "{call}");
    assert!(rows(&bare).iter().all(|row| row["views"].is_null() && row["insights_note"].is_null()), "{bare}");
}

#[tokio::test]
async fn signed_links_come_only_when_asked_for() {
    let roles = roles().await;
    let plain = roles.ig("main", "get_recent_media", json!({"limit": 30})).await;
    let linked = roles.ig("main", "get_recent_media", json!({"limit": 30, "urls": true})).await;
    for (plain, linked) in rows(&plain).iter().zip(rows(&linked)) {
        assert!(plain.get("media_url").is_none() && plain.get("thumbnail_url").is_none());
        let names = members(linked);
        assert_eq!(names[..names.len() - 2], members(plain)[..]);
        assert_eq!(names[names.len() - 2..], ["media_url", "thumbnail_url"]);
        assert_eq!(linked["thumbnail_url"].is_string(), linked["format"] == "REEL", "{linked}");
    }
    assert!(rows(&linked).iter().any(|row| row["media_url"].is_null()), "claimed by copyright is null");
}

#[tokio::test]
async fn dates_of_posts_are_los_angeles_days_and_until_is_in_them() {
    let roles = roles().await;
    let (all, _) = walk(&roles, "main", json!({"limit": 100, "insights": false})).await;
    for (since, until, from, to) in [
        (Some("2026-11-03"), Some("2026-11-12"), "2026-11-03T08:00:00Z", "2026-11-13T08:00:00Z"),
        (Some("2026-10-05"), Some("2026-10-25"), "2026-10-05T07:00:00Z", "2026-10-26T07:00:00Z"),
        (None, Some("2026-01-31T00:00:00Z"), "2000-01-01T00:00:00Z", "2026-01-31T00:00:00Z"),
        (Some("2026-11-15T00:00:00+01:00"), None, "2026-11-14T23:00:00Z", "2099-01-01T00:00:00Z"),
    ] {
        let mut params = json!({"limit": 4, "insights": false});
        for (name, text) in [("since", since), ("until", until)] {
            if let Some(text) = text {
                params[name] = text.into();
            }
        }
        let (found, _) = walk(&roles, "main", params).await;
        let wanted: Vec<&Value> =
            all.iter().filter(|row| (from..to).contains(&row["timestamp"].as_str().unwrap())).collect();
        assert!(!wanted.is_empty());
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{since:?} to {until:?}");
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_only() {
    let roles = roles().await;
    roles.keep(&sample("second")).await;
    let page = roles.ig("main", "get_recent_media", json!({"limit": 4})).await;
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let before = roles.graph_seen.call_count();
    for (name, client, params, says) in [
        ("another size", "main", json!({"limit": 5, "cursor": cursor}), "other parameters"),
        ("another filter", "main", json!({"limit": 4, "format": "REEL", "cursor": cursor}), "other parameters"),
        ("another window", "main", json!({"limit": 4, "since": "2026-01-01", "cursor": cursor}), "other parameters"),
        ("another client", "second", json!({"limit": 4, "cursor": cursor}), "other parameters"),
        ("a cut one", "main", json!({"limit": 4, "cursor": cursor[..20]}), "no next_cursor"),
        ("Meta's own", "main", json!({"limit": 4, "cursor": "MTc5MDEwMDAw"}), "no next_cursor"),
    ] {
        let came = roles.ig_refused(client, "get_recent_media", params).await;
        assert_eq!((came.status, came.code().as_str()), (400, "invalid_params"), "{name}: {}", came.text);
        assert!(came.message().starts_with("cursor: ") && came.message().contains(says), "{name}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before, "Graph was not asked");
    let same = roles.ig("main", "get_recent_media", json!({"limit": "4", "urls": false, "cursor": cursor})).await;
    assert_eq!(rows(&same).len(), 4, "defaults and spellings are the same parameters");

    let tool = Platform::Instagram.catalogue().iter().find(|tool| tool.name == "get_recent_media").unwrap();
    let args = Args::check(tool.params, json!({"limit": 4}).as_object().unwrap()).unwrap();
    let stale = Position::new(&"QVFIstale".parse().unwrap(), None, "get_recent_media/main", &args).encode();
    let came = roles.ig_refused("main", "get_recent_media", json!({"limit": 4, "cursor": stale})).await;
    assert_eq!(came.code(), "invalid_params", "{}", came.text);
    assert!(came.message().contains("start the list again"), "{}", came.text);
}

#[tokio::test]
async fn numbers_that_fail_the_list_are_read_post_by_post_in_one_batch() {
    let roles = roles().await;
    keep_faulty(&roles, "media_insights_refused").await;
    let (value, calls) = roles.counted("media_insights_refused", "get_recent_media", json!({"limit": 60})).await;
    assert_eq!(calls, 4, "the list, the bare list, batches of 50 and 10: {:?}", roles.graph_seen.calls());
    let main = roles.ig("main", "get_recent_media", json!({"limit": 60})).await;
    assert_eq!(rows(&value), rows(&main), "nothing is lost");
}

#[tokio::test]
async fn a_page_that_is_too_much_for_meta_is_asked_smaller() {
    let roles = roles().await;
    keep_faulty(&roles, "reduce_data").await;
    let before = roles.graph_seen.call_count();
    let came = roles.ig_refused("reduce_data", "get_recent_media", json!({"limit": 40})).await;
    assert_eq!((came.status, came.code().as_str()), (422, "rejected_by_meta"), "{}", came.text);
    assert!(came.message().contains("fewer rows"), "{}", came.text);
    let asked: Vec<String> = roles.graph_seen.calls().split_off(usize::try_from(before).unwrap());
    let sizes: Vec<&str> = asked.iter().map(|call| call.rsplit("limit=").next().unwrap()).collect();
    assert_eq!(sizes, ["40", "20", "10", "5"]);
}

#[tokio::test]
async fn an_answer_without_rows_is_an_empty_list() {
    let roles = roles().await;
    keep_faulty(&roles, "empty_data").await;
    let value = roles.ig("empty_data", "get_recent_media", json!({})).await;
    let note = "Meta gave no posts: there are none in this time, or a permission is missing";
    assert_eq!(value, json!({"media": [], "next_cursor": null, "note": note}));
    let mut lacking = faulty(sandbox::Fault::named("empty_data").unwrap());
    (lacking["client_id"], lacking["scopes"]) = ("lacking".into(), json!(["instagram_manage_insights"]));
    roles.keep(&lacking).await;
    let came = roles.ig_refused("lacking", "get_recent_media", json!({})).await;
    assert_eq!((came.status, came.code().as_str()), (424, "missing_permission"), "{}", came.text);
    assert!(came.message().contains("instagram_basic"), "{}", came.text);
}

/// A post of that format from the newest hundred.
async fn post_of(roles: &Roles, format: &str) -> Value {
    let page = roles.ig("main", "get_recent_media", json!({"limit": 100})).await;
    rows(&page).iter().find(|row| row["format"] == format).unwrap_or_else(|| panic!("no {format}")).clone()
}

#[tokio::test]
async fn a_post_in_full_has_its_items_and_a_reel_its_watch_times() {
    let roles = roles().await;
    let reel_only = ["avg_watch_time_ms", "total_watch_time_ms", "reels_skip_rate"];
    for (format, first, again) in [("IMAGE", 1, 1), ("CAROUSEL", 1, 1), ("REEL", 2, 1)] {
        let row = post_of(&roles, format).await;
        let params = json!({"media_id": row["id"]});
        let (post, calls) = roles.counted("main", "get_media", params.clone()).await;
        assert_eq!(calls, first, "{format}");
        let (same, calls) = roles.counted("main", "get_media", params).await;
        assert_eq!((calls, &same), (again, &post), "{format}: its kind is remembered");
        for (name, value) in row.as_object().unwrap() {
            assert_eq!(&post[name], value, "{name} of a {format} is as in the list");
        }
        assert_eq!(post["owner_id"], sandbox::IG_ACCOUNT);
        for name in reel_only {
            assert_eq!(post[name].is_number(), format == "REEL", "{name} of {post}");
        }
        let album = format == "CAROUSEL";
        assert_eq!(post["items"].as_array().map(Vec::len), post["items_count"].as_u64().map(|n| n as usize), "{post}");
        assert_eq!(post["items"].is_array(), album, "{post}");
        for item in post["items"].as_array().into_iter().flatten() {
            let names = ["id", "media_type", "media_url", "thumbnail_url", "permalink", "timestamp", "alt_text"];
            assert_eq!(members(item), names);
            assert!(item["id"].is_string() && item["media_type"].is_string(), "{item}");
        }
        for name in ["total_views_count", "total_like_count", "saved_count", "shares_count", "reposts_count"] {
            assert!(post[name].is_u64(), "{name} of {post}");
        }
    }
}

#[tokio::test]
async fn a_post_is_found_by_its_link_or_shortcode() {
    let roles = roles().await;
    let row = post_of(&roles, "IMAGE").await;
    let code = row["shortcode"].as_str().unwrap();
    let by_id = roles.ig("main", "get_media", json!({"media_id": row["id"]})).await;
    for params in [
        json!({"permalink": row["permalink"]}),
        json!({"permalink": format!("http://instagram.com/reel/{code}?igsh=abc")}),
        json!({"permalink": format!("www.instagram.com/tv/{code}/#top")}),
        json!({ "shortcode": code }),
    ] {
        let (post, calls) = roles.counted("main", "get_media", params.clone()).await;
        assert_eq!((calls, &post), (2, &by_id), "{params}");
    }
    let reel = post_of(&roles, "REEL").await;
    roles.keep(&sample("third")).await;
    let (found, calls) = roles.counted("third", "get_media", json!({"permalink": reel["permalink"]})).await;
    assert!(calls == 2 && found["avg_watch_time_ms"].is_u64(), "the walk has told that it is a reel: {found}");

    let (all, _) = walk(&roles, "main", json!({"limit": 100, "insights": false})).await;
    let oldest = all.last().unwrap()["shortcode"].clone();
    for (pages, calls, says) in [(1, 1, "newest 100 posts"), (2, 2, "newest 200 posts")] {
        let before = roles.graph_seen.call_count();
        let came = roles.ig_refused("main", "get_media", json!({"shortcode": oldest, "max_pages": pages})).await;
        assert_eq!(came.code(), "invalid_params", "{}", came.text);
        assert!(came.message().contains(says), "{}", came.text);
        assert_eq!(roles.graph_seen.call_count() - before, calls);
    }
    let (post, _) = roles.counted("main", "get_media", json!({ "shortcode": oldest })).await;
    assert_eq!(post["views"], Value::Null);
    assert_eq!(post["insights_note"], "published before the account became a professional one");
}

#[tokio::test]
async fn a_post_of_somebody_else_is_refused_by_meta() {
    let roles = roles().await;
    for tool in ["get_media", "get_media_insights"] {
        let came = roles.ig_refused("main", tool, json!({"media_id": "17903000000001000"})).await;
        assert_eq!((came.status, came.code().as_str()), (422, "rejected_by_meta"), "{tool}: {}", came.text);
        assert_eq!(came.json()["error"]["graph"]["subcode"], 33, "{}", came.text);
    }
}

#[tokio::test]
async fn each_kind_of_post_has_its_own_numbers() {
    let roles = roles().await;
    let stories = roles.graph_ids(&format!("{}/stories", sandbox::IG_ACCOUNT)).await;
    let shared = ["views", "reach", "shares", "total_interactions", "reposts"];
    let lasting = ["saved", "likes", "comments"];
    let (feed, both) = (["profile_activity"], ["follows", "profile_visits"]);
    let reels = ["avg_watch_time_ms", "total_watch_time_ms", "reels_skip_rate"];
    let story = ["replies", "link_clicks", "navigation", "taps_forward", "taps_back", "exits", "swipes"];
    for format in ["IMAGE", "CAROUSEL", "REEL", "STORY"] {
        let id = if format == "STORY" { json!(stories[0]) } else { post_of(&roles, format).await["id"].clone() };
        let (value, calls) = roles.counted("main", "get_media_insights", json!({ "media_id": id })).await;
        assert_eq!(calls, 2, "its kind, then all numbers in one batch: {format}");
        assert_eq!((&value["media_id"], &value["format"]), (&id, &json!(format)));
        let has = |names: &[&str], wanted: bool| {
            for name in names {
                assert_eq!(value[*name].is_number(), wanted, "{name} of a {format}: {value}");
            }
        };
        has(&shared, true);
        has(&lasting, format != "STORY");
        has(&feed, matches!(format, "IMAGE" | "CAROUSEL"));
        has(&both, format != "REEL");
        has(&reels, format == "REEL");
        has(&story, format == "STORY");
        assert_eq!(value["insights_note"], Value::Null, "{value}");
        let (again, calls) = roles.counted("main", "get_media_insights", json!({ "media_id": id })).await;
        assert_eq!((calls, again), (1, value), "the kind is remembered");
    }
    let navigation = roles.ig("main", "get_media_insights", json!({"media_id": stories[0]})).await;
    let steps: i64 = story[3..].iter().map(|name| navigation[*name].as_i64().unwrap()).sum();
    assert!((navigation["navigation"].as_i64().unwrap() - steps).abs() <= 4, "{navigation}");
}

#[tokio::test]
async fn chosen_metrics_are_the_only_ones_asked() {
    let roles = roles().await;
    let id = post_of(&roles, "REEL").await["id"].clone();
    let params = json!({"media_id": id, "metrics": "reach, avg_watch_time_ms, navigation"});
    let (value, calls) = roles.counted("main", "get_media_insights", params).await;
    assert_eq!(calls, 2);
    let call = roles.graph_seen.calls().pop().unwrap();
    assert!(call.ends_with("metric=reach,ig_reels_avg_watch_time"), "{call}");
    assert!(value["reach"].is_u64() && value["avg_watch_time_ms"].is_u64() && value["views"].is_null(), "{value}");
}

#[tokio::test]
async fn numbers_of_many_posts_are_few_batches_and_a_bad_one_costs_only_its_own() {
    let roles = roles().await;
    let (all, _) = walk(&roles, "main", json!({"limit": 100, "insights": false})).await;
    let newest: Vec<&Value> = all.iter().take(48).map(|row| &row["id"]).collect();
    let (gone, old) = (json!("17903000000001000"), &all.last().unwrap()["id"]);
    let wanted: Vec<&Value> = newest.iter().copied().chain([&gone, old]).collect();
    let (value, calls) = roles.counted("main", "get_media_insights", json!({ "media_ids": wanted })).await;
    // One question for each post and two more for a reel; the post that is not there has no kind, and so none.
    let reels = all.iter().take(48).filter(|row| row["format"] == "REEL").count();
    let batches = (49 + 2 * reels).div_ceil(50);
    assert_eq!(calls, 1 + batches as u64, "50 kinds in one, then the numbers: {:?}", roles.graph_seen.calls());
    assert_eq!(value["next_cursor"], Value::Null);
    let came: Vec<&Value> = rows(&value).iter().map(|row| &row["media_id"]).collect();
    assert_eq!(came, wanted, "in the order asked");
    for row in &rows(&value)[..48] {
        assert!(row["views"].is_u64() && row["insights_note"].is_null(), "{row}");
    }
    let [gone, old] = &rows(&value)[48..] else { panic!("{value}") };
    assert_eq!((&gone["views"], &gone["format"]), (&Value::Null, &Value::Null));
    assert_eq!(gone["insights_note"], "gone, or not visible to this token");
    assert_eq!((&old["views"], &old["format"]), (&Value::Null, &json!("IMAGE")));
    assert_eq!(old["insights_note"], "published before the account became a professional one");

    let one = roles.ig("main", "get_media_insights", json!({ "media_ids": wanted[0] })).await;
    assert_eq!(rows(&one).len(), 1, "a list of one is a list");
}

#[tokio::test]
async fn by_instagram_login_all_but_facebooks_own_numbers_are_there() {
    let roles = roles().await;
    roles.keep(&by_instagram_login("login")).await;
    let (list, calls) = roles.counted("login", "get_recent_media", json!({"limit": 4})).await;
    let main = roles.ig("main", "get_recent_media", json!({"limit": 4})).await;
    assert_eq!((calls, rows(&list)), (1, rows(&main)));
    let (post, calls) =
        roles.counted("login", "get_media", json!({"media_id": post_of(&roles, "IMAGE").await["id"]})).await;
    assert!(calls >= 1 && post["views"].is_u64(), "{post}");
    for name in ["total_views_count", "total_like_count", "saved_count", "shares_count", "reposts_count"] {
        assert_eq!(post[name], Value::Null, "{name}");
    }
    let (numbers, calls) = roles.counted("login", "get_media_insights", json!({"media_ids": ids(&list)[..2]})).await;
    assert!((4..=8).contains(&calls), "its host knows no batches: {calls}");
    assert!(rows(&numbers).iter().all(|row| row["reach"].is_u64()), "{numbers}");
    let asked = roles.graph_seen.calls();
    assert!(!asked.iter().any(|call| call.starts_with("POST")), "{asked:?}");
    let (value, calls) = roles.counted("login", "get_account_insights", json!({})).await;
    assert!(calls == 1 && value["views"].is_u64(), "{value}");
}

#[tokio::test]
async fn near_metas_limit_only_single_calls_go_out() {
    let roles = roles().await;
    keep_faulty(&roles, "ig_rate_limit").await;
    roles.ig_refused("ig_rate_limit", "get_profile", json!({})).await;
    let before = roles.graph_seen.call_count();
    for (tool, params) in [
        ("get_media_insights", json!({"media_ids": ["17901000000001000", "17901000000002000"]})),
        ("get_media", json!({"shortcode": "abc"})),
        ("get_account_insights", json!({"since": "2026-08-01"})),
        ("get_account_insights_by_day", json!({"metrics": "views"})),
        ("get_account_insights_breakdown", json!({"since": "2026-08-01"})),
        ("get_follower_growth", json!({})),
        ("get_audience_demographics", json!({})),
        ("compare_periods", json!({})),
        ("get_account_report", json!({})),
    ] {
        let came = roles.ig_refused("ig_rate_limit", tool, params).await;
        assert_eq!((came.status, came.code().as_str()), (429, "rate_limited"), "{tool}: {}", came.text);
        assert_eq!(came.json()["error"]["retry_after_s"], 1140, "{tool}: {}", came.text);
    }
    assert_eq!(roles.graph_seen.call_count(), before, "what costs several calls is not begun");
    let path = path_of("main");
    assert_eq!(
        roles.value(roles.instagram, &path, "get_account_insights", &json!({"since": "2026-08-01"})).await["reach"],
        Value::Null
    );
}
