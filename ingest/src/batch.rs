//! What is read at once and becomes one commit.

use insyn_engine::lake::{ExportDay, Gap, Lacking, Quarantined, SourceCommit};
use insyn_event::AccessEvent;

/// A batch is closed when its records pass this.
const MOST_BYTES: u64 = 8 << 20;
/// Or when it has so many rows.
const MOST_ROWS: usize = 24_000;

/// Rows of one source, from one file or several.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<AccessEvent>,
    pub quarantine: Vec<Quarantined>,
    pub gaps: Vec<Gap>,
    pub exports: Vec<ExportDay>,
    pub lacking: Vec<Lacking>,
    /// Decompressed bytes that were read for it.
    pub bytes: u64,
}

impl Batch {
    /// Whether it is time to commit.
    pub fn is_full(&self) -> bool {
        is_enough(self.bytes, self.rows())
    }

    /// How many rows, of all kinds.
    pub fn rows(&self) -> usize {
        self.events.len() + self.quarantine.len() + self.gaps.len()
    }

    /// Adds another one's rows.
    pub fn append(&mut self, mut other: Batch) {
        self.events.append(&mut other.events);
        self.quarantine.append(&mut other.quarantine);
        self.gaps.append(&mut other.gaps);
        self.exports.append(&mut other.exports);
        self.lacking.append(&mut other.lacking);
        self.bytes += other.bytes;
    }

    /// As the lake takes it.
    pub fn commit(self, source: &str, sequence: i64, state: String) -> SourceCommit {
        let Batch { events, quarantine, gaps, exports, lacking, .. } = self;
        SourceCommit {
            source: source.to_owned(),
            sequence,
            events,
            quarantine,
            gaps,
            exports,
            lacking,
            state,
        }
    }
}

/// Whether so much is enough for one commit.
pub fn is_enough(bytes: u64, rows: usize) -> bool {
    bytes >= MOST_BYTES || rows >= MOST_ROWS
}
