//! A far end that speaks as much of NocoDB 0.301.3 as a store needs, and fails when it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use aiviary::secret::Secret;
use aiviary::store::{Settings, Url};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub const TOKEN: &str = "fake-token";
/// Every column that a credential has.
pub const COLUMNS: [&str; 11] = [
    "client_id",
    "access_token",
    "instagram_business_account_id",
    "facebook_page_id",
    "ad_account_id",
    "meta_user_id",
    "login",
    "token_expires_at",
    "scopes",
    "issued_at",
    "updated_at",
];

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Meta,
    Read,
    Create,
    Update,
    Delete,
}

/// How the far end fails one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not at all.
    None,
    /// An answer as it stands, and nothing done.
    Answer(&'static str),
    /// Nothing done, the connection closed.
    Cut,
    /// Done, and the connection closed in the middle of the answer.
    DoneThenCut,
    /// Done, and answered 502, as a proxy does.
    DoneThen502,
    /// Done, answered when [`Fake::release`] says so.
    Hang,
    /// Every row there is, whatever the filter.
    AllRows,
}

#[derive(Default)]
pub struct State {
    pub columns: Vec<(String, String)>,
    pub rows: Vec<(u64, Map<String, Value>)>,
    pub last: u64,
    pub has_table: bool,
    /// Fails the next requests of that kind, in order.
    pub faults: VecDeque<(Kind, Fault)>,
    /// Fails every request.
    pub outage: Option<Fault>,
    /// Keeps `client_id` unique, as on PostgreSQL.
    pub unique: bool,
    /// Gives the numbers of rows as text.
    pub text_numbers: bool,
    /// Cuts the last character off what is written to that column.
    pub spoils: Option<String>,
    /// Method and target of every request.
    pub seen: Vec<String>,
}

#[derive(Clone)]
pub struct Fake {
    pub address: std::net::SocketAddr,
    state: Arc<Mutex<State>>,
    released: Arc<Notify>,
    hanging: Arc<Notify>,
}

