//! The real binary, as a shell sees it.

#[path = "support/process.rs"]
mod process;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use aiviary::cli::Cli;
use aiviary::platforms::Platform;
use clap::CommandFactory as _;
use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const API_KEY: &str = "an-api-key-of-good-length";

/// The binary in `folder` with nothing but `variables` around it, reading an empty file instead of a real set-up's.
fn aiviary(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    process::command(folder, arguments, variables).output().unwrap()
}

/// Exit code, data and words.
fn texts(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let folder = TempDir::new().unwrap();
    let output = aiviary(folder.path(), arguments, variables);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "{arguments:?} left files");
    texts(output)
}

const NOCODB: [(&str, &str); 4] = [
    ("ENCRYPTION_KEY", KEY),
    ("VM_API_KEY", API_KEY),
    ("AIVIARY__STORE__URL", "nocodb+http://nocodb:8080"),
    ("NOCODB_TOKEN", "a-token"),
];

/// One address for two roles.
const SHARED: [(&str, &str); 3] = [RIGHT[0], RIGHT[1], ("AIVIARY__MCP__META_ADS__LISTEN", "127.0.0.1:3006")];

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
        (&["check"], &SHARED, 78),
        (&["check", "connect"], &SHARED, 0),
        (&["serve", "all"], &SHARED, 78),
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
        "  connect 127.0.0.1:8006, public (connect.public[0])\n    POST /api/credentials\n    \
         DELETE /api/credentials\n    GET /healthz\n  instagram",
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
fn a_missing_secret_keeps_the_doctor_from_nothing_but_what_needs_it() {
    let folder = TempDir::new().unwrap();
    let (code, _, err) = fed(folder.path(), &["credential", "add", "--client", "acme"], b"EAABtoken");
    assert_eq!(code, 0, "{err}");
    let away = ("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:1");
    let rows = "  ok       1 stored credentials\n";
    let key =
        "  note     key 9ed0224919b6be15, of 1 credentials: not looked at: ENCRYPTION_KEY must be set right first\n";
    let connect = "  note     connect: does not answer: ";
    let store = "  note     the store: not looked at: NOCODB_TOKEN must be set right first\n";
    let nothing = "  note     store and connect: not looked at: the configuration must be set right first\n";
    for (variables, said, unsaid) in [
        (&[RIGHT[1], away][..], &[rows, key, connect][..], &[store, nothing][..]),
        (&[("ENCRYPTION_KEY", "short"), away], &[rows, key, connect], &[store]),
        (&[NOCODB[0], NOCODB[1], NOCODB[2], away], &[store, connect], &[rows, key]),
        (&[RIGHT[0], RIGHT[1], ("AIVIARY__LOG__FORMAT", "yaml")], &[nothing], &[rows, connect]),
    ] {
        let (exit, out, err) = texts(aiviary(folder.path(), &["check", "--online", "connect"], variables));
        assert_eq!(exit, 78, "{variables:?}: {out}{err}");
        assert!(said.iter().all(|line| out.contains(line)), "{variables:?}: {out}");
        assert!(!unsaid.iter().any(|line| out.contains(line)), "{variables:?}: {out}");
    }
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
    // Where the configuration is good, the server says so and finds its port taken.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
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
            let mut variables = variables.to_vec();
            variables.push(("AIVIARY__CONNECT__INTERNAL", &taken));
            let output = aiviary(folder.path(), arguments, &variables);
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
    let closed = process::reserved().to_string();
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

/// The words of every command, `serve mcp` as well as `serve`.
fn commands(of: &clap::Command, before: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![before.to_vec()];
    for command in of.get_subcommands() {
        let mut words = before.to_vec();
        words.push(command.get_name().to_owned());
        all.extend(commands(command, &words));
    }
    all
}

#[test]
fn every_command_has_help() {
    let all = commands(&Cli::command(), &[]);
    assert!(all.contains(&vec!["serve".to_owned(), "mcp".to_owned()]) && all.len() > 20, "{all:?}");
    for words in all {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (exit, out, err) = run(&arguments, &[]);
        let usage = format!(
            "Usage: {}",
            ["aiviary"].iter().chain(&arguments[..words.len()]).cloned().collect::<Vec<_>>().join(" ")
        );
        assert!(exit == 0 && err.is_empty() && out.contains(&usage), "{words:?}: {out}{err}");
        assert!(!out.contains('\u{1b}'), "no colour off a terminal: {words:?}");
        let first = out.lines().next().unwrap_or_default();
        assert!(first.len() > 3 && !first.starts_with("Usage"), "{words:?} does not say what it is for: {first}");
    }
}

#[test]
fn the_catalogue_comes_in_three_forms() {
    let (exit, text, _) = run(&["tools"], &[]);
    let (_, markdown, _) = run(&["tools", "--markdown"], &[]);
    let (_, json, _) = run(&["tools", "--json"], &[]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let mut seen = 0;
    for platform in Platform::ALL {
        for tool in platform.catalogue() {
            assert!(text.contains(&format!("  {} ", tool.name)), "{}", tool.name);
            assert!(markdown.contains(&format!("\n## `{}`\n", tool.name)), "{}", tool.name);
            let told = &json["tools"][seen];
            assert_eq!((&told["name"], &told["platform"]), (&tool.name.into(), &platform.name().into()));
            assert_eq!(told["input_schema"]["type"], "object", "{}", tool.name);
            seen += 1;
        }
        let (_, one, _) = run(&["tools", "--platform", platform.name()], &[]);
        assert!(text.contains(&one) && one.starts_with(platform.name()));
    }
    assert_eq!((exit, json["tools"].as_array().map(Vec::len)), (0, Some(seen)));
}

#[test]
fn the_tool_pages_are_what_the_catalogue_says() {
    for platform in Platform::ALL {
        let path = format!("{}/docs/tools-{}.md", env!("CARGO_MANIFEST_DIR"), platform.name());
        let (_, now, _) = run(&["tools", "--platform", platform.name(), "--markdown"], &[]);
        assert!(std::fs::read_to_string(&path).is_ok_and(|page| page == now), "{path} is old: run `make docs`");
    }
}

/// The binary in `folder`, with `input` on its standard input.
fn fed(folder: &Path, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    fed_with(folder, arguments, input, &[])
}

/// The same with `variables` over the right ones.
fn fed_with(folder: &Path, arguments: &[&str], input: &[u8], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = process::command(folder, arguments, &RIGHT);
    command.envs(variables.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    texts(child.wait_with_output().unwrap())
}

#[test]
fn credentials_are_kept_from_the_shell() {
    const TOKEN: &str = "EAABfromtheshell";
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let mut said = String::new();
    let mut step = |arguments: &[&str], input: &str, exit: i32| {
        let (code, out, err) = fed(at, arguments, input.as_bytes());
        assert_eq!(code, exit, "{arguments:?}: {out}{err}");
        said.push_str(&format!("{out}{err}"));
        (out, err)
    };
    let set = ["credential", "set", "--facebook-page-id", "19"];
    for absent in [&["credential", "list"][..], &set, &["key", "rotate"], &["store", "copy", "--to", "sqlite:b.db"]] {
        let (_, err) = step(absent, "", 78);
        let file = at.canonicalize().unwrap().join("aiviary.db");
        assert!(err.contains(&format!("no credential store at `{}`", file.display())), "{absent:?}: {err}");
        assert!(err.contains("store init") && err.contains("STATE_DIRECTORY"), "{absent:?}: {err}");
    }
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "nothing makes a store but what is to make one");
    for wrong in [
        &["credential", "add", "--client", "a b"][..],
        &["credential", "set", "--client", "a b", "--facebook-page-id", "19"],
        &["credential", "remove", "--client", "a b"],
        &["credential", "set", "--client", "acme"],
    ] {
        step(wrong, TOKEN, 2);
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "{wrong:?}: nothing is made");
    }

    let expiry = "2099-01-01T00:00:00Z";
    let add = ["credential", "add", "--client", "acme", "--ad-account-id", "17", "--token-expires-at", expiry];
    let (out, _) = step(&add, &format!("{TOKEN}\n"), 0);
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["ad_account_id"], &summary["token_expires_at"]), (&"act_17".into(), &expiry.into()));
    for (input, exit) in [("", 2), ("\n", 2), ("two words\n", 1)] {
        let (out, err) = step(&["credential", "add", "--client", "acme"], input, exit);
        assert!(out.is_empty() && !err.contains("two words"), "{err}");
    }
    let (out, _) = step(&["credential", "list"], "", 0);
    assert!(out.starts_with("acme  facebook  ") && out.contains("ads act_17") && out.contains(expiry), "{out}");
    let (out, _) = step(&["credential", "set", "--client", "acme", "--facebook-page-id", "19"], "", 0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["facebook_page_id"], "19");
    step(&["credential", "set", "--client", "acme", "--facebook-page-id", "one"], "", 2);
    step(&["credential", "add", "--client", "acme", "--facebook-page-id", "one"], TOKEN, 2);
    let (out, _) = step(&["credential", "list", "--json"], "", 0);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&list["credentials"][0]["facebook_page_id"], list["credentials"][0].get("access_token")),
        (&"19".into(), None)
    );

    // The ids are bound to the token, which still opens.
    let (served, port) = process::Served::connect(at, &RIGHT);
    let (status, grant) = process::request(port, "GET", "/api/credentials/token", &[], "");
    assert!(status == 200 && grant.contains(TOKEN), "{grant}");
    assert_eq!(served.end("TERM").0, Some(0));

    let (out, _) = step(&["credential", "remove", "--client", "acme"], "", 0);
    assert_eq!(out, "removed acme\n");
    step(&["credential", "remove", "--client", "acme"], "", 1);
    let (out, _) = step(&["audit", "list"], "", 0);
    let events: Vec<&str> =
        out.lines().filter(|line| line.contains("acme")).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(
        events,
        ["save", "save_confirmed", "reseal", "save_confirmed", "grant", "remove", "save_confirmed"],
        "{out}"
    );
    assert!(!said.contains(TOKEN), "{said}");
}

