//! Logs, set up once before any role starts, and what each role counts.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look. Default: text.
    pub format: LogFormat,
    /// Which lines are written, as tracing's `EnvFilter` reads it. Default: `info`.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// Libraries that would print data of the accounts or each request: never below this.
const QUIET: [&str; 4] = ["rmcp=warn", "hyper=warn", "hyper_util=warn", "reqwest=warn"];

/// Whether `filter` is one that tracing reads as it is meant: a word alone that is no level would be a module of that
/// name, and all others silent.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn check_filter(filter: &str) -> Result<(), (String, String)> {
    const HELP: &str = "write a level as in \"info\", or several as in \"info,aiviary=debug\"";
    if filter.trim().is_empty() {
        return Err(("is empty".to_owned(), HELP.to_owned()));
    }
    let modules = QUIET.iter().filter_map(|quiet| quiet.split_once('=')).map(|(name, _)| name).chain(["aiviary"]);
    let modules: Vec<&str> = modules.collect();
    let is_word = |directive: &&str| !directive.contains(['=', '[', '{']);
    for word in filter.split(',').map(str::trim).filter(is_word) {
        let is_module = modules.contains(&word.split("::").next().unwrap_or_default());
        if word.is_empty() || is_module || word.parse::<LevelFilter>().is_ok() {
            continue;
        }
        let levels = ["error", "warn", "info", "debug", "trace", "off"];
        let near = |known: &&&str| strsim::jaro_winkler(&word.to_lowercase(), known);
        let nearest = levels.iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|known| near(known) > 0.75);
        let help = nearest.map_or_else(
            || format!("write one of {}, or a module's as in \"info,aiviary=debug\"", levels.join(", ")),
            |level| format!("did you mean {level}?"),
        );
        return Err((format!("{word:?} is no level"), help));
    }
    EnvFilter::try_new(filter).map(|_| ()).map_err(|error| (error.to_string(), HELP.to_owned()))
}

/// Starts the log on stderr: colour on a terminal only, and not where `NO_COLOR` is set.
pub fn init(settings: &LogSettings) {
    let filter = EnvFilter::new(format!("{},{}", settings.filter, QUIET.join(",")));
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let writer = move || OneLine::new(io::stderr(), colour);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    // A second call, as in tests, keeps the first log.
    let _ = match settings.format {
        LogFormat::Text => lines.with_ansi(colour).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
}

/// An error and its causes in one line, for a log or an answer of a command.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

/// Writes each event of the log on one line: what a caller or Meta wrote, or a library repeats, forges no second one.
///
/// Each write must be one whole event, as tracing's own are.
#[derive(Debug)]
pub struct OneLine<W> {
    inner: W,
    coloured: bool,
}

impl<W> OneLine<W> {
    /// Writes to `inner`. Colours are escape sequences: where they are on, tracing escapes those in values itself.
    pub fn new(inner: W, coloured: bool) -> Self {
        Self { inner, coloured }
    }

    /// Whether a terminal or a reader of lines would obey `c`.
    fn is_obeyed(&self, c: char) -> bool {
        let breaks_or_turns = matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        breaks_or_turns || (c.is_control() && !(self.coloured && c == '\u{1b}'))
    }

    fn escaped<'a>(&self, event: &'a str) -> Cow<'a, str> {
        let line = event.strip_suffix('\n').unwrap_or(event);
        if !line.contains(|c| self.is_obeyed(c)) {
            return event.into();
        }
        // As JSON writes them: the same form serves both formats.
        let mut escaped = String::with_capacity(event.len() + 16);
        for c in line.chars() {
            if self.is_obeyed(c) {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                escaped.push(c);
            }
        }
        escaped.push_str(&event[line.len()..]);
        escaped.into()
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let escaped = self.escaped(&text).into_owned();
        self.inner.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What one role counts; cheap to clone. Each role has its own registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    refused_connections: IntCounter,
    panics: IntCounter,
}

