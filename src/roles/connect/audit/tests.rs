use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::line::Hash;
use super::*;
use crate::credential::ClientId;

/// A disk that does as the test says.
#[derive(Clone, Default)]
struct Faults(Arc<FaultState>);

#[derive(Default)]
struct FaultState {
    syncs: AtomicUsize,
    failing_syncs: AtomicUsize,
    full: AtomicBool,
    free_bytes: AtomicU64,
    held: Mutex<bool>,
    released: Condvar,
}

impl Faults {
    fn hold(&self) {
        *lock(&self.0.held) = true;
    }

    fn release(&self) {
        *lock(&self.0.held) = false;
        self.0.released.notify_all();
    }
}

impl Disk for Faults {
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        let full = self.0.full.load(Ordering::SeqCst);
        // A full disk takes what still fits.
        RealDisk.write(file, if full { &bytes[..bytes.len() / 2] } else { bytes })?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let held = self.0.released.wait_while(lock(&self.0.held), |held| *held);
        drop(held.unwrap_or_else(PoisonError::into_inner));
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        let failing = self.0.failing_syncs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(io::Error::other("on purpose")) } else { RealDisk.sync(file) }
    }

    fn free_bytes(&self, _: &File) -> Option<u64> {
        Some(self.0.free_bytes.load(Ordering::SeqCst))
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    faults: Faults,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), faults: Faults::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn open(&self) -> AuditLog {
        AuditLog::open_on(Box::new(self.faults.clone()), &self.path(), clock()).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn events(&self) -> Vec<Event> {
        events(&self.path())
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        verify(&[self.path()], None)
    }

    fn broken(&self) -> (u64, Reason) {
        broken(&[self.path()], None)
    }
}

fn clock() -> Clock {
    Clock::fixed("2026-11-23T09:00:00Z".parse().unwrap())
}

fn events(path: &Path) -> Vec<Event> {
    read(path).unwrap().map(|line| line.unwrap().event).collect()
}

fn broken(files: &[PathBuf], head: Option<(u64, String)>) -> (u64, Reason) {
    match verify(files, head) {
        Err(VerifyError::Broken(Broken { line, reason, .. })) => (line, reason),
        other => panic!("{other:?}"),
    }
}

fn grant() -> Entry {
    Entry::new(Event::Grant).client(&"clienta".parse().unwrap()).peer("127.0.0.1")
}

fn refusal() -> Entry {
    Entry::new(Event::Refuse).reason("unauthorized").peer("10.0.0.1")
}

/// The text of a trail with these lines, a second apart, behind an `open` line.
fn trail(entries: &[Entry]) -> String {
    let (mut text, mut head) = (String::new(), Hash::NONE);
    let open = Entry::new(Event::Open);
    for (seq, entry) in (1..).zip(std::iter::once(&open).chain(entries)) {
        let at = Timestamp::from_second(1_800_000_000 + i64::try_from(seq).unwrap()).unwrap();
        let (line, hash) = entry.render(seq, at, head);
        head = hash;
        text.push_str(&line);
    }
    text
}

