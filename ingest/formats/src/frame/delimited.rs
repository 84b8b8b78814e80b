use std::borrow::Cow;
use std::sync::Arc;

use super::lines::{blank_lines, line_end, trim};
use super::{Look, bad_line, skip_or_bad, skip_or_more};
use crate::error::Fault;
use crate::format::Cut;
use crate::limits;
use crate::nearest;

const NOT_CLOSED: &str = "a quoted field is not closed before the next row";

const HEADER_NOT_CLOSED: &str = "the header row has a quoted field that is not closed";
const NO_HEADER: &str = "no header row ends within the first 32000 characters";
const UNREAD: &str = "the header row could not be read";

/// A quoted field that has run over the line's end and is longer than this was never meant to be one.
const LONGEST_QUOTED: usize = 64 * 1024;

/// The header row ends within so many characters, so that whoever opens a file in its midst sees it: see
/// [`crate::Format::open`].
const LONGEST_HEAD: usize = 32_000;

/// How fields are parted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    pub delimiter: u8,
    pub quote: Option<u8>,
}

/// Rows under a header row.
#[derive(Debug)]
pub(crate) struct Rows {
    pub split: Split,
    pub skip_lines: u32,
    /// The names of the columns that are read.
    pub wanted: Arc<[String]>,
    /// None until it is seen.
    pub header: Option<Header>,
}

#[derive(Debug)]
pub(crate) struct Header {
    /// How many columns it names.
    pub columns: usize,
    /// Where each wanted column stands.
    pub places: Result<Vec<usize>, Fault>,
    /// Where rows begin, in units.
    end: u64,
    /// The row itself, which some systems repeat.
    row: Vec<u8>,
}

impl Header {
    pub(crate) fn of(names: &[String], wanted: &[String], end: u64, row: Vec<u8>) -> Header {
        let place = |want: &String| {
            names.iter().position(|n| n == want).ok_or_else(|| {
                let near = nearest(want, names.iter().map(String::as_str));
                let hint = near.map(|n| format!("; the nearest is `{n}`")).unwrap_or_default();
                Fault::new(format!("the header row has no column `{want}`{hint}"))
            })
        };
        Header { columns: names.len(), places: wanted.iter().map(place).collect(), end, row }
    }
}

impl Header {
    /// The row's own bytes; none where the columns were configured.
    pub(crate) fn row(&self) -> Option<&[u8]> {
        Some(self.row.as_slice()).filter(|row| !row.is_empty())
    }
}

impl Rows {
    /// Takes a header row from before: nothing of it lies in what is read.
    pub(crate) fn resume(&mut self, text: &str, row: &[u8]) -> Result<(), Fault> {
        let header = Header::of(&self.names(text)?, &self.wanted, 0, row.to_vec());
        header.places.as_ref().map_err(Fault::clone)?;
        self.header = Some(header);
        Ok(())
    }

    fn names(&self, row: &str) -> Result<Vec<String>, Fault> {
        Ok(self.split.fields(row)?.iter().map(|name| name.trim().to_string()).collect())
    }

    /// Reads the header row, if it is whole. `look` lies at the file's beginning.
    pub(crate) fn learn(&mut self, look: Look<'_>) -> Result<(), Fault> {
        if self.header.is_some() || look.offset > 0 {
            return Ok(());
        }
        let whole = look.view.len() <= LONGEST_HEAD;
        let view = &look.view[..look.view.len().min(LONGEST_HEAD)];
        let at_end = look.at_end && whole;
        let open = if whole { Ok(()) } else { Err(Fault::new(NO_HEADER)) };
        let mut at = 0;
        for _ in 0..self.skip_lines {
            match line_end(view, at, false) {
                Some(end) => at = end + 1,
                None => return open,
            }
        }
        loop {
            at += blank_lines(&view[at..], at_end);
            let end = match self.row_end(view, at, at_end) {
                RowEnd::At(end) => end,
                RowEnd::Open => return open,
                RowEnd::Broken(_) => return Err(Fault::new(HEADER_NOT_CLOSED)),
            };
            if at == view.len() {
                return open;
            }
            let kept = trim(view, at, end);
            let text = look.text(at, kept)?;
            let after = (end + 1).min(view.len());
            // What Excel writes to say how fields are parted.
            if text.len() == 5 && text.to_ascii_lowercase().starts_with("sep=") {
                at = after;
                continue;
            }
            let names = self.names(&text)?;
            let width = look.encoding.width();
            let row = look.raw[at * width..kept * width].to_vec();
            self.header = Some(Header::of(&names, &self.wanted, after as u64, row));
            return Ok(());
        }
    }

    pub(crate) fn cut(&mut self, look: Look<'_>) -> Cut {
        if let Err(fault) = self.learn(look) {
            let len = line_end(look.view, 0, true).map_or(look.view.len(), |e| (e + 1).min(look.view.len()));
            return Cut::Bad { len, fault };
        }
        let Some(header) = &self.header else {
            return match look.offset {
                0 if look.at_end => Cut::Skip { len: look.view.len() },
                0 => Cut::More,
                // It lay before, and could not be read.
                _ => match blank_lines(look.view, look.at_end) {
                    0 => bad_line(look.view, None, look.at_end, UNREAD),
                    blank => Cut::Skip { len: blank },
                },
            };
        };
        if look.offset < header.end {
            let len = (header.end - look.offset).min(look.view.len() as u64);
            return Cut::Skip { len: len as usize };
        }
        let skip = blank_lines(look.view, look.at_end);
        if skip == look.view.len() {
            return skip_or_more(skip);
        }
        match self.row_end(look.view, skip, look.at_end) {
            RowEnd::At(end) => {
                let len = trim(look.view, skip, end) - skip;
                let width = look.encoding.width();
                let row = &look.raw[skip * width..(skip + len) * width];
                if header.row == row { Cut::Skip { len: skip + len } } else { Cut::Record { skip, len } }
            }
            RowEnd::Open => skip_or_more(skip),
            RowEnd::Broken(next) => skip_or_bad(skip, next - skip, NOT_CLOSED),
        }
    }

