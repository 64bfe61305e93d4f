//! The ad account itself: `get_ad_account`, and the facts of it that other tools need.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{joined, read, set_amount};
use crate::graph::GraphError;
use crate::tool::money::decimal;
use crate::tool::{Answer, Ask, Column, Done, Tool, ToolError};

/// How long an account's currency and time zone are remembered; both hardly ever change.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What every amount and every day of an account is to be read with.
#[derive(Debug)]
pub(super) struct AccountFacts {
    /// As Meta's table names it.
    pub currency: String,
    /// Its IANA name.
    pub time_zone: String,
    /// Where the account's days begin.
    pub zone: TimeZone,
}

impl AccountFacts {
    fn of(raw: &Value) -> Result<Self, ToolError> {
        let text = |member: &str| raw[member].as_str().map(str::to_owned);
        let (Some(currency), Some(time_zone)) = (text("currency"), text("timezone_name")) else {
            // Every ad account has both: an answer without them is none.
            return Err(GraphError::malformed().into());
        };
        let zone = TimeZone::get(&time_zone).map_err(|_| ToolError::Fault("the ad account's time zone is unknown"))?;
        Ok(Self { currency, time_zone, zone })
    }

    /// Keeps what a node says, where it says enough.
    fn remember(ask: &Ask, raw: &Value) -> Result<Self, ToolError> {
        let facts = Self::of(raw)?;
        let kept = json!({ "currency": facts.currency, "timezone_name": facts.time_zone });
        ask.memory.put(key(ask)?, kept, REMEMBERED);
        Ok(facts)
    }
}

fn key(ask: &Ask) -> Result<String, ToolError> {
    Ok(format!("ad_account/{}/{}", ask.account.client, ask.id(ask.tool.account)?))
}

/// The account's facts, from memory or by one small call that is not counted among a tool's.
///
/// # Errors
/// Graph's, or an account without currency or known time zone.
pub(super) async fn facts(ask: &Ask) -> Result<AccountFacts, ToolError> {
    match ask.memory.get(&key(ask)?) {
        Some(known) => AccountFacts::of(&known),
        None => AccountFacts::remember(ask, &ask.graph.get(&ask.own("{}")?.fields("currency,timezone_name")).await?),
    }
}

/// `account_status` (Meta, Ad Account reference; the numbers are general knowledge).
const STATUS: &[(i64, &str)] = &[
    (ACTIVE, "active"),
    (2, "disabled"),
    (3, "unsettled"),
    (7, "pending_risk_review"),
    (8, "pending_settlement"),
    (9, "in_grace_period"),
    (100, "pending_closure"),
    (101, "closed"),
    (201, "any_active"),
    (202, "any_closed"),
];
const ACTIVE: i64 = 1;

/// `disable_reason` (Meta, Ad Account reference; the numbers are general knowledge).
const DISABLE_REASON: &[(i64, &str)] = &[
    (0, "none"),
    (1, "ads_integrity_policy"),
    (2, "ads_ip_review"),
    (3, "risk_payment"),
    (4, "gray_account_shut_down"),
    (5, "ads_afc_review"),
    (6, "business_integrity_rar"),
    (7, "permanent_close"),
    (8, "unused_reseller_account"),
    (9, "unused_account"),
    (10, "umbrella_ad_account"),
    (11, "business_manager_integrity_policy"),
    (12, "misrepresented_ad_account"),
    (13, "aoab_deshare_legal_entity"),
    (14, "ctx_thread_review"),
    (15, "compromised_ad_account"),
];

/// `funding_source_details.type` (Meta, Ad Account reference; general knowledge).
const FUNDING: &[(i64, &str)] = &[
    (0, "unset"),
    (1, "credit_card"),
    (2, "facebook_wallet"),
    (3, "facebook_paid_credit"),
    (4, "facebook_extended_credit"),
    (5, "order"),
    (6, "invoice"),
    (7, "facebook_token"),
    (8, "external_funding"),
    (12, "paypal_token"),
    (13, "paypal_billing_agreement"),
    (15, "external_deposit"),
    (17, "direct_debit"),
    (19, "altpay"),
    (20, "stored_balance"),
];

/// What is left of the spend limit, in minor units; `None` without a limit.
fn cap_left(raw: &Value) -> Option<Decimal> {
    let cap = decimal(&set_amount(&raw["spend_cap"]))?;
    Some((cap - decimal(&raw["amount_spent"])?).max(Decimal::ZERO))
}

fn can_deliver(raw: &Value) -> Value {
    let capped = cap_left(raw).is_some_and(|left| left.is_zero());
    raw["account_status"].as_i64().map_or(Value::Null, |status| (status == ACTIVE && !capped).into())
}

