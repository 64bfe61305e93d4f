//! Moves credentials from one store to another without opening them.

use super::{CredentialStore, Malformed, StoreError};
use crate::credential::ClientId;

/// What a copy did.
#[derive(Debug, Default)]
pub struct Copied {
    /// Rows that were written and read back.
    pub written: Vec<ClientId>,
    /// Rows that were there already, the same in every cell.
    pub same: Vec<ClientId>,
    /// Rows that are no credentials: they stay where they are.
    pub unreadable: Vec<Malformed>,
}

/// Why a copy was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error("the store to copy from")]
    From(#[source] StoreError),
    /// The target cannot be read or written. What was written before stays: a second run goes on.
    #[error("the store to copy to")]
    To(#[source] StoreError),
    /// The target has other rows of the same clients. Nothing was written.
    #[error(
        "the target has other credentials of {}; nothing was written; remove them there, or here, first",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Differing(Vec<String>),
    /// The target did not keep a row as it was written.
    #[error("the target did not keep the row of client {0} as it was written")]
    NotKept(ClientId),
}

/// Copies every row of `from` to `to`, cell by cell, and reads each back. The source is left as it is.
///
/// # Errors
/// Why not; a row that differs is found before anything is written.
pub async fn copy(from: &dyn CredentialStore, to: &dyn CredentialStore) -> Result<Copied, CopyError> {
    let mut done = Copied::default();
    let mut missing = Vec::new();
    let mut differing = Vec::new();
    for row in from.list().await.map_err(CopyError::From)? {
        let row = match row {
            Ok(row) => row,
            Err(malformed) => {
                done.unreadable.push(malformed);
                continue;
            }
        };
        match to.load(&row.binding.client).await {
            Ok(None) => missing.push(row),
            Ok(Some(there)) if there == row => done.same.push(row.binding.client),
            Ok(Some(_)) | Err(StoreError::Malformed(_)) => differing.push(row.binding.client.to_string()),
            Err(error) => return Err(CopyError::To(error)),
        }
    }
    if !differing.is_empty() {
        return Err(CopyError::Differing(differing));
    }
    for row in missing {
        to.save(&row).await.map_err(CopyError::To)?;
        if to.load(&row.binding.client).await.map_err(CopyError::To)?.as_ref() != Some(&row) {
            return Err(CopyError::NotKept(row.binding.client));
        }
        done.written.push(row.binding.client);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::{Mode, Settings, contract, open};

    async fn memory() -> std::sync::Arc<dyn CredentialStore> {
        open(&Settings::sqlite(Path::new("")), Mode::Memory).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_moves_what_is_missing_and_overwrites_nothing() {
        let (from, to) = (memory().await, memory().await);
        for client in ["a", "b"] {
            from.save(&contract::sample(client)).await.unwrap();
        }
        to.save(&contract::sample("b")).await.unwrap();
        let names = |clients: &[ClientId]| clients.iter().map(ToString::to_string).collect::<Vec<_>>();
        let done = copy(&*from, &*to).await.unwrap();
        assert_eq!((names(&done.written), names(&done.same)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(to.load(&"a".parse().unwrap()).await.unwrap(), Some(contract::sample("a")));

        let mut other = contract::sample("b");
        other.expires = None;
        to.save(&other).await.unwrap();
        from.save(&contract::sample("c")).await.unwrap();
        let refused = copy(&*from, &*to).await.unwrap_err();
        assert!(matches!(&refused, CopyError::Differing(clients) if clients == &["b"]), "{refused}");
        assert_eq!(to.load(&"c".parse().unwrap()).await.unwrap(), None, "nothing was written");
        assert_eq!(to.load(&"b".parse().unwrap()).await.unwrap(), Some(other));
    }
}
