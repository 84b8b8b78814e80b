//! The score of a finding: a sum of stated parts, each with its sentence. The same data give the same score.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::words;
use crate::rule::{Explains, Level, Rule, Status, Text};
use crate::usual::Usual;

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it adds, or takes away.
    pub points: i32,
    /// What it is of.
    pub of: Of,
    /// The sentence.
    #[serde(flatten)]
    pub text: Text,
}

words! {
    /// What a part of a score is of.
    Of, "part of a score" {
        /// The level.
        Level = "level",
        /// The rule is on trial.
        Trial = "trial",
        /// How much oftener than by chance the rule names somebody.
        Lift = "lift",
        /// Separate occasions.
        Occasions = "occasions",
        /// Another rule that names the same person and record.
        Rule = "rule",
        /// The accesses have reasons.
        Explanation = "explanation",
        /// What the user and the others who opened the record otherwise have to do with each other.
        Usual = "usual",
    }
}

words! {
    /// How good a reason an access has.
    Grade, "grade" {
        /// The user could have made it themself, or it is the provider's: it says little.
        Weak = "weak",
        /// A reason of the user's unit.
        Unit = "unit",
        /// A reason of the user in person.
        Person = "person",
    }
}

impl Grade {
    /// How good a reason is that explains whom, and could have been made by the user.
    pub(crate) fn of(explains: Explains, by_user: bool) -> Grade {
        match explains {
            _ if !explains.is_enough(by_user) => Grade::Weak,
            Explains::Person => Grade::Person,
            Explains::Unit | Explains::Provider => Grade::Unit,
        }
    }
}

/// Another rule that names the same person and record in the same calendar window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Other<'a> {
    pub rule: &'a Rule,
    /// The highest level that it gives there.
    pub level: Level,
}

/// Openings within 30 minutes of each other are one occasion: what courts count is separate openings.
pub(crate) const VISIT_GAP: i64 = 30 * 60 * 1_000_000;
/// The most that other rules add.
const MOST_OF_OTHERS: i32 = 24;

/// How many occasions these instants (sorted) make.
pub(crate) fn visits(times: &[i64]) -> u64 {
    let gaps = times.windows(2).filter(|pair| pair[1] - pair[0] > VISIT_GAP).count() as u64;
    if times.is_empty() { 0 } else { gaps + 1 }
}

/// The parts that hold however many of the accesses are left: what is known of the rule, and what other rules say. How usual
/// the look is comes to them ([`of_usual`]).
pub(crate) fn of_the_whole(rule: &Rule, others: Vec<Other<'_>>) -> Vec<Part> {
    let mut parts: Vec<Part> = of_the_rule(rule);
    parts.extend(of_others(rule, others));
    parts
}

/// All parts of a finding about accesses of this level and so many occasions. `grades` are the reasons that the accesses
/// have, where they are to count; `whole` what [`of_the_whole`] gave.
pub(crate) fn parts(
    level: Level,
    visits: u64,
    grades: impl Iterator<Item = Option<Grade>>,
    whole: &[Part],
) -> Vec<Part> {
    let mut parts = vec![Part {
        points: level.points(),
        of: Of::Level,
        text: text(format!("Nivå: {}.", level_sv(level)), format!("Level: {level}.")),
    }];
    if visits > 1 {
        let points = i32::try_from(4 * (visits - 1)).unwrap_or(i32::MAX).min(16);
        let text = text(format!("{visits} skilda tillfällen."), format!("{visits} separate occasions."));
        parts.push(Part { points, of: Of::Occasions, text });
    }
    // The access with the poorest reason is the one that asks for eyes.
    parts.extend(grades.min().flatten().map(of_reasons));
    parts.extend(whole.iter().cloned());
    parts
}

/// Those parts of a score, as evidence keeps it, that [`of_the_whole`] gave.
pub(crate) fn whole(kept: &Value) -> Vec<Part> {
    let parts: Vec<Part> = serde_json::from_value(kept.clone()).unwrap_or_default();
    let of_accesses = [Of::Level, Of::Occasions, Of::Explanation];
    parts.into_iter().filter(|part| !of_accesses.contains(&part.of)).collect()
}

