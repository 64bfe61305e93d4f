//! The configuration as files and variables give it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aiviary::config::{Config, Environment, Faults, Place, Role, Secrets, defaults};
use aiviary::platforms::Platform;
use aiviary::roles::mcp::ConnectAt;
use aiviary::store::Url;
use aiviary::tool::Writes;
use tempfile::TempDir;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const API_KEY: &str = "an-api-key-of-good-length";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().copied().collect()
}

/// Loads `text` as a file named `a.toml`, and gives its folder out.
fn load_in(folder: &Path, text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    let file = folder.join("a.toml");
    fs::write(&file, text).unwrap();
    Config::load(Some(&file), &environment(variables))
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    load_in(TempDir::new().unwrap().path(), text, variables)
}

/// What is wrong, without the folder's name.
fn wrong(text: &str, variables: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let faults = load_in(folder.path(), text, variables).err().expect("something is wrong");
    faults.to_string().replace(&format!("{}/", folder.path().display()), "")
}

fn good(variables: &[(&str, &str)]) -> Config {
    load("", variables).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn three_unknown_keys_and_two_wrong_types_are_five_findings_with_their_places() {
    let text = "clientid = \"a\"\n\n[connect]\ndrian = \"8s\"\ndrain = 8\n\n[graph]\nconcurrency = \"many\"\n\n\
                [mcp.meta-ads]\nwrites = \"on\"\n";
    let expected = r#"error: clientid: there is no such key
 --> a.toml:1:1
  |
1 | clientid = …
  | ^^^^^^^^
  |
  = help: did you mean client_id?

error: connect.drian: there is no such key
 --> a.toml:4:1
  |
4 | drian = …
  | ^^^^^
  |
  = help: did you mean connect.drain?

error: connect.drain: is a number where text belongs
 --> a.toml:5:9
  |
5 | drain = 8
  |         ^
  |
  = help: write it as in drain = "8s"

error: graph.concurrency: is text where a whole number from 0 belongs
 --> a.toml:8:15
  |
8 | concurrency = "many"
  |               ^^^^^^
  |
  = help: write it as in concurrency = 64

error: mcp.meta-ads: there is no such key
  --> a.toml:10:6
   |
10 | [mcp.meta-ads]
   |      ^^^^^^^^
   |
   = help: did you mean mcp.meta_ads?"#;
    assert_eq!(wrong(text, &[]), expected);
}

#[test]
fn a_bad_variable_is_named_as_the_variable_even_where_the_file_is_right() {
    let variables = [("AIVIARY__CONNECT__DRAIN", "8 parsecs"), ("AIVIARY__CONECT__INTERNAL", "127.0.0.1:1")];
    let expected = r#"error: AIVIARY__CONECT__INTERNAL (conect.internal): there is no such key
  = help: did you mean AIVIARY__CONNECT__INTERNAL?

error: AIVIARY__CONNECT__DRAIN (connect.drain): "8 parsecs" is no duration
  = help: write a number with its unit, as in "8s" or "1m 30s""#;
    assert_eq!(wrong("[connect]\ndrain = \"8s\"\n", &variables), expected);
}

#[test]
fn each_wrong_value_is_refused_with_its_key_and_what_to_write() {
    for (text, key, said) in [
        ("client_id = \"a b\"", "client_id", "1 to 64 of the characters"),
        ("client_id = 0123", "TOML", "toml.io"),
        ("client_id = 123", "client_id", "write it as in client_id = \"\""),
        ("connect = 3", "connect", "write [connect]"),
        ("connect = []", "connect", "is a list where a table belongs"),
        ("[connect]\ninternal = []", "connect.internal", "name one listener"),
        ("[connect]\ninternal = [3]", "connect.internal", "something else than text in it"),
        ("[connect]\ninternal = [\"0.0.0.0:1\"]", "connect.internal[0]", "is not internal"),
        ("[connect]\ninternal = [\"8.8.8.8:1\"]", "connect.internal[0]", "is not internal"),
        ("[connect]\ninternal = [\"127.0.0.1\"]", "connect.internal[0]", "\"address:port\""),
        ("[connect]\npublic = [\"0.0.0.0:3006\"]", "connect.public[0]", "takes the place of connect.internal[0]"),
        ("[connect]\ninternal_networks = [\"10.0.0.0/33\"]", "connect.internal_networks[0]", "no prefix"),
        ("[connect]\ninternal_hosts = [\"a:1\"]", "connect.internal_hosts[0]", "without scheme and port"),
        ("[connect]\nstate = \"\"", "connect.state", "is empty"),
        ("[connect]\ndrain = \"8\"", "connect.drain", "with its unit"),
        ("[connect]\ndrain = { s = 8 }", "connect.drain", "is a table where text belongs"),
        ("[store]\nurl = \"postgres://a\"", "store.url", "write sqlite:FILE"),
        ("[store]\nurl = \"sqlite::memory:\"", "store.url", "lost at every stop"),
        ("[store]\nurl = \"nocodb+http://8.8.8.8\"", "store.url", "plain http to a host that is not near"),
        ("[store]\nurl = \"nocodb+https://user@nocodb.example\"", "store.url", "no URL"),
        ("[store]\ntable = \"a b\"", "store.table", "letters, digits and _"),
        ("[mcp]\nconnect_url = \"http://connect.example\"", "mcp.connect_url", "write https"),
        ("[mcp]\nconnect_url = \"unix:a\"", "mcp.connect_url", "no absolute path"),
        ("[mcp]\norigins = [\"*\"]", "mcp.origins[0]", "no origin"),
        ("[mcp.instagram]\nwrites = \"yes\"", "mcp.instagram.writes", "write \"off\", \"on\" or \"all\""),
        ("[mcp.instagram]\nwrites = true", "mcp.instagram.writes", "is true or false where text belongs"),
        ("[mcp.instagram]\ntools = [\"Get Posts\"]", "mcp.instagram.tools[0]", "\"get_*\""),
        (
            "[mcp.instagram]\ntools = [\"*\", \"-delete_coment\"]",
            "mcp.instagram.tools[1]",
            "did you mean delete_comment?",
        ),
        ("[mcp.instagram]\ntools = [\"*\", \"-delte_*\"]", "mcp.instagram.tools[1]", "no tool fits delte_*"),
        ("[mcp.meta_ads]\ntools = [\"get_stories\"]", "mcp.meta_ads.tools[0]", "there is no tool get_stories"),
        ("[mcp.meta_ads]\nlisten = [\"[::]:1\"]", "mcp.meta_ads.listen[0]", "is not internal"),
        ("[mcp.meta_ads]\nmax_daily_budget = [\"100\"]", "mcp.meta_ads.max_daily_budget[0]", "\"100.00 EUR\""),
        ("[mcp.meta_ads]\nmax_daily_budget = [\"1 EUR\", \"2 EUR\"]", "mcp.meta_ads.max_daily_budget", "twice"),
        ("[graph]\nbase_url = \"http://graph.example\"", "graph.base_url", "loopback and private"),
        ("[graph]\nversion = \"26\"", "graph.version", "v26.0"),
        ("[graph]\ntimeout = \"46s\"", "graph.timeout", "1ms to 45s"),
        ("[graph]\nconcurrency = 0", "graph.concurrency", "1 to 4096"),
        ("[sandbox]\nseed = -1", "sandbox.seed", "is a negative number"),
        ("[sandbox]\nseed = 99999999999999999999", "TOML", "beyond 64 bits"),
        ("[log]\nformat = \"yaml\"", "log.format", "write \"text\" or \"json\""),
        ("[log]\nfilter = \"a=b=c\"", "log.filter", "no filter"),
        ("[log]\nfilter = \"warning\"", "log.filter", "did you mean warn?"),
        ("[log]\nfilter = \"info,loud\"", "log.filter", "\"loud\" is no level"),
        ("[log]\nfilter = \"\"", "log.filter", "is empty"),
        ("[log]\nlevel = \"info\"", "log.level", "known are format, filter"),
    ] {
        let faults = load(text, &[]).err().unwrap_or_else(|| panic!("{text} is refused"));
        let all: Vec<_> = faults.iter().collect();
        assert_eq!(all.len(), 1, "{text}: {faults}");
        assert_eq!(all[0].key, key, "{text}");
        assert!(matches!(all[0].place, Place::Line { .. }), "{text}");
        assert!(faults.to_string().contains(said), "{text}: {faults}");
    }
}

#[test]
fn two_roles_on_one_place_are_a_fault_for_whoever_runs_both() {
    let secrets = Secrets::new(&environment(&[("ENCRYPTION_KEY", KEY), ("VM_API_KEY", API_KEY)]));
    for (text, key, said) in [
        ("listen = [\"127.0.0.1:3006\"]", "mcp.instagram.listen[0]", "of connect.internal[0], 127.0.0.1:3006"),
        ("listen = [\"lo:0\", \"lo:9\"]", "mcp.instagram.listen[1]", "of connect.public[0], lo:9"),
        ("listen = [\"unix:/a.sock\"]", "mcp.instagram.listen[0]", "of connect.internal[1], unix:/a.sock"),
    ] {
        let connect = "[connect]\ninternal = [\"127.0.0.1:3006\", \"unix:/a.sock\", \"lo:0\"]\npublic = [\"lo:9\"]\n";
        let config =
            load(&format!("{connect}[mcp.instagram]\n{text}"), &[]).unwrap_or_else(|faults| panic!("{faults}"));
        for alone in [Role::Connect, Role::Instagram] {
            assert_eq!(config.check_roles(&secrets, &[alone, Role::MetaAds]), Ok(()), "{text}");
        }
        let faults = config.check_roles(&secrets, &Role::REAL).expect_err(text);
        let all: Vec<_> = faults.iter().collect();
        assert_eq!((all.len(), all[0].key.as_str()), (1, key), "{faults}");
        assert!(faults.to_string().contains(said) && matches!(all[0].place, Place::Line { line: 5, .. }), "{faults}");
    }
}

#[test]
fn each_key_is_read_where_it_is_of_the_wrong_type() {
    for (key, _) in defaults() {
        let faults = load(&format!("{key} = 1.5"), &[]).err().unwrap_or_else(|| panic!("{key} is not read"));
        assert_eq!(faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), [key.as_str()]);
    }
}

