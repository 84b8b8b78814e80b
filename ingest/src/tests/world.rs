//! A lake, a folder of logs, and one source over it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use insyn_engine::config::Organisation;
use insyn_engine::lake::Lake;
use insyn_engine::session::{Answer, Limits, Scope, Session};
use tempfile::TempDir;

use crate::once::SourceReport;
use crate::reader::{SourceReader, Turn};
use crate::{Ingest, IngestError, SourceConfig};

/// Records of one line each: which is what tells them apart here.
pub const JSON: &str = "format = \"json\"\n[fields]\nevent_id = \"/id\"\noccurred_at = \"/at\"\n";
/// The same with a header that every file has.
pub const DELIMITED: &str = "format = \"delimited\"\ndelimiter = \";\"\n[fields]\nevent_id = \"Id\"\noccurred_at = \"Tid\"\nsubject_id = \"Person\"\n";
/// The header.
pub const HEADER: &str = "Id;Tid;Person\n";

pub struct World {
    pub folder: TempDir,
    pub lake: Lake,
    source: SourceConfig,
    organisation: Arc<Organisation>,
    reader: Option<SourceReader>,
}

/// Long enough that nothing settles while a test runs.
pub const JUST_NOW: Duration = Duration::from_secs(3600);
/// Everything has settled.
pub const LATER: Duration = Duration::ZERO;

impl World {
    pub async fn new(format: &str, copies: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let lake = Lake::open("lake", folder.path()).await.unwrap();
        let source = format!("name = \"s\"\npath = [\"logs/*\"]\ncopies = \"{copies}\"\n{format}");
        let organisation = "id = \"SE1\"\nname = \"X\"\ntimezone = \"Europe/Stockholm\"";
        World {
            source: toml::from_str(&source).unwrap(),
            organisation: Arc::new(toml::from_str(organisation).unwrap()),
            folder,
            lake,
            reader: None,
        }
    }

    /// Other settings, as after an edit of the configuration and a restart.
    pub fn configure(&mut self, format: &str) {
        let source = format!("name = \"s\"\npath = [\"logs/*\"]\n{format}");
        self.source = toml::from_str(&source).unwrap();
        self.restart();
    }

    pub fn installation(&self) -> Ingest {
        Ingest::open(
            self.lake.clone(),
            &self.organisation,
            std::slice::from_ref(&self.source),
            self.folder.path(),
            &self.folder.path().join("spool"),
        )
        .unwrap()
    }

    pub fn source(&self) -> &SourceConfig {
        &self.source
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    pub fn append(&self, name: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Packs a file, which stays. The packed one is seen a third of it, all but a byte, and whole; each time by a program
    /// that has just begun.
    pub async fn pack_in_parts(&mut self, name: &str, ending: &str) {
        let (path, bytes) = packed(&self.path(name), ending);
        for part in [bytes.len() / 3, bytes.len() - 1, bytes.len()] {
            std::fs::write(&path, &bytes[..part]).unwrap();
            self.restart();
            self.ingest(LATER).await;
        }
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// As after a restart of the program: only the lake remembers.
    pub fn restart(&mut self) {
        self.reader = None;
    }

    /// A few batches, as the program that follows the source gives each its turn.
    pub async fn turns(&mut self, turns: usize) -> SourceReport {
        self.drain(LATER, turns).await
    }

    /// Reads what there is now and commits it, as the program that follows the source would.
    pub async fn ingest(&mut self, settles: Duration) -> SourceReport {
        self.drain(settles, usize::MAX).await
    }

    async fn drain(&mut self, settles: Duration, turns: usize) -> SourceReport {
        let ingest = self.installation();
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => ingest.reader(&self.source).await.unwrap(),
        };
        let mut report = SourceReport::default();
        let (reader, _) =
            ingest.drain(reader.settling(settles), turns, &mut report, &mut |_| {}).await.unwrap();
        self.reader = Some(reader);
        report
    }

    /// Tries to read while less than is asked for is free on the lake's disk; whether it was refused.
    pub async fn without_room(&mut self) -> bool {
        let ingest = self.installation().keeping_free(u64::MAX);
        let reader = ingest.reader(&self.source).await.unwrap();
        let mut report = SourceReport::default();
        let read = ingest.drain(reader.settling(LATER), usize::MAX, &mut report, &mut |_| {}).await;
        matches!(read, Err(IngestError::LowDisk(_)))
    }

    /// One turn that is read and never committed, as before a crash.
    pub async fn crash(&mut self, settles: Duration) -> Turn {
        self.restart();
        self.reader().await.settling(settles).turn().unwrap()
    }

    /// A reader that only the lake has told where it stands.
    pub async fn reader(&self) -> SourceReader {
        let state = self.lake.progress("s").await.unwrap().state;
        let base = self.folder.path().to_owned();
        SourceReader::new(self.source.clone(), state.as_deref(), Arc::clone(&self.organisation), base)
            .unwrap()
    }

    pub async fn sql(&self, query: &str) -> Answer {
        let session = Session::open(&self.lake, self.organisation.timezone, Scope::All).await.unwrap();
        session.with_limits(Limits::default()).sql(query).await.unwrap()
    }

    /// How often each event id lies in the lake.
    pub async fn events(&self) -> BTreeMap<String, usize> {
        counted(&self.sql("SELECT event_id FROM access_events").await)
    }

    /// How often each piece lies in quarantine.
    pub async fn quarantine(&self) -> BTreeMap<String, usize> {
        counted(&self.sql("SELECT CAST(bytes AS VARCHAR) FROM quarantine").await)
    }

    /// How often each text lies in the first column.
    pub async fn counted(&self, query: &str) -> BTreeMap<String, usize> {
        counted(&self.sql(query).await)
    }

    pub async fn gaps(&self) -> usize {
        self.sql("SELECT reason FROM gaps").await.rows()
    }

    pub async fn files(&self) -> usize {
        self.sql("SELECT DISTINCT file_id FROM access_events").await.rows()
    }
}

fn counted(answer: &Answer) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for batch in &answer.batches {
        let column = batch.column(0).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
        for value in column.iter().flatten() {
            *counted.entry(value.to_owned()).or_default() += 1;
        }
    }
    counted
}

/// Packs a file as `gzip`, `zstd` and `xz` do, but leaves the plain one.
pub fn packed(path: &Path, ending: &str) -> (PathBuf, Vec<u8>) {
    let text = std::fs::read(path).unwrap();
    let bytes = match ending {
        "gz" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(&text).unwrap();
            out.finish().unwrap()
        }
        "zst" => zstd::encode_all(text.as_slice(), 3).unwrap(),
        _ => {
            let mut out = liblzma::write::XzEncoder::new(Vec::new(), 3);
            out.write_all(&text).unwrap();
            out.finish().unwrap()
        }
    };
    (PathBuf::from(format!("{}.{ending}", path.display())), bytes)
}

/// Each of these once.
pub fn once<S: ToString>(ids: impl IntoIterator<Item = S>) -> BTreeMap<String, usize> {
    times(1, ids)
}

/// Each of these so often.
pub fn times<S: ToString>(n: usize, ids: impl IntoIterator<Item = S>) -> BTreeMap<String, usize> {
    ids.into_iter().map(|id| (id.to_string(), n)).collect()
}

/// A record of [`JSON`].
pub fn json(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"at\":\"2026-03-02T08:00:00+01:00\"}}\n")
}

/// A record of [`DELIMITED`].
pub fn row(id: &str) -> String {
    format!("{id};2026-03-02 08:00:00;19121212-1212\n")
}
