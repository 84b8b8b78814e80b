//! What a commit, opening the lake and a trace cost after many commits: `cargo bench --workspace --bench commits`.
//!
//! Makes small commits of one source into a new lake in a temporary folder, `INSYN_COMMITS` of them (100,000), and says
//! after 10, 30, 100, 300 … what the last hundred cost each, and what opening and a trace cost then. With
//! `INSYN_ANY_BUILD=1` a debug build runs too: what grows is seen there as well.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, SourceCommit, Table};
use insyn_engine::session::{Scope, Session};
use insyn_engine::trace::{Of, Query, trace};

/// Rows of a commit: some seconds of a small system.
const ROWS: i64 = 20;
/// So many traces are measured.
const TRACES: i64 = 500;
/// The last so many commits are measured.
const LAST: i64 = 100;
/// So many persons are looked at, then others are: what a trace has to show does not grow with the commits.
const PERSONS: i64 = 1000;
/// Commits until then, in which each person is looked at twenty times.
const UNTIL_OTHERS: i64 = 1000;

fn main() {
    if cfg!(debug_assertions) && std::env::var_os("INSYN_ANY_BUILD").is_none() {
        println!("measured in a release build only: cargo bench");
        return;
    }
    let most = std::env::var("INSYN_COMMITS").map_or(100_000, |most| most.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(folder.path(), most));
}

async fn measure(folder: &Path, most: i64) {
    let lake = Lake::open("lake", folder).await.unwrap();
    println!("commits  files  a commit  opening  its first trace  a trace");
    let (mut spent, mut measured, mut next) = (Duration::ZERO, 0, 10);
    for sequence in 1..=most {
        let batch = batch(sequence);
        let begun = Instant::now();
        lake.commit(batch).await.unwrap();
        if next - sequence < LAST {
            spent += begun.elapsed();
            measured += 1;
        }
        if sequence == next {
            report(&lake, folder, sequence, spent / measured).await;
            // 10, 30, 100, 300, …
            (spent, measured) = (Duration::ZERO, 0);
            next = if next.to_string().starts_with('1') { next * 3 } else { next / 3 * 10 };
        }
    }
}

async fn report(lake: &Lake, folder: &Path, commits: i64, commit: Duration) {
    let files = lake.snapshot().await.unwrap().files(Table::AccessEvents).len();
    let begun = Instant::now();
    let other = Lake::open("lake", folder).await.unwrap();
    let opening = begun.elapsed();
    let first = traced(&other, commits).await;
    let mut warm: Vec<Duration> = Vec::new();
    for n in 0..TRACES {
        warm.push(traced(lake, 1 + n * (commits - 1) / TRACES).await);
    }
    warm.sort_unstable();
    println!(
        "{commits:7} {files:6} {commit:9.2?} {opening:8.2?} {first:15.2?} {:8.2?}",
        warm[warm.len() / 2]
    );
}

/// Of the first person that a commit tells of.
async fn traced(lake: &Lake, sequence: i64) -> Duration {
    let begun = Instant::now();
    let session = Session::open(lake, Tz::Europe__Stockholm, Scope::All).await.unwrap();
    let mut query = Query::new(Of::Subject(subject(sequence, 0)));
    query.limit = Some(100);
    assert!(trace(&session, &query).await.unwrap().rows() > 0);
    begun.elapsed()
}

/// Whom a row of a commit tells of. Those of one commit lie anywhere among all.
fn subject(sequence: i64, row: i64) -> String {
    let person = (sequence - 1) / UNTIL_OTHERS * PERSONS + (sequence + row * 37) % PERSONS;
    format!("1912{:08}", person * 7_919 % 100_000_000)
}

fn batch(sequence: i64) -> SourceCommit {
    let event = |n: i64| AccessEvent {
        event_id: format!("{sequence}-{n}"),
        source: "journal".into(),
        organisation_id: "SE1".into(),
        controller_id: "SE1".into(),
        occurred_at: 1_783_000_000_000_000 + sequence * 1_000_000 + n,
        subject_id: Some(subject(sequence, n)),
        user_id: Some(format!("SE1-{}", n % 11)),
        file_id: "f1".into(),
        file_offset: n * 100,
        file_length: 100,
        ..AccessEvent::default()
    };
    let events = (0..ROWS).map(event).collect();
    SourceCommit {
        source: "journal".into(),
        sequence,
        state: sequence.to_string(),
        events,
        ..SourceCommit::default()
    }
}
