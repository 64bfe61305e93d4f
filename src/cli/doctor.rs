//! `aiviary check --online`: looks at what the configuration names. Changes nothing.

use serde_json::{Value, json};

use super::health::{self, Outcome};
use super::{Context, Exit, Failure, owner};
use crate::config::{Config, Role};
use crate::crypto::{KeyId, Sealer};
use crate::store::{self, CredentialStore, Mode, StoreError};
use crate::telemetry::chain;

/// What came of looking at one thing.
pub(super) struct Finding {
    what: String,
    /// What is wrong, and the exit code that it asks for; words alone for what is only worth knowing.
    wrong: Option<(String, Option<Exit>)>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), wrong: None }
    }

    fn bad(what: impl Into<String>, exit: Exit, words: impl Into<String>) -> Self {
        Self { what: what.into(), wrong: Some((words.into(), Some(exit))) }
    }

    /// Something that is not looked at until `what_first` is set right.
    pub(super) fn unseen(what: impl Into<String>, what_first: &str) -> Self {
        let words = format!("not looked at: {what_first} must be set right first");
        Self { what: what.into(), wrong: Some((words, None)) }
    }

    fn of_store(what: impl Into<String>, error: &StoreError) -> Self {
        let exit = if error.passes() { Exit::Unavailable } else { Exit::BadConfiguration };
        Self::bad(what, exit, chain(error))
    }

    pub(super) fn to_json(&self) -> Value {
        let words = self.wrong.as_ref().map(|(words, _)| words);
        let fault = matches!(self.wrong, Some((_, Some(_))));
        json!({ "what": self.what, "ok": !fault, "says": words })
    }

    pub(super) fn line(&self) -> String {
        match &self.wrong {
            None => format!("  ok       {}", self.what),
            Some((words, None)) => format!("  note     {}: {words}", self.what),
            Some((words, Some(_))) => format!("  WRONG    {}: {words}", self.what),
        }
    }
}

/// The exit code of all of them: what must be set right comes before what may come by itself.
pub(super) fn exit(findings: &[Finding]) -> Exit {
    let asked: Vec<Exit> =
        findings.iter().filter_map(|finding| finding.wrong.as_ref().and_then(|(_, exit)| *exit)).collect();
    let first = [Exit::BadConfiguration, Exit::Unavailable, Exit::Failed];
    first.into_iter().find(|exit| asked.contains(exit)).unwrap_or(Exit::Done)
}

/// Looks at the store and its keys for connect, and asks connect: at each as far as its own secrets are there.
pub(super) fn look(config: &Config, context: &Context, roles: &[Role]) -> Result<Vec<Finding>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut findings = Vec::new();
        if roles.contains(&Role::Connect) {
            of_store(config, context, &mut findings).await;
        }
        of_connect(config, roles, &mut findings).await;
        Ok(findings)
    })
}

async fn of_store(config: &Config, context: &Context, findings: &mut Vec<Finding>) {
    if let Err(failure) = owner::check(config, context) {
        findings.push(Finding::bad("the store's folder", Exit::Failed, failure.to_string().replacen("error: ", "", 1)));
        return;
    }
    let Ok(settings) = config.store_with(&context.secrets()) else {
        findings.push(Finding::unseen("the store", "NOCODB_TOKEN"));
        return;
    };
    let looked = store::inspect(&settings).await;
    let good = looked.iter().all(|found| found.wrong.is_none());
    findings.extend(looked.into_iter().map(|found| match &found.wrong {
        None => Finding::good(found.what),
        Some(error) => Finding::of_store(found.what, error),
    }));
    if !good {
        return;
    }
    match store::open(&settings, Mode::Existing).await {
        Err(error) => findings.push(Finding::of_store("the store", &error)),
        Ok(opened) => of_rows(context, &*opened, findings).await,
    }
}

/// Which keys the rows need, and whether they are there.
async fn of_rows(context: &Context, opened: &dyn CredentialStore, findings: &mut Vec<Finding>) {
    let rows = match opened.list().await {
        Ok(rows) => rows,
        Err(error) => {
            findings.push(Finding::of_store("the stored rows", &error));
            return;
        }
    };
    findings.push(Finding::good(format!("{} stored credentials", rows.len())));
    let keys = context.secrets().one("ENCRYPTION_KEY").ok().flatten();
    let configured = keys.and_then(|keys| Sealer::parse(&keys.secret).ok()).map(|sealer| sealer.key_ids());
    let mut needed: Vec<(KeyId, Vec<String>)> = Vec::new();
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(malformed) => {
                findings.push(Finding::bad("a stored row", Exit::Failed, malformed.to_string()));
                continue;
            }
        };
        let client = row.binding.client.to_string();
        match row.envelope() {
            Err(error) => {
                findings.push(Finding::bad(format!("the token of client {client}"), Exit::Failed, error.to_string()))
            }
            Ok(envelope) => match needed.iter_mut().find(|(id, _)| *id == envelope.key_id()) {
                Some((_, clients)) => clients.push(client),
                None => needed.push((envelope.key_id(), vec![client])),
            },
        }
    }
    for (id, clients) in needed {
        let what = format!("key {id}");
        let count = format!("{what}, of {} credentials", clients.len());
        findings.push(match &configured {
            None => Finding::unseen(count, "ENCRYPTION_KEY"),
            Some(configured) if configured.contains(&id) => Finding::good(count),
            Some(_) => {
                let words = format!("is not in ENCRYPTION_KEY and seals the credentials of {}", clients.join(", "));
                Finding::bad(what, Exit::BadConfiguration, words)
            }
        });
    }
}

/// Whether connect answers: MCP servers need it; for connect itself it is only worth knowing that it does not run.
async fn of_connect(config: &Config, roles: &[Role], findings: &mut Vec<Finding>) {
    let own = roles.contains(&Role::Connect);
    let outcome = if own { health::ask_role(config, Role::Connect).await } else { health::ask_connect(config).await };
    findings.push(match outcome {
        Outcome::Ready => Finding::good("connect answers and is ready"),
        Outcome::NotReady(why) => Finding::bad("connect", Exit::Unavailable, format!("not ready: {why}")),
        Outcome::Unreachable(why) => {
            let exit = (!own).then_some(Exit::Unavailable);
            Finding { what: "connect".to_owned(), wrong: Some((format!("does not answer: {why}"), exit)) }
        }
    });
}
