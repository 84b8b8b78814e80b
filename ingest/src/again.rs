//! Kept records and quarantined bytes of a source, read anew with today's settings.
//!
//! What the lake has kept of a file is laid out again where it lay, with line ends between, and read as the file itself
//! would be: so records that were cut wrongly are cut anew as well. What was a record and is none any more goes to
//! quarantine; what was in quarantine and is a record becomes rows, and mended.

use std::collections::VecDeque;

use chrono::Utc;
use insyn_engine::kept::{Kept, Piece, Pieces};
use insyn_engine::lake::{Amendment, Changes, Quarantined, Settled, Window};
use insyn_engine::session::{Scope, Session};
use insyn_event::AccessEvent;
use insyn_formats::{Cut, Opening, Reader};
use serde::Serialize;

use crate::admit::{admit, event_id};
use crate::batch::is_enough;
use crate::error::IngestError;
use crate::once::Ingest;
use crate::pass::{LONGEST, Setting};
use crate::sender::Origin;
use crate::spool;
use crate::state::{FileOpening, SourceState};

/// What is missing between two pieces is taken to be line ends, up to so many bytes.
const BETWEEN: i64 = 64 << 10;
/// So much is laid out before it is cut.
const LAID_OUT: usize = 1 << 20;
/// When more than so many bytes of records can be read no longer, the settings are wrong: nothing is changed.
const MOST_REFUSED: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
const NO_RECORD: &str = "was a record, and is none with the settings of today";

/// What is to be read again, who asked for it, and why.
#[derive(Debug, Clone)]
pub struct Again {
    /// Which source.
    pub source: String,
    /// Of what period.
    pub window: Window,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Only tell what would come of it.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AgainReport {
    /// Which source.
    pub source: String,
    /// Records that were read again, and pieces in quarantine that were tried.
    pub read: u64,
    /// Rows of `access_events` that were replaced.
    pub replaced: u64,
    /// Rows that came instead.
    pub events: u64,
    /// Pieces in quarantine that could be read.
    pub mended: u64,
    /// Pieces in quarantine that still cannot.
    pub left: u64,
    /// Records that cannot be read any more, and went to quarantine.
    pub quarantined: u64,
}

impl Ingest {
    /// Reads what is kept of a source anew; the rows are replaced by one commit.
    ///
    /// # Errors
    /// When the source is not configured or nothing of it is stored, when a record has lost its bytes, when a file's
    /// header row is unknown or is not read by today's settings, or when the lake fails. Then nothing is changed.
    pub async fn again(&self, again: &Again) -> Result<AgainReport, IngestError> {
        let setting = self.setting(&again.source)?;
        let (amendment, snapshot) = match again.dry_run {
            true => (None, self.lake().snapshot().await?),
            false => {
                let amendment = self.lake().amend(&again.source).await?;
                let snapshot = amendment.snapshot().clone();
                (Some(amendment), snapshot)
            }
        };
        let state = self.lake().progress(&again.source).await?.state;
        let state = SourceState::parse(&again.source, state.as_deref())?;
        let zone = setting.organisation.timezone;
        let session = Session::over(self.lake(), snapshot, zone, Scope::All).await?;
        let mut pieces = Pieces::of(&session, &again.source, again.window).await?;
        let mut work = Work::new(&setting, &state, again.window, amendment);
        while let Some(piece) = pieces.next().await? {
            work.take(piece).await?;
        }
        work.end_file();
        work.not_too_much()?;
        work.put(true).await?;
        let Work { amendment, changes, report, .. } = work;
        if let Some(amendment) = amendment {
            let changes = Changes {
                replaces: Some(again.window),
                kind: "again",
                by: again.by.clone(),
                reason: again.reason.clone(),
                encoding: setting.source.format.encoding.clone(),
                ..changes
            };
            let done = amendment.commit(changes).await?;
            debug_assert_eq!((done.removed, done.added), (report.replaced, report.events));
        }
        Ok(report)
    }

