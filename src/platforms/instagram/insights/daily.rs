//! The account's metrics, one row a day.

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use futures_util::try_join;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::super::window::{Length, Slice, day_of, is_provisional, start};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::{Told, add};
use super::metrics::{From, Metric, is_member};
use super::series::{self, Series};
use super::totals::{Groups, SliceTotals};
use super::{KNOWN_METRICS, PROVISIONAL, SINCE, SINCE_COLUMN, UNTIL, UNTIL_COLUMN, asked_metrics};
use crate::clock::rfc3339;
use crate::credential::AccountKind;
use crate::tool::{Answer, ArgumentError, Ask, Column, Done, Kind, Param, ParamKind, Tool, ToolError};

/// The most days of one answer.
const DAYS_MAX: usize = 90;
/// The most calls of Graph for one answer.
const CALLS_MAX: usize = 30;
/// Days that are asked at once.
const AT_ONCE: usize = 4;

pub const GET_ACCOUNT_INSIGHTS_BY_DAY: Tool = Tool::read("get_account_insights_by_day", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "Account metrics day by day, for a chart over days or weeks. reach and follower_count are cheap; any other \
         metric costs a Graph call a day, 30 at most. Not for totals: reach does not add up, use \
         get_account_insights.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        KNOWN_METRICS.or("reach,follower_count"),
        Param::new("days", ParamKind::Int(1, 90), "Without since; default 7.", "28"),
        SINCE,
        UNTIL,
    ])
    .example(r#"{"metrics":["reach","follower_count"],"days":7}"#)
    .list(
        "days",
        &[
            Column::day("date").made().about("the Los Angeles day"),
            Column::asked("<metric>", Kind::Count, is_member).about(
                "each metric asked for, under the name asked; a renamed one with <metric>_source beside it; \
                 follower_count is the new followers of the day and reaches back 30 days",
            ),
            PROVISIONAL,
        ],
        &[SINCE_COLUMN, UNTIL_COLUMN, NOTE],
    )
    .run(get_account_insights_by_day);

fn get_account_insights_by_day(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        let asked = asked_metrics(&ask)?;
        let (whole, note) = Slice::resolve(&ask.args, now, Length::of_days(&ask.args, "days", 7))?;
        let days: Vec<Slice> = whole.days().map(|day| day_slice(day, now)).collect::<Result<_, _>>()?;
        if days.len() > DAYS_MAX {
            let param = if ask.args.has("since") { "since" } else { "days" };
            return Err(ArgumentError::of(param, "the window may be 90 days long at most").into());
        }
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Err(ToolError::Fault("a window has a day"));
        };
        let all = Slice { since: first.since, until: last.until };
        let groups = Groups::of(&asked, true);
        let calls = groups.calls_of_slice() * days.len() + series::plan(&groups.series, all, now).len();
        if calls > CALLS_MAX {
            let expected = format!(
                "these metrics over {} days take {calls} Graph calls, and {CALLS_MAX} are the most: ask fewer days, or \
                 reach and follower_count alone",
                days.len()
            );
            return Err(ArgumentError::of("metrics", &expected).into());
        }
        if calls > 1 {
            ask.check_limit()?;
        }
        let mut told = Told::default();
        note.into_iter().for_each(|note| told.note(note));
        if !whole.is_whole_days() && whole.until != now {
            told.note("since and until were widened to whole Los Angeles days");
        }
        let by_day = async {
            if groups.calls_of_slice() == 0 {
                return Ok(Vec::new());
            }
            let each: Vec<_> = days.iter().map(|day| groups.ask_below_limit(&ask, *day)).collect();
            stream::iter(each).buffered(AT_ONCE).try_collect::<Vec<SliceTotals>>().await
        };
        let (mut totals, series) = try_join!(by_day, Series::ask(&ask, &groups.series, all))?;
        asked.iter().filter_map(|metric| metric.renamed()).for_each(|note| told.note(note));
        let mut came: Vec<&str> = Vec::new();
        let mut rows = Vec::new();
        for (place, slice) in days.iter().enumerate() {
            let day = day_of(slice.since);
            let mut row = Map::from_iter([("date".to_owned(), Value::from(day.to_string()))]);
            for metric in &asked {
                let number = match metric.from {
                    From::Series | From::TotalOrSeries => series.on(day, metric.source()),
                    _ => totals.get(place).and_then(|totals| totals.value(metric)),
                };
                if number.is_some() {
                    add(&mut came, metric.name);
                }
                row.insert(metric.name.to_owned(), number.into());
                if metric.now.is_some() {
                    row.insert(format!("{}_source", metric.name), metric.source().into());
                }
            }
            row.insert("provisional".to_owned(), is_provisional(slice.until, now).into());
            rows.push(row.into());
        }
        totals.iter_mut().for_each(|day| told.join(std::mem::take(&mut day.told)));
        told.join(series.told);
        let is_silent = |metric: &&&Metric| !came.contains(&metric.name) && !told.explains(metric.asked());
        let silent: Vec<&str> = asked.iter().filter(is_silent).map(|metric| metric.name).collect();
        let note = told.text(&ask, &silent).await?;
        let beside = json!({ "since": rfc3339(all.since), "until": rfc3339(all.until), "note": note });
        Ok(Answer::List { rows, beside, next: None }.into())
    })
}

/// A whole day, or what there is of it.
fn day_slice(day: Date, now: jiff::Timestamp) -> Result<Slice, ArgumentError> {
    let next = day.tomorrow().map_err(|_| ArgumentError::of("until", "too far ahead"))?;
    Ok(Slice { since: start(day), until: start(next).min(now) })
}
