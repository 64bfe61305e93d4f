//! The roles of the binary: each decides, over what the modules below carry.

pub mod connect;
pub mod mcp;
pub mod sandbox;
