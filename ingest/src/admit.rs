//! Which records become events: the same judgement when a record is received as when it is read.

use chrono::{Datelike, TimeZone, Utc};
use insyn_event::AccessEvent;
use insyn_formats::{Fault, Reader};

use crate::SenderConfig;

/// A time further ahead than this is absurd. µs.
const AHEAD: i64 = 366 * 86_400 * 1_000_000;

/// The rows of a record, or why it goes to quarantine. `now` is in µs UTC; `sender` is who sent it, if somebody did.
///
/// # Errors
/// Names the column and what is wrong, never the value.
pub fn admit(
    reader: &Reader,
    sender: Option<&SenderConfig>,
    record: &[u8],
    now: i64,
) -> Result<Vec<AccessEvent>, Fault> {
    let rows = reader.parse(record)?;
    if rows.iter().any(|row| is_absurd(row.occurred_at, now)) {
        return Err(Fault::of("occurred_at", "lies absurdly far off"));
    }
    if let Some(sender) = sender
        && !rows.iter().all(|row| sender.speaks_for(row.system_id.as_deref()))
    {
        return Err(Fault::of("system_id", "not a system that this sender may speak for"));
    }
    Ok(rows)
}

/// The id of an event whose record has none: from where it lies, the same at every reading.
#[must_use]
pub fn event_id(file_id: &str, offset: u64) -> String {
    format!("{file_id}.{offset}")
}

fn is_absurd(at: i64, now: i64) -> bool {
    at > now + AHEAD || Utc.timestamp_micros(at).single().is_none_or(|time| time.year() < 1900)
}
