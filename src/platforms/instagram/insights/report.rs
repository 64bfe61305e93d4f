//! The account's report of a day, a week or a month, as one flat row.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{join, try_join};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::super::formulas::interactions;
use super::super::media::{Posts, with_numbers};
use super::super::numbers::{COMMON, explain, spoils_numbers};
use super::super::window::{Length, Slice, Window, last_complete_day};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::{Answered, Call, Told};
use super::metrics::FOLLOWER_COUNT;
use super::series::Series;
use super::{DATE, PROVISIONAL, SINCE_COLUMN, UNTIL_COLUMN, node};
use crate::credential::AccountKind;
use crate::graph::{ErrorKind, GraphError, Page};
use crate::tool::money::{number, rate};
use crate::tool::{Answer, ArgumentError, Ask, Column, Done, Param, ParamKind, Tool, ToolError, column};

/// The words of `period`, and their days.
const PERIODS: &[(&str, i64)] = &[("day", 1), ("week", 7), ("month", 30)];

/// What the report holds of the account's metrics.
const METRICS: [&str; 10] = [
    "views",
    "reach",
    "profile_views",
    "accounts_engaged",
    "total_interactions",
    "likes",
    "comments",
    "saves",
    "shares",
    "profile_links_taps",
];

/// Posts of a page, and the most pages of one answer.
const POSTS: u32 = 50;
const PAGES_MAX: usize = 10;
/// No page is begun with less time than this.
const TIME_LEFT: Duration = Duration::from_secs(5);

pub const GET_ACCOUNT_REPORT: Tool = Tool::read("get_account_report", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "The account's day, week or month as one flat row: followers, reach, views, interactions, posts published, \
         the best post. Use it for reports; for chosen metrics or windows get_account_insights.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[
        Param::new("period", ParamKind::Word(&["day", "week", "month"]), "1, 7 or 30 days.", "\"week\"").or("day"),
        Param::new("date", ParamKind::Day, "Last Los Angeles day; default: the last complete one.", "\"2026-11-19\""),
        Param::new("days_ago", ParamKind::Int(1, 30), "Instead of date; 1: last complete day, 2: before it.", "2"),
    ])
    .example(r#"{"period":"day"}"#)
    .row(&[
        DATE,
        SINCE_COLUMN,
        UNTIL_COLUMN,
        Column::count("followers").made().about("now"),
        Column::count("new_followers").made().about("of the window; null where it reaches back more than 30 days"),
        Column::count("views").made(),
        Column::count("reach").made().about("accounts, each once"),
        Column::count("profile_views").made(),
        Column::count("accounts_engaged").made(),
        Column::count("total_interactions").made(),
        Column::count("likes").made(),
        Column::count("comments").made(),
        Column::count("saves").made(),
        Column::count("shares").made(),
        Column::count("profile_links_taps").made(),
        Column::percent("engagement_rate").made().about("100 × total_interactions ÷ reach"),
        Column::count("posts_published").made().about("stories not counted"),
        Column::id("top_post_id").made().about("the post of the window with the most interactions"),
        Column::text("top_post_permalink").made(),
        Column::count("top_post_interactions").made().about("since it was published"),
        PROVISIONAL,
        Column::flag("truncated").made().about("there are more posts than were read"),
        NOTE,
    ])
    .run(get_account_report);

fn get_account_report(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        ask.check_limit()?;
        let window = window(&ask, now)?;
        let series = Series::ask(&ask, &[FOLLOWER_COUNT], window.days);
        let (read, mut series) = try_join!(read(&ask, &window), series)?;

        let mut told = Told::default();
        window.note.iter().for_each(|note| told.note(note.clone()));
        told.join(read.told);
        let mut row = Map::new();
        window.tell(&mut row, now);
        row.insert("followers".to_owned(), read.followers);
        row.insert("new_followers".to_owned(), series.sum(FOLLOWER_COUNT, window.days).into());
        told.join(series.told);
        for metric in METRICS {
            row.insert(metric.to_owned(), read.numbers.total(metric).into());
        }
        let [part, whole] = ["total_interactions", "reach"].map(|name| read.numbers.total(name).map(Decimal::from));
        row.insert("engagement_rate".to_owned(), rate(part, whole).map_or(Value::Null, number));
        let posts = posts_of(read.posts.as_deref().unwrap_or_default(), window.whole);
        row.insert("posts_published".to_owned(), read.posts.as_ref().map(|_| posts.len()).into());
        if let Some((post, sum)) = top(&posts) {
            row.insert("top_post_id".to_owned(), post["id"].clone());
            row.insert("top_post_permalink".to_owned(), post["permalink"].clone());
            row.insert("top_post_interactions".to_owned(), number(sum));
        } else if !posts.is_empty() {
            told.note("no post of the window has numbers");
        }
        row.insert("truncated".to_owned(), read.truncated.into());
        let is_silent = |name: &&str| row[*name].is_null() && !told.explains(name);
        let mut silent: Vec<&str> = METRICS.into_iter().filter(is_silent).collect();
        if row["new_followers"].is_null() && !told.explains(FOLLOWER_COUNT) {
            silent.push("new_followers");
        }
        let note = told.text(&ask, &silent).await?;
        row.insert("note".to_owned(), note.into());
        Ok(Answer::Row(row.into()).into())
    })
}