/// The sum, 0 to 100.
pub(crate) fn total(parts: &[Part]) -> u8 {
    let sum = parts.iter().map(|part| part.points).sum::<i32>();
    u8::try_from(sum.clamp(0, 100)).unwrap_or(100)
}

fn of_the_rule(rule: &Rule) -> Vec<Part> {
    let mut parts = Vec::new();
    if rule.status == Status::Experimental {
        let text = text("Regeln är på prov.".into(), "The rule is on trial.".into());
        parts.push(Part { points: -20, of: Of::Trial, text });
    }
    let points = match rule.lift {
        Some(lift) if lift < 2.0 => -15,
        Some(lift) if lift < 5.0 => -8,
        _ => return parts,
    };
    let lift = rule.lift.unwrap_or_default();
    let text = text(
        format!(
            "Regeln slår till {} gånger så ofta som av en slump.",
            format!("{lift:.1}").replace('.', ",")
        ),
        format!("The rule fires {lift:.1} times as often as by chance."),
    );
    parts.push(Part { points, of: Of::Lift, text });
    parts
}

/// What other rules say weighs by their level; half where they are on trial, half where both this rule and the other lean on
/// the explanations, since these two see much the same. The second counts half, the third a quarter, and so on.
fn of_others(rule: &Rule, others: Vec<Other<'_>>) -> Vec<Part> {
    let weight = |other: &Other<'_>| {
        let halves = u32::from(other.rule.status == Status::Experimental)
            + u32::from(rule.leans_on.is_some() && other.rule.leans_on.is_some());
        level_weight(other.level) >> halves
    };
    let mut others: Vec<(i32, Other<'_>)> = others.into_iter().map(|other| (weight(&other), other)).collect();
    others.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.rule.id.cmp(&b.1.rule.id)));
    let mut left = MOST_OF_OTHERS;
    let part = |(place, (weight, other)): (usize, (i32, Other<'_>))| {
        let points = (weight >> place.min(8)).min(left);
        left -= points;
        let title = &other.rule.title;
        Part {
            points,
            of: Of::Rule,
            text: text(format!("Även: {}.", title.sv), format!("Also: {}.", title.en)),
        }
    };
    others.into_iter().enumerate().map(part).collect()
}

fn level_weight(level: Level) -> i32 {
    match level {
        Level::Informational => 2,
        Level::Low => 4,
        Level::Medium => 8,
        Level::High => 12,
        Level::Critical => 16,
    }
}

/// A reason takes away; how much it does is by whom it explains.
fn of_reasons(grade: Grade) -> Part {
    let (points, sv, en) = match grade {
        Grade::Person => (-16, "som gäller användaren själv", "that is about the user in person"),
        Grade::Unit => (-10, "som gäller enheten", "that is about the unit"),
        Grade::Weak => (
            -4,
            "som säger lite: användarens egen, eller vårdgivarens",
            "that says little: the user's own, or the provider's",
        ),
    };
    let text =
        text(format!("Varje åtkomst har en förklaring {sv}."), format!("Each access has a reason {en}."));
    Part { points, of: Of::Explanation, text }
}

/// What is usual takes away only where a reason would.
pub(crate) fn of_usual(rule: &Rule, usual: Usual) -> Option<Part> {
    let (points, sv, en) = match usual {
        Usual::Alone => (
            4,
            "Ingen annan öppnade uppgifterna under fyra veckor.",
            "Nobody else opened the record in four weeks.",
        ),
        Usual::Unlike => (
            8,
            "De andra som öppnade uppgifterna liknar varandra mer än de liknar användaren, sett till vilkas uppgifter de annars öppnar.",
            "The others who opened the record are more alike than they are like the user, by whose records they otherwise open.",
        ),
        Usual::Alike if rule.never_cleared => return None,
        Usual::Alike => (
            -8,
            "Användaren öppnar annars samma personers uppgifter som de andra som öppnade dem.",
            "The user otherwise opens the records of the same persons as the others who opened this one.",
        ),
    };
    Some(Part { points, of: Of::Usual, text: text(sv.into(), en.into()) })
}

