//! Rows in order of users, as tables: `user_accesses` has the rows of `access_events`, a few columns of each; `user_days`
//! counts them by user, record, unit and local day. Both hold what `access_events` holds at the session's version: what
//! `user_accesses` does not reach is read from there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, col, lit,
};

use super::own_function;
use crate::context::resolve::Resolver;
use crate::error::EngineError;
use crate::lake::{Reach, TRAIL, Table, USER_COLUMNS, trail};

/// What the table of days is called.
pub(super) const DAYS: &str = "user_days";
/// Whose rows are counted together in it, beside the day.
const EACH: [&str; 5] = ["user_id", "source", "controller_id", "subject_id", "care_unit_id"];

/// Rows in order of users: those that were followed, and from `table` of `access_events` those that were not.
pub(super) fn rows(
    reach: &Reach,
    with_trail: bool,
    table: impl Fn(Table, &[Arc<crate::lake::LakeFile>]) -> Arc<dyn TableProvider>,
) -> Result<ViewTable, EngineError> {
    let wanted = || USER_COLUMNS.iter().map(|name| col(*name)).collect::<Vec<_>>();
    let scan = |of: Table, files: &[Arc<crate::lake::LakeFile>]| {
        LogicalPlanBuilder::scan(of.name(), provider_as_source(table(of, files)), None)
    };
    let mut followed = wanted();
    let mut read = wanted();
    if with_trail {
        followed.push(col(TRAIL));
        let columns = ["event_id", "file_id", "file_offset"].map(col).to_vec();
        read.push(ScalarUDF::from(TrailOf::new()).call(columns).alias(TRAIL));
    }
    let mut parts = vec![scan(Table::UserAccesses, &reach.followed)?.project(followed)?.build()?];
    if !reach.later.is_empty() {
        let later = scan(Table::AccessEvents, &reach.later)?.filter(beyond(&reach.beyond))?;
        parts.push(later.project(read.clone())?.build()?);
    }
    if !reach.whole.is_empty() {
        parts.push(scan(Table::AccessEvents, &reach.whole)?.project(read)?.build()?);
    }
    Ok(ViewTable::new(together(parts)?, None))
}

/// The same of rows in memory, in no order.
pub(super) fn of(events: Arc<dyn TableProvider>) -> Result<ViewTable, EngineError> {
    let columns: Vec<Expr> = USER_COLUMNS.iter().map(|name| col(*name)).collect();
    let plan = LogicalPlanBuilder::scan(Table::AccessEvents.name(), provider_as_source(events), None)?;
    Ok(ViewTable::new(plan.project(columns)?.build()?, None))
}

/// The rows of `user_accesses` counted by day.
pub(super) fn days(
    rows: Arc<dyn TableProvider>,
    zone: chrono_tz::Tz,
    resolver: &Arc<Resolver>,
) -> Result<ViewTable, EngineError> {
    let day = own_function("local_date", zone, resolver, vec![col("occurred_at")])?.alias("day");
    let by: Vec<Expr> = EACH.iter().map(|name| col(*name)).chain([day]).collect();
    let counted = counts();
    let plan = LogicalPlanBuilder::scan(Table::UserAccesses.name(), provider_as_source(rows), None)?
        .aggregate(by, counted)?
        .build()?;
    // Columns by their own names, whatever table they are from.
    let plain = EACH.iter().chain(&["day", "n", "first", "last"]).map(|name| col(*name));
    let plan = LogicalPlanBuilder::from(plan).project(plain.collect::<Vec<_>>())?.build()?;
    Ok(ViewTable::new(plan, None))
}

/// How many rows, the first and the last.
pub(crate) fn counts() -> Vec<Expr> {
    vec![
        count(lit(1_i64)).alias("n"),
        min(col("occurred_at")).alias("first"),
        max(col("occurred_at")).alias("last"),
    ]
}

/// Segments that came after what was followed.
pub(super) fn beyond(ranges: &[(i64, i64)]) -> Expr {
    let within = |(first, last): &(i64, i64)| {
        let segment = || col("segment");
        segment().gt_eq(lit(*first)).and(segment().lt_eq(lit(*last)))
    };
    disjunction(ranges.iter().map(within)).unwrap_or_else(|| lit(false))
}

fn together(parts: Vec<LogicalPlan>) -> Result<LogicalPlan, EngineError> {
    let mut parts = parts.into_iter();
    let mut plan = LogicalPlanBuilder::from(match parts.next() {
        Some(first) => first,
        None => LogicalPlanBuilder::empty(false).build()?,
    });
    for part in parts {
        plan = plan.union(part)?;
    }
    Ok(plan.build()?)
}

/// `trail` of a row of `access_events`. No query can call it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TrailOf {
    signature: Signature,
}

impl TrailOf {
    fn new() -> TrailOf {
        let types = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
        TrailOf { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TrailOf {
    fn name(&self) -> &str {
        TRAIL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::error::Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (events, files) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
        let offsets = arrays[2].as_primitive::<Int64Type>();
        let trails: ArrayRef = Arc::new(Int64Array::from_iter_values(
            (0..events.len()).map(|row| trail(events.value(row), files.value(row), offsets.value(row))),
        ));
        match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&trails, 0)?)),
            false => Ok(ColumnarValue::Array(trails)),
        }
    }
}
