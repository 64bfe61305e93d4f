//! Where each value came from: the file's text with the place of every key, and the variables on top of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Excerpt, Fault, Faults, Place};

/// What the names of variables begin with that set keys of the configuration.
const SETTING: &str = "AIVIARY__";

/// A snapshot of the environment, so that nothing else reads the process's own. Holds secrets: no `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of `name`, empty or not.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The variables that set keys of the configuration, with their values.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        let named = self.0.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str())));
        named.filter(|(name, _)| name.starts_with(SETTING))
    }

    /// The folder of what outlives a restart, where a service manager gives one: of several, which systemd separates by
    /// colons, ours is the first.
    #[must_use]
    pub fn state_folder(&self) -> Option<PathBuf> {
        let all = self.get("STATE_DIRECTORY")?.as_bytes();
        let first = all.split(|b| *b == b':').next().filter(|first| !first.is_empty())?;
        Some(OsStr::from_bytes(first).into())
    }

    /// The path in `name`; an empty one counts as none.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// What is meant by a fault: the key, or the value that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
    /// The value, which may be a secret by mistake: its line is not shown.
    Veiled,
}

struct File {
    path: PathBuf,
    text: String,
    /// By full path, list elements as `key[0]`: the bytes of the key and of the value.
    spans: BTreeMap<String, (Range<usize>, Range<usize>)>,
}

/// The file and the variables of one configuration.
pub(super) struct Sources {
    file: Option<File>,
    /// Path of the key to name and value of the variable.
    pub variables: BTreeMap<String, (String, OsString)>,
}

impl Sources {
    /// Takes the file's text, where there is one.
    ///
    /// # Errors
    /// Everything that keeps it from being TOML.
    pub fn new(file: Option<(&Path, String)>, environment: &Environment) -> Result<Self, Faults> {
        let variables = environment.0.iter().filter_map(|(name, value)| {
            let name = name.to_str()?;
            let path = name.strip_prefix(SETTING)?.to_ascii_lowercase().replace("__", ".");
            Some((path, (name.to_owned(), value.clone())))
        });
        let mut sources = Self { file: None, variables: variables.collect() };
        let Some((path, text)) = file else { return Ok(sources) };
        let (table, errors) = DeTable::parse_recoverable(&text);
        let mut spans = BTreeMap::new();
        let mut wrong: Vec<_> =
            errors.iter().map(|error| (error.span().unwrap_or_default(), error.message().to_owned())).collect();
        if wrong.is_empty() {
            walk("", table.get_ref(), &mut spans, &mut wrong);
        }
        sources.file = Some(File { path: path.to_owned(), text: text.clone(), spans });
        let faults = wrong.into_iter().map(|(span, what)| {
            let mut fault = Fault::new("TOML", what, "write it as https://toml.io/en/v1.0.0 says");
            sources.put(&mut fault, &span, Part::Veiled);
            fault
        });
        Faults::check(faults.collect())?;
        Ok(sources)
    }

    /// The file's text.
    pub fn text(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.text.as_str())
    }

    /// A fault of `path`, at the variable that sets it, else at its line.
    pub fn fault(&self, path: &str, part: Part, what: impl Into<String>, help: impl Into<String>) -> Fault {
        let mut fault = Fault::new(path, what, help);
        let key = path.split_once('[').map_or(path, |(key, _)| key);
        if let Some((name, _)) = self.variables.get(key) {
            fault.place = Place::Variable(name.clone());
        } else if let Some((of_key, of_value)) = self.spans(path).or_else(|| self.spans(key)) {
            self.put(&mut fault, if part == Part::Key { of_key } else { of_value }, part);
        }
        fault
    }

    /// Where `path` is set.
    pub fn place(&self, path: &str) -> Place {
        self.fault(path, Part::Value, "", "").place
    }

    fn spans(&self, path: &str) -> Option<&(Range<usize>, Range<usize>)> {
        self.file.as_ref()?.spans.get(path)
    }

    /// Whether the file has `path`.
    pub fn in_file(&self, path: &str) -> bool {
        self.spans(path).is_some()
    }

    /// Says where in the file `fault` is. Of the line only that much is kept which cannot be a secret that somebody
    /// put there: all of it for a known key, else no more than the key's own name.
    fn put(&self, fault: &mut Fault, span: &Range<usize>, part: Part) {
        let Some(file) = &self.file else { return };
        let at = (0..=span.start).rev().find(|at| file.text.is_char_boundary(*at)).unwrap_or_default();
        let start = file.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = file.text[start..].lines().next().unwrap_or_default();
        let column = file.text[start..at].chars().count() + 1;
        let number = file.text[..start].matches('\n').count() + 1;
        fault.place = Place::Line { file: file.path.clone(), line: number, column };

        let from = at - start;
        let to = (span.end.max(at + 1) - start).min(line.len()).max(from);
        let bare = |text: &str| {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b' ' | b'\t'))
        };
        let text = match part {
            // Beside this value an inline table may hold another that is none of ours.
            Part::Value if !line.contains('{') => Some(line.to_owned()),
            Part::Key if bare(&line[..from]) => {
                let end = if line.trim_start().starts_with('[') { "]" } else { " = …" };
                Some(format!("{}{end}", &line[..to]))
            }
            Part::Key | Part::Value | Part::Veiled => None,
        };
        fault.excerpt = text.map(|text| Excerpt { text, span: (from, to) });
    }
}

/// Notes where every key of `table` stands, and numbers that are too large to be read.
fn walk(
    path: &str,
    table: &DeTable<'_>,
    spans: &mut BTreeMap<String, (Range<usize>, Range<usize>)>,
    wrong: &mut Vec<(Range<usize>, String)>,
) {
    fn value_of(
        path: String,
        key: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        spans: &mut BTreeMap<String, (Range<usize>, Range<usize>)>,
        wrong: &mut Vec<(Range<usize>, String)>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => walk(&path, table, spans, wrong),
            DeValue::Array(array) => {
                for (index, element) in array.iter().enumerate() {
                    value_of(format!("{path}[{index}]"), element.span(), element, spans, wrong);
                }
            }
            DeValue::Integer(digits) if i64::from_str_radix(digits.as_str(), digits.radix()).is_err() => {
                wrong.push((value.span(), format!("{path} is a number beyond 64 bits")));
            }
            _ => {}
        }
        spans.insert(path, (key, value.span()));
    }
    for (key, of_key) in table {
        let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        value_of(path, key.span(), of_key, spans, wrong);
    }
}
