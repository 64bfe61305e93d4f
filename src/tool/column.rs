//! A member of a row, declared once: from it come the fields asked of Graph, the flat value, the docs and the checks.

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde_json::{Map, Value, json};

use super::Args;
use super::money::{self, UnknownCurrency};
use crate::clock::rfc3339;
use crate::credential::Login;

/// What a member is, and so how Graph's value becomes a flat one.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Digits as text, exact.
    Id,
    /// Text as it came.
    Text,
    /// A moment, RFC 3339 in UTC.
    Time,
    /// `YYYY-MM-DD`.
    Day,
    /// A whole number.
    Count,
    /// A plain ratio: a number with up to 4 decimals.
    Ratio,
    /// Per cent, two decimals.
    Percent,
    /// Yes or no.
    Flag,
    /// Money that Meta sends in minor units; becomes decimal text.
    MinorMoney,
    /// Money that Meta sends as decimal text; passes as it is.
    Money,
    /// Meta's numbers as words.
    Words(&'static [(i64, &'static str)]),
    /// A list of short names as comma-separated text.
    Names,
    /// An object that must stay whole, as JSON text.
    Json,
    /// Rows of their own, as an album's items.
    Rows(&'static [Column]),
    /// A number, text or yes or no that the tool's own code has made flat: members of [`Column::asked`] vary in kind.
    Scalar,
}

impl Kind {
    /// The JSON type of the value beside `null`.
    fn json_type(self) -> &'static str {
        match self {
            Self::Count => "integer",
            Self::Ratio | Self::Percent => "number",
            Self::Flag => "boolean",
            Self::Rows(_) => "array",
            _ => "string",
        }
    }

    /// The word of the docs.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Text => "text",
            Self::Time => "time (RFC 3339, UTC)",
            Self::Day => "day (YYYY-MM-DD)",
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Percent => "per cent",
            Self::Flag => "yes or no",
            Self::MinorMoney | Self::Money => "money (decimal text)",
            Self::Words(_) => "word",
            Self::Names => "names, comma-separated",
            Self::Json => "JSON text",
            Self::Rows(_) => "rows",
            Self::Scalar => "number or text",
        }
    }
}

/// Where a value stands in a raw row of Graph.
#[derive(Clone, Copy)]
enum Source {
    /// At this path, `/` between levels.
    Path(&'static str),
    /// An insights metric of the node, asked by expansion.
    Insight(&'static str),
    /// Reckoned from the raw row; what it needs is asked by further fields.
    Computed(fn(&Value) -> Value, &'static [&'static str]),
    /// Put into the raw row by the tool's own code, under the column's name.
    Made,
    /// Any number of members that the tool's own code put there, in its order, for whose names this holds.
    Asked(fn(&str) -> bool),
}

/// One member of a row.
#[derive(Clone, Copy)]
pub struct Column {
    /// The member's name; for [`Column::asked`] a pattern for the docs.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means, with its unit where the kind does not say it.
    pub about: &'static str,
    /// Text that strangers wrote: data, whatever it says.
    pub by_strangers: bool,
    /// Shown and asked only when this boolean parameter is true.
    pub only_with: Option<&'static str>,
    /// Shown only with arguments for which this holds.
    pub when: Option<fn(&Column, &Args) -> bool>,
    /// Asked of this login alone; `null` on the other.
    pub login: Option<Login>,
    source: Source,
}

/// What a row cannot tell by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The account's currency, for amounts in minor units.
    pub currency: Option<&'a str>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $kind:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub const fn $name(name: &'static str) -> Self {
            Self::new(name, Kind::$kind)
        })*
    };
}

impl Column {
    const fn new(name: &'static str, kind: Kind) -> Self {
        let source = Source::Path(name);
        Self { name, kind, about: "", by_strangers: false, only_with: None, when: None, login: None, source }
    }

    kinds! {
        /// Digits as text.
        id Id;
        /// Text.
        text Text;
        /// A moment.
        time Time;
        /// A day.
        day Day;
        /// A whole number.
        count Count;
        /// A plain ratio.
        ratio Ratio;
        /// Per cent.
        percent Percent;
        /// Yes or no.
        flag Flag;
        /// Money from minor units.
        minor_money MinorMoney;
        /// Money from decimal text.
        money Money;
        /// Names joined by commas.
        names Names;
        /// JSON text.
        json Json;
    }

