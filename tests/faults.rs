//! The real process killed, starved and cut off from its disk: what was acknowledged is there afterwards, what was
//! granted has its line, and no token is anywhere outside its seal.
//!
//! Volumes are a tenth of `SECURITY.md` 11; with `AIVIARY_SOAK=1` (`make soak`) they are whole. Moments of killing are
//! random. What needs root or a tool that is not there is told as skipped.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use aiviary::clock::Clock;
use aiviary::roles::connect::audit::{self, Event, Line};
use aiviary::server::Limits;
use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::process::reserved;
use support::skipped::skipped;
use support::{API_KEY, Fixture, sample, with_descriptors};
use tempfile::TempDir;

const KEY: &str = support::ENCRYPTION_KEY;
const NEW_KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

fn soaking() -> bool {
    std::env::var_os("AIVIARY_SOAK").is_some_and(|value| value == "1")
}

/// How often: a tenth, or all of it.
fn volume(whole: usize) -> usize {
    if soaking() { whole } else { whole / 10 }
}

/// Less than `below`, never twice the same way.
fn random(below: u64) -> u64 {
    RandomState::new().hash_one(Instant::now()) % below
}

/// Lets a random moment of up to `most` pass without giving up the processor: where in its work a process is then
/// killed is not for the test to know.
fn some_moment(most: Duration) {
    let end = Instant::now() + Duration::from_nanos(random(most.as_nanos() as u64));
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Asks until `done` has an answer.
#[track_caller]
fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5)); // between two looks; no outcome rests on it
    }
}

// --- tokens and the search for them

/// Tokens that are told apart by a number and found by what they share: a random text before and behind it.
#[derive(Clone)]
struct Tokens {
    before: String,
    behind: String,
}

impl Tokens {
    fn new() -> Self {
        let text = || format!("{:016x}{:016x}", random(u64::MAX), random(u64::MAX));
        Self { before: format!("EAAB+{}", text()), behind: format!("{}/=", text()) }
    }

    fn number(&self, number: impl std::fmt::Display) -> String {
        format!("{}.{number}.{}", self.before, self.behind)
    }

    /// Everything by which a part of any of them could be known.
    fn forms(&self) -> Vec<Vec<u8>> {
        let mut forms = Vec::new();
        for part in [&self.before, &self.behind] {
            forms.push(part.clone().into_bytes());
            forms.push(hex::encode(part).into_bytes());
            forms.push(hex::encode_upper(part).into_bytes());
            forms.push(part.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").into_bytes());
            forms.push(part.replace('/', "\\/").into_bytes());
            forms.push(part.encode_utf16().flat_map(u16::to_le_bytes).collect());
            // Base64 depends on where in its three bytes the part begins; the digits at its edges on what is around it.
            for lead in 0..3 {
                let shifted = [&b"\0\0"[..lead], part.as_bytes()].concat();
                let digits = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&shifted);
                let inner = &digits[(lead * 8).div_ceil(6)..shifted.len() * 8 / 6 - 1];
                forms.push(inner.as_bytes().to_vec());
                forms.push(inner.replace('+', "-").replace('/', "_").into_bytes());
            }
        }
        forms
    }

    /// The first file below `folder` that holds a part of a token.
    fn found_in(&self, folder: &Path) -> Option<PathBuf> {
        let forms = self.forms();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let about = fs::symlink_metadata(&path).unwrap();
                if about.is_dir() {
                    folders.push(path);
                } else if about.is_file() {
                    let bytes = fs::read(&path).unwrap();
                    if forms.iter().any(|form| contains(&bytes, form)) {
                        return Some(path);
                    }
                }
            }
        }
        None
    }
}

fn contains(bytes: &[u8], form: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == form[0]) {
        if rest[at..].starts_with(form) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn the_search_finds_a_token_in_each_form_and_in_any_file() {
    let tokens = Tokens::new();
    let token = tokens.number(7);
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("deep")).unwrap();
    let (plain, safe) = (base64::engine::general_purpose::STANDARD, base64::engine::general_purpose::URL_SAFE_NO_PAD);
    let mut cases = vec![
        token.clone(),
        hex::encode(&token),
        hex::encode_upper(&token),
        token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
        token[..40].to_owned(),
        token[token.len() - 40..].to_owned(),
    ];
    for around in ["", "a", "ab", "abc"] {
        let text = format!("{around}{token}{around}");
        cases.extend([plain.encode(&text), safe.encode(&text)]);
    }
    for case in cases {
        let file = folder.path().join("deep/core");
        fs::write(&file, format!("before\0{case}\nbehind")).unwrap();
        assert_eq!(tokens.found_in(folder.path()), Some(file), "{case}");
    }
    fs::write(folder.path().join("deep/core"), Tokens::new().number(7)).unwrap();
    assert_eq!(tokens.found_in(folder.path()), None, "somebody else's");
}

// --- the process

/// A state folder and the settings of a service in it.
struct Home {
    folder: TempDir,
    tokens: Tokens,
    keys: String,
    audit: PathBuf,
    /// Before the binary's own arguments: a program that starts it.
    through: Vec<String>,
    more: Vec<(&'static str, String)>,
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let audit = folder.path().join("audit.jsonl");
        let keys = KEY.to_owned();
        Self { folder, tokens: Tokens::new(), keys, audit, through: Vec::new(), more: Vec::new() }
    }

