//! The file of the trail: batches of lines appended and synced, whatever was done to the file in between.
//!
//! A batch is written under an exclusive lock on `<file>.lock`, so that a service and a command can both write.
//! Before it, the path is looked at anew: the file may have been rotated away, cut, or lengthened by the other process.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use nix::sys::statvfs::fstatvfs;

use super::AuditError;
use super::line::{Entry, Event, Hash, KEPT_MAX_BYTES, LINE_MAX_BYTES, Line, NEW_FILE};
use crate::lock::{beside, open_regular};

/// The most that is searched for the last whole line; a batch is at most this long.
const WINDOW_BYTES: u64 = 256 * LINE_MAX_BYTES as u64;
/// How the first line of each file of ours starts.
const FILE_OPENS: &[u8] = b"{\"v\":1,\"seq\":";

/// What the trail asks of a disk, so that a test can have one that fails.
pub(super) trait Disk: Send {
    /// Appends all of `bytes`.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Returns once what was written would outlive a power loss.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Bytes left for this user on the file system of `file`.
    fn free_bytes(&self, file: &File) -> Option<u64> {
        let found = fstatvfs(file).ok()?;
        #[allow(clippy::useless_conversion)] // the widths differ between targets
        Some(u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size())))
    }
}

/// The disk itself.
pub(super) struct RealDisk;

impl Disk for RealDisk {}

/// A batch that failed: the next one starts with the file opened anew and a `repair` line.
struct Failure {
    /// Bytes that may stand behind the known end, because cutting them off failed too.
    uncut_bytes: u64,
}

/// The file, and what is known of it since the last batch.
pub(super) struct Trail {
    path: PathBuf,
    disk: Box<dyn Disk>,
    lock: File,
    file: Option<File>,
    /// Length up to which all is synced.
    len: u64,
    /// Number and hash of the last line.
    seq: u64,
    head: Hash,
    folder_synced: bool,
    failure: Option<Failure>,
}

