//! What keeps the lake in order beside the work: files are written anew as the plan says, and those that nobody reads any
//! more go.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future;

use super::compact::{self, MERGERS, Merged};
use super::error::LakeError;
use super::lock::LakeLock;
use super::log::{TableLog, TableState};
use super::runs::{self, Zeal};
use super::sides;
use super::types::{LakeFile, Table};
use super::users;
use super::{Inner, Lake};

/// A file that was replaced is removed after this: whoever began to read it before has ended by then.
pub(super) const GRACE: Duration = Duration::from_secs(600);
/// So many bytes replaced files may take in any case; beyond, as many as live ones.
pub(super) const ROOM: u64 = 4 << 30;
/// A data file that no commit names is a crash's after this, µs.
const LEFT_BEHIND: i64 = 24 * 3600 * 1_000_000;
/// A merge is waited for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// Beside commits, files to remove are looked for so often: all are listed for it.
const LOOKED_THROUGH: Duration = Duration::from_secs(60);

/// What was replaced while files were listed may not be among them.
const LISTED_SOON: Duration = Duration::from_secs(60);
/// Whoever waits for it looks so often whether it is free.
pub(super) const LOOKED_FOR: Duration = Duration::from_millis(50);

/// How files of `access_events` lie.
pub(super) const BOUNDS: runs::Bounds = runs::Bounds {
    small: 6 << 20,
    left_alone: 64,
    gathered: 8,
    fresh: 16 << 20,
    settled: 40 << 20,
    beside: 10,
    backlog: 256 << 20,
    parted: 512 << 20,
    range: 192 << 20,
    file: 24 << 20,
    runs: [512 << 20, 5 << 30, 50 << 30],
};

/// What a process knows of it.
pub(super) struct Upkeep {
    pub(super) bounds: runs::Bounds,
    pub(super) items: sides::Bounds,
    /// Whether files are merged beside commits just now.
    pub(super) merging: AtomicBool,
    /// Data files that no commit names.
    unnamed: Mutex<HashMap<String, Unnamed>>,
    /// When they were last looked for beside commits.
    looked: Mutex<Option<Instant>>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep {
            bounds: BOUNDS,
            items: sides::BOUNDS,
            merging: AtomicBool::new(false),
            unnamed: Mutex::default(),
            looked: Mutex::default(),
        }
    }
}

impl Upkeep {
    pub(super) fn unnamed(&self) -> MutexGuard<'_, HashMap<String, Unnamed>> {
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A data file that no commit names.
pub(super) struct Unnamed {
    /// Since when that is known.
    since: Instant,
    /// What we replaced it from; none where it was found.
    bytes: Option<u64>,
}

/// What came of looking for a step.
#[derive(Debug)]
pub(super) enum Next {
    Did(Merged),
    /// Everything lies as it should, or somebody else has changed what the step rested on.
    Nothing,
    /// It waits until replaced files have gone.
    Room,
}

/// The year that is open, by which years the lake's rows are parted.
fn this_year() -> String {
    chrono::Utc::now().format("%Y").to_string()
}

impl Lake {
    /// Does one step towards a lake whose files lie as they should, or says that it does; what it did. Commits do what
    /// pays by themselves, beside. Where replaced files would take more room than the live ones, they go at once when
    /// nobody of Insyn's has the lake open; otherwise it waits.
    ///
    /// # Errors
    /// [`LakeError::Locked`] when another process merges; when files cannot be read or written.
    pub async fn compact(&self) -> Result<Option<Merged>, LakeError> {
        loop {
            match self.inner.step(Zeal::All).await? {
                Next::Did(merged) => return Ok(Some(merged)),
                Next::Nothing => return Ok(None),
                Next::Room if self.inner.sweep_alone().await? => {}
                Next::Room => {
                    tracing::info!("waiting until files that were replaced may go");
                    tokio::time::sleep(GRACE / 20).await;
                    self.inner.sweep(GRACE).await?;
                }
            }
        }
    }

    /// Removes data files that no commit names and nobody can read any more: replaced ones after a while, and what a
    /// crash left behind after a day. Gives how many.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn sweep(&self) -> Result<u64, LakeError> {
        self.inner.sweep(GRACE).await
    }

