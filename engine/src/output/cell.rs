//! One value as text.

use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

use super::OutputError;

/// The row as one JSON object, nulls included.
pub(super) fn write_object(batch: &RecordBatch, row: usize, out: &mut dyn Write) -> Result<(), OutputError> {
    let mut line = String::with_capacity(1024);
    line.push('{');
    for (i, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        if i > 0 {
            line.push(',');
        }
        push_json_string(field.name(), &mut line);
        line.push(':');
        push_json(column.as_ref(), row, &mut line)?;
    }
    line.push('}');
    Ok(out.write_all(line.as_bytes())?)
}

/// The value as text without quotes; null is nothing; lists and structs are JSON. With a zone, times are local there.
pub(super) fn text(array: &dyn Array, row: usize, zone: Option<Tz>) -> Result<String, OutputError> {
    if array.is_null(row) {
        return Ok(String::new());
    }
    Ok(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::Binary => binary(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => binary(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => binary(array.as_binary_view().value(row)),
        DataType::Timestamp(unit, stored) => {
            let at = timestamp(array, row, *unit)?;
            match (stored, zone) {
                (None, None) => at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
                (None, Some(_)) => at.naive_utc().format("%Y-%m-%d %H:%M:%S").to_string(),
                (Some(_), None) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
                (Some(_), Some(zone)) => {
                    zone.from_utc_datetime(&at.naive_utc()).format("%Y-%m-%d %H:%M:%S").to_string()
                }
            }
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            return text(dictionary.values().as_ref(), dictionary.normalized_keys()[row], zone);
        }
        DataType::Float32 | DataType::Float64 => {
            let mut number = String::new();
            push_json(array, row, &mut number)?;
            if number == "null" { String::new() } else { number }
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(_, _)
        | DataType::Struct(_)
        | DataType::Map(_, _) => {
            let mut json = String::new();
            push_json(array, row, &mut json)?;
            json
        }
        _ => display(array, row)?,
    })
}

fn push_json(array: &dyn Array, row: usize, out: &mut String) -> Result<(), OutputError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int8 => push_number(array.as_primitive::<Int8Type>().value(row), out),
        DataType::Int16 => push_number(array.as_primitive::<Int16Type>().value(row), out),
        DataType::Int32 => push_number(array.as_primitive::<Int32Type>().value(row), out),
        DataType::Int64 => push_number(array.as_primitive::<Int64Type>().value(row), out),
        DataType::UInt8 => push_number(array.as_primitive::<UInt8Type>().value(row), out),
        DataType::UInt16 => push_number(array.as_primitive::<UInt16Type>().value(row), out),
        DataType::UInt32 => push_number(array.as_primitive::<UInt32Type>().value(row), out),
        DataType::UInt64 => push_number(array.as_primitive::<UInt64Type>().value(row), out),
        DataType::Float32 => push_float(f64::from(array.as_primitive::<Float32Type>().value(row)), out),
        DataType::Float64 => push_float(array.as_primitive::<Float64Type>().value(row), out),
        DataType::List(_) => push_list(array.as_list::<i32>().value(row).as_ref(), out)?,
        DataType::LargeList(_) => push_list(array.as_list::<i64>().value(row).as_ref(), out)?,
        DataType::FixedSizeList(_, _) => push_list(array.as_fixed_size_list().value(row).as_ref(), out)?,
        DataType::Map(_, _) => push_list(&array.as_map().value(row), out)?,
        DataType::Struct(_) => push_struct(array.as_struct(), row, out)?,
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            push_json(dictionary.values().as_ref(), dictionary.normalized_keys()[row], out)?;
        }
        _ => push_json_string(&text(array, row, None)?, out),
    }
    Ok(())
}

fn push_list(items: &dyn Array, out: &mut String) -> Result<(), OutputError> {
    out.push('[');
    for i in 0..items.len() {
        if i > 0 {
            out.push(',');
        }
        push_json(items, i, out)?;
    }
    out.push(']');
    Ok(())
}

fn push_struct(array: &StructArray, row: usize, out: &mut String) -> Result<(), OutputError> {
    out.push('{');
    for (i, (field, column)) in array.fields().iter().zip(array.columns()).enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_json_string(field.name(), out);
        out.push(':');
        push_json(column.as_ref(), row, out)?;
    }
    out.push('}');
    Ok(())
}

fn push_number(number: impl std::fmt::Display, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = write!(out, "{number}");
}

/// JSON has no NaN and no infinity: they become null.
fn push_float(number: f64, out: &mut String) {
    match serde_json::Number::from_f64(number) {
        Some(n) => push_number(n, out),
        None => out.push_str("null"),
    }
}

fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => push_number(format_args!("\\u{:04x}", c as u32), out),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Bytes that are text are shown as text (a quarantined record mostly is), others as PostgreSQL writes them.
fn binary(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(String::from("\\x"), |mut s, b| {
            push_number(format_args!("{b:02x}"), &mut s);
            s
        }),
    }
}

fn timestamp(array: &dyn Array, row: usize, unit: TimeUnit) -> Result<DateTime<Utc>, OutputError> {
    let at = match unit {
        TimeUnit::Second => {
            DateTime::from_timestamp(array.as_primitive::<TimestampSecondType>().value(row), 0)
        }
        TimeUnit::Millisecond => {
            DateTime::from_timestamp_millis(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Microsecond => {
            DateTime::from_timestamp_micros(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Nanosecond => {
            Some(DateTime::from_timestamp_nanos(array.as_primitive::<TimestampNanosecondType>().value(row)))
        }
    };
    at.ok_or_else(|| OutputError::Encode("a time outside the calendar".to_owned()))
}

fn display(array: &dyn Array, row: usize) -> Result<String, OutputError> {
    if array.data_type() == &DataType::Date32 {
        let days = array.as_primitive::<Date32Type>().value_as_date(row);
        return Ok(days.map(|d| d.to_string()).unwrap_or_default());
    }
    Ok(ArrayFormatter::try_new(array, &FormatOptions::default())?.value(row).to_string())
}
