//! Hashtags: their ids, and public posts under them.

use serde_json::{Value, json};

use super::super::business::{CAPTIONS, day_of, los_angeles};
use super::super::fields::{self, Field, Kind, Member};
use super::super::graph::{Call, unknown_path};
use super::super::rules::{Fault, Refusal, Usage};
use super::{account, asked, later, signed, stamp};

/// Hashtags that there are. Their ids are the same for everybody, and stay.
const TAGS: &[&str] =
    &["tea", "teatime", "matcha", "darjeeling", "slowliving", "gr\u{fc}ntee", "leipzig", "\u{65b0}\u{8336}", "cycling"];

/// What a post under a hashtag has: its author is not among it (Meta, hashtag search, 2026).
const HASHTAG_MEDIA: Kind = Kind {
    name: "IGMedia",
    known: "id caption media_type media_url children permalink timestamp like_count comments_count",
    default: "id",
};
const HASHTAG: Kind = Kind { name: "ShadowIGHashtag", known: "id name top_media recent_media", default: "id" };

/// The one cursor that every page of these lists has.
const CURSOR: &str = "QVFIUhashtagZD";
/// Posts that `top_media` has.
const TOP: i64 = 60;

/// Answers for the search and for hashtags; `None` when `target` is neither.
pub(super) fn answer(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    let index = TAGS.iter().enumerate().position(|(index, _)| id_of(index) == target);
    if target != "ig_hashtag_search" && index.is_none() {
        return None;
    }
    call.count_as(Usage::App); // hashtags count against the app, not the account
    Some(match (index, edge) {
        (None, []) => search(call),
        (Some(index), []) => asked(call).and_then(|asked| {
            fields::project(&HASHTAG, &asked, |field| {
                Ok(Member::from(match field.name.as_str() {
                    "id" => Some(id_of(index).into()),
                    "name" => Some(TAGS[index].into()),
                    _ => None,
                }))
            })
        }),
        (Some(index), [sort @ ("top_media" | "recent_media")]) => user(call).and_then(|()| media(call, index, sort)),
        _ => Err(unknown_path(edge)),
    })
}

fn id_of(index: usize) -> String {
    format!("178438{:011}", index + 1)
}

/// `user_id` must be an account that the token reaches.
fn user(call: &Call<'_>) -> Result<(), Refusal> {
    let id = call.params.get("user_id").ok_or_else(|| Refusal::parameter("The parameter user_id is required"))?;
    account(call, id).map(|_| ()).ok_or_else(|| Refusal::not_found("get", id))
}

fn search(call: &Call<'_>) -> Result<Value, Refusal> {
    user(call)?;
    let searcher = call.params.get("user_id").unwrap_or_default();
    let wanted = call.params.get("q").ok_or_else(|| Refusal::parameter("The parameter q is required"))?;
    if is_used_up(call, searcher) {
        let user = Some(("Hashtag limit", "You have searched 30 unique hashtags within 7 days."));
        return Err(Refusal {
            subcode: Some(2_207_034),
            user,
            ..Refusal::new(18, "(#18) Hashtag query limit reached")
        });
    }
    match TAGS.iter().position(|tag| *tag == wanted.to_lowercase()) {
        Some(index) => {
            call.sample.world.search(searcher, TAGS[index], call.now);
            Ok(json!({"data": [{"id": id_of(index)}]}))
        }
        None => {
            let user = Some(("Invalid hashtag", "The hashtag does not exist."));
            let refusal = Refusal::new(24, "(#24) The requested resource does not exist");
            Err(Refusal { subcode: Some(2_207_024), user, ..refusal })
        }
    }
}

fn is_used_up(call: &Call<'_>, account: &str) -> bool {
    call.has("hashtag_limit") || Fault::of_account(account).is_some_and(|fault| fault.name == "hashtag_limit")
}

/// The hashtags that an account looked up within 7 days: one was before all else, and with `hashtag_limit` all 30.
pub(super) fn recent(call: &Call<'_>, account: &str) -> Vec<Value> {
    if is_used_up(call, account) {
        let row = |at: i64| json!({"id": format!("178439{at:011}"), "name": format!("autumn{at:02}")});
        return (1..=30).map(row).collect();
    }
    let mut names = call.sample.world.searches(account, call.now);
    if !names.contains(&"matcha") {
        names.push("matcha");
    }
    let row = |name: &&str| Some(json!({"id": id_of(TAGS.iter().position(|tag| tag == name)?), "name": name}));
    names.iter().filter_map(row).collect()
}

/// One page: `after` alone, the same on each page, so that whoever goes on meets the last page again and again.
fn media(call: &Call<'_>, index: usize, sort: &str) -> Result<Value, Refusal> {
    let fields = asked(call)?;
    let limit = call.params.get("limit").map_or(Ok(25), str::parse::<usize>);
    let limit = limit.map_err(|_| Refusal::parameter("param limit must be an integer"))?.min(50);
    let day = day_of(call.now, &los_angeles());
    let draw = |what: &str, high, post: i64| {
        call.sample.between(
            0,
            high,
            &format!("{}/{post}/{what}", TAGS[index]),
            if sort == "top_media" { 0 } else { day },
        )
    };
    // Recent are those of 24 hours, in no order.
    let (count, span) = if sort == "top_media" { (TOP, 90 * 86_400) } else { (draw("count", 40, 0) + 5, 86_400) };
    let start = match call.params.get("after") {
        None => 0,
        Some(CURSOR) => limit,
        Some(_) => return Err(Refusal::parameter("Invalid cursor: start again without one")),
    };
    let posts: Vec<i64> = (0..count).skip(start).take(limit).collect();
    let rows = posts.into_iter().map(|post| {
        let kind = ["IMAGE", "VIDEO", "CAROUSEL_ALBUM"][usize::try_from(post % 3).unwrap_or_default()];
        let id = format!("174{index:02}{}{post:08}000", u8::from(sort == "top_media"));
        fields::project(&HASHTAG_MEDIA, &fields, |field: &Field| {
            Ok(Member::from(match field.name.as_str() {
                "id" => Some(id.clone().into()),
                "caption" => {
                    usize::try_from(draw("caption", 14, post)).ok().and_then(|at| CAPTIONS.get(at)).map(|c| (*c).into())
                }
                "media_type" => Some(kind.into()),
                "media_url" if kind != "CAROUSEL_ALBUM" => Some(signed(&format!("{id}.jpg")).into()),
                "permalink" => Some(format!("https://www.instagram.com/p/HT{index}{post:x}/").into()),
                "timestamp" => {
                    let age = call.sample.between(60, span - 60, &format!("{}/{post}/age", TAGS[index]), 0);
                    Some(stamp(later(call.now, -age)).into())
                }
                "like_count" if draw("hides", 9, post) != 0 => Some(draw("likes", 4000, post).into()),
                "comments_count" => Some(draw("comments", 200, post).into()),
                _ => None,
            }))
        })
    });
    let rows = rows.collect::<Result<Vec<Value>, Refusal>>()?;
    let mut answer = json!({ "data": rows });
    if answer["data"].as_array().is_some_and(|rows| !rows.is_empty()) {
        answer["paging"] = json!({"cursors": {"after": CURSOR}});
    }
    Ok(answer)
}
