//! Whose records an answer shows.
//!
//! Every look is logged with the people whose records came back, so an answer must tell. Each column of a plan is
//! followed from the tables up: which show a person's number, whatever they are called by then, and which show
//! something else of a person. The latter pass only beside the number of the same person: an answer with the record
//! and not whose it is would be a look at nobody.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, GroupingSet, LogicalPlan};

use super::SqlError;

/// Columns that hold the number of a person, in whatever table.
const NUMBERS: &[&str] = &["subject_id", "subject_key", "related_id", "other_id"];
/// Columns that show more of that person.
const MORE: &[&str] = &["record", "subject_name"];
/// Of a table about persons, these too.
const MORE_OF_SUBJECTS: &[&str] = &["name", "address", "postcode"];
/// Functions whose value is one of their arguments' values, or the same person's other number.
const KEEPING: &[&str] = &["coalesce", "greatest", "least", "nullif", "nvl", "nvl2", "subject_key"];
/// Aggregates and window functions whose value is one of the values, or a list of them.
const PICKING: &[&str] =
    &["array_agg", "first_value", "lag", "last_value", "lead", "max", "min", "nth_value"];

/// What a column shows of the persons of one scan. A scan's number stands for "the same row of it".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    /// Their number.
    Number(usize),
    /// Something else.
    More(usize),
}

type Shows = BTreeSet<Of>;

/// The columns of the answer that hold persons' numbers.
///
/// # Errors
/// When the answer would show something of a person, and not of whom.
pub(super) fn numbers(plan: &LogicalPlan) -> Result<Vec<usize>, SqlError> {
    let columns = Trail::default().plan(plan);
    let told: BTreeSet<usize> = columns.iter().flatten().filter_map(number_of).collect();
    for (shows, field) in columns.iter().zip(plan.schema().fields()) {
        let untold = shows.iter().any(|of| matches!(of, Of::More(scan) if !told.contains(scan)));
        if untold {
            return Err(SqlError::refused(
                format!("column {}", field.name()),
                "it shows something of a person and not of whom; select subject_id of the same row beside it, \
                 since every look is logged with the people whose records it showed",
            ));
        }
    }
    Ok((0..columns.len()).filter(|i| columns[*i].iter().any(|of| number_of(of).is_some())).collect())
}

fn number_of(of: &Of) -> Option<usize> {
    match of {
        Of::Number(scan) => Some(*scan),
        Of::More(_) => None,
    }
}

/// Follows columns from the tables up.
#[derive(Debug, Default)]
struct Trail {
    scans: usize,
}

impl Trail {
    fn fresh(&mut self) -> usize {
        self.scans += 1;
        self.scans
    }

    /// For each column of a plan, what it shows.
    fn plan(&mut self, plan: &LogicalPlan) -> Vec<Shows> {
        let columns = match plan {
            LogicalPlan::TableScan(scan) => {
                let number = self.fresh();
                let table = scan.table_name.table();
                scan.projected_schema.fields().iter().map(|f| of_table(table, f.name(), number)).collect()
            }
            LogicalPlan::Projection(step) => self.step(&step.input, &step.expr),
            LogicalPlan::Window(step) => {
                let input = self.plan(&step.input);
                let added: Vec<Shows> =
                    step.window_expr.iter().map(|e| self.expr(e, step.input.schema(), &input)).collect();
                [input, added].concat()
            }
            LogicalPlan::Aggregate(step) => {
                let input = self.plan(&step.input);
                let schema = step.input.schema();
                let groups: Vec<&Expr> = step.group_expr.iter().flat_map(group_parts).collect();
                let mut columns: Vec<Shows> = groups.iter().map(|e| self.expr(e, schema, &input)).collect();
                // Grouping sets add a number of their own between groups and aggregates.
                columns
                    .resize(plan.schema().fields().len().saturating_sub(step.aggr_expr.len()), Shows::new());
                columns.extend(step.aggr_expr.iter().map(|e| self.expr(e, schema, &input)));
                columns
            }
            LogicalPlan::Distinct(Distinct::On(step)) => self.step(&step.input, &step.select_expr),
            LogicalPlan::Join(join) => {
                let (left, right) = (self.plan(&join.left), self.plan(&join.right));
                match join.join_type {
                    JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
                    JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
                    _ => [left, right].concat(),
                }
            }
            LogicalPlan::Union(union) => {
                let mut columns = vec![Shows::new(); plan.schema().fields().len()];
                for input in &union.inputs {
                    for (column, shows) in columns.iter_mut().zip(self.plan(input)) {
                        column.extend(shows);
                    }
                }
                columns
            }
            LogicalPlan::Unnest(step) => {
                // Which list became which column does not matter: what any shows, each may show.
                let all: Shows = self.plan(&step.input).into_iter().flatten().collect();
                vec![all; plan.schema().fields().len()]
            }
            // Filters, sorts, limits and aliases show what lies below.
            other => match other.inputs().as_slice() {
                [input] => self.plan(input),
                _ => Vec::new(),
            },
        };
        let mut columns = columns;
        columns.resize(plan.schema().fields().len(), Shows::new());
        columns
    }

    fn step(&mut self, input: &LogicalPlan, expressions: &[Expr]) -> Vec<Shows> {
        let columns = self.plan(input);
        expressions.iter().map(|e| self.expr(e, input.schema(), &columns)).collect()
    }

