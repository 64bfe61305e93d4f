//! aiviary
pub mod clock;
pub mod credential;
pub mod crypto;
pub mod exposure;
pub mod roles;
pub mod secret;
pub mod server;
pub mod telemetry;
