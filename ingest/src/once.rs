//! Every source to its end, once or for as long as the program runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use insyn_engine::config::Organisation;
use insyn_engine::lake::{Lake, SourceCommit};
use insyn_formats::{FormatConfig, FormatName};
use notify::{RecursiveMode, Watcher};
use serde::Serialize;
use tokio::sync::watch;

use crate::error::IngestError;
use crate::reader::{Batch, Journal, SourceReader};
use crate::scan::folders;
use crate::state::SourceState;
use crate::{Copies, Delivery, LegalArea, SourceConfig, spool};

/// How long new lines may gather before they are read.
const GATHER: Duration = Duration::from_millis(250);
/// The poll beside the watching: network shares give no events.
const POLL: Duration = Duration::from_secs(1);

/// The sources of an installation, ready to be read.
pub struct Ingest {
    lake: Lake,
    organisation: Arc<Organisation>,
    sources: Vec<SourceConfig>,
    base: PathBuf,
    spool: PathBuf,
}

/// How far a run has come.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The source under way.
    pub source: String,
    /// Events committed in this run.
    pub events: u64,
}

/// What a run read. Insyn's own log is read too, and not counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Rows of `access_events`.
    pub events: u64,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Rows of `gaps`.
    pub gaps: u64,
    /// By source, as configured.
    pub sources: Vec<SourceReport>,
}

/// What a run read of one source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Files that are there.
    pub files: u64,
    /// Decompressed bytes read.
    pub bytes: u64,
    /// Rows of `access_events`.
    pub events: u64,
    /// Records in quarantine.
    pub quarantined: u64,
    /// Rows of `gaps`.
    pub gaps: u64,
}

impl Ingest {
    /// Checks the sources. `base` is the folder of the configuration, `spool` that of the own log and the journal.
    ///
    /// # Errors
    /// When a source is wrong, or the spool cannot be made.
    pub async fn open(
        lake: Lake,
        organisation: &Organisation,
        sources: &[SourceConfig],
        base: &Path,
        spool: &Path,
    ) -> Result<Ingest, IngestError> {
        let folder = spool.join("journal");
        std::fs::create_dir_all(&folder).map_err(IngestError::io("cannot make the folder", folder))?;
        for source in sources {
            source.check().map_err(|fault| IngestError::Config { name: source.name.clone(), fault })?;
        }
        let mut sources = sources.to_vec();
        sources.push(own_source(spool));
        Ok(Ingest {
            lake,
            organisation: Arc::new(organisation.clone()),
            sources,
            base: base.to_owned(),
            spool: spool.to_owned(),
        })
    }

