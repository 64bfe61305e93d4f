//! What must outlive a restart: the writes that were begun, in a SQLite file that is made when a write first needs it.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params};
use tokio::fs;
use tokio::sync::OnceCell;

use crate::lock::FileLock;
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

/// The journal. Processes may share its file: a key is held by one of them at a time.
pub struct Writes {
    /// Before each key, so that two roles may share the file.
    scope: &'static str,
    path: PathBuf,
    database: OnceCell<Database>,
}

fn failed(error: SqliteError) -> JournalError {
    JournalError(Box::new(error))
}

impl Writes {
    /// A journal in the file at `path`, which nothing touches yet.
    #[must_use]
    pub fn new(scope: &'static str, path: PathBuf) -> Self {
        Self { scope, path, database: OnceCell::new() }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.open().await?.call(work).await.map_err(failed)
    }

    async fn open(&self) -> Result<&Database, JournalError> {
        let open = || async {
            let path = self.path.clone();
            let opened = tokio::task::spawn_blocking(move || Database::open(&path, &SCHEMA, Mode::Create)).await;
            opened.map_err(|error| JournalError(error.into()))?.map_err(failed)
        };
        self.database.get_or_try_init(open).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.scope)
    }
}

impl Journal for Writes {
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Box<dyn Send>, JournalError>> {
        let key = self.key(key);
        Box::pin(async move {
            // Makes its folder too, where the lock file stands.
            self.open().await?;
            let held = FileLock::of(&self.path, &key).await.map_err(|error| JournalError(error.into()))?;
            Ok(Box::new(held) as Box<dyn Send>)
        })
    }

    fn find<'a>(&'a self, key: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Option<Entry>, JournalError>> {
        let key = self.key(key);
        Box::pin(async move {
            // Looking makes no file.
            if !self.database.initialized() && !fs::try_exists(&self.path).await.unwrap_or(true) {
                return Ok(None);
            }
            let find = move |db: &mut Connection| {
                db.prepare_cached("SELECT began, ends, digest, state, result FROM writes WHERE key = ?1 AND ends > ?2")?
                    .query_row((key, now.as_millisecond()), read)
                    .optional()
            };
            self.call(find).await
        })
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
    use tempfile::TempDir;

    use super::*;

    fn journal(folder: &TempDir) -> Writes {
        Writes::new("instagram", folder.path().join("mcp.db"))
    }

    fn entry(began: &str, ends: &str) -> Entry {
        let at = |text: &str| text.parse().unwrap();
        Entry { began: at(began), ends: at(ends), digest: "d".to_owned(), state: json!({"a": 1}), result: None }
    }

    #[tokio::test]
    async fn an_entry_is_found_until_it_ends_and_replaced_by_its_next_state() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
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
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.keep("old", &entry("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z")).await.unwrap();
        journal.keep("new", &entry("2026-11-20T14:00:00Z", "2026-11-20T15:00:00Z")).await.unwrap();
        let rows = |db: &mut Connection| db.query_row("SELECT count(*) FROM writes", [], |row| row.get::<_, i64>(0));
        assert_eq!(journal.call(rows).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_key_is_held_by_one_of_all_that_share_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (journal(&folder), journal(&folder));
        let held = one.lock("a").await.unwrap();
        let _of_another_key = other.lock("b").await.unwrap();
        let waits = |journal: Writes| {
            let (told, waiting) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                drop(journal.lock("a").await.unwrap());
                told.send(()).unwrap();
            });
            waiting
        };
        let (mut one, mut other) = (waits(one), waits(other));
        drop(journal(&folder).lock("c").await.unwrap());
        assert!(one.try_recv().is_err() && other.try_recv().is_err());
        drop(held);
        one.await.unwrap();
        other.await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_named() {
        let journal = Writes::new("instagram", PathBuf::from("/proc/none/mcp.db"));
        let Err(error) = journal.lock("a").await else { panic!("it was locked") };
        assert!(error.to_string().contains("/proc/none"), "{error}");
    }
}
