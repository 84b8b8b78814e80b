//! Kept records and quarantined bytes of a source, read anew with today's settings.
//!
//! What the lake has kept of a file is laid out again where it lay, with what lay between, and read as the file itself
//! would be: so records that were cut wrongly are cut anew as well. What was a record and is none any more goes to
//! quarantine; what was in quarantine and is a record becomes rows, and mended.

use chrono::Utc;
use insyn_engine::kept::{Kept, Piece, Pieces};
use insyn_engine::lake::{Amendment, Changes, Quarantined, RETAINED, Settled, Window};
use insyn_engine::session::{Scope, Session};
use insyn_event::AccessEvent;
use serde::Serialize;

use crate::admit::event_id;
use crate::batch::is_enough;
use crate::error::IngestError;
use crate::laid_out::{File, Knot, New, Old};
use crate::once::Ingest;
use crate::pass::Setting;
use crate::spool;
use crate::state::SourceState;

/// When more than so many bytes of records can be read no longer, the settings are wrong: nothing is changed.
const MOST_REFUSED: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
const NO_RECORD: &str = "was a record or of one, and is not with the settings of today";

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
        // What was removed lay between records that are kept: nothing is made up of that.
        let mut amendments = session.snapshot().amendments();
        work.in_part |= amendments.any(|(name, one)| name == again.source && one.kind == RETAINED);
        while let Some(piece) = pieces.next().await? {
            work.take(piece).await?;
        }
        work.end_file();
        work.check()?;
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

struct Work<'a> {
    setting: &'a Setting,
    state: &'a SourceState,
    window: Window,
    /// Not all of its records are laid out.
    in_part: bool,
    amendment: Option<Amendment>,
    file: Option<File<'a>>,
    events: Vec<AccessEvent>,
    bytes: u64,
    /// Bytes of records that go to quarantine.
    refused: usize,
    /// A record that holds bytes that nobody knows: file and place.
    guessed: Option<(String, i64)>,
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
            in_part: window != Window::default(),
            amendment,
            file: None,
            events: Vec::new(),
            bytes: 0,
            refused: 0,
            guessed: None,
            changes: Changes::default(),
            report,
        }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), IngestError> {
        if self.file.as_ref().is_none_or(|file| file.id != piece.file_id) {
            self.end_file();
            self.file = Some(File::open(self.setting, self.state, &piece, self.in_part)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let bytes = file.bytes_of(&self.setting.source.name, &piece)?;
        let event_id = match piece.kept {
            Kept::Mended { .. } => {
                file.know(piece.offset, bytes);
                return Ok(());
            }
            Kept::Quarantined { .. } => None,
            Kept::Record { event_id, rows, .. } => {
                self.report.replaced += rows;
                Some(event_id)
            }
        };
        self.report.read += 1;
        if file.is_apart(piece.offset) {
            self.cut(true);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.lay_out(Old { offset: piece.offset, bytes, ingested_at: piece.ingested_at, event_id });
        if file.is_much() {
            self.cut(false);
        }
        self.check()?;
        self.put(false).await
    }

    /// Whether it can go on, and what was found can be stored.
    fn check(&self) -> Result<(), IngestError> {
        if let Some((file, offset)) = &self.guessed {
            return Err(IngestError::Again {
                name: self.report.source.clone(),
                why: format!(
                    "file {file}, offset {offset}: what lay between two records was not kept, and is in the middle of \
                     one now"
                ),
            });
        }
        self.not_too_much()
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

    fn end_file(&mut self) {
        self.file.iter_mut().for_each(File::close);
        self.cut(true);
        let Some(mut file) = self.file.take() else { return };
        while let Some(old) = file.pieces.pop_front() {
            self.reach(&mut file, old.offset, old.end());
            file.knot.old.push(old);
        }
        self.decide(&mut file);
    }

    /// Cuts what is laid out into records, as far as it goes.
    fn cut(&mut self, at_end: bool) {
        let Some(mut file) = self.file.take() else { return };
        for new in file.cut(at_end) {
            self.tie(&mut file, new);
        }
        self.file = Some(file);
    }

    /// Puts a new record, and the pieces up to its end, where they belong.
    fn tie(&mut self, file: &mut File<'_>, new: New) {
        let (start, end) = (new.offset, new.end());
        let mut new = Some(new);
        while let Some(old) = file.pieces.pop_front_if(|old| old.offset < end) {
            if old.offset > start
                && let Some(new) = new.take()
            {
                self.reach(file, start, end);
                file.knot.new.push(new);
            }
            self.reach(file, old.offset, old.end());
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
        if let Some(new) = new.iter().find(|new| new.guessed) {
            self.guessed.get_or_insert_with(|| (file.id.clone(), new.offset));
        }
        for old in old.iter().filter(|old| old.event_id.is_some()) {
            for (offset, part) in old.beside(&new) {
                if !file.goes_without_saying(offset, part) {
                    self.refuse(&file.id, offset, part.to_vec(), NO_RECORD);
                }
            }
        }
        for New { offset, bytes, rows, .. } in new {
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
