//! Instagram: accounts, media, stories, comments, and the insights of accounts and media.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::business::{
    BUSINESSES, Format, HISTORY_DAYS, Post, Profile, REMARKS, day_of, los_angeles, overlapping, start_of,
};
use super::fields::{self, Field, Kind, Member, Paging, Params};
use super::graph::{Call, Host, unknown_path};
use super::oauth::INSIGHTS;
use super::rules::{Fault, Refusal, Usage};

/// The fields of an account with Facebook Login (`spec/IGUser.json`), and its edges.
pub const USER_KIND: Kind = Kind {
    name: "IGUser",
    known: "id ig_id username name biography website followers_count follows_count media_count \
            profile_picture_url has_profile_pic is_published legacy_instagram_user_id \
            shopping_product_tag_eligibility owner_business business_discovery media stories insights \
            content_publishing_limit",
    default: "id",
};

/// The same with Instagram Login (`spec/IGUserForIGOnlyAPI.json`).
pub const LOGIN_USER_KIND: Kind = Kind {
    name: "IGUserForIGOnlyAPI",
    known: "id user_id username name account_type biography website followers_count follows_count \
            media_count profile_picture_url media stories insights content_publishing_limit",
    default: "id",
};

/// The fields of a post or story (`spec/IGMedia.json`), and its edges.
pub const MEDIA_KIND: Kind = Kind {
    name: "IGMedia",
    known: "id caption media_type media_product_type media_url thumbnail_url permalink shortcode \
            timestamp username owner like_count comments_count is_comment_enabled is_shared_to_feed \
            alt_text children comments insights legacy_instagram_media_id ig_id \
            copyright_check_information boost_eligibility_info reposts_count saved_count shares_count \
            total_like_count total_comments_count total_views_count view_count",
    default: "id",
};

/// The same with Instagram Login (`spec/IGMediaForIGOnlyAPI.json`).
pub const LOGIN_MEDIA_KIND: Kind = Kind {
    name: "IGMediaForIGOnlyAPI",
    known: "id caption media_type media_product_type media_url thumbnail_url permalink shortcode \
            timestamp username owner like_count comments_count is_comment_enabled is_shared_to_feed \
            alt_text children comments insights",
    default: "id",
};

/// The fields of a comment (`spec/IGComment.json`), and its edge.
pub const COMMENT_KIND: Kind = Kind {
    name: "IGComment",
    known: "id text timestamp username from like_count hidden media parent_id user replies",
    default: "timestamp text id",
};

/// An account as it was reached: a reserved id of a fault is the sample business under another number.
struct Account<'a> {
    profile: &'static Profile,
    id: &'a str,
}

/// Answers for accounts, media and comments; `None` when `target` is none that the token reaches.
pub fn answer(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    if let Some(account) = account(call, target) {
        // The Instagram host was seen without usage headers on its own user.
        let uncounted = call.host == Host::Instagram && edge.is_empty();
        call.count_as(if uncounted { Usage::Uncounted } else { Usage::Instagram(account.id.to_owned()) });
        return Some(on_account(call, &account, edge));
    }
    let (profile, kind) = profiles(call).into_iter().find_map(|profile| {
        let rest = target.strip_prefix("17").filter(|rest| target.len() == 17 && rest.is_ascii())?;
        (rest.get(1..3)? == format!("{:02}", profile.number)).then_some((profile, &rest[..1]))
    })?;
    let owner = Account { profile, id: profile.id };
    call.count_as(Usage::Instagram(owner.id.to_owned()));
    match kind {
        "9" => {
            let post = call.sample.posts(profile, call.now).into_iter().find(|post| post.id[..14] == target[..14])?;
            match target[14..].parse::<i64>().ok()? {
                0 => Some(on_media(call, &owner, &post, edge)),
                item if item <= post.items && edge.is_empty() => {
                    Some(asked(call).and_then(|asked| child(&post, item, &asked)))
                }
                _ => None,
            }
        }
        "8" => {
            let story = call.sample.stories(profile, call.now).into_iter().find(|story| story.id == target)?;
            Some(on_media(call, &owner, &story, edge))
        }
        "7" if edge.is_empty() || edge == ["replies"] => {
            let post = call.sample.posts(profile, call.now).into_iter().find(|post| post.id[5..14] == target[5..14])?;
            let number = comments_of(call, &post).find(|number| comment_id(&post, *number) == target)?;
            let replies = Field { fields: Vec::new(), ..Field::plain("replies") };
            Some(asked(call).and_then(|asked| match edge {
                [] => comment(call, &post, number, &asked),
                _ => replies_to(call, &post, number, &Field { fields: asked, ..replies }),
            }))
        }
        _ => None,
    }
}

fn asked(call: &Call<'_>) -> Result<Vec<Field>, Refusal> {
    fields::parse(call.params.get("fields").unwrap_or_default())
}

