//! NocoDB's HTTP interface: one client for its life, bounded answers, and what each kind of refusal means.
//!
//! Seen on NocoDB 0.301.3; `docs/nocodb.md` tells what it does that its documentation does not.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::credential::GrammarError;
use crate::exposure::{self, BaseUrlError};
use crate::secret::Secret;

/// The largest answer that is read: one row with every cell as long as NocoDB lets it be (100 000 characters) fits.
const BODY_MAX_BYTES: usize = 8 << 20;
/// An idle connection is dropped before NocoDB does so after 5 s: a write on one that just closes loses its answer.
const IDLE: Duration = Duration::from_secs(4);

/// Why NocoDB did not do it, as far as can be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No connection: nothing was sent.
    #[error("NocoDB is not reachable")]
    Unreached(#[source] reqwest::Error),
    /// The connection ended before the answer did.
    #[error("the answer of NocoDB was cut off")]
    Cut(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("NocoDB did not answer in time")]
    Slow,
    /// 429.
    #[error("NocoDB asks for fewer requests{}", .0.as_ref().map(|after| format!(", Retry-After {after}")).unwrap_or_default())]
    Limited(Option<String>),
    /// 5xx.
    #[error("NocoDB answers {0}")]
    Server(StatusCode),
    /// 3xx: the token goes nowhere else.
    #[error("NocoDB answers {0}, a redirect, which is not followed; name its own address in `store.url`")]
    Redirect(StatusCode),
    /// 401 or 403.
    #[error("NocoDB does not accept the token ({0})")]
    Token(StatusCode),
    /// A page where data belongs: while NocoDB starts, every path answers so.
    #[error("NocoDB answers {0} with something that is not its data: it is starting, or this is not NocoDB")]
    NotData(StatusCode),
    /// Over the bound.
    #[error("the answer of NocoDB is too large")]
    TooLarge,
    /// Any other refusal: its code, never its words, which may repeat a cell.
    #[error("NocoDB refused ({status}{}{code})", if code.is_empty() { "" } else { " " })]
    Refused {
        /// The status.
        status: StatusCode,
        /// Member `error`, where there is one of the usual form.
        code: String,
    },
}

impl ApiError {
    /// Whether a write may have been done all the same.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Slow | Self::Server(_) | Self::TooLarge)
            || matches!(self, Self::NotData(status) if status.is_success())
    }

    /// Whether base, table or columns may be others than they were.
    pub fn may_have_moved(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether the column that must have one row per client had one already (PostgreSQL: v2 400, v3 409).
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "FIELD_UNIQUE_CONSTRAINT_VIOLATION")
    }
}

/// A base URL without its last slash: https, or plain http to what is near.
pub(in crate::store) fn base_url(text: &str) -> Result<String, GrammarError> {
    exposure::base_url(text, true, &[]).map_err(|error| match error {
        BaseUrlError::NoUrl => GrammarError("no URL; write nocodb+https://HOST, without user, query and fragment"),
        BaseUrlError::NotNear => GrammarError(
            "plain http to a host that is not near; write nocodb+https, plain http is for loopback and private addresses and names of one label",
        ),
    })
}

