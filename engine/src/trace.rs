//! Traces: who looked in this record, what did this user open, what was this event a part of, who looked in both.

mod asked;
mod by_user;
pub mod days;
mod summary;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col};
use futures::TryStreamExt;

use crate::error::{EngineError, nearest};
use crate::lake::Table;
use crate::provider::Counters;
use crate::session::{Answer, Session};
use asked::Asked;
use summary::Tally;
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
    /// The visit that an event is a part of: what its user did in the same record, up to a longer gap before and after.
    Visit {
        /// The source's own id of the event.
        event: String,
        /// Which source; none: any that has the id.
        source: Option<String>,
    },
    /// Everything that was done while somebody was signed in once.
    Session {
        /// The system's id of it.
        id: String,
        /// Which source; none: any that has the id.
        source: Option<String>,
    },
    /// Everything that was done from this unit.
    Unit(String),
    /// What the people who looked in both of these records did in either.
    Both(String, String),
}

impl Of {
    /// What the question is about, as Insyn's own looks name it.
    pub fn name(&self) -> &'static str {
        match self {
            Of::Subject(_) => "trace subject",
            Of::User(_) => "trace user",
            Of::Event { .. } => "trace event",
            Of::Visit { .. } => "trace visit",
            Of::Session { .. } => "trace session",
            Of::Unit(_) => "trace unit",
            Of::Both(..) => "trace both",
        }
    }

    /// Whose records are asked for by name. An empty answer tells something of them too.
    pub fn subjects(&self) -> Vec<&str> {
        match self {
            Of::Subject(id) => vec![id],
            Of::Both(one, other) => vec![one, other],
            _ => Vec::new(),
        }
    }

    /// The question without anybody's personal number; none where it is only about records.
    pub fn shown(&self) -> Option<String> {
        let of = |source: &Option<String>| source.as_ref().map(|s| format!(" of {s}")).unwrap_or_default();
        match self {
            Of::Subject(_) | Of::Both(..) => None,
            Of::User(id) => Some(format!("user {id}")),
            Of::Event { id, source } => Some(format!("event {id}{}", of(source))),
            Of::Visit { event, source } => Some(format!("visit of event {event}{}", of(source))),
            Of::Session { id, source } => Some(format!("session {id}{}", of(source))),
            Of::Unit(id) => Some(format!("unit {id}")),
        }
    }
}

/// Where a row stands among all: by time, then by where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `occurred_at`, µs UTC.
    pub at: i64,
    /// `segment`.
    pub segment: i64,
    /// `seq`.
    pub seq: i32,
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
    /// Only rows after this one.
    pub after: Option<Place>,
    /// Column and value, as text, all of which must hold; an empty value is null too. The columns of `columns` will do.
    pub filters: Vec<(String, String)>,
    /// Only rows of these controllers; none: of all.
    pub controllers: Vec<String>,
    /// A user's rows on one record belong to one visit while the gaps between them are shorter, µs.
    pub gap: i64,
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
        Query {
            of,
            from: None,
            to: None,
            after: None,
            filters: Vec::new(),
            controllers: Vec::new(),
            gap: VISIT_GAP,
            limit: None,
            columns: None,
            own: false,
        }
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
    /// Where the last row of `batches` stands.
    pub last: Option<Place>,
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

/// A trace whose rows are not held: what they come to is known before the first is read.
pub struct Streamed {
    /// The columns that were asked for.
    pub schema: SchemaRef,
    rows: SendableRecordBatchStream,
    /// How many of the columns that come are shown.
    wanted: usize,
    /// Of all rows.
    pub summary: Summary,
    /// Whose records will come: distinct `subject_id` of all rows, sorted.
    pub subjects: Vec<String>,
    /// Which other names and numbers were looked for.
    pub joined: Vec<Joined>,
}

