//! One pass over one file: from where reading stopped, as far as it goes or the batch holds.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use insyn_engine::config::Organisation;
use insyn_engine::lake::{Gap, Quarantined};
use insyn_event::AccessEvent;
use insyn_formats::{Cut, Format, FormatName, Opening, Reader};

use crate::SourceConfig;
use crate::admit::{admit, event_id};
use crate::anchor::{Anchor, HEAD, TAIL};
use crate::batch::{Batch, is_enough};
use crate::content::{Bytes, Content, fill_some};
use crate::identify::holds;
use crate::passed::Passed;
use crate::scan::Candidate;
use crate::sender::Origin;
use crate::state::{FileOpening, FileState};
use crate::{Delivery, IngestError, SourceFault};

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// A record that is longer is not held in memory.
pub const LONGEST: usize = 16 << 20;
/// Of such a record so much goes to quarantine, the rest by reference.
const SAMPLE: usize = 64 << 10;

/// What all files of a source have in common.
pub struct Setting {
    pub source: SourceConfig,
    pub format: Format,
    pub organisation: Arc<Organisation>,
}

impl Setting {
    /// Compiles a source's configuration.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn of(source: SourceConfig, organisation: Arc<Organisation>) -> Result<Setting, IngestError> {
        let format = Format::compile(&source.format, organisation.timezone).map_err(|error| {
            let fault = SourceFault { key: error.key, found: error.found, expected: error.expected };
            IngestError::Config { name: source.name.clone(), fault }
        })?;
        Ok(Setting { source, format, organisation })
    }

    /// Says of a row whose it is, where it came from (file, offset and length) and when.
    pub fn stamp(
        &self,
        row: &mut AccessEvent,
        (file_id, offset, length): (&str, i64, i64),
        origin: Option<&Origin<'_>>,
        now: i64,
    ) {
        let Setting { source, organisation, .. } = self;
        row.source.clone_from(&source.name);
        row.organisation_id.clone_from(&organisation.id);
        row.controller_id.clone_from(source.controller.as_ref().unwrap_or(&organisation.id));
        row.received_from = origin.map(|origin| origin.received_from.clone());
        row.file_id = file_id.to_owned();
        (row.file_offset, row.file_length) = (offset, length);
        row.ingested_at = now;
    }
}

/// When a file is taken to be whole.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Written to before this, nobody writes to a renamed file any more. µs UTC.
    pub settled_before: i64,
    /// Written to before this, a packed file that ends too early will not get better. µs UTC.
    pub given_up_before: i64,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the present end of the file.
    Reached,
    /// The batch is full; the file goes on.
    Full,
    /// Another file lies there now, or it was rewritten meanwhile: nothing was read. The next scan tells.
    Moved,
    /// A record has begun that only time can end.
    Waits,
}

/// Reads on in `file`, which was seen as `candidate`, into `batch`.
///
/// # Errors
/// When the file cannot be read; then nothing of this pass is in the batch.
pub fn read(
    setting: &Setting,
    patience: Patience,
    candidate: &Candidate,
    file: &mut FileState,
    census: Option<&mut dyn Census>,
    batch: &mut Batch,
) -> io::Result<(End, Option<FileOpening>)> {
    let content = match Content::open(&candidate.path, setting.source.row_style()) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((End::Moved, None)),
        Err(error) => return Err(error),
    };
    let origin = setting.source.sender_of(&candidate.path);
    let left = origin.is_some() && content.is_left();
    let content = if origin.is_some() { content.only_durable()? } else { content };
    let head = content.head(Format::HEAD)?;
    let Some((tail, bytes)) = holds(file, &head, &content)? else { return Ok((End::Moved, None)) };
    let packed = content.is_packed();
    if setting.source.format.format == FormatName::Delimited && !packed && !head.contains(&b'\n') {
        // The header is still being written.
        return Ok((End::Reached, None));
    }
    let mut pass = Pass {
        setting,
        census,
        origin: origin.as_ref(),
        file_id: &file.id,
        began: Utc::now().timestamp_micros(),
        known: file.known,
        position: file.position,
        recent: tail,
        passed: file.passed.clone(),
        line_ends: [b"\n", b"\r\n"],
        skipping: None,
        rows: Batch::default(),
        before: (batch.bytes, batch.rows()),
    };
    // An export is whole when nobody writes to it; a log that is not renamed goes on.
    let ends = file.moved || setting.source.delivery == Delivery::Export;
    let settled = left || ends && candidate.modified < patience.settled_before;
    let (stop, opening) = pass.through(bytes, &head, packed || settled)?;
    if !packed && !still_begins(&candidate.path, &content, &head)? {
        return Ok((End::Moved, None));
    }
    let Pass { position, mut recent, mut rows, passed, .. } = pass;
    let mut end = stop.end();
    if let Stop::Broken(why) = &stop
        && candidate.modified < patience.given_up_before
    {
        rows.gaps.push(gap(
            setting,
            &file.id,
            position,
            None,
            &format!("the packed file ends too early: {why}"),
        ));
    } else if matches!(stop, Stop::Broken(_)) || file.moved && !settled && stop == Stop::Partial {
        end = End::Waits;
    }
    file.done = stop == Stop::Whole && (packed || settled)
        || matches!(stop, Stop::Broken(_)) && candidate.modified < patience.given_up_before;
    file.seen = match (packed, &stop) {
        (false, _) => candidate.len.max(position),
        (true, Stop::Broken(_)) => position + 1,
        (true, _) => position,
    };
    (file.position, file.packed, file.passed) = (position, packed, passed);
    file.head = Anchor::of(head.get(..HEAD).unwrap_or(&head));
    recent.drain(..recent.len().saturating_sub(TAIL));
    file.tail = Anchor::of(&recent);
    batch.append(rows);
    let received_from = origin.map(|origin| origin.received_from);
    Ok((end, Some(FileOpening { format: opening, received_from })))
}

