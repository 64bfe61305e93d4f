//! The `connect` role: takes credentials in, keeps them sealed, grants tokens.

pub mod audit;
pub mod state;