impl Trail {
    /// Opens or makes the file and writes the `open` line.
    pub(super) fn open(path: &Path, disk: Box<dyn Disk>, at: Timestamp) -> Result<Self, AuditError> {
        if let Some(folder) = folder(path) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| failed(path, error))?;
        }
        let beside = beside(path, ".lock");
        let lock = open_regular(&beside).map_err(|error| failed(&beside, error))?;
        let mut trail = Self {
            path: path.to_owned(),
            disk,
            lock,
            file: None,
            len: 0,
            seq: 0,
            head: Hash::NONE,
            folder_synced: false,
            failure: None,
        };
        trail.locked(|trail| trail.batch([], at, true))?;
        Ok(trail)
    }

    /// Appends `entries` as lines and syncs. With an error none of them is in the trail.
    pub(super) fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        at: Timestamp,
    ) -> Result<(), AuditError> {
        self.locked(|trail| trail.batch(entries, at, false))
    }

    /// Number of the last line.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Hash of the last line.
    pub(super) fn head(&self) -> Hash {
        self.head
    }

    /// Whether the last batch failed.
    pub(super) fn is_broken(&self) -> bool {
        self.failure.is_some()
    }

    /// Bytes left where the file is.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.file.as_ref().and_then(|file| self.disk.free_bytes(file))
    }

    fn locked(&mut self, work: impl FnOnce(&mut Self) -> Result<(), AuditError>) -> Result<(), AuditError> {
        self.lock.lock().map_err(|error| failed(&self.path, error))?;
        let done = work(self);
        if let Err(error) = self.lock.unlock() {
            tracing::error!(%error, "the audit file's lock cannot be released");
        }
        done
    }

    fn batch<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        at: Timestamp,
        starting: bool,
    ) -> Result<(), AuditError> {
        let mut lead = self.attach(starting)?;
        if self.len == 0 {
            lead.insert(0, opening(starting));
        }
        if self.failure.is_some() {
            lead.push(Entry::new(Event::Repair).reason("write_failed"));
        }
        let (mut seq, mut head, mut bytes) = (self.seq, self.head, String::new());
        let mut push = |entry: &Entry| {
            seq += 1;
            let (line, hash) = entry.render(seq, at, head);
            head = hash;
            bytes.push_str(&line);
        };
        lead.iter().for_each(&mut push);
        entries.into_iter().for_each(push);
        if bytes.is_empty() {
            return Ok(());
        }
        let file = self.file.as_ref().expect("attached");
        let written = self.disk.write(file, bytes.as_bytes()).and_then(|()| self.disk.sync(file)).and_then(|()| {
            // The name of a new file is in its folder, which has a sync of its own.
            let folder = folder(&self.path).filter(|_| !self.folder_synced);
            folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        });
        if let Err(error) = written {
            // Never synced again as it stands: Linux may have dropped the pages and would report success. Cut off at
            // once, while the lock is held, for else the other process would chain its lines to these.
            let uncut_bytes = if file.set_len(self.len).is_ok() { 0 } else { bytes.len() as u64 };
            self.failure = Some(Failure { uncut_bytes });
            return Err(failed(&self.path, error));
        }
        self.folder_synced = true;
        self.failure = None;
        self.len += bytes.len() as u64;
        (self.seq, self.head) = (seq, head);
        Ok(())
    }

    /// Makes sure that the open file is the path's and that its end is known. Gives the lines that must come first.
    fn attach(&mut self, starting: bool) -> Result<Vec<Entry>, AuditError> {
        let io_failed = |error| failed(&self.path, error);
        let there = match fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_file() => return Err(AuditError::NotRegular { path: self.path.clone() }),
            Ok(found) => Some((found.dev(), found.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io_failed(error)),
        };
        let known = match &self.file {
            Some(file) => file.metadata().map(|found| Some((found.dev(), found.ino()))).map_err(io_failed)?,
            None => None,
        };
        let replaced = known.is_none() || known != there;
        if replaced || self.failure.is_some() {
            // The old one stays open until the new one is: its inode number cannot come back before.
            let file = open_regular(&self.path).map_err(|error| failed(&self.path, error))?;
            if replaced {
                self.leave();
                return self.adopt(file, starting);
            }
            self.file = Some(file);
        }

        let file = self.file.as_ref().expect("opened above");
        let mut len = file.metadata().map_err(io_failed)?.len();
        if let Some(Failure { uncut_bytes }) = self.failure
            && (self.len + 1..=self.len + uncut_bytes).contains(&len)
        {
            file.set_len(self.len).map_err(io_failed)?;
            len = self.len;
        }
        let mut lead = Vec::new();
        if len > self.len {
            let end = End::find(&self.path, file, self.len)?;
            lead.extend(end.cut(file).map_err(io_failed)?);
            (self.len, self.folder_synced) = (end.whole, true);
            self.advance(end.last);
        } else if len < self.len {
            tracing::error!(
                path = %self.path.display(), expected_bytes = self.len, found_bytes = len, next_seq = self.seq + 1,
                "the audit file was cut by somebody; the chain goes on and shows it"
            );
            let end = End::find(&self.path, file, 0)?;
            let torn = end.cut(file).map_err(io_failed)?;
            self.len = end.whole;
            lead.push(Entry::new(Event::Repair).reason("shortened"));
            lead.extend(torn);
        }
        Ok(lead)
    }

    /// Reads what the other process still wrote to the file that is no longer the path's: the chain goes on from there.
    fn leave(&mut self) {
        let Some(file) = &self.file else { return };
        if file.metadata().is_ok_and(|found| found.len() > self.len)
            && let Ok(end) = End::find(&self.path, file, self.len)
        {
            self.advance(end.last);
        }
    }

    /// Goes on in a file that was not the path's at the last batch: new, rotated in, or put there by somebody.
    fn adopt(&mut self, file: File, starting: bool) -> Result<Vec<Entry>, AuditError> {
        let end = End::find(&self.path, &file, 0)?;
        let torn = end.cut(&file).map_err(|error| failed(&self.path, error))?;
        if !end.chained {
            tracing::error!(path = %self.path.display(), "the last line of the audit file does not follow from its hash");
        }
        let newer = end.last.is_some_and(|(seq, _)| seq > self.seq);
        if !newer && end.whole > 0 {
            tracing::error!(path = %self.path.display(), next_seq = self.seq + 1, "the audit file was replaced by an older one");
        }
        self.advance(end.last);
        self.len = end.whole;
        self.file = Some(file);
        self.folder_synced = false;
        // Where the other process of ours rotated first, its `open` line continues the chain already.
        let announce = end.whole > 0 && (starting || !newer);
        Ok(torn.into_iter().chain(announce.then(|| opening(starting))).collect())
    }

    /// Takes the last line of the other process as the one to follow. An older one cannot be its.
    fn advance(&mut self, last: Option<(u64, Hash)>) {
        if let Some((seq, head)) = last.filter(|(seq, _)| *seq > self.seq) {
            (self.seq, self.head) = (seq, head);
        }
    }
}

