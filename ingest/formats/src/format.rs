use std::sync::Arc;

use chrono_tz::Tz;
use insyn_event::AccessEvent;

use crate::config::{FormatConfig, FormatName};
use crate::encoding::{Encoding, Units};
use crate::error::{Fault, FormatError};
use crate::frame::{self, Framing, Look};
use crate::opening::Opening;
use crate::read::{dicom, fhir, rivta, table};
use crate::shape::Shape;

/// A format as configured for one source, ready to open its files.
#[derive(Debug, Clone)]
pub struct Format {
    inner: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    name: FormatName,
    /// As configured; none means UTF-8 unless the file begins with another byte order mark.
    encoding: Option<Encoding>,
    shape: Shape,
    table: Option<table::Table>,
}

/// What lies at a place in the stream. Every `len` is at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// A record, after `skip` bytes that belong to none (header, blank lines, envelope).
    Record {
        /// Bytes before it.
        skip: usize,
        /// Its own bytes, without the line's end.
        len: usize,
    },
    /// Bytes that belong to no record.
    Skip {
        /// How many.
        len: usize,
    },
    /// A record that was refused when it was received: it goes to quarantine.
    Refused {
        /// Bytes before it.
        skip: usize,
        /// Its own bytes.
        len: usize,
        /// Why, as the sender was told.
        reason: String,
    },
    /// More bytes are needed to tell.
    More,
    /// Bytes that are no record and no envelope: they go to quarantine.
    Bad {
        /// How many.
        len: usize,
        /// Why.
        fault: Fault,
    },
}

impl Format {
    /// Compiles a configuration. `zone` is where local times are local.
    ///
    /// # Errors
    /// Names the key, what was found and what was expected.
    pub fn compile(config: &FormatConfig, zone: Tz) -> Result<Format, FormatError> {
        config.check_keys()?;
        let encoding = config.encoding.as_deref().map(Encoding::named).transpose()?;
        let shape = Shape::compile(config, zone)?;
        let table = match config.format {
            FormatName::Delimited | FormatName::Pattern | FormatName::Json => {
                Some(table::Table::compile(config)?)
            }
            _ => None,
        };
        Ok(Format { inner: Arc::new(Compiled { name: config.format, encoding, shape, table }) })
    }

    /// How many of a file's first bytes it looks at before it reads.
    pub const HEAD: usize = 64 << 10;

    /// Opens a file by its first bytes (at most [`Format::HEAD`] of them, decompressed), which hold a byte order mark, a header
    /// row, an XML prolog. They may be few, or none, in a file that has only begun.
    ///
    /// # Errors
    /// When the head shows that nothing in the file can be read with this configuration.
    pub fn open(&self, head: &[u8]) -> Result<Reader, Fault> {
        if frame::spool::id_of(head).is_some() {
            return Ok(self.received());
        }
        let mut reader = Reader {
            format: Arc::clone(&self.inner),
            encoding: None,
            head: Vec::new(),
            framing: self.framing(),
            units: Units::default(),
        };
        if !reader.settle(head, false) {
            reader.head = head.to_vec();
            return Ok(reader);
        }
        reader.look_at_head(head)?;
        Ok(reader)
    }

    /// A reader of records out of the middle of a file whose beginning is not there any more: what `opening` tells of it
    /// is read with today's configuration. Only [`Reader::cut`] and [`Reader::parse`] from a boundary make sense then.
    ///
    /// # Errors
    /// When the header row that the file had is not one that this configuration reads.
    pub fn resume(&self, opening: &Opening) -> Result<Reader, Fault> {
        if opening.received {
            return Ok(self.received());
        }
        let written = opening.encoding();
        let encoding = opening.under(self.inner.encoding.map(Encoding::name)).encoding();
        let mut reader = Reader {
            format: Arc::clone(&self.inner),
            encoding: Some((encoding, usize::from(opening.mark))),
            head: Vec::new(),
            framing: self.framing(),
            units: Units::default(),
        };
        if let Framing::Delimited(rows) = &mut reader.framing
            && rows.header.is_none()
        {
            let unknown = || Fault::new("its header row is not known any more; name its `columns`");
            let row = opening.header.as_deref().ok_or_else(unknown)?;
            let row = written.encode(row).ok_or_else(unknown)?;
            rows.resume(&encoding.decode(&row)?, &row)?;
        }
        Ok(reader)
    }

