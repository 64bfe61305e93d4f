//! The stored cell, and whoever reads or edits the table.

use std::fs;
use std::time::Duration;

use aiviary::clock::Clock;
use aiviary::crypto::Envelope;
use aiviary::roles::sandbox;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::binary;
use crate::support::wire::{TOKEN_MARK, ask};
use crate::support::{API_KEY, ENCRYPTION_KEY, Fixture, Roles, logs, sample};
use crate::volume;

const KEY: (&str, &str) = ("X-API-Key", API_KEY);
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn token(name: &str) -> String {
    format!("{TOKEN_MARK}|{name}/Ab+9ZyX")
}

fn whole(client: &str, name: &str) -> Value {
    let mut body = sample(client);
    body["access_token"] = token(name).into();
    body
}

async fn grant(roles: &Roles, client: &str) -> crate::support::Answer {
    roles.get(roles.internal, &format!("/api/credentials/token?client_id={client}")).await
}

fn assert_unreadable(name: &str, came: &crate::support::Answer) {
    assert_eq!((came.status, came.code().as_str()), (500, "credential_unreadable"), "{name}: {}", came.text);
    assert!(!came.text.contains(TOKEN_MARK), "{name}");
}

/// The spellings of `token` that a careless writer leaves: plain, percent-encoded, hex, and base64 wherever it begins.
fn spellings(token: &str) -> Vec<Vec<u8>> {
    let mut all = vec![token.to_owned(), hex::encode(token)];
    all.push(percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).to_string());
    for shift in 0..3 {
        let shifted = STANDARD.encode(format!("{}{token}", "x".repeat(shift)));
        // The first and the last digits depend on what stands beside the token.
        all.push(shifted[4..shifted.len() - 4].to_owned());
    }
    all.into_iter().map(String::into_bytes).collect()
}

#[tokio::test]
async fn no_file_of_a_running_service_holds_a_token() {
    let roles = Fixture::new().start_connect().await;
    for name in ["first", "second", "first"] {
        assert!(roles.store(&whole(name, name)).await.status < 300);
        assert_eq!(grant(&roles, name).await.json()["access_token"], token(name));
    }
    assert!(roles.path("aiviary.db-wal").exists(), "the write-ahead log is there to be read");
    let mut files = 0;
    for entry in fs::read_dir(roles.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for secret in [token("first"), token("second"), ENCRYPTION_KEY.to_owned(), API_KEY.to_owned()] {
            for form in spellings(&secret) {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{} holds {}", path.display(), String::from_utf8_lossy(&form));
            }
        }
        files += 1;
    }
    assert!(files >= 4, "store, its log, state and trail were read");
    // The search finds what is there: the cell as it stands in the row.
    let cell = roles.cell("first", "access_token").unwrap();
    let stored =
        [fs::read(roles.path("aiviary.db")).unwrap(), fs::read(roles.path("aiviary.db-wal")).unwrap()].concat();
    assert!(stored.windows(cell.len()).any(|window| window == cell.as_bytes()));
    roles.finish(&[&token("first"), &token("second")]).await;
}

