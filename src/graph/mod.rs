//! The client of Meta's Graph API. This branch has its settings only.

use std::time::Duration;

/// `[graph]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where Facebook logins are served. Default: `https://graph.facebook.com`.
    pub base_url: String,
    /// Where Instagram logins are served. Default: `https://graph.instagram.com`.
    pub instagram_base_url: String,
    /// Graph version of every path. Default: `v26.0`.
    pub version: String,
    /// Time for one attempt, its whole answer included. Default: 20 s.
    pub timeout: Duration,
    /// Calls at once for one client, 1 to 4096. Default: 64.
    pub concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: "https://graph.facebook.com".to_owned(),
            instagram_base_url: "https://graph.instagram.com".to_owned(),
            version: "v26.0".to_owned(),
            timeout: Duration::from_secs(20),
            concurrency: 64,
        }
    }
}