    /// Starts merging beside the commits, one step at a time.
    pub(super) async fn merge_when_due(&self) -> Result<(), LakeError> {
        let inner = &self.inner;
        if inner.upkeep.merging.load(Ordering::SeqCst) {
            return Ok(());
        }
        let events = inner.events().held().await?;
        let users = inner.tables.of(Table::UserAccesses).held().await.unwrap_or_default();
        let wants = |files: &[Arc<LakeFile>]| {
            !runs::steps(files, &this_year(), &inner.upkeep.bounds, Zeal::WhenDue).is_empty()
        };
        let is_due = users::is_due(&users, &events)
            || wants(&events.files)
            || wants(&users.files)
            || inner.items_are_due(&events).await?;
        if !is_due || inner.upkeep.merging.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            let merged = async {
                while let Next::Did(_) = inner.step(Zeal::WhenDue).await? {
                    // Whoever waits for the lease looks for it every so often.
                    tokio::time::sleep(2 * LOOKED_FOR).await;
                }
                inner.sweep_when_due().await
            };
            match merged.await {
                Ok(()) => {}
                Err(LakeError::Locked { .. }) => tracing::debug!("another process merges"),
                Err(error) => tracing::warn!(%error, "files are not merged this time"),
            }
            inner.upkeep.merging.store(false, Ordering::SeqCst);
            tokio::time::sleep(GRACE + LOOKED_FOR).await;
            if let Err(error) = inner.sweep_when_due().await {
                tracing::warn!(%error, "replaced files stay until the next merge");
            }
        });
        Ok(())
    }

    /// The lake's maintenance, waited for a while: a merge takes seconds.
    pub(super) async fn lease(&self) -> Result<LakeLock, LakeError> {
        self.waited_for("maintenance").await
    }

    /// The context tables, for whoever changes what is kept of them; waited for a while: a load takes seconds.
    pub(crate) async fn context_lease(&self) -> Result<LakeLock, LakeError> {
        self.waited_for("context").await
    }

    async fn waited_for(&self, what: &str) -> Result<LakeLock, LakeError> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.inner.place.lock(&self.inner.writer(), what).await {
                Err(LakeError::Locked { .. }) if Instant::now() < patience => {
                    tokio::time::sleep(LOOKED_FOR).await;
                }
                other => return other,
            }
        }
    }
}

impl Inner {
    /// Does the next step under a lease of its own: others who need it come in between.
    pub(super) async fn step(&self, zeal: Zeal) -> Result<Next, LakeError> {
        let _lease = self.maintenance().await?;
        // What comes while `user_accesses` follows is not merged yet: it may come without end.
        let events = self.events().current().await?;
        let followed = self.users_follow(zeal, &events).await?;
        if zeal == Zeal::All
            && let Some(followed) = followed
        {
            return Ok(Next::Did(followed));
        }
        let mut next = self.merge_of(Table::AccessEvents, zeal, &events).await?;
        if let Next::Nothing = next {
            next = self.merge(Table::UserAccesses, zeal).await?;
        }
        if let Next::Nothing = next {
            next = self.merge_items(zeal).await?;
        }
        Ok(match (next, followed) {
            (Next::Nothing, Some(followed)) => Next::Did(followed),
            (next, _) => next,
        })
    }

