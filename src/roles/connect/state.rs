//! What connect must remember beside the credentials: `[connect] state`. When clients were removed, and how far the
//! trail was settled.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::audit::Settled;
use crate::credential::ClientId;
use crate::sqlite::{Database, Mode, Schema, SqliteError};

const SCHEMA: Schema = Schema {
    application_id: 0x6169_7663, // "aivc"
    what: "connect state file",
    migrations: &[
        "CREATE TABLE removals (client_id TEXT PRIMARY KEY, removed_at_ms INTEGER NOT NULL) STRICT",
        // A removal is noted before the store is asked, and what it was before is kept until the outcome is known.
        "ALTER TABLE removals ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE removals ADD COLUMN before_ms INTEGER",
        "CREATE TABLE settled (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL,
         running INTEGER NOT NULL) STRICT",
    ],
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

    /// Remembers that `client` is about to be removed at `at`, unless a later removal is known. Kept to the millisecond.
    /// To be asked under the client's turn, and only while it has a row.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn begin_removal(&self, client: &ClientId, at: Timestamp) -> Result<(), SqliteError> {
        let row = (client.as_str().to_owned(), at.as_millisecond());
        self.0
            .call(move |db| {
                // An earlier one that is still pending did not happen: there is a row.
                db.prepare_cached(
                    "INSERT INTO removals (client_id, removed_at_ms, pending) VALUES (?1, ?2, 1)
                     ON CONFLICT (client_id) DO UPDATE SET
                     before_ms = iif(pending, before_ms, removed_at_ms),
                     removed_at_ms = max(removed_at_ms, excluded.removed_at_ms), pending = 1",
                )?
                .execute(row)
            })
            .await
            .map(drop)
    }

    /// When `client` was last removed, if ever. A removal whose outcome was not known has happened if the client now
    /// has no row, and is forgotten if it has. To be asked under the client's turn.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn removed_at(&self, client: &ClientId, has_row: bool) -> Result<Option<Timestamp>, SqliteError> {
        let client = client.as_str().to_owned();
        self.0
            .call(move |db| {
                let found = db
                    .prepare_cached("SELECT removed_at_ms, pending, before_ms FROM removals WHERE client_id = ?1")?
                    .query_row([&client], |row| Ok((row.get(0)?, row.get::<_, bool>(1)?, row.get(2)?)))
                    .optional()?;
                let ms: Option<i64> = match found {
                    None => None,
                    Some((at, false, _)) => Some(at),
                    Some((at, true, _)) if !has_row => {
                        let sql = "UPDATE removals SET pending = 0, before_ms = NULL WHERE client_id = ?1";
                        db.prepare_cached(sql)?.execute([&client])?;
                        Some(at)
                    }
                    Some((_, true, None)) => {
                        db.prepare_cached("DELETE FROM removals WHERE client_id = ?1")?.execute([&client])?;
                        None
                    }
                    Some((_, true, before)) => {
                        let sql = "UPDATE removals SET removed_at_ms = before_ms, pending = 0, before_ms = NULL
                                   WHERE client_id = ?1";
                        db.prepare_cached(sql)?.execute([&client])?;
                        before
                    }
                };
                ms.map(|ms| {
                    Timestamp::from_millisecond(ms).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, ms))
                })
                .transpose()
            })
            .await
    }
}

impl State {
    /// Up to which line of the trail the outcome of every change is known to the trail itself.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn settled(&self) -> Result<Option<Settled>, SqliteError> {
        self.0
            .call(|db| {
                let number = |row: &rusqlite::Row<'_>, at| row.get(at).map(|n: i64| n.unsigned_abs());
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(Settled { seq: number(row, 0)?, hash: row.get(1)?, running: number(row, 2)? })
                };
                db.query_row("SELECT seq, hash, running FROM settled", [], read).optional()
            })
            .await
    }

    /// Remembers that.
    ///
    /// # Errors
    /// What the file refused.
    pub async fn settle(&self, to: Settled) -> Result<(), SqliteError> {
        let signed = |n| i64::try_from(n).unwrap_or(i64::MAX);
        let row = (signed(to.seq), to.hash, signed(to.running));
        self.0
            .call(move |db| {
                db.execute(
                    "INSERT INTO settled (one, seq, hash, running) VALUES (1, ?1, ?2, ?3) ON CONFLICT (one)
                     DO UPDATE SET seq = excluded.seq, hash = excluded.hash, running = excluded.running",
                    row,
                )
            })
            .await
            .map(drop)
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
            state.begin_removal(&client, at(time)).await.unwrap();
            state.removed_at(&client, false).await.unwrap();
        }
        drop(state);
        let state = State::open(&path, Mode::Existing).unwrap();
        assert_eq!(state.removed_at(&client, false).await.unwrap(), Some(at("2026-03-01T00:00:00.5Z")));
        assert_eq!(state.removed_at(&client, true).await.unwrap(), Some(at("2026-03-01T00:00:00.5Z")), "it is settled");
        assert_eq!(state.removed_at(&other, false).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_removal_that_did_not_happen_leaves_what_was_known_before() {
        let state = State::open(Path::new(""), Mode::Memory).unwrap();
        let client: ClientId = "clienta".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        state.begin_removal(&client, at("2026-01-01T00:00:00Z")).await.unwrap();
        assert_eq!(state.removed_at(&client, true).await.unwrap(), None);

        state.begin_removal(&client, at("2026-02-01T00:00:00Z")).await.unwrap();
        assert_eq!(state.removed_at(&client, false).await.unwrap(), Some(at("2026-02-01T00:00:00Z")));
        for time in ["2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"] {
            state.begin_removal(&client, at(time)).await.unwrap();
        }
        assert_eq!(state.removed_at(&client, true).await.unwrap(), Some(at("2026-02-01T00:00:00Z")));
    }
}
