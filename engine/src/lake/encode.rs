//! From rows to the bytes of a Parquet file, with what the Delta log shall say of it.
//!
//! The layout serves one question first, "who opened this record?": sorted by `subject_id` and time, small pages,
//! a page index with statistics for the columns that prune, and no statistics where they would only spread
//! personal data.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, Int64Builder, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use insyn_event::{AccessEvent, EventBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::error::LakeError;
use super::side;
use super::stats::{FileStats, bounds_of};
use super::types::{Bounds, Columns, ExportDay, Gap, Lacking, Quarantined, TRAIL, Table};

/// Rows of a row group at most.
const ROW_GROUP_ROWS: usize = 131_072;
/// Bytes of a row group at most, as estimated while it is written: rows may be long.
const ROW_GROUP_BYTES: usize = 256 << 20;
/// Rows of a data page. A subject's rows are read page by page: smaller costs more index, larger more decoding.
const PAGE_ROWS: usize = 2_000;
/// Rows that are turned into Arrow arrays at a time.
const BATCH_ROWS: usize = 8_192;

/// Columns with bounds for every page. Where rows are not in order of persons, bounds would only spread their numbers.
fn page_statistics(table: Table) -> &'static [&'static str] {
    match table {
        Table::UserAccesses => &["occurred_at", "user_id"],
        _ => &["subject_id", "occurred_at", "user_id"],
    }
}
/// Columns with bounds for every row group: they say nothing of a person.
const CHUNK_STATISTICS: [&str; 6] =
    ["source", "controller_id", "care_unit_id", "segment", "ingested_at", "sequence"];
/// Nearly every value is another: a dictionary would only be built to be thrown away.
const UNIQUE: [&str; 6] = ["event_id", "record", "occurred_at_raw", "correlation_id", "bytes", TRAIL];
/// Long, or rarely the same twice: of accesses these alone are compressed. The rest are few words or short numbers, which
/// their encodings make as small as zstd would; undoing it, column by column, was a tenth of what a trace costs.
const COMPRESSED: [&str; 10] = [
    "event_id",
    "occurred_at_raw",
    "activity_args",
    "subject_id",
    "subject_name",
    "resource_id",
    "session_id",
    "correlation_id",
    "client_address",
    "record",
];
/// Numbers that run along with the rows: differences are short.
const RUNNING: [&str; 7] =
    ["occurred_at", "ended_at", "recorded_at", "file_offset", "file_length", "seq", "from_offset"];

/// The bytes of a file of a table and what the log says of it.
pub(super) struct Encoded {
    pub table: Table,
    pub bytes: Bytes,
    pub stats: FileStats,
}

/// The rows of one segment, `year`, `segment` and `seq` filled in, as one file. They are sorted on the way.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn events(rows: &[AccessEvent]) -> Result<Encoded, LakeError> {
    let table = Table::AccessEvents;
    let mut order: Vec<&AccessEvent> = rows.iter().collect();
    order.sort_unstable_by_key(|row| {
        (row.subject_id.is_none(), row.subject_id.as_deref(), row.occurred_at, row.seq)
    });

    let fault = |e: ArrowError| LakeError::encode(table, e);
    let schema = table.file_schema();
    let columns = insyn_event::schema();
    let kept: Vec<usize> =
        (0..columns.fields().len()).filter(|i| columns.field(*i).name() != "year").collect();
    let mut writer = Writer::new(table, &schema)?;
    let mut batch = EventBatch::default();
    let mut empty: Option<Columns> = None;
    for chunk in order.chunks(BATCH_ROWS) {
        chunk.iter().for_each(|row| batch.push(row));
        let rows = batch.finish().and_then(|b| b.project(&kept)).map_err(fault)?;
        let of_these = Columns::empty_in(table, &rows);
        empty = Some(empty.map_or(of_these, |empty| empty.both(of_these)));
        writer.write(&rows)?;
    }
    let stats = FileStats {
        rows: rows.len() as u64,
        subject_id: bounds_of(rows.iter().map(|row| row.subject_id.as_deref())).owned(),
        user_id: bounds_of(rows.iter().map(|row| row.user_id.as_deref())).owned(),
        occurred_at: bounds_of(rows.iter().map(|row| Some(row.occurred_at))),
        source: bounds_of(rows.iter().map(|row| Some(row.source.as_str()))).owned(),
        empty: empty.unwrap_or_default(),
        ..FileStats::default()
    };
    Ok(Encoded { table, bytes: writer.finish()?, stats })
}

