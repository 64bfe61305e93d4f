//! `aiviary check`: the whole configuration, as the roles would read it. No connection, no file; `--online` is in
//! `doctor`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Check, Context, Exit, Failure, doctor, print, say};
use crate::config::{Config, Place, Role, SECRETS, Secrets, check_secrets};
use crate::exposure::Exposure;
use crate::roles::{connect, mcp, sandbox};
use crate::server::Route;

/// Method, path and exposure of each route of `role`, from the table that serves them.
fn routes(role: Role) -> Vec<(String, String, Exposure)> {
    fn of<A>(table: &'static [Route<A>]) -> Vec<(String, String, Exposure)> {
        let row = |route: &Route<A>| {
            (route.method().to_string(), route.path().replace("{}", "{client_id}"), route.exposure())
        };
        table.iter().map(row).collect()
    }
    match role {
        Role::Connect => of(connect::ROUTES),
        Role::Instagram | Role::MetaAds => of(mcp::ROUTES),
        Role::Sandbox => of(sandbox::ROUTES),
    }
}

/// Says what is wrong, or what holds.
pub(super) fn run(args: &Check, context: &Context) -> Result<Exit, Failure> {
    let roles = if args.roles.is_empty() { &Role::REAL } else { args.roles.as_slice() };
    let secrets = context.secrets();
    // What is wrong with file and variables does not hide what is wrong with secrets.
    let (config, mut faults) = match context.load() {
        Ok(config) => {
            let wrong = config.check_roles(&secrets, roles).err();
            (Some(config), wrong.into_iter().flatten().collect::<Vec<_>>())
        }
        Err(faults) => (None, faults.into_iter().collect()),
    };
    if config.is_none() {
        faults.extend(check_secrets(&secrets, roles, false).err().into_iter().flatten());
    }
    let warnings = config.as_ref().map(|config| config.warnings(&secrets, roles)).unwrap_or_default();

    let found = match &config {
        _ if !args.online => None,
        Some(config) => Some(doctor::look(config, context, roles)?),
        None => Some(vec![doctor::Finding::unseen("store and connect", "the configuration")]),
    };
    let outcome = match (&found, faults.is_empty()) {
        (_, false) => Exit::BadConfiguration,
        (Some(found), true) => doctor::exit(found),
        (None, true) => Exit::Done,
    };

    if args.json {
        let mut report = json!({
            "ok": outcome == Exit::Done,
            "faults": faults.iter().map(crate::config::Fault::to_json).collect::<Vec<_>>(),
            "warnings": warnings,
        });
        if let Some(config) = &config {
            report["configuration"] = json!(config.chosen().to_string());
            report["settings"] = settings(config);
            report["listeners"] = listeners(config, roles);
        }
        report["secrets"] = state_of(&secrets);
        if let Some(found) = &found {
            report["online"] = found.iter().map(doctor::Finding::to_json).collect();
        }
        print(&format!("{report:#}\n"))?;
    } else {
        if let Some(config) = &config {
            print(&text(config, &secrets, roles))?;
        }
        if let Some(found) = &found {
            let lines: Vec<String> = found.iter().map(|found| found.line() + "\n").collect();
            print(&format!("\nonline\n{}", lines.concat()))?;
        }
        for warning in &warnings {
            say(&format!("warning: {warning}"));
        }
        for fault in &faults {
            say(&format!("{fault}\n"));
        }
        match faults.len() {
            0 => say("the configuration is good"),
            1 => say("1 fault"),
            many => say(&format!("{many} faults")),
        }
    }
    Ok(outcome)
}

fn settings(config: &Config) -> Value {
    let all = config
        .settings()
        .iter()
        .map(|setting| (setting.key.clone(), json!({"value": setting.value, "from": setting.from.to_string()})));
    Value::Object(all.collect())
}

/// Each secret as `set` or `missing`, or `unusable` where a place is there and holds none.
fn state_of(secrets: &Secrets) -> Value {
    let mut all = Map::new();
    for named in &SECRETS {
        let (state, source) = match secrets.find(named) {
            Ok(Some(found)) => ("set", Some(found.source.to_string())),
            Ok(None) => ("missing", None),
            Err(_) => ("unusable", None),
        };
        let roles: Vec<&str> = named.roles.iter().map(|role| role.name()).collect();
        let need = json!({"state": state, "source": source, "required": named.required, "roles": roles});
        all.insert(named.name.to_owned(), need);
    }
    Value::Object(all)
}

fn listeners(config: &Config, roles: &[Role]) -> Value {
    let mut all = Vec::new();
    for role in roles {
        for listener in config.listeners(*role) {
            let public = listener.exposure == Exposure::Public;
            let carried = routes(*role).into_iter().filter(|(.., exposure)| !public || *exposure == Exposure::Public);
            let carried: Vec<String> = carried.map(|(method, path, _)| format!("{method} {path}")).collect();
            all.push(json!({
                "role": role.name(),
                "key": listener.key,
                "at": listener.at.to_string(),
                "exposure": if public { "public" } else { "internal" },
                "routes": carried,
            }));
        }
    }
    Value::Array(all)
}

/// All of it for people.
fn text(config: &Config, secrets: &Secrets, roles: &[Role]) -> String {
    let mut text = format!("configuration: {}\n\nsettings\n", config.chosen());
    for setting in config.settings() {
        let from = if setting.from == Place::Nowhere { String::new() } else { format!("   # {}", setting.from) };
        let _ = writeln!(text, "  {} = {}{from}", setting.key, setting.value);
    }
    text.push_str("\nsecrets\n");
    for (name, about) in state_of(secrets).as_object().into_iter().flatten() {
        let word = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        let source = match word("source") {
            none if none.is_empty() && about["required"] == true => "connect does not start without it".to_owned(),
            source => source,
        };
        let _ = writeln!(text, "  {}", format!("{name:<21} {:<9} {source}", word("state")).trim_end());
    }
    text.push_str("\nlisteners\n");
    for listener in listeners(config, roles).as_array().into_iter().flatten() {
        let word = |key: &str| listener[key].as_str().unwrap_or_default().to_owned();
        let _ = writeln!(text, "  {} {}, {} ({})", word("role"), word("at"), word("exposure"), word("key"));
        for route in listener["routes"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "    {}", route.as_str().unwrap_or_default());
        }
    }
    text
}
