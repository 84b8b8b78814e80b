//! What is no longer kept of earlier loads.

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::ContextError;
use super::history;
use super::load::put_gone;
use super::manifest::{self, FOLDER, Manifest, ids, of_load};
use crate::lake::Lake;

/// A load that has no manifest after so long was broken off: µs, a day.
const BROKEN_OFF: i64 = 24 * HOUR;
/// What a load replaced stays whole for so long: somebody may be reading it. µs, six hours.
const GRACE: i64 = 6 * HOUR;
const HOUR: i64 = 3600 * 1_000_000;

/// What was known before an instant, and is no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Superseded {
    /// Loads that are still there whole, the oldest first. Loads that were broken off are among them.
    pub loads: Vec<String>,
    /// Rows of history.
    pub rows: u64,
    /// The instant, µs UTC.
    pub before: i64,
}

impl Superseded {
    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loads.is_empty() && self.rows == 0
    }
}

/// What ceased to be current before `before` (µs UTC). Loads that were broken off more than a day ago did.
///
/// # Errors
/// When the lake cannot be read.
pub async fn aged(lake: &Lake, before: i64) -> Result<Superseded, ContextError> {
    let store = lake.object_store();
    let mut whole: Vec<Manifest> = Vec::new();
    let mut broken = Vec::new();
    for id in ids(store.as_ref()).await? {
        match of_load(store.as_ref(), &id).await? {
            Some(manifest) => whole.push(manifest),
            None => broken.push(id),
        }
    }
    let replaced = whole.windows(2).filter(|two| matches!(two, [_, next] if next.loaded_at < before));
    let mut loads: Vec<String> = replaced.filter_map(|two| two.first().map(|m| m.id.clone())).collect();
    let now = chrono::Utc::now().timestamp_micros();
    for id in broken {
        let listed: Vec<_> = store.list(Some(&Path::from_iter([FOLDER, id.as_str()]))).try_collect().await?;
        let latest = listed.iter().map(|found| found.last_modified.timestamp_micros()).max();
        if latest.is_some_and(|latest| latest < now - BROKEN_OFF) {
            loads.push(id);
        }
    }
    let mut rows = 0;
    for (table, file) in whole.last().iter().flat_map(|current| current.gone_files()) {
        rows += match (file.first < before, file.last < before) {
            (false, _) => 0,
            (true, true) => file.rows,
            (true, false) => {
                let bytes = store.get(&Path::from(file.path.as_str())).await?.bytes().await?;
                let left = history::since(table, bytes, before).map_err(|e| unreadable(&file.path, &e))?;
                file.rows - left.map_or(0, |left| left.rows)
            }
        };
    }
    Ok(Superseded { loads, rows, before })
}

/// Removes it, and every file that no load names. A crash half-way leaves what is told of, and removed, again.
///
/// # Errors
/// When a file cannot be read, written or removed.
pub async fn forget(lake: &Lake, superseded: &Superseded) -> Result<(), ContextError> {
    let store = lake.object_store();
    let _alone = lake.context_lease().await?;
    for id in &superseded.loads {
        remove_load(store.as_ref(), id).await?;
    }
    if let Some(current) = manifest::current(store.as_ref()).await?
        && superseded.rows > 0
    {
        let left = without(store.as_ref(), &current, superseded.before).await?;
        manifest::publish(store.as_ref(), &left).await?;
    }
    sweep(store.as_ref(), i64::MAX).await
}

/// The load without the rows of its history that were gone before `before`.
async fn without(store: &dyn ObjectStore, current: &Manifest, before: i64) -> Result<Manifest, ContextError> {
    let mut left = current.clone();
    let stamp = uuid::Uuid::new_v4().simple().to_string();
    for of_table in left.history.iter_mut().flat_map(|history| &mut history.tables) {
        let Some(table) = super::table(&of_table.table) else { continue };
        let mut files = Vec::new();
        for (n, file) in std::mem::take(&mut of_table.gone).into_iter().enumerate() {
            if file.first >= before {
                files.push(file);
            } else if file.last >= before {
                let bytes = store.get(&Path::from(file.path.as_str())).await?.bytes().await?;
                let rest = history::since(table, bytes, before).map_err(|e| unreadable(&file.path, &e))?;
                if let Some(rest) = rest {
                    let to = manifest::gone_path(&format!("{stamp}-{n}"), table.name);
                    files.push(put_gone(store, &to, rest).await?);
                }
            }
        }
        of_table.gone = files;
    }
    Ok(left)
}

/// After a load: what it replaced goes when nobody reads it any more. Its rows are in the new load, or in its history.
pub(super) async fn thin(store: &dyn ObjectStore, current: &Manifest) -> Result<(), ContextError> {
    let now = chrono::Utc::now().timestamp_micros();
    let mut next = current.known_at();
    for id in ids(store).await?.into_iter().rev().filter(|id| *id < current.id) {
        let Some(manifest) = of_load(store, &id).await? else { continue };
        // What is kept whole, as earlier versions did, is told of nowhere else.
        if next < now - GRACE && manifest.history.is_some() {
            remove_load(store, &id).await?;
        }
        next = manifest.known_at();
    }
    sweep(store, now - GRACE).await
}

async fn remove_load(store: &dyn ObjectStore, id: &str) -> Result<(), ContextError> {
    let listed: Vec<_> = store.list(Some(&Path::from_iter([FOLDER, id]))).try_collect().await?;
    let mut paths: Vec<Path> = listed.into_iter().map(|found| found.location).collect();
    // The manifest last: until it goes the load is told of, and is removed again.
    paths.sort_by_key(|path| *path == manifest::manifest_path(id));
    for path in paths {
        remove(store, &path).await?;
    }
    Ok(())
}

/// Removes the files that no load names and that were put before `before` (µs UTC); with `i64::MAX` also those that no more
/// than earlier loads name as what is gone. Nobody loads meanwhile.
async fn sweep(store: &dyn ObjectStore, before: i64) -> Result<(), ContextError> {
    let mut named: HashSet<Path> = HashSet::new();
    let mut is_newest = true;
    for id in ids(store).await?.into_iter().rev() {
        if let Some(manifest) = of_load(store, &id).await? {
            // What is gone is told by the newest alone: others name it for those who still read by them.
            match is_newest || before != i64::MAX {
                true => named.extend(manifest.files()),
                false => named.extend(manifest.tables.iter().map(|table| manifest.path(table))),
            }
            is_newest = false;
        }
    }
    for folder in manifest::shared() {
        let listed: Vec<ObjectMeta> = store.list(Some(&folder)).try_collect().await?;
        for found in listed {
            let is_old = found.last_modified.timestamp_micros() < before;
            if is_old && !named.contains(&found.location) {
                remove(store, &found.location).await?;
            }
        }
    }
    Ok(())
}

async fn remove(store: &dyn ObjectStore, path: &Path) -> Result<(), ContextError> {
    match store.delete(path).await {
        Ok(()) | Err(StoreFault::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> ContextError {
    ContextError::Manifest { load: path.to_owned(), what: error.to_string() }
}
