//! The insights of accounts.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::business::{HISTORY_DAYS, Profile, day_of, los_angeles, overlapping, start_of};
use super::super::fields::Params;
use super::super::graph::Call;
use super::super::oauth::INSIGHTS;
use super::super::rules::Refusal;
use super::{Account, moment, stamp};

/// What Graph knows of an account metric (`data/ig_insights.json`).
struct Metric {
    name: &'static str,
    /// Empty when the account cannot have it, as all of Threads.
    periods: &'static [&'static str],
    series: bool,
    total: bool,
    breakdowns: &'static [&'static str],
    /// Silent below 100 followers.
    private: bool,
}

const DAY: &[&str] = &["day"];
pub(super) const LIFETIME: &[&str] = &["lifetime"];
const PEOPLE: &[&str] = &["age", "city", "country", "gender"];
const PRODUCT: &[&str] = &["media_product_type"];

const fn total(name: &'static str, breakdowns: &'static [&'static str]) -> Metric {
    Metric { name, periods: DAY, series: false, total: true, breakdowns, private: false }
}
const fn demographics(name: &'static str) -> Metric {
    Metric { periods: LIFETIME, private: true, ..total(name, PEOPLE) }
}
const fn series(name: &'static str, periods: &'static [&'static str]) -> Metric {
    Metric { periods, series: true, total: false, private: true, ..total(name, &[]) }
}
const fn threads(name: &'static str) -> Metric {
    Metric { periods: &[], ..total(name, &[]) }
}

/// In the order in which Graph lists them when it refuses a name.
const METRICS: &[Metric] = &[
    Metric {
        total: true,
        breakdowns: &["media_product_type", "follow_type"],
        private: false,
        ..series("reach", &["day", "week", "days_28"])
    },
    series("follower_count", DAY),
    total("website_clicks", &[]),
    total("profile_views", &[]),
    series("online_followers", LIFETIME),
    total("accounts_engaged", &[]),
    total("total_interactions", PRODUCT),
    total("likes", PRODUCT),
    total("comments", PRODUCT),
    total("shares", PRODUCT),
    total("saves", PRODUCT),
    total("replies", &[]),
    demographics("engaged_audience_demographics"),
    demographics("reached_audience_demographics"),
    demographics("follower_demographics"),
    Metric { private: true, ..total("follows_and_unfollows", &["follow_type"]) },
    total("profile_links_taps", &["contact_button_type"]),
    total("views", &["follow_type", "media_product_type"]),
    threads("threads_likes"),
    threads("threads_replies"),
    total("reposts", &[]),
    threads("quotes"),
    threads("threads_followers"),
    threads("threads_follower_demographics"),
    total("content_views", &[]),
    threads("threads_views"),
    threads("threads_clicks"),
    threads("threads_reposts"),
];

const PERIODS: &[&str] = &["day", "week", "days_28", "month", "lifetime", "total_over_range"];
const TIMEFRAMES: &[&str] = &["last_14_days", "last_30_days", "last_90_days", "prev_month", "this_month", "this_week"];
const BREAKDOWNS: &[&str] =
    &["media_product_type", "follow_type", "contact_button_type", "age", "city", "country", "gender"];
/// The widest window, 30 days in seconds.
const WIDEST: i64 = 2_592_000;
/// What reaches back 30 days only. Meta's wording is published for the first; that the second answers alike is a guess.
const RECENT: [&str; 2] = ["follower_count", "online_followers"];
/// Below this many followers some metrics are silent.
const ENOUGH: i64 = 100;

pub(super) fn account_insights(call: &Call<'_>, account: &Account<'_>, params: &Params) -> Result<Value, Refusal> {
    if !INSIGHTS.iter().any(|permission| call.token.may(permission)) {
        return Err(Refusal::permission());
    }
    if call.has("token_in_error") {
        return Err(Refusal::parameter(format!("Cannot read the insights with token {}", call.text)));
    }
    let asked = AskedInsights::read(call, params)?;
    let profile = account.profile;
    let today = day_of(call.now, &los_angeles());
    let too_small = call.sample.followers(profile, today) < ENOUGH;
    let rows = asked.metrics.iter().filter(|metric| !(metric.private && too_small));
    let rows: Vec<Value> = rows.filter_map(|metric| asked.row(call, account, metric)).collect();
    let mut answer = json!({ "data": rows });
    if !rows.is_empty() && asked.period != "lifetime" {
        // Shifted windows, always there: they never end.
        let path = format!("{}/insights", account.id);
        let width = asked.until - asked.since;
        let link = |since: i64| {
            let mut query = params.0.clone();
            query.retain(|(name, _)| !matches!(name.as_str(), "since" | "until"));
            query.push(("since".to_owned(), since.to_string()));
            query.push(("until".to_owned(), (since + width).to_string()));
            call.link(&path, &query)
        };
        answer["paging"] = json!({"previous": link(asked.since - width), "next": link(asked.until)});
    }
    Ok(answer)
}

/// The parameters of `/{ig}/insights`, checked; one misfit refuses the whole call.
struct AskedInsights {
    metrics: Vec<&'static Metric>,
    period: String,
    as_total: bool,
    breakdowns: Vec<String>,
    timeframe: Option<String>,
    /// Unix seconds.
    since: i64,
    until: i64,
    windowed: bool,
}

/// Whether a fault takes the metric from the account.
fn is_hidden(call: &Call<'_>, metric: &str) -> bool {
    match metric {
        "views" => call.has("views_refused"),
        "follower_count" | "follows_and_unfollows" => call.has("follows_refused"),
        _ => false,
    }
}

impl AskedInsights {
    fn read(call: &Call<'_>, params: &Params) -> Result<Self, Refusal> {
        let required = |name: &str| Refusal::parameter(format!("The parameter {name} is required"));
        let names = params.list("metric");
        if names.is_empty() {
            return Err(required("metric"));
        }
        let known: Vec<&Metric> = METRICS.iter().filter(|metric| !is_hidden(call, metric.name)).collect();
        let mut metrics = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let found = known.iter().find(|metric| metric.name == *name);
            let listed = || {
                let values: Vec<&str> = known.iter().map(|metric| metric.name).collect();
                Refusal::one_of(&format!("metric[{at}]"), &values)
            };
            metrics.push(*found.ok_or_else(listed)?);
        }
        let period = params.get("period").ok_or_else(|| required("period"))?;
        if !PERIODS.contains(&period) {
            return Err(Refusal::one_of("period", PERIODS));
        }
        if let Some(metric) = metrics.iter().find(|metric| metric.periods.is_empty()) {
            let name = metric.name;
            return Err(Refusal::parameter(format!("The metric ({name}) is not available for this account")));
        }
        let metric_type = params.get("metric_type");
        let as_total = match metric_type {
            None | Some("time_series") => false,
            Some("total_value") => true,
            Some(_) => return Err(Refusal::one_of("metric_type", &["time_series", "total_value"])),
        };
        let unfit: Vec<&str> = metrics
            .iter()
            .filter(|metric| if as_total { !metric.total } else { !metric.series })
            .map(|metric| metric.name)
            .collect();
        match (unfit.first(), metric_type) {
            (None, _) => {}
            (Some(_), None) => {
                let names = unfit.join(",");
                return Err(Refusal::parameter(format!(
                    "The following metrics ({names}) should be specified with parameter metric_type=total_value"
                )));
            }
            (Some(name), Some(given)) => {
                let message = format!("The following metric ({name}) is incompatible with the metric type ({given})");
                return Err(Refusal::parameter(message));
            }
        }
        if let Some(metric) = metrics.iter().find(|metric| !metric.periods.contains(&period)) {
            let name = metric.name; // nobody has published Meta's wording
            return Err(Refusal::parameter(format!(
                "The following metric ({name}) is incompatible with the period ({period})"
            )));
        }
        let asked = Self {
            breakdowns: params.list("breakdown"),
            timeframe: params.get("timeframe").map(str::to_owned),
            period: period.to_owned(),
            metrics,
            as_total,
            since: 0,
            until: 0,
            windowed: params.get("since").is_some() || params.get("until").is_some(),
        };
        asked.check_parts()?;
        asked.within_window(call, params)
    }

    /// Breakdowns and timeframes.
    fn check_parts(&self) -> Result<(), Refusal> {
        if self.breakdowns.iter().any(|name| !BREAKDOWNS.contains(&name.as_str())) {
            return Err(Refusal::one_of("breakdown", BREAKDOWNS));
        }
        for metric in &self.metrics {
            let people = metric.breakdowns == PEOPLE;
            let several = self.breakdowns.len() > 1 && !people;
            let fits = |name: &String| metric.breakdowns.contains(&name.as_str());
            if several || !self.breakdowns.iter().all(fits) || (!self.as_total && !self.breakdowns.is_empty()) {
                return Err(Refusal::new(1, "An unknown error has occurred.")); // documented without a status
            }
            if !people {
                continue;
            }
            let name = metric.name;
            let missing = |what: &str| Refusal::parameter(format!("The metric ({name}) requires the parameter {what}"));
            if self.breakdowns.is_empty() {
                return Err(missing("breakdown"));
            }
            let allowed = if name == "follower_demographics" { TIMEFRAMES } else { &TIMEFRAMES[4..] };
            match &self.timeframe {
                None if name == "follower_demographics" => {}
                None => return Err(missing("timeframe")),
                Some(timeframe) if allowed.contains(&timeframe.as_str()) => {}
                Some(_) => return Err(Refusal::one_of("timeframe", allowed)),
            }
        }
        Ok(())
    }

    /// Without a window the last 24 hours.
    fn within_window(mut self, call: &Call<'_>, params: &Params) -> Result<Self, Refusal> {
        let now = call.now.as_second();
        let since = params.get("since").map(moment).transpose()?;
        let until = params.get("until").map(moment).transpose()?;
        self.until = until.unwrap_or(now);
        self.since = since.unwrap_or(self.until - 86_400);
        if self.since > self.until {
            return Err(Refusal::parameter("since must not be after until"));
        }
        if self.until - self.since > WIDEST {
            return Err(Refusal::parameter("There cannot be more than 30 days (2592000 s) between since and until"));
        }
        let zone = los_angeles();
        let earliest = start_of(day_of(call.now, &zone) - 30, &zone).as_second();
        let recent: Vec<&str> =
            self.metrics.iter().map(|metric| metric.name).filter(|name| RECENT.contains(name)).collect();
        if self.since < earliest && !recent.is_empty() {
            let names = recent.join(",");
            return Err(Refusal::parameter(format!(
                "({names}) metric only supports querying data for the last 30 days excluding the current day"
            )));
        }
        Ok(self)
    }

    /// One metric's row; none when there is no data, which is never 0.
    fn row(&self, call: &Call<'_>, account: &Account<'_>, metric: &Metric) -> Option<Value> {
        let name = metric.name;
        let mut row = json!({"name": name, "period": self.period});
        let content = if metric.breakdowns == PEOPLE {
            ("total_value", self.people(call, account.profile, name)?)
        } else if name == "online_followers" {
            ("values", self.online(call, account.profile))
        } else if self.as_total {
            ("total_value", self.total(call, account.profile, name)?)
        } else {
            ("values", self.series(call, account.profile, name)?)
        };
        let title = |row: &mut Value| {
            row["title"] = title_of(name).into();
            row["description"] = format!("{} of the sample business.", title_of(name)).into();
        };
        // Meta puts the values of a series before the title, and totals after it.
        if content.0 == "values" {
            row["values"] = content.1;
            title(&mut row);
        } else {
            title(&mut row);
            row["total_value"] = content.1;
        }
        row["id"] = format!("{}/insights/{name}/{}", account.id, self.period).into();
        Some(row)
    }

    fn total(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let counted = |metric: &str| counted(call, profile, metric, self.since, self.until);
        let breakdown = self.breakdowns.first().map(String::as_str);
        if name == "follows_and_unfollows" {
            // Without the breakdown the row comes without a value.
            let parts = [("FOLLOWER", counted("follower_count")?), ("NON_FOLLOWER", counted("unfollows")?)];
            return Some(breakdown.map_or_else(|| json!({}), |key| json!({"breakdowns": [results(key, &parts)]})));
        }
        let value = counted(name)?;
        let weights: &[(&str, i64)] = match breakdown {
            None => return Some(json!({ "value": value })),
            Some("media_product_type") => {
                &[("AD", 30), ("CAROUSEL_CONTAINER", 210), ("POST", 160), ("REEL", 540), ("STORY", 60)]
            }
            Some("follow_type") => &[("FOLLOWER", 410), ("NON_FOLLOWER", 560), ("UNKNOWN", 30)],
            Some(_) => &[("CALL", 190), ("DIRECTION", 230), ("EMAIL", 380), ("UNDEFINED", 200)],
        };
        // Somebody reached by a reel and by a post is in both parts, so parts of reach sum to more than the whole.
        let scale = if name == "reach" { 115 } else { 100 };
        let parts = split(value, weights).map(|(key, part)| (key, (part * scale / 100).min(value)));
        let parts: Vec<(&str, i64)> = parts.filter(|(_, part)| *part > 0).collect();
        let key = breakdown.unwrap_or_default();
        Some(json!({"value": value, "breakdowns": [results(key, &parts)]}))
    }

    /// One value a day for the days that begin within the window; `end_time` is the midnight that ends the day.
    fn series(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let zone = los_angeles();
        let today = day_of(call.now, &zone);
        let newest = match name {
            "follower_count" if call.has("newest_day_late") => today - 2,
            "follower_count" => today - 1,
            _ => today,
        };
        let width = match self.period.as_str() {
            "week" => 7,
            "days_28" => 28,
            _ => 1,
        };
        let day_at = |second: i64| Timestamp::from_second(second).map_or(today, |at| day_of(at, &zone));
        let first = day_at(self.since).max(today - HISTORY_DAYS + width);
        let values: Vec<Value> = (first..=day_at(self.until).min(newest))
            .filter_map(|day| {
                let (start, end) = (start_of(day, &zone), start_of(day + 1, &zone));
                if !(self.since..self.until).contains(&start.as_second()) {
                    return None;
                }
                let from = start_of(day + 1 - width, &zone).as_second();
                let value = counted(call, profile, name, from, end.as_second())?;
                Some(json!({"value": value, "end_time": stamp(end)}))
            })
            .collect();
        (!values.is_empty()).then(|| values.into())
    }

    /// Followers online by hour; the newest days are not known yet and come as `{}`.
    fn online(&self, call: &Call<'_>, profile: &Profile) -> Value {
        let zone = los_angeles();
        let today = day_of(call.now, &zone);
        let day_at = |second: i64| Timestamp::from_second(second).map_or(today, |at| day_of(at, &zone));
        let asked = if self.windowed { (day_at(self.since), day_at(self.until)) } else { (today - 3, today) };
        let days = asked.0.max(today - 30)..asked.1.min(today);
        let values = days.map(|day| {
            let followers = call.sample.followers(profile, day);
            // Quiet nights in Europe are afternoons in Los Angeles.
            let hour = |hour: i64| {
                let lively = 60 + 40 * (12 - (hour - 10).rem_euclid(24)).abs() / 12;
                let online =
                    followers * lively / 500 * call.sample.between(90, 110, &format!("online/{hour}"), day) / 100;
                (hour.to_string(), Value::from(online))
            };
            let hours: Map<String, Value> = if day > today - 3 { Map::new() } else { (0..24).map(hour).collect() };
            json!({"value": hours, "end_time": stamp(start_of(day + 1, &zone))})
        });
        values.collect()
    }

    fn people(&self, call: &Call<'_>, profile: &Profile, name: &str) -> Option<Value> {
        let (whole, month) = match name {
            "follower_demographics" => {
                (call.sample.followers(profile, day_of(call.now, &los_angeles())) * 97 / 100, true)
            }
            "engaged_audience_demographics" => (0, self.timeframe.as_deref() == Some("this_month")),
            _ => (0, true),
        };
        let whole = if whole > 0 {
            whole
        } else {
            let days = if month { 28 } else { 7 };
            let metric = if name.starts_with("engaged") { "accounts_engaged" } else { "reach" };
            let now = call.now.as_second();
            counted(call, profile, metric, now - days * 86_400, now)?
        };
        if whole < ENOUGH {
            return None;
        }
        let mut rows: Vec<(Vec<String>, i64)> = vec![(Vec::new(), whole)];
        for breakdown in &self.breakdowns {
            let divided = rows.into_iter().flat_map(|(keys, value)| {
                split(value, segments(breakdown)).map(move |(key, part)| {
                    let keys: Vec<String> = keys.iter().cloned().chain([key.to_owned()]).collect();
                    (keys, part)
                })
            });
            rows = divided.filter(|(_, part)| *part > 0).collect();
        }
        rows.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
        rows.truncate(45); // Meta gives the top 45
        let timeframe = self.timeframe.iter().map(|name| name.to_uppercase());
        let results: Vec<Value> = rows
            .into_iter()
            .map(|(keys, value)| {
                let keys: Vec<String> = timeframe.clone().chain(keys).collect();
                json!({"dimension_values": keys, "value": value})
            })
            .collect();
        let prefix = self.timeframe.iter().map(|_| "timeframe".to_owned());
        let keys: Vec<String> = prefix.chain(self.breakdowns.iter().cloned()).collect();
        Some(json!({"breakdowns": [{"dimension_keys": keys, "results": results}]}))
    }
}

/// What a metric counted between two moments, days at the edge by their share; `None` without history.
fn counted(call: &Call<'_>, profile: &Profile, metric: &str, since: i64, until: i64) -> Option<i64> {
    let zone = los_angeles();
    let today = day_of(call.now, &zone);
    let oldest = start_of(today - HISTORY_DAYS, &zone).as_second();
    let (since, until) = (since.max(oldest), until.min(call.now.as_second()));
    if since >= until {
        return None;
    }
    let first = day_of(Timestamp::from_second(since).ok()?, &zone);
    let parts = (first..=today).map(|day| {
        let (start, end) = (start_of(day, &zone).as_second(), start_of(day + 1, &zone).as_second());
        let seconds = (end.min(until) - start.max(since)).max(0);
        call.sample.daily(profile, metric, day) * seconds / (end - start).max(1)
    });
    let parts: Vec<i64> = parts.collect();
    let sum = parts.iter().sum();
    let additive = !matches!(metric, "reach" | "accounts_engaged");
    Some(if additive { sum } else { overlapping(sum, parts.into_iter().max().unwrap_or_default()) })
}

pub(super) fn results(key: &str, parts: &[(&str, i64)]) -> Value {
    let rows = parts.iter().map(|(name, value)| json!({"dimension_values": [name], "value": value}));
    json!({"dimension_keys": [key], "results": rows.collect::<Vec<_>>()})
}

/// Divides a count by weights in thousandths; the parts sum to no more than the whole.
pub(super) fn split<'a>(
    value: i64,
    weights: &'a [(&'static str, i64)],
) -> impl Iterator<Item = (&'static str, i64)> + use<'a> {
    let mut below = 0;
    weights.iter().map(move |(key, weight)| {
        let part = value * (below + weight) / 1000 - value * below / 1000;
        below += weight;
        (*key, part)
    })
}

/// Who the audience is, in thousandths.
#[rustfmt::skip]
fn segments(breakdown: &str) -> &'static [(&'static str, i64)] {
    match breakdown {
        "age" => {
            &[("13-17", 14), ("18-24", 168), ("25-34", 391), ("35-44", 237), ("45-54", 118), ("55-64", 51), ("65+", 21)]
        }
        "gender" => &[("F", 642), ("M", 281), ("U", 77)],
        "country" => &[
            ("DE", 548), ("AT", 88), ("CH", 71), ("FR", 46), ("NL", 39), ("US", 37), ("GB", 33), ("PL", 26),
            ("IT", 21), ("JP", 18), ("ES", 12), ("BE", 9),
        ],
        _ => &[
            ("Leipzig, Saxony", 131), ("Berlin, Berlin", 104), ("Hamburg, Hamburg", 52), ("Vienna, Vienna", 41),
            ("Munich, Bavaria", 38), ("Dresden, Saxony", 33), ("Z\u{fc}rich, Canton of Z\u{fc}rich", 24),
            ("Lyon, Auvergne-Rh\u{f4}ne-Alpes", 9),
        ],
    }
}

pub(super) fn title_of(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