/// Whether what was read was not cut short and written anew meanwhile: then the file would begin differently, or be
/// too short to hold what was read.
fn still_begins(path: &Path, content: &Content, head: &[u8]) -> io::Result<bool> {
    let now = content.head(head.len())?;
    if now != head {
        tracing::debug!("{} was rewritten while it was read", path.display());
    }
    Ok(now == head)
}

/// Why reading stopped.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// At the end, with nothing left.
    Whole,
    /// At the end, in a record that is not whole.
    Partial,
    /// The batch is full.
    Full,
    /// The packing broke off.
    Broken(String),
}

impl Stop {
    fn end(&self) -> End {
        if *self == Stop::Full { End::Full } else { End::Reached }
    }
}

/// Who counts what is read, and says whether it is kept.
pub trait Census {
    /// A row, before it is stamped.
    fn row(&mut self, row: &AccessEvent) -> bool;
    /// Bytes on their way to quarantine.
    fn piece(&mut self, bytes: &[u8]) -> bool;
}

struct Pass<'a, 'c> {
    setting: &'a Setting,
    census: Option<&'c mut (dyn Census + 'c)>,
    /// Who sent it, where somebody did.
    origin: Option<&'a Origin<'a>>,
    file_id: &'a str,
    /// What is read in one pass was read at one time: a time of its own for each row would take as much room as the row's own.
    began: i64,
    known: u64,
    position: u64,
    /// The bytes right before the position.
    recent: Vec<u8>,
    /// What lay between records.
    passed: Passed,
    line_ends: [&'static [u8]; 2],
    /// Where a record began that is too long to hold, while its end is looked for.
    skipping: Option<u64>,
    rows: Batch,
    /// Bytes and rows that the batch already holds from other files.
    before: (u64, usize),
}

impl Pass<'_, '_> {
    fn is_full(&self) -> bool {
        // The end of a record that is too long is found first: nothing remembers that it is looked for.
        let (bytes, rows) = self.before;
        self.skipping.is_none() && is_enough(bytes + self.rows.bytes, rows + self.rows.rows())
    }

    /// Reads as far as it goes: why it stopped, and what the file's beginning said.
    fn through(&mut self, bytes: Bytes, head: &[u8], whole: bool) -> io::Result<(Stop, Opening)> {
        // Nothing in the file can be read so: the fault is the configuration's or the file's, and is for people to mend.
        let mut reader =
            self.setting.format.open(head).map_err(|fault| io::Error::other(fault.to_string()))?;
        let stop = self.go_on(&mut reader, bytes, whole)?;
        Ok((stop, reader.opening()))
    }

    fn go_on(&mut self, reader: &mut Reader, mut bytes: Bytes, whole: bool) -> io::Result<Stop> {
        self.line_ends = reader.opening().line_ends();
        let mut buffer = Vec::new();
        let (mut ended, mut broken) = (false, None);
        while !self.is_full() {
            if !ended {
                let held = buffer.len();
                buffer.resize(held + CHUNK, 0);
                let (read, fault) = fill_some(&mut bytes, buffer.get_mut(held..).unwrap_or(&mut []));
                buffer.truncate(held + read);
                ended = read < CHUNK;
                broken = match fault {
                    Some(fault) if is_packing(&fault) => Some(fault.to_string()),
                    Some(fault) => return Err(fault),
                    None => None,
                };
            }
            let used = match self.skipping {
                Some(from) => self.skip(&buffer, from, ended),
                None => self.cut(reader, &buffer, ended && whole && broken.is_none()),
            };
            self.advance(&mut buffer, used);
            if self.is_full() {
                break;
            } else if self.skipping.is_none() && buffer.len() >= LONGEST {
                let sample = buffer.get(..SAMPLE).unwrap_or(&buffer);
                self.quarantine(self.position, sample, "a record longer than 16 MiB; this is how it begins");
                self.skipping = Some(self.position);
            } else if ended && (used == 0 || buffer.is_empty()) {
                return Ok(match broken {
                    Some(why) => Stop::Broken(why),
                    None if buffer.is_empty() => Stop::Whole,
                    None => Stop::Partial,
                });
            }
        }
        Ok(Stop::Full)
    }