#[tokio::test]
async fn lines_of_several_batches_and_two_processes_are_one_chain() {
    let fixture = Fixture::new();
    let service = fixture.open();
    service.record(grant()).await.unwrap();
    let command = fixture.open();
    for _ in 0..3 {
        command.record(grant()).await.unwrap();
        service.record(grant()).await.unwrap();
    }
    command.close().await.unwrap();
    service.record(grant()).await.unwrap();
    let status = service.status();
    assert!(status.writable);
    let verified = fixture.verify().unwrap();
    assert_eq!(verified, Verified { lines: 11, first_seq: 1, last_seq: status.seq, head: status.head.clone() });
    assert!(verify(&[fixture.path()], Some((status.seq, status.head))).is_ok());
    service.close().await.unwrap();
    assert!(matches!(service.record(grant()).await, Err(AuditError::Closed)));
    assert_eq!(fixture.events().last(), Some(&Event::Stop));
    for file in ["audit.jsonl", "audit.jsonl.lock"] {
        let mode = fs::metadata(fixture.path().with_file_name(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_write_at_once_never_break_the_chain() {
    let fixture = Fixture::new();
    let (service, command) = (fixture.open(), fixture.open());
    let all = (0..200).map(|n| if n % 2 == 0 { service.record(grant()) } else { command.record(grant()) });
    assert!(join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(fixture.verify().unwrap().lines, 202);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_trail_ended() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        let log = fixture.open();
        log.record(grant()).await.unwrap();
        log.close().await.unwrap();
    }
    use Event::{Grant, Open, Stop};
    assert_eq!(fixture.events(), [Open, Grant, Stop, Open, Grant, Stop]);
    assert_eq!(fixture.verify().unwrap().last_seq, 6);
}

#[test]
fn every_edit_is_found_at_its_line() {
    let fixture = Fixture::new();
    let text = trail(&vec![grant(); 999]);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Each line in a soak; else the first ones, the last ones, and each tenth between them.
    let soaking = std::env::var_os("AIVIARY_SOAK").is_some_and(|value| value == "1");
    let edited = (0..lines.len()).filter(|at| soaking || *at < 5 || *at + 5 >= lines.len() || at % 10 == 0);
    let check = |what: &str, lines: Vec<&str>, expected: (u64, Reason)| {
        fs::write(fixture.path(), lines.concat()).unwrap();
        assert_eq!(fixture.broken(), expected, "{what}");
    };
    for at in edited {
        let number = at as u64 + 1;
        let first_is = |reason| if at == 0 { Reason::Prev } else { reason };
        let with = |text: &'static str, by: &'static str| lines[at].replacen(text, by, 1);

        let mut changed = lines.clone();
        let other = with("2027-", "2028-");
        changed[at] = &other;
        check("change", changed, (number, Reason::Hash));

        let mut garbled = lines.clone();
        let other = with("{\"v\"", "{\"v'");
        garbled[at] = &other;
        check("garbled", garbled, (number, Reason::Torn));

        let mut inserted = lines.clone();
        inserted.insert(at, lines[at]);
        check("insertion", inserted, (number + 1, Reason::Seq));

        if at + 1 < lines.len() {
            let mut removed = lines.clone();
            removed.remove(at);
            check("removal", removed, (number, first_is(Reason::Seq)));
            let mut moved = lines.clone();
            moved.swap(at, at + 1);
            check("move", moved, (number, first_is(Reason::Seq)));
        }
    }
}

#[test]
fn a_cut_end_or_a_rewritten_trail_is_found_only_by_the_head() {
    let fixture = Fixture::new();
    let text = trail(&vec![grant(); 9]);
    fs::write(fixture.path(), &text).unwrap();
    let whole = fixture.verify().unwrap();
    let head = Some((whole.last_seq, whole.head));
    assert!(verify(&[fixture.path()], head.clone()).is_ok());
    let cut: String = text.split_inclusive('\n').take(7).collect();
    fs::write(fixture.path(), cut).unwrap();
    assert_eq!(fixture.verify().unwrap().lines, 7);
    assert_eq!(broken(&[fixture.path()], head.clone()), (8, Reason::Head));
    fs::write(fixture.path(), trail(&vec![grant().peer("10.0.0.1"); 12])).unwrap();
    assert!(fixture.verify().is_ok());
    assert_eq!(broken(&[fixture.path()], head), (10, Reason::Head));
}

#[tokio::test]
async fn a_line_torn_at_any_byte_is_cut_off_and_kept() {
    let fixture = Fixture::new();
    let text = trail(&[grant(), grant()]);
    let last = text[..text.len() - 1].rfind('\n').unwrap() + 1;
    for cut in last..text.len() {
        fs::write(fixture.path(), &text[..cut]).unwrap();
        let log = fixture.open();
        log.close().await.unwrap();
        assert!(fixture.verify().is_ok(), "cut at {cut}");
        let kept = read(&fixture.path()).unwrap().find_map(|line| line.unwrap().kept);
        let kept = kept.map(|kept| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, kept).unwrap());
        assert_eq!(kept.as_deref().unwrap_or_default(), &text.as_bytes()[last..cut], "cut at {cut}");
    }
    for (tail, what) in [(vec![0; 9000], "zeros"), (b"{\"v\":1\n\0\0\n{\"v".to_vec(), "several")] {
        let mut bytes = text.clone().into_bytes();
        bytes.extend(tail);
        fs::write(fixture.path(), bytes).unwrap();
        fixture.open().close().await.unwrap();
        assert_eq!(fixture.verify().unwrap().lines, 6, "{what}");
        assert!(fixture.text().lines().all(|line| line.len() < LINE_MAX_BYTES));
    }
    for torn in ["", "{", "{\"v\":1,\"seq\":1,\"ti", "\0\0\0"] {
        fs::write(fixture.path(), torn).unwrap();
        fixture.open().close().await.unwrap();
        assert_eq!(fixture.verify().unwrap().first_seq, 1, "{torn:?}");
    }
}

#[tokio::test]
async fn a_last_line_with_a_wrong_hash_is_left_for_verify_to_name() {
    let fixture = Fixture::new();
    fs::write(
        fixture.path(),
        trail(&[grant(), grant()]).replace("\"seq\":3,\"time\":\"2027", "\"seq\":3,\"time\":\"2028"),
    )
    .unwrap();
    fixture.open().close().await.unwrap();
    assert_eq!(fixture.events().len(), 5);
    assert_eq!(fixture.broken(), (3, Reason::Hash));
}

#[tokio::test]
async fn what_is_no_audit_file_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    let open = || AuditLog::open(&fixture.path(), clock()).map(drop);
    for text in ["root:x:0:0\n".to_owned(), "{\"level\":30}\n".repeat(9), "x".repeat(2 << 20)] {
        fs::write(fixture.path(), &text).unwrap();
        assert!(matches!(open(), Err(AuditError::Foreign { .. })));
        assert_eq!(fixture.text(), text);
    }
    fs::remove_file(fixture.path()).unwrap();
    symlink("/dev/null", fixture.path()).unwrap();
    assert!(matches!(open(), Err(AuditError::NotRegular { .. })));
    fs::remove_file(fixture.path()).unwrap();
    fs::create_dir(fixture.path()).unwrap();
    assert!(matches!(open(), Err(AuditError::NotRegular { .. })));
}

#[tokio::test]
async fn a_rotated_or_deleted_file_is_followed_by_one_that_continues_the_chain() {
    let fixture = Fixture::new();
    let old = fixture.path().with_extension("1");
    let (log, command) = (fixture.open(), fixture.open());
    log.record(grant()).await.unwrap();
    fs::rename(fixture.path(), &old).unwrap();
    log.record(grant()).await.unwrap();
    command.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Grant, Event::Grant], "one open line, by who came first");
    let files = [old.clone(), fixture.path()];
    assert_eq!(verify(&files, None).unwrap().lines, 6);
    assert_eq!(fixture.verify().unwrap().first_seq, 4, "a file alone may begin anywhere");
    assert_eq!(broken(&[fixture.path(), old.clone()], None), (1, Reason::Seq));
    assert_eq!(broken(&[old.clone(), old], None), (1, Reason::Seq));

    fs::remove_file(fixture.path()).unwrap();
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Grant]);
    assert_eq!(fixture.verify().unwrap().first_seq, 7);

    // An older copy in its place: what follows shows that something is missing.
    fs::remove_file(fixture.path()).unwrap();
    fs::write(fixture.path(), trail(&[grant()])).unwrap();
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.broken(), (3, Reason::Seq));
}

