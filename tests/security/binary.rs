//! The real binary, run to its end or as a service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub const BIN: &str = env!("CARGO_BIN_EXE_aiviary");

/// The binary in `folder` with nothing but `variables` around it, and an empty file instead of a real set-up's.
pub fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BIN);
    dress(&mut command, folder, arguments, variables);
    command
}

/// Gives `command` the binary's arguments and surroundings.
pub fn dress(command: &mut Command, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) {
    command.args(arguments).env_clear().env("AIVIARY_CONFIG", "/dev/null").envs(variables.iter().copied());
    command.current_dir(folder).stdin(Stdio::null());
}

/// How a command ended: its exit code and all that it said.
pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    said(&command(folder, arguments, variables).output().unwrap())
}

/// The same with `input` on standard input.
pub fn run_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> (i32, String) {
    let mut command = command(folder, arguments, variables);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    said(&child.wait_with_output().unwrap())
}

pub fn said(output: &Output) -> (i32, String) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

/// A running service, killed at the end.
pub struct Service {
    pub child: Child,
    lines: Receiver<String>,
    pub heard: Vec<String>,
}

impl Service {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a log line that holds `text`.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(20)) {
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("{text:?} was not logged: {:#?}", self.heard),
            }
            if self.heard.last().unwrap().contains(text) {
                return;
            }
        }
    }

    /// Ends it and gives all that it logged.
    pub fn end(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let rest: Vec<String> = self.lines.iter().collect();
        self.heard.extend(rest);
        std::mem::take(&mut self.heard)
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let mut status = String::new();
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::File::open(path).unwrap().read_to_string(&mut status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