/// The accounts that the token reaches: with Instagram Login only the one that logged in.
fn profiles(call: &Call<'_>) -> Vec<&'static Profile> {
    let all = call.token.business().map(|business| business.profiles).unwrap_or_default();
    let reached = if call.host == Host::Instagram { all.len().min(1) } else { all.len() };
    all[..reached].iter().collect()
}

fn account<'a>(call: &Call<'_>, target: &'a str) -> Option<Account<'a>> {
    let reached = profiles(call);
    let main = reached.first().copied()?;
    let by_login = call.host == Host::Instagram && (target == "me" || target == main.login_id);
    if by_login {
        return Some(Account { profile: main, id: main.id });
    }
    let faulty = call.token.business == Some(0) && target.starts_with("1784") && Fault::of_account(target).is_some();
    if faulty {
        return Some(Account { profile: main, id: target });
    }
    reached.into_iter().find(|profile| profile.id == target).map(|profile| Account { profile, id: target })
}

fn on_account(call: &Call<'_>, account: &Account<'_>, edge: &[&str]) -> Result<Value, Refusal> {
    match edge {
        [] => user(call, account, &asked(call)?),
        [name @ ("media" | "stories" | "insights" | "content_publishing_limit")] => {
            let fields = if *name == "insights" { Vec::new() } else { asked(call)? };
            let field = Field { name: (*name).to_owned(), params: call.params.clone(), fields };
            user_edge(call, account, &field)
        }
        _ => Err(unknown_path(edge)),
    }
}

fn user(call: &Call<'_>, account: &Account<'_>, asked: &[Field]) -> Result<Value, Refusal> {
    let profile = account.profile;
    let kind = if call.host == Host::Instagram { &LOGIN_USER_KIND } else { &USER_KIND };
    fields::project(kind, asked, |field| {
        let set = |text: &'static str| (!text.is_empty()).then(|| text.into());
        Ok(Member::from(match field.name.as_str() {
            "id" if call.host == Host::Instagram => Some(profile.login_id.into()),
            "id" | "user_id" => Some(account.id.into()),
            "ig_id" => account.id.get(8..).and_then(|digits| digits.parse::<i64>().ok()).map(Value::from),
            "username" => set(profile.username),
            "name" => set(profile.name),
            "biography" => set(profile.biography),
            "website" => set(profile.website),
            "account_type" => Some("BUSINESS".into()),
            "followers_count" => Some(call.sample.followers(profile, day_of(call.now, &los_angeles())).into()),
            "follows_count" => Some(profile.follows.into()),
            // Meta's count is approximate: 229 was seen where a walk found 243.
            "media_count" => Some((call.sample.posts(profile, call.now).len() * 94 / 100).into()),
            "profile_picture_url" => Some(signed(&format!("{}_p.jpg", profile.number)).into()),
            "has_profile_pic" | "is_published" => Some(true.into()),
            "business_discovery" => return discover(call, field).map(Member::Edge),
            "media" | "stories" | "insights" | "content_publishing_limit" => {
                return user_edge(call, account, field).map(Member::Edge);
            }
            _ => None,
        }))
    })
}

/// Another professional account by its username; any of the sample's can be found.
fn discover(call: &Call<'_>, field: &Field) -> Result<Value, Refusal> {
    call.count_as(Usage::App); // discovery counts against the app, not the account
    let username = field.params.get("username").unwrap_or_default();
    let Some(profile) = BUSINESSES.iter().flat_map(|business| business.profiles).find(|p| p.username == username)
    else {
        let user = Some(("Cannot find User", "The user with that username cannot be found."));
        return Err(Refusal { subcode: Some(2_207_013), user, ..Refusal::new(110, "Invalid user id") });
    };
    fields::project(&USER_KIND, &field.fields, |field| {
        let found = Account { profile, id: profile.id };
        match field.name.as_str() {
            "media" => {
                let mut list = media_list(call, &found, field, call.sample.posts(profile, call.now), true)?;
                // Nested paging of discovery has cursors and never links.
                if let Some(paging) = list.get_mut("paging").and_then(Value::as_object_mut) {
                    paging.retain(|name, _| name == "cursors");
                }
                Ok(Member::Edge(list))
            }
            "stories" | "insights" | "content_publishing_limit" | "business_discovery" => Err(Refusal::permission()),
            _ => {
                let one = user(call, &found, std::slice::from_ref(field))?;
                Ok(Member::from(one.get(&field.name).cloned()))
            }
        }
    })
}

fn user_edge(call: &Call<'_>, account: &Account<'_>, field: &Field) -> Result<Value, Refusal> {
    match field.name.as_str() {
        "media" => {
            let since = field.params.get("since").map(moment).transpose()?.unwrap_or(i64::MIN);
            let until = field.params.get("until").map(moment).transpose()?.unwrap_or(i64::MAX);
            let mut posts = call.sample.posts(account.profile, call.now);
            posts.retain(|post| (since..until).contains(&post.at.as_second()));
            media_list(call, account, field, posts, false)
        }
        "stories" => media_list(call, account, field, call.sample.stories(account.profile, call.now), false),
        "insights" => account_insights(call, account, &field.params),
        _ => {
            let config = json!({"quota_total": 100, "quota_duration": 86_400});
            let usage = call.sample.between(0, 3, "quota", day_of(call.now, &los_angeles()));
            let has = |name: &str| field.fields.iter().any(|field| field.name == name);
            let mut row = Map::new();
            if has("quota_usage") || field.fields.is_empty() {
                row.insert("quota_usage".to_owned(), usage.into());
            }
            if has("config") {
                row.insert("config".to_owned(), config);
            }
            Ok(json!({"data": [row]}))
        }
    }
}

fn media_list(
    call: &Call<'_>,
    account: &Account<'_>,
    field: &Field,
    posts: Vec<Post>,
    discovered: bool,
) -> Result<Value, Refusal> {
    let path = format!("{}/{}", account.id, field.name);
    let paging = Paging { path: &path, limits: (25, 100), links: true };
    fields::page(
        call,
        &paging,
        &field.params,
        &posts,
        |_, post| post.id.clone(),
        |post| {
            let insights = field.fields.iter().find(|inner| inner.name == "insights");
            match insights {
                Some(_) if discovered => return Err(Refusal::permission()),
                Some(insights) if call.has("media_insights_refused") => {
                    let metrics = insights.params.list("metric");
                    return Err(unfit(metrics.first().map_or("views", String::as_str)));
                }
                _ => {}
            }
            media(call, account, post, &field.fields, discovered)
        },
    )
}

fn on_media(call: &Call<'_>, owner: &Account<'_>, post: &Post, edge: &[&str]) -> Result<Value, Refusal> {
    match edge {
        [] => media(call, owner, post, &asked(call)?, false),
        ["insights"] => media_insights(call, post, &call.params),
        ["children"] => children(post, &asked(call)?),
        ["comments"] => comments(
            call,
            post,
            &Field { params: call.params.clone(), fields: asked(call)?, ..Field::plain("comments") },
        ),
        _ => Err(unknown_path(edge)),
    }
}

fn media(
    call: &Call<'_>,
    owner: &Account<'_>,
    post: &Post,
    asked: &[Field],
    discovered: bool,
) -> Result<Value, Refusal> {
    let kind = if call.host == Host::Instagram { &LOGIN_MEDIA_KIND } else { &MEDIA_KIND };
    let count = |metric: &str| Some(call.sample.lifetime(post, metric).into());
    let story = post.format == Format::Story;
    fields::project(kind, asked, |field| {
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(post.id.clone().into()),
            "caption" if call.has("token_in_error") => Some(format!("Our token is {}!", call.text).into()),
            "caption" => post.caption.map(Value::from),
            "media_type" => Some(post.format.media_type().into()),
            "media_product_type" => Some(post.format.product_type().into()),
            "media_url" if post.flagged || (discovered && post.format == Format::Carousel) => None,
            "media_url" => {
                let ending = if post.format == Format::Reel { "mp4" } else { "jpg" };
                Some(signed(&format!("{}.{ending}", post.id)).into())
            }
            "thumbnail_url" if post.format == Format::Reel => Some(signed(&format!("{}_t.jpg", post.id)).into()),
            "permalink" => {
                let place = match post.format {
                    Format::Reel => "reel".to_owned(),
                    Format::Story => format!("stories/{}", post.profile.username),
                    Format::Image | Format::Carousel => "p".to_owned(),
                };
                Some(format!("https://www.instagram.com/{place}/{}/", shortcode(post)).into())
            }
            "shortcode" => Some(shortcode(post).into()),
            "timestamp" => Some(stamp(post.at).into()),
            "username" => Some(owner.profile.username.into()),
            "owner" if !discovered => Some(json!({"id": owner.id})),
            "like_count" if post.hides_likes || story => None,
            "like_count" => count("likes"),
            "comments_count" => count(if story { "none" } else { "comments" }),
            "is_comment_enabled" => Some((!story).into()),
            "is_shared_to_feed" if post.format == Format::Reel => Some(true.into()),
            "alt_text" if post.format == Format::Image && post.day % 2 == 0 => Some("A cup of tea on a table".into()),
            "view_count" if discovered && post.format == Format::Reel => count("views"),
            "reposts_count" => count("reposts"),
            "saved_count" => count("saved"),
            "shares_count" => count("shares"),
            "total_like_count" => count("total_likes"),
            "total_comments_count" => count("total_comments"),
            "total_views_count" => count("total_views"),
            "children" if post.items > 0 => return children(post, &field.fields).map(Member::Edge),
            "comments" if call.sample.lifetime(post, "comments") > 0 && !story => {
                return comments(call, post, field).map(Member::Edge);
            }
            "insights" => return media_insights(call, post, &field.params).map(Member::Edge),
            _ => None,
        }))
    })
}

