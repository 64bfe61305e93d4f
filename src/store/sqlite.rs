//! The embedded store: one table in one SQLite file.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::row::{self, CELL, CLIENT, Kind, NotText, columns};
use super::{CredentialStore, Malformed, StoreError};
use crate::credential::{ClientId, SealedCredential};
use crate::sqlite::{Database, Mode, Schema, SqliteError};

const SCHEMA: Schema = Schema {
    application_id: 0x6169_7673, // "aivs"
    what: "credential store",
    // Version 1 is the table of `complete`: its name is configured, so it cannot stand here.
    migrations: &["SELECT 1"],
};

/// A store in a SQLite file.
pub(super) struct Sqlite {
    database: Database,
    sql: Arc<Statements>,
}

/// What is asked of the table, written once: SQLite keeps a statement prepared under its text.
struct Statements {
    load: String,
    clients: String,
    list: String,
    save: String,
    /// Up to the columns to be set.
    replace: String,
    remove: String,
}

impl Statements {
    /// `table` is quoted.
    fn of(table: &str) -> Self {
        let all = columns().join(", ");
        let numbers: Vec<String> = (1..=columns().len()).map(|number| format!("?{number}")).collect();
        let others = columns().into_iter().skip(1).map(|column| format!("{column} = excluded.{column}"));
        let others = others.collect::<Vec<_>>().join(", ");
        Self {
            load: format!("SELECT {all} FROM {table} WHERE {CLIENT} = ?1"),
            clients: format!("SELECT CAST({CLIENT} AS BLOB) FROM {table} ORDER BY {CLIENT} LIMIT ?1"),
            list: format!("SELECT {all} FROM {table} ORDER BY {CLIENT}"),
            save: format!(
                "INSERT INTO {table} ({all}) VALUES ({}) ON CONFLICT ({CLIENT}) DO UPDATE SET {others}",
                numbers.join(", ")
            ),
            replace: format!("UPDATE {table} SET "),
            remove: format!("DELETE FROM {table} WHERE {CLIENT} = ?1"),
        }
    }
}

impl Sqlite {
    /// `table` has passed [`super::check_table`].
    pub(super) async fn open(path: PathBuf, table: &str, mode: Mode) -> Result<Self, StoreError> {
        let opened = tokio::task::spawn_blocking(move || Database::open(&path, &SCHEMA, mode));
        let database = opened.await.map_err(|error| StoreError::Unreachable(error.into()))??;
        let quoted = format!("\"{table}\"");
        let sql = Arc::new(Statements::of(&quoted));
        let table = table.to_owned();
        match database.call(move |db| complete(db, &quoted, mode)).await? {
            Lacks::Nothing => Ok(Self { database, sql }),
            Lacks::Column(column) => Err(StoreError::Column { table, column }),
            Lacks::Vital(column) => Err(StoreError::Renamed { table, column }),
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &Statements) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sql = self.sql.clone();
        self.database.call(move |db| work(db, &sql)).await.map_err(unreachable)
    }
}

fn unreachable(error: SqliteError) -> StoreError {
    StoreError::Unreachable(Box::new(error))
}

/// What a table still lacks.
enum Lacks {
    Nothing,
    Column(&'static str),
    /// What no row may lack, and there are rows: under another name it still has every credential, and an empty column
    /// beside it would hide them.
    Vital(&'static str),
}

/// Makes the table, or adds the columns that it lacks; where it may not, the first that is missing.
fn complete(db: &Connection, table: &str, mode: Mode) -> rusqlite::Result<Lacks> {
    if mode != Mode::Existing {
        db.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {table} ({CLIENT} TEXT NOT NULL PRIMARY KEY) STRICT"))?;
    }
    let mut names = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let there = names.query_map([table.trim_matches('"')], |row| row.get::<_, String>(0))?;
    let there: Vec<String> = there.collect::<Result<_, _>>()?;
    for column in columns() {
        if there.iter().any(|name| name.eq_ignore_ascii_case(column)) {
            continue;
        }
        if matches!(row::kind(column), Kind::Key | Kind::Sealed)
            && !there.is_empty()
            && db.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0))?
        {
            return Ok(Lacks::Vital(column));
        }
        if mode == Mode::Existing {
            return Ok(Lacks::Column(column));
        }
        db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} TEXT"))?;
    }
    Ok(Lacks::Nothing)
}

