//! What a window function over a frame holds: rows that came and have not gone on.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::cells::Cells;

/// The accounts of one operator, partition by partition.
#[derive(Debug)]
pub(super) struct Frame {
    /// Whether a function gives back what may be long.
    text: bool,
    accounts: Mutex<HashMap<usize, Arc<Account>>>,
}

impl Frame {
    pub(super) fn new(text: bool) -> Frame {
        Frame { text, accounts: Mutex::default() }
    }

    pub(super) fn account(&self, partition: usize, context: &Arc<TaskContext>) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let held = MemoryConsumer::new("rows of a window").register(context.memory_pool());
            Arc::new(Account { text: self.text, held: Mutex::new(Held { held, batches: VecDeque::new() }) })
        };
        Arc::clone(accounts.entry(partition).or_insert_with(new))
    }
}

/// Rows of one partition. They go on in the order in which they came.
#[derive(Debug)]
pub(super) struct Account {
    text: bool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    held: MemoryReservation,
    /// Rows and bytes of each batch, the oldest first.
    batches: VecDeque<(usize, usize)>,
}

impl Account {
    pub(super) fn came(&self, batch: &RecordBatch) -> Result<()> {
        let again = if self.text { Cells::of(batch).longest().saturating_mul(batch.num_rows()) } else { 0 };
        let bytes = batch.get_array_memory_size().saturating_add(again);
        let mut held = self.held();
        held.held.try_grow(bytes)?;
        held.batches.push_back((batch.num_rows(), bytes));
        Ok(())
    }

    fn went(&self, mut rows: usize) {
        let mut held = self.held();
        while rows > 0
            && let Some((there, bytes)) = held.batches.pop_front()
        {
            let gone = rows.min(there);
            rows -= gone;
            let left = if gone == there { 0 } else { bytes / there * (there - gone) };
            held.held.shrink(bytes - left);
            if gone < there {
                held.batches.push_front((there - gone, left));
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the account which rows have gone on.
#[derive(Debug)]
pub(super) struct Outgoing {
    input: Arc<dyn ExecutionPlan>,
    frame: Arc<Frame>,
}

impl Outgoing {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, frame: Arc<Frame>) -> Outgoing {
        Outgoing { input, frame }
    }
}

impl DisplayAs for Outgoing {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing")
    }
}

impl ExecutionPlan for Outgoing {
    fn name(&self) -> &str {
        "Outgoing"
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
        Ok(Arc::new(Outgoing { input, frame: Arc::clone(&self.frame) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let account = self.frame.account(partition, &context);
        let rows = self.input.execute(partition, context)?;
        let schema = rows.schema();
        let told = rows.map(move |batch| {
            let batch = batch?;
            account.went(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, told)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn what_has_gone_on_is_held_no_more() {
        let context = Arc::new(TaskContext::default());
        let account = Frame::new(false).account(0, &context);
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![0; 100]));
        let batch = RecordBatch::try_from_iter([("n", rows)]).unwrap();
        for _ in 0..3 {
            account.came(&batch).unwrap();
        }
        let all = account.held().held.size();
        assert!(all >= 3 * 800);
        account.went(150);
        let half = account.held().held.size();
        assert!(half <= all / 2 && half >= all / 2 - 100, "{half} of {all}");
        account.went(150);
        assert_eq!(account.held().held.size(), 0);
        account.went(1);
    }
}
