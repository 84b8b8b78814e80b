//! Who lives with whom, or is related to whom, and when: what `same_household` goes by.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;

use super::history::hash;

/// Where more persons live than this, it is a house and no household; as the rule `same-household` has it.
const MOST_AT_ADDRESS: usize = 12;
/// Of those who ever lived there, so many times as many.
const MOST_EVER: usize = 10 * MOST_AT_ADDRESS;

/// The columns that are read of `subjects`, `staff` and `kinship` over time.
pub(crate) const SUBJECTS: &[&str] =
    &["subject_id", "address", "postcode", "protected_identity", "protection_kind", "valid_from", "valid_to"];
pub(crate) const STAFF: &[&str] =
    &["person_id", "address", "postcode", "protected_identity", "valid_from", "valid_to"];
pub(crate) const KINSHIP: &[&str] = &["subject_id", "related_id", "valid_from", "valid_to"];

/// Persons, their homes and their kin, by what tells one from another; 32 bytes a row.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// Person, home, from when and to when; sorted.
    lives: Vec<(u64, u64, i64, i64)>,
    /// Person, relative, from when and to when; both ways, sorted.
    kin: Vec<(u64, u64, i64, i64)>,
}

impl Homes {
    /// Takes rows of `subjects` or `staff`; `current` is what tells a person from others, by any of their numbers.
    pub(crate) fn add_people(&mut self, batch: &RecordBatch, person: &str, current: &dyn Fn(&str) -> u64) {
        let rows = Rows(batch);
        for row in 0..batch.num_rows() {
            // The address of somebody with protected identity is that of the authority that forwards their mail.
            if rows.flag("protected_identity", row) || rows.text("protection_kind", row).is_some() {
                continue;
            }
            let (Some(person), Some(home)) = (rows.text(person, row), rows.home(row)) else { continue };
            let (from, to) = rows.period(row);
            self.lives.push((current(person), home, from, to));
        }
    }

    /// Takes rows of `kinship`.
    pub(crate) fn add_kin(&mut self, batch: &RecordBatch, current: &dyn Fn(&str) -> u64) {
        let rows = Rows(batch);
        for row in 0..batch.num_rows() {
            let (Some(one), Some(other)) = (rows.text("subject_id", row), rows.text("related_id", row))
            else {
                continue;
            };
            let (one, other, (from, to)) = (current(one), current(other), rows.period(row));
            self.kin.extend([(one, other, from, to), (other, one, from, to)]);
        }
    }

    /// When all is taken.
    pub(crate) fn settle(&mut self) {
        let mut ever: HashMap<u64, HashSet<u64>> = HashMap::new();
        let mut now: HashMap<u64, HashSet<u64>> = HashMap::new();
        for (person, home, _, to) in &self.lives {
            ever.entry(*home).or_default().insert(*person);
            if *to == i64::MAX {
                now.entry(*home).or_default().insert(*person);
            }
        }
        let many = |of: &HashMap<u64, HashSet<u64>>, home: &u64, most| {
            of.get(home).is_some_and(|who| who.len() > most)
        };
        self.lives
            .retain(|(_, home, ..)| !many(&ever, home, MOST_EVER) && !many(&now, home, MOST_AT_ADDRESS));
        self.lives.sort_unstable();
        self.lives.dedup();
        self.lives.shrink_to_fit();
        self.kin.sort_unstable();
        self.kin.dedup();
        self.kin.shrink_to_fit();
    }

    /// Whether two persons lived at one address at an instant, or were related then. Nobody belongs with themself.
    pub(crate) fn together(&self, one: u64, other: u64, at: i64) -> bool {
        if one == other {
            return false;
        }
        let holds = |(_, _, from, to): &&(u64, u64, i64, i64)| *from <= at && at <= *to;
        let is_kin = of(&self.kin, one).iter().filter(holds).any(|(_, kin, ..)| *kin == other);
        let homes = of(&self.lives, one).iter().filter(holds);
        let others = of(&self.lives, other);
        is_kin
            || homes
                .into_iter()
                .any(|(_, home, ..)| others.iter().filter(holds).any(|(_, same, ..)| same == home))
    }
}

fn of(rows: &[(u64, u64, i64, i64)], person: u64) -> &[(u64, u64, i64, i64)] {
    let from = rows.partition_point(|(known, ..)| *known < person);
    let to = rows.partition_point(|(known, ..)| *known <= person);
    &rows[from..to]
}

struct Rows<'a>(&'a RecordBatch);

impl<'a> Rows<'a> {
    fn text(&self, column: &str, row: usize) -> Option<&'a str> {
        let values = self.0.column_by_name(column)?.as_string_opt::<i32>()?;
        values.is_valid(row).then(|| values.value(row))
    }

    fn flag(&self, column: &str, row: usize) -> bool {
        let values = self.0.column_by_name(column).and_then(|values| values.as_boolean_opt());
        values.is_some_and(|values| values.is_valid(row) && values.value(row))
    }

    fn home(&self, row: usize) -> Option<u64> {
        let address = self.text("address", row)?.trim().to_lowercase();
        let postcode = self.text("postcode", row)?.replace(' ', "");
        let is_there = !address.is_empty() && !postcode.is_empty();
        is_there.then(|| hash(0, format!("{address}\n{postcode}").as_bytes()))
    }

    fn period(&self, row: usize) -> (i64, i64) {
        let time = |name: &str| {
            let values = self.0.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
            values.is_valid(row).then(|| values.value(row))
        };
        (time("valid_from").unwrap_or(i64::MIN), time("valid_to").unwrap_or(i64::MAX))
    }
}
