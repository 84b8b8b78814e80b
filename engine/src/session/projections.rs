//! Each of several equal steps of a query is taken.
//!
//! The optimizer of DataFusion 55 takes `SELECT f(x) AS x FROM (SELECT f(x) AS x FROM …)` for one step where it is
//! two, because the two read alike (fixed after 55 by pull request 24686). Here the inner step's columns get names of
//! their own before it looks.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub(super) struct KeepEach;

impl AnalyzerRule for KeepEach {
    fn name(&self) -> &'static str {
        "keep_each_of_equal_projections"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(tell_apart)?.data)
    }
}

fn tell_apart(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(outer) = &node else { return Ok(Transformed::no(node)) };
    let LogicalPlan::Projection(inner) = outer.input.as_ref() else { return Ok(Transformed::no(node)) };
    let only_columns = outer.expr.iter().all(|e| matches!(e, Expr::Column(_)));
    if outer.expr != inner.expr || only_columns {
        return Ok(Transformed::no(node));
    }
    if outer.expr.iter().any(has_subquery) {
        return plan_err!("two steps with the same subquery: give the inner one's column another name");
    }
    let name = |i: usize| format!("__inner_{i}");
    let renamed = inner.expr.iter().enumerate().map(|(i, e)| e.clone().unalias().alias(name(i)));
    let inner_renamed = Projection::try_new(renamed.collect(), Arc::clone(&inner.input))?;
    let names: HashMap<Column, Column> = inner
        .schema
        .columns()
        .into_iter()
        .enumerate()
        .map(|(i, column)| (column, Column::new_unqualified(name(i))))
        .collect();
    let expressions = outer.expr.iter().zip(outer.schema.iter()).map(|(expr, (relation, field))| {
        let renamed = expr.clone().unalias().transform(|e| match &e {
            Expr::Column(c) => match names.get(c) {
                Some(new) => Ok(Transformed::yes(Expr::Column(new.clone()))),
                None => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })?;
        Ok(renamed.data.alias_qualified(relation.cloned(), field.name()))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    let input = Arc::new(LogicalPlan::Projection(inner_renamed));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(expressions, input)?)))
}

/// Whether it asks a query of its own.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    })
    .unwrap_or(true)
}
