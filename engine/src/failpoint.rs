//! Places where a test may kill the process: `INSYN_CRASH_AT=point` or `INSYN_CRASH_AT=point:N` (at the N-th time).
//!
//! Compiled in under `debug_assertions` only; a release binary has none of it.

/// The named steps of a commit to the lake, in order.
pub const COMMIT: [&str; 8] = [
    "after-quarantine-commit",
    "after-gaps-commit",
    "after-exports-commit",
    "after-lacking-commit",
    "before-events-put",
    "after-events-put",
    "before-log-commit",
    "after-log-commit",
];

/// The steps of a merge of small files, in order.
pub const MERGE: [&str; 3] = ["before-merged-put", "after-merged-put", "after-merged-commit"];

/// The steps in which `user_accesses` follows, in order.
pub const USERS: [&str; 3] = ["before-users-put", "after-users-put", "after-users-commit"];

/// The steps of an amendment, in order.
pub const AMEND: [&str; 4] =
    ["amended-events-put", "amended-sides-committed", "before-amended-commit", "after-amended-commit"];

/// The steps of a removal of rows and items, in order.
pub const RETAIN: [&str; 5] = [
    "before-retained-put",
    "after-retained-put",
    "after-retained-commit",
    "retained-items-put",
    "retained-items-committed",
];

/// The steps after it that take away what replaced files and the log still hold, in order.
pub const PURGE: [&str; 4] = ["purge-begun", "purged-files", "purged-checkpoint", "purged-log"];

/// The steps of a load of context tables, in order.
pub const CONTEXT: [&str; 2] = ["context-tables-put", "context-published"];

/// The steps of putting a backup back, in order.
pub const RESTORE: [&str; 2] = ["restored-files", "restored-removals"];

/// The steps of every put into the lake's folder: data files and log entries alike.
pub const STORE: [&str; 4] = ["store-written", "store-fsynced", "store-named", "store-folder-fsynced"];

/// The steps of every put into a bucket.
pub const BUCKET: [&str; 2] = ["bucket-before-put", "bucket-after-put"];

/// The steps of storing what was received.
pub const INBOX: [&str; 4] = ["inbox-begun", "inbox-before-write", "inbox-written", "inbox-fsynced"];

/// Ends the process at once, with nothing flushed or dropped, if `point` is the one asked for.
#[cfg(debug_assertions)]
pub fn crash_at(point: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);

    let known =
        [&COMMIT[..], &MERGE, &USERS, &AMEND, &RETAIN, &PURGE, &CONTEXT, &RESTORE, &STORE, &BUCKET, &INBOX]
            .concat();
    debug_assert!(known.contains(&point), "{point}");
    let Ok(asked) = std::env::var("INSYN_CRASH_AT") else { return };
    let (name, nth) = asked.split_once(':').unwrap_or((&asked, "1"));
    if name == point && TIMES.fetch_add(1, Ordering::SeqCst) + 1 >= nth.parse().unwrap_or(1) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn crash_at(_point: &str) {}
