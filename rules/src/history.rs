//! What lies beyond the rows on the desk: what the others at a unit did in a record, weeks before a look and after it.
//!
//! - `unexplained`: for a rule the looks that no explanation has a good reason for; for an explanation those that none which
//!   reads the context alone has. While an explanation is measured, shown or tested by itself these are all looks.
//! - `record_history` (subject_key, care_unit_id, actor_id, day, wrote): who looked, on which local day, in the records of
//!   those persons from the user's unit, from a unit with which the user registered a relation of theirs, or from one near
//!   these, and whether they wrote or signed. It reaches [`BEFORE`] before the
//!   looks and [`AFTER`] after them, and holds nobody else's records: few of a day's looks are left unexplained, so that
//!   weeks are read for few persons.
//!
//! - `user_history` (actor_id, day, source, account, unit, record, n): what some users did before, for a rule that says of whom
//!   and how far back (`history` in its file). It is laid out for each rule and slice anew, and counted by those of the
//!   columns that the rule's SQL names.
//! - `user_records` (actor_id, day, records): of how many persons the same users opened records, on each of their days.
//! - `source_hours` (source, hour, events, controller_id): how many records each source gave in each hour, from five weeks
//!   before the slice.
//!
//! An explanation that reads the first two never reads `explained`, and what it explains is in neither: no explanation of this kind
//! can rest on another one.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::JoinType;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::prelude::col;
use futures::StreamExt;
use insyn_engine::session::OWN_SOURCE;

use crate::beside;
use crate::calendar::CalendarWindow;
use crate::counted;
use crate::desk::{Desk, MOST_NAMED, looks_of, text_array, texts};
use crate::explain::{RELATIONS, Standing};
use crate::hits;
use crate::opened;
use crate::rule::{Rule, WindowSize};
use crate::run::plain;
use crate::sql;
use crate::standing::Standings;
use crate::written::{self, Accounts};

/// The looks that still have no good reason.
pub(crate) const UNEXPLAINED: &str = "unexplained";
/// What was done in these records.
pub(crate) const RECORD_HISTORY: &str = "record_history";

/// What users did before.
pub(crate) const USER_HISTORY: &str = "user_history";
/// How many records they opened.
pub(crate) const USER_RECORDS: &str = "user_records";
/// What is counted before it is that.
const COUNTED: &str = "counted_days";
/// What sources gave.
pub(crate) const SOURCE_HOURS: &str = "source_hours";

/// Columns of `user_history` that are there when they are named, and what they are made of.
const COUNTED_BY: [(&str, &str); 4] = [
    ("source", "source"),
    ("account", "lower(user_id)"),
    ("unit", "care_unit_id"),
    ("record", "subject_key(subject_id)"),
];
/// Of these, the columns of `user_accesses` that are read beside those that all rows are read with.
const BESIDE: [(&str, &str); 2] = [("unit", "care_unit_id"), ("record", "subject_id")];

/// Rows of a batch.
const TOGETHER: usize = 8192;
const DAY: i64 = 86_400_000_000;
/// How far back `source_hours` reaches, µs.
const HOURS_BEFORE: i64 = 37 * DAY;
/// So long before a look, µs; a day more than parameters allow, for local days.
const BEFORE: i64 = 31 * DAY;
/// So long after it: as long as what is unexplained is looked at again.
const AFTER: i64 = 15 * DAY;

/// Whether an explanation reads what was done before and after, so that it is asked about the rest only.
pub(crate) fn asks(rule: &Rule) -> bool {
    sql::words(&rule.sql).iter().any(|word| word == UNEXPLAINED || word == RECORD_HISTORY)
}

