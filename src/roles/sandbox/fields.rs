//! Graph's fields language, the projection of nodes to the fields asked for, and the paging of lists.

use serde_json::{Map, Value, json};

use super::graph::Call;
use super::rules::Refusal;

/// Braces may nest this deep. Meta documents no bound; ours keeps the parser's stack small.
const DEEPEST: usize = 12;

/// Parameters of a call, or of an edge within `fields`, decoded and in the caller's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// The first value of `name` that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A list, written as Graph takes it: `a,b` or `["a","b"]`.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        if let Ok(Value::Array(items)) = serde_json::from_str(text) {
            return items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
        }
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// `limit`, at most `most`; `usual` where it is not given.
    fn limit(&self, usual: usize, most: usize) -> Result<usize, Refusal> {
        match self.get("limit") {
            None => Ok(usual),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) => Ok(limit.min(most)),
                Err(_) => Err(Refusal::parameter("param limit must be an integer")),
            },
        }
    }
}

/// One item of `fields`: a name, the edge's parameters from `.name(value)`, and what is asked within it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The field or edge.
    pub name: String,
    /// Modifiers such as `limit` and `metric`, verbatim.
    pub params: Params,
    /// The fields between the braces; none means the node's own defaults.
    pub fields: Vec<Field>,
}

impl Field {
    /// A field without modifiers.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Reads a `fields` parameter.
///
/// # Errors
/// Graph's 2500, with the position counted from one.
pub fn parse(text: &str) -> Result<Vec<Field>, Refusal> {
    let mut parser = Parser { text, left: text.chars().collect(), at: 0 };
    parser.skip_spaces();
    if parser.peek().is_none() {
        return Ok(Vec::new());
    }
    let fields = parser.list(0)?;
    match parser.peek() {
        None => Ok(fields),
        Some(other) => Err(parser.error(&format!("Expected end of string instead of \"{other}\"."))),
    }
}

struct Parser<'a> {
    text: &'a str,
    left: Vec<char>,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.left.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn error(&self, what: &str) -> Refusal {
        let message = format!("Syntax error \"{what}\" at character {}: {}", self.at + 1, self.text);
        Refusal::new(2500, message)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Field>, Refusal> {
        if depth > DEEPEST {
            return Err(self.error("Too many levels of nesting."));
        }
        let mut fields: Vec<Field> = Vec::new();
        loop {
            self.skip_spaces();
            let start = self.at;
            let field = self.field(depth)?;
            if fields.iter().any(|known| known.name == field.name) {
                self.at = start;
                return Err(self.error("Field specified more than once. This is only possible before version 2.1"));
            }
            fields.push(field);
            self.skip_spaces();
            if !self.take(',') {
                return Ok(fields);
            }
        }
    }

    fn name(&mut self) -> Result<String, Refusal> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
        if start == self.at {
            Err(self.error("Expected name."))
        } else {
            Ok(self.left[start..self.at].iter().collect())
        }
    }

    fn field(&mut self, depth: usize) -> Result<Field, Refusal> {
        let mut field = Field::plain(&self.name()?);
        self.skip_spaces();
        while self.take('.') {
            let modifier = self.name()?;
            if !self.take('(') {
                return Err(self.error("Expected \"(\"."));
            }
            let value = self.argument()?;
            field.params.0.push((modifier, value));
            self.skip_spaces();
        }
        if self.take('{') {
            self.skip_spaces();
            field.fields = self.list(depth + 1)?;
            if !self.take('}') {
                return Err(self.error("Expected \"}\"."));
            }
        }
        Ok(field)
    }

