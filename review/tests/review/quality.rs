//! How findings were judged, by rule and month, against brute force; what was measured, and who learns which of it.

use std::collections::BTreeMap;

use insyn_review::{Principal, Role, Verdicts};
use insyn_rules::{FindingStore, Lift, Measured, Outcome, Status, Text, Window};

use crate::world::{DAY, START, World, finding, run};

const OUTCOMES: [Outcome; 7] = [
    Outcome::None,
    Outcome::Suspected,
    Outcome::Authorised,
    Outcome::AuthorisedWrongRoutine,
    Outcome::MistakenOpening,
    Outcome::CannotTell,
    Outcome::None,
];

/// Thirty months of thirty days from `START` on.
fn months() -> Vec<(String, i64)> {
    (0..30).map(|n: i64| (format!("m{n:02}"), START + n * 30 * DAY)).collect()
}

#[tokio::test]
async fn findings_are_counted_by_rule_month_and_what_people_said() {
    let world = World::new().await;
    let reviewer = world.person("rut", Role::Reviewer, &["E0", "E1"]).await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    let auditor = world.person("aud", Role::Auditor, &["E0"]).await;
    let operator = world.person("ola", Role::Operator, &[]).await;
    let mut expected: BTreeMap<(String, String), Verdicts> = BTreeMap::new();
    let (mut settled, mut findings) = (Vec::new(), Vec::new());
    for n in 0..84_u32 {
        let (rule, unit) = (format!("rule-{}", n % 3), format!("E{}", n % 2));
        let mut one = finding(&rule, &format!("U{n}"), &unit, &[n]);
        // The month before the first one is left out.
        let month = i64::from(n % 4) - 1;
        one.first_at = START + month * 30 * DAY + i64::from(n);
        one.last_at = one.first_at;
        if n % 7 == 6 {
            one.settles_at = Some(START + 400 * DAY);
            settled.push(one.finding_id.clone());
        }
        findings.push(one);
    }
    world.db.record(&run("r1"), &findings, &[]).await.unwrap();
    world.db.record(&run("r2"), &[], &settled).await.unwrap();
    for (n, one) in findings.iter().enumerate() {
        let outcome = OUTCOMES[n % 7];
        if outcome != Outcome::None {
            world.db.decide(&reviewer, &one.finding_id, outcome, "prov").await.unwrap();
        }
        let month = n as i64 % 4 - 1;
        if month < 0 {
            continue;
        }
        let key = (one.rule_id.clone(), format!("m{month:02}"));
        let of = expected.entry(key.clone()).or_insert_with(|| Verdicts {
            rule_id: key.0,
            month: key.1,
            ..Verdicts::default()
        });
        of.found += 1;
        match n % 7 {
            0 => of.left += 1,
            1 => of.suspected += 1,
            2 | 3 => of.justified += 1,
            4 => of.mistaken += 1,
            5 => of.cannot_tell += 1,
            _ => of.settled += 1,
        }
    }
    let all: Vec<Verdicts> = expected.into_values().collect();
    let of = async |who: &Principal| world.db.verdicts(who, &months()).await.unwrap();
    assert_eq!(of(&dso).await, all);
    assert_eq!(of(&auditor).await, all, "an auditor counts all units");
    assert_eq!(of(&reviewer).await, all, "both units are theirs");
    let one_unit = Principal { units: vec!["E0".into()], ..reviewer.clone() };
    let found: u64 = of(&one_unit).await.iter().map(|month| month.found).sum();
    assert_eq!(
        found,
        findings.iter().filter(|f| f.first_at >= START && f.care_unit_id.as_deref() == Some("E0")).count()
            as u64
    );
    let elsewhere = Principal { controllers: vec!["N9".into()], ..dso.clone() };
    assert!(of(&elsewhere).await.is_empty());
    assert!(world.db.verdicts(&operator, &months()).await.is_err());
    assert!(world.db.verdicts(&dso, &[]).await.unwrap().is_empty());
}

fn lift(pairs: u64) -> Lift {
    Lift {
        rule_id: "rule-1".into(),
        title: Text::default(),
        status: Status::Stable,
        pairs,
        by_chance: 2,
        lift: Some(pairs as f64 / 2.0),
        accesses: 8,
        explained: 2,
        failed: None,
    }
}

#[tokio::test]
async fn measurements_are_kept_with_their_time_and_counts_are_for_those_who_see_everything() {
    let world = World::new().await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    let reviewer = world.person("rut", Role::Reviewer, &["E0"]).await;
    assert!(world.db.lifts(&dso, 5).await.unwrap().is_empty());
    assert!(world.db.explaining(&dso).await.unwrap().is_none());
    for n in 0..70 {
        world.wait(DAY);
        world.db.keep_lifts("os:root", Window { from: Some(7), to: None }, &[lift(n)]).await.unwrap();
    }
    let kept = world.db.lifts(&dso, 1000).await.unwrap();
    assert_eq!(kept.len(), 60, "the oldest go");
    assert_eq!((kept[0].measured_at, kept[0].from, kept[0].to), (world.now(), Some(7), None));
    let first = &kept[0].items[0];
    assert_eq!((first.lift, first.explained_share, first.pairs), (Some(34.5), Some(0.25), Some(69)));
    for bound in [reviewer, Principal { controllers: vec!["N1".into()], ..dso.clone() }] {
        let seen = world.db.lifts(&bound, 1).await.unwrap();
        let first = &seen[0].items[0];
        assert_eq!((first.lift, first.explained_share), (Some(34.5), Some(0.25)));
        let counts = [first.pairs, first.by_chance, first.accesses, first.explained];
        assert_eq!(counts, [None; 4], "counts are of the whole installation");
    }
    let measured = Measured { looks: 10, explained: 9, by_chance: 2, ..Measured::default() };
    world.db.keep_explaining("os:root", Window::default(), &measured).await.unwrap();
    let kept = world.db.explaining(&dso).await.unwrap().unwrap();
    assert_eq!((kept.items.looks, kept.items.explained_share), (Some(10), Some(0.9)));
    assert_eq!((kept.items.by_chance_share, kept.items.only_by_user_share), (Some(0.2), Some(0.0)));
}
