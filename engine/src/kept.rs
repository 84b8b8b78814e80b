//! What a source wrote, as the lake has kept it: its records and its quarantined bytes, file by file in their order.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use insyn_event::AccessEvent;

use crate::error::EngineError;
use crate::lake::{Amended, Snapshot, Table, Window};
use crate::session::{Session, instant};

/// Bytes of a file, where they lay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which file.
    pub file_id: String,
    /// In decompressed bytes.
    pub offset: i64,
    /// When it was read first, µs UTC.
    pub ingested_at: i64,
    /// What it is.
    pub kept: Kept,
}

/// How a piece is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// As rows of `access_events`.
    Record {
        /// The record; none where no row has it.
        record: Option<String>,
        /// How many bytes it had.
        length: i64,
        /// The id of the event.
        event_id: String,
        /// Who sent it.
        received_from: Option<String>,
        /// How many rows it gave.
        rows: u64,
        /// The amendment that read it last; none where the first reading stands.
        amended: Option<Box<Amended>>,
    },
    /// In quarantine, as nothing that anybody could read.
    Quarantined {
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// It was in quarantine and is read since: records come of its bytes.
    Mended {
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Pieces of one source, by file and place.
pub struct Pieces {
    snapshot: Snapshot,
    source: String,
    rows: SendableRecordBatchStream,
    batch: Option<RecordBatch>,
    at: usize,
    held: Option<Piece>,
}

impl Pieces {
    /// What `source` wrote: records of `window`, and all that is or was in quarantine; at one place what was mended comes
    /// first. The beginnings of records that were too long to keep are left out: they are no records.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn of(session: &Session, source: &str, window: Window) -> Result<Pieces, EngineError> {
        // The order of a file is the order of its bytes; a record's own rows lie at one place.
        let query = "SELECT file_id, file_offset, ingested_at, record, file_length, event_id, received_from, \
             CAST(NULL AS BYTEA) AS bytes, segment, FALSE AS mended FROM access_events \
             WHERE source = $source AND occurred_at >= $from AND occurred_at < $to \
             UNION ALL \
             SELECT q.file_id, q.file_offset, q.ingested_at, NULL, CAST(0 AS BIGINT), NULL, NULL, q.bytes, NULL, \
             q.state = 'mended' FROM quarantine q LEFT ANTI JOIN \
             (SELECT file_id, from_offset FROM gaps WHERE source = $source AND to_offset IS NOT NULL) g \
             ON q.file_id = g.file_id AND q.file_offset = g.from_offset \
             WHERE q.source = $source \
             ORDER BY file_id, file_offset, mended DESC";
        let parameters = vec![
            ("source", ScalarValue::from(source)),
            ("from", instant(window.from.unwrap_or(i64::MIN))),
            ("to", instant(window.to.unwrap_or(i64::MAX))),
        ];
        let rows = session.ask(query, parameters).await?.execute_stream().await?;
        let snapshot = session.snapshot().clone();
        Ok(Pieces { snapshot, source: source.to_owned(), rows, batch: None, at: 0, held: None })
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn next(&mut self) -> Result<Option<Piece>, EngineError> {
        while let Some(row) = self.row().await? {
            match (&mut self.held, row) {
                (Some(held), row) if held.joins(&row) => held.take_in(row),
                (held, row) => {
                    if let Some(piece) = held.replace(row) {
                        return Ok(Some(piece));
                    }
                }
            }
        }
        Ok(self.held.take())
    }

    async fn row(&mut self) -> Result<Option<Piece>, EngineError> {
        loop {
            if let Some(batch) = &self.batch
                && self.at < batch.num_rows()
            {
                self.at += 1;
                return Ok(Some(self.piece(batch, self.at - 1)));
            }
            match self.rows.next().await {
                Some(batch) => (self.batch, self.at) = (Some(batch?), 0),
                None => return Ok(None),
            }
        }
    }

    fn piece(&self, batch: &RecordBatch, row: usize) -> Piece {
        let text = |column: usize| {
            let column = batch.column(column).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let long = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
        let bytes = batch.column(7).as_binary::<i32>();
        let mended = batch.column(9).as_boolean().value(row);
        let kept = match bytes.is_valid(row) {
            true if mended => Kept::Mended { bytes: bytes.value(row).to_vec() },
            true => Kept::Quarantined { bytes: bytes.value(row).to_vec() },
            false => Kept::Record {
                record: text(3),
                length: long(4),
                event_id: text(5).unwrap_or_default(),
                received_from: text(6),
                rows: 1,
                amended: self.snapshot.amendment_of(&self.source, long(8)).cloned().map(Box::new),
            },
        };
        Piece {
            file_id: text(0).unwrap_or_default(),
            offset: long(1),
            ingested_at: batch.column(2).as_primitive::<TimestampMicrosecondType>().value(row),
            kept,
        }
    }
}

/// Shows `each` row that other files than `file` state of a source between two instants (µs UTC, both included), without
/// its record; in any order.
///
/// # Errors
/// When the lake cannot be read.
pub async fn rows_beside(
    session: &Session,
    source: &str,
    file: &str,
    (from, to): (i64, i64),
    mut each: impl FnMut(AccessEvent),
) -> Result<(), EngineError> {
    let query = "SELECT * EXCEPT (record) FROM access_events WHERE source = $source AND file_id <> $file \
         AND occurred_at >= $from AND occurred_at <= $to";
    let parameters = vec![
        ("source", ScalarValue::from(source)),
        ("file", ScalarValue::from(file)),
        ("from", instant(from)),
        ("to", instant(to)),
    ];
    let mut rows = session.ask(query, parameters).await?.execute_stream().await?;
    while let Some(batch) = rows.next().await {
        AccessEvent::rows_of(&batch?).into_iter().for_each(&mut each);
    }
    Ok(())
}

/// Shows `each` piece that other files than `file` have in quarantine.
///
/// # Errors
/// When the lake cannot be read.
pub async fn quarantined_beside(
    session: &Session,
    source: &str,
    file: &str,
    mut each: impl FnMut(&[u8]),
) -> Result<(), EngineError> {
    let query = "SELECT bytes FROM quarantine WHERE source = $source AND file_id <> $file";
    let parameters = vec![("source", ScalarValue::from(source)), ("file", ScalarValue::from(file))];
    let mut rows = session.ask(query, parameters).await?.execute_stream().await?;
    while let Some(batch) = rows.next().await {
        batch?.column(0).as_binary::<i32>().iter().flatten().for_each(&mut each);
    }
    Ok(())
}

/// Items of `quarantine` or `gaps` that nobody has settled: file and place.
///
/// # Errors
/// When the lake cannot be read.
pub async fn open_items(
    session: &Session,
    table: Table,
    source: &str,
) -> Result<Vec<(String, i64)>, EngineError> {
    let (name, place) = (table.name(), table.place());
    let query = format!(
        "SELECT file_id, {place} FROM {name} WHERE source = $source AND state = 'open' ORDER BY 1, 2"
    );
    let frame = session.ask(&query, vec![("source", ScalarValue::from(source))]).await?;
    let mut items = Vec::new();
    for batch in frame.collect().await? {
        let (files, places) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        items.extend(files.iter().flatten().map(str::to_owned).zip(places.values().iter().copied()));
    }
    Ok(items)
}

impl Piece {
    /// Whether both are rows of one record.
    fn joins(&self, other: &Piece) -> bool {
        matches!((&self.kept, &other.kept), (Kept::Record { .. }, Kept::Record { .. }))
            && (&self.file_id, self.offset) == (&other.file_id, other.offset)
    }

    fn take_in(&mut self, other: Piece) {
        if let (Kept::Record { record, rows, .. }, Kept::Record { record: more, rows: further, .. }) =
            (&mut self.kept, other.kept)
        {
            *rows += further;
            if record.is_none() {
                *record = more;
            }
        }
    }
}