    fn setting(&self, source: &str) -> Result<Setting, IngestError> {
        let config = self.sources().iter().find(|config| config.name == source && source != spool::SOURCE);
        let config = config.ok_or_else(|| IngestError::Unknown { name: source.to_owned() })?;
        Setting::of(config.clone(), self.organisation())
    }
}

/// One file laid out again.
struct File<'a> {
    id: String,
    reader: Reader,
    opening: Opening,
    origin: Option<Origin<'a>>,
    /// Where `bytes` lie.
    start: i64,
    bytes: Vec<u8>,
    /// What they were, in order.
    pieces: VecDeque<Old>,
    knot: Knot,
}

/// A piece as it was kept.
struct Old {
    offset: i64,
    bytes: Vec<u8>,
    ingested_at: i64,
    /// None in quarantine.
    event_id: Option<String>,
}

/// What today's settings make of some bytes.
struct New {
    offset: i64,
    bytes: Vec<u8>,
    /// Its rows, or why it has none.
    rows: Result<Vec<AccessEvent>, String>,
}

/// Old and new that share bytes, with all that shares bytes with them: they are decided on together.
#[derive(Default)]
struct Knot {
    old: Vec<Old>,
    new: Vec<New>,
    end: i64,
}

struct Work<'a> {
    setting: &'a Setting,
    state: &'a SourceState,
    window: Window,
    amendment: Option<Amendment>,
    file: Option<File<'a>>,
    events: Vec<AccessEvent>,
    bytes: u64,
    /// Bytes of records that go to quarantine.
    refused: usize,
    changes: Changes,
    report: AgainReport,
}