    fn expr(&mut self, expr: &Expr, schema: &DFSchema, input: &[Shows]) -> Shows {
        match expr {
            Expr::Column(column) => at(column, schema, input),
            Expr::Alias(alias) => self.expr(&alias.expr, schema, input),
            Expr::Cast(cast) => self.cast(&cast.expr, expr, schema, input),
            Expr::TryCast(cast) => self.cast(&cast.expr, expr, schema, input),
            Expr::Unnest(unnest) => self.expr(&unnest.expr, schema, input),
            Expr::ScalarFunction(f) if shows_text(expr, schema) => {
                let shows = self.all(&f.args, schema, input);
                if KEEPING.contains(&f.name()) { shows } else { as_more(shows) }
            }
            Expr::AggregateFunction(f) if shows_text(expr, schema) => {
                let shows = self.all(&f.params.args, schema, input);
                self.picked(f.func.name(), shows, false)
            }
            Expr::WindowFunction(f) if shows_text(expr, schema) => {
                let shows = self.all(&f.params.args, schema, input);
                let name = match &f.fun {
                    WindowFunctionDefinition::AggregateUDF(f) => f.name(),
                    WindowFunctionDefinition::WindowUDF(f) => f.name(),
                };
                self.picked(name, shows, true)
            }
            // What is no text tells of a text (its length, an age) and does not show it; of a number it may be that number.
            Expr::ScalarFunction(f) => self.of_numbers(&f.args, schema, input),
            Expr::AggregateFunction(f) if f.func.name() != "count" => {
                self.of_numbers(&f.params.args, schema, input)
            }
            Expr::WindowFunction(f) => self.of_numbers(&f.params.args, schema, input),
            Expr::BinaryExpr(e) if !is_truth(expr, schema) => {
                as_more([&e.left, &e.right].into_iter().flat_map(|e| self.expr(e, schema, input)).collect())
            }
            Expr::Negative(inner) => as_more(self.expr(inner, schema, input)),
            Expr::Case(case) => {
                let values = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
                values.flat_map(|value| self.expr(value, schema, input)).collect()
            }
            Expr::ScalarSubquery(query) => self.plan(&query.subquery).into_iter().next().unwrap_or_default(),
            // A column of the query around, shown by one within: of which row cannot be told here.
            Expr::OuterReferenceColumn(_, column) => {
                let scan = self.fresh();
                of_table("", &column.name, scan)
            }
            _ => Shows::new(),
        }
    }

    fn cast(&mut self, inner: &Expr, whole: &Expr, schema: &DFSchema, input: &[Shows]) -> Shows {
        let shows = self.expr(inner, schema, input);
        if shows_text(whole, schema) { shows } else { as_more(shows) }
    }

    fn of_numbers(&mut self, expressions: &[Expr], schema: &DFSchema, input: &[Shows]) -> Shows {
        let numbers = expressions.iter().filter(|e| !shows_text(e, schema));
        as_more(numbers.flat_map(|e| self.expr(e, schema, input)).collect())
    }

    fn all(&mut self, expressions: &[Expr], schema: &DFSchema, input: &[Shows]) -> Shows {
        expressions.iter().flat_map(|e| self.expr(e, schema, input)).collect()
    }

    /// A value out of several rows: it belongs to a row, and which is not known. Of an aggregate, the rows are those of
    /// its group: beside the number that they were grouped by, it is that person's all the same.
    fn picked(&mut self, function: &str, shows: Shows, window: bool) -> Shows {
        let mut scans: HashMap<usize, usize> = HashMap::new();
        let shows = if PICKING.contains(&function) { shows } else { as_more(shows) };
        shows
            .into_iter()
            .map(|of| match of {
                Of::Number(scan) => Of::Number(*scans.entry(scan).or_insert_with(|| self.fresh())),
                Of::More(_) if window => Of::More(self.fresh()),
                Of::More(scan) => Of::More(scan),
            })
            .collect()
    }
}

fn of_table(table: &str, column: &str, scan: usize) -> Shows {
    let is = |names: &[&str]| names.contains(&column);
    if is(NUMBERS) {
        Shows::from([Of::Number(scan)])
    } else if is(MORE) || table.starts_with("subjects") && is(MORE_OF_SUBJECTS) {
        Shows::from([Of::More(scan)])
    } else {
        Shows::new()
    }
}

fn at(column: &Column, schema: &DFSchema, input: &[Shows]) -> Shows {
    let found = schema.maybe_index_of_column(column);
    found.and_then(|i| input.get(i)).cloned().unwrap_or_default()
}

fn as_more(shows: Shows) -> Shows {
    shows.into_iter().map(|of| if let Of::Number(scan) = of { Of::More(scan) } else { of }).collect()
}

/// Numbers, times and truth values tell of a person, but not who it is.
fn shows_text(expr: &Expr, schema: &DFSchema) -> bool {
    !expr.get_type(schema).is_ok_and(|t| is_no_text(&t))
}

fn is_truth(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|t| t == DataType::Boolean)
}

fn is_no_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Null | DataType::Interval(_) | DataType::Duration(_) => true,
        other => other.is_numeric() || other.is_temporal(),
    }
}

fn group_parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::GroupingSet(sets) => grouping(sets),
        other => vec![other],
    }
}

fn grouping(sets: &GroupingSet) -> Vec<&Expr> {
    sets.distinct_expr()
}
