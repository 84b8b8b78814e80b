//! A page of a trace.

use insyn_engine::{
    context::Moment,
    session::Session,
    trace::{self, Of, Query, Trace},
};

use crate::{cursor::Cursor, guard::Caller, problem::Problem};

/// Which accesses are asked for, beside of whom.
#[derive(Debug, Default)]
pub(crate) struct Ask {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    pub(crate) limit: usize,
    /// Every row, whatever the limit.
    pub(crate) all: bool,
    /// `None`: all but `record`.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) own: bool,
    pub(crate) cursor: Option<Cursor>,
    /// Column and value, all of which must hold.
    pub(crate) filters: Vec<(String, String)>,
    /// How long a pause ends a visit, µs; `None`: 30 minutes.
    pub(crate) gap: Option<i64>,
    /// By which loads of the context tables accounts and numbers are resolved.
    pub(crate) moment: Moment,
    /// The same as it is said with the look; nothing where it is those of now.
    pub(crate) said: String,
}

/// A page of a trace.
pub(crate) struct Page {
    pub(crate) trace: Trace,
    pub(crate) cursor: Option<String>,
}

/// One page of a trace, within the controllers that the caller is bound to.
pub(crate) async fn page(session: &Session, caller: &Caller, of: &Of, ask: &Ask) -> Result<Page, Problem> {
    let query = query(caller, of, ask);
    let trace = trace::trace(session, &query).await?;
    let more = trace.summary.rows > trace.rows() as u64;
    let cursor = trace.last.filter(|_| more).map(|last| Cursor::at(last).encode());
    Ok(Page { trace, cursor })
}

/// What is asked of the engine, within the controllers that the caller is bound to.
pub(crate) fn query(caller: &Caller, of: &Of, ask: &Ask) -> Query {
    let mut columns = ask.columns.clone();
    // Whose records come back is written down.
    if let Some(columns) = columns.as_mut().filter(|columns| !columns.iter().any(|name| name == "subject_id"))
    {
        columns.push("subject_id".to_owned());
    }
    Query {
        from: ask.from,
        to: ask.to,
        after: ask.cursor.map(Cursor::place),
        filters: ask.filters.clone(),
        controllers: caller.principal.controllers.clone(),
        gap: ask.gap.unwrap_or(trace::VISIT_GAP),
        limit: Some(ask.limit),
        columns,
        own: ask.own,
        ..Query::new(of.clone())
    }
}
