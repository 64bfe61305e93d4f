//! The audit trail: who got a token when, durable before the answer, each line chained to the one before.
//!
//! [`AuditLog`] hands entries to one writer thread, which takes all that wait, writes them as one batch and syncs
//! once. What cannot be written is not granted. `line` is the form, `file` the file, `verify` the reading.

mod file;
mod line;
mod lock;
mod refusals;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::Clock;
use file::{Disk, RealDisk, Trail};
pub use line::{Entry, Event, LINE_MAX_BYTES, Line};
pub use lock::WriteLock;
use refusals::Refusals;
pub use verify::{Broken, ReadError, Reason, Settled, Unsettled, Verified, VerifyError, read, unsettled, verify};

/// Entries that may wait for the writer; beyond that a record is refused.
const QUEUE_MAX: usize = 1024;
/// Lines of one batch, less what the file may need before them and `stop` behind.
const BATCH_MAX: usize = 256 - 4;
/// How long a record waits for the disk.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How soon a file that failed is tried again without anybody asking.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How soon a close that found the queue full asks again.
const CLOSE_AGAIN: Duration = Duration::from_millis(10);
/// Below this much free space, in bytes, [`Status::low_space`] is set.
const LOW_SPACE_BYTES: u64 = 64 << 20;
/// The head is logged after so many lines, or so much time with any.
const HEAD_LINES: u64 = 1000;
const HEAD_EVERY: Duration = Duration::from_secs(15 * 60);

/// Why a line is not in the trail, or the trail cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// A symbolic link, folder or device.
    #[error("audit file `{}` is not a regular file; links are not followed", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// A file with something else in it.
    #[error("`{}` is not an audit file; name another path", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// The system refused. Once it no longer does, the trail goes on by itself.
    #[error("audit file `{}` cannot be written", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// Too many entries wait.
    #[error("too many audit lines are waiting to be written")]
    Busy,
    /// The disk did not answer within two seconds.
    #[error("the audit line was not written in time")]
    TimedOut,
    /// Another change of the same credential, here or in another process, has no outcome yet.
    #[error("another change of this credential has not ended yet")]
    Held,
    /// After [`AuditLog::close`].
    #[error("the audit trail is closed")]
    Closed,
}

/// How the trail is, for `/readyz` and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the last batch got to the disk, in time.
    pub writable: bool,
    /// Whether less than 64 MiB are free where the file is.
    pub low_space: bool,
    /// Number of the last line.
    pub seq: u64,
    /// Its hash, in hex.
    pub head: String,
}

/// Who waits for a line.
type Reply = oneshot::Sender<Result<(), AuditError>>;

enum Message {
    /// An entry, and who waits for it.
    Line(Box<Entry>, Option<Reply>),
    /// There is something in [`Shared::owed`].
    Owed,
    /// Look at the path now, and log the head.
    Reopen,
    /// Write `stop` and end.
    Close(Reply),
}

/// The trail, for many tasks at once.
#[derive(Clone)]
pub struct AuditLog {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    status: Mutex<Status>,
    refusals: Mutex<Refusals>,
    /// What became of changes, to be written before any line that is asked for later.
    owed: Mutex<Vec<Owed>>,
}

/// A line that stays due until it is in the trail, and who waits for it until then.
struct Owed {
    entry: Entry,
    reply: Option<Reply>,
    /// Whether it is to be written at once, and not only with the next line.
    now: bool,
}

/// A change whose line is in the trail. Unless it is [`made`](Self::made), it is withdrawn, at the latest when this is
/// dropped: a trail that says of a cell what never came to the store would call the next grant a forgery.
#[must_use]
pub struct Announced {
    log: AuditLog,
    /// The line, until its outcome is told.
    line: Option<Entry>,
}

impl Announced {
    /// The store has made it. The trail says so with its next lines, within a minute: nobody waits or is woken for it.
    pub fn made(mut self) {
        if let Some(line) = self.line.take() {
            lock(&self.log.shared.owed).push(Owed { entry: line.confirmation(), reply: None, now: false });
        }
    }

    /// The store refused, or nothing is known yet: as [`AuditLog::tell`].
    pub async fn withdraw(mut self) {
        if let Some(line) = self.line.take() {
            self.log.tell(line.withdrawal()).await;
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.log.owe(line.withdrawal(), None);
        }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens or makes the file, its folder too, repairs a torn end and writes the `open` line. Blocks.
    ///
    /// # Errors
    /// Why the file is no audit file or cannot be written.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, AuditError> {
        Self::open_on(Box::new(RealDisk), path, clock)
    }

