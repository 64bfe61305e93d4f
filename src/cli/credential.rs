//! `aiviary credential`: the store from the shell, through the same code as the service.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::unistd::{geteuid, getpid};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{Accounts, Context, Credential, Exit, Failure, owner, print, say};
use crate::api::{Given, Summary};
use crate::credential::AccountKind;
use crate::crypto::TOKEN_MAX_BYTES;
use crate::exposure::Peer;
use crate::roles::StartError;
use crate::roles::connect::{self, Connect, ConnectError};
use crate::server::Caller;
use crate::store::{self, Mode};
use crate::telemetry::{self, LogSettings};

/// How long a command that was refused waits for a change that may still be made: longer than any store takes.
pub(super) const OUTCOME_PATIENCE: Duration = Duration::from_secs(120);

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Store(error) => error.into(),
            // All but the token came as arguments.
            ConnectError::Field(error) if error.field != "access_token" => Self::new(Exit::Usage, error),
            error => match in_own_words(&error) {
                Some(words) => Self::new(Exit::Failed, words),
                None => Self::new(Exit::Failed, error),
            },
        }
    }
}

pub(super) fn run(args: Credential, context: &Context) -> Result<Exit, Failure> {
    let config = context.load()?;
    telemetry::init(&LogSettings { filter: "warn".to_owned(), ..config.log() });
    owner::check(&config, context)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Credential::List { json } = args {
            return list(&config.store_with(&context.secrets())?, json).await;
        }
        let settings = config.connect(&context.secrets())?;
        let connect = match args {
            Credential::Add { .. } => connect::open_to_seal(settings, Mode::Create).await?,
            Credential::Set { .. } => connect::open_to_seal(settings, Mode::Existing).await?,
            // What can no longer be opened can be removed.
            Credential::List { .. } | Credential::Remove { .. } => connect::open(settings, Mode::Existing).await?,
        };
        let done = change(args, &connect).await;
        let closed = connect.close(OUTCOME_PATIENCE).await;
        let text = done?;
        closed.map_err(StartError::failed)?;
        print(&text)?;
        Ok(Exit::Done)
    })
}

/// This process, as the trail names it.
pub(super) fn caller() -> Caller {
    Caller {
        peer: Peer::Unix { uid: geteuid().as_raw(), pid: Some(getpid().as_raw()) },
        listener: "command line".to_owned(),
        request_id: format!("pid-{}", getpid()),
    }
}

async fn list(settings: &store::Settings, as_json: bool) -> Result<Exit, Failure> {
    let store = store::open(settings, Mode::Existing).await?;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for row in store.list().await? {
        match row {
            Ok(row) => rows.push(Summary::of(&row, now)),
            Err(malformed) => say(&format!("warning: {malformed}")),
        }
    }
    if as_json {
        print(&format!("{:#}\n", json!({ "credentials": rows })))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for row in rows {
        let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        let expired = if row.token_expired { " (expired)" } else { "" };
        text.push_str(&format!(
            "{}  {}  instagram {}  page {}  ads {}  user {}  ends {}{expired}\n",
            row.client_id,
            row.login.as_str(),
            or_none(&row.instagram_business_account_id),
            or_none(&row.facebook_page_id),
            or_none(&row.ad_account_id),
            or_none(&row.meta_user_id),
            or_none(&row.token_expires_at),
        ));
    }
    print(&text)?;
    Ok(Exit::Done)
}

/// What is printed when it is done.
async fn change(args: Credential, connect: &Arc<Connect>) -> Result<String, Failure> {
    let summary = |summary: &Summary| format!("{:#}\n", json!(summary));
    match args {
        Credential::List { .. } => Ok(String::new()),
        Credential::Add { client, accounts, token_expires_at, issued_at, scopes, login } => {
            let mut body = Map::new();
            let ids = AccountKind::ALL.map(AccountKind::name).into_iter().zip(given(&accounts));
            let others = [
                ("client_id", &client.map(|client| client.to_string())),
                ("token_expires_at", &token_expires_at),
                ("issued_at", &issued_at),
                ("scopes", &scopes),
                ("login", &login),
            ];
            for (name, value) in ids.chain(others).filter_map(|(name, value)| Some((name, value.as_ref()?))) {
                body.insert(name.to_owned(), if value.is_empty() { Value::Null } else { value.as_str().into() });
            }
            // The token is in this text and nowhere else: it has room for all from the start.
            let token = token_from_stdin()?;
            let rest = Value::Object(body).to_string();
            let mut text = Zeroizing::new(Vec::with_capacity(rest.len() + 6 * token.len() + 32));
            text.extend_from_slice(b"{\"access_token\":");
            serde_json::to_writer(&mut *text, &**token).map_err(|error| Failure::new(Exit::Failed, error))?;
            text.extend_from_slice(if rest == "{}" { b"" } else { b"," });
            text.extend_from_slice(&rest.as_bytes()[1..]);
            let saved = connect.save(&text, None, &caller()).await?;
            Ok(summary(&saved.summary))
        }
        Credential::Set { client, accounts } => {
            let mut ids: [Given; 4] = Default::default();
            for (kind, value) in AccountKind::ALL.into_iter().zip(given(&accounts)) {
                ids[kind as usize] = match value.as_deref() {
                    None => Given::Nothing,
                    Some("") => Given::Cleared,
                    Some(id) => Given::Id(
                        kind.normalise(id)
                            .map_err(|expected| Failure::new(Exit::Usage, format!("{}: {expected}", kind.name())))?,
                    ),
                };
            }
            let client = connect.resolve(client).await?;
            Ok(summary(&connect.set_ids(client, ids, &caller()).await?))
        }
        Credential::Remove { client } => {
            let client = connect.remove(client, None, &caller()).await?;
            Ok(format!("removed {client}\n"))
        }
    }
}

/// What to do about an error, where the service's own answer would name requests instead of commands.
fn in_own_words(error: &ConnectError) -> Option<String> {
    match error {
        ConnectError::NotFound(_) => Some(format!("{error}; `aiviary credential add` stores one")),
        ConnectError::ClientRequired(named) => Some(format!("{error}; name one with --client, of: {named}")),
        ConnectError::Unreadable { client, .. } => {
            Some(format!("{error}; `aiviary credential add --client {client}` stores its token anew"))
        }
        _ => None,
    }
}

fn given(accounts: &Accounts) -> [&Option<String>; 4] {
    [
        &accounts.instagram_business_account_id,
        &accounts.facebook_page_id,
        &accounts.ad_account_id,
        &accounts.meta_user_id,
    ]
}

/// The token, without the line's end; never from an argument, which every process may read.
fn token_from_stdin() -> Result<Zeroizing<String>, Failure> {
    // Whole from the start: a text that grows leaves copies behind.
    let most = TOKEN_MAX_BYTES + 2;
    let mut text = Zeroizing::new(String::with_capacity(most + 32));
    // Unbuffered: the buffer of standard input is cleared by nobody.
    File::from(std::io::stdin().as_fd().try_clone_to_owned()?).take(most as u64).read_to_string(&mut text)?;
    let end = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    if text.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "send the token on standard input, as in: aiviary credential add < token",
        ));
    }
    Ok(text)
}