/// The items of an album: no caption, no insights, no paging.
fn children(post: &Post, asked: &[Field]) -> Result<Value, Refusal> {
    let rows: Vec<Value> = (1..=post.items).map(|item| child(post, item, asked)).collect::<Result<_, _>>()?;
    Ok(json!({ "data": rows }))
}

fn child(post: &Post, item: i64, asked: &[Field]) -> Result<Value, Refusal> {
    let id = format!("{}{item:03}", &post.id[..14]);
    let video = item % 3 == 2;
    fields::project(&MEDIA_KIND, asked, |field| {
        Ok(Member::from(match field.name.as_str() {
            "media_type" => Some(if video { "VIDEO" } else { "IMAGE" }.into()),
            "media_url" => Some(signed(&format!("{id}.{}", if video { "mp4" } else { "jpg" })).into()),
            "thumbnail_url" if video => Some(signed(&format!("{id}_t.jpg")).into()),
            "timestamp" => Some(stamp(post.at).into()),
            "username" => Some(post.profile.username.into()),
            "id" => Some(id.clone().into()),
            "insights" => return Err(Refusal::parameter("Insights are not available for items of an album.")),
            _ => None,
        }))
    })
}

/// The numbers of a post's comments, newest first. At most 60, fewer than `comments_count` at times, as with Meta.
fn comments_of(call: &Call<'_>, post: &Post) -> impl Iterator<Item = i64> + use<> {
    (1..=call.sample.lifetime(post, "comments").min(60)).rev()
}

fn comment_id(post: &Post, number: i64) -> String {
    format!("177{}{number:03}", &post.id[3..14])
}

fn comments(call: &Call<'_>, post: &Post, field: &Field) -> Result<Value, Refusal> {
    let path = format!("{}/comments", post.id);
    let paging = Paging { path: &path, limits: (25, 50), links: true };
    let numbers: Vec<i64> = comments_of(call, post).collect();
    fields::page(
        call,
        &paging,
        &field.params,
        &numbers,
        |_, number| comment_id(post, *number),
        |number| comment(call, post, *number, &field.fields),
    )
}

