//! `aiviary audit`: who got a token when, and whether the trail is whole.

use jiff::Timestamp;

use super::{Audit, Context, Exit, Failure, print, say};
use crate::clock::rfc3339;
use crate::roles::connect::audit::{self, Line};

pub(super) fn run(args: Audit, context: &Context) -> Result<Exit, Failure> {
    let config = context.load()?;
    match args {
        Audit::Verify { files, head } => {
            let files = if files.is_empty() { vec![config.audit().to_owned()] } else { files };
            let head = head.map(|text| anchor(&text)).transpose()?;
            let whole = audit::verify(&files, head).map_err(|error| Failure::new(Exit::Failed, error))?;
            print(&format!(
                "{} lines, seq {}..{}, head {}\n",
                whole.lines, whole.first_seq, whole.last_seq, whole.head
            ))?;
            Ok(Exit::Done)
        }
        Audit::List { client, since, json } => {
            let since = since.map(|text| text.parse::<Timestamp>()).transpose();
            let since = since.map_err(|_| {
                Failure::new(Exit::Usage, "--since: write a moment in RFC 3339, as 2026-11-23T09:00:00Z")
            })?;
            let mut unreadable = 0;
            let file = config.audit();
            let lines = audit::read(file).map_err(|error| {
                Failure::new(
                    Exit::Failed,
                    format!("audit file `{}` (audit.path) cannot be read: {error}", file.display()),
                )
            })?;
            for line in lines {
                let Ok(line) = line else {
                    unreadable += 1;
                    continue;
                };
                let of_client = client.is_none() || line.client_id == client;
                if of_client && since.is_none_or(|since| line.time >= since) {
                    print(&shown(&line, json))?;
                }
            }
            if unreadable > 0 {
                say(&format!("warning: {unreadable} lines cannot be read; see `aiviary audit verify`"));
            }
            Ok(Exit::Done)
        }
    }
}

fn anchor(text: &str) -> Result<(u64, String), Failure> {
    let parsed = text.split_once(':').and_then(|(seq, hash)| {
        let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some((seq.parse().ok()?, is_hash.then(|| hash.to_ascii_lowercase())?))
    });
    parsed.ok_or_else(|| {
        Failure::new(Exit::Usage, "--head: write SEQ:HASH, a number and 64 hex digits, as the log has it")
    })
}

fn shown(line: &Line, json: bool) -> String {
    if json {
        return serde_json::to_string(line).map_or_else(|_| String::new(), |text| text + "\n");
    }
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "{}  {:>6}  {:<14}  {}  {}  {}",
        rfc3339(line.time),
        line.seq,
        line.event.as_str(),
        or_dash(&line.client_id),
        or_dash(&line.peer),
        or_dash(&line.request_id),
    );
    for (name, value) in [("reason", &line.reason), ("key", &line.key)] {
        if let Some(value) = value {
            text.push_str(&format!("  {name}={value}"));
        }
    }
    if line.token_expired == Some(true) {
        text.push_str("  expired");
    }
    text + "\n"
}
