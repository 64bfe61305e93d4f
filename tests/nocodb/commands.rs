//! The commands that touch a NocoDB store, as processes, against a far end of ours.

use std::path::Path;

use tempfile::TempDir;

use super::fake::{COLUMNS, Fake, Fault, Kind, TOKEN};
use crate::support::{API_KEY, ENCRYPTION_KEY, process};

/// Exit code, output and words of a command.
pub async fn run(folder: &Path, arguments: &[&str], more: &[(&str, &str)], input: &str) -> (i32, String, String) {
    use std::io::Write as _;
    let mut command = process::command(
        folder,
        arguments,
        &[("ENCRYPTION_KEY", ENCRYPTION_KEY), ("VM_API_KEY", API_KEY), ("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:0")],
    );
    command.envs(more.iter().copied());
    let input = input.to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let pipe = std::process::Stdio::piped;
        let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = ran.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn on(fake: &Fake, folder: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let url = format!("nocodb+http://{}", fake.address);
    run(folder, arguments, &[("AIVIARY__STORE__URL", &url), ("NOCODB_TOKEN", TOKEN)], input).await
}

#[tokio::test]
async fn store_init_makes_and_completes_the_table_and_says_so() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    fake.state().has_table = false;
    fake.state().columns.clear();
    let (code, out, err) = on(&fake, folder.path(), &["store", "init"], "").await;
    assert_eq!((code, out.as_str()), (0, "made table \"meta_credentials\"\n"), "{err}");
    let types = fake.state().columns.clone();
    assert_eq!(types.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>().len(), COLUMNS.len());
    for (title, uidt) in types {
        let long = title == "access_token" || title == "scopes";
        assert_eq!(uidt, if long { "LongText" } else { "SingleLineText" }, "{title}");
    }
    let (code, out, _) = on(&fake, folder.path(), &["store", "init"], "").await;
    assert_eq!((code, out.as_str()), (0, "nothing to do: the store has all that it needs\n"));

    fake.insert("a", "cell");
    fake.state().columns.retain(|(title, _)| title != "scopes");
    let (code, out, err) = on(&fake, folder.path(), &["store", "init"], "").await;
    assert_eq!((code, out.as_str()), (0, "added column `scopes` (LongText) to table \"meta_credentials\"\n"), "{err}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file was made");
}

