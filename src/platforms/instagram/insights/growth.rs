//! How the number of followers changes.

use futures_util::future::BoxFuture;
use futures_util::join;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::super::window::{Length, Slice, Window, month_ago};
use super::super::{INSIGHTS, INSIGHTS_INSTAGRAM, NOTE};
use super::call::Told;
use super::metrics::{FOLLOWER_COUNT, FOLLOWS, Metric};
use super::series::Series;
use super::totals::Totals;
use super::{DATE, PROVISIONAL, SINCE_COLUMN, UNTIL_COLUMN, node};
use crate::clock::rfc3339;
use crate::credential::AccountKind;
use crate::tool::{Answer, Ask, Column, Done, Param, ParamKind, Tool, ToolError};

pub const GET_FOLLOWER_GROWTH: Tool = Tool::read("get_follower_growth", AccountKind::Instagram)
    .group("Account numbers")
    .about(
        "Followers now, new followers a day, follows and unfollows of the last days. Meta keeps 30 days, from 100 \
         followers on. Not for who they are: use get_audience_demographics.",
    )
    .needs(INSIGHTS)
    .needs_instagram(INSIGHTS_INSTAGRAM)
    .params(&[Param::new("days", ParamKind::Int(1, 30), "Complete days; default 28.", "7")])
    .example(r#"{"days":7}"#)
    .list(
        "days",
        &[
            Column::day("date").made().about("the Los Angeles day"),
            Column::count("new_followers").made().about("follower_count of the day"),
        ],
        &[
            Column::count("followers_now").made(),
            Column::count("gained").made().about("sum of new_followers"),
            Column::count("follows").made(),
            Column::count("unfollows").made(),
            Column::count("net").made().about("follows − unfollows"),
            DATE,
            SINCE_COLUMN,
            UNTIL_COLUMN,
            PROVISIONAL,
            NOTE,
        ],
    )
    .run(get_follower_growth);

fn get_follower_growth(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let now = ask.clock.now();
        ask.check_limit()?;
        let (asked, _) = Slice::resolve(&ask.args, now, Length::of_days(&ask.args, "days", 28))?;
        let mut told = Told::default();
        // In the first hours of a day the last complete one lies a day further back.
        let slice = asked.clipped(month_ago(now)).unwrap_or(asked);
        let window = Window::cut(slice, None);
        window.note.iter().for_each(|note| told.note(format!("follows and unfollows: {note}")));
        let [follows, unfollows] = ["follows", "unfollows"].map(|name| Metric::of(name).into_iter());
        let both: Vec<&'static Metric> = follows.chain(unfollows).collect();
        let series = Series::ask(&ask, &[FOLLOWER_COUNT], slice);
        let (profile, series, totals) = join!(node(&ask, "followers_count"), series, Totals::ask(&ask, &both, &window));
        let profile = told.keep("followers_now", profile)?.unwrap_or_default();
        let (mut series, totals) = (series?, totals?);

        let gained = series.sum(FOLLOWER_COUNT, slice);
        let row = |day: Date| json!({ "date": day.to_string(), "new_followers": series.on(day, FOLLOWER_COUNT) });
        let rows: Vec<Value> = slice.days().map(row).collect();
        told.join(series.told);
        let [follows, unfollows] =
            ["follows", "unfollows"].map(|name| Metric::of(name).and_then(|metric| totals.value(metric)));
        told.join(totals.told);
        let mut silent = Vec::new();
        if gained.is_none() && !told.explains(FOLLOWER_COUNT) {
            silent.push("new followers");
        }
        if follows.is_none() && unfollows.is_none() && !told.explains(FOLLOWS) {
            silent.push("follows and unfollows");
        }
        let note = told.text(&ask, &silent).await?;
        let beside = json!({
            "followers_now": profile["followers_count"],
            "gained": gained,
            "follows": follows,
            "unfollows": unfollows,
            "net": follows.zip(unfollows).map(|(follows, unfollows)| follows.saturating_sub(unfollows)),
            "since": rfc3339(slice.since),
            "until": rfc3339(slice.until),
            "date": window.date(),
            "provisional": window.is_provisional(now),
            "note": note,
        });
        Ok(Answer::List { rows, beside, next: None }.into())
    })
}
