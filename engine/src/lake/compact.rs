//! Files are written anew in a better order: what is followed line by line would otherwise be read from thousands of
//! files.
//!
//! The rows stay as they are; only where they lie changes. A step of the plan ([`runs`]) reads sorted files beside one
//! another, writes them as one sorted sequence, looks that the same rows are in it, and commits the exchange only if
//! every file that it read is still live. A file that goes where no other has its subjects is not read: it gets another
//! name. A crash leaves at most files that no commit names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr, expressions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use deltalake::kernel::{Action, Add};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tokio::sync::mpsc;

use super::actions::{addition, removal, renamed, within};
use super::encode::{self, Encoded, SortedFile};
use super::error::LakeError;
use super::log::{Decision, TableLog};
use super::runs::{Bounds, Step, level_of, place};
use super::types::{LakeFile, Table};
use crate::failpoint::crash_at;
use crate::file;
use crate::worker::Worker;

/// Bytes that a step may hold while rows are brought in order.
const POOL: usize = 256 << 20;
/// Bytes of rows that are held of all files together, more or less.
const HELD: u64 = 24 << 20;
/// A row is so much longer than what it takes in a file, or less.
const PACKED: u64 = 24;

/// Subjects that are looked at together, and of which one is taken, where a step parts by subject.
const SAMPLED: usize = 8192;
const ONE_OF: usize = 32;

/// Who brings rows together, each one step after the other.
pub(super) static MERGERS: [Worker; 2] =
    [Worker::giving_way("insyn-merge"), Worker::giving_way("insyn-merge-2")];

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// In which table.
    pub table: Table,
    /// Whether `user_accesses` followed, and got rows that it had not.
    pub follows: bool,
    /// Files that are live no more, relative to the lake, with their bytes; pinned readers may still read them.
    pub replaced: Vec<(String, u64)>,
    /// Files that have their rows now.
    pub files: usize,
    /// Rows that they have.
    pub rows: u64,
}

impl Merged {
    /// Two steps as one.
    pub(super) fn and(mut self, other: Merged) -> Merged {
        self.replaced.extend(other.replaced);
        Merged { files: self.files + other.files, rows: self.rows + other.rows, ..self }
    }
}

/// Does this step, unless what it rests on has changed.
pub(super) async fn exchange(
    log: &TableLog,
    step: &Step,
    bounds: &Bounds,
    merger: &Worker,
) -> Result<Option<Merged>, LakeError> {
    let mut adds = Vec::new();
    crash_at("before-merged-put");
    let done = match step.moved() {
        Some(file) => rename(log, step, file, &mut adds).await,
        None => rewrite(log, step, bounds.file, merger, &mut adds).await,
    };
    if let Err(error) = done {
        forget(log, &adds).await;
        return Err(error);
    }
    replace(log, &step.inputs, adds).await
}

/// Commits that files which were put have the rows of `inputs`, unless one of these is live no more.
pub(super) async fn replace(
    log: &TableLog,
    inputs: &[Arc<LakeFile>],
    adds: Vec<Add>,
) -> Result<Option<Merged>, LakeError> {
    crash_at("after-merged-put");
    let mut exchanged = false;
    let outcome = log
        .transact(|state| {
            let live = |file: &Arc<LakeFile>| state.files.iter().any(|known| known.path == file.path);
            exchanged = inputs.iter().all(live);
            if !exchanged {
                return Ok(Decision::Nothing);
            }
            let gone = inputs.iter().map(|file| removal(log.table, file, false));
            Ok(Decision::Commit(gone.chain(adds.iter().cloned().map(Action::Add)).collect()))
        })
        .await;
    match outcome {
        Ok(_) if exchanged => {
            crash_at("after-merged-commit");
            Ok(Some(Merged {
                table: log.table,
                follows: false,
                replaced: inputs.iter().map(|file| (file.path.clone(), file.size)).collect(),
                files: adds.len(),
                rows: inputs.iter().map(|file| file.rows).sum(),
            }))
        }
        Ok(_) => {
            forget(log, &adds).await;
            Ok(None)
        }
        // The entry may have become durable: the files stay, and are swept one day if it did not.
        Err(error) => Err(error),
    }
}

