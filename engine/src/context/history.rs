//! What a load changes: each row carries since when it is known, and rows that are no longer there are kept beside.
//!
//! A table that is loaded every hour is so kept once, with what was ever different of it. Two rows are the same when all
//! their columns are; of equal rows as many stay as both loads have.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::manifest::GoneFile;
use super::tables::{Before, ContextTable};

/// The load that first had the row in one stretch, µs UTC.
pub(crate) const KNOWN_FROM: &str = "known_from";
/// Whether the row holds before that too, where it states no period.
pub(crate) const COUNTS_BEFORE: &str = "counts_before";
/// The load that had it no longer, µs UTC.
pub(crate) const KNOWN_TO: &str = "known_to";

/// Rows that are worked on at once.
const AT_A_TIME: usize = 65_536;
/// Files of rows that are gone are not merged beyond this.
const MOST_IN_FILE: u64 = 4_000_000;

/// Why rows cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

/// The table's columns with those that say since when a row is known.
pub(crate) fn kept_schema(table: &ContextTable) -> SchemaRef {
    with(table, &[time(KNOWN_FROM), Field::new(COUNTS_BEFORE, DataType::Boolean, true)])
}

/// The same, and until when.
pub(crate) fn gone_schema(table: &ContextTable) -> SchemaRef {
    with(table, &[time(KNOWN_FROM), Field::new(COUNTS_BEFORE, DataType::Boolean, true), time(KNOWN_TO)])
}

fn with(table: &ContextTable, more: &[Field]) -> SchemaRef {
    let fields = table.schema().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    Arc::new(Schema::new([&fields, more].concat()))
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

/// What is known of a table before a load of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The table as the load before has it; none where that has it not.
    pub(super) now: Option<Bytes>,
    /// Since when its rows are known that do not say so, µs UTC.
    pub(super) since: i64,
    /// Whether that load is of a version that kept each load whole: then it is written anew.
    pub(super) is_older: bool,
    /// The files of rows that are gone.
    pub(super) gone: Vec<Bytes>,
    /// Whether any load had the table.
    pub(super) ever: bool,
}

/// The rows of the load before, of which each is found at most once.
pub(super) struct Earlier {
    table: &'static ContextTable,
    known: Known,
    /// When the load is made, µs UTC.
    at: i64,
    rows: Hashes,
    /// Each row's hash and number, sorted.
    index: Vec<(u128, u32)>,
    /// Of each first row of equal ones in the index, how many have been found.
    taken: Vec<u32>,
    found: Vec<bool>,
    known_from: Vec<i64>,
    counts_before: Vec<bool>,
    keys: Option<(Hashes, HashSet<u64>)>,
    /// Rows that the load before had not.
    pub(super) fresh: u64,
}

impl Earlier {
    pub(super) fn read(table: &'static ContextTable, known: Known, at: i64) -> Result<Earlier, Fault> {
        let schema = table.schema();
        let keys = match table.before {
            Before::FirstOf(names) if known.ever => {
                let columns =
                    names.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
                Some((Hashes::of(&schema, columns)?, HashSet::new()))
            }
            _ => None,
        };
        let rows = Hashes::of(&schema, (0..schema.fields().len()).collect())?;
        let mut earlier = Earlier {
            table,
            known: Known::default(),
            at,
            rows,
            index: Vec::new(),
            taken: Vec::new(),
            found: Vec::new(),
            known_from: Vec::new(),
            counts_before: Vec::new(),
            keys,
            fresh: 0,
        };
        for batch in known.now.iter().cloned().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
        {
            earlier.add(&conform(&batch?, &kept_schema(table))?, known.since)?;
        }
        for gone in &known.gone {
            for batch in read(gone.clone())? {
                earlier.add_keys(&conform(&batch?, &schema)?)?;
            }
        }
        earlier.index.sort_unstable();
        earlier.taken = vec![0; earlier.index.len()];
        earlier.found = vec![false; earlier.index.len()];
        earlier.known = known;
        Ok(earlier)
    }

