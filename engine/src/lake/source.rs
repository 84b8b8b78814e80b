//! What the Delta log keeps of each source: its number, how far it has been read, what was counted.
//!
//! It lies in `domainMetadata` of `access_events`, which checkpoints keep and log clean-up does not touch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::{LakeFile, Progress};

/// The domain with the number of every source.
pub(super) const ORDINALS: &str = "insyn.sources";
const DOMAIN: &str = "insyn.source.";

/// The number of every source, by name. Numbers begin at 1 and are never used again.
pub(super) type Ordinals = BTreeMap<String, i64>;

/// What `insyn.source.<name>` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceState {
    pub ordinal: i64,
    /// The last batch that counts.
    pub sequence: i64,
    /// The reader's own position.
    pub state: String,
    pub events: u64,
    pub quarantined: u64,
    pub gaps: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<i64>,
    pub committed_at: i64,
    /// Who committed it, for the message when two meet.
    pub writer: String,
    /// The files of `quarantine` and `gaps` that belong to the last batch, relative to the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_files: Vec<String>,
}

impl SourceState {
    pub(super) fn progress(&self) -> Progress {
        Progress {
            sequence: self.sequence,
            state: Some(self.state.clone()),
            events: self.events,
            quarantined: self.quarantined,
            gaps: self.gaps,
            last_event: self.last_event,
            committed_at: Some(self.committed_at),
        }
    }
}

pub(super) fn domain(source: &str) -> String {
    format!("{DOMAIN}{source}")
}

/// The source whose domain this is.
pub(super) fn source_of(domain: &str) -> Option<&str> {
    domain.strip_prefix(DOMAIN)
}

/// The application id of a source's transactions.
pub(super) fn app_id(source: &str) -> String {
    format!("insyn:{source}")
}

/// Whether the rows of a file of `quarantine` or `gaps` count.
///
/// Those tables are written before `access_events`, which alone decides. A file of a later batch than the source's
/// last does not count (yet). Of the last batch only the files count that its commit names: another attempt at the
/// same batch, cut short by a crash, may have left more. Of earlier batches all count, because every commit first
/// removes what the batch before it left uncounted ([`is_dead`]).
pub(super) fn counts(file: &LakeFile, sources: &BTreeMap<String, SourceState>) -> bool {
    let (Some(source), Some(sequence)) = (&file.source, file.sequence) else { return true };
    sources.get(source).is_some_and(|state| {
        sequence < state.sequence || sequence == state.sequence && state.side_files.contains(&file.path)
    })
}

/// Whether a file of `quarantine` or `gaps` can never count any more: an attempt that another one replaced.
pub(super) fn is_dead(file: &LakeFile, source: &str, state: Option<&SourceState>) -> bool {
    let (Some(of), Some(sequence), Some(state)) = (file.source.as_deref(), file.sequence, state) else {
        return false;
    };
    of == source && sequence == state.sequence && !state.side_files.contains(&file.path)
}
