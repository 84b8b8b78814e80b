//! The engine from outside: a lake on disk, questions over it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asked;
mod attacks;
mod context;
mod history;
mod pruning;
mod sessions;
mod sql_files;
mod traces;
mod users;
mod world;
