//! Traces against thirty lines of brute force, and case by case.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use insyn_engine::error::EngineError;
use insyn_engine::event::{AccessEvent, schema};
use insyn_engine::trace::{Joined, Of, Query, Summary, Trace, trace};
use proptest::prelude::*;

use crate::world::{self, World, at, event};

fn ids(trace: &Trace) -> Vec<String> {
    let column = |b: &RecordBatch| b.column_by_name("event_id").unwrap().as_string::<i32>().clone();
    trace
        .batches
        .iter()
        .flat_map(|b| column(b).iter().flatten().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn subject(id: &str) -> Query {
    Query::new(Of::Subject(id.to_owned()))
}

fn user(id: &str) -> Query {
    Query::new(Of::User(id.to_owned()))
}

#[tokio::test]
async fn a_subject_is_found_under_every_number_and_in_any_writing() {
    let world = world::small().await;
    let session = world.session().await;
    for written in ["191212121212", "19121212-1212", " 191212121212 ", "R99120012AB"] {
        let found = trace(&session, &subject(written)).await.unwrap();
        assert_eq!(ids(&found), ["j6", "j1", "j2", "j3", "o1", "j4", "n2"], "{written}");
        assert_eq!(found.subjects, ["191212121212", "R99120012AB"]);
        assert_eq!(found.joined.len(), 1);
    }
    let found = trace(&session, &subject("191212121212")).await.unwrap();
    assert_eq!(
        found.joined,
        [Joined { via: "identities", asked: "191212121212".to_owned(), used: "R99120012AB".to_owned() }]
    );
    assert_eq!(
        found.summary,
        Summary {
            rows: 7,
            // j6; j1 and j2 together; j3 just thirty minutes later; o1 by the same nurse a day later; j4; n2.
            visits: 6,
            first: Some(at("2025-12-31T23:30:00Z")),
            last: Some(at("2026-06-29T01:30:02Z")),
            persons: 2,
        }
    );
    let columns: Vec<&str> = found.schema.fields().iter().map(|f| f.name().as_str()).collect();
    let all: Vec<String> =
        schema().fields().iter().map(|f| f.name().clone()).filter(|n| n != "record").collect();
    assert_eq!(columns, all);
}

#[tokio::test]
async fn own_looks_are_left_out_unless_asked_for() {
    let world = world::small().await;
    let session = world.session().await;
    let own = Query { own: true, ..subject("191212121212") };
    assert_eq!(ids(&trace(&session, &own).await.unwrap()).last().map(String::as_str), Some("i1"));
    assert!(ids(&trace(&session, &user("granskare")).await.unwrap()).is_empty());
    let own = Query { own: true, ..user("granskare") };
    assert_eq!(ids(&trace(&session, &own).await.unwrap()), ["i1"]);
}

#[tokio::test]
async fn a_user_is_found_under_every_account_while_it_was_theirs() {
    let world = world::small().await;
    let session = world.session().await;
    let found = trace(&session, &user("SE-A")).await.unwrap();
    assert_eq!(ids(&found), ["j6", "j1", "j2", "j3", "o1"]);
    assert_eq!(
        found.joined,
        [Joined { via: "accounts", asked: "SE-A".to_owned(), used: "anka01".to_owned() }]
    );
    assert_eq!(found.summary.persons, 1);

    let found = trace(&session, &user("SE-B")).await.unwrap();
    assert_eq!(ids(&found), ["j4", "j5", "n1", "n2", "o2", "o3"]);

    // The account was first A's, then B's.
    let spring = Query {
        from: Some(at("2026-01-01T00:00:00Z")),
        to: Some(at("2026-05-01T00:00:00Z")),
        ..user("anka01")
    };
    assert_eq!(ids(&trace(&session, &spring).await.unwrap()), ["j1", "j2", "j3", "o1"]);
    let autumn = Query { from: Some(at("2026-06-15T00:00:00Z")), ..user("anka01") };
    assert_eq!(ids(&trace(&session, &autumn).await.unwrap()), ["n2", "o2", "o3"]);
    assert!(trace(&session, &user("SE-C")).await.unwrap().joined.is_empty());
}

#[tokio::test]
async fn an_event_brings_what_the_other_system_logged() {
    let world = world::small().await;
    let session = world.session().await;
    let event = |id: &str, source: Option<&str>| {
        Query::new(Of::Event { id: id.to_owned(), source: source.map(str::to_owned) })
    };
    assert_eq!(ids(&trace(&session, &event("j5", None)).await.unwrap()), ["j5", "n1"]);
    assert_eq!(ids(&trace(&session, &event("n1", Some("npo"))).await.unwrap()), ["j5", "n1"]);
    assert!(ids(&trace(&session, &event("j5", Some("npo"))).await.unwrap()).is_empty());
    assert_eq!(ids(&trace(&session, &event("j1", None)).await.unwrap()), ["j1"]);
    assert!(ids(&trace(&session, &event("none", None)).await.unwrap()).is_empty());
}

#[tokio::test]
async fn limit_columns_and_mistakes() {
    let world = world::small().await;
    let session = world.session().await;
    let columns = ["record", "actor_id", "occurred_at", "event_id", "event_id"].map(str::to_owned).to_vec();
    let found = trace(&session, &Query { limit: Some(2), columns: Some(columns), ..subject("191212121212") })
        .await
        .unwrap();
    assert_eq!(ids(&found), ["j6", "j1"]);
    assert_eq!((found.summary.rows, found.summary.visits), (7, 6));
    assert_eq!(found.subjects, ["191212121212", "R99120012AB"]);
    let names: Vec<&str> = found.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["record", "actor_id", "occurred_at", "event_id"]);

    let none = trace(&session, &Query { limit: Some(0), ..subject("191212121212") }).await.unwrap();
    assert_eq!((none.rows(), none.summary.rows), (0, 7));
    assert!(none.subjects.is_empty());

    let wrong = Query { columns: Some(vec!["usr_id".to_owned()]), ..subject("191212121212") };
    let error = trace(&session, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no column \"usr_id\" in access_events (did you mean user_id?)");
    assert!(matches!(trace(&session, &subject("  ")).await, Err(EngineError::Question { .. })));
    let backwards = Query { from: Some(1), to: Some(0), ..subject("191212121212") };
    assert!(matches!(trace(&session, &backwards).await, Err(EngineError::Question { .. })));
}

/// Subjects, users and hours from a small stock, so that they meet.
fn some_events() -> impl Strategy<Value = Vec<AccessEvent>> {
    let row = (0..6usize, 0..6usize, 0..3usize, 0..400i64);
    prop::collection::vec(row, 1..60).prop_map(|rows| {
        let subjects = ["191212121212", "197010632391", "R99120012AB", "X1", "X2", ""];
        let users = ["SE-A", "SE-B", "anka01", "bia", "SE-C", ""];
        let sources = ["journal", "omsorg", "insyn"];
        let events = rows.into_iter().enumerate().map(|(i, (s, u, source, tens))| {
            let mut e =
                event(&format!("e{i}"), sources[source], "2026-05-31T00:00:00Z", users[u], subjects[s]);
            e.occurred_at += tens * 600_000_000;
            e
        });
        events.collect()
    })
}

/// The rules of `world::small`'s accounts and identities, written out once more.
fn brute_actor(e: &AccessEvent) -> Option<&str> {
    let june = at("2026-06-01T00:00:00+02:00");
    match e.user_id.as_deref()? {
        "anka01" if e.source == "omsorg" && e.occurred_at < june => Some("SE-A"),
        "anka01" if e.source == "omsorg" => Some("SE-B"),
        "bia" => Some("SE-B"),
        other => Some(other),
    }
}

fn brute_key(e: &AccessEvent) -> Option<&str> {
    e.subject_id.as_deref().map(|s| if s == "R99120012AB" { "191212121212" } else { s })
}

fn brute(
    events: &[AccessEvent],
    keep: impl Fn(&AccessEvent) -> bool,
    actors: bool,
) -> (BTreeSet<String>, Summary) {
    let mut kept: Vec<&AccessEvent> = events.iter().filter(|e| e.source != "insyn" && keep(e)).collect();
    kept.sort_by_key(|e| e.occurred_at);
    let mut visits: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for e in &kept {
        visits.entry((brute_actor(e), brute_key(e))).or_default().push(e.occurred_at);
    }
    let gaps =
        |times: &Vec<i64>| 1 + times.windows(2).filter(|w| w[1] - w[0] >= 1_800_000_000).count() as u64;
    let people: BTreeSet<_> =
        kept.iter().filter_map(|e| if actors { brute_actor(e) } else { brute_key(e) }).collect();
    let summary = Summary {
        rows: kept.len() as u64,
        visits: visits.values().map(gaps).sum(),
        first: kept.first().map(|e| e.occurred_at),
        last: kept.last().map(|e| e.occurred_at),
        persons: people.len() as u64,
    };
    (kept.iter().map(|e| e.event_id.clone()).collect(), summary)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trace_is_what_brute_force_finds(batches in prop::collection::vec(some_events(), 1..4), from in 0..400i64, hours in 0..80i64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut events: Vec<AccessEvent> = Vec::new();
            for (n, batch) in batches.into_iter().enumerate() {
                let named = batch.into_iter().map(|e| AccessEvent { event_id: format!("{n}-{}", e.event_id), ..e });
                let batch: Vec<AccessEvent> = named.collect();
                world.commit(&batch).await;
                events.extend(batch);
            }
            world.load(&[
                ("accounts", "source,account_id,user_id,valid_from,valid_to\nomsorg,anka01,SE-A,,2026-05-31\nomsorg,anka01,SE-B,2026-06-01,\n,bia,SE-B,,\n"),
                ("identities", "subject_id,other_id,other_id_type,valid_from\n191212121212,R99120012AB,x,\n"),
            ]).await;
            let session = world.session().await;
            let start = at("2026-05-31T00:00:00Z") + from * 600_000_000;
            let window = (start, start + hours * 3_600_000_000);
            for bounds in [None, Some(window)] {
                let (from, to) = (bounds.map(|b| b.0), bounds.map(|b| b.1));
                let within = |e: &AccessEvent| bounds.is_none_or(|(from, to)| from <= e.occurred_at && e.occurred_at < to);
                for id in ["191212121212", "R99120012AB", "197010632391", "X1", "X9"] {
                    let key = if id == "R99120012AB" { "191212121212" } else { id };
                    let expected = brute(&events, |e| within(e) && brute_key(e) == Some(key), true);
                    let found = trace(&session, &Query { from, to, ..subject(id) }).await.unwrap();
                    assert_eq!((ids(&found).into_iter().collect(), found.summary.clone()), expected, "{id} {bounds:?}");
                    let limited = trace(&session, &Query { from, to, limit: Some(3), ..subject(id) }).await.unwrap();
                    assert_eq!(limited.summary, expected.1);
                    assert_eq!(ids(&limited), ids(&found)[..found.rows().min(3)]);
                }
                for id in ["SE-A", "SE-B", "SE-C", "nobody"] {
                    let expected = brute(&events, |e| within(e) && brute_actor(e) == Some(id), false);
                    let found = trace(&session, &Query { from, to, ..user(id) }).await.unwrap();
                    assert_eq!((ids(&found).into_iter().collect(), found.summary), expected, "{id} {bounds:?}");
                }
            }
        });
    }
}
