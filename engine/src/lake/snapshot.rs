//! Pinned versions of the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::log::TableState;
use super::segment::batch_of;
use super::source::{AgainState, SourceState, counts};
use super::types::{Amended, LakeFile, Progress, Table};
use super::users::Reached;

/// The lake as of one version of `access_events`, with the rows of the side tables that count at that
/// version. It never changes; cloning it costs nothing.
#[derive(Debug, Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    versions: Vec<u64>,
    files: Vec<Arc<Vec<Arc<LakeFile>>>>,
    sources: Arc<BTreeMap<String, SourceState>>,
    again: Arc<BTreeMap<String, AgainState>>,
    /// `access_events` as of its version.
    events: Arc<TableState>,
    /// Which rows `user_accesses` has; none where it has none of this lake, or later ones.
    reached: Option<Arc<Reached>>,
    /// Shared by all that are pinned in this process.
    _pin: Arc<()>,
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
        let again = &self.inner.again;
        self.inner.sources.iter().map(|(name, state)| (name.as_str(), state.progress(again.get(name))))
    }

    /// What was amended of each source, by name and then the oldest first.
    pub fn amendments(&self) -> impl Iterator<Item = (&str, &Amended)> {
        let again = self.inner.again.iter();
        again.flat_map(|(name, again)| again.history.iter().map(move |one| (name.as_str(), one)))
    }

    /// The amendment that put the rows of a segment, if one did.
    pub fn amendment_of(&self, source: &str, segment: i64) -> Option<&Amended> {
        let again = self.inner.again.get(source)?;
        let (ordinal, sequence) = batch_of(segment);
        let of = |one: &&Amended| ordinal == again.ordinal && sequence <= one.sequence;
        again.history.iter().find(of)
    }

    /// `access_events` as of its version.
    pub(super) fn events(&self) -> &TableState {
        &self.inner.events
    }

    /// Which rows of `access_events` are in `user_accesses`.
    pub(super) fn reached(&self) -> Option<&Arc<Reached>> {
        self.inner.reached.as_ref()
    }

    /// `events` must have been read before the sides: then what it counts is in them; and after `users`, which then has
    /// nothing that is not in it.
    pub(super) fn new(
        events: &Arc<TableState>,
        sides: &[Arc<TableState>],
        users: &Arc<TableState>,
        pin: &Arc<()>,
    ) -> Snapshot {
        let counted = |state: &Arc<TableState>| match state.files.iter().all(|file| counts(file, events)) {
            true => Arc::clone(&state.files),
            false => Arc::new(state.files.iter().filter(|f| counts(f, events)).cloned().collect()),
        };
        Snapshot {
            inner: Arc::new(Inner {
                versions: std::iter::once(events)
                    .chain(sides)
                    .chain([users])
                    .map(|state| state.version)
                    .collect(),
                files: std::iter::once(Arc::clone(&events.files))
                    .chain(sides.iter().map(counted))
                    .chain([Arc::clone(&users.files)])
                    .collect(),
                reached: users.reached.clone().filter(|reached| reached.is_of(events)),
                sources: Arc::clone(&events.sources),
                again: Arc::clone(&events.again),
                events: Arc::clone(events),
                _pin: Arc::clone(pin),
            }),
        }
    }
}
