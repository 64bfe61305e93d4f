//! Reading the trail: whether it is whole, what it says, and which saves have no known outcome.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::line::{Event, Hash, LINE_MAX_BYTES, Line, NEW_FILE};

/// How long after a reseal a grant may still name the cell before: a request lasts no longer, and the command that
/// reseals cannot hold back those that run in the service.
const RESEAL_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// What a whole trail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many lines were read.
    pub lines: u64,
    /// Number of the first line; 0 without lines.
    pub first_seq: u64,
    /// Number of the last line; 0 without lines.
    pub last_seq: u64,
    /// Hash of the last line in hex; empty without lines.
    pub head: String,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines, seq {}..{}, head {}", self.lines, self.first_seq, self.last_seq, self.head)
    }
}

/// The first line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: seq {seq}: {reason}", file.display())]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line's number in the file, from 1.
    pub line: u64,
    /// Its `seq`, or the one expected where it has none.
    pub seq: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its hash does not follow from its bytes and the line before.
    Hash,
    /// It is not the next number.
    Seq,
    /// The file does not start with an `open` line that names the last hash before it.
    Prev,
    /// It is no whole line.
    Torn,
    /// It grants a cell that is not the newest saved: an older one was put back.
    StaleEnvelope,
    /// The given head is not in the trail: its end was cut off, or all of it was rewritten.
    Head,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hash => "hash: the line is not what was written, or not behind this line before it",
            Self::Seq => "seq: not the next number; lines are missing, or were moved or inserted before it",
            Self::Prev => "prev: the file does not begin with an `open` line that names the last hash before it",
            Self::Torn => "torn: not a whole line of an audit trail",
            Self::StaleEnvelope => {
                "stale_envelope: it grants a cell that a later save had replaced; an older one was put back"
            }
            Self::Head => "head: the given hash is not in the trail; its end was cut off, or it was written anew",
        })
    }
}

/// Why a trail could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not whole.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A file could not be read.
    #[error("audit file `{}` cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read on.
    #[error("the audit file cannot be read")]
    Io(#[from] io::Error),
    /// The line has not the form; the next may.
    #[error("line {line} is no audit line")]
    NoLine {
        /// Its number in the file, from 1.
        line: u64,
    },
}

/// A save, reseal or removal of which the trail does not tell for sure whether the store took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The client, as the line has it.
    pub client: String,
    /// The iv of the cell that was to be stored; `None` for a removal.
    pub envelope: Option<String>,
    /// Whether the trail says that it failed: the store may have made it late.
    pub failed: bool,
}

/// A line up to which the trail tells the outcome of every change, so that a start need not read what is before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number.
    pub seq: u64,
    /// Its hash in hex: the file may be another one.
    pub hash: String,
    /// Processes that had begun and not ended then.
    pub running: u64,
}

