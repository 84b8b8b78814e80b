#![allow(clippy::unwrap_used, clippy::expect_used)]

mod amend;
mod commits;
mod compact;
mod crash;
mod follow;
mod layout;
mod oracle;
mod retain;
mod sides;
mod users;

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use insyn_event::{AccessEvent, EventBatch};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

pub(super) const JULY_2026: i64 = 1_783_000_000_000_000;
pub(super) const YEAR: i64 = 31_557_600_000_000;

pub(super) async fn open(folder: &FsPath) -> Lake {
    Lake::open("lake", folder).await.unwrap()
}

/// Some event of `source`; `n` decides all of it.
pub(super) fn event(source: &str, n: i64) -> AccessEvent {
    AccessEvent {
        event_id: format!("{source}-{n}"),
        source: source.into(),
        organisation_id: "SE1".into(),
        controller_id: "SE1-HSN".into(),
        occurred_at: JULY_2026 + n * 1_234_567,
        subject_id: (n % 7 != 0).then(|| format!("1912{:08}", n * 7919 % 50)),
        user_id: (n % 5 != 0).then(|| format!("SE1-{}", n % 11)),
        emergency: (n % 3 == 0).then_some(n % 2 == 0),
        record: Some(format!("{{\"id\":{n}}}")),
        file_id: "f1".into(),
        file_offset: n * 100,
        file_length: 100,
        ingested_at: JULY_2026,
        ..AccessEvent::default()
    }
}

pub(super) fn quarantined(source: &str, n: i64) -> Quarantined {
    Quarantined {
        source: source.into(),
        file_id: "f1".into(),
        file_offset: n * 100,
        bytes: vec![0xff, n as u8],
        reason: "occurred_at: missing".into(),
        ingested_at: JULY_2026,
    }
}

pub(super) fn gap(source: &str, n: i64) -> Gap {
    Gap {
        source: source.into(),
        file_id: "f1".into(),
        from_offset: n * 100,
        to_offset: (n % 2 == 0).then_some(n * 100 + 50),
        reason: "the file was cut".into(),
        noticed_at: JULY_2026,
    }
}

pub(super) fn export_day(source: &str, n: i64) -> ExportDay {
    ExportDay {
        source: source.into(),
        file_id: "f1".into(),
        day: format!("day {n}"),
        rows: n,
        ..ExportDay::default()
    }
}

pub(super) fn lacking(source: &str, n: i64) -> Lacking {
    Lacking {
        source: source.into(),
        file_id: "f1".into(),
        export_file_id: "f2".into(),
        file_offset: n * 100,
        occurred_at: JULY_2026,
        noticed_at: JULY_2026,
    }
}

pub(super) fn batch(source: &str, sequence: i64, events: std::ops::Range<i64>) -> SourceCommit {
    SourceCommit {
        source: source.into(),
        sequence,
        state: format!("{{\"at\":{}}}", events.end),
        events: events.map(|n| event(source, n)).collect(),
        ..SourceCommit::default()
    }
}

/// The folder that the test `child` of a module works on, when it is run by [`run_child`]; alone, it does nothing.
pub(super) fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

const CHILD_FOLDER: &str = "INSYN_TEST_CHILD_FOLDER";

