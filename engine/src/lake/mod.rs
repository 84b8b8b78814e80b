//! The lake: six Delta tables in one folder or bucket, and the only way to add to them.
//!
//! A batch of a source and the position after it are one Delta commit of `access_events`: it counts whole or not at
//! all, after any crash. Rows of `quarantine`, `gaps`, `exports` and `lacking` are committed before and count with it;
//! `user_accesses` is made of `access_events` afterwards. A [`Snapshot`] is pinned: what a reader sees does not move.
//! The tables are plain Delta, for every other reader.

mod actions;
mod amend;
mod commit;
mod compact;
mod copy;
mod create;
mod encode;
mod error;
mod lease;
mod location;
mod lock;
mod log;
mod place;
mod purge;
mod retain;
mod retain_items;
mod runs;
mod segment;
mod side;
mod sides;
mod snapshot;
mod source;
mod stats;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;
mod users;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::ObjectStore;

use crate::config::LakeConfig;
use log::{TableLog, TableState, Tables};
use place::Place;
use source::is_ahead;
use upkeep::Upkeep;
use users::Known;
pub(crate) use users::trail;
pub use users::{Later, Mark, Reach, Told};

pub use amend::{Amendment, Changes};
pub use compact::Merged;
pub use error::LakeError;
pub use lock::LakeLock;
pub use place::Vacant;
pub use purge::Purged;
pub use retain::{RETAINED, Share, Survey};
pub use snapshot::Snapshot;
pub use types::{
    Amended, Bounds, Columns, Committed, ExportDay, Gap, Lacking, LakeFile, Progress, Quarantined, Settled,
    SourceCommit, Table, Window,
};
pub(crate) use types::{TRAIL, USER_COLUMNS};

/// A table gets a checkpoint after so many commits.
const CHECKPOINT_EVERY: u64 = 100;

/// The lake. Cloning it costs nothing; clones share what they know of it.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    root: String,
    place: Place,
    store: Arc<dyn ObjectStore>,
    tables: Tables,
    writer: Mutex<String>,
    snapshot: Mutex<Option<Snapshot>>,
    /// As often as snapshots are pinned here, and once more.
    pins: Arc<()>,
    checkpointing: AtomicBool,
    /// Read by whoever puts files that a commit of theirs will name: a listing of files that none names excludes them.
    putting: tokio::sync::RwLock<()>,
    upkeep: Upkeep,
    /// What is known of the commits that `user_accesses` has not followed yet.
    since: Known,
}

impl LakeFile {
    /// Whether a commit wrote it, and it has not been worked into a run yet: it may hold anybody.
    pub fn is_fresh(&self) -> bool {
        runs::level_of(&self.path) == 0
    }
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lake({})", self.inner.root)
    }
}

impl Lake {
    /// Opens the lake that the configuration names, or its url alone; relative folders lie under `base`. Folder and
    /// tables are made when absent, and temporary files that a crash left are removed. A bucket must be there, and
    /// refuse the second of two writers.
    ///
    /// # Errors
    /// When the url is neither, the folder or bucket cannot be used, or a table in it is not as Insyn made it.
    pub async fn open(config: impl Into<LakeConfig>, base: &Path) -> Result<Lake, LakeError> {
        let place = Place::open(&config.into(), base).await?;
        let tables = Table::ALL.map(|table| TableLog::open(table, &place));
        // To the end in any case: what is begun on other threads must not find that everything has ended.
        let tables = futures::future::join_all(tables).await.into_iter().collect::<Result<_, _>>()?;
        let inner = Inner {
            root: place.root(),
            store: place.store()?,
            tables: Tables(tables),
            place,
            writer: Mutex::new(format!("process {}", std::process::id())),
            snapshot: Mutex::new(None),
            pins: Arc::default(),
            checkpointing: AtomicBool::new(false),
            putting: tokio::sync::RwLock::default(),
            upkeep: Upkeep::default(),
            since: Known::default(),
        };
        Ok(Lake { inner: Arc::new(inner) })
    }

    /// The folder that it lies in; none where it lies in a bucket.
    pub fn folder(&self) -> Option<&Path> {
        self.inner.place.folder()
    }

    /// Where it lies: the absolute path of its folder, or the url of its bucket and path.
    pub fn root(&self) -> &str {
        &self.inner.root
    }

