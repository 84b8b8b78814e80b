//! One source, read from where it stopped, a batch at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{Datelike, TimeZone, Utc};
use insyn_engine::config::Organisation;
use insyn_engine::lake::{Gap, Quarantined};
use insyn_event::AccessEvent;
use insyn_formats::{Cut, Format, FormatName, Reader};
use serde::{Deserialize, Serialize};

use crate::SourceConfig;
use crate::anchor::{Anchor, HEAD, TAIL};
use crate::error::IngestError;
use crate::identify::{Found, Seen, grows, identify};
use crate::scan::scan;
use crate::state::SourceState;
use crate::stream::{self, Stream};

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// A record that is longer goes to quarantine.
const LONGEST: usize = 4 << 20;
/// A batch is closed when its records pass this.
const BATCH_BYTES: u64 = 8 << 20;
/// Or when it has so many rows.
const BATCH_ROWS: usize = 30_000;
/// How much of the head a format may look at.
const FORMAT_HEAD: usize = 64 << 10;
/// A file that was renamed is taken to be whole when nothing was written to it for so long. µs.
const SETTLED: i64 = 10_000_000;
/// A time further ahead than this is absurd. µs.
const AHEAD: i64 = 366 * 86_400 * 1_000_000;

/// One source on its way into the lake.
pub struct SourceReader {
    pub config: SourceConfig,
    pub state: SourceState,
    format: Format,
    organisation: Arc<Organisation>,
    base: PathBuf,
    seen: Seen,
    /// From a crash: how far each file was read in the batch that must be cut again the same way.
    replay: Option<BTreeMap<String, u64>>,
}

/// What a batch adds, and how far it goes.
#[derive(Default)]
pub struct Batch {
    pub events: Vec<AccessEvent>,
    pub quarantine: Vec<Quarantined>,
    pub gaps: Vec<Gap>,
    /// Bytes of records.
    pub bytes: u64,
    /// By file id: where this batch ends.
    pub cut: BTreeMap<String, u64>,
    /// Something is remembered that the lake does not know yet, also where there is no row.
    pub changed: bool,
    /// More can be read at once.
    pub more: bool,
    /// Files that were there.
    pub files: usize,
}

/// What is written down before a batch is committed, so that a replay cuts it the same way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    pub sequence: i64,
    pub state: SourceState,
    pub cut: BTreeMap<String, u64>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.events.len() >= BATCH_ROWS
    }
}

impl SourceReader {
    pub fn new(
        config: SourceConfig,
        state: SourceState,
        organisation: Arc<Organisation>,
        base: PathBuf,
        journal: Option<Journal>,
    ) -> Result<SourceReader, IngestError> {
        let named = |fault| IngestError::Config { name: config.name.clone(), fault };
        let format = Format::compile(&config.format, organisation.timezone).map_err(|error| {
            named(crate::SourceFault { key: error.key, found: error.found, expected: error.expected })
        })?;
        let (state, replay) = match journal {
            Some(journal) => (journal.state, Some(journal.cut)),
            None => (state, None),
        };
        Ok(SourceReader { config, state, format, organisation, base, seen: Seen::default(), replay })
    }