#[test]
fn the_shell_is_told_of_commands_and_options_not_of_requests() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    for client in ["acme", "other"] {
        assert_eq!(fed(at, &["credential", "add", "--client", client], b"EAABtoken").0, 0);
    }
    let (served, port) = process::Served::connect(at, &RIGHT);
    let connect = format!("http://127.0.0.1:{port}");
    let call = ["call", "--platform", "instagram", "get_profile"];
    let (exit, _, err) = run(&call, &[("AIVIARY__MCP__CONNECT_URL", &connect)]);
    let several =
        "several clients are stored; call /clients/{client_id}/mcp, or aiviary call --client, with one of: acme, other";
    assert_eq!((exit, err), (1, format!("error: {several} [client_required]\n")));
    assert_eq!(served.end("TERM").0, Some(0));

    // An id that the token is not bound to.
    let db = rusqlite::Connection::open(at.join("aiviary.db")).unwrap();
    db.execute("UPDATE meta_credentials SET facebook_page_id = '18' WHERE client_id = 'other'", []).unwrap();
    let told = |arguments: &[&str]| fed(at, &[&["credential"], arguments].concat(), b"").2;
    let nobody = "no credential is stored for client nobody; `aiviary credential add` stores one";
    let anew = "`aiviary credential add --client other` stores its token anew";
    for (arguments, said) in [
        (
            &["set", "--facebook-page-id", "19"][..],
            "several clients are stored; name one with --client, of: acme, other",
        ),
        (&["set", "--client", "nobody", "--facebook-page-id", "19"], nobody),
        (&["set", "--client", "other", "--facebook-page-id", "19"], anew),
        (&["remove", "--client", "nobody"], nobody),
    ] {
        let err = told(arguments);
        assert!(err.starts_with("error: ") && err.trim_end().ends_with(said), "{arguments:?}: {err}");
    }
}