fn text(sv: String, en: String) -> Text {
    Text { sv, en }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pack::Pack;

    fn rule(id: &str) -> Rule {
        Pack::builtin().unwrap().rule(id).unwrap().clone()
    }

    #[test]
    fn visits_are_parted_by_more_than_thirty_minutes() {
        const MINUTE: i64 = 60_000_000;
        assert_eq!(visits(&[]), 0);
        assert_eq!(visits(&[0]), 1);
        assert_eq!(visits(&[0, 30 * MINUTE, 60 * MINUTE]), 1);
        assert_eq!(visits(&[0, 31 * MINUTE, 90 * MINUTE]), 3);
    }

    #[test]
    fn what_is_of_the_whole_is_found_again() {
        let (rule, other) = (rule("crowd"), rule("own-record"));
        let others = vec![Other { rule: &other, level: Level::Medium }];
        let mut whole_parts = of_the_whole(&rule, others);
        whole_parts.extend(of_usual(&rule, Usual::Alone));
        let of: Vec<Of> = whole_parts.iter().map(|part| part.of).collect();
        assert_eq!(of, [Of::Trial, Of::Rule, Of::Usual]);
        let all = parts(Level::Low, 2, [Some(Grade::Unit)].into_iter(), &whole_parts);
        assert_eq!(whole(&serde_json::to_value(&all).unwrap()), whole_parts);
        assert_eq!(whole(&Value::Null), []);
    }

    #[test]
    fn more_of_anything_never_lowers_the_score_and_it_stays_within_100() {
        let (rule, other) = (rule("no-care-relation"), rule("own-record"));
        for level in Level::ALL {
            let mut last = 0;
            for n in 0..40usize {
                let others = vec![Other { rule: &other, level: Level::High }; n];
                let whole = of_the_whole(&rule, others);
                let score = total(&parts(*level, n as u64 + 1, std::iter::empty(), &whole));
                assert!(score >= last && score <= 100);
                last = score;
            }
        }
    }

    #[test]
    fn rules_that_see_the_same_add_little_to_one_another() {
        let (rule, same, differs) = (rule("no-care-relation"), rule("crowd"), rule("own-record"));
        let of = |other: &Rule| of_others(&rule, vec![Other { rule: other, level: Level::High }])[0].points;
        assert_eq!((of(&same), of(&differs)), (3, 12));
        let both = vec![
            Other { rule: &same, level: Level::Critical },
            Other { rule: &differs, level: Level::Medium },
        ];
        let points: Vec<i32> = of_others(&rule, both).iter().map(|part| part.points).collect();
        assert_eq!(points, [8, 2], "the weightier first, the second half");
    }

    #[test]
    fn the_access_with_the_poorest_reason_decides() {
        let points = |grades: &[Option<Grade>]| {
            let parts = parts(Level::High, 1, grades.iter().copied(), &[]);
            parts.iter().find(|part| part.of == Of::Explanation).map(|part| part.points)
        };
        assert_eq!(points(&[Some(Grade::Person), Some(Grade::Unit)]), Some(-10));
        assert_eq!(points(&[Some(Grade::Weak), Some(Grade::Person)]), Some(-4));
        assert_eq!(points(&[None, Some(Grade::Person)]), None);
        assert_eq!(Grade::of(Explains::Person, true), Grade::Weak);
        assert_eq!(Grade::of(Explains::Unit, false), Grade::Unit);
        assert_eq!(Grade::of(Explains::Provider, false), Grade::Weak);
    }

    #[test]
    fn what_is_usual_never_speaks_for_somebody_in_the_own_household() {
        let usual = |id: &str| of_usual(&rule(id), Usual::Alike).is_some();
        assert!(!usual("same-household") && usual("no-care-relation"));
    }
}
