//! Black-box tests of the real binary, and of the shape of the house. One test binary for the crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod again;
mod architecture;
mod backup;
mod browser;
mod bucket;
mod commands;
mod context;
mod crash;
mod demo;
mod documents;
mod faults;
mod faulty;
mod guard;
mod house;
mod ingest;
mod older;
mod receive;
mod retain;
