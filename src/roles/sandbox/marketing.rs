//! Ads: accounts, campaigns, ad sets, ads, and their insights.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::business::{
    AdAccount, Business, Campaign, Delivery, HISTORY_DAYS, Objective, date_of, day_of, number_of, zone,
};
use super::fields::{self, Field, Kind, Member, Paging, Params};
use super::graph::{Call, unknown_path};
use super::rules::{Fault, Refusal, Usage};

/// The fields of an ad account (`spec/AdAccount.json`), and its edges.
pub const ACCOUNT_KIND: Kind = Kind {
    name: "AdAccount",
    known: "id account_id name account_status age amount_spent balance business created_time currency \
            disable_reason failed_delivery_checks funding_source_details is_prepay_account \
            min_campaign_group_spend_cap min_daily_budget opportunity_score owner spend_cap timezone_id \
            timezone_name timezone_offset_hours_utc user_tasks campaigns adsets ads insights",
    default: "account_id id",
};

/// The fields of a campaign (`spec/Campaign.json`), and its edges.
pub const CAMPAIGN_KIND: Kind = Kind {
    name: "AdCampaignGroup",
    known: "id account_id name objective status configured_status effective_status buying_type \
            bid_strategy daily_budget lifetime_budget budget_remaining spend_cap special_ad_categories \
            special_ad_category_country smart_promotion_type pacing_type promoted_object start_time \
            stop_time issues_info created_time updated_time is_adset_budget_sharing_enabled \
            is_budget_schedule_enabled adsets ads insights",
    default: "id",
};

/// The fields of an ad set (`spec/AdSet.json`), and its edges.
pub const AD_SET_KIND: Kind = Kind {
    name: "AdCampaign",
    known: "id account_id name campaign campaign_id status configured_status effective_status \
            optimization_goal billing_event bid_strategy bid_amount destination_type daily_budget \
            lifetime_budget budget_remaining daily_spend_cap daily_min_spend_target start_time end_time \
            learning_stage_info attribution_spec promoted_object targeting dsa_beneficiary dsa_payor \
            issues_info created_time updated_time ads insights",
    default: "id",
};

/// The fields of an ad (`spec/Ad.json`), and its edge.
pub const AD_KIND: Kind = Kind {
    name: "Adgroup",
    known: "id account_id name adset adset_id campaign campaign_id status configured_status \
            effective_status creative preview_shareable_link ad_review_feedback issues_info \
            tracking_specs conversion_domain created_time updated_time insights",
    default: "id",
};

const STATUSES: &[&str] = &[
    "ACTIVE",
    "PAUSED",
    "DELETED",
    "PENDING_REVIEW",
    "DISAPPROVED",
    "PREAPPROVED",
    "PENDING_BILLING_INFO",
    "CAMPAIGN_PAUSED",
    "ARCHIVED",
    "ADSET_PAUSED",
    "IN_PROCESS",
    "WITH_ISSUES",
];

/// How deep an object lies; also the `level` of insights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Account,
    Campaign,
    AdSet,
    Ad,
}

impl Level {
    const NAMES: [(&'static str, Self); 4] =
        [("account", Self::Account), ("campaign", Self::Campaign), ("adset", Self::AdSet), ("ad", Self::Ad)];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

/// An object of an ad account by its place: the campaign's index, the ad set and the ad from one on.
#[derive(Clone, Copy, Debug)]
struct Object {
    level: Level,
    campaign: usize,
    set: i64,
    ad: i64,
}

const WHOLE: Object = Object { level: Level::Account, campaign: 0, set: 0, ad: 0 };

/// An ad account as it was reached: a reserved id of a fault is the sample account under another number.
struct Account<'a> {
    ads: &'static AdAccount,
    id: &'a str,
}

impl Account<'_> {
    fn digits(&self) -> &str {
        self.id.trim_start_matches("act_")
    }

    fn id_of(&self, object: Object) -> String {
        match object.level {
            Level::Account => self.id.to_owned(),
            _ => format!("2385{}00000000{:02}{}{}", self.ads.number, object.campaign, object.set, object.ad),
        }
    }

    fn campaign(&self, object: Object) -> &'static Campaign {
        &self.ads.campaigns[object.campaign]
    }

    /// Everything of one level that lies in `under`, in the order of the account.
    fn objects(&self, level: Level, under: Object) -> Vec<Object> {
        if level == Level::Account {
            return vec![WHOLE];
        }
        let campaigns = match under.level {
            Level::Account => 0..self.ads.campaigns.len(),
            _ => under.campaign..under.campaign + 1,
        };
        let mut found = Vec::new();
        for campaign in campaigns {
            let (sets, ads) = (self.ads.campaigns[campaign].sets, self.ads.campaigns[campaign].ads_per_set);
            let sets = if level < Level::AdSet { 0..=0 } else { 1..=sets };
            for set in sets.filter(|set| under.set == 0 || under.set == *set) {
                let ads = if level < Level::Ad { 0..=0 } else { 1..=ads };
                for ad in ads.filter(|ad| under.ad == 0 || under.ad == *ad) {
                    found.push(Object { level, campaign, set, ad });
                }
            }
        }
        found
    }

    /// `configured_status` and `effective_status`.
    fn status(&self, object: Object) -> (&'static str, &'static str) {
        let campaign = self.campaign(object);
        // The third ad set of a campaign was switched off by hand.
        let own = if object.set == 3 && object.level == Level::AdSet { "PAUSED" } else { "ACTIVE" };
        match (object.level, campaign.effective_status) {
            (Level::Account | Level::Campaign, effective) => (campaign.status, effective),
            (_, gone @ ("ARCHIVED" | "DELETED")) => (gone, gone),
            (_, "PAUSED") => (own, "CAMPAIGN_PAUSED"),
            (Level::Ad, "WITH_ISSUES") if object.ad == 1 => (own, "DISAPPROVED"),
            (Level::Ad, _) if object.set == 3 => (own, "ADSET_PAUSED"),
            _ => (own, own),
        }
    }

    fn name(&self, object: Object) -> String {
        let audiences = ["Broad 25-54", "Tea lovers", "Website visitors 30d"];
        let audience = usize::try_from(object.set - 1).ok().and_then(|at| audiences.get(at)).copied();
        match object.level {
            Level::Account => self.ads.name.to_owned(),
            Level::Campaign => self.campaign(object).name.to_owned(),
            Level::AdSet => format!("{} {}", self.ads.country, audience.unwrap_or("Others")),
            Level::Ad if object.ad % 2 == 0 => format!("Reel | {}", self.campaign(object).name),
            Level::Ad => format!("Image | {}", self.campaign(object).name),
        }
    }
}

/// Whether a path is the Marketing API's, whose versions end sooner.
pub fn is_ads_path(path: &[&str]) -> bool {
    let target = path.first().copied().unwrap_or_default();
    target.starts_with("act_")
        || (target.len() == 17 && target.starts_with("2385"))
        || path.get(1) == Some(&"adaccounts")
}

/// The edge `adaccounts` of a user.
pub fn accounts(call: &Call<'_>, business: &'static Business, field: &Field) -> Result<Value, Refusal> {
    let account = Account { ads: &business.ads, id: business.ads.id };
    call.count_as(Usage::Ads(account.digits().to_owned()));
    let path = format!("{}/adaccounts", business.user);
    let paging = Paging { path: &path, limits: (25, 500), links: true };
    fields::page(
        call,
        &paging,
        &field.params,
        &[account],
        |_, account| account.id.to_owned(),
        |account| node(call, account, WHOLE, &field.fields),
    )
}

