//! The `connect` role: takes credentials in, keeps them sealed, grants tokens.

pub mod state;
