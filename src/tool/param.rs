//! Parameters: what an argument may be, its check, its schema.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::clock::parse_rfc3339;

/// What an argument may be. Every kind may also come as text.
#[derive(Clone, Copy, Debug)]
pub enum ParamKind {
    /// A whole number within a range.
    Int(i64, i64),
    /// True or false.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, of which another tool's schema has the list.
    Known(&'static [&'static str]),
    /// Text of at most so many characters.
    Text(usize),
    /// Digits, at most 32.
    Id,
    /// A decimal number that only filters.
    Decimal,
    /// A day, `2026-11-20`.
    Day,
    /// A day or a moment in RFC 3339.
    Moment,
    /// An IANA time zone.
    Zone,
    /// What `next_cursor` said.
    Cursor,
    /// A list, at most so many: a JSON list, or text with commas.
    List(&'static ParamKind, usize),
    /// A list of objects with these members, at most so many; also as JSON text.
    Rows(&'static [Param], usize),
}

/// One parameter of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: ParamKind,
    /// Whether it must be there.
    pub required: bool,
    /// What holds without it, as text; `None`: nothing.
    pub default: Option<&'static str>,
    /// What it means.
    pub about: &'static str,
    /// An example, as JSON.
    pub example: &'static str,
    /// Words that are not taken, and what to do instead.
    pub hints: &'static [(&'static str, &'static str)],
}

impl Param {
    /// An optional parameter without default.
    #[must_use]
    pub const fn new(name: &'static str, kind: ParamKind, about: &'static str, example: &'static str) -> Self {
        Self { name, kind, required: false, default: None, about, example, hints: &[] }
    }

    /// It must be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// What holds without it.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Words that are not taken, and what to do instead.
    #[must_use]
    pub const fn hints(self, hints: &'static [(&'static str, &'static str)]) -> Self {
        Self { hints, ..self }
    }

    /// The default as the value that it stands for.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.kind.take(&Value::String(text.to_owned())).expect("a test checks every default"))
    }

    /// Its JSON schema.
    #[must_use]
    pub fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        schema["description"] = self.about.into();
        if let Some(default) = self.default_value() {
            schema["default"] = default;
        }
        schema
    }
}

/// The page size of a list.
#[must_use]
pub const fn limit(kind: ParamKind, default: &'static str) -> Param {
    Param::new("limit", kind, "Rows of a page.", "10").or(default)
}

/// Where a list goes on.
pub const CURSOR: Param = Param::new(
    "cursor",
    ParamKind::Cursor,
    "next_cursor of the page before; same other parameters.",
    "\"eyJjIjoiUVZGSSJ9\"",
);

