//! The lake: five Delta tables in one folder, and the only way to add to them.
//!
//! A batch of a source and the position after it are one Delta commit of `access_events`: it counts whole or not at
//! all, after any crash. Rows of `quarantine`, `gaps`, `exports` and `lacking` are committed before and count with it. A [`Snapshot`] is
//! pinned: what a reader sees does not move. The tables are plain Delta, for every other reader.

mod actions;
mod amend;
mod commit;
mod compact;
mod copy;
mod create;
mod encode;
mod error;
mod location;
mod lock;
mod log;
mod purge;
mod retain;
mod retain_items;
mod runs;
mod segment;
mod side;
mod snapshot;
mod source;
mod stats;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;

use crate::store::{self, DurableStore};
use log::{TableLog, TableState, Tables};
use upkeep::Upkeep;

pub use amend::{Amendment, Changes};
pub use compact::Merged;
pub use error::LakeError;
pub use lock::LakeLock;
use lock::Presence;
pub use purge::Purged;
pub use retain::{RETAINED, Share, Survey};
pub use snapshot::Snapshot;
pub use types::{
    Amended, Bounds, Committed, ExportDay, Gap, Lacking, LakeFile, Progress, Quarantined, Settled,
    SourceCommit, Table, Window,
};

/// A table gets a checkpoint after so many commits.
const CHECKPOINT_EVERY: u64 = 100;

/// The lake. Cloning it costs nothing; clones share what they know of it.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    root: String,
    folder: PathBuf,
    store: Arc<dyn ObjectStore>,
    tables: Tables,
    writer: Mutex<String>,
    snapshot: Mutex<Option<Snapshot>>,
    /// As often as snapshots are pinned here, and once more.
    pins: Arc<()>,
    presence: Presence,
    checkpointing: AtomicBool,
    /// Read by whoever puts files that a commit of theirs will name: a listing of files that none names excludes them.
    putting: tokio::sync::RwLock<()>,
    upkeep: Upkeep,
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
    /// Opens the lake that `url` names; relative folders lie under `base`. Folder and tables are made when absent,
    /// and temporary files that a crash left are removed.
    ///
    /// # Errors
    /// When the url is no folder, the folder cannot be used, or a table in it is not as Insyn made it.
    pub async fn open(url: &str, base: &Path) -> Result<Lake, LakeError> {
        let folder = location::folder(url, base)?;
        let (folder, presence) = tokio::task::spawn_blocking(move || prepare(&folder))
            .await
            .map_err(|e| LakeError::Io { path: base.to_path_buf(), what: e.to_string() })??;
        let store = Arc::new(DurableStore::at(&folder)?);
        let mut tables = Vec::new();
        for table in Table::ALL {
            tables.push(TableLog::open(table, &folder.join(table.name())).await?);
        }
        let inner = Inner {
            root: folder.display().to_string(),
            store,
            tables: Tables(tables),
            folder,
            writer: Mutex::new(format!("process {}", std::process::id())),
            snapshot: Mutex::new(None),
            pins: Arc::default(),
            presence,
            checkpointing: AtomicBool::new(false),
            putting: tokio::sync::RwLock::default(),
            upkeep: Upkeep::default(),
        };
        Ok(Lake { inner: Arc::new(inner) })
    }

    /// Where it lies: the absolute path of its folder.
    pub fn root(&self) -> &str {
        &self.inner.root
    }

    /// Its files; paths are relative to the root. A put through it is durable when it returns.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// Takes the lake for `what` (as "ingest"), until the lock is dropped or the process dies. `holder` is what
    /// another process is told ("insyn serve, pid 12"), also when it finds a batch taken.
    ///
    /// # Errors
    /// [`LakeError::Locked`] names the holder.
    pub fn lock(&self, holder: &str, what: &str) -> Result<LakeLock, LakeError> {
        let lock = lock::lock(&self.inner.folder, holder, what)?;
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

    /// The newest versions of the tables. Costs a few looks into the log folders when nothing changed.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn snapshot(&self) -> Result<Snapshot, LakeError> {
        // In this order: whatever `access_events` counts is then in the others. Unless an amendment came between,
        // which takes out what it replaced.
        let mut events = self.inner.events().current().await?;
        let sides = loop {
            let mut sides = Vec::new();
            for table in Table::SIDES {
                sides.push(self.inner.tables.of(table).current().await?);
            }
            let now = self.inner.events().current().await?;
            if now.again == events.again {
                break sides;
            }
            events = now;
        };
        let versions = std::iter::once(&events).chain(&sides).map(|state| state.version);
        let mut kept = self.inner.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = kept.as_ref()
            && versions.eq(Table::ALL.map(|table| snapshot.version_of(table)))
        {
            return Ok(snapshot.clone());
        }
        let snapshot = Snapshot::new(&events, &sides, &self.inner.pins);
        *kept = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Writes a checkpoint of every table and removes log entries that are older than a day and covered by one.
    /// Commits do this by themselves, beside, once in a while. Gives the version of `access_events` it covers.
    ///
    /// # Errors
    /// When a log cannot be read or a checkpoint not be written.
    pub async fn checkpoint(&self) -> Result<u64, LakeError> {
        for table in Table::SIDES {
            self.inner.tables.of(table).checkpoint().await?;
        }
        self.inner.events().checkpoint().await
    }

    /// Starts checkpoints beside the commits, one at a time.
    async fn checkpoint_when_due(&self) -> Result<(), LakeError> {
        let due = |state: &TableState| state.version >= state.checkpoint + CHECKPOINT_EVERY;
        let inner = &self.inner;
        let mut tables = Vec::new();
        for table in Table::ALL {
            if due(&*inner.tables.of(table).held().await?) {
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

/// Makes the folders, proves that they can be written, and removes what a crash left.
fn prepare(folder: &Path) -> Result<(PathBuf, Presence), LakeError> {
    for table in Table::ALL {
        store::make_folders(&folder.join(table.name()))?;
    }
    let folder = folder.canonicalize().map_err(|e| LakeError::io(folder, &e))?;
    let presence = Presence::enter(&folder)?;
    let swept = store::sweep(&folder, store::SWEEP_AFTER);
    if swept > 0 {
        tracing::info!(files = swept, "removed temporary files that a crash had left");
    }
    Ok((folder, presence))
}
