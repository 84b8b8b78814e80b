//! A workbook of Excel's (XLSX) as delimited text: its first sheet, a row a line, in UTF-8 with a byte order mark.
//!
//! The text is made as it is read, so that a large sheet needs no more memory than its shared strings. What a workbook
//! unpacks to is measured first: one that is made to fill the memory is refused.

use std::io::{self, Read, Seek};

use calamine::{DataRef, ExcelDateTime, Reader as _, Xlsx};
use zip::ZipArchive;

/// How a workbook begins: as every ZIP file that has something in it.
pub const FIRST: &[u8] = b"PK\x03\x04";
/// All that a workbook unpacks to.
const MOST_UNPACKED: u64 = 1 << 30;
/// Every part but the sheets is held in memory.
const MOST_HELD: u64 = 64 << 20;
/// A cell has 32,767 characters at most.
const LONGEST_TEXT: usize = 1 << 20;
const CHUNK: usize = 64 << 10;

/// How its rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowStyle {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold one.
    pub quote: u8,
}

impl Default for RowStyle {
    fn default() -> RowStyle {
        RowStyle { delimiter: b';', quote: b'"' }
    }
}

/// Gives the text of the first sheet to `give`, part by part, until that says that nobody reads any more.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] when it is no workbook that can be read, or unpacks to more than one may.
pub fn write(
    mut workbook: impl Read + Seek,
    style: RowStyle,
    mut give: impl FnMut(Vec<u8>) -> bool,
) -> io::Result<()> {
    measure(&mut workbook)?;
    workbook.rewind()?;
    let mut workbook = Xlsx::new(workbook).map_err(refused)?;
    let name = workbook.sheet_names().first().cloned().ok_or_else(|| refused("it has no sheet"))?;
    let mut cells = workbook.worksheet_cells_reader(&name).map_err(refused)?;
    let mut text = b"\xEF\xBB\xBF".to_vec();
    let mut row = Row { number: 0, fields: Vec::new(), width: 0 };
    while let Some(cell) = cells.next_cell().map_err(refused)? {
        let (number, column) = cell.get_position();
        if number != row.number {
            row.write(&mut text, style);
            row.number = number;
        }
        if text.len() >= CHUNK && !give(std::mem::take(&mut text)) {
            return Ok(());
        }
        row.put(column as usize, text_of(cell.get_value()));
    }
    row.write(&mut text, style);
    if !text.is_empty() {
        give(text);
    }
    Ok(())
}

/// One row, as far as its cells have come.
struct Row {
    number: u32,
    fields: Vec<String>,
    /// Of the first row that has anything: every row has as many fields.
    width: usize,
}

impl Row {
    /// Excel has 16,384 columns.
    fn put(&mut self, column: usize, text: String) {
        if column < 16_384 {
            if self.fields.len() <= column {
                self.fields.resize(column + 1, String::new());
            }
            if let Some(field) = self.fields.get_mut(column) {
                *field = text;
            }
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, RowStyle { delimiter, quote }: RowStyle) {
        while self.fields.last().is_some_and(|field| field.is_empty()) {
            self.fields.pop();
        }
        if self.fields.is_empty() {
            return;
        }
        if self.width == 0 {
            self.width = self.fields.len();
        }
        self.fields.resize(self.fields.len().max(self.width), String::new());
        for (n, field) in self.fields.drain(..).enumerate() {
            if n > 0 {
                out.push(delimiter);
            }
            let plain = |byte: &u8| ![delimiter, quote, b'\n', b'\r'].contains(byte);
            if field.bytes().all(|byte| plain(&byte)) {
                out.extend_from_slice(field.as_bytes());
                continue;
            }
            out.push(quote);
            for byte in field.bytes() {
                if byte == quote {
                    out.push(quote);
                }
                out.push(byte);
            }
            out.push(quote);
        }
        out.push(b'\n');
    }
}

/// A cell as a person sees it, numbers without a thousands separator, times as `2026-03-02 08:00:00`.
fn text_of(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::Bool(flag) => flag.to_string(),
        DataRef::DateTime(time) => time_of(time),
        DataRef::Error(error) => error.to_string(),
    }
}

fn time_of(time: &ExcelDateTime) -> String {
    if !time.is_datetime() {
        return time.as_f64().to_string();
    }
    // Times are fractions of a day: the second that is meant is the nearest one.
    let second = 1.0 / 86_400.0;
    let rounded = (time.as_f64() / second).round() * second;
    let whole = if (rounded - time.as_f64()).abs() < second / 1000.0 {
        rounded + second / 1e6
    } else {
        time.as_f64()
    };
    let near = ExcelDateTime::new(whole, calamine::ExcelDateTimeType::DateTime, false);
    let (year, month, day, hour, minute, second, milli) = near.to_ymd_hms_milli();
    let clock = match milli {
        0 => format!("{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}.{milli:03}"),
    };
    match time.as_f64() < 1.0 {
        true => clock,
        false => format!("{year:04}-{month:02}-{day:02} {clock}"),
    }
}

/// Unpacks every part once, keeping nothing, and refuses what would not fit.
fn measure(workbook: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut parts = ZipArchive::new(workbook).map_err(refused)?;
    let (mut all, mut held) = (0, 0);
    let mut buffer = vec![0; CHUNK];
    for n in 0..parts.len() {
        let mut part = parts.by_index(n).map_err(refused)?;
        let is_sheet = part.name().is_ok_and(|name| name.starts_with("xl/worksheets/"));
        let mut text = 0;
        loop {
            let read = part.read(&mut buffer).map_err(refused)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            all += read as u64;
            held += if is_sheet { 0 } else { read as u64 };
            text = match memchr::memrchr(b'<', bytes) {
                Some(at) => read - at,
                None => text + read,
            };
            if all > MOST_UNPACKED || held > MOST_HELD || is_sheet && text > LONGEST_TEXT {
                return Err(refused("it unpacks to more than a workbook may"));
            }
        }
    }
    Ok(())
}

/// A fault of the workbook, not of the packing of a log that is still being written.
fn refused(fault: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("not a workbook that can be read: {fault}"))
}
