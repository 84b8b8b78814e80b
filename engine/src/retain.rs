//! Which rows go when their time is over: what was decided above, as a plan, and a pure answer for each row.
//!
//! The engine knows neither decisions nor people. It gets instants, and the ids of whom somebody wants to keep.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Which rows something is about: those that fit every part that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Rows of these sources; none: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<BTreeSet<String>>,
    /// Rows of this controller; none: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Rows of this `data_category`; none: of any, and of those that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// How long rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Which rows.
    pub of: Class,
    /// What happened at this instant or later stays, whoever decided what. µs UTC.
    pub shortest: i64,
    /// What happened before this instant should be gone; none: nothing is told. µs UTC.
    pub longest: Option<i64>,
}

/// Somebody has decided that rows may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// Which rows.
    pub of: Class,
    /// Those that happened before this instant. µs UTC.
    pub before: i64,
    /// Who decided it, under which number, and when: it is kept with what was removed.
    pub name: String,
}

/// Whose rows stay, whatever was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Persons whose records were opened, as `subject_id` has them.
    pub subjects: BTreeSet<String>,
    /// Users, by `user_id` or `user_person_id`, in upper case.
    pub users: BTreeSet<String>,
    /// Cases, as `access_ground` has them.
    pub cases: BTreeSet<String>,
}

/// What goes and what is held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The first that fits a row says how long it is kept. A row that none fits stays.
    pub terms: Vec<Term>,
    /// A row goes only on one of these.
    pub grounds: Vec<Ground>,
    /// What stays all the same.
    pub holds: Holds,
    /// Whose each source is: items of `quarantine` and `gaps` do not say it themselves.
    pub controllers: BTreeMap<String, String>,
}

/// What of a row decides whether it goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    /// Its source.
    pub source: &'a str,
    /// Its controller.
    pub controller: &'a str,
    /// `data_category`.
    pub category: Option<&'a str>,
    /// When it happened, µs UTC.
    pub at: i64,
    /// `subject_id`.
    pub subject: Option<&'a str>,
    /// `user_id`.
    pub user: Option<&'a str>,
    /// `user_person_id`.
    pub person: Option<&'a str>,
    /// `access_ground`.
    pub case: Option<&'a str>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its time is not over, or nobody decided that it may go.
    Stays,
    /// Its longest time is over, and nobody decided that it may go.
    Overdue,
    /// It might go, and somebody wants it kept.
    Held,
    /// It goes, on this ground of the plan.
    Goes(usize),
}

impl Class {
    fn fits(&self, row: &Row<'_>) -> bool {
        self.fits_record(row)
            && self.category.as_deref().is_none_or(|category| row.category == Some(category))
    }

    /// Whether it fits in what all rows of one record have in common.
    fn fits_record(&self, row: &Row<'_>) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(row.source))
            && self.controller.as_deref().is_none_or(|controller| controller == row.controller)
    }
}

impl Holds {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty() && self.users.is_empty() && self.cases.is_empty()
    }

    fn hold(&self, row: &Row<'_>) -> bool {
        let of_user = |id: &str| !self.users.is_empty() && self.users.contains(&id.to_uppercase());
        row.subject.is_some_and(|subject| self.subjects.contains(subject))
            || row.user.is_some_and(of_user)
            || row.person.is_some_and(of_user)
            || row.case.is_some_and(|case| self.cases.contains(case))
    }

    /// Whether bytes that nobody could read name somebody who is held: their number in any usual form, in any
    /// encoding that writes digits and Latin letters as ASCII does.
    #[must_use]
    pub fn name_any(&self, bytes: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let bytes = packed(bytes);
        let found = |id: &String| {
            let id = packed(id.as_bytes());
            let of_person = id.len() == 12 && id.iter().all(u8::is_ascii_digit);
            // Ten digits are in twelve.
            let looked_for = if of_person { id.get(2..).unwrap_or(&id) } else { &id };
            !looked_for.is_empty() && bytes.windows(looked_for.len()).any(|part| part == looked_for)
        };
        self.subjects.iter().chain(&self.users).chain(&self.cases).any(found)
    }
}

/// Without what numbers are written with, and the zeros of wide characters; in upper case.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let plain = bytes.iter().filter(|byte| !matches!(byte, 0 | b'-' | b'+' | b' '));
    plain.map(u8::to_ascii_uppercase).collect()
}

