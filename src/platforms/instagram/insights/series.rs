//! Values by day: reach and new followers, the two metrics that Meta has as series.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::super::window::{Slice, month_ago};
use super::call::{Call, Told};
use super::metrics::MONTH_ONLY;
use crate::tool::{Ask, ToolError};

/// The calls of a series: metrics that reach back a month only are asked for that part, in the same call as the
/// others where their part is all of it.
pub fn plan(metrics: &[&'static str], window: Slice, now: Timestamp) -> Vec<(Vec<&'static str>, Slice)> {
    let mut calls: Vec<(Vec<&'static str>, Slice)> = Vec::new();
    for slice in window.by_midnights() {
        for metric in metrics {
            let part = match MONTH_ONLY.contains(metric) {
                true => slice.clipped(month_ago(now)),
                false => Some(slice),
            };
            let Some(part) = part else { continue };
            match calls.iter_mut().find(|(_, known)| *known == part) {
                Some((together, _)) => together.push(metric),
                None => calls.push((vec![metric], part)),
            }
        }
    }
    calls
}

/// What the calls gave.
#[derive(Debug, Default)]
pub struct Series {
    days: BTreeMap<(Date, String), Value>,
    /// What is to be said beside it.
    pub told: Told,
}

impl Series {
    /// Asks for each day of the window.
    ///
    /// # Errors
    /// As [`Call::ask`].
    pub async fn ask(ask: &Ask, metrics: &[&'static str], window: Slice) -> Result<Self, ToolError> {
        let now = ask.clock.now();
        let mut series = Self::default();
        for metric in metrics.iter().filter(|metric| MONTH_ONLY.contains(metric)) {
            if window.since < month_ago(now) {
                series.told.limit(metric);
            }
        }
        let calls =
            plan(metrics, window, now).into_iter().map(|(metrics, slice)| Call::series(metrics, slice).ask(ask));
        for answered in try_join_all(calls).await? {
            for (metric, day, value) in answered.days() {
                series.days.insert((day, metric.to_owned()), value.clone());
            }
            series.told.join(answered.told);
        }
        Ok(series)
    }

    /// The metric of that day.
    #[must_use]
    pub fn on(&self, day: Date, metric: &str) -> Option<i64> {
        self.days.get(&(day, metric.to_owned()))?.as_i64()
    }

    /// The sum of the days that came, with a note of those that did not; `None` where none came, the window is older
    /// than the metric, or a part of it could not be read.
    pub fn sum(&mut self, metric: &str, window: Slice) -> Option<i64> {
        if self.told.explains(metric) {
            return None;
        }
        let (came, missing): (Vec<Date>, Vec<Date>) = window.days().partition(|day| self.on(*day, metric).is_some());
        let sum = super::add_up(came.iter().map(|day| self.on(*day, metric))).filter(|_| !came.is_empty())?;
        if !missing.is_empty() {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            self.told.note(format!("Meta has no {metric} of {}, and the sum is without it", missing.join(", ")));
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::window::start;
    use super::*;

    #[test]
    fn what_reaches_back_a_month_rides_along_where_it_can() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let both = ["reach", "follower_count"];
        for (since, lengths) in [
            ("2026-11-16", vec![(2, 7)]),
            ("2026-10-24", vec![(2, 29), (2, 1)]),
            ("2026-10-20", vec![(2, 29), (1, 5), (1, 1)]),
        ] {
            let day = |text: &str| start(text.parse().unwrap());
            let calls = plan(&both, Slice { since: day(since), until: day("2026-11-23") }, now);
            let found: Vec<_> = calls.iter().map(|(metrics, slice)| (metrics.len(), slice.days().count())).collect();
            assert_eq!(found, lengths, "{since}");
        }
        let old = Slice { since: start("2026-09-01".parse().unwrap()), until: start("2026-09-03".parse().unwrap()) };
        assert!(plan(&["follower_count"], old, now).is_empty());
    }
}
