//! Pinned versions of the three tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::log::TableState;
use super::source::{SourceState, counts};
use super::types::{LakeFile, Progress, Table};

/// The lake as of one version of `access_events`, with the rows of `quarantine` and `gaps` that count at that
/// version. It never changes; cloning it costs nothing.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    versions: [u64; 3],
    files: [Arc<Vec<Arc<LakeFile>>>; 3],
    sources: Arc<BTreeMap<String, SourceState>>,
}

impl Snapshot {
    /// The Delta version of `access_events`.
    pub fn version(&self) -> u64 {
        self.version_of(Table::AccessEvents)
    }

    /// The Delta version of `table`.
    pub fn version_of(&self, table: Table) -> u64 {
        self.inner.versions[table as usize]
    }

    /// The live files of `table`, oldest first: all whose rows count, and no others.
    pub fn files(&self, table: Table) -> &[Arc<LakeFile>] {
        &self.inner.files[table as usize]
    }

    /// The number of the last batch of `source` that counts; 0 before the first.
    pub fn counted(&self, source: &str) -> i64 {
        self.inner.sources.get(source).map_or(0, |state| state.sequence)
    }

    /// How far each source had been read, by name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.inner.sources.iter().map(|(name, state)| (name.as_str(), state.progress()))
    }

    /// `events` must have been read before the others: then what it counts is in them.
    pub(super) fn new(events: &TableState, quarantine: &TableState, gaps: &TableState) -> Snapshot {
        let counted = |state: &TableState| match state.files.iter().all(|file| counts(file, &events.sources))
        {
            true => Arc::clone(&state.files),
            false => Arc::new(state.files.iter().filter(|f| counts(f, &events.sources)).cloned().collect()),
        };
        Snapshot {
            inner: Arc::new(Inner {
                versions: [events.version, quarantine.version, gaps.version],
                files: [Arc::clone(&events.files), counted(quarantine), counted(gaps)],
                sources: Arc::clone(&events.sources),
            }),
        }
    }
}
