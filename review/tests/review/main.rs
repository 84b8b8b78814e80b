//! The review room over real SQLite files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod crash;
mod decisions;
mod evaluated;
mod lists;
mod migrations;
mod quality;
mod recording;
mod retention;
mod sign_in;
mod suppressions;
mod world;
