//! Rules that read what was before: against plain loops over every access, for random worlds and in any order of rows. And
//! rules in the shadow.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use insyn_engine::event::AccessEvent;
use insyn_rules::{ContextState, Finding, Limits, Pack, ParamValue, RunRecord, Window, evaluate};

use crate::world::{self, DAY, Dice, HOUR, World, ZONE, access, at};

/// A few users over a year, with pauses: in two sources, from a few units, in a few records.
fn year(seed: u64, accesses: usize) -> World {
    let mut dice = Dice(seed);
    let mut world = world::random(seed, 0);
    let start = at("2025-11-03T00:00:00+01:00");
    let mut days: Vec<i64> = (0..6).map(|_| dice.below(40) as i64).collect();
    world.events = (0..accesses)
        .map(|id| {
            let user = dice.below(6) as usize;
            days[user] += match dice.below(12) {
                0 => 28 + dice.below(120) as i64,
                1..4 => 1 + dice.below(9) as i64,
                4..6 => 1,
                _ => 0,
            };
            let when = start + days[user] * DAY + dice.below(24 * 60) as i64 * 60_000_000;
            let unit = (dice.below(9) > 0).then(|| format!("A{}", dice.below(4)));
            let subject = match dice.below(9) {
                8 => "R1".to_owned(),
                n => format!("P{n}"),
            };
            let mut event = access(id, when, &format!("U{user}"), unit.as_deref(), &subject);
            match dice.below(14) {
                0 => event.user_kind = Some("subject".into()),
                1 => event.source = "portal".into(),
                2 => event.emergency = Some(true),
                _ => {}
            }
            event
        })
        .collect();
    world
}

fn day(at: i64) -> NaiveDate {
    chrono::DateTime::from_timestamp_micros(at).unwrap().with_timezone(&ZONE).date_naive()
}

fn days_before(day: NaiveDate, earlier: NaiveDate) -> i64 {
    (day - earlier).num_days()
}

fn is_look(event: &AccessEvent) -> bool {
    event.user_kind.as_deref() == Some("staff") && event.outcome.as_deref() == Some("success")
}

fn who(event: &AccessEvent) -> String {
    event.user_id.clone().unwrap()
}

fn whose(event: &AccessEvent) -> &str {
    match event.subject_id.as_deref().unwrap() {
        "R1" => "P1",
        "R2" => "P2",
        id => id,
    }
}

async fn run(pack: &Pack, world: &World, limits: Limits) -> (RunRecord, Vec<Finding>) {
    let mut events = world.events.clone();
    events.reverse();
    let source = world.source_of(&events);
    evaluate(pack, &source, ZONE, Window::default(), &ContextState::default(), limits).await.unwrap()
}

