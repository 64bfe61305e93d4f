//! Campaigns.

use futures_util::future::BoxFuture;
use futures_util::try_join;
use serde_json::{Value, json};

use super::{account, condition, joined, read, set_amount};
use crate::tool::param::{CURSOR, limit};
use crate::tool::{Answer, Ask, Column, Done, Param, ParamKind, Tool, ToolError};

/// Effective statuses of a campaign (Marketing API v26.0, `Campaign`).
const STATUSES: &[&str] = &["ACTIVE", "PAUSED", "ARCHIVED", "DELETED", "IN_PROCESS", "WITH_ISSUES"];

/// Objectives (Marketing API v26.0, `Campaign`): those of today, then those that only old campaigns have.
const OBJECTIVES: &[&str] = &[
    "OUTCOME_AWARENESS",
    "OUTCOME_TRAFFIC",
    "OUTCOME_ENGAGEMENT",
    "OUTCOME_LEADS",
    "OUTCOME_APP_PROMOTION",
    "OUTCOME_SALES",
    "APP_INSTALLS",
    "BRAND_AWARENESS",
    "CONVERSIONS",
    "EVENT_RESPONSES",
    "LEAD_GENERATION",
    "LINK_CLICKS",
    "LOCAL_AWARENESS",
    "MESSAGES",
    "OFFER_CLAIMS",
    "PAGE_LIKES",
    "POST_ENGAGEMENT",
    "PRODUCT_CATALOG_SALES",
    "REACH",
    "STORE_VISITS",
    "VIDEO_VIEWS",
];

fn has_budget(raw: &Value) -> bool {
    ["daily_budget", "lifetime_budget"].iter().any(|budget| !set_amount(&raw[budget]).is_null())
}

/// A campaign. Its `currency` is the account's, put in by the tool.
pub(super) const CAMPAIGN: &[Column] = &[
    Column::id("id"),
    Column::text("name"),
    Column::text("objective").about("OUTCOME_SALES, …; older campaigns have older words"),
    Column::text("status").from("configured_status").about("as it was set: ACTIVE, PAUSED, ARCHIVED, DELETED"),
    Column::text("effective_status").about("as it is: also IN_PROCESS, WITH_ISSUES"),
    Column::text("buying_type").about("AUCTION or RESERVED"),
    Column::text("bid_strategy").about("null when the ad sets have the budget"),
    Column::text("budget_level")
        .computed(
            |raw| if has_budget(raw) { "campaign" } else { "ad_set" }.into(),
            &["daily_budget", "lifetime_budget"],
        )
        .about("campaign, or ad_set: then the budgets are null here"),
    Column::minor_money("daily_budget").computed(|raw| set_amount(&raw["daily_budget"]), &["daily_budget"]),
    Column::minor_money("lifetime_budget").computed(|raw| set_amount(&raw["lifetime_budget"]), &["lifetime_budget"]),
    Column::minor_money("budget_remaining")
        .computed(
            |raw| if has_budget(raw) { raw["budget_remaining"].clone() } else { Value::Null },
            &["budget_remaining"],
        )
        .about("null without a budget of its own"),
    Column::minor_money("spend_cap")
        .computed(|raw| set_amount(&raw["spend_cap"]), &["spend_cap"])
        .about("null: no limit"),
    Column::text("currency").made(),
    Column::names("special_ad_categories"),
    Column::time("start_time"),
    Column::time("stop_time"),
    Column::text("issues")
        .computed(|raw| joined(&raw["issues_info"], "error_summary"), &["issues_info"])
        .about("Meta's summaries, joined with ' · '; null: none"),
    Column::time("created_time"),
    Column::time("updated_time").about("does not move when a budget changes"),
];

