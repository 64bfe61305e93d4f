//! The `connect` role: takes credentials in, keeps them sealed, grants tokens.

pub mod audit;
mod failure;
mod routes;
mod service;
pub mod state;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::audit::{AuditError, AuditLog};
use self::state::State;
use super::StartError;
use crate::clock::Clock;
use crate::credential::ClientId;
use crate::crypto::Sealer;
use crate::exposure::{Listener, Rules};
use crate::secret::Secret;
use crate::server::{self, Keys, Limits, Listening, Server};
use crate::sqlite::SqliteError;
use crate::store::{self, Mode, StoreError};
use crate::telemetry::chain;

pub use failure::ConnectError;
pub use routes::ROUTES;
pub use service::{Connect, Inventory, Left, Rotated, Rotation, Saved};

/// Settings of the role, checked.
#[derive(Debug)]
pub struct Settings {
    /// Where credentials are kept.
    pub store: store::Settings,
    /// Internal and public listeners. Default: one internal one on 127.0.0.1:3006.
    pub listeners: Vec<Listener>,
    /// What internal routes ask of a request.
    pub rules: Rules,
    /// The client of a request that names none.
    pub client: Option<ClientId>,
    /// The file of what must outlive a restart beside the credentials.
    pub state: PathBuf,
    /// The audit trail.
    pub audit: PathBuf,
    /// How long running requests may take at stop. Default: 8 s.
    pub drain: Duration,
    /// `ENCRYPTION_KEY`: one or several keys, the first seals.
    pub encryption_keys: Secret,
    /// `VM_API_KEY`: one or several.
    pub api_keys: Secret,
    /// `CONNECT_SERVICE_KEY`, where set: what token requests must carry.
    pub service_keys: Option<Secret>,
    /// `META_APP_SECRET`, where set: then grants of Facebook logins carry `appsecret_proof`.
    pub app_secret: Option<Secret>,
    /// `INSTAGRAM_APP_SECRET`, where set: the same for Instagram logins.
    pub instagram_app_secret: Option<Secret>,
    /// Wall time.
    pub clock: Clock,
}

/// The role, bound and open, not yet serving.
pub struct Running {
    connect: Arc<Connect>,
    listening: Listening,
    drain: Duration,
}

/// Binds every listener, opens store and trail, and checks that the keys are the store's. A store elsewhere that is
/// away is waited for while serving: until it was looked at, requests are answered 503.
///
/// # Errors
/// What stands in the way; nothing is served then.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let listening = server::bind(&settings.listeners, &settings.rules.networks).await?;
    let drain = settings.drain;
    let elsewhere = matches!(settings.store.url, store::Url::NocoDb { .. });
    let connect = open(settings, Mode::Create).await?;
    connect.await_check();
    match connect.check_store().await {
        Err(CheckError::Store(error)) if elsewhere && passes(&error) => {
            warn!(error = %chain(&error), "waiting for the store; requests are refused until it answers");
        }
        Err(error) => {
            // What ends in order says so in the trail.
            told(connect.close(Duration::ZERO).await);
            return Err(error.into());
        }
        Ok(()) => {}
    }
    Ok(Running { connect, listening, drain })
}

/// What the look at the store before the first grant may find.
enum CheckError {
    /// It is sealed by other keys.
    Keys(service::WrongKey),
    /// It cannot be read, or the trail not be written.
    Store(ConnectError),
}

impl From<CheckError> for StartError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Keys(error) => Self::configuration(error),
            CheckError::Store(ConnectError::Store(error)) if error.passes() => Self::Unavailable(error.into()),
            CheckError::Store(ConnectError::Store(error)) => Self::configuration(error),
            CheckError::Store(error) => Self::failed(error),
        }
    }
}

/// Whether waiting may help: trail and state file go on by themselves once they can be written, as while serving.
fn passes(error: &ConnectError) -> bool {
    match error {
        ConnectError::Store(error) => error.passes(),
        ConnectError::Audit(_) | ConnectError::Trail(_) | ConnectError::State(_) => true,
        _ => false,
    }
}

impl Connect {
    /// Looks at every row and compares the keys.
    async fn compare_keys(&self) -> Result<Inventory, CheckError> {
        let found = self.inventory().await.map_err(CheckError::Store)?;
        self.check_keys(&found).map_err(CheckError::Keys)?;
        Ok(found)
    }

    /// Looks at every row, compares the keys, settles what a crash left open; requests are served from then on.
    async fn check_store(self: &Arc<Self>) -> Result<(), CheckError> {
        let found = self.compare_keys().await?;
        self.settle().await.map_err(CheckError::Store)?;
        self.checked();
        for row in &found.unreadable {
            error!("a stored credential is unreadable: {row}");
        }
        for client in &found.expiry_unreadable {
            error!("token_expires_at of client {client} is no date; it counts as unknown");
        }
        info!(credentials = found.rows, unreadable = found.unreadable.len(), "the store is open");
        Ok(())
    }

