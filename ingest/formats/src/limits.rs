//! What one record may hold at most. No record of a log comes near; without a bound, a few megabytes could ask for all
//! memory, and for hours.

use std::collections::HashSet;
use std::hash::Hash;

use insyn_event::AccessEvent;

use crate::columns;
use crate::error::Fault;

/// Rows, and parts of which each may become one: patients, resources, objects.
pub(crate) const ROWS: usize = 50_000;

/// Parts that are held against all others of a record: agents, contained resources.
pub(crate) const PARTS: usize = 5_000;

/// Values of a JSON text.
pub(crate) const VALUES: usize = 1_000_000;

/// Fields of a delimited row.
pub(crate) const FIELDS: usize = 10_000;

/// Bytes that the rows of one record hold of what they have in common.
const COMMON: usize = 32 << 20;

/// Bytes in all rows of one record.
pub(crate) const HELD: usize = 2 * COMMON;

pub(crate) const FROM_ONE: &str = "rows from one record";

/// A fault where there are more of something than there may be.
pub(crate) fn at_most(most: usize, are: usize, what: &str) -> Result<(), Fault> {
    if are <= most { Ok(()) } else { Err(Fault::new(format!("more than {most} {what}"))) }
}

/// A fault where so many rows of this event would be too much.
pub(crate) fn rows_of(event: &mut AccessEvent, rows: usize) -> Result<(), Fault> {
    at_most(ROWS, rows, FROM_ONE)?;
    if rows > 1 && columns::length(event).saturating_mul(rows) > COMMON {
        return Err(Fault::new(format!("{rows} rows of so long a record would be more than 32 MiB")));
    }
    Ok(())
}

/// Leaves one row of those of one person, who may be written in two ways.
pub(crate) fn distinct_subjects(rows: &mut Vec<AccessEvent>) {
    if rows.len() > 1 {
        let mut seen = HashSet::with_capacity(rows.len());
        rows.retain(|row| row.subject_id.as_ref().is_none_or(|id| seen.insert(id.clone())));
    }
}

/// Leaves the first of those that have the same key.
pub(crate) fn distinct<T, K: Hash + Eq>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    if items.len() > 1 {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(key(item)));
    }
}
