//! What a tool is: declared once, from which come the question to Graph, the flat answer, the schema and the docs.
//!
//! A [`Tool`] names its parameters, the columns of its value and what it does: a function over checked arguments
//! ([`Tool::run`]). The frame around it checks arguments, account and login before, and passes only declared columns
//! after.

pub mod ask;
pub mod column;
mod cursor;
mod list;
pub mod money;
pub mod param;
pub mod write;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

pub use ask::{Account, Ask, Memory, Progress, Step};
pub use column::{Column, Facts, Kind};
pub use cursor::Position;
pub use list::stale;
pub use param::{Args, ArgumentError, Param, ParamKind};
pub use write::{Entry, Found, Journal, JournalError, Writer};

use crate::credential::{AccountKind, Login};
use crate::graph::GraphError;

/// Which changing tools are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writes {
    /// None. The default.
    #[default]
    Off,
    /// What can be undone.
    On,
    /// Also what deletes or spends.
    All,
}

impl Writes {
    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::All => "all",
        }
    }
}

/// What a tool may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Read,
    /// What can be undone; `[mcp.…] writes = "on"` offers it.
    Write,
    /// It deletes, spends or writes to a person; `"all"` offers it.
    WriteAll,
}

impl Access {
    /// The setting from which on it is offered.
    #[must_use]
    pub fn needs(self) -> Writes {
        match self {
            Self::Read => Writes::Off,
            Self::Write => Writes::On,
            Self::WriteAll => Writes::All,
        }
    }
}

/// What a tool's answer looks like.
#[derive(Clone, Copy)]
pub enum Shape {
    /// One row: its members stand at the top.
    Row(&'static [Column]),
    /// Rows under a plural noun, `next_cursor`, and members beside them.
    List {
        /// The plural noun.
        key: &'static str,
        /// A row.
        row: &'static [Column],
        /// Members beside the list.
        beside: &'static [Column],
    },
    /// One row, or a list of them where the parameter `many` was sent.
    RowOrList {
        /// The parameter that asks for several.
        many: &'static str,
        /// The plural noun.
        key: &'static str,
        /// A row.
        row: &'static [Column],
    },
}

/// What a tool's work brings back; the frame turns it into the declared shape.
#[derive(Debug)]
pub enum Answer {
    /// The raw row of [`Shape::Row`].
    Row(Value),
    /// The raw rows of [`Shape::List`], what stands beside them, and where the list goes on.
    List {
        /// Raw rows.
        rows: Vec<Value>,
        /// Raw members beside the list.
        beside: Value,
        /// `next_cursor`.
        next: Option<String>,
    },
}

/// An answer, what its amounts are in, and whether its work is at an end.
#[derive(Debug)]
pub struct Done {
    answer: Answer,
    currency: Option<String>,
    finished: bool,
}

impl From<Answer> for Done {
    fn from(answer: Answer) -> Self {
        Self { answer, currency: None, finished: true }
    }
}

impl Done {
    /// Of a write that the same call goes on with.
    #[must_use]
    pub fn unfinished(self) -> Self {
        Self { finished: false, ..self }
    }

    /// With a member of its row put there by the frame.
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        if let Answer::Row(Value::Object(row)) = &mut self.answer {
            row.insert(name.to_owned(), value.into());
        }
        self
    }
}

impl Answer {
    /// With the currency of its amounts in minor units.
    #[must_use]
    pub fn in_currency(self, currency: impl Into<String>) -> Done {
        Done { answer: self, currency: Some(currency.into()), finished: true }
    }
}

/// A tool's own work.
pub type Run = fn(Ask) -> BoxFuture<'static, Result<Done, ToolError>>;

/// A changing tool's own work.
pub type WriteRun = fn(Ask, Writer) -> BoxFuture<'static, Result<Done, ToolError>>;

#[derive(Clone, Copy)]
enum Work {
    /// Reads one node, whose fields are the columns': the account's.
    Node,
    Run(Run),
    /// Tells of the connection itself, so it works with a dead token and without the account's id.
    Connection(Run),
    Write(WriteRun),
}

