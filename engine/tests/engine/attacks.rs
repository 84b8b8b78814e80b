//! Attacks on guarded SQL: each is refused, or stopped within its bounds.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use insyn_engine::event::AccessEvent;
use insyn_engine::session::{Limits, Session, SqlError};

use crate::world::{self, World, event};

/// One query a line: refused, or not even a query; never answered.
const REFUSED: &str = include_str!("sql/attacks.txt");

#[tokio::test]
async fn no_attack_is_answered() {
    let world = world::small().await;
    let session = world.session().await;
    let before = files(&world);
    let mut tried = 0;
    for line in REFUSED.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        tried += 1;
        match session.sql(line).await {
            Ok(answer) => panic!("answered with {} rows: {line}", answer.rows()),
            Err(SqlError::Refused { part, why }) => assert!(!part.is_empty() && !why.is_empty(), "{line}"),
            Err(SqlError::Plan { message, .. }) => assert!(!message.is_empty(), "{line}"),
            Err(other) => panic!("{other}: {line}"),
        }
    }
    assert!(tried > 50, "{tried}");
    assert_eq!(files(&world), before, "an attack left a file");
}

/// Files under the lake, none of which a query may add to.
fn files(world: &World) -> usize {
    fn count(dir: &std::path::Path) -> usize {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .map(|p| if p.is_dir() { count(&p) } else { 1 })
            .sum()
    }
    count(world.path())
}

/// A lake with some thousand rows, enough for giants.
async fn many() -> (World, Session) {
    let world = World::new().await;
    let events: Vec<AccessEvent> = (0..3000)
        .map(|i| {
            let mut e = event(&format!("e{i:05}"), "journal", "2026-03-01T08:00:00Z", "SE-A", "191212121212");
            e.record = Some("x".repeat(1000));
            e
        })
        .collect();
    world.commit(&events).await;
    let session = world.session().await;
    (world, session)
}

fn small_limits() -> Limits {
    Limits { time: Duration::from_secs(20), rows: 10_000, memory: 16 << 20, ..Limits::default() }
}

