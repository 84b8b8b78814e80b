//! What is remembered of a source's files. It travels in the commit that stores their rows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::anchor::Anchor;

/// Every file of a source that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The number of the next file that is met.
    pub next_file: u64,
    /// In the order that they were met.
    pub files: Vec<FileState>,
}

/// One logical file: what it is known by and how far it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Assigned once.
    pub id: String,
    /// Where it lay last.
    pub path: PathBuf,
    /// A hint.
    pub inode: u64,
    /// Over its first decompressed bytes.
    pub head: Anchor,
    /// Over the bytes before the position.
    pub tail: Anchor,
    /// How far it is read, in decompressed bytes.
    pub position: u64,
    /// How long it was when it was last seen, where it is not packed.
    pub seen: u64,
    /// It lies elsewhere than where it was first met.
    pub renamed: bool,
    /// Read to its end, and nothing can follow.
    pub done: bool,
    /// It is not to be found; what was unread is in `gaps`.
    pub gone: bool,
}

impl SourceState {
    /// A new file, with the next id.
    pub fn meet(&mut self, source: &str, path: PathBuf, inode: u64) -> usize {
        self.next_file += 1;
        self.files.push(FileState {
            id: format!("{source}-{:06}", self.next_file),
            path,
            inode,
            head: Anchor::of(b""),
            tail: Anchor::of(b""),
            position: 0,
            seen: 0,
            renamed: false,
            done: false,
            gone: false,
        });
        self.files.len() - 1
    }
}
