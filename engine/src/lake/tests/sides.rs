//! Small files of the side tables are merged: the items stay, whoever writes, amends, reads or dies meanwhile.

use super::runs::Zeal;
use super::upkeep::Next;
use super::*;
use crate::lake::sides::Bounds as Sizes;

/// Everything is merged when it is asked for.
const EAGER: Sizes = Sizes { small: 1 << 20, left_alone: 64, newest: 0, at_once: 1 << 20 };
/// Beside commits too, two files at a time.
const QUICK: Sizes = Sizes { left_alone: 2, ..EAGER };

pub(super) async fn open_eager(folder: &FsPath) -> Lake {
    open_with(folder, EAGER).await
}

async fn open_with(folder: &FsPath, items: Sizes) -> Lake {
    let mut lake = open(folder).await;
    Arc::get_mut(&mut lake.inner).unwrap().upkeep.items = items;
    lake
}

/// A batch with something in every table.
fn full(source: &str, sequence: i64, n: i64) -> SourceCommit {
    let mut batch = batch(source, sequence, n..n + 3);
    batch.quarantine = vec![quarantined(source, n + 5), quarantined(source, n + 6)];
    batch.gaps = vec![gap(source, n + 7)];
    batch.exports = vec![export_day(source, n)];
    batch.lacking = vec![lacking(source, n)];
    batch
}

async fn many(lake: &Lake, oracle: &mut Oracle, batches: i64) {
    for n in 0..batches {
        let source = ["a", "b"][n as usize % 2];
        let sequence = lake.progress(source).await.unwrap().sequence + 1;
        let batch = full(source, sequence, sequence * 1000 + n * 10);
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
}

/// All that is to be merged now. How many files that were live are not any more.
async fn merged(lake: &Lake, zeal: Zeal) -> usize {
    let _lease = lake.lease().await.unwrap();
    let mut replaced = 0;
    while let Next::Did(step) = lake.inner.merge_items(zeal).await.unwrap() {
        assert!(step.files == 1 && step.replaced.len() > 1, "{step:?}");
        replaced += step.replaced.len();
    }
    replaced
}

async fn files(lake: &Lake) -> Vec<usize> {
    let snapshot = lake.snapshot().await.unwrap();
    Table::SIDES.iter().map(|table| snapshot.files(*table).len()).collect()
}

#[tokio::test]
async fn items_of_many_commits_come_to_lie_in_few_files() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_eager(folder.path()).await;
    let mut oracle = Oracle::default();
    many(&lake, &mut oracle, 30).await;
    let pinned = lake.snapshot().await.unwrap();
    let before = files(&lake).await;
    merged(&lake, Zeal::All).await;
    // Of each source what was merged, and its last batch.
    assert_eq!(files(&lake).await, [4; 4], "{before:?}");
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
    // Whoever reads what was replaced can do so to the end.
    for table in Table::SIDES {
        for file in pinned.files(table) {
            lake.object_store().head(&Path::from(file.path.as_str())).await.unwrap();
        }
    }
    drop(pinned);
    lake.inner.sweep(Duration::ZERO).await.unwrap();
    assert_same(&lake, &oracle).await;
    lake.checkpoint().await.unwrap();
    many(&lake, &mut oracle, 8).await;
    merged(&lake, Zeal::All).await;
    assert_eq!(files(&lake).await, [4; 4]);
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn the_log_says_of_a_merge_that_no_row_changed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_eager(folder.path()).await;
    many(&lake, &mut Oracle::default(), 8).await;
    let before = lake.inner.tables.of(Table::Gaps).current().await.unwrap().version;
    merged(&lake, Zeal::All).await;
    let log = lake.inner.tables.of(Table::Gaps);
    let after = log.current().await.unwrap().version;
    assert_eq!(after, before + 2, "one commit for each source");
    for version in before + 1..=after {
        let lines = log.read_entry(version).await.unwrap().unwrap();
        let adds: Vec<_> = lines.iter().filter_map(|line| line.add.as_ref()).collect();
        let removes: Vec<_> = lines.iter().filter_map(|line| line.remove.as_ref()).collect();
        assert_eq!((adds.len(), removes.len()), (1, 3));
        assert!(adds.iter().all(|add| !add.data_change) && removes.iter().all(|gone| !gone.data_change));
    }
}