/// Rows of a table whose files lie in runs as one file, sorted as each is.
///
/// # Errors
/// When Arrow or Parquet refuses the rows.
pub(super) fn merged(table: Table, batches: &[RecordBatch]) -> Result<Encoded, LakeError> {
    let fault = |e: ArrowError| LakeError::encode(table, e);
    let all = arrow::compute::concat_batches(&table.file_schema(), batches).map_err(fault)?;
    let options = Some(SortOptions { descending: false, nulls_first: false });
    let mut sort = Vec::new();
    for name in table.sorted_by().iter().chain(&["segment", "seq"]) {
        sort.push(SortColumn { values: Arc::clone(table.column(&all, name)?), options });
    }
    let order = lexsort_to_indices(&sort, None).map_err(fault)?;
    let mut file = SortedFile::new(table)?;
    for at in (0..order.len()).step_by(BATCH_ROWS) {
        let part = order.slice(at, BATCH_ROWS.min(order.len() - at));
        file.write(&take_record_batch(&all, &part).map_err(fault)?)?;
    }
    file.finish()
}

/// A file of a table whose files lie in runs, in the making; its rows come in order.
pub(super) struct SortedFile {
    writer: Writer,
    stats: FileStats,
}

impl SortedFile {
    /// # Errors
    /// When Parquet refuses the columns.
    pub(super) fn new(table: Table) -> Result<SortedFile, LakeError> {
        Ok(SortedFile { writer: Writer::new(table, &table.file_schema())?, stats: FileStats::default() })
    }

    /// # Errors
    /// When Parquet refuses the rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let table = self.writer.table;
        let texts = |name: &str| table.column(rows, name).map(|column| column.as_string::<i32>());
        let times = table.column(rows, "occurred_at")?.as_primitive::<TimestampMicrosecondType>();
        let subject_id = match table {
            Table::UserAccesses => Bounds::default(),
            _ => bounds_of(texts("subject_id")?).owned(),
        };
        self.stats.absorb(FileStats {
            rows: rows.num_rows() as u64,
            subject_id,
            user_id: bounds_of(texts("user_id")?).owned(),
            occurred_at: bounds_of(times.values().iter().copied().map(Some)),
            source: bounds_of(texts("source")?).owned(),
            empty: Columns::empty_in(table, rows),
            ..FileStats::default()
        });
        self.writer.write(rows)
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> u64 {
        self.stats.rows
    }

    /// How many bytes it has, more or less.
    pub(super) fn size(&self) -> u64 {
        (self.writer.inner.bytes_written() + self.writer.inner.in_progress_size()) as u64
    }

    /// # Errors
    /// When Parquet refuses the rows.
    pub(super) fn finish(self) -> Result<Encoded, LakeError> {
        Ok(Encoded { table: self.writer.table, bytes: self.writer.finish()?, stats: self.stats })
    }
}

/// One batch's rows of `quarantine`, in the order given.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn quarantine(rows: &[Quarantined], sequence: i64) -> Result<Encoded, LakeError> {
    let mut bytes = BinaryBuilder::new();
    rows.iter().for_each(|row| bytes.append_value(&row.bytes));
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| &row.source)),
        texts(rows.iter().map(|row| &row.file_id)),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.file_offset))),
        Arc::new(bytes.finish()),
        texts(rows.iter().map(|row| &row.reason)),
        times(rows.iter().map(|row| row.ingested_at)),
        Arc::new(Int64Array::from_value(sequence, rows.len())),
    ];
    opened(Table::Quarantine, rows.first().map(|row| row.source.as_str()), columns)
}

/// One batch's rows of `gaps`, in the order given.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn gaps(rows: &[Gap], sequence: i64) -> Result<Encoded, LakeError> {
    let mut to = Int64Builder::new();
    rows.iter().for_each(|row| to.append_option(row.to_offset));
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| &row.source)),
        texts(rows.iter().map(|row| &row.file_id)),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.from_offset))),
        Arc::new(to.finish()),
        texts(rows.iter().map(|row| &row.reason)),
        times(rows.iter().map(|row| row.noticed_at)),
        Arc::new(Int64Array::from_value(sequence, rows.len())),
    ];
    opened(Table::Gaps, rows.first().map(|row| row.source.as_str()), columns)
}

/// What an export states, day by day.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn exports(rows: &[ExportDay], sequence: i64) -> Result<Encoded, LakeError> {
    let longs =
        |of: fn(&ExportDay) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| &row.source)),
        texts(rows.iter().map(|row| &row.file_id)),
        texts(rows.iter().map(|row| &row.path)),
        texts(rows.iter().map(|row| &row.day)),
        times(rows.iter().map(|row| row.first_event)),
        times(rows.iter().map(|row| row.last_event)),
        longs(|row| row.rows),
        longs(|row| row.stored),
        longs(|row| row.lacking),
        times(rows.iter().map(|row| row.read_at)),
        Arc::new(Int64Array::from_value(sequence, rows.len())),
    ];
    plain(Table::Exports, rows.first().map(|row| row.source.as_str()), columns)
}

/// Rows that an export lacks.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn lacking(rows: &[Lacking], sequence: i64) -> Result<Encoded, LakeError> {
    let columns: Vec<ArrayRef> = vec![
        texts(rows.iter().map(|row| &row.source)),
        texts(rows.iter().map(|row| &row.file_id)),
        texts(rows.iter().map(|row| &row.export_file_id)),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.file_offset))),
        times(rows.iter().map(|row| row.occurred_at)),
        times(rows.iter().map(|row| row.noticed_at)),
        Arc::new(Int64Array::from_value(sequence, rows.len())),
    ];
    plain(Table::Lacking, rows.first().map(|row| row.source.as_str()), columns)
}