/// Answers for ad accounts and what is in them; `None` when `target` is none that the token reaches.
pub fn answer(call: &Call<'_>, target: &str, edge: &[&str]) -> Option<Result<Value, Refusal>> {
    let ads = &call.token.business()?.ads;
    let faulty = call.token.business == Some(0) && target.starts_with("act_") && Fault::of_account(target).is_some();
    let account = Account { ads, id: if faulty { target } else { ads.id } };
    let object = if target == account.id { WHOLE } else { find(&account, target)? };
    let digits = account.digits().to_owned();
    call.count_as(if edge == ["insights"] { Usage::AdsInsights(digits) } else { Usage::Ads(digits) });
    Some(on_object(call, &account, object, edge))
}

fn find(account: &Account<'_>, target: &str) -> Option<Object> {
    let levels = [Level::Campaign, Level::AdSet, Level::Ad];
    let all = levels.into_iter().flat_map(|level| account.objects(level, WHOLE));
    all.into_iter().find(|object| account.id_of(*object) == target)
}

fn on_object(call: &Call<'_>, account: &Account<'_>, object: Object, edge: &[&str]) -> Result<Value, Refusal> {
    let asked = fields::parse(call.params.get("fields").unwrap_or_default())?;
    match edge {
        [] => node(call, account, object, &asked),
        [name] => {
            let field = Field { name: (*name).to_owned(), params: call.params.clone(), fields: asked };
            edge_of(call, account, object, &field)?.ok_or_else(|| unknown_path(edge))
        }
        _ => Err(unknown_path(edge)),
    }
}

/// An edge that goes down, or the insights; `None` when the object has no such edge.
fn edge_of(call: &Call<'_>, account: &Account<'_>, object: Object, field: &Field) -> Result<Option<Value>, Refusal> {
    let level = match field.name.as_str() {
        "campaigns" => Level::Campaign,
        "adsets" => Level::AdSet,
        "ads" => Level::Ad,
        "insights" => return insights(call, account, object, field).map(Some),
        _ => return Ok(None),
    };
    if level <= object.level {
        return Ok(None);
    }
    let filters = Filter::read(&field.params)?;
    let statuses = field.params.list("effective_status");
    if statuses.iter().any(|status| !STATUSES.contains(&status.as_str())) {
        return Err(Refusal::one_of("effective_status[0]", STATUSES));
    }
    let by_status = !statuses.is_empty() || filters.iter().any(|filter| filter.field.ends_with("effective_status"));
    let mut objects = account.objects(level, object);
    objects.retain(|object| {
        let (_, effective) = account.status(*object);
        let hidden = !by_status && matches!(effective, "ARCHIVED" | "DELETED");
        let wanted = statuses.is_empty() || statuses.iter().any(|status| status == effective);
        !hidden && wanted && filters.iter().all(|filter| filter.fits_object(account, *object).unwrap_or(true))
    });
    let path = format!("{}/{}", account.id_of(object), field.name);
    let paging = Paging { path: &path, limits: (25, 500), links: true };
    let key = |_, object: &Object| account.id_of(*object);
    fields::page(call, &paging, &field.params, &objects, key, |object| node(call, account, *object, &field.fields))
        .map(Some)
}

/// A moment as ads objects write it, in the account's offset.
fn stamp(date: Date, hour: i8, ads: &AdAccount) -> Option<Value> {
    let at = date.at(hour, 12, 40, 0).to_zoned_datetime(zone(ads.zone)).ok()?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%S%z").to_string().into())
}

fn node(call: &Call<'_>, account: &Account<'_>, object: Object, asked: &[Field]) -> Result<Value, Refusal> {
    let kind = match object.level {
        Level::Account => &ACCOUNT_KIND,
        Level::Campaign => &CAMPAIGN_KIND,
        Level::AdSet => &AD_SET_KIND,
        Level::Ad => &AD_KIND,
    };
    fields::project(kind, asked, |field| {
        Ok(Member::from(match field.name.as_str() {
            "id" => Some(account.id_of(object).into()),
            "account_id" => Some(account.digits().into()),
            "name" if call.has("token_in_error") => Some(format!("Named {}", call.text).into()),
            "name" => Some(account.name(object).into()),
            "insights" => {
                // Graph leaves an expanded edge out when it is empty.
                let found = insights(call, account, object, field)?;
                let empty = found["data"].as_array().is_none_or(Vec::is_empty);
                return Ok(if empty { Member::Absent } else { Member::Edge(found) });
            }
            "campaigns" | "adsets" | "ads" => {
                return Ok(edge_of(call, account, object, field)?.map_or(Member::Absent, Member::Edge));
            }
            "campaign" => {
                let campaign = Object { level: Level::Campaign, set: 0, ad: 0, ..object };
                return node(call, account, campaign, &field.fields).map(Member::Edge);
            }
            "adset" => {
                let set = Object { level: Level::AdSet, ad: 0, ..object };
                return node(call, account, set, &field.fields).map(Member::Edge);
            }
            name if object.level == Level::Account => account_member(call, account, name),
            name => object_member(call, account, object, name),
        }))
    })
}

fn account_member(call: &Call<'_>, account: &Account<'_>, name: &str) -> Option<Value> {
    let ads = account.ads;
    let founded = jiff::civil::date(2023, 4, 3);
    let now = call.now.to_zoned_datetime(zone(ads.zone));
    Some(match name {
        "account_status" => 1.into(),
        "disable_reason" => 0.into(),
        "age" => json!(number_of(now.date()) - number_of(founded)),
        "amount_spent" => {
            let (_, total) = Period::history(call, ads).total(call, account, WHOLE, &[]);
            (total.spend + 1_289_345 * ads.offset / 100).to_string().into()
        }
        "balance" => (24 * ads.offset + ads.offset / 2).to_string().into(),
        "spend_cap" => "0".into(),
        "business" => json!({"id": format!("99{}", ads.number), "name": ads.name}),
        "created_time" => return stamp(founded, 9, ads),
        "currency" => ads.currency.into(),
        "failed_delivery_checks" => json!([]),
        "funding_source_details" => {
            json!({"id": format!("88{}", ads.number), "display_string": "VISA *0000", "type": 1})
        }
        "is_prepay_account" => false.into(),
        "min_campaign_group_spend_cap" => (100 * ads.offset).to_string().into(),
        "min_daily_budget" => ads.min_daily_budget.into(),
        "opportunity_score" => 82.into(),
        "owner" => format!("99{}", ads.number).into(),
        "timezone_name" => ads.zone.into(),
        "timezone_offset_hours_utc" => (now.offset().seconds() / 3600).into(),
        "user_tasks" => json!(["DRAFT", "ANALYZE", "ADVERTISE", "MANAGE"]),
        _ => return None,
    })
}

