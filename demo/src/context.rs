//! The context tables: what the organisation itself knows about its staff, its people and its care.

use std::collections::HashSet;

use crate::World;
use crate::access::Source;
use crate::care::Relation;
use crate::clock::{DAY, MINUTE, rfc3339};
use crate::staff::Staff;
use crate::units::{self, PARENTS, PRIVATE, PRIVATE_UNIT, PROVIDERS, UNITS};

/// One CSV file: its name without extension and its text.
pub(crate) struct Table {
    pub name: &'static str,
    pub text: String,
    pub rows: usize,
}

impl Table {
    fn new(name: &'static str, header: &str) -> Table {
        Table { name, text: format!("{header}\n"), rows: 0 }
    }

    fn row(&mut self, fields: &[&str]) {
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            if field.contains([',', '"', '\n']) {
                self.text.push('"');
                self.text.push_str(&field.replace('"', "\"\""));
                self.text.push('"');
            } else {
                self.text.push_str(field);
            }
        }
        self.text.push('\n');
        self.rows += 1;
    }
}

const YES_NO: [&str; 2] = ["false", "true"];

fn yes(value: bool) -> &'static str {
    YES_NO[usize::from(value)]
}

/// Every table of the context folder.
pub(crate) fn tables(world: &World) -> Vec<Table> {
    vec![
        units_table(world),
        staff(world),
        accounts(world),
        identities(world),
        assignments(world),
        subjects(world),
        watchlist(world),
        care_relations(world),
        schedule(world),
        kinship(world),
        consents(world),
        blocks(world),
        rights(world),
        places(),
    ]
}

fn units_table(world: &World) -> Table {
    let mut table = Table::new(
        "units",
        "care_unit_id,name,care_provider_id,care_provider_name,parent_unit_id,manager_user_id,deputy_user_id,controller_id",
    );
    for (id, name, provider, board) in PARENTS {
        let (provider_id, provider_name) = PROVIDERS[*provider];
        table.row(&[id, name, provider_id, provider_name, "", "", "", board]);
    }
    for (number, unit) in UNITS.iter().enumerate() {
        let of_unit = || world.staff.iter().filter(move |one| one.unit == number && !one.apart);
        let chief = of_unit().find(|one| one.chief).map_or("", |one| &one.user_id);
        let steady = |one: &&Staff| !one.chief && one.to_day.is_none() && one.from_day < 0;
        let deputy = of_unit().find(steady).map_or("", |one| &one.user_id);
        let (provider_id, provider_name) = PROVIDERS[unit.provider];
        table.row(&[
            unit.id,
            unit.name,
            provider_id,
            provider_name,
            PARENTS[unit.parent].0,
            chief,
            deputy,
            unit.board,
        ]);
    }
    let (provider_id, provider_name) = PROVIDERS[PRIVATE];
    table.row(&[PRIVATE_UNIT.0, PRIVATE_UNIT.1, provider_id, provider_name, "", "", "", provider_id]);
    table
}

fn staff(world: &World) -> Table {
    let mut table = Table::new(
        "staff",
        "user_id,person_id,name,title,address,postcode,employed_from,employed_to,employer,protected_identity",
    );
    for one in &world.staff {
        let employer =
            if one.agency { "Bemanning Granvik AB" } else { PROVIDERS[UNITS[one.unit].provider].1 };
        let from = world.clock.date(one.from_day).to_string();
        let to = one.to_day.map(|day| world.clock.date(day).to_string()).unwrap_or_default();
        let (address, postcode) =
            if one.protected { ("", "") } else { (one.address.as_str(), one.postcode.as_str()) };
        table.row(&[
            &one.user_id,
            &one.person_id,
            &one.name(),
            one.title,
            address,
            postcode,
            &from,
            &to,
            employer,
            yes(one.protected),
        ]);
    }
    table
}

/// Accounts are closed when the employment ends, but for those that were forgotten.
fn accounts(world: &World) -> Table {
    let mut table = Table::new("accounts", "source,account_id,user_id,valid_from,valid_to");
    let forgotten: HashSet<u32> =
        world.plans.iter().filter(|plan| plan.kind == "after_employment").map(|plan| plan.staff).collect();
    for (number, one) in world.staff.iter().enumerate().filter(|(_, one)| !one.apart) {
        let from = world.clock.date(one.from_day).to_string();
        let open = forgotten.contains(&(number as u32));
        let to =
            one.to_day.filter(|_| !open).map(|day| world.clock.date(day).to_string()).unwrap_or_default();
        for source in [Source::Imaging, Source::Social, Source::Portal] {
            table.row(&[source.name(), one.account(source), &one.user_id, &from, &to]);
        }
    }
    table
}

