//! What connect must remember beside the credentials: `[connect] state`. For now, when clients were removed.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use crate::credential::ClientId;
use crate::sqlite::{Database, Mode, Schema, SqliteError};

const SCHEMA: Schema = Schema {
    application_id: 0x6169_7663, // "aivc"
    what: "connect state file",
    migrations: &["CREATE TABLE removals (client_id TEXT PRIMARY KEY, removed_at_ms INTEGER NOT NULL) STRICT"],
};

/// Connect's own memory. It holds no token.
#[derive(Debug)]
pub struct State(Database);

impl State {
    /// Opens or makes the file. Blocks.
    ///
    /// # Errors
    /// Why the file is not usable.
    pub fn open(path: &Path, mode: Mode) -> Result<Self, SqliteError> {
        Database::open(path, &SCHEMA, mode).map(Self)
    }

    /// Remembers that `client` was removed at `at`, unless a later removal is known. Kept to the millisecond.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn record_removal(&self, client: &ClientId, at: Timestamp) -> Result<(), SqliteError> {
        let row = (client.as_str().to_owned(), at.as_millisecond());
        self.0
            .call(move |db| {
                db.execute(
                    "INSERT INTO removals (client_id, removed_at_ms) VALUES (?1, ?2) ON CONFLICT (client_id)
                     DO UPDATE SET removed_at_ms = max(removed_at_ms, excluded.removed_at_ms)",
                    row,
                )
            })
            .await
            .map(drop)
    }

    /// When `client` was last removed, if ever.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn removed_at(&self, client: &ClientId) -> Result<Option<Timestamp>, SqliteError> {
        let client = client.as_str().to_owned();
        self.0
            .call(move |db| {
                let ms = db
                    .query_row("SELECT removed_at_ms FROM removals WHERE client_id = ?1", [client], |row| row.get(0))
                    .optional()?;
                ms.map(|ms| {
                    Timestamp::from_millisecond(ms).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, ms))
                })
                .transpose()
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_removal_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.db");
        let (client, other): (ClientId, ClientId) = ("clienta".parse().unwrap(), "clientb".parse().unwrap());
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let state = State::open(&path, Mode::Create).unwrap();
        for time in ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00.5Z", "2026-02-01T00:00:00Z"] {
            state.record_removal(&client, at(time)).await.unwrap();
        }
        drop(state);
        let state = State::open(&path, Mode::Existing).unwrap();
        assert_eq!(state.removed_at(&client).await.unwrap(), Some(at("2026-03-01T00:00:00.5Z")));
        assert_eq!(state.removed_at(&other).await.unwrap(), None);
    }
}
