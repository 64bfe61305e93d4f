//! From raw values to checked ones: the merge of file and variables, and the grammar of every key.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use rust_decimal::Decimal;

use super::error::{Fault, Faults};
use super::raw::{Kind, Leaf, Raw, Section};
use super::secrets::SECRETS;
use super::sources::{Part, Sources};
use super::{Budget, Chosen, Config, Offer, Role, Setting, Shared, defaults};
use crate::credential::ClientId;
use crate::exposure::{self, BaseUrlError, Exposure, ListenAt, Listener, Rules, check_listener};
use crate::platforms::Platform;
use crate::roles::mcp::{ConnectAt, UnknownTool, check_tool};
use crate::telemetry::{LogFormat, LogSettings, check_filter};
use crate::tool::Writes;
use crate::{graph, store};

/// Reads checked values out of the raw ones, and notes what is wrong with them.
pub(super) struct Reader {
    pub sources: Sources,
    pub faults: Vec<Fault>,
    pub state: Option<PathBuf>,
}

/// What is wrong, and what to write.
type Wrong = (String, String);

fn wrong(what: impl Into<String>, help: impl Into<String>) -> Wrong {
    (what.into(), help.into())
}

/// A value as messages show it: escaped, and never much of it.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("{:?}…", short) } else { format!("{text:?}") }
}

/// A sentence of the form "what; help" in its parts, about a value.
fn parted(value: &str, sentence: &str) -> Wrong {
    let (what, help) = sentence.split_once("; ").unwrap_or(("is not that", sentence));
    wrong(format!("{} is {}", shown(value), what.trim_start_matches(value).trim_start_matches(" is ")), help)
}

impl Reader {
    fn note(&mut self, path: &str, part: Part, (what, help): Wrong) {
        self.faults.push(self.sources.fault(path, part, what, help));
    }

    /// The file with the variables on top, and every unknown key noted.
    pub fn merge(&mut self) -> Result<Raw, Faults> {
        let known: Vec<String> = defaults().into_iter().map(|(key, _)| key).collect();
        let is_section = |path: &str| known.iter().any(|key| within(key, path));
        let mut values = config::Map::new();
        for (path, (name, value)) in self.sources.variables.clone() {
            // Where a variable names a table, or something below a value, which of two won would be chance.
            let below = |key: &String| key != &path && within(&path, key);
            if !known.contains(&path) && (is_section(&path) || known.iter().any(below)) {
                self.unknown(&path, &known);
            } else if let Ok(value) = OsString::into_string(value) {
                values.insert(name, value);
            } else {
                self.note(&path, Part::Value, wrong("is not UTF-8", "write text"));
            }
        }
        let text = self.sources.text().unwrap_or_default().to_owned();
        // `try_parsing` stays off: it would make the client `0123` the number 123.
        let variables = config::Environment::with_prefix("AIVIARY").prefix_separator("__").separator("__");
        let merged = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .add_source(variables.source(Some(values)))
            .build();
        let unlikely = |error: config::ConfigError| Fault::new("configuration", error.to_string(), "correct it");
        let mut ignored = Vec::new();
        let raw = serde_ignored::deserialize(merged.map_err(unlikely)?, |path| ignored.push(path.to_string()));
        for path in ignored {
            let below: Vec<String> =
                self.sources.variables.keys().filter(|variable| within(variable, &path)).cloned().collect();
            if self.sources.in_file(&path) || below.is_empty() {
                self.unknown(&path, &known);
            }
            for variable in below {
                self.unknown(&variable, &known);
            }
        }
        raw.map_err(|error| unlikely(error).into())
    }

