//! A metric by its parts.

use futures_util::future::BoxFuture;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::super::window::{Length, Slice, Window};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::{Answered, Call, Told};
use super::metrics::{DIVISIONS, Division, Metric};
use super::totals::{PERIOD, PERIODS};
use super::{DATE, DAYS_AGO, PROVISIONAL, SINCE, SINCE_COLUMN, UNTIL, UNTIL_COLUMN, add_up};
use crate::credential::AccountKind;
use crate::tool::money::{number, rate};
use crate::tool::{Answer, ArgumentError, Ask, Column, Done, Param, ParamKind, Tool, ToolError};

pub const GET_ACCOUNT_INSIGHTS_BREAKDOWN: Tool = Tool::read("get_account_insights_breakdown", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "One account metric by post format, by followers and others, or by contact button. Use it to see where \
         views or reach come from. Parts of reach do not add up. Not for who people are: \
         get_audience_demographics.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new(
            "metric",
            ParamKind::Word(&[
                "views",
                "reach",
                "total_interactions",
                "likes",
                "comments",
                "saves",
                "shares",
                "profile_links_taps",
                "impressions",
                "plays",
                "video_views",
                "engagement",
                "saved",
            ]),
            "Default views; of button profile_links_taps.",
            "\"reach\"",
        ),
        Param::new(
            "by",
            ParamKind::Word(&["format", "follow_type", "button"]),
            "Default format; follow_type for views and reach.",
            "\"follow_type\"",
        ),
        PERIOD,
        SINCE,
        UNTIL,
        DAYS_AGO,
    ])
    .example(r#"{"metric":"views","by":"format","period":"week"}"#)
    .list(
        "parts",
        &[
            Column::text("key").made().about(
                "by format POST, CAROUSEL, REEL, STORY or AD; by follow_type FOLLOWER, NON_FOLLOWER or UNKNOWN; by \
                 button Meta's word, as EMAIL",
            ),
            Column::count("value").made(),
            Column::percent("share_pct").made().about("100 × value ÷ total"),
        ],
        &[
            Column::text("metric").made(),
            Column::text("source").made().about("the successor that a removed name is served from, else null"),
            Column::text("by").made(),
            Column::count("total").made().about("Meta's own total of the metric"),
            DATE,
            SINCE_COLUMN,
            UNTIL_COLUMN,
            PROVISIONAL,
            NOTE,
        ],
    )
    .run(get_account_insights_breakdown);

fn get_account_insights_breakdown(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        let (division, metric) = division(ask.args.text("by"), ask.args.text("metric"))?;
        let window = Window::resolve(&ask.args, now, Length::of_period(&ask.args, PERIODS))?;
        if !window.is_one_call() {
            if !metric.is_additive() {
                let expected = "reach counts people once, and its parts cannot be added up: ask 30 days at most";
                return Err(ArgumentError::of(if ask.args.has("since") { "since" } else { "until" }, expected).into());
            }
            ask.check_limit()?;
        }
        let mut told = Told::default();
        window.note.iter().cloned().chain(metric.renamed()).for_each(|note| told.note(note));
        let mut slices = Vec::new();
        for slice in &window.slices {
            let call = Call::parts(metric.source(), division.breakdown, *slice);
            let mut answered = match ask.check_limit() {
                Err(error) if !slices.is_empty() => call.unasked(error)?,
                _ => call.ask(&ask).await?,
            };
            told.join(std::mem::take(&mut answered.told));
            slices.push(answered);
        }
        let (parts, total) = parts_of(&slices, metric, division);
        let rows: Vec<Value> = parts.iter().map(|(key, value)| part(key, *value, total)).collect();
        let silent: &[&str] = match total.is_none() && parts.is_empty() && !told.explains(metric.source()) {
            true => &[metric.name],
            false => &[],
        };
        let mut beside = Map::new();
        beside.insert("metric".to_owned(), metric.name.into());
        beside.insert("source".to_owned(), metric.now.into());
        beside.insert("by".to_owned(), division.name.into());
        beside.insert("total".to_owned(), total.into());
        window.tell(&mut beside, now);
        beside.insert("note".to_owned(), told.text(&ask, silent).await?.into());
        Ok(Answer::List { rows, beside: beside.into(), next: None }.into())
    })
}

fn part(key: &str, value: i64, total: Option<i64>) -> Value {
    let share = rate(Some(Decimal::from(value)), total.map(Decimal::from));
    json!({ "key": key, "value": value, "share_pct": share.map_or(Value::Null, number) })
}

