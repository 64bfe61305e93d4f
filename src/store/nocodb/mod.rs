//! A NocoDB table as a store: rows that people can see, over NocoDB's HTTP interface.
//!
//! NocoDB has neither an upsert nor a condition on writes, and keeps a column unique on PostgreSQL only. So each write
//! looks first, one write of a client follows another, and what was lost on the way is looked up before it is repeated.
//! [`api`] speaks HTTP, [`table`] finds the table, [`admin`] makes base and token.

mod admin;
mod api;
mod table;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

pub use self::admin::{Admin, Bootstrapped, bootstrap};
pub(super) use self::api::base_url;
use self::api::{Api, ApiError, Login};
use self::table::{Make, Names, Table};
use super::row::{self, CELL, CLIENT, NotText, columns};
use super::{CredentialStore, Finding, Malformed, Mode, Settings, Sharded, StoreError};
use crate::credential::{ClientId, SealedCredential};
use crate::telemetry::chain;

/// What a caller waits for a read: less than those who ask connect wait for it, so that they hear whose fault it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a write may take with all its attempts, the lookups between them aside. Long: one that is given up may still
/// land, after a later write of the same client, and undo it.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// Times that a write is tried, lookups between.
const ATTEMPTS: usize = 3;
/// Rows of one client that are looked at; more than one is an error already.
const ROWS_OF_ONE: usize = 100;
/// Rows of a page of the list. NocoDB gives up to 1000; a page must fit the bound of an answer.
const PAGE: usize = 250;

/// The store.
pub(super) struct NocoDb {
    api: Api,
    names: Names,
    /// Found at the first call, and again after a refusal.
    table: Mutex<Option<Arc<Table>>>,
    /// What the first finding may make.
    make: std::sync::Mutex<Make>,
    /// One write of a client follows another.
    writes: Sharded<Mutex<()>>,
}

/// A row as NocoDB gave it.
struct Row {
    number: u64,
    cells: Map<String, Value>,
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unreachable(error.into())
}

fn api_of(base_url: &str, settings: &Settings) -> Result<(Api, Names), StoreError> {
    let token = settings.token.as_ref().ok_or(StoreError::Setting(
        "NOCODB_TOKEN: is missing; `aiviary store init --bootstrap` makes one, or make it in NocoDB",
    ))?;
    let api = Api::new(base_url, &Login::Token(token)).map_err(|error| match error {
        api::ClientError::Token => StoreError::Setting("NOCODB_TOKEN: holds characters that no header can carry"),
        error @ api::ClientError::Http(_) => unreachable(error),
    })?;
    Ok((api, Names { base: settings.base.clone(), table: settings.table.clone() }))
}

/// Makes or completes the table; see [`super::init`].
pub(super) async fn init(base_url: &str, settings: &Settings) -> Result<Vec<String>, StoreError> {
    let (api, names) = api_of(base_url, settings)?;
    Ok(table::resolve(&api, &names, Make::Columns).await?.1)
}

/// Looks at everything; see [`super::inspect`].
pub(super) async fn inspect(base_url: &str, settings: &Settings) -> Vec<Finding> {
    match api_of(base_url, settings) {
        Ok((api, names)) => table::inspect(&api, &names).await,
        Err(error) => vec![Finding { what: "NocoDB".to_owned(), wrong: Some(error) }],
    }
}

impl NocoDb {
    /// Finds the table, where NocoDB answers; else the first call that reaches it does.
    pub async fn open(base_url: &str, settings: &Settings, mode: Mode) -> Result<Self, StoreError> {
        let (api, names) = api_of(base_url, settings)?;
        let make = if mode == Mode::Create { Make::Table } else { Make::Nothing };
        let make = std::sync::Mutex::new(make);
        let store = Self { api, names, table: Mutex::default(), make, writes: Sharded::default() };
        match store.table().await {
            Err(error) if !error.passes() => Err(error),
            Err(error) => {
                debug!(error = chain(&error), "NocoDB is away; each call asks it anew");
                Ok(store)
            }
            Ok(_) => Ok(store),
        }
    }

    /// The table, found once.
    async fn table(&self) -> Result<Arc<Table>, StoreError> {
        let mut known = self.table.lock().await;
        if let Some(table) = &*known {
            return Ok(table.clone());
        }
        let make = *self.make.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (found, did) = table::resolve(&self.api, &self.names, make).await?;
        for words in did {
            warn!("NocoDB: {words}");
        }
        // What is missing later was renamed or removed under us, and is told instead.
        *self.make.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Make::Nothing;
        let found = Arc::new(found);
        *known = Some(found.clone());
        Ok(found)
    }

