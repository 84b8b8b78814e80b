//! Context tables: what is known of units, staff, people and their relations, with its history.
//!
//! A load reads every table of a folder, all or nothing, and lays it beside the events as
//! `context/<load>/<table>.parquet`; the load's `manifest.json` is written last and makes it the current one.
//! Earlier loads stay, so that one can see what was known when a run judged.

mod cells;
mod forget;
mod load;
mod manifest;
mod read;
pub(crate) mod resolve;
mod tables;

use std::path::PathBuf;

use crate::lake::Lake;

pub use forget::{aged, forget};
pub use load::{Missing, load, missing};
pub use manifest::{Manifest, ManifestTable, UnitPeriod};
pub use tables::{ContextColumn, ContextTable, Kind, TABLES, table};

pub(crate) use manifest::{FOLDER, MANIFEST, current, table_path};

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
    /// A load in the lake that cannot be read.
    #[error("the lake's context load {load}: {what}")]
    Manifest {
        /// Its id.
        load: String,
        /// What is wrong with it.
        what: String,
    },
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
    /// How many rows; 0 when not loaded.
    pub rows: u64,
    /// The earliest instant that a row states, µs UTC.
    #[serde(serialize_with = "rfc3339")]
    pub from: Option<i64>,
    /// The latest one; `None` where a row is open-ended or none states an end.
    #[serde(serialize_with = "rfc3339")]
    pub to: Option<i64>,
    /// The same by unit, where the table has `care_unit_id`.
    pub units: Vec<UnitPeriod>,
}

fn rfc3339<S: serde::Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&at.and_then(crate::output::to_the_second), serializer)
}

/// Every context table with its age, rows and period; tables that are not loaded have no load.
///
/// # Errors
/// When the lake's store fails or the current manifest cannot be read.
pub async fn status(lake: &Lake) -> Result<Vec<TableStatus>, ContextError> {
    let manifest = current(lake.object_store().as_ref()).await?;
    let status = TABLES.iter().map(|table| {
        let loaded =
            manifest.as_ref().and_then(|m| m.tables.iter().find(|t| t.table == table.name).map(|t| (m, t)));
        match loaded {
            Some((manifest, loaded)) => TableStatus {
                table: table.name,
                load: Some(manifest.id.clone()),
                loaded_at: Some(manifest.loaded_at),
                rows: loaded.rows,
                from: loaded.from,
                to: loaded.to,
                units: loaded.units.clone(),
            },
            None => TableStatus {
                table: table.name,
                load: None,
                loaded_at: None,
                rows: 0,
                from: None,
                to: None,
                units: Vec::new(),
            },
        }
    });
    Ok(status.collect())
}
