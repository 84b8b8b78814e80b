//! Aligned columns for a terminal.

use std::io::Write;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use chrono_tz::Tz;

use super::{OutputError, cell};

/// The widest a cell gets before it is cut with `…`.
const WIDEST: usize = 48;
/// With more columns than this, those without any value are left out (and counted below the table).
const MANY_COLUMNS: usize = 12;

pub(super) fn write(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    zone: Tz,
    out: &mut dyn Write,
) -> Result<(), OutputError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let shown: Vec<usize> = (0..schema.fields().len())
        .filter(|i| {
            schema.fields().len() <= MANY_COLUMNS
                || batches.iter().any(|b| b.column(*i).logical_null_count() < b.num_rows())
        })
        .collect();
    if rows > 0 {
        let columns: Vec<Column> =
            shown.iter().map(|i| Column::new(schema, batches, *i, zone)).collect::<Result<_, _>>()?;
        write_line(out, columns.iter().map(|c| (c.name.as_str(), c.width, c.right)))?;
        let rules: Vec<String> = columns.iter().map(|c| "-".repeat(c.width)).collect();
        write_line(out, columns.iter().zip(&rules).map(|(c, rule)| (rule.as_str(), c.width, c.right)))?;
        for row in 0..rows {
            write_line(out, columns.iter().map(|c| (c.cells[row].as_str(), c.width, c.right)))?;
        }
    }
    let hidden = if rows > 0 { schema.fields().len() - shown.len() } else { 0 };
    let more =
        if hidden > 0 { format!(" ({hidden} columns without values are left out)") } else { String::new() };
    writeln!(out, "{rows} row{}{more}", if rows == 1 { "" } else { "s" })?;
    Ok(())
}

struct Column {
    name: String,
    cells: Vec<String>,
    width: usize,
    right: bool,
}

impl Column {
    fn new(
        schema: &SchemaRef,
        batches: &[RecordBatch],
        index: usize,
        zone: Tz,
    ) -> Result<Column, OutputError> {
        let field = schema.field(index);
        let mut cells = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                cells.push(fit(&cell::text(batch.column(index).as_ref(), row, Some(zone))?));
            }
        }
        let name = fit(field.name());
        let width = cells.iter().map(|c| width(c)).chain([width(&name)]).max().unwrap_or(0);
        let right =
            field.data_type().is_numeric() && !matches!(field.data_type(), DataType::Dictionary(_, _));
        Ok(Column { name, cells, width, right })
    }
}

/// One line, at most [`WIDEST`] characters, without anything that a terminal would obey.
fn fit(text: &str) -> String {
    let harmless = text.chars().map(|c| if c.is_control() || is_direction(c) { '·' } else { c });
    let mut cut: String = harmless.clone().take(WIDEST).collect();
    if harmless.count() > WIDEST {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Marks that turn the reading direction around could make a line say something else than its columns.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn write_line<'a>(
    out: &mut dyn Write,
    cells: impl Iterator<Item = (&'a str, usize, bool)>,
) -> std::io::Result<()> {
    let mut line = String::new();
    for (i, (cell, wide, right)) in cells.enumerate() {
        if i > 0 {
            line.push_str("  ");
        }
        let padding = " ".repeat(wide - width(cell));
        if right {
            line.push_str(&padding);
            line.push_str(cell);
        } else {
            line.push_str(cell);
            line.push_str(&padding);
        }
    }
    writeln!(out, "{}", line.trim_end())
}
