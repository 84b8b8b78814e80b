//! Runs and their findings: the same again changes nothing, whatever the order and the cut.

use std::collections::BTreeSet;

use insyn_review::{Filter, FindingView, HistoryKind, Role, Scope};
use insyn_rules::{Finding, FindingStatus, FindingStore, Outcome, Recorded, RuleMark, RunRecord, Spans};
use proptest::{collection, prelude::*, test_runner::TestCaseError};

use crate::world::{DAY, SECOND, START, World, finding, run};

async fn all(world: &World) -> Vec<FindingView> {
    let mut all = world.db.list(&Filter::default(), &Scope::host(), None, 1000).await.unwrap().items;
    for view in &mut all {
        view.finding.evidence =
            world.db.get(&view.finding.finding_id, &Scope::host()).await.unwrap().finding.evidence;
    }
    all
}

fn recorded(new: u64, joined: u64, unchanged: u64) -> Recorded {
    Recorded { new, joined, unchanged, settled: 0 }
}

#[tokio::test]
async fn new_joined_unchanged() {
    let world = World::new().await;
    let (one, more, part) = (
        finding("no-relation", "U1", "E1", &[1, 2]),
        finding("no-relation", "U1", "E1", &[1, 2, 9]),
        finding("no-relation", "U1", "E1", &[2]),
    );
    let other = finding("no-relation", "U2", "E1", &[1]);
    let record =
        async |id: &str, findings: &[Finding]| world.db.record(&run(id), findings, &[]).await.unwrap();
    assert_eq!(record("r1", &[one.clone(), other]).await, recorded(2, 0, 0));
    let before = all(&world).await;
    assert_eq!(
        before.iter().find(|v| v.finding.user_id == "U1").unwrap().finding,
        one,
        "as it was handed in"
    );
    assert_eq!(record("r2", &[one.clone(), part]).await, recorded(0, 0, 2));
    assert_eq!(all(&world).await, before);
    assert_eq!(record("r3", std::slice::from_ref(&more)).await, recorded(0, 1, 0));
    let scope = Scope::host();
    assert_eq!(world.db.get(&one.finding_id, &scope).await.unwrap().finding, more);
    assert_eq!(record("r4", &[one.clone(), more]).await, recorded(0, 0, 2));

    let steps: Vec<(String, String, Option<String>)> = world
        .db
        .history(&one.finding_id, &scope)
        .await
        .unwrap()
        .into_iter()
        .map(|step| (step.kind.as_str().to_owned(), step.by_name, step.comment))
        .collect();
    assert_eq!(
        steps,
        [("made".into(), "r1".into(), None), ("joined".into(), "r3".into(), Some("+1".into()))]
    );
    let runs = world.db.runs(None, 10).await.unwrap().items;
    assert_eq!(
        runs.iter().map(|r| (r.run_id.as_str(), r.recorded)).collect::<Vec<_>>()[..2],
        [("r1", recorded(2, 0, 0)), ("r2", recorded(0, 0, 2))]
    );
    assert_eq!(world.db.run("r3").await.unwrap().record["lake_version"], 7);
    assert_eq!(world.db.run("r9").await.unwrap_err().code(), "unknown_run");
}

#[tokio::test]
async fn what_is_decided_stays_decided_and_new_events_follow_it() {
    let world = World::new().await;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let stated = |events: &[u32]| finding("no-relation", "U1", "E1", events);
    let id = stated(&[1]).finding_id;
    let record = async |events: &[u32]| world.db.record(&run("r"), &[stated(events)], &[]).await.unwrap();
    assert_eq!(record(&[1, 2]).await, recorded(1, 0, 0));
    let decided = world.db.decide(&anna, &id, Outcome::Authorised, "Jour den natten.").await.unwrap();

    assert_eq!(record(&[1, 2]).await, recorded(0, 0, 1), "nothing reopens it");
    assert_eq!(record(&[2]).await, recorded(0, 0, 1));
    let again = Finding { rule_version: 2, ..stated(&[1, 2]) };
    assert_eq!(
        world.db.record(&run("r"), &[again], &[]).await.unwrap(),
        recorded(0, 0, 1),
        "nor does a new version"
    );

    assert_eq!(record(&[1, 2, 7]).await, recorded(1, 0, 0));
    assert_eq!(record(&[1, 2, 7]).await, recorded(0, 0, 1));
    assert_eq!(record(&[1, 2, 7, 8]).await, recorded(0, 1, 0));
    assert_eq!(world.db.get(&id, &Scope::host()).await.unwrap(), decided);

    let chain = world.db.chain(&id, &Scope::host()).await.unwrap();
    assert_eq!(chain.len(), 2);
    let next = &chain[1];
    assert_eq!(next.follows.as_deref(), Some(id.as_str()));
    assert_ne!(next.finding.finding_id, id);
    assert_eq!(
        (next.finding.event_ids.as_slice(), next.finding.event_count),
        (&["e7".to_owned(), "e8".to_owned()][..], 2)
    );
    assert_eq!((next.finding.status, next.finding.outcome), (FindingStatus::New, Outcome::None));
    assert_eq!(
        (next.finding.first_at, next.finding.last_at),
        (START + 7 * SECOND, START + 8 * SECOND),
        "the times of its own accesses"
    );
    let rows = world.db.get(&next.finding.finding_id, &Scope::host()).await.unwrap().finding.events();
    assert_eq!(rows.iter().map(|e| e.event_id.as_str()).collect::<Vec<_>>(), ["e7", "e8"]);

    world.db.decide(&anna, &next.finding.finding_id, Outcome::CannotTell, "Minns inte.").await.unwrap();
    assert_eq!(record(&[1, 2, 7, 8]).await, recorded(0, 0, 1));
    assert_eq!(record(&[1, 2, 7, 8, 9]).await, recorded(1, 0, 0));
    let chain = world.db.chain(&id, &Scope::host()).await.unwrap();
    assert_eq!(chain.iter().map(|v| v.finding.event_count).collect::<Vec<_>>(), [2, 2, 1]);
}

