//! `aiviary call`.

use super::{Call, Context, Exit, Failure};

/// Stands here until the parts that it needs are merged.
pub(super) fn run(_args: Call, context: &Context) -> Result<Exit, Failure> {
    context.load()?;
    Err(Failure::new(Exit::Failed, "not built yet in this branch"))
}
