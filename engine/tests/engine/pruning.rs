//! That little is read is counted, so that its loss is seen.

use insyn_engine::event::AccessEvent;
use insyn_engine::lake::Table;
use insyn_engine::trace::{Of, Query, trace};

use crate::world::{World, at, event};

/// Ten batches, each with ten thousand rows of its own hundred subjects and its own month.
async fn sorted_world() -> World {
    let world = World::new().await;
    for batch in 0..10 {
        let events: Vec<AccessEvent> = (0..10_000)
            .map(|i| {
                let subject = format!("19{:010}", batch * 100 + i % 100);
                let when = format!("2026-{:02}-01T08:00:00Z", batch + 1);
                let mut e = event(
                    &format!("b{batch}-{i}"),
                    "journal",
                    &when,
                    &format!("user-{batch}-{}", i % 7),
                    &subject,
                );
                e.occurred_at += i64::from(i) * 1_000_000;
                e
            })
            .collect();
        world.commit(&events).await;
    }
    world
}

#[tokio::test]
async fn a_trace_opens_only_files_that_may_hold_the_answer() {
    let world = sorted_world().await;
    let session = world.session().await;
    let files = session.snapshot().files(Table::AccessEvents).len();
    assert!(files >= 10, "{files}");

    let found = trace(&session, &Query::new(Of::Subject("190000000342".to_owned()))).await.unwrap();
    assert_eq!(found.summary.rows, 100);
    assert_eq!((found.counters.files_planned, found.counters.files_opened), (1, 1), "{:?}", found.counters);
    assert!(found.counters.pages_pruned > 0, "{:?}", found.counters);

    let nobody = trace(&session, &Query::new(Of::Subject("180000000000".to_owned()))).await.unwrap();
    assert_eq!((nobody.summary.rows, nobody.counters.files_planned), (0, 0));

    let user = trace(&session, &Query::new(Of::User("user-3-1".to_owned()))).await.unwrap();
    assert!(user.summary.rows > 1000);
    assert_eq!(user.counters.files_opened, 1, "{:?}", user.counters);

    let mut march = Query::new(Of::User("user-3-1".to_owned()));
    march.from = Some(at("2026-05-01T00:00:00Z"));
    let march = trace(&session, &march).await.unwrap();
    assert_eq!((march.summary.rows, march.counters.files_planned), (0, 0));
}

#[tokio::test]
async fn a_period_opens_only_its_files() {
    let world = sorted_world().await;
    let session = world.session().await;
    let query = "SELECT count(DISTINCT user_id) n FROM accesses \
                 WHERE occurred_at >= '2026-03-01' AND occurred_at < '2026-04-01'";
    let answer = session.sql(query).await.unwrap();
    assert_eq!(
        (answer.counters.files_planned, answer.counters.files_opened),
        (1, 1),
        "{:?}",
        answer.counters
    );
    let query = "SELECT count(DISTINCT user_id) n FROM access_events WHERE year = '2025'";
    assert_eq!(session.sql(query).await.unwrap().counters.files_planned, 0);
}

#[tokio::test]
async fn counting_all_rows_reads_none() {
    let world = sorted_world().await;
    let session = world.session().await;
    let answer = session.sql("SELECT count(*) n FROM access_events").await.unwrap();
    assert_eq!(answer.counters.files_opened, 0, "{:?}", answer.counters);
}

#[tokio::test]
async fn few_columns_are_few_bytes() {
    let world = sorted_world().await;
    let session = world.session().await;
    let bytes = async |columns: &[&str]| {
        let mut query = Query::new(Of::Subject("190000000342".to_owned()));
        query.columns = Some(columns.iter().map(|c| (*c).to_owned()).collect());
        trace(&session, &query).await.unwrap().counters.bytes_scanned
    };
    assert!(
        bytes(&["occurred_at", "user_id"]).await
            < bytes(&["occurred_at", "user_id", "record", "event_id"]).await
    );
}
