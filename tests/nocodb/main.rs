//! NocoDB as a store: against a far end that fails on demand, and against a real one where `scripts/nocodb test` runs
//! this (`make test-nocodb`).

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod fake;
mod faults;
mod real;

use aiviary::telemetry::chain;