#[tokio::test]
async fn a_table_that_would_lose_data_is_refused_in_words_before_serving() {
    let folder = TempDir::new().unwrap();
    for (name, change, said) in [
        ("number", ("meta_user_id", Some("Number")), "column `meta_user_id` of table `meta_credentials` is Number"),
        ("date", ("token_expires_at", Some("Date")), "column `token_expires_at`"),
        ("choice", ("login", Some("SingleSelect")), "make it SingleLineText"),
        ("token gone", ("access_token", None), "has rows and no column `access_token`"),
        ("client gone", ("client_id", None), "has rows and no column `client_id`"),
    ] {
        let fake = Fake::start().await;
        fake.insert("a", "cell");
        match change {
            (column, Some(uidt)) => {
                fake.state().columns.iter_mut().find(|(title, _)| title == column).unwrap().1 = uidt.to_owned();
            }
            (column, None) => fake.state().columns.retain(|(title, _)| title != column),
        }
        for arguments in [&["store", "init"][..], &["serve", "connect"], &["check", "--online", "connect"]] {
            let mut all = arguments.to_vec();
            let (code, out, err) = on(&fake, folder.path(), &std::mem::take(&mut all), "").await;
            assert_eq!(code, 78, "{name} {arguments:?}: {out}{err}");
            let either = if arguments[0] == "check" { format!("{out}{err}") } else { err };
            let column = change.0;
            assert!(
                either.contains(said) || (arguments[0] == "check" && either.contains(column)),
                "{name} {arguments:?}: {either}"
            );
        }
        assert_eq!(fake.count("POST") + fake.count("PATCH") + fake.count("DELETE"), 0, "{name}: nothing was changed");
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_not_ours_is_told_by_the_exit_code() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    let starting = "HTTP/1.1 404 x\r\nContent-Length: 6\r\n\r\n<html>";
    for (name, fault, code) in [
        ("starting", Fault::Answer(starting), 69),
        ("cut", Fault::Cut, 69),
        ("token", Fault::Answer("HTTP/1.1 401 x\r\nContent-Length: 2\r\n\r\n{}"), 78),
    ] {
        fake.state().outage = Some(fault);
        for arguments in [
            &["store", "init"][..],
            &["store", "copy", "--to", "sqlite:b.db"],
            &["check", "--online", "connect"],
            &["credential", "list"],
            &["credential", "add", "--client", "a"],
            &["credential", "set", "--client", "a", "--facebook-page-id", "17"],
            &["credential", "remove", "--client", "a"],
            &["key", "rotate"],
        ] {
            let (exit, out, err) = on(&fake, folder.path(), arguments, "EAABtoken").await;
            assert_eq!(exit, code, "{name} {arguments:?}: {out}{err}");
        }
    }
}

#[tokio::test]
async fn a_rotation_names_both_rows_of_a_client_and_keeps_the_key_that_they_may_need() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    let (code, _, err) = on(&fake, folder.path(), &["credential", "add", "--client", "a"], "EAABtoken").await;
    assert_eq!(code, 0, "{err}");
    let cell = fake.state().rows[0].1["access_token"].as_str().unwrap().to_owned();
    let second = fake.insert("a", &cell);
    let (url, keys) = (format!("nocodb+http://{}", fake.address), format!("{},{ENCRYPTION_KEY}", "ff".repeat(32)));
    let more = [("AIVIARY__STORE__URL", url.as_str()), ("NOCODB_TOKEN", TOKEN), ("ENCRYPTION_KEY", &keys)];
    let (code, out, err) = run(folder.path(), &["key", "rotate"], &more, "").await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains(&format!("left as it is: client `a` has several rows (1, {second})")), "{err}");
    assert!(out.contains("2 rows cannot be read and may need any key: keep every key"), "{out}");
    assert!(!out.contains("can be removed") && !out.contains("backups"), "{out}");
}

#[tokio::test]
async fn a_rotation_keeps_what_an_operator_edits_meanwhile_and_writes_over_no_other_cell() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    let end = ["credential", "add", "--client", "a", "--token-expires-at", "2027-01-10T00:00:00Z"];
    let (code, _, err) = on(&fake, folder.path(), &end, "EAABtoken").await;
    assert_eq!(code, 0, "{err}");
    let cell = |column: &str| fake.state().rows[0].1[column].clone();
    let edit = |column: &str, value: &str| fake.state().rows[0].1.insert(column.to_owned(), value.into());
    let (url, new) = (format!("nocodb+http://{}", fake.address), "ff".repeat(32));
    let rotate = async |keys: String, edited: (&str, &str)| {
        let more = [("AIVIARY__STORE__URL", url.as_str()), ("NOCODB_TOKEN", TOKEN), ("ENCRYPTION_KEY", &keys)];
        let editing = async {
            fake.hangs().await;
            edit(edited.0, edited.1);
            fake.release();
        };
        tokio::join!(run(folder.path(), &["key", "rotate"], &more, ""), editing).0
    };

    let before = cell("access_token");
    fake.fail(Kind::Update, Fault::Hang);
    let (code, out, err) = rotate(format!("{new},{ENCRYPTION_KEY}"), ("token_expires_at", "2027-02-01")).await;
    assert_eq!((code, err.as_str()), (0, "sealed anew: a\n"), "{out}");
    assert_ne!(cell("access_token"), before);
    assert_eq!(cell("token_expires_at"), "2027-02-01", "as edited while the row was being sealed anew");

    // Looked at three times before it is written: the keys, the rows, this row.
    for fault in [Fault::None, Fault::None, Fault::None, Fault::Hang] {
        fake.fail(Kind::Read, fault);
    }
    let (code, out, err) = rotate(format!("{ENCRYPTION_KEY},{new}"), ("access_token", "a cell of somebody else")).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("left as it is: a: somebody else changed it at the same time"), "{err}");
    assert_eq!(cell("access_token"), "a cell of somebody else");
    let (code, out, err) = run(folder.path(), &["audit", "verify"], &[], "").await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test]
