//! Honest work, with the slips and oddities that honest work has.

use std::collections::HashMap;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::access::{Access, Activity, Source, parts, reads_shared};
use crate::care::{Care, Relation};
use crate::clock::{HOUR, MINUTE};
use crate::ground::{Due, Ground};
use crate::units::{Kind, UNITS};

/// A consent to shared records (lag 2022:913, chapter 3).
#[derive(Debug, Clone)]
pub(crate) struct Consent {
    pub subject: u32,
    pub unit: usize,
    pub from: i64,
    pub created_by: u32,
}

/// Honest noise that a reviewer will meet: its kind and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    pub kind: &'static str,
    pub source: Source,
    pub staff: u32,
    pub subject: u32,
}

/// What honest work left behind.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub accesses: Vec<Access>,
    pub consents: Vec<Consent>,
    pub noise: Vec<Noise>,
}

/// Thirty days of it. Nothing happens after `end`.
pub(crate) fn do_it(rng: &mut ChaCha8Rng, ground: &Ground<'_>, days: i32, end: i64, per_day: usize) -> Work {
    let mut shift = Workday {
        rng,
        ground,
        end,
        consented: HashMap::new(),
        namesakes: namesakes(ground),
        out: Work::default(),
    };
    let loads: u32 = UNITS.iter().map(|unit| unit.load).sum();
    for day in 0..days {
        let weekend = ground.clock.weekday(day) > 4;
        for (unit, known) in UNITS.iter().enumerate() {
            let share = per_day as f64 * f64::from(known.load) / f64::from(loads);
            let factor = match (known.kind.weekends(), weekend) {
                (true, false) => 1.06,
                (true, true) => 0.86,
                (false, false) => 1.38,
                (false, true) => 0.0,
            };
            let quota = (share * factor).round() as usize;
            if known.kind == Kind::Quality {
                shift.follow_up_quality(unit, day, quota);
            } else {
                shift.work(unit, day, quota);
            }
        }
    }
    shift.out
}