fn object_member(call: &Call<'_>, account: &Account<'_>, object: Object, name: &str) -> Option<Value> {
    let (ads, campaign) = (account.ads, account.campaign(object));
    let (configured, effective) = account.status(object);
    let (objective, goal, _) = campaign.objective.words();
    let budget = match (object.level, campaign.budget_on_sets) {
        (Level::Campaign, false) => Some(campaign.budget),
        (Level::AdSet, true) => Some(campaign.budget / campaign.sets),
        _ => None,
    };
    let in_set = object.level == Level::AdSet;
    let capped = in_set && campaign.budget_on_sets;
    Some(match name {
        "campaign_id" => account.id_of(Object { level: Level::Campaign, set: 0, ad: 0, ..object }).into(),
        "adset_id" => account.id_of(Object { level: Level::AdSet, ad: 0, ..object }).into(),
        "status" | "configured_status" => configured.into(),
        "effective_status" => effective.into(),
        "objective" => objective.into(),
        "buying_type" => "AUCTION".into(),
        "bid_strategy" if capped => "COST_CAP".into(),
        "bid_strategy" if !in_set && budget.is_none() => return None,
        "bid_strategy" => "LOWEST_COST_WITHOUT_CAP".into(),
        "bid_amount" if capped => (6 * ads.offset + ads.offset / 2).into(),
        "daily_budget" => budget?.to_string().into(),
        "lifetime_budget" if budget.is_some() => "0".into(), // unset budgets read so, or are absent
        "budget_remaining" => (budget? * 37 / 100).to_string().into(),
        // Both spellings of "none" are met.
        "special_ad_categories" if campaign.objective == Objective::Leads => json!(["NONE"]),
        "special_ad_categories" => json!([]),
        "pacing_type" => json!(["standard"]),
        "is_adset_budget_sharing_enabled" if campaign.budget_on_sets => false.into(),
        "is_budget_schedule_enabled" => false.into(),
        "start_time" => return stamp(campaign.start, 8, ads),
        "stop_time" if object.level == Level::Campaign => return stamp(campaign.stop?, 22, ads),
        "end_time" => return stamp(campaign.stop?, 22, ads),
        "created_time" => return stamp(campaign.start.saturating_sub(2.days()), 16, ads),
        "updated_time" => return stamp(campaign.start.saturating_add(3.days()), 11, ads),
        "issues_info" if matches!(effective, "WITH_ISSUES" | "DISAPPROVED") => json!([{
            "level": if object.level == Level::Ad { "AD" } else { "CAMPAIGN" },
            "error_code": 1_815_869, "error_type": "HARD_ERROR", "error_summary": "An ad was not approved",
            "error_message": "At least one ad of this campaign was not approved and does not run.",
        }]),
        "optimization_goal" => goal.into(),
        "billing_event" => "IMPRESSIONS".into(),
        "destination_type" => "WEBSITE".into(),
        "learning_stage_info" => {
            let conversions = call.sample.between(9, 61, campaign.name, object.set);
            let status = if conversions >= 50 { "SUCCESS" } else { "LEARNING" };
            json!({"status": status, "conversions": conversions, "last_sig_edit_ts": 1_788_300_000})
        }
        "attribution_spec" => json!([
            {"event_type": "CLICK_THROUGH", "window_days": 7}, {"event_type": "VIEW_THROUGH", "window_days": 1},
        ]),
        "promoted_object" if campaign.objective == Objective::Sales && in_set => {
            json!({"pixel_id": format!("77{}", ads.number), "custom_event_type": "PURCHASE"})
        }
        "targeting" => json!({
            "age_min": 25, "age_max": 54, "genders": [2],
            "geo_locations": {"countries": [ads.country], "location_types": ["home", "recent"]},
            "targeting_automation": {"advantage_audience": i64::from(object.set == 1)},
        }),
        "dsa_beneficiary" | "dsa_payor" if ads.country == "DE" => ads.name.into(),
        "creative" => json!({
            "id": account.id_of(object).replacen("2385", "2386", 1),
            "name": account.name(object),
            "thumbnail_url": format!("https://scontent.example.test/c/{}.jpg?oe=6A1B2C3D", account.id_of(object)),
        }),
        "preview_shareable_link" => format!("https://fb.example.test/{}", account.id_of(object)).into(),
        "ad_review_feedback" if effective == "DISAPPROVED" => {
            json!({"global": {"Misleading claims": "The ad promises an effect on health."}})
        }
        "conversion_domain" => "fernandkettle.example.test".into(),
        _ => return None,
    })
}

/// One condition of `filtering`.
struct Filter {
    field: String,
    operator: String,
    values: Vec<String>,
}

impl Filter {
    const OPERATORS: &[&str] = &[
        "EQUAL",
        "NOT_EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_OR_EQUAL",
        "LESS_THAN",
        "LESS_THAN_OR_EQUAL",
        "CONTAIN",
        "NOT_CONTAIN",
        "IN",
        "NOT_IN",
        "STARTS_WITH",
        "ENDS_WITH",
    ];

    fn read(params: &Params) -> Result<Vec<Self>, Refusal> {
        let Some(text) = params.get("filtering") else { return Ok(Vec::new()) };
        let Ok(Value::Array(conditions)) = serde_json::from_str(text) else {
            return Err(Refusal::parameter("param filtering must be an array."));
        };
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let read = |condition: &Value| {
            let operator = condition["operator"].as_str().unwrap_or_default();
            if !Self::OPERATORS.contains(&operator) {
                return Err(Refusal::one_of("filtering[0][operator]", Self::OPERATORS));
            }
            let Some(field) = condition["field"].as_str() else {
                return Err(Refusal::parameter("filtering[0][field] is required"));
            };
            let values = match &condition["value"] {
                Value::Array(values) => values.iter().map(plain).collect(),
                value => vec![plain(value)],
            };
            Ok(Self { field: field.to_owned(), operator: operator.to_owned(), values })
        };
        conditions.iter().map(read).collect()
    }

    fn fits(&self, found: &str) -> bool {
        let first = self.values.first().map(String::as_str).unwrap_or_default();
        let lower = |text: &str| text.to_lowercase();
        let number = |text: &str| text.parse::<Decimal>().ok();
        let order = number(found).zip(number(first)).map(|(found, wanted)| found.cmp(&wanted));
        match self.operator.as_str() {
            "EQUAL" => found == first,
            "NOT_EQUAL" => found != first,
            "GREATER_THAN" => order.is_some_and(std::cmp::Ordering::is_gt),
            "GREATER_THAN_OR_EQUAL" => order.is_some_and(std::cmp::Ordering::is_ge),
            "LESS_THAN" => order.is_some_and(std::cmp::Ordering::is_lt),
            "LESS_THAN_OR_EQUAL" => order.is_some_and(std::cmp::Ordering::is_le),
            "CONTAIN" => lower(found).contains(&lower(first)),
            "NOT_CONTAIN" => !lower(found).contains(&lower(first)),
            "IN" => self.values.iter().any(|value| value == found),
            "NOT_IN" => self.values.iter().all(|value| value != found),
            "STARTS_WITH" => lower(found).starts_with(&lower(first)),
            _ => lower(found).ends_with(&lower(first)),
        }
    }

    /// Whether an object fits; `None` when the field says nothing about objects of this level.
    fn fits_object(&self, account: &Account<'_>, object: Object) -> Option<bool> {
        let (prefix, field) = self.field.split_once('.').unwrap_or(("", &self.field));
        let object = match Level::named(prefix) {
            _ if prefix.is_empty() => object,
            Some(Level::Account) => WHOLE,
            Some(Level::Campaign) if object.level >= Level::Campaign => {
                Object { level: Level::Campaign, set: 0, ad: 0, ..object }
            }
            Some(Level::AdSet) if object.level >= Level::AdSet => Object { level: Level::AdSet, ad: 0, ..object },
            Some(Level::Ad) if object.level == Level::Ad => object,
            _ => return None,
        };
        let (configured, effective) = account.status(object);
        let campaign = account.campaign(object);
        Some(self.fits(&match field {
            "id" => account.id_of(object),
            "name" => account.name(object),
            "effective_status" | "delivery_info" => effective.to_owned(),
            "status" | "configured_status" => configured.to_owned(),
            "objective" => campaign.objective.words().0.to_owned(),
            "optimization_goal" => campaign.objective.words().1.to_owned(),
            _ => return None,
        }))
    }
}

