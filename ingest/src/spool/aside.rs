//! Files of the spool, held by a second name: the tailer removes what it has read, and a copy must not miss it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const ASIDE: &str = ".aside-";

/// Second names of the spool's files, as long as this lives.
pub struct Aside {
    spool: PathBuf,
    folder: PathBuf,
}

impl Aside {
    /// Begins to hold what lies in the spool.
    ///
    /// # Errors
    /// When the spool cannot be read, or no name be given in it.
    pub fn hold(spool: &Path) -> io::Result<Aside> {
        let name = format!("{ASIDE}{}", uuid::Uuid::new_v4().simple());
        let aside = Aside { spool: spool.to_owned(), folder: spool.join(name) };
        fs::create_dir_all(&aside.folder)?;
        aside.hold_more()?;
        Ok(aside)
    }

    /// Holds what has come since as well.
    ///
    /// # Errors
    /// When the spool cannot be read, or no name be given in it.
    pub fn hold_more(&self) -> io::Result<()> {
        each_file(&self.spool, &mut |file| {
            let held = self.folder.join(file.strip_prefix(&self.spool).unwrap_or(file));
            if let Some(folder) = held.parent() {
                fs::create_dir_all(folder)?;
            }
            match fs::hard_link(file, &held) {
                // It was removed a moment ago: what it had is in the lake.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        })
    }

    /// Copies what is held, as it is now.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        each_file(&self.folder, &mut |file| {
            let copy = folder.join(file.strip_prefix(&self.folder).unwrap_or(file));
            if let Some(parent) = copy.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(file, copy).map(|_| ())
        })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What stays behind after a crash is only space; the next copy begins with names of its own.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn each_file(folder: &Path, each: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let aside = entry.file_name().to_string_lossy().starts_with(ASIDE);
        match entry.file_type()? {
            kind if kind.is_dir() && !aside => each_file(&entry.path(), each)?,
            kind if kind.is_file() => each(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}
