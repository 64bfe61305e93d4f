//! Where sealed credentials are kept. A store moves envelopes: it has no key and never sees a token.
//!
//! [`open`] picks the backend that the settings name. What a row is stands in `row`, once for all of them, and what
//! each must do in [`contract`].

pub mod contract;
mod copy;
mod nocodb;
mod row;
mod shard;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::copy::{Copied, CopyError, copy};
pub use self::nocodb::{Admin, Bootstrapped, bootstrap};
pub use self::shard::Sharded;
use crate::credential::{ClientId, GrammarError, SealedCredential};
use crate::secret::Secret;
pub use crate::sqlite::Mode;
use crate::sqlite::SqliteError;

/// One row per client, durable before a write answers.
///
/// Anybody may have edited any row: one that is no credential is [`Malformed`] and leaves the others alone.
///
/// A write answers once its outcome is known, and that may take a minute: whoever drops it earlier does not know whether
/// it will still be done, and must keep others from writing the same client meanwhile.
pub trait CredentialStore: Send + Sync + 'static {
    /// The row of `client`, if there is one.
    fn load<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<Option<SealedCredential>, StoreError>>;

    /// Names as they stand in the first rows, `limit` at most: enough to tell none, one and several clients apart.
    fn clients(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// All rows, ordered by client; each that is no credential says so in its place.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Result<SealedCredential, Malformed>>, StoreError>>;

    /// Writes the row of `credential`'s client, new or in place of the old one.
    fn save<'a>(&'a self, credential: &'a SealedCredential) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes what `new` says otherwise than `old`, where the row's cell is still the one of `old`; whether it was. Other
    /// columns stay as they are: an operator may have edited them since `old` was read. Both are of one client.
    fn replace<'a>(
        &'a self,
        old: &'a SealedCredential,
        new: &'a SealedCredential,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Removes the row of `client`; whether there was one.
    fn remove<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<bool, StoreError>>;
}

/// A row that is no credential, or one of several where there must be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// Its `client_id` cell, escaped and cut to 64 characters: it may be the very thing that is wrong.
    pub client: String,
    /// The column that does not fit.
    pub column: &'static str,
    /// The store's own numbers of all rows of that client, where it has several; none of them is then believed.
    pub rows: Vec<u64>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, column, rows } = self;
        if rows.is_empty() {
            return write!(f, "the row of client `{client}` has no usable `{column}`");
        }
        let rows = rows.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "client `{client}` has several rows ({rows}) and must have one; store its token again, or remove the others"
        )
    }
}

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or not now. Trying again later may work.
    #[error("the credential store is not available")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file does not open as a store; see [`SqliteError`] for what to do.
    #[error(transparent)]
    File(#[from] SqliteError),
    /// The configured table name is none.
    #[error("`store.table`: {0}")]
    TableName(GrammarError),
    /// The table is there and lacks a column.
    #[error(
        "table `{table}` has no column `{column}`; `aiviary store init` completes it, unless the column was renamed"
    )]
    Column {
        /// The table.
        table: String,
        /// What it lacks.
        column: &'static str,
    },
    /// The table is there, and a column of it would lose what is written.
    #[error("column `{column}` of table `{table}` is {is} and would not keep what is written; make it {wanted}")]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: &'static str,
        /// What it is, in the store's own word.
        is: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A table with rows lacks what no row may lack: the column was renamed, or it is somebody else's table.
    #[error(
        "table `{table}` has rows and no column `{column}`; give the column that name again, or name another table"
    )]
    Renamed {
        /// The table.
        table: String,
        /// What it lacks.
        column: &'static str,
    },
    /// The base or table that is configured is not there.
    #[error("`store.{key}`: NocoDB has no such {key}; {help}")]
    Missing {
        /// `base` or `table`.
        key: &'static str,
        /// What to do.
        help: String,
    },
    /// Several bases or tables have the configured title.
    #[error("`store.{key}`: NocoDB has several of that title; name one by its id: {}", ids.join(", "))]
    Ambiguous {
        /// `base` or `table`.
        key: &'static str,
        /// Theirs.
        ids: Vec<String>,
    },
    /// NocoDB knows another token, or none with these rights.
    #[error("NOCODB_TOKEN: NocoDB does not accept it ({0}); make one there, or by `aiviary store init --bootstrap`")]
    Token(u16),
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(&'static str),
    /// The row that was asked for is no credential.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl StoreError {
    /// Whether trying again later may work, without anybody's doing.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}

/// Which backend, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// `sqlite:FILE`
    Sqlite(PathBuf),
    /// `nocodb+http://…` or `nocodb+https://…`
    NocoDb {
        /// Without the prefix and without a last slash.
        base_url: String,
    },
}

impl FromStr for Url {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() && !file.starts_with("//") => Ok(Self::Sqlite(file.into())),
            Some(("nocodb+http" | "nocodb+https", _)) => {
                Ok(Self::NocoDb { base_url: nocodb::base_url(text.trim_start_matches("nocodb+"))? })
            }
            _ => Err(GrammarError("no kind of store that is known; write sqlite:FILE or nocodb+https://HOST")),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::NocoDb { base_url } => write!(f, "nocodb+{base_url}"),
        }
    }
}

