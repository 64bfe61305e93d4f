//! Secrets: where each may come from, and whether it is fit for use. Their values never leave their wrapper.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::{Fault, Faults};
use super::{Environment, Role};
use crate::crypto::{Sealer, generate_key, looks_made_by_hand};
use crate::secret::Secret;
use crate::server::Keys;

/// What aiviary is given in secret.
pub struct Named {
    /// The variable; in lower case also the systemd credential.
    pub name: &'static str,
    /// The roles that read it.
    pub roles: &'static [Role],
    /// Whether those roles do not start without it.
    pub required: bool,
    /// Where a `serve all --sandbox` has it from.
    in_sandbox: InSandbox,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InSandbox {
    /// A key of its own.
    Own,
    /// None: it belongs to a real app.
    Absent,
    /// The same place as ever: it guards a listener, not an account.
    Same,
}

const MCP: &[Role] = &[Role::Instagram, Role::MetaAds];
const CONNECT: &[Role] = &[Role::Connect];
const ALL: &[Role] = &[Role::Connect, Role::Instagram, Role::MetaAds];

/// Every secret that this release reads.
pub const SECRETS: [Named; 7] = [
    Named { name: "ENCRYPTION_KEY", roles: CONNECT, required: true, in_sandbox: InSandbox::Own },
    Named { name: "VM_API_KEY", roles: CONNECT, required: true, in_sandbox: InSandbox::Own },
    // Required where the store is NocoDB.
    Named { name: "NOCODB_TOKEN", roles: CONNECT, required: false, in_sandbox: InSandbox::Absent },
    Named { name: "META_APP_SECRET", roles: ALL, required: false, in_sandbox: InSandbox::Absent },
    Named { name: "INSTAGRAM_APP_SECRET", roles: CONNECT, required: false, in_sandbox: InSandbox::Absent },
    Named { name: "CONNECT_SERVICE_KEY", roles: ALL, required: false, in_sandbox: InSandbox::Same },
    Named { name: "MCP_API_KEY", roles: MCP, required: false, in_sandbox: InSandbox::Same },
];

/// Keys below this length are warned of, in bytes.
const SHORT: usize = 24;
/// Keys below this length are refused where strangers may try them, in bytes.
const TOO_SHORT: usize = 16;

/// Where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A systemd credential of that name.
    Credential(String),
    /// The file that `NAME_FILE` names.
    File(PathBuf),
    /// The variable itself.
    Variable,
    /// The sandbox's own file.
    Own(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::File(path) | Self::Own(path) => write!(f, "file {}", path.display()),
            Self::Variable => f.write_str("variable"),
        }
    }
}

/// Reads secrets; holds none itself.
pub struct Secrets {
    environment: Environment,
    sandbox: Option<PathBuf>,
}

/// A secret and where it came from.
pub struct Found {
    /// The value.
    pub secret: Secret,
    /// Its source.
    pub source: Source,
    /// Whether group or others may read the file that it stands in.
    pub open_file: bool,
}

