//! The worklist: filters and scopes against brute force, paging, the Arrow table; settings.

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use insyn_review::{Filter, FindingView, Principal, Role, Scope, may_read};
use insyn_rules::{Finding, FindingStatus, FindingStore, Level, Outcome};
use serde_json::json;

use crate::world::{SECOND, START, World, finding, run, user};

/// Eighty findings that differ in everything a filter looks at; many of the same score and time.
fn many() -> Vec<Finding> {
    (0..80u32)
        .map(|n| {
            let mut finding =
                finding(&format!("rule-{}", n % 3), &format!("U{n}"), &format!("E{}", n % 4), &[n % 7, n]);
            finding.level = Level::ALL[n as usize % 5];
            finding.score = u8::try_from(n % 6 * 15).unwrap();
            finding.subject_id = (n % 5 != 0).then(|| format!("S{}", n % 8));
            finding.care_unit_id = finding.care_unit_id.filter(|_| n % 11 != 0);
            finding.evidence["user_leads_unit"] = json!(n % 13 == 0);
            finding.controller_id = (n % 9 != 0).then(|| format!("N{}", n % 2));
            if n == 41 {
                "Öppnade 100 % av_allt".clone_into(&mut finding.title_sv);
            }
            finding
        })
        .collect()
}

async fn pages(world: &World, filter: &Filter, scope: &Scope, limit: usize) -> Vec<FindingView> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = world.db.list(filter, scope, cursor.as_deref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

fn ids(views: &[FindingView]) -> Vec<String> {
    views.iter().map(|view| view.finding.finding_id.clone()).collect()
}

/// The order of the worklist.
fn expected(keep: impl Fn(&Finding) -> bool) -> Vec<String> {
    let mut findings: Vec<Finding> = many().into_iter().filter(|f| keep(f)).collect();
    findings.sort_by(|a, b| (b.score, b.last_at, &a.finding_id).cmp(&(a.score, a.last_at, &b.finding_id)));
    findings.into_iter().map(|f| f.finding_id).collect()
}

type Case = (Filter, Box<dyn Fn(&Finding) -> bool>);

#[tokio::test]
async fn filters_leave_what_brute_force_leaves() {
    let world = World::new().await;
    world.db.record(&run("r"), &many(), &[]).await.unwrap();
    let none = Filter::default;
    let cases: Vec<Case> = vec![
        (none(), Box::new(|_| true)),
        (Filter { rule: Some("rule-1".into()), ..none() }, Box::new(|f| f.rule_id == "rule-1")),
        (
            Filter { level: vec![Level::High, Level::Low], ..none() },
            Box::new(|f| matches!(f.level, Level::High | Level::Low)),
        ),
        (
            Filter { status: vec![FindingStatus::New], outcome: vec![Outcome::None], ..none() },
            Box::new(|_| true),
        ),
        (Filter { status: vec![FindingStatus::Closed], ..none() }, Box::new(|_| false)),
        (Filter { user: Some(" u12".into()), ..none() }, Box::new(|f| f.user_id == "U12")),
        (
            Filter { subject: Some("S3".into()), ..none() },
            Box::new(|f| f.subject_id.as_deref() == Some("S3")),
        ),
        (Filter { unit: Some("E2".into()), ..none() }, Box::new(|f| f.care_unit_id.as_deref() == Some("E2"))),
        (
            Filter { controller: Some("N1".into()), ..none() },
            Box::new(|f| f.controller_id.as_deref() == Some("N1")),
        ),
        (Filter { min_score: Some(45), ..none() }, Box::new(|f| f.score >= 45)),
        (
            Filter { from: Some(START + 30 * SECOND), ..none() },
            Box::new(|f| f.last_at >= START + 30 * SECOND),
        ),
        (Filter { to: Some(START + 3 * SECOND), ..none() }, Box::new(|f| f.first_at < START + 3 * SECOND)),
        (
            Filter { event: Some("e40".into()), ..none() },
            Box::new(|f| f.event_ids.contains(&"e40".to_owned())),
        ),
        (
            Filter { q: Some("VÅRDRELATION rule-2".into()), ..none() },
            Box::new(|f| f.rule_id == "rule-2" && f.user_id != "U41"),
        ),
        (Filter { q: Some("100 % av_allt öppnade".into()), ..none() }, Box::new(|f| f.user_id == "U41")),
        (Filter { q: Some("' OR 1=1 --".into()), ..none() }, Box::new(|_| false)),
        (
            Filter { rule: Some("rule-0".into()), unit: Some("E1".into()), min_score: Some(15), ..none() },
            Box::new(|f| f.rule_id == "rule-0" && f.care_unit_id.as_deref() == Some("E1") && f.score >= 15),
        ),
    ];
    for (filter, keep) in cases {
        let want = expected(keep);
        for limit in [1, 7, 1000] {
            assert_eq!(
                ids(&pages(&world, &filter, &Scope::host(), limit).await),
                want,
                "{filter:?} by {limit}"
            );
        }
        let counted: u64 =
            world.db.counts_of(&filter, &Scope::host()).await.unwrap().iter().map(|c| c.count).sum();
        assert_eq!(counted, want.len() as u64, "{filter:?}");
    }
    let bad = Filter { from: Some(2), to: Some(2), ..none() };
    assert_eq!(world.db.list(&bad, &Scope::host(), None, 5).await.unwrap_err().code(), "bad_filter");
    assert_eq!(world.db.list(&none(), &Scope::host(), Some("zz"), 5).await.unwrap_err().code(), "bad_cursor");
}

#[tokio::test]
async fn each_sees_what_is_theirs() {
    let world = World::new().await;
    world.db.record(&run("r"), &many(), &[]).await.unwrap();
    let mut people = Vec::new();
    for (login, role, units, controllers) in [
        ("dso", Role::Dso, vec![], vec![]),
        ("dso1", Role::Dso, vec![], vec!["N1"]),
        ("coo", Role::Coordinator, vec![], vec!["N0", "N1"]),
        ("rev", Role::Reviewer, vec!["E1", "E2"], vec![]),
        ("rev1", Role::Reviewer, vec!["E1"], vec!["N1"]),
        ("rev0", Role::Reviewer, vec![], vec![]),
        ("own", Role::Reviewer, vec!["E1"], vec![]),
        ("aud", Role::Auditor, vec![], vec!["N1"]),
        ("inv", Role::Investigator, vec!["E1"], vec![]),
        ("ope", Role::Operator, vec!["E1"], vec![]),
    ] {
        let mut new = user(login, role, &units);
        new.controllers = controllers.into_iter().map(str::to_owned).collect();
        if login == "own" {
            // U1 and U5 are in E1.
            new.staff_user_id = Some("u1".into());
            new.staff_accounts = vec!["U5 ".into()];
        }
        world.db.create_user(&new).await.unwrap();
        people.push(world.db.sign_in(login, crate::world::PASSWORD, "").await.unwrap().principal);
    }
    for person in &people {
        let may = |f: &Finding| may_read(person, concern(f)).is_ok();
        match Scope::of(person) {
            Ok(scope) => {
                let want = expected(may);
                assert_eq!(
                    ids(&pages(&world, &Filter::default(), &scope, 9).await),
                    want,
                    "{}",
                    person.login
                );
                assert_eq!(total(&world, person).await, Some(want.len() as u64));
                for finding in many() {
                    let got = world.db.get(&finding.finding_id, &scope).await;
                    assert_eq!(got.is_ok(), want.contains(&finding.finding_id), "{}", person.login);
                }
            }
            Err(refusal) => {
                assert_eq!(refusal.code(), "forbidden_role");
                assert!(!many().iter().any(may), "{}", person.login);
                let auditor = person.has(Role::Auditor);
                let of_n1 = expected(|f| f.controller_id.as_deref() == Some("N1")).len() as u64;
                assert_eq!(total(&world, person).await, auditor.then_some(of_n1), "{}", person.login);
            }
        }
    }
}

fn concern(finding: &Finding) -> insyn_review::Concern<'_> {
    insyn_review::Concern {
        user_id: Some(&finding.user_id),
        care_unit_id: finding.care_unit_id.as_deref(),
        controller_id: finding.controller_id.as_deref(),
        assigned_to: None,
        user_leads_unit: finding.evidence["user_leads_unit"] == true,
    }
}

