//! The command line: what it refuses, and what it never prints.

use std::net::TcpListener;
use std::path::Path;

use aiviary::cli::Cli;
use clap::CommandFactory as _;

use crate::binary::{run, run_with};
use crate::support::process::reserved;
use crate::support::{API_KEY, ENCRYPTION_KEY, Fixture, sample};

const RIGHT: [(&str, &str); 2] = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("VM_API_KEY", API_KEY)];

#[tokio::test]
async fn a_wrong_key_ends_with_78_and_names_both_ids() {
    let roles = Fixture::new().start_connect().await;
    assert_eq!(roles.store(&sample("locked")).await.status, 201);
    let folder = roles.folder.clone();
    let found = roles.cell("locked", "access_token").unwrap()[27..43].to_owned();
    roles.finish(&[aiviary::roles::sandbox::TOKEN]).await;

    let wrong = "ff00".repeat(16);
    let port = reserved().to_string();
    let variables =
        [("ENCRYPTION_KEY", wrong.as_str()), ("VM_API_KEY", API_KEY), ("AIVIARY__CONNECT__INTERNAL", &port)];
    let (exit, said) = run(folder.path(), &["serve", "connect"], &variables);
    assert_eq!(exit, 78, "{said}");
    // That of the wrong key is in the start's own line as well.
    let line =
        said.lines().find(|line| line.contains("ENCRYPTION_KEY is not the key")).unwrap_or_else(|| panic!("{said}"));
    let ids: Vec<&str> = line.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 16).collect();
    assert_eq!(ids.len(), 2, "{line}");
    assert!(ids[0] == found && ids[1] != found, "{line}");
    assert!(!said.contains("listens on"), "nothing is served: {said}");
    for value in [wrong.as_str(), ENCRYPTION_KEY, API_KEY] {
        assert!(!said.contains(value), "{said}");
    }
    let right = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("VM_API_KEY", API_KEY)];
    let (exit, said) = run(folder.path(), &["credential", "list"], &right);
    assert!(exit == 0 && said.contains("locked"), "the right key is that of the store: {said}");
}

/// Each command that there is, with arguments that let it do its work or fail at it.
fn commands(taken: &str, folder: &Path) -> Vec<Vec<String>> {
    let audit = folder.join("audit.jsonl").display().to_string();
    let url = format!("http://{taken}");
    let lines = [
        "serve connect",
        "serve mcp --platform instagram",
        "serve mcp --platform meta-ads",
        "serve sandbox",
        "serve all",
        "check",
        "check --json",
        "check --config misplaced.toml",
        "check --json --config misplaced.toml",
        "check --config broken.toml",
        "health",
        "health connect",
        &format!("health --url {url}"),
        "check --online",
        "check --online --json",
        "key rotate",
        "credential add --client two",
        "credential add --client two --facebook-page-id EAABsecret",
        "credential list",
        "credential list --json",
        "credential set --client two --facebook-page-id 17",
        "credential set --client two --facebook-page-id x",
        "credential remove --client nobody",
        "store init",
        "store init --bootstrap",
        "store copy --to sqlite:copied.db",
        "store copy --to nocodb+http://127.0.0.1:9",
        "store copy --to nocodb+https://u:EAABsecret@127.0.0.1:9",
        "audit list",
        "audit list --json",
        "audit verify",
        &format!("audit verify {audit} --head 1:00"),
        "tools",
        "tools --json",
        "call --platform instagram get_profile",
        "call --platform meta-ads get_ad_account {}",
        "completions bash",
        "man",
        "--help",
        "--version",
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// The words of every command that clap knows.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
    if !command.has_subcommands() {
        found.push(path.to_owned());
    }
    for sub in command.get_subcommands() {
        leaves(sub, format!("{path} {}", sub.get_name()).trim(), found);
    }
}

#[test]
fn no_command_prints_a_secret_right_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    // Whoever would serve finds its port taken and ends.
    let taken = holder.local_addr().unwrap().to_string();
    std::thread::spawn(move || holder.incoming().for_each(drop));
    let token = "EAABsecret0token";
    let misplaced = "vm_api_key = \"EAABsecret\"\nencryption_key = \"EAABsecret\"\nclient_id = \"EAABsecret EAABsecret\"\n\
                     store.url = \"nocodb+https://u:EAABsecret@a.example\"\n[mcp]\nconnect_url = \"http://EAABsecret@127.0.0.1\"\n\
                     mcp_api_key = \"EAABsecret\"\n[graph]\nbase_url = \"https://EAABsecret@graph.facebook.com\"\n";
    std::fs::write(folder.path().join("misplaced.toml"), misplaced).unwrap();
    std::fs::write(folder.path().join("broken.toml"), format!("a = EAABsecret\n{misplaced}")).unwrap();
    let places = [
        ("AIVIARY__CONNECT__INTERNAL", taken.as_str()),
        ("AIVIARY__MCP__INSTAGRAM__LISTEN", &taken),
        ("AIVIARY__MCP__META_ADS__LISTEN", &taken),
        ("AIVIARY__SANDBOX__LISTEN", &taken),
        ("AIVIARY__MCP__CONNECT_URL", "http://127.0.0.1:9"),
        ("RUST_LOG", "trace"),
        ("AIVIARY__LOG__FILTER", "trace"),
    ];
    let good: &[(&str, &str)] = &[
        ("ENCRYPTION_KEY", ENCRYPTION_KEY),
        ("VM_API_KEY", "EAABsecret-vm-api-key-0123456789"),
        ("CONNECT_SERVICE_KEY", "EAABsecret-service-key-0123456789"),
        ("MCP_API_KEY", "EAABsecret-mcp-key-0123456789"),
        ("META_APP_SECRET", "EAABsecret0123456789abcdef"),
        ("INSTAGRAM_APP_SECRET", "EAABsecretabcdef0123456789"),
        ("NOCODB_TOKEN", "EAABsecret-nocodb"),
        ("NC_ADMIN_EMAIL", "EAABsecret@a.example"),
        ("NC_ADMIN_PASSWORD", "EAABsecret-admin"),
    ];
    let wrong: &[(&str, &str)] = &[
        ("ENCRYPTION_KEY", "EAABsecret"),
        ("VM_API_KEY", "EAABsecret\tEAABsecret"),
        ("CONNECT_SERVICE_KEY", "EAABsecret,,"),
        ("MCP_API_KEY", "\u{7}EAABsecret"),
        ("META_APP_SECRET", "EAABsecret EAABsecret"),
        ("NOCODB_TOKEN", "EAABsecret\n"),
    ];
    let worse: &[(&str, &str)] = &[
        ("ENCRYPTION_KEY", "EAABsecretEAABsecretEAABsecretEAABsecretEAABsecretEAABsecretEAABsec"),
        ("VM_API_KEY_FILE", "/nowhere/EAAB-file"),
        ("AIVIARY__STORE__URL", "nocodb+http://EAABsecret@127.0.0.1"),
        ("AIVIARY__GRAPH__BASE_URL", "https://u:EAABsecret@graph.facebook.com"),
        ("AIVIARY__CLIENT_ID", "EAABsecret EAABsecret"),
    ];
    let all = commands(&taken, folder.path());
    let mut every = Vec::new();
    leaves(&Cli::command(), "", &mut every);
    for leaf in every {
        // It prints a secret that it has just made: that is what it is for.
        let tried = leaf == "key generate" || all.iter().any(|words| words.join(" ").starts_with(&leaf));
        assert!(tried, "`aiviary {leaf}` is not tried");
    }

    // Something to be told: a stored credential and its trail.
    let stored = [&places[..], good].concat();
    let (exit, said) = run_with(folder.path(), &["credential", "add", "--client", "one"], &stored, token);
    assert_eq!(exit, 0, "{said}");
    let mut ran = 0;
    for words in &all {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for set in [good, wrong, worse] {
            let variables = [&places[..], set].concat();
            let (_, said) = run_with(folder.path(), &words, &variables, token);
            // What the caller itself wrote as an argument is its own.
            let told = said.replace("--facebook-page-id EAABsecret", "");
            for secret in ["EAABsecret", ENCRYPTION_KEY, token] {
                assert!(!told.contains(secret), "{words:?} {set:?}: {said}");
            }
            assert!(!said.contains("panicked"), "{words:?}: {said}");
            ran += 1;
        }
    }
    assert_eq!(ran, all.len() * 3);
    // Nor does a panic: the values are printed as one is.
    let shown = format!("{:?}", aiviary::secret::Secret::new(token.to_owned()));
    let panicked =
        std::panic::catch_unwind(|| panic!("{:?}", aiviary::secret::Secret::new(token.to_owned()))).unwrap_err();
    assert_eq!((shown.as_str(), panicked.downcast_ref::<String>().unwrap().as_str()), ("[secret]", "[secret]"));
}