    /// A reader of records that were received one by one, and of the spool's files, which hold such records.
    pub fn received(&self) -> Reader {
        Reader {
            format: Arc::clone(&self.inner),
            encoding: Some((self.inner.encoding.unwrap_or(Encoding::Utf8), 0)),
            head: Vec::new(),
            framing: Framing::Spool,
            units: Units::default(),
        }
    }

    fn framing(&self) -> Framing {
        match (self.inner.name, &self.inner.table) {
            (FormatName::FhirAuditEvent, _) => Framing::Fhir,
            (FormatName::RivtaLog, _) => Framing::Rivta,
            (FormatName::DicomAudit, _) => Framing::Dicom,
            (_, Some(table)) => table.framing(),
            (_, None) => Framing::Json,
        }
    }

    /// Which format it is.
    pub fn name(&self) -> FormatName {
        self.inner.name
    }
}

/// Reads one file: cuts its bytes into records and parses them.
#[derive(Debug)]
pub struct Reader {
    format: Arc<Compiled>,
    /// The encoding and the length of the byte order mark; none while too few bytes were seen to tell.
    encoding: Option<(Encoding, usize)>,
    /// What was seen while they were too few.
    head: Vec<u8>,
    framing: Framing,
    units: Units,
}

impl Reader {
    /// Looks at `buf`, which lies at `offset` in the stream, and says what is first in it. `at_end`: nothing will ever
    /// follow `buf`. The same bytes give the same records however they are parted, and from any earlier boundary.
    /// With `at_end` and bytes in `buf` it never answers [`Cut::More`].
    pub fn cut(&mut self, buf: &[u8], offset: u64, at_end: bool) -> Cut {
        if buf.is_empty() {
            return Cut::More;
        }
        if matches!(self.framing, Framing::Spool) {
            // Its counts are bytes, whatever the records are written in.
            return frame::spool::cut(buf, offset, at_end);
        }
        if self.encoding.is_none() && offset == 0 && !self.settle(buf, at_end) {
            return Cut::More;
        }
        let (encoding, bom) = self.encoding_or_guess();
        if offset < bom as u64 {
            return Cut::Skip { len: (bom as u64 - offset).min(buf.len() as u64) as usize };
        }
        let from_start = offset - bom as u64;
        if encoding.width() == 1 {
            return self.framing.cut(Look { view: buf, raw: buf, encoding, offset: from_start, at_end });
        }
        // Two bytes a unit: framing looks at one byte for each, and its lengths are doubled.
        let odd = buf.len() % 2 == 1;
        let half = || Fault::new("half a UTF-16 unit at the end of the file");
        if buf.len() == 1 {
            return if at_end { Cut::Bad { len: 1, fault: half() } } else { Cut::More };
        }
        let view = self.units.view(buf, offset, encoding == Encoding::Utf16Be);
        let look = Look { view, raw: buf, encoding, offset: from_start / 2, at_end: at_end && !odd };
        match self.framing.cut(look) {
            Cut::Record { skip, len } => Cut::Record { skip: skip * 2, len: len * 2 },
            Cut::Skip { len } => Cut::Skip { len: len * 2 },
            Cut::Bad { len, fault } => Cut::Bad { len: len * 2, fault },
            Cut::Refused { skip, len, reason } => Cut::Refused { skip: skip * 2, len: len * 2, reason },
            Cut::More if at_end => Cut::Bad { len: buf.len(), fault: half() },
            Cut::More => Cut::More,
        }
    }