/// Runs the test `child` of a module (as `module_path!` names it) in a process of its own, which dies at a failpoint;
/// whether it lived.
pub(super) fn run_child(module: &str, folder: &FsPath, crash_at: &str) -> bool {
    let name = format!("{}::child", module.split_once("::").unwrap().1);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .env("INSYN_CRASH_AT", crash_at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// The next batch of the source, whatever its number.
pub(super) async fn commit_next(lake: &Lake, source: &str, events: std::ops::Range<i64>) -> Committed {
    let sequence = lake.progress(source).await.unwrap().sequence + 1;
    lake.commit(batch(source, sequence, events)).await.unwrap()
}

/// All rows of a table that count, as one batch in the table's schema, ordered by `by`.
pub(super) async fn rows(lake: &Lake, table: Table, by: &[&str]) -> RecordBatch {
    let snapshot = lake.snapshot().await.unwrap();
    let store = lake.object_store();
    let mut batches = Vec::new();
    for file in snapshot.files(table) {
        let bytes = store.get(&Path::from(file.path.as_str())).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.size);
        let mut read = 0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            read += batch.num_rows() as u64;
            batches.push(with_year(table, file, &batch));
        }
        assert_eq!(read, file.rows, "{}", file.path);
    }
    let all = concat_batches(&table.schema(), &batches).unwrap();
    ordered(&all, by)
}

fn with_year(table: Table, file: &LakeFile, batch: &RecordBatch) -> RecordBatch {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), &file.year) {
            ("year", Some(year)) => {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(year, batch.num_rows())))
            }
            (name, _) => Arc::clone(batch.column_by_name(name).unwrap()),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn ordered(batch: &RecordBatch, by: &[&str]) -> RecordBatch {
    if batch.num_rows() == 0 {
        return batch.clone();
    }
    let columns: Vec<_> = by
        .iter()
        .map(|name| SortColumn { values: Arc::clone(batch.column_by_name(name).unwrap()), options: None })
        .collect();
    take_record_batch(batch, &lexsort_to_indices(&columns, None).unwrap()).unwrap()
}

/// What the lake should hold: plain vectors, and the numbering of segments done the slow way.
#[derive(Default, Clone)]
pub(super) struct Oracle {
    ordinals: Vec<String>,
    pub events: Vec<AccessEvent>,
    pub quarantine: Vec<(Quarantined, i64)>,
    pub gaps: Vec<(Gap, i64)>,
    /// Rows of `exports` and `lacking`: source, batch, and the number in each.
    pub exports: Vec<(String, i64, i64)>,
    pub lacking: Vec<(String, i64, i64)>,
    pub progress: BTreeMap<String, (i64, String)>,
    /// What is settled, by table, source and place.
    pub settled: BTreeMap<(&'static str, String, i64), &'static str>,
    puts: BTreeMap<String, i64>,
}

impl Oracle {
    pub(super) fn add(&mut self, batch: &SourceCommit) {
        self.number(&batch.source, batch.sequence, &batch.events);
        self.quarantine.extend(batch.quarantine.iter().map(|row| (row.clone(), batch.sequence)));
        self.gaps.extend(batch.gaps.iter().map(|row| (row.clone(), batch.sequence)));
        let place = |n: i64| (batch.source.clone(), n, batch.sequence);
        self.exports.extend(batch.exports.iter().map(|row| place(row.rows)));
        self.lacking.extend(batch.lacking.iter().map(|row| place(row.file_offset)));
        self.progress.insert(batch.source.clone(), (batch.sequence, batch.state.clone()));
    }

    fn number(&mut self, name: &str, sequence: i64, events: &[AccessEvent]) {
        let known = self.ordinals.iter().position(|s| s == name);
        let ordinal = known.unwrap_or_else(|| {
            self.ordinals.push(name.to_owned());
            self.ordinals.len() - 1
        }) as i64
            + 1;
        let mut next: BTreeMap<String, i32> = BTreeMap::new();
        for event in events {
            let mut event = event.clone();
            event.year =
                chrono::DateTime::from_timestamp_micros(event.occurred_at).unwrap().format("%Y").to_string();
            let seq = next.entry(event.year.clone()).or_default();
            event.seq = *seq;
            *seq += 1;
            event.segment = (ordinal << 46) + (sequence << 14) + event.year.parse::<i64>().unwrap();
            self.events.push(event);
        }
    }

