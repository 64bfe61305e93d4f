//! What holds for any bytes that strangers send: one function a parser, for the fuzz targets and for the ordinary
//! suite (`tests/parsers.rs`). Each panics where a parser does, and where its property is broken.

mod sockets;

use std::cell::RefCell;
use std::fs;
use std::str::FromStr as _;

use aiviary::api::{Given, NewCredential};
use aiviary::config::{Config, Environment};
use aiviary::credential::AccountKind;
use aiviary::crypto::{Envelope, Sealer, TOKEN_MAX_BYTES};
use aiviary::graph::{Cursor, Page};
use aiviary::platforms::Platform;
use aiviary::roles::connect::audit::{LINE_MAX_BYTES, Line};
use aiviary::secret::Secret;
use aiviary::server::json;
use aiviary::tool::{Args, Facts, Position, column};
use jiff::Timestamp;
use serde_json::Value;

pub use sockets::{mcp_request, nocodb_rows, plain_request};

/// The body of `POST /api/credentials`: what is taken keeps to the grammar of each member, and a refusal names a
/// member and never the value that came.
pub fn credential_body(bytes: &[u8]) {
    let now = Timestamp::UNIX_EPOCH;
    let Ok(members) = json::members(bytes) else {
        assert!(json::object(bytes).is_err(), "both readers refuse the same bodies");
        return;
    };
    let object = json::object(bytes).expect("both readers take the same bodies");
    assert_eq!(members.len(), object.len(), "each member once");
    let sent = object.get("access_token").and_then(Value::as_str);
    match NewCredential::from_members(&members, now) {
        Ok(new) => {
            let token = new.token.expose();
            assert_eq!(sent, Some(token), "the token is stored as it was sent");
            assert!((1..=TOKEN_MAX_BYTES).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()));
            for (kind, given) in AccountKind::ALL.into_iter().zip(&new.ids) {
                if let Given::Id(id) = given {
                    assert_eq!(kind.normalise(id).as_ref(), Ok(id), "an id has one spelling");
                }
            }
            if let Some(client) = new.client {
                assert_eq!(client.as_str().parse(), Ok(client), "a client id reads back");
            }
            assert!(new.ignored.len() <= members.len());
        }
        Err(refused) => {
            let said = refused.to_string();
            assert!(said.len() < 512 && !said.contains('\n'), "{said}");
            // Short ones may stand in our own words.
            assert!(!sent.is_some_and(|sent| sent.len() > 64 && said.contains(sent)), "{said}");
        }
    }
}

thread_local! {
    static SEALER: Sealer = Sealer::parse(&Secret::new("0123456789abcdef".repeat(4))).expect("a key");
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder");
    static LAST: RefCell<Option<Envelope>> = const { RefCell::new(None) };
}

/// The stored cell: only the one form is taken, nothing opens that we did not seal, and what we seal opens for its own
/// binding and no other.
pub fn envelope(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let bound = ["clienta", "facebook", "17841400000000001", "", "act_1", ""];
    SEALER.with(|sealer| {
        if let Ok(envelope) = Envelope::parse(&text) {
            assert_eq!(envelope.as_str(), text, "a cell has one spelling");
            let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            assert!(text.bytes().enumerate().all(|(at, b)| if at == 24 { b == b':' } else { lower_hex(b) }));
            assert!(sealer.open(&envelope, &bound).is_err(), "nobody else has this key");
        }
        let token: String = text.chars().take(64).collect();
        if token.is_empty() {
            return;
        }
        let token = Secret::new(token);
        let sealed = sealer.seal(&token, &bound);
        let read = Envelope::parse(sealed.as_str()).expect("what we seal has the form");
        assert_eq!(sealer.open(&read, &bound).expect("it opens").expose(), token.expose());
        let other = ["clientb", bound[1], bound[2], bound[3], bound[4], bound[5]];
        assert!(sealer.open(&read, &other).is_err(), "bound to its client");
        LAST.with_borrow_mut(|last| {
            if let Some(last) = last.replace(sealed) {
                assert_ne!(last.iv(), read.iv(), "each seal has its own iv");
            }
        });
    });
}

