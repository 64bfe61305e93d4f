//! The metrics of ads, declared once: group, column, and where Graph has it.

use serde_json::{Map, Value};

use crate::tool::column::{Facts, flat};
use crate::tool::{Column, Kind, ToolError};

/// Where a metric stands in a row of insights.
#[derive(Clone, Copy)]
enum From {
    /// In a field of its own.
    Same(&'static str),
    /// In the one entry of an action list of its own.
    Only(&'static str),
    /// In a list, in the entry of the first of these action types that `actions` has: they overlap, so never a sum.
    Action(&'static str, &'static [&'static str]),
    /// Reckoned from the row, for which these fields are asked.
    Reckoned(fn(&Value) -> Value, &'static [&'static str]),
}

/// A metric of a group.
pub(super) struct Metric {
    pub group: &'static str,
    pub column: Column,
    from: From,
}

const fn core(column: Column, from: From) -> Metric {
    Metric { group: "core", column, from }
}

// Action types are general knowledge: Meta documents no list of them.
const LANDING: &[&str] = &["landing_page_view", "omni_landing_page_view"];
const PURCHASE: &[&str] = &["omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase"];
const LEAD: &[&str] = &["lead", "offsite_conversion.fb_pixel_lead", "onsite_conversion.lead_grouped"];

/// Every metric that there is. A further group is further lines here and its word in [`GROUPS`].
pub(super) const METRICS: &[Metric] = &[
    core(Column::money("spend"), From::Same("spend")),
    core(Column::count("impressions"), From::Same("impressions")),
    core(Column::count("reach").about("people, each once: never add it up"), From::Same("reach")),
    core(Column::ratio("frequency"), From::Same("frequency")),
    core(Column::count("clicks").about("all clicks, also likes and profile visits"), From::Same("clicks")),
    core(Column::money("cpc").about("spend by clicks"), From::Same("cpc")),
    core(Column::money("cpm").about("cost of 1000 impressions"), From::Same("cpm")),
    core(Column::count("link_clicks"), From::Same("inline_link_clicks")),
    core(Column::count("outbound_clicks").about("clicks that left Meta"), From::Only("outbound_clicks")),
    core(Column::count("landing_page_views"), From::Action("actions", LANDING)),
    core(Column::percent("ctr_pct").about("of all clicks"), From::Same("ctr")),
    core(Column::percent("link_ctr_pct").about("of link clicks"), From::Same("inline_link_click_ctr")),
    core(Column::money("link_cpc"), From::Same("cost_per_inline_link_click")),
    core(
        Column::count("results").about("as the ad set's goal counts; null when goals are mixed"),
        From::Reckoned(|raw| result(raw, "results").0, &["results"]),
    ),
    core(
        Column::text("result_type").about("what results counts; mixed: several goals, not to be added"),
        From::Reckoned(|raw| result(raw, "results").1, &["results"]),
    ),
    core(
        Column::money("cost_per_result"),
        From::Reckoned(|raw| result(raw, "cost_per_result").0, &["cost_per_result"]),
    ),
    core(Column::count("purchases"), From::Action("actions", PURCHASE)),
    core(Column::money("purchase_value"), From::Action("action_values", PURCHASE)),
    core(Column::money("cost_per_purchase"), From::Action("cost_per_action_type", PURCHASE)),
    core(Column::ratio("roas").about("purchase_value by spend, Meta's own"), From::Action("purchase_roas", PURCHASE)),
    core(Column::count("leads"), From::Action("actions", LEAD)),
    core(Column::money("cost_per_lead"), From::Action("cost_per_action_type", LEAD)),
    core(Column::text("currency"), From::Same("account_currency")),
];

pub(super) const GROUPS: &[&str] = &["core"];
pub(super) const CORE: &[&str] = &["core"];

/// The three lists that an action type is looked up in: its count, its value, its cost.
pub(super) const ACTION_LISTS: [(&str, &str, Kind); 3] = [
    ("count", "actions", Kind::Count),
    ("value", "action_values", Kind::Money),
    ("cost", "cost_per_action_type", Kind::Money),
];

/// The value and the indicator of `[{"indicator":"…","values":[{"value":"…"}]}]`; of several goals neither counts.
fn result(raw: &Value, field: &str) -> (Value, Value) {
    match raw[field].as_array().map(Vec::as_slice) {
        Some([one]) => (one["values"][0]["value"].clone(), one["indicator"].clone()),
        Some([_, ..]) => (Value::Null, "mixed".into()),
        _ => (Value::Null, Value::Null),
    }
}

/// The entry of an action list with this action type.
pub(super) fn entry<'a>(raw: &'a Value, list: &str, action_type: &str) -> Option<&'a Value> {
    raw[list].as_array()?.iter().find(|entry| entry["action_type"] == action_type)
}

impl Metric {
    /// Graph's fields that it is made of.
    pub fn fields(&self) -> Vec<&'static str> {
        match self.from {
            From::Same(field) | From::Only(field) => vec![field],
            From::Action(list, _) => vec!["actions", list],
            From::Reckoned(_, fields) => fields.to_vec(),
        }
    }

