//! Publishing: one state machine for photos, reels, albums and stories, which survives lost answers and restarts.
//!
//! Check, read the quota, make the container (an album's items first), wait until Meta has taken the file in, publish
//! once, read the link. How far it came stands in the journal before each step that the next one relies on, so that
//! the same call goes on where it stood and nothing is posted twice.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{NOTE, PUBLISH, PUBLISH_INSTAGRAM};
use crate::clock::{parse_rfc3339, rfc3339};
use crate::credential::{AccountKind, Login};
use crate::graph::{ErrorKind, GraphError, Request, Session};
use crate::tool::column::moment;
use crate::tool::write::{DRY_RUN, FORCE_NEW, IDEMPOTENCY_KEY, KEY, REPEATED, WAIT_S, WAS_DRY_RUN, WOULD_SEND};
use crate::tool::{Answer, Args, ArgumentError, Ask, Column, Done, Param, ParamKind, Tool, ToolError, Writer};

/// Kinds of post, by what Meta wants for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    Image,
    Reel,
    Carousel,
    Story,
}

impl Post {
    const WORDS: &'static [&'static str] = &["image", "reel", "carousel", "story"];

    fn of_word(word: &str) -> Self {
        match word {
            "reel" => Self::Reel,
            "carousel" => Self::Carousel,
            "story" => Self::Story,
            _ => Self::Image,
        }
    }
}

const IMAGE_URL: Param = Param::new(
    "image_url",
    ParamKind::Text(2000),
    "Public https address of a JPEG, at most 8 MB.",
    "\"https://example.com/tea.jpg\"",
);
const VIDEO_URL: Param = Param::new(
    "video_url",
    ParamKind::Text(2000),
    "Public https address of an MP4 or MOV, 3 s to 15 min, 300 MB.",
    "\"https://example.com/tea.mp4\"",
);
const CAPTION: Param = Param::new(
    "caption",
    ParamKind::Text(2200),
    "At most 2200 characters, 30 hashtags, 20 mentions.",
    "\"First flush is here. #tea\"",
);
const ALT_TEXT: Param =
    Param::new("alt_text", ParamKind::Text(1000), "What the picture shows, for screen readers.", "\"A cup of tea\"");
const LOCATION: Param =
    Param::new("location_id", ParamKind::Id, "The Facebook Page of a place.", "\"110843418940484\"");
const COLLABORATORS: Param = Param::new(
    "collaborators",
    ParamKind::List(&ParamKind::Text(31), 3),
    "Usernames to invite as co-authors.",
    "[\"mira.tea\"]",
);
const USERNAME: Param = Param::new("username", ParamKind::Text(31), "Whom to tag.", "\"mira.tea\"").required();
const PLACE: ParamKind = ParamKind::Decimal;
const TAGS: Param = Param::new(
    "user_tags",
    ParamKind::Rows(
        &[
            USERNAME,
            Param::new("x", PLACE, "From the left, 0 to 1; pictures only.", "\"0.5\""),
            Param::new("y", PLACE, "From the top, 0 to 1; pictures only.", "\"0.5\""),
        ],
        20,
    ),
    "People to tag; without x and y in the middle of a picture.",
    "[{\"username\":\"mira.tea\",\"x\":\"0.5\",\"y\":\"0.8\"}]",
);
const AI: Param = Param::new("is_ai_generated", ParamKind::Flag, "Labels it as made with AI.", "true");
const COVER_URL: Param =
    Param::new("cover_url", ParamKind::Text(2000), "Cover of the reel, a JPEG.", "\"https://example.com/cover.jpg\"");
const THUMB_OFFSET: Param =
    Param::new("thumb_offset_ms", ParamKind::Int(0, 900_000), "Cover from the video, in milliseconds.", "1500");
const SHARE_TO_FEED: Param =
    Param::new("share_to_feed", ParamKind::Flag, "Shows the reel in the feed too.", "false").or("true");
const AUDIO_NAME: Param = Param::new("audio_name", ParamKind::Text(100), "Names the reel's own sound.", "\"Kettle\"");
const TRIAL: Param = Param::new(
    "trial",
    ParamKind::Word(&["manual", "performance"]),
    "A trial reel, shown to non-followers first.",
    "\"manual\"",
);
const ITEMS: Param = Param::new(
    "items",
    ParamKind::Rows(&[IMAGE_URL, VIDEO_URL, ALT_TEXT, TAGS], 10),
    "2 to 10 pictures or videos, in their order.",
    "[{\"image_url\":\"https://example.com/1.jpg\"},{\"video_url\":\"https://example.com/2.mp4\"}]",
);
const CONTAINER_ID: Param =
    Param::new("container_id", ParamKind::Id, "What create_media_container gave.", "\"18000000000000001\"").required();

const PUBLISHED: &[Column] = &[
    Column::text("state").made().about("published, or processing: the same call again goes on"),
    Column::id("media_id").made().about("the post"),
    Column::text("permalink").made().about("lasting link"),
    Column::id("container_id").made().about("the staged post at Meta"),
    Column::time("timestamp").made().about("when it was published"),
    Column::count("quota_left").made().about("posts that may still go out within 24 hours"),
    NOTE,
    REPEATED,
    KEY,
    WAS_DRY_RUN,
    WOULD_SEND,
];

const fn publishing(name: &'static str) -> Tool {
    Tool::write(name, AccountKind::Instagram)
        .needs(PUBLISH)
        .needs_instagram(PUBLISH_INSTAGRAM)
        .destructive()
        .row(PUBLISHED)
}

