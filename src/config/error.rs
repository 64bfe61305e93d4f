//! What is wrong with the configuration: each fault with its place, its key and what to write instead.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file. Line and column (in characters) count from 1.
    Line {
        /// The file as it was named.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In this environment variable.
    Variable(String),
    /// Nowhere: a default, or something that is missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Nowhere => f.write_str("default"),
        }
    }
}

/// The line of the file, or as much of it as may be shown, and the bytes of it that are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excerpt {
    pub text: String,
    pub span: (usize, usize),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The key's full path, `connect.internal[0]`, or the secret's or the option's name.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write.
    pub help: String,
    pub(super) excerpt: Option<Excerpt>,
}

impl Fault {
    /// A fault of something that does not stand in the file.
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place: Place::Nowhere, key: key.into(), what: what.into(), help: help.into(), excerpt: None }
    }

    /// The fault as data.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = json!({"key": self.key, "what": self.what, "help": self.help});
        match &self.place {
            Place::Line { file, line, column } => {
                json["file"] = json!(file);
                json["line"] = json!(line);
                json["column"] = json!(column);
            }
            Place::Variable(name) => json["variable"] = json!(name),
            Place::Nowhere => {}
        }
        json
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = match &self.place {
            Place::Variable(name) if *name != self.key => format!("{name} ({}): {}", self.key, self.what),
            _ => format!("{}: {}", self.key, self.what),
        };
        match (&self.place, &self.excerpt) {
            (Place::Line { file, line, .. }, Some(Excerpt { text, span: (start, end) })) => {
                let mark = AnnotationKind::Primary.span(*start..*end);
                let file = file.display().to_string();
                let group = Group::with_title(Level::ERROR.primary_title(title))
                    .element(Snippet::source(text).line_start(*line).path(file).annotation(mark))
                    .element(Level::HELP.message(&self.help));
                f.write_str(&Renderer::plain().render(&[group]))
            }
            (place @ Place::Line { .. }, None) => write!(f, "error: {title}\n --> {place}\n  = help: {}", self.help),
            (_, _) => write!(f, "error: {title}\n  = help: {}", self.help),
        }
    }
}

/// Everything that is wrong, in the order of the file, then of the variables, then the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `Ok` when `faults` is empty; each of them is kept once.
    pub(crate) fn check(mut faults: Vec<Fault>) -> Result<(), Self> {
        faults.sort();
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
