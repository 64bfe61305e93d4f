//! `/healthz` and `/readyz`, and what the service manager is told.

use std::time::Duration;

use hyper::StatusCode;
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Local, Reply};

/// The body of `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether requests are answered as they should be.
    pub ready: bool,
    /// What is missing, in words; empty when ready.
    pub waiting_for: Vec<String>,
    /// Stored rows of malformed form or unknown key.
    pub unreadable: u64,
    /// Rows whose `token_expires_at` is no date; left out when there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expiry_unreadable: u64,
    /// What is not broken yet, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Readiness {
    /// 200, or 503 while something is missing.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Reply::json_with(status, self)
    }
}

/// Tells the service manager that every listener is bound.
pub fn announce_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager that requests are running out.
pub fn announce_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a service manager there is no socket, and nothing to tell.
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager");
    }
}

/// Pings the service manager's watchdog for as long as the listener `at` accepts and answers: the accept loop is alive, the
/// store need not be. Returns at once where no watchdog is set.
pub async fn watchdog(at: Local, stop: CancellationToken) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut tick = interval(within / 3);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        match timeout(within / 3, knock(&at)).await {
            Ok(Ok(())) => tell(&[NotifyState::Watchdog]),
            Ok(Err(error)) => warn!(%error, "the listener did not answer the watchdog"),
            Err(_elapsed) => {
                warn!(after = ?Duration::from_secs(within.as_secs() / 3), "the listener is slow to answer the watchdog")
            }
        }
    }
}

async fn knock(at: &Local) -> std::io::Result<()> {
    match at {
        Local::Tcp(address) => ask(TcpStream::connect(address).await?, &address.to_string()).await,
        Local::Unix(path) => ask(UnixStream::connect(path).await?, "localhost").await,
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str) -> std::io::Result<()> {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    // A listener that is full closes without an answer: its loop lives all the same.
    let read = stream.read(&mut answer).await?;
    debug!(read, "the watchdog's round trip is done");
    Ok(())
}
