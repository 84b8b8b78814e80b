//! How much is explained, by local day, source, unit and who answers for it. Numbers only: who and whose is in none of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};

use crate::calendar::{CalendarWindow, midnight};
use crate::coverage::Coverage;
use crate::desk::{Desk, text_array};
use crate::explain::{BY_USER, EXPLAINED, RELATIONS};
use crate::judge::Coverages;
use crate::rule::WindowSize;
use crate::spans::Spans;
use crate::sql;

/// Of the looks of one local day, source, unit and controller: how they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedDay {
    /// As 2026-03-04, in the organisation's zone.
    pub day: String,
    /// Which source.
    pub source: String,
    /// Which unit, where the log says.
    pub care_unit_id: Option<String>,
    /// Who answers for the record.
    pub controller_id: Option<String>,
    /// Accesses by people at work in a known person's record.
    pub looks: u64,
    /// Those that something explains which the user could not have made.
    pub explained: u64,
    /// Those that only the user's own doing would.
    pub only_by_user: u64,
    /// Those of which nothing can be said, and nothing explains: no relations of the unit are known of that month.
    pub unknown: u64,
}

/// What was counted of a period of whole days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// Days that were counted: from the first to the last of each.
    pub days: Vec<(String, String)>,
    /// In order.
    pub rows: Vec<ExplainedDay>,
}

type Key = (String, String, Option<String>, Option<String>);

/// Counts slice by slice.
pub(crate) struct Counting {
    zone: Tz,
    /// What was counted.
    counted: Vec<(i64, i64)>,
    /// None where the table of relations is read by nothing.
    coverage: Option<Arc<Coverage>>,
    rows: BTreeMap<Key, ExplainedDay>,
}

impl Counting {
    /// `known` is what rules have asked already of the same time.
    pub async fn of(
        desk: &Desk,
        known: &Coverages,
        reach: (i64, i64),
        zone: Tz,
    ) -> Result<Counting, DataFusionError> {
        let size = WindowSize::Month;
        let coverage = match (desk.rows(RELATIONS), known.get(&(RELATIONS.to_owned(), size))) {
            (None, _) => None,
            (_, Some(coverage)) => Some(Arc::clone(coverage)),
            _ => Some(Arc::new(Coverage::read(desk, RELATIONS, size, reach.0, reach.1, zone).await?)),
        };
        Ok(Counting { zone, counted: Vec::new(), coverage, rows: BTreeMap::new() })
    }

    /// Notes that all of these whole days was added.
    pub fn counted(&mut self, piece: (i64, i64)) {
        self.counted.push(piece);
    }

    /// Adds the looks of a slice, with the explained ones on the desk.
    pub async fn add(&mut self, desk: &Desk, slice: (i64, i64)) -> Result<(), DataFusionError> {
        let (from, to) = (sql::timestamp(slice.0), sql::timestamp(slice.1));
        let query = format!(
            "with reasons as (select segment, seq, max(case when not {BY_USER} then 2 else 1 end) as best \
             from {EXPLAINED} where explains <> 'provider' group by segment, seq) \
             select cast(local_date(occurred_at) as varchar) as day, source, care_unit_id, controller_id, \
             count(*), count(case when best = 2 then 1 end), count(case when best = 1 then 1 end) \
             from looks l left join reasons r on r.segment = l.segment and r.seq = l.seq \
             where occurred_at >= {from} and occurred_at < {to} group by 1, 2, 3, 4"
        );
        for batch in desk.ctx.sql(&query).await?.collect().await? {
            let texts = (0..4).map(|n| text_array(&batch, n)).collect::<Result<Vec<_>, _>>()?;
            let number = |column: usize, row: usize| {
                batch.column(column).as_primitive::<Int64Type>().value(row).unsigned_abs()
            };
            for row in 0..batch.num_rows() {
                let text = |n: usize| texts[n].is_valid(row).then(|| texts[n].value(row).to_owned());
                let key = (text(0).unwrap_or_default(), text(1).unwrap_or_default(), text(2), text(3));
                let entry = self.rows.entry(key).or_default();
                entry.looks += number(4, row);
                entry.explained += number(5, row);
                entry.only_by_user += number(6, row);
            }
        }
        Ok(())
    }

    pub fn done(self, desk: &Desk) -> Explained {
        let day = |at: i64| CalendarWindow::of(WindowSize::Day, at, self.zone).first_day.to_string();
        let covers = |unit: Option<&str>, day: &str| {
            let at = day.parse::<NaiveDate>().map_or(i64::MIN, |day| midnight(day, self.zone));
            let coverage = self.coverage.as_ref();
            unit.is_some_and(|unit| coverage.is_some_and(|coverage| coverage.covers(desk, unit, at)))
        };
        let rows = self.rows.into_iter().map(|((day, source, care_unit_id, controller_id), counts)| {
            let unknown = match covers(care_unit_id.as_deref(), &day) {
                true => 0,
                false => counts.looks - counts.explained - counts.only_by_user,
            };
            ExplainedDay { day, source, care_unit_id, controller_id, unknown, ..counts }
        });
        let rows = rows.collect();
        let days = Spans::from(self.counted).iter().map(|(from, to)| (day(from), day(to - 1))).collect();
        Explained { days, rows }
    }
}
