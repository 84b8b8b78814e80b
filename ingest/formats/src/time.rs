//! Times as records write them, as µs since 1970 UTC.

use std::fmt::Write as _;

use chrono::format::{Fixed, Item, Parsed, StrftimeItems};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::error::FormatError;

/// How a source writes times.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    zone: Tz,
    style: Style,
}

#[derive(Debug, Clone)]
enum Style {
    Iso,
    /// A number of this many in a second since 1970.
    Unix(i64),
    Written {
        items: Vec<Item<'static>>,
        zoned: bool,
        dated_only: bool,
    },
}

/// An instant, and whether it is our reading of a time that may mean two or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    pub micros: i64,
    pub ambiguous: bool,
}

impl Times {
    pub(crate) fn compile(format: Option<&str>, zone: Tz) -> Result<Times, FormatError> {
        let style = match format {
            None => Style::Iso,
            Some("unix") => Style::Unix(1),
            Some("unix_ms") => Style::Unix(1_000),
            Some("unix_us") => Style::Unix(1_000_000),
            Some(format) => written(format)?,
        };
        Ok(Times { zone, style })
    }

    /// Reads a time; none when it cannot be read.
    pub(crate) fn read(&self, text: &str) -> Option<Instant> {
        let text = text.trim();
        match &self.style {
            Style::Iso => self.read_iso(text),
            Style::Unix(per_second) => unix(text, *per_second),
            Style::Written { items, zoned, dated_only } => {
                let mut parsed = Parsed::new();
                chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
                if *zoned {
                    let time = parsed.to_datetime().ok()?;
                    return Some(Instant { micros: time.timestamp_micros(), ambiguous: false });
                }
                if *dated_only {
                    let date = parsed.to_naive_date().ok()?;
                    return self
                        .local(date.and_time(NaiveTime::MIN))
                        .map(|i| Instant { ambiguous: true, ..i });
                }
                self.local(parsed.to_naive_datetime_with_offset(0).ok()?)
            }
        }
    }

    /// ISO 8601 as FHIR, DICOM and XML Schema write it. Without a zone it is local; a date alone is its midnight.
    pub(crate) fn read_iso(&self, text: &str) -> Option<Instant> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
        if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
            return None;
        }
        let date = NaiveDate::from_ymd_opt(number(0, 4)? as i32, number(5, 7)?, number(8, 10)?)?;
        if bytes.len() == 10 {
            return self.local(date.and_time(NaiveTime::MIN)).map(|i| Instant { ambiguous: true, ..i });
        }
        if !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) || bytes.get(13) != Some(&b':') {
            return None;
        }
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let mut at = 16;
        let mut second = 0;
        let mut micros = 0;
        if bytes.get(at) == Some(&b':') {
            second = number(17, 19)?;
            at = 19;
            if matches!(bytes.get(at), Some(b'.' | b',')) {
                let fraction = &bytes[at + 1..];
                let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
                if length == 0 {
                    return None;
                }
                micros = (0..6)
                    .fold(0, |n, i| n * 10 + fraction[..length].get(i).map_or(0, |b| i64::from(b - b'0')));
                at += 1 + length;
            }
        }
        // XML Schema allows 24:00:00 for midnight; a leap second is the next minute's first.
        let end_of_day = hour == 24 && minute == 0 && second == 0 && micros == 0;
        if (hour > 23 && !end_of_day) || minute > 59 || second > 60 {
            return None;
        }
        let of_day = TimeDelta::seconds(i64::from(hour * 3600 + minute * 60 + second))
            + TimeDelta::microseconds(micros);
        let time = date.and_time(NaiveTime::MIN).checked_add_signed(of_day)?;
        let rest = bytes.get(at..)?;
        match rest {
            [] => self.local(time),
            b"Z" | b"z" => Some(Instant { micros: time.and_utc().timestamp_micros(), ambiguous: false }),
            _ => {
                let offset = offset_seconds(rest)?;
                let utc = time.checked_sub_signed(TimeDelta::seconds(offset))?;
                Some(Instant { micros: utc.and_utc().timestamp_micros(), ambiguous: false })
            }
        }
    }

    /// A local time. The doubled hour is read as its first, the missing one as if the clock had not been moved yet;
    /// both are marked.
    fn local(&self, time: NaiveDateTime) -> Option<Instant> {
        let at = |t: DateTime<Tz>, ambiguous| Some(Instant { micros: t.timestamp_micros(), ambiguous });
        match self.zone.from_local_datetime(&time) {
            LocalResult::Single(t) => at(t, false),
            LocalResult::Ambiguous(first, second) => at(first.min(second), true),
            LocalResult::None => {
                // The offset that held some hours before.
                let before = time.checked_sub_signed(TimeDelta::hours(3))?;
                let offset = match self.zone.from_local_datetime(&before) {
                    LocalResult::Single(t) | LocalResult::Ambiguous(t, _) => before - t.naive_utc(),
                    LocalResult::None => return None,
                };
                at(Utc.from_utc_datetime(&time.checked_sub_signed(offset)?).with_timezone(&self.zone), true)
            }
        }
    }
}