#[test]
fn variables_go_on_top_and_stay_what_they_are() {
    let config = load(
        "[connect]\ninternal = [\"127.0.0.1:1\"]\n[graph]\nversion = \"v25.0\"\n",
        &[
            ("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:3, unix:/run/a.sock"),
            ("AIVIARY__CONNECT__INTERNAL_HOSTS", ""),
            ("AIVIARY__CLIENT_ID", "0123"),
            ("AIVIARY__GRAPH__CONCURRENCY", "7"),
            ("AIVIARY__MCP__META_ADS__MAX_DAILY_BUDGET", "100.00 EUR,15000 JPY"),
            ("AIVIARY_CONFIG", "/not/read"),
        ],
    );
    let config = config.unwrap_or_else(|faults| panic!("{faults}"));
    let at: Vec<String> = config.listeners(Role::Connect).iter().map(|listener| listener.at.to_string()).collect();
    assert_eq!(at, ["127.0.0.1:3", "unix:/run/a.sock"]);
    assert_eq!(config.client().map(ToString::to_string).as_deref(), Some("0123"));
    assert_eq!(config.graph().concurrency, 7);
    assert_eq!(config.graph().version, "v25.0");
    assert_eq!(config.max_daily_budget().len(), 2);
    let from = |key: &str| config.settings().iter().find(|setting| setting.key == key).unwrap().from.clone();
    assert_eq!(from("connect.internal"), Place::Variable("AIVIARY__CONNECT__INTERNAL".into()));
    assert!(matches!(from("graph.version"), Place::Line { line: 4, column: 11, .. }));
    assert_eq!(from("log.format"), Place::Nowhere);
    for (name, said) in [("AIVIARY__CONNECT", "no such key"), ("AIVIARY__CONNECT__DRAIN__X", "no such key")] {
        let faults = wrong("", &[(name, "1"), ("AIVIARY__CONNECT__DRAIN", "9s")]);
        assert!(faults.starts_with(&format!("error: {name} (")) && faults.contains(said), "{faults}");
    }
}

