//! A file read as it would be, with nothing stored: the mapping, some masked rows, what is refused, what the law asks for.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray};
use chrono::{DateTime, SecondsFormat, Utc};
use insyn_engine::config::Organisation;
use insyn_event::{AccessEvent, EventBatch};
use insyn_formats::guess::{guess, source_block};
use insyn_formats::{Cut, Format};
use serde::Serialize;

use crate::admit::admit;
use crate::content::Content;
use crate::error::IngestError;
use crate::law;
use crate::sheet::RowStyle;
use crate::{LegalArea, SourceConfig, SourceFault};

/// So much of the file is read.
const SEEN: usize = 1 << 20;
/// So many rows are shown.
const SHOWN: usize = 20;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The mapping as a `[[source]]`; none where a configured source was tried.
    pub source: Option<String>,
    /// What to look at in it, each as a sentence.
    pub notes: Vec<String>,
    /// Records in what was read of the file, a mebibyte at most.
    pub records: u64,
    /// Rows that they gave.
    pub events: u64,
    /// Why records were refused, and how many.
    pub refused: BTreeMap<String, u64>,
    /// The first rows, personal data masked.
    pub rows: Vec<MaskedRow>,
    /// For each field that the law asks for, in how many of the rows it was.
    pub coverage: Vec<FieldSeen>,
}

/// A row in which nobody is to be recognised.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the columns of access_events")]
pub struct MaskedRow {
    pub occurred_at: String,
    pub activity: Option<String>,
    pub action: Option<String>,
    pub user_id: Option<String>,
    pub user_name: Option<String>,
    pub user_kind: Option<String>,
    pub care_unit_id: Option<String>,
    pub subject_id: Option<String>,
    pub subject_id_type: Option<String>,
    pub subject_name: Option<String>,
    pub purpose: Option<String>,
    pub emergency: Option<bool>,
}

/// One field that the law asks for, over the rows that were read.
#[derive(Debug, Clone, Serialize)]
pub struct FieldSeen {
    /// Which field.
    pub field: String,
    /// The act that asks for it.
    pub act: String,
    /// All rows.
    pub rows: u64,
    /// With a value from the record.
    pub there: u64,
    /// With nothing but what configuration supplied.
    pub constant: u64,
    /// Without a value.
    pub missing: u64,
}

/// Why a file cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It cannot be read, or its mapping is wrong.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// It is text of a shape that only a person can describe.
    #[error(
        "{path}: no shape that can be guessed: write a [[source]] with format = \"pattern\" (or delimiter, encoding, …: see \
         docs/formats.md), and try it with --source"
    )]
    Shapeless {
        /// The file.
        path: String,
    },
}

/// Reads the beginning of a file as `configured`, or as it can be guessed; `area` is whose law is asked where it is
/// guessed. Blocks.
///
/// # Errors
/// When the file cannot be read or described.
pub fn trial(
    path: &Path,
    configured: Option<&SourceConfig>,
    area: LegalArea,
    organisation: &Organisation,
) -> Result<Trial, TrialError> {
    let cannot_read = || IngestError::io("cannot read", path);
    let rows = configured.map_or(Some(RowStyle::default()), SourceConfig::row_style);
    let head =
        Content::open(path, rows).and_then(|content| content.head(SEEN)).map_err(|e| cannot_read()(e))?;
    let (config, area, source, notes) = match configured {
        Some(source) => (source.format.clone(), source.legal_area, None, Vec::new()),
        None => {
            let guess = guess(head.get(..Format::HEAD).unwrap_or(&head))
                .ok_or_else(|| TrialError::Shapeless { path: path.display().to_string() })?;
            let (name, glob) = named_after(path);
            let block = source_block(&guess.config, &name, &glob);
            (guess.config, area, Some(block), guess.notes)
        }
    };
    let format = Format::compile(&config, organisation.timezone).map_err(|error| IngestError::Config {
        name: path.display().to_string(),
        fault: SourceFault { key: error.key, found: error.found, expected: error.expected },
    })?;
    let mut read = Read { rows: Vec::new(), records: 0, refused: BTreeMap::new() };
    read.through(&format, &head, head.len() < SEEN);
    let constants =
        config.constants.iter().map(|(column, value)| (column.clone(), value.to_string())).collect();
    Ok(Trial {
        source,
        notes,
        records: read.records,
        events: read.rows.len() as u64,
        refused: read.refused,
        coverage: seen(&read.rows, area, &constants),
        rows: read.rows.iter().take(SHOWN).map(masked).collect(),
    })
}

struct Read {
    rows: Vec<AccessEvent>,
    records: u64,
    refused: BTreeMap<String, u64>,
}

impl Read {
    fn through(&mut self, format: &Format, bytes: &[u8], whole: bool) {
        let mut reader = match format.open(bytes.get(..Format::HEAD).unwrap_or(bytes)) {
            Ok(reader) => reader,
            Err(fault) => return self.refuse(fault.to_string()),
        };
        let now = Utc::now().timestamp_micros();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match reader.cut(rest, at as u64, whole) {
                Cut::More => return,
                Cut::Skip { len } => len,
                Cut::Bad { len, fault } => {
                    self.records += 1;
                    self.refuse(fault.to_string());
                    len
                }
                Cut::Refused { skip, len, reason } => {
                    self.records += 1;
                    self.refuse(reason);
                    skip + len
                }
                Cut::Record { skip, len } => {
                    self.records += 1;
                    match admit(&reader, None, rest.get(skip..skip + len).unwrap_or_default(), now) {
                        Ok(rows) => self.rows.extend(rows),
                        Err(fault) => self.refuse(fault.to_string()),
                    }
                    skip + len
                }
            };
        }
    }

    fn refuse(&mut self, why: String) {
        *self.refused.entry(why).or_default() += 1;
    }
}

