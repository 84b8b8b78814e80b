//! A whole folder into the lake, or nothing of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::cells::{Cell, Columns, Value, read};
use super::manifest::{self, Manifest, ManifestTable, UnitPeriod, table_path};
use super::read::{read_csv, read_parquet};
use super::tables::{ContextTable, TABLES};
use super::{ContextError, LoadReport, LoadedTable};
use crate::error::nearest;
use crate::lake::Lake;

/// Rows that are held as values before they become columns.
const ROWS_AT_A_TIME: usize = 65_536;

/// Reads every table of `dir` and makes them the current ones, atomically. A table whose file is absent is empty
/// from now on. Dates are read in `zone`.
///
/// # Errors
/// At the first value, line or header that does not fit; nothing has changed then.
pub async fn load(lake: &Lake, dir: &Path, zone: Tz) -> Result<LoadReport, ContextError> {
    let store = lake.object_store();
    let found = find(dir)?;
    let loaded_at = Utc::now();
    let id = new_id(loaded_at, manifest::ids(store.as_ref()).await?.last());
    let mut tables = Vec::new();
    for (table, path) in found.files {
        // Reading a file of a million rows takes a while: not on the threads that serve others.
        let read = move || encode(table, &path, zone, loaded_at.timestamp_micros());
        let joined = tokio::task::spawn_blocking(read).await;
        let (described, bytes) =
            joined.map_err(|e| ContextError::Io { path: dir.to_owned(), what: e.to_string() })??;
        store.put(&table_path(&id, table.name), bytes.into()).await?;
        tables.push(described);
    }
    let manifest =
        Manifest { id, loaded_at: loaded_at.timestamp_micros(), timezone: zone.name().to_owned(), tables };
    manifest::publish(store.as_ref(), &manifest).await?;
    let tables = manifest.tables.into_iter();
    let tables = tables.map(|t| LoadedTable { table: t.table, file: t.file, rows: t.rows, notes: t.notes });
    Ok(LoadReport {
        load: manifest.id,
        loaded_at: manifest.loaded_at,
        tables: tables.collect(),
        notes: found.notes,
    })
}

/// Tables that a load of `dir` would empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Those that have rows now, with how many, and no file in the folder.
    pub tables: Vec<(&'static str, u64)>,
    /// Whether the folder has no table at all.
    pub nothing: bool,
}

impl Missing {
    /// Whether a load would take nothing away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.nothing
    }

    /// What is missing, for the one who loads.
    #[must_use]
    pub fn sentence(&self, dir: &Path) -> String {
        if self.tables.is_empty() {
            return format!(
                "{} holds no context table, expected units.csv, staff.csv and the like",
                dir.display()
            );
        }
        let tables: Vec<String> = self
            .tables
            .iter()
            .map(|(name, rows)| format!("{name} ({rows} rows in the load before)"))
            .collect();
        format!("{} lacks {}: rules that need them would fall silent", dir.display(), tables.join(", "))
    }
}

/// What a load of `dir` would take away.
///
/// # Errors
/// When the folder or the current load cannot be read.
pub async fn missing(lake: &Lake, dir: &Path) -> Result<Missing, ContextError> {
    let found = find(dir)?;
    let has = |name: &str| found.files.iter().any(|(table, _)| table.name == name);
    let now = super::status(lake).await?;
    let gone = now.iter().filter(|table| table.rows > 0 && !has(table.table));
    Ok(Missing {
        tables: gone.map(|table| (table.table, table.rows)).collect(),
        nothing: found.files.is_empty(),
    })
}

