//! Which breakdowns may stand together: Meta refuses the rest, or answers them empty.

use crate::tool::{Args, ArgumentError};

/// Breakdowns of actions, not of delivery (Marketing API v26.0, `action_breakdowns`; the product from the breakdowns
/// page). Three more are in both lists at Meta and taken as those of delivery.
const ACTION_BREAKDOWNS: &[&str] = &[
    "action_type",
    "action_canvas_component_name",
    "action_carousel_card_id",
    "action_carousel_card_name",
    "action_converted_product_id",
    "action_destination",
    "action_device",
    "action_reaction",
    "action_target_id",
    "action_video_sound",
    "action_video_type",
    "is_business_ai_assisted",
    "matched_persona_id",
    "matched_persona_name",
];

/// Combinations that Meta documents (Marketing API, breakdowns, 2026-09-12) or that were seen to work, but for those
/// that none of our metrics go with (`mmm`, `skan_conversion_id`). These may be joined with what actions were for.
const JOINABLE: &[&str] = &[
    "age",
    "gender",
    "age,gender",
    "country",
    "region",
    "publisher_platform",
    "publisher_platform,platform_position",
    "product_id",
    HOURLY,
    "action_device",
    "action_device,publisher_platform",
    "action_device,publisher_platform,platform_position",
];
const ALONE: &[&str] = &[
    "device_platform",
    "dma",
    "country,age",
    "country,gender",
    "country,region",
    "publisher_platform,device_platform",
    "publisher_platform,platform_position,device_platform",
    "action_reaction",
    "action_converted_product_id",
    "action_carousel_card_id",
    "action_carousel_card_name",
    "action_carousel_card_id,country",
    "action_carousel_card_id,age",
    "action_carousel_card_id,gender",
    "action_carousel_card_id,age,gender",
];
const JOINS: [&str; 2] = ["action_target_id", "action_destination"];
const ASSETS: &[&str] = &[
    "body_asset",
    "description_asset",
    "image_asset",
    "title_asset",
    "call_to_action_asset",
    "link_url_asset",
    "video_asset",
    "ad_format_asset",
];
const ASSET_JOINS: [&str; 4] = ["", "age", "gender", "age,gender"];

pub(super) const HOURLY: &str = "hourly_stats_aggregated_by_advertiser_time_zone";

/// Since August 2026 these come empty without an error, unless read as a report (Marketing API, breakdowns).
const OPT_IN: [&str; 3] = ["impression_device", "hourly_stats_aggregated_by_audience_time_zone", "frequency_value"];

pub(super) fn is_action(breakdown: &str) -> bool {
    ACTION_BREAKDOWNS.contains(&breakdown)
}

/// The breakdowns asked for, each once, by Meta's names.
pub(super) fn asked(args: &Args) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in args.list("breakdowns") {
        let name = name.to_ascii_lowercase();
        let names: &[&str] = if name == "placement" { &["publisher_platform", "platform_position"] } else { &[&name] };
        for name in names {
            if !all.iter().any(|known| known == name) {
                all.push((*name).to_owned());
            }
        }
    }
    all
}

/// Whether each row is one action type and value of an action breakdown.
pub(super) fn by_action(args: &Args) -> bool {
    asked(args).iter().any(|name| is_action(name))
}

fn is_documented(names: &[String]) -> bool {
    let same = |names: &[&str], combination: &str| {
        let parts: Vec<&str> = combination.split(',').filter(|part| !part.is_empty()).collect();
        parts.len() == names.len() && parts.iter().all(|part| names.contains(part))
    };
    // Joined by Meta itself wherever actions are asked.
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "action_type").collect();
    let bare: Vec<&str> = names.iter().copied().filter(|name| !JOINS.contains(name)).collect();
    let (assets, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| ASSETS.contains(name));
    bare.is_empty()
        || JOINABLE.iter().any(|combination| same(&bare, combination))
        || ALONE.iter().any(|combination| same(&names, combination))
        || (assets.len() == 1 && ASSET_JOINS.iter().any(|combination| same(&others, combination)))
}

/// Refuses what Meta does not take together.
///
/// # Errors
/// What it takes.
pub(super) fn check(args: &Args, names: &[String]) -> Result<(), ArgumentError> {
    let refuse = |expected: &str| Err(ArgumentError::of("breakdowns", expected));
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !names.iter().all(plain) {
        return refuse("names have only the characters a-z 0-9 _");
    }
    if let Some(name) = names.iter().find(|name| OPT_IN.contains(&name.as_str())) {
        return refuse(&format!("{name} comes empty from Meta unless read as a background report"));
    }
    if !args.flag("allow_undocumented") && !is_documented(names) {
        return refuse(&format!(
            "Meta does not take these together. It takes: {}; these, each also with {}: {}; one of {}, also with age, \
             gender or both. allow_undocumented sends others as they are",
            ALONE.join(" · "),
            JOINS.join(" and "),
            JOINABLE.join(" · "),
            ASSETS.join(", "),
        ));
    }
    if !by_action(args) {
        return Ok(());
    }
    if args.list("action_types").is_empty() {
        return Err(ArgumentError::of("action_types", "a breakdown of actions needs it: name those to break down"));
    }
    let odd = if args.has("metrics") { Some("metrics") } else { args.flag("totals").then_some("totals") };
    match odd {
        Some(name) => Err(ArgumentError::of(name, "not together with a breakdown of actions")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn metas_table_of_combinations_is_kept() {
        let Ok(table) = crate::tool::shared_file("graph-api/data/ads_breakdowns.json") else { return };
        let table: Value = serde_json::from_str(&table).unwrap();
        let names = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&table["opt_in_since_2026_08"]), OPT_IN.map(str::to_owned));
        assert_eq!(names(&table["also_documented"]["asset_breakdowns"]), ASSETS);
        let opt_in = |names: &[String]| names.iter().any(|name| OPT_IN.contains(&name.as_str()));
        let mut known = vec![vec!["app_id".to_owned(), "skan_conversion_id".to_owned()]];
        for list in [&table["documented_combinations"], &table["not_listed_but_common"], &table["observed"]["work"]] {
            for combination in list.as_array().unwrap().iter().map(names) {
                let expected = !opt_in(&combination) && combination != known[0];
                assert!(!expected || is_documented(&combination), "{combination:?}");
                let turned: Vec<String> = combination.iter().rev().cloned().collect();
                assert_eq!(is_documented(&combination), is_documented(&turned));
                known.push(combination);
            }
        }
        assert!(!is_documented(&known[0]));
        for failing in table["observed"]["fail"].as_array().unwrap().iter().map(names) {
            assert!(!is_documented(&failing), "{failing:?}");
        }
        let parts = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for ours in ALONE.iter().chain(JOINABLE) {
            assert!(known.contains(&parts(ours)), "{ours}");
        }
        let joinable = names(&table["joinable_with_action_type_target_destination"]);
        for combination in joinable.iter().map(|text| parts(text)).filter(|names| !opt_in(names)) {
            for join in JOINS {
                assert!(
                    is_documented(&[combination.clone(), vec![join.to_owned()]].concat()),
                    "{combination:?} {join}"
                );
            }
        }
    }
}
