//! Publishing: how much of it Meta still allows.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{NOTE, PUBLISH, PUBLISH_INSTAGRAM};
use crate::credential::AccountKind;
use crate::tool::{Answer, Ask, Column, Done, Tool, ToolError};

pub(super) const GET_PUBLISHING_LIMIT: Tool = Tool::read("get_publishing_limit", AccountKind::Instagram)
    .about(
        "How many posts may still be published by API in Meta's rolling window, of 24 hours as a rule. An album counts \
         once. Use it before publishing several posts.",
    )
    .needs(PUBLISH)
    .needs_instagram(PUBLISH_INSTAGRAM)
    .row(&[
        Column::count("used").from("quota_usage").about("posts published within the window"),
        Column::count("total").from("config/quota_total").about("as Meta says it for this account"),
        Column::count("left").made(),
        Column::count("window_hours").made().about("length of the rolling window"),
        NOTE,
    ])
    .run(get_publishing_limit);

fn get_publishing_limit(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let request = ask.own("{}/content_publishing_limit")?.fields("quota_usage,config");
        let mut answer = ask.graph.get(&request).await?;
        let row = match answer["data"].get_mut(0).map(Value::take) {
            Some(row) => with_rest(row),
            None => {
                ask.check_permission().await?;
                json!({"note": "Meta gave no limit: a permission may be missing"})
            }
        };
        Ok(Answer::Row(row).into())
    })
}

/// What is left, where both are known, and the window in hours.
fn with_rest(mut row: Value) -> Value {
    let (used, config) = (row["quota_usage"].as_i64(), row["config"].take());
    if let (Some(used), Some(total)) = (used, config["quota_total"].as_i64()) {
        row["left"] = total.saturating_sub(used).max(0).into();
    }
    if let Some(seconds) = config["quota_duration"].as_i64() {
        row["window_hours"] = (seconds / 3600).into();
    }
    row["config"] = config;
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_reckoned_from_what_meta_says_and_never_below_nothing() {
        for (row, left, hours) in [
            (json!({"quota_usage": 2, "config": {"quota_total": 100, "quota_duration": 86_400}}), json!(98), json!(24)),
            (json!({"quota_usage": 51, "config": {"quota_total": 50}}), json!(0), json!(null)),
            (json!({"quota_usage": 3}), json!(null), json!(null)),
        ] {
            let row = with_rest(row);
            assert_eq!((&row["left"], &row["window_hours"]), (&left, &hours));
        }
    }
}
