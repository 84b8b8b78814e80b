//! Plans that run one after the other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{TryStreamExt, stream};

/// The rows of several plans of one partition each: the first of some run beside one another, and the next of them
/// when one has ended.
#[derive(Debug)]
pub(crate) struct InTurns {
    plans: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

/// Whether only some of the node's children run at a time.
pub(crate) fn in_turns(node: &dyn ExecutionPlan) -> bool {
    (node as &dyn Any).is::<InTurns>()
}

impl InTurns {
    /// Of `plans`, at least one, of which so many run beside one another.
    pub(super) fn new(plans: Vec<Arc<dyn ExecutionPlan>>, beside: usize) -> InTurns {
        let schema = plans
            .first()
            .map(|plan| plan.schema())
            .unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
        let lanes = beside.clamp(1, plans.len().max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(lanes),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        InTurns { plans, properties: Arc::new(properties) }
    }

    fn lanes(&self) -> usize {
        self.properties.partitioning.partition_count()
    }
}

impl DisplayAs for InTurns {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InTurns: {} ranges, {} at a time", self.plans.len(), self.lanes())
    }
}

impl ExecutionPlan for InTurns {
    fn name(&self) -> &str {
        "InTurns"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.plans.iter().collect()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition; self.plans.len()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.plans.len()]
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
        Ok(Arc::new(InTurns::new(children, self.lanes())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let own: Vec<_> = self.plans.iter().skip(partition).step_by(self.lanes()).map(Arc::clone).collect();
        let each = own.into_iter().map(move |plan| plan.execute(0, Arc::clone(&context)));
        let rows = stream::iter(each).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
