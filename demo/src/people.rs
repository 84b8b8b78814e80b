//! Who lives in Granvik, and who works there.

use std::collections::HashSet;

use chrono::{Datelike, Days, NaiveDate};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::clock::Clock;
use crate::names::{MEN, STREETS, SURNAMES, WOMEN};
use crate::numbers::{self, OID_PERSONNUMMER, OID_REGIONAL, OID_RESERVNUMMER, OID_SAMORDNINGSNUMMER};

/// A person whose record can be opened.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub id: String,
    pub id_type: &'static str,
    /// The number that logs carried before `changed_at`.
    pub former: Option<Former>,
    pub first: &'static str,
    pub last: &'static str,
    pub female: bool,
    pub born: NaiveDate,
    pub household: u32,
    /// Kind of protection, where the person's identity is protected.
    pub protected: Option<&'static str>,
    pub public_figure: bool,
    pub deceased: Option<NaiveDate>,
}

/// A number that a person no longer has.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    pub id: String,
    pub id_type: &'static str,
    /// Seconds since 1970: from then on logs carry the new number.
    pub changed_at: i64,
}

impl Subject {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }

    /// Age in whole years on a date.
    pub(crate) fn age(&self, on: NaiveDate) -> i32 {
        let had_birthday = (on.month(), on.day()) >= (self.born.month(), self.born.day());
        on.year() - self.born.year() - i32::from(!had_birthday)
    }

    /// The number, and its issuer, that a log written at `at` carries.
    pub(crate) fn number_at(&self, at: i64) -> (&str, &'static str) {
        match &self.former {
            Some(former) if at < former.changed_at => (&former.id, former.id_type),
            _ => (&self.id, self.id_type),
        }
    }
}

/// People at one address.
#[derive(Debug, Clone)]
pub(crate) struct Household {
    pub address: String,
    pub postcode: String,
    pub north: bool,
    pub members: Vec<u32>,
}

/// Two persons' kinship, one row a direction.
#[derive(Debug, Clone)]
pub(crate) struct Kin {
    pub of: u32,
    pub to: u32,
    pub kind: &'static str,
}

/// The inhabitants.
#[derive(Debug, Default)]
pub(crate) struct Population {
    pub subjects: Vec<Subject>,
    pub households: Vec<Household>,
    pub kin: Vec<Kin>,
    pub used: HashSet<String>,
}

impl Population {
    pub(crate) fn grow(rng: &mut ChaCha8Rng, clock: &Clock, days: u32, wanted: usize) -> Population {
        let today = clock.date(days as i32 - 1);
        let mut all = Population::default();
        while all.subjects.len() < wanted {
            all.settle(rng, today);
        }
        all.link_generations(rng, today);
        all.part_couples(rng, today);
        all.mark(rng, clock, days, today);
        all
    }

    /// Moves a household in.
    fn settle(&mut self, rng: &mut ChaCha8Rng, today: NaiveDate) {
        let street = rng.random_range(0..STREETS.len());
        let mut address = format!("{} {}", STREETS[street], rng.random_range(1..96));
        if rng.random_bool(0.55) {
            address.push_str(&format!(" lgh 1{}0{}", rng.random_range(0..6), rng.random_range(1..7)));
        }
        let north = street < STREETS.len() / 2;
        let postcode =
            format!("99{} {}{}", if north { 1 } else { 6 }, street % 9 + 1, rng.random_range(0..5));
        let number = self.households.len() as u32;
        self.households.push(Household { address, postcode, north, members: Vec::new() });
        let name = surname(rng);
        match rng.random_range(0..100) {
            0..44 => {
                let age = rng.random_range(20..97);
                self.add(rng, today, number, age, None, name);
            }
            44..72 => {
                let age = rng.random_range(22..91);
                self.couple(rng, today, number, age, name);
            }
            72..92 => {
                let age = rng.random_range(26..52);
                let (one, other) = self.couple(rng, today, number, age, name);
                self.children(rng, today, number, age, &[one, other], name);
            }
            _ => {
                let age = rng.random_range(25..52);
                let parent = self.add(rng, today, number, age, None, name);
                self.children(rng, today, number, age, &[parent], name);
            }
        }
    }

