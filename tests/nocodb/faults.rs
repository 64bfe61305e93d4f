//! What the store and connect do when NocoDB fails in each of its ways.

use aiviary::credential::{ClientId, SealedCredential};
use aiviary::crypto::Sealer;
use aiviary::roles::connect::audit;
use aiviary::secret::Secret;
use aiviary::store::{self, CredentialStore, Malformed, Mode, StoreError, contract};
use serde_json::json;
use tokio::net::TcpListener;

use super::chain;
use super::fake::{Fake, Fault, Kind};
use crate::support::{API_KEY, Fixture, Roles, answer, logs, sample};

async fn open(fake: &Fake) -> std::sync::Arc<dyn CredentialStore> {
    store::open(&fake.settings(), Mode::Existing).await.unwrap()
}

fn id(text: &str) -> ClientId {
    text.parse().unwrap()
}

fn of(client: &str, updated: &str) -> SealedCredential {
    SealedCredential { updated_at: Some(updated.to_owned()), ..contract::sample(client) }
}

const LIMITED: &str = "HTTP/1.1 429 x\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}";
const BROKEN: &str = "HTTP/1.1 500 x\r\nContent-Length: 15\r\n\r\n{\"msg\":\"sorry\"}";
const STARTING: &str = "HTTP/1.1 404 x\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!DOCTYPE html>";
const PAGE: &str = "HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!DOCTYPE html>";
const SHORT: &str = "HTTP/1.1 200 x\r\nContent-Length: 900\r\n\r\n{\"list\":[";
const FORBIDDEN: &str = "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn the_far_end_of_these_tests_is_a_store() {
    let fake = Fake::start().await;
    contract::holds(&*open(&fake).await).await;
    fake.state().unique = true;
    contract::holds(&*open(&fake).await).await;
}

