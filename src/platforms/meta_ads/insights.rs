//! Numbers of ads: `get_ads_insights`.
//!
//! A call is planned and checked whole ([`Plan`]) before Graph is asked; the plan says what to ask, and makes rows of
//! what comes back.

use futures_util::future::BoxFuture;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::breakdowns::{self, HOURLY, by_action, is_action};
use super::metrics::{ACTION_LISTS, CORE, GROUPS, METRICS, Metric, SORTS, WINDOWS, entry, put_entry};
use super::period::{Days, PERIOD, SINCE, UNTIL};
use super::{account, condition, read};
use crate::graph::Request;
use crate::tool::money;
use crate::tool::param::{CURSOR, limit};
use crate::tool::{Answer, Args, ArgumentError, Ask, Column, Done, Kind, Param, ParamKind, Tool, ToolError};

/// What rows are of: our word, Graph's.
const LEVELS: [(&str, &str); 4] = [("account", "account"), ("campaign", "campaign"), ("ad_set", "adset"), ("ad", "ad")];

/// Ids and names: member, Graph's field, its place in [`LEVELS`].
const NAMED: [(&str, &str, usize); 8] = [
    ("account_id", "account_id", 0),
    ("account_name", "account_name", 0),
    ("campaign_id", "campaign_id", 1),
    ("campaign_name", "campaign_name", 1),
    ("ad_set_id", "adset_id", 2),
    ("ad_set_name", "adset_name", 2),
    ("ad_id", "ad_id", 3),
    ("ad_name", "ad_name", 3),
];

fn level(args: &Args) -> usize {
    let word = args.text("level");
    LEVELS.iter().position(|(ours, _)| Some(*ours) == word).unwrap_or(1)
}

/// An account's rows name it; all others name what they are of and what that is in.
fn names(level: usize) -> impl Iterator<Item = &'static (&'static str, &'static str, usize)> {
    NAMED.iter().filter(move |(.., of)| if *of == 0 { level == 0 } else { *of <= level })
}

/// Graph's `time_increment`; `None` for the whole period.
fn increment(args: &Args) -> Result<Option<String>, ArgumentError> {
    let word = args.text("increment").unwrap_or("total").to_ascii_lowercase();
    Ok(Some(match word.as_str() {
        "total" => return Ok(None),
        "day" => "1".to_owned(),
        "week" => "7".to_owned(),
        "month" => "monthly".to_owned(),
        days => match days.parse::<u8>() {
            Ok(days @ 1..=90) => days.to_string(),
            _ => {
                return Err(ArgumentError::of("increment", "must be day, week, month, total or a number from 1 to 90"));
            }
        },
    }))
}

/// What of an action type can stand in a member's name.
fn member_of(action_type: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    action_type.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

fn metrics(args: &Args) -> impl Iterator<Item = &'static Metric> {
    let sent = args.list("metrics");
    let groups: Vec<&'static str> = match args.has("metrics") {
        true => GROUPS.iter().copied().filter(|group| sent.contains(group)).collect(),
        false if by_action(args) => Vec::new(),
        false => CORE.to_vec(),
    };
    METRICS.iter().filter(move |metric| groups.contains(&metric.group))
}