    /// The same amendment as the lake is given, done the slow way.
    pub(super) fn amend(&mut self, source: &str, events: &[AccessEvent], changes: &Changes) {
        if let Some(window) = changes.replaces {
            self.events.retain(|row| row.source != source || !window.holds(row.occurred_at));
        }
        let puts = self.puts.entry(source.to_owned()).or_default();
        *puts += i64::from(!events.is_empty());
        let sequence = *puts;
        self.number(&format!("{source}:again"), sequence, events);
        let counted = self.progress[source].0;
        for (table, states) in [("quarantine", &changes.quarantine_states), ("gaps", &changes.gap_states)] {
            for ((_, place), state) in states {
                let there = match table {
                    "gaps" => self.gaps.iter().any(|(r, _)| r.source == source && r.from_offset == *place),
                    _ => self.quarantine.iter().any(|(r, _)| r.source == source && r.file_offset == *place),
                };
                let entry = self.settled.entry((table, source.to_owned(), *place));
                if there {
                    let state = state.as_str();
                    entry
                        .and_modify(|s| {
                            if *s != "mended" {
                                *s = state
                            }
                        })
                        .or_insert(state);
                }
            }
        }
        self.quarantine.extend(changes.quarantine.iter().map(|row| (row.clone(), counted)));
    }

    /// The same removal as the lake is given: records go whole.
    pub(super) fn retain(&mut self, plan: &crate::retain::Plan) {
        use crate::retain::{Fate, Row};
        let goes = |event: &AccessEvent| {
            let row = Row {
                source: &event.source,
                controller: &event.controller_id,
                category: event.data_category.as_deref(),
                at: event.occurred_at,
                subject: event.subject_id.as_deref(),
                user: event.user_id.as_deref(),
                person: event.user_person_id.as_deref(),
                case: event.access_ground.as_deref(),
            };
            matches!(plan.fate(&row), Fate::Goes(_))
        };
        let record = |event: &AccessEvent| (event.source.clone(), event.file_id.clone(), event.file_offset);
        let stay: std::collections::BTreeSet<_> =
            self.events.iter().filter(|event| !goes(event)).map(record).collect();
        self.events.retain(|event| stay.contains(&record(event)));
        let gone = |source: &str, at: i64, bytes: &[u8]| {
            let row = Row { source, at, ..Row::default() };
            matches!(plan.fate(&row), Fate::Goes(_)) && !plan.holds.name_any(bytes)
        };
        self.quarantine.retain(|(row, _)| !gone(&row.source, row.ingested_at, &row.bytes));
        self.gaps.retain(|(row, _)| !gone(&row.source, row.noticed_at, &[]));
        let (quarantine, gaps) = (&self.quarantine, &self.gaps);
        self.settled.retain(|(table, source, place), _| match *table {
            "gaps" => gaps.iter().any(|(row, _)| row.source == *source && row.from_offset == *place),
            _ => quarantine.iter().any(|(row, _)| row.source == *source && row.file_offset == *place),
        });
    }

    /// The states of a side table's rows, in their order.
    fn states(&self, table: &'static str, places: &[(String, i64)]) -> Vec<&str> {
        let state = |(source, place): &(String, i64)| self.settled.get(&(table, source.clone(), *place));
        places.iter().map(|place| state(place).copied().unwrap_or("open")).collect()
    }

