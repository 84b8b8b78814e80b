//! The number of a segment: one source's rows of one year in one commit.
//!
//! It is made of the source's ordinal, the batch's sequence and the year, so it is known before a file is written,
//! the same at every attempt, and can never be given twice.

use chrono::{DateTime, Datelike};

use super::LakeError;

const YEAR_BITS: u32 = 14;
const SEQUENCE_BITS: u32 = 32;
const ORDINAL_BITS: u32 = 17;

/// The UTC year of an instant in µs; `None` outside of the years 1–9999, which no log can mean.
pub(super) fn year_of(occurred_at: i64) -> Option<i32> {
    let year = DateTime::from_timestamp_micros(occurred_at)?.year();
    (1..=9999).contains(&year).then_some(year)
}

/// The segment of `source`'s batch `sequence` in `year`.
pub(super) fn segment(source: &str, ordinal: i64, sequence: i64, year: i32) -> Result<i64, LakeError> {
    let fits = |value: i64, bits: u32| (0..1_i64 << bits).contains(&value);
    if fits(ordinal, ORDINAL_BITS) && fits(sequence, SEQUENCE_BITS) && fits(year.into(), YEAR_BITS) {
        return Ok(ordinal << (SEQUENCE_BITS + YEAR_BITS) | sequence << YEAR_BITS | i64::from(year));
    }
    Err(LakeError::Batch {
        source_name: source.into(),
        what: format!("segment numbers are used up (source number {ordinal}, batch {sequence}, year {year})"),
    })
}

/// Numbers of batches that a source has.
pub(super) const BATCHES: i64 = 1 << SEQUENCE_BITS;

/// The least segment that a source's batch, or a later one of it, can be.
pub(super) fn segments_from(ordinal: i64, sequence: i64) -> i64 {
    ordinal << (SEQUENCE_BITS + YEAR_BITS) | sequence << YEAR_BITS
}

/// The source's ordinal and the batch's sequence in a segment's number.
pub(super) fn batch_of(segment: i64) -> (i64, i64) {
    (segment >> (SEQUENCE_BITS + YEAR_BITS), (segment >> YEAR_BITS) & ((1 << SEQUENCE_BITS) - 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn segments_are_unique_and_positive() {
        let mut seen = HashSet::new();
        for ordinal in [1, 2, (1 << ORDINAL_BITS) - 1] {
            for sequence in [1, 2, (1 << SEQUENCE_BITS) - 1] {
                for year in [1, 2025, 2026, 9999] {
                    let segment = segment("s", ordinal, sequence, year).unwrap();
                    assert!(segment > 0);
                    assert_eq!(batch_of(segment), (ordinal, sequence));
                    assert!(seen.insert(segment));
                }
            }
        }
        assert!(segment("s", 1 << ORDINAL_BITS, 1, 2026).is_err());
        assert!(segment("s", 1, 1 << SEQUENCE_BITS, 2026).is_err());
    }

    #[test]
    fn the_year_is_utc_and_absurd_times_have_none() {
        assert_eq!(year_of(1_767_225_599_999_999), Some(2025));
        assert_eq!(year_of(1_767_225_600_000_000), Some(2026));
        assert_eq!(year_of(-1), Some(1969));
        assert_eq!(year_of(i64::MAX), None);
        assert_eq!(year_of(i64::MIN), None);
    }
}
