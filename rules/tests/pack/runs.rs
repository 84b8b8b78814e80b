//! What a run promises: identity over any cut, nothing judged without its context, one rule's error its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use insyn_engine::config::Organisation;
use insyn_engine::context;
use insyn_engine::lake::{Lake, SourceCommit};
use insyn_engine::session::{Scope, Session};
use insyn_rules::{
    ContextState, Finding, FindingStore, Level, Limits, Pack, Pair, ParamValue, Recorded, RuleMark,
    RuleState, RunRecord, StoreError, Window, evaluate,
};

use crate::world::{self, Cell, DAY, HOUR, Relation, World, ZONE, access, at, rows, source};

async fn run(
    pack: &Pack,
    source: &datafusion::prelude::SessionContext,
    window: Window,
) -> (RunRecord, Vec<Finding>) {
    evaluate(pack, source, ZONE, window, &ContextState::default(), Limits::default()).await.unwrap()
}

fn by_id(findings: Vec<Finding>) -> BTreeMap<String, Finding> {
    let mut all = BTreeMap::new();
    for mut finding in findings {
        finding.created_at = 0;
        let known = all.insert(finding.finding_id.clone(), finding);
        assert!(known.is_none(), "one run gives each finding once");
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_data_give_the_same_findings_however_they_are_cut() {
    let pack = for_a_small_world();
    for seed in [1, 2026] {
        let world = world::random(seed, 160);
        let source = world.source();
        let (record, whole) = run(&pack, &source, Window::default()).await;
        assert!(record.rules.iter().all(|r| r.state == RuleState::Evaluated), "{:#?}", record.rules);
        let whole = by_id(whole);
        let rules: BTreeSet<&str> = whole.values().map(|f| f.rule_id.as_str()).collect();
        assert!(rules.len() >= 10, "the world shows too little: {rules:?}");
        // Other order of rows, and many slices.
        let mut shuffled = world.events.clone();
        shuffled.reverse();
        let (other, context) = (world.source_of(&shuffled), ContextState::default());
        // Each slice plans every rule anew: the smallest are for one world.
        for slice_rows in [40, 7].into_iter().take(if seed == 1 { 2 } else { 1 }) {
            let tiny = Limits { slice_rows, ..Limits::default() };
            let (_, sliced) = evaluate(&pack, &other, ZONE, Window::default(), &context, tiny).await.unwrap();
            assert_eq!(by_id(sliced), whole, "seed {seed}, slices of {slice_rows}");
        }
        // Runs that cut days and weeks, one of them over the hour that comes twice.
        let cuts = [
            "2026-10-01T00:00:00Z",
            "2026-10-19T11:11:00Z",
            "2026-10-25T00:30:00Z",
            "2026-11-03T07:00:00Z",
            "2027-01-01T00:00:00Z",
        ];
        let mut joined = BTreeMap::new();
        for pair in cuts.windows(2) {
            let window = Window { from: Some(at(pair[0])), to: Some(at(pair[1])) };
            for (id, finding) in by_id(run(&pack, &source, window).await.1) {
                if let Some(known) = joined.get(&id) {
                    assert_eq!(known, &finding, "a finding of a cut window is made whole by both runs");
                }
                joined.insert(id, finding);
            }
        }
        assert_eq!(joined, whole, "seed {seed}, runs");
    }
}

/// In a small world few do much in a day.
pub fn for_a_small_world() -> Pack {
    let mut pack = Pack::builtin().unwrap();
    for rule in ["refused-attempts", "many-prints", "rapid-unexplained", "searches-without-opening"] {
        pack.set(rule, "least", ParamValue::Integer(2)).unwrap();
    }
    pack.set("shared-account", "least", ParamValue::Integer(1)).unwrap();
    let hour = insyn_rules::Duration::parse("60 minutes").unwrap();
    for rule in ["rapid-unexplained", "shared-account", "peek-by-name"] {
        pack.set(rule, "within", ParamValue::Duration(hour)).unwrap();
    }
    pack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_care_relation_is_what_brute_force_says() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "no-care-relation");
    for seed in 3..9 {
        let world = world::random(seed, 120);
        let (record, findings) = run(&pack, &world.source(), Window::default()).await;
        let found: BTreeSet<String> = findings.into_iter().flat_map(|f| f.event_ids).collect();
        assert_eq!(found, brute_force(&world), "seed {seed}: {:#?}", record.rules);
    }
}

/// The local day that an instant falls on.
fn day(at: i64) -> chrono::NaiveDate {
    chrono::DateTime::from_timestamp_micros(at).unwrap().with_timezone(&ZONE).date_naive()
}

/// The rule in plain words: every access against every relation, and against what the others of the unit did.
fn brute_force(world: &World) -> BTreeSet<String> {
    let now = |id: &str| {
        world
            .other_numbers
            .iter()
            .find(|(_, other)| other == id)
            .map_or(id, |(now, _)| now.as_str())
            .to_owned()
    };
    let parent = |unit: &str| world.units.iter().find(|(u, _)| u == unit).and_then(|(_, p)| p.clone());
    let near = |unit: &str, other: &str| {
        let mut up = Some(unit.to_owned());
        while let Some(at) = up {
            if at == other {
                return true;
            }
            up = parent(&at);
        }
        parent(other).as_deref() == Some(unit)
    };
    let week = |t: i64| {
        // 2026-10-12 was a Monday; the clock is put back in the second week.
        let ends = [
            "2026-10-19T00:00:00+02:00",
            "2026-10-26T00:00:00+01:00",
            "2026-11-02T00:00:00+01:00",
            "2026-11-09T00:00:00+01:00",
        ];
        let starts = ["2026-10-12T00:00:00+02:00"].into_iter().chain(ends);
        starts.zip(ends).map(|(a, b)| (at(a), at(b))).find(|(a, b)| (*a..*b).contains(&t)).unwrap()
    };
    let covered = |unit: &str, t: i64| {
        let (from, to) = week(t);
        world.relations.iter().any(|r| {
            r.unit.as_deref().is_some_and(|u| near(unit, u))
                && r.from < to
                && r.to.is_none_or(|end| end >= from)
        })
    };
    let mut found = BTreeSet::new();
    for event in &world.events {
        let (t, user) = (event.occurred_at, event.user_id.clone().unwrap());
        if event.user_kind.as_deref() == Some("subject")
            || event.outcome.as_deref() != Some("success")
            || event.emergency == Some(true)
        {
            continue;
        }
        let unit = event.care_unit_id.as_deref();
        let homes: Vec<&str> = world
            .assignments
            .iter()
            .filter(|(u, _, from, to)| *u == user && *from <= t && to.is_none_or(|to| t <= to))
            .map(|(_, unit, _, _)| unit.as_str())
            .collect();
        let subject = now(event.subject_id.as_deref().unwrap());
        let theirs: Vec<&Relation> =
            world.relations.iter().filter(|relation| now(&relation.subject) == subject).collect();
        let placed = |who: &str, at_unit: &str| {
            world.assignments.iter().any(|(u, unit, from, to)| {
                u == who && unit == at_unit && *from <= t && to.is_none_or(|to| t <= to)
            })
        };
        // By the schedule U3 works at three units each day, but for every seventh.
        let on_duty = |unit: &str| {
            let since = t - at("2026-10-12T07:00:00+02:00") + HOUR;
            let (day, into) = (since.div_euclid(DAY), since.rem_euclid(DAY));
            let works = (0..28).contains(&day) && day % 7 != 6 && into <= 10 * HOUR;
            user == "U3" && works && ["A0", "A1", "A2"].iter().any(|at| near(at, unit))
        };
        let by_relation = theirs.iter().any(|r| {
            let team = |other: &str| {
                let units = world.assignments.iter().map(|(_, unit, ..)| unit);
                other != user && units.into_iter().any(|unit| placed(other, unit) && placed(&user, unit))
            };
            t >= r.from - 14 * DAY
                && r.to.is_none_or(|to| t <= to + 30 * DAY)
                && (r.user.as_deref() == Some(&user)
                    || r.user.as_deref().is_some_and(team)
                    || r.unit.as_deref().is_some_and(|u| {
                        unit.is_some_and(|a| near(a, u)) || homes.iter().any(|h| near(h, u)) || on_duty(u)
                    }))
        });
        let others = world.events.iter().filter(|other| {
            let is_look =
                other.user_kind.as_deref() == Some("staff") && other.outcome.as_deref() == Some("success");
            let here = unit.zip(other.care_unit_id.as_deref()).is_some_and(|(a, b)| near(a, b));
            is_look && here && now(other.subject_id.as_deref().unwrap()) == subject
        });
        let in_history = others.into_iter().any(|other| {
            let (seen, on) = (day(other.occurred_at), |instant: i64| day(instant));
            let noted = other.action.as_deref() == Some("C")
                && other.user_id.as_deref() != Some(&user)
                && (on(t - 30 * DAY)..=on(t + 14 * DAY)).contains(&seen);
            let followed = (on(t - 14 * DAY)..on(t)).contains(&seen)
                && theirs.iter().any(|r| {
                    let of_unit = unit.zip(r.unit.as_deref()).is_some_and(|(a, b)| near(a, b));
                    of_unit
                        && seen >= on(r.from - 14 * DAY)
                        && r.to.is_none_or(|to| seen <= on(to + 30 * DAY) && t > to)
                });
            noted || followed
        });
        let explained = by_relation || in_history;
        let judged = match unit {
            Some(unit) => covered(unit, t),
            None => world.assignments.iter().any(|(u, home, _, _)| *u == user && covered(home, t)),
        };
        if !explained && judged {
            found.insert(event.event_id.clone());
        }
    }
    found
}

#[tokio::test]
async fn what_cannot_be_judged_is_said_and_never_found() {
    let pack = Pack::builtin().unwrap();
    let monday = at("2026-03-02T09:00:00+01:00");
    let events = [
        access(1, monday, "U1", Some("A"), "P1"),
        access(2, monday + DAY, "U1", Some("B"), "P1"),
        access(3, monday + DAY, "U2", None, "P1"),
    ];
    let relations = rows(
        "care_relations",
        &[vec![
            ("subject_id", Cell::from("P9")),
            ("care_unit_id", Cell::from("A")),
            ("valid_from", Cell::from(monday)),
            ("valid_to", Cell::from(monday + DAY)),
        ]],
    );
    let (record, findings) =
        run(&pack, &source(&events, &[("care_relations", relations)]), Window::default()).await;
    let rule = |id: &str| record.rules.iter().find(|r| r.rule_id == id).unwrap();
    for (id, table) in [
        ("own-record", "staff"),
        ("deceased", "subjects"),
        ("colleague", "staff, assignments"),
        ("after-employment", "staff"),
    ] {
        assert_eq!(rule(id).state, RuleState::NotEvaluated, "{id}");
        assert!(rule(id).why.as_deref().unwrap().contains(table), "{:?}", rule(id).why);
    }
    let ours = rule("no-care-relation");
    assert_eq!((ours.state, ours.rows, ours.findings), (RuleState::Evaluated, 1, 1));
    let units: Vec<(Option<&str>, u64)> =
        ours.not_evaluated.iter().map(|n| (n.care_unit_id.as_deref(), n.accesses)).collect();
    assert_eq!(units, [(Some("B"), 1), (None, 1)]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].care_unit_id.as_deref(), Some("A"));
}