    #[track_caller]
    fn events_batch(&self) -> RecordBatch {
        let mut batch = EventBatch::default();
        self.events.iter().for_each(|event| batch.push(event));
        ordered(&batch.finish().unwrap(), &["segment", "seq"])
    }
}

/// Asserts that the lake holds exactly what the oracle holds: every column of every row, and the positions.
pub(super) async fn assert_same(lake: &Lake, oracle: &Oracle) {
    assert_eq!(rows(lake, Table::AccessEvents, &["segment", "seq"]).await, oracle.events_batch());

    let by = ["source", "sequence", "file_id", "file_offset"];
    let found = rows(lake, Table::Quarantine, &by).await;
    let mut expected = oracle.quarantine.clone();
    expected.sort_by_key(|(row, sequence)| (row.source.clone(), *sequence, row.file_offset));
    assert_eq!(side_rows(&found, "file_offset"), side_of(&expected, |r| (&r.source, r.file_offset)));
    let places: Vec<_> = expected.iter().map(|(r, _)| (r.source.clone(), r.file_offset)).collect();
    assert_eq!(states(&found), oracle.states("quarantine", &places));
    let bytes = found.column_by_name("bytes").unwrap();
    let bytes = bytes.as_any().downcast_ref::<arrow::array::BinaryArray>().unwrap();
    assert!(bytes.iter().zip(&expected).all(|(found, (row, _))| found == Some(&row.bytes)));

    let found = rows(lake, Table::Gaps, &["source", "sequence", "file_id", "from_offset"]).await;
    let mut expected = oracle.gaps.clone();
    expected.sort_by_key(|(row, sequence)| (row.source.clone(), *sequence, row.from_offset));
    assert_eq!(side_rows(&found, "from_offset"), side_of(&expected, |r| (&r.source, r.from_offset)));
    let places: Vec<_> = expected.iter().map(|(r, _)| (r.source.clone(), r.from_offset)).collect();
    assert_eq!(states(&found), oracle.states("gaps", &places));

    for (table, column, expected) in
        [(Table::Exports, "rows", &oracle.exports), (Table::Lacking, "file_offset", &oracle.lacking)]
    {
        let mut expected = expected.clone();
        expected.sort();
        assert_eq!(side_rows(&rows(lake, table, &["source", column, "sequence"]).await, column), expected);
    }

    for (source, (sequence, state)) in &oracle.progress {
        let progress = lake.progress(source).await.unwrap();
        assert_eq!((progress.sequence, progress.state.as_deref()), (*sequence, Some(state.as_str())));
        let count = |n: usize| n as u64;
        assert_eq!(progress.events, count(oracle.events.iter().filter(|e| e.source == *source).count()));
        assert_eq!(
            progress.quarantined,
            count(oracle.quarantine.iter().filter(|(r, _)| r.source == *source).count())
        );
        assert_eq!(progress.gaps, count(oracle.gaps.iter().filter(|(r, _)| r.source == *source).count()));
        let open = |table: &str, all: u64| {
            let settled = oracle.settled.keys().filter(|(of, name, _)| *of == table && name == source);
            all - count(settled.count())
        };
        assert_eq!(progress.quarantine_open, open("quarantine", progress.quarantined));
        assert_eq!(progress.gaps_open, open("gaps", progress.gaps));
        let last = oracle.events.iter().filter(|e| e.source == *source).map(|e| e.occurred_at).max();
        assert_eq!(progress.last_event, last);
    }
}

fn side_rows(batch: &RecordBatch, offset: &str) -> Vec<(String, i64, i64)> {
    let source = batch.column_by_name("source").unwrap();
    let source = source.as_any().downcast_ref::<StringArray>().unwrap();
    let long = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_any()
            .downcast_ref::<arrow::array::Int64Array>()
            .unwrap()
            .clone()
    };
    let (offset, sequence) = (long(offset), long("sequence"));
    (0..batch.num_rows()).map(|i| (source.value(i).to_string(), offset.value(i), sequence.value(i))).collect()
}

fn side_of<T>(rows: &[(T, i64)], key: impl Fn(&T) -> (&String, i64)) -> Vec<(String, i64, i64)> {
    let row = |(row, sequence): &(T, i64)| {
        let (source, offset) = key(row);
        (source.clone(), offset, *sequence)
    };
    rows.iter().map(row).collect()
}

/// The states of a side table's rows; null, in files that are older than the column, is open.
fn states(batch: &RecordBatch) -> Vec<&str> {
    let states = batch.column_by_name("state").unwrap().as_string::<i32>();
    states.iter().map(|state| state.unwrap_or("open")).collect()
}
