//! One holder at a time for work that must not be done twice at once, as ingest.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LakeError;
use super::lease::{Lease, Leases};

/// A lock on the lake, until this value goes or its process dies.
#[derive(Debug)]
pub struct LakeLock(Kind);

#[derive(Debug)]
enum Kind {
    /// The operating system releases it.
    File { _lock: FileLock },
    /// It is given back, or found to be over by whoever wants it next.
    Lease(Lease),
}

impl LakeLock {
    /// Whether somebody else has taken it meanwhile: a lease may be lost after a long time without the store.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Kind::File { .. } => false,
            Kind::Lease(lease) => lease.is_lost(),
        }
    }

    pub(super) fn of_folder(root: &Path, holder: &str, what: &str) -> Result<LakeLock, LakeError> {
        lock(root, holder, what).map(|lock| LakeLock(Kind::File { _lock: lock }))
    }

    pub(super) async fn of_bucket(
        leases: &Arc<Leases>,
        holder: &str,
        what: &str,
    ) -> Result<LakeLock, LakeError> {
        let file = format!(".insyn-{}.lease", plain(what));
        leases.take(holder, what, &file).await.map(|lease| LakeLock(Kind::Lease(lease)))
    }
}

/// A lock on a file.
#[derive(Debug)]
struct FileLock {
    file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file releases it anyway; an explicit unlock also covers descriptors that a child inherited.
        let _ = self.file.unlock();
    }
}

fn lock(root: &Path, holder: &str, what: &str) -> Result<FileLock, LakeError> {
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
    Ok(FileLock { file })
}

/// That this process has the lake open, for others to see.
#[derive(Debug)]
pub(super) struct Presence {
    file: File,
    path: PathBuf,
}

/// Nobody else has the lake open, nor can open it, until this goes.
#[derive(Debug)]
pub(super) struct Alone<'a>(&'a Presence);

impl Presence {
    pub(super) fn enter(root: &Path) -> Result<Presence, LakeError> {
        let path = root.join(".insyn-open.lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.and_then(|file| file.lock_shared().map(|()| file));
        Ok(Presence { file: file.map_err(|e| LakeError::io(&path, &e))?, path })
    }

    /// None where another has the lake open.
    pub(super) fn alone(&self) -> Result<Option<Alone<'_>>, LakeError> {
        // Not every system lets one lock become the other; somebody may come in between.
        let alone = Alone(self);
        let io = |e: std::io::Error| LakeError::io(&self.path, &e);
        self.file.unlock().map_err(io)?;
        match self.file.try_lock() {
            Ok(()) => Ok(Some(alone)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(io(e)),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let back = self.0.file.unlock().and_then(|()| self.0.file.lock_shared());
        if let Err(error) = back {
            tracing::warn!(%error, "others are not told any more that the lake is open here");
        }
    }
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

    #[test]
    fn alone_is_who_has_it_open_while_nobody_else_has() {
        let root = tempfile::tempdir().unwrap();
        let first = Presence::enter(root.path()).unwrap();
        let second = Presence::enter(root.path()).unwrap();
        assert!(first.alone().unwrap().is_none());
        drop(second);
        let alone = first.alone().unwrap().unwrap();
        let folder = root.path().to_owned();
        let (came, comes) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let third = Presence::enter(&folder).unwrap();
            came.send(()).unwrap();
            third
        });
        assert!(comes.recv_timeout(std::time::Duration::from_millis(100)).is_err(), "it waits");
        drop(alone);
        let third = other.join().unwrap();
        assert!(first.alone().unwrap().is_none());
        drop(third);
        assert!(first.alone().unwrap().is_some());
    }
}
