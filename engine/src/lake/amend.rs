//! What is stored of a source is put right: rows that were read with wrong settings are replaced, and items of
//! `quarantine` and `gaps` become explained or mended. One commit of `access_events` makes all of it count.
//!
//! Reading goes on beside: amended rows have segments of their own, and only what was stored when the amendment began
//! is replaced. Files that hold other rows as well are written anew without those that go. A crash before the commit
//! leaves the lake as it was, and files that no commit names.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::Utc;
use deltalake::kernel::{Action, Transaction};
use insyn_event::AccessEvent;

use super::actions::{addition, domain as domain_line, removal, within};
use super::commit::{Put, by_year, encoding, forget, ordinal_of, put_events, retract};
use super::compact::read;
use super::encode;
use super::error::LakeError;
use super::lock::LakeLock;
use super::log::{Decision, TableLog, TableState};
use super::runs::{level_of, path_at};
use super::side;
use super::source::{
    AgainState, ORDINALS, Ordinals, again_domain, again_ordinal, amendment_file, app_id, counts, domain,
};
use super::types::{Amended, LakeFile, Quarantined, Settled, Table, Window};
use super::{Inner, Lake, Snapshot};
use crate::failpoint::crash_at;

/// An amendment under way. Dropped before [`Amendment::commit`], it changes nothing.
pub struct Amendment {
    inner: Arc<Inner>,
    source: String,
    ordinal: i64,
    sequence: i64,
    snapshot: Snapshot,
    put: Vec<Put>,
    added: u64,
    /// The latest of the rows that were put.
    last_event: Option<i64>,
    _lease: LakeLock,
}

/// What an amendment has written that nobody counts yet.
struct Written {
    /// Files of `access_events` that go.
    gone: Vec<Arc<LakeFile>>,
    /// The source's latest event afterwards, and what it was when the amendment began.
    last_event: [Option<i64>; 2],
    again: AgainState,
    amended: Amended,
}

/// What else an amendment changes, beside the rows that were put.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The source's rows in this period go; none: no row goes.
    pub replaces: Option<Window>,
    /// Records that cannot be read any more.
    pub quarantine: Vec<Quarantined>,
    /// Items of `quarantine` that are settled, by file and offset.
    pub quarantine_states: HashMap<(String, i64), Settled>,
    /// Items of `gaps` that are settled, by file and beginning.
    pub gap_states: HashMap<(String, i64), Settled>,
    /// `again`, `explain` or `returned`.
    pub kind: &'static str,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What the source's `encoding` is, if it is set.
    pub encoding: Option<String>,
}

impl Lake {
    /// Begins to amend what is stored of `source`. Nobody else merges or amends meanwhile.
    ///
    /// # Errors
    /// When nothing of that source is stored, another process keeps the lake's maintenance to itself, or the log
    /// cannot be read or written.
    pub async fn amend(&self, source: &str) -> Result<Amendment, LakeError> {
        let inner = Arc::clone(&self.inner);
        let lease = self.lease().await?;
        let state = inner.events().current().await?;
        if !state.sources.contains_key(source) {
            let what = "nothing of it is stored".to_owned();
            return Err(LakeError::Batch { source_name: source.into(), what });
        }
        for table in [Table::Quarantine, Table::Gaps] {
            clean(inner.tables.of(table), source, &state).await?;
        }
        let ordinal = numbered(inner.events(), source).await?;
        let snapshot = self.snapshot().await?;
        let sequence = state.again.get(source).map_or(0, AgainState::sequence);
        Ok(Amendment {
            inner,
            source: source.to_owned(),
            ordinal,
            sequence,
            snapshot,
            put: Vec::new(),
            added: 0,
            last_event: None,
            _lease: lease,
        })
    }
}

impl Amendment {
    /// The lake as it is amended: what came later stays as it is.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Rows that come instead. They do not count yet.
    ///
    /// # Errors
    /// When a row is another source's, has no year, or cannot be written.
    pub async fn put(&mut self, events: Vec<AccessEvent>) -> Result<(), LakeError> {
        self.added += events.len() as u64;
        self.last_event = self.last_event.max(events.iter().map(|event| event.occurred_at).max());
        self.sequence += 1;
        let log = self.inner.events();
        put_events(log, &self.source, self.sequence, self.ordinal, by_year(events), &mut self.put).await?;
        Ok(())
    }

