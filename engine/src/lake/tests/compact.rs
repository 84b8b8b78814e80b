//! Merging files: the rows stay, whoever writes or dies meanwhile.

use super::runs::{Bounds as Sizes, LEVELS, Zeal, level_of};
use super::upkeep::{BOUNDS, Next, ROOM};
use super::*;

/// Runs of some files of some kilobytes: three batches fill the first.
pub(super) const TINY: Sizes = Sizes {
    small: 12_000,
    left_alone: 3,
    gathered: 2,
    fresh: 60_000,
    settled: 120_000,
    beside: 8,
    backlog: 150_000,
    parted: 100_000,
    range: 30_000,
    file: 24_000,
    runs: [60_000, 120_000, 400_000],
};

pub(super) async fn open_tiny(folder: &FsPath) -> Lake {
    let mut lake = open(folder).await;
    Arc::get_mut(&mut lake.inner).unwrap().upkeep.bounds = TINY;
    lake
}

/// Batches of two sources over two years, each a file or two.
pub(super) async fn many_small(lake: &Lake, oracle: &mut Oracle, batches: i64) {
    for n in 0..batches {
        let source = ["a", "b"][n as usize % 2];
        let sequence = lake.progress(source).await.unwrap().sequence + 1;
        let mut batch = batch(source, sequence, n * 10..n * 10 + 5);
        if n % 3 == 0 {
            batch.events[0].occurred_at -= YEAR;
        }
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
}

fn files(lake: &Snapshot) -> usize {
    lake.files(Table::AccessEvents).len()
}

#[tokio::test]
async fn small_files_become_a_run_of_each_year_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    many_small(&lake, &mut oracle, 20).await;
    let pinned = lake.snapshot().await.unwrap();
    let mut replaced = 0;
    while let Some(merged) = lake.compact().await.unwrap() {
        replaced += merged.replaced.len();
    }
    // Rows without a subject have a file of their own.
    assert_eq!(files(&lake.snapshot().await.unwrap()), 4, "two files of each year");
    assert!(files(&pinned) > 20);
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
    // What was replaced is there for whoever reads it still, and goes after a while.
    for file in pinned.files(Table::AccessEvents) {
        lake.object_store().head(&Path::from(file.path.as_str())).await.unwrap();
    }
    assert_eq!(lake.sweep().await.unwrap(), 0, "not yet");
    assert_eq!(lake.inner.sweep(Duration::ZERO).await.unwrap(), replaced as u64);
    assert_same(&lake, &oracle).await;
    many_small(&lake, &mut oracle, 3).await;
    lake.checkpoint().await.unwrap();
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn years_are_brought_in_order_beside_one_another_where_nothing_else_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    many_small(&lake, &mut oracle, 20).await;
    let Next::Did(merged) = lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap() else {
        panic!("nothing was to be done");
    };
    let years: std::collections::BTreeSet<&str> =
        merged.replaced.iter().filter_map(|(path, _)| path.split('/').nth(1)).collect();
    assert_eq!(years.len(), 2, "{years:?}");
    assert!(merged.files >= 2 && merged.rows > 20, "{merged:?}");
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn what_is_loaded_person_by_person_lies_in_a_run_as_it_came() {
    const ROWS: i64 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let lake = open_tiny(folder.path()).await;
    let mut oracle = Oracle::default();
    for sequence in 1..=5 {
        let mut batch = batch("a", sequence, sequence * ROWS..(sequence + 1) * ROWS);
        for (n, event) in batch.events.iter_mut().enumerate() {
            event.subject_id = Some(format!("19{sequence}0{:08}", n / 3));
        }
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
    loop {
        match lake.compact().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            // What is merged beside the commits has the lease.
            Err(LakeError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    let snapshot = lake.snapshot().await.unwrap();
    let files = snapshot.files(Table::AccessEvents);
    let lies: Vec<(bool, u64)> = files.iter().map(|file| (level_of(&file.path) > 0, file.rows)).collect();
    assert_eq!(lies, [(true, ROWS as u64); 5], "each file as it was committed, under the name of a run");
    assert!(files.iter().all(|file| file.size >= TINY.small), "none was small: {files:?}");
    assert_same(&lake, &oracle).await;
    lake.checkpoint().await.unwrap();
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merges_beside_commits_neither_double_nor_revive_a_row() {
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
    // Two who merge: one has the lease, the other is told.
    let other = open(folder.path()).await;
    let mut merges = 0;
    while !writing.is_finished() {
        for lake in [&lake, &other] {
            match lake.compact().await {
                Ok(merged) => merges += usize::from(merged.is_some()),
                Err(LakeError::Locked { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tokio::task::yield_now().await;
    }
    let oracle = writing.await.unwrap();
    assert!(merges > 0);
    assert_same(&lake, &oracle).await;
    while lake.compact().await.unwrap().is_some() {}
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn a_lake_that_is_followed_merges_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    let limit = BOUNDS.left_alone as i64 + 2;
    many_small(&lake, &mut oracle, limit).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    // Every third batch has rows of the year before, too.
    while files(&lake.snapshot().await.unwrap()) >= limit as usize * 4 / 3 {
        assert!(Instant::now() < deadline, "nothing was merged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_same(&lake, &oracle).await;
}

/// The subjects of each file of a run, as they lie there, by year and level.
pub(super) async fn runs_of(lake: &Lake) -> BTreeMap<(String, usize), Vec<Vec<Option<String>>>> {
    let snapshot = lake.snapshot().await.unwrap();
    let mut runs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in snapshot.files(Table::AccessEvents).iter().filter(|file| level_of(&file.path) > 0) {
        let bytes = lake.object_store().get(&Path::from(file.path.as_str())).await.unwrap();
        let mut subjects = Vec::new();
        for batch in
            crate::lake::compact::read(Table::AccessEvents, bytes.bytes().await.unwrap(), None).unwrap()
        {
            let column = batch.column_by_name("subject_id").unwrap().as_string::<i32>().clone();
            subjects.extend(column.iter().map(|subject| subject.map(str::to_owned)));
        }
        assert!(subjects.is_sorted_by_key(|subject| (subject.is_none(), subject.clone())), "{}", file.path);
        runs.entry((file.year.clone().unwrap(), level_of(&file.path))).or_default().push(subjects);
    }
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_persons_rows_lie_in_one_file_of_a_run_or_in_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_tiny(folder.path()).await;
    let mut oracle = Oracle::default();
    let mut deepest = 0;
    for n in 0..24 {
        let sequence = lake.progress("a").await.unwrap().sequence + 1;
        let mut batch = batch("a", sequence, n * 400..n * 400 + 400);
        // Late ones, more and more of them; all hold records that cannot be packed.
        for (at, event) in batch.events.iter_mut().enumerate() {
            event.occurred_at -= if at % 5 == 0 { YEAR } else { 0 };
            event.record = Some(format!("{:x}", u128::from_ne_bytes(*uuid::Uuid::new_v4().as_bytes())));
            event.subject_id = (at % 9 != 0).then(|| format!("{:06}", (at as i64 + n) * 7919 % 1000));
        }
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
        while lake.inner.upkeep.merging.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while let Next::Did(merged) = lake.inner.merge(Table::AccessEvents, Zeal::WhenDue).await.unwrap() {
            assert!(merged.files > 0 && merged.rows > 0);
        }
        let runs = runs_of(&lake).await;
        deepest = deepest.max(runs.keys().map(|(_, level)| *level).max().unwrap_or_default());
        for (run, mut files) in runs {
            files.sort_by_key(|file| (file[0].is_none(), file[0].clone(), file.last().cloned()));
            for two in files.windows(2) {
                let (last, first) = (two[0].last().unwrap(), &two[1][0]);
                assert!(last.is_some() && (first.is_none() || last <= first) || first.is_none(), "{run:?}");
            }
        }
    }
    assert!((2..=LEVELS).contains(&deepest), "level {deepest}");
    assert_same(&lake, &oracle).await;
    while lake.compact().await.unwrap().is_some() {}
    assert_same(&open(folder.path()).await, &oracle).await;
    let runs = runs_of(&lake).await;
    assert_eq!(runs.keys().filter(|(year, _)| year == "2025").count(), 1, "the year that has ended");
    let fresh = lake.snapshot().await.unwrap();
    assert!(fresh.files(Table::AccessEvents).iter().all(|file| level_of(&file.path) > 0));
}

#[tokio::test]
async fn much_that_came_at_once_is_parted_by_subject_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let lake = open(folder.path()).await;
    for n in 0..16 {
        let mut batch = batch("a", n + 1, n * 400..n * 400 + 400);
        for (at, event) in batch.events.iter_mut().enumerate() {
            event.record = Some(format!("{:x}", u128::from_ne_bytes(*uuid::Uuid::new_v4().as_bytes())));
            event.subject_id = (at % 9 != 0).then(|| format!("{:06}", (at as i64 + n) * 7919 % 1000));
        }
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
    drop(lake);
    let lake = open_tiny(folder.path()).await;
    let (mut most_parts, mut rows) = (0, 0);
    while let Some(merged) = lake.compact().await.unwrap() {
        rows += if merged.table == Table::AccessEvents { merged.rows } else { 0 };
        assert_same(&lake, &oracle).await;
        let snapshot = lake.snapshot().await.unwrap();
        let parts: Vec<_> =
            snapshot.files(Table::AccessEvents).iter().filter(|file| file.path.contains("/part-")).collect();
        most_parts = most_parts.max(parts.len());
        for part in parts {
            let (least, most) = (part.subject_id.min.as_deref(), part.subject_id.max.as_deref());
            let covered = |subject: &str| subject.parse::<i64>().unwrap();
            assert!(least.is_none_or(|least| covered(most.unwrap()) - covered(least) < 300), "{part:?}");
        }
    }
    assert!(most_parts > 4, "{most_parts} parts");
    assert!(rows <= 3 * 16 * 400, "{rows} rows were written");
    let runs = runs_of(&lake).await;
    assert!(runs.len() <= 2, "the level that had room, and what was left over: {:?}", runs.keys());
}

#[tokio::test]
async fn files_that_were_replaced_take_no_more_room_than_the_live_ones() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    many_small(&lake, &mut oracle, 12).await;
    lake.inner.follow().await.unwrap();
    lake.inner.replaced([("access_events/gone.parquet".to_owned(), ROOM)].into_iter());
    assert!(matches!(lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap(), Next::Room));
    // Whoever reads here, or has the lake open elsewhere, may still read what was replaced.
    let pinned = lake.snapshot().await.unwrap();
    assert!(!lake.inner.sweep_alone().await.unwrap());
    drop(pinned);
    let other = open(folder.path()).await;
    assert!(!lake.inner.sweep_alone().await.unwrap());
    drop(other);
    assert!(matches!(lake.inner.merge(Table::AccessEvents, Zeal::All).await.unwrap(), Next::Room));
    assert!(lake.compact().await.unwrap().is_some(), "nobody has: they go at once");
    assert_same(&lake, &oracle).await;
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    let lake = open(&folder).await;
    while lake.compact().await.unwrap().is_some() {}
}

#[tokio::test]
async fn killed_at_any_step_of_a_merge_the_rows_are_the_same() {
    for point in crate::failpoint::MERGE {
        let folder = tempfile::tempdir().unwrap();
        let lake = open(folder.path()).await;
        let mut oracle = Oracle::default();
        many_small(&lake, &mut oracle, 12).await;
        assert!(!run_child(module_path!(), folder.path(), point), "the process lived through {point}");
        assert_same(&lake, &oracle).await;
        while lake.compact().await.unwrap().is_some() {}
        assert_same(&open(folder.path()).await, &oracle).await;
    }
}
