//! Metrics of the account. One misfit fails a whole Graph call, so metrics are asked in groups that fit together.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::try_join;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::window::{Slice, Window};
use super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use crate::clock::rfc3339;
use crate::credential::AccountKind;
use crate::graph::{ErrorKind, GraphError, Request};
use crate::tool::{Answer, ArgumentError, Ask, Column, Done, Kind, Param, ParamKind, Tool, ToolError};

/// How Meta gives a metric (`instagram-user/insights`, 2026-09-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With others in one call, `metric_type=total_value`.
    Total,
    /// As a series of days, which is added up.
    Series(&'static str),
    /// Under a key of a metric's breakdown: metric, breakdown, key.
    Part(&'static str, &'static str, &'static str),
}

/// A name that may be asked for, the metric that it is served from, and how that is had.
struct Metric {
    name: &'static str,
    /// The successor, where Meta removed the name.
    now: Option<&'static str>,
    from: From,
}

const fn metric(name: &'static str, from: From) -> Metric {
    Metric { name, now: None, from }
}

const fn renamed(name: &'static str, now: &'static str, from: From) -> Metric {
    Metric { name, now: Some(now), from }
}

const fn button(name: &'static str, key: &'static str) -> Metric {
    renamed(name, "profile_links_taps", From::Part("profile_links_taps", "contact_button_type", key))
}

const METRICS: &[Metric] = &[
    metric("views", From::Total),
    metric("reach", From::Total),
    metric("profile_views", From::Total),
    metric("accounts_engaged", From::Total),
    metric("total_interactions", From::Total),
    metric("likes", From::Total),
    metric("comments", From::Total),
    metric("saves", From::Total),
    metric("shares", From::Total),
    metric("replies", From::Total),
    metric("reposts", From::Total),
    metric("website_clicks", From::Total),
    metric("profile_links_taps", From::Total),
    metric("follower_count", From::Series("follower_count")),
    metric("follows", From::Part("follows_and_unfollows", "follow_type", "FOLLOWER")),
    metric("unfollows", From::Part("follows_and_unfollows", "follow_type", "NON_FOLLOWER")),
    renamed("impressions", "views", From::Total),
    renamed("plays", "views", From::Total),
    renamed("video_views", "views", From::Total),
    renamed("engagement", "total_interactions", From::Total),
    renamed("saved", "saves", From::Total),
    button("email_contacts", "EMAIL"),
    button("phone_call_clicks", "CALL"),
    button("text_message_clicks", "TEXT"),
    button("get_directions_clicks", "DIRECTION"),
];

/// The names of [`METRICS`], for the schema; a test keeps them equal.
const NAMES: &[&str] = &[
    "views",
    "reach",
    "profile_views",
    "accounts_engaged",
    "total_interactions",
    "likes",
    "comments",
    "saves",
    "shares",
    "replies",
    "reposts",
    "website_clicks",
    "profile_links_taps",
    "follower_count",
    "follows",
    "unfollows",
    "impressions",
    "plays",
    "video_views",
    "engagement",
    "saved",
    "email_contacts",
    "phone_call_clicks",
    "text_message_clicks",
    "get_directions_clicks",
];

/// What cannot be added up over windows: people are counted once in each.
const NOT_ADDITIVE: [&str; 2] = ["reach", "accounts_engaged"];

/// How long a refusal of a metric is remembered.
const REFUSED_FOR: Duration = Duration::from_secs(6 * 3600);

impl Metric {
    fn source(&self) -> &'static str {
        self.now.unwrap_or(self.name)
    }

    fn of(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }
}

fn is_metric_member(name: &str) -> bool {
    let bare = name.strip_suffix("_source").or_else(|| name.strip_suffix("_last_30_days")).unwrap_or(name);
    NAMES.contains(&bare)
}

