//! Sets of time: which days a rule judges in a run.

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::calendar::{CalendarWindow, midnight};
use crate::rule::WindowSize;

/// Instants, µs UTC: half-open intervals in order, of which none touches another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(i64, i64)>", into = "Vec<(i64, i64)>")]
pub struct Spans(Vec<(i64, i64)>);

impl From<Vec<(i64, i64)>> for Spans {
    fn from(mut intervals: Vec<(i64, i64)>) -> Spans {
        intervals.retain(|(from, to)| from < to);
        intervals.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(intervals.len());
        for (from, to) in intervals {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Spans(merged)
    }
}

impl From<Spans> for Vec<(i64, i64)> {
    fn from(spans: Spans) -> Vec<(i64, i64)> {
        spans.0
    }
}

impl FromIterator<(i64, i64)> for Spans {
    fn from_iter<T: IntoIterator<Item = (i64, i64)>>(intervals: T) -> Spans {
        Spans::from(intervals.into_iter().collect::<Vec<_>>())
    }
}

impl Spans {
    /// The intervals, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is no time in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the instant is in it.
    pub fn holds(&self, at: i64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= at);
        after > 0 && at < self.0[after - 1].1
    }

    /// From its first instant to after its last.
    pub fn reach(&self) -> Option<(i64, i64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    /// What is in either.
    pub fn with(&self, other: &Spans) -> Spans {
        self.iter().chain(other.iter()).collect()
    }

    /// What is in this one and not in the other.
    pub fn without(&self, other: &Spans) -> Spans {
        let mut left = Vec::new();
        for (from, to) in self.iter() {
            let mut rest = from;
            for gone in other.iter().filter(|gone| gone.1 > from && gone.0 < to) {
                left.push((rest, gone.0.max(rest)));
                rest = gone.1.min(to);
            }
            left.push((rest, to));
        }
        Spans::from(left)
    }

    /// What is in both.
    pub fn both(&self, other: &Spans) -> Spans {
        self.without(&self.without(other))
    }

    /// Every calendar window of that size that it touches, whole.
    pub(crate) fn whole(&self, size: WindowSize, zone: Tz) -> Spans {
        let whole = |(from, to): (i64, i64)| {
            (CalendarWindow::of(size, from, zone).from, CalendarWindow::of(size, to - 1, zone).to)
        };
        self.iter().map(whole).collect()
    }

    /// Whole local days.
    pub(crate) fn of_days(days: impl IntoIterator<Item = NaiveDate>, zone: Tz) -> Spans {
        let whole = |day: NaiveDate| (midnight(day, zone), midnight(day.succ_opt().unwrap_or(day), zone));
        days.into_iter().map(whole).collect()
    }
}

/// The local day of an instant.
pub(crate) fn day_of(at: i64, zone: Tz) -> NaiveDate {
    DateTime::from_timestamp_micros(at).unwrap_or_default().with_timezone(&zone).date_naive()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn instants(spans: &Spans) -> BTreeSet<i64> {
        spans.iter().flat_map(|(from, to)| from..to).collect()
    }

    fn some() -> impl Strategy<Value = Vec<(i64, i64)>> {
        vec((0i64..60, 0i64..60), 0..8)
    }

    proptest! {
        #[test]
        fn they_are_sets_of_instants(one in some(), other in some(), at in -1i64..61) {
            let (one, other) = (Spans::from(one), Spans::from(other));
            let (a, b) = (instants(&one), instants(&other));
            prop_assert_eq!(instants(&one.with(&other)), a.union(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(instants(&one.without(&other)), a.difference(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(instants(&one.both(&other)), a.intersection(&b).copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(one.holds(at), a.contains(&at));
            // One way to write each set.
            prop_assert!(one.iter().zip(one.iter().skip(1)).all(|(x, y)| x.0 < x.1 && x.1 < y.0));
            prop_assert_eq!(&Spans::from(Vec::from(one.clone())), &one);
        }
    }

    #[test]
    fn days_follow_the_clock() {
        let zone = Tz::Europe__Stockholm;
        let day: NaiveDate = "2026-10-25".parse().unwrap_or_default();
        let spans = Spans::of_days([day], zone);
        assert_eq!(spans.reach().map(|(from, to)| to - from), Some(25 * 3_600_000_000));
        assert_eq!(spans.whole(WindowSize::Day, zone), spans);
        assert!(spans.iter().all(|(from, to)| day_of(from, zone) == day && day_of(to - 1, zone) == day));
    }
}