#[tokio::test]
async fn each_fault_is_told_from_the_others_and_passes() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    store.save(&of("a", "1")).await.unwrap();
    for (name, fault, said, passes) in [
        ("429", Fault::Answer(LIMITED), "asks for fewer requests, Retry-After 7", true),
        ("500", Fault::Answer(BROKEN), "answers 500", true),
        ("starting", Fault::Answer(STARTING), "it is starting, or this is not NocoDB", true),
        ("page", Fault::Answer(PAGE), "it is starting, or this is not NocoDB", true),
        ("cut off", Fault::Answer(SHORT), "was cut off", true),
        ("closed", Fault::Cut, "was cut off", true),
        ("403", Fault::Answer(FORBIDDEN), "does not accept it (403)", false),
    ] {
        fake.state().outage = Some(fault);
        let refused = [
            store.load(&id("a")).await.map(drop),
            store.list().await.map(drop),
            store.save(&of("a", "2")).await,
            store.remove(&id("a")).await.map(drop),
        ];
        for error in refused.map(Result::unwrap_err) {
            assert!(chain(&error).contains(said), "{name}: {}", chain(&error));
            assert_eq!(error.passes(), passes, "{name}");
        }
        fake.state().outage = None;
        assert_eq!(store.load(&id("a")).await.unwrap(), Some(of("a", "1")), "{name}: it is over, and nothing was lost");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = trap.local_addr().unwrap();
    let fake = Fake::start().await;
    let store = open(&fake).await;
    for status in [301, 302, 307, 308] {
        let text = format!("HTTP/1.1 {status} x\r\nLocation: http://{to}/\r\nContent-Length: 2\r\n\r\n{{}}");
        fake.state().outage = Some(Fault::Answer(text.leak()));
        let error = store.load(&id("a")).await.unwrap_err();
        assert!(chain(&error).contains("a redirect, which is not followed"), "{}", chain(&error));
    }
    let knocked = futures_util::FutureExt::now_or_never(trap.accept());
    assert!(knocked.is_none(), "nobody came to the trap");
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_looked_up_before_it_is_repeated() {
    for (name, fault, creates) in [
        ("done, then cut", Fault::DoneThenCut, 1),
        ("done, then 502", Fault::DoneThen502, 1),
        ("cut, not done", Fault::Cut, 2),
        ("500, not done", Fault::Answer(BROKEN), 2),
    ] {
        let fake = Fake::start().await;
        let store = open(&fake).await;
        fake.fail(Kind::Create, fault);
        store.save(&of("a", "1")).await.unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        assert_eq!(fake.state().rows.len(), 1, "{name}: one row");
        assert_eq!(fake.count("POST"), creates, "{name}");
        let seen = fake.state().seen.clone();
        let first = seen.iter().position(|line| line.starts_with("POST")).unwrap();
        assert!(seen[first + 1].starts_with("GET /api/v2/tables/m1/records"), "{name}: {seen:?}");
        assert_eq!(store.load(&id("a")).await.unwrap(), Some(of("a", "1")), "{name}");
    }
}

#[tokio::test]
async fn of_two_that_make_a_row_at_once_the_younger_yields() {
    for text_numbers in [false, true] {
        let fake = Fake::start().await;
        fake.state().text_numbers = text_numbers;
        let store = open(&fake).await;
        fake.fail(Kind::Create, Fault::Hang);
        let other = async {
            fake.hangs().await;
            fake.insert("a", "of another process");
            fake.release();
        };
        let younger = of("a", "1");
        let (saved, ()) = tokio::join!(store.save(&younger), other);
        let error = saved.unwrap_err();
        assert!(chain(&error).contains("another process wrote the same client"), "{}", chain(&error));
        let cells: Vec<_> = fake.state().rows.iter().map(|(_, row)| row["access_token"].clone()).collect();
        assert_eq!(cells, ["of another process"], "numbers as text: {text_numbers}");
    }
}

#[tokio::test]
async fn an_update_or_a_removal_whose_answer_was_lost_is_looked_up() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    store.save(&of("a", "1")).await.unwrap();
    for (round, fault) in [Fault::DoneThenCut, Fault::DoneThen502, Fault::Cut].into_iter().enumerate() {
        let newer = of("a", &format!("round {round}"));
        fake.fail(Kind::Update, fault.clone());
        store.save(&newer).await.unwrap();
        assert_eq!(store.load(&id("a")).await.unwrap(), Some(newer.clone()));
        fake.fail(Kind::Delete, fault);
        assert!(store.remove(&id("a")).await.unwrap());
        assert!(fake.state().rows.is_empty());
        store.save(&newer).await.unwrap();
    }
    assert_eq!(fake.state().rows.len(), 1);
}

/// A body of `client` with that token.
fn body(client: &str, token: &str) -> serde_json::Value {
    let mut body = sample(client);
    body["access_token"] = json!(token);
    body
}

async fn granted(roles: &Roles, client: &str) -> String {
    let said = roles.get(roles.internal, &format!("/api/credentials/token?client_id={client}")).await;
    assert_eq!(said.status, 200, "{}", said.text);
    said.json()["access_token"].as_str().unwrap().to_owned()
}

/// Roles on `fake`, in a folder of their own or in that of others.
async fn connect(fake: &Fake, with: Option<&Roles>) -> Roles {
    let mut fixture = with.map_or_else(Fixture::new, |roles| Fixture::on(&roles.folder));
    fixture.store = Some(fake.settings());
    fixture.start_connect().await
}

