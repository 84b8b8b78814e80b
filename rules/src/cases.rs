//! A rule's own test cases: a few rows in memory, through the whole evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Days, NaiveDate};
use chrono_tz::Tz;
use futures::StreamExt;
use insyn_engine::context::{self, Kind};
use insyn_engine::event::{AccessEvent, COLUMNS, EventBatch};
use insyn_engine::lake::Table;
use serde::Serialize;

use crate::calendar::midnight;
use crate::finding::Finding;
use crate::pack::Pack;
use crate::record::{RuleState, RunRecord};
use crate::rule::{Case, CaseValue, Rule};
use crate::run::{ContextState, Limits, Window, evaluate};

/// Dates and days in cases are Swedish.
const ZONE: Tz = Tz::Europe__Stockholm;

/// The file that a case's accesses lie in, by their place.
const CASE_FILE: &str = "case";

/// What the cases of a pack showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestReport {
    /// Each rule, in order of id.
    pub rules: Vec<RuleTest>,
}

/// What the cases of one rule showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleTest {
    /// Which rule.
    pub rule_id: String,
    /// Each case, in the order of the file.
    pub cases: Vec<CaseResult>,
}

/// What one case showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// Which file, and at which line it starts.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What was found and what was expected; `None` when it held.
    pub failure: Option<String>,
}

impl TestReport {
    /// Whether every case held.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Those that did not hold, with their rule.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &CaseResult)> {
        let cases = self.rules.iter().flat_map(|r| r.cases.iter().map(move |c| (r.rule_id.as_str(), c)));
        cases.filter(|(_, case)| case.failure.is_some())
    }
}

/// Runs every case of the rules and explanations of these names, of all where none is named, by the rules' defaults: an
/// organisation's own settings are not what they test.
pub async fn test(pack: &Pack, named: &[String]) -> TestReport {
    let is_meant = |rule: &&Rule| named.is_empty() || named.contains(&rule.id);
    let pack = Arc::new(pack.clone());
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut tests = Vec::new();
    for (place, rule) in pack.every().filter(is_meant).enumerate() {
        for (n, case) in rule.cases.iter().enumerate() {
            tests.push((place, n, rule.clone(), case.clone()));
        }
    }
    let run = |(place, n, rule, case): (usize, usize, Rule, Case)| {
        let pack = Arc::clone(&pack);
        async move {
            let running = tokio::spawn(async move { run_case(&pack, &rule, &case).await.err() });
            // A case that panics is one that did not hold.
            (place, n, running.await.unwrap_or_else(|error| Some(error.to_string())))
        }
    };
    let done: Vec<(usize, usize, Option<String>)> =
        futures::stream::iter(tests.into_iter().map(run)).buffer_unordered(at_once).collect().await;
    let mut failures: BTreeMap<(usize, usize), String> =
        done.into_iter().filter_map(|(place, n, failure)| Some(((place, n), failure?))).collect();
    let rules = pack.every().filter(is_meant).enumerate().map(|(place, rule)| {
        let result = |(n, case): (usize, &Case)| CaseResult {
            name: case.name.clone(),
            file: rule.file.clone(),
            line: case.line,
            failure: failures.remove(&(place, n)),
        };
        RuleTest { rule_id: rule.id.clone(), cases: rule.cases.iter().enumerate().map(result).collect() }
    });
    TestReport { rules: rules.collect() }
}

/// The columns that a case may name in a table.
pub(crate) fn columns(table: &str) -> Option<Vec<&'static str>> {
    if table == "accesses" {
        return Some(COLUMNS.iter().map(|c| c.name).collect());
    }
    if table == Table::Lacking.name() {
        return Some(vec!["event_id", "export_file_id"]);
    }
    Some(context::table(table)?.columns.iter().map(|c| c.name).collect())
}

/// The ids of a case's accesses; one without an id is e1, e2, … by its place.
pub(crate) fn event_ids(case: &Case) -> impl Iterator<Item = String> {
    let accesses = case.rows.get("accesses").map_or(&[][..], Vec::as_slice);
    accesses.iter().enumerate().map(|(n, row)| match row.get("event_id") {
        Some(CaseValue::Text(id)) => id.clone(),
        _ => format!("e{}", n + 1),
    })
}

async fn run_case(pack: &Pack, rule: &Rule, case: &Case) -> Result<(), String> {
    let mut rule = rule.clone();
    rule.status = crate::rule::Status::Stable;
    rule.held_back = None;
    for param in rule.params.values_mut() {
        param.value = param.default.clone();
    }
    let mut pack = pack.alone(rule.clone());
    for (name, value) in &case.set {
        pack.set(&rule.id, name, value.clone())?;
    }
    let events = events(case)?;
    let mut tables = Vec::new();
    for (name, rows) in case.rows.iter().filter(|(name, _)| *name != "accesses") {
        let rows = match name == Table::Lacking.name() {
            true => lacking_rows(case, rows)?,
            false => context_rows(name, rows)?,
        };
        tables.push((name.as_str(), vec![rows]));
    }
    let source = insyn_engine::session::in_memory(ZONE, vec![events], &tables).map_err(|e| e.to_string())?;
    let (record, findings) =
        evaluate(&pack, &source, ZONE, Window::default(), &ContextState::default(), Limits::default())
            .await
            .map_err(|e| e.to_string())?;
    compare(case, &record, &findings)
}

