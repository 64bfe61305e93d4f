//! What all writes share: the dry run, the journal that makes them safe to repeat, and what an unknown outcome is.
//!
//! A write's own code gets a [`Writer`], the only thing through which it can change anything. In a dry run the first
//! change is told instead of sent. Writes that are not idempotent by nature have an entry in the [`Journal`] before
//! Meta is asked: whoever repeats them gets the stored value, or goes on where the first one stood.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use tokio::time::timeout_at;

use super::{Args, ArgumentError, Ask, Column, Param, ParamKind, ToolError, WriteRun, column};
use crate::clock::{Clock, parse_rfc3339, rfc3339};
use crate::graph::{ErrorKind, GraphError, Request, Session};

/// Of every changing tool: check, and say what would be sent.
pub const DRY_RUN: Param = Param::new("dry_run", ParamKind::Flag, "Checks only, sends nothing.", "true").or("false");
/// Of every changing tool that is not idempotent by nature.
pub const IDEMPOTENCY_KEY: Param = Param::new(
    "idempotency_key",
    ParamKind::Text(64),
    "A key does it once in 7 days; without one, the same parameters once an hour.",
    "\"post-2026-11-20\"",
);
/// Beside [`IDEMPOTENCY_KEY`].
pub const FORCE_NEW: Param =
    Param::new("force_new", ParamKind::Flag, "Does it again, though done.", "true").or("false");

/// Of changing tools that may take longer than a call.
pub const WAIT_S: Param =
    Param::new("wait_s", ParamKind::Int(0, 40), "Seconds to wait; then the same call goes on where it stood.", "30")
        .or("30");

/// Of every changing tool: whether nothing was sent.
pub const WAS_DRY_RUN: Column = Column::flag("dry_run").made().about("whether nothing was sent");
/// Of every changing tool.
pub const WOULD_SEND: Column =
    Column::text("would_send").made().about("with dry_run: the requests that would go out, as JSON text");
/// Of journalled tools: whether it had been done before.
pub const REPEATED: Column = Column::flag("repeated").made().about("whether it had been done before and was not again");
/// Of journalled tools: the key that a repetition may send.
pub const KEY: Column = Column::text("idempotency_key").made().about("with this key a repetition finds what was made");

/// Members that the frame adds to a write's value: alike everywhere, so the published schema leaves them out.
pub(super) const FRAME: [Column; 4] = [WAS_DRY_RUN, WOULD_SEND, REPEATED, KEY];

/// How long a key of the caller holds.
const NAMED_HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the same parameters count as the same call.
const UNNAMED_HOLDS: SignedDuration = SignedDuration::from_hours(1);
/// How long a change whose answer was lost may take to show: until then it is looked for, and not sent again.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);
/// How far our clock may be ahead of Meta's before what was made counts as older than its call.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);
/// Of the state that [`Writer::once`] writes down: when it was sent.
const SENT_AT: &str = "sent_at";
/// What a write keeps of the call's time to write down its outcome.
pub const TIME_TO_SETTLE: Duration = Duration::from_secs(2);

/// The journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the journal of writes cannot be used: {0}")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// One write in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was first asked for.
    pub began: Timestamp,
    /// From when on the key is free again.
    pub ends: Timestamp,
    /// Of the parameters: the same key with others is a mistake.
    pub digest: String,
    /// How far it came, in the tool's own words; `null` while nothing was sent.
    pub state: Value,
    /// The value, once there is one.
    pub result: Option<Map<String, Value>>,
}

/// Where writes are written down before Meta is asked. Each change is on disk before its call returns.
pub trait Journal: Send + Sync {
    /// Waits until nobody else holds the key, in whatever process, and keeps others waiting while what it gives is
    /// there.
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Box<dyn Send>, JournalError>>;
    /// The entry of a key, if there is one that has not ended by `now`.
    fn find<'a>(&'a self, key: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Option<Entry>, JournalError>>;
    /// Writes the entry of a key.
    fn keep<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<(), JournalError>>;
    /// Frees a key.
    fn forget<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), JournalError>>;
}

/// A key with its entry, in the journal that holds it.
struct Open {
    journal: Arc<dyn Journal>,
    key: String,
    /// The part of the key that the caller may send.
    short: String,
    entry: Entry,
}

/// Through this a write changes things.
pub struct Writer {
    graph: Arc<Session>,
    clock: Clock,
    dry: bool,
    open: Option<Open>,
}

