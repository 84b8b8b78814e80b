//! Rows whose time is over: exactly those go, whoever writes, merges, amends or dies meanwhile, and nothing names them
//! afterwards.

use std::collections::BTreeSet;

use super::compact::{many_small, open_tiny, runs_of};
use super::*;
use crate::lake::purge::Purged;
use crate::retain::{Class, Ground, Holds, Plan, Term};

pub(super) const EVER: i64 = i64::MAX / 2;

/// Everything before an instant goes, but what is held.
pub(super) fn plan(before: i64, subjects: &[&str]) -> Plan {
    Plan {
        terms: vec![Term { of: Class::default(), shortest: EVER, longest: None }],
        grounds: vec![Ground { of: Class::default(), before, name: "Nämnden 2026-14, 2026-11-21".into() }],
        holds: Holds { subjects: subjects.iter().map(|s| (*s).to_owned()).collect(), ..Holds::default() },
        controllers: BTreeMap::new(),
    }
}

/// Two rows a record, of two persons; the records of the first half are three years old.
fn batch_of_records(source: &str, sequence: i64, from: i64) -> SourceCommit {
    let mut batch = batch(source, sequence, from..from + 40);
    for (n, event) in batch.events.iter_mut().enumerate() {
        let record = from + (n as i64 / 2) * 2;
        event.file_offset = record * 100;
        event.occurred_at = JULY_2026 + record * 1_000_000 - if n < 20 { 3 * YEAR } else { 0 };
        event.subject_id = Some(format!("1950{:08}", from + n as i64));
        event.record = Some(format!("1950{record:08} 1950{:08}", record + 1));
    }
    let old = |n: i64| Quarantined { ingested_at: JULY_2026 - 3 * YEAR, ..quarantined(source, n) };
    batch.quarantine = vec![old(from + 1), quarantined(source, from + 2)];
    batch.quarantine[0].bytes = format!("?1950{:08}", from + 77).into_bytes();
    batch.gaps =
        vec![Gap { noticed_at: JULY_2026 - 3 * YEAR, ..gap(source, from + 4) }, gap(source, from + 5)];
    batch
}

