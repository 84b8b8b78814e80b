//! Rows that are replaced and items that are settled: whole or not at all, whoever writes, merges or dies meanwhile.

use super::*;

/// Some rows go, some items are settled, one is new.
pub(super) fn some_changes(source: &str, from: i64, next: i64, whole: bool) -> Changes {
    let at = |n: i64| JULY_2026 + n * 1_234_567;
    let window = Window { from: Some(at(from)), to: Some(at(from + 30)) };
    let states = |range: std::ops::Range<i64>, state| range.map(move |n| (("f1".to_owned(), n * 100), state));
    Changes {
        replaces: Some(if whole { Window::default() } else { window }),
        quarantine: vec![quarantined(source, next)],
        quarantine_states: states(from..from + 40, Settled::Mended)
            .chain(states(from + 40..from + 60, Settled::Explained))
            .collect(),
        gap_states: states(from..from + 50, Settled::Explained).collect(),
        kind: "again",
        by: "os:anna".into(),
        reason: "the columns were mixed up".into(),
        encoding: None,
    }
}

/// A lake with two batches of two sources, merged or not.
async fn some_lake(folder: &FsPath) -> (Lake, Oracle) {
    let lake = open(folder).await;
    let mut oracle = Oracle::default();
    for n in 0..4 {
        let source = ["a", "b"][n as usize % 2];
        let mut batch = batch(source, n / 2 + 1, n * 10..n * 10 + 6);
        batch.quarantine = vec![quarantined(source, n * 10 + 7), quarantined(source, n * 10 + 8)];
        batch.gaps = vec![gap(source, n * 10 + 9)];
        oracle.add(&batch);
        lake.commit(batch).await.unwrap();
    }
    (lake, oracle)
}

async fn amend(lake: &Lake) -> Result<Amended, LakeError> {
    let mut amendment = lake.amend("a").await?;
    amendment.put(vec![event("a", 100), event("a", 101)]).await?;
    amendment.commit(some_changes("a", 0, 200, true)).await
}

#[tokio::test]
async fn what_was_done_is_told_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    let done = amend(&lake).await.unwrap();
    oracle.amend("a", &[event("a", 100), event("a", 101)], &some_changes("a", 0, 200, true));
    assert_same(&lake, &oracle).await;
    assert_eq!((done.removed, done.added, done.quarantined, done.mended, done.explained), (12, 2, 1, 4, 2));
    assert_eq!((done.by.as_str(), done.reason.as_str()), ("os:anna", "the columns were mixed up"));
    lake.checkpoint().await.unwrap();
    let again = open(folder.path()).await;
    assert_eq!(again.snapshot().await.unwrap().amendments().collect::<Vec<_>>(), [("a", &done)]);
    // Settled once is settled: nothing is counted twice.
    let done = amend(&again).await.unwrap();
    assert_eq!((done.removed, done.mended, done.explained), (2, 0, 2), "the gaps are explained once more");
    let found = rows(&again, Table::Quarantine, &["source"]).await;
    assert_eq!(found.num_rows(), 10, "what was replaced is not live in the table");
    assert!(lake.amend("nobody").await.is_err());
}

#[tokio::test]
async fn rows_beside_them_in_merged_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    while lake.compact().await.unwrap().is_some() {}
    let pinned = lake.snapshot().await.unwrap();
    amend(&lake).await.unwrap();
    oracle.amend("a", &[event("a", 100), event("a", 101)], &some_changes("a", 0, 200, true));
    assert_same(&lake, &oracle).await;
    for file in pinned.files(Table::AccessEvents) {
        lake.object_store().head(&Path::from(file.path.as_str())).await.unwrap();
    }
    lake.inner.sweep(Duration::ZERO).await.unwrap();
    assert_same(&lake, &oracle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_and_merging_go_on_beside() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, mut oracle) = some_lake(folder.path()).await;
    let reading = {
        let lake = lake.clone();
        tokio::spawn(async move {
            let mut batches = Vec::new();
            for n in 10..50 {
                let mut batch = batch("a", n - 7, n * 100..n * 100 + 5);
                batch.quarantine = vec![quarantined("a", n * 100 + 7)];
                lake.commit(batch.clone()).await.unwrap();
                batches.push(batch);
            }
            batches
        })
    };
    let mut number = 0;
    while !reading.is_finished() {
        number += 1;
        let mut amendment = lake.amend("a").await.unwrap();
        amendment.put(vec![event("a", number)]).await.unwrap();
        let window = Window { from: None, to: Some(JULY_2026 + 900 * 1_234_567) };
        let states = std::collections::HashMap::from([(("f1".to_owned(), 700), Settled::Mended)]);
        let changes = Changes { replaces: Some(window), quarantine_states: states, ..Changes::default() };
        amendment.commit(changes.clone()).await.unwrap();
        oracle.amend("a", &[event("a", number)], &changes);
        let _ = lake.compact().await;
    }
    reading.await.unwrap().iter().for_each(|batch| oracle.add(batch));
    assert!(number > 0);
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

