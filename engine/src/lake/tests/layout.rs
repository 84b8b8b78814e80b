//! How the files and the log look from outside.

use bytes::Bytes;
use deltalake::DeltaTableBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use url::Url;

use super::*;

async fn metadata_of(lake: &Lake, table: Table) -> Arc<ParquetMetaData> {
    let snapshot = lake.snapshot().await.unwrap();
    let path = Path::from(snapshot.files(table)[0].path.as_str());
    let bytes: Bytes = lake.object_store().get(&path).await.unwrap().bytes().await.unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    Arc::clone(builder.metadata())
}

#[tokio::test]
async fn files_are_sorted_by_subject_with_small_pages_and_few_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    commit_next(&lake, "a", 0..9_000).await;
    let metadata = metadata_of(&lake, Table::AccessEvents).await;
    let group = metadata.row_group(0);
    assert!(group.sorting_columns().is_some_and(|by| by.len() == 2));

    let columns = group.columns().iter().enumerate();
    for (index, column) in columns {
        let name = column.column_path().string();
        let pages = metadata.offset_index().unwrap()[0][index].page_locations().len();
        let indexed = metadata.column_index().unwrap()[0][index].is_sorted();
        match name.as_str() {
            "subject_id" => assert!(pages >= 4 && indexed, "{pages} pages"),
            "occurred_at" | "user_id" => assert!(column.statistics().is_some() && pages >= 4, "{name}"),
            "source" | "segment" | "controller_id" | "care_unit_id" | "ingested_at" => {
                assert!(column.statistics().is_some(), "{name}");
            }
            _ => assert!(column.statistics().is_none(), "{name} has statistics"),
        }
        assert_ne!(name, "year", "the partition lies in the log");
    }
}

#[tokio::test]
async fn long_batches_are_cut_into_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let template = AccessEvent { record: None, ..event("a", 1) };
    let events = (0..140_000).map(|n| AccessEvent { file_offset: n, ..template.clone() }).collect();
    let given = SourceCommit { source: "a".into(), sequence: 1, events, ..SourceCommit::default() };
    lake.commit(given).await.unwrap();
    let metadata = metadata_of(&lake, Table::AccessEvents).await;
    let groups: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [131_072, 140_000 - 131_072]);
}

#[tokio::test]
async fn the_log_bounds_the_columns_that_prune() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    let mut given = batch("a", 1, 0..30);
    given.events[7].occurred_at -= YEAR;
    let events = given.events.clone();
    lake.commit(given).await.unwrap();

    for lake in [lake, open(folder.path()).await] {
        let snapshot = lake.snapshot().await.unwrap();
        let years: Vec<_> =
            snapshot.files(Table::AccessEvents).iter().map(|f| f.year.clone().unwrap()).collect();
        let mut sorted = years.clone();
        sorted.sort();
        assert_eq!(sorted, ["2025", "2026"]);
        for event in &events {
            let year =
                chrono::DateTime::from_timestamp_micros(event.occurred_at).unwrap().format("%Y").to_string();
            let file =
                snapshot.files(Table::AccessEvents).iter().find(|f| f.year.as_ref() == Some(&year)).unwrap();
            assert!(file.occurred_at.may_hold(&event.occurred_at));
            assert!(event.subject_id.as_ref().is_none_or(|s| file.may_hold_subject(s)));
            assert!(event.user_id.as_ref().is_none_or(|u| file.may_hold_user(u)));
            assert!(!file.may_hold_subject("2") && !file.may_hold_user("") && !file.occurred_at.may_hold(&0));
        }
    }
}

#[tokio::test]
async fn delta_rs_sees_the_same_files_and_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(folder.path()).await;
    for sequence in 1..=3 {
        lake.commit(batch("a", sequence, sequence * 5..sequence * 5 + 5)).await.unwrap();
    }
    let url = Url::from_directory_path(FsPath::new(lake.root()).join("access_events")).unwrap();
    for checkpointed in [false, true] {
        if checkpointed {
            lake.checkpoint().await.unwrap();
        }
        let table = DeltaTableBuilder::from_url(url.clone()).unwrap().load().await.unwrap();
        assert_eq!(table.version(), Some(lake.snapshot().await.unwrap().version()));
        let mut theirs: Vec<_> = table.get_file_uris().unwrap().collect();
        let snapshot = lake.snapshot().await.unwrap();
        let ours = snapshot.files(Table::AccessEvents).iter().map(|f| format!("{}/{}", lake.root(), f.path));
        let mut ours: Vec<_> = ours.collect();
        theirs.sort();
        ours.sort();
        assert_eq!(theirs.len(), 3);
        assert!(theirs.iter().zip(&ours).all(|(t, o)| t.ends_with(o.as_str())), "{theirs:?} {ours:?}");
        let state = table.snapshot().unwrap();
        let transaction = state.transaction_version(table.log_store().as_ref(), "insyn:a").await.unwrap();
        assert_eq!(transaction, Some(3));
        let columns: Vec<_> = state.schema().fields().map(|f| f.name().to_string()).collect();
        let expected: Vec<_> = insyn_event::COLUMNS.iter().map(|c| c.name.to_string()).collect();
        assert_eq!(columns, expected);
    }
}
