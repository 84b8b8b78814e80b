//! Items of `quarantine` and `gaps` whose time is over. As with amendments, one commit of `access_events` says which files
//! of those tables count; what no longer counts is taken out of them afterwards.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;
use deltalake::kernel::Action;

use super::actions::{addition, domain as domain_line, within};
use super::amend::clean;
use super::encode;
use super::error::LakeError;
use super::log::{Decision, TableState};
use super::retain::{Run, Shares};
use super::side;
use super::source::{AgainState, again_domain, amendment_file, domain};
use super::types::{LakeFile, Table};
use super::{Inner, Lake, Snapshot};
use crate::failpoint::crash_at;
use crate::retain::{Fate, Plan, Row};

/// The tables whose items have a time of their own. The others hold no text that anybody wrote of a person.
const TABLES: [Table; 2] = [Table::Quarantine, Table::Gaps];

/// What a look at a source's items found.
#[derive(Default)]
pub(super) struct Items {
    pub shares: Shares,
    parts: Vec<Part>,
}

/// A file with items that go.
struct Part {
    table: Table,
    file: Arc<LakeFile>,
    stay: RecordBatch,
    removed: u64,
    /// Of these, items that were explained or mended.
    settled: u64,
}

/// Looks at every item of the source.
pub(super) async fn look(
    inner: &Inner,
    snapshot: &Snapshot,
    source: &str,
    plan: &Plan,
) -> Result<Items, LakeError> {
    let mut items = Items::default();
    if plan.grounds.is_empty() && plan.terms.iter().all(|term| term.longest.is_none()) {
        return Ok(items);
    }
    for table in TABLES {
        for file in snapshot.files(table).iter().filter(|file| file.source.as_deref() == Some(source)) {
            let rows = side::read(table, inner.tables.of(table).read_file(within(table, &file.path)).await?)?;
            if let Some(part) = part(table, file, rows, (source, plan), &mut items.shares)? {
                items.parts.push(part);
            }
        }
    }
    Ok(items)
}

fn part(
    table: Table,
    file: &Arc<LakeFile>,
    rows: RecordBatch,
    (source, plan): (&str, &Plan),
    shares: &mut Shares,
) -> Result<Option<Part>, LakeError> {
    let met = if table == Table::Gaps { "noticed_at" } else { "ingested_at" };
    let met = table.column(&rows, met)?.as_primitive::<TimestampMicrosecondType>();
    let states = table.column(&rows, "state")?.as_string::<i32>();
    let bytes = match table {
        Table::Quarantine => Some(table.column(&rows, "bytes")?.as_binary::<i32>()),
        _ => None,
    };
    let controller = plan.controllers.get(source).map_or("", String::as_str);
    let (mut stay, mut settled) = (Vec::with_capacity(rows.num_rows()), 0);
    for n in 0..rows.num_rows() {
        let at = met.value(n);
        let fate = plan.fate_of_item(source, at, bytes.map_or(&[][..], |bytes| bytes.value(n)));
        let year =
            DateTime::from_timestamp_micros(at).map(|at| at.format("%Y").to_string()).unwrap_or_default();
        shares.count(table, &Row { source, controller, at, ..Row::default() }, &year, fate);
        let goes = matches!(fate, Fate::Goes(_));
        settled += u64::from(goes && states.is_valid(n) && states.value(n) != side::OPEN);
        stay.push(!goes);
    }
    let stay = BooleanArray::from(stay);
    let removed = (stay.len() - stay.true_count()) as u64;
    if removed == 0 {
        return Ok(None);
    }
    let stay = filter_record_batch(&rows, &stay).map_err(|e| LakeError::encode(table, e))?;
    Ok(Some(Part { table, file: Arc::clone(file), stay, removed, settled }))
}

/// Takes out the source's items that go. What went.
pub(super) async fn take_out(lake: &Lake, run: &Run, source: &str) -> Result<Shares, LakeError> {
    let inner = &lake.inner;
    let state = inner.events().current().await?;
    clean_of(inner, source, &state).await?;
    let items = look(inner, &lake.snapshot().await?, source, &run.plan).await?;
    if items.parts.is_empty() {
        return Ok(Shares::default());
    }
    let mut again = state.again.get(source).cloned().unwrap_or_default();
    let number = again.number();
    again.files.clear();
    again.dropped.clear();
    for part in &items.parts {
        put(inner, part, source, &mut again).await?;
    }
    crash_at("retained-items-put");
    let removed = |table| sum(&items.parts, table, |part| part.removed);
    let settled = |table| sum(&items.parts, table, |part| part.settled);
    again.quarantine_settled = again.quarantine_settled.saturating_sub(settled(Table::Quarantine));
    again.gaps_settled = again.gaps_settled.saturating_sub(settled(Table::Gaps));
    let grounds = items.shares.by_source().remove(source).map(|(_, grounds)| grounds).unwrap_or_default();
    again.history.push(run.entry(&again));
    run.told(&mut again, &grounds).items += items.shares.rows();
    let mut held = false;
    let outcome = inner.events().transact(|state| {
        held = state.again.get(source).map_or(0, AgainState::number) == number;
        if !held {
            return Ok(Decision::Nothing);
        }
        let mut progress = state.sources.get(source).cloned().unwrap_or_default();
        progress.quarantined = progress.quarantined.saturating_sub(removed(Table::Quarantine));
        progress.gaps = progress.gaps.saturating_sub(removed(Table::Gaps));
        Ok(Decision::Commit(vec![
            domain_line(&domain(source), &progress)?,
            domain_line(&again_domain(source), &again)?,
        ]))
    });
    let state = outcome.await?;
    if !held {
        // Nobody amends without the lease.
        return Err(LakeError::Contended { table: Table::AccessEvents.name(), attempts: 1 });
    }
    crash_at("retained-items-committed");
    clean_of(inner, source, &state).await?;
    Ok(items.shares)
}

fn sum(parts: &[Part], table: Table, of: fn(&Part) -> u64) -> u64 {
    parts.iter().filter(|part| part.table == table).map(of).sum()
}

/// Takes files out of the side tables that do not count any more, or that a crash left before they counted.
pub(super) async fn clean_of(inner: &Inner, source: &str, state: &TableState) -> Result<(), LakeError> {
    for table in TABLES {
        clean(inner.tables.of(table), source, state).await?;
    }
    Ok(())
}

/// Commits what stays of a file to its table, where it does not count yet.
async fn put(inner: &Inner, part: &Part, source: &str, again: &mut AgainState) -> Result<(), LakeError> {
    let log = inner.tables.of(part.table);
    again.dropped.push(part.file.path.clone());
    if part.stay.num_rows() == 0 {
        return Ok(());
    }
    let encoded = encode::side_rows(part.table, source, part.stay.clone())?;
    let add = addition(amendment_file(again.number() + 1), None, &encoded);
    log.put_file(&add.path, encoded.bytes).await?;
    again.files.push(format!("{}/{}", part.table.name(), add.path));
    log.transact(|_| Ok(Decision::Commit(vec![Action::Add(add.clone())]))).await?;
    Ok(())
}
