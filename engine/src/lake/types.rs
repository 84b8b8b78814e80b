//! What goes into the lake and what can be seen of it: plain data.

use std::borrow::Borrow;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use insyn_event::AccessEvent;
use serde::{Deserialize, Serialize};

use super::error::LakeError;

/// A Delta table of the lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// `access_events`, partitioned by `year`.
    AccessEvents,
    /// `quarantine`: what could not be read, with its bytes.
    Quarantine,
    /// `gaps`: bytes that could not be had.
    Gaps,
    /// `exports`: which days each export states, and what of it was new.
    Exports,
    /// `lacking`: rows that a later export of the same time does not state.
    Lacking,
    /// `user_accesses`: the rows of `access_events`, a few columns of each, in order of users. It is made of them.
    UserAccesses,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 6] = [
        Table::AccessEvents,
        Table::Quarantine,
        Table::Gaps,
        Table::Exports,
        Table::Lacking,
        Table::UserAccesses,
    ];
    /// Those that are written before `access_events`, which alone decides what counts.
    pub const SIDES: [Table; 4] = [Table::Quarantine, Table::Gaps, Table::Exports, Table::Lacking];

    /// Its name, which is also its folder in the lake.
    pub fn name(self) -> &'static str {
        match self {
            Table::AccessEvents => "access_events",
            Table::Quarantine => "quarantine",
            Table::Gaps => "gaps",
            Table::Exports => "exports",
            Table::Lacking => "lacking",
            Table::UserAccesses => "user_accesses",
        }
    }

    /// Its columns as a reader sees them.
    pub fn schema(self) -> SchemaRef {
        match self {
            Table::AccessEvents => insyn_event::schema(),
            Table::Quarantine => Arc::clone(&QUARANTINE),
            Table::Gaps => Arc::clone(&GAPS),
            Table::Exports => Arc::clone(&EXPORTS),
            Table::Lacking => Arc::clone(&LACKING),
            Table::UserAccesses => Arc::clone(&USER_ACCESSES),
        }
    }

    /// Its columns as they lie in its Parquet files: all but the partition column (`year`), which Delta keeps in
    /// the log ([`LakeFile::year`]).
    pub fn file_schema(self) -> SchemaRef {
        match self {
            Table::AccessEvents => Arc::clone(&EVENT_FILES),
            Table::UserAccesses => Arc::clone(&USER_FILES),
            other => other.schema(),
        }
    }

    /// The column that says where in its file an item of `quarantine` or `gaps` lies.
    pub(crate) fn place(self) -> &'static str {
        if self == Table::Gaps { "from_offset" } else { "file_offset" }
    }

    /// A column of rows of this table.
    pub(super) fn column<'r>(self, rows: &'r RecordBatch, name: &str) -> Result<&'r ArrayRef, LakeError> {
        rows.column_by_name(name).ok_or_else(|| LakeError::encode(self, format!("no column {name}")))
    }

    /// The partition columns.
    pub fn partition_columns(self) -> &'static [&'static str] {
        match self {
            Table::AccessEvents | Table::UserAccesses => &["year"],
            _ => &[],
        }
    }

    /// What the rows of its files are sorted by, before `segment` and `seq`; null comes last. Of tables whose files
    /// lie in runs.
    pub(crate) fn sorted_by(self) -> &'static [&'static str; 2] {
        match self {
            Table::UserAccesses => &["user_id", "occurred_at"],
            _ => &["subject_id", "occurred_at"],
        }
    }
}

static EVENT_FILES: LazyLock<SchemaRef> = LazyLock::new(|| without_year(&insyn_event::schema()));
static USER_FILES: LazyLock<SchemaRef> = LazyLock::new(|| without_year(&USER_ACCESSES));

fn without_year(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().filter(|f| f.name() != "year").cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Columns of `access_events` that `user_accesses` has too.
pub(crate) const USER_COLUMNS: [&str; 9] = [
    "user_id",
    "occurred_at",
    "year",
    "subject_id",
    "care_unit_id",
    "source",
    "controller_id",
    "segment",
    "seq",
];

/// The column of `user_accesses` that tells which rows may repeat an event: see `lake::users::trail`.
pub(crate) const TRAIL: &str = "trail";

static USER_ACCESSES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let events = insyn_event::schema();
    let columns = USER_COLUMNS.iter().filter_map(|name| events.field_with_name(name).ok().cloned());
    let trail = Field::new(TRAIL, DataType::Int64, false);
    Arc::new(Schema::new(columns.chain([trail]).collect::<Vec<_>>()))
});

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

/// What became of an item of a side table. Null in files of lakes that are older than these columns: open.
fn state() -> [Field; 4] {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let at = time("state_at").with_nullable(true);
    [text("state"), text("state_reason"), text("state_by"), at]
}

static QUARANTINE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields = [
        Field::new("source", DataType::Utf8, false),
        Field::new("file_id", DataType::Utf8, false),
        Field::new("file_offset", DataType::Int64, false),
        Field::new("bytes", DataType::Binary, false),
        Field::new("reason", DataType::Utf8, false),
        time("ingested_at"),
        Field::new("sequence", DataType::Int64, false),
    ];
    Arc::new(Schema::new(fields.into_iter().chain(state()).collect::<Vec<_>>()))
});

static GAPS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields = [
        Field::new("source", DataType::Utf8, false),
        Field::new("file_id", DataType::Utf8, false),
        Field::new("from_offset", DataType::Int64, false),
        Field::new("to_offset", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        time("noticed_at"),
        Field::new("sequence", DataType::Int64, false),
    ];
    Arc::new(Schema::new(fields.into_iter().chain(state()).collect::<Vec<_>>()))
});

static EXPORTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("source"),
        text("file_id"),
        text("path"),
        text("day"),
        time("first_event"),
        time("last_event"),
        long("rows"),
        long("stored"),
        long("lacking"),
        time("read_at"),
        long("sequence"),
    ]))
});

static LACKING: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![
        text("source"),
        text("file_id"),
        text("export_file_id"),
        long("file_offset"),
        time("occurred_at"),
        time("noticed_at"),
        long("sequence"),
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
    /// Of the rows in quarantine, those that nobody has explained and no later reading mended.
    pub quarantine_open: u64,
    /// Likewise of the gaps.
    pub gaps_open: u64,
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
    /// Days of an export that has been read to its end.
    pub exports: Vec<ExportDay>,
    /// Rows of other files that this export lacks.
    pub lacking: Vec<Lacking>,
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

/// What an export states of one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportDay {
    pub source: String,
    pub file_id: String,
    /// Where it lay.
    pub path: String,
    /// In the organisation's zone, as `2026-08-31`.
    pub day: String,
    /// µs UTC.
    pub first_event: i64,
    /// µs UTC.
    pub last_event: i64,
    /// Rows that it states.
    pub rows: i64,
    /// Of these, rows that nobody had stated before.
    pub stored: i64,
    /// Rows that others state of that time, and it does not.
    pub lacking: i64,
    /// µs UTC.
    pub read_at: i64,
}

/// A row that an earlier export states and a later one of the same time does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    pub source: String,
    /// The file that the row is from.
    pub file_id: String,
    /// The later export.
    pub export_file_id: String,
    /// Where the row lies in its own file.
    pub file_offset: i64,
    /// µs UTC.
    pub occurred_at: i64,
    /// µs UTC.
    pub noticed_at: i64,
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

/// A period by `occurred_at`, µs UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// From this instant.
    pub from: Option<i64>,
    /// To this one, exclusive.
    pub to: Option<i64>,
}

impl Window {
    /// Whether an instant lies in it.
    pub fn holds(self, at: i64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// What has become of an item of `quarantine` or `gaps` that was open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Somebody said why nothing is missed.
    Explained,
    /// It was read after all.
    Mended,
}

impl Settled {
    /// As the column `state` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Settled::Explained => "explained",
            Settled::Mended => "mended",
        }
    }
}

/// An amendment or removal that counts: who changed what is stored of a source, when, why and how much. No personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amended {
    /// `again` (kept records were read anew), `explain` (somebody explained), `returned` (bytes that were missing came),
    /// `retained` (their time was over).
    pub kind: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// µs UTC.
    pub at: i64,
    /// Of what period, µs UTC; none where it has no beginning or end.
    pub from: Option<i64>,
    /// The end of it, exclusive.
    pub to: Option<i64>,
    /// Rows of `access_events` that were taken out.
    pub removed: u64,
    /// Rows of `access_events` that came instead.
    pub added: u64,
    /// Records that went to quarantine.
    pub quarantined: u64,
    /// Items of `quarantine` and `gaps` that were mended.
    pub mended: u64,
    /// Items that were explained.
    pub explained: u64,
    /// Items of `quarantine` and `gaps` whose time was over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub items: u64,
    /// What the source's `encoding` was, if it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The number of its last batch of rows.
    pub(super) sequence: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
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
    /// Of `access_events` and `user_accesses`; µs UTC, rounded outwards to whole milliseconds.
    pub occurred_at: Bounds<i64>,
    /// Of `access_events` and `user_accesses`.
    pub user_id: Bounds<String>,
    /// The source whose rows these are; `None` where there are several, or that is not known.
    pub source: Option<String>,
    /// Of the side tables: the last batch that it has rows of; `None` where that is not known.
    pub sequence: Option<i64>,
    /// Columns of which no row has a value.
    pub empty: Columns,
}

/// Some columns of a table's files, by where they stand in their schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns(u64);

impl Columns {
    /// Those of a schema for which `holds` does, by name; none beyond the 64th.
    pub fn which(schema: &Schema, holds: impl Fn(&str) -> bool) -> Columns {
        let fields = schema.fields().iter().take(64).enumerate();
        Columns(fields.filter(|(_, field)| holds(field.name())).fold(0, |all, (at, _)| all | 1 << at))
    }

    /// Those of which no row has a value.
    pub(super) fn empty_in(table: Table, rows: &RecordBatch) -> Columns {
        let has_none = |name: &str| {
            rows.column_by_name(name).is_some_and(|column| column.logical_null_count() == rows.num_rows())
        };
        Columns::which(&table.file_schema(), has_none)
    }

    /// Those that are in both.
    pub(super) fn both(self, other: Columns) -> Columns {
        Columns(self.0 & other.0)
    }

    /// Where they stand.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |at| self.0 >> at & 1 == 1)
    }

    /// Their names.
    pub(super) fn of(self, schema: &Schema) -> impl Iterator<Item = String> {
        self.places().filter_map(|at| Some(schema.fields().get(at)?.name().clone()))
    }
}

impl LakeFile {
    /// Bounds of what its rows are sorted by first.
    pub(super) fn key(&self) -> &Bounds<String> {
        let name = Table::UserAccesses.name();
        let is_by_user = self.path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        if is_by_user { &self.user_id } else { &self.subject_id }
    }

    /// Whether a row of the file can be about `subject_id`.
    pub fn may_hold_subject(&self, subject_id: &str) -> bool {
        self.subject_id.nulls != Some(self.rows) && self.subject_id.may_hold(subject_id)
    }

    /// Whether a row of the file can be by `user_id`.
    pub fn may_hold_user(&self, user_id: &str) -> bool {
        self.user_id.nulls != Some(self.rows) && self.user_id.may_hold(user_id)
    }
}
