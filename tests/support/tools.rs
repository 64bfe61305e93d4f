//! Callers of the MCP roles in both envelopes, and what every answer of theirs keeps to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiviary::platforms::Platform;
use aiviary::roles::sandbox::{self, Fault};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::process::reserved;
use super::{Answer, Roles, answer, logs, sample};

/// What an MCP client says that it takes.
pub const BOTH: &str = "application/json, text/event-stream";

/// The path of one client.
pub fn path_of(client: &str) -> String {
    format!("/clients/{client}/mcp")
}

/// A credential whose accounts meet `fault` always.
pub fn faulty(fault: &Fault) -> Value {
    let mut body = sample(fault.name);
    body["instagram_business_account_id"] = fault.ig_account().into();
    body["ad_account_id"] = fault.ad_account().into();
    body
}

/// A credential with some members changed.
pub fn with(client: &str, changes: Value) -> Value {
    let mut body = sample(client);
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The sample business by Instagram Login.
pub fn by_instagram_login(client: &str) -> Value {
    json!({
        "client_id": client,
        "access_token": sandbox::INSTAGRAM_TOKEN,
        "instagram_business_account_id": sandbox::IG_ACCOUNT,
        "login": "instagram",
        "token_expires_at": "2099-01-01T00:00:00Z",
    })
}

impl Roles {
    /// Where a platform's tools are.
    pub fn of(&self, platform: Platform) -> SocketAddr {
        match platform {
            Platform::Instagram => self.instagram,
            Platform::MetaAds => self.meta_ads,
        }
    }

    /// Stores a credential, which must work.
    pub async fn keep(&self, body: &Value) {
        let stored = self.store(body).await;
        assert_eq!(stored.status, 201, "{body}: {}", stored.text);
    }

    /// A JSON-RPC message as clients of the revisions of 2025 send it.
    pub async fn rpc(&self, at: SocketAddr, path: &str, body: &Value) -> Answer {
        let request = self.http.post(format!("http://{at}{path}")).header("accept", BOTH);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// `tools/call`, as its `result`.
    pub async fn tool(&self, at: SocketAddr, path: &str, name: &str, arguments: &Value) -> Value {
        let params = json!({"name": name, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
        let came = self.rpc(at, path, &body).await;
        assert_eq!(came.status, 200, "{}", came.text);
        let came = came.json();
        assert_eq!(came["id"], 7, "{came}");
        assert!(came["result"].is_object(), "{name}: {came}");
        came["result"].clone()
    }

    /// A plain call that must succeed: no error, no list at the root, JSON by its type.
    pub async fn value(&self, at: SocketAddr, path: &str, name: &str, arguments: &Value) -> Value {
        let body = json!({"method": name, "params": arguments}).to_string();
        let came = self.post_mcp(at, path, body).await;
        assert_eq!(came.status, 200, "{name} {arguments}: {}", came.text);
        assert_eq!(came.header("content-type"), Some("application/json"));
        let value = came.json();
        assert!(value.is_object() && value.get("error").is_none(), "{value}");
        value
    }

    /// An Instagram tool for the client.
    pub async fn ig(&self, client: &str, name: &str, arguments: Value) -> Value {
        self.value(self.instagram, &path_of(client), name, &arguments).await
    }

    /// The same, with how many calls of Graph it cost.
    pub async fn counted(&self, client: &str, name: &str, arguments: Value) -> (Value, u64) {
        let before = self.graph_seen.call_count();
        let value = self.ig(client, name, arguments).await;
        (value, self.graph_seen.call_count() - before)
    }

    /// A refused plain call of an Instagram tool.
    pub async fn ig_refused(&self, client: &str, name: &str, arguments: Value) -> Answer {
        let body = json!({"method": name, "params": arguments}).to_string();
        let came = self.post_mcp(self.instagram, &path_of(client), body).await;
        assert_failure(&came);
        came
    }

    /// How often Graph was asked about this id.
    pub fn asked_about(&self, id: &str) -> usize {
        self.graph_seen.calls().iter().filter(|call| call.contains(id)).count()
    }

    /// A list of the sandbox itself, as Graph would give it to the sample's token.
    pub async fn graph_ids(&self, edge: &str) -> Vec<String> {
        let url = format!("http://{}/v26.0/{edge}", self.sandbox);
        let came = answer(self.http.get(url).bearer_auth(sandbox::TOKEN)).await.json();
        let rows = came["data"].as_array().unwrap_or_else(|| panic!("{came}"));
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The same refusal in both envelopes, as its plain form.
    pub async fn refused(&self, at: SocketAddr, path: &str, name: &str, arguments: &Value) -> Answer {
        let plain = self.post_mcp(at, path, json!({"method": name, "params": arguments}).to_string()).await;
        assert_failure(&plain);
        let result = self.tool(at, path, name, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "{result}");
        assert_eq!(result["content"][0]["text"], format!("{} [{}]", plain.message(), plain.code()));
        assert!(result.get("structuredContent").is_none_or(Value::is_null), "{result}");
        plain
    }
}

/// What every plain failure is: known members, one line, never 401 nor 403, and nobody's token.
pub fn assert_failure(came: &Answer) {
    assert_eq!(came.header("content-type"), Some("application/json"), "{}", came.text);
    assert_eq!(came.header("cache-control"), Some("no-store"));
    assert!(!matches!(came.status, 200..=399 | 401 | 403), "{}: {}", came.status, came.text);
    let body = came.json();
    assert_eq!(body.as_object().map(Map::len), Some(1), "{body}");
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
    for (name, value) in error {
        let fits = match name.as_str() {
            "code" => value.as_str().is_some_and(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')),
            "message" => value.as_str().is_some_and(|text| !text.is_empty() && !text.contains(['\n', '\r'])),
            "retryable" => value.is_boolean(),
            "retry_after_s" => value.as_u64().is_some_and(|seconds| seconds > 0),
            "graph" => value["code"].is_i64() && value.get("subcode").is_none_or(Value::is_i64),
            _ => false,
        };
        assert!(fits, "{name} of {body}");
    }
    for name in ["code", "message", "retryable"] {
        assert!(error.contains_key(name), "{name} in {body}");
    }
    let header = came.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert_eq!(header, error.get("retry_after_s").and_then(Value::as_u64), "{body}");
    assert_clean(&came.text);
}

/// No token of the sandbox stands in `text`; all of them begin alike.
pub fn assert_clean(text: &str) {
    for token in ["EAAsandbox", "IGAAsandbox", sandbox::APP_SECRET, "access_token="] {
        assert!(!text.contains(token), "{token} in {text}");
    }
}

/// The same of everything that was logged.
pub fn assert_clean_log() {
    assert_clean(&logs().text());
}

/// Checks `value` against the part of JSON Schema that our tools write. Gives where it does not fit.
pub fn misfit(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        // Of a published member only the name is told.
        _ if schema.as_object().is_some_and(Map::is_empty) => return None,
        other => return Some(format!("{at}: the schema's type is {other}")),
    };
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    };
    if !kinds.iter().any(|kind| is(kind)) {
        return Some(format!("{at}: {value} is none of {kinds:?}"));
    }
    if let (Some(words), false) = (schema["enum"].as_array(), value.is_null())
        && !words.contains(value)
    {
        return Some(format!("{at}: {value} is none of {words:?}"));
    }
    let bound = |name: &str| schema[name].as_f64();
    if let Some(number) = value.as_f64()
        && (bound("minimum").is_some_and(|least| number < least) || bound("maximum").is_some_and(|most| number > most))
    {
        return Some(format!("{at}: {value} is out of bounds"));
    }
    if let Some(items) = value.as_array() {
        if schema["maxItems"].as_u64().is_some_and(|most| items.len() as u64 > most) {
            return Some(format!("{at}: too many items"));
        }
        let one = schema.get("items");
        return items.iter().enumerate().find_map(|(i, item)| misfit(one?, item, &format!("{at}[{i}]")));
    }
    let members = value.as_object()?;
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = missing.into_iter().find(|name| !members.contains_key(*name)) {
        return Some(format!("{at}: {name} is missing"));
    }
    members.iter().find_map(|(name, member)| match schema["properties"].get(name) {
        Some(schema) => misfit(schema, member, &format!("{at}.{name}")),
        None if schema["additionalProperties"] == false => Some(format!("{at}: {name} is not known")),
        None => None,
    })
}

/// An HTTP server that answers what a test says, one request a connection.
pub struct Stub {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// The status of an answer that never comes: the connection is held until the caller gives it up.
    pub const NEVER: u16 = 0;

    /// `answer` gets the request line and the body, and gives status and JSON.
    pub async fn start(answer: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), log.clone()));
            }
        });
        Self { url, seen }
    }

    /// The request lines so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&str, &str) -> (u16, String)>,
    seen: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|n| n.trim().parse::<usize>().ok())
        });
        if body.len() >= length.unwrap_or_default() {
            break (head.to_owned(), body.to_owned());
        }
    };
    let line = head.lines().next().unwrap_or_default().to_owned();
    let (status, text) = answer(&line, &body);
    seen.lock().unwrap().push(line);
    if status == Stub::NEVER {
        while stream.read_buf(&mut bytes).await.ok()? > 0 {}
        return None;
    }
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close");
    let whole = format!("{head}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(whole.as_bytes()).await.ok()
}

/// The URL of a place where nobody listens.
pub fn nobody() -> String {
    format!("http://{}", reserved())
}

/// Sends bytes as they are and reads until the server closes; unlike [`super::raw`] it stays for the answer.
pub async fn exchange(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    // A reset after the answer is as good as an end.
    let _ = tokio::time::timeout(Duration::from_secs(20), end).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}
