//! The functions that questions about a log need, and guards on those that could make giants.
//!
//! | function | gives |
//! |---|---|
//! | `is_personnummer(text)` | whether the text is a personnummer or samordningsnummer of 12 digits with a right date and check digit |
//! | `local_date(ts)`, `local_hour(ts)`, `local_weekday(ts)` | date, hour 0–23, weekday 1 (Monday) – 7 in the organisation's zone |
//! | `age_at(subject_id, ts)` | whole years on that local date; null where the number holds no date of birth |
//! | `subject_key(id)` | the number that the person has now, by `identities` |
//! | `actor_id(source, user_id, ts)` | the staff user id behind an account, by `accounts` |
//! | `person_of(user_id)` | the personal number of a staff user, by `staff` |
//! | `same_household(subject_a, subject_b[, ts])` | whether two persons lived at one address then, or were related, by `subjects`, `staff` and `kinship`; without a time, now |
//! | `valid_at(valid_from, valid_to, ts)` | whether a period holds the instant; null is open-ended |

mod bounded;
mod days;
mod hours;
mod own;

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::context::resolve::Resolver;

/// What goes by more than is read for every question.
pub(crate) const SAME_HOUSEHOLD: &str = "same_household";

/// Every scalar function of a session: the query engine's own, with a bound on those that multiply text, and Insyn's.
pub(crate) fn scalar_functions(zone: Tz, resolver: &Arc<Resolver>) -> Vec<Arc<ScalarUDF>> {
    let builtin =
        SessionStateDefaults::default_scalar_functions().into_iter().map(bounded::bound).map(hours::quick);
    builtin.chain(own::functions(zone, resolver)).collect()
}

/// One of Insyn's own functions, for plans that are built by hand.
pub(crate) fn own(name: &str, zone: Tz, resolver: &Arc<Resolver>) -> Option<Arc<ScalarUDF>> {
    own::functions(zone, resolver).find(|f| f.name() == name)
}

/// The planners of a session: `a || b` on text becomes a function that can say no.
pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(JoinText)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// The query engine evaluates `||` itself, without any bound: doubling a text forty times fills any memory.
#[derive(Debug)]
struct JoinText;

impl ExprPlanner for JoinText {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_list = |e: &Expr| {
            matches!(
                e.get_type(schema),
                Ok(DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)) | Err(_)
            )
        };
        if expr.op != BinaryOperator::StringConcat || is_list(&expr.left) || is_list(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        Ok(PlannerResult::Planned(bounded::join_text().call(vec![expr.left, expr.right])))
    }
}