    /// Reads the next batch. Blocks on files.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn next(&mut self) -> Result<Batch, IngestError> {
        let before = self.state.clone();
        let candidates = scan(&self.base, &self.config.path)?;
        let found = identify(&self.config, &mut self.state, &mut self.seen, candidates)?;
        let replay = self.replay.take();
        let mut batch = Batch { files: found.len(), ..Batch::default() };
        for found in &found {
            if found.unchanged || self.state.files[found.file].done {
                continue;
            }
            let until = match &replay {
                Some(cut) => match cut.get(&self.state.files[found.file].id) {
                    Some(until) => *until,
                    None => continue,
                },
                None => u64::MAX,
            };
            if batch.is_full() {
                batch.more = true;
                break;
            }
            self.read(found, until, &mut batch)?;
        }
        batch.more |= replay.is_some();
        self.missing(&found, &mut batch);
        batch.changed = self.state != before;
        Ok(batch)
    }

    /// Bytes on disk that are not read yet, as far as lengths tell.
    pub fn behind(&mut self) -> Result<(usize, u64, Option<i64>), IngestError> {
        let mut state = self.state.clone();
        let found =
            identify(&self.config, &mut state, &mut Seen::default(), scan(&self.base, &self.config.path)?)?;
        let mut bytes = 0;
        let mut oldest = None;
        for found in &found {
            let file = &state.files[found.file];
            let behind = if file.done { 0 } else { found.candidate.len.saturating_sub(file.position) };
            bytes += behind;
            if behind > 0 {
                oldest =
                    Some(oldest.map_or(found.candidate.modified, |at: i64| at.min(found.candidate.modified)));
            }
        }
        Ok((found.len(), bytes, oldest))
    }

    fn read(&mut self, found: &Found, until: u64, batch: &mut Batch) -> Result<(), IngestError> {
        let path = &found.candidate.path;
        let failed = || IngestError::io("cannot read", path.clone());
        let position = self.state.files[found.file].position;
        let mut file = match Stream::open(path, position) {
            Ok(file) => file,
            // A packed file that is not whole yet, or one that vanished: it is looked at again.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(failed()(error)),
        };
        let head = stream::head(path, FORMAT_HEAD).map_err(failed())?;
        if self.config.format.format == FormatName::Delimited && grows(file.packing) && !head.contains(&b'\n')
        {
            return Ok(());
        }
        let opened = self.format.open(&head);
        let settled = self.state.files[found.file].renamed
            && Utc::now().timestamp_micros() - found.candidate.modified > SETTLED;
        let last = !grows(file.packing) || settled;
        let mut place = Place { id: self.state.files[found.file].id.clone(), position, until };
        let mut buffer = Vec::new();
        let mut ended = false;
        let mut reader = opened.as_ref().ok().map(|_| ()).and_then(|()| self.format.open(&head).ok());
        let refusal = opened.err().map(|fault| fault.to_string());
        loop {
            if batch.is_full() {
                batch.more = true;
                break;
            }
            if !ended {
                let old = buffer.len();
                buffer.resize(old + CHUNK, 0);
                let read = match file.fill(buffer.get_mut(old..).unwrap_or(&mut [])) {
                    Ok(read) => read,
                    // A packed file whose end is not there yet.
                    Err(_) if !grows(file.packing) => {
                        buffer.truncate(old);
                        break;
                    }
                    Err(error) => return Err(failed()(error)),
                };
                buffer.truncate(old + read);
                ended = read < CHUNK;
            }
            let used = match (&mut reader, &refusal) {
                (Some(reader), _) => self.cut(reader, &buffer, &mut place, ended && last, batch),
                (None, why) => {
                    let why = why.clone().unwrap_or_default();
                    self.quarantine(batch, &place.id, place.position, &buffer, &why);
                    place.position += buffer.len() as u64;
                    buffer.len()
                }
            };
            buffer.drain(..used);
            if place.position >= place.until {
                break;
            }
            if batch.is_full() && !buffer.is_empty() {
                batch.more = true;
                break;
            }
            if buffer.len() >= LONGEST {
                self.quarantine(batch, &place.id, place.position, &buffer, "a record longer than 4 MiB");
                place.position += buffer.len() as u64;
                buffer.clear();
            } else if ended {
                let whole = buffer.is_empty() && last;
                self.state.files[found.file].done = whole;
                self.seen.read(found);
                break;
            }
        }
        self.moved(found, &head, place.position, batch)
    }

    /// Cuts and parses what the buffer holds; returns how many bytes are done with.
    fn cut(
        &self,
        reader: &mut Reader,
        buffer: &[u8],
        place: &mut Place,
        at_end: bool,
        batch: &mut Batch,
    ) -> usize {
        let mut used = 0;
        while let Some(rest) = buffer.get(used..) {
            let full = batch.is_full();
            if rest.is_empty() || full || place.position >= place.until {
                break;
            }
            let len = match reader.cut(rest, place.position, at_end) {
                Cut::More => break,
                Cut::Skip { len } => len,
                Cut::Bad { len, fault } => {
                    let bytes = rest.get(..len).unwrap_or(rest);
                    self.quarantine(batch, &place.id, place.position, bytes, &fault.to_string());
                    len
                }
                Cut::Record { skip, len } => {
                    let record = rest.get(skip..skip + len).unwrap_or(&[]);
                    self.record(reader, batch, &place.id, place.position + skip as u64, record);
                    skip + len
                }
            };
            used += len;
            place.position += len as u64;
            batch.bytes += len as u64;
        }
        used
    }

    fn record(&self, reader: &Reader, batch: &mut Batch, file_id: &str, offset: u64, record: &[u8]) {
        let now = Utc::now();
        let rows = reader.parse(record).map_err(|fault| fault.to_string()).and_then(|rows| {
            let absurd = rows.iter().any(|row| absurd(row.occurred_at, now.timestamp_micros()));
            if absurd { Err("occurred_at: lies absurdly far off".to_owned()) } else { Ok(rows) }
        });
        let rows = match rows {
            Ok(rows) => rows,
            Err(why) => return self.quarantine(batch, file_id, offset, record, &why),
        };
        let controller = self.config.controller.as_ref().unwrap_or(&self.organisation.id);
        for mut row in rows {
            if row.event_id.is_empty() {
                row.event_id = format!("{file_id}:{offset}");
            }
            row.source.clone_from(&self.config.name);
            row.organisation_id.clone_from(&self.organisation.id);
            row.controller_id.clone_from(controller);
            row.file_id = file_id.to_owned();
            row.file_offset = offset as i64;
            row.file_length = record.len() as i64;
            row.ingested_at = now.timestamp_micros();
            batch.events.push(row);
        }
    }

    fn quarantine(&self, batch: &mut Batch, file_id: &str, offset: u64, bytes: &[u8], reason: &str) {
        if bytes.is_empty() {
            return;
        }
        batch.quarantine.push(Quarantined {
            source: self.config.name.clone(),
            file_id: file_id.to_owned(),
            file_offset: offset as i64,
            bytes: bytes.to_vec(),
            reason: reason.to_owned(),
            ingested_at: Utc::now().timestamp_micros(),
        });
    }

    /// Remembers how far a file is read, and what it is known by.
    fn moved(
        &mut self,
        found: &Found,
        head: &[u8],
        position: u64,
        batch: &mut Batch,
    ) -> Result<(), IngestError> {
        let path = &found.candidate.path;
        let file = &mut self.state.files[found.file];
        file.head = Anchor::of(head.get(..head.len().min(HEAD)).unwrap_or(head));
        file.seen = found.candidate.len.max(position);
        let from = position.saturating_sub(TAIL as u64);
        let tail = if position as usize <= head.len() {
            head.get(from as usize..position as usize).map(<[u8]>::to_vec)
        } else {
            stream::range(path, from, position).map_err(IngestError::io("cannot read", path.clone()))?
        };
        let Some(tail) = tail else { return Ok(()) };
        file.tail = Anchor::of(&tail);
        file.position = position;
        batch.cut.insert(file.id.clone(), position);
        Ok(())
    }

    /// Files that were known and are not to be found: what was unread is lost, and said.
    fn missing(&mut self, found: &[Found], batch: &mut Batch) {
        let there: std::collections::HashSet<usize> = found.iter().map(|found| found.file).collect();
        for (n, file) in self.state.files.iter_mut().enumerate() {
            if there.contains(&n) || file.gone || file.done {
                continue;
            }
            file.gone = true;
            if file.seen > file.position {
                batch.gaps.push(Gap {
                    source: self.config.name.clone(),
                    file_id: file.id.clone(),
                    from_offset: file.position as i64,
                    to_offset: Some(file.seen as i64),
                    reason: "the file is not there any more, or was cut short".into(),
                    noticed_at: Utc::now().timestamp_micros(),
                });
            }
        }
    }
}

struct Place {
    id: String,
    position: u64,
    until: u64,
}

fn absurd(at: i64, now: i64) -> bool {
    at > now + AHEAD || Utc.timestamp_micros(at).single().is_none_or(|time| time.year() < 1900)
}
