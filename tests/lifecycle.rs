//! `aiviary serve` as a process: how it starts, refuses to start, tells the service manager, and ends.

#[path = "support/process.rs"]
mod process;
#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use aiviary::roles::sandbox as stand_in;
use process::{PATIENCE, Served, request, sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100";
const RIGHT: [(&str, &str); 2] = [("ENCRYPTION_KEY", KEY), ("VM_API_KEY", "an-api-key-of-good-length")];

fn folder() -> TempDir {
    TempDir::new().unwrap()
}

/// What `serve connect` says where it does not start, which it must do with that exit code.
fn refused(folder: &Path, exit: i32, variables: &[(&str, &str)]) -> String {
    let mut all = vec![("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:0")];
    all.extend(variables);
    let (code, out, err) = Served::start(folder, &["serve", "connect"], &all).ended();
    assert_eq!((code, out.as_str()), (Some(exit), ""), "{err}");
    assert!(!err.contains(" listens on "), "it served: {err}");
    assert!(!err.contains(KEY) && !err.contains(OTHER_KEY) && !err.contains("panicked"), "{err}");
    err
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_next_start_finds_everything_as_it_was() {
    let folder = folder();
    let own = folder.path().join(".aiviary");
    let (served, ports) = sandbox(folder.path(), &[]);
    let key = read(own.join("vm_api_key"));
    let body =
        json!({"client_id": "acme", "access_token": stand_in::OTHER_TOKEN, "meta_user_id": stand_in::OTHER_USER});
    let (status, _) =
        request(ports.connect, "POST", "/api/credentials", &[("X-API-Key", key.trim_end())], &body.to_string());
    assert_eq!(status, 201);
    let all = ["/api/credentials?client_id=acme", "/api/credentials?client_id=sample"];
    let summaries = all.map(|target| request(ports.connect, "GET", target, &[], ""));
    assert!(summaries.iter().all(|(status, _)| *status == 200), "{summaries:?}");
    assert_eq!(served.end("INT").0, Some(0));

    let (served, ports) = sandbox(folder.path(), &[]);
    assert_eq!(all.map(|target| request(ports.connect, "GET", target, &[], "")), summaries);
    let (status, grant) = request(ports.connect, "GET", "/api/credentials/token?client_id=acme", &[], "");
    let grant: Value = serde_json::from_str(&grant).unwrap();
    assert_eq!((status, &grant["access_token"]), (200, &json!(stand_in::OTHER_TOKEN)));
    assert_eq!(read(own.join("vm_api_key")), key);
    assert_eq!(served.end("TERM").0, Some(0));

    for entry in fs::read_dir(&own).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
    let verified = process::command(folder.path(), &["audit", "verify", ".aiviary/audit.jsonl"], &[]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn the_commands_that_the_first_start_prints_work() {
    let folder = folder();
    let (served, _) = sandbox(folder.path(), &[]);
    let said = served.out.so_far();
    let commands: Vec<&str> = said.lines().filter(|line| line.starts_with("  curl ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    if Command::new("curl").arg("--version").output().is_err() {
        skipped::skipped("curl is not installed");
        return;
    }
    for (line, members) in
        commands.iter().zip([&["client_id", "login"][..], &["impressions", "reach"], &["campaigns", "next_cursor"]])
    {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(members.iter().all(|name| answer.get(name).is_some()), "{line}: {answer}");
    }
}

#[test]
fn the_log_has_no_escape_codes_off_a_terminal() {
    for variables in [&[][..], &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]] {
        let folder = folder();
        let (served, _) = sandbox(folder.path(), variables);
        let (_, out, err) = served.end("TERM");
        assert!(err.contains("the store is open") && err.contains("stopped"), "{err}");
        assert!(!format!("{out}{err}").contains('\u{1b}'), "{err:?}");
    }
}

#[test]
fn each_line_of_a_json_log_is_one_object() {
    let folder = folder();
    let (served, ports) =
        sandbox(folder.path(), &[("AIVIARY__LOG__FORMAT", "json"), ("AIVIARY__LOG__FILTER", "debug")]);
    // A line that holds what came from outside.
    let (status, _) = request(ports.instagram, "POST", "/mcp", &[], "{\"method\":\"a\\n\\u001b[31mb\"}");
    assert_eq!(status, 404);
    assert_eq!(request(ports.connect, "GET", "/api/credentials/token", &[], "").0, 200);
    let (_, _, err) = served.end("TERM");
    let lines: Vec<Value> =
        err.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{err}");
    let grant = "[Token Access] Provided decrypted token for client: sample";
    assert!(lines.iter().any(|line| line["message"] == grant && line["client.id"] == "sample"), "{err}");
}

#[test]
fn no_core_file_is_ever_written() {
    // The process itself takes the limit away, whatever it was given.
    let core = |id: u32| {
        let limits = read(format!("/proc/{id}/limits"));
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
    };
    let raised = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap().1;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, raised, raised).unwrap();
    if raised == 0 {
        println!("the limit of this machine is 0 already");
    } else {
        assert_ne!(core(std::process::id()), "0 0");
    }
    let (served, _) = Served::connect(folder().path(), &RIGHT);
    assert_eq!(core(served.id()), "0 0");
}

/// The service manager's end: what it is told, each state once.
fn told(manager: &UnixDatagram, state: &str) {
    let mut bytes = [0; 4096];
    loop {
        let read = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("{state} was not told: {error}"));
        let said = String::from_utf8_lossy(&bytes[..read]).into_owned();
        if said.lines().any(|line| line == state) {
            return;
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_life_and_end() {
    for socket in [false, true] {
        let folder = folder();
        let at = folder.path().join("notify");
        let manager = UnixDatagram::bind(&at).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let listen = if socket { format!("unix:{}/c.sock", folder.path().display()) } else { "127.0.0.1:0".to_owned() };
        let mut variables = RIGHT.to_vec();
        variables.extend([
            ("NOTIFY_SOCKET", at.to_str().unwrap()),
            ("WATCHDOG_USEC", "300000"),
            ("AIVIARY__CONNECT__INTERNAL", &listen),
        ]);
        let served = Served::start(folder.path(), &["serve", "connect"], &variables);
        told(&manager, "READY=1");
        told(&manager, "WATCHDOG=1");
        told(&manager, "WATCHDOG=1");
        served.signal("TERM");
        told(&manager, "STOPPING=1");
        assert_eq!(served.ended().0, Some(0), "{listen}");
    }
}

#[test]
fn a_taken_port_is_told_with_its_key() {
    let folder = folder();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap().to_string();
    let mut variables = RIGHT.to_vec();
    variables.push(("AIVIARY__CONNECT__INTERNAL", &at));
    let err = refused(folder.path(), 1, &variables);
    assert!(err.contains(&format!("connect.internal[0]: {at} is taken by another process")), "{err}");
}

#[test]
fn a_role_that_cannot_start_beside_connect_leaves_no_open_trail() {
    let folder = folder();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap().to_string();
    let mut variables = RIGHT.to_vec();
    variables.extend([
        ("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:0"),
        ("AIVIARY__MCP__INSTAGRAM__LISTEN", "127.0.0.1:0"),
        ("AIVIARY__MCP__META_ADS__LISTEN", &at),
    ]);
    let (code, _, err) = Served::start(folder.path(), &["serve", "all"], &variables).ended();
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("is taken by another process"), "{err}");
    let trail: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(trail.is_empty(), "nothing was opened: {trail:?}");
}

#[test]
fn an_interface_that_is_not_there_may_come_yet() {
    let mut variables = RIGHT.to_vec();
    variables.push(("AIVIARY__CONNECT__INTERNAL", "nosuch0:3006"));
    let err = refused(folder().path(), 69, &variables);
    assert!(err.contains("connect.internal[0]: this machine has no internal address for nosuch0:3006 now"), "{err}");
}

#[test]
fn without_a_secret_the_three_places_are_named() {
    let empty = folder();
    let err = refused(empty.path(), 78, &[]);
    for place in ["credential encryption_key in $CREDENTIALS_DIRECTORY", "ENCRYPTION_KEY_FILE", "variable VM_API_KEY"] {
        assert!(err.contains(place), "{place}: {err}");
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    let folder = folder();
    fs::write(folder.path().join("a.toml"), "[connect]\ndrian = \"8s\"\n").unwrap();
    let mut variables = RIGHT.to_vec();
    variables.push(("AIVIARY_CONFIG", "a.toml"));
    let err = refused(folder.path(), 78, &variables);
    assert!(err.contains("a.toml:2:1") && err.contains("connect.drain"), "{err}");
    let mut variables = RIGHT.to_vec();
    variables.push(("AIVIARY__CONNECT__DRIAN", "8s"));
    let err = refused(folder.path(), 78, &variables);
    assert!(err.contains("did you mean AIVIARY__CONNECT__DRAIN?"), "{err}");
}

/// A store with one credential under `KEY`.
fn stored() -> TempDir {
    let folder = folder();
    let mut add = process::command(folder.path(), &["credential", "add"], &RIGHT);
    fs::write(folder.path().join("token"), "EAAsecret\n").unwrap();
    add.stdin(fs::File::open(folder.path().join("token")).unwrap());
    assert!(add.output().unwrap().status.success());
    folder
}

#[test]
fn a_wrong_key_is_found_before_anything_is_served() {
    let folder = stored();
    let variables = [("ENCRYPTION_KEY", OTHER_KEY), RIGHT[1]];
    let err = refused(folder.path(), 78, &variables);
    let ids = [KEY, OTHER_KEY].map(|key| {
        let sealer = aiviary::crypto::Sealer::parse(&aiviary::secret::Secret::new(key.to_owned())).unwrap();
        sealer.key_ids()[0].to_string()
    });
    assert!(ids.iter().all(|id| err.contains(id)), "{ids:?}: {err}");
    // The right one still opens it.
    let (served, port) = Served::connect(folder.path(), &RIGHT);
    let (status, grant) = request(port, "GET", "/api/credentials/token", &[], "");
    assert!(status == 200 && grant.contains("EAAsecret"), "{grant}");
    assert_eq!(served.end("TERM").0, Some(0));
}

#[test]
fn a_database_that_is_not_ours_or_newer_is_left_alone() {
    for (change, said) in [
        ("PRAGMA application_id = 7", "not an aiviary credential store"),
        ("PRAGMA user_version = 99", "has version 99 and this release knows up to 1; use the newer aiviary"),
    ] {
        let folder = stored();
        let path = folder.path().join("aiviary.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let err = refused(folder.path(), 78, &RIGHT);
        assert!(err.contains(said) && err.contains("aiviary.db"), "{err}");
    }
    let folder = folder();
    fs::write(folder.path().join("aiviary.db"), "a letter, not a database".repeat(100)).unwrap();
    let err = refused(folder.path(), 78, &RIGHT);
    assert!(err.contains("aiviary.db"), "{err}");
    assert!(read(folder.path().join("aiviary.db")).starts_with("a letter"), "it is not overwritten");
}
