//! Swedish wall-clock time for instants, fast enough to be asked for every log line in a debug build.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// Seconds in a day without a change of the clock.
pub(crate) const DAY: i64 = 86_400;
/// Seconds in an hour.
pub(crate) const HOUR: i64 = 3_600;
/// Seconds in a minute.
pub(crate) const MINUTE: i64 = 60;

/// The period that the world lives through, day by day, in one zone.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    zone: Tz,
    /// Day 0 of the period.
    first: NaiveDate,
    /// The zone's offset in seconds for each hour since `table_from`; zones here change on whole hours.
    table_from: i64,
    table: Vec<i32>,
}

/// A moment as the wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wall {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// Minutes east of UTC.
    pub offset: i32,
}

impl Clock {
    /// A clock for the `days` days that end with the day of `end`.
    pub(crate) fn new(end: DateTime<Tz>, days: u32) -> Clock {
        let zone = end.timezone();
        let last = end.date_naive();
        let first = last.checked_sub_days(Days::new(u64::from(days.max(1)) - 1)).unwrap_or(last);
        let table_from = (first.and_time(NaiveTime::MIN).and_utc().timestamp() - 45 * DAY) / HOUR * HOUR;
        let hours = (i64::from(days) + 60) * 24;
        let table = (0..hours).map(|hour| offset_of(zone, table_from + hour * HOUR)).collect();
        Clock { zone, first, table_from, table }
    }

    /// The zone that the world lives in.
    pub(crate) fn zone(&self) -> Tz {
        self.zone
    }

    /// The date of a day; day 0 is the first of the period.
    pub(crate) fn date(&self, day: i32) -> NaiveDate {
        let step = Days::new(u64::from(day.unsigned_abs()));
        let moved =
            if day < 0 { self.first.checked_sub_days(step) } else { self.first.checked_add_days(step) };
        moved.unwrap_or(self.first)
    }

    /// The day of the week, Monday = 0.
    pub(crate) fn weekday(&self, day: i32) -> u32 {
        self.date(day).weekday().num_days_from_monday()
    }

    /// The instant (seconds UTC) at `minute` minutes past the midnight that begins `day`.
    pub(crate) fn at(&self, day: i32, minute: i64) -> i64 {
        let first = i64::from(self.first.num_days_from_ce() - UNIX_DAY_FROM_CE);
        let naive = (first + i64::from(day)) * DAY + minute * MINUTE;
        let guess = naive - self.offset(naive);
        naive - self.offset(guess)
    }

    /// The day that an instant falls on.
    pub(crate) fn day_of(&self, at: i64) -> i32 {
        let first = i64::from(self.first.num_days_from_ce() - UNIX_DAY_FROM_CE);
        ((at + self.offset(at)).div_euclid(DAY) - first) as i32
    }

    /// What the wall shows at an instant.
    pub(crate) fn wall(&self, at: i64) -> Wall {
        let offset = self.offset(at);
        let local = at + offset;
        let (year, month, day) = civil(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        Wall {
            year,
            month,
            day,
            hour: (second / HOUR) as u32,
            minute: (second % HOUR / MINUTE) as u32,
            second: (second % MINUTE) as u32,
            offset: (offset / MINUTE) as i32,
        }
    }

    fn offset(&self, at: i64) -> i64 {
        let hour = (at - self.table_from).div_euclid(HOUR);
        let known = usize::try_from(hour).ok().and_then(|hour| self.table.get(hour));
        i64::from(known.copied().unwrap_or_else(|| offset_of(self.zone, at)))
    }
}

/// What a clock without offset shows in UTC.
pub(crate) fn utc_wall(at: i64) -> Wall {
    let (year, month, day) = civil(at.div_euclid(DAY));
    let second = at.rem_euclid(DAY);
    Wall {
        year,
        month,
        day,
        hour: (second / HOUR) as u32,
        minute: (second % HOUR / MINUTE) as u32,
        second: (second % MINUTE) as u32,
        offset: 0,
    }
}

/// 1970-01-01 counted from the first day of the common era.
const UNIX_DAY_FROM_CE: i32 = 719_163;

fn offset_of(zone: Tz, at: i64) -> i32 {
    let utc = DateTime::<Utc>::from_timestamp(at, 0).unwrap_or_default().naive_utc();
    zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
}

/// Year, month and day of a count of days since 1970-01-01 (Gregorian, by eras of 400 years from March).
fn civil(days: i64) -> (i32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// Writes a number with leading zeros; `format!` is far slower where nothing is optimised.
pub(crate) fn digits(out: &mut String, value: u32, width: usize) {
    let mut buffer = [b'0'; 10];
    let mut rest = value;
    for place in (0..width.min(10)).rev() {
        buffer[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for byte in &buffer[..width.min(10)] {
        out.push(char::from(*byte));
    }
}

impl Wall {
    /// `2026-11-20`
    pub(crate) fn put_date(&self, out: &mut String) {
        digits(out, self.year.unsigned_abs(), 4);
        out.push('-');
        digits(out, self.month, 2);
        out.push('-');
        digits(out, self.day, 2);
    }

    /// `08:01:22`
    pub(crate) fn put_time(&self, out: &mut String) {
        digits(out, self.hour, 2);
        out.push(':');
        digits(out, self.minute, 2);
        out.push(':');
        digits(out, self.second, 2);
    }

    /// `2026-11-20T08:01:22`
    pub(crate) fn put_iso(&self, out: &mut String) {
        self.put_date(out);
        out.push('T');
        self.put_time(out);
    }

    /// `+01:00`, or `+0100` without the colon.
    pub(crate) fn put_offset(&self, out: &mut String, colon: bool) {
        out.push(if self.offset < 0 { '-' } else { '+' });
        let minutes = self.offset.unsigned_abs();
        digits(out, minutes / 60, 2);
        if colon {
            out.push(':');
        }
        digits(out, minutes % 60, 2);
    }
}

/// An instant in RFC 3339, UTC.
pub(crate) fn rfc3339(at: i64) -> String {
    let mut out = String::with_capacity(20);
    utc_wall(at).put_iso(&mut out);
    out.push('Z');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use chrono_tz::Europe::Stockholm;

    #[test]
    fn the_table_agrees_with_the_zone_over_both_changes_of_the_clock() {
        for end in [(2026, 4, 10), (2026, 11, 10)] {
            let end = Stockholm.with_ymd_and_hms(end.0, end.1, end.2, 12, 0, 0).unwrap();
            let clock = Clock::new(end, 30);
            for at in (end.timestamp() - 28 * DAY..end.timestamp()).step_by(1_237) {
                let truth = Stockholm.timestamp_opt(at, 0).unwrap();
                let mut text = String::new();
                let wall = clock.wall(at);
                wall.put_iso(&mut text);
                wall.put_offset(&mut text, true);
                assert_eq!(text, truth.format("%Y-%m-%dT%H:%M:%S%:z").to_string());
                assert_eq!(clock.date(clock.day_of(at)), truth.date_naive());
            }
        }
    }

    #[test]
    fn a_wall_time_and_its_instant_agree() {
        let end = Stockholm.with_ymd_and_hms(2026, 11, 20, 12, 0, 0).unwrap();
        let clock = Clock::new(end, 30);
        assert_eq!(clock.date(29), end.date_naive());
        assert_eq!(clock.at(29, 12 * 60), end.timestamp());
        for day in -10..35 {
            let wall = clock.wall(clock.at(day, 8 * 60 + 5));
            assert_eq!((wall.hour, wall.minute), (8, 5), "day {day}");
        }
    }
}
