//! The tables of a session over rows in memory: for the test cases that rules carry with them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono_tz::Tz;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;

use super::{ACCESSES, accesses_over, new_state, users};
use crate::context::{self, over_time, resolve::Resolver};
use crate::error::EngineError;
use crate::lake::Table;

/// `access_events` with these rows, the context tables and `lacking` with theirs (empty where none are given), the views `accesses`,
/// `user_accesses` and `user_days`, and the functions, all as in a session over a lake.
///
/// # Errors
/// When rows do not have their table's columns, or a name is no context table.
pub fn in_memory(
    zone: Tz,
    events: Vec<RecordBatch>,
    tables: &[(&str, Vec<RecordBatch>)],
) -> Result<SessionContext, EngineError> {
    let lacking = Table::Lacking.name();
    let is_known = |name: &str| name == lacking || context::table(name).is_some();
    if let Some((name, _)) = tables.iter().find(|(name, _)| !is_known(name)) {
        let known: Vec<&str> = context::TABLES.iter().map(|t| t.name).chain([lacking]).collect();
        let why = format!("found no table of that name, expected one of {}", known.join(", "));
        return Err(EngineError::Table { name: (*name).to_owned(), why });
    }
    let rows = |name: &str| {
        let given = tables.iter().filter(|(table, _)| *table == name);
        given.flat_map(|(_, rows)| rows.iter().cloned()).collect::<Vec<_>>()
    };
    let resolver = Resolver::of(&rows("accounts"), &rows("identities"), &rows("staff"));
    let resolver = Arc::new(resolver.with_homes(["subjects", "staff", "kinship"].map(&rows)));
    let state = new_state(&Arc::new(RuntimeEnv::default()), zone, &resolver);
    let session = SessionContext::new_with_state(state);
    let events = Arc::new(MemTable::try_new(Table::AccessEvents.schema(), vec![events])?);
    session.register_table(
        TableReference::bare(ACCESSES),
        Arc::new(accesses_over(events.clone(), zone, &resolver)?),
    )?;
    let by_user = Arc::new(users::of(events.clone())?);
    let days = Arc::new(users::days(by_user.clone(), zone, &resolver)?);
    session.register_table(TableReference::bare(Table::UserAccesses.name()), by_user)?;
    session.register_table(TableReference::bare(users::DAYS), days)?;
    session.register_table(TableReference::bare(Table::AccessEvents.name()), events)?;
    let rows_lacking = MemTable::try_new(Table::Lacking.schema(), vec![rows(lacking)])?;
    session.register_table(TableReference::bare(lacking), Arc::new(rows_lacking))?;
    for table in context::TABLES.iter() {
        let rows = Arc::new(MemTable::try_new(table.schema(), vec![rows(table.name)])?);
        // There is one load: it says all there is to know, of any time.
        session.register_table(TableReference::bare(over_time(table.name)), Arc::clone(&rows) as _)?;
        session.register_table(TableReference::bare(table.name), rows)?;
    }
    Ok(session)
}