pub(super) const PUBLISH_IMAGE: Tool = publishing("publish_image")
    .group("Publishing")
    .about("Posts one photo to the feed, at once and in public. For approval first use create_media_container.")
    .params(&[
        IMAGE_URL.required(),
        CAPTION,
        ALT_TEXT,
        LOCATION,
        TAGS,
        COLLABORATORS,
        AI,
        WAIT_S,
        IDEMPOTENCY_KEY,
        FORCE_NEW,
        DRY_RUN,
    ])
    .example(r#"{"image_url":"https://example.com/tea.jpg","caption":"First flush is here. #tea"}"#)
    .change(|ask, writer| Box::pin(publish(ask, writer, Post::Image)));

pub(super) const PUBLISH_REEL: Tool = publishing("publish_reel")
    .group("Publishing")
    .alias("publish_video")
    .about(
        "Posts a video as a reel, at once and in public; Instagram makes a reel of every single video. While Meta takes \
         the video in, state is processing: call again with the same parameters.",
    )
    .params(&[
        VIDEO_URL.required(),
        CAPTION,
        COVER_URL,
        THUMB_OFFSET,
        SHARE_TO_FEED,
        AUDIO_NAME,
        TRIAL,
        LOCATION,
        TAGS,
        COLLABORATORS,
        AI,
        WAIT_S,
        IDEMPOTENCY_KEY,
        FORCE_NEW,
        DRY_RUN,
    ])
    .example(r#"{"video_url":"https://example.com/tea.mp4","caption":"Five cups, five seconds"}"#)
    .change(|ask, writer| Box::pin(publish(ask, writer, Post::Reel)));

pub(super) const PUBLISH_CAROUSEL: Tool = publishing("publish_carousel")
    .group("Publishing")
    .about("Posts an album of 2 to 10 pictures and videos, at once and in public. It counts as one post.")
    .params(&[
        ITEMS.required(),
        CAPTION,
        LOCATION,
        COLLABORATORS,
        AI,
        WAIT_S,
        IDEMPOTENCY_KEY,
        FORCE_NEW,
        DRY_RUN,
    ])
    .example(
        r#"{"items":[{"image_url":"https://example.com/1.jpg"},{"image_url":"https://example.com/2.jpg"}],"caption":"Two teas"}"#,
    )
    .change(|ask, writer| Box::pin(publish(ask, writer, Post::Carousel)));

pub(super) const PUBLISH_STORY: Tool = publishing("publish_story")
    .group("Publishing")
    .about(
        "Puts a picture or video into the story, seen for 24 hours. No caption, link, sticker or co-author: Meta's \
         API has none for stories.",
    )
    .params(&[IMAGE_URL, VIDEO_URL, TAGS, WAIT_S, IDEMPOTENCY_KEY, FORCE_NEW, DRY_RUN])
    .example(r#"{"image_url":"https://example.com/today.jpg"}"#)
    .change(|ask, writer| Box::pin(publish(ask, writer, Post::Story)));

const CREATE_MEDIA_CONTAINER_PARAMS: &[Param] = &[
    Param::new("kind", ParamKind::Word(Post::WORDS), "What it will be.", "\"image\"").required(),
    IMAGE_URL,
    VIDEO_URL,
    ITEMS,
    CAPTION,
    ALT_TEXT,
    COVER_URL,
    THUMB_OFFSET,
    SHARE_TO_FEED,
    AUDIO_NAME,
    TRIAL,
    LOCATION,
    TAGS,
    COLLABORATORS,
    AI,
    WAIT_S,
    IDEMPOTENCY_KEY,
    FORCE_NEW,
    DRY_RUN,
];

pub(super) const CREATE_MEDIA_CONTAINER: Tool = Tool::write("create_media_container", AccountKind::Instagram)
    .group("Publishing")
    .about(
        "Prepares a post as a draft that somebody may approve: nobody sees it until publish_container. Meta keeps \
         it for 24 hours. Takes what the publish tool of its kind takes.",
    )
    .needs(PUBLISH)
    .needs_instagram(PUBLISH_INSTAGRAM)
    .params(CREATE_MEDIA_CONTAINER_PARAMS)
    .example(r#"{"kind":"image","image_url":"https://example.com/tea.jpg","caption":"For approval"}"#)
    .row(&[
        Column::text("state").made().about("staged, or processing: the same call again goes on"),
        Column::id("container_id").made().about("for publish_container"),
        Column::time("expires_at").made().about("after this Meta forgets it"),
        NOTE,
        REPEATED,
        KEY,
        WAS_DRY_RUN,
        WOULD_SEND,
    ])
    .change(|ask, writer| Box::pin(stage(ask, writer)));

pub(super) const PUBLISH_CONTAINER: Tool = publishing("publish_container")
    .group("Publishing")
    .about("Publishes a post that create_media_container staged, at once and in public.")
    .params(&[CONTAINER_ID, WAIT_S, IDEMPOTENCY_KEY, FORCE_NEW, DRY_RUN])
    .example(r#"{"container_id":"18001000000000001"}"#)
    .change(|ask, writer| Box::pin(publish_staged(ask, writer)));

pub(super) const GET_CONTAINER_STATUS: Tool = Tool::read("get_container_status", AccountKind::Instagram)
    .group("Publishing")
    .about(
        "Whether a staged post is ready to be published. Use it between create_media_container and publish_container.",
    )
    .needs(PUBLISH)
    .needs_instagram(PUBLISH_INSTAGRAM)
    .params(&[CONTAINER_ID])
    .example(r#"{"container_id":"18001000000000001"}"#)
    .row(&[
        Column::id("container_id").from("id"),
        Column::text("state").made().about("IN_PROGRESS, FINISHED, PUBLISHED, ERROR or EXPIRED"),
        Column::text("message").from("status").about("Meta's words"),
        Column::count("error_subcode").made().about("Meta's subcode of an error"),
        Column::json("copyright_check_status"),
    ])
    .run(get_container_status);

pub(super) const GET_PUBLISHING_LIMIT: Tool = Tool::read("get_publishing_limit", AccountKind::Instagram)
    .group("Publishing")
    .about(
        "How many posts may still be published by API in Meta's rolling window, of 24 hours as a rule. An album counts \
         once. Use it before publishing several posts.",
    )
    .needs(PUBLISH)
    .needs_instagram(PUBLISH_INSTAGRAM)
    .row(&[
        Column::count("used").from("quota_usage").about("posts published within the window"),
        Column::count("total").from("config/quota_total").about("as Meta says it for this account"),
        Column::count("left").made(),
        Column::count("window_hours").made().about("length of the rolling window"),
        NOTE,
    ])
    .run(get_publishing_limit);

/// How far a post came; the journal's words.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stage {
    /// An album's items that are made, in their order.
    items: Vec<String>,
    /// What will be published.
    container: Option<String>,
    /// Whether publishing was asked for: then only the container tells whether it happened.
    sent: bool,
    /// Whether publishing found no container, once.
    absent: bool,
    /// When the container was made, RFC 3339.
    made_at: Option<String>,
    quota_left: Option<i64>,
}

impl Stage {
    fn of(writer: &Writer) -> Self {
        Self::deserialize(writer.state()).unwrap_or_default()
    }

    fn state(&self) -> Value {
        serde_json::to_value(self).expect("ids and numbers are JSON")
    }

    async fn keep(&self, writer: &mut Writer) -> Result<(), ToolError> {
        writer.remember(self.state()).await
    }

    /// Writes down the container that was just made.
    async fn made(&mut self, ask: &Ask, container: String, writer: &mut Writer) -> Result<(), ToolError> {
        self.container = Some(container);
        self.made_at = Some(rfc3339(ask.clock.now()));
        self.keep(writer).await
    }
}

/// What publishing and reading the link may take of a call's time.
const TIME_TO_PUBLISH: Duration = Duration::from_secs(5);

/// Until when a call waits for Meta to take a file in.
fn patience(ask: &Ask) -> Instant {
    let wait = ask.args.int(WAIT_S.name).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30);
    (ask.arrived + Duration::from_secs(wait)).min(ask.graph.deadline() - TIME_TO_PUBLISH)
}

async fn publish(ask: Ask, mut writer: Writer, kind: Post) -> Result<Done, ToolError> {
    let note = check(&ask, kind)?;
    check_collaborators(&ask).await?;
    let Some(stage) = prepare(&ask, &mut writer, kind, true).await? else {
        return Ok(processing(&Stage::of(&writer), note));
    };
    finish(
        &ask,
        &mut writer,
        stage,
        Shown { known: true, caption: ask.args.text("caption"), story: kind == Post::Story },
        note,
    )
    .await
}

async fn stage(ask: Ask, mut writer: Writer) -> Result<Done, ToolError> {
    let kind = Post::of_word(ask.args.text("kind").unwrap_or_default());
    check_kind(&ask.args, kind)?;
    let note = check(&ask, kind)?;
    check_collaborators(&ask).await?;
    let made = prepare(&ask, &mut writer, kind, false).await?;
    let container = made.as_ref().and_then(|stage| stage.container.as_deref());
    let made_at = made.as_ref().and_then(|stage| parse_rfc3339(stage.made_at.as_deref()?));
    let expires = made_at.and_then(|at| at.checked_add(SignedDuration::from_hours(24)).ok());
    let row = json!({
        "state": if container.is_some() { "staged" } else { "processing" },
        "container_id": container,
        "expires_at": expires.map(rfc3339),
        "note": note,
    });
    let done = Done::from(Answer::Row(row));
    Ok(if container.is_some() { done } else { done.unfinished() })
}

async fn publish_staged(ask: Ask, mut writer: Writer) -> Result<Done, ToolError> {
    let mut stage = Stage::of(&writer);
    if stage.container.is_none() {
        let quota_left = check_quota(&ask).await?;
        stage = Stage { container: ask.args.text("container_id").map(str::to_owned), quota_left, ..Stage::default() };
        writer.announce(&[publish_request(&ask, &stage)?])?;
        stage.keep(&mut writer).await?;
    }
    // What its caption was is not known here: where its answer is lost, the post's id stays unknown.
    finish(&ask, &mut writer, stage, Shown { known: false, caption: None, story: false }, None).await
}

fn get_container_status(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let id = ask.args.text("container_id").unwrap_or_default().to_owned();
        let fields = "id,status,status_code,copyright_check_status";
        let mut node = ask.graph.node(&Request::new("{}", &[&id])?.fields(fields)).await?;
        let words = node["status"].as_str().unwrap_or_default();
        let subcode = subcode_of(words).filter(|_| words.starts_with("Error"));
        node["error_subcode"] = subcode.map_or(Value::Null, Value::from);
        node["state"] = state_of(&node).word().into();
        Ok(Answer::Row(node).into())
    })
}

// Before anything is sent.

/// What Meta would refuse, told before anything is sent; a note for what it may refuse.
fn check(ask: &Ask, kind: Post) -> Result<Option<String>, ToolError> {
    let args = &ask.args;
    let wrong = |name: &str, expected: &str| Err(ArgumentError::of(name, expected).into());
    let mut notes = Vec::new();
    match kind {
        Post::Carousel => {
            let items = args.rows("items");
            if items.len() < 2 {
                return wrong("items", "an album has 2 to 10 items");
            }
            for (index, item) in items.iter().enumerate() {
                let number = index + 1;
                check_files(item, &mut notes)
                    .map_err(|error| ArgumentError(format!("items: number {number}: {error}")))?;
            }
        }
        Post::Reel if !args.has("video_url") => return wrong("video_url", "a reel is made of a video"),
        Post::Image if args.has("video_url") => {
            return wrong("video_url", "a photo has none; publish_reel posts videos");
        }
        _ => check_files(args, &mut notes)?,
    }
    if kind == Post::Story {
        for name in ["caption", "location_id", "collaborators"] {
            if args.has(name) {
                return wrong(name, "Meta's API takes none for stories");
            }
        }
    }
    if args.has("alt_text") && kind != Post::Image {
        return wrong("alt_text", "only pictures have one; of an album's items each its own");
    }
    if args.has("cover_url") && args.has("thumb_offset_ms") {
        return wrong("thumb_offset_ms", "a reel has one cover: send either cover_url or thumb_offset_ms");
    }
    if args.has("cover_url") {
        public(args.text("cover_url").unwrap_or_default(), "cover_url")?;
    }
    let caption = args.text("caption").unwrap_or_default();
    if caption.matches('#').count() > 30 {
        return wrong("caption", "at most 30 hashtags");
    }
    if caption.matches('@').count() > 20 {
        return wrong("caption", "at most 20 mentions");
    }
    Ok((!notes.is_empty()).then(|| notes.join("; ")))
}

/// Of a staged post's parameters those that its kind takes.
fn check_kind(args: &Args, kind: Post) -> Result<(), ArgumentError> {
    let takes: &[&str] = match kind {
        Post::Image => {
            &["image_url", "caption", "alt_text", "location_id", "user_tags", "collaborators", "is_ai_generated"]
        }
        Post::Reel => &[
            "video_url",
            "caption",
            "cover_url",
            "thumb_offset_ms",
            "audio_name",
            "trial",
            "location_id",
            "user_tags",
            "collaborators",
            "is_ai_generated",
        ],
        Post::Carousel => &["items", "caption", "location_id", "collaborators", "is_ai_generated"],
        Post::Story => &["image_url", "video_url", "user_tags"],
    };
    let frame = [&IDEMPOTENCY_KEY, &FORCE_NEW, &DRY_RUN, &WAIT_S];
    let always =
        |name: &str| name == "kind" || name == SHARE_TO_FEED.name || frame.iter().any(|param| param.name == name);
    let stray = CREATE_MEDIA_CONTAINER_PARAMS.iter().map(|param| param.name);
    match stray.filter(|name| args.has(name) && !always(name)).find(|name| !takes.contains(name)) {
        Some(name) => Err(ArgumentError::of(name, "a post of this kind takes none")),
        None if kind != Post::Reel && !args.flag(SHARE_TO_FEED.name) => {
            Err(ArgumentError::of(SHARE_TO_FEED.name, "only reels have it"))
        }
        None => Ok(()),
    }
}

/// The account is no co-author of its own post: Meta would refuse it after the file was fetched. Its name is read once.
async fn check_collaborators(ask: &Ask) -> Result<(), ToolError> {
    let names = ask.args.list("collaborators");
    if names.is_empty() {
        return Ok(());
    }
    let key = format!("username/{}/{:?}", ask.account.client, ask.account.updated_at);
    let own = match ask.memory.get(&key) {
        Some(own) => own,
        None => {
            let own = ask.graph.get(&ask.own("{}")?.fields("id,username")).await?["username"].take();
            ask.memory.put(key, own.clone(), Duration::from_secs(3600));
            own
        }
    };
    let is_own = |name: &str| own.as_str().is_some_and(|own| own.eq_ignore_ascii_case(bare(name)));
    if names.into_iter().any(is_own) {
        return Err(ArgumentError::of("collaborators", "the account itself is the author already").into());
    }
    Ok(())
}

/// One picture or one video, at a public address.
fn check_files(args: &Args, notes: &mut Vec<String>) -> Result<(), ArgumentError> {
    match (args.text("image_url"), args.text("video_url")) {
        (Some(image), None) => {
            let path = public(image, "image_url")?.path().to_ascii_lowercase();
            if !path.ends_with(".jpg") && !path.ends_with(".jpeg") {
                notes.push("Meta documents JPEG only; the picture's address ends in something else".to_owned());
            }
        }
        (None, Some(video)) => {
            public(video, "video_url")?;
            if args.has("alt_text") {
                return Err(ArgumentError::of("alt_text", "only pictures have one"));
            }
            if args.rows("user_tags").iter().any(|tag| tag.has("x") || tag.has("y")) {
                return Err(ArgumentError::of("user_tags", "tags of a video have no x and y"));
            }
        }
        _ => return Err(ArgumentError::of("image_url", "send either image_url or video_url")),
    }
    for name in ["x", "y"] {
        let outside = |tag: &Args| tag.text(name).is_some_and(|at| at.parse::<f64>().map_or(true, |at| at > 1.0));
        if args.rows("user_tags").iter().any(outside) {
            return Err(ArgumentError::of("user_tags", "x and y lie from 0 to 1"));
        }
    }
    Ok(())
}

/// An address that Meta can fetch from outside.
pub(super) fn public(text: &str, name: &str) -> Result<Url, ArgumentError> {
    let wrong = |expected: &str| ArgumentError::of(name, expected);
    let url = Url::parse(text).map_err(|_| wrong("must be an address such as https://example.com/tea.jpg"))?;
    if url.scheme() != "https" {
        return Err(wrong("must begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or password: Meta would see it"));
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let inside = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
        Err(_) => {
            let name = host.trim_end_matches('.');
            !name.contains('.') || [".local", ".internal", ".localhost"].iter().any(|end| name.ends_with(end))
        }
    };
    if inside { Err(wrong("must be public: Meta fetches it from outside")) } else { Ok(url) }
}

/// What Meta says of the quota, with what is left of it; `None` where it says nothing.
async fn quota(ask: &Ask) -> Result<Option<Value>, ToolError> {
    let request = ask.own("{}/content_publishing_limit")?.fields("quota_usage,config");
    let mut answer = ask.graph.get(&request).await?;
    match answer["data"].get_mut(0).map(Value::take) {
        Some(row) if row.is_object() => Ok(Some(with_rest(row))),
        Some(_) => Err(GraphError::malformed().into()),
        None => Ok(None),
    }
}

/// What is left, where both are known, and the window in hours.
fn with_rest(mut row: Value) -> Value {
    let (used, config) = (row["quota_usage"].as_i64(), row["config"].take());
    if let (Some(used), Some(total)) = (used, config["quota_total"].as_i64()) {
        row["left"] = total.saturating_sub(used).max(0).into();
    }
    if let Some(seconds) = config["quota_duration"].as_i64() {
        row["window_hours"] = (seconds / 3600).into();
    }
    row["config"] = config;
    row
}

fn get_publishing_limit(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let row = match quota(&ask).await? {
            Some(row) => row,
            None => {
                ask.check_permission().await?;
                json!({"note": "Meta gave no limit: a permission may be missing"})
            }
        };
        Ok(Answer::Row(row).into())
    })
}

