//! One file of a context folder into what the lake keeps of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use sha2::{Digest, Sha256};

use super::ContextError;
use super::cells::{Cell, Columns, Value, read};
use super::contradictions::{Checks, KnownIds};
use super::history::{self, Earlier, Gone, Known};
use super::manifest::{ManifestTable, UnitPeriod};
use super::read::{read_csv, read_parquet};
use super::tables::ContextTable;

/// Rows that are held as values before they become columns.
const ROWS_AT_A_TIME: usize = 65_536;

/// What is to be read, and how.
pub(super) struct Reading {
    pub(super) table: &'static ContextTable,
    pub(super) path: PathBuf,
    pub(super) zone: Tz,
    /// When the load is made, µs UTC.
    pub(super) at: i64,
    /// The file is the one that the load before read.
    pub(super) is_same: bool,
}

/// A table that was read.
pub(super) struct Read {
    pub(super) described: ManifestTable,
    /// Its rows as Parquet; none where they are those of the load before.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) gone: Option<Gone>,
    pub(super) ids: KnownIds,
}

/// Reads a file. What contradicts is only noted.
pub(super) fn encode(reading: &Reading, known: Known, ids: KnownIds) -> Result<Read, ContextError> {
    let Reading { table, path, zone, at, .. } = reading;
    let mut rows = Rows::new(reading, known, ids)?;
    let mut row = |line: u64, cells: &[Cell<'_>]| {
        let mut values = Vec::with_capacity(cells.len());
        for (cell, column) in cells.iter().zip(&table.columns) {
            values.push(read(cell, column, *zone, *at).map_err(|unfit| ContextError::Row {
                file: path.clone(),
                line,
                column: column.name.to_owned(),
                found: unfit.found,
                expected: unfit.expected.to_owned(),
            })?);
        }
        rows.push(line, &values)
    };
    let notes = match path.extension().is_some_and(|e| e == "parquet") {
        true => read_parquet(path, table, &mut row)?,
        false => read_csv(path, table, &mut row)?,
    };
    rows.finish(notes)
}

struct Rows<'a> {
    table: &'static ContextTable,
    path: &'a Path,
    columns: Columns,
    kept: Option<(Earlier, ArrowWriter<Vec<u8>>)>,
    checks: Checks,
    period: [Option<usize>; 2],
    unit: Option<usize>,
    whole: Coverage,
    units: BTreeMap<String, Coverage>,
}

impl<'a> Rows<'a> {
    fn new(reading: &'a Reading, known: Known, ids: KnownIds) -> Result<Self, ContextError> {
        let (table, path) = (reading.table, &reading.path);
        // Of what is known to be the same nothing is written: it is read for what others say of it.
        let kept = match reading.is_same {
            true => None,
            false => {
                let earlier = Earlier::read(table, known, reading.at).map_err(|e| written(path, &e))?;
                let schema = history::kept_schema(table);
                Some((earlier, history::writer(&schema).map_err(|e| written(path, &e))?))
            }
        };
        let at = |name: &str| table.columns.iter().position(|c| c.name == name);
        Ok(Rows {
            table,
            path,
            columns: Columns::new(table),
            kept,
            checks: Checks::of(table, ids),
            period: [at(table.period.0), at(table.period.1)],
            unit: at("care_unit_id"),
            whole: Coverage::default(),
            units: BTreeMap::new(),
        })
    }

    fn push(&mut self, line: u64, values: &[Value]) -> Result<(), ContextError> {
        let time = |at: Option<usize>| match at.map(|i| &values[i]) {
            Some(Value::Time(at)) => Some(*at),
            _ => None,
        };
        let (from, to) = (time(self.period[0]), time(self.period[1]));
        self.checks.row(line, values);
        self.whole.add(from, to);
        if let Some(unit) = self.unit {
            let unit = match &values[unit] {
                Value::Text(unit) => unit.as_str(),
                _ => "",
            };
            match self.units.get_mut(unit) {
                Some(known) => known.add(from, to),
                None => self.units.entry(unit.to_owned()).or_default().add(from, to),
            }
        }
        self.columns.push(values);
        if self.columns.rows() >= ROWS_AT_A_TIME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ContextError> {
        let batch = self.columns.finish().map_err(|e| written(self.path, &e))?;
        let Some((earlier, writer)) = &mut self.kept else { return Ok(()) };
        let dated = earlier.dated(&batch).map_err(|e| written(self.path, &e))?;
        writer.write(&dated).map_err(|e| written(self.path, &e))
    }

    fn finish(mut self, notes: Vec<String>) -> Result<Read, ContextError> {
        self.flush()?;
        let (bytes, gone) = match self.kept {
            Some((earlier, writer)) if !earlier.is_same() => {
                let bytes = writer.into_inner().map_err(|e| written(self.path, &e))?;
                (Some(bytes), earlier.rest().map_err(|e| written(self.path, &e))?)
            }
            _ => (None, None),
        };
        let units = self.units.into_iter().map(|(care_unit_id, c)| UnitPeriod {
            care_unit_id,
            rows: c.rows,
            from: c.from,
            to: c.to(),
        });
        let (contradictions, ids) = self.checks.done();
        let described = ManifestTable {
            table: self.table.name.to_owned(),
            file: self.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            rows: self.whole.rows,
            size: bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            path: None,
            print: None,
            digest: bytes.as_ref().map(|bytes| format!("{:x}", Sha256::digest(bytes))).unwrap_or_default(),
            from: self.whole.from,
            to: self.whole.to(),
            units: units.collect(),
            notes,
            contradictions,
        };
        Ok(Read { described, bytes, gone, ids })
    }
}

#[derive(Default)]
struct Coverage {
    rows: u64,
    from: Option<i64>,
    latest: Option<i64>,
    open: bool,
}

impl Coverage {
    fn add(&mut self, from: Option<i64>, to: Option<i64>) {
        self.rows += 1;
        self.from = self.from.into_iter().chain(from).min();
        self.latest = self.latest.into_iter().chain(to).max();
        self.open |= to.is_none();
    }

    fn to(&self) -> Option<i64> {
        if self.open { None } else { self.latest }
    }
}

fn written(path: &Path, error: &dyn std::fmt::Display) -> ContextError {
    ContextError::Io { path: path.to_owned(), what: format!("its rows cannot be kept: {error}") }
}
