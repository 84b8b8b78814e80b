//! Groups of more rows than memory should hold, one range of the table's order after the other.
//!
//! The files of a table lie in order of a key: those of `access_events` of whose record it is, those of `user_accesses` of
//! who looked. Where rows are grouped by that key (and by others, perhaps) over much of a table, no group has rows on both
//! sides of a value of it. So the table is cut at such values into ranges of as many rows as can be grouped in memory,
//! and each range is grouped by itself: what is held at a time is what its groups take, and nothing is laid on disk for the
//! next operator to read.
//! Where nothing is grouped by the key, or only few rows are left, the query engine does as it always does.

mod exec;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, Filter, LogicalPlan, TableScan, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore, lit,
};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::projections::has_subquery;
use crate::provider::{LakeTable, Mark};
use exec::InTurns;
pub(crate) use exec::in_turns;

/// Rows of a range: what groups of them take is some 16 MB, where each row is a group of its own. A question has 256 MB, and each
/// part of it that could go on on disk an even share of that.
pub(super) const ROWS: u64 = 1 << 17;
/// Ranges that a table is cut into at most; each is planned by itself.
const MOST: u64 = 4096;
/// Turns are not worth it for less: what has more may go on on disk.
const ENOUGH: u64 = 16;

/// Teaches a session to group in turns of so many rows.
pub(super) fn taught(builder: SessionStateBuilder, rows: u64) -> SessionStateBuilder {
    builder.with_optimizer_rule(Arc::new(ByKey { rows })).with_query_planner(Arc::new(Planner))
}

/// Finds what can be grouped in turns.
#[derive(Debug)]
struct ByKey {
    rows: u64,
}