fn events_of(roles: &Roles, client: &str) -> Vec<String> {
    let trail = roles.trail().into_iter().filter(|line| line["client_id"] == client);
    trail.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_write_without_an_answer_is_refused_and_nobody_writes_that_client_until_it_has_one() {
    let fake = Fake::start().await;
    let roles = connect(&fake, None).await;
    assert_eq!(roles.store(&body("late", "EAABfirst")).await.status, 201);
    fake.fail(Kind::Update, Fault::Hang);
    let late = body("late", "EAABlate");
    let (said, ()) = tokio::join!(roles.store(&late), fake.hangs());
    assert_eq!((said.status, said.code().as_str()), (503, "store_unavailable"), "{}", said.text);
    assert_eq!(granted(&roles, "late").await, "EAABfirst", "the one before is granted meanwhile");
    assert_eq!(roles.store(&body("other", "EAABother")).await.status, 201, "other clients are not held up");

    // Neither here nor in another process of the same trail.
    let second = connect(&fake, Some(&roles)).await;
    let newer = body("late", "EAABnewer");
    let removal = roles
        .http
        .delete(format!("http://{}/api/credentials?client_id=late", second.internal))
        .header("x-api-key", API_KEY);
    let (here, there, removed) = tokio::join!(roles.store(&newer), second.store(&newer), answer(removal));
    for said in [here, there, removed] {
        assert_eq!((said.status, said.code().as_str()), (503, "busy"), "{}", said.text);
        assert!(said.header("retry-after").is_some());
    }
    fake.release();
    // It waits for the first one's end, and what was acknowledged stays.
    assert_eq!(second.store(&newer).await.status, 200);
    for roles in [&roles, &second] {
        assert_eq!(granted(roles, "late").await, "EAABnewer");
    }
    assert_eq!(fake.state().rows.len(), 2);
    let before = ["save", "save_confirmed", "save", "save_failed", "grant", "save_confirmed"];
    let after = ["save", "grant", "save_confirmed", "grant"];
    assert_eq!(events_of(&roles, "late"), [&before[..], &after].concat());
    second.stop().await;
    roles.finish(&["EAABfirst", "EAABlate", "EAABnewer"]).await;
}

#[tokio::test]
async fn a_save_that_was_refused_and_is_acknowledged_by_its_repetition_is_confirmed_first() {
    let fake = Fake::start().await;
    let roles = connect(&fake, None).await;
    // Looked up twice and made; whether it came back whole cannot be seen.
    for fault in [Fault::None, Fault::None, Fault::Answer(BROKEN)] {
        fake.fail(Kind::Read, fault);
    }
    let token = body("again", "EAABagain");
    let refused = roles.store(&token).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"), "{}", refused.text);
    assert_eq!(events_of(&roles, "again"), ["save", "save_failed"]);
    for _ in 0..2 {
        assert_eq!(roles.store(&token).await.status, 200);
        assert_eq!(events_of(&roles, "again"), ["save", "save_failed", "save_confirmed"], "once");
    }
    let trail = roles.trail();
    let of = |event: &str| &trail.iter().find(|line| line["event"] == event).unwrap()["envelope"];
    assert_eq!(of("save_confirmed"), of("save"));
    roles.finish(&["EAABagain"]).await;
}

#[tokio::test]
async fn many_clients_are_not_all_read_to_say_that_none_was_named() {
    let fake = Fake::start().await;
    let roles = connect(&fake, None).await;
    for n in 0..3 {
        fake.insert("", &format!("an empty row {n}"));
    }
    assert_eq!(roles.store(&sample("only")).await.status, 201);
    assert_eq!(roles.get(roles.internal, "/api/credentials").await.json()["client_id"], "only");
    for n in 0..300 {
        fake.insert(&format!("c{n:03}"), "cell");
    }
    let before = fake.state().seen.len();
    let said = roles.get(roles.internal, "/api/credentials").await;
    assert_eq!((said.status, said.code().as_str()), (409, "client_required"), "{}", said.text);
    assert!(said.message().contains("c000") && said.message().ends_with(" and others"), "{}", said.text);
    // Of 101 rows three name nobody.
    let error = &said.json()["error"];
    assert_eq!((error["clients"].as_array().map(Vec::len), &error["truncated"]), (Some(98), &json!(true)));
    let asked = fake.state().seen.split_off(before);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("limit=101") && !asked[0].contains("access%5Ftoken"), "{asked:?}");

    // Rows that name nobody do not hide the one that does.
    let only = {
        let mut state = fake.state();
        state.rows.retain(|(_, row)| row["client_id"] == "only");
        state.rows.pop().unwrap()
    };
    for n in 0..140 {
        fake.insert(&format!("no client {n}"), "cell");
    }
    fake.state().rows.push((1000, only.1));
    assert_eq!(roles.get(roles.internal, "/api/credentials").await.json()["client_id"], "only");
    roles.stop().await;
}

