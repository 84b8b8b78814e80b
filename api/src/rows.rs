//! Reading cells out of record batches, by column name, whatever text type they came in.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};

/// One batch's columns, made ready for reading cell by cell.
pub(crate) struct Cells<'a> {
    batch: &'a RecordBatch,
}

/// A text column; cells of a column that is not there are empty.
pub(crate) struct Texts(Option<StringArray>);

/// A column of times, µs UTC.
pub(crate) struct Times(Option<ArrayRef>);

/// A column of flags.
pub(crate) struct Flags(Option<BooleanArray>);

/// A column of whole numbers.
pub(crate) struct Numbers(Option<Int64Array>);

impl<'a> Cells<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Cells<'a> {
        Cells { batch }
    }

    pub(crate) fn texts(&self, name: &str) -> Texts {
        Texts(self.cast(name, &DataType::Utf8).and_then(|array| array.as_string_opt::<i32>().cloned()))
    }

    pub(crate) fn times(&self, name: &str) -> Times {
        Times(self.cast(name, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))))
    }

    pub(crate) fn flags(&self, name: &str) -> Flags {
        Flags(self.cast(name, &DataType::Boolean).and_then(|array| array.as_boolean_opt().cloned()))
    }

    pub(crate) fn numbers(&self, name: &str) -> Numbers {
        let array = self.cast(name, &DataType::Int64);
        Numbers(array.and_then(|array| array.as_any().downcast_ref::<Int64Array>().cloned()))
    }

    fn cast(&self, name: &str, to: &DataType) -> Option<ArrayRef> {
        cast(self.batch.column_by_name(name)?, to).ok()
    }
}

impl Texts {
    pub(crate) fn get(&self, row: usize) -> &str {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row)).unwrap_or_default()
    }
}

impl Times {
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        let array = self.0.as_ref()?.as_primitive_opt::<TimestampMicrosecondType>()?;
        array.is_valid(row).then(|| array.value(row))
    }
}

impl Flags {
    pub(crate) fn get(&self, row: usize) -> bool {
        self.0.as_ref().is_some_and(|array| array.is_valid(row) && array.value(row))
    }
}

impl Numbers {
    pub(crate) fn get(&self, row: usize) -> i64 {
        self.0.as_ref().filter(|array| array.is_valid(row)).map(|array| array.value(row)).unwrap_or_default()
    }
}

/// How many rows there are.
pub(crate) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Only these columns, in this order; names that are not there are left out.
pub(crate) fn only(batches: &[RecordBatch], names: &[String]) -> Vec<RecordBatch> {
    let project = |batch: &RecordBatch| {
        let indices: Vec<usize> =
            names.iter().filter_map(|name| batch.schema().index_of(name).ok()).collect();
        batch.project(&indices).ok()
    };
    batches.iter().filter_map(project).collect()
}

/// The rows for which `keep` holds.
pub(crate) fn filter(
    batches: &[RecordBatch],
    keep: impl Fn(&RecordBatch) -> BooleanArray,
) -> Vec<RecordBatch> {
    batches
        .iter()
        .filter_map(|batch| arrow::compute::filter_record_batch(batch, &keep(batch)).ok())
        .filter(|batch| batch.num_rows() > 0)
        .collect()
}

/// Whose records an answer of any shape holds: what stands in columns named for subjects, and every text cell that is
/// a personal number, list and struct cells included.
pub(crate) fn subjects(batches: &[RecordBatch]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for batch in batches {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let named =
                matches!(field.name().as_str(), "subject_id" | "subject_key" | "related_id" | "other_id");
            collect(column, named, &mut found);
        }
    }
    found.into_iter().collect()
}

fn collect(column: &ArrayRef, named: bool, found: &mut BTreeSet<String>) {
    match column.data_type() {
        DataType::List(_) => collect(column.as_list::<i32>().values(), named, found),
        DataType::LargeList(_) => collect(column.as_list::<i64>().values(), named, found),
        DataType::Struct(_) => {
            for (inner, name) in column.as_struct().columns().iter().zip(column.as_struct().column_names()) {
                collect(inner, named || name == "subject_id", found);
            }
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Dictionary(..)
        | DataType::Int64
        | DataType::UInt64 => {
            let Ok(texts) = cast(column, &DataType::Utf8) else { return };
            let Some(texts) = texts.as_string_opt::<i32>() else { return };
            let numbers = !matches!(column.data_type(), DataType::Int64 | DataType::UInt64);
            for text in texts.iter().flatten() {
                if (named && numbers && !text.is_empty()) || insyn_engine::event::is_valid(text) {
                    found.insert(text.to_owned());
                } else if numbers {
                    numbers_within(text, found);
                }
            }
        }
        _ => {}
    }
}

/// Personal numbers inside a longer text, with or without their dash: concatenated columns, JSON, raw records.
fn numbers_within(text: &str, found: &mut BTreeSet<String>) {
    let bytes = text.as_bytes();
    if bytes.len() < 12 {
        return;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() || (at > 0 && bytes[at - 1].is_ascii_digit()) {
            at += 1;
            continue;
        }
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let candidate = match (digits, bytes.get(at + digits), text.get(at + digits + 1..at + digits + 5)) {
            (12, ..) => Some(text[at..at + 12].to_owned()),
            (8, Some(b'-' | b'+'), Some(last)) => Some(format!("{}{last}", &text[at..at + 8])),
            _ => None,
        };
        if let Some(candidate) = candidate.filter(|candidate| insyn_engine::event::is_valid(candidate)) {
            found.insert(candidate);
        }
        at += digits;
    }
}

/// A schema with only these columns.
pub(crate) fn schema_of(
    schema: &arrow::datatypes::SchemaRef,
    names: &[String],
) -> arrow::datatypes::SchemaRef {
    let fields: Vec<_> = names.iter().filter_map(|name| schema.field_with_name(name).ok().cloned()).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::{
        array::{StringViewArray, TimestampMicrosecondArray},
        datatypes::{Field, Schema},
    };

    use super::*;

    fn batch() -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("subject_id", DataType::Utf8View, true),
            Field::new("note", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringViewArray::from(vec![Some("R-17"), None, Some("191212121212")])),
                Arc::new(StringArray::from(vec![
                    Some("x 20121212-1212 y"),
                    Some("{\"a\":\"201212121212\"}"),
                    Some("999999999999 1234567890123456"),
                ])),
                Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("UTC")),
            ],
        )
        .unwrap()
    }

    #[test]
    fn cells_are_read_whatever_their_type() {
        let batch = batch();
        let cells = Cells::of(&batch);
        assert_eq!(cells.texts("subject_id").get(0), "R-17");
        assert_eq!(cells.texts("subject_id").get(1), "");
        assert_eq!(cells.texts("absent").get(0), "");
        assert_eq!(cells.times("at").get(2), Some(3));
    }

    #[test]
    fn subjects_are_found_wherever_they_stand() {
        let found = subjects(&[batch()]);
        assert!(
            found.contains(&"R-17".to_owned()) && found.contains(&"191212121212".to_owned()),
            "{found:?}"
        );
        assert!(!found.iter().any(|id| id.starts_with("9999") || id.len() > 12), "{found:?}");
        let valid = insyn_engine::event::is_valid("201212121212");
        assert_eq!(found.contains(&"201212121212".to_owned()), valid);
    }
}
