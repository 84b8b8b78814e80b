//! `user_accesses`: what each user opened, in order of users.
//!
//! `access_events` lies in order of subjects, so a user's rows are spread over everything. Here is a few columns of
//! each row once more, a Delta table of its own in files that lie in runs, as those of `access_events` do. It is made of
//! `access_events` and of nothing else: without it every answer is the same, and slower.
//!
//! With its files goes which rows it has ([`Reached`]): a version of `access_events`, and the last batch of each source
//! by then. A row that came later has a greater number of a batch in its segment, in whatever file it lies. What became
//! of the files since is read from the log ([`Since`]): files that were merged hold the same rows; a year of which rows
//! went is read from `access_events` until it has been made anew.

mod follow;
mod mark;
mod since;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::log::TableState;
use super::segment::{BATCHES, segments_from};
use super::snapshot::Snapshot;
use super::source::{AgainState, again_name};
use super::types::{LakeFile, Table};
use super::{Inner, Lake};
pub(super) use follow::is_due;
pub use mark::{Later, Mark, Told};
pub(super) use since::Known;
use since::Since;

/// The domain that says which rows of `access_events` are in `user_accesses`.
pub(super) const REACH: &str = "insyn.reach";
/// Commits that a question looks through for what came since; behind more, it asks `access_events` alone.
const MOST_BEHIND: u64 = 4096;

/// What `insyn.reach` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// The id of the table whose rows these are.
    table: String,
    /// Its version.
    version: u64,
    /// A sum over that version's entry in the log: another history is not taken for this one.
    entry: u64,
    /// The last batch by the number of its source.
    batches: BTreeMap<i64, i64>,
}

impl Reached {
    /// Whether it tells of this table, and of nothing that this state does not have.
    pub(super) fn is_of(&self, events: &TableState) -> bool {
        self.table == events.id() && self.version <= events.version
    }

    /// All rows of a state.
    fn all(events: &TableState, entry: u64) -> Reached {
        let last = |name: &str| match again_name(name) {
            Some(source) => events.again.get(source).map_or(0, AgainState::sequence),
            None => events.sources.get(name).map_or(0, |state| state.sequence),
        };
        let batches = events.ordinals.iter().map(|(name, ordinal)| (*ordinal, last(name)));
        Reached { table: events.id().to_owned(), version: events.version, entry, batches: batches.collect() }
    }

    /// Segments, from the first to the last, that are beyond: all rows in them came later.
    fn beyond(&self) -> Vec<(i64, i64)> {
        let most = self.batches.keys().max().copied().unwrap_or_default();
        let known = (1..=most).filter_map(|ordinal| {
            let last = self.batches.get(&ordinal).copied().unwrap_or_default();
            (last + 1 < BATCHES)
                .then(|| (segments_from(ordinal, last + 1), segments_from(ordinal + 1, 0) - 1))
        });
        known.chain([(segments_from(most + 1, 0), i64::MAX)]).collect()
    }
}

/// How the rows of a snapshot are read in order of users, each once.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// The version of `access_events` that `user_accesses` reaches; none where it is of no use here.
    pub version: Option<u64>,
    /// Files of `user_accesses` whose rows count.
    pub followed: Vec<Arc<LakeFile>>,
    /// Files of `access_events` that may hold rows which came later: of them, the rows in segments of `beyond`.
    pub later: Vec<Arc<LakeFile>>,
    /// Segments from the first to the last.
    pub beyond: Vec<(i64, i64)>,
    /// Files of `access_events` of which every row is read.
    pub whole: Vec<Arc<LakeFile>>,
}

impl Reach {
    /// Everything is read from `access_events`.
    pub fn nothing(snapshot: &Snapshot) -> Reach {
        Reach { whole: snapshot.files(Table::AccessEvents).to_vec(), ..Reach::default() }
    }

    fn of(reached: &Reached, since: &Since, events: &[Arc<LakeFile>], users: &[Arc<LakeFile>]) -> Reach {
        let (whole, rest): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|file| since.is_broken(file.year.as_deref()));
        Reach {
            version: Some(reached.version),
            followed: users.iter().filter(|file| !since.is_broken(file.year.as_deref())).cloned().collect(),
            later: rest.into_iter().filter(|file| since.is_later(&file.path)).collect(),
            beyond: reached.beyond(),
            whole,
        }
    }
}

impl Lake {
    /// How the rows of a snapshot are read in order of users. What cannot be known of `user_accesses` is no fault: then
    /// `access_events` is read.
    pub async fn reach(&self, snapshot: &Snapshot) -> Reach {
        let Some(reached) = snapshot.reached() else { return Reach::nothing(snapshot) };
        match self.inner.since(reached, snapshot.version(), MOST_BEHIND).await {
            Ok(Some(since)) => {
                let (events, users) =
                    (snapshot.files(Table::AccessEvents), snapshot.files(Table::UserAccesses));
                Reach::of(reached, &since, events, users)
            }
            Ok(None) => Reach::nothing(snapshot),
            Err(error) => {
                tracing::warn!(%error, "what came since user_accesses was written is not known: it is not used");
                Reach::nothing(snapshot)
            }
        }
    }
}

impl Inner {
    /// The newest state of `user_accesses`; an empty one where its folder cannot be read.
    pub(super) async fn users(&self) -> Arc<TableState> {
        match self.tables.of(Table::UserAccesses).current().await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "user_accesses cannot be read: access_events is asked");
                Arc::default()
            }
        }
    }
}

/// Two hashes of 32 bits: of the event that a row is of, by the source's id, and of the record that it is from. Rows of
/// a source with the same first half and another second one may be of one event that two records tell of.
pub(crate) fn trail(event_id: &str, file_id: &str, offset: i64) -> i64 {
    let event = half(event_id.bytes());
    let record = half(file_id.bytes().chain(offset.to_le_bytes()));
    (u64::from(event) << 32 | u64::from(record)) as i64
}

/// FNV-1a, and SplitMix64's last steps.
fn half(bytes: impl Iterator<Item = u8>) -> u32 {
    (sum(bytes) >> 32) as u32
}

fn sum(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
