//! Instagram: accounts, media and stories, and the insights of media; the rest of it in files of its own.

mod comments;
mod discovery;
mod hashtags;
mod insights;
mod more;

use hyper::Method;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::business::{Format, Post, Profile, day_of, los_angeles, start_of};
use super::fields::{self, Field, Kind, Member, Paging, Params};
use super::graph::{Call, Host, unknown_path};
use super::oauth::{INSIGHTS, PUBLISH};
use super::rules::{Fault, Refusal, Usage};
use super::{messages, publish};
use comments::comments;
use discovery::{discover, tags};
use insights::{LIFETIME, account_insights, results, split, title_of};

pub use more::{INVITED, MENTIONED_COMMENT, MENTIONED_MEDIA, served_rows};

/// The fields of an account with Facebook Login (`spec/IGUser.json`), and its edges.
pub const USER_KIND: Kind = Kind {
    name: "IGUser",
    known: "id ig_id username name biography website followers_count follows_count media_count \
            profile_picture_url has_profile_pic is_published legacy_instagram_user_id \
            shopping_product_tag_eligibility owner_business business_discovery mentioned_media mentioned_comment media stories tags insights \
            content_publishing_limit",
    default: "id",
};

/// The same with Instagram Login (`spec/IGUserForIGOnlyAPI.json`).
pub const LOGIN_USER_KIND: Kind = Kind {
    name: "IGUserForIGOnlyAPI",
    known: "id user_id username name account_type biography website followers_count follows_count \
            media_count profile_picture_url media stories tags insights content_publishing_limit",
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
    let main = profiles(call).first().copied();
    if let Some(found) = main.filter(|_| edge.is_empty()).and_then(|main| messages::node(call, target, main)) {
        return Some(found);
    }
    if target.starts_with("180") && edge.is_empty() {
        return publish::container(call, target, &profiles(call));
    }
    if call.host == Host::Facebook
        && let Some(answer) = hashtags::answer(call, target, edge)
    {
        return Some(answer);
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
        "5" | "6" | "7" => comments::node(call, &call.sample.posts(profile, call.now), target, edge),
        _ => None,
    }
}

/// Changes what the token reaches; `None` when `target` is none of it.
pub fn change(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    if let Some(account) = account(call, target) {
        call.count_as(Usage::Instagram(account.id.to_owned()));
        if edge == ["messages"] && call.host == Host::Instagram {
            return Some(messages::send(call, account.profile));
        }
        let more = if let [name] = edge { more::change(call, &account, name) } else { None };
        return Some(more.unwrap_or_else(|| publish::on_account(call, account.profile, edge)));
    }
    if target.starts_with("180") {
        return publish::container(call, target, &profiles(call));
    }
    let profile = profiles(call)
        .into_iter()
        .find(|profile| target.len() == 17 && target.is_ascii() && target[3..5] == format!("{:02}", profile.number))?;
    call.count_as(Usage::Instagram(profile.id.to_owned()));
    let posts = call.sample.posts(profile, call.now);
    match &target[..3] {
        "179" => posts.iter().find(|post| post.id == target).map(|post| change_media(call, post, edge)),
        "175" | "176" | "177" => comments::change(call, profile, &posts, target, edge),
        _ => None,
    }
}

fn change_media(call: &Call<'_>, post: &Post, edge: &[&str]) -> Result<Value, Refusal> {
    match edge {
        [] if *call.method == Method::DELETE => {
            if call.host == Host::Instagram || !call.token.may("instagram_manage_contents") {
                return Err(Refusal::permission());
            }
            call.sample.world.delete(&post.id);
            Ok(json!({ "success": true, "deleted_id": post.id }))
        }
        [] => match call.params.get("comment_enabled") {
            Some(open) => {
                call.sample.world.set_open(&post.id, open == "true");
                Ok(json!({ "success": true }))
            }
            None => Err(Refusal::parameter("The parameter comment_enabled is required")),
        },
        ["comments"] => comments::write(call, post.profile, &post.id, None),
        ["product_tags"] => more::tag_products(call, &post.id),
        _ => Err(unknown_path(edge)),
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
        ["conversations"] if call.host == Host::Instagram => messages::conversations(call, "me", account.profile),
        [name @ ("media" | "stories" | "tags" | "insights" | "content_publishing_limit")] => {
            let fields = if *name == "insights" { Vec::new() } else { asked(call)? };
            let field = Field { name: (*name).to_owned(), params: call.params.clone(), fields };
            user_edge(call, account, &field)
        }
        [name] => more::on_account(call, account, name).unwrap_or_else(|| Err(unknown_path(edge))),
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
            "mentioned_media" | "mentioned_comment" => return more::mentioned(call, field).map(Member::Edge),
            "media" | "stories" | "tags" | "insights" | "content_publishing_limit" => {
                return user_edge(call, account, field).map(Member::Edge);
            }
            _ => None,
        }))
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
        "tags" => tags(call, account, field),
        "insights" => account_insights(call, account, &field.params),
        _ if !PUBLISH.iter().any(|permission| call.token.may(permission)) => Err(Refusal::permission()),
        _ => {
            let config = json!({"quota_total": publish::QUOTA, "quota_duration": 86_400});
            let usage = call.sample.published(account.profile, call.now);
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
        [] => {
            publish::before_media(call, post);
            media(call, owner, post, &asked(call)?, false)
        }
        ["insights"] => media_insights(call, post, &call.params),
        ["children"] => children(post, &asked(call)?),
        ["product_tags"] => more::product_tags(call, &post.id),
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
            "caption" => post.caption.as_deref().map(Value::from),
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
            "is_comment_enabled" => Some((!story && call.sample.world.is_open(&post.id)).into()),
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

fn shortcode(post: &Post) -> String {
    // Posts that were made here differ in the middle of their ids, the sample's in their days.
    let made = if &post.id[5..6] == "1" { &post.id[6..14] } else { "" };
    format!("DQ{}{:x}{made}{}", post.profile.number, post.day * 7919, &post.id[14..])
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

/// What some accounts cannot have of pictures and albums, against Meta's table (seen in 2025 and 2026).
fn is_refused(format: Format, metric: &str) -> bool {
    match format {
        Format::Image => matches!(metric, "views" | "shares"),
        Format::Carousel => metric == "views",
        Format::Reel | Format::Story => false,
    }
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
        if !products[column] || elsewhere || (call.has("media_metrics_refused") && is_refused(post.format, name)) {
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