    fn open_on(disk: Box<dyn Disk>, path: &Path, clock: Clock) -> Result<Self, AuditError> {
        let trail = Trail::open(path, disk, clock.now())?;
        let status = Status { writable: true, low_space: false, seq: 0, head: String::new() };
        let shared =
            Arc::new(Shared { status: Mutex::new(status), refusals: Mutex::default(), owed: Mutex::default() });
        let (queue, messages) = mpsc::sync_channel(QUEUE_MAX);
        let mut writer =
            Writer { trail, clock, shared: Arc::clone(&shared), head_logged: (0, Instant::now()), complained: false };
        writer.publish();
        writer.log_head();
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                let _guard = StopOnPanic;
                writer.run(&messages);
            })
            .map_err(|error| AuditError::Io { path: path.to_owned(), source: Arc::new(error) })?;
        Ok(Self { queue, shared })
    }

    /// Writes `entry`; once this is `Ok` its line is on the disk. Dropped before that, the line may be left out.
    ///
    /// # Errors
    /// The line is not known to be in the trail: what it would have allowed must not happen. Waits two seconds at most.
    pub async fn record(&self, entry: Entry) -> Result<(), AuditError> {
        self.ask(|reply| Message::Line(Box::new(entry), Some(reply))).await
    }

    /// Writes `entry`, which says that a change is about to be made, as [`AuditLog::record`]. A line that landed after
    /// its asker had given up is withdrawn by itself.
    ///
    /// # Errors
    /// As [`AuditLog::record`]; then it must not be made.
    pub async fn announce(&self, entry: Entry) -> Result<Announced, AuditError> {
        // Made first, for whoever is dropped while it waits.
        let mut announced = Announced { log: self.clone(), line: Some(entry.clone()) };
        match self.record(entry).await {
            Ok(()) => Ok(announced),
            Err(error) => {
                announced.line = None;
                Err(error)
            }
        }
    }

    /// Writes what became of a change before any line that is asked for later; where the file cannot be written now,
    /// as soon as it can. Waits for it two seconds at most.
    pub async fn tell(&self, entry: Entry) {
        let (reply, answer) = oneshot::channel();
        if self.owe(entry, Some(reply)) {
            let _still_owed = tokio::time::timeout(WAIT_MAX, answer).await;
        }
    }

    /// Whether there is still somebody to write it.
    fn owe(&self, entry: Entry, reply: Option<Reply>) -> bool {
        lock(&self.shared.owed).push(Owed { entry, reply, now: true });
        // Where the queue is full the writer is awake.
        !matches!(self.queue.try_send(Message::Owed), Err(TrySendError::Disconnected(_)))
    }

    /// Writes `entry`, a refusal with its reason, when there is room: at most 60 a minute of one reason, the rest
    /// as a count. Never waits.
    pub fn refuse(&self, entry: Entry) {
        let reason = entry.reason.unwrap_or("unknown");
        if lock(&self.shared.refusals).admit(reason, Instant::now())
            && self.queue.try_send(Message::Line(Box::new(entry), None)).is_err()
        {
            lock(&self.shared.refusals).give_back(reason, 1, Instant::now());
        }
    }

    /// Looks at the path now and not at the next line, and logs the head: what SIGHUP asks for.
    pub fn reopen(&self) {
        let _looks_at_the_next_line = self.queue.try_send(Message::Reopen);
    }

    /// Writes what waits and the `stop` line, and ends the writer. Later records are refused.
    ///
    /// # Errors
    /// The `stop` line is not in the trail.
    pub async fn close(&self) -> Result<(), AuditError> {
        let began = Instant::now();
        loop {
            match self.ask(Message::Close).await {
                // The last of many are being written; nobody else will ask.
                Err(AuditError::Busy) if began.elapsed() < WAIT_MAX => tokio::time::sleep(CLOSE_AGAIN).await,
                closed => return closed,
            }
        }
    }

    /// How the trail is now.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    async fn ask(&self, message: impl FnOnce(Reply) -> Message) -> Result<(), AuditError> {
        let (reply, mut answer) = oneshot::channel();
        self.queue.try_send(message(reply)).map_err(|error| match error {
            TrySendError::Full(_) => AuditError::Busy,
            TrySendError::Disconnected(_) => AuditError::Closed,
        })?;
        match tokio::time::timeout(WAIT_MAX, &mut answer).await {
            Ok(answer) => answer.map_err(|_| AuditError::Closed)?,
            Err(_) => {
                // From now on the writer finds nobody; what it said a moment ago holds.
                answer.close();
                if let Ok(done) = answer.try_recv() {
                    return done;
                }
                lock(&self.shared.status).writable = false;
                Err(AuditError::TimedOut)
            }
        }
    }
}

/// Without its writer a process must not go on: it would look alive and grant nothing.
struct StopOnPanic;

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the audit writer failed inside this program; stopping");
            std::process::exit(1);
        }
    }
}

struct Writer {
    trail: Trail,
    clock: Clock,
    shared: Arc<Shared>,
    /// Which line was the head when it was last logged, and when.
    head_logged: (u64, Instant),
    /// Whether the present failure is in the log.
    complained: bool,
}