async fn total(world: &World, person: &Principal) -> Option<u64> {
    world.db.counts(person).await.ok().map(|counts| counts.iter().map(|c| c.count).sum())
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_though_rows_come_in_between() {
    let world = World::new().await;
    world.db.record(&run("r"), &many(), &[]).await.unwrap();
    let first = world.db.list(&Filter::default(), &Scope::host(), None, 30).await.unwrap();
    let mut top = finding("late", "U500", "E1", &[1]);
    top.score = 100;
    world.db.record(&run("s"), &[top], &[]).await.unwrap();
    let second =
        world.db.list(&Filter::default(), &Scope::host(), first.next.as_deref(), 1000).await.unwrap();
    let seen = [ids(&first.items), ids(&second.items)].concat();
    assert_eq!(seen, expected(|_| true));
    assert_eq!(second.next, None);
    assert!(first.items.iter().all(|view| view.finding.evidence.is_null()));
}

#[tokio::test]
async fn the_table_has_the_columns_of_a_finding() {
    let world = World::new().await;
    let db = &world.db;
    let (schema, empty) = db.findings_table(&Filter::default(), &Scope::host(), None).await.unwrap();
    assert_eq!((empty.num_rows(), &schema), (0, &insyn_review::findings_schema()));
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(
        names.join(" "),
        "finding_id rule_id rule_version level score status outcome settles_at user_id subject_id care_unit_id \
         controller_id first_at last_at event_count event_ids title_sv title_en reasons created_at"
    );
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(schema.field_with_name("last_at").unwrap().data_type(), &time);

    db.record(&run("r"), &many(), &[]).await.unwrap();
    let (_, batch) = db.findings_table(&Filter::default(), &Scope::host(), None).await.unwrap();
    let rows = db.list(&Filter::default(), &Scope::host(), None, 1000).await.unwrap().items;
    assert_eq!(batch.num_rows(), rows.len());
    for (at, row) in rows.iter().enumerate() {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        assert_eq!(text("finding_id").value(at), row.finding.finding_id);
        assert_eq!(text("subject_id").is_null(at), row.finding.subject_id.is_none());
        let last = batch.column_by_name("last_at").unwrap().as_primitive::<TimestampMicrosecondType>();
        assert_eq!(last.value(at), row.finding.last_at);
        let events = batch.column_by_name("event_ids").unwrap().as_list::<i32>().value(at);
        let events: Vec<&str> = events.as_string::<i32>().iter().flatten().collect();
        assert_eq!(events, row.finding.event_ids);
        let reasons = batch.column_by_name("reasons").unwrap().as_list::<i32>().value(at);
        let english = reasons.as_struct().column_by_name("en").unwrap().as_string::<i32>().clone();
        let wanted: Vec<&str> = row.finding.reasons.iter().map(|r| r.en.as_str()).collect();
        assert_eq!(english.iter().flatten().collect::<Vec<_>>(), wanted);
    }
    let filter = Filter { user: Some("U12".into()), ..Filter::default() };
    assert_eq!(db.findings_table(&filter, &Scope::host(), None).await.unwrap().1.num_rows(), 1);
    assert_eq!(db.findings_table(&Filter::default(), &Scope::host(), Some(3)).await.unwrap().1.num_rows(), 3);
}

#[tokio::test]
async fn settings_have_versions() {
    let world = World::new().await;
    let db = &world.db;
    assert_eq!(db.setting("commands").await.unwrap(), None);
    assert_eq!(db.set_setting("commands", &json!({ "on": true }), Some(0), "cia").await.unwrap(), 1);
    assert_eq!(db.set_setting("commands", &json!(false), None, "dan").await.unwrap(), 2);
    let late = db.set_setting("commands", &json!(1), Some(1), "cia").await.unwrap_err();
    assert_eq!(late.code(), "setting_changed");
    let now = db.setting("commands").await.unwrap().unwrap();
    assert_eq!((now.version, now.value, now.changed_by.as_str()), (2, json!(false), "dan"));
    assert_eq!(db.setting_history("commands").await.unwrap().len(), 2);
}

#[tokio::test]
async fn runs_page() {
    let world = World::new().await;
    for n in 0..7 {
        let mut record = run(&format!("r{n}"));
        record.started_at = START + i64::from(n / 2);
        world.db.record(&record, &[], &[]).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = world.db.runs(cursor.as_deref(), 2).await.unwrap();
        seen.extend(page.items.into_iter().map(|run| run.run_id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["r6", "r4", "r5", "r2", "r3", "r0", "r1"]);
}
