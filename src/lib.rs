//! aiviary: keeps Meta access tokens for automations, and serves Instagram and Meta Ads as tools.
//!
//! Imports point down only; roles meet over HTTP.
//!
//! ```text
//! main
//!  └─ cli
//!      └─ config                               builds the Settings that the modules below own
//!          └─ roles::{connect, mcp, sandbox}   decide
//!              └─ platforms                    what is offered, declared
//!                  └─ tool                     how a tool is declared and run
//!                      └─ store   server   graph   api     carry
//!                          └─ credential                   nouns
//!                              └─ crypto                   seal, open
//!                                  └─ secret   exposure   clock   telemetry   sqlite     import none of ours
//! ```

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod crypto;
pub mod exposure;
pub mod graph;
pub mod lock;
pub mod platforms;
pub mod roles;
pub mod secret;
pub mod server;
pub mod sqlite;
pub mod store;
pub mod telemetry;
pub mod tool;