#[tokio::test]
async fn a_table_that_is_too_old_judges_nothing() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "no-care-relation");
    let monday = at("2026-03-02T09:00:00+01:00");
    let relations =
        rows("care_relations", &[vec![("subject_id", Cell::from("P9")), ("care_unit_id", Cell::from("A"))]]);
    let source = source(&[access(1, monday, "U1", Some("A"), "P1")], &[("care_relations", relations)]);
    for (loaded, expected) in [(monday - 15 * DAY, 0), (monday - 13 * DAY, 1), (monday + 400 * DAY, 1)] {
        let context = ContextState {
            load: Some("l1".into()),
            loaded_at: BTreeMap::from([("care_relations".to_owned(), loaded)]),
        };
        let (record, findings) =
            evaluate(&pack, &source, ZONE, Window::default(), &context, Limits::default()).await.unwrap();
        assert_eq!(findings.len(), expected);
        assert_eq!(record.rules[0].not_evaluated.len(), 1 - expected);
        assert_eq!(record.context_load.as_deref(), Some("l1"));
    }
}

#[tokio::test]
async fn an_empty_lake_is_not_zero_findings() {
    let (record, findings) = run(&Pack::builtin().unwrap(), &source(&[], &[]), Window::default()).await;
    assert!(findings.is_empty());
    assert_eq!(record.rules.len(), Pack::builtin().unwrap().rules().len());
    assert!(record.rules.iter().all(|r| r.state == RuleState::NotEvaluated && r.why.is_some()));
}