impl CredentialStore for Sqlite {
    fn load<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<Option<SealedCredential>, StoreError>> {
        let client = client.as_str().to_owned();
        Box::pin(async move {
            let row = self
                .call(move |db, sql| db.prepare_cached(&sql.load)?.query_row([client], |row| Ok(read(row))).optional());
            Ok(row.await?.transpose()?)
        })
    }

    fn clients(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Box::pin(self.call(move |db, sql| {
            let name = |row: &Row<'_>| Ok(String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned());
            db.prepare_cached(&sql.clients)?.query_map([limit], name)?.collect()
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Result<SealedCredential, Malformed>>, StoreError>> {
        Box::pin(self.call(|db, sql| db.prepare_cached(&sql.list)?.query_map([], |row| Ok(read(row)))?.collect()))
    }

    fn save<'a>(&'a self, credential: &'a SealedCredential) -> BoxFuture<'a, Result<(), StoreError>> {
        let cells = row::cells(credential).map(|cell| cell.map(str::to_owned));
        Box::pin(async move {
            self.call(move |db, sql| db.prepare_cached(&sql.save)?.execute(params_from_iter(cells))).await.map(drop)
        })
    }

    fn replace<'a>(
        &'a self,
        old: &'a SealedCredential,
        new: &'a SealedCredential,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut columns = Vec::new();
        let mut values = vec![Some(old.binding.client.to_string()), Some(old.cell.clone())];
        for (column, cell) in row::changed(old, new) {
            columns.push(format!("{column} = ?{}", columns.len() + 3));
            values.push(cell.map(str::to_owned));
        }
        let columns = columns.join(", ");
        Box::pin(self.call(move |db, sql| {
            let update = format!("{}{columns} WHERE {CLIENT} = ?1 AND coalesce({CELL}, '') = ?2", sql.replace);
            Ok(db.prepare_cached(&update)?.execute(params_from_iter(values))? > 0)
        }))
    }

    fn remove<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<bool, StoreError>> {
        let client = client.as_str().to_owned();
        Box::pin(self.call(move |db, sql| Ok(db.prepare_cached(&sql.remove)?.execute([client])? > 0)))
    }
}

fn read(row: &Row<'_>) -> Result<SealedCredential, Malformed> {
    row::credential(|column| match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        Ok(ValueRef::Text(bytes)) => std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| NotText),
        _ => Err(NotText),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::store::{Settings, contract, open};

    fn settings(path: &Path) -> Settings {
        Settings::sqlite(path)
    }

    async fn made(path: &Path) -> Arc<dyn CredentialStore> {
        open(&settings(path), Mode::Create).await.unwrap()
    }

    #[tokio::test]
    async fn sqlite_keeps_the_contract_in_a_file_and_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        contract::holds(&*made(&folder.path().join("store.db")).await).await;
        contract::holds(&*open(&settings(Path::new("")), Mode::Memory).await.unwrap()).await;
    }

    #[tokio::test]
    async fn a_row_edited_into_nonsense_leaves_the_others_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = made(&path).await;
        for client in ["a", "b", "c", "d", "e", "f"] {
            store.save(&contract::sample(client)).await.unwrap();
        }
        let by_hand = Connection::open(&path).unwrap();
        by_hand
            .execute_batch(&format!(
                "UPDATE meta_credentials SET login = 'myspace' WHERE client_id = 'b';
                 UPDATE meta_credentials SET client_id = 'c' || char(10) || '{}' WHERE client_id = 'c';
                 UPDATE meta_credentials SET scopes = CAST(x'ff' AS TEXT) WHERE client_id = 'd';
                 UPDATE meta_credentials SET meta_user_id = '{}' WHERE client_id = 'e';
                 UPDATE meta_credentials SET access_token = NULL, login = '', ad_account_id = '' WHERE client_id = 'f'",
                "x".repeat(100),
                "1".repeat(70_000),
            ))
            .unwrap();
        let rows = store.list().await.unwrap();
        let columns: Vec<_> = rows.iter().map(|row| row.as_ref().err().map(|error| error.column)).collect();
        assert_eq!(columns, [None, Some("login"), Some("client_id"), Some("scopes"), Some("meta_user_id"), None]);
        let shown = &rows[2].as_ref().unwrap_err().client;
        assert!(shown.starts_with("c\\nxxx") && shown.len() == 64, "{shown}");
        let emptied = rows[5].as_ref().unwrap();
        assert_eq!((emptied.cell.as_str(), emptied.binding.login.as_str()), ("", "facebook"));
        assert!(emptied.envelope().is_err());

        let load = async |client: &str| store.load(&client.parse().unwrap()).await;
        assert!(load("a").await.unwrap().is_some());
        assert!(matches!(load("b").await, Err(StoreError::Malformed(Malformed { column: "login", .. }))));
        store.save(&contract::sample("b")).await.unwrap();
        assert!(load("b").await.unwrap().is_some(), "saving again repairs the row");
    }

    #[tokio::test]
    async fn a_table_without_a_column_is_completed_only_when_making() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        made(&path).await.save(&contract::sample("a")).await.unwrap();
        Connection::open(&path).unwrap().execute_batch("ALTER TABLE meta_credentials DROP COLUMN scopes").unwrap();
        let refused = open(&settings(&path), Mode::Existing).await.map(drop);
        assert!(matches!(refused, Err(StoreError::Column { column: "scopes", .. })));
        let rows = made(&path).await.list().await.unwrap();
        assert_eq!(rows[0].as_ref().unwrap().scopes, None);

        let other = Settings { table: "other".to_owned(), ..settings(&path) };
        assert!(matches!(open(&other, Mode::Existing).await.map(drop), Err(StoreError::Column { .. })));
        let quote = Settings { table: "a\"; --".to_owned(), ..settings(&path) };
        assert!(matches!(open(&quote, Mode::Create).await.map(drop), Err(StoreError::TableName(_))));
    }

