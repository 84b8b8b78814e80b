//! A file that is gone, laid out again from the pieces that the lake has kept of it, and cut as today's settings cut.

use std::collections::VecDeque;

use chrono::Utc;
use insyn_engine::kept::{Kept, Piece};
use insyn_event::AccessEvent;
use insyn_formats::{Cut, Opening, Reader};

use crate::admit::admit;
use crate::error::IngestError;
use crate::pass::{LONGEST, Setting};
use crate::passed::Passed;
use crate::sender::Origin;
use crate::state::{FileOpening, SourceState};

/// What is missing between two pieces was passed over, up to so many bytes.
const BETWEEN: i64 = 64 << 10;
/// The same where records of another period are left out: no record is so short.
const BETWEEN_OF_PERIOD: i64 = 8;
/// So much is laid out before it is cut.
const LAID_OUT: usize = 1 << 20;

/// One file laid out again.
pub struct File<'a> {
    pub id: String,
    pub origin: Option<Origin<'a>>,
    /// What was laid out, in order.
    pub pieces: VecDeque<Old>,
    pub knot: Knot,
    reader: Reader,
    opening: Opening,
    passed: Passed,
    /// Only some of its records are laid out.
    of_period: bool,
    /// Where `bytes` lie.
    start: i64,
    bytes: Vec<u8>,
    /// Bytes that were in quarantine, and of which records came.
    mended: Vec<(i64, Vec<u8>)>,
    /// Stretches that are laid out as line ends because nobody knows what they were.
    guessed: Vec<(i64, i64)>,
}

/// A piece as it was kept.
pub struct Old {
    pub offset: i64,
    pub bytes: Vec<u8>,
    pub ingested_at: i64,
    /// None in quarantine.
    pub event_id: Option<String>,
}

/// What today's settings make of some bytes.
pub struct New {
    pub offset: i64,
    pub bytes: Vec<u8>,
    /// Its rows, or why it has none.
    pub rows: Result<Vec<AccessEvent>, String>,
    /// Some of its bytes are not known to have been so.
    pub guessed: bool,
}

/// Old and new that share bytes, with all that shares bytes with them: they are decided on together.
#[derive(Default)]
pub struct Knot {
    pub old: Vec<Old>,
    pub new: Vec<New>,
    pub end: i64,
}

impl Old {
    pub fn end(&self) -> i64 {
        self.offset + self.bytes.len() as i64
    }

    /// Its bytes that are in none of `new`, which are in order.
    pub fn beside<'a>(&'a self, new: &'a [New]) -> impl Iterator<Item = (i64, &'a [u8])> {
        let ends = new.iter().map(New::end);
        let from = std::iter::once(self.offset).chain(ends);
        let to = new.iter().map(|new| new.offset).chain([self.end()]);
        from.zip(to).filter_map(|(from, to)| {
            let (from, to) = (from.max(self.offset), to.min(self.end()));
            let place = |at: i64| usize::try_from(at - self.offset).ok();
            let part = self.bytes.get(place(from)?..place(to)?)?;
            (!part.is_empty()).then_some((from, part))
        })
    }
}

impl New {
    pub fn end(&self) -> i64 {
        self.offset + self.bytes.len() as i64
    }
}

