//! Where sealed credentials are kept. A store moves envelopes: it has no key and never sees a token.
//!
//! [`open`] picks the backend that the settings name. What a row is stands in `row`, once for all of them, and what
//! each must do in [`contract`].

pub mod contract;
mod row;
mod sqlite;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::credential::{ClientId, GrammarError, SealedCredential};
pub use crate::sqlite::Mode;
use crate::sqlite::SqliteError;

/// One row per client, durable before a write answers.
///
/// Anybody may have edited any row: one that is no credential is [`Malformed`] and leaves the others alone.
pub trait CredentialStore: Send + Sync + 'static {
    /// The row of `client`, if there is one.
    fn load<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<Option<SealedCredential>, StoreError>>;

    /// All rows, ordered by client; each that is no credential says so in its place.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Result<SealedCredential, Malformed>>, StoreError>>;

    /// Writes the row of `credential`'s client, new or in place of the old one.
    fn save<'a>(&'a self, credential: &'a SealedCredential) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Removes the row of `client`; whether there was one.
    fn remove<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<bool, StoreError>>;
}

/// A row that is no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row of client `{client}` has no usable `{column}`")]
pub struct Malformed {
    /// Its `client_id` cell, escaped and cut to 64 characters: it may be the very thing that is wrong.
    pub client: String,
    /// The column that does not fit.
    pub column: &'static str,
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
    #[error("table `{table}` has no column `{column}`; `aiviary store init` completes it")]
    Column {
        /// The table.
        table: String,
        /// What it lacks.
        column: &'static str,
    },
    /// The row that was asked for is no credential.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Which backend, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// `sqlite:FILE`
    Sqlite(PathBuf),
    // NocoDB's place: a variant here, an arm in `open`, and `nocodb.rs`.
}

impl FromStr for Url {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() && !file.starts_with("//") => Ok(Self::Sqlite(file.into())),
            Some(("nocodb+http" | "nocodb+https", _)) => {
                Err(GrammarError("a NocoDB store, which this release does not have yet; write sqlite:FILE"))
            }
            _ => Err(GrammarError("no kind of store that is known; write sqlite:FILE")),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

/// Settings of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is. Default: `sqlite:aiviary.db`.
    pub url: Url,
    /// Name of the table; see [`check_table`]. Default: `meta_credentials`.
    pub table: String,
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

/// Opens the store; with [`Mode::Create`] makes or completes what is missing.
///
/// # Errors
/// Why it cannot be used.
pub async fn open(settings: &Settings, mode: Mode) -> Result<Arc<dyn CredentialStore>, StoreError> {
    check_table(&settings.table).map_err(StoreError::TableName)?;
    match &settings.url {
        Url::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path.clone(), &settings.table, mode).await?)),
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
            let error = nocodb.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains("this release does not have yet"), "{error}");
        }
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
