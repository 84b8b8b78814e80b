//! Decisions and holds as they are registered; findings whose time is over, and what their file holds afterwards.

use insyn_review::{Aged, Covered, Held, NewDecision, Role};
use insyn_rules::{FindingStore, Outcome};

use crate::world::{SECOND, START, World, finding, run};

const SUBJECT: &str = "191212121212";

fn decision() -> NewDecision {
    NewDecision {
        authority: " Regionarkivet ".into(),
        number: "2026-14".into(),
        decided_on: "2026-11-02".into(),
        covers: Covered { source: Some("journal".into()), after_years: Some(5), ..Covered::default() },
    }
}

#[tokio::test]
async fn a_decision_is_kept_as_it_was_registered_and_ends_once() {
    let world = World::new().await;
    let id = world.db.decide_retention(&decision(), "os:anna").await.unwrap();
    let found = world.again().await.retention_decisions().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].decision_id.as_str(), found[0].registered_by.as_str()), (id.as_str(), "os:anna"));
    assert_eq!(found[0].name(), "Regionarkivet 2026-14, 2026-11-02");
    assert_eq!((&found[0].covers, found[0].registered_at), (&decision().covers, START));
    world.db.withdraw_retention(&id, "mistaken", "os:bo").await.unwrap();
    let ended = world.db.retention_decisions().await.unwrap().remove(0);
    assert_eq!((ended.withdrawn_at, ended.withdrawn_why.as_deref()), (Some(START), Some("mistaken")));
    let error = world.db.withdraw_retention(&id, "again", "os:bo").await.unwrap_err();
    assert_eq!(error.code(), "unknown_decision");

    let when = |after_years, before_day: Option<&str>| Covered {
        after_years,
        before_day: before_day.map(str::to_owned),
        ..Covered::default()
    };
    for wrong in [
        NewDecision { authority: " ".into(), ..decision() },
        NewDecision { number: String::new(), ..decision() },
        NewDecision { decided_on: "2026-11-31".into(), ..decision() },
        NewDecision { covers: when(None, None), ..decision() },
        NewDecision { covers: when(Some(5), Some("i fjol")), ..decision() },
    ] {
        let error = world.db.decide_retention(&wrong, "x").await.unwrap_err();
        assert_eq!((error.code(), error.is_refusal()), ("bad_decision", true), "{error}");
    }
    assert_eq!(world.db.retention_decisions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hold_names_somebody_until_it_is_released_and_stands_elsewhere_too() {
    let world = World::new().await;
    let held = Held {
        subjects: vec![SUBJECT.into()],
        users: vec!["SE1-1".into(), "SE1-2".into()],
        cases: vec!["2026-7".into()],
    };
    let id = world.db.hold(&held, "anmälan", "os:anna").await.unwrap();
    assert_eq!(world.db.holds().await.unwrap()[0].held, held);
    for none in [Held::default(), Held { users: vec![" ".into()], ..Held::default() }] {
        assert_eq!(world.db.hold(&none, "x", "x").await.unwrap_err().code(), "bad_hold");
    }
    // A database of before takes over what has been decided and held since.
    let decided = world.db.decide_retention(&decision(), "os:anna").await.unwrap();
    let other = World::new().await;
    let take_over = async || {
        let (decisions, holds) =
            (world.db.retention_decisions().await.unwrap(), world.db.holds().await.unwrap());
        other.db.take_over_retention(&decisions, &holds).await.unwrap();
        assert_eq!(other.db.retention_decisions().await.unwrap(), decisions);
        assert_eq!(other.db.holds().await.unwrap(), holds);
    };
    take_over().await;
    take_over().await;
    let of_before = (world.db.retention_decisions().await.unwrap(), world.db.holds().await.unwrap());
    assert_eq!(world.db.release(&id, "decided", "os:bo").await.unwrap(), held);
    world.db.withdraw_retention(&decided, "mistaken", "os:bo").await.unwrap();
    let released = world.db.holds().await.unwrap().remove(0);
    assert_eq!((&released.held, released.released_at), (&Held::default(), Some(START)));
    take_over().await;
    // What somebody still has in force that has ended here begins no more.
    other.db.take_over_retention(&of_before.0, &of_before.1).await.unwrap();
    take_over().await;
    assert_eq!(world.db.release(&id, "again", "x").await.unwrap_err().code(), "unknown_hold");
    assert_eq!(world.db.release("none", "again", "x").await.unwrap_err().code(), "unknown_hold");
}

#[tokio::test]
async fn findings_go_with_all_that_follows_them_and_their_file_forgets_whom_they_were_about() {
    let world = World::new().await;
    let db = &world.db;
    let anna = world.person("anna", Role::Reviewer, &["E1"]).await;
    // Decided, and found again with a later access: one follows the other.
    let first = finding("a", "U1", "E1", &[1, 2]);
    db.record(&run("1"), std::slice::from_ref(&first), &[]).await.unwrap();
    db.decide(&anna, &first.finding_id, Outcome::CannotTell, "Elsa Ek frågade").await.unwrap();
    db.record(&run("2"), &[finding("a", "U1", "E1", &[1, 2, 50])], &[]).await.unwrap();
    db.record(&run("2"), &[finding("b", "U2", "E1", &[3])], &[]).await.unwrap();
    let all = |_: &Aged| true;
    let of = |finding: &Aged| {
        assert_eq!(
            (finding.sources.as_slice(), finding.controller_id.as_deref()),
            (&["journal".to_owned()][..], Some("N1"))
        );
        finding.user_id == "U1"
    };
    assert_eq!(db.aged_findings(START, &all).await.unwrap(), Vec::<String>::new());
    let early = db.aged_findings(START + 10 * SECOND, &all).await.unwrap();
    assert_eq!(
        early,
        [finding("b", "U2", "", &[]).finding_id],
        "what follows the other stays, and so does that"
    );
    let due = db.aged_findings(START + 60 * SECOND, &of).await.unwrap();
    assert_eq!(due.len(), 2);

    let named = || {
        ["state.db", "state.db-wal"].iter().any(|file| {
            let bytes = std::fs::read(world.folder.path().join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.contains(SUBJECT) || text.contains("Elsa Ek")
        })
    };
    assert!(named());
    db.remove_findings(&due).await.unwrap();
    assert_eq!(db.aged_findings(i64::MAX, &all).await.unwrap().len(), 1);
    db.remove_findings(&early).await.unwrap();
    // Another process reads and writes beside.
    let other = world.again().await;
    assert_eq!(other.aged_findings(i64::MAX, &all).await.unwrap(), Vec::<String>::new());
    db.scrub().await.unwrap();
    assert!(!named(), "no page, free or not, and no journal");
    other.record(&run("3"), std::slice::from_ref(&first), &[]).await.unwrap();
    assert_eq!(db.aged_findings(i64::MAX, &all).await.unwrap(), [first.finding_id]);
}
