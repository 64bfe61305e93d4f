//! Lists: a page of one, smaller where Meta says so; lists that never show their end; what an empty one may mean.

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tokio::time::timeout_at;

use super::ask::Needs;
use super::{ArgumentError, Ask, Position, ToolError};
use crate::graph::{Cursor, ErrorKind, GraphError, Page, Request, Session};

/// The fewest rows of a page that are worth asking for when Meta wants to give less.
const ROWS_LEAST: u32 = 5;
/// How long before a call's end what was read is answered, rather than more be read.
const SPARE: Duration = Duration::from_secs(2);

impl Ask {
    /// Reads a page of as many rows as the argument `limit` says, and a smaller one where Meta refuses so much data.
    /// `instead` ends that refusal: "ask for fewer rows".
    ///
    /// # Errors
    /// As [`crate::graph::Session::page`]; a cursor that Meta no longer knows is the caller's argument.
    pub async fn page(
        &self,
        request: &Request,
        from: Option<&Cursor>,
        instead: &'static str,
    ) -> Result<Page, ToolError> {
        self.page_by(&self.graph, request, from, instead).await
    }

    /// The same with another token than the account's, as a Page's own.
    ///
    /// # Errors
    /// As [`Ask::page`].
    pub async fn page_by(
        &self,
        graph: &Session,
        request: &Request,
        from: Option<&Cursor>,
        instead: &'static str,
    ) -> Result<Page, ToolError> {
        Ok(Page::from_value(smaller(graph, self.limit(), request, from, instead).await?)?)
    }

    /// The argument `limit`.
    fn limit(&self) -> u32 {
        self.args.int("limit").and_then(|limit| u32::try_from(limit).ok()).unwrap_or(ROWS_LEAST)
    }

    /// The same with a `limit` of the tool's own.
    ///
    /// # Errors
    /// As [`Ask::page`].
    pub async fn page_of(
        &self,
        limit: u32,
        request: &Request,
        from: Option<&Cursor>,
        instead: &'static str,
    ) -> Result<Page, ToolError> {
        Ok(Page::from_value(smaller(&self.graph, limit, request, from, instead).await?)?)
    }

    /// The same of a list that has cursors and never a `next`, as tags and hashtags (Meta, 2026). Gives the rows that
    /// no page before had, and `next_cursor`: the end is a page that brings no new row.
    ///
    /// # Errors
    /// As [`Ask::page`].
    pub async fn page_without_next(
        &self,
        request: &Request,
        from: Option<&(Position, Cursor)>,
        instead: &'static str,
    ) -> Result<(Vec<Value>, Option<String>), ToolError> {
        let after = from.map(|(_, cursor)| cursor);
        let answer = smaller(&self.graph, self.limit(), request, after, instead).await?;
        Ok(self.new_rows(Page::from_value_without_next(answer)?, from.map(|(position, _)| position)))
    }

    /// Of such a page the rows that no page before had, and `next_cursor`.
    #[must_use]
    pub fn new_rows(&self, page: Page, from: Option<&Position>) -> (Vec<Value>, Option<String>) {
        let mut seen = Seen::of(from);
        let rows: Vec<Value> = page.rows.into_iter().filter(|row| seen.add(row)).collect();
        let after = page.next.filter(|_| !rows.is_empty());
        let next = self.next_cursor(after, Some((seen.encode(), String::new())));
        (rows, next)
    }

    /// `work`, or `None` where the call's time is so nearly over that what was read before should be answered now.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.graph.deadline() - SPARE, work).await.ok()
    }

    /// An empty list is an answer, unless the token is known to lack a permission of the tool: then Graph shows nothing
    /// and says nothing.
    ///
    /// # Errors
    /// [`ToolError::MissingPermission`].
    pub async fn check_permission(&self) -> Result<(), ToolError> {
        self.check_permission_of(self.tool.needs, self.tool.needs_instagram).await
    }

    /// The same where the list needs less than the whole tool. First Facebook Login's permissions.
    ///
    /// # Errors
    /// [`ToolError::MissingPermission`].
    pub async fn check_permission_of(&self, needs: Needs, needs_instagram: Needs) -> Result<(), ToolError> {
        match self.missing_of(needs, needs_instagram).await {
            missing if missing.is_empty() => Ok(()),
            missing => Err(ToolError::MissingPermission(missing.join(", "))),
        }
    }
}

