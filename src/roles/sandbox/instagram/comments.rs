//! Comments of posts, and the owner's answers.

use hyper::Method;
use serde_json::{Value, json};

use super::super::business::{Post, Profile, REMARKS};
use super::super::fields::{self, Field, Member, Paging};
use super::super::graph::{Call, Host, unknown_path};
use super::super::oauth::COMMENTS;
use super::super::rules::Refusal;
use super::super::world::Written;
use super::{COMMENT_KIND, asked, later, stamp};

/// The most comments that a post of the sample has.
const MOST: i64 = 60;

/// Who wrote a comment.
enum Author {
    /// The account whose post it is.
    Owner,
    Guest(i64),
}

/// A comment or an answer to one, found by its id.
pub(super) fn node(call: &Call<'_>, posts: &[Post], target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    if !matches!(edge, [] | ["replies"]) {
        return None;
    }
    if let Some(own) = call.sample.world.written(|row| row.id == target).into_iter().next() {
        let post = posts.iter().find(|post| post.id == own.media)?;
        let none = || Ok(json!({ "data": [] }));
        return Some(match edge {
            [] => may_read(call).and_then(|()| asked(call)).and_then(|asked| written(call, post, &own, &asked)),
            _ => none(),
        });
    }
    if call.sample.world.is_deleted(target) {
        return None;
    }
    let post = posts.iter().find(|post| post.id.get(5..14) == target.get(5..14))?;
    let of_comment = target.replacen("176", "177", 1);
    let number = comments_of(call, post).find(|number| comment_id(post, *number) == of_comment)?;
    let is_reply = target != of_comment;
    if is_reply && (!is_answered(call, post, number) || !edge.is_empty()) {
        return None;
    }
    Some(may_read(call).and_then(|()| asked(call)).and_then(|fields| match (edge, is_reply) {
        ([], true) => reply(call, post, number, &fields),
        ([], false) => comment(call, post, number, &fields),
        _ => {
            let params = call.params.clone();
            replies_to(call, post, number, &Field { params, fields, ..Field::plain("replies") })
        }
    }))
}

fn may_read(call: &Call<'_>) -> Result<(), Refusal> {
    match COMMENTS.iter().any(|permission| call.token.may(permission)) {
        true => Ok(()),
        false => Err(Refusal::permission()),
    }
}

fn draw(call: &Call<'_>, post: &Post, number: i64, what: &str, high: i64) -> i64 {
    call.sample.between(0, high, &format!("{}/{number}/{what}", post.id), post.day)
}

/// The numbers of a post's comments, newest first. Fewer than `comments_count` at times, as with Meta: those of people
/// whom the account has restricted are counted and not shown.
fn comments_of(call: &Call<'_>, post: &Post) -> impl Iterator<Item = i64> + use<> {
    let written = |number: &i64| later(post.at, number * 1_140) <= call.now;
    let shown = |number: &i64| draw(call, post, *number, "restricted", 14) != 0;
    let there = |number: &i64| !call.sample.world.is_deleted(&comment_id(post, *number));
    let numbers = (1..=call.sample.lifetime(post, "comments").min(MOST)).rev();
    numbers.filter(written).filter(shown).filter(there).collect::<Vec<_>>().into_iter()
}

fn author(call: &Call<'_>, post: &Post, number: i64) -> Author {
    match number % 13 {
        5 => Author::Owner,
        _ => Author::Guest(draw(call, post, number, "guest", 899)),
    }
}

fn comment_id(post: &Post, number: i64) -> String {
    format!("177{}{number:03}", &post.id[3..14])
}

/// The edge `comments` of a post.
pub(super) fn comments(call: &Call<'_>, post: &Post, field: &Field) -> Result<Value, Refusal> {
    may_read(call)?;
    let path = format!("{}/comments", post.id);
    let paging = Paging { path: &path, limits: (25, 50), links: true };
    let own = call.sample.world.written(|row| row.media == post.id && row.parent.is_none()).into_iter().map(Row::Own);
    let all: Vec<Row> = own.chain(comments_of(call, post).map(Row::Drawn)).collect();
    fields::page(
        call,
        &paging,
        &field.params,
        &all,
        |_, row| match row {
            Row::Own(own) => own.id.clone(),
            Row::Drawn(number) => comment_id(post, *number),
        },
        |row| match row {
            Row::Own(own) => written(call, post, own, &field.fields),
            Row::Drawn(number) => comment(call, post, *number, &field.fields),
        },
    )
}

/// A comment: drawn from the seed, or written here.
enum Row {
    Own(Written),
    Drawn(i64),
}

/// A comment or reply that was written here.
fn written(call: &Call<'_>, post: &Post, own: &Written, asked: &[Field]) -> Result<Value, Refusal> {
    fields::project(&COMMENT_KIND, asked, |field| {
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(own.id.clone().into()),
            "text" => Some(own.text.clone().into()),
            "timestamp" => Some(stamp(own.at).into()),
            "username" => Some(post.profile.username.into()),
            "from" => Some(from(call, post, &Author::Owner)),
            "user" => Some(json!({"id": post.profile.id})),
            "like_count" => Some(0.into()),
            "hidden" => Some(false.into()),
            "parent_id" => own.parent.clone().map(Value::from),
            "media" => Some(json!({"id": post.id, "media_product_type": post.format.product_type()})),
            _ => None,
        }))
    })
}

