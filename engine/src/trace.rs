//! Traces: who looked in this record, what did this user open, what was this event.

mod asked;
mod summary;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col};

use crate::error::{EngineError, nearest};
use crate::lake::Table;
use crate::provider::Counters;
use crate::session::Session;
use asked::Asked;
pub use summary::{Summary, VISIT_GAP};

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Everyone who looked in the record of this person, under any number that the person has had.
    Subject(String),
    /// Everything that this user did: a staff user id, or an account id.
    User(String),
    /// One event of a source, all its rows, and what another system logged about the same request.
    Event {
        /// The source's own id of it.
        id: String,
        /// Which source; none: any that has the id.
        source: Option<String>,
    },
}

/// A trace to run.
#[derive(Debug, Clone)]
pub struct Query {
    /// Of whom or what.
    pub of: Of,
    /// From this instant on, µs UTC.
    pub from: Option<i64>,
    /// Up to this instant and without it, µs UTC.
    pub to: Option<i64>,
    /// At most so many rows, the earliest; the summary is of all.
    pub limit: Option<usize>,
    /// Which columns, in this order; none: all but `record`. Besides those of `access_events`: `actor_id` (who is
    /// behind the account), `subject_key` (the person's number now).
    pub columns: Option<Vec<String>>,
    /// Whether looks through Insyn itself are shown too.
    pub own: bool,
}

impl Query {
    /// All rows, all columns but `record`, without Insyn's own.
    pub fn new(of: Of) -> Self {
        Query { of, from: None, to: None, limit: None, columns: None, own: false }
    }
}

/// A name that was not in the question but belongs to the same person.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Joined {
    /// The context table that says so: `accounts` or `identities`.
    pub via: &'static str,
    /// As it was asked for.
    pub asked: String,
    /// What was looked for too.
    pub used: String,
}

/// What a trace found.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The columns that were asked for.
    pub schema: SchemaRef,
    /// Rows by `occurred_at`, `segment`, `seq`, ascending.
    pub batches: Vec<RecordBatch>,
    /// Of all rows, also of those beyond the limit.
    pub summary: Summary,
    /// Whose records came back: distinct `subject_id` of the rows in `batches`, sorted.
    pub subjects: Vec<String>,
    /// Which other names and numbers were looked for.
    pub joined: Vec<Joined>,
    /// What it cost.
    pub counters: Counters,
}

impl Trace {
    /// How many rows came back.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Runs a trace over the session's version of the lake.
///
/// # Errors
/// When the question has no answer (an empty id, an unknown column, an end before the start), or reading fails.
pub async fn trace(session: &Session, query: &Query) -> Result<Trace, EngineError> {
    let columns = columns(query.columns.as_deref())?;
    let asked = Asked::of(session, query).await?;
    let wanted = columns.len();
    let rows = async {
        let mut shown: Vec<Expr> = Vec::with_capacity(wanted + HELPERS.len());
        for name in &columns {
            shown.push(match name.as_str() {
                "actor_id" => actor(session)?.alias("actor_id"),
                "subject_key" => subject(session)?.alias("subject_key"),
                name => col(name),
            });
        }
        session.collect(plan(session, &asked.filter, shown, query.limit).await?).await
    };
    // Without a limit the rows are all there is; with one, the summary needs a look of its own, at three columns.
    let (found, all) = match query.limit {
        None => (rows.await?, None),
        Some(_) => {
            let narrow =
                async { session.collect(plan(session, &asked.filter, Vec::new(), None).await?).await };
            let (found, all) = tokio::try_join!(rows, narrow)?;
            (found, Some(all))
        }
    };
    let mut counters = asked.counters;
    counters += found.counters;
    let summary = match &all {
        Some(all) => {
            counters += all.counters;
            summary::of(&all.batches, asked.other_side)?
        }
        None => summary::of(&found.batches, asked.other_side)?,
    };
    let subjects = subjects(&found.batches);
    let kept: Vec<usize> = (0..wanted).collect();
    let schema = Arc::new(found.schema.project(&kept)?);
    let batches = found.batches.iter().map(|b| b.project(&kept)).collect::<Result<_, _>>()?;
    Ok(Trace { schema, batches, summary, subjects, joined: asked.joined, counters })
}

/// Columns beside those that were asked for: what order, summary and `subjects` need. A `~` is in no column's name.
const HELPERS: [&str; 6] = ["~at", "~segment", "~seq", "~actor", "~key", "~subject"];

async fn plan(
    session: &Session,
    filter: &Expr,
    mut shown: Vec<Expr>,
    limit: Option<usize>,
) -> Result<LogicalPlanBuilder, EngineError> {
    let helpers = [
        col("occurred_at"),
        col("segment"),
        col("seq"),
        actor(session)?,
        subject(session)?,
        col("subject_id"),
    ];
    shown.extend(helpers.into_iter().zip(HELPERS).map(|(expr, name)| expr.alias(name)));
    let order = HELPERS[..3].iter().map(|name| col(*name).sort(true, false));
    let scan = session.scan(Table::AccessEvents.name()).await?;
    Ok(scan.filter(filter.clone())?.project(shown)?.sort(order)?.limit(0, limit)?)
}

fn actor(session: &Session) -> Result<Expr, EngineError> {
    session.call("actor_id", vec![col("source"), col("user_id"), col("occurred_at")])
}

fn subject(session: &Session) -> Result<Expr, EngineError> {
    session.call("subject_key", vec![col("subject_id")])
}

fn columns(asked: Option<&[String]>) -> Result<Vec<String>, EngineError> {
    let schema = Table::AccessEvents.schema();
    let all = schema.fields().iter().map(|f| f.name().as_str());
    let Some(asked) = asked else {
        return Ok(all.filter(|name| *name != "record").map(str::to_owned).collect());
    };
    let names: Vec<&str> = all.chain(["actor_id", "subject_key"]).collect();
    let mut columns: Vec<String> = Vec::new();
    for name in asked {
        if !names.contains(&name.as_str()) {
            let nearest = nearest(name, names.iter().copied());
            return Err(EngineError::UnknownColumn { name: name.clone(), table: "access_events", nearest });
        }
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    Ok(columns)
}

fn subjects(batches: &[RecordBatch]) -> Vec<String> {
    let mut subjects = BTreeSet::new();
    for column in batches.iter().filter_map(|b| b.column_by_name("~subject")?.as_string_opt::<i32>().cloned())
    {
        for subject in column.iter().flatten() {
            if !subjects.contains(subject) {
                subjects.insert(subject.to_owned());
            }
        }
    }
    subjects.into_iter().collect()
}
