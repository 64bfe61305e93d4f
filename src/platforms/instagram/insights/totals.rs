//! Totals over a window, and the tool that answers them as one row.

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::try_join;
use jiff::Timestamp;
use serde_json::Map;

use super::super::window::{Length, Slice, Window};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::{Answered, Call, Told, add};
use super::metrics::{ELSEWHERE, From, Metric, NAMES, is_member};
use super::series::{self, Series};
use super::{DATE, DAYS_AGO, PROVISIONAL, SINCE, SINCE_COLUMN, UNTIL, UNTIL_COLUMN, add_up, asked_metrics};
use crate::credential::AccountKind;
use crate::tool::{Answer, Ask, Column, Done, Kind, Param, ParamKind, Tool, ToolError};

/// The words of `period`, and their days.
pub const PERIODS: &[(&str, i64)] = &[("day", 1), ("week", 7), ("days_28", 28)];

/// A window by its length or its ends, for tools that give totals.
pub const PERIOD: Param = Param::new(
    "period",
    ParamKind::Word(&["day", "week", "days_28"]),
    "Without since: 1 (default), 7 or 28 days.",
    "\"week\"",
)
.hints(&[
    ("lifetime", "it is a period of audiences: use get_audience_demographics"),
    ("month", "use days_28, or since and until"),
    ("total_over_range", "use since and until"),
]);

/// What is asked where nothing is said.
pub const USUAL: &str = "views,reach,profile_views,accounts_engaged,total_interactions";

pub const GET_ACCOUNT_INSIGHTS: Tool = Tool::read("get_account_insights", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "Totals of account metrics over one window, one row; yesterday by default. Old names are served from their \
         successor, as impressions from views. Not for single days (get_account_insights_by_day), parts or posts.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new("metrics", ParamKind::List(&ParamKind::Word(NAMES), 25), "Which metrics.", "[\"views\",\"reach\"]")
            .or(USUAL)
            .hints(ELSEWHERE),
        PERIOD,
        SINCE,
        UNTIL,
        DAYS_AGO,
    ])
    .example(r#"{"period":"day","metrics":["impressions","reach","profile_views"]}"#)
    .row(&[
        Column::asked("<metric>", Kind::Count, is_member).about(
            "each metric asked for, under the name asked; a renamed one with <metric>_source beside it; over 30 days \
             reach and accounts_engaged are null beside <metric>_last_30_days",
        ),
        DATE,
        SINCE_COLUMN,
        UNTIL_COLUMN,
        PROVISIONAL,
        NOTE,
    ])
    .run(get_account_insights);

fn get_account_insights(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        let asked = asked_metrics(&ask)?;
        let window = Window::resolve(&ask.args, now, Length::of_period(&ask.args, PERIODS))?;
        if Groups::of(&asked, false).calls(&window, now) > 1 {
            ask.check_limit()?;
        }
        let totals = Totals::ask(&ask, &asked, &window).await?;
        let mut row = Map::new();
        for metric in &asked {
            row.insert(metric.name.to_owned(), totals.value(metric).into());
            if !window.is_one_call() && !metric.is_additive() {
                row.insert(format!("{}_last_30_days", metric.name), totals.last_30_days(metric).into());
            }
            if metric.now.is_some() {
                row.insert(format!("{}_source", metric.name), metric.source().into());
            }
        }
        window.tell(&mut row, now);
        row.insert("note".to_owned(), note(&ask, &asked, vec![(&window, totals)]).await?.into());
        Ok(Answer::Row(row.into()).into())
    })
}

/// What is to be said beside totals of these windows.
///
/// # Errors
/// As [`Told::text`].
pub async fn note(ask: &Ask, asked: &[&Metric], totals: Vec<(&Window, Totals)>) -> Result<Option<String>, ToolError> {
    let mut all = Told::default();
    let mut silent = Vec::new();
    for (window, _) in &totals {
        window.note.iter().for_each(|note| all.note(note.clone()));
    }
    asked.iter().filter_map(|metric| metric.renamed()).for_each(|note| all.note(note));
    for (window, totals) in totals {
        if !window.is_one_call() && asked.iter().any(|metric| !metric.is_additive()) {
            all.note("reach and accounts_engaged count people once and cannot be added up over 30 days");
        }
        for metric in asked {
            let number = if totals.is_summed(metric) { totals.value(metric) } else { totals.last_30_days(metric) };
            if number.is_none() && !totals.told.explains(metric.asked()) {
                add(&mut silent, metric.name);
            }
        }
        all.join(totals.told);
    }
    all.text(ask, &silent).await
}

/// Metrics by the call that gives them.
#[derive(Debug, Default, PartialEq)]
pub struct Groups {
    totals: Vec<&'static str>,
    parts: Vec<(&'static str, &'static str)>,
    /// Those that are asked as series.
    pub series: Vec<&'static str>,
}