impl Secrets {
    /// Secrets as `environment` tells where they are.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        Self { environment: environment.clone(), sandbox: None }
    }

    /// The sandbox's: its own keys in `folder`, made on first use and kept.
    ///
    /// # Errors
    /// When the folder or a key cannot be written.
    pub fn of_sandbox(environment: &Environment, folder: &Path) -> Result<Self, Faults> {
        let fault = |error: io::Error| {
            let what = format!("{} cannot be written: {error}", folder.display());
            Faults::from(Fault::new("--data", what, "name a folder of your own"))
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        for secret in SECRETS.iter().filter(|secret| secret.in_sandbox == InSandbox::Own) {
            let path = folder.join(secret.name.to_ascii_lowercase());
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Ok(mut file) => writeln!(file, "{}", generate_key().expose()).map_err(fault)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(Self { environment: environment.clone(), sandbox: Some(folder.to_owned()) })
    }

    /// Looks for `named` in its places; `None` when none of them is there.
    ///
    /// # Errors
    /// A place that is there and holds nothing that can be used: the next one is then not tried.
    pub fn find(&self, named: &Named) -> Result<Option<Found>, Faults> {
        let name = named.name;
        let credential = name.to_ascii_lowercase();
        if let Some(folder) = &self.sandbox {
            match named.in_sandbox {
                InSandbox::Own => {
                    let path = folder.join(credential);
                    return read(name, &path, Source::Own(path.clone())).map(Some);
                }
                InSandbox::Absent => return Ok(None),
                InSandbox::Same => {}
            }
        }
        if let Some(folder) = self.environment.path("CREDENTIALS_DIRECTORY") {
            let path = folder.join(&credential);
            // Only what is certainly absent lets the next place have its turn.
            let absent = matches!(fs::symlink_metadata(&path), Err(error) if error.kind() == ErrorKind::NotFound);
            if !absent {
                return read(name, &path, Source::Credential(credential)).map(Some);
            }
        }
        if let Some(path) = self.environment.get(&format!("{name}_FILE")) {
            let path = PathBuf::from(path);
            return read(name, &path, Source::File(path.clone())).map(Some);
        }
        let Some(value) = self.environment.get(name) else { return Ok(None) };
        take(name, value.as_bytes().to_vec(), Source::Variable).map(Some)
    }

    /// The secret of that name, if it is one of [`SECRETS`] and set.
    ///
    /// # Errors
    /// As [`Secrets::find`], and where it cannot be used.
    pub fn one(&self, name: &str) -> Result<Option<Found>, Faults> {
        let Some(named) = SECRETS.iter().find(|named| named.name == name) else { return Ok(None) };
        self.find(named).and_then(|found| check(named, found, false))
    }

    /// The secrets of `role`, checked. `exposed`: strangers may try `VM_API_KEY`.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub(super) fn of_role(&self, role: Role, exposed: bool) -> Result<BTreeMap<&'static str, Secret>, Faults> {
        let mut all = BTreeMap::new();
        let mut faults = Vec::new();
        for named in SECRETS.iter().filter(|named| named.roles.contains(&role)) {
            match self.find(named).and_then(|found| check(named, found, exposed)) {
                Ok(Some(found)) => _ = all.insert(named.name, found.secret),
                Ok(None) if named.required => faults.push(self.missing(named.name)),
                Ok(None) => {}
                Err(wrong) => faults.extend(wrong),
            }
        }
        Faults::check(faults)?;
        Ok(all)
    }

    /// Names the three places where `name` was looked for.
    pub(super) fn missing(&self, name: &str) -> Fault {
        let credential = match self.environment.path("CREDENTIALS_DIRECTORY") {
            Some(_) => "which has no such file",
            None => "which is not set",
        };
        let lower = name.to_ascii_lowercase();
        let what = format!(
            "is missing; looked for: the credential {lower} in $CREDENTIALS_DIRECTORY ({credential}), the file named \
             by {name}_FILE (not set), the variable {name} (not set)"
        );
        let help = match name {
            "NOCODB_TOKEN" => "`aiviary store init --bootstrap` makes one, or make it in NocoDB",
            "ENCRYPTION_KEY" => "`aiviary key generate` makes a new one",
            _ => "`aiviary key generate` makes a good one",
        };
        Fault::new(name, what, format!("give it in one of the three; {help}"))
    }

    /// What is worth a word about the secrets of `roles`, though nothing is wrong.
    pub(super) fn warnings(&self, roles: &[Role]) -> Vec<String> {
        let mut warnings = Vec::new();
        let used = SECRETS.iter().filter(|named| named.roles.iter().any(|role| roles.contains(role)));
        for named in used {
            let (name, Ok(Some(found))) = (named.name, self.find(named)) else { continue };
            if found.open_file {
                warnings.push(format!("{name}: {} can be read by group or others; give it mode 0600", found.source));
            }
            if name == "ENCRYPTION_KEY" && looks_made_by_hand(&found.secret) {
                warnings.push(format!("{name}: looks made by hand; `aiviary key generate` makes one nobody can guess"));
            }
            if is_carried(name) && Keys::any_shorter_than(&found.secret, SHORT) {
                warnings.push(format!("{name}: has a key of fewer than {SHORT} characters; take a longer one"));
            }
        }
        warnings
    }

    /// Whether `name` is set, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        SECRETS.iter().any(|named| named.name == name && !matches!(self.find(named), Ok(None)))
    }
}

