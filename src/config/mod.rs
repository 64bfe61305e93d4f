//! File and environment become the settings of the roles: the only code that knows TOML.
//!
//! [`Config::load`] reads and checks everything and tells every fault at once; `connect`, `mcp`, `sandbox`, `store`,
//! `graph` and `log` then give what the modules below take.

mod error;
mod raw;
mod read;
mod secrets;
mod sources;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rust_decimal::Decimal;
use serde_json::Value;

pub use self::error::{Fault, Faults, Place};
use self::raw::Raw;
use self::read::Reader;
pub use self::secrets::{Found, Named, SECRETS, Secrets, Source};
pub use self::sources::Environment;
use self::sources::Sources;
use crate::clock::Clock;
use crate::credential::ClientId;
use crate::exposure::{Exposure, ListenAt, Listener, Rules, is_internal, is_internal_prefix};
use crate::platforms::Platform;
use crate::roles::mcp::ConnectAt;
use crate::roles::{connect, mcp, sandbox};
use crate::telemetry::LogSettings;
use crate::tool::{Access, Writes};
use crate::{graph, server, store};

/// Read where neither `--config` nor `AIVIARY_CONFIG` names a file.
const USUAL_FILE: &str = "/etc/aiviary/aiviary.toml";

/// What can be served, one listener set each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The credential service.
    Connect,
    /// The Instagram MCP server.
    Instagram,
    /// The Meta Ads MCP server.
    MetaAds,
    /// The stand-in for the Graph API.
    Sandbox,
}

impl Role {
    /// What a real set-up runs.
    pub const REAL: [Self; 3] = [Self::Connect, Self::Instagram, Self::MetaAds];

    /// The word of the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Instagram => Platform::Instagram.name(),
            Self::MetaAds => Platform::MetaAds.name(),
            Self::Sandbox => "sandbox",
        }
    }
}

impl From<Platform> for Role {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Instagram => Self::Instagram,
            Platform::MetaAds => Self::MetaAds,
        }
    }
}

/// A ceiling of `mcp.meta_ads.max_daily_budget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most that one day may cost.
    pub amount: Decimal,
    /// Three capital letters.
    pub currency: String,
}

/// One key as it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its full path.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Where it was set; [`Place::Nowhere`] for a default.
    pub from: Place,
}

/// Which file was read, and why that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The file, and what named it.
    File(PathBuf, &'static str),
    /// None: every key has its default.
    Defaults,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, by) => write!(f, "{} ({by})", path.display()),
            Self::Defaults => write!(f, "no file, defaults (no --config, no AIVIARY_CONFIG, no {USUAL_FILE})"),
        }
    }
}

/// The whole configuration, checked.
pub struct Config {
    chosen: Chosen,
    settings: Vec<Setting>,
    client: Option<ClientId>,
    connect: Shared,
    audit: PathBuf,
    store: store::Settings,
    connect_at: ConnectAt,
    mcp: Shared,
    instagram: Offer,
    meta_ads: Offer,
    budgets: Vec<Budget>,
    graph: graph::Settings,
    sandbox: Vec<Listener>,
    /// Listeners of two roles that cannot be bound together: a fault for whoever runs both.
    collisions: Vec<([Role; 2], Fault)>,
    seed: u64,
    log: LogSettings,
}

/// What `[connect]` and `[mcp]` share.
struct Shared {
    listeners: Vec<Listener>,
    rules: Rules,
    state: PathBuf,
    drain: Duration,
}

/// What both platforms have.
struct Offer {
    listeners: Vec<Listener>,
    writes: Writes,
    tools: Vec<String>,
}

/// Every key with its default, in the order of the reference.
#[must_use]
pub fn defaults() -> Vec<(String, Value)> {
    Raw::default().flat()
}

