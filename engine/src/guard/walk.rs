//! Every node and expression of a plan, subqueries included, against the lists.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Expr, GroupingSet, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use super::lists::{AGGREGATE, SCALAR, WINDOW};
use super::{Limits, SqlError};

/// Tables that a query may name, each time counted: the joins of more than this take longer to plan than to wish.
pub(super) const MOST_TABLES: usize = 24;
/// Steps of a plan.
const MOST_NODES: usize = 400;
/// Parts of all expressions together.
const MOST_EXPRESSIONS: usize = 20_000;
/// Columns of any step. `access_events` has some fifty; two of them joined fit.
const MOST_COLUMNS: usize = 160;
/// Bytes of one literal.
const LONGEST_LITERAL: usize = 4096;
/// Sets of columns that one step may group by.
const MOST_SETS: usize = 64;
/// Functions of a query that make text longer than it was: each may make some megabytes for a batch.
const MOST_GROWING: usize = 32;
const GROWING: [&str; 6] = ["array_to_string", "concat", "concat_ws", "join_text", "replace", "to_char"];
/// How often one step may show the same column: each copy is bytes that the memory pool does not see.
const MOST_COPIES: usize = 4;

pub(super) fn check(plan: &LogicalPlan, limits: &Limits) -> Result<(), SqlError> {
    let mut walk = Walk { limits, tables: 0, nodes: 0, expressions: 0, growing: 0, refused: None };
    let walked = plan.apply_with_subqueries(|node| walk.node(node));
    match (walk.refused, walked) {
        (Some(refused), _) => Err(refused),
        (None, Ok(_)) => Ok(()),
        (None, Err(e)) => Err(SqlError::Failed(crate::error::plain(&e))),
    }
}

pub(super) fn too_many_tables() -> SqlError {
    SqlError::refused("the tables", format!("named more than {MOST_TABLES} times"))
}

