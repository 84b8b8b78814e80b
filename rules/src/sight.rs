//! What must lie on the desk so that rules can judge a slice.

use chrono_tz::Tz;

use crate::calendar::CalendarWindow;
use crate::rule::Rule;
use crate::sql;

/// Accesses that are to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// All of this time, µs UTC, half-open: the slice, and whole calendar windows where a rule counts.
    pub whole: (i64, i64),
    /// And of these times those for which the condition holds.
    around: Vec<((i64, i64), String)>,
}

impl Sight {
    /// All of this time.
    pub fn of(from: i64, to: i64) -> Sight {
        Sight { whole: (from, to), around: Vec::new() }
    }

    /// What the rules must see to judge a slice. Around it a rule that says what it reads sees no more than that.
    pub fn new(rules: &[&Rule], slice: (i64, i64), zone: Tz) -> Sight {
        let mut sight = Sight::of(slice.0, slice.1);
        for rule in rules.iter().filter(|rule| rule.sees_windows()) {
            sight.widen((
                CalendarWindow::of(rule.window, slice.0, zone).from,
                CalendarWindow::of(rule.window, slice.1 - 1, zone).to,
            ));
        }
        let whole = sight.whole;
        for rule in rules {
            let (before, after) = rule.sees();
            let seen = match rule.sees_windows() {
                true => (whole.0.saturating_sub(before), whole.1.saturating_add(after)),
                false => (slice.0.saturating_sub(before), slice.1.saturating_add(after)),
            };
            let reads = rule.reads.as_deref().and_then(|reads| sql::render(reads, &rule.params, slice).ok());
            match reads {
                _ if whole.0 <= seen.0 && seen.1 <= whole.1 => {}
                None => sight.widen(seen),
                Some(reads) => sight.around.push((seen, reads.sql)),
            }
        }
        let whole = sight.whole;
        sight.around.retain(|(seen, _)| seen.0 < whole.0 || whole.1 < seen.1);
        sight
    }

    /// From the first instant to after the last that these rules see.
    pub fn reach_of(rules: &[&Rule], slice: (i64, i64), zone: Tz) -> (i64, i64) {
        Sight::new(rules, slice, zone).reach()
    }

    /// The same with everything that lies as far around.
    pub fn without_conditions(&self) -> Sight {
        let (from, to) = self.reach();
        Sight::of(from, to)
    }

    /// Which accesses, as a condition.
    pub fn condition(&self) -> String {
        let within = |(from, to): (i64, i64)| {
            format!("occurred_at >= {} and occurred_at < {}", sql::timestamp(from), sql::timestamp(to))
        };
        if self.around.is_empty() {
            return within(self.whole);
        }
        let whole = format!("({})", within(self.whole));
        let around = self.around.iter().map(|(seen, reads)| format!("({} and ({reads}))", within(*seen)));
        let any: Vec<String> = std::iter::once(whole).chain(around).collect();
        // What bounds them all leaves files out.
        format!("{} and ({})", within(self.reach()), any.join(" or "))
    }

    fn reach(&self) -> (i64, i64) {
        let seen = self.around.iter().map(|(seen, _)| *seen).chain([self.whole]);
        seen.fold(self.whole, |all, one| (all.0.min(one.0), all.1.max(one.1)))
    }

    fn widen(&mut self, seen: (i64, i64)) {
        self.whole = (self.whole.0.min(seen.0), self.whole.1.max(seen.1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pack::Pack;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_rule_that_says_what_it_reads_sees_no_more_around_than_that() {
        let pack = Pack::builtin().unwrap();
        let zone = Tz::Europe__Stockholm;
        let day = (22 * HOUR, 46 * HOUR);
        let sight = |rules: &[&str]| {
            let rules: Vec<&Rule> = rules.iter().map(|id| pack.rule(id).unwrap()).collect();
            Sight::new(&rules, day, zone)
        };
        assert_eq!(sight(&["own-record"]), Sight::of(day.0, day.1));
        let noted = sight(&["own-record", "emergency-without-note"]);
        assert_eq!(noted.whole, day);
        assert!(noted.reach().0 <= day.0 - 24 * HOUR && noted.condition().contains("action in"), "{noted:?}");
        assert_eq!(noted.without_conditions().whole, noted.reach());
        // Part of a day: whoever counts sees all of it.
        let rules = [pack.rule("crowd").unwrap()];
        let part = Sight::new(&rules, (day.0 + HOUR, day.0 + 2 * HOUR), zone);
        assert!(part.whole.0 <= day.0 + HOUR && part.whole.1 - part.whole.0 == 24 * HOUR, "{part:?}");
    }
}