    fn add(&mut self, batch: &RecordBatch, since: i64) -> Result<(), Fault> {
        let first = self.known_from.len();
        let hashes = self.rows.whole(batch)?;
        self.index.extend(hashes.enumerate().map(|(n, hash)| (hash, (first + n) as u32)));
        let width = self.table.columns.len();
        let known_from = batch.column(width).as_primitive::<TimestampMicrosecondType>();
        let counts = batch.column(width + 1).as_boolean();
        self.known_from.extend(known_from.iter().map(|at| at.unwrap_or(since)));
        self.counts_before.extend(counts.iter().map(|counts| counts.unwrap_or(true)));
        self.add_keys(batch)
    }

    fn add_keys(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        if let Some((hashes, keys)) = &mut self.keys {
            keys.extend(hashes.short(batch)?);
        }
        Ok(())
    }

    /// The rows with since when they are known.
    pub(super) fn dated(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let hashes: Vec<u128> = self.rows.whole(batch)?.collect();
        let keys: Option<Vec<bool>> = match &self.keys {
            Some((hashes, keys)) => {
                Some(hashes.short(batch)?.into_iter().map(|key| keys.contains(&key)).collect())
            }
            None => None,
        };
        let mut known_from = Vec::with_capacity(hashes.len());
        let mut counts = Vec::with_capacity(hashes.len());
        for (n, hash) in hashes.into_iter().enumerate() {
            match self.take(hash) {
                Some(row) => {
                    known_from.push(self.known_from[row]);
                    counts.push(self.counts_before[row]);
                }
                None => {
                    self.fresh += 1;
                    known_from.push(self.at);
                    counts.push(!self.known.ever || self.is_first(keys.as_deref(), n));
                }
            }
        }
        let known_from = TimestampMicrosecondArray::from(known_from).with_timezone("UTC");
        let more: [ArrayRef; 2] = [Arc::new(known_from), Arc::new(BooleanArray::from(counts))];
        let columns = batch.columns().iter().cloned().chain(more).collect();
        Ok(RecordBatch::try_new(kept_schema(self.table), columns)?)
    }

    /// Whether a row that no load had before holds before it all the same.
    fn is_first(&self, keys: Option<&[bool]>, row: usize) -> bool {
        match self.table.before {
            Before::All => true,
            Before::Nothing => false,
            Before::FirstOf(_) => keys.is_some_and(|known| !known[row]),
        }
    }

    /// The next of the equal rows that has not been found yet.
    fn take(&mut self, hash: u128) -> Option<usize> {
        let first = self.index.partition_point(|(known, _)| *known < hash);
        let at = first + *self.taken.get(first)? as usize;
        let (known, row) = *self.index.get(at)?;
        if known != hash {
            return None;
        }
        self.taken[first] += 1;
        self.found[row as usize] = true;
        Some(row as usize)
    }

    /// Whether every row of the load before was found, and nothing else was.
    pub(super) fn is_same(&self) -> bool {
        self.known.now.is_some()
            && !self.known.is_older
            && self.fresh == 0
            && self.found.iter().all(|found| *found)
    }

    /// The rows that were not found, as a file; none where there are none.
    pub(super) fn rest(self) -> Result<Option<Gone>, Fault> {
        let rows = self.found.iter().filter(|found| !**found).count() as u64;
        let Some(now) = self.known.now.filter(|_| rows > 0) else { return Ok(None) };
        let schema = gone_schema(self.table);
        let mut writer = writer(&schema)?;
        let mut from = 0;
        for batch in read(now)? {
            let batch = conform(&batch?, &kept_schema(self.table))?;
            let to = from + batch.num_rows();
            let known =
                TimestampMicrosecondArray::from(self.known_from[from..to].to_vec()).with_timezone("UTC");
            let until = TimestampMicrosecondArray::from(vec![self.at; batch.num_rows()]).with_timezone("UTC");
            let counts = BooleanArray::from(self.counts_before[from..to].to_vec());
            let mut columns = batch.columns()[..self.table.columns.len()].to_vec();
            columns.extend([Arc::new(known) as ArrayRef, Arc::new(counts), Arc::new(until)]);
            let stays: BooleanArray = self.found[from..to].iter().map(|found| Some(!found)).collect();
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            writer.write(&filter_record_batch(&batch, &stays)?)?;
            from = to;
        }
        Ok(Some(Gone { bytes: writer.into_inner()?, rows, first: self.at, last: self.at }))
    }
}

