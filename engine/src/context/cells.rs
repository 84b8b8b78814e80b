//! One written value to one kept value.

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use insyn_event::{hsa_id, normalise};
use std::sync::Arc;

use super::tables::{ContextColumn, ContextTable, Kind};

/// A value as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Empty,
    Text(&'a str),
    /// µs UTC.
    Instant(i64),
    /// A date and time of day whose zone the file does not say.
    Local(NaiveDateTime),
    Date(NaiveDate),
    Flag(bool),
}

/// A value as the lake keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Time(i64),
    Date(NaiveDate),
    Flag(bool),
}

/// What stood there and what should have; neither is the value itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unfit {
    pub(super) found: String,
    pub(super) expected: &'static str,
}

/// Reads `cell` as what `column` holds. `now` judges the century of personal numbers that lack it.
pub(super) fn read(cell: &Cell<'_>, column: &ContextColumn, zone: Tz, now: i64) -> Result<Value, Unfit> {
    let cell = match cell {
        Cell::Text(text) if text.trim().is_empty() => &Cell::Empty,
        other => other,
    };
    if *cell == Cell::Empty {
        return match column.filled {
            true => Err(Unfit { found: "nothing".to_owned(), expected: "a value in every row" }),
            false => Ok(Value::Null),
        };
    }
    let value = match (column.kind, cell) {
        (Kind::Text, Cell::Text(text)) => Some(Value::Text(hsa_id(text).into_owned())),
        (Kind::Person, Cell::Text(text)) => Some(Value::Text(normalise(text.trim(), None, now).id)),
        (Kind::Flag, Cell::Flag(flag)) => Some(Value::Flag(*flag)),
        (Kind::Flag, Cell::Text(text)) => flag(text.trim()).map(Value::Flag),
        (Kind::Date, Cell::Date(date)) => Some(Value::Date(*date)),
        (Kind::Date, Cell::Text(text)) => date(text.trim()).map(Value::Date),
        (Kind::Time | Kind::End, Cell::Instant(at)) => Some(Value::Time(*at)),
        (Kind::Time | Kind::End, Cell::Date(date)) => day(*date, column.kind, zone).map(Value::Time),
        (Kind::Time | Kind::End, Cell::Text(text)) => {
            instant(text.trim(), column.kind, zone).map(Value::Time)
        }
        _ => None,
    };
    value.ok_or_else(|| Unfit { found: kind_of(cell), expected: expected(column.kind) })
}

/// The first µs of `date` in `zone`; for an end, the last one of it.
fn day(date: NaiveDate, kind: Kind, zone: Tz) -> Option<i64> {
    match kind {
        Kind::End => Some(midnight(date.checked_add_days(Days::new(1))?, zone)? - 1),
        _ => midnight(date, zone),
    }
}

/// Where the clock jumps over midnight, the day begins after the jump.
fn midnight(date: NaiveDate, zone: Tz) -> Option<i64> {
    let start = date.and_time(NaiveTime::MIN);
    (0..=4)
        .filter_map(|hours| zone.from_local_datetime(&(start + TimeDelta::minutes(30 * hours))).earliest())
        .map(|at| at.timestamp_micros())
        .next()
}

fn instant(text: &str, kind: Kind, zone: Tz) -> Option<i64> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.timestamp_micros()),
        Err(_) => day(date(text)?, kind, zone),
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    let digits_in_place = text.len() == 10
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    if digits_in_place { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() } else { None }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "ja" | "yes" | "1" | "j" | "y" | "t" => Some(true),
        "false" | "nej" | "no" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Person => "a personal number as text",
        Kind::Time | Kind::End => "RFC 3339 with a zone (2026-08-31T05:07:37Z) or a date (2026-08-31)",
        Kind::Date => "a date (2026-08-31)",
        Kind::Flag => "true or false",
    }
}

fn kind_of(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Empty => "nothing".to_owned(),
        Cell::Instant(_) => "a time".to_owned(),
        Cell::Local(_) => "a time without zone".to_owned(),
        Cell::Date(_) => "a date".to_owned(),
        Cell::Flag(_) => "true or false".to_owned(),
        Cell::Text(text) => {
            let text = text.trim();
            let shaped_as_date = text.len() == 10 && text.matches('-').count() == 2;
            let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
            if text.bytes().all(|b| b.is_ascii_digit()) {
                "digits".to_owned()
            } else if local.iter().any(|f| NaiveDateTime::parse_from_str(text, f).is_ok()) {
                "a time without zone".to_owned()
            } else if shaped_as_date && text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                "a date that no calendar has".to_owned()
            } else {
                "text".to_owned()
            }
        }
    }
}

