//! Every source to its end, once or for as long as the program runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use insyn_engine::config::Organisation;
use insyn_engine::disk::{LowDisk, Room};
use insyn_engine::lake::{Changes, Lake, Settled};
use insyn_engine::session::{Scope, Session};
use insyn_engine::worker::Worker;
use insyn_formats::{FormatConfig, FormatName};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use serde::Serialize;
use tokio::sync::watch;

use crate::error::IngestError;
use crate::reader::{SETTLES, SourceReader, Turn};
use crate::scan::{Candidate, folders};
use crate::{Copies, Delivery, LegalArea, SourceConfig, spool};

/// How long new lines may gather before they are read.
const GATHER: Duration = Duration::from_millis(250);
/// The poll beside the watching: network shares give no events.
const POLL: Duration = Duration::from_secs(1);
/// While it follows, so many batches of one source before the next source has its turn.
const TURNS: usize = 4;
/// After a fault of the lake (a full disk, say) so long a pause.
const PAUSE: Duration = Duration::from_secs(5);

/// The sources of an installation, ready to be read.
pub struct Ingest {
    lake: Lake,
    organisation: Arc<Organisation>,
    sources: Vec<SourceConfig>,
    base: PathBuf,
    settles: Duration,
    /// None where the lake lies on no disk of ours.
    room: Option<Room>,
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
    /// What could not be read, each as a sentence. The rest was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Whether there is more to read at once.
    #[serde(skip)]
    more: bool,
}

impl Ingest {
    /// Checks the sources. `base` is the folder of the configuration, `spool` that of Insyn's own log.
    ///
    /// # Errors
    /// When a source is wrong.
    pub fn open(
        lake: Lake,
        organisation: &Organisation,
        sources: &[SourceConfig],
        base: &Path,
        spool: &Path,
    ) -> Result<Ingest, IngestError> {
        for source in sources {
            source.check().map_err(|fault| IngestError::Config { name: source.name.clone(), fault })?;
        }
        let mut sources = sources.to_vec();
        sources.push(own_source(spool));
        let organisation = Arc::new(organisation.clone());
        Ok(Ingest { lake, organisation, sources, base: base.to_owned(), settles: SETTLES, room: None })
    }

    /// Stops reading while fewer bytes than this are free on the lake's disk; a bucket has none.
    #[must_use]
    pub fn keeping_free(self, least: u64) -> Ingest {
        Ingest { room: self.lake.folder().map(|folder| Room::keeping(folder, least)), ..self }
    }

    pub(crate) fn lake(&self) -> &Lake {
        &self.lake
    }

    pub(crate) fn sources(&self) -> &[SourceConfig] {
        &self.sources
    }

    pub(crate) fn organisation(&self) -> Arc<Organisation> {
        Arc::clone(&self.organisation)
    }

    /// Reads every source to its present end and commits. What only time can tell (a copy in the making, a file that
    /// is being moved) is waited for, a few seconds at most.
    ///
    /// # Errors
    /// When another process reads this lake's sources, or the lake cannot be written. Files that cannot be read are in
    /// the report.
    pub async fn once(&self, progress: &mut (dyn FnMut(&Progress) + Send)) -> Result<Report, IngestError> {
        let _lock = self.lake.lock(&format!("insyn ingest, pid {}", std::process::id()), "ingest").await?;
        let mut report = Report::default();
        for config in &self.sources {
            let mut read = SourceReport { name: config.name.clone(), ..SourceReport::default() };
            let mut reader = self.reader(config).await?;
            let patience = Instant::now() + self.settles + POLL;
            loop {
                let waits;
                (reader, waits) = self.drain(reader, usize::MAX, &mut read, progress).await?;
                if !waits || Instant::now() > patience {
                    break;
                }
                tokio::time::sleep(GATHER).await;
            }
            if read.name != spool::SOURCE {
                report.events += read.events;
                report.quarantined += read.quarantined;
                report.gaps += read.gaps;
                report.sources.push(read);
            }
        }
        self.lake.rested().await;
        Ok(report)
    }

