//! How often a query names tables, seen before it is planned: what a `WITH` names is planned anew each time it is named, and
//! names that each stand for two of the one before come to more than anybody can plan.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement, Visit, Visitor};

/// Tables that planning comes upon.
pub(super) fn tables(statement: &Statement) -> usize {
    let mut tables = Tables::default();
    // The walk never breaks off.
    let _ = statement.visit(&mut tables);
    tables.most
}

#[derive(Default)]
struct Tables {
    /// How many tables each name stands for that a `WITH` has given.
    named: HashMap<String, usize>,
    /// Queries that a `WITH` gives a name.
    given: HashMap<*const Query, String>,
    /// Tables of each query that is being walked through.
    open: Vec<usize>,
    most: usize,
}

fn name(written: &str) -> String {
    written.trim_matches('"').to_lowercase()
}

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.given.insert(std::ptr::from_ref(&*table.query), name(&table.alias.name.value));
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = self.open.pop().unwrap_or_default();
        self.most = self.most.max(tables);
        if let Some(name) = self.given.remove(&std::ptr::from_ref(query)) {
            self.named.insert(name, tables);
        } else if let Some(outer) = self.open.last_mut() {
            *outer = outer.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let tables = self.named.get(&name(&relation.to_string())).copied().unwrap_or(1).max(1);
        if let Some(open) = self.open.last_mut() {
            *open = open.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }
}
