//! Anchors: what a file is recognised by.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a file's head is looked at, at most.
pub const HEAD: usize = 4096;
/// How much before the position is looked at, at most.
pub const TAIL: usize = 1024;

/// A hash over so many bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Over how many.
    pub len: u64,
    /// SHA-256, the first half of it, as hex.
    pub hash: String,
}

impl Anchor {
    /// Over these bytes.
    pub fn of(bytes: &[u8]) -> Anchor {
        let digest = Sha256::digest(bytes);
        let hash = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Anchor { len: bytes.len() as u64, hash }
    }

    /// Whether these bytes begin with what the anchor was made of. An anchor over nothing fits nothing: an empty file
    /// has no content to be known by.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        let len = self.len as usize;
        len > 0 && bytes.get(..len).is_some_and(|bytes| Anchor::of(bytes).hash == self.hash)
    }
}
