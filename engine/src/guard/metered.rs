//! Meters before the operators whose memory the pool does not see, and a watch over those that would not stop.
//!
//! The pool is told what an operator keeps. It is not told what a batch of rows becomes while it is worked on: a join shows
//! one row's texts again for each row of the other side, a function makes a text of a text, `unnest` makes rows of a list,
//! a window function stands in every row. So what goes into these is weighed, and given in smaller batches or refused:
//!
//! | operator | what is bounded |
//! |---|---|
//! | joins, subqueries of one value | a batch of the longest row |
//! | whatever calls functions | a batch of the longest row for each function that is called |
//! | `unnest` | the rows that it makes of one batch |
//! | window functions over a whole partition | all rows of it, as long as the longest where texts come back |
//! | window functions over a frame | the rows that came and have not gone on |

mod cells;
mod frame;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{CaseExpr, CastExpr, TryCastExpr};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::TooMuch;
use super::watch::{self, Watch};
use crate::session::turns::in_turns;
use cells::Cells;
use frame::{Frame, Outgoing};

/// Bytes that a batch may become in one step.
const BATCH: usize = 64 << 20;
/// Bytes of a batch that functions work on, for each function that is called.
const WORKED_ON: usize = 8 << 20;

/// `plan` under meters and watch; and how many functions its scans call themselves.
pub(super) fn meter(
    plan: Arc<dyn ExecutionPlan>,
    watch: &Arc<Watch>,
) -> Result<(Arc<dyn ExecutionPlan>, usize)> {
    let of_scans = of_scans(plan.as_ref())?;
    let metered = plan.transform_up(|node| {
        if node.children().is_empty() {
            return Ok(Transformed::no(node));
        }
        let calls = calls(node.as_ref())?;
        let any = node.as_ref() as &dyn Any;
        if is_join(any) {
            let node = under(node, |_| Some(Meter::Again { calls }))?;
            let watched = watch::join(&node, watch)?;
            return Ok(Transformed::yes(watched.unwrap_or(node)));
        }
        if let Some(window) = any.downcast_ref::<BoundedWindowAggExec>() {
            let frame = Arc::new(Frame::new(gives_text(window.window_expr())?));
            let node = under(node, |_| Some(Meter::Frame(Arc::clone(&frame))))?;
            let outgoing: Arc<dyn ExecutionPlan> = Arc::new(Outgoing::new(node, frame));
            return Ok(Transformed::yes(outgoing));
        }
        let meter = if let Some(window) = any.downcast_ref::<WindowAggExec>() {
            Some(Meter::Whole { text: gives_text(window.window_expr())? })
        } else if let Some(unnest) = any.downcast_ref::<UnnestExec>() {
            let lists = unnest.list_column_indices().iter();
            Some(Meter::Lists(lists.map(|list| list.index_in_input_schema).collect()))
        } else {
            (calls > 0).then_some(Meter::WorkedOn { calls })
        };
        let is_subquery = any.is::<ScalarSubqueryExec>();
        let of = |child: usize| match &meter {
            _ if is_subquery && child > 0 => Some(Meter::Again { calls: 0 }),
            // What goes on as it is needs no meter.
            _ if is_subquery => None,
            meter => meter.clone(),
        };
        Ok(Transformed::yes(under(node, of)?))
    })?;
    Ok((metered.data, of_scans))
}

/// How many functions scans call themselves, of those that run at a time.
fn of_scans(node: &dyn ExecutionPlan) -> Result<usize> {
    let children = node.children();
    if children.is_empty() {
        return calls(node);
    }
    let each = children.into_iter().map(|child| of_scans(child.as_ref()));
    let each = each.collect::<Result<Vec<usize>>>()?;
    Ok(match in_turns(node) {
        true => each.into_iter().max().unwrap_or_default(),
        false => each.into_iter().sum(),
    })
}

fn is_join(node: &dyn Any) -> bool {
    node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
}

/// `node` with its children under the meters that `of` gives them.
fn under(
    node: Arc<dyn ExecutionPlan>,
    of: impl Fn(usize) -> Option<Meter>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let metered = |(n, child): (usize, &Arc<dyn ExecutionPlan>)| -> Arc<dyn ExecutionPlan> {
        match of(n) {
            Some(meter) => Arc::new(Metered { input: Arc::clone(child), meter }),
            None => Arc::clone(child),
        }
    };
    let children = node.children().into_iter().enumerate().map(metered).collect();
    replace_children_if_necessary(node, children)
}

