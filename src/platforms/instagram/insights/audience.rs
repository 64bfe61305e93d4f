//! Who follows and engages, and when followers are online.

use futures_util::future::{BoxFuture, try_join_all};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::super::window::{Slice, Window, day_of, last_complete_day, month_ago, start, zone};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::{Call, Told};
use super::{DATE, PROVISIONAL, SINCE_COLUMN, UNTIL_COLUMN};
use crate::credential::AccountKind;
use crate::tool::money::{number, rate, round};
use crate::tool::{Answer, ArgumentError, Ask, Column, Done, Param, ParamKind, Tool, ToolError};

/// Our words for audiences, Meta's metrics, and whether they are of a timeframe.
const AUDIENCES: [(&str, &str, bool); 3] = [
    ("followers", "follower_demographics", false),
    ("engaged", "engaged_audience_demographics", true),
    ("reached", "reached_audience_demographics", true),
];

/// Our words for divisions of people, and Meta's breakdowns.
const BY: [(&str, &str, &[&str]); 5] = [
    ("age", "age", &["age"]),
    ("gender", "gender", &["gender"]),
    ("country", "country", &["country"]),
    ("city", "city", &["city"]),
    ("age_gender", "age,gender", &["age", "gender"]),
];

/// Meta gives no more rows of a division.
const ROWS_MAX: usize = 45;

const ENDED: &str = "Meta ended it in August 2024; use this_month";

pub const GET_AUDIENCE_DEMOGRAPHICS: Tool = Tool::read("get_audience_demographics", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "Who follows, engages or is reached: age, gender, country, city, the top 45 of each. Shares are of the \
         people that Meta can tell. Needs 100 followers or engagements. Not for growth: use get_follower_growth.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new("audience", ParamKind::Word(&["followers", "engaged", "reached"]), "Whose people.", "\"engaged\"")
            .or("followers"),
        Param::new(
            "by",
            ParamKind::List(&ParamKind::Word(&["age", "gender", "country", "city", "age_gender"]), 5),
            "One Graph call each.",
            "[\"country\"]",
        )
        .or("age,gender,country,city"),
        Param::new("timeframe", ParamKind::Word(&["this_week", "this_month"]), "Not of followers.", "\"this_week\"")
            .or("this_month")
            .hints(&[("last_14_days", ENDED), ("last_30_days", ENDED), ("last_90_days", ENDED), ("prev_month", ENDED)]),
    ])
    .example(r#"{"audience":"followers","by":["country","age_gender"]}"#)
    .list(
        "segments",
        &[
            Column::text("by").made(),
            Column::text("key").made().about("as 25-34, F, DE or Leipzig, Saxony"),
            Column::text("key2").made().about("the gender of age_gender: F, M or U"),
            Column::count("value").made().about("people"),
            Column::percent("share_pct").made().about("share of the sum of the rows of this by"),
        ],
        &[Column::text("audience").made(), Column::text("timeframe").made().about("null for followers"), NOTE],
    )
    .run(get_audience_demographics);

fn get_audience_demographics(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let wanted = ask.args.text("audience").unwrap_or_default();
        let audience = AUDIENCES.iter().find(|(word, ..)| *word == wanted);
        let &(audience, metric, timed) =
            audience.ok_or_else(|| ArgumentError::of("audience", "there is no such one"))?;
        let timeframe = match ask.args.text("timeframe").filter(|_| timed) {
            Some("this_week") => Some("this_week"),
            Some(_) => Some("this_month"),
            None => None,
        };
        let asked = ask.args.list("by");
        let divisions: Vec<_> = BY.iter().filter(|(word, ..)| asked.contains(word)).collect();
        match divisions.len() {
            0 => return Err(ArgumentError::of("by", "name at least one").into()),
            1 => {}
            _ => ask.check_limit()?,
        }
        let calls = divisions.iter().map(|(_, breakdown, _)| {
            let call = Call::lifetime(metric, None).with("metric_type", "total_value").with("breakdown", breakdown);
            let call = timeframe.into_iter().fold(call, |call, timeframe| call.with("timeframe", timeframe));
            call.ask(&ask)
        });
        let mut told = Told::default();
        let mut rows = Vec::new();
        let mut silent = Vec::new();
        for ((word, _, dimensions), mut answered) in divisions.iter().zip(try_join_all(calls).await?) {
            let is_told = answered.told.explains(metric);
            told.join(std::mem::take(&mut answered.told));
            let parts = answered.parts(metric, dimensions);
            if parts.is_empty() && is_told {
                told.note(format!("there is nothing by {word}"));
            } else if parts.is_empty() {
                silent.push(*word);
            } else if parts.len() >= ROWS_MAX {
                told.note(format!("Meta gives the top {ROWS_MAX} of {word} only"));
            }
            rows.extend(segments(word, parts));
        }
        let note = told.text(&ask, &silent).await?;
        let beside = json!({ "audience": audience, "timeframe": timeframe, "note": note });
        Ok(Answer::List { rows, beside, next: None }.into())
    })
}

