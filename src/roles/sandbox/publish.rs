//! Publishing: containers, their states, and the posts that come of them. Kept in memory, gone at the end.
//!
//! What a file's address or a text holds decides what happens, so that each way of failing can be asked for:
//!
//! | in an address | |
//! | --- | --- |
//! | `missing` | cannot be fetched: 9004/2207052 |
//! | `flaky` | cannot be fetched the first time |
//! | `wide` | 36003/2207009 |
//! | `.gif` | 36001/2207005 |
//! | `slow` | a video that is never ready |
//! | `broken` | a video that ends in ERROR |
//! | `lost-publish` | it is published, and answered with code 2 the first time |
//!
//! | in a caption | |
//! | --- | --- |
//! | `[lost:container]`, `[lost:publish]` | it is done, and answered with code 2 the first time |
//! | `[spam:publish]` | it is done, and answered with 4/2207051 |
//! | `[hang:container]`, `[hang:status]`, `[hang:publish]`, `[hang:permalink]` | it is done, and answered after ten minutes the first time |

use hyper::Method;
use serde_json::{Map, Value, json};

use super::business::{Format, Post, Profile};
use super::graph::{Call, unknown_path};
use super::oauth::PUBLISH;
use super::rules::Refusal;
use super::world::{Container, Made};

/// Meta answers with one of 25, 50 and 100; its guide says 100 (content publishing, 2026).
pub const QUOTA: i64 = 100;
fn refuse(code: i64, subcode: i64, message: &str, user: (&'static str, &'static str)) -> Refusal {
    Refusal { subcode: Some(subcode), user: Some(user), ..Refusal::new(code, message) }
}

fn check_permission(call: &Call<'_>) -> Result<(), Refusal> {
    if PUBLISH.iter().any(|permission| call.token.may(permission)) { Ok(()) } else { Err(Refusal::permission()) }
}

/// `POST /{ig}/media` and `POST /{ig}/media_publish`.
pub fn on_account(call: &Call<'_>, profile: &'static Profile, edge: &[&str]) -> Result<Value, Refusal> {
    match edge {
        ["media"] => check_permission(call).and_then(|()| create(call, profile)),
        ["media_publish"] => check_permission(call).and_then(|()| publish(call, profile)),
        _ => Err(unknown_path(edge)),
    }
}

/// A container's node, if `id` is one of a profile that the token reaches.
pub fn container(call: &Call<'_>, id: &str, reached: &[&'static Profile]) -> Option<Result<Value, Refusal>> {
    let mut state = call.sample.world.state();
    let found = state.containers.get(id).filter(|found| reached.iter().any(|profile| profile.number == found.owner))?;
    let caption = found.caption.clone();
    if *call.method != Method::GET {
        return Some(Err(Refusal::not_found("post", id)));
    }
    if state.meets("[hang:status]", caption.as_deref(), id) {
        call.hang();
    }
    let found = state.containers.get_mut(id)?;
    let (code, text) = found.state(call.now);
    found.looks += 1;
    let asked = call.params.list("fields");
    let all = [("id", id), ("status", text.as_str()), ("status_code", code), ("copyright_check_status", "")];
    let mut node = Map::new();
    for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        if name == "id" || asked.iter().any(|field| field == name) {
            node.insert(name.to_owned(), value.into());
        }
    }
    Some(Ok(node.into()))
}