/// The period that ends with `date`, or `days_ago`.
fn window(ask: &Ask, now: Timestamp) -> Result<Window, ArgumentError> {
    let length = Length::of_period(&ask.args, PERIODS);
    let Some(date) = ask.args.text("date").and_then(|text| text.parse().ok()) else {
        return Window::resolve(&ask.args, now, length);
    };
    if ask.args.has("days_ago") {
        return Err(ArgumentError::of("days_ago", "date says already where the period ends; send one of them"));
    }
    let last = last_complete_day(now);
    if date > last {
        return Err(ArgumentError::of("date", &format!("must not be after {last}, the last complete day")));
    }
    Ok(Window::cut(Slice::ending_with(date, length.days())?, None))
}

/// What the account's node and its edges gave.
#[derive(Default)]
struct Read {
    followers: Value,
    numbers: Answered,
    /// `None` where they could not be read.
    posts: Option<Vec<Value>>,
    truncated: bool,
    told: Told,
}

/// All in one call by expansion; call by call where one number or post fails the whole of it.
async fn read(ask: &Ask, window: &Window) -> Result<Read, ToolError> {
    let whole = window.whole;
    let mut totals = Call::totals(METRICS.to_vec(), whole);
    let told = totals.leave_out_refused(ask)?;
    let (since, until) = (whole.since.as_second(), whole.until.as_second());
    let posts = with_numbers(POST, COMMON);
    let media = format!("media.since({since}).until({until}).limit({POSTS}){{{posts}}}");
    let fields: Vec<String> =
        ["followers_count".to_owned()].into_iter().chain(totals.expansion()).chain([media]).collect();
    let mut node = match node(ask, &fields.join(",")).await {
        Ok(node) => node,
        Err(ToolError::Graph(error)) if is_too_much_at_once(&error) => return read_singly(ask, whole).await,
        Err(error) => {
            let mut read = Read { told, ..Read::default() };
            let answered = totals.unasked(error)?;
            read.told.join(answered.told);
            read.told.note("followers and posts could not be read either");
            return Ok(read);
        }
    };
    let mut numbers = Answered::of(&node["insights"], told);
    let mut told = std::mem::take(&mut numbers.told);
    told.answered = true;
    let mut page = match node["media"].take() {
        Value::Null => Page::default(),
        media => Page::from_value(media)?,
    };
    explain(ask, &mut page.rows).await;
    let (posts, truncated) = read_on(ask, whole, page, &mut told).await?;
    Ok(Read { followers: node["followers_count"].take(), numbers, posts: Some(posts), truncated, told })
}

/// A refusal that one number or post, or the size of it all, may be to blame for.
fn is_too_much_at_once(error: &GraphError) -> bool {
    (spoils_numbers(error) && !error.is_not_visible()) || error.kind == ErrorKind::ReduceData
}

