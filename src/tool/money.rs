//! Decimal text, Meta's minor units, rates: decimals throughout, never a binary float.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Number, Value};

/// How many minor units make one of a currency, as Meta counts them, which is not ISO 4217: 1 for those listed, 100
/// for the rest (developers.facebook.com/documentation/ads-commerce/marketing-api/currencies, 2026-09-12).
const WHOLE: [&str; 11] = ["CLP", "COP", "CRC", "HUF", "IDR", "ISK", "JPY", "KRW", "PYG", "TWD", "VND"];
const HUNDREDTHS: [&str; 55] = [
    "AED", "ARS", "AUD", "BDT", "BGN", "BHD", "BOB", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "DZD", "EGP", "EUR",
    "FBZ", "GBP", "GTQ", "HKD", "HNL", "HRK", "ILS", "INR", "JOD", "KES", "LTL", "LVL", "MOP", "MXN", "MYR", "NGN",
    "NIO", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "SKK", "THB",
    "TRY", "UAH", "USD", "UYU", "VEF", "VES", "ZAR",
];

/// A currency that Meta's table does not have: amounts in it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the currency {0:?} is not in Meta's table, so amounts in it cannot be read")]
pub struct UnknownCurrency(pub String);

/// Decimals of an amount in that currency: 0 or 2.
///
/// # Errors
/// A currency that Meta's table does not have; 100 is never assumed.
pub fn decimals(currency: &str) -> Result<u32, UnknownCurrency> {
    if WHOLE.contains(&currency) {
        Ok(0)
    } else if HUNDREDTHS.contains(&currency) {
        Ok(2)
    } else {
        Err(UnknownCurrency(currency.chars().take(8).collect()))
    }
}

/// Meta's minor units as decimal text: `"2000"` in EUR is `"20.00"`, in JPY `"2000"`.
///
/// # Errors
/// See [`decimals`].
pub fn from_minor(units: i64, currency: &str) -> Result<String, UnknownCurrency> {
    Ok(Decimal::new(units, decimals(currency)?).to_string())
}

/// Digits and a decimal point, as Meta writes numbers; `None` for everything else.
#[must_use]
pub fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => {
            let text = number.to_string();
            text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
        }
        _ => None,
    }
}

/// Rounded half away from zero.
#[must_use]
pub fn round(number: Decimal, places: u32) -> Decimal {
    number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero)
}

/// `100 × part ÷ whole` with two decimals; `None` when a part is missing or the divisor is 0.
#[must_use]
pub fn rate(part: Option<Decimal>, whole: Option<Decimal>) -> Option<Decimal> {
    let (part, whole) = (part?, whole.filter(|whole| !whole.is_zero())?);
    let rate = part.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole)?;
    Some(round(rate, 2))
}

/// The sum; `None` when a part is missing or the sum has no room.
pub fn sum(parts: impl IntoIterator<Item = Option<Decimal>>) -> Option<Decimal> {
    parts.into_iter().try_fold(Decimal::ZERO, |sum, part| sum.checked_add(part?))
}

/// A decimal as a JSON number without trailing zeros: at most 15 digits, so that its text is exact.
#[must_use]
pub fn number(decimal: Decimal) -> Value {
    let text = decimal.normalize().to_string();
    let number = text.parse::<i64>().map(Number::from).ok();
    number.or_else(|| Number::from_f64(text.parse().ok()?)).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn minor_units_follow_metas_table() {
        for (units, currency, text) in [
            (2000, "EUR", "20.00"),
            (5, "USD", "0.05"),
            (3000, "JPY", "3000"),
            (3000, "HUF", "3000"),
            (1234, "BHD", "12.34"),
            (-50, "EUR", "-0.50"),
        ] {
            assert_eq!(from_minor(units, currency).as_deref(), Ok(text));
        }
        assert!(from_minor(1, "XXX").is_err());
    }

    #[test]
    fn the_table_is_metas() {
        let Ok(shared) = crate::tool::shared_file("graph-api/data/currencies.json") else { return };
        let table: Value = serde_json::from_str(&shared).unwrap();
        let offsets = table["offset"].as_object().unwrap();
        assert_eq!(offsets.len(), WHOLE.len() + HUNDREDTHS.len());
        for (currency, offset) in offsets {
            assert_eq!(10i64.pow(decimals(currency).unwrap()), offset.as_i64().unwrap(), "{currency}");
        }
    }

    #[test]
    fn rates_are_rounded_half_away_from_zero_and_null_over_nothing() {
        let d = |text: &str| text.parse::<Decimal>().ok();
        assert_eq!(rate(d("1"), d("3")), d("33.33"));
        assert_eq!(rate(d("0.00125"), d("1")), d("0.13"));
        assert_eq!(rate(d("1"), d("0")), None);
        assert_eq!(rate(None, d("1")), None);
        assert_eq!(rate(Some(Decimal::MAX), d("1")), None);
        assert_eq!(sum([Some(Decimal::MAX), d("1")]), None);
        assert_eq!(sum([d("1"), None]), None);
        assert_eq!(number(d("33.30").unwrap()), json!(33.3));
        assert_eq!(number(d("5.00").unwrap()), json!(5));
        assert_eq!(decimal(&json!("2.495333")), d("2.495333"));
        assert_eq!(decimal(&json!(1e21)), d("1000000000000000000000"));
        assert_eq!(decimal(&json!("n/a")), None);
    }
}
