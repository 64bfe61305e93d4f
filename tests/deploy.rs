//! The units, the proxy's example, `make install` and the workflows for n8n: what an operator gets is what the code
//! needs, and what the pages say.

#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aiviary::config::{Role, SECRETS};
use aiviary::platforms::Platform;
use serde_json::Value;
use tempfile::TempDir;

const UNITS: [&str; 2] = ["aiviary-connect.service", "aiviary-mcp@.service"];

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A unit's settings, in order, by `Section.Name`.
fn unit(name: &str) -> BTreeMap<String, Vec<String>> {
    let (mut section, mut all) = (String::new(), BTreeMap::<_, Vec<String>>::new());
    for line in read(at_root("deploy/systemd").join(name)).lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(named) => named.clone_into(&mut section),
            None => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
                all.entry(format!("{section}.{key}")).or_default().push(value.to_owned());
            }
        }
    }
    all
}

#[test]
fn the_units_do_what_the_roles_need() {
    for (name, command, state) in [
        (UNITS[0], "/usr/local/bin/aiviary serve connect", "aiviary"),
        (UNITS[1], "/usr/local/bin/aiviary serve mcp --platform %i", "aiviary-mcp-%i"),
    ] {
        let unit = unit(name);
        for (key, value) in [
            ("Type", "notify"),
            ("WatchdogSec", "60"),
            ("ExecStart", command),
            ("Restart", "on-failure"),
            ("RestartPreventExitStatus", "2 64 78"),
            ("User", "aiviary"),
            ("Group", "aiviary"),
            ("UMask", "0077"),
            ("StateDirectory", state),
            ("StateDirectoryMode", "0700"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("PrivateDevices", "yes"),
            ("ProtectProc", "invisible"),
            ("ProcSubset", "pid"),
            ("ProtectKernelTunables", "yes"),
            ("ProtectKernelModules", "yes"),
            ("ProtectKernelLogs", "yes"),
            ("ProtectClock", "yes"),
            ("ProtectHostname", "yes"),
            ("ProtectControlGroups", "yes"),
            ("LockPersonality", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
            ("RemoveIPC", "yes"),
            ("RestrictNamespaces", "yes"),
            ("RestrictSUIDSGID", "yes"),
            ("RestrictRealtime", "yes"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
            ("SystemCallArchitectures", "native"),
            ("SystemCallErrorNumber", "EPERM"),
            ("LimitCORE", "0"),
            ("LimitNOFILE", "65536"),
            ("MemorySwapMax", "0"),
        ] {
            assert_eq!(unit.get(&format!("Service.{key}")), Some(&vec![value.to_owned()]), "{name}: {key}");
        }
        assert_eq!(unit["Service.SystemCallFilter"], ["@system-service", "~@privileged @resources"], "{name}");
        for key in ["Unit.StartLimitIntervalSec", "Unit.StartLimitBurst"] {
            assert!(unit[key][0].parse::<u32>().unwrap() > 0, "{name}: {key}");
        }
        // A check before the start would loop: RestartPreventExitStatus does not cover it. And a user namespace hides
        // who is at the other end of a unix socket.
        for key in ["Service.ExecStartPre", "Service.PrivateUsers", "Service.DynamicUser", "Service.Environment"] {
            assert!(!unit.contains_key(key), "{name}: {key}");
        }
        assert_eq!(unit["Install.WantedBy"], ["multi-user.target"]);
    }
}

#[test]
fn the_units_load_each_secret_that_their_role_reads() {
    for (name, role) in [(UNITS[0], Role::Connect), (UNITS[1], Role::Instagram)] {
        let loaded = &unit(name)["Service.LoadCredential"];
        // A name alone: one with a path would keep the unit from starting where it is absent.
        assert!(loaded.iter().all(|name| !name.contains([':', '/'])), "{name}: {loaded:?}");
        for secret in SECRETS.iter().filter(|secret| secret.roles.contains(&role)) {
            assert!(loaded.contains(&secret.name.to_ascii_lowercase()), "{name}: {}", secret.name);
        }
        let known: Vec<String> = SECRETS.iter().map(|secret| secret.name.to_ascii_lowercase()).collect();
        assert!(loaded.iter().all(|name| known.contains(name)), "{name}: {loaded:?}");
    }
    let mcp = &unit(UNITS[1])["Service.LoadCredential"];
    assert!(!mcp.iter().any(|name| name == "encryption_key" || name == "vm_api_key"), "mcp holds no key of connect's");
}

#[test]
fn the_units_wait_longer_for_the_end_than_the_roles_take() {
    let config: toml::Table = toml::from_str(&read(at_root("config/aiviary.toml"))).unwrap();
    for (name, section) in [(UNITS[0], "connect"), (UNITS[1], "mcp")] {
        let drain = humantime::parse_duration(config[section]["drain"].as_str().unwrap()).unwrap();
        let stop = unit(name)["Service.TimeoutStopSec"][0].parse().map(Duration::from_secs).unwrap();
        assert!(stop >= drain + Duration::from_secs(5), "{name}: {stop:?} for a drain of {drain:?}");
    }
}

/// What `program` says, or `None` where it is not installed.
fn try_run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn systemd_reads_the_units_and_finds_them_closed() {
    let folder = TempDir::new().unwrap();
    for name in UNITS {
        // It looks for the program too.
        let here =
            read(at_root("deploy/systemd").join(name)).replace("/usr/local/bin/aiviary", env!("CARGO_BIN_EXE_aiviary"));
        fs::write(folder.path().join(name), here).unwrap();
    }
    for name in ["aiviary-connect.service", "aiviary-mcp@instagram.service"] {
        let path = folder.path().join(name);
        let path = path.to_str().unwrap();
        let Some(verified) = try_run("systemd-analyze", &["verify", path]) else { return };
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && said.is_empty(), "{name}: {said}");
    }
    for name in UNITS {
        let path = folder.path().join(name);
        let rated = ["security", "--offline=true", "--threshold=13", path.to_str().unwrap()];
        let Some(rated) = try_run("systemd-analyze", &rated) else { return };
        assert!(rated.status.success(), "{name}: {}", String::from_utf8_lossy(&rated.stdout));
    }
}

#[test]
fn the_proxy_reaches_the_public_listener_alone() {
    let example = read(at_root("deploy/nginx.conf.example"));
    let used: Vec<&str> = example.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let passed: Vec<&&str> = used.iter().filter(|line| line.starts_with("proxy_pass")).collect();
    assert_eq!(passed, [&"proxy_pass http://127.0.0.1:8006;"]);
    let locations: Vec<&&str> = used.iter().filter(|line| line.starts_with("location")).collect();
    assert_eq!(locations, [&"location = /api/credentials {", &"location / {"]);
    assert!(used.contains(&"limit_except POST DELETE {"));
    // Each key that its comment names is one.
    assert!(example.contains("public = [\"127.0.0.1:8006\"]"));
    for line in example.lines().filter_map(|line| line.strip_prefix("#   ")) {
        if let Some((key, _)) = line.split_once(" = ") {
            let config: toml::Table = toml::from_str(&read(at_root("config/aiviary.toml"))).unwrap();
            assert!(config["connect"].as_table().unwrap().contains_key(key), "{key}");
        }
    }
}

fn make(target: &str, root: &Path, prefix: Option<&str>) {
    let mut command = Command::new("make");
    command.args([target, &format!("BIN={}", env!("CARGO_BIN_EXE_aiviary")), &format!("DESTDIR={}", root.display())]);
    command.args(prefix.map(|prefix| format!("PREFIX={prefix}")));
    // Those of a `make test` around this.
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PREFIX", "SYSCONFDIR"] {
        command.env_remove(variable);
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "make {target}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below `folder` with its mode, sorted.
fn files(folder: &Path) -> Vec<(String, u32)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, u32)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                walk(&entry.path(), root, found);
            } else {
                let path = entry.path().strip_prefix(root).unwrap().display().to_string();
                found.push((path, about.permissions().mode() & 0o7777));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

#[test]
fn make_install_puts_everything_in_place_and_uninstall_takes_it_away() {
    let root = TempDir::new().unwrap();
    make("install", root.path(), None);
    let expected = [
        ("etc/aiviary/aiviary.toml", 0o644),
        ("usr/local/bin/aiviary", 0o755),
        ("usr/local/lib/systemd/system/aiviary-connect.service", 0o644),
        ("usr/local/lib/systemd/system/aiviary-mcp@.service", 0o644),
        ("usr/local/lib/sysusers.d/aiviary.conf", 0o644),
        ("usr/local/share/bash-completion/completions/aiviary", 0o644),
        ("usr/local/share/fish/vendor_completions.d/aiviary.fish", 0o644),
        ("usr/local/share/man/man1/aiviary.1", 0o644),
        ("usr/local/share/zsh/site-functions/_aiviary", 0o644),
    ]
    .map(|(path, mode)| (path.to_owned(), mode));
    assert_eq!(files(root.path()), expected);
    assert!(read(root.path().join("usr/local/share/man/man1/aiviary.1")).contains(".TH aiviary 1"));

    let config = root.path().join("etc/aiviary/aiviary.toml");
    assert_eq!(read(&config), read(at_root("config/aiviary.toml")));
    fs::write(&config, "client_id = \"mine\"\n").unwrap();
    make("install", root.path(), None);
    assert_eq!(read(&config), "client_id = \"mine\"\n", "an operator's configuration is kept");

    make("uninstall", root.path(), None);
    assert_eq!(files(root.path()), [("etc/aiviary/aiviary.toml".to_owned(), 0o644)]);
}

#[test]
fn the_installed_units_start_the_installed_binary() {
    let root = TempDir::new().unwrap();
    make("install", root.path(), Some("/opt/aiviary"));
    for name in UNITS {
        let text = read(root.path().join("opt/aiviary/lib/systemd/system").join(name));
        let started = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let program = started.split(' ').next().unwrap();
        assert_eq!(program, "/opt/aiviary/bin/aiviary");
        assert!(root.path().join(program.trim_start_matches('/')).is_file());
    }
    assert!(root.path().join("etc/aiviary/aiviary.toml").is_file(), "the configuration's place is fixed");
}

/// A workflow of `deploy/n8n` and its file's name.
fn workflows() -> Vec<(String, Value)> {
    let files = fs::read_dir(at_root("deploy/n8n")).unwrap().map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    json.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_str(&read(path)).unwrap())
    })
    .collect()
}

