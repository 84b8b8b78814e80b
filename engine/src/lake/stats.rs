//! The statistics that the Delta log holds of a file: how many rows, and the bounds of the few columns that prune.
//!
//! They hold personal numbers, therefore only these columns; of the others it says which have no value at all, so that they
//! need not be read. Bounds are written so that every reader prunes right:
//! times rounded outwards to milliseconds (the unit of Delta's statistics), long texts cut so that they still bound.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::types::{Bounds, Columns, LakeFile, Table};

/// Texts longer than this are cut in the statistics, in characters.
const LONGEST: usize = 64;
const MILLI: i64 = 1_000;

/// What the log says of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileStats {
    pub rows: u64,
    pub subject_id: Bounds<String>,
    pub occurred_at: Bounds<i64>,
    pub user_id: Bounds<String>,
    pub source: Bounds<String>,
    pub sequence: Bounds<i64>,
    pub empty: Columns,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Json {
    num_records: u64,
    min_values: Map<String, Value>,
    max_values: Map<String, Value>,
    null_count: Map<String, Value>,
}

impl FileStats {
    /// As Delta writes it.
    pub(super) fn to_json(&self, table: Table) -> String {
        let mut json = Json { num_records: self.rows, ..Json::default() };
        let schema = table.file_schema();
        json.null_count.extend(self.empty.of(&schema).map(|name| (name, self.rows.into())));
        json.texts("subject_id", &self.subject_id);
        json.texts("user_id", &self.user_id);
        json.texts("source", &self.source);
        json.put("occurred_at", &self.occurred_at, |at| rfc3339(floor(at)), |at| rfc3339(ceil(at)));
        json.put("sequence", &self.sequence, |n| Some((*n).into()), |n| Some((*n).into()));
        // A struct of maps with text keys always serialises.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// What can be used of the statistics that the log holds; what is absent or of another kind is "not known".
    pub(super) fn from_json(table: Table, text: &str) -> FileStats {
        let json: Json = serde_json::from_str(text).unwrap_or_default();
        let is_empty = |name: &str| {
            json.num_records > 0
                && json.null_count.get(name).and_then(Value::as_u64) == Some(json.num_records)
        };
        let text = |value: &Value| value.as_str().map(str::to_string);
        let time = |value: &Value| {
            DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|at| at.timestamp_micros())
        };
        FileStats {
            rows: json.num_records,
            subject_id: json.get("subject_id", text),
            user_id: json.get("user_id", text),
            source: json.get("source", text),
            occurred_at: json.get("occurred_at", time),
            sequence: json.get("sequence", Value::as_i64),
            empty: Columns::which(&table.file_schema(), is_empty),
        }
    }

    /// Of a file that the log names already.
    pub(super) fn of(file: &LakeFile) -> FileStats {
        let source = file.source.clone();
        FileStats {
            rows: file.rows,
            subject_id: file.subject_id.clone(),
            occurred_at: file.occurred_at.clone(),
            user_id: file.user_id.clone(),
            source: Bounds { nulls: source.as_ref().map(|_| 0), min: source.clone(), max: source },
            sequence: Bounds { min: None, max: file.sequence, nulls: None },
            empty: file.empty,
        }
    }

    /// Takes in more rows of the same file.
    pub(super) fn absorb(&mut self, more: FileStats) {
        if self.rows == 0 {
            *self = more;
        } else {
            self.rows += more.rows;
            self.subject_id.absorb(more.subject_id);
            self.occurred_at.absorb(more.occurred_at);
            self.user_id.absorb(more.user_id);
            self.source.absorb(more.source);
            self.sequence.absorb(more.sequence);
            self.empty = self.empty.both(more.empty);
        }
    }

    pub(super) fn into_file(self, table: Table, path: &str, size: u64, year: Option<String>) -> LakeFile {
        let one = |bounds: Bounds<String>| bounds.min.filter(|min| bounds.max.as_ref() == Some(min));
        LakeFile {
            path: format!("{}/{path}", table.name()),
            size,
            rows: self.rows,
            year,
            subject_id: self.subject_id,
            occurred_at: self.occurred_at,
            user_id: self.user_id,
            source: one(self.source),
            sequence: self.sequence.max,
            empty: self.empty,
        }
    }
}

impl Bounds<&str> {
    pub(super) fn owned(self) -> Bounds<String> {
        Bounds { min: self.min.map(str::to_owned), max: self.max.map(str::to_owned), nulls: self.nulls }
    }
}

impl<T: Ord> Bounds<T> {
    fn absorb(&mut self, more: Bounds<T>) {
        let (is_known, has_some) = (self.nulls.zip(more.nulls), self.min.is_some());
        self.nulls = is_known.map(|(a, b)| a + b);
        // Bounds that are absent for want of a value bound nothing.
        match more.min.is_some() {
            true if has_some => {
                self.min = std::mem::take(&mut self.min).min(more.min);
                self.max = std::mem::take(&mut self.max).max(more.max);
            }
            true => (self.min, self.max) = (more.min, more.max),
            false => {}
        }
    }
}

impl Json {
    fn put<T>(
        &mut self,
        column: &str,
        bounds: &Bounds<T>,
        min: impl Fn(&T) -> Option<Value>,
        max: impl Fn(&T) -> Option<Value>,
    ) {
        if let Some(value) = bounds.min.as_ref().and_then(min) {
            self.min_values.insert(column.into(), value);
        }
        if let Some(value) = bounds.max.as_ref().and_then(max) {
            self.max_values.insert(column.into(), value);
        }
        if let Some(nulls) = bounds.nulls {
            self.null_count.insert(column.into(), nulls.into());
        }
    }