#[track_caller]
fn stopped(result: Result<insyn_engine::session::Answer, SqlError>, query: &str) {
    match result {
        Err(SqlError::Limit(why)) => assert!(!why.is_empty()),
        Err(SqlError::Refused { .. }) => {}
        Err(other) => panic!("{other}: {query}"),
        Ok(answer) => panic!("answered with {} rows: {query}", answer.rows()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giants_are_stopped() {
    let (_world, session) = many().await;
    let session = session.with_limits(small_limits());
    let doubling = |times: usize| {
        (0..times).fold("SELECT record x FROM access_events".to_owned(), |q, _| {
            format!("SELECT x || x AS x FROM ({q})")
        })
    };
    let replacing = |times: usize| {
        (0..times).fold("SELECT record x FROM access_events".to_owned(), |q, _| {
            format!("SELECT replace(x, 'x', 'xxxxxxxx') AS x FROM ({q})")
        })
    };
    for query in [
        format!("SELECT max(length(x)) FROM ({})", doubling(16)),
        format!("SELECT max(length(x)) FROM ({})", replacing(6)),
        "SELECT subject_id, concat(record, record, record, record, record, record, record) || a.event_id FROM access_events a".to_owned(),
        "SELECT a.event_id FROM access_events a, access_events b, access_events c".to_owned(),
        "SELECT string_agg(a.event_id, ',') FROM access_events a, access_events b".to_owned(),
        "SELECT a.subject_id, array_agg(a.record) FROM access_events a, access_events b GROUP BY 1".to_owned(),
        "SELECT a.event_id, sum(length(a.record)) OVER () FROM access_events a, access_events b".to_owned(),
        "SELECT DISTINCT a.subject_id, a.record || a.event_id || b.event_id FROM access_events a, access_events b".to_owned(),
        "SELECT array_to_string(array_agg(event_id), rpad('x', 100)) FROM access_events".to_owned(),
        format!(
            "SELECT array_to_string(l, '{}') FROM (SELECT array_agg(a.event_id) l FROM access_events a), access_events",
            "-".repeat(4000)
        ),
        format!("SELECT to_char(occurred_at, '{}') FROM access_events", "%c".repeat(2000)),
        "SELECT * FROM access_events a JOIN access_events b ON a.subject_id = b.subject_id".to_owned(),
    ] {
        stopped(session.sql(&query).await, &query);
    }
}

/// More than four times a question's memory is sorted on disk, however its parts share that memory, and comes back in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_goes_on_on_disk() {
    let (_world, session) = many().await;
    let time = Duration::from_secs(120);
    let session = session.with_limits(Limits { time, memory: 64 << 20, ..Limits::default() });
    // Three hundred thousand rows of a thousand bytes, in order of their ids from behind.
    let query = "SELECT reverse(id) back, length(x) n FROM (SELECT a.event_id || b.event_id id, \
                 reverse(a.event_id || b.event_id) || a.record x FROM access_events a, \
                 (SELECT event_id FROM access_events WHERE event_id < 'e00100') b) ORDER BY x";
    let answer = session.sql(query).await.unwrap_or_else(|error| panic!("{error}"));
    let mut found = Vec::new();
    for batch in &answer.batches {
        let back = cast(batch.column(0), &DataType::Utf8).unwrap();
        let lengths = cast(batch.column(1), &DataType::Int64).unwrap();
        assert!(lengths.as_primitive::<Int64Type>().iter().all(|n| n == Some(1012)));
        found.extend(back.as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
    }
    let ids = (0..3000).flat_map(|a| (0..100).map(move |b| format!("e{a:05}e{b:05}")));
    let mut expected: Vec<String> = ids.map(|id| id.chars().rev().collect()).collect();
    expected.sort();
    assert!(found == expected, "{} of {} rows, or out of order", found.len(), expected.len());
}

/// A lake of few rows, of which one is long.
async fn one_long() -> (World, Session) {
    let world = World::new().await;
    let events: Vec<AccessEvent> = (0..5000)
        .map(|i| {
            let mut e = event(&format!("e{i:05}"), "journal", "2026-03-01T08:00:00Z", "SE-A", "191212121212");
            e.record = Some("x".repeat(if i == 4711 { 3 << 20 } else { 10 }));
            e
        })
        .collect();
    world.commit(&events).await;
    let session = world.session().await;
    (world, session)
}

/// What the memory pool does not see is seen before it is made, and the refusal says which part and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_stand_again_in_every_row_is_weighed_before() {
    let (_world, session) = one_long().await;
    let cut = "left(record, 1000)";
    for (query, says) in [
        ("SELECT sum(length(a.record) + length(b.event_id)) FROM access_events a, access_events b", cut),
        (
            "SELECT a.subject_id, a.record, b.event_id FROM access_events a JOIN access_events b ON a.subject_id = b.subject_id",
            cut,
        ),
        ("SELECT count(*) FROM access_events a JOIN access_events b ON a.record < b.record", cut),
        ("SELECT length((SELECT max(record) FROM access_events)) m, event_id FROM access_events", cut),
        (
            "SELECT length((SELECT string_agg(record, '-') FROM access_events)) m, event_id FROM access_events",
            cut,
        ),
        ("SELECT event_id, length(max(record) OVER ()) n FROM access_events", "memory"),
        (
            "SELECT event_id, length(max(record) OVER (PARTITION BY source ORDER BY event_id)) n FROM access_events",
            "memory",
        ),
        (
            "SELECT event_id, length(last_value(record) OVER (ORDER BY event_id ROWS BETWEEN 9999 PRECEDING AND 9999 \
             FOLLOWING)) n FROM access_events",
            "memory",
        ),
        (
            "SELECT sum(length(r) + length(u)) FROM (SELECT unnest(l) u, r FROM (SELECT array_agg(event_id) l, \
             max(record) r FROM access_events))",
            cut,
        ),
        ("SELECT max(levenshtein(record, record)) FROM access_events", "million pairs"),
        (
            "SELECT array_has_all(l, l) y FROM (SELECT array_agg(a.event_id) l FROM access_events a, (SELECT event_id \
             FROM access_events LIMIT 10) b)",
            "million pairs",
        ),
    ] {
        match session.sql(query).await {
            Err(SqlError::Limit(why)) => assert!(why.contains(says), "{why}: {query}"),
            Err(other) => panic!("{other}: {query}"),
            Ok(answer) => panic!("answered with {} rows: {query}", answer.rows()),
        }
    }
    // What is done to one row at a time goes on, and so does what is cut.
    for (query, rows) in [
        ("SELECT subject_id, record FROM access_events", 5000),
        (
            "SELECT subject_id, upper(record) a, lower(record) b, reverse(record) c FROM access_events ORDER BY event_id",
            5000,
        ),
        (
            "SELECT event_id FROM access_events WHERE upper(record) LIKE '%XXXX%' AND length(concat(record, event_id)) > 20",
            1,
        ),
        (
            "SELECT sum(length(r)) FROM (SELECT left(record, 5) r, event_id FROM access_events) a JOIN access_events b ON a.event_id = b.event_id",
            1,
        ),
        (
            "SELECT event_id, length(max(r) OVER ()) n FROM (SELECT event_id, left(record, 100) r FROM access_events)",
            5000,
        ),
        (
            "SELECT event_id, row_number() OVER (PARTITION BY source ORDER BY event_id) FROM access_events",
            5000,
        ),
        ("SELECT unnest(l) u FROM (SELECT array_agg(event_id) l FROM access_events)", 5000),
        ("SELECT (SELECT count(*) FROM gaps) n, event_id FROM access_events", 5000),
        ("SELECT source, levenshtein(user_id, 'SE-B') d, count(*) FROM access_events GROUP BY 1, 2", 1),
        ("SELECT source, year, count(*) FROM access_events GROUP BY CUBE(source, year)", 4),
    ] {
        let answer = session.sql(query).await.unwrap_or_else(|error| panic!("{error}: {query}"));
        assert_eq!(answer.rows(), rows, "{query}");
    }
}

/// Plans that double with each line are refused while they are still small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_grow_by_themselves_are_refused() {
    let world = world::small().await;
    let session = world.session().await;
    let twice = (1..60).fold("WITH a0 AS (SELECT event_id FROM access_events)".to_owned(), |query, n| {
        format!("{query}, a{n} AS (SELECT * FROM a{m} UNION ALL SELECT * FROM a{m})", m = n - 1)
    });
    let nested = |levels: usize| {
        (0..levels).fold("SELECT max(event_id) FROM access_events e WHERE true".to_owned(), |query, n| {
            format!(
                "SELECT max(e{n}.event_id) FROM access_events e{n} WHERE e{n}.event_id IN ({query} AND e{n}.source = 'x')"
            )
        })
    };
    let growing = format!("SELECT {} FROM access_events", vec!["concat(event_id, source)"; 40].join(" || "));
    for query in [format!("{twice} SELECT count(*) FROM a59"), nested(30), growing] {
        let error = session.sql(&query).await.unwrap_err();
        assert!(error.is_askers() || matches!(error, SqlError::Limit(_)), "{error}: {query}");
    }
    // Fewer are planned; whether they are answered or not, it comes to an end.
    let ended = tokio::time::timeout(Duration::from_secs(90), session.sql(&nested(10))).await;
    assert!(ended.is_ok());
}

/// Joins of few columns and no memory, of which each row is looked at.
const ENDLESS: &str = "WITH e AS (SELECT event_id FROM access_events) SELECT count(*) FROM e a, e b, e c, e d \
                       WHERE length(a.event_id || b.event_id || c.event_id || d.event_id) > 3";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_bounded() {
    let (_world, session) = many().await;
    let session = session.with_limits(Limits { time: Duration::from_millis(300), ..Limits::default() });
    let error = session.sql(ENDLESS).await.unwrap_err();
    assert!(matches!(&error, SqlError::Limit(why) if why.contains("seconds")), "{error}");
    // The session is none the worse for it.
    assert_eq!(session.sql("SELECT 1 x").await.unwrap().rows(), 1);
}

/// A join that finds nothing waits for nobody, and neither server nor clock may depend on it.
#[tokio::test]
async fn a_join_without_matches_is_stopped_beside_one_thread() {
    let (_world, session) = many().await;
    let session = session.with_limits(Limits { time: Duration::from_millis(300), ..Limits::default() });
    for (join, on) in [
        ("JOIN", "a.event_id || b.event_id = c.event_id || 'x'"),
        ("LEFT JOIN", "a.event_id > b.event_id || c.event_id || '~'"),
    ] {
        let query = format!(
            "WITH e AS (SELECT event_id, source FROM access_events) \
             SELECT count(*) FROM (SELECT a.event_id FROM e a, e b WHERE a.source = b.source) a {join} e b ON true {join} e c ON {on}"
        );
        let error = session.sql(&query).await.unwrap_err();
        assert!(matches!(&error, SqlError::Limit(_)), "{error}: {query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_question_ends_the_query() {
    let (_world, session) = many().await;
    // More than may run at once: if a dropped query went on, the last ones would never have their turn.
    for _ in 0..8 {
        let dropped = tokio::time::timeout(Duration::from_millis(50), session.sql(ENDLESS)).await;
        assert!(dropped.is_err());
    }
    let answered = tokio::time::timeout(Duration::from_secs(20), session.sql("SELECT 1 x")).await;
    assert_eq!(answered.unwrap().unwrap().rows(), 1);
}

#[tokio::test]
async fn rows_are_bounded_and_said() {
    let (_world, session) = many().await;
    let session = session.with_limits(Limits { rows: 2999, ..Limits::default() });
    let error = session.sql("SELECT event_id FROM access_events").await.unwrap_err();
    assert_eq!(error.to_string(), "stopped: the answer has more than 2999 rows; narrow it, or add LIMIT");
    assert_eq!(session.sql("SELECT event_id FROM access_events LIMIT 2999").await.unwrap().rows(), 2999);
}

#[tokio::test]
async fn a_long_query_is_refused_by_its_length() {
    let world = world::small().await;
    let session = world.session().await;
    let long = format!("SELECT 1 -- {}", "x".repeat(20_000));
    assert!(matches!(session.sql(&long).await, Err(SqlError::Refused { .. })));
    let deep = format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000));
    assert!(session.sql(&deep).await.is_err());
    let wide = format!("SELECT event_id FROM access_events WHERE {}", vec!["source = 'x'"; 900].join(" OR "));
    assert!(session.sql(&wide).await.is_ok());
}
