//! What the generator promises about itself: honest work has reasons, and misuse has none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};

use chrono::TimeZone;
use chrono_tz::Europe::Stockholm;

use crate::access::{Access, Activity, Source};
use crate::clock::{DAY, HOUR};
use crate::{Scale, World};

fn world() -> World {
    let end = Stockholm.with_ymd_and_hms(2026, 11, 20, 15, 30, 0).unwrap();
    World::generate(11, 30, end, Scale::small())
}

/// A care relation of the unit or the user near the time.
fn has_reason(world: &World, by_subject: &HashMap<u32, Vec<usize>>, look: &Access) -> bool {
    by_subject.get(&look.subject).into_iter().flatten().any(|place| {
        let care = &world.care[*place];
        let theirs = care.unit == usize::from(look.unit)
            || care.unit == world.staff[look.staff as usize].unit_on(world.clock.day_of(look.at))
            || care.user == Some(look.staff)
            || care.others.contains(&look.staff);
        theirs && care.from - 3 * DAY < look.at && care.to.is_none_or(|end| look.at < end + 3 * DAY)
    })
}

fn by_subject(world: &World) -> HashMap<u32, Vec<usize>> {
    let mut found: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, care) in world.care.iter().enumerate() {
        found.entry(care.subject).or_default().push(place);
    }
    found
}

#[test]
fn honest_looks_have_reasons_and_planted_ones_have_not() {
    let world = world();
    let care = by_subject(&world);
    let (mut honest, mut explained) = (0, 0);
    for look in world.accesses.iter().filter(|look| look.planted == 0) {
        honest += 1;
        explained += usize::from(look.quality || look.noise > 0 || has_reason(&world, &care, look));
    }
    assert!(explained * 1_000 >= honest * 998, "{explained} of {honest}");
    for look in world.accesses.iter().filter(|look| look.planted > 0) {
        let kind = world.plans[usize::from(look.planted) - 1].kind;
        assert_eq!(has_reason(&world, &care, look), kind == "relative_on_own_unit", "{kind}");
    }
}

#[test]
fn honest_work_leaves_ones_own_people_alone_and_is_done_on_duty() {
    let world = world();
    for look in world.accesses.iter().filter(|look| look.planted == 0) {
        let user = &world.staff[look.staff as usize];
        assert!(!user.close.contains(&look.subject), "own, household or kin");
        assert!(look.at <= world.end);
        let day = world.clock.day_of(look.at);
        assert!(user.employed(day) || user.employed(day - 1), "{}", user.title);
        let died = world.people.subjects[look.subject as usize].deceased;
        assert!(died.is_none_or(|died| (world.clock.date(day) - died).num_days() < 5));
    }
}

#[test]
fn an_honest_emergency_is_followed_by_a_note_and_a_planted_one_is_not() {
    let world = world();
    let noted = |look: &Access| {
        world.accesses.iter().any(|other| {
            (other.subject, other.staff) == (look.subject, look.staff)
                && other.activity == Activity::Write
                && (look.at..look.at + 24 * HOUR).contains(&other.at)
        })
    };
    let (mut honest, mut planted) = (0, 0);
    for look in world.accesses.iter().filter(|look| look.emergency) {
        assert_eq!(noted(look), look.planted == 0);
        honest += usize::from(look.planted == 0);
        planted += usize::from(look.planted > 0);
    }
    assert!(honest > 3 && planted > 2, "{honest} {planted}");
}

#[test]
fn the_noise_that_was_asked_for_is_there() {
    let world = world();
    let slips: Vec<_> = world
        .care
        .iter()
        .filter(|care| matches!(care.kind, crate::care::Relation::Booking | crate::care::Relation::Visit))
        .collect();
    let share = |count: usize| count as f64 / slips.len() as f64;
    let late = share(slips.iter().filter(|care| care.created_at >= care.from + DAY).count());
    let never = share(slips.iter().filter(|care| !care.entered).count());
    assert!((0.035..0.065).contains(&late), "{late}");
    assert!((0.004..0.018).contains(&never), "{never}");
    let lent = world.staff.iter().filter(|one| one.loan.is_some()).count();
    assert!(lent * 70 > world.staff.len(), "{lent}");
    let homes: HashSet<(u32, usize)> = HashSet::new();
    let couples = world.staff.iter().fold((homes, 0), |(mut homes, couples), one| {
        let home = one.subject.map(|own| world.people.subjects[own as usize].household);
        let pair = home.is_some_and(|home| !homes.insert((home, one.unit)));
        (homes, couples + usize::from(pair))
    });
    assert!(couples.1 > 2, "{}", couples.1);
    assert!(!world.noise.is_empty());
}

#[test]
fn the_serial_case_opens_one_record_thirty_three_times() {
    let world = world();
    let place = world.plans.iter().position(|plan| plan.kind == "serial").unwrap();
    assert_eq!(world.staff[world.plans[place].staff as usize].unit, crate::units::HERO);
    let looks = world.accesses.iter().filter(|look| usize::from(look.planted) == place + 1).count();
    assert!(looks >= crate::misuse::SERIAL_VISITS);
}

#[test]
fn numbers_are_dense_within_a_source() {
    let world = world();
    for source in Source::ALL {
        let looks = world.of_source(source);
        assert!(!looks.is_empty(), "{}", source.name());
        for (place, look) in looks.iter().enumerate() {
            assert_eq!(look.number as usize, place + 1);
            assert_eq!(look.source, source);
        }
    }
}

#[test]
fn a_spoilt_time_leaves_no_other_to_read() {
    let world = world();
    let mut in_two_places = 0;
    for look in world.of_source(Source::Journal) {
        let mut record = String::new();
        crate::logs::record(&world, look, &mut record);
        in_two_places += usize::from(record.contains("occurredDateTime"));
        assert!(record.contains("\":\"2026-"));
        let spoilt = crate::logs::spoilt(Source::Journal, &record, 1);
        assert!(!spoilt.contains("\":\"2026-"), "{spoilt}");
    }
    assert!(in_two_places > 0);
}