impl Writer {
    /// Says in a dry run what would be sent, and ends it; else does nothing.
    ///
    /// # Errors
    /// [`ToolError::DryRun`].
    pub fn announce(&self, requests: &[Request]) -> Result<(), ToolError> {
        if !self.dry {
            return Ok(());
        }
        Err(ToolError::DryRun(requests.iter().map(|request| request.described("POST")).collect()))
    }

    /// Sends a change, once.
    ///
    /// # Errors
    /// As [`Session::post`]; in a dry run [`ToolError::DryRun`].
    pub async fn post(&self, request: &Request) -> Result<Value, ToolError> {
        self.post_as(&self.graph, request).await
    }

    /// As [`Writer::post`], with another token of the same call.
    ///
    /// # Errors
    /// As [`Writer::post`].
    pub async fn post_as(&self, session: &Session, request: &Request) -> Result<Value, ToolError> {
        self.announce(std::slice::from_ref(request))?;
        Ok(session.post(request).await?)
    }

    /// Deletes, once.
    ///
    /// # Errors
    /// As [`Session::delete`]; in a dry run [`ToolError::DryRun`].
    pub async fn delete(&self, request: &Request) -> Result<Value, ToolError> {
        if self.dry {
            return Err(ToolError::DryRun(vec![request.described("DELETE")]));
        }
        Ok(self.graph.delete(request).await?)
    }

    /// How far an earlier call with this key came; `null` where there was none.
    #[must_use]
    pub fn state(&self) -> &Value {
        self.open.as_ref().map_or(&Value::Null, |open| &open.entry.state)
    }

    /// When the first call with this key came.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.entry.began)
    }

    /// From when on Meta may date what this write made: our clock may be ahead of Meta's by a minute.
    #[must_use]
    pub fn made_since(&self) -> Timestamp {
        self.began().and_then(|began| began.checked_sub(CLOCKS_DIFFER).ok()).unwrap_or_default()
    }

    /// The key of this write, for the answer of one that is not finished.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.short.as_str())
    }

    /// Whether an earlier call with this key sent it through [`Writer::once`], and nobody knows what came of that.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.state().get(SENT_AT).is_some()
    }

    /// Whether what an earlier call sent may still be on its way through Meta.
    fn may_still_come(&self) -> bool {
        let sent_at = self.state()[SENT_AT].as_str().and_then(parse_rfc3339);
        let until = sent_at.and_then(|at| at.checked_add(ON_ITS_WAY).ok());
        until.is_some_and(|until| until > self.clock.now())
    }

    /// Writes down how far it came, before it goes on. In a dry run nothing is written.
    ///
    /// # Errors
    /// [`ToolError::Journal`]: nothing may be sent then.
    pub async fn remember(&mut self, state: Value) -> Result<(), ToolError> {
        if let Some(open) = &mut self.open {
            open.entry.state = state;
            open.journal.keep(&open.key, &open.entry).await?;
        }
        Ok(())
    }

    /// As [`Writer::remember`] where an error is on its way out already, which must not be hidden by the journal's.
    pub async fn settle(&mut self, state: Value) {
        if let Err(error) = self.remember(state).await {
            tracing::error!(%error, "how a write ended cannot be written down");
        }
    }

    /// Sends one change that must not happen twice. Where an earlier answer was lost, and where this one is, `find`
    /// looks for what was made.
    ///
    /// # Errors
    /// As [`Writer::post`]; [`ToolError::OutcomeUnknown`] where the answer was lost and `find` could not settle it.
    pub async fn once<F>(&mut self, request: &Request, find: F) -> Result<Value, ToolError>
    where
        F: Fn() -> BoxFuture<'static, Result<Found, ToolError>>,
    {
        let graph = Arc::clone(&self.graph);
        self.once_as(&graph, request, find).await
    }

    /// As [`Writer::once`], with another token of the same call.
    ///
    /// # Errors
    /// As [`Writer::once`].
    pub async fn once_as<F>(&mut self, graph: &Session, request: &Request, find: F) -> Result<Value, ToolError>
    where
        F: Fn() -> BoxFuture<'static, Result<Found, ToolError>>,
    {
        let was_sent = self.was_sent();
        if was_sent {
            match find().await? {
                Found::Made(value) => return Ok(value),
                Found::Nothing if self.may_still_come() => {
                    let words = "an earlier call sent it less than a minute ago, and it may still come";
                    return Err(ToolError::unknown(words, true));
                }
                Found::Nothing => {}
                Found::CannotLook => {
                    let words = "an earlier call may have done it, and there is no way to look; another idempotency_key \
                                 does it once more";
                    return Err(ToolError::unknown(words, false));
                }
            }
        }
        self.announce(std::slice::from_ref(request))?;
        self.remember(json!({ SENT_AT: rfc3339(self.clock.now()) })).await?;
        let made = self.post_as(graph, request).await;
        // An answer that names nothing tells no more than one that is lost.
        let made = made.and_then(|made| match made["id"].is_string() || made["message_id"].is_string() {
            true => Ok(made),
            false => Err(GraphError::of_kind(ErrorKind::OutcomeUnknown).into()),
        });
        match made {
            Err(ToolError::Graph(error)) if error.kind == ErrorKind::OutcomeUnknown => match find().await {
                Ok(Found::Made(value)) => Ok(value),
                // Nothing was found, which may only mean that it does not show yet: the next call looks again.
                Ok(Found::Nothing) | Err(_) => Err(ToolError::lost(error, true)),
                Ok(Found::CannotLook) => Err(ToolError::lost(error, false)),
            },
            Err(error) => {
                // What an earlier call may have done stays written down: a refusal of this one says nothing of it.
                if !was_sent {
                    self.settle(Value::Null).await;
                }
                Err(error)
            }
            made => made,
        }
    }
}