fn create(call: &Call<'_>, profile: &'static Profile) -> Result<Value, Refusal> {
    let kind = call.params.get("media_type").map(str::to_owned);
    let is_item = call.params.get("is_carousel_item") == Some("true");
    let caption = call.params.get("caption").map(str::to_owned);
    if caption.as_ref().is_some_and(|caption| caption.chars().count() > 2200) {
        let user = ("Caption too long", "The caption was too long. Use at most 2200 characters.");
        return Err(refuse(36004, 2_207_010, "The caption is too long", user));
    }
    if call.params.list("collaborators").iter().any(|name| name.starts_with('@')) {
        let user = ("Cannot find User", "The user with that username cannot be found.");
        return Err(refuse(110, 2_207_018, "Invalid user id", user));
    }
    let mut state = call.sample.world.state();
    let is_carousel = kind.as_deref() == Some("CAROUSEL");
    let mut items = 0;
    let mut url = String::new();
    if is_carousel {
        let children = call.params.list("children");
        items = children.len();
        let ready = |id: &String| {
            state.containers.get(id).is_some_and(|item| item.is_item && item.state(call.now).0 == "FINISHED")
        };
        if !(2..=10).contains(&items) {
            return Err(Refusal::parameter("A carousel takes between 2 and 10 items"));
        }
        if !children.iter().all(ready) {
            let user = ("Media not ready", "An item is not ready to be used. Please wait.");
            return Err(refuse(9007, 2_207_027, "Media ID is not available", user));
        }
    } else {
        let video = kind.as_deref().is_some_and(|kind| kind != "STORIES") || call.params.get("video_url").is_some();
        let name = if video { "video_url" } else { "image_url" };
        let Some(given) = call.params.get(name) else {
            return Err(Refusal::parameter(format!("The parameter {name} is required")));
        };
        url = given.to_owned();
        let key = url.clone();
        if url.contains("missing") || state.meets("flaky", Some(given), &key) {
            let user = ("Media download failed", "The media could not be fetched from this URI.");
            return Err(refuse(9004, 2_207_052, "Only photo or video can be accepted as media type.", user));
        }
        if !video && url.contains(".gif") {
            let user = ("Invalid image format", "The image format is not supported. Supported formats are: JPEG.");
            return Err(refuse(36001, 2_207_005, "The image format is not supported", user));
        }
        if url.contains("wide") {
            let user = ("Invalid aspect ratio", "The aspect ratio must be between 4:5 and 1.91:1.");
            return Err(refuse(36003, 2_207_009, "The submitted image has an invalid aspect ratio", user));
        }
    }
    state.count += 1;
    let id = format!("180{:02}{:012}", profile.number, state.count);
    let at = call.now;
    let container =
        Container { owner: profile.number, kind, is_item, caption, url, items, at, looks: 0, published: None };
    let caption = container.caption.clone();
    state.containers.insert(id.clone(), container);
    if state.meets("[hang:container]", caption.as_deref(), "") {
        call.hang();
    }
    if state.meets("[lost:container]", caption.as_deref(), "") {
        return Err(Refusal::transient());
    }
    Ok(json!({ "id": id }))
}

fn publish(call: &Call<'_>, profile: &'static Profile) -> Result<Value, Refusal> {
    let used = call.sample.published(profile, call.now);
    let mut state = call.sample.world.state();
    let id = call.params.get("creation_id").unwrap_or_default().to_owned();
    let Some(found) = state.containers.get(&id).filter(|found| found.owner == profile.number).cloned() else {
        let user = ("Media not found", "The container was not found or has expired.");
        return Err(refuse(24, 2_207_008, "The requested resource does not exist", user));
    };
    match found.state(call.now).0 {
        "FINISHED" => {}
        "IN_PROGRESS" => {
            let user = ("Media not ready", "The media is not ready to be published. Please wait a moment.");
            return Err(refuse(9007, 2_207_027, "Media ID is not available", user));
        }
        "PUBLISHED" => return Err(Refusal::parameter("This container has already been published")),
        _ => {
            let user = ("Container expired", "The container has expired or failed. Make a new one.");
            return Err(refuse(24, 2_207_008, "The requested resource does not exist", user));
        }
    }
    if found.kind.as_deref() == Some("VIDEO") && !found.is_item {
        let user = ("Video cannot be published", "Use media_type REELS to publish a video.");
        return Err(refuse(100, 2_207_089, "(#100) VIDEO is for carousel items only", user));
    }
    if used >= QUOTA {
        let user = ("Application request limit reached", "You reached the maximum number of posts for 24 hours.");
        return Err(refuse(9, 2_207_042, "(#9) Application request limit reached", user));
    }
    state.count += 1;
    let media = format!("179{:02}1{:08}000", profile.number, state.count);
    let format = match found.kind.as_deref() {
        None | Some("IMAGE") => Format::Image,
        Some("CAROUSEL") => Format::Carousel,
        Some("STORIES") => Format::Story,
        Some(_) => Format::Reel,
    };
    // Stories have ids of their own kind.
    let media = if format == Format::Story { media.replacen("179", "178", 1) } else { media };
    if let Some(found) = state.containers.get_mut(&id) {
        found.published = Some(media.clone());
    }
    let caption = found.caption.clone();
    state.posts.push(Made {
        id: media.clone(),
        owner: profile.number,
        format,
        caption: found.caption,
        items: found.items,
        at: call.now,
    });
    if state.meets("[hang:publish]", caption.as_deref(), &id) {
        call.hang();
    }
    let lost =
        state.meets("[lost:publish]", caption.as_deref(), &id) || state.meets("lost-publish", Some(&found.url), &id);
    if lost {
        return Err(Refusal::transient());
    }
    if state.meets("[spam:publish]", caption.as_deref(), &id) {
        let user = ("Action blocked", "We restrict certain activity to protect our community.");
        return Err(refuse(4, 2_207_051, "(#4) Application request limit reached", user));
    }
    Ok(json!({ "id": media }))
}

/// Before a post's node is read: the fault `[hang:permalink]`.
pub fn before_media(call: &Call<'_>, post: &Post) {
    if call.sample.world.state().meets("[hang:permalink]", post.caption.as_deref(), &post.id) {
        call.hang();
    }
}
