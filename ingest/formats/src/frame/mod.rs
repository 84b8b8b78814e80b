//! Where records begin and end.
//!
//! Framing keeps no state that a boundary does not show: from any earlier boundary, and however the bytes are parted,
//! it finds the same records. It looks at one byte a unit, so that UTF-16 needs no framing of its own.

pub(crate) mod delimited;
pub(crate) mod dicom;
pub(crate) mod json;
pub(crate) mod lines;
pub mod spool;
pub(crate) mod xml;

use std::borrow::Cow;

use crate::encoding::Encoding;
use crate::error::Fault;
use crate::format::Cut;

/// How a file's records are framed.
#[derive(Debug)]
pub(crate) enum Framing {
    /// FHIR: NDJSON, pretty JSON, arrays, Bundles.
    Fhir,
    /// JSON objects, one after the other or in an array.
    Json,
    /// XML documents with `log` elements.
    Rivta,
    /// Audit messages, bare or in syslog frames.
    Dicom,
    /// Rows whose quoted fields may hold line breaks.
    Delimited(delimited::Rows),
    /// Lines, or blocks that begin with a line that matches.
    Lines(lines::Lines),
    /// Records after their lengths: the spool's own files, whatever the format of the records.
    Spool,
}

/// Bytes to look at: one byte a unit, and what they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// One byte a unit.
    pub view: &'a [u8],
    /// The bytes as they are: `width` of them a unit.
    pub raw: &'a [u8],
    pub encoding: Encoding,
    /// Units before `view`, the byte order mark not counted.
    pub offset: u64,
    pub at_end: bool,
}

impl<'a> Look<'a> {
    /// The text of some units.
    pub(crate) fn text(&self, from: usize, to: usize) -> Result<Cow<'a, str>, Fault> {
        let width = self.encoding.width();
        self.encoding.decode(self.raw.get(from * width..to * width).unwrap_or(&[]))
    }
}

impl Framing {
    pub(crate) fn cut(&mut self, look: Look<'_>) -> Cut {
        match self {
            Framing::Fhir => json::cut(look.view, look.offset == 0, look.at_end, true),
            Framing::Json => json::cut(look.view, look.offset == 0, look.at_end, false),
            Framing::Rivta => xml::cut(look.view, look.at_end),
            Framing::Dicom => dicom::cut(look.view, look.at_end),
            Framing::Delimited(rows) => rows.cut(look),
            Framing::Lines(lines) => lines.cut(look),
            Framing::Spool => spool::cut(look.view, look.offset, look.at_end),
        }
    }
}

/// What is known to belong to no record is let go while the rest is waited for.
pub(crate) fn skip_or_more(skip: usize) -> Cut {
    if skip > 0 { Cut::Skip { len: skip } } else { Cut::More }
}

/// Sends `len` bytes to quarantine once nothing stands before them.
pub(crate) fn skip_or_bad(skip: usize, len: usize, what: &str) -> Cut {
    if skip > 0 { Cut::Skip { len: skip } } else { Cut::Bad { len, fault: Fault::new(what) } }
}

/// Sends everything to the end of the line, or to `before` if that comes first, to quarantine.
pub(crate) fn bad_line(view: &[u8], before: Option<usize>, at_end: bool, what: &str) -> Cut {
    let line = memchr::memchr(b'\n', view).map(|i| i + 1).or(at_end.then_some(view.len()));
    match line.into_iter().chain(before).min() {
        Some(len) => Cut::Bad { len, fault: Fault::new(what) },
        None => Cut::More,
    }
}
