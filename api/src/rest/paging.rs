//! A page of a trace: what the engine gives, less what comes before the cursor, is filtered away, or is not the caller's.

use std::collections::BTreeSet;

use arrow::array::{BooleanArray, RecordBatch};
use insyn_engine::{
    session::Session,
    trace::{self, Of, Query, Trace},
};

use crate::{
    cursor::Cursor,
    guard::Caller,
    problem::Problem,
    rows::{self, Cells},
    trail,
};

/// Which accesses are asked for, beside of whom.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    pub(crate) limit: usize,
    /// `None`: all but `record`.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) own: bool,
    pub(crate) cursor: Option<Cursor>,
    /// Column and value, all of which must hold.
    pub(crate) filters: Vec<(String, String)>,
}

/// A page of a trace.
pub(crate) struct Page {
    pub(crate) trace: Trace,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) cursor: Option<String>,
}

/// One page of a trace, within the controllers that the caller is bound to.
pub(crate) async fn page(session: &Session, caller: &Caller, of: &Of, ask: &Ask) -> Result<Page, Problem> {
    let controllers = &caller.principal.controllers;
    let mut columns = ask.columns.clone();
    if let Some(columns) = &mut columns {
        let needed = ["occurred_at", "segment", "seq", "subject_id", "user_id", "controller_id"];
        let filtered = ask.filters.iter().map(|(name, _)| name.as_str());
        for name in needed.into_iter().chain(filtered) {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
    }
    let from = match (ask.from, ask.cursor) {
        (Some(from), Some(cursor)) => Some(from.max(cursor.at)),
        (from, cursor) => from.or(cursor.map(|cursor| cursor.at)),
    };
    // What is dropped after the query (rows before the cursor, filters) is not known before it: ask for more until it
    // is enough, or until there is no more.
    let narrowed = !ask.filters.is_empty() || !controllers.is_empty();
    let mut fetch = (!narrowed).then_some(ask.limit + 1 + if ask.cursor.is_some() { 64 } else { 0 });
    loop {
        let query =
            Query { of: of.clone(), from, to: ask.to, limit: fetch, columns: columns.clone(), own: ask.own };
        let mut trace = trace::trace(session, &query).await?;
        let fetched = rows::count(&trace.batches);
        let mut kept = match ask.cursor {
            Some(cursor) => after(&trace.batches, cursor),
            None => trace.batches.clone(),
        };
        kept = within(kept, controllers);
        kept = rows::matching(&kept, &ask.filters);
        let found = rows::count(&kept);
        let exhausted = fetch.is_none_or(|limit| fetched < limit);
        if found <= ask.limit && !exhausted {
            fetch = fetch.map(|limit| limit.saturating_mul(4));
            continue;
        }
        if narrowed {
            // The engine summed up what was read; here only what is left may be told of.
            trace.summary = summary(of, &kept);
        }
        let cursor = if found > ask.limit { place(&kept, ask.limit - 1) } else { None };
        let batches = rows::slice(&kept, 0, ask.limit);
        return Ok(Page { trace, batches, cursor });
    }
}

/// Rows of these controllers only; all where none are named.
fn within(batches: Vec<RecordBatch>, controllers: &[String]) -> Vec<RecordBatch> {
    if controllers.is_empty() {
        return batches;
    }
    rows::filter(&batches, |batch| {
        let ids = Cells::of(batch).texts("controller_id");
        (0..batch.num_rows())
            .map(|row| Some(controllers.iter().any(|own| own == ids.get(row))))
            .collect::<BooleanArray>()
    })
}

fn after(batches: &[RecordBatch], cursor: Cursor) -> Vec<RecordBatch> {
    rows::filter(batches, |batch| {
        let cells = Cells::of(batch);
        let (times, segments, seqs) =
            (cells.times("occurred_at"), cells.numbers("segment"), cells.numbers("seq"));
        (0..batch.num_rows())
            .map(|row| {
                Some(cursor.is_before(times.get(row).unwrap_or(i64::MIN), segments.get(row), seqs.get(row)))
            })
            .collect::<BooleanArray>()
    })
}

fn summary(of: &Of, kept: &[RecordBatch]) -> trace::Summary {
    let accesses = trail::accesses(kept);
    let other = |access: &trail::Access| match of {
        Of::Subject(_) => access.actor().to_owned(),
        _ => access.subject_id.clone(),
    };
    let persons: BTreeSet<String> = accesses.iter().map(other).filter(|id| !id.is_empty()).collect();
    trace::Summary {
        rows: accesses.len() as u64,
        first: accesses.first().map(|access| access.at),
        last: accesses.last().map(|access| access.at),
        persons: persons.len() as u64,
        visits: trail::visits(accesses).len() as u64,
    }
}

/// The cursor after row `index`.
fn place(batches: &[RecordBatch], index: usize) -> Option<String> {
    let last = rows::slice(batches, index, 1);
    let cells = Cells::of(last.first()?);
    let at = cells.times("occurred_at").get(0)?;
    Some(Cursor { at, segment: cells.numbers("segment").get(0), seq: cells.numbers("seq").get(0) }.encode())
}