fn written(format: &str) -> Result<Style, FormatError> {
    let expected = "a format such as \"%Y-%m-%d %H:%M:%S%z\", or unix, unix_ms, unix_us";
    let wrong = |what: &str| FormatError::new("time_format", format!("`{format}` ({what})"), expected);
    let items = StrftimeItems::new(format).parse_to_owned().map_err(|_| wrong("not a strftime format"))?;
    let zoned = items.iter().any(|item| {
        use Fixed::{
            RFC2822, RFC3339, TimezoneOffset, TimezoneOffsetColon, TimezoneOffsetColonZ, TimezoneOffsetZ,
        };
        matches!(
            item,
            Item::Fixed(
                TimezoneOffset
                    | TimezoneOffsetColon
                    | TimezoneOffsetColonZ
                    | TimezoneOffsetZ
                    | RFC2822
                    | RFC3339,
            ) | Item::Numeric(chrono::format::Numeric::Timestamp, _)
        )
    });
    // What the format writes it must be able to read.
    let sample = DateTime::from_timestamp(1_788_156_457, 0).unwrap_or_default().fixed_offset();
    let mut text = String::new();
    write!(text, "{}", sample.format_with_items(items.iter())).map_err(|_| wrong("write `%z` for `%#z`"))?;
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, &text, items.iter()).map_err(|_| wrong("it cannot be read back"))?;
    let dated_only = !zoned && parsed.to_naive_time().is_err();
    let whole = if zoned { parsed.to_datetime().is_ok() } else { parsed.to_naive_date().is_ok() };
    if !whole {
        return Err(wrong("it does not state a whole date and time"));
    }
    Ok(Style::Written { items, zoned, dated_only })
}

fn unix(text: &str, per_second: i64) -> Option<Instant> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit = 1_000_000 / per_second;
    let part =
        fraction.bytes().take(6).fold((0i64, 1i64), |(n, d), b| (n * 10 + i64::from(b - b'0'), d * 10));
    let micros = whole.checked_mul(unit)?.checked_add(part.0 * unit / part.1)?;
    DateTime::from_timestamp_micros(micros)?;
    Some(Instant { micros, ambiguous: false })
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

