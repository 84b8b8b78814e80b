//! The score of a finding: a sum of stated parts, each with its sentence. The same data give the same score.

use serde::Serialize;
use serde_json::Value;

use crate::rule::{Level, Text};

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Part {
    pub points: u32,
    /// `level`, `occasions` or `rule`.
    pub of: &'static str,
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
pub(crate) fn parts(level: Level, visits: u64, others: &[Text]) -> Vec<Part> {
    let mut parts = vec![Part {
        points: level.points(),
        of: "level",
        text: Text {
            sv: format!("Regelns nivå: {}.", level_sv(level)),
            en: format!("The rule's level: {level}."),
        },
    }];
    if visits > 1 {
        let points = (4 * (visits - 1)).min(16) as u32;
        let text =
            Text { sv: format!("{visits} skilda tillfällen."), en: format!("{visits} separate occasions.") };
        parts.push(Part { points, of: "occasions", text });
    }
    let mut left = 24;
    for other in others {
        let points = left.min(8);
        left -= points;
        parts.push(Part {
            points,
            of: "rule",
            text: Text { sv: format!("{ALSO_SV}{}.", other.sv), en: format!("{ALSO_EN}{}.", other.en) },
        });
    }
    parts
}

const ALSO_SV: &str = "Även: ";
const ALSO_EN: &str = "Also: ";

/// The titles of the other rules, out of the parts as evidence keeps them.
pub(crate) fn others(kept: &Value) -> Vec<Text> {
    let text = |part: &Value, key: &str, lead: &str| {
        let whole = part[key].as_str().unwrap_or_default();
        whole.strip_prefix(lead).and_then(|t| t.strip_suffix('.')).unwrap_or(whole).to_owned()
    };
    let parts = kept.as_array().map_or(&[][..], Vec::as_slice);
    let of_rules = parts.iter().filter(|part| part["of"] == "rule");
    of_rules.map(|part| Text { sv: text(part, "sv", ALSO_SV), en: text(part, "en", ALSO_EN) }).collect()
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
    fn the_titles_of_other_rules_are_found_again() {
        let titles = ["Öppnade uppgifter om sig själv", "A. B"].map(|t| Text { sv: t.into(), en: t.into() });
        let kept = serde_json::to_value(parts(Level::Low, 2, &titles)).unwrap_or_default();
        assert_eq!(others(&kept), titles);
        assert_eq!(others(&Value::Null), []);
    }

    #[test]
    fn more_of_anything_never_lowers_the_score_and_it_stays_within_100() {
        let text = Text::default();
        for level in Level::ALL {
            let mut last = 0;
            for n in 0..40usize {
                let score = total(&parts(*level, n as u64 + 1, &vec![text.clone(); n]));
                assert!(score >= last && score <= 100);
                last = score;
            }
        }
        assert!(total(&parts(Level::High, 1, &[])) > total(&parts(Level::Medium, 3, &[])));
    }
}
