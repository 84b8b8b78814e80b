//! Coverage: in which calendar windows a unit's context was there at all. One missing feed must not accuse a clinic.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::error::DataFusionError;

use crate::calendar::{Calendar, CalendarWindow};
use crate::desk::{Desk, text_array};
use crate::rule::WindowSize;
use crate::spans::Spans;

/// The units with rows of one table, by calendar window.
pub(crate) struct Coverage {
    size: WindowSize,
    zone: Tz,
    units: HashMap<String, HashSet<i64>>,
    /// The windows by their start, to be asked for by instant.
    windows: Vec<CalendarWindow>,
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

    /// Counts the accesses of [from, to) that no coverage lets anyone judge: unit → (first, last, accesses).
    pub fn missing(
        &self,
        desk: &Desk,
        rows: &[RecordBatch],
        period: (i64, i64),
        missing: &mut HashMap<String, (i64, i64, u64)>,
    ) -> Result<(), DataFusionError> {
        let mut calendar = Calendar::new(self.size, self.zone);
        let mut known: HashMap<(String, i64), bool> = HashMap::new();
        for batch in rows {
            let schema = batch.schema();
            let times = batch
                .column(schema.index_of("occurred_at")?)
                .as_primitive::<TimestampMicrosecondType>()
                .clone();
            let units = text_array(batch, schema.index_of("care_unit_id")?)?;
            for row in 0..batch.num_rows() {
                let at = times.value(row);
                if !(period.0..period.1).contains(&at) || units.is_null(row) {
                    continue;
                }
                let (unit, window) = (units.value(row), calendar.window(at).from);
                // Asked for once a unit and window, not once an access.
                let key = (unit.to_owned(), window);
                let covered = match known.get(&key) {
                    Some(covered) => *covered,
                    None => {
                        let covered = self.covers_window(desk, unit, window);
                        known.insert(key, covered);
                        covered
                    }
                };
                if !covered {
                    let entry = missing.entry(unit.to_owned()).or_insert((at, at, 0));
                    *entry = (entry.0.min(at), entry.1.max(at), entry.2 + 1);
                }
            }
        }
        Ok(())
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