    /// Notes an unknown key, with the nearest that is known.
    fn unknown(&mut self, path: &str, known: &[String]) {
        let last = path.rsplit('.').next().unwrap_or(path);
        let bare = last.trim_end_matches("_file").replace('-', "_").to_ascii_uppercase();
        let help = if let Some(secret) = SECRETS.iter().find(|secret| secret.name == bare) {
            let (name, credential) = (secret.name, secret.name.to_ascii_lowercase());
            format!("secrets never stand here: give it as the credential {credential}, {name}_FILE or {name}")
        } else if let Some(nearest) = nearest(path, known) {
            let variable = format!("AIVIARY__{}", nearest.to_ascii_uppercase().replace('.', "__"));
            let is_variable = self.sources.variables.contains_key(path);
            format!("did you mean {}?", if is_variable { &variable } else { &nearest })
        } else {
            let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
            let mut keys: Vec<&str> = known.iter().filter_map(|key| child(key, parent)).collect();
            keys.dedup();
            if keys.is_empty() {
                keys = known.iter().filter_map(|key| child(key, "")).collect();
                keys.dedup();
            }
            format!("known are {}", keys.join(", "))
        };
        self.note(path, Part::Key, wrong("there is no such key", help));
    }

    /// The value of `path`, unless it is of the wrong type.
    fn take<T: Kind + Clone + Default>(&mut self, path: &str, leaf: &Leaf<T>) -> T {
        match &leaf.0 {
            Ok(value) => value.clone(),
            Err(kind) => {
                let default = defaults().into_iter().find(|(key, _)| key == path).map(|(_, value)| value);
                let key = path.rsplit('.').next().unwrap_or(path);
                let help = format!("write it as in {key} = {}", default.unwrap_or_default());
                self.note(path, Part::Value, wrong(format!("is {kind} where {} belongs", T::NAME), help));
                T::default()
            }
        }
    }

    /// The value of `path` as `parse` reads it. A wrong type is told once, and then nothing more.
    fn parse<T>(
        &mut self,
        path: &str,
        leaf: &Leaf<String>,
        part: Part,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let text = self.take(path, leaf);
        leaf.0.as_ref().ok()?;
        parse(&text).map_err(|wrong| self.note(path, part, wrong)).ok()
    }

    /// The elements of `path` as `parse` reads each.
    fn each<T>(
        &mut self,
        path: &str,
        leaf: &Leaf<Vec<String>>,
        parse: impl Fn(&str, &str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for (index, text) in self.take(path, leaf).iter().enumerate() {
            let element = format!("{path}[{index}]");
            match parse(&element, text) {
                Ok(value) => all.push(value),
                Err(wrong) => self.note(&element, Part::Value, wrong),
            }
        }
        all
    }

    fn listeners(&mut self, path: &str, leaf: &Leaf<Vec<String>>, exposure: Exposure, more: &[IpNet]) -> Vec<Listener> {
        if leaf.0.as_ref().is_ok_and(Vec::is_empty) && exposure == Exposure::Internal {
            self.note(path, Part::Value, wrong("is empty", "name one listener at least, or leave the key out"));
        }
        self.each(path, leaf, |key, text| {
            let no_listener = |error: crate::exposure::ListenAtError| {
                wrong(format!("{} is no listener", shown(text)), error.to_string())
            };
            let listener = Listener { at: text.parse().map_err(no_listener)?, exposure, key: key.to_owned() };
            check_listener(&listener, more).map_err(|error| parted(text, &error.to_string()))?;
            Ok(listener)
        })
    }

    fn networks(&mut self, path: &str, leaf: &Leaf<Vec<String>>) -> Vec<IpNet> {
        self.each(path, leaf, |_, text| {
            let one = |_| text.parse::<IpAddr>().map(IpNet::from);
            let help = "write it as in \"100.64.0.0/10\" or \"fd00::/8\"";
            text.parse::<IpNet>().or_else(one).map_err(|_| wrong(format!("{} is no prefix", shown(text)), help))
        })
    }

    fn hosts(&mut self, path: &str, leaf: &Leaf<Vec<String>>) -> Vec<String> {
        self.each(path, leaf, |_, text| {
            let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            let fits = !text.is_empty() && text.bytes().all(name);
            let help = "write the name alone, without scheme and port, as in \"localhost\"";
            if fits { Ok(text.to_owned()) } else { Err(wrong(format!("{} is no host name", shown(text)), help)) }
        })
    }

    fn duration(&mut self, path: &str, leaf: &Leaf<String>) -> Duration {
        let read = |text: &str| {
            let help = "write a number with its unit, as in \"8s\" or \"1m 30s\"";
            humantime::parse_duration(text).map_err(|_| wrong(format!("{} is no duration", shown(text)), help))
        };
        self.parse(path, leaf, Part::Value, read).unwrap_or_default()
    }

    /// A path, from the state folder where it is relative and there is one.
    fn path(&mut self, path: &str, leaf: &Leaf<String>) -> PathBuf {
        let read = |text: &str| {
            if text.is_empty() { Err(wrong("is empty", "write the path of a file")) } else { Ok(PathBuf::from(text)) }
        };
        let read = self.parse(path, leaf, Part::Value, read).unwrap_or_default();
        self.in_state(read)
    }

    fn in_state(&self, path: PathBuf) -> PathBuf {
        match &self.state {
            Some(state) => state.join(path),
            None => path,
        }
    }

    fn url(&mut self, path: &str, leaf: &Leaf<String>, names: bool, more: &[IpNet]) -> String {
        self.parse(path, leaf, Part::Veiled, |text| base_url(text, names, more)).unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, path: &str, leaf: &Leaf<String>, words: &[(&str, T)]) -> T {
        let read = |text: &str| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let fault = || wrong(format!("{} is none of its words", shown(text)), format!("write {}", or(&known)));
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(fault)
        };
        self.parse(path, leaf, Part::Value, read).unwrap_or(words[0].1)
    }

