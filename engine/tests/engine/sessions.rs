//! What a session sees stays as it was when it was opened.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use insyn_engine::session::Session;

use crate::world::{self, event};

async fn count(session: &Session, table: &str) -> i64 {
    let answer = session.sql(&format!("SELECT count(*) n FROM {table}")).await.unwrap();
    answer.batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

#[tokio::test]
async fn a_session_is_pinned() {
    let world = world::small().await;
    let before = world.session().await;
    let rows = count(&before, "access_events").await;
    world.commit(&[event("j9", "journal", "2026-08-02T10:00:00Z", "SE-A", "191212121212")]).await;
    world.load(&[("places", "address_range,care_unit_id\n10.0.0.0/8,U1\n")]).await;
    let after = world.session().await;
    assert!(after.version() > before.version());
    assert_eq!(count(&before, "access_events").await, rows);
    assert_eq!(count(&after, "access_events").await, rows + 1);
    assert_eq!((count(&before, "places").await, count(&after, "places").await), (0, 1));
    assert_eq!((count(&before, "units").await, count(&after, "units").await), (1, 0));
    assert_ne!(before.context_load().unwrap().id, after.context_load().unwrap().id);
}

#[tokio::test]
async fn an_empty_lake_answers() {
    let world = world::World::new().await;
    let session = world.session().await;
    for table in session.tables() {
        assert_eq!(count(&session, &table).await, 0, "{table}");
    }
    assert!(session.context_load().is_none());
    let answer = session.sql("SELECT * FROM accesses ORDER BY occurred_at").await.unwrap();
    assert_eq!(answer.rows(), 0);
    assert!(answer.schema.field_with_name("subject_key").is_ok());
    assert!(answer.schema.field_with_name("record").is_err());
}

#[tokio::test]
async fn tables_are_handed_in_from_above() {
    let world = world::small().await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let rows = RecordBatch::try_from_iter(vec![("finding_id", ids)]).unwrap();
    let session = world.session().await.with_table("findings", rows.schema(), vec![rows.clone()]).unwrap();
    assert_eq!(count(&session, "findings").await, 2);
    let taken = session.with_table("gaps", rows.schema(), vec![rows]).err().unwrap();
    assert_eq!(taken.to_string(), "table \"gaps\" cannot be added: the session has a table of that name");
}

#[tokio::test]
async fn an_answer_says_whose_records_it_shows() {
    let world = world::small().await;
    let session = world.session().await;
    let answer = session.sql("SELECT subject_id, subject_key FROM accesses").await.unwrap();
    assert_eq!(answer.subjects(), ["191212121212", "197010632391", "R99120012AB"]);
    let answer = session.sql("SELECT count(*) n FROM accesses").await.unwrap();
    assert!(answer.subjects().is_empty());
}