/// Settings of the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is. Default: `sqlite:aiviary.db`.
    pub url: Url,
    /// NocoDB: title or id of the base. Empty: the one titled `aiviary`, else the only one there is.
    pub base: String,
    /// The table: for SQLite its name, see [`check_table`]; for NocoDB its title or id. Default: `meta_credentials`.
    pub table: String,
    /// `NOCODB_TOKEN`: NocoDB needs it.
    pub token: Option<Arc<Secret>>,
}

impl Settings {
    /// A SQLite store with the usual table.
    #[must_use]
    pub fn sqlite(file: impl Into<PathBuf>) -> Self {
        let table = "meta_credentials".to_owned();
        Self { url: Url::Sqlite(file.into()), base: String::new(), table, token: None }
    }
}

/// Whether `table` may name a table.
///
/// # Errors
/// What it may be.
pub fn check_table(table: &str) -> Result<(), GrammarError> {
    let fits = (1..=64).contains(&table.len())
        && !table.as_bytes()[0].is_ascii_digit()
        && table.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !table.to_ascii_lowercase().starts_with("sqlite_");
    if fits { Ok(()) } else { Err(GrammarError("1 to 64 letters, digits and _, no digit first, not sqlite_…")) }
}

/// Whether `title` may be the title or id of a NocoDB base or table.
///
/// # Errors
/// What it may be.
pub fn check_title(title: &str) -> Result<(), GrammarError> {
    let fits = !title.is_empty() && title.chars().count() <= 255 && !title.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(GrammarError("its title or id, 1 to 255 characters")) }
}

/// Opens the store; with [`Mode::Create`] makes what is missing: a SQLite table or its columns, a NocoDB table, columns
/// of a NocoDB table without rows. A NocoDB that is away is no error here: each call asks it anew.
///
/// # Errors
/// Why it cannot be used.
pub async fn open(settings: &Settings, mode: Mode) -> Result<Arc<dyn CredentialStore>, StoreError> {
    match &settings.url {
        Url::Sqlite(path) => {
            check_table(&settings.table).map_err(StoreError::TableName)?;
            Ok(Arc::new(sqlite::Sqlite::open(path.clone(), &settings.table, mode).await?))
        }
        Url::NocoDb { base_url } => Ok(Arc::new(nocodb::NocoDb::open(base_url, settings, mode).await?)),
    }
}

/// Makes or completes the table, and tells each thing that was done; nothing is told when nothing was missing.
///
/// # Errors
/// Why it cannot be used; then nothing was done that loses data.
pub async fn init(settings: &Settings) -> Result<Vec<String>, StoreError> {
    match &settings.url {
        Url::Sqlite(path) => {
            let lacking = open(settings, Mode::Existing).await.map(drop).err();
            open(settings, Mode::Create).await?;
            Ok(match lacking {
                None => Vec::new(),
                Some(StoreError::Column { table, .. }) => vec![format!("completed table `{table}`")],
                Some(_) => vec![format!("made `{}` with table `{}`", path.display(), settings.table)],
            })
        }
        Url::NocoDb { base_url } => nocodb::init(base_url, settings).await,
    }
}

/// One thing that was looked at, and what is wrong with it.
#[derive(Debug)]
pub struct Finding {
    /// What was looked at, in words.
    pub what: String,
    /// What is wrong.
    pub wrong: Option<StoreError>,
}

/// Looks at everything that the store needs, makes nothing, and goes on past what is wrong as far as it can.
pub async fn inspect(settings: &Settings) -> Vec<Finding> {
    match &settings.url {
        Url::Sqlite(path) => {
            let wrong = open(settings, Mode::Existing).await.map(drop).err();
            vec![Finding { what: format!("table `{}` in `{}`", settings.table, path.display()), wrong }]
        }
        Url::NocoDb { base_url } => nocodb::inspect(base_url, settings).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_store_that_this_release_has() {
        assert_eq!("sqlite:a/b.db".parse(), Ok(Url::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:/a.db".parse::<Url>().unwrap().to_string(), "sqlite:/a.db");
        for bad in ["", "sqlite:", "sqlite://a", "aiviary.db", "postgres://a", "nocodb://a"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        for nocodb in ["nocodb+http://127.0.0.1:8080", "nocodb+https://a.example"] {
            assert_eq!(nocodb.parse::<Url>().unwrap().to_string(), nocodb);
        }
        assert!("nocodb+http://a.example".parse::<Url>().is_err());
    }

    #[test]
    fn settings_are_shown_without_any_secret() {
        for secret in ["nocodb+https://user:hidden@a.example", "nocodb+https://hidden@a.example"] {
            let error = secret.parse::<Url>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
        let url: Url = "nocodb+https://a.example".parse().unwrap();
        let token = Some(Arc::new(Secret::new("hidden".to_owned())));
        let settings = Settings { url, token, ..Settings::sqlite("a.db") };
        let shown = format!("{settings:?} {:#?} {}", settings, settings.url);
        assert!(shown.contains("https://a.example") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn table_names_keep_to_their_grammar() {
        for good in ["a", "_", "meta_credentials", "T9", &"x".repeat(64)] {
            assert_eq!(check_table(good), Ok(()), "{good}");
        }
        for bad in ["", "9a", "a b", "a\"", "ü", "sqlite_schema", "SQLite_x", &"x".repeat(65)] {
            assert!(check_table(bad).is_err(), "{bad}");
        }
    }
}
