//! Errors of this role, and the only place where they become status, code and public words.

use hyper::StatusCode;

use super::audit::AuditError;
use crate::api::{FieldError, NamedClients};
use crate::credential::ClientId;
use crate::crypto::OpenError;
use crate::server::Failure;
use crate::server::json::JsonFault;
use crate::store::StoreError;

/// Why a call of connect was not done.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The body is not one JSON object.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// A member of the body cannot be taken.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A query value is outside its grammar.
    #[error("client_id may be {}", ClientId::GRAMMAR)]
    ClientGrammar,
    /// A removal that names nobody.
    #[error("name the client to remove: DELETE /api/credentials?client_id=…")]
    ClientMissing,
    /// The store was not looked at yet.
    #[error("waiting for the store")]
    Starting,
    /// Nothing is stored for that client, or at all.
    #[error("no credential is stored{}", .0.as_ref().map(|client| format!(" for client {client}")).unwrap_or_default())]
    NotFound(Option<ClientId>),
    /// Several clients are stored, and none was named.
    #[error("several clients are stored")]
    ClientRequired(NamedClients),
    /// What came is older than what is stored, or than a removal.
    #[error("issued_at is older than what is stored, or than the removal of this client")]
    Stale,
    /// The row does not open.
    #[error("the stored credential of client {client} does not open")]
    Unreadable {
        /// Whose row.
        client: ClientId,
        /// Why.
        source: OpenError,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// What was written did not come back whole.
    #[error("the store did not keep the column {0} as it was written")]
    NotKept(&'static str),
    /// Somebody who knows no lock of ours changed the row at the same time.
    #[error("the credential of client {0} was changed by somebody else at the same time; nothing was written")]
    Changed(ClientId),
    /// The trail could not be written: nothing is granted or changed without its line.
    #[error("the audit trail cannot be written")]
    Audit(#[from] AuditError),
    /// The trail could not be read.
    #[error("the audit trail cannot be read")]
    Trail(#[source] std::io::Error),
    /// The service stops.
    #[error("the service stops")]
    Stopping,
    /// The file of removals failed.
    #[error("the state file failed")]
    State(#[from] crate::sqlite::SqliteError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        use ConnectError as E;
        let failure = |status: StatusCode, code, message: String| Self::new(status, code, message);
        let built = match &error {
            E::Json(fault) => return Self::invalid_json(fault),
            E::Field(field) => return failure(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", field.to_string()),
            E::ClientGrammar | E::ClientMissing => {
                return failure(StatusCode::BAD_REQUEST, "invalid_query", error.to_string());
            }
            E::NotFound(_) => {
                let message = format!("{error}; store one with POST /api/credentials");
                return failure(StatusCode::NOT_FOUND, "not_found", message);
            }
            E::ClientRequired(named) => {
                let message = format!("{error}; name one with ?client_id=, of: {named}");
                return failure(StatusCode::CONFLICT, "client_required", message).with_members(named);
            }
            E::Stale => {
                let message = format!("{error}; nothing was changed");
                return failure(StatusCode::CONFLICT, "stale", message);
            }
            E::Unreadable { client, .. } => unreadable(client.as_str()),
            E::Store(StoreError::Malformed(row)) => unreadable(&row.client),
            E::Starting => {
                return Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "starting",
                    "waiting for the store; send the request again",
                )
                .retry_after(std::time::Duration::from_secs(2));
            }
            E::Store(
                StoreError::Column { column, .. }
                | StoreError::ColumnType { column, .. }
                | StoreError::Renamed { column, .. },
            ) => unavailable(
                "store_unavailable",
                &format!("the store has no usable column {column}; nothing was acknowledged"),
            ),
            E::Store(_) | E::State(_) => {
                unavailable("store_unavailable", "the store does not work just now; send the request again")
            }
            E::NotKept(column) => unavailable(
                "store_unavailable",
                &format!("the store did not keep the column {column}; nothing was acknowledged"),
            ),
            E::Audit(AuditError::Held) => {
                let words = "another change of this client has not ended yet; send the request again";
                unavailable("busy", words)
            }
            E::Changed(_) => unavailable("busy", &error.to_string()),
            E::Stopping => unavailable("busy", "the service stops; send the request again"),
            E::Audit(_) | E::Trail(_) => unavailable(
                "audit_unavailable",
                "the audit trail cannot be written, so nothing is granted or changed; see the log of connect",
            ),
        };
        built.because(error)
    }
}

fn unavailable(code: &'static str, message: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(std::time::Duration::from_secs(2))
}

fn unreadable(client: &str) -> Failure {
    let message =
        format!("the stored credential of client {client} does not open; send it again with POST /api/credentials");
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "credential_unreadable", message)
}
