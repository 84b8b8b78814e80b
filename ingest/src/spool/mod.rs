//! What has no file of its own, on disk before anybody is told that it is stored: Insyn's own looks, and what others
//! send. The tailer reads these files like any other.

mod aside;
mod clear;
mod inbox;
mod own;
mod writer;

pub use aside::Aside;
pub use clear::{clear, cleared};
pub use inbox::{Inbox, Received, Stored};
pub use own::{Look, OwnLog, SOURCE};

/// Below the spool's folder, where records of sources with senders lie: a folder a source, in it a folder a sender.
pub const RECEIVED: &str = "received";
