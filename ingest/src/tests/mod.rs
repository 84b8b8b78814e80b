//! The way in as a whole, over real files and real Delta tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod again;
mod coverage;
mod exports;
mod model;
mod peers;
mod rotation;
mod sheets;
mod world;
