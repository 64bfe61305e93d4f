//! What Graph's usage headers say about an account: how near the limits are, and how long to wait.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// How long a reading counts: limits are counted over a rolling hour, and with nothing called, usage falls. A reading
/// that counted for ever could stop the very calls that would replace it.
const FRESH: Duration = Duration::from_secs(600);

/// Accounts remembered at once; of more, the one heard of least recently goes.
const MAX_ACCOUNTS: usize = 1024;

/// Readings remembered for one account. Meta names up to 32 objects in a header.
const MAX_READINGS: usize = 64;

/// How much of Meta's limits one client has used.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The highest of all percentages; at 100 calls fail.
    pub highest_pct: f64,
    /// Until Meta expects to answer again; `None` while not limited.
    pub regain: Option<Duration>,
}

#[derive(Debug)]
struct Reading {
    pct: f64,
    regain: Option<Duration>,
    at: Timestamp,
}

impl Reading {
    fn age(&self, now: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(now.as_millisecond() - self.at.as_millisecond()).unwrap_or(0))
    }

    fn regain_left(&self, now: Timestamp) -> Option<Duration> {
        self.regain?.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }

    fn counts(&self, now: Timestamp) -> bool {
        self.age(now) < FRESH || self.regain_left(now).is_some()
    }
}

/// The newest reading of each limit of each account.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<String, HashMap<String, Reading>>);