async fn forget(log: &TableLog, adds: &[Add]) {
    for add in adds {
        log.forget_file(&add.path).await;
    }
}

/// A file that meets nothing where it goes only gets another name: the bytes stay as they are.
async fn rename(log: &TableLog, step: &Step, file: &LakeFile, adds: &mut Vec<Add>) -> Result<(), LakeError> {
    let add = Add { data_change: false, ..renamed(log.table, step.path(), file) };
    adds.push(add.clone());
    log.link_file(within(log.table, &file.path), &add.path).await
}

/// Puts the files that have the rows of the step's inputs; `adds` names them. One is written while another is put.
async fn rewrite(
    log: &TableLog,
    step: &Step,
    most: u64,
    merger: &Worker,
    adds: &mut Vec<Add>,
) -> Result<(), LakeError> {
    let (give, mut taken) = mpsc::channel(1);
    let runtime = tokio::runtime::Handle::current();
    let (table, store, written) = (log.table, log.store(), step.clone());
    let writing = merger.run(move || runtime.block_on(merge_sorted(table, store, written, most, give)));
    let putting = async move {
        while let Some(encoded) = taken.recv().await {
            let add = Add { data_change: false, ..addition(step.path(), Some(step.year.clone()), &encoded) };
            adds.push(add.clone());
            log.put_file(&add.path, encoded.bytes).await?;
        }
        Ok(())
    };
    let (written, put) = tokio::join!(writing, putting);
    put.and(written.map_err(|e| LakeError::encode(log.table, e))?)
}

/// Reads the inputs in order and gives one file after the other, proved to hold the same rows.
async fn merge_sorted(
    table: Table,
    store: Arc<dyn ObjectStore>,
    mut step: Step,
    most: u64,
    give: mpsc::Sender<Encoded>,
) -> Result<(), LakeError> {
    let fault = |e: DataFusionError| LakeError::encode(table, crate::error::plain(&e));
    let read = Arc::new(Names::default());
    if let Some(parting) = step.parting.filter(|_| step.begins.is_empty()) {
        step.begins = quantiles(table, &store, &step.inputs, parting.ranges).await.map_err(fault)?;
    }
    let written = Names::default();
    let give = async |encoded: Encoded| -> Result<(), LakeError> {
        for batch in self::read(table, encoded.bytes.clone(), Some(&["segment", "seq"]))? {
            written.count(table, &batch)?;
        }
        // Nobody takes it when putting has failed, which is told there.
        let _ = give.send(encoded).await;
        Ok(())
    };
    if is_little(&step) {
        give(encode::merged(table, &held(table, store, &step, &read).await?)?).await?;
    } else {
        let mut rows = sorted(table, store, &step, &read).map_err(fault)?;
        let mut file = SortedFile::new(table)?;
        let mut piece = 0;
        while let Some(batch) = rows.try_next().await.map_err(fault)? {
            for (of, part) in pieces(table, &step, &batch)? {
                let is_full = step.is_parted() && file.size() >= most;
                if (of != piece || is_full) && file.rows() > 0 {
                    give(std::mem::replace(&mut file, SortedFile::new(table)?).finish()?).await?;
                }
                piece = of;
                file.write(&part)?;
            }
        }
        if file.rows() > 0 {
            give(file.finish()?).await?;
        }
    }
    let (before, after) = (read.sum(), written.sum());
    if before != after {
        let what = format!("merging gave {} rows, expected the {} that were read", after.0, before.0);
        return Err(LakeError::encode(table, what));
    }
    Ok(())
}

