//! The account's numbers: totals, days, parts, audience, and what is reckoned from them.
//!
//! [`metrics`] says as data what there is, [`call`] asks it, [`totals`] and [`series`] turn the two ways in which Meta
//! gives numbers into one answer; the tools stand in the other files.

mod audience;
mod call;
mod compare;
mod daily;
mod division;
mod growth;
mod metrics;
mod report;
mod series;
mod totals;

pub(super) use audience::{GET_AUDIENCE_DEMOGRAPHICS, GET_ONLINE_FOLLOWERS, online_by_hour};
pub(super) use compare::COMPARE_PERIODS;
pub(super) use daily::GET_ACCOUNT_INSIGHTS_BY_DAY;
pub(super) use division::{GET_ACCOUNT_INSIGHTS_BREAKDOWN, views_by_format};
pub(super) use growth::GET_FOLLOWER_GROWTH;
pub(super) use report::GET_ACCOUNT_REPORT;
pub(super) use totals::GET_ACCOUNT_INSIGHTS;
#[cfg(test)]
pub(super) use totals::PERIODS;

use serde_json::Value;

use self::metrics::{ELSEWHERE, Metric, NAMES};
use crate::graph::GraphError;
use crate::tool::{ArgumentError, Ask, Column, Param, ParamKind, ToolError};

const SINCE: Param =
    Param::new("since", ParamKind::Moment, "Start; bare dates are Los Angeles days.", "\"2026-11-01\"");
const UNTIL: Param =
    Param::new("until", ParamKind::Moment, "End; a bare date is in it. Default: last complete day.", "\"2026-11-20\"");
const DAYS_AGO: Param = Param::new(
    "days_ago",
    ParamKind::Int(1, 30),
    "1 (default): to the last complete day, provisional for 48 h; 2: to the day before.",
    "2",
);

/// Metrics by names that [`GET_ACCOUNT_INSIGHTS`]'s schema lists.
const KNOWN_METRICS: Param = Param::new(
    "metrics",
    ParamKind::List(&ParamKind::Known(NAMES), 25),
    "As in get_account_insights.",
    "[\"views\",\"reach\"]",
)
.hints(ELSEWHERE);

const DATE: Column = Column::day("date").made().about("the Los Angeles day; null when the window is longer");
pub(super) const SINCE_COLUMN: Column = Column::time("since").made();
pub(super) const UNTIL_COLUMN: Column = Column::time("until").made();
const PROVISIONAL: Column = Column::flag("provisional").made().about("Meta may still correct the numbers");

/// The metrics of the call's `metrics`, each once.
fn asked_metrics(ask: &Ask) -> Result<Vec<&'static Metric>, ArgumentError> {
    let mut asked: Vec<&'static Metric> = Vec::new();
    for metric in ask.args.list("metrics").into_iter().filter_map(Metric::of) {
        if !asked.iter().any(|known| known.name == metric.name) {
            asked.push(metric);
        }
    }
    if asked.is_empty() {
        return Err(ArgumentError::of("metrics", "name at least one"));
    }
    Ok(asked)
}

/// Fields of the account's own node, and of edges by expansion.
async fn node(ask: &Ask, fields: &str) -> Result<Value, ToolError> {
    let node = ask.graph.get(&ask.own("{}")?.fields(fields)).await?;
    // Every node has an id: what has none is no node.
    if node.get("id").is_some() { Ok(node) } else { Err(GraphError::malformed().into()) }
}

/// The sum; `None` when a part is missing or the sum has no room.
fn add_up(parts: impl IntoIterator<Item = Option<i64>>) -> Option<i64> {
    parts.into_iter().try_fold(0i64, |sum, part| sum.checked_add(part?))
}
