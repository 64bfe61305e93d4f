//! What a tool's work gets: checked arguments, the account, Graph, and what the process remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::{Answer, Args, Journal, Position, Tool, ToolError, column};
use crate::clock::Clock;
use crate::credential::{AccountIds, AccountKind, ClientId, Login};
use crate::graph::{Cursor, Request, Session};

/// Permissions: of each inner list one.
pub type Needs = &'static [&'static [&'static str]];

/// Whose account a call works on.
#[derive(Clone, Debug)]
pub struct Account {
    /// The client.
    pub client: ClientId,
    /// The login of its token.
    pub login: Login,
    /// Its account ids.
    pub ids: AccountIds,
    /// Its permissions, where they are known.
    pub scopes: Option<Vec<String>>,
    /// When the credential was last stored: names this token without telling anything about it.
    pub updated_at: Option<String>,
    /// When the token ends, where that is known: RFC 3339.
    pub token_expires_at: Option<String>,
    /// Whether that is past.
    pub token_expired: bool,
}

/// A step of a long call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Steps done; grows with each.
    pub done: u32,
    /// Steps in all.
    pub of: u32,
    /// What is going on, in our own words.
    pub words: String,
}

/// Tells the caller how far a long call came, where somebody listens.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<UnboundedSender<Step>>);

impl Progress {
    /// With where to listen.
    #[must_use]
    pub fn listened() -> (Self, UnboundedReceiver<Step>) {
        let (steps, told) = unbounded_channel();
        (Self(Some(steps)), told)
    }

    /// Tells a step. A call has a few dozen at most.
    pub fn tell(&self, done: u32, of: u32, words: impl Into<String>) {
        if let Some(steps) = &self.0 {
            // Whoever listened may have left.
            let _gone = steps.send(Step { done, of, words: words.into() });
        }
    }
}

/// One call of a tool.
pub struct Ask {
    /// The tool.
    pub tool: &'static Tool,
    /// Its arguments, checked.
    pub args: Args,
    /// Whose account.
    pub account: Account,
    /// Graph, with the account's token.
    pub graph: Arc<Session>,
    /// What the process remembers.
    pub memory: Arc<Memory>,
    /// Wall time.
    pub clock: Clock,
    /// Where writes are written down; `None` where nothing is written.
    pub journal: Option<Arc<dyn Journal>>,
    /// When the call came.
    pub arrived: Instant,
    /// Who listens how far it came.
    pub progress: Progress,
}

/// From this share of Meta's limit on, reads that cost more than one call are refused.
const NEAR_LIMIT_PCT: f64 = 95.0;
/// How long to wait then, where Meta does not say.
const NEAR_LIMIT_WAIT: Duration = Duration::from_secs(3600);

impl Ask {
    /// The account id that the tool works on.
    ///
    /// # Errors
    /// It is not known. The frame checks this before; tools that need a second id meet it.
    pub fn id(&self, kind: AccountKind) -> Result<&str, ToolError> {
        self.account.ids.get(kind).ok_or(ToolError::MissingAccount(kind))
    }

    /// A request to the account's own node or an edge of it, as `"{}/media"`.
    ///
    /// # Errors
    /// The account id is not known, or is none of Meta's.
    pub fn own(&self, template: &'static str) -> Result<Request, ToolError> {
        Ok(Request::new(template, &[self.id(self.tool.account)?])?)
    }

    /// The `fields` of the tool's row; with `insights` false no metric is asked.
    #[must_use]
    pub fn fields(&self, insights: bool) -> String {
        column::fields(self.asked_columns(), insights)
    }

