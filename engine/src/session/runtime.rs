//! What all sessions of a process share: memory, spilled files, cached footers.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::RecordBatch;
use chrono_tz::Tz;
use datafusion::common::{plan_err, resources_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use object_store::ObjectStore;
use tokio::sync::Semaphore;
use url::Url;

use super::new_state;
use super::pool::QueryPool;
use crate::context::resolve::Resolver;
use crate::context::then::{self, Tables};
use crate::context::{self, ContextError, Moment, Sight};
use crate::error::{EngineError, plain};
use crate::lake::Lake;
use crate::provider::Fresh;

/// Bytes that all queries of the process may reserve together.
const POOL: usize = 512 << 20;
/// Bytes of cached Parquet footers and page indexes of one lake: those of a billion accesses.
const FOOTERS: usize = 768 << 20;
/// Bytes that queries may spill to disk together.
const SPILL: u64 = 16 << 30;
/// Lakes whose caches are kept; a process has one, tests have many.
const LAKES: usize = 8;

static MEMORY: LazyLock<Arc<dyn MemoryPool>> = LazyLock::new(|| Arc::new(FairSpillPool::new(POOL)));
static RUNTIMES: Mutex<VecDeque<(String, Arc<Runtime>)>> = Mutex::new(VecDeque::new());

/// Guarded queries that run at once; the rest wait their turn within their own time.
pub(super) static QUERIES: Semaphore = Semaphore::const_new(4);

/// At least so many threads are for them.
const QUERY_THREADS: usize = 8;

/// The threads that guarded queries run on.
pub(crate) fn query_threads() -> Result<&'static tokio::runtime::Handle> {
    static THREADS: LazyLock<std::io::Result<tokio::runtime::Runtime>> = LazyLock::new(|| {
        // More than there are questions at once: one that is planned, or calls a function, for long leaves some to others.
        let threads = std::thread::available_parallelism().map_or(QUERY_THREADS, usize::from);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(QUERY_THREADS))
            .thread_name("insyn-query")
            .enable_all()
            .build()
    });
    match THREADS.as_ref() {
        Ok(threads) => Ok(threads.handle()),
        Err(e) => resources_err!("no threads for queries: {e}"),
    }
}

/// Shared by every session of one lake.
pub(super) struct Runtime {
    pub(super) environment: Arc<RuntimeEnv>,
    pub(super) url: ObjectStoreUrl,
    pub(super) fresh: Arc<Fresh>,
    /// Of the newest load.
    context: tokio::sync::Mutex<Option<Arc<Context>>>,
    /// What sessions begin with, by the zone and the resolver that its functions go by.
    begun: Mutex<Option<(Tz, Arc<Resolver>, SessionState)>>,
}

/// What is known of the context, with what was computed from it.
pub(super) struct Context {
    pub(super) sight: Option<Sight>,
    pub(super) tables: Tables,
    pub(super) resolver: Arc<Resolver>,
}

impl Runtime {
    /// The runtime of `lake`, made when it is first asked for.
    pub(super) fn of(lake: &Lake) -> Result<Arc<Runtime>> {
        let mut runtimes = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, runtime)) = runtimes.iter().find(|(root, _)| root == lake.root()) {
            return Ok(Arc::clone(runtime));
        }
        let runtime = Arc::new(Runtime::new(lake)?);
        runtimes.push_front((lake.root().to_owned(), Arc::clone(&runtime)));
        runtimes.truncate(LAKES);
        Ok(runtime)
    }

    fn new(lake: &Lake) -> Result<Runtime> {
        let url = ObjectStoreUrl::parse("insyn-lake://pinned")?;
        let disk = DiskManagerBuilder::default().with_max_temp_directory_size(SPILL);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&MEMORY))
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(FOOTERS)
            .with_object_store_registry(Arc::new(OneStore { url: url.clone(), store: lake.object_store() }))
            .build_arc()?;
        Ok(Runtime {
            environment,
            url,
            fresh: Arc::default(),
            context: tokio::sync::Mutex::new(None),
            begun: Mutex::default(),
        })
    }

    /// The same runtime with a bound of its own on memory, for one query.
    pub(super) fn bounded(&self, memory: usize) -> Result<Arc<RuntimeEnv>> {
        let pool = QueryPool::new(Arc::clone(&MEMORY), memory);
        RuntimeEnvBuilder::from_runtime_env(&self.environment).with_memory_pool(Arc::new(pool)).build_arc()
    }

    /// What a session begins with: functions and settings, and no tables yet. Hundreds of functions are gathered once.
    pub(super) fn state(&self, zone: Tz, resolver: &Arc<Resolver>) -> SessionState {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match begun.as_ref() {
            Some((of, by, state)) if *of == zone && Arc::ptr_eq(by, resolver) => state.clone(),
            _ => {
                let state = new_state(&self.environment, zone, resolver);
                *begun = Some((zone, Arc::clone(resolver), state.clone()));
                state
            }
        }
    }

    /// What is known of the context; of what is known now it is read once for as long as that stays so.
    pub(super) async fn context(&self, lake: &Lake, moment: &Moment) -> Result<Arc<Context>, EngineError> {
        let store = lake.object_store();
        let broken = |what: String| EngineError::Context { load: "current".to_owned(), what };
        let sight = context::sight(store.as_ref(), &moment.known).await.map_err(|error| match error {
            ContextError::NoLoad => EngineError::Question {
                what: "the context load",
                found: "none of that name".to_owned(),
                expected: "one that was made and is kept",
            },
            error => broken(error.to_string()),
        })?;
        if *moment != Moment::default() {
            return self.read(sight, moment.as_of).await;
        }
        let mut kept = self.context.lock().await;
        if let Some(kept) = kept.as_ref()
            && kept.sight == sight
        {
            return Ok(Arc::clone(kept));
        }
        let context = self.read(sight, None).await?;
        *kept = Some(Arc::clone(&context));
        Ok(context)
    }

    async fn read(&self, sight: Option<Sight>, as_of: Option<i64>) -> Result<Arc<Context>, EngineError> {
        let load = sight.as_ref().map(|sight| sight.shown.id.clone()).unwrap_or_default();
        let broken = |e: DataFusionError| EngineError::Context { load: load.clone(), what: plain(&e) };
        let tables =
            then::tables(sight.as_ref(), as_of, &self.environment, &self.url).await.map_err(&broken)?;
        let all = async |table: &str| -> Result<Vec<RecordBatch>, EngineError> {
            then::rows(&tables, table, &[], &self.environment).await.map_err(&broken)
        };
        let (accounts, identities) = (all("accounts").await?, all("identities").await?);
        let resolver = Resolver::of(&accounts, &identities, &all("staff").await?).asked_of(as_of);
        Ok(Arc::new(Context { sight, tables, resolver: Arc::new(resolver) }))
    }
}

/// A registry that has the lake and nothing else: no query can name a file, whatever it says.
#[derive(Debug)]
struct OneStore {
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
}

impl ObjectStoreRegistry for OneStore {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let wanted: &Url = self.url.as_ref();
        if url.scheme() == wanted.scheme() && url.host_str() == wanted.host_str() {
            return Ok(Arc::clone(&self.store));
        }
        plan_err!("there is no store but the lake's own")
    }
}
