//! The way in: log files are found, recognised, read from where reading stopped, and handed to the lake.
//!
//! Promises: a file is recognised by what it holds, not where it lies, so that a renamed or compressed file is read
//! once; every record lands once, as rows of `access_events` or in `quarantine`, or a row in `gaps` says what could not
//! be had; how far a source is read is part of the commit that stores its rows, so that a crash at any moment changes
//! nothing. Insyn's own looks ([`spool::OwnLog`]) are a log like any other.
//!
//! Must not know: rules, pages, findings; Delta and DataFusion (the lake's own words are enough).

mod admit;
mod again;
mod anchor;
mod batch;
mod config;
mod content;
mod error;
mod explain;
mod export;
pub mod health;
mod identify;
mod laid_out;
pub mod law;
mod once;
mod pass;
mod passed;
mod reader;
mod scan;
mod sender;
mod sheet;
pub mod spool;
mod state;
pub mod status;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod trial;

pub use admit::{admit, event_id};
pub use again::{Again, AgainReport};
pub use config::{Copies, Delivery, LegalArea, SOURCE_KEYS, SourceConfig, SourceFault};
pub use error::IngestError;
pub use explain::{Explanation, explain};
pub use insyn_formats::{Cut, Fault, Format, Reader};
pub use insyn_formats::{FormatConfig, FormatName, nearest};
pub use once::{Ingest, Progress, Report, SourceReport};
pub use sender::{SenderConfig, UNAUTHENTICATED};