/// Everything that a call asks, checked.
struct Plan<'a> {
    args: &'a Args,
    level: usize,
    metrics: Vec<&'static Metric>,
    breakdowns: Vec<String>,
    action_types: Vec<&'a str>,
    windows: Vec<&'a str>,
    by_action: bool,
    increment: Option<String>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// What does not fit, by parameter.
    fn of(args: &'a Args) -> Result<Self, ArgumentError> {
        let breakdowns = breakdowns::asked(args);
        breakdowns::check(args, &breakdowns)?;
        let level = level(args);
        if let Some(filter) = ["name_contains", "status"].into_iter().find(|name| level == 0 && args.has(name)) {
            return Err(ArgumentError::of(filter, "not with level account: it filters what the rows are of"));
        }
        let mut action_types: Vec<&str> = Vec::new();
        for action_type in args.list("action_types") {
            match action_types.iter().find(|known| member_of(known) == member_of(action_type)) {
                Some(known) if *known == action_type => {}
                Some(known) => {
                    let expected = format!("{known} and {action_type} would have the same members; ask for one");
                    return Err(ArgumentError::of("action_types", &expected));
                }
                None => action_types.push(action_type),
            }
        }
        // By the hour these come as 0, which they are not (Marketing API, breakdowns): so they are not asked.
        let hourly = breakdowns.iter().any(|name| name == HOURLY);
        let metrics = metrics(args).filter(|metric| !(hourly && matches!(metric.column.name, "reach" | "frequency")));
        Ok(Self {
            args,
            level,
            metrics: metrics.collect(),
            action_types,
            windows: args.list("attribution_windows"),
            by_action: by_action(args),
            increment: increment(args)?,
            breakdowns,
        })
    }

    /// The metric to sort by, as Graph calls it.
    fn sort(&self) -> &'static str {
        let word = self.args.text("sort");
        let metric = METRICS.iter().find(|metric| Some(metric.column.name) == word);
        metric.and_then(|metric| metric.fields().first().copied()).unwrap_or("spend")
    }

    fn fields(&self) -> String {
        // Each row proves with its account_id that it belongs to this account.
        let mut fields = vec!["account_id"];
        fields.extend(names(self.level).map(|(_, field, _)| *field));
        fields.extend(self.metrics.iter().flat_map(|metric| metric.fields()));
        if !self.action_types.is_empty() {
            fields.extend(ACTION_LISTS.map(|(_, list, _)| list));
        }
        fields.push(self.sort());
        let mut once: Vec<&str> = Vec::new();
        for field in fields {
            if !once.contains(&field) {
                once.push(field);
            }
        }
        once.join(",")
    }

    fn filtering(&self) -> Vec<Value> {
        let of_level = |field: &str| format!("{}.{field}", LEVELS[self.level].1);
        let mut all = Vec::new();
        for (name, field, operator) in [
            ("campaign_ids", "campaign.id".to_owned(), "IN"),
            ("ad_set_ids", "adset.id".to_owned(), "IN"),
            ("status", of_level("effective_status"), "IN"),
        ] {
            let list = self.args.list(name);
            if !list.is_empty() {
                all.push(condition(field, operator, list));
            }
        }
        if let Some(name) = self.args.text("name_contains") {
            all.push(condition(of_level("name"), "CONTAIN", name));
        }
        if let Some(least) = self.args.text("min_spend").and_then(|least| money::decimal(&least.into())) {
            all.push(condition("spend", "GREATER_THAN_OR_EQUAL", money::number(least)));
        }
        all
    }

    /// The question, but for `limit` and `after`.
    fn request(&self, node: &str, days: Days) -> Result<Request, ToolError> {
        let mut request = Request::new("{}/insights", &[node])?
            .query("level", LEVELS[self.level].1)
            .fields(self.fields())
            .query("time_range", days.time_range());
        if let Some(increment) = &self.increment {
            request = request.query("time_increment", increment);
        }
        let (of_actions, of_delivery): (Vec<&str>, Vec<&str>) =
            self.breakdowns.iter().map(String::as_str).partition(|name| is_action(name));
        if !of_delivery.is_empty() {
            request = request.query("breakdowns", of_delivery.join(","));
        }
        if self.by_action {
            let others = of_actions.into_iter().filter(|name| *name != "action_type");
            let all: Vec<&str> = std::iter::once("action_type").chain(others).collect();
            request = request.query("action_breakdowns", all.join(","));
        }
        if !self.windows.is_empty() {
            request = request.query("action_attribution_windows", json!(self.windows).to_string());
        }
        let filtering = self.filtering();
        if !filtering.is_empty() {
            request = request.query("filtering", json!(filtering).to_string());
        }
        let order = if self.args.text("order") == Some("asc") { "ascending" } else { "descending" };
        request = request.query("sort", json!([format!("{}_{order}", self.sort())]).to_string());
        if self.args.flag("totals") {
            request = request.query("default_summary", "true");
        }
        Ok(request)
    }

    /// One of Graph's rows as ours: one, or one for each action type and value of an action breakdown.
    fn rows(&self, raw: &Value) -> Result<Vec<Value>, ToolError> {
        let mut row = Map::new();
        for (member, field, _) in names(self.level) {
            row.insert((*member).to_owned(), raw[field].clone());
        }
        for name in self.breakdowns.iter().filter(|name| !is_action(name)) {
            match &raw[name] {
                whole @ Value::Object(_) => row.insert(format!("{name}_json"), whole.to_string().into()),
                value => row.insert(name.clone(), value.clone()),
            };
        }
        for day in ["date_start", "date_stop"] {
            row.insert(day.to_owned(), raw[day].clone());
        }
        if self.by_action {
            return self.action_rows(raw, &row);
        }
        for metric in &self.metrics {
            metric.put(&mut row, raw, &self.windows)?;
        }
        for action_type in &self.action_types {
            for (what, list, kind) in ACTION_LISTS {
                // A count goes by the name "action" here, since it is not the only one of its row.
                let what = if what == "count" { "action" } else { what };
                let name = format!("{what}_{}", member_of(action_type));
                put_entry(&mut row, &name, kind, entry(raw, list, action_type), &self.windows)?;
            }
        }
        Ok(vec![row.into()])
    }

    fn action_rows(&self, raw: &Value, lead: &Map<String, Value>) -> Result<Vec<Value>, ToolError> {
        let mut keys: Vec<&str> = vec!["action_type"];
        keys.extend(
            self.breakdowns.iter().map(String::as_str).filter(|name| is_action(name) && *name != "action_type"),
        );
        let mut rows = Vec::new();
        let asked =
            |entry: &&Value| entry["action_type"].as_str().is_some_and(|name| self.action_types.contains(&name));
        for action in raw["actions"].as_array().into_iter().flatten().filter(asked) {
            let mut row = lead.clone();
            for key in &keys {
                row.insert((*key).to_owned(), action[key].clone());
            }
            for (what, list, kind) in ACTION_LISTS {
                let same = |entry: &&Value| keys.iter().all(|key| entry[key] == action[key]);
                let entry = raw[list].as_array().and_then(|entries| entries.iter().find(same));
                put_entry(&mut row, what, kind, entry, &self.windows)?;
            }
            rows.push(row.into());
        }
        Ok(rows)
    }

    /// `total_<metric>` from Meta's own summary; `null` where it was not asked for.
    fn totals(&self, summary: Option<&Value>) -> Result<Map<String, Value>, ToolError> {
        let mut totals = Map::new();
        for metric in &self.metrics {
            metric.put(&mut totals, summary.unwrap_or(&Value::Null), &[])?;
        }
        // The currency stands beside the list anyhow.
        totals.remove("currency");
        Ok(totals.into_iter().map(|(name, value)| (format!("total_{name}"), value)).collect())
    }

    fn note(&self, days: Days, today: Date) -> Option<&'static str> {
        if self.breakdowns.iter().any(|name| name == HOURLY) {
            Some("Meta has no reach and frequency by the hour")
        } else if !self.breakdowns.is_empty() && days.since < today.saturating_sub(13.months()) {
            Some("with a breakdown and a start more than 13 months back Meta leaves reach out")
        } else {
            None
        }
    }
}

