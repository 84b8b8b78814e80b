//! Context tables: what is known of units, staff, people and their relations, with its history.
//!
//! A load reads every table of a folder, all or nothing, and lays those that changed beside the events as
//! `context/tables/<table>-<load>.parquet`; the load's `context/<load>/manifest.json` is written last and makes it the
//! current one. Rows that it has no longer are kept in `context/history`, so that one can see what held then, and
//! what was known when a run judged.

mod cells;
mod contradictions;
mod encode;
mod find;
mod forget;
mod history;
pub(crate) mod homes;
mod load;
mod manifest;
mod moment;
mod read;
pub(crate) mod resolve;
mod tables;
pub(crate) mod then;

use std::path::PathBuf;

use crate::lake::{Lake, LakeError};

pub use contradictions::{Contradiction, Contradicts};
pub use find::{Missing, missing};
pub use forget::{Superseded, aged, forget};
pub use load::{load, load_exported};
pub use manifest::{GoneFile, History, Manifest, ManifestTable, TableHistory, UnitPeriod};
pub use moment::{KnownAt, Moment};
pub use tables::{ContextColumn, ContextTable, Kind, TABLES, table};
pub use then::over_time;

pub(crate) use manifest::{FOLDER, MANIFEST};
pub(crate) use moment::{Sight, sight};

/// Why a load stopped, or the tables could not be read. Names file, line and column, never a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A value that is not what its column holds.
    #[error("{}, line {line}, column {column}: found {found}, expected {expected}", file.display())]
    Row {
        /// The file as it was opened.
        file: PathBuf,
        /// From 1; the header is line 1. In Parquet: the row, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What kind of thing stood there.
        found: String,
        /// What the column holds.
        expected: String,
    },
    /// A line that is no row.
    #[error("{}, line {line}: {what}", file.display())]
    Line {
        /// The file as it was opened.
        file: PathBuf,
        /// From 1; the header is line 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// A header that is not the table's.
    #[error("{}, line 1: {what}", file.display())]
    Header {
        /// The file as it was opened.
        file: PathBuf,
        /// What is missing or doubled.
        what: String,
    },
    /// A folder or file that cannot be read.
    #[error("{}: {what}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Two files for one table.
    #[error("{}: {table} is there as .csv and as .parquet, expected one of them", dir.display())]
    Twice {
        /// The folder.
        dir: PathBuf,
        /// The table.
        table: &'static str,
    },
    /// The lake's store failed.
    #[error("the lake's context tables: {0}")]
    Store(#[from] object_store::Error),
    /// The lake could not be had for a load alone.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A load that was never made, or of which nothing is kept any more.
    #[error("found no such load, expected one that was made and is kept")]
    NoLoad,
    /// Tables that are said to be of a time that they cannot be of.
    #[error("the tables were exported {}, expected {}", shown(*at), match before {
        Some(before) => format!("a time after the load before, which is of {}", shown(*before)),
        None => "a time that has been".to_owned(),
    })]
    Exported {
        /// µs UTC.
        at: i64,
        /// Of when the load before is, where that is later.
        before: Option<i64>,
    },
    /// A load in the lake that cannot be read.
    #[error("the lake's context load {load}: {what}")]
    Manifest {
        /// Its id.
        load: String,
        /// What is wrong with it.
        what: String,
    },
}

fn shown(at: i64) -> String {
    crate::output::to_the_second(at).unwrap_or_default()
}

/// What a load brought.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LoadReport {
    /// The load's id: sorts by time.
    pub load: String,
    /// µs UTC.
    pub loaded_at: i64,
    /// The tables that were there.
    pub tables: Vec<LoadedTable>,
    /// What the folder held that is no table.
    pub notes: Vec<String>,
}

/// One table of a load.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LoadedTable {
    /// Its name.
    pub table: String,
    /// The file's name in the folder.
    pub file: String,
    /// How many rows.
    pub rows: u64,
    /// Columns that were left out.
    pub notes: Vec<String>,
    /// Rows that contradict others, or themselves.
    pub contradictions: Vec<Contradiction>,
}

/// The state of one table in the current load.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TableStatus {
    /// Its name.
    pub table: &'static str,
    /// The current load, when it holds the table.
    pub load: Option<String>,
    /// µs UTC; the age is counted from here.
    #[serde(serialize_with = "rfc3339")]
    pub loaded_at: Option<i64>,
    /// So many seconds ago.
    pub age_seconds: Option<i64>,
    /// How many rows; 0 when not loaded.
    pub rows: u64,
    /// The earliest instant that a row states, µs UTC.
    #[serde(serialize_with = "rfc3339")]
    pub from: Option<i64>,
    /// The latest one; `None` where a row is open-ended or none states an end.
    #[serde(serialize_with = "rfc3339")]
    pub to: Option<i64>,
    /// How many times rows of it contradict others, or themselves.
    pub contradictions: u64,
    /// The same by unit, where the table has `care_unit_id`.
    pub units: Vec<UnitPeriod>,
    /// How rows contradict, and on which lines.
    pub contradicting: Vec<Contradiction>,
}

fn rfc3339<S: serde::Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&at.and_then(crate::output::to_the_second), serializer)
}

/// Every context table with its age, rows and period; tables that are not loaded have no load.
///
/// # Errors
/// When the lake's store fails or the current manifest cannot be read.
pub async fn status(lake: &Lake) -> Result<Vec<TableStatus>, ContextError> {
    let manifest = manifest::current(lake.object_store().as_ref()).await?;
    let now = chrono::Utc::now().timestamp_micros();
    let status = TABLES.iter().map(|table| {
        let empty = TableStatus {
            table: table.name,
            load: None,
            loaded_at: None,
            age_seconds: None,
            rows: 0,
            from: None,
            to: None,
            contradictions: 0,
            units: Vec::new(),
            contradicting: Vec::new(),
        };
        let Some(manifest) = &manifest else { return empty };
        let Some(loaded) = manifest.table(table.name) else { return empty };
        TableStatus {
            load: Some(manifest.id.clone()),
            loaded_at: Some(manifest.loaded_at),
            age_seconds: Some((now - manifest.loaded_at).max(0) / 1_000_000),
            rows: loaded.rows,
            from: loaded.from,
            to: loaded.to,
            contradictions: loaded.contradictions.iter().map(|found| found.rows).sum(),
            units: loaded.units.clone(),
            contradicting: loaded.contradictions.clone(),
            ..empty
        }
    });
    Ok(status.collect())
}
