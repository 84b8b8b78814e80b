//! The files of a context folder, row by row.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ContextError;
use super::cells::Cell;
use super::tables::ContextTable;
use crate::error::nearest;

/// Takes one row: its number in the file, and its cells in the order of the header.
type RowSink<'a> = dyn FnMut(u64, &[Cell<'_>]) -> Result<(), ContextError> + 'a;

/// Where each of the table's columns stands in the file, and what of the file has no place in the table.
struct Layout {
    at: Vec<Option<usize>>,
    notes: Vec<String>,
}

/// Calls `row` with line and cells (in the table's order) for every row; returns what was left out.
pub(super) fn read_csv(
    path: &Path,
    table: &ContextTable,
    row: &mut RowSink<'_>,
) -> Result<Vec<String>, ContextError> {
    let mut file = BufReader::new(open(path)?);
    skip_byte_order_mark(&mut file).map_err(|e| io(path, &e))?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut record = csv::ByteRecord::new();
    let mut header: Option<(Layout, usize)> = None;
    while reader.read_byte_record(&mut record).map_err(|e| line(path, reader_line(&e), "unreadable CSV"))? {
        let at = record.position().map_or(0, csv::Position::line);
        let fields: Vec<&str> = record
            .iter()
            .map(|f| {
                std::str::from_utf8(f)
                    .map_err(|_| line(path, at, "found bytes that are not UTF-8, expected UTF-8"))
            })
            .collect::<Result<_, _>>()?;
        let Some((known, width)) = &header else {
            header = Some((layout(path, table, &fields)?, fields.len()));
            continue;
        };
        if fields.len() != *width {
            let what = format!("found {} fields, expected {width} as in the header", fields.len());
            return Err(line(path, at, &what));
        }
        let cells: Vec<Cell<'_>> =
            known.at.iter().map(|i| i.map_or(Cell::Empty, |i| Cell::Text(fields[i]))).collect();
        row(at, &cells)?;
    }
    match header {
        Some((layout, _)) => Ok(layout.notes),
        None => Err(ContextError::Header {
            file: path.to_owned(),
            what: "found an empty file, expected a header".into(),
        }),
    }
}

/// As [`read_csv`]; the line is the row's number.
pub(super) fn read_parquet(
    path: &Path,
    table: &ContextTable,
    row: &mut RowSink<'_>,
) -> Result<Vec<String>, ContextError> {
    let unreadable = |e: &dyn std::fmt::Display| ContextError::Io {
        path: path.to_owned(),
        what: format!("unreadable Parquet: {e}"),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(open(path)?).map_err(|e| unreadable(&e))?;
    let schema = builder.schema().clone();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let layout = layout(path, table, &names)?;
    let mut number = 0;
    for batch in builder.build().map_err(|e| unreadable(&e))? {
        let batch = batch.map_err(|e| unreadable(&e))?;
        let columns: Vec<Option<ArrayRef>> = layout
            .at
            .iter()
            .zip(&table.columns)
            .map(|(at, column)| match at {
                Some(at) => plain(batch.column(*at)).map(Some).ok_or_else(|| ContextError::Header {
                    file: path.to_owned(),
                    what: format!(
                        "column {} is of type {}, expected text",
                        column.name,
                        batch.column(*at).data_type()
                    ),
                }),
                None => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        for i in 0..batch.num_rows() {
            number += 1;
            let cells: Vec<Cell<'_>> =
                columns.iter().map(|c| c.as_ref().map_or(Cell::Empty, |c| cell(c, i))).collect();
            row(number, &cells)?;
        }
    }
    Ok(layout.notes)
}

fn layout(path: &Path, table: &ContextTable, header: &[&str]) -> Result<Layout, ContextError> {
    let bad = |what: String| ContextError::Header { file: path.to_owned(), what };
    let header: Vec<&str> = header.iter().map(|h| h.trim()).collect();
    for (i, name) in header.iter().enumerate() {
        if header[..i].contains(name) {
            return Err(bad(format!("column {name:?} stands there twice")));
        }
    }
    let at: Vec<Option<usize>> =
        table.columns.iter().map(|c| header.iter().position(|h| *h == c.name)).collect();
    let unknown: Vec<&str> = header.iter().copied().filter(|h| table.column(h).is_none()).collect();
    for (column, at) in table.columns.iter().zip(&at) {
        if column.required && at.is_none() {
            let like = nearest(column.name, unknown.iter().copied());
            let like = like.map(|l| format!(" (found {l:?})")).unwrap_or_default();
            return Err(bad(format!("column {:?} is missing{like}", column.name)));
        }
    }
    let missing: Vec<&str> =
        table.columns.iter().zip(&at).filter(|(_, at)| at.is_none()).map(|(c, _)| c.name).collect();
    let notes = unknown.iter().map(|name| {
        let like = crate::error::did_you_mean(&nearest(name, missing.iter().copied()));
        format!("column {name:?} is none of {}'s and was left out{like}", table.name)
    });
    let notes = notes.collect();
    Ok(Layout { at, notes })
}

/// One of the few types that [`cell`] knows; `None` for lists, structs and the like.
fn plain(array: &ArrayRef) -> Option<ArrayRef> {
    let target = match array.data_type() {
        DataType::Boolean | DataType::Date32 => return Some(ArrayRef::clone(array)),
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        t if t.is_nested() => return None,
        _ => DataType::Utf8,
    };
    cast(array, &target).ok()
}

fn cell(array: &ArrayRef, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Empty;
    }
    match array.data_type() {
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
        DataType::Boolean => Cell::Flag(array.as_boolean().value(row)),
        DataType::Date32 => {
            let date: Option<NaiveDate> = array.as_primitive::<Date32Type>().value_as_date(row);
            date.map_or(Cell::Empty, Cell::Date)
        }
        DataType::Timestamp(_, zone) => {
            let at = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match (zone, DateTime::from_timestamp_micros(at)) {
                (None, Some(local)) => Cell::Local(local.naive_utc()),
                _ => Cell::Instant(at),
            }
        }
        _ => Cell::Empty,
    }
}

fn open(path: &Path) -> Result<File, ContextError> {
    File::open(path).map_err(|e| io(path, &e))
}

fn skip_byte_order_mark(file: &mut BufReader<File>) -> std::io::Result<()> {
    use std::io::BufRead;
    if file.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        file.read_exact(&mut [0; 3])?;
    }
    Ok(())
}

fn io(path: &Path, error: &std::io::Error) -> ContextError {
    ContextError::Io { path: path.to_owned(), what: error.to_string() }
}

fn line(path: &Path, line: u64, what: &str) -> ContextError {
    ContextError::Line { file: PathBuf::from(path), line, what: what.to_owned() }
}

fn reader_line(error: &csv::Error) -> u64 {
    error.position().map_or(0, csv::Position::line)
}
