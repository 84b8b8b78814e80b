//! One short file a sub-command.

pub mod backup;
pub mod compact;
pub mod context;
pub mod demo;
pub mod doctor;
pub mod findings;
pub mod ingest;
pub mod init;
pub mod retain;
pub mod rules;
pub mod serve;
pub mod source;
pub mod sources;
pub mod sql;
pub mod token;
pub mod trace;
pub mod user;