    /// Rows of their own, from a list at [`Column::from`]'s path.
    #[must_use]
    pub const fn rows(name: &'static str, columns: &'static [Column]) -> Self {
        Self::new(name, Kind::Rows(columns))
    }

    /// Meta's numbers as words.
    #[must_use]
    pub const fn words(name: &'static str, words: &'static [(i64, &'static str)]) -> Self {
        Self::new(name, Kind::Words(words))
    }

    /// Members whose names depend on what was asked, in the order in which the tool's code put them.
    #[must_use]
    pub const fn asked(pattern: &'static str, kind: Kind, is_one: fn(&str) -> bool) -> Self {
        Self { source: Source::Asked(is_one), ..Self::new(pattern, kind) }
    }

    /// Its place in Graph's row, `/` between levels, where that is not its own name.
    #[must_use]
    pub const fn from(self, path: &'static str) -> Self {
        Self { source: Source::Path(path), ..self }
    }

    /// An insights metric of the node.
    #[must_use]
    pub const fn insight(self, metric: &'static str) -> Self {
        Self { source: Source::Insight(metric), ..self }
    }

    /// Reckoned from the raw row, for which these fields are asked as well.
    #[must_use]
    pub const fn computed(self, by: fn(&Value) -> Value, fields: &'static [&'static str]) -> Self {
        Self { source: Source::Computed(by, fields), ..self }
    }

    /// Put into the row by the tool's own code.
    #[must_use]
    pub const fn made(self) -> Self {
        Self { source: Source::Made, ..self }
    }

    /// Marks text that strangers wrote.
    #[must_use]
    pub const fn by_strangers(self) -> Self {
        Self { by_strangers: true, ..self }
    }

    /// Shown and asked only when this boolean parameter is true.
    #[must_use]
    pub const fn only_with(self, param: &'static str) -> Self {
        Self { only_with: Some(param), ..self }
    }

    /// Shown only with arguments for which `holds` of this column.
    #[must_use]
    pub const fn when(self, holds: fn(&Column, &Args) -> bool) -> Self {
        Self { when: Some(holds), ..self }
    }

    /// Asked of this login alone.
    #[must_use]
    pub const fn only(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// What it means.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Its schema as a top-level member of an answer.
    #[must_use]
    pub fn schema(&self) -> Value {
        json!({ "type": [self.kind.json_type(), "null"] })
    }

    /// Whether its name is a pattern.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        matches!(self.source, Source::Asked(_))
    }

    fn read(&self, raw: &Value, facts: Facts<'_>) -> Result<Value, UnknownCurrency> {
        let found = match self.source {
            Source::Path(path) => at(raw, path).cloned().unwrap_or_default(),
            Source::Insight(metric) => insight(raw, metric),
            Source::Computed(by, _) => by(raw),
            Source::Made => raw.get(self.name).cloned().unwrap_or_default(),
            Source::Asked(_) => Value::Null,
        };
        flat(self.kind, found, facts)
    }
}

/// A member at a path, `/` between levels.
#[must_use]
pub fn at<'a>(raw: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').try_fold(raw, |value, step| value.get(step))
}

/// The value of a metric in an expanded `insights` edge: of its only value, or of its total.
#[must_use]
pub fn insight(raw: &Value, metric: &str) -> Value {
    let rows = at(raw, "insights/data").and_then(Value::as_array);
    let row = rows.into_iter().flatten().find(|row| row["name"] == metric);
    row.and_then(|row| row.pointer("/values/0/value").or_else(|| row.pointer("/total_value/value")))
        .cloned()
        .unwrap_or_default()
}