    /// Tries [`Connect::check_store`] until it was done; only what waiting cannot mend ends it.
    async fn wait_for_store(self: &Arc<Self>) -> Result<(), StartError> {
        if self.is_checked() {
            return Ok(());
        }
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times();
        let mended_by_waiting = |error: &CheckError| matches!(error, CheckError::Store(error) if passes(error));
        let tell = |error: &CheckError, _pause| {
            if let CheckError::Store(error) = error {
                debug!(error = %chain(error), "still waiting for the store");
            }
        };
        (|| self.check_store()).retry(pauses).when(mended_by_waiting).notify(tell).await?;
        Ok(())
    }
}

/// As [`open`], for a command that seals: what the store's own keys did not seal would lock the service out of its rows.
///
/// # Errors
/// As [`open`]; a store that does not answer, or is sealed by other keys: then nothing was changed.
pub async fn open_to_seal(settings: Settings, mode: Mode) -> Result<Arc<Connect>, StartError> {
    let connect = open(settings, mode).await?;
    if let Err(error) = connect.compare_keys().await {
        told(connect.close(Duration::ZERO).await);
        return Err(error.into());
    }
    Ok(connect)
}

/// Opens store, state and trail without listening: for `serve` and for commands on the store.
///
/// # Errors
/// What cannot be opened, and what to do about it.
pub async fn open(settings: Settings, mode: Mode) -> Result<Arc<Connect>, StartError> {
    let sealer = Sealer::parse(&settings.encryption_keys)
        .map_err(|error| StartError::configuration(format!("ENCRYPTION_KEY: {error}")))?;
    let keys = |name: &str, secret: &Secret| {
        Keys::parse(secret).map_err(|error| StartError::configuration(format!("{name}: {error}")))
    };
    let api_keys = keys("VM_API_KEY", &settings.api_keys)?;
    let service_keys = settings.service_keys.as_ref().map(|secret| keys("CONNECT_SERVICE_KEY", secret)).transpose()?;
    let ids = sealer.key_ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    info!(keys = ids, "the first key seals, all open");
    let store = store::open(&settings.store, mode).await.map_err(no_store)?;
    let (path, state_path, clock) = (settings.audit.clone(), settings.state.clone(), settings.clock.clone());
    // Both block on the disk.
    let opened = tokio::task::spawn_blocking(move || {
        let state = State::open(&state_path, Mode::Create).map_err(|error| no_store(error.into()))?;
        let audit = AuditLog::open(&path, clock).map_err(no_trail)?;
        Ok::<_, StartError>((state, audit))
    });
    let (state, audit) = opened.await.map_err(StartError::failed)??;
    Ok(Arc::new(Connect::new(settings, store, state, audit, (sealer, api_keys, service_keys))))
}

/// What only time or an operator's hand on the disk can mend is no fault of the configuration: a unit tries again.
fn no_store(error: StoreError) -> StartError {
    let passes = match &error {
        StoreError::Unreachable(_) => true,
        StoreError::File(SqliteError::Full { .. } | SqliteError::Busy { .. } | SqliteError::Query { .. }) => true,
        StoreError::File(SqliteError::Make { source, .. }) => is_full(source),
        _ => false,
    };
    if passes { StartError::failed(error) } else { StartError::configuration(error) }
}

/// As [`no_store`].
fn no_trail(error: AuditError) -> StartError {
    match &error {
        AuditError::Io { source, .. } if is_full(source) => StartError::failed(error),
        _ => StartError::configuration(error),
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl Running {
    /// Its bound listeners.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The role itself, for a caller in the same process.
    #[must_use]
    pub fn connect(&self) -> Arc<Connect> {
        self.connect.clone()
    }

    /// Serves until `stop`, lets running requests and changes finish, and closes the trail.
    ///
    /// # Errors
    /// What the first look at a store that was away found, and waiting cannot mend; then it stops by itself.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), StartError> {
        for bound in &self.listening {
            info!(exposure = ?bound.exposure, "connect listens on {}", bound.shown());
        }
        let hangups = tokio::spawn(reopen_on_hangup(self.connect.clone()));
        let stop = stop.child_token();
        let server =
            Server::new(self.listening, self.connect.clone(), Limits::INTERNAL).serve(stop.clone(), self.drain);
        let looked = async {
            let found = tokio::select! {
                found = self.connect.wait_for_store() => found,
                () = stop.cancelled() => Ok(()),
            };
            if found.is_err() {
                stop.cancel();
            }
            found
        };
        let stopped = async {
            stop.cancelled().await;
            Instant::now()
        };
        let ((), found, since) = tokio::join!(server, looked, stopped);
        hangups.abort();
        told(self.connect.close(self.drain.saturating_sub(since.elapsed())).await);
        found
    }
}

fn told(closed: Result<(), AuditError>) {
    if let Err(error) = closed {
        error!(%error, "the audit trail was not closed");
    }
}

/// SIGHUP reopens the trail, as logrotate expects.
async fn reopen_on_hangup(connect: Arc<Connect>) {
    let mut hangups = match server::hangups() {
        Ok(hangups) => hangups,
        Err(error) => {
            error!(%error, "SIGHUP cannot be caught");
            return;
        }
    };
    while hangups.next().await.is_some() {
        connect.audit().reopen();
    }
}
