//! Connect itself: save, summary, grant, remove. Sealing, opening, order and audit happen here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::Settings;
use super::audit::{self, AuditError, AuditLog, Entry, Event, WriteLock};
use super::failure::ConnectError;
use super::state::State;
use crate::api::{FieldError, Given, Grant, NamedClients, NewCredential, Summary};
use crate::clock::{Clock, rfc3339};
use crate::credential::{AccountIds, AccountKind, Binding, ClientId, Expiry, Login, SealedCredential};
use crate::crypto::{KeyId, OpenError, Sealer};
use crate::exposure::Rules;
use crate::graph;
use crate::secret::Secret;
use crate::server::{Caller, Keys, Readiness, json};
use crate::store::{CredentialStore, Malformed, Sharded, StoreError};
use crate::telemetry::Metrics;

/// How far ahead of our clock `issued_at` may be: more would shut out all later tokens.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);

/// How long a change waits for those before it of the same client, other processes included: those have five seconds of
/// it. Less than a request may take, and more than a crowd of first saves needs with a slow store.
const TURN_PATIENCE: Duration = Duration::from_secs(8);
/// How long a caller, and whoever asks for the token meanwhile, waits for the store to make a change.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// How many clients are named to who names none.
const NAMED_MAX: usize = 100;
/// How long a look at the rows holds for `/readyz`, unless something is changed or goes wrong meanwhile.
const LOOK_HOLDS: Duration = Duration::from_secs(5);
/// How long one that failed does, unless the store answers meanwhile: whoever waited for it does not wait for the next
/// one too.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// How long a look may take for `/readyz`: less than those who ask wait for their answer.
const LOOK_PATIENCE: Duration = Duration::from_secs(4);

/// What was stored.
pub struct Saved {
    /// Whether it is the client's first.
    pub created: bool,
    /// As it now stands.
    pub summary: Summary,
    /// Members of the body that are not known.
    pub ignored: Vec<String>,
}

/// The role at work.
pub struct Connect {
    store: Arc<dyn CredentialStore>,
    state: State,
    audit: AuditLog,
    audit_path: PathBuf,
    sealer: Sealer,
    api_keys: Keys,
    service_keys: Option<Keys>,
    app_secret: Option<Secret>,
    instagram_app_secret: Option<Secret>,
    client: Option<ClientId>,
    rules: Rules,
    clock: Clock,
    metrics: Metrics,
    grants: prometheus::IntCounterVec,
    refusals: prometheus::IntCounterVec,
    saves: prometheus::IntCounterVec,
    expiry: prometheus::IntGaugeVec,
    /// Clients whose expiry is shown.
    shown: std::sync::Mutex<BTreeSet<String>>,
    trail: prometheus::IntGaugeVec,
    /// Whether the store's rows were looked at and the keys found to be theirs: nothing is granted or saved before.
    checked: AtomicBool,
    /// What the last look at the rows found.
    looked: Mutex<Option<Look>>,
    /// Grows with all that may make that look untrue.
    doubts: AtomicU64,
    /// Whether it failed, and the store has answered nothing since.
    away: AtomicBool,
    /// Changes of a client run one after another, each until its outcome is known.
    turns: Sharded<Mutex<()>>,
    /// No token of a client is granted between the line of a change and its row.
    grants_of: Sharded<RwLock<()>>,
    /// Cells, by their iv, of saves and reseals that were refused, though the store may have taken them.
    refused: std::sync::Mutex<BTreeMap<ClientId, String>>,
    /// Changes under way: a stop waits for them.
    changes: TaskTracker,
    /// Ends those that a stop does not wait for any longer.
    cut: CancellationToken,
}

/// A look at the rows, for `/readyz`.
struct Look {
    /// When it began; when it ended, if it failed.
    at: Instant,
    /// Of the time when it began.
    doubts: u64,
    found: Result<Arc<Inventory>, NoLook>,
}

/// The rows could not be looked at.
#[derive(Clone)]
struct NoLook {
    /// What somebody must repair, where waiting does not help.
    repair: Option<String>,
}

/// The right to change one client, in this process and among all. Held until the outcome is known, whoever still waits
/// for it: a write that lands late must not undo a later one.
struct Turn {
    client: ClientId,
    _here: OwnedMutexGuard<()>,
    _everywhere: WriteLock,
}

/// What a look at all rows found.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Rows there are.
    pub rows: u64,
    /// Rows of malformed form or under a key that is not configured: whose, and why.
    pub unreadable: Vec<String>,
    /// Keys that are not configured, and how many rows need each.
    pub missing_keys: BTreeMap<KeyId, usize>,
    /// Clients whose expiry is no date.
    pub expiry_unreadable: Vec<String>,
    /// Keys that rows were sealed with.
    pub key_ids: Vec<KeyId>,
}

