//! Loads that nothing which is stored was judged by any more.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreFault, ObjectStoreExt};

use super::ContextError;
use super::manifest::{FOLDER, MANIFEST, ids, of_load};
use crate::lake::Lake;

/// A load that has no manifest after so long was broken off: µs, a day.
const BROKEN_OFF: i64 = 24 * 3600 * 1_000_000;

/// The loads that ceased to be the current one before `before` (µs UTC), the oldest first. The current one is never
/// among them. Loads that were broken off more than a day ago are.
///
/// # Errors
/// When the lake cannot be read.
pub async fn aged(lake: &Lake, before: i64) -> Result<Vec<String>, ContextError> {
    let store = lake.object_store();
    let mut whole = Vec::new();
    let mut broken = Vec::new();
    for id in ids(store.as_ref()).await? {
        match of_load(store.as_ref(), &id).await? {
            Some(manifest) => whole.push((id, manifest.loaded_at)),
            None => broken.push(id),
        }
    }
    let replaced = whole.windows(2).filter(|two| matches!(two, [_, (_, at)] if *at < before));
    let mut gone: Vec<String> = replaced.filter_map(|two| two.first().map(|(id, _)| id.clone())).collect();
    let now = chrono::Utc::now().timestamp_micros();
    for id in broken {
        let listed: Vec<_> = store.list(Some(&Path::from_iter([FOLDER, id.as_str()]))).try_collect().await?;
        let latest = listed.iter().map(|found| found.last_modified.timestamp_micros()).max();
        if latest.is_some_and(|latest| latest < now - BROKEN_OFF) {
            gone.push(id);
        }
    }
    Ok(gone)
}

/// Removes these loads. A crash half-way leaves one that still says when it was made, and is told of again.
///
/// # Errors
/// When a file cannot be removed.
pub async fn forget(lake: &Lake, loads: &[String]) -> Result<(), ContextError> {
    let store = lake.object_store();
    for id in loads {
        let listed: Vec<_> = store.list(Some(&Path::from_iter([FOLDER, id.as_str()]))).try_collect().await?;
        let mut paths: Vec<Path> = listed.into_iter().map(|found| found.location).collect();
        // The manifest last: until it goes the load is told of, and is removed again.
        paths.sort_by_key(|path| path.filename() == Some(MANIFEST));
        for path in paths {
            match store.delete(&path).await {
                Ok(()) | Err(StoreFault::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