impl Streamed {
    /// The next rows by `occurred_at`, `segment`, `seq`, ascending; none when all have come.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        let kept: Vec<usize> = (0..self.wanted).collect();
        match self.rows.try_next().await? {
            Some(batch) => Ok(Some(batch.project(&kept)?)),
            None => Ok(None),
        }
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
    let shown = shown(session, &columns)?;
    let (found, summary, counters) = match query.limit {
        Some(_) if by_user::answers(session, query) => {
            let seen = by_user::look(session, &asked, query, false).await?;
            let rows = match columns.iter().all(|name| by_user::has(name)) {
                true => by_user::narrow(session, &asked, shown, query.limit)?,
                false => by_user::rows(session, &asked, &seen.first, &shown, query.limit).await?,
            };
            (session.collect(rows).await?, seen.summary, seen.counters)
        }
        _ => {
            let found = session.collect(plan(session, &asked.filter, shown, query.limit).await?).await?;
            let (summary, counters) = summed(session, query, &asked, &found).await?;
            (found, summary, counters)
        }
    };
    let counters = [asked.counters, found.counters].into_iter().fold(counters, |mut sum, of| {
        sum += of;
        sum
    });
    let subjects = subjects(&found.batches);
    let last = found.batches.last().map(last_place).transpose()?.flatten();
    let kept: Vec<usize> = (0..wanted).collect();
    let schema = Arc::new(found.schema.project(&kept)?);
    let batches = found.batches.iter().map(|b| b.project(&kept)).collect::<Result<_, _>>()?;
    Ok(Trace { schema, batches, summary, subjects, last, joined: asked.joined, counters })
}

/// Of the rows that a question about a user has, those at these places, with the columns that it asks for: in order, and
/// read where they lie. Of each place, whose record it is of.
///
/// # Errors
/// As [`trace`].
pub async fn rows_at(
    session: &Session,
    query: &Query,
    wanted: &[(Option<&str>, Place)],
) -> Result<Vec<RecordBatch>, EngineError> {
    let columns = columns(query.columns.as_deref())?;
    let asked = Asked::of(session, query).await?;
    let mut places = by_user::Places::default();
    wanted.iter().for_each(|(record, place)| places.add(*record, place.at));
    let wanted: BTreeSet<(i64, i32)> = wanted.iter().map(|(_, place)| (place.segment, place.seq)).collect();
    let shown = shown(session, &columns)?;
    let found = session.collect(by_user::rows(session, &asked, &places, &shown, None).await?).await?;
    let kept: Vec<usize> = (0..columns.len()).collect();
    let only = |batch: &RecordBatch| -> Result<RecordBatch, EngineError> {
        let segments = summary::column(batch, "~segment")?.as_primitive::<Int64Type>().values();
        let seqs = summary::column(batch, "~seq")?.as_primitive::<Int32Type>().values();
        let stays = segments.iter().zip(seqs).map(|(segment, seq)| Some(wanted.contains(&(*segment, *seq))));
        Ok(filter_record_batch(batch, &stays.collect::<BooleanArray>())?.project(&kept)?)
    };
    found.batches.iter().map(only).collect()
}

/// What all rows come to, of which the limit may have cut some.
async fn summed(
    session: &Session,
    query: &Query,
    asked: &Asked,
    found: &Answer,
) -> Result<(Summary, Counters), EngineError> {
    let mut tally = Tally::new(asked.other_side, query.gap);
    let mut counters = Counters::default();
    // Rows that the limit did not cut are all there is; else the summary needs a look of its own, at a few columns.
    if query.limit.is_some_and(|limit| found.rows() >= limit) {
        let (mut all, plan) = session.stream(plan(session, &asked.filter, Vec::new(), None).await?).await?;
        while let Some(batch) = all.try_next().await? {
            tally.count(&batch)?;
        }
        counters += Counters::of(plan.as_ref());
    } else {
        found.batches.iter().try_for_each(|batch| tally.count(batch))?;
    }
    Ok((tally.summary(), counters))
}

