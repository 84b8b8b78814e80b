//! Evidence: a copy of the context rows that a finding rested on, so that it can be judged when they have changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::Array;
use arrow::json::ArrayWriter;
use chrono::DateTime;
use datafusion::error::DataFusionError;
use serde_json::{Map, Value};

use crate::desk::{Desk, keys_table, text_array};

/// A finding's rows of one table are cut here; the count of all stands beside them.
const MOST_ROWS: usize = 50;

/// Whose rows of a table a finding keeps: those where the column is its person at work, its subject, or its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    User,
    Subject,
    Unit,
}

const KEYS: &[(&str, &[(&str, Whose)])] = &[
    ("units", &[("care_unit_id", Whose::Unit)]),
    ("staff", &[("user_id", Whose::User), ("person_key", Whose::Subject)]),
    ("accounts", &[("user_id", Whose::User), ("account_id", Whose::User)]),
    ("identities", &[("subject_id", Whose::Subject)]),
    ("assignments", &[("user_id", Whose::User)]),
    ("subjects", &[("subject_key", Whose::Subject)]),
    ("watchlist", &[("subject_key", Whose::Subject)]),
    ("care_relations", &[("subject_key", Whose::Subject)]),
    ("schedule", &[("user_id", Whose::User)]),
    ("kinship", &[("subject_key", Whose::Subject), ("related_key", Whose::Subject)]),
    ("consents", &[("subject_key", Whose::Subject)]),
    ("blocks", &[("subject_key", Whose::Subject)]),
    ("rights", &[("user_id", Whose::User)]),
];

/// Whether findings can keep rows of this table.
pub(crate) fn can_keep(table: &str) -> bool {
    KEYS.iter().any(|(name, _)| *name == table)
}

/// Who and what one finding is about.
pub(crate) struct Asked<'a> {
    pub tables: &'a [String],
    pub user: &'a str,
    pub subject: Option<&'a str>,
    pub unit: Option<&'a str>,
    /// The first and the last access, µs UTC.
    pub period: (i64, i64),
}

/// Tables whose rows say how something was for a while: of them a finding keeps what held in its time.
const STATES: [&str; 3] = ["staff", "subjects", "units"];

/// The rows for each of `asked`, as {table: [row, …]}, in an order that the rows alone decide.
pub(crate) async fn collect(
    desk: &Desk,
    asked: &[Asked<'_>],
) -> Result<Vec<Map<String, Value>>, DataFusionError> {
    let mut found: HashMap<(&str, Whose, String), BTreeSet<String>> = HashMap::new();
    for (table, keys) in KEYS {
        let wanted: Vec<&Asked<'_>> = asked.iter().filter(|a| a.tables.iter().any(|t| t == table)).collect();
        if wanted.is_empty() || desk.rows(table).unwrap_or(0) == 0 {
            continue;
        }
        for (column, whose) in *keys {
            let ids: BTreeSet<&str> = wanted.iter().filter_map(|a| id(a, *whose)).collect();
            for (id, row) in rows(desk, table, column, &ids).await? {
                found.entry((table, *whose, id)).or_default().insert(row);
            }
        }
    }
    let mut all = Vec::with_capacity(asked.len());
    for asked in asked {
        let mut context = Map::new();
        for (table, keys) in KEYS.iter().filter(|(table, _)| asked.tables.iter().any(|t| t == table)) {
            let mut rows: BTreeSet<&String> = BTreeSet::new();
            for (_, whose) in *keys {
                let Some(id) = id(asked, *whose) else { continue };
                rows.extend(found.get(&(*table, *whose, id.to_owned())).into_iter().flatten());
            }
            if STATES.contains(table) {
                rows.retain(|row| held(row, asked.period));
            }
            let total = rows.len();
            let rows = rows.into_iter().take(MOST_ROWS).filter_map(|row| serde_json::from_str(row).ok());
            context.insert((*table).to_owned(), Value::Array(rows.collect()));
            if total > MOST_ROWS {
                context.insert(format!("{table}_rows"), total.into());
            }
        }
        all.push(context);
    }
    Ok(all)
}

/// Whether a row held at some time of the period.
fn held(row: &str, (from, to): (i64, i64)) -> bool {
    let row: Map<String, Value> = serde_json::from_str(row).unwrap_or_default();
    let at = |column: &str| {
        let text = row.get(column)?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
    };
    at("valid_from").is_none_or(|begins| begins <= to) && at("valid_to").is_none_or(|ends| ends >= from)
}

fn id<'a>(asked: &Asked<'a>, whose: Whose) -> Option<&'a str> {
    match whose {
        Whose::User => Some(asked.user),
        Whose::Subject => asked.subject,
        Whose::Unit => asked.unit,
    }
}

/// The rows of `table` whose `column` is one of `ids`, each with that id, as JSON text.
async fn rows(
    desk: &Desk,
    table: &str,
    column: &str,
    ids: &BTreeSet<&str>,
) -> Result<Vec<(String, String)>, DataFusionError> {
    let keys = keys_table(ids)?;
    desk.put("finding_keys", keys.schema(), vec![vec![keys]])?;
    let query =
        format!("select k.id as key_of_finding, t.* from {table} t join finding_keys k on k.id = t.{column}");
    let mut found = Vec::new();
    for batch in desk.ctx.sql(&query).await?.collect().await? {
        let ids = text_array(&batch, 0)?;
        let rest = batch.project(&(1..batch.num_columns()).collect::<Vec<_>>())?;
        let mut writer = ArrayWriter::new(Vec::new());
        writer.write(&rest)?;
        writer.finish()?;
        let rows: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&writer.into_inner())
            .map_err(|e| DataFusionError::Internal(format!("rows of {table} as JSON: {e}")))?;
        for (n, mut row) in rows.into_iter().enumerate() {
            // The resolved ids are ours, not the table's.
            row.retain(|column, _| !matches!(column.as_str(), "subject_key" | "related_key" | "person_key"));
            if ids.is_valid(n) {
                found.push((ids.value(n).to_owned(), serde_json::to_string(&row).unwrap_or_default()));
            }
        }
    }
    Ok(found)
}
