//! A log, read whole, in parts, and from the middle.

use insyn_event::AccessEvent;
use insyn_formats::{Cut, Fault, Format, FormatConfig, Reader};

use super::{envelope, within};

/// A format as a source has it configured.
pub struct Source {
    pub config: FormatConfig,
    pub format: Format,
}

impl Source {
    /// # Panics
    /// When the configuration is wrong.
    pub fn new(text: &str) -> Source {
        let config: FormatConfig = toml::from_str(text).expect("the configuration is TOML");
        let format =
            Format::compile(&config, chrono_tz::Europe::Stockholm).expect("the configuration is right");
        Source { config, format }
    }

    /// Reads `log` in three ways.
    ///
    /// # Panics
    /// When they differ, a byte is gone, or too much memory is held.
    pub fn check(&self, log: &[u8]) {
        let Ok(mut reader) = self.open(head(log)) else { return };
        let pieces = cut_all(&mut reader, log, 0, || log.len());
        envelope::check(&self.config, log, &pieces);
        let mut sizes = Sizes::of(log);
        let seen = match log.starts_with(b"insyn-spool") {
            true => head(log),
            false => &log[..sizes.below(log.len().min(Format::HEAD))],
        };
        let mut parted = self.open(seen).expect("a beginning is refused, the whole is not");
        let most = log.len() / 8 + 16;
        assert_eq!(cut_all(&mut parted, log, 0, || sizes.below(most)), pieces, "read in parts");
        for piece in &pieces {
            if let Piece::Record { offset, len } = piece {
                let record = &log[*offset..offset + len];
                assert_eq!(parse(&reader, record), parse(&parted, record), "read in parts");
            }
        }
        if !pieces.is_empty() {
            let read = sizes.below(pieces.len() - 1);
            let mut resumed = self.open(head(log)).expect("it was opened before");
            let rest = cut_all(&mut resumed, log, pieces[read].end(), || sizes.below(most));
            assert_eq!(rest[..], pieces[read + 1..], "read on after piece {read}");
        }
    }

    fn open(&self, head: &[u8]) -> Result<Reader, Fault> {
        within(head.len(), || self.format.open(head))
    }
}

fn head(log: &[u8]) -> &[u8] {
    &log[..log.len().min(Format::HEAD)]
}

/// Reads one record.
///
/// # Panics
/// When it becomes nothing at all, or too much memory is held.
pub fn parse(reader: &Reader, record: &[u8]) -> Result<Vec<AccessEvent>, Fault> {
    let rows = within(record.len(), || reader.parse(record));
    if let Ok(rows) = &rows {
        let first = rows.first().expect("a record becomes a row or a fault");
        assert!(first.record.is_some(), "the first row carries the record");
    }
    rows
}

/// What lies in a stream, blanks and envelopes left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Record { offset: usize, len: usize },
    Bad { offset: usize, len: usize, why: String },
}

impl Piece {
    pub fn offset(&self) -> usize {
        match self {
            Piece::Record { offset, .. } | Piece::Bad { offset, .. } => *offset,
        }
    }

    pub fn end(&self) -> usize {
        match self {
            Piece::Record { offset, len } | Piece::Bad { offset, len, .. } => offset + len,
        }
    }
}

/// Cuts `log` as a caller does that gets `chunks` bytes at a time, from `from` on.
///
/// # Panics
/// When the reader stands still or goes beyond the bytes.
pub fn cut_all(
    reader: &mut Reader,
    log: &[u8],
    from: usize,
    mut chunks: impl FnMut() -> usize,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (from, from);
    while start < log.len() {
        end = end.max(start);
        let at_end = end == log.len();
        let cut = within(end - start, || reader.cut(&log[start..end], start as u64, at_end));
        let (skip, len, why) = match cut {
            Cut::More => {
                assert!(!at_end, "more bytes wanted after the end, at {start}");
                end = end.saturating_add(chunks().max(1)).min(log.len());
                continue;
            }
            Cut::Skip { len } => (len, 0, None),
            Cut::Bad { len, fault } => (0, len, Some(fault.to_string())),
            Cut::Refused { skip, len, reason } => (skip, len, Some(reason)),
            Cut::Record { skip, len } => (skip, len, None),
        };
        let offset = start + skip;
        start = offset + len;
        assert!(skip + len > 0 && start <= end, "{skip} and {len} bytes of {}", end - offset);
        match why {
            Some(why) => pieces.push(Piece::Bad { offset, len, why }),
            None if len > 0 => pieces.push(Piece::Record { offset, len }),
            None => {}
        }
    }
    pieces
}

/// Numbers that follow from the bytes: the same input is always read in the same parts.
struct Sizes(u64);

impl Sizes {
    fn of(bytes: &[u8]) -> Sizes {
        Sizes(
            bytes
                .iter()
                .fold(0xcbf2_9ce4_8422_2325, |n, b| (n ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// From 0 to `most`.
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % (most + 1)
    }
}