/// How many posts may still go out, where Meta says so.
async fn check_quota(ask: &Ask) -> Result<Option<i64>, ToolError> {
    let left = quota(ask).await?.and_then(|row| row["left"].as_i64());
    if left == Some(0) {
        let words = "the account has no post left within 24 hours; Meta does not say when one comes free".to_owned();
        return Err(ToolError::QuotaUsed { words, wait: Duration::from_secs(3600) });
    }
    Ok(left)
}

// The requests.

fn container_request(ask: &Ask, args: &Args, kind: Post, is_item: bool) -> Result<Request, ToolError> {
    let mut request = ask.own("{}/media")?;
    let media_type = match (kind, is_item, args.has("video_url")) {
        (Post::Story, ..) => Some("STORIES"),
        (_, true, true) => Some("VIDEO"),
        (Post::Reel, false, _) => Some("REELS"),
        _ => None,
    };
    if let Some(media_type) = media_type {
        request = request.query("media_type", media_type);
    }
    if is_item {
        request = request.query("is_carousel_item", "true");
    }
    for name in ["image_url", "video_url", "alt_text", "cover_url", "audio_name"] {
        if let Some(text) = args.text(name) {
            request = request.query(name, text);
        }
    }
    if kind == Post::Reel {
        if let Some(ms) = args.int("thumb_offset_ms") {
            request = request.query("thumb_offset", ms.to_string());
        }
        request = request.query("share_to_feed", args.flag("share_to_feed").to_string());
        if let Some(trial) = args.text("trial") {
            let strategy = if trial == "manual" { "MANUAL" } else { "SS_PERFORMANCE" };
            request = request.query("trial_params", json!({ "graduation_strategy": strategy }).to_string());
        }
    }
    let tags = args.rows("user_tags");
    if !tags.is_empty() {
        let place = |tag: &Args, name: &str| tag.text(name).and_then(|at| at.parse::<f64>().ok()).unwrap_or(0.5);
        let tag = |tag: &Args| {
            let username = bare(tag.text("username").unwrap_or_default());
            if args.has("video_url") {
                json!({ "username": username })
            } else {
                json!({ "username": username, "x": place(tag, "x"), "y": place(tag, "y") })
            }
        };
        request = request.query("user_tags", tags.iter().map(tag).collect::<Value>().to_string());
    }
    if is_item { Ok(request) } else { with_texts(request, args) }
}