#[test]
fn no_command_seals_by_a_key_that_is_not_the_stores() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let add = ["credential", "add", "--client", "acme", "--facebook-page-id", "19"];
    assert_eq!(fed(at, &add, b"EAABtoken").0, 0);
    let row = || {
        let db = rusqlite::Connection::open(at.join("aiviary.db")).unwrap();
        let cells = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?));
        db.query_row("SELECT access_token, facebook_page_id FROM meta_credentials", [], cells).unwrap()
    };
    let before = row();
    let other = "ff".repeat(32);
    for arguments in [
        &["credential", "add", "--client", "acme"][..],
        &["credential", "add", "--client", "new"],
        &["credential", "set", "--client", "acme", "--facebook-page-id", "20"],
        &["key", "rotate"],
    ] {
        let (exit, out, err) = fed_with(at, arguments, b"EAABother", &[("ENCRYPTION_KEY", &other)]);
        assert_eq!(exit, 78, "{arguments:?}: {out}{err}");
        assert!(err.contains("ENCRYPTION_KEY is not the key of this store"), "{arguments:?}: {err}");
        assert!(err.contains(&before.0[27..43]) && !err.contains(&other), "{arguments:?}: {err}");
        assert_eq!(row(), before, "{arguments:?}: the row is as it was, and the only one");
    }
    let (exit, out, err) =
        fed_with(at, &["credential", "remove", "--client", "acme"], b"", &[("ENCRYPTION_KEY", &other)]);
    assert_eq!((exit, out.as_str()), (0, "removed acme\n"), "what cannot be opened can be removed: {err}");
    assert_eq!(texts(aiviary(at, &["audit", "verify"], &RIGHT)).0, 0);
}

