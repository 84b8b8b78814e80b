//! Which export states which days, what of it was new, and what it lacks.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use serde::Serialize;

use crate::error::EngineError;
use crate::output::to_the_second;
use crate::session::Session;

/// One day of one export, as it was read last. No personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedDay {
    /// Whose export.
    pub source: String,
    /// Which file.
    pub file_id: String,
    /// Where it lay.
    pub path: String,
    /// In the organisation's zone, as `2026-08-31`.
    pub day: String,
    /// Its first event of that day, RFC 3339.
    pub first_event: Option<String>,
    /// Its last one.
    pub last_event: Option<String>,
    /// Rows that it states.
    pub rows: u64,
    /// Of these, rows that nobody had stated before.
    pub stored: u64,
    /// Rows that others state of that time, and it does not.
    pub lacking: u64,
    /// When it was read, RFC 3339.
    pub read_at: Option<String>,
}

/// Every day of every export of a source, or of all; by source, day and when it was read.
///
/// # Errors
/// When the lake cannot be read.
pub async fn stated_days(session: &Session, source: Option<&str>) -> Result<Vec<StatedDay>, EngineError> {
    let query = "SELECT source, file_id, path, day, first_event, last_event, rows, stored, lacking, read_at \
         FROM (SELECT *, row_number() OVER (PARTITION BY source, file_id, day ORDER BY read_at DESC) AS nth \
               FROM exports WHERE coalesce($source, source) = source) AS latest \
         WHERE nth = 1 ORDER BY source, day, read_at, file_id";
    let source = ScalarValue::Utf8(source.map(str::to_owned));
    let answer = session.ask(query, vec![("source", source)]).await?.collect().await?;
    Ok(answer.iter().flat_map(days).collect())
}

fn days(batch: &RecordBatch) -> Vec<StatedDay> {
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
    let time = |column: usize, row: usize| {
        let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| to_the_second(times.value(row)))?
    };
    let count = |column: usize, row: usize| {
        u64::try_from(batch.column(column).as_primitive::<Int64Type>().value(row)).unwrap_or_default()
    };
    let day = |row: usize| StatedDay {
        source: text(0, row),
        file_id: text(1, row),
        path: text(2, row),
        day: text(3, row),
        first_event: time(4, row),
        last_event: time(5, row),
        rows: count(6, row),
        stored: count(7, row),
        lacking: count(8, row),
        read_at: time(9, row),
    };
    (0..batch.num_rows()).map(day).collect()
}
