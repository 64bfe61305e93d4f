//! `aiviary audit`.

use super::{Audit, Context, Exit, Failure};

/// Stands here until the parts that it needs are merged.
pub(super) fn run(_args: Audit, context: &Context) -> Result<Exit, Failure> {
    context.load()?;
    Err(Failure::new(Exit::Failed, "not built yet in this branch"))
}