async fn stored(lake: &Lake, oracle: &mut Oracle) {
    for (source, from) in [("a", 0), ("b", 100), ("a", 200)] {
        let sequence = lake.progress(source).await.unwrap().sequence + 1;
        let batch = batch_of_records(source, sequence, from);
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
}

/// The one that the child and the parent of crashes do.
fn some_plan() -> Plan {
    plan(JULY_2026 - YEAR, &["195000000004", "195000000204"])
}

#[tokio::test]
async fn what_goes_is_told_before_and_gone_after_and_nothing_else_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    stored(&lake, &mut oracle).await;
    let changes = Changes {
        quarantine_states: [(("f1".to_owned(), 100), Settled::Explained)].into(),
        kind: "explain",
        ..Changes::default()
    };
    lake.amend("a").await.unwrap().commit(changes.clone()).await.unwrap();
    oracle.amend("a", &[], &changes);

    let plan = some_plan();
    let told = lake.survey(&plan).await.unwrap();
    assert_same(&lake, &oracle).await;
    // A record's other row is held with it.
    assert_eq!((told.rows(), told.held()), (3 * 20 - 4 + 3 * 2, 4));
    let gone = lake.remove(&plan, "os:test").await.unwrap();
    assert_eq!((gone.rows(), &gone.shares), (told.rows(), &told.shares));
    oracle.retain(&plan);
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;

    let snapshot = lake.snapshot().await.unwrap();
    let told: Vec<_> = snapshot.amendments().filter(|(_, one)| one.kind == RETAINED).collect();
    assert_eq!(told.iter().map(|(_, one)| one.removed).sum::<u64>(), 56);
    assert_eq!(told.iter().map(|(_, one)| one.items).sum::<u64>(), 6);
    assert!(told.iter().all(|(_, one)| one.by == "os:test" && one.reason == plan.grounds[0].name));
    assert!(told.iter().all(|(_, one)| one.to == Some(plan.grounds[0].before)));

    let again = lake.remove(&plan, "os:test").await.unwrap();
    assert_eq!((again.rows(), again.held(), again.rewritten + again.dropped), (0, 4, 0));
    // What was held goes when it is released.
    let released = self::plan(JULY_2026 - YEAR, &[]);
    assert_eq!(lake.remove(&released, "os:test").await.unwrap().rows(), 4);
    oracle.retain(&released);
    assert_same(&lake, &oracle).await;
    stored_more(&lake, &mut oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

async fn stored_more(lake: &Lake, oracle: &mut Oracle) {
    for source in ["a", "b"] {
        let sequence = lake.progress(source).await.unwrap().sequence + 1;
        // Each time at other places.
        let n = 900 + sequence * 100;
        let mut batch = batch(source, sequence, n..n + 5);
        batch.quarantine = vec![quarantined(source, n + 50)];
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
        let mut amendment = lake.amend(source).await.unwrap();
        let changes = Changes {
            replaces: Some(Window { from: Some(JULY_2026), to: None }),
            quarantine_states: [(("f1".to_owned(), (n + 50) * 100), Settled::Mended)].into(),
            kind: "again",
            ..Changes::default()
        };
        amendment.put(vec![event(source, n + 50)]).await.unwrap();
        amendment.commit(changes.clone()).await.unwrap();
        oracle.amend(source, &[event(source, n + 50)], &changes);
    }
}

#[tokio::test]
async fn a_record_of_two_categories_goes_when_both_may() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    let mut batch = batch_of_records("a", 1, 0);
    for (n, event) in batch.events.iter_mut().enumerate() {
        let category = if n % 8 < 4 { ["image", "note"][n % 2] } else { "image" };
        event.data_category = (n % 16 != 4).then(|| category.to_owned());
        event.access_ground = (n == 8).then(|| "2026-7".to_owned());
    }
    oracle.add(&batch);
    lake.commit(batch).await.unwrap();
    let mut plan = plan(JULY_2026 - YEAR, &[]);
    plan.grounds[0].of.category = Some("image".to_owned());
    plan.holds.cases.insert("2026-7".to_owned());
    // Of twenty old rows those of records with a note stay, one of an unknown category, and none that is held.
    let gone = lake.remove(&plan, "x").await.unwrap();
    assert_eq!((gone.rows(), gone.held()), (6, 7));
    oracle.retain(&plan);
    assert_same(&lake, &oracle).await;
    let mut notes = plan.clone();
    notes.grounds.push(Ground {
        of: Class { category: Some("note".into()), ..Class::default() },
        ..plan.grounds[0].clone()
    });
    assert_eq!(lake.remove(&notes, "x").await.unwrap().rows(), 10);
    oracle.retain(&notes);
    assert_same(&lake, &oracle).await;
}

#[tokio::test]
async fn a_source_of_which_all_goes_has_no_latest_event() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    stored(&lake, &mut oracle).await;
    let plan = Plan {
        grounds: vec![Ground {
            of: Class { sources: Some(BTreeSet::from(["b".to_owned()])), ..Class::default() },
            before: EVER,
            name: "x".into(),
        }],
        ..plan(0, &[])
    };
    let gone = lake.remove(&plan, "x").await.unwrap();
    assert_eq!((gone.dropped, gone.rewritten), (2, 0));
    oracle.retain(&plan);
    assert_eq!(lake.progress("b").await.unwrap().last_event, None);
    assert_same(&lake, &oracle).await;
    stored_more(&lake, &mut oracle).await;
    assert_same(&lake, &oracle).await;
}