/// A line of the audit trail: what is taken is written again as the same facts.
pub fn audit_line(bytes: &[u8]) {
    for bytes in bytes.split(|b| *b == b'\n') {
        let Some(line) = Line::parse(bytes) else { continue };
        assert_eq!(line.hash.len(), 64);
        let again = serde_json::to_vec(&line).expect("a line is JSON");
        // We write milliseconds; a line that says more was not written by us.
        if bytes.len() <= LINE_MAX_BYTES && line.time.subsec_nanosecond() % 1_000_000 == 0 {
            assert_eq!(Line::parse(&again).as_ref(), Some(&line), "what was read reads back");
        }
    }
}

/// A plain MCP call: the arguments of each tool of both catalogues, and the cursor among them.
pub fn arguments(bytes: &[u8]) {
    let Ok(came) = json::object(bytes) else { return };
    for platform in Platform::ALL {
        for tool in platform.catalogue() {
            match Args::check(tool.params, &came) {
                Ok(args) => {
                    let checked = Value::Object(args.but_cursor());
                    let again = Args::check(tool.params, checked.as_object().expect("an object"));
                    let again = again.unwrap_or_else(|refused| panic!("{}: {refused}: {checked}", tool.name));
                    assert_eq!(Value::Object(again.but_cursor()), checked, "{}: checked twice is the same", tool.name);
                    match Position::of(tool.name, &args) {
                        Ok(Some((position, after))) => {
                            assert_eq!(position.after, after.as_str());
                            assert_eq!(Cursor::from_str(&position.after), Ok(after));
                        }
                        Ok(None) => assert!(args.text("cursor").is_none()),
                        Err(refused) => assert!(refused.to_string().starts_with("cursor:"), "{refused}"),
                    }
                }
                Err(refused) => {
                    let said = refused.to_string();
                    assert!(!said.chars().any(char::is_control), "{}: {said:?}", tool.name);
                }
            }
        }
    }
}

/// An answer of Graph: a page holds no link that repeats a token, and each row of each tool has its columns and is
/// what strangers wrote only as values.
pub fn graph_answer(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let facts = Facts { currency: Some("EUR") };
    let mut rows = vec![value.clone()];
    for page in [Page::from_value(value.clone()), Page::from_value_without_next(value)].into_iter().flatten() {
        if let Some(next) = &page.next {
            assert_eq!(Cursor::from_str(next.as_str()).as_ref(), Ok(next), "a cursor keeps to its grammar");
        }
        for row in &page.rows {
            assert_no_links(row);
        }
        rows.extend(page.rows);
    }
    for platform in Platform::ALL {
        for tool in platform.catalogue() {
            for raw in &rows {
                let Ok(flat) = column::row(tool.row_columns(), raw, facts) else { continue };
                for column in tool.row_columns().iter().filter(|column| !column.is_pattern()) {
                    assert!(flat.contains_key(column.name), "{}: {} is left out", tool.name, column.name);
                }
            }
        }
    }
}

fn assert_no_links(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(assert_no_links),
        Value::Object(members) => {
            for (name, member) in members {
                if name == "paging" && member.is_object() {
                    for link in ["next", "previous"] {
                        assert!(!member.get(link).is_some_and(Value::is_string), "a link was left: {member}");
                    }
                }
                assert_no_links(member);
            }
        }
        _ => {}
    }
}

/// The text of a configuration file: read, or each fault told in words that name a place.
pub fn configuration(bytes: &[u8]) {
    FOLDER.with(|folder| {
        let file = folder.path().join("a.toml");
        fs::write(&file, bytes).expect("the folder takes a file");
        match Config::load(Some(&file), &Environment::default()) {
            Ok(config) => assert!(!config.settings().is_empty()),
            Err(faults) => assert!(!faults.to_string().is_empty()),
        }
    });
}