impl Config {
    /// Reads the file that `named` (`--config`), else `AIVIARY_CONFIG`, else the usual place says, and the variables
    /// on top of it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, Faults> {
        let (chosen, text) = choose(named, environment)?;
        let file = match (&chosen, text) {
            (Chosen::File(path, _), Some(text)) => Some((path.as_path(), text)),
            _ => None,
        };
        let sources = Sources::new(file, environment)?;
        let mut reader = Reader { sources, faults: Vec::new(), state: environment.state_folder() };
        let raw = reader.merge()?;
        let config = reader.read(chosen, &raw);
        Faults::check(reader.faults)?;
        Ok(config)
    }

    /// Which file was read.
    #[must_use]
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Every key as it holds, in the order of the reference. None of them is secret.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The listeners of `role`.
    #[must_use]
    pub fn listeners(&self, role: Role) -> &[Listener] {
        match role {
            Role::Connect => &self.connect.listeners,
            Role::Instagram => &self.instagram.listeners,
            Role::MetaAds => &self.meta_ads.listeners,
            Role::Sandbox => &self.sandbox,
        }
    }

    /// Networks that count as internal for `role` besides the usual ones.
    #[must_use]
    pub fn networks(&self, role: Role) -> &[IpNet] {
        match role {
            Role::Connect => &self.connect.rules.networks,
            _ => &self.mcp.rules.networks,
        }
    }

    /// Settings of `serve connect`.
    ///
    /// # Errors
    /// Everything that is wrong with its secrets.
    pub fn connect(&self, secrets: &Secrets) -> Result<connect::Settings, Faults> {
        let mut all = secrets.of_role(Role::Connect, self.is_exposed())?;
        let mut required = |name| all.remove(name).expect("of_role refuses without it");
        let (encryption_keys, api_keys) = (required("ENCRYPTION_KEY"), required("VM_API_KEY"));
        Ok(connect::Settings {
            store: self.store_with(secrets)?,
            listeners: self.connect.listeners.clone(),
            rules: self.connect.rules.clone(),
            client: self.client.clone(),
            state: self.connect.state.clone(),
            audit: self.audit.clone(),
            drain: self.connect.drain,
            encryption_keys,
            api_keys,
            service_keys: all.remove("CONNECT_SERVICE_KEY"),
            app_secret: all.remove("META_APP_SECRET"),
            instagram_app_secret: all.remove("INSTAGRAM_APP_SECRET"),
            clock: Clock::system(),
        })
    }

    /// Settings of `serve mcp --platform …`.
    ///
    /// # Errors
    /// Everything that is wrong with its secrets.
    pub fn mcp(&self, platform: Platform, secrets: &Secrets) -> Result<mcp::Settings, Faults> {
        let mut all = secrets.of_role(platform.into(), false)?;
        let offer = self.offer(platform);
        Ok(mcp::Settings {
            platform,
            catalogue: platform.catalogue(),
            graph: self.graph.clone(),
            writes: offer.writes,
            tools: offer.tools.clone(),
            listeners: offer.listeners.clone(),
            rules: self.mcp.rules.clone(),
            client: self.client.clone(),
            connect: self.connect_at.clone(),
            connect_key: all.remove("CONNECT_SERVICE_KEY"),
            keys: all.remove("MCP_API_KEY"),
            app_secret: all.remove("META_APP_SECRET"),
            state: self.mcp.state.clone(),
            drain: self.mcp.drain,
            clock: Clock::system(),
        })
    }

    fn offer(&self, platform: Platform) -> &Offer {
        match platform {
            Platform::Instagram => &self.instagram,
            Platform::MetaAds => &self.meta_ads,
        }
    }

    /// Settings of `serve sandbox`.
    #[must_use]
    pub fn sandbox(&self) -> sandbox::Settings {
        let hosts = ["localhost", "aiviary-sandbox"].map(str::to_owned).to_vec();
        sandbox::Settings {
            listeners: self.sandbox.clone(),
            rules: Rules { hosts, refuse_fetch_site: true, ..self.mcp.rules.clone() },
            seed: self.seed,
            clock: Clock::system(),
        }
    }

    /// Settings of the store, without its token.
    #[must_use]
    pub fn store(&self) -> store::Settings {
        self.store.clone()
    }

    /// Settings of the store, ready to be opened.
    ///
    /// # Errors
    /// When NocoDB's token is missing or cannot be used.
    pub fn store_with(&self, secrets: &Secrets) -> Result<store::Settings, Faults> {
        let mut settings = self.store();
        if matches!(settings.url, store::Url::NocoDb { .. }) {
            let found = secrets.one("NOCODB_TOKEN")?.ok_or_else(|| secrets.missing("NOCODB_TOKEN"))?;
            settings.token = Some(Arc::new(found.secret));
        }
        Ok(settings)
    }

    /// Where the MCP servers ask for tokens.
    #[must_use]
    pub fn connect_at(&self) -> &ConnectAt {
        &self.connect_at
    }

    /// Settings of the Graph client.
    #[must_use]
    pub fn graph(&self) -> graph::Settings {
        self.graph.clone()
    }

    /// Settings of the log.
    #[must_use]
    pub fn log(&self) -> LogSettings {
        self.log.clone()
    }

    /// The audit trail.
    #[must_use]
    pub fn audit(&self) -> &Path {
        &self.audit
    }

    /// Connect's own memory.
    #[must_use]
    pub fn connect_state(&self) -> &Path {
        &self.connect.state
    }

    /// The client of a request that names none.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }

    /// Ceilings of daily budgets, one a currency; none are set when it is empty.
    #[must_use]
    pub fn max_daily_budget(&self) -> &[Budget] {
        &self.budgets
    }

    /// This configuration for `serve all --sandbox`: of a real set-up nothing is touched. Store, state, audit trail
    /// and keys are in `folder`, Graph is the sandbox and connect the one beside it; listeners stay.
    ///
    /// # Errors
    /// When `folder` cannot be written, or the sandbox has no address to be asked at.
    pub fn in_sandbox(mut self, folder: &Path, environment: &Environment) -> Result<(Self, Secrets), Faults> {
        let networks = self.mcp.rules.networks.clone();
        let internal = |listener: &&Listener| listener.exposure == Exposure::Internal;
        let base = |listeners: &[Listener]| {
            let all = listeners.iter().filter(internal);
            let mut addresses = all.flat_map(|listener| server::addresses(listener, &networks).unwrap_or_default());
            addresses.next().map(|address| format!("http://{address}"))
        };
        let graph = base(&self.sandbox).ok_or_else(|| {
            Fault::new("sandbox.listen", "no address of this machine", "write \"127.0.0.1:3007\", or another port")
        })?;
        let unix = self.connect.listeners.iter().filter(internal).find_map(|listener| match &listener.at {
            ListenAt::Unix(path) => Some(ConnectAt::Unix(path.clone())),
            _ => None,
        });
        self.connect_at = base(&self.connect.listeners).map(ConnectAt::Url).or(unix).ok_or_else(|| {
            Fault::new("connect.internal", "no address of this machine", "write \"127.0.0.1:3006\", or another port")
        })?;
        let secrets = Secrets::of_sandbox(environment, folder)?;
        self.store = store::Settings::sqlite(folder.join("aiviary.db"));
        self.connect.state = folder.join("connect.db");
        self.mcp.state = folder.join("mcp.db");
        self.audit = folder.join("audit.jsonl");
        // Whoever stores more clients still reaches the sample at the plain path.
        self.client = self.client.or_else(|| Some(sandbox::sample_client()));
        self.graph = graph::Settings {
            instagram_base_url: format!("{graph}{}", sandbox::INSTAGRAM_PATH),
            base_url: graph,
            ..graph::Settings::default()
        };
        Ok((self, secrets))
    }

    /// Everything that keeps `roles` from running together: their listeners and their secrets.
    ///
    /// # Errors
    /// Just that.
    pub fn check_roles(&self, secrets: &Secrets, roles: &[Role]) -> Result<(), Faults> {
        let together = self.collisions.iter().filter(|(of, _)| of.iter().all(|role| roles.contains(role)));
        let mut faults: Vec<Fault> = together.map(|(_, fault)| fault.clone()).collect();
        faults.extend(check_secrets(secrets, roles, self.is_exposed()).err().into_iter().flatten());
        if roles.contains(&Role::Connect) {
            faults.extend(self.store_with(secrets).err().into_iter().flatten());
        }
        Faults::check(faults)
    }

    /// Whether strangers can reach a listener of connect.
    fn is_exposed(&self) -> bool {
        let is_loopback =
            |at: &ListenAt| matches!(at, ListenAt::Address(address) if address.ip().to_canonical().is_loopback());
        self.public().any(|listener| !is_loopback(&listener.at))
    }

    fn public(&self) -> impl Iterator<Item = &Listener> {
        let all = self.connect.listeners.iter().filter(|listener| listener.exposure == Exposure::Public);
        all.filter(|listener| !matches!(listener.at, ListenAt::Unix(_)))
    }

    /// Whether a public listener of connect has internal addresses alone. An interface that has none yet may get others.
    fn is_private(&self, listener: &Listener) -> bool {
        let more = &self.connect.rules.networks;
        match &listener.at {
            ListenAt::Unix(_) => true,
            ListenAt::Address(address) => is_internal(address.ip(), more),
            ListenAt::Prefix(prefix, _) => is_internal_prefix(prefix, more),
            ListenAt::Interface(..) => {
                let all = server::addresses(listener, more).unwrap_or_default();
                !all.is_empty() && all.iter().all(|address| is_internal(address.ip(), more))
            }
        }
    }

    /// What is worth a word for whoever runs `roles`, though nothing is wrong.
    #[must_use]
    pub fn warnings(&self, secrets: &Secrets, roles: &[Role]) -> Vec<String> {
        let mut warnings = secrets.warnings(roles);
        if roles.contains(&Role::Connect) {
            for listener in self.public().filter(|listener| !self.is_private(listener)) {
                warnings.push(format!(
                    "connect.public: {} speaks plain http: keys and tokens travel in clear unless a proxy with TLS \
                     stands before it",
                    listener.at
                ));
            }
            let tcp = |listener: &Listener| {
                listener.exposure == Exposure::Internal && !matches!(listener.at, ListenAt::Unix(_))
            };
            if self.connect.listeners.iter().any(tcp) && !secrets.has("CONNECT_SERVICE_KEY") {
                warnings.push(
                    "CONNECT_SERVICE_KEY: is not set: each process that reaches the internal listener may have tokens"
                        .to_owned(),
                );
            }
        }
        for platform in Platform::ALL.into_iter().filter(|platform| roles.contains(&Role::from(*platform))) {
            let Offer { tools, writes, .. } = self.offer(platform);
            let name = platform.name();
            // Unknown names are refused at load.
            let Ok(offered) = mcp::Offer::new(platform, platform.catalogue(), tools, *writes) else { continue };
            if offered.tools().is_empty() {
                warnings.push(format!(
                    "mcp.{}.tools: leaves {name} without any tool: begin the list with \"*\" or with what is wanted, and \
                     set writes for tools that write",
                    platform.section()
                ));
            }
            let may_write = offered.tools().iter().any(|tool| tool.access != Access::Read);
            if may_write && !secrets.has("MCP_API_KEY") {
                warnings.push(format!(
                    "MCP_API_KEY: is not set: each process that reaches the listener of {name} may change the account"
                ));
            }
        }
        let wide = |role: Role| self.networks(role).iter().any(|network| network.prefix_len() == 0);
        for (role, key) in [(Role::Connect, "connect.internal_networks"), (Role::Instagram, "mcp.internal_networks")] {
            if roles.contains(&role) && wide(role) {
                warnings.push(format!("{key}: a prefix of length 0 makes every address internal"));
            }
        }
        warnings
    }
}