/// The fields of a row of insights (`spec/AdsInsights.json`) that are served or, at the end, accepted and never set.
pub const INSIGHTS_FIELDS: &str = "\
    account_currency account_id account_name campaign_id campaign_name adset_id adset_name ad_id \
    ad_name date_start date_stop objective optimization_goal buying_type attribution_setting \
    created_time impressions reach frequency spend social_spend clicks ctr cpc cpm cpp unique_clicks \
    unique_ctr cost_per_unique_click inline_link_clicks inline_link_click_ctr \
    cost_per_inline_link_click inline_post_engagement outbound_clicks outbound_clicks_ctr \
    cost_per_outbound_click actions action_values cost_per_action_type purchase_roas \
    website_purchase_roas results cost_per_result video_play_actions video_p25_watched_actions \
    video_p50_watched_actions video_p75_watched_actions video_p95_watched_actions \
    video_p100_watched_actions video_thruplay_watched_actions video_avg_time_watched_actions \
    quality_ranking engagement_rate_ranking conversion_rate_ranking conversions conversion_values \
    cost_per_conversion cost_per_thruplay cost_per_unique_action_type estimated_ad_recallers \
    mobile_app_purchase_roas unique_actions unique_inline_link_clicks updated_time";

const PRESETS: &[&str] = &[
    "today",
    "yesterday",
    "this_month",
    "last_month",
    "this_quarter",
    "maximum",
    "data_maximum",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
    "last_week_mon_sun",
    "last_week_sun_sat",
    "last_quarter",
    "last_year",
    "this_week_mon_today",
    "this_week_sun_today",
    "this_year",
];

/// Days from the first to the last, both counted, in the account's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    first: i64,
    last: i64,
}

impl Period {
    fn history(call: &Call<'_>, ads: &AdAccount) -> Self {
        let today = day_of(call.now, &zone(ads.zone));
        Self { first: today - HISTORY_DAYS, last: today }
    }

    fn of_preset(preset: &str, today: i64) -> Option<Self> {
        let date = date_of(today);
        let last_days = |days: i64| Self { first: today - days, last: today - 1 };
        let from = |first: Date| Self { first: number_of(first), last: today };
        let before = |first: Date, next: Date| Self { first: number_of(first), last: number_of(next) - 1 };
        let month = date.first_of_month();
        let quarter = Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).ok()?;
        let monday = today - i64::from(date.weekday().to_monday_zero_offset());
        let sunday = today - i64::from(date.weekday().to_sunday_zero_offset());
        Some(match preset {
            "today" => Self { first: today, last: today },
            "yesterday" => last_days(1),
            "last_3d" => last_days(3),
            "last_7d" => last_days(7),
            "last_14d" => last_days(14),
            "last_28d" => last_days(28),
            "last_30d" => last_days(30),
            "last_90d" => last_days(90),
            "this_month" => from(month),
            "last_month" => before(month.saturating_sub(1.month()), month),
            "this_quarter" => from(quarter),
            "last_quarter" => before(quarter.saturating_sub(3.months()), quarter),
            "this_year" => from(date.first_of_year()),
            "last_year" => before(date.first_of_year().saturating_sub(1.year()), date.first_of_year()),
            "this_week_mon_today" => Self { first: monday, last: today },
            "this_week_sun_today" => Self { first: sunday, last: today },
            "last_week_mon_sun" => Self { first: monday - 7, last: monday - 1 },
            "last_week_sun_sat" => Self { first: sunday - 7, last: sunday - 1 },
            "maximum" | "data_maximum" => Self { first: today - HISTORY_DAYS, last: today },
            _ => return None,
        })
    }

    fn of_range(range: &Value, today: i64) -> Result<Self, Refusal> {
        let day = |name: &str| range[name].as_str().and_then(|text| text.parse::<Date>().ok()).map(number_of);
        let (Some(first), Some(last)) = (day("since"), day("until")) else {
            return Err(Refusal::parameter("param time_range must have since and until as YYYY-MM-DD"));
        };
        if first > last {
            return Err(Refusal::parameter("param time_range: since must not be after until"));
        }
        let oldest = date_of(today).saturating_sub(37.months());
        if first < number_of(oldest) {
            let message = "(#3018) The start date of the time range cannot be beyond 37 months from the current date";
            return Err(Refusal::new(3018, message));
        }
        Ok(Self { first, last: last.min(today) })
    }

    /// Cut by `time_increment`.
    fn slices(self, increment: &str) -> Result<Vec<Self>, Refusal> {
        let mut slices = Vec::new();
        let mut first = self.first;
        let step = match increment {
            "" | "all_days" => return Ok(vec![self]),
            "monthly" => None,
            days => match days.parse::<i64>() {
                Ok(days @ 1..=90) => Some(days),
                _ => return Err(Refusal::parameter("time_increment must be 1 to 90, monthly or all_days")),
            },
        };
        while first <= self.last {
            let next = match step {
                Some(days) => first + days,
                None => number_of(date_of(first).last_of_month()) + 1,
            };
            let slice = Self { first, last: (next - 1).min(self.last) };
            slices.push(slice);
            first = next.max(first + 1);
        }
        Ok(slices)
    }

    /// What an object brought, of the ads that `filters` choose, and its results by indicator with their spend.
    fn total(self, call: &Call<'_>, account: &Account<'_>, object: Object, filters: &[Filter]) -> (Results, Delivery) {
        let history = Self::history(call, account.ads);
        let days = self.first.max(history.first)..=self.last.min(history.last);
        let (mut total, mut results) = (Delivery::default(), Results::new());
        for ad in account.objects(Level::Ad, object) {
            if ad.set == 3 && account.campaign(ad).effective_status == "ACTIVE" {
                continue; // switched off before it ever delivered
            }
            // `campaign.id` and the like choose ads, whatever the level of the rows.
            let mut choosing = filters.iter().filter(|filter| filter.field.contains('.'));
            if choosing.any(|filter| filter.fits_object(account, ad) == Some(false)) {
                continue;
            }
            let mut of_ad = Delivery::default();
            for day in days.clone() {
                let Some(delivery) = call.sample.delivery(account.ads, (ad.campaign, ad.set, ad.ad), day) else {
                    continue;
                };
                if day == history.last {
                    of_ad.add(&delivery.part(0, elapsed(call.now, account.ads)));
                } else {
                    of_ad.add(&delivery);
                }
            }
            let objective = account.campaign(ad).objective;
            let result = results.entry(objective.words().2).or_default();
            result.0 += result_of(objective, &of_ad);
            result.1 += of_ad.spend;
            total.add(&of_ad);
        }
        (results, total)
    }
}

/// Results and spend in minor units, by indicator.
type Results = BTreeMap<&'static str, (i64, i64)>;

fn result_of(objective: Objective, delivery: &Delivery) -> i64 {
    match objective {
        Objective::Sales => delivery.purchases,
        Objective::Leads => delivery.leads,
        Objective::Traffic => delivery.landing_page_views,
        Objective::Engagement => engagement(delivery),
        Objective::Awareness => delivery.reach(),
    }
}

fn engagement(delivery: &Delivery) -> i64 {
    let Delivery { link_clicks, reactions, comments, shares, saves, video_views, .. } = delivery;
    link_clicks + reactions + comments + shares + saves + video_views
}

/// Thousandths of today that are over.
fn elapsed(now: Timestamp, ads: &AdAccount) -> i64 {
    let zone = zone(ads.zone);
    let midnight = super::business::start_of(day_of(now, &zone), &zone);
    ((now.as_second() - midnight.as_second()) * 1000 / 86_400).clamp(0, 1000)
}