fn comment(call: &Call<'_>, post: &Post, number: i64, asked: &[Field]) -> Result<Value, Refusal> {
    let draw = |what: &str, high| call.sample.between(0, high, &format!("{}/{number}/{what}", post.id), post.day);
    fields::project(&COMMENT_KIND, asked, |field| {
        let guest = draw("guest", 899);
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(comment_id(post, number).into()),
            "text" => usize::try_from(draw("text", 7)).ok().and_then(|at| REMARKS.get(at)).map(|text| (*text).into()),
            "timestamp" => Some(stamp(later(post.at, number * 1_140)).into()),
            "username" => Some(format!("guest_{guest}").into()),
            "from" => Some(json!({"id": format!("33{guest:015}"), "username": format!("guest_{guest}")})),
            "like_count" => Some(draw("likes", 6).into()),
            "hidden" => Some((draw("hidden", 30) == 0).into()),
            "media" => Some(json!({"id": post.id, "media_product_type": post.format.product_type()})),
            "replies" if number % 3 == 0 => return replies_to(call, post, number, field).map(Member::Edge),
            _ => None,
        }))
    })
}

/// The owner answers every third comment.
fn replies_to(call: &Call<'_>, post: &Post, number: i64, field: &Field) -> Result<Value, Refusal> {
    if number % 3 != 0 {
        return Ok(json!({"data": []}));
    }
    let profile = post.profile;
    let reply = fields::project(&COMMENT_KIND, &field.fields, |field| {
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(comment_id(post, number).replacen("177", "176", 1).into()),
            "text" => Some("Thank you! \u{1f375}".into()),
            "timestamp" => Some(stamp(later(post.at, number * 1_140 + 420)).into()),
            "username" => Some(profile.username.into()),
            "from" => Some(json!({"id": profile.id, "username": profile.username})),
            "user" => Some(json!({"id": profile.id})),
            "like_count" => Some(call.sample.between(0, 2, &post.id, number).into()),
            "hidden" => Some(false.into()),
            "parent_id" => Some(comment_id(post, number).into()),
            "media" => Some(json!({"id": post.id, "media_product_type": post.format.product_type()})),
            _ => None,
        }))
    })?;
    Ok(json!({ "data": [reply] }))
}

fn shortcode(post: &Post) -> String {
    format!("DQ{}{:x}{}", post.profile.number, post.day * 7919, &post.id[14..])
}

/// A link as Meta signs them; it serves nothing.
fn signed(file: &str) -> String {
    format!("https://scontent.example.test/v/{file}?oh=00_sandbox&oe=6A1B2C3D")
}

/// A moment as Instagram writes it, which is not RFC 3339.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(jiff::Span::new().seconds(seconds)).unwrap_or(at)
}

/// `since` or `until` in unix seconds: a number, a date at Los Angeles midnight, or RFC 3339.
fn moment(text: &str) -> Result<i64, Refusal> {
    let bounded = |second: i64| Timestamp::from_second(second).is_ok().then_some(second);
    let dated = || text.parse::<Date>().ok().map(|date| start_of(super::business::number_of(date), &los_angeles()));
    let told = || text.parse::<Timestamp>().ok();
    let second = match text.parse::<i64>() {
        Ok(second) => bounded(second),
        Err(_) => told().or_else(dated).map(Timestamp::as_second),
    };
    second.ok_or_else(|| Refusal::parameter(format!("{text} is not a valid time")))
}

/// What Graph knows of an account metric (`data/ig_insights.json`).
struct Metric {
    name: &'static str,
    /// Empty when the account cannot have it, as all of Threads.
    periods: &'static [&'static str],
    series: bool,
    total: bool,
    breakdowns: &'static [&'static str],
    /// Silent below 100 followers.
    private: bool,
}

const DAY: &[&str] = &["day"];
const LIFETIME: &[&str] = &["lifetime"];
const PEOPLE: &[&str] = &["age", "city", "country", "gender"];
const PRODUCT: &[&str] = &["media_product_type"];

