//! What commands print: rows to stdout in the asked format, sentences to stderr, times as they were typed.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use insyn_engine::context::KnownAt;
use insyn_engine::output::{self, OutputError};
use insyn_engine::trace::Streamed;
use serde::Serialize;

use crate::cli::{Format, FormatOption, KnownOptions};
use crate::config::ConfigError;

impl FormatOption {
    /// The asked format; else a table for a person at a terminal and NDJSON for a program.
    pub fn chosen(&self) -> output::Format {
        match self.format {
            Some(Format::Table) => output::Format::Table,
            Some(Format::Json) => output::Format::Json,
            Some(Format::Ndjson) => output::Format::Ndjson,
            Some(Format::Csv) => output::Format::Csv,
            Some(Format::Arrow) => output::Format::Arrow,
            Some(Format::Parquet) => output::Format::Parquet,
            None if std::io::stdout().is_terminal() => output::Format::Table,
            None => output::Format::Ndjson,
        }
    }
}

/// Writes rows to stdout. A reader that closes its end early is no failure.
pub fn rows(
    format: output::Format,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    zone: Tz,
) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    output::write(format, schema, batches, zone, &mut bytes)?;
    to_stdout(&bytes)
}

/// Writes rows to stdout as they come.
pub async fn stream(format: output::Format, answer: &mut Streamed, zone: Tz) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let written = async {
        let mut writer = output::Writer::new(format, &answer.schema, zone, &mut out)?;
        while let Some(batch) = answer.next().await? {
            writer.write(&batch)?;
        }
        writer.finish()?;
        Ok::<(), anyhow::Error>(out.flush()?)
    };
    match written.await {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed_pipe)
        || error.downcast_ref::<std::io::Error>().is_some_and(is_pipe)
}

/// Writes serialisable rows to stdout, by way of Arrow, so that every command knows the same formats.
pub fn records<T: Serialize>(format: output::Format, records: &[T], zone: Tz) -> anyhow::Result<()> {
    let (schema, batch) = table_of(records)?;
    rows(format, &schema, &[batch], zone)
}

/// One JSON object or one sentence, as a line on stdout.
pub fn line(text: &str) -> anyhow::Result<()> {
    to_stdout(format!("{text}\n").as_bytes())
}

fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("stdout cannot be written"),
    }
}

fn table_of<T: Serialize>(records: &[T]) -> anyhow::Result<(SchemaRef, RecordBatch)> {
    let values: Vec<serde_json::Value> =
        records.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let schema = arrow::json::reader::infer_json_schema_from_iterator(values.iter().map(Ok))?;
    // The inferred order is alphabetical; people expect the order that the record states.
    let order: Vec<String> = match records.first() {
        Some(record) => serde_json::from_str::<Keys>(&serde_json::to_string(record)?)?.0,
        None => Vec::new(),
    };
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.sort_by_key(|field| order.iter().position(|name| name == field.name()).unwrap_or(usize::MAX));
    let schema: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields));
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder()?;
    decoder.serialize(&values)?;
    let batch = decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&schema)));
    Ok((schema, batch))
}

/// The keys of a JSON object, in the order that they stand there.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Keys;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// An error and its causes as one sentence, each said once.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

/// The start of a period as typed: RFC 3339, or a date, whose local midnight it means. µs UTC.
fn from_time(text: Option<&str>, zone: Tz) -> anyhow::Result<Option<i64>> {
    text.map(|text| instant(text, zone, 0).map_err(|error| usage("--from", error))).transpose()
}

/// The end of a period as typed, not included; a date means to the end of that day. µs UTC.
fn to_time(text: Option<&str>, zone: Tz) -> anyhow::Result<Option<i64>> {
    text.map(|text| instant(text, zone, 1).map_err(|error| usage("--to", error))).transpose()
}

/// Both ends of a period as typed; one that ends before it begins is wrong usage.
pub fn period(from: Option<&str>, to: Option<&str>, zone: Tz) -> anyhow::Result<(Option<i64>, Option<i64>)> {
    let (begins, ends) = (from_time(from, zone)?, to_time(to, zone)?);
    if let (Some(begins), Some(ends)) = (begins, ends)
        && begins >= ends
    {
        return Err(usage("--to", anyhow!("found a time that is not after --from, expected a later one")));
    }
    Ok((begins, ends))
}

/// One instant as typed; a date means when that day begins. µs UTC.
pub fn moment(option: &str, text: Option<&str>, zone: Tz) -> anyhow::Result<Option<i64>> {
    text.map(|text| instant(text, zone, 0).map_err(|error| usage(option, error))).transpose()
}

impl KnownOptions {
    /// What is known; a date means at its end.
    pub fn known(&self, zone: Tz) -> anyhow::Result<KnownAt> {
        Ok(match (&self.known_at, &self.context_load) {
            (Some(text), _) => {
                let is_date = NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
                let at = instant(text, zone, 1).map_err(|error| usage("--known-at", error))?;
                KnownAt::Time(at - i64::from(is_date))
            }
            (None, Some(load)) => KnownAt::Load(load.clone()),
            (None, None) => KnownAt::Now,
        })
    }

    /// As it is kept with the look, after what was asked; nothing where what is known now was asked of.
    pub fn said(&self) -> String {
        let known = self.known_at.as_ref().map(|at| format!(" (known at {at})"));
        let load = self.context_load.as_ref().map(|load| format!(" (by the context load {load})"));
        known.or(load).unwrap_or_default()
    }
}

fn usage(option: &str, error: anyhow::Error) -> anyhow::Error {
    ConfigError::Usage(format!("{option}: {error}")).into()
}

fn instant(text: &str, zone: Tz, days_later: u64) -> anyhow::Result<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_micros());
    }
    let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") else {
        bail!("found \"{text}\", expected RFC 3339 (2026-08-31T05:07:37Z) or a date (2026-08-31)");
    };
    let day =
        date.checked_add_days(Days::new(days_later)).ok_or_else(|| anyhow!("{text} lies too far off"))?;
    let midnight = zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
    let midnight = midnight.ok_or_else(|| anyhow!("{text} has no midnight in {zone}"))?;
    Ok(midnight.timestamp_micros())
}

/// What somebody gives as their reason; it is kept, so it must say something.
pub fn reason(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    if text.is_empty() {
        bail!("--reason is empty; say why, it is kept");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_whole_local_day() {
        let zone = Tz::Europe__Stockholm;
        let day = |from: &str, to: &str| {
            (to_time(Some(to), zone).unwrap().unwrap() - from_time(Some(from), zone).unwrap().unwrap())
                / 3_600_000_000
        };
        assert_eq!(day("2026-08-31", "2026-08-31"), 24);
        assert_eq!(day("2026-10-25", "2026-10-25"), 25, "the day that winter time begins");
        assert_eq!(day("2026-03-29", "2026-03-29"), 23, "the day that summer time begins");
    }

    #[test]
    fn what_is_no_time_says_what_was_expected() {
        let error = from_time(Some("31/8"), Tz::Europe__Stockholm).unwrap_err();
        assert_eq!(
            sentence(&error),
            "--from: found \"31/8\", expected RFC 3339 (2026-08-31T05:07:37Z) or a date (2026-08-31)"
        );
    }
}
