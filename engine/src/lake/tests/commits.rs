//! Commits, one after another and against each other.

use std::collections::HashSet;

use super::*;

#[tokio::test]
async fn rows_and_position_come_back_as_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    assert_eq!(lake.progress("journal").await.unwrap(), Progress::default());

    let mut oracle = Oracle::default();
    let mut first = batch("journal", 1, 0..50);
    first.events[3].occurred_at -= YEAR;
    first.events[4].occurred_at -= 2 * YEAR;
    first.quarantine = vec![quarantined("journal", 50), quarantined("journal", 51)];
    first.gaps = vec![gap("journal", 52), gap("journal", 53)];
    oracle.add(&first);
    let committed = lake.commit(first).await.unwrap();
    assert_eq!((committed.sequence, committed.segments.len()), (1, 3));
    let empty =
        SourceCommit { source: "journal".into(), sequence: 2, state: "moved".into(), ..Default::default() };
    oracle.add(&empty);
    assert_eq!(lake.commit(empty).await.unwrap().segments, Vec::<i64>::new());
    let other = batch("npo", 1, 0..10);
    oracle.add(&other);
    lake.commit(other).await.unwrap();

    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was_and_is_shared_while_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    commit_next(&lake, "a", 0..5).await;
    let before = lake.snapshot().await.unwrap();
    assert_eq!(
        (before.files(Table::AccessEvents).len(), before.counted("a"), before.counted("b")),
        (1, 1, 0)
    );
    let again = lake.snapshot().await.unwrap();
    assert!(std::ptr::eq(before.files(Table::AccessEvents), again.files(Table::AccessEvents)));

    // Another process adds: seen by the next snapshot only.
    commit_next(&open(folder.path()).await, "a", 5..9).await;
    let after = lake.snapshot().await.unwrap();
    assert_eq!((after.files(Table::AccessEvents).len(), after.counted("a")), (2, 2));
    assert_eq!((before.files(Table::AccessEvents).len(), before.counted("a")), (1, 1));
    assert!(after.version() > before.version());
    assert_eq!(
        after.sources().map(|(name, p)| (name.to_string(), p.events)).collect::<Vec<_>>(),
        [("a".into(), 9)]
    );
}

#[tokio::test]
async fn a_batch_out_of_turn_is_refused_and_names_the_other_writer() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()).await, open(folder.path()).await);
    let held = one.lock("insyn serve, pid 12", "ingest").await.unwrap();
    commit_next(&one, "a", 0..5).await;
    drop(held);
    for given in [0, 1, 3] {
        let error = two.commit(batch("a", given, 0..5)).await.unwrap_err();
        assert!(matches!(error, LakeError::SequenceTaken { counted: 1, .. }), "{error}");
        assert!(error.to_string().contains("insyn serve, pid 12"), "{error}");
    }
    let mut oracle = Oracle::default();
    oracle.add(&batch("a", 1, 0..5));
    assert_same(&two, &oracle).await;
}

