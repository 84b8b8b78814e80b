//! Whoever reads is read: each look through Insyn, as a FHIR AuditEvent on disk before the answer leaves.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::writer::{Failed, Writer};
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

/// The log of Insyn's own looks. Clones write to the same log.
#[derive(Debug, Clone)]
pub struct OwnLog {
    lines: Writer<String, ()>,
}

/// One event names so many records at most; a look at more becomes several events of one id.
const SUBJECTS: usize = 200;

impl OwnLog {
    /// Opens the log below the spool's folder, with a thread that writes it.
    ///
    /// # Errors
    /// When the folder or the thread cannot be made.
    pub fn open(spool: &Path) -> Result<OwnLog, IngestError> {
        let folder = spool.join(SOURCE);
        std::fs::create_dir_all(&folder)
            .map_err(IngestError::io("cannot make the folder", folder.clone()))?;
        let lines = Writer::start("insyn-own-log", {
            let folder = folder.clone();
            move |lines| write_all(&folder, lines)
        });
        Ok(OwnLog { lines: lines.map_err(IngestError::io("cannot write in", folder))? })
    }

    /// Writes a look down; when this returns, it is on disk. Returns the event's id.
    ///
    /// # Errors
    /// When it cannot be written: then nothing must be shown.
    pub async fn record(&self, look: &Look) -> Result<String, IngestError> {
        let id = uuid::Uuid::now_v7().to_string();
        self.lines.write(lines_of(&id, look)).await?;
        Ok(id)
    }
}

fn lines_of(id: &str, look: &Look) -> String {
    let parts: Vec<&[String]> = match look.subjects.is_empty() {
        true => vec![&[]],
        false => look.subjects.chunks(SUBJECTS).collect(),
    };
    parts.into_iter().map(|subjects| format!("{}\n", audit_event(id, look, subjects))).collect()
}

fn write_all(folder: &Path, lines: &[String]) -> Result<Vec<()>, Failed> {
    let path = folder.join(format!("own-{}.ndjson", Utc::now().format("%Y-%m-%d")));
    match append(folder, &path, lines.concat().as_bytes()) {
        Ok(()) => Ok(vec![(); lines.len()]),
        Err(error) => Err(Failed { path, error }),
    }
}

/// Whole lines, by one process at a time. What was cut short before gets its end, so that it spoils no other line.
fn append(folder: &Path, path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let fresh = !path.exists();
    let mut file = OpenOptions::new().append(true).read(true).create(true).open(path)?;
    file.lock()?;
    let end = file.seek(SeekFrom::End(0))?;
    let written = mend(&mut file, end).and_then(|()| file.write_all(lines)).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // A line of which nobody was told that it is there must not be there in part.
        file.set_len(end)?;
        return Err(error);
    }
    if fresh {
        File::open(folder)?.sync_all()?;
    }
    file.unlock()
}

fn mend(file: &mut File, end: u64) -> std::io::Result<()> {
    let mut last = [b'\n'];
    if end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut last)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

fn audit_event(id: &str, look: &Look, subjects: &[String]) -> Value {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let outcome = match look.outcome {
        "minor-failure" => "4",
        "serious-failure" => "8",
        "major-failure" => "12",
        _ => "0",
    };
    let kind = |code: &str| json!({"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": code});
    let role =
        |code: &str| json!({"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": code});
    let mut entities: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            json!({
                "what": {"identifier": {"system": format!("urn:oid:{}", issuer(subject)), "value": subject}},
                "type": kind("1"),
                "role": role("1")
            })
        })
        .collect();
    if let Some(query) = &look.query {
        entities.push(json!({"type": kind("2"), "role": role("24"), "query": base64(query)}));
    }
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"display": look.activity}],
        "action": "R",
        "recorded": Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        "outcome": outcome,
        "outcomeDesc": format!("{} rows", look.rows),
        "agent": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "who": {"identifier": {"value": look.user_id}, "display": look.user_name},
            "role": [{"text": look.user_role}],
            "requestor": true,
            "network": look.client_address.as_ref().map(|address| json!({"address": address, "type": "2"}))
        }],
        "source": {"observer": {"display": "Insyn"}},
        "entity": entities
    });
    if let Some(reason) = &look.reason {
        event["purposeOfEvent"] = json!([{"text": reason}]);
    }
    // The case is the ground that the look rests on; FHIR has no place for one, so it goes where extensions go.
    if let Some(case) = &look.case {
        event["extension"] = json!([{"url": "urn:insyn:access_ground", "valueString": case}]);
    }
    event
}

