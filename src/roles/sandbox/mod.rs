//! The `sandbox` role: a stand-in for Meta's Graph API with a sample business behind it.

use crate::clock::Clock;
use crate::exposure::{Listener, Rules};

/// Settings of the role, checked.
#[derive(Debug)]
pub struct Settings {
    /// Internal listeners. Default: one on 127.0.0.1:3007.
    pub listeners: Vec<Listener>,
    /// What a request must be.
    pub rules: Rules,
    /// From what the sample data is derived. Default: 1.
    pub seed: u64,
    /// Wall time.
    pub clock: Clock,
}