#[tokio::test]
async fn a_batch_that_does_not_hold_together_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut absurd = batch("a", 1, 0..5);
    absurd.events[2].occurred_at = i64::MAX;
    absurd.quarantine.push(quarantined("a", 9));
    let mut foreign = batch("a", 1, 0..5);
    foreign.events[1].source = "b".into();
    for (given, says) in
        [(absurd, "years 1 to 9999"), (foreign, "another source"), (batch("", 1, 0..1), "empty name")]
    {
        let error = lake.commit(given).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_same(&lake, &Oracle::default()).await;
    assert_eq!(lake.snapshot().await.unwrap().version_of(Table::Quarantine), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_commit_at_once_from_several_openings() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = Vec::new();
    for source in ["a", "b", "c"] {
        let lake = open(folder.path()).await;
        tasks.push(tokio::spawn(async move {
            let mut segments = Vec::new();
            for sequence in 1..=12 {
                let mut given = batch(source, sequence, sequence * 10..sequence * 10 + 10);
                given.quarantine.push(quarantined(source, sequence));
                segments.extend(lake.commit(given).await.unwrap().segments);
            }
            segments
        }));
    }
    let mut segments = Vec::new();
    for task in tasks {
        segments.extend(task.await.unwrap());
    }
    assert_eq!(segments.len(), 36);
    assert_eq!(segments.iter().collect::<HashSet<_>>().len(), 36);

    let lake = open(folder.path()).await;
    let all = rows(&lake, Table::AccessEvents, &["segment", "seq"]).await;
    assert_eq!(all.num_rows(), 360);
    assert_eq!(rows(&lake, Table::Quarantine, &["source", "sequence"]).await.num_rows(), 36);
    for source in ["a", "b", "c"] {
        let progress = lake.progress(source).await.unwrap();
        assert_eq!((progress.sequence, progress.events, progress.quarantined), (12, 120, 12));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_of_one_source_each_batch_is_one_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let writer = |lake: Lake, base: i64| async move {
        let mut won = Oracle::default();
        let mut taken = 0;
        while lake.progress("a").await.unwrap().sequence < 20 {
            let sequence = lake.progress("a").await.unwrap().sequence + 1;
            let mut given = batch("a", sequence, base + sequence * 10..base + sequence * 10 + 3);
            given.quarantine = vec![quarantined("a", base + sequence)];
            match lake.commit(given.clone()).await {
                Ok(_) => won.add(&given),
                Err(LakeError::SequenceTaken { .. }) => taken += 1,
                Err(error) => panic!("{error}"),
            }
        }
        (won, taken)
    };
    let one = tokio::spawn(writer(open(folder.path()).await, 0));
    let two = tokio::spawn(writer(open(folder.path()).await, 100_000));
    let ((mut all, _), (other, _)) = (one.await.unwrap(), two.await.unwrap());
    all.events.extend(other.events);
    all.quarantine.extend(other.quarantine);
    all.progress.clear();
    assert_same(&open(folder.path()).await, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_survives_checkpoint_and_a_cleaned_log() {
    let folder = tempfile::tempdir().unwrap();
    let stale = open(folder.path()).await;
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    for sequence in 1..=8 {
        for source in ["a", "b"] {
            let mut given = batch(source, sequence, sequence * 10..sequence * 10 + 4);
            given.quarantine = vec![quarantined(source, sequence)];
            given.gaps = vec![gap(source, sequence)];
            given.exports = vec![export_day(source, sequence)];
            given.lacking = vec![lacking(source, sequence)];
            oracle.add(&given);
            lake.commit(given).await.unwrap();
        }
    }
    let covered = lake.checkpoint().await.unwrap();
    assert_eq!(covered, 16);
    // Nothing was followed yet.
    for table in Table::ALL.into_iter().filter(|table| *table != Table::UserAccesses) {
        let log = folder.path().join("lake").join(table.name()).join("_delta_log");
        for version in 0..covered {
            std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
        }
    }
    assert_same(&open(folder.path()).await, &oracle).await;
    // Whoever slept through all of it, log clean-up included, wakes up on the truth, and can go on.
    assert_same(&stale, &oracle).await;
    let next = batch("a", 9, 900..905);
    oracle.add(&next);
    stale.commit(next).await.unwrap();
    assert_same(&lake, &oracle).await;
    lake.checkpoint().await.unwrap();
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_goes_on_from_the_newest_checkpoint_whatever_is_told_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut oracle = Oracle::default();
    // More than are read at a time, before and after.
    for sequence in 1..=90 {
        let given = batch("a", sequence, sequence * 10..sequence * 10 + 2);
        oracle.add(&given);
        lake.commit(given).await.unwrap();
        if sequence == 20 {
            lake.checkpoint().await.unwrap();
            while lake.compact().await.unwrap().is_some() {}
        }
    }
    let log = folder.path().join("lake/access_events/_delta_log");
    let hint = log.join("_last_checkpoint");
    let told = std::fs::read_to_string(&hint).unwrap();
    let at = serde_json::from_str::<serde_json::Value>(&told).unwrap()["version"].as_u64().unwrap();
    assert!(at < 40, "{told}");
    assert_same(&open(folder.path()).await, &oracle).await;

    for wrong in ["{}", "no JSON"] {
        std::fs::write(&hint, wrong).unwrap();
        assert_same(&open(folder.path()).await, &oracle).await;
    }
    std::fs::remove_file(&hint).unwrap();
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_put_where_an_entry_was_cleaned_away_while_an_older_one_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let (stale, lake) = (open(folder.path()).await, open(folder.path()).await);
    let mut oracle = Oracle::default();
    let first = batch("a", 1, 0..5);
    oracle.add(&first);
    stale.commit(first).await.unwrap();
    let seen = stale.snapshot().await.unwrap().version();
    for sequence in 2..6 {
        let next = batch("a", sequence, sequence * 10..sequence * 10 + 5);
        oracle.add(&next);
        lake.commit(next).await.unwrap();
    }
    let newest = lake.checkpoint().await.unwrap();
    // As when cleaning is under way, or was broken off: in no order.
    for version in seen + 1..newest {
        let entry = format!("lake/access_events/_delta_log/{version:020}.json");
        std::fs::remove_file(folder.path().join(entry)).unwrap();
    }
    let error = stale.commit(batch("a", 2, 0..5)).await.unwrap_err();
    assert!(matches!(error, LakeError::SequenceTaken { counted: 5, .. }), "{error}");
    let next = batch("a", 6, 60..65);
    oracle.add(&next);
    stale.commit(next).await.unwrap();
    assert_same(&stale, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

#[tokio::test]
async fn checkpoints_also_work_in_a_runtime_of_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    commit_next(&lake, "a", 0..5).await;
    assert_eq!(lake.checkpoint().await.unwrap(), 1);
    assert_eq!(open(folder.path()).await.progress("a").await.unwrap().sequence, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_make_checkpoints_beside() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    for sequence in 1..=CHECKPOINT_EVERY as i64 {
        let moved =
            SourceCommit { source: "a".into(), sequence, state: sequence.to_string(), ..Default::default() };
        lake.commit(moved).await.unwrap();
    }
    let hint = folder.path().join("lake/access_events/_delta_log/_last_checkpoint");
    for _ in 0..600 {
        if hint.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(hint.exists(), "no checkpoint after {CHECKPOINT_EVERY} commits");
    assert_eq!(open(folder.path()).await.progress("a").await.unwrap().sequence, CHECKPOINT_EVERY as i64);
}

#[tokio::test]
async fn a_table_that_another_program_changed_is_refused_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let log = folder.path().join("lake/gaps/_delta_log/00000000000000000001.json");
    let changed = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","domainMetadata"]}}"#;
    std::fs::write(log, changed).unwrap();
    let error = lake.snapshot().await.unwrap_err().to_string();
    assert!(error.contains("gaps, version 1") && error.contains("deletionVectors"), "{error}");
    let error = Lake::open("lake", folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("gaps"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lake"), "no folder").unwrap();
    let error = Lake::open("lake", folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("/lake") && error.contains("folder was expected"), "{error}");
    let error = Lake::open("gs://bucket/lake", folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("only those that speak S3"), "{error}");
}

#[tokio::test]
async fn the_side_rows_of_a_refused_batch_are_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, other) = (open(folder.path()).await, open(folder.path()).await);
    let mut late = batch("a", 1, 0..3);
    late.quarantine = vec![quarantined("a", 6)];
    late.gaps = vec![gap("a", 7)];
    let logs = &lake.inner.tables;
    let started = commit::start(logs, "late", late).await.unwrap();

    // The other one goes on by two batches before this one gets any further.
    let mut oracle = Oracle::default();
    for sequence in 1..=2 {
        let mut given = batch("a", sequence, sequence * 10..sequence * 10 + 3);
        given.quarantine = vec![quarantined("a", sequence)];
        oracle.add(&given);
        other.commit(given).await.unwrap();
    }
    let error = commit::finish(logs, started).await.unwrap_err();
    assert!(matches!(error, LakeError::SequenceTaken { counted: 2, .. }), "{error}");
    assert_same(&lake, &oracle).await;
    assert_eq!(lake.inner.tables.of(Table::Gaps).current().await.unwrap().files.len(), 0);
    let folder = folder.path().join("lake/access_events/year=2026");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "its data file is gone too");
}

#[tokio::test]
async fn a_batch_whose_files_cannot_be_put_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut given = batch("a", 1, 0..6);
    given.events[0].occurred_at -= YEAR;
    given.quarantine = vec![quarantined("a", 7)];
    // A file lies where the folder of the second year belongs: the first year's file is put, the second's is not.
    let events = folder.path().join("lake/access_events");
    std::fs::write(events.join("year=2026"), "in the way").unwrap();
    for _ in 0..3 {
        let error = lake.commit(given.clone()).await.unwrap_err().to_string();
        assert!(error.contains("year=2026"), "{error}");
        assert_same(&lake, &Oracle::default()).await;
        assert_eq!(std::fs::read_dir(events.join("year=2025")).unwrap().count(), 0);
        assert_eq!(lake.inner.tables.of(Table::Quarantine).current().await.unwrap().files.len(), 0);
    }
    std::fs::remove_file(events.join("year=2026")).unwrap();
    let mut oracle = Oracle::default();
    oracle.add(&given);
    lake.commit(given).await.unwrap();
    assert_same(&lake, &oracle).await;
}