#[tokio::test]
async fn a_rule_that_fails_is_recorded_and_stops_no_other() {
    let text = world::own_record();
    let broken = text.replace("\"own-record\"", "\"broken\"").replace("a.subject_key\n", "a.subject_kye\n");
    let endless = text
        .replace("\"own-record\"", "\"endless\"")
        .replace("from looks a\n", "from looks a, looks b, looks c, looks d\n");
    let files = [
        ("own-record.toml", text),
        ("broken.toml", broken),
        ("endless.toml", endless),
        ("torn.toml", "id = ".to_owned()),
    ];
    let pack = Pack::of(files.map(|(name, text)| (name.to_owned(), text)).to_vec());
    let events: Vec<_> =
        (0..300).map(|n| access(n, at("2026-03-04T09:00:00+01:00") + n as i64, "U1", None, "P1")).collect();
    let staff = rows("staff", &[vec![("user_id", Cell::from("U1")), ("person_id", Cell::from("P1"))]]);
    let limits = Limits { rule_rows: 1000, rule_time: Duration::from_secs(60), ..Limits::default() };
    let source = source(&events, &[("staff", staff)]);
    let (record, findings) =
        evaluate(&pack, &source, ZONE, Window::default(), &ContextState::default(), limits).await.unwrap();
    let state = |id: &str| {
        record
            .rules
            .iter()
            .find(|r| r.rule_id == id)
            .map(|r| (r.state, r.why.clone().unwrap_or_default()))
            .unwrap()
    };
    assert_eq!(state("own-record").0, RuleState::Evaluated);
    let (broken, endless, torn) = (state("broken"), state("endless"), state("torn.toml"));
    assert!(broken.0 == RuleState::Failed && broken.1.contains("subject_kye"), "{broken:?}");
    assert!(endless.0 == RuleState::Failed && endless.1.contains("1000 rows"), "{endless:?}");
    assert!(torn.0 == RuleState::Failed && torn.1.contains("torn.toml:1:"), "{torn:?}");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].event_count, 300);
}