#[test]
fn relative_paths_are_taken_from_the_state_folder() {
    let config = good(&[("STATE_DIRECTORY", "/var/lib/aiviary:/var/lib/other"), ("AIVIARY__AUDIT__PATH", "/a.jsonl")]);
    assert_eq!(config.store().url, Url::Sqlite("/var/lib/aiviary/aiviary.db".into()));
    assert_eq!(config.audit(), Path::new("/a.jsonl"));
    assert_eq!(good(&[]).audit(), Path::new("audit.jsonl"));
}

#[test]
fn a_file_that_is_named_must_be_text_and_have_a_name() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, b"client_id = \"f\xfcr\"").unwrap();
    let none = environment(&[("AIVIARY_CONFIG", "")]);
    for (named, what, help) in [
        (None, "AIVIARY_CONFIG: is empty".to_owned(), "name a file, or take it away"),
        (Some(Path::new("")), "--config: is empty".to_owned(), "name a file, or take it away"),
        (Some(file.as_path()), format!("--config: {} is not UTF-8", file.display()), "save it as UTF-8 text"),
    ] {
        let faults = Config::load(named, &none).err().unwrap().to_string();
        assert_eq!(faults, format!("error: {what}\n  = help: {help}"));
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let named = environment(&[("AIVIARY_CONFIG", "/nowhere/a.toml")]);
    let faults = Config::load(None, &named).err().unwrap().to_string();
    assert!(faults.starts_with("error: AIVIARY_CONFIG: /nowhere/a.toml cannot be read"), "{faults}");
    assert!(Config::load(Some(Path::new("/nowhere/b.toml")), &named).err().unwrap().to_string().contains("--config"));
}

