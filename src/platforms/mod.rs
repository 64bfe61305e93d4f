//! The platforms and their catalogues.

pub mod meta_ads;

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
}
