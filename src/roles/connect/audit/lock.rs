//! The right to change a credential, among all processes that use one trail.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use ring::digest::{SHA256, digest};

use super::{AuditError, file};
use crate::credential::ClientId;

/// How long another process is waited for: a change takes milliseconds, unless its store does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to check and write one credential, or all of them. Given back on drop, and with the process.
///
/// It is a lock on the file `….write.lock` beside the trail, of one byte a client: a change whose outcome is long in
/// coming holds up no other client. Held by nobody but one open file (`F_OFD_SETLK`), it also keeps two tasks apart.
#[derive(Debug)]
pub struct WriteLock {
    _locked: File,
}

impl WriteLock {
    /// Waits for the right to change `client`, five seconds at most.
    ///
    /// # Errors
    /// [`AuditError::Held`], or why the lock file cannot be made or locked.
    pub async fn of(client: &ClientId, audit_path: &Path) -> Result<Self, AuditError> {
        // The same in every release; two clients of one byte only wait for each other.
        let hash = digest(&SHA256, client.as_str().as_bytes());
        let byte = hash.as_ref()[..4].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        Self::take(audit_path, byte, 1).await
    }

    /// Waits for the right to change every client, five seconds at most.
    ///
    /// # Errors
    /// As [`WriteLock::of`].
    pub async fn of_all(audit_path: &Path) -> Result<Self, AuditError> {
        // No length: to the end of all offsets.
        Self::take(audit_path, 0, 0).await
    }

    /// Asks again and again: whoever waits within the system cannot be told to stop waiting.
    async fn take(audit_path: &Path, start: i64, len: i64) -> Result<Self, AuditError> {
        let path = audit_path.to_owned();
        let opened = tokio::task::spawn_blocking(move || file::lock_file(&path, ".write.lock"));
        let locked = opened.await.map_err(|_| AuditError::Closed)??;
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: start,
            l_len: len,
            l_pid: 0,
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(25))
            .with_jitter()
            .without_max_times();
        let attempt = || std::future::ready(fcntl(locked.as_fd(), FcntlArg::F_OFD_SETLK(&lock)));
        let held = |error: &Errno| matches!(error, Errno::EAGAIN | Errno::EACCES);
        match tokio::time::timeout(PATIENCE, attempt.retry(pauses).when(held)).await {
            Ok(Ok(_)) => Ok(Self { _locked: locked }),
            Ok(Err(error)) => Err(AuditError::Io { path: audit_path.to_owned(), source: Arc::new(error.into()) }),
            Err(_elapsed) => Err(AuditError::Held),
        }
    }
}