/// Rows of one division, largest first.
fn segments(by: &str, mut parts: Vec<(Vec<String>, i64)>) -> Vec<Value> {
    parts.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
    let all: Decimal = parts.iter().map(|(_, value)| Decimal::from(*value)).sum();
    let row = |(keys, value): (Vec<String>, i64)| {
        let share = rate(Some(Decimal::from(value)), Some(all));
        json!({
            "by": by, "key": keys.first(), "key2": keys.get(1), "value": value,
            "share_pct": share.map_or(Value::Null, number),
        })
    };
    parts.into_iter().map(row).collect()
}

/// The newest days are empty or an error.
const NEWEST_DAYS: i64 = 2;
const ONLINE: &str = "online_followers";

pub const GET_ONLINE_FOLLOWERS: Tool = Tool::read("get_online_followers", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "In which hours followers are online, 24 rows, averaged over days. For when posts do best: \
         get_best_time_to_post. Meta lacks the last two days; needs 100 followers.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new("days", ParamKind::Int(1, 30), "Days to average.", "14").or("7"),
        Param::new("timezone", ParamKind::Zone, "IANA name.", "\"Europe/Berlin\"").or("UTC"),
    ])
    .example(r#"{"days":7,"timezone":"Europe/Berlin"}"#)
    .list(
        "hours",
        &[
            Column::count("hour").made().about("0 to 23, in the time zone"),
            Column::ratio("average").made().about("followers online in that hour, on average; one decimal"),
        ],
        &[
            Column::text("timezone").made(),
            Column::count("days_counted").made().about("days that Meta has numbers of"),
            DATE,
            SINCE_COLUMN,
            UNTIL_COLUMN,
            PROVISIONAL,
            NOTE,
        ],
    )
    .run(get_online_followers);

fn get_online_followers(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let word = ask.args.text("timezone").unwrap_or("UTC").to_owned();
        let there = TimeZone::get(&word).map_err(|_| ArgumentError::of("timezone", "there is no such time zone"))?;
        let Online { slice, days, told } = Online::ask(&ask, ask.args.int("days").unwrap_or(7)).await?;
        let averages = averages(&days, &there);
        let row = |(hour, average): (usize, &Option<Decimal>)| {
            let average = average.map(|average| round(average, 1));
            json!({ "hour": hour, "average": average.map_or(Value::Null, number) })
        };
        let rows = averages.iter().enumerate().map(row).collect();
        let silent: &[&str] = match averages.iter().all(Option::is_none) && !told.explains(ONLINE) {
            true => &[ONLINE],
            false => &[],
        };
        let note = told.text(&ask, silent).await?;
        let mut beside = Map::from_iter([
            ("timezone".to_owned(), Value::from(word)),
            ("days_counted".to_owned(), days.len().into()),
            ("note".to_owned(), note.into()),
        ]);
        Window::cut(slice, None).tell(&mut beside, ask.clock.now());
        Ok(Answer::List { rows, beside: beside.into(), next: None }.into())
    })
}

/// Followers online by day.
struct Online {
    slice: Slice,
    /// The first midnight of each day that Meta has numbers of, and followers by hour.
    days: Vec<(Timestamp, Value)>,
    told: Told,
}

impl Online {
    async fn ask(ask: &Ask, days: i64) -> Result<Self, ToolError> {
        let slice = online_window(ask.clock.now(), days)?;
        let mut online = Self { slice, days: Vec::new(), told: Told::default() };
        // A window of 30 days that holds the end of summer time takes two.
        let slices = slice.by_midnights();
        if slices.len() > 1 {
            ask.check_limit()?;
        }
        for slice in slices {
            let mut answered = Call::lifetime(ONLINE, Some(slice)).ask(ask).await?;
            online.told.join(std::mem::take(&mut answered.told));
            let filled = answered.days().filter(|(.., hours)| hours.as_object().is_some_and(|hours| !hours.is_empty()));
            online.days.extend(filled.map(|(_, day, hours)| (start(day), hours.clone())));
        }
        Ok(online)
    }
}

