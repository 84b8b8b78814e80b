//! Calendar windows in the organisation's zone: a day has 23, 24 or 25 hours, and a week starts on Monday.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;

use crate::rule::WindowSize;

/// One calendar window: [from, to) in µs UTC, and its first local day, which names it for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CalendarWindow {
    pub from: i64,
    pub to: i64,
    pub size: WindowSize,
    pub first_day: NaiveDate,
}

impl CalendarWindow {
    /// The window of `size` that holds the instant.
    pub fn of(size: WindowSize, at: i64, zone: Tz) -> CalendarWindow {
        let day = DateTime::from_timestamp_micros(at).unwrap_or_default().with_timezone(&zone).date_naive();
        let (first, next) = match size {
            WindowSize::Day => (day, day.checked_add_days(Days::new(1))),
            WindowSize::Week => {
                let monday = day
                    .checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))
                    .unwrap_or(day);
                (monday, monday.checked_add_days(Days::new(7)))
            }
            WindowSize::Month => {
                let first = day.with_day(1).unwrap_or(day);
                (first, first.checked_add_months(Months::new(1)))
            }
        };
        CalendarWindow {
            from: midnight(first, zone),
            to: midnight(next.unwrap_or(first), zone),
            size,
            first_day: first,
        }
    }

    /// What stands in a finding's identity: "week 2026-03-02".
    pub fn name(&self) -> String {
        format!("{} {}", self.size, self.first_day)
    }
}

/// The first instant of a local day. Where a zone has no such midnight, the first instant after it.
pub(crate) fn midnight(day: NaiveDate, zone: Tz) -> i64 {
    let mut local = day.and_time(NaiveTime::MIN);
    for _ in 0..96 {
        if let Some(instant) = zone.from_local_datetime(&local).earliest() {
            return instant.timestamp_micros();
        }
        local += chrono::Duration::minutes(15);
    }
    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
}

/// Many instants fall in few windows: remembers the last one, which mostly is the right one.
pub(crate) struct Calendar {
    size: WindowSize,
    zone: Tz,
    last: Option<CalendarWindow>,
}

impl Calendar {
    pub fn new(size: WindowSize, zone: Tz) -> Calendar {
        Calendar { size, zone, last: None }
    }

    pub fn window(&mut self, at: i64) -> &CalendarWindow {
        let fits = self.last.as_ref().is_some_and(|w| (w.from..w.to).contains(&at));
        if !fits {
            self.last = None;
        }
        let (size, zone) = (self.size, self.zone);
        self.last.get_or_insert_with(|| CalendarWindow::of(size, at, zone))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const ZONE: Tz = Tz::Europe__Stockholm;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn the_day_of_the_doubled_hour_has_25_hours() {
        let day = CalendarWindow::of(WindowSize::Day, at("2026-10-25T02:30:00+01:00"), ZONE);
        assert_eq!(day.from, at("2026-10-25T00:00:00+02:00"));
        assert_eq!(day.to, at("2026-10-26T00:00:00+01:00"));
        assert_eq!(day.to - day.from, 25 * 3_600_000_000);
        assert_eq!(day, CalendarWindow::of(WindowSize::Day, at("2026-10-25T02:30:00+02:00"), ZONE));
    }

    #[test]
    fn weeks_start_on_monday_and_months_on_the_first() {
        let week = CalendarWindow::of(WindowSize::Week, at("2026-01-01T12:00:00+01:00"), ZONE);
        assert_eq!(week.name(), "week 2025-12-29");
        let month = CalendarWindow::of(WindowSize::Month, at("2026-02-28T23:30:00Z"), ZONE);
        assert_eq!(month.name(), "month 2026-03-01");
    }

    #[test]
    fn windows_tile_time() {
        for size in WindowSize::ALL {
            let mut t = at("2025-12-01T00:00:00Z");
            while t < at("2027-02-01T00:00:00Z") {
                let window = CalendarWindow::of(*size, t, ZONE);
                assert!(window.from <= t && t < window.to);
                assert_eq!(CalendarWindow::of(*size, window.to, ZONE).from, window.to);
                assert_eq!(CalendarWindow::of(*size, window.to - 1, ZONE), window);
                t = window.to;
            }
        }
    }
}
