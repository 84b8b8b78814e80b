//! Folders whose names are on disk when they are said to be made, and disks that are not filled to the brim.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

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

/// A folder on whose disk so much is to stay free: what is taken in stops before, so that what is under way ends well.
#[derive(Debug, Clone)]
pub struct Room {
    folder: PathBuf,
    least: u64,
}

/// The disk is nearly full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: {} MiB are free on its disk, and nothing is taken in below {} MiB (lake.least_free_mb); make room, then it goes on",
    folder.display(), free >> 20, least >> 20
)]
pub struct LowDisk {
    folder: PathBuf,
    free: u64,
    least: u64,
}

impl Room {
    /// Keeps so many bytes free.
    #[must_use]
    pub fn keeping(folder: &Path, least: u64) -> Room {
        Room { folder: folder.to_owned(), least }
    }

    /// Whether more may be taken in. A disk that cannot be asked is left to say no itself.
    ///
    /// # Errors
    /// [`LowDisk`].
    pub fn check(&self) -> Result<(), LowDisk> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= self.least {
            return Ok(());
        }
        Err(LowDisk { folder: self.folder.clone(), free, least: self.least })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_asked_how_much_is_free() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Room::keeping(folder.path(), 1).check(), Ok(()));
        let error = Room::keeping(folder.path(), u64::MAX).check().unwrap_err();
        assert!(error.to_string().contains("MiB are free") && error.free > 0, "{error}");
        assert_eq!(Room::keeping(Path::new("/nowhere/at/all"), u64::MAX).check(), Ok(()));
    }
}
