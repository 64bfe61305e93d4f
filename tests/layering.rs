//! Imports point down only: what each module may use stands here, and its `use crate::` lines are compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and what of ours it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("exposure", &[]),
    ("clock", &[]),
    ("telemetry", &[]),
    ("sqlite", &[]),
    ("lock", &[]),
    ("crypto", &["secret"]),
    ("credential", &["crypto"]),
    ("api", &["credential", "crypto", "secret", "clock"]),
    ("server", &["exposure", "secret", "clock", "telemetry"]),
    ("store", &["credential", "crypto", "secret", "sqlite", "exposure", "telemetry"]),
    ("graph", &["secret", "clock"]),
    ("tool", &["graph", "credential", "clock"]),
    ("platforms", &["tool", "graph", "credential", "clock"]),
    (
        "roles::connect",
        &[
            "api",
            "store",
            "graph",
            "server",
            "crypto",
            "credential",
            "exposure",
            "secret",
            "clock",
            "sqlite",
            "lock",
            "telemetry",
            "roles",
        ],
    ),
    (
        "roles::mcp",
        &[
            "platforms",
            "tool",
            "api",
            "graph",
            "server",
            "credential",
            "exposure",
            "secret",
            "clock",
            "sqlite",
            "lock",
            "telemetry",
            "roles",
        ],
    ),
    ("roles::sandbox", &["server", "exposure", "clock", "credential", "telemetry", "roles"]),
    ("roles", &["server"]),
    (
        "config",
        &[
            "roles",
            "platforms",
            "tool",
            "graph",
            "store",
            "server",
            "crypto",
            "credential",
            "exposure",
            "secret",
            "clock",
            "telemetry",
        ],
    ),
];

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The module of a file, roles told apart.
fn module(path: &Path) -> String {
    let parts: Vec<String> = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end_matches(".rs")).collect();
    match parts[..] {
        ["roles", "mod"] => "roles".to_owned(),
        ["roles", role, ..] => format!("roles::{role}"),
        [first, ..] => first.to_owned(),
        [] => unreachable!(),
    }
}

/// Whether the file is a module of tests alone.
fn is_of_tests(file: &Path) -> bool {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let parent = file.with_file_name("mod.rs");
    fs::read_to_string(parent).is_ok_and(|text| text.contains(&format!("#[cfg(test)]\nmod {name};")))
}

#[test]
fn imports_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(module, uses)| (*module, uses.iter().copied().collect())).collect();
    let mut broken = Vec::new();
    let mut looked_at = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let from = module(relative);
        let Some(may) = allowed.get(from.as_str()) else {
            assert!(matches!(from.as_str(), "lib" | "main" | "cli"), "{from} has no row in this test");
            continue;
        };
        if is_of_tests(&file) {
            continue;
        }
        looked_at.insert(from.clone());
        let text = fs::read_to_string(&file).unwrap();
        // What tests use is their own affair.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            for part in line.split("crate::").skip(1) {
                let names: Vec<&str> = match part.strip_prefix('{') {
                    Some(list) => list.split(['}', ';']).next().unwrap().split(',').map(str::trim).collect(),
                    None => vec![part],
                };
                for name in names {
                    let used: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                    let own = from.split("::").next().unwrap();
                    if !used.is_empty()
                        && used != own
                        && !may.contains(used.as_str())
                        && !line.trim_start().starts_with("//")
                    {
                        broken.push(format!("{}:{}: {from} uses {used}", relative.display(), number + 1));
                    }
                }
            }
        }
    }
    assert_eq!(looked_at.len(), MAY_USE.len(), "every row is a module: {looked_at:?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn one_role_never_uses_another() {
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/roles");
    for role in ["connect", "mcp", "sandbox"] {
        let mut files = Vec::new();
        sources(&roles.join(role), &mut files);
        assert!(!files.is_empty());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for other in ["connect", "mcp", "sandbox"].iter().filter(|other| **other != role) {
                let path = format!("roles::{other}");
                assert!(!text.contains(&path), "{} uses {path}", file.display());
            }
        }
    }
}

#[test]
fn only_one_file_knows_the_protocol_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let knowing: Vec<String> = files
        .iter()
        .filter(|file| {
            fs::read_to_string(file)
                .unwrap()
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains("rmcp::"))
        })
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert_eq!(knowing, ["roles/mcp/protocol.rs"]);
}

#[test]
fn ring_is_the_only_cryptography_library() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let names: BTreeSet<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains("ring") && names.contains("rustls"));
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring", "graviola", "aes-gcm"] {
        assert!(!names.contains(other), "{other} came in");
    }
}