#[test]
fn a_trail_that_is_a_link_is_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("elsewhere");
    std::fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("audit.jsonl")).unwrap();
    let port = reserved().to_string();
    let variables = [&RIGHT[..], &[("AIVIARY__CONNECT__INTERNAL", port.as_str())]].concat();
    let (exit, said) = run(folder.path(), &["serve", "connect"], &variables);
    assert_eq!(exit, 78, "{said}");
    assert!(said.contains("audit.jsonl"), "{said}");
    assert_eq!(std::fs::read(&target).unwrap(), b"", "nothing was written where it points");
}

#[test]
fn listeners_that_would_not_be_internal_are_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for (at, public_too) in [
        ("0.0.0.0:3006", true),
        ("[::]:3006", true),
        ("[::ffff:0.0.0.0]:3006", true),
        ("8.8.8.8:3006", true),
        ("[::ffff:8.8.8.8]:3006", true),
        ("172.32.0.1:3006", true),
        ("100.64.0.1:3006", true),
        ("169.254.169.254:3006", true),
        ("[fe80::1]:3006", true),
        ("[2001:db8::1]:3006", true),
        ("224.0.0.1:3006", true),
        ("255.255.255.255:3006", true),
        ("*:3006", false),
        (":3006", false),
        ("3006", false),
        ("localhost", false),
        ("unix:connect.sock", false),
    ] {
        for (key, roles) in [
            ("AIVIARY__CONNECT__INTERNAL", &["serve connect", "check connect"][..]),
            ("AIVIARY__MCP__INSTAGRAM__LISTEN", &["serve mcp --platform instagram", "check instagram"]),
            ("AIVIARY__SANDBOX__LISTEN", &["serve sandbox"]),
        ] {
            for words in roles {
                let words: Vec<&str> = words.split(' ').collect();
                let (exit, said) = run(folder.path(), &words, &[&RIGHT[..], &[(key, at)]].concat());
                assert_eq!(exit, 78, "{key}={at} {words:?}: {said}");
                assert!(said.contains("[0]") && said.contains(at), "the key and the value are named: {said}");
                assert!(!public_too || said.contains("not internal"), "{said}");
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
