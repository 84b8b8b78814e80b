//! Decisions that cover later findings: by whom, of what, for how long, and what comes back.

use insyn_review::{Covers, Db, Filter, Principal, Role, Scope, SuppressionStanding};
use insyn_rules::{Finding, FindingStore, Level, Outcome};

use crate::world::{DAY, World, finding, run};

const MONTH: i64 = 30 * DAY;

struct Desk {
    world: World,
    anna: Principal,
    bo: Principal,
    coordinator: Principal,
    other: Principal,
}

/// Anna (E1) has judged that U1 had reason to look.
async fn desk() -> Desk {
    let world = World::new().await;
    world.db.record(&run("r"), &[clearable("r1", "U1", "E1", 1)], &[]).await.unwrap();
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let bo = world.person("bo", Role::Reviewer, &["E2"]).await;
    let coordinator = world.person("cia", Role::Coordinator, &[]).await;
    let other = world.person("dag", Role::Coordinator, &[]).await;
    world.db.decide(&anna, &id("r1", 1), Outcome::Authorised, "stödperson").await.unwrap();
    Desk { world, anna, bo, coordinator, other }
}

fn id(rule: &str, n: u32) -> String {
    format!("{rule}-{n}")
}

/// The finding of a calendar window of its own.
fn clearable(rule: &str, user: &str, unit: &str, n: u32) -> Finding {
    let mut finding = finding(rule, user, unit, &[n]);
    finding.finding_id = id(rule, n);
    finding.evidence["never_cleared"] = false.into();
    finding
}

async fn later(db: &Db, n: std::ops::Range<u32>, of: impl Fn(u32) -> Finding) {
    let findings: Vec<Finding> = n.map(of).collect();
    db.record(&run(&format!("later {}", findings[0].finding_id)), &findings, &[]).await.unwrap();
}

async fn found(db: &Db, covered: Option<bool>) -> usize {
    let filter = Filter { covered, ..Filter::default() };
    db.list(&filter, &Scope::host(), None, 1000).await.unwrap().items.len()
}

#[tokio::test]
async fn what_is_covered_is_found_and_counted_and_one_in_ten_is_looked_at_all_the_same() {
    let Desk { world, anna, .. } = desk().await;
    let db = &world.db;
    db.suppress(&anna, &id("r1", 1), Covers::Person, 3, "stödperson till sommaren").await.unwrap();
    // Another rule about the same two, another user, another record's rule that nothing clears, a graver one.
    later(db, 100..200, |n| clearable("r2", "U1", "E1", n)).await;
    later(db, 200..210, |n| clearable("r1", "U2", "E1", n)).await;
    later(db, 210..220, |n| {
        let mut own = clearable("own", "U1", "E1", n);
        own.evidence["never_cleared"] = true.into();
        own
    })
    .await;
    later(db, 220..230, |n| Finding { level: Level::Critical, ..clearable("r2", "U1", "E1", n) }).await;
    let covered = found(db, Some(true)).await;
    assert!((75..100).contains(&covered), "about nine of ten: {covered}");
    assert_eq!(found(db, Some(false)).await, 1 + 30 + 100 - covered);
    assert_eq!(found(db, None).await, 131, "nothing is left out");
    let listed = &db.suppressions(&anna).await.unwrap()[0];
    assert_eq!((listed.covered as usize, listed.sampled as usize), (covered, 100 - covered));
    assert_eq!(listed.standing, SuppressionStanding::AwaitsReview);
    let in_queue: u64 = db.counts(&anna).await.unwrap().iter().map(|count| count.count).sum();
    assert_eq!(in_queue as usize, 131 - covered);
}

#[tokio::test]
async fn without_a_second_person_it_lapses_and_what_it_kept_out_comes_back() {
    let Desk { world, anna, bo, coordinator, other } = desk().await;
    let db = &world.db;
    let made = db.suppress(&anna, &id("r1", 1), Covers::Person, 12, "stödperson").await.unwrap();
    later(db, 100..120, |n| clearable("r1", "U1", "E1", n)).await;
    let covered = found(db, Some(true)).await;
    assert!(covered > 10);
    for (who, comment, code) in
        [(&anna, "x", "same_person"), (&bo, "x", "other_unit"), (&coordinator, " ", "comment_missing")]
    {
        let error = db.review_suppression(who, &made, true, comment).await.unwrap_err();
        assert_eq!(error.code(), code, "{}", who.login);
    }
    world.wait(MONTH + DAY);
    assert_eq!(found(db, Some(true)).await, 0, "nobody reviewed it");
    let standing = async || db.suppressions(&anna).await.unwrap()[0].standing;
    assert_eq!(standing().await, SuppressionStanding::Lapsed);
    db.review_suppression(&coordinator, &made, true, "frågade enheten").await.unwrap();
    assert_eq!((standing().await, found(db, Some(true)).await), (SuppressionStanding::Holds, covered));
    db.review_suppression(&other, &made, false, "uppdraget är slut").await.unwrap();
    assert_eq!((standing().await, found(db, Some(true)).await), (SuppressionStanding::Ended, 0));
    let error = db.review_suppression(&coordinator, &made, true, "ändå").await.unwrap_err();
    assert_eq!(error.code(), "suppression_ended");
    later(db, 130..140, |n| clearable("r1", "U1", "E1", n)).await;
    assert_eq!(found(db, Some(true)).await, 0, "what has ended covers nothing new");
}

