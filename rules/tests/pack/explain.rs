//! Why somebody looked: the reasons of an access, and how much they explain.

use insyn_engine::config::Organisation;
use insyn_engine::context;
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, SourceCommit};
use insyn_engine::session::{Scope, Session};
use insyn_rules::{
    Asked, ExplainedDay, Of, Pack, Reasons, RuleState, Standing, Window, explain, lift, measure, run,
};

use crate::world::{HOUR, ZONE, access, at};

const HEADER: &str = "subject_id,care_unit_id,user_id,kind,valid_from,valid_to,created_by,created_at\n";

struct Clinic {
    dir: tempfile::TempDir,
    lake: Lake,
}

impl Clinic {
    async fn of(events: Vec<AccessEvent>) -> Clinic {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open("lake", dir.path()).await.unwrap();
        let commit =
            SourceCommit { source: "journal".into(), sequence: 1, events, ..SourceCommit::default() };
        lake.commit(commit).await.unwrap();
        Clinic { dir, lake }
    }

    async fn knows(&self, tables: &[(&str, &str)]) -> Session {
        let folder = self.dir.path().join("context");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        for (table, text) in tables {
            std::fs::write(folder.join(format!("{table}.csv")), text).unwrap();
        }
        context::load(&self.lake, &folder, ZONE).await.unwrap();
        Session::open(&self.lake, ZONE, Scope::All).await.unwrap()
    }
}

fn granvik() -> Organisation {
    Organisation { id: "O".into(), name: "Granvik".into(), timezone: ZONE }
}

async fn why(session: &Session, subjects: &[&str]) -> Reasons {
    let subjects = subjects.iter().map(|id| (*id).to_owned()).collect();
    let asked = Asked { subjects, from: at("2026-03-01T00:00:00Z"), to: at("2026-04-01T00:00:00Z") };
    explain(&Pack::builtin().unwrap(), session, &asked).await.unwrap()
}

