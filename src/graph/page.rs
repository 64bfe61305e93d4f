//! Cursors in, cursors out. Graph's own links repeat the access token: none of them leaves this file.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::error::GraphError;

/// A place in one of Graph's lists: 1 to 2048 of `A-Z a-z 0-9 _ = + / -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor has 1 to 2048 of the characters A-Z a-z 0-9 _ = + / -")]
pub struct CursorError;

impl Cursor {
    /// The cursor as Graph wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'=' | b'+' | b'/' | b'-');
        if (1..=2048).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CursorError)
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The rows; a page may have fewer than were asked for, or none, and not be the last (Meta, paging page, 2026).
    pub rows: Vec<Value>,
    /// Where the next page begins; `None` at the end, which is Meta's missing `next` and nothing else.
    pub next: Option<Cursor>,
    /// `summary.total_count`, where it was asked for.
    pub total: Option<u64>,
    /// `summary` as it came.
    pub summary: Option<Value>,
}

impl Page {
    /// Reads a list: a whole answer, or an edge nested in a node.
    ///
    /// # Errors
    ///
    /// [`super::ErrorKind::Unavailable`] where `value` is no list, or its cursor is none.
    pub fn from_value(value: Value) -> Result<Self, GraphError> {
        Self::read(value, false)
    }

    /// The same for lists that have cursors and never a `next`: business discovery's media and hashtags (Meta, 2026).
    /// They do not show their end: the caller stops at a page without a new id.
    ///
    /// # Errors
    ///
    /// As [`Page::from_value`].
    pub fn from_value_without_next(value: Value) -> Result<Self, GraphError> {
        Self::read(value, true)
    }

    fn read(mut value: Value, endless: bool) -> Result<Self, GraphError> {
        strip_links(&mut value);
        let Some(Value::Array(rows)) = value.get_mut("data").map(Value::take) else {
            return Err(GraphError::malformed());
        };
        if !rows.iter().all(Value::is_object) {
            return Err(GraphError::malformed());
        }
        let paging = value.get("paging");
        let goes_on = endless || paging.is_some_and(|paging| paging.get("next").is_some());
        // Insights "page" by shifted windows without cursors, for ever: that is no next page.
        let after = paging.and_then(|paging| paging.pointer("/cursors/after")?.as_str()).filter(|_| goes_on);
        let next = after.map(str::parse).transpose().map_err(|_| GraphError::malformed())?;
        let summary = value.get_mut("summary").map(Value::take).filter(Value::is_object);
        let total = summary.as_ref().and_then(|summary| summary.get("total_count")?.as_u64());
        Ok(Self { rows, next, total, summary })
    }
}

/// Takes the rows of an edge that came within a node, and says whether there are more. Graph leaves out the edge where
/// it has none.
///
/// # Errors
///
/// As [`Page::from_value`].
pub fn nested(node: &mut Value, edge: &str) -> Result<(Vec<Value>, bool), GraphError> {
    match node.get_mut(edge).map(Value::take) {
        None | Some(Value::Null) => Ok((Vec::new(), false)),
        Some(list) => {
            let more = list.pointer("/paging/next").is_some();
            Ok((Page::from_value(list)?.rows, more))
        }
    }
}

/// Takes every link out of every `paging` in an answer: `next` becomes `true`, its cursor stays. Tokens of others, as a
/// Page's own, are dropped at any depth.
pub(super) fn strip_links(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(strip_links),
        Value::Object(members) => {
            members.shift_remove("access_token");
            for (name, member) in members {
                match member {
                    Value::Object(paging) if name == "paging" => strip(paging),
                    other => strip_links(other),
                }
            }
        }
        _ => {}
    }
}

fn strip(paging: &mut Map<String, Value>) {
    let mut kept = Map::new();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let next = paging.get("next");
    let stated = text(paging.get("cursors").and_then(|cursors| cursors.get("after")));
    if let Some(after) = stated.or_else(|| after_of(next?.as_str()?)) {
        kept.insert("cursors".to_owned(), json!({ "after": after }));
    }
    if next.is_some_and(|next| !next.is_null()) {
        kept.insert("next".to_owned(), Value::Bool(true));
    }
    *paging = kept;
}

