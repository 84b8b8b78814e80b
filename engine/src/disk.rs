//! Folders whose names are on disk when they are said to be made.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes `folder` and what is missing above it, each fsynced into its parent.
///
/// # Errors
/// When a folder cannot be made or fsynced.
pub fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folders(above)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(ErrorKind::NotADirectory.into()),
        Err(e) => return Err(e),
        Ok(()) => {}
    }
    sync_folder(parent(folder))
}

/// The folder that a path lies in.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts the names in a folder on disk.
///
/// # Errors
/// When the folder cannot be opened or fsynced.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|f| f.sync_all())
}

/// Puts the names in a folder on disk.
///
/// # Errors
/// None: only Unix opens folders as files; elsewhere the file system's journal keeps the name.
#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
