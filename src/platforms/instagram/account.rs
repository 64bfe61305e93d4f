//! The account itself.

use super::{BASIC, BASIC_INSTAGRAM};
use crate::credential::{AccountKind, Login};
use crate::tool::{Column, Tool};

pub(super) const GET_PROFILE: Tool = Tool::read("get_profile", AccountKind::Instagram)
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