async fn credentials_move_there_and_back_without_being_opened() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    let to = format!("nocodb+http://{}", fake.address);
    let token = [("NOCODB_TOKEN", TOKEN)];
    for client in ["a", "b"] {
        let (code, _, err) = run(folder.path(), &["credential", "add", "--client", client], &[], "EAABtoken").await;
        assert_eq!(code, 0, "{err}");
    }
    // Sealed as they are: the copy has no use for the key, only the configuration has.
    let (code, out, err) = run(folder.path(), &["store", "copy", "--to", &to], &token, "").await;
    assert_eq!((code, out.as_str()), (0, "copied a\ncopied b\n"), "{err}");
    assert!(!format!("{:?}", fake.state().rows).contains("EAABtoken"));
    let (code, out, _) = run(folder.path(), &["store", "copy", "--to", &to], &token, "").await;
    assert_eq!((code, out.as_str()), (0, "a is there already\nb is there already\n"));

    let (code, out, err) = on(&fake, folder.path(), &["store", "copy", "--to", "sqlite:other.db"], "").await;
    assert_eq!((code, out.as_str()), (0, "copied a\ncopied b\n"), "{err}");
    let read = |file: &str| {
        let db = rusqlite::Connection::open(folder.path().join(file)).unwrap();
        let mut query = db.prepare("SELECT * FROM meta_credentials ORDER BY client_id").unwrap();
        let cells = query.column_count();
        let rows =
            query.query_map([], |row| (0..cells).map(|n| row.get(n)).collect::<Result<Vec<Option<String>>, _>>());
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(read("aiviary.db"), read("other.db"), "cell by cell the same");

    let (code, ..) = run(folder.path(), &["credential", "add", "--client", "b"], &[], "EAABnewer").await;
    assert_eq!(code, 0);
    let before = format!("{:?}", fake.state().rows);
    let (code, _, err) = run(folder.path(), &["store", "copy", "--to", &to], &token, "").await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("other credentials of b; nothing was written"), "{err}");
    assert_eq!(format!("{:?}", fake.state().rows), before);
}

#[tokio::test]
async fn the_doctor_tells_each_thing_and_names_keys_that_are_missing() {
    let fake = Fake::start().await;
    let folder = TempDir::new().unwrap();
    let (code, _, err) = on(&fake, folder.path(), &["credential", "add", "--client", "a"], "EAABtoken").await;
    assert_eq!(code, 0, "{err}");
    let listen = ("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:1");
    let url = format!("nocodb+http://{}", fake.address);
    let all = [listen, ("AIVIARY__STORE__URL", url.as_str()), ("NOCODB_TOKEN", TOKEN)];
    let (code, out, err) = run(folder.path(), &["check", "--online", "connect"], &all, "").await;
    assert_eq!(code, 0, "{out}{err}");
    for said in [
        "ok       NocoDB, with its token",
        "ok       base p1",
        "ok       table \"meta_credentials\" (m1)",
        "ok       column `access_token`, SingleLineText",
        "ok       1 stored credentials",
        "ok       key 9ed0224919b6be15, of 1",
        "note     connect: does not answer",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let other = "ff".repeat(32);
    let mut wrong = all.to_vec();
    wrong.push(("ENCRYPTION_KEY", &other));
    let (code, out, _) = run(folder.path(), &["check", "--online", "--json", "connect"], &wrong, "").await;
    assert_eq!(code, 78, "{out}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let finding =
        report["online"].as_array().unwrap().iter().find(|one| one["what"] == "key 9ed0224919b6be15").unwrap();
    assert_eq!(finding["says"], "is not in ENCRYPTION_KEY and seals the credentials of a");
    assert_eq!(report["ok"], false);
    assert!(!out.contains(&other) && !out.contains(TOKEN));
    let (code, out, _) = run(
        folder.path(),
        &["check", "--online", "instagram"],
        &[("AIVIARY__MCP__CONNECT_URL", "http://127.0.0.1:1")],
        "",
    )
    .await;
    assert_eq!(code, 69, "{out}");
}
