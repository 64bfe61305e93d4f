//! The roles of the binary.
pub mod sandbox;
