//! Windows of insights: Meta cuts days at midnight in Los Angeles, and takes 30 days at most in one call.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::tool::{Args, ArgumentError};

/// The longest window of one call, in seconds (Meta, Instagram account insights, 2026-09-11).
const CALL_MAX: SignedDuration = SignedDuration::from_secs(2_592_000);
/// How long after its end a day counts as complete.
const SETTLES: SignedDuration = SignedDuration::from_hours(3);
/// How long after its end Meta may still add to a day.
const PROVISIONAL: SignedDuration = SignedDuration::from_hours(48);
/// The longest window of one answer, in days.
const DAYS_MAX: i64 = 365;

/// Where Meta's day begins.
#[must_use]
pub fn zone() -> TimeZone {
    TimeZone::get("America/Los_Angeles").expect("the time zone database is bundled")
}

/// From one moment to another, the second not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First moment.
    pub since: Timestamp,
    /// First moment after.
    pub until: Timestamp,
}

/// The window of an answer, and the calls that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// All of it.
    pub whole: Slice,
    /// What one call each asks for, newest first.
    pub slices: Vec<Slice>,
    /// What was moved, in words.
    pub note: Option<String>,
}

/// The moment at which a day begins.
#[must_use]
pub fn start(day: Date) -> Timestamp {
    zone().to_timestamp(day.at(0, 0, 0, 0)).expect("Los Angeles has a midnight on each day")
}

/// The day that a moment lies in.
#[must_use]
pub fn day_of(at: Timestamp) -> Date {
    zone().to_datetime(at).date()
}

/// The newest day whose numbers can be asked for.
#[must_use]
pub fn last_complete_day(now: Timestamp) -> Date {
    day_of(now - SETTLES).yesterday().expect("not the first day of the calendar")
}

/// `day` and so many days before it.
fn back(day: Date, days: i64) -> Result<Date, ArgumentError> {
    day.checked_sub(days.days()).map_err(|_| ArgumentError::of("days_ago", "too far back"))
}

impl Slice {
    /// So many days that end with `last`.
    ///
    /// # Errors
    /// Beyond the calendar.
    pub fn ending_with(last: Date, days: i64) -> Result<Self, ArgumentError> {
        let after = last.tomorrow().map_err(|_| ArgumentError::of("until", "too far ahead"))?;
        Ok(Self { since: start(back(last, days - 1)?), until: start(after) })
    }
}

impl Window {
    /// The window that `period`, `days_ago`, `since` and `until` of `args` name.
    ///
    /// # Errors
    /// What does not fit, by parameter.
    pub fn resolve(args: &Args, now: Timestamp) -> Result<Self, ArgumentError> {
        let days = match args.text("period") {
            Some("week") => 7,
            Some("days_28") => 28,
            _ => 1,
        };
        let last = back(last_complete_day(now), args.int("days_ago").unwrap_or(1) - 1)?;
        let end = start(last.tomorrow().map_err(|_| ArgumentError::of("days_ago", "too far ahead"))?);
        let mut note = None;
        let until = match args.moment("until", &zone(), true) {
            Some(until) if until > now => {
                note = Some("until lies in the future; the window ends now".to_owned());
                now
            }
            Some(until) => until,
            None => end,
        };
        let since = match args.moment("since", &zone(), false) {
            Some(since) => since,
            None => start(back(day_of(until - SignedDuration::from_nanos(1)), days - 1)?),
        };
        if since >= until {
            return Err(ArgumentError::of("since", "must lie before until and before now"));
        }
        if until.duration_since(since) > SignedDuration::from_hours(24 * DAYS_MAX + 1) {
            return Err(ArgumentError::of("since", "the window may be 365 days long at most"));
        }
        Ok(Self::cut(Slice { since, until }, note))
    }

    /// Cuts from the end into slices that one call takes.
    #[must_use]
    pub fn cut(mut whole: Slice, mut note: Option<String>) -> Self {
        let hour = SignedDuration::from_hours(1);
        let length = whole.until.duration_since(whole.since);
        // 30 days that hold the end of summer time are an hour too long for one call.
        let whole_days = [whole.since, whole.until].iter().all(|at| zone().to_datetime(*at).time() == Time::midnight());
        if whole_days && length > CALL_MAX && length <= CALL_MAX + hour {
            whole.since += length - CALL_MAX;
            note = Some(
                "Meta takes 720 hours at most, and these 30 days have 721: since was moved one hour later".to_owned(),
            );
        }
        let mut slices = Vec::new();
        let mut until = whole.until;
        while until > whole.since {
            let since = whole.since.max(until - CALL_MAX);
            slices.push(Slice { since, until });
            until = since;
        }
        Self { whole, slices, note }
    }

