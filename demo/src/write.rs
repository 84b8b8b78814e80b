//! The world as files: logs a day each, context tables, configuration, truth.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::access::{Access, Source};
use crate::story::{DemoAccount, Hint};
use crate::{DemoError, World, config, context, logs};

/// Days after which the journal's and the portal's files lie compressed.
const KEPT_PLAIN: i32 = 7;

/// What [`World::write`] wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// The configuration file.
    pub config: PathBuf,
    /// Rows that `access_events` will have: a record about two people is two rows.
    pub events: usize,
    /// Records that cannot be read and must be found in quarantine.
    pub broken: usize,
    /// The same by source, in the order of the configuration.
    pub sources: Vec<SourceCount>,
    /// People, staff, care relations and shifts that the context tells of; rows by table.
    pub context: BTreeMap<&'static str, usize>,
    /// Planted cases by kind.
    pub planted: BTreeMap<&'static str, usize>,
    /// Whom one can sign in as.
    pub accounts: Vec<DemoAccount>,
    /// Three things worth looking at.
    pub worth_a_look: Vec<Hint>,
    /// Protected persons' numbers: the record of one of them was opened without a reason.
    pub protected_subjects: Vec<String>,
}

/// What one source's logs hold.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct SourceCount {
    /// The configured name.
    pub name: &'static str,
    /// Files written.
    pub files: usize,
    /// Readable records.
    pub records: usize,
    /// Rows they make.
    pub events: usize,
    /// Unreadable records.
    pub broken: usize,
}

impl World {
    /// Writes everything under `dir`, which is made where it is missing. `listen` goes into the configuration
    /// (`127.0.0.1:8080`). Logs of an earlier world in the same folder are the caller's to remove.
    ///
    /// # Errors
    /// [`DemoError`] with the file that could not be written.
    pub fn write(&self, dir: &Path, listen: &str) -> Result<Written, DemoError> {
        let zone = self.clock.zone().name();
        let mut counts: Vec<Result<SourceCount, DemoError>> = Vec::new();
        std::thread::scope(|scope| {
            let writers: Vec<_> = Source::ALL
                .into_iter()
                .map(|source| scope.spawn(move || self.write_source(dir, source)))
                .collect();
            for writer in writers {
                // A thread ends early only by a panic, which is ours to pass on.
                counts.push(writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
        let sources = counts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut rows = BTreeMap::new();
        for table in context::tables(self) {
            put_file(&dir.join("context").join(format!("{}.csv", table.name)), table.text.as_bytes())?;
            rows.insert(table.name, table.rows);
        }
        let truth = dir.join("truth");
        put_json(&truth.join("planted.json"), &self.planted())?;
        put_json(&truth.join("noise.json"), &self.noise())?;
        put_json(&truth.join("written.json"), &sources)?;
        let config = dir.join("insyn.toml");
        put_file(&config, config::text(listen, zone).as_bytes())?;
        let mut planted = BTreeMap::new();
        for plan in &self.plans {
            *planted.entry(plan.kind).or_default() += 1;
        }
        let protected = self.people.subjects.iter().filter(|one| one.protected.is_some());
        Ok(Written {
            config,
            events: sources.iter().map(|source| source.events).sum(),
            broken: sources.iter().map(|source| source.broken).sum(),
            sources,
            context: rows,
            planted,
            accounts: self.demo_accounts(),
            worth_a_look: self.worth_a_look(),
            protected_subjects: protected.map(|one| one.id.clone()).collect(),
        })
    }

    /// The looks of a source, in order of time.
    pub(crate) fn of_source(&self, source: Source) -> &[Access] {
        let from = self.accesses.partition_point(|access| access.source < source);
        let to = self.accesses.partition_point(|access| access.source <= source);
        &self.accesses[from..to]
    }

    fn write_source(&self, dir: &Path, source: Source) -> Result<SourceCount, DemoError> {
        let looks = self.of_source(source);
        let wanted = broken(source);
        let spoil_every = looks.len() / (wanted + 1);
        let mut count = SourceCount { name: source.name(), files: 0, records: 0, events: 0, broken: 0 };
        let (head, tail) = logs::envelope(source);
        let mut text = String::new();
        for day in looks.chunk_by(|one, next| self.clock.day_of(one.at) == self.clock.day_of(next.at)) {
            text.clear();
            text.push_str(head);
            for look in day {
                let begin = text.len();
                logs::record(self, look, &mut text);
                count.records += 1;
                count.events += 1 + usize::from(look.second.is_some());
                if count.broken < wanted && count.records == spoil_every * (count.broken + 1) {
                    let spoilt = logs::spoilt(source, &text[begin..], count.broken);
                    text.push_str(&spoilt);
                    count.broken += 1;
                }
            }
            text.push_str(tail);
            let date = self.clock.day_of(day[0].at);
            self.write_day(dir, source, date, &text)?;
            count.files += 1;
        }
        Ok(count)
    }

    fn write_day(&self, dir: &Path, source: Source, day: i32, text: &str) -> Result<(), DemoError> {
        let path = dir.join("logs").join(self.log_file(source, day));
        let packed = matches!(source, Source::Journal | Source::Portal) && day < self.days - KEPT_PLAIN;
        if packed {
            let path = path.with_added_extension("gz");
            return put_packed(&path, text.as_bytes());
        }
        put_file(&path, &encoded(source, text, &path)?)
    }

    /// Where a source's log of a day lies, below `logs`.
    pub(crate) fn log_file(&self, source: Source, day: i32) -> PathBuf {
        let (folder, stem, extension) = match source {
            Source::Journal => ("journal-fhir", "audit", "ndjson"),
            Source::National => ("nationell-rivta", "storelog", "xml"),
            Source::Imaging => ("bild-atna", "atna", "log"),
            Source::Social => ("omsorg-csv", "omsorg", "csv"),
            Source::Portal => ("portal-web", "access", "log"),
        };
        Path::new(folder).join(format!("{stem}-{}.{extension}", self.clock.date(day)))
    }
}

/// How many unreadable records a source gets: twenty in all.
fn broken(source: Source) -> usize {
    match source {
        Source::Journal => 6,
        Source::National => 2,
        Source::Imaging => 3,
        Source::Social => 5,
        Source::Portal => 4,
    }
}

/// A text in the encoding of its source.
///
/// # Errors
/// When a letter has no place in windows-1252; `path` is named.
pub(crate) fn encoded(source: Source, text: &str, path: &Path) -> Result<Vec<u8>, DemoError> {
    if source != Source::Social {
        return Ok(text.as_bytes().to_vec());
    }
    let (bytes, _, lost) = encoding_rs::WINDOWS_1252.encode(text);
    if lost {
        return Err(DemoError::Encoding { path: path.to_owned() });
    }
    Ok(bytes.into_owned())
}

/// Writes a file whole, with its folder.
pub(crate) fn put_file(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let named = |source| DemoError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    fs::write(path, bytes).map_err(named)
}

fn put_packed(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let named = |source| DemoError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    let mut packer = GzEncoder::new(File::create(path).map_err(named)?, Compression::fast());
    packer.write_all(bytes).map_err(named)?;
    packer.finish().and_then(|mut file| file.flush()).map_err(named)
}

fn put_json(path: &Path, rows: &[impl Serialize]) -> Result<(), DemoError> {
    let bytes = serde_json::to_vec_pretty(rows)
        .map_err(|error| DemoError::Write { path: path.to_owned(), source: error.into() })?;
    put_file(path, &bytes)
}
