//! Who decides what, once, and what stays of it.

use insyn_review::{Filter, HistoryKind, Principal, Role, Scope};
use insyn_rules::{FindingStatus, FindingStore, Outcome};

use crate::world::{World, finding, run, user};

struct Desk {
    world: World,
    anna: Principal,
    bo: Principal,
    coordinator: Principal,
    dso: Principal,
}

/// Reviewers of E1 (anna) and E2 (bo), and findings: rule-E1 and rule-E2 about U1, `own` about anna in E1.
async fn desk() -> Desk {
    let world = World::new().await;
    let findings = [
        finding("rule-e1", "U1", "E1", &[1]),
        finding("rule-e2", "U1", "E2", &[1]),
        finding("own", "se1-anna", "E1", &[1]),
    ];
    world.db.record(&run("r"), &findings, &[]).await.unwrap();
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let bo = world.person("bo", Role::Reviewer, &["E2"]).await;
    let coordinator = world.person("cia", Role::Coordinator, &[]).await;
    let dso = world.person("dan", Role::Dso, &[]).await;
    Desk { world, anna, bo, coordinator, dso }
}

fn id(rule: &str) -> String {
    finding(rule, if rule == "own" { "se1-anna" } else { "U1" }, "", &[]).finding_id
}

#[tokio::test]
async fn refusals_have_their_reasons() {
    let desk = desk().await;
    let db = &desk.world.db;
    let long = "å".repeat(4001);
    let suspected = Outcome::Suspected;
    for (who, finding_id, outcome, comment, code) in [
        (&desk.dso, id("rule-e1"), suspected, "x", "forbidden_role"),
        (&desk.coordinator, id("rule-e1"), suspected, "x", "forbidden_role"),
        (&desk.dso, "ingen".to_owned(), suspected, "x", "forbidden_role"),
        (&desk.anna, "ingen".to_owned(), suspected, "x", "unknown_finding"),
        (&desk.anna, id("own"), suspected, "x", "own_access"),
        (&desk.anna, id("rule-e2"), suspected, "x", "other_unit"),
        (&desk.anna, id("rule-e1"), Outcome::None, "x", "unknown_outcome"),
        (&desk.anna, id("rule-e1"), Outcome::Confirmed, "x", "confirmed_needs_case"),
        (&desk.anna, id("rule-e1"), suspected, " \n ", "comment_missing"),
        (&desk.anna, id("rule-e1"), suspected, long.as_str(), "comment_too_long"),
    ] {
        let error = db.decide(who, &finding_id, outcome, comment).await.unwrap_err();
        assert_eq!(error.code(), code, "{} {outcome} {comment:.9}", who.login);
        assert!(error.is_refusal());
    }
    let counts = db.counts(&desk.dso).await.unwrap();
    assert_eq!(counts.iter().map(|c| (c.status, c.count)).collect::<Vec<_>>(), [(FindingStatus::New, 3)]);
}

#[tokio::test]
async fn a_decision_is_taken_once_and_kept() {
    let desk = desk().await;
    let db = &desk.world.db;
    desk.world.wait(5);
    let view =
        db.decide(&desk.anna, &id("rule-e1"), Outcome::Suspected, "  Ingen förklaring. ").await.unwrap();
    assert_eq!((view.finding.status, view.finding.outcome), (FindingStatus::Decided, Outcome::Suspected));
    assert_eq!(view.decided_at, Some(desk.world.now()));
    let again = db.decide(&desk.anna, &id("rule-e1"), Outcome::Authorised, "Ändrat mig").await.unwrap_err();
    assert_eq!(again.code(), "already_decided");
    let steps = db.history(&id("rule-e1"), &Scope::of(&desk.anna).unwrap()).await.unwrap();
    assert_eq!(
        steps.iter().map(|s| (s.ordinal, s.kind)).collect::<Vec<_>>(),
        [(0, HistoryKind::Made), (1, HistoryKind::Decided)]
    );
    let step = &steps[1];
    assert_eq!(step.by_user_id.as_deref(), Some(desk.anna.user_id.as_str()));
    assert_eq!((step.by_name.as_str(), step.outcome), ("anna i test", Some(Outcome::Suspected)));
    assert_eq!((step.comment.as_deref(), step.at), (Some("Ingen förklaring."), desk.world.now()));

    assert_eq!(db.ask(&desk.anna, &id("rule-e1"), "x").await.unwrap_err().code(), "already_decided");
    assert_eq!(
        db.close_finding(&desk.coordinator, &id("rule-e2"), "x").await.unwrap_err().code(),
        "not_decided"
    );
    let closed = db.close_finding(&desk.coordinator, &id("rule-e1"), "Polisanmält.").await.unwrap();
    assert_eq!((closed.finding.status, closed.finding.outcome), (FindingStatus::Closed, Outcome::Suspected));
    assert_eq!(
        db.close_finding(&desk.coordinator, &id("rule-e1"), "x").await.unwrap_err().code(),
        "finding_closed"
    );
}

