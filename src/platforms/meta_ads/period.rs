//! The period of an answer: days of the account's time zone, resolved here so that what is said is what was asked.

use jiff::civil::{Date, Weekday};
use jiff::tz::{self, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use crate::tool::{Args, ArgumentError, Param, ParamKind};

/// Meta's words for periods (Marketing API v26.0, `date_preset`; `lifetime` is gone).
const PERIODS: &[&str] = &[
    "today",
    "yesterday",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
    "this_week_mon_today",
    "this_week_sun_today",
    "last_week_mon_sun",
    "last_week_sun_sat",
    "this_month",
    "last_month",
    "this_quarter",
    "last_quarter",
    "this_year",
    "last_year",
    "maximum",
    "data_maximum",
];

/// How far back Meta has numbers; an earlier start is its error 3018 (Marketing API, insights, 2026-09-12).
const HISTORY_MONTHS: i32 = 37;
/// Until Meta calls a day's numbers final (the same).
const FINAL_AFTER_DAYS: i32 = 28;

pub(super) const PERIOD: Param = Param::new(
    "period",
    ParamKind::Word(PERIODS),
    "Days of the account's time zone, instead of since and until. last_Nd leaves today out; this_… and maximum end \
     today; maximum reaches 37 months back. Default without since and until: last_30d.",
    "\"last_7d\"",
);
pub(super) const SINCE: Param = Param::new(
    "since",
    ParamKind::Day,
    "First day, counted; together with until, without period. At most 37 months back.",
    "\"2026-11-01\"",
);
pub(super) const UNTIL: Param =
    Param::new("until", ParamKind::Day, "Last day, counted; together with since. Not in the future.", "\"2026-11-20\"");

/// From one day to another, both counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub since: Date,
    pub until: Date,
}

impl Days {
    /// Refuses what is wrong in every time zone, before the account's is known.
    ///
    /// # Errors
    /// What does not fit, by parameter.
    pub fn check(args: &Args, now: Timestamp) -> Result<(), ArgumentError> {
        let day = |hours| TimeZone::fixed(tz::offset(hours)).to_datetime(now).date();
        Self::between(args, day(-12), day(14)).map(drop)
    }

    /// The period that `period`, or `since` and `until`, of `args` name where it is `today`.
    ///
    /// # Errors
    /// As [`Days::check`].
    pub fn resolve(args: &Args, today: Date) -> Result<Self, ArgumentError> {
        Self::between(args, today, today)
    }

