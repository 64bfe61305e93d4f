//! Where the rows are: base, table and columns by the titles that people see, found by NocoDB's ids.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, ApiError};
use super::unreachable;
use crate::store::row::{self, Kind};
use crate::store::{Finding, StoreError};

/// What one look at base, table or columns may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Making a table takes NocoDB longer.
const MAKING: Duration = Duration::from_secs(20);
/// The base that is meant where none is named.
pub(super) const USUAL_BASE: &str = "aiviary";

/// What may be made where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    /// Nothing.
    Nothing,
    /// A table; and columns of one without rows. A column that a table with rows lacks may just have another name.
    Table,
    /// Also columns of a table with rows: somebody asked for it.
    Columns,
}

/// The table, found.
#[derive(Debug)]
pub(super) struct Table {
    /// For addresses.
    pub id: String,
    /// Title of the column with NocoDB's own row number.
    pub key: String,
    /// Columns that NocoDB keeps as moments: they come back in its own spelling.
    pub moments: Vec<&'static str>,
}

/// Base and table as they are configured.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub base: String,
    pub table: String,
}

/// A thing that NocoDB lists.
struct Listed {
    id: String,
    title: String,
}

impl From<ApiError> for StoreError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Token(status) => Self::Token(status.as_u16()),
            error => unreachable(error),
        }
    }
}

/// An id of NocoDB's, which becomes part of an address.
fn id_of(value: &Value) -> Option<String> {
    let id = value["id"].as_str()?;
    let fits =
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    fits.then(|| id.to_owned())
}

fn listed(answer: &Value) -> Vec<Listed> {
    let each = answer["list"].as_array().into_iter().flatten();
    each.filter_map(|one| Some(Listed { id: id_of(one)?, title: one["title"].as_str()?.to_owned() })).collect()
}

/// The one that `name` means, by id or else by title.
fn pick(mut all: Vec<Listed>, name: &str, key: &'static str) -> Result<Option<Listed>, StoreError> {
    if let Some(position) = all.iter().position(|one| one.id == name) {
        return Ok(Some(all.swap_remove(position)));
    }
    all.retain(|one| one.title == name);
    match all.len() {
        0 | 1 => Ok(all.pop()),
        _ => Err(StoreError::Ambiguous { key, ids: all.into_iter().map(|one| one.id).collect() }),
    }
}

/// The base's id.
pub(super) async fn base(api: &Api, name: &str) -> Result<String, StoreError> {
    let all = listed(&api.get("/api/v2/meta/bases", &[], PATIENCE).await?);
    let titles = all.iter().map(|one| format!("{:?}", one.title)).collect::<Vec<_>>().join(", ");
    let found = match (name, all.len()) {
        ("", 1) => all.into_iter().next(),
        ("", _) => pick(all, USUAL_BASE, "base")?,
        _ => pick(all, name, "base")?,
    };
    found.map(|one| one.id).ok_or_else(|| {
        let there =
            if titles.is_empty() { "it shows none to this token".to_owned() } else { format!("it has {titles}") };
        StoreError::Missing { key: "base", help: format!("{there}; `aiviary store init --bootstrap` makes one") }
    })
}

async fn find(api: &Api, base: &str, name: &str) -> Result<Option<Listed>, StoreError> {
    let all = listed(&api.get(&format!("/api/v2/meta/bases/{base}/tables"), &[], PATIENCE).await?);
    pick(all, name, "table")
}

/// How NocoDB calls the type that `column` should have.
fn wanted(column: &str) -> &'static str {
    match row::kind(column) {
        Kind::Sealed | Kind::Long => "LongText",
        Kind::Key | Kind::Text | Kind::Time => "SingleLineText",
    }
}

/// Whether a column of that type gives back what it was given. Numbers round ids, and choices, dates and addresses
/// drop what does not fit them; moments keep whole seconds.
fn keeps(column: &str, uidt: &str) -> bool {
    matches!(uidt, "SingleLineText" | "LongText") || (row::kind(column) == Kind::Time && uidt == "DateTime")
}

