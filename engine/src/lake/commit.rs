//! One batch of one source becomes part of the lake: whole, once, or not at all.
//!
//! Order of work: rows of `quarantine` and the other side tables are committed to their tables first, where they do not count yet.
//! Then the files of `access_events` are put, and one Delta commit of `access_events` names them together with the
//! source's transaction number and position. That commit alone makes the batch count. After a crash before it the
//! source's progress is unchanged and the same batch is given again; what the attempt left behind never counts and
//! is removed by the batch after.

use std::collections::BTreeMap;

use chrono::Utc;
use deltalake::kernel::{Action, Add, Transaction};
use insyn_event::AccessEvent;

use super::actions::{addition, domain as domain_line, removal};
use super::encode::{self, Encoded};
use super::error::LakeError;
use super::log::{Decision, TableLog, TableState, Tables};
use super::segment::{segment, year_of};
use super::source::{ORDINALS, Ordinals, SourceState, app_id, domain, is_dead};
use super::types::{Committed, ExportDay, Gap, Lacking, Quarantined, SourceCommit, Table};
use crate::failpoint::crash_at;
use crate::worker::Worker;

/// A file that lies in its place but is in no commit yet.
pub(super) struct Put {
    pub add: Add,
    /// The segment that it is; none where it holds rows of several.
    segment: Option<i64>,
}

impl Put {
    /// Rows that were stored before, in another file.
    pub(super) fn of(add: Add) -> Put {
        Put { add, segment: None }
    }
}

/// Adds the batch. `writer` says who does it.
///
/// # Errors
/// See [`LakeError`]; after `SequenceTaken` and `Batch` nothing was written that counts.
pub(super) async fn commit(logs: &Tables, writer: &str, batch: SourceCommit) -> Result<Committed, LakeError> {
    let started = start(logs, writer, batch).await?;
    finish(logs, started).await
}

/// The side tables in the order of their commits, and the step after each.
const SIDE_STEPS: [(Table, &str); 4] = [
    (Table::Quarantine, "after-quarantine-commit"),
    (Table::Gaps, "after-gaps-commit"),
    (Table::Exports, "after-exports-commit"),
    (Table::Lacking, "after-lacking-commit"),
];

/// A batch's rows beside the events.
struct SideRows {
    quarantine: Vec<Quarantined>,
    gaps: Vec<Gap>,
    exports: Vec<ExportDay>,
    lacking: Vec<Lacking>,
}

impl SideRows {
    /// As files, in the order of [`SIDE_STEPS`]; none where there are no rows.
    fn encoded(&self, sequence: i64) -> Result<[Option<Encoded>; 4], LakeError> {
        let some = |rows: usize, encoded: &dyn Fn() -> Result<Encoded, LakeError>| {
            (rows > 0).then(encoded).transpose()
        };
        Ok([
            some(self.quarantine.len(), &|| encode::quarantine(&self.quarantine, sequence))?,
            some(self.gaps.len(), &|| encode::gaps(&self.gaps, sequence))?,
            some(self.exports.len(), &|| encode::exports(&self.exports, sequence))?,
            some(self.lacking.len(), &|| encode::lacking(&self.lacking, sequence))?,
        ])
    }
}

/// A batch whose side tables are committed: it does not count yet.
pub(super) struct Started {
    addition: Addition,
    years: BTreeMap<i32, Vec<AccessEvent>>,
}

/// Commits what goes before `access_events`.
pub(super) async fn start(logs: &Tables, writer: &str, batch: SourceCommit) -> Result<Started, LakeError> {
    check(&batch)?;
    let SourceCommit { source, sequence, events, quarantine, gaps, exports, lacking, state } = batch;
    let known = logs.of(Table::AccessEvents).current().await?;
    check_sequence(&known, &source, sequence)?;

    let mut addition = Addition {
        state,
        writer: writer.to_string(),
        events: events.len() as u64,
        quarantined: quarantine.len() as u64,
        gaps: gaps.len() as u64,
        last_event: events.iter().map(|event| event.occurred_at).max(),
        side_files: Vec::new(),
        source,
        sequence,
    };
    let years = encoding(Table::AccessEvents, move || Ok(by_year(events))).await?;
    let rows = SideRows { quarantine, gaps, exports, lacking };
    let encoded = encoding(Table::Quarantine, move || rows.encoded(sequence)).await?;
    for ((table, point), encoded) in SIDE_STEPS.into_iter().zip(encoded) {
        let file = commit_side(logs.of(table), &known, &addition.source, sequence, encoded).await?;
        addition.side_files.extend(file);
        crash_at(point);
    }
    Ok(Started { addition, years })
}

