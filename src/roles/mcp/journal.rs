//! What must outlive a restart: the writes that were begun, in a SQLite file that is made when a write first needs it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};
use tokio::sync::{Mutex as AsyncMutex, OnceCell, OwnedMutexGuard};

use crate::sqlite::{Database, Mode, Schema, SqliteError};
use crate::tool::{Entry, Journal, JournalError};

const SCHEMA: Schema = Schema {
    application_id: 0x6169_766a, // "aivj"
    what: "journal of writes",
    // Moments are milliseconds since the epoch; state and result are JSON.
    migrations: &["CREATE TABLE writes (
            key TEXT NOT NULL PRIMARY KEY, began INTEGER NOT NULL, ends INTEGER NOT NULL, digest TEXT NOT NULL,
            state TEXT NOT NULL, result TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX writes_by_end ON writes (ends);"],
};

/// The journal of one process.
pub struct Writes {
    /// Before each key, so that two roles may share the file.
    scope: &'static str,
    path: PathBuf,
    mode: Mode,
    database: OnceCell<Database>,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

fn failed(error: SqliteError) -> JournalError {
    JournalError(Box::new(error))
}

impl Writes {
    /// A journal in the file at `path`, which nothing touches yet.
    #[must_use]
    pub fn new(scope: &'static str, path: PathBuf) -> Self {
        Self { scope, path, mode: Mode::Create, database: OnceCell::new(), turns: Mutex::default() }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let open = || async {
            let (path, mode) = (self.path.clone(), self.mode);
            let opened = tokio::task::spawn_blocking(move || Database::open(&path, &SCHEMA, mode)).await;
            opened.map_err(|error| JournalError(error.into()))?.map_err(failed)
        };
        self.database.get_or_try_init(open).await?.call(work).await.map_err(failed)
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.scope)
    }
}

impl Journal for Writes {
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(key.to_owned()).or_default())
        };
        Box::pin(turn.lock_owned())
    }

    fn find<'a>(&'a self, key: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Option<Entry>, JournalError>> {
        let key = self.key(key);
        let found = self.call(move |db| {
            db.prepare_cached("SELECT began, ends, digest, state, result FROM writes WHERE key = ?1 AND ends > ?2")?
                .query_row((key, now.as_millisecond()), read)
                .optional()
        });
        Box::pin(found)
    }

    fn keep<'a>(&'a self, key: &'a str, entry: &'a Entry) -> BoxFuture<'a, Result<(), JournalError>> {
        let key = self.key(key);
        let (began, ends) = (entry.began.as_millisecond(), entry.ends.as_millisecond());
        let (digest, state) = (entry.digest.clone(), entry.state.to_string());
        let result = entry.result.as_ref().map(|value| serde_json::to_string(value).expect("a value is JSON"));
        Box::pin(self.call(move |db| {
            let write = db.transaction()?;
            write.prepare_cached("DELETE FROM writes WHERE ends <= ?1")?.execute([began])?;
            write
                .prepare_cached(
                    "INSERT OR REPLACE INTO writes (key, began, ends, digest, state, result)
                     VALUES (:key, :began, :ends, :digest, :state, :result)",
                )?
                .execute(named_params! {
                    ":key": key, ":began": began, ":ends": ends, ":digest": digest, ":state": state, ":result": result,
                })?;
            write.commit()
        }))
    }

    fn forget<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), JournalError>> {
        let key = self.key(key);
        Box::pin(self.call(move |db| db.prepare_cached("DELETE FROM writes WHERE key = ?1")?.execute([key]).map(drop)))
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let wrong = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let moment = |column| {
        let ms: i64 = row.get(column)?;
        Timestamp::from_millisecond(ms).map_err(|error| wrong(column, error.into()))
    };
    let state: String = row.get(3)?;
    let result: Option<String> = row.get(4)?;
    Ok(Entry {
        began: moment(0)?,
        ends: moment(1)?,
        digest: row.get(2)?,
        state: serde_json::from_str(&state).map_err(|error| wrong(3, error.into()))?,
        result: match result {
            Some(text) => Some(serde_json::from_str(&text).map_err(|error| wrong(4, error.into()))?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn journal() -> Writes {
        Writes { mode: Mode::Memory, ..Writes::new("instagram", PathBuf::new()) }
    }

    fn entry(began: &str, ends: &str) -> Entry {
        let at = |text: &str| text.parse().unwrap();
        Entry { began: at(began), ends: at(ends), digest: "d".to_owned(), state: json!({"a": 1}), result: None }
    }

    #[tokio::test]
    async fn an_entry_is_found_until_it_ends_and_replaced_by_its_next_state() {
        let journal = journal();
        let mut entry = entry("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z");
        journal.keep("main/publish_image/k", &entry).await.unwrap();
        let find = async |now: &str| journal.find("main/publish_image/k", now.parse().unwrap()).await.unwrap();
        assert_eq!(find("2026-11-20T12:59:59Z").await.as_ref(), Some(&entry));
        assert_eq!(find("2026-11-20T13:00:00Z").await, None, "it has ended");
        entry.result = json!({"id": "1"}).as_object().cloned();
        journal.keep("main/publish_image/k", &entry).await.unwrap();
        assert_eq!(find("2026-11-20T12:30:00Z").await, Some(entry));
        journal.forget("main/publish_image/k").await.unwrap();
        assert_eq!(find("2026-11-20T12:30:00Z").await, None);
    }

    #[tokio::test]
    async fn what_has_ended_is_swept_by_the_next_write() {
        let journal = journal();
        journal.keep("old", &entry("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z")).await.unwrap();
        journal.keep("new", &entry("2026-11-20T14:00:00Z", "2026-11-20T15:00:00Z")).await.unwrap();
        let rows = |db: &mut Connection| db.query_row("SELECT count(*) FROM writes", [], |row| row.get::<_, i64>(0));
        assert_eq!(journal.call(rows).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_key_is_held_by_one_at_a_time_and_then_free() {
        let journal = journal();
        let held = journal.lock("a").await;
        let _other = journal.lock("b").await;
        let mut waits = Box::pin(journal.lock("a"));
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(held);
        drop(waits.await);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named() {
        let journal = Writes::new("instagram", PathBuf::from("/proc/none/mcp.db"));
        let error = journal.find("a", Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(error.to_string().contains("/proc/none"), "{error}");
    }
}