#[tokio::test]
async fn a_finding_keeps_what_it_rested_on_and_counts_ids_once_a_source() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "own-record" || r.id == "same-household");
    let start = at("2026-03-04T09:00:00+01:00");
    let mut events = vec![
        access(1, start, "U1", Some("A"), "P1"),
        access(1, start, "U1", Some("A"), "P1"),
        access(1, start + 2 * HOUR, "U1", Some("B"), "P1"),
        access(4, start + 3 * HOUR, "U1", Some("B"), "P1"),
    ];
    for (seq, event) in events.iter_mut().enumerate() {
        event.seq = i32::try_from(seq).unwrap();
    }
    events[2].source = "portal".into();
    events[3].activity = Some("Utskrift".into());
    let staff = rows(
        "staff",
        &[
            vec![
                ("user_id", Cell::from("U1")),
                ("person_id", Cell::from("P1")),
                ("name", Cell::from("Anna Ek")),
            ],
            vec![("user_id", Cell::from("U2")), ("person_id", Cell::from("P2"))],
        ],
    );
    let kinship =
        rows("kinship", &[vec![("subject_id", Cell::from("P3")), ("related_id", Cell::from("P4"))]]);
    let (record, findings) =
        run(&pack, &source(&events, &[("staff", staff), ("kinship", kinship)]), Window::default()).await;
    let finding = &findings[0];
    assert_eq!((findings.len(), finding.event_count), (1, 3));
    assert_eq!(finding.event_ids, ["e1", "e1", "e4"]);
    assert_eq!(finding.evidence["sources"]["journal"], 2);
    let events = finding.events();
    let shown: Vec<_> = events
        .iter()
        .map(|e| (e.event_id.as_str(), e.source.as_str(), e.occurred_at, e.care_unit_id.as_deref().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ("e1", "journal", start, "A"),
            ("e1", "portal", start + 2 * HOUR, "B"),
            ("e4", "journal", start + 3 * HOUR, "B")
        ]
    );
    assert_eq!(events[2].activity.as_deref(), Some("Utskrift"));
    assert_eq!(finding.evidence["events"][2]["occurred_at"], "2026-03-04T11:00:00Z");
    assert_eq!(finding.evidence["user_leads_unit"], false);
    assert_eq!(finding.evidence["context"]["staff"].as_array().unwrap().len(), 1);
    assert_eq!(finding.evidence["context"]["staff"][0]["name"], "Anna Ek");
    assert!(finding.evidence["context"]["staff"][0].get("person_key").is_none());
    assert_eq!(finding.evidence["window"]["from"], "2026-03-01T23:00:00Z");
    assert_eq!(
        finding.score,
        45 + 2 * 4 + 4,
        "the level, two more occasions, and nobody else opened the record"
    );
    assert_eq!(finding.level, Level::Medium);
    assert_eq!(finding.reasons.last().unwrap().sv, "3 åtkomster vid 3 skilda tillfällen.");
    let household = record.rules.iter().find(|r| r.rule_id == "same-household").unwrap();
    assert!(household.why.as_deref().unwrap().contains("without subjects"));
    // As JSON: times as text, and back again.
    let text = serde_json::to_string(finding).unwrap();
    assert!(
        text.contains("\"first_at\":\"2026-03-04T08:00:00Z\"") && text.contains("\"status\":\"new\""),
        "{text}"
    );
    assert_eq!(&serde_json::from_str::<Finding>(&text).unwrap(), finding);
}