/// Whether all rows can be held at once: then hundreds of files need not be read beside one another, a few rows at a time.
fn is_little(step: &Step) -> bool {
    let bytes: u64 = step.inputs.iter().map(|file| file.size).sum();
    !step.is_parted() && bytes * PACKED <= 2 * HELD
}

/// All rows of the step's inputs.
async fn held(
    table: Table,
    store: Arc<dyn ObjectStore>,
    step: &Step,
    read: &Names,
) -> Result<Vec<RecordBatch>, LakeError> {
    let fault = |e: DataFusionError| LakeError::encode(table, crate::error::plain(&e));
    let mut held = Vec::new();
    for input in &step.inputs {
        let (path, schema) = (within(table, &input.path), table.file_schema());
        let rows = file::batches(Arc::clone(&store), path, input.size, schema, None, SAMPLED).await;
        let mut rows = rows.map_err(fault)?;
        while let Some(batch) = rows.try_next().await.map_err(fault)? {
            read.count(table, &batch)?;
            held.push(batch);
        }
    }
    Ok(held)
}

/// Parts of a batch that belong into files of their own: those between the subjects (or users) at which files begin, and
/// the rows without one.
fn pieces(table: Table, step: &Step, batch: &RecordBatch) -> Result<Vec<(usize, RecordBatch)>, LakeError> {
    if !step.is_parted() {
        return Ok(vec![(0, batch.clone())]);
    }
    let keys = table.column(batch, table.sorted_by()[0])?.as_string::<i32>();
    let piece_of = |row: usize| match keys.is_null(row) {
        true => step.begins.len() + 1,
        false => step.begins.partition_point(|begin| begin.as_str() <= keys.value(row)),
    };
    let mut parts = Vec::new();
    let mut from = 0;
    while from < batch.num_rows() {
        let piece = piece_of(from);
        let (mut to, mut end) = (from + 1, batch.num_rows());
        while to < end {
            let middle = to.midpoint(end);
            if piece_of(middle) == piece { to = middle + 1 } else { end = middle }
        }
        parts.push((piece, batch.slice(from, to - from)));
        from = to;
    }
    Ok(parts)
}

/// Subjects (or users) that part these files' rows into so many ranges of about the same size.
async fn quantiles(
    table: Table,
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<LakeFile>],
    ranges: usize,
) -> Result<Vec<String>, DataFusionError> {
    let mut sample = Vec::new();
    for file in files {
        let (path, schema) = (within(table, &file.path), table.file_schema());
        let only = &table.sorted_by()[..1];
        let mut rows = file::batches(Arc::clone(store), path, file.size, schema, Some(only), SAMPLED).await?;
        while let Some(batch) = rows.try_next().await? {
            let keys = batch.column(0).as_string::<i32>();
            sample.extend(keys.iter().flatten().step_by(ONE_OF).map(str::to_owned));
        }
    }
    sample.sort_unstable();
    let each = sample.len().div_ceil(ranges).max(1);
    let mut begins: Vec<String> = sample.into_iter().step_by(each).skip(1).collect();
    begins.dedup();
    Ok(begins)
}

