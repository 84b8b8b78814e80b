//! Random batches, openings, checkpoints, refusals and half-done attempts against plain vectors.

use proptest::prelude::*;

use super::*;
use crate::lake::{commit, encode};

#[derive(Debug, Clone)]
enum Action {
    Commit {
        source: usize,
        events: u8,
        years: i64,
        quarantine: u8,
        gaps: u8,
    },
    /// The side tables were committed, then the process died.
    HalfDone {
        source: usize,
        quarantine: u8,
    },
    /// Rows of a period are replaced, and items of the side tables settled.
    Amend {
        source: usize,
        from: i64,
        rows: u8,
        whole: bool,
    },
    OutOfTurn {
        source: usize,
    },
    /// Rows of some sources before a time go, but those of somebody.
    Retain {
        sources: u8,
        years: i64,
        held: u8,
    },
    /// And their bytes.
    Purge,
    /// Files become others, of every table.
    Compact,
    Reopen,
    Checkpoint,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..3_usize, 0..40_u8, 0..4_i64, 0..4_u8, 0..3_u8).prop_map(
            |(source, events, years, quarantine, gaps)| Action::Commit { source, events, years, quarantine, gaps }
        ),
        2 => (0..3_usize, 1..4_u8).prop_map(|(source, quarantine)| Action::HalfDone { source, quarantine }),
        3 => (0..3_usize, 0..100_i64, 0..9_u8, any::<bool>())
            .prop_map(|(source, from, rows, whole)| Action::Amend { source, from, rows, whole }),
        1 => (0..3_usize).prop_map(|source| Action::OutOfTurn { source }),
        2 => (1..8_u8, 0..4_i64, 0..60_u8)
            .prop_map(|(sources, years, held)| Action::Retain { sources, years, held }),
        1 => Just(Action::Purge),
        2 => Just(Action::Compact),
        1 => Just(Action::Reopen),
        1 => Just(Action::Checkpoint),
    ]
}

const SOURCES: [&str; 3] = ["journal", "npo", "käll a/ö%"];

async fn run(actions: &[Action]) {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = sides::open_eager(folder.path()).await;
    let mut oracle = Oracle::default();
    let mut next = 0_i64;
    for action in actions {
        match *action {
            Action::Commit { source, events, years, quarantine, gaps } => {
                let source = SOURCES[source];
                let sequence = lake.progress(source).await.unwrap().sequence + 1;
                let mut given = batch(source, sequence, next..next + i64::from(events));
                for (n, event) in (0..).zip(&mut given.events) {
                    event.occurred_at -= YEAR * (n % (years + 1));
                }
                next += i64::from(events);
                given.quarantine =
                    (next..next + i64::from(quarantine)).map(|n| quarantined(source, n)).collect();
                next += i64::from(quarantine);
                given.gaps = (next..next + i64::from(gaps)).map(|n| gap(source, n)).collect();
                next += i64::from(gaps);
                given.exports = (0..i64::from(gaps)).map(|n| export_day(source, next + n)).collect();
                given.lacking = (0..i64::from(quarantine)).map(|n| lacking(source, next + n)).collect();
                oracle.add(&given);
                lake.commit(given).await.unwrap();
            }
            Action::HalfDone { source, quarantine } => {
                let source = SOURCES[source];
                let known = lake.inner.events().current().await.unwrap();
                let sequence = lake.progress(source).await.unwrap().sequence + 1;
                let rows: Vec<_> =
                    (next..next + i64::from(quarantine)).map(|n| quarantined(source, n)).collect();
                let encoded = encode::quarantine(&rows, sequence).unwrap();
                let side = lake.inner.tables.of(Table::Quarantine);
                commit::commit_side(side, &known, source, sequence, Some(encoded)).await.unwrap();
            }
            Action::Amend { source, from, rows, whole } => {
                let source = SOURCES[source];
                let Ok(mut amendment) = lake.amend(source).await else {
                    assert!(!oracle.progress.contains_key(source));
                    continue;
                };
                let mut events: Vec<_> = (next..next + i64::from(rows)).map(|n| event(source, n)).collect();
                events.iter_mut().step_by(2).for_each(|event| event.occurred_at -= YEAR);
                next += i64::from(rows) + 1;
                if !events.is_empty() {
                    amendment.put(events.clone()).await.unwrap();
                }
                let changes = amend::some_changes(source, from, next, whole);
                oracle.amend(source, &events, &changes);
                amendment.commit(changes).await.unwrap();
            }
            Action::OutOfTurn { source } => {
                let source = SOURCES[source];
                let sequence = lake.progress(source).await.unwrap().sequence;
                let error = lake.commit(batch(source, sequence, 0..3)).await.unwrap_err();
                assert!(matches!(error, LakeError::SequenceTaken { .. }), "{error}");
            }
            Action::Retain { sources, years, held } => {
                let mut plan = retain::plan(
                    JULY_2026 - years * YEAR + next / 2 * 1_234_567,
                    &[&format!("1912{held:08}")],
                );
                let of = SOURCES.iter().enumerate().filter(|(n, _)| sources >> n & 1 == 1);
                plan.grounds[0].of.sources = Some(of.map(|(_, name)| (*name).to_owned()).collect());
                let told = lake.survey(&plan).await.unwrap();
                let gone = lake.remove(&plan, "somebody").await.unwrap();
                assert_eq!((told.rows(), told.bytes), (gone.rows(), gone.bytes));
                oracle.retain(&plan);
            }
            Action::Purge => drop(lake.purge(Duration::ZERO).await.unwrap().expect("nobody else is here")),
            Action::Compact => retain::compacted(&lake).await,
            Action::Reopen => lake = sides::open_eager(folder.path()).await,
            Action::Checkpoint => drop(lake.checkpoint().await.unwrap()),
        }
    }
    assert_same(&lake, &oracle).await;
    assert_same(&open(folder.path()).await, &oracle).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_lake_holds_what_the_vectors_hold(actions in prop::collection::vec(action(), 1..14)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(&actions));
    }
}