/// How many of a step's expressions make something new of what they are given.
fn calls(node: &dyn ExecutionPlan) -> Result<usize> {
    let mut calls = 0;
    node.apply_expressions(&mut |root| {
        root.apply(|expr| {
            let any = expr.as_ref() as &dyn Any;
            let makes = any.is::<ScalarFunctionExpr>()
                || any.is::<ScalarSubqueryExpr>()
                || any.is::<CaseExpr>()
                || any.is::<CastExpr>()
                || any.is::<TryCastExpr>();
            calls += usize::from(makes);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(calls)
}

/// Whether a function gives anything that may be long.
fn gives_text(functions: &[Arc<dyn WindowExpr>]) -> Result<bool> {
    for function in functions {
        let is_short = matches!(
            function.field()?.data_type(),
            DataType::Boolean | DataType::Null | DataType::Date32 | DataType::Date64
        );
        if !is_short && !function.field()?.data_type().is_primitive() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Debug, Clone)]
enum Meter {
    /// A row may stand again in every row of a batch, and be worked on there.
    Again { calls: usize },
    /// Each batch is worked on by so many functions.
    WorkedOn { calls: usize },
    /// Lists become rows.
    Lists(Vec<usize>),
    /// All rows are held; in each may stand the longest text of all.
    Whole { text: bool },
    /// Rows are held until they go on.
    Frame(Arc<Frame>),
}

#[derive(Debug)]
struct Metered {
    input: Arc<dyn ExecutionPlan>,
    meter: Meter,
}

impl DisplayAs for Metered {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered: {:?}", self.meter)
    }
}

impl ExecutionPlan for Metered {
    fn name(&self) -> &str {
        "Metered"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Metered { input, meter: self.meter.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let schema = input.schema();
        let rows: SendableRecordBatchStream = match &self.meter {
            Meter::Again { calls } => {
                let times = context.session_config().batch_size() * (1 + calls);
                let weighed = input.map(move |batch| {
                    let batch = batch?;
                    again(Cells::of(&batch).longest(), times)?;
                    Ok(batch)
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, weighed))
            }
            Meter::WorkedOn { calls } => {
                let calls = *calls;
                let parts = input.map(move |batch| worked_on(batch?, calls));
                let parts =
                    parts.map_ok(|parts| stream::iter(parts.into_iter().map(Ok::<_, DataFusionError>)));
                let parts = parts.try_flatten();
                Box::pin(RecordBatchStreamAdapter::new(schema, parts))
            }
            Meter::Lists(lists) => {
                let lists = lists.clone();
                let parts = input
                    .map(move |batch| in_parts(batch?, |cells, row| cells.unnested(&lists, row), WORKED_ON));
                let parts =
                    parts.map_ok(|parts| stream::iter(parts.into_iter().map(Ok::<_, DataFusionError>)));
                let parts = parts.try_flatten();
                Box::pin(RecordBatchStreamAdapter::new(schema, parts))
            }
            Meter::Whole { text } => {
                let held = MemoryConsumer::new("rows of a window").register(context.memory_pool());
                let mut all = Whole { text: *text, rows: 0, longest: 0, bytes: 0 };
                let counted = input.map(move |batch| {
                    let batch = batch?;
                    all.take(&batch, &held)?;
                    Ok(batch)
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, counted))
            }
            Meter::Frame(frame) => {
                let account = frame.account(partition, &context);
                let counted = input.map(move |batch| {
                    let batch = batch?;
                    account.came(&batch)?;
                    Ok(batch)
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, counted))
            }
        };
        Ok(rows)
    }
}

/// Refuses a row that would be too much when it stands so often in a batch.
fn again(row: usize, times: usize) -> Result<()> {
    let most = BATCH / times.max(1);
    if row > most {
        return Err(DataFusionError::External(Box::new(TooMuch(format!(
            "a row of {} kB would stand again and again, at most {} kB; cut its texts in a subquery before, as (SELECT \
             left(record, 1000) …)",
            row >> 10,
            most >> 10
        )))));
    }
    Ok(())
}

/// The batch in parts that so many functions may work on.
fn worked_on(batch: RecordBatch, calls: usize) -> Result<Vec<RecordBatch>> {
    // Most batches are light as a whole: then no row need be looked at.
    match cells::plain(&batch) {
        Some(bytes) if bytes.saturating_mul(calls) <= WORKED_ON => Ok(vec![batch]),
        _ => in_parts(batch, |cells, row| cells.row(row) * calls, WORKED_ON),
    }
}

/// The batch in parts that each weigh no more than `most`, or have one row.
fn in_parts(
    batch: RecordBatch,
    weight: impl Fn(&Cells, usize) -> usize,
    most: usize,
) -> Result<Vec<RecordBatch>> {
    let cells = Cells::of(&batch);
    let (mut parts, mut from, mut held) = (Vec::new(), 0, 0_usize);
    for row in 0..batch.num_rows() {
        let weight = weight(&cells, row);
        again(weight, 1)?;
        if held.saturating_add(weight) > most && row > from {
            parts.push(batch.slice(from, row - from));
            (from, held) = (row, 0);
        }
        held = held.saturating_add(weight);
    }
    if from == 0 {
        return Ok(vec![batch]);
    }
    parts.push(batch.slice(from, batch.num_rows() - from));
    Ok(parts)
}

/// The rows of a partition, and what a window function makes of them.
struct Whole {
    text: bool,
    rows: usize,
    longest: usize,
    bytes: usize,
}

impl Whole {
    fn take(&mut self, batch: &RecordBatch, held: &MemoryReservation) -> Result<()> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        if self.text {
            self.longest = self.longest.max(Cells::of(batch).longest());
        }
        held.try_resize(self.bytes.saturating_add(self.rows.saturating_mul(self.longest)))
    }
}