impl Desk {
    /// Leaves in `unexplained` those of `looks` of this time (µs UTC, half-open) that nothing explains; says how many there are.
    pub(crate) async fn narrow(
        &self,
        looks: &str,
        whole: (i64, i64),
        standings: &Arc<Standings>,
    ) -> Result<usize, DataFusionError> {
        if !self.asks_history {
            return Ok(0);
        }
        let query = format!(
            "select * from {looks} where occurred_at >= {} and occurred_at < {}",
            sql::timestamp(whole.0),
            sql::timestamp(whole.1)
        );
        let frame = self.ctx.sql(&query).await?;
        let schema = Arc::new(Schema::new(frame.schema().fields().clone()));
        let parts = frame.execute_stream_partitioned().await?;
        let parts = beside::each(parts, |rows| unexplained(rows, Arc::clone(standings))).await?;
        let left = parts.iter().flatten().map(RecordBatch::num_rows).sum();
        self.put(UNEXPLAINED, schema, parts)?;
        Ok(left)
    }

    /// Lays out `record_history` of what is in `unexplained`; the rows on the desk lie in this period (µs UTC, half-open).
    pub(crate) async fn lay_history(&self, period: (i64, i64)) -> Result<(), DataFusionError> {
        if !self.asks_history {
            return Ok(());
        }
        let (keys, persons) = self.unexplained_keys().await?;
        let persons: BTreeSet<&str> = persons.iter().map(String::as_str).collect();
        let (from, to) = (period.0.saturating_sub(BEFORE), period.1.saturating_add(AFTER));
        let mut query = format!(
            "select subject_key, care_unit_id, source, user_id, occurred_at, action from accesses where {}",
            looks_of((from, to))
        );
        if let Some(numbers) = self.numbers(&persons).await? {
            query += &format!(" and subject_id in ({numbers})");
        }
        let nobody = persons.is_empty();
        let looks = self.source.sql(&query).await?;
        let keys = self.source.read_batch(keys)?;
        let theirs =
            looks.join(keys, JoinType::LeftSemi, &["subject_key", "care_unit_id"], &["id", "unit"], None)?;
        // Who it was and on which day is worked out for those that are left.
        let theirs = theirs.select_exprs(&[
            "subject_key",
            "care_unit_id",
            "actor_id(source, user_id, occurred_at) as actor_id",
            "local_date(occurred_at) as day",
            "coalesce(action in ('C', 'U'), false) as writes",
        ])?;
        let each = ["subject_key", "care_unit_id", "actor_id", "day"].map(col);
        let wrote = bool_or(col("writes"));
        let history = theirs.aggregate(each.to_vec(), vec![wrote.alias("wrote")])?;
        let schema = Arc::new(Schema::new(history.schema().fields().clone()));
        let parts = if nobody { Vec::new() } else { history.collect_partitioned().await? };
        self.put(RECORD_HISTORY, schema, parts)
    }

    /// Whose records were looked in for no known reason, with each unit near the one that it was done from or that the
    /// user registered a relation with; and the persons.
    async fn unexplained_keys(&self) -> Result<(RecordBatch, BTreeSet<String>), DataFusionError> {
        let mut asked = format!("select subject_key, care_unit_id from {UNEXPLAINED}");
        if self.rows(RELATIONS).is_some() {
            asked += &format!(
                " union select a.subject_key, r.care_unit_id from {UNEXPLAINED} a \
                 join {RELATIONS} r on r.subject_key = a.subject_key and r.created_by = a.actor_id"
            );
        }
        let query = format!(
            "select distinct a.subject_key, coalesce(u.near_unit_id, a.care_unit_id) as unit from ({asked}) a \
             left join unit_reach u on u.care_unit_id = a.care_unit_id where a.care_unit_id is not null"
        );
        let (mut ids, mut units, mut persons) = (Vec::new(), Vec::new(), BTreeSet::new());
        for batch in self.ctx.sql(&query).await?.collect().await? {
            let (subject, unit) = (text_array(&batch, 0)?, text_array(&batch, 1)?);
            for row in (0..batch.num_rows()).filter(|row| subject.is_valid(*row) && unit.is_valid(*row)) {
                persons.insert(subject.value(row).to_owned());
                ids.push(subject.value(row).to_owned());
                units.push(unit.value(row).to_owned());
            }
        }
        let field = |name| Field::new(name, DataType::Utf8, false);
        let schema = Arc::new(Schema::new(vec![field("id"), field("unit")]));
        let keys = RecordBatch::try_new(
            schema,
            vec![Arc::new(StringArray::from(ids)), Arc::new(StringArray::from(units))],
        )?;
        Ok((keys, persons))
    }