#[tokio::test]
async fn reopening_follows_a_rotation_without_waiting_for_a_line() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let old = fixture.path().with_extension("1");
    fs::rename(fixture.path(), &old).unwrap();
    log.reopen();
    let opened = async {
        while log.status().seq < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), opened).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open]);
    assert_eq!(verify(&[old, fixture.path()], None).unwrap().lines, 2);
}

#[tokio::test]
async fn a_truncated_file_goes_on_and_shows_it() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for _ in 0..3 {
        log.record(grant()).await.unwrap();
    }
    let first = fixture.text().find('\n').unwrap() as u64;
    let cut = |len| fs::OpenOptions::new().write(true).open(fixture.path()).unwrap().set_len(len).unwrap();
    cut(first + 20);
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Repair, Event::Repair, Event::Grant]);
    assert_eq!(fixture.broken(), (2, Reason::Seq));
    cut(0);
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Repair, Event::Grant]);
    assert_eq!(fixture.verify().unwrap().first_seq, 8, "as after a rotation that copies and truncates");
}

#[tokio::test]
async fn a_link_in_place_of_the_file_refuses_until_it_is_gone() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let target = fixture.path().with_file_name("target");
    fs::write(&target, "").unwrap();
    fs::remove_file(fixture.path()).unwrap();
    symlink(&target, fixture.path()).unwrap();
    assert!(matches!(log.record(grant()).await, Err(AuditError::NotRegular { .. })));
    assert!(!log.status().writable);
    assert_eq!(fs::read(&target).unwrap(), b"");
    fs::remove_file(fixture.path()).unwrap();
    log.record(grant()).await.unwrap();
    assert!(log.status().writable);
    assert_eq!(fixture.verify().unwrap().last_seq, 3);
}

