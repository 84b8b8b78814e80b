//! The world goes on: fresh lines in the same logs, so that pages show looks that are seconds old.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use chrono_tz::Tz;
use rand::Rng;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::access::{Access, Activity, Source, parts};
use crate::clock::DAY;
use crate::ground::Due;
use crate::units::{Kind, UNITS};
use crate::work::blank;
use crate::write::encoded;
use crate::{AHEAD, DemoError, World, logs};

/// Lines a second, on average.
const RATE: i64 = 3;
/// The most lines that one step writes, however long ago the last one was.
const MOST: i64 = 60;
/// One look in so many is planted misuse.
const PLANTED_EVERY: u32 = 50;
/// Seconds between two deliveries to the national service: each is a file of its own.
const DELIVERY: i64 = 20;

/// The numbers that a world's live looks have used so far.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    seed: u64,
    end: i64,
    numbers: [u32; 5],
}

/// Appends fresh log lines to the logs that [`World::write`] wrote. It keeps no file open between steps.
#[derive(Debug)]
pub struct LiveWriter {
    world: World,
    logs: PathBuf,
    truth: PathBuf,
    rng: ChaCha8Rng,
    last: Option<i64>,
    /// The last number given in each source.
    numbers: [u32; 5],
    /// Where these are noted before they are used.
    given: PathBuf,
    looks: u32,
    /// Records for the national service that wait for the next delivery.
    waiting: String,
    waiting_count: usize,
    delivered: i64,
}

impl LiveWriter {
    /// Goes on with a world whose files lie under `dir`, also after an earlier writer went on with the same world:
    /// no id is given twice.
    pub fn new(world: World, dir: &Path) -> LiveWriter {
        let rng = ChaCha8Rng::seed_from_u64(world.seed ^ world.end.unsigned_abs());
        let given = dir.join("truth").join("live-numbers.json");
        let written =
            Source::ALL.map(|source| world.of_source(source).last().map_or(0, |access| access.number));
        let earlier = fs::read(&given).ok().and_then(|bytes| serde_json::from_slice::<Given>(&bytes).ok());
        let numbers = match earlier {
            Some(earlier) if (earlier.seed, earlier.end) == (world.seed, world.end) => earlier.numbers,
            _ => written,
        };
        let (logs, truth) = (dir.join("logs"), dir.join("truth").join("live.ndjson"));
        let delivered = world.end;
        LiveWriter {
            world,
            logs,
            truth,
            rng,
            last: None,
            numbers,
            given,
            looks: 0,
            waiting: String::new(),
            waiting_count: 0,
            delivered,
        }
    }

    /// Writes what happened since the last step, with times up to `now`, and gives how many records were appended.
    /// Meant to be called every half second or so; the first step writes a few lines at once.
    ///
    /// # Errors
    /// [`DemoError`] with the file that could not be appended to; the step can be tried again.
    pub fn step(&mut self, now: DateTime<Tz>) -> Result<usize, DemoError> {
        let now = now.timestamp();
        let since = self.last.replace(now).map_or(1, |last| now - last);
        let count = (since * RATE).clamp(0, MOST);
        let mut looks = self.happen(now, count as usize);
        for look in &mut looks {
            let number = &mut self.numbers[look.source.index()];
            *number += 1;
            look.number = *number;
        }
        if !looks.is_empty() {
            self.note_numbers()?;
        }
        let mut written = 0;
        for source in Source::ALL {
            written += self.append(source, now, looks.iter().filter(|look| look.source == source))?;
        }
        Ok(written)
    }

    /// Noted first: a crash in between leaves a hole in the numbers, never two looks with one id.
    fn note_numbers(&self) -> Result<(), DemoError> {
        let given = Given { seed: self.world.seed, end: self.world.end, numbers: self.numbers };
        let bytes = serde_json::to_vec(&given)
            .map_err(|error| DemoError::Write { path: self.given.clone(), source: error.into() })?;
        crate::write::put_file(&self.given, &bytes)
    }

