//! The router over a real lake and a real workflow database: roles, looks, problems, pages.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod forms;
mod house;
mod looks;
mod pages;
mod problems;
mod roles;
mod rows;
mod traces;
mod trials;
