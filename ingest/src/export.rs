//! Exports: files that each state a whole period, often made by hand, overlapping and in any order.
//!
//! What two of them state of the same time counts once per occurrence in the fuller one: of the same row, as many are
//! kept as the export has that states most. Rows that a later export lacks although it states what was before and after
//! them are noticed. Two rows are the same when all that the record says is; where it lay and how it was written is not
//! asked.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use insyn_engine::error::EngineError;
use insyn_engine::event::{AccessEvent, Cell};
use insyn_engine::kept;
use insyn_engine::lake::{ExportDay, Lacking};
use insyn_engine::session::Session;
use sha2::{Digest, Sha256};

use crate::admit::event_id;
use crate::batch::Batch;
use crate::pass::{Census, Setting};
use crate::state::FileState;

/// Of rows that an export lacks so many are named; all are counted.
const NAMED: usize = 100_000;

/// Columns that tell where a row lay, when it was read and by which settings, not what it says.
const NOT_SAID: [&str; 13] = [
    "source",
    "organisation_id",
    "controller_id",
    "received_from",
    "year",
    "occurred_at_raw",
    "record",
    "file_id",
    "file_offset",
    "file_length",
    "segment",
    "seq",
    "ingested_at",
];

/// What a row says, in few bytes: the first half of SHA-256.
type Print = [u8; 16];

/// What an export states, before anybody else is asked.
pub struct Profile {
    file_id: String,
    counts: HashMap<Print, u32>,
    /// µs UTC.
    first: i64,
    last: i64,
}

/// An export that is read beside what others state.
pub struct Export {
    file_id: String,
    /// How many more of a row are known from others.
    known: HashMap<Print, u32>,
    days: BTreeMap<String, ExportDay>,
    lacking: Vec<Lacking>,
    zone: Tz,
}

impl Profile {
    pub fn of(file: &FileState) -> Profile {
        Profile { file_id: file.id.clone(), counts: HashMap::new(), first: i64::MAX, last: i64::MIN }
    }

    /// Looks what of it others state, and what others state that it lacks.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn beside(mut self, session: &Session, setting: &Setting) -> Result<Export, EngineError> {
        let source = &setting.source.name;
        let mut export = Export {
            file_id: self.file_id.clone(),
            known: HashMap::new(),
            days: BTreeMap::new(),
            lacking: Vec::new(),
            zone: setting.organisation.timezone,
        };
        let (first, last) = (self.first, self.last);
        let noticed_at = Utc::now().timestamp_micros();
        let file = self.file_id.clone();
        let each = |row: AccessEvent| {
            let print = print_of(&row);
            // The first and the last instant may be stated in part.
            if self.meets(print) {
                *export.known.entry(print).or_default() += 1;
            } else if first < row.occurred_at && row.occurred_at < last {
                export.lacks(row, noticed_at);
            }
        };
        kept::rows_beside(session, source, &file, (first, last), each).await?;
        kept::quarantined_beside(session, source, &file, |bytes| {
            let print = print_of_bytes(bytes);
            if self.meets(print) {
                *export.known.entry(print).or_default() += 1;
            }
        })
        .await?;
        Ok(export)
    }

    /// Whether one more of what it states has not been met.
    fn meets(&mut self, print: Print) -> bool {
        match self.counts.get_mut(&print) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl Census for Profile {
    fn row(&mut self, row: &AccessEvent) -> bool {
        *self.counts.entry(print_of(row)).or_default() += 1;
        (self.first, self.last) = (self.first.min(row.occurred_at), self.last.max(row.occurred_at));
        false
    }

    fn piece(&mut self, bytes: &[u8]) -> bool {
        *self.counts.entry(print_of_bytes(bytes)).or_default() += 1;
        false
    }
}

impl Census for Export {
    fn row(&mut self, row: &AccessEvent) -> bool {
        let new = self.is_new(print_of(row));
        let day = self.day(row.occurred_at);
        day.rows += 1;
        day.stored += i64::from(new);
        new
    }

    fn piece(&mut self, bytes: &[u8]) -> bool {
        self.is_new(print_of_bytes(bytes))
    }
}

impl Export {
    /// Whether it is this file.
    pub fn is_of(&self, file: &FileState) -> bool {
        self.file_id == file.id
    }

    /// It is read to its end: what it states of each day goes with its last rows.
    pub fn end(self, setting: &Setting, file: &FileState, batch: &mut Batch) {
        let read_at = Utc::now().timestamp_micros();
        batch.exports.extend(self.days.into_iter().map(|(day, stated)| ExportDay {
            source: setting.source.name.clone(),
            file_id: file.id.clone(),
            path: file.path.display().to_string(),
            day,
            read_at,
            ..stated
        }));
        batch.lacking.extend(self.lacking);
    }

    fn is_new(&mut self, print: Print) -> bool {
        match self.known.get_mut(&print) {
            Some(left @ 1..) => {
                *left -= 1;
                false
            }
            _ => true,
        }
    }

    fn lacks(&mut self, row: AccessEvent, noticed_at: i64) {
        self.day(row.occurred_at).lacking += 1;
        if self.lacking.len() < NAMED {
            self.lacking.push(Lacking {
                source: row.source,
                file_id: row.file_id,
                export_file_id: self.file_id.clone(),
                file_offset: row.file_offset,
                occurred_at: row.occurred_at,
                noticed_at,
            });
        }
    }

    fn day(&mut self, at: i64) -> &mut ExportDay {
        let time = DateTime::from_timestamp_micros(at).unwrap_or_default();
        let day = time.with_timezone(&self.zone).format("%Y-%m-%d").to_string();
        let day = self.days.entry(day).or_insert_with(|| ExportDay {
            first_event: at,
            last_event: at,
            ..ExportDay::default()
        });
        (day.first_event, day.last_event) = (day.first_event.min(at), day.last_event.max(at));
        day
    }
}

/// What a row says. An id that Insyn made of its place says nothing.
fn print_of(row: &AccessEvent) -> Print {
    let own_id =
        !row.event_id.is_empty() && row.event_id != event_id(&row.file_id, row.file_offset.unsigned_abs());
    let mut hash = Sha256::new();
    for (name, cell) in row.cells() {
        if NOT_SAID.contains(&name) {
            continue;
        }
        match cell {
            Cell::Text(Some(text)) if name != "event_id" || own_id => {
                hash.update((text.len() as u64 + 1).to_le_bytes());
                hash.update(text);
            }
            Cell::Number(Some(number)) => {
                hash.update([1]);
                hash.update(number.to_le_bytes());
            }
            _ => hash.update([0; 8]),
        }
    }
    half(hash)
}

fn print_of_bytes(bytes: &[u8]) -> Print {
    let mut hash = Sha256::new();
    hash.update(b"quarantine");
    hash.update(bytes);
    half(hash)
}

fn half(hash: Sha256) -> Print {
    let mut print = Print::default();
    print.copy_from_slice(hash.finalize().get(..16).unwrap_or(&[0; 16]));
    print
}