const fn total(name: &'static str, breakdowns: &'static [&'static str]) -> Metric {
    Metric { name, periods: DAY, series: false, total: true, breakdowns, private: false }
}
const fn demographics(name: &'static str) -> Metric {
    Metric { periods: LIFETIME, private: true, ..total(name, PEOPLE) }
}
const fn series(name: &'static str, periods: &'static [&'static str]) -> Metric {
    Metric { periods, series: true, total: false, private: true, ..total(name, &[]) }
}
const fn threads(name: &'static str) -> Metric {
    Metric { periods: &[], ..total(name, &[]) }
}

/// In the order in which Graph lists them when it refuses a name.
const METRICS: &[Metric] = &[
    Metric {
        total: true,
        breakdowns: &["media_product_type", "follow_type"],
        private: false,
        ..series("reach", &["day", "week", "days_28"])
    },
    series("follower_count", DAY),
    total("website_clicks", &[]),
    total("profile_views", &[]),
    series("online_followers", LIFETIME),
    total("accounts_engaged", &[]),
    total("total_interactions", PRODUCT),
    total("likes", PRODUCT),
    total("comments", PRODUCT),
    total("shares", PRODUCT),
    total("saves", PRODUCT),
    total("replies", &[]),
    demographics("engaged_audience_demographics"),
    demographics("reached_audience_demographics"),
    demographics("follower_demographics"),
    Metric { private: true, ..total("follows_and_unfollows", &["follow_type"]) },
    total("profile_links_taps", &["contact_button_type"]),
    total("views", &["follow_type", "media_product_type"]),
    threads("threads_likes"),
    threads("threads_replies"),
    total("reposts", &[]),
    threads("quotes"),
    threads("threads_followers"),
    threads("threads_follower_demographics"),
    total("content_views", &[]),
    threads("threads_views"),
    threads("threads_clicks"),
    threads("threads_reposts"),
];

const PERIODS: &[&str] = &["day", "week", "days_28", "month", "lifetime", "total_over_range"];
const TIMEFRAMES: &[&str] = &["last_14_days", "last_30_days", "last_90_days", "prev_month", "this_month", "this_week"];
const BREAKDOWNS: &[&str] =
    &["media_product_type", "follow_type", "contact_button_type", "age", "city", "country", "gender"];
/// The widest window, 30 days in seconds.
const WIDEST: i64 = 2_592_000;
/// Below this many followers some metrics are silent.
const ENOUGH: i64 = 100;

fn account_insights(call: &Call<'_>, account: &Account<'_>, params: &Params) -> Result<Value, Refusal> {
    if !INSIGHTS.iter().any(|permission| call.token.may(permission)) {
        return Err(Refusal::permission());
    }
    if call.has("token_in_error") {
        return Err(Refusal::parameter(format!("Cannot read the insights with token {}", call.text)));
    }
    let asked = AskedInsights::read(call, params)?;
    let profile = account.profile;
    let today = day_of(call.now, &los_angeles());
    let too_small = call.sample.followers(profile, today) < ENOUGH;
    let rows = asked.metrics.iter().filter(|metric| !(metric.private && too_small));
    let rows: Vec<Value> = rows.filter_map(|metric| asked.row(call, account, metric)).collect();
    let mut answer = json!({ "data": rows });
    if !rows.is_empty() && asked.period != "lifetime" {
        // Shifted windows, always there: they never end.
        let path = format!("{}/insights", account.id);
        let width = asked.until - asked.since;
        let link = |since: i64| {
            let mut query = params.0.clone();
            query.retain(|(name, _)| !matches!(name.as_str(), "since" | "until"));
            query.push(("since".to_owned(), since.to_string()));
            query.push(("until".to_owned(), (since + width).to_string()));
            call.link(&path, &query)
        };
        answer["paging"] = json!({"previous": link(asked.since - width), "next": link(asked.until)});
    }
    Ok(answer)
}

/// The parameters of `/{ig}/insights`, checked; one misfit refuses the whole call.
struct AskedInsights {
    metrics: Vec<&'static Metric>,
    period: String,
    as_total: bool,
    breakdowns: Vec<String>,
    timeframe: Option<String>,
    /// Unix seconds.
    since: i64,
    until: i64,
    windowed: bool,
}

impl AskedInsights {
    fn read(call: &Call<'_>, params: &Params) -> Result<Self, Refusal> {
        let required = |name: &str| Refusal::parameter(format!("The parameter {name} is required"));
        let names = params.list("metric");
        if names.is_empty() {
            return Err(required("metric"));
        }
        let known: Vec<&Metric> =
            METRICS.iter().filter(|metric| !(metric.name == "views" && call.has("views_refused"))).collect();
        let mut metrics = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let found = known.iter().find(|metric| metric.name == *name);
            let listed = || {
                let values: Vec<&str> = known.iter().map(|metric| metric.name).collect();
                Refusal::one_of(&format!("metric[{at}]"), &values)
            };
            metrics.push(*found.ok_or_else(listed)?);
        }
        let period = params.get("period").ok_or_else(|| required("period"))?;
        if !PERIODS.contains(&period) {
            return Err(Refusal::one_of("period", PERIODS));
        }
        if let Some(metric) = metrics.iter().find(|metric| metric.periods.is_empty()) {
            let name = metric.name;
            return Err(Refusal::parameter(format!("The metric ({name}) is not available for this account")));
        }
        let metric_type = params.get("metric_type");
        let as_total = match metric_type {
            None | Some("time_series") => false,
            Some("total_value") => true,
            Some(_) => return Err(Refusal::one_of("metric_type", &["time_series", "total_value"])),
        };
        let unfit: Vec<&str> = metrics
            .iter()
            .filter(|metric| if as_total { !metric.total } else { !metric.series })
            .map(|metric| metric.name)
            .collect();
        match (unfit.first(), metric_type) {
            (None, _) => {}
            (Some(_), None) => {
                let names = unfit.join(",");
                return Err(Refusal::parameter(format!(
                    "The following metrics ({names}) should be specified with parameter metric_type=total_value"
                )));
            }
            (Some(name), Some(given)) => {
                let message = format!("The following metric ({name}) is incompatible with the metric type ({given})");
                return Err(Refusal::parameter(message));
            }
        }
        if let Some(metric) = metrics.iter().find(|metric| !metric.periods.contains(&period)) {
            let name = metric.name; // nobody has published Meta's wording
            return Err(Refusal::parameter(format!(
                "The following metric ({name}) is incompatible with the period ({period})"
            )));
        }
        let asked = Self {
            breakdowns: params.list("breakdown"),
            timeframe: params.get("timeframe").map(str::to_owned),
            period: period.to_owned(),
            metrics,
            as_total,
            since: 0,
            until: 0,
            windowed: params.get("since").is_some() || params.get("until").is_some(),
        };
        asked.check_parts()?;
        asked.within_window(call, params)
    }

    /// Breakdowns and timeframes.
    fn check_parts(&self) -> Result<(), Refusal> {
        if self.breakdowns.iter().any(|name| !BREAKDOWNS.contains(&name.as_str())) {
            return Err(Refusal::one_of("breakdown", BREAKDOWNS));
        }
        for metric in &self.metrics {
            let people = metric.breakdowns == PEOPLE;
            let several = self.breakdowns.len() > 1 && !people;
            let fits = |name: &String| metric.breakdowns.contains(&name.as_str());
            if several || !self.breakdowns.iter().all(fits) || (!self.as_total && !self.breakdowns.is_empty()) {
                return Err(Refusal::new(1, "An unknown error has occurred.")); // documented without a status
            }
            if !people {
                continue;
            }
            let name = metric.name;
            let missing = |what: &str| Refusal::parameter(format!("The metric ({name}) requires the parameter {what}"));
            if self.breakdowns.is_empty() {
                return Err(missing("breakdown"));
            }
            let allowed = if name == "follower_demographics" { TIMEFRAMES } else { &TIMEFRAMES[4..] };
            match &self.timeframe {
                None if name == "follower_demographics" => {}
                None => return Err(missing("timeframe")),
                Some(timeframe) if allowed.contains(&timeframe.as_str()) => {}
                Some(_) => return Err(Refusal::one_of("timeframe", allowed)),
            }
        }
        Ok(())
    }

    /// Without a window the last 24 hours.
    fn within_window(mut self, call: &Call<'_>, params: &Params) -> Result<Self, Refusal> {
        let now = call.now.as_second();
        let since = params.get("since").map(moment).transpose()?;
        let until = params.get("until").map(moment).transpose()?;
        self.until = until.unwrap_or(now);
        self.since = since.unwrap_or(self.until - 86_400);
        if self.since > self.until {
            return Err(Refusal::parameter("since must not be after until"));
        }
        if self.until - self.since > WIDEST {
            return Err(Refusal::parameter("There cannot be more than 30 days (2592000 s) between since and until"));
        }
        let zone = los_angeles();
        let earliest = start_of(day_of(call.now, &zone) - 30, &zone).as_second();
        if self.since < earliest && self.metrics.iter().any(|metric| metric.name == "follower_count") {
            let message =
                "(follower_count) metric only supports querying data for the last 30 days excluding the current day";
            return Err(Refusal::parameter(message));
        }
        Ok(self)
    }

    /// One metric's row; none when there is no data, which is never 0.
    fn row(&self, call: &Call<'_>, account: &Account<'_>, metric: &Metric) -> Option<Value> {
        let name = metric.name;
        let mut row = json!({"name": name, "period": self.period});
        let content = if metric.breakdowns == PEOPLE {
            ("total_value", self.people(call, account.profile, name)?)
        } else if name == "online_followers" {
            ("values", self.online(call, account.profile))
        } else if self.as_total {
            ("total_value", self.total(call, account.profile, name)?)
        } else {
            ("values", self.series(call, account.profile, name)?)
        };
        let title = |row: &mut Value| {
            row["title"] = title_of(name).into();
            row["description"] = format!("{} of the sample business.", title_of(name)).into();
        };
        // Meta puts the values of a series before the title, and totals after it.
        if content.0 == "values" {
            row["values"] = content.1;
            title(&mut row);
        } else {
            title(&mut row);
            row["total_value"] = content.1;
        }
        row["id"] = format!("{}/insights/{name}/{}", account.id, self.period).into();
        Some(row)
    }

    fn total(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let counted = |metric: &str| counted(call, profile, metric, self.since, self.until);
        let breakdown = self.breakdowns.first().map(String::as_str);
        if name == "follows_and_unfollows" {
            // Without the breakdown the row comes without a value.
            let parts = [("FOLLOWER", counted("follower_count")?), ("NON_FOLLOWER", counted("unfollows")?)];
            return Some(breakdown.map_or_else(|| json!({}), |key| json!({"breakdowns": [results(key, &parts)]})));
        }
        let value = counted(name)?;
        let weights: &[(&str, i64)] = match breakdown {
            None => return Some(json!({ "value": value })),
            Some("media_product_type") => {
                &[("AD", 30), ("CAROUSEL_CONTAINER", 210), ("POST", 160), ("REEL", 540), ("STORY", 60)]
            }
            Some("follow_type") => &[("FOLLOWER", 410), ("NON_FOLLOWER", 560), ("UNKNOWN", 30)],
            Some(_) => &[("CALL", 190), ("DIRECTION", 230), ("EMAIL", 380), ("UNDEFINED", 200)],
        };
        // Somebody reached by a reel and by a post is in both parts, so parts of reach sum to more than the whole.
        let scale = if name == "reach" { 115 } else { 100 };
        let parts = split(value, weights).map(|(key, part)| (key, (part * scale / 100).min(value)));
        let parts: Vec<(&str, i64)> = parts.filter(|(_, part)| *part > 0).collect();
        let key = breakdown.unwrap_or_default();
        Some(json!({"value": value, "breakdowns": [results(key, &parts)]}))
    }

    /// One value a day for the days that begin within the window; `end_time` is the midnight that ends the day.
    fn series(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let zone = los_angeles();
        let today = day_of(call.now, &zone);
        let newest = if name == "follower_count" { today - 1 } else { today };
        let width = match self.period.as_str() {
            "week" => 7,
            "days_28" => 28,
            _ => 1,
        };
        let day_at = |second: i64| Timestamp::from_second(second).map_or(today, |at| day_of(at, &zone));
        let first = day_at(self.since).max(today - HISTORY_DAYS + width);
        let values: Vec<Value> = (first..=day_at(self.until).min(newest))
            .filter_map(|day| {
                let (start, end) = (start_of(day, &zone), start_of(day + 1, &zone));
                if !(self.since..self.until).contains(&start.as_second()) {
                    return None;
                }
                let from = start_of(day + 1 - width, &zone).as_second();
                let value = counted(call, profile, name, from, end.as_second())?;
                Some(json!({"value": value, "end_time": stamp(end)}))
            })
            .collect();
        (!values.is_empty()).then(|| values.into())
    }

    /// Followers online by hour; the newest days are not known yet and come as `{}`.
    fn online(&self, call: &Call<'_>, profile: &Profile) -> Value {
        let zone = los_angeles();
        let today = day_of(call.now, &zone);
        let day_at = |second: i64| Timestamp::from_second(second).map_or(today, |at| day_of(at, &zone));
        let asked = if self.windowed { (day_at(self.since), day_at(self.until)) } else { (today - 3, today) };
        let days = asked.0.max(today - 30)..asked.1.min(today);
        let values = days.map(|day| {
            let followers = call.sample.followers(profile, day);
            // Quiet nights in Europe are afternoons in Los Angeles.
            let hour = |hour: i64| {
                let lively = 60 + 40 * (12 - (hour - 10).rem_euclid(24)).abs() / 12;
                let online =
                    followers * lively / 500 * call.sample.between(90, 110, &format!("online/{hour}"), day) / 100;
                (hour.to_string(), Value::from(online))
            };
            let hours: Map<String, Value> = if day > today - 3 { Map::new() } else { (0..24).map(hour).collect() };
            json!({"value": hours, "end_time": stamp(start_of(day + 1, &zone))})
        });
        values.collect()
    }

    fn people(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let (whole, month) = match name {
            "follower_demographics" => {
                (call.sample.followers(profile, day_of(call.now, &los_angeles())) * 97 / 100, true)
            }
            "engaged_audience_demographics" => (0, self.timeframe.as_deref() == Some("this_month")),
            _ => (0, true),
        };
        let whole = if whole > 0 {
            whole
        } else {
            let days = if month { 28 } else { 7 };
            let metric = if name.starts_with("engaged") { "accounts_engaged" } else { "reach" };
            let now = call.now.as_second();
            counted(call, profile, metric, now - days * 86_400, now)?
        };
        if whole < ENOUGH {
            return None;
        }
        let mut rows: Vec<(Vec<String>, i64)> = vec![(Vec::new(), whole)];
        for breakdown in &self.breakdowns {
            let divided = rows.into_iter().flat_map(|(keys, value)| {
                split(value, segments(breakdown)).map(move |(key, part)| {
                    let keys: Vec<String> = keys.iter().cloned().chain([key.to_owned()]).collect();
                    (keys, part)
                })
            });
            rows = divided.filter(|(_, part)| *part > 0).collect();
        }
        rows.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
        rows.truncate(45); // Meta gives the top 45
        let timeframe = self.timeframe.iter().map(|name| name.to_uppercase());
        let results: Vec<Value> = rows
            .into_iter()
            .map(|(keys, value)| {
                let keys: Vec<String> = timeframe.clone().chain(keys).collect();
                json!({"dimension_values": keys, "value": value})
            })
            .collect();
        let prefix = self.timeframe.iter().map(|_| "timeframe".to_owned());
        let keys: Vec<String> = prefix.chain(self.breakdowns.iter().cloned()).collect();
        Some(json!({"breakdowns": [{"dimension_keys": keys, "results": results}]}))
    }
}

/// What a metric counted between two moments, days at the edge by their share; `None` without history.
fn counted(call: &Call<'_>, profile: &Profile, metric: &str, since: i64, until: i64) -> Option<i64> {
    let zone = los_angeles();
    let today = day_of(call.now, &zone);
    let oldest = start_of(today - HISTORY_DAYS, &zone).as_second();
    let (since, until) = (since.max(oldest), until.min(call.now.as_second()));
    if since >= until {
        return None;
    }
    let first = day_of(Timestamp::from_second(since).ok()?, &zone);
    let parts = (first..=today).map(|day| {
        let (start, end) = (start_of(day, &zone).as_second(), start_of(day + 1, &zone).as_second());
        let seconds = (end.min(until) - start.max(since)).max(0);
        call.sample.daily(profile, metric, day) * seconds / (end - start).max(1)
    });
    let parts: Vec<i64> = parts.collect();
    let sum = parts.iter().sum();
    let additive = !matches!(metric, "reach" | "accounts_engaged");
    Some(if additive { sum } else { overlapping(sum, parts.into_iter().max().unwrap_or_default()) })
}

fn results(key: &str, parts: &[(&str, i64)]) -> Value {
    let rows = parts.iter().map(|(name, value)| json!({"dimension_values": [name], "value": value}));
    json!({"dimension_keys": [key], "results": rows.collect::<Vec<_>>()})
}

/// Divides a count by weights in thousandths; the parts sum to no more than the whole.
fn split<'a>(value: i64, weights: &'a [(&'static str, i64)]) -> impl Iterator<Item = (&'static str, i64)> + use<'a> {
    let mut below = 0;
    weights.iter().map(move |(key, weight)| {
        let part = value * (below + weight) / 1000 - value * below / 1000;
        below += weight;
        (*key, part)
    })
}

/// Who the audience is, in thousandths.
#[rustfmt::skip]
fn segments(breakdown: &str) -> &'static [(&'static str, i64)] {
    match breakdown {
        "age" => {
            &[("13-17", 14), ("18-24", 168), ("25-34", 391), ("35-44", 237), ("45-54", 118), ("55-64", 51), ("65+", 21)]
        }
        "gender" => &[("F", 642), ("M", 281), ("U", 77)],
        "country" => &[
            ("DE", 548), ("AT", 88), ("CH", 71), ("FR", 46), ("NL", 39), ("US", 37), ("GB", 33), ("PL", 26),
            ("IT", 21), ("JP", 18), ("ES", 12), ("BE", 9),
        ],
        _ => &[
            ("Leipzig, Saxony", 131), ("Berlin, Berlin", 104), ("Hamburg, Hamburg", 52), ("Vienna, Vienna", 41),
            ("Munich, Bavaria", 38), ("Dresden, Saxony", 33), ("Z\u{fc}rich, Canton of Z\u{fc}rich", 24),
            ("Lyon, Auvergne-Rh\u{f4}ne-Alpes", 9),
        ],
    }
}

