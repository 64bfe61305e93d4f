//! The platforms and their catalogues.

pub mod instagram;
pub mod meta_ads;

use crate::tool::Tool;

/// A platform that the mcp role serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Port 3005.
    Instagram,
    /// Port 3004.
    MetaAds,
}

impl Platform {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Instagram, Self::MetaAds];

    /// The word of the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instagram => "instagram",
            Self::MetaAds => "meta-ads",
        }
    }

    /// Its table below `[mcp]` in the configuration.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::Instagram => "instagram",
            Self::MetaAds => "meta_ads",
        }
    }

    /// Its tools, in the order of `tools/list`.
    #[must_use]
    pub fn catalogue(self) -> &'static [Tool] {
        match self {
            Self::Instagram => instagram::CATALOGUE,
            Self::MetaAds => meta_ads::CATALOGUE,
        }
    }

    /// JSON: of each tool, by its name, an example of arguments, what the sandbox answers (lists cut to their first
    /// row), and the Graph calls that it took. A test compares it with what is so.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Instagram => include_str!("instagram/examples.json"),
            Self::MetaAds => include_str!("meta_ads/examples.json"),
        }
    }
}