    /// One that belongs to a user without rights, and runs as that one; `None` where this cannot be had.
    fn of_nobody() -> Option<Self> {
        let mut home = Self::new();
        if is_root() {
            let through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
            let works = Command::new(through[0]).args(&through[1..]).args([BINARY, "--version"]).output();
            if !works.is_ok_and(|output| output.status.success()) {
                return None;
            }
            chown(home.folder.path(), Some(65534), Some(65534)).unwrap();
            home.through = through.map(str::to_owned).to_vec();
        }
        Some(home)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let words: Vec<&str> = self.through.iter().map(String::as_str).chain([BINARY]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).current_dir(self.folder.path());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("AIVIARY_CONFIG", "/dev/null"), ("VM_API_KEY", API_KEY), ("ENCRYPTION_KEY", &self.keys)]);
        command.env("STATE_DIRECTORY", self.folder.path()).env("AIVIARY__AUDIT__PATH", &self.audit);
        command.env("AIVIARY__LOG__FILTER", "aiviary=debug,info");
        command.envs(self.more.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where everything that the processes say is kept.
    fn log(&self) -> PathBuf {
        self.folder.path().join("log.txt")
    }

    fn logged(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts a service and waits until it answers.
    fn serve(&self) -> Service {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        until("a service that starts", || {
            let at = reserved();
            let mut command = self.command(&["serve", "connect"]);
            command.env("AIVIARY__CONNECT__INTERNAL", at.to_string());
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
            let mut service = Service { child: command.spawn().unwrap(), at };
            let answers = until("a service that answers", || match service.child.try_wait().unwrap() {
                Some(_) => Some(false),
                None => get(at, "/healthz").is_ok().then_some(true),
            });
            // Another process may have been given the free port in between.
            assert!(answers || self.logged().contains("is taken by another process"), "{}", self.logged());
            answers.then_some(service)
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        let mut log = File::options().create(true).append(true).open(self.log()).unwrap();
        log.write_all(&output.stdout).and_then(|()| log.write_all(&output.stderr)).unwrap();
        output
    }

    /// `aiviary audit verify` says that the trail is whole.
    #[track_caller]
    fn assert_whole(&self) {
        let verified = self.run(&["audit", "verify"]);
        assert!(verified.status.success(), "{}\n{}", text(&verified.stderr), self.audit.display());
    }

    #[track_caller]
    fn assert_no_token(&self) {
        assert_eq!(self.tokens.found_in(self.folder.path()), None, "holds a token");
    }

    fn lines(&self) -> Vec<Line> {
        audit::read(&self.audit).unwrap().map(|line| line.unwrap()).collect()
    }

    /// How many grants of each client are in the trail.
    fn grants(&self) -> BTreeMap<String, usize> {
        let mut grants = BTreeMap::new();
        for line in self.lines().into_iter().filter(|line| line.event == Event::Grant) {
            *grants.entry(line.client_id.unwrap()).or_default() += 1;
        }
        grants
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_aiviary");

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A service at work; killed when it is dropped.
struct Service {
    child: Child,
    at: SocketAddr,
}

impl Service {
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.unwrap().success());
    }

    fn token(&self, client: &str) -> io::Result<Answer> {
        get(self.at, &format!("/api/credentials/token?client_id={client}"))
    }

    fn store(&self, client: &str, token: &str) -> io::Result<Answer> {
        post(self.at, client, token)
    }

    /// The token that is granted for `client`.
    #[track_caller]
    fn granted(&self, client: &str) -> String {
        let answer = self.token(client).unwrap();
        assert_eq!(answer.status, 200, "{client}: {}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

// --- HTTP, so plain that a cut answer is seen as one

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection that is used again and again.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(at: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// `Ok(None)` when it was closed without a byte of an answer; an error when an answer was begun and cut.
    fn ask(&mut self, request: &str) -> io::Result<Option<Answer>> {
        let cut = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
        if self.0.get_mut().write_all(request.as_bytes()).is_err() {
            return Ok(None);
        }
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Err(error) if line.is_empty() && error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            read => drop(read?),
        }
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| cut("status line"))?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => return Err(cut("head")),
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Some(Answer { status, body: text(&body) }))
    }
}

/// One request on a connection of its own.
fn ask(at: SocketAddr, request: &str) -> io::Result<Answer> {
    Connection::open(at)?.ask(request)?.ok_or_else(|| io::ErrorKind::ConnectionReset.into())
}

fn get_text(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn get(at: SocketAddr, target: &str) -> io::Result<Answer> {
    ask(at, &get_text(target))
}

fn post_text(client: &str, token: &str) -> String {
    let body = json!({ "client_id": client, "access_token": token, "ad_account_id": "act_123456" }).to_string();
    let length = body.len();
    format!(
        "POST /api/credentials HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn post(at: SocketAddr, client: &str, token: &str) -> io::Result<Answer> {
    ask(at, &post_text(client, token))
}

// --- killed

#[test]
fn each_acknowledged_credential_outlives_a_kill_under_eight_writers() {
    const WRITERS: usize = 8;
    let home = Home::new();
    let kills = volume(200);
    let mut service = home.serve();
    let mut acknowledged: [Option<String>; WRITERS] = Default::default();
    let mut total = 0;
    for kill in 0..kills {
        let (answered, enough) = (AtomicUsize::new(0), 1 + random(40) as usize);
        let at = service.at;
        // Each gives what was acknowledged last, and what was sent after it and is not known to be stored.
        let ended: Vec<(Option<String>, String)> = thread::scope(|scope| {
            let (home, answered) = (&home, &answered);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let mut last = acknowledged[writer].clone();
                    scope.spawn(move || {
                        for number in 0.. {
                            let token = home.tokens.number(format_args!("{kill}-{writer}-{number}"));
                            match post(at, &format!("client{writer}"), &token) {
                                Ok(answer) => {
                                    assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
                                    last = Some(token);
                                    answered.fetch_add(1, Ordering::SeqCst);
                                }
                                Err(_) => return (last, token),
                            }
                        }
                        unreachable!()
                    })
                })
                .collect();
            until("enough writes", || (answered.load(Ordering::SeqCst) >= enough).then_some(()));
            some_moment(Duration::from_millis(4));
            service.kill();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        total += answered.load(Ordering::SeqCst);
        service = home.serve();
        for (writer, (last, unanswered)) in ended.into_iter().enumerate() {
            let answer = service.token(&format!("client{writer}")).unwrap();
            let granted = match answer.status {
                200 => Some(answer.json()["access_token"].as_str().unwrap().to_owned()),
                404 => None,
                _ => panic!("kill {kill}, client{writer}: {}", answer.body),
            };
            let expected = [last, Some(unanswered)];
            assert!(expected.contains(&granted), "kill {kill}, client{writer}: lost");
            acknowledged[writer] = granted;
        }
    }
    home.assert_whole();
    home.assert_no_token();
    println!("{kills} kills, {total} acknowledged writes, none lost");
}

#[test]
fn each_token_that_a_caller_received_before_a_kill_has_its_line() {
    const CALLERS: usize = 8;
    let home = Home::new();
    let kills = volume(200);
    let mut service = home.serve();
    for caller in 0..CALLERS {
        assert_eq!(service.store(&format!("client{caller}"), &home.tokens.number(caller)).unwrap().status, 201);
    }
    let received: Vec<AtomicUsize> = (0..CALLERS).map(|_| AtomicUsize::new(0)).collect();
    let all = || received.iter().map(|count| count.load(Ordering::SeqCst)).sum::<usize>();
    for kill in 0..kills {
        let (at, enough) = (service.at, all() + 1 + random(200) as usize);
        thread::scope(|scope| {
            for (caller, received) in received.iter().enumerate() {
                let tokens = &home.tokens;
                scope.spawn(move || {
                    let request = get_text(&format!("/api/credentials/token?client_id=client{caller}"));
                    let Ok(mut stream) = TcpStream::connect(at) else { return };
                    let (mut seen, mut part) = (Vec::new(), [0; 4096]);
                    let token = tokens.number(caller);
                    // Whatever came counts, a cut answer too: a token that was seen was granted.
                    while stream.write_all(request.as_bytes()).is_ok() {
                        seen.clear();
                        while !contains(&seen, token.as_bytes()) {
                            match stream.read(&mut part) {
                                Ok(count) if count > 0 => seen.extend_from_slice(&part[..count]),
                                _ => return,
                            }
                        }
                        received.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            until("enough grants", || (all() >= enough).then_some(()));
            some_moment(Duration::from_millis(4));
            service.kill();
        });
        service = home.serve();
        // Lines are never taken away again: looking at some kills together finds the same, and reads less.
        if kill % (kills / 20) != 0 && kill + 1 < kills {
            continue;
        }
        home.assert_whole();
        let lines = home.grants();
        for (caller, received) in received.iter().enumerate() {
            // Early on a caller may have had its turn in no run.
            let lines = lines.get(&format!("client{caller}")).copied().unwrap_or_default();
            let received = received.load(Ordering::SeqCst);
            assert!(received <= lines, "kill {kill}: {received} tokens received, {lines} lines");
            // At worst a line without a grant: one for each kill.
            assert!(lines <= received + kill + 1, "kill {kill}: {received} tokens received, {lines} lines");
        }
    }
    home.assert_no_token();
    println!("{kills} kills, {} tokens received, each with its line", all());
}

#[test]
fn a_rotation_killed_at_any_moment_goes_on_and_loses_nothing() {
    const ROWS: usize = 200;
    let mut home = Home::new();
    let service = home.serve();
    for row in 0..ROWS {
        assert_eq!(service.store(&format!("client{row}"), &home.tokens.number(row)).unwrap().status, 201);
    }
    drop(service);
    let kills = volume(50);
    let (mut first, mut second) = (NEW_KEY, KEY);
    // So often that each way is begun, cut off and gone to its end, in the smallest volume too.
    let to_the_end = (kills / 2).clamp(2, 8);
    let (mut killed, mut turned, mut cut) = (0, 0, [0, 0]);
    while killed < kills {
        home.keys = format!("{first},{second}");
        let mut command = home.command(&["key", "rotate"]);
        let mut rotation = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Some runs are left to end; then the way back is taken.
        let lines = if killed % to_the_end == to_the_end - 1 { ROWS } else { random(ROWS as u64 / 6) as usize };
        let told = BufReader::new(rotation.stderr.take().unwrap());
        let told = told.lines().map_while(Result::ok).take(lines).count();
        some_moment(Duration::from_millis(5));
        rotation.kill().unwrap();
        killed += 1;
        let ended = rotation.wait().unwrap().success();
        if ended || told == ROWS {
            assert!(home.run(&["key", "rotate"]).status.success());
            (first, second) = (second, first);
            turned += 1;
        } else {
            cut[turned % 2] += 1;
        }
    }
    assert!(turned >= 2 && cut.iter().all(|cut| *cut > 0), "{turned} times to the end, {cut:?} cut off on each way");
    home.keys = format!("{first},{second}");
    let ended = home.run(&["key", "rotate"]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).contains("0 credentials left under"), "{}", text(&ended.stdout));

    home.keys = first.to_owned();
    let service = home.serve();
    for row in 0..ROWS {
        assert_eq!(service.granted(&format!("client{row}")), home.tokens.number(row), "client{row}");
    }
    let listed = home.run(&["credential", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["credentials"].as_array().unwrap().len(), ROWS);
    home.assert_whole();
    home.assert_no_token();
}

#[test]
fn while_keys_rotate_the_token_acknowledged_last_is_the_one_granted() {
    const WRITERS: usize = 4;
    let mut home = Home::new();
    home.keys = format!("{KEY},{NEW_KEY}");
    let service = home.serve();
    let (rotations, stop) = (volume(100), AtomicBool::new(false));
    let written: usize = thread::scope(|scope| {
        let (home, service, stop) = (&home, &service, &stop);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let client = format!("client{writer}");
                    let mut number = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let token = home.tokens.number(format_args!("{writer}-{number}"));
                        let answer = service.store(&client, &token).unwrap();
                        assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
                        assert_eq!(service.granted(&client), token, "{client}, write {number}");
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        let first_row = || service.token("client0").is_ok_and(|answer| answer.status == 200).then_some(());
        until("a first row", first_row);
        let mut resealed = 0;
        for rotation in 0..rotations {
            // Each time the other way, so that there is always something to do.
            let keys = if rotation % 2 == 0 { [NEW_KEY, KEY] } else { [KEY, NEW_KEY] };
            let rotated = home.command(&["key", "rotate"]).env("ENCRYPTION_KEY", keys.join(",")).output().unwrap();
            let (out, err) = (text(&rotated.stdout), text(&rotated.stderr));
            resealed += err.matches("sealed anew: ").count();
            // The service may have sealed one under its own first key since.
            let ended = rotated.status.success() || err.contains("not under the first key");
            assert!(ended, "rotation {rotation}: {out}{err}");
        }
        stop.store(true, Ordering::SeqCst);
        let written = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert!(resealed > 0, "the rotations met rows to seal anew");
        written
    });
    assert!(written > WRITERS);
    home.assert_whole();
    home.assert_no_token();
    println!("{rotations} rotations, {written} writes, each granted as acknowledged");
}

// --- starved

/// A service whose trail is on a file system of 1 MiB of its own, and a shell beside it.
struct Small {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    at: SocketAddr,
}

impl Small {
    /// `None` where user namespaces are not to be had.
    fn new(home: &Home) -> Option<Self> {
        let at = reserved();
        let log = File::options().create(true).append(true).open(home.log()).unwrap();
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs -o size=1m,mode=0700 small "$SMALL" || exit 3
            "$BINARY" serve connect >&2 & service=$!
            echo ready
            while read -r line; do eval "$line" >&2; echo "$?"; done
            kill -KILL "$service""#;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        let like = home.command(&[]);
        command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("BINARY", BINARY).env("SMALL", home.audit.parent().unwrap()).current_dir(home.folder.path());
        command.env("AIVIARY__CONNECT__INTERNAL", at.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut shell = command.spawn().ok()?;
        let (input, output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let mut small = Self { shell, input, output, at };
        let mut ready = String::new();
        small.output.read_line(&mut ready).ok()?;
        (ready == "ready\n").then(|| {
            until("a service that answers", || get(at, "/healthz").ok());
            small
        })
    }

    /// Runs `line` beside the service; its exit code.
    fn run(&mut self, line: &str) -> i32 {
        writeln!(self.input, "{line}").unwrap();
        let mut code = String::new();
        self.output.read_line(&mut code).unwrap();
        code.trim().parse().unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = writeln!(self.input, "kill -KILL $service; exit");
        let _gone = self.shell.wait();
    }
}

#[test]
fn a_full_disk_stops_grants_and_space_alone_brings_them_back() {
    let mut home = Home::new();
    let folder = home.folder.path().join("small");
    fs::create_dir(&folder).unwrap();
    home.audit = folder.join("audit.jsonl");
    let Some(mut small) = Small::new(&home) else {
        skipped("user and mount namespaces are not to be had");
        return;
    };
    let at = small.at;
    let target = "/api/credentials/token?client_id=clienta";
    assert_eq!(post(at, "clienta", &home.tokens.number(0)).unwrap().status, 201);
    let mut granted = 0;
    for time in 0..volume(30) {
        assert_ne!(small.run(r#"dd if=/dev/zero of="$SMALL/fill" bs=4096"#), 0, "the disk is full");
        // The page that the file ends in still takes some lines.
        let refused = until("a refusal", || match get(at, target).unwrap() {
            Answer { status: 200, .. } => {
                granted += 1;
                None
            }
            refused => Some(refused),
        });
        for refused in [refused, get(at, target).unwrap(), post(at, "clienta", &home.tokens.number("lost")).unwrap()] {
            assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"), "time {time}");
            assert!(!refused.body.contains(&home.tokens.before));
        }
        let ready = get(at, "/readyz").unwrap();
        assert_eq!((ready.status, &ready.json()["waiting_for"][0]), (503, &json!("audit")));
        assert_eq!(get(at, "/healthz").unwrap().status, 200, "the process lives");

        assert_eq!(small.run(r#"rm "$SMALL/fill""#), 0);
        let answer = until("a grant", || get(at, target).ok().filter(|answer| answer.status == 200));
        granted += 1;
        assert_eq!(answer.json()["access_token"], home.tokens.number(0), "what was not acknowledged was not stored");
        assert_eq!(get(at, "/readyz").unwrap().status, 200);
        assert_eq!(small.run(r#""$BINARY" audit verify"#), 0, "time {time}");
        let counted = format!(r#"test "$(grep -c '"event":"grant"' "$SMALL/audit.jsonl")" -eq {granted}"#);
        assert_eq!(small.run(&counted), 0, "as many lines as tokens");
    }
    // At start: no service, a sentence, and not the exit code on which a unit stays down.
    small.run(r#"dd if=/dev/zero of="$SMALL/fill" bs=4096"#);
    until("no room for a line", || (get(at, target).unwrap().status == 503).then_some(()));
    let second = format!(r#"AIVIARY__CONNECT__INTERNAL={} "$BINARY" serve connect"#, reserved());
    assert_eq!(small.run(&second), 1, "{}", home.logged());
    assert_eq!(small.run(r#"cp "$SMALL/audit.jsonl" copy.jsonl"#), 0);
    drop(small);
    home.assert_no_token();
}

#[test]
fn without_descriptors_nothing_is_granted_unseen_and_service_comes_back() {
    let mut home = Home::new();
    home.through = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    let service = home.serve();
    let token = home.tokens.number(0);
    assert_eq!(service.store("clienta", &token).unwrap().status, 201);
    let mut known = Connection::open(service.at).unwrap();
    let request = get_text("/api/credentials/token?client_id=clienta");
    let mut granted = 0;
    for _ in 0..volume(30) {
        let idle: Vec<_> = (0..120).map(|_| TcpStream::connect(service.at).unwrap()).collect();
        let told = home.logged().matches("cannot accept connections just now").count();
        until("no descriptor left", || {
            (home.logged().matches("cannot accept connections just now").count() > told).then_some(())
        });
        for (request, granting) in [(&request, true), (&post_text("clienta", &token), false)] {
            let answer = known.ask(request).unwrap().expect("an open connection is served");
            assert!(matches!(answer.status, 200 | 503), "{}", answer.body);
            granted += usize::from(granting && answer.status == 200);
        }
        drop(idle);
        assert_eq!(service.granted("clienta"), token);
        granted += 1;
    }
    assert_eq!(home.grants()["clienta"], granted);
    home.assert_whole();
    home.assert_no_token();
}

// --- strangers in thousands

/// As the unit has it, and as far as this machine lets it be raised.
const DESCRIPTORS: &str = "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec \"$@\"";

/// Connections that say nothing, and connections that say a byte of a head each second. One that the service closed
/// comes again within ten seconds.
struct Strangers {
    ended: Option<mpsc::Sender<()>>,
    at_work: Option<thread::JoinHandle<()>>,
    /// Whether every one of them came at least once.
    all_came: Arc<AtomicBool>,
    /// How many had been left open for a second when they last looked.
    open: Arc<AtomicUsize>,
}

impl Strangers {
    fn besiege(at: SocketAddr, idle: usize, dripping: usize) -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let (all_came, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told_came, told_open) = (all_came.clone(), open.clone());
        let mut places: Vec<Option<TcpStream>> = (0..idle + dripping).map(|_| None).collect();
        let at_work = thread::spawn(move || {
            for round in 0.. {
                let began = Instant::now();
                let mut open = 0;
                for (number, place) in places.iter_mut().enumerate() {
                    let left = place.as_mut().is_some_and(|stream| {
                        let drips = number < dripping && stream.write(b"a").is_err();
                        drips
                            || !stream.read(&mut [0; 64]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
                    });
                    if left {
                        *place = None;
                    }
                    // Those that come now may be closed before they look again.
                    open += usize::from(place.is_some());
                    if place.is_none() && (round == 0 || number % 10 == round % 10) {
                        *place = TcpStream::connect(at).ok();
                        place.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
                    }
                }
                told_open.store(open, Ordering::SeqCst);
                told_came.store(true, Ordering::SeqCst);
                let rest = Duration::from_secs(1).saturating_sub(began.elapsed());
                if !matches!(end.recv_timeout(rest), Err(mpsc::RecvTimeoutError::Timeout)) {
                    return;
                }
            }
        });
        Self { ended: Some(ended), at_work: Some(at_work), all_came, open }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.ended = None;
        if let Some(at_work) = self.at_work.take() {
            let _panicked = at_work.join();
        }
    }
}

/// Grants for at least `least` and at least `times` times, each of them in order, some on connections of their own:
/// how long each took, sorted.
fn grants_meanwhile(service: &Service, token: &str, times: usize, least: Duration) -> Vec<Duration> {
    let request = get_text("/api/credentials/token?client_id=clienta");
    let mut known = Connection::open(service.at).unwrap();
    let (mut took, began) = (Vec::new(), Instant::now());
    while took.len() < times || began.elapsed() < least {
        let asked = Instant::now();
        if took.len() % 10 == 0 {
            known = Connection::open(service.at).unwrap();
        }
        let answer = known.ask(&request).unwrap().expect("an answer");
        took.push(asked.elapsed());
        assert_eq!((answer.status, answer.json()["access_token"].as_str()), (200, Some(token)), "{}", answer.body);
    }
    took.sort();
    took
}

/// `VmRSS`, `VmHWM` and the like of a process, in KiB.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn thousands_of_idle_and_dripping_strangers_leave_grants_and_memory_alone() {
    let (idle, dripping) = (volume(10_000), volume(1000));
    if !with_descriptors(idle + dripping + 500) {
        skipped(&format!("{} connections need more descriptors than this process may have", idle + dripping));
        return;
    }
    let mut home = Home::new();
    home.through = ["sh", "-c", DESCRIPTORS, "sh"].map(str::to_owned).to_vec();
    // A line for each connection that ends badly would measure the log.
    home.more = vec![
        ("AIVIARY__CONNECT__PUBLIC", "127.0.0.1:0".to_owned()),
        ("AIVIARY__LOG__FILTER", "info".to_owned()),
        ("AIVIARY__LOG__FORMAT", "json".to_owned()),
    ];
    let service = home.serve();
    let public: SocketAddr = until("the public listener", || {
        let log = home.logged();
        let line = log.lines().rev().find(|line| line.contains("connect listens on") && line.contains("Public"))?;
        line.split_once("listens on ")?.1.split('"').next()?.parse().ok()
    });
    let token = home.tokens.number(0);
    assert_eq!(post(public, "clienta", &token).unwrap().status, 201);
    let quiet = grants_meanwhile(&service, &token, volume(5000), Duration::ZERO);

    let strangers = Strangers::besiege(public, idle, dripping);
    until("all strangers", || strangers.all_came.load(Ordering::SeqCst).then_some(()));
    // In a soak longer than a head may take, so that all places change hands.
    let least = Duration::from_secs(if soaking() { 30 } else { 4 });
    let besieged = grants_meanwhile(&service, &token, volume(5000), least);
    assert_eq!(get(service.at, "/readyz").unwrap().status, 200);

    let most = Limits::PUBLIC.connections;
    until("only as many are held as may be", || (strangers.open.load(Ordering::SeqCst) <= most).then_some(()));
    let metrics = get(service.at, "/metrics").unwrap().body;
    let closed: usize = metrics
        .lines()
        .find_map(|line| line.strip_prefix("aiviary_connections_refused_total")?.rsplit(' ').next()?.parse().ok())
        .expect("a count");
    assert!(closed >= idle + dripping - most, "{closed} closed at once");
    // Whoever has no rights cannot look.
    if let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", service.child.id())) {
        let open = descriptors.count();
        assert!(open <= most + 100, "{open} descriptors");
    }
    let (peak, now) = (memory_kib(service.child.id(), "VmHWM"), memory_kib(service.child.id(), "VmRSS"));
    let p99 = |took: &[Duration]| took[took.len() * 99 / 100];
    eprintln!(
        "{idle} idle, {dripping} dripping: {closed} closed at once; {} quiet grants, p99 {:?}, longest {:?}; {} besieged, \
         p99 {:?}, longest {:?}; resident {} MiB, at most {} MiB",
        quiet.len(),
        p99(&quiet),
        quiet[quiet.len() - 1],
        besieged.len(),
        p99(&besieged),
        besieged[besieged.len() - 1],
        now / 1024,
        peak / 1024,
    );
    assert!(peak < 256 << 10, "{peak} KiB");
    assert!(besieged[besieged.len() - 1] < Limits::INTERNAL.request_time);
    // Twice the quiet one, and room for a machine that does other things beside.
    assert!(p99(&besieged) < 2 * p99(&quiet) + Duration::from_millis(250), "{:?}", p99(&besieged));

    drop(strangers);
    until("the public listener serves", || get(public, "/healthz").ok().filter(|answer| answer.status == 200));
    assert_eq!(post(public, "clienta", &token).unwrap().status, 200);
    assert_eq!(home.grants()["clienta"], quiet.len() + besieged.len());
    home.assert_whole();
    home.assert_no_token();
}

// --- a disk that never answers

/// Stands before the C library's `fdatasync`: of the trail it does not return while the file named in `HOLD` is there.
const HOLDING_SYNC: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int file) {
    char link[64], path[4096];
    const char *hold = getenv("HOLD"), *trail = "/audit.jsonl";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    size_t tail = strlen(trail);
    if (hold && strlen(path) >= tail && strcmp(path + strlen(path) - tail, trail) == 0)
        while (access(hold, F_OK) == 0)
            usleep(1000);
    return (int)syscall(SYS_fdatasync, file);
}
"#;

#[test]
fn while_a_sync_never_returns_grants_are_refused_in_time_and_health_answers() {
    let mut home = Home::new();
    let (source, library) = (home.folder.path().join("hold.c"), home.folder.path().join("hold.so"));
    fs::write(&source, HOLDING_SYNC).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if cfg!(not(target_env = "gnu")) || !compiled.is_ok_and(|status| status.success()) {
        skipped("no C compiler, or a binary without a C library to stand before");
        return;
    }
    let hold = home.folder.path().join("hold");
    home.more = vec![("LD_PRELOAD", library.to_str().unwrap().to_owned()), ("HOLD", hold.to_str().unwrap().to_owned())];
    let service = home.serve();
    let token = home.tokens.number(0);
    assert_eq!(service.store("clienta", &token).unwrap().status, 201);
    let mut granted = 0;
    for _ in 0..2 {
        assert_eq!(service.granted("clienta"), token);
        granted += 1;
        fs::write(&hold, "").unwrap();
        thread::scope(|scope| {
            let began = Instant::now();
            let asked =
                scope.spawn(|| [service.token("clienta"), service.store("clienta", &home.tokens.number("lost"))]);
            let mut answered = 0;
            while !asked.is_finished() {
                let looked = Instant::now();
                assert_eq!(get(service.at, "/healthz").unwrap().status, 200);
                assert!(looked.elapsed() < Duration::from_secs(1), "health waits for the disk");
                answered += 1;
            }
            for refused in asked.join().unwrap() {
                let refused = refused.unwrap();
                assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
            }
            assert!(began.elapsed() < Duration::from_secs(6), "3 s each: {:?}", began.elapsed());
            assert!(answered > 1);
        });
        let ready = get(service.at, "/readyz").unwrap();
        assert_eq!((ready.status, &ready.json()["waiting_for"][0]), (503, &json!("audit")));
        fs::remove_file(&hold).unwrap();
        let answer = until("a grant", || service.token("clienta").ok().filter(|answer| answer.status == 200));
        assert_eq!(answer.json()["access_token"], token, "what was not acknowledged was not stored");
        granted += 1;
        assert_eq!(get(service.at, "/readyz").unwrap().status, 200);
    }
    assert!(home.grants()["clienta"] >= granted, "each token has its line");
    home.assert_whole();
    home.assert_no_token();
}

// --- the trail's file

/// What is done to the trail's file while the service runs, and what must follow.
struct Mischief {
    name: &'static str,
    done: fn(&Path),
    /// Whether grants stop until it is undone.
    stops: bool,
    undone: fn(&Path),
    /// Whether the trail is whole afterwards; a cut one must show it.
    whole: bool,
    /// The last line beside grants that the file then has, with its reason: what was done shows.
    shown: (Event, Option<&'static str>),
}

#[test]
fn whatever_is_done_to_the_audit_file_no_token_leaves_without_a_line() {
    fn nothing(_: &Path) {}
    fn aside(path: &Path) -> PathBuf {
        path.with_extension("aside")
    }
    fn put_back(path: &Path) {
        fs::rename(aside(path), path).unwrap();
    }
    let cases = [
        Mischief {
            name: "replaced by a folder",
            done: |path| {
                fs::rename(path, aside(path)).unwrap();
                fs::create_dir(path).unwrap();
            },
            stops: true,
            undone: |path| {
                fs::remove_dir(path).unwrap();
                put_back(path);
            },
            whole: true,
            shown: (Event::SaveConfirmed, None),
        },
        Mischief {
            name: "replaced by a link",
            done: |path| {
                fs::rename(path, aside(path)).unwrap();
                symlink(aside(path), path).unwrap();
            },
            stops: true,
            undone: |path| {
                fs::remove_file(path).unwrap();
                put_back(path);
            },
            whole: true,
            shown: (Event::SaveConfirmed, None),
        },
        Mischief {
            name: "deleted",
            done: |path| fs::remove_file(path).unwrap(),
            stops: false,
            undone: nothing,
            whole: true,
            shown: (Event::Open, Some("new_file")),
        },
        Mischief {
            name: "emptied",
            done: |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
            stops: false,
            undone: nothing,
            whole: true,
            shown: (Event::Repair, Some("shortened")),
        },
        Mischief {
            name: "cut within a line",
            done: |path| {
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() - 300).unwrap();
            },
            stops: false,
            undone: nothing,
            whole: false,
            shown: (Event::Repair, Some("torn")),
        },
        Mischief {
            name: "half a line added",
            done: |path| File::options().append(true).open(path).unwrap().write_all(b"{\"v\":1,\"se").unwrap(),
            stops: false,
            undone: nothing,
            whole: true,
            shown: (Event::Repair, Some("torn")),
        },
    ];
    for case in cases {
        let name = case.name;
        let home = Home::new();
        let service = home.serve();
        let token = home.tokens.number(0);
        assert_eq!(service.store("clienta", &token).unwrap().status, 201);
        for _ in 0..3 {
            assert_eq!(service.granted("clienta"), token);
        }
        (case.done)(&home.audit);
        if case.stops {
            for _ in 0..3 {
                let refused = service.token("clienta").unwrap();
                assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"), "{name}");
                assert!(!refused.body.contains(&home.tokens.before));
            }
            assert_eq!(get(service.at, "/readyz").unwrap().status, 503, "{name}");
        }
        (case.undone)(&home.audit);
        let found = until(name, || service.token("clienta").ok().filter(|answer| answer.status == 200));
        assert_eq!(found.json()["access_token"], token, "{name}");
        let mut lines = home.lines();
        let shown = lines.iter().rfind(|line| line.event != Event::Grant).unwrap();
        assert_eq!((shown.event, shown.reason.as_deref()), case.shown, "{name}");
        let last = lines.pop().unwrap();
        assert_eq!(
            (last.event, last.client_id.as_deref()),
            (Event::Grant, Some("clienta")),
            "{name}: in the path's file"
        );
        let verified = home.run(&["audit", "verify"]);
        assert_eq!(verified.status.success(), case.whole, "{name}: {}", text(&verified.stderr));
        home.assert_no_token();
    }
}

#[test]
fn an_audit_file_that_may_not_be_written_stops_grants_until_it_may() {
    let Some(home) = Home::of_nobody() else {
        skipped("no user without rights can be had");
        return;
    };
    let service = home.serve();
    let token = home.tokens.number(0);
    assert_eq!(service.store("clienta", &token).unwrap().status, 201);
    assert_eq!(service.granted("clienta"), token);
    // The open file can be written whatever its mode is now: a new one in its place cannot.
    let aside = home.audit.with_extension("aside");
    fs::rename(&home.audit, &aside).unwrap();
    fs::copy(&aside, &home.audit).unwrap();
    if is_root() {
        chown(&home.audit, Some(65534), Some(65534)).unwrap();
    }
    fs::set_permissions(&home.audit, fs::Permissions::from_mode(0o400)).unwrap();
    let refused = service.token("clienta").unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
    fs::set_permissions(&home.audit, fs::Permissions::from_mode(0o600)).unwrap();
    until("a grant", || service.token("clienta").ok().filter(|answer| answer.status == 200));
    home.assert_whole();
    home.assert_no_token();
}

#[test]
fn a_command_is_refused_where_any_file_of_the_service_belongs_to_another_user() {
    if !is_root() {
        skipped("only root can give a folder away");
        return;
    }
    for (name, file) in [("store", "a.db"), ("audit", "audit.jsonl"), ("state", "connect.db")] {
        let mut home = Home::new();
        let folder = home.folder.path().join("theirs");
        fs::create_dir(&folder).unwrap();
        let path = folder.join(file);
        match name {
            "audit" => home.audit = path.clone(),
            "state" => home.more.push(("AIVIARY__CONNECT__STATE", path.display().to_string())),
            _ => home.more.push(("AIVIARY__STORE__URL", format!("sqlite:{}", path.display()))),
        }
        let add = || {
            let mut command = home.command(&["credential", "add", "--client", "clienta"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let _refused = child.stdin.take().unwrap().write_all(home.tokens.number(1).as_bytes());
            child.wait_with_output().unwrap()
        };
        chown(&folder, Some(65534), Some(65534)).unwrap();
        let refused = add();
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("belongs to another user") && said.contains("sudo -u"), "{name}: {said}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{name}: nothing is made there");
        if name != "store" {
            // A folder of the system's with a file of ours in it.
            fs::write(&path, "").unwrap();
            let done = add();
            assert!(done.status.success(), "{name}: {}", text(&done.stderr));
            chown(&path, Some(65534), Some(65534)).unwrap();
            assert_eq!(add().status.code(), Some(1), "{name}: the file is theirs");
            // To make a table in NocoDB touches none of them. Nobody listens there.
            let away = [("AIVIARY__STORE__URL", "nocodb+http://127.0.0.1:9"), ("NOCODB_TOKEN", "token")];
            let tried = home.command(&["store", "init"]).envs(away).output().unwrap();
            assert_eq!(tried.status.code(), Some(69), "{name}: {}", text(&tried.stderr));
        }
    }
}

#[test]
fn a_call_that_changes_something_is_refused_where_the_journal_belongs_to_another_user() {
    if !is_root() {
        skipped("only root can give a folder away");
        return;
    }
    let mut home = Home::new();
    let folder = home.folder.path().join("theirs");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(65534), Some(65534)).unwrap();
    home.more.push(("AIVIARY__MCP__STATE", folder.join("mcp.db").display().to_string()));
    home.more.push(("AIVIARY__MCP__INSTAGRAM__WRITES", "on".to_owned()));
    // Nobody listens there: what is not refused ends at connect.
    home.more.push(("AIVIARY__MCP__CONNECT_URL", "http://127.0.0.1:9".to_owned()));
    let call = |tool: &str, arguments: &str| {
        home.command(&["call", "--platform", "instagram", tool, arguments]).output().unwrap()
    };
    let refused = call("hide_comment", r#"{"comment_id":"17700000000000001"}"#);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to another user"), "{said}");
    assert_eq!(call("get_profile", "{}").status.code(), Some(69), "a read writes nothing");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// What sudo does as far as a command can tell: another user, and of the environment only what is named.
const SUDO: &str = r#"#!/bin/sh
[ "$1" = -u ] && user=$2 && shift 2
names=
case $1 in --preserve-env=*) names=$(echo "${1#*=}" | tr , ' ') && shift ;; esac
for name in $names; do set -- "$name=$(printenv "$name")" "$@"; done
exec setpriv --reuid "$user" --clear-groups env -i "PATH=$PATH" "$@"
"#;

#[test]
fn the_line_to_run_instead_works_as_it_is_printed() {
    if !is_root() || Home::of_nobody().is_none() {
        skipped("only root can give a folder away, and run as its owner");
        return;
    }
    let open = TempDir::new().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(open.path(), 0o755);
    // What a shell would take for something else.
    let state = open.path().join("it's a state");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(65534), Some(65534)).unwrap();
    let file = |name: &str, text: &str, access| {
        fs::write(open.path().join(name), text).unwrap();
        mode(&open.path().join(name), access);
    };
    file("sudo", SUDO, 0o755);
    file("api key", API_KEY, 0o644);
    file("aiviary.toml", "[audit]\npath = \"from-the-file.jsonl\"\n", 0o644);
    let path = format!("{}:{}", open.path().display(), std::env::var("PATH").unwrap());
    let run = |command: &mut Command| {
        command.current_dir(open.path()).env_clear().env("PATH", &path);
        command.envs([
            ("STATE_DIRECTORY", "it's a state"),
            ("AIVIARY_CONFIG", "aiviary.toml"),
            ("ENCRYPTION_KEY", KEY),
        ]);
        command.envs([("VM_API_KEY_FILE", "api key"), ("AIVIARY__STORE__TABLE", "other_table")]);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // Whoever is refused does not read.
        let _ = child.stdin.take().unwrap().write_all(b"EAABtoken");
        child.wait_with_output().unwrap()
    };
    let refused = run(Command::new(BINARY).args(["credential", "add", "--client", "clienta"]));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let (place, line) = said.trim_end().split_once(" belongs to another user; run as that one: ").expect(&said);
    assert_eq!(place, format!("error: {}", state.display()));
    assert!(!said.contains(KEY) && !said.contains(API_KEY), "{said}");

    let done = run(Command::new("sh").args(["-c", line]));
    assert!(done.status.success(), "{line}: {}", text(&done.stderr));
    let stored = rusqlite::Connection::open(state.join("aiviary.db")).unwrap();
    let client: String = stored.query_row("SELECT client_id FROM other_table", [], |row| row.get(0)).unwrap();
    assert_eq!(client, "clienta");
    let trail = fs::metadata(state.join("from-the-file.jsonl")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&trail), 65534);
}

#[test]
fn a_hangup_after_a_rename_goes_on_in_a_new_file_of_the_same_chain() {
    let home = Home::new();
    let service = home.serve();
    assert_eq!(service.store("clienta", &home.tokens.number(0)).unwrap().status, 201);
    let mut files = Vec::new();
    for turn in 0..3 {
        service.granted("clienta");
        let old = home.audit.with_extension(format!("{turn}"));
        fs::rename(&home.audit, &old).unwrap();
        service.signal("HUP");
        until("a new file without a request", || fs::metadata(&home.audit).ok().filter(|found| found.len() > 0));
        files.push(old);
    }
    service.granted("clienta");
    files.push(home.audit.clone());
    let names: Vec<&str> =
        ["audit", "verify"].into_iter().chain(files.iter().map(|file| file.to_str().unwrap())).collect();
    let verified = home.run(&names);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    let without_one: Vec<&str> = [&names[..2], &names[3..]].concat();
    assert!(home.run(&without_one).status.success(), "a trail may begin anywhere");
    let with_a_gap: Vec<&str> = [&names[..3], &names[4..]].concat();
    assert!(!home.run(&with_a_gap).status.success(), "a file that is missing in between is seen");
    home.assert_no_token();
}

// --- stopped

#[test]
fn a_stop_under_fifty_connections_breaks_no_answer() {
    const CALLERS: usize = 50;
    for _ in 0..volume(20) {
        let home = Home::new();
        let mut service = home.serve();
        let token = home.tokens.number(0);
        assert_eq!(service.store("clienta", &token).unwrap().status, 201);
        let received = AtomicUsize::new(0);
        let (at, began) = (
            service.at,
            thread::scope(|scope| {
                for _ in 0..CALLERS {
                    let (at, token, received) = (service.at, &token, &received);
                    scope.spawn(move || {
                        let request = get_text("/api/credentials/token?client_id=clienta");
                        let mut connection = Connection::open(at).unwrap();
                        while let Some(answer) = connection.ask(&request).expect("an answer that was begun is whole") {
                            assert_eq!(answer.status, 200, "{}", answer.body);
                            assert_eq!(answer.json()["access_token"], **token);
                            received.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
                until("load", || (received.load(Ordering::SeqCst) > 4 * CALLERS).then_some(()));
                some_moment(Duration::from_millis(5));
                service.signal("TERM");
                Instant::now()
            }),
        );
        let ended = until("an end", || service.child.try_wait().unwrap());
        assert!(ended.success(), "{}", home.logged());
        assert!(began.elapsed() < Duration::from_secs(8), "within the drain time");
        assert!(TcpStream::connect(at).is_err());
        assert_eq!(home.grants()["clienta"], received.load(Ordering::SeqCst), "each line has its answer");
        assert_eq!(home.lines().last().unwrap().event, Event::Stop);
        home.assert_whole();
        home.assert_no_token();
    }
}

// --- looked into

#[test]
fn no_core_is_left_and_no_process_of_the_same_user_looks_in() {
    let Some(home) = Home::of_nobody() else {
        skipped("no user without rights can be had");
        return;
    };
    let service = home.serve();
    // A command holds the same keys: this one waits in the middle of reading them.
    let key = home.folder.path().join("key");
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    let mut command = home.command(&["credential", "add", "--client", "clienta"]);
    command.env("VM_API_KEY_FILE", &key).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut command = command.spawn().unwrap();
    let mut key = until("a command that reads its key", || {
        File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&key).ok()
    });
    let no_core = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        // Soft and hard.
        core.split_whitespace().collect::<Vec<_>>()[4..6] == ["0", "0"]
    };
    let look = |pid: u32, file: &str| {
        let words: Vec<&str> = home.through.iter().map(String::as_str).chain(["cat"]).collect();
        let looked = Command::new(words[0]).args(&words[1..]).arg(format!("/proc/{pid}/{file}")).output().unwrap();
        (looked.status.success(), looked.stdout)
    };
    // The same look at a process that hides nothing, so that a refusal means something.
    let words: Vec<&str> = home.through.iter().map(String::as_str).chain(["cat"]).collect();
    let mut open = Command::new(words[0]);
    let mut open =
        open.args(&words[1..]).env("SEEN", "yes").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    until("a process that shows itself", || look(open.id(), "environ").0.then_some(()));
    assert!(contains(&look(open.id(), "environ").1, b"SEEN=yes"));
    drop(open.stdin.take());
    open.wait().unwrap();
    for (name, pid) in [("the service", service.child.id()), ("a command", command.id())] {
        assert!(no_core(pid), "{name}");
        for file in ["environ", "mem", "maps"] {
            let (read, bytes) = look(pid, file);
            assert!(!read && bytes.is_empty(), "{name}: {file}");
        }
    }
    key.write_all(API_KEY.as_bytes()).unwrap();
    drop(key);
    command.stdin.take().unwrap().write_all(home.tokens.number(0).as_bytes()).unwrap();
    assert!(command.wait().unwrap().success());
}

// --- the clock

#[tokio::test]
async fn a_clock_moved_back_changes_neither_grants_nor_the_order_of_the_trail() {
    let start: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
    let clock = Clock::fixed(start);
    let roles = Fixture { clock: clock.clone(), ..Fixture::new() }.start().await;
    let (folder, audit_path) = (roles.folder.clone(), roles.path("audit.jsonl"));
    let tokens = Tokens::new();
    let credential = |number: usize| {
        let mut body = sample("clienta");
        body["access_token"] = tokens.number(number).into();
        body["token_expires_at"] = "2026-11-23T12:00:00Z".into();
        body
    };
    assert_eq!(roles.store(&credential(0)).await.status, 201);
    let jumps = [-86_400, 86_400, -7 * 86_400, 3600 * 4, -3600 * 30, 12 * 365 * 86_400, 0];
    for (number, seconds) in (1..).zip(jumps) {
        clock.set(start + SignedDuration::from_secs(seconds));
        assert_eq!(roles.store(&credential(number)).await.status, 200, "{seconds}");
        let granted = roles.get(roles.internal, "/api/credentials/token").await.json();
        assert_eq!(granted["access_token"], tokens.number(number), "{seconds}");
        assert_eq!(granted["token_expired"], seconds >= 3 * 3600, "expiry follows the clock: {seconds}");
    }
    clock.set(start - SignedDuration::from_hours(24 * 365));
    roles.stop().await;
    let roles = Fixture { clock, ..Fixture::on(&folder) }.start().await;
    let granted = roles.get(roles.internal, "/api/credentials/token").await.json();
    assert_eq!(granted["access_token"], tokens.number(jumps.len()), "after a start in the past");
    roles.stop().await;
    let lines: Vec<Line> = audit::read(&audit_path).unwrap().map(Result::unwrap).collect();
    assert!(lines.iter().zip(1..).all(|(line, seq)| line.seq == seq), "the number orders, not the time");
    assert!(lines.windows(2).any(|pair| pair[1].time < pair[0].time), "the clock did go back");
    audit::verify(&[audit_path], None).unwrap();
    assert_eq!(tokens.found_in(folder.path()), None);
    let log = folder.path().join("log.txt");
    fs::write(&log, support::logs().text()).unwrap();
    assert_eq!(tokens.found_in(folder.path()), None, "the log");
}