impl OptimizerRule for ByKey {
    fn name(&self) -> &str {
        "groups_in_turns"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down_with_subqueries(|node| match &node {
            LogicalPlan::Extension(Extension { node: own }) if own.as_any().is::<Turns>() => {
                Ok(Transformed::new(node, false, TreeNodeRecursion::Jump))
            }
            LogicalPlan::Aggregate(aggregate) => match self.key(aggregate) {
                Some(key) => {
                    let turns = Turns { input: node, key, rows: self.rows };
                    let turns = LogicalPlan::Extension(Extension { node: Arc::new(turns) });
                    Ok(Transformed::new(turns, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })
    }
}

impl ByKey {
    /// The column that rows are grouped by and tables lie in order of, where there are rows enough for turns.
    fn key(&self, aggregate: &Aggregate) -> Option<Column> {
        if !plain(&aggregate.group_expr) || !plain(&aggregate.aggr_expr) {
            return None;
        }
        let mut columns = aggregate.group_expr.iter().filter_map(|by| match by.clone().unalias() {
            Expr::Column(column) => Some(column),
            _ => None,
        });
        columns.find(|column| scans(&aggregate.input, column).is_some_and(|scans| self.are_worth_it(&scans)))
    }

    /// Whether there are many rows in order, and so few in none that each range may read all of those.
    fn are_worth_it(&self, scans: &[Scan]) -> bool {
        let rows = |ordered: bool| -> u64 {
            scans.iter().filter(|scan| scan.is_ordered == ordered).map(Scan::rows).sum()
        };
        rows(true) >= ENOUGH * self.rows && rows(false) <= self.rows
    }
}

/// A scan of a table of the lake.
struct Scan {
    table: Arc<LakeTable>,
    /// By the columns' own names, as a table is given them.
    filters: Vec<Expr>,
    /// Whether its rows lie in order of what is asked for.
    is_ordered: bool,
}

impl Scan {
    fn rows(&self) -> u64 {
        self.table.rows_left(&self.filters)
    }
}

/// The scans that the rows of `plan` come from, where `column` is one of theirs.
fn scans(plan: &LogicalPlan, column: &Column) -> Option<Vec<Scan>> {
    let at = plan.schema().maybe_index_of_column(column)?;
    let of = |input: &LogicalPlan| scans(input, &Column::from(input.schema().qualified_field(at)));
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(at)?.clone().unalias() {
            Expr::Column(inner) if plain(&projection.expr) => scans(&projection.input, &inner),
            _ => None,
        },
        LogicalPlan::Filter(filter) if plain(std::slice::from_ref(&filter.predicate)) => of(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => of(&alias.input),
        LogicalPlan::Union(union) => {
            let each = union.inputs.iter().map(|input| of(input)).collect::<Option<Vec<_>>>()?;
            Some(each.into_iter().flatten().collect())
        }
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => {
            let table = lake_table(scan)?;
            let is_ordered = table.key() == Some(column.name.as_str());
            let filters = unnormalize_cols(scan.filters.iter().cloned());
            Some(vec![Scan { table, filters, is_ordered }])
        }
        _ => None,
    }
}

/// Whether none of these asks a query of its own, which each range would ask again.
fn plain(expressions: &[Expr]) -> bool {
    !expressions.iter().any(has_subquery)
}

fn lake_table(scan: &TableScan) -> Option<Arc<LakeTable>> {
    let provider = source_as_provider(&scan.source).ok()?;
    let provider: Arc<dyn std::any::Any + Send + Sync> = provider;
    provider.downcast().ok()
}

/// An aggregate that is made range by range.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Turns {
    input: LogicalPlan,
    key: Column,
    rows: u64,
}

impl PartialOrd for Turns {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Turns {
    fn name(&self) -> &str {
        "Turns"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turns: by ranges of {}, {} rows each", self.key.name, self.rows)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Turns { input, key: self.key.clone(), rows: self.rows })
    }
}

#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Planner)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        grouped_at_once: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(turns) = node.as_any().downcast_ref::<Turns>() else { return Ok(None) };
        let at_once = Ok(grouped_at_once.first().cloned());
        let (LogicalPlan::Aggregate(aggregate), Some(state)) =
            (&turns.input, session.as_any().downcast_ref::<SessionState>())
        else {
            return at_once;
        };
        let cuts = cuts(marks(aggregate, &turns.key, session).await?, turns.rows);
        if cuts.is_empty() {
            return at_once;
        }
        let beside = state.config().target_partitions();
        // In a range rows need not be given out by their groups first, to be grouped by several.
        let mut alone = state.clone();
        alone.config_mut().options_mut().execution.target_partitions = 1;
        let mut ranges = Vec::with_capacity(cuts.len() + 1);
        for range in Range::between(&cuts) {
            ranges
                .push(planner.create_physical_plan(&range.of(aggregate, &turns.key, &alone)?, &alone).await?);
            // Planning waits for nothing: a question that nobody waits for any more would be planned to its end.
            tokio::task::yield_now().await;
        }
        Ok(Some(Arc::new(InTurns::new(ranges, beside))))
    }
}

async fn marks(aggregate: &Aggregate, key: &Column, session: &dyn Session) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for scan in scans(&aggregate.input, key).unwrap_or_default().iter().filter(|scan| scan.is_ordered) {
        marks.extend(scan.table.marks(session, &scan.filters).await?);
    }
    Ok(marks)
}

/// Values of the key between which lie about so many rows.
fn cuts(mut marks: Vec<Mark>, rows: u64) -> Vec<String> {
    marks.sort_unstable_by(|a, b| a.least.cmp(&b.least));
    let all: u64 = marks.iter().map(|mark| mark.rows).sum();
    let rows = rows.max(all / MOST);
    let (mut cuts, mut held) = (Vec::<String>::new(), 0);
    for mark in marks {
        if held >= rows && cuts.last().is_none_or(|last| *last < mark.least) {
            cuts.push(mark.least);
            held = 0;
        }
        held += mark.rows;
    }
    cuts
}

/// The values of a key from one to below another. What has none is with the first ones.
struct Range<'a> {
    from: Option<&'a String>,
    below: Option<&'a String>,
}

impl<'a> Range<'a> {
    fn between(cuts: &'a [String]) -> impl Iterator<Item = Range<'a>> {
        let from = std::iter::once(None).chain(cuts.iter().map(Some));
        let below = cuts.iter().map(Some).chain(std::iter::once(None));
        from.zip(below).map(|(from, below)| Range { from, below })
    }

    /// `aggregate` over the rows of this range.
    fn of(&self, aggregate: &Aggregate, key: &Column, state: &SessionState) -> Result<LogicalPlan> {
        let mut aggregate = aggregate.clone();
        if let Some(range) = self.filter(key) {
            aggregate.input = Arc::new(LogicalPlan::Filter(Filter::try_new(range, aggregate.input)?));
        }
        let into_scans = Optimizer::with_rules(vec![Arc::new(PushDownFilter::new())]);
        into_scans.optimize(LogicalPlan::Aggregate(aggregate), state, |_, _| {})
    }

    fn filter(&self, key: &Column) -> Option<Expr> {
        let key = || Expr::Column(key.clone());
        let from = self.from.map(|from| key().gt_eq(lit(from.as_str())));
        let below = self.below.map(|below| key().lt(lit(below.as_str())));
        match (from, below) {
            (Some(from), Some(below)) => Some(from.and(below)),
            (None, Some(below)) => Some(below.or(key().is_null())),
            (from, None) => from,
        }
    }
}

#[cfg(test)]
mod tests;
