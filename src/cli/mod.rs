//! The command line: clap's types, and one match. Data goes to stdout, words to stderr.

mod audit;
mod call;
mod check;
mod credential;
mod doctor;
mod health;
mod key;
mod manual;
mod owner;
mod serve;
mod store;
mod tools;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::config::{Config, Environment, Faults, Role, Secrets};
use crate::credential::{AccountKind, ClientId};
use crate::platforms::Platform;
use crate::telemetry::chain;

/// Version and target, as `--version` says it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let libc = if cfg!(target_env = "musl") { "-musl" } else { "-gnu" };
    format!("{} ({}-{}{libc})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS)
});

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong use of the command, 64 bad arguments to a tool,
69 a service or an interface that is needed is not there, 78 bad configuration.
First steps: `aiviary serve all --sandbox` needs neither file nor secret; `aiviary check` reads a real set-up.";

/// Keeps Meta access tokens for automations, and serves Instagram and Meta Ads as MCP tools.
#[derive(Debug, Parser)]
#[command(name = "aiviary", version = VERSION.as_str(), after_help = AFTER_HELP)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration; else AIVIARY_CONFIG, else /etc/aiviary/aiviary.toml where that exists, else defaults
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a role until SIGTERM or SIGINT
    #[command(subcommand)]
    Serve(Serve),
    /// Read the whole configuration as the roles would, and tell every fault at once
    ///
    /// Tells each fault with file, line, column and what to write; then the effective settings, secrets as set or
    /// missing, every listener and its routes. Makes no network connection and no file, but with --online, which looks
    /// at the store and asks connect. Exits 78 for what must be set right, 69 for what is not there (yet).
    Check(Check),
    /// Ask the running roles whether they are ready
    ///
    /// Asks /readyz of connect and of both MCP servers, or of the one named, where they listen by this
    /// configuration. Exits 0 when all are ready, 1 when one is not, 69 when one is not reachable.
    Health(Health),
    /// Keys
    #[command(subcommand)]
    Key(Key),
    /// The stored credentials
    #[command(subcommand)]
    Credential(Credential),
    /// The store itself
    #[command(subcommand)]
    Store(Store),
    /// Who got a token when, and whether the trail is whole
    #[command(subcommand)]
    Audit(Audit),
    /// The catalogue of tools
    Tools(Tools),
    /// Call one tool, through the same code and settings as the server
    Call(Call),
    /// Write completions for a shell to stdout
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual page, in roff, to stdout
    Man,
}

/// `aiviary serve`.
#[derive(Debug, Subcommand)]
pub enum Serve {
    /// The credential service: takes credentials in, keeps them sealed, grants tokens
    Connect,
    /// An MCP server: a platform's tools
    Mcp {
        /// Whose tools
        #[arg(long, value_name = "PLATFORM", value_parser = platform())]
        platform: Platform,
    },
    /// A local stand-in for the Graph API with a sample business behind it
    Sandbox,
    /// Connect and both MCP servers in one process
    All {
        /// With the sandbox instead of Meta; of a real set-up nothing is touched
        #[arg(long)]
        sandbox: bool,
        /// Where the sandbox keeps its own; made with mode 0700
        #[arg(long, value_name = "DIR", default_value = ".aiviary", requires = "sandbox")]
        data: PathBuf,
    },
}

/// `aiviary check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Only what these roles need of secrets and listeners; else connect and both MCP servers
    #[arg(value_name = "ROLE")]
    pub roles: Vec<Role>,
    /// The same as JSON; holds no secret
    #[arg(long)]
    pub json: bool,
    /// Then also look at what is there: the store's base, table and columns, the keys that its rows need, connect
    #[arg(long)]
    pub online: bool,
}

/// `aiviary health`.
#[derive(Debug, Args)]
pub struct Health {
    /// The role to ask; else connect and both MCP servers
    #[arg(value_name = "ROLE")]
    pub role: Option<Role>,
    /// Ask there instead, as in http://127.0.0.1:3006
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// `aiviary key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Write a new 256-bit key to stdout, as 64 hex digits
    Generate,
    /// Seal every stored credential anew under the first key of ENCRYPTION_KEY
    ///
    /// Set ENCRYPTION_KEY to the new key, a comma and the old one, and restart connect before. Services go on while it
    /// runs. Cut off at any point, it is simply run again. Ends with which keys may now be removed.
    Rotate,
}

/// `aiviary credential`.
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// List what is stored, without tokens
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Store a credential; the token is read from standard input
    Add {
        /// The client; else the configured one, else `default`
        #[arg(long, value_name = "ID")]
        client: Option<ClientId>,
        /// The accounts that it acts on.
        #[command(flatten)]
        accounts: Accounts,
        /// When the token ends, RFC 3339
        #[arg(long, value_name = "TIME")]
        token_expires_at: Option<String>,
        /// When Meta issued the token, RFC 3339
        #[arg(long, value_name = "TIME")]
        issued_at: Option<String>,
        /// Its permissions, comma-separated
        #[arg(long, value_name = "LIST")]
        scopes: Option<String>,
        /// The login that it came from
        #[arg(long, value_parser = ["facebook", "instagram"])]
        login: Option<String>,
    },
    /// Change account ids, which are bound to the sealed token; an empty one is cleared
    #[command(group = ArgGroup::new("ids").required(true).multiple(true).args(AccountKind::ALL.map(AccountKind::name)))]
    Set {
        /// The client; else the configured or only one
        #[arg(long, value_name = "ID")]
        client: Option<ClientId>,
        /// The accounts that it acts on.
        #[command(flatten)]
        accounts: Accounts,
    },
    /// Remove a credential
    Remove {
        /// The client
        #[arg(long, value_name = "ID")]
        client: ClientId,
    },
}