impl Environment {
    /// A secret that no role reads, from the file that `NAME_FILE` names, else from the variable `NAME`.
    ///
    /// # Errors
    /// A place that is there and holds nothing that can be used.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>, Faults> {
        let found = match (self.get(&format!("{name}_FILE")), self.get(name)) {
            (Some(path), _) => Some(read(name, Path::new(path), Source::File(path.into()))?),
            (None, Some(value)) => Some(take(name, value.as_bytes().to_vec(), Source::Variable)?),
            (None, None) => None,
        };
        Ok(found.map(|found| found.secret))
    }
}

/// Whether callers carry it in a header.
fn is_carried(name: &str) -> bool {
    matches!(name, "VM_API_KEY" | "CONNECT_SERVICE_KEY" | "MCP_API_KEY")
}

fn read(name: &str, path: &Path, source: Source) -> Result<Found, Faults> {
    let open_file = |found: Found| {
        let mode = fs::metadata(path).map_or(0, |about| about.permissions().mode());
        // systemd's own folder is closed, and its files' modes show access lists instead.
        Found { open_file: mode & 0o044 != 0 && !matches!(found.source, Source::Credential(_)), ..found }
    };
    match fs::read(path) {
        Ok(bytes) => take(name, bytes, source).map(open_file),
        Err(error) => {
            let what = format!("the {source} cannot be read: {error}");
            Err(Fault::new(name, what, "make it readable for this user, or take that source away").into())
        }
    }
}

fn take(name: &str, bytes: Vec<u8>, source: Source) -> Result<Found, Faults> {
    let fault = |what: &str| {
        let help = "put the secret there, or take that source away: the next one is not tried while it is there";
        Faults::from(Fault::new(name, format!("the {source} {what}"), help))
    };
    let mut text = String::from_utf8(bytes).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        fault("is not text")
    })?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.is_empty() {
        return Err(fault("is empty"));
    }
    Ok(Found { secret: Secret::new(text), source, open_file: false })
}

/// Whether the secret is one. Messages never tell its value.
fn check(named: &Named, found: Option<Found>, exposed: bool) -> Result<Option<Found>, Faults> {
    let Some(found) = found else { return Ok(None) };
    let name = named.name;
    let fault =
        |what: String, help: &str| Faults::from(Fault::new(name, format!("in the {}: {what}", found.source), help));
    if name == "ENCRYPTION_KEY" {
        let help = "`aiviary key generate` makes one; several stand with commas between them, the newest first";
        Sealer::parse(&found.secret).map_err(|error| fault(error.to_string(), help))?;
    } else if name == "NOCODB_TOKEN" {
        let fits = found.secret.expose().bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(fault(
                "holds spaces or characters that no header can carry".to_owned(),
                "write it as NocoDB shows it",
            ));
        }
    } else {
        let help = "write visible ASCII characters only; several keys stand with commas between them";
        Keys::parse(&found.secret).map_err(|error| fault(error.to_string(), help))?;
    }
    if name == "VM_API_KEY" && exposed && Keys::any_shorter_than(&found.secret, TOO_SHORT) {
        let what = format!("a key has fewer than {TOO_SHORT} characters, and connect.public lets strangers try it");
        return Err(fault(what, "take a longer one: `aiviary key generate` makes one"));
    }
    Ok(Some(found))
}
