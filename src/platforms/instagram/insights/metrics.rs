//! Which metrics an account has and how Meta gives each (`instagram-user/insights`, 2026-09-11), as data.

/// How Meta gives a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With others in one call, `metric_type=total_value`.
    Total,
    /// As [`From::Total`], and as a series of days too.
    TotalOrSeries,
    /// As a series of days only, which is added up.
    Series,
    /// Under a key of a metric's breakdown: metric, breakdown, key.
    Part(&'static str, &'static str, &'static str),
}

/// A name that may be asked for, the metric that it is served from, and how that is had.
#[derive(Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The successor, where Meta removed the name.
    pub now: Option<&'static str>,
    /// How it is had.
    pub from: From,
}

const fn metric(name: &'static str, from: From) -> Metric {
    Metric { name, now: None, from }
}

const fn renamed(name: &'static str, now: &'static str) -> Metric {
    Metric { name, now: Some(now), from: From::Total }
}

const fn button(name: &'static str, key: &'static str) -> Metric {
    let from = From::Part("profile_links_taps", "contact_button_type", key);
    Metric { name, now: Some("profile_links_taps"), from }
}

const fn follows(name: &'static str, key: &'static str) -> Metric {
    metric(name, From::Part(FOLLOWS, "follow_type", key))
}

/// Follows and unfollows, which have numbers by [`Metric`]s' breakdown only.
pub const FOLLOWS: &str = "follows_and_unfollows";
/// New followers a day.
pub const FOLLOWER_COUNT: &str = "follower_count";

/// All of them.
pub const METRICS: &[Metric] = &[
    metric("views", From::Total),
    metric("reach", From::TotalOrSeries),
    metric("profile_views", From::Total),
    metric("accounts_engaged", From::Total),
    metric("total_interactions", From::Total),
    metric("likes", From::Total),
    metric("comments", From::Total),
    metric("saves", From::Total),
    metric("shares", From::Total),
    metric("replies", From::Total),
    metric("reposts", From::Total),
    metric("website_clicks", From::Total),
    metric("profile_links_taps", From::Total),
    metric(FOLLOWER_COUNT, From::Series),
    follows("follows", "FOLLOWER"),
    follows("unfollows", "NON_FOLLOWER"),
    renamed("impressions", "views"),
    renamed("plays", "views"),
    renamed("video_views", "views"),
    renamed("engagement", "total_interactions"),
    renamed("saved", "saves"),
    button("email_contacts", "EMAIL"),
    button("phone_call_clicks", "CALL"),
    button("text_message_clicks", "TEXT"),
    button("get_directions_clicks", "DIRECTION"),
];

/// The names of [`METRICS`], for schemas.
pub const NAMES: &[&str] = &{
    let mut names = [""; METRICS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = METRICS[at].name;
        at += 1;
    }
    names
};

/// Metrics that are not of this kind, and where they are.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("audience_gender_age", TO_AUDIENCE),
    ("audience_country", TO_AUDIENCE),
    ("audience_city", TO_AUDIENCE),
    ("audience_locale", "Meta removed it without successor; get_audience_demographics has countries and cities"),
    ("follower_demographics", TO_AUDIENCE),
    ("engaged_audience_demographics", TO_AUDIENCE),
    ("reached_audience_demographics", TO_AUDIENCE),
    ("online_followers", "use get_online_followers"),
    (FOLLOWS, "ask for follows and unfollows"),
    ("followers_count", "get_profile has it; follower_count is the new followers of the window"),
];

const TO_AUDIENCE: &str = "use get_audience_demographics";

/// What cannot be added up over windows: people are counted once in each.
const NOT_ADDITIVE: [&str; 2] = ["reach", "accounts_engaged"];
/// What reaches back 30 days only, today not counted.
pub const MONTH_ONLY: [&str; 2] = [FOLLOWER_COUNT, "online_followers"];

impl Metric {
    /// The metric of that name, old or new.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// The name under which Meta counts it now.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.now.unwrap_or(self.name)
    }

    /// What is asked of Meta for it.
    #[must_use]
    pub fn asked(&self) -> &'static str {
        match self.from {
            From::Part(metric, ..) => metric,
            _ => self.source(),
        }
    }

    /// Whether windows of it can be added up.
    #[must_use]
    pub fn is_additive(&self) -> bool {
        !NOT_ADDITIVE.contains(&self.source())
    }

    /// What is to be said where its name is an old one.
    #[must_use]
    pub fn renamed(&self) -> Option<String> {
        self.now.map(|now| format!("Meta removed {}; this is {now}, its successor", self.name))
    }
}

/// Whether a member of a row is one of metrics: its number, its source, or the last 30 days of it.
#[must_use]
pub fn is_member(name: &str) -> bool {
    let bare = name.strip_suffix("_source").or_else(|| name.strip_suffix("_last_30_days")).unwrap_or(name);
    NAMES.contains(&bare)
}

/// A way to divide metrics: our word, Meta's breakdown, the metrics that have it, and our words for Meta's keys.
pub struct Division {
    /// Our word.
    pub name: &'static str,
    /// Meta's.
    pub breakdown: &'static str,
    /// The metrics that can be divided so; the first is the default.
    pub metrics: &'static [&'static str],
    keys: &'static [(&'static str, &'static str)],
}

/// All of them. Meta's page says `follower_type` for views, which its API refuses.
pub const DIVISIONS: &[Division] = &[
    Division {
        name: "format",
        breakdown: "media_product_type",
        metrics: &["views", "reach", "total_interactions", "likes", "comments", "saves", "shares"],
        keys: &[("FEED", "POST"), ("CAROUSEL_CONTAINER", "CAROUSEL"), ("REELS", "REEL")],
    },
    Division { name: "follow_type", breakdown: "follow_type", metrics: &["views", "reach"], keys: &[] },
    Division { name: "button", breakdown: "contact_button_type", metrics: &["profile_links_taps"], keys: &[] },
];

impl Division {
    /// Our word for Meta's key.
    #[must_use]
    pub fn key<'a>(&self, key: &'a str) -> &'a str {
        self.keys.iter().find(|(theirs, _)| *theirs == key).map_or(key, |(_, ours)| ours)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_metric_fits_metas_table() {
        let Ok(table) = crate::tool::shared_file("graph-api/data/ig_insights.json") else { return };
        let table: Value = serde_json::from_str(&table).unwrap();
        let has = |name: &str, list: &str, word: &str| {
            let words = table["account"][name][list].as_array().unwrap_or_else(|| panic!("{list} of {name}"));
            assert!(words.contains(&word.into()), "{name}: {word} among {list}");
        };
        for metric in METRICS {
            let name = metric.asked();
            has(name, "periods", "day");
            match metric.from {
                From::Total => has(name, "metric_types", "total_value"),
                From::Series => has(name, "metric_types", "time_series"),
                From::TotalOrSeries => {
                    has(name, "metric_types", "total_value");
                    has(name, "metric_types", "time_series");
                }
                From::Part(_, breakdown, _) => has(name, "breakdowns", breakdown),
            }
        }
        for division in DIVISIONS {
            division.metrics.iter().for_each(|name| has(name, "breakdowns", division.breakdown));
        }
    }

    #[test]
    fn no_metric_is_both_here_and_elsewhere() {
        assert!(ELSEWHERE.iter().all(|(name, _)| !NAMES.contains(name)));
    }
}