/// Writes a comment of the account's own. A text that holds `[lost]` is written, and answered with code 2.
pub(super) fn write(
    call: &Call<'_>,
    profile: &'static Profile,
    media: &str,
    parent: Option<&str>,
) -> Result<Value, Refusal> {
    may_read(call)?;
    let text = call.params.get("message").ok_or_else(|| Refusal::parameter("The parameter message is required"))?;
    if !call.sample.world.is_open(media) {
        return Err(Refusal::parameter("Comments are turned off on this media"));
    }
    let id = call.sample.world.write(profile, media, parent, text.to_owned(), call.now);
    if call.sample.world.loses(text) { Err(Refusal::transient()) } else { Ok(json!({ "id": id })) }
}

/// Hides, shows, deletes or answers a comment; `None` when there is none of that id.
pub(super) fn change(
    call: &Call<'_>,
    profile: &'static Profile,
    posts: &[Post],
    target: &str,
    edge: &[&str],
) -> Option<Result<Value, Refusal>> {
    let world = &call.sample.world;
    let own = world.written(|row| row.id == target).into_iter().next();
    let is_reply = target.starts_with("176") || own.as_ref().is_some_and(|own| own.parent.is_some());
    let media = match own {
        Some(own) => own.media,
        None if world.is_deleted(target) => return None,
        None => posts.iter().find(|post| post.id.get(5..14) == target.get(5..14))?.id.clone(),
    };
    Some(may_read(call).and_then(|()| match edge {
        ["replies"] if is_reply => Err(Refusal::parameter("Replies can be made to top-level comments only")),
        ["replies"] => write(call, profile, &media, Some(target)),
        [] if *call.method == Method::DELETE => {
            world.delete(target);
            Ok(json!({ "success": true }))
        }
        [] => match call.params.get("hide") {
            Some(hide) => {
                world.hide(target, hide == "true");
                Ok(json!({ "success": true }))
            }
            None => Err(Refusal::parameter("The parameter hide is required")),
        },
        _ => Err(unknown_path(edge)),
    }))
}

/// Who it was, as `from` has it: the Instagram host knows accounts by the ids of its own login.
fn from(call: &Call<'_>, post: &Post, author: &Author) -> Value {
    match author {
        Author::Owner if call.host == Host::Instagram => {
            json!({"id": post.profile.login_id, "username": post.profile.username})
        }
        Author::Owner => json!({"id": post.profile.id, "username": post.profile.username}),
        Author::Guest(guest) => json!({"id": format!("33{guest:015}"), "username": format!("guest_{guest}")}),
    }
}

fn comment(call: &Call<'_>, post: &Post, number: i64, asked: &[Field]) -> Result<Value, Refusal> {
    let author = author(call, post, number);
    fields::project(&COMMENT_KIND, asked, |field| {
        let draw = |what: &str, high| draw(call, post, number, what, high);
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(comment_id(post, number).into()),
            "text" => usize::try_from(draw("text", 7)).ok().and_then(|at| REMARKS.get(at)).map(|text| (*text).into()),
            "timestamp" => Some(stamp(later(post.at, number * 1_140)).into()),
            "username" => Some(from(call, post, &author)["username"].take()),
            "from" => Some(from(call, post, &author)),
            // Of the account's own comments only.
            "user" if matches!(author, Author::Owner) => Some(json!({"id": post.profile.id})),
            "like_count" => Some(draw("likes", 6).into()),
            "hidden" => {
                let set = call.sample.world.hidden(&comment_id(post, number)).unwrap_or(draw("hidden", 30) == 0);
                Some((set && matches!(author, Author::Guest(_))).into())
            }
            "media" => Some(json!({"id": post.id, "media_product_type": post.format.product_type()})),
            "replies"
                if is_answered(call, post, number) || !own_replies(call, &comment_id(post, number)).is_empty() =>
            {
                return replies_to(call, post, number, field).map(Member::Edge);
            }
            _ => None,
        }))
    })
}

fn answered_at(post: &Post, number: i64) -> jiff::Timestamp {
    later(post.at, number * 1_140 + 420)
}

/// The owner answers every third comment.
fn is_answered(call: &Call<'_>, post: &Post, number: i64) -> bool {
    number % 3 == 0 && answered_at(post, number) <= call.now
}

fn replies_to(call: &Call<'_>, post: &Post, number: i64, field: &Field) -> Result<Value, Refusal> {
    let mut replies = Vec::new();
    if is_answered(call, post, number) {
        replies.push(reply(call, post, number, &field.fields)?);
    }
    for own in own_replies(call, &comment_id(post, number)).iter().rev() {
        replies.push(written(call, post, own, &field.fields)?);
    }
    Ok(json!({ "data": replies }))
}

/// Replies that were written here, newest first.
fn own_replies(call: &Call<'_>, comment: &str) -> Vec<Written> {
    call.sample.world.written(|row| row.parent.as_deref() == Some(comment))
}

fn reply(call: &Call<'_>, post: &Post, number: i64, asked: &[Field]) -> Result<Value, Refusal> {
    fields::project(&COMMENT_KIND, asked, |field| {
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(comment_id(post, number).replacen("177", "176", 1).into()),
            "text" => Some("Thank you! \u{1f375}".into()),
            "timestamp" => Some(stamp(answered_at(post, number)).into()),
            "username" => Some(post.profile.username.into()),
            "from" => Some(from(call, post, &Author::Owner)),
            "user" => Some(json!({"id": post.profile.id})),
            "like_count" => Some(call.sample.between(0, 2, &post.id, number).into()),
            "hidden" => Some(false.into()),
            "parent_id" => Some(comment_id(post, number).into()),
            "media" => Some(json!({"id": post.id, "media_product_type": post.format.product_type()})),
            _ => None,
        }))
    })
}
