//! What is reached through a socket alone: a role, and a store with its far end, all at work in the thread that asks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aiviary::clock::Clock;
use aiviary::credential::ClientId;
use aiviary::exposure::{Exposure, Listener, Rules};
use aiviary::graph;
use aiviary::platforms::Platform;
use aiviary::roles::mcp;
use aiviary::secret::Secret;
use aiviary::server::json;
use aiviary::store::{self, CredentialStore, Mode};
use aiviary::tool::Writes;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Both answers that MCP over HTTP may give.
const BOTH: &str = "application/json, text/event-stream";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An MCP role that no credential service answers: a request comes as far as its checked arguments.
struct Role {
    runtime: Runtime,
    at: SocketAddr,
    open: RefCell<Option<TcpStream>>,
}

thread_local! {
    // For the life of the process: at the end of a thread a runtime has nothing left to stand on.
    static ROLE: &'static Role = Box::leak(Box::new(Role::start()));
    static TABLE: &'static NocoDb = Box::leak(Box::new(NocoDb::start()));
}

/// Status and body of an answer.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn object(&self) -> Map<String, Value> {
        let said = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {said}", self.status))
    }
}

impl Role {
    fn start() -> Self {
        let runtime = runtime();
        let nobody = std::env::temp_dir().join("aiviary-nobody-listens-here.sock");
        let settings = mcp::Settings {
            platform: Platform::Instagram,
            catalogue: Platform::Instagram.catalogue(),
            writes: Writes::Off,
            tools: vec!["*".to_owned()],
            listeners: vec![Listener {
                at: "127.0.0.1:0".parse().expect("an address"),
                exposure: Exposure::Internal,
                key: "mcp.instagram.listen[0]".to_owned(),
            }],
            rules: Rules::default(),
            client: None,
            connect: mcp::ConnectAt::Unix(nobody.clone()),
            connect_key: None,
            keys: None,
            app_secret: None,
            state: nobody,
            graph: graph::Settings::default(),
            drain: std::time::Duration::ZERO,
            clock: Clock::system(),
        };
        let running = runtime.block_on(mcp::start(settings)).expect("the role starts");
        let at = running.listening().addresses()[0];
        runtime.spawn(running.serve(CancellationToken::new()));
        Self { runtime, at, open: RefCell::default() }
    }

    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            self.at,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let request = [request.as_bytes(), body].concat();
        self.runtime.block_on(async {
            if let Some(mut kept) = self.open.take() {
                // One that the server closed meanwhile is opened anew.
                if let Some(answer) = self.exchange(&mut kept, &request).await {
                    return self.keep(kept, answer);
                }
            }
            let mut opened = TcpStream::connect(self.at).await.expect("the role listens");
            opened.set_nodelay(true).expect("a socket");
            let answer = self.exchange(&mut opened, &request).await.expect("every request is answered");
            self.keep(opened, answer)
        })
    }

    fn keep(&self, stream: TcpStream, (answer, closes): (Answer, bool)) -> Answer {
        self.open.replace((!closes).then_some(stream));
        answer
    }

    /// The answer, and whether the server closes after it.
    async fn exchange(&self, stream: &mut TcpStream, request: &[u8]) -> Option<(Answer, bool)> {
        stream.write_all(request).await.ok()?;
        let mut came = Vec::new();
        let end = loop {
            if let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut came).await.unwrap_or(0) == 0 {
                assert!(came.is_empty(), "half an answer");
                return None;
            }
        };
        let body = came.split_off(end);
        let head = String::from_utf8(came).expect("a head is text").to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(header("transfer-encoding:"), None, "every answer has its length");
        let length = header("content-length:").map_or(0, |text| text.parse().expect("a length"));
        let mut answer = Answer { status: head[9..12].parse().expect("a status"), body };
        while answer.body.len() < length {
            assert_ne!(stream.read_buf(&mut answer.body).await.expect("the whole answer"), 0, "half an answer");
        }
        assert_eq!(answer.body.len(), length, "nothing behind an answer");
        Some((answer, header("connection:") == Some("close")))
    }
}

/// The body of a plain call: a refusal of the usual form, in one sentence, that says whether to try again.
pub fn plain_request(bytes: &[u8]) {
    let answer = ROLE.with(|role| role.post(&[("Accept", "application/json")], bytes));
    match json::object(bytes) {
        Ok(object) if object.contains_key("jsonrpc") => is_mcp(&object, &answer),
        _ => is_plain_refusal(&answer),
    }
}

/// A message of an MCP client, with the headers that its revision wants: an answer of JSON-RPC under the same id.
pub fn mcp_request(bytes: &[u8]) {
    let object = json::object(bytes).ok();
    let text = |pointer: [&str; 3]| {
        let mut value = object.as_ref()?.get(pointer[0])?;
        for name in pointer[1..].iter().filter(|name| !name.is_empty()) {
            value = value.get(name)?;
        }
        value.as_str().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()))
    };
    let mut headers = vec![("Accept", BOTH)];
    if let Some(version) = text(["params", "_meta", "io.modelcontextprotocol/protocolVersion"]) {
        headers.push(("MCP-Protocol-Version", version));
        headers.extend(text(["method", "", ""]).map(|method| ("Mcp-Method", method)));
        headers.extend(text(["params", "name", ""]).map(|name| ("Mcp-Name", name)));
    }
    let answer = ROLE.with(|role| role.post(&headers, bytes));
    match &object {
        Some(object) if object.contains_key("jsonrpc") => is_mcp(object, &answer),
        Some(_) => is_plain_refusal(&answer),
        None => is_mcp(&Map::new(), &answer),
    }
}

