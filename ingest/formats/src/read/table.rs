//! `delimited`, `pattern`, `json`: configuration says which field becomes which column.
//!
//! `[source.fields]` names, for a column of `access_events`, the header's column, the pattern's group or the JSON
//! pointer; a pattern's groups that are named like columns need no field. Empty text and `-`
//! count as missing. Flags read ja, yes, true, 1, x and their opposites unless `true` and `false` list the words; a
//! pattern's group that takes part means yes. Where a JSON pointer for `subject_id` leads to an array, each item gives
//! a row. A row whose fields are not as many as the header's is a fault: one of them holds what belongs to another.

use std::collections::HashMap;
use std::sync::Arc;

use insyn_event::AccessEvent;
use regex::Regex;

use super::tape::{Node, Tape};
use crate::columns::{self, Slot};
use crate::config::{FieldRule, FormatConfig, FormatName, Scalar};
use crate::error::{Fault, FormatError};
use crate::frame::Framing;
use crate::frame::delimited::{Header, Rows, Split};
use crate::frame::lines::Lines;
use crate::limits;
use crate::nearest;
use crate::shape::Shape;

/// A compiled mapping.
#[derive(Debug)]
pub struct Table {
    fields: Vec<Field>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Delimited { split: Split, skip_lines: u32, wanted: Arc<[String]>, columns: Option<Vec<String>> },
    Pattern { pattern: Regex, start: Option<Regex> },
    Json,
}

#[derive(Debug)]
struct Field {
    name: String,
    slot: Slot,
    /// The pattern's group.
    group: usize,
    /// The JSON pointer's parts.
    pointer: Vec<String>,
    yes: Vec<String>,
    no: Vec<String>,
    /// `[source.values]` of a flag.
    words: HashMap<String, bool>,
}

impl Table {
    pub(crate) fn compile(config: &FormatConfig) -> Result<Table, FormatError> {
        match config.format {
            FormatName::Delimited => delimited(config),
            FormatName::Pattern => pattern(config),
            _ => json(config),
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        match &self.kind {
            Kind::Delimited { split, skip_lines, wanted, columns } => {
                let header = columns.as_ref().map(|names| Header::of(names, wanted, 0, Vec::new()));
                let rows =
                    Rows { split: *split, skip_lines: *skip_lines, wanted: Arc::clone(wanted), header };
                Framing::Delimited(rows)
            }
            Kind::Pattern { start, .. } => Framing::Lines(Lines { start: start.clone() }),
            Kind::Json => Framing::Json,
        }
    }

    pub(crate) fn parse(
        &self,
        text: &str,
        framing: &Framing,
        shape: &Shape,
    ) -> Result<Vec<AccessEvent>, Fault> {
        match (&self.kind, framing) {
            (Kind::Delimited { split, .. }, Framing::Delimited(rows)) => {
                let header = rows.header.as_ref().ok_or_else(|| Fault::new("the header row was not seen"))?;
                let places = header.places.as_ref().map_err(Fault::clone)?;
                let row = split.fields(text)?;
                if row.len() != header.columns {
                    let what = format!("{} fields, the header row has {}", row.len(), header.columns);
                    return Err(Fault::new(what));
                }
                let value = |i: usize, _: &Field| places.get(i).and_then(|p| row.get(*p)).map(|v| v.as_ref());
                self.row(value, shape).map(|event| vec![event])
            }
            (Kind::Pattern { pattern, .. }, _) => {
                let found = pattern
                    .captures(text)
                    .ok_or_else(|| Fault::new("the line does not match the pattern"))?;
                let value = |_: usize, field: &Field| {
                    found.get(field.group).map(|m| m.as_str()).filter(|v| *v != "-")
                };
                self.row(value, shape).map(|event| vec![event])
            }
            _ => self.json_rows(text, shape),
        }
    }

    fn json_rows(&self, text: &str, shape: &Shape) -> Result<Vec<AccessEvent>, Fault> {
        let tape = Tape::read(text)?;
        let root = tape.root();
        if !root.is_object() {
            return Err(Fault::new("expected a JSON object"));
        }
        let value = |_: usize, field: &Field| {
            root.pointer(&field.pointer).and_then(|n| n.items().next()).and_then(Node::text)
        };
        let mut event = self.event(value, shape)?;
        let subjects = self.fields.iter().find(|f| f.name == "subject_id");
        let subjects: Vec<Node<'_>> =
            subjects.and_then(|f| root.pointer(&f.pointer)).map(|n| n.items().collect()).unwrap_or_default();
        limits::rows_of(&mut event, subjects.len())?;
        let row = |subject: &Node<'_>| {
            let mut row = event.clone();
            row.subject_id = subject.text().and_then(written).map(str::to_string);
            shape.finish(&mut row);
            row
        };
        if subjects.len() > 1 {
            return Ok(subjects.iter().map(row).collect());
        }
        shape.finish(&mut event);
        Ok(vec![event])
    }

