//! One source, read from where it stopped, a batch at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use insyn_engine::config::Organisation;

use crate::batch::Batch;
use crate::error::IngestError;
use crate::export::{Export, Profile};
use crate::identify::{Identify, Seen, Sighting, Verdict};
use crate::pass::{self, End, Patience, Setting};
use crate::scan::{Candidate, scan};
use crate::state::{FileState, SourceState};
use crate::{Delivery, SourceConfig};

/// What was not written to for so long is taken to be whole, what was not seen for so long to be gone.
pub const SETTLES: Duration = Duration::from_secs(5);
/// An export that could not be read is tried again after so long.
const TRIED_AGAIN: Duration = Duration::from_secs(60);
/// A packed file that ends too early is waited for so long.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// One source on its way into the lake.
pub struct SourceReader {
    setting: Setting,
    base: PathBuf,
    state: SourceState,
    seen: Seen,
    /// Since when known files with unread bytes are not to be found, by id. µs UTC.
    absent: HashMap<String, i64>,
    /// The export that is being read.
    export: Option<Export>,
    /// Exports that could not be counted, by id: as they lay, when, and why.
    failed: HashMap<String, (Candidate, Instant, String)>,
    settles: Duration,
}

/// What one look at a source gave.
#[derive(Debug, Default)]
pub struct Turn {
    pub batch: Batch,
    /// What is to be remembered with the batch; none where nothing changed.
    pub state: Option<String>,
    /// More can be read at once.
    pub more: bool,
    /// Something is only waiting for time to pass.
    pub waits: bool,
    /// Files that were there.
    pub files: u64,
    /// Pairs of files that had to be compared whole.
    pub compared: u64,
    /// An export that is to be read next, once it is known what others state of its time: its id, and where it lies.
    pub export: Option<(String, Candidate)>,
    /// Gaps, by file and beginning, whose bytes have come after all.
    pub returned: Vec<(String, i64)>,
    /// What could not be read, each as a sentence.
    pub faults: Vec<String>,
}

/// What lies unread, as far as lengths tell.
#[derive(Debug, Default)]
pub struct Unread {
    pub files: u64,
    pub bytes: u64,
    /// When the oldest of it was written, µs UTC.
    pub oldest: Option<i64>,
    /// Paths that hold what another path holds: the copy, and the original.
    pub copies: Vec<(PathBuf, PathBuf)>,
    pub faults: Vec<String>,
}

impl SourceReader {
    /// Reads on from `state`, which the lake holds.
    ///
    /// # Errors
    /// When the source's configuration or state cannot be understood.
    pub fn new(
        source: SourceConfig,
        state: Option<&str>,
        organisation: Arc<Organisation>,
        base: PathBuf,
    ) -> Result<SourceReader, IngestError> {
        let state = SourceState::parse(&source.name, state)?;
        let setting = Setting::of(source, organisation)?;
        Ok(SourceReader {
            setting,
            base,
            state,
            seen: Seen::default(),
            absent: HashMap::new(),
            export: None,
            failed: HashMap::new(),
            settles: SETTLES,
        })
    }

    /// With another patience than [`SETTLES`].
    pub fn settling(self, settles: Duration) -> SourceReader {
        SourceReader { settles, ..self }
    }

    /// Which source.
    pub fn source(&self) -> &SourceConfig {
        &self.setting.source
    }

    /// Reads the next batch. Blocks on files. What cannot be read is named and left; the rest goes on.
    ///
    /// # Errors
    /// When what is to be remembered cannot be written down.
    pub fn turn(&mut self) -> Result<Turn, IngestError> {
        let now = Utc::now().timestamp_micros();
        let before = self.state.clone();
        self.state.forget(now);
        let scan = scan(&self.base, &self.setting.source.path);
        let all_seen = scan.faults.is_empty();
        let mut turn = Turn { faults: scan.faults, ..Turn::default() };
        let patience =
            Patience { settled_before: now - micros(self.settles), given_up_before: now - micros(GIVEN_UP) };
        let mut identify = Identify {
            source: &self.setting.source,
            state: &mut self.state,
            seen: &mut self.seen,
            settled_before: patience.settled_before,
            compared: 0,
        };
        let mut sightings = identify.all(scan.candidates);
        turn.compared = identify.compared;
        turn.files = sightings.len() as u64;
        // In the order that files were met, which for one log is the order of its time; of exports the oldest first.
        let exports = self.setting.source.delivery == Delivery::Export;
        sightings.sort_by_key(|sighting| match sighting.verdict {
            Verdict::File(n) if exports => (sighting.candidate.modified, n),
            Verdict::File(n) => (0, n),
            _ => (i64::MAX, usize::MAX),
        });
        for sighting in &sightings {
            self.look(sighting, patience, &mut turn);
        }
        if all_seen {
            self.missing(&sightings, now, &mut turn);
        }
        if turn.batch.rows() > 0 || self.state != before {
            let state = serde_json::to_string(&self.state);
            let name = || self.setting.source.name.clone();
            turn.state = Some(state.map_err(|source| IngestError::State { name: name(), source })?);
        }
        Ok(turn)
    }

