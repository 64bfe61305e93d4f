//! NocoDB as a store: against a far end that fails on demand, and against a real one where `scripts/nocodb test` runs
//! this (`make test-nocodb`).

#[path = "../support/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;

mod commands;
mod fake;
mod faults;
mod real;

use std::error::Error;

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(&format!(": {error}"));
        source = error.source();
    }
    words
}