    /// Makes all of it count.
    ///
    /// # Errors
    /// When files cannot be read or written; then nothing counts, unless the log's own entry failed half-way, which
    /// the history tells.
    pub async fn commit(mut self, changes: Changes) -> Result<Amended, LakeError> {
        let outcome = self.write(&changes).await;
        let Written { gone, last_event: [last_event, before], again, amended } = match outcome {
            Ok(written) => written,
            Err(error) => {
                forget(self.inner.events(), &self.put).await;
                return Err(error);
            }
        };
        crash_at("before-amended-commit");
        let (source, put) = (&self.source, &self.put);
        let mut held = false;
        let outcome = self.inner.events().transact(|state| {
            let live = |file: &Arc<LakeFile>| state.files.iter().any(|known| known.path == file.path);
            let number = state.again.get(source).map_or(0, AgainState::number);
            held = gone.iter().all(live) && number + 1 == again.number();
            if !held {
                return Ok(Decision::Nothing);
            }
            let mut progress = state.sources.get(source).cloned().unwrap_or_default();
            progress.events = (progress.events + self.added).saturating_sub(amended.removed);
            progress.quarantined += changes.quarantine.len() as u64;
            progress.last_event = match progress.last_event {
                now if now == before => last_event,
                later => later.max(last_event),
            };
            let id = format!("{}:again", app_id(source));
            let version = i64::try_from(again.number()).unwrap_or(i64::MAX);
            let now = Some(Utc::now().timestamp_millis());
            let mut actions = vec![
                Action::Txn(Transaction::new_with_last_update(id, version, now)),
                domain_line(&domain(source), &progress)?,
                domain_line(&again_domain(source), &again)?,
            ];
            actions.extend(gone.iter().map(|file| removal(Table::AccessEvents, file, true)));
            actions.extend(put.iter().map(|file| Action::Add(file.add.clone())));
            Ok(Decision::Commit(actions))
        });
        match outcome.await {
            Ok(state) if held => {
                crash_at("after-amended-commit");
                self.inner.replaced(gone.iter().map(|file| (file.path.clone(), file.size)));
                for table in [Table::Quarantine, Table::Gaps] {
                    clean(self.inner.tables.of(table), source, &state).await?;
                }
                tracing::debug!(source, number = again.number(), "amended");
                Ok(amended)
            }
            outcome => {
                let contended = LakeError::Contended { table: Table::AccessEvents.name(), attempts: 1 };
                let error = outcome.err().unwrap_or(contended);
                if matches!(error, LakeError::Contended { .. }) {
                    forget(self.inner.events(), &self.put).await;
                    for table in [Table::Quarantine, Table::Gaps] {
                        retract(self.inner.tables.of(table), &again.files).await;
                    }
                }
                Err(error)
            }
        }
    }

    /// Writes what the commit will name.
    async fn write(&mut self, changes: &Changes) -> Result<Written, LakeError> {
        let before = self.snapshot.sources().find(|(name, _)| *name == self.source);
        let before = before.and_then(|(_, progress)| progress.last_event);
        let mut written = Written {
            gone: Vec::new(),
            last_event: [self.last_event.max(before), before],
            again: self.inner.events().current().await?.again.get(&self.source).cloned().unwrap_or_default(),
            amended: Amended {
                kind: changes.kind.into(),
                by: changes.by.clone(),
                reason: changes.reason.clone(),
                at: Utc::now().timestamp_micros(),
                from: changes.replaces.and_then(|window| window.from),
                to: changes.replaces.and_then(|window| window.to),
                added: self.added,
                quarantined: changes.quarantine.len() as u64,
                encoding: changes.encoding.clone(),
                sequence: self.sequence,
                ..Amended::default()
            },
        };
        if let Some(window) = changes.replaces {
            self.without(window, &mut written).await?;
        }
        crash_at("amended-events-put");
        let again = &mut written.again;
        again.ordinal = self.ordinal;
        again.files.clear();
        again.dropped.clear();
        again.quarantine_settled +=
            self.settle(Table::Quarantine, changes, again, &mut written.amended).await?;
        again.gaps_settled += self.settle(Table::Gaps, changes, again, &mut written.amended).await?;
        crash_at("amended-sides-committed");
        again.history.push(written.amended.clone());
        Ok(written)
    }

    /// Files with rows of the source in `window`, written anew without them.
    async fn without(&mut self, window: Window, written: &mut Written) -> Result<(), LakeError> {
        let snapshot = self.snapshot.clone();
        let log = self.inner.events();
        let [after, before] = &mut written.last_event;
        // When the latest row goes, the one that is the latest then may lie anywhere.
        let loses_latest = before.is_some_and(|latest| window.holds(latest));
        if loses_latest {
            *after = self.last_event;
        }
        for file in snapshot.files(Table::AccessEvents) {
            let bounds = &file.occurred_at;
            let apart = bounds.max.is_some_and(|max| window.from.is_some_and(|from| max < from))
                || bounds.min.is_some_and(|min| window.to.is_some_and(|to| to <= min));
            if apart && !loses_latest {
                continue;
            }
            let bytes = log.read_file(within(Table::AccessEvents, &file.path)).await?;
            let source = self.source.clone();
            let parts = move || parted(read(Table::AccessEvents, bytes, None)?, &source, window);
            let parts = encoding(Table::AccessEvents, parts).await?;
            if loses_latest {
                *after = (*after).max(parts.latest_kept);
            }
            if parts.removed == 0 {
                continue;
            }
            written.amended.removed += parts.removed;
            written.gone.push(Arc::clone(file));
            if parts.kept.iter().any(|batch| batch.num_rows() > 0) {
                let encoded =
                    encoding(Table::AccessEvents, move || encode::merged(Table::AccessEvents, &parts.kept))
                        .await?;
                let year = file.year.clone().unwrap_or_default();
                let add = addition(path_at(&year, level_of(&file.path)), Some(year), &encoded);
                log.put_file(&add.path, encoded.bytes).await?;
                self.put.push(Put::of(add));
            }
        }
        Ok(())
    }

