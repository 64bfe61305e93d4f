//! One call of `/{ig}/insights` and what is said beside its numbers.

use jiff::SignedDuration;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::super::numbers::why;
use super::super::refused::{self, ASKED_AGAIN};
use super::super::window::{Slice, day_of};
use super::metrics::MONTH_ONLY;
use crate::graph::{ErrorKind, GraphError, Request};
use crate::tool::{Ask, ToolError, column};

/// Metrics that fit together, and the parameters that they share.
#[derive(Clone, Debug)]
pub struct Call {
    metrics: Vec<&'static str>,
    period: &'static str,
    params: Vec<(&'static str, &'static str)>,
    slice: Option<Slice>,
}

impl Call {
    /// Totals over a window.
    #[must_use]
    pub fn totals(metrics: Vec<&'static str>, slice: Slice) -> Self {
        Self { metrics, period: "day", params: vec![("metric_type", "total_value")], slice: Some(slice) }
    }

    /// A value a day.
    #[must_use]
    pub fn series(metrics: Vec<&'static str>, slice: Slice) -> Self {
        Self { metrics, period: "day", params: vec![("metric_type", "time_series")], slice: Some(slice) }
    }

    /// A total by its parts.
    #[must_use]
    pub fn parts(metric: &'static str, breakdown: &'static str, slice: Slice) -> Self {
        Self::totals(vec![metric], slice).with("breakdown", breakdown)
    }

    /// Over the metric's own lifetime.
    #[must_use]
    pub fn lifetime(metric: &'static str, slice: Option<Slice>) -> Self {
        Self { metrics: vec![metric], period: "lifetime", params: Vec::new(), slice }
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.params.push((name, value));
        self
    }

    /// What it asks, as a field of the account.
    #[must_use]
    pub fn expansion(&self) -> Option<String> {
        let slice = self.slice?;
        let params: String = self.params.iter().map(|(name, value)| format!(".{name}({value})")).collect();
        (!self.metrics.is_empty()).then(|| {
            format!(
                "insights.metric({}).period({}){params}.since({}).until({})",
                self.metrics.join(","),
                self.period,
                slice.since.as_second(),
                slice.until.as_second()
            )
        })
    }

    fn request(&self, ask: &Ask) -> Result<Request, ToolError> {
        let mut request = ask.own("{}/insights")?.query("metric", self.metrics.join(",")).query("period", self.period);
        for (name, value) in &self.params {
            request = request.query(name, *value);
        }
        if let Some(slice) = self.slice {
            request = request.query("since", slice.since.as_second().to_string());
            request = request.query("until", slice.until.as_second().to_string());
        }
        Ok(request)
    }

    /// What a refusal of one of its metrics is remembered for.
    fn kind(&self) -> &'static str {
        self.params.last().map_or("lifetime", |(_, kind)| kind)
    }

    /// Takes out what Meta refused lately.
    ///
    /// # Errors
    /// The account id is not known.
    pub fn leave_out_refused(&mut self, ask: &Ask) -> Result<Told, ToolError> {
        let kind = self.kind();
        Ok(Told { refused: refused::take_out(ask, &mut self.metrics, kind)?, ..Told::default() })
    }

    /// Asks Meta. Where the call fails and others may well not, the answer is without its numbers and says so.
    ///
    /// # Errors
    /// What stands in the way of every call: a dead token, a missing permission.
    pub async fn ask(mut self, ask: &Ask) -> Result<Answered, ToolError> {
        let mut told = self.leave_out_refused(ask)?;
        for again in 0..=ASKED_AGAIN {
            if self.metrics.is_empty() {
                break;
            }
            let request = self.request(ask)?;
            let asked = ask.in_time(ask.graph.get(&request)).await;
            let error = match asked.unwrap_or(Err(GraphError::of_kind(ErrorKind::Timeout))) {
                Ok(answer) => return Ok(Answered::of(&answer, told)),
                Err(error) => error,
            };
            let named = refused::named(&error, &self.metrics);
            if named.is_empty() || again == ASKED_AGAIN {
                self.lose(error.into(), &mut told)?;
                break;
            }
            for metric in &named {
                // The window is too old for it, which another window need not be.
                if MONTH_ONLY.contains(metric) && error.mentions("last 30 days") {
                    told.limit(metric);
                } else {
                    refused::remember(ask, metric, self.kind())?;
                    told.refused.push(metric);
                }
            }
            self.metrics.retain(|metric| !named.contains(metric));
        }
        Ok(Answered { told, ..Answered::default() })
    }

    /// What is told where it is not asked, as its like failed.
    ///
    /// # Errors
    /// As [`Call::ask`].
    pub fn unasked(self, error: ToolError) -> Result<Answered, ToolError> {
        let mut told = Told::default();
        self.lose(error, &mut told)?;
        Ok(Answered { told, ..Answered::default() })
    }

    fn lose(self, error: ToolError, told: &mut Told) -> Result<(), ToolError> {
        told.keep::<()>(&self.metrics.join(", "), Err(error))?;
        self.metrics.into_iter().for_each(|metric| add(&mut told.lost, metric));
        Ok(())
    }
}

