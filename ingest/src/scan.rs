//! Which files there are now.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A path that a source's globs give, and what the system says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub path: PathBuf,
    /// A hint of who it is; numbers are used again.
    pub device: u64,
    /// The other half of the hint.
    pub inode: u64,
    /// Bytes on disk, as packed.
    pub len: u64,
    /// When it was last written, µs UTC.
    pub modified: i64,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Scan {
    /// In order of path.
    pub candidates: Vec<Candidate>,
    /// Folders that could not be read, each as a sentence. What lies in them is not known to be gone.
    pub faults: Vec<String>,
}

/// Every file that the globs give. A file that vanishes between two looks is not there.
pub fn scan(base: &Path, globs: &[String]) -> Scan {
    let mut paths = BTreeSet::new();
    let mut scan = Scan::default();
    for pattern in globs {
        let escaped = glob::Pattern::escape(&base.display().to_string());
        let whole =
            if Path::new(pattern).is_absolute() { pattern.clone() } else { format!("{escaped}/{pattern}") };
        // The pattern was checked when the source was opened; one that is none gives nothing.
        let Ok(found) = glob::glob(&whole) else { continue };
        for entry in found {
            match entry {
                Ok(path) => {
                    paths.insert(path);
                }
                Err(error) if error.error().kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    scan.faults.push(format!(
                        "cannot read the folder {}: {}",
                        error.path().display(),
                        error.error()
                    ));
                }
            }
        }
    }
    scan.candidates = paths.into_iter().filter_map(candidate).collect();
    scan
}

fn candidate(path: PathBuf) -> Option<Candidate> {
    let data = std::fs::metadata(&path).ok()?;
    data.is_file().then(|| Candidate {
        device: data.dev(),
        inode: data.ino(),
        len: data.len(),
        modified: data.mtime() * 1_000_000 + data.mtime_nsec() / 1_000,
        path,
    })
}

/// The folders to watch: each glob as far as it names folders plainly.
pub fn folders(base: &Path, globs: &[String]) -> BTreeSet<PathBuf> {
    let plain =
        |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    globs
        .iter()
        .map(|pattern| {
            let folder: PathBuf = Path::new(pattern).components().take_while(plain).collect();
            let folder = base.join(folder);
            if folder.is_dir() { folder } else { folder.parent().unwrap_or(base).to_owned() }
        })
        .collect()
}