pub(super) const LIST_CAMPAIGNS: Tool = read("list_campaigns")
    .group("Campaigns")
    .about(
        "Lists the ad account's campaigns with status, objective and budgets. Use it to find a campaign's id or what \
         is running. Archived and deleted ones are hidden unless status asks for them, yet they may have spent money \
         in a period: get_ads_insights counts them. Budgets are null where the ad sets have them (budget_level \
         ad_set). Numbers such as spend come from get_ads_insights, not from here.",
    )
    .params(&[
        Param::new(
            "status",
            ParamKind::List(&ParamKind::Word(STATUSES), 6),
            "Only these effective statuses. Default: all but ARCHIVED and DELETED.",
            "[\"ACTIVE\",\"WITH_ISSUES\"]",
        ),
        Param::new("objective", ParamKind::Word(OBJECTIVES), "Only this objective.", "\"OUTCOME_SALES\""),
        Param::new("name_contains", ParamKind::Text(400), "Only names that contain this.", "\"autumn\""),
        limit(ParamKind::Int(1, 200), "25"),
        CURSOR,
    ])
    .example(r#"{"status":["ACTIVE"],"limit":50}"#)
    .list("campaigns", CAMPAIGN, &[Column::count("total").made().about("all that fit, not only this page")])
    .run(list_campaigns);

fn list_campaigns(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let position = ask.position()?;
        let from = position.as_ref().map(|(_, cursor)| cursor);
        let mut request = ask.own("{}/campaigns")?.fields(ask.fields(false)).query("summary", "total_count");
        let status = ask.args.list("status");
        if !status.is_empty() {
            request = request.query("effective_status", json!(status).to_string());
        }
        let objective = ask.args.text("objective").map(|objective| condition("objective", "IN", vec![objective]));
        let name = ask.args.text("name_contains").map(|name| condition("name", "CONTAIN", name));
        let filtering: Vec<Value> = objective.into_iter().chain(name).collect();
        if !filtering.is_empty() {
            request = request.query("filtering", json!(filtering).to_string());
        }
        let (mut page, facts) =
            try_join!(ask.page(&request, from, "ask for a smaller limit or fewer statuses"), account::facts(&ask))?;
        if page.rows.is_empty() && from.is_none() {
            ask.check_permission().await?;
        }
        for row in page.rows.iter_mut().filter_map(Value::as_object_mut) {
            row.insert("currency".to_owned(), facts.currency.clone().into());
        }
        let next = ask.next_cursor(page.next, None);
        Ok(Answer::List { rows: page.rows, beside: json!({ "total": page.total }), next }.in_currency(facts.currency))
    })
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{ACCOUNT, StandIn, refusal, sample};
    use super::*;
    use crate::tool::column;

    const FIELDS: &str = "id,name,objective,configured_status,effective_status,buying_type,bid_strategy,daily_budget,\
                          lifetime_budget,budget_remaining,spend_cap,special_ad_categories,start_time,stop_time,\
                          issues_info,created_time,updated_time";

    fn campaigns() -> Value {
        json!({"data": [
            {"id": "23850000000000001", "name": "Autumn sale", "objective": "OUTCOME_SALES", "configured_status": "ACTIVE",
             "effective_status": "WITH_ISSUES", "daily_budget": "2000", "lifetime_budget": "0", "budget_remaining": "0",
             "spend_cap": "500000", "special_ad_categories": ["HOUSING", "CREDIT"], "start_time": "2026-10-01T08:00:00+0200",
             "issues_info": [{"error_summary": "One"}, {"error_code": 1}, {"error_summary": "Two"}]},
            {"id": "23850000000000002", "name": "Leads", "budget_remaining": "0", "spend_cap": "0"}
        ], "paging": {"cursors": {"after": "QVFIa2"}, "next": "https://graph.facebook.com/x?access_token=EAAsecret"},
           "summary": {"total_count": 7}})
    }

    #[tokio::test]
    async fn campaigns_are_flat_rows_with_amounts_in_the_accounts_currency() {
        let meta = StandIn::edge("campaigns", |_| (200, campaigns())).await;
        let value = meta.answer("list_campaigns", json!({})).await.unwrap();
        let first = json!({
            "id": "23850000000000001", "name": "Autumn sale", "objective": "OUTCOME_SALES", "status": "ACTIVE",
            "effective_status": "WITH_ISSUES", "buying_type": null, "bid_strategy": null, "budget_level": "campaign",
            "daily_budget": "20.00", "lifetime_budget": null, "budget_remaining": "0.00", "spend_cap": "5000.00",
            "currency": "EUR", "special_ad_categories": "HOUSING,CREDIT", "start_time": "2026-10-01T06:00:00Z",
            "stop_time": null, "issues": "One · Two", "created_time": null, "updated_time": null
        });
        assert_eq!(value["campaigns"][0], first);
        let second = &value["campaigns"][1];
        assert_eq!(second["budget_level"], "ad_set");
        for unset in ["daily_budget", "budget_remaining", "spend_cap"] {
            assert_eq!(second[unset], Value::Null, "{unset}");
        }
        assert_eq!(value["total"], 7);
        assert!(!value.to_string().contains("EAA"));
    }

    #[tokio::test]
    async fn a_page_is_one_call_and_its_cursor_goes_on() {
        let meta = StandIn::edge("campaigns", |_| (200, campaigns())).await;
        let first = meta.answer("list_campaigns", json!({})).await.unwrap();
        let asked = format!("/v26.0/{ACCOUNT}/campaigns?fields={FIELDS}&summary=total_count&limit=25");
        assert!(meta.seen().contains(&asked), "{:?}", meta.seen());
        assert_eq!(meta.seen().len(), 2, "the other call is the account's currency");
        let again = json!({"cursor": first["next_cursor"]});
        meta.answer("list_campaigns", again).await.unwrap();
        assert_eq!(meta.seen()[2..], [format!("{asked}&after=QVFIa2")], "the currency is remembered");
        let others = json!({"cursor": first["next_cursor"], "limit": 5});
        assert!(matches!(meta.answer("list_campaigns", others).await, Err(ToolError::Arguments(_))));
        assert_eq!(meta.seen().len(), 3);
    }

    #[tokio::test]
    async fn filters_go_out_as_graph_takes_them() {
        let meta = StandIn::edge("campaigns", |_| (200, campaigns())).await;
        let args =
            json!({"status": "active,archived", "objective": "outcome_sales", "name_contains": "a\"b", "limit": 200});
        meta.answer("list_campaigns", args).await.unwrap();
        let filtering = r#"[{"field":"objective","operator":"IN","value":["OUTCOME_SALES"]},{"field":"name","operator":"CONTAIN","value":"a\"b"}]"#;
        let asked = format!(
            "/v26.0/{ACCOUNT}/campaigns?fields={FIELDS}&summary=total_count&effective_status=[\"ACTIVE\",\"ARCHIVED\"]\
             &filtering={filtering}&limit=200"
        );
        assert!(meta.seen().contains(&asked), "{:?}", meta.seen());
    }

    #[tokio::test]
    async fn too_much_data_is_asked_for_again_in_smaller_pages() {
        let all = StandIn::edge("campaigns", |_| refusal(500, 1, "Please reduce the amount of data")).await;
        let error = all.answer("list_campaigns", json!({"limit": 30})).await.unwrap_err();
        assert!(matches!(error, ToolError::TooMuch { .. }), "{error}");
        let limits: Vec<String> =
            all.seen().iter().filter_map(|asked| Some(asked.split_once("limit=")?.1.to_owned())).collect();
        assert_eq!(limits, ["30", "15", "7", "5"]);
        let some = StandIn::edge("campaigns", |asked| match asked.contains("limit=15") {
            true => (200, campaigns()),
            false => refusal(500, 1, "Please reduce the amount of data"),
        });
        assert_eq!(some.await.answer("list_campaigns", json!({"limit": 30})).await.unwrap()["total"], 7);
    }

    #[tokio::test]
    async fn a_cursor_that_meta_no_longer_knows_starts_the_list_again() {
        let meta = StandIn::edge("campaigns", |asked| match asked.contains("after=") {
            true => refusal(400, 100, "(#100) Invalid cursor"),
            false => (200, campaigns()),
        })
        .await;
        let first = meta.answer("list_campaigns", json!({})).await.unwrap();
        let error = meta.answer("list_campaigns", json!({"cursor": first["next_cursor"]})).await.unwrap_err();
        assert!(
            matches!(&error, ToolError::Arguments(_)) && error.to_string().contains("start the list again"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_empty_list_is_an_answer_unless_a_permission_is_missing() {
        let empty = |_: &str| (200, json!({"data": [], "summary": {"total_count": 0}}));
        let meta = StandIn::edge("campaigns", empty).await;
        assert_eq!(meta.answer("list_campaigns", json!({})).await.unwrap()["campaigns"], json!([]));
        let lacks = StandIn::edge("campaigns", empty).await.with_scopes(&["instagram_basic"]);
        let error = lacks.answer("list_campaigns", json!({})).await.unwrap_err();
        assert_eq!(error.to_string(), "the token lacks the permission ads_read or ads_management");
    }

    #[test]
    fn the_recorded_answer_maps() {
        let Some(body) = sample("67-campaigns.json") else { return };
        let facts = column::Facts { currency: Some("EUR") };
        let row = column::row(CAMPAIGN, &body["data"][0], facts).unwrap();
        assert_eq!((&row["daily_budget"], &row["special_ad_categories"]), (&json!("20.00"), &json!("")));
    }
}