impl<'a> Work<'a> {
    fn new(
        setting: &'a Setting,
        state: &'a SourceState,
        window: Window,
        amendment: Option<Amendment>,
    ) -> Work<'a> {
        let report = AgainReport { source: setting.source.name.clone(), ..AgainReport::default() };
        Work {
            setting,
            state,
            window,
            amendment,
            file: None,
            events: Vec::new(),
            bytes: 0,
            refused: 0,
            changes: Changes::default(),
            report,
        }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), IngestError> {
        if self.file.as_ref().is_none_or(|file| file.id != piece.file_id) {
            self.end_file();
            self.file = Some(self.open(&piece)?);
        }
        self.report.read += 1;
        let Some(file) = &mut self.file else { return Ok(()) };
        let bytes = file.bytes_of(&self.setting.source.name, &piece)?;
        let between = piece.offset - file.end();
        let line_end = file.opening.line_end();
        let apart = file.opening.received
            || !(0..=BETWEEN).contains(&between)
            || between % line_end.len() as i64 != 0
            || file.bytes.len() > LONGEST;
        if apart {
            self.cut(true);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.bytes.is_empty() {
            file.start = piece.offset;
        } else {
            file.bytes.extend(line_end.iter().cycle().take(usize::try_from(between).unwrap_or(0)));
        }
        file.bytes.extend(&bytes);
        let event_id = match piece.kept {
            Kept::Record { event_id, rows, .. } => {
                self.report.replaced += rows;
                Some(event_id)
            }
            Kept::Quarantined { .. } => None,
        };
        file.pieces.push_back(Old { offset: piece.offset, bytes, ingested_at: piece.ingested_at, event_id });
        if file.bytes.len() > LAID_OUT {
            self.cut(false);
        }
        self.not_too_much()?;
        self.put(false).await
    }

    fn not_too_much(&self) -> Result<(), IngestError> {
        if self.refused <= MOST_REFUSED || self.amendment.is_none() {
            return Ok(());
        }
        let Some(first) = self.changes.quarantine.first() else { return Ok(()) };
        Err(IngestError::Again {
            name: self.report.source.clone(),
            why: format!(
                "more than {} MiB of its records would go to quarantine; the first: file {}, offset {}: {}",
                MOST_REFUSED >> 20,
                first.file_id,
                first.file_offset,
                first.reason
            ),
        })
    }

    /// A reader for the file that a piece is of.
    fn open(&self, piece: &Piece) -> Result<File<'a>, IngestError> {
        let name = &self.setting.source.name;
        let known = self.state.opening_of(&piece.file_id).cloned();
        let kept_from = match &piece.kept {
            Kept::Record { received_from, .. } => received_from.clone(),
            Kept::Quarantined { .. } => None,
        };
        let opening = known.unwrap_or_else(|| FileOpening::assumed(kept_from));
        let reader = self.setting.format.resume(&opening.format).map_err(|fault| IngestError::Again {
            name: name.clone(),
            why: format!("file {}: {fault}", piece.file_id),
        })?;
        let origin = opening.received_from.as_deref().map(|from| self.setting.source.origin(from));
        Ok(File {
            id: piece.file_id.clone(),
            reader,
            opening: opening.format,
            origin,
            start: piece.offset,
            bytes: Vec::new(),
            pieces: VecDeque::new(),
            knot: Knot::default(),
        })
    }

    fn end_file(&mut self) {
        self.cut(true);
        let Some(mut file) = self.file.take() else { return };
        while let Some(old) = file.pieces.pop_front() {
            self.reach(&mut file, old.offset, old.offset + old.bytes.len() as i64);
            file.knot.old.push(old);
        }
        self.decide(&mut file);
    }

    /// Cuts what is laid out into records, as far as it goes.
    fn cut(&mut self, at_end: bool) {
        let Some(mut file) = self.file.take() else { return };
        let mut laid_out = std::mem::take(&mut file.bytes);
        let mut used = 0;
        while let Some(rest) = laid_out.get(used..).filter(|rest| !rest.is_empty()) {
            let at = file.start + used as i64;
            let cut = match file.opening.received {
                true => Cut::Record { skip: 0, len: rest.len() },
                false => file.reader.cut(rest, at.unsigned_abs(), at_end),
            };
            let (skip, len, fault) = match cut {
                Cut::More => break,
                Cut::Skip { len } => (len, 0, None),
                Cut::Bad { len, fault } => (0, len, Some(fault.to_string())),
                Cut::Refused { skip, len, reason } => (skip, len, Some(reason)),
                Cut::Record { skip, len } => (skip, len, None),
            };
            let at = at + skip as i64;
            if let Some(record) = rest.get(skip..skip + len).filter(|record| !record.is_empty()) {
                let rows = match fault {
                    Some(fault) => Err(fault),
                    None => file.admit(record),
                };
                self.tie(&mut file, New { offset: at, bytes: record.to_vec(), rows });
            }
            used += skip + len;
        }
        file.bytes = laid_out.split_off(used.min(laid_out.len()));
        file.start += used as i64;
        self.file = Some(file);
    }

    /// Puts a new record, and the pieces up to its end, where they belong.
    fn tie(&mut self, file: &mut File<'_>, new: New) {
        let (start, end) = (new.offset, new.offset + new.bytes.len() as i64);
        let mut new = Some(new);
        while let Some(old) = file.pieces.pop_front_if(|old| old.offset < end) {
            if old.offset > start
                && let Some(new) = new.take()
            {
                self.reach(file, start, end);
                file.knot.new.push(new);
            }
            self.reach(file, old.offset, old.offset + old.bytes.len() as i64);
            file.knot.old.push(old);
        }
        if let Some(new) = new {
            self.reach(file, start, end);
            file.knot.new.push(new);
        }
    }

    /// What lies behind all that was tied so far has nothing to do with it.
    fn reach(&mut self, file: &mut File<'_>, start: i64, end: i64) {
        if start >= file.knot.end {
            self.decide(file);
        }
        file.knot.end = file.knot.end.max(end);
    }

    /// Replaces the old by the new, or leaves all as it is.
    fn decide(&mut self, file: &mut File<'_>) {
        let Knot { old, new, .. } = std::mem::take(&mut file.knot);
        let rows = || new.iter().filter_map(|new| new.rows.as_ref().ok()).flatten();
        let was_read = old.iter().any(|old| old.event_id.is_some());
        let can_be_read = rows().next().is_some() && rows().all(|row| self.window.holds(row.occurred_at));
        if !was_read && !can_be_read {
            self.report.left += old.len() as u64;
            return;
        }
        for piece in old.iter().filter(|piece| piece.event_id.is_none()) {
            self.report.mended += 1;
            self.changes.quarantine_states.insert((file.id.clone(), piece.offset), Settled::Mended);
        }
        if new.is_empty() {
            // It is passed over now, as a heading is. What was a record must not disappear.
            old.into_iter().for_each(|old| self.refuse(&file.id, old.offset, old.bytes, NO_RECORD));
            return;
        }
        for New { offset, bytes, rows } in new {
            match rows {
                Ok(rows) => self.accept(file, (offset, bytes.len()), rows, &old),
                Err(fault) => self.refuse(&file.id, offset, bytes, &fault),
            }
        }
    }

    fn accept(
        &mut self,
        file: &File<'_>,
        (offset, length): (i64, usize),
        rows: Vec<AccessEvent>,
        old: &[Old],
    ) {
        let same = old.iter().find(|old| old.offset == offset);
        let kept_id = same.and_then(|old| old.event_id.as_ref());
        let of = same.or_else(|| old.iter().rev().find(|old| old.offset < offset)).or(old.first());
        let ingested_at = of.map_or_else(|| Utc::now().timestamp_micros(), |old| old.ingested_at);
        for mut row in rows {
            if let Some(kept) = kept_id {
                row.event_id.clone_from(kept);
            } else if row.event_id.is_empty() {
                row.event_id = event_id(&file.id, offset.unsigned_abs());
            }
            let place = (file.id.as_str(), offset, length as i64);
            self.setting.stamp(&mut row, place, file.origin.as_ref(), ingested_at);
            self.report.events += 1;
            self.events.push(row);
        }
        self.bytes += length as u64;
    }

    fn refuse(&mut self, file: &str, offset: i64, bytes: Vec<u8>, reason: &str) {
        self.report.quarantined += 1;
        self.refused += bytes.len();
        if self.amendment.is_none() {
            // Only counted.
            return;
        }
        self.changes.quarantine.push(Quarantined {
            source: self.setting.source.name.clone(),
            file_id: file.to_owned(),
            file_offset: offset,
            bytes,
            reason: reason.to_owned(),
            ingested_at: Utc::now().timestamp_micros(),
        });
    }

    /// Hands rows on when they are many, or whenever there are any.
    async fn put(&mut self, any: bool) -> Result<(), IngestError> {
        if is_enough(self.bytes, self.events.len()) || any && !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            self.bytes = 0;
            if let Some(amendment) = &mut self.amendment {
                amendment.put(events).await?;
            }
        }
        Ok(())
    }
}

impl File<'_> {
    fn admit(&self, record: &[u8]) -> Result<Vec<AccessEvent>, String> {
        let sender = self.origin.as_ref().and_then(|origin| origin.sender);
        admit(&self.reader, sender, record, Utc::now().timestamp_micros()).map_err(|fault| fault.to_string())
    }

    fn end(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }

    /// The bytes that a piece had when it was read first.
    fn bytes_of(&self, source: &str, piece: &Piece) -> Result<Vec<u8>, IngestError> {
        let (record, length, amended) = match &piece.kept {
            Kept::Quarantined { bytes } => return Ok(bytes.clone()),
            Kept::Record { record, length, amended, .. } => (record, *length, amended),
        };
        let opening = match amended {
            Some(amended) => &self.opening.under(amended.encoding.as_deref()),
            None => &self.opening,
        };
        let bytes = record.as_deref().and_then(|record| opening.bytes_of(record));
        bytes.filter(|bytes| bytes.len() as i64 == length).ok_or_else(|| IngestError::Again {
            name: source.to_owned(),
            why: format!(
                "file {}, offset {}: the record that is kept does not give the {length} bytes that it had as {}",
                piece.file_id, piece.offset, opening.encoding
            ),
        })
    }
}
