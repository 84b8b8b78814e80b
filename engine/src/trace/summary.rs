//! How many rows, how many visits, how many people.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::error::EngineError;

/// A user's rows on one record belong to one visit while the gaps between them are shorter: 30 minutes, in µs.
pub const VISIT_GAP: i64 = 30 * 60 * 1_000_000;

/// A trace in five numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Rows of `access_events`.
    pub rows: u64,
    /// Visits: rows of one user on one record with gaps under [`VISIT_GAP`].
    pub visits: u64,
    /// The first `occurred_at`, µs UTC.
    pub first: Option<i64>,
    /// The last one.
    pub last: Option<i64>,
    /// People on the other side of the question: users of a subject's trace, subjects of a user's or an event's.
    pub persons: u64,
}

/// Who is counted as the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherSide {
    Actors,
    Subjects,
}

/// Of rows with the helper columns, ascending by time.
pub(super) fn of(batches: &[RecordBatch], other: OtherSide) -> Result<Summary, EngineError> {
    let mut summary = Summary::default();
    let mut last_seen: HashMap<(Option<&str>, Option<&str>), i64> = HashMap::new();
    let mut persons: HashSet<&str> = HashSet::new();
    for batch in batches {
        let (at, actors, keys) = (column(batch, "~at")?, text(batch, "~actor")?, text(batch, "~key")?);
        let at = at.as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let (at, actor, key) = (at.value(row), value(actors, row), value(keys, row));
            summary.rows += 1;
            summary.first = Some(summary.first.map_or(at, |first| first.min(at)));
            summary.last = Some(summary.last.map_or(at, |last| last.max(at)));
            persons.extend(match other {
                OtherSide::Actors => actor,
                OtherSide::Subjects => key,
            });
            let before = last_seen.insert((actor, key), at);
            summary.visits += u64::from(before.is_none_or(|before| at - before >= VISIT_GAP));
        }
    }
    summary.persons = persons.len() as u64;
    Ok(summary)
}

fn column<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a arrow::array::ArrayRef, EngineError> {
    batch.column_by_name(name).ok_or(EngineError::UnknownColumn {
        name: name.to_owned(),
        table: "trace",
        nearest: None,
    })
}

fn text<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a StringArray, EngineError> {
    Ok(column(batch, name)?.as_string::<i32>())
}

fn value(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}