#[tokio::test]
async fn probes_share_a_look_at_the_rows_until_something_changes() {
    let fake = Fake::start().await;
    let roles = connect(&fake, None).await;
    assert_eq!(roles.store(&sample("probed")).await.status, 201);
    let ready = async || roles.get(roles.internal, "/readyz").await;
    assert_eq!(ready().await.status, 200);
    let before = fake.count("GET");
    for _ in 0..10 {
        assert_eq!(ready().await.status, 200);
    }
    assert_eq!(fake.count("GET"), before, "no probe asked the store");
    fake.state().rows[0].1.insert("access_token".to_owned(), json!("no envelope"));
    let refused = roles.get(roles.internal, "/api/credentials/token?client_id=probed").await;
    assert_eq!(refused.code(), "credential_unreadable");
    assert_eq!(ready().await.json()["unreadable"], 1, "what a grant met shows at once");
    fake.state().outage = Some(Fault::Cut);
    assert_eq!(roles.get(roles.internal, "/api/credentials/token?client_id=probed").await.status, 503);
    assert_eq!(ready().await.status, 503);
    let before = fake.state().seen.len();
    assert_eq!(ready().await.status, 503);
    assert_eq!(fake.state().seen.len(), before, "nor does the next probe, for a moment");
    fake.state().outage = None;
    self::ready(&roles.http, roles.internal, 200).await;
    fake.state().outage = Some(Fault::Cut);
    assert_eq!(roles.get(roles.internal, "/api/credentials/token?client_id=probed").await.status, 503);
    assert_eq!(ready().await.status, 503);
    fake.state().outage = None;
    assert_eq!(roles.store(&sample("probed")).await.status, 200);
    assert_eq!(roles.get(roles.internal, "/api/credentials/token?client_id=probed").await.status, 200);
    assert_eq!(ready().await.json()["unreadable"], 0, "what the store has answered since is taken at once");
    roles.stop().await;
}

/// Roles on `fake`, both MCP servers with them.
async fn all_roles(fake: &Fake) -> Roles {
    let mut fixture = Fixture::new();
    fixture.store = Some(fake.settings());
    fixture.start().await
}

#[tokio::test]
async fn a_store_that_takes_requests_and_never_answers_is_told_from_connect_being_away() {
    let fake = Fake::start().await;
    let roles = all_roles(&fake).await;
    assert_eq!(roles.store(&sample("silent")).await.status, 201);
    fake.state().outage = Some(Fault::Hang);
    let words = "the store does not work just now; send the request again";
    let folder = roles.folder.path().to_owned();
    let url = format!("http://{}", roles.internal);
    let refused = async {
        let said = roles.get(roles.internal, "/api/credentials/token?client_id=silent").await;
        assert_eq!((said.status, said.message().as_str()), (503, words), "{}", said.text);
    };
    let called = async {
        let said = roles.plain(roles.instagram, "get_profile", json!({})).await;
        assert_eq!((said.status, said.code().as_str()), (503, "connect_unavailable"), "{}", said.text);
        assert!(said.message().contains(words), "{}", said.text);
    };
    // Each within the five seconds that it has, however many ask at once.
    let probed = futures_util::future::join_all((0..4).map(|_| async {
        let said = roles.get(roles.internal, "/readyz").await;
        assert_eq!((said.status, &said.json()["waiting_for"]), (503, &json!(["store"])), "{}", said.text);
    }));
    let asked = async {
        let said = roles.get(roles.instagram, "/readyz").await;
        assert_eq!(said.status, 503, "{}", said.text);
        assert!(said.text.contains("store"), "{}", said.text);
        let (code, out, err) = super::commands::run(&folder, &["health", "connect", "--url", &url], &[], "").await;
        assert_eq!((code, out.as_str()), (1, "connect: not ready: store\n"), "{err}");
    };
    let all = async { tokio::join!(refused, called, probed, asked) };
    tokio::time::timeout(std::time::Duration::from_secs(15), all).await.expect("an end");
    fake.state().outage = None;
    assert_eq!(granted(&roles, "silent").await, aiviary::roles::sandbox::TOKEN);
    roles.stop().await;
}

