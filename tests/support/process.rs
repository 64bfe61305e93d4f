//! The real binary as a process of its own: started in a folder, read as it speaks, ended by signals.
#![allow(dead_code)] // each test binary uses its own part

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::net::TcpSocket;

/// How long a process may take to say what it is waited for; far more than it needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a process wrote so far, and whether it closed that pipe.
#[derive(Clone, Default)]
pub struct Said(Arc<(Mutex<(String, bool)>, Condvar)>);

impl Said {
    fn by(mut pipe: impl Read + Send + 'static) -> Self {
        let said = Self::default();
        let to = said.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let read = pipe.read(&mut bytes).unwrap_or(0);
                let mut heard = to.0.0.lock().unwrap();
                heard.0.push_str(&String::from_utf8_lossy(&bytes[..read]));
                heard.1 = read == 0;
                to.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        said
    }

    fn wait(&self, enough: impl Fn(&str, bool) -> bool) -> (String, bool) {
        let (heard, news) = &*self.0;
        let waiting = |said: &mut (String, bool)| !enough(&said.0, said.1);
        let (heard, late) = news.wait_timeout_while(heard.lock().unwrap(), PATIENCE, waiting).unwrap();
        assert!(!late.timed_out(), "nothing more came after:\n{}", heard.0);
        heard.clone()
    }

    /// Waits for `text`, or for the end; whether it came.
    pub fn has(&self, text: &str) -> bool {
        self.wait(|said, ended| ended || said.contains(text)).0.contains(text)
    }

    /// Waits for `text`.
    pub fn wait_for(&self, text: &str) {
        assert!(self.has(text), "`{text}` is not in:\n{}", self.so_far());
    }

    /// Whether `text` came, or comes within a moment: a line may be on its way still.
    pub fn has_by_now(&self, text: &str) -> bool {
        let (heard, news) = &*self.0;
        let waiting = |said: &mut (String, bool)| !said.1 && !said.0.contains(text);
        let heard = news.wait_timeout_while(heard.lock().unwrap(), Duration::from_secs(5), waiting).unwrap().0;
        heard.0.contains(text)
    }

    /// All until the end.
    pub fn to_the_end(&self) -> String {
        self.wait(|_, ended| ended).0
    }

    pub fn so_far(&self) -> String {
        self.0.0.lock().unwrap().0.clone()
    }
}

/// A running `aiviary`.
pub struct Served {
    child: Child,
    pub out: Said,
    pub err: Said,
}

/// A command of the binary in `folder`, with nothing of this environment but what `variables` says.
pub fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aiviary"));
    command.args(arguments).env_clear().env("AIVIARY_CONFIG", "/dev/null").envs(variables.iter().copied());
    command.current_dir(folder);
    command
}

impl Served {
    /// Starts it, and does not wait.
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(folder, arguments, variables);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
        let (out, err) = (Said::by(child.stdout.take().unwrap()), Said::by(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// `serve connect` on a port that the system picks, once it listens; and the port.
    pub fn connect(folder: &Path, variables: &[(&str, &str)]) -> (Self, u16) {
        let mut all = vec![("AIVIARY__CONNECT__INTERNAL", "127.0.0.1:0")];
        all.extend(variables);
        let served = Self::start(folder, &["serve", "connect"], &all);
        let port = served.port("connect listens on 127.0.0.1:");
        (served, port)
    }

    /// The port behind `words` in the log.
    pub fn port(&self, words: &str) -> u16 {
        let rest = |said: &str| {
            let rest = said.split_once(words)?.1;
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[..end].parse().ok()
        };
        let (said, _) = self.err.wait(|said, ended| ended || rest(said).is_some());
        rest(&said).unwrap_or_else(|| panic!("`{words}` is not in:\n{said}"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, as in `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// How it ends by itself: exit code, output, words.
    pub fn ended(mut self) -> (Option<i32>, String, String) {
        let (out, err) = (self.out.to_the_end(), self.err.to_the_end());
        (self.child.wait().unwrap().code(), out, err)
    }

    /// Ends it by a signal: exit code, output, words.
    pub fn end(self, signal: &str) -> (Option<i32>, String, String) {
        self.signal(signal);
        self.ended()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of this machine's own that refuses connections until a process started by the test listens there.
///
/// To take a port and to let it go is not enough: the system soon gives it to another test. This one stays bound, without
/// listening, until the test process ends; the system gives it to nobody who asks for any port, and lets who asks for
/// this one have it, as both have `SO_REUSEADDR`.
pub fn reserved() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let at = socket.local_addr().unwrap();
    std::mem::forget(socket);
    at
}

/// Ports for everything.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub connect: u16,
    pub instagram: u16,
    pub meta_ads: u16,
    pub sandbox: u16,
}

impl Ports {
    fn free() -> Self {
        let [connect, instagram, meta_ads, sandbox] = std::array::from_fn(|_| reserved().port());
        Self { connect, instagram, meta_ads, sandbox }
    }

    /// The variables that put every role there.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let at = |port: u16| format!("127.0.0.1:{port}");
        vec![
            ("AIVIARY__CONNECT__INTERNAL", at(self.connect)),
            ("AIVIARY__MCP__INSTAGRAM__LISTEN", at(self.instagram)),
            ("AIVIARY__MCP__META_ADS__LISTEN", at(self.meta_ads)),
            ("AIVIARY__SANDBOX__LISTEN", at(self.sandbox)),
        ]
    }
}

/// `serve all --sandbox` in `folder`, once it said that it is up.
pub fn sandbox(folder: &Path, variables: &[(&str, &str)]) -> (Served, Ports) {
    for _ in 0..10 {
        let ports = Ports::free();
        let own = ports.variables();
        let all: Vec<(&str, &str)> =
            own.iter().map(|(name, value)| (*name, value.as_str())).chain(variables.iter().copied()).collect();
        let served = Served::start(folder, &["serve", "all", "--sandbox"], &all);
        if served.out.has("Ctrl-C ends it") {
            return (served, ports);
        }
        // Another process was given the port in the meantime.
        let said = served.err.to_the_end();
        assert!(said.contains("is taken by another process"), "it does not start:\n{said}");
    }
    panic!("no free ports");
}

/// One request on a connection of its own: status and body.
pub fn request(port: u16, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
