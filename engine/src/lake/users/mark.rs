//! How far somebody has read `access_events`, and what came after that: whoever judges only what is new keeps a mark.
//!
//! Which rows came later is known as it is for `user_accesses`: by the numbers of their batches. In which files they lie is
//! read from the log. Its entries stay for a day in any case; where some are gone, every file is looked through for them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::error::LakeError;
use super::since::Since;
use super::{Inner, Lake, LakeFile, Reached, Snapshot, Table};

/// Commits that are looked through for what came since; behind more, segments tell.
const MOST_BEHIND: u64 = 100_000;

/// How far somebody has read `access_events`. It is kept as JSON, which nobody else needs to understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(Reached);

/// What told which rows are later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The commits since.
    Log,
    /// The numbers of segments in all files: some of the commits are no longer in the log.
    Segments,
    /// Nothing: the mark is of another lake, or of a history that is not this one's. Every row counts as later.
    Nothing,
}

/// Rows that came after a mark.
#[derive(Debug, Clone)]
pub struct Later {
    /// The files of `access_events` that may hold such rows.
    pub files: Vec<Arc<LakeFile>>,
    /// In them, the rows whose segment is from the first to the last of one of these.
    pub segments: Vec<(i64, i64)>,
    /// How that is known.
    pub told: Told,
}

impl Mark {
    /// The version of `access_events`.
    pub fn version(&self) -> u64 {
        self.0.version
    }
}

impl Later {
    /// Everything that a snapshot has.
    pub fn everything(snapshot: &Snapshot) -> Later {
        Later {
            files: snapshot.files(Table::AccessEvents).to_vec(),
            segments: vec![(i64::MIN, i64::MAX)],
            told: Told::Nothing,
        }
    }
}

impl Lake {
    /// A mark after everything that a snapshot has.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn mark(&self, snapshot: &Snapshot) -> Result<Mark, LakeError> {
        let events = snapshot.events();
        let entry = self.inner.entry(events.version).await?.unwrap_or_default();
        Ok(Mark(Reached::all(events, entry)))
    }

    /// What of a snapshot came after a mark.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn later(&self, snapshot: &Snapshot, mark: &Mark) -> Result<Later, LakeError> {
        let Mark(reached) = mark;
        if !reached.is_of(snapshot.events()) {
            return Ok(Later::everything(snapshot));
        }
        let entry = self.inner.entry(reached.version).await?;
        if entry.is_some_and(|entry| entry != reached.entry) {
            return Ok(Later::everything(snapshot));
        }
        let segments = reached.beyond();
        let all = snapshot.files(Table::AccessEvents);
        Ok(match self.inner.since_mark(reached, snapshot.version()).await? {
            Some(since) => Later {
                files: all.iter().filter(|file| since.is_later(&file.path)).cloned().collect(),
                segments,
                told: Told::Log,
            },
            None => Later { files: all.to_vec(), segments, told: Told::Segments },
        })
    }
}

impl Inner {
    async fn since_mark(&self, reached: &Reached, version: u64) -> Result<Option<Since>, LakeError> {
        if version - reached.version > MOST_BEHIND {
            return Ok(None);
        }
        let mut since = Since::from(reached.version);
        Ok(self.walk(&mut since, version).await?.then_some(since))
    }
}
