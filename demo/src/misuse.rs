//! What is planted: each kind of misuse that a review should find, several times, among honest work.

use std::collections::HashSet;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::access::{Access, Source};
use crate::care::Admitted;
use crate::clock::{Clock, DAY, HOUR, MINUTE};
use crate::ground::Ground;
use crate::numbers::OID_PERSONNUMMER;
use crate::people::Population;
use crate::staff::Staff;
use crate::units::{self, Kind, UNITS};
use crate::work::blank;

/// Every kind of planted misuse, as the truth file names it.
pub const KINDS: &[&str] = &[
    "own_record",
    "colleague",
    "household",
    "relative",
    "protected_identity",
    "deceased",
    "after_employment",
    "emergency_no_note",
    "no_relation",
    "serial",
    "relative_on_own_unit",
];

/// How often the serial case at the reviewer's unit opens the one record.
pub(crate) const SERIAL_VISITS: usize = 33;

/// One planted case: who did what to whom.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub kind: &'static str,
    pub source: Source,
    pub staff: u32,
    pub subject: u32,
}

/// The planted cases and their looks.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    pub plans: Vec<Plan>,
    pub accesses: Vec<Access>,
}

/// Relatives of staff who are to lie on that staff's own ward: chosen before care is given, so that the care is real.
pub(crate) fn relatives_to_admit(
    rng: &mut ChaCha8Rng,
    people: &Population,
    staff: &[Staff],
    clock: &Clock,
    days: i32,
) -> Admitted {
    let today = clock.date(days - 1);
    let mut order: Vec<u32> = (0..staff.len() as u32).collect();
    order.shuffle(rng);
    let mut admitted: Admitted = Vec::new();
    for (unit, wanted) in [(units::HERO, 2), (2, 1), (3, 1), (4, 1)] {
        let before = admitted.len();
        for number in order.iter().copied() {
            let one = &staff[number as usize];
            if one.unit != unit || one.chief || one.to_day.is_some() || one.from_day > 0 || one.loan.is_some()
            {
                continue;
            }
            let colleague = |subject: u32| staff.iter().any(|other| other.subject == Some(subject));
            let relative = one.close.iter().copied().find(|relative| {
                let person = &people.subjects[*relative as usize];
                Some(*relative) != one.subject
                    && person.age(today) > 19
                    && ordinary(people, *relative)
                    && !colleague(*relative)
                    && admitted.iter().all(|(_, taken)| taken != relative)
            });
            if let Some(relative) = relative {
                admitted.push((number, relative));
            }
            if admitted.len() - before == wanted {
                break;
            }
        }
    }
    admitted
}

/// Someone without any mark: a look at them is of one kind only.
fn ordinary(people: &Population, subject: u32) -> bool {
    let one = &people.subjects[subject as usize];
    one.protected.is_none()
        && !one.public_figure
        && one.deceased.is_none()
        && one.former.is_none()
        && one.id_type == OID_PERSONNUMMER
}

/// Plants everything.
pub(crate) fn plant(
    rng: &mut ChaCha8Rng,
    ground: &Ground<'_>,
    days: i32,
    end: i64,
    admitted: &Admitted,
) -> Planted {
    let mut hand = Hand { rng, ground, days, end, used: HashSet::new(), out: Planted::default() };
    hand.visit_relatives(admitted);
    hand.stalk(units::HERO, SERIAL_VISITS);
    hand.stalk(units::PSYCHIATRY, 17);
    hand.read_own();
    hand.read_family();
    hand.read_colleagues();
    hand.read_strangers();
    hand.read_marked();
    hand.open_in_emergency();
    hand.come_back();
    hand.read_images();
    hand.out
}

struct Hand<'a, 'g> {
    rng: &'a mut ChaCha8Rng,
    ground: &'a Ground<'g>,
    days: i32,
    end: i64,
    used: HashSet<u32>,
    out: Planted,
}