/// Everything that is wrong with the secrets of `roles`; `exposed` when strangers may try `VM_API_KEY`.
pub(crate) fn check_secrets(secrets: &Secrets, roles: &[Role], exposed: bool) -> Result<(), Faults> {
    let wrong = roles.iter().filter_map(|role| secrets.of_role(*role, exposed).err());
    Faults::check(wrong.flatten().collect())
}

/// Finds the file and reads it.
fn choose(named: Option<&Path>, environment: &Environment) -> Result<(Chosen, Option<String>), Faults> {
    let (path, by) = match (named, environment.get("AIVIARY_CONFIG")) {
        (Some(path), _) => (path.to_owned(), "--config"),
        (None, Some(path)) => (PathBuf::from(path), "AIVIARY_CONFIG"),
        (None, None) => (PathBuf::from(USUAL_FILE), "the usual place"),
    };
    if path.as_os_str().is_empty() {
        return Err(Fault::new(by, "is empty", "name a file, or take it away").into());
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((Chosen::File(path, by), Some(text))),
        Err(error) if by == "the usual place" && error.kind() == ErrorKind::NotFound => Ok((Chosen::Defaults, None)),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(Fault::new(by, format!("{} is not UTF-8", path.display()), "save it as UTF-8 text").into())
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            Err(Fault::new(by, what, "name a file that this user can read").into())
        }
    }
}