/// What [`Connect::rotate`] did with one credential.
#[derive(Debug)]
pub struct Rotated {
    /// Whose; escaped where the row is malformed.
    pub client: String,
    /// Why it was left as it is.
    pub left: Option<Left>,
}

/// Why [`Connect::rotate`] left a credential as it is.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// Its row is no credential, or one of several.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its cell does not open.
    #[error(transparent)]
    Unopened(#[from] OpenError),
    /// Somebody wrote it at the same time.
    #[error("somebody else changed it at the same time; run this again")]
    Changed,
}

/// What [`Connect::rotate`] did.
#[derive(Debug)]
pub struct Rotation {
    /// The key under which all are now that are not in `left`.
    pub first: KeyId,
    /// Credentials that were sealed anew.
    pub done: usize,
    /// Credentials that could not be opened.
    pub left: Vec<Rotated>,
    /// Credentials that are now under another key.
    pub others: BTreeMap<KeyId, usize>,
    /// Rows that do not say which key they need: it may be any.
    pub unreadable: usize,
}

impl Rotation {
    /// Whether nothing needs the key `id` any longer.
    #[must_use]
    pub fn is_needless(&self, id: &KeyId) -> bool {
        self.unreadable == 0 && self.others.get(id).is_none_or(|count| *count == 0)
    }

    /// Whether every credential is under the first key.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left.is_empty() && self.unreadable == 0 && self.others.values().all(|count| *count == 0)
    }
}

/// No stored credential can be opened with the keys that are configured.
#[derive(Debug, thiserror::Error)]
#[error(
    "ENCRYPTION_KEY is not the key of this store: its credentials are sealed by {}, configured is {}; set the old key, or remove the store to begin anew",
    names(.found),
    names(.configured)
)]
pub struct WrongKey {
    found: Vec<KeyId>,
    configured: Vec<KeyId>,
}

fn names(ids: &[KeyId]) -> String {
    ids.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")
}