fn identities(world: &World) -> Table {
    let mut table = Table::new("identities", "subject_id,other_id,other_id_type,valid_from");
    for one in &world.people.subjects {
        if let Some(former) = &one.former {
            table.row(&[&one.id, &former.id, former.id_type, &rfc3339(former.changed_at)]);
        }
    }
    table
}

fn assignments(world: &World) -> Table {
    let mut table = Table::new("assignments", "user_id,care_unit_id,role,valid_from,valid_to,purpose");
    for one in world.staff.iter().filter(|one| !one.apart) {
        let from = world.clock.date(one.from_day).to_string();
        let to = one.to_day.map(|day| world.clock.date(day).to_string()).unwrap_or_default();
        let purpose = if one.unit == units::QUALITY { "Kvalitetssäkring" } else { "Vård och behandling" };
        table.row(&[&one.user_id, UNITS[one.unit].id, one.title, &from, &to, purpose]);
    }
    table
}

fn subjects(world: &World) -> Table {
    let mut table = Table::new(
        "subjects",
        "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on,protection_kind",
    );
    for one in &world.people.subjects {
        let home = &world.people.households[one.household as usize];
        let hidden = one.protected.is_some();
        let (address, postcode) =
            if hidden { ("", "") } else { (home.address.as_str(), home.postcode.as_str()) };
        let died = one.deceased.map(|day| day.to_string()).unwrap_or_default();
        table.row(&[
            &one.id,
            &one.name(),
            address,
            postcode,
            yes(hidden),
            yes(one.public_figure),
            &died,
            one.protected.unwrap_or(""),
        ]);
    }
    table
}

/// Public figures, and two persons who were in the news for a while.
fn watchlist(world: &World) -> Table {
    let mut table = Table::new("watchlist", "subject_id,reason,decided_by,valid_from,valid_to");
    let decided_by = world.staff.iter().find(|one| one.apart).map_or("", |one| &one.user_id);
    let from = world.clock.date(-60).to_string();
    for one in world.people.subjects.iter().filter(|one| one.public_figure) {
        table.row(&[&one.id, "Förtroendevald", decided_by, &from, ""]);
    }
    let plain = world.people.subjects.iter().filter(|one| {
        one.former.is_none() && one.deceased.is_none() && !one.public_figure && one.protected.is_none()
    });
    for (place, one) in plain.skip(40).step_by(997).take(2).enumerate() {
        let day = place as i32 * 8 + 2;
        let (from, to) = (world.clock.date(day).to_string(), world.clock.date(day + 20).to_string());
        table.row(&[&one.id, "Omskriven i lokalpressen", decided_by, &from, &to]);
    }
    table
}

/// What had been entered by the end; what is entered later is not there yet.
fn care_relations(world: &World) -> Table {
    let mut table = Table::new(
        "care_relations",
        "subject_id,care_unit_id,user_id,kind,valid_from,valid_to,created_by,created_at",
    );
    for care in world.care.iter().filter(|care| care.entered && care.created_at <= world.end) {
        let id = &world.people.subjects[care.subject as usize].id;
        let user =
            |number: Option<u32>| number.map_or("", |number| world.staff[number as usize].user_id.as_str());
        let (from, to) = (rfc3339(care.from), care.to.map(rfc3339).unwrap_or_default());
        let (created_by, created_at) = (user(care.created_by), rfc3339(care.created_at));
        // That the person came is a row of its own, by whoever was at the desk; as late as the booking, where that was late.
        let came_at = care.created_at.max(care.from + MINUTE);
        if care.received_by.is_some() && care.from <= world.end && came_at <= world.end {
            let (unit, by) = (UNITS[care.unit].id, user(care.received_by));
            table.row(&[id, unit, user(care.user), "visit", &from, &to, by, &rfc3339(came_at)]);
        }
        let holders = std::iter::once(care.user).chain(care.others.iter().map(|other| Some(*other)));
        for holder in holders {
            table.row(&[
                id,
                UNITS[care.unit].id,
                user(holder),
                care.kind.name(),
                &from,
                &to,
                created_by,
                &created_at,
            ]);
        }
    }
    table
}