/// Graph's value as a flat one; what has another shape than its kind is `null`.
///
/// # Errors
/// An amount in a currency that Meta's table does not have.
pub fn flat(kind: Kind, value: Value, facts: Facts<'_>) -> Result<Value, UnknownCurrency> {
    let scalar_text = |value: Value| match value {
        Value::String(_) => value,
        Value::Number(number) => number.to_string().into(),
        _ => Value::Null,
    };
    Ok(match kind {
        Kind::Id | Kind::Text | Kind::Day | Kind::Money => scalar_text(value),
        Kind::Time => moment(&value).map_or(Value::Null, |at| rfc3339(at).into()),
        Kind::Count => match money::decimal(&value).map(|number| money::round(number, 0)) {
            Some(number) => money::number(number),
            None => Value::Null,
        },
        Kind::Ratio => money::decimal(&value).map_or(Value::Null, |number| money::number(money::round(number, 4))),
        Kind::Percent => money::decimal(&value).map_or(Value::Null, |number| money::number(money::round(number, 2))),
        Kind::Flag => match value {
            Value::Bool(_) => value,
            _ => Value::Null,
        },
        Kind::MinorMoney => {
            match (money::decimal(&value).and_then(|units| i64::try_from(units).ok()), facts.currency) {
                (Some(units), Some(currency)) => money::from_minor(units, currency)?.into(),
                _ => Value::Null,
            }
        }
        Kind::Words(words) => match value.as_i64() {
            Some(number) => match words.iter().find(|(known, _)| *known == number) {
                Some((_, word)) => (*word).into(),
                None => number.to_string().into(),
            },
            None => scalar_text(value),
        },
        Kind::Names => match value {
            Value::Array(names) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                names.join(",").into()
            }
            other => scalar_text(other),
        },
        Kind::Json => match value {
            Value::Null => Value::Null,
            other => other.to_string().into(),
        },
        Kind::Rows(columns) => match value {
            Value::Array(rows) => {
                let rows = rows.iter().map(|raw| row(columns, raw, facts).map(Value::Object));
                rows.collect::<Result<Vec<_>, _>>()?.into()
            }
            _ => Value::Null,
        },
        Kind::Scalar => match value {
            Value::Array(_) | Value::Object(_) => Value::Null,
            scalar => scalar,
        },
    })
}

/// Meta's moments: ISO 8601 with an offset without colon, or seconds since the epoch.
#[must_use]
pub fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(seconds) => Timestamp::from_second(seconds.as_i64()?).ok(),
        Value::String(text) => {
            text.parse().ok().or_else(|| strtime::parse("%Y-%m-%dT%H:%M:%S%z", text).ok()?.to_timestamp().ok())
        }
        _ => None,
    }
}

/// The `fields` expression that reads these columns from one node. With `insights` false no metric is asked.
#[must_use]
pub fn fields<'a>(columns: impl IntoIterator<Item = &'a Column>, insights: bool) -> String {
    let mut tree = Tree::default();
    let mut metrics: Vec<&str> = Vec::new();
    for column in columns {
        match column.source {
            Source::Path(path) => match column.kind {
                Kind::Rows(columns) => {
                    let edge = path.trim_end_matches("/data");
                    let paths = columns.iter().filter_map(|column| match column.source {
                        Source::Path(path) => Some(path),
                        _ => None,
                    });
                    tree.below(edge, paths);
                }
                _ => tree.add(path),
            },
            Source::Computed(_, fields) => {
                for field in fields {
                    match field.strip_prefix("insights/") {
                        Some(metric) => add_once(&mut metrics, metric),
                        None => tree.add(field),
                    }
                }
            }
            Source::Insight(metric) => add_once(&mut metrics, metric),
            Source::Made | Source::Asked(_) => {}
        }
    }
    let mut text = tree.text();
    if insights && !metrics.is_empty() {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&format!("insights.metric({})", metrics.join(",")));
    }
    text
}