    /// About `count` looks at `now`.
    fn happen(&mut self, now: i64, count: usize) -> Vec<Access> {
        let mut looks = Vec::new();
        if count == 0 {
            return looks;
        }
        let ground = self.world.ground();
        let day = self.world.clock.day_of(now);
        let roster = self.world.roster_moment(now);
        let on_duty = |unit: usize| -> Vec<u32> {
            let mut here = ground.on_duty(unit, roster);
            here.retain(|staff| self.world.staff[*staff as usize].employed(day));
            here
        };
        let open: Vec<(usize, Vec<u32>)> =
            (0..UNITS.len()).map(|unit| (unit, on_duty(unit))).filter(|(_, here)| !here.is_empty()).collect();
        let mut due: Vec<Option<Vec<Due>>> = vec![None; UNITS.len()];
        for _ in 0..count * 4 {
            if looks.len() >= count {
                break;
            }
            let Some((unit, here)) = open.choose(&mut self.rng) else { break };
            let Some(staff) = here.choose(&mut self.rng).copied() else { continue };
            let due = due[*unit].get_or_insert_with(|| ground.due(*unit, day));
            let user = &self.world.staff[staff as usize];
            let source = UNITS[*unit].source;
            self.looks += 1;
            if self.looks % PLANTED_EVERY == 17 && user.subject.is_some() && source != Source::Imaging {
                let close = user.close.choose(&mut self.rng).copied();
                if let Some(subject) = close.filter(|one| self.world.plain_number(*one)) {
                    let mut look = blank(now, source, staff, *unit, subject);
                    look.planted = u16::MAX;
                    looks.push(look);
                }
                continue;
            }
            if UNITS[*unit].kind == Kind::Quality {
                continue;
            }
            let Some(care) = ground.draw(&mut self.rng, due) else { continue };
            // What is entered late comes into the context tables only when they are made anew: a few of those are enough.
            let entered = care.entered && care.created_at <= self.world.end;
            if !entered && !self.rng.random_bool(0.1) {
                continue;
            }
            let theirs = care.user == Some(staff) || care.others.contains(&staff) || !care.kind.personal();
            if !theirs || user.close.contains(&care.subject) || !self.world.plain_number(care.subject) {
                continue;
            }
            let shared = crate::access::reads_shared(*unit) && self.rng.random_bool(0.06);
            let mut look =
                blank(now, if shared { Source::National } else { source }, staff, *unit, care.subject);
            look.part = self.rng.random_range(0..parts(look.source).len()) as u8;
            if !shared && self.rng.random_range(0..300) < user.writes {
                look.activity = Activity::Write;
            }
            looks.push(look);
        }
        looks
    }

    fn append<'a>(
        &mut self,
        source: Source,
        now: i64,
        looks: impl Iterator<Item = &'a Access>,
    ) -> Result<usize, DemoError> {
        let mut text = String::new();
        let mut truth = String::new();
        let mut count = 0;
        for look in looks {
            logs::record(&self.world, look, &mut text);
            if look.planted > 0 {
                truth.push_str(&self.case(look));
            }
            count += 1;
        }
        if !truth.is_empty() {
            append_to(&self.truth, truth.as_bytes())?;
        }
        if source == Source::National {
            self.waiting.push_str(&text);
            self.waiting_count += count;
            return self.deliver(now);
        }
        if count == 0 {
            return Ok(0);
        }
        let path = self.logs.join(self.world.log_file(source, self.world.clock.day_of(now)));
        if !path.exists() {
            text.insert_str(0, logs::envelope(source).0);
        }
        append_to(&path, &encoded(source, &text, &path)?)?;
        Ok(count)
    }

    /// One line of `truth/live.ndjson`.
    fn case(&self, look: &Access) -> String {
        let own = self.world.staff[look.staff as usize].subject == Some(look.subject);
        let mut case = self.world.case(
            if own { "own_record" } else { "household" },
            look.source,
            look.staff,
            look.subject,
        );
        case.event_ids.extend(self.world.event_id(look.source, look.number));
        case.occurred_at.push(crate::clock::rfc3339(look.at));
        let mut line = serde_json::to_string(&case).unwrap_or_default();
        line.push('\n');
        line
    }

    /// The national service is sent whole documents: each appears under its name only when it is complete.
    fn deliver(&mut self, now: i64) -> Result<usize, DemoError> {
        if self.waiting_count == 0 || now - self.delivered < DELIVERY {
            return Ok(0);
        }
        let (head, tail) = logs::envelope(Source::National);
        let day = self.world.log_file(Source::National, self.world.clock.day_of(now));
        let path = self.logs.join(day).with_extension(format!("{now}.xml"));
        let hidden = path.with_extension("part");
        let text = format!("{head}{}{tail}", self.waiting);
        crate::write::put_file(&hidden, text.as_bytes())?;
        fs::rename(&hidden, &path).map_err(|source| DemoError::Write { path, source })?;
        self.waiting.clear();
        self.delivered = now;
        Ok(std::mem::take(&mut self.waiting_count))
    }
}

impl World {
    /// The schedule reaches some days past the end; a demo that lives longer repeats its weeks.
    fn roster_moment(&self, now: i64) -> i64 {
        let beyond = i64::from(self.clock.day_of(now) - (self.days + AHEAD - 1));
        let weeks = (beyond + 6).max(0) / 7;
        now - weeks * 7 * DAY
    }

    /// Whether the person's number is twelve digits at all times: the portal's addresses hold no other.
    fn plain_number(&self, subject: u32) -> bool {
        let one = &self.people.subjects[subject as usize];
        one.former.is_none() && one.id.len() == 12 && one.id.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// Appends whole lines in one write, so that a reader never sees them mixed with another writer's.
fn append_to(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let named = |source| DemoError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(named)?;
    file.write_all(bytes).map_err(named)
}