/// Asks for so many rows, and for fewer where Meta refuses so much data.
async fn smaller(
    graph: &Session,
    mut limit: u32,
    request: &Request,
    from: Option<&Cursor>,
    instead: &'static str,
) -> Result<Value, ToolError> {
    loop {
        let mut sized = request.clone().query("limit", limit.to_string());
        if let Some(cursor) = from {
            sized = sized.query("after", cursor.as_str());
        }
        match graph.get(&sized).await {
            Err(error) if error.kind == ErrorKind::ReduceData && limit > ROWS_LEAST => {
                limit = ROWS_LEAST.max(limit / 2);
            }
            Err(refusal) if refusal.kind == ErrorKind::ReduceData => {
                return Err(ToolError::TooMuch { instead, refusal });
            }
            Err(error) => return Err(stale(error, from.is_some())),
            Ok(answer) => return Ok(answer),
        }
    }
}

/// A refusal of the cursor that the caller sent is a fault of that argument; all else is Meta's answer.
#[must_use]
pub fn stale(error: GraphError, was_sent: bool) -> ToolError {
    if was_sent && error.is_bad_cursor() {
        return ArgumentError::of("cursor", "Meta no longer knows it; start the list again").into();
    }
    error.into()
}

/// Rows of the pages before, three bytes of a digest each, so that a cursor can carry them. What a cursor says of them
/// is no more than a filter of rows: whoever forges one leaves out rows of their own list.
#[derive(Default)]
struct Seen(Vec<[u8; 3]>);

impl Seen {
    /// More are forgotten, the oldest first: a cursor has 4096 characters at most.
    const MOST: usize = 200;

    fn of(from: Option<&Position>) -> Self {
        let text = from.and_then(|position| position.window.as_ref()).map_or("", |(seen, _)| seen.as_str());
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        Self(bytes.chunks_exact(3).take(Self::MOST).map(|mark| [mark[0], mark[1], mark[2]]).collect())
    }

    /// Whether the row is new.
    fn add(&mut self, row: &Value) -> bool {
        let Some(id) = row["id"].as_str() else { return false };
        let digest = digest(&SHA256, id.as_bytes());
        let mark = [0, 1, 2].map(|at| digest.as_ref()[at]);
        let new = !self.0.contains(&mark);
        if new {
            self.0.push(mark);
        }
        new
    }

    fn encode(&self) -> String {
        let forgotten = self.0.len().saturating_sub(Self::MOST);
        URL_SAFE_NO_PAD.encode(self.0[forgotten..].concat())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn position(seen: &str) -> Position {
        serde_json::from_value(json!({"c": "", "w": [seen, ""], "d": ""})).unwrap()
    }

    #[test]
    fn rows_that_a_page_before_had_are_known_again_and_the_oldest_are_forgotten() {
        let row = |id: usize| json!({ "id": id.to_string() });
        let mut seen = Seen::of(None);
        assert!((0..250).all(|id| seen.add(&row(id))) && !seen.add(&row(3)));
        assert!(!seen.add(&json!({"id": null})), "a row without an id is none");
        let text = seen.encode();
        assert!(text.len() <= 800, "{}", text.len());
        let mut again = Seen::of(Some(&position(&text)));
        assert!((50..250).all(|id| !again.add(&row(id))) && again.add(&row(49)));
    }

    #[test]
    fn what_is_no_list_of_rows_is_an_empty_one() {
        for text in ["", "!", "2026-11-01", "AAA"] {
            assert!(Seen::of(Some(&position(text))).0.is_empty(), "{text}");
        }
    }
}