pub(super) const GET_ACCOUNT_INSIGHTS: Tool = Tool::read("get_account_insights", AccountKind::Instagram)
    .about(
        "Totals of account metrics over a window, one row. Use it for how many people the account reached, its views, \
         profile views and interactions yesterday, in a week or between two dates. Days are Los Angeles days, as Meta \
         cuts them; the newest is yesterday's from 3 hours after midnight there, and provisional for 48 hours: \
         days_ago 2 is nearly final. Names that Meta removed are served from their successor and labelled, as \
         impressions from views. reach is no sum of days: over 30 days it is null beside reach_last_30_days. Not for \
         single posts: use get_recent_media or get_media_insights.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new("metrics", ParamKind::List(&ParamKind::Word(NAMES), 25), "Which metrics.", "[\"views\",\"reach\"]")
            .or("views,reach,profile_views,accounts_engaged,total_interactions"),
        Param::new(
            "period",
            ParamKind::Word(&["day", "week", "days_28"]),
            "1, 7 or 28 days that end with the last complete day; without since and until.",
            "\"week\"",
        )
        .or("day"),
        Param::new(
            "since",
            ParamKind::Moment,
            "Start of the window, in it. A bare date is a Los Angeles day.",
            "\"2026-11-01\"",
        ),
        Param::new(
            "until",
            ParamKind::Moment,
            "End of the window, not in it; a bare date is in it. Default: end of the last complete day.",
            "\"2026-11-20\"",
        ),
        Param::new(
            "days_ago",
            ParamKind::Int(1, 30),
            "1 ends with the last complete day, 2 with the day before it.",
            "2",
        )
        .or("1"),
    ])
    .example(r#"{"period":"day","metrics":["impressions","reach","profile_views"]}"#)
    .row(&[
        Column::asked("<metric>", Kind::Count, is_metric_member)
            .about("each metric asked for, under the name asked; a renamed one with <metric>_source beside it"),
        Column::day("date").made().about("the Los Angeles day; null when the window is longer"),
        Column::time("since").made(),
        Column::time("until").made(),
        Column::flag("provisional").made().about("Meta may still correct the numbers"),
        NOTE,
    ])
    .run(get_account_insights);

fn get_account_insights(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        let mut asked: Vec<&'static Metric> = Vec::new();
        for metric in ask.args.list("metrics").into_iter().filter_map(Metric::of) {
            if !asked.iter().any(|known| known.name == metric.name) {
                asked.push(metric);
            }
        }
        if asked.is_empty() {
            return Err(ArgumentError::of("metrics", "name at least one").into());
        }
        let window = Window::resolve(&ask.args, now)?;
        let groups = Groups::of(&asked);
        if groups.calls(&window) > 1 {
            ask.check_limit()?;
        }
        let found = groups.ask(&ask, &window).await?;

        let mut row = Map::new();
        for metric in &asked {
            let total = found.value(metric, &window);
            row.insert(metric.name.to_owned(), total.map_or(Value::Null, Value::from));
            if window.slices.len() > 1 && NOT_ADDITIVE.contains(&metric.source()) {
                let last = found.slices.first().and_then(|slice| slice.get(metric.source())).cloned();
                row.insert(format!("{}_last_30_days", metric.name), last.unwrap_or_default());
            }
            if metric.now.is_some() {
                row.insert(format!("{}_source", metric.name), metric.source().into());
            }
        }
        let note = notes(&asked, &found, &window, &row, &ask).await?;
        row.insert("date".to_owned(), window.date().into());
        row.insert("since".to_owned(), rfc3339(window.whole.since).into());
        row.insert("until".to_owned(), rfc3339(window.whole.until).into());
        row.insert("provisional".to_owned(), window.is_provisional(now).into());
        row.insert("note".to_owned(), note.into());
        Ok(Answer::Row(row.into()).into())
    })
}

/// What is to be said beside the numbers.
async fn notes(
    asked: &[&Metric],
    found: &Found,
    window: &Window,
    row: &Map<String, Value>,
    ask: &Ask,
) -> Result<Option<String>, ToolError> {
    let mut notes: Vec<String> = window.note.clone().into_iter().collect();
    for metric in asked.iter().filter(|metric| metric.now.is_some()) {
        notes.push(format!("Meta removed {}; this is {}, its successor", metric.name, metric.source()));
    }
    if window.slices.len() > 1 && asked.iter().any(|metric| NOT_ADDITIVE.contains(&metric.source())) {
        notes.push("reach and accounts_engaged count people once and cannot be added up over 30 days".to_owned());
    }
    if !found.refused.is_empty() {
        notes.push(format!("Meta refused {} for this account", found.refused.join(", ")));
    }
    notes.extend(found.notes.iter().cloned());
    let is_told = |metric: &Metric| {
        let no_sum = window.slices.len() > 1 && NOT_ADDITIVE.contains(&metric.source());
        no_sum || !found.notes.is_empty() || found.refused.iter().any(|name| name == metric.source())
    };
    let silent = asked.iter().filter(|metric| row[metric.name].is_null() && !is_told(metric));
    let silent: Vec<&str> = silent.map(|metric| metric.name).collect();
    if silent.len() == asked.len() {
        let missing = ask.missing_permissions().await;
        if !missing.is_empty() {
            return Err(ToolError::MissingPermission(missing.join(", ")));
        }
    }
    if !silent.is_empty() {
        notes.push(format!(
            "Meta gave no numbers for {}: there were none, the account has under 100 followers, or a permission is \
             missing",
            silent.join(", ")
        ));
    }
    Ok((!notes.is_empty()).then(|| notes.join("; ")))
}

