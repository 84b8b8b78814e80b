//! A session: the lake as it was at one moment, and every question over it.
//!
//! Tables: `access_events`, `user_accesses` and `user_days` (the same in order of users), `quarantine`, `gaps`,
//! `amendments`, every context table (empty where it was not loaded) and the same over time (`staff_over_time`), what was
//! handed in from above, and the view `accesses`: looks by people, without `record` and without Insyn's own source, with `actor_id`, `person_id` and
//! `subject_key` resolved through `accounts`, `staff` and `identities`.

mod amendments;
mod later;
mod memory;
mod pool;
mod projections;
mod runtime;
mod tables;
pub(crate) mod turns;
pub(crate) mod users;

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::datasource::{MemTable, TableProvider, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{
    SendableRecordBatchStream, SessionState, SessionStateBuilder, SessionStateDefaults,
};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt;

use crate::context::homes;
use crate::context::resolve::Resolver;
use crate::context::{self, Moment, then};
use crate::error::EngineError;
use crate::functions;
pub use crate::guard::{Limits, SqlError};
use crate::lake::{Lake, LakeFile, Reach, Snapshot, Table};
use crate::provider::{Counters, LONGEST_IN_LIST, LakeTable};
pub use later::Touched;
pub use memory::in_memory;
use runtime::{Context, Runtime};
use tables::Tables;

/// The source of Insyn's own log: whoever reads is read.
pub const OWN_SOURCE: &str = "insyn";
/// The view of looks by people.
pub const ACCESSES: &str = "accesses";

/// Which rows a session may see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Every row.
    All,
}

/// Rows that answer a query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns, each name once.
    pub schema: SchemaRef,
    /// The rows; may be none.
    pub batches: Vec<RecordBatch>,
    /// What reading them cost.
    pub counters: Counters,
    /// Which columns hold persons' numbers, under whatever name.
    pub(crate) subject_columns: Vec<usize>,
    /// Personal numbers that the question named.
    pub(crate) asked: Vec<String>,
}

impl Answer {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whose records the answer shows: every number in it, and those that the query named.
    pub fn subjects(&self) -> Vec<String> {
        let mut subjects: std::collections::BTreeSet<String> = self.asked.iter().cloned().collect();
        for batch in &self.batches {
            for column in self.subject_columns.iter().filter_map(|i| batch.columns().get(*i)) {
                let values = match column.as_list_opt::<i32>() {
                    Some(lists) => lists.values(),
                    None => column,
                };
                if let Some(values) = values.as_string_opt::<i32>() {
                    subjects.extend(values.iter().flatten().map(str::to_owned));
                }
            }
        }
        subjects.into_iter().collect()
    }
}

/// An instant (µs UTC) as a parameter of [`Session::ask`].
pub(crate) fn instant(at: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()))
}

/// The columns that hold persons' numbers, by their names.
fn subject_columns(schema: &Schema) -> Vec<usize> {
    ["subject_id", "subject_key"].iter().filter_map(|name| schema.index_of(name).ok()).collect()
}

/// A query session over one pinned version of the lake and one context load. Cheap to open, cheap to drop.
pub struct Session {
    context: SessionContext,
    lake: Lake,
    snapshot: Snapshot,
    loaded: Arc<Context>,
    runtime: Arc<Runtime>,
    tables: Arc<Tables>,
    zone: Tz,
    limits: Limits,
}

/// A member of staff, as the context tables have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonBehind {
    /// Under which the rules know them.
    pub user_id: String,
    /// Every account that was ever theirs.
    pub accounts: Vec<String>,
    /// Whether the tables know anybody of the id that was asked for.
    pub known: bool,
}

impl Session {
    /// Pins the newest version of the lake and the current context load.
    ///
    /// # Errors
    /// When the lake or its context tables cannot be read.
    pub async fn open(lake: &Lake, zone: Tz, scope: Scope) -> Result<Session, EngineError> {
        Session::at(lake, zone, scope, &Moment::default()).await
    }

    /// The same with the context as it was known, or held, at another moment. Rows of the lake are those of now.
    ///
    /// # Errors
    /// When the lake or its context tables cannot be read, or no such load is kept.
    pub async fn at(lake: &Lake, zone: Tz, scope: Scope, moment: &Moment) -> Result<Session, EngineError> {
        let snapshot = lake.snapshot().await?;
        let reach = lake.reach(&snapshot).await;
        Session::with_reach(lake, snapshot, reach, zone, scope, moment).await
    }

