//! README.md as its reader takes it: every command runs in order against a really started sandbox, and answers as the
//! page says.
//!
//! Marks in the page, each a comment before a block: `not run: why`; `varies: a, b?` before an answer in JSON (those
//! members may differ in value, not in type; with `?` null is as good); `log` before lines that the server logged. In
//! an answer that is text `…` stands for anything within the line.

#[path = "support/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aiviary::config::SECRETS;
use aiviary::roles::sandbox;
use process::Ports;
use serde_json::Value;
use tempfile::TempDir;

/// A fenced block and the mark before it.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    line: usize,
    language: &'a str,
    mark: &'a str,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut all, mut mark, mut open) = (Vec::new(), "", None::<Block>);
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => all.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(language)) => {
                open = Some(Block { line: number, language, mark, text: String::new() });
                mark = "";
            }
            (None, None) => {
                let comment = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
                mark = comment.unwrap_or(if line.is_empty() { mark } else { "" });
            }
        }
    }
    assert_eq!(open, None, "a block has no end");
    all
}

/// The page's commands and answers, with this test's ports in place of the page's.
fn on(ports: Ports, text: &str) -> String {
    let own = [(3004, ports.meta_ads), (3005, ports.instagram), (3006, ports.connect), (3007, ports.sandbox)];
    own.iter().fold(text.to_owned(), |text, (page, own)| {
        text.replace(&format!("127.0.0.1:{page}"), &format!("127.0.0.1:{own}"))
    })
}

/// A shell that keeps its variables from block to block, as the reader's does.
struct Shell {
    shell: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Shell {
    fn start(folder: &Path, ports: Ports) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_aiviary")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.arg("-u").env_clear().env("PATH", path).env("AIVIARY_CONFIG", "/dev/null").env("LC_ALL", "C.UTF-8");
        command.envs(ports.variables()).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let (to, from) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        Self { shell, to, from, folder: folder.to_owned() }
    }

    /// Runs `commands`: what they wrote; or what is wrong with them.
    fn run(&mut self, commands: &str) -> Result<String, String> {
        writeln!(self.to, "{{ {commands}\n}} >out 2>err </dev/null\necho $?").unwrap();
        let mut exit = String::new();
        self.from.read_line(&mut exit).unwrap();
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let (out, err) = (read("out"), read("err"));
        if exit != "0\n" || !err.is_empty() {
            return Err(format!("exit {}, {err}{out}", if exit.is_empty() { "of the shell" } else { exit.trim_end() }));
        }
        Ok(out)
    }