/// Followers online in each hour of `there`, on average over so many days, and what is to be said beside them.
///
/// # Errors
/// As [`Call::ask`].
pub async fn online_by_hour(
    ask: &Ask,
    days: i64,
    there: &TimeZone,
) -> Result<([Option<Decimal>; 24], Option<String>), ToolError> {
    let online = Online::ask(ask, days).await?;
    Ok((averages(&online.days, there), online.told.text(ask, &[]).await?))
}

/// So many days without the newest, as far as Meta goes back.
fn online_window(now: Timestamp, days: i64) -> Result<Slice, ArgumentError> {
    let last = (0..NEWEST_DAYS).try_fold(last_complete_day(now), |day, _| day.yesterday());
    let last = last.map_err(|_| ArgumentError::of("days", "too far back"))?;
    let slice = Slice::ending_with(last, days)?;
    Ok(slice.clipped(month_ago(now)).unwrap_or(slice))
}

/// The mean of each hour in `there`. Meta's hours are taken as Los Angeles hours, as its days are, which it does
/// not say; half hours are floored.
fn averages(days: &[(Timestamp, Value)], there: &TimeZone) -> [Option<Decimal>; 24] {
    let mut hours = [(Decimal::ZERO, 0u32); 24];
    for (midnight, online) in days {
        let day = day_of(*midnight);
        for (hour, count) in online.as_object().into_iter().flatten() {
            let Some(hour) = hour.parse::<i8>().ok().filter(|hour| (0..24).contains(hour)) else { continue };
            let Some(count) = count.as_i64() else { continue };
            let Ok(at) = zone().to_timestamp(day.at(hour, 0, 0, 0)) else { continue };
            let local = usize::try_from(there.to_datetime(at).hour()).unwrap_or_default();
            if let Some((sum, times)) = hours.get_mut(local) {
                *sum += Decimal::from(count);
                *times += 1;
            }
        }
    }
    hours.map(|(sum, times)| sum.checked_div(times.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_hours_become_hours_of_the_zone() {
        let day = |day: &str| start(day.parse().unwrap());
        let days =
            [(day("2026-11-19"), json!({"0": 10, "15": 4})), (day("2026-11-18"), json!({"0": 15, "x": 3, "99": 1}))];
        for (zone, first, second) in [("UTC", 8, 23), ("Europe/Berlin", 9, 0), ("Asia/Kolkata", 13, 4)] {
            let found = averages(&days, &TimeZone::get(zone).unwrap());
            let mut wanted = [None; 24];
            (wanted[first], wanted[second]) = (Some(Decimal::new(125, 1)), Some(Decimal::from(4)));
            assert_eq!(found, wanted, "{zone}");
        }
        let summer = averages(&[(day("2026-10-31"), json!({"0": 1}))], &TimeZone::UTC);
        assert_eq!(summer.iter().position(Option::is_some), Some(7));
        // The clock is put back at two: the hour of 15 is 16 hours after midnight.
        let back = averages(&[(day("2026-11-01"), json!({"15": 1}))], &TimeZone::UTC);
        assert_eq!(back.iter().position(Option::is_some), Some(23));
    }

    #[test]
    fn the_newest_days_are_not_asked_for() {
        let window = |days| online_window("2026-11-23T12:00:00Z".parse().unwrap(), days).unwrap();
        let days = |slice: Slice| slice.days().map(|day| day.to_string()).collect::<Vec<_>>();
        assert_eq!(days(window(2)), ["2026-11-19", "2026-11-20"]);
        let all = days(window(30));
        assert_eq!((all.len(), all[0].as_str()), (28, "2026-10-24"), "Meta keeps 30 days");
    }

    #[test]
    fn shares_are_of_the_rows_that_came() {
        let parts = [("DE", 2), ("AT", 1), ("CH", 3)].map(|(key, value)| (vec![key.to_owned()], value));
        let rows = segments("country", parts.to_vec());
        assert_eq!(rows[0], json!({"by": "country", "key": "CH", "key2": null, "value": 3, "share_pct": 50}));
        assert_eq!(rows[2]["share_pct"], 16.67);
    }
}