    /// The columns that this login and these arguments ask for.
    pub fn asked_columns(&self) -> impl Iterator<Item = &'static column::Column> {
        let login = self.account.login;
        self.tool.columns(&self.args).filter(move |column| column.login.is_none_or(|only| only == login))
    }

    /// The whole work of a tool whose columns say all.
    pub(super) async fn own_node(&self) -> Result<Answer, ToolError> {
        let request = self.own("{}")?.fields(self.fields(true));
        Ok(Answer::Row(self.graph.node(&request).await?))
    }

    /// Names tool and client, for cursors.
    fn scope(&self) -> String {
        format!("{}/{}", self.tool.name, self.account.client)
    }

    /// Where the list goes on, if the caller said so.
    ///
    /// # Errors
    /// The cursor is none of ours, or was made with other parameters.
    pub fn position(&self) -> Result<Option<(Position, Cursor)>, ToolError> {
        Ok(Position::of(&self.scope(), &self.args)?)
    }

    /// `next_cursor` for Meta's.
    #[must_use]
    pub fn next_cursor(&self, after: Option<Cursor>, window: Option<(String, String)>) -> Option<String> {
        after.map(|after| Position::new(&after, window, &self.scope(), &self.args).encode())
    }

    /// Before work that costs more than one call: refused when Meta's limit is nearly used.
    ///
    /// # Errors
    /// [`ToolError::NearLimit`].
    pub fn check_limit(&self) -> Result<(), ToolError> {
        match self.graph.usage() {
            Some(usage) if usage.highest_pct >= NEAR_LIMIT_PCT => {
                Err(ToolError::NearLimit(usage.regain.unwrap_or(NEAR_LIMIT_WAIT)))
            }
            _ => Ok(()),
        }
    }

    /// Permissions of the tool that the token lacks, as far as that is known. Empty when nothing is known to be missing.
    pub async fn missing_permissions(&self) -> Vec<String> {
        self.missing_of(self.tool.needs, self.tool.needs_instagram).await
    }

    /// The same of other permissions than the tool's: those with Facebook Login, and those with Instagram Login.
    pub async fn missing_of(&self, needs: Needs, needs_instagram: Needs) -> Vec<String> {
        let needs = if self.account.login == Login::Facebook { needs } else { needs_instagram };
        self.granted().await.map(|granted| lacking(needs, &granted)).unwrap_or_default()
    }

    /// The token's permissions, where they are known: the credential's scopes first, then `/me/permissions`, once per
    /// token.
    pub async fn granted(&self) -> Option<Vec<String>> {
        match (&self.account.scopes, self.account.login) {
            (Some(scopes), _) => Some(scopes.clone()),
            (None, Login::Facebook) => self.ask_permissions().await,
            (None, Login::Instagram) => None,
        }
    }

    async fn ask_permissions(&self) -> Option<Vec<String>> {
        let key = format!("permissions/{}/{:?}", self.account.client, self.account.updated_at);
        if let Some(Value::Array(known)) = self.memory.get(&key) {
            return Some(known.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect());
        }
        let answer = self.graph.get(&Request::new("me/permissions", &[]).ok()?).await.ok()?;
        let rows = answer["data"].as_array()?;
        let granted = rows.iter().filter(|row| row["status"] == "granted");
        let names: Vec<String> = granted.filter_map(|row| Some(row["permission"].as_str()?.to_owned())).collect();
        self.memory.put(key, names.clone().into(), Duration::from_secs(3600));
        Some(names)
    }
}

/// What of `needs` is not in `granted`: of each inner list one would do.
#[must_use]
pub fn lacking(needs: &[&[&str]], granted: &[String]) -> Vec<String> {
    let lacks = |any: &&&[&str]| !any.iter().any(|name| granted.iter().any(|have| have == name));
    needs.iter().filter(lacks).map(|any| any.join(" or ")).collect()
}

/// What the process remembers for a while: refused metrics, kinds of posts, an account's currency. Bounded.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, (Instant, Value)>>);

/// Things remembered at once.
const REMEMBERED_MAX: usize = 10_000;

impl Memory {
    /// What was put under `key`, while it lasts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    /// Remembers `value` for `lasts`.
    pub fn put(&self, key: String, value: Value, lasts: Duration) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= REMEMBERED_MAX {
            let now = Instant::now();
            entries.retain(|_, (until, _)| *until > now);
            if entries.len() >= REMEMBERED_MAX {
                entries.clear();
            }
        }
        entries.insert(key, (Instant::now() + lasts, value));
    }
}
