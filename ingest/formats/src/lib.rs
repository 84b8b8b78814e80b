//! Log formats: bytes of an access log become access events.
//!
//! Promises: [`Format::compile`] refuses a wrong configuration and says which key, what was found and what was
//! expected; [`Reader::cut`] frames records the same way however the bytes arrive, and always gets on;
//! [`Reader::parse`] gives every row that a record states, or a [`Fault`] that names column and fault and never the
//! value. No input makes it panic, no record disappears.
//!
//! Must not know: files, where bytes come from, Delta, DataFusion, rules, people's roles.
//!
//! # What goes where
//!
//! Each format's module says which of its fields becomes which column: [`read::fhir`], [`read::rivta`],
//! [`read::dicom`], [`read::table`] (`delimited`, `pattern`, `json`). Common to all, in [`shape`]: the action that
//! follows from the activity, words for outcomes, personal numbers, what kind of user it was.

mod columns;
mod config;
mod encoding;
mod error;
mod format;
mod frame;
pub mod guess;
mod limits;
pub mod message;
mod nearest;
pub mod octets;
mod opening;
pub mod read;
pub mod shape;
mod time;
pub mod workbook;

pub use config::{FieldRule, FormatConfig, FormatName, Scalar};
pub use error::{Fault, FormatError};
pub use format::{Cut, Format, Reader};
pub use frame::spool;
pub use nearest::nearest;
pub use opening::Opening;