    /// A file of the spool looks the same when its writer has left it: only its lock tells.
    fn awaits_its_end(&self, n: usize, path: &Path) -> bool {
        self.state.files.get(n).is_some_and(|file| !file.done)
            && self.setting.source.sender_of(path).is_some()
    }

    /// Removes files of the spool that are read to their last byte: their records lie in the lake. Only after the
    /// commit that says so.
    pub fn remove_read(&self) {
        let source = &self.setting.source;
        for file in self.state.files.iter().filter(|file| file.done && file.gone.is_none()) {
            if source.sender_of(&file.path).is_some()
                && let Err(error) = std::fs::remove_file(&file.path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("cannot remove {}, which is read: {error}", file.path.display());
            }
        }
    }

    fn look(&mut self, sighting: &Sighting, patience: Patience, turn: &mut Turn) {
        let path = &sighting.candidate.path;
        let n = match &sighting.verdict {
            Verdict::File(n) if !sighting.unchanged || self.awaits_its_end(*n, path) => *n,
            Verdict::Waits => {
                turn.waits = true;
                return;
            }
            Verdict::Unreadable(why) => {
                turn.faults.push(why.clone());
                return;
            }
            _ => return,
        };
        if turn.batch.is_full() {
            turn.more = true;
            return;
        }
        let Some(file) = self.state.files.get_mut(n) else { return };
        if self.setting.source.delivery == Delivery::Export {
            if file.done && (file.seen >= sighting.candidate.len || file.packed) {
                return self.seen.read(&sighting.candidate, file);
            } else if sighting.candidate.modified >= patience.settled_before {
                turn.waits = true;
                return;
            } else if let Some((candidate, at, why)) = self.failed.get(&file.id)
                && *candidate == sighting.candidate
                && at.elapsed() < TRIED_AGAIN
            {
                turn.faults.push(why.clone());
                return;
            } else if self.export.as_ref().is_none_or(|export| !export.is_of(file)) {
                turn.export.get_or_insert_with(|| (file.id.clone(), sighting.candidate.clone()));
                return;
            }
        }
        let census = self.export.as_mut().map(|export| export as &mut dyn pass::Census);
        match pass::read(&self.setting, patience, &sighting.candidate, file, census, &mut turn.batch) {
            Ok((end, opening)) => {
                match end {
                    End::Reached => self.seen.read(&sighting.candidate, file),
                    End::Full => turn.more = true,
                    End::Moved | End::Waits => turn.waits = true,
                }
                if end == End::Reached
                    && let Some(export) = self.export.take()
                {
                    export.end(&self.setting, file, &mut turn.batch);
                }
                if let Some((from, to)) = file.lost
                    && file.position >= to.unwrap_or(from + 1)
                {
                    file.lost = None;
                    turn.returned.push((file.id.clone(), from as i64));
                }
                if let Some(opening) = opening {
                    self.state.opened(n, opening);
                }
            }
            Err(error) => {
                turn.faults.push(format!("cannot read {}: {error}", sighting.candidate.path.display()));
            }
        }
    }

