//! What a load says of itself, and which load is the current one.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::ContextError;
use super::contradictions::Contradiction;
use super::tables::ContextTable;

/// Where the loads lie in the lake.
pub(crate) const FOLDER: &str = "context";
/// The file that a load has when it is whole.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Beside the loads: tables as loads brought them, each for as long as a load has it so.
const TABLES: &str = "tables";
/// Beside the loads: rows that later loads had no longer.
const HISTORY: &str = "history";

/// One load of context tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Sorts by time.
    pub id: String,
    /// Of when the tables are, µs UTC: when they were loaded, unless they were exported long before.
    pub loaded_at: i64,
    /// When they were loaded, µs UTC, where that is not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<i64>,
    /// The zone that dates were read in.
    pub timezone: String,
    /// The tables that the folder held.
    pub tables: Vec<ManifestTable>,
    /// What loads before it had and it has not; none in a load of a version that kept each load whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl Manifest {
    /// When it became known here, µs UTC.
    pub(super) fn known_at(&self) -> i64 {
        self.made_at.unwrap_or(self.loaded_at)
    }

    /// What it has of that table.
    pub fn table(&self, name: &str) -> Option<&ManifestTable> {
        self.tables.iter().find(|table| table.table == name)
    }

    /// The files with rows that later loads had no longer.
    pub(crate) fn gone(&self, table: &str) -> &[GoneFile] {
        let of_table = |history: &History| history.tables.iter().position(|of| of.table == table);
        match &self.history {
            Some(history) => of_table(history).map_or(&[], |at| &history.tables[at].gone),
            None => &[],
        }
    }

    /// The same of every table.
    pub(super) fn gone_files(&self) -> impl Iterator<Item = (&'static ContextTable, &GoneFile)> {
        let tables = self.history.iter().flat_map(|history| &history.tables);
        let known = tables.filter_map(|of| Some((super::table(&of.table)?, &of.gone)));
        known.flat_map(|(table, files)| files.iter().map(move |file| (table, file)))
    }

    /// Where that table of it lies.
    pub(crate) fn path(&self, table: &ManifestTable) -> Path {
        match &table.path {
            Some(path) => Path::from(path.as_str()),
            None => Path::from_iter([FOLDER, &self.id, &format!("{}.parquet", table.table)]),
        }
    }

    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = Path> + '_ {
        let tables = self.tables.iter().map(|table| self.path(table));
        let history = self.history.iter().flat_map(|history| &history.tables);
        tables.chain(history.flat_map(|table| &table.gone).map(|gone| Path::from(gone.path.as_str())))
    }
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
    /// Where that lies in the lake; none: in the load's own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Of the file that was read and how: the same again gives the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) print: Option<String>,
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
    /// Rows that contradict others, or themselves.
    #[serde(default)]
    pub contradictions: Vec<Contradiction>,
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

/// What loads before this one had and it has not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The first load that it tells of, µs UTC.
    pub since: i64,
    /// Every table that was ever loaded since.
    pub tables: Vec<TableHistory>,
    /// Loads of tables that were exported long before: of when they are, and when they became known, µs UTC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) late: Vec<(i64, i64)>,
}

/// What is kept of one table's earlier loads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHistory {
    /// Its name.
    pub table: String,
    /// Files with rows that are no longer there, the oldest first.
    pub gone: Vec<GoneFile>,
}

/// A file with rows that a load had no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneFile {
    /// Where it lies in the lake.
    pub path: String,
    /// How many rows.
    pub rows: u64,
    /// Its bytes.
    pub size: u64,
    /// When the first of them was gone, µs UTC.
    pub first: i64,
    /// When the last of them was gone, µs UTC.
    pub last: i64,
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

/// What a load says of itself; none where it was broken off, is under way, or is told of by the newest alone.
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

/// Every load's id that has a folder, the oldest first, broken ones included.
pub(super) async fn ids(store: &dyn ObjectStore) -> Result<Vec<String>, ContextError> {
    let listed = store.list_with_delimiter(Some(&Path::from(FOLDER))).await?;
    let names = listed.common_prefixes.iter().filter_map(Path::filename);
    let mut ids: Vec<String> =
        names.filter(|name| ![TABLES, HISTORY].contains(name)).map(str::to_owned).collect();
    ids.sort();
    Ok(ids)
}

/// Makes the load what it says, or, of the current one, what it says from now on. Whole or not at all.
pub(super) async fn publish(store: &dyn ObjectStore, manifest: &Manifest) -> Result<(), ContextError> {
    let text = serde_json::to_vec(manifest)
        .map_err(|e| ContextError::Manifest { load: manifest.id.clone(), what: e.to_string() })?;
    store.put(&manifest_path(&manifest.id), text.into()).await?;
    Ok(())
}

/// Where a load puts a table that has changed.
pub(super) fn table_path(load: &str, table: &str) -> Path {
    Path::from_iter([FOLDER, TABLES, &format!("{table}-{load}.parquet")])
}

/// Where a load puts the rows of a table that it has no longer.
pub(super) fn gone_path(load: &str, table: &str) -> Path {
    Path::from_iter([FOLDER, HISTORY, &format!("{table}-{load}.parquet")])
}

/// Where files lie that belong to whichever load names them.
pub(super) fn shared() -> [Path; 2] {
    [TABLES, HISTORY].map(|folder| Path::from_iter([FOLDER, folder]))
}

pub(super) fn manifest_path(id: &str) -> Path {
    Path::from_iter([FOLDER, id, MANIFEST])
}
