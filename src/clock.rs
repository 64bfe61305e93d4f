//! Wall time as an argument: the system's, or one that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Where "now" comes from. Only expiry, the order of saves and log times use it; time limits are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    /// Milliseconds since the Unix epoch, moved by whoever holds a clone.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at` until [`Clock::set`] moves it; clones move together.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Fixed(ms) => Timestamp::from_millisecond(ms.load(Ordering::SeqCst)).expect("set from a Timestamp"),
        }
    }

    /// Moves a fixed clock, and does nothing to the system's.
    pub fn set(&self, at: Timestamp) {
        if let Source::Fixed(ms) = &self.0 {
            ms.store(at.as_millisecond(), Ordering::SeqCst);
        }
    }
}

/// RFC 3339 in UTC with whole seconds, `2026-11-23T09:00:00Z`: how every answer writes a moment.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads RFC 3339, and nothing of what jiff reads beyond it: signed years, which no cell could be read back from, and
/// `[zones]`.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b"-:.+TtZz ".contains(&b));
    plain.then(|| text.parse().ok()).flatten()
}