    /// The same over a version that is pinned already.
    ///
    /// # Errors
    /// When the context tables cannot be read.
    pub async fn over(
        lake: &Lake,
        snapshot: Snapshot,
        zone: Tz,
        scope: Scope,
    ) -> Result<Session, EngineError> {
        let reach = lake.reach(&snapshot).await;
        Session::with_reach(lake, snapshot, reach, zone, scope, &Moment::default()).await
    }

    /// The same, of which every answer comes from `access_events` alone: what the others are held against.
    ///
    /// # Errors
    /// When the context tables cannot be read.
    pub async fn without_user_accesses(
        lake: &Lake,
        snapshot: Snapshot,
        zone: Tz,
        scope: Scope,
    ) -> Result<Session, EngineError> {
        let reach = Reach::nothing(&snapshot);
        Session::with_reach(lake, snapshot, reach, zone, scope, &Moment::default()).await
    }

    async fn with_reach(
        lake: &Lake,
        snapshot: Snapshot,
        reach: Reach,
        zone: Tz,
        scope: Scope,
        moment: &Moment,
    ) -> Result<Session, EngineError> {
        let Scope::All = scope;
        let runtime = Runtime::of(lake)?;
        let loaded = runtime.context(lake, moment).await?;
        let tables = Arc::new(Tables::new(&runtime, &snapshot, reach, &loaded, zone));
        let context = SessionContext::new_with_state(runtime.state(zone, &loaded.resolver));
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(SCHEMA, Arc::clone(&tables) as _)?;
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(CATALOG.to_owned(), catalog);
        context.register_catalog_list(catalogs);
        let limits = Limits::default();
        Ok(Session { context, lake: lake.clone(), snapshot, loaded, runtime, tables, zone, limits })
    }

    /// Adds a table by value, for example `findings`.
    ///
    /// # Errors
    /// When the name is taken or the rows do not have the columns of `schema`.
    pub fn with_table(
        self,
        name: &str,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
    ) -> Result<Self, EngineError> {
        let refused = |why: String| EngineError::Table { name: name.to_owned(), why };
        if self.context.table_exist(TableReference::bare(name))? {
            return Err(refused("the session has a table of that name".to_owned()));
        }
        let table = MemTable::try_new(schema, vec![rows]).map_err(|e| refused(crate::error::plain(&e)))?;
        self.context.register_table(TableReference::bare(name), Arc::new(table))?;
        Ok(self)
    }

    /// Without Insyn's own looks in `access_events`: counts are of the journal systems' logs unless asked otherwise.
    ///
    /// # Errors
    /// None that a caller can cause: the table is there.
    pub fn without_own(self) -> Result<Self, EngineError> {
        for table in [Table::AccessEvents.name(), Table::UserAccesses.name(), users::DAYS] {
            if let Some(rows) = self.tables.get(table)? {
                let plan = LogicalPlanBuilder::scan(table, provider_as_source(rows), None)?
                    .filter(col("source").not_eq(lit(OWN_SOURCE)))?
                    .build()?;
                self.tables.put(table, Arc::new(ViewTable::new(plan, None)));
            }
        }
        Ok(self)
    }

    /// With other limits for [`Session::sql`].
    pub fn with_limits(self, limits: Limits) -> Self {
        Session { limits, ..self }
    }

    /// The limits of [`Session::sql`].
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The query engine itself, without a guard: for rules, whose SQL is Insyn's own.
    pub fn datafusion(&self) -> &SessionContext {
        &self.context
    }

    /// Answers one read-only query, bounded in time, rows and memory. Dropping the future ends the query.
    ///
    /// # Errors
    /// When the guard refuses a part, the query cannot be planned, a limit is passed, or reading fails.
    pub async fn sql(&self, query: &str) -> Result<Answer, SqlError> {
        self.ready_for(query).await.map_err(|error| SqlError::Failed(error.to_string()))?;
        crate::guard::run(self, query).await
    }

    /// Reads what functions go by that a query names, so that they answer.
    ///
    /// # Errors
    /// When the context tables cannot be read.
    pub async fn ready_for(&self, query: &str) -> Result<(), EngineError> {
        if !query.to_lowercase().contains(functions::SAME_HOUSEHOLD) {
            return Ok(());
        }
        let (tables, environment) = (&self.loaded.tables, &self.runtime.environment);
        let read = async {
            Ok::<_, EngineError>([
                then::rows(tables, "subjects", homes::SUBJECTS, environment).await?,
                then::rows(tables, "staff", homes::STAFF, environment).await?,
                then::rows(tables, "kinship", homes::KINSHIP, environment).await?,
            ])
        };
        self.resolver().homes_or(read).await
    }