#[test]
fn a_rotation_lets_no_key_go_that_a_row_may_need() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let (new, old) = ("ff".repeat(32), KEY);
    for client in ["a", "b"] {
        assert_eq!(fed(at, &["credential", "add", "--client", client], b"EAABtoken").0, 0);
    }
    let sql = |text: &str| rusqlite::Connection::open(at.join("aiviary.db")).unwrap().execute_batch(text).unwrap();
    let both = format!("{new},{old}");
    let rotate = || fed_with(at, &["key", "rotate"], b"", &[("ENCRYPTION_KEY", &both)]);
    for (name, damage, why, repair) in [
        (
            "no login",
            "UPDATE meta_credentials SET login = 'myspace' WHERE client_id = 'b'",
            "left as it is: the row of client `b` has no usable `login`",
            "UPDATE meta_credentials SET login = 'facebook' WHERE client_id = 'b'",
        ),
        (
            "no cell",
            "UPDATE meta_credentials SET scopes = access_token, access_token = 'x' WHERE client_id = 'b'",
            "left as it is: b: the cell is not a sealed token",
            "UPDATE meta_credentials SET access_token = scopes, scopes = NULL WHERE client_id = 'b'",
        ),
    ] {
        sql(damage);
        let (exit, out, err) = rotate();
        assert_eq!(exit, 1, "{name}: {out}{err}");
        assert!(err.contains(why), "{name}: {err}");
        assert!(out.contains("\n0 credentials left under 9ed0224919b6be15\n"), "{name}: {out}");
        assert!(out.contains("1 rows cannot be read and may need any key: keep every key"), "{name}: {out}");
        assert!(!out.contains("can be removed"), "{name}: {out}");
        assert_eq!(out.contains("backups"), name == "no login", "{name}: of what was not sealed anew, nothing: {out}");
        sql(repair);
    }
    let (exit, out, err) = rotate();
    assert!(out.contains("0 credentials left under 9ed0224919b6be15: that key can be removed"), "{out}{err}");
    assert_eq!((exit, err.as_str()), (0, "sealed anew: b\n"));
}

