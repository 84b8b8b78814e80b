//! What a day at a unit looks like: whose records have a reason to be opened, and who is there to open them.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::care::{Care, Relation};
use crate::clock::{Clock, DAY, HOUR, MINUTE};
use crate::duty::Shift;
use crate::people::Population;
use crate::staff::Staff;
use crate::units::{self, UNITS};

/// Everything that honest work and misuse are drawn from.
pub(crate) struct Ground<'a> {
    pub people: &'a Population,
    pub staff: &'a [Staff],
    pub clock: &'a Clock,
    pub care: &'a [Care],
    pub shifts: &'a [Shift],
    by_unit: Vec<Vec<u32>>,
    on: HashMap<(usize, i32), Vec<u32>>,
}

/// A relation that is of interest at a unit on a day, with how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub care: u32,
    /// Sum of the weights up to and with this one: a draw is a binary search.
    upto: u32,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        people: &'a Population,
        staff: &'a [Staff],
        clock: &'a Clock,
        care: &'a [Care],
        shifts: &'a [Shift],
    ) -> Ground<'a> {
        let mut by_unit = vec![Vec::new(); UNITS.len()];
        for (number, row) in care.iter().enumerate() {
            by_unit[row.unit].push(number as u32);
        }
        let mut on: HashMap<(usize, i32), Vec<u32>> = HashMap::new();
        for (number, shift) in shifts.iter().enumerate() {
            if shift.kind != "leave" {
                on.entry((shift.unit, shift.day)).or_default().push(number as u32);
            }
        }
        Ground { people, staff, clock, care, shifts, by_unit, on }
    }

    /// The relations that give work at a unit on a day.
    pub(crate) fn due(&self, unit: usize, day: i32) -> Vec<Due> {
        let (from, to) = (self.clock.at(day, 0), self.clock.at(day + 1, 0));
        let mut upto = 0;
        let mut due = Vec::new();
        for number in &self.by_unit[unit] {
            let weight = weight(&self.care[*number as usize], from, to);
            if weight > 0 {
                upto += weight;
                due.push(Due { care: *number, upto });
            }
        }
        due
    }

    /// One of them, by weight.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng, due: &[Due]) -> Option<&'a Care> {
        let drawn = rng.random_range(0..due.last()?.upto);
        let place = due.partition_point(|one| one.upto <= drawn);
        Some(&self.care[due[place].care as usize])
    }

    /// Those on duty in a unit at an instant.
    pub(crate) fn on_duty(&self, unit: usize, at: i64) -> Vec<u32> {
        let day = self.clock.day_of(at);
        let shifts = [day - 1, day].into_iter().filter_map(|day| self.on.get(&(unit, day))).flatten();
        shifts
            .map(|number| &self.shifts[*number as usize])
            .filter(|shift| shift.from <= at && at < shift.to)
            .map(|shift| shift.staff)
            .collect()
    }

    /// The shifts of a person, in order of time, leave not among them.
    pub(crate) fn shifts_of(&self, staff: u32) -> Vec<&'a Shift> {
        self.shifts.iter().filter(|shift| shift.staff == staff && shift.kind != "leave").collect()
    }

    /// When someone would open the record of `care` on `day`, and who. None where nobody suitable is there.
    pub(crate) fn look(&self, rng: &mut ChaCha8Rng, care: &Care, day: i32) -> Option<(i64, u32)> {
        if care.kind.personal() {
            return self.look_of_handler(rng, care, day);
        }
        let at = self.moment(rng, care, day);
        let mut here = self.on_duty(care.unit, at);
        here.retain(|one| !self.staff[*one as usize].close.contains(&care.subject));
        let wanted = care.user.filter(|user| here.contains(user) && rng.random_bool(0.6));
        Some((at, wanted.or_else(|| here.choose(rng).copied())?))
    }

    /// Social services: the assigned handler, or one who shares the case.
    fn look_of_handler(&self, rng: &mut ChaCha8Rng, care: &Care, day: i32) -> Option<(i64, u32)> {
        let second = care.others.choose(rng).copied().filter(|_| rng.random_bool(0.25));
        let staff = second.or(care.user)?;
        if self.staff[staff as usize].close.contains(&care.subject) {
            return None;
        }
        let shifts = self.on.get(&(care.unit, day))?;
        let shift =
            shifts.iter().map(|number| &self.shifts[*number as usize]).find(|shift| shift.staff == staff)?;
        let at = rng.random_range(shift.from..shift.to - 10 * MINUTE);
        (care.from <= at).then_some((at, staff))
    }

    fn moment(&self, rng: &mut ChaCha8Rng, care: &Care, day: i32) -> i64 {
        let midnight = self.clock.at(day, 0);
        let hours = |from: i64, to: i64| (midnight + from * HOUR, midnight + to * HOUR);
        let today = care.lasts(midnight, midnight + DAY);
        let (from, to) = match care.kind {
            Relation::Booking if today => (care.from - 20 * MINUTE, care.from + 75 * MINUTE),
            Relation::Visit | Relation::Admission if today => {
                let end = care.to.unwrap_or(i64::MAX);
                let (open, close) = if rng.random_bool(0.82) { hours(7, 22) } else { hours(0, 24) };
                let window = (care.from.max(open), end.min(close));
                if window.0 < window.1 { window } else { (care.from.max(midnight), end.min(midnight + DAY)) }
            }
            Relation::Referral => hours(7, 19),
            Relation::HomeCare => hours(7, 22),
            _ => hours(8, 16),
        };
        rng.random_range(from..to.max(from + MINUTE)).max(if today { care.from - 20 * MINUTE } else { 0 })
    }

    /// True when the unit, or the person, has or had any reason to know this subject.
    pub(crate) fn known(&self, subject: u32, unit: usize, staff: u32) -> bool {
        self.care.iter().any(|care| {
            care.subject == subject
                && (care.unit == unit || care.user == Some(staff) || care.others.contains(&staff))
        })
    }
}

/// How much work a relation gives on the day between two instants.
fn weight(care: &Care, from: i64, to: i64) -> u32 {
    if care.lasts(from, to) {
        return match care.kind {
            Relation::Booking | Relation::Visit | Relation::Admission => 300,
            Relation::Referral if care.unit == units::IMAGING => 100,
            Relation::Referral => 5,
            Relation::HomeCare | Relation::Case => 100,
            Relation::Investigation => 150,
            Relation::Decision => 10,
            Relation::Enrolment => 5,
            Relation::Registration => 1,
        };
    }
    let ended = care.to.filter(|end| *end <= from).map(|end| (from - end) / DAY);
    match (care.kind, ended) {
        // Notes are signed and answers read in the days after; bookings are prepared the day before.
        (Relation::Booking | Relation::Visit | Relation::Admission, Some(0)) => 50,
        (Relation::Booking | Relation::Visit | Relation::Admission, Some(1)) => 15,
        (Relation::Booking, None) if care.from < to + DAY => 40,
        _ => 0,
    }
}