    fn texts(&mut self, column: &str, bounds: &Bounds<String>) {
        self.put(
            column,
            bounds,
            |text| Some(cut_below(text).into()),
            |text| cut_above(text).map(Value::from),
        );
    }

    fn get<T>(&self, column: &str, read: impl Fn(&Value) -> Option<T>) -> Bounds<T> {
        Bounds {
            min: self.min_values.get(column).and_then(&read),
            max: self.max_values.get(column).and_then(&read),
            nulls: self.null_count.get(column).and_then(Value::as_u64),
        }
    }
}

/// Bounds of the values that `column` yields, row by row.
pub(super) fn bounds_of<T: Copy + Ord>(column: impl IntoIterator<Item = Option<T>>) -> Bounds<T> {
    let mut bounds = Bounds { min: None, max: None, nulls: Some(0) };
    for value in column {
        match value {
            None => bounds.nulls = bounds.nulls.map(|nulls| nulls + 1),
            Some(value) => {
                bounds.min = Some(bounds.min.map_or(value, |min: T| min.min(value)));
                bounds.max = Some(bounds.max.map_or(value, |max: T| max.max(value)));
            }
        }
    }
    bounds
}

fn floor(at: &i64) -> i64 {
    at.div_euclid(MILLI) * MILLI
}

fn ceil(at: &i64) -> i64 {
    floor(&at.saturating_add(MILLI - 1))
}

fn rfc3339(at: i64) -> Option<Value> {
    Some(DateTime::from_timestamp_micros(at)?.to_rfc3339_opts(SecondsFormat::Millis, true).into())
}

fn cut_below(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

/// A text that is no less than `text`: cut, with the greatest character behind. `None` where that would not bound.
fn cut_above(text: &str) -> Option<String> {
    let cut = cut_below(text);
    if cut.len() == text.len() {
        return Some(text.into());
    }
    let bound = format!("{cut}{}", char::MAX);
    (bound.as_str() >= text).then_some(bound)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: Table = Table::AccessEvents;

    #[test]
    fn the_form_is_deltas() {
        let stats = FileStats {
            rows: 3,
            subject_id: Bounds {
                min: Some("191212121212".into()),
                max: Some("202001012386".into()),
                nulls: Some(1),
            },
            occurred_at: Bounds {
                min: Some(1_756_616_857_000_001),
                max: Some(1_756_616_857_000_001),
                nulls: Some(0),
            },
            ..FileStats::default()
        };
        let json: Value = serde_json::from_str(&stats.to_json(EVENTS)).unwrap();
        assert_eq!(json["numRecords"], 3);
        assert_eq!(json["minValues"]["subject_id"], "191212121212");
        assert_eq!(json["minValues"]["occurred_at"], "2025-08-31T05:07:37.000Z");
        assert_eq!(json["maxValues"]["occurred_at"], "2025-08-31T05:07:37.001Z");
        assert_eq!(json["nullCount"]["subject_id"], 1);
        assert_eq!(json["minValues"].get("user_id"), None);
    }

    #[test]
    fn statistics_of_another_shape_bound_nothing() {
        for text in ["", "{}", "null", r#"{"numRecords":1,"minValues":{"subject_id":7}}"#] {
            assert_eq!(FileStats::from_json(EVENTS, text).subject_id, Bounds::default(), "{text}");
        }
    }

    #[test]
    fn columns_without_any_value_are_told_by_name() {
        let named =
            |names: &'static [&str]| Columns::which(&EVENTS.file_schema(), move |name| names.contains(&name));
        let part = |rows, names| FileStats { rows, empty: named(names), ..FileStats::default() };
        let mut all = part(2, &["user_role", "purpose", "user_id"]);
        all.absorb(part(3, &["purpose", "user_id", "client_address"]));
        assert_eq!(all.empty, named(&["purpose", "user_id"]), "what has a value in either has one");
        let json = all.to_json(EVENTS);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["nullCount"]["purpose"], 5);
        assert_eq!(FileStats::from_json(EVENTS, &json).empty, all.empty);
        // Some nulls are not all; a column that nobody knows, and a file without rows, say nothing.
        let other = r#"{"numRecords":5,"nullCount":{"purpose":4,"colour":5,"user_id":5}}"#;
        assert_eq!(FileStats::from_json(EVENTS, other).empty, named(&["user_id"]));
        let none = r#"{"numRecords":0,"nullCount":{"purpose":0}}"#;
        assert_eq!(FileStats::from_json(EVENTS, none).empty, Columns::default());
        assert!(EVENTS.file_schema().fields().len() <= 64, "a column more than can be told");
    }

    proptest! {
        #[test]
        fn bounds_hold_every_value(
            subjects in prop::collection::vec(prop::option::of("[0-9åÅ\u{10ffff}a-z]{0,80}"), 1..20),
            times in prop::collection::vec(-62_000_000_000_000_000_i64..200_000_000_000_000_000, 1..20),
        ) {
            let stats = FileStats {
                rows: subjects.len() as u64,
                subject_id: bounds_of(subjects.iter().map(Option::as_deref)).owned(),
                occurred_at: bounds_of(times.iter().copied().map(Some)),
                ..FileStats::default()
            };
            let read = FileStats::from_json(EVENTS, &stats.to_json(EVENTS));
            prop_assert_eq!(read.rows, stats.rows);
            prop_assert_eq!(read.subject_id.nulls, Some(subjects.iter().filter(|s| s.is_none()).count() as u64));
            for subject in subjects.iter().flatten() {
                prop_assert!(read.subject_id.may_hold(subject.as_str()));
            }
            for time in &times {
                prop_assert!(read.occurred_at.may_hold(time));
            }
        }
    }
}