    /// Follows the sources until `stop` becomes true: new lines are committed within a second or so. A source or a
    /// lake that fails is said in the program's log and tried again. Where another has taken the lease, it is waited for.
    ///
    /// # Errors
    /// When another process reads this lake's sources, or a source is wrong.
    pub async fn follow(&self, mut stop: watch::Receiver<bool>) -> Result<(), IngestError> {
        let holder = format!("insyn serve, pid {}", std::process::id());
        let mut lock = self.lake.lock(&holder, "ingest").await?;
        let (woken, mut wake) = tokio::sync::mpsc::channel::<()>(1);
        let _watcher = self.watch(woken);
        let mut followed: Vec<Followed<'_>> = self.sources.iter().map(Followed::new).collect();
        while !*stop.borrow() {
            let mut more = false;
            if lock.is_lost() {
                // Where others have read to is read anew from the lake.
                followed.iter_mut().for_each(|source| source.reader = None);
                match self.lake.lock(&holder, "ingest").await {
                    Ok(again) => lock = again,
                    Err(error) => {
                        tracing::error!("the sources are not read here any more: {error}");
                        tokio::select! {
                            _ = stop.wait_for(|stop| *stop) => {}
                            () = tokio::time::sleep(PAUSE) => {}
                        }
                        continue;
                    }
                }
            }
            for source in &mut followed {
                more |= self.go_on(source).await;
                if *stop.borrow() {
                    return Ok(());
                }
                if lock.is_lost() {
                    break;
                }
            }
            if more {
                continue;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = wake.recv() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(POLL) => {}
            }
        }
        Ok(())
    }

    /// A few batches of one source; whether more can be read at once. What fails is said once, and tried again.
    async fn go_on(&self, followed: &mut Followed<'_>) -> bool {
        if followed.paused_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        followed.paused_until = None;
        let mut report = SourceReport::default();
        let outcome = async {
            let reader = match followed.reader.take() {
                Some(reader) => reader,
                None => self.reader(followed.config).await?,
            };
            self.drain(reader, TURNS, &mut report, &mut |_| {}).await
        };
        let (more, faults) = match outcome.await {
            Ok((reader, _)) => {
                followed.reader = Some(reader);
                (report.more, report.faults)
            }
            Err(error) => {
                // Where reading stood is read anew from the lake, which alone knows what counts.
                followed.paused_until = Some(Instant::now() + PAUSE);
                (false, vec![error.to_string()])
            }
        };
        if faults != followed.said {
            for fault in &faults {
                tracing::error!("source {}: {fault}", followed.config.name);
            }
            if faults.is_empty() {
                tracing::info!("source {} can be read again", followed.config.name);
            }
            followed.said = faults;
        }
        more
    }

