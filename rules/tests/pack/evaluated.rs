//! What could be judged and what not, against brute force: every access, every row of the table, every unit that counts as its own.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeZone};
use insyn_rules::{
    ContextState, Evaluated, Limits, Pack, Place, RuleDays, RuleState, Which, Window, WindowSize, evaluate,
};

use crate::world::{self, Cell, DAY, World, ZONE, access, at, rows, source};

/// By relations and weeks, by the schedule and days, and by nothing.
const RULES: [&str; 3] = ["no-care-relation", "outside-schedule", "own-record"];

async fn evaluated(pack: &Pack, world: &World, window: Window, slice_rows: u64) -> Evaluated {
    let limits = Limits { slice_rows, ..Limits::default() };
    let (source, context) = (world.source(), ContextState::default());
    evaluate(pack, &source, ZONE, window, &context, limits).await.unwrap().0.evaluated
}

fn day_of(at: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(at).unwrap().with_timezone(&ZONE).date_naive()
}

fn midnight(day: NaiveDate) -> i64 {
    ZONE.from_local_datetime(&day.and_hms_opt(0, 0, 0).unwrap()).earliest().unwrap().timestamp_micros()
}

fn window_of(size: WindowSize, day: NaiveDate) -> (i64, i64) {
    let (first, days) = match size {
        WindowSize::Day => (day, 1),
        WindowSize::Week => (day - Days::new(day.weekday().num_days_from_monday().into()), 7),
        WindowSize::Month => panic!("none of these rules counts months"),
    };
    (midnight(first), midnight(first + Days::new(days)))
}

/// The unit, those above it, and the parts right below it.
fn near(world: &World, unit: &str) -> BTreeSet<String> {
    let parent = |unit: &str| world.units.iter().find(|(id, _)| id == unit).and_then(|(_, of)| of.clone());
    let mut near = BTreeSet::from([unit.to_owned()]);
    let mut at = unit.to_owned();
    while let Some(above) = parent(&at) {
        near.insert(above.clone());
        at = above;
    }
    near.extend(world.units.iter().filter(|(_, of)| of.as_deref() == Some(unit)).map(|(id, _)| id.clone()));
    near
}

/// Whether the rule's table has a row of the unit in the window of the day.
fn is_covered(world: &World, rule: &str, unit: &str, day: NaiveDate) -> bool {
    let near = near(world, unit);
    match rule {
        "no-care-relation" => {
            let (from, to) = window_of(WindowSize::Week, day);
            world.relations.iter().any(|of| {
                of.unit.as_ref().is_some_and(|unit| near.contains(unit))
                    && of.from < to
                    && of.to.is_none_or(|end| from <= end)
            })
        }
        // Every day of the four weeks at three units.
        "outside-schedule" => ["A0", "A1", "A2"].iter().any(|unit| near.contains(*unit)),
        _ => true,
    }
}

/// Of which accesses nothing could be said.
fn lacking(world: &World, rule: &str) -> BTreeMap<Place, u64> {
    let mut lacking = BTreeMap::new();
    for event in &world.events {
        let day = day_of(event.occurred_at);
        let judged = match &event.care_unit_id {
            Some(unit) => is_covered(world, rule, unit, day),
            None => {
                let mut homes = world.assignments.iter().filter(|of| event.user_id.as_ref() == Some(&of.0));
                rule == "own-record" || homes.any(|(_, unit, ..)| is_covered(world, rule, unit, day))
            }
        };
        if !judged {
            *lacking.entry(place(world, event.seq)).or_default() += 1;
        }
    }
    lacking
}

fn place(world: &World, seq: i32) -> Place {
    let event = world.events.iter().find(|event| event.seq == seq).unwrap();
    Place {
        day: day_of(event.occurred_at),
        source: event.source.clone(),
        care_unit_id: event.care_unit_id.clone(),
        controller_id: Some(event.controller_id.clone()),
    }
}

/// The accesses that were not judged, day by day, as the run tells it.
fn told(found: &Evaluated, rule: &str) -> BTreeMap<Place, u64> {
    let mut told = BTreeMap::new();
    for said in found.rules.iter().filter(|said| said.rule_id == rule && said.state != RuleState::Evaluated) {
        for (place, accesses) in &found.accesses {
            let not_judged = match &said.of {
                Which::All => Some(*accesses),
                Which::AtUnit(unit) => (place.care_unit_id.as_ref() == Some(unit)).then_some(*accesses),
                Which::NoUnit { source, controller_id, accesses } => {
                    let is = place.care_unit_id.is_none() && place.source == *source;
                    (is && place.controller_id == *controller_id).then_some(*accesses)
                }
            };
            if let Some(accesses) = not_judged.filter(|_| said.first <= place.day && place.day <= said.last) {
                assert!(told.insert(place.clone(), accesses).is_none(), "said twice: {place:?}");
            }
        }
    }
    told
}

