//! Traces against thirty lines of brute force, and case by case.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use insyn_engine::error::EngineError;
use insyn_engine::event::{AccessEvent, schema};
use insyn_engine::session::Session;
use insyn_engine::trace::{Joined, Of, Query, Summary, Trace, stream, trace};
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
            repeats: Some(0),
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
        repeats: Some(repeats(&kept)),
    };
    (kept.iter().map(|e| e.event_id.clone()).collect(), summary)
}

/// Rows whose source had given their id before, from another place.
fn repeats(kept: &[&AccessEvent]) -> u64 {
    let mut first: BTreeMap<(&str, &str), (&str, i64)> = BTreeMap::new();
    let mut count = 0;
    for e in kept {
        let place = (e.file_id.as_str(), e.file_offset);
        count += u64::from(*first.entry((&e.source, &e.event_id)).or_insert(place) != place);
    }
    count
}

/// Which rows came, by the offset that only they have.
fn offsets(batches: &[RecordBatch]) -> Vec<i64> {
    let column =
        |b: &RecordBatch| b.column_by_name("file_offset").unwrap().as_primitive::<Int64Type>().clone();
    batches.iter().flat_map(|b| column(b).values().to_vec()).collect()
}

/// Asks in every way that there is, and holds each answer against the rows that should come.
async fn asks(session: &Session, events: &[AccessEvent], query: Query, keep: impl Fn(&AccessEvent) -> bool) {
    let mut kept: Vec<&AccessEvent> = events.iter().filter(|e| e.source != "insyn" && keep(e)).collect();
    kept.sort_by_key(|e| e.occurred_at);
    let found = trace(session, &query).await.unwrap();
    let all = offsets(&found.batches);
    let as_set = |offsets: &[i64]| offsets.iter().copied().collect::<BTreeSet<i64>>();
    let expected: Vec<i64> = kept.iter().map(|e| e.file_offset).collect();
    assert_eq!((as_set(&all), all.len()), (as_set(&expected), expected.len()), "{query:?}");
    assert_eq!(found.summary.repeats, Some(repeats(&kept)), "{query:?}");

    let mut streamed = stream(session, &query).await.unwrap();
    assert_eq!((&streamed.summary, &streamed.subjects), (&found.summary, &found.subjects), "{query:?}");
    let mut batches = Vec::new();
    while let Some(batch) = streamed.next().await.unwrap() {
        assert_eq!(batch.schema(), streamed.schema);
        batches.push(batch);
    }
    assert_eq!(offsets(&batches), all, "{query:?}");

    // Page by page, each from where the one before ended.
    let (mut pages, mut after) = (Vec::new(), None);
    for _ in 0..=all.len() / 3 {
        let page = trace(session, &Query { after, limit: Some(3), ..query.clone() }).await.unwrap();
        assert_eq!(page.summary.rows as usize, all.len() - pages.len(), "what is left: {query:?}");
        pages.extend(offsets(&page.batches));
        after = page.last;
    }
    assert_eq!(pages, all, "{query:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn units_sessions_visits_and_records_in_common_are_what_brute_force_finds(
        batches in prop::collection::vec(some_events(), 1..4),
        gap in 1..60i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut events: Vec<AccessEvent> = Vec::new();
            for batch in batches {
                let from = events.len();
                let batch: Vec<AccessEvent> = batch.into_iter().zip(from..).map(|(e, n)| AccessEvent {
                    event_id: format!("e{}", n % 40),
                    file_offset: n as i64,
                    care_unit_id: [Some("U1"), Some("U2"), None][n % 3].map(str::to_owned),
                    session_id: [Some("S1"), None, Some("S2"), Some("S3")][n % 4].map(str::to_owned),
                    controller_id: ["C1", "C2"][n % 2].to_owned(),
                    purpose: [Some("Vård och behandling"), Some(""), None][n % 3].map(str::to_owned),
                    emergency: [Some(true), Some(false), None][n % 3],
                    ..e
                }).collect();
                world.commit(&batch).await;
                events.extend(batch);
            }
            world.load(&[
                ("accounts", "source,account_id,user_id,valid_from,valid_to\nomsorg,anka01,SE-A,,2026-05-31\nomsorg,anka01,SE-B,2026-06-01,\n,bia,SE-B,,\n"),
                ("identities", "subject_id,other_id,other_id_type,valid_from\n191212121212,R99120012AB,x,\n"),
            ]).await;
            let session = world.session().await;
            let some = |text: &str| Some(text.to_owned());

            for unit in ["U1", "U2", "U9"] {
                let query = Query::new(Of::Unit(unit.to_owned()));
                asks(&session, &events, query, |e| e.care_unit_id.as_deref() == Some(unit)).await;
            }
            for source in [None, Some("journal"), Some("omsorg")] {
                let of = Of::Session { id: "S1".to_owned(), source: source.map(str::to_owned) };
                let keep = |e: &AccessEvent| e.session_id == some("S1") && source.is_none_or(|s| e.source == s);
                asks(&session, &events, Query::new(of), keep).await;
            }
            for (one, other) in [("191212121212", "197010632391"), ("R99120012AB", "X1"), ("X1", "X9")] {
                let key = |id: &str| if id == "R99120012AB" { "191212121212".to_owned() } else { id.to_owned() };
                for own in [Vec::new(), vec!["C1".to_owned()]] {
                    let is_own = |e: &AccessEvent| own.is_empty() || own.contains(&e.controller_id);
                    let in_record = |id: &str| -> BTreeSet<&str> {
                        let of = |e: &&AccessEvent| {
                            e.source != "insyn" && is_own(e) && brute_key(e) == Some(key(id).as_str())
                        };
                        events.iter().filter(of).filter_map(brute_actor).collect()
                    };
                    let people: BTreeSet<&str> =
                        in_record(one).intersection(&in_record(other)).copied().collect();
                    let keys = [key(one), key(other)];
                    let keep = |e: &AccessEvent| {
                        is_own(e)
                            && brute_key(e).is_some_and(|k| keys.iter().any(|key| key == k))
                            && brute_actor(e).is_some_and(|actor| people.contains(actor))
                    };
                    let of = Of::Both(one.to_owned(), other.to_owned());
                    asks(&session, &events, Query { controllers: own.clone(), ..Query::new(of) }, keep).await;
                }
            }
            for n in [0, 7] {
                let id = format!("e{n}");
                let gap = gap * 60_000_000;
                // From each row of the event outwards, by what is next to what is there already.
                let mut visit: BTreeSet<i64> = events.iter().filter(|e| e.event_id == id && e.source != "insyn").map(|e| e.file_offset).collect();
                loop {
                    let near: Vec<i64> = events.iter().filter(|e| e.source != "insyn" && visit.iter().any(|at| {
                        let here = &events[*at as usize];
                        brute_actor(here) == brute_actor(e) && brute_key(here) == brute_key(e)
                            && (here.occurred_at - e.occurred_at).abs() < gap
                    })).map(|e| e.file_offset).collect();
                    let before = visit.len();
                    visit.extend(near);
                    if visit.len() == before { break }
                }
                let of = Of::Visit { event: id, source: None };
                asks(&session, &events, Query { gap, ..Query::new(of) }, |e| visit.contains(&e.file_offset)).await;
            }
            type Has = fn(&AccessEvent) -> bool;
            let filters: [(&str, &str, Has); 5] = [
                ("care_unit_id", "U1", |e| e.care_unit_id.as_deref() == Some("U1")),
                ("emergency", "true", |e| e.emergency == Some(true)),
                ("purpose", "", |e| e.purpose.as_deref().unwrap_or_default().is_empty()),
                ("file_offset", "3", |e| e.file_offset == 3),
                ("actor_id", "SE-B", |e| brute_actor(e) == Some("SE-B")),
            ];
            for (name, value, has) in filters {
                let filters = vec![(name.to_owned(), value.to_owned())];
                let query = Query { filters, ..subject("191212121212") };
                asks(&session, &events, query, |e| brute_key(e) == Some("191212121212") && has(e)).await;
            }
        });
    }
}