/// Reads `files`, oldest first, as one trail, and compares it with `head`, a number and hash from the log.
///
/// A trail may begin anywhere: what came before its first file is taken from there.
///
/// # Errors
/// The first line that is wrong, or the file that cannot be read.
pub fn verify(files: &[PathBuf], head: Option<(u64, String)>) -> Result<Verified, VerifyError> {
    let mut verified = Verified { lines: 0, first_seq: 0, last_seq: 0, head: String::new() };
    let (mut last, mut cells, mut anchored) = (None::<(u64, Hash)>, Cells::default(), false);
    let (mut file, mut number) = (Path::new(""), 0);
    for path in files {
        let unreadable = |source| VerifyError::Unreadable { file: path.clone(), source };
        (file, number) = (path, 0);
        for text in Texts::open(path).map_err(unreadable)? {
            let text = text.map_err(unreadable)?;
            number += 1;
            let expected = last.map(|(seq, _)| seq.saturating_add(1));
            let line = text.line();
            let broken = |reason| {
                let seq = line.as_ref().map(|line| line.seq).or(expected).unwrap_or(1);
                Broken { file: path.clone(), line: number, seq, reason }
            };
            let line = line.as_ref().ok_or_else(|| broken(Reason::Torn))?;
            let stated = line.prev.as_deref().and_then(Hash::parse);
            if expected.is_some_and(|expected| line.seq != expected) {
                return Err(broken(Reason::Seq).into());
            }
            let is_open = line.event == Event::Open && stated.is_some();
            if number == 1 && !is_open || is_open && last.is_some_and(|(_, hash)| stated != Some(hash)) {
                return Err(broken(Reason::Prev).into());
            }
            let previous = last.map(|(_, hash)| hash).or(stated).unwrap_or(Hash::NONE);
            let hash =
                line.link().filter(|_| line.follows(&text.body, previous)).ok_or_else(|| broken(Reason::Hash))?;
            if let Some((seq, expected)) = &head
                && *seq == line.seq
            {
                anchored = line.hash == *expected;
                if !anchored {
                    return Err(broken(Reason::Head).into());
                }
            }
            if !cells.take(line) {
                return Err(broken(Reason::StaleEnvelope).into());
            }
            if verified.lines == 0 {
                verified.first_seq = line.seq;
            }
            verified.lines += 1;
            (verified.last_seq, verified.head) = (line.seq, line.hash.clone());
            last = Some((line.seq, hash));
        }
        if number == 0 {
            let seq = last.map_or(1, |(seq, _)| seq.saturating_add(1));
            return Err(Broken { file: path.clone(), line: 1, seq, reason: Reason::Prev }.into());
        }
    }
    match head {
        Some((seq, _)) if !anchored => {
            Err(Broken { file: file.to_owned(), line: number + 1, seq, reason: Reason::Head }.into())
        }
        _ => Ok(verified),
    }
}

/// The lines of one file in order; one that has not the form is an error in its place.
///
/// # Errors
/// The file cannot be opened.
pub fn read(file: &Path) -> io::Result<impl Iterator<Item = Result<Line, ReadError>> + use<>> {
    Ok((1..).zip(Texts::open(file)?).map(|(line, text)| text?.line().ok_or(ReadError::NoLine { line })))
}

/// The last save, reseal or removal of each client in `file`, where the file does not tell its outcome, because a process
/// ended between its line and the store, or tells that it failed. To be asked after [`super::AuditLog::open`]; what is
/// found goes into the trail as `save_confirmed` or `save_failed`. Read is what follows `from`, where that line is in the
/// file, and how far is told.
///
/// # Errors
/// The file cannot be read.
pub fn unsettled(file: &Path, from: Option<&Settled>) -> io::Result<(Vec<Unsettled>, Option<Settled>)> {
    let mut cells = Cells::default();
    let mut texts = Texts::open(file)?;
    if let Some(from) = from
        && let Some(behind) = behind(texts.reader.get_ref(), from)?
    {
        texts.reader.seek(SeekFrom::Start(behind))?;
        cells.running = from.running;
    }
    // Most lines are grants: of those, only which cells they prove to be stored is looked at.
    let mut granted = HashSet::new();
    let mut last: Option<(u64, String)> = None;
    for text in texts {
        let text = text?;
        match text.grant() {
            Some(iv) => granted.extend(iv.map(<[u8]>::to_vec)),
            None => {
                if let Some(line) = text.line() {
                    cells.take(&line);
                    last = Some((line.seq, line.hash));
                }
            }
        }
    }
    let read_to = last.map(|(seq, hash)| Settled { seq, hash, running: cells.running });
    let unknown = cells.clients.into_iter().filter(|(_, cell)| {
        let is_granted = cell.newest.as_ref().is_some_and(|iv| granted.contains(iv.as_bytes()));
        matches!(cell.outcome, Outcome::Unknown | Outcome::Failed) && !is_granted
    });
    let told = |(client, cell): (String, Cell)| {
        let failed = cell.outcome == Outcome::Failed;
        Unsettled { client, envelope: cell.newest, failed }
    };
    Ok((unknown.map(told).collect(), read_to))
}

