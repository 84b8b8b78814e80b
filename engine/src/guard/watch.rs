//! Joins that can be stopped.
//!
//! A join by condition compares every row of one side with every row of the other, and asks nobody while nothing
//! matches; a task that never waits can be neither timed out nor dropped. So the condition itself looks whether the
//! question still stands, and what a join makes passes through a point where the task may be put aside.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::resources_err;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};

/// Until when a question stands: its time, or its asker's going away.
#[derive(Debug)]
pub(super) struct Watch {
    until: Instant,
    gone: AtomicBool,
}

impl Watch {
    pub(super) fn until(until: Instant) -> Arc<Watch> {
        Arc::new(Watch { until, gone: AtomicBool::new(false) })
    }

    fn over(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || Instant::now() > self.until
    }
}

/// Whoever asked. When this is dropped, answered or not, the question no longer stands.
pub(super) struct Asker(pub(super) Arc<Watch>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

/// `node` under watch, when it is a join; `None` for what needs none.
pub(super) fn join(
    node: &Arc<dyn ExecutionPlan>,
    watch: &Arc<Watch>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let any = node.as_ref() as &dyn Any;
    let watched: Arc<dyn ExecutionPlan> = if let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() {
        let filter = join.filter().map(|f| condition(f, watch));
        Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)
    } else if let Some(join) = any.downcast_ref::<HashJoinExec>() {
        match join.filter() {
            Some(filter) => join.builder().with_filter(Some(condition(filter, watch))).build_exec()?,
            None => Arc::clone(node),
        }
    } else if any.is::<CrossJoinExec>() {
        Arc::clone(node)
    } else {
        return Ok(None);
    };
    Ok(Some(Arc::new(CooperativeExec::new(watched))))
}

fn condition(filter: &JoinFilter, watch: &Arc<Watch>) -> JoinFilter {
    let condition = Watched { inner: Arc::clone(filter.expression()), watch: Arc::clone(watch) };
    JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    watch: Arc<Watch>,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && Arc::ptr_eq(&self.watch, &other.watch)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Watched {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.watch.over() {
            return resources_err!("{}", super::OUT_OF_TIME);
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Watched { inner, watch: Arc::clone(&self.watch) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
