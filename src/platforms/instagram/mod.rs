//! The Instagram catalogue.

mod account;
mod insights;
mod media;
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
];

/// Permissions of every tool, Facebook Login.
const BASIC: &[&[&str]] = &[&["instagram_basic"]];
/// Permissions of every tool, Instagram Login.
const BASIC_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"]];
/// Those of numbers.
const INSIGHTS: &[&[&str]] = &[&["instagram_basic"], &["instagram_manage_insights"]];
const INSIGHTS_INSTAGRAM: &[&[&str]] = &[&["instagram_business_basic"], &["instagram_business_manage_insights"]];

/// Says what was substituted, dropped or could not be had.
const NOTE: Column = Column::text("note").made().about("what was substituted, dropped or could not be had");