fn issuer(subject: &str) -> &'static str {
    let day = subject.get(6..7).unwrap_or_default();
    if day >= "6" { insyn_event::oid::SAMORDNINGSNUMMER } else { insyn_event::oid::PERSONNUMMER }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::PathBuf;

    use insyn_formats::{Format, FormatConfig, FormatName};

    use super::*;

    fn look(subjects: usize) -> Look {
        Look {
            user_id: "granskare".into(),
            user_name: Some("Greta Granskare".into()),
            user_role: "dso".into(),
            activity: "trace subject".into(),
            reason: Some("klagomål".into()),
            case: Some("2026-17".into()),
            query: Some("subject_id".into()),
            client_address: Some("127.0.0.1".into()),
            outcome: "success",
            subjects: (0..subjects).map(|n| format!("19121212{n:04}")).collect(),
            rows: 3,
        }
    }

    fn file(folder: &Path) -> PathBuf {
        let mut files = std::fs::read_dir(folder.join(SOURCE)).unwrap();
        files.next().unwrap().unwrap().path()
    }

    #[tokio::test]
    async fn a_look_says_reason_and_case_and_whose_records() {
        let folder = tempfile::tempdir().unwrap();
        let log = OwnLog::open(folder.path()).unwrap();
        let id = log.record(&look(2)).await.unwrap();
        let text = std::fs::read_to_string(file(folder.path())).unwrap();
        let format =
            Format::compile(&FormatConfig::new(FormatName::FhirAuditEvent), chrono_tz::Tz::UTC).unwrap();
        let rows = format.open(b"").unwrap().parse(text.trim_end().as_bytes()).unwrap();
        assert_eq!(rows.len(), 2);
        for (n, row) in rows.iter().enumerate() {
            assert_eq!(row.event_id, id);
            assert_eq!(row.purpose.as_deref(), Some("klagomål"));
            assert_eq!(row.access_ground.as_deref(), Some("2026-17"));
            assert_eq!(row.subject_id.as_deref(), Some(format!("19121212{n:04}").as_str()));
            assert_eq!(row.user_id.as_deref(), Some("granskare"));
            assert_eq!(row.activity.as_deref(), Some("trace subject"));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_at_once_are_whole_lines_and_a_look_at_many_is_several_events() {
        let folder = tempfile::tempdir().unwrap();
        let logs = [OwnLog::open(folder.path()).unwrap(), OwnLog::open(folder.path()).unwrap()];
        let mut running = tokio::task::JoinSet::new();
        for n in 0..100 {
            let log = logs[n % 2].clone();
            running.spawn(async move { log.record(&look(if n == 7 { 450 } else { 1 })).await.unwrap() });
        }
        let ids = running.join_all().await;
        let text = std::fs::read_to_string(file(folder.path())).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 102, "450 records are three events");
        for id in ids {
            assert!(lines.iter().any(|line| line["id"] == id.as_str()));
        }
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_short_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let log = OwnLog::open(folder.path()).unwrap();
        log.record(&look(1)).await.unwrap();
        let path = file(folder.path());
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"resourceType\":\"Aud");
        std::fs::write(&path, text).unwrap();
        log.record(&look(1)).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        assert_eq!((whole, text.lines().count()), (2, 3));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let log = OwnLog::open(folder.path()).unwrap();
        std::fs::remove_dir(folder.path().join(SOURCE)).unwrap();
        let error = log.record(&look(1)).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot write"), "{error}");
    }
}
