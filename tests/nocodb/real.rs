//! A real NocoDB, started by `scripts/nocodb test`; without it these tests say "skipped" and pass.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aiviary::roles::sandbox;
use aiviary::secret::Secret;
use aiviary::store::{self, Mode, Settings, StoreError, Url, contract};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard};

use super::commands::run;
use crate::support::process::Served;
use crate::support::{API_KEY, ENCRYPTION_KEY, Fixture, Roles, answer, assert_no_token, client, logs, sample};

/// Who stops the server has it alone.
static IN_USE: RwLock<()> = RwLock::const_new(());

/// The server, with a base of the test's own, as its user sees it.
struct Real {
    url: String,
    email: String,
    password: String,
    db: String,
    base: String,
    token: String,
    table: String,
    http: reqwest::Client,
    _in_use: Option<RwLockReadGuard<'static, ()>>,
}

/// The server, where there is one. `alone`: the test stops it, and holds the lock itself.
async fn real(alone: bool) -> Option<Real> {
    let set = |name: &str| std::env::var(name).ok();
    let Some(url) = set("AIVIARY_NOCODB_URL") else {
        eprintln!("skipped: no NocoDB here; `make test-nocodb` runs this with one");
        return None;
    };
    let _in_use = if alone { None } else { Some(IN_USE.read().await) };
    let mut real = Real {
        url,
        email: set("AIVIARY_NOCODB_EMAIL").unwrap(),
        password: set("AIVIARY_NOCODB_PASSWORD").unwrap(),
        db: set("AIVIARY_NOCODB_DB").unwrap(),
        base: String::new(),
        token: String::new(),
        table: String::new(),
        http: client(),
        _in_use,
    };
    let given = json!({ "email": real.email, "password": real.password });
    let session = real.call("POST", "/api/v1/auth/user/signin", &given).await["token"].as_str().unwrap().to_owned();
    let made = real.http.post(format!("{}/api/v1/tokens", real.url)).header("xc-auth", &session);
    let made = answer(made.header("content-type", "application/json").body(r#"{"description":"test"}"#)).await;
    real.token = made.json()["token"].as_str().unwrap().to_owned();
    static BASES: AtomicU32 = AtomicU32::new(0);
    let title = format!("test {} {}", std::process::id(), BASES.fetch_add(1, Ordering::SeqCst));
    real.base =
        real.call("POST", "/api/v2/meta/bases", &json!({ "title": title })).await["id"].as_str().unwrap().to_owned();
    Some(real)
}

impl Real {
    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = request.header("xc-token", &self.token).header("content-type", "application/json");
        let said = answer(if body.is_null() { request } else { request.body(body.to_string()) }).await;
        assert_eq!(said.status, 200, "{method} {path}: {}", said.text);
        said.json()
    }

    fn settings(&self) -> Settings {
        Settings {
            url: format!("nocodb+{}", self.url).parse::<Url>().unwrap(),
            base: self.base.clone(),
            table: "meta_credentials".to_owned(),
            token: Some(Arc::new(Secret::new(self.token.clone()))),
        }
    }

    /// As the environment of a process says it.
    fn variables(&self) -> Vec<(String, String)> {
        [
            ("ENCRYPTION_KEY", ENCRYPTION_KEY.to_owned()),
            ("VM_API_KEY", API_KEY.to_owned()),
            ("NOCODB_TOKEN", self.token.clone()),
            ("AIVIARY__STORE__URL", format!("nocodb+{}", self.url)),
            ("AIVIARY__STORE__BASE", self.base.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Roles on this store; the table is made by the start.
    async fn roles(&mut self) -> Roles {
        let mut fixture = Fixture::new();
        fixture.store = Some(self.settings());
        let roles = fixture.start().await;
        self.find_table().await;
        roles
    }

    async fn find_table(&mut self) {
        let tables = self.call("GET", &format!("/api/v2/meta/bases/{}/tables", self.base), &Value::Null).await;
        self.table = tables["list"][0]["id"].as_str().unwrap().to_owned();
    }

    fn records(&self) -> String {
        format!("/api/v2/tables/{}/records", self.table)
    }

    /// Every row, as its user sees it.
    async fn rows(&self) -> Vec<Value> {
        let said = self.call("GET", &format!("{}?limit=1000", self.records()), &Value::Null).await;
        said["list"].as_array().unwrap().clone()
    }

    async fn row(&self, client: &str) -> Value {
        let mut rows = self.rows().await;
        rows.retain(|row| row["client_id"] == client);
        assert_eq!(rows.len(), 1, "rows of {client}");
        rows.remove(0)
    }

    async fn edit(&self, client: &str, column: &str, value: &Value) {
        let number = self.row(client).await["Id"].clone();
        self.call("PATCH", &self.records(), &json!({ "Id": number, column: value })).await;
    }

    async fn rename(&self, from: &str, to: &str) {
        let about = self.call("GET", &format!("/api/v2/meta/tables/{}", self.table), &Value::Null).await;
        let columns = about["columns"].as_array().unwrap();
        let column = columns.iter().find(|column| column["title"] == from).unwrap();
        let id = column["id"].as_str().unwrap();
        let body = json!({ "title": to, "column_name": column["column_name"], "uidt": column["uidt"] });
        self.call("PATCH", &format!("/api/v2/meta/columns/{id}"), &body).await;
    }

    /// `scripts/nocodb kill` and the like.
    async fn script(&self, what: &'static str) {
        let done = tokio::task::spawn_blocking(move || {
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/nocodb")).arg(what).status().unwrap()
        });
        assert!(done.await.unwrap().success(), "scripts/nocodb {what}");
    }
}

async fn token(roles: &Roles, client: &str) -> (u16, String) {
    let said = roles.get(roles.internal, &format!("/api/credentials/token?client_id={client}")).await;
    let what = if said.status == 200 { said.json()["access_token"].as_str().unwrap().to_owned() } else { said.code() };
    (said.status, what)
}

#[tokio::test]
async fn nocodb_keeps_the_contract_of_stores() {
    let Some(real) = real(false).await else { return };
    let settings = real.settings();
    let lacking = store::open(&settings, Mode::Existing).await.map(drop).unwrap_err();
    assert!(matches!(lacking, StoreError::Missing { key: "table", .. }), "{lacking}");
    let did = store::init(&settings).await.unwrap();
    assert_eq!(did, ["made table \"meta_credentials\""]);
    assert_eq!(store::init(&settings).await.unwrap(), Vec::<String>::new());
    let store = store::open(&settings, Mode::Existing).await.unwrap();
    contract::holds(&*store).await;
    let found = store::inspect(&settings).await;
    assert!(found.len() == 14 && found.iter().all(|one| one.wrong.is_none()), "{found:?}");
}

#[tokio::test]
async fn a_token_comes_in_and_a_workflow_gets_numbers_with_its_row_in_nocodb() {
    let Some(mut real) = real(false).await else { return };
    let roles = real.roles().await;
    let stored = roles.store(&sample("flow-real")).await;
    assert_eq!(stored.status, 201, "{}", stored.text);
    let row = real.row("flow-real").await;
    let (iv, data) = row["access_token"].as_str().unwrap().split_once(':').unwrap();
    assert!(iv.len() == 24 && data.bytes().all(|b| b.is_ascii_hexdigit()), "{row}");
    assert!(!row.to_string().contains(sandbox::TOKEN));
    for (column, expected) in [
        ("instagram_business_account_id", sandbox::IG_ACCOUNT),
        ("facebook_page_id", sandbox::PAGE),
        ("meta_user_id", sandbox::USER),
        ("login", "facebook"),
        ("token_expires_at", "2099-01-01T00:00:00Z"),
    ] {
        assert_eq!(row[column], expected, "{column}");
    }
    assert_eq!(token(&roles, "flow-real").await, (200, sandbox::TOKEN.to_owned()));
    let params = json!({"period": "day", "metrics": ["impressions", "reach", "profile_views"]});
    let insights = roles.plain(roles.instagram, "get_account_insights", params).await;
    assert_eq!(insights.status, 200, "{}", insights.text);

    real.edit("flow-real", "token_expires_at", &json!("2024-01-01")).await;
    let expired = roles.get(roles.internal, "/api/credentials/token").await;
    assert_eq!(expired.json()["token_expired"], true);
    let refused = roles.plain(roles.instagram, "get_profile", json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (424, "token_expired"));
    let http = roles.http.clone();
    let removed = http.delete(format!("http://{}/api/credentials?client_id=flow-real", roles.internal));
    assert_eq!(answer(removed.header("x-api-key", API_KEY)).await.status, 200);
    assert!(real.rows().await.is_empty());
    let folder = roles.folder.clone();
    roles.stop().await;
    assert_no_token(folder.path(), sandbox::TOKEN);
    assert!(!logs().text().contains(&real.token), "NocoDB's own token is in no log");
}

#[tokio::test]
async fn edits_by_hand_never_give_a_token_to_another_client_or_account() {
    let Some(mut real) = real(false).await else { return };
    let roles = real.roles().await;
    for client in ["left", "right", "other", "twice"] {
        assert_eq!(roles.store(&sample(client)).await.status, 201);
    }
    let unreadable = (500, "credential_unreadable".to_owned());
    let [left, right] = [real.row("left").await, real.row("right").await];
    real.edit("left", "access_token", &right["access_token"]).await;
    real.edit("right", "access_token", &left["access_token"]).await;
    assert_eq!(token(&roles, "left").await, unreadable);
    assert_eq!(token(&roles, "right").await, unreadable);
    real.edit("left", "access_token", &left["access_token"]).await;
    assert_eq!(token(&roles, "left").await.0, 200, "its own cell opens again");

    for column in ["instagram_business_account_id", "facebook_page_id", "ad_account_id", "meta_user_id"] {
        let kept = real.row("other").await[column].clone();
        real.edit("other", column, &json!("999")).await;
        assert_eq!(token(&roles, "other").await, unreadable, "{column}");
        real.edit("other", column, &kept).await;
    }
    real.edit("other", "login", &json!("instagram")).await;
    assert_eq!(token(&roles, "other").await, unreadable, "login");
    real.edit("other", "access_token", &json!(sandbox::TOKEN)).await;
    assert_eq!(token(&roles, "other").await, unreadable, "plain text is no envelope");

    // On PostgreSQL the column is unique and keeps this out by itself.
    let mut second = real.row("twice").await;
    second.as_object_mut().unwrap().retain(|column, _| !matches!(column.as_str(), "Id" | "CreatedAt" | "UpdatedAt"));
    let request = real.http.post(format!("{}{}", real.url, real.records())).header("xc-token", &real.token);
    let inserted = answer(request.header("content-type", "application/json").body(second.to_string())).await;
    assert_eq!(inserted.status, if real.db == "postgresql" { 400 } else { 200 }, "{}", inserted.text);
    if inserted.status == 200 {
        assert_eq!(token(&roles, "twice").await, unreadable);
        let first = real.rows().await.into_iter().find(|row| row["client_id"] == "twice").unwrap()["Id"].clone();
        let both = format!("client `twice` has several rows ({first}, {})", inserted.json()["Id"]);
        assert!(logs().text().contains(&both), "the log names both rows: {both}");
    }
    assert_eq!(roles.get(roles.internal, "/readyz").await.status, 200, "the rest is served");
    for client in ["right", "other", "twice"] {
        assert_eq!(roles.store(&sample(client)).await.status, 200, "storing {client} again repairs it");
        assert_eq!(token(&roles, client).await, (200, sandbox::TOKEN.to_owned()), "{client}");
    }
    assert_eq!(real.rows().await.len(), 4);
    roles.stop().await;
}

#[tokio::test]
async fn clients_of_the_whole_grammar_are_told_from_hostile_rows() {
    let Some(mut real) = real(false).await else { return };
    let roles = real.roles().await;
    let longest = "x".repeat(64);
    let clients = ["a", "A", "a.b", "..a", "-", "_", "0", "null", "true", longest.as_str()];
    for client in
        ["a,b)~or(client_id,neq,zzz", "a\")~or(client_id,neq,\"", "%", "a%", "*", "'", "\\", "a\n", " a", "a "]
    {
        real.call("POST", &real.records(), &json!({ "client_id": client, "access_token": "planted" })).await;
    }
    for client in clients {
        assert_eq!(token(&roles, client).await, (404, "not_found".to_owned()), "{client}");
    }
    for client in clients {
        assert_eq!(roles.store(&sample(client)).await.status, 201, "{client}");
    }
    for client in clients {
        let said = roles.get(roles.internal, &format!("/api/credentials/token?client_id={client}")).await;
        assert_eq!((said.status, &said.json()["client_id"]), (200, &json!(client)), "{}", said.text);
    }
    roles.stop().await;
}

#[tokio::test]
async fn a_renamed_column_refuses_and_serves_again_under_its_name() {
    let Some(mut real) = real(false).await else { return };
    let roles = real.roles().await;
    assert_eq!(roles.store(&sample("a")).await.status, 201);
    for column in ["access_token", "scopes", "client_id"] {
        real.rename(column, "renamed_by_hand").await;
        let refused = roles.store(&sample("b")).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"), "{column}: {}", refused.text);
        assert!(refused.message().contains(column), "{}", refused.text);
        assert_eq!(roles.get(roles.internal, "/readyz").await.status, 503, "{column}");
        real.rename("renamed_by_hand", column).await;
        assert_eq!(token(&roles, "a").await.0, 200, "{column} is back");
        assert_eq!(real.rows().await.len(), 1, "{column}: nothing that was refused is there");
    }
    roles.stop().await;
}

#[tokio::test]
async fn of_64_first_writes_by_two_processes_one_makes_the_row() {
    let Some(mut real) = real(false).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let variables = real.variables();
    let path = folder.path().to_owned();
    let started = tokio::task::spawn_blocking(move || {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        [(); 2].map(|()| Served::connect(&path, &variables))
    });
    let [(one, first), (two, second)] = started.await.unwrap();
    let body = sample("racing").to_string();
    let posts = (0..64).map(|n| {
        let port = if n % 2 == 0 { first } else { second };
        let request = real.http.post(format!("http://127.0.0.1:{port}/api/credentials")).header("x-api-key", API_KEY);
        answer(request.header("content-type", "application/json").body(body.clone()))
    });
    let mut statuses: Vec<u16> = join_all(posts).await.iter().map(|said| said.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[62], statuses[63]), (200, 200, 201), "{statuses:?}");
    real.find_table().await;
    real.row("racing").await;
    drop((one, two));
}

#[tokio::test]
async fn bootstrap_sets_a_nocodb_up_from_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(real) = real(false).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("nocodb+{}", real.url);
    let title = format!("made by test {}", real.base);
    let all = [
        ("AIVIARY__STORE__URL", url.as_str()),
        ("AIVIARY__STORE__BASE", &title),
        ("NOCODB_TOKEN_FILE", "nocodb_token"),
        ("NC_ADMIN_EMAIL", &real.email),
        ("NC_ADMIN_PASSWORD", &real.password),
    ];
    let mut wrong = all;
    wrong[4].1 = "Not-the-password-1";
    let (code, _, err) = run(folder.path(), &["store", "init", "--bootstrap"], &wrong, "").await;
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("does not let this administrator sign in") && !err.contains("Not-the-password"), "{err}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left behind");

    let (code, out, err) = run(folder.path(), &["store", "init", "--bootstrap"], &all, "").await;
    assert_eq!(code, 0, "{out}{err}");
    for said in
        [format!("made base {title:?}"), "made an API token".to_owned(), "made table \"meta_credentials\"".to_owned()]
    {
        assert!(out.contains(&said), "{said}: {out}");
    }
    let file = folder.path().join("nocodb_token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let made = std::fs::read_to_string(&file).unwrap();
    assert!(!out.contains(made.trim()) && !err.contains(made.trim()));
    let (code, out, _) = run(folder.path(), &["store", "init", "--bootstrap"], &all, "").await;
    assert!(code == 0 && out.contains("kept the API token"), "{out}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), made);

    let (code, _, err) = run(folder.path(), &["credential", "add", "--client", "a"], &all, "EAABtoken").await;
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = run(folder.path(), &["check", "--online", "connect"], &all, "").await;
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = run(folder.path(), &["store", "copy", "--to", "sqlite:there.db"], &all, "").await;
    assert_eq!((code, out.as_str()), (0, "copied a\n"), "{err}");
    let (code, out, err) =
        run(folder.path(), &["credential", "list"], &[("AIVIARY__STORE__URL", "sqlite:there.db")], "").await;
    assert!(code == 0 && out.starts_with("a  facebook"), "{out}{err}");
}

/// What NocoDB acknowledged through us stays, whatever happens to it.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_nocodb_is_killed_or_restarted_under_load() {
    if std::env::var_os("AIVIARY_NOCODB_URL").is_none() {
        eprintln!("skipped: no NocoDB here; `make test-nocodb` runs this with one");
        return;
    }
    let _alone = IN_USE.write().await;
    let mut real = real(true).await.unwrap();
    let roles = Arc::new(real.roles().await);
    let stop = tokio_util::sync::CancellationToken::new();
    let (acknowledged, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (roles, stop) = (roles.clone(), stop.clone());
            let (acknowledged, refused) = (acknowledged.clone(), refused.clone());
            tokio::spawn(async move {
                // What the client's row must hold: the last acknowledged token, or a later one whose answer was lost.
                let mut last: Vec<(String, Vec<String>)> = Vec::new();
                let mut number = 0;
                while !stop.is_cancelled() {
                    let client = format!("writer{writer}-{}", number % 12);
                    let token = format!("EAAB{writer}x{number}");
                    number += 1;
                    let mut body = sample(&client);
                    body["access_token"] = json!(token);
                    let said = roles.store(&body).await;
                    let kept = match last.iter_mut().find(|(name, _)| *name == client) {
                        Some((_, kept)) => kept,
                        None => {
                            last.push((client, Vec::new()));
                            &mut last.last_mut().unwrap().1
                        }
                    };
                    if matches!(said.status, 200 | 201) {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                        kept.clear();
                        kept.push(token);
                    } else {
                        assert_eq!(said.status, 503, "{}", said.text);
                        refused.fetch_add(1, Ordering::SeqCst);
                        if !kept.is_empty() {
                            kept.push(token);
                        }
                    }
                }
                last
            })
        })
        .collect();
    for how in ["kill", "stop", "kill"] {
        let before = acknowledged.load(Ordering::SeqCst);
        until(|| acknowledged.load(Ordering::SeqCst) >= before + 20).await;
        real.script(how).await;
        let seen = refused.load(Ordering::SeqCst);
        until(|| refused.load(Ordering::SeqCst) > seen).await;
        let begun = Instant::now();
        real.script("start").await;
        let back = acknowledged.load(Ordering::SeqCst);
        until(|| acknowledged.load(Ordering::SeqCst) > back).await;
        eprintln!(
            "{how}: writes are acknowledged again {:.1} s after its start was asked for",
            begun.elapsed().as_secs_f64()
        );
    }
    stop.cancel();
    let mut wrong = Vec::new();
    for writer in writers {
        for (client, kept) in writer.await.unwrap() {
            let now = token(&roles, &client).await;
            let fits = kept.is_empty() || (now.0 == 200 && kept.contains(&now.1));
            if !fits {
                wrong.push(format!("{client}: {now:?}, and not one of {kept:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut clients: Vec<String> =
        real.rows().await.iter().map(|row| row["client_id"].as_str().unwrap().to_owned()).collect();
    let rows = clients.len();
    clients.sort();
    clients.dedup();
    assert_eq!(clients.len(), rows, "nothing is stored twice");
    eprintln!(
        "{} writes acknowledged, {} refused, on {}",
        acknowledged.load(Ordering::SeqCst),
        refused.load(Ordering::SeqCst),
        real.db
    );
    Arc::into_inner(roles).unwrap().stop().await;
}

/// What connect acknowledged is in NocoDB, wherever in its work connect itself is killed.
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_connect_is_killed_under_load() {
    let Some(mut real) = real(false).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let (path, variables) = (folder.path().to_owned(), real.variables());
        tokio::task::spawn_blocking(move || {
            let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            Served::connect(&path, &variables)
        })
    };
    let rounds = if std::env::var_os("AIVIARY_SOAK").is_some_and(|value| value == "1") { 200 } else { 20 };
    // For each client the tokens of which its row may hold one: the last acknowledged, and later ones without answer.
    let mut kept: Vec<Vec<String>> = vec![Vec::new(); 8];
    let mut ever = [false; 8];
    let mut acknowledged = 0;
    for round in 0..rounds {
        let (served, port) = start().await.unwrap();
        let done = AtomicU32::new(0);
        let due = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), round) % 24;
        let mut dying = Some(served);
        let writers = join_all(kept.iter_mut().zip(&mut ever).enumerate().map(|(writer, (kept, ever))| {
            let (http, done) = (&real.http, &done);
            async move {
                for number in 0.. {
                    let token = format!("EAAB{writer}x{round}x{number}");
                    let mut body = sample(&format!("killed{writer}"));
                    body["access_token"] = json!(token);
                    kept.push(token.clone());
                    let request = http.post(format!("http://127.0.0.1:{port}/api/credentials"));
                    let request = request.header("x-api-key", API_KEY).header("content-type", "application/json");
                    // No answer: it was killed.
                    let Ok(said) = request.body(body.to_string()).send().await else { return };
                    assert!(said.status().is_success(), "{said:?}");
                    done.fetch_add(1, Ordering::SeqCst);
                    *kept = vec![token];
                    *ever = true;
                }
            }
        }));
        let killer = async {
            until(|| u64::from(done.load(Ordering::SeqCst)) >= due).await;
            dying.take().unwrap().signal("KILL");
        };
        tokio::join!(writers, killer);
        acknowledged += done.load(Ordering::SeqCst);

        let (_served, port) = start().await.unwrap();
        for (writer, kept) in kept.iter().enumerate() {
            let url = format!("http://127.0.0.1:{port}/api/credentials/token?client_id=killed{writer}");
            let said = answer(real.http.get(url)).await;
            let token = if said.status == 200 {
                said.json()["access_token"].as_str().unwrap().to_owned()
            } else {
                String::new()
            };
            let never = said.status == 404 && !ever[writer];
            assert!(
                kept.contains(&token) || never,
                "round {round}, writer {writer}: {} and not one of {kept:?}",
                said.text
            );
        }
    }
    real.find_table().await;
    let mut clients: Vec<String> =
        real.rows().await.iter().map(|row| row["client_id"].as_str().unwrap().to_owned()).collect();
    let rows = clients.len();
    clients.sort();
    clients.dedup();
    assert_eq!(clients.len(), rows, "nothing is stored twice");
    let (code, out, err) = run(folder.path(), &["audit", "verify"], &[], "").await;
    assert_eq!(code, 0, "{out}{err}");
    eprintln!("connect killed {rounds} times, {acknowledged} writes acknowledged, none lost, on {}", real.db);
}

/// Gives others the thread until `holds`; bounded.
async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it happens");
}
