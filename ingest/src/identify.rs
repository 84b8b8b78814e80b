//! Which file is which: paths that are there now, against files that are known.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::anchor::HEAD;
use crate::error::IngestError;
use crate::scan::Candidate;
use crate::state::{FileState, SourceState};
use crate::stream::{self, Packing};
use crate::{Copies, SourceConfig};

/// What was last seen at a path, so that an unchanged file is not opened again.
#[derive(Debug, Default)]
pub struct Seen {
    paths: HashMap<PathBuf, (Candidate, Option<usize>)>,
}

/// A path, and the known file that it is.
#[derive(Debug, Clone)]
pub struct Found {
    /// Index in [`SourceState::files`].
    pub file: usize,
    /// Where it lies now.
    pub candidate: Candidate,
    /// Whether it was already there in this state when last looked at.
    pub unchanged: bool,
}

/// Tells each candidate's file; unknown ones are met. A copy that is to be skipped is left out.
///
/// # Errors
/// When a file cannot be read.
pub fn identify(
    source: &SourceConfig,
    state: &mut SourceState,
    seen: &mut Seen,
    candidates: Vec<Candidate>,
) -> Result<Vec<Found>, IngestError> {
    let mut found = Vec::new();
    let mut claimed = HashSet::new();
    let mut open = Vec::new();
    for candidate in candidates {
        if let Some((before, file)) = seen.paths.get(&candidate.path)
            && *before == candidate
        {
            if let Some(file) = *file {
                claimed.insert(file);
                found.push(Found { file, candidate, unchanged: true });
            }
            continue;
        }
        open.push(candidate);
    }
    // First what lies where it lay, then what moved: a renamed file must not be taken for the one that stands in its place.
    let mut moved = Vec::new();
    for candidate in open {
        let Some(head) = read_head(&candidate.path)? else { continue };
        let here = (0..state.files.len()).find(|&n| {
            let file = &state.files[n];
            !claimed.contains(&n) && file.path == candidate.path && is(file, &candidate, &head)
        });
        match here {
            Some(file) => {
                claimed.insert(file);
                found.push(Found { file, candidate, unchanged: false });
            }
            None => moved.push((candidate, head)),
        }
    }
    for (candidate, head) in moved {
        let best = |n: &usize| (state.files[*n].inode == candidate.inode, state.files[*n].position);
        let file = (0..state.files.len())
            .filter(|n| !claimed.contains(n) && is(&state.files[*n], &candidate, &head))
            .max_by_key(best);
        let copy = || {
            (0..state.files.len()).find(|n| claimed.contains(n) && is(&state.files[*n], &candidate, &head))
        };
        let file = match file {
            Some(file) => Some(file),
            None => match copy() {
                // The packed successor of a file that still stands, or a copy that the configuration says to skip.
                Some(original)
                    if packed_of(&state.files[original].path, &candidate.path)
                        || (source.copies == Copies::Skip
                            && state.files[original].position >= head.len() as u64) =>
                {
                    None
                }
                _ if head.is_empty() => None,
                _ => Some(state.meet(&source.name, candidate.path.clone(), candidate.inode)),
            },
        };
        match file {
            Some(file) => {
                claimed.insert(file);
                let known = &mut state.files[file];
                known.renamed |= known.path != candidate.path;
                known.path.clone_from(&candidate.path);
                known.inode = candidate.inode;
                known.gone = false;
                found.push(Found { file, candidate, unchanged: false });
            }
            None => {
                seen.paths.insert(candidate.path.clone(), (candidate, None));
            }
        }
    }
    found.sort_by_key(|found| found.file);
    Ok(found)
}

impl Seen {
    /// Remembers that a path was read as far as it goes.
    pub fn read(&mut self, found: &Found) {
        self.paths.insert(found.candidate.path.clone(), (found.candidate.clone(), Some(found.file)));
    }
}

/// Whether the path holds the known file: its first bytes, and the bytes before the position.
fn is(file: &FileState, candidate: &Candidate, head: &[u8]) -> bool {
    if !file.head.fits(head) {
        return false;
    }
    let from = file.position - file.tail.len;
    if file.position as usize <= head.len() {
        return head.get(from as usize..file.position as usize).is_some_and(|tail| file.tail.fits(tail));
    }
    matches!(stream::range(&candidate.path, from, file.position), Ok(Some(tail)) if file.tail.fits(&tail))
}

fn packed_of(plain: &Path, other: &Path) -> bool {
    ["gz", "zst", "xz"].iter().any(|ending| {
        let mut name = plain.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        name == other.as_os_str()
    })
}

/// The head of a file; none when it vanished meanwhile, or is packed and still being written.
fn read_head(path: &Path) -> Result<Option<Vec<u8>>, IngestError> {
    match stream::head(path, HEAD) {
        Ok(head) => Ok(Some(head)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IngestError::io("cannot read", path)(error)),
    }
}

/// Whether bytes of this packing can still grow.
pub fn grows(packing: Packing) -> bool {
    packing == Packing::Plain
}
