//! Rows on their way out: as a table for people, as text and as columns for programs.
//!
//! Times are RFC 3339 in UTC (`2026-08-31T05:07:37Z`, a fraction only when there is one) everywhere but in
//! [`Format::Table`], which shows them in the organisation's zone.

mod cell;
mod table;

use std::io::Write;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// An instant (µs UTC) as RFC 3339, to the second.
#[must_use]
pub fn to_the_second(micros: i64) -> Option<String> {
    DateTime::from_timestamp_micros(micros).map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for a terminal; times in the organisation's zone.
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180 with a header; lists as JSON text, null as nothing.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// Every format by the name that people write.
    pub const NAMES: [(&'static str, Format); 6] = [
        ("table", Format::Table),
        ("json", Format::Json),
        ("ndjson", Format::Ndjson),
        ("csv", Format::Csv),
        ("arrow", Format::Arrow),
        ("parquet", Format::Parquet),
    ];

    /// The media type of HTTP's `Content-Type` and `Accept`.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Table => "text/plain; charset=utf-8",
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A format that Insyn does not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}, expected table, json, ndjson, csv, arrow or parquet")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, f)| *f).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The other end went away, or the disk is full.
    #[error("writing the answer: {0}")]
    Io(#[from] std::io::Error),
    /// A value that this format has no place for.
    #[error("writing the answer: {0}")]
    Encode(String),
}

impl OutputError {
    /// Whether the reader simply stopped reading (`insyn … | head`), which is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, OutputError::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<arrow::error::ArrowError> for OutputError {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::IoError(_, io) => OutputError::Io(io),
            other => OutputError::Encode(other.to_string()),
        }
    }
}

impl From<parquet::errors::ParquetError> for OutputError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        OutputError::Encode(error.to_string())
    }
}

/// Writes all `batches`.
///
/// # Errors
/// When `out` fails, or when the format has no place for a type.
pub fn write(
    format: Format,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    zone: Tz,
    out: &mut dyn Write,
) -> Result<(), OutputError> {
    let mut writer = Writer::new(format, schema, zone, out)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// A row group of a Parquet file ends at so many rows, or when its columns come to so many bytes.
const ROW_GROUP_ROWS: usize = 131_072;
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Writes batches as they come, holding at most one of them: of Parquet a row group, since that is written as one;
/// [`Format::Table`] holds all, to align them.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    schema: SchemaRef,
    zone: Tz,
    state: State,
}

enum State {
    Table(Vec<RecordBatch>),
    Json { rows: u64 },
    Ndjson,
    Csv,
    Arrow(Box<StreamWriter<Drain>>, Drain),
    Parquet(Box<ArrowWriter<Drain>>, Drain),
}

impl<'a> Writer<'a> {
    /// Starts a document of rows with these columns.
    ///
    /// # Errors
    /// When `out` fails, or when the format has no place for a type.
    pub fn new(
        format: Format,
        schema: &SchemaRef,
        zone: Tz,
        out: &'a mut dyn Write,
    ) -> Result<Self, OutputError> {
        let schema = plain_strings(schema);
        let state = match format {
            Format::Table => State::Table(Vec::new()),
            Format::Json => State::Json { rows: 0 },
            Format::Ndjson => State::Ndjson,
            Format::Csv => {
                write_csv_row(out, schema.fields().iter().map(|f| f.name().clone()))?;
                State::Csv
            }
            Format::Arrow => {
                let drain = Drain::default();
                State::Arrow(Box::new(StreamWriter::try_new(drain.clone(), &schema)?), drain)
            }
            Format::Parquet => {
                let drain = Drain::default();
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(Default::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(drain.clone(), Arc::clone(&schema), Some(properties))?;
                State::Parquet(Box::new(writer), drain)
            }
        };
        Ok(Writer { out, schema, zone, state })
    }

    /// Writes some rows.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), OutputError> {
        let batch = &with_schema(batch, &self.schema)?;
        match &mut self.state {
            State::Table(batches) => batches.push(batch.clone()),
            State::Json { rows } => {
                for row in 0..batch.num_rows() {
                    self.out.write_all(if *rows == 0 { b"[\n" } else { b",\n" })?;
                    cell::write_object(batch, row, self.out)?;
                    *rows += 1;
                }
            }
            State::Ndjson => {
                for row in 0..batch.num_rows() {
                    cell::write_object(batch, row, self.out)?;
                    self.out.write_all(b"\n")?;
                }
            }
            State::Csv => {
                for row in 0..batch.num_rows() {
                    let cells: Result<Vec<String>, OutputError> =
                        batch.columns().iter().map(|c| cell::text(c.as_ref(), row, None)).collect();
                    write_csv_row(self.out, cells?.into_iter())?;
                }
            }
            State::Arrow(writer, drain) => {
                writer.write(batch)?;
                drain.empty_into(self.out)?;
            }
            State::Parquet(writer, drain) => {
                writer.write(batch)?;
                // Rows can be long: what is held is bounded in bytes too.
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush()?;
                }
                drain.empty_into(self.out)?;
            }
        }
        Ok(())
    }

    /// Bytes of what was written that have not gone to `out` yet.
    #[cfg(test)]
    fn held(&self) -> usize {
        let of = |drain: &Drain| drain.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        match &self.state {
            State::Table(batches) => batches.iter().map(RecordBatch::get_array_memory_size).sum(),
            State::Json { .. } | State::Ndjson | State::Csv => 0,
            State::Arrow(_, drain) => of(drain),
            State::Parquet(writer, drain) => writer.in_progress_size() + of(drain),
        }
    }

    /// Ends the document. Without it the document is cut short.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn finish(self) -> Result<(), OutputError> {
        match self.state {
            State::Table(batches) => table::write(&self.schema, &batches, self.zone, self.out)?,
            State::Json { rows: 0 } => self.out.write_all(b"[]\n")?,
            State::Json { .. } => self.out.write_all(b"\n]\n")?,
            State::Ndjson | State::Csv => {}
            State::Arrow(mut writer, drain) => {
                writer.finish()?;
                drain.empty_into(self.out)?;
            }
            State::Parquet(writer, drain) => {
                writer.close()?;
                drain.empty_into(self.out)?;
            }
        }
        Ok(self.out.flush()?)
    }
}

