//! aiviary
pub mod clock;
pub mod credential;
pub mod crypto;
pub mod roles;
pub mod secret;
pub mod sqlite;
pub mod store;