fn connect_wrong(variables: &[(&str, &str)]) -> String {
    good(&[]).connect(&Secrets::new(&environment(variables))).expect_err("a secret is wrong").to_string()
}

#[test]
fn a_missing_secret_names_the_three_places() {
    let expected = "error: VM_API_KEY: is missing; looked for: the credential vm_api_key in $CREDENTIALS_DIRECTORY \
                    (which is not set), the file named by VM_API_KEY_FILE (not set), the variable VM_API_KEY (not \
                    set)\n  = help: give it in one of the three; `aiviary key generate` makes a good one";
    assert_eq!(connect_wrong(&[("ENCRYPTION_KEY", KEY)]), expected);
}

#[test]
fn a_place_that_is_named_is_never_passed_over() {
    let folder = TempDir::new().unwrap();
    let (empty, folder_path) = (folder.path().join("empty"), folder.path().to_str().unwrap());
    fs::write(&empty, "\n").unwrap();
    let base = [("ENCRYPTION_KEY", KEY), ("VM_API_KEY", API_KEY)];
    for (name, value, said) in [
        ("VM_API_KEY_FILE", "/nowhere/key", "the file /nowhere/key cannot be read"),
        ("VM_API_KEY_FILE", folder_path, "cannot be read"),
        ("VM_API_KEY_FILE", empty.to_str().unwrap(), "is empty"),
        ("VM_API_KEY_FILE", "", "cannot be read"),
        ("CONNECT_SERVICE_KEY", "", "the variable is empty"),
        ("META_APP_SECRET_FILE", "/nowhere/key", "cannot be read"),
    ] {
        let mut variables = base.to_vec();
        variables.push((name, value));
        let said_of = connect_wrong(&variables);
        assert!(said_of.contains(said), "{name}={value}: {said_of}");
    }
    fs::create_dir(folder.path().join("vm_api_key")).unwrap();
    let mut variables = base.to_vec();
    variables.push(("CREDENTIALS_DIRECTORY", folder_path));
    assert!(connect_wrong(&variables).contains("the credential vm_api_key cannot be read"));
}

#[test]
fn credential_then_file_then_variable_and_one_newline_is_dropped() {
    let folder = TempDir::new().unwrap();
    let (at, file) = (folder.path().to_str().unwrap(), folder.path().join("file"));
    fs::write(&file, format!("{API_KEY}-file\n")).unwrap();
    let mut variables =
        vec![("ENCRYPTION_KEY", KEY), ("VM_API_KEY", API_KEY), ("VM_API_KEY_FILE", file.to_str().unwrap())];
    let read = |variables: &[(&str, &str)]| {
        let settings = good(&[]).connect(&Secrets::new(&environment(variables)));
        settings.unwrap_or_else(|faults| panic!("{faults}")).api_keys.expose().to_owned()
    };
    assert_eq!(read(&variables[..2]), API_KEY);
    assert_eq!(read(&variables), format!("{API_KEY}-file"));
    variables.push(("CREDENTIALS_DIRECTORY", at));
    assert_eq!(read(&variables), format!("{API_KEY}-file"), "no such credential");
    fs::write(folder.path().join("vm_api_key"), format!("{API_KEY}-credential\n")).unwrap();
    assert_eq!(read(&variables), format!("{API_KEY}-credential"));
}