impl Book {
    /// Notes what the headers of an answer say of `account`. Headers that are not as documented are passed over.
    pub(super) fn note(&mut self, account: &str, headers: &HeaderMap, now: Timestamp) {
        let news = read(headers, now);
        if news.is_empty() {
            return;
        }
        if !self.0.contains_key(account) && self.0.len() >= MAX_ACCOUNTS {
            let newest = |readings: &HashMap<String, Reading>| readings.values().map(|reading| reading.at).max();
            let oldest = self.0.iter().min_by_key(|(_, readings)| newest(readings)).map(|(account, _)| account.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let readings = self.0.entry(account.to_owned()).or_default();
        readings.retain(|_, reading| reading.counts(now));
        for (limit, reading) in news {
            if readings.len() < MAX_READINGS || readings.contains_key(&limit) {
                readings.insert(limit, reading);
            }
        }
    }

    /// What is known of `account`; `None` before its first reading and once all of them are old.
    pub(super) fn usage(&self, account: &str, now: Timestamp) -> Option<Usage> {
        let readings: Vec<_> = self.0.get(account)?.values().filter(|reading| reading.counts(now)).collect();
        (!readings.is_empty()).then(|| Usage {
            highest_pct: readings.iter().map(|reading| reading.pct).fold(0.0, f64::max),
            regain: readings.iter().filter_map(|reading| reading.regain_left(now)).max(),
        })
    }
}

/// Meta, rate limiting page, 2026. `HeaderMap` takes names in any letter case.
fn read(headers: &HeaderMap, now: Timestamp) -> Vec<(String, Reading)> {
    let mut readings = Vec::new();
    let mut add = |limit: String, value: &Value, pcts: &[&str], regain: fn(&Value) -> Option<Duration>| {
        let pcts = pcts.iter().filter_map(|name| value.get(name)?.as_f64()).filter(|pct| *pct >= 0.0);
        if let Some(pct) = pcts.reduce(f64::max) {
            let regain = regain(value).filter(|regain| !regain.is_zero());
            readings.push((limit, Reading { pct, regain, at: now }));
        }
    };
    const TIMES: &[&str] = &["call_count", "total_cputime", "total_time"];
    for value in json(headers, "x-app-usage") {
        add("app".to_owned(), &value, TIMES, |_| None);
    }
    for value in json(headers, "x-business-use-case-usage") {
        for (object, limits) in value.as_object().into_iter().flatten() {
            for limit in limits.as_array().into_iter().flatten() {
                let case = limit.get("type").and_then(Value::as_str).unwrap_or_default();
                add(format!("{object:.40}/{case:.40}"), limit, TIMES, |limit| {
                    let minutes = limit.get("estimated_time_to_regain_access")?.as_u64()?;
                    Some(Duration::from_secs(minutes.saturating_mul(60)))
                });
            }
        }
    }
    for value in json(headers, "x-ad-account-usage") {
        add("ad_account".to_owned(), &value, &["acc_id_util_pct"], |value| {
            // This one counts seconds, and does so below the limit too, where nobody needs to wait.
            let limited = value.get("acc_id_util_pct")?.as_f64()? >= 100.0;
            limited.then_some(Duration::from_secs(value.get("reset_time_duration")?.as_u64()?))
        });
    }
    for value in json(headers, "x-fb-ads-insights-throttle") {
        add("ads_insights".to_owned(), &value, &["app_id_util_pct", "acc_id_util_pct"], |_| None);
    }
    readings
}

fn json(headers: &HeaderMap, name: &'static str) -> impl Iterator<Item = Value> {
    headers.get_all(name).into_iter().filter_map(move |text| {
        let value = serde_json::from_slice(text.as_bytes());
        value.inspect_err(|_| tracing::debug!(header = name, "usage header is not JSON")).ok()
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn usage_after(list: &[(&str, &str)]) -> Option<Usage> {
        let mut book = Book::default();
        book.note("clienta", &headers(list), at(0));
        book.usage("clienta", at(0))
    }

    #[test]
    fn each_header_is_read_in_its_own_unit() {
        let business = r#"{"17":[{"type":"ads_insights","call_count":95,"total_cputime":20,"total_time":20,
            "estimated_time_to_regain_access":2,"ads_api_access_tier":"standard_access"},{"type":"instagram","call_count":3}]}"#;
        let business = business.replace('\n', "");
        type Case<'a> = (&'a str, &'a str, f64, Option<u64>);
        let cases: &[Case<'_>] = &[
            ("X-App-Usage", r#"{"call_count":28,"total_cputime":25,"total_time":29}"#, 29.0, None),
            ("x-business-use-case-usage", &business, 95.0, Some(120)),
            ("X-Ad-Account-Usage", r#"{"acc_id_util_pct":9.67,"reset_time_duration":100}"#, 9.67, None),
            ("x-ad-account-usage", r#"{"acc_id_util_pct":100,"reset_time_duration":90}"#, 100.0, Some(90)),
            ("X-FB-Ads-Insights-Throttle", r#"{"app_id_util_pct":100,"acc_id_util_pct":10}"#, 100.0, None),
        ];
        for (name, value, pct, regain) in cases {
            let usage = usage_after(&[(name, value)]).unwrap();
            assert_eq!(usage.highest_pct, *pct, "{name}");
            assert_eq!(usage.regain, regain.map(Duration::from_secs), "{name}");
        }
    }

    #[test]
    fn malformed_headers_are_passed_over() {
        for value in
            ["", "{", "[]", "7", r#"{"17":{}}"#, r#"{"17":[7]}"#, r#"{"call_count":"x"}"#, r#"{"call_count":-1}"#]
        {
            for name in ["x-app-usage", "x-business-use-case-usage", "x-ad-account-usage", "x-fb-ads-insights-throttle"]
            {
                assert_eq!(usage_after(&[(name, value)]), None, "{name}: {value}");
            }
        }
    }

    #[test]
    fn readings_are_replaced_and_grow_old() {
        let mut book = Book::default();
        let wait = r#"{"1":[{"type":"instagram","call_count":100,"estimated_time_to_regain_access":20}]}"#;
        book.note(
            "a",
            &headers(&[("x-business-use-case-usage", wait), ("x-app-usage", r#"{"call_count":99}"#)]),
            at(0),
        );
        book.note("a", &headers(&[("x-app-usage", r#"{"call_count":4}"#)]), at(60));
        let usage = book.usage("a", at(60)).unwrap();
        assert_eq!((usage.highest_pct, usage.regain), (100.0, Some(Duration::from_secs(1140))));
        assert_eq!(book.usage("a", at(1199)).unwrap().highest_pct, 100.0);
        assert_eq!(book.usage("a", at(1200)), None);
        assert_eq!(book.usage("b", at(0)), None);
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::default();
        for n in 0..=MAX_ACCOUNTS {
            let news = headers(&[("x-app-usage", r#"{"call_count":1}"#)]);
            book.note(&format!("c{n}"), &news, at(i64::try_from(n).unwrap() % 500));
        }
        assert_eq!(book.0.len(), MAX_ACCOUNTS);
        let many: Vec<_> = (0..100).map(|n| format!(r#""{n}":[{{"type":"pages","call_count":1}}]"#)).collect();
        book.note("x", &headers(&[("x-business-use-case-usage", &format!("{{{}}}", many.join(",")))]), at(0));
        assert_eq!(book.0["x"].len(), MAX_READINGS);
    }
}
