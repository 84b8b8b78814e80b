//! Places where a test may kill the process: `INSYN_CRASH_AT=point` or `INSYN_CRASH_AT=point:N` (at the N-th time).
//!
//! Compiled in under `debug_assertions` only; a release binary has none of it.

/// The named steps of a commit, in order.
pub const CRASH_POINTS: [&str; 6] = [
    "after-quarantine-commit",
    "after-gaps-commit",
    "before-events-put",
    "after-events-put",
    "before-log-commit",
    "after-log-commit",
];

/// Ends the process at once, with nothing flushed or dropped, if `point` is the one asked for.
#[cfg(debug_assertions)]
pub(crate) fn crash_at(point: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);

    debug_assert!(CRASH_POINTS.contains(&point), "{point}");
    let Ok(asked) = std::env::var("INSYN_CRASH_AT") else { return };
    let (name, nth) = asked.split_once(':').unwrap_or((&asked, "1"));
    if name == point && TIMES.fetch_add(1, Ordering::SeqCst) + 1 >= nth.parse().unwrap_or(1) {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn crash_at(_point: &str) {}