/// Whether a column belongs to what these arguments ask for.
fn shown(column: &Column, args: &Args) -> bool {
    match column.name {
        "action_type" | "count" | "value" | "cost" => by_action(args),
        "date_start" | "date_stop" => true,
        name if NAMED.iter().any(|(member, ..)| *member == name) => {
            names(level(args)).any(|(member, ..)| *member == name)
        }
        name => metrics(args).any(|metric| metric.column.name == name),
    }
}

fn is_fixed(name: &str) -> bool {
    ROW.iter().any(|column| column.name == name)
}

fn is_of_window(name: &str) -> bool {
    WINDOWS.iter().any(|window| name.strip_suffix(window).is_some_and(|rest| rest.ends_with('_')))
}

fn is_of_action(name: &str) -> bool {
    let begins = ["action_", "value_", "cost_"].iter().any(|what| name.starts_with(what));
    begins && !is_fixed(name) && !is_of_window(name) && !is_action(name)
}

/// Whatever else the plan puts into a row is a breakdown.
fn is_breakdown(name: &str) -> bool {
    !is_fixed(name) && !is_of_window(name) && !is_of_action(name)
}

const LEAD_COLUMNS: &[Column] = &[
    Column::id("account_id").about("level account only"),
    Column::text("account_name").about("level account only"),
    Column::id("campaign_id").about("all levels below account"),
    Column::text("campaign_name"),
    Column::id("ad_set_id").about("levels ad_set and ad"),
    Column::text("ad_set_name"),
    Column::id("ad_id").about("level ad"),
    Column::text("ad_name"),
    Column::day("date_start"),
    Column::day("date_stop"),
    Column::text("action_type").about("only with a breakdown of actions, as the next three"),
    Column::count("count"),
    Column::money("value"),
    Column::money("cost"),
];

const ASKED: &[Column] = &[
    Column::asked("<breakdown>", Kind::Scalar, is_breakdown)
        .about("under Meta's name; a whole object (an asset) as JSON text in <breakdown>_json"),
    Column::asked("action_<T>, value_<T>, cost_<T>", Kind::Scalar, is_of_action)
        .about("for each of action_types; what is not a-z 0-9 _ in a type is _ here"),
    Column::asked("<metric>_<window>", Kind::Scalar, is_of_window)
        .about("for each of attribution_windows, of every metric that comes from actions"),
];

/// Where the breakdown stands among [`LEAD_COLUMNS`]: behind what the row is of.
const BREAKDOWN_AT: usize = 8;

/// A row: what it is of, its breakdown, every metric, and members that depend on what was asked.
const ROW: &[Column] = &{
    let (lead, metrics) = (LEAD_COLUMNS.len(), METRICS.len());
    let mut row = [ASKED[0]; LEAD_COLUMNS.len() + METRICS.len() + ASKED.len()];
    let mut at = 0;
    while at < lead {
        let place = if at < BREAKDOWN_AT { at } else { at + 1 };
        row[place] = LEAD_COLUMNS[at].made().when(shown);
        at += 1;
    }
    at = 0;
    while at < metrics {
        row[lead + 1 + at] = METRICS[at].column.made().when(shown);
        at += 1;
    }
    at = 1;
    while at < ASKED.len() {
        row[lead + metrics + at] = ASKED[at];
        at += 1;
    }
    row
};

/// Effective statuses of campaigns, ad sets and ads (Marketing API v26.0).
const STATUSES: &[&str] = &[
    "ACTIVE",
    "PAUSED",
    "ARCHIVED",
    "DELETED",
    "IN_PROCESS",
    "WITH_ISSUES",
    "CAMPAIGN_PAUSED",
    "ADSET_PAUSED",
    "DISAPPROVED",
    "PENDING_REVIEW",
    "PREAPPROVED",
    "PENDING_BILLING_INFO",
];