    /// Before files of this state of `access_events` are merged, `user_accesses` has their rows: what is merged then holds
    /// nothing that came later.
    async fn users_follow(&self, zeal: Zeal, events: &TableState) -> Result<Option<Merged>, LakeError> {
        let users = self.users().await;
        let merges = || !runs::steps(&events.files, &this_year(), &self.upkeep.bounds, zeal).is_empty();
        if zeal != Zeal::All && !users::is_due(&users, events) && !merges() {
            return Ok(None);
        }
        match self.follow().await {
            // Files are merged all the same.
            Err(error) if zeal == Zeal::WhenDue => {
                tracing::warn!(%error, "user_accesses does not follow this time");
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// Does the next step of the plan for a table, while files that were replaced and what the step replaces take no more
    /// room than what is live. Beside commits that is one; where nothing else is to be done, years go beside one another.
    pub(super) async fn merge(&self, table: Table, zeal: Zeal) -> Result<Next, LakeError> {
        let state = self.tables.of(table).current().await?;
        self.merge_of(table, zeal, &state).await
    }

    /// The same of the files that a state has, of which others may be live no more.
    async fn merge_of(&self, table: Table, zeal: Zeal, state: &TableState) -> Result<Next, LakeError> {
        let log = self.tables.of(table);
        let mut steps = runs::steps(&state.files, &this_year(), &self.upkeep.bounds, zeal);
        if steps.is_empty() {
            return Ok(Next::Nothing);
        }
        steps.truncate(if zeal == Zeal::All { MERGERS.len() } else { 1 });
        let live: u64 = state.files.iter().map(|file| file.size).sum();
        let replaced = self.upkeep.unnamed().values().filter_map(|file| file.bytes).sum::<u64>();
        let mut taken = 0;
        steps.retain(|step| {
            let inputs: u64 = step.inputs.iter().map(|file| file.size).sum();
            let fits = replaced + taken == 0 || replaced + taken + inputs <= live.max(ROOM);
            taken += if fits { inputs } else { 0 };
            fits
        });
        if steps.is_empty() {
            return Ok(Next::Room);
        }
        let bounds = &self.upkeep.bounds;
        let done = steps.iter().zip(&MERGERS).map(|(step, by)| compact::exchange(log, step, bounds, by));
        let (mut all, mut fault): (Option<Merged>, _) = (None, None);
        for done in future::join_all(done).await {
            match done {
                Ok(Some(merged)) => {
                    self.replaced(merged.replaced.iter().cloned());
                    all = Some(match all {
                        Some(others) => others.and(merged),
                        None => merged,
                    });
                }
                Ok(None) => {}
                Err(error) => fault = Some(error),
            }
        }
        match (fault, all) {
            (Some(error), _) => Err(error),
            (None, Some(merged)) => Ok(Next::Did(merged)),
            (None, None) => Ok(Next::Nothing),
        }
    }

    /// Remembers since when files are not live: pinned readers may still read them.
    pub(super) fn replaced(&self, files: impl Iterator<Item = (String, u64)>) {
        let since = Instant::now();
        self.upkeep
            .unnamed()
            .extend(files.map(|(path, bytes)| (path, Unnamed { since, bytes: Some(bytes) })));
    }

    /// Removes what may go, unless that was looked at a moment ago.
    async fn sweep_when_due(&self) -> Result<(), LakeError> {
        let due = {
            let mut looked = self.upkeep.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let due = looked.is_none_or(|when| when.elapsed() >= LOOKED_THROUGH);
            if due {
                *looked = Some(Instant::now());
            }
            due
        };
        if due {
            self.sweep(GRACE).await?;
        }
        Ok(())
    }

    pub(super) async fn sweep(&self, grace: Duration) -> Result<u64, LakeError> {
        let mut removed = 0;
        for table in Table::ALL {
            match self.sweep_table(self.tables.of(table), grace).await {
                Ok(files) => removed += files,
                // Its folder may have been taken away.
                Err(error) if table == Table::UserAccesses => {
                    tracing::warn!(%error, "files of user_accesses stay this time");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Removes what was replaced here, unless somebody may read it.
    pub(super) async fn sweep_alone(&self) -> Result<bool, LakeError> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if Arc::strong_count(&self.pins) > 1 {
            return Ok(false);
        }
        let Some(_alone) = self.place.alone()? else { return Ok(false) };
        self.sweep(Duration::ZERO).await?;
        Ok(true)
    }

    async fn sweep_table(&self, log: &TableLog, grace: Duration) -> Result<u64, LakeError> {
        let state = log.current().await?;
        let live: HashSet<&str> = state.files.iter().map(|file| file.path.as_str()).collect();
        let now = chrono::Utc::now().timestamp_micros();
        let mut gone = Vec::new();
        let mut listed = HashSet::new();
        for (path, modified) in log.data_files().await? {
            let whole = format!("{}/{path}", log.table.name());
            listed.insert(whole.clone());
            if live.contains(whole.as_str()) {
                continue;
            }
            // What another process has put may be named by its commit in a moment, and what it has replaced may still
            // be read here.
            let mut unnamed = self.upkeep.unnamed();
            let found = || Unnamed { since: Instant::now(), bytes: None };
            let file = unnamed.entry(whole.clone()).or_insert_with(found);
            let is_ours = file.bytes.is_some();
            if file.since.elapsed() >= grace && (is_ours || now - modified >= LEFT_BEHIND) {
                unnamed.remove(&whole);
                gone.push(path);
            }
        }
        // What somebody else has removed takes no room any more.
        let of_table = format!("{}/", log.table.name());
        self.upkeep.unnamed().retain(|path, file| {
            !path.starts_with(&of_table)
                || listed.contains(path)
                || file.since.elapsed() < LISTED_SOON.min(grace)
        });
        for path in &gone {
            log.forget_file(path).await;
        }
        Ok(gone.len() as u64)
    }

    /// The lake's maintenance, for one at a time: whoever has it may replace files.
    pub(super) async fn maintenance(&self) -> Result<LakeLock, LakeError> {
        self.place.lock(&self.writer(), "maintenance").await
    }
}
