//! Two windows side by side.

use futures_util::future::BoxFuture;
use futures_util::try_join;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::window::{Length, Slice, Window, zone};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::totals::{Totals, USUAL, note};
use super::{DATE, KNOWN_METRICS, PROVISIONAL, SINCE, SINCE_COLUMN, UNTIL, UNTIL_COLUMN, asked_metrics};
use crate::clock::rfc3339;
use crate::credential::AccountKind;
use crate::tool::money::{number, rate};
use crate::tool::{Answer, Args, ArgumentError, Ask, Column, Done, Param, ParamKind, Tool, ToolError};

pub const COMPARE_PERIODS: Tool = Tool::read("compare_periods", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "Account metrics of two windows side by side, one row a metric: better or worse than before? Default: the \
         last 7 days and the 7 before. For one window use get_account_insights.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        KNOWN_METRICS.or(USUAL),
        Param::new("days", ParamKind::Int(1, 30), "Without since; default 7.", "28"),
        SINCE,
        UNTIL,
        Param::new(
            "compare_since",
            ParamKind::Moment,
            "Of the other window; default: just before, as long.",
            "\"2026-10-01\"",
        ),
        Param::new("compare_until", ParamKind::Moment, "Of the other window.", "\"2026-10-20\""),
    ])
    .example(r#"{"days":7}"#)
    .list(
        "metrics",
        &[
            Column::text("metric").made().about("as asked; over 30 days reach_last_30_days is a row of its own"),
            Column::text("source").made().about("the successor that a removed name is served from, else null"),
            Column::count("current").made(),
            Column::count("previous").made(),
            Column::count("change").made().about("current − previous"),
            Column::percent("change_pct").made().about("100 × change ÷ previous; null when previous is 0"),
        ],
        &[
            DATE,
            SINCE_COLUMN,
            UNTIL_COLUMN,
            Column::time("compare_since").made(),
            Column::time("compare_until").made(),
            PROVISIONAL,
            NOTE,
        ],
    )
    .run(compare_periods);

fn compare_periods(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        let asked = asked_metrics(&ask)?;
        let (slice, moved) = Slice::resolve(&ask.args, now, Length::of_days(&ask.args, "days", 7))?;
        let other = other_window(&ask.args, slice, now)?;
        let (current, previous) = (Window::cut(slice, moved), Window::cut(other, None));
        ask.check_limit()?;
        let (newer, older) = try_join!(Totals::ask(&ask, &asked, &current), Totals::ask(&ask, &asked, &previous))?;

        let is_long = !current.is_one_call() || !previous.is_one_call();
        let mut rows = Vec::new();
        for metric in &asked {
            let is_split = is_long && !metric.is_additive();
            // A reach of 20 days beside nothing would compare nothing.
            let [new, old] = [&newer, &older].map(|totals| totals.value(metric).filter(|_| !is_split));
            rows.push(compared(metric.name, metric.now, new, old));
            if is_split {
                let [new, old] = [&newer, &older].map(|totals| totals.last_30_days(metric));
                rows.push(compared(&format!("{}_last_30_days", metric.name), metric.now, new, old));
            }
        }
        let note = note(&ask, &asked, vec![(&current, newer), (&previous, older)]).await?;
        let beside = json!({
            "date": current.date(),
            "since": rfc3339(current.whole.since),
            "until": rfc3339(current.whole.until),
            "compare_since": rfc3339(previous.whole.since),
            "compare_until": rfc3339(previous.whole.until),
            "provisional": current.is_provisional(now) || previous.is_provisional(now),
            "note": note,
        });
        Ok(Answer::List { rows, beside, next: None }.into())
    })
}

fn compared(metric: &str, source: Option<&str>, current: Option<i64>, previous: Option<i64>) -> Value {
    let change = current.zip(previous).and_then(|(current, previous)| current.checked_sub(previous));
    let change_pct = rate(change.map(Decimal::from), previous.map(Decimal::from));
    json!({
        "metric": metric, "source": source, "current": current, "previous": previous, "change": change,
        "change_pct": change_pct.map_or(Value::Null, number),
    })
}

