//! The formulas of the Instagram tools, once, under the names that their members have.
//!
//! Rates are per cent with two decimals, half away from zero; `None` where a part is missing or the divisor is 0.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::tool::column::insight;
use crate::tool::money::{decimal, number, rate, round, sum};

/// REEL, STORY, CAROUSEL, IMAGE or VIDEO: a reel's `media_type` is VIDEO, only its product type tells.
pub(super) fn format(raw: &Value) -> Value {
    let (product, kind) = (raw["media_product_type"].as_str(), raw["media_type"].as_str());
    match (product, kind) {
        (Some("REELS"), _) => "REEL".into(),
        (Some("STORY"), _) => "STORY".into(),
        (_, Some("CAROUSEL_ALBUM")) => "CAROUSEL".into(),
        (_, Some(kind)) => kind.into(),
        _ => Value::Null,
    }
}

/// A metric of a post, as its expanded insights have it.
pub(super) fn metric(raw: &Value, name: &str) -> Option<Decimal> {
    decimal(&insight(raw, name))
}

/// Likes, comments, saves and shares: Meta's own sum, else ours where all four are there.
pub(super) fn interactions(raw: &Value) -> Option<Decimal> {
    let sum = || sum(["likes", "comments", "saved", "shares"].map(|name| metric(raw, name)));
    metric(raw, "total_interactions").or_else(sum)
}

/// `100 × interactions ÷ reach`.
pub(super) fn engagement_rate(raw: &Value) -> Option<Decimal> {
    rate(interactions(raw), metric(raw, "reach"))
}

/// `100 × saved ÷ reach`.
pub(super) fn save_rate(raw: &Value) -> Option<Decimal> {
    rate(metric(raw, "saved"), metric(raw, "reach"))
}

/// `100 × shares ÷ reach`.
pub(super) fn share_rate(raw: &Value) -> Option<Decimal> {
    rate(metric(raw, "shares"), metric(raw, "reach"))
}

/// Likes and comments as everybody sees them; `None` where the account hides its likes.
pub(super) fn public_interactions(raw: &Value) -> Option<Decimal> {
    sum([decimal(&raw["like_count"]), decimal(&raw["comments_count"])])
}

/// `100 × (like_count + comments_count) ÷ followers_count`.
pub(super) fn public_engagement_rate(raw: &Value, followers: Option<Decimal>) -> Option<Decimal> {
    rate(public_interactions(raw), followers)
}

/// The middle value; the mean of the two middle ones when their number is even. `None` of nothing.
pub(super) fn median(values: impl IntoIterator<Item = Decimal>) -> Option<Decimal> {
    let mut values: Vec<Decimal> = values.into_iter().collect();
    values.sort_unstable();
    let (lower, upper) = (*values.get(values.len().checked_sub(1)? / 2)?, *values.get(values.len() / 2)?);
    lower.checked_add(upper)?.checked_div(Decimal::TWO)
}

/// A ratio, such as a value to the median of its like; `None` where a part is missing or the divisor is 0.
pub(super) fn ratio(part: Option<Decimal>, whole: Option<Decimal>) -> Option<Decimal> {
    part?.checked_div(whole.filter(|whole| !whole.is_zero())?)
}

/// A decimal rounded to so many places, as JSON; `null` of nothing.
pub(super) fn rounded(value: Option<Decimal>, places: u32) -> Value {
    or_null(value.map(|value| round(value, places)))
}

/// A decimal as JSON; `null` of nothing.
pub(super) fn or_null(value: Option<Decimal>) -> Value {
    value.map_or(Value::Null, number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decimals(texts: &[&str]) -> Vec<Decimal> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_reel_is_told_by_its_product_type() {
        for (product, kind, format_) in [
            (json!("REELS"), json!("VIDEO"), json!("REEL")),
            (json!("STORY"), json!("IMAGE"), json!("STORY")),
            (json!("FEED"), json!("CAROUSEL_ALBUM"), json!("CAROUSEL")),
            (json!("FEED"), json!("IMAGE"), json!("IMAGE")),
            (json!(null), json!("VIDEO"), json!("VIDEO")),
            (json!(null), json!(null), json!(null)),
        ] {
            assert_eq!(format(&json!({"media_product_type": product, "media_type": kind})), format_);
        }
    }

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
        for (values, is) in [
            (&["3", "1", "2"][..], Some("2")),
            (&["4", "1", "3", "2"], Some("2.5")),
            (&["7"], Some("7")),
            (&["1", "2"], Some("1.5")),
            (&[], None),
        ] {
            assert_eq!(median(decimals(values)), is.map(|text| text.parse().unwrap()), "{values:?}");
        }
    }

    #[test]
    fn rates_of_others_stand_on_what_everybody_sees() {
        let followers = Some(Decimal::from(1000));
        let post = json!({"like_count": 20, "comments_count": 5});
        assert_eq!(or_null(public_engagement_rate(&post, followers)), json!(2.5));
        assert_eq!(public_engagement_rate(&json!({"comments_count": 5}), followers), None, "likes are hidden");
        assert_eq!(public_engagement_rate(&post, Some(Decimal::ZERO)), None);
    }

    #[test]
    fn ratios_are_rounded_half_away_from_zero_and_null_over_nothing() {
        let d = |text: &str| text.parse::<Decimal>().ok();
        assert_eq!(rounded(ratio(d("1"), d("8")), 2), json!(0.13));
        assert_eq!(rounded(ratio(d("1"), d("0")), 2), json!(null));
        assert_eq!(rounded(ratio(None, d("1")), 2), json!(null));
    }
}
