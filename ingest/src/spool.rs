//! Whoever reads is read: each look through Insyn, as a FHIR AuditEvent on disk before the answer leaves.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::error::IngestError;

/// The source that these looks become.
pub const SOURCE: &str = "insyn";

/// A look at personal data through Insyn.
#[derive(Debug, Clone)]
pub struct Look {
    /// Who looked.
    pub user_id: String,
    /// Their name.
    pub user_name: Option<String>,
    /// In which role.
    pub user_role: String,
    /// What was done, as `trace subject`.
    pub activity: String,
    /// Why, as stated.
    pub reason: Option<String>,
    /// In which case.
    pub case: Option<String>,
    /// What was asked.
    pub query: Option<String>,
    /// From where.
    pub client_address: Option<String>,
    /// `success`, `minor-failure`, `serious-failure` or `major-failure`.
    pub outcome: &'static str,
    /// Whose records came back.
    pub subjects: Vec<String>,
    /// How many rows came back.
    pub rows: u64,
}

/// The log of Insyn's own looks.
#[derive(Debug, Clone)]
pub struct OwnLog {
    folder: PathBuf,
}

impl OwnLog {
    /// Opens the log below the spool's folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(spool: &Path) -> Result<OwnLog, IngestError> {
        let folder = spool.join(SOURCE);
        std::fs::create_dir_all(&folder)
            .map_err(IngestError::io("cannot make the folder", folder.clone()))?;
        Ok(OwnLog { folder })
    }

    /// Writes a look down; when this returns, it is on disk. Returns the event's id.
    ///
    /// # Errors
    /// When it cannot be written: then nothing must be shown.
    pub async fn record(&self, look: &Look) -> Result<String, IngestError> {
        let id = uuid::Uuid::now_v7().to_string();
        let line = format!("{}\n", audit_event(&id, look));
        let file = self.folder.join(format!("own-{}.ndjson", Utc::now().format("%Y-%m-%d")));
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || append(&folder, &file, line.as_bytes()))
            .await
            .map_err(|error| IngestError::Cut(error.to_string()))??;
        Ok(id)
    }
}

/// One whole line, by one process at a time.
fn append(folder: &Path, path: &Path, line: &[u8]) -> Result<(), IngestError> {
    let write = || -> std::io::Result<()> {
        let fresh = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.lock()?;
        file.write_all(line)?;
        file.sync_data()?;
        if fresh {
            File::open(folder)?.sync_all()?;
        }
        file.unlock()
    };
    write().map_err(IngestError::io("cannot write", path))
}

fn audit_event(id: &str, look: &Look) -> Value {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let outcome = match look.outcome {
        "minor-failure" => "4",
        "serious-failure" => "8",
        "major-failure" => "12",
        _ => "0",
    };
    let mut entities: Vec<Value> = look
        .subjects
        .iter()
        .map(|subject| {
            json!({
                "what": {"identifier": {"system": format!("urn:oid:{}", issuer(subject)), "value": subject}},
                "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
                "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"}
            })
        })
        .collect();
    if let Some(query) = &look.query {
        entities.push(json!({
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "24"},
            "query": base64(query)
        }));
    }
    let why = look.reason.as_deref().or(look.case.as_deref());
    json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"display": look.activity}],
        "action": "R",
        "recorded": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "outcome": outcome,
        "outcomeDesc": format!("{} rows", look.rows),
        "purposeOfEvent": why.map(|text| json!([{"text": text}])).unwrap_or(json!([])),
        "agent": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "who": {"identifier": {"value": look.user_id}, "display": look.user_name},
            "role": [{"text": look.user_role}],
            "requestor": true,
            "network": look.client_address.as_ref().map(|address| json!({"address": address, "type": "2"}))
        }],
        "source": {"observer": {"display": "Insyn"}},
        "entity": entities
    })
}

fn issuer(subject: &str) -> &'static str {
    let day = subject.get(6..7).unwrap_or_default();
    if day >= "6" { insyn_event::oid::SAMORDNINGSNUMMER } else { insyn_event::oid::PERSONNUMMER }
}
