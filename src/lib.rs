//! aiviary