impl Metrics {
    /// The metrics that every role has, under `role`.
    ///
    /// # Panics
    /// Never: names are fixed, and registered once.
    #[must_use]
    pub fn new(role: &str) -> Self {
        let labels = [("role".to_owned(), role.to_owned())].into();
        let registry = Registry::new_custom(None, Some(labels)).expect("one label");
        let metrics = Self {
            requests: counters(&registry, "aiviary_requests_total", "Requests answered.", &["route", "status"]),
            seconds: {
                let opts = HistogramOpts::new("aiviary_request_seconds", "Time from a request's head to its answer.")
                    .buckets(vec![
                        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 45.0,
                    ]);
                let seconds = HistogramVec::new(opts, &["route"]).expect("a fixed name");
                registry.register(Box::new(seconds.clone())).expect("registered once");
                seconds
            },
            refused_connections: counter(
                &registry,
                "aiviary_connections_refused_total",
                "Connections closed at a bound.",
            ),
            panics: counter(&registry, "aiviary_panics_total", "Handlers that panicked: each is a bug."),
            registry,
        };
        let info = metrics.gauges("aiviary_build_info", "The build that runs.", &["version"]);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// A request was answered.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A connection was closed at a bound.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// A handler panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Further counters of a role.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        counters(&self.registry, name, help, labels)
    }

    /// Further gauges of a role.
    ///
    /// # Panics
    /// When a name is registered twice.
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a fixed name");
        self.registry.register(Box::new(gauges.clone())).expect("registered once");
        gauges
    }

    /// All of it as Prometheus text 0.0.4.
    ///
    /// # Panics
    /// Never: the encoder writes to memory.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("memory takes it");
        text
    }
}

/// The media type of [`Metrics::text`].
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a fixed name");
    registry.register(Box::new(counters.clone())).expect("registered once");
    counters
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("a fixed name");
    registry.register(Box::new(counter.clone())).expect("registered once");
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_of_levels_and_modules_that_there_are() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,aiviary=debug",
            "aiviary",
            "aiviary::store",
            "warn, hyper",
            "rmcp=debug,info",
            "info,some_crate=trace",
            "info,[call{client=acme}]=debug",
            "3",
            "info,",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for (bad, what, help) in [
            ("warning", "\"warning\" is no level", "did you mean warn?"),
            ("info,Debugg", "\"Debugg\" is no level", "did you mean debug?"),
            ("loud", "\"loud\" is no level", "write one of error, warn, info, debug, trace, off"),
            (" ", "is empty", "write a level"),
            ("a=b=c", "", "write a level"),
        ] {
            let (said, helps) = check_filter(bad).expect_err(bad);
            assert!(said.contains(what) && helps.starts_with(help), "{bad}: {said}; {helps}");
        }
    }

    #[test]
    fn an_event_stays_on_its_line_in_both_formats() {
        let written = |event: &str, coloured| {
            let mut writer = OneLine::new(Vec::new(), coloured);
            assert_eq!(writer.write(event.as_bytes()).unwrap(), event.len());
            String::from_utf8(writer.inner).unwrap()
        };
        for (event, line) in [
            ("plain \u{fc}\n", "plain \u{fc}\n"),
            ("a\r\n2026 FORGED\n", "a\\u000d\\u000a2026 FORGED\n"),
            ("a\u{1b}[2J\u{7f}\u{85}\n", "a\\u001b[2J\\u007f\\u0085\n"),
            ("no end\u{202e}", "no end\\u202e"),
        ] {
            assert_eq!(written(event, false), line, "{event:?}");
        }
        assert_eq!(written("\u{1b}[32mINFO\u{1b}[0m a\nb\n", true), "\u{1b}[32mINFO\u{1b}[0m a\\u000ab\n");
        let json = written("{\"message\":\"a\u{2028}b\u{7f}\"}\n", false);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["message"], "a\u{2028}b\u{7f}");
    }
}