#[tokio::test]
async fn of_two_who_decide_at_once_one_does() {
    let desk = desk().await;
    let eva = desk.world.person("eva", Role::Reviewer, &["E1"]).await;
    let other = desk.world.again().await;
    let e1 = id("rule-e1");
    let (one, two) = tokio::join!(
        desk.world.db.decide(&desk.anna, &e1, Outcome::Authorised, "Jour."),
        other.decide(&eva, &e1, Outcome::Suspected, "Nej."),
    );
    let codes = [one.err().map(|e| e.code()), two.err().map(|e| e.code())];
    assert!(
        codes == [None, Some("already_decided")] || codes == [Some("already_decided"), None],
        "{codes:?}"
    );
    let steps = desk.world.db.history(&e1, &Scope::host()).await.unwrap();
    assert_eq!(steps.iter().filter(|s| s.kind == HistoryKind::Decided).count(), 1);
}

#[tokio::test]
async fn what_is_given_to_somebody_is_theirs_to_judge() {
    let desk = desk().await;
    let db = &desk.world.db;
    let assign = async |who: &Principal, rule: &str, to: &Principal| {
        db.assign(who, &id(rule), &to.user_id, "").await.map_or_else(|e| e.code(), |_| "given")
    };
    assert_eq!(assign(&desk.anna, "own", &desk.bo).await, "forbidden_role");
    assert_eq!(assign(&desk.coordinator, "own", &desk.anna).await, "cannot_assign", "to themself");
    assert_eq!(assign(&desk.coordinator, "own", &desk.dso).await, "cannot_assign", "no reviewer");
    assert_eq!(assign(&desk.coordinator, "ingen", &desk.bo).await, "unknown_finding");
    let bos = Scope::of(&desk.bo).unwrap();
    assert_eq!(db.get(&id("own"), &bos).await.unwrap_err().code(), "unknown_finding");
    assert_eq!(assign(&desk.coordinator, "own", &desk.bo).await, "given");
    let view = db.get(&id("own"), &bos).await.unwrap();
    assert_eq!(
        (view.finding.status, view.assigned_name.as_deref()),
        (FindingStatus::Assigned, Some("bo i test"))
    );
    let mine = Filter { assigned_to: Some(desk.bo.user_id.clone()), ..Filter::default() };
    assert_eq!(db.list(&mine, &bos, None, 9).await.unwrap().items.len(), 1);
    db.ask(&desk.bo, &id("own"), "Frågade per brev.").await.unwrap();
    assert_eq!(assign(&desk.coordinator, "own", &desk.bo).await, "given");
    assert_eq!(db.get(&id("own"), &bos).await.unwrap().finding.status, FindingStatus::Asked, "stays asked");
    db.decide(&desk.bo, &id("own"), Outcome::MistakenOpening, "Fel person i listan.").await.unwrap();
    assert_eq!(assign(&desk.coordinator, "own", &desk.bo).await, "already_decided");
    desk.world.db.set_disabled("bo", true).await.unwrap();
    assert_eq!(assign(&desk.coordinator, "rule-e2", &desk.bo).await, "unknown_user");
}

