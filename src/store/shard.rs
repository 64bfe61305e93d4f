//! One of a few locks for each client.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::credential::ClientId;

const SHARDS: usize = 256;

/// Locks that clients share by hash, so that names which nobody stored cost no memory.
#[derive(Debug)]
pub struct Sharded<T>([Arc<T>; SHARDS]);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl<T> Sharded<T> {
    /// The one of `client`.
    #[must_use]
    pub fn of(&self, client: &ClientId) -> Arc<T> {
        let mut hasher = DefaultHasher::new();
        client.hash(&mut hasher);
        self.0[hasher.finish() as usize % SHARDS].clone()
    }
}