impl ParamKind {
    /// What may be sent, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Int(least, most) => format!("a whole number from {least} to {most}"),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) | Self::Known(words) => format!("one of {}", words.join(", ")),
            Self::Text(most) => format!("text of 1 to {most} characters"),
            Self::Id => "an id of 1 to 32 digits".to_owned(),
            Self::Decimal => "a number such as 10 or 10.50, not below 0".to_owned(),
            Self::Day => "a day such as 2026-11-20".to_owned(),
            Self::Moment => "a day such as 2026-11-20, or a moment such as 2026-11-20T08:00:00Z".to_owned(),
            Self::Zone => "a time zone such as Europe/Berlin".to_owned(),
            Self::Cursor => "the next_cursor of a page before".to_owned(),
            Self::List(Self::Word(words) | Self::Known(words), most) => {
                format!("a list of up to {most} of {}", words.join(", "))
            }
            Self::List(of, most) => format!("a list of up to {most}, each {}", of.words()),
            Self::Rows(members, most) => {
                let names: Vec<&str> = members.iter().map(|member| member.name).collect();
                format!("a list of up to {most} objects of {}", names.join(", "))
            }
        }
    }

    fn schema(&self) -> Value {
        match self {
            Self::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Word(words) => json!({ "type": "string", "enum": words }),
            Self::List(of, most) => json!({ "type": "array", "items": of.schema(), "maxItems": most }),
            Self::Rows(members, most) => {
                // What the members mean stands in the docs: a schema within a schema is long enough.
                let mut row = object_schema(members);
                for member in row["properties"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
                    member.as_object_mut().map(|schema| schema.remove("description"));
                }
                json!({ "type": "array", "items": row, "maxItems": most })
            }
            Self::Decimal => json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$" }),
            _ => json!({ "type": "string" }),
        }
    }

    /// The checked value: numbers and booleans from text, lists from text with commas, words in their one spelling.
    fn take(&self, came: &Value) -> Option<Value> {
        match self {
            Self::Int(least, most) => {
                let number = match came {
                    Value::String(text) => text.trim().parse().ok()?,
                    other => other.as_i64()?,
                };
                (*least..=*most).contains(&number).then(|| number.into())
            }
            Self::Flag => match came {
                Value::Bool(_) => Some(came.clone()),
                Value::String(text) => text.trim().parse::<bool>().ok().map(Value::Bool),
                _ => None,
            },
            Self::Word(words) | Self::Known(words) => {
                let text = came.as_str()?.trim();
                words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| (*word).into())
            }
            Self::Text(most) => {
                let text = text_of(came)?;
                let fits = !text.trim().is_empty() && text.chars().count() <= *most && !text.contains('\0');
                fits.then(|| text.into())
            }
            Self::Id => {
                let text = match came {
                    // Beyond 2^53 a sender's own JSON may have rounded it.
                    Value::Number(number) => number.as_u64().filter(|id| *id < 1 << 53)?.to_string(),
                    other => other.as_str()?.trim().to_owned(),
                };
                let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                fits.then(|| text.into())
            }
            Self::Decimal => {
                let text = text_of(came)?;
                let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                let (whole, rest) = text.split_once('.').unwrap_or((&text, "0"));
                (digits(whole) && digits(rest) && text.len() <= 20).then(|| text.into())
            }
            Self::Day => {
                let text = came.as_str()?.trim();
                let day = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten()?;
                YEARS.contains(&day.year()).then(|| day.to_string().into())
            }
            Self::Moment => {
                let text = came.as_str()?.trim();
                if let Some(day) = Self::Day.take(came) {
                    return Some(day);
                }
                let at = parse_rfc3339(text)?;
                YEARS.contains(&TimeZone::UTC.to_datetime(at).year()).then(|| at.to_string().into())
            }
            Self::Zone => {
                let text = came.as_str()?.trim();
                TimeZone::get(text).ok().map(|_| text.into())
            }
            Self::Cursor => {
                let text = came.as_str()?;
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
                ((1..=4096).contains(&text.len()) && text.bytes().all(plain)).then(|| text.into())
            }
            Self::List(of, most) => {
                let items = match came {
                    Value::Array(items) => items.iter().map(|item| of.take(item)).collect::<Option<Vec<_>>>()?,
                    Value::String(text) => {
                        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                        parts.map(|part| of.take(&part.into())).collect::<Option<Vec<_>>>()?
                    }
                    one => vec![of.take(one)?],
                };
                (items.len() <= *most).then(|| items.into())
            }
            Self::Rows(members, most) => {
                let parsed: Value;
                let rows = match came {
                    Value::String(text) => {
                        parsed = serde_json::from_str(text).ok()?;
                        parsed.as_array()?
                    }
                    other => other.as_array()?,
                };
                let rows = rows.iter().map(|row| Some(Args::check(members, row.as_object()?).ok()?.0.into()));
                let rows = rows.collect::<Option<Vec<Value>>>()?;
                (rows.len() <= *most).then(|| rows.into())
            }
        }
    }

    /// Which member of which row does not fit, where this kind has rows.
    fn stray_member(&self, came: &Value) -> Option<String> {
        let Self::Rows(members, _) = self else { return None };
        let parsed = came.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let rows = parsed.as_ref().unwrap_or(came).as_array()?.iter().enumerate();
        rows.filter_map(|(index, row)| Some((index + 1, Args::check(members, row.as_object()?).err()?)))
            .map(|(number, error)| format!("number {number}: {error}"))
            .next()
    }

    /// The first word of `came` that is none of ours, where this kind has words.
    fn stray_word(&self, came: &Value) -> Option<(String, &'static [&'static str])> {
        let (words, many) = match self {
            Self::Word(words) | Self::Known(words) => (*words, false),
            Self::List(Self::Word(words) | Self::Known(words), _) => (*words, true),
            _ => return None,
        };
        let texts: Vec<&str> = match came {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            Value::String(text) if many => text.split(',').collect(),
            Value::String(text) => vec![text],
            _ => return None,
        };
        let stray =
            texts.into_iter().map(str::trim).find(|text| !words.iter().any(|word| word.eq_ignore_ascii_case(text)))?;
        Some((stray.to_owned(), words))
    }
}

/// Years that a date may lie in: Meta has nothing before, and no arithmetic of ours ends beyond the calendar.
const YEARS: std::ops::RangeInclusive<i16> = 2000..=2100;

