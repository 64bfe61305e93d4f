//! aiviary
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod crypto;
pub mod exposure;
pub mod graph;
pub mod platforms;
pub mod roles;
pub mod secret;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tool;