/// A finding that waits two weeks for what comes late.
fn waits(user: &str, events: &[u32]) -> Finding {
    let finding = finding("no-relation", user, "E1", events);
    Finding { settles_at: Some(finding.last_at + 14 * DAY), ..finding }
}

#[tokio::test]
async fn what_came_late_closes_a_finding_and_what_is_withdrawn_opens_another() {
    let world = World::new().await;
    let db = &world.db;
    let stated = waits("U1", &[1, 2]);
    let id = stated.finding_id.clone();
    db.record(&run("r1"), std::slice::from_ref(&stated), &[]).await.unwrap();
    let waiting = db.waiting(START).await.unwrap();
    assert_eq!(waiting.iter().map(|f| &f.finding_id).collect::<Vec<_>>(), [&id]);
    assert_eq!(waiting[0].evidence, serde_json::json!({ "parameters": {} }), "no more than is needed");

    let settled = db.record(&run("r2"), &[], std::slice::from_ref(&id)).await.unwrap();
    assert_eq!(settled, Recorded { settled: 1, ..Recorded::default() });
    assert_eq!(db.run("r2").await.unwrap().recorded, settled);
    let view = db.get(&id, &Scope::host()).await.unwrap();
    assert_eq!((view.finding.status, view.finding.outcome), (FindingStatus::Closed, Outcome::None));
    assert_eq!((view.settled_at, view.decided_at), (Some(world.now()), None));
    let last = db.history(&id, &Scope::host()).await.unwrap().pop().unwrap();
    assert_eq!((last.kind, last.by_user_id, last.by_name.as_str()), (HistoryKind::Settled, None, "r2"));
    assert!(db.waiting(START).await.unwrap().is_empty());
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let late = db.decide(&anna, &id, Outcome::Suspected, "Ändå.").await.unwrap_err();
    assert_eq!(late.code(), "already_decided");

    let again = db.record(&run("r3"), std::slice::from_ref(&stated), &[]).await.unwrap();
    assert_eq!(again, recorded(1, 0, 0), "the relation was taken back");
    let chain = db.chain(&id, &Scope::host()).await.unwrap();
    assert_eq!(
        chain.iter().map(|v| v.finding.status).collect::<Vec<_>>(),
        [FindingStatus::Closed, FindingStatus::New]
    );
    assert_eq!(chain[1].follows.as_deref(), Some(id.as_str()));
    assert_eq!(chain[1].finding.event_ids, stated.event_ids);
    assert_eq!(db.record(&run("r4"), &[stated], &[]).await.unwrap(), recorded(0, 0, 1));
}