    /// The version of `access_events` that the session sees.
    pub fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The pinned lake.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The organisation's zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The context load that the session sees: its tables with their rows and periods.
    pub fn context_load(&self) -> Option<&context::Manifest> {
        self.loaded.sight.as_ref().map(|sight| &sight.shown)
    }

    /// The names of all tables, sorted.
    pub fn tables(&self) -> Vec<String> {
        self.tables.table_names()
    }

    /// Who is behind a user's id or account, by the context tables as they are now.
    pub fn person_behind(&self, id: &str) -> PersonBehind {
        let resolver = self.resolver();
        let id = insyn_event::hsa_id(id.trim()).into_owned();
        let holders = resolver.holders(&id, i64::MIN, i64::MAX);
        // An account that several had at different times is nobody's in particular.
        let user_id = match holders.iter().next() {
            Some(holder) if holders.len() == 1 => (*holder).to_owned(),
            _ => id.clone(),
        };
        let accounts = resolver.accounts_of(&user_id).to_vec();
        let known = !holders.is_empty() || !accounts.is_empty() || resolver.knows_staff(&user_id);
        PersonBehind { user_id, accounts, known }
    }

    /// Every number of the person who has this one, that one included.
    pub fn numbers_of(&self, subject: &str) -> std::collections::BTreeSet<String> {
        self.resolver().numbers_of(subject)
    }

    pub(crate) fn resolver(&self) -> &Arc<Resolver> {
        &self.loaded.resolver
    }

    /// A runtime with a memory bound of its own.
    pub(crate) fn bounded_runtime(&self, memory: usize) -> Result<Arc<RuntimeEnv>, DataFusionError> {
        self.runtime.bounded(memory)
    }

    /// A query of Insyn's own, with its `$parameters` filled in.
    pub(crate) async fn ask(
        &self,
        query: &str,
        parameters: Vec<(&str, ScalarValue)>,
    ) -> Result<DataFrame, EngineError> {
        Ok(self.context.sql(query).await?.with_param_values(ParamValues::from(parameters))?)
    }

    /// Runs a plan of Insyn's own to its end.
    pub(crate) async fn collect(&self, plan: LogicalPlanBuilder) -> Result<Answer, EngineError> {
        let (stream, plan) = self.stream(plan).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await?;
        let subject_columns = subject_columns(&schema);
        Ok(Answer {
            schema,
            batches,
            counters: Counters::of(plan.as_ref()),
            subject_columns,
            asked: Vec::new(),
        })
    }

    /// Runs a plan of Insyn's own, whose rows come one batch after the other; and the plan, which counts what it costs.
    pub(crate) async fn stream(
        &self,
        plan: LogicalPlanBuilder,
    ) -> Result<(SendableRecordBatchStream, Arc<dyn ExecutionPlan>), EngineError> {
        let mut state = self.context.state();
        // A bound that tightens while the first rows are found makes every file be weighed again: these files are few.
        state.config_mut().options_mut().optimizer.enable_topk_dynamic_filter_pushdown = false;
        let plan = state.create_physical_plan(&plan.build()?).await?;
        let rows = datafusion::physical_plan::execute_stream(Arc::clone(&plan), state.task_ctx())?;
        Ok((rows, plan))
    }

    /// The start of a plan over one of the session's tables.
    pub(crate) async fn scan(&self, table: &str) -> Result<LogicalPlanBuilder, EngineError> {
        let provider = self.context.table_provider(TableReference::bare(table)).await?;
        Ok(LogicalPlanBuilder::scan(table, provider_as_source(provider), None)?)
    }

    /// The start of a plan over the rows of `access_events` in order of users, with the columns of `user_accesses`.
    pub(crate) fn by_user(&self) -> Result<LogicalPlanBuilder, EngineError> {
        let rows = provider_as_source(self.tables.by_user()?);
        Ok(LogicalPlanBuilder::scan(Table::UserAccesses.name(), rows, None)?)
    }

    /// The version that `user_accesses` reaches; none where it is not read, and `access_events` alone answers.
    pub fn reached(&self) -> Option<u64> {
        self.tables.reached()
    }

    /// One of Insyn's own functions over these arguments.
    pub(crate) fn call(&self, function: &str, args: Vec<Expr>) -> Result<Expr, EngineError> {
        own_function(function, self.zone, self.resolver(), args)
    }
}

