//! `aiviary key`.

use zeroize::Zeroizing;

use super::{Exit, Failure, print};
use crate::config::new_key;

/// A new 256-bit key on stdout.
pub(super) fn generate() -> Result<Exit, Failure> {
    let line = Zeroizing::new(format!("{}\n", &*new_key()));
    print(&line)?;
    Ok(Exit::Done)
}
