//! What a user did, in few reads: rows in order of users tell what all of it comes to and where the first rows lie, so
//! that of `access_events` only those places are read.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col};
use futures::TryStreamExt;

use super::asked::{Asked, instant, one_of};
use super::summary::{OtherSide, Summary, Tally, column};
use super::{HELPERS, Of, Query, actor, collect_subjects, plan, subject};
use crate::error::EngineError;
use crate::lake::{TRAIL, USER_COLUMNS};
use crate::provider::{Counters, LONGEST_IN_LIST};
use crate::session::Session;

/// Records that are looked for by name; rows of more of them are read by their time alone.
const MOST_RECORDS: usize = 8 * LONGEST_IN_LIST;

/// What all rows of the question come to, and where they lie.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) summary: Summary,
    /// Whose records: of all rows.
    pub(super) subjects: BTreeSet<String>,
    /// Where the first rows lie.
    pub(super) first: Places,
    pub(super) counters: Counters,
}

/// Where rows lie in `access_events`: which records, and when.
#[derive(Debug, Default)]
pub(super) struct Places {
    records: BTreeSet<String>,
    /// Rows that are about nobody.
    of_nobody: bool,
    times: Option<(i64, i64)>,
    rows: usize,
}

impl Places {
    pub(super) fn add(&mut self, record: Option<&str>, at: i64) {
        match record {
            None => self.of_nobody = true,
            // One more than are looked for by name is enough to know that they are too many.
            Some(record) if self.records.len() <= MOST_RECORDS && !self.records.contains(record) => {
                self.records.insert(record.to_owned());
            }
            Some(_) => {}
        }
        self.times = Some(self.times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.rows += 1;
    }

    /// Conditions of which each row fulfils one and only one: each is looked for by itself.
    fn conditions(&self) -> Vec<Expr> {
        let Some((first, last)) = self.times else { return Vec::new() };
        let when = col("occurred_at").gt_eq(instant(first)).and(col("occurred_at").lt_eq(instant(last)));
        if self.records.len() > MOST_RECORDS {
            return vec![when];
        }
        let records: Vec<&String> = self.records.iter().collect();
        let named = records.chunks(LONGEST_IN_LIST).map(|some| {
            let some = some.iter().map(|record| (*record).clone()).collect();
            one_of("subject_id", &some).and(when.clone())
        });
        let nobody = self.of_nobody.then(|| col("subject_id").is_null().and(when.clone()));
        named.chain(nobody).collect()
    }
}

/// Whether rows in order of users have this column, or what it is made of.
pub(super) fn has(column: &str) -> bool {
    USER_COLUMNS.contains(&column) || ["actor_id", "subject_key"].contains(&column)
}

/// Whether rows in order of users can answer it: they are there, and have all columns that it asks of.
pub(super) fn answers(session: &Session, query: &Query) -> bool {
    let of_user = matches!(query.of, Of::User(_)) && session.reached().is_some();
    of_user && query.filters.iter().all(|(name, _)| has(name))
}

/// Looks at all rows of the question, a few columns of each; where the first `limit` lie.
pub(super) async fn look(
    session: &Session,
    asked: &Asked,
    query: &Query,
    all_subjects: bool,
) -> Result<Seen, EngineError> {
    let mut seen = Seen::default();
    let mut tally = Tally::new(OtherSide::Subjects, query.gap);
    let most = query.limit.unwrap_or(0);
    let (mut rows, plan) = session.stream(narrow(session, asked, Vec::new(), None)?).await?;
    while let Some(batch) = rows.try_next().await? {
        tally.count(&batch)?;
        if all_subjects {
            collect_subjects(&batch, &mut seen.subjects);
        }
        if seen.first.rows < most {
            each(&batch, |record, at, _| {
                if seen.first.rows < most {
                    seen.first.add(record, at);
                }
            })?;
        }
    }
    drop(rows);
    seen.counters += Counters::of(plan.as_ref());
    let suspects = tally.suspects().clone();
    seen.summary = tally.summary();
    if !suspects.is_empty() {
        seen.summary.repeats = repeats(session, asked, query, &suspects, &mut seen.counters).await?;
    }
    Ok(seen)
}

/// The plan for the rows that lie there, of all that the question asks for: ordered, the first `limit` of them.
pub(super) async fn rows(
    session: &Session,
    asked: &Asked,
    places: &Places,
    shown: &[Expr],
    limit: Option<usize>,
) -> Result<LogicalPlanBuilder, EngineError> {
    let mut conditions = places.conditions().into_iter();
    let Some(first) = conditions.next() else {
        return plan(
            session,
            &asked.filter.clone().and(datafusion::logical_expr::lit(false)),
            shown.to_vec(),
            limit,
        )
        .await;
    };
    let part = async |condition: Expr| {
        plan(session, &asked.filter.clone().and(condition), shown.to_vec(), limit).await
    };
    let mut found = part(first).await?;
    let more: Vec<Expr> = conditions.collect();
    if more.is_empty() {
        return Ok(found);
    }
    for condition in more {
        found = found.union(part(condition).await?.build()?)?;
    }
    let order = HELPERS[..3].iter().map(|name| col(*name).sort(true, false));
    Ok(found.sort(order)?.limit(0, limit)?)
}

/// Rows whose event another record of the same source had told of before. Two halves of a hash may be the same by
/// chance: what looks like a repeat is read where it lies.
async fn repeats(
    session: &Session,
    asked: &Asked,
    query: &Query,
    suspects: &BTreeSet<u32>,
    counters: &mut Counters,
) -> Result<Option<u64>, EngineError> {
    let (mut all, looked) = session.stream(narrow(session, asked, Vec::new(), None)?).await?;
    let mut places = Places::default();
    while let Some(batch) = all.try_next().await? {
        each(&batch, |record, at, event| {
            if suspects.contains(&event) {
                places.add(record, at);
            }
        })?;
    }
    drop(all);
    *counters += Counters::of(looked.as_ref());
    let mut tally = Tally::new(OtherSide::Subjects, query.gap);
    let (mut found, read) = session.stream(rows(session, asked, &places, &[], None).await?).await?;
    while let Some(batch) = found.try_next().await? {
        tally.count(&batch)?;
    }
    *counters += Counters::of(read.as_ref());
    Ok(tally.summary().repeats)
}

/// The plan for the rows in order of users: these columns, and the helper columns that there are.
pub(super) fn narrow(
    session: &Session,
    asked: &Asked,
    mut shown: Vec<Expr>,
    limit: Option<usize>,
) -> Result<LogicalPlanBuilder, EngineError> {
    let helpers = [
        col("occurred_at").alias("~at"),
        col("segment").alias("~segment"),
        col("seq").alias("~seq"),
        actor(session)?.alias("~actor"),
        subject(session)?.alias("~key"),
        col("subject_id").alias("~subject"),
        col("source").alias("~source"),
        col(TRAIL).alias("~trail"),
    ];
    shown.extend(helpers);
    let order = HELPERS[..3].iter().map(|name| col(*name).sort(true, false));
    Ok(session.by_user()?.filter(asked.filter.clone())?.project(shown)?.sort(order)?.limit(0, limit)?)
}

/// Each row's record, time and first half of its trail.
fn each(batch: &RecordBatch, mut of: impl FnMut(Option<&str>, i64, u32)) -> Result<(), EngineError> {
    let records = column(batch, "~subject")?.as_string::<i32>();
    let times = column(batch, "~at")?.as_primitive::<TimestampMicrosecondType>();
    let trails = column(batch, "~trail")?.as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let record = records.is_valid(row).then(|| records.value(row));
        of(record, times.value(row), (trails.value(row) as u64 >> 32) as u32);
    }
    Ok(())
}
