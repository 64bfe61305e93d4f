//! The table of threats in `docs/security.md`, row by row: what no other test proves is proven here.
//!
//! Volumes are a tenth of the design's, and whole with `AIVIARY_SOAK=1`.

#[path = "../support/mod.rs"]
mod support;

mod binary;
mod boundary;
mod callers;
mod commands;
mod custody;
mod graph;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// `whole` in a soak, else a tenth of it.
fn volume(whole: usize) -> usize {
    let soaking = std::env::var_os("AIVIARY_SOAK").is_some_and(|value| value == "1");
    if soaking { whole } else { whole / 10 }
}

/// Whether `text`, Rust, has a test of that name.
fn has_test(text: &str, name: &str) -> bool {
    let is_attribute = |line: &str| line.starts_with("#[") || line.starts_with("//");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let bare = line.strip_prefix("async ").unwrap_or(line);
        let named = bare.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
        let above = lines[..at].iter().rev().take_while(|line| is_attribute(line));
        named.is_some_and(|rest| rest.starts_with('('))
            && above.into_iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_threat_has_a_row_and_every_test_of_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(Ok(number)) = cells.first().map(|cell| cell.parse::<u8>()) else { continue };
        assert_eq!(cells.len(), 4, "number, threat, what stops it, tests: {line}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
        assert!(rows.insert(number, cells[3]).is_none(), "row {number} is there twice");
    }
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=55).collect::<Vec<_>>());

    for (number, tests) in &rows {
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        for test in &named {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("row {number}: {test} is no test"));
            let text =
                fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("row {number}: {file}: {error}"));
            assert!(has_test(&text, name), "row {number}: {file} has no test {name}");
        }
        assert!(!named.is_empty(), "row {number} names no test");
    }
}

#[test]
fn a_test_is_told_from_a_function_that_is_none() {
    let text = "#[test]\n#[ignore]\nfn one() {}\n/// Words.\nfn two() {}\n#[tokio::test(flavor = \"x\")]\n// why\nasync fn three() {}";
    let found = ["one", "two", "three", "on", "four"].map(|name| has_test(text, name));
    assert_eq!(found, [true, false, true, false, false]);
}

#[test]
fn every_file_of_this_folder_is_compiled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/security");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") else { continue };
        assert!(include_str!("main.rs").contains(&format!("\nmod {module};\n")), "{name} is not compiled");
    }
}
