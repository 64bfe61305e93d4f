//! Tells of tests that cannot run here: of a test that passes cargo shows no word.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Notes that this test did not run, and why, where `make test` and `.ci/run` read it.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("  {}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let file = OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("cargo's own folder can be written");
}