/// Where the line after `settled` begins; `None` if that line is not in the file. Lines are in the order of their
/// numbers, so it is looked for by halves.
fn behind(file: &File, settled: &Settled) -> io::Result<Option<u64>> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut window = vec![0; 2 * LINE_MAX_BYTES];
    while low < high {
        let middle = low + (high - low) / 2;
        // The first line that begins at `middle` or later.
        let from = if middle == low { low } else { middle - 1 };
        let read = file.read_at(&mut window, from)?;
        let lead =
            if middle == low { Some(0) } else { window[..read].iter().position(|b| *b == b'\n').map(|at| at + 1) };
        let Some(lead) = lead.filter(|lead| from + (*lead as u64) < high) else {
            high = middle;
            continue;
        };
        let rest = &window[lead..read];
        let Some(line) = rest.iter().position(|b| *b == b'\n').and_then(|end| Line::parse(&rest[..end])) else {
            return Ok(None);
        };
        let end = from + lead as u64 + rest.iter().position(|b| *b == b'\n').unwrap_or_default() as u64 + 1;
        match line.seq.cmp(&settled.seq) {
            Ordering::Less => low = end,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok((line.hash == settled.hash).then_some(end)),
        }
    }
    Ok(None)
}

/// What became of the last save, reseal or removal of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing was said against it.
    Announced,
    /// Another process began while it was only announced: the one before may have ended first.
    Unknown,
    /// The store refused, or did not answer and took it after all.
    Failed,
    /// It was granted, or said to have happened.
    Done,
}

struct Cell {
    /// The iv announced last; `None` after a removal.
    newest: Option<String>,
    /// Those that the row may hold if `newest` did not get there.
    before: Vec<String>,
    /// Whether `before` is all; a trail may begin after a save.
    before_known: bool,
    outcome: Outcome,
    /// When, if `newest` is the same token sealed anew.
    resealed: Option<Timestamp>,
}

impl Cell {
    /// Whether a row may hold `iv` at `at`. Granting the newest proves that it is stored.
    fn grant(&mut self, iv: &str, at: Timestamp) -> bool {
        if self.newest.as_deref() == Some(iv) {
            self.outcome = Outcome::Done;
            return true;
        }
        let may_be_before = match self.outcome {
            Outcome::Announced => self.resealed.is_some(),
            Outcome::Unknown | Outcome::Failed => true,
            Outcome::Done => self.resealed.is_some_and(|then| at.duration_since(then) <= RESEAL_GRACE),
        };
        may_be_before && (!self.before_known || self.before.iter().any(|before| before == iv))
    }
}

/// Which cell each client's row should hold, as far as the lines so far tell.
#[derive(Default)]
struct Cells {
    clients: BTreeMap<String, Cell>,
    /// `open` lines without their `stop`.
    running: u64,
}