/// The first line of a file, or of a process in it.
fn opening(starting: bool) -> Entry {
    let open = Entry::new(Event::Open);
    if starting { open } else { open.reason(NEW_FILE) }
}

/// The end of a file: its last whole line, and what stands behind it.
struct End {
    /// Offset behind the last whole line.
    whole: u64,
    last: Option<(u64, Hash)>,
    /// Whether the last line follows from the one before, as far as that could be seen.
    chained: bool,
    torn: Vec<u8>,
}

impl End {
    /// Looks at what stands behind offset `from`, which is where a line starts.
    fn find(path: &Path, file: &File, from: u64) -> Result<Self, AuditError> {
        let len = file.metadata().map_err(|error| failed(path, error))?.len();
        let start = from.max(len.saturating_sub(WINDOW_BYTES));
        let mut bytes = vec![0; usize::try_from(len - start).expect("bounded by the window")];
        file.read_exact_at(&mut bytes, start).map_err(|error| failed(path, error))?;

        let mut end = Self { whole: from, last: None, chained: true, torn: Vec::new() };
        let (mut offset, mut whole) = (0, 0);
        for text in bytes.split_inclusive(|byte| *byte == b'\n') {
            offset += text.len();
            let Some(body) = text.strip_suffix(b"\n") else { break };
            let Some(line) = Line::parse(body) else { continue };
            let Some(head) = line.link() else { continue };
            let previous = line.prev.as_deref().and_then(Hash::parse).or(end.last.map(|(_, head)| head));
            end.chained = previous.is_none_or(|previous| line.follows(body, previous));
            end.last = Some((line.seq, head));
            whole = offset;
        }
        if end.last.is_some() {
            end.whole = start + whole as u64;
        } else if start > from || from == 0 && !may_be_torn(&bytes) {
            // Cutting off what is torn must never empty a file that is not ours.
            return Err(AuditError::Foreign { path: path.to_owned() });
        }
        end.torn = bytes.split_off(whole);
        Ok(end)
    }

    /// Cuts off what is torn: it was not synced, so nothing was answered on it. The `repair` line keeps its start.
    fn cut(&self, file: &File) -> io::Result<Option<Entry>> {
        if self.torn.is_empty() {
            return Ok(None);
        }
        file.set_len(self.whole)?;
        let kept = &self.torn[..self.torn.len().min(KEPT_MAX_BYTES)];
        let mut repair = Entry::new(Event::Repair).reason("torn").count(self.torn.len() as u64);
        repair.kept = Some(base64::engine::general_purpose::STANDARD.encode(kept));
        Ok(Some(repair))
    }
}

/// Whether a file without any whole line may be what is left of our first batch.
fn may_be_torn(bytes: &[u8]) -> bool {
    let opens = bytes.len().min(FILE_OPENS.len());
    bytes[..opens] == FILE_OPENS[..opens] || bytes.iter().all(|byte| *byte == 0)
}

fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

pub(super) fn failed(path: &Path, error: io::Error) -> AuditError {
    if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) || error.kind() == ErrorKind::InvalidInput {
        return AuditError::NotRegular { path: path.to_owned() };
    }
    AuditError::Io { path: path.to_owned(), source: Arc::new(error) }
}