    fn row<'v>(
        &self,
        value: impl Fn(usize, &Field) -> Option<&'v str>,
        shape: &Shape,
    ) -> Result<AccessEvent, Fault> {
        let mut event = self.event(value, shape)?;
        shape.finish(&mut event);
        Ok(event)
    }

    /// The columns as the record writes them.
    fn event<'v>(
        &self,
        value: impl Fn(usize, &Field) -> Option<&'v str>,
        shape: &Shape,
    ) -> Result<AccessEvent, Fault> {
        let mut event = AccessEvent::default();
        for (i, field) in self.fields.iter().enumerate() {
            let value = value(i, field).and_then(written);
            match field.slot {
                Slot::EventId => event.event_id = value.unwrap_or("").to_string(),
                Slot::OccurredAt => {
                    let raw = value.unwrap_or("");
                    shape.occurred(&mut event, raw, shape.times.read(raw))?;
                }
                Slot::Text(column) => *column(&mut event) = value.map(str::to_string),
                Slot::Time(column) => {
                    *column(&mut event) = value.and_then(|v| shape.times.read(v)).map(|i| i.micros);
                }
                Slot::Flag(column) => *column(&mut event) = self.flag(field, value),
            }
        }
        Ok(event)
    }

    fn flag(&self, field: &Field, value: Option<&str>) -> Option<bool> {
        let among = |words: &[String], value: &str| words.iter().any(|w| w.eq_ignore_ascii_case(value));
        let Some(value) = value else {
            // Nothing written is a no, but where both answers have their word.
            return field.no.is_empty().then_some(false);
        };
        if let Some(flag) = field.words.get(value) {
            return Some(*flag);
        }
        if !field.yes.is_empty() || !field.no.is_empty() {
            return match (among(&field.yes, value), among(&field.no, value)) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ if field.no.is_empty() => Some(false),
                _ if field.yes.is_empty() => Some(true),
                _ => None,
            };
        }
        let lower = value.to_lowercase();
        match lower.as_str() {
            "ja" | "j" | "yes" | "y" | "true" | "sant" | "1" | "x" => Some(true),
            "nej" | "n" | "no" | "false" | "falskt" | "0" => Some(false),
            _ if matches!(self.kind, Kind::Pattern { .. }) => Some(field.words.is_empty()),
            _ if !field.words.is_empty() => Some(false),
            _ => None,
        }
    }
}

/// What a field says, if it says anything.
fn written(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !matches!(*value, "" | "-"))
}

fn delimited(config: &FormatConfig) -> Result<Table, FormatError> {
    let (delimiter, quote) = (config.delimiter_byte()?, config.quote_byte()?);
    if quote == Some(delimiter) {
        return Err(FormatError::new("quote", "the same as the delimiter", "another character"));
    }
    let fields = fields(config, |_, _| Ok((0, Vec::new())))?;
    let wanted: Arc<[String]> = config.fields.values().map(|rule| rule.column.clone()).collect();
    if let Some(names) = &config.columns
        && let Some(missing) = wanted.iter().find(|w| !names.contains(w))
    {
        let hint = nearest(missing, names.iter().map(String::as_str));
        let hint = hint.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        return Err(FormatError::new("fields", format!("`{missing}`"), format!("one of `columns`{hint}")));
    }
    let split = Split { delimiter, quote };
    let skip_lines = config.skip_lines.unwrap_or(0);
    let columns = config.columns.clone();
    Ok(Table { fields, kind: Kind::Delimited { split, skip_lines, wanted, columns } })
}