#[test]
fn secrets_must_be_fit_for_use_and_are_never_told() {
    let exposed = good(&[("AIVIARY__CONNECT__PUBLIC", "127.0.0.1:1,192.168.0.1:2")]);
    for (key, api_key, said) in [
        ("not-a-key", API_KEY, "64 hex digits or base64"),
        ("AAAAbbbb", API_KEY, "a key has 32 bytes; this one has 6"),
        (KEY, "tab\tin-the-middle-of-it", "control characters"),
        (KEY, "long-enough-for-all,", "a key is empty"),
        (KEY, "fifteen-bytes-1", "fewer than 16 characters"),
    ] {
        let secrets = Secrets::new(&environment(&[("ENCRYPTION_KEY", key), ("VM_API_KEY", api_key)]));
        let faults = exposed.connect(&secrets).err().unwrap_or_else(|| panic!("{said}")).to_string();
        assert!(faults.contains(said), "{faults}");
        assert!(!faults.contains("not-a-key") && !faults.contains("fifteen") && !faults.contains("AAAA"), "{faults}");
    }
    let short = Secrets::new(&environment(&[("ENCRYPTION_KEY", KEY), ("VM_API_KEY", "fifteen-bytes-1")]));
    assert!(good(&[("AIVIARY__CONNECT__PUBLIC", "127.0.0.1:1")]).connect(&short).is_ok(), "loopback only");
}

#[test]
fn what_is_risky_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "00".repeat(32)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let secrets =
        environment(&[("ENCRYPTION_KEY_FILE", file.to_str().unwrap()), ("VM_API_KEY", "under-24-characters")]);
    let config = good(&[("AIVIARY__CONNECT__PUBLIC", "0.0.0.0:1"), ("AIVIARY__MCP__INSTAGRAM__WRITES", "all")]);
    let warnings = config.warnings(&Secrets::new(&secrets), &Role::REAL);
    for said in [
        "can be read by group or others",
        "looks made by hand; `aiviary key generate`",
        "fewer than 24 characters",
        "0.0.0.0:1 speaks plain http",
        "each process that reaches the internal listener may have tokens",
        "the listener of instagram may change the account",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(said)), "{said}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
    let calm = environment(&[("ENCRYPTION_KEY", KEY), ("VM_API_KEY", API_KEY), ("CONNECT_SERVICE_KEY", API_KEY)]);
    assert_eq!(good(&[]).warnings(&Secrets::new(&calm), &Role::REAL), Vec::<String>::new());
}

#[test]
fn a_public_listener_is_warned_of_where_it_has_public_addresses() {
    let calm = Secrets::new(&environment(&[("CONNECT_SERVICE_KEY", API_KEY), ("VM_API_KEY", API_KEY)]));
    for (public, warned) in [
        ("127.0.0.1:1", false),
        ("10.0.0.0/8:1", false),
        ("lo:1", false),
        ("unix:/run/a.sock", false),
        ("203.0.113.7:1", true),
        ("0.0.0.0:1", true),
        ("203.0.113.0/24:1", true),
        ("nosuch0:1", true),
    ] {
        let warnings = good(&[("AIVIARY__CONNECT__PUBLIC", public)]).warnings(&calm, &[Role::Connect]);
        let said = warnings.iter().any(|warning| warning.contains(&format!("{public} speaks plain http")));
        assert_eq!(said, warned, "{public}: {warnings:#?}");
    }
}

#[test]
fn tools_are_warned_of_where_none_is_left_and_where_one_may_write() {
    let none = Secrets::new(&environment(&[]));
    let (empty, may_write) = ("without any tool", "may change the account");
    let (instagram, ads) = (("AIVIARY__MCP__INSTAGRAM__TOOLS", Role::Instagram), Role::MetaAds);
    let (writes, ads_writes) = ("AIVIARY__MCP__INSTAGRAM__WRITES", "AIVIARY__MCP__META_ADS__WRITES");
    for (role, variables, said) in [
        (instagram.1, &[(instagram.0, "-get_profile")][..], &[empty][..]),
        (instagram.1, &[(instagram.0, "")], &[empty]),
        (instagram.1, &[(instagram.0, "delete_comment")], &[empty]),
        (instagram.1, &[(instagram.0, "delete_comment"), (writes, "all")], &[may_write]),
        (instagram.1, &[(instagram.0, "get_*"), (writes, "all")], &[]),
        (instagram.1, &[(writes, "on")], &[may_write]),
        (ads, &[(writes, "on")], &[]),
        (ads, &[(ads_writes, "all")], &[]),
    ] {
        let warnings = good(variables).warnings(&none, &[role]);
        let found: Vec<bool> = [empty, may_write].map(|one| warnings.iter().any(|told| told.contains(one))).to_vec();
        assert_eq!(found, [said.contains(&empty), said.contains(&may_write)], "{variables:?}: {warnings:#?}");
    }
}