/// Metrics by the call that gives them.
#[derive(Debug, Default)]
struct Groups {
    total: Vec<&'static str>,
    series: Vec<&'static str>,
    parts: Vec<(&'static str, &'static str)>,
}

/// What the calls gave.
#[derive(Debug, Default)]
struct Found {
    /// Totals of each slice, newest first.
    slices: Vec<Map<String, Value>>,
    refused: Vec<String>,
    notes: Vec<String>,
}

impl Groups {
    fn of(asked: &[&'static Metric]) -> Self {
        fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
            if !list.contains(&item) {
                list.push(item);
            }
        }
        let mut groups = Self::default();
        for metric in asked {
            match metric.from {
                From::Total => add(&mut groups.total, metric.source()),
                From::Series(name) => add(&mut groups.series, name),
                From::Part(name, breakdown, _) => add(&mut groups.parts, (name, breakdown)),
            }
        }
        groups
    }

    fn calls(&self, window: &Window) -> usize {
        (usize::from(!self.total.is_empty()) + self.parts.len() + self.series.len()) * window.slices.len()
    }

    async fn ask(&self, ask: &Ask, window: &Window) -> Result<Found, ToolError> {
        let mut found = Found::default();
        // One slice after the other; the groups of one side by side.
        for slice in &window.slices {
            let totals = async {
                match self.total.is_empty() {
                    true => Ok(Asked::default()),
                    false => totals(ask, &self.total, *slice).await,
                }
            };
            let series = async {
                match self.series.is_empty() {
                    true => Ok(Asked::default()),
                    false => new_followers(ask, *slice).await,
                }
            };
            let parts = async {
                let mut all = Asked::default();
                for (metric, breakdown) in &self.parts {
                    all.join(parts(ask, metric, breakdown, *slice).await?);
                }
                Ok(all)
            };
            let (totals, series, parts) = try_join!(totals, series, parts)?;
            let mut all = totals;
            all.join(series);
            all.join(parts);
            found.slices.push(all.values);
            for name in all.refused {
                if !found.refused.contains(&name) {
                    found.refused.push(name);
                }
            }
            for note in all.notes {
                if !found.notes.contains(&note) {
                    found.notes.push(note);
                }
            }
        }
        Ok(found)
    }
}

impl Found {
    /// The metric over the whole window; `None` where a slice has none or it cannot be added up.
    fn value(&self, metric: &Metric, window: &Window) -> Option<i64> {
        if window.slices.len() > 1 && NOT_ADDITIVE.contains(&metric.source()) {
            return None;
        }
        let key = match metric.from {
            From::Part(name, _, key) => format!("{name}/{key}"),
            _ => metric.source().to_owned(),
        };
        add_up(self.slices.iter().map(|slice| slice.get(&key)?.as_i64()))
    }
}

/// The sum; `None` when a part is missing or the sum has no room.
fn add_up(parts: impl IntoIterator<Item = Option<i64>>) -> Option<i64> {
    parts.into_iter().try_fold(0i64, |sum, part| sum.checked_add(part?))
}

/// What one call gave.
#[derive(Debug, Default)]
struct Asked {
    values: Map<String, Value>,
    refused: Vec<String>,
    notes: Vec<String>,
}

impl Asked {
    fn join(&mut self, other: Self) {
        self.values.extend(other.values);
        self.refused.extend(other.refused);
        self.notes.extend(other.notes);
    }
}

fn request(ask: &Ask, metrics: &str, slice: Slice) -> Result<Request, ToolError> {
    Ok(ask
        .own("{}/insights")?
        .query("metric", metrics)
        .query("period", "day")
        .query("since", slice.since.as_second().to_string())
        .query("until", slice.until.as_second().to_string()))
}

/// The rows of an insights answer, by metric.
fn rows(answer: &Value) -> impl Iterator<Item = (&str, &Value)> {
    answer["data"].as_array().into_iter().flatten().filter_map(|row| Some((row["name"].as_str()?, row)))
}