/// All rows of the step's inputs, in order.
fn sorted(
    table: Table,
    store: Arc<dyn ObjectStore>,
    step: &Step,
    read: &Arc<Names>,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    static MEMORY: LazyLock<Arc<dyn MemoryPool>> = LazyLock::new(|| Arc::new(GreedyMemoryPool::new(POOL)));
    let schema = table.file_schema();
    let sequences = sequences(&step.inputs);
    let longest = step.inputs.iter().map(|file| file.size / file.rows.max(1)).max().unwrap_or_default();
    let rows = HELD / (longest.max(16) * PACKED * sequences.len() as u64);
    let rows = usize::try_from(rows).unwrap_or_default().clamp(16, 4096);
    let streams = sequences.into_iter().map(|files| -> SendableRecordBatchStream {
        let (store, read) = (Arc::clone(&store), Arc::clone(read));
        let of = Arc::clone(&schema);
        let open = move |file: Arc<LakeFile>| {
            let (store, of) = (Arc::clone(&store), Arc::clone(&of));
            async move {
                let path = within(table, &file.path);
                file::in_slices(store, path, file.size, of, rows).await
            }
        };
        let batches = stream::iter(files).then(open).try_flatten();
        let counted = batches.map(move |batch| {
            let batch = batch?;
            read.count(table, &batch).map_err(|e| DataFusionError::External(Box::new(e)))?;
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), counted))
    });
    let options = SortOptions { descending: false, nulls_first: false };
    let by = table
        .sorted_by()
        .iter()
        .chain(&["segment", "seq"])
        .map(|name| Ok(PhysicalSortExpr { expr: expressions::col(name, &schema)?, options }));
    let by = LexOrdering::new(by.collect::<Result<Vec<_>, DataFusionError>>()?);
    let by = by.ok_or_else(|| DataFusionError::Internal("nothing to sort by".into()))?;
    StreamingMergeBuilder::new()
        .with_streams(streams.collect())
        .with_schema(Arc::clone(&schema))
        .with_expressions(&by)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(rows)
        .with_reservation(MemoryConsumer::new("merge").register(&MEMORY))
        .build()
}

/// Files whose rows are in order one after the other: each fresh one for itself, and each run.
fn sequences(inputs: &[Arc<LakeFile>]) -> Vec<Vec<Arc<LakeFile>>> {
    let (fresh, of_runs): (Vec<_>, Vec<_>) = inputs.iter().cloned().partition(|f| level_of(&f.path) == 0);
    let mut runs: BTreeMap<usize, Vec<Arc<LakeFile>>> = BTreeMap::new();
    for file in of_runs {
        runs.entry(level_of(&file.path)).or_default().push(file);
    }
    runs.values_mut().for_each(|run| run.sort_by_cached_key(|file| place(file)));
    fresh.into_iter().map(|file| vec![file]).chain(runs.into_values()).collect()
}

/// The rows of a file, or a few columns of them.
///
/// # Errors
/// When it is no file of that table.
pub(super) fn read(table: Table, bytes: Bytes, only: Option<&[&str]>) -> Result<Vec<RecordBatch>, LakeError> {
    let batches = reader(table, bytes, only)?;
    batches.collect::<Result<_, _>>().map_err(|e| LakeError::encode(table, e))
}

/// The same, batch by batch.
pub(super) fn reader(
    table: Table,
    bytes: Bytes,
    only: Option<&[&str]>,
) -> Result<ParquetRecordBatchReader, LakeError> {
    let fault = |e: parquet::errors::ParquetError| LakeError::encode(table, e);
    file::in_memory(bytes, table.file_schema(), only).and_then(|builder| builder.build()).map_err(fault)
}

/// How many rows, and a sum over which they are: `segment` and `seq` name a row in the whole lake.
#[derive(Debug, Default)]
pub(super) struct Names {
    rows: AtomicU64,
    sum: AtomicU64,
}

impl Names {
    pub(super) fn count(&self, table: Table, batch: &RecordBatch) -> Result<(), LakeError> {
        let (segments, seqs) = (table.column(batch, "segment")?, table.column(batch, "seq")?);
        let (segments, seqs) = (segments.as_primitive::<Int64Type>(), seqs.as_primitive::<Int32Type>());
        let names = segments.values().iter().zip(seqs.values());
        let sum =
            names.fold(0u64, |sum, (segment, seq)| sum.wrapping_add(mixed(*segment as u64, *seq as u64)));
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.sum.fetch_add(sum, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn sum(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.sum.load(Ordering::Relaxed))
    }
}

/// Two numbers into one that shows it when either is another (SplitMix64's last steps).
fn mixed(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x632b_e59b_d9b4_e019);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
