//! What was taken out of the lake goes from its disk too: files that were replaced, and what the log still says of them.
//!
//! Statistics in the log name persons: the bounds of a file that is gone stand in the entry that added it and in every
//! checkpoint since. So each table gets a checkpoint of now, and entries and checkpoints before it go. Whoever has the
//! lake open elsewhere may still read an older version, or be about to commit upon it: then all of this waits for the
//! grace that replaced files have anyway. Where nobody else has it open, nothing needs to wait.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::actions::within;
use super::error::LakeError;
use super::retain_items::clean_of;
use super::types::Table;
use super::upkeep::{GRACE, LOOKED_FOR, PATIENCE};
use super::{Inner, Lake};
use crate::failpoint::crash_at;
use crate::store;

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Data files that no version names that is left.
    pub data_files: u64,
    /// Entries and checkpoints of the log.
    pub log_files: u64,
}

/// As often it is tried to be alone.
const AGAIN: Duration = Duration::from_secs(1);

/// Files of a table that no version names which is left.
type Removed = Vec<(Table, HashSet<String>)>;

impl Lake {
    /// Takes away what only older versions have: at once where nobody else has the lake open and nothing is pinned
    /// here, else when ten minutes are over. None when `patience` ends before.
    ///
    /// # Errors
    /// [`LakeError::Locked`] when another process keeps the lake's maintenance to itself; when files cannot be read,
    /// written or removed.
    pub async fn purge(&self, patience: Duration) -> Result<Option<Purged>, LakeError> {
        let removed = {
            let _lease = self.lease().await?;
            self.inner.dead().await?
        };
        let begun = Instant::now();
        loop {
            // Who else has a bucket open nobody can know.
            if self.inner.place.folder().is_some()
                && let Some(purged) = self.purge_alone().await?
            {
                return Ok(Some(purged));
            }
            if begun.elapsed() >= GRACE {
                return self.purge_after(&removed, GRACE).await.map(Some);
            }
            if begun.elapsed() >= patience {
                return Ok(None);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn purge_alone(&self) -> Result<Option<Purged>, LakeError> {
        let inner = &self.inner;
        let _lease = self.lease().await?;
        inner.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if Arc::strong_count(&inner.pins) > 1 {
            return Ok(None);
        }
        let Some(_alone) = inner.place.alone()? else { return Ok(None) };
        // No commit of this process is between its files and its entry; of others there is none.
        let _still = inner.putting.write().await;
        crash_at("purge-begun");
        inner.clean_items().await?;
        let mut purged = Purged::default();
        for table in Table::ALL {
            let log = inner.tables.of(table);
            let live = inner.live(table).await?;
            for (path, _) in log.data_files().await? {
                if !live.contains(&path) {
                    log.remove_file(&path).await?;
                    purged.data_files += 1;
                }
            }
        }
        inner.upkeep.unnamed().clear();
        if let Some(folder) = inner.place.folder() {
            store::sweep(folder, Duration::ZERO);
        }
        crash_at("purged-files");
        purged.log_files = inner.renew_logs(Duration::ZERO).await?;
        Ok(Some(purged))
    }

    /// The same while others may have the lake open: what was dead before `grace` began, and still is.
    pub(super) async fn purge_after(&self, removed: &Removed, grace: Duration) -> Result<Purged, LakeError> {
        let _lease = self.lease().await?;
        let inner = &self.inner;
        inner.clean_items().await?;
        let mut purged = Purged { data_files: inner.sweep(grace).await?, log_files: 0 };
        for (table, paths) in removed {
            let log = inner.tables.of(*table);
            let live = inner.live(*table).await?;
            let there = log.data_files().await?;
            let dead = |path: &String| paths.contains(path) && !live.contains(path);
            for (path, _) in there.into_iter().filter(|(path, _)| dead(path)) {
                log.remove_file(&path).await?;
                purged.data_files += 1;
            }
        }
        purged.log_files = inner.renew_logs(grace).await?;
        Ok(purged)
    }
}

impl Inner {
    /// Files that lie there and that the newest version does not name: replaced ones, and what a crash left. A commit
    /// that is under way may still name one.
    pub(super) async fn dead(&self) -> Result<Removed, LakeError> {
        let mut dead = Vec::new();
        for table in Table::ALL {
            let there = self.tables.of(table).data_files().await?;
            let live = self.live(table).await?;
            dead.push((
                table,
                there.into_iter().map(|(path, _)| path).filter(|path| !live.contains(path)).collect(),
            ));
        }
        Ok(dead)
    }

    /// The files of the newest version, relative to the table.
    async fn live(&self, table: Table) -> Result<HashSet<String>, LakeError> {
        let state = self.tables.of(table).current().await?;
        Ok(state.files.iter().map(|file| within(table, &file.path).to_owned()).collect())
    }

    /// Takes out of the side tables what does not count any more, and what an amendment that died has left: it must not
    /// come to count by the steps of another.
    pub(super) async fn clean_items(&self) -> Result<(), LakeError> {
        let state = self.events().current().await?;
        let sources: BTreeSet<&String> = state.sources.keys().chain(state.again.keys()).collect();
        for source in sources {
            clean_of(self, source, &state).await?;
        }
        Ok(())
    }

    /// A checkpoint of now for every table; what the log has before it goes, when it is older than `grace`.
    async fn renew_logs(&self, grace: Duration) -> Result<u64, LakeError> {
        // A checkpoint under way is of an older version.
        let patience = Instant::now() + PATIENCE;
        while self.checkpointing.swap(true, Ordering::SeqCst) {
            if Instant::now() > patience {
                let table = Table::AccessEvents.name();
                return Err(LakeError::Contended { table, attempts: 1 });
            }
            tokio::time::sleep(LOOKED_FOR).await;
        }
        let renewed = async {
            let mut removed = 0;
            for table in Table::ALL {
                removed += self.tables.of(table).renew(grace).await?;
            }
            Ok(removed)
        };
        let outcome = renewed.await;
        self.checkpointing.store(false, Ordering::SeqCst);
        crash_at("purged-log");
        outcome
    }
}