#[tokio::test]
async fn only_what_nobody_has_taken_up_waits_and_only_so_long() {
    let world = World::new().await;
    let db = &world.db;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let coordinator = world.person("cia", Role::Coordinator, &[]).await;
    let findings: Vec<Finding> = ["NEW", "ASSIGNED", "ASKED", "DECIDED"].map(|user| waits(user, &[1])).into();
    let ids: Vec<String> = findings.iter().map(|f| f.finding_id.clone()).collect();
    db.record(&run("r1"), &findings, &[]).await.unwrap();
    db.record(&run("r1b"), &[finding("own-record", "U9", "E1", &[1])], &[]).await.unwrap();
    db.assign(&coordinator, &ids[1], &anna.user_id, "").await.unwrap();
    db.ask(&anna, &ids[2], "Varför?").await.unwrap();
    db.decide(&anna, &ids[3], Outcome::Authorised, "Jour.").await.unwrap();
    let waiting = async |at: i64| {
        let found: BTreeSet<String> = db.waiting(at).await.unwrap().into_iter().map(|f| f.user_id).collect();
        found.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(waiting(START).await, ["ASSIGNED", "NEW"]);
    let end = findings[0].settles_at.unwrap();
    assert_eq!(waiting(end - 1).await.len(), 2);
    assert!(waiting(end).await.is_empty());
    // Between the question and the answer somebody can take a finding up: then it is theirs.
    let report = db.record(&run("r2"), &[], &ids).await.unwrap();
    assert_eq!(report.settled, 2);
    for (id, status) in ids.iter().zip([
        FindingStatus::Closed,
        FindingStatus::Closed,
        FindingStatus::Asked,
        FindingStatus::Decided,
    ]) {
        assert_eq!(db.get(id, &Scope::host()).await.unwrap().finding.status, status);
    }
}

#[tokio::test]
async fn many_that_wait_are_all_there() {
    let world = World::new().await;
    let findings: Vec<Finding> = (0..1203).map(|n| waits(&format!("U{n}"), &[n])).collect();
    world.db.record(&run("r"), &findings, &[]).await.unwrap();
    let waiting: BTreeSet<String> =
        world.db.waiting(START).await.unwrap().into_iter().map(|f| f.finding_id).collect();
    assert_eq!(waiting, findings.into_iter().map(|f| f.finding_id).collect());
}

#[tokio::test]
async fn a_finding_without_events_is_made_once_and_decided_once() {
    let world = World::new().await;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let quiet = finding("source-quiet", "", "E1", &[]);
    let record = async || world.db.record(&run("r"), std::slice::from_ref(&quiet), &[]).await.unwrap();
    assert_eq!(record().await, recorded(1, 0, 0));
    assert_eq!(record().await, recorded(0, 0, 1));
    world.db.decide(&anna, &quiet.finding_id, Outcome::CannotTell, "Driftstopp.").await.unwrap();
    assert_eq!(record().await, recorded(0, 0, 1));
}

#[tokio::test]
async fn two_processes_record_the_same_at_once() {
    let world = World::new().await;
    let other = world.again().await;
    let findings: Vec<Finding> =
        (0..60).map(|n| finding("rule", &format!("U{n}"), "E1", &[n, n + 1])).collect();
    let (one, two) = (run("r1"), run("r2"));
    let (one, two) = tokio::join!(world.db.record(&one, &findings, &[]), other.record(&two, &findings, &[]));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.new + two.new, one.unchanged + two.unchanged, one.joined + two.joined), (60, 60, 0));
    assert_eq!(all(&world).await.len(), 60);
}

#[tokio::test]
async fn many_events_and_many_findings_go_through_in_one_run() {
    let world = World::new().await;
    let long: Vec<u32> = (0..3000).collect();
    let mut findings: Vec<Finding> =
        (0..1200).map(|n| finding("rule", &format!("U{n}"), "E1", &[n])).collect();
    findings.push(finding("volume", "U1", "E1", &long));
    assert_eq!(world.db.record(&run("r"), &findings, &[]).await.unwrap(), recorded(1201, 0, 0));
    assert_eq!(world.db.record(&run("s"), &findings, &[]).await.unwrap(), recorded(0, 0, 1201));
    let filter = Filter { event: Some("e7".into()), ..Filter::default() };
    assert_eq!(world.db.list(&filter, &Scope::host(), None, 10).await.unwrap().items.len(), 2);
}

/// One run: what it states of each of three users.
fn runs() -> impl Strategy<Value = Vec<Vec<(u8, BTreeSet<u32>)>>> {
    let stated = (0u8..3, collection::btree_set(0u32..6, 1..5));
    collection::vec(collection::vec(stated, 0..4), 1..6)
}

