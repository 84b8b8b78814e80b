//! The score of a finding: a sum of stated parts, each with its sentence. The same data give the same score.

use serde::Serialize;

use crate::rule::{Level, Text};

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Part {
    pub points: u32,
    #[serde(flatten)]
    pub text: Text,
}

/// Openings within 30 minutes of each other are one occasion: what courts count is separate openings.
pub(crate) const VISIT_GAP: i64 = 30 * 60 * 1_000_000;

/// How many occasions these instants (sorted) make.
pub(crate) fn visits(times: &[i64]) -> u64 {
    let gaps = times.windows(2).filter(|pair| pair[1] - pair[0] > VISIT_GAP).count() as u64;
    if times.is_empty() { 0 } else { gaps + 1 }
}

/// The parts: the level's base, 4 for each further occasion (at most 16), 8 for each other rule that names the same
/// person and record in the same calendar window (at most 24).
pub(crate) fn parts(level: Level, visits: u64, others: &[&Text]) -> Vec<Part> {
    let mut parts = vec![Part {
        points: level.points(),
        text: Text {
            sv: format!("Regelns nivå: {}.", level_sv(level)),
            en: format!("The rule's level: {level}."),
        },
    }];
    if visits > 1 {
        let points = (4 * (visits - 1)).min(16) as u32;
        let text =
            Text { sv: format!("{visits} skilda tillfällen."), en: format!("{visits} separate occasions.") };
        parts.push(Part { points, text });
    }
    let mut left = 24;
    for other in others {
        let points = left.min(8);
        left -= points;
        parts.push(Part {
            points,
            text: Text { sv: format!("Även: {}.", other.sv), en: format!("Also: {}.", other.en) },
        });
    }
    parts
}

/// The sum, at most 100.
pub(crate) fn total(parts: &[Part]) -> u8 {
    parts.iter().map(|p| p.points).sum::<u32>().min(100) as u8
}

fn level_sv(level: Level) -> &'static str {
    match level {
        Level::Informational => "upplysning",
        Level::Low => "låg",
        Level::Medium => "medel",
        Level::High => "hög",
        Level::Critical => "kritisk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_parted_by_more_than_thirty_minutes() {
        const MINUTE: i64 = 60_000_000;
        assert_eq!(visits(&[]), 0);
        assert_eq!(visits(&[0]), 1);
        assert_eq!(visits(&[0, 30 * MINUTE, 60 * MINUTE]), 1);
        assert_eq!(visits(&[0, 31 * MINUTE, 90 * MINUTE]), 3);
    }

    #[test]
    fn more_of_anything_never_lowers_the_score_and_it_stays_within_100() {
        let text = Text::default();
        for level in Level::ALL {
            let mut last = 0;
            for n in 0..40usize {
                let score = total(&parts(*level, n as u64 + 1, &vec![&text; n]));
                assert!(score >= last && score <= 100);
                last = score;
            }
        }
        assert!(total(&parts(Level::High, 1, &[])) > total(&parts(Level::Medium, 3, &[])));
    }
}
