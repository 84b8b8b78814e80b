//! The access event: one look at, or change of, one person's record. It is defined here and nowhere else.
//!
//! Promises: [`COLUMNS`] names every column with its meaning and its source in law or standard; [`schema`] is the
//! Arrow schema of the Delta table `access_events`; [`AccessEvent`] is one row of it; [`EventBatch`] turns rows into
//! a record batch in exactly that schema.
//!
//! Must not know: log formats, Delta, DataFusion, rules, people's roles.

mod columns;
mod hsa_id;
mod personal_number;

pub use columns::{AccessEvent, COLUMNS, Cell, Column, EventBatch, Kind, schema};
pub use hsa_id::hsa_id;
pub use personal_number::{PersonalNumber, PersonalNumberKind, is_valid, normalise, oid};
