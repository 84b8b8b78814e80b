//! Receiving, from the request to the row in the lake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod fhir;
mod hostile;
mod house;
mod rivta;
mod syslog;
