//! What a synced line of the trail costs its caller, beside the bare write and sync of as many bytes on the same disk,
//! and a grant beside the same path without its line.
//!
//! The files are in the system's folder for temporary files, or where `TMPDIR` says.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use aiviary::clock::Clock;
use aiviary::crypto::{Bound, Sealer, generate_key};
use aiviary::roles::connect::audit::{AuditLog, Entry, Event};
use aiviary::secret::Secret;
use criterion::{Criterion, Throughput, criterion_group};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

const BOUND: Bound<'static> = ["bench", "facebook", "17841400000000001", "", "", ""];

fn entry() -> Entry {
    let entry = Entry::new(Event::Grant).client(&"bench".parse().unwrap()).peer("127.0.0.1").listener("127.0.0.1:3006");
    entry.request_id("00000000-1").envelope("a0a1a2a3a4a5a6a7a8a9aaab").token_expired(false)
}

/// As many bytes as a line of [`entry`] has.
fn line() -> Vec<u8> {
    let mut line = vec![b'x'; 330];
    line.push(b'\n');
    line
}

struct Bench {
    runtime: Runtime,
    folder: tempfile::TempDir,
    audit: AuditLog,
    bare: File,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let audit = AuditLog::open(&folder.path().join("audit.jsonl"), Clock::system()).unwrap();
        let bare = File::options().append(true).create(true).open(folder.path().join("bare")).unwrap();
        Self { runtime, folder, audit, bare }
    }

    /// One write and one sync of one line: what the disk asks for.
    fn floor(&self, line: &[u8]) {
        (&self.bare).write_all(line).unwrap();
        self.bare.sync_data().unwrap();
    }

    async fn record(&self, callers: usize) {
        let all = join_all((0..callers).map(|_| self.audit.record(entry()))).await;
        all.into_iter().for_each(|one| one.unwrap());
    }
}

fn lines(c: &mut Criterion) {
    let bench = Bench::new();
    let line = line();
    let mut group = c.benchmark_group("audit");
    group.throughput(Throughput::Elements(1));
    group.bench_function("floor: write and fdatasync", |b| b.iter(|| bench.floor(&line)));
    for callers in [1, 16] {
        group.throughput(Throughput::Elements(callers as u64));
        group.bench_function(format!("record, {callers} at once"), |b| {
            b.to_async(&bench.runtime).iter(|| bench.record(callers));
        });
    }
    group.finish();
}

criterion_group!(benches, lines);

/// The median and the worst of 100 of `runs` timings of `work`.
fn timed(runs: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let mut all: Vec<Duration> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    all.sort_unstable();
    (all[runs / 2], all[runs * 99 / 100])
}

/// Opening a token with its line, without it, and beside the bare sync, in turn on one machine in one minute.
fn ratios() {
    const RUNS: usize = 2000;
    let bench = Bench::new();
    let (sealer, line) = (Sealer::parse(&generate_key()).unwrap(), line());
    let sealed = sealer.seal(&Secret::new("EAAB".to_owned() + &"x".repeat(196)), &BOUND);
    let open = || drop(black_box(sealer.open(&sealed, &BOUND).unwrap()));
    println!("\nin {}: median and 99 % of {RUNS}", bench.folder.path().display());
    for _ in 0..2 {
        let without = timed(RUNS, open);
        let floor = timed(RUNS, || {
            open();
            bench.floor(&line);
        });
        let one = timed(RUNS, || {
            open();
            bench.runtime.block_on(bench.record(1));
        });
        let sixteen = timed(RUNS / 8, || {
            for _ in 0..16 {
                open();
            }
            bench.runtime.block_on(bench.record(16));
        });
        println!("open, no line:                 {:.1?} {:.1?}", without.0, without.1);
        println!("open, bare write and sync:     {:.1?} {:.1?}", floor.0, floor.1);
        println!("open, its line:                {:.1?} {:.1?}", one.0, one.1);
        println!("16 opens, their 16 lines:      {:.1?} {:.1?}", sixteen.0, sixteen.1);
        println!("one caller / floor: {:.2} (goal 1.3 or less)", one.0.as_secs_f64() / floor.0.as_secs_f64());
        let rate = 16.0 / sixteen.0.as_secs_f64() * floor.0.as_secs_f64();
        println!("throughput of 16 / floor: {rate:.2} (goal 0.7 or more)");
    }
}

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only wants to see that they run.
    if !std::env::args().any(|arg| arg == "--test") {
        ratios();
    }
}