#[tokio::test]
async fn it_covers_no_longer_than_it_says_and_never_more_than_a_year() {
    let Desk { world, anna, coordinator, .. } = desk().await;
    let db = &world.db;
    for months in [0, 13] {
        let error = db.suppress(&anna, &id("r1", 1), Covers::Person, months, "x").await.unwrap_err();
        assert_eq!(error.code(), "bad_months");
    }
    let made = db.suppress(&anna, &id("r1", 1), Covers::Person, 2, "stödperson").await.unwrap();
    db.review_suppression(&coordinator, &made, true, "ja").await.unwrap();
    world.wait(2 * MONTH);
    later(db, 100..120, |n| clearable("r1", "U1", "E1", n)).await;
    assert_eq!(found(db, Some(true)).await, 0);
    assert_eq!(db.suppressions(&anna).await.unwrap()[0].standing, SuppressionStanding::Expired);
}

#[tokio::test]
async fn a_coordinator_covers_a_unit_and_nobody_what_nothing_clears_or_was_not_authorised() {
    let Desk { world, anna, bo, coordinator, .. } = desk().await;
    let db = &world.db;
    let mut own = clearable("own", "U1", "E1", 2);
    own.evidence["never_cleared"] = true.into();
    let suspected = clearable("r3", "U1", "E1", 3);
    db.record(&run("more"), &[own, suspected], &[]).await.unwrap();
    db.decide(&anna, &id("own", 2), Outcome::Authorised, "x").await.unwrap();
    db.decide(&anna, &id("r3", 3), Outcome::Suspected, "x").await.unwrap();
    for (who, finding, covers, because, code) in [
        (&anna, id("own", 2), Covers::Person, "x", "never_covered"),
        (&anna, id("r3", 3), Covers::Person, "x", "not_authorised"),
        (&anna, id("r1", 1), Covers::Unit, "x", "forbidden_role"),
        (&bo, id("r1", 1), Covers::Person, "x", "other_unit"),
        (&anna, id("r1", 1), Covers::Person, "", "comment_missing"),
        (&coordinator, id("r1", 1), Covers::Person, "x", "forbidden_role"),
    ] {
        let error = db.suppress(who, &finding, covers, 3, because).await.unwrap_err();
        assert_eq!(error.code(), code, "{} {finding}", who.login);
    }
    db.suppress(&coordinator, &id("r1", 1), Covers::Unit, 3, "gemensam mottagning").await.unwrap();
    later(db, 100..120, |n| clearable("r1", &format!("U{n}"), "E1", n)).await;
    later(db, 120..140, |n| clearable("r1", &format!("U{n}"), "E2", n)).await;
    later(db, 140..160, |n| clearable("r2", &format!("U{n}"), "E1", n)).await;
    let covered = found(db, Some(true)).await;
    assert!((12..=20).contains(&covered), "of that rule on that unit alone: {covered}");
}

#[tokio::test]
async fn who_was_told_no_does_not_ask_again_and_what_is_taken_up_stays() {
    let Desk { world, anna, coordinator, .. } = desk().await;
    let db = &world.db;
    // Open before the decision, and joined by new evidence after it: it was in the queue and stays there.
    let before = clearable("r2", "U1", "E1", 50);
    db.record(&run("before"), std::slice::from_ref(&before), &[]).await.unwrap();
    let made = db.suppress(&anna, &id("r1", 1), Covers::Person, 3, "stödperson").await.unwrap();
    let mut joined = finding("r2", "U1", "E1", &[50, 51]);
    joined.finding_id = before.finding_id.clone();
    joined.evidence["never_cleared"] = false.into();
    db.record(&run("after"), &[joined], &[]).await.unwrap();
    assert_eq!(found(db, Some(true)).await, 0);
    // Kept out, until somebody takes it up.
    later(db, 100..130, |n| clearable("r1", "U1", "E1", n)).await;
    let filter = Filter { covered: Some(true), ..Filter::default() };
    let kept_out = db.list(&filter, &Scope::host(), None, 1000).await.unwrap().items;
    let one = kept_out[0].finding.finding_id.clone();
    db.assign(&coordinator, &one, &anna.user_id, "se på den här").await.unwrap();
    assert_eq!(found(db, Some(true)).await, kept_out.len() - 1);
    // From another unit nothing is covered, nor what is about somebody who leads the unit.
    later(db, 130..150, |n| clearable("r1", "U1", "E2", n)).await;
    later(db, 150..170, |n| {
        let mut led = clearable("r1", "U1", "E1", n);
        led.evidence["user_leads_unit"] = true.into();
        led
    })
    .await;
    assert_eq!(found(db, Some(true)).await, kept_out.len() - 1);
    db.review_suppression(&coordinator, &made, false, "nej").await.unwrap();
    let again = db.suppress(&anna, &id("r1", 1), Covers::Person, 3, "ändå").await.unwrap_err();
    assert_eq!(again.code(), "already_covers");
    let steps = db.history(&kept_out[1].finding.finding_id, &Scope::host()).await.unwrap();
    assert_eq!(steps.last().map(|step| step.kind.as_str()), Some("uncovered"), "and its history says so");
}

#[tokio::test]
async fn nobodys_own_accesses_are_kept_out_by_their_own_decision() {
    let Desk { world, coordinator, .. } = desk().await;
    let db = &world.db;
    db.suppress(&coordinator, &id("r1", 1), Covers::Unit, 3, "gemensam mottagning").await.unwrap();
    later(db, 100..120, |n| clearable("r1", "se1-cia", "E1", n)).await;
    assert_eq!(found(db, Some(true)).await, 0);
    later(db, 120..140, |n| clearable("r1", "se1-dora", "E1", n)).await;
    assert!(found(db, Some(true)).await > 10);
}