#[tokio::test]
async fn a_failed_sync_refuses_its_lines_and_the_next_batch_repairs() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.record(grant()).await.unwrap();
    let before = fixture.text();
    fixture.faults.0.failing_syncs.store(1, Ordering::SeqCst);
    assert!(matches!(log.record(grant()).await, Err(AuditError::Io { .. })));
    assert!(fixture.text() == before || fixture.events().last() == Some(&Event::Repair));
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Grant, Event::Repair, Event::Grant]);
    assert_eq!(fixture.verify().unwrap().lines, 4);
    assert!(log.status().writable);
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_trail_recovers_by_itself() {
    let fixture = Fixture::new();
    let (log, other) = (fixture.open(), fixture.open());
    fixture.faults.0.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(log.record(grant()).await.is_err());
        assert!(other.record(grant()).await.is_err());
    }
    assert!(!log.status().writable);
    assert_eq!(fixture.verify().unwrap().lines, 2, "half lines do not stay");
    fixture.faults.0.full.store(false, Ordering::SeqCst);
    log.record(grant()).await.unwrap();
    other.record(grant()).await.unwrap();
    assert_eq!(fixture.events()[2..].iter().filter(|event| **event == Event::Repair).count(), 2);
    assert!(fixture.verify().is_ok());
}

#[tokio::test]
async fn a_new_file_that_cannot_be_written_at_first_still_starts_with_open() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fs::remove_file(fixture.path()).unwrap();
    fixture.faults.0.full.store(true, Ordering::SeqCst);
    assert!(log.record(grant()).await.is_err());
    fixture.faults.0.full.store(false, Ordering::SeqCst);
    log.record(grant()).await.unwrap();
    assert_eq!(fixture.events(), [Event::Open, Event::Repair, Event::Grant]);
    assert_eq!(fixture.verify().unwrap().first_seq, 2);
}

#[tokio::test]
async fn a_sync_that_hangs_is_an_error_in_time_and_its_lines_do_no_harm() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.faults.hold();
    let began = Instant::now();
    let both = join_all([log.record(grant()), log.record(grant())]).await;
    assert!(both.iter().all(|done| matches!(done, Err(AuditError::TimedOut))), "{both:?}");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(!log.status().writable, "the status answers meanwhile");
    fixture.faults.release();
    log.record(grant()).await.unwrap();
    assert!(log.status().writable);
    assert!(fixture.verify().is_ok());
}

/// The line of a change to the cell that `iv` names.
fn change(event: Event, iv: &str) -> Entry {
    Entry::new(event).client(&"clienta".parse().unwrap()).envelope(iv)
}

/// A trail in which cell A is stored and was granted.
async fn with_a_cell(fixture: &Fixture) -> AuditLog {
    let log = fixture.open();
    log.announce(change(Event::Save, "A")).await.unwrap().made();
    log.record(change(Event::Grant, "A")).await.unwrap();
    log
}

