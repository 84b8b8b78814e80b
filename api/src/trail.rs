//! Rows of a trace as people think of them: accesses, gathered into visits.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use chrono_tz::Tz;
use insyn_engine::trace::Place;

use crate::{lang, rows::Cells};

/// The columns that pages read.
pub(crate) const COLUMNS: &[&str] = &[
    "event_id",
    "source",
    "occurred_at",
    "time_ambiguous",
    "action",
    "activity",
    "activity_level",
    "purpose",
    "emergency",
    "outcome",
    "user_id",
    "user_name",
    "user_title",
    "care_unit_id",
    "care_unit_name",
    "subject_id",
    "subject_name",
    "controller_id",
    "session_id",
    "segment",
    "seq",
    "actor_id",
];

/// Of these, what is read of all that a user did: the rest is read of the rows that are shown.
pub(crate) const OF_USER: &[&str] = &[
    "source",
    "occurred_at",
    "user_id",
    "care_unit_id",
    "subject_id",
    "controller_id",
    "segment",
    "seq",
    "actor_id",
];

/// One row of a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) event_id: String,
    /// Its place in the lake.
    pub(crate) segment: i64,
    pub(crate) seq: i64,
    pub(crate) source: String,
    /// µs UTC.
    pub(crate) at: i64,
    pub(crate) ambiguous: bool,
    pub(crate) activity: String,
    pub(crate) part: String,
    pub(crate) purpose: String,
    pub(crate) emergency: bool,
    pub(crate) outcome: String,
    pub(crate) user_id: String,
    /// Who is behind the account, where the trace said so.
    pub(crate) actor_id: String,
    pub(crate) user_name: String,
    pub(crate) user_title: String,
    pub(crate) unit_id: String,
    pub(crate) unit_name: String,
    pub(crate) subject_id: String,
    pub(crate) subject_name: String,
    /// The time that they were signed in, where the source numbers those.
    pub(crate) session_id: String,
}

impl Access {
    /// Where it stands, and of whose record.
    pub(crate) fn place(&self) -> (Option<&str>, Place) {
        let seq = i32::try_from(self.seq).unwrap_or(i32::MAX);
        let place = Place { at: self.at, segment: self.segment, seq };
        (Some(self.subject_id.as_str()).filter(|id| !id.is_empty()), place)
    }

    /// Who it was: the person behind the account, else the account.
    pub(crate) fn actor(&self) -> &str {
        if self.actor_id.is_empty() { &self.user_id } else { &self.actor_id }
    }
}

/// A user's accesses to one record with short pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    /// In order of time; never empty.
    pub(crate) accesses: Vec<Access>,
}

impl Visit {
    pub(crate) fn first(&self) -> i64 {
        self.accesses.first().map_or(0, |access| access.at)
    }

    pub(crate) fn last(&self) -> i64 {
        self.accesses.last().map_or(0, |access| access.at)
    }
}

/// What somebody did over time, for a table of people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) visits: u64,
    pub(crate) accesses: u64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The latest access, for names.
    pub(crate) latest: Access,
}

/// The rows, in their order.
pub(crate) fn accesses(batches: &[RecordBatch]) -> Vec<Access> {
    let mut all = Vec::new();
    for batch in batches {
        let cells = Cells::of(batch);
        let text = |name| cells.texts(name);
        let (at, ambiguous, emergency) =
            (cells.times("occurred_at"), cells.flags("time_ambiguous"), cells.flags("emergency"));
        let (event, source, activity, action) =
            (text("event_id"), text("source"), text("activity"), text("action"));
        let (part, purpose, outcome) = (text("activity_level"), text("purpose"), text("outcome"));
        let (user, actor, name, title) =
            (text("user_id"), text("actor_id"), text("user_name"), text("user_title"));
        let (unit, unit_name) = (text("care_unit_id"), text("care_unit_name"));
        let (subject, subject_name) = (text("subject_id"), text("subject_name"));
        let signed_in = text("session_id");
        let (segment, seq) = (cells.numbers("segment"), cells.numbers("seq"));
        all.extend(
            (0..batch.num_rows()).map(|row| Access {
                event_id: event.get(row).into(),
                segment: segment.get(row),
                seq: seq.get(row),
                source: source.get(row).into(),
                at: at.get(row).unwrap_or_default(),
                ambiguous: ambiguous.get(row),
                activity: [activity.get(row), action.get(row)]
                    .into_iter()
                    .find(|t| !t.is_empty())
                    .unwrap_or("–")
                    .into(),
                part: part.get(row).into(),
                purpose: purpose.get(row).into(),
                emergency: emergency.get(row),
                outcome: outcome.get(row).into(),
                user_id: user.get(row).into(),
                actor_id: actor.get(row).into(),
                user_name: name.get(row).into(),
                user_title: title.get(row).into(),
                unit_id: unit.get(row).into(),
                unit_name: unit_name.get(row).into(),
                subject_id: subject.get(row).into(),
                subject_name: subject_name.get(row).into(),
                session_id: signed_in.get(row).into(),
            }),
        );
    }
    all
}