pub(super) const GET_ADS_INSIGHTS: Tool = read("get_ads_insights")
    .group("Numbers")
    .about(
        "Numbers of the account, campaigns, ad sets or ads, by day, by breakdown, by attribution window: spend, \
         impressions, reach, clicks, results, purchases, leads and their costs. An object without delivery has no row. \
         Do not add up: reach counts people once per row, action types contain one another (purchase, omni_purchase), \
         and rows of a breakdown need not sum up to the total; ask for totals, or for a higher level. clicks are all \
         clicks, link_clicks those on the link. null means that Meta sent nothing, not 0. Archived and deleted \
         campaigns count here. Numbers are provisional for 28 days. The attribution windows 7d_view and 28d_view are \
         gone at Meta.",
    )
    .params(&[
        Param::new(
            "level",
            ParamKind::Word(&["account", "campaign", "ad_set", "ad"]),
            "What a row is of. For object_id of an ad set say ad_set or ad, of an ad say ad: Meta refuses a level \
             above the object's own.",
            "\"ad\"",
        )
        .or("campaign"),
        Param::new(
            "object_id",
            ParamKind::Id,
            "Only this campaign, ad set or ad and what is in it. Default: the whole account.",
            "\"23850000000000001\"",
        ),
        PERIOD,
        SINCE,
        UNTIL,
        Param::new(
            "metrics",
            ParamKind::List(&ParamKind::Word(GROUPS), 8),
            "Groups of metrics, not single names. Default: core, which has spend, impressions, reach, clicks, rates, \
             results, purchases, roas and leads.",
            "[\"core\"]",
        ),
        Param::new(
            "breakdowns",
            ParamKind::List(&ParamKind::Text(64), 3),
            "Splits rows; up to 3, in a combination that Meta takes: age, gender, age+gender, country, region, \
             publisher_platform, placement (publisher_platform and platform_position), device_platform, product_id, \
             hourly_stats_aggregated_by_advertiser_time_zone, image_asset, … A wrong combination is refused with the \
             right ones. Breakdowns of actions (action_device, action_destination, action_reaction, …) need \
             action_types and go without metrics: then a row is one action type and value. Actions off Meta are \
             missing with region, dma and hourly.",
            "[\"age\",\"gender\"]",
        ),
        Param::new(
            "action_types",
            ParamKind::List(&ParamKind::Text(100), 20),
            "Meta's action types, up to 20: each adds action_<T>, value_<T> and cost_<T>.",
            "[\"add_to_cart\",\"video_view\"]",
        ),
        Param::new(
            "attribution_windows",
            ParamKind::List(&ParamKind::Word(WINDOWS), 12),
            "Each adds <metric>_<window> to every metric that comes from actions, as purchases_7d_click; the plain one \
             stays. Default: none, Meta's own (7d_click and 1d_view).",
            "[\"7d_click\",\"1d_view\"]",
        ),
        Param::new(
            "increment",
            ParamKind::Text(5),
            "A row for each day, week, month, or number of days from 1 to 90; total: one for the whole period.",
            "\"day\"",
        )
        .or("total"),
        Param::new(
            "campaign_ids",
            ParamKind::List(&ParamKind::Id, 100),
            "Only these campaigns, up to 100.",
            "[\"23850000000000001\"]",
        ),
        Param::new(
            "ad_set_ids",
            ParamKind::List(&ParamKind::Id, 100),
            "Only these ad sets, up to 100.",
            "[\"23850000000000003\"]",
        ),
        Param::new(
            "name_contains",
            ParamKind::Text(400),
            "Only what has this in its name: campaigns, ad sets or ads, as level says.",
            "\"autumn\"",
        ),
        Param::new(
            "status",
            ParamKind::List(&ParamKind::Word(STATUSES), 12),
            "Only these effective statuses of what level says. Default: all.",
            "[\"ACTIVE\"]",
        ),
        Param::new(
            "min_spend",
            ParamKind::Decimal,
            "Only rows with at least this spend, in the account's currency.",
            "\"10.00\"",
        ),
        Param::new("sort", ParamKind::Word(SORTS), "The metric to sort by.", "\"impressions\"").or("spend"),
        Param::new("order", ParamKind::Word(&["asc", "desc"]), "asc: the least first.", "\"asc\"").or("desc"),
        limit(ParamKind::Int(1, 500), "100"),
        CURSOR,
        Param::new(
            "totals",
            ParamKind::Flag,
            "Adds total_<metric> over all rows, not only this page's, as Meta counts it: reach counts each person \
             once.",
            "true",
        )
        .or("false"),
        Param::new(
            "allow_undocumented",
            ParamKind::Flag,
            "Sends combinations of breakdowns that Meta does not document; it may refuse them.",
            "true",
        )
        .or("false"),
    ])
    .example(r#"{"level":"campaign","period":"last_7d","increment":"day"}"#)
    .list(
        "rows",
        ROW,
        &[
            Column::day("since").made(),
            Column::day("until").made(),
            Column::text("time_zone").made().about("whose days these are: the account's"),
            Column::text("currency").made(),
            Column::flag("includes_today").made().about("the last day is not over"),
            Column::flag("provisional").made().about("Meta may still correct the numbers"),
            Column::text("note").made().about("what could not be had"),
            Column::asked("total_<metric>", Kind::Scalar, |name| name.starts_with("total_"))
                .about("each metric asked for, over all rows; null unless totals"),
        ],
    )
    .run(get_ads_insights);

fn get_ads_insights(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let (plan, now) = (Plan::of(&ask.args)?, ask.clock.now());
        Days::check(&ask.args, now)?;
        let position = ask.position()?;
        let facts = account::facts(&ask).await?;
        let today = facts.zone.to_datetime(now).date();
        let days = match &position {
            Some((position, _)) => Days::of_window(position.window.as_ref(), today)?,
            None => Days::resolve(&ask.args, today)?,
        };
        let account = ask.id(ask.tool.account)?;
        let digits = account.trim_start_matches("act_");
        let object = ask.args.text("object_id").filter(|object| *object != digits);
        let request = plan.request(object.unwrap_or(account), days)?;
        let from = position.as_ref().map(|(_, cursor)| cursor);
        let page = ask.page(&request, from, "ask for a smaller period or level").await?;
        if let Some(object) = object {
            check_belongs(&ask, object, digits, &page.rows).await?;
        }
        if page.rows.is_empty() && from.is_none() {
            ask.check_permission().await?;
        }
        let mut rows = Vec::new();
        for raw in &page.rows {
            rows.extend(plan.rows(raw)?);
        }
        let mut beside = plan.totals(page.summary.as_ref())?;
        beside.extend([
            ("since".to_owned(), days.since.to_string().into()),
            ("until".to_owned(), days.until.to_string().into()),
            ("time_zone".to_owned(), facts.time_zone.into()),
            ("currency".to_owned(), facts.currency.into()),
            ("includes_today".to_owned(), days.includes(today).into()),
            ("provisional".to_owned(), days.is_provisional(today).into()),
            ("note".to_owned(), plan.note(days, today).into()),
        ]);
        let next = ask.next_cursor(page.next, Some(days.to_window()));
        Ok(Answer::List { rows, beside: beside.into(), next }.into())
    })
}