/// The value of each breakdown of a row.
type Segment = Vec<(String, &'static str)>;

/// One row of insights.
struct Row {
    object: Object,
    period: Period,
    segment: Segment,
    delivery: Delivery,
    results: Results,
}

/// What a call of insights asks for, checked.
struct AskedInsights {
    fields: Vec<String>,
    breakdowns: Vec<String>,
    action_breakdowns: Vec<String>,
    windows: Vec<String>,
    filters: Vec<Filter>,
    /// Breakdowns that hide what happened off Meta.
    off_meta_hidden: bool,
}

fn insights(call: &Call<'_>, account: &Account<'_>, object: Object, field: &Field) -> Result<Value, Refusal> {
    if call.has("token_in_error") {
        return Err(Refusal::parameter(format!("Cannot read the insights with token {}", call.text)));
    }
    let params = &field.params;
    let level = match params.get("level") {
        None => object.level,
        Some(name) => {
            let names: Vec<&str> = Level::NAMES.iter().map(|(name, _)| *name).collect();
            Level::named(name).ok_or_else(|| Refusal::one_of("level", &names))?
        }
    };
    if level < object.level {
        return Err(Refusal { subcode: Some(99), ..Refusal::new(1, "An unknown error occurred") });
    }
    let asked = AskedInsights::read(field)?;
    let periods = periods(call, account.ads, params)?;
    // Since August 2026 these need an opt-in; without it synchronous calls are empty.
    let opt_in = ["impression_device", "hourly_stats_aggregated_by_audience_time_zone", "frequency_value"];
    if asked.breakdowns.iter().any(|name| opt_in.contains(&name.as_str())) {
        return Ok(json!({"data": []}));
    }
    let segments = segments(&asked.breakdowns, account.ads.country);
    let mut whole = (Results::new(), Delivery::default());
    let mut rows = Vec::new();
    let object_fits =
        |object: &Object| asked.filters.iter().all(|filter| filter.fits_object(account, *object).unwrap_or(true));
    for object in
        account.objects(level, object).into_iter().map(|found| if level == object.level { object } else { found })
    {
        if !object_fits(&object) {
            continue;
        }
        for period in &periods {
            let (results, delivery) = period.total(call, account, object, &asked.filters);
            let before = rows.len();
            for (segment, from, to) in &segments {
                let part = delivery.part(*from, *to);
                let share = |(count, spend): (i64, i64)| {
                    (count * to / 1000 - count * from / 1000, spend * to / 1000 - spend * from / 1000)
                };
                let results = results.iter().map(|(name, result)| (*name, share(*result))).collect();
                let row = Row { object, period: *period, segment: segment.clone(), delivery: part, results };
                if row.delivery.impressions > 0 && asked.fits_numbers(account, &row) {
                    rows.push(row);
                }
            }
            if rows.len() > before {
                whole.1.add(&delivery);
                for (name, (count, spend)) in results {
                    let sum = whole.0.entry(name).or_default();
                    *sum = (sum.0 + count, sum.1 + spend);
                }
            }
        }
    }
    if let Some(sort) = params.list("sort").first() {
        let (name, descending) = match (sort.strip_suffix("_descending"), sort.strip_suffix("_ascending")) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => (sort.as_str(), false),
        };
        rows.sort_by_cached_key(|row| asked.number(account, row, name).unwrap_or_default());
        if descending {
            rows.reverse();
        }
    }
    let path = format!("{}/insights", account.id_of(object));
    let paging = Paging { path: &path, limits: (25, 500), links: true };
    let page_params = Params(params.0.iter().filter(|(name, _)| name != "summary").cloned().collect());
    let mut answer =
        fields::page(call, &paging, &page_params, &rows, |at, _| at.to_string(), |row| Ok(asked.shown(account, row)))?;
    let summed = params.list("summary");
    if (!summed.is_empty() || params.get("default_summary") == Some("true"))
        && let (Some(first), Some(last)) = (periods.first(), periods.last())
        && whole.1.impressions > 0
    {
        let period = Period { first: first.first, last: last.last };
        let (results, delivery) = whole;
        let row = Row { object: WHOLE, period, segment: Vec::new(), delivery, results };
        let names = if summed.is_empty() || summed[0] == "true" { asked.fields.clone() } else { summed };
        let about_rows = |name: &String| name.ends_with("_id") || name.ends_with("_name");
        let fields = names.into_iter().filter(|name| !about_rows(name)).collect();
        answer["summary"] = AskedInsights { fields, ..asked }.shown(account, &row);
    }
    Ok(answer)
}

fn periods(call: &Call<'_>, ads: &AdAccount, params: &Params) -> Result<Vec<Period>, Refusal> {
    let today = day_of(call.now, &zone(ads.zone));
    let json = |name: &str| params.get(name).map(serde_json::from_str::<Value>);
    if let Some(ranges) = json("time_ranges") {
        let Ok(Value::Array(ranges)) = ranges else {
            return Err(Refusal::parameter("param time_ranges must be an array."));
        };
        return ranges.iter().map(|range| Period::of_range(range, today)).collect();
    }
    let period = match (json("time_range"), params.get("date_preset")) {
        (Some(range), _) => Period::of_range(&range.unwrap_or_default(), today)?,
        (None, preset) => Period::of_preset(preset.unwrap_or("last_30d"), today)
            .ok_or_else(|| Refusal::one_of("date_preset", PRESETS))?,
    };
    period.slices(params.get("time_increment").unwrap_or_default())
}

/// Combinations that Graph takes, documented or seen (`data/ads_breakdowns.json`); each in alphabetical order.
const COMBINATIONS: &[&[&str]] = &[
    &["age"],
    &["gender"],
    &["age", "gender"],
    &["app_id", "skan_conversion_id"],
    &["country"],
    &["age", "country"],
    &["country", "gender"],
    &["country", "region"],
    &["region"],
    &["dma"],
    &["publisher_platform"],
    &["impression_device", "publisher_platform"],
    &["platform_position", "publisher_platform"],
    &["impression_device", "platform_position", "publisher_platform"],
    &["device_platform"],
    &["device_platform", "publisher_platform"],
    &["device_platform", "platform_position", "publisher_platform"],
    &["impression_device"],
    &["frequency_value"],
    &["product_id"],
    &["hourly_stats_aggregated_by_advertiser_time_zone"],
    &["hourly_stats_aggregated_by_audience_time_zone"],
];
/// Asset breakdowns stand alone or with age and gender.
const ASSETS: &[&str] = &[
    "ad_format_asset",
    "body_asset",
    "call_to_action_asset",
    "description_asset",
    "image_asset",
    "link_url_asset",
    "title_asset",
    "video_asset",
];
const ACTION_BREAKDOWNS: &[&str] = &[
    "action_type",
    "action_device",
    "action_destination",
    "action_target_id",
    "action_reaction",
    "action_video_sound",
    "action_video_type",
    "action_carousel_card_id",
    "action_carousel_card_name",
    "action_canvas_component_name",
    "action_converted_product_id",
    "conversion_destination",
];
/// Accepted windows with their share of an action in per cent; 7d_view and 28d_view are accepted and empty since 2026-01-12.
const WINDOWS: &[(&str, i64)] = &[
    ("1d_click", 64),
    ("7d_click", 86),
    ("28d_click", 94),
    ("1d_view", 14),
    ("1d_ev", 3),
    ("incrementality", 71),
    ("7d_view", 0),
    ("28d_view", 0),
    ("skan_click", 0),
    ("skan_view", 0),
];