#[tokio::test]
async fn what_came_last_is_left_alone_and_a_few_always() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let merging = open_with(folder.path(), Sizes { left_alone: 6, newest: 3, ..EAGER }).await;
    let mut oracle = Oracle::default();
    many(&lake, &mut oracle, 2 * (6 + 3)).await;
    assert_eq!(merged(&merging, Zeal::WhenDue).await, 0);
    // One more of the first source: six of its files become one.
    many(&lake, &mut oracle, 1).await;
    assert_eq!(merged(&merging, Zeal::WhenDue).await, 4 * 6);
    assert_same(&lake, &oracle).await;
    // However often: the three that came last stay as they were written.
    merged(&merging, Zeal::All).await;
    assert_eq!(files(&lake).await, [2 * (1 + 3); 4]);
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn a_lake_that_is_followed_merges_its_items_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_with(folder.path(), QUICK).await;
    let mut oracle = Oracle::default();
    many(&lake, &mut oracle, 40).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while files(&lake).await.iter().any(|files| *files > 20) {
        assert!(Instant::now() < deadline, "nothing was merged: {:?}", files(&lake).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_same(&lake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_of_items_beside_commits_and_amendments_neither_double_nor_revive_one() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_eager(folder.path()).await;
    let mut oracle = Oracle::default();
    many(&lake, &mut oracle, 2).await;
    let writing = {
        let lake = lake.clone();
        tokio::spawn(async move {
            many(&lake, &mut oracle, 60).await;
            oracle
        })
    };
    // Two who merge and one who amends: one has the lease, the others are told, or wait.
    let others = [open_eager(folder.path()).await, open_eager(folder.path()).await];
    let (mut merges, mut amended) = (0, Vec::new());
    while !writing.is_finished() {
        for lake in &others {
            match lake.inner.maintenance().await {
                Ok(_lease) => {
                    let next = lake.inner.merge_items(Zeal::All).await.unwrap();
                    merges += usize::from(matches!(next, Next::Did(_)));
                }
                Err(LakeError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // What is there is explained; what comes later is not there yet.
        if let Ok(amendment) = lake.amend("a").await {
            let counted = amendment.snapshot().counted("a");
            let places = (0..1000).map(|n| (counted * 1000 + n) * 100);
            let states = places.map(|place| (("f1".to_owned(), place), Settled::Explained)).collect();
            let changes = Changes { quarantine_states: states, kind: "explain", ..Changes::default() };
            amendment.commit(changes.clone()).await.unwrap();
            amended.push(changes);
        }
    }
    let mut oracle = writing.await.unwrap();
    amended.iter().for_each(|changes| oracle.amend("a", &[], changes));
    assert!(merges > 0 && !amended.is_empty(), "{merges} merges, {} amendments", amended.len());
    assert_same(&lake, &oracle).await;
    merged(&lake, Zeal::All).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_snapshot_has_items_of_a_batch_that_it_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_with(folder.path(), QUICK).await;
    let writing = {
        let lake = open(folder.path()).await;
        tokio::spawn(async move {
            for n in 1..=60 {
                let mut given = batch("a", n, n..n + 1);
                given.quarantine = vec![quarantined("a", n)];
                lake.commit(given).await.unwrap();
            }
        })
    };
    let merging = {
        let lake = lake.clone();
        tokio::spawn(async move {
            let mut all = 0;
            while lake.progress("a").await.unwrap().sequence < 60 {
                all += merged(&lake, Zeal::WhenDue).await;
                tokio::task::yield_now().await;
            }
            all
        })
    };
    let reader = open(folder.path()).await;
    let mut seen = std::collections::BTreeSet::new();
    while !writing.is_finished() {
        let snapshot = reader.snapshot().await.unwrap();
        let items: u64 = snapshot.files(Table::Quarantine).iter().map(|file| file.rows).sum();
        assert_eq!(items, snapshot.counted("a") as u64);
        seen.insert(items);
    }
    writing.await.unwrap();
    assert!(merging.await.unwrap() > 10 && seen.len() > 5, "{seen:?}");
}

#[test]
fn what_was_merged_of_later_batches_is_ahead_of_an_older_version() {
    let file = |name: &str, sequence| LakeFile {
        path: format!("quarantine/{name}"),
        source: Some("a".into()),
        sequence: Some(sequence),
        ..stats::FileStats::default().into_file(Table::Quarantine, name, 1, None)
    };
    let mut events = TableState::default();
    let counted = source::SourceState { sequence: 5, ..Default::default() };
    Arc::make_mut(&mut events.sources).insert("a".into(), counted);
    for (name, sequence, ahead, counts) in [
        ("merged-x.parquet", 5, false, true),
        ("merged-x.parquet", 6, true, true),
        ("x.parquet", 6, false, false),
        ("x.parquet", 4, false, true),
    ] {
        let file = file(name, sequence);
        assert_eq!(is_ahead(&file, &events), ahead, "{name} {sequence}");
        assert_eq!(source::counts(&file, &events), counts, "{name} {sequence}");
    }
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    merged(&open_eager(&folder).await, Zeal::All).await;
}

#[tokio::test]
async fn killed_at_any_step_of_a_merge_the_items_are_the_same() {
    for point in crate::failpoint::MERGE {
        for nth in 1..=3 {
            let folder = tempfile::tempdir().unwrap();
            let lake = open_eager(folder.path()).await;
            let mut oracle = Oracle::default();
            many(&lake, &mut oracle, 10).await;
            let at = format!("{point}:{nth}");
            assert!(!run_child(module_path!(), folder.path(), &at), "the process lived through {at}");
            assert_same(&lake, &oracle).await;
            assert_same(&open(folder.path()).await, &oracle).await;
            many(&lake, &mut oracle, 4).await;
            merged(&lake, Zeal::All).await;
            assert_eq!(files(&lake).await, [4; 4], "{at}");
            assert_same(&open(folder.path()).await, &oracle).await;
        }
    }
}