impl Plan {
    /// What becomes of the row, taken by itself. A row goes only when every row of its record may go.
    #[must_use]
    pub fn fate(&self, row: &Row<'_>) -> Fate {
        let Some(term) = self.terms.iter().find(|term| term.of.fits(row)) else { return Fate::Stays };
        if row.at >= term.shortest {
            return Fate::Stays;
        }
        match self.grounds.iter().position(|ground| row.at < ground.before && ground.of.fits(row)) {
            None if term.longest.is_some_and(|longest| row.at < longest) => Fate::Overdue,
            None => Fate::Stays,
            Some(_) if self.holds.hold(row) => Fate::Held,
            Some(ground) => Fate::Goes(ground),
        }
    }

    /// Rows that happened at this instant or later stay, and nothing is to be told of them. µs UTC.
    #[must_use]
    pub fn horizon(&self) -> i64 {
        let grounds = self.grounds.iter().map(|ground| ground.before);
        let longest = self.terms.iter().filter_map(|term| term.longest);
        grounds.chain(longest).max().unwrap_or(i64::MIN)
    }

    /// Whether rows of one record can have different fates.
    pub(crate) fn parts_records(&self) -> bool {
        let of_category = |class: &Class| class.category.is_some();
        !self.holds.is_empty()
            || self.terms.iter().any(|term| of_category(&term.of))
            || self.grounds.iter().any(|ground| of_category(&ground.of))
    }

    /// Whether another row of the same record may go.
    pub(crate) fn another_may_go(&self, row: &Row<'_>) -> bool {
        self.grounds.iter().any(|ground| row.at < ground.before && ground.of.fits_record(row))
    }

