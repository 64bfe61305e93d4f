//! What one process can be.

pub mod connect;