/// What a look for a lost answer brought.
#[derive(Debug)]
pub enum Found {
    /// It was made: this is its raw row.
    Made(Value),
    /// It is not there.
    Nothing,
    /// There is no way to look.
    CannotLook,
}

impl ToolError {
    /// An unknown outcome: `words` say what is known, `again` whether the same call finds what was made.
    pub fn unknown(words: impl fmt::Display, again: bool) -> Self {
        Self::OutcomeUnknown { words: words.to_string(), again, said: None }
    }

    /// The same of Meta's own refusal, or of an answer that was lost.
    #[must_use]
    pub fn lost(error: GraphError, again: bool) -> Self {
        Self::OutcomeUnknown { words: error.to_string(), again, said: Some(Box::new(error)) }
    }
}

/// A changing tool's whole call: the value, with the members that the frame adds.
pub(super) async fn answer(ask: Ask, run: WriteRun) -> Result<Map<String, Value>, ToolError> {
    let tool = ask.tool;
    let (graph, clock) = (Arc::clone(&ask.graph), ask.clock.clone());
    let args = ask.args.clone();
    if args.flag(DRY_RUN.name) {
        return dry_run(ask, run).await;
    }
    if tool.idempotent {
        let done = run(ask, Writer { graph, clock, dry: false, open: None }).await;
        // The same call once more sets the same state: nothing is made twice.
        let done = done.map_err(|error| match error {
            ToolError::Graph(error) if error.kind == ErrorKind::OutcomeUnknown => ToolError::lost(error, true),
            error => error,
        })?;
        return tool.value(&args, &done.with(WAS_DRY_RUN.name, false));
    }
    journalled(ask, run).await
}

/// Says what would be sent: nothing where the journal has it already, or where there is nothing to do.
async fn dry_run(ask: Ask, run: WriteRun) -> Result<Map<String, Value>, ToolError> {
    let (tool, args) = (ask.tool, ask.args.clone());
    let told = |requests: Vec<Value>, repeated: bool| {
        let raw = json!({
            WAS_DRY_RUN.name: true,
            WOULD_SEND.name: Value::from(requests).to_string(),
            REPEATED.name: repeated,
        });
        Ok(column::row(tool.columns(&args), &raw, column::Facts::default())?)
    };
    if !tool.idempotent {
        let name = Name::of(&ask);
        let journal = ask.journal.clone().ok_or(ToolError::Fault("there is no journal"))?;
        let found = journal.find(&name.key, ask.clock.now()).await?;
        if name.done(found.as_ref(), &args)?.is_some() {
            return told(Vec::new(), true);
        }
    }
    let writer = Writer { graph: Arc::clone(&ask.graph), clock: ask.clock.clone(), dry: true, open: None };
    match run(ask, writer).await {
        Err(ToolError::DryRun(requests)) => told(requests, false),
        Ok(done) => {
            tool.value(&args, &done.with(WAS_DRY_RUN.name, true).with(WOULD_SEND.name, "[]").with(REPEATED.name, false))
        }
        Err(error) => Err(error),
    }
}

/// What a write is called in the journal.
struct Name {
    /// Of its parameters.
    digest: String,
    /// Whether the caller gave the key.
    named: bool,
    /// The part of the key that the caller may send.
    short: String,
    key: String,
}