async fn read_singly(ask: &Ask, whole: Slice) -> Result<Read, ToolError> {
    let list = posts_list(ask, whole)?;
    let (followers, numbers, page) = join!(
        node(ask, "followers_count"),
        Call::totals(METRICS.to_vec(), whole).ask(ask),
        list.page(ask, POSTS, None, true)
    );
    let mut numbers = numbers?;
    let mut told = std::mem::take(&mut numbers.told);
    let followers = told.keep("followers", followers)?.unwrap_or_default()["followers_count"].take();
    let (posts, truncated) = match told.keep("posts", page)? {
        Some(page) => {
            let (posts, truncated) = read_on(ask, whole, page, &mut told).await?;
            (Some(posts), truncated)
        }
        None => (None, false),
    };
    Ok(Read { followers, numbers, posts, truncated, told })
}

/// What is read of a post, without its numbers.
const POST: &str = "id,permalink,timestamp,media_type,media_product_type";

fn posts_list(ask: &Ask, whole: Slice) -> Result<Posts, ToolError> {
    let request = ask.own("{}/media")?.query("since", whole.since.as_second().to_string());
    let request = request.query("until", whole.until.as_second().to_string());
    Ok(Posts { request, bare: POST.to_owned(), metrics: COMMON })
}

/// The posts of `page` and of those behind it, and whether there are more.
async fn read_on(ask: &Ask, whole: Slice, page: Page, told: &mut Told) -> Result<(Vec<Value>, bool), ToolError> {
    let list = posts_list(ask, whole)?;
    let mut posts = page.rows;
    let mut next = page.next;
    for _ in 1..PAGES_MAX {
        let Some(cursor) = &next else { break };
        if ask.graph.deadline() < Instant::now() + TIME_LEFT {
            break;
        }
        match told.keep("the rest of the posts", list.page(ask, POSTS, Some(cursor), true).await)? {
            Some(page) => {
                posts.extend(page.rows);
                next = page.next;
            }
            None => break,
        }
    }
    Ok((posts, next.is_some()))
}

/// The posts that were published in the window, whatever came.
fn posts_of(posts: &[Value], whole: Slice) -> Vec<&Value> {
    let is_in =
        |post: &&Value| column::moment(&post["timestamp"]).is_some_and(|at| (whole.since..whole.until).contains(&at));
    posts.iter().filter(is_in).collect()
}

/// The post with the most interactions; of equals the newest.
fn top<'a>(posts: &[&'a Value]) -> Option<(&'a Value, Decimal)> {
    let counted = posts.iter().filter_map(|post| Some((*post, interactions(post)?)));
    counted.max_by(|(a, one), (b, other)| {
        one.cmp(other).then_with(|| column::moment(&a["timestamp"]).cmp(&column::moment(&b["timestamp"])))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_best_post_has_the_most_interactions_and_of_equals_is_the_newest() {
        let post = |id: i64, at: &str, sum: Value| {
            let numbers = json!({"data": [{"name": "total_interactions", "values": [{ "value": sum }]}]});
            json!({"id": id.to_string(), "timestamp": at, "insights": numbers})
        };
        let posts = [
            post(1, "2026-11-19T08:00:00+0000", json!(5)),
            post(2, "2026-11-19T09:00:00+0000", json!(7)),
            post(3, "2026-11-19T10:00:00+0000", json!(7)),
            post(4, "2026-11-19T11:00:00+0000", Value::Null),
            post(5, "2026-11-20T08:00:00+0000", json!(99)),
            post(6, "2026-11-19T07:59:59+0000", json!(99)),
        ];
        let whole =
            Slice { since: "2026-11-19T08:00:00Z".parse().unwrap(), until: "2026-11-20T08:00:00Z".parse().unwrap() };
        let found = posts_of(&posts, whole);
        assert_eq!(found.len(), 4);
        assert_eq!(top(&found).map(|(post, sum)| (post["id"].clone(), sum)), Some((json!("3"), Decimal::from(7))));
        assert_eq!(top(&[]), None);
    }

    #[test]
    fn the_row_has_all_metrics() {
        let names: Vec<&str> = GET_ACCOUNT_REPORT.row_columns().iter().map(|column| column.name).collect();
        assert!(METRICS.iter().all(|metric| names.contains(metric)));
        let ParamKind::Word(words) = GET_ACCOUNT_REPORT.params[0].kind else { panic!() };
        assert_eq!(words, PERIODS.iter().map(|(word, _)| *word).collect::<Vec<_>>());
    }
}
