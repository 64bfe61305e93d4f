//! The real binary, as a shell sees it.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const API_KEY: &str = "an-api-key-of-good-length";

/// The binary in `folder` with nothing but `variables` around it, reading an empty file instead of a real set-up's.
fn aiviary(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aiviary"));
    command.args(arguments).env_clear().env("AIVIARY_CONFIG", "/dev/null").envs(variables.iter().copied());
    command.current_dir(folder).output().unwrap()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let folder = TempDir::new().unwrap();
    let output = aiviary(folder.path(), arguments, variables);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "{arguments:?} left files");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const NOCODB: [(&str, &str); 4] = [
    ("ENCRYPTION_KEY", KEY),
    ("VM_API_KEY", API_KEY),
    ("AIVIARY__STORE__URL", "nocodb+http://nocodb:8080"),
    ("NOCODB_TOKEN", "a-token"),
];

const RIGHT: [(&str, &str); 2] = [("ENCRYPTION_KEY", KEY), ("VM_API_KEY", API_KEY)];

#[test]
fn exit_codes_tell_what_happened() {
    for (arguments, variables, code) in [
        (&["check"][..], &RIGHT[..], 0),
        (&["check", "instagram", "sandbox"], &[], 0),
        (&["check", "--json"], &RIGHT, 0),
        (&["check"], &NOCODB, 0),
        (&["check"], &NOCODB[..3], 78),
        (&["store", "copy", "--to", "nowhere:"], &RIGHT, 2),
        (&["store", "copy", "--to", "sqlite:aiviary.db"], &RIGHT, 2),
        (&["store", "init", "--bootstrap"], &RIGHT, 2),
        (&["store"], &RIGHT, 2),
        (&["check"], &[], 78),
        (&["check"], &[("AIVIARY__LOG__FORMAT", "yaml")], 78),
        (&["check", "--config", "/nowhere/a.toml"], &RIGHT, 78),
        (&["serve", "connect"], &[("AIVIARY__LOG__FORMAT", "yaml")], 78),
        (&["--version"], &[], 0),
        (&["--help"], &[], 0),
        (&["key", "generate"], &[], 0),
        (&[], &[], 2),
        (&["fly"], &[], 2),
        (&["serve", "mcp"], &[], 2),
        (&["serve", "mcp", "--platform", "tiktok"], &[], 2),
        (&["serve", "all", "--data", "here"], &[], 2),
        (&["tools", "--json", "--markdown"], &[], 2),
    ] {
        let (exit, out, err) = run(arguments, variables);
        assert_eq!(exit, code, "{arguments:?} {variables:?}\n{out}\n{err}");
        if code != 0 {
            assert!(!err.is_empty(), "{arguments:?} says why");
        }
    }
}

#[test]
fn check_tells_file_variables_and_secrets_at_once() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.toml"), "[connect]\ndrian = \"8s\"\n").unwrap();
    let output = aiviary(folder.path(), &["check", "--config", "a.toml"], &[("AIVIARY__LOG__FORMAT", "yaml")]);
    let err = String::from_utf8(output.stderr).unwrap();
    for said in ["--> a.toml:2:1", "AIVIARY__LOG__FORMAT (log.format)", "ENCRYPTION_KEY: is missing", "4 faults"] {
        assert!(err.contains(said), "{said}: {err}");
    }
    assert!(!err.contains('\u{1b}'), "no colour off a terminal");
}

#[test]
fn check_shows_what_holds() {
    let mut variables = RIGHT.to_vec();
    variables.extend([("AIVIARY__CONNECT__PUBLIC", "127.0.0.1:8006"), ("AIVIARY__GRAPH__TIMEOUT", "9s")]);
    let (_, out, err) = run(&["check"], &variables);
    for said in [
        "configuration: /dev/null (AIVIARY_CONFIG)\n",
        "  graph.timeout = \"9s\"   # AIVIARY__GRAPH__TIMEOUT\n",
        "  ENCRYPTION_KEY        set       variable\n",
        "  MCP_API_KEY           missing\n",
        "  connect 127.0.0.1:8006, public (connect.public[0])\n    GET /healthz\n    POST /api/credentials\n    \
         DELETE /api/credentials\n  instagram",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert!(err.contains("warning: CONNECT_SERVICE_KEY"), "{err}");
    let (_, out, _) = run(&["check", "--json"], &variables);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["settings"]["graph.timeout"]["from"], "AIVIARY__GRAPH__TIMEOUT");
    assert_eq!(report["secrets"]["VM_API_KEY"]["state"], "set");
    assert_eq!(report["listeners"][1]["exposure"], "public");
}

