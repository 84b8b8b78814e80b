//! What a file is recognised by: hashes over its first bytes and over the bytes before where reading stopped.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much of a file's beginning is looked at, at most.
pub const HEAD: usize = 4096;
/// How much before the position is looked at, at most.
pub const TAIL: usize = 1024;
/// A hash over so many bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Over how many.
    pub len: u64,
    /// The first half of SHA-256, as hex.
    pub hash: String,
}

impl Anchor {
    /// Over these bytes.
    pub fn of(bytes: &[u8]) -> Anchor {
        let digest = Sha256::digest(bytes);
        let hash = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Anchor { len: bytes.len() as u64, hash }
    }

    /// Whether these are the bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len() as u64 && (bytes.is_empty() || *self == Anchor::of(bytes))
    }

    /// Whether these bytes begin with what the anchor was made of. An anchor over nothing fits nothing: an empty file
    /// has no content to be known by.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        self.len > 0 && bytes.get(..self.len as usize).is_some_and(|part| self.is_of(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_fits_what_begins_with_it_and_nothing_else() {
        let anchor = Anchor::of(b"first line\n");
        assert!(anchor.fits(b"first line\n") && anchor.fits(b"first line\nsecond"));
        assert!(!anchor.fits(b"first line") && !anchor.fits(b"other line\n") && !anchor.fits(b""));
        assert!(anchor.is_of(b"first line\n") && !anchor.is_of(b"first line\nsecond"));
        assert!(
            !Anchor::of(b"").fits(b"") && !Anchor::default().fits(b"first") && Anchor::default().is_of(b"")
        );
    }
}