#[test]
fn the_trail_is_listed_and_verified() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let told = |arguments: &[&str]| texts(aiviary(at, arguments, &RIGHT));
    for arguments in [&["audit", "list"][..], &["audit", "verify"], &["audit", "verify", "other.jsonl"]] {
        let (exit, _, err) = told(arguments);
        let file = arguments.get(2).unwrap_or(&"audit.jsonl");
        assert!(exit == 1 && err.contains(&format!("`{file}`")), "{arguments:?}: {err}");
    }
    for client in ["acme", "other"] {
        assert_eq!(fed(at, &["credential", "add", "--client", client], b"EAABtoken").0, 0);
    }
    let (_, out, _) = told(&["audit", "list", "--client", "acme", "--json"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines[0]["event"] == "save" && lines[0]["client_id"] == "acme", "{out}");
    let (exit, out, _) = told(&["audit", "list", "--since", "2999-01-01T00:00:00Z"]);
    assert_eq!((exit, out.as_str()), (0, ""));
    assert_eq!(told(&["audit", "list", "--since", "yesterday"]).0, 2);

    let (exit, out, _) = told(&["audit", "verify"]);
    assert!(exit == 0 && out.starts_with("8 lines, seq 1..8, head "), "{out}");
    let head = out.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(told(&["audit", "verify", "--head", &format!("8:{head}")]).0, 0);
    assert_eq!(told(&["audit", "verify", "--head", &format!("7:{head}")]).0, 1);
    for no_head in [head, "1:abc", &format!("x:{head}"), &format!("8:{}", &head[1..]), &format!("8:{}g", &head[1..])] {
        assert_eq!(told(&["audit", "verify", "--head", no_head]).0, 2, "{no_head}");
    }
    let (exit, _, err) = told(&["audit", "verify", "--head", &format!("8:{}", "0".repeat(64))]);
    assert!(exit == 1 && err.contains("audit.jsonl:8: seq 8: head: the given hash is not in the trail"), "{err}");

    let file = at.join("audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"acme\"", "\"bcme\"", 1)).unwrap();
    let (exit, _, err) = told(&["audit", "verify"]);
    assert!(exit == 1 && err.contains("audit.jsonl:2: seq 2: hash: the line is not what was written"), "{err}");
    std::fs::write(&file, "").unwrap();
    let (exit, out, err) = told(&["audit", "verify"]);
    assert!(exit == 1 && err.contains("audit.jsonl:1: seq 1: prev: the file does not begin with"), "{out}{err}");
}

#[test]
fn a_call_exits_by_what_came_of_it() {
    let folder = TempDir::new().unwrap();
    let (served, ports) = process::sandbox(folder.path(), &[]);
    let (connect, graph) =
        (format!("http://127.0.0.1:{}", ports.connect), format!("http://127.0.0.1:{}", ports.sandbox));
    let nobody = format!("http://{}", process::reserved());
    let call = |connect: &str, graph: &str, arguments: &[&str]| {
        let variables = [("AIVIARY__MCP__CONNECT_URL", connect), ("AIVIARY__GRAPH__BASE_URL", graph)];
        let all: Vec<&str> = ["call", "--platform", "instagram"].iter().chain(arguments).copied().collect();
        run(&all, &variables)
    };
    let (exit, out, err) = call(&connect, &graph, &["get_recent_media", r#"{"limit":2}"#]);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["media"].as_array().map(Vec::len), Some(2));
    for (connect, graph, arguments, code, said) in [
        (&connect, &graph, &["get_recent_media", r#"{"limit":1000}"#][..], 64, "limit"),
        (&connect, &graph, &["get_recent_media", r#"{"limt":1}"#], 64, "limit"),
        (
            &connect,
            &graph,
            &["get_recent_media", "{"],
            64,
            "the argument is not JSON: it ends too early, at line 1 column 1; write it",
        ),
        (&connect, &graph, &["get_recent_media", "[5]"], 64, "the argument must be one JSON object; write it"),
        (&connect, &graph, &["get_recent_medai"], 1, "get_recent_media"),
        (&connect, &graph, &["get_profile", "--client", "nobody"], 1, "not_connected"),
        (&connect, &graph, &["get_profile", "--client", "no/body"], 2, "--client"),
        (&nobody, &graph, &["get_profile"], 69, "connect_unavailable"),
        (&connect, &nobody, &["get_profile"], 69, "meta_unavailable"),
    ] {
        let (exit, out, err) = call(connect, graph, arguments);
        assert!(exit == code && out.is_empty() && err.contains(said), "{arguments:?}: {exit} {out}{err}");
    }
    assert_eq!(served.end("TERM").0, Some(0));
}
