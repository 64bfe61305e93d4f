//! Asks `serve connect` for a grant: no proxy, no redirects; the token lives for one call.

use std::time::Duration;

use hyper::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::ConnectAt;
use crate::api::{Grant, NamedClients};
use crate::credential::ClientId;
use crate::graph;
use crate::secret::Secret;
use crate::server::{Failure, Readiness};

/// How long connect may take: it answers from memory and its disk.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Grants asked at once. A workflow sends a request an item, a hundred within milliseconds, and a store over the network
/// takes its time for each: those that wait here do not run out of connect's.
const AT_ONCE: usize = 16;
/// How long a call waits for its turn; the rest of its time is Meta's.
const TURN_MAX: Duration = Duration::from_secs(20);
/// A grant with a long token, in bytes.
const GRANT_USUAL: usize = 8 << 10;
/// An answer of connect, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Nothing is stored for the client.
    #[error("{0}")]
    NotConnected(String),
    /// Several clients are stored and none is named.
    #[error("several clients are stored")]
    ClientRequired(NamedClients),
    /// The stored row does not open.
    #[error("{0}")]
    Unreadable(String),
    /// It does not answer, or cannot now; its words, where it had some.
    #[error("the credential service is not available: {0}")]
    Unavailable(String),
    /// It refuses this caller.
    #[error("the credential service refuses this server: {0}")]
    Refused(String),
}

/// The client of connect, for the life of the process.
pub struct Grants {
    http: reqwest::Client,
    base: String,
    key: Option<HeaderValue>,
    turns: Semaphore,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The key cannot be a header.
    #[error("CONNECT_SERVICE_KEY holds characters that no header can carry")]
    Key,
    /// The HTTP client cannot be made.
    #[error("the client of the credential service cannot be made")]
    Client(#[from] reqwest::Error),
}

impl Grants {
    /// Makes the client; nothing is connected yet.
    ///
    /// # Errors
    /// A key that cannot be sent, or a system without what TLS needs.
    pub fn new(at: &ConnectAt, key: Option<&Secret>) -> Result<Self, GrantsError> {
        graph::install_crypto_provider();
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(TIME_MAX)
            .tcp_nodelay(true);
        let (http, base) = match at {
            // Without TLS no certificates are needed, and minimal images have none.
            ConnectAt::Unix(path) => {
                (http.unix_socket(path.as_path()).tls_certs_only([]), "http://localhost".to_owned())
            }
            ConnectAt::Url(url) if url.starts_with("http://") => (http.tls_certs_only([]), url.clone()),
            ConnectAt::Url(url) => (http, url.clone()),
        };
        let key = key.map(|key| {
            // Of several keys the first is the newest.
            let newest = key.expose().split(',').next().unwrap_or_default().trim();
            let mut value = HeaderValue::from_str(&format!("Bearer {newest}")).map_err(|_| GrantsError::Key)?;
            value.set_sensitive(true);
            Ok::<_, GrantsError>(value)
        });
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { http: http.build()?, base, key: key.transpose()?, turns: Semaphore::new(AT_ONCE) })
    }