/// The process that is killed; alone, this test does nothing.
#[tokio::test]
async fn child() {
    let Some(folder) = child_folder() else { return };
    amend(&open(&folder).await).await.unwrap();
}

#[tokio::test]
async fn killed_at_any_step_nothing_counts_or_all_does() {
    for point in crate::failpoint::AMEND {
        let folder = tempfile::tempdir().unwrap();
        let (lake, mut oracle) = some_lake(folder.path()).await;
        assert!(!run_child(module_path!(), folder.path(), point), "the process lived through {point}");
        if point == "after-amended-commit" {
            oracle.amend("a", &[event("a", 100), event("a", 101)], &some_changes("a", 0, 200, true));
        }
        assert_same(&lake, &oracle).await;
        assert_same(&open(folder.path()).await, &oracle).await;
        if point != "after-amended-commit" {
            amend(&lake).await.unwrap();
            oracle.amend("a", &[event("a", 100), event("a", 101)], &some_changes("a", 0, 200, true));
            assert_same(&open(folder.path()).await, &oracle).await;
        }
    }
}

/// A table as version 0.1 first made it: without what became of an item.
fn without_states(folder: &FsPath, table: Table) {
    let narrow: Vec<usize> = (0..table.schema().fields().len())
        .filter(|i| !table.schema().field(*i).name().starts_with("state"))
        .collect();
    let folder = folder.join("lake").join(table.name());
    let file = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.filter(|path| path.is_file()).find(|path| path.extension().unwrap() == "parquet").unwrap();
    let bytes = bytes::Bytes::from(std::fs::read(&file).unwrap());
    let before = bytes.len();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap().project(&narrow).unwrap()).collect();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    let bytes = writer.into_inner().unwrap();
    let log = folder.join("_delta_log");
    let entry = |version: u64| log.join(format!("{version:020}.json"));
    let text = std::fs::read_to_string(entry(1)).unwrap();
    let sized = |size: usize| format!("\"size\":{size},");
    assert!(text.contains(&sized(before)), "{text}");
    std::fs::write(entry(1), text.replace(&sized(before), &sized(bytes.len()))).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let text = std::fs::read_to_string(entry(0)).unwrap();
    let first: Vec<_> = text
        .lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(metadata) = line.get_mut("metaData") {
                let mut schema: serde_json::Value =
                    serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
                let fields = schema["fields"].as_array_mut().unwrap();
                fields.retain(|field| !field["name"].as_str().unwrap().starts_with("state"));
                metadata["schemaString"] = schema.to_string().into();
            }
            line.to_string()
        })
        .collect();
    std::fs::write(entry(0), first.join("\n")).unwrap();
}

#[tokio::test]
async fn a_lake_that_is_older_than_states_is_read_and_amended() {
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut given = batch("a", 1, 0..5);
    given.quarantine = vec![quarantined("a", 7), quarantined("a", 90)];
    given.gaps = vec![gap("a", 9)];
    open(folder.path()).await.commit(given.clone()).await.unwrap();
    without_states(folder.path(), Table::Quarantine);
    without_states(folder.path(), Table::Gaps);
    let lake = open(folder.path()).await;
    oracle.add(&given);
    amend(&lake).await.unwrap();
    oracle.amend("a", &[event("a", 100), event("a", 101)], &some_changes("a", 0, 200, true));
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}
