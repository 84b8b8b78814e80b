//! Whether a source says as much as it usually does: a log that has gone quiet looks like a calm one.

use std::collections::BTreeMap;

use insyn_engine::coverage::{self, Missing, Oddities};
use insyn_engine::error::EngineError;
use insyn_engine::session::Session;

use crate::SourceConfig;

const HOUR: i64 = 3_600_000_000;
const WEEK: i64 = 7 * 24;
/// What is usual is the median over so many weeks.
const WEEKS: i64 = 4;
/// Of so many weeks at least.
const LEAST_WEEKS: usize = 2;
/// So many events must be missing before a silence says anything.
const ENOUGH: u64 = 20;
/// A silence is looked for so far back, in hours.
const FARTHEST: i64 = 72;

/// Numbers that a source counts its records by are looked for so far back, in hours.
const NUMBERED: i64 = WEEK;

/// Ids that repeat and clocks that run ahead are looked for so far back, in hours.
const ODD: i64 = 48;

/// What the last weeks say of each source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// Events by source and hour (hours since 1970, UTC), over the weeks that matter.
    hours: BTreeMap<String, BTreeMap<i64, u64>>,
    /// What is missing of the numbers of each source that counts its records.
    missing: BTreeMap<String, Missing>,
    /// What the ids and the clock of each source say.
    odd: BTreeMap<String, Oddities>,
}

/// What the last hours of a source say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Events in the last whole hour that all records of should have come.
    pub events_hour: u64,
    /// What that hour of the week usually has; none while too few weeks are known.
    pub usual_hour: Option<u64>,
    /// Nearly nothing has come where at least twenty events usually have.
    pub quiet: bool,
}

impl Recent {
    /// Looks at the last weeks. `now` is in µs UTC.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn read(session: &Session, sources: &[SourceConfig], now: i64) -> Result<Recent, EngineError> {
        let farthest = now - (WEEK * WEEKS + FARTHEST + WEEK) * HOUR;
        let mut recent = Recent::default();
        for (source, at, events) in coverage::hours(session, farthest, now + HOUR).await? {
            recent.hours.entry(source).or_default().insert(at.div_euclid(HOUR), events);
        }
        for source in sources {
            let name = &source.name;
            let odd = coverage::oddities(session, name, now - ODD * HOUR, i64::MAX / 2).await?;
            recent.odd.insert(name.clone(), odd);
            if source.numbered {
                let missing = coverage::missing(session, name, now - NUMBERED * HOUR, now + HOUR).await?;
                recent.missing.insert(name.clone(), missing);
            }
        }
        Ok(recent)
    }

    /// What a source's own ids and clock say, over the last two days.
    #[must_use]
    pub fn odd(&self, source: &str) -> Oddities {
        self.odd.get(source).copied().unwrap_or_default()
    }

    /// What is missing of the numbers by which a source counts its records; none where it does not.
    #[must_use]
    pub fn missing(&self, source: &str) -> Option<&Missing> {
        self.missing.get(source)
    }

    /// Judges one source. `late` is how many hours its records may take to come.
    #[must_use]
    pub fn health(&self, source: &str, late: u32, now: i64) -> Health {
        let Some(counts) = self.hours.get(source) else { return Health::default() };
        let count = |hour: i64| counts.get(&hour).copied().unwrap_or(0);
        let first = counts.keys().next().copied().unwrap_or(i64::MAX);
        let usual = |hour: i64| {
            let earlier = (1..=WEEKS).map(|week| hour - week * WEEK).filter(|hour| *hour >= first);
            let mut earlier: Vec<u64> = earlier.map(count).collect();
            earlier.sort_unstable();
            (earlier.len() >= LEAST_WEEKS).then(|| earlier.get((earlier.len() - 1) / 2).copied())?
        };
        let last = now.div_euclid(HOUR) - 1 - i64::from(late);
        let (mut expected, mut came, mut quiet) = (0, 0, false);
        for hour in (last - FARTHEST..=last).rev() {
            let Some(usual) = usual(hour) else { break };
            expected += usual;
            came += count(hour);
            if expected >= ENOUGH {
                quiet = came * 20 < expected;
                break;
            }
        }
        Health { events_hour: count(last), usual_hour: usual(last), quiet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source with so many events each hour of the day, for five weeks up to `until`.
    fn hours(by_hour: impl Fn(i64) -> u64, until: i64) -> Recent {
        let counts = (until - 5 * WEEK..until).map(|hour| (hour, by_hour(hour))).filter(|(_, n)| *n > 0);
        Recent { hours: [("s".to_owned(), counts.collect())].into(), ..Recent::default() }
    }

    #[test]
    fn a_silence_is_told_from_a_calm_night() {
        let now = 480_000 * HOUR + HOUR / 2;
        let steady = hours(|_| 100, 480_000);
        assert_eq!(
            steady.health("s", 0, now),
            Health { events_hour: 100, usual_hour: Some(100), quiet: false }
        );
        // The last two hours say nothing.
        let stopped = hours(|_| 100, 479_998);
        assert!(stopped.health("s", 0, now).quiet);
        assert!(!stopped.health("s", 2, now).quiet, "they may still come");
        // Office hours only: at night nothing is missing, and what came in the afternoon counts.
        let office = |hour: i64| if (8..17).contains(&hour.rem_euclid(24)) { 50 } else { 0 };
        for hour in 0..24 {
            let now = (480_000 + hour) * HOUR;
            assert!(!hours(office, 480_000 + hour).health("s", 0, now).quiet, "{hour}");
        }
        assert!(hours(office, 480_000 - 24).health("s", 0, now).quiet, "a whole day is missing");
    }

    #[test]
    fn nothing_is_said_of_what_is_new_or_small_or_unknown() {
        let now = 480_000 * HOUR;
        let mut new = hours(|_| 100, 479_900);
        new.hours.values_mut().for_each(|counts| counts.retain(|hour, _| *hour > 480_000 - WEEK));
        assert_eq!(new.health("s", 0, now), Health::default());
        let small = hours(|hour| u64::from(hour % 12 == 0), 479_950);
        assert!(!small.health("s", 0, now).quiet, "an event or two a day may well be missing");
        assert_eq!(small.health("other", 0, now), Health::default());
    }
}