#[test]
fn the_platforms_have_settings_of_their_own() {
    let secrets = Secrets::new(&environment(&[("MCP_API_KEY", API_KEY)]));
    let config = good(&[("AIVIARY__MCP__META_ADS__WRITES", "on"), ("AIVIARY__MCP__CONNECT_URL", "unix:/run/a.sock")]);
    let settings = |platform| config.mcp(platform, &secrets).unwrap_or_else(|faults| panic!("{faults}"));
    let (instagram, ads) = (settings(Platform::Instagram), settings(Platform::MetaAds));
    assert_eq!((instagram.writes, ads.writes), (Writes::Off, Writes::On));
    assert_eq!(instagram.listeners[0].at.to_string(), "127.0.0.1:3005");
    assert_eq!(ads.listeners[0].key, "mcp.meta_ads.listen[0]");
    assert_eq!(ads.connect, ConnectAt::Unix("/run/a.sock".into()));
    assert!(ads.keys.is_some() && ads.connect_key.is_none());
}

#[test]
fn the_sandbox_touches_nothing_of_a_real_set_up() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let variables = environment(&[
        ("ENCRYPTION_KEY", "wrong"),
        ("VM_API_KEY_FILE", "/nowhere"),
        ("META_APP_SECRET", API_KEY),
        ("STATE_DIRECTORY", "/var/lib/aiviary"),
        ("AIVIARY__SANDBOX__LISTEN", "127.0.0.1:4007"),
        ("AIVIARY__MCP__CONNECT_URL", "https://connect.example"),
        ("AIVIARY__STORE__URL", "sqlite:/real.db"),
        ("AIVIARY__GRAPH__VERSION", "v20.0"),
    ]);
    let made = || {
        let config = load_in(folder.path(), "", &[]).and(Config::load(Some(&folder.path().join("a.toml")), &variables));
        let config = config.and_then(|config| config.in_sandbox(&data, &variables));
        config.unwrap_or_else(|faults| panic!("{faults}"))
    };
    let (config, secrets) = made();
    let connect = config.connect(&secrets).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.store().url, Url::Sqlite(data.join("aiviary.db")));
    assert_eq!([&connect.state, &connect.audit], [&data.join("connect.db"), &data.join("audit.jsonl")]);
    assert_eq!(config.graph().base_url, "http://127.0.0.1:4007");
    assert_eq!(config.graph().instagram_base_url, "http://127.0.0.1:4007/graph.instagram.com");
    assert_eq!(config.graph().version, "v26.0");
    assert!(connect.app_secret.is_none());
    let mcp = config.mcp(Platform::Instagram, &secrets).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(mcp.connect, ConnectAt::Url("http://127.0.0.1:3006".into()));
    assert_eq!(mcp.state, data.join("mcp.db"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&data), mode(&data.join("encryption_key")), mode(&data.join("vm_api_key"))),
        (0o700, 0o600, 0o600)
    );
    let (config, secrets) = made();
    let again = config.connect(&secrets).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(again.encryption_keys.expose(), connect.encryption_keys.expose(), "made once and kept");
}

#[test]
fn the_reference_shows_every_key_with_its_default_and_says_what_it_is() {
    let text = include_str!("../config/aiviary.toml");
    let config = load(text, &[]).unwrap_or_else(|faults| panic!("{faults}"));
    let shown: Vec<_> = config.settings().iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect();
    assert_eq!(shown, defaults());
    for setting in config.settings() {
        assert!(matches!(setting.from, Place::Line { .. }), "{} is not in the reference", setting.key);
    }
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
        assert!(lines[index - 1].starts_with('#'), "nothing says what this is: {line}");
    }
    // In CONTRACT's order, which is that of the types.
    let keys: Vec<&str> = lines
        .iter()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key)
        .collect();
    let order: Vec<String> =
        defaults().into_iter().map(|(key, _)| key.rsplit('.').next().unwrap().to_owned()).collect();
    assert_eq!(keys, order);
}