/// Values on their way to becoming record batches of a table.
pub(super) struct Columns {
    schema: arrow::datatypes::SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Flag(BooleanBuilder),
}

impl Columns {
    pub(super) fn new(table: &ContextTable) -> Self {
        let builders = table.columns.iter().map(|c| match c.kind {
            Kind::Text | Kind::Person => Builder::Text(StringBuilder::new()),
            Kind::Time | Kind::End => Builder::Time(TimestampMicrosecondBuilder::new()),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Flag => Builder::Flag(BooleanBuilder::new()),
        });
        Columns { schema: table.schema(), builders: builders.collect(), rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row: one value a column, in the table's order.
    pub(super) fn push(&mut self, values: &[Value]) {
        self.rows += 1;
        for (builder, value) in self.builders.iter_mut().zip(values) {
            match (builder, value) {
                (Builder::Text(b), Value::Text(v)) => b.append_value(v),
                (Builder::Text(b), _) => b.append_null(),
                (Builder::Time(b), Value::Time(v)) => b.append_value(*v),
                (Builder::Time(b), _) => b.append_null(),
                (Builder::Date(b), Value::Date(v)) => {
                    b.append_value(arrow::datatypes::Date32Type::from_naive_date(*v));
                }
                (Builder::Date(b), _) => b.append_null(),
                (Builder::Flag(b), Value::Flag(v)) => b.append_value(*v),
                (Builder::Flag(b), _) => b.append_null(),
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let columns = self.builders.iter_mut().map(|b| match b {
            Builder::Text(b) => Arc::new(b.finish()) as ArrayRef,
            Builder::Time(b) => Arc::new(b.finish().with_timezone("UTC")),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Flag(b) => Arc::new(b.finish()),
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn column(kind: Kind) -> ContextColumn {
        ContextColumn { name: "c", kind, required: true, filled: false }
    }

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn a_date_is_its_local_day() {
        let zone = Tz::Europe__Stockholm;
        for (kind, written, expected) in [
            (Kind::Time, "2026-08-31", "2026-08-30T22:00:00Z"),
            (Kind::Time, "2026-01-31", "2026-01-30T23:00:00Z"),
            (Kind::End, "2026-08-31", "2026-08-31T21:59:59.999999Z"),
            (Kind::End, "2026-10-25", "2026-10-25T22:59:59.999999Z"),
            (Kind::End, "2026-08-31T12:00:00+02:00", "2026-08-31T10:00:00Z"),
            (Kind::Time, " 2026-08-31T12:00:00Z ", "2026-08-31T12:00:00Z"),
        ] {
            let read = read(&Cell::Text(written), &column(kind), zone, 0).unwrap();
            assert_eq!(read, Value::Time(at(expected)), "{written}");
        }
        // The clocks of Santiago jump over midnight.
        let jump = read(&Cell::Text("2024-09-08"), &column(Kind::Time), Tz::America__Santiago, 0).unwrap();
        assert_eq!(jump, Value::Time(at("2024-09-08T01:00:00-03:00")));
    }

    #[test]
    fn what_does_not_fit_is_named_and_not_repeated() {
        let zone = Tz::Europe__Stockholm;
        for (kind, written, found) in [
            (Kind::Time, "2026-08-31 07:07:37", "a time without zone"),
            (Kind::Time, "2026-02-31", "a date that no calendar has"),
            (Kind::Time, "20260831", "digits"),
            (Kind::Date, "yesterday", "text"),
            (Kind::Date, "2026-8-1", "text"),
            (Kind::Flag, "perhaps", "text"),
            (Kind::Flag, "2", "digits"),
        ] {
            let unfit = read(&Cell::Text(written), &column(kind), zone, 0).unwrap_err();
            assert_eq!(unfit.found, found, "{written}");
            assert!(!unfit.expected.contains(written));
        }
        let must = ContextColumn { filled: true, ..column(Kind::Text) };
        assert_eq!(read(&Cell::Text("  "), &must, zone, 0).unwrap_err().found, "nothing");
        assert_eq!(read(&Cell::Text(""), &column(Kind::Flag), zone, 0).unwrap(), Value::Null);
    }
}
