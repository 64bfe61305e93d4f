//! Numbers of single posts: which there are, asking for those of many at once, and why some do not come.

use serde_json::{Value, json};

use super::formulas::format;
use super::refused::{self, ASKED_AGAIN};
use crate::graph::{ErrorKind, GraphError, MAX_BATCH, Request};
use crate::tool::column::at;
use crate::tool::{Ask, ToolError};

/// The metrics that posts and reels alike take.
pub(super) const COMMON: &[&str] = &["views", "reach", "saved", "shares", "likes", "comments", "total_interactions"];

pub(super) const AVG_WATCH: &str = "ig_reels_avg_watch_time";
pub(super) const TOTAL_WATCH: &str = "ig_reels_video_view_total_time";
pub(super) const SKIP_RATE: &str = "reels_skip_rate";

/// A number of a post: the member, Meta's metric, and the product types that have it
/// (`instagram-media/insights`, 2026-09-11).
pub(super) struct Number {
    pub name: &'static str,
    pub metric: &'static str,
    pub on: &'static [&'static str],
}

const fn on(name: &'static str, metric: &'static str, on: &'static [&'static str]) -> Number {
    Number { name, metric, on }
}

pub(super) const NUMBERS: &[Number] = &[
    on("views", "views", &["FEED", "REELS", "STORY"]),
    on("reach", "reach", &["FEED", "REELS", "STORY"]),
    on("saved", "saved", &["FEED", "REELS"]),
    on("shares", "shares", &["FEED", "REELS", "STORY"]),
    on("likes", "likes", &["FEED", "REELS"]),
    on("comments", "comments", &["FEED", "REELS"]),
    on("total_interactions", "total_interactions", &["FEED", "REELS", "STORY"]),
    on("reposts", "reposts", &["FEED", "REELS", "STORY"]),
    on("follows", "follows", &["FEED", "STORY"]),
    on("profile_visits", "profile_visits", &["FEED", "STORY"]),
    on("profile_activity", "profile_activity", &["FEED"]),
    on("avg_watch_time_ms", AVG_WATCH, &["REELS"]),
    on("total_watch_time_ms", TOTAL_WATCH, &["REELS"]),
    on("reels_skip_rate", SKIP_RATE, &["REELS"]),
    on("replies", "replies", &["STORY"]),
    on("link_clicks", "link_clicks", &["STORY"]),
];

/// The member that a metric of Meta's becomes.
pub(super) fn member(metric: &str) -> &str {
    NUMBERS.iter().find(|number| number.metric == metric).map_or(metric, |number| number.name)
}

/// What is asked of one post.
pub(super) struct Want {
    pub media: String,
    /// Its format, where that is known: what is refused of one post is not asked of its like.
    pub kind: Option<String>,
    pub metrics: Vec<&'static str>,
    pub breakdown: Option<&'static str>,
}