/// Largest first, and the total of all slices.
fn parts_of(slices: &[Answered], metric: &Metric, division: &Division) -> (Vec<(String, i64)>, Option<i64>) {
    let mut parts: Vec<(String, i64)> = Vec::new();
    for (keys, value) in slices.iter().flat_map(|slice| slice.parts(metric.source(), &[division.breakdown])) {
        let key = division.key(keys.first().map_or("", String::as_str)).to_owned();
        match parts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum = sum.saturating_add(value),
            None => parts.push((key, value)),
        }
    }
    parts.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    (parts, add_up(slices.iter().map(|slice| slice.total(metric.source()))))
}

/// The account's views by format, and in all, with what is to be said beside them.
///
/// # Errors
/// As [`Call::ask`].
pub async fn views_by_format(
    ask: &Ask,
    slice: Slice,
) -> Result<(Vec<(String, i64)>, Option<i64>, Option<String>), ToolError> {
    let (division, metric) = division(None, None)?;
    let mut answered = Call::parts(metric.source(), division.breakdown, slice).ask(ask).await?;
    let told = std::mem::take(&mut answered.told);
    let (parts, total) = parts_of(&[answered], metric, division);
    Ok((parts, total, told.text(ask, &[]).await?))
}

/// What is divided, and how; each default follows from the other.
fn division(by: Option<&str>, metric: Option<&str>) -> Result<(&'static Division, &'static Metric), ArgumentError> {
    let fits = |division: &&Division| match (by, metric) {
        (Some(by), _) => division.name == by,
        (None, Some(metric)) => Metric::of(metric).is_some_and(|metric| division.metrics.contains(&metric.source())),
        (None, None) => true,
    };
    let division = DIVISIONS.iter().find(fits).ok_or_else(|| ArgumentError::of("by", "there is no such division"))?;
    let name = metric.unwrap_or(division.metrics[0]);
    match Metric::of(name).filter(|metric| division.metrics.contains(&metric.source())) {
        Some(metric) => Ok((division, metric)),
        None => {
            let expected = format!("Meta divides {} by {}, not {name}", division.metrics.join(", "), division.name);
            Err(ArgumentError::of("metric", &expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_and_division_follow_from_each_other() {
        for (by, metric, wanted) in [
            (None, None, Ok(("format", "views"))),
            (Some("button"), None, Ok(("button", "profile_links_taps"))),
            (None, Some("profile_links_taps"), Ok(("button", "profile_links_taps"))),
            (None, Some("reach"), Ok(("format", "reach"))),
            (None, Some("impressions"), Ok(("format", "impressions"))),
            (Some("follow_type"), Some("impressions"), Ok(("follow_type", "impressions"))),
            (Some("follow_type"), Some("reach"), Ok(("follow_type", "reach"))),
            (
                Some("follow_type"),
                Some("likes"),
                Err("metric: Meta divides views, reach by follow_type, not likes".to_owned()),
            ),
        ] {
            let found = division(by, metric).map(|(division, metric)| (division.name, metric.name));
            assert_eq!(found.map_err(|error| error.0), wanted);
        }
    }

    #[test]
    fn the_schemas_words_are_the_divisions() {
        let words = |name: &str| {
            let param = GET_ACCOUNT_INSIGHTS_BREAKDOWN.params.iter().find(|param| param.name == name).unwrap();
            let ParamKind::Word(words) = param.kind else { panic!("{name}") };
            words
        };
        assert_eq!(words("by"), DIVISIONS.iter().map(|division| division.name).collect::<Vec<_>>());
        let mut metrics: Vec<&str> = Vec::new();
        for metric in DIVISIONS.iter().flat_map(|division| division.metrics) {
            super::super::call::add(&mut metrics, metric);
        }
        let renamed = words("metric").iter().filter_map(|word| Metric::of(word)).filter(|metric| metric.now.is_some());
        assert!(renamed.clone().all(|metric| metrics.contains(&metric.source())));
        metrics.extend(renamed.map(|metric| metric.name));
        assert_eq!(words("metric"), metrics);
    }

    #[test]
    fn keys_of_the_same_format_are_one_part() {
        let results = json!([
            {"dimension_values": ["REELS"], "value": 5}, {"dimension_values": ["REEL"], "value": 4},
            {"dimension_values": ["CAROUSEL_CONTAINER"], "value": 9}, {"dimension_values": ["NEW"], "value": 1},
        ]);
        let row = json!({"name": "views", "total_value": {"value": 19, "breakdowns": [
            {"dimension_keys": ["media_product_type"], "results": results}]}});
        let slice = Answered::of(&json!({ "data": [row] }), Told::default());
        let (parts, total) = parts_of(&[slice], Metric::of("views").unwrap(), &DIVISIONS[0]);
        let wanted = [("CAROUSEL", 9), ("REEL", 9), ("NEW", 1)].map(|(key, value)| (key.to_owned(), value));
        assert_eq!((parts, total), (wanted.to_vec(), Some(19)));
        assert_eq!(part("REEL", 9, Some(19)), json!({"key": "REEL", "value": 9, "share_pct": 47.37}));
    }
}