/// What a call gave: Meta's rows by metric.
#[derive(Debug, Default)]
pub struct Answered {
    rows: Map<String, Value>,
    /// What is to be said beside them.
    pub told: Told,
}

impl Answered {
    /// The rows of Meta's list.
    #[must_use]
    pub fn of(answer: &Value, mut told: Told) -> Self {
        let rows = answer["data"].as_array().into_iter().flatten();
        let rows: Map<String, Value> =
            rows.filter_map(|row| Some((row["name"].as_str()?.to_owned(), row.clone()))).collect();
        told.came |= !rows.is_empty();
        Self { rows, told }
    }

    /// The total of a metric.
    #[must_use]
    pub fn total(&self, metric: &str) -> Option<i64> {
        self.rows.get(metric)?.pointer("/total_value/value")?.as_i64()
    }

    /// All totals, by metric.
    pub fn totals(&self) -> impl Iterator<Item = (&str, i64)> {
        self.rows.keys().filter_map(|metric| Some((metric.as_str(), self.total(metric)?)))
    }

    /// Values by day: what ends at a day's first midnight belongs to the day before.
    pub fn days(&self) -> impl Iterator<Item = (&str, Date, &Value)> {
        self.rows.iter().flat_map(|(metric, row)| {
            let values = row["values"].as_array().into_iter().flatten();
            values.filter_map(move |value| {
                let end = column::moment(&value["end_time"])?;
                Some((metric.as_str(), day_of(end - SignedDuration::from_hours(1)), &value["value"]))
            })
        })
    }

    /// Parts of a total: the keys of each breakdown of `by`, in that order, and the count. What Meta puts before them,
    /// as the timeframe, is left out.
    #[must_use]
    pub fn parts(&self, metric: &str, by: &[&str]) -> Vec<(Vec<String>, i64)> {
        let Some(breakdown) = self.rows.get(metric).and_then(|row| row.pointer("/total_value/breakdowns/0")) else {
            return Vec::new();
        };
        let dimensions: Vec<&str> =
            breakdown["dimension_keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let places: Option<Vec<usize>> =
            by.iter().map(|wanted| dimensions.iter().position(|known| known == wanted)).collect();
        let Some(places) = places else { return Vec::new() };
        let results = breakdown["results"].as_array().into_iter().flatten();
        let parts = results.filter_map(|result| {
            let keys = places.iter().map(|at| Some(result["dimension_values"].get(*at)?.as_str()?.to_owned()));
            Some((keys.collect::<Option<Vec<_>>>()?, result["value"].as_i64()?))
        });
        parts.collect()
    }
}

/// What is known beside the numbers, over all calls of an answer.
#[derive(Debug, Default)]
pub struct Told {
    /// Metrics that Meta refused.
    pub refused: Vec<&'static str>,
    /// Metrics whose window is too old.
    limited: Vec<&'static str>,
    /// Metrics whose call failed.
    lost: Vec<&'static str>,
    /// Why the first call that failed did so.
    failed: Option<ToolError>,
    notes: Vec<String>,
    /// Whether anything else than numbers came.
    pub answered: bool,
    /// Whether any number came.
    came: bool,
}

impl Told {
    /// Says this once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The window reaches back further than the metric does.
    pub fn limit(&mut self, metric: &'static str) {
        add(&mut self.limited, metric);
        self.note(format!("{metric} reaches back 30 days only"));
    }