/// Visits in order of their first access; a pause of `gap` µs ends one. Rows come in order of time.
pub(crate) fn visits(accesses: Vec<Access>, gap: i64) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    let mut open: BTreeMap<(String, String), usize> = BTreeMap::new();
    for access in accesses {
        let pair = (access.actor().to_owned(), access.subject_id.clone());
        match open.get(&pair).filter(|index| access.at - visits[**index].last() < gap) {
            Some(index) => visits[*index].accesses.push(access),
            None => {
                open.insert(pair, visits.len());
                visits.push(Visit { accesses: vec![access] });
            }
        }
    }
    visits
}

/// Visits by whoever `key` tells apart, the one with most visits first, then the latest.
pub(crate) fn tallies(visits: &[Visit], key: impl Fn(&Access) -> &str) -> Vec<Tally> {
    let mut by_key: BTreeMap<&str, Tally> = BTreeMap::new();
    for visit in visits {
        let Some(latest) = visit.accesses.last() else { continue };
        let tally = by_key.entry(key(latest)).or_insert_with(|| Tally {
            first: visit.first(),
            last: i64::MIN,
            ..Tally::default()
        });
        tally.visits += 1;
        tally.accesses += visit.accesses.len() as u64;
        tally.first = tally.first.min(visit.first());
        if visit.last() >= tally.last {
            tally.last = visit.last();
            tally.latest = latest.clone();
        }
    }
    let mut tallies: Vec<Tally> = by_key.into_values().collect();
    tallies.sort_by_key(|tally| (std::cmp::Reverse(tally.visits), std::cmp::Reverse(tally.last)));
    tallies
}

/// What somebody did on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) accesses: u64,
    pub(crate) persons: u64,
    /// µs UTC.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Accesses by their local day, the latest day first.
pub(crate) fn days(visits: &[Visit], zone: Tz) -> Vec<Day> {
    let mut days: BTreeMap<String, (Day, BTreeSet<&str>)> = BTreeMap::new();
    for access in visits.iter().flat_map(|visit| &visit.accesses) {
        let new = || (Day { first: access.at, last: access.at, ..Day::default() }, BTreeSet::new());
        let (day, persons) = days.entry(lang::date(zone, access.at)).or_insert_with(new);
        day.accesses += 1;
        (day.first, day.last) = (day.first.min(access.at), day.last.max(access.at));
        if !access.subject_id.is_empty() {
            persons.insert(&access.subject_id);
        }
    }
    let counted = |(day, persons): (Day, BTreeSet<&str>)| Day { persons: persons.len() as u64, ..day };
    days.into_values().rev().map(counted).collect()
}

#[cfg(test)]
mod tests {
    use insyn_engine::trace::VISIT_GAP;

    use super::*;

    fn access(user: &str, subject: &str, minute: i64) -> Access {
        Access {
            user_id: user.into(),
            subject_id: subject.into(),
            at: minute * 60_000_000,
            ..Access::default()
        }
    }

    #[test]
    fn a_visit_is_a_pair_without_a_long_pause() {
        let rows = vec![
            access("u", "s", 0),
            access("v", "s", 5),
            access("u", "s", 29),
            access("u", "t", 30),
            access("u", "s", 58),
            access("u", "s", 88),
        ];
        let visits = visits(rows, VISIT_GAP);
        let sizes: Vec<usize> = visits.iter().map(|visit| visit.accesses.len()).collect();
        assert_eq!(sizes, [3, 1, 1, 1], "the pause from 58 to 88 is half an hour and ends the visit");
        let users = tallies(&visits, Access::actor);
        assert_eq!(
            users.iter().map(|t| (t.latest.user_id.as_str(), t.visits, t.accesses)).collect::<Vec<_>>(),
            [("u", 3, 5), ("v", 1, 1)]
        );
        assert_eq!((users[0].first, users[0].last), (0, 88 * 60_000_000));
    }

    #[test]
    fn a_day_is_a_local_one_and_the_latest_comes_first() {
        let rows = vec![
            access("u", "s", 0),
            access("u", "t", 22 * 60),
            access("u", "s", 23 * 60 - 1),
            access("u", "s", 23 * 60),
        ];
        let days = days(&visits(rows, VISIT_GAP), Tz::Europe__Stockholm);
        let minute = |n: i64| n * 60_000_000;
        let day = |accesses, persons, first, last| Day {
            accesses,
            persons,
            first: minute(first),
            last: minute(last),
        };
        assert_eq!(
            days,
            [day(1, 1, 23 * 60, 23 * 60), day(3, 2, 0, 23 * 60 - 1)],
            "in 1970 they had no summer time"
        );
    }
}