impl<'a> File<'a> {
    /// A file, of which `first` is the first piece.
    pub fn open(
        setting: &'a Setting,
        state: &SourceState,
        first: &Piece,
        of_period: bool,
    ) -> Result<File<'a>, IngestError> {
        let known = state.opening_of(&first.file_id).cloned();
        let received_from = match &first.kept {
            Kept::Record { received_from, .. } => received_from.clone(),
            Kept::Quarantined { .. } | Kept::Mended { .. } => None,
        };
        let opening = known.unwrap_or_else(|| FileOpening::assumed(received_from));
        let reader = setting.format.resume(&opening.format).map_err(|fault| IngestError::Again {
            name: setting.source.name.clone(),
            why: format!("file {}: {fault}", first.file_id),
        })?;
        let origin = opening.received_from.as_deref().map(|from| setting.source.origin(from));
        Ok(File {
            id: first.file_id.clone(),
            origin,
            pieces: VecDeque::new(),
            knot: Knot::default(),
            reader,
            opening: opening.format,
            passed: state.passed_of(&first.file_id),
            of_period,
            start: first.offset,
            bytes: Vec::new(),
            mended: Vec::new(),
            guessed: Vec::new(),
        })
    }

    /// Bytes that were in quarantine and are in records now: what lay around these.
    pub fn know(&mut self, offset: i64, bytes: Vec<u8>) {
        let undecided = self.knot.old.first().or(self.pieces.front()).map_or(self.end(), |old| old.offset);
        self.mended.retain(|(offset, bytes)| offset + bytes.len() as i64 > undecided);
        self.mended.push((offset, bytes));
    }

    /// Whether what lies at `offset` cannot be read together with what is laid out.
    pub fn is_apart(&self, offset: i64) -> bool {
        let between = offset - self.end();
        let most = if self.of_period { BETWEEN_OF_PERIOD } else { BETWEEN };
        self.opening.received
            || !(0..=most).contains(&between)
            || between % self.opening.line_ends()[0].len() as i64 != 0
            || self.bytes.len() > LONGEST
    }

    /// Puts a piece behind what is laid out.
    pub fn lay_out(&mut self, old: Old) {
        let end = self.end();
        if self.bytes.is_empty() {
            self.start = old.offset;
        } else if let Some(between) = self.between(end, old.offset) {
            self.bytes.extend(between);
        } else {
            self.guessed.push((end, old.offset));
            let line_feed = self.opening.line_ends()[0].iter().cycle();
            self.bytes.extend(line_feed.take(usize::try_from(old.offset - end).unwrap_or(0)));
        }
        self.bytes.extend(&old.bytes);
        self.pieces.push_back(old);
    }

    /// Puts what was passed over last behind all: it may belong to the last record.
    pub fn close(&mut self) {
        let (end, last) = (self.end(), self.passed.end_of_other() as i64);
        if self.bytes.is_empty() || self.of_period || !(0..=BETWEEN).contains(&(last - end)) {
            return;
        }
        let rest = self.between(end, last).unwrap_or_default();
        self.bytes.extend(rest);
    }

    pub fn is_much(&self) -> bool {
        self.bytes.len() > LAID_OUT
    }

    /// What lay in a stretch where no kept record is; none where that is not known.
    pub fn between(&self, from: i64, to: i64) -> Option<Vec<u8>> {
        let ends = self.opening.line_ends();
        let (mut bytes, mut at) = (Vec::new(), from);
        while at < to {
            let covers =
                |(offset, bytes): &&(i64, Vec<u8>)| (*offset..offset + bytes.len() as i64).contains(&at);
            if let Some((offset, mended)) = self.mended.iter().find(covers) {
                // A record of another period may be in it.
                let known = mended.get(usize::try_from(at - offset).ok()?..).filter(|_| !self.of_period)?;
                let known = known.get(..usize::try_from(to - at).ok()?).unwrap_or(known);
                bytes.extend(known);
                at += known.len() as i64;
            } else {
                let next = self.mended.iter().map(|(offset, _)| *offset).filter(|offset| *offset > at);
                let next = next.chain([to]).min()?.min(to);
                bytes.extend(self.passed.between(at.unsigned_abs(), next.unsigned_abs(), ends)?);
                at = next;
            }
        }
        Some(bytes)
    }

    /// Whether `part`, which was in a record, would be laid out in its place if nobody kept it; or nothing will be.
    pub fn goes_without_saying(&self, offset: i64, part: &[u8]) -> bool {
        let end = offset + part.len() as i64;
        if !self.passed.is_known(end.unsigned_abs()) {
            return part.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0));
        }
        self.between(offset, end).is_some_and(|between| between == part)
    }

    /// Cuts what is laid out into records, as far as it goes.
    pub fn cut(&mut self, at_end: bool) -> Vec<New> {
        let mut found = Vec::new();
        let mut used = 0;
        while let Some(rest) = self.bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let at = self.start + used as i64;
            let cut = match self.opening.received {
                true => Cut::Record { skip: 0, len: rest.len() },
                false => self.reader.cut(rest, at.unsigned_abs(), at_end),
            };
            let (skip, len, fault) = match cut {
                Cut::More => break,
                Cut::Skip { len } => (len, 0, None),
                Cut::Bad { len, fault } => (0, len, Some(fault.to_string())),
                Cut::Refused { skip, len, reason } => (skip, len, Some(reason)),
                Cut::Record { skip, len } => (skip, len, None),
            };
            if let Some(record) = rest.get(skip..skip + len).filter(|record| !record.is_empty()) {
                let rows = fault.map_or_else(|| self.admit(record), Err);
                let (from, to) = (at + skip as i64, at + (skip + len) as i64);
                let guessed = self.guessed.iter().any(|(start, end)| from < *end && *start < to);
                found.push(New { offset: from, bytes: record.to_vec(), rows, guessed });
            }
            used += skip + len;
        }
        self.bytes.drain(..used.min(self.bytes.len()));
        self.start += used as i64;
        let start = self.start;
        self.guessed.retain(|(_, end)| *end > start);
        found
    }

    fn admit(&self, record: &[u8]) -> Result<Vec<AccessEvent>, String> {
        let sender = self.origin.as_ref().and_then(|origin| origin.sender);
        admit(&self.reader, sender, record, Utc::now().timestamp_micros()).map_err(|fault| fault.to_string())
    }

    fn end(&self) -> i64 {
        self.start + self.bytes.len() as i64
    }

    /// The bytes that a piece had when it was read first.
    pub fn bytes_of(&self, source: &str, piece: &Piece) -> Result<Vec<u8>, IngestError> {
        let (record, length, amended) = match &piece.kept {
            Kept::Quarantined { bytes } | Kept::Mended { bytes } => return Ok(bytes.clone()),
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
