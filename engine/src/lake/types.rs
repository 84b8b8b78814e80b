//! What goes into the lake and what can be seen of it: plain data.

use std::borrow::Borrow;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use insyn_event::AccessEvent;

/// A Delta table of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// `access_events`, partitioned by `year`.
    AccessEvents,
    /// `quarantine`: what could not be read, with its bytes.
    Quarantine,
    /// `gaps`: bytes that could not be had.
    Gaps,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 3] = [Table::AccessEvents, Table::Quarantine, Table::Gaps];

    /// Its name, which is also its folder in the lake.
    pub fn name(self) -> &'static str {
        match self {
            Table::AccessEvents => "access_events",
            Table::Quarantine => "quarantine",
            Table::Gaps => "gaps",
        }
    }

    /// Its columns as a reader sees them.
    pub fn schema(self) -> SchemaRef {
        match self {
            Table::AccessEvents => insyn_event::schema(),
            Table::Quarantine => Arc::clone(&QUARANTINE),
            Table::Gaps => Arc::clone(&GAPS),
        }
    }

    /// Its columns as they lie in its Parquet files: all but the partition column (`year`), which Delta keeps in
    /// the log ([`LakeFile::year`]).
    pub fn file_schema(self) -> SchemaRef {
        match self {
            Table::AccessEvents => Arc::clone(&EVENT_FILES),
            other => other.schema(),
        }
    }

    /// The partition columns.
    pub fn partition_columns(self) -> &'static [&'static str] {
        match self {
            Table::AccessEvents => &["year"],
            _ => &[],
        }
    }
}

static EVENT_FILES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let schema = insyn_event::schema();
    let fields = schema.fields().iter().filter(|f| f.name() != "year").cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

static QUARANTINE: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("file_id", DataType::Utf8, false),
        Field::new("file_offset", DataType::Int64, false),
        Field::new("bytes", DataType::Binary, false),
        Field::new("reason", DataType::Utf8, false),
        time("ingested_at"),
        Field::new("sequence", DataType::Int64, false),
    ]))
});

static GAPS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("file_id", DataType::Utf8, false),
        Field::new("from_offset", DataType::Int64, false),
        Field::new("to_offset", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        time("noticed_at"),
        Field::new("sequence", DataType::Int64, false),
    ]))
});

/// How far a source has been read, and what was counted for it on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the last batch that counts; 0 before the first.
    pub sequence: i64,
    /// What that batch gave as [`SourceCommit::state`].
    pub state: Option<String>,
    /// Rows of `access_events` from this source.
    pub events: u64,
    /// Rows of `quarantine` from this source.
    pub quarantined: u64,
    /// Rows of `gaps` from this source.
    pub gaps: u64,
    /// The latest `occurred_at` of all its events, µs UTC.
    pub last_event: Option<i64>,
    /// When its last batch was committed, µs UTC.
    pub committed_at: Option<i64>,
}

/// One batch of one source: its rows and the position after them. It counts whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct SourceCommit {
    /// The configured name of the source.
    pub source: String,
    /// `progress.sequence + 1`.
    pub sequence: i64,
    /// In the order of arrival. The lake fills in `year`, `segment` and `seq`.
    pub events: Vec<AccessEvent>,
    /// Records that could not be read.
    pub quarantine: Vec<Quarantined>,
    /// Bytes that could not be had.
    pub gaps: Vec<Gap>,
    /// Where to go on, as only the reader understands it; comes back from `Lake::progress`.
    pub state: String,
}

/// A record that could not be read, with its bytes and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub source: String,
    pub file_id: String,
    /// In decompressed bytes.
    pub file_offset: i64,
    pub bytes: Vec<u8>,
    /// Column and fault, never the value.
    pub reason: String,
    /// µs UTC.
    pub ingested_at: i64,
}

/// Bytes of a file that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub source: String,
    pub file_id: String,
    /// In decompressed bytes.
    pub from_offset: i64,
    /// Exclusive; `None` where nobody knows how much is missing.
    pub to_offset: Option<i64>,
    pub reason: String,
    /// µs UTC.
    pub noticed_at: i64,
}

/// What a commit made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The Delta version of `access_events` that holds the batch.
    pub version: u64,
    /// The batch's number, now the source's progress.
    pub sequence: i64,
    /// One segment a year that the batch touched, ascending by year.
    pub segments: Vec<i64>,
}

/// Least and greatest value of a column in a file. The bounds hold every value but may be wider than the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds<T> {
    /// No value is less; `None`: not known, or there is no value (see `nulls`).
    pub min: Option<T>,
    /// No value is greater; `None`: not known, or there is no value.
    pub max: Option<T>,
    /// How many rows have null; `None`: not known.
    pub nulls: Option<u64>,
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Bounds { min: None, max: None, nulls: None }
    }
}

impl<T> Bounds<T> {
    /// Whether `value` lies within the bounds; true where they are not known.
    pub fn may_hold<V: PartialOrd + ?Sized>(&self, value: &V) -> bool
    where
        T: Borrow<V>,
    {
        self.min.as_ref().is_none_or(|min| min.borrow() <= value)
            && self.max.as_ref().is_none_or(|max| value <= max.borrow())
    }
}

/// One live Parquet file of a table, with what the Delta log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeFile {
    /// Relative to the lake's root (`access_events/year=2026/….parquet`), a path of `Lake::object_store`.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Rows in the file.
    pub rows: u64,
    /// The partition; `None` in tables without partitions.
    pub year: Option<String>,
    /// Of `access_events` only.
    pub subject_id: Bounds<String>,
    /// Of `access_events` only; µs UTC, rounded outwards to whole milliseconds.
    pub occurred_at: Bounds<i64>,
    /// Of `access_events` only.
    pub user_id: Bounds<String>,
    /// Of `quarantine` and `gaps`: the source whose rows these are; `None` where there are several.
    pub source: Option<String>,
    /// Of `quarantine` and `gaps`: the batch that wrote it; `None` where there are several.
    pub sequence: Option<i64>,
}

impl LakeFile {
    /// Whether a row of the file can be about `subject_id`.
    pub fn may_hold_subject(&self, subject_id: &str) -> bool {
        self.subject_id.nulls != Some(self.rows) && self.subject_id.may_hold(subject_id)
    }

    /// Whether a row of the file can be by `user_id`.
    pub fn may_hold_user(&self, user_id: &str) -> bool {
        self.user_id.nulls != Some(self.rows) && self.user_id.may_hold(user_id)
    }
}
