//! What is remembered of a source's files. It travels in the commit that stores their rows.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use insyn_formats::Opening;

use crate::IngestError;
use crate::anchor::Anchor;
use crate::passed::Passed;

/// A file that is not to be found for so long is forgotten. µs: 400 days.
const FORGOTTEN: i64 = 400 * 86_400 * 1_000_000;
/// Of files that are not to be found, so many are remembered.
const MOST_GONE: usize = 1000;

/// Every file of a source that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The number of the last file that was met.
    pub next_file: u64,
    /// In the order that they were met.
    pub files: Vec<FileState>,
    /// How its files begin, each way once: most have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<FileOpening>,
}

/// What is known of records whose file is not there any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOpening {
    /// What the format says.
    #[serde(flatten)]
    pub format: Opening,
    /// Who sent them, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_from: Option<String>,
}

impl FileOpening {
    /// For a file that nothing is known of but who sent one of its records.
    pub fn assumed(received_from: Option<String>) -> FileOpening {
        let received = received_from.is_some();
        FileOpening {
            format: Opening { encoding: "UTF-8".into(), received, ..Opening::default() },
            received_from,
        }
    }
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
    /// Over its first bytes.
    pub head: Anchor,
    /// Over the bytes before the position.
    pub tail: Anchor,
    /// How far it is read, in decompressed bytes.
    pub position: u64,
    /// How long it was when it was last seen, in decompressed bytes, as far as is known.
    pub seen: u64,
    /// Records that begin before this were read from another file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub known: u64,
    /// What lay between its records; of one that was met when that was not remembered yet, nobody knows.
    #[serde(default = "Passed::forgotten")]
    pub passed: Passed,
    /// It was renamed or packed since it was met: nobody writes to it any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub moved: bool,
    /// It is packed, as it was last seen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub packed: bool,
    /// Read to an end after which nothing is expected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub done: bool,
    /// Which of [`SourceState::openings`] it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<usize>,
    /// The id of the file that it has the content of, where both lie there and are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<String>,
    /// Bytes that could not be had while it was not to be found: from where, and to where if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<(u64, Option<u64>)>,
    /// Since when it is not to be found, µs UTC; what was unread is in `gaps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<i64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(b: &bool) -> bool {
    !b
}

impl SourceState {
    /// What the lake remembers of a source.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn parse(name: &str, text: Option<&str>) -> Result<SourceState, IngestError> {
        match text {
            None | Some("") => Ok(SourceState::default()),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| IngestError::State { name: name.to_owned(), source: error }),
        }
    }

    /// Remembers how a file begins.
    pub fn opened(&mut self, n: usize, opening: FileOpening) {
        let known = self.openings.iter().position(|known| *known == opening);
        let place = known.unwrap_or_else(|| {
            self.openings.push(opening);
            self.openings.len() - 1
        });
        if let Some(file) = self.files.get_mut(n) {
            file.opening = Some(place);
        }
    }

    /// How a file begins; of one that is forgotten, how all of them do.
    pub fn opening_of(&self, id: &str) -> Option<&FileOpening> {
        let file = self.files.iter().find(|file| file.id == id);
        match file.and_then(|file| file.opening) {
            Some(place) => self.openings.get(place),
            None => self.openings.first().filter(|_| self.openings.len() == 1),
        }
    }

    /// What lay between a file's records; of one that is forgotten, nobody knows.
    pub fn passed_of(&self, id: &str) -> Passed {
        let file = self.files.iter().find(|file| file.id == id);
        file.map_or_else(Passed::forgotten, |file| file.passed.clone())
    }

    /// A new file, with its own id or the next one.
    pub fn meet(&mut self, source: &str, id: Option<&str>, path: PathBuf, inode: u64) -> usize {
        let id = id.map(str::to_owned).unwrap_or_else(|| {
            self.next_file += 1;
            format!("{source}-{:06}", self.next_file)
        });
        self.files.push(FileState {
            id,
            path,
            inode,
            head: Anchor::default(),
            tail: Anchor::default(),
            position: 0,
            seen: 0,
            known: 0,
            passed: Passed::default(),
            moved: false,
            packed: false,
            done: false,
            opening: None,
            copy_of: None,
            lost: None,
            gone: None,
        });
        self.files.len() - 1
    }

    /// Forgets files that are long gone, so that what is remembered stays small. Only before files are told by index.
    pub fn forget(&mut self, now: i64) {
        let gone = |file: &FileState| file.gone.is_some();
        let mut surplus = self.files.iter().filter(|file| gone(file)).count().saturating_sub(MOST_GONE);
        self.files.retain(|file| {
            let Some(since) = file.gone else { return true };
            let old = since < now - FORGOTTEN || surplus > 0;
            surplus = surplus.saturating_sub(usize::from(old));
            !old
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_gone_is_forgotten_and_what_lies_there_never() {
        let mut state = SourceState::default();
        for n in 0..MOST_GONE as i64 + 20 {
            let file = state.meet("s", None, format!("{n}").into(), 0);
            state.files[file].gone = (n % 10 != 0 || n >= 20).then_some(FORGOTTEN + n);
        }
        state.files[1].gone = Some(-1);
        state.forget(FORGOTTEN);
        assert_eq!(state.files.iter().filter(|file| file.gone.is_some()).count(), MOST_GONE);
        assert_eq!(state.files[0].path, PathBuf::from("0"));
        assert!(state.files.iter().all(|file| file.path.as_os_str() != "1"));
        let next = state.meet("s", None, "new".into(), 0);
        assert_eq!(state.files[next].id, format!("s-{:06}", MOST_GONE + 21), "no id is given twice");
    }
}
