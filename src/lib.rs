//! aiviary
pub mod clock;
pub mod credential;
pub mod crypto;
pub mod graph;
pub mod secret;
