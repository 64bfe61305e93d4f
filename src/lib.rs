//! aiviary
pub mod clock;
pub mod roles;
pub mod secret;