    /// The table as it is now, after a refusal: an error names what is missing.
    async fn table_again(&self) -> Result<Arc<Table>, StoreError> {
        *self.table.lock().await = None;
        self.table().await
    }

    /// Asks the table, and after a refusal once more, where it is found anew.
    async fn asked<T, F>(&self, ask: impl Fn(Arc<Table>) -> F) -> Result<(Arc<Table>, T), StoreError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let table = self.table().await?;
        match ask(table.clone()).await {
            Err(error) if error.may_have_moved() => {
                let table = self.table_again().await?;
                let found = ask(table.clone()).await?;
                Ok((table, found))
            }
            done => Ok((table, done?)),
        }
    }

    /// Rows of `table` that `filter` matches, by row number, with all cells.
    async fn rows(&self, table: &Table, filter: Option<&str>, limit: usize) -> Result<Vec<Row>, ApiError> {
        self.cells(table, &columns(), filter, limit).await
    }

    /// The same with the cells of `wanted`.
    async fn cells(
        &self,
        table: &Table,
        wanted: &[&'static str],
        filter: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, ApiError> {
        let path = format!("/api/v2/tables/{}/records", table.id);
        let named = std::iter::once(table.key.as_str()).chain(wanted.iter().copied()).collect::<Vec<_>>().join(",");
        let limit = limit.to_string();
        // The number alone decides the order. The others are named because `sort` refuses a column that was renamed,
        // which `fields` and writes still know by its old name (NocoDB 0.301.3).
        let mut query = vec![("fields", named.as_str()), ("sort", &named), ("limit", &limit)];
        query.extend(filter.map(|filter| ("where", filter)));
        let answer = self.api.get(&path, &query, PATIENCE).await?;
        let Some(list) = answer["list"].as_array() else {
            return Err(ApiError::NotData(reqwest::StatusCode::OK));
        };
        let row = |cells: &Value| {
            let cells = cells.as_object()?;
            if wanted.iter().any(|column| !cells.contains_key(*column)) {
                return None;
            }
            let number = cells.get(&table.key).and_then(number)?;
            Some(Row { number, cells: cells.clone() })
        };
        let rows = list.iter().map(row).collect::<Option<Vec<_>>>();
        rows.ok_or(ApiError::NotData(reqwest::StatusCode::OK))
    }

    /// The rows of `client`: those and no others, whatever the filter was taken for.
    async fn find(&self, client: &ClientId) -> Result<(Arc<Table>, Vec<Row>), StoreError> {
        // A client id has no quotes; unquoted values end at commas and brackets, and could go on as another condition.
        let filter = &format!("@({CLIENT},eq,\"{client}\")");
        let rows = move |table: Arc<Table>| async move { self.rows(&table, Some(filter), ROWS_OF_ONE).await };
        let (table, mut rows) = self.asked(rows).await?;
        rows.retain(|row| row.cells.get(CLIENT).and_then(Value::as_str) == Some(client.as_str()));
        Ok((table, rows))
    }

    async fn one(&self, client: &ClientId) -> Result<Option<SealedCredential>, StoreError> {
        let (table, mut rows) = self.find(client).await?;
        match rows.len() {
            0 => Ok(None),
            1 => Ok(Some(rows.remove(0).credential(&table)?)),
            _ => Err(several(client.as_str(), &rows).into()),
        }
    }

    async fn names(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let (_, rows) = self.asked(|table| async move { self.cells(&table, &[CLIENT], None, limit).await }).await?;
        let name = |row: Row| row.cells.get(CLIENT).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(rows.into_iter().map(name).collect())
    }

    async fn all(&self) -> Result<Vec<Result<SealedCredential, Malformed>>, StoreError> {
        let mut all: Vec<Row> = Vec::new();
        let mut limit = PAGE;
        let table = loop {
            let last = all.last().map(|row| row.number);
            let page = |table: Arc<Table>| async move {
                // By number and not by offset: rows that come and go meanwhile shift no page.
                let filter = last.map(|number| format!("@({},gt,{number})", table.key));
                let mut limit = limit;
                loop {
                    match self.rows(&table, filter.as_deref(), limit).await {
                        Err(ApiError::TooLarge) if limit > 1 => limit /= 2,
                        done => return Ok((done?, limit)),
                    }
                }
            };
            let (table, (page, fitting)) = self.asked(page).await?;
            limit = fitting;
            // A far end that takes the filter for nothing gives the same page for ever.
            if !last.into_iter().chain(page.iter().map(|row| row.number)).is_sorted_by(|one, next| one < next) {
                return Err(ApiError::NotData(reqwest::StatusCode::OK).into());
            }
            let is_last = page.len() < limit;
            all.extend(page);
            if is_last {
                break table;
            }
        };
        let name = |row: &Row| row.cells.get(CLIENT).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut by_client: Vec<(String, Row)> = all.into_iter().map(|row| (name(&row), row)).collect();
        by_client.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut rows = Vec::new();
        for group in by_client.chunk_by(|(a, _), (b, _)| a == b && !a.is_empty()) {
            match group {
                [(_, row)] => rows.push(row.credential(&table)),
                several_rows => {
                    let numbers = several_rows.iter().map(|(_, row)| row.number).collect();
                    let client = row::shown(&several_rows[0].0);
                    rows.push(Err(Malformed { client, column: CLIENT, rows: numbers }));
                }
            }
        }
        Ok(rows)
    }

    /// Writes `cells` to the row of `client`: new, or in place of the old one; or only `over` the row whose sealed token
    /// that is. Whether it did.
    async fn write(
        &self,
        client: &ClientId,
        cells: &Map<String, Value>,
        over: Option<&str>,
    ) -> Result<bool, StoreError> {
        let until = Instant::now() + WRITE_PATIENCE;
        let mut lost: Option<ApiError> = None;
        for _ in 0..ATTEMPTS {
            if lost.is_some() && Instant::now() >= until {
                break;
            }
            let left = || until.saturating_duration_since(Instant::now()).max(PATIENCE);
            let (table, rows) = self.find(client).await?;
            let path = format!("/api/v2/tables/{}/records", table.id);
            let written = match &rows[..] {
                [row] if lost.is_some() && row.holds(&table, cells) => {
                    warn!(client.id = %client, row = row.number, "the answer to a write was lost; the row is as it should be");
                    return Ok(true);
                }
                [_, _, ..] if over.is_some() => return Err(several(client.as_str(), &rows).into()),
                rows if !over.is_none_or(|over| rows.first().is_some_and(|row| row.is_sealed_as(over))) => {
                    return Ok(false);
                }
                [] => match self.api.write(Method::POST, &path, &Value::Object(cells.clone()), left()).await {
                    Ok(made) => {
                        self.yield_to_older(client, number(&made[&table.key])).await?;
                        return Ok(true);
                    }
                    Err(error) => Err(error),
                },
                [first, others @ ..] => {
                    let mut update = cells.clone();
                    update.insert(table.key.clone(), json!(first.number));
                    match self.api.write(Method::PATCH, &path, &Value::Object(update), left()).await {
                        Ok(_) if others.is_empty() => return Ok(true),
                        Ok(_) => {
                            let numbers: Vec<u64> = others.iter().map(|row| row.number).collect();
                            warn!(client.id = %client, kept = first.number, removed = ?numbers,
                                "the client had several rows; one has the new credential, the others are removed");
                            self.delete(&table, &numbers).await?;
                            return Ok(true);
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match written {
                // Somebody else was first, or removed the row: look again.
                Err(error) if error.is_duplicate() => lost = Some(error),
                Err(error) if error.may_have_moved() => {
                    self.table_again().await?;
                    lost = Some(error);
                }
                Err(error) if error.may_have_happened() => {
                    warn!(client.id = %client, error = chain(&error), "the outcome of a write is not known; looking it up");
                    lost = Some(error);
                }
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(true),
            }
        }
        Err(lost.map_or_else(|| unreachable("the row could not be written"), StoreError::from))
    }

    /// Two processes that found no row may both have made one. The older row stays; whoever made the younger takes it
    /// away again and says that the store was busy, so that its caller tries again.
    async fn yield_to_older(&self, client: &ClientId, made: Option<u64>) -> Result<(), StoreError> {
        let Some(made) = made else { return Ok(()) };
        let (table, rows) = self.find(client).await?;
        let is_younger = rows.iter().any(|row| row.number < made);
        if !(is_younger && rows.iter().any(|row| row.number == made)) {
            return Ok(());
        }
        warn!(client.id = %client, row = made, "another process made a row of this client at the same time; ours is removed again");
        self.delete(&table, &[made]).await?;
        Err(unreachable("another process wrote the same client at the same time"))
    }

    async fn delete(&self, table: &Table, numbers: &[u64]) -> Result<(), StoreError> {
        let path = format!("/api/v2/tables/{}/records", table.id);
        let body = Value::Array(numbers.iter().map(|number| json!({ table.key.as_str(): number })).collect());
        self.api.write(Method::DELETE, &path, &body, WRITE_PATIENCE).await?;
        Ok(())
    }

    /// Removes every row of `client`; whether there was one.
    async fn forget(&self, client: &ClientId) -> Result<bool, StoreError> {
        let until = Instant::now() + WRITE_PATIENCE;
        let mut found = false;
        let mut lost: Option<StoreError> = None;
        for _ in 0..ATTEMPTS {
            if lost.is_some() && Instant::now() >= until {
                break;
            }
            let (table, rows) = self.find(client).await?;
            if rows.is_empty() {
                return Ok(found);
            }
            found = true;
            let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            if numbers.len() > 1 {
                warn!(client.id = %client, rows = ?numbers, "the client had several rows; all are removed");
            }
            lost = self.delete(&table, &numbers).await.err();
            if let Some(error @ StoreError::Token(_)) = lost {
                return Err(error);
            }
            // The next look says whether it was done.
        }
        match self.find(client).await?.1.is_empty() {
            true => Ok(found),
            false => Err(lost.unwrap_or_else(|| unreachable("the rows came back"))),
        }
    }
}

/// A row's own number: as one, or as text.
fn number(key: &Value) -> Option<u64> {
    key.as_u64().or_else(|| key.as_str()?.parse().ok())
}

fn several(client: &str, rows: &[Row]) -> Malformed {
    Malformed { client: row::shown(client), column: CLIENT, rows: rows.iter().map(|row| row.number).collect() }
}

impl Row {
    /// A cell as text; moments in the spelling that we write.
    fn cell(&self, table: &Table, column: &'static str) -> Result<Option<String>, NotText> {
        match self.cells.get(column) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if table.moments.contains(&column) => Ok(Some(moment(text))),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(NotText),
        }
    }

    fn credential(&self, table: &Table) -> Result<SealedCredential, Malformed> {
        row::credential(|column| self.cell(table, column))
    }

    /// Whether its sealed token is that one.
    fn is_sealed_as(&self, cell: &str) -> bool {
        self.cells.get(CELL).and_then(Value::as_str).unwrap_or_default() == cell
    }

    /// Whether each of `cells` is as it was to be written.
    fn holds(&self, table: &Table, cells: &Map<String, Value>) -> bool {
        columns().into_iter().filter(|column| cells.contains_key(*column)).all(|column| {
            let wanted = cells.get(column).and_then(Value::as_str).filter(|text| !text.is_empty());
            self.cell(table, column).is_ok_and(|cell| cell.filter(|text| !text.is_empty()).as_deref() == wanted)
        })
    }
}

/// `2025-03-01 00:00:00+00:00`, as NocoDB gives moments, in the spelling of RFC 3339 that we write.
fn moment(text: &str) -> String {
    match text.strip_suffix("+00:00").filter(|text| text.len() == 19 && text.as_bytes()[10] == b' ') {
        Some(text) => format!("{}Z", text.replacen(' ', "T", 1)),
        None => text.to_owned(),
    }
}

impl CredentialStore for NocoDb {
    fn load<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<Option<SealedCredential>, StoreError>> {
        Box::pin(async move { timeout(PATIENCE, self.one(client)).await.map_err(|_| unreachable(ApiError::Slow))? })
    }

    fn clients(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async move { timeout(PATIENCE, self.names(limit)).await.map_err(|_| unreachable(ApiError::Slow))? })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Result<SealedCredential, Malformed>>, StoreError>> {
        Box::pin(self.all())
    }

    fn save<'a>(&'a self, credential: &'a SealedCredential) -> BoxFuture<'a, Result<(), StoreError>> {
        let named = columns().into_iter().zip(row::cells(credential));
        let cells = named.map(|(column, cell)| (column.to_owned(), json!(cell))).collect();
        let client = &credential.binding.client;
        Box::pin(async move {
            let _one_at_a_time = self.writes.of(client).lock_owned().await;
            self.write(client, &cells, None).await.map(drop)
        })
    }

    fn replace<'a>(
        &'a self,
        old: &'a SealedCredential,
        new: &'a SealedCredential,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let cells = row::changed(old, new).map(|(column, cell)| (column.to_owned(), json!(cell))).collect();
        let client = &old.binding.client;
        Box::pin(async move {
            let _one_at_a_time = self.writes.of(client).lock_owned().await;
            self.write(client, &cells, Some(&old.cell)).await
        })
    }

    fn remove<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let _one_at_a_time = self.writes.of(client).lock_owned().await;
            self.forget(client).await
        })
    }
}