    fn offer(
        &mut self,
        platform: Platform,
        path: &str,
        listen: &Leaf<Vec<String>>,
        writes: &Leaf<String>,
        tools: &Leaf<Vec<String>>,
        more: &[IpNet],
    ) -> Offer {
        Offer {
            listeners: self.listeners(&format!("{path}.listen"), listen, Exposure::Internal, more),
            writes: self.one_of(
                &format!("{path}.writes"),
                writes,
                &[("off", Writes::Off), ("on", Writes::On), ("all", Writes::All)],
            ),
            tools: self.each(&format!("{path}.tools"), tools, |_, text| {
                let bare = text.strip_prefix('-').unwrap_or(text);
                let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'*');
                let fits = !bare.is_empty() && bare.bytes().all(fits);
                if !fits {
                    let help = "write a tool's name, a pattern as in \"get_*\", or either with - before it";
                    return Err(wrong(format!("{} is no tool", shown(text)), help));
                }
                let unknown = |error: UnknownTool| wrong(error.to_string(), error.help(platform));
                check_tool(text, platform.catalogue()).map_err(unknown).map(|()| text.to_owned())
            }),
        }
    }

    fn section<T>(&mut self, path: &str, section: &Section<T>) {
        if let Some(kind) = section.wrong {
            self.note(path, Part::Value, wrong(format!("is {kind} where a table belongs"), format!("write [{path}]")));
        }
    }

    #[allow(clippy::too_many_lines)] // one line a key
    pub fn read(&mut self, chosen: Chosen, raw: &Raw) -> Config {
        let Raw { client_id, connect, store, audit, mcp, graph, sandbox, log } = raw;
        self.section("connect", connect);
        self.section("store", store);
        self.section("audit", audit);
        self.section("mcp", mcp);
        self.section("mcp.instagram", &mcp.instagram);
        self.section("mcp.meta_ads", &mcp.meta_ads);
        self.section("graph", graph);
        self.section("sandbox", sandbox);
        self.section("log", log);

        let client = self.parse("client_id", client_id, Part::Veiled, |text| {
            let fault = |error: crate::credential::GrammarError| wrong("is no client", format!("write {error}"));
            if text.is_empty() { Ok(None) } else { ClientId::from_str(text).map(Some).map_err(fault) }
        });

        let networks = self.networks("connect.internal_networks", &connect.internal_networks);
        let mut listeners = self.listeners("connect.internal", &connect.internal, Exposure::Internal, &networks);
        listeners.extend(self.listeners("connect.public", &connect.public, Exposure::Public, &networks));
        let hosts = self.hosts("connect.internal_hosts", &connect.internal_hosts);
        let connect = Shared {
            listeners,
            rules: Rules { networks, hosts, origins: Vec::new(), refuse_fetch_site: true },
            state: self.path("connect.state", &connect.state),
            drain: self.duration("connect.drain", &connect.drain),
        };

        let url = self.parse("store.url", &store.url, Part::Veiled, |text| match text.parse() {
            Ok(store::Url::Sqlite(path)) if path.to_string_lossy().contains(":memory:") => {
                Err(wrong("is a store that is lost at every stop", "write sqlite:FILE"))
            }
            Ok(url) => Ok(url),
            Err(error) => {
                let sentence = format!("is {error}");
                let (what, help) =
                    sentence.split_once("; ").unwrap_or((&sentence, "write sqlite:FILE or nocodb+https://HOST"));
                Err(wrong(what, help))
            }
        });
        let url = match url {
            Some(store::Url::Sqlite(path)) => store::Url::Sqlite(self.in_state(path)),
            Some(nocodb) => nocodb,
            // Never used: there is a fault.
            None => store::Url::Sqlite(PathBuf::new()),
        };
        let base = self.parse("store.base", &store.base, Part::Value, |text| {
            let fault = |error| wrong(format!("{} is no base", shown(text)), format!("write {error}"));
            if text.is_empty() { Ok(()) } else { store::check_title(text).map_err(fault) }.map(|()| text.to_owned())
        });
        let is_sqlite = matches!(url, store::Url::Sqlite(_));
        let table = self.parse("store.table", &store.table, Part::Value, |text| {
            let fault = |error| wrong(format!("{} is no table", shown(text)), format!("write {error}"));
            let fits = if is_sqlite { store::check_table(text) } else { store::check_title(text) };
            fits.map(|()| text.to_owned()).map_err(fault)
        });
        let audit = self.path("audit.path", &audit.path);

        let more = self.networks("mcp.internal_networks", &mcp.internal_networks);
        let connect_at =
            self.parse("mcp.connect_url", &mcp.connect_url, Part::Veiled, |text| match text.strip_prefix("unix:") {
                Some(path) if path.starts_with('/') => Ok(ConnectAt::Unix(path.into())),
                Some(_) => Err(wrong("is no absolute path", "write it as in \"unix:/run/aiviary/connect.sock\"")),
                None => base_url(text, true, &more).map(ConnectAt::Url),
            });
        let own = &mcp.instagram;
        let instagram = self.offer(Platform::Instagram, "mcp.instagram", &own.listen, &own.writes, &own.tools, &more);
        let own = &mcp.meta_ads;
        let meta_ads = self.offer(Platform::MetaAds, "mcp.meta_ads", &own.listen, &own.writes, &own.tools, &more);
        let budgets = self.each("mcp.meta_ads.max_daily_budget", &own.max_daily_budget, |_, text| budget(text));
        for (index, budget) in budgets.iter().enumerate() {
            if budgets[..index].iter().any(|earlier| earlier.currency == budget.currency) {
                let what = format!("{} stands twice", budget.currency);
                self.note("mcp.meta_ads.max_daily_budget", Part::Value, wrong(what, "write one ceiling a currency"));
            }
        }
        let mcp = Shared {
            listeners: Vec::new(),
            rules: Rules {
                hosts: self.hosts("mcp.hosts", &mcp.hosts),
                origins: self.each("mcp.origins", &mcp.origins, |_, text| origin(text)),
                networks: more.clone(),
                refuse_fetch_site: false,
            },
            state: self.path("mcp.state", &mcp.state),
            drain: self.duration("mcp.drain", &mcp.drain),
        };

        let graph = graph::Settings {
            base_url: self.url("graph.base_url", &graph.base_url, false, &[]),
            instagram_base_url: self.url("graph.instagram_base_url", &graph.instagram_base_url, false, &[]),
            version: self
                .parse("graph.version", &graph.version, Part::Value, |text| {
                    let number = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                    let fits = text.strip_prefix('v').and_then(|text| text.split_once('.'));
                    let fits = fits.is_some_and(|(major, minor)| number(major) && number(minor));
                    let fault = || wrong(format!("{} is no version", shown(text)), "write it as Meta does: \"v26.0\"");
                    if fits { Ok(text.to_owned()) } else { Err(fault()) }
                })
                .unwrap_or_default(),
            timeout: {
                let timeout = self.duration("graph.timeout", &graph.timeout);
                let bounds = Duration::from_millis(1)..=Duration::from_secs(45);
                if graph.timeout.0.as_ref().is_ok_and(|text| humantime::parse_duration(text).is_ok())
                    && !bounds.contains(&timeout)
                {
                    let help = "write 1ms to 45s, which is the time of a whole call";
                    self.note("graph.timeout", Part::Value, wrong("is out of bounds", help));
                }
                timeout
            },
            concurrency: {
                let calls = self.take("graph.concurrency", &graph.concurrency);
                if graph.concurrency.0.is_ok() && !(1..=4096).contains(&calls) {
                    self.note("graph.concurrency", Part::Value, wrong("is out of bounds", "write 1 to 4096"));
                }
                usize::try_from(calls).unwrap_or(usize::MAX)
            },
        };
        let listeners = self.listeners("sandbox.listen", &sandbox.listen, Exposure::Internal, &more);
        let collisions = self.collisions(&[
            (Role::Connect, &connect.listeners),
            (Role::Instagram, &instagram.listeners),
            (Role::MetaAds, &meta_ads.listeners),
            (Role::Sandbox, &listeners),
        ]);
        let (own, collisions): (Vec<_>, Vec<_>) = collisions.into_iter().partition(|([one, other], _)| one == other);
        self.faults.extend(own.into_iter().map(|(_, fault)| fault));
        let seed = self.take("sandbox.seed", &sandbox.seed);
        let log = LogSettings {
            format: self.one_of("log.format", &log.format, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            filter: self
                .parse("log.filter", &log.filter, Part::Value, |text| {
                    let what = |(what, help)| wrong(format!("{} is no filter: {what}", shown(text)), help);
                    check_filter(text).map(|()| text.to_owned()).map_err(what)
                })
                .unwrap_or_default(),
        };
        let settings = raw.flat().into_iter();
        let settings = settings.map(|(key, value)| Setting { from: self.sources.place(&key), key, value }).collect();
        Config {
            chosen,
            settings,
            client: client.flatten(),
            connect,
            audit,
            store: store::Settings {
                url,
                base: base.unwrap_or_default(),
                table: table.unwrap_or_default(),
                token: None,
            },
            connect_at: connect_at.unwrap_or(ConnectAt::Url(String::new())),
            mcp,
            instagram,
            meta_ads,
            budgets,
            graph,
            sandbox: listeners,
            collisions,
            seed,
            log,
        }
    }

    /// Each two listeners of these roles that no system binds together, with the roles that they are of.
    fn collisions(&self, roles: &[(Role, &[Listener])]) -> Vec<([Role; 2], Fault)> {
        let all: Vec<(Role, &Listener)> =
            roles.iter().flat_map(|(role, listeners)| listeners.iter().map(|listener| (*role, listener))).collect();
        let mut found = Vec::new();
        for (index, (role, listener)) in all.iter().enumerate() {
            for (other, earlier) in all[..index].iter().filter(|(_, earlier)| collide(&listener.at, &earlier.at)) {
                let what = format!("{} takes the place of {}, {}", listener.at, earlier.key, earlier.at);
                let help = "name another port, or one address instead of all";
                found.push(([*other, *role], self.sources.fault(&listener.key, Part::Value, what, help)));
            }
        }
        found
    }
}