    /// Watching only speeds up the poll beside it; where it fails, polling goes on.
    fn watch(&self, woken: tokio::sync::mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let written = |kind: &EventKind| match kind {
            EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
            _ => true,
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // A full channel means that a wake-up is already on its way.
            if event.map_or(true, |event| written(&event.kind)) {
                let _ = woken.try_send(());
            }
        })
        .inspect_err(|error| tracing::info!("sources are polled, they cannot be watched: {error}"))
        .ok()?;
        let all: BTreeSet<PathBuf> =
            self.sources.iter().flat_map(|source| folders(&self.base, &source.path)).collect();
        for folder in all {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::Recursive) {
                tracing::info!("{} is polled, it cannot be watched: {error}", folder.display());
            }
        }
        Some(watcher)
    }

    pub(crate) async fn reader(&self, config: &SourceConfig) -> Result<SourceReader, IngestError> {
        let state = self.lake.progress(&config.name).await?.state;
        let organisation = Arc::clone(&self.organisation);
        let reader = SourceReader::new(config.clone(), state.as_deref(), organisation, self.base.clone())?;
        Ok(reader.settling(self.settles))
    }

    fn check_room(&self) -> Result<(), LowDisk> {
        self.room.as_ref().map_or(Ok(()), Room::check)
    }

    /// Batch after batch, until nothing is left to read now or `turns` are over; the next one is read while the last
    /// is committed. Gives the reader back, and whether something waits for time to pass.
    pub(crate) async fn drain(
        &self,
        reader: SourceReader,
        turns: usize,
        report: &mut SourceReport,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<(SourceReader, bool), IngestError> {
        self.check_room()?;
        if reader.source().delivery == Delivery::Export {
            return self.drain_exports(reader, turns, report, progress).await;
        }
        let name = reader.source().name.clone();
        let mut sequence = self.lake.progress(&name).await?.sequence;
        let (mut reader, mut turn) = take_turn(reader).await?;
        for taken in 1.. {
            let (more, waits) = (turn.more, turn.waits);
            report.count(&turn);
            sequence += i64::from(turn.state.is_some());
            let commit = self.commit(&name, sequence, turn);
            if !more || taken >= turns {
                commit.await?;
                reader.remove_read();
                progress(&Progress { source: name, events: report.events });
                return Ok((reader, waits));
            }
            let (committed, next) = tokio::join!(commit, take_turn(reader));
            committed?;
            (reader, turn) = next?;
            self.check_room()?;
            progress(&Progress { source: name.clone(), events: report.events });
        }
        Ok((reader, false))
    }

    /// The same for files that each state a period: one after the other, each beside what others state of its time.
    async fn drain_exports(
        &self,
        mut reader: SourceReader,
        turns: usize,
        report: &mut SourceReport,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<(SourceReader, bool), IngestError> {
        let name = reader.source().name.clone();
        let mut sequence = self.lake.progress(&name).await?.sequence;
        for taken in 1.. {
            let mut turn;
            (reader, turn) = take_turn(reader).await?;
            let next = turn.export.take();
            turn.more |= next.is_some();
            let (more, waits) = (turn.more, turn.waits);
            report.count(&turn);
            sequence += i64::from(turn.state.is_some());
            self.commit(&name, sequence, turn).await?;
            progress(&Progress { source: name.clone(), events: report.events });
            let mut begun = true;
            if let Some((id, candidate)) = next {
                (reader, begun) = self.begin_export(reader, id, candidate).await?;
            }
            if !begun {
                // Tried again at the next look.
                return Ok((reader, true));
            }
            if !more || taken >= turns {
                return Ok((reader, waits));
            }
            self.check_room()?;
        }
        Ok((reader, false))
    }

    /// Counts what an export states, and what of it is known from others. Whether it can be read now.
    async fn begin_export(
        &self,
        mut reader: SourceReader,
        id: String,
        candidate: Candidate,
    ) -> Result<(SourceReader, bool), IngestError> {
        let count = move || {
            let profile = reader.profile(&id, &candidate);
            (reader, profile, id, candidate)
        };
        let (mut reader, profile, id, candidate) = on_reader(count).await?;
        match profile {
            Ok(Some(profile)) => {
                let zone = reader.setting().organisation.timezone;
                let session = Session::open(&self.lake, zone, Scope::All).await?;
                let export = profile.beside(&session, reader.setting()).await?;
                reader.begin(export);
                return Ok((reader, true));
            }
            Ok(None) => {}
            Err(error) => {
                let why = format!("cannot read {}: {error}", candidate.path.display());
                reader.failed(id, candidate, why);
                return Ok((reader, true));
            }
        }
        Ok((reader, false))
    }

    async fn commit(&self, source: &str, sequence: i64, turn: Turn) -> Result<(), IngestError> {
        if let Some(state) = turn.state {
            self.lake.commit(turn.batch.commit(source, sequence, state)).await?;
        }
        if !turn.returned.is_empty() {
            let changes = Changes {
                gap_states: turn.returned.into_iter().map(|gap| (gap, Settled::Mended)).collect(),
                kind: "returned",
                by: spool::SOURCE.to_owned(),
                reason: "the file came back and was read".to_owned(),
                ..Changes::default()
            };
            self.lake.amend(source).await?.commit(changes).await?;
        }
        Ok(())
    }
}

/// A source that is followed.
struct Followed<'a> {
    config: &'a SourceConfig,
    /// None before the first batch and after a fault.
    reader: Option<SourceReader>,
    paused_until: Option<Instant>,
    /// The faults that were last said.
    said: Vec<String>,
}

impl<'a> Followed<'a> {
    fn new(config: &'a SourceConfig) -> Followed<'a> {
        Followed { config, reader: None, paused_until: None, said: Vec::new() }
    }
}

impl SourceReport {
    fn count(&mut self, turn: &Turn) {
        self.files = turn.files;
        self.bytes += turn.batch.bytes;
        self.events += turn.batch.events.len() as u64;
        self.quarantined += turn.batch.quarantine.len() as u64;
        self.gaps += turn.batch.gaps.len() as u64;
        self.faults.clone_from(&turn.faults);
        self.more = turn.more;
    }
}

/// Reads on where blocking hurts nobody: on the one thread that reads logs.
async fn take_turn(mut reader: SourceReader) -> Result<(SourceReader, Turn), IngestError> {
    let turn = move || {
        let turn = reader.turn();
        (reader, turn)
    };
    let (reader, turn) = on_reader(turn).await?;
    Ok((reader, turn?))
}

async fn on_reader<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IngestError> {
    static READER: Worker = Worker::named("insyn-read");
    READER.run(work).await.map_err(|gone| IngestError::Cut(gone.to_string()))
}

/// Insyn's own log, read like any other.
fn own_source(spool: &Path) -> SourceConfig {
    SourceConfig {
        name: spool::SOURCE.into(),
        controller: None,
        legal_area: LegalArea::Other,
        delivery: Delivery::Stream,
        late_hours: 0,
        numbered: false,
        path: vec![format!(
            "{}/{}/*.ndjson",
            glob::Pattern::escape(&spool.display().to_string()),
            spool::SOURCE
        )],
        sender: Vec::new(),
        spool: None,
        copies: Copies::Read,
        format: FormatConfig::new(FormatName::FhirAuditEvent),
    }
}
