//! What writes have made: containers and posts, comments, messages and what else was set. Kept in memory, gone at the
//! end. Texts that hold `[lost]` are done, and answered with code 2 the first time.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::business::{Format, Post, Profile, day_of, los_angeles};

const DAY_S: i64 = 86_400;
/// Looks after which a video is ready.
const LOOKS: u32 = 1;

/// What writes have made.
#[derive(Default)]
pub struct World(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub containers: BTreeMap<String, Container>,
    pub posts: Vec<Made>,
    pub sent: Vec<Sent>,
    pub written: Vec<Written>,
    /// Ids of posts and comments that were deleted.
    pub deleted: HashSet<String>,
    /// Comments that were hidden or shown again.
    pub hidden: BTreeMap<String, bool>,
    /// Posts on which commenting was closed or opened.
    pub open: BTreeMap<String, bool>,
    pub tags: BTreeMap<String, Vec<Value>>,
    pub invites: BTreeMap<String, bool>,
    pub webhooks: BTreeMap<u8, Vec<String>>,
    /// Hashtags that accounts looked up, by the account's id: name and when.
    pub searches: BTreeMap<String, Vec<(&'static str, Timestamp)>>,
    /// Comments that were answered in private.
    pub answered: HashSet<String>,
    /// Faults that come once and have come.
    pub met: HashSet<String>,
    pub count: u64,
}

#[derive(Clone)]
pub(super) struct Container {
    pub owner: u8,
    /// `None` for a plain photo.
    pub kind: Option<String>,
    pub is_item: bool,
    pub caption: Option<String>,
    pub url: String,
    pub items: usize,
    pub at: Timestamp,
    pub looks: u32,
    pub published: Option<String>,
}

pub(super) struct Made {
    pub id: String,
    pub owner: u8,
    pub format: Format,
    pub caption: Option<String>,
    pub items: usize,
    pub at: Timestamp,
}

/// A message that was sent.
#[derive(Clone)]
pub struct Sent {
    pub id: String,
    owner: u8,
    to: String,
    pub text: String,
    pub at: Timestamp,
}

/// A comment of the account's own.
#[derive(Clone)]
pub struct Written {
    pub id: String,
    pub media: String,
    /// The comment that it answers.
    pub parent: Option<String>,
    pub text: String,
    pub at: Timestamp,
}

impl Container {
    pub fn state(&self, now: Timestamp) -> (&'static str, String) {
        let is_video = self.kind.as_deref().is_some_and(|kind| kind != "CAROUSEL") && !self.url.contains(".jpg");
        match () {
            () if self.published.is_some() => ("PUBLISHED", "Published: Media has been successfully published.".into()),
            () if now.as_second() - self.at.as_second() >= DAY_S => {
                ("EXPIRED", "Expired: The container was not published within 24 hours and has expired.".into())
            }
            () if self.url.contains("broken") && self.looks >= LOOKS => {
                ("ERROR", "Error: Media upload has failed with error code 2207026".into())
            }
            () if is_video && (self.looks < LOOKS || self.url.contains("slow")) => {
                ("IN_PROGRESS", "In Progress: Media is still being processed.".into())
            }
            () => ("FINISHED", "Finished: Media has been uploaded and it is ready to be published.".into()),
        }
    }
}

impl World {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts or stories of `profile` that were published here, newest first.
    pub fn posts(&self, profile: &'static Profile, stories: bool, now: Timestamp) -> Vec<Post> {
        let state = self.state();
        let own = state.posts.iter().rev().filter(|post| post.owner == profile.number);
        let own = own.filter(|post| (post.format == Format::Story) == stories && post.at <= now);
        own.map(|post| Post {
            profile,
            id: post.id.clone(),
            day: day_of(post.at, &los_angeles()),
            at: post.at,
            format: post.format,
            caption: post.caption.clone().map(Into::into),
            items: i64::try_from(post.items).unwrap_or_default(),
            hides_likes: false,
            flagged: false,
            before_switch: false,
            unseen: stories,
            slot: 0,
        })
        .collect()
    }

    /// Messages of `profile` to a person, oldest first.
    pub fn sent_to(&self, profile: &Profile, person: &str) -> Vec<Sent> {
        let state = self.state();
        state.sent.iter().filter(|sent| sent.owner == profile.number && sent.to == person).cloned().collect()
    }

    /// Sends a message; its id.
    pub fn send(&self, profile: &Profile, person: &str, text: String, at: Timestamp) -> String {
        let mut state = self.state();
        state.count += 1;
        let id = Sent::id_of(state.count);
        state.sent.push(Sent { id: id.clone(), owner: profile.number, to: person.to_owned(), text, at });
        id
    }

    /// Whether a comment may be answered in private: once.
    pub fn reply_privately(&self, comment: &str) -> bool {
        self.state().answered.insert(comment.to_owned())
    }

    /// Whether the answer to a write with this text is lost: the first time, where it says so.
    pub fn loses(&self, text: &str) -> bool {
        self.state().meets("[lost]", Some(text), text)
    }

    /// Writes a comment of the account's own; its id.
    pub fn write(&self, profile: &Profile, media: &str, parent: Option<&str>, text: String, at: Timestamp) -> String {
        let mut state = self.state();
        state.count += 1;
        let id = format!("175{:02}{:012}", profile.number, state.count);
        let (media, parent) = (media.to_owned(), parent.map(str::to_owned));
        state.written.push(Written { id: id.clone(), media, parent, text, at });
        id
    }

    /// The account's own comments for which `wanted` holds, newest first.
    pub fn written(&self, wanted: impl Fn(&Written) -> bool) -> Vec<Written> {
        let state = self.state();
        let there = state.written.iter().rev().filter(|row| !state.deleted.contains(&row.id) && wanted(row));
        there.cloned().collect()
    }

    /// Whether a post or comment was deleted.
    pub fn is_deleted(&self, id: &str) -> bool {
        self.state().deleted.contains(id)
    }

    /// Deletes a post or comment.
    pub fn delete(&self, id: &str) {
        self.state().deleted.insert(id.to_owned());
    }

    /// Whether a comment was hidden or shown again.
    pub fn hidden(&self, id: &str) -> Option<bool> {
        self.state().hidden.get(id).copied()
    }

    /// Hides a comment, or shows it.
    pub fn hide(&self, id: &str, hide: bool) {
        self.state().hidden.insert(id.to_owned(), hide);
    }

    /// Whether people may comment on a post.
    pub fn is_open(&self, media: &str) -> bool {
        self.state().open.get(media).copied().unwrap_or(true)
    }

    /// Opens or closes commenting.
    pub fn set_open(&self, media: &str, open: bool) {
        self.state().open.insert(media.to_owned(), open);
    }

    /// Products tagged on a post.
    pub fn product_tags(&self, media: &str) -> Vec<Value> {
        self.state().tags.get(media).cloned().unwrap_or_default()
    }

    /// Tags products on a post, or moves the tags that are there.
    pub fn tag_products(&self, media: &str, new: Vec<Value>) {
        let mut state = self.state();
        let tags = state.tags.entry(media.to_owned()).or_default();
        tags.retain(|tag| new.iter().all(|other| other["product_id"] != tag["product_id"]));
        tags.extend(new);
    }

    /// How an invitation was answered.
    pub fn answered_invite(&self, media: &str) -> Option<bool> {
        self.state().invites.get(media).copied()
    }

    /// Answers an invitation.
    pub fn answer_invite(&self, media: &str, accept: bool) {
        self.state().invites.insert(media.to_owned(), accept);
    }

    /// The events that are sent on.
    pub fn webhook_fields(&self, profile: &Profile) -> Vec<String> {
        self.state().webhooks.get(&profile.number).cloned().unwrap_or_default()
    }

    /// Chooses them.
    pub fn set_webhook_fields(&self, profile: &Profile, fields: Vec<String>) {
        self.state().webhooks.insert(profile.number, fields);
    }

    /// Notes that an account looked up a hashtag.
    pub fn search(&self, account: &str, hashtag: &'static str, at: Timestamp) {
        let mut state = self.state();
        let searches = state.searches.entry(account.to_owned()).or_default();
        searches.retain(|(known, _)| *known != hashtag);
        searches.push((hashtag, at));
    }

    /// Hashtags that an account looked up in the seven days before `now`.
    pub fn searches(&self, account: &str, now: Timestamp) -> Vec<&'static str> {
        let state = self.state();
        let searches = state.searches.get(account).map_or(&[][..], Vec::as_slice);
        let recent = searches.iter().filter(|(_, at)| now.as_second() - at.as_second() < 7 * DAY_S);
        recent.map(|(hashtag, _)| *hashtag).collect()
    }

    /// How many posts went out in the 24 hours before `now`.
    pub fn published(&self, profile: &Profile, now: Timestamp) -> i64 {
        let recent = |post: &&Made| post.owner == profile.number && now.as_second() - post.at.as_second() < DAY_S;
        i64::try_from(self.state().posts.iter().filter(recent).count()).unwrap_or_default()
    }
}

impl State {
    /// Whether the text asks for this fault and it has not come for `id` yet.
    pub fn meets(&mut self, fault: &str, text: Option<&str>, id: &str) -> bool {
        text.is_some_and(|text| text.contains(fault)) && self.met.insert(format!("{fault}/{id}"))
    }
}