#[tokio::test]
async fn a_connect_that_waits_for_its_store_outlives_a_trail_that_cannot_be_written_for_a_while() {
    let fake = Fake::start().await;
    let roles = connect(&fake, None).await;
    assert_eq!(roles.store(&sample("waits")).await.status, 201);
    let (folder, path) = (roles.folder.clone(), roles.path("audit.jsonl"));
    roles.stop().await;
    // A crash instead of the end, so that the start has an outcome to write down.
    let text = std::fs::read_to_string(&path).unwrap();
    let save = text.lines().nth(1).unwrap();
    assert!(save.contains(r#""event":"save""#), "{text}");
    let cut: String = text.split_inclusive('\n').take(2).collect();
    std::fs::write(&path, cut).unwrap();

    fake.state().outage = Some(Fault::Answer(STARTING));
    let mut fixture = Fixture::on(&folder);
    fixture.store = Some(fake.settings());
    let roles = fixture.start_connect().await;
    // Readable, and never written to: links are not followed.
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &path).unwrap();
    fake.state().outage = None;
    let waits = format!("audit file `{}` is not a regular file", path.display());
    let waiting = async {
        while !logs().text().lines().any(|line| line.contains("still waiting for the store") && line.contains(&waits)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("it waits");
    assert_eq!(roles.get(roles.internal, "/api/credentials/token").await.code(), "starting");
    std::fs::rename(&aside, &path).unwrap();
    ready(&roles.http, roles.internal, 200).await;
    assert_eq!(granted(&roles, "waits").await, aiviary::roles::sandbox::TOKEN);
    assert_eq!(events_of(&roles, "waits"), ["save", "save_confirmed", "grant"]);
    roles.finish(&[aiviary::roles::sandbox::TOKEN]).await;
}

#[tokio::test]
async fn a_stop_waits_for_a_change_whose_caller_has_left() {
    for (lands, told) in [(true, "save_confirmed"), (false, "save_failed")] {
        let fake = Fake::start().await;
        let roles = connect(&fake, None).await;
        assert_eq!(roles.store(&body("left", "EAABfirst")).await.status, 201);
        let before = fake.state().rows[0].1["access_token"].clone();
        fake.fail(Kind::Update, Fault::Hang);
        let second = body("left", "EAABsecond");
        tokio::select! {
            said = roles.store(&second) => panic!("{}", said.text),
            () = fake.hangs() => {}
        }
        let folder = roles.folder.clone();
        let mut stopping = Box::pin(roles.stop());
        let early = tokio::time::timeout(std::time::Duration::from_millis(500), &mut stopping).await;
        assert!(early.is_err(), "it waits");
        if lands {
            fake.release();
        }
        // Within the drain time, whatever becomes of it.
        tokio::time::timeout(std::time::Duration::from_secs(4), stopping).await.expect("an end");
        assert_eq!(fake.state().rows[0].1["access_token"] != before, lands);
        let path = folder.path().join("audit.jsonl");
        audit::verify(std::slice::from_ref(&path), None).unwrap();
        let events: Vec<String> =
            audit::read(&path).unwrap().map(|line| line.unwrap().event.as_str().to_owned()).collect();
        let expected = ["open", "save", "save_confirmed", "save", told, "stop"];
        assert_eq!(events, expected, "each change has its outcome before the stop");
        if !lands {
            // Cut off, it is made late all the same; the next start finds out.
            fake.release();
            let made = async {
                while fake.state().rows[0].1["access_token"] == before {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(10), made).await.expect("it is made");
        }

        let again = {
            let mut fixture = Fixture::on(&folder);
            fixture.store = Some(fake.settings());
            fixture.start_connect().await
        };
        let since: Vec<String> = events_of(&again, "left").split_off(4);
        assert_eq!(since, if lands { vec![] } else { vec!["save_confirmed"] });
        assert_eq!(granted(&again, "left").await, "EAABsecond");
        again.finish(&["EAABfirst", "EAABsecond"]).await;
    }
}

#[tokio::test]
async fn only_the_own_row_comes_back_whatever_the_filter_was_taken_for() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    for client in ["a", "A", "a.", "-", "null"] {
        store.save(&of(client, client)).await.unwrap();
    }
    fake.insert("a,b)~or(client_id,neq,zzz", "planted");
    fake.insert("a\") ~or (client_id,neq,\"", "planted");
    for client in ["a", "A", "a.", "-", "null"] {
        fake.fail(Kind::Read, Fault::AllRows);
        assert_eq!(store.load(&id(client)).await.unwrap(), Some(of(client, client)), "{client}");
    }
    fake.fail(Kind::Read, Fault::AllRows);
    assert_eq!(store.load(&id("absent")).await.unwrap(), None);
    let unreadable = store.list().await.unwrap().into_iter().filter(Result::is_err).count();
    assert_eq!(unreadable, 2, "rows of no client are told in the list");
}

#[tokio::test]
async fn a_list_ends_where_the_same_page_comes_for_ever() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    for number in 0..600 {
        fake.insert(&format!("client{number}"), "cell");
    }
    assert_eq!(store.list().await.unwrap().len(), 600);
    fake.state().outage = Some(Fault::AllRows);
    let error = store.list().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn two_rows_of_a_client_are_none_until_it_is_stored_again() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    store.save(&of("a", "1")).await.unwrap();
    store.save(&of("b", "1")).await.unwrap();
    let second = fake.insert("a", "other");
    let error = store.load(&id("a")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Malformed(Malformed { rows, .. }) if rows == &[1, second]), "{error}");
    assert!(error.to_string().contains(&format!("(1, {second})")), "{error}");
    let rows = store.list().await.unwrap();
    assert_eq!(rows.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true], "one word for the client");
    store.save(&of("a", "2")).await.unwrap();
    assert_eq!(store.load(&id("a")).await.unwrap(), Some(of("a", "2")));
    assert_eq!(fake.state().rows.len(), 2);
    fake.insert("a", "other");
    assert!(store.remove(&id("a")).await.unwrap(), "forgetting a client forgets all of it");
    assert_eq!(fake.state().rows.len(), 1);
}