impl AskedInsights {
    fn read(field: &Field) -> Result<Self, Refusal> {
        let params = &field.params;
        let mut names: Vec<String> = field.fields.iter().map(|field| field.name.clone()).collect();
        if names.is_empty() {
            names.extend(["account_id", "impressions", "spend"].map(str::to_owned));
        }
        if let Some(name) = names.iter().find(|name| !INSIGHTS_FIELDS.split(' ').any(|known| known == name.as_str())) {
            return Err(Refusal::parameter(format!(
                "{name} is not valid for fields param. please check \
                 https://developers.facebook.com/docs/marketing-api/reference/ads-insights/ for all valid values"
            )));
        }
        let breakdowns = params.list("breakdowns");
        let mut known: Vec<&str> = COMBINATIONS.iter().copied().flatten().chain(ASSETS).copied().collect();
        known.sort_unstable();
        known.dedup();
        for (at, name) in breakdowns.iter().enumerate() {
            if !known.contains(&name.as_str()) && !ACTION_BREAKDOWNS.contains(&name.as_str()) {
                return Err(Refusal::one_of(&format!("breakdowns[{at}]"), &known));
            }
        }
        let mut sorted: Vec<&str> = breakdowns.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let assets = sorted.iter().filter(|name| ASSETS.contains(name)).count();
        let beside: Vec<&str> = sorted.iter().filter(|name| !ASSETS.contains(name)).copied().collect();
        let fits = match assets {
            0 => sorted.is_empty() || COMBINATIONS.contains(&sorted.as_slice()),
            1 => beside.iter().all(|name| matches!(*name, "age" | "gender")),
            _ => false,
        };
        let action_breakdowns = params.list("action_breakdowns");
        if let Some(at) = action_breakdowns.iter().position(|name| !ACTION_BREAKDOWNS.contains(&name.as_str())) {
            return Err(Refusal::one_of(&format!("action_breakdowns[{at}]"), ACTION_BREAKDOWNS));
        }
        if !fits {
            let with_actions = names.iter().any(|name| name == "actions");
            let mut all: Vec<&str> = if with_actions { vec!["action_type"] } else { Vec::new() };
            all.extend(sorted);
            let all = all.join(", ");
            return Err(Refusal::parameter(format!(
                "Current combination of data breakdown columns ({all}) is invalid"
            )));
        }
        let windows = params.list("action_attribution_windows");
        let usual = |name: &str| name == "default" || WINDOWS.iter().any(|(known, _)| *known == name);
        if let Some(at) = windows.iter().position(|name| !usual(name)) {
            let known: Vec<&str> = WINDOWS.iter().map(|(name, _)| *name).collect();
            return Err(Refusal::one_of(&format!("action_attribution_windows[{at}]"), &known));
        }
        let hiding = |name: &String| name == "region" || name == "dma" || name.starts_with("hourly_");
        Ok(Self {
            off_meta_hidden: breakdowns.iter().any(hiding),
            fields: names,
            breakdowns,
            action_breakdowns,
            windows,
            filters: Filter::read(params)?,
        })
    }

    /// Whether a row's numbers fit the filters on metrics, such as `spend` or `ad.impressions`.
    fn fits_numbers(&self, account: &Account<'_>, row: &Row) -> bool {
        self.filters.iter().all(|filter| {
            if filter.fits_object(account, row.object).is_some() || filter.field == "action_type" {
                return true;
            }
            let name = filter.field.rsplit('.').next().unwrap_or_default();
            self.number(account, row, name).is_none_or(|number| filter.fits(&number.to_string()))
        })
    }

    /// A number of a row, to sort and filter by; `actions:link_click` is one entry of a list.
    fn number(&self, account: &Account<'_>, row: &Row, name: &str) -> Option<Decimal> {
        let (name, entry) = name.split_once(':').unwrap_or((name, ""));
        let value = self.value(account, row, name)?;
        let text = match &value {
            Value::Array(entries) => entries.iter().find(|found| found["action_type"] == entry)?["value"].as_str()?,
            other => other.as_str()?,
        };
        text.parse().ok()
    }

    /// A row as Graph writes it: what exists of the asked fields, the dates, then the breakdowns.
    fn shown(&self, account: &Account<'_>, row: &Row) -> Value {
        let mut shown = Map::new();
        for name in &self.fields {
            if let Some(value) = self.value(account, row, name) {
                shown.insert(name.clone(), value);
            }
        }
        for name in ["date_start", "date_stop"] {
            if let Some(date) = self.value(account, row, name) {
                shown.insert(name.to_owned(), date);
            }
        }
        shown.extend(row.segment.iter().map(|(name, value)| (name.clone(), (*value).into())));
        Value::Object(shown)
    }

    fn value(&self, account: &Account<'_>, row: &Row, name: &str) -> Option<Value> {
        let (delivery, object, ads) = (&row.delivery, row.object, account.ads);
        let (spend, offset) = (delivery.spend, ads.offset);
        // Hourly rows have no people in them, only views.
        let hourly = self.breakdowns.iter().any(|name| name.starts_with("hourly_"));
        let reach = if hourly { 0 } else { delivery.reach() };
        let count = |number: i64| Some(Value::from(number.to_string()));
        let cost = |number: i64| quotient(spend, offset * number).map(Value::from);
        let rate = |part: i64, whole: i64| quotient(part * 100, whole).map(Value::from);
        let one = |kind: &str, number: i64| {
            (number > 0).then(|| json!([self.entry(kind, number, |number| number.to_string())]))
        };
        let id_at = |level: Level, kept: Object| (object.level >= level).then(|| account.id_of(kept).into());
        let name_at = |level: Level, kept: Object| (object.level >= level).then(|| account.name(kept).into());
        let campaign = Object { level: Level::Campaign, set: 0, ad: 0, ..object };
        let set = Object { level: Level::AdSet, ad: 0, ..object };
        let watched = |per_cent: i64| one("video_view", delivery.video_views * per_cent / 100);
        match name {
            "account_id" => Some(account.digits().into()),
            "account_name" => Some(ads.name.into()),
            "account_currency" => Some(ads.currency.into()),
            "campaign_id" => id_at(Level::Campaign, campaign),
            "campaign_name" => name_at(Level::Campaign, campaign),
            "adset_id" => id_at(Level::AdSet, set),
            "adset_name" => name_at(Level::AdSet, set),
            "ad_id" => id_at(Level::Ad, object),
            "ad_name" => name_at(Level::Ad, object),
            "date_start" => Some(date_of(row.period.first).to_string().into()),
            "date_stop" => Some(date_of(row.period.last).to_string().into()),
            "created_time" if object.level > Level::Account => {
                Some(account.campaign(object).start.saturating_sub(2.days()).to_string().into())
            }
            "objective" if object.level > Level::Account => Some(account.campaign(object).objective.words().0.into()),
            "optimization_goal" if object.level > Level::Campaign => {
                Some(account.campaign(object).objective.words().1.into())
            }
            "buying_type" if object.level > Level::Account => Some("AUCTION".into()),
            "attribution_setting" if object.level > Level::Campaign => Some("7d_click_1d_view".into()),
            "impressions" => count(delivery.impressions),
            "reach" => count(reach),
            "frequency" if hourly => count(0),
            "frequency" => quotient(delivery.impressions, reach).map(Value::from),
            "spend" => Some(money(spend, offset).into()),
            "social_spend" => Some(money(spend * 3 / 100, offset).into()),
            "clicks" => count(delivery.clicks),
            "ctr" => rate(delivery.clicks, delivery.impressions),
            "cpc" => cost(delivery.clicks),
            "cpm" => quotient(spend * 1000, offset * delivery.impressions).map(Value::from),
            "cpp" => quotient(spend * 1000, offset * reach).map(Value::from),
            "unique_clicks" if !hourly => count(delivery.clicks * 93 / 100),
            "unique_ctr" if !hourly => rate(delivery.clicks * 93 / 100, reach),
            "cost_per_unique_click" if !hourly => cost(delivery.clicks * 93 / 100),
            "inline_link_clicks" => count(delivery.link_clicks),
            "inline_link_click_ctr" => rate(delivery.link_clicks, delivery.impressions),
            "cost_per_inline_link_click" => cost(delivery.link_clicks),
            "inline_post_engagement" => count(engagement(delivery)),
            "outbound_clicks" => one("outbound_click", delivery.link_clicks * 97 / 100),
            "outbound_clicks_ctr" => {
                let rate = rate(delivery.link_clicks * 97 / 100, delivery.impressions)?;
                Some(json!([{"action_type": "outbound_click", "value": rate}]))
            }
            "cost_per_outbound_click" => {
                Some(json!([{"action_type": "outbound_click", "value": cost(delivery.link_clicks * 97 / 100)?}]))
            }
            "actions" => self.list(delivery, |_, number| Some((number, 1))),
            "action_values" => {
                let worth = |kind: &str, _| kind.ends_with("purchase").then_some((delivery.value, offset));
                self.list(delivery, worth)
            }
            "cost_per_action_type" => {
                let costs = self.actions(delivery).into_iter().filter_map(|(kind, number)| {
                    Some(json!({"action_type": kind, "value": quotient(spend, offset * number)?}))
                });
                some_list(costs.collect())
            }
            "purchase_roas" | "website_purchase_roas" if delivery.value > 0 && !self.off_meta_hidden => {
                let kind =
                    if name == "purchase_roas" { "omni_purchase" } else { "offsite_conversion.fb_pixel_purchase" };
                Some(json!([{"action_type": kind, "value": quotient(delivery.value, spend)?}]))
            }
            "results" | "cost_per_result" => {
                let rows = row.results.iter().filter(|(_, (count, _))| *count > 0).filter_map(
                    |(indicator, (count, spend))| {
                        let value =
                            if name == "results" { count.to_string() } else { quotient(*spend, offset * count)? };
                        let values = json!([{"value": value, "attribution_windows": ["default"]}]);
                        Some(json!({"indicator": indicator, "values": values}))
                    },
                );
                some_list(rows.collect())
            }
            "video_play_actions" => watched(100),
            "video_p25_watched_actions" => watched(57),
            "video_p50_watched_actions" => watched(34),
            "video_p75_watched_actions" => watched(22),
            "video_p95_watched_actions" => watched(13),
            "video_p100_watched_actions" => watched(11),
            "video_thruplay_watched_actions" => watched(26),
            "video_avg_time_watched_actions" if delivery.video_views > 0 => one("video_view", 5),
            "quality_ranking" | "engagement_rate_ranking" | "conversion_rate_ranking" if object.level == Level::Ad => {
                Some(if delivery.impressions < 500 { "UNKNOWN" } else { "AVERAGE" }.into())
            }
            _ => None,
        }
    }

