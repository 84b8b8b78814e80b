//! Receiving: FHIR AuditEvents and RIV-TA StoreLog over HTTP, syslog over TLS, TCP and UDP.
//!
//! Promises: whoever is told "stored" is told so after fsync; what is refused is told why, column and fault, and its
//! bytes go to quarantine; a sender writes to its own source only, in the name of its own systems only; what waits for
//! the disk is bounded in bytes, and a full disk refuses, it never drops. Nothing is read here: the tailer finds what
//! was received in the spool, like any other file.
//!
//! Must not know: people and roles (whether a token holds is asked through [`Gate`]), rules, pages, Delta.

mod answer;
mod desk;
mod fhir;
mod flight;
mod gate;
mod http;
mod soap;
pub mod syslog;
pub mod tls;

pub use desk::{Counted, Datagrams, Desk, OpenError, Receivers, check};
pub use fhir::Outcome;
pub use gate::{Gate, Token};
pub use http::{OpenApi, PeerCertificate, router};