    fn couple(
        &mut self,
        rng: &mut ChaCha8Rng,
        today: NaiveDate,
        household: u32,
        age: i32,
        name: &'static str,
    ) -> (u32, u32) {
        let female = rng.random_bool(0.5);
        let one = self.add(rng, today, household, age, Some(female), name);
        let near = (age + rng.random_range(-4..5)).max(20);
        let name = if rng.random_bool(0.7) { name } else { surname(rng) };
        let same = rng.random_bool(0.03);
        let other = self.add(rng, today, household, near, Some(female == same), name);
        self.relate(one, other, "spouse", "spouse");
        (one, other)
    }

    fn children(
        &mut self,
        rng: &mut ChaCha8Rng,
        today: NaiveDate,
        household: u32,
        age: i32,
        parents: &[u32],
        name: &'static str,
    ) {
        let oldest = (age - 20).min(19);
        let children: Vec<u32> = (0..rng.random_range(1..4))
            .map(|_| {
                let age = rng.random_range(0..=oldest);
                self.add(rng, today, household, age, None, name)
            })
            .collect();
        for (place, child) in children.iter().enumerate() {
            for parent in parents {
                self.relate(*parent, *child, "child", "parent");
            }
            for sibling in &children[place + 1..] {
                self.relate(*child, *sibling, "sibling", "sibling");
            }
        }
    }

    /// Adds both directions: `to` is `kind` of `of`.
    fn relate(&mut self, of: u32, to: u32, kind: &'static str, back: &'static str) {
        self.kin.push(Kin { of, to, kind });
        self.kin.push(Kin { of: to, to: of, kind: back });
    }

    fn add(
        &mut self,
        rng: &mut ChaCha8Rng,
        today: NaiveDate,
        household: u32,
        age: i32,
        female: Option<bool>,
        last: &'static str,
    ) -> u32 {
        let female = female.unwrap_or_else(|| rng.random_bool(0.5));
        let (born, id) = self.free_number(rng, today, age, female);
        let first = given(rng, female);
        let subject = Subject {
            id,
            id_type: OID_PERSONNUMMER,
            former: None,
            first,
            last,
            female,
            born,
            household,
            protected: None,
            public_figure: false,
            deceased: None,
        };
        let index = self.subjects.len() as u32;
        self.subjects.push(subject);
        self.households[household as usize].members.push(index);
        index
    }

    /// A birthday at that age whose personnummer nobody has yet.
    pub(crate) fn free_number(
        &mut self,
        rng: &mut ChaCha8Rng,
        today: NaiveDate,
        age: i32,
        female: bool,
    ) -> (NaiveDate, String) {
        loop {
            let back = u64::from(age.unsigned_abs()) * 36_525 / 100 + rng.random_range(1..365);
            let born = today.checked_sub_days(Days::new(back)).unwrap_or(today);
            let id = numbers::personnummer(born, female);
            // A date has one number for each sex here; a crowded year lends a date of the years around it.
            if self.used.insert(id.clone()) {
                return (born, id);
            }
            let shifted = born.checked_sub_days(Days::new(rng.random_range(0..500))).unwrap_or(born);
            let id = numbers::personnummer(shifted, female);
            if self.used.insert(id.clone()) {
                return (shifted, id);
            }
        }
    }

    /// Elders get grown children in other households.
    fn link_generations(&mut self, rng: &mut ChaCha8Rng, today: NaiveDate) {
        let age = |subject: &Subject| subject.age(today);
        let mut grown: Vec<u32> = (0..self.subjects.len() as u32)
            .filter(|i| (25..58).contains(&age(&self.subjects[*i as usize])))
            .collect();
        grown.shuffle(rng);
        let elders: Vec<u32> =
            (0..self.subjects.len() as u32).filter(|i| age(&self.subjects[*i as usize]) > 58).collect();
        for elder in elders {
            if !rng.random_bool(0.3) {
                continue;
            }
            let Some(child) = grown.pop() else { break };
            let gap = age(&self.subjects[elder as usize]) - age(&self.subjects[child as usize]);
            if (20..45).contains(&gap) {
                if rng.random_bool(0.5) {
                    self.subjects[child as usize].last = self.subjects[elder as usize].last;
                }
                self.relate(elder, child, "child", "parent");
            }
        }
    }