    /// Where the row's line feed is. Quoted fields may hold others.
    fn row_end(&self, view: &[u8], from: usize, at_end: bool) -> RowEnd {
        let first_line = line_end(view, from, at_end);
        let Some(quote) = self.split.quote else { return first_line.map_or(RowEnd::Open, RowEnd::At) };
        let line = &view[from..first_line.unwrap_or(view.len())];
        if memchr::memchr(quote, line).is_none() {
            return first_line.map_or(RowEnd::Open, RowEnd::At);
        }
        let mut at = from;
        loop {
            if view.get(at) == Some(&quote) {
                at += 1;
                match self.quoted_end(view, at, quote, at_end) {
                    Some(end) if first_line.is_none_or(|line| end <= line) || self.may_follow(view, end) => {
                        at = end
                    }
                    // A stray quote on a later line: the field was never meant to run on.
                    Some(_) => return broken(view, first_line),
                    None => {
                        let ran_on = first_line.is_some_and(|line| line < view.len());
                        let too_long = view.len() - at > LONGEST_QUOTED;
                        return match (ran_on, at_end) {
                            (true, true) => broken(view, first_line),
                            (true, false) if too_long => broken(view, first_line),
                            (false, true) => RowEnd::At(view.len()),
                            _ => RowEnd::Open,
                        };
                    }
                }
            }
            match memchr::memchr2(self.split.delimiter, b'\n', &view[at..]).map(|i| at + i) {
                Some(end) if view[end] == b'\n' => return RowEnd::At(end),
                Some(delimiter) => at = delimiter + 1,
                None if at_end => return RowEnd::At(view.len()),
                None => return RowEnd::Open,
            }
        }
    }

    /// After the closing quote; none where it is not seen, or what follows it is not.
    fn quoted_end(&self, view: &[u8], from: usize, quote: u8, at_end: bool) -> Option<usize> {
        let limit = view.len().min(from + LONGEST_QUOTED);
        let mut at = from;
        loop {
            at += memchr::memchr(quote, view.get(at..limit)?)? + 1;
            match view.get(at) {
                Some(next) if *next == quote => at += 1,
                None if !at_end => return None,
                _ => return Some(at),
            }
        }
    }

    fn may_follow(&self, view: &[u8], at: usize) -> bool {
        view.get(at).is_none_or(|b| *b == self.split.delimiter || matches!(b, b'\r' | b'\n'))
    }
}

enum RowEnd {
    At(usize),
    Open,
    /// The line is no row; the next begins here.
    Broken(usize),
}

fn broken(view: &[u8], first_line: Option<usize>) -> RowEnd {
    RowEnd::Broken(first_line.map_or(view.len(), |line| (line + 1).min(view.len())))
}

impl Split {
    /// A row's fields.
    pub(crate) fn fields<'a>(&self, row: &'a str) -> Result<Vec<Cow<'a, str>>, Fault> {
        let mut fields = Vec::with_capacity(24);
        let bytes = row.as_bytes();
        let mut at = 0;
        loop {
            limits::at_most(limits::FIELDS, fields.len(), "fields")?;
            let quoted = self.quote.filter(|q| bytes.get(at) == Some(q));
            let end = match quoted {
                Some(quote) => {
                    let (field, end) = unquote(row, at + 1, quote)
                        .ok_or_else(|| Fault::new(format!("field {} is not closed", fields.len() + 1)))?;
                    if end < bytes.len() && bytes[end] != self.delimiter {
                        let what = format!("a quote inside field {} is not doubled", fields.len() + 1);
                        return Err(Fault::new(what));
                    }
                    fields.push(field);
                    end
                }
                None => {
                    let end = memchr::memchr(self.delimiter, &bytes[at..]).map_or(bytes.len(), |i| at + i);
                    fields.push(Cow::Borrowed(&row[at..end]));
                    end
                }
            };
            if end >= bytes.len() {
                return Ok(fields);
            }
            at = end + 1;
        }
    }
}

/// The field that begins after its opening quote, and the place after its closing one.
fn unquote(row: &str, from: usize, quote: u8) -> Option<(Cow<'_, str>, usize)> {
    let bytes = row.as_bytes();
    let mut doubled = String::new();
    let mut at = from;
    loop {
        let end = at + memchr::memchr(quote, &bytes[at..])?;
        if bytes.get(end + 1) == Some(&quote) {
            doubled.push_str(&row[at..=end]);
            at = end + 2;
            continue;
        }
        let last = &row[at..end];
        let field = if doubled.is_empty() { Cow::Borrowed(last) } else { Cow::Owned(doubled + last) };
        return Some((field, end + 1));
    }
}