/// Whether no system binds the two together: the same place, or a wildcard beside an address with its port.
fn collide(this: &ListenAt, that: &ListenAt) -> bool {
    match (this, that) {
        (ListenAt::Address(this), ListenAt::Address(that)) => {
            let wild = this.ip().is_unspecified() || that.ip().is_unspecified();
            this.port() == that.port() && this.port() != 0 && (wild || this.ip() == that.ip())
        }
        (ListenAt::Prefix(_, 0) | ListenAt::Interface(_, 0), _) => false,
        _ => this == that,
    }
}

/// Whether `path` is `table` or below it.
fn within(path: &str, table: &str) -> bool {
    path.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The name right below `table` on the way to `key`.
fn child<'a>(key: &'a str, table: &str) -> Option<&'a str> {
    let rest = if table.is_empty() { key } else { key.strip_prefix(table)?.strip_prefix('.')? };
    rest.split('.').next()
}

/// The key or table that was most likely meant by `path`.
fn nearest(path: &str, known: &[String]) -> Option<String> {
    let split = |path: &str| -> (String, String) {
        path.rsplit_once('.')
            .map_or((String::new(), path.to_owned()), |(table, key)| (table.to_owned(), key.to_owned()))
    };
    let mut candidates: Vec<&str> = known.iter().map(String::as_str).collect();
    for key in known {
        candidates.extend(key.match_indices('.').map(|(dot, _)| &key[..dot]));
    }
    let (table, key) = split(path);
    let distance = |candidate: &&str| {
        let (other_table, other_key) = split(candidate);
        let elsewhere = usize::from(table != other_table);
        let apart = strsim::damerau_levenshtein(&key, &other_key);
        (apart + elsewhere).min(strsim::damerau_levenshtein(path, candidate))
    };
    let best = candidates.into_iter().min_by_key(distance)?;
    (distance(&best) <= 1 + key.len() / 3).then(|| best.to_owned())
}

