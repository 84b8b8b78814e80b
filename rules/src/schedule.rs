//! When a rule is judged by itself: a cron expression of five fields, in the organisation's zone.
//!
//! A turn that was missed, because nothing ran or the machine was off, is taken once, however many there were: what the rule
//! judges then is all that came since it judged last.

use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::describe::lang::{english::English, swedish::Swedish};
use croner::parser::{CronParser, Seconds, Year};
use serde::{Serialize, Serializer};

use crate::record::RuleMark;
use crate::rule::{Rule, Text};

/// A cron expression that can be read, and that some time comes of.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
}

impl Schedule {
    /// Reads "0 3 * * 1-5": minute, hour, day of the month, month, day of the week (0 and 7 are Sunday).
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let wrong = |why: &str| {
            format!(
                "found schedule \"{text}\" ({why}), expected minute, hour, day, month and weekday, as \"0 3 * * 1-5\""
            )
        };
        let cron = read(text).map_err(|error| wrong(error.to_string().trim_end_matches('.')))?;
        let someday = Utc.timestamp_opt(0, 0).single().unwrap_or_default();
        match cron.find_next_occurrence(&someday, false) {
            Ok(_) => Ok(Schedule { text: text.trim().to_owned() }),
            Err(_) => Err(wrong("no such time ever comes")),
        }
    }

    /// Whether a turn has come since `last` (µs UTC), up to and with `now`.
    pub fn has_come(&self, last: i64, now: i64, zone: Tz) -> bool {
        let at =
            |micros: i64| DateTime::from_timestamp_micros(micros).unwrap_or_default().with_timezone(&zone);
        let next = read(&self.text).and_then(|cron| cron.find_next_occurrence(&at(last), false));
        // What could be read once can be read again; if not, it is judged once too often and not too seldom.
        next.map_or(true, |next| next <= at(now))
    }

    /// In words.
    pub fn said(&self) -> Text {
        let said = |swedish: bool| match read(&self.text) {
            Ok(cron) if swedish => cron.describe_lang(Swedish),
            Ok(cron) => cron.describe_lang(English),
            Err(_) => self.text.clone(),
        };
        Text { sv: said(true), en: said(false) }
    }
}

fn read(text: &str) -> Result<Cron, croner::errors::CronError> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Whether it is the rule's turn at `now` (µs UTC): it has no schedule, was never judged, or a turn has come since it was.
pub fn is_due(rule: &Rule, marks: &[RuleMark], now: i64, zone: Tz) -> bool {
    let Some(schedule) = &rule.schedule else { return true };
    let last = marks.iter().find(|mark| mark.rule_id == rule.id).map(|mark| mark.at);
    last.is_none_or(|last| schedule.has_come(last, now, zone))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn a_turn_comes_once_over_the_hours_that_are_missing_or_doubled() {
        for (schedule, last, now, comes) in [
            // Every weekday at three.
            ("0 3 * * 1-5", "2026-03-04T03:00:00+01:00", "2026-03-05T02:59:59+01:00", false),
            ("0 3 * * 1-5", "2026-03-04T03:00:00+01:00", "2026-03-05T03:00:00+01:00", true),
            ("0 3 * * 1-5", "2026-03-06T03:00:00+01:00", "2026-03-08T23:00:00+01:00", false),
            // Missed for a week.
            ("0 3 * * *", "2026-03-01T03:00:00+01:00", "2026-03-08T12:00:00+01:00", true),
            // Half past two is missing on the last Sunday of March: the turn is at three, once.
            ("30 2 * * *", "2026-03-28T02:30:00+01:00", "2026-03-29T01:59:59+01:00", false),
            ("30 2 * * *", "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", true),
            ("30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-30T02:29:00+02:00", false),
            // It comes twice on the last Sunday of October: the turn is the first of the two.
            ("30 2 * * *", "2026-10-24T02:30:00+02:00", "2026-10-25T02:29:00+02:00", false),
            ("30 2 * * *", "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", true),
            ("30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T02:31:00+01:00", false),
            ("30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", true),
            // The local hour, not that of UTC.
            ("0 0 1 * *", "2026-06-30T23:30:00+02:00", "2026-06-30T23:59:00+02:00", false),
            ("0 0 1 * *", "2026-06-30T23:30:00+02:00", "2026-07-01T00:00:00+02:00", true),
        ] {
            let found = Schedule::parse(schedule).unwrap().has_come(at(last), at(now), Tz::Europe__Stockholm);
            assert_eq!(found, comes, "{schedule} after {last} at {now}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_was_found_and_expected() {
        for text in
            ["", "every night", "0 3 * *", "0 3 * * * *", "61 3 * * *", "0 3 * * FREDAG", "0 0 30 2 *"]
        {
            let error = Schedule::parse(text).unwrap_err();
            assert!(error.contains(&format!("found schedule \"{text}\"")), "{error}");
            assert!(error.contains("expected minute, hour, day, month and weekday"), "{error}");
        }
    }

    #[test]
    fn it_is_said_in_words() {
        let said = Schedule::parse("0 3 * * 1").unwrap().said();
        assert!(said.sv.contains("måndag") && said.en.contains("Monday"), "{said:?}");
    }
}
