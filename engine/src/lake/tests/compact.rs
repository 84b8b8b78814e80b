//! Merging small files: the rows stay, whoever writes or dies meanwhile.

use super::*;

/// Batches of two sources over two years, each a file or two.
async fn many_small(lake: &Lake, oracle: &mut Oracle, batches: i64) {
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
async fn small_files_become_one_of_each_year_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    many_small(&lake, &mut oracle, 20).await;
    let pinned = lake.snapshot().await.unwrap();
    let mut rows = 0;
    while let Some(merged) = lake.compact().await.unwrap() {
        rows += merged.rows;
    }
    assert_eq!((rows, files(&lake.snapshot().await.unwrap())), (100, 2), "one file of each year");
    assert!(files(&pinned) > 20);
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
    // What was replaced is there for whoever reads it still, and goes after a while.
    for file in pinned.files(Table::AccessEvents) {
        lake.object_store().head(&Path::from(file.path.as_str())).await.unwrap();
    }
    assert_eq!(lake.sweep().await.unwrap(), 0, "not yet");
    assert_eq!(lake.inner.sweep(Duration::ZERO).await.unwrap(), files(&pinned) as u64);
    assert_same(&lake, &oracle).await;
    many_small(&lake, &mut oracle, 3).await;
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
    let limit = crate::lake::compact::LEFT_ALONE as i64 + 2;
    many_small(&lake, &mut oracle, limit).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while files(&lake.snapshot().await.unwrap()) > crate::lake::compact::LEFT_ALONE {
        assert!(Instant::now() < deadline, "nothing was merged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_same(&lake, &oracle).await;
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    open(&folder).await.compact().await.unwrap();
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