    /// Today is one of the days from `earliest` to `latest`.
    fn between(args: &Args, earliest: Date, latest: Date) -> Result<Self, ArgumentError> {
        let day = |name: &str| args.text(name).and_then(|day| day.parse::<Date>().ok());
        let (since, until) = match (args.text("period"), day("since"), day("until")) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(ArgumentError::of("period", "send either period, or since and until"));
            }
            (word, None, None) => return Ok(Self::of_word(word.unwrap_or("last_30d"), latest)),
            (None, Some(since), Some(until)) => (since, until),
            (None, None, _) => return Err(ArgumentError::of("since", "until needs it: send both, or period")),
            (None, _, None) => return Err(ArgumentError::of("until", "since needs it: send both, or period")),
        };
        if since > until {
            return Err(ArgumentError::of("since", "lies after until"));
        }
        if until > latest {
            let expected = format!("lies in the future: {latest} is the last day that has begun");
            return Err(ArgumentError::of("until", &expected));
        }
        let oldest = earliest.saturating_sub(HISTORY_MONTHS.months());
        if since < oldest {
            let expected = format!("Meta's numbers reach back {HISTORY_MONTHS} months: to {oldest} at most");
            return Err(ArgumentError::of("since", &expected));
        }
        Ok(Self { since, until })
    }

    fn of_word(word: &str, today: Date) -> Self {
        let back = |day: Date, days: i32| day.saturating_sub(days.days());
        let yesterday = back(today, 1);
        let month = today.first_of_month();
        let quarter = month.saturating_sub(i32::from((month.month() - 1) % 3).months());
        let year = today.first_of_year();
        let week = |first: Weekday| back(today, i32::from(today.weekday().since(first)));
        let last = |days: i32| (back(today, days), yesterday);
        let before = |first: Date, months: i32| (first.saturating_sub(months.months()), back(first, 1));
        let week_before = |first: Weekday| (back(week(first), 7), back(week(first), 1));
        let (since, until) = match word {
            "today" => (today, today),
            "yesterday" => last(1),
            "last_3d" => last(3),
            "last_7d" => last(7),
            "last_14d" => last(14),
            "last_28d" => last(28),
            "last_90d" => last(90),
            "this_week_mon_today" => (week(Weekday::Monday), today),
            "this_week_sun_today" => (week(Weekday::Sunday), today),
            "last_week_mon_sun" => week_before(Weekday::Monday),
            "last_week_sun_sat" => week_before(Weekday::Sunday),
            "this_month" => (month, today),
            "last_month" => before(month, 1),
            "this_quarter" => (quarter, today),
            "last_quarter" => before(quarter, 3),
            "this_year" => (year, today),
            "last_year" => before(year, 12),
            // A day less than the limit: that day itself begins more than 37 months before now.
            "maximum" | "data_maximum" => {
                (today.saturating_sub(HISTORY_MONTHS.months()).saturating_add(1.day()), today)
            }
            _ => last(30),
        };
        Self { since, until }
    }

    /// As a cursor keeps it.
    pub fn to_window(self) -> (String, String) {
        (self.since.to_string(), self.until.to_string())
    }

    /// What a cursor kept, which anybody may have written: it is held to what [`Days::resolve`] gives.
    ///
    /// # Errors
    /// The cursor has no period that can be asked for.
    pub fn of_window(window: Option<&(String, String)>, today: Date) -> Result<Self, ArgumentError> {
        let days =
            window.and_then(|(since, until)| Some(Self { since: since.parse().ok()?, until: until.parse().ok()? }));
        let oldest = today.saturating_sub(HISTORY_MONTHS.months());
        days.filter(|days| oldest <= days.since && days.since <= days.until && days.until <= today)
            .ok_or_else(|| ArgumentError::of("cursor", "it has no period that can be asked; start the list again"))
    }

    /// Whether the last day may still be running.
    pub fn includes(self, today: Date) -> bool {
        self.until >= today
    }

    /// Whether Meta may still correct the numbers.
    pub fn is_provisional(self, today: Date) -> bool {
        self.until.saturating_add(FINAL_AFTER_DAYS.days()) > today
    }

    /// Graph's `time_range`.
    pub fn time_range(self) -> String {
        serde_json::json!({ "since": self.since.to_string(), "until": self.until.to_string() }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn args(came: Value) -> Args {
        Args::check(&[PERIOD, SINCE, UNTIL], came.as_object().unwrap()).unwrap()
    }

    fn days(since: &str, until: &str) -> Days {
        Days { since: since.parse().unwrap(), until: until.parse().unwrap() }
    }

    #[test]
    fn each_word_is_resolved() {
        // A Monday.
        let today = "2026-11-23".parse().unwrap();
        let cases = [
            ("today", "2026-11-23", "2026-11-23"),
            ("yesterday", "2026-11-22", "2026-11-22"),
            ("last_3d", "2026-11-20", "2026-11-22"),
            ("last_7d", "2026-11-16", "2026-11-22"),
            ("last_14d", "2026-11-09", "2026-11-22"),
            ("last_28d", "2026-10-26", "2026-11-22"),
            ("last_30d", "2026-10-24", "2026-11-22"),
            ("last_90d", "2026-08-25", "2026-11-22"),
            ("this_week_mon_today", "2026-11-23", "2026-11-23"),
            ("this_week_sun_today", "2026-11-22", "2026-11-23"),
            ("last_week_mon_sun", "2026-11-16", "2026-11-22"),
            ("last_week_sun_sat", "2026-11-15", "2026-11-21"),
            ("this_month", "2026-11-01", "2026-11-23"),
            ("last_month", "2026-10-01", "2026-10-31"),
            ("this_quarter", "2026-10-01", "2026-11-23"),
            ("last_quarter", "2026-07-01", "2026-09-30"),
            ("this_year", "2026-01-01", "2026-11-23"),
            ("last_year", "2025-01-01", "2025-12-31"),
            ("maximum", "2023-10-24", "2026-11-23"),
            ("data_maximum", "2023-10-24", "2026-11-23"),
        ];
        assert_eq!(cases.map(|(word, ..)| word).to_vec().len(), PERIODS.len());
        for (word, since, until) in cases {
            assert_eq!(Days::resolve(&args(json!({ "period": word })), today), Ok(days(since, until)), "{word}");
        }
        assert_eq!(Days::resolve(&args(json!({})), today), Ok(days("2026-10-24", "2026-11-22")));
    }

    #[test]
    fn refusals_name_the_parameter_and_zones_are_left_room() {
        // Already the 24th east of Athens, still the 22nd west of Hawaii.
        let now = "2026-11-23T10:30:00Z".parse().unwrap();
        let today = "2026-11-23".parse().unwrap();
        let cases = [
            ("both", json!({"period": "today", "since": "2026-11-01"}), Some("period"), Some("period")),
            ("since alone", json!({"since": "2026-11-01"}), Some("until"), Some("until")),
            ("until alone", json!({"until": "2026-11-01"}), Some("since"), Some("since")),
            ("turned", json!({"since": "2026-11-02", "until": "2026-11-01"}), Some("since"), Some("since")),
            ("today", json!({"since": "2026-11-23", "until": "2026-11-23"}), None, None),
            ("tomorrow, today in Kiribati", json!({"since": "2026-11-01", "until": "2026-11-24"}), None, Some("until")),
            ("future everywhere", json!({"since": "2026-11-01", "until": "2026-11-25"}), Some("until"), Some("until")),
            ("37 months", json!({"since": "2023-10-23", "until": "2026-11-01"}), None, None),
            ("a day more", json!({"since": "2023-10-22", "until": "2026-11-01"}), None, Some("since")),
            ("too old everywhere", json!({"since": "2023-10-21", "until": "2026-11-01"}), Some("since"), Some("since")),
        ];
        for (name, came, before, after) in cases {
            let args = args(came);
            let param = |error: ArgumentError| error.0.split(':').next().unwrap().to_owned();
            assert_eq!(Days::check(&args, now).err().map(param).as_deref(), before, "{name}, before");
            assert_eq!(Days::resolve(&args, today).err().map(param).as_deref(), after, "{name}, after");
        }
    }

    #[test]
    fn numbers_are_provisional_for_28_days() {
        let today = "2026-11-29".parse().unwrap();
        for (until, includes, provisional) in
            [("2026-11-29", true, true), ("2026-11-02", false, true), ("2026-11-01", false, false)]
        {
            let days = days("2026-10-01", until);
            assert_eq!((days.includes(today), days.is_provisional(today)), (includes, provisional), "{until}");
            assert_eq!(Days::of_window(Some(&days.to_window()), today).is_ok(), days.until <= today, "{until}");
        }
        let of = |since: &str, until: &str| Days::of_window(Some(&(since.to_owned(), until.to_owned())), today);
        assert_eq!(of("2026-10-01", "2026-10-02"), Ok(days("2026-10-01", "2026-10-02")));
        for (since, until) in
            [("1", "2"), ("2026-10-02", "2026-10-01"), ("2020-01-01", "2026-10-01"), ("2026-10-01", "2099-01-01")]
        {
            assert!(of(since, until).is_err(), "{since} to {until}");
        }
        assert!(Days::of_window(None, today).is_err());
    }
}