pub(super) const GET_AD_ACCOUNT: Tool = read("get_ad_account")
    .group("Account")
    .about(
        "Health, currency, time zone, status, spend limit, balance and minimum budget of the ad account: one row. Use \
         it first: amounts of all other tools are in this currency, and their days are days of this time zone. \
         can_deliver is false when the account is not active or its spend limit is used up; what hinders delivery \
         besides stands in problems. spend_cap null means no limit. Numbers of ads come from get_ads_insights.",
    )
    .row(&[
        Column::id("id").about("act_ and digits"),
        Column::text("name"),
        Column::words("status", STATUS).from("account_status"),
        Column::words("disable_reason", DISABLE_REASON).about("none, or why Meta disabled it"),
        Column::flag("can_deliver")
            .computed(can_deliver, &["account_status", "spend_cap", "amount_spent"])
            .about("active, and the spend limit is not used up"),
        Column::text("problems")
            .computed(|raw| joined(&raw["failed_delivery_checks"], "summary"), &["failed_delivery_checks"])
            .about("Meta's failed delivery checks, joined with ' · '; null: none"),
        Column::text("currency"),
        Column::text("time_zone").from("timezone_name").about("IANA name; the account's days are days of this zone"),
        Column::ratio("utc_offset_hours").from("timezone_offset_hours_utc"),
        Column::minor_money("amount_spent").about("counts against spend_cap, where there is one"),
        Column::minor_money("balance").about("owed and not yet billed"),
        Column::minor_money("spend_cap")
            .computed(|raw| set_amount(&raw["spend_cap"]), &["spend_cap"])
            .about("null: no limit"),
        Column::minor_money("spend_cap_left")
            .computed(|raw| cap_left(raw).map_or(Value::Null, |left| left.to_string().into()), &["spend_cap"])
            .about("spend_cap less amount_spent, not below 0; null: no limit"),
        Column::minor_money("min_daily_budget"),
        Column::flag("is_prepaid").from("is_prepay_account"),
        Column::words("funding_type", FUNDING).from("funding_source_details/type"),
        Column::id("business_id").from("business/id"),
        Column::text("business_name").from("business/name"),
        Column::ratio("opportunity_score").about("Meta's own score, 0 to 100"),
        Column::time("created_time"),
    ])
    .run(get_ad_account);

fn get_ad_account(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let raw = ask.graph.get(&ask.own("{}")?.fields(ask.fields(false))).await?;
        let facts = AccountFacts::remember(&ask, &raw)?;
        Ok(Answer::Row(raw).in_currency(facts.currency))
    })
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{ACCOUNT, StandIn};
    use super::*;

    #[tokio::test]
    async fn numbers_become_words_and_minor_units_become_amounts_in_one_call() {
        let meta = StandIn::account_only().await;
        let row = meta.answer("get_ad_account", json!({})).await.unwrap();
        let expected = json!({
            "id": "act_1000000000000001", "name": "Finch EU", "status": "active", "disable_reason": null,
            "can_deliver": true, "problems": null, "currency": "EUR", "time_zone": "Europe/Paris",
            "utc_offset_hours": 1, "amount_spent": "12893.45", "balance": "24.50", "spend_cap": null,
            "spend_cap_left": null, "min_daily_budget": "1.00", "is_prepaid": null, "funding_type": null,
            "business_id": null, "business_name": null, "opportunity_score": null, "created_time": null
        });
        assert_eq!(row, expected);
        let fields = "id,name,account_status,disable_reason,spend_cap,amount_spent,failed_delivery_checks,currency,\
                      timezone_name,timezone_offset_hours_utc,balance,min_daily_budget,is_prepay_account,\
                      funding_source_details{type},business{id,name},opportunity_score,created_time";
        assert_eq!(meta.seen(), [format!("/v26.0/{ACCOUNT}?fields={fields}")]);
    }

    #[tokio::test]
    async fn limits_problems_and_payment_are_told_and_no_card_number_is() {
        let with = json!({
            "account_status": 2, "disable_reason": 3, "spend_cap": "1289345", "currency": "JPY",
            "failed_delivery_checks": [{"summary": "No payment", "description": "x"}, {"summary": "Closed"}],
            "funding_source_details": {"type": 1, "display_string": "VISA *1234"}, "is_prepay_account": false
        });
        let row = StandIn::account(with).await.answer("get_ad_account", json!({})).await.unwrap();
        for (member, value) in [
            ("status", json!("disabled")),
            ("disable_reason", json!("risk_payment")),
            ("can_deliver", json!(false)),
            ("problems", json!("No payment · Closed")),
            ("amount_spent", json!("1289345")),
            ("spend_cap", json!("1289345")),
            ("spend_cap_left", json!("0")),
            ("funding_type", json!("credit_card")),
            ("is_prepaid", json!(false)),
        ] {
            assert_eq!(row[member], value, "{member}");
        }
        assert!(!row.to_string().contains("1234"));
        let unknown = StandIn::account(json!({"currency": "XXX"})).await.answer("get_ad_account", json!({})).await;
        assert!(matches!(unknown, Err(ToolError::Currency(_))), "{unknown:?}");
    }

    #[test]
    fn a_used_up_limit_stops_delivery() {
        let raw = |status: i64, cap: &str| json!({"account_status": status, "spend_cap": cap, "amount_spent": "500"});
        for (status, cap, can) in
            [(1, "0", true), (1, "501", true), (1, "500", false), (1, "499", false), (9, "0", false)]
        {
            assert_eq!(can_deliver(&raw(status, cap)), json!(can), "{status} {cap}");
        }
        assert_eq!(can_deliver(&json!({})), Value::Null);
    }
}