fn add_once<'a>(list: &mut Vec<&'a str>, item: &'a str) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Fields in the order of their first mention.
#[derive(Default)]
struct Tree(Vec<(&'static str, Tree)>);

impl Tree {
    fn at(&mut self, step: &'static str) -> &mut Self {
        let place = match self.0.iter().position(|(known, _)| *known == step) {
            Some(place) => place,
            None => {
                self.0.push((step, Self::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[place].1
    }

    fn add(&mut self, path: &'static str) {
        path.split('/').fold(self, |tree, step| tree.at(step));
    }

    fn below(&mut self, edge: &'static str, paths: impl Iterator<Item = &'static str>) {
        let edge = self.at(edge);
        paths.for_each(|path| edge.add(path));
    }

    fn text(&self) -> String {
        let one = |(step, below): &(&str, Self)| match below.0.is_empty() {
            true => (*step).to_owned(),
            false => format!("{step}{{{}}}", below.text()),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }
}

/// A raw row as its flat members, in declared order; what no column names does not pass.
///
/// # Errors
/// An amount in a currency that Meta's table does not have.
pub fn row<'a>(
    columns: impl IntoIterator<Item = &'a Column>,
    raw: &Value,
    facts: Facts<'_>,
) -> Result<Map<String, Value>, UnknownCurrency> {
    let mut members = Map::new();
    for column in columns {
        if let Source::Asked(is_one) = column.source {
            for (name, value) in raw.as_object().into_iter().flatten().filter(|(name, _)| is_one(name)) {
                // A note of where a value came from is a word, whatever the value's kind.
                let kind = if value.is_string() && name.ends_with("_source") { Kind::Text } else { column.kind };
                members.insert(name.clone(), flat(kind, value.clone(), facts)?);
            }
        } else {
            members.insert(column.name.to_owned(), column.read(raw, facts)?);
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[Column] = &[
        Column::id("id"),
        Column::text("caption").by_strangers(),
        Column::id("owner_id").from("owner/id"),
        Column::text("owner_name").from("owner/name"),
        Column::count("views").insight("views"),
        Column::percent("rate").computed(|raw| raw["part"].clone(), &["part", "insights/reach"]),
        Column::text("note").made(),
        Column::rows("items", &[Column::id("id"), Column::text("kind")]).from("children/data"),
    ];

    #[test]
    fn the_columns_say_what_to_ask() {
        assert_eq!(fields(ROW, true), "id,caption,owner{id,name},part,children{id,kind},insights.metric(views,reach)");
        assert_eq!(fields(ROW, false), "id,caption,owner{id,name},part,children{id,kind}");
    }

    #[test]
    fn a_row_holds_what_is_declared_and_nothing_else() {
        let raw = json!({
            "id": "17", "owner": {"id": 5}, "part": "2.345", "paging": {"next": "https://x?access_token=EAAB"}, "secret": "EAAB",
            "children": {"data": [{"id": 1, "kind": "a", "x": 2}]},
            "insights": {"data": [{"name": "views", "values": [{"value": 9}]}], "paging": {"next": "EAAB"}}
        });
        let flat = row(ROW, &raw, Facts::default()).unwrap();
        let expected = json!({"id":"17","caption":null,"owner_id":"5","owner_name":null,"views":9,"rate":2.35,"note":null,
            "items":[{"id":"1","kind":"a"}]});
        assert_eq!(Value::Object(flat), expected);
    }

    #[test]
    fn each_kind_has_its_conversion() {
        let facts = Facts { currency: Some("EUR") };
        const WORDS: &[(i64, &str)] = &[(1, "active")];
        for (kind, from, to) in [
            (Kind::Time, json!("2026-11-20T08:15:30+0000"), json!("2026-11-20T08:15:30Z")),
            (Kind::Time, json!("2026-10-01T08:00:00+0200"), json!("2026-10-01T06:00:00Z")),
            (Kind::Time, json!(1_795_352_056), json!("2026-11-22T12:54:16Z")),
            (Kind::Time, json!("soon"), json!(null)),
            (Kind::Count, json!("48210"), json!(48210)),
            (Kind::Count, json!({"x": 1}), json!(null)),
            (Kind::Ratio, json!("1.234567"), json!(1.2346)),
            (Kind::Percent, json!("2.495333"), json!(2.5)),
            (Kind::MinorMoney, json!("2000"), json!("20.00")),
            (Kind::MinorMoney, json!(5), json!("0.05")),
            (Kind::Money, json!("312.47"), json!("312.47")),
            (Kind::Words(WORDS), json!(1), json!("active")),
            (Kind::Words(WORDS), json!(77), json!("77")),
            (Kind::Names, json!(["a", "b"]), json!("a,b")),
            (Kind::Names, json!([]), json!("")),
            (Kind::Json, json!({"a": 1}), json!("{\"a\":1}")),
            (Kind::Flag, json!("yes"), json!(null)),
            (Kind::Scalar, json!(2.5), json!(2.5)),
            (Kind::Scalar, json!({"a": 1}), json!(null)),
            (Kind::Id, json!(17841400000000000123u64), json!("17841400000000000123")),
        ] {
            assert_eq!(flat(kind, from.clone(), facts).unwrap(), to, "{} {from}", kind.unit());
        }
        assert!(flat(Kind::MinorMoney, json!("1"), Facts { currency: Some("XXX") }).is_err());
    }
}