#[tokio::test]
async fn a_filter_names_a_column_and_a_visit_an_event() {
    let world = world::small().await;
    let session = world.session().await;
    let filters = vec![("usr_id".to_owned(), "x".to_owned())];
    let error = trace(&session, &Query { filters, ..subject("191212121212") }).await.unwrap_err();
    assert!(error.to_string().contains("did you mean user_id"), "{error}");
    for of in [
        Of::Unit(" ".to_owned()),
        Of::Both("191212121212".to_owned(), String::new()),
        Of::Session { id: String::new(), source: None },
        Of::Visit { event: String::new(), source: None },
    ] {
        let error = trace(&session, &Query::new(of)).await.unwrap_err();
        assert!(matches!(error, EngineError::Question { .. }), "{error}");
    }
    let of = |event: &str| Query::new(Of::Visit { event: event.to_owned(), source: None });
    assert_eq!(ids(&trace(&session, &of("j2")).await.unwrap()), ["j1", "j2"]);
    let long = Query { gap: 31 * 60_000_000, ..of("j2") };
    assert_eq!(ids(&trace(&session, &long).await.unwrap()), ["j1", "j2", "j3"]);
    // Nobody's record is nobody's visit but the event's own.
    assert_eq!(ids(&trace(&session, &of("j7")).await.unwrap()), ["j7"]);
    assert!(ids(&trace(&session, &of("none")).await.unwrap()).is_empty());
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