    /// The token and accounts of `client`, or of the only one stored.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn grant(&self, client: Option<&ClientId>) -> Result<Grant, GrantError> {
        let _turn = timeout(TURN_MAX, self.turns.acquire()).await.map_err(|_| self.silent())?;
        let query =
            client.map(|client| format!("?client_id={}", utf8_percent_encode(client.as_str(), NON_ALPHANUMERIC)));
        let (status, body) = self.get(&format!("/api/credentials/token{}", query.unwrap_or_default())).await?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body)
                .map_err(|_| GrantError::Unavailable("its answer is no grant".to_owned()));
        }
        Err(refusal(status, &body))
    }

    /// What connect's `/readyz` says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn readiness(&self) -> Result<Readiness, GrantError> {
        let (_, body) = self.get("/readyz").await?;
        parse(&body).ok_or_else(|| GrantError::Unavailable("its answer is not connect's".to_owned()))
    }

    async fn get(&self, target: &str) -> Result<(StatusCode, Zeroizing<Vec<u8>>), GrantError> {
        // reqwest's errors print the URL, which is ours and says nothing: the address is worth naming.
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                return self.silent();
            }
            GrantError::Unavailable(format!("it cannot be reached at {}", self.base))
        };
        let mut request = self.http.get(format!("{}{target}", self.base));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let mut response = request.send().await.map_err(failed)?;
        // As large as a grant is, so that no copy of the token is left behind by growing.
        let mut body = Zeroizing::new(Vec::with_capacity(GRANT_USUAL));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(GrantError::Unavailable("its answer is too large to be connect's".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }

    fn silent(&self) -> GrantError {
        GrantError::Unavailable(format!("it did not answer in time at {}", self.base))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn refusal(status: StatusCode, body: &[u8]) -> GrantError {
    let error: Value = parse(body).unwrap_or_default();
    let code = error.pointer("/error/code").and_then(Value::as_str).unwrap_or_default();
    let words = error.pointer("/error/message").and_then(Value::as_str).map(graph::one_line);
    let said = || words.clone().unwrap_or_else(|| format!("it answered {status}"));
    match (status, code) {
        (_, "not_found") if words.as_deref() != Some(Failure::NO_SUCH_PATH) => GrantError::NotConnected(said()),
        (_, "client_required") => {
            let named = error.get("error").and_then(|error| NamedClients::deserialize(error).ok());
            GrantError::ClientRequired(named.unwrap_or_default())
        }
        (_, "credential_unreadable") => GrantError::Unreadable(said()),
        // The right key is never slowed: whoever hears of too many failures has a wrong one.
        (StatusCode::UNAUTHORIZED, _) | (_, "too_many_failures") => {
            GrantError::Refused("set the same CONNECT_SERVICE_KEY for both".to_owned())
        }
        (StatusCode::NOT_FOUND, _) => {
            GrantError::Refused("mcp.connect_url must name an internal listener of serve connect".to_owned())
        }
        (status, _) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            GrantError::Refused(format!("{} (mcp.connect_url must name an internal listener of serve connect)", said()))
        }
        _ => GrantError::Unavailable(said()),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn answer(mut socket: TcpStream) {
        let body = r#"{"error":{"code":"not_found","message":"nothing is stored"}}"#;
        let mut request = [0; 4096];
        if socket.read(&mut request).await.is_ok() {
            let head = format!("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _gone = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn of_a_hundred_calls_at_once_few_ask_and_the_others_wait() {
        let connect = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = connect.local_addr().unwrap();
        let grants = Grants::new(&ConnectAt::Url(format!("http://{at}")), None).unwrap();
        let mut all = std::pin::pin!(join_all((0..100).map(|_| grants.grant(None))));
        // Polled first, so that whoever does not wait is in the queue before this connection.
        let last = tokio::select! {
            biased;
            _ = &mut all => panic!("nobody answered yet"),
            socket = TcpStream::connect(at) => socket.unwrap().local_addr().unwrap(),
        };
        let mut asking = Vec::new();
        loop {
            let (socket, peer) = connect.accept().await.unwrap();
            if peer == last {
                break;
            }
            asking.push(socket);
        }
        assert_eq!(asking.len(), AT_ONCE);
        let serve = async {
            asking.into_iter().for_each(|socket| drop(tokio::spawn(answer(socket))));
            loop {
                tokio::spawn(answer(connect.accept().await.unwrap().0));
            }
        };
        let results = tokio::select! {
            results = &mut all => results,
            () = serve => unreachable!(),
        };
        assert_eq!(results.len(), 100);
        for result in results {
            assert!(matches!(result, Err(GrantError::NotConnected(_))), "{result:?}");
        }
    }
}
