//! Who works in Granvik: titles, employment, and the several accounts that each has.

use std::collections::{HashMap, HashSet};

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::access::Source;
use crate::clock::Clock;
use crate::names::folded;
use crate::people::{Population, given, surname};
use crate::units::{self, Kind, Title, UNITS};

/// A member of staff.
#[derive(Debug, Clone)]
pub(crate) struct Staff {
    /// HSA-id.
    pub user_id: String,
    pub person_id: String,
    /// Where the person lives in Granvik too, their own record.
    pub subject: Option<u32>,
    pub first: &'static str,
    pub last: &'static str,
    pub title: &'static str,
    pub office: bool,
    /// Of a hundred sessions, in how many a note is written.
    pub writes: u32,
    pub address: String,
    pub postcode: String,
    pub unit: usize,
    pub chief: bool,
    /// Opens no records at work: the data protection officer and the like.
    pub apart: bool,
    /// Day of the period (may be far before 0) on which the employment begins, and its last day.
    pub from_day: i32,
    pub to_day: Option<i32>,
    pub agency: bool,
    pub protected: bool,
    /// On loan to another unit between two days.
    pub loan: Option<(usize, i32, i32)>,
    /// Whose login in the social system this person got after that one left.
    pub login_of: Option<usize>,
    /// Account ids in the image archive, the social system and the portal.
    pub accounts: [String; 3],
    /// Records that are never this person's business: their own, their household's, their kin's.
    pub close: Vec<u32>,
}

impl Staff {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }

    /// Employed on that day.
    pub(crate) fn employed(&self, day: i32) -> bool {
        self.from_day <= day && self.to_day.is_none_or(|last| day <= last)
    }

    /// The id that a source's log shows.
    pub(crate) fn account(&self, source: Source) -> &str {
        match source {
            Source::Journal | Source::National => &self.user_id,
            Source::Imaging => &self.accounts[0],
            Source::Social => &self.accounts[1],
            Source::Portal => &self.accounts[2],
        }
    }

    /// The unit that the person works in on a day.
    pub(crate) fn unit_on(&self, day: i32) -> usize {
        match self.loan {
            Some((unit, from, to)) if (from..=to).contains(&day) => unit,
            _ => self.unit,
        }
    }
}

/// The four who work with log reviews in the demo, besides the hero unit's chief.
pub(crate) const OFFICERS: [&str; 4] =
    ["Dataskyddsombud", "Samordnare för logguppföljning", "Utredare", "Driftansvarig"];

/// Employs everyone. `wanted` is approximate: units get their shares.
pub(crate) fn employ(
    rng: &mut ChaCha8Rng,
    people: &mut Population,
    clock: &Clock,
    days: u32,
    wanted: usize,
) -> Vec<Staff> {
    let mut hiring = Hiring::new(rng, people, clock, days);
    let shares: u32 = UNITS.iter().map(|unit| unit.staff).sum();
    for (number, unit) in UNITS.iter().enumerate() {
        let heads = ((unit.staff as usize * wanted).div_ceil(shares as usize)).max(3);
        hiring.chief(number);
        for head in 1..heads {
            let profession = pick_title(hiring.rng, unit.kind, head);
            hiring.hire(number, profession);
        }
    }
    for title in OFFICERS {
        let officer = hiring.outsider(units::QUALITY, title, true, 0);
        hiring.staff[officer].apart = true;
    }
    hiring.reuse_names();
    hiring.lend();
    hiring.open_accounts();
    hiring.find_close();
    hiring.staff
}

/// The first heads of a unit cover its professions; the rest are drawn by weight.
fn pick_title(rng: &mut ChaCha8Rng, kind: Kind, head: usize) -> &'static Title {
    let titles = units::titles(kind);
    if let Some(title) = titles.get(head - 1) {
        return title;
    }
    let total: u32 = titles.iter().map(|title| title.weight).sum();
    let mut left = rng.random_range(0..total);
    for title in titles {
        if left < title.weight {
            return title;
        }
        left -= title.weight;
    }
    &titles[0]
}

struct Hiring<'a> {
    rng: &'a mut ChaCha8Rng,
    people: &'a mut Population,
    clock: &'a Clock,
    days: i32,
    /// Residents of working age who are not yet employed.
    free: Vec<u32>,
    taken: HashSet<u32>,
    hsa: HashSet<u32>,
    staff: Vec<Staff>,
}