impl Hand<'_, '_> {
    /// Staff who could be the culprit of one more case, in random order, those of the reviewer's unit first if so asked.
    fn candidates(&mut self, hero_first: bool) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.ground.staff.len() as u32)
            .filter(|number| {
                let one = &self.ground.staff[*number as usize];
                let reads = !matches!(UNITS[one.unit].kind, Kind::Imaging | Kind::Quality);
                let steady = one.to_day.is_none() && one.from_day < 0 && one.loan.is_none();
                reads && steady && !one.chief && !one.apart && !self.used.contains(number)
            })
            .collect();
        order.shuffle(self.rng);
        if hero_first {
            order.sort_by_key(|number| self.ground.staff[*number as usize].unit != units::HERO);
        }
        order
    }

    /// `count` moments at work, in order, the last of them well before the end.
    fn moments(&mut self, staff: u32, count: usize) -> Vec<i64> {
        self.moments_before(self.end - 3 * HOUR, staff, count)
    }

    fn moments_before(&mut self, latest: i64, staff: u32, count: usize) -> Vec<i64> {
        let shifts: Vec<(i64, i64)> = self
            .ground
            .shifts_of(staff)
            .into_iter()
            .filter(|shift| shift.day >= 0 && shift.from < latest)
            .map(|shift| (shift.from, shift.to.min(latest)))
            .collect();
        let mut moments: Vec<i64> = (0..count)
            .filter_map(|turn| {
                if count < 5 {
                    let (from, to) = shifts.choose(self.rng)?;
                    return Some(self.rng.random_range(*from..(*to).max(from + MINUTE)));
                }
                // Spread evenly, so that many visits mean many days, and two in a shift lie hours apart.
                let (from, to) = shifts.get(turn * shifts.len() / count)?;
                let tenths = ((turn * shifts.len()) % count * 9 / count) as i64;
                let tenth = (to - from) / 10;
                Some(from + tenths * tenth + self.rng.random_range(0..tenth.max(1)))
            })
            .collect();
        moments.sort_unstable();
        moments
    }

    /// Carries a case out: one to three reads at each moment.
    fn commit(&mut self, kind: &'static str, staff: u32, subject: u32, moments: &[i64], emergency: bool) {
        let unit = self.ground.staff[staff as usize].unit;
        let source = UNITS[unit].source;
        if moments.is_empty() {
            return;
        }
        self.out.plans.push(Plan { kind, source, staff, subject });
        let case = self.out.plans.len() as u16;
        for moment in moments {
            let mut at = *moment;
            for turn in 0..self.rng.random_range(1..4_u8) {
                let mut look = blank(at, source, staff, unit, subject);
                look.part = turn;
                look.planted = case;
                look.emergency = emergency && turn == 0;
                self.out.accesses.push(look);
                at += self.rng.random_range(12..140);
            }
        }
        self.used.insert(staff);
    }

    fn visit_relatives(&mut self, admitted: &Admitted) {
        for (staff, relative) in admitted {
            let stays: Vec<(i64, i64)> = self
                .ground
                .care
                .iter()
                .filter(|care| {
                    care.subject == *relative && care.unit == self.ground.staff[*staff as usize].unit
                })
                .map(|care| (care.from, care.to.unwrap_or(self.end)))
                .collect();
            let mut moments: Vec<i64> = self
                .ground
                .shifts_of(*staff)
                .into_iter()
                .map(|shift| self.rng.random_range(shift.from..shift.to))
                .filter(|at| *at < self.end - HOUR && stays.iter().any(|(from, to)| from < at && at < to))
                .collect();
            moments.sort_unstable();
            self.commit("relative_on_own_unit", *staff, *relative, &moments, false);
        }
    }

    /// One person's record, again and again, without any reason.
    fn stalk(&mut self, unit: usize, visits: usize) {
        let staff = self.candidates(false).into_iter().find(|one| {
            let user = &self.ground.staff[*one as usize];
            user.unit == unit && self.ground.shifts_of(*one).iter().filter(|shift| shift.day >= 0).count() > 1
        });
        let Some(staff) = staff else { return };
        let Some(subject) = self.stranger(staff) else { return };
        let moments = self.moments(staff, visits);
        self.commit("serial", staff, subject, &moments, false);
    }

    fn read_own(&mut self) {
        let mut left = 6;
        for staff in self.candidates(true) {
            let Some(own) = self.ground.staff[staff as usize].subject else { continue };
            let hero = self.ground.staff[staff as usize].unit == units::HERO;
            if left == 0 || (hero && left < 6) || self.known(own, staff) {
                continue;
            }
            let moments = self.moments(staff, 2);
            self.commit("own_record", staff, own, &moments, false);
            left -= 1;
        }
    }

    fn read_family(&mut self) {
        for (kind, wanted, same_home) in [("household", 7, true), ("relative", 4, false)] {
            let mut left = wanted;
            for staff in self.candidates(true) {
                let user = &self.ground.staff[staff as usize];
                let Some(own) = user.subject else { continue };
                if left == 0 || (user.unit == units::HERO && left < wanted) {
                    continue;
                }
                let home = |subject: u32| self.ground.people.subjects[subject as usize].household;
                let relative = user.close.iter().copied().find(|one| {
                    *one != own
                        && (home(*one) == home(own)) == same_home
                        && ordinary(self.ground.people, *one)
                        && self.staff_of(*one).is_none_or(|other| self.ground.staff[other].unit != user.unit)
                        && !self.known(*one, staff)
                });
                if let Some(relative) = relative {
                    let visits = self.rng.random_range(1..5);
                    let moments = self.moments(staff, visits);
                    self.commit(kind, staff, relative, &moments, false);
                    left -= 1;
                }
            }
        }
    }

    fn read_colleagues(&mut self) {
        let mut left = 8;
        for staff in self.candidates(true) {
            let user = &self.ground.staff[staff as usize];
            if left == 0 || (user.unit == units::HERO && left < 8) {
                continue;
            }
            let colleague = self.ground.staff.iter().filter(|other| other.unit == user.unit && !other.apart);
            let colleague = colleague.filter_map(|other| other.subject).find(|subject| {
                Some(*subject) != user.subject
                    && !user.close.contains(subject)
                    && ordinary(self.ground.people, *subject)
                    && !self.known(*subject, staff)
            });
            if let Some(colleague) = colleague {
                let moments = self.moments(staff, 2);
                self.commit("colleague", staff, colleague, &moments, false);
                left -= 1;
            }
        }
    }

    fn read_strangers(&mut self) {
        let mut left = 16;
        for staff in self.candidates(true) {
            if left == 0 {
                break;
            }
            let hero = self.ground.staff[staff as usize].unit == units::HERO;
            if hero && left < 15 {
                continue;
            }
            if let Some(subject) = self.stranger(staff) {
                let visits = self.rng.random_range(1..4);
                let moments = self.moments(staff, visits);
                self.commit("no_relation", staff, subject, &moments, false);
                left -= 1;
            }
        }
    }

    /// Protected persons, and the dead of long ago.
    fn read_marked(&mut self) {
        let subjects = &self.ground.people.subjects;
        let long_ago = self.ground.clock.date(-20);
        let protected: Vec<u32> =
            (0..subjects.len() as u32).filter(|i| subjects[*i as usize].protected.is_some()).collect();
        let dead: Vec<u32> = (0..subjects.len() as u32)
            .filter(|i| subjects[*i as usize].deceased.is_some_and(|day| day < long_ago))
            .collect();
        for (kind, pool, wanted) in [("protected_identity", protected, 5), ("deceased", dead, 6)] {
            let mut left = wanted;
            for staff in self.candidates(true) {
                let user = &self.ground.staff[staff as usize];
                if left == 0 || (user.unit == units::HERO && left < wanted) {
                    continue;
                }
                let Some(subject) = pool.choose(self.rng).copied() else { break };
                if user.close.contains(&subject) || self.known(subject, staff) {
                    continue;
                }
                let moments = self.moments(staff, 2);
                self.commit(kind, staff, subject, &moments, false);
                left -= 1;
            }
        }
    }

    fn open_in_emergency(&mut self) {
        let mut left = 6;
        for staff in self.candidates(true) {
            let user = &self.ground.staff[staff as usize];
            let clinical = matches!(user.title, "Läkare" | "Sjuksköterska" | "Undersköterska");
            let hero = user.unit == units::HERO;
            if left == 0 || !clinical || UNITS[user.unit].source != Source::Journal || (hero && left < 6) {
                continue;
            }
            if let Some(subject) = self.stranger(staff) {
                // A note has a day to be written in; what is younger waits.
                let moments = self.moments_before(self.end - 30 * HOUR, staff, 1);
                self.commit("emergency_no_note", staff, subject, &moments, true);
                left -= 1;
            }
        }
    }

    /// Some who have left still have an account that works.
    fn come_back(&mut self) {
        let shared: HashSet<u32> =
            self.ground.staff.iter().filter_map(|one| one.login_of).map(|one| one as u32).collect();
        let mut gone: Vec<u32> = (0..self.ground.staff.len() as u32)
            .filter(|number| {
                let one = &self.ground.staff[*number as usize];
                let reads = !matches!(UNITS[one.unit].kind, Kind::Imaging | Kind::Quality);
                reads
                    && !shared.contains(number)
                    && one.to_day.is_some_and(|day| day < self.days - 2 && day > -60)
            })
            .collect();
        gone.shuffle(self.rng);
        for staff in gone.into_iter().take(5) {
            let Some(subject) = self.stranger(staff) else { continue };
            let last = self.ground.staff[staff as usize].to_day.unwrap_or(0);
            let first = (last + 1).max(0);
            let mut moments: Vec<i64> = (0..3)
                .map(|_| {
                    let day = self.rng.random_range(first..self.days.max(first + 1));
                    self.ground.clock.at(day, self.rng.random_range(17 * 60..23 * 60))
                })
                .map(|at| if at < self.end - HOUR { at } else { at - DAY })
                .filter(|at| self.ground.clock.day_of(*at) > last)
                .collect();
            moments.sort_unstable();
            self.commit("after_employment", staff, subject, &moments, false);
        }
    }

    /// In the image archive: one's own images, and those of somebody without any business there.
    fn read_images(&mut self) {
        let mut readers: Vec<u32> = (0..self.ground.staff.len() as u32)
            .filter(|number| {
                let one = &self.ground.staff[*number as usize];
                let steady =
                    one.to_day.is_none() && one.from_day < 0 && !one.chief && !self.used.contains(number);
                one.unit == units::IMAGING && steady
            })
            .collect();
        readers.shuffle(self.rng);
        let own = readers.iter().copied().find_map(|staff| {
            let own = self.ground.staff[staff as usize].subject?;
            (!self.known(own, staff)).then_some((staff, own))
        });
        if let Some((staff, own)) = own {
            let moments = self.moments(staff, 2);
            self.commit("own_record", staff, own, &moments, false);
        }
        let other = readers.into_iter().find(|staff| !self.used.contains(staff));
        if let Some(staff) = other
            && let Some(subject) = self.stranger(staff)
        {
            let moments = self.moments(staff, 3);
            self.commit("no_relation", staff, subject, &moments, false);
        }
    }

    /// Someone whom neither the person nor the unit has any business with.
    fn stranger(&mut self, staff: u32) -> Option<u32> {
        let user = &self.ground.staff[staff as usize];
        for _ in 0..200 {
            let subject = self.rng.random_range(0..self.ground.people.subjects.len() as u32);
            let plain = ordinary(self.ground.people, subject) && self.staff_of(subject).is_none();
            if plain && !user.close.contains(&subject) && !self.known(subject, staff) {
                return Some(subject);
            }
        }
        None
    }

    fn staff_of(&self, subject: u32) -> Option<usize> {
        self.ground.staff.iter().position(|one| one.subject == Some(subject))
    }

    fn known(&self, subject: u32, staff: u32) -> bool {
        self.ground.known(subject, self.ground.staff[staff as usize].unit, staff)
    }
}
