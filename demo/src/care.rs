//! Who is cared for where: visits, stays, decisions, cases. Each is a reason to open a record.

use std::collections::{HashMap, HashSet};

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::clock::{Clock, DAY, HOUR, MINUTE};
use crate::people::Population;
use crate::staff::Staff;
use crate::units::{self, Kind, UNITS};

/// The kinds of `care_relations.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Visit,
    Admission,
    Referral,
    Booking,
    HomeCare,
    Decision,
    Case,
    Investigation,
    Enrolment,
    Registration,
}

impl Relation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Relation::Visit => "visit",
            Relation::Admission => "admission",
            Relation::Referral => "referral",
            Relation::Booking => "booking",
            Relation::HomeCare => "home_care",
            Relation::Decision => "decision",
            Relation::Case => "case",
            Relation::Investigation => "investigation",
            Relation::Enrolment => "enrolment",
            Relation::Registration => "registration",
        }
    }

    /// Only the ones named open the record: social services work by assigned case.
    pub(crate) fn personal(self) -> bool {
        matches!(self, Relation::Case | Relation::Investigation | Relation::Decision)
    }
}

/// One care relation as it really was.
#[derive(Debug, Clone)]
pub(crate) struct Care {
    pub subject: u32,
    pub unit: usize,
    pub user: Option<u32>,
    /// Others who work on the same case; each is a row of its own in the context.
    pub others: Vec<u32>,
    pub kind: Relation,
    pub from: i64,
    pub to: Option<i64>,
    /// Who wrote it down; none where no user of the systems did: the person over the web, a register.
    pub created_by: Option<u32>,
    pub created_at: i64,
    /// A booking that was kept: who registered at the desk that the person had come.
    pub received_by: Option<u32>,
    /// False for the one in a hundred that nobody ever enters.
    pub entered: bool,
}

impl Care {
    /// Whether it lasts at some moment between two instants.
    pub(crate) fn lasts(&self, from: i64, to: i64) -> bool {
        self.from < to && self.to.is_none_or(|end| end > from)
    }
}

/// A relative who is admitted to the unit where a member of staff works: (staff, relative).
pub(crate) type Admitted = Vec<(u32, u32)>;

/// Everyone's care over the period.
pub(crate) fn provide(
    rng: &mut ChaCha8Rng,
    people: &Population,
    staff: &[Staff],
    clock: &Clock,
    days: i32,
    admitted: &Admitted,
) -> Vec<Care> {
    let mut desk = Desk::new(rng, people, staff, clock, days);
    desk.admit_relatives(admitted);
    desk.register();
    desk.fill_wards();
    desk.receive_emergencies();
    desk.book();
    desk.send_to_imaging();
    desk.care_at_home();
    desk.open_cases();
    desk.enrol();
    desk.care_for_protected();
    desk.out
}

struct Desk<'a> {
    rng: &'a mut ChaCha8Rng,
    people: &'a Population,
    clock: &'a Clock,
    days: i32,
    /// Ordinary people by age; protected persons are cared for apart, in few hands.
    by_age: HashMap<Age, Vec<u32>>,
    at_unit: Vec<Vec<u32>>,
    /// By unit: those at the reception, and those who hand out cases.
    at_desk: Vec<Vec<u32>>,
    leads: Vec<Vec<u32>>,
    in_bed: HashSet<u32>,
    out: Vec<Care>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Age {
    Child,
    Pupil,
    Adult,
    Woman,
    Old,
    All,
}

