//! Accounts of others: business discovery, and posts of others that tag the account.

use serde_json::{Value, json};

use super::super::business::{BUSINESSES, CAPTIONS, HISTORY_DAYS, Profile, date_of, day_of, los_angeles, start_of};
use super::super::fields::{self, Field, Member, Paging};
use super::super::graph::Call;
use super::super::oauth::{COMMENTS, INSIGHTS};
use super::super::rules::{Refusal, Usage};
use super::{Account, MEDIA_KIND, USER_KIND, later, media_list, moment, signed, stamp, user};

/// Another professional account by its username; any of the sample's can be found.
pub(super) fn discover(call: &Call<'_>, field: &Field) -> Result<Value, Refusal> {
    call.count_as(Usage::App); // discovery counts against the app, not the account
    if !INSIGHTS.iter().any(|permission| call.token.may(permission)) {
        return Err(Refusal::permission());
    }
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
                let list = media_list(call, &found, field, call.sample.posts(profile, call.now), true)?;
                Ok(Member::Edge(without_links(list)))
            }
            "stories" | "insights" | "content_publishing_limit" | "business_discovery" | "tags" => {
                Err(Refusal::permission())
            }
            _ => {
                let one = user(call, &found, std::slice::from_ref(field))?;
                Ok(Member::from(one.get(&field.name).cloned()))
            }
        }
    })
}

/// A list as discovery and tags page it: with cursors on every page, and never a link.
fn without_links(mut list: Value) -> Value {
    if let Some(paging) = list.get_mut("paging").and_then(Value::as_object_mut) {
        paging.retain(|name, _| name == "cursors");
    }
    list
}

/// A post of somebody else that tags the account.
struct Tagged {
    day: i64,
    guest: i64,
    likes: Option<i64>,
    caption: Option<&'static str>,
    video: bool,
}

/// The edge `tags`: posts of others, newest first; those of private accounts are never among them.
pub(super) fn tags(call: &Call<'_>, account: &Account<'_>, field: &Field) -> Result<Value, Refusal> {
    if !COMMENTS.iter().any(|permission| call.token.may(permission)) {
        return Err(Refusal::permission());
    }
    let profile = account.profile;
    let after = field.params.get("posted_after").map(moment).transpose()?.unwrap_or(i64::MIN);
    let before = field.params.get("posted_before").map(moment).transpose()?.unwrap_or(i64::MAX);
    let today = day_of(call.now, &los_angeles());
    let days = (today - HISTORY_DAYS + 1..=today).rev();
    let mut posts: Vec<Tagged> = days.filter_map(|day| tagged(call, profile, day)).collect();
    posts.retain(|post| {
        let at = tagged_at(post);
        at <= call.now && (after..before).contains(&at.as_second())
    });
    let path = format!("{}/tags", account.id);
    let paging = Paging { path: &path, limits: (25, 100), links: true };
    let id = |post: &Tagged| format!("175{:02}0000{:05}000", profile.number, post.day);
    let row = |post: &Tagged| {
        fields::project(&MEDIA_KIND, &field.fields, |field| {
            let file = if post.video { "mp4" } else { "jpg" };
            Ok(Member::from(match field.name.as_str() {
                "id" => Some(id(post).into()),
                "caption" => post.caption.map(Value::from),
                "media_type" => Some(if post.video { "VIDEO" } else { "IMAGE" }.into()),
                "media_url" => Some(signed(&format!("{}.{file}", id(post))).into()),
                "permalink" => Some(format!("https://www.instagram.com/p/TG{}{:x}/", profile.number, post.day).into()),
                "timestamp" => Some(stamp(tagged_at(post)).into()),
                "username" => Some(format!("guest_{}", post.guest).into()),
                "like_count" => post.likes.map(Value::from),
                "comments_count" => Some(json!(post.guest % 9)),
                // Posts of others have no numbers for us.
                "insights" => return Err(Refusal::permission()),
                _ => None,
            }))
        })
    };
    fields::page(call, &paging, &field.params, &posts, |_, post| id(post), row).map(without_links)
}

fn tagged_at(post: &Tagged) -> jiff::Timestamp {
    later(start_of(post.day, &los_angeles()), 36_000 + post.guest * 31)
}

/// On about every third day somebody tags the account.
fn tagged(call: &Call<'_>, profile: &Profile, day: i64) -> Option<Tagged> {
    let draw = |what: &str, high| call.sample.between(0, high, &format!("{}/tagged/{what}", profile.number), day);
    (draw("any", 2) == 0 && date_of(day).year() > 1970).then(|| Tagged {
        day,
        guest: draw("guest", 899),
        likes: (draw("hides", 9) != 0).then(|| draw("likes", 240)),
        caption: usize::try_from(draw("caption", 16)).ok().and_then(|at| CAPTIONS.get(at).copied()),
        video: draw("video", 3) == 0,
    })
}