/// One tool of a catalogue.
#[derive(Clone, Copy)]
pub struct Tool {
    /// Verb first, snake_case, under 40 characters.
    pub name: &'static str,
    /// Another name under which it is taken, and which is not listed.
    pub alias: Option<&'static str>,
    /// What it is about, for people who look for one: "Comments".
    pub group: &'static str,
    /// When to use it, for people and agents.
    pub about: &'static str,
    /// What it may change.
    pub access: Access,
    /// Whether repeating it changes nothing more.
    pub idempotent: bool,
    /// Whether it destroys something.
    pub destructive: bool,
    /// The account id that it works on.
    pub account: AccountKind,
    /// The one login that offers it; `None`: both.
    pub login: Option<Login>,
    /// Permissions that it needs with Facebook Login: of each inner list one.
    pub needs: &'static [&'static [&'static str]],
    /// The same with Instagram Login.
    pub needs_instagram: &'static [&'static [&'static str]],
    /// Its parameters.
    pub params: &'static [Param],
    /// Its value.
    pub shape: Shape,
    /// An example of arguments, as JSON.
    pub example: &'static str,
    work: Work,
}

impl Tool {
    const fn new(name: &'static str, account: AccountKind, access: Access) -> Self {
        Self {
            name,
            alias: None,
            group: "",
            about: "",
            access,
            idempotent: matches!(access, Access::Read),
            destructive: false,
            account,
            login: None,
            needs: &[],
            needs_instagram: &[],
            params: &[],
            shape: Shape::Row(&[]),
            example: "{}",
            work: Work::Node,
        }
    }

    /// A tool that changes nothing.
    #[must_use]
    pub const fn read(name: &'static str, account: AccountKind) -> Self {
        Self::new(name, account, Access::Read)
    }

    /// A tool that changes what can be undone.
    #[must_use]
    pub const fn write(name: &'static str, account: AccountKind) -> Self {
        Self::new(name, account, Access::Write)
    }

    /// A tool that deletes, spends or writes to a person.
    #[must_use]
    pub const fn write_all(name: &'static str, account: AccountKind) -> Self {
        Self { destructive: true, ..Self::new(name, account, Access::WriteAll) }
    }

    /// When to use it.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Another name under which it is taken.
    #[must_use]
    pub const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// What it is about, for people who look for one.
    #[must_use]
    pub const fn group(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    /// Whether it is called `name`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }

    /// Only this login offers it.
    #[must_use]
    pub const fn only(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// Permissions with Facebook Login: of each inner list one.
    #[must_use]
    pub const fn needs(self, needs: &'static [&'static [&'static str]]) -> Self {
        Self { needs, ..self }
    }

    /// Permissions with Instagram Login.
    #[must_use]
    pub const fn needs_instagram(self, needs_instagram: &'static [&'static [&'static str]]) -> Self {
        Self { needs_instagram, ..self }
    }

    /// Its parameters.
    #[must_use]
    pub const fn params(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    /// An example of arguments.
    #[must_use]
    pub const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// Its value is one row.
    #[must_use]
    pub const fn row(self, columns: &'static [Column]) -> Self {
        Self { shape: Shape::Row(columns), ..self }
    }

    /// Its value is a list.
    #[must_use]
    pub const fn list(self, key: &'static str, row: &'static [Column], beside: &'static [Column]) -> Self {
        Self { shape: Shape::List { key, row, beside }, ..self }
    }

    /// Its value is one row, or a list of them where the parameter `many` was sent.
    #[must_use]
    pub const fn row_or_list(self, many: &'static str, key: &'static str, row: &'static [Column]) -> Self {
        Self { shape: Shape::RowOrList { many, key, row }, ..self }
    }

    /// It does its own work.
    #[must_use]
    pub const fn run(self, run: Run) -> Self {
        Self { work: Work::Run(run), ..self }
    }

    /// It tells of the connection itself: a dead token and a missing account are its answer, not its error. Its row
    /// has the members `connected` and `problem`.
    #[must_use]
    pub const fn of_connection(self, run: Run) -> Self {
        Self { work: Work::Connection(run), ..self }
    }

    /// It changes something.
    #[must_use]
    pub const fn change(self, run: WriteRun) -> Self {
        Self { work: Work::Write(run), ..self }
    }

    /// Repeating it changes nothing more: it sets a state. Such writes need no journal.
    #[must_use]
    pub const fn sets_a_state(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// What it changes cannot be taken back, or is seen by others at once.
    #[must_use]
    pub const fn destructive(self) -> Self {
        Self { destructive: true, ..self }
    }

    /// Whether it tells of the connection itself.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        matches!(self.work, Work::Connection(_))
    }

    /// The value of a tool that tells of the connection, where there is none.
    #[must_use]
    pub fn unconnected(&self, problem: &str) -> Map<String, Value> {
        let raw = json!({ "connected": false, "problem": problem });
        column::row(self.row_columns(), &raw, Facts::default()).expect("no amount is in it")
    }

    /// Its name for people: "Recent media".
    #[must_use]
    pub fn title(&self) -> String {
        let words =
            self.name.split_once('_').map_or(self.name, |(verb, rest)| if verb == "get" { rest } else { self.name });
        let mut title = words.replace('_', " ");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        title
    }

    /// What a call's arguments must look like.
    #[must_use]
    pub fn input_schema(&self) -> Map<String, Value> {
        param::object_schema(self.params)
    }

    /// What a value surely has: the list's key, `next_cursor`, and the names of the top members. What they hold, and
    /// rows, stand in the docs: a list of many tools must stay small for its readers.
    #[must_use]
    pub fn output_schema(&self) -> Map<String, Value> {
        let mut properties = Map::new();
        let (columns, key, always) = match self.shape {
            Shape::Row(columns) => (columns, None, false),
            Shape::List { key, beside, .. } => (beside, Some(key), true),
            Shape::RowOrList { key, .. } => (&[][..], Some(key), false),
        };
        if let Some(key) = key {
            properties.insert(key.to_owned(), json!({ "type": "array", "items": { "type": "object" } }));
            properties.insert("next_cursor".to_owned(), json!({ "type": ["string", "null"] }));
        }
        let framed = |column: &Column| write::FRAME.iter().any(|framed| framed.name == column.name);
        for column in columns.iter().filter(|column| !column.is_pattern() && !framed(column)) {
            properties.insert(column.name.to_owned(), json!({}));
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.into());
        if let Some(key) = key.filter(|_| always) {
            schema.insert("required".to_owned(), json!([key]));
        }
        schema
    }

    /// The columns of a row.
    #[must_use]
    pub fn row_columns(&self) -> &'static [Column] {
        match self.shape {
            Shape::Row(row) | Shape::List { row, .. } | Shape::RowOrList { row, .. } => row,
        }
    }

    /// Columns of a row that these arguments ask for.
    pub fn columns(&self, args: &Args) -> impl Iterator<Item = &'static Column> {
        let shown = |column: &&Column| column.when.is_none_or(|holds| holds(column, args));
        self.row_columns().iter().filter(|column| column.only_with.is_none_or(|param| args.flag(param))).filter(shown)
    }

    /// The permissions that it needs with that login: of each inner list one.
    #[must_use]
    pub fn needs_of(&self, login: Login) -> &'static [&'static [&'static str]] {
        match login {
            Login::Facebook => self.needs,
            Login::Instagram => self.needs_instagram,
        }
    }

    /// Whether login and account let it work.
    ///
    /// # Errors
    /// The login does not offer it, or the account id is not known.
    pub fn check_account(&self, account: &Account) -> Result<(), ToolError> {
        if let Some(login) = self.login.filter(|login| *login != account.login) {
            return Err(ToolError::NotOffered { needs: login });
        }
        if account.ids.get(self.account).is_none() {
            return Err(ToolError::MissingAccount(self.account));
        }
        Ok(())
    }

    /// Does it, and gives the value: declared members only.
    ///
    /// # Errors
    /// Why there is no value.
    pub async fn answer(&self, ask: Ask) -> Result<Map<String, Value>, ToolError> {
        if !self.is_of_connection() {
            self.check_account(&ask.account)?;
        }
        let args = ask.args.clone();
        let done = match self.work {
            Work::Node => ask.own_node().await?.into(),
            Work::Run(run) | Work::Connection(run) => run(ask).await?,
            Work::Write(run) => return write::answer(ask, run).await,
        };
        self.value(&args, &done)
    }

    fn value(&self, args: &Args, done: &Done) -> Result<Map<String, Value>, ToolError> {
        let facts = Facts { currency: done.currency.as_deref() };
        let (key, beside) = match self.shape {
            Shape::Row(_) => (None, &[][..]),
            Shape::List { key, beside, .. } => (Some(key), beside),
            Shape::RowOrList { many, key, .. } => (args.has(many).then_some(key), &[][..]),
        };
        match (key, &done.answer) {
            (None, Answer::Row(raw)) => Ok(column::row(self.columns(args), raw, facts)?),
            (Some(key), Answer::List { rows, beside: raw, next }) => {
                let rows = rows.iter().map(|raw| Ok(column::row(self.columns(args), raw, facts)?.into()));
                let rows = rows.collect::<Result<Vec<Value>, ToolError>>()?;
                let mut value = Map::new();
                value.insert(key.to_owned(), rows.into());
                value.insert("next_cursor".to_owned(), next.clone().into());
                value.extend(column::row(beside, raw, facts)?);
                Ok(value)
            }
            _ => Err(ToolError::Fault("the tool's answer has another shape than it declares")),
        }
    }
}

/// Why a tool has no value. Status, code and public words are made of it in the role, and nowhere else.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// An argument does not fit.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The credential has no such account id.
    #[error("the credential has no {}", .0.name())]
    MissingAccount(AccountKind),
    /// The tool needs the other kind of login.
    #[error("this tool needs a credential of {} login", .needs.as_str())]
    NotOffered {
        /// The login that offers it.
        needs: Login,
    },
    /// Meta gave no value.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The token lacks permissions, as far as we know.
    #[error("the token lacks the permission {0}")]
    MissingPermission(String),
    /// Nearly all of Meta's limit is used: several calls more would hit it.
    #[error("nearly all of Meta's call limit is used")]
    NearLimit(std::time::Duration),
    /// Meta will not give so much at once, and smaller pages did not help.
    #[error("Meta will not answer so much at once: {instead}")]
    TooMuch {
        /// What to ask instead.
        instead: &'static str,
        /// Meta's refusal.
        #[source]
        refusal: GraphError,
    },
    /// Meta refused it in an answer that is no error: a post's file that it could not take.
    #[error("{0}")]
    Rejected(String),
    /// A quota of Meta's is used up.
    #[error("{words}")]
    QuotaUsed {
        /// Which.
        words: String,
        /// How long to wait.
        wait: std::time::Duration,
    },
    /// A write whose answer is lost: it may have happened.
    #[error("{words}")]
    OutcomeUnknown {
        /// What is known, and what to look at.
        words: String,
        /// Whether the same call finds what was made.
        again: bool,
        /// What Meta said, where it said something.
        said: Option<Box<GraphError>>,
    },
    /// A dry run came to what would be sent; the frame makes the value of it.
    #[error("a dry run ends here")]
    DryRun(Vec<Value>),
    /// The journal cannot be used, so nothing may be sent.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An amount cannot be read.
    #[error(transparent)]
    Currency(#[from] money::UnknownCurrency),
    /// A fault of ours.
    #[error("{0}")]
    Fault(&'static str),
}

impl ToolError {
    /// Whether it speaks of one call of several, whose answers stand without it.
    #[must_use]
    pub fn is_of_one_call(&self) -> bool {
        match self {
            Self::Graph(error) => error.is_of_one_call(),
            Self::NearLimit(_) | Self::TooMuch { .. } => true,
            _ => false,
        }
    }
}

/// A file of the facts that the project was built from; `None`, said once, where they are not there.
#[cfg(test)]
pub(crate) fn shared_file(path: &str) -> Result<String, ()> {
    let root = std::env::var("AIVIARY_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned());
    let file = std::path::Path::new(&root).join(path);
    std::fs::read_to_string(&file).map_err(|_| println!("skipped: {path} of ../shared is not there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_for_people() {
        let title = |name| Tool::read(name, AccountKind::Instagram).title();
        assert_eq!(title("get_recent_media"), "Recent media");
        assert_eq!(title("list_campaigns"), "List campaigns");
    }
}
