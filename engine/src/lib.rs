//! The engine: the access events that were read, kept, and found again.
//!
//! For: the lake (Delta tables `access_events`, `quarantine`, `gaps` in a folder or a bucket), the context tables, sessions that
//! answer over one pinned version, traces and guarded SQL.
//!
//! Promises: rows and the position they were read to become visible in one durable commit; what a session sees does
//! not move under it; rows come back exactly as they were given; memory is bounded; errors name the thing, what was
//! found and what was expected, never a value out of a record.
//!
//! Must not know: formats of logs, what a rule means, HTTP, people's roles.

mod bucket;
pub mod config;
pub mod context;
pub mod coverage;
pub mod disk;
pub mod error;
pub mod exports;
pub mod failpoint;
mod file;
pub mod functions;
mod guard;
pub mod kept;
pub mod lake;
pub mod output;
pub mod provider;
pub mod retain;
pub mod session;
mod store;
pub mod trace;
pub mod worker;

pub use insyn_event as event;
