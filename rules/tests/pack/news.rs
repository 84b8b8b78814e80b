//! Runs of news: what is judged is what came, and what is found in the end is what one run over everything finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc, Weekday};
use insyn_engine::config::Organisation;
use insyn_engine::context;
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, SourceCommit};
use insyn_engine::session::{Scope, Session};
use insyn_rules::{
    Finding, Kind, Limits, Pack, ParamValue, RuleState, RunRecord, RunReport, Status, Window, run, run_news,
};

use crate::runs::{Kept, for_a_small_world};
use crate::world::{self, DAY, Dice, HOUR, ZONE, access, at};

/// An installation whose log comes bit by bit.
struct House {
    dir: tempfile::TempDir,
    lake: Lake,
    store: Kept,
    batches: BTreeMap<String, i64>,
}

impl House {
    async fn open() -> House {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open("lake", dir.path()).await.unwrap();
        std::fs::create_dir(dir.path().join("context")).unwrap();
        House { dir, lake, store: Kept::default(), batches: BTreeMap::new() }
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn table(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join("context").join(format!("{name}.csv")), text).unwrap();
    }

    async fn load(&self) {
        context::load(&self.lake, &self.folder().join("context"), ZONE).await.unwrap();
    }

    async fn commit(&mut self, events: &[AccessEvent]) {
        let mut by_source: BTreeMap<&str, Vec<AccessEvent>> = BTreeMap::new();
        for event in events {
            by_source.entry(&event.source).or_default().push(event.clone());
        }
        for (source, events) in by_source {
            let sequence = self.batches.entry(source.to_owned()).or_default();
            *sequence += 1;
            let source = source.to_owned();
            let commit = SourceCommit { source, sequence: *sequence, events, ..SourceCommit::default() };
            self.lake.commit(commit).await.unwrap();
        }
    }

    async fn session(&self) -> Session {
        Session::open(&self.lake, ZONE, Scope::All).await.unwrap()
    }

    async fn news(&self, pack: &Pack, limits: Limits) -> RunReport {
        run_news(pack, &self.session().await, &organisation(), None, &self.store, limits).await.unwrap()
    }

    /// What one run over everything finds.
    async fn whole(&self, pack: &Pack) -> BTreeMap<String, Finding> {
        let report =
            run(pack, &self.session().await, &organisation(), Window::default(), None).await.unwrap();
        report.findings.into_iter().map(|finding| (finding.finding_id.clone(), finding)).collect()
    }

    /// What the runs of news have come to.
    fn found(&self) -> BTreeMap<String, Finding> {
        let kept = self.store.0.lock().unwrap();
        kept.0.iter().filter(|(id, _)| !kept.1.contains(id)).map(|(id, f)| (id.clone(), f.clone())).collect()
    }
}

fn organisation() -> Organisation {
    Organisation { id: "O".into(), name: "Exempel".into(), timezone: ZONE }
}

/// What is promised of a finding however runs are cut: what it rests on, and what is said of that. How usual it is and what other
/// rules say is as it was when evidence joined it.
fn promised(findings: &BTreeMap<String, Finding>) -> BTreeMap<&str, String> {
    let promised = |finding: &Finding| {
        let (mut ids, reasons) = (finding.event_ids.clone(), &finding.reasons);
        ids.sort();
        let times = (finding.first_at, finding.last_at, finding.event_count);
        format!(
            "{} {} {:?} {ids:?} {times:?} {reasons:?}",
            finding.rule_id, finding.user_id, finding.subject_id
        )
    };
    findings.iter().map(|(id, finding)| (id.as_str(), promised(finding))).collect()
}

/// Of rules that lean on explanations a finding may stand that what came later explains by now: a run settles it while it waits.
fn without_what_was_explained_later(
    found: &mut BTreeMap<String, Finding>,
    whole: &mut BTreeMap<String, Finding>,
    pack: &Pack,
) {
    let leans = |finding: &Finding| pack.rule(&finding.rule_id).unwrap().leans_on.is_some();
    let is_match = |finding: &Finding| pack.rule(&finding.rule_id).unwrap().kind == Kind::Match;
    for (id, finding) in whole.iter().filter(|(_, finding)| leans(finding) && is_match(finding)) {
        let stated = found.get(id).unwrap_or_else(|| panic!("{finding:#?}"));
        assert!(finding.event_ids.iter().all(|event| stated.event_ids.contains(event)), "{stated:#?}");
    }
    found.retain(|_, finding| !leans(finding));
    whole.retain(|_, finding| !leans(finding));
}

