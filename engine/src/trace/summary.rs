//! How many rows, how many visits, how many people.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::error::EngineError;

/// A user's rows on one record belong to one visit while the gaps between them are shorter: 30 minutes, in µs.
pub const VISIT_GAP: i64 = 30 * 60 * 1_000_000;

/// Beyond so many events it is not told which repeat one another: each costs memory.
const MOST_EVENTS: usize = 1 << 20;
/// Beyond so many users in records, those whose visits have ended are forgotten.
const MOST_SEEN: usize = 1 << 16;

/// A trace in a few numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Rows of `access_events`.
    pub rows: u64,
    /// Visits: rows of one user on one record with gaps under [`VISIT_GAP`], or under the gap that was asked for.
    pub visits: u64,
    /// The first `occurred_at`, µs UTC.
    pub first: Option<i64>,
    /// The last one.
    pub last: Option<i64>,
    /// People on the other side of the question: users for records, subjects for everything else.
    pub persons: u64,
    /// Rows whose source had given their event's id before, in another record of its log; none: too many to tell.
    pub repeats: Option<u64>,
}

/// Who is counted as the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherSide {
    Actors,
    Subjects,
}

/// A user in a record.
type InRecord = (Option<Arc<str>>, Option<Arc<str>>);

/// Counts rows with the helper columns, which come ascending by time.
pub(super) struct Tally {
    other: OtherSide,
    gap: i64,
    summary: Summary,
    /// When a user was last in a record.
    last_seen: HashMap<InRecord, i64>,
    /// Beyond so many of them, those whose visits have ended are forgotten.
    most_seen: usize,
    persons: HashSet<Arc<str>>,
    /// Where an id of a source was first found: a hash of both, and one of file and offset.
    records: HashMap<u64, u64>,
    /// Of rows in order of users: first halves of trails that look like repeats.
    suspects: BTreeSet<u32>,
    hasher: RandomState,
}

impl Tally {
    pub(super) fn new(other: OtherSide, gap: i64) -> Tally {
        Tally {
            other,
            gap,
            summary: Summary { repeats: Some(0), ..Summary::default() },
            last_seen: HashMap::new(),
            most_seen: MOST_SEEN,
            persons: HashSet::new(),
            records: HashMap::new(),
            suspects: BTreeSet::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn count(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let at = column(batch, "~at")?.as_primitive::<TimestampMicrosecondType>();
        let (actors, keys) = (text(batch, "~actor")?, text(batch, "~key")?);
        let sources = text(batch, "~source")?;
        let told = Told::of(batch)?;
        for row in 0..batch.num_rows() {
            let at = at.value(row);
            let summary = &mut self.summary;
            summary.rows += 1;
            summary.first = Some(summary.first.map_or(at, |first| first.min(at)));
            summary.last = Some(summary.last.map_or(at, |last| last.max(at)));
            let (actor, key) = (value(actors, row), value(keys, row));
            let person = match self.other {
                OtherSide::Actors => actor,
                OtherSide::Subjects => key,
            };
            if let Some(person) = person.filter(|person| !self.persons.contains(*person)) {
                self.persons.insert(person.into());
            }
            let (event, record, half) = told.row(row, value(sources, row), &self.hasher);
            self.repeat(event, record, half);
            if self.last_seen.len() > self.most_seen {
                self.last_seen.retain(|_, seen| at - *seen < self.gap);
                self.most_seen = MOST_SEEN.max(2 * self.last_seen.len());
            }
            let before = self.last_seen.insert((actor.map(Arc::from), key.map(Arc::from)), at);
            self.summary.visits += u64::from(before.is_none_or(|before| at - before >= self.gap));
        }
        Ok(())
    }

    /// A row of this event, from this record; and the first half of its trail, where that is all that is known.
    fn repeat(&mut self, event: u64, record: u64, half: Option<u32>) {
        let Some(repeats) = &mut self.summary.repeats else { return };
        if *self.records.entry(event).or_insert(record) != record {
            *repeats += 1;
            self.suspects.extend(half);
        }
        if self.records.len() > MOST_EVENTS {
            self.summary.repeats = None;
            self.records = HashMap::new();
            self.suspects.clear();
        }
    }

    /// First halves of trails that look like repeats. Empty where all is known.
    pub(super) fn suspects(&self) -> &BTreeSet<u32> {
        &self.suspects
    }

    pub(super) fn summary(self) -> Summary {
        Summary { persons: self.persons.len() as u64, ..self.summary }
    }
}

/// What tells which event a row is of, and which record it is from.
enum Told<'a> {
    /// By their names.
    Names { events: &'a StringArray, files: &'a StringArray, offsets: &'a [i64] },
    /// By `trail`: what is another there is another, what is the same may be another.
    Trails(&'a [i64]),
}

impl<'a> Told<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Told<'a>, EngineError> {
        if let Some(trails) = batch.column_by_name("~trail") {
            return Ok(Told::Trails(trails.as_primitive::<Int64Type>().values()));
        }
        let offsets = column(batch, "~offset")?.as_primitive::<Int64Type>().values();
        Ok(Told::Names { events: text(batch, "~event")?, files: text(batch, "~file")?, offsets })
    }

    /// A hash of the event, one of the record, and the first half of a trail.
    fn row(&self, row: usize, source: Option<&str>, hasher: &RandomState) -> (u64, u64, Option<u32>) {
        match self {
            Told::Names { events, files, offsets } => {
                let record = hasher.hash_one((value(files, row), offsets[row]));
                (hasher.hash_one((source, value(events, row))), record, None)
            }
            Told::Trails(trails) => {
                let trail = trails[row] as u64;
                let half = (trail >> 32) as u32;
                (hasher.hash_one((source, half)), trail & u64::from(u32::MAX), Some(half))
            }
        }
    }
}

pub(super) fn column<'a>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a arrow::array::ArrayRef, EngineError> {
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