fn compare(case: &Case, record: &RunRecord, findings: &[Finding]) -> Result<(), String> {
    let Some(run) = record.rules.first() else { return Err("the rule was not run".into()) };
    if run.state == RuleState::Failed {
        return Err(format!("the rule failed: {}", run.why.as_deref().unwrap_or("no reason given")));
    }
    let unjudged = run.state == RuleState::NotEvaluated || !run.not_evaluated.is_empty();
    if unjudged != case.not_evaluated && (case.not_evaluated || run.state == RuleState::NotEvaluated) {
        return Err(format!("found \"evaluated\": {}, expected {}", !unjudged, !case.not_evaluated));
    }
    let found: BTreeSet<&str> =
        findings.iter().flat_map(|f| f.event_ids.iter().map(String::as_str)).collect();
    let expected: BTreeSet<&str> = case.hits.iter().map(String::as_str).collect();
    if found != expected {
        return Err(format!("found hits {found:?}, expected {expected:?}"));
    }
    if let Some(count) = case.findings.filter(|count| *count != findings.len()) {
        return Err(format!("found {} findings, expected {count}", findings.len()));
    }
    if let Some(says) = &case.says
        && !findings.iter().any(|f| f.reasons.iter().any(|r| r.sv.contains(says) || r.en.contains(says)))
    {
        let said: Vec<&str> = findings.iter().flat_map(|f| f.reasons.iter().map(|r| r.sv.as_str())).collect();
        return Err(format!("found the sentences {said:?}, expected one with \"{says}\""));
    }
    if let Some(level) = case.level
        && let Some(other) = findings.iter().find(|f| f.level != level)
    {
        return Err(format!("found level {}, expected {level}", other.level));
    }
    Ok(())
}

/// The accesses of a case: text is as given, the rest are rows that an ordinary journal would have written.
fn events(case: &Case) -> Result<RecordBatch, String> {
    let mut batch = EventBatch::default();
    let rows = case.rows.get("accesses").map_or(&[][..], Vec::as_slice);
    for (n, (row, event_id)) in rows.iter().zip(event_ids(case)).enumerate() {
        let mut event = AccessEvent {
            event_id,
            source: "journal".into(),
            organisation_id: "O".into(),
            controller_id: "O".into(),
            user_kind: Some("staff".into()),
            outcome: Some("success".into()),
            action: Some("R".into()),
            file_id: CASE_FILE.into(),
            file_offset: n as i64,
            file_length: 1,
            segment: 1,
            seq: i32::try_from(n).unwrap_or(i32::MAX),
            ..AccessEvent::default()
        };
        let mut timed = false;
        for (column, value) in row {
            timed |= column == "occurred_at";
            set(&mut event, column, value)?;
        }
        if !timed {
            return Err(format!("access {}: occurred_at is missing, expected a time", n + 1));
        }
        event.year = DateTime::from_timestamp_micros(event.occurred_at)
            .map(|t| t.format("%Y").to_string())
            .unwrap_or_default();
        event.ingested_at = event.occurred_at;
        batch.push(&event);
    }
    batch.finish().map_err(|e| e.to_string())
}

fn set(event: &mut AccessEvent, column: &str, value: &CaseValue) -> Result<(), String> {
    let wrong = |expected: &str| format!("accesses.{column}: expected {expected}");
    let text = match value {
        CaseValue::Text(text) => text.clone(),
        CaseValue::Flag(flag) if column == "emergency" => {
            event.emergency = Some(*flag);
            return Ok(());
        }
        _ => return Err(wrong("text, a time, or for emergency true or false")),
    };
    let optional = match column {
        "event_id" => return Ok(()),
        "occurred_at" => {
            event.occurred_at = DateTime::parse_from_rfc3339(&text)
                .map_err(|_| wrong("a time by RFC 3339"))?
                .timestamp_micros();
            return Ok(());
        }
        "source" => {
            event.source = text;
            return Ok(());
        }
        "controller_id" => {
            event.controller_id = text;
            return Ok(());
        }
        "user_kind" => &mut event.user_kind,
        "outcome" => &mut event.outcome,
        "action" => &mut event.action,
        "activity" => &mut event.activity,
        "activity_level" => &mut event.activity_level,
        "activity_args" => &mut event.activity_args,
        "purpose" => &mut event.purpose,
        "user_id" => &mut event.user_id,
        "user_name" => &mut event.user_name,
        "user_person_id" => &mut event.user_person_id,
        "user_title" => &mut event.user_title,
        "user_role" => &mut event.user_role,
        "user_assignment" => &mut event.user_assignment,
        "care_provider_id" => &mut event.care_provider_id,
        "care_unit_id" => &mut event.care_unit_id,
        "care_unit_name" => &mut event.care_unit_name,
        "care_process_id" => &mut event.care_process_id,
        "access_ground" => &mut event.access_ground,
        "subject_id" => &mut event.subject_id,
        "subject_name" => &mut event.subject_name,
        "resource_type" => &mut event.resource_type,
        "resource_id" => &mut event.resource_id,
        "resource_care_provider_id" => &mut event.resource_care_provider_id,
        "resource_care_unit_id" => &mut event.resource_care_unit_id,
        "session_id" => &mut event.session_id,
        "correlation_id" => &mut event.correlation_id,
        "client_address" => &mut event.client_address,
        _ => return Err(wrong("a column that cases can set")),
    };
    *optional = Some(text);
    Ok(())
}