fn nodes(workflow: &Value) -> &[Value] {
    workflow["nodes"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[test]
fn the_workflows_import_as_they_are_and_their_nodes_are_explained() {
    let page = read(at_root("docs/n8n.md"));
    assert_eq!(workflows().len(), 3);
    for (name, workflow) in workflows() {
        // n8n refuses a longer id.
        assert!((1..=21).contains(&text(&workflow, "id").len()), "{name}");
        assert_eq!(workflow["active"], false, "{name}");
        assert_eq!(workflow["pinData"], serde_json::json!({}), "{name}");
        let named = format!("### {}", text(&workflow, "name"));
        let section = page.split("\n\n###").find(|part| format!("###{part}").starts_with(&named));
        let section = section.unwrap_or_else(|| panic!("{named} is not in docs/n8n.md"));
        assert!(section.contains(&format!("`{name}`")), "{name}");
        let all = nodes(&workflow);
        let names: Vec<&str> = all.iter().map(|node| text(node, "name")).collect();
        for node in all.iter().filter(|node| !text(node, "type").ends_with("stickyNote")) {
            let node_name = text(node, "name");
            let told = |line: &str| {
                let first = line.strip_prefix("| ").and_then(|line| line.split(" | ").next());
                first.is_some_and(|cell| cell.split(", ").any(|one| one == node_name))
            };
            assert!(section.lines().any(told), "{name}: {node_name} is not explained");
            for (_, credential) in node["credentials"].as_object().into_iter().flatten() {
                assert!(page.contains(&format!("| {} |", text(credential, "name"))), "{name}: {credential}");
            }
        }
        for (from, outputs) in workflow["connections"].as_object().unwrap() {
            assert!(names.contains(&from.as_str()), "{name}: {from}");
            let ends = outputs.as_object().unwrap().values().flat_map(|ends| ends.as_array().unwrap());
            for end in ends.flat_map(|end| end.as_array().unwrap()) {
                assert!(names.contains(&text(end, "node")), "{name}: {end}");
            }
        }
    }
}

#[test]
fn the_workflows_ask_tools_that_there_are_and_read_members_that_they_have() {
    let tools = Platform::Instagram.catalogue();
    let mut asked = Vec::new();
    for (name, workflow) in workflows() {
        for node in nodes(&workflow) {
            let parameters = &node["parameters"];
            let method =
                text(parameters, "jsonBody").split_once("method: '").and_then(|(_, rest)| rest.split('\'').next());
            let tool = method.into_iter().chain(parameters["tool"]["value"].as_str());
            asked.extend(tool.map(|tool| (name.clone(), tool.to_owned())));
        }
        // What *Settings* holds are the addresses that the configuration has by default.
        let whole = workflow.to_string();
        for (name, port) in [("instagram", 3005), ("meta_ads", 3004)] {
            if whole.contains(&format!("json.{name} ")) {
                assert!(whole.contains(&format!("\"value\":\"http://127.0.0.1:{port}/mcp\"")), "{name}");
            }
        }
    }
    asked.sort();
    let expected = [
        ("daily-instagram-insights.json", "get_account_insights"),
        ("mcp-agent.json", "get_profile"),
        ("recent-media-report.json", "get_recent_media"),
    ];
    assert_eq!(asked, expected.map(|(file, tool)| (file.to_owned(), tool.to_owned())));
    assert!(asked.iter().all(|(_, asked)| tools.iter().any(|tool| tool.name == asked)), "{asked:?}");
}

#[test]
fn the_tables_have_the_columns_that_the_workflows_write() {
    for (name, row, table) in [
        ("daily-instagram-insights.json", "Make the row", "instagram_insights"),
        ("recent-media-report.json", "Make the rows", "instagram_posts"),
    ] {
        let (_, workflow) = workflows().into_iter().find(|(file, _)| file == name).unwrap();
        let node = nodes(&workflow).iter().find(|node| text(node, "name") == row).unwrap();
        let written: Vec<&str> = node["parameters"]["assignments"]["assignments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|assignment| text(assignment, "name"))
            .collect();
        let made: Value = serde_json::from_str(&read(at_root(&format!("deploy/n8n/nocodb/{table}.json")))).unwrap();
        let columns: Vec<&str> = made["columns"].as_array().unwrap().iter().map(|one| text(one, "title")).collect();
        assert_eq!(columns[0], "Id");
        assert_eq!(columns[1..], written);
    }
}

/// The codes of failures that `file` makes: each literal that follows a status, or the name of a status for short.
fn codes(file: &str) -> Vec<String> {
    let text = read(at_root("src").join(file));
    let pieces: Vec<&str> = text.split('"').collect();
    let is_code = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let follows_status = |before: &str| {
        let before = before.trim_end();
        let last = before.strip_suffix(',').and_then(|before| before.rsplit([' ', '(']).next());
        last.is_some_and(|last| last.starts_with("StatusCode::"))
            || ["conflict(", "dependency("].iter().any(|short| before.ends_with(short))
    };
    let literals = pieces.windows(2).filter(|pair| is_code(pair[1]) && follows_status(pair[0]));
    literals.map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn the_table_of_errors_has_every_code_that_a_call_can_have() {
    let page = read(at_root("docs/n8n.md"));
    let table = page.split_once("\n## Errors\n").unwrap().1.split_once("\n## ").unwrap().0;
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let told: Vec<&str> = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    let files = ["roles/mcp/failure.rs", "roles/mcp/plain.rs", "roles/mcp/routes.rs", "server/reply.rs"];
    let mut all: Vec<String> = files.iter().flat_map(|file| codes(file)).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 30 && all.contains(&"token_invalid".to_owned()), "{all:?}");
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
}

#[test]
fn commands_by_hand_get_every_secret_and_a_state_folder_of_the_units() {
    let page = read(at_root("docs/install.md"));
    let names = page.split_once("  for name in ").unwrap().1.split_once("; do\n").unwrap().0;
    let mut given: Vec<&str> = names.split_whitespace().filter(|name| *name != "\\").collect();
    let mut all: Vec<String> = SECRETS.iter().map(|named| named.name.to_ascii_lowercase()).collect();
    given.sort_unstable();
    all.sort_unstable();
    assert_eq!(given, all);
    assert_eq!(unit(UNITS[0])["Service.StateDirectory"], ["aiviary"]);
    assert!(page.contains("StateDirectory=\"${STATE:-aiviary}\""));
    assert_eq!(unit(UNITS[1])["Service.StateDirectory"], ["aiviary-mcp-%i"]);
    assert!(page.contains("\nSTATE=aiviary-mcp-instagram as_aiviary aiviary call --platform instagram "));
    let nocodb = read(at_root("docs/nocodb.md"));
    assert!(nocodb.contains("NOCODB_TOKEN_FILE=/etc/credstore/nocodb_token"), "where the unit reads it");
    for line in page.lines().chain(nocodb.lines()).filter(|line| line.starts_with("aiviary ")) {
        let needs_nothing = ["aiviary key generate", "aiviary health"].iter().any(|words| line.starts_with(words));
        assert!(needs_nothing, "as which user, with which secrets: {line}");
    }
}

#[test]
fn the_scripts_delete_no_folder_but_that_of_their_own_server() {
    if Command::new("node").arg("--version").output().is_err() {
        skipped::skipped("node is not installed");
        return;
    }
    for (script, variable) in [("scripts/nocodb", "AIVIARY_NOCODB_RUN"), ("scripts/n8n", "AIVIARY_N8N_RUN")] {
        let home = TempDir::new().unwrap();
        let (folder, cache) = (home.path().join("work"), home.path().join("cache"));
        let run = |command: &str| {
            let mut script = Command::new(at_root(script));
            script.arg(command).env(variable, &folder).env("AIVIARY_CACHE", &cache).output().unwrap()
        };
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.txt"), "years of it").unwrap();
        for command in ["down", "up"] {
            let output = run(command);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{script} {command}: {said}");
            assert!(said.contains(&format!("{} holds something else", folder.display())), "{script} {command}: {said}");
            assert_eq!(read(folder.join("thesis.txt")), "years of it", "{script} {command}");
            assert!(!cache.exists(), "{script} {command}: nothing is installed before");
        }
        fs::write(folder.join("server.json"), "{}").unwrap();
        assert!(run("down").status.success() && !folder.exists(), "{script}: its own");
        assert!(run("down").status.success(), "{script}: none");
        fs::create_dir(&folder).unwrap();
        assert!(run("down").status.success() && !folder.exists(), "{script}: an empty one");
    }
}