/// What stands on the post as a whole, on the parent of an album.
fn with_texts(mut request: Request, args: &Args) -> Result<Request, ToolError> {
    for name in ["caption", "location_id"] {
        if let Some(text) = args.text(name) {
            request = request.query(name, text);
        }
    }
    let names: Vec<&str> = args.list("collaborators").into_iter().map(bare).collect();
    if !names.is_empty() {
        request = request.query("collaborators", json!(names).to_string());
    }
    if args.has("is_ai_generated") {
        request = request.query("is_ai_generated", args.flag("is_ai_generated").to_string());
    }
    Ok(request)
}

/// Without the sign that people write before it, which Meta refuses.
fn bare(username: &str) -> &str {
    username.trim_start_matches('@')
}

fn parent_request(ask: &Ask, items: &[String]) -> Result<Request, ToolError> {
    let request = ask.own("{}/media")?.query("media_type", "CAROUSEL").query("children", items.join(","));
    with_texts(request, &ask.args)
}

fn publish_request(ask: &Ask, stage: &Stage) -> Result<Request, ToolError> {
    let container = stage.container.as_deref().unwrap_or_default();
    Ok(ask.own("{}/media_publish")?.query("creation_id", container))
}

// The machine.

/// Brings it to a container that is written down; `None` when the time is over before. `publishes` says whether it
/// will be published then.
async fn prepare(ask: &Ask, writer: &mut Writer, kind: Post, publishes: bool) -> Result<Option<Stage>, ToolError> {
    let mut stage = Stage::of(writer);
    if stage.container.is_some() {
        return Ok(Some(stage));
    }
    if publishes && stage.items.is_empty() {
        stage.quota_left = check_quota(ask).await?;
    }
    // A dry run shows every request; ids that are to come are named.
    let last = Stage { container: Some("<the container's id>".to_owned()), ..Stage::default() };
    let last = publishes.then(|| publish_request(ask, &last)).transpose()?;
    if kind != Post::Carousel {
        let request = container_request(ask, &ask.args, kind, false)?;
        writer.announce(&[Some(request.clone()), last].into_iter().flatten().collect::<Vec<_>>())?;
        ask.progress.tell(1, STEPS, "Meta fetches the file");
        let container = make(writer, &request).await.map_err(|error| of_collaborators(ask, error))?;
        stage.made(ask, container, writer).await?;
        return Ok(Some(stage));
    }
    let items = ask.args.rows("items");
    let requests = items.iter().map(|item| container_request(ask, item, kind, true));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let parent = parent_request(ask, &["<the items' ids>".to_owned()])?;
    writer.announce(&requests.iter().cloned().chain([parent]).chain(last).collect::<Vec<_>>())?;
    ask.progress.tell(1, STEPS, "Meta fetches the album's files");
    // Two at a time: ten at once have earned a code 4. Each pair is written down, so that no item is made twice.
    for pair in requests[stage.items.len().min(requests.len())..].chunks(2) {
        let (first, this) = (stage.items.len(), &*writer);
        let made = pair
            .iter()
            .enumerate()
            .map(|(at, request)| async move { make(this, request).await.map_err(|error| of_item(first + at, error)) });
        let made = try_join_all(made).await?;
        stage.items.extend(made);
        stage.keep(writer).await?;
    }
    for (index, item) in stage.items.iter().enumerate() {
        match settled(ask, item).await {
            Ok(State::InProgress) => return Ok(None),
            Ok(State::Finished | State::Published) => {}
            Ok(state) => {
                writer.settle(Value::Null).await;
                return Err(of_item(index, state.refusal()));
            }
            Err(ToolError::Graph(error)) if error.is_not_visible() => {
                writer.settle(Value::Null).await;
                let words = "Meta no longer has it; the same call makes it anew".to_owned();
                return Err(of_item(index, ToolError::Rejected(words)));
            }
            Err(error) => return Err(error),
        }
    }
    let parent = make(writer, &parent_request(ask, &stage.items)?).await;
    stage.made(ask, parent.map_err(|error| of_collaborators(ask, error))?, writer).await?;
    Ok(Some(stage))
}

