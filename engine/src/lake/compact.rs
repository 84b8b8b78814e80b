//! Many small files become one: what is followed line by line would otherwise be read from thousands of files.
//!
//! The rows stay as they are; only where they lie changes. A merge reads files of one year, writes one in the order that
//! every file has, looks that the same rows are in it, and commits the exchange only if every file that it read is still
//! live. A crash leaves at most a file that no commit names.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use deltalake::kernel::{Action, Add};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::actions::{addition, removal, within};
use super::encode::{self, Encoded};
use super::error::LakeError;
use super::log::{Decision, TableLog};
use super::types::{LakeFile, Table};
use crate::failpoint::crash_at;
use crate::worker::Worker;

/// A file that is smaller is merged with others.
const SMALL: u64 = 8 << 20;
/// So many small files of a year are left alone.
pub(super) const LEFT_ALONE: usize = 64;
/// One merge reads so many bytes at most, as they lie packed: their rows are held in memory.
const MOST_BYTES: u64 = 12 << 20;
/// And so many rows.
const MOST_ROWS: u64 = 150_000;

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Files that are live no more, relative to the lake; pinned readers may still read them.
    pub replaced: Vec<String>,
    /// Rows that they had, and the one file has.
    pub rows: u64,
}

/// Whether a merge would find enough to do.
pub(super) fn is_due(files: &[Arc<LakeFile>]) -> bool {
    small_by_year(files).values().any(|small| small.len() > LEFT_ALONE)
}

/// Merges small files of one year, if there are enough; `least` says how many are enough.
pub(super) async fn merge(log: &TableLog, least: usize) -> Result<Option<Merged>, LakeError> {
    let state = log.current().await?;
    let chosen = small_by_year(&state.files).into_iter().find_map(|(year, small)| {
        let chosen = choose(small);
        (chosen.len() > least.max(1)).then_some((year, chosen))
    });
    let Some((year, chosen)) = chosen else { return Ok(None) };
    let mut packed = Vec::with_capacity(chosen.len());
    for file in &chosen {
        packed.push(log.read_file(within(log.table, &file.path)).await?);
    }
    static MERGER: Worker = Worker::named("insyn-merge");
    let encoded =
        MERGER.run(move || one_file(packed)).await.map_err(|e| LakeError::encode(log.table, e))??;
    let rows = encoded.stats.rows;
    let path = merged_path(&year);
    let add = Add { data_change: false, ..addition(path.clone(), Some(year), &encoded) };
    crash_at("before-merged-put");
    log.put_file(&path, encoded.bytes).await?;
    crash_at("after-merged-put");
    let mut exchanged = false;
    let outcome = log
        .transact(|state| {
            let live = |file: &Arc<LakeFile>| state.files.iter().any(|known| known.path == file.path);
            exchanged = chosen.iter().all(live);
            if !exchanged {
                return Ok(Decision::Nothing);
            }
            let mut actions: Vec<Action> =
                chosen.iter().map(|file| removal(log.table, file, false)).collect();
            actions.push(Action::Add(add.clone()));
            Ok(Decision::Commit(actions))
        })
        .await;
    match outcome {
        Ok(_) if exchanged => {
            crash_at("after-merged-commit");
            Ok(Some(Merged { replaced: chosen.iter().map(|file| file.path.clone()).collect(), rows }))
        }
        Ok(_) => {
            log.forget_file(&path).await;
            Ok(None)
        }
        // The entry may have become durable: the file stays, and is swept one day if it did not.
        Err(error) => Err(error),
    }
}

/// What a file of rows of several segments is called, relative to its table.
pub(super) fn merged_path(year: &str) -> String {
    format!("year={year}/merged-{}.parquet", uuid::Uuid::new_v4().simple())
}

fn small_by_year(files: &[Arc<LakeFile>]) -> BTreeMap<String, Vec<Arc<LakeFile>>> {
    let mut years: BTreeMap<String, Vec<Arc<LakeFile>>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.size < SMALL) {
        if let Some(year) = &file.year {
            years.entry(year.clone()).or_default().push(Arc::clone(file));
        }
    }
    years
}

/// The smallest first, as many as one merge may hold.
fn choose(mut small: Vec<Arc<LakeFile>>) -> Vec<Arc<LakeFile>> {
    small.sort_by(|a, b| (a.size, &a.path).cmp(&(b.size, &b.path)));
    let (mut bytes, mut rows) = (0, 0);
    small.retain(|file| {
        bytes += file.size;
        rows += file.rows;
        bytes <= MOST_BYTES && rows <= MOST_ROWS
    });
    small
}

/// One file of all rows, proved to hold the same ones.
fn one_file(packed: Vec<Bytes>) -> Result<Encoded, LakeError> {
    let table = Table::AccessEvents;
    let mut batches = Vec::new();
    for bytes in packed {
        batches.extend(read(bytes, None)?);
    }
    let before = fingerprint(&batches)?;
    let encoded = encode::merged(&batches)?;
    let after = fingerprint(&read(encoded.bytes.clone(), Some(&["segment", "seq"]))?)?;
    if before != after {
        let what = format!("merging gave {} rows, expected the {} that were read", after.0, before.0);
        return Err(LakeError::encode(table, what));
    }
    Ok(encoded)
}

pub(super) fn read(bytes: Bytes, only: Option<&[&str]>) -> Result<Vec<RecordBatch>, LakeError> {
    let table = Table::AccessEvents;
    let fault = |e: parquet::errors::ParquetError| LakeError::encode(table, e);
    let options = ArrowReaderOptions::new().with_schema(table.file_schema());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(fault)?;
    if let Some(columns) = only {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let reader = builder.build().map_err(fault)?;
    reader.collect::<Result<_, _>>().map_err(|e| LakeError::encode(table, e))
}

/// How many rows, and a sum over which they are: `segment` and `seq` name a row in the whole lake.
fn fingerprint(batches: &[RecordBatch]) -> Result<(u64, u64), LakeError> {
    let table = Table::AccessEvents;
    let (mut rows, mut sum) = (0u64, 0u64);
    for batch in batches {
        let (segments, seqs) = (table.column(batch, "segment")?, table.column(batch, "seq")?);
        let (segments, seqs) = (segments.as_primitive::<Int64Type>(), seqs.as_primitive::<Int32Type>());
        for (segment, seq) in segments.values().iter().zip(seqs.values()) {
            rows += 1;
            sum = sum.wrapping_add(mixed(*segment as u64, *seq as u64));
        }
    }
    Ok((rows, sum))
}

/// Two numbers into one that shows it when either is another (SplitMix64's last steps).
fn mixed(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x632b_e59b_d9b4_e019);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