/// Rows of `lacking`: a case names the access by its id.
fn lacking_rows(case: &Case, rows: &[BTreeMap<String, CaseValue>]) -> Result<RecordBatch, String> {
    let text = |row: &BTreeMap<String, CaseValue>, name: &str| match row.get(name) {
        Some(CaseValue::Text(text)) => Ok(text.clone()),
        _ => Err(format!("lacking.{name}: expected text")),
    };
    let (mut exports, mut offsets) = (Vec::new(), Vec::new());
    for row in rows {
        let id = text(row, "event_id")?;
        let place = event_ids(case).position(|event| event == id);
        let place =
            place.ok_or_else(|| format!("lacking.event_id: found {id}, expected an access of the case"))?;
        exports.push(text(row, "export_file_id")?);
        offsets.push(place as i64);
    }
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows.len()])) };
    let zero = || -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![0; rows.len()]).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        same("journal"),
        same(CASE_FILE),
        Arc::new(StringArray::from(exports)),
        Arc::new(Int64Array::from(offsets)),
        zero(),
        zero(),
        Arc::new(Int64Array::from(vec![1; rows.len()])),
    ];
    RecordBatch::try_new(Table::Lacking.schema(), columns).map_err(|e| e.to_string())
}

/// Rows of a context table, read as a context load reads them: a date as an end includes its whole day.
fn context_rows(name: &str, rows: &[BTreeMap<String, CaseValue>]) -> Result<RecordBatch, String> {
    let table = context::table(name).ok_or_else(|| format!("there is no context table \"{name}\""))?;
    let unknown = rows.iter().flat_map(|row| row.keys()).find(|c| table.column(c).is_none());
    if let Some(column) = unknown {
        return Err(format!("{name} has no column \"{column}\""));
    }
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in &table.columns {
        let values = rows.iter().map(|row| row.get(column.name));
        let wrong = |expected: &str| format!("{name}.{}: expected {expected}", column.name);
        let text = |value: Option<&CaseValue>| match value {
            None => Ok(None),
            Some(CaseValue::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong("text")),
        };
        arrays.push(match column.kind {
            Kind::Text | Kind::Person => Arc::new(values.map(text).collect::<Result<StringArray, _>>()?),
            Kind::Flag => Arc::new(
                values
                    .map(|value| match value {
                        None => Ok(None),
                        Some(CaseValue::Flag(flag)) => Ok(Some(*flag)),
                        Some(_) => Err(wrong("true or false")),
                    })
                    .collect::<Result<BooleanArray, _>>()?,
            ),
            Kind::Date => {
                let day = |value| {
                    Ok::<_, String>(
                        text(value)?.map(|t| date(&t).ok_or_else(|| wrong("a date"))).transpose()?.map(days),
                    )
                };
                Arc::new(values.map(day).collect::<Result<Date32Array, _>>()?)
            }
            Kind::Time | Kind::End => {
                let end = column.kind == Kind::End;
                let at = |value| {
                    text(value)?
                        .map(|t| instant(&t, end).ok_or_else(|| wrong("a time or a date")))
                        .transpose()
                };
                Arc::new(
                    values.map(at).collect::<Result<TimestampMicrosecondArray, _>>()?.with_timezone("UTC"),
                )
            }
        });
    }
    RecordBatch::try_new(table.schema(), arrays).map_err(|e| e.to_string())
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn days(date: NaiveDate) -> i32 {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or_default()
}

fn instant(text: &str, end: bool) -> Option<i64> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.timestamp_micros()),
        Err(_) if end => Some(midnight(date(text)?.checked_add_days(Days::new(1))?, ZONE) - 1),
        Err(_) => Some(midnight(date(text)?, ZONE)),
    }
}