fn schedule(world: &World) -> Table {
    let mut table = Table::new("schedule", "user_id,care_unit_id,starts_at,ends_at,kind");
    for shift in &world.shifts {
        let user = &world.staff[shift.staff as usize].user_id;
        table.row(&[user, UNITS[shift.unit].id, &rfc3339(shift.from), &rfc3339(shift.to), shift.kind]);
    }
    table
}

/// Kin of staff: an organisation has no right to everyone's. Protected persons are left out.
fn kinship(world: &World) -> Table {
    let mut table = Table::new("kinship", "subject_id,related_id,kind,valid_from,valid_to");
    let employed: HashSet<u32> = world.staff.iter().filter_map(|one| one.subject).collect();
    let subjects = &world.people.subjects;
    let plain = |number: u32| subjects[number as usize].protected.is_none();
    for kin in &world.people.kin {
        let of_staff = employed.contains(&kin.of) || employed.contains(&kin.to);
        if of_staff && plain(kin.of) && plain(kin.to) {
            table.row(&[&subjects[kin.of as usize].id, &subjects[kin.to as usize].id, kin.kind, "", ""]);
        }
    }
    table
}

fn consents(world: &World) -> Table {
    let mut table = Table::new(
        "consents",
        "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,against_id,given_by,created_by,created_at,lifted_by,lifted_at",
    );
    for one in &world.consents {
        let id = &world.people.subjects[one.subject as usize].id;
        let unit = &UNITS[one.unit];
        let (from, to) = (rfc3339(one.from), rfc3339(one.from + 90 * DAY));
        let created_by = &world.staff[one.created_by as usize].user_id;
        let provider = PROVIDERS[unit.provider].0;
        table.row(&[id, unit.id, provider, "shared_records", &from, &to, "", id, created_by, &from, "", ""]);
    }
    table
}

/// Spärrar: some have blocked the psychiatric clinic's notes from the others, some the region's from the municipality.
fn blocks(world: &World) -> Table {
    let mut table = Table::new(
        "blocks",
        "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,against_id,given_by,created_by,created_at,lifted_by,lifted_at",
    );
    let psychiatry = &UNITS[units::PSYCHIATRY];
    let created_by =
        world.staff.iter().find(|one| one.unit == units::PSYCHIATRY).map_or("", |one| &one.user_id);
    let patients = world.care.iter().filter(|care| {
        care.unit == units::PSYCHIATRY && care.kind == Relation::Booking && care.from < world.end
    });
    let mut seen = HashSet::new();
    for (place, care) in patients.step_by(11).filter(|care| seen.insert(care.subject)).take(30).enumerate() {
        let id = &world.people.subjects[care.subject as usize].id;
        let from = rfc3339(care.from - 20 * DAY);
        let (kind, against) =
            if place % 3 == 0 { ("inter_provider", PROVIDERS[units::MUNICIPALITY].0) } else { ("inner", "") };
        let provider = PROVIDERS[psychiatry.provider].0;
        let lifted = place % 10 == 7;
        let (by, at) = if lifted { (id.as_str(), rfc3339(care.from)) } else { ("", String::new()) };
        table.row(&[id, psychiatry.id, provider, kind, &from, "", against, id, created_by, &from, by, &at]);
    }
    table
}

fn rights(world: &World) -> Table {
    let mut table = Table::new("rights", "user_id,source,right,care_unit_id,valid_from,valid_to");
    for one in world.staff.iter().filter(|one| !one.apart) {
        let unit = &UNITS[one.unit];
        let from = world.clock.date(one.from_day).to_string();
        let to = one.to_day.map(|day| world.clock.date(day).to_string()).unwrap_or_default();
        let write = if one.writes > 0 { "write" } else { "read" };
        table.row(&[&one.user_id, unit.source.name(), write, unit.id, &from, &to]);
        if crate::access::reads_shared(one.unit) {
            table.row(&[&one.user_id, Source::National.name(), "read", unit.id, &from, &to]);
        }
    }
    table
}

fn places() -> Table {
    let mut table = Table::new("places", "address_range,care_unit_id");
    for (number, unit) in UNITS.iter().enumerate() {
        table.row(&[&format!("10.20.{}.0/24", 10 + number), unit.id]);
    }
    table
}