/// Makes it count.
pub(super) async fn finish(logs: &Tables, started: Started) -> Result<Committed, LakeError> {
    let Started { addition, years } = started;
    match commit_events(logs.of(Table::AccessEvents), &addition, years).await {
        Ok(committed) => Ok(committed),
        Err(Failure::Known(error)) => {
            // Nothing of this attempt may ever count, however far another writer has gone on; and whoever tries
            // again and again on a full disk must not pile up what he leaves.
            for table in Table::SIDES {
                retract(logs.of(table), &addition.side_files).await;
            }
            Err(error)
        }
        Err(Failure::Unknown(error)) => Err(error),
    }
}

/// How a commit of `access_events` failed.
enum Failure {
    /// Nothing of it counts, and its data files are gone.
    Known(LakeError),
    /// The log's entry may have become durable; the files must stay. Progress tells.
    Unknown(LakeError),
}

/// What a batch adds to its source, beside rows.
struct Addition {
    source: String,
    sequence: i64,
    state: String,
    side_files: Vec<String>,
    writer: String,
    events: u64,
    quarantined: u64,
    gaps: u64,
    last_event: Option<i64>,
}

async fn commit_events(
    log: &TableLog,
    addition: &Addition,
    mut years: BTreeMap<i32, Vec<AccessEvent>>,
) -> Result<Committed, Failure> {
    let (source, sequence) = (addition.source.as_str(), addition.sequence);
    loop {
        let ordinal = ordinal_of(&*log.current().await.map_err(Failure::Known)?, source);
        let mut put = Vec::new();
        let outcome = put_events(log, source, sequence, ordinal, years, &mut put).await;
        years = match outcome {
            Ok(years) => years,
            Err(error) => {
                forget(log, &put).await;
                return Err(Failure::Known(error));
            }
        };
        crash_at("before-log-commit");

        let mut renumber = false;
        let outcome = log
            .transact(|state| {
                check_sequence(state, source, sequence)?;
                // Another source may have taken the number since: the segments in the files would not be unique.
                renumber = ordinal_of(state, source) != ordinal;
                match renumber {
                    true => Ok(Decision::Nothing),
                    false => Ok(Decision::Commit(actions(state, ordinal, addition, &put)?)),
                }
            })
            .await;
        match outcome {
            Ok(state) if !renumber => {
                crash_at("after-log-commit");
                let segments = put.iter().filter_map(|file| file.segment).collect();
                return Ok(Committed { version: state.version, sequence, segments });
            }
            Ok(_) => forget(log, &put).await,
            Err(error @ (LakeError::SequenceTaken { .. } | LakeError::Contended { .. })) => {
                forget(log, &put).await;
                return Err(Failure::Known(error));
            }
            Err(error) => return Err(Failure::Unknown(error)),
        }
    }
}

/// Puts the files of the segments into `put`; they are not committed. The rows come back, for another attempt.
pub(super) async fn put_events(
    log: &TableLog,
    source: &str,
    sequence: i64,
    ordinal: i64,
    years: BTreeMap<i32, Vec<AccessEvent>>,
    put: &mut Vec<Put>,
) -> Result<BTreeMap<i32, Vec<AccessEvent>>, LakeError> {
    crash_at("before-events-put");
    let mut back = BTreeMap::new();
    for (year, mut rows) in years {
        let segment = segment(source, ordinal, sequence, year)?;
        let name = year_name(year);
        for (row, seq) in rows.iter_mut().zip(0_i32..) {
            (row.segment, row.seq) = (segment, seq);
            row.year.clone_from(&name);
        }
        let (encoded, rows) =
            encoding(Table::AccessEvents, move || encode::events(&rows).map(|encoded| (encoded, rows)))
                .await?;
        let path = format!("year={name}/{segment:016x}-{}.parquet", uuid::Uuid::new_v4().simple());
        let add = addition(path, Some(name), &encoded);
        log.put_file(&add.path, encoded.bytes).await?;
        put.push(Put { add, segment: Some(segment) });
        back.insert(year, rows);
    }
    crash_at("after-events-put");
    Ok(back)
}

pub(super) async fn forget(log: &TableLog, put: &[Put]) {
    for file in put {
        log.forget_file(&file.add.path).await;
    }
}

/// The actions that make the batch count.
fn actions(
    state: &TableState,
    ordinal: i64,
    addition: &Addition,
    put: &[Put],
) -> Result<Vec<Action>, LakeError> {
    let source = addition.source.as_str();
    let now = Utc::now();
    let before = state.sources.get(source).cloned().unwrap_or_default();
    let after = SourceState {
        ordinal,
        sequence: addition.sequence,
        state: addition.state.clone(),
        events: before.events + addition.events,
        quarantined: before.quarantined + addition.quarantined,
        gaps: before.gaps + addition.gaps,
        last_event: before.last_event.max(addition.last_event),
        committed_at: now.timestamp_micros(),
        writer: addition.writer.clone(),
        side_files: addition.side_files.clone(),
    };
    let txn =
        Transaction::new_with_last_update(app_id(source), addition.sequence, Some(now.timestamp_millis()));
    let mut actions = vec![Action::Txn(txn), domain_line(&domain(source), &after)?];
    if !state.ordinals.contains_key(source) {
        let mut ordinals = Ordinals::clone(&state.ordinals);
        ordinals.insert(source.to_string(), ordinal);
        actions.push(domain_line(ORDINALS, &ordinals)?);
    }
    actions.extend(put.iter().map(|file| Action::Add(file.add.clone())));
    Ok(actions)
}

