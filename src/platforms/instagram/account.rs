//! The account itself.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{BASIC, BASIC_INSTAGRAM, CATALOGUE, MESSAGES, MESSAGES_INSTAGRAM, PUBLISH, PUBLISH_INSTAGRAM};
use crate::credential::{AccountKind, Login};
use crate::tool::ask::lacking;
use crate::tool::{Answer, Ask, Column, Done, Tool, ToolError};

pub(super) const GET_PROFILE: Tool = Tool::read("get_profile", AccountKind::Instagram)
    .group("Account")
    .about(
        "The connected Instagram account: name, bio, followers, number of posts. Use it to say whose account this is. \
         media_count is Meta's approximate count. profile_picture_url expires within days: fetch it now. Not for numbers \
         over time: use get_account_insights.",
    )
    .needs(BASIC)
    .needs_instagram(BASIC_INSTAGRAM)
    .row(&[
        Column::id("id").about("account id"),
        Column::text("username"),
        Column::text("name"),
        Column::text("biography"),
        Column::text("website"),
        Column::count("followers_count").about("followers now"),
        Column::count("follows_count").about("accounts that it follows"),
        Column::count("media_count").about("posts, approximately"),
        Column::text("profile_picture_url").about("signed link, expires within days"),
        Column::text("account_type").only(Login::Instagram).about("BUSINESS or MEDIA_CREATOR; Instagram Login only"),
    ]);

pub(super) const GET_CONNECTION_STATUS: Tool = Tool::read("get_connection_status", AccountKind::Instagram)
    .group("Account")
    .about(
        "Whether the account is connected, until when, and what its token may do. Use it when another tool fails or \
         before a long job. A dead token is its answer, never its error.",
    )
    .needs(BASIC)
    .needs_instagram(BASIC_INSTAGRAM)
    .row(&[
        Column::flag("connected").made().about("whether tools can work now"),
        Column::text("username").made(),
        Column::text("login").made().about("facebook or instagram"),
        Column::time("token_expires_at").made().about("null when it is not known, or never"),
        Column::count("days_left").made().about("whole days until then; negative after it"),
        Column::flag("token_expired").made(),
        Column::text("scopes").made().about("the token's permissions, comma-separated; null when not known"),
        Column::text("missing_scopes").made().about("permissions that some tool needs and the token lacks"),
        Column::flag("can_publish").made().about("null when not known"),
        Column::flag("can_message").made().about("null when not known; false without facebook_page_id"),
        Column::text("problem").made().about("what stands in the way, and what to do"),
    ])
    .of_connection(get_connection_status);

fn get_connection_status(ask: Ask) -> BoxFuture<'static, Result<Done, ToolError>> {
    Box::pin(async move {
        let account = &ask.account;
        let mut username = Value::Null;
        let problem = if account.token_expired {
            Some("the token has expired; the client must authorise again".to_owned())
        } else {
            let asked = async { Ok::<_, ToolError>(ask.graph.get(&ask.own("{}")?.fields("id,username")).await?) };
            match asked.await {
                Ok(node) => {
                    username = node["username"].clone();
                    None
                }
                Err(ToolError::Graph(error)) => Some(format!("{error}: {}", error.words())),
                Err(error) => Some(error.to_string()),
            }
        };
        let granted = if account.token_expired { account.scopes.clone() } else { ask.granted().await };
        let may = |facebook, instagram| {
            let needs = if account.login == Login::Facebook { facebook } else { instagram };
            granted.as_ref().map(|granted| lacking(needs, granted).is_empty())
        };
        // With Facebook Login messages are the Page's.
        let has_inbox = account.login == Login::Instagram || account.ids.get(AccountKind::Page).is_some();
        let missing = granted.as_ref().map(|granted| {
            let offered = CATALOGUE.iter().filter(|tool| tool.login.is_none_or(|login| login == account.login));
            let all = offered.flat_map(|tool| lacking(tool.needs_of(account.login), granted));
            all.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(",")
        });
        let ends = account.token_expires_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let days = ends.map(|ends| ends.duration_since(ask.clock.now()).as_hours().div_euclid(24));
        let row = json!({
            "connected": problem.is_none(),
            "username": username,
            "login": account.login.as_str(),
            "token_expires_at": account.token_expires_at,
            "days_left": days,
            "token_expired": account.token_expired,
            "scopes": granted.as_ref().map(|granted| granted.join(",")),
            "missing_scopes": missing,
            "can_publish": may(PUBLISH, PUBLISH_INSTAGRAM),
            "can_message": if has_inbox { may(MESSAGES, MESSAGES_INSTAGRAM) } else { Some(false) },
            "problem": problem,
        });
        Ok(Answer::Row(row).into())
    })
}