#[tokio::test]
async fn a_coordinator_keeps_their_hands_off_their_own() {
    let desk = desk().await;
    let db = &desk.world.db;
    db.record(&run("r2"), &[finding("about-cia", "SE1-CIA", "E1", &[5])], &[]).await.unwrap();
    let about = finding("about-cia", "SE1-CIA", "E1", &[5]).finding_id;
    assert_eq!(
        db.assign(&desk.coordinator, &about, &desk.anna.user_id, "").await.unwrap_err().code(),
        "own_access"
    );
    assert_eq!(db.ask(&desk.coordinator, &about, "x").await.unwrap_err().code(), "own_access");
}

#[tokio::test]
async fn a_persons_other_accounts_are_theirs_too() {
    let desk = desk().await;
    let db = &desk.world.db;
    db.record(&run("r2"), &[finding("own-too", "ANNAND ", "E1", &[5])], &[]).await.unwrap();
    let own = finding("own-too", "ANNAND ", "E1", &[5]).finding_id;
    let mut like = user("anna", Role::Reviewer, &["E1"]);
    assert!(db.get(&own, &Scope::of(&desk.anna).unwrap()).await.is_ok(), "as long as nobody knows");
    like.staff_accounts = vec!["annand".to_owned()];
    db.set_grants("anna", &like).await.unwrap();
    let anna = db.sign_in("anna", crate::world::PASSWORD, "").await.unwrap().principal;
    assert_eq!(db.get(&own, &Scope::of(&anna).unwrap()).await.unwrap_err().code(), "unknown_finding");
    assert_eq!(db.decide(&anna, &own, Outcome::Authorised, "Jag.").await.unwrap_err().code(), "own_access");
}

/// Who may judge: what concerns the units or was given by name, never one's own; whom one works for only when a
/// coordinator chose so. What may not be judged is not seen either.
#[tokio::test]
async fn each_way_to_a_finding_is_judged_by_its_own() {
    let desk = desk().await;
    let db = &desk.world.db;
    let led = |rule: &str| {
        let mut finding = finding(rule, "U-CHEF", "E1", &[1]);
        finding.evidence["user_leads_unit"] = serde_json::json!(true);
        finding
    };
    let elsewhere = finding("elsewhere", "U1", "E9", &[1]);
    let given = finding("given", "U1", "E9", &[1]);
    let given_to_bo = finding("given-to-bo", "U1", "E1", &[1]);
    let findings =
        [led("manager"), led("manager-given"), elsewhere.clone(), given.clone(), given_to_bo.clone()];
    db.record(&run("r2"), &findings, &[]).await.unwrap();
    for (finding, to) in [(&given, &desk.anna), (&findings[1], &desk.anna), (&given_to_bo, &desk.bo)] {
        db.assign(&desk.coordinator, &finding.finding_id, &to.user_id, "").await.unwrap();
    }
    let own_given = db.assign(&desk.coordinator, &id("own"), &desk.anna.user_id, "").await.unwrap_err();
    assert_eq!(own_given.code(), "cannot_assign", "their own, not even by name");

    let annas = Scope::of(&desk.anna).unwrap();
    let listed = db.list(&Filter::default(), &annas, None, 100).await.unwrap().items;
    for (what, finding_id, expected) in [
        ("their own unit", id("rule-e1"), "decided"),
        ("their own unit, though given to another", given_to_bo.finding_id.clone(), "decided"),
        ("another unit, given by name", given.finding_id.clone(), "decided"),
        ("neither", elsewhere.finding_id.clone(), "other_unit"),
        ("their own access", id("own"), "own_access"),
        ("who leads their unit", findings[0].finding_id.clone(), "own_manager"),
        ("who leads their unit, given by name", findings[1].finding_id.clone(), "decided"),
    ] {
        let may = expected == "decided";
        assert_eq!(listed.iter().any(|v| v.finding.finding_id == finding_id), may, "{what}: in the list");
        assert_eq!(db.get(&finding_id, &annas).await.is_ok(), may, "{what}: by its address");
        let decision = db.decide(&desk.anna, &finding_id, Outcome::Authorised, "Jour.").await;
        assert_eq!(decision.map_or_else(|e| e.code(), |_| "decided"), expected, "{what}");
    }
}