/// Commits rows of a table that is written first, and removes what an earlier attempt left there for good.
/// Gives the path of the new file, relative to the lake.
pub(super) async fn commit_side(
    log: &TableLog,
    known: &TableState,
    source: &str,
    sequence: i64,
    encoded: Option<Encoded>,
) -> Result<Option<String>, LakeError> {
    let add = match encoded {
        None => None,
        Some(encoded) => {
            let add = addition(format!("{}.parquet", uuid::Uuid::new_v4().simple()), None, &encoded);
            log.put_file(&add.path, encoded.bytes).await?;
            Some(add)
        }
    };
    log.transact(|state| {
        let dead = state.files.iter().filter(|file| is_dead(file, source, known.sources.get(source)));
        let mut actions: Vec<_> = dead.map(|file| removal(log.table, file, true)).collect();
        actions.extend(add.clone().map(Action::Add));
        if actions.is_empty() {
            return Ok(Decision::Nothing);
        }
        let now = Utc::now().timestamp_millis();
        actions.push(Action::Txn(Transaction::new_with_last_update(app_id(source), sequence, Some(now))));
        Ok(Decision::Commit(actions))
    })
    .await?;
    Ok(add.map(|add| format!("{}/{}", log.table.name(), add.path)))
}

/// Takes files out of a side table again. When that fails they still do not count until the source's next batch.
pub(super) async fn retract(log: &TableLog, paths: &[String]) {
    let outcome = log
        .transact(|state| {
            let files = state.files.iter().filter(|file| paths.contains(&file.path));
            let actions: Vec<_> = files.map(|file| removal(log.table, file, true)).collect();
            Ok(if actions.is_empty() { Decision::Nothing } else { Decision::Commit(actions) })
        })
        .await;
    if let Err(error) = outcome {
        tracing::warn!(table = log.table.name(), %error, "rows of a refused batch stay behind");
    }
}

pub(super) fn ordinal_of(state: &TableState, source: &str) -> i64 {
    let taken = state.ordinals.get(source).copied();
    taken.unwrap_or_else(|| state.ordinals.values().max().copied().unwrap_or_default() + 1)
}

fn check_sequence(state: &TableState, source: &str, sequence: i64) -> Result<(), LakeError> {
    let before = state.sources.get(source);
    let counted = before.map_or(0, |state| state.sequence);
    if sequence == counted + 1 {
        return Ok(());
    }
    let writer = before.map_or("nobody", |state| &state.writer).to_string();
    Err(LakeError::SequenceTaken { source_name: source.into(), given: sequence, counted, writer })
}

/// Refuses a batch that cannot be kept right, before anything is written.
fn check(batch: &SourceCommit) -> Result<(), LakeError> {
    let fault = |what: String| LakeError::Batch { source_name: batch.source.clone(), what };
    if batch.source.is_empty() {
        return Err(fault("found an empty name, expected the configured name of a source".into()));
    }
    if i32::try_from(batch.events.len()).is_err() {
        return Err(fault(format!("{} rows in one batch, expected fewer than 2^31", batch.events.len())));
    }
    let mut foreign = batch.events.iter().map(|row| &row.source);
    if foreign.any(|source| *source != batch.source)
        || batch.quarantine.iter().any(|row| row.source != batch.source)
        || batch.gaps.iter().any(|row| row.source != batch.source)
        || batch.exports.iter().any(|row| row.source != batch.source)
        || batch.lacking.iter().any(|row| row.source != batch.source)
    {
        return Err(fault("found a row of another source, expected only its own".into()));
    }
    match batch.events.iter().position(|row| year_of(row.occurred_at).is_none()) {
        Some(at) => Err(fault(format!("occurred_at of row {at} lies outside of the years 1 to 9999"))),
        None => Ok(()),
    }
}

pub(super) fn by_year(events: Vec<AccessEvent>) -> BTreeMap<i32, Vec<AccessEvent>> {
    let mut years: BTreeMap<i32, Vec<AccessEvent>> = BTreeMap::new();
    for event in events {
        // `check` has refused what has no year.
        years.entry(year_of(event.occurred_at).unwrap_or_default()).or_default().push(event);
    }
    years
}

fn year_name(year: i32) -> String {
    format!("{year:04}")
}

/// Work on many rows, on the one thread for it.
pub(super) async fn encoding<T: Send + 'static>(
    table: Table,
    work: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
) -> Result<T, LakeError> {
    static ENCODER: Worker = Worker::named("insyn-encode");
    ENCODER.run(work).await.map_err(|e| LakeError::encode(table, e))?
}