    /// One entry of an action list, with a value for each window that was asked for and has one.
    fn entry(&self, kind: &str, number: i64, write: impl Fn(i64) -> String) -> Value {
        let mut entry = json!({"action_type": kind, "value": write(number)});
        for (window, share) in WINDOWS.iter().filter(|(name, _)| self.windows.iter().any(|asked| asked == name)) {
            let part = number * share / 100;
            if part > 0 {
                entry[*window] = write(part).into();
            }
        }
        entry
    }

    /// An action list; `worth` gives an action's amount and the divisor that makes it a major unit.
    fn list(&self, delivery: &Delivery, worth: impl Fn(&str, i64) -> Option<(i64, i64)>) -> Option<Value> {
        let mut entries = Vec::new();
        let wanted = self.filters.iter().filter(|filter| filter.field == "action_type");
        let wanted: Vec<&Filter> = wanted.collect();
        for (kind, number) in self.actions(delivery) {
            if !wanted.iter().all(|filter| filter.fits(kind)) {
                continue;
            }
            let Some((amount, divisor)) = worth(kind, number) else { continue };
            let write = |amount| trimmed(amount, divisor);
            match self.action_breakdowns.iter().find(|name| *name != "action_type") {
                None => entries.push(self.entry(kind, amount, write)),
                Some(breakdown) => {
                    let mut below = 0;
                    for (value, weight) in action_parts(breakdown) {
                        let part = amount * (below + weight) / 1000 - amount * below / 1000;
                        below += weight;
                        if part > 0 {
                            let mut entry = self.entry(kind, part, write);
                            entry[breakdown] = (*value).into();
                            entries.push(entry);
                        }
                    }
                }
            }
        }
        some_list(entries)
    }

    /// What people did, by Graph's hierarchical action types, which therefore must never be added up.
    fn actions(&self, delivery: &Delivery) -> Vec<(&'static str, i64)> {
        let on_meta = [
            ("link_click", delivery.link_clicks),
            ("post_reaction", delivery.reactions),
            ("comment", delivery.comments),
            ("post", delivery.shares),
            ("onsite_conversion.post_save", delivery.saves),
            ("video_view", delivery.video_views),
            ("post_engagement", engagement(delivery)),
            ("page_engagement", engagement(delivery) + delivery.reactions / 5),
            ("onsite_conversion.lead_grouped", delivery.leads),
            ("lead", delivery.leads),
        ];
        let off_meta = [
            ("landing_page_view", delivery.landing_page_views),
            ("omni_landing_page_view", delivery.landing_page_views),
            ("offsite_conversion.fb_pixel_view_content", delivery.view_content),
            ("view_content", delivery.view_content),
            ("omni_view_content", delivery.view_content),
            ("offsite_conversion.fb_pixel_add_to_cart", delivery.add_to_cart),
            ("add_to_cart", delivery.add_to_cart),
            ("omni_add_to_cart", delivery.add_to_cart),
            ("offsite_conversion.fb_pixel_initiate_checkout", delivery.checkouts),
            ("initiate_checkout", delivery.checkouts),
            ("omni_initiated_checkout", delivery.checkouts),
            ("offsite_conversion.fb_pixel_purchase", delivery.purchases),
            ("purchase", delivery.purchases),
            ("omni_purchase", delivery.purchases),
        ];
        let hidden = if self.off_meta_hidden { off_meta.len() } else { 0 };
        on_meta.into_iter().chain(off_meta.into_iter().skip(hidden)).filter(|(_, number)| *number > 0).collect()
    }
}

fn some_list(entries: Vec<Value>) -> Option<Value> {
    (!entries.is_empty()).then(|| entries.into())
}

fn action_parts(breakdown: &str) -> &'static [(&'static str, i64)] {
    match breakdown {
        "action_device" => &[("android_smartphone", 380), ("iphone", 470), ("desktop", 150)],
        "action_reaction" => &[("like", 810), ("love", 160), ("wow", 30)],
        "action_destination" => &[("fernandkettle.example.test", 1000)],
        _ => &[("1", 700), ("2", 300)],
    }
}