#[test]
fn no_command_prints_a_secret() {
    let folder = TempDir::new().unwrap();
    // Secrets where they do not belong, spelt right and wrong.
    let misplaced = "vm_api_key = \"EAABsecret\"\nclient_id = \"EAABsecret EAABsecret\"\nEAABsecret\n\
                     store.url = \"nocodb+https://EAABsecret@a.example\"\nx = { vm_api_key = \"EAABsecret\", y = 1 }\n\
                     connect = { vm_api_key = \"EAABsecret\", drain = 8 }\n";
    std::fs::write(folder.path().join("a.toml"), misplaced).unwrap();
    std::fs::write(folder.path().join("b.toml"), misplaced.replacen("\nEAABsecret\n", "\n", 1)).unwrap();
    let sets: [&[(&str, &str)]; 3] = [
        &[("ENCRYPTION_KEY", KEY), ("VM_API_KEY", "EAABsecret-EAABsecret"), ("MCP_API_KEY", "EAABsecret")],
        &[
            ("ENCRYPTION_KEY", "EAABsecret"),
            ("VM_API_KEY", "EAABsecret\tEAABsecret"),
            ("META_APP_SECRET", "EAABsecret,"),
            ("NOCODB_TOKEN", "EAABsecret EAABsecret"),
            ("AIVIARY__STORE__URL", "nocodb+http://nocodb"),
        ],
        &[("AIVIARY__STORE__URL", "nocodb+http://EAABsecret@nocodb"), ("AIVIARY__CLIENT_ID", "EAABsecret!")],
    ];
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["check", "--config", "a.toml"],
        &["check", "--config", "b.toml"],
        &["check", "--json", "--config", "b.toml"],
        &["serve", "connect"],
        &["credential", "list"],
        &["tools"],
        &["call", "--platform", "instagram", "get_account_info"],
    ] {
        for variables in sets {
            let output = aiviary(folder.path(), arguments, variables);
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(!said.contains("EAABsecret") && !said.contains(KEY), "{arguments:?} {said}");
        }
    }
}

#[test]
fn completions_the_manual_and_keys_come_out() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (exit, out, _) = run(&["completions", shell], &[]);
        assert!(exit == 0 && out.contains("aiviary"), "{shell}");
    }
    let (_, page, _) = run(&["man"], &[]);
    for said in [".TH aiviary 1", "aiviary serve all", "aiviary audit verify", "\\-\\-data <DIR>", "Exit codes"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let (_, key, _) = run(&["key", "generate"], &[]);
    let (_, other, _) = run(&["key", "generate"], &[]);
    assert!(key.trim_end().len() == 64 && key.trim_end().bytes().all(|b| b.is_ascii_hexdigit()) && key != other);
    let (_, version, _) = run(&["--version"], &[]);
    assert!(version.starts_with(concat!("aiviary ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_aiviary"))
        .args(["completions", "bash"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

/// A role that answers one question with `status` and `body`.
fn role(status: &'static str, body: &'static str) -> String {
    use std::io::Write as _;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        assert!(head[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    });
    address.to_string()
}

#[test]
fn health_says_ready_waiting_or_away() {
    const READY: &str = r#"{"ready":true,"waiting_for":[],"unreadable":0}"#;
    const WAITING: &str = r#"{"ready":false,"waiting_for":["the store"],"unreadable":0}"#;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (at, code, said) in [
        (role("200 OK", READY), 0, "connect: ready\n".to_owned()),
        (role("503 Service Unavailable", WAITING), 1, "connect: not ready: the store\n".to_owned()),
        (role("404 Not Found", "{}"), 1, "answers 404 Not Found and is no role of aiviary\n".to_owned()),
        (closed.clone(), 69, format!("connect: not reachable: http://{closed}: ")),
    ] {
        let (exit, out, _) = run(&["health", "connect"], &[("AIVIARY__CONNECT__INTERNAL", &at)]);
        assert!(exit == code && out.contains(&said), "{said}: {exit} {out}");
    }
    let (exit, out, _) = run(&["health", "--url", &format!("http://{}", role("200 OK", READY))], &[]);
    assert_eq!((exit, out.as_str()), (0, "service: ready\n"));
    let (exit, ..) = run(&["health", "instagram"], &[("AIVIARY__MCP__INSTAGRAM__LISTEN", "unix:/nowhere/a.sock")]);
    assert_eq!(exit, 69);
}