/// Where columnar writers write: emptied into the real output after each batch, since that one need not be `Send`.
#[derive(Clone, Default)]
struct Drain(Arc<Mutex<Vec<u8>>>);

impl Drain {
    fn empty_into(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&bytes)?;
        bytes.clear();
        Ok(())
    }
}

impl Write for Drain {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write_csv_row(out: &mut dyn Write, cells: impl Iterator<Item = String>) -> Result<(), OutputError> {
    let mut line = String::new();
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            line.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            line.push('"');
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&cell);
        }
    }
    line.push_str("\r\n");
    Ok(out.write_all(line.as_bytes())?)
}

/// The query engine's string views become plain strings on the way out: every reader understands those.
fn plain_strings(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| match f.data_type() {
        DataType::Utf8View => Field::new(f.name(), DataType::Utf8, f.is_nullable()),
        DataType::BinaryView => Field::new(f.name(), DataType::Binary, f.is_nullable()),
        _ => f.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, OutputError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Result<Vec<ArrayRef>, _> = columns
        .map(|(c, f)| if c.data_type() == f.data_type() { Ok(Arc::clone(c)) } else { cast(c, f.data_type()) })
        .collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder,
        StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::TimeUnit;
    use expect_test::{Expect, expect};

    use super::*;

    /// Long rows that hardly compress, as records that arrived are.
    fn long(n: u64) -> RecordBatch {
        let mut state = n;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", state ^ (state >> 29))
        };
        let rows = (0..256).map(|_| (0..128).map(|_| word()).collect::<String>());
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(rows));
        RecordBatch::try_from_iter([("record", column)]).expect("a batch")
    }

    #[test]
    fn what_is_held_is_bounded_however_much_is_written() {
        for format in [Format::Json, Format::Ndjson, Format::Csv, Format::Arrow, Format::Parquet] {
            let first = long(0);
            let mut out = Vec::new();
            let mut writer = Writer::new(format, &first.schema(), Tz::UTC, &mut out).expect("starts");
            let (mut most, mut given) = (0, 0);
            for n in 0..96 {
                let batch = long(n);
                given += 256 * 128 * 16;
                writer.write(&batch).expect("writes");
                most = most.max(writer.held());
            }
            writer.finish().expect("ends");
            let bound =
                if format == Format::Parquet { ROW_GROUP_BYTES + first.get_array_memory_size() } else { 0 };
            assert!(most <= bound, "{format:?} held {most} of {given} bytes, {bound} at most");
            assert!(
                given > 2 * ROW_GROUP_BYTES && out.len() > given / 4,
                "{format:?}: {} bytes came out",
                out.len()
            );
        }
    }

    fn sample() -> RecordBatch {
        let mut list = ListBuilder::new(StringBuilder::new());
        list.values().append_value("a\"b");
        list.values().append_null();
        list.append(true);
        list.append(false);
        let times = TimestampMicrosecondArray::from(vec![1_788_152_857_000_000, 1_788_152_857_500_000]);
        RecordBatch::try_from_iter(vec![
            ("occurred_at", Arc::new(times.with_timezone("UTC")) as ArrayRef),
            ("user_name", Arc::new(StringArray::from(vec![Some("Åsa, \"Å\""), None]))),
            (
                "view",
                Arc::new(StringViewArray::from(vec!["short", "a view that is longer than twelve bytes"])),
            ),
            ("emergency", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(-1)]))),
            ("share", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN)]))),
            ("event_ids", Arc::new(list.finish())),
            ("bytes", Arc::new(BinaryArray::from(vec![&b"text"[..], &[0xff, 0x00]]))),
        ])
        .unwrap()
    }

    #[track_caller]
    fn check(format: Format, batches: &[RecordBatch], expected: Expect) {
        let mut out = Vec::new();
        write(format, &sample().schema(), batches, Tz::Europe__Stockholm, &mut out).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn text_formats() {
        check(
            Format::Ndjson,
            &[sample()],
            expect![[r#"
                {"occurred_at":"2026-08-31T05:07:37Z","user_name":"Åsa, \"Å\"","view":"short","emergency":true,"n":9223372036854775807,"share":0.5,"event_ids":["a\"b",null],"bytes":"text"}
                {"occurred_at":"2026-08-31T05:07:37.500Z","user_name":null,"view":"a view that is longer than twelve bytes","emergency":null,"n":-1,"share":null,"event_ids":null,"bytes":"\\xff00"}
            "#]],
        );
        check(Format::Json, &[], expect![["[]\n"]]);
        check(
            Format::Json,
            &[sample().slice(1, 1)],
            expect![[r#"
                [
                {"occurred_at":"2026-08-31T05:07:37.500Z","user_name":null,"view":"a view that is longer than twelve bytes","emergency":null,"n":-1,"share":null,"event_ids":null,"bytes":"\\xff00"}
                ]
            "#]],
        );
        let mut csv = Vec::new();
        write(Format::Csv, &sample().schema(), &[sample()], Tz::UTC, &mut csv).unwrap();
        expect![[r#"
            occurred_at,user_name,view,emergency,n,share,event_ids,bytes
            2026-08-31T05:07:37Z,"Åsa, ""Å""",short,true,9223372036854775807,0.5,"[""a\""b"",null]",text
            2026-08-31T05:07:37.500Z,,a view that is longer than twelve bytes,,-1,,,\xff00
        "#]]
        .assert_eq(&String::from_utf8(csv).unwrap().replace("\r\n", "\n"));
    }

    #[test]
    fn a_table_shows_local_time_and_says_how_many_rows() {
        check(
            Format::Table,
            &[sample()],
            expect![[r#"
                occurred_at          user_name  view                                     emergency                    n  share  event_ids      bytes
                -------------------  ---------  ---------------------------------------  ---------  -------------------  -----  -------------  ------
                2026-08-31 07:07:37  Åsa, "Å"   short                                    true       9223372036854775807    0.5  ["a\"b",null]  text
                2026-08-31 07:07:37             a view that is longer than twelve bytes                              -1                        \xff00
                2 rows
            "#]],
        );
        check(Format::Table, &[], expect![["0 rows\n"]]);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let batch = RecordBatch::try_from_iter(vec![(
            "user_name",
            Arc::new(StringArray::from(vec!["\u{1b}[31mred\nline\u{202e}"])) as ArrayRef,
        )])
        .unwrap();
        let mut out = Vec::new();
        write(Format::Table, &batch.schema(), &[batch], Tz::UTC, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("·[31mred·line·"), "{text}");
    }

    #[test]
    fn columnar_formats_come_back_as_they_went_out() {
        let batch = sample();
        let schema = plain_strings(&batch.schema());
        let plain = with_schema(&batch, &schema).unwrap();

        let mut out = Vec::new();
        write(Format::Arrow, &batch.schema(), &[batch.clone(), batch.slice(0, 1)], Tz::UTC, &mut out)
            .unwrap();
        let read: Vec<_> = arrow::ipc::reader::StreamReader::try_new(out.as_slice(), None).unwrap().collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].as_ref().unwrap().column(1), plain.column(1));
        assert_eq!(read[0].as_ref().unwrap().schema().field(2).data_type(), &DataType::Utf8);

        let mut out = Vec::new();
        write(Format::Parquet, &batch.schema(), &[batch], Tz::UTC, &mut out).unwrap();
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(out), 10);
        let read: Vec<_> = reader.unwrap().collect();
        let read = read[0].as_ref().unwrap();
        assert_eq!(
            read.schema().field(0).data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        );
        for i in [0, 1, 2, 3, 4, 6, 7] {
            assert_eq!(read.column(i), plain.column(i), "column {i}");
        }
    }

    #[test]
    fn formats_have_names() {
        for (name, format) in Format::NAMES {
            assert_eq!(name.parse::<Format>().unwrap(), format);
            assert_eq!(name.to_uppercase().parse::<Format>().unwrap(), format);
            assert!(format.media_type().contains('/'));
        }
        assert_eq!(
            "xml".parse::<Format>().unwrap_err().to_string(),
            "unknown format \"xml\", expected table, json, ndjson, csv, arrow or parquet"
        );
    }
}