    /// Lays out what a rule reads of the time before a slice: step by step of whom, and how far back.
    pub(crate) async fn look_back(&self, rule: &Rule, slice: (i64, i64), zone: Tz) -> Result<(), String> {
        let words: BTreeSet<String> = rule.words().into_iter().collect();
        if words.contains(SOURCE_HOURS) {
            self.lay_hours(slice).await.map_err(|e| plain(&e))?;
        }
        let columns: Vec<(&str, &str)> =
            COUNTED_BY.into_iter().filter(|(name, _)| words.contains(*name)).collect();
        for step in &rule.history {
            let of = sql::render(&step.of, &rule.params, slice).map_err(|fault| fault.what)?.sql;
            let laid = async {
                let query = format!("select distinct actor_id from ({of}\n) as x");
                let actors = texts(&self.ctx, &query, 1).await?.into_iter().flatten().flatten().collect();
                if words.contains(USER_RECORDS) {
                    self.lay_user_records(&actors, step.back.micros(), slice, zone).await?;
                }
                if words.contains(USER_HISTORY) {
                    self.lay_user_history(&actors, step.back.micros(), slice, &columns, zone).await?;
                }
                Ok(())
            };
            laid.await.map_err(|e: DataFusionError| plain(&e))?;
        }
        Ok(())
    }

    /// Empty tables, so that SQL which reads them can be planned.
    pub(crate) fn lay_no_history(&self) -> Result<(), DataFusionError> {
        self.lay_no_user_history()?;
        self.put(USER_RECORDS, opened::schema(), Vec::new())?;
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let hour = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let hours = vec![
            text("source"),
            Field::new("hour", hour, true),
            Field::new("events", DataType::Int64, false),
            text("controller_id"),
        ];
        self.put(SOURCE_HOURS, Arc::new(Schema::new(hours)), Vec::new())
    }

    async fn lay_user_history(
        &self,
        actors: &BTreeSet<String>,
        back: i64,
        slice: (i64, i64),
        columns: &[(&str, &str)],
        zone: Tz,
    ) -> Result<(), DataFusionError> {
        if actors.is_empty() {
            return self.lay_no_user_history();
        }
        let beside: Vec<&str> = BESIDE
            .into_iter()
            .filter(|(name, _)| columns.iter().any(|(column, _)| column == name))
            .map(|(_, of)| of)
            .collect();
        let accounts = Accounts::of(self, actors, zone).await?;
        let query = rows_of(&beside, back, slice, zone, &accounts);
        let counted = counted::read(self, &query, &beside, actors, accounts).await?;
        let Some(schema) = counted.first().map(RecordBatch::schema) else {
            return self.lay_no_user_history();
        };
        self.put(COUNTED, schema, counted.into_iter().map(|part| vec![part]).collect())?;
        let made: String = columns.iter().map(|(name, of)| format!(", {of} as {name}")).collect();
        let by: String = columns.iter().map(|(name, _)| format!(", {name}")).collect();
        let query = format!(
            "select actor_id, day{by}, sum(n) as n from (select actor_id, day{made}, n from {COUNTED}) as x \
             group by actor_id, day{by}"
        );
        let frame = self.ctx.sql(&query).await?;
        let schema = Arc::new(Schema::new(frame.schema().fields().clone()));
        self.put(USER_HISTORY, schema, frame.collect_partitioned().await?)
    }

