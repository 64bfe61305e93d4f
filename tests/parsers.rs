//! Every parser that meets strangers' bytes, under the same properties as the fuzz targets of `fuzz/`: with any bytes,
//! with bytes that are nearly right, and with the seeds and findings of the fuzzer. `AIVIARY_SOAK=1` makes it a million.

#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;

type Property = fn(&[u8]);

const TARGETS: [(&str, Property); 9] = [
    ("credential_body", properties::credential_body),
    ("envelope", properties::envelope),
    ("audit_line", properties::audit_line),
    ("arguments", properties::arguments),
    ("graph_answer", properties::graph_answer),
    ("configuration", properties::configuration),
    ("plain_request", properties::plain_request),
    ("mcp_request", properties::mcp_request),
    ("nocodb_rows", properties::nocodb_rows),
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has seeds");
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_fuzz_target_is_here_and_has_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut known: Vec<_> = TARGETS.map(|(name, _)| std::ffi::OsString::from(format!("{name}.rs"))).to_vec();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

#[test]
fn seeds_and_findings_of_the_fuzzer_hold() {
    for (target, holds) in TARGETS {
        for seed in seeds(target) {
            let held = catch_unwind(|| holds(&seed));
            assert!(held.is_ok(), "{target}: {}", String::from_utf8_lossy(&seed));
        }
    }
}

/// A seed with some of its bytes changed, doubled or cut: what a parser takes for right the longest.
fn nearly(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let change = (any::<Index>(), any::<Index>(), 0..4u8, select(b"\"{}[]:,0-9aZ\\\n\0\xff=#.".to_vec()));
    (select(seeds(target)), vec(change, 1..6)).prop_map(|(mut bytes, changes)| {
        for (at, to, how, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at.min(to)..at.max(to))),
                _ => {
                    let part = bytes[at.min(to)..at.max(to)].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    })
}

fn holds_for_many(target: &str) {
    let (_, property) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let strategy = prop_oneof![1 => vec(any::<u8>(), 0..300), 3 => nearly(target)];
    // Failures are printed whole; there is no file to keep them in.
    let soaking = std::env::var_os("AIVIARY_SOAK").is_some_and(|value| value == "1");
    let config =
        Config { cases: if soaking { 1_000_000 } else { 2000 }, failure_persistence: None, ..Config::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let ran = runner.run(&strategy, |bytes| {
        property(&bytes);
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{target}: {failed}");
    }
}

macro_rules! for_any_bytes {
    ($($name:ident: $target:literal;)*) => {
        $(#[test]
        fn $name() {
            holds_for_many($target);
        })*
    };
}

for_any_bytes! {
    a_credential_body_is_taken_by_its_grammar_or_refused_by_member: "credential_body";
    a_cell_is_the_one_stored_form_or_refused: "envelope";
    an_audit_line_reads_back_or_is_none: "audit_line";
    arguments_of_every_tool_are_checked_or_refused_in_one_sentence: "arguments";
    an_answer_of_graph_becomes_declared_columns_without_links: "graph_answer";
    a_configuration_is_read_or_its_faults_are_told: "configuration";
    a_plain_request_is_refused_in_one_sentence: "plain_request";
    an_mcp_request_is_answered_under_its_id: "mcp_request";
    rows_of_nocodb_are_the_clients_own_or_none: "nocodb_rows";
}
