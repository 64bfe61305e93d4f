//! HTTP/1.1 as bytes: requests that no client library would send, and answers exactly as they came.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What every token of the tests holds, so that each answer can be searched for it.
pub const TOKEN_MARK: &str = "EAABtest";
/// Longer than any limit of the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    pub head: String,
    pub body: String,
}

impl RawAnswer {
    pub fn status(&self) -> u16 {
        super::status(&self.head)
    }

    /// The values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the error, empty where the body is no error.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Everything but the date.
    pub fn without_date(&self) -> String {
        let lines = self.head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
        format!("{}\n{}", lines.collect::<Vec<_>>().join("\n"), self.body)
    }

    /// Whether the server says that it closes.
    pub fn closes(&self) -> bool {
        self.all("connection") == ["close"]
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub async fn open(at: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(at).await.unwrap(), read: Vec::new() }
    }

    /// Sends bytes; a server that has closed already does not matter here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` when the server closed.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut answer = RawAnswer { head, body: String::new() };
        let length = answer.header("content-length").map_or(0, |text| text.parse::<usize>().unwrap());
        while self.read.len() < length && self.more().await {}
        // A HEAD is answered with a length and without a body.
        let length = length.min(self.read.len());
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Some(answer)
    }

    /// Whether anything more came; false at the end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("an answer or an end");
        // A reset is an end.
        let read = read.unwrap_or(0);
        self.read.extend_from_slice(&buffer[..read]);
        read > 0
    }

    /// All answers up to the end of the connection.
    pub async fn answers(&mut self) -> Vec<RawAnswer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        answers
    }
}

/// A request; `Host` and `Content-Length` are added where `headers` has none.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let has = |name: &str| headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !has("host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// Sends one request on a connection of its own. What every answer must carry is asserted of each.
pub async fn ask(at: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> RawAnswer {
    let mut headers = headers.to_vec();
    headers.push(("Connection", "close"));
    let mut wire = Wire::open(at).await;
    wire.send(request(method, target, &headers, body)).await;
    let answers = wire.answers().await;
    let [answer] = answers.as_slice() else { panic!("{method} {target}: {answers:?}") };
    assert_dressed(answer);
    let is_grant = method == "GET" && target.starts_with("/api/credentials/token") && answer.status() == 200;
    assert!(is_grant || !answer.body.contains(TOKEN_MARK), "{method} {target} answered with a token: {answer:?}");
    answer.clone()
}

/// What every answer of ours carries, and what none does.
pub fn assert_dressed(answer: &RawAnswer) {
    assert_eq!(answer.all("cache-control"), ["no-store"], "{answer:?}");
    assert_eq!(answer.all("x-content-type-options"), ["nosniff"], "{answer:?}");
    assert_eq!(answer.all("date").len(), 1, "{answer:?}");
    let absent = ["server", "x-powered-by", "access-control-allow-origin", "set-cookie", "transfer-encoding"];
    for name in absent {
        assert_eq!(answer.header(name), None, "{name} in {answer:?}");
    }
    if answer.status() >= 400 && answer.header("content-length") != Some("0") {
        assert_eq!(answer.all("content-type"), ["application/json"], "{answer:?}");
    }
}