/// With Instagram's own login Meta's pages disagree on whether a post may name co-authors: a refusal says so.
fn of_collaborators(ask: &Ask, error: ToolError) -> ToolError {
    match error {
        ToolError::Graph(error)
            if error.kind == ErrorKind::Rejected
                && ask.account.login == Login::Instagram
                && ask.args.has("collaborators") =>
        {
            ToolError::Rejected(format!(
                "{}; with Instagram's own login Meta may take no collaborators: try without them",
                error.words()
            ))
        }
        error => error,
    }
}

/// Which item of an album it was.
fn of_item(index: usize, error: ToolError) -> ToolError {
    let number = index + 1;
    match error {
        ToolError::Rejected(words) => ToolError::Rejected(format!("item {number}: {words}")),
        ToolError::Graph(error) if error.kind == ErrorKind::Rejected => {
            ToolError::Rejected(format!("item {number}: {}", error.words()))
        }
        error => error,
    }
}

/// Steps that are told: the file, its intake, publishing, the link.
const STEPS: u32 = 4;
/// How often a container is tried for.
const TRIES: usize = 3;

/// Makes a container. Nothing is public yet, so a lost answer is simply repeated, and so is Meta's failure to fetch.
async fn make(writer: &Writer, request: &Request) -> Result<String, ToolError> {
    let mut tries = 1;
    loop {
        match writer.post(request).await {
            Ok(made) => return id_of(&made),
            Err(ToolError::Graph(error)) if tries < TRIES && may_be_repeated(&error) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn may_be_repeated(error: &GraphError) -> bool {
    error.kind == ErrorKind::OutcomeUnknown || error.is_media_not_fetched()
}

fn id_of(made: &Value) -> Result<String, ToolError> {
    made["id"].as_str().map(str::to_owned).ok_or_else(|| GraphError::malformed().into())
}

/// What Meta says of a container.
#[derive(Debug)]
enum State {
    InProgress,
    Finished,
    Published,
    Error(String),
    Expired(String),
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Finished => "FINISHED",
            Self::Published => "PUBLISHED",
            Self::Error(_) => "ERROR",
            Self::Expired(_) => "EXPIRED",
        }
    }

    fn refusal(self) -> ToolError {
        let words = match self {
            Self::Error(words) => {
                format!("Meta could not take the file: {}. {}", words.trim_end_matches('.'), advice(&words))
            }
            Self::Expired(words) => format!("the staged post has expired after 24 hours: {words}. Make a new one"),
            state => format!("the staged post is {}", state.word()),
        };
        ToolError::Rejected(words)
    }
}

/// The subcode at the end of Meta's text.
fn subcode_of(words: &str) -> Option<i64> {
    words.trim_end_matches('.').rsplit(' ').next()?.parse().ok()
}

/// What to change, by the subcode that Meta's text names (content publishing, error codes, 2026).
fn advice(words: &str) -> &'static str {
    match subcode_of(words).unwrap_or_default() {
        2_207_026 => "Send MP4 or MOV with H.264 or HEVC",
        2_207_003 | 2_207_052 => "Put the file where anyone can fetch it, without redirects to a login",
        2_207_004 => "Send a picture of at most 8 MB",
        2_207_005 => "Send a JPEG",
        2_207_009 => "Bring the picture between 4:5 and 1.91:1",
        2_207_010 => "Shorten the caption to 2200 characters",
        2_207_020 | 2_207_032 | 2_207_053 => "Make it once more",
        _ => "Check format, size and length of the file",
    }
}