impl Writer {
    /// One batch after another until told to close, or nobody is left to tell.
    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            let first = match messages.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (mut lines, mut reopen, mut close) = (Vec::new(), false, None);
            let mut next = first;
            while let Some(message) = next.take() {
                match message {
                    Message::Line(entry, reply) => lines.push((*entry, reply)),
                    Message::Owed => {}
                    Message::Reopen => reopen = true,
                    Message::Close(reply) => {
                        close = Some(reply);
                        break;
                    }
                }
                next = if lines.len() < BATCH_MAX { messages.try_recv().ok() } else { None };
            }
            // Whoever gave up acts on nothing, and its line would say that it did. Looked at behind the last message:
            // what was asked for after somebody gave up never stands in one batch with his line.
            lines.retain(|(_, reply)| !reply.as_ref().is_some_and(Reply::is_closed));
            let mut entries = lock(&self.shared.refusals).due(Some(Instant::now()));
            let mut waiting = Vec::new();
            for (entry, reply) in lines {
                waiting.extend(reply.map(|reply| (entries.len(), reply)));
                entries.push(entry);
            }
            let done = self.write(&entries);
            for (at, reply) in waiting {
                // Gave up while it was written: nothing will be made of it.
                let unheard = reply.send(done.clone()).is_err() && done.is_ok();
                if unheard && entries[at].event.announces() {
                    let entry = entries[at].withdrawal();
                    lock(&self.shared.owed).push(Owed { entry, reply: None, now: true });
                }
            }
            if let Some(reply) = close {
                let mut last = lock(&self.shared.refusals).due(None);
                last.push(Entry::new(Event::Stop));
                let done = self.write(&last);
                self.log_head();
                let _gave_up = reply.send(done);
                return;
            }
            if reopen || self.head_is_due() {
                self.log_head();
            }
        }
    }

    /// Writes what is owed, and then `entries`.
    fn write(&mut self, entries: &[Entry]) -> Result<(), AuditError> {
        // Taken behind the messages: what was owed before one of them was sent is here.
        let owed = std::mem::take(&mut *lock(&self.shared.owed));
        let now = self.clock.now();
        let outcomes: Vec<&Entry> = owed.iter().map(|owed| &owed.entry).collect();
        let (paid, done) = if outcomes.len() + entries.len() <= BATCH_MAX {
            // Whoever waits for a line waits for one sync.
            let done = self.trail.append(outcomes.into_iter().chain(entries), now);
            (done.clone(), done)
        } else {
            let mut batches = outcomes.chunks(BATCH_MAX);
            let paid = batches.try_for_each(|some| self.trail.append(some.iter().copied(), now));
            (paid.clone(), paid.and_then(|()| self.trail.append(entries, now)))
        };
        match &paid {
            Ok(()) => owed.into_iter().filter_map(|owed| owed.reply).for_each(|reply| {
                let _gave_up = reply.send(Ok(()));
            }),
            Err(_) => drop(lock(&self.shared.owed).splice(0..0, owed)),
        }
        match &done {
            Ok(()) if self.complained => tracing::info!("the audit file can be written again"),
            Err(error) if !self.complained => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(cause, "{error}; no token is granted until it can");
            }
            _ => {}
        }
        self.complained = done.is_err();
        if done.is_err() {
            let (mut refusals, now) = (lock(&self.shared.refusals), Instant::now());
            for entry in entries.iter().filter(|entry| matches!(entry.event, Event::Refuse | Event::Suppressed)) {
                refusals.give_back(entry.reason.unwrap_or("unknown"), entry.count.unwrap_or(1), now);
            }
        }
        self.publish();
        done
    }

    fn publish(&self) {
        let low_space = self.trail.free_bytes().is_some_and(|free| free < LOW_SPACE_BYTES);
        let mut status = lock(&self.shared.status);
        if low_space && !status.low_space {
            tracing::warn!("less than 64 MiB are free for the audit file; without space no token is granted");
        }
        *status = Status {
            writable: !self.complained,
            low_space,
            seq: self.trail.seq(),
            head: self.trail.head().to_string(),
        };
    }

    /// How long to wait for a message before there is something to do without one.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let refusals = lock(&self.shared.refusals).next_due();
        let head = (self.trail.seq() > self.head_logged.0).then(|| self.head_logged.1 + HEAD_EVERY);
        let broken = self.complained || self.trail.is_broken();
        let retry = broken.then(|| now + RETRY_AFTER);
        let owed = (!broken && lock(&self.shared.owed).iter().any(|owed| owed.now)).then_some(now);
        let next = [refusals, head, retry, owed].into_iter().flatten().min();
        // While nothing is due, what does not wake this thread may come: a refusal that is counted, a change that was made.
        next.map_or(HEAD_EVERY, |next| next.saturating_duration_since(now)).min(Duration::from_secs(60))
    }

    fn head_is_due(&self) -> bool {
        let (seq, at) = self.head_logged;
        self.trail.seq() >= seq + HEAD_LINES || self.trail.seq() > seq && at.elapsed() >= HEAD_EVERY
    }

    fn log_head(&mut self) {
        self.head_logged = (self.trail.seq(), Instant::now());
        tracing::info!(seq = self.trail.seq(), hash = %self.trail.head(), "audit head");
    }
}

/// A poisoned lock holds counters only; they are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