impl<'a> Hiring<'a> {
    fn new(rng: &'a mut ChaCha8Rng, people: &'a mut Population, clock: &'a Clock, days: u32) -> Hiring<'a> {
        let today = clock.date(days as i32 - 1);
        let mut free: Vec<u32> = (0..people.subjects.len() as u32)
            .filter(|i| {
                let one = &people.subjects[*i as usize];
                let plain = one.protected.is_none() && !one.public_figure && one.former.is_none();
                plain && one.id_type == crate::numbers::OID_PERSONNUMMER && (21..65).contains(&one.age(today))
            })
            .collect();
        free.shuffle(rng);
        let days = days as i32;
        Hiring {
            rng,
            people,
            clock,
            days,
            free,
            taken: HashSet::new(),
            hsa: HashSet::new(),
            staff: Vec::new(),
        }
    }

    fn chief(&mut self, unit: usize) {
        let title = units::chief(UNITS[unit].kind);
        let chief = self.resident(unit, title, true, 5);
        self.staff[chief].chief = true;
    }

    /// Hires one, and at times the spouse to the same unit.
    fn hire(&mut self, unit: usize, title: &'static Title) {
        let one = if self.rng.random_bool(0.72) {
            self.resident(unit, title.name, title.office, title.writes)
        } else {
            self.outsider(unit, title.name, title.office, title.writes)
        };
        let spouse = self.staff[one].subject.and_then(|subject| self.spouse_of(subject));
        if let Some(spouse) = spouse
            && !self.taken.contains(&spouse)
            && self.rng.random_bool(0.07)
        {
            self.add_resident(spouse, unit, title.name, title.office, title.writes);
        }
    }

    fn spouse_of(&self, subject: u32) -> Option<u32> {
        let today = self.clock.date(self.days - 1);
        let found = self.people.kin.iter().find(|kin| kin.of == subject && kin.kind == "spouse")?;
        let age = self.people.subjects[found.to as usize].age(today);
        (21..65).contains(&age).then_some(found.to)
    }

    fn resident(&mut self, unit: usize, title: &'static str, office: bool, writes: u32) -> usize {
        while let Some(subject) = self.free.pop() {
            if !self.taken.contains(&subject) {
                return self.add_resident(subject, unit, title, office, writes);
            }
        }
        self.outsider(unit, title, office, writes)
    }

    fn add_resident(
        &mut self,
        subject: u32,
        unit: usize,
        title: &'static str,
        office: bool,
        writes: u32,
    ) -> usize {
        self.taken.insert(subject);
        let person = &self.people.subjects[subject as usize];
        let home = &self.people.households[person.household as usize];
        let (first, last, person_id) = (person.first, person.last, person.id.clone());
        let (address, postcode) = (home.address.clone(), home.postcode.clone());
        self.add(unit, title, office, writes, first, last, person_id, Some(subject), address, postcode)
    }

    fn outsider(&mut self, unit: usize, title: &'static str, office: bool, writes: u32) -> usize {
        let today = self.clock.date(self.days - 1);
        let female = self.rng.random_bool(0.75);
        let age = self.rng.random_range(23..64);
        let (_, person_id) = self.people.free_number(self.rng, today, age, female);
        let (first, last) = (given(self.rng, female), surname(self.rng));
        let address = format!("Landsvägen {}, Östanå", self.rng.random_range(1..400));
        self.add(unit, title, office, writes, first, last, person_id, None, address, "998 10".into())
    }

    #[allow(clippy::too_many_arguments, reason = "the two callers above name every argument")]
    fn add(
        &mut self,
        unit: usize,
        title: &'static str,
        office: bool,
        writes: u32,
        first: &'static str,
        last: &'static str,
        person_id: String,
        subject: Option<u32>,
        address: String,
        postcode: String,
    ) -> usize {
        let suffix = loop {
            let number = self.rng.random_range(0x1000..0xffff);
            if self.hsa.insert(number) {
                break number;
            }
        };
        let chief_or_office = title.contains("chef") || OFFICERS.contains(&title);
        let agency = !chief_or_office && self.rng.random_bool(0.08);
        let (from_day, to_day) = if agency {
            let from = self.rng.random_range(-90..self.days / 2);
            (from, Some(from + self.rng.random_range(14..110)))
        } else if !chief_or_office && self.rng.random_bool(0.03) {
            (-self.rng.random_range(200..4_000), Some(self.rng.random_range(-25..self.days.max(2))))
        } else {
            (-self.rng.random_range(120..7_000), None)
        };
        self.staff.push(Staff {
            user_id: format!("{}-{suffix:04X}", units::ORGANISATION),
            person_id,
            subject,
            first,
            last,
            title,
            office,
            writes,
            address,
            postcode,
            unit,
            chief: false,
            apart: false,
            from_day,
            to_day,
            agency,
            protected: false,
            loan: None,
            login_of: None,
            accounts: Default::default(),
            close: Vec::new(),
        });
        self.staff.len() - 1
    }

    /// In home care a temp leaves, and another person of the same name gets the same login.
    fn reuse_names(&mut self) {
        for unit in [units::HOME_NORTH, units::HOME_SOUTH] {
            let pair: Vec<usize> = (0..self.staff.len())
                .filter(|i| self.staff[*i].unit == unit && !self.staff[*i].chief && !self.staff[*i].office)
                .take(8)
                .collect();
            let Some(leaver) = pair.iter().copied().find(|i| self.staff[*i].subject.is_none()) else {
                continue;
            };
            let joiner = self.outsider(unit, "Vårdbiträde", false, 30);
            let middle = self.days / 2;
            self.staff[leaver].agency = true;
            self.staff[leaver].from_day = -40;
            self.staff[leaver].to_day = Some(middle - 4);
            self.staff[joiner].first = self.staff[leaver].first;
            self.staff[joiner].last = self.staff[leaver].last;
            self.staff[joiner].login_of = Some(leaver);
            self.staff[joiner].agency = true;
            self.staff[joiner].from_day = middle;
            self.staff[joiner].to_day = None;
        }
        if let Some(one) = self.staff.iter_mut().find(|one| one.unit == units::FAMILY && !one.chief) {
            one.protected = true;
        }
    }

    /// Two in a hundred work some days in another unit than the one they are assigned to.
    fn lend(&mut self) {
        let mut order: Vec<usize> = (0..self.staff.len()).filter(|i| !self.staff[*i].apart).collect();
        order.shuffle(self.rng);
        let wanted = (self.staff.len() / 50).max(1);
        let mut lent = 0;
        for one in order {
            let home = &UNITS[self.staff[one].unit];
            let movable = matches!(home.kind, Kind::Ward | Kind::Emergency | Kind::HomeCare | Kind::Primary);
            if lent == wanted || !movable || self.staff[one].chief || self.staff[one].to_day.is_some() {
                continue;
            }
            let others: Vec<usize> = (0..UNITS.len())
                .filter(|i| {
                    let other = &UNITS[*i];
                    *i != self.staff[one].unit && other.kind == home.kind && other.source == home.source
                })
                .collect();
            if let Some(other) = others.choose(self.rng) {
                let from = self.rng.random_range(0..self.days.max(2) - 1);
                self.staff[one].loan = Some((*other, from, from + self.rng.random_range(2..9)));
                lent += 1;
            }
        }
    }

    /// Every system names people its own way.
    fn open_accounts(&mut self) {
        let mut short: HashMap<String, u32> = HashMap::new();
        let mut dotted: HashMap<String, u32> = HashMap::new();
        let mut portal: HashSet<String> = HashSet::new();
        for (place, one) in self.staff.iter_mut().enumerate() {
            let (first, last) = (folded(one.first), folded(one.last));
            let stem = format!("{}{}", &first[..first.len().min(3)], &last[..last.len().min(3)]);
            let serial = short.entry(stem.clone()).or_default();
            *serial += 1;
            let login = format!("{first}.{last}");
            let same = dotted.entry(login.clone()).or_default();
            *same += 1;
            let login = if *same == 1 { login } else { format!("{login}{same}") };
            let mut web =
                format!("{}{}{:02}", &first[..first.len().min(2)], &last[..last.len().min(2)], place % 97);
            if !portal.insert(web.clone()) {
                web = format!("{web}x{place}");
            }
            one.accounts = [format!("GRV\\{stem}{serial:02}"), login, web];
        }
        for one in 0..self.staff.len() {
            if let Some(leaver) = self.staff[one].login_of {
                self.staff[one].accounts[1] = self.staff[leaver].accounts[1].clone();
            }
        }
    }

    fn find_close(&mut self) {
        let mut kin: HashMap<u32, Vec<u32>> = HashMap::new();
        for row in &self.people.kin {
            kin.entry(row.of).or_default().push(row.to);
        }
        for one in &mut self.staff {
            let Some(subject) = one.subject else { continue };
            let home = self.people.subjects[subject as usize].household;
            one.close.extend(&self.people.households[home as usize].members);
            one.close.extend(kin.get(&subject).into_iter().flatten());
        }
    }
}