fn text_of(came: &Value) -> Option<String> {
    match came {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Arguments that do not fit: names the parameter, what it may be, and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(pub String);

impl ArgumentError {
    /// A refusal of one parameter in the tool's own words.
    #[must_use]
    pub fn of(param: &str, expected: &str) -> Self {
        Self(format!("{param}: {expected}"))
    }
}

/// The nearest of `known` to `came`, where one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(came: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time with the length, and no name of ours is so long.
    if came.len() > 64 {
        return None;
    }
    let came = came.to_lowercase();
    let scored = known.into_iter().map(|name| (strsim::jaro_winkler(&came, &name.to_lowercase()), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.75).then_some(best.1)
}

/// What came, for a message: short, on one line, and never a token that was sent by mistake.
#[must_use]
pub fn shown(came: &str) -> String {
    // Meta's tokens begin with these (graph-api tokens, 2026); no id and no word does.
    let is_token = |word: &str| word.len() >= 16 && ["EAA", "IGA", "IGQ"].iter().any(|begin| word.starts_with(begin));
    if came.split(|c: char| !c.is_ascii_alphanumeric()).any(is_token) {
        return "a text that looks like a token".to_owned();
    }
    let mut short: String = came.chars().filter(|c| !c.is_control()).take(80).collect();
    if short.len() < came.len() {
        short.push('…');
    }
    short
}

/// Checked arguments, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Args(Map<String, Value>);

impl Args {
    /// Checks `came` against `params`. `null` counts as not sent.
    ///
    /// # Errors
    /// The first argument that does not fit; unknown ones name the nearest known.
    pub fn check(params: &[Param], came: &Map<String, Value>) -> Result<Self, ArgumentError> {
        for name in came.keys() {
            if !params.iter().any(|param| param.name == name) {
                let short = shown(name);
                let hint = match nearest(name, params.iter().map(|param| param.name)) {
                    Some(near) => format!("; did you mean {near}?"),
                    None if params.is_empty() => "; this tool takes no parameters".to_owned(),
                    None => format!("; there are: {}", params.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")),
                };
                return Err(ArgumentError(format!("{short}: there is no such parameter{hint}")));
            }
        }
        let mut args = Map::new();
        for param in params {
            let value = match came.get(param.name).filter(|value| !value.is_null()) {
                // Of an expression that found nothing: an empty list is sent as [].
                Some(Value::String(text)) if param.required && text.trim().is_empty() => {
                    return Err(refuse(param, &Value::String(text.clone())));
                }
                Some(value) => Some(param.kind.take(value).ok_or_else(|| refuse(param, value))?),
                None if param.required => {
                    return Err(ArgumentError(format!(
                        "{}: this parameter is required: {}",
                        param.name,
                        param.kind.words()
                    )));
                }
                None => param.default_value(),
            };
            if let Some(value) = value {
                args.insert(param.name.to_owned(), value);
            }
        }
        Ok(Self(args))
    }

    /// All of them but the cursor: what a cursor is good for.
    #[must_use]
    pub fn but_cursor(&self) -> Map<String, Value> {
        self.0
            .iter()
            .filter(|(name, _)| *name != CURSOR.name)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Whether it was sent or has a default.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Text, a word, an id, a day or a decimal.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A whole number.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    /// A boolean; false where there is none.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list of words or ids; empty where there is none.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Rows of objects; none where there are none.
    #[must_use]
    pub fn rows(&self, name: &str) -> Vec<Self> {
        let rows = self.0.get(name).and_then(Value::as_array).into_iter().flatten();
        rows.filter_map(|row| Some(Self(row.as_object()?.clone()))).collect()
    }

    /// A day or moment: at a day's start in `zone`, or, with `whole`, at its end.
    #[must_use]
    pub fn moment(&self, name: &str, zone: &TimeZone, whole: bool) -> Option<Timestamp> {
        let text = self.text(name)?;
        let Some(day) = text.parse::<Date>().ok().filter(|_| text.len() == 10) else { return text.parse().ok() };
        let day = if whole { day.tomorrow().ok()? } else { day };
        zone.to_timestamp(day.at(0, 0, 0, 0)).ok()
    }
}

/// What an object with these members must look like.
#[must_use]
pub fn object_schema(params: &[Param]) -> Map<String, Value> {
    let properties: Map<String, Value> = params.iter().map(|p| (p.name.to_owned(), p.schema())).collect();
    let required: Vec<&str> = params.iter().filter(|param| param.required).map(|param| param.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

fn refuse(param: &Param, came: &Value) -> ArgumentError {
    if matches!(param.kind, ParamKind::Id) && came.is_number() {
        let name = param.name;
        return ArgumentError(format!("{name}: send the id as text: as a number so long it may have been rounded"));
    }
    if let Some(stray) = param.kind.stray_member(came) {
        return ArgumentError(format!("{}: {stray}", param.name));
    }
    if let Some((stray, words)) = param.kind.stray_word(came) {
        if let Some((_, instead)) = param.hints.iter().find(|(word, _)| word.eq_ignore_ascii_case(&stray)) {
            return ArgumentError(format!("{}: {} is not offered: {instead}", param.name, shown(&stray)));
        }
        let stray = shown(&stray);
        let hint =
            nearest(&stray, words.iter().copied()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return ArgumentError(format!("{}: {stray:?} is none of: {}{hint}", param.name, words.join(", ")));
    }
    ArgumentError(format!("{}: must be {}, and {} came", param.name, param.kind.words(), shown(&came.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &[Param] = &[
        limit(ParamKind::Int(1, 100), "10"),
        CURSOR,
        Param::new("metrics", ParamKind::List(&ParamKind::Word(&["reach", "views"]), 3), "", "").or("reach,views"),
        Param::new("urls", ParamKind::Flag, "", "").or("false"),
        Param::new("media_id", ParamKind::Id, "", ""),
        Param::new("since", ParamKind::Moment, "", ""),
        Param::new("min_spend", ParamKind::Decimal, "", ""),
        Param::new("name", ParamKind::Text(5), "", ""),
        Param::new("timezone", ParamKind::Zone, "", ""),
        Param::new("period", ParamKind::Known(&["day"]), "", "").hints(&[("month", "use since and until")]),
    ];

    fn check(json: Value) -> Result<Args, ArgumentError> {
        Args::check(PARAMS, json.as_object().unwrap())
    }

    #[test]
    fn arguments_come_typed_or_as_text() {
        let plain = check(json!({"limit": 5, "metrics": ["views"], "urls": true, "media_id": 17})).unwrap();
        let text = check(json!({"limit": "5", "metrics": "VIEWS", "urls": "true", "media_id": "17"})).unwrap();
        assert_eq!(plain.but_cursor(), text.but_cursor());
        assert_eq!(plain.int("limit"), Some(5));
        let none = check(json!({"limit": null})).unwrap();
        assert_eq!(
            (none.int("limit"), none.list("metrics"), none.flag("urls")),
            (Some(10), vec!["reach", "views"], false)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_may_be_sent() {
        for (came, message) in [
            (json!({"limit": 0}), "limit: must be a whole number from 1 to 100, and 0 came"),
            (json!({"limit": "ten"}), "limit: must be a whole number from 1 to 100, and \"ten\" came"),
            (json!({"limits": 5}), "limits: there is no such parameter; did you mean limit?"),
            (json!({"metrics": ["reech"]}), "metrics: \"reech\" is none of: reach, views; did you mean reach?"),
            (json!({"period": "days"}), "period: \"days\" is none of: day; did you mean day?"),
            (json!({"period": "Month"}), "period: Month is not offered: use since and until"),
            (json!({"urls": 1}), "urls: must be true or false, and 1 came"),
            (json!({"media_id": "../me"}), "media_id: must be an id of 1 to 32 digits, and \"../me\" came"),
            (
                json!({"media_id": 17841400000000000123u64}),
                "media_id: send the id as text: as a number so long it may have been rounded",
            ),
            (
                json!({"since": "yesterday"}),
                "since: must be a day such as 2026-11-20, or a moment such as 2026-11-20T08:00:00Z, and \"yesterday\" came",
            ),
            (
                json!({"since": "2026-02-30"}),
                "since: must be a day such as 2026-11-20, or a moment such as 2026-11-20T08:00:00Z, and \"2026-02-30\" came",
            ),
            (
                json!({"min_spend": "1e3"}),
                "min_spend: must be a number such as 10 or 10.50, not below 0, and \"1e3\" came",
            ),
            (json!({"name": "too long"}), "name: must be text of 1 to 5 characters, and \"too long\" came"),
            (
                json!({"timezone": "Mars/Base"}),
                "timezone: must be a time zone such as Europe/Berlin, and \"Mars/Base\" came",
            ),
            (json!({"cursor": "a b"}), "cursor: must be the next_cursor of a page before, and \"a b\" came"),
        ] {
            assert_eq!(check(came).unwrap_err().0, message);
        }
    }

    #[test]
    fn a_token_sent_by_mistake_is_not_repeated() {
        for came in [
            json!({"media_id": "EAABtokentokentoken"}),
            json!({"metrics": "IGAAtokentokentoken"}),
            json!({"EAABtokentokentoken": 1}),
        ] {
            let message = check(came).unwrap_err().0;
            assert!(!message.contains("tokentoken") && message.contains("looks like a token"), "{message}");
        }
    }

    #[test]
    fn a_bare_day_is_cut_in_the_zone() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let args = check(json!({"since": "2026-11-01"})).unwrap();
        assert_eq!(args.moment("since", &zone, false).unwrap().to_string(), "2026-11-01T07:00:00Z");
        assert_eq!(args.moment("since", &zone, true).unwrap().to_string(), "2026-11-02T08:00:00Z");
        let exact = check(json!({"since": "2026-11-01T10:00:00+01:00"})).unwrap();
        assert_eq!(exact.moment("since", &zone, true).unwrap().to_string(), "2026-11-01T09:00:00Z");
    }
}