/// Totals in one call. A metric that Meta refuses is left out, remembered, and the rest asked once more.
async fn totals(ask: &Ask, wanted: &[&str], slice: Slice) -> Result<Asked, ToolError> {
    let account = ask.id(AccountKind::Instagram)?;
    let key = |metric: &str| format!("refused/{}/{account}/{metric}", ask.account.client);
    let (refused, mut metrics): (Vec<&str>, Vec<&str>) =
        wanted.iter().partition(|metric| ask.memory.get(&key(metric)).is_some());
    let mut asked = Asked { refused: refused.into_iter().map(str::to_owned).collect(), ..Asked::default() };
    for last_try in [false, true] {
        if metrics.is_empty() {
            return Ok(asked);
        }
        let request = request(ask, &metrics.join(","), slice)?.query("metric_type", "total_value");
        match ask.graph.get(&request).await {
            Ok(answer) => {
                let values = rows(&answer).map(|(name, row)| (name.to_owned(), row["total_value"]["value"].clone()));
                asked.values = values.collect();
                return Ok(asked);
            }
            Err(error) => {
                let named = refused_metrics(&error, &metrics);
                if last_try || named.is_empty() {
                    return Err(error.into());
                }
                for metric in &named {
                    ask.memory.put(key(metric), true.into(), REFUSED_FOR);
                    asked.refused.push((*metric).to_owned());
                }
                metrics.retain(|metric| !named.contains(metric));
            }
        }
    }
    Ok(asked)
}

/// The metrics of `asked` that Meta's refusal names: by position, `metric[1] must be one of …`, or by name before the
/// list of what it takes.
fn refused_metrics<'a>(error: &GraphError, asked: &[&'a str]) -> Vec<&'a str> {
    let Some(said) = error.said.as_ref().filter(|said| said.code == 100 && error.kind == ErrorKind::Rejected) else {
        return Vec::new();
    };
    if let Some((_, rest)) = said.message.split_once("metric[") {
        let at = rest.split(']').next().and_then(|digits| digits.parse::<usize>().ok());
        return at.and_then(|at| asked.get(at)).copied().into_iter().collect();
    }
    // Behind these words Meta lists what it does take.
    let refused = said.message.split("must be one of").next().unwrap_or_default();
    let words: Vec<&str> = refused.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    asked.iter().filter(|metric| words.contains(metric)).copied().collect()
}

/// The sum of new followers a day, which reach back 30 days.
async fn new_followers(ask: &Ask, slice: Slice) -> Result<Asked, ToolError> {
    let mut asked = Asked::default();
    if slice.since < ask.clock.now() - SignedDuration::from_hours(24 * 30) {
        asked.notes.push("follower_count reaches back 30 days only".to_owned());
        return Ok(asked);
    }
    let answer = ask.graph.get(&request(ask, "follower_count", slice)?).await?;
    for (name, row) in rows(&answer) {
        let days = row["values"].as_array().into_iter().flatten();
        let sum = add_up(days.map(|day| day["value"].as_i64()));
        asked.values.insert(name.to_owned(), json!(sum));
    }
    Ok(asked)
}

/// A metric by its breakdown: one member `metric/KEY` for each key.
async fn parts(ask: &Ask, metric: &str, breakdown: &'static str, slice: Slice) -> Result<Asked, ToolError> {
    let request = request(ask, metric, slice)?.query("metric_type", "total_value").query("breakdown", breakdown);
    let answer = ask.graph.get(&request).await?;
    let mut asked = Asked::default();
    for (name, row) in rows(&answer) {
        let results = row.pointer("/total_value/breakdowns/0/results").and_then(Value::as_array);
        for result in results.into_iter().flatten() {
            if let Some(key) = result["dimension_values"][0].as_str() {
                asked.values.insert(format!("{name}/{key}"), result["value"].clone());
            }
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_names_are_the_metrics() {
        assert_eq!(NAMES, METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>());
    }

    #[test]
    fn the_readmes_three_metrics_are_one_call() {
        let asked: Vec<_> =
            ["impressions", "reach", "profile_views"].iter().filter_map(|name| Metric::of(name)).collect();
        let groups = Groups::of(&asked);
        assert_eq!(groups.total, ["views", "reach", "profile_views"]);
        assert!(groups.series.is_empty() && groups.parts.is_empty());
    }

    #[test]
    fn each_metric_fits_metas_table() {
        let Ok(table) = crate::tool::shared_file("graph-api/data/ig_insights.json") else { return };
        let table: Value = serde_json::from_str(&table).unwrap();
        for metric in METRICS {
            let (name, kind) = match metric.from {
                From::Total => (metric.source(), "total_value"),
                From::Series(name) => (name, "time_series"),
                From::Part(name, breakdown, _) => {
                    assert!(
                        table["account"][name]["breakdowns"].as_array().unwrap().contains(&breakdown.into()),
                        "{name}"
                    );
                    (name, "total_value")
                }
            };
            let row = &table["account"][name];
            assert!(row["metric_types"].as_array().unwrap().contains(&kind.into()), "{name} as {kind}");
            assert!(row["periods"].as_array().unwrap().contains(&"day".into()), "{name}");
        }
    }
}