    /// The day, where the window is one: `YYYY-MM-DD`.
    #[must_use]
    pub fn date(&self) -> Option<String> {
        let first = day_of(self.whole.since);
        (first == day_of(self.whole.until - SignedDuration::from_nanos(1))).then(|| first.to_string())
    }

    /// Whether Meta may still add to it.
    #[must_use]
    pub fn is_provisional(&self, now: Timestamp) -> bool {
        now.duration_since(self.whole.until) < PROVISIONAL
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::insights::GET_ACCOUNT_INSIGHTS;
    use super::*;

    fn window(args: serde_json::Value, now: &str) -> Result<Window, ArgumentError> {
        let args = Args::check(GET_ACCOUNT_INSIGHTS.params, args.as_object().unwrap()).unwrap();
        Window::resolve(&args, now.parse().unwrap())
    }

    fn text(slice: Slice) -> (String, String) {
        (slice.since.to_string(), slice.until.to_string())
    }

    #[test]
    fn the_default_is_the_last_complete_day_of_los_angeles() {
        for (now, date) in [
            ("2026-11-23T11:00:00Z", "2026-11-22"),
            ("2026-11-23T10:59:59Z", "2026-11-21"),
            ("2026-11-23T08:00:00Z", "2026-11-21"), // 09:00 in Berlin
        ] {
            let window = window(json!({}), now).unwrap();
            assert_eq!(window.date().as_deref(), Some(date), "{now}");
            assert_eq!(window.slices, [window.whole]);
        }
        let two_ago = window(json!({"days_ago": 2}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(two_ago.whole), ("2026-11-21T08:00:00Z".into(), "2026-11-22T08:00:00Z".into()));
        assert!(two_ago.is_provisional("2026-11-24T07:59:59Z".parse().unwrap()));
        assert!(!two_ago.is_provisional("2026-11-24T08:00:00Z".parse().unwrap()));
    }

    #[test]
    fn periods_end_with_the_last_complete_day() {
        let week = window(json!({"period": "week"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(week.whole), ("2026-11-16T08:00:00Z".into(), "2026-11-23T08:00:00Z".into()));
        assert_eq!(week.date(), None);
        let days = window(json!({"period": "days_28", "days_ago": 3}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(days.whole), ("2026-10-24T07:00:00Z".into(), "2026-11-21T08:00:00Z".into()));
    }

    #[test]
    fn thirty_days_over_the_end_of_summer_time_are_moved_by_an_hour() {
        let window = window(json!({"since": "2026-10-20", "until": "2026-11-18"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(window.whole), ("2026-10-20T08:00:00Z".into(), "2026-11-19T08:00:00Z".into()));
        assert_eq!(window.slices.len(), 1);
        assert!(window.note.is_some());
    }

    #[test]
    fn longer_windows_are_cut_from_the_end() {
        let window = window(json!({"since": "2026-08-01", "until": "2026-11-18"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(window.slices.len(), 4);
        assert_eq!(window.slices[0].until, window.whole.until);
        assert_eq!(window.slices[3].since, window.whole.since);
        for pair in window.slices.windows(2) {
            assert_eq!(pair[0].since, pair[1].until);
            assert_eq!(pair[0].until.duration_since(pair[0].since), CALL_MAX);
        }
    }

    #[test]
    fn windows_that_are_none_are_refused() {
        for args in [
            json!({"since": "2026-11-20", "until": "2026-11-19"}),
            json!({"since": "2026-11-24"}),
            json!({"since": "2025-01-01"}),
        ] {
            assert_eq!(window(args, "2026-11-23T12:00:00Z").unwrap_err().0.split(':').next(), Some("since"));
        }
        let odd = json!({"since": "2026-06-01T00:00:00Z", "until": "2026-07-01T00:30:00Z"});
        let odd = window(odd, "2026-11-23T12:00:00Z").unwrap();
        assert_eq!((odd.slices.len(), odd.note), (2, None), "no clock changes there, and nothing is dropped");
        let future = window(json!({"since": "2026-11-22", "until": "2026-12-01"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(future.whole.until.to_string(), "2026-11-23T12:00:00Z");
    }
}
