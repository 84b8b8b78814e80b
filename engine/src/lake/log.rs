//! One Delta table's log: its state kept in memory and carried on commit by commit, and the one way to add a commit.
//!
//! The state is loaded by delta-rs once (checkpoint and commits); afterwards each new commit is read as it comes, so
//! that opening a snapshot costs the same after a hundred thousand commits as after ten. A commit is put as exactly
//! the version after the state that it was decided on, and only if that version does not exist: checking and
//! committing happen on the same snapshot, and whoever loses looks again.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use deltalake::kernel::{Action, Add, DomainMetadata, Remove, Snapshot};
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::{TryStreamExt, future};
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::CHECKPOINT_EVERY;
use super::create;
use super::error::LakeError;
use super::place::{Place, TablePlace};
use super::source::{AgainState, ORDINALS, Ordinals, SourceState, again_domain, again_of, domain, source_of};
use super::stats::FileStats;
use super::types::{LakeFile, Table};
use super::users::{REACH, Reached};
use crate::failpoint::crash_at;

/// After so many lost races a commit is given up. Within one process commits queue, so these are other processes.
const ATTEMPTS: usize = 100;

/// Which checkpoint is the newest, for whoever opens the table.
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// A Delta table of the lake.
pub(super) struct TableLog {
    pub(super) table: Table,
    store: Arc<dyn ObjectStore>,
    log_store: LogStoreRef,
    state: Mutex<Option<Arc<TableState>>>,
    chores: std::sync::Mutex<Chores>,
}

/// When this process last did what takes the longer the more the log holds.
#[derive(Default)]
struct Chores {
    /// No checkpoint is due before.
    rests_until: Option<Instant>,
    /// When entries were listed to be removed, and up to which version there were some.
    cleaned: Option<(Instant, u64)>,
}

/// A checkpoint takes at most one part in so many of the time.
const SHARE: u32 = 10;
/// So many entries after a checkpoint there is another one all the same.
const AT_MOST: u64 = 10_000;
/// Entries that a checkpoint covers go when they are older than this,
const KEPT: TimeDelta = TimeDelta::hours(24);
/// or than this and more than [`AT_MOST`] versions back: whoever is behind looks at the checkpoint.
const KEPT_AT_LEAST: TimeDelta = TimeDelta::hours(1);
/// So many entries are read at a time at most.
const MOST_BESIDE: u64 = 32;
/// They are listed so often, or after [`AT_MOST`] commits.
const CLEANED_EVERY: Duration = Duration::from_secs(3600);

/// Every table of a lake.
pub(super) struct Tables(pub Vec<TableLog>);

impl Tables {
    pub(super) fn of(&self, table: Table) -> &TableLog {
        // One of each is opened, in the order of `Table::ALL`.
        &self.0[table as usize]
    }
}

/// The table as of one version.
#[derive(Debug, Clone, Default)]
pub(super) struct TableState {
    pub version: u64,
    /// Every live file, oldest first.
    pub files: Arc<Vec<Arc<LakeFile>>>,
    pub ordinals: Arc<Ordinals>,
    pub sources: Arc<BTreeMap<String, SourceState>>,
    /// What was amended of each source.
    pub again: Arc<BTreeMap<String, AgainState>>,
    /// Of `user_accesses`: which rows of `access_events` it has.
    pub reached: Option<Arc<Reached>>,
    /// The table's columns and settings, as the log has them.
    metadata: Arc<Value>,
    /// The newest checkpoint that this process knows of.
    pub checkpoint: u64,
}

/// What a decision on a state came to.
pub(super) enum Decision {
    /// Commit these actions as the next version.
    Commit(Vec<Action>),
    /// Nothing to commit.
    Nothing,
}

impl TableLog {
    /// The table in its place; made when there is no Delta log yet.
    pub(super) async fn open(table: Table, place: &Place) -> Result<TableLog, LakeError> {
        let TablePlace { store, whole, url } = place.table(table)?;
        let log_store = default_logstore(Arc::clone(&store), whole, &url, &StorageConfig::default());
        let log = TableLog { table, store, log_store, state: Mutex::default(), chores: Default::default() };
        log.create_if_absent().await?;
        log.widen().await?;
        Ok(log)
    }