    /// Commits a side table's part, which does not count yet. How many open items of it are settled.
    async fn settle(
        &self,
        table: Table,
        changes: &Changes,
        again: &mut AgainState,
        amended: &mut Amended,
    ) -> Result<u64, LakeError> {
        let log = self.inner.tables.of(table);
        let states = match table {
            Table::Gaps => &changes.gap_states,
            _ => &changes.quarantine_states,
        };
        let mut written = Vec::new();
        let mut settled = 0;
        for file in self.snapshot.files(table) {
            if states.is_empty() || file.source.as_deref().is_some_and(|source| source != self.source) {
                continue;
            }
            let rows = side::read(table, log.read_file(within(table, &file.path)).await?)?;
            let done = side::settled(table, rows, states, amended)?;
            if done.changed == 0 {
                continue;
            }
            settled += done.were_open;
            amended.mended += done.mended;
            amended.explained += done.explained;
            written.push(encode::side_rows(table, &self.source, done.rows)?);
            again.dropped.push(file.path.clone());
        }
        if table == Table::Quarantine && !changes.quarantine.is_empty() {
            let sequence = self.snapshot.counted(&self.source);
            written.push(encode::quarantine(&changes.quarantine, sequence)?);
        }
        let mut adds = Vec::new();
        for encoded in written {
            let add = addition(amendment_file(again.number() + 1), None, &encoded);
            log.put_file(&add.path, encoded.bytes).await?;
            again.files.push(format!("{}/{}", table.name(), add.path));
            adds.push(add);
        }
        if !adds.is_empty() {
            let actions = || adds.iter().cloned().map(Action::Add).collect();
            log.transact(|_| Ok(Decision::Commit(actions()))).await?;
        }
        Ok(settled)
    }
}

/// The number under which the source's amended rows have their segments; given when it is first asked for.
async fn numbered(log: &TableLog, source: &str) -> Result<i64, LakeError> {
    let name = again_ordinal(source);
    let state = log
        .transact(|state| {
            if state.ordinals.contains_key(&name) {
                return Ok(Decision::Nothing);
            }
            let mut ordinals = Ordinals::clone(&state.ordinals);
            ordinals.insert(name.clone(), ordinal_of(state, &name));
            Ok(Decision::Commit(vec![domain_line(ORDINALS, &ordinals)?]))
        })
        .await?;
    Ok(ordinal_of(&state, &name))
}

/// Takes files out of a side table that amendments replaced, or began to write and never finished.
pub(super) async fn clean(log: &TableLog, source: &str, events: &TableState) -> Result<(), LakeError> {
    let replaced = events.again.get(source).map(|again| again.dropped.clone()).unwrap_or_default();
    let of_amendments =
        |file: &LakeFile| super::source::amendment_of(&file.path).is_some() || replaced.contains(&file.path);
    log.transact(|state| {
        let gone = state.files.iter().filter(|file| {
            file.source.as_deref() == Some(source) && of_amendments(file) && !counts(file, events)
        });
        let actions: Vec<_> = gone.map(|file| removal(log.table, file, true)).collect();
        Ok(if actions.is_empty() { Decision::Nothing } else { Decision::Commit(actions) })
    })
    .await?;
    Ok(())
}

/// The rows of a file, parted.
struct Parts {
    kept: Vec<RecordBatch>,
    removed: u64,
    /// The latest row of the source that stays.
    latest_kept: Option<i64>,
}

/// Takes out the rows of `source` in `window`.
fn parted(batches: Vec<RecordBatch>, source: &str, window: Window) -> Result<Parts, LakeError> {
    let fault = |e: arrow::error::ArrowError| LakeError::encode(Table::AccessEvents, e);
    let mut parts = Parts { kept: Vec::new(), removed: 0, latest_kept: None };
    for batch in batches {
        let sources = Table::AccessEvents.column(&batch, "source")?.as_string::<i32>();
        let times =
            Table::AccessEvents.column(&batch, "occurred_at")?.as_primitive::<TimestampMicrosecondType>();
        let mut stays = Vec::with_capacity(batch.num_rows());
        for (of, at) in sources.iter().zip(times.values()) {
            let ours = of == Some(source);
            stays.push(!ours || !window.holds(*at));
            if ours && !window.holds(*at) {
                parts.latest_kept = parts.latest_kept.max(Some(*at));
            }
        }
        let stays = BooleanArray::from(stays);
        parts.removed += (stays.len() - stays.true_count()) as u64;
        parts.kept.push(filter_record_batch(&batch, &stays).map_err(fault)?);
    }
    Ok(parts)
}
