//! Behaviour against local servers.