fn title_of(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Which product types a media metric has: FEED, REELS, STORY (`data/ig_insights.json`).
const MEDIA_METRICS: &[(&str, [bool; 3])] = &[
    ("views", [true, true, true]),
    ("reach", [true, true, true]),
    ("total_interactions", [true, true, true]),
    ("shares", [true, true, true]),
    ("reposts", [true, true, true]),
    ("facebook_views", [true, true, true]),
    ("total_views", [true, true, true]),
    ("likes", [true, true, false]),
    ("comments", [true, true, false]),
    ("saved", [true, true, false]),
    ("total_likes", [true, true, false]),
    ("total_comments", [true, true, false]),
    ("follows", [true, false, true]),
    ("profile_visits", [true, false, true]),
    ("profile_activity", [true, false, true]),
    ("navigation", [false, false, true]),
    ("replies", [false, false, true]),
    ("link_clicks", [false, false, true]),
    ("ig_reels_avg_watch_time", [false, true, false]),
    ("ig_reels_video_view_total_time", [false, true, false]),
    ("reels_skip_rate", [false, true, false]),
    ("crossposted_views", [false, true, false]),
];
/// Gone for good; the text names them, unlike names that never were.
const MEDIA_REMOVED: &[&str] =
    &["impressions", "plays", "clips_replays_count", "ig_reels_aggregated_all_plays_count", "video_views"];

fn unfit(metric: &str) -> Refusal {
    Refusal::parameter(format!(
        "The Media Insights API does not support the {metric} metric for this media product type."
    ))
}

/// Lifetime totals of one post or story; one misfit refuses the whole call.
fn media_insights(call: &Call<'_>, post: &Post, params: &Params) -> Result<Value, Refusal> {
    if !INSIGHTS.iter().any(|permission| call.token.may(permission)) {
        return Err(Refusal::permission());
    }
    let metrics = params.list("metric");
    if metrics.is_empty() {
        return Err(Refusal::parameter("The parameter metric is required"));
    }
    if params.get("period").is_some_and(|period| period != "lifetime") {
        return Err(Refusal::one_of("period", LIFETIME));
    }
    let invalid = |subcode, title, text| Refusal {
        subcode: Some(subcode),
        user: Some((title, text)),
        ..Refusal::new(100, "Invalid parameter")
    };
    let column = match post.format {
        Format::Image | Format::Carousel => 0,
        Format::Reel => 1,
        Format::Story => 2,
    };
    for (at, name) in metrics.iter().enumerate() {
        if MEDIA_REMOVED.contains(&name.as_str()) {
            let message = format!(
                "Starting from version v22.0 and above, the {name} metric is no longer supported for the queried media."
            );
            return Err(Refusal::new(100, message));
        }
        let Some((_, products)) = MEDIA_METRICS.iter().find(|(known, _)| known == name) else {
            let names: Vec<&str> = MEDIA_METRICS.iter().map(|(name, _)| *name).collect();
            return Err(Refusal::one_of(&format!("metric[{at}]"), &names));
        };
        let elsewhere = call.host == Host::Instagram && name.starts_with("total_") && name != "total_interactions";
        if !products[column] || elsewhere {
            return Err(unfit(name));
        }
        let crossposted = post.format == Format::Reel && post.day % 2 == 0;
        if matches!(name.as_str(), "facebook_views" | "crossposted_views") && !crossposted {
            return Err(invalid(2_207_086, "Not shared to Facebook", "This media was not shared to Facebook."));
        }
    }
    if post.before_switch {
        let title = "Media posted before business account conversion";
        return Err(invalid(2_108_006, title, "The media was posted before the account became a business account."));
    }
    if post.unseen {
        return Err(Refusal::new(10, "(#10) Not enough viewers for the media to show insights"));
    }
    let breakdown = params.get("breakdown");
    let fitting = match breakdown {
        None => "",
        Some("action_type") => "profile_activity",
        Some("story_navigation_action_type") => "navigation",
        Some(_) => return Err(Refusal::one_of("breakdown", &["action_type", "story_navigation_action_type"])),
    };
    if breakdown.is_some() && metrics.iter().any(|name| name != fitting) {
        return Err(Refusal::new(1, "An unknown error has occurred."));
    }
    let rows = metrics.iter().map(|name| {
        let shared = matches!(name.as_str(), "facebook_views" | "crossposted_views");
        let value = if shared { call.sample.lifetime(post, "views") / 9 } else { call.sample.lifetime(post, name) };
        let mut row = json!({
            "name": name, "period": "lifetime", "values": [{"value": value}], "title": title_of(name),
            "description": format!("{} of the post over its life.", title_of(name)),
        });
        if let Some(key) = breakdown {
            let weights: &[(&str, i64)] = if fitting == "navigation" {
                &[("SWIPE_FORWARD", 110), ("TAP_BACK", 90), ("TAP_EXIT", 170), ("TAP_FORWARD", 630)]
            } else {
                &[("BIO_LINK_CLICKED", 720), ("EMAIL", 90), ("OTHER", 190)]
            };
            let parts: Vec<(&str, i64)> = split(value, weights).filter(|(_, part)| *part > 0).collect();
            row["total_value"] = json!({"value": value, "breakdowns": [results(key, &parts)]});
        }
        row["id"] = format!("{}/insights/{name}/lifetime", post.id).into();
        row
    });
    Ok(json!({"data": rows.collect::<Vec<_>>()}))
}