/// The window before `slice`, or the one that was asked for; what is not said of it follows from the length of `slice`,
/// which is one of days where it has whole ones.
fn other_window(args: &Args, slice: Slice, now: Timestamp) -> Result<Slice, ArgumentError> {
    let far = || ArgumentError::of("compare_since", "too far back or ahead");
    let length = |from: Timestamp, sign: i64| match slice.is_whole_days() {
        true => {
            let days = i64::try_from(slice.days().count()).map_err(|_| far())?;
            let day = zone().to_datetime(from).checked_add(jiff::Span::new().days(sign * days)).map_err(|_| far())?;
            zone().to_timestamp(day).map_err(|_| far())
        }
        false => {
            let length = slice.until.duration_since(slice.since).as_secs();
            from.checked_add(SignedDuration::from_secs(sign * length)).map_err(|_| far())
        }
    };
    let (since, until) = (args.moment("compare_since", &zone(), false), args.moment("compare_until", &zone(), true));
    let other = match (since, until) {
        (Some(since), Some(until)) => Slice { since, until },
        (Some(since), None) => Slice { since, until: length(since, 1)? },
        (None, until) => {
            let until = until.unwrap_or(slice.since);
            Slice { since: length(until, -1)?, until }
        }
    };
    if other.until > now {
        return Err(ArgumentError::of("compare_until", "must not lie in the future"));
    }
    if other.since >= other.until {
        return Err(ArgumentError::of("compare_since", "must lie before compare_until"));
    }
    other.check("compare_since")?;
    Ok(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(args: Value, since: &str, until: &str) -> Result<(String, String), String> {
        let args = Args::check(COMPARE_PERIODS.params, args.as_object().unwrap()).unwrap();
        let slice = Slice { since: since.parse().unwrap(), until: until.parse().unwrap() };
        let other = other_window(&args, slice, "2026-11-23T12:00:00Z".parse().unwrap()).map_err(|error| error.0)?;
        Ok((other.since.to_string(), other.until.to_string()))
    }

    #[test]
    fn the_other_window_is_as_many_days_long() {
        let (since, until) = ("2026-11-16T08:00:00Z", "2026-11-23T08:00:00Z");
        for (args, from, to) in [
            (json!({}), "2026-11-09T08:00:00Z", "2026-11-16T08:00:00Z"),
            (json!({"compare_since": "2026-10-28"}), "2026-10-28T07:00:00Z", "2026-11-04T08:00:00Z"),
            (json!({"compare_until": "2026-11-03"}), "2026-10-28T07:00:00Z", "2026-11-04T08:00:00Z"),
            (
                json!({"compare_since": "2026-01-01", "compare_until": "2026-01-02"}),
                "2026-01-01T08:00:00Z",
                "2026-01-03T08:00:00Z",
            ),
        ] {
            assert_eq!(other(args, since, until), Ok((from.to_owned(), to.to_owned())));
        }
        // Before the end of summer time a week is an hour longer on the clock of UTC.
        let before = other(json!({}), "2026-11-02T08:00:00Z", "2026-11-09T08:00:00Z").unwrap();
        assert_eq!(before.0, "2026-10-26T07:00:00Z");
        let odd = other(json!({}), "2026-11-10T00:30:00Z", "2026-11-11T00:00:00Z").unwrap();
        assert_eq!(odd, ("2026-11-09T01:00:00Z".to_owned(), "2026-11-10T00:30:00Z".to_owned()));
    }

    #[test]
    fn windows_that_are_none_are_refused() {
        for (args, param) in [
            (json!({"compare_since": "2026-11-20"}), "compare_until"),
            (json!({"compare_since": "2026-10-02", "compare_until": "2026-10-01"}), "compare_since"),
            (json!({"compare_since": "2024-01-01", "compare_until": "2026-10-01"}), "compare_since"),
        ] {
            let refused = other(args, "2026-11-16T08:00:00Z", "2026-11-23T08:00:00Z").unwrap_err();
            assert!(refused.starts_with(&format!("{param}: ")), "{refused}");
        }
    }

    #[test]
    fn a_change_needs_both_numbers_and_a_divisor() {
        for (current, previous, change, pct) in [
            (Some(110), Some(80), json!(30), json!(37.5)),
            (Some(2), Some(3), json!(-1), json!(-33.33)),
            (Some(5), Some(0), json!(5), json!(null)),
            (None, Some(5), json!(null), json!(null)),
        ] {
            let row = compared("reach", None, current, previous);
            assert_eq!((&row["change"], &row["change_pct"]), (&change, &pct));
        }
    }
}
