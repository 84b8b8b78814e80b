//! The front of the house: REST, the OpenAPI document, sign-in, roles, and the pages that people read.
//!
//! Promises: every route states who may use it, in one table ([`route_table`]), and is refused to everybody else;
//! every look at personal data is written to the spool, and is on disk, before the answer leaves; a trace shows nothing
//! until a reason or a case is stated; every error is an RFC 9457 problem with a code that stays; pages carry no
//! personal number in an address, and work without script, in Swedish and English.
//!
//! Must not know: the SQL of rules, Delta, the formats of logs.

mod app;
mod assets;
mod cursor;
mod forms;
mod gate;
mod guard;
mod handles;
mod health;
mod lang;
mod look;
mod names;
mod negotiate;
mod openapi;
mod overdue;
mod pages;
mod problem;
mod quiet;
mod rest;
mod routes;
mod rows;
mod serve;
mod sessions;
mod shape;
mod stream;
mod texts;
mod trail;
mod trials;

pub use app::{App, AppParts, DemoAccount};
pub use overdue::{CountPastTime, PastTime};
pub use routes::{Needs, RouteInfo, route_table, router};
pub use serve::{ApiConfig, ApiError, serve, serve_router};
