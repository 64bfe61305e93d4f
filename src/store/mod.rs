//! Where sealed credentials are kept. A store moves envelopes: it has no key and never sees a token.

use futures_util::future::BoxFuture;

use crate::credential::{ClientId, SealedCredential};

/// One row per client, durable before a write answers.
pub trait CredentialStore: Send + Sync + 'static {
    /// The row of `client`, if there is one.
    fn load<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<Option<SealedCredential>, StoreError>>;

    /// All rows, ordered by client.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SealedCredential>, StoreError>>;

    /// Writes the row of `credential`'s client, new or in place of the old one.
    fn save<'a>(&'a self, credential: &'a SealedCredential) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Removes the row of `client`; whether there was one.
    fn remove<'a>(&'a self, client: &'a ClientId) -> BoxFuture<'a, Result<bool, StoreError>>;
}