/// The `after` of a link. Nothing else of it is looked at, its host least of all.
fn after_of(link: &str) -> Option<String> {
    let link = reqwest::Url::parse(link).ok()?;
    link.query_pairs().find(|(name, _)| name == "after").map(|(_, after)| after.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINK: &str = "https://graph.facebook.com/v26.0/1/media?access_token=EAAsecret&limit=2&after=QVFI%3D";

    #[test]
    fn the_end_is_the_missing_next_and_nothing_else() {
        let both = json!({"cursors": {"before": "b", "after": "a"}, "next": LINK, "previous": LINK});
        let cases = [
            ("cursors and next", json!({"data": [{}], "paging": both}), Some("a")),
            ("an empty page in the middle", json!({"data": [], "paging": both}), Some("a")),
            ("cursor in the link only", json!({"data": [], "paging": {"next": LINK}}), Some("QVFI=")),
            ("cursors on the last page", json!({"data": [{}], "paging": {"cursors": {"after": "a"}}}), None),
            ("shifted windows", json!({"data": [], "paging": {"next": "https://g.test/?since=1"}}), None),
            ("no paging", json!({"data": []}), None),
        ];
        for (name, value, next) in cases {
            let page = Page::from_value(value).unwrap();
            assert_eq!(page.next.as_ref().map(Cursor::as_str), next, "{name}");
        }
        assert!(Page::from_value(json!({"data": [{}, 1]})).is_err(), "rows are objects");
        let bare = json!({"data": [], "paging": {"cursors": {"after": "a"}}});
        assert_eq!(Page::from_value_without_next(bare).unwrap().next.unwrap().as_str(), "a");
    }

    #[test]
    fn links_go_at_any_depth_and_pages_can_still_be_read() {
        let list = |rows: Value| json!({"data": rows, "paging": {"next": LINK, "previous": LINK}});
        let mut answer = list(json!([{"id": "1", "comments": list(json!([{"id": "2"}]))}]));
        strip_links(&mut answer);
        strip_links(&mut answer);
        assert!(!answer.to_string().contains("EAA"), "{answer}");
        let page = Page::from_value(answer).unwrap();
        assert_eq!(page.next.unwrap().as_str(), "QVFI=");
        assert_eq!(Page::from_value(page.rows[0]["comments"].clone()).unwrap().next.unwrap().as_str(), "QVFI=");
    }

    #[test]
    fn a_nested_edge_is_a_list_of_objects_or_not_there() {
        let next = json!({"next": LINK, "cursors": {"after": "a"}});
        for (name, mut node, found) in [
            ("none", json!({"id": "1"}), Some((0, false))),
            ("null", json!({"e": null}), Some((0, false))),
            ("rows", json!({"e": {"data": [{}, {}]}}), Some((2, false))),
            ("rows, and more", json!({"e": {"data": [{}], "paging": next}}), Some((1, true))),
            ("text", json!({"e": "no"}), None),
            ("rows that are text", json!({"e": {"data": [{}, "no"]}}), None),
            ("no data", json!({"e": {"data": {}}}), None),
        ] {
            let read = nested(&mut node, "e").ok().map(|(rows, more)| (rows.len(), more));
            assert_eq!(read, found, "{name}");
        }
    }

    #[test]
    fn a_summary_has_the_total() {
        let page = Page::from_value(json!({"data": [], "summary": {"total_count": 12}})).unwrap();
        assert_eq!((page.total, page.summary), (Some(12), Some(json!({"total_count": 12}))));
    }

    #[test]
    fn what_is_no_list_or_no_cursor_is_refused() {
        let odd = json!({"data": [], "paging": {"next": LINK, "cursors": {"after": "a b"}}});
        for value in [json!({}), json!({"data": {}}), json!([]), Value::Null, odd] {
            assert!(Page::from_value(value.clone()).is_err(), "{value}");
        }
        for text in ["", "a b", "a&b", "a\n", &"a".repeat(2049)] {
            assert!(text.parse::<Cursor>().is_err());
        }
    }

    proptest! {
        #[test]
        fn no_link_makes_it_through(link in "\\PC{0,60}") {
            let mut answer = json!({"data": [], "paging": {"next": format!("https://x.test/?t=SECRET&{link}")}});
            strip_links(&mut answer);
            prop_assert!(answer["paging"].get("next") == Some(&Value::Bool(true)));
            prop_assert!(!answer["paging"]["next"].is_string());
        }
    }
}
