//! Who changed what is stored, when, why and how much, as a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::MemTable;

use crate::error::EngineError;
use crate::lake::{Amended, Snapshot};

/// What it is called.
pub(super) const NAME: &str = "amendments";

/// A column of numbers, and where they come from.
type Count = (&'static str, fn(&Amended) -> u64);

pub(super) fn table(snapshot: &Snapshot) -> Result<MemTable, EngineError> {
    let all: Vec<(&str, &Amended)> = snapshot.amendments().collect();
    let text = |name: &'static str, of: fn((&str, &Amended)) -> String| -> (Field, ArrayRef) {
        let values: StringArray = all.iter().map(|one| Some(of(*one))).collect();
        (Field::new(name, DataType::Utf8, false), Arc::new(values))
    };
    let time = |name: &'static str, nullable: bool, of: fn(&Amended) -> Option<i64>| -> (Field, ArrayRef) {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let values: TimestampMicrosecondArray = all.iter().map(|(_, one)| of(one)).collect();
        (Field::new(name, kind, nullable), Arc::new(values.with_timezone("UTC")))
    };
    let mut columns = vec![
        text("source", |(source, _)| source.to_owned()),
        text("kind", |(_, one)| one.kind.clone()),
        time("amended_at", false, |one| Some(one.at)),
        text("amended_by", |(_, one)| one.by.clone()),
        text("reason", |(_, one)| one.reason.clone()),
        time("period_from", true, |one| one.from),
        time("period_to", true, |one| one.to),
    ];
    let counts: [Count; 6] = [
        ("removed", |one| one.removed),
        ("added", |one| one.added),
        ("quarantined", |one| one.quarantined),
        ("mended", |one| one.mended),
        ("explained", |one| one.explained),
        ("items", |one| one.items),
    ];
    for (name, of) in counts {
        let values: UInt64Array = all.iter().map(|(_, one)| Some(of(one))).collect();
        columns.push((Field::new(name, DataType::UInt64, false), Arc::new(values)));
    }
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    Ok(MemTable::try_new(schema, vec![vec![rows]])?)
}