    /// Its files; paths are relative to the root. A put through it is durable when it returns.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// Takes the lake for `what` (as "ingest"), until the lock is dropped or the process dies, or, in
    /// a bucket, loses its lease ([`LakeLock::is_lost`]). `holder` is what
    /// another process is told ("insyn serve, pid 12"), also when it finds a batch taken.
    ///
    /// # Errors
    /// [`LakeError::Locked`] names the holder.
    pub async fn lock(&self, holder: &str, what: &str) -> Result<LakeLock, LakeError> {
        let lock = self.inner.place.lock(holder, what).await?;
        *self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner) = holder.to_string();
        Ok(lock)
    }

    /// How far `source` has been read, by what the lake holds.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn progress(&self, source: &str) -> Result<Progress, LakeError> {
        let state = self.inner.events().current().await?;
        let again = state.again.get(source);
        Ok(state.sources.get(source).map(|found| found.progress(again)).unwrap_or_default())
    }

    /// Adds a batch. When this returns, its rows, its quarantine, its gaps and its position are on disk and visible.
    ///
    /// # Errors
    /// [`LakeError::SequenceTaken`] when the batch is not the next one of its source, [`LakeError::Batch`] when it
    /// does not hold together; in both cases nothing of it counts. After an error of the store, ask
    /// [`Lake::progress`] whether it counts.
    pub async fn commit(&self, batch: SourceCommit) -> Result<Committed, LakeError> {
        let inner = &self.inner;
        let committed = {
            let _putting = inner.putting.read().await;
            commit::commit(&inner.tables, &inner.writer(), batch).await?
        };
        self.checkpoint_when_due().await?;
        self.merge_when_due().await?;
        Ok(committed)
    }

    /// Whether it lies in a bucket: who else has it open is then not known.
    #[must_use]
    pub fn is_in_bucket(&self) -> bool {
        self.inner.place.folder().is_none()
    }

    /// The newest versions of the tables. Costs a few looks into the log folders when nothing changed.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn snapshot(&self) -> Result<Snapshot, LakeError> {
        // In this order: what `user_accesses` has is then in `access_events`, and whatever `access_events` counts is in
        // the others. Unless an amendment came between, which takes out what it replaced.
        let users = self.inner.users().await;
        let mut events = self.inner.events().current().await?;
        let sides = loop {
            let sides = Table::SIDES.map(|table| self.inner.tables.of(table).current());
            let sides = futures::future::try_join_all(sides).await?;
            let now = self.inner.events().current().await?;
            // Nor may a merge have come between, of items that only later commits count.
            let ahead = |state: &Arc<TableState>| state.files.iter().any(|file| is_ahead(file, &events));
            if now.again == events.again && !sides.iter().any(ahead) {
                break sides;
            }
            events = now;
        };
        let versions = std::iter::once(&events).chain(&sides).chain([&users]).map(|state| state.version);
        let mut kept = self.inner.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = kept.as_ref()
            && versions.eq(Table::ALL.map(|table| snapshot.version_of(table)))
        {
            return Ok(snapshot.clone());
        }
        let snapshot = Snapshot::new(&events, &sides, &users, &self.inner.pins);
        *kept = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Writes a checkpoint of every table and removes log entries that one covers and that are older than a day, or than
    /// an hour where there are many.
    /// Commits do this by themselves, beside, once in a while. Gives the version of `access_events` it covers.
    ///
    /// # Errors
    /// When a log cannot be read or a checkpoint not be written.
    pub async fn checkpoint(&self) -> Result<u64, LakeError> {
        for table in Table::SIDES {
            self.inner.tables.of(table).checkpoint().await?;
        }
        if let Err(error) = self.inner.tables.of(Table::UserAccesses).checkpoint().await {
            tracing::warn!(%error, "no checkpoint of user_accesses this time");
        }
        self.inner.events().checkpoint().await
    }

    /// Waits until a checkpoint that is made beside has ended, a minute at most: a process that ends before would break
    /// it off.
    pub async fn rested(&self) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.inner.checkpointing.load(Ordering::SeqCst) && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts checkpoints beside the commits, one at a time.
    async fn checkpoint_when_due(&self) -> Result<(), LakeError> {
        let inner = &self.inner;
        let mut tables = Vec::new();
        for table in Table::ALL {
            let log = inner.tables.of(table);
            if log.is_checkpoint_due(&*log.held().await?) {
                tables.push(table);
            }
        }
        if tables.is_empty() || inner.checkpointing.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            for table in tables {
                if let Err(error) = inner.tables.of(table).checkpoint().await {
                    tracing::warn!(table = table.name(), %error, "no checkpoint this time; the log stays longer");
                }
            }
            inner.checkpointing.store(false, Ordering::SeqCst);
        });
        Ok(())
    }
}

impl Inner {
    /// Who works on the lake here, for those who meet it.
    fn writer(&self) -> String {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn events(&self) -> &TableLog {
        self.tables.of(Table::AccessEvents)
    }
}