fn plain(table: Table, source: Option<&str>, columns: Vec<ArrayRef>) -> Result<Encoded, LakeError> {
    let batch =
        RecordBatch::try_new(table.file_schema(), columns).map_err(|e| LakeError::encode(table, e))?;
    side_rows(table, source.unwrap_or_default(), batch)
}

/// New items, which are open.
fn opened(table: Table, source: Option<&str>, mut columns: Vec<ArrayRef>) -> Result<Encoded, LakeError> {
    let schema = table.file_schema();
    let rows = columns.first().map_or(0, |column| column.len());
    columns.push(Arc::new(StringArray::from(vec![side::OPEN; rows])));
    let rest = schema.fields().iter().skip(columns.len());
    let nothing: Vec<ArrayRef> = rest.map(|field| new_null_array(field.data_type(), rows)).collect();
    columns.extend(nothing);
    plain(table, source, columns)
}

/// Rows of a side table, all of one source, as one file.
///
/// # Errors
/// When Parquet refuses the rows.
pub(super) fn side_rows(table: Table, source: &str, rows: RecordBatch) -> Result<Encoded, LakeError> {
    let mut file = SideFile::new(table, source)?;
    file.write(&rows)?;
    file.finish()
}

/// A file of a side table in the making, all of one source.
pub(super) struct SideFile {
    writer: Writer,
    source: Bounds<String>,
    stats: FileStats,
}

impl SideFile {
    /// # Errors
    /// When Parquet refuses the columns.
    pub(super) fn new(table: Table, source: &str) -> Result<SideFile, LakeError> {
        let source = Bounds { min: Some(source.into()), max: Some(source.into()), nulls: Some(0) };
        let writer = Writer::new(table, &table.file_schema())?;
        Ok(SideFile { writer, stats: FileStats { source: source.clone(), ..FileStats::default() }, source })
    }

    /// # Errors
    /// When Parquet refuses the rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let sequences = self.writer.table.column(rows, "sequence")?.as_primitive::<Int64Type>();
        self.stats.absorb(FileStats {
            rows: rows.num_rows() as u64,
            source: self.source.clone(),
            sequence: bounds_of(sequences.values().iter().copied().map(Some)),
            ..FileStats::default()
        });
        self.writer.write(rows)
    }

    /// # Errors
    /// When Parquet refuses the rows.
    pub(super) fn finish(self) -> Result<Encoded, LakeError> {
        Ok(Encoded { table: self.writer.table, bytes: self.writer.finish()?, stats: self.stats })
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

struct Writer {
    table: Table,
    inner: ArrowWriter<Vec<u8>>,
}

impl Writer {
    fn new(table: Table, schema: &SchemaRef) -> Result<Writer, LakeError> {
        // Every reader of the lake knows the columns; Arrow's own copy of the schema would only make files longer.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table, schema))
            .with_skip_arrow_metadata(true);
        let inner = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)
            .map_err(|e| LakeError::encode(table, e))?;
        Ok(Writer { table, inner })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.inner.write(batch).map_err(|e| LakeError::encode(self.table, e))
    }

    fn finish(self) -> Result<Bytes, LakeError> {
        self.inner.into_inner().map(Bytes::from).map_err(|e| LakeError::encode(self.table, e))
    }
}

/// How files are written: fresh ones with zstd's fastest level, since compaction writes them anew.
fn properties(table: Table, schema: &SchemaRef) -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let has = |name: &&str| schema.column_with_name(name).is_some();
    let sort = table.sorted_by();
    let sorting = sort.iter().filter_map(|name| schema.index_of(name).ok()).map(|index| SortingColumn {
        column_idx: i32::try_from(index).unwrap_or_default(),
        descending: false,
        nulls_first: false,
    });
    let sorting: Vec<_> = sorting.collect();

    let zstd = Compression::ZSTD(ZstdLevel::default());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("insyn ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(zstd)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS / 4)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_sorting_columns((sorting.len() == sort.len()).then_some(sorting));
    for name in CHUNK_STATISTICS.iter().filter(|n| has(n)) {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::Chunk);
    }
    for name in page_statistics(table).iter().filter(|n| has(n)) {
        properties = properties.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    if matches!(table, Table::AccessEvents | Table::UserAccesses) {
        properties = properties.set_compression(Compression::UNCOMPRESSED);
        for name in COMPRESSED.iter().filter(|n| has(n)) {
            properties = properties.set_column_compression(column(name), zstd);
        }
    }
    for name in UNIQUE.iter().filter(|n| has(n)) {
        properties = properties.set_column_dictionary_enabled(column(name), false);
    }
    for name in RUNNING.iter().filter(|n| has(n)) {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}