    /// Reads every source to its present end and commits.
    ///
    /// # Errors
    /// When another process reads this lake's sources, a file cannot be read, or the lake cannot be written.
    pub async fn once(
        &mut self,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Report, IngestError> {
        let _lock = self.lake.lock(&format!("insyn ingest, pid {}", std::process::id()), "ingest")?;
        let mut report = Report::default();
        for config in self.sources.clone() {
            let mut reader = self.reader(config).await?;
            let read = self.drain(&mut reader, progress, &mut watch::channel(false).1).await?;
            if read.name != spool::SOURCE {
                report.events += read.events;
                report.quarantined += read.quarantined;
                report.gaps += read.gaps;
                report.sources.push(read);
            }
        }
        Ok(report)
    }

    /// Follows the sources until `stop` becomes true: new lines are committed within a second or so.
    ///
    /// # Errors
    /// As [`Ingest::once`].
    pub async fn follow(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), IngestError> {
        let _lock = self.lake.lock(&format!("insyn serve, pid {}", std::process::id()), "ingest")?;
        let (woken, mut wake) = tokio::sync::mpsc::channel::<()>(1);
        // A full channel means that a wake-up is already on its way; watching only speeds up the poll beside it.
        let mut watcher = notify::recommended_watcher(move |_| {
            let _ = woken.try_send(());
        })
        .ok();
        let watched: BTreeSet<PathBuf> =
            self.sources.iter().flat_map(|source| folders(&self.base, &source.path)).collect();
        for folder in watched {
            if let Some(watcher) = &mut watcher
                && let Err(error) = watcher.watch(&folder, RecursiveMode::Recursive)
            {
                tracing::info!("{} is polled, it cannot be watched: {error}", folder.display());
            }
        }
        let mut readers = Vec::new();
        for config in self.sources.clone() {
            readers.push(self.reader(config).await?);
        }
        while !*stop.borrow() {
            for reader in &mut readers {
                self.drain(reader, &mut |_| {}, &mut stop).await?;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = wake.recv() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        Ok(())
    }

    async fn reader(&self, config: SourceConfig) -> Result<SourceReader, IngestError> {
        let progress = self.lake.progress(&config.name).await?;
        let state = parse_state(&config.name, progress.state.as_deref())?;
        let journal = self.journal(&config.name).filter(|journal| journal.sequence == progress.sequence + 1);
        SourceReader::new(config, state, Arc::clone(&self.organisation), self.base.clone(), journal)
    }

    /// Batch after batch until nothing is left to read now; the next one is read while the last is committed.
    async fn drain(
        &self,
        reader: &mut SourceReader,
        progress: &mut (dyn FnMut(&Progress) + Send),
        stop: &mut watch::Receiver<bool>,
    ) -> Result<SourceReport, IngestError> {
        let mut report = SourceReport { name: reader.config.name.clone(), ..SourceReport::default() };
        loop {
            let before = reader.state.clone();
            let batch = tokio::task::block_in_place(|| reader.next())?;
            report.files = batch.files as u64;
            let more = batch.more;
            let rows = batch.events.len() + batch.quarantine.len() + batch.gaps.len();
            if rows > 0 || (batch.changed && !batch.cut.is_empty()) {
                report.bytes += batch.bytes;
                report.events += batch.events.len() as u64;
                report.quarantined += batch.quarantine.len() as u64;
                report.gaps += batch.gaps.len() as u64;
                self.commit(reader, before, batch).await?;
                progress(&Progress { source: report.name.clone(), events: report.events });
            }
            if !more || *stop.borrow() {
                return Ok(report);
            }
        }
    }

    async fn commit(
        &self,
        reader: &SourceReader,
        before: SourceState,
        batch: Batch,
    ) -> Result<(), IngestError> {
        let source = &reader.config.name;
        let sequence = self.lake.progress(source).await?.sequence + 1;
        // The state before, with the ids of files that this batch met, so that a replay gives them the same ids.
        let mut from = before;
        from.next_file = reader.state.next_file;
        for file in reader.state.files.iter().skip(from.files.len()) {
            let mut met = file.clone();
            met.position = 0;
            met.tail = crate::anchor::Anchor::default();
            met.done = false;
            from.files.push(met);
        }
        self.write_journal(source, &Journal { sequence, state: from, cut: batch.cut })?;
        let state = serde_json::to_string(&reader.state)
            .map_err(|error| IngestError::State { name: source.clone(), source: error })?;
        self.lake
            .commit(SourceCommit {
                source: source.clone(),
                sequence,
                events: batch.events,
                quarantine: batch.quarantine,
                gaps: batch.gaps,
                state,
            })
            .await?;
        Ok(())
    }

    fn journal_file(&self, source: &str) -> PathBuf {
        self.spool.join("journal").join(format!("{source}.json"))
    }

    /// A journal that cannot be read is as none: the lake itself knows what counts.
    fn journal(&self, source: &str) -> Option<Journal> {
        serde_json::from_slice(&std::fs::read(self.journal_file(source)).ok()?).ok()
    }

    fn write_journal(&self, source: &str, journal: &Journal) -> Result<(), IngestError> {
        let file = self.journal_file(source);
        let part = file.with_extension("part");
        let write = || -> std::io::Result<()> {
            let mut out = std::fs::File::create(&part)?;
            std::io::Write::write_all(&mut out, &serde_json::to_vec(journal)?)?;
            out.sync_all()?;
            std::fs::rename(&part, &file)?;
            std::fs::File::open(self.spool.join("journal"))?.sync_all()
        };
        write().map_err(IngestError::io("cannot write", file.clone()))
    }
}

/// What the lake remembers of a source.
pub(crate) fn parse_state(source: &str, state: Option<&str>) -> Result<SourceState, IngestError> {
    match state {
        None | Some("") => Ok(SourceState::default()),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| IngestError::State { name: source.to_owned(), source: error }),
    }
}

/// Insyn's own log, read like any other.
fn own_source(spool: &Path) -> SourceConfig {
    SourceConfig {
        name: spool::SOURCE.into(),
        controller: None,
        legal_area: LegalArea::Other,
        delivery: Delivery::Stream,
        path: vec![format!(
            "{}/{}/*.ndjson",
            glob::Pattern::escape(&spool.display().to_string()),
            spool::SOURCE
        )],
        copies: Copies::Read,
        format: FormatConfig::new(FormatName::FhirAuditEvent),
    }
}
