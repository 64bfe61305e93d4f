//! Sets a NocoDB up from nothing, as its administrator: a base, and an API token for us.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::api::{Api, ApiError, ClientError, Login};
use super::table::{self, USUAL_BASE};
use super::unreachable;
use crate::secret::Secret;
use crate::store::{Settings, StoreError, Url};

const PATIENCE: Duration = Duration::from_secs(20);

/// Who may make bases and tokens.
pub struct Admin {
    /// `NC_ADMIN_EMAIL`
    pub email: Secret,
    /// `NC_ADMIN_PASSWORD`
    pub password: Secret,
}

/// What was made.
pub struct Bootstrapped {
    /// The new API token. It carries the administrator's rights on every base.
    pub token: Secret,
    /// What was done, a sentence each.
    pub did: Vec<String>,
}

/// Signs in, makes the base where it is missing, and makes an API token.
///
/// # Errors
/// Why not; [`StoreError::Setting`] where the administrator is not known.
pub async fn bootstrap(settings: &Settings, admin: &Admin) -> Result<Bootstrapped, StoreError> {
    let Url::NocoDb { base_url } = &settings.url else {
        return Err(StoreError::Setting("--bootstrap: is for NocoDB; `store.url` names another kind of store"));
    };
    let client = |login: &Login<'_>| {
        Api::new(base_url, login).map_err(|error| match error {
            ClientError::Token => StoreError::Setting("NocoDB gave a session that no header can carry"),
            error @ ClientError::Http(_) => unreachable(error),
        })
    };
    let given = json!({ "email": admin.email.expose(), "password": admin.password.expose() });
    let signed_in = client(&Login::Nobody)?.write(Method::POST, "/api/v1/auth/user/signin", &given, PATIENCE).await;
    let mut signed_in = signed_in.map_err(|error| match error {
        // 400 "Invalid credentials" for a wrong password.
        ApiError::Refused { .. } | ApiError::Token(_) => {
            StoreError::Setting("NC_ADMIN_EMAIL, NC_ADMIN_PASSWORD: NocoDB does not let this administrator sign in")
        }
        error => error.into(),
    })?;
    let session = secret(&mut signed_in["token"])?;
    let api = client(&Login::Session(&session))?;
    let mut did = Vec::new();
    match table::base(&api, &settings.base).await {
        Ok(_) => {}
        Err(StoreError::Missing { .. }) => {
            let title = if settings.base.is_empty() { USUAL_BASE } else { &settings.base };
            api.write(Method::POST, "/api/v2/meta/bases", &json!({ "title": title }), PATIENCE).await?;
            table::base(&api, &settings.base).await?;
            did.push(format!("made base {title:?}"));
        }
        Err(error) => return Err(error),
    }
    let mut made = api.write(Method::POST, "/api/v1/tokens", &json!({ "description": "aiviary" }), PATIENCE).await?;
    let token = secret(&mut made["token"])?;
    did.push("made an API token".to_owned());
    Ok(Bootstrapped { token, did })
}

/// A text of an answer, taken out of it.
fn secret(value: &mut serde_json::Value) -> Result<Secret, StoreError> {
    match value.take() {
        serde_json::Value::String(text) if !text.is_empty() => Ok(Secret::new(text)),
        _ => Err(unreachable(ApiError::NotData(reqwest::StatusCode::OK))),
    }
}
