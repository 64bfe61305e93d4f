//! Locks on parts of a file, among all tasks and all processes that share it.
//!
//! A lock belongs to one open file (`F_OFD_SETLK`), so it keeps two tasks of a process apart as well as two processes,
//! and it is gone with the process that held it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use ring::digest::{SHA256, digest};

/// A part of a lock file, held. Given back on drop, and with the process.
#[derive(Debug)]
pub struct FileLock {
    _locked: File,
}

impl FileLock {
    /// The file that the locks of `guarded` are on.
    #[must_use]
    pub fn path(guarded: &Path) -> PathBuf {
        beside(guarded, ".write.lock")
    }

    /// Waits until nobody holds `name` in the lock file of `guarded`, [`FileLock::path`]. It is made where it is missing,
    /// for its owner alone, and its folder must be there.
    ///
    /// # Errors
    /// Why the lock file cannot be made or locked.
    pub async fn of(guarded: &Path, name: &str) -> io::Result<Self> {
        // One byte of 2^32 for a name, the same in every release; two names of one byte only wait for each other.
        let hash = digest(&SHA256, name.as_bytes());
        let byte = hash.as_ref()[..4].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
        Self::take(guarded, byte, 1).await
    }

    /// Waits until nobody holds any name.
    ///
    /// # Errors
    /// As [`FileLock::of`].
    pub async fn of_all(guarded: &Path) -> io::Result<Self> {
        // No length: to the end of all offsets.
        Self::take(guarded, 0, 0).await
    }

    /// Asks again and again: whoever waits within the system cannot be told to stop waiting.
    async fn take(guarded: &Path, start: i64, len: i64) -> io::Result<Self> {
        let path = Self::path(guarded);
        let locked = tokio::task::spawn_blocking(move || open_regular(&path)).await.map_err(io::Error::other)??;
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
        attempt.retry(pauses).when(held).await?;
        Ok(Self { _locked: locked })
    }
}

/// The file of locks beside `guarded`, whose name ends in `suffix`.
#[must_use]
pub fn beside(guarded: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(guarded);
    name.push(suffix);
    name.into()
}

/// Opens a regular file to read and append, and makes it where it is missing, for its owner alone.
///
/// # Errors
/// What the system says; `ELOOP` for a link, and [`io::ErrorKind::InvalidInput`] for what else is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_at_a_time_and_all_of_them_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.db");
        let held = FileLock::of(&file, "a").await.unwrap();
        let other = FileLock::of(&file, "b").await.unwrap();
        let mut waits = Box::pin(FileLock::of(&file, "a"));
        let mut waits_for_all = Box::pin(FileLock::of_all(&file));
        for _ in 0..3 {
            assert!(poll!(&mut waits).is_pending());
            assert!(poll!(&mut waits_for_all).is_pending());
            tokio::task::yield_now().await;
        }
        drop(held);
        drop(waits.await.unwrap());
        drop(other);
        let all = waits_for_all.await.unwrap();
        let mut waits = Box::pin(FileLock::of(&file, "c"));
        assert!(poll!(&mut waits).is_pending());
        drop(all);
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.db");
        std::os::unix::fs::symlink("elsewhere", FileLock::path(&file)).unwrap();
        assert_eq!(FileLock::of(&file, "a").await.unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert!(!folder.path().join("elsewhere").exists());
        std::fs::remove_file(FileLock::path(&file)).unwrap();
        nix::unistd::mkfifo(&FileLock::path(&file), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(FileLock::of(&file, "a").await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