#[tokio::test]
async fn an_absence_waits_until_its_source_is_read_past_it() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "emergency-without-note");
    let start = at("2026-03-04T09:00:00+01:00");
    let mut opening = access(1, start, "U1", Some("A"), "P1");
    opening.emergency = Some(true);
    let relations = || {
        rows(
            "care_relations",
            &[vec![
                ("subject_id", Cell::from("P9")),
                ("care_unit_id", Cell::from("A")),
                ("valid_from", Cell::from(start - 90 * DAY)),
            ]],
        )
    };
    let later = |days: i64| access(2, start + days * DAY, "U9", Some("A"), "P9");
    let waiting = source(&[opening.clone(), later(0)], &[("care_relations", relations())]);
    let (record, findings) = run(&pack, &waiting, Window::default()).await;
    assert_eq!((record.rules[0].waiting, findings.len()), (1, 0));
    let read = source(&[opening, later(9)], &[("care_relations", relations())]);
    // Also where the later row lies far outside the period that is judged.
    let window = Window { from: Some(start), to: Some(start + 1) };
    let (record, findings) = run(&pack, &read, window).await;
    assert_eq!((record.rules[0].waiting, findings.len()), (0, 1));
    assert_eq!(findings[0].settles_at, Some(start + DAY));
}

/// A store in memory: what was found, what was settled, and how far the rules have judged.
#[derive(Default)]
pub struct Kept(pub Mutex<(BTreeMap<String, Finding>, Vec<String>)>, pub Mutex<BTreeMap<String, RuleMark>>);

#[async_trait]
impl FindingStore for Kept {
    async fn waiting(&self, now: i64) -> Result<Vec<Finding>, StoreError> {
        let kept = self.0.lock().unwrap();
        let open = kept.0.values().filter(|f| !kept.1.contains(&f.finding_id));
        Ok(open.filter(|f| f.settles_at.is_some_and(|at| at > now)).cloned().collect())
    }

    async fn stated(&self, pairs: &[Pair], from: i64, to: i64) -> Result<Vec<Finding>, StoreError> {
        let kept = self.0.lock().unwrap();
        let open = kept.0.values().filter(|f| !kept.1.contains(&f.finding_id));
        let asked = |f: &&Finding| pairs.contains(&(f.user_id.clone(), f.subject_id.clone()));
        Ok(open.filter(asked).filter(|f| f.last_at >= from && f.first_at < to).cloned().collect())
    }

