//! Every format, read from records as systems write them, and from records as nobody should.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod configuration;
mod corpus;
mod decoders;
mod framing;
#[path = "../../../../fuzz/src/lib.rs"]
mod fuzz;
mod hostile;
mod records;