    /// Learns the encoding from the file's first bytes, if they are enough.
    fn settle(&mut self, head: &[u8], at_end: bool) -> bool {
        let xml = matches!(self.format.name, FormatName::RivtaLog | FormatName::DicomAudit);
        self.encoding = Encoding::of_file(self.format.encoding, head, xml, at_end);
        self.encoding.is_some()
    }

    fn encoding_or_guess(&self) -> (Encoding, usize) {
        let xml = matches!(self.format.name, FormatName::RivtaLog | FormatName::DicomAudit);
        let guess = || Encoding::of_file(self.format.encoding, &self.head, xml, true);
        self.encoding.or_else(guess).unwrap_or((Encoding::Utf8, 0))
    }

    /// What the file's beginning said, for [`Format::resume`].
    pub fn opening(&self) -> Opening {
        let (encoding, mark) = self.encoding_or_guess();
        let header = match &self.framing {
            Framing::Delimited(rows) => rows.header.as_ref().and_then(|header| header.row()),
            _ => None,
        };
        let header = header.and_then(|row| Some(encoding.decode(row).ok()?.into_owned()));
        Opening {
            encoding: encoding.name().to_owned(),
            configured: mark == 0 && self.format.encoding.is_some(),
            mark: u8::try_from(mark).unwrap_or_default(),
            header,
            received: matches!(self.framing, Framing::Spool),
        }
    }

    /// Refuses a file that is something else, and reads its header row.
    fn look_at_head(&mut self, head: &[u8]) -> Result<(), Fault> {
        let (encoding, bom) = self.encoding_or_guess();
        let head = head.get(bom..).unwrap_or(&[]);
        let mut units = Units::default();
        let view =
            if encoding.width() == 1 { head } else { units.view(head, 0, encoding == Encoding::Utf16Be) };
        match &mut self.framing {
            Framing::Fhir | Framing::Json => frame::json::refuse_other(view),
            Framing::Rivta | Framing::Dicom => frame::xml::refuse_other(view),
            Framing::Delimited(rows) => {
                rows.learn(Look { view, raw: head, encoding, offset: 0, at_end: false })?;
                match &rows.header {
                    Some(header) => header.places.as_ref().map(|_| ()).map_err(Fault::clone),
                    None => Ok(()),
                }
            }
            Framing::Lines(_) | Framing::Spool => Ok(()),
        }
    }

    /// Reads one record. The rows hold all that it states; who it belongs to and where it lies is for the caller.
    /// `event_id` is empty where the record has none.
    ///
    /// # Errors
    /// Names the column and what is wrong, never the value.
    pub fn parse(&self, record: &[u8]) -> Result<Vec<AccessEvent>, Fault> {
        let format = &*self.format;
        let text = self.encoding_or_guess().0.decode(record)?;
        let mut rows = match (format.name, &format.table) {
            (FormatName::FhirAuditEvent, _) => fhir::parse(&text, &format.shape)?,
            (FormatName::RivtaLog, _) => rivta::parse(&text, &format.shape)?,
            (FormatName::DicomAudit, _) => dicom::parse(&text, &format.shape)?,
            (_, Some(table)) => table.parse(&text, &self.framing, &format.shape)?,
            (_, None) => return Err(Fault::new("the format has no table of fields")),
        };
        keep_record(&mut rows, text.into_owned());
        Ok(rows)
    }
}

/// Where one record's copies would pass this many bytes, only its first row carries it.
const COPIES: usize = 64_000;

fn keep_record(rows: &mut [AccessEvent], record: String) {
    let Some((first, rest)) = rows.split_first_mut() else { return };
    if !rest.is_empty() && record.len().saturating_mul(rest.len() + 1) <= COPIES {
        for row in rest {
            row.record = Some(record.clone());
        }
    }
    first.record = Some(record);
}