fn definition(column: &str) -> Value {
    let mut column_json = json!({ "title": column, "column_name": column, "uidt": wanted(column) });
    if row::kind(column) == Kind::Key {
        // Shown first. Unique holds on PostgreSQL; on SQLite NocoDB says so and lets duplicates in.
        column_json["pv"] = json!(true);
        column_json["unique"] = json!(true);
    }
    column_json
}

/// What the table's columns are.
struct Columns {
    key: Option<String>,
    types: Vec<(&'static str, Option<String>)>,
}

async fn columns(api: &Api, table: &Listed) -> Result<Columns, StoreError> {
    let about = api.get(&format!("/api/v2/meta/tables/{}", table.id), &[], PATIENCE).await?;
    let all: Vec<&Value> = about["columns"].as_array().into_iter().flatten().collect();
    let is_key = |column: &&&Value| column["pk"].as_bool().unwrap_or_else(|| column["pk"].as_i64() == Some(1));
    let key = all.iter().find(is_key).and_then(|column| column["title"].as_str()).map(str::to_owned);
    let types = row::columns().map(|name| {
        let column = all.iter().find(|column| column["title"] == name);
        (name, column.map(|column| column["uidt"].as_str().unwrap_or_default().to_owned()))
    });
    Ok(Columns { key, types: types.to_vec() })
}

impl Columns {
    fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.types.iter().filter(|(_, uidt)| uidt.is_none()).map(|(name, _)| *name)
    }

    /// What is wrong with `column`, if anything.
    fn fault(&self, table: &Listed, column: &'static str) -> Option<StoreError> {
        let table = table.title.clone();
        match self.types.iter().find(|(name, _)| *name == column).and_then(|(_, uidt)| uidt.as_deref()) {
            None => Some(StoreError::Column { table, column }),
            Some(uidt) if keeps(column, uidt) => None,
            Some(uidt) => {
                let is = uidt.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
                Some(StoreError::ColumnType { table, column, is, wanted: wanted(column) })
            }
        }
    }
}

async fn has_rows(api: &Api, table: &Listed) -> Result<bool, StoreError> {
    let answer = api.get(&format!("/api/v2/tables/{}/records/count", table.id), &[], PATIENCE).await?;
    Ok(answer["count"].as_u64() != Some(0))
}

