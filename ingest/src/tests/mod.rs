//! The way in as a whole, over real files and real Delta tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod coverage;
mod model;
mod rotation;
mod world;
