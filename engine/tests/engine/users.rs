//! What a user opened is read from few places: counted, so that its loss is seen.

use arrow::compute::concat_batches;
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::Table;
use insyn_engine::session::{Scope, Session};
use insyn_engine::trace::days::days;
use insyn_engine::trace::{Of, Query, Trace, trace};

use crate::world::{World, ZONE, at, event};

/// Forty users who each open records all over, one after the other, over 200 days of one year.
async fn busy_world() -> World {
    let world = World::new().await;
    for batch in 0..10_i64 {
        let events: Vec<AccessEvent> = (0..8_000_i64)
            .map(|i| {
                let n = batch * 8_000 + i;
                let (user, subject) = (n % 40, (n / 40 * 1_237 + n % 40 * 131) % 5_000);
                let id = format!("e{n}");
                let mut e = event(
                    &id,
                    "journal",
                    "2026-01-01T08:00:00Z",
                    &format!("u{user:02}"),
                    &format!("19{subject:010}"),
                );
                e.occurred_at += n * 200 * 86_400_000_000 / 80_000;
                e.care_unit_id = Some(format!("unit-{}", user % 3));
                e.file_offset = n * 100;
                e
            })
            .collect();
        world.commit(&events).await;
    }
    while world.lake.compact().await.unwrap().is_some() {}
    world
}

async fn alone(world: &World) -> Session {
    let snapshot = world.lake.snapshot().await.unwrap();
    Session::without_user_accesses(&world.lake, snapshot, ZONE, Scope::All).await.unwrap()
}

fn thirty_days(user: &str) -> Query {
    let mut query = Query::new(Of::User(user.to_owned()));
    query.from = Some(at("2026-03-01T00:00:00+01:00"));
    query.to = Some(at("2026-03-31T00:00:00+02:00"));
    query
}

#[tokio::test]
async fn thirty_days_of_a_user_are_some_pages_of_one_file() {
    let world = busy_world().await;
    let session = world.session().await;
    assert!(session.reached().is_some());
    assert_eq!(session.snapshot().files(Table::UserAccesses).len(), 1);
    let found = days(&session, &thirty_days("u07")).await.unwrap();
    // 400 accesses a day, ten of them by each; one of the days has 23 hours.
    assert!((295..=305).contains(&found.summary.rows), "{:?}", found.summary);
    assert_eq!(found.summary.days, 30);
    let counters = found.counters;
    assert_eq!((counters.files_planned, counters.files_opened), (1, 1), "{counters:?}");
    assert!(counters.pages_pruned > 0, "{counters:?}");

    let other = alone(&world).await;
    let slow = days(&other, &thirty_days("u07")).await.unwrap();
    assert_eq!((found.summary, found.batches.len()), (slow.summary, slow.batches.len()));
    assert!(counters.bytes_scanned * 5 < slow.counters.bytes_scanned, "{counters:?} and {:?}", slow.counters);

    let nobody = days(&session, &thirty_days("u99")).await.unwrap();
    assert_eq!((nobody.summary.rows, nobody.counters.files_planned), (0, 0));
}

#[tokio::test]
async fn the_first_rows_of_a_user_are_read_where_they_lie() {
    let world = busy_world().await;
    let session = world.session().await;
    let query = Query { limit: Some(5), ..thirty_days("u07") };
    let (found, slow) =
        (trace(&session, &query).await.unwrap(), trace(&alone(&world).await, &query).await.unwrap());
    assert_eq!((found.rows(), &found.batches), (5, &slow.batches));
    assert_eq!(found.summary, slow.summary);
    assert_eq!(found.subjects, slow.subjects);
    let (few, many) = (found.counters, slow.counters);
    // One file in order of users, one in order of subjects; of that, the pages of five persons of 5,000.
    assert_eq!(few.files_opened, 2, "{few:?}");
    assert!(few.pages_pruned > many.pages_pruned, "{few:?} and {many:?}");
    assert!(few.bytes_scanned * 2 < many.bytes_scanned, "{few:?} and {many:?}");
}

#[tokio::test]
async fn rows_of_many_records_are_the_same_rows() {
    let world = busy_world().await;
    let (session, alone) = (world.session().await, alone(&world).await);
    for limit in [200, 300, 1_000, 3_000] {
        let query = Query {
            limit: Some(limit),
            columns: Some(vec!["event_id".into(), "subject_id".into()]),
            ..Query::new(Of::User("u11".to_owned()))
        };
        let (found, slow) = (trace(&session, &query).await.unwrap(), trace(&alone, &query).await.unwrap());
        let whole = |found: &Trace| concat_batches(&found.schema, &found.batches).unwrap();
        assert_eq!(whole(&found), whole(&slow));
        assert_eq!((found.rows(), &found.summary), (limit.min(2_000), &slow.summary));
        assert_eq!(
            (found.last, found.subjects.len()),
            (slow.last, limit.min(2_000)),
            "each of another person"
        );
    }
}

#[tokio::test]
async fn distinct_subjects_of_each_user_are_counted_in_order_of_users() {
    let world = busy_world().await;
    let session = world.session().await;
    let query = |table: &str| {
        format!(
            "SELECT user_id, count(DISTINCT subject_id) AS n FROM {table} GROUP BY user_id ORDER BY user_id"
        )
    };
    let one = session.sql(&query("user_accesses")).await.unwrap();
    let other = session.sql(&query("access_events")).await.unwrap();
    assert_eq!((one.rows(), &one.batches), (40, &other.batches));
    assert_eq!((one.counters.files_opened, one.subjects()), (1, Vec::<String>::new()));
    let by_day = session.sql(&query("user_days")).await.unwrap();
    assert_eq!(by_day.batches, other.batches);
}

#[tokio::test]
async fn only_a_users_days_are_counted_and_by_columns_that_are_there() {
    let world = crate::world::small().await;
    let session = world.session().await;
    for (query, says) in [
        (Query::new(Of::Subject("191212121212".to_owned())), "expected what a user did"),
        (
            Query { filters: vec![("activity".into(), "Läsa".into())], ..thirty_days("SE-A") },
            "the column activity",
        ),
        (Query { filters: vec![("actvity".into(), "Läsa".into())], ..thirty_days("SE-A") }, "activity"),
    ] {
        let error = days(&session, &query).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // The night of the change to summer time is one day, by whatever account.
    let found = days(&session, &Query::new(Of::User("SE-B".to_owned()))).await.unwrap();
    let days: Vec<i32> = found
        .batches
        .iter()
        .flat_map(|b| {
            let column = arrow::array::AsArray::as_primitive::<arrow::datatypes::Date32Type>(b.column(2));
            column.values().to_vec()
        })
        .collect();
    assert_eq!(days.iter().filter(|day| **day == 20_541).count(), 2, "29 March: two persons in {days:?}");
    assert_eq!(found.joined.len(), 2);
}
