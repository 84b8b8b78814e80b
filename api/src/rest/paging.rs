//! A page of a trace.

use arrow::array::RecordBatch;
use insyn_engine::{
    session::Session,
    trace::{self, Of, Query, Trace},
};

use crate::{
    cursor::Cursor,
    guard::Caller,
    problem::Problem,
    rows::{self, Cells},
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
    /// How long a pause ends a visit, µs; `None`: 30 minutes.
    pub(crate) gap: Option<i64>,
}

/// A page of a trace.
pub(crate) struct Page {
    pub(crate) trace: Trace,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) cursor: Option<String>,
}

/// One page of a trace, within the controllers that the caller is bound to.
pub(crate) async fn page(session: &Session, caller: &Caller, of: &Of, ask: &Ask) -> Result<Page, Problem> {
    let mut columns = ask.columns.clone();
    if let Some(columns) = &mut columns {
        // Whose records come back is written down.
        for name in ["occurred_at", "segment", "seq", "subject_id"] {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
    }
    let query = Query {
        from: ask.from,
        to: ask.to,
        after: ask.cursor.map(Cursor::place),
        filters: ask.filters.clone(),
        controllers: caller.principal.controllers.clone(),
        gap: ask.gap.unwrap_or(trace::VISIT_GAP),
        limit: Some(ask.limit + 1),
        columns,
        own: ask.own,
        ..Query::new(of.clone())
    };
    let trace = trace::trace(session, &query).await?;
    let batches = rows::slice(&trace.batches, 0, ask.limit);
    let cursor = match trace.rows() > ask.limit {
        true => place(&batches, ask.limit.saturating_sub(1)),
        false => None,
    };
    Ok(Page { trace, batches, cursor })
}

/// The cursor after row `index`.
fn place(batches: &[RecordBatch], index: usize) -> Option<String> {
    let last = rows::slice(batches, index, 1);
    let cells = Cells::of(last.first()?);
    let at = cells.times("occurred_at").get(0)?;
    Some(Cursor { at, segment: cells.numbers("segment").get(0), seq: cells.numbers("seq").get(0) }.encode())
}