/// Files of a table of the lake.
fn lake_table(runtime: &Runtime, table: Table, files: &[Arc<LakeFile>]) -> LakeTable {
    let provider = LakeTable::new(table.schema(), table.partition_columns(), runtime.url.clone(), files);
    let [key, _] = *table.sorted_by();
    match table {
        Table::AccessEvents => provider.with_fresh(Arc::clone(&runtime.fresh)).in_order_of(key),
        Table::UserAccesses => provider.in_order_of(key),
        _ => provider,
    }
}

/// The view `accesses` over any table with the columns of `access_events`.
fn accesses_over(
    provider: Arc<dyn TableProvider>,
    zone: Tz,
    resolver: &Arc<Resolver>,
) -> Result<ViewTable, EngineError> {
    let call = |name: &str, args: Vec<Expr>| own_function(name, zone, resolver, args);
    let actor = call("actor_id", vec![col("source"), col("user_id"), col("occurred_at")])?;
    let person = call("person_of", vec![actor.clone()])?;
    let person = datafusion::functions::expr_fn::coalesce(vec![person, col("user_person_id")]);
    let subject = call("subject_key", vec![col("subject_id")])?;
    let schema = provider.schema();
    let columns = schema.fields().iter().filter(|f| f.name() != "record").map(|f| col(f.name()));
    let resolved = [actor.alias("actor_id"), person.alias("person_id"), subject.alias("subject_key")];
    let plan = LogicalPlanBuilder::scan(Table::AccessEvents.name(), provider_as_source(provider), None)?
        .filter(col("source").not_eq(lit(OWN_SOURCE)))?
        .project(columns.chain(resolved))?
        .build()?;
    Ok(ViewTable::new(plan, None))
}

/// Items that no one has touched are open, also in files that are older than the column.
fn with_states(table: Table, provider: Arc<dyn TableProvider>) -> Result<ViewTable, EngineError> {
    let columns = provider.schema();
    let columns = columns.fields().iter().map(|field| match field.name().as_str() {
        "state" => datafusion::functions::expr_fn::coalesce(vec![col("state"), lit("open")]).alias("state"),
        name => col(name),
    });
    let plan = LogicalPlanBuilder::scan(table.name(), provider_as_source(provider), None)?
        .project(columns.collect::<Vec<_>>())?
        .build()?;
    Ok(ViewTable::new(plan, None))
}

const CATALOG: &str = "insyn";
const SCHEMA: &str = "lake";

fn own_function(
    name: &str,
    zone: Tz,
    resolver: &Arc<Resolver>,
    args: Vec<Expr>,
) -> Result<Expr, EngineError> {
    let function = functions::own(name, zone, resolver);
    let missing = || DataFusionError::Plan(format!("there is no function {name}"));
    Ok(function.ok_or_else(missing)?.call(args))
}

fn new_state(environment: &Arc<RuntimeEnv>, zone: Tz, resolver: &Arc<Resolver>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.enable_recursive_ctes = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.parquet.enable_page_index = true;
    options.execution.parquet.schema_force_view_types = false;
    // The lake's files have none; asking each file for them costs a look.
    options.execution.parquet.bloom_filter_on_read = false;
    options.execution.parquet.max_in_list_size = LONGEST_IN_LIST;
    // Reading a few pages of one file is not worth a thread for each core.
    options.optimizer.repartition_file_min_size = 32 << 20;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(environment))
        .with_scalar_functions(functions::scalar_functions(zone, resolver))
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_expr_planners(functions::expr_planners())
        .with_analyzer_rule(Arc::new(projections::KeepEach));
    turns::taught(state, turns::ROWS).build()
}

/// `schema` with each name once: a second `user_id` becomes `user_id_2`. Views become plain strings.
pub(crate) fn distinct_names(schema: &Schema) -> SchemaRef {
    let mut seen = std::collections::HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut n = 1;
        while !seen.insert(name.clone()) {
            n += 1;
            name = format!("{}_{n}", field.name());
        }
        let plain = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        Field::new(name, plain, field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batch under another schema of the same columns.
pub(crate) fn under(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            arrow::compute::cast(column, field.data_type())
        }
    });
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

pub(crate) use runtime::query_threads;

/// Waits until fewer guarded queries run than may.
pub(crate) async fn turn() -> tokio::sync::SemaphorePermit<'static> {
    loop {
        // The semaphore is never closed: the loop runs once.
        if let Ok(permit) = runtime::QUERIES.acquire().await {
            return permit;
        }
    }
}