    /// Runs what follows `sqlite3` where that is not installed: a file and a statement.
    fn sqlite(&self, command: &str) -> Result<String, String> {
        let parts = command.trim_end().strip_prefix("sqlite3 ").and_then(|rest| rest.split_once(" \""));
        let (file, statement) = parts.and_then(|(file, rest)| Some((file, rest.strip_suffix('"')?))).ok_or(command)?;
        let store = rusqlite::Connection::open(self.folder.join(file)).map_err(|error| error.to_string())?;
        let mut out = String::new();
        let mut query = store.prepare(statement).map_err(|error| error.to_string())?;
        let mut rows = query.query([]).map_err(|error| error.to_string())?;
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            let _ = writeln!(out, "{}", row.get::<_, String>(0).map_err(|error| error.to_string())?);
        }
        Ok(out)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Where `told` differs from the page; `varies` by member name.
fn differences(page: &Value, told: &Value, at: &str, varies: &[&str], found: &mut Vec<String>) {
    let name = at.rsplit('.').next().unwrap_or(at);
    let free = varies.iter().find(|varied| varied.trim_end_matches('?') == name);
    match (page, told) {
        (Value::Object(page), Value::Object(told)) => {
            for (name, page) in page {
                match told.get(name) {
                    Some(told) => differences(page, told, &format!("{at}.{name}"), varies, found),
                    None => found.push(format!("{at}.{name} is missing")),
                }
            }
            found
                .extend(told.keys().filter(|name| !page.contains_key(*name)).map(|name| format!("{at}.{name} is new")));
        }
        (Value::Array(page), Value::Array(told)) => {
            if page.len() != told.len() {
                found.push(format!("{at} has {} elements", told.len()));
            }
            // An element goes by the name of its list.
            page.iter().zip(told).for_each(|(page, told)| differences(page, told, at, varies, found));
        }
        _ => {
            let same_type = std::mem::discriminant(page) == std::mem::discriminant(told);
            let good = match free {
                None => page == told,
                Some(varied) => same_type || varied.ends_with('?') && (page.is_null() || told.is_null()),
            };
            if !good {
                found.push(format!("{at} is {told}"));
            }
        }
    }
}

/// Whether `line` is what `page` says, `…` standing for anything.
fn is_line(page: &str, line: &str) -> bool {
    let mut parts = page.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn is_text(page: &str, told: &str) -> bool {
    page.lines().count() == told.lines().count()
        && page.lines().zip(told.lines()).all(|(page, line)| is_line(page, line))
}

/// Whether an answer is what the page says.
fn check(block: &Block, ports: Ports, told: &str) -> Result<(), String> {
    let page = on(ports, &block.text);
    if block.language == "text" {
        return if is_text(&page, told) { Ok(()) } else { Err(format!("answers\n{told}")) };
    }
    let varies: Vec<&str> =
        block.mark.strip_prefix("varies: ").map(|names| names.split(", ").collect()).unwrap_or_default();
    let page: Value = serde_json::from_str(&page).map_err(|error| format!("is no JSON: {error}"))?;
    let told: Value = serde_json::from_str(told).map_err(|error| format!("answers no JSON ({error}):\n{told}"))?;
    let mut found = Vec::new();
    differences(&page, &told, "", &varies, &mut found);
    if found.is_empty() { Ok(()) } else { Err(format!("differs: {}", found.join(", "))) }
}

/// Everything that is wrong with `page`, and how many blocks were run.
fn faults(page: &str) -> (Vec<String>, usize) {
    let folder = TempDir::new().unwrap();
    let (served, ports) = process::sandbox(folder.path(), &[]);
    let mut shell = Shell::start(folder.path(), ports);
    let (mut faults, mut ran, mut told) = (Vec::new(), 0, None::<String>);
    for block in blocks(page) {
        let mut fault = |what: String| faults.push(format!("README.md:{}: {what}", block.line));
        match block.language {
            "sh" => {
                if told.take().is_some_and(|told| !told.is_empty()) {
                    fault("the block before this one answers, and the page does not say what".to_owned());
                }
                if let Some(why) = block.mark.strip_prefix("not run: ") {
                    println!("not run: {} ({why})", block.text.trim_end().replace('\n', "; "));
                    continue;
                }
                ran += 1;
                let by_hand = block.text.starts_with("sqlite3 ") && !installed("sqlite3");
                let done = if by_hand { shell.sqlite(&block.text) } else { shell.run(&on(ports, &block.text)) };
                told = done.map_err(&mut fault).ok();
            }
            "text" if block.mark == "log" => {
                for line in block.text.lines().filter(|line| !served.err.has_by_now(line)) {
                    fault(format!("the log has no line with `{line}`"));
                }
            }
            "json" | "text" => match told.take() {
                Some(told) => check(&block, ports, &told).unwrap_or_else(fault),
                None => fault("an answer to no command, or to one that failed".to_owned()),
            },
            other => fault(format!("`{other}` is no kind of block that this test knows")),
        }
    }
    let (code, out, err) = served.end("INT");
    assert_eq!(code, Some(0), "{err}");
    if format!("{out}{err}").contains(sandbox::TOKEN) {
        faults.push("the log holds a token".to_owned());
    }
    (faults, ran)
}

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn every_command_of_the_page_answers_as_it_says() {
    if !installed("curl") {
        println!("skipped: curl is not installed");
        return;
    }
    let (faults, ran) = faults(&page());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(ran > 10, "{ran} blocks only");
}

#[test]
fn a_page_that_is_wrong_is_found_out() {
    if !installed("curl") {
        println!("skipped: curl is not installed");
        return;
    }
    let fence = "```";
    let ask = "curl -s http://127.0.0.1:3006/healthz";
    for (page, said) in [
        (format!("{fence}sh\nfalse\n{fence}\n"), "exit 1"),
        (format!("{fence}sh\nnosuchcommand\n{fence}\n"), "exit 127"),
        (format!("{fence}sh\nif\n{fence}\n"), "exit of the shell"),
        (format!("{fence}sh\necho a >&2\n{fence}\n"), "exit 0, a"),
        (format!("{fence}sh\necho a\n{fence}\n{fence}sh\ntrue\n{fence}\n"), "does not say what"),
        (format!("{fence}sh\necho a\n{fence}\n{fence}text\nb\n{fence}\n"), "answers\na"),
        (format!("{fence}sh\n{ask}\n{fence}\n{fence}json\n{{\"fine\":true}}\n{fence}\n"), ".fine is missing"),
        (
            format!(
                "{fence}sh\necho '{{\"a\":1}}'\n{fence}\n<!-- varies: a -->\n{fence}json\n{{\"a\":\"1\"}}\n{fence}\n"
            ),
            ".a is 1",
        ),
        (format!("<!-- log -->\n{fence}text\nnothing of the kind\n{fence}\n"), "no line with"),
        (format!("{fence}bash\ntrue\n{fence}\n"), "no kind of block"),
    ] {
        let (faults, _) = faults(&page);
        assert!(faults.iter().any(|fault| fault.contains(said)), "{page}: {faults:?}");
    }
}

#[test]
fn the_page_names_every_secret_and_every_page_beside_it() {
    let page = page();
    for secret in SECRETS {
        assert!(page.contains(&format!("`{}`", secret.name)), "{}", secret.name);
    }
    assert!(page.contains("make test"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/install.md", "docs/n8n.md"] {
        let folder = root.join(name).parent().unwrap().to_owned();
        let text = fs::read_to_string(root.join(name)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap_or_default()) {
            assert!(link.is_empty() || folder.join(link).exists(), "{name}: {link}");
        }
    }
}

#[test]
fn text_matches_with_anything_where_the_page_leaves_it_out() {
    for (page, told, same) in [
        ("a…c\n", "abc\n", true),
        ("a…c\n", "abd\n", false),
        ("…b…d\n", "abcd\n", true),
        ("…d…b\n", "abcd\n", false),
        ("a\n", "a\nb\n", false),
        ("a\n", "ab\n", false),
        ("ab…\n", "a\n", false),
    ] {
        assert_eq!(is_text(page, told), same, "{page:?} {told:?}");
    }
}