/// `aiviary store`.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Make the table, or add what it lacks, and tell what was done
    ///
    /// A table that would lose what is written is refused, and so is one with rows whose key or token column is gone:
    /// it was renamed.
    Init {
        /// NocoDB: sign in as its administrator (NC_ADMIN_EMAIL, NC_ADMIN_PASSWORD, or the same with _FILE), make the
        /// base and an API token, and write that to the file of NOCODB_TOKEN_FILE, else nocodb_token
        #[arg(long)]
        bootstrap: bool,
    },
    /// Copy all credentials to another store, sealed as they are; nothing there is overwritten
    Copy {
        /// Where to: sqlite:FILE, nocodb+http://… or nocodb+https://…; base, table and token as configured
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

/// Account ids as options, named as in the API.
#[derive(Debug, Args)]
pub struct Accounts {
    /// The Instagram business account
    #[arg(long, value_name = "ID")]
    pub instagram_business_account_id: Option<String>,
    /// The Facebook Page
    #[arg(long, value_name = "ID")]
    pub facebook_page_id: Option<String>,
    /// The ad account, with or without act_
    #[arg(long, value_name = "ID")]
    pub ad_account_id: Option<String>,
    /// The person at Meta
    #[arg(long, value_name = "ID")]
    pub meta_user_id: Option<String>,
}

/// `aiviary audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List the trail
    List {
        /// Only of this client
        #[arg(long, value_name = "ID")]
        client: Option<String>,
        /// Only from this time on, RFC 3339
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// As JSON, a line each
        #[arg(long)]
        json: bool,
    },
    /// Check that no line is missing or altered; exits 1 at the first that is
    Verify {
        /// The files, oldest first; else the configured one
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Compare with an anchor from the log
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
    },
}

/// `aiviary tools`.
#[derive(Debug, Args)]
pub struct Tools {
    /// Only of this platform
    #[arg(long, value_name = "PLATFORM", value_parser = platform())]
    pub platform: Option<Platform>,
    /// As JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// As Markdown tables
    #[arg(long)]
    pub markdown: bool,
}

/// `aiviary call`.
#[derive(Debug, Args)]
pub struct Call {
    /// Whose tool
    #[arg(long, value_name = "PLATFORM", value_parser = platform())]
    pub platform: Platform,
    /// For this client; else the configured or only one
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// The tool's name
    #[arg(value_name = "TOOL")]
    pub tool: String,
    /// Its arguments, a JSON object as in '{"limit":5}'
    #[arg(value_name = "JSON")]
    pub arguments: Option<String>,
}

fn platform() -> impl TypedValueParser<Value = Platform> {
    let known = |word: &String| Platform::ALL.into_iter().find(|platform| platform.name() == word);
    PossibleValuesParser::new(Platform::ALL.map(Platform::name)).try_map(move |word| known(&word).ok_or("unknown"))
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done.
    Done = 0,
    /// It was tried in vain.
    Failed = 1,
    /// Wrong use of the command.
    Usage = 2,
    /// Bad arguments to a tool.
    BadArguments = 64,
    /// A service or an interface that is needed is not there (yet).
    Unavailable = 69,
    /// Bad configuration: a unit must not restart on it.
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends otherwise than done.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure of that exit code, with its cause or its words.
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into() }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::new(Exit::BadConfiguration, faults)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Faults bring their own form.
        if self.error.is::<Faults>() {
            return self.error.fmt(f);
        }
        write!(f, "error: {}", chain(&*self.error))
    }
}

/// What every command has at hand.
pub struct Context {
    file: Option<PathBuf>,
    /// The environment; commands read no other.
    pub environment: Environment,
}

impl Context {
    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Config, Faults> {
        Config::load(self.file.as_deref(), &self.environment)
    }

    /// Where secrets are read.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets::new(&self.environment)
    }
}

/// Writes data to stdout. A reader that went away early is no failure.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes words to stderr; where nobody listens, they are lost.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// No core file, and no other process of this user may look into this one: services and commands alike hold keys. A
/// sandbox that forbids one of the two is stricter itself.
fn keep_memory_private() {
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let context = Context { file: cli.config, environment: Environment::of_process() };
    match run(cli.command, &context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            say(&failure.to_string());
            failure.exit.into()
        }
    }
}

fn run(command: Command, context: &Context) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => serve::run(args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Health(args) => health::run(&args, context),
        Command::Key(Key::Generate) => key::generate(),
        Command::Key(Key::Rotate) => key::rotate(context),
        Command::Credential(args) => credential::run(args, context),
        Command::Store(args) => store::run(args, context),
        Command::Audit(args) => audit::run(args, context),
        Command::Tools(args) => tools::run(&args),
        Command::Call(args) => call::run(args, context),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::page(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
