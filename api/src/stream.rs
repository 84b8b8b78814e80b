//! Rows that are written while they are read: as many as there are, with a few of them held at a time.

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;
use futures::stream;
use insyn_engine::{
    output::{OutputError, Writer},
    session::Session,
    trace::Streamed,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use crate::{
    negotiate::{self, Form},
    problem::Problem,
};

/// Bytes that are sent at once.
const PART: usize = 64 * 1024;
/// Parts that wait for the reader.
const PARTS: usize = 4;
/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers that are streamed at once; each holds a version of the lake and a thread.
const AT_ONCE: usize = 4;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// Takes one of the places, before anything is read.
pub(crate) fn place() -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&TURNS).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            format!("found {AT_ONCE} answers under way that are as long as they get, expected fewer: try again later"),
        )
    })
}

/// A trace's rows as an answer; in JSON with `about` beside them. Where reading fails half-way the answer is cut off, which a
/// reader sees.
pub(crate) fn trace(
    form: Form,
    zone: Tz,
    mut rows: Streamed,
    about: serde_json::Map<String, serde_json::Value>,
    held: (OwnedSemaphorePermit, Session),
) -> Response {
    let (schema, count) = (Arc::clone(&rows.schema), rows.summary.rows);
    let runtime = Handle::current();
    let next = move || runtime.block_on(rows.next()).map_err(|fault| io::Error::other(fault.to_string()));
    let mut response = answer(form, zone, schema, next, about, held);
    response.headers_mut().insert(HeaderName::from_static("insyn-rows"), HeaderValue::from(count));
    response
}

/// The batches that `next` gives, written on a thread of their own as fast as they are taken.
fn answer(
    form: Form,
    zone: Tz,
    schema: SchemaRef,
    mut next: impl FnMut() -> io::Result<Option<RecordBatch>> + Send + 'static,
    about: serde_json::Map<String, serde_json::Value>,
    held: impl Send + 'static,
) -> Response {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(PARTS);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        // The place among others, and the version of the lake that is read.
        let _held = held;
        let mut parts = Parts { sender: sender.clone(), runtime: runtime.clone(), held: Vec::new() };
        let written = || -> io::Result<()> {
            let fault = |fault: OutputError| io::Error::other(fault.to_string());
            let (before, after) = negotiate::around(form, about);
            parts.write_all(&before)?;
            let mut writer = Writer::new(form.output(), &schema, zone, &mut parts).map_err(fault)?;
            while let Some(batch) = next()? {
                writer.write(&batch).map_err(fault)?;
            }
            writer.finish().map_err(fault)?;
            parts.write_all(&after)?;
            parts.send()
        };
        if let Err(fault) = written() {
            tracing::warn!("an answer was cut off: {fault}");
            // The reader may be the one that went away.
            let _ = runtime.block_on(sender.send_timeout(Err(fault), PATIENCE));
        }
    });
    let body = Body::from_stream(stream::poll_fn(move |context| receiver.poll_recv(context)));
    ([(header::CONTENT_TYPE, form.media_type())], body).into_response()
}

/// Bytes on their way to the reader.
struct Parts {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    held: Vec<u8>,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::take(&mut self.held));
        self.runtime
            .block_on(self.sender.send_timeout(Ok(part), PATIENCE))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away"))
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.held.len());
        self.held.extend_from_slice(&bytes[..taken]);
        if self.held.len() == PART {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::{
        array::{Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };

    use futures::StreamExt;

    use super::*;

    const BATCHES: usize = 400;
    const ROWS: usize = 1024;
    /// The least that a batch comes to in any form: two columns, 40 bytes a row.
    const BATCH_BYTES: usize = ROWS * 32;
    /// Rows of a row group at most, as the engine writes Parquet.
    const ROW_GROUP: usize = 131_072;

    /// Rows that do not compress to nothing: as many bytes as a narrow access has.
    fn batch(n: usize) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("id", DataType::Utf8, false),
        ]);
        let number = |row: usize| (n * ROWS + row) as u64;
        let id =
            |row| format!("{:016x}{:016x}", number(row).wrapping_mul(0x9e37_79b9_7f4a_7c15), number(row));
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| number(row) as i64))),
                Arc::new(StringArray::from_iter_values((0..ROWS).map(id))),
            ],
        )
        .unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn batches_are_read_as_they_are_taken_and_few_are_held() {
        for form in [Form::Json, Form::Ndjson, Form::Csv, Form::Arrow, Form::Parquet] {
            let given = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&given);
            let next = move || {
                let n = counter.fetch_add(1, Ordering::SeqCst);
                Ok((n < BATCHES).then(|| batch(n)))
            };
            let turns = Arc::new(Semaphore::new(1));
            let place = Arc::clone(&turns).acquire_owned().await.unwrap();
            let about = serde_json::Map::from_iter([("n".to_owned(), 1.into())]);
            let response = answer(form, Tz::UTC, batch(0).schema(), next, about, place);
            let mut frames = response.into_body().into_data_stream();
            let mut bytes = Vec::new();
            while let Some(part) = frames.next().await {
                let part = part.unwrap();
                assert!(part.len() <= PART);
                bytes.extend_from_slice(&part);
                // Nobody takes more until the writer stands still: what it has asked for by then is as far as it goes.
                let mut before = usize::MAX;
                while before != given.load(Ordering::SeqCst) {
                    before = given.load(Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let taken = match form {
                    // A Parquet file is written by row groups: the first part comes when the first of them is full.
                    Form::Parquet if bytes.len() > PART => continue,
                    Form::Parquet => ROW_GROUP / ROWS,
                    _ => bytes.len() / BATCH_BYTES,
                };
                let ahead = (PARTS + 2) * PART / BATCH_BYTES + 2;
                assert!(before <= taken + ahead, "{form:?}: {before} batches given, {taken} taken");
            }
            assert_eq!(given.load(Ordering::SeqCst), BATCHES + 1, "{form:?}: all were read, once");
            assert_eq!(turns.available_permits(), 1, "{form:?}: the place is free again");
            assert_eq!(rows(form, bytes), BATCHES * ROWS, "{form:?}");
        }
    }

    /// How many rows a reader of the form finds.
    fn rows(form: Form, bytes: Vec<u8>) -> usize {
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        let sum = |batches: &mut dyn Iterator<Item = RecordBatch>| {
            batches.map(|batch| batch.num_rows()).sum::<usize>()
        };
        match form {
            Form::Json => {
                let whole: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!((&whole["n"], &whole["cursor"]), (&1.into(), &serde_json::Value::Null));
                whole["items"].as_array().unwrap().len()
            }
            Form::Ndjson => lines(&bytes),
            Form::Csv => lines(&bytes) - 1,
            Form::Arrow => {
                let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
                sum(&mut reader.map(Result::unwrap))
            }
            Form::Parquet => {
                use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap().build().unwrap();
                sum(&mut reader.map(Result::unwrap))
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_that_goes_away_ends_the_reading() {
        let given = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&given);
        let next = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Some(batch(0)))
        };
        let turns = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&turns).acquire_owned().await.unwrap();
        drop(answer(Form::Ndjson, Tz::UTC, batch(0).schema(), next, serde_json::Map::new(), place));
        let over = tokio::time::timeout(Duration::from_secs(30), turns.acquire()).await;
        assert!(over.is_ok(), "endless rows came to an end after {} batches", given.load(Ordering::SeqCst));
    }
}