/// Personal numbers that the query names: what it answers is about them, whatever columns it shows.
pub(super) fn numbers_asked_for(plan: &LogicalPlan) -> Vec<String> {
    let mut numbers = std::collections::BTreeSet::new();
    // The walk cannot fail: neither closure does.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr
                    && let Some(Some(text)) = value.try_as_str()
                    && insyn_event::is_valid(text)
                {
                    numbers.insert(text.to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    numbers.into_iter().collect()
}

struct Walk<'a> {
    limits: &'a Limits,
    tables: usize,
    nodes: usize,
    expressions: usize,
    growing: usize,
    refused: Option<SqlError>,
}

type Step = Result<TreeNodeRecursion, DataFusionError>;

impl Walk<'_> {
    fn node(&mut self, node: &LogicalPlan) -> Step {
        self.nodes += 1;
        if let Err(refused) = self.check_node(node) {
            return self.stop(refused);
        }
        node.apply_expressions(|expr| expr.apply(|expr| self.expression(expr)))
    }

    fn expression(&mut self, expr: &Expr) -> Step {
        self.expressions += 1;
        self.growing += usize::from(matches!(expr, Expr::ScalarFunction(f) if GROWING.contains(&f.name())));
        match self.check_expression(expr) {
            Ok(()) => Ok(TreeNodeRecursion::Continue),
            Err(refused) => self.stop(refused),
        }
    }

    fn stop(&mut self, refused: SqlError) -> Step {
        self.refused.get_or_insert(refused);
        Ok(TreeNodeRecursion::Stop)
    }

    fn check_node(&mut self, node: &LogicalPlan) -> Result<(), SqlError> {
        let refused = |part: &str, why: &str| Err(SqlError::refused(part, why));
        if self.nodes > MOST_NODES {
            return Err(SqlError::refused("the query's size", format!("more than {MOST_NODES} steps")));
        }
        let columns = node.schema().fields().len();
        if columns > MOST_COLUMNS {
            return Err(SqlError::refused(
                "the columns",
                format!("{columns} in one step, at most {MOST_COLUMNS}"),
            ));
        }
        match node {
            LogicalPlan::TableScan(_) => {
                self.tables += 1;
                if self.tables > MOST_TABLES { Err(too_many_tables()) } else { Ok(()) }
            }
            LogicalPlan::Projection(projection) => copies(&projection.expr),
            LogicalPlan::Unnest(unnest) if unnest.list_type_columns.iter().any(|(_, of)| of.depth > 1) => {
                refused("unnest(unnest(…))", "lists of lists become rows one step at a time")
            }
            LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_) => Ok(()),
            LogicalPlan::RecursiveQuery(_) => refused("WITH RECURSIVE", "recursion has no bound"),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => refused("EXPLAIN", "only rows are answered"),
            LogicalPlan::Dml(_) => refused("INSERT, UPDATE or DELETE", "the lake is read-only"),
            LogicalPlan::Ddl(_) => refused("CREATE, DROP or INTO", "the lake is read-only"),
            LogicalPlan::Copy(_) => refused("COPY", "no files are written"),
            LogicalPlan::Statement(_) => {
                refused("SET, PREPARE or a transaction", "settings are not the query's")
            }
            LogicalPlan::DescribeTable(_) => refused("DESCRIBE", "only SELECT is answered"),
            LogicalPlan::Repartition(_) | LogicalPlan::Extension(_) => {
                refused("a plan node", "it is not a query's")
            }
        }
    }

    fn check_expression(&self, expr: &Expr) -> Result<(), SqlError> {
        if self.expressions > MOST_EXPRESSIONS {
            return Err(SqlError::refused(
                "the query's size",
                format!("more than {MOST_EXPRESSIONS} expressions"),
            ));
        }
        if self.growing > MOST_GROWING {
            let why = format!("more than {MOST_GROWING} calls of {}", GROWING.join(", "));
            return Err(SqlError::refused("the functions that make text longer", why));
        }
        match expr {
            Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => self.check_column(&column.name),
            Expr::Literal(value, _) => check_literal(value),
            Expr::ScalarFunction(f) => allowed(f.name(), SCALAR),
            Expr::AggregateFunction(f) => allowed(f.func.name(), AGGREGATE),
            Expr::WindowFunction(f) => match &f.fun {
                WindowFunctionDefinition::AggregateUDF(f) if GATHERING.contains(&f.name()) => {
                    let why = "each row would hold all of it; use it with GROUP BY";
                    Err(SqlError::refused(format!("{}(…) OVER", f.name()), why))
                }
                WindowFunctionDefinition::AggregateUDF(f) => allowed(f.name(), AGGREGATE),
                WindowFunctionDefinition::WindowUDF(f) => allowed(f.name(), WINDOW),
            },
            Expr::BinaryExpr(e) if e.op == Operator::StringConcat => {
                Err(SqlError::refused("||", "on lists it has no bound"))
            }
            Expr::GroupingSet(sets) if sets_of(sets) > MOST_SETS => {
                Err(SqlError::refused("GROUPING SETS", format!("more than {MOST_SETS} sets of columns")))
            }
            Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::GroupingSet(_)
            | Expr::Unnest(_) => Ok(()),
            Expr::Placeholder(p) => Err(SqlError::refused(&p.id, "there are no parameters to fill in")),
            Expr::ScalarVariable(_, names) => {
                Err(SqlError::refused(names.join("."), "there are no variables"))
            }
            other => Err(SqlError::refused(other.variant_name(), "it is not known to be harmless")),
        }
    }

    fn check_column(&self, name: &str) -> Result<(), SqlError> {
        match self.limits.denied_columns.iter().any(|d| d.eq_ignore_ascii_case(name)) {
            true => Err(SqlError::refused(
                format!("column {name}"),
                "your role does not see it; name the other columns instead of *",
            )),
            false => Ok(()),
        }
    }
}

/// Aggregates that hold all that they were given.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// How many sets of columns rows are grouped by.
fn sets_of(sets: &GroupingSet) -> usize {
    match sets {
        GroupingSet::Rollup(columns) => columns.len() + 1,
        GroupingSet::Cube(columns) => 1 << columns.len().min(32),
        GroupingSet::GroupingSets(sets) => sets.len(),
    }
}

fn allowed(name: &str, list: &[&str]) -> Result<(), SqlError> {
    match list.contains(&name) {
        true => Ok(()),
        false => Err(SqlError::refused(
            format!("{name}(…)"),
            "the function is not on the list of those that are allowed",
        )),
    }
}

fn check_literal(value: &ScalarValue) -> Result<(), SqlError> {
    let bytes = match value {
        ScalarValue::Utf8(Some(t)) | ScalarValue::Utf8View(Some(t)) | ScalarValue::LargeUtf8(Some(t)) => {
            t.len()
        }
        ScalarValue::Binary(Some(b)) => b.len(),
        _ => 0,
    };
    match bytes > LONGEST_LITERAL {
        true => Err(SqlError::refused("a literal", format!("{bytes} bytes, at most {LONGEST_LITERAL}"))),
        false => Ok(()),
    }
}

fn copies(expressions: &[Expr]) -> Result<(), SqlError> {
    let mut seen = std::collections::HashMap::new();
    for expr in expressions {
        if let Expr::Column(column) = expr.clone().unalias() {
            let times = seen.entry(column.clone()).or_insert(0);
            *times += 1;
            if *times > MOST_COPIES {
                let why = format!("shown more than {MOST_COPIES} times in one step");
                return Err(SqlError::refused(format!("column {}", column.name), why));
            }
        }
    }
    Ok(())
}
