//! Windows of insights: Meta cuts days at midnight in Los Angeles, and takes 30 days at most in one call.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Map, Value};

use crate::clock::rfc3339;
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
    /// The same before an hour was taken from it, for series, which have whole days.
    pub days: Slice,
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

/// Since when a metric is there that reaches back 30 days, today not counted.
#[must_use]
pub fn month_ago(now: Timestamp) -> Timestamp {
    start(day_of(now).checked_sub(30.days()).expect("not the first month of the calendar"))
}

/// How many days a window has whose beginning is not said.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    param: &'static str,
    sent: Option<i64>,
    default: i64,
}

impl Length {
    /// By a parameter that counts days.
    #[must_use]
    pub fn of_days(args: &Args, param: &'static str, default: i64) -> Self {
        Self { param, sent: args.int(param), default }
    }

    /// By a parameter `period` of these words; the first is the default.
    #[must_use]
    pub fn of_period(args: &Args, words: &[(&str, i64)]) -> Self {
        let days = |word: &str| words.iter().find(|(known, _)| *known == word).map(|(_, days)| *days);
        let default = words.first().map_or(1, |(_, days)| *days);
        Self { param: "period", sent: args.text("period").and_then(days), default }
    }

    /// The days.
    #[must_use]
    pub fn days(&self) -> i64 {
        self.sent.unwrap_or(self.default)
    }
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

    /// What `since`, `until`, `days_ago` and a length name, and what was moved, in words. `since` and a length cannot
    /// both be sent, nor `until` and `days_ago`.
    ///
    /// # Errors
    /// What does not fit, by parameter.
    pub fn resolve(args: &Args, now: Timestamp, length: Length) -> Result<(Self, Option<String>), ArgumentError> {
        let last = back(last_complete_day(now), args.int("days_ago").unwrap_or(1) - 1)?;
        let mut note = None;
        let until = match args.moment("until", &zone(), true) {
            Some(_) if args.has("days_ago") => {
                return Err(ArgumentError::of(
                    "days_ago",
                    "until says already where the window ends; send one of them",
                ));
            }
            Some(until) if until > now => {
                note = Some("until lies in the future; the window ends now".to_owned());
                now
            }
            Some(until) => until,
            None => Self::ending_with(last, 1)?.until,
        };
        let since = match args.moment("since", &zone(), false) {
            Some(_) if length.sent.is_some() => {
                let expected = "since says already where the window begins; send one of them";
                return Err(ArgumentError::of(length.param, expected));
            }
            Some(since) => since,
            None => Self::ending_with(day_of(until - SignedDuration::from_nanos(1)), length.days())?.since,
        };
        let slice = Self { since, until };
        slice.check("since")?;
        Ok((slice, note))
    }

    /// Whether it is a window at all, and not too long.
    ///
    /// # Errors
    /// What does not fit, of `param`.
    pub fn check(&self, param: &str) -> Result<(), ArgumentError> {
        if self.since >= self.until {
            return Err(ArgumentError::of(param, "must lie before until and before now"));
        }
        if self.until.duration_since(self.since) > SignedDuration::from_hours(24 * DAYS_MAX + 1) {
            return Err(ArgumentError::of(param, "the window may be 365 days long at most"));
        }
        Ok(())
    }

    /// Whether it begins and ends at midnight in Los Angeles.
    #[must_use]
    pub fn is_whole_days(&self) -> bool {
        [self.since, self.until].iter().all(|at| zone().to_datetime(*at).time() == Time::midnight())
    }

    /// The days that it touches, oldest first.
    pub fn days(&self) -> impl Iterator<Item = Date> + use<> {
        let last = day_of(self.until - SignedDuration::from_nanos(1));
        day_of(self.since).series(1.day()).take_while(move |day| *day <= last)
    }

    /// Its part from `since` on; `None` where nothing is left.
    #[must_use]
    pub fn clipped(&self, since: Timestamp) -> Option<Self> {
        let clipped = Self { since: self.since.max(since), until: self.until };
        (clipped.since < clipped.until).then_some(clipped)
    }

    /// Slices that one call of a series takes, newest first: cut at midnights, so that no day is in two.
    #[must_use]
    pub fn by_midnights(&self) -> Vec<Self> {
        let mut slices: Vec<Self> = Vec::new();
        let days: Vec<Date> = self.days().collect();
        for day in days.into_iter().rev() {
            let since = start(day).max(self.since);
            match slices.last_mut() {
                Some(newest) if newest.until.duration_since(since) <= CALL_MAX => newest.since = since,
                Some(older) => {
                    let until = older.since;
                    slices.push(Self { since, until });
                }
                None => slices.push(Self { since, until: self.until }),
            }
        }
        slices
    }
}

impl Window {
    /// The window that `since`, `until`, `days_ago` and a length name.
    ///
    /// # Errors
    /// What does not fit, by parameter.
    pub fn resolve(args: &Args, now: Timestamp, length: Length) -> Result<Self, ArgumentError> {
        Slice::resolve(args, now, length).map(|(whole, note)| Self::cut(whole, note))
    }