    /// What one call of several gave; `None`, with a note that `what` could not be read, where it failed and the others
    /// may well not have.
    ///
    /// # Errors
    /// What stands in the way of every call.
    pub fn keep<T>(&mut self, what: &str, read: Result<T, ToolError>) -> Result<Option<T>, ToolError> {
        match read {
            Ok(value) => {
                self.answered = true;
                Ok(Some(value))
            }
            Err(error) if error.is_of_one_call() => {
                self.note(format!("{what} could not be read: {}", why(&error)));
                self.failed = self.failed.take().or(Some(error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over what another call told.
    pub fn join(&mut self, other: Self) {
        other.refused.into_iter().for_each(|metric| add(&mut self.refused, metric));
        other.limited.into_iter().for_each(|metric| add(&mut self.limited, metric));
        other.lost.into_iter().for_each(|metric| add(&mut self.lost, metric));
        other.notes.into_iter().for_each(|note| self.note(note));
        self.failed = self.failed.take().or(other.failed);
        self.answered |= other.answered;
        self.came |= other.came;
    }

    /// Whether it says why this metric has no number.
    #[must_use]
    pub fn explains(&self, metric: &str) -> bool {
        [&self.refused, &self.limited, &self.lost].iter().any(|told| told.contains(&metric))
    }

    /// The `note` of the answer; `silent` are the numbers that did not come and of which nothing else is said.
    ///
    /// # Errors
    /// Calls failed, and nothing came of the others. Or no number came at all, and the token is known to lack a
    /// permission: Meta answers both alike.
    pub async fn text(mut self, ask: &Ask, silent: &[&str]) -> Result<Option<String>, ToolError> {
        if let Some(error) = self.failed.take().filter(|_| !(self.answered || self.came)) {
            return Err(error);
        }
        if !self.refused.is_empty() {
            let note = format!("Meta refused {} for this account", self.refused.join(", "));
            self.note(note);
        }
        if !silent.is_empty() {
            if !self.came {
                let missing = ask.missing_permissions().await;
                if !missing.is_empty() {
                    return Err(ToolError::MissingPermission(missing.join(", ")));
                }
            }
            self.note(format!(
                "Meta gave no numbers for {}: there were none, the account has under 100 followers, or a permission \
                 is missing",
                silent.join(", ")
            ));
        }
        Ok((!self.notes.is_empty()).then(|| self.notes.join("; ")))
    }
}

/// Puts an item into a list once.
pub fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_a_series_belong_to_the_day_that_ends() {
        let values = json!([
            {"value": 8, "end_time": "2026-11-01T07:00:00+0000"},
            {"value": 9, "end_time": "2026-11-02T08:00:00+0000"},
            {"value": 10},
        ]);
        let answered = Answered::of(&json!({"data": [{"name": "reach", "values": values}]}), Told::default());
        let days: Vec<_> = answered.days().map(|(_, day, value)| (day.to_string(), value.clone())).collect();
        assert_eq!(days, [("2026-10-31".to_owned(), json!(8)), ("2026-11-01".to_owned(), json!(9))]);
    }

    #[test]
    fn parts_are_found_wherever_their_dimension_stands() {
        let row = |keys: Value, values: Value| {
            let breakdowns = json!([{"dimension_keys": keys, "results": [{"dimension_values": values, "value": 31}]}]);
            let data = json!({"data": [{"name": "x", "total_value": {"breakdowns": breakdowns}}]});
            Answered::of(&data, Told::default()).parts("x", &["age", "gender"])
        };
        let wanted = [(vec!["18-24".to_owned(), "F".to_owned()], 31)];
        assert_eq!(row(json!(["timeframe", "age", "gender"]), json!(["THIS_MONTH", "18-24", "F"])), wanted);
        assert_eq!(row(json!(["gender", "age"]), json!(["F", "18-24"])), wanted);
        assert_eq!(row(json!(["age"]), json!(["18-24"])), []);
        assert_eq!(row(json!(["age", "gender"]), json!(["18-24"])), []);
    }
}
