//! What could be judged: a run replaces what was said of its days and rules and of no others, and everybody sees their own part.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate};
use insyn_review::{Evaluated, EvaluatedAsk, Principal, Role};
use insyn_rules::{FindingStore, Place, RuleDays, RuleState, Which};
use proptest::prelude::*;

use crate::world::{World, run};

const LACKS: &str = "no rows of care_relations for the unit in the calendar window";
const EMPTY: &str = "the context table schedule is empty or not loaded";

/// The day of September.
fn day(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 9, 1).unwrap() + Days::new(u64::from(n) - 1)
}

fn place(n: u32, unit: &str, controller: &str) -> Place {
    Place {
        day: day(n),
        source: "journal".into(),
        care_unit_id: (!unit.is_empty()).then(|| unit.into()),
        controller_id: Some(controller.into()),
    }
}

fn said(rule: &str, days: (u32, u32), of: Which, state: RuleState, why: Option<&str>) -> RuleDays {
    let (first, last) = (day(days.0), day(days.1));
    RuleDays { rule_id: rule.into(), first, last, of, state, why: why.map(str::to_owned) }
}

fn done(rule: &str, days: (u32, u32)) -> RuleDays {
    said(rule, days, Which::All, RuleState::Evaluated, None)
}

fn lacks(rule: &str, days: (u32, u32), of: Which) -> RuleDays {
    said(rule, days, of, RuleState::NotEvaluated, Some(LACKS))
}

fn at(unit: &str) -> Which {
    Which::AtUnit(unit.into())
}

async fn record(world: &World, id: &str, days: (u32, u32), accesses: &[(Place, u64)], rules: Vec<RuleDays>) {
    let mut run = run(id);
    run.evaluated = insyn_rules::Evaluated {
        days: vec![(day(days.0), day(days.1))],
        accesses: accesses.iter().cloned().collect(),
        rules,
    };
    world.db.record(&run, &[], &[]).await.unwrap();
}

async fn seen(world: &World, who: &Principal, rule: Option<&str>) -> Evaluated {
    let ask = EvaluatedAsk { from: day(1), to: day(30), rule };
    world.db.evaluated(who, ask, None).await.unwrap()
}

/// Day of September, unit, accesses, and each rule with its state and how many it could not judge.
fn shown(found: &Evaluated) -> Vec<String> {
    let line = |place: &insyn_review::EvaluatedPlace| {
        let rules: Vec<String> = found
            .at(place, &found.on(&place.day))
            .iter()
            .map(|of| format!("{} {} {}", of.rule_id, of.state, of.not_evaluated))
            .collect();
        let unit = place.care_unit_id.as_deref().unwrap_or("-");
        format!("{} {unit} {}: {}", &place.day[8..], place.accesses, rules.join(", "))
    };
    found.places.iter().map(line).collect()
}

/// Two days: E1 lacks relations on the first, a person without a known unit on the second; the schedule is missing.
async fn two_days(world: &World) {
    let accesses = [
        (place(1, "E1", "N1"), 5),
        (place(1, "E2", "N1"), 3),
        (place(2, "E1", "N1"), 2),
        (place(2, "E1", "N2"), 4),
        (place(2, "", "N2"), 3),
    ];
    let without_unit =
        Which::NoUnit { source: "journal".into(), controller_id: Some("N2".into()), accesses: 2 };
    let rules = vec![
        done("a", (1, 2)),
        lacks("a", (1, 1), at("E1")),
        lacks("a", (2, 2), without_unit),
        said("b", (1, 2), Which::All, RuleState::NotEvaluated, Some(EMPTY)),
        done("c", (1, 2)),
    ];
    record(world, "r1", (1, 2), &accesses, rules).await;
}

#[tokio::test]
async fn each_rule_is_told_of_by_day_source_and_unit_to_those_who_count_there() {
    let world = World::new().await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    let reviewer = world.person("rut", Role::Reviewer, &["E1"]).await;
    let operator = world.person("ola", Role::Operator, &[]).await;
    two_days(&world).await;
    let all = seen(&world, &dso, None).await;
    let expected = [
        "01 E1 5: a not_evaluated 5, b not_evaluated 5, c evaluated 0",
        "01 E2 3: a evaluated 0, b not_evaluated 3, c evaluated 0",
        "02 - 3: a partly 2, b not_evaluated 3, c evaluated 0",
        "02 E1 6: a evaluated 0, b not_evaluated 6, c evaluated 0",
    ];
    assert_eq!(shown(&all), expected);
    let of_day = all.on("2026-09-01");
    let whys: Vec<_> = all.at(&all.places[0], &of_day).iter().map(|of| of.why).collect();
    assert_eq!(whys, [Some(LACKS), Some(EMPTY), None]);
    assert_eq!(shown(&seen(&world, &dso, Some("a")).await)[1], "01 E2 3: a evaluated 0");

    assert_eq!(shown(&seen(&world, &reviewer, None).await), [expected[0], expected[3]]);
    let bound = Principal { controllers: vec!["N1".into()], ..dso.clone() };
    let theirs = shown(&seen(&world, &bound, None).await);
    assert_eq!(theirs[2], "02 E1 2: a evaluated 0, b not_evaluated 2, c evaluated 0");
    let ask = EvaluatedAsk { from: day(1), to: day(2), rule: None };
    assert!(world.db.evaluated(&operator, ask, None).await.is_err());

    // What an error says is for those who see runs.
    let failed = vec![said("c", (1, 1), Which::All, RuleState::Failed, Some("cannot cast 'Anna'"))];
    record(&world, "r2", (9, 9), &[], failed).await;
    let why = |found: &Evaluated| found.on("2026-09-01")[2].why.clone();
    assert_eq!(why(&seen(&world, &dso, None).await).as_deref(), Some("cannot cast 'Anna'"));
    assert_eq!(why(&seen(&world, &reviewer, None).await), None);
}

