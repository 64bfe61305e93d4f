//! The Instagram catalogue.

mod account;
mod comments;
mod formulas;
mod insights;
mod media;
mod others;
mod posts;
mod publishing;
mod stories;
mod window;

use crate::tool::{Column, Tool};

/// What the server offers, in the order of `tools/list`.
pub const CATALOGUE: &[Tool] = &[
    account::GET_PROFILE,
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
    publishing::GET_PUBLISHING_LIMIT,
    posts::GET_TOP_POSTS,
    posts::GET_CONTENT_MIX,
    posts::GET_BEST_TIME_TO_POST,
    posts::GET_HASHTAG_PERFORMANCE,
    comments::LIST_UNANSWERED_COMMENTS,
    stories::GET_STORY_REPORT,
    others::COMPARE_BUSINESSES,
];

/// Permissions of every tool, Facebook Login.
const BASIC: &[&[&str]] = &[&["instagram_basic"]];
/// Permissions of every tool, Instagram Login.
const BASIC_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"]];
/// Those of numbers.
const INSIGHTS: &[&[&str]] = &[&["instagram_basic"], &["instagram_manage_insights"]];
const INSIGHTS_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_insights"]];

/// Those of comments, and of posts that tag the account.
const COMMENTS: &[&[&str]] = &[&["instagram_basic"], &["instagram_manage_comments"]];
const COMMENTS_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_comments"]];
/// Those of publishing.
const PUBLISH: &[&[&str]] = &[&["instagram_basic"], &["instagram_content_publish"]];
const PUBLISH_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_content_publish"]];

/// Says that there is more than was read.
const TRUNCATED: Column = Column::flag("truncated").made().about("there is more than was read");
/// Says what was substituted, dropped or could not be had.
const NOTE: Column = Column::text("note").made().about("what was substituted, dropped or could not be had");
