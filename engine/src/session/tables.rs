//! The tables of a session, each made when a question first names it.
//!
//! There are some fifty, and a question names one or two: making all of them was most of what opening a session took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono_tz::Tz;
use datafusion::catalog::SchemaProvider;
use datafusion::datasource::TableProvider;
use datafusion::error::{DataFusionError, Result};

use super::runtime::{Context, Runtime};
use super::{ACCESSES, accesses_over, amendments, lake_table, users, with_states};
use crate::error::EngineError;
use crate::lake::{LakeFile, Reach, Snapshot, Table};

/// What a session pinned, as tables.
pub(super) struct Tables {
    runtime: Arc<Runtime>,
    snapshot: Snapshot,
    reach: Reach,
    loaded: Arc<Context>,
    zone: Tz,
    /// Those that were asked for, and those that others put here.
    made: Mutex<BTreeMap<String, Arc<dyn TableProvider>>>,
}

impl Tables {
    pub(super) fn new(
        runtime: &Arc<Runtime>,
        snapshot: &Snapshot,
        reach: Reach,
        loaded: &Arc<Context>,
        zone: Tz,
    ) -> Tables {
        Tables {
            runtime: Arc::clone(runtime),
            snapshot: snapshot.clone(),
            reach,
            loaded: Arc::clone(loaded),
            zone,
            made: Mutex::default(),
        }
    }

    /// The table of a name, if there is one.
    pub(super) fn get(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, EngineError> {
        if let Some(made) = self.made().get(name) {
            return Ok(Some(Arc::clone(made)));
        }
        let Some(made) = self.make(name)? else { return Ok(None) };
        self.made().insert(name.to_owned(), Arc::clone(&made));
        Ok(Some(made))
    }

    /// Puts a table here, in place of one of the same name.
    pub(super) fn put(&self, name: &str, table: Arc<dyn TableProvider>) {
        self.made().insert(name.to_owned(), table);
    }

    /// Rows in order of users, with what tells which may repeat an event.
    pub(super) fn by_user(&self) -> Result<Arc<dyn TableProvider>, EngineError> {
        Ok(Arc::new(users::rows(&self.reach, true, |table, files| self.files(table, files))?))
    }

    /// The version that `user_accesses` reaches, where it is read.
    pub(super) fn reached(&self) -> Option<u64> {
        self.reach.version
    }

    fn make(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, EngineError> {
        let resolver = &self.loaded.resolver;
        let accesses =
            || Ok::<_, EngineError>(Arc::new(users::rows(&self.reach, false, |t, f| self.files(t, f))?));
        Ok(Some(match name {
            ACCESSES => Arc::new(accesses_over(self.lake(Table::AccessEvents), self.zone, resolver)?),
            users::DAYS => Arc::new(users::days(accesses()?, self.zone, resolver)?),
            amendments::NAME => Arc::new(amendments::table(&self.snapshot)?),
            name => match Table::ALL.into_iter().find(|table| table.name() == name) {
                // Of that only what holds is shown, and what it has not yet beside.
                Some(Table::UserAccesses) => accesses()?,
                Some(table @ (Table::Quarantine | Table::Gaps)) => {
                    Arc::new(with_states(table, self.lake(table))?)
                }
                Some(table) => self.lake(table),
                None => match self.loaded.tables.iter().find(|(known, _)| known == name) {
                    Some((_, table)) => Arc::clone(table),
                    None => return Ok(None),
                },
            },
        }))
    }

    fn lake(&self, table: Table) -> Arc<dyn TableProvider> {
        self.files(table, self.snapshot.files(table))
    }

    fn files(&self, table: Table, files: &[Arc<LakeFile>]) -> Arc<dyn TableProvider> {
        Arc::new(lake_table(&self.runtime, table, files))
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn TableProvider>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables(version: {})", self.snapshot.version())
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let own = [ACCESSES, users::DAYS, amendments::NAME].map(str::to_owned).into_iter();
        let lake = Table::ALL.iter().map(|table| table.name().to_owned());
        let context = self.loaded.tables.iter().map(|(name, _)| name.clone());
        let mut names: Vec<String> =
            own.chain(lake).chain(context).chain(self.made().keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.get(name).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.made().insert(name, table))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