impl Name {
    fn of(ask: &Ask) -> Self {
        let digest = digest_of(ask);
        let named = ask.args.text(IDEMPOTENCY_KEY.name);
        let short = named.unwrap_or(&digest).to_owned();
        let key = format!("{}/{}/{short}", ask.account.client, ask.tool.name);
        Self { named: named.is_some(), digest, short, key }
    }

    /// The stored value of what was done, unless it is to be done once more.
    fn done(&self, found: Option<&Entry>, args: &Args) -> Result<Option<Map<String, Value>>, ArgumentError> {
        // Once more is for what was done. What is not finished is gone on with, or a repetition would do it twice.
        let found = found.filter(|entry| !(entry.result.is_some() && args.flag(FORCE_NEW.name)));
        match found {
            Some(entry) if entry.digest != self.digest => {
                let expected = "this key was used with other parameters; take another one";
                Err(ArgumentError::of(IDEMPOTENCY_KEY.name, expected))
            }
            found => Ok(found.and_then(|entry| entry.result.clone())),
        }
    }
}

async fn journalled(ask: Ask, run: WriteRun) -> Result<Map<String, Value>, ToolError> {
    let (tool, args, now) = (ask.tool, ask.args.clone(), ask.clock.now());
    let (graph, clock) = (Arc::clone(&ask.graph), ask.clock.clone());
    let journal = ask.journal.clone().ok_or(ToolError::Fault("there is no journal"))?;
    let name = Name::of(&ask);
    let at_work = || ToolError::unknown("the same call is still at work", true);
    let _turn = timeout_at(graph.deadline(), journal.lock(&name.key)).await.map_err(|_| at_work())??;
    let found = journal.find(&name.key, now).await?;
    if let Some(mut value) = name.done(found.as_ref(), &args)? {
        value.insert(REPEATED.name.to_owned(), true.into());
        return Ok(value);
    }
    let (done_before, begun) = match found {
        Some(entry) if entry.result.is_some() => (Some(entry), None),
        begun => (None, begun),
    };
    let entry = match begun {
        Some(entry) => entry,
        None => {
            let holds = if name.named { NAMED_HOLDS } else { UNNAMED_HOLDS };
            let digest = name.digest.clone();
            let entry = Entry { began: now, ends: now + holds, digest, state: Value::Null, result: None };
            journal.keep(&name.key, &entry).await?;
            entry
        }
    };
    let resumed = !entry.state.is_null();
    let open =
        Open { journal: Arc::clone(&journal), key: name.key.clone(), short: name.short.clone(), entry: entry.clone() };
    let done = run(ask, Writer { graph, clock, dry: false, open: Some(open) }).await;
    match done {
        Ok(done) => {
            let finished = done.finished;
            let done = done.with(WAS_DRY_RUN.name, false).with(REPEATED.name, false).with(KEY.name, name.short);
            let value = tool.value(&args, &done)?;
            if finished {
                let settled = Entry { result: Some(value.clone()), ..entry };
                // It is done, and the caller must know: a repetition finds it by looking, as after a lost answer.
                if let Err(error) = journal.keep(&name.key, &settled).await {
                    tracing::error!(%error, tool = tool.name, resumed, "a write was done and cannot be written down");
                }
            }
            Ok(value)
        }
        Err(ToolError::Graph(error)) if error.kind == ErrorKind::OutcomeUnknown => Err(ToolError::lost(error, true)),
        Err(error) => {
            // Refused before anything was made: the key is free for another try, or again what was done before.
            let freed = async {
                if journal.find(&name.key, now).await?.is_some_and(|entry| entry.state.is_null()) {
                    match &done_before {
                        Some(before) => journal.keep(&name.key, before).await?,
                        None => journal.forget(&name.key).await?,
                    }
                }
                Ok::<_, JournalError>(())
            };
            if let Err(error) = freed.await {
                tracing::error!(%error, tool = tool.name, "the key of a refused write cannot be freed");
            }
            Err(error)
        }
    }
}

/// The same client, account, tool and parameters give the same digest, 32 hex digits.
fn digest_of(ask: &Ask) -> String {
    let mut params = ask.args.but_cursor();
    for frame in [DRY_RUN.name, IDEMPOTENCY_KEY.name, FORCE_NEW.name, WAIT_S.name] {
        params.remove(frame);
    }
    let what = (ask.account.client.as_str(), ask.account.ids.get(ask.tool.account), ask.tool.name, params);
    let text = serde_json::to_string(&what).expect("arguments are JSON");
    hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}
