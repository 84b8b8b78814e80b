//! Rows of `quarantine` and `gaps` as they are stored, and with another state.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::error::LakeError;
use super::types::{Amended, Settled, Table};

/// What became of a file's rows.
pub(super) struct Done {
    pub rows: RecordBatch,
    /// Rows whose state is another now.
    pub changed: u64,
    /// Of these, how many were open.
    pub were_open: u64,
    pub mended: u64,
    pub explained: u64,
}

/// Rows of a file that are held at a time while it is read batch by batch: one may be long.
const ROWS: usize = 128;

/// The rows of a file, with null in columns that it is too old to have.
pub(super) fn read(table: Table, bytes: Bytes) -> Result<RecordBatch, LakeError> {
    let batches: Vec<RecordBatch> = batches(table, bytes)?.collect::<Result<_, _>>()?;
    concat_batches(&table.file_schema(), &batches).map_err(|e| LakeError::encode(table, e))
}

/// The same, some rows at a time.
pub(super) fn batches(
    table: Table,
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>>, LakeError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let reader = builder.and_then(|file| file.with_batch_size(ROWS).build());
    let reader = reader.map_err(|e| LakeError::encode(table, e))?;
    Ok(reader.map(move |batch| {
        batch.and_then(|batch| wide(table, &batch)).map_err(|e| LakeError::encode(table, e))
    }))
}

fn wide(table: Table, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.file_schema();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns: Result<Vec<ArrayRef>, _> = columns.collect();
    RecordBatch::try_new(Arc::clone(&schema), columns?)
}

/// The rows with what `states` says of them; what is mended stays mended.
pub(super) fn settled(
    table: Table,
    rows: RecordBatch,
    states: &HashMap<(String, i64), Settled>,
    amended: &Amended,
) -> Result<Done, LakeError> {
    let column = |name: &str| table.column(&rows, name);
    let files = column("file_id")?.as_string::<i32>();
    let places = column(table.place())?.as_primitive::<Int64Type>();
    let before = column("state")?.as_string::<i32>();
    let now: Vec<Option<Settled>> = (0..rows.num_rows())
        .map(|row| {
            let state = states.get(&(files.value(row).to_owned(), places.value(row))).copied()?;
            (before.is_null(row) || before.value(row) != Settled::Mended.as_str()).then_some(state)
        })
        .collect();
    let open = |row: usize| before.is_null(row) || before.value(row) == OPEN;
    let count = |of: Settled| now.iter().filter(|state| **state == Some(of)).count() as u64;
    let (changed, were_open) = (
        now.iter().flatten().count() as u64,
        now.iter().enumerate().filter(|(row, state)| state.is_some() && open(*row)).count() as u64,
    );
    let text = |name: &str, new: &dyn Fn(Settled) -> String| -> Result<ArrayRef, LakeError> {
        let old = column(name)?.as_string::<i32>();
        let values = now.iter().enumerate().map(|(row, state)| match state {
            Some(state) => Some(new(*state)),
            None => old.is_valid(row).then(|| old.value(row).to_owned()),
        });
        Ok(Arc::new(values.collect::<StringArray>()))
    };
    let at = column("state_at")?.as_primitive::<TimestampMicrosecondType>();
    let times = now.iter().enumerate().map(|(row, state)| match state {
        Some(_) => Some(amended.at),
        None => at.is_valid(row).then(|| at.value(row)),
    });
    let times: ArrayRef = Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
    let new = [
        ("state", text("state", &|state| state.as_str().to_owned())?),
        ("state_reason", text("state_reason", &|_| amended.reason.clone())?),
        ("state_by", text("state_by", &|_| amended.by.clone())?),
        ("state_at", times),
    ];
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        let found = new.iter().find(|(name, _)| name == field.name());
        found.map_or_else(|| Arc::clone(column), |(_, column)| Arc::clone(column))
    });
    let columns = columns.collect();
    let (mended, explained) = (count(Settled::Mended), count(Settled::Explained));
    let rows = RecordBatch::try_new(schema, columns).map_err(|e| LakeError::encode(table, e))?;
    Ok(Done { rows, changed, were_open, mended, explained })
}

/// The state of an item that nobody has looked at.
pub(super) const OPEN: &str = "open";