#[tokio::test]
async fn a_later_run_replaces_what_was_said_of_its_rules_and_days() {
    let world = World::new().await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    two_days(&world).await;
    let before = shown(&seen(&world, &dso, None).await);
    two_days(&world).await;
    assert_eq!(shown(&seen(&world, &dso, None).await), before, "the same again changes nothing");
    // The relations and the schedule came; of the first day two rules are judged again.
    let rules = vec![done("a", (1, 1)), done("b", (1, 1))];
    record(&world, "r2", (1, 1), &[(place(1, "E1", "N1"), 6)], rules).await;
    let now = shown(&seen(&world, &dso, None).await);
    assert_eq!(now[0], "01 E1 6: a evaluated 0, b evaluated 0, c evaluated 0");
    assert_eq!(
        &now[1..],
        &before[2..],
        "E2 has no accesses of that day any more; the other day is as it was"
    );
    // Of a day in the middle of a stretch.
    record(&world, "r3", (20, 20), &[], vec![done("d", (3, 9)), lacks("d", (3, 9), at("E1"))]).await;
    let failed = said("d", (6, 6), Which::All, RuleState::Failed, Some("out of time"));
    record(&world, "r4", (20, 20), &[], vec![failed]).await;
    let days: Vec<String> = seen(&world, &dso, Some("d"))
        .await
        .rules
        .iter()
        .map(|of| format!("{} {} {}", &of.first_day[8..], &of.last_day[8..], of.state))
        .collect();
    assert_eq!(days, ["03 05 evaluated", "06 06 failed", "07 09 evaluated"]);
}

#[tokio::test]
async fn a_page_goes_on_where_the_one_before_ended() {
    let world = World::new().await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    two_days(&world).await;
    let whole = shown(&seen(&world, &dso, None).await);
    let ask = EvaluatedAsk { from: day(1), to: day(30), rule: None };
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = world.db.evaluated(&dso, ask, Some((cursor.as_deref(), 1))).await.unwrap();
        paged.extend(shown(&page));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
    let bad = world.db.evaluated(&dso, ask, Some((Some("302e302e78"), 1))).await;
    assert!(
        matches!(bad, Err(insyn_review::ReviewError::Refused(insyn_review::Refusal::BadCursor))),
        "{bad:?}"
    );
}

/// One run: of these days, and whether each of two units is covered.
fn runs() -> impl Strategy<Value = Vec<(u32, u32, [bool; 2])>> {
    let one = (1u32..28, 0u32..6, any::<[bool; 2]>());
    proptest::collection::vec(one, 1..12)
        .prop_map(|runs| runs.into_iter().map(|(from, more, covered)| (from, from + more, covered)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_last_word_of_each_day_holds_and_few_rows_say_it(runs in runs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let dso = world.person("dan", Role::Dso, &[]).await;
            let units = ["E0", "E1"];
            let accesses: Vec<(Place, u64)> =
                (1..=30).flat_map(|n| units.map(|unit| (place(n, unit, "N1"), 1))).collect();
            record(&world, "r0", (1, 30), &accesses, Vec::new()).await;
            let mut last: BTreeMap<u32, [bool; 2]> = BTreeMap::new();
            for (n, (first, until, covered)) in runs.iter().enumerate() {
                let days = (*first, *until);
                let gaps = units.iter().zip(covered).filter(|(_, covered)| !**covered);
                let rules = std::iter::once(done("a", days));
                let rules = rules.chain(gaps.map(|(unit, _)| lacks("a", days, at(unit)))).collect();
                let mut run = run(&format!("r{}", n + 1));
                run.evaluated.rules = rules;
                world.db.record(&run, &[], &[]).await.unwrap();
                last.extend((*first..=*until).map(|day| (day, *covered)));
            }
            let found = seen(&world, &dso, None).await;
            let told: BTreeSet<String> = shown(&found).into_iter().collect();
            let expected = (1..=30).flat_map(|n| {
                let covered = last.get(&n).copied();
                units.iter().enumerate().map(move |(i, unit)| match covered.map(|covered| covered[i]) {
                    None => format!("{n:02} {unit} 1: "),
                    Some(true) => format!("{n:02} {unit} 1: a evaluated 0"),
                    Some(false) => format!("{n:02} {unit} 1: a not_evaluated 1"),
                })
            });
            prop_assert_eq!(told, expected.collect::<BTreeSet<_>>());
            // No two stretches that could be one.
            let touching = found.rules.windows(2).any(|pair| {
                pair[0].last_day.parse::<NaiveDate>().unwrap().succ_opt().unwrap().to_string() == pair[1].first_day
            });
            prop_assert!(!touching, "{:?}", found.rules);
            Ok(())
        })?;
    }
}
