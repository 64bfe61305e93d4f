//! The Meta Ads catalogue.

mod account;
mod breakdowns;
mod campaigns;
mod insights;
mod metrics;
mod period;
#[cfg(test)]
mod stand_in;

use serde_json::{Value, json};

use crate::credential::{AccountKind, Login};
use crate::tool::Tool;

/// What the server offers, in the order of `tools/list`.
pub const CATALOGUE: &[Tool] = &[account::GET_AD_ACCOUNT, campaigns::LIST_CAMPAIGNS, insights::GET_ADS_INSIGHTS];

/// A reading tool as nearly all are: of the ad account, with Facebook Login, either permission.
const fn read(name: &'static str) -> Tool {
    Tool::read(name, AccountKind::Ads).only(Login::Facebook).needs(&[&["ads_read", "ads_management"]])
}

/// One condition of Graph's `filtering`.
fn condition(field: impl Into<String>, operator: &str, value: impl Into<Value>) -> Value {
    json!({ "field": field.into(), "operator": operator, "value": value.into() })
}

/// Texts of `member` in a list of objects, as one text; `null` where there are none.
fn joined(list: &Value, member: &str) -> Value {
    let texts: Vec<&str> = list.as_array().into_iter().flatten().filter_map(|item| item[member].as_str()).collect();
    if texts.is_empty() { Value::Null } else { texts.join(" · ").into() }
}

/// An amount in minor units, `null` where it is not set: Graph leaves it out or writes "0".
fn set_amount(amount: &Value) -> Value {
    let is_zero = crate::tool::money::decimal(amount).is_none_or(|amount| amount.is_zero());
    if is_zero { Value::Null } else { amount.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_parameter_is_described_and_has_a_fitting_example() {
        for (at, tool) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..at].iter().all(|other| other.name != tool.name), "{}", tool.name);
            assert!(tool.about.len() > 80 && tool.login == Some(Login::Facebook), "{}", tool.name);
            let example: Value = serde_json::from_str(tool.example).unwrap();
            crate::tool::Args::check(tool.params, example.as_object().unwrap()).unwrap();
            for param in tool.params.iter().filter(|param| param.name != "cursor") {
                assert!(!param.about.is_empty(), "{}: {}", tool.name, param.name);
                let example = json!({ param.name: serde_json::from_str::<Value>(param.example).unwrap() });
                crate::tool::Args::check(tool.params, example.as_object().unwrap()).unwrap();
            }
            let mut names: Vec<_> = tool.row_columns().iter().map(|column| column.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), tool.row_columns().len(), "{}", tool.name);
        }
    }
}