/// The days of which the run says what became of a rule.
fn days(found: &Evaluated, rule: &str) -> BTreeSet<NaiveDate> {
    let all = |said: &&RuleDays| said.rule_id == rule && said.of == Which::All;
    let mut days = BTreeSet::new();
    for said in found.rules.iter().filter(all) {
        for day in said.first.iter_days().take_while(|day| *day <= said.last) {
            assert!(days.insert(day), "{rule} is told twice of {day}");
        }
    }
    days
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_be_judged_is_what_brute_force_says_however_it_is_cut() {
    let pack = Pack::builtin().unwrap().only(|rule| RULES.contains(&rule.id.as_str()));
    let (mut at_units, mut without_unit) = (0, 0);
    for seed in [3, 4] {
        let world = world::random(seed, 120);
        let found = evaluated(&pack, &world, Window::default(), 1_000_000).await;
        let mut accesses: BTreeMap<Place, u64> = BTreeMap::new();
        world.events.iter().for_each(|event| *accesses.entry(place(&world, event.seq)).or_default() += 1);
        assert_eq!(found.accesses, accesses, "seed {seed}");
        for rule in RULES {
            let lacking = lacking(&world, rule);
            assert_eq!(told(&found, rule), lacking, "seed {seed}: {rule}");
            assert!(accesses.keys().all(|place| days(&found, rule).contains(&place.day)), "{rule}");
            without_unit += lacking.keys().filter(|place| place.care_unit_id.is_none()).count();
            at_units += lacking.keys().filter(|place| place.care_unit_id.is_some()).count();
        }
        // Slices of days, and of parts of days.
        let slice_rows = if seed == 3 { 40 } else { 4 };
        let cut = evaluated(&pack, &world, Window::default(), slice_rows).await;
        assert_eq!(cut, found, "seed {seed}, slices of {slice_rows}");
    }
    assert!(at_units > 5 && without_unit > 5, "the worlds lack too little: {at_units}, {without_unit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_days_that_a_period_cuts_nothing_is_told() {
    let pack = Pack::builtin().unwrap().only(|rule| RULES.contains(&rule.id.as_str()));
    let world = world::random(3, 200);
    let whole = evaluated(&pack, &world, Window::default(), 1_000_000).await;
    let window =
        Window { from: Some(at("2026-10-21T00:00:00+02:00")), to: Some(at("2026-10-26T12:00:00+01:00")) };
    let part = evaluated(&pack, &world, window, 1_000_000).await;
    let inside: BTreeSet<NaiveDate> =
        (21..26).map(|day| NaiveDate::from_ymd_opt(2026, 10, day).unwrap()).collect();
    for rule in RULES {
        assert_eq!(days(&part, rule), inside, "{rule}");
        let mut expected = told(&whole, rule);
        expected.retain(|place, _| inside.contains(&place.day));
        assert_eq!(told(&part, rule), expected, "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_lacks_a_table_or_is_held_back_is_said_not_to_be_evaluated() {
    let ids = ["no-care-relation", "neighbour", "own-record"];
    let pack = Pack::builtin().unwrap().only(|rule| ids.contains(&rule.id.as_str()));
    let pack = pack.without_intrusive("nobody has decided it");
    let monday = at("2026-03-02T09:00:00+01:00");
    let relations =
        rows("care_relations", &[vec![("subject_id", Cell::from("P9")), ("care_unit_id", Cell::from("A"))]]);
    let events =
        [access(1, monday, "U1", Some("A"), "P1"), access(2, monday + 9 * DAY, "U1", Some("A"), "P1")];
    let source = source(&events, &[("care_relations", relations)]);
    // More than two weeks before the second week begins: of the first one it is young enough.
    let loaded_at = BTreeMap::from([("care_relations".to_owned(), at("2026-02-21T00:00:00+01:00"))]);
    let context = ContextState { load: Some("l1".into()), loaded_at };
    let limits = Limits::default();
    let (record, _) = evaluate(&pack, &source, ZONE, Window::default(), &context, limits).await.unwrap();
    let said: Vec<(&str, String, String, RuleState, &str)> = record
        .evaluated
        .rules
        .iter()
        .map(|of| {
            let why = of.why.as_deref().unwrap_or_default();
            (of.rule_id.as_str(), of.first.to_string(), of.last.to_string(), of.state, why)
        })
        .collect();
    let old = "the context table care_relations was loaded more than 14 days before";
    let (done, not) = (RuleState::Evaluated, RuleState::NotEvaluated);
    assert_eq!(
        said,
        [
            ("neighbour", "2026-03-02", "2026-03-15", not, "nobody has decided it"),
            ("no-care-relation", "2026-03-09", "2026-03-15", not, old),
            ("no-care-relation", "2026-03-02", "2026-03-08", done, ""),
            ("own-record", "2026-03-02", "2026-03-15", not, "the context table staff is empty or not loaded"),
        ]
        .map(|(rule, first, last, state, why)| (rule, first.to_owned(), last.to_owned(), state, why))
    );
    assert!(record.evaluated.rules.iter().all(|said| said.of == Which::All));
}