impl<'a> Desk<'a> {
    fn new(
        rng: &'a mut ChaCha8Rng,
        people: &'a Population,
        staff: &'a [Staff],
        clock: &'a Clock,
        days: i32,
    ) -> Desk<'a> {
        let today = clock.date(days - 1);
        let start = clock.date(-20);
        let mut by_age: HashMap<Age, Vec<u32>> = HashMap::new();
        for (index, one) in people.subjects.iter().enumerate() {
            if one.protected.is_some() || one.deceased.is_some_and(|day| day < start) {
                continue;
            }
            let age = one.age(today);
            let groups = [
                (Age::Child, age < 18),
                (Age::Pupil, (7..19).contains(&age)),
                (Age::Adult, age > 17),
                (Age::Woman, one.female && (18..60).contains(&age)),
                (Age::Old, age > 73),
                (Age::All, true),
            ];
            for (group, belongs) in groups {
                if belongs {
                    by_age.entry(group).or_default().push(index as u32);
                }
            }
        }
        let none = || vec![Vec::new(); UNITS.len()];
        let (mut at_unit, mut at_desk, mut leads) = (none(), none(), none());
        for (number, one) in staff.iter().enumerate().filter(|(_, one)| !one.apart) {
            at_unit[one.unit].push(number as u32);
            if matches!(one.title, "Medicinsk sekreterare" | "Samordnare") {
                at_desk[one.unit].push(number as u32);
            }
            if one.chief || one.title == "Förste socialsekreterare" {
                leads[one.unit].push(number as u32);
            }
        }
        let (in_bed, out) = (HashSet::new(), Vec::new());
        Desk { rng, people, clock, days, by_age, at_unit, at_desk, leads, in_bed, out }
    }

    /// Someone of that age; among adults the older more often.
    fn person(&mut self, age: Age) -> Option<u32> {
        let group = self.by_age.get(&age)?;
        let one = *group.choose(self.rng)?;
        if age != Age::Adult {
            return Some(one);
        }
        let other = *group.choose(self.rng)?;
        let older = |i: u32| self.people.subjects[i as usize].born;
        Some(if older(other) < older(one) && self.rng.random_bool(0.6) { other } else { one })
    }

    fn someone_at(&mut self, unit: usize) -> Option<u32> {
        self.at_unit[unit].choose(self.rng).copied()
    }

    /// Somebody at the reception three times in four, where there is one.
    fn someone_at_desk(&mut self, unit: usize) -> Option<u32> {
        let reception = self.at_desk[unit].choose(self.rng).copied();
        reception.filter(|_| self.rng.random_bool(0.75)).or_else(|| self.someone_at(unit))
    }

    /// Who writes a relation down, as offices do. Receptions and the persons themselves book most times; listings come
    /// from a service on the web, pupils from the school's register; who leads the unit hands out cases; help at home
    /// is ordered by whoever decided on it; whoever sends a referral writes it.
    fn registrar(&mut self, kind: Relation, unit: usize, sent_by: usize) -> Option<u32> {
        match kind {
            Relation::Booking if self.rng.random_bool(0.2) => None,
            Relation::Booking => self.someone_at_desk(unit),
            Relation::Registration if self.rng.random_bool(0.8) => None,
            Relation::Enrolment => None,
            Relation::Case | Relation::Investigation | Relation::Decision => {
                self.leads[unit].choose(self.rng).copied()
            }
            Relation::HomeCare if unit != units::HOME_NURSING => self.someone_at(units::ASSESSMENT),
            Relation::Referral => self.someone_at(sent_by),
            _ => self.someone_at(unit),
        }
    }

    /// Midnight after the day of a person's death, where they died.
    fn until_death(&self, subject: u32, at: i64) -> Option<i64> {
        let died = self.people.subjects[subject as usize].deceased?;
        let day = (died - self.clock.date(0)).num_days() as i32;
        let end = self.clock.at(day, 23 * 60);
        (end < at).then_some(end)
    }

    fn alive(&self, subject: u32, at: i64) -> bool {
        self.until_death(subject, at).is_none()
    }

    /// Writes a relation down, late or never as offices do when `slips` says so.
    fn add(
        &mut self,
        subject: u32,
        unit: usize,
        user: Option<u32>,
        kind: Relation,
        period: (i64, Option<i64>),
        slips: bool,
    ) {
        self.add_from(unit, subject, unit, user, kind, period, slips);
    }

    /// The same, sent by another unit.
    #[allow(clippy::too_many_arguments, reason = "the two callers name every argument")]
    fn add_from(
        &mut self,
        sent_by: usize,
        subject: u32,
        unit: usize,
        user: Option<u32>,
        kind: Relation,
        (from, to): (i64, Option<i64>),
        slips: bool,
    ) {
        if !self.alive(subject, from) {
            return;
        }
        let to = match to {
            Some(end) => Some(self.until_death(subject, end).unwrap_or(end)),
            None => self.until_death(subject, i64::MAX),
        };
        let created_by = self.registrar(kind, unit, sent_by);
        let received_by = match kind == Relation::Booking && self.rng.random_bool(0.94) {
            true => self.someone_at_desk(unit),
            false => None,
        };
        let drawn = self.rng.random_range(0..100);
        let created_at = if slips && drawn < 5 {
            from + self.rng.random_range(DAY..10 * DAY)
        } else if kind == Relation::Booking {
            from - self.rng.random_range(2 * HOUR..40 * DAY)
        } else {
            from + self.rng.random_range(0..40 * MINUTE)
        };
        let entered = !(slips && drawn == 5);
        self.out.push(Care {
            subject,
            unit,
            user,
            others: Vec::new(),
            kind,
            from,
            to,
            created_by,
            created_at,
            received_by,
            entered,
        });
    }

    fn admit_relatives(&mut self, admitted: &Admitted) {
        for (place, (staff, relative)) in admitted.iter().enumerate() {
            let unit = self.at_unit.iter().position(|heads| heads.contains(staff)).unwrap_or(units::HERO);
            let day = (self.days / 4 + place as i32 * 3).min(self.days - 4).max(0);
            let (from, to) = (self.clock.at(day, 11 * 60), self.clock.at(day + 6, 13 * 60));
            self.in_bed.insert(*relative);
            self.add(*relative, unit, None, Relation::Admission, (from, Some(to)), false);
        }
    }

    /// Four in five are listed at a health centre.
    fn register(&mut self) {
        for subject in self.by_age.get(&Age::All).cloned().unwrap_or_default() {
            if !self.rng.random_bool(0.8) {
                continue;
            }
            let north = self.north(subject);
            let centre = units::FIRST_PRIMARY
                + match self.rng.random_range(0..10) {
                    0..6 => usize::from(!north),
                    6..9 => 2,
                    _ => usize::from(north),
                };
            let from = self.clock.at(-self.rng.random_range(60..3_000), 12 * 60);
            self.add(subject, centre, None, Relation::Registration, (from, None), false);
        }
    }

    fn north(&self, subject: u32) -> bool {
        self.people.households[self.people.subjects[subject as usize].household as usize].north
    }

    fn fill_wards(&mut self) {
        for (number, unit) in UNITS.iter().enumerate() {
            if unit.kind != Kind::Ward {
                continue;
            }
            let (beds, age) = match number {
                units::CHILDREN => (10, Age::Child),
                units::WOMEN => (10, Age::Woman),
                _ if unit.name.starts_with("Geriatr") => (18, Age::Old),
                _ => (20, Age::Adult),
            };
            for _ in 0..beds {
                let mut day = -self.rng.random_range(1..9);
                while day < self.days {
                    let stay = self.rng.random_range(1..9);
                    self.admit(number, age, day, stay);
                    day += stay + self.rng.random_range(0..2);
                }
            }
        }
    }

    fn admit(&mut self, unit: usize, age: Age, day: i32, stay: i32) {
        let Some(subject) = self.person(age) else { return };
        if !self.in_bed.insert(subject) {
            return;
        }
        let from = self.clock.at(day, self.rng.random_range(9 * 60..19 * 60));
        let to = self.clock.at(day + stay, self.rng.random_range(10 * 60..15 * 60));
        if self.rng.random_bool(0.35) {
            let arrived = from - self.rng.random_range(2 * HOUR..6 * HOUR);
            self.add(subject, units::EMERGENCY, None, Relation::Visit, (arrived, Some(from)), true);
        }
        self.add(subject, unit, None, Relation::Admission, (from, Some(to)), false);
    }

    fn receive_emergencies(&mut self) {
        for day in -2..self.days {
            for _ in 0..30 {
                let Some(subject) = self.person(Age::All) else { return };
                let minute = (self.rng.random_range(0..24 * 60) + self.rng.random_range(8 * 60..23 * 60)) / 2;
                let from = self.clock.at(day, minute);
                let to = from + self.rng.random_range(90 * MINUTE..7 * HOUR);
                self.add(subject, units::EMERGENCY, None, Relation::Visit, (from, Some(to)), true);
            }
        }
    }

    /// Bookings at clinics and health centres, some days ahead too, as real books have them.
    fn book(&mut self) {
        let desks = [
            (units::CHILDREN, 12, Age::Child),
            (units::WOMEN, 14, Age::Woman),
            (units::PSYCHIATRY, 20, Age::Adult),
            (units::FIRST_PRIMARY, 26, Age::All),
            (units::FIRST_PRIMARY + 1, 24, Age::All),
            (units::FIRST_PRIMARY + 2, 20, Age::All),
        ];
        let listed: HashMap<usize, Vec<u32>> = {
            let mut listed: HashMap<usize, Vec<u32>> = HashMap::new();
            for care in self.out.iter().filter(|care| care.kind == Relation::Registration) {
                listed.entry(care.unit).or_default().push(care.subject);
            }
            listed
        };
        for day in -10..self.days + 7 {
            if self.clock.weekday(day) > 4 {
                continue;
            }
            for (unit, count, age) in desks {
                for _ in 0..count {
                    let own = listed.get(&unit).and_then(|people| people.choose(self.rng)).copied();
                    let subject = if self.rng.random_bool(0.9) { own } else { None };
                    let Some(subject) = subject.or_else(|| self.person(age)) else { return };
                    let user = self.someone_at(unit);
                    let from = self.clock.at(day, self.rng.random_range(8 * 4..16 * 4) * 15);
                    self.add(subject, unit, user, Relation::Booking, (from, Some(from + 45 * MINUTE)), true);
                }
            }
        }
    }

    fn send_to_imaging(&mut self) {
        let sent: Vec<(u32, usize, i64)> = self
            .out
            .iter()
            .filter(|care| matches!(care.kind, Relation::Admission | Relation::Visit | Relation::Booking))
            .map(|care| (care.subject, care.unit, care.from))
            .collect();
        for (subject, sent_by, from) in sent {
            if self.rng.random_bool(0.22) {
                let ordered = from + self.rng.random_range(10 * MINUTE..20 * HOUR);
                let period = (ordered, Some(ordered + 6 * DAY));
                self.add_from(sent_by, subject, units::IMAGING, None, Relation::Referral, period, false);
            } else if self.rng.random_bool(0.03) {
                let to = from + 60 * DAY;
                let period = (from, Some(to));
                self.add_from(sent_by, subject, units::PSYCHIATRY, None, Relation::Referral, period, false);
            }
        }
    }

    fn care_at_home(&mut self) {
        let mut old = self.by_age.get(&Age::Old).cloned().unwrap_or_default();
        old.shuffle(self.rng);
        let (clients, nursed) = (old.len() / 2, old.len() / 6);
        for subject in old.iter().take(clients).copied() {
            let from = self.clock.at(-self.rng.random_range(20..1_500), 10 * 60);
            let residence = self.rng.random_bool(0.12);
            let unit = match (residence, self.north(subject)) {
                (true, _) => units::RESIDENCE,
                (false, true) => units::HOME_NORTH,
                (false, false) => units::HOME_SOUTH,
            };
            let handler = self.someone_at(units::ASSESSMENT);
            let to = self.rng.random_bool(0.5).then(|| from + 1_900 * DAY);
            self.add(subject, units::ASSESSMENT, handler, Relation::Decision, (from - 9 * DAY, to), false);
            self.add(subject, unit, None, Relation::HomeCare, (from, None), false);
        }
        for subject in old.into_iter().skip(clients - nursed / 2).take(nursed) {
            let from = self.clock.at(-self.rng.random_range(5..700), 10 * 60);
            self.add(subject, units::HOME_NURSING, None, Relation::HomeCare, (from, None), false);
        }
    }

    fn open_cases(&mut self) {
        let files = [
            (units::INTAKE, 9, Age::All, Relation::Investigation),
            (units::FAMILY, 11, Age::Child, Relation::Investigation),
            (units::FAMILY, 6, Age::Child, Relation::Case),
            (units::AID, 16, Age::Adult, Relation::Case),
        ];
        for (unit, per_head, age, kind) in files {
            let heads = self.at_unit[unit].clone();
            for handler in &heads {
                for _ in 0..per_head {
                    let Some(subject) = self.person(age) else { return };
                    let open = match kind {
                        Relation::Investigation => self.rng.random_range(-100..self.days - 2),
                        _ => -self.rng.random_range(10..500),
                    };
                    let from = self.clock.at(open, self.rng.random_range(9 * 60..15 * 60));
                    let to = (kind == Relation::Investigation).then(|| from + 120 * DAY);
                    let before = self.out.len();
                    self.add(subject, unit, Some(*handler), kind, (from, to), false);
                    if self.out.len() > before
                        && self.rng.random_bool(0.35)
                        && let Some(second) = self.someone_at(unit)
                        && second != *handler
                        && let Some(case) = self.out.last_mut()
                    {
                        case.others.push(second);
                    }
                }
            }
        }
    }

    fn enrol(&mut self) {
        for subject in self.by_age.get(&Age::Pupil).cloned().unwrap_or_default() {
            let unit = if self.north(subject) { units::PUPIL_NORTH } else { units::PUPIL_CENTRE };
            let from = self.clock.at(-self.rng.random_range(45..120), 8 * 60);
            self.add(subject, unit, None, Relation::Enrolment, (from, Some(from + 300 * DAY)), false);
        }
    }

    /// Protected persons have few relations, entered by the chief.
    fn care_for_protected(&mut self) {
        let protected: Vec<u32> = (0..self.people.subjects.len() as u32)
            .filter(|i| self.people.subjects[*i as usize].protected.is_some())
            .collect();
        for (place, subject) in protected.into_iter().enumerate() {
            let day = (3 + place as i32 * 4) % self.days.max(1);
            let from = self.clock.at(day, 10 * 60);
            let unit = [units::FIRST_PRIMARY, units::PSYCHIATRY, units::FIRST_PRIMARY + 1][place % 3];
            let user = self.someone_at(unit);
            self.add(subject, unit, user, Relation::Booking, (from, Some(from + HOUR)), false);
        }
    }
}
