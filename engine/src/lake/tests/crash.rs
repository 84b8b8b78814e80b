//! A process that is killed at each step of a commit, and the process after it.

use super::*;

fn full_batch(sequence: i64) -> SourceCommit {
    let mut batch = batch("a", sequence, sequence * 10..sequence * 10 + 6);
    batch.events[0].occurred_at -= YEAR;
    batch.quarantine = vec![quarantined("a", sequence * 10 + 7), quarantined("a", sequence * 10 + 8)];
    batch.gaps = vec![gap("a", sequence * 10 + 9)];
    batch.exports = vec![export_day("a", sequence)];
    batch.lacking = vec![lacking("a", sequence)];
    batch
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    let lake = open(&folder).await;
    let sequence = lake.progress("a").await.unwrap().sequence + 1;
    lake.commit(full_batch(sequence)).await.unwrap();
}

#[tokio::test]
async fn killed_at_any_step_a_batch_counts_once_after_it_is_given_again() {
    for point in crate::failpoint::COMMIT {
        let folder = tempfile::tempdir().unwrap();
        let lake = open(folder.path()).await;
        let mut oracle = Oracle::default();
        oracle.add(&full_batch(1));
        lake.commit(full_batch(1)).await.unwrap();

        assert!(!run_child(module_path!(), folder.path(), point), "the process lived through {point}");
        let again = open(folder.path()).await;
        let counted = again.progress("a").await.unwrap().sequence;
        assert_eq!(counted, if point == "after-log-commit" { 2 } else { 1 }, "{point}");
        if counted == 2 {
            oracle.add(&full_batch(2));
        }
        // Before anything is given again: what does not count is not seen.
        assert_same(&again, &oracle).await;

        if counted == 1 {
            // The second attempt may cut its batch elsewhere: without the last rows of the first.
            let mut cut = full_batch(2);
            cut.events.pop();
            cut.quarantine.pop();
            cut.gaps.pop();
            oracle.add(&cut);
            again.commit(cut).await.unwrap();
            assert_same(&again, &oracle).await;
        }
        let mut rest = full_batch(3);
        rest.quarantine.push(quarantined("a", 28));
        oracle.add(&rest);
        again.commit(rest).await.unwrap();
        assert_same(&again, &oracle).await;
        assert_same(&lake, &oracle).await;
        assert_no_dead_rows(folder.path(), &again, &oracle).await;
    }
}

/// What never counted is gone from the side tables, so that other Delta readers do not see it either.
async fn assert_no_dead_rows(folder: &FsPath, lake: &Lake, oracle: &Oracle) {
    let state = lake.inner.tables.of(Table::Quarantine).current().await.unwrap();
    let live: u64 = state.files.iter().map(|file| file.rows).sum();
    assert_eq!(live, oracle.quarantine.len() as u64, "{}", folder.display());
}

#[tokio::test]
async fn killed_twice_at_the_same_batch() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!run_child(module_path!(), folder.path(), "after-quarantine-commit"));
    assert!(!run_child(module_path!(), folder.path(), "before-log-commit"));
    let lake = open(folder.path()).await;
    assert_same(&lake, &Oracle::default()).await;
    let mut oracle = Oracle::default();
    for sequence in 1..=3 {
        oracle.add(&full_batch(sequence));
        lake.commit(full_batch(sequence)).await.unwrap();
        assert_same(&lake, &oracle).await;
    }
    assert_no_dead_rows(folder.path(), &lake, &oracle).await;
}

#[tokio::test]
async fn without_a_crash_point_the_child_commits() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run_child(module_path!(), folder.path(), "never"));
    let mut oracle = Oracle::default();
    oracle.add(&full_batch(1));
    assert_same(&open(folder.path()).await, &oracle).await;
}