/// Subjects by surname: a mistaken opening hits a namesake.
fn namesakes(ground: &Ground<'_>) -> HashMap<&'static str, Vec<u32>> {
    let mut by_name: HashMap<&'static str, Vec<u32>> = HashMap::new();
    for (number, one) in ground.people.subjects.iter().enumerate() {
        if one.protected.is_none() && one.deceased.is_none() && !one.public_figure {
            by_name.entry(one.last).or_default().push(number as u32);
        }
    }
    by_name
}

struct Workday<'a, 'g> {
    rng: &'a mut ChaCha8Rng,
    ground: &'a Ground<'g>,
    end: i64,
    consented: HashMap<(u32, usize), bool>,
    namesakes: HashMap<&'static str, Vec<u32>>,
    out: Work,
}

impl Workday<'_, '_> {
    fn work(&mut self, unit: usize, day: i32, quota: usize) {
        let due = self.ground.due(unit, day);
        let (mut made, mut tries) = (0, quota * 4);
        while made < quota && tries > 0 {
            tries -= 1;
            let Some(care) = self.ground.draw(self.rng, &due) else { return };
            let Some((at, staff)) = self.ground.look(self.rng, care, day) else { continue };
            made += self.session(care, &due, at, staff);
        }
    }

    /// One sitting with one record: read, perhaps write, perhaps sign. Gives the number of looks.
    fn session(&mut self, care: &Care, due: &[Due], at: i64, staff: u32) -> usize {
        let user = &self.ground.staff[staff as usize];
        // Staff on loan act from either unit: some sign in where they stand, others as they always do.
        let unit = if user.unit != care.unit && staff.is_multiple_of(2) { user.unit } else { care.unit };
        let source = UNITS[care.unit].source;
        let mut look = blank(at, source, staff, unit, care.subject);
        let drawn = self.rng.random_range(0..1_000);
        let before = self.out.accesses.len();
        match drawn {
            0..3 if matches!(source, Source::Journal | Source::Social) => self.mistake(&look),
            3..6 if matches!(source, Source::Journal | Source::Portal) => {
                look.refused = true;
                self.push(look);
                return 1;
            }
            _ => {}
        }
        let kind = UNITS[care.unit].kind;
        let risky = match kind {
            Kind::Emergency => 25,
            Kind::Ward => 2,
            _ => 0,
        };
        let emergency = self.rng.random_range(0..1_000) < risky && at < self.end - 3 * HOUR;
        look.emergency = emergency;
        self.read(&mut look);
        if emergency {
            look.emergency = false;
            look.at += self.rng.random_range(4 * MINUTE..35 * MINUTE);
            look.activity = Activity::Write;
            look.part = 0;
            self.push(look.clone());
        } else if self.rng.random_range(0..100) < user.writes {
            self.write(&mut look);
        } else if self.rng.random_range(0..1_000) < 12 {
            look.activity = Activity::Print;
            self.push(look.clone());
        }
        if reads_shared(care.unit) && care.kind != Relation::Registration {
            self.read_elsewhere(care, due, look.at, staff, unit);
        }
        self.out.accesses.len() - before
    }

    fn read(&mut self, look: &mut Access) {
        let count = 1 + self.rng.random_range(0..100_u32) / 42 + u32::from(self.rng.random_range(0..10) == 0);
        for turn in 0..count {
            look.part = self.rng.random_range(0..parts(look.source).len()) as u8;
            self.push(look.clone());
            if turn == 0 {
                look.emergency = false;
            }
            look.at += self.rng.random_range(8..170);
        }
    }

    fn write(&mut self, look: &mut Access) {
        look.at += self.rng.random_range(30..600);
        look.activity = Activity::Write;
        look.part = u8::from(look.source == Source::Social);
        self.push(look.clone());
        if self.rng.random_bool(0.4) {
            look.at += self.rng.random_range(10..120);
            look.activity = Activity::Sign;
            self.push(look.clone());
        }
    }

    /// Images at the hospital, and what other providers have written, with the person's consent.
    fn read_elsewhere(&mut self, care: &Care, due: &[Due], at: i64, staff: u32, unit: usize) {
        let drawn = self.rng.random_range(0..100);
        let clinical = matches!(
            self.ground.staff[staff as usize].title,
            "Läkare" | "Sjuksköterska" | "Distriktssköterska"
        );
        if !clinical {
            return;
        }
        if drawn < 5 && UNITS[care.unit].source == Source::Journal {
            let mut look = blank(at + 40, Source::Imaging, staff, unit, care.subject);
            self.read(&mut look);
        } else if (5..23).contains(&drawn) && self.consent(care, at, staff) {
            let mut look = blank(at + 25, Source::National, staff, unit, care.subject);
            if self.rng.random_range(0..60) == 0 {
                let other = self.ground.draw(self.rng, due).map(|other| other.subject);
                let close = &self.ground.staff[staff as usize].close;
                look.second = other.filter(|one| *one != care.subject && !close.contains(one));
                if look.second.is_some() {
                    self.push(look.clone());
                    look.second = None;
                    look.at += 15;
                }
            }
            self.read(&mut look);
        }
    }

    /// Asks for consent the first time; most give it, and a colleague often enters it.
    fn consent(&mut self, care: &Care, at: i64, staff: u32) -> bool {
        if let Some(given) = self.consented.get(&(care.subject, care.unit)) {
            return *given;
        }
        let given = self.rng.random_bool(0.93);
        self.consented.insert((care.subject, care.unit), given);
        if given {
            let from = at - self.rng.random_range(3 * MINUTE..5 * HOUR);
            let colleague = self.ground.on_duty(care.unit, from).choose(self.rng).copied();
            let created_by = colleague.filter(|_| self.rng.random_bool(0.6)).unwrap_or(staff);
            self.out.consents.push(Consent { subject: care.subject, unit: care.unit, from, created_by });
        }
        given
    }

    /// The wrong namesake is opened, seen to be wrong, and left at once.
    fn mistake(&mut self, look: &Access) {
        let meant = &self.ground.people.subjects[look.subject as usize];
        let close = &self.ground.staff[look.staff as usize].close;
        let Some(same) = self.namesakes.get(meant.last) else { return };
        let Some(wrong) = same.choose(self.rng).copied() else { return };
        if wrong == look.subject || close.contains(&wrong) || look.at - 40 > self.end {
            return;
        }
        let noise =
            Noise { kind: "mistaken_opening", source: look.source, staff: look.staff, subject: wrong };
        self.out.noise.push(noise);
        let mut look = look.clone();
        look.subject = wrong;
        look.at -= 40;
        look.noise = self.out.noise.len() as u16;
        self.push(look);
    }

    /// Closed stays are read again to see whether routines were kept: no care relation, another purpose.
    fn follow_up_quality(&mut self, unit: usize, day: i32, quota: usize) {
        let from = self.ground.clock.at(day, 0);
        let closed: Vec<&Care> = self
            .ground
            .care
            .iter()
            .filter(|care| care.kind == Relation::Admission && care.to.is_some_and(|end| end < from))
            .collect();
        for _ in 0..quota {
            let at = from + self.rng.random_range(8 * HOUR..16 * HOUR);
            let here = self.ground.on_duty(unit, at);
            let (Some(staff), Some(care)) = (here.choose(self.rng), closed.choose(self.rng)) else {
                continue;
            };
            if self.ground.staff[*staff as usize].close.contains(&care.subject) {
                continue;
            }
            let mut look = blank(at, UNITS[unit].source, *staff, unit, care.subject);
            look.quality = true;
            self.push(look);
        }
    }

    fn push(&mut self, look: Access) {
        if look.at <= self.end {
            self.out.accesses.push(look);
        }
    }
}

/// A plain read, to be made into what is wanted.
pub(crate) fn blank(at: i64, source: Source, staff: u32, unit: usize, subject: u32) -> Access {
    Access {
        at,
        source,
        staff,
        unit: unit as u16,
        subject,
        second: None,
        activity: Activity::Read,
        part: 0,
        emergency: false,
        quality: false,
        refused: false,
        number: 0,
        planted: 0,
        noise: 0,
    }
}