    /// Cuts from the end into slices that one call takes.
    #[must_use]
    pub fn cut(mut whole: Slice, mut note: Option<String>) -> Self {
        let days = whole;
        let length = whole.until.duration_since(whole.since);
        let rest = SignedDuration::from_secs(length.as_secs() % CALL_MAX.as_secs());
        // Days that hold the end of summer time have an hour over, which would be a call of its own.
        let is_over = length > CALL_MAX && !rest.is_zero() && rest <= SignedDuration::from_hours(1);
        if is_over && whole.is_whole_days() {
            whole.since += rest;
            note = Some(
                "Meta takes 720 hours in a call, and these days have one more, as summer time ended in them: since was \
                 moved one hour later"
                    .to_owned(),
            );
        }
        let mut slices = Vec::new();
        let mut until = whole.until;
        while until > whole.since {
            let since = whole.since.max(until - CALL_MAX);
            slices.push(Slice { since, until });
            until = since;
        }
        Self { whole, days, slices, note }
    }

    /// Whether one call takes all of it.
    #[must_use]
    pub fn is_one_call(&self) -> bool {
        self.slices.len() <= 1
    }

    /// Puts `date`, `since`, `until` and `provisional` into a row.
    pub fn tell(&self, row: &mut Map<String, Value>, now: Timestamp) {
        row.insert("date".to_owned(), self.date().into());
        row.insert("since".to_owned(), rfc3339(self.whole.since).into());
        row.insert("until".to_owned(), rfc3339(self.whole.until).into());
        row.insert("provisional".to_owned(), self.is_provisional(now).into());
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
        is_provisional(self.whole.until, now)
    }
}

/// Whether Meta may still add to what ended at `until`.
#[must_use]
pub fn is_provisional(until: Timestamp, now: Timestamp) -> bool {
    now.duration_since(until) < PROVISIONAL
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::insights::{GET_ACCOUNT_INSIGHTS, PERIODS};
    use super::*;

    fn window(args: serde_json::Value, now: &str) -> Result<Window, ArgumentError> {
        let args = Args::check(GET_ACCOUNT_INSIGHTS.params, args.as_object().unwrap()).unwrap();
        Window::resolve(&args, now.parse().unwrap(), Length::of_period(&args, PERIODS))
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
    fn the_hour_that_summer_time_leaves_over_is_no_call_of_its_own() {
        let now = "2026-11-23T12:00:00Z";
        for (since, slices, moved) in [("2026-09-24", 2, true), ("2026-09-23", 3, false), ("2026-09-25", 2, false)] {
            let window = window(json!({"since": since, "until": "2026-11-22"}), now).unwrap();
            assert_eq!((window.slices.len(), window.note.is_some()), (slices, moved), "{since}");
            assert_eq!(window.slices.last().unwrap().since, window.whole.since);
        }
    }

    #[test]
    fn a_series_is_cut_at_midnights() {
        let days = |since: &str, until: &str| Slice {
            since: start(since.parse().unwrap()),
            until: start(until.parse().unwrap()),
        };
        for (since, until, lengths) in [
            ("2026-11-20", "2026-11-21", vec![1]),
            ("2026-10-20", "2026-11-19", vec![29, 1]), // the end of summer time is in it
            ("2026-06-01", "2026-07-01", vec![30]),
            ("2026-05-01", "2026-07-01", vec![30, 30, 1]),
        ] {
            let whole = days(since, until);
            let slices = whole.by_midnights();
            assert_eq!(slices.iter().map(|slice| slice.days().count()).collect::<Vec<_>>(), lengths, "{since}");
            assert!(slices.iter().all(|slice| slice.is_whole_days()));
            assert!(slices.iter().all(|slice| slice.until.duration_since(slice.since) <= CALL_MAX));
            assert_eq!((slices[0].until, slices.last().unwrap().since), (whole.until, whole.since));
        }
    }

    #[test]
    fn what_says_the_same_twice_is_refused() {
        for (args, param) in [
            (json!({"period": "day", "since": "2026-11-01"}), "period"),
            (json!({"period": "week", "since": "2026-11-01", "until": "2026-11-08"}), "period"),
            (json!({"days_ago": 1, "until": "2026-11-08"}), "days_ago"),
        ] {
            let refused = window(args, "2026-11-23T12:00:00Z").unwrap_err().0;
            assert!(refused.starts_with(&format!("{param}: ")) && refused.contains("one of them"), "{refused}");
        }
        let week = window(json!({"period": "week", "until": "2026-11-08"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(week.whole), ("2026-11-02T08:00:00Z".into(), "2026-11-09T08:00:00Z".into()));
        let ended = window(json!({"days_ago": 3, "since": "2026-11-08"}), "2026-11-23T12:00:00Z").unwrap();
        assert_eq!(text(ended.whole), ("2026-11-08T08:00:00Z".into(), "2026-11-21T08:00:00Z".into()));
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