fn pattern(config: &FormatConfig) -> Result<Table, FormatError> {
    let expected = "a regular expression with named groups, such as '''^(?P<user_id>\\S+) …$'''";
    let text = config.pattern.as_deref().ok_or_else(|| FormatError::new("pattern", "nothing", expected))?;
    let pattern = regex("pattern", text)?;
    let start = config.start_pattern.as_deref().map(|text| regex("start_pattern", text)).transpose()?;
    let groups: Vec<&str> = pattern.capture_names().flatten().collect();
    let group_of = |key: &str, name: &str| {
        pattern.capture_names().position(|n| n == Some(name)).ok_or_else(|| {
            let hint = nearest(name, groups.iter().copied()).map(|n| format!(" (did you mean `{n}`?)"));
            let expected = format!("a group of the pattern{}", hint.unwrap_or_default());
            FormatError::new(key, format!("`{name}`"), expected)
        })
    };
    let mut all = config.clone();
    for group in &groups {
        let used = config.fields.values().any(|rule| rule.column == *group);
        if !used && !config.fields.contains_key(*group) {
            let rule = FieldRule { column: (*group).to_string(), ..FieldRule::default() };
            all.fields.insert((*group).to_string(), rule);
        }
    }
    let fields = fields(&all, |key, rule| Ok((group_of(key, &rule.column)?, Vec::new())))?;
    Ok(Table { fields, kind: Kind::Pattern { pattern, start } })
}

fn regex(key: &str, text: &str) -> Result<Regex, FormatError> {
    Regex::new(text).map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_string();
        FormatError::new(key, format!("`{text}` ({why})"), "a regular expression")
    })
}

fn json(config: &FormatConfig) -> Result<Table, FormatError> {
    let fields = fields(config, |key, rule| {
        let Some(rest) = rule.column.strip_prefix('/') else {
            let expected = "a JSON pointer that begins with `/`, such as \"/actor/id\"";
            return Err(FormatError::new(key, format!("`{}`", rule.column), expected));
        };
        Ok((0, rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
    })?;
    Ok(Table { fields, kind: Kind::Json })
}

fn fields(
    config: &FormatConfig,
    place: impl Fn(&str, &FieldRule) -> Result<(usize, Vec<String>), FormatError>,
) -> Result<Vec<Field>, FormatError> {
    let mut fields = Vec::with_capacity(config.fields.len());
    for (name, rule) in &config.fields {
        let key = format!("fields.{name}");
        let slot = columns::configured("fields", name)?;
        let has_words = !rule.yes.is_empty() || !rule.no.is_empty();
        if has_words && !matches!(slot, Slot::Flag(_)) {
            let found = format!("words for true or false on `{name}`");
            return Err(FormatError::new(key, found, "them only on a flag, such as emergency"));
        }
        let (group, pointer) = place(&key, rule)?;
        let mut words = HashMap::new();
        if let (Slot::Flag(_), Some(map)) = (slot, config.values.get(name)) {
            for (from, to) in map {
                if let Scalar::Flag(to) = to {
                    words.insert(from.clone(), *to);
                }
            }
        }
        let (yes, no) = (rule.yes.clone(), rule.no.clone());
        fields.push(Field { name: name.clone(), slot, group, pointer, yes, no, words });
    }
    if !config.fields.contains_key("occurred_at") {
        let expected = "where the time of the event stands: every access event has one";
        return Err(FormatError::new("fields.occurred_at", "nothing", expected));
    }
    Ok(fields)
}