#[tokio::test]
async fn a_change_whose_line_landed_after_it_was_given_up_is_withdrawn_before_any_later_line() {
    use Event::{Grant, Open, Remove, Save, SaveConfirmed, SaveFailed};
    for (event, announcement) in
        [(Save, change(Save, "B")), (Remove, Entry::new(Remove).client(&"clienta".parse().unwrap()))]
    {
        let fixture = Fixture::new();
        let log = with_a_cell(&fixture).await;
        fixture.faults.hold();
        assert!(matches!(log.announce(announcement).await.map(drop), Err(AuditError::TimedOut)));
        let grant = tokio::spawn({
            let log = log.clone();
            async move { log.record(change(Grant, "A")).await }
        });
        tokio::task::yield_now().await;
        fixture.faults.release();
        grant.await.unwrap().unwrap();
        assert_eq!(fixture.events(), [Open, Save, SaveConfirmed, Grant, event, SaveFailed, Grant]);
        fixture.verify().unwrap();
        let last = read(&fixture.path()).unwrap().map(Result::unwrap).nth(5).unwrap();
        assert_eq!(last.envelope.as_deref(), (event == Save).then_some("B"), "names what it withdraws");
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_written_is_owed_and_comes_before_any_later_line() {
    use Event::{Grant, Open, Repair, Save, SaveConfirmed, SaveFailed, Stop};
    let fixture = Fixture::new();
    let log = with_a_cell(&fixture).await;
    let announced = log.announce(change(Save, "B")).await.unwrap();
    fixture.faults.0.full.store(true, Ordering::SeqCst);
    announced.withdraw().await;
    assert!(log.record(change(Grant, "A")).await.is_err());
    fixture.faults.0.full.store(false, Ordering::SeqCst);
    log.record(change(Grant, "A")).await.unwrap();
    assert_eq!(fixture.events(), [Open, Save, SaveConfirmed, Grant, Save, Repair, SaveFailed, Grant]);
    fixture.verify().unwrap();

    // Nobody asks for a line: it is written as soon as the file can be.
    let announced = log.announce(change(Save, "C")).await.unwrap();
    fixture.faults.0.full.store(true, Ordering::SeqCst);
    drop(announced);
    assert!(log.record(change(Grant, "A")).await.is_err());
    fixture.faults.0.full.store(false, Ordering::SeqCst);
    let written = async {
        while fixture.events().last() != Some(&SaveFailed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();

    // What was dropped at the end stands before the stop.
    drop(log.announce(change(Save, "D")).await.unwrap());
    log.close().await.unwrap();
    assert_eq!(fixture.events().split_off(11), [Save, SaveFailed, Stop]);
    fixture.verify().unwrap();
}

#[tokio::test]
async fn what_was_made_is_said_with_the_next_line_in_its_sync_or_at_the_end() {
    use Event::{Grant, Open, Remove, Save, SaveConfirmed, Stop};
    let fixture = Fixture::new();
    let log = fixture.open();
    let announced = log.announce(change(Save, "A")).await.unwrap();
    let before = fixture.faults.0.syncs.load(Ordering::SeqCst);
    announced.made();
    log.record(change(Grant, "A")).await.unwrap();
    assert_eq!(fixture.events(), [Open, Save, SaveConfirmed, Grant]);
    assert_eq!(fixture.faults.0.syncs.load(Ordering::SeqCst), before + 1);

    log.announce(Entry::new(Remove).client(&"clienta".parse().unwrap())).await.unwrap().made();
    log.close().await.unwrap();
    assert_eq!(fixture.events().split_off(4), [Remove, SaveConfirmed, Stop]);
    fixture.verify().unwrap();
}

#[tokio::test]
async fn records_at_once_share_syncs_and_a_full_queue_refuses() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let before = fixture.faults.0.syncs.load(Ordering::SeqCst);
    fixture.faults.hold();
    {
        let mut all = std::pin::pin!(join_all((0..200).map(|_| log.record(grant()))));
        tokio::select! {
            biased;
            _ = &mut all => panic!("answered before the sync"),
            () = std::future::ready(()) => {}
        }
        fixture.faults.release();
        assert!(all.await.iter().all(Result::is_ok));
    }
    let syncs = fixture.faults.0.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs <= 2, "{syncs} syncs for 200 lines");
    assert_eq!(fixture.verify().unwrap().lines, 201);

    fixture.faults.hold();
    let many = join_all((0..2 * QUEUE_MAX).map(|_| log.record(grant()))).await;
    fixture.faults.release();
    let refused = many.iter().filter(|done| matches!(done, Err(AuditError::Busy))).count();
    assert!((QUEUE_MAX - 257..=QUEUE_MAX).contains(&refused), "{refused}");
    log.close().await.unwrap();
    let lines = fixture.verify().unwrap().lines;
    assert!(lines <= 201 + 257 + 1, "{lines}: whoever gave up gets no line");
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_few_lines_whose_counts_add_up() {
    let fixture = Fixture::new();
    let log = fixture.open();
    for _ in 0..100_000 {
        log.refuse(refusal());
    }
    log.record(grant()).await.unwrap();
    log.close().await.unwrap();
    let lines: Vec<Line> = read(&fixture.path()).unwrap().map(Result::unwrap).collect();
    let of = |event| lines.iter().filter(move |line| line.event == event);
    let suppressed: u64 = of(Event::Suppressed).filter_map(|line| line.count).sum();
    let written = of(Event::Refuse).count() as u64;
    assert!(written <= 120 && lines.len() <= 200, "{} lines", lines.len());
    assert_eq!(written + suppressed, 100_000);
    assert!(fixture.verify().is_ok());
}

#[tokio::test]
async fn refusals_that_could_not_be_written_are_counted() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.faults.0.full.store(true, Ordering::SeqCst);
    log.refuse(refusal());
    assert!(log.record(grant()).await.is_err());
    fixture.faults.0.full.store(false, Ordering::SeqCst);
    log.close().await.unwrap();
    let lines = read(&fixture.path()).unwrap().map(Result::unwrap);
    assert_eq!(lines.filter_map(|line| line.count).sum::<u64>(), 1);
}

#[tokio::test]
async fn little_space_is_told_before_it_runs_out() {
    let fixture = Fixture::new();
    fixture.faults.0.free_bytes.store(LOW_SPACE_BYTES, Ordering::SeqCst);
    let log = fixture.open();
    assert!(!log.status().low_space);
    fixture.faults.0.free_bytes.store(LOW_SPACE_BYTES - 1, Ordering::SeqCst);
    log.record(grant()).await.unwrap();
    assert!(log.status().low_space && log.status().writable);
}

#[tokio::test]
async fn a_client_is_changed_by_one_at_a_time_and_others_meanwhile() {
    let fixture = Fixture::new();
    let path = fixture.path();
    let (client, other): (ClientId, ClientId) = ("clienta".parse().unwrap(), "clientb".parse().unwrap());
    let first = WriteLock::of(&client, &path).await.unwrap();
    let began = Instant::now();
    drop(WriteLock::of(&other, &path).await.unwrap());
    let (same, all) = tokio::join!(WriteLock::of(&client, &path), WriteLock::of_all(&path));
    assert!(matches!((same, all), (Err(AuditError::Held), Err(AuditError::Held))));
    let waited = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(7)).contains(&waited), "{waited:?}");

    let order = Mutex::new(Vec::new());
    let second = async {
        let all = WriteLock::of_all(&path).await.unwrap();
        lock(&order).push("second");
        drop(all);
    };
    let release = async {
        lock(&order).push("first");
        drop(first);
    };
    tokio::join!(second, release);
    assert_eq!(*lock(&order), ["first", "second"]);
    drop(WriteLock::of(&client, &path).await.unwrap());
    let mode = fs::metadata(path.with_file_name("audit.jsonl.write.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_head_is_logged_when_the_trail_is_opened() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (fixture, log) = (Fixture::new(), Log::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let audit = tracing::subscriber::with_default(subscriber, || fixture.open());
    let logged = String::from_utf8(lock(&log.0).clone()).unwrap();
    assert!(logged.contains(&format!("audit head seq=1 hash={}", audit.status().head)), "{logged}");
}

/// Lines of one client: `s` save, `r` reseal, `f` failed, `c` confirmed, `g` grant, each of the cell that the second
/// letter names; `x` remove, `o` and `q` the begin and end of a process, `n` a new file, `.` a minute without anything.
fn story(text: &str) -> String {
    let client = "clienta".parse().unwrap();
    let entries: Vec<Entry> = text
        .split_whitespace()
        .flat_map(|word| {
            let (event, cell) = match word.as_bytes() {
                [b'o'] => (Event::Open, None),
                [b'q'] => (Event::Stop, None),
                [b'n'] => return vec![Entry::new(Event::Open).reason(super::line::NEW_FILE)],
                [b'.'] => return vec![refusal(); 60],
                [b'x'] => (Event::Remove, None),
                [b'f'] => (Event::SaveFailed, None),
                [b'c'] => (Event::SaveConfirmed, None),
                [b's', cell] => (Event::Save, Some(cell)),
                [b'r', cell] => (Event::Reseal, Some(cell)),
                [b'f', cell] => (Event::SaveFailed, Some(cell)),
                [b'c', cell] => (Event::SaveConfirmed, Some(cell)),
                [b'g', cell] => (Event::Grant, Some(cell)),
                _ => panic!("{word}"),
            };
            let entry = Entry::new(event);
            let entry = if matches!(event, Event::Open | Event::Stop) { entry } else { entry.client(&client) };
            vec![match cell {
                Some(cell) => entry.envelope(char::from(*cell).to_string()),
                None => entry,
            }]
        })
        .collect();
    trail(&entries)
}

#[test]
fn a_grant_of_a_cell_that_was_replaced_is_stale() {
    let fixture = Fixture::new();
    for (name, lines, stale) in [
        ("in order", "sA gA sB gB gB", false),
        ("older cell put back", "sA gA sB gB gA", true),
        ("older cell put back before the new one was ever granted", "sA gA sB gA", true),
        ("a cell of two saves before", "sA sB sC gA", true),
        ("a cell that nobody saved", "sA gZ", true),
        ("the trail begins after the save", "gA gA", false),
        ("unknown is not stale until a save is known", "gA sB gB gA", true),
        ("save failed, the one before holds", "sA gA sB fB gA", false),
        ("save failed and landed after all", "sA gA sB fB gA gB", false),
        ("landed, and then the one before put back", "sA gA sB fB gB gA", true),
        ("failed twice, any of them may be there", "sA gA sB fB sC fC gB", false),
        ("failed, next save replaces all", "sA gA sB fB sC gA", true),
        ("first known save failed, the one before is unknown", "sB fB gA", false),
        ("failed, but another cell is meant", "sA gA sB fA gA", true),
        ("crash between line and store", "sA gA sB o gA", false),
        ("crash, confirmed at start", "sA gA sB o cB gA", true),
        ("crash, found not stored at start", "sA gA sB o fB gA", false),
        ("stop in order proves the save", "sA gA sB q o gA", true),
        ("a new file begins no process", "sA gA sB n gA", true),
        ("nor hides it that one stops in order", "sA gA sB n q o gA", true),
        ("a new file between the save and its confirmation", "sA cA gA sB n cB gA", true),
        ("another process between the save and its confirmation", "sA cA gA sB o q cB gA", true),
        ("another process before the confirmation, which a crash lost", "sA cA gA sB o q gA", false),
        ("confirmed, and the newest granted", "sA cA gA sB cB gB", false),
        ("removed, confirmed, put back", "sA cA gA x c gA", true),
        ("resealed, confirmed, overtaken by a grant", "sA cA rB cB gA gB", false),
        ("removed row put back", "sA gA x gA", true),
        ("removal failed", "sA gA x f gA", false),
        ("a removal that is withdrawn late leaves the save after it", "sA gA x sB f gA", true),
        ("proved by a stop in order, whatever crashes later", "sA gA sB q o o gA", true),
        ("removed and saved anew", "sA x sB gB", false),
        ("removed, saved anew, cell of before put back", "sA x sB gA", true),
        ("reseal overtaken by a grant that was under way", "sA gA rB gB gA", false),
        ("resealed, killed before the store, run again", "sA gA rB gA . gA rC gC", false),
        ("resealed, older cell put back later", "sA gA rB gB . gA", true),
    ] {
        fs::write(fixture.path(), story(lines)).unwrap();
        let found = match fixture.verify() {
            Ok(_) => false,
            Err(VerifyError::Broken(Broken { reason: Reason::StaleEnvelope, .. })) => true,
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(found, stale, "{name}: {lines}");
    }
}

#[test]
fn saves_without_a_known_outcome_are_told_at_start() {
    let fixture = Fixture::new();
    let told = |lines: &str| {
        fs::write(fixture.path(), story(lines)).unwrap();
        unsettled(&fixture.path(), None)
            .unwrap()
            .0
            .into_iter()
            .map(|of| of.envelope.unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert_eq!(told("sA gA sB o"), ["B"]);
    assert_eq!(told("sA x o"), [""]);
    assert_eq!(told("sA gA sB fB q o"), ["B"], "it may have been made after that was written");
    let failed = |lines: &str| {
        told(lines);
        unsettled(&fixture.path(), None).unwrap().0[0].failed
    };
    assert_eq!((failed("sA o"), failed("sA fA o")), (false, true));
    for settled in ["sA gA o", "sA q o", "sA fA sB cB o", "sA fA gA o", "sA o cA", "sA o gA", "sA cA o", "sA"] {
        assert_eq!(told(settled), Vec::<String>::new(), "{settled}");
    }
}

#[test]
fn what_was_settled_is_not_read_again() {
    let fixture = Fixture::new();
    let grants = "gA ".repeat(3000);
    let told = |from: Option<&Settled>| {
        let (found, read_to) = unsettled(&fixture.path(), from).unwrap();
        (found.into_iter().map(|of| of.envelope.unwrap_or_default()).collect::<Vec<_>>(), read_to.unwrap())
    };
    fs::write(fixture.path(), story(&format!("sA gA sB o {grants} sC o"))).unwrap();
    let lines: Vec<Line> = read(&fixture.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(told(None).0, ["C"]);
    // From each line on, what is behind it; the number running then is the caller's to say.
    for at in [1, 2, 3, 5, 6, 1500, lines.len() - 2, lines.len() - 1] {
        let from = Settled { seq: lines[at - 1].seq, hash: lines[at - 1].hash.clone(), running: 1 };
        let (found, read_to) = told(Some(&from));
        assert_eq!(found, if at < lines.len() - 1 { vec!["C"] } else { vec![] }, "line {at}");
        assert_eq!((read_to.seq, &read_to.hash), (lines.len() as u64, &lines.last().unwrap().hash), "line {at}");
    }
    // One that is not in the file, or not as it was: all is read.
    for (seq, hash) in [(5, "0".repeat(64)), (1_000_000, lines[0].hash.clone()), (0, lines[0].hash.clone())] {
        assert_eq!(told(Some(&Settled { seq, hash, running: 0 })).0, ["C"], "{seq}");
    }
    // Several processes at once: what one of them announced before the mark's process stopped is not proved by that.
    fs::write(fixture.path(), story("o sB q o")).unwrap();
    let lines: Vec<Line> = read(&fixture.path()).unwrap().map(Result::unwrap).collect();
    let from = |running| Settled { seq: 2, hash: lines[1].hash.clone(), running };
    assert_eq!(told(Some(&from(2))), (vec!["B".to_owned()], Settled { running: 2, ..told(None).1 }));
    assert_eq!(told(Some(&from(1))).0, Vec::<String>::new());
}

#[tokio::test]
async fn a_line_that_is_none_is_read_over() {
    let fixture = Fixture::new();
    let text = trail(&[grant(), grant()]).replacen("grant", "give", 1);
    fs::write(fixture.path(), format!("{text}{}\n{{", "x".repeat(9000))).unwrap();
    let read: Vec<_> = read(&fixture.path()).unwrap().map(|line| line.map(|line| line.seq).ok()).collect();
    assert_eq!(read, [Some(1), None, Some(3), None, None]);
}