fn is_plain_refusal(answer: &Answer) {
    let said = answer.object();
    assert!(matches!(answer.status, 400 | 404 | 409 | 422 | 503), "{} {said:?}", answer.status);
    let error = &said["error"];
    let (code, message) = (error["code"].as_str().expect("a code"), error["message"].as_str().expect("a message"));
    assert!(!code.is_empty() && error["retryable"].is_boolean(), "{said:?}");
    assert!(!message.chars().any(char::is_control) && message.len() < 4096, "{message:?}");
}

fn is_mcp(asked: &Map<String, Value>, answer: &Answer) {
    if answer.status == 202 && answer.body.is_empty() {
        return;
    }
    let said = answer.object();
    assert!(answer.status < 500, "{} {said:?}", answer.status);
    assert_eq!(said.get("jsonrpc"), Some(&json!("2.0")), "{said:?}");
    assert_ne!(said.contains_key("result"), said.contains_key("error"), "{said:?}");
    if let Some(error) = said.get("error") {
        let message = error["message"].as_str().expect("a message");
        assert!(error["code"].is_i64() && !message.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    }
    if answer.status == 200 {
        assert_eq!(said.get("id"), asked.get("id"), "an answer has the id of its request");
    }
}

/// A store on a far end that answers every question for rows with the bytes at hand.
struct NocoDb {
    runtime: Runtime,
    store: Arc<dyn CredentialStore>,
    rows: Arc<Mutex<Vec<u8>>>,
    client: ClientId,
}

const CLIENT: &str = "clienta";

impl NocoDb {
    fn start() -> Self {
        let runtime = runtime();
        let rows = Arc::new(Mutex::new(Vec::new()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let at = listener.local_addr().expect("a port");
        let given = rows.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(far_end(stream, given.clone()));
            }
        });
        let settings = store::Settings {
            url: format!("nocodb+http://{at}").parse().expect("an address"),
            base: String::new(),
            table: "meta_credentials".to_owned(),
            token: Some(Arc::new(Secret::new("a-token".to_owned()))),
        };
        let store = runtime.block_on(store::open(&settings, Mode::Existing)).expect("the store opens");
        Self { runtime, store, rows, client: CLIENT.parse().expect("a client id") }
    }
}

async fn far_end(mut stream: TcpStream, rows: Arc<Mutex<Vec<u8>>>) {
    let (mut asked, mut answer) = (Vec::new(), Vec::new());
    loop {
        asked.clear();
        while !asked.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8_lossy(&asked);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let body = match target.split('?').next().unwrap_or_default() {
            "/api/v2/meta/bases" => br#"{"list":[{"id":"b","title":"aiviary"}]}"#.to_vec(),
            "/api/v2/meta/bases/b/tables" => br#"{"list":[{"id":"t","title":"meta_credentials"}]}"#.to_vec(),
            "/api/v2/meta/tables/t" => columns().to_string().into_bytes(),
            _ => rows.lock().expect("no holder panics").clone(),
        };
        answer.clear();
        answer.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes());
        answer.extend(body);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn columns() -> Value {
    let text = ["client_id", "instagram_business_account_id", "facebook_page_id", "ad_account_id", "meta_user_id"];
    let text = text.into_iter().chain(["login", "issued_at", "updated_at"]).map(|name| (name, "SingleLineText"));
    let others = [("access_token", "LongText"), ("scopes", "LongText"), ("token_expires_at", "DateTime")];
    let mut all = vec![json!({ "title": "Id", "uidt": "ID", "pk": true })];
    all.extend(text.chain(others).map(|(title, uidt)| json!({ "title": title, "uidt": uidt })));
    json!({ "columns": all })
}

/// Rows as NocoDB answers them: the client that was asked for or nobody, no client twice, and errors of one line.
pub fn nocodb_rows(bytes: &[u8]) {
    TABLE.with(|table| {
        table.rows.lock().expect("no holder panics").splice(.., bytes.iter().copied());
        let rows = || {
            let answer: Value = serde_json::from_slice(bytes).expect("what was read is JSON");
            answer["list"].as_array().expect("rows").clone()
        };
        let of = |client: &str| rows().iter().filter(|row| row["client_id"] == client).count();
        match table.runtime.block_on(table.store.load(&table.client)) {
            Ok(Some(found)) => assert_eq!((found.binding.client.as_str(), of(CLIENT)), (CLIENT, 1)),
            Ok(None) => assert_eq!(of(CLIENT), 0),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
        }
        let Ok(all) = table.runtime.block_on(table.store.list()) else { return };
        for row in all {
            match row {
                Ok(found) => {
                    let client = found.binding.client.as_str();
                    assert_eq!(client.parse().as_ref(), Ok(&found.binding.client), "a client id reads back");
                    assert_eq!(of(client), 1, "{client}");
                }
                Err(malformed) => assert!(!malformed.to_string().chars().any(char::is_control), "{malformed}"),
            }
        }
    });
}