fn assert_same(found: &BTreeMap<String, Finding>, whole: &BTreeMap<String, Finding>, what: &str) {
    let (found, whole) = (promised(found), promised(whole));
    for (id, promised) in &whole {
        assert_eq!(found.get(id), Some(promised), "{what}");
    }
    let more: Vec<&String> =
        found.iter().filter(|(id, _)| !whole.contains_key(*id)).map(|(_, f)| f).collect();
    assert!(more.is_empty(), "{what}: {more:#?}");
}

fn judged(record: &RunRecord, rule: &str) -> Vec<(i64, i64)> {
    let of = record.rules.iter().find(|run| run.rule_id == rule).unwrap();
    of.judged.iter().map(|judged| (judged.from, judged.to)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_comes_bit_by_bit_gives_what_it_gives_at_once() {
    let mut pack = for_a_small_world();
    // A colleague's note that comes after the run settles what waits when the context is loaded anew, and not before.
    let none = ParamValue::Duration(insyn_rules::Duration { minutes: 0 });
    pack.set("noted-by-colleague", "after", none).unwrap();
    for (seed, late) in [(1, false), (2026, true)] {
        let mut world = world::random(seed, 160);
        world.events.sort_by_key(|event| event.occurred_at);
        let mut house = House::open().await;
        world.write(&house.folder().join("context"));
        house.load().await;
        let mut dice = Dice(seed + 7);
        let mut parts: Vec<Vec<AccessEvent>> = world.events.chunks(27).map(<[AccessEvent]>::to_vec).collect();
        if late {
            // Some of each part comes with a later one, and one of them twice.
            for n in 0..parts.len() - 1 {
                let (mut stays, mut goes) = (Vec::new(), Vec::new());
                for event in std::mem::take(&mut parts[n]) {
                    if dice.below(4) == 0 { goes.push(event) } else { stays.push(event) }
                }
                parts[n] = stays;
                let other = n + 1 + dice.below((world.events.len() / 27 - n) as u64) as usize;
                let last = parts.len() - 1;
                parts[other.min(last)].extend(goes);
            }
        }
        for (n, part) in parts.iter().enumerate() {
            house.commit(part).await;
            match n % 3 {
                // One run over several commits, and files that were merged since.
                0 => continue,
                1 => while house.lake.compact().await.unwrap().is_some() {},
                _ => {}
            }
            house.news(&pack, Limits::default()).await;
        }
        house.news(&pack, Limits::default()).await;
        let quiet = house.news(&pack, Limits::default()).await;
        let waits: Vec<&str> =
            quiet.record.rules.iter().filter(|r| !r.judged.is_empty()).map(|r| r.rule_id.as_str()).collect();
        let absences = ["emergency-without-note", "searches-without-opening"];
        assert!(
            waits.iter().all(|rule| absences.contains(rule)),
            "nothing came, and nothing is judged: {waits:?}"
        );
        let (mut found, mut whole) = (house.found(), house.whole(&pack).await);
        without_what_was_explained_later(&mut found, &mut whole, &pack);
        if late {
            // What comes later can take away what an order, a middle or an absence named, and what a note or the time before
            // explains; that stays stated.
            let mut undone = vec![
                "browsing-in-order",
                "browsing-by-name",
                "two-places",
                "shared-account",
                "peek-by-name",
                "rapid-unexplained",
                "unusual-among-peers",
                "searches-without-opening",
                "emergency-without-note",
                "unusual-volume",
                "first-time-at-unit",
                "dormant-account",
            ];
            undone.extend(pack.rules().iter().filter(|r| r.leans_on.is_some()).map(|r| r.id.as_str()));
            found.retain(|id, finding| whole.contains_key(id) || !undone.contains(&finding.rule_id.as_str()));
            let same = |finding: &Finding| !undone.contains(&finding.rule_id.as_str());
            found.retain(|_, finding| same(finding));
            let whole: BTreeMap<_, _> = whole.into_iter().filter(|(_, finding)| same(finding)).collect();
            assert_same(&found, &whole, "late rows");
        } else {
            assert_same(&found, &whole, "in order");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_already_is_judged_run_by_run_the_newest_first() {
    let pack = for_a_small_world();
    let mut house = House::open().await;
    let world = world::random(3, 120);
    world.write(&house.folder().join("context"));
    house.load().await;
    house.commit(&world.events).await;
    let few = Limits { news_rows: 30, ..Limits::default() };
    let first = house.news(&pack, few).await;
    let days = judged(&first.record, "own-record");
    assert!(days.last().unwrap().1 > world.events.iter().map(|e| e.occurred_at).max().unwrap());
    assert!(days.first().unwrap().0 > world.events.iter().map(|e| e.occurred_at).min().unwrap());
    assert!(
        first.record.notes.iter().any(|note| note.contains("the next runs go on")),
        "{:?}",
        first.record.notes
    );
    let mut runs = 1;
    while house.news(&pack, few).await.record.notes.iter().any(|note| note.contains("the next runs")) {
        runs += 1;
        assert!(runs < 20, "it comes to an end");
    }
    assert!(runs >= 3, "{runs}");
    assert_same(&house.found(), &house.whole(&pack).await, "run by run");
}

/// A house where U1 of unit A looked at P1 two days ago and at P2 yesterday.
async fn clinic() -> (House, i64) {
    let mut house = House::open().await;
    // A Wednesday of late: what happens the day after is of the same week, whenever the test runs.
    let lately = Utc::now().date_naive().iter_days().rev().skip(2).find(|day| day.weekday() == Weekday::Wed);
    let start = lately.unwrap().and_time(NaiveTime::MIN).and_utc().timestamp_micros() + 12 * HOUR;
    house
        .commit(&[access(1, start, "U1", Some("A"), "P1"), access(2, start + DAY, "U1", Some("A"), "P2")])
        .await;
    house.table("care_relations", &format!("{HEADER}{NOT_P1}"));
    house.load().await;
    (house, start)
}

const HEADER: &str = "subject_id,care_unit_id,user_id,kind,valid_from,valid_to\n";
const NOT_P1: &str = "P9,A,,visit,2020-01-01,\n";

fn no_care_relation() -> Pack {
    Pack::builtin().unwrap().only(|rule| rule.id == "no-care-relation")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_came_is_judged_and_the_rest_of_a_week_is_remembered() {
    let pack = no_care_relation();
    let mut house = House::open().await;
    house.table("care_relations", &format!("{HEADER}{NOT_P1}"));
    house.load().await;
    let monday = at("2026-03-02T09:00:00+01:00");
    house.commit(&[access(1, monday, "U1", Some("A"), "P1")]).await;
    house.news(&pack, Limits::default()).await;
    house.commit(&[access(2, monday + 2 * DAY, "U1", Some("A"), "P1")]).await;
    let second = house.news(&pack, Limits::default()).await;
    let wednesday = (at("2026-03-04T00:00:00+01:00"), at("2026-03-05T00:00:00+01:00"));
    assert_eq!(judged(&second.record, "no-care-relation"), [wednesday]);
    assert_eq!((second.record.accesses, second.record.rules[0].rows), (1, 1));
    assert!(second.record.news && second.record.rules[0].since.is_some());
    let finding = &second.findings[0];
    assert_eq!(finding.event_ids, ["e1", "e2"], "the week's finding is whole: {finding:#?}");
    assert_eq!(house.whole(&pack).await[&finding.finding_id].reasons, finding.reasons);
    // The same rows again, from a log that is read anew under another name, are of the same day.
    let mut twice = access(2, monday + 2 * DAY, "U1", Some("A"), "P1");
    twice.source = "portal".into();
    house.commit(&[twice]).await;
    let third = house.news(&pack, Limits::default()).await;
    assert_eq!(third.findings[0].event_ids, ["e1", "e2", "e2"]);
    let none = house.news(&pack, Limits::default()).await;
    assert_eq!((none.record.accesses, none.findings.len()), (0, 0));
    assert_eq!(none.record.rules[0].state, RuleState::Evaluated);
    assert!(none.record.rules[0].why.as_deref().unwrap().contains("nothing"), "{:?}", none.record.rules[0]);
}

/// From the first to the last day of which the run says this of the rule.
fn said(record: &RunRecord, rule: &str, state: RuleState) -> Option<(NaiveDate, NaiveDate)> {
    let of: Vec<_> =
        record.evaluated.rules.iter().filter(|said| said.rule_id == rule && said.state == state).collect();
    Some((of.first()?.first, of.last()?.last))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_news_says_what_became_of_the_days_that_each_rule_was_to_judge() {
    let ids = ["no-care-relation", "own-record", "neighbour"];
    let pack = Pack::builtin().unwrap().only(|rule| ids.contains(&rule.id.as_str()));
    let pack = pack.without_intrusive("nobody has decided it");
    let (house, start) = clinic().await;
    let day = |at: i64| DateTime::from_timestamp_micros(at).unwrap().with_timezone(&ZONE).date_naive();
    let (first, second) = (day(start), day(start + DAY));
    let one_day = Limits { news_rows: 1, ..Limits::default() };
    let (done, not) = (RuleState::Evaluated, RuleState::NotEvaluated);
    for today in [second, first] {
        let record = house.news(&pack, one_day).await.record;
        let today = Some((today, today));
        assert_eq!(said(&record, "no-care-relation", done), today);
        assert_eq!(
            said(&record, "neighbour", not),
            today,
            "what is held back would judge what the others do"
        );
        let both = Some((first, second));
        assert_eq!(
            said(&record, "own-record", not),
            both,
            "without its table it still has everything to judge"
        );
        assert_eq!(record.evaluated.accesses.values().sum::<u64>(), 1);
    }
    let nothing = house.news(&pack, one_day).await.record;
    assert_eq!(said(&nothing, "no-care-relation", done), None);
    assert!(nothing.evaluated.accesses.is_empty() && nothing.evaluated.days.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_loaded_anew_is_looked_at_again_for_two_weeks_and_only_by_who_reads_it() {
    let pack = Pack::builtin().unwrap().only(|r| r.id == "no-care-relation" || r.id == "many-prints");
    let (mut house, start) = clinic().await;
    house.commit(&[access(3, start - 90 * DAY, "U1", Some("A"), "P1")]).await;
    let first = house.news(&pack, Limits::default()).await;
    assert_eq!(first.recorded.unwrap().new, 3);
    // The same rows again are no news.
    house.load().await;
    let same = house.news(&pack, Limits::default()).await;
    assert!(judged(&same.record, "no-care-relation").is_empty());
    house.table("care_relations", &format!("{HEADER}{NOT_P1}P1,A,,booking,2020-01-01,\n"));
    house.load().await;
    let late = house.news(&pack, Limits::default()).await;
    assert!(judged(&late.record, "many-prints").is_empty());
    let again = judged(&late.record, "no-care-relation");
    assert!(again[0].0 > start - 20 * DAY && again[0].0 <= start, "{again:?}");
    assert_eq!(late.recorded.unwrap().settled, 1, "the one of three months ago is past its time");
    // A relation that is withdrawn is looked at again as well.
    house.table("care_relations", &format!("{HEADER}{NOT_P1}"));
    house.load().await;
    let withdrawn = house.news(&pack, Limits::default()).await;
    assert!(withdrawn.findings.iter().any(|finding| finding.subject_id.as_deref() == Some("P1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_that_waits_is_looked_at_until_it_is_ripe() {
    let pack = Pack::builtin().unwrap().only(|rule| rule.id == "emergency-without-note");
    let mut house = House::open().await;
    house.table("care_relations", &format!("{HEADER}{NOT_P1}"));
    house.load().await;
    let start = at("2026-03-04T09:00:00+01:00");
    let mut opening = access(1, start, "U1", Some("A"), "P1");
    opening.emergency = Some(true);
    house.commit(&[opening]).await;
    for _ in 0..2 {
        let waits = house.news(&pack, Limits::default()).await;
        assert_eq!((waits.record.rules[0].waiting, waits.findings.len()), (1, 0));
    }
    house.commit(&[access(2, start + 9 * DAY, "U9", Some("A"), "P9")]).await;
    let ripe = house.news(&pack, Limits::default()).await;
    assert_eq!((ripe.record.rules[0].waiting, ripe.findings.len()), (0, 1));
    assert!(!judged(&ripe.record, "emergency-without-note").is_empty());
    // A note that comes late touches the days around it.
    let mut note = access(3, start + HOUR, "U1", Some("A"), "P1");
    note.action = Some("C".into());
    house.commit(&[note]).await;
    let noted = house.news(&pack, Limits::default()).await;
    assert_eq!((noted.record.rules[0].rows, noted.findings.len()), (0, 0));
    let quiet = house.news(&pack, Limits::default()).await;
    assert!(judged(&quiet.record, "emergency-without-note").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_new_fails_or_is_set_otherwise_judges_what_it_has_not() {
    let (mut house, start) = clinic().await;
    let own = Pack::of(vec![("own-record.toml".into(), world::own_record())]);
    house.table(
        "staff",
        "user_id,person_id,name,title,address,postcode,employed_from,employed_to\nU1,P1,,,,,,\n",
    );
    house.load().await;
    let before = house.news(&no_care_relation(), Limits::default()).await;
    assert_eq!(before.findings.len(), 2);
    let new = house.news(&own, Limits::default()).await;
    assert_eq!((new.findings.len(), new.record.rules[0].since), (1, None));
    // Stopped at its bound it tries the same again, and no other waits for it.
    let none = Limits { rule_rows: 0, ..Limits::default() };
    house.commit(&[access(3, start + DAY + HOUR, "U1", Some("A"), "P1")]).await;
    let failed = house.news(&own, none).await;
    assert_eq!(failed.record.rules[0].state, RuleState::Failed);
    assert!(failed.findings.is_empty());
    let again = house.news(&own, Limits::default()).await;
    assert_eq!(again.findings[0].event_ids, ["e1", "e3"]);
    // Another version is another rule: it judges all that is stored.
    let other = world::own_record().replacen("version = 1", "version = 99", 1);
    let other = Pack::of(vec![("own-record.toml".into(), other)]);
    let report = house.news(&other, Limits::default()).await;
    assert!(judged(&report.record, "own-record")[0].0 <= start, "{:?}", report.record.rules);
    assert!(house.news(&other, Limits::default()).await.record.rules[0].judged.is_empty());
    assert!(own.rules().iter().all(|rule| rule.status != Status::Deprecated));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_by_hand_is_gone_on_from_and_a_part_of_it_is_not() {
    let pack = no_care_relation();
    let (mut house, start) = clinic().await;
    let by_hand = async |house: &House, window: Window| {
        run(&pack, &house.session().await, &organisation(), window, Some(&house.store)).await.unwrap()
    };
    by_hand(&house, Window { from: Some(start - 1), to: Some(start + 1) }).await;
    assert!(house.store.1.lock().unwrap().is_empty());
    by_hand(&house, Window::default()).await;
    assert!(house.news(&pack, Limits::default()).await.record.rules[0].judged.is_empty());
    house.commit(&[access(3, start - 40 * DAY, "U1", Some("A"), "P3")]).await;
    let late = house.news(&pack, Limits::default()).await;
    assert_eq!((late.record.accesses, late.findings.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_log_is_gone_segments_tell_and_another_lake_is_judged_anew() {
    let pack = no_care_relation();
    let (mut house, start) = clinic().await;
    house.news(&pack, Limits::default()).await;
    house.commit(&[access(3, start + DAY, "U1", Some("A"), "P3")]).await;
    house.commit(&[access(4, start - 3 * DAY, "U1", Some("A"), "P4")]).await;
    while house.lake.compact().await.unwrap().is_some() {}
    // Every commit but the last is cleaned away.
    house.lake.checkpoint().await.unwrap();
    let log = house.folder().join("lake/access_events/_delta_log");
    let mut entries: Vec<_> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    entries.sort();
    entries.pop();
    entries.iter().for_each(|entry| std::fs::remove_file(entry).unwrap());
    let report = house.news(&pack, Limits::default()).await;
    assert!(report.record.notes[0].contains("by its segments"), "{:?}", report.record.notes);
    let found: BTreeSet<&str> =
        report.findings.iter().flat_map(|f| &f.event_ids).map(String::as_str).collect();
    assert_eq!((report.record.accesses, found), (3, BTreeSet::from(["e2", "e3", "e4"])));

    let other = House::open().await;
    let mut other = House { store: house.store, ..other };
    other.table("care_relations", &format!("{HEADER}{NOT_P1}"));
    other.load().await;
    other.commit(&[access(9, start, "U9", Some("A"), "P9x")]).await;
    let report = other.news(&pack, Limits::default()).await;
    assert!(report.record.notes[0].contains("judged anew"), "{:?}", report.record.notes);
    assert_eq!(report.findings.len(), 1);
}