/// A name for the source, and a glob for the file and its successors.
fn named_after(path: &Path) -> (String, String) {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    let plain = |c: char| match c.to_lowercase().next().unwrap_or(c) {
        'å' | 'ä' => 'a',
        'ö' => 'o',
        c if c.is_ascii_alphanumeric() || c == '_' => c,
        _ => '-',
    };
    let name: String = stem.chars().map(plain).collect();
    // A date in it is the file's, not the log's.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_".contains(c));
    let ending =
        file.split('.').nth(1).map(|ending| format!("*.{ending}*")).unwrap_or_else(|| "*".to_owned());
    let folder = path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let glob =
        if folder.is_empty() { ending } else { format!("{}/{ending}", glob::Pattern::escape(&folder)) };
    (if name.is_empty() { "log".to_owned() } else { name.to_owned() }, glob)
}

fn seen(rows: &[AccessEvent], area: LegalArea, constants: &BTreeMap<String, String>) -> Vec<FieldSeen> {
    let mut batch = EventBatch::default();
    rows.iter().for_each(|row| batch.push(row));
    let Ok(batch) = batch.finish() else { return Vec::new() };
    let (act, demands) = law::demands(area);
    let value = |column: &str, row: usize| {
        let array = batch.column_by_name(column)?;
        array.is_valid(row).then(|| array.as_string_opt::<i32>().map(|text| text.value(row).to_owned()))
    };
    demands
        .into_iter()
        .map(|(field, columns)| {
            let mut seen = FieldSeen {
                field,
                act: act.clone(),
                rows: rows.len() as u64,
                there: 0,
                constant: 0,
                missing: 0,
            };
            for row in 0..rows.len() {
                let found: Vec<bool> = columns
                    .iter()
                    .filter_map(|column| {
                        let value = value(column, row)?;
                        Some(constants.get(column).is_none_or(|constant| value.as_ref() != Some(constant)))
                    })
                    .collect();
                match (found.is_empty(), found.iter().any(|from_record| *from_record)) {
                    (true, _) => seen.missing += 1,
                    (false, true) => seen.there += 1,
                    (false, false) => seen.constant += 1,
                }
            }
            seen
        })
        .collect()
}

fn masked(row: &AccessEvent) -> MaskedRow {
    let occurred = DateTime::from_timestamp_micros(row.occurred_at);
    MaskedRow {
        occurred_at: occurred.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default(),
        activity: row.activity.clone(),
        action: row.action.clone(),
        user_id: row.user_id.as_deref().map(|id| mask(id, 2)),
        user_name: row.user_name.as_deref().map(|name| mask(name, 1)),
        user_kind: row.user_kind.clone(),
        care_unit_id: row.care_unit_id.clone(),
        subject_id: row.subject_id.as_deref().map(|id| mask(id, 4)),
        subject_id_type: row.subject_id_type.clone(),
        subject_name: row.subject_name.as_deref().map(|name| mask(name, 1)),
        purpose: row.purpose.clone(),
        emergency: row.emergency,
    }
}

/// The first characters, and a star for each of the rest.
fn mask(text: &str, shown: usize) -> String {
    let hidden = text.chars().count().saturating_sub(shown).clamp(3, 12);
    text.chars().take(shown).chain(std::iter::repeat_n('*', hidden)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn organisation() -> Organisation {
        toml::from_str("id = \"SE1\"\nname = \"X\"").unwrap()
    }

    #[test]
    fn a_file_is_tried_without_anything_being_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Vårdlogg 2026.csv");
        let mut text = "Tidpunkt;Användare;Namn;Åtgärd;Personnummer;Patientnamn\n".to_owned();
        for n in 0..30 {
            text.push_str(&format!(
                "2026-08-31 07:{n:02}:00;anna{n};Anna Alm;Läsa;19121212-1212;Tolvan Ek\n"
            ));
        }
        text.push_str("i går;anna;Anna Alm;Läsa;19121212-1212;Tolvan Ek\n");
        std::fs::write(&path, &text).unwrap();
        let trial = trial(&path, None, LegalArea::HealthCare, &organisation()).unwrap();
        assert_eq!((trial.records, trial.events, trial.rows.len()), (31, 30, 20));
        assert_eq!(
            trial.refused.iter().next(),
            Some((&"occurred_at: not a time that can be read".to_owned(), &1))
        );
        let shown = serde_json::to_string(&trial).unwrap();
        for secret in ["Anna", "anna0", "Tolvan", "19121212", "1212-1212"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        let there = |field: &str| trial.coverage.iter().find(|seen| seen.field == field).unwrap();
        assert_eq!((there("subject").there, there("unit").missing), (30, 30));
        let block = trial.source.unwrap();
        assert!(block.contains("name = \"vardlogg\"") && block.contains("*.csv*"), "{block}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_guessed_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::fs::write(&path, "10.0.0.7 anna GET /journal/1\n").unwrap();
        let tried =
            |path: &Path| trial(path, None, LegalArea::Other, &organisation()).unwrap_err().to_string();
        assert!(tried(&path).contains("format = \"pattern\""), "{}", tried(&path));
        assert!(tried(&folder.path().join("none")).starts_with("cannot read "));
    }
}
