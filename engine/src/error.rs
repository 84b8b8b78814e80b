//! What can go wrong between a question and its rows.

use std::fmt::Display;

use datafusion::error::DataFusionError;

use crate::lake::LakeError;

/// Why a session, a trace or a query of the engine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The lake could not be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A column was asked for that the table does not have.
    #[error("there is no column {name:?} in {table}{}", did_you_mean(.nearest))]
    UnknownColumn {
        /// What was asked for.
        name: String,
        /// Where.
        table: &'static str,
        /// The existing name that is spelt most like it.
        nearest: Option<String>,
    },
    /// A table that was handed in has a name that is taken, or no rows to learn its columns from.
    #[error("table {name:?} cannot be added: {why}")]
    Table {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A question without an answer: an empty id, an end before its beginning.
    #[error("{what}: found {found}, expected {expected}")]
    Question {
        /// Which part of the question.
        what: &'static str,
        /// What it was, never an id.
        found: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The context tables of the current load could not be read.
    #[error("context load {load}: {what}")]
    Context {
        /// The load's id.
        load: String,
        /// What is wrong with it.
        what: String,
    },
    /// The query engine failed on a plan of Insyn's own.
    #[error("{}", plain(.0))]
    Query(Box<DataFusionError>),
}

impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        EngineError::Query(Box::new(error))
    }
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        EngineError::Query(Box::new(error.into()))
    }
}

/// The error's own sentence, without the layers that carried it here and without back traces.
pub(crate) fn plain(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = ["Error during planning: ", "Execution error: ", "Resources exhausted: ", "Schema error: "]
        .iter()
        .fold(text.as_str(), |t, prefix| t.strip_prefix(prefix).unwrap_or(t));
    text.lines().next().unwrap_or_default().to_owned()
}

pub(crate) fn did_you_mean(nearest: &Option<impl Display>) -> String {
    nearest.as_ref().map(|n| format!(" (did you mean {n}?)")).unwrap_or_default()
}

/// The name among `names` that is spelt most like `name`, if any comes close.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let worst = (name.chars().count() / 3).max(1) + 1;
    names
        .into_iter()
        .map(|other| (distance(&name, &other.to_lowercase()), other))
        .filter(|(d, _)| *d <= worst)
        .min_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)))
        .map(|(_, other)| other.to_owned())
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["subject_id", "user_id", "occurred_at"];
        assert_eq!(nearest("subjekt_id", names).as_deref(), Some("subject_id"));
        assert_eq!(nearest("USER_ID", names).as_deref(), Some("user_id"));
        assert_eq!(nearest("occured_at", names).as_deref(), Some("occurred_at"));
        assert_eq!(nearest("zzzzzzz", names), None);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, d) in
            [("", "", 0), ("", "abc", 3), ("abc", "abd", 1), ("kitten", "sitting", 3), ("åä", "aä", 1)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
