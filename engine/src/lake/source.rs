//! What the Delta log keeps of each source: its number, how far it has been read, what was counted.
//!
//! It lies in `domainMetadata` of `access_events`, which checkpoints keep and log clean-up does not touch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::log::TableState;
use super::types::{Amended, LakeFile, Progress};

/// The domain with the number of every source.
pub(super) const ORDINALS: &str = "insyn.sources";
const DOMAIN: &str = "insyn.source.";
const AGAIN: &str = "insyn.again.";
/// The segments of amended rows have a number of their own, so that reading goes on beside. No source is called so.
const AGAIN_ORDINAL: &str = ":again";

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

/// What `insyn.again.<name>` holds: what was amended of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AgainState {
    /// The number of the source's amended rows, as in their segments.
    pub ordinal: i64,
    /// Files of `quarantine` and `gaps` that the last one wrote, relative to the lake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Files that it replaced; they do not count, and go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Rows of `quarantine` that are explained or mended.
    pub quarantine_settled: u64,
    /// Likewise of `gaps`.
    pub gaps_settled: u64,
    /// Each amendment, the oldest first.
    pub history: Vec<Amended>,
}

impl AgainState {
    /// How many amendments there were.
    pub(super) fn number(&self) -> u64 {
        self.history.len() as u64
    }

    /// The last number of a batch of amended rows.
    pub(super) fn sequence(&self) -> i64 {
        self.history.last().map_or(0, |last| last.sequence)
    }
}

impl SourceState {
    pub(super) fn progress(&self, again: Option<&AgainState>) -> Progress {
        let settled = |of: fn(&AgainState) -> u64| again.map_or(0, of);
        Progress {
            sequence: self.sequence,
            state: Some(self.state.clone()),
            events: self.events,
            quarantined: self.quarantined,
            gaps: self.gaps,
            quarantine_open: self.quarantined.saturating_sub(settled(|again| again.quarantine_settled)),
            gaps_open: self.gaps.saturating_sub(settled(|again| again.gaps_settled)),
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

pub(super) fn again_domain(source: &str) -> String {
    format!("{AGAIN}{source}")
}

/// The source whose amendments these are.
pub(super) fn again_of(domain: &str) -> Option<&str> {
    domain.strip_prefix(AGAIN)
}

/// Under what name the number of a source's amended rows is kept.
pub(super) fn again_ordinal(source: &str) -> String {
    format!("{source}{AGAIN_ORDINAL}")
}

/// The source whose amended rows have their number under this name.
pub(super) fn again_name(name: &str) -> Option<&str> {
    name.strip_suffix(AGAIN_ORDINAL)
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
/// removes what the batch before it left uncounted ([`is_dead`]). With amendments it is the same: what the last one
/// replaced does not count, what it wrote does, and what a later one has begun to write does not. What was merged
/// counted before.
pub(super) fn counts(file: &LakeFile, events: &TableState) -> bool {
    let Some(source) = &file.source else { return true };
    let again = events.again.get(source);
    if again.is_some_and(|again| again.dropped.contains(&file.path)) {
        return false;
    }
    if let Some(number) = amendment_of(&file.path) {
        return again.is_some_and(|again| {
            number < again.number() || number == again.number() && again.files.contains(&file.path)
        });
    }
    let Some(sequence) = file.sequence.filter(|_| !is_merged(&file.path)) else { return true };
    events.sources.get(source).is_some_and(|state| {
        sequence < state.sequence || sequence == state.sequence && state.side_files.contains(&file.path)
    })
}

/// Whether a file of `quarantine` or `gaps` can never count any more: an attempt that another one replaced.
pub(super) fn is_dead(file: &LakeFile, source: &str, state: Option<&SourceState>) -> bool {
    let (Some(of), Some(sequence), Some(state)) = (file.source.as_deref(), file.sequence, state) else {
        return false;
    };
    let in_a_batch = amendment_of(&file.path).is_none() && !is_merged(&file.path);
    in_a_batch && of == source && sequence == state.sequence && !state.side_files.contains(&file.path)
}

/// What a file of an amendment is called, relative to its table.
pub(super) fn amendment_file(number: u64) -> String {
    format!("again-{number}-{}.parquet", uuid::Uuid::new_v4().simple())
}

/// The number of the amendment that wrote a file of `quarantine` or `gaps`, if one did.
pub(super) fn amendment_of(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?.strip_prefix("again-")?;
    name.split_once('-')?.0.parse().ok()
}

/// Whether the rows of a file of a side table count from now on, whatever comes: they are of a batch before the source's
/// last, or of an amendment before the last.
pub(super) fn is_settled(file: &LakeFile, events: &TableState) -> bool {
    let Some(source) = &file.source else { return false };
    let again = events.again.get(source);
    let is_before = match amendment_of(&file.path) {
        Some(number) => again.is_some_and(|again| number < again.number()),
        None if is_merged(&file.path) => true,
        None => events
            .sources
            .get(source)
            .is_some_and(|state| file.sequence.is_some_and(|sequence| sequence < state.sequence)),
    };
    is_before && counts(file, events)
}

/// Whether a file has rows of a batch that `events` does not count yet: it was merged of what counted later.
pub(super) fn is_ahead(file: &LakeFile, events: &TableState) -> bool {
    if !is_merged(&file.path) {
        return false;
    }
    let counted = file.source.as_ref().and_then(|source| events.sources.get(source));
    file.sequence > counted.map(|state| state.sequence)
}

/// How the name of a file of a side table begins that was made of others.
const MERGED: &str = "merged-";

/// What a file of a side table is called that is made of others, relative to its table.
pub(super) fn merged_file() -> String {
    format!("{MERGED}{}.parquet", uuid::Uuid::new_v4().simple())
}

/// Whether a file of a side table was made of others.
pub(super) fn is_merged(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(MERGED))
}