/// Each access that a finding of `rule` rests on.
async fn found(rule: &str, set: &[(&str, ParamValue)], world: &World) -> BTreeSet<String> {
    let mut pack = Pack::builtin().unwrap().only(|one| one.id == rule);
    for (name, value) in set {
        pack.set(rule, name, value.clone()).unwrap();
    }
    let (record, whole) = run(&pack, world, Limits::default()).await;
    assert_eq!(record.rules[0].why, None, "{rule}");
    let ids = |findings: &[Finding]| -> BTreeSet<String> {
        findings.iter().flat_map(|finding| finding.event_ids.iter().cloned()).collect()
    };
    let tiny = Limits { slice_rows: 60, ..Limits::default() };
    let (_, sliced) = run(&pack, world, tiny).await;
    assert_eq!(ids(&sliced), ids(&whole), "{rule}: cut into slices");
    ids(&whole)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dormant_account_is_what_brute_force_says() {
    let mut some = 0;
    for seed in [1, 2] {
        let world = year(seed, 160);
        let account = |event: &AccessEvent| (event.source.clone(), who(event));
        let mut used: BTreeMap<(String, String), BTreeSet<NaiveDate>> = BTreeMap::new();
        for event in &world.events {
            used.entry(account(event)).or_default().insert(day(event.occurred_at));
        }
        let wakes = |event: &&AccessEvent| {
            let on = day(event.occurred_at);
            let before = used[&account(event)].range(..on).next_back();
            is_look(event) && before.is_some_and(|before| (90..=400).contains(&days_before(on, *before)))
        };
        let wanted: BTreeSet<String> =
            world.events.iter().filter(wakes).map(|event| event.event_id.clone()).collect();
        some += wanted.len();
        assert_eq!(found("dormant-account", &[], &world).await, wanted, "seed {seed}");
    }
    assert!(some > 0, "the worlds show nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusual_volume_is_what_brute_force_says() {
    let mut some = 0;
    for seed in [3, 4] {
        let world = year(seed, 220);
        let mut persons: BTreeMap<(String, NaiveDate), BTreeSet<&str>> = BTreeMap::new();
        for event in &world.events {
            persons.entry((who(event), day(event.occurred_at))).or_default().insert(whose(event));
        }
        let unusual = |event: &&AccessEvent| {
            let (user, on) = (who(event), day(event.occurred_at));
            let looked = world
                .events
                .iter()
                .filter(|other| is_look(other) && who(other) == user && day(other.occurred_at) == on);
            let looked: BTreeSet<&str> = looked.map(whose).collect();
            let before = persons
                .iter()
                .filter(|((other, day), _)| *other == user && *day < on && days_before(on, *day) <= 56);
            let mut counts: Vec<usize> = before.map(|(_, of)| of.len()).collect();
            counts.sort_unstable();
            let now = persons[&(user, on)].len();
            let half = counts.len() / 2;
            let median = match counts.len() {
                0 => 0,
                n if n % 2 == 1 => counts[half],
                _ => (counts[half - 1] + counts[half]) / 2,
            };
            is_look(event)
                && looked.len() >= 2
                && counts.len() >= 3
                && counts.last().is_some_and(|most| now > *most)
                && now >= 2 * median
        };
        let wanted: BTreeSet<String> =
            world.events.iter().filter(unusual).map(|event| event.event_id.clone()).collect();
        some += wanted.len();
        let set = [("least", 2), ("known", 3), ("times", 2)].map(|(name, n)| (name, ParamValue::Integer(n)));
        assert_eq!(found("unusual-volume", &set, &world).await, wanted, "seed {seed}");
    }
    assert!(some > 0, "the worlds show nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_time_at_a_unit_is_what_brute_force_says() {
    let mut some = 0;
    for seed in [5, 6] {
        let mut world = year(seed, 160);
        let long_ago = at("2020-01-01T00:00:00Z");
        // Two have a place, the others none; relations that explain nothing make every unit one that is known.
        world.assignments =
            vec![("U0".into(), "A0".into(), long_ago, None), ("U1".into(), "A2".into(), long_ago, None)];
        world.relations = ["A0", "A1", "A2", "A3"]
            .map(|unit| world::Relation {
                subject: "P99".into(),
                unit: Some(unit.into()),
                user: None,
                from: long_ago,
                to: None,
            })
            .to_vec();
        for event in &mut world.events {
            event.action = Some("R".into());
        }
        // A0 is above A1 and A2, A1 above A3; near is what is above, and right below.
        let near = |home: &str, unit: &str| match home {
            "A0" => ["A0", "A1", "A2"].contains(&unit),
            "A2" => ["A2", "A0"].contains(&unit),
            _ => false,
        };
        let home = |user: &str| match user {
            "U0" => "A0",
            "U1" => "A2",
            _ => "",
        };
        let first = |event: &&AccessEvent| {
            let (user, on) = (who(event), day(event.occurred_at));
            let Some(unit) = event.care_unit_id.as_deref() else { return false };
            let before = |other: &&AccessEvent| {
                let earlier = day(other.occurred_at);
                who(other) == user && earlier < on && days_before(on, earlier) <= 180
            };
            let known: BTreeSet<NaiveDate> =
                world.events.iter().filter(before).map(|other| day(other.occurred_at)).collect();
            let was_there =
                world.events.iter().filter(before).any(|other| other.care_unit_id.as_deref() == Some(unit));
            is_look(event)
                && event.emergency != Some(true)
                && !near(home(&user), unit)
                && known.len() >= 2
                && !was_there
        };
        let wanted: BTreeSet<String> =
            world.events.iter().filter(first).map(|event| event.event_id.clone()).collect();
        some += wanted.len();
        let set = [("known", ParamValue::Integer(2))];
        assert_eq!(found("first-time-at-unit", &set, &world).await, wanted, "seed {seed}");
    }
    assert!(some > 0, "the worlds show nothing");
}

/// What findings about sources say: source and day.
async fn of_sources(
    rule: &str,
    set: &[(&str, ParamValue)],
    events: &[AccessEvent],
) -> BTreeMap<(String, NaiveDate), usize> {
    let mut pack = Pack::builtin().unwrap().only(|one| one.id == rule);
    for (name, value) in set {
        pack.set(rule, name, value.clone()).unwrap();
    }
    let source = world::source(events, &[]);
    let mut answers = Vec::new();
    for slice_rows in [2_000_000, 50] {
        let limits = Limits { slice_rows, ..Limits::default() };
        let (_, findings) =
            evaluate(&pack, &source, ZONE, Window::default(), &ContextState::default(), limits)
                .await
                .unwrap();
        answers.push(
            findings
                .iter()
                .map(|finding| {
                    assert_eq!((finding.subject_id.as_ref(), finding.event_count), (None, 0), "{finding:?}");
                    assert!(finding.event_ids.is_empty() && finding.events().is_empty());
                    let source = finding.user_id.strip_prefix("source:").unwrap().to_owned();
                    ((source, day(finding.first_at)), finding.reasons.len())
                })
                .collect::<BTreeMap<_, _>>(),
        );
    }
    assert_eq!(answers[0], answers[1], "cut into slices");
    answers.swap_remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_source_is_what_brute_force_says() {
    // Seven weeks over the end of summer time; each source rests on some days, and one begins late.
    let start = at("2026-09-28T00:00:00+02:00");
    let mut dice = Dice(7);
    let mut events = Vec::new();
    for day in 0..49 {
        for (source, most) in [("journal", 14), ("bild", 9), ("portal", 5)] {
            if dice.below(5) == 0 || source == "portal" && day < 24 {
                continue;
            }
            for _ in 0..1 + dice.below(most) {
                let when = start + day * DAY + 2 * HOUR + dice.below(20 * 60) as i64 * 60_000_000;
                let mut event = access(events.len(), when, "U1", Some("A"), "P1");
                event.source = source.into();
                events.push(event);
            }
        }
    }
    let mut counts: BTreeMap<(&str, NaiveDate), u64> = BTreeMap::new();
    for event in &events {
        *counts.entry((event.source.as_str(), day(event.occurred_at))).or_default() += 1;
    }
    let last = events.iter().map(|event| event.occurred_at).max().unwrap();
    let mut wanted = BTreeMap::new();
    for source in ["journal", "bild", "portal"] {
        let first = counts.keys().filter(|(of, _)| *of == source).map(|(_, day)| *day).min().unwrap();
        for n in 0..49 {
            let noon = start + n * DAY + 13 * HOUR;
            let on = day(noon);
            let count = |day: NaiveDate| counts.get(&(source, day)).copied().unwrap_or(0);
            let earlier: Vec<u64> = (1..=4)
                .map(|week| on - chrono::Days::new(7 * week))
                .filter(|day| *day >= first)
                .map(count)
                .collect();
            let (weeks, before) = (earlier.len() as u64, earlier.iter().sum::<u64>());
            // A day of which nothing at all is stored is no day.
            let is_known = counts.keys().any(|(_, day)| *day == on);
            let utc_noon = on.and_hms_opt(12, 0, 0).unwrap().and_utc().timestamp_micros();
            if is_known
                && weeks >= 2
                && before >= weeks * 5
                && count(on) * 20 * weeks < before
                && last >= utc_noon + 24 * HOUR
            {
                wanted.insert((source.to_owned(), on), 1);
            }
        }
    }
    assert!(wanted.len() > 1, "{wanted:?}");
    let set = [("least", ParamValue::Integer(5))];
    assert_eq!(of_sources("source-quiet", &set, &events).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_numbers_are_what_brute_force_says() {
    let start = at("2026-10-12T00:00:00+02:00");
    let mut dice = Dice(9);
    let (mut number, mut when) = (1_000, start);
    let mut events = Vec::new();
    for _ in 0..140 {
        number += if dice.below(9) == 0 { 2 + dice.below(4) } else { 1 };
        when += dice.below(5) as i64 * HOUR;
        let mut event =
            access(events.len(), when - dice.below(90) as i64 * 60_000_000, "U1", Some("A"), "P1");
        event.event_id = number.to_string();
        event.source = "omsorg".into();
        events.push(event);
    }
    events.reverse();
    let last = events.iter().map(|event| event.occurred_at).max().unwrap();
    let at_number: BTreeMap<u64, i64> =
        events.iter().map(|event| (event.event_id.parse().unwrap(), event.occurred_at)).collect();
    let mut wanted: BTreeMap<(String, NaiveDate), usize> = BTreeMap::new();
    for pair in at_number.iter().collect::<Vec<_>>().windows(2) {
        let ((before, _), (after, at)) = (pair[0], pair[1]);
        if *after > before + 1 && last >= *at + 24 * HOUR {
            *wanted.entry(("omsorg".into(), day(*at))).or_default() += 1;
        }
    }
    assert!(wanted.len() > 3, "{wanted:?}");
    let set = [("sources", ParamValue::Texts(vec!["omsorg".into()]))];
    assert_eq!(of_sources("missing-numbers", &set, &events).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_the_shadow_is_counted_and_flags_nobody() {
    let world = world::random(2, 120);
    let source = world.source();
    let rules = ["own-record", "no-care-relation"];
    let pack = || Pack::builtin().unwrap().only(|rule| rules.contains(&rule.id.as_str()));
    let mut shadowed = pack();
    shadowed.tune("own-record", "status", "shadow").unwrap();
    let run = async |pack: &Pack| {
        let (context, limits) = (ContextState::default(), Limits::default());
        evaluate(pack, &source, ZONE, Window::default(), &context, limits).await.unwrap()
    };
    let ((_, open), (record, rest)) = (run(&pack()).await, run(&shadowed).await);
    let of = |findings: &[Finding], rule: &str| -> BTreeSet<String> {
        let of_rule = findings.iter().filter(|finding| finding.rule_id == rule);
        of_rule.map(|finding| finding.finding_id.clone()).collect()
    };
    let wanted = of(&open, "own-record");
    assert!(!wanted.is_empty() && of(&rest, "own-record").is_empty());
    let counted: BTreeSet<String> = record.shadow.iter().map(|found| found.finding_id.clone()).collect();
    assert_eq!(counted, wanted);
    let of_rule = record.rules.iter().find(|rule| rule.rule_id == "own-record").unwrap();
    assert_eq!(of_rule.findings as usize, wanted.len());
    // It says nothing to the others: their scores are as if it were not there.
    let (_, alone) = run(&pack().only(|rule| rule.id == "no-care-relation")).await;
    let scores = |findings: &[Finding]| -> BTreeMap<String, u8> {
        let others = findings.iter().filter(|finding| finding.rule_id == "no-care-relation");
        others.map(|finding| (finding.finding_id.clone(), finding.score)).collect()
    };
    assert_eq!(scores(&rest), scores(&alone));
    let monday = |week: &str| week.parse::<NaiveDate>().unwrap().format("%u").to_string() == "1";
    assert!(record.shadow.iter().all(|found| monday(&found.week)), "{:?}", record.shadow);
}

#[test]
fn a_schedule_that_cannot_be_read_says_where() {
    let text =
        world::own_record().replace("window = \"week\"", "window = \"week\"\nschedule = \"0 25 * * *\"");
    let pack = Pack::of(vec![("own-record.toml".into(), text)]);
    let problem = &pack.problems()[0];
    assert!(problem.what.contains("found schedule \"0 25 * * *\""), "{problem}");
    assert!(problem.what.contains("expected minute, hour"), "{problem}");
    assert_eq!(problem.column, 12, "{problem}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ours.toml"), "override = \"own-record\"\nschedule = \"0 3 * * 1\"\n")
        .unwrap();
    let pack = Pack::load(dir.path()).unwrap();
    assert_eq!(pack.rule("own-record").unwrap().schedule.as_ref().unwrap().to_string(), "0 3 * * 1");
}