/// The place of each access by its `event_id`.
async fn place(session: &Session, event: &str) -> (i64, i64) {
    let query = format!("SELECT segment, CAST(seq AS BIGINT) FROM accesses WHERE event_id = '{event}'");
    let rows = session.datafusion().sql(&query).await.unwrap().collect().await.unwrap();
    let number = |column: usize| {
        let column =
            arrow::compute::cast(rows[0].column(column), &arrow::datatypes::DataType::Int64).unwrap();
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&column).value(0)
    };
    (number(0), number(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_has_the_reasons_that_the_data_give_and_what_the_user_made_is_not_enough() {
    let nine = at("2026-03-04T09:00:00+01:00");
    let mut events: Vec<AccessEvent> = ["P1", "P2", "P3", "P4", "P5", "P6"]
        .iter()
        .enumerate()
        .map(|(n, subject)| access(n, nine, "U1", Some("A"), subject))
        .collect();
    // The person themself, in a portal.
    events[5].user_kind = Some("subject".into());
    let clinic = Clinic::of(events).await;
    let relations = format!(
        "{HEADER}P1,A,,visit,2026-03-04,2026-03-04,U9,\nP1,A,,booking,2026-03-04,,U1,\nP2,A,,booking,2026-03-04,,U1,\n\
         R5,A,,admission,2026-03-01,,,\n"
    );
    let consents = "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to\nP4,A,,,2026-01-01,\n";
    let identities = "subject_id,other_id,other_id_type,valid_from\nP5,R5,reservnummer,\n";
    let tables = [("care_relations", relations.as_str()), ("consents", consents), ("identities", identities)];
    let session = clinic.knows(&tables).await;
    let reasons = why(&session, &["P1", "P2", "P3", "P4", "P5", "P6"]).await;
    assert!(reasons.failed.is_empty(), "{:?}", reasons.failed);
    let wanted = [
        ("e0", Some(Standing::Explained), vec![("booking", true), ("visit", false)]),
        ("e1", Some(Standing::OnlyByUser), vec![("booking", true)]),
        ("e2", Some(Standing::Unexplained), vec![]),
        ("e3", Some(Standing::Unexplained), vec![("consent", false)]),
        ("e4", Some(Standing::Explained), vec![("admission", false)]),
        ("e5", None, vec![]),
    ];
    for (event, standing, because) in wanted {
        let place = place(&session, event).await;
        let found: Vec<(&str, bool)> =
            reasons.at(place).iter().map(|reason| (reason.explanation.as_str(), reason.by_user)).collect();
        assert_eq!((reasons.standing(place), found), (standing, because), "{event}");
    }
    let visit = &reasons.at(place(&session, "e0").await)[1];
    assert_eq!(visit.reason.sv, "Besök på enheten fr.o.m. 2026-03-04 t.o.m. 2026-03-04.");
    assert_eq!(visit.reason.en, "Visit at the unit, from 2026-03-04 to 2026-03-04.");
    assert!(reasons.missing.contains("schedule") && !reasons.missing.contains("care_relations"));
    // Only those that were asked for.
    assert!(why(&session, &["P3"]).await.of.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_could_be_known_nothing_is_said() {
    let nine = at("2026-03-04T09:00:00+01:00");
    let mut written = access(2, nine + HOUR, "U1", Some("A"), "P1");
    written.action = Some("C".into());
    let events =
        vec![access(1, nine, "U1", Some("A"), "P1"), written, access(3, nine, "U2", Some("B"), "P2")];
    let clinic = Clinic::of(events).await;
    let assignments = ("assignments", "user_id,care_unit_id,role,valid_from,valid_to\nU1,A,,,\n");
    let consents = "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,created_by\nP2,B,,,2026-01-01,,U2\n";
    let of_a = format!("{HEADER}P9,A,,visit,2026-03-01,2026-03-31,,\n");
    let long_ago = format!("{HEADER}P9,A,,visit,2025-03-01,2025-03-31,,\n");
    let of_b = format!("{HEADER}P9,B,,visit,2026-03-01,2026-03-31,,\n");
    // What is loaded, and what is said of the accesses of unit A and of unit B.
    let by_user = Some(Standing::OnlyByUser);
    for (tables, wanted) in [
        (vec![assignments], [None, None]),
        (vec![assignments, ("consents", consents)], [None, None]),
        (vec![assignments, ("care_relations", of_a.as_str())], [by_user, None]),
        (vec![assignments, ("care_relations", long_ago.as_str())], [None, None]),
        (
            vec![("care_relations", of_b.as_str()), ("consents", consents)],
            [None, Some(Standing::Unexplained)],
        ),
    ] {
        let session = clinic.knows(&tables).await;
        let reasons = why(&session, &["P1", "P2"]).await;
        let found =
            [reasons.standing(place(&session, "e1").await), reasons.standing(place(&session, "e3").await)];
        assert_eq!(found, wanted, "{tables:?}");
        assert!(reasons.uncovered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_explains_by_chance_is_told_from_what_explains() {
    // Two units with twenty patients each; everybody is listed with a health centre that both belong to.
    let nine = at("2026-03-04T09:00:00+01:00");
    let events = (0..400)
        .map(|n| {
            let (unit, user) = [("A", "U1"), ("B", "U2")][n % 2];
            access(n, nine + n as i64 * HOUR / 60, user, Some(unit), &format!("P{}", n % 40))
        })
        .chain([access(400, nine, "U1", Some("A"), "P40")]);
    let clinic = Clinic::of(events.collect()).await;
    let visit = |n: usize| format!("P{n},{},,visit,2026-03-01,2026-03-31,,\n", ["A", "B"][n % 2]);
    let listed = |n: usize| format!("P{n},A,,listing,2026-01-01,,,\nP{n},B,,listing,2026-01-01,,,\n");
    let rows: String = (0..40).map(visit).chain((0..40).map(listed)).collect();
    let relations = format!("{HEADER}{rows}P40,A,,booking,2026-03-04,,U1,\n");
    let session = clinic.knows(&[("care_relations", &relations)]).await;
    let measured = measure(&Pack::builtin().unwrap(), &session, Window::default()).await.unwrap();
    assert_eq!((measured.looks, measured.explained, measured.only_by_user), (401, 400, 1));
    let of = |id: &str| measured.explanations.iter().find(|one| one.explanation == id).unwrap();
    let (visit, listed, booked) = (of("visit"), of("registration"), of("booking"));
    assert!(measured.explanations.iter().all(|one| one.failed.is_none()));
    assert_eq!((visit.looks, visit.by_user, visit.alone), (400, 0, 0), "listing explains the same");
    assert_eq!((booked.looks, booked.by_user, booked.alone), (1, 1, 0));
    assert!(visit.by_chance > 120 && visit.by_chance < 280, "about half: {}", visit.by_chance);
    assert!(listed.by_chance > 370, "nearly all: {}", listed.by_chance);
    assert!(visit.precision.unwrap() > 0.58 && listed.precision.unwrap() < 0.53);
    let shares: u64 = measured.shares.iter().map(|share| share.looks).sum();
    let explained: u64 = measured.shares.iter().map(|share| share.explained).sum();
    assert_eq!((shares, explained, measured.shares.len()), (401, 400, 2));
    let again = measure(&Pack::builtin().unwrap(), &session, Window::default()).await.unwrap();
    assert_eq!(again, measured, "the same draw");
    let report = run(&Pack::builtin().unwrap(), &session, &granvik(), Window::default(), None).await;
    let explained = report.unwrap().record.explained;
    let sum = |of: fn(&ExplainedDay) -> u64| explained.rows.iter().map(of).sum::<u64>();
    assert_eq!(
        (sum(|day| day.looks), sum(|day| day.explained), sum(|day| day.only_by_user), sum(|day| day.unknown)),
        (401, 400, 1, 0)
    );
    assert_eq!(explained.days, [("2026-03-01".into(), "2026-03-31".into())], "whole calendar windows");
    assert_eq!(explained.rows[0].day, "2026-03-04");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_names_anybody_has_no_lift_and_one_that_looks_for_something_has() {
    // Each of two users looks at twenty persons, their own record among them; five of the twenty have no visit.
    let nine = at("2026-03-04T09:00:00+01:00");
    let events = (0..400).map(|n| {
        let (unit, user) = [("A", "U1"), ("B", "U2")][n % 2];
        access(n, nine + n as i64 * HOUR / 60, user, Some(unit), &format!("P{}", n % 40))
    });
    let clinic = Clinic::of(events.collect()).await;
    let visit = |n: usize| format!("P{n},{},,visit,2026-03-01,2026-03-31,,\n", ["A", "B"][n % 2]);
    let relations = format!("{HEADER}{}", (10..40).map(visit).collect::<String>());
    let staff = "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n\
                 U1,P0,Anna Berg,,,,2020-01-01,\nU2,P1,Bo Berg,,,,2020-01-01,\n";
    let session = clinic.knows(&[("care_relations", &relations), ("staff", staff)]).await;
    let lifts = lift(&Pack::builtin().unwrap(), &session, Window::default()).await.unwrap();
    let of = |id: &str| lifts.iter().find(|lift| lift.rule_id == id).unwrap();
    let failed: Vec<_> = lifts.iter().filter(|lift| lift.failed.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let unrelated = of("no-care-relation");
    assert_eq!((unrelated.pairs, unrelated.accesses, unrelated.explained), (10, 100, 0));
    assert!(unrelated.by_chance > 30, "most of a random draw has no visit: {unrelated:?}");
    assert!(unrelated.lift.unwrap() < 0.5, "{unrelated:?}");
    let own = of("own-record");
    assert_eq!((own.pairs, own.accesses), (2, 20));
    assert!(lifts.iter().all(|lift| lift.rule_id != "emergency-without-note"), "an absence has no fake");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_lowers_the_score_of_what_it_explains_and_never_that_of_an_own_record() {
    let nine = at("2026-03-04T09:00:00+01:00");
    let mut dead = access(1, nine, "U1", Some("A"), "P1");
    dead.purpose = None;
    let clinic = Clinic::of(vec![dead, access(2, nine, "U1", Some("A"), "P2")]).await;
    let subjects = "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n\
                    P1,,,,,,2025-01-01\nP3,,,,,,2025-01-01\n";
    let staff = "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n\
                 U1,P2,Anna Berg,,,,2020-01-01,\n";
    let relations =
        format!("{HEADER}P1,A,,visit,2026-03-04,2026-03-05,,\nP2,A,,visit,2026-03-04,2026-03-05,,\n");
    let score = async |relations: &str| {
        let tables = [("subjects", subjects), ("staff", staff), ("care_relations", relations)];
        let session = clinic.knows(&tables).await;
        let report = run(&Pack::builtin().unwrap(), &session, &granvik(), Window::default(), None).await;
        let findings = report.unwrap().findings;
        ["deceased", "own-record"].map(|rule| {
            let found = findings.iter().find(|finding| finding.rule_id == rule);
            let parts = found.map(|finding| finding.score_parts()).unwrap_or_default();
            assert!(found.is_some(), "{rule}");
            parts.iter().filter(|part| part.of == Of::Explanation).map(|part| part.points).collect::<Vec<_>>()
        })
    };
    assert_eq!(score(&relations).await, [vec![-10], Vec::<i32>::new()]);
    assert_eq!(score(&format!("{HEADER}P3,A,,visit,2026-03-04,,,\n")).await, [Vec::<i32>::new(), Vec::new()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_flags_nothing_that_a_trace_explains_by_what_was_done_at_another_unit_or_long_before() {
    let ten = at("2026-03-10T09:00:00+01:00");
    // Booked at B by U1, who looks from A: in P1 somebody at B wrote at the visit, in P2 nobody did. Of P3 it goes on since
    // January, and somebody wrote then: that is too long before the look, however much a trace has before it.
    let mut events = vec![
        access(1, ten, "U1", Some("A"), "P1"),
        access(2, ten, "U1", Some("A"), "P2"),
        access(3, ten, "U1", Some("A"), "P3"),
        access(4, ten + 48 * HOUR, "U2", Some("B"), "P1"),
        access(5, at("2026-01-08T09:00:00+01:00"), "U2", Some("B"), "P3"),
    ];
    events[3].action = Some("C".into());
    events[4].action = Some("C".into());
    let clinic = Clinic::of(events).await;
    let relations = format!(
        "{HEADER}P1,B,,booking,2026-03-12,2026-03-12,U1,\nP2,B,,booking,2026-03-12,2026-03-12,U1,\n\
         P3,B,,listing,2026-01-01,,U1,\nP9,A,,visit,2026-03-09,2026-03-12,,\n"
    );
    let session = clinic.knows(&[("care_relations", &relations)]).await;
    let pack = Pack::builtin().unwrap().only(|rule| rule.id == "no-care-relation");
    let report = run(&pack, &session, &granvik(), Window::default(), None).await.unwrap();
    let flagged: Vec<&str> = report.findings.iter().filter_map(|f| f.subject_id.as_deref()).collect();
    let subjects = ["P1", "P2", "P3"].map(str::to_owned).to_vec();
    let asked = Asked { subjects, from: 0, to: at("2026-12-01T00:00:00Z") };
    let reasons = explain(&pack, &session, &asked).await.unwrap();
    for (event, subject, standing) in [
        ("e1", "P1", Standing::Explained),
        ("e2", "P2", Standing::Unexplained),
        ("e3", "P3", Standing::Unexplained),
    ] {
        assert_eq!(reasons.standing(place(&session, event).await), Some(standing), "{event}");
        assert_eq!(flagged.contains(&subject), standing == Standing::Unexplained, "{event}: {flagged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_with_a_fault_accuses_nobody() {
    let clinic = Clinic::of(vec![access(1, at("2026-03-04T09:00:00+01:00"), "U1", Some("A"), "P1")]).await;
    let relations = format!("{HEADER}P9,A,,visit,2026-01-01,,,\n");
    let session = clinic.knows(&[("care_relations", &relations)]).await;
    let organisation = granvik();
    let visit = crate::world::explanation_file("visit");
    for (text, findings) in [(visit.clone(), 1), (visit.replace("r.valid_to", "r.walid_to"), 0)] {
        let rule = crate::world::pack_file("no-care-relation");
        let pack = Pack::of(vec![("no-care-relation.toml".into(), rule), ("visit.toml".into(), text)]);
        let report = run(&pack, &session, &organisation, Window::default(), None).await.unwrap();
        let rule = &report.record.rules[0];
        assert_eq!(report.findings.len(), findings, "{rule:#?}");
        if findings == 0 {
            assert_eq!(rule.state, RuleState::Failed);
            assert!(rule.why.as_deref().unwrap().contains("the explanation visit"), "{rule:#?}");
            let asked = Asked { subjects: vec!["P1".into()], from: 0, to: i64::MAX / 2 };
            let reasons = explain(&pack, &session, &asked).await.unwrap();
            assert_eq!(reasons.standing(place(&session, "e1").await), None, "it could not be tried");
            assert_eq!(reasons.failed[0].0, "visit");
        }
    }
}
