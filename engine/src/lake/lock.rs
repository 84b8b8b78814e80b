//! One holder at a time for work that must not be done twice at once, as ingest.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::LakeError;

/// A lock on the lake. The operating system releases it when this value goes, or its process dies.
#[derive(Debug)]
pub struct LakeLock {
    file: File,
}

impl Drop for LakeLock {
    fn drop(&mut self) {
        // Closing the file releases it anyway; an explicit unlock also covers descriptors that a child inherited.
        let _ = self.file.unlock();
    }
}

pub(super) fn lock(root: &Path, holder: &str, what: &str) -> Result<LakeLock, LakeError> {
    let path = root.join(format!(".insyn-{}.lock", plain(what)));
    let io = |e: std::io::Error| LakeError::io(&path, &e);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = match text.trim() {
                "" => "another process".to_string(),
                text => text.to_string(),
            };
            return Err(LakeError::Locked { lake: root.display().to_string(), what: what.into(), holder });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // The text is only for people: who reads it while it is being written sees no name, not a wrong one.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.as_bytes()))
        .map_err(io)?;
    Ok(LakeLock { file })
}

fn plain(what: &str) -> String {
    what.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let first = lock(root.path(), "insyn serve, pid 12", "ingest").unwrap();
        assert!(root.path().join(".insyn-ingest.lock").exists());
        let error = lock(root.path(), "insyn ingest, pid 13", "ingest").unwrap_err();
        assert!(error.to_string().contains("insyn serve, pid 12"), "{error}");
        // Another kind of work has a lock of its own.
        lock(root.path(), "insyn compact, pid 14", "maintenance").unwrap();
        drop(first);
        lock(root.path(), "x", "ingest").unwrap();
    }
}