/// Every segment of a breakdown with its cut in thousandths; a single whole one without breakdowns, none for
/// breakdowns that this business has no data for.
#[rustfmt::skip]
fn segments(breakdowns: &[String], country: &'static str) -> Vec<(Segment, i64, i64)> {
    let mut parts: Vec<(Segment, i64)> = vec![(Vec::new(), 1000)];
    let mut breakdowns: Vec<&String> = breakdowns.iter().collect();
    breakdowns.sort_by_key(|name| *name != "publisher_platform");
    for name in breakdowns {
        let positions = |platform: Option<&str>| -> &'static [(&'static str, i64)] {
            match platform {
                Some("instagram") => &[("feed", 380), ("instagram_reels", 340), ("instagram_stories", 280)],
                Some("facebook") => &[("feed", 640), ("facebook_reels", 220), ("marketplace", 140)],
                _ => &[("an_classic", 1000)],
            }
        };
        let fixed: &[(&str, i64)] = match name.as_str() {
            "age" => &[("18-24", 150), ("25-34", 340), ("35-44", 260), ("45-54", 150), ("55-64", 70), ("65+", 30)],
            "gender" => &[("female", 640), ("male", 320), ("unknown", 40)],
            "country" if country == "JP" => &[("JP", 1000)],
            "country" => &[("DE", 780), ("AT", 130), ("CH", 90)],
            "region" if country == "JP" => &[("Osaka Prefecture", 620), ("Tokyo", 380)],
            "region" => &[("Berlin", 260), ("Sachsen", 410), ("Wien", 130), ("Bayern", 200)],
            "publisher_platform" => &[("facebook", 350), ("instagram", 590), ("audience_network", 60)],
            "device_platform" => &[("mobile_app", 870), ("desktop", 90), ("mobile_web", 40)],
            "hourly_stats_aggregated_by_advertiser_time_zone" => HOURS,
            _ => &[],
        };
        // A placement depends on its platform, which therefore comes first.
        let platform_of = |segment: &[(String, &'static str)]| {
            segment.iter().find(|(name, _)| name == "publisher_platform").map(|(_, value)| *value)
        };
        let mut divided = Vec::new();
        for (segment, weight) in &parts {
            let dimension = if name == "platform_position" { positions(platform_of(segment)) } else { fixed };
            for (value, share) in dimension {
                let segment = segment.iter().cloned().chain([(name.clone(), *value)]).collect();
                divided.push((segment, weight * share / 1000));
            }
        }
        parts = divided;
    }
    let mut below = 0;
    let last = parts.len();
    let cut = |(at, (segment, weight)): (usize, (Segment, i64))| {
        let from = below;
        // Rounding leaves thousandths over; the last segment takes them, so that the whole stays whole.
        below = if at + 1 == last { 1000 } else { below + weight };
        (segment, from, below)
    };
    parts.into_iter().enumerate().map(cut).collect()
}

#[rustfmt::skip]
const HOURS: &[(&str, i64)] = &[
    ("00:00:00 - 00:59:59", 14), ("01:00:00 - 01:59:59", 8), ("02:00:00 - 02:59:59", 6), ("03:00:00 - 03:59:59", 5),
    ("04:00:00 - 04:59:59", 6), ("05:00:00 - 05:59:59", 13), ("06:00:00 - 06:59:59", 31), ("07:00:00 - 07:59:59", 46),
    ("08:00:00 - 08:59:59", 47), ("09:00:00 - 09:59:59", 44), ("10:00:00 - 10:59:59", 43), ("11:00:00 - 11:59:59", 47),
    ("12:00:00 - 12:59:59", 56), ("13:00:00 - 13:59:59", 51), ("14:00:00 - 14:59:59", 48), ("15:00:00 - 15:59:59", 49),
    ("16:00:00 - 16:59:59", 54), ("17:00:00 - 17:59:59", 61), ("18:00:00 - 18:59:59", 68), ("19:00:00 - 19:59:59", 78),
    ("20:00:00 - 20:59:59", 84), ("21:00:00 - 21:59:59", 71), ("22:00:00 - 22:59:59", 45), ("23:00:00 - 23:59:59", 25),
];

/// Minor units as insights write money: major units with the currency's decimals.
fn money(minor: i64, offset: i64) -> String {
    if offset == 1 { minor.to_string() } else { format!("{}.{:02}", minor / offset, minor % offset) }
}

/// `amount ÷ divisor` without zeros at the end, `1490.5`: how action lists write values.
fn trimmed(amount: i64, divisor: i64) -> String {
    Decimal::from(amount).checked_div(divisor.into()).unwrap_or_default().normalize().to_string()
}

/// A ratio with six decimals, `2.495333`, half away from zero; none without a divisor.
fn quotient(amount: i64, divisor: i64) -> Option<String> {
    use rust_decimal::RoundingStrategy::MidpointAwayFromZero;
    let ratio = Decimal::from(amount).checked_div(divisor.into())?;
    Some(ratio.round_dp_with_strategy(6, MidpointAwayFromZero).normalize().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::business::number_of;
    use super::{Level, Period, money, quotient, segments, trimmed};

    #[test]
    fn levels_are_ordered_from_the_account_down() {
        assert!(Level::Account < Level::Campaign && Level::Campaign < Level::AdSet && Level::AdSet < Level::Ad);
    }

    #[test]
    fn presets_are_metas_days() {
        let today = number_of("2026-11-23".parse().expect("a date")); // a Monday
        for (preset, first, last) in [
            ("today", "2026-11-23", "2026-11-23"),
            ("yesterday", "2026-11-22", "2026-11-22"),
            ("last_7d", "2026-11-16", "2026-11-22"),
            ("last_30d", "2026-10-24", "2026-11-22"),
            ("this_month", "2026-11-01", "2026-11-23"),
            ("last_month", "2026-10-01", "2026-10-31"),
            ("last_quarter", "2026-07-01", "2026-09-30"),
            ("last_year", "2025-01-01", "2025-12-31"),
            ("last_week_mon_sun", "2026-11-16", "2026-11-22"),
            ("last_week_sun_sat", "2026-11-15", "2026-11-21"),
            ("this_week_sun_today", "2026-11-22", "2026-11-23"),
        ] {
            let day = |text: &str| number_of(text.parse().expect("a date"));
            assert_eq!(
                Period::of_preset(preset, today),
                Some(Period { first: day(first), last: day(last) }),
                "{preset}"
            );
        }
        assert!(super::PRESETS.iter().all(|preset| Period::of_preset(preset, today).is_some()));
        assert_eq!(Period::of_preset("lifetime", today), None);
    }

    #[test]
    fn increments_cover_a_period_once() {
        let period = Period { first: 20_700, last: 20_764 };
        for (increment, count) in [("1", 65), ("7", 10), ("90", 1), ("all_days", 1), ("monthly", 3)] {
            let slices = period.slices(increment).unwrap_or_else(|_| panic!("{increment}"));
            assert_eq!(slices.len(), count, "{increment}");
            assert_eq!((slices[0].first, slices[count - 1].last), (20_700, 20_764), "{increment}");
            assert!(slices.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{increment}");
        }
        assert!(["0", "91", "weekly", "-1"].iter().all(|increment| period.slices(increment).is_err()));
    }

    #[test]
    fn money_and_ratios_are_written_as_meta_writes_them() {
        assert_eq!(
            (money(31247, 100), money(905, 100), money(3000, 1)),
            ("312.47".into(), "9.05".into(), "3000".into())
        );
        assert_eq!((trimmed(149_050, 100), trimmed(21, 1)), ("1490.5".into(), "21".into()));
        assert_eq!(quotient(1203 * 100, 48210).as_deref(), Some("2.495333"));
        assert_eq!(quotient(1, 0), None);
    }

    #[test]
    fn segments_of_every_breakdown_cover_the_whole() {
        for names in [vec!["age"], vec!["age", "gender"], vec!["platform_position", "publisher_platform"], vec![]] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let segments = segments(&names, "DE");
            assert_eq!((segments[0].1, segments[segments.len() - 1].2), (0, 1000), "{names:?}");
            assert!(segments.windows(2).all(|pair| pair[0].2 == pair[1].1), "{names:?}");
        }
        assert_eq!(super::HOURS.iter().map(|(_, weight)| weight).sum::<i64>(), 1000);
    }
}
