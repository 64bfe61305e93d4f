//! Where sealed credentials are kept. This branch has its settings only.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::credential::GrammarError;

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
                Err(GrammarError("NocoDB, which this release does not have yet; write sqlite:FILE"))
            }
            _ => Err(GrammarError("not a store; write sqlite:FILE")),
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