impl Connect {
    /// Joins the parts; keys were checked when the configuration was read.
    pub(super) fn new(
        settings: Settings,
        store: Arc<dyn CredentialStore>,
        state: State,
        audit: AuditLog,
        (sealer, api_keys, service_keys): (Sealer, Keys, Option<Keys>),
    ) -> Self {
        let metrics = Metrics::new("connect");
        Self {
            store,
            state,
            audit,
            audit_path: settings.audit,
            sealer,
            api_keys,
            service_keys,
            app_secret: settings.app_secret,
            instagram_app_secret: settings.instagram_app_secret,
            client: settings.client,
            rules: settings.rules,
            clock: settings.clock,
            grants: metrics.counters("aiviary_grants_total", "Tokens granted.", &["client"]),
            refusals: metrics.counters("aiviary_refusals_total", "Requests refused at the boundary.", &["reason"]),
            saves: metrics.counters(
                "aiviary_saves_total",
                "Credentials stored, by position of the key used.",
                &["key"],
            ),
            expiry: metrics.gauges(
                "aiviary_token_expiry_timestamp_seconds",
                "When each client's token ends, in seconds since the epoch; 0: no end is known.",
                &["client"],
            ),
            trail: metrics.gauges("aiviary_audit_seq", "Sequence number of the newest audit line.", &[]),
            metrics,
            checked: AtomicBool::new(true),
            shown: std::sync::Mutex::default(),
            looked: Mutex::default(),
            doubts: AtomicU64::new(0),
            away: AtomicBool::new(false),
            turns: Sharded::default(),
            grants_of: Sharded::default(),
            refused: std::sync::Mutex::default(),
            changes: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// From now on requests wait for [`Connect::checked`].
    pub(super) fn await_check(&self) {
        self.checked.store(false, Ordering::SeqCst);
    }

    pub(super) fn checked(&self) {
        self.checked.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_checked(&self) -> bool {
        self.checked.load(Ordering::SeqCst)
    }

    fn must_be_checked(&self) -> Result<(), ConnectError> {
        if self.is_checked() { Ok(()) } else { Err(ConnectError::Starting) }
    }

    /// Ids of the configured keys, the sealing one first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.sealer.key_ids()
    }

    pub(super) fn boundary(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn api_keys(&self) -> &Keys {
        &self.api_keys
    }

    pub(super) fn service_keys(&self) -> Option<&Keys> {
        self.service_keys.as_ref()
    }

    pub(super) fn counted(&self) -> &Metrics {
        &self.metrics
    }

    /// The trail.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(super) fn metrics_text(&self) -> Vec<u8> {
        let seq = i64::try_from(self.audit.status().seq).unwrap_or(i64::MAX);
        self.trail.with_label_values(&[] as &[&str]).set(seq);
        self.metrics.text()
    }

    /// A line of the trail for a refused request; never waited for.
    pub(super) fn note_refusal(&self, reason: &'static str, client: Option<ClientId>, caller: &Caller) {
        self.refusals.with_label_values(&[reason]).inc();
        let mut entry = by(Event::Refuse, caller).reason(reason);
        entry.client = client;
        self.audit.refuse(entry);
    }

    /// Lets changes that are under way end, for as long as `within`, cuts the others, and closes the trail.
    ///
    /// # Errors
    /// The end is not in the trail.
    pub async fn close(&self, within: Duration) -> Result<(), AuditError> {
        self.changes.close();
        if timeout(within, self.changes.wait()).await.is_err() {
            warn!(
                changes = self.changes.len(),
                "changes had no outcome yet at the end and were cut; what became of them shows at the next start"
            );
            self.cut.cancel();
            self.changes.wait().await;
        }
        self.audit.close().await
    }

    /// Does `work` in a task of its own, which goes on when whoever asked for it leaves.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ConnectError>> + Send + 'static,
    ) -> Result<T, ConnectError> {
        match self.changes.spawn(self.cut.clone().run_until_cancelled_owned(work)).await {
            Ok(done) => done.unwrap_or(Err(ConnectError::Stopping)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(ConnectError::Stopping),
            },
        }
    }

    /// Waits for the right to change `client`. Whoever waits holds up no grant.
    async fn turn(&self, client: &ClientId) -> Result<Turn, ConnectError> {
        debug!(client.id = %client, "a change waits for its turn");
        let waited = timeout(TURN_PATIENCE, async {
            let _here = self.turns.of(client).lock_owned().await;
            let _everywhere = WriteLock::of(client, &self.audit_path).await?;
            Ok(Turn { client: client.clone(), _here, _everywhere })
        });
        waited.await.unwrap_or(Err(AuditError::Held.into()))
    }

    /// Announces a change by `line` and makes it by `work`. An error says that it was not made, or not yet: then `work`
    /// goes on, in this client's turn, until its outcome is known, while tokens are granted again.
    async fn make(
        self: &Arc<Self>,
        turn: Turn,
        ungranted: OwnedRwLockWriteGuard<()>,
        line: Entry,
        mut work: BoxFuture<'static, Result<(), ConnectError>>,
    ) -> Result<(), ConnectError> {
        let announced = self.audit.announce(line.clone()).await?;
        let outcome = timeout(STORE_PATIENCE, &mut work).await;
        self.doubt();
        match outcome {
            Ok(Ok(())) => {
                announced.made();
                Ok(())
            }
            Ok(Err(error)) => {
                self.note_refused(&line);
                announced.withdraw().await;
                Err(error)
            }
            Err(_elapsed) => {
                self.note_refused(&line);
                announced.withdraw().await;
                drop(ungranted);
                let late = self.clone().make_late(turn, line, work);
                self.changes.spawn(self.cut.clone().run_until_cancelled_owned(late));
                Err(StoreError::Unreachable("it did not answer in time, and may still do what was asked".into()).into())
            }
        }
    }

    fn note_refused(&self, line: &Entry) {
        if let (Some(client), Some(iv)) = (&line.client, &line.envelope) {
            self.refused().insert(client.clone(), iv.clone());
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<ClientId, String>> {
        // Each entry is whole, whatever panicked beside it.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make_late(self: Arc<Self>, turn: Turn, line: Entry, work: BoxFuture<'static, Result<(), ConnectError>>) {
        let client = &turn.client;
        let outcome = work.await;
        self.doubt();
        match outcome {
            Ok(()) => {
                // Behind the last grant that read the row as it was before.
                let _ungranted = self.grants_of.of(client).write_owned().await;
                warn!(client.id = %client, "a change that was refused for want of an answer was made after all");
                self.refused().remove(client);
                self.audit.tell(line.confirmation()).await;
            }
            Err(error) => {
                warn!(client.id = %client, error = %super::chain(&error), "a change without an answer failed")
            }
        }
    }

    /// The client that is meant: the named one, the configured one, or the only one stored.
    ///
    /// # Errors
    /// None is stored, or several are and none was named.
    pub async fn resolve(&self, named: Option<ClientId>) -> Result<ClientId, ConnectError> {
        self.must_be_checked()?;
        if let Some(client) = named.or_else(|| self.client.clone()) {
            return Ok(client);
        }
        let named =
            |names: Vec<String>| -> BTreeSet<ClientId> { names.iter().filter_map(|name| name.parse().ok()).collect() };
        let some = self.store.clients(NAMED_MAX + 1).await.inspect_err(|_| self.doubt())?;
        let mut more = some.len() > NAMED_MAX;
        let mut clients = named(some);
        if clients.len() < 2 && more {
            // Rows that name no client may hide those that do.
            let all = self.store.list().await?.into_iter().map(|row| match row {
                Ok(row) => row.binding.client.to_string(),
                Err(malformed) => malformed.client,
            });
            clients = named(all.collect());
            more = clients.len() > NAMED_MAX;
        }
        match clients.len() {
            0 => Err(ConnectError::NotFound(None)),
            1 => clients.pop_first().ok_or(ConnectError::NotFound(None)),
            _ => {
                let clients = clients.into_iter().take(NAMED_MAX).collect();
                Err(ConnectError::ClientRequired(NamedClients { clients, truncated: more }))
            }
        }
    }

    async fn load(&self, client: ClientId) -> Result<SealedCredential, ConnectError> {
        let answer = self.store.load(&client).await.inspect_err(|_| self.doubt())?;
        if self.away.load(Ordering::SeqCst) {
            self.away.store(false, Ordering::SeqCst);
        }
        let Some(row) = answer else {
            self.forget_expiry(client.as_str());
            return Err(ConnectError::NotFound(Some(client)));
        };
        if row.expiry() == Expiry::Unreadable {
            self.doubt();
            error!(client.id = %row.binding.client, "token_expires_at of this client is no date; it counts as unknown");
        }
        Ok(row)
    }

    /// What is known of all rows may no longer hold.
    fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }

    fn open(&self, row: &SealedCredential) -> Result<Secret, OpenError> {
        self.sealer.open(&row.envelope()?, &row.binding.bound())
    }

    /// All but the token.
    ///
    /// # Errors
    /// Nothing stored, several stored and none named, or the store is away.
    pub async fn summary(&self, named: Option<ClientId>) -> Result<Summary, ConnectError> {
        let client = self.resolve(named).await?;
        Ok(Summary::of(&self.load(client).await?, self.clock.now()))
    }

    /// The token. Its line is in the trail, on disk, before this returns.
    ///
    /// # Errors
    /// As [`Connect::summary`]; a row that does not open; a trail that cannot be written.
    pub async fn grant_token(&self, named: Option<ClientId>, caller: &Caller) -> Result<Grant, ConnectError> {
        let refused = |error: &ConnectError| match error {
            ConnectError::NotFound(client) => self.note_refusal("unknown_client", client.clone(), caller),
            ConnectError::Store(StoreError::Malformed(row)) => {
                self.note_refusal("unreadable", row.client.parse().ok(), caller);
            }
            _ => {}
        };
        let client = self.resolve(named).await.inspect_err(refused)?;
        let grants = self.grants_of.of(&client);
        let _unchanged = grants.read().await;
        let row = self.load(client.clone()).await.inspect_err(refused)?;
        let access_token = self.open(&row).map_err(|source| {
            self.note_refusal("unreadable", Some(client.clone()), caller);
            self.doubt();
            ConnectError::Unreadable { client: client.clone(), source }
        })?;
        let summary = Summary::of(&row, self.clock.now());
        let mut entry = by(Event::Grant, caller).client(&client).token_expired(summary.token_expired);
        entry.envelope = row.envelope().ok().map(|envelope| envelope.iv().to_owned());
        self.audit.record(entry).await?;
        self.grants.with_label_values(&[client.as_str()]).inc();
        info!(client.id = %client, request_id = caller.request_id, "[Token Access] Provided decrypted token for client: {client}");
        if let Some(end) = summary.token_expires_at.as_deref().filter(|_| summary.token_expired) {
            warn!(client.id = %client, "[Token Expired] Token expired at {end}");
        }
        let app_secret = match row.binding.login {
            Login::Facebook => &self.app_secret,
            Login::Instagram => &self.instagram_app_secret,
        };
        let appsecret_proof = app_secret.as_ref().map(|secret| graph::proof(secret, &access_token));
        Ok(Grant { summary, access_token, appsecret_proof })
    }

    /// Stores what a broker sent. Durable when this returns, and found whole again.
    ///
    /// # Errors
    /// What is wrong with the body, or why it was not stored.
    pub async fn save(
        self: &Arc<Self>,
        body: &[u8],
        key: Option<usize>,
        caller: &Caller,
    ) -> Result<Saved, ConnectError> {
        self.must_be_checked()?;
        let now = self.clock.now();
        let new = NewCredential::from_members(&json::members(body)?, now)?;
        let (connect, line) = (self.clone(), by_key(Event::Save, caller, key));
        let saved = self.apart(async move { connect.store_credential(new, now, line).await }).await?;
        self.saves.with_label_values(&[key.map_or("none".to_owned(), |key| key.to_string())]).inc();
        Ok(saved)
    }

    async fn store_credential(
        self: &Arc<Self>,
        new: NewCredential,
        now: Timestamp,
        line: Entry,
    ) -> Result<Saved, ConnectError> {
        if new.issued_at.is_some_and(|at| at > now + AHEAD_MAX) {
            let expected = "a moment that is not in the future".to_owned();
            return Err(FieldError { field: "issued_at", expected }.into());
        }
        let client = new.client.clone().or_else(|| self.client.clone()).unwrap_or_else(ClientId::fallback);

        let turn = self.turn(&client).await?;
        let ungranted = self.grants_of.of(&client).write_owned().await;
        let stored = match self.store.load(&client).await {
            // A row that cannot be read is replaced: posting again always repairs.
            Err(StoreError::Malformed(error)) => {
                warn!(client.id = %client, %error, "the stored row is unreadable and is replaced");
                Some(None)
            }
            row => row?.map(Some),
        };
        let created = stored.is_none();
        let stored = stored.flatten();
        let removed = self.state.removed_at(&client, !created).await?;
        check_order(new.issued_at, stored.as_ref(), removed)?;

        let opened = stored.as_ref().and_then(|row| match self.open(row) {
            Ok(token) => Some((row, token)),
            Err(error) => {
                warn!(client.id = %client, %error, "the stored credential does not open: ids that were not sent become null");
                None
            }
        });
        let row = merge(&new, client.clone(), opened.as_ref().map(|(row, _)| *row), now);
        if let Some((old, token)) = &opened
            && token.expose() == new.token.expose()
            && same_but_cell(old, &row)
        {
            // One that was refused and reached the store all the same is acknowledged now: the trail says so first.
            if let Some(envelope) =
                old.envelope().ok().filter(|of| self.refused().get(&client).is_some_and(|iv| iv == of.iv()))
            {
                self.audit.record(line.client(&client).envelope(envelope.iv()).confirmation()).await?;
                self.refused().remove(&client);
            }
            let summary = Summary::of(old, now);
            return Ok(Saved { created: false, summary, ignored: new.ignored });
        }

        let envelope = self.sealer.seal(&new.token, &row.binding.bound());
        let row = SealedCredential { cell: envelope.as_str().to_owned(), ..row };
        let line = line.client(&client).envelope(envelope.iv());
        let summary = Summary::of(&row, now);
        let connect = self.clone();
        let work = async move {
            connect.write(&row, &new.token).await?;
            connect.show_expiry(&row);
            let client = &row.binding.client;
            info!(client.id = %client, created, "stored the credential of client {client}");
            Ok(())
        };
        self.make(turn, ungranted, line, Box::pin(work)).await?;
        Ok(Saved { created, summary, ignored: new.ignored })
    }

    /// Writes a row, reads it back and opens it: a column that a store dropped is found now, not at the first grant.
    async fn write(&self, row: &SealedCredential, token: &Secret) -> Result<(), ConnectError> {
        self.store.save(row).await?;
        if !same_but_cell(&self.read_back(row, token).await?, row) {
            return Err(ConnectError::NotKept("token_expires_at, scopes or issued_at"));
        }
        Ok(())
    }

    /// The row as it is now, which must hold `token` for the client, login and accounts of `row`.
    async fn read_back(&self, row: &SealedCredential, token: &Secret) -> Result<SealedCredential, ConnectError> {
        let back = match self.store.load(&row.binding.client).await {
            Err(StoreError::Malformed(row)) => return Err(ConnectError::NotKept(row.column)),
            back => back?.ok_or(ConnectError::NotKept("client_id"))?,
        };
        if let Some(kind) =
            AccountKind::ALL.into_iter().find(|kind| back.binding.ids.get(*kind) != row.binding.ids.get(*kind))
        {
            return Err(ConnectError::NotKept(kind.name()));
        }
        if back.binding != row.binding {
            return Err(ConnectError::NotKept("login"));
        }
        if !self.open(&back).is_ok_and(|kept| kept.expose() == token.expose()) {
            return Err(ConnectError::NotKept("access_token"));
        }
        Ok(back)
    }

    /// Forgets a client; a later token that was issued before this moment is refused.
    ///
    /// # Errors
    /// Nothing stored, or the store is away.
    pub async fn remove(
        self: &Arc<Self>,
        client: ClientId,
        key: Option<usize>,
        caller: &Caller,
    ) -> Result<ClientId, ConnectError> {
        self.must_be_checked()?;
        let (connect, line) = (self.clone(), by_key(Event::Remove, caller, key).client(&client));
        self.apart(async move { connect.forget(client, line).await }).await
    }

    async fn forget(self: &Arc<Self>, client: ClientId, line: Entry) -> Result<ClientId, ConnectError> {
        let turn = self.turn(&client).await?;
        let ungranted = self.grants_of.of(&client).write_owned().await;
        match self.store.load(&client).await {
            Ok(None) => return Err(ConnectError::NotFound(Some(client))),
            // What cannot be read can be removed.
            Ok(Some(_)) | Err(StoreError::Malformed(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let (connect, of) = (self.clone(), client.clone());
        let work = async move {
            // Before the row goes: a crash in between must not let a late retry bring it back.
            connect.state.begin_removal(&of, connect.clock.now()).await?;
            if let Err(error) = connect.store.remove(&of).await
                && !matches!(connect.store.load(&of).await, Ok(None))
            {
                // Whether it was removed shows when the next change of this client looks for its row.
                return Err(error.into());
            }
            connect.state.removed_at(&of, false).await?;
            connect.forget_expiry(of.as_str());
            info!(client.id = %of, "removed the credential of client {of}");
            Ok(())
        };
        self.make(turn, ungranted, line, Box::pin(work)).await?;
        Ok(client)
    }

    /// Seals a client's token anew for other account ids.
    ///
    /// # Errors
    /// As [`Connect::save`]; a row that does not open cannot be sealed anew.
    pub async fn set_ids(
        self: &Arc<Self>,
        client: ClientId,
        ids: [Given; 4],
        caller: &Caller,
    ) -> Result<Summary, ConnectError> {
        let rebind = |old: &Binding| merged_binding(&ids, None, old.client.clone(), Some(old));
        let resealed = self.reseal(&client, caller, |_| true, rebind).await?;
        resealed.ok_or(ConnectError::NotFound(Some(client)))
    }

    /// Seals every credential that is not under the first key anew under it, one by one: each is complete by itself,
    /// so that a run that was cut off is simply repeated. `told` hears of each.
    ///
    /// # Errors
    /// When store or trail are away. Rows that do not open are left, and counted.
    pub async fn rotate(
        self: &Arc<Self>,
        caller: &Caller,
        mut told: impl FnMut(&Rotated),
    ) -> Result<Rotation, ConnectError> {
        let first = self.sealer.key_ids()[0];
        let mut rotation = Rotation { first, done: 0, left: Vec::new(), others: BTreeMap::new(), unreadable: 0 };
        for row in self.store.list().await? {
            let outcome = match row {
                Err(malformed) => Rotated { client: malformed.client.clone(), left: Some(malformed.into()) },
                Ok(row) => {
                    let needs = |row: &SealedCredential| !row.envelope().is_ok_and(|e| e.key_id() == first);
                    if !needs(&row) {
                        continue;
                    }
                    let client = &row.binding.client;
                    let left = match self.reseal(client, caller, needs, Binding::clone).await {
                        // It is gone, or somebody else has sealed it anew.
                        Ok(None) => continue,
                        Ok(Some(_)) => None,
                        Err(ConnectError::Unreadable { source, .. }) => Some(source.into()),
                        Err(ConnectError::Changed(_)) => Some(Left::Changed),
                        Err(ConnectError::Store(StoreError::Malformed(malformed))) => Some(malformed.into()),
                        Err(error) => return Err(error),
                    };
                    Rotated { client: client.to_string(), left }
                }
            };
            told(&outcome);
            match outcome.left {
                None => rotation.done += 1,
                Some(_) => rotation.left.push(outcome),
            }
        }
        // Counted anew: a service that still seals under an old key may have written meanwhile.
        rotation.others = self.sealer.key_ids().into_iter().skip(1).map(|id| (id, 0)).collect();
        for row in self.store.list().await? {
            match row.map(|row| row.envelope().map(|envelope| envelope.key_id())) {
                Ok(Ok(id)) if id == first => {}
                Ok(Ok(id)) => *rotation.others.entry(id).or_default() += 1,
                Ok(Err(_no_envelope)) => rotation.unreadable += 1,
                Err(malformed) => rotation.unreadable += malformed.rows.len().max(1),
            }
        }
        Ok(rotation)
    }

    /// Reads, opens, seals and writes one row under its lock, if it is still there and `wanted`. Written over the cell that
    /// was read and no other; what an operator edits beside it meanwhile stays.
    async fn reseal(
        self: &Arc<Self>,
        client: &ClientId,
        caller: &Caller,
        wanted: impl Fn(&SealedCredential) -> bool,
        rebind: impl Fn(&Binding) -> Binding,
    ) -> Result<Option<Summary>, ConnectError> {
        let now = self.clock.now();
        let turn = self.turn(client).await?;
        let ungranted = self.grants_of.of(client).write_owned().await;
        let Some(old) = self.store.load(client).await?.filter(|row| wanted(row)) else { return Ok(None) };
        let token = self.open(&old).map_err(|source| ConnectError::Unreadable { client: client.clone(), source })?;
        let binding = rebind(&old.binding);
        let envelope = self.sealer.seal(&token, &binding.bound());
        let row = SealedCredential {
            binding,
            cell: envelope.as_str().to_owned(),
            updated_at: Some(rfc3339(now)),
            ..old.clone()
        };
        let line = by(Event::Reseal, caller).client(client).envelope(envelope.iv());
        let summary = Summary::of(&row, now);
        let connect = self.clone();
        let work = async move {
            if !connect.store.replace(&old, &row).await? {
                return Err(ConnectError::Changed(old.binding.client));
            }
            connect.read_back(&row, &token).await.map(drop)
        };
        self.make(turn, ungranted, line, Box::pin(work)).await?;
        Ok(Some(summary))
    }

    /// Looks at every row: how many cannot be read, and which keys are in use.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn inventory(&self) -> Result<Inventory, ConnectError> {
        let configured = self.sealer.key_ids();
        let mut found = Inventory::default();
        let mut gone = self.shown().clone();
        for row in self.store.list().await? {
            found.rows += 1;
            let row = match row {
                Ok(row) => row,
                Err(malformed) => {
                    found.unreadable.push(malformed.to_string());
                    continue;
                }
            };
            let client = &row.binding.client;
            gone.remove(client.as_str());
            self.show_expiry(&row);
            if row.expiry() == Expiry::Unreadable {
                found.expiry_unreadable.push(client.to_string());
            }
            let trouble = match row.envelope() {
                Err(error) => Some(error),
                Ok(envelope) => {
                    let id = envelope.key_id();
                    let new = !found.key_ids.contains(&id);
                    if new {
                        found.key_ids.push(id);
                    }
                    // One cell of each key is opened; whether the others are authentic, a grant finds out.
                    if !configured.contains(&id) {
                        *found.missing_keys.entry(id).or_default() += 1;
                        Some(OpenError::UnknownKey(id))
                    } else if new {
                        self.open(&row).err()
                    } else {
                        None
                    }
                }
            };
            if let Some(error) = trouble {
                found.unreadable.push(format!("client {client}: {error}"));
            }
        }
        // Removed by another process, or by hand.
        gone.iter().for_each(|client| self.forget_expiry(client));
        Ok(found)
    }

    /// Compares the last changes of the trail with the rows: whether one that was cut off, or took too long, has reached
    /// the store. Reads what came since it was last done.
    ///
    /// # Errors
    /// When store or trail cannot be read or written.
    pub(super) async fn settle(&self) -> Result<(), ConnectError> {
        let (path, settled) = (self.audit_path.clone(), self.state.settled().await?);
        let read = tokio::task::spawn_blocking(move || audit::unsettled(&path, settled.as_ref())).await;
        let (changes, read_to) = read.map_err(std::io::Error::other).flatten().map_err(ConnectError::Trail)?;
        let mut all = true;
        for change in changes {
            let Ok(client) = change.client.parse::<ClientId>() else { continue };
            let _turn = match self.turn(&client).await {
                // Whoever is at it says himself what becomes of it.
                Err(ConnectError::Audit(AuditError::Held)) => {
                    all = false;
                    continue;
                }
                turn => turn?,
            };
            let made = match (self.store.load(&client).await, &change.envelope) {
                (Ok(None), wanted) => wanted.is_none(),
                (Ok(Some(row)), Some(iv)) => row.envelope().is_ok_and(|envelope| envelope.iv() == iv),
                (Ok(Some(_)), None) | (Err(StoreError::Malformed(_)), _) => false,
                (Err(error), _) => return Err(error.into()),
            };
            let event = match (made, change.failed) {
                (true, _) => Event::SaveConfirmed,
                (false, false) => Event::SaveFailed,
                // As the trail says already.
                (false, true) => continue,
            };
            let mut entry = Entry::new(event).client(&client);
            entry.envelope = change.envelope;
            self.audit.record(entry).await?;
        }
        if let Some(read_to) = read_to.filter(|_| all) {
            self.state.settle(read_to).await?;
        }
        Ok(())
    }

    /// The check before the first grant: some stored credential must carry a configured key, if there is any.
    pub(super) fn check_keys(&self, found: &Inventory) -> Result<(), WrongKey> {
        let configured = self.sealer.key_ids();
        if found.key_ids.is_empty() || found.key_ids.iter().any(|id| configured.contains(id)) {
            return Ok(());
        }
        Err(WrongKey { found: found.key_ids.clone(), configured })
    }

    /// `/readyz`.
    pub(super) async fn readiness(&self) -> Readiness {
        let mut readiness = Readiness::default();
        if !self.is_checked() {
            readiness.waiting_for.push("key check".to_owned());
        }
        match self.look().await {
            Ok(found) => {
                readiness.unreadable = found.unreadable.len() as u64;
                readiness.expiry_unreadable = found.expiry_unreadable.len() as u64;
                let missing = found.missing_keys.iter();
                readiness.warnings.extend(missing.map(|(id, rows)| {
                    format!("{rows} stored credentials need the key {id}, which is not in ENCRYPTION_KEY")
                }));
            }
            Err(NoLook { repair }) => {
                readiness.waiting_for.insert(0, "store".to_owned());
                readiness.warnings.extend(repair);
            }
        }
        let trail = self.audit.status();
        if !trail.writable {
            readiness.waiting_for.push("audit".to_owned());
        }
        if trail.low_space {
            readiness.warnings.push("little space is left for the audit trail".to_owned());
        }
        readiness.ready = readiness.waiting_for.is_empty();
        readiness
    }

    /// What all rows were like a few seconds ago at most.
    async fn look(&self) -> Result<Arc<Inventory>, NoLook> {
        let asked = Instant::now();
        // Whoever asks meanwhile waits for this look and takes it, whatever it finds.
        let mut looked = self.looked.lock().await;
        let doubts = self.doubts.load(Ordering::SeqCst);
        let holds = |look: &&Look| match &look.found {
            Ok(_) => look.doubts == doubts && look.at.elapsed() < LOOK_HOLDS,
            Err(_) if look.at >= asked => true,
            Err(_) => self.away.load(Ordering::SeqCst) && look.at.elapsed() < FAILURE_HOLDS,
        };
        if let Some(look) = looked.as_ref().filter(holds) {
            return look.found.clone();
        }
        *looked = None;
        let began = Instant::now();
        let slow = || StoreError::Unreachable("it did not answer in time".into());
        let found = match timeout(LOOK_PATIENCE, self.inventory()).await.unwrap_or_else(|_| Err(slow().into())) {
            Ok(found) => Ok(Arc::new(found)),
            Err(error) => {
                // The whole chain is a line for whoever runs this; callers learn what to repair and no more.
                warn!(error = %super::chain(&error), "the store does not answer");
                let repair = match &error {
                    ConnectError::Store(error) if !error.passes() => Some(error.to_string()),
                    _ => None,
                };
                Err(NoLook { repair })
            }
        };
        self.away.store(found.is_err(), Ordering::SeqCst);
        let at = if found.is_ok() { began } else { Instant::now() };
        *looked = Some(Look { at, doubts, found: found.clone() });
        found
    }

    fn shown(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is as good as before whatever panicked beside it.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_expiry(&self, client: &str) {
        if self.shown().remove(client)
            && let Err(error) = self.expiry.remove_label_values(&[client])
        {
            debug!(%error, "there was no expiry to forget");
        }
    }

    fn show_expiry(&self, row: &SealedCredential) {
        self.shown().insert(row.binding.client.to_string());
        let end = row.expiry().at().map_or(0, Timestamp::as_second);
        self.expiry.with_label_values(&[row.binding.client.as_str()]).set(end);
    }
}

/// Refuses what is older than the stored row or than a removal.
fn check_order(
    issued_at: Option<Timestamp>,
    stored: Option<&SealedCredential>,
    removed: Option<Timestamp>,
) -> Result<(), ConnectError> {
    let before = stored.and_then(|row| row.issued_at.as_deref()?.parse::<Timestamp>().ok());
    let is_older = |than: Option<Timestamp>| issued_at.zip(than).is_some_and(|(at, than)| at < than);
    if is_older(before) || is_older(removed) { Err(ConnectError::Stale) } else { Ok(()) }
}

/// An audit line about what `caller` did.
fn by(event: Event, caller: &Caller) -> Entry {
    Entry::new(event)
        .peer(caller.peer.to_string())
        .listener(caller.listener.as_str())
        .request_id(caller.request_id.as_str())
}

/// The same, with the position of the key that the caller had.
fn by_key(event: Event, caller: &Caller, key: Option<usize>) -> Entry {
    let entry = by(event, caller);
    match key {
        Some(key) => entry.key(key.to_string()),
        None => entry,
    }
}

fn merged_binding(ids: &[Given; 4], login: Option<Login>, client: ClientId, old: Option<&Binding>) -> Binding {
    let mut merged = AccountIds::default();
    for (kind, given) in AccountKind::ALL.into_iter().zip(ids) {
        let id = match given {
            Given::Id(id) => Some(id.clone()),
            Given::Cleared => None,
            Given::Nothing => old.and_then(|old| old.ids.get(kind)).map(str::to_owned),
        };
        merged.set(kind, id);
    }
    Binding { client, login: login.or(old.map(|old| old.login)).unwrap_or_default(), ids: merged }
}

/// The row to be written, its cell still empty: ids and login that are not sent are kept, the rest is the body's.
fn merge(new: &NewCredential, client: ClientId, old: Option<&SealedCredential>, now: Timestamp) -> SealedCredential {
    SealedCredential {
        binding: merged_binding(&new.ids, new.login, client, old.map(|old| &old.binding)),
        cell: String::new(),
        expires: new.expires.map(rfc3339),
        scopes: new.scopes.as_ref().filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.join(",")),
        // Whole: of two tokens within one second, the older must be known as such.
        issued_at: new.issued_at.map(|at| at.to_string()),
        updated_at: Some(rfc3339(now)),
    }
}

/// Whether two rows say the same, whatever their cells and their times of writing.
fn same_but_cell(a: &SealedCredential, b: &SealedCredential) -> bool {
    a.binding == b.binding && a.expires == b.expires && a.scopes == b.scopes && a.issued_at == b.issued_at
}