#[tokio::test]
async fn a_column_that_is_renamed_under_us_is_named_and_nothing_is_written() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    store.save(&of("a", "1")).await.unwrap();
    for column in ["access_token", "client_id", "scopes"] {
        fake.state().rename(column, "other");
        let writes = fake.count("P");
        for error in
            [store.load(&id("a")).await.map(drop), store.save(&of("a", "2")).await, store.list().await.map(drop)]
        {
            let error = error.unwrap_err();
            assert!(
                matches!(&error, StoreError::Column { column: named, .. } if *named == column),
                "{column}: {error}"
            );
        }
        assert_eq!(fake.count("P"), writes, "{column}: nothing was written");
        fake.state().rename("other", column);
        assert_eq!(store.load(&id("a")).await.unwrap(), Some(of("a", "1")), "{column}: it is back");
    }
}

#[tokio::test]
async fn a_large_list_comes_page_by_page_and_pages_shrink_to_the_bound() {
    let fake = Fake::start().await;
    let store = open(&fake).await;
    for n in 0..300 {
        fake.insert(&format!("c{n:03}"), "cell");
    }
    assert_eq!(store.list().await.unwrap().len(), 300);
    let huge = "x".repeat(100_000);
    for n in 300..400 {
        fake.insert(&format!("c{n:03}"), &huge);
    }
    let rows = store.list().await.unwrap();
    assert_eq!(rows.len(), 400);
    let names: Vec<_> = rows.iter().map(|row| row.as_ref().unwrap().binding.client.to_string()).collect();
    assert!(names.is_sorted());
}