async fn end_state(runs: &[Vec<(u8, BTreeSet<u32>)>]) -> Vec<Finding> {
    let world = World::new().await;
    for (n, stated) in runs.iter().enumerate() {
        let findings: Vec<Finding> = stated
            .iter()
            .map(|(user, events)| {
                finding("rule", &format!("U{user}"), "E1", &events.iter().copied().collect::<Vec<_>>())
            })
            .collect();
        world.db.record(&run(&format!("r{n}")), &findings, &[]).await.unwrap();
    }
    all(&world).await.into_iter().map(|view| view.finding).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_cut_of_runs_do_not_matter(runs in runs(), turn in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let told = end_state(&runs).await;
            let mut other = runs.clone();
            other.reverse();
            let turn = turn.index(other.len());
            other.rotate_left(turn);
            other.push(other[0].clone());
            prop_assert_eq!(&end_state(&other).await, &told, "other order, one run twice");
            let at_once = vec![runs.concat()];
            prop_assert_eq!(&end_state(&at_once).await, &told, "one run");
            let each: Vec<_> = runs.concat().into_iter().map(|one| vec![one]).collect();
            prop_assert_eq!(&end_state(&each).await, &told, "a run for each");
            // Brute force: every event that was ever stated of a user stands in that user's only finding.
            for user in 0..3u8 {
                let stated: BTreeSet<String> = runs
                    .concat()
                    .iter()
                    .filter(|(of, _)| *of == user)
                    .flat_map(|(_, events)| events.iter().map(|e| format!("e{e}")).collect::<Vec<_>>())
                    .collect();
                let name = format!("U{user}");
                let found: Vec<&Finding> = told.iter().filter(|f| f.user_id == name).collect();
                prop_assert_eq!(found.len(), usize::from(!stated.is_empty()));
                if let Some(found) = found.first() {
                    prop_assert_eq!(found.event_ids.iter().cloned().collect::<BTreeSet<_>>(), stated);
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[tokio::test]
async fn what_is_stated_of_a_person_and_record_is_told_under_the_id_that_runs_give_it() {
    let world = World::new().await;
    let db = &world.db;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    let findings = [finding("own-record", "U1", "E1", &[1, 2]), waits("U1", &[3]), waits("U2", &[4])];
    db.record(&run("r1"), &findings, &[]).await.unwrap();
    // One is decided, and another follows it; one is settled.
    db.decide(&anna, &findings[0].finding_id, Outcome::Authorised, "Jour.").await.unwrap();
    db.record(&run("r2"), &[finding("own-record", "U1", "E1", &[1, 2, 9])], &[]).await.unwrap();
    db.record(&run("r3"), &[], std::slice::from_ref(&findings[1].finding_id)).await.unwrap();
    let subject = findings[0].subject_id.clone();
    let stated = async |user: &str, subject: Option<String>, from: i64| {
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        // More than one statement asks for: nothing is asked twice.
        let others = (0..1_200).map(|n| (format!("NOBODY{n}"), None));
        let pairs: Vec<_> = others.chain([(user.to_owned(), subject)]).collect();
        for finding in db.stated(&pairs, from, START + DAY).await.unwrap() {
            assert_eq!(finding.events().len(), finding.event_ids.len());
            found.push((finding.finding_id, finding.event_ids));
        }
        found
    };
    let id = findings[0].finding_id.clone();
    let both = [(id.clone(), vec!["e1".to_owned(), "e2".into()]), (id, vec!["e9".into()])];
    assert_eq!(stated("U1", subject.clone(), START).await, both);
    assert_eq!(stated("U1", subject.clone(), START + 3_000_000).await, both[1..]);
    assert_eq!(stated("U2", subject.clone(), START).await.len(), 1);
    assert!(stated("U2", None, START).await.is_empty());
    assert!(stated("U3", subject, START).await.is_empty());
}

#[tokio::test]
async fn how_far_a_rule_has_judged_goes_with_the_run_and_never_back() {
    let world = World::new().await;
    let mark = |rule: &str, version: u64, at: i64| RuleMark {
        rule_id: rule.into(),
        rule_version: 1,
        setting: format!("{rule} 1"),
        lake: serde_json::from_value(
            serde_json::json!({ "table": "t", "version": version, "entry": 5, "batches": { "1": 7 } }),
        )
        .unwrap(),
        context: [("staff".to_owned(), "d".to_owned())].into(),
        left: Spans::from(vec![(1, 5), (3, 9)]),
        at,
    };
    let record = async |id: &str, marks: &[RuleMark]| {
        let run = RunRecord { marks: marks.to_vec(), ..run(id) };
        world.db.record(&run, &[], &[]).await.unwrap();
        world.db.marks().await.unwrap()
    };
    let (a, b) = (mark("a", 3, START), mark("b", 3, START));
    assert_eq!(record("r1", &[a.clone(), b.clone()]).await, [a.clone(), b.clone()]);
    assert_eq!(record("r2", &[]).await, [a.clone(), b.clone()]);
    // A run that began earlier and ended later says nothing; one of a lake that was put back does.
    assert_eq!(record("r3", &[mark("a", 2, START - 1)]).await, [a, b.clone()]);
    let back = mark("a", 1, START + 1);
    assert_eq!(record("r4", std::slice::from_ref(&back)).await, [back, b]);
}
