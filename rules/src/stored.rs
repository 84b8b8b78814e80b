//! How much is stored of which local day.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use crate::run::Window;
use crate::spans::{Spans, day_of};
use crate::sql;

/// What the lake holds of some days, without Insyn's own looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    first: Option<i64>,
    last: Option<i64>,
    /// How many accesses.
    pub accesses: u64,
    /// By local day; days of which nothing is stored are not in it.
    pub days: BTreeMap<NaiveDate, u64>,
}

impl Stored {
    /// Of a period.
    pub async fn read(source: &SessionContext, window: Window) -> Result<Stored, DataFusionError> {
        let mut query = "select cast(local_date(occurred_at) as date) as day, count(*) as n, \
             min(occurred_at) as first, max(occurred_at) as last from access_events where source <> 'insyn'"
            .to_owned();
        if let Some(from) = window.from {
            query += &format!(" and occurred_at >= {}", sql::timestamp(from));
        }
        if let Some(to) = window.to {
            query += &format!(" and occurred_at < {}", sql::timestamp(to));
        }
        query += " group by 1";
        let mut stored = Stored::default();
        for batch in source.sql(&query).await?.collect().await? {
            let days = batch.column(0).as_primitive::<Date32Type>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            let (first, last) = (
                batch.column(2).as_primitive::<TimestampMicrosecondType>(),
                batch.column(3).as_primitive::<TimestampMicrosecondType>(),
            );
            for row in (0..batch.num_rows()).filter(|row| days.is_valid(*row)) {
                let Some(day) = days.value_as_date(row) else { continue };
                let count = counts.value(row).unsigned_abs();
                *stored.days.entry(day).or_default() += count;
                stored.accesses += count;
                stored.first = stored.first.into_iter().chain([first.value(row)]).min();
                stored.last = stored.last.into_iter().chain([last.value(row)]).max();
            }
        }
        Ok(stored)
    }

    /// Of these days; what lies between them is counted and left out.
    pub async fn of(source: &SessionContext, spans: &Spans, zone: Tz) -> Result<Stored, DataFusionError> {
        let Some((from, to)) = spans.reach() else { return Ok(Stored::default()) };
        let mut stored = Stored::read(source, Window { from: Some(from), to: Some(to) }).await?;
        stored.days.retain(|day, _| touches(spans, *day, zone));
        stored.accesses = stored.days.values().sum();
        Ok(stored)
    }

    /// From the first access to after the last.
    pub fn touched(&self) -> Option<(i64, i64)> {
        Some((self.first?, self.last? + 1))
    }

    /// Cuts a time into slices of about so many accesses: at local midnights, and within a day that alone has more. Time of
    /// which nothing is stored is in none.
    pub fn slices(&self, piece: (i64, i64), rows: u64, zone: Tz) -> Vec<(i64, i64)> {
        let rows = rows.max(1);
        let mut slices: Vec<(i64, i64)> = Vec::new();
        let mut held = 0;
        for (day, count) in self.days.range(day_of(piece.0, zone)..=day_of(piece.1 - 1, zone)) {
            let Some((from, to)) = Spans::of_days([*day], zone).reach() else { continue };
            let (from, to) = (from.max(piece.0), to.min(piece.1));
            match slices.last_mut() {
                // What lies between is empty, and judged all the same.
                Some(last) if held + count <= rows => {
                    last.1 = to;
                    held += count;
                }
                _ if *count <= rows => {
                    slices.push((from, to));
                    held = *count;
                }
                _ => {
                    slices.extend(crate::run::slices((from, to), count.div_ceil(rows)));
                    held = rows;
                }
            }
        }
        slices
    }
}

fn touches(spans: &Spans, day: NaiveDate, zone: Tz) -> bool {
    Spans::of_days([day], zone)
        .reach()
        .is_some_and(|(from, to)| spans.iter().any(|(a, b)| a < to && from < b))
}
