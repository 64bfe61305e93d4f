//! The `connect` role: takes credentials in, keeps them sealed, grants tokens.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::credential::ClientId;
use crate::exposure::{Listener, Rules};
use crate::secret::Secret;

/// Settings of the role, checked.
#[derive(Debug)]
pub struct Settings {
    /// Internal and public listeners. Default: one internal one on 127.0.0.1:3006.
    pub listeners: Vec<Listener>,
    /// What internal routes ask of a request.
    pub rules: Rules,
    /// The client of a request that names none.
    pub client: Option<ClientId>,
    /// The file of what must outlive a restart beside the credentials.
    pub state: PathBuf,
    /// The audit trail.
    pub audit: PathBuf,
    /// How long running requests may take at stop. Default: 8 s.
    pub drain: Duration,
    /// `ENCRYPTION_KEY`: one or several keys, the first seals.
    pub encryption_keys: Secret,
    /// `VM_API_KEY`: one or several.
    pub api_keys: Secret,
    /// `CONNECT_SERVICE_KEY`, where set: what token requests must carry.
    pub service_keys: Option<Secret>,
    /// `META_APP_SECRET`, where set: then grants of Facebook logins carry `appsecret_proof`.
    pub app_secret: Option<Secret>,
    /// `INSTAGRAM_APP_SECRET`, where set: the same for Instagram logins.
    pub instagram_app_secret: Option<Secret>,
    /// Wall time.
    pub clock: Clock,
}