struct Found {
    files: Vec<(&'static ContextTable, PathBuf)>,
    notes: Vec<String>,
}

fn find(dir: &Path) -> Result<Found, ContextError> {
    let io = |e: std::io::Error| ContextError::Io { path: dir.to_owned(), what: e.to_string() };
    let mut found = Found { files: Vec::new(), notes: Vec::new() };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(io)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(io)?;
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if !matches!(ending, "csv" | "parquet") || !path.is_file() {
            continue;
        }
        match TABLES.iter().find(|t| t.name == stem) {
            Some(table) if found.files.iter().any(|(t, _)| t.name == table.name) => {
                return Err(ContextError::Twice { dir: dir.to_owned(), table: table.name });
            }
            Some(table) => found.files.push((table, path)),
            None => {
                let like = crate::error::did_you_mean(&nearest(stem, TABLES.iter().map(|t| t.name)));
                found.notes.push(format!("{stem}.{ending} is no context table and was left out{like}"));
            }
        }
    }
    Ok(found)
}

/// Sorts by time, and after every load that is there already, also when the clock was set back.
fn new_id(now: DateTime<Utc>, last: Option<&String>) -> String {
    let mut stamp = now.format("%Y%m%dT%H%M%S%.6fZ").to_string();
    if let Some(last) = last
        && *last >= stamp
    {
        // `z` sorts after the `-` that ends a stamp.
        let base = last.split('-').next().unwrap_or(last);
        stamp = format!("{base}z");
    }
    format!("{stamp}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// The table's file as Parquet, and what is to be said of it.
fn encode(
    table: &'static ContextTable,
    path: &Path,
    zone: Tz,
    now: i64,
) -> Result<(ManifestTable, Vec<u8>), ContextError> {
    let mut rows = Rows::new(table, path)?;
    let mut row = |line: u64, cells: &[Cell<'_>]| {
        let mut values = Vec::with_capacity(cells.len());
        for (cell, column) in cells.iter().zip(&table.columns) {
            values.push(read(cell, column, zone, now).map_err(|unfit| ContextError::Row {
                file: path.to_owned(),
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
    writer: ArrowWriter<Vec<u8>>,
    period: [Option<usize>; 2],
    unit: Option<usize>,
    whole: Coverage,
    units: BTreeMap<String, Coverage>,
}

impl<'a> Rows<'a> {
    fn new(table: &'static ContextTable, path: &'a Path) -> Result<Self, ContextError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(Default::default()))
            .set_max_row_group_row_count(Some(131_072))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties))
            .map_err(|e| written(path, &e))?;
        let at = |name: &str| table.columns.iter().position(|c| c.name == name);
        Ok(Rows {
            table,
            path,
            columns: Columns::new(table),
            writer,
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
        if let (Some(from), Some(to)) = (from, to)
            && to < from
        {
            return Err(ContextError::Row {
                file: self.path.to_owned(),
                line,
                column: self.table.period.1.to_owned(),
                found: "an end".to_owned(),
                expected: format!("one that is not before {}", self.table.period.0),
            });
        }
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
        self.writer.write(&batch).map_err(|e| written(self.path, &e))
    }

    fn finish(mut self, notes: Vec<String>) -> Result<(ManifestTable, Vec<u8>), ContextError> {
        self.flush()?;
        let bytes = self.writer.into_inner().map_err(|e| written(self.path, &e))?;
        let units = self.units.into_iter().map(|(care_unit_id, c)| UnitPeriod {
            care_unit_id,
            rows: c.rows,
            from: c.from,
            to: c.to(),
        });
        let described = ManifestTable {
            table: self.table.name.to_owned(),
            file: self.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            rows: self.whole.rows,
            size: bytes.len() as u64,
            from: self.whole.from,
            to: self.whole.to(),
            units: units.collect(),
            notes,
            digest: format!("{:x}", Sha256::digest(&bytes)),
        };
        Ok((described, bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_also_when_the_clock_goes_back() {
        let now = Utc::now();
        let first = new_id(now, None);
        let second = new_id(now, Some(&first));
        let third = new_id(now - chrono::TimeDelta::days(1), Some(&second));
        let fourth = new_id(now - chrono::TimeDelta::days(1), Some(&third));
        assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
    }
}