    /// Puts its member into a row, and one for each window where it comes from an action list.
    pub fn put(&self, row: &mut Map<String, Value>, raw: &Value, windows: &[&str]) -> Result<(), ToolError> {
        let Column { name, kind, .. } = self.column;
        let plain = match self.from {
            From::Same(field) => raw[field].clone(),
            From::Reckoned(reckon, _) => reckon(raw),
            From::Only(list) => return put_entry(row, name, kind, raw[list].get(0), windows),
            From::Action(list, types) => {
                let present = types.iter().find(|action_type| entry(raw, "actions", action_type).is_some());
                return put_entry(row, name, kind, present.and_then(|present| entry(raw, list, present)), windows);
            }
        };
        row.insert(name.to_owned(), flat(kind, plain, Facts::default())?);
        Ok(())
    }
}

/// Puts an action entry's value under `name` and those of its windows under `name_<window>`.
pub(super) fn put_entry(
    row: &mut Map<String, Value>,
    name: &str,
    kind: Kind,
    entry: Option<&Value>,
    windows: &[&str],
) -> Result<(), ToolError> {
    let value = |member: &str| entry.map_or(Value::Null, |entry| entry[member].clone());
    row.insert(name.to_owned(), flat(kind, value("value"), Facts::default())?);
    for window in windows {
        row.insert(format!("{name}_{window}"), flat(kind, value(window), Facts::default())?);
    }
    Ok(())
}

/// Metrics that Graph sorts by: those with a field of their own. A test compares.
pub(super) const SORTS: &[&str] = &[
    "spend",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "cpc",
    "cpm",
    "link_clicks",
    "ctr_pct",
    "link_ctr_pct",
    "link_cpc",
];

/// Attribution windows that are alive. Meta takes 7d_view and 28d_view and answers nothing for them since 2026-01-12
/// (Marketing API, insights, 2026-09-12).
pub(super) const WINDOWS: &[&str] = &[
    "1d_click",
    "7d_click",
    "28d_click",
    "1d_view",
    "1d_ev",
    "incrementality",
    "skan_click",
    "skan_view",
    "skan_click_second_postback",
    "skan_view_second_postback",
    "skan_click_third_postback",
    "skan_view_third_postback",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_metrics() {
        for group in GROUPS {
            assert!(METRICS.iter().any(|metric| metric.group == *group), "{group}");
        }
        assert!(METRICS.iter().all(|metric| GROUPS.contains(&metric.group)));
        let own =
            METRICS.iter().filter(|metric| matches!(metric.from, From::Same(_)) && metric.column.name != "currency");
        assert_eq!(SORTS, own.map(|metric| metric.column.name).collect::<Vec<_>>());
        let Ok(spec) = crate::tool::shared_file("graph-api/spec/AdsInsights.json") else { return };
        let spec: Value = serde_json::from_str(&spec).unwrap();
        for metric in METRICS {
            assert!(metric.fields().iter().all(|field| spec["fields"].get(field).is_some()), "{}", metric.column.name);
        }
        for window in WINDOWS {
            assert!(
                spec["enums"]["ActionAttributionWindows"].as_array().unwrap().contains(&(*window).into()),
                "{window}"
            );
        }
    }
}
