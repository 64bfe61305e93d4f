//! Who may run commands on the store: the user whose folder it is in.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{User, geteuid};

use super::{Exit, Failure};
use crate::config::Config;
use crate::store::Url;

/// Refuses where store, trail or connect's own memory belong to another user: files that this one made there would lock
/// the service out. The locks are beside the trail.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    if let Url::Sqlite(file) = &config.store().url {
        check_file(file)?;
    }
    // Their folders may be the system's, as those of logs are: then the file says whose they are.
    for file in [config.audit(), config.connect_state()] {
        match std::fs::metadata(file) {
            Ok(about) => check_owner(file, &about)?,
            Err(_) => check_file(file)?,
        }
    }
    Ok(())
}

/// The same for the folder of one file.
pub(super) fn check_file(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(about) => check_owner(folder, &about),
        Err(_) => Ok(()),
    }
}

fn check_owner(place: &Path, about: &Metadata) -> Result<(), Failure> {
    if about.uid() == geteuid().as_raw() {
        return Ok(());
    }
    let owner =
        User::from_uid(about.uid().into()).ok().flatten().map_or_else(|| format!("#{}", about.uid()), |user| user.name);
    let line: Vec<String> = std::env::args().collect();
    let message =
        format!("{} belongs to another user; run as that one: sudo -u {owner} {}", place.display(), line.join(" "));
    Err(Failure::new(Exit::Failed, message))
}
