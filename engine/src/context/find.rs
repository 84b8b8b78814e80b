//! Which tables a context folder holds.

use std::path::{Path, PathBuf};

use super::ContextError;
use super::tables::{ContextTable, TABLES};
use crate::error::nearest;
use crate::lake::Lake;

/// Tables that a load of `dir` would empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Those that have rows now, with how many, and no file in the folder.
    pub tables: Vec<(&'static str, u64)>,
    /// Whether the folder has no table at all.
    pub nothing: bool,
}

impl Missing {
    /// Whether a load would take nothing away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.nothing
    }

    /// What is missing, for the one who loads.
    #[must_use]
    pub fn sentence(&self, dir: &Path) -> String {
        if self.tables.is_empty() {
            return format!(
                "{} holds no context table, expected units.csv, staff.csv and the like",
                dir.display()
            );
        }
        let tables: Vec<String> = self
            .tables
            .iter()
            .map(|(name, rows)| format!("{name} ({rows} rows in the load before)"))
            .collect();
        format!("{} lacks {}: rules that need them would fall silent", dir.display(), tables.join(", "))
    }
}

/// What a load of `dir` would take away.
///
/// # Errors
/// When the folder or the current load cannot be read.
pub async fn missing(lake: &Lake, dir: &Path) -> Result<Missing, ContextError> {
    let found = find(dir)?;
    let has = |name: &str| found.files.iter().any(|(table, _)| table.name == name);
    let now = super::status(lake).await?;
    let gone = now.iter().filter(|table| table.rows > 0 && !has(table.table));
    Ok(Missing {
        tables: gone.map(|table| (table.table, table.rows)).collect(),
        nothing: found.files.is_empty(),
    })
}

/// What a folder holds.
pub(super) struct Found {
    pub(super) files: Vec<(&'static ContextTable, PathBuf)>,
    pub(super) notes: Vec<String>,
}

/// The tables of a folder, by their files' names.
pub(super) fn find(dir: &Path) -> Result<Found, ContextError> {
    let io = |e: std::io::Error| ContextError::Io { path: dir.to_owned(), what: e.to_string() };
    let mut found = Found { files: Vec::new(), notes: Vec::new() };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(io)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(io)?;
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if !matches!(ending, "csv" | "parquet") || !path.is_file() {
            continue;
        }
        match TABLES.iter().find(|t| t.name == stem) {
            Some(table) if found.files.iter().any(|(t, _)| t.name == table.name) => {
                return Err(ContextError::Twice { dir: dir.to_owned(), table: table.name });
            }
            Some(table) => found.files.push((table, path)),
            None => {
                let like = crate::error::did_you_mean(&nearest(stem, TABLES.iter().map(|t| t.name)));
                found.notes.push(format!("{stem}.{ending} is no context table and was left out{like}"));
            }
        }
    }
    Ok(found)
}
