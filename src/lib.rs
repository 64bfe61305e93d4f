//! aiviary
pub mod api;
pub mod clock;
pub mod credential;
pub mod crypto;
pub mod exposure;
pub mod platforms;
pub mod roles;
pub mod secret;
pub mod server;
pub mod telemetry;
pub mod tool;