#[tokio::test]
async fn two_swapped_cells_are_refused_and_audited_both() {
    let roles = Fixture::new().start_connect().await;
    for name in ["left", "right", "aside"] {
        assert_eq!(roles.store(&whole(name, name)).await.status, 201);
    }
    // The same account ids on both sides: the client alone tells them apart.
    let (left, right) = (roles.cell("left", "access_token"), roles.cell("right", "access_token"));
    roles.edit("left", "access_token", right.as_deref());
    roles.edit("right", "access_token", left.as_deref());
    for name in ["left", "right"] {
        assert_unreadable(name, &grant(&roles, name).await);
    }
    // Renaming the rows instead comes to the same.
    roles.edit("left", "access_token", left.as_deref());
    roles.edit("right", "access_token", right.as_deref());
    roles.sql(
        "UPDATE meta_credentials SET client_id = 'x' WHERE client_id = 'left';
         UPDATE meta_credentials SET client_id = 'left' WHERE client_id = 'right';
         UPDATE meta_credentials SET client_id = 'right' WHERE client_id = 'x';",
    );
    for name in ["left", "right"] {
        assert_unreadable(name, &grant(&roles, name).await);
    }
    assert_eq!(grant(&roles, "aside").await.json()["access_token"], token("aside"), "the others are served");
    let folder = roles.folder.clone();
    roles.finish(&[&token("left"), &token("right")]).await;
    let trail = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    for name in ["left", "right"] {
        let of_client = format!(r#""client_id":"{name}""#);
        let lines: Vec<&str> = trail.lines().filter(|line| line.contains(&of_client)).collect();
        assert_eq!(lines.iter().filter(|line| line.contains(r#""reason":"unreadable""#)).count(), 2, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains(r#""event":"grant""#)), "{lines:#?}");
    }
}

#[tokio::test]
async fn an_expiry_edited_to_the_past_stops_mcp_before_meta() {
    let roles = Fixture::new().start().await;
    assert_eq!(roles.store(&sample("past")).await.status, 201);
    assert_eq!(roles.plain(roles.instagram, "get_profile", json!({})).await.status, 200);
    let asked = roles.graph_seen.call_count();
    roles.edit("past", "token_expires_at", Some("2024-01-01T00:00:00Z"));
    let came = roles.plain(roles.instagram, "get_profile", json!({})).await;
    assert_eq!((came.status, came.code().as_str()), (424, "token_expired"), "{}", came.text);
    assert_eq!(roles.graph_seen.call_count(), asked, "Meta was not asked");
    assert_eq!(grant(&roles, "past").await.json()["token_expired"], true);
    let warned =
        |line: &str| line.contains("WARN") && line.contains("[Token Expired] Token expired at 2024-01-01T00:00:00Z");
    assert!(logs().text().lines().any(warned));
    // A date in the future makes Meta decide.
    roles.edit("past", "token_expires_at", Some("2098-01-01T00:00:00Z"));
    assert_eq!(roles.plain(roles.instagram, "get_profile", json!({})).await.status, 200);
    roles.finish(&[sandbox::TOKEN]).await;
}

#[tokio::test]
async fn an_old_cell_put_back_is_granted_and_found_by_verify() {
    let roles = Fixture::new().start_connect().await;
    assert_eq!(roles.store(&whole("back", "Older")).await.status, 201);
    let old = roles.cell("back", "access_token");
    assert_eq!(roles.store(&whole("back", "Newer")).await.status, 200);
    assert_eq!(grant(&roles, "back").await.json()["access_token"], token("Newer"));
    let (folder, path) = (roles.folder.clone(), roles.path("audit.jsonl"));
    let verify = || binary::run(folder.path(), &["audit", "verify", path.to_str().unwrap()], &[]);
    let (exit, said) = verify();
    assert_eq!(exit, 0, "{said}");

    roles.edit("back", "access_token", old.as_deref());
    // Sealed for the same client and accounts, it opens: what is promised is that this shows.
    assert_eq!(grant(&roles, "back").await.json()["access_token"], token("Older"));
    let (exit, said) = verify();
    assert_eq!(exit, 1, "{said}");
    let line = fs::read_to_string(&path).unwrap().lines().count();
    assert!(said.contains("stale_envelope") && said.contains(&line.to_string()), "the last line is named: {said}");
    roles.stop().await;
}

#[tokio::test]
async fn an_old_cell_put_back_is_found_whatever_was_written_before_its_grant() {
    for between in ["another file", "a command", "a stop and a start"] {
        let mut roles = Fixture::new().start_connect().await;
        let folder = roles.folder.clone();
        let (path, older) = (roles.path("audit.jsonl"), roles.path("audit.jsonl.1"));
        assert_eq!(roles.store(&whole("back", "Older")).await.status, 201);
        assert_eq!(grant(&roles, "back").await.status, 200);
        let old = roles.cell("back", "access_token");
        assert_eq!(roles.store(&whole("back", "Newer")).await.status, 200);
        match between {
            "another file" => fs::rename(&path, &older).unwrap(),
            "a command" => {
                let variables = [("ENCRYPTION_KEY", ENCRYPTION_KEY), ("VM_API_KEY", API_KEY)];
                let add = ["credential", "add", "--client", "other"];
                let (exit, said) = binary::run_with(folder.path(), &add, &variables, "EAABother");
                assert_eq!(exit, 0, "{said}");
            }
            _ => {
                roles.stop().await;
                roles = Fixture::on(&folder).start_connect().await;
            }
        }
        roles.edit("back", "access_token", old.as_deref());
        assert_eq!(grant(&roles, "back").await.json()["access_token"], token("Older"), "{between}");
        let files: Vec<&str> =
            [&older, &path].into_iter().filter(|file| file.exists()).map(|file| file.to_str().unwrap()).collect();
        let (exit, said) = binary::run(folder.path(), &[&["audit", "verify"], &files[..]].concat(), &[]);
        assert!(exit == 1 && said.contains("stale_envelope"), "{between}: {said}");
        roles.stop().await;
    }
}

/// A cell that is none, made from one that is.
fn malformed(cell: &str, number: usize) -> String {
    let (iv, data) = cell.split_once(':').unwrap();
    let at = (number * 7) % cell.len();
    // A place where the text is a hex digit, and one where that digit is a letter.
    let digit = if cell.as_bytes()[at] == b':' { at + 1 } else { at };
    let letter = (at..cell.len()).chain(0..at).find(|at| cell.as_bytes()[*at].is_ascii_lowercase()).unwrap();
    let put = |at: usize, text: &str| format!("{}{text}{}", &cell[..at], &cell[at + 1..]);
    match number % 20 {
        0 => put(letter, &cell[letter..=letter].to_uppercase()),
        1 => format!("{}{}{}", " ".repeat(at % 3), cell, " ".repeat(1 + at % 2)),
        2 => format!("{} {}", &cell[..at], &cell[at..]),
        3 => cell[..cell.len() - 1 - 2 * (at % 40)].to_owned(),
        4 => format!("{iv}:{}", &data[..2 * (at % 25)]),
        5 => format!("{}{iv}:{data}", &iv[..2 + at % 4]),
        6 => format!("{iv}:{data}{}", "0".repeat(8300 + at)),
        7 if number < 200 => format!("{iv}:{data}{}", "ab".repeat(1 << 19)),
        8 => STANDARD.encode(cell),
        9 => format!("{}:{}", STANDARD.encode(hex::decode(iv).unwrap()), STANDARD.encode(hex::decode(data).unwrap())),
        10 => token(&format!("Planted{number}")),
        11 => cell.replace(':', ["", "::", ";", ".", "\u{ff1a}", " : "][at % 6]),
        12 => put(digit, ["g", "-", "\u{0}", "\u{e9}", "\u{ff11}", "\n", ":"][at % 7]),
        13 => format!("{data}:{iv}"),
        14 => format!("0x{cell}"),
        15 => format!("{cell}\n"),
        16 => format!("{cell},{cell}"),
        // Well-formed, and of another version, another key, another tag.
        17 => format!("{iv}:{:02x}{}", 2 + number % 254, &data[2..]),
        18 => format!("{iv}:01{:016x}{}", number, &data[18..]),
        _ => format!("{iv}:{}{:032x}", &data[..data.len() - 32], number),
    }
}

#[tokio::test]
async fn no_malformed_cell_is_ever_granted() {
    let roles = Fixture::new().start_connect().await;
    assert_eq!(roles.store(&whole("odd", "Odd")).await.status, 201);
    let cell = roles.cell("odd", "access_token").unwrap();
    for number in 0..volume(1000) {
        let other = malformed(&cell, number);
        assert_ne!(other, cell);
        roles.edit("odd", "access_token", Some(&other));
        assert_unreadable(&format!("{number}: {other:.200}"), &grant(&roles, "odd").await);
    }
    roles.edit("odd", "access_token", Some(&cell));
    assert_eq!(grant(&roles, "odd").await.json()["access_token"], token("Odd"), "the right one still opens");
    assert_eq!(roles.trail().iter().filter(|line| line["event"] == "grant").count(), 1);
    roles.finish(&[&token("Odd"), "Planted"]).await;
}

proptest! {
    #[test]
    fn no_text_as_a_cell_makes_it_panic(text in "\\PC{0,200}", hex in "[0-9a-f]{20,28}:[0-9a-f]{48,80}") {
        for cell in [text, hex] {
            if let Ok(envelope) = Envelope::parse(&cell) {
                prop_assert_eq!(envelope.as_str(), cell);
            }
        }
    }
}

#[tokio::test]
async fn one_foreign_row_of_three_leaves_two_served() {
    let foreign = Fixture { encryption_keys: "ff".repeat(32), ..Fixture::new() }.start_connect().await;
    assert_eq!(foreign.store(&whole("foreign", "Foreign")).await.status, 201);
    let folder = foreign.folder.clone();
    foreign.finish(&[&token("Foreign")]).await;
    let both = format!("{ENCRYPTION_KEY},{}", "ff".repeat(32));
    let own = Fixture { encryption_keys: both, ..Fixture::on(&folder) }.start_connect().await;
    for name in ["one", "two"] {
        assert_eq!(own.store(&whole(name, name)).await.status, 201);
    }
    own.finish(&[&token("one")]).await;

    let roles = Fixture::on(&folder).start_connect().await;
    for name in ["one", "two"] {
        assert_eq!(grant(&roles, name).await.json()["access_token"], token(name));
    }
    assert_unreadable("foreign", &grant(&roles, "foreign").await);
    let ready = roles.get(roles.internal, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["unreadable"]), (200, &json!(1)), "{}", ready.text);
    let told = |line: &str| line.contains("ERROR") && line.contains("client foreign: ");
    assert!(logs().text().lines().any(told), "the row that needs a key is named");
    roles.finish(&[&token("Foreign"), &token("one"), &token("two")]).await;
}

#[tokio::test]
async fn a_jump_of_the_clock_moves_expiry_and_nothing_else() {
    let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let clock = Clock::fixed(noon);
    let roles = Fixture { clock: clock.clone(), ..Fixture::new() }.start_connect().await;
    let mut body = whole("clock", "Clock");
    body["token_expires_at"] = "2026-11-24T00:00:00Z".into();
    assert_eq!(roles.store(&body).await.status, 201);
    // All the wrong keys that one peer may send at once.
    let wrong =
        async || ask(roles.public, "POST", "/api/credentials", &[("X-API-Key", "wrong"), JSON], "").await.status();
    let mut failed = 0;
    while wrong().await == 401 {
        failed += 1;
        assert!(failed < 40, "never slowed");
    }

    let day = SignedDuration::from_hours(24);
    for (moment, expired) in [
        (noon, false),
        (noon + day, true),
        (noon - day, false),
        ("2038-01-19T03:14:08Z".parse().unwrap(), true),
        ("2106-02-07T06:28:16Z".parse().unwrap(), true),
        ("1970-01-01T00:00:00Z".parse().unwrap(), false),
        (noon, false),
    ] {
        clock.set(moment);
        let came = grant(&roles, "clock").await;
        assert_eq!((came.status, &came.json()["token_expired"]), (200, &json!(expired)), "{moment}");
        assert_eq!(wrong().await, 429, "{moment}: what slows wrong keys does not follow the clock");
        assert_eq!(ask(roles.public, "POST", "/api/credentials", &[KEY, JSON], &body.to_string()).await.status(), 200);
        assert_eq!(roles.get(roles.internal, "/readyz").await.status, 200, "{moment}");
    }
    let seqs: Vec<u64> = roles.trail().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|two| two[1] == two[0] + 1), "seq orders the trail, whatever the clock said: {seqs:?}");
    // Removed in a wrong future: a token of that day is refused, and one without a date is not.
    clock.set(noon + day);
    let removed = ask(roles.public, "DELETE", "/api/credentials?client_id=clock", &[KEY], "").await;
    assert_eq!(removed.status(), 200);
    clock.set(noon);
    body["issued_at"] = "2026-11-23T12:00:00Z".into();
    assert_eq!(roles.store(&body).await.status, 409);
    body.as_object_mut().unwrap().remove("issued_at");
    assert_eq!(roles.store(&body).await.status, 201);
    let began = std::time::Instant::now();
    roles.finish(&[&token("Clock")]).await;
    assert!(began.elapsed() < Duration::from_secs(10), "the end waits for no clock");
}
