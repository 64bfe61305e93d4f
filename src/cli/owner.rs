//! Who may run commands on the store: the user whose folder it is in.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{User, geteuid};

use super::{Exit, Failure};
use crate::config::Config;
use crate::store::Url;

/// Refuses where the folder of the store belongs to another user: files that this one made there would lock the
/// service out. A NocoDB store has its locks beside the trail.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    match &config.store().url {
        Url::Sqlite(file) => check_file(file),
        Url::NocoDb { .. } => check_file(config.audit()),
    }
}

/// The same for the folder of one file.
pub(super) fn check_file(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(about) = std::fs::metadata(folder) else { return Ok(()) };
    if about.uid() == geteuid().as_raw() {
        return Ok(());
    }
    let owner =
        User::from_uid(about.uid().into()).ok().flatten().map_or_else(|| format!("#{}", about.uid()), |user| user.name);
    let line: Vec<String> = std::env::args().collect();
    let message =
        format!("{} belongs to another user; run as that one: sudo -u {owner} {}", folder.display(), line.join(" "));
    Err(Failure::new(Exit::Failed, message))
}