    /// Everything up to the bracket that closes the modifier; quotes and inner brackets are looked through,
    /// since filters are JSON.
    fn argument(&mut self) -> Result<String, Refusal> {
        let (start, mut depth, mut quoted) = (self.at, 0_usize, false);
        while let Some(c) = self.peek() {
            match c {
                '\\' if quoted => self.at += 1,
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted && depth == 0 => {
                    let value: String = self.left[start..self.at].iter().collect();
                    self.at += 1;
                    return Ok(value.trim().to_owned());
                }
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.left.len();
        Err(self.error("Expected \")\"."))
    }
}

/// What Graph knows about a type of node.
pub struct Kind {
    /// The name in error texts, for example `IGUser`.
    pub name: &'static str,
    /// Every field and edge that may stand in `fields`, set or not, with one space between.
    pub known: &'static str,
    /// What an answer holds when nothing was asked, in the same form.
    pub default: &'static str,
}

/// One member of a node.
pub enum Member {
    /// Left out of the answer, as Graph does with what is not set.
    Absent,
    /// A value; of an object only what the braces name stays.
    Plain(Value),
    /// An edge, projected already.
    Edge(Value),
}

impl From<Option<Value>> for Member {
    fn from(value: Option<Value>) -> Self {
        value.map_or(Self::Absent, Self::Plain)
    }
}

/// Builds a node's answer: the asked members in the asked order, and `id` at the end if nobody asked for it.
///
/// # Errors
/// A field that the kind does not know, an alias, or whatever `member` refuses.
pub fn project(
    kind: &Kind,
    asked: &[Field],
    mut member: impl FnMut(&Field) -> Result<Member, Refusal>,
) -> Result<Value, Refusal> {
    let defaults: Vec<Field>;
    let asked = if asked.is_empty() {
        defaults = kind.default.split(' ').map(Field::plain).collect();
        &defaults
    } else {
        asked
    };
    let mut node = Map::new();
    let id = Field::plain("id");
    let implied = (!asked.iter().any(|field| field.name == "id")).then_some(&id);
    for field in asked.iter().chain(implied) {
        if !kind.known.split(' ').any(|known| known == field.name) {
            let (name, kind) = (&field.name, kind.name);
            return Err(Refusal::parameter(format!(
                "Tried accessing nonexisting field ({name}) on node type ({kind})"
            )));
        }
        // Aliases work on some nodes only (Graph's guide on field expansion); on ours they do not.
        if let Some(alias) = field.params.get("as") {
            return Err(Refusal::parameter(format!("Unknown fields: {alias}.")));
        }
        match member(field)? {
            Member::Absent => {}
            Member::Plain(Value::Object(object)) if !field.fields.is_empty() => {
                let named = |key: &String| field.fields.iter().any(|inner| inner.name == *key) || key == "id";
                let kept = object.into_iter().filter(|(key, _)| named(key)).collect();
                node.insert(field.name.clone(), Value::Object(kept));
            }
            Member::Plain(value) | Member::Edge(value) => {
                node.insert(field.name.clone(), value);
            }
        }
    }
    Ok(Value::Object(node))
}

/// How a list is paged.
pub struct Paging<'a> {
    /// The path of the edge after the version, for the links.
    pub path: &'a str,
    /// Page sizes: without `limit`, and the most that `limit` gives.
    pub limits: (usize, usize),
    /// Whether `next` and `previous` come along; Instagram's album children have no paging at all.
    pub links: bool,
}

/// Cuts one page out of `items`, newest or first at the start, and writes it as Graph does: cursors on every page
/// that is not empty, `next` only where more follows. Its links repeat the token, as real ones do.
///
/// # Errors
/// A limit that is no number, a cursor that fits no item, or whatever `row` refuses.
pub fn page<T>(
    call: &Call<'_>,
    paging: &Paging<'_>,
    params: &Params,
    items: &[T],
    key: impl Fn(usize, &T) -> String,
    mut row: impl FnMut(&T) -> Result<Value, Refusal>,
) -> Result<Value, Refusal> {
    let limit = params.limit(paging.limits.0, paging.limits.1)?;
    let position = |cursor: &str| {
        let found = items.iter().enumerate().position(|(at, item)| cursor_of(&key(at, item)) == cursor);
        // Graph's text for a stale cursor is not documented.
        found.ok_or_else(|| Refusal::parameter("Invalid cursor: start again without one"))
    };
    let (start, end) = match (params.get("after"), params.get("before")) {
        (Some(cursor), _) => {
            let start = position(cursor)? + 1;
            (start, (start + limit).min(items.len()))
        }
        (None, Some(cursor)) => {
            let end = position(cursor)?;
            (end.saturating_sub(limit), end)
        }
        (None, None) => (0, limit.min(items.len())),
    };
    let rows: Vec<Value> = items[start..end].iter().map(&mut row).collect::<Result<_, _>>()?;
    let mut answer = json!({"data": rows});
    if start < end && paging.links {
        let before = cursor_of(&key(start, &items[start]));
        let after = cursor_of(&key(end - 1, &items[end - 1]));
        let link = |side: &str, cursor: &str| {
            let kept = params.0.iter().filter(|(name, _)| !matches!(name.as_str(), "after" | "before" | "limit"));
            let mut query: Vec<(String, String)> = kept.cloned().collect();
            query.push(("limit".to_owned(), limit.to_string()));
            query.push((side.to_owned(), cursor.to_owned()));
            call.link(paging.path, &query)
        };
        answer["paging"] = json!({"cursors": {"before": before, "after": after}});
        if start > 0 {
            answer["paging"]["previous"] = link("before", &before).into();
        }
        if end < items.len() {
            answer["paging"]["next"] = link("after", &after).into();
        }
    }
    if params.list("summary").iter().any(|wanted| wanted == "total_count" || wanted == "true") {
        answer["summary"] = json!({"total_count": items.len()});
    }
    Ok(answer)
}

/// A cursor as Graph writes one: opaque text that looks like base64.
fn cursor_of(key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key)
}

