//! The right to change a credential, among all processes that use one trail.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::{AuditError, file};
use crate::credential::ClientId;
use crate::lock::FileLock;

/// How long another process is waited for: a change takes milliseconds, unless its store does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to check and write one credential, or all of them. Given back on drop, and with the process.
///
/// It is a lock on the file `….write.lock` beside the trail, of one byte a client: a change whose outcome is long in
/// coming holds up no other client.
#[derive(Debug)]
pub struct WriteLock {
    _locked: FileLock,
}

impl WriteLock {
    /// Waits for the right to change `client`, five seconds at most.
    ///
    /// # Errors
    /// [`AuditError::Held`], or why the lock file cannot be made or locked.
    pub async fn of(client: &ClientId, audit_path: &Path) -> Result<Self, AuditError> {
        Self::taken(FileLock::of(audit_path, client.as_str()), audit_path).await
    }

    /// Waits for the right to change every client, five seconds at most.
    ///
    /// # Errors
    /// As [`WriteLock::of`].
    pub async fn of_all(audit_path: &Path) -> Result<Self, AuditError> {
        Self::taken(FileLock::of_all(audit_path), audit_path).await
    }

    async fn taken(lock: impl Future<Output = io::Result<FileLock>>, audit_path: &Path) -> Result<Self, AuditError> {
        match timeout(PATIENCE, lock).await {
            Ok(locked) => {
                Ok(Self { _locked: locked.map_err(|error| file::failed(&FileLock::path(audit_path), error))? })
            }
            Err(_elapsed) => Err(AuditError::Held),
        }
    }
}
