//! What a user opened, day by day: how often which record from which unit, first and last.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::{NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use datafusion::logical_expr::col;
use futures::TryStreamExt;

use super::asked::Asked;
use super::summary::column;
use super::{Joined, Of, Place, Query, by_user};
use crate::error::EngineError;
use crate::provider::Counters;
use crate::session::Session;
use crate::session::users::counts;

/// The columns of a day's rows.
pub const COLUMNS: [&str; 6] = ["subject_id", "care_unit_id", "day", "n", "first", "last"];

/// What a user's days come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Rows of `access_events`.
    pub rows: u64,
    /// Rows of the answer, were it given at once.
    pub counts: u64,
    /// Days with an access, in the organisation's zone.
    pub days: u64,
    /// People whose records were opened.
    pub persons: u64,
    /// The first `occurred_at`, µs UTC.
    pub first: Option<i64>,
    /// The last one.
    pub last: Option<i64>,
}

/// A user's days.
#[derive(Debug, Clone)]
pub struct Days {
    /// [`COLUMNS`].
    pub schema: SchemaRef,
    /// By day, then `subject_id`, then `care_unit_id`; whole days.
    pub batches: Vec<RecordBatch>,
    /// Of all days, also of those beyond the limit.
    pub summary: Summary,
    /// Whose records came back: distinct `subject_id` of the rows in `batches`, sorted.
    pub subjects: Vec<String>,
    /// After which place the rest is, for `Query::after`: the end of a day. None where nothing is left.
    pub next: Option<Place>,
    /// Which other names were looked for.
    pub joined: Vec<Joined>,
    /// What it cost.
    pub counters: Counters,
}

/// Counts what `query` asks for by record, unit and local day. At most `query.limit` rows, or those of one day: a day is
/// never cut.
///
/// # Errors
/// When it is not about a user, filters by a column that `user_accesses` has not, or as `trace`.
pub async fn days(session: &Session, query: &Query) -> Result<Days, EngineError> {
    check(query)?;
    let asked = Asked::of(session, query).await?;
    let day = session.call("local_date", vec![col("occurred_at")])?.alias("day");
    let key = session.call("subject_key", vec![col("subject_id")])?.alias("~key");
    let plan = session
        .by_user()?
        .filter(asked.filter.clone())?
        .aggregate([col("subject_id"), col("care_unit_id"), day], counts())?
        .project([
            col("subject_id"),
            col("care_unit_id"),
            col("day"),
            col("n"),
            col("first"),
            col("last"),
            key,
        ])?
        .sort(["day", "subject_id", "care_unit_id"].map(|name| col(name).sort(true, false)))?;
    let (mut rows, plan) = session.stream(plan).await?;
    let mut page = Page { limit: query.limit, ..Page::default() };
    while let Some(batch) = rows.try_next().await? {
        page.add(&batch)?;
    }
    page.close()?;
    drop(rows);
    let mut counters = asked.counters;
    counters += Counters::of(plan.as_ref());
    // After whatever the instant before that day may hold.
    let before = |begins: i64| Place { at: begins - 1, segment: i64::MAX, seq: i32::MAX };
    let next = page.rest.and_then(|day| beginning(session.zone(), day)).map(before);
    Ok(Days {
        schema: schema(),
        batches: page.batches,
        summary: Summary { persons: page.persons.len() as u64, ..page.summary },
        subjects: page.subjects.into_iter().collect(),
        next,
        joined: asked.joined,
        counters,
    })
}

fn check(query: &Query) -> Result<(), EngineError> {
    if !matches!(query.of, Of::User(_)) {
        let (what, found) = ("the question by day", query.of.name().to_owned());
        return Err(EngineError::Question { what, found, expected: "what a user did" });
    }
    match query.filters.iter().find(|(name, _)| !by_user::has(name)) {
        None => Ok(()),
        Some((name, _)) => {
            super::known(name)?;
            let found = format!("the column {name}");
            let expected = "a column of user_accesses, actor_id or subject_key";
            Err(EngineError::Question { what: "a filter by day", found, expected })
        }
    }
}