#[tokio::test]
async fn a_moment_of_nocodb_is_read_in_the_spelling_that_was_written() {
    let fake = Fake::start().await;
    fake.state()
        .columns
        .iter_mut()
        .filter(|(title, _)| title == "token_expires_at" || title == "updated_at")
        .for_each(|(_, uidt)| *uidt = "DateTime".to_owned());
    let store = open(&fake).await;
    fake.insert("a", "cell");
    for (cell, expected) in [
        ("2025-03-01 00:00:00+00:00", "2025-03-01T00:00:00Z"),
        ("Invalid Date", "Invalid Date"),
        ("2025-03-01", "2025-03-01"),
        ("ü 25-03-01 00:00:00+00:00", "ü 25-03-01 00:00:00+00:00"),
    ] {
        fake.state().rows[0].1.insert("token_expires_at".to_owned(), json!(cell));
        assert_eq!(store.load(&id("a")).await.unwrap().unwrap().expires.as_deref(), Some(expected));
    }
}

/// Asks until `/readyz` answers `status`; each question is real work at the other end.
async fn ready(http: &reqwest::Client, at: std::net::SocketAddr, status: u16) -> serde_json::Value {
    let asked = async {
        loop {
            let said = answer(http.get(format!("http://{at}/readyz"))).await;
            if said.status == status {
                return said.json();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("it gets there")
}

#[tokio::test]
async fn connect_starts_without_its_store_refuses_and_serves_by_itself_when_it_comes() {
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::on(place);
    fake.state().outage = Some(Fault::Answer(STARTING));
    let mut fixture = Fixture::new();
    fixture.store = Some(fake.settings());
    let roles = fixture.start().await;
    let waiting = ready(&roles.http, roles.internal, 503).await;
    assert_eq!(waiting["waiting_for"], json!(["store", "key check"]), "{waiting}");
    for (name, said) in [
        ("grant", roles.get(roles.internal, "/api/credentials/token?client_id=a").await),
        ("summary", roles.get(roles.internal, "/api/credentials").await),
        ("save", roles.store(&sample("a")).await),
    ] {
        assert_eq!((said.status, said.code().as_str()), (503, "starting"), "{name}: {}", said.text);
        assert!(said.header("retry-after").is_some(), "{name}");
    }
    assert_eq!(fake.count("POST"), 0);
    fake.state().outage = None;
    ready(&roles.http, roles.internal, 200).await;
    assert_eq!(roles.store(&sample("a")).await.status, 201);
    assert_eq!(roles.get(roles.internal, "/api/credentials/token").await.status, 200);

    for (name, fault) in [("500", Fault::Answer(BROKEN)), ("429", Fault::Answer(LIMITED)), ("cut", Fault::Cut)] {
        fake.state().outage = Some(fault);
        for said in
            [roles.get(roles.internal, "/api/credentials/token?client_id=a").await, roles.store(&sample("b")).await]
        {
            assert_eq!((said.status, said.code().as_str()), (503, "store_unavailable"), "{name}: {}", said.text);
        }
        assert_eq!(ready(&roles.http, roles.internal, 503).await["waiting_for"], json!(["store"]), "{name}");
        fake.state().outage = None;
        assert_eq!(roles.get(roles.internal, "/api/credentials/token?client_id=a").await.status, 200, "{name}: back");
        assert_eq!(fake.state().rows.len(), 1, "{name}: nothing that was refused was stored");
    }
    roles.stop().await;
}

#[tokio::test]
async fn a_column_that_does_not_keep_what_is_written_is_never_acknowledged() {
    let fake = Fake::start().await;
    let mut fixture = Fixture::new();
    fixture.store = Some(fake.settings());
    let roles = fixture.start().await;
    assert_eq!(roles.store(&sample("a")).await.status, 201);
    fake.state().rename("access_token", "token");
    let refused = roles.store(&sample("b")).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"), "{}", refused.text);
    assert!(refused.message().contains("access_token"), "{}", refused.text);
    let said = ready(&roles.http, roles.internal, 503).await;
    assert!(said["warnings"][0].as_str().unwrap().contains("`access_token`"), "{said}");
    fake.state().rename("token", "access_token");
    assert_eq!(roles.get(roles.internal, "/api/credentials/token?client_id=a").await.status, 200);

    for column in ["client_id", "access_token", "facebook_page_id", "login", "token_expires_at"] {
        fake.state().spoils = Some(column.to_owned());
        let client = format!("spoiled-{}", column.replace('_', "-"));
        let refused = roles.store(&sample(&client)).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"), "{column}: {}", refused.text);
        assert!(refused.message().contains(column), "{column}: {}", refused.text);
        fake.state().spoils = None;
        assert!(roles.store(&sample(&client)).await.status < 300, "{column}: storing again repairs it");
        assert_eq!(granted(&roles, &client).await, aiviary::roles::sandbox::TOKEN, "{column}");
    }
    roles.stop().await;
}

#[tokio::test]
async fn a_token_issued_within_a_second_is_stored_beside_moments_of_whole_seconds() {
    let fake = Fake::start().await;
    let moment = |column: &str| {
        fake.state().columns.iter_mut().find(|(title, _)| title == column).unwrap().1 = "DateTime".to_owned();
    };
    moment("token_expires_at");
    moment("updated_at");
    let roles = connect(&fake, None).await;
    let mut fresh = sample("fresh");
    fresh["issued_at"] = json!("2026-11-20T00:00:00.75Z");
    let stored = roles.store(&fresh).await;
    assert_eq!((stored.status, &stored.json()["token_expires_at"]), (201, &json!("2099-01-01T00:00:00Z")));
    assert_eq!(fake.state().rows[0].1["token_expires_at"], "2099-01-01 00:00:00+00:00");
    fresh["issued_at"] = json!("2026-11-20T00:00:00.5Z");
    assert_eq!(roles.store(&fresh).await.code(), "stale", "older within the second");
    roles.stop().await;

    moment("issued_at");
    let refused = store::open(&fake.settings(), Mode::Existing).await.map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::ColumnType { column: "issued_at", .. }), "{refused}");
}

#[tokio::test]
async fn two_rows_give_no_token_and_the_log_names_both() {
    let fake = Fake::start().await;
    let mut fixture = Fixture::new();
    fixture.store = Some(fake.settings());
    let roles = fixture.start().await;
    let client = "twice-by-hand";
    assert_eq!(roles.store(&sample(client)).await.status, 201);
    let cell = fake.state().rows[0].1["access_token"].as_str().unwrap().to_owned();
    let second = fake.insert(client, &cell);
    let refused = roles.get(roles.internal, &format!("/api/credentials/token?client_id={client}")).await;
    assert_eq!((refused.status, refused.code().as_str()), (500, "credential_unreadable"), "{}", refused.text);
    let log = logs().text();
    assert!(log.contains(&format!("client `{client}` has several rows (1, {second})")), "{log}");
    assert_eq!(roles.store(&sample(client)).await.status, 200, "storing again repairs");
    assert_eq!(fake.state().rows.len(), 1);
    roles.stop().await;
}

#[tokio::test]
async fn a_late_look_that_finds_other_keys_ends_the_role() {
    let fake = Fake::start().await;
    let other = Sealer::parse(&Secret::new("ff".repeat(16) + &"00".repeat(16))).unwrap();
    let sealed = other.seal(&Secret::new("EAABtoken".to_owned()), &["a", "facebook", "", "", "", ""]);
    fake.insert("a", sealed.as_str());
    fake.state().outage = Some(Fault::Cut);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("nocodb+http://{}", fake.address);
    let variables = [
        ("ENCRYPTION_KEY", crate::support::ENCRYPTION_KEY),
        ("VM_API_KEY", API_KEY),
        ("NOCODB_TOKEN", super::fake::TOKEN),
        ("AIVIARY__STORE__URL", &url),
    ];
    let path = folder.path().to_owned();
    let variables: Vec<(String, String)> = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let fake_again = fake.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let (served, port) = crate::support::process::Served::connect(&path, &variables);
        let (status, body) = crate::support::process::request(port, "GET", "/readyz", &[], "");
        assert_eq!(status, 503, "{body}");
        fake_again.state().outage = None;
        served.ended()
    });
    let (code, _, said) = ended.await.unwrap();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("ENCRYPTION_KEY is not the key of this store"), "{said}");
    assert!(said.contains("e5f9419faa78b45c"), "the id of the key that is needed: {said}");
    fake.state().outage = Some(Fault::Answer(STARTING));
}
