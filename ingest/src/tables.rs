//! `coverage` and `source_health`: what is known of the sources, as tables that SQL may ask.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use chrono::Utc;
use insyn_engine::config::Organisation;
use insyn_engine::error::EngineError;
use insyn_engine::lake::Lake;
use insyn_engine::session::Session;

use crate::error::IngestError;
use crate::health::Recent;
use crate::law::{self, Coverage};
use crate::status::{SourceStatus, status};
use crate::{LegalArea, SourceConfig};

/// Which of the fields that law asks for were there, by source and day: the last 90 days.
pub const COVERAGE: &str = "coverage";
/// The state of each source now, as `sources status` tells it.
pub const HEALTH: &str = "source_health";
const DAYS: i64 = 90;
const DAY: i64 = 86_400_000_000;

/// Where the sources are, and what reads them.
pub struct Known<'a> {
    /// The lake.
    pub lake: &'a Lake,
    /// Whose installation.
    pub organisation: &'a Organisation,
    /// As configured.
    pub sources: &'a [SourceConfig],
    /// The folder of the configuration.
    pub base: &'a Path,
}

/// The session with those of the tables that `query` names: they cost a look at weeks of events. `recent` is asked only
/// when it is needed.
///
/// # Errors
/// When the lake cannot be read.
pub async fn with_tables(
    session: Session,
    query: &str,
    known: &Known<'_>,
    recent: impl Future<Output = Result<Arc<Recent>, EngineError>>,
) -> Result<Session, IngestError> {
    let query = query.to_lowercase();
    let names =
        |table: &str| query.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == table);
    let mut session = session;
    if names(COVERAGE) {
        let now = Utc::now().timestamp_micros();
        let rows = law::coverage(&session, known.sources, now - DAYS * DAY, i64::MAX / 2).await?;
        session = with(session, COVERAGE, coverage_table(&rows))?;
    }
    if names(HEALTH) {
        let rows = status(known.lake, known.organisation, known.sources, known.base, &*recent.await?).await?;
        session = with(session, HEALTH, health_table(known.sources, &rows))?;
    }
    Ok(session)
}

fn with(session: Session, name: &str, rows: Result<RecordBatch, ArrowError>) -> Result<Session, IngestError> {
    let rows = rows.map_err(EngineError::from)?;
    Ok(session.with_table(name, rows.schema(), vec![rows])?)
}

fn texts<T, S: AsRef<str>>(rows: &[T], of: impl Fn(&T) -> Option<S>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn counts<T>(rows: &[T], of: impl Fn(&T) -> Option<u64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| i64::try_from(of(row)?).ok()).collect::<Int64Array>())
}

fn coverage_table(rows: &[Coverage]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter([
        ("source", texts(rows, |row| Some(row.source.clone()))),
        ("day", texts(rows, |row| Some(row.day.clone()))),
        ("legal_area", texts(rows, |row| Some(row.legal_area.clone()))),
        ("act", texts(rows, |row| Some(row.act.clone()))),
        ("field", texts(rows, |row| Some(row.field.clone()))),
        ("rows", counts(rows, |row| Some(row.rows))),
        ("there", counts(rows, |row| Some(row.there))),
        ("constant", counts(rows, |row| Some(row.constant))),
        ("one_value", counts(rows, |row| Some(row.one_value))),
        ("unresolved", counts(rows, |row| Some(row.unresolved))),
        ("missing", counts(rows, |row| Some(row.missing))),
    ])
}

fn health_table(sources: &[SourceConfig], rows: &[SourceStatus]) -> Result<RecordBatch, ArrowError> {
    let area = |row: &SourceStatus| {
        let source = sources.iter().find(|source| source.name == row.name);
        Some(source.map_or(LegalArea::Other, |source| source.legal_area).as_str())
    };
    RecordBatch::try_from_iter_with_nullable([
        ("source", texts(rows, |row| Some(row.name.clone())), false),
        ("format", texts(rows, |row| Some(row.format.clone())), false),
        ("legal_area", texts(rows, area), false),
        ("state", texts(rows, |row| Some(row.state.clone())), false),
        (
            "quiet",
            Arc::new(rows.iter().map(|row| Some(row.state == "quiet")).collect::<BooleanArray>()),
            false,
        ),
        ("files", counts(rows, |row| Some(row.files)), false),
        ("bytes_behind", counts(rows, |row| Some(row.bytes_behind)), false),
        ("seconds_behind", counts(rows, |row| Some(row.seconds_behind)), false),
        ("events", counts(rows, |row| Some(row.events)), false),
        ("quarantined", counts(rows, |row| Some(row.quarantined)), false),
        ("quarantine_open", counts(rows, |row| Some(row.quarantine_open)), false),
        ("gaps", counts(rows, |row| Some(row.gaps)), false),
        ("gaps_open", counts(rows, |row| Some(row.gaps_open)), false),
        ("events_hour", counts(rows, |row| Some(row.events_hour)), false),
        ("usual_hour", counts(rows, |row| row.usual_hour), true),
        ("missing_numbers", counts(rows, |row| row.missing_numbers), true),
        ("repeated_ids", counts(rows, |row| Some(row.repeated_ids)), false),
        ("events_ahead", counts(rows, |row| Some(row.events_ahead)), false),
        ("most_ahead_seconds", counts(rows, |row| Some(row.most_ahead_seconds)), false),
        ("last_event", texts(rows, |row| row.last_event.clone()), true),
        ("why", texts(rows, |row| row.why.clone()), true),
    ])
}