    fn advance(&mut self, buffer: &mut Vec<u8>, used: usize) {
        let done = buffer.get(..used).unwrap_or(buffer);
        let last = done.get(done.len().saturating_sub(TAIL)..).unwrap_or(done);
        self.recent.extend_from_slice(last);
        if self.recent.len() > 64 * TAIL {
            self.recent.drain(..self.recent.len() - TAIL);
        }
        buffer.drain(..used);
    }

    /// Looks for the line's end after a record that is too long; what lies between is a gap.
    fn skip(&mut self, buffer: &[u8], from: u64, ended: bool) -> usize {
        let line_end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let used = line_end.unwrap_or(buffer.len());
        self.position += used as u64;
        self.rows.bytes += used as u64;
        if line_end.is_some() || ended {
            let why = "a record longer than 16 MiB is not kept; its beginning is in quarantine";
            self.rows.gaps.push(gap(self.setting, self.file_id, from, Some(self.position), why));
            self.skipping = None;
        }
        used
    }

    /// Cuts and parses what the buffer holds; returns how many bytes are done with.
    fn cut(&mut self, reader: &mut Reader, buffer: &[u8], at_end: bool) -> usize {
        let mut used = 0;
        while let Some(rest) = buffer.get(used..).filter(|rest| !rest.is_empty()) {
            if self.is_full() {
                break;
            }
            let cut = reader.cut(rest, self.position, at_end);
            if let Cut::Skip { len: skip } | Cut::Refused { skip, .. } | Cut::Record { skip, .. } = cut {
                let passed = rest.get(..skip).unwrap_or(&[]);
                self.passed.note(self.position, passed, self.line_ends);
            }
            if !matches!(cut, Cut::Skip { .. } | Cut::More) {
                self.passed.met();
            }
            let len = match cut {
                Cut::More => break,
                Cut::Skip { len } => len,
                Cut::Bad { len, fault } => {
                    self.quarantine(self.position, rest.get(..len).unwrap_or(rest), &fault.to_string());
                    len
                }
                Cut::Refused { skip, len, reason } => {
                    let record = rest.get(skip..skip + len).unwrap_or(&[]);
                    self.quarantine(self.position + skip as u64, record, &reason);
                    skip + len
                }
                Cut::Record { skip, len } => {
                    let record = rest.get(skip..skip + len).unwrap_or(&[]);
                    self.record(reader, self.position + skip as u64, record);
                    skip + len
                }
            };
            used += len;
            self.position += len as u64;
            self.rows.bytes += len as u64;
        }
        used
    }

    fn record(&mut self, reader: &Reader, offset: u64, record: &[u8]) {
        if offset < self.known && self.census.is_none() {
            return;
        }
        let sender = self.origin.and_then(|origin| origin.sender);
        let rows = match admit(reader, sender, record, self.began) {
            Ok(rows) => rows,
            Err(fault) => return self.quarantine(offset, record, &fault.to_string()),
        };
        let place = (self.file_id, offset as i64, record.len() as i64);
        for mut row in rows {
            let kept = self.census.as_mut().is_none_or(|census| census.row(&row));
            if offset < self.known {
                continue;
            } else if !kept {
                self.passed.unknown(offset);
                continue;
            }
            if row.event_id.is_empty() {
                row.event_id = event_id(self.file_id, offset);
            }
            self.setting.stamp(&mut row, place, self.origin, self.began);
            self.rows.events.push(row);
        }
    }

    fn quarantine(&mut self, offset: u64, bytes: &[u8], reason: &str) {
        let kept = self.census.as_mut().is_none_or(|census| census.piece(bytes));
        if bytes.is_empty() || offset < self.known {
            return;
        } else if !kept {
            return self.passed.unknown(offset);
        }
        self.rows.quarantine.push(Quarantined {
            source: self.setting.source.name.clone(),
            file_id: self.file_id.to_owned(),
            file_offset: offset as i64,
            bytes: bytes.to_vec(),
            reason: reason.to_owned(),
            ingested_at: self.began,
        });
    }
}

/// A stretch of a file that could not be had.
pub fn gap(setting: &Setting, file_id: &str, from: u64, to: Option<u64>, reason: &str) -> Gap {
    Gap {
        source: setting.source.name.clone(),
        file_id: file_id.to_owned(),
        from_offset: from as i64,
        to_offset: to.map(|to| to as i64),
        reason: reason.to_owned(),
        noticed_at: Utc::now().timestamp_micros(),
    }
}

/// Whether the fault lies in the packed bytes, not in reading them.
fn is_packing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    error.raw_os_error().is_none()
        && matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}
