//! The lines of a commit that name files, as Delta wants them.

use chrono::Utc;
use deltalake::kernel::{Action, Add, DomainMetadata, Remove};

use super::encode::Encoded;
use super::error::LakeError;
use super::stats::FileStats;
use super::types::{LakeFile, Table};

/// Names a new file; `path` is relative to its table.
pub(super) fn addition(path: String, year: Option<String>, encoded: &Encoded) -> Add {
    let stats = encoded.stats.to_json(encoded.table);
    added(path, year, encoded.bytes.len() as u64, stats)
}

/// Names the same bytes once more, under another path relative to the table.
pub(super) fn renamed(table: Table, path: String, file: &LakeFile) -> Add {
    added(path, file.year.clone(), file.size, FileStats::of(file).to_json(table))
}

fn added(path: String, year: Option<String>, size: u64, stats: String) -> Add {
    Add {
        path,
        partition_values: year.into_iter().map(|year| ("year".to_string(), Some(year))).collect(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        modification_time: Utc::now().timestamp_millis(),
        data_change: true,
        stats: Some(stats),
        ..Add::default()
    }
}

/// Takes a file out. `data_change`: its rows go with it, and do not only move to another file.
pub(super) fn removal(table: Table, file: &LakeFile, data_change: bool) -> Action {
    let year = file.year.clone();
    Action::Remove(Remove {
        path: within(table, &file.path).to_string(),
        data_change,
        deletion_timestamp: Some(Utc::now().timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(year.into_iter().map(|year| ("year".to_string(), Some(year))).collect()),
        size: i64::try_from(file.size).ok(),
        ..Remove::default()
    })
}

/// What the log keeps beside files.
pub(super) fn domain(name: &str, value: &impl serde::Serialize) -> Result<Action, LakeError> {
    let configuration =
        serde_json::to_string(value).map_err(|e| LakeError::encode(Table::AccessEvents, e))?;
    Ok(Action::DomainMetadata(DomainMetadata { domain: name.into(), configuration, removed: false }))
}

/// A path of the lake as its table's log has it.
pub(super) fn within(table: Table, path: &str) -> &str {
    path.strip_prefix(table.name()).unwrap_or(path).trim_start_matches('/')
}