fn or(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// As [`exposure::base_url`].
fn base_url(text: &str, names: bool, more: &[IpNet]) -> Result<String, Wrong> {
    let fault = |error: BaseUrlError| {
        let help = match error {
            BaseUrlError::NoUrl => "write it as in \"https://host\", without user, query and fragment",
            BaseUrlError::NotNear => "write https; plain http is for loopback and private addresses",
        };
        wrong(format!("is {error}"), help)
    };
    exposure::base_url(text, names, more).map_err(fault)
}

fn origin(text: &str) -> Result<String, Wrong> {
    let url = text.parse::<hyper::Uri>().ok();
    let same = url.and_then(|url| {
        let (scheme, authority) = (url.scheme_str()?.to_owned(), url.authority()?.as_str().to_owned());
        (matches!(scheme.as_str(), "http" | "https") && format!("{scheme}://{authority}") == text).then_some(())
    });
    let help = "write scheme, host and port, as in \"https://n8n.example\"";
    same.map(|()| text.to_owned()).ok_or_else(|| wrong(format!("{} is no origin", shown(text)), help))
}

fn budget(text: &str) -> Result<Budget, Wrong> {
    let read = || {
        let (amount, currency) = text.split_once(' ')?;
        let digits = amount.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        let amount: Decimal = amount.parse().ok()?;
        (digits && code).then(|| Budget { amount, currency: currency.to_owned() })
    };
    let help = "write amount and currency, as in \"100.00 EUR\"";
    read().ok_or_else(|| wrong(format!("{} is no budget", shown(text)), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        let known: Vec<String> = defaults().into_iter().map(|(key, _)| key).collect();
        for (path, meant) in [
            ("connect.drian", Some("connect.drain")),
            ("drain", Some("connect.drain")),
            ("conect", Some("connect")),
            ("conect.internal", Some("connect.internal")),
            ("mcp.meta-ads", Some("mcp.meta_ads")),
            ("mcp.instagram.write", Some("mcp.instagram.writes")),
            ("clientid", Some("client_id")),
            ("graph.zzzzzz", None),
        ] {
            assert_eq!(nearest(path, &known).as_deref(), meant, "{path}");
        }
    }

    #[test]
    fn budgets_and_origins_keep_to_their_grammar() {
        assert_eq!(budget("100.00 EUR").unwrap(), Budget { amount: Decimal::new(10000, 2), currency: "EUR".into() });
        for bad in ["", "100", "EUR 100", "100 eur", "-1 EUR", "1e3 EUR", "100  EUR", "1,5 EUR"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
        assert!(origin("https://n8n.example:8443").is_ok());
        for bad in ["", "*", "null", "n8n.example", "https://n8n.example/", "https://n8n.example/a", "ftp://a"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