/// Finds the table and checks every column; makes what is missing as far as `make` says, and tells what it did.
pub(super) async fn resolve(api: &Api, names: &Names, make: Make) -> Result<(Table, Vec<String>), StoreError> {
    let mut did = Vec::new();
    let base = base(api, &names.base).await?;
    let table = match find(api, &base, &names.table).await? {
        Some(table) => table,
        None if make == Make::Nothing => {
            let help = format!("base {base} has no table {:?}; `aiviary store init` makes it", names.table);
            return Err(StoreError::Missing { key: "table", help });
        }
        None => {
            did.push(format!("made table {:?}", names.table));
            make_table(api, &base, &names.table).await?
        }
    };
    let mut found = columns(api, &table).await?;
    let missing: Vec<_> = found.missing().collect();
    if !missing.is_empty() && make != Make::Nothing {
        let rows = has_rows(api, &table).await?;
        // Under another name it still has every credential, and an empty one beside it would hide them.
        let vital = missing.iter().find(|column| matches!(row::kind(column), Kind::Key | Kind::Sealed));
        if let Some(column) = vital.filter(|_| rows) {
            return Err(StoreError::Renamed { table: table.title, column });
        }
        if !rows || make == Make::Columns {
            for column in missing {
                let path = format!("/api/v2/meta/tables/{}/columns", table.id);
                api.write(Method::POST, &path, &definition(column), MAKING).await?;
                did.push(format!("added column `{column}` ({}) to table {:?}", wanted(column), table.title));
            }
            found = columns(api, &table).await?;
        }
    }
    if let Some(fault) = row::columns().into_iter().find_map(|column| found.fault(&table, column)) {
        return Err(fault);
    }
    let Some(key) = found.key else {
        return Err(StoreError::Setting("the NocoDB table has no primary key: its rows cannot be told apart"));
    };
    let is_moment =
        |(name, uidt): &(&'static str, Option<String>)| (uidt.as_deref() == Some("DateTime")).then_some(*name);
    let moments = found.types.iter().filter_map(is_moment).collect();
    Ok((Table { id: table.id, key, moments }, did))
}

async fn make_table(api: &Api, base: &str, title: &str) -> Result<Listed, StoreError> {
    let mut all = vec![json!({ "title": "Id", "column_name": "id", "uidt": "ID" })];
    all.extend(row::columns().map(definition));
    let body = json!({ "title": title, "table_name": title, "columns": all });
    let made = api.write(Method::POST, &format!("/api/v2/meta/bases/{base}/tables"), &body, MAKING).await;
    // Somebody else may have made it meanwhile; an answer that was lost may have made it too.
    match find(api, base, title).await? {
        Some(table) => Ok(table),
        None => match made {
            Err(error) => Err(error.into()),
            Ok(_) => Err(unreachable(std::io::Error::other("the table that was made is not there"))),
        },
    }
}

/// Looks at each thing by itself, and makes nothing.
pub(super) async fn inspect(api: &Api, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |what: &str, wrong: Option<StoreError>| findings.push(Finding { what: what.to_owned(), wrong });
    let base = match base(api, &names.base).await {
        Ok(base) => base,
        Err(error) => {
            let what = if matches!(error, StoreError::Missing { .. } | StoreError::Ambiguous { .. }) {
                "base"
            } else {
                "NocoDB, with its token"
            };
            note(what, Some(error));
            return findings;
        }
    };
    note("NocoDB, with its token", None);
    note(&format!("base {base}"), None);
    let found = match find(api, &base, &names.table).await {
        Ok(Some(table)) => columns(api, &table).await.map(|columns| (table, columns)),
        Ok(None) => {
            let help = format!("base {base} has no table {:?}; `aiviary store init` makes it", names.table);
            Err(StoreError::Missing { key: "table", help })
        }
        Err(error) => Err(error),
    };
    match found {
        Err(error) => note("table", Some(error)),
        Ok((table, columns)) => {
            note(&format!("table {:?} ({})", table.title, table.id), None);
            for (column, uidt) in &columns.types {
                let uidt = uidt.as_deref().unwrap_or("missing");
                note(&format!("column `{column}`, {uidt}"), columns.fault(&table, column));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_an_id_before_a_title() {
        let all = || {
            [("p1", "a"), ("p2", "p1"), ("p3", "b"), ("p4", "b")]
                .map(|(id, title)| Listed { id: id.to_owned(), title: title.to_owned() })
                .into()
        };
        let id = |name| pick(all(), name, "base").unwrap().map(|one| one.id);
        assert_eq!(id("p1").as_deref(), Some("p1"));
        assert_eq!(id("a").as_deref(), Some("p1"));
        assert_eq!(id("A"), None);
        let two = pick(all(), "b", "base").map(|_| ()).unwrap_err();
        assert!(matches!(&two, StoreError::Ambiguous { ids, .. } if ids == &["p3", "p4"]), "{two}");
    }

    #[test]
    fn columns_that_change_what_they_are_given_are_told_from_those_that_keep_it() {
        for (column, uidt, expected) in [
            ("client_id", "SingleLineText", true),
            ("access_token", "LongText", true),
            ("access_token", "SingleLineText", true),
            ("token_expires_at", "DateTime", true),
            ("updated_at", "DateTime", true),
            ("issued_at", "DateTime", false),
            ("ad_account_id", "DateTime", false),
            ("meta_user_id", "Number", false),
            ("meta_user_id", "Decimal", false),
            ("login", "SingleSelect", false),
            ("scopes", "MultiSelect", false),
            ("token_expires_at", "Date", false),
        ] {
            assert_eq!(keeps(column, uidt), expected, "{column} {uidt}");
        }
    }

    #[test]
    fn ids_that_would_change_an_address_are_none() {
        for (id, fits) in [("m3kk7rj7i9i98lg", true), ("", false), ("a/b", false), ("..", false), ("a?b", false)] {
            assert_eq!(id_of(&json!({ "id": id })).is_some(), fits, "{id}");
        }
    }
}