/// A token may reach several accounts: each row, or without rows the object, must be of this one.
async fn check_belongs(ask: &Ask, object: &str, digits: &str, rows: &[Value]) -> Result<(), ToolError> {
    let belongs = |raw: &Value| raw["account_id"] == digits;
    let ours = if rows.is_empty() {
        belongs(&ask.graph.get(&Request::new("{}", &[object])?.fields("account_id")).await?)
    } else {
        rows.iter().all(belongs)
    };
    if ours { Ok(()) } else { Err(ArgumentError::of("object_id", "belongs to another ad account").into()) }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{ACCOUNT, StandIn, refusal, sample};
    use super::*;
    use crate::tool::column::Facts;

    fn args(came: Value) -> Result<Args, ArgumentError> {
        Args::check(GET_ADS_INSIGHTS.params, came.as_object().unwrap())
    }

    /// A row as the frame shows it.
    fn shown_rows(came: Value, raw: &Value) -> Vec<Value> {
        let args = args(came).unwrap();
        let rows = Plan::of(&args).unwrap().rows(raw).unwrap();
        let columns = |raw| crate::tool::column::row(GET_ADS_INSIGHTS.columns(&args), raw, Facts::default());
        rows.iter().map(|raw| columns(raw).unwrap().into()).collect()
    }

    fn delivered() -> Value {
        json!({
            "account_id": "1000000000000001", "campaign_id": "23850000000000001", "campaign_name": "Autumn sale",
            "impressions": "48210", "reach": "30000", "frequency": "1.607", "clicks": "1203", "spend": "312.47",
            "ctr": "2.495333", "inline_link_clicks": "890", "account_currency": "EUR",
            "outbound_clicks": [{"action_type": "outbound_click", "value": "700"}],
            "actions": [
                {"action_type": "link_click", "value": "890"},
                {"action_type": "offsite_conversion.fb_pixel_purchase", "value": "19", "7d_click": "18"},
                {"action_type": "purchase", "value": "21", "7d_click": "20"}
            ],
            "action_values": [
                {"action_type": "offsite_conversion.fb_pixel_purchase", "value": "1400"},
                {"action_type": "purchase", "value": "1490.50", "7d_click": "1400.10"}
            ],
            "cost_per_action_type": [{"action_type": "purchase", "value": "14.879524"}],
            "purchase_roas": [{"action_type": "omni_purchase", "value": "9"}, {"action_type": "purchase", "value": "4.770058"}],
            "results": [{"indicator": "actions:purchase", "values": [{"value": "21"}]}],
            "cost_per_result": [{"indicator": "actions:purchase", "values": [{"value": "14.88"}]}],
            "date_start": "2026-11-16", "date_stop": "2026-11-22"
        })
    }

    #[test]
    fn a_row_is_its_level_its_days_and_the_core_metrics() {
        let expected = json!({
            "campaign_id": "23850000000000001", "campaign_name": "Autumn sale",
            "date_start": "2026-11-16", "date_stop": "2026-11-22",
            "spend": "312.47", "impressions": 48210, "reach": 30000, "frequency": 1.607, "clicks": 1203, "cpc": null,
            "cpm": null, "link_clicks": 890, "outbound_clicks": 700, "landing_page_views": null, "ctr_pct": 2.5,
            "link_ctr_pct": null, "link_cpc": null, "results": 21, "result_type": "actions:purchase",
            "cost_per_result": "14.88", "purchases": 21, "purchase_value": "1490.50", "cost_per_purchase": "14.879524",
            "roas": 4.7701, "leads": null, "cost_per_lead": null, "currency": "EUR"
        });
        assert_eq!(shown_rows(json!({}), &delivered()), [expected]);
    }

    #[test]
    fn levels_name_what_a_row_is_of_and_what_that_is_in() {
        for (level, names) in [
            ("account", "account_id account_name"),
            ("campaign", "campaign_id campaign_name"),
            ("ad_set", "campaign_id campaign_name ad_set_id ad_set_name"),
            ("ad", "campaign_id campaign_name ad_set_id ad_set_name ad_id ad_name"),
        ] {
            let row = shown_rows(json!({ "level": level }), &json!({})).remove(0);
            let lead: Vec<&str> =
                row.as_object().unwrap().keys().map(String::as_str).take_while(|n| *n != "date_start").collect();
            assert_eq!(lead.join(" "), names, "{level}");
        }
    }

    #[test]
    fn the_first_present_action_type_counts_and_goals_are_never_mixed() {
        let action = |types: &[&str]| {
            let list: Vec<Value> = types
                .iter()
                .enumerate()
                .map(|(at, name)| json!({"action_type": name, "value": at.to_string()}))
                .collect();
            json!({ "actions": list })
        };
        let goals = |goals: &[&str]| {
            let list: Vec<Value> =
                goals.iter().map(|goal| json!({"indicator": goal, "values": [{"value": "3"}]})).collect();
            json!({ "results": list })
        };
        for (name, raw, member, value) in [
            ("widest wins", action(&["purchase", "omni_purchase"]), "purchases", json!(1)),
            (
                "next where absent",
                action(&["x", "offsite_conversion.fb_pixel_purchase", "purchase"]),
                "purchases",
                json!(2),
            ),
            ("landing page", action(&["omni_landing_page_view", "landing_page_view"]), "landing_page_views", json!(1)),
            ("grouped leads", action(&["onsite_conversion.lead_grouped"]), "leads", json!(0)),
            ("absent is null", action(&["x"]), "purchases", json!(null)),
            ("one goal", goals(&["a"]), "results", json!(3)),
            ("two goals", goals(&["a", "b"]), "results", json!(null)),
            ("two goals' type", goals(&["a", "b"]), "result_type", json!("mixed")),
            ("no goal's type", goals(&[]), "result_type", json!(null)),
        ] {
            assert_eq!(shown_rows(json!({}), &raw)[0][member], value, "{name}");
        }
    }

    #[test]
    fn windows_and_action_types_add_members() {
        let came = json!({"attribution_windows": ["7d_click", "1d_ev"], "action_types": ["link_click", "a.B"]});
        let row = shown_rows(came, &delivered()).remove(0);
        for (member, value) in [
            ("purchases", json!(21)),
            ("purchases_7d_click", json!(20)),
            ("purchases_1d_ev", json!(null)),
            ("purchase_value_7d_click", json!("1400.10")),
            ("action_link_click", json!(890)),
            ("action_link_click_7d_click", json!(null)),
            ("value_link_click", json!(null)),
            ("action_a__", json!(null)),
        ] {
            assert_eq!(row.get(member), Some(&value), "{member}");
        }
        assert!(row.get("spend_7d_click").is_none());
    }

    #[test]
    fn breakdowns_are_members_and_hours_have_no_reach() {
        let raw = json!({"age": "25-34", "gender": "female", "image_asset": {"hash": "ab"}, "reach": "0"});
        let row = shown_rows(json!({"breakdowns": "AGE,gender"}), &raw).remove(0);
        assert_eq!((&row["age"], &row["gender"], &row["reach"]), (&json!("25-34"), &json!("female"), &json!(0)));
        let row = shown_rows(json!({"breakdowns": ["image_asset"]}), &raw).remove(0);
        assert_eq!(row["image_asset_json"], r#"{"hash":"ab"}"#);
        let hourly = args(json!({ "breakdowns": HOURLY })).unwrap();
        let plan = Plan::of(&hourly).unwrap();
        assert!(!plan.fields().split(',').any(|field| field == "reach" || field == "frequency"));
        assert_eq!(shown_rows(json!({ "breakdowns": HOURLY }), &raw)[0]["reach"], Value::Null);
        assert!(plan.note(days(), days().until).is_some());
    }

    fn days() -> Days {
        Days { since: "2026-11-16".parse().unwrap(), until: "2026-11-22".parse().unwrap() }
    }

    #[test]
    fn a_breakdown_of_actions_makes_a_row_of_each() {
        let raw = json!({
            "campaign_id": "1", "date_start": "2026-11-16", "publisher_platform": "instagram",
            "actions": [
                {"action_type": "purchase", "action_device": "iphone", "value": "2", "7d_click": "1"},
                {"action_type": "purchase", "action_device": "desktop", "value": "3"},
                {"action_type": "link_click", "action_device": "iphone", "value": "9"}
            ],
            "action_values": [{"action_type": "purchase", "action_device": "desktop", "value": "30.5"}]
        });
        let came = json!({
            "breakdowns": "action_device,publisher_platform", "action_types": "purchase", "attribution_windows": "7d_click"
        });
        let row = |device: &str, count: i64, value: Value, click: Value| {
            json!({
                "campaign_id": "1", "campaign_name": null, "date_start": "2026-11-16", "date_stop": null,
                "action_type": "purchase", "count": count, "value": value, "cost": null,
                "publisher_platform": "instagram", "action_device": device, "count_7d_click": click,
                "value_7d_click": null, "cost_7d_click": null
            })
        };
        let expected = [row("iphone", 2, json!(null), json!(1)), row("desktop", 3, json!("30.5"), json!(null))];
        assert_eq!(shown_rows(came, &raw), expected);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_before_graph_is_asked() {
        let meta = StandIn::edge("insights", |_| (200, json!({"data": []}))).await;
        for (came, begins) in [
            (
                json!({"breakdowns": "age,gender,country"}),
                "breakdowns: Meta does not take these together. It takes: device",
            ),
            (json!({"breakdowns": "platform_position"}), "breakdowns: Meta does not take"),
            (json!({"breakdowns": "frequency_value"}), "breakdowns: frequency_value comes empty"),
            (
                json!({"breakdowns": "impression_device", "allow_undocumented": true}),
                "breakdowns: impression_device comes",
            ),
            (json!({"breakdowns": "a-b", "allow_undocumented": true}), "breakdowns: names have only"),
            (json!({"breakdowns": "action_device"}), "action_types: a breakdown of actions needs it"),
            (json!({"breakdowns": "action_device", "action_types": "a", "metrics": "core"}), "metrics: not together"),
            (json!({"breakdowns": "action_device", "action_types": "a", "totals": true}), "totals: not together"),
            (json!({"action_types": "a.b,a_b"}), "action_types: a.b and a_b would have the same members"),
            (json!({"attribution_windows": "7d_view"}), "attribution_windows: \"7d_view\" is none of"),
            (json!({"attribution_windows": "28d_view"}), "attribution_windows: \"28d_view\" is none of"),
            (json!({"increment": "91"}), "increment: must be day"),
            (json!({"increment": "0"}), "increment: must be day"),
            (json!({"level": "account", "status": "ACTIVE"}), "status: not with level account"),
            (json!({"level": "account", "name_contains": "a"}), "name_contains: not with level account"),
            (json!({"period": "today", "until": "2026-11-20"}), "period: send either"),
            (json!({"since": "2026-11-21", "until": "2026-11-20"}), "since: lies after"),
            (json!({"since": "2026-11-21", "until": "2026-12-20"}), "until: lies in the future"),
            (json!({"since": "2020-01-01", "until": "2020-01-31"}), "since: Meta's numbers reach back 37 months"),
            (json!({"metrics": "cost_per_lead"}), "metrics: \"cost_per_lead\" is none of: core"),
            (json!({"sort": "purchases"}), "sort: \"purchases\" is none of"),
            (json!({"cursor": "abc"}), "cursor: this is no next_cursor"),
        ] {
            let error = meta.answer("get_ads_insights", came.clone()).await.unwrap_err();
            assert!(
                matches!(error, ToolError::Arguments(_)) && error.to_string().starts_with(begins),
                "{came}: {error}"
            );
        }
        assert_eq!(meta.seen(), Vec::<String>::new());
    }

    const CORE_FIELDS: &str = "spend,impressions,reach,frequency,clicks,cpc,cpm,inline_link_clicks,outbound_clicks,actions,\
                               ctr,inline_link_click_ctr,cost_per_inline_link_click,results,cost_per_result,action_values,\
                               cost_per_action_type,purchase_roas,account_currency";

    #[tokio::test]
    async fn an_answer_is_one_call_and_says_what_was_asked() {
        let meta = StandIn::edge("insights", |_| (200, json!({"data": [delivered()]}))).await;
        let value = meta.answer("get_ads_insights", json!({})).await.unwrap();
        let insights = format!(
            "/v26.0/{ACCOUNT}/insights?level=campaign&fields=account_id,campaign_id,campaign_name,{CORE_FIELDS}\
             &time_range={{\"since\":\"2026-10-24\",\"until\":\"2026-11-22\"}}&sort=[\"spend_descending\"]&limit=100"
        );
        assert_eq!(meta.seen(), [format!("/v26.0/{ACCOUNT}?fields=currency,timezone_name"), insights.clone()]);
        assert_eq!(value["rows"][0]["spend"], "312.47");
        for (member, told) in [
            ("next_cursor", json!(null)),
            ("since", json!("2026-10-24")),
            ("until", json!("2026-11-22")),
            ("time_zone", json!("Europe/Paris")),
            ("currency", json!("EUR")),
            ("includes_today", json!(false)),
            ("provisional", json!(true)),
            ("note", json!(null)),
            ("total_spend", json!(null)),
        ] {
            assert_eq!(value.get(member), Some(&told), "{member}");
        }
        meta.answer("get_ads_insights", json!({})).await.unwrap();
        assert_eq!(meta.seen()[2..], [insights], "the account is remembered");
    }

    #[tokio::test]
    async fn every_parameter_goes_out_as_graph_takes_it() {
        let body = |_: &str| (200, json!({"data": [delivered()], "summary": {"spend": "400.10", "reach": "5"}}));
        let meta = StandIn::edge("insights", body).await;
        let came = json!({
            "level": "ad_set", "object_id": "23850000000000001", "since": "2026-11-01", "until": "2026-11-23",
            "breakdowns": "placement", "action_types": "link_click", "attribution_windows": ["1d_view"], "increment": "7",
            "campaign_ids": "11,12", "ad_set_ids": ["13"], "name_contains": "x", "status": "active", "min_spend": "10.50",
            "sort": "link_clicks", "order": "ASC", "limit": 500, "totals": "true"
        });
        let value = meta.answer("get_ads_insights", came).await.unwrap();
        let filtering = r#"[{"field":"campaign.id","operator":"IN","value":["11","12"]},{"field":"adset.id","operator":"IN","value":["13"]},{"field":"adset.effective_status","operator":"IN","value":["ACTIVE"]},{"field":"adset.name","operator":"CONTAIN","value":"x"},{"field":"spend","operator":"GREATER_THAN_OR_EQUAL","value":10.5}]"#;
        let asked = format!(
            "/v26.0/23850000000000001/insights?level=adset&fields=account_id,campaign_id,campaign_name,adset_id,adset_name,\
             {CORE_FIELDS}&time_range={{\"since\":\"2026-11-01\",\"until\":\"2026-11-23\"}}&time_increment=7\
             &breakdowns=publisher_platform,platform_position&action_attribution_windows=[\"1d_view\"]\
             &filtering={filtering}&sort=[\"inline_link_clicks_ascending\"]&default_summary=true&limit=500"
        );
        assert_eq!(meta.seen().last(), Some(&asked));
        assert_eq!((&value["total_spend"], &value["total_reach"]), (&json!("400.10"), &json!(5)));
        assert_eq!((&value["includes_today"], &value["total_clicks"]), (&json!(true), &json!(null)));
        let came = json!({"breakdowns": "action_device,age", "action_types": "a", "allow_undocumented": true});
        meta.answer("get_ads_insights", came).await.unwrap();
        let asked = meta.seen().pop().unwrap();
        assert!(asked.contains("&breakdowns=age&action_breakdowns=action_type,action_device&sort="), "{asked}");
        assert!(asked.contains("campaign_name,actions,action_values,cost_per_action_type,spend&"), "{asked}");
    }

    #[tokio::test]
    async fn a_list_goes_on_in_its_own_period_though_midnight_passes() {
        let next =
            json!({"data": [delivered()], "paging": {"cursors": {"after": "MQZDZD"}, "next": "https://graph.test/?x"}});
        let meta = StandIn::edge("insights", move |_| (200, next.clone())).await;
        let first = meta.answer("get_ads_insights", json!({"period": "yesterday"})).await.unwrap();
        meta.clock.set("2026-11-24T10:00:00Z".parse().unwrap());
        let again = json!({"period": "yesterday", "cursor": first["next_cursor"]});
        let second = meta.answer("get_ads_insights", again).await.unwrap();
        assert_eq!((&second["since"], &second["until"]), (&json!("2026-11-22"), &json!("2026-11-22")));
        let seen = meta.seen();
        assert_eq!(seen[2], format!("{}&after=MQZDZD", seen[1]));
        let other = json!({"period": "today", "cursor": first["next_cursor"]});
        assert!(matches!(meta.answer("get_ads_insights", other).await, Err(ToolError::Arguments(_))));
    }

    #[tokio::test]
    async fn days_are_days_of_the_account() {
        // Still the 22nd in Paris at 22:30 UTC, and the 23rd half an hour later.
        let meta = StandIn::edge("insights", |_| (200, json!({"data": []}))).await;
        for (now, today) in [("2026-11-22T22:30:00Z", "2026-11-22"), ("2026-11-22T23:00:00Z", "2026-11-23")] {
            meta.clock.set(now.parse().unwrap());
            let value = meta.answer("get_ads_insights", json!({"period": "today"})).await.unwrap();
            assert_eq!((&value["until"], &value["includes_today"]), (&json!(today), &json!(true)), "{now}");
        }
        let future = json!({"since": "2026-11-23", "until": "2026-11-24"});
        let error = meta.answer("get_ads_insights", future).await.unwrap_err();
        assert!(error.to_string().starts_with("until: lies in the future: 2026-11-23 is"), "{error}");
    }

    #[tokio::test]
    async fn objects_of_other_accounts_are_refused() {
        let ours = "1000000000000001";
        for (name, rows, owner, calls, fits) in [
            ("rows of ours", json!([{ "account_id": ours }]), "9", 2, true),
            ("a row of another", json!([{ "account_id": ours }, { "account_id": "9" }]), ours, 2, false),
            ("rows that prove nothing", json!([{}]), ours, 2, false),
            ("no rows, ours", json!([]), ours, 3, true),
            ("no rows, another's", json!([]), "9", 3, false),
        ] {
            let meta = StandIn::start(move |asked| match asked {
                asked if asked.contains("/insights?") => (200, json!({ "data": rows })),
                "/v26.0/77?fields=account_id" => (200, json!({"id": "77", "account_id": owner})),
                _ => (200, json!({"currency": "EUR", "timezone_name": "UTC"})),
            });
            let meta = meta.await;
            let answer = meta.answer("get_ads_insights", json!({"object_id": "77"})).await;
            assert_eq!(answer.is_ok(), fits, "{name}");
            if let Err(error) = answer {
                assert_eq!(error.to_string(), "object_id: belongs to another ad account", "{name}");
            }
            assert_eq!(meta.seen().len(), calls, "{name}");
        }
        let meta = StandIn::edge("insights", |_| (200, json!({"data": []}))).await;
        meta.answer("get_ads_insights", json!({ "object_id": ours })).await.unwrap();
        assert!(meta.seen()[1].starts_with(&format!("/v26.0/{ACCOUNT}/insights?")));
    }

    #[tokio::test]
    async fn metas_refusals_and_missing_permissions_pass() {
        let bad =
            StandIn::edge("insights", |_| refusal(400, 100, "(#100) Current combination of data breakdown columns"))
                .await;
        let error = bad.answer("get_ads_insights", json!({})).await.unwrap_err();
        assert!(matches!(error, ToolError::Graph(_)), "{error}");
        let large = StandIn::edge("insights", |_| refusal(500, 1, "Please reduce the amount of data")).await;
        let error = large.answer("get_ads_insights", json!({"limit": 9})).await.unwrap_err();
        assert_eq!(error.to_string(), "Meta will not answer so much at once: ask for a smaller period or level");
        let empty = StandIn::edge("insights", |_| (200, json!({"data": []}))).await.with_scopes(&[]);
        let error = empty.answer("get_ads_insights", json!({})).await.unwrap_err();
        assert!(matches!(error, ToolError::MissingPermission(_)), "{error}");
    }

    #[test]
    fn the_recorded_answers_map() {
        let Some(body) = sample("73-ads-insights.json") else { return };
        let row = shown_rows(json!({}), &body["data"][0]).remove(0);
        assert_eq!((&row["purchases"], &row["purchase_value"]), (&json!(21), &json!("1490.5")));
        let Some(body) = sample("74-ads-insights-daily-breakdown.json") else { return };
        let row = shown_rows(json!({"breakdowns": "age,gender", "increment": "day"}), &body["data"][1]).remove(0);
        assert_eq!((&row["gender"], &row["spend"], &row["clicks"]), (&json!("male"), &json!("9.02"), &json!(null)));
    }
}
