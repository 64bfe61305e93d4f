//! `aiviary tools`.

use super::{Exit, Failure, Tools};

/// Stands here until the catalogues are merged.
pub(super) fn run(_args: &Tools) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failed, "not built yet in this branch"))
}
