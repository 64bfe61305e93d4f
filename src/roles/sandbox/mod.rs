//! The `sandbox` role: a stand-in for Meta's Graph API v26.0, filled with a sample business.
//!
//! The stand-in is a plain library: [`graph::StandIn::answer`] turns a request into a response without any
//! I/O, so that tests call it directly and the role only has to put it behind a listener. A request goes
//! through `graph` (path, version, token) to one of `oauth`, `instagram` and `marketing`; `rules` holds
//! what the real API refuses and the faults on request, `fields` its fields language and paging,
//! `business` the sample numbers.

mod business;
mod fields;
pub mod graph;
mod instagram;
mod marketing;
mod oauth;
mod rules;

pub use business::{
    AD_ACCOUNT, IG_ACCOUNT, OTHER_AD_ACCOUNT, OTHER_IG_ACCOUNT, OTHER_PAGE, OTHER_USER, PAGE, SMALL_IG_ACCOUNT, USER,
};
pub use graph::{Body, Host, Request, Response, StandIn};
pub use oauth::{
    APP_ID, APP_SECRET, APP_TOKEN, EXPIRED_TOKEN, INSTAGRAM_TOKEN, NO_BUSINESS_TOKEN, NO_INSIGHTS_TOKEN,
    OTHER_INSTAGRAM_TOKEN, OTHER_TOKEN, PAGE_TOKEN, REVOKED_TOKEN, TOKEN,
};
pub use rules::{FAULTS, Fault};

/// The fields that each object of Meta's specification serves here, set or not; tests compare them with that.
#[must_use]
pub fn served_fields() -> Vec<(&'static str, Vec<&'static str>)> {
    let served = [
        ("IGUser", instagram::USER_KIND.known),
        ("IGUserForIGOnlyAPI", instagram::LOGIN_USER_KIND.known),
        ("IGMedia", instagram::MEDIA_KIND.known),
        ("IGMediaForIGOnlyAPI", instagram::LOGIN_MEDIA_KIND.known),
        ("IGComment", instagram::COMMENT_KIND.known),
        ("AdAccount", marketing::ACCOUNT_KIND.known),
        ("Campaign", marketing::CAMPAIGN_KIND.known),
        ("AdSet", marketing::AD_SET_KIND.known),
        ("Ad", marketing::AD_KIND.known),
        ("AdsInsights", marketing::INSIGHTS_FIELDS),
    ];
    served.into_iter().map(|(object, names)| (object, names.split(' ').collect())).collect()
}
