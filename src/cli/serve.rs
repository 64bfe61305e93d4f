//! `aiviary serve`.

use super::{Context, Exit, Failure, Serve};

/// Stands here until the parts that it needs are merged.
pub(super) fn run(_args: Serve, context: &Context) -> Result<Exit, Failure> {
    context.load()?;
    Err(Failure::new(Exit::Failed, "not built yet in this branch"))
}