    /// Some who live alone were once a couple.
    fn part_couples(&mut self, rng: &mut ChaCha8Rng, today: NaiveDate) {
        let alone: Vec<u32> = self
            .households
            .iter()
            .filter(|household| household.members.len() == 1)
            .map(|household| household.members[0])
            .filter(|one| (28..66).contains(&self.subjects[*one as usize].age(today)))
            .collect();
        for pair in alone.chunks_exact(2) {
            let (one, other) = (&self.subjects[pair[0] as usize], &self.subjects[pair[1] as usize]);
            if one.female != other.female
                && (one.age(today) - other.age(today)).abs() < 9
                && rng.random_bool(0.3)
            {
                self.relate(pair[0], pair[1], "former_spouse", "former_spouse");
            }
        }
    }

    /// Protection, death, other numbers: what makes a person's record special.
    fn mark(&mut self, rng: &mut ChaCha8Rng, clock: &Clock, days: u32, today: NaiveDate) {
        let mut order: Vec<u32> = (0..self.subjects.len() as u32).collect();
        order.shuffle(rng);
        let mut adults: Vec<u32> = order
            .iter()
            .copied()
            .filter(|i| (22..60).contains(&self.subjects[*i as usize].age(today)))
            .collect();
        let kinds =
            ["sekretessmarkering", "skyddad folkbokföring", "skyddad folkbokföring", "fingerade uppgifter"];
        for kind in kinds.into_iter().cycle().take(6) {
            if let Some(one) = adults.pop() {
                self.subjects[one as usize].protected = Some(kind);
            }
        }
        for _ in 0..5 {
            if let Some(one) = adults.pop() {
                self.subjects[one as usize].public_figure = true;
            }
        }
        let alone = |all: &Population, i: &u32| {
            all.households[all.subjects[*i as usize].household as usize].members.len() == 1
        };
        let mut single: Vec<u32> = adults.iter().copied().filter(|i| alone(self, i)).collect();
        for serial in 0..24 {
            let Some(one) = single.pop() else { break };
            let subject = &mut self.subjects[one as usize];
            let changed_at = clock.at(rng.random_range(1..days.max(3) as i32), 10 * 60);
            match serial {
                0..12 => {
                    subject.id = numbers::samordningsnummer(subject.born, subject.female);
                    subject.id_type = OID_SAMORDNINGSNUMMER;
                }
                12..15 => {
                    subject.id = numbers::reservnummer(subject.born, serial);
                    subject.id_type = OID_RESERVNUMMER;
                }
                15..18 => {
                    subject.id = numbers::regional(serial);
                    subject.id_type = OID_REGIONAL;
                }
                18..21 => {
                    let id = numbers::reservnummer(subject.born, serial);
                    subject.former = Some(Former { id, id_type: OID_RESERVNUMMER, changed_at });
                }
                _ => {
                    let id = numbers::samordningsnummer(subject.born, subject.female);
                    subject.former = Some(Former { id, id_type: OID_SAMORDNINGSNUMMER, changed_at });
                }
            }
        }
        let old: Vec<u32> =
            order.iter().copied().filter(|i| self.subjects[*i as usize].age(today) > 64).take(80).collect();
        for (place, one) in old.into_iter().enumerate() {
            let day = if place < 18 && days > 4 {
                rng.random_range(2..days as i32 - 1)
            } else {
                -rng.random_range(25..900)
            };
            self.subjects[one as usize].deceased = Some(clock.date(day));
        }
    }
}

/// A surname, common ones far more often.
pub(crate) fn surname(rng: &mut ChaCha8Rng) -> &'static str {
    let skewed = rng.random_range(0.0_f64..1.0).powf(1.9);
    SURNAMES[((skewed * SURNAMES.len() as f64) as usize).min(SURNAMES.len() - 1)]
}

/// A given name.
pub(crate) fn given(rng: &mut ChaCha8Rng, female: bool) -> &'static str {
    let names = if female { WOMEN } else { MEN };
    names.choose(rng).copied().unwrap_or("Kim")
}
