//! `aiviary store`: makes or completes the store, and moves credentials to another one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Context, Exit, Failure, Store, owner, print, say};
use crate::config::{Config, Environment};
use crate::roles::StartError;
use crate::roles::connect::audit::WriteLock;
use crate::secret::Secret;
use crate::store::{self, Admin, Mode, Settings, StoreError, Url};
use crate::telemetry::{self, LogSettings};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            error if error.passes() => Exit::Unavailable,
            StoreError::Malformed(_) => Exit::Failed,
            _ => Exit::BadConfiguration,
        };
        Self::new(exit, error)
    }
}

pub(super) fn run(args: Store, context: &Context) -> Result<Exit, Failure> {
    let config = context.load()?;
    telemetry::init(&LogSettings { filter: "error".to_owned(), ..config.log() });
    // A NocoDB has no folder, and to make its table takes no file beside it.
    let is_elsewhere = matches!(args, Store::Init { .. }) && matches!(config.store().url, Url::NocoDb { .. });
    if !is_elsewhere {
        owner::check(&config, context)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match args {
            Store::Init { bootstrap } => init(bootstrap, &config, context).await,
            Store::Copy { to } => copy(&to, &config, context).await,
        }
    })
}

async fn init(bootstrap: bool, config: &Config, context: &Context) -> Result<Exit, Failure> {
    let mut settings = config.store();
    let mut did = Vec::new();
    if bootstrap {
        settings.token = Some(make_token(&settings, context, &mut did).await?);
    } else {
        settings = config.store_with(&context.secrets())?;
    }
    did.extend(store::init(&settings).await?);
    for words in &did {
        print(&format!("{words}\n"))?;
    }
    if did.is_empty() {
        print("nothing to do: the store has all that it needs\n")?;
    }
    Ok(Exit::Done)
}

/// The token that is configured, where NocoDB accepts it; else a new one, written to a file.
async fn make_token(settings: &Settings, context: &Context, did: &mut Vec<String>) -> Result<Arc<Secret>, Failure> {
    if !matches!(settings.url, Url::NocoDb { .. }) {
        let words = "--bootstrap is for NocoDB; `store.url` names another kind of store";
        return Err(Failure::new(Exit::Usage, words));
    }
    let environment = &context.environment;
    let file = token_file(environment);
    // The file that is named may be the one to be made.
    let absent = matches!(fs::metadata(&file), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    let set = if absent && environment.get("NOCODB_TOKEN_FILE").is_some() {
        None
    } else {
        context.secrets().one("NOCODB_TOKEN")?
    };
    if let Some(found) = set {
        let token = Arc::new(found.secret);
        let with_it = Settings { token: Some(token.clone()), ..settings.clone() };
        match store::init(&with_it).await {
            Err(StoreError::Token(_) | StoreError::Missing { key: "base", .. }) => {}
            done => {
                did.extend(done?);
                did.push("kept the API token that is set: NocoDB accepts it".to_owned());
                return Ok(token);
            }
        }
    }
    let admin = |name: &str| match environment.secret(name)? {
        Some(secret) => Ok(secret),
        None => {
            let words = format!("--bootstrap signs in as NocoDB's administrator: set {name}, or {name}_FILE");
            Err(Failure::new(Exit::BadConfiguration, words))
        }
    };
    let admin = Admin { email: admin("NC_ADMIN_EMAIL")?, password: admin("NC_ADMIN_PASSWORD")? };
    // A token that could not be kept would stay in NocoDB for nothing.
    let mut kept = New::beside(&file)?;
    let made = store::bootstrap(settings, &admin).await?;
    kept.finish(made.token.expose())?;
    did.extend(made.did);
    did.push(format!("wrote the API token to {} (mode 0600)", file.display()));
    if environment.get("NOCODB_TOKEN_FILE").is_none() {
        did.push(format!("set NOCODB_TOKEN_FILE={} for connect", file.display()));
    }
    Ok(Arc::new(made.token))
}

/// Where the token goes: the file that is to hold it, else one in the state folder.
fn token_file(environment: &Environment) -> PathBuf {
    let named = environment.get("NOCODB_TOKEN_FILE").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.unwrap_or_else(|| environment.state_folder().unwrap_or_default().join("nocodb_token"))
}

/// A file of mode 0600 that takes its place when it is whole.
struct New {
    path: PathBuf,
    beside: PathBuf,
    file: fs::File,
}

impl New {
    fn beside(path: &Path) -> Result<Self, Failure> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = path.with_file_name(name);
        let failed = |error: std::io::Error| Failure::new(Exit::Failed, format!("{}: {error}", beside.display()));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
        Ok(Self { path: path.to_owned(), beside, file })
    }

    fn finish(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
        written.and_then(|()| self.file.sync_all()).and_then(|()| fs::rename(&self.beside, &self.path))?;
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // After `finish` there is none.
        let _ = fs::remove_file(&self.beside);
    }
}

async fn copy(to: &str, config: &Config, context: &Context) -> Result<Exit, Failure> {
    let secrets = context.secrets();
    let from = config.store_with(&secrets)?;
    let url: Url = to.parse().map_err(|error| Failure::new(Exit::Usage, format!("--to: {error}")))?;
    if url == from.url {
        return Err(Failure::new(Exit::Usage, "--to: is the store that is configured"));
    }
    let mut target = Settings { url, token: None, ..config.store() };
    match &target.url {
        Url::Sqlite(file) => owner::check_file(file, context)?,
        Url::NocoDb { .. } => {
            let found = secrets.one("NOCODB_TOKEN")?;
            target.token = found.map(|found| Arc::new(found.secret));
        }
    }
    let (source, target) = (store::open(&from, Mode::Existing).await?, store::open(&target, Mode::Create).await?);
    // The service waits with what comes in meanwhile: it would be missing in the copy.
    let _nobody_writes = WriteLock::of_all(config.audit()).await.map_err(StartError::failed)?;
    let done = match store::copy(&*source, &*target).await {
        Ok(done) => done,
        Err(store::CopyError::From(error) | store::CopyError::To(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::new(Exit::Failed, error)),
    };
    for client in &done.written {
        print(&format!("copied {client}\n"))?;
    }
    for client in &done.same {
        print(&format!("{client} is there already\n"))?;
    }
    for malformed in &done.unreadable {
        say(&format!("left out: {malformed}"));
    }
    say(&format!(
        "{} copied, {} there already, {} left out; the store copied from is as it was",
        done.written.len(),
        done.same.len(),
        done.unreadable.len()
    ));
    Ok(if done.unreadable.is_empty() { Exit::Done } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_token_goes_where_it_is_read_or_into_the_first_state_folder() {
        for (variables, file) in [
            (&[][..], "nocodb_token"),
            (&[("STATE_DIRECTORY", "")], "nocodb_token"),
            (&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")], "/var/lib/a/nocodb_token"),
            (&[("STATE_DIRECTORY", "/var/lib/a"), ("NOCODB_TOKEN_FILE", "/etc/token")], "/etc/token"),
        ] {
            let environment: Environment = variables.iter().copied().collect();
            assert_eq!(token_file(&environment), Path::new(file), "{variables:?}");
        }
    }
}