impl Fake {
    /// With the table as `store init` makes it.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let columns = COLUMNS.map(|name| (name.to_owned(), "SingleLineText".to_owned())).to_vec();
        let state = Arc::new(Mutex::new(State { columns, has_table: true, ..State::default() }));
        let address = listener.local_addr().unwrap();
        let fake = Self { address, state, released: Arc::default(), hanging: Arc::default() };
        let serving = fake.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fake = serving.clone();
                tokio::spawn(async move { fake.serve(stream).await });
            }
        });
        fake
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn settings(&self) -> Settings {
        Settings {
            url: format!("nocodb+http://{}", self.address).parse::<Url>().unwrap(),
            base: "aiviary".to_owned(),
            table: "meta_credentials".to_owned(),
            token: Some(Arc::new(Secret::new(TOKEN.to_owned()))),
        }
    }

    pub fn fail(&self, kind: Kind, fault: Fault) {
        self.state().faults.push_back((kind, fault));
    }

    /// Waits until a request hangs.
    pub async fn hangs(&self) {
        self.hanging.notified().await;
    }

    pub fn release(&self) {
        self.released.notify_one();
    }

    /// A row put there by hand.
    pub fn insert(&self, client: &str, cell: &str) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        let mut row = Map::new();
        row.insert("client_id".to_owned(), json!(client));
        row.insert("access_token".to_owned(), json!(cell));
        state.rows.push((number, row));
        number
    }

    /// How many requests of that method were seen.
    pub fn count(&self, method: &str) -> usize {
        self.state().seen.iter().filter(|line| line.starts_with(method)).count()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((method, target, token, body)) = request(&mut stream).await {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let kind = match (method.as_str(), path.ends_with("/records")) {
                (_, false) => Kind::Meta,
                ("GET", true) => Kind::Read,
                ("POST", true) => Kind::Create,
                ("PATCH", true) => Kind::Update,
                (_, true) => Kind::Delete,
            };
            let fault = {
                let mut state = self.state();
                state.seen.push(format!("{method} {target}"));
                let due = state.faults.iter().position(|(of, _)| *of == kind);
                state.outage.clone().or_else(|| due.and_then(|due| state.faults.remove(due)).map(|(_, fault)| fault))
            };
            let done = |all| {
                if token != TOKEN {
                    return (401, json!({ "error": "ERR_AUTHENTICATION_REQUIRED", "message": "Invalid token" }));
                }
                self.state().answer(&method, path, &decoded(query), &body, all)
            };
            let answer = match fault {
                Some(Fault::Answer(text)) => {
                    stream.write_all(text.as_bytes()).await.unwrap();
                    return;
                }
                Some(Fault::Cut) => return,
                Some(Fault::DoneThenCut) => {
                    let text = whole(&done(false));
                    // The peer may be gone already.
                    let _ = stream.write_all(&text.as_bytes()[..text.len() - 3]).await;
                    return;
                }
                Some(Fault::DoneThen502) => {
                    done(false);
                    (502, json!({ "message": "Bad Gateway" }))
                }
                Some(Fault::Hang) => {
                    self.hanging.notify_one();
                    self.released.notified().await;
                    done(false)
                }
                Some(Fault::AllRows) => done(true),
                Some(Fault::None) | None => done(false),
            };
            if stream.write_all(whole(&answer).as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn whole((status, body): &(u16, Value)) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String, String, Vec<u8>)> {
    let (mut first, mut length, mut token) = (None, 0, String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match (&first, line.split_once(": ")) {
            (None, _) => first = Some(line.to_owned()),
            (Some(_), Some(("content-length", value))) => length = value.parse().unwrap(),
            (Some(_), Some(("xc-token" | "xc-auth", value))) => token = value.to_owned(),
            (Some(_), None) if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let line = first?;
    let mut parts = line.split(' ');
    Some((parts.next()?.to_owned(), parts.next()?.to_owned(), token, body))
}

fn decoded(query: &str) -> Map<String, Value> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned();
        Some((name.to_owned(), json!(value)))
    };
    query.split('&').filter_map(pair).collect()
}

impl State {
    fn answer(&mut self, method: &str, path: &str, query: &Map<String, Value>, body: &[u8], all: bool) -> (u16, Value) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, path) {
            ("GET", "/api/v2/meta/bases") => (200, json!({ "list": [{ "id": "p1", "title": "aiviary" }] })),
            ("GET", "/api/v2/meta/bases/p1/tables") if !self.has_table => (200, json!({ "list": [] })),
            ("GET", "/api/v2/meta/bases/p1/tables") => {
                (200, json!({ "list": [{ "id": "m1", "title": "meta_credentials" }] }))
            }
            ("POST", "/api/v2/meta/bases/p1/tables") => {
                self.has_table = true;
                self.columns = body["columns"].as_array().unwrap()[1..].iter().map(column).collect();
                (200, json!({ "id": "m1" }))
            }
            ("GET", "/api/v2/meta/tables/m1") => {
                let mut columns = vec![json!({ "id": "c0", "title": "Id", "uidt": "ID", "pk": 1 })];
                columns
                    .extend(self.columns.iter().map(|(title, uidt)| json!({ "title": title, "uidt": uidt, "pk": 0 })));
                (200, json!({ "id": "m1", "columns": columns }))
            }
            ("POST", "/api/v2/meta/tables/m1/columns") => {
                self.columns.push(column(&body));
                (200, json!({}))
            }
            ("GET", "/api/v2/tables/m1/records/count") => (200, json!({ "count": self.rows.len() })),
            ("GET", "/api/v2/tables/m1/records") => self.read(query, all),
            ("POST", "/api/v2/tables/m1/records") => {
                let taken = self.rows.iter().any(|(_, row)| row.get("client_id") == body.get("client_id"));
                if self.unique && taken {
                    return (400, json!({ "error": "FIELD_UNIQUE_CONSTRAINT_VIOLATION", "value": "a" }));
                }
                self.last += 1;
                let row = self.known(&body);
                self.rows.push((self.last, row));
                (200, json!({ "Id": self.number(self.last) }))
            }
            ("PATCH", "/api/v2/tables/m1/records") => {
                let known = self.known(&body);
                match self.rows.iter_mut().find(|(number, _)| body["Id"] == *number) {
                    Some((_, row)) => {
                        row.extend(known);
                        (200, json!({ "Id": body["Id"] }))
                    }
                    None => (404, json!({ "error": "ERR_RECORD_NOT_FOUND", "message": "Record not found" })),
                }
            }
            ("DELETE", "/api/v2/tables/m1/records") => {
                let gone: Vec<&Value> = body.as_array().unwrap().iter().map(|row| &row["Id"]).collect();
                self.rows.retain(|(number, _)| !gone.contains(&&json!(number)));
                (200, body)
            }
            _ => (404, json!({ "msg": format!("Cannot {method} {path}") })),
        }
    }

    /// Only columns that there are: others are dropped without a word, as NocoDB does. A DateTime keeps whole seconds.
    fn known(&self, body: &Value) -> Map<String, Value> {
        let kept = |(name, value): (&String, &Value)| {
            let (_, uidt) = self.columns.iter().find(|(title, _)| title == name)?;
            let text = value.as_str().filter(|text| self.spoils.as_deref() == Some(name) && text.len() > 1);
            let value = match (text, value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok())) {
                (Some(text), _) => json!(text[..text.len() - 1]),
                (None, Some(at)) if uidt == "DateTime" => json!(at.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string()),
                _ => value.clone(),
            };
            Some((name.clone(), value))
        };
        body.as_object().unwrap().iter().filter_map(kept).collect()
    }

    fn read(&self, query: &Map<String, Value>, all: bool) -> (u16, Value) {
        let text = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default();
        let fields: Vec<&str> = text("fields").split(',').collect();
        let there = |name: &&str| *name == "Id" || self.columns.iter().any(|(title, _)| title == *name);
        // A renamed column is left out of `fields` without a word, and refused in `sort`.
        if let Some(field) = text("sort").split(',').find(|name| !there(name)) {
            return (404, json!({ "error": "ERR_FIELD_NOT_FOUND", "message": format!("Field '{field}' not found") }));
        }
        let fits = |(number, row): &&(u64, Map<String, Value>)| match text("where") {
            "" => true,
            _ if all => true,
            filter => match filter.strip_prefix("@(client_id,eq,\"").and_then(|rest| rest.strip_suffix("\")")) {
                Some(client) => row["client_id"] == client,
                None => {
                    *number
                        > filter
                            .strip_prefix("@(Id,gt,")
                            .and_then(|rest| rest.strip_suffix(')'))
                            .unwrap()
                            .parse()
                            .unwrap()
                }
            },
        };
        let shown = |(number, row): &(u64, Map<String, Value>)| {
            let cell = |name: &&str| (*name).to_owned();
            let value = |name: &&str| {
                if *name == "Id" { self.number(*number) } else { row.get(*name).cloned().unwrap_or_default() }
            };
            Value::Object(fields.iter().filter(|name| there(name)).map(|name| (cell(name), value(name))).collect())
        };
        let list: Vec<Value> = self.rows.iter().filter(fits).take(text("limit").parse().unwrap()).map(shown).collect();
        (200, json!({ "list": list }))
    }

    fn number(&self, number: u64) -> Value {
        if self.text_numbers { json!(number.to_string()) } else { json!(number) }
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        self.columns.iter_mut().find(|(title, _)| title == from).unwrap().0 = to.to_owned();
        for (_, row) in &mut self.rows {
            if let Some(cell) = row.remove(from) {
                row.insert(to.to_owned(), cell);
            }
        }
    }
}

fn column(body: &Value) -> (String, String) {
    (body["title"].as_str().unwrap().to_owned(), body["uidt"].as_str().unwrap().to_owned())
}