    /// Files that were known and are not to be found: what was unread is lost, and said.
    fn missing(&mut self, sightings: &[Sighting], now: i64, turn: &mut Turn) {
        let there: HashSet<usize> = sightings
            .iter()
            .filter_map(|sighting| match sighting.verdict {
                Verdict::File(n) => Some(n),
                _ => None,
            })
            .collect();
        for (n, file) in self.state.files.iter_mut().enumerate() {
            if there.contains(&n) || file.gone.is_some() {
                self.absent.remove(&file.id);
                continue;
            }
            let unread = !file.done && file.seen > file.position;
            let since = *self.absent.entry(file.id.clone()).or_insert(now);
            if unread && now - since < micros(self.settles) {
                // Its successor may be in the making.
                turn.waits = true;
                continue;
            }
            self.absent.remove(&file.id);
            file.gone = Some(now);
            if unread {
                let to = (file.seen > file.position + 1).then_some(file.seen);
                let why = "the file is not there any more, or was cut short";
                turn.batch.gaps.push(pass::gap(&self.setting, &file.id, file.position, to, why));
                file.lost = Some((file.position, to));
            }
        }
    }

    /// Counts what the export `id`, which lies at `candidate`, states; it is read from its beginning again then. None when it is not
    /// there any more. Blocks on files.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn profile(&mut self, id: &str, candidate: &Candidate) -> std::io::Result<Option<Profile>> {
        let Some(file) = self.state.files.iter_mut().find(|file| file.id == id) else {
            return Ok(None);
        };
        let mut profile = Profile::of(file);
        let patience = Patience { settled_before: i64::MAX, given_up_before: i64::MAX };
        let mut read = FileState { position: 0, known: 0, tail: Default::default(), ..file.clone() };
        loop {
            let mut batch = Batch::default();
            let census: &mut dyn pass::Census = &mut profile;
            match pass::read(&self.setting, patience, candidate, &mut read, Some(census), &mut batch)?.0 {
                End::Full => {}
                End::Reached | End::Waits => break,
                End::Moved => return Ok(None),
            }
        }
        // What is counted is met again from the first; what was stored before is not stored again.
        file.known = file.known.max(file.position);
        (file.position, file.tail, file.done) = (0, Default::default(), false);
        Ok(Some(profile))
    }

    /// This export could not be counted. The others go on; it is tried again after a while, or when it is another.
    pub fn failed(&mut self, id: String, candidate: Candidate, why: String) {
        self.failed.insert(id, (candidate, Instant::now(), why));
    }

    /// Reads this export from the next turn on.
    pub fn begin(&mut self, export: Export) {
        self.export = Some(export);
    }

    /// Whose zone days are in, and the names of rows.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// What is not read yet.
    pub fn unread(&self) -> Unread {
        let (mut state, mut seen) = (self.state.clone(), Seen::default());
        let scan = scan(&self.base, &self.setting.source.path);
        let mut unread = Unread { faults: scan.faults, ..Unread::default() };
        let now = Utc::now().timestamp_micros();
        let mut identify = Identify {
            source: &self.setting.source,
            state: &mut state,
            seen: &mut seen,
            settled_before: now - micros(self.settles),
            compared: 0,
        };
        let sightings = identify.all(scan.candidates);
        unread.files = sightings.len() as u64;
        let stands: BTreeMap<&str, &PathBuf> = sightings
            .iter()
            .filter_map(|sighting| match sighting.verdict {
                Verdict::File(n) => Some((state.files.get(n)?.id.as_str(), &sighting.candidate.path)),
                _ => None,
            })
            .collect();
        for sighting in &sightings {
            let candidate = &sighting.candidate;
            let (behind, original) = match &sighting.verdict {
                Verdict::File(n) => match state.files.get(*n) {
                    Some(file) if file.done => (0, file.copy_of.as_ref()),
                    Some(file) => (candidate.len.saturating_sub(file.position), file.copy_of.as_ref()),
                    None => continue,
                },
                Verdict::Copy(n) => (0, state.files.get(*n).map(|file| &file.id)),
                Verdict::Waits => (candidate.len, None),
                Verdict::Empty => continue,
                Verdict::Unreadable(why) => {
                    unread.faults.push(why.clone());
                    continue;
                }
            };
            if let Some(original) = original.and_then(|id| stands.get(id.as_str())) {
                unread.copies.push((candidate.path.clone(), (*original).clone()));
            }
            if behind > 0 {
                unread.bytes += behind;
                unread.oldest =
                    Some(unread.oldest.map_or(candidate.modified, |at| at.min(candidate.modified)));
            }
        }
        unread
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