    #[tokio::test]
    async fn a_renamed_column_is_not_made_again_beside_the_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        made(&path).await.save(&contract::sample("a")).await.unwrap();
        let by_hand = Connection::open(&path).unwrap();
        for column in ["access_token", "client_id"] {
            by_hand.execute_batch(&format!("ALTER TABLE meta_credentials RENAME COLUMN {column} TO x")).unwrap();
            for mode in [Mode::Create, Mode::Existing] {
                let refused = open(&settings(&path), mode).await.map(drop).unwrap_err();
                assert!(matches!(&refused, StoreError::Renamed { column: named, .. } if *named == column), "{refused}");
            }
            assert!(crate::store::init(&settings(&path)).await.is_err());
            by_hand.execute_batch(&format!("ALTER TABLE meta_credentials RENAME COLUMN x TO {column}")).unwrap();
            assert_eq!(made(&path).await.load(&"a".parse().unwrap()).await.unwrap(), Some(contract::sample("a")));
        }
    }

    #[tokio::test]
    async fn a_store_and_another_file_of_ours_are_not_confused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connect.db");
        let state = Schema { application_id: 1, what: "state", migrations: &["CREATE TABLE t (a) "] };
        drop(Database::open(&path, &state, Mode::Create).unwrap());
        let refused = open(&settings(&path), Mode::Create).await.map(drop);
        assert!(matches!(refused, Err(StoreError::File(SqliteError::Foreign { .. }))));
    }
}
