//! The Instagram catalogue.

mod account;
mod comments;
mod formulas;
mod insights;
mod media;
mod messages;
mod moderation;
mod more;
mod numbers;
mod others;
mod posts;
mod publish;
mod refused;
mod stories;
mod window;

use crate::tool::{Column, Tool};

/// What the server offers, in the order of `tools/list`.
pub const CATALOGUE: &[Tool] = &[
    account::GET_PROFILE,
    account::GET_CONNECTION_STATUS,
    insights::GET_ACCOUNT_INSIGHTS,
    insights::GET_ACCOUNT_INSIGHTS_BY_DAY,
    insights::GET_ACCOUNT_INSIGHTS_BREAKDOWN,
    insights::GET_FOLLOWER_GROWTH,
    insights::GET_AUDIENCE_DEMOGRAPHICS,
    insights::GET_ONLINE_FOLLOWERS,
    insights::GET_ACCOUNT_REPORT,
    insights::COMPARE_PERIODS,
    media::GET_RECENT_MEDIA,
    media::GET_MEDIA,
    media::GET_MEDIA_INSIGHTS,
    stories::LIST_STORIES,
    others::LIST_TAGGED_MEDIA,
    comments::LIST_COMMENTS,
    comments::LIST_RECENT_COMMENTS,
    comments::GET_COMMENT,
    others::GET_BUSINESS_PROFILE,
    others::LIST_HASHTAG_MEDIA,
    publish::GET_PUBLISHING_LIMIT,
    posts::GET_TOP_POSTS,
    posts::GET_CONTENT_MIX,
    posts::GET_BEST_TIME_TO_POST,
    posts::GET_HASHTAG_PERFORMANCE,
    comments::LIST_UNANSWERED_COMMENTS,
    stories::GET_STORY_REPORT,
    others::COMPARE_BUSINESSES,
    publish::PUBLISH_IMAGE,
    publish::PUBLISH_REEL,
    publish::PUBLISH_CAROUSEL,
    publish::PUBLISH_STORY,
    publish::CREATE_MEDIA_CONTAINER,
    publish::GET_CONTAINER_STATUS,
    publish::PUBLISH_CONTAINER,
    moderation::REPLY_TO_COMMENT,
    moderation::CREATE_COMMENT,
    moderation::HIDE_COMMENT,
    moderation::DELETE_COMMENT,
    moderation::SET_COMMENTS_ENABLED,
    moderation::DELETE_MEDIA,
    moderation::REPLY_TO_MENTION,
    messages::LIST_CONVERSATIONS,
    messages::GET_CONVERSATION,
    messages::GET_MESSAGE_SENDER,
    messages::GET_MESSAGE_WINDOW,
    messages::SEND_MESSAGE,
    messages::SEND_PRIVATE_REPLY,
    messages::MARK_CONVERSATION_SEEN,
    messages::REACT_TO_MESSAGE,
    more::GET_MENTION,
    more::GET_HASHTAG_QUOTA,
    more::LIST_SCHEDULED_MEDIA,
    more::LIST_COLLABORATION_INVITES,
    more::RESPOND_TO_COLLABORATION_INVITE,
    more::GET_COLLABORATIVE_MEDIA,
    moderation::SET_LIKE,
    more::LIST_LIVE_MEDIA,
    more::LIST_UPCOMING_EVENTS,
    more::SEARCH_CATALOG_PRODUCTS,
    more::GET_PRODUCT_TAGS,
    more::SET_PRODUCT_TAGS,
    more::LIST_WEBHOOK_FIELDS,
    more::SET_WEBHOOK_FIELDS,
];

/// With Facebook Login the account is reached through its Page: of these one.
const PAGE: &[&str] = &["pages_read_engagement", "pages_show_list"];
/// Permissions of every tool, Facebook Login.
const BASIC: &[&[&str]] = &[&["instagram_basic"], PAGE];
/// Permissions of every tool, Instagram Login.
const BASIC_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"]];
/// Those of numbers.
const INSIGHTS: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_insights"]];
const INSIGHTS_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_insights"]];

/// Those of comments, and of posts that tag the account.
const COMMENTS: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_comments"]];
const COMMENTS_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_comments"]];
/// Those of publishing.
const PUBLISH: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_content_publish"]];
const PUBLISH_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_content_publish"]];

/// Those of deleting posts, likes, events, products and webhooks; Facebook Login only.
const CONTENTS: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_contents"]];
const ENGAGEMENT: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_engagement"]];
const EVENTS: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_upcoming_events"]];
const SHOPPING: &[&[&str]] =
    &[&["instagram_basic"], PAGE, &["catalog_management"], &["instagram_shopping_tag_products"]];
const WEBHOOKS: &[&[&str]] = &[&["instagram_basic"], PAGE, &["pages_manage_metadata"]];
/// Those of messages.
const MESSAGES: &[&[&str]] = &[&["instagram_basic"], PAGE, &["instagram_manage_messages"], &["pages_manage_metadata"]];
const MESSAGES_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_messages"]];

/// Says that there is more than was read.
const TRUNCATED: Column = Column::flag("truncated").made().about("there is more than was read");
/// Says what was substituted, dropped or could not be had.
const NOTE: Column = Column::text("note").made().about("what was substituted, dropped or could not be had");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Login;

    #[test]
    fn every_tool_needs_what_its_login_needs_for_all() {
        for tool in CATALOGUE {
            let offers = |login: Login| tool.login.is_none_or(|only| only == login);
            for (login, basic) in [(Login::Facebook, BASIC), (Login::Instagram, BASIC_INSTAGRAM)] {
                let needs = tool.needs_of(login);
                assert!(!offers(login) || basic.iter().all(|any| needs.contains(any)), "{} {login:?}", tool.name);
            }
        }
    }
}
