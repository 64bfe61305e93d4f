//! Who may run commands on the store and on the journal of writes: the user whose folder it is in.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};

use nix::unistd::{User, geteuid};

use super::{Context, Exit, Failure};
use crate::config::{Config, Environment, SECRETS};
use crate::store::Url;

/// Refuses where store, trail or connect's own memory belong to another user: files that this one made there would lock
/// the service out. The locks are beside the trail.
pub(super) fn check(config: &Config, context: &Context) -> Result<(), Failure> {
    if let Url::Sqlite(file) = &config.store().url {
        check_file(file, context)?;
    }
    // Their folders may be the system's, as those of logs are: then the file says whose they are.
    check_made(config.audit(), context)?;
    check_made(config.connect_state(), context)
}

/// The same for one file; where it is not there yet, for its folder.
pub(super) fn check_made(file: &Path, context: &Context) -> Result<(), Failure> {
    match std::fs::metadata(file) {
        Ok(about) => check_owner(file, &about, context),
        Err(_) => check_file(file, context),
    }
}

/// The same for the folder of one file.
pub(super) fn check_file(file: &Path, context: &Context) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(about) => check_owner(folder, &about, context),
        Err(_) => Ok(()),
    }
}

fn check_owner(place: &Path, about: &Metadata, context: &Context) -> Result<(), Failure> {
    if about.uid() == geteuid().as_raw() {
        return Ok(());
    }
    let owner =
        User::from_uid(about.uid().into()).ok().flatten().map_or_else(|| format!("#{}", about.uid()), |user| user.name);
    let place = whole(place);
    let line = line_as(&owner, &context.environment);
    Err(Failure::new(Exit::Failed, format!("{} belongs to another user; run as that one: {line}", place.display())))
}

/// This command as `owner` would run it in this folder. sudo drops the environment, so what settings and secrets are
/// read from is written out; a secret that is a variable itself is only named.
fn line_as(owner: &str, environment: &Environment) -> String {
    let secrets = SECRETS.iter().map(|named| named.name).chain(["NC_ADMIN_EMAIL", "NC_ADMIN_PASSWORD"]);
    let (mut kept, mut written) = (Vec::new(), Vec::new());
    let path = |name: &str, value: &Path| format!("{name}={}", whole(value).display());
    if let Some(folder) = environment.state_folder() {
        written.push(path("STATE_DIRECTORY", &folder));
    }
    for name in ["AIVIARY_CONFIG", "CREDENTIALS_DIRECTORY"] {
        written.extend(environment.get(name).map(|value| path(name, value.as_ref())));
    }
    for name in secrets {
        let file = format!("{name}_FILE");
        match (environment.get(&file), environment.get(name)) {
            (Some(value), _) => written.push(path(&file, value.as_ref())),
            (None, Some(_)) => kept.push(name),
            (None, None) => {}
        }
    }
    written.extend(environment.settings().map(|(name, value)| format!("{name}={}", value.to_string_lossy())));

    let mut words = vec!["sudo".to_owned(), "-u".to_owned(), owner.to_owned()];
    if !kept.is_empty() {
        words.push(format!("--preserve-env={}", kept.join(",")));
    }
    if !written.is_empty() {
        words.push("env".to_owned());
        words.append(&mut written);
    }
    let mut arguments = std::env::args_os();
    let named = arguments.next().map(PathBuf::from).unwrap_or_default();
    words.push(std::env::current_exe().unwrap_or(named).display().to_string());
    words.extend(arguments.map(|argument| argument.to_string_lossy().into_owned()));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The path from the root; as it is where the system does not tell the working folder.
fn whole(path: &Path) -> PathBuf {
    // Of "." nothing is left to name but the folder itself.
    absolute(path).map_or_else(|_| path.to_owned(), |whole| whole.components().collect())
}

/// `word` as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
