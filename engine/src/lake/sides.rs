//! Small files of the side tables become larger ones: of a source that has an item in every commit there would be as many
//! files as commits.
//!
//! The rows stay as they are and in their order. Only files are taken whose rows count whatever comes: those of the
//! source's last batch and last amendment are told apart by name, and stay. A crash leaves a file that no commit names.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use deltalake::kernel::Add;

use super::Inner;
use super::actions::{addition, within};
use super::compact::{MERGERS, replace};
use super::encode::{Encoded, SideFile};
use super::error::LakeError;
use super::log::TableState;
use super::runs::Zeal;
use super::side;
use super::source::{is_merged, is_settled, merged_file};
use super::types::{LakeFile, Table};
use super::upkeep::Next;
use crate::failpoint::crash_at;

/// How many files of one source a side table may have, and how large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// A file that has fewer bytes is merged with others.
    pub small: u64,
    /// So many small ones are left alone while more is coming.
    pub left_alone: usize,
    /// So many that came last are left alone in any case: an attempt that somebody else was quicker than is still to be
    /// taken back.
    pub newest: usize,
    /// Bytes of small files that are merged at once: of two of them at least.
    pub at_once: u64,
}

pub(super) const BOUNDS: Bounds = Bounds { small: 4 << 20, left_alone: 64, newest: 8, at_once: 16 << 20 };

impl Inner {
    /// Whether a side table may have more files than its sources should. Nothing is read for it.
    pub(super) async fn items_are_due(&self, events: &TableState) -> Result<bool, LakeError> {
        let bounds = &self.upkeep.items;
        let many = (bounds.left_alone + bounds.newest) * events.sources.len().max(1);
        for table in Table::SIDES {
            let state = self.tables.of(table).held().await?;
            if state.files.len() > many && next(&state.files, events, bounds, Zeal::WhenDue).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Does the next step for a side table. Whoever calls has the lake's maintenance: nobody amends meanwhile.
    pub(super) async fn merge_items(&self, zeal: Zeal) -> Result<Next, LakeError> {
        for table in Table::SIDES {
            let log = self.tables.of(table);
            // In this order: what an attempt left that does not count is gone before a later batch counts.
            let events = self.events().current().await?;
            let state = log.current().await?;
            let Some(inputs) = next(&state.files, &events, &self.upkeep.items, zeal) else { continue };
            let source = inputs.first().and_then(|file| file.source.clone()).unwrap_or_default();
            let mut files = Vec::new();
            for file in &inputs {
                files.push(log.read_file(within(table, &file.path)).await?);
            }
            crash_at("before-merged-put");
            let merging = MERGERS[0].run(move || merged(table, &source, files)).await;
            let encoded = merging.map_err(|e| LakeError::encode(table, e))??;
            let add = Add { data_change: false, ..addition(merged_file(), None, &encoded) };
            log.put_file(&add.path, encoded.bytes).await?;
            if let Some(merged) = replace(log, &inputs, vec![add]).await? {
                self.replaced(merged.replaced.iter().cloned());
                return Ok(Next::Did(merged));
            }
        }
        Ok(Next::Nothing)
    }
}

/// Files of one source that become one, in the order of the log; none where there are few enough.
fn next(
    files: &[Arc<LakeFile>],
    events: &TableState,
    bounds: &Bounds,
    zeal: Zeal,
) -> Option<Vec<Arc<LakeFile>>> {
    let mut sources: BTreeMap<&str, Vec<(usize, &Arc<LakeFile>)>> = BTreeMap::new();
    for (place, file) in files.iter().enumerate() {
        sources.entry(file.source.as_deref().unwrap_or_default()).or_default().push((place, file));
    }
    let left_alone = if zeal == Zeal::All { 1 } else { bounds.left_alone };
    sources.into_values().find_map(|mut of| {
        let written = of.iter().filter(|(_, file)| !is_merged(&file.path)).count();
        let mut to_come = written.saturating_sub(bounds.newest);
        of.retain(|(_, file)| {
            let is_early = is_merged(&file.path) || to_come > 0;
            to_come = to_come.saturating_sub(usize::from(!is_merged(&file.path)));
            is_early && file.size < bounds.small && is_settled(file, events)
        });
        if of.len() <= left_alone {
            return None;
        }
        // The smallest first: a row is written anew only with about as many others as it lies with already.
        of.sort_by_key(|(place, file)| (file.size, *place));
        let mut bytes = 0;
        let most = bounds.left_alone.max(2);
        let taken = of.iter().enumerate().take(most).take_while(|(n, (_, file))| {
            bytes += file.size;
            *n < 2 || bytes <= bounds.at_once
        });
        let mut taken: Vec<_> = taken.map(|(_, one)| *one).collect();
        taken.sort_by_key(|(place, _)| *place);
        Some(taken.into_iter().map(|(_, file)| Arc::clone(file)).collect())
    })
}

/// The rows of all files as one, proved to be the same.
fn merged(table: Table, source: &str, files: Vec<Bytes>) -> Result<Encoded, LakeError> {
    let (mut read, mut written) = (Rows::of(table)?, Rows::of(table)?);
    let mut file = SideFile::new(table, source)?;
    for bytes in files {
        for rows in side::batches(table, bytes)? {
            let rows = rows?;
            read.take(&rows)?;
            file.write(&rows)?;
        }
    }
    let encoded = file.finish()?;
    for rows in side::batches(table, encoded.bytes.clone())? {
        written.take(&rows?)?;
    }
    if read.sum() != written.sum() {
        let what = format!("merging gave {} rows, expected the {} that were read", written.count, read.count);
        return Err(LakeError::encode(table, what));
    }
    Ok(encoded)
}

/// How many rows, and a sum over every value of them in their order.
struct Rows {
    table: Table,
    converter: RowConverter,
    hasher: DefaultHasher,
    count: u64,
}

impl Rows {
    fn of(table: Table) -> Result<Rows, LakeError> {
        let schema = table.file_schema();
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).map_err(|e| LakeError::encode(table, e))?;
        Ok(Rows { table, converter, hasher: DefaultHasher::new(), count: 0 })
    }

    fn take(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let converted = self.converter.convert_columns(rows.columns());
        for row in &converted.map_err(|e| LakeError::encode(self.table, e))? {
            let bytes = row.as_ref();
            self.hasher.write_usize(bytes.len());
            self.hasher.write(bytes);
            self.count += 1;
        }
        Ok(())
    }

    fn sum(&self) -> (u64, u64) {
        (self.count, self.hasher.finish())
    }
}
