//! What a load says of itself, and which load is the current one.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::ContextError;

/// Where the loads lie in the lake.
pub(crate) const FOLDER: &str = "context";
/// The file that a load has when it is whole.
pub(crate) const MANIFEST: &str = "manifest.json";

/// One load of context tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Sorts by time.
    pub id: String,
    /// µs UTC.
    pub loaded_at: i64,
    /// The zone that dates were read in.
    pub timezone: String,
    /// The tables that the folder held.
    pub tables: Vec<ManifestTable>,
}

/// One table of a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestTable {
    /// Its name.
    pub table: String,
    /// The file's name in the folder that was read.
    pub file: String,
    /// How many rows.
    pub rows: u64,
    /// Bytes of its Parquet file in the lake.
    pub size: u64,
    /// The earliest instant that a row states, µs UTC.
    pub from: Option<i64>,
    /// The latest one; none where a row is open-ended.
    pub to: Option<i64>,
    /// The same by unit.
    pub units: Vec<UnitPeriod>,
    /// Columns that were left out.
    pub notes: Vec<String>,
    /// A digest of its rows: two loads of the same rows have the same. Empty of loads that are older than it.
    #[serde(default)]
    pub digest: String,
}

/// What a table says of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitPeriod {
    /// The unit; empty where rows name none.
    pub care_unit_id: String,
    /// How many rows.
    pub rows: u64,
    /// The earliest instant that a row states, µs UTC.
    pub from: Option<i64>,
    /// The latest one; none where a row is open-ended.
    pub to: Option<i64>,
}

/// The newest load that has a manifest. A load without one was broken off, or is under way.
pub(crate) async fn current(store: &dyn ObjectStore) -> Result<Option<Manifest>, ContextError> {
    for id in ids(store).await?.into_iter().rev() {
        if let Some(manifest) = of_load(store, &id).await? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// What a load says of itself; none where it was broken off, or is under way.
pub(super) async fn of_load(store: &dyn ObjectStore, id: &str) -> Result<Option<Manifest>, ContextError> {
    match store.get(&manifest_path(id)).await {
        Ok(found) => {
            let manifest = serde_json::from_slice(&found.bytes().await?);
            manifest
                .map(Some)
                .map_err(|e| ContextError::Manifest { load: id.to_owned(), what: e.to_string() })
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Every load's id, the oldest first, broken ones included.
pub(super) async fn ids(store: &dyn ObjectStore) -> Result<Vec<String>, ContextError> {
    let listed = store.list_with_delimiter(Some(&Path::from(FOLDER))).await?;
    let mut ids: Vec<String> =
        listed.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect();
    ids.sort();
    Ok(ids)
}

pub(super) async fn publish(store: &dyn ObjectStore, manifest: &Manifest) -> Result<(), ContextError> {
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|e| ContextError::Manifest { load: manifest.id.clone(), what: e.to_string() })?;
    store.put(&manifest_path(&manifest.id), text.into()).await?;
    Ok(())
}

/// Where a table of a load lies in the lake.
pub(crate) fn table_path(load: &str, table: &str) -> Path {
    Path::from_iter([FOLDER, load, &format!("{table}.parquet")])
}

fn manifest_path(load: &str) -> Path {
    Path::from_iter([FOLDER, load, MANIFEST])
}
