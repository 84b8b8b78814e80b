//! Local days of many instants, which fall on few days: a zone is asked once for each.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

/// Days that are remembered.
const REMEMBERED: usize = 8;

/// The days that instants fell on lately.
pub(super) struct LocalDays {
    zone: Tz,
    /// The one that was asked for last comes first.
    known: Vec<Day>,
}

/// A local day: from its first instant to the first after it, µs UTC.
#[derive(Clone, Copy)]
struct Day {
    from: i64,
    to: i64,
    date: NaiveDate,
}

impl LocalDays {
    pub(super) fn of(zone: Tz) -> LocalDays {
        LocalDays { zone, known: Vec::with_capacity(REMEMBERED) }
    }

    /// The local date of an instant, µs UTC; none beyond the calendar.
    pub(super) fn date(&mut self, at: i64) -> Option<NaiveDate> {
        if let Some(n) = self.known.iter().position(|day| day.from <= at && at < day.to) {
            self.known.swap(0, n);
            return self.known.first().map(|day| day.date);
        }
        let date = DateTime::from_timestamp_micros(at)?.with_timezone(&self.zone).date_naive();
        if let Some(day) = self.day(date) {
            self.known.truncate(REMEMBERED - 1);
            self.known.insert(0, day);
        }
        Some(date)
    }

    /// All of a day. None where clocks are set at one of its midnights: such a day may not lie in one piece.
    fn day(&self, date: NaiveDate) -> Option<Day> {
        let midnight = |date: NaiveDate| {
            let instant = self.zone.from_local_datetime(&date.and_time(NaiveTime::MIN)).single()?;
            Some(instant.timestamp_micros())
        };
        Some(Day { from: midnight(date)?, to: midnight(date.checked_add_days(Days::new(1))?)?, date })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Stockholm's clocks are set at night, those of Havana and Beirut at midnight, of Lord Howe by half an hour; Apia left out a day.
    #[test]
    fn every_instant_has_the_date_that_its_zone_says() {
        for zone in [
            "Europe/Stockholm",
            "America/Havana",
            "Asia/Beirut",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "UTC",
        ] {
            let zone: Tz = zone.parse().unwrap();
            let mut days = LocalDays::of(zone);
            let start = DateTime::parse_from_rfc3339("2011-01-01T00:00:00Z").unwrap().timestamp_micros();
            // Every seven minutes of a year, forwards, and then in leaps that go back and forth.
            let each = 7 * 60 * 1_000_000;
            let steps = 366 * 24 * 60 / 7;
            let leaps = (0..steps).map(|n| n * 48_271 % steps);
            for n in (0..steps).chain(leaps) {
                let at = start + n * each;
                let expected = DateTime::from_timestamp_micros(at).unwrap().with_timezone(&zone).date_naive();
                assert_eq!(days.date(at), Some(expected), "{zone} {at}");
            }
            assert!(days.known.len() <= REMEMBERED && !days.known.is_empty());
            assert_eq!(days.date(i64::MAX), None);
        }
    }
}