    /// Adds the columns that this version has and an older one had not. Its files have null there.
    async fn widen(&self) -> Result<(), LakeError> {
        self.transact(|state| match create::widened(self.table, &state.metadata) {
            None => Ok(Decision::Nothing),
            Some(wide) => {
                let metadata = serde_json::from_value(wide).map_err(|e| LakeError::delta(self.table, e))?;
                Ok(Decision::Commit(vec![Action::Metadata(metadata)]))
            }
        })
        .await?;
        Ok(())
    }

    /// The newest state.
    pub(super) async fn current(&self) -> Result<Arc<TableState>, LakeError> {
        let mut held = self.state.lock().await;
        self.refresh(&mut held).await
    }

    /// The state as it was last seen: nothing is read.
    pub(super) async fn held(&self) -> Result<Arc<TableState>, LakeError> {
        let mut held = self.state.lock().await;
        match held.as_ref() {
            Some(state) => Ok(Arc::clone(state)),
            None => self.refresh(&mut held).await,
        }
    }

    /// Decides on the newest state and commits upon exactly that, as often as others come first.
    pub(super) async fn transact(
        &self,
        mut decide: impl FnMut(&TableState) -> Result<Decision, LakeError>,
    ) -> Result<Arc<TableState>, LakeError> {
        let mut held = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.refresh(&mut held).await?;
            let actions = match decide(&state)? {
                Decision::Nothing => return Ok(state),
                Decision::Commit(actions) => actions,
            };
            let version = state.version + 1;
            match self.put(version, &actions).await {
                Ok(()) => {
                    let mut next = TableState::clone(&state);
                    next.apply(self.table, actions.into_iter().map(Line::from).collect())?;
                    let next = Arc::new(next);
                    *held = Some(Arc::clone(&next));
                    return Ok(next);
                }
                Err(StoreFault::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LakeError::Contended { table: self.table.name(), attempts: ATTEMPTS })
    }

    /// Its files; paths are relative to the table.
    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Puts a data file; `path` is relative to the table.
    pub(super) async fn put_file(&self, path: &str, bytes: Bytes) -> Result<(), LakeError> {
        self.store.put_opts(&Path::from(path), bytes.into(), PutMode::Create.into()).await?;
        Ok(())
    }

    /// Gives the bytes of a data file another name beside its own; both are relative to the table.
    pub(super) async fn link_file(&self, from: &str, to: &str) -> Result<(), LakeError> {
        Ok(self.store.copy(&Path::from(from), &Path::from(to)).await?)
    }

    /// The bytes of a data file; `path` is relative to the table.
    pub(super) async fn read_file(&self, path: &str) -> Result<Bytes, LakeError> {
        Ok(self.store.get(&Path::from(path)).await?.bytes().await?)
    }

    /// What a copy of this version needs of the log: the newest checkpoint up to it, and the entries after that. Name and
    /// bytes of each.
    pub(super) async fn entries(&self, version: u64) -> Result<Vec<(String, Bytes)>, LakeError> {
        let listed: Vec<_> = self.store.list(Some(&Path::from("_delta_log"))).try_collect().await?;
        let names = listed.iter().filter_map(|found| found.location.filename());
        let checkpoint_of = |name: &str| {
            let (version, rest) = name.split_once('.')?;
            rest.starts_with("checkpoint").then(|| version.parse::<u64>().ok()).flatten()
        };
        let base = names.clone().filter_map(checkpoint_of).filter(|at| *at <= version).max();
        let wanted = names.filter(|name| base.is_some() && checkpoint_of(name) == base);
        let mut wanted: Vec<String> = wanted.map(str::to_owned).collect();
        // The entry of the checkpoint itself may be cleaned away; those after it may not.
        wanted.extend((base.unwrap_or_default()..=version).map(|at| format!("{at:020}.json")));
        if base.is_some() && self.last_checkpoint().await == base {
            wanted.push(LAST_CHECKPOINT.to_owned());
        }
        let mut entries = Vec::new();
        for name in wanted {
            match self.store.get(&Path::from(format!("_delta_log/{name}"))).await {
                Ok(found) => entries.push((name, found.bytes().await?)),
                Err(StoreFault::NotFound { .. })
                    if base.is_some_and(|at| name == format!("{at:020}.json")) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    /// Data files that lie there, with when they were last written (µs UTC); paths are relative to the table.
    pub(super) async fn data_files(&self) -> Result<Vec<(String, i64)>, LakeError> {
        // The log is not listed: it may have many more entries than there are data files.
        let top = self.store.list_with_delimiter(None).await?;
        let mut found = top.objects;
        for folder in top.common_prefixes.iter().filter(|folder| folder.as_ref() != "_delta_log") {
            found.extend(self.store.list(Some(folder)).try_collect::<Vec<_>>().await?);
        }
        let parquet = found.into_iter().filter(|found| found.location.as_ref().ends_with(".parquet"));
        Ok(parquet
            .map(|found| (found.location.to_string(), found.last_modified.timestamp_micros()))
            .collect())
    }

    /// Removes a data file that no commit names. What cannot be removed is only space.
    pub(super) async fn forget_file(&self, path: &str) {
        if let Err(error) = self.store.delete(&Path::from(path)).await {
            tracing::warn!(table = self.table.name(), path, %error, "an unused file stays behind");
        }
    }

    /// Removes a data file that must not stay; one that is gone already is removed.
    pub(super) async fn remove_file(&self, path: &str) -> Result<(), LakeError> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(StoreFault::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Entries and checkpoints of the log: name, version, and when each was written.
    async fn listed(&self) -> Result<Vec<(String, u64, DateTime<Utc>)>, LakeError> {
        let listed: Vec<_> = self.store.list(Some(&Path::from("_delta_log"))).try_collect().await?;
        let of_version = |found: &ObjectMeta| {
            let name = found.location.filename()?;
            let version = name.split_once('.')?.0;
            let version = (version.len() == 20).then(|| version.parse().ok()).flatten()?;
            Some((name.to_owned(), version, found.last_modified))
        };
        Ok(listed.iter().filter_map(of_version).collect())
    }

    /// Sees to a checkpoint of the newest version; entries and checkpoints of older ones go, when they were written
    /// longer than `grace` ago. Gives how many.
    pub(super) async fn renew(&self, grace: Duration) -> Result<u64, LakeError> {
        // Held to the end: nobody here commits upon a version that is cleaned away.
        let mut held = self.state.lock().await;
        let newest = self.refresh(&mut held).await?.version;
        let mut listed = self.listed().await?;
        // The oldest first: see `refresh`.
        listed.sort_by_key(|(_, version, _)| *version);
        let is_there =
            |at: u64| listed.iter().any(|(name, version, _)| *version == at && name.contains(".checkpoint"));
        let version = if newest == 0 || is_there(newest) { newest } else { self.write_checkpoint().await? };
        if let Some(state) = held.as_mut() {
            Arc::make_mut(state).checkpoint = version;
        }
        crash_at("purged-checkpoint");
        let mut removed = 0;
        let before = Utc::now() - grace;
        for (name, _, _) in listed.iter().filter(|(_, of, written)| *of < version && *written <= before) {
            match self.store.delete(&Path::from(format!("_delta_log/{name}"))).await {
                Ok(()) => removed += 1,
                Err(StoreFault::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }

    /// Whether so much came since the last checkpoint that another one pays. Nothing is read for it.
    pub(super) fn is_checkpoint_due(&self, state: &TableState) -> bool {
        let since = state.version.saturating_sub(state.checkpoint);
        let rests = self.chores().rests_until.is_some_and(|until| Instant::now() < until);
        since >= AT_MOST || since >= CHECKPOINT_EVERY && !rests
    }

    /// Writes a checkpoint of the newest version, then removes log entries that are past their time.
    pub(super) async fn checkpoint(&self) -> Result<u64, LakeError> {
        let begun = Instant::now();
        let version = self.write_checkpoint().await?;
        self.clean_when_due(version).await?;
        self.chores().rests_until = Some(Instant::now() + begun.elapsed() * SHARE);
        if let Some(state) = self.state.lock().await.as_mut() {
            let mut next = TableState::clone(state);
            next.checkpoint = next.checkpoint.max(version);
            *state = Arc::new(next);
        }
        Ok(version)
    }

    async fn write_checkpoint(&self) -> Result<u64, LakeError> {
        let fault = |e| LakeError::delta(self.table, e);
        let mut table = deltalake::DeltaTable::new(Arc::clone(&self.log_store));
        table.load().await.map_err(fault)?;
        let version = table.version().unwrap_or_default();
        deltalake::checkpoints::create_checkpoint(&table, None).await.map_err(fault)?;
        Ok(version)
    }

    /// Removes entries and checkpoints that are past their time, the oldest first (see `refresh`), once in a while: all
    /// of them are listed for it.
    async fn clean_when_due(&self, checkpoint: u64) -> Result<(), LakeError> {
        let now = (Instant::now(), checkpoint);
        if let Some((when, version)) = self.chores().cleaned
            && when.elapsed() < CLEANED_EVERY
            && checkpoint < version + AT_MOST
        {
            return Ok(());
        }
        self.chores().cleaned = Some(now);
        let listed = self.listed().await?;
        for name in past_their_time(listed, checkpoint, Utc::now()) {
            match self.store.delete(&Path::from(format!("_delta_log/{name}"))).await {
                Ok(()) | Err(StoreFault::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn chores(&self) -> std::sync::MutexGuard<'_, Chores> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew where the table's folder was taken away.
    pub(super) async fn revive(&self) -> Result<Arc<TableState>, LakeError> {
        *self.state.lock().await = None;
        self.create_if_absent().await?;
        self.current().await
    }

    async fn create_if_absent(&self) -> Result<(), LakeError> {
        let mut entries = self.store.list(Some(&Path::from("_delta_log")));
        if entries.try_next().await?.is_some() {
            return Ok(());
        }
        match self
            .store
            .put_opts(&entry(0), create::first_commit(self.table).into(), PutMode::Create.into())
            .await
        {
            Ok(_) | Err(StoreFault::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, version: u64, actions: &[Action]) -> Result<(), StoreFault> {
        let mut text = commit_info(version).to_string();
        for action in actions {
            text.push('\n');
            let line = serde_json::to_string(action)
                .map_err(|e| StoreFault::Generic { store: "Delta log", source: Box::new(e) })?;
            text.push_str(&line);
        }
        self.store.put_opts(&entry(version), text.into(), PutMode::Create.into()).await?;
        Ok(())
    }

    /// Reads the commits that came since; loads the whole when there is no state or its log has been cleaned away.
    async fn refresh(&self, held: &mut Option<Arc<TableState>>) -> Result<Arc<TableState>, LakeError> {
        let mut state = match held.as_ref() {
            Some(state) => Arc::clone(state),
            None => Arc::new(self.load().await?),
        };
        self.read_on(&mut state).await?;
        // The newest commit's entry is never cleaned away, and nothing is before a newer checkpoint is told of. When ours
        // is gone, or older than that, others went on and cleaned behind them: what comes after it cannot be read, and
        // must never be put where it was. Entries go in order of their versions, and this is asked after what comes next
        // was found missing: whoever sees the end of a log that is being cleaned sees that its own entry is gone too.
        let (gone, checkpoint) = tokio::join!(self.is_gone(state.version), self.last_checkpoint());
        if gone? || checkpoint.is_some_and(|checkpoint| checkpoint > state.version) {
            state = Arc::new(self.load().await?);
            self.read_on(&mut state).await?;
        }
        *held = Some(Arc::clone(&state));
        Ok(state)
    }

    /// Takes in the entries after a state, up to the first that is missing. Of many, some are read beside one another.
    async fn read_on(&self, state: &mut Arc<TableState>) -> Result<(), LakeError> {
        let mut beside = 1;
        loop {
            let entries = (1..=beside).map(|n| self.read_entry(state.version + n));
            for lines in future::join_all(entries).await {
                let Some(lines) = lines? else { return Ok(()) };
                Arc::make_mut(state).apply(self.table, lines)?;
            }
            beside = MOST_BESIDE.min(beside * 2);
        }
    }

    async fn is_gone(&self, version: u64) -> Result<bool, LakeError> {
        match self.store.head(&entry(version)).await {
            Ok(_) => Ok(false),
            Err(StoreFault::NotFound { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// A commit as it was written; none where it is not there, or no longer.
    pub(super) async fn entry_bytes(&self, version: u64) -> Result<Option<Bytes>, LakeError> {
        match self.store.get(&entry(version)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(StoreFault::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lines of a commit; none where it is not there, or no longer.
    pub(super) async fn read_entry(&self, version: u64) -> Result<Option<Vec<Line>>, LakeError> {
        let Some(bytes) = self.entry_bytes(version).await? else { return Ok(None) };
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let lines = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        // The place within the line is told, its content is not: it may hold a personal number.
        lines.map(Some).map_err(|e| LakeError::Unexpected {
            table: self.table.name(),
            version,
            found: format!("an entry that cannot be read (column {})", e.column()),
            expected: "one JSON action a line",
        })
    }

    /// The table as its newest checkpoint has it, after which [`TableLog::read_on`] goes on; as of now where there is none.
    /// delta-rs would read what comes after it once for every question that is asked here.
    async fn load(&self) -> Result<TableState, LakeError> {
        let checkpoint = self.last_checkpoint().await;
        let snapshot = match self.snapshot_at(checkpoint).await {
            // Another one was put in its place, and it was cleaned away, since it was told of.
            Err(_) if checkpoint.is_some() => self.snapshot_at(None).await?,
            snapshot => snapshot?,
        };
        self.state_of(&snapshot, checkpoint.unwrap_or_default()).await
    }

    async fn snapshot_at(&self, version: Option<u64>) -> Result<Snapshot, LakeError> {
        let snapshot = Snapshot::try_new(self.log_store.as_ref(), version).await;
        snapshot.map_err(|e| LakeError::delta(self.table, e))
    }

    async fn state_of(&self, snapshot: &Snapshot, checkpoint: u64) -> Result<TableState, LakeError> {
        let fault = |e: deltalake::DeltaTableError| LakeError::delta(self.table, e);
        let mut state = TableState { version: snapshot.version(), checkpoint, ..TableState::default() };
        create::check_protocol(self.table, state.version, snapshot.protocol())?;
        let metadata = serde_json::to_value(snapshot.metadata());
        state.metadata = Arc::new(metadata.map_err(|e| LakeError::delta(self.table, e))?);

        let mut files = Vec::new();
        let mut views = snapshot.file_views(self.log_store.as_ref(), None);
        while let Some(view) = views.try_next().await.map_err(fault)? {
            if view.deletion_vector_descriptor().is_some() {
                return Err(deletion_vector(self.table, state.version));
            }
            let year = view.partition_values_map().remove("year").flatten();
            let stats = FileStats::from_json(self.table, &view.stats().unwrap_or_default());
            let size = u64::try_from(view.size()).unwrap_or_default();
            files.push(Arc::new(stats.into_file(self.table, &view.path(), size, year)));
        }
        drop(views);
        files.reverse(); // delta-rs gives the newest first
        state.files = Arc::new(files);

        let read = async |name: String| -> Result<Option<String>, LakeError> {
            snapshot.domain_metadata(self.log_store.as_ref(), name).await.map_err(fault)
        };
        if self.table == Table::UserAccesses
            && let Some(text) = read(REACH.into()).await?
        {
            state.set_domain(self.table, REACH, &text)?;
        }
        if self.table == Table::AccessEvents {
            if let Some(text) = read(ORDINALS.into()).await? {
                state.set_domain(self.table, ORDINALS, &text)?;
            }
            for source in Ordinals::clone(&state.ordinals).into_keys() {
                for name in [domain(&source), again_domain(&source)] {
                    if let Some(text) = read(name.clone()).await? {
                        state.set_domain(self.table, &name, &text)?;
                    }
                }
            }
        }
        Ok(state)
    }

    async fn last_checkpoint(&self) -> Option<u64> {
        let hint = self
            .store
            .get(&Path::from(format!("_delta_log/{LAST_CHECKPOINT}")))
            .await
            .ok()?
            .bytes()
            .await
            .ok()?;
        serde_json::from_slice::<Value>(&hint).ok()?.get("version")?.as_u64()
    }
}

impl TableState {
    /// What tells this table from another of the same name.
    pub(super) fn id(&self) -> &str {
        self.metadata.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// Takes in the commit after this version.
    fn apply(&mut self, table: Table, lines: Vec<Line>) -> Result<(), LakeError> {
        self.version += 1;
        let mut added = Vec::new();
        let mut removed = HashSet::new();
        for line in lines {
            if let Some(protocol) = line.protocol {
                create::check_protocol_text(table, self.version, &protocol)?;
            }
            if let Some(metadata) = line.metadata {
                self.metadata = Arc::new(metadata);
            }
            if let Some(remove) = line.remove {
                removed.insert(format!("{}/{}", table.name(), remove.path));
            }
            if let Some(add) = line.add {
                if add.deletion_vector.is_some() {
                    return Err(deletion_vector(table, self.version));
                }
                added.push(Arc::new(file_of(table, &add)));
            }
            if let Some(domain) = line.domain {
                self.set_domain(
                    table,
                    &domain.domain,
                    if domain.removed { "" } else { &domain.configuration },
                )?;
            }
        }
        if !removed.is_empty() || !added.is_empty() {
            let files = Arc::make_mut(&mut self.files);
            // A path that is added again replaces what the log said of it before.
            removed.extend(added.iter().map(|file: &Arc<LakeFile>| file.path.clone()));
            if files.iter().any(|file| removed.contains(&file.path)) {
                files.retain(|file| !removed.contains(&file.path));
            }
            files.extend(added);
        }
        Ok(())
    }

    fn set_domain(&mut self, table: Table, name: &str, text: &str) -> Result<(), LakeError> {
        let version = self.version;
        let fault = |_| LakeError::Unexpected {
            table: table.name(),
            version,
            found: format!("domainMetadata \"{name}\" that cannot be read"),
            expected: "what this version of Insyn writes there",
        };
        if table == Table::UserAccesses && name == REACH && !text.is_empty() {
            self.reached = Some(serde_json::from_str(text).map(Arc::new).map_err(fault)?);
        }
        if table != Table::AccessEvents || text.is_empty() {
            return Ok(());
        }
        if name == ORDINALS {
            self.ordinals = Arc::new(serde_json::from_str(text).map_err(fault)?);
        } else if let Some(source) = source_of(name) {
            let state = serde_json::from_str(text).map_err(fault)?;
            Arc::make_mut(&mut self.sources).insert(source.to_string(), state);
        } else if let Some(source) = again_of(name) {
            let state = serde_json::from_str(text).map_err(fault)?;
            Arc::make_mut(&mut self.again).insert(source.to_string(), state);
        }
        Ok(())
    }
}

/// One line of a commit, as far as it matters here.
#[derive(Default, Deserialize)]
pub(super) struct Line {
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    #[serde(rename = "domainMetadata")]
    domain: Option<DomainMetadata>,
    #[serde(rename = "metaData")]
    metadata: Option<Value>,
    protocol: Option<Value>,
}

impl From<Action> for Line {
    fn from(action: Action) -> Line {
        match action {
            Action::Add(add) => Line { add: Some(add), ..Line::default() },
            Action::Remove(remove) => Line { remove: Some(remove), ..Line::default() },
            Action::DomainMetadata(domain) => Line { domain: Some(domain), ..Line::default() },
            Action::Metadata(metadata) => {
                Line { metadata: serde_json::to_value(metadata).ok(), ..Line::default() }
            }
            _ => Line::default(),
        }
    }
}

fn file_of(table: Table, add: &Add) -> LakeFile {
    let year = add.partition_values.get("year").cloned().flatten();
    let stats = FileStats::from_json(table, add.stats.as_deref().unwrap_or_default());
    stats.into_file(table, &add.path, u64::try_from(add.size).unwrap_or_default(), year)
}

/// Names of entries and checkpoints that nobody needs any more, the oldest first: all before the newest checkpoint that
/// every entry which is to stay comes after.
fn past_their_time(
    mut listed: Vec<(String, u64, DateTime<Utc>)>,
    checkpoint: u64,
    now: DateTime<Utc>,
) -> Vec<String> {
    listed.sort_by_key(|(_, version, _)| *version);
    let stays = |version: u64, written: DateTime<Utc>| {
        let age = now - written;
        age < KEPT_AT_LEAST || age < KEPT && version + AT_MOST >= checkpoint
    };
    let entries = listed.iter().filter(|(name, ..)| name.ends_with(".json"));
    let first =
        entries.filter(|(_, version, written)| stays(*version, *written)).map(|(_, version, _)| *version);
    let first = first.min().unwrap_or(checkpoint).min(checkpoint);
    let checkpoints = listed.iter().filter(|(name, ..)| name.contains(".checkpoint"));
    let base = checkpoints.map(|(_, version, _)| *version).filter(|version| *version <= first).max();
    let gone = listed.iter().filter(|(_, version, _)| base.is_some_and(|base| *version < base));
    gone.map(|(name, ..)| name.clone()).collect()
}

fn entry(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

fn commit_info(version: u64) -> Value {
    json!({ "commitInfo": {
        "timestamp": Utc::now().timestamp_millis(),
        "operation": "WRITE",
        "operationParameters": { "mode": "Append" },
        "readVersion": version - 1,
        "engineInfo": concat!("insyn/", env!("CARGO_PKG_VERSION")),
        // No two entries are alike: whoever finds his own knows it.
        "txnId": uuid::Uuid::new_v4().to_string(),
    }})
}

fn deletion_vector(table: Table, version: u64) -> LakeError {
    LakeError::Unexpected {
        table: table.name(),
        version,
        found: "a deletion vector".into(),
        expected: "whole files only; another program changed the table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries 1 to `newest`, one a second, the newest now; a checkpoint every hundred.
    fn log(newest: u64, each: TimeDelta, now: DateTime<Utc>) -> Vec<(String, u64, DateTime<Utc>)> {
        let written = |version: u64| now - each * i32::try_from(newest - version).unwrap_or(i32::MAX);
        let entry = |version| (format!("{version:020}.json"), version, written(version));
        let checkpoint = |version| (format!("{version:020}.checkpoint.parquet"), version, written(version));
        (1..=newest).map(entry).chain((1..=newest / 100).map(|n| checkpoint(n * 100))).collect()
    }

    #[test]
    fn what_a_checkpoint_covers_goes_after_hours() {
        let now = Utc::now();
        for (newest, each, stay_from) in [
            // All of the last minutes: nothing goes, however much it is.
            (3000, TimeDelta::milliseconds(100), 0),
            // One a minute: a day of them stays, from the checkpoint before.
            (3000, TimeDelta::minutes(1), 1500),
            // One a second: no more than ten thousand, once an hour is over.
            (30_000, TimeDelta::seconds(1), 20_000),
            // So fast that an hour has more than that.
            (30_000, TimeDelta::milliseconds(200), 12_000),
            // Nobody came for days: the newest checkpoint and what is after it.
            (3050, TimeDelta::days(2), 3000),
        ] {
            let listed = log(newest, each, now);
            let gone = past_their_time(listed.clone(), newest / 100 * 100, now);
            let left: Vec<u64> = listed
                .iter()
                .filter(|(name, ..)| !gone.contains(name))
                .map(|(_, version, _)| *version)
                .collect();
            assert_eq!(left.iter().min().copied(), Some(stay_from.max(1)), "{newest} each {each}");
            let of_gone: Vec<&str> = gone.iter().map(|name| &name[..20]).collect();
            assert!(of_gone.is_sorted(), "the oldest first");
        }
        let without: Vec<_> = log(50, TimeDelta::days(2), now);
        assert_eq!(past_their_time(without, 0, now), Vec::<String>::new(), "no checkpoint, nothing goes");
    }
}
