//! Which local days rows that came after a mark are of.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::NaiveDate;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

use super::users::beyond;
use super::{OWN_SOURCE, Session, lake_table};
use crate::error::EngineError;
use crate::lake::{Later, Mark, Table, Told};

/// What commits after a mark touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Local days in the organisation's zone, with how many rows of each came; without Insyn's own looks.
    pub days: BTreeMap<NaiveDate, u64>,
    /// How it is known which rows came later.
    pub told: Told,
}

impl Session {
    /// A mark after everything that the session sees.
    ///
    /// # Errors
    /// When the lake's log cannot be read.
    pub async fn mark(&self) -> Result<Mark, EngineError> {
        Ok(self.lake.mark(&self.snapshot).await?)
    }

    /// The days that rows which came after `mark` are of. What is read is the time of these rows, whatever is stored beside.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn touched(&self, mark: &Mark) -> Result<Touched, EngineError> {
        let Later { files, segments, told } = self.lake.later(&self.snapshot, mark).await?;
        let mut touched = Touched { days: BTreeMap::new(), told };
        if files.is_empty() {
            return Ok(touched);
        }
        let table = Arc::new(lake_table(&self.runtime, Table::AccessEvents, &files));
        let day = self.call("local_date", vec![col("occurred_at")])?.alias("day");
        let plan = LogicalPlanBuilder::scan(Table::AccessEvents.name(), provider_as_source(table), None)?
            .filter(col("source").not_eq(lit(OWN_SOURCE)))?
            .filter(beyond(&segments))?
            .aggregate([day], [count(lit(1_i64)).alias("n")])?;
        for batch in self.collect(plan).await?.batches {
            let (days, counts) = (batch.column(0), batch.column(1));
            let (days, counts) = (days.as_primitive::<Date32Type>(), counts.as_primitive::<Int64Type>());
            for row in (0..batch.num_rows()).filter(|row| days.is_valid(*row)) {
                if let Some(day) = days.value_as_date(row) {
                    touched.days.insert(day, counts.value(row).unsigned_abs());
                }
            }
        }
        Ok(touched)
    }
}