    fn lay_no_user_history(&self) -> Result<(), DataFusionError> {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let mut fields = vec![text("actor_id"), Field::new("day", DataType::Date32, true)];
        fields.extend(COUNTED_BY.map(|(name, _)| text(name)));
        fields.push(Field::new("n", DataType::Int64, false));
        self.put(USER_HISTORY, Arc::new(Schema::new(fields)), Vec::new())
    }

    async fn lay_user_records(
        &self,
        actors: &BTreeSet<String>,
        back: i64,
        slice: (i64, i64),
        zone: Tz,
    ) -> Result<(), DataFusionError> {
        let counted = match actors.is_empty() {
            true => Vec::new(),
            false => {
                let accounts = Accounts::of(self, actors, zone).await?;
                let query = rows_of(&["subject_id"], back, slice, zone, &accounts);
                vec![vec![opened::read(self, &query, actors, accounts).await?.counted(actors)?]]
            }
        };
        self.put(USER_RECORDS, opened::schema(), counted)
    }

    async fn lay_hours(&self, slice: (i64, i64)) -> Result<(), DataFusionError> {
        let query = format!(
            "select source, date_bin(interval '1 hour', occurred_at) as hour, count(*) as events, \
             max(controller_id) as controller_id from access_events \
             where source <> '{OWN_SOURCE}' and occurred_at >= {} and occurred_at < {} group by 1, 2",
            sql::timestamp(slice.0.saturating_sub(HOURS_BEFORE)),
            sql::timestamp(slice.1.saturating_add(DAY))
        );
        let frame = self.source.sql(&query).await?;
        let schema = Arc::new(Schema::new(frame.schema().fields().clone()));
        self.put(SOURCE_HOURS, schema, frame.collect_partitioned().await?)
    }
}

/// Those of the rows that nothing explains, some thousand together.
async fn unexplained(
    mut looks: SendableRecordBatchStream,
    standings: Arc<Standings>,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let mut left = BatchCoalescer::new(looks.schema(), TOGETHER);
    let mut batches = Vec::new();
    while let Some(rows) = looks.next().await {
        let rows = rows?;
        let (segments, seqs) = (hits::long(&rows, "segment")?, hits::long(&rows, "seq")?);
        let places = segments.values().iter().zip(seqs.values());
        let stays = places.map(|(segment, seq)| standings.at(*segment, *seq) != Standing::Explained);
        left.push_batch_with_filter(rows, &stays.map(Some).collect())?;
        batches.extend(std::iter::from_fn(|| left.next_completed_batch()));
    }
    left.finish_buffered_batch()?;
    batches.extend(std::iter::from_fn(|| left.next_completed_batch()));
    Ok(batches)
}

/// The rows of `user_accesses` that say what the holders of these accounts did before a slice and in it, on whole local days.
fn rows_of(beside: &[&str], back: i64, slice: (i64, i64), zone: Tz, accounts: &Accounts) -> String {
    let from = CalendarWindow::of(WindowSize::Day, slice.0, zone).from.saturating_sub(back);
    let to = CalendarWindow::of(WindowSize::Day, slice.1.saturating_sub(1), zone).to;
    let beside: String = beside.iter().map(|column| format!(", {column}")).collect();
    format!(
        "select {}{beside} from user_accesses where source <> '{OWN_SOURCE}' and user_id is not null \
         and occurred_at >= {} and occurred_at < {}{}",
        written::COLUMNS,
        sql::timestamp(from),
        sql::timestamp(to),
        named(accounts.wanted())
    )
}

/// A condition on accounts where they are few: then what others did is not read.
fn named(accounts: &HashSet<String>) -> String {
    let (Some(first), Some(last)) = (accounts.iter().min(), accounts.iter().max()) else {
        return String::new();
    };
    if accounts.len() > MOST_NAMED {
        return String::new();
    }
    // The bounds leave files out, however many are named.
    format!(
        " and user_id in ({}) and user_id >= {} and user_id <= {}",
        sql::list(accounts.iter().map(String::as_str)),
        sql::quoted(first),
        sql::quoted(last)
    )
}
