//! Hits: the rows that a rule's SQL gave, read by column name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::DateTime;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::desk::Desk;
use crate::rule::{Level, Rule, Text};
use crate::score::Grade;
use crate::sentence::{Language, Template};

/// The columns that every rule's SQL must give.
pub(crate) const COLUMNS: &[&str] = &[
    "segment",
    "seq",
    "event_id",
    "source",
    "occurred_at",
    "actor_id",
    "subject_key",
    "care_unit_id",
    "controller_id",
];

/// One access that a rule named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    /// Which rule, by its number in the run.
    pub rule: usize,
    pub place: (i64, i64),
    pub event_id: String,
    pub source: String,
    pub at: i64,
    pub user: String,
    pub subject: Option<String>,
    pub unit: Option<String>,
    pub controller: Option<String>,
    pub level: Level,
    pub reason: Text,
    /// The source's word for what was done; see [`name_activities`].
    pub activity: Option<String>,
    /// The best reason that the access has; see [`crate::explain::grade`].
    pub explained: Option<Grade>,
}

/// Reads the rows of `rule`, number `number` of the run.
pub(crate) fn read(
    rule: &Rule,
    number: usize,
    batches: &[RecordBatch],
    zone: Tz,
) -> Result<Vec<Hit>, DataFusionError> {
    let mut hits = Vec::new();
    for batch in batches {
        let names: Vec<String> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
        let sv = Template::compile(&rule.why.sv, Language::Sv, rule, &names);
        let en = Template::compile(&rule.why.en, Language::En, rule, &names);
        let shown = batch.columns().iter().map(|c| shown(c, zone)).collect::<Result<Vec<_>, _>>()?;
        let text = |name: &str| column(batch, name, &DataType::Utf8).map(|a| a.as_string::<i32>().clone());
        let (segment, seq) = (long(batch, "segment")?, long(batch, "seq")?);
        let (event_id, source, actor) = (text("event_id")?, text("source")?, text("actor_id")?);
        let (subject, unit, controller) =
            (text("subject_key")?, text("care_unit_id")?, text("controller_id")?);
        let at =
            column(batch, "occurred_at", &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
        let at = at.as_primitive::<TimestampMicrosecondType>();
        let level = names.iter().any(|n| n == "level").then(|| text("level")).transpose()?;
        for row in 0..batch.num_rows() {
            let some = |array: &StringArray| array.is_valid(row).then(|| array.value(row).to_owned());
            let value = |n: usize| some(&shown[n]).unwrap_or_else(|| "–".to_owned());
            let level = match level.as_ref().and_then(some) {
                Some(word) => word.parse().map_err(DataFusionError::Plan)?,
                None => rule.level,
            };
            let level = rule.most.map_or(level, |most| level.min(most));
            hits.push(Hit {
                rule: number,
                place: (segment.value(row), seq.value(row)),
                event_id: event_id.value(row).to_owned(),
                source: source.value(row).to_owned(),
                at: at.value(row),
                user: actor.value(row).to_owned(),
                subject: some(&subject),
                unit: some(&unit),
                controller: some(&controller),
                level,
                reason: Text { sv: sv.fill(value), en: en.fill(value) },
                activity: None,
                explained: None,
            });
        }
    }
    Ok(hits)
}

/// Hits by the place of their access; the places lie on the desk as `placed` (`at_segment`, `at_seq`).
pub(crate) struct Placed<'a>(BTreeMap<(i64, i64), Vec<&'a mut Hit>>);

impl<'a> Placed<'a> {
    pub fn on(desk: &Desk, hits: &'a mut [Hit]) -> Result<Placed<'a>, DataFusionError> {
        let mut places: BTreeMap<(i64, i64), Vec<&mut Hit>> = BTreeMap::new();
        for hit in hits {
            places.entry(hit.place).or_default().push(hit);
        }
        let field = |name| Field::new(name, DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field("at_segment"), field("at_seq")]));
        let column =
            |of: fn(&(i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(places.keys().map(of)));
        let asked = RecordBatch::try_new(Arc::clone(&schema), vec![column(|p| p.0), column(|p| p.1)])?;
        desk.put("placed", schema, vec![vec![asked]])?;
        Ok(Placed(places))
    }

    /// Asks of these places; `query` joins `placed`, and gives `segment` and `seq`. What a row says goes to the hits at its
    /// place.
    pub async fn ask(
        &mut self,
        desk: &Desk,
        query: &str,
        mut say: impl FnMut(&RecordBatch, usize, &mut Hit) -> Result<(), DataFusionError>,
    ) -> Result<(), DataFusionError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for batch in desk.ctx.sql(query).await?.collect().await? {
            let (segment, seq) = (long(&batch, "segment")?, long(&batch, "seq")?);
            for row in 0..batch.num_rows() {
                for hit in self.0.get_mut(&(segment.value(row), seq.value(row))).into_iter().flatten() {
                    say(&batch, row, hit)?;
                }
            }
        }
        Ok(())
    }
}

/// Says of each hit what was done.
pub(crate) async fn name_activities(placed: &mut Placed<'_>, desk: &Desk) -> Result<(), DataFusionError> {
    let query = "select segment, seq, cast(activity as varchar) as activity from accesses \
                 join placed on segment = at_segment and seq = at_seq where activity is not null";
    placed
        .ask(desk, query, |batch, row, hit| {
            hit.activity = Some(batch.column(2).as_string::<i32>().value(row).to_owned());
            Ok(())
        })
        .await
}

/// A column of whole numbers.
pub(crate) fn long(batch: &RecordBatch, name: &str) -> Result<Int64Array, DataFusionError> {
    Ok(column(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, DataFusionError> {
    let column = batch.column_by_name(name).ok_or_else(|| {
        DataFusionError::Plan(format!("the SQL gives no column \"{name}\", expected {}", COLUMNS.join(", ")))
    })?;
    Ok(cast(column, kind)?)
}

/// A column as sentences show it: times to the minute in the organisation's zone, all else as text.
fn shown(column: &ArrayRef, zone: Tz) -> Result<StringArray, DataFusionError> {
    if !matches!(column.data_type(), DataType::Timestamp(..)) {
        return Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone());
    }
    let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let local = |micros: i64| {
        DateTime::from_timestamp_micros(micros)
            .map(|t| t.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string())
    };
    Ok(times.as_primitive::<TimestampMicrosecondType>().iter().map(|t| t.and_then(local)).collect())
}