/// How a request says who asks.
pub(super) enum Login<'a> {
    /// An API token, `xc-token`.
    Token(&'a Secret),
    /// A session of a user who signed in, `xc-auth`.
    Session(&'a Secret),
    /// Nobody yet.
    Nobody,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("NOCODB_TOKEN holds characters that no header can carry")]
    Token,
    #[error("the HTTP client cannot be made")]
    Http(#[source] reqwest::Error),
}

/// NocoDB at one address, as one user.
pub(super) struct Api {
    http: reqwest::Client,
    base_url: String,
}

impl Api {
    /// Makes the client; nothing is connected yet.
    pub fn new(base_url: &str, login: &Login<'_>) -> Result<Self, ClientError> {
        // An error means that ring's provider is installed already; without one reqwest panics.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        let named = match login {
            Login::Token(token) => Some((HeaderName::from_static("xc-token"), token)),
            Login::Session(token) => Some((HeaderName::from_static("xc-auth"), token)),
            Login::Nobody => None,
        };
        if let Some((name, secret)) = named {
            let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let plain = base_url.starts_with("http:");
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("aiviary/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers.clone())
                .redirect(Policy::none())
                .no_proxy()
                .referer(false)
                .https_only(!plain)
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(Duration::from_secs(3))
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(16)
        };
        let http = if plain {
            // Images without a certificate store can still talk to a neighbour.
            builder().tls_certs_only([]).build()
        } else {
            builder().build().or_else(|error| {
                tracing::warn!(%error, "no usable certificate store on this machine: using the bundled roots");
                let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
                let roots = roots.map(|root| reqwest::Certificate::from_der(root)).collect::<Result<Vec<_>, _>>()?;
                builder().tls_certs_only(roots).build()
            })
        };
        Ok(Self { http: http.map_err(ClientError::Http)?, base_url: base_url.to_owned() })
    }

    /// Reads. What was cut off is asked once more: NocoDB closes idle connections without a word.
    pub async fn get(&self, path: &str, query: &[(&str, &str)], patience: Duration) -> Result<Value, ApiError> {
        match self.call(Method::GET, path, query, None, patience).await {
            Err(ApiError::Cut(_)) => self.call(Method::GET, path, query, None, patience).await,
            done => done,
        }
    }

    /// Writes, once.
    pub async fn write(&self, method: Method, path: &str, body: &Value, patience: Duration) -> Result<Value, ApiError> {
        self.call(method, path, &[], Some(body), patience).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Value, ApiError> {
        let mut url = format!("{}{path}", self.base_url);
        for (position, (name, value)) in query.iter().enumerate() {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            url.push_str(&format!("{}{name}={value}", if position == 0 { '?' } else { '&' }));
        }
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            // Without the type NocoDB takes the body for empty and makes an empty row.
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let asked = async {
            let answer = request.send().await.map_err(lost)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, ApiError>((status, headers, read(answer).await))
        };
        let (status, headers, body) = tokio::time::timeout(patience, asked).await.map_err(|_| ApiError::Slow)??;
        if status == StatusCode::TOO_MANY_REQUESTS {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Err(ApiError::Limited(after.map(|after| after.chars().take(40).collect())));
        }
        if status.is_server_error() {
            return Err(ApiError::Server(status));
        }
        if status.is_redirection() {
            return Err(ApiError::Redirect(status));
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(ApiError::Token(status));
        }
        let Ok(value) = serde_json::from_slice::<Value>(&body?) else { return Err(ApiError::NotData(status)) };
        if status.is_success() {
            return Ok(value);
        }
        let code = value["error"].as_str().unwrap_or_default();
        let fits = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        Err(ApiError::Refused { status, code: if fits { code.to_owned() } else { String::new() } })
    }
}

/// Errors without their URL: its query names clients.
fn lost(error: reqwest::Error) -> ApiError {
    let error = error.without_url();
    if error.is_connect() { ApiError::Unreached(error) } else { ApiError::Cut(error) }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(lost)? {
        if body.len() + part.len() > BODY_MAX_BYTES {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_what_is_near() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://10.1.2.3/", "http://10.1.2.3"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[fd00::1]", "http://[fd00::1]"),
            ("http://nocodb:8080", "http://nocodb:8080"),
            ("https://nocodb.example/sub/", "https://nocodb.example/sub"),
        ] {
            assert_eq!(base_url(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["http://8.8.8.8", "http://nocodb.example", "http://[::ffff:8.8.8.8]", "http://[2001:db8::1]"] {
            assert!(base_url(text).unwrap_err().to_string().starts_with("plain http"), "{text}");
        }
        for text in ["", "http://", "ftp://a", "https://user@a", "https://:p@a", "https://a?b", "https://a#b", "a"] {
            assert!(base_url(text).unwrap_err().to_string().starts_with("no URL"), "{text}");
        }
    }
}
