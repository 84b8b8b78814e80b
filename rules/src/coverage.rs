//! Coverage: in which calendar windows a unit's context was there at all. One missing feed must not accuse a clinic.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::calendar::CalendarWindow;
use crate::desk::{Desk, text_array};
use crate::rule::WindowSize;
use crate::spans::Spans;
use crate::sql;

/// The units with rows of one table, by calendar window.
pub(crate) struct Coverage {
    size: WindowSize,
    zone: Tz,
    units: HashMap<String, HashSet<i64>>,
    /// The windows by their start, to be asked for by instant.
    windows: Vec<CalendarWindow>,
}

/// Accesses at a unit on one local day.
pub(crate) struct Seen {
    unit: String,
    first: i64,
    last: i64,
    accesses: u64,
}

impl Seen {
    /// Of a slice, once for all rules.
    pub async fn of(desk: &Desk, slice: (i64, i64)) -> Result<Vec<Seen>, DataFusionError> {
        let query = format!(
            "select care_unit_id, cast(min(occurred_at) as bigint), cast(max(occurred_at) as bigint), count(*) \
             from accesses where care_unit_id is not null and occurred_at >= {} and occurred_at < {} \
             group by care_unit_id, local_date(occurred_at)",
            sql::timestamp(slice.0),
            sql::timestamp(slice.1)
        );
        let mut seen = Vec::new();
        for batch in desk.ctx.sql(&query).await?.collect().await? {
            let units = text_array(&batch, 0)?;
            let number = |n: usize, row: usize| batch.column(n).as_primitive::<Int64Type>().value(row);
            seen.extend((0..batch.num_rows()).map(|row| Seen {
                unit: units.value(row).to_owned(),
                first: number(1, row),
                last: number(2, row),
                accesses: number(3, row).unsigned_abs(),
            }));
        }
        Ok(seen)
    }
}

impl Coverage {
    /// Reads `table` (care_unit_id, and its period) for the windows that [from, to) touches.
    pub async fn read(
        desk: &Desk,
        table: &str,
        size: WindowSize,
        from: i64,
        to: i64,
        zone: Tz,
    ) -> Result<Coverage, DataFusionError> {
        let mut windows = Vec::new();
        let mut at = from;
        while at < to {
            let window = CalendarWindow::of(size, at, zone);
            at = window.to;
            windows.push(window);
        }
        let mut coverage = Coverage { size, zone, units: HashMap::new(), windows };
        let (begins, ends) =
            insyn_engine::context::table(table).map_or(("valid_from", "valid_to"), |table| table.period);
        let query = format!(
            "select distinct care_unit_id, {begins}, {ends} from {table} where care_unit_id is not null"
        );
        for batch in desk.ctx.sql(&query).await?.collect().await? {
            coverage.add(&batch)?;
        }
        Ok(coverage)
    }

    /// Whether `unit`, or a unit whose relations count as its own, has rows in the window that holds the instant.
    pub fn covers(&self, desk: &Desk, unit: &str, at: i64) -> bool {
        let window = CalendarWindow::of(self.size, at, self.zone);
        self.covers_window(desk, unit, window.from)
    }

    /// The windows in which it has none.
    pub fn uncovered(&self, desk: &Desk, unit: &str) -> Spans {
        let windows = self.windows.iter().filter(|window| !self.covers_window(desk, unit, window.from));
        windows.map(|window| (window.from, window.to)).collect()
    }

    fn covers_window(&self, desk: &Desk, unit: &str, window: i64) -> bool {
        let has = |unit: &str| self.units.get(unit).is_some_and(|w| w.contains(&window));
        has(unit) || desk.near(unit).any(has)
    }

    /// Counts the accesses that no coverage lets anyone judge: unit → (first, last, accesses).
    pub fn missing(&self, desk: &Desk, seen: &[Seen], missing: &mut HashMap<String, (i64, i64, u64)>) {
        for seen in seen.iter().filter(|seen| !self.covers(desk, &seen.unit, seen.first)) {
            let entry = missing.entry(seen.unit.clone()).or_insert((seen.first, seen.last, 0));
            *entry = (entry.0.min(seen.first), entry.1.max(seen.last), entry.2 + seen.accesses);
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let units = text_array(batch, 0)?;
        let from = cast(batch.column(1), &micros)?;
        let to = cast(batch.column(2), &micros)?;
        let (from, to) =
            (from.as_primitive::<TimestampMicrosecondType>(), to.as_primitive::<TimestampMicrosecondType>());
        for row in 0..batch.num_rows() {
            let start = if from.is_valid(row) { from.value(row) } else { i64::MIN };
            let end = if to.is_valid(row) { to.value(row) } else { i64::MAX };
            let first = self.windows.partition_point(|w| w.to <= start);
            let touched = self.windows[first..].iter().take_while(|w| w.from <= end).map(|w| w.from);
            match self.units.get_mut(units.value(row)) {
                Some(windows) => windows.extend(touched),
                None => {
                    self.units.insert(units.value(row).to_owned(), touched.collect());
                }
            }
        }
        Ok(())
    }
}
