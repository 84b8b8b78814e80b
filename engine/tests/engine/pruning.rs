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
async fn what_a_file_says_of_a_whole_column_is_not_read() {
    let world = sorted_world().await;
    let asked = async |query: &str| {
        let answer = world.session().await.sql(query).await.unwrap();
        (format!("{:?}", answer.batches), answer.counters.bytes_scanned)
    };
    let users = asked("SELECT count(DISTINCT user_id) n FROM access_events").await;
    // All are of one source, which is therefore not compared row by row.
    let others = asked("SELECT count(DISTINCT user_id) n FROM access_events WHERE source <> 'insyn'").await;
    assert!(users.1 > 0);
    assert_eq!(others, users);
    let none = asked("SELECT count(DISTINCT user_id) n FROM access_events WHERE source = 'insyn'").await;
    assert!(none.1 == 0 && none.0 != users.0, "{none:?}");
    let empty =
        asked("SELECT count(correlation_id) a, max(user_title) b, min(correlation_id) c FROM access_events")
            .await;
    assert_eq!(empty.1, 0, "{empty:?}");

    // One row with a value, and one of another source, in the file that holds both in the end.
    let mut other = event("other", "lab", "2026-05-01T08:00:00Z", "somebody", "190000000342");
    other.user_title = Some("Läkare".to_owned());
    world.commit(&[other]).await;
    while world.lake.compact().await.unwrap().is_some() {}
    let titles = asked("SELECT max(user_title) b FROM access_events").await;
    assert!(titles.0.contains("Läkare") && titles.1 > 0, "{titles:?}");
    let lab = asked("SELECT max(source) s FROM access_events WHERE source <> 'journal'").await;
    assert!(lab.0.contains("lab") && lab.1 > 0, "{lab:?}");
    let empty = asked("SELECT count(correlation_id) a FROM access_events").await;
    assert_eq!(empty.1, 0, "{empty:?}");
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

/// Thirty batches that each cover everybody by their bounds, and hold every thirtieth.
async fn mixed_world() -> World {
    let world = World::new().await;
    for batch in 0..30 {
        let events: Vec<AccessEvent> = (0..60)
            .map(|i| {
                let subject = format!("19{:010}", i * 30 + batch);
                let mut e =
                    event(&format!("b{batch}-{i}"), "journal", "2026-03-01T08:00:00Z", "user", &subject);
                e.occurred_at += i64::from(batch * 60 + i) * 1_000_000;
                e
            })
            .collect();
        world.commit(&events).await;
    }
    world
}

#[tokio::test]
async fn of_files_that_cover_everybody_only_those_are_opened_that_hold_the_person() {
    let world = mixed_world().await;
    for number in [0, 29, 30, 917, 1799] {
        let subject = format!("19{number:010}");
        let session = world.session().await;
        let found = trace(&session, &Query::new(Of::Subject(subject.clone()))).await.unwrap();
        assert_eq!((found.summary.rows, found.counters.files_planned), (1, 1), "{subject}");
        let query = format!("SELECT event_id FROM access_events WHERE subject_id IN ('{subject}', 'nobody')");
        let answer = session.sql(&query).await.unwrap();
        let rows: usize = answer.batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!((rows, answer.counters.files_planned), (1, 1), "{subject}");
    }
    // What else is asked of the subject is not mistaken for who it is.
    let session = world.session().await;
    for (condition, rows) in [
        ("subject_id > '190000001797'", 2),
        ("subject_id <> '190000000000'", 1799),
        ("subject_id = '190000000003' OR event_id = 'b7-0'", 2),
        ("subject_id IS NULL", 0),
    ] {
        let query = format!("SELECT event_id FROM access_events WHERE {condition}");
        let answer = session.sql(&query).await.unwrap();
        let found: usize = answer.batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(found, rows, "{condition}");
    }
}

#[tokio::test]
async fn brought_into_order_one_file_holds_the_person() {
    let world = mixed_world().await;
    while world.lake.compact().await.unwrap().is_some() {}
    let session = world.session().await;
    assert_eq!(session.snapshot().files(Table::AccessEvents).len(), 1);
    let found = trace(&session, &Query::new(Of::Subject("190000000917".to_owned()))).await.unwrap();
    assert_eq!((found.summary.rows, found.counters.files_opened), (1, 1), "{:?}", found.counters);
}

/// One file of two row groups: a thousand persons in order, seventy users who look at all of them, and a unit that looks
/// at the last of them only.
async fn grouped_world() -> World {
    let world = World::new().await;
    let events: Vec<AccessEvent> = (0..140_000)
        .map(|i| {
            let person = i / 140;
            let (user, subject) = (format!("SE-{}", i % 70), format!("19{person:010}"));
            let mut e = event(&format!("e{i:032x}"), "journal", "2026-03-01T08:00:00Z", &user, &subject);
            e.occurred_at += i64::from(i) * 1_000_000;
            e.care_unit_id = Some(if person < 950 { "E1" } else { "E2" }.to_owned());
            e.record = None;
            e
        })
        .collect();
    world.commit(&events).await;
    world
}

/// What each kind of trace reads of a file: groups of rows that its statistics leave out, pages, and bytes.
#[tokio::test]
async fn of_a_file_each_trace_reads_the_groups_and_bytes_that_may_hold_the_answer() {
    let world = grouped_world().await;
    let session = world.session().await;
    let size = usize::try_from(session.snapshot().files(Table::AccessEvents)[0].size).unwrap();
    let event = |id: &str| Of::Event { id: id.to_owned(), source: Some("journal".to_owned()) };
    let last = format!("e{:032x}", 139_999);
    let visit = Of::Visit { event: last.clone(), source: Some("journal".to_owned()) };
    for (of, rows, prunes_groups, prunes_pages, most) in [
        (Of::Subject("190000000999".to_owned()), 140, true, true, size / 4),
        (Of::Subject("190000000001".to_owned()), 140, true, true, size / 4),
        (Of::Unit("E2".to_owned()), 7000, true, false, size),
        // Everybody's rows lie in order of records: of users nothing can be left out of this file. An event is looked for
        // in all of it, and then by its time.
        (Of::User("SE-3".to_owned()), 2000, false, false, 3 * size),
        (event(&last), 1, true, false, 3 * size),
        (visit, 2, true, true, 3 * size),
    ] {
        let found = trace(&session, &Query::new(of.clone())).await.unwrap();
        let counters = found.counters;
        assert_eq!(found.summary.rows, rows, "{of:?}");
        assert_eq!(counters.row_groups_pruned > 0, prunes_groups, "{of:?}: {counters:?}");
        assert!(!prunes_pages || counters.pages_pruned > 0, "{of:?}: {counters:?}");
        assert!(counters.row_groups_read > 0 && counters.bytes_scanned > 0, "{of:?}: {counters:?}");
        assert!(counters.bytes_scanned < most, "{of:?}: {counters:?}, at most {most} of {size} bytes");
    }
    // A source that nobody has: the statistics of each group say so.
    let nobodys = Of::Event { id: last, source: Some("nobody".to_owned()) };
    let found = trace(&session, &Query::new(nobodys)).await.unwrap();
    assert_eq!((found.summary.rows, found.counters.row_groups_read), (0, 0), "{:?}", found.counters);
}