impl Cells {
    /// Takes the next line; `false` when it grants a cell that was replaced.
    fn take(&mut self, line: &Line) -> bool {
        let Some(client) = &line.client_id else {
            match line.event {
                // Nobody began: whoever goes on in a new file is counted, unless the trail is read from there on.
                Event::Open if line.reason.as_deref() == Some(NEW_FILE) => self.running = self.running.max(1),
                Event::Open => {
                    if self.running > 0 {
                        let announced = self.clients.values_mut().filter(|cell| cell.outcome == Outcome::Announced);
                        announced.for_each(|cell| cell.outcome = Outcome::Unknown);
                    }
                    self.running += 1;
                }
                Event::Stop => {
                    self.running = self.running.saturating_sub(1);
                    if self.running == 0 {
                        // Whoever stops in order has said of each change that failed that it did.
                        let announced = self.clients.values_mut().filter(|cell| cell.outcome == Outcome::Announced);
                        announced.for_each(|cell| cell.outcome = Outcome::Done);
                    }
                }
                _ => {}
            }
            return true;
        };
        match (line.event, self.clients.get_mut(client)) {
            (Event::Save | Event::Reseal | Event::Remove, cell) => {
                let resealed = (line.event == Event::Reseal).then_some(line.time);
                let (before, before_known) = match cell {
                    None => (Vec::new(), false),
                    Some(cell) => {
                        let stored = cell.outcome == Outcome::Done
                            || cell.outcome == Outcome::Announced && cell.resealed.is_none();
                        let older = if stored { Vec::new() } else { std::mem::take(&mut cell.before) };
                        (older.into_iter().chain(cell.newest.take()).collect(), stored || cell.before_known)
                    }
                };
                let newest = line.envelope.clone().filter(|_| line.event != Event::Remove);
                let cell = Cell { newest, before, before_known, outcome: Outcome::Announced, resealed };
                self.clients.insert(client.clone(), cell);
                true
            }
            (Event::SaveFailed | Event::SaveConfirmed, Some(cell)) => {
                // Of a removal neither has one: what withdraws it leaves a save that came after it alone.
                if line.envelope == cell.newest {
                    let failed = line.event == Event::SaveFailed;
                    cell.outcome = if failed { Outcome::Failed } else { Outcome::Done };
                }
                true
            }
            (Event::Grant, Some(cell)) => line.envelope.as_ref().is_none_or(|iv| cell.grant(iv, line.time)),
            _ => true,
        }
    }
}

/// One piece of a file between line feeds.
struct Text {
    body: Vec<u8>,
    /// Whether it ended in a line feed.
    whole: bool,
}

impl Text {
    fn line(&self) -> Option<Line> {
        if self.whole { Line::parse(&self.body) } else { None }
    }

    /// The cell that the line grants, if it is a grant. Names are never found within a text: its quotes are escaped.
    fn grant(&self) -> Option<Option<&[u8]>> {
        const IS_GRANT: &[u8] = b",\"event\":\"grant\"";
        const CELL: &[u8] = b",\"envelope\":\"";
        let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|part| part == what);
        // Version, number and time come before the event, and are short.
        find(&self.body[..self.body.len().min(96)], IS_GRANT).filter(|_| self.whole)?;
        let cell = find(&self.body, CELL).map(|at| &self.body[at + CELL.len()..]);
        Some(cell.and_then(|cell| cell.split(|byte| *byte == b'"').next()))
    }
}

/// The pieces of a file that may be written to meanwhile; overlong ones are skipped over and not whole.
struct Texts {
    reader: BufReader<File>,
    lock: PathBuf,
}

impl Texts {
    fn open(path: &Path) -> io::Result<Self> {
        let mut lock = path.to_owned().into_os_string();
        lock.push(".lock");
        Ok(Self { reader: BufReader::new(File::open(path)?), lock: lock.into() })
    }

    fn piece(&mut self) -> io::Result<Option<Text>> {
        let mut body = Vec::new();
        let limit = LINE_MAX_BYTES as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', &mut body)?;
        if !body.is_empty() && body.len() <= LINE_MAX_BYTES && body.last() != Some(&b'\n') {
            // Perhaps a batch is being written: wait for its end and read on.
            if let Ok(lock) = File::open(&self.lock) {
                lock.lock_shared()?;
            }
            let rest = limit - body.len() as u64;
            self.reader.by_ref().take(rest).read_until(b'\n', &mut body)?;
        }
        let whole = body.last() == Some(&b'\n');
        if whole {
            body.pop();
        } else if body.is_empty() {
            return Ok(None);
        } else if body.len() > LINE_MAX_BYTES {
            self.reader.skip_until(b'\n')?;
        }
        Ok(Some(Text { body, whole }))
    }
}

impl Iterator for Texts {
    type Item = io::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