#[cfg(test)]
mod tests {
    use super::{Field, Params, parse};

    fn shown(fields: &[Field]) -> String {
        let one = |field: &Field| {
            let params: String = field.params.0.iter().map(|(name, value)| format!(".{name}({value})")).collect();
            let inner = if field.fields.is_empty() { String::new() } else { format!("{{{}}}", shown(&field.fields)) };
            format!("{}{params}{inner}", field.name)
        };
        fields.iter().map(one).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn what_the_language_allows_is_read_whole() {
        for text in [
            "",
            "id",
            "id,caption,comments.limit(5){id,text,replies{id}}",
            "media.limit(10).after(QVFI){id,insights.metric(reach,saved)}",
            "insights.date_preset(last_7d).time_increment(1){spend}",
            r#"ads.filtering([{"field":"ad.name","operator":"CONTAIN","value":"a)("}]){id}"#,
            "insights.time_range({\"since\":\"2026-11-01\",\"until\":\"2026-11-02\"}){spend}",
        ] {
            let fields = parse(text).unwrap_or_else(|refusal| panic!("{text}: {}", refusal.message));
            assert_eq!(shown(&fields), text);
        }
        assert_eq!(shown(&parse(" id , owner { id } ").ok().unwrap_or_default()), "id,owner{id}");
    }

    #[test]
    fn a_syntax_error_names_its_character() {
        for (text, message) in [
            ("id,username}", "Syntax error \"Expected end of string instead of \"}\".\" at character 12: id,username}"),
            ("id,", "Syntax error \"Expected name.\" at character 4: id,"),
            ("media{id", "Syntax error \"Expected \"}\".\" at character 9: media{id"),
            ("media.limit(2", "Syntax error \"Expected \")\".\" at character 14: media.limit(2"),
            ("media.limit{id}", "Syntax error \"Expected \"(\".\" at character 12: media.limit{id}"),
            ("é", "Syntax error \"Expected name.\" at character 1: é"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert_eq!((refusal.code, refusal.message.as_str()), (2500, message));
        }
        assert!(parse("id,id").is_err_and(|refusal| refusal.message.contains("more than once")));
    }

    #[test]
    fn nesting_without_end_is_refused_and_does_not_overflow() {
        let text = "a{".repeat(100_000);
        assert!(parse(&text).is_err_and(|refusal| refusal.code == 2500));
    }

    #[test]
    fn a_list_is_read_in_both_spellings() {
        for text in ["a,b", "a, b", r#"["a","b"]"#] {
            assert_eq!(Params(vec![("x".into(), text.into())]).list("x"), ["a", "b"], "{text}");
        }
    }
}