/// The same for as many rows as there are: they are sorted on disk where memory does not do, and given one batch after
/// the other. `query.limit` has no part in it.
///
/// # Errors
/// As [`trace`]; while rows are read, from their stream.
pub async fn stream(session: &Session, query: &Query) -> Result<Streamed, EngineError> {
    let columns = columns(query.columns.as_deref())?;
    let asked = Asked::of(session, query).await?;
    let (summary, subjects) = if by_user::answers(session, query) {
        let seen = by_user::look(session, &asked, query, true).await?;
        (seen.summary, seen.subjects)
    } else {
        let mut tally = Tally::new(asked.other_side, query.gap);
        let mut subjects = BTreeSet::new();
        let (mut narrow, _) = session.stream(plan(session, &asked.filter, Vec::new(), None).await?).await?;
        while let Some(batch) = narrow.try_next().await? {
            tally.count(&batch)?;
            collect_subjects(&batch, &mut subjects);
        }
        (tally.summary(), subjects)
    };
    let shown = shown(session, &columns)?;
    let (rows, _) = session.stream(plan(session, &asked.filter, shown, None).await?).await?;
    let wanted = columns.len();
    let kept: Vec<usize> = (0..wanted).collect();
    Ok(Streamed {
        schema: Arc::new(rows.schema().project(&kept)?),
        rows,
        wanted,
        summary,
        subjects: subjects.into_iter().collect(),
        joined: asked.joined,
    })
}

/// Columns beside those that were asked for: what order, summary and `subjects` need. A `~` is in no column's name.
const HELPERS: [&str; 10] =
    ["~at", "~segment", "~seq", "~actor", "~key", "~subject", "~source", "~event", "~file", "~offset"];

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
        col("source"),
        col("event_id"),
        col("file_id"),
        col("file_offset"),
    ];
    shown.extend(helpers.into_iter().zip(HELPERS).map(|(expr, name)| expr.alias(name)));
    let order = HELPERS[..3].iter().map(|name| col(*name).sort(true, false));
    let scan = session.scan(Table::AccessEvents.name()).await?;
    Ok(scan.filter(filter.clone())?.project(shown)?.sort(order)?.limit(0, limit)?)
}

fn shown(session: &Session, columns: &[String]) -> Result<Vec<Expr>, EngineError> {
    columns.iter().map(|name| Ok(column(session, name)?.alias(name))).collect()
}

/// A column of `access_events`, or of who is behind it.
fn column(session: &Session, name: &str) -> Result<Expr, EngineError> {
    match name {
        "actor_id" => actor(session),
        "subject_key" => subject(session),
        name => Ok(col(name)),
    }
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
    let mut columns: Vec<String> = Vec::new();
    for name in asked {
        known(name)?;
        if !columns.contains(name) {
            columns.push(name.clone());
        }
    }
    Ok(columns)
}

fn known(name: &str) -> Result<(), EngineError> {
    let schema = Table::AccessEvents.schema();
    let names: Vec<&str> =
        schema.fields().iter().map(|f| f.name().as_str()).chain(["actor_id", "subject_key"]).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let nearest = nearest(name, names.iter().copied());
    Err(EngineError::UnknownColumn { name: name.to_owned(), table: "access_events", nearest })
}

fn subjects(batches: &[RecordBatch]) -> Vec<String> {
    let mut subjects = BTreeSet::new();
    batches.iter().for_each(|batch| collect_subjects(batch, &mut subjects));
    subjects.into_iter().collect()
}

fn collect_subjects(batch: &RecordBatch, subjects: &mut BTreeSet<String>) {
    let Some(column) = batch.column_by_name("~subject").and_then(|column| column.as_string_opt::<i32>())
    else {
        return;
    };
    for subject in column.iter().flatten() {
        if !subjects.contains(subject) {
            subjects.insert(subject.to_owned());
        }
    }
}

fn last_place(batch: &RecordBatch) -> Result<Option<Place>, EngineError> {
    let Some(row) = batch.num_rows().checked_sub(1) else { return Ok(None) };
    let at = summary::column(batch, "~at")?.as_primitive::<TimestampMicrosecondType>().value(row);
    let segment = summary::column(batch, "~segment")?.as_primitive::<Int64Type>().value(row);
    let seq = summary::column(batch, "~seq")?.as_primitive::<Int32Type>().value(row);
    Ok(Some(Place { at, segment, seq }))
}