/// A file of rows that are gone, on its way to the lake.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    /// When the first and the last of them were gone, µs UTC.
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Gone {
    /// Whether it and the file before it had better be one: so there are few, and no row is written again often.
    pub(super) fn joins(&self, before: &GoneFile) -> bool {
        self.rows.saturating_mul(2) >= before.rows && self.rows + before.rows <= MOST_IN_FILE
    }

    /// The rows of the file before, and then these.
    pub(super) fn join(self, table: &ContextTable, before: &GoneFile, bytes: Bytes) -> Result<Gone, Fault> {
        let mut both = writer(&gone_schema(table))?;
        for file in [bytes, self.bytes.into()] {
            for batch in read(file)? {
                both.write(&conform(&batch?, &gone_schema(table))?)?;
            }
        }
        Ok(Gone {
            bytes: both.into_inner()?,
            rows: before.rows + self.rows,
            first: before.first.min(self.first),
            last: before.last.max(self.last),
        })
    }
}

/// The rows of a file that were still there at `before` (µs UTC); none where there are none.
pub(super) fn since(table: &ContextTable, bytes: Bytes, before: i64) -> Result<Option<Gone>, Fault> {
    let mut left = writer(&gone_schema(table))?;
    let (mut rows, mut first, mut last) = (0, i64::MAX, i64::MIN);
    for batch in read(bytes)? {
        let batch = conform(&batch?, &gone_schema(table))?;
        let until = batch.column(batch.num_columns() - 1).as_primitive::<TimestampMicrosecondType>();
        let stays: BooleanArray = until.iter().map(|at| Some(at.is_none_or(|at| at >= before))).collect();
        for at in until.iter().flatten().filter(|at| *at >= before) {
            (first, last) = (first.min(at), last.max(at));
        }
        let batch = filter_record_batch(&batch, &stays)?;
        rows += batch.num_rows() as u64;
        left.write(&batch)?;
    }
    let bytes = left.into_inner()?;
    Ok((rows > 0).then_some(Gone { bytes, rows, first, last }))
}

/// Row by row, what tells one from another.
struct Hashes {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Hashes {
    fn of(schema: &Schema, columns: Vec<usize>) -> Result<Hashes, ArrowError> {
        let fields = columns.iter().map(|i| SortField::new(schema.field(*i).data_type().clone()));
        Ok(Hashes { converter: RowConverter::new(fields.collect())?, columns })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<arrow::row::Rows, ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|i| Arc::clone(batch.column(*i))).collect();
        self.converter.convert_columns(&columns)
    }

    /// 128 bits: among any number of rows two different ones are not taken for equal.
    fn whole(&self, batch: &RecordBatch) -> Result<std::vec::IntoIter<u128>, ArrowError> {
        let rows = self.rows(batch)?;
        let hashes = rows.iter().map(|row| {
            let (one, other) = (hash(0, row.as_ref()), hash(1, row.as_ref()));
            u128::from(one) << 64 | u128::from(other)
        });
        Ok(hashes.collect::<Vec<_>>().into_iter())
    }

    fn short(&self, batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
        Ok(self.rows(batch)?.iter().map(|row| hash(0, row.as_ref())).collect())
    }
}

/// The same within one process, and nowhere kept.
pub(super) fn hash(salt: u8, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(salt);
    hasher.write(bytes);
    hasher.finish()
}

/// The rows of a Parquet file in memory.
pub(super) fn read(
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>>, ParquetError> {
    ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(AT_A_TIME).build()
}

pub(super) fn writer(schema: &SchemaRef) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(Default::default()))
        .set_max_row_group_row_count(Some(131_072))
        .build();
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))
}

/// The columns of `schema` out of a batch that may lack some, as one of an older version does.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}