    /// What becomes of an item of `quarantine` or `gaps` that was met at `at`; `bytes` are what is kept of it.
    pub(crate) fn fate_of_item(&self, source: &str, at: i64, bytes: &[u8]) -> Fate {
        let controller = self.controllers.get(source).map_or("", String::as_str);
        match self.fate(&Row { source, controller, at, ..Row::default() }) {
            Fate::Goes(_) if self.holds.name_any(bytes) => Fate::Held,
            fate => fate,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row that owns what it says: source, controller, category, subject, user and case by number, and a time.
    type Small = (u8, u8, Option<u8>, Option<u8>, Option<u8>, Option<u8>, i64);

    fn row(small: &Small, check: impl Fn(&Row<'_>) -> Fate) -> Fate {
        let name = |kind: &str, n: u8| format!("{kind}{n}");
        let some = |kind: &str, n: Option<u8>| n.map(|n| name(kind, n));
        let (source, controller) = (name("s", small.0), name("c", small.1));
        let (category, subject) = (some("k", small.2), some("p", small.3));
        let (user, case) = (some("u", small.4), some("d", small.5));
        check(&Row {
            source: &source,
            controller: &controller,
            category: category.as_deref(),
            at: small.6,
            subject: subject.as_deref(),
            user: user.as_deref(),
            person: None,
            case: case.as_deref(),
        })
    }

    type SmallClass = (Option<BTreeSet<u8>>, Option<u8>, Option<u8>);

    fn class(small: &SmallClass) -> Class {
        Class {
            sources: small.0.as_ref().map(|all| all.iter().map(|n| format!("s{n}")).collect()),
            controller: small.1.map(|n| format!("c{n}")),
            category: small.2.map(|n| format!("k{n}")),
        }
    }

    /// The slow way: is this class about this row?
    fn is_of(small: &SmallClass, row: &Small) -> bool {
        let source = match &small.0 {
            Some(sources) => sources.iter().any(|n| *n == row.0),
            None => true,
        };
        let controller = small.1 == Some(row.1) || small.1.is_none();
        let category = small.2.is_none() || (row.2.is_some() && row.2 == small.2);
        source && controller && category
    }

    fn classes() -> impl Strategy<Value = SmallClass> {
        let few = prop::option::of(prop::collection::btree_set(0u8..3, 1..3));
        (few, prop::option::of(0u8..2), prop::option::weighted(0.3, 0u8..2))
    }

    prop_compose! {
        fn rows()(
            row in (0u8..3, 0u8..2, prop::option::of(0u8..2), prop::option::of(0u8..4),
                    prop::option::of(0u8..4), prop::option::weighted(0.2, 0u8..2), 0i64..100)
        ) -> Small { row }
    }

    type SmallPlan = (
        Vec<(SmallClass, i64, Option<i64>)>,
        Vec<(SmallClass, i64)>,
        (BTreeSet<u8>, BTreeSet<u8>, BTreeSet<u8>),
    );

    fn plans() -> impl Strategy<Value = SmallPlan> {
        let few = |most| prop::collection::btree_set(0u8..4, 0..most);
        (
            prop::collection::vec((classes(), 0i64..100, prop::option::of(0i64..100)), 0..4),
            prop::collection::vec((classes(), 0i64..100), 0..4),
            (few(2), few(2), few(1)),
        )
    }

    fn plan(small: &SmallPlan) -> Plan {
        let named = |kind: &str, all: &BTreeSet<u8>| all.iter().map(|n| format!("{kind}{n}")).collect();
        let (subjects, users, cases) = &small.2;
        Plan {
            terms: small
                .0
                .iter()
                .map(|(of, shortest, longest)| Term { of: class(of), shortest: *shortest, longest: *longest })
                .collect(),
            grounds: small
                .1
                .iter()
                .map(|(of, before)| Ground { of: class(of), before: *before, name: String::new() })
                .collect(),
            holds: Holds {
                subjects: named("p", subjects),
                users: named("U", users),
                cases: named("d", cases),
            },
            controllers: BTreeMap::new(),
        }
    }

    proptest! {
        #[test]
        fn a_row_goes_when_its_time_is_over_somebody_decided_it_and_nobody_holds_it(
            small in plans(), given in prop::collection::vec(rows(), 1..40)
        ) {
            let plan = plan(&small);
            let (terms, grounds, (subjects, users, cases)) = &small;
            for given in &given {
                let term = terms.iter().find(|(of, ..)| is_of(of, given));
                let is_over = term.is_some_and(|(_, shortest, _)| given.6 < *shortest);
                let decided = grounds.iter().any(|(of, before)| is_of(of, given) && given.6 < *before);
                let held = given.3.is_some_and(|n| subjects.contains(&n))
                    || given.4.is_some_and(|n| users.contains(&n))
                    || given.5.is_some_and(|n| cases.contains(&n));
                let is_late = term.is_some_and(|(.., longest)| longest.is_some_and(|at| given.6 < at));
                let found = row(given, |row| plan.fate(row));
                prop_assert_eq!(matches!(found, Fate::Goes(_)), is_over && decided && !held);
                prop_assert_eq!(found == Fate::Held, is_over && decided && held);
                prop_assert_eq!(found == Fate::Overdue, is_over && !decided && is_late);
                if let Fate::Goes(ground) = found {
                    prop_assert!(is_of(&grounds[ground].0, given) && given.6 < grounds[ground].1);
                }
                // Files that hold nothing earlier need not be looked at.
                prop_assert!(found == Fate::Stays || given.6 < plan.horizon());
                // What another row of the record may do is never asked too narrowly.
                let mut other = *given;
                (other.2, other.3) = (Some(0), None);
                if matches!(row(&other, |row| plan.fate(row)), Fate::Goes(_)) {
                    let told = row(given, |row| if plan.another_may_go(row) { Fate::Held } else { Fate::Stays });
                    prop_assert_eq!(told, Fate::Held);
                    prop_assert!(plan.parts_records() || matches!(found, Fate::Goes(_)));
                }
            }
        }

        #[test]
        fn who_is_held_is_found_in_bytes_however_they_are_written(
            year in 1900u32..2020, rest in 0u32..100_000_000, form in 0usize..6, wide in any::<bool>()
        ) {
            let id = format!("{year}{rest:08}");
            let (day, number) = id.split_at(8);
            let written = match form {
                0 => id.clone(),
                1 => format!("{day}-{number}"),
                2 => format!("{}-{number}", &day[2..]),
                3 => format!("{}+{number}", &day[2..]),
                4 => format!("{}{number}", &day[2..]),
                _ => format!("{day} {number}"),
            };
            let text = format!("<x>{written};åtgärd");
            let bytes: Vec<u8> = match wide {
                true => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                false => text.into_bytes(),
            };
            let holds = Holds { subjects: BTreeSet::from([id]), ..Holds::default() };
            prop_assert!(holds.name_any(&bytes));
            prop_assert!(!holds.name_any(b"<x>1912;"));
            prop_assert!(!Holds::default().name_any(&bytes));
        }
    }
}