/// `+02:00`, `+0200`, `+02`, in seconds.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest)?, 0),
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        5 if rest[2] == b':' => (digits(&rest[..2])?, digits(&rest[3..])?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(format: Option<&str>, text: &str, expected: Option<(&str, bool)>) {
        let times = Times::compile(format, chrono_tz::Europe::Stockholm).unwrap();
        let read = times.read(text).map(|i| {
            let time = DateTime::from_timestamp_micros(i.micros).unwrap();
            (time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true), i.ambiguous)
        });
        assert_eq!(read, expected.map(|(t, a)| (t.to_string(), a)), "{text}");
    }

    #[test]
    fn iso_times() {
        check(None, "2026-08-31T07:07:37+02:00", Some(("2026-08-31T05:07:37Z", false)));
        check(None, "2026-08-31T05:07:37Z", Some(("2026-08-31T05:07:37Z", false)));
        check(None, "2026-08-31T05:07:37.1234567Z", Some(("2026-08-31T05:07:37.123456Z", false)));
        check(None, "2026-08-31 07:07:37+0200", Some(("2026-08-31T05:07:37Z", false)));
        check(None, " 2026-08-31T07:07 ", Some(("2026-08-31T05:07:00Z", false)));
        check(None, "2026-01-31T07:07:37", Some(("2026-01-31T06:07:37Z", false)));
        check(None, "2026-08-31", Some(("2026-08-30T22:00:00Z", true)));
        check(None, "2026-08-31T24:00:00Z", Some(("2026-09-01T00:00:00Z", false)));
        check(None, "2016-12-31T23:59:60Z", Some(("2017-01-01T00:00:00Z", false)));
        for wrong in [
            "",
            "2026-02-30",
            "2026-08-31T25:00:00Z",
            "2026-08-31T07:60",
            "31/8 2026",
            "2026-08-31T07:07:37.Z",
        ] {
            check(None, wrong, None);
        }
    }

    #[test]
    fn the_doubled_hour_is_marked_and_so_is_the_missing_one() {
        check(None, "2026-10-25T01:59:59", Some(("2026-10-24T23:59:59Z", false)));
        check(None, "2026-10-25T02:30:00", Some(("2026-10-25T00:30:00Z", true)));
        check(None, "2026-10-25T03:00:00", Some(("2026-10-25T02:00:00Z", false)));
        check(None, "2026-10-25T02:30:00+01:00", Some(("2026-10-25T01:30:00Z", false)));
        check(None, "2026-03-29T02:30:00", Some(("2026-03-29T01:30:00Z", true)));
        check(None, "2026-03-29T03:30:00", Some(("2026-03-29T01:30:00Z", false)));
    }

    #[test]
    fn written_formats() {
        let zoned = Some("%Y-%m-%d %H:%M:%S%z");
        check(zoned, "2026-08-31 07:07:37+0200", Some(("2026-08-31T05:07:37Z", false)));
        check(zoned, "2026-08-31 07:07:37+02:00", Some(("2026-08-31T05:07:37Z", false)));
        check(zoned, "2026-08-31 07:07:37", None);
        check(
            Some("%d/%b/%Y:%H:%M:%S %z"),
            "31/Aug/2026:07:07:37 +0200",
            Some(("2026-08-31T05:07:37Z", false)),
        );
        check(Some("%Y-%m-%d %H:%M:%S"), "2026-10-25 02:30:00", Some(("2026-10-25T00:30:00Z", true)));
        check(Some("%y%m%d %H%M"), "260831 0707", Some(("2026-08-31T05:07:00Z", false)));
        check(Some("%d.%m.%Y"), "31.08.2026", Some(("2026-08-30T22:00:00Z", true)));
        check(Some("%+"), "2026-08-31T07:07:37+02:00", Some(("2026-08-31T05:07:37Z", false)));
        check(Some("unix"), "1788152857", Some(("2026-08-31T05:07:37Z", false)));
        check(Some("unix"), "1788152857.5", Some(("2026-08-31T05:07:37.500Z", false)));
        check(Some("unix_ms"), "1788152857123", Some(("2026-08-31T05:07:37.123Z", false)));
        check(Some("unix_ms"), "99999999999999999999", None);
    }

    #[test]
    fn a_wrong_time_format_is_refused() {
        for wrong in ["%Q", "%H:%M", "klockan", "%Y-%m %H:%M", "%Y-%m-%d %H:%M%#z"] {
            let error = Times::compile(Some(wrong), chrono_tz::UTC).unwrap_err();
            assert_eq!(error.key, "time_format");
        }
    }
}