fn state_of(node: &Value) -> State {
    let words = node["status"].as_str().unwrap_or_default();
    let words = || words.to_owned();
    match node["status_code"].as_str().unwrap_or_default() {
        "FINISHED" => State::Finished,
        "PUBLISHED" => State::Published,
        "EXPIRED" => State::Expired(words()),
        "ERROR" => State::Error(words()),
        // Seen with an empty code beside a text that says it.
        _ if words().starts_with("Error") => State::Error(words()),
        _ => State::InProgress,
    }
}

async fn look(graph: &Session, container: &str) -> Result<State, ToolError> {
    let request = Request::new("{}", &[container])?.fields("status_code,status");
    Ok(state_of(&read_new(graph, &request).await?))
}

/// Reads what was just made: for a moment Meta may not find it.
async fn read_new(graph: &Session, request: &Request) -> Result<Value, ToolError> {
    let mut tries = 1;
    loop {
        match graph.get(request).await {
            Err(error) if error.is_not_visible() && tries < TRIES => {
                let next = Instant::now() + Duration::from_secs(1);
                if next >= graph.deadline() {
                    return Err(error.into());
                }
                tries += 1;
                sleep_until(next).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Seconds between looks at a container; then every 30, as Meta asks for once a minute at most five minutes long.
const LOOKS_S: [u64; 5] = [1, 2, 4, 8, 15];

/// Looks until the container is no longer in progress, or the call's patience is over.
async fn settled(ask: &Ask, container: &str) -> Result<State, ToolError> {
    let until = patience(ask);
    let mut waits = LOOKS_S.into_iter().chain(std::iter::repeat(30));
    loop {
        let state = look(&ask.graph, container).await?;
        let now = Instant::now();
        if !matches!(state, State::InProgress) || now >= until {
            return Ok(state);
        }
        // The last look is at the end of the patience, whatever the steps before.
        sleep_until((now + Duration::from_secs(waits.next().unwrap_or(30))).min(until)).await;
    }
}

/// What a post can be known by when only its container says that it is out.
#[derive(Clone, Copy)]
struct Shown<'a> {
    /// Whether the other two are: of a post that was staged by another call they are not.
    known: bool,
    caption: Option<&'a str>,
    story: bool,
}

/// From the container to the post: waits, publishes once, reads the link.
async fn finish(
    ask: &Ask,
    writer: &mut Writer,
    mut stage: Stage,
    shown: Shown<'_>,
    note: Option<String>,
) -> Result<Done, ToolError> {
    let Some(container) = stage.container.clone() else { return Err(ToolError::Fault("there is no container")) };
    let (was_sent, mut told) = (stage.sent, false);
    let mut waits = LOOKS_S.into_iter().skip(1).chain(std::iter::repeat(30)).map(Duration::from_secs);
    ask.progress.tell(2, STEPS, "Meta takes the file in");
    loop {
        let state = match settled(ask, &container).await {
            // Publishing was asked for, and what came of it cannot be seen now.
            Err(error) if stage.sent => {
                return Err(ToolError::unknown(format!("container {container}: {error}"), true));
            }
            Err(ToolError::Graph(error)) if error.is_not_visible() => {
                writer.settle(Value::Null).await;
                let words = format!("Meta no longer has the staged post {container}; make a new one");
                return Err(ToolError::Rejected(words));
            }
            state => state?,
        };
        match state {
            State::Finished => {}
            State::InProgress => return Ok(processing(&stage, note)),
            State::Published => return found(ask, writer, &stage, shown, note).await,
            state => {
                // The next call begins anew: this container will never be published.
                writer.settle(Value::Null).await;
                return Err(state.refusal());
            }
        }
        if !std::mem::replace(&mut told, true) {
            ask.progress.tell(3, STEPS, "publishing");
        }
        stage.sent = true;
        stage.keep(writer).await?;
        let made = writer.post(&publish_request(ask, &stage)?).await;
        // An answer without an id tells no more than one that is lost.
        let made =
            made.and_then(|made| id_of(&made).map_err(|_| GraphError::of_kind(ErrorKind::OutcomeUnknown).into()));
        match made {
            Ok(id) => return published(ask, &stage, Some(id), note).await,
            Err(ToolError::Graph(error)) if error.codes() == (9007, 2_207_027) => {
                stage.sent = was_sent;
                stage.keep(writer).await?;
                let next = Instant::now() + waits.next().unwrap_or_default();
                if next > patience(ask) {
                    return Ok(processing(&stage, note));
                }
                sleep_until(next).await;
            }
            Err(ToolError::Graph(error)) if is_doubtful(&error) => {
                return match look(&ask.graph, &container).await {
                    Ok(State::Published) => found(ask, writer, &stage, shown, note).await,
                    Ok(_) if error.kind != ErrorKind::OutcomeUnknown => Err(error.into()),
                    _ => Err(ToolError::lost(error, true)),
                };
            }
            Err(error) => {
                // A refusal for good frees the key; after any other the same call goes on with this container.
                let is = |test: fn(&GraphError) -> bool| matches!(&error, ToolError::Graph(error) if test(error));
                stage.sent = was_sent;
                // A container that is absent twice is made anew.
                let absent = is(|error| error.codes() == (24, 2_207_008));
                let refused = is(|error| error.kind == ErrorKind::Rejected) || (absent && stage.absent);
                stage.absent = absent;
                let state = if refused && !was_sent { Value::Null } else { stage.state() };
                writer.settle(state).await;
                return Err(error);
            }
        }
    }
}

/// Refusals and lost answers after which the post was live all the same.
fn is_doubtful(error: &GraphError) -> bool {
    error.kind == ErrorKind::OutcomeUnknown || error.codes() == (4, 2_207_051)
}

/// Meta cuts moments to seconds, and its clock is not ours. Short: a post of somebody else's is worse than none.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);

/// The container says that it is out, and its answer was lost: finds the post, and takes none unseen.
async fn found(
    ask: &Ask,
    writer: &Writer,
    stage: &Stage,
    shown: Shown<'_>,
    note: Option<String>,
) -> Result<Done, ToolError> {
    if !shown.known {
        return published(ask, stage, None, note).await;
    }
    let since = writer.began().and_then(|began| began.checked_sub(CLOCKS_DIFFER).ok()).unwrap_or(Timestamp::MAX);
    let edge = if shown.story { "{}/stories" } else { "{}/media" };
    let page = ask.graph.page(&ask.own(edge)?.fields("id,caption,timestamp"), None, 5).await;
    let is_it = |row: &&Value| {
        moment(&row["timestamp"]).is_some_and(|at| at >= since)
            && (shown.story || row["caption"].as_str().map(str::trim) == shown.caption.map(str::trim))
    };
    let rows = page.map(|page| page.rows).unwrap_or_default();
    let matching: Vec<&Value> = rows.iter().filter(is_it).collect();
    let id = match matching[..] {
        [only] => only["id"].as_str().map(str::to_owned),
        _ => None,
    };
    // Without a caption nothing but the time tells it from what somebody else posts in the app.
    let unsure = id.is_some() && shown.caption.is_none();
    let unsure = unsure.then(|| "the only post since the call: its answer was lost".to_owned());
    let notes: Vec<String> = note.into_iter().chain(unsure).collect();
    published(ask, stage, id, (!notes.is_empty()).then(|| notes.join("; "))).await
}

/// The value of a post that is out.
async fn published(ask: &Ask, stage: &Stage, media: Option<String>, note: Option<String>) -> Result<Done, ToolError> {
    ask.progress.tell(4, STEPS, "published");
    let mut notes: Vec<String> = note.into_iter().collect();
    let node = match &media {
        Some(id) => read_new(&ask.graph, &Request::new("{}", &[id])?.fields("id,permalink,timestamp")).await.ok(),
        None => None,
    };
    match (&media, &node) {
        (None, _) => notes.push("it is published, and which post it became could not be told for certain".to_owned()),
        (_, None) => notes.push("it is published, and its link could not be read".to_owned()),
        _ => {}
    }
    let node = node.unwrap_or_default();
    let row = json!({
        "state": "published",
        "media_id": media,
        "permalink": node["permalink"],
        "container_id": stage.container,
        "timestamp": node["timestamp"],
        "quota_left": stage.quota_left.map(|left| left - 1),
        "note": (!notes.is_empty()).then(|| notes.join("; ")),
    });
    Ok(Answer::Row(row).into())
}

/// The value of a post that Meta still takes in.
fn processing(stage: &Stage, note: Option<String>) -> Done {
    let row = json!({
        "state": "processing",
        "container_id": stage.container,
        "quota_left": stage.quota_left,
        "note": note,
    });
    Done::from(Answer::Row(row)).unfinished()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_reckoned_from_what_meta_says_and_never_below_nothing() {
        for (row, left, hours) in [
            (json!({"quota_usage": 2, "config": {"quota_total": 100, "quota_duration": 86_400}}), json!(98), json!(24)),
            (json!({"quota_usage": 51, "config": {"quota_total": 50}}), json!(0), json!(null)),
            (json!({"quota_usage": 3}), json!(null), json!(null)),
        ] {
            let row = with_rest(row);
            assert_eq!((&row["left"], &row["window_hours"]), (&left, &hours));
        }
    }
}