impl Want {
    /// Metrics of the post of that id, whose kind stands in the row.
    pub fn of(media: &str, row: &Value, metrics: &[&'static str]) -> Self {
        let kind = format(row).as_str().map(str::to_owned);
        Self { media: media.to_owned(), kind, metrics: metrics.to_vec(), breakdown: None }
    }

    /// The same of a row that has the id.
    pub fn of_row(row: &Value, metrics: &[&'static str]) -> Self {
        Self::of(row["id"].as_str().unwrap_or_default(), row, metrics)
    }

    pub fn by(self, breakdown: &'static str) -> Self {
        Self { breakdown: Some(breakdown), ..self }
    }

    fn request(&self) -> Result<Request, GraphError> {
        let request = Request::new("{}/insights", &[&self.media])?.query("metric", self.metrics.join(","));
        Ok(match self.breakdown {
            Some(breakdown) => request.query("breakdown", breakdown),
            None => request,
        })
    }
}

/// What came of it.
pub(super) struct Got {
    pub answer: Result<Value, GraphError>,
    /// Metrics that Meta refused, and which the answer is without.
    pub refused: Vec<&'static str>,
}

impl Got {
    /// Puts the numbers beside those that the row has, and why some are missing.
    pub fn put(mut self, row: &mut Value) {
        let more = self.answer.as_mut().map(|numbers| numbers["data"].take());
        match (more, row.pointer_mut("/insights/data")) {
            (Ok(Value::Array(more)), Some(Value::Array(known))) => known.extend(more),
            (Ok(more), _) => row["insights"] = json!({ "data": more }),
            (Err(error), _) => row["insights_note"] = why_not(error).into(),
        }
        note_refused(row, &self.refused);
    }
}

/// Says in the row which metrics Meta refused.
pub(super) fn note_refused(row: &mut Value, refused: &[&str]) {
    if !refused.is_empty() {
        let members: Vec<&str> = refused.iter().map(|metric| member(metric)).collect();
        row["insights_note"] = format!("Meta refused {} for this kind of post", members.join(", ")).into();
    }
}

/// Asks for the numbers of each post by itself, in batches: what one refuses costs only its own. A metric that Meta
/// refuses is taken out, the rest asked once more, and the refusal remembered for its format.
///
/// # Errors
/// What stands in the way of all: a dead token, a missing permission.
pub(super) async fn ask_each(ask: &Ask, mut wants: Vec<Want>) -> Result<Vec<Got>, ToolError> {
    let mut got: Vec<Got> = Vec::new();
    for want in &mut wants {
        let refused = match &want.kind {
            Some(kind) => refused::take_out(ask, &mut want.metrics, kind)?,
            None => Vec::new(),
        };
        got.push(Got { answer: Ok(Value::Null), refused });
    }
    let mut open: Vec<usize> = (0..wants.len()).collect();
    for turn in 0..=ASKED_AGAIN {
        open.retain(|place| !wants[*place].metrics.is_empty());
        let mut again = Vec::new();
        for places in open.chunks(MAX_BATCH) {
            for (&place, answer) in places.iter().zip(answers(ask, &wants, places).await?) {
                let want = &mut wants[place];
                let named = match &answer {
                    Err(error) if turn < ASKED_AGAIN => refused::named(error, &want.metrics),
                    _ => Vec::new(),
                };
                if named.is_empty() {
                    got[place].answer = answer;
                    continue;
                }
                if let Some(kind) = &want.kind {
                    named.iter().try_for_each(|metric| refused::remember(ask, metric, kind))?;
                }
                want.metrics.retain(|metric| !named.contains(metric));
                got[place].refused.extend(named);
                again.push(place);
            }
        }
        open = again;
    }
    Ok(got)
}

/// One answer for each of these places.
async fn answers(ask: &Ask, wants: &[Want], places: &[usize]) -> Result<Vec<Result<Value, GraphError>>, ToolError> {
    let requests = places.iter().map(|place| wants[*place].request()).collect::<Result<Vec<_>, _>>()?;
    let asked = async {
        match &requests[..] {
            [only] => ask.graph.get(only).await.map(|answer| vec![Ok(answer)]),
            many => ask.graph.batch(many).await,
        }
    };
    let answers = match ask.in_time(asked).await.unwrap_or(Err(GraphError::of_kind(ErrorKind::Timeout))) {
        Ok(answers) => answers,
        Err(error) => places.iter().map(|_| Err(error.clone())).collect(),
    };
    let is_dead = |error: &&GraphError| matches!(error.kind, ErrorKind::TokenExpired | ErrorKind::TokenInvalid);
    match answers.iter().filter_map(|answer| answer.as_ref().err()).find(is_dead) {
        Some(error) => Err(error.clone().into()),
        None => Ok(answers),
    }
}

/// Numbers of each row's post by itself.
///
/// # Errors
/// As [`ask_each`].
pub(super) async fn read_numbers(ask: &Ask, rows: &mut [Value], metrics: &[&'static str]) -> Result<(), ToolError> {
    if let Err(error) = ask.check_limit() {
        rows.iter_mut().for_each(|row| row["insights_note"] = why(&error).into());
        return Ok(());
    }
    let got = ask_each(ask, rows.iter().map(|row| Want::of_row(row, metrics)).collect()).await?;
    rows.iter_mut().zip(got).for_each(|(row, got)| got.put(row));
    Ok(())
}

/// Whether any number came for the row's post.
pub(super) fn has_numbers(row: &Value) -> bool {
    at(row, "insights/data").and_then(Value::as_array).is_some_and(|rows| !rows.is_empty())
}

/// What a silent answer may mean.
pub(super) const SILENT: &str =
    "Meta gave no numbers: there were none, the account has under 100 followers, or a permission is missing";

/// Says in the rows that have no numbers, and of which nothing else is said, why. The permission is looked at once.
pub(super) async fn explain(ask: &Ask, rows: &mut [Value]) {
    let is_silent = |row: &Value| !has_numbers(row) && row["insights_note"].is_null();
    if rows.iter().any(is_silent) {
        let note = match ask.missing_permissions().await {
            missing if missing.is_empty() => SILENT.to_owned(),
            missing => format!("the token lacks {}", missing.join(", ")),
        };
        rows.iter_mut().filter(|row| is_silent(row)).for_each(|row| row["insights_note"] = note.clone().into());
    }
}

/// A refusal that a single post may be to blame for.
pub(super) fn spoils_numbers(error: &GraphError) -> bool {
    error.kind == ErrorKind::Rejected && !error.is_bad_cursor()
}

pub(super) fn lacks_permission(error: &GraphError) -> bool {
    matches!(error.kind, ErrorKind::MissingPermission { .. })
}

/// Why a post has no numbers, in our own words.
pub(super) fn why_not(error: &GraphError) -> &'static str {
    match error.codes() {
        (100, 2_108_006) => "published before the account became a professional one",
        (100, 2_207_086) => "not shared to Facebook",
        _ if error.is_too_few_viewers() => "fewer than 5 people saw it",
        _ if error.is_not_visible() => "gone, or not visible to this token",
        _ => match error.kind {
            ErrorKind::MissingPermission { .. } => "the token lacks the permission for insights",
            ErrorKind::RateLimited { .. } => LIMIT_USED,
            ErrorKind::Timeout | ErrorKind::Unavailable => "Meta gave no answer for it",
            _ => "Meta gives no numbers for it",
        },
    }
}

const LIMIT_USED: &str = "Meta's call limit is used up";

/// Why a part of an answer is not there, in our own words.
pub(super) fn why(error: &ToolError) -> &'static str {
    match error {
        ToolError::Graph(error) => why_not(error),
        ToolError::NearLimit(_) => LIMIT_USED,
        ToolError::TooMuch { .. } => "Meta will not answer so much at once",
        _ => "it could not be asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_fits_metas_table() {
        let Ok(table) = crate::tool::shared_file("graph-api/data/ig_insights.json") else { return };
        let table: Value = serde_json::from_str(&table).unwrap();
        for number in NUMBERS {
            let products = table["media"][number.metric].as_array().unwrap();
            for product in number.on {
                assert!(products.contains(&(*product).into()), "{} on {product}", number.metric);
            }
        }
    }

    #[test]
    fn common_metrics_are_those_of_posts_and_reels() {
        for metric in COMMON {
            let number = NUMBERS.iter().find(|number| number.metric == *metric).unwrap();
            assert!(number.on.contains(&"FEED") && number.on.contains(&"REELS"), "{metric}");
        }
    }
}