impl Groups {
    /// `by_day`: what Meta has as a series is asked as one.
    #[must_use]
    pub fn of(asked: &[&'static Metric], by_day: bool) -> Self {
        let mut groups = Self::default();
        for metric in asked {
            match metric.from {
                From::TotalOrSeries if by_day => add(&mut groups.series, metric.source()),
                From::Total | From::TotalOrSeries => add(&mut groups.totals, metric.source()),
                From::Series => add(&mut groups.series, metric.source()),
                From::Part(name, breakdown, _) => add(&mut groups.parts, (name, breakdown)),
            }
        }
        groups
    }

    /// Calls for each slice, series not counted.
    #[must_use]
    pub fn calls_of_slice(&self) -> usize {
        usize::from(!self.totals.is_empty()) + self.parts.len()
    }

    /// All calls of a window.
    #[must_use]
    pub fn calls(&self, window: &Window, now: Timestamp) -> usize {
        self.calls_of_slice() * window.slices.len() + series::plan(&self.series, window.days, now).len()
    }

    /// Totals and parts of one slice, side by side.
    ///
    /// # Errors
    /// As [`Call::ask`].
    pub async fn ask(&self, ask: &Ask, slice: Slice) -> Result<SliceTotals, ToolError> {
        let calls = self.calls_of(slice).into_iter().map(|call| call.ask(ask));
        Ok(self.gather(try_join_all(calls).await?))
    }

    /// The same of one slice of many: where the answers before it came near Meta's limit, it is not asked.
    ///
    /// # Errors
    /// As [`Call::ask`].
    pub async fn ask_below_limit(&self, ask: &Ask, slice: Slice) -> Result<SliceTotals, ToolError> {
        let mut unasked = Vec::new();
        for call in self.calls_of(slice) {
            match ask.check_limit() {
                Ok(()) => return self.ask(ask, slice).await,
                Err(error) => unasked.push(call.unasked(error)?),
            }
        }
        Ok(self.gather(unasked))
    }

    fn calls_of(&self, slice: Slice) -> Vec<Call> {
        let totals = (!self.totals.is_empty()).then(|| Call::totals(self.totals.clone(), slice));
        let parts = self.parts.iter().map(|(metric, breakdown)| Call::parts(metric, breakdown, slice));
        totals.into_iter().chain(parts).collect()
    }

    fn gather(&self, all: Vec<Answered>) -> SliceTotals {
        let mut found = SliceTotals::default();
        for answered in all {
            found.numbers.extend(answered.totals().map(|(metric, total)| (metric.to_owned(), total)));
            for (metric, breakdown) in &self.parts {
                for (keys, value) in answered.parts(metric, &[breakdown]) {
                    found.numbers.push((format!("{metric}/{}", keys.join("/")), value));
                }
            }
            found.told.join(answered.told);
        }
        found
    }
}

/// The numbers of one slice, by metric or `metric/KEY`.
#[derive(Debug, Default)]
pub struct SliceTotals {
    numbers: Vec<(String, i64)>,
    /// What is to be said beside them.
    pub told: Told,
}

impl SliceTotals {
    /// The number of a metric that is no series.
    #[must_use]
    pub fn value(&self, metric: &Metric) -> Option<i64> {
        let name = match metric.from {
            From::Part(name, _, key) => format!("{name}/{key}"),
            _ => metric.source().to_owned(),
        };
        self.numbers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// What a whole window gave.
#[derive(Debug)]
pub struct Totals {
    /// Newest first.
    slices: Vec<SliceTotals>,
    /// Sums of series, by metric.
    sums: Vec<(&'static str, Option<i64>)>,
    /// What is to be said beside it.
    pub told: Told,
}

impl Totals {
    /// Asks slice after slice, the calls of each side by side.
    ///
    /// # Errors
    /// As [`Call::ask`].
    pub async fn ask(ask: &Ask, asked: &[&'static Metric], window: &Window) -> Result<Self, ToolError> {
        let groups = Groups::of(asked, false);
        let slices = async {
            let mut slices = Vec::new();
            for slice in &window.slices {
                slices.push(match slices.is_empty() {
                    true => groups.ask(ask, *slice).await?,
                    false => groups.ask_below_limit(ask, *slice).await?,
                });
            }
            Ok::<_, ToolError>(slices)
        };
        let (mut slices, mut series) = try_join!(slices, Series::ask(ask, &groups.series, window.days))?;
        let sums = groups.series.iter().map(|metric| (*metric, series.sum(metric, window.days))).collect();
        let mut told = Told::default();
        slices.iter_mut().for_each(|slice| told.join(std::mem::take(&mut slice.told)));
        told.join(series.told);
        Ok(Self { slices, sums, told })
    }

    /// Whether its number over the window is made by adding.
    #[must_use]
    fn is_summed(&self, metric: &Metric) -> bool {
        self.slices.len() <= 1 || metric.is_additive()
    }

    /// The metric over the whole window; `None` where a slice has none or it cannot be added up.
    #[must_use]
    pub fn value(&self, metric: &Metric) -> Option<i64> {
        if metric.from == From::Series {
            return self.sums.iter().find(|(known, _)| *known == metric.source()).and_then(|(_, sum)| *sum);
        }
        if !self.is_summed(metric) {
            return None;
        }
        add_up(self.slices.iter().map(|slice| slice.value(metric)))
    }

    /// The metric over the newest slice.
    #[must_use]
    pub fn last_30_days(&self, metric: &Metric) -> Option<i64> {
        self.slices.first()?.value(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readmes_three_metrics_are_one_call() {
        let asked: Vec<_> =
            ["impressions", "reach", "profile_views"].iter().filter_map(|name| Metric::of(name)).collect();
        let groups = Groups::of(&asked, false);
        assert_eq!(groups, Groups { totals: vec!["views", "reach", "profile_views"], ..Groups::default() });
        let by_day = Groups::of(&asked, true);
        assert_eq!((by_day.totals, by_day.series), (vec!["views", "profile_views"], vec!["reach"]));
    }

    #[test]
    fn the_words_of_period_are_those_of_the_schema() {
        let ParamKind::Word(words) = PERIOD.kind else { panic!() };
        assert_eq!(words, PERIODS.iter().map(|(word, _)| *word).collect::<Vec<_>>());
    }
}
