//! Files of Insyn's own looks that are in the lake, and need not lie in the spool as well.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::NaiveDate;
use insyn_engine::lake::Lake;

use super::aside::ASIDE;
use super::own::SOURCE;
use crate::error::IngestError;
use crate::state::SourceState;

/// Second names that a copy gave and a crash left behind go after this.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// The files of own looks of days before `day` that have been read to their end.
///
/// # Errors
/// When the lake's position or the folder cannot be read.
pub async fn cleared(lake: &Lake, spool: &Path, day: NaiveDate) -> Result<Vec<PathBuf>, IngestError> {
    let state = lake.progress(SOURCE).await?.state;
    let state = SourceState::parse(SOURCE, state.as_deref())?;
    let folder = spool.join(SOURCE);
    let cannot = IngestError::io("cannot read the folder", folder.clone());
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let of = name.to_str().and_then(|name| name.strip_prefix("own-")?.strip_suffix(".ndjson"));
        let of = of.and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok());
        let Ok(length) = entry.metadata().map(|data| data.len()) else { continue };
        let same = |known: &Path| known.file_name() == Some(&name);
        let is_read = state.files.iter().any(|file| same(&file.path) && file.position >= length);
        if of.is_some_and(|of| of < day) && is_read {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Removes these files, and second names of any that a copy left behind.
///
/// # Errors
/// When one cannot be removed.
pub fn clear(spool: &Path, files: &[PathBuf]) -> Result<(), IngestError> {
    for file in files {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(IngestError::io("cannot remove", file.clone())(error));
            }
            _ => {}
        }
    }
    let now = SystemTime::now();
    for entry in std::fs::read_dir(spool).into_iter().flatten().flatten() {
        let is_aside = entry.file_name().to_string_lossy().starts_with(ASIDE);
        let made = entry.metadata().and_then(|data| data.modified());
        let is_old = made.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LEFT_BEHIND));
        if is_aside && is_old {
            std::fs::remove_dir_all(entry.path()).map_err(IngestError::io("cannot remove", entry.path()))?;
        }
    }
    Ok(())
}