    async fn marks(&self) -> Result<Vec<RuleMark>, StoreError> {
        Ok(self.1.lock().unwrap().values().cloned().collect())
    }

    async fn record(
        &self,
        run: &RunRecord,
        findings: &[Finding],
        settled: &[String],
    ) -> Result<Recorded, StoreError> {
        // As a database would keep them.
        let marks: Vec<RuleMark> = serde_json::from_str(&serde_json::to_string(&run.marks).unwrap()).unwrap();
        self.1.lock().unwrap().extend(marks.into_iter().map(|mark| (mark.rule_id.clone(), mark)));
        let mut kept = self.0.lock().unwrap();
        let mut recorded = Recorded { settled: settled.len() as u64, ..Recorded::default() };
        kept.1.extend(settled.iter().cloned());
        for finding in findings {
            match kept.0.insert(finding.finding_id.clone(), finding.clone()) {
                None => recorded.new += 1,
                Some(_) => recorded.unchanged += 1,
            }
        }
        Ok(recorded)
    }
}

#[tokio::test]
async fn running_again_adds_nothing() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "own-record");
    let store: &dyn FindingStore = &Kept::default();
    let source = world::random(5, 60).source();
    let first = run(&pack, &source, Window::default()).await;
    let second = run(&pack, &source, Window::default()).await;
    let first = store.record(&first.0, &first.1, &[]).await.unwrap();
    let second = store.record(&second.0, &second.1, &[]).await.unwrap();
    assert!(first.new > 0);
    assert_eq!((second.new, second.unchanged), (0, first.new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_over_a_real_lake_stores_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open("lake", dir.path()).await.unwrap();
    let start = at("2026-03-04T09:00:00+01:00");
    let events = vec![
        access(1, start, "annek", Some("A"), "P1"),
        access(2, start, "U2", Some("A"), "P1"),
        access(3, start + DAY, "U2", Some("B"), "P1"),
    ];
    let commit = SourceCommit { source: "journal".into(), sequence: 1, events, ..SourceCommit::default() };
    lake.commit(commit).await.unwrap();
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    for (file, text) in [
        (
            "staff.csv",
            "user_id,person_id,name,title,address,postcode,employed_from,employed_to\nU1,P1,Anna Ek,,,,2020-01-01,\n",
        ),
        ("accounts.csv", "source,account_id,user_id,valid_from,valid_to\njournal,annek,U1,2020-01-01,\n"),
        (
            "care_relations.csv",
            "subject_id,care_unit_id,user_id,kind,valid_from,valid_to\nP9,A,,visit,2026-03-01,2026-03-31\n",
        ),
    ] {
        std::fs::write(context.join(file), text).unwrap();
    }
    context::load(&lake, &context, ZONE).await.unwrap();
    let session = Session::open(&lake, ZONE, Scope::All).await.unwrap();
    let organisation = Organisation { id: "O".into(), name: "Exempel".into(), timezone: ZONE };
    let (pack, store) = (Pack::builtin().unwrap(), Kept::default());
    let running = insyn_rules::run(&pack, &session, &organisation, Window::default(), Some(&store));
    // A server awaits it from any thread.
    let report = may_move_between_threads(running).await.unwrap();
    let found: Vec<(&str, &str)> =
        report.findings.iter().map(|f| (f.rule_id.as_str(), f.user_id.as_str())).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    for pair in [("own-record", "U1"), ("no-care-relation", "U1"), ("no-care-relation", "U2")] {
        assert!(found.contains(&pair), "{found:?}");
    }
    assert_eq!(report.recorded.unwrap().new, 3);
    assert_eq!(report.record.lake_version, session.version());
    assert!(report.record.context_load.is_some());
    let ours = report.record.rules.iter().find(|r| r.rule_id == "no-care-relation").unwrap();
    assert_eq!(ours.not_evaluated[0].care_unit_id.as_deref(), Some("B"));
    let dry =
        insyn_rules::run(&pack, &session, &organisation, Window { from: Some(start + 1), to: None }, None)
            .await
            .unwrap();
    assert!(dry.recorded.is_none());
    assert!(dry.findings.is_empty(), "only looks in the period count: {:?}", dry.findings);
}

/// A lake with one look by U1 of unit A at P1 an hour ago, and context tables that can be loaded anew.
struct Clinic {
    dir: tempfile::TempDir,
    lake: Lake,
    start: i64,
}

const NOT_P1: &str = "P9,A,,visit,2020-01-01,\n";

impl Clinic {
    async fn open() -> Clinic {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open("lake", dir.path()).await.unwrap();
        let start = chrono::Utc::now().timestamp_micros() - HOUR;
        let commit = SourceCommit {
            source: "journal".into(),
            sequence: 1,
            events: vec![access(1, start, "U1", Some("A"), "P1"), access(2, start, "U1", Some("A"), "P2")],
            ..SourceCommit::default()
        };
        lake.commit(commit).await.unwrap();
        std::fs::create_dir(dir.path().join("context")).unwrap();
        Clinic { dir, lake, start }
    }

    /// Loads these relations, and runs `no-care-relation` into the store.
    async fn judge(&self, relations: &str, pack: &Pack, store: &Kept) -> insyn_rules::RunReport {
        self.judge_in(Window::default(), relations, pack, store).await
    }

    async fn judge_in(
        &self,
        window: Window,
        relations: &str,
        pack: &Pack,
        store: &Kept,
    ) -> insyn_rules::RunReport {
        let context = self.dir.path().join("context");
        let header = "subject_id,care_unit_id,user_id,kind,valid_from,valid_to\n";
        std::fs::write(context.join("care_relations.csv"), format!("{header}{relations}")).unwrap();
        context::load(&self.lake, &context, ZONE).await.unwrap();
        let session = Session::open(&self.lake, ZONE, Scope::All).await.unwrap();
        let organisation = Organisation { id: "O".into(), name: "Exempel".into(), timezone: ZONE };
        insyn_rules::run(pack, &session, &organisation, window, Some(store)).await.unwrap()
    }
}

fn no_care_relation() -> Pack {
    Pack::builtin().unwrap().only(|r| r.id == "no-care-relation")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relation_that_comes_late_settles_what_it_explains_and_nothing_else() {
    let (clinic, pack, store) = (Clinic::open().await, no_care_relation(), Kept::default());
    let first = clinic.judge(NOT_P1, &pack, &store).await;
    assert_eq!(first.recorded.unwrap(), Recorded { new: 2, ..Recorded::default() });
    let wait = first.findings[0].settles_at.unwrap() - clinic.start;
    assert_eq!(wait, 14 * DAY);

    let again = clinic.judge(NOT_P1, &pack, &store).await;
    assert_eq!(again.recorded.unwrap(), Recorded { unchanged: 2, ..Recorded::default() });

    let late = format!("{NOT_P1}P1,A,,booking,2020-01-01,\n");
    let settled = clinic.judge(&late, &pack, &store).await;
    assert_eq!(settled.recorded.unwrap(), Recorded { unchanged: 1, settled: 1, ..Recorded::default() });
    assert_eq!(settled.record.rules[0].settled, 1);
    let of_p1 = first.findings.iter().find(|f| f.subject_id.as_deref() == Some("P1")).unwrap();
    assert_eq!(store.0.lock().unwrap().1, std::slice::from_ref(&of_p1.finding_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_over_a_part_settles_nothing_that_it_only_sees_beside_it() {
    let (clinic, store) = (Clinic::open().await, Kept::default());
    // One that looks days around its period, and makes the others see as much.
    let around = ["no-care-relation", "emergency-without-note"];
    let pack = Pack::builtin().unwrap().only(|r| around.contains(&r.id.as_str()));
    clinic.judge(NOT_P1, &pack, &store).await;
    let later = clinic.start + HOUR / 2;
    let commit = SourceCommit {
        source: "journal".into(),
        sequence: 2,
        events: vec![access(3, later, "U1", Some("A"), "P1")],
        state: String::new(),
        ..SourceCommit::default()
    };
    clinic.lake.commit(commit).await.unwrap();
    let part = Window { from: Some(later - 1), to: None };
    let report = clinic.judge_in(part, NOT_P1, &pack, &store).await;
    assert_eq!(report.recorded.unwrap().settled, 0, "{:#?}", report.record.rules);
    assert!(store.0.lock().unwrap().1.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_explains_nothing_settles_nothing() {
    let clinic = Clinic::open().await;
    let store = Kept::default();
    clinic.judge(NOT_P1, &no_care_relation(), &store).await;
    // The unit's relations are gone, the whole table is gone, or the rule is another one than then.
    let other_version = {
        let text = world::pack_file("no-care-relation");
        let text = text.replacen("version = 2", "version = 99", 1);
        let visit = world::explanation_file("visit");
        Pack::of(vec![("no-care-relation.toml".into(), text), ("visit.toml".into(), visit)])
    };
    let mut other_parameters = no_care_relation();
    let days = ParamValue::Duration(insyn_rules::Duration::parse("15 days").unwrap());
    other_parameters.set("visit", "before", days).unwrap();
    let explained = format!("{NOT_P1}P1,A,,visit,2020-01-01,\nP2,A,,visit,2020-01-01,\n");
    for (relations, pack) in [
        ("P9,B,,visit,2020-01-01,\n", no_care_relation()),
        ("", no_care_relation()),
        (explained.as_str(), other_version),
        (explained.as_str(), other_parameters),
    ] {
        let report = clinic.judge(relations, &pack, &store).await;
        assert_eq!(report.recorded.unwrap().settled, 0, "{relations} {:#?}", report.record.rules);
    }
    assert!(store.0.lock().unwrap().1.is_empty());
    let report = clinic.judge(&explained, &no_care_relation(), &store).await;
    assert_eq!(report.recorded.unwrap().settled, 2, "and then it does: {:#?}", report.record.rules);
}

#[tokio::test]
async fn a_level_that_the_organisation_sets_is_that_of_the_findings() {
    let dir = tempfile::tempdir().unwrap();
    for rule in ["no-care-relation", "colleague", "protected-identity", "after-employment"] {
        let text = format!("override = \"{rule}\"\nlevel = \"informational\"\n");
        std::fs::write(dir.path().join(format!("{rule}.toml")), text).unwrap();
    }
    let source = world::random(2026, 160).source();
    let (_, ours) = run(&Pack::builtin().unwrap(), &source, Window::default()).await;
    let (_, theirs) = run(&Pack::load(dir.path()).unwrap(), &source, Window::default()).await;
    for rule in ["no-care-relation", "protected-identity", "after-employment"] {
        let highest = |findings: &[Finding]| {
            findings.iter().filter(|f| f.rule_id == rule).map(|f| f.level).max().unwrap()
        };
        assert!(highest(&ours) > Level::Low, "{rule}");
        assert_eq!(highest(&theirs), Level::Informational, "{rule}");
    }
}

#[tokio::test]
async fn who_leads_the_unit_is_told() {
    let pack = no_care_relation();
    let monday = at("2026-03-02T09:00:00+01:00");
    let events = [(1, "U1"), (2, "U2"), (3, "U3")].map(|(n, user)| access(n, monday, user, Some("A"), "P1"));
    let relations =
        rows("care_relations", &[vec![("subject_id", Cell::from("P9")), ("care_unit_id", Cell::from("A"))]]);
    let unit = |id: &str, parent: Option<&str>, manager: &str| {
        let mut row = vec![("care_unit_id", Cell::from(id)), ("manager_user_id", Cell::from(manager))];
        row.extend(parent.map(|parent| ("parent_unit_id", Cell::from(parent))));
        row
    };
    let units =
        rows("units", &[unit("A", Some("TOP"), "U1"), unit("TOP", None, "U2"), unit("B", Some("A"), "U3")]);
    let source = source(&events, &[("care_relations", relations), ("units", units)]);
    let (_, findings) = run(&pack, &source, Window::default()).await;
    let led: BTreeMap<&str, bool> = findings
        .iter()
        .map(|f| (f.user_id.as_str(), f.evidence["user_leads_unit"].as_bool().unwrap()))
        .collect();
    assert_eq!(led, BTreeMap::from([("U1", true), ("U2", true), ("U3", false)]));
}

fn may_move_between_threads<F: Future + Send>(future: F) -> F {
    future
}