fn schema() -> SchemaRef {
    let time = || DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("subject_id", DataType::Utf8, true),
        Field::new("care_unit_id", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("n", DataType::Int64, false),
        Field::new("first", time(), true),
        Field::new("last", time(), true),
    ]))
}

/// When a day begins there, µs UTC: where midnight is left out, with the first instant after it.
fn beginning(zone: Tz, day: i32) -> Option<i64> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let midnight = (epoch + TimeDelta::days(day.into())).and_time(NaiveTime::MIN);
    let begins = zone.from_local_datetime(&midnight).earliest().or_else(|| {
        // No zone leaves out more than some hours.
        (1..=24 * 4).find_map(|quarter| {
            zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarter))).earliest()
        })
    })?;
    Some(begins.timestamp_micros())
}

/// The first whole days, and what all come to.
#[derive(Default)]
struct Page {
    limit: Option<usize>,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// The day that is being read.
    day: Option<i32>,
    /// Its rows, which are shown when all of them fit.
    of_day: Vec<RecordBatch>,
    /// The first day that is not shown.
    rest: Option<i32>,
    summary: Summary,
    persons: HashSet<String>,
    subjects: BTreeSet<String>,
}

impl Page {
    /// The next rows, in order of days.
    fn add(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        self.tally(batch)?;
        let days = column(batch, "day")?.as_primitive::<Date32Type>();
        let mut from = 0;
        while from < batch.num_rows() {
            let day = days.value(from);
            let to = (from..batch.num_rows()).find(|row| days.value(*row) != day).unwrap_or(batch.num_rows());
            if self.day != Some(day) {
                self.close()?;
                self.day = Some(day);
                self.summary.days += 1;
            }
            if self.rest.is_none() {
                self.of_day.push(batch.slice(from, to - from));
                self.fits();
            }
            from = to;
        }
        Ok(())
    }

    /// Whether the day still has room; one day is shown however long it is.
    fn fits(&mut self) {
        let of_day: usize = self.of_day.iter().map(RecordBatch::num_rows).sum();
        if self.rows > 0 && self.limit.is_some_and(|limit| self.rows + of_day > limit) {
            self.rest = self.day;
            self.of_day.clear();
        }
    }

    /// The day has ended.
    fn close(&mut self) -> Result<(), EngineError> {
        let kept: Vec<usize> = (0..COLUMNS.len()).collect();
        for batch in std::mem::take(&mut self.of_day) {
            let batch = RecordBatch::try_new(schema(), batch.project(&kept)?.columns().to_vec())?;
            let subjects = column(&batch, "subject_id")?.as_string::<i32>();
            self.subjects.extend(subjects.iter().flatten().map(str::to_owned));
            self.rows += batch.num_rows();
            self.batches.push(batch);
        }
        Ok(())
    }

    fn tally(&mut self, batch: &RecordBatch) -> Result<(), EngineError> {
        let counts = column(batch, "n")?.as_primitive::<Int64Type>().values();
        let times =
            |name| Ok::<_, EngineError>(column(batch, name)?.as_primitive::<TimestampMicrosecondType>());
        let (firsts, lasts) = (times("first")?, times("last")?);
        let summary = &mut self.summary;
        summary.counts += batch.num_rows() as u64;
        summary.rows += counts.iter().map(|n| n.unsigned_abs()).sum::<u64>();
        summary.first = summary.first.into_iter().chain(firsts.iter().flatten()).min();
        summary.last = summary.last.into_iter().chain(lasts.iter().flatten()).max();
        for person in column(batch, "~key")?.as_string::<i32>().iter().flatten() {
            if !self.persons.contains(person) {
                self.persons.insert(person.to_owned());
            }
        }
        Ok(())
    }
}
