//! Granvik: a municipality and region that does not exist, so that Insyn can be tried on it.
//!
//! A world is grown from a seed: households, staff with several accounts, units under two boards, care of every
//! kind, shifts, and a month of looks in records. Honest work comes with honest noise (late and missing bookings, staff
//! on loan, namesakes, couples at one workplace, mistaken openings); misuse of each kind is planted among it. The world
//! is written as text files only: logs in five formats, context tables, a configuration, and the truth about what was
//! planted, which no rule may read.
//!
//! Promises: the same seed, days and end give the same bytes; every number is valid and of the test series; [`Written`]
//! counts what was written, by source, readable and not. Must not know: how logs are read, what is stored, or of rules
//! more than the ids that [`Hint`] points to.

mod access;
mod care;
mod clock;
mod config;
mod context;
mod duty;
mod ground;
mod live;
mod logs;
mod misuse;
mod names;
mod numbers;
mod people;
mod staff;
mod story;
#[cfg(test)]
mod tests;
mod units;
mod work;
mod write;

use std::collections::HashMap;
use std::path::PathBuf;

use chrono::DateTime;
use chrono_tz::Tz;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::access::{Access, Source};
use crate::ground::Ground;

pub use crate::access::Case;
pub use crate::live::LiveWriter;
pub use crate::misuse::KINDS;
pub use crate::story::{DemoAccount, Hint};
pub use crate::write::{SourceCount, Written};

/// Why the demo's files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or folder could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A text holds a letter that the source's encoding lacks.
    #[error("{path}: a text of the demo cannot be written in windows-1252", path = path.display())]
    Encoding {
        /// Which file.
        path: PathBuf,
    },
}

/// Days after the end that the schedule is known for.
pub(crate) const AHEAD: i32 = 7;

/// How large a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// People whose records can be opened; about so many.
    pub subjects: usize,
    /// People who work there; about so many.
    pub staff: usize,
    /// Looks a day, on average over a week; about so many.
    pub accesses_per_day: usize,
}

impl Default for Scale {
    /// The demo: 8,000 people, 500 staff, some 100,000 looks in 30 days.
    fn default() -> Self {
        Scale { subjects: 8_000, staff: 480, accesses_per_day: 3_400 }
    }
}

impl Scale {
    /// Small enough for a test of seconds; every kind of misuse still has room.
    pub fn small() -> Self {
        Scale { subjects: 2_500, staff: 260, accesses_per_day: 400 }
    }
}

/// A world: who lives and works there, and what was opened.
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) days: i32,
    pub(crate) end: i64,
    pub(crate) clock: clock::Clock,
    pub(crate) people: people::Population,
    pub(crate) staff: Vec<staff::Staff>,
    pub(crate) shifts: Vec<duty::Shift>,
    pub(crate) care: Vec<care::Care>,
    pub(crate) consents: Vec<work::Consent>,
    /// In order of source, then time.
    pub(crate) accesses: Vec<Access>,
    pub(crate) plans: Vec<misuse::Plan>,
    pub(crate) noise: Vec<work::Noise>,
}

impl World {
    /// Grows a world of the `days` days that end at `end` (now); no look is later than that. At least one day.
    pub fn generate(seed: u64, days: u32, end: DateTime<Tz>, scale: Scale) -> World {
        let days = days.max(1);
        let stream = |number: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Each part has its own stream: a change in one leaves the others as they were.
            rng.set_stream(number);
            rng
        };
        let clock = clock::Clock::new(end, days);
        let now = end.timestamp();
        let mut people = people::Population::grow(&mut stream(1), &clock, days, scale.subjects);
        let staff = staff::employ(&mut stream(2), &mut people, &clock, days, scale.staff);
        let days = days as i32;
        let shifts = duty::plan(&mut stream(3), &clock, &staff, days, AHEAD);
        let admitted = misuse::relatives_to_admit(&mut stream(4), &people, &staff, &clock, days);
        let care = care::provide(&mut stream(5), &people, &staff, &clock, days, &admitted);
        let ground = Ground::new(&people, &staff, &clock, &care, &shifts);
        let honest = work::do_it(&mut stream(6), &ground, days, now, scale.accesses_per_day);
        let planted = misuse::plant(&mut stream(7), &ground, days, now, &admitted);
        let mut accesses = honest.accesses;
        accesses.extend(planted.accesses);
        number(&mut accesses);
        World {
            seed,
            days,
            end: now,
            clock,
            people,
            staff,
            shifts,
            care,
            consents: honest.consents,
            accesses,
            plans: planted.plans,
            noise: honest.noise,
        }
    }

    /// What was planted: one case each, with the ids that the logs carry.
    pub fn planted(&self) -> Vec<Case> {
        let cases = self.plans.iter().map(|plan| self.case(plan.kind, plan.source, plan.staff, plan.subject));
        self.with_events(cases.collect(), |access| access.planted)
    }

    /// Honest noise that looks like misuse, in the same shape.
    pub fn noise(&self) -> Vec<Case> {
        let cases = self.noise.iter().map(|one| self.case(one.kind, one.source, one.staff, one.subject));
        self.with_events(cases.collect(), |access| access.noise)
    }

    fn case(&self, kind: &'static str, source: Source, staff: u32, subject: u32) -> Case {
        Case {
            kind,
            source: source.name(),
            event_ids: Vec::new(),
            occurred_at: Vec::new(),
            user_id: self.staff[staff as usize].user_id.clone(),
            subject_id: self.people.subjects[subject as usize].id.clone(),
        }
    }

    fn with_events(&self, mut cases: Vec<Case>, of: impl Fn(&Access) -> u16) -> Vec<Case> {
        for access in &self.accesses {
            let place = usize::from(of(access));
            if let Some(case) = place.checked_sub(1).and_then(|place| cases.get_mut(place)) {
                case.event_ids.extend(self.event_id(access.source, access.number));
                case.occurred_at.push(clock::rfc3339(access.at));
            }
        }
        cases
    }

    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground::new(&self.people, &self.staff, &self.clock, &self.care, &self.shifts)
    }
}

/// Orders the looks as their systems saw them and gives each its number.
fn number(accesses: &mut [Access]) {
    accesses.sort_by_key(|access| (access.source, access.at));
    let mut last: HashMap<Source, u32> = HashMap::new();
    for access in accesses {
        let number = last.entry(access.source).or_default();
        *number += 1;
        access.number = *number;
    }
}