#[tokio::test]
async fn nothing_goes_without_a_ground_or_before_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    stored(&lake, &mut oracle).await;
    let late = Term { of: Class::default(), shortest: JULY_2026, longest: Some(JULY_2026 - YEAR) };
    let undecided = Plan { terms: vec![late], grounds: Vec::new(), ..plan(0, &[]) };
    let told = lake.survey(&undecided).await.unwrap();
    assert_eq!((told.rows(), told.overdue(), told.held()), (0, 66, 0));
    assert_eq!(lake.remove(&undecided, "x").await.unwrap().rows(), 0);
    let early =
        Plan { terms: vec![Term { of: Class::default(), shortest: 0, longest: None }], ..plan(EVER, &[]) };
    assert_eq!(lake.remove(&early, "x").await.unwrap().rows(), 0);
    assert_eq!(lake.remove(&Plan { terms: Vec::new(), ..plan(EVER, &[]) }, "x").await.unwrap().rows(), 0);
    assert_same(&lake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_beside_commits_merges_and_amendments_neither_double_nor_revive_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let writing = {
        let lake = lake.clone();
        tokio::spawn(async move {
            let mut oracle = Oracle::default();
            many_small(&lake, &mut oracle, 60).await;
            oracle
        })
    };
    // All rows of the year before go, and of one source those of some persons stay.
    let plan = plan(JULY_2026 - YEAR / 2, &["191200000000", "191200000019"]);
    let others = [open(folder.path()).await, open(folder.path()).await];
    let (mut gone, mut merges, mut amended) = (0, 0, 0);
    while !writing.is_finished() {
        let merging = others[0].compact();
        let removing = others[1].remove(&plan, "x");
        let (merged, removed) = tokio::join!(merging, removing);
        match merged {
            Ok(merged) => merges += usize::from(merged.is_some()),
            Err(LakeError::Locked { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        gone += removed.unwrap().rows();
        if let Ok(amendment) = lake.amend("a").await {
            amendment.commit(Changes { kind: "explain", ..Changes::default() }).await.unwrap();
            amended += 1;
        }
    }
    let mut oracle = writing.await.unwrap();
    gone += lake.remove(&plan, "x").await.unwrap().rows();
    let before = oracle.events.len();
    oracle.retain(&plan);
    assert_eq!(gone, (before - oracle.events.len()) as u64, "each row went once");
    assert!(gone > 0 && merges > 0 && amended > 0, "{gone} rows, {merges} merges, {amended} amendments");
    assert_same(&lake, &oracle).await;
    while lake.compact().await.unwrap().is_some() {}
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn runs_stay_runs() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_tiny(folder.path()).await;
    let mut oracle = Oracle::default();
    for n in 0..12 {
        let mut batch = batch("a", n + 1, n * 400..n * 400 + 400);
        for (at, event) in batch.events.iter_mut().enumerate() {
            event.record = Some(format!("{:x}", u128::from_ne_bytes(*uuid::Uuid::new_v4().as_bytes())));
            event.subject_id = (at % 9 != 0).then(|| format!("{:06}", (at as i64 + n) * 7919 % 1000));
        }
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
    compacted(&lake).await;
    let before = runs_of(&lake).await;
    let plan = plan(JULY_2026 + 2_000 * 1_234_567, &["000001", "000019"]);
    let files = lake.snapshot().await.unwrap().files(Table::AccessEvents).len() as u64;
    let gone = lake.remove(&plan, "x").await.unwrap();
    assert!(gone.rewritten > 0 && gone.rows() > 1000, "{} of {files} files: {gone:?}", gone.rewritten);
    oracle.retain(&plan);
    let after = runs_of(&lake).await;
    // Of rows without a subject, whose files are told apart by time, a whole run may go; none comes.
    assert!(after.keys().all(|run| before.contains_key(run)), "{after:?} of {before:?}");
    assert_same(&lake, &oracle).await;
    compacted(&lake).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

/// All of it, also where the lake merges beside.
pub(super) async fn compacted(lake: &Lake) {
    loop {
        match lake.compact().await {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(LakeError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    let lake = open(&folder).await;
    lake.remove(&some_plan(), "child").await.unwrap();
    lake.purge(Duration::ZERO).await.unwrap();
}

const LEFT: &str = "left.parquet";

/// Those of the given ids that stand somewhere below the folder.
fn named_in(folder: &FsPath, ids: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(named_in(&path, ids));
            continue;
        }
        let text = decoded(&path);
        found.extend(ids.iter().filter(|id| text.contains(id.as_str())).cloned());
    }
    found
}

/// What a file says, to whoever takes it apart: its bytes, its footer, every value.
fn decoded(path: &FsPath) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    // The one that says only who is gone is none.
    if path.extension().is_some_and(|ending| ending == "parquet") && !path.ends_with(LEFT) {
        let options = parquet::arrow::arrow_reader::ArrowReaderOptions::new()
            .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Optional);
        let reader =
            ParquetRecordBatchReaderBuilder::try_new_with_options(bytes::Bytes::from(bytes), options)
                .unwrap();
        text += &format!("{:?}", reader.metadata());
        for batch in reader.build().unwrap() {
            let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
            let batch = batch.unwrap();
            for column in batch.columns().iter().filter_map(|column| column.as_binary_opt::<i32>()) {
                column.iter().flatten().for_each(|bytes| text += &String::from_utf8_lossy(bytes));
            }
            lines.write(&batch).unwrap();
            text += &String::from_utf8(lines.into_inner()).unwrap();
        }
    }
    text
}

/// Numbers of those who are gone with the plan.
fn gone_ids(oracle: &Oracle, plan: &Plan) -> Vec<String> {
    let all = |oracle: &Oracle| -> BTreeSet<String> {
        oracle.events.iter().filter_map(|event| event.subject_id.clone()).collect()
    };
    let mut rest = oracle.clone();
    rest.retain(plan);
    let items =
        oracle.quarantine.iter().filter(|(row, _)| !rest.quarantine.iter().any(|(kept, _)| kept == row));
    let items = items.map(|(row, _)| String::from_utf8_lossy(&row.bytes).trim_start_matches('?').to_owned());
    let kept = all(&rest);
    let gone: BTreeSet<String> =
        all(oracle).difference(&kept).cloned().chain(items.filter(|id| !kept.contains(id))).collect();
    gone.into_iter().collect()
}

#[tokio::test]
async fn no_file_of_the_lake_names_who_is_gone() {
    for merged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let lake = sides::open_eager(folder.path()).await;
        let mut oracle = Oracle::default();
        stored(&lake, &mut oracle).await;
        lake.checkpoint().await.unwrap();
        stored_more(&lake, &mut oracle).await;
        if merged {
            stored(&lake, &mut oracle).await;
            compacted(&lake).await;
            let items = lake.snapshot().await.unwrap();
            let is_merged = |file: &Arc<LakeFile>| file.path.contains("/merged-");
            assert!(items.files(Table::Quarantine).iter().any(is_merged));
        }
        let (plan, root) = (some_plan(), folder.path().join("lake"));
        let ids = gone_ids(&oracle, &plan);
        assert!(ids.len() > 50);
        assert_eq!(named_in(&root, &ids).len(), ids.len());
        lake.remove(&plan, "x").await.unwrap();
        oracle.retain(&plan);
        // A file that a crash left is of the lake as well.
        std::fs::write(root.join("access_events/year=2023").join(LEFT), &ids[0]).unwrap();

        let pinned = lake.snapshot().await.unwrap();
        assert_eq!(lake.purge(Duration::ZERO).await.unwrap(), None, "somebody reads here");
        assert_eq!(rows_of(&pinned, &lake).await, oracle.events.len() as u64);
        drop(pinned);
        let other = open(folder.path()).await;
        assert_eq!(lake.purge(Duration::ZERO).await.unwrap(), None, "somebody else has it open");
        drop(other);
        assert!(!named_in(&root, &ids).is_empty());
        let Purged { data_files, log_files } = lake.purge(Duration::ZERO).await.unwrap().unwrap();
        assert!(data_files > 3 && log_files > 10, "{data_files}, {log_files}");
        assert_eq!(named_in(&root, &ids), BTreeSet::new());
        assert_same(&lake, &oracle).await;
        assert_same(&open(folder.path()).await, &oracle).await;
        assert_eq!(lake.purge(Duration::ZERO).await.unwrap(), Some(Purged::default()), "all is done");
        stored_more(&lake, &mut oracle).await;
        assert_same(&open(folder.path()).await, &oracle).await;
    }
}

async fn rows_of(snapshot: &Snapshot, lake: &Lake) -> u64 {
    let mut rows = 0;
    for file in snapshot.files(Table::AccessEvents) {
        lake.object_store().head(&Path::from(file.path.as_str())).await.unwrap();
        rows += file.rows;
    }
    rows
}

#[tokio::test]
async fn beside_others_it_waits_for_the_grace_and_they_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    stored(&lake, &mut oracle).await;
    let other = open(folder.path()).await;
    assert_same(&other, &oracle).await;
    let (plan, root) = (some_plan(), folder.path().join("lake"));
    let ids = gone_ids(&oracle, &plan);
    lake.remove(&plan, "x").await.unwrap();
    oracle.retain(&plan);
    let removed = lake.inner.dead().await.unwrap();
    let early = lake.purge_after(&removed, Duration::from_secs(600)).await.unwrap();
    assert_eq!(early.log_files, 0, "entries are younger than the grace");
    lake.purge_after(&removed, Duration::ZERO).await.unwrap();
    assert_eq!(named_in(&root, &ids), BTreeSet::new());
    // Who had an older version in mind finds the newest one, and commits upon that.
    assert_same(&other, &oracle).await;
    stored_more(&other, &mut oracle).await;
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn killed_at_any_step_the_same_again_does_the_rest() {
    for point in crate::failpoint::RETAIN.iter().chain(&crate::failpoint::PURGE) {
        let folder = tempfile::tempdir().unwrap();
        let mut oracle = Oracle::default();
        stored(&open(folder.path()).await, &mut oracle).await;
        let whole = oracle.clone();
        assert!(!run_child(module_path!(), folder.path(), point), "the process lived through {point}");
        let (plan, root) = (some_plan(), folder.path().join("lake"));
        oracle.retain(&plan);
        let ids = gone_ids(&whole, &plan);
        let lake = open(folder.path()).await;
        lake.remove(&plan, "again").await.unwrap();
        assert_same(&lake, &oracle).await;
        lake.purge(Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(named_in(&root, &ids), BTreeSet::new(), "{point}");
        assert_same(&open(folder.path()).await, &oracle).await;
        stored_more(&lake, &mut oracle).await;
        assert_same(&open(folder.path()).await, &oracle).await;
    }
}
