#![allow(clippy::unwrap_used, clippy::expect_used)]

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use insyn_event::AccessEvent;
use proptest::prelude::*;

use super::*;
use crate::lake::{Lake, SourceCommit};
use crate::session::{Scope, Session as LakeSession};

/// What somebody could ask of all rows. Each has a row for each group, or sums of such.
const ASKED: [&str; 9] = [
    "SELECT subject_id, count(*), min(occurred_at) FROM access_events GROUP BY subject_id",
    "SELECT user_id, count(DISTINCT subject_id) FROM access_events GROUP BY user_id",
    "SELECT user_id, count(DISTINCT subject_id) FROM user_accesses GROUP BY user_id",
    "SELECT count(*), sum(n) FROM (SELECT user_id, subject_id, count(*) AS n FROM access_events \
     WHERE source <> 'insyn' GROUP BY user_id, subject_id)",
    "SELECT who, day, count(*) FROM (SELECT subject_id AS who, local_date(occurred_at) AS day FROM access_events) AS x \
     GROUP BY day, who",
    "SELECT DISTINCT subject_id FROM access_events",
    "SELECT a.subject_id, a.n, b.n FROM (SELECT subject_id, count(*) AS n FROM access_events GROUP BY 1) AS a JOIN \
     (SELECT subject_id, count(DISTINCT user_id) AS n FROM access_events GROUP BY 1) AS b USING (subject_id)",
    "SELECT subject_id, count(*) AS n FROM access_events GROUP BY subject_id HAVING count(*) > \
     (SELECT count(*) / 40 FROM access_events) ORDER BY n DESC, subject_id LIMIT 5",
    "SELECT user_id, count(*) FROM user_accesses WHERE occurred_at >= '2026-07-01' GROUP BY user_id",
];

fn accesses(from: i64, to: i64, salt: i64) -> Vec<AccessEvent> {
    let access = |n: i64| AccessEvent {
        event_id: format!("e{salt}-{n}"),
        source: "journal".into(),
        occurred_at: 1_760_000_000_000_000 + n * 37 * 86_400_000_000 % 40_000_000_000_000,
        subject_id: (n % 13 != 0).then(|| format!("19{:010}", n * 7_919 % 61 + salt)),
        user_id: (n % 11 != 0).then(|| format!("u{}", n * 31 % 17)),
        file_id: format!("f{salt}"),
        file_offset: n * 100,
        file_length: 100,
        ..AccessEvent::default()
    };
    (from..to).map(access).collect()
}

/// A lake of so many commits of so many rows, some of them merged.
async fn lake_of(folder: &std::path::Path, commits: &[(i64, i64)], merged: usize) -> Lake {
    let lake = Lake::open("lake", folder).await.unwrap();
    for (n, (rows, salt)) in commits.iter().enumerate() {
        let batch = SourceCommit {
            source: "journal".into(),
            sequence: n as i64 + 1,
            events: accesses(n as i64 * 1_000, n as i64 * 1_000 + rows, *salt),
            ..SourceCommit::default()
        };
        lake.commit(batch).await.unwrap();
        if n + 1 == merged {
            while lake.compact().await.unwrap().is_some() {}
        }
    }
    lake
}

/// The session's own way, and one that takes turns of so many rows.
async fn both(lake: &Lake, rows: u64) -> (SessionContext, SessionContext) {
    let zone = chrono_tz::Europe::Stockholm;
    let session = LakeSession::open(lake, zone, Scope::All).await.unwrap();
    let usual = session.datafusion().clone();
    let builder = SessionStateBuilder::new_from_existing(usual.state());
    (usual, SessionContext::new_with_state(taught(builder, rows).build()))
}

/// The rows in an order of their own.
async fn answer(context: &SessionContext, query: &str) -> Vec<String> {
    let batches: Vec<RecordBatch> = context.sql(query).await.unwrap().collect().await.unwrap();
    let shown = pretty_format_batches(&batches).unwrap().to_string();
    let mut rows: Vec<String> = shown.lines().map(str::to_owned).collect();
    if !query.contains("ORDER BY") {
        rows.sort_unstable();
    }
    rows
}

async fn plan(context: &SessionContext, query: &str) -> String {
    let plan = context.sql(query).await.unwrap().create_physical_plan().await.unwrap();
    displayable(plan.as_ref()).indent(false).to_string()
}

#[tokio::test]
async fn what_is_grouped_by_the_tables_order_is_grouped_in_turns_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let commits: Vec<(i64, i64)> = (0..12).map(|n| (100, n * 50)).collect();
    let lake = lake_of(folder.path(), &commits, 12).await;
    let (usual, turns) = both(&lake, 60).await;
    for query in ASKED {
        assert!(!plan(&usual, query).await.contains("InTurns"), "{query}");
        let taken = plan(&turns, query).await;
        assert!(taken.contains("InTurns"), "{query}\n{taken}");
        assert_eq!(answer(&turns, query).await, answer(&usual, query).await, "{query}");
    }
    for query in [
        "SELECT user_id, count(*) FROM access_events GROUP BY user_id",
        "SELECT subject_id, count(*) FROM access_events WHERE subject_id = '190000000007' GROUP BY subject_id",
        "SELECT subject_id, count(*) FROM access_events WHERE user_id IN ('u3', 'u5') GROUP BY subject_id",
        "SELECT upper(subject_id), count(*) FROM access_events GROUP BY 1",
        "SELECT subject_id, sum(file_offset - (SELECT min(file_offset) FROM access_events)) FROM access_events GROUP BY 1",
        "SELECT subject_id, count(*) FROM (SELECT * FROM access_events LIMIT 500) AS x GROUP BY 1",
        "SELECT subject_id, count(*) FROM access_events WHERE occurred_at > (SELECT min(occurred_at) FROM \
         access_events) GROUP BY 1",
    ] {
        let taken = plan(&turns, query).await;
        assert!(!taken.contains("InTurns"), "{query}\n{taken}");
        assert_eq!(answer(&turns, query).await, answer(&usual, query).await, "{query}");
    }
}

#[test]
fn cuts_lie_so_many_rows_apart_and_never_within_a_value() {
    let mark = |least: &str, rows| Mark { least: least.to_owned(), rows };
    let marks =
        vec![mark("c", 60), mark("a", 60), mark("b", 60), mark("c", 60), mark("d", 1), mark("e", 200)];
    assert_eq!(cuts(marks.clone(), 100), ["c", "d"]);
    assert_eq!(cuts(marks, 1_000), Vec::<String>::new());
    let same = vec![mark("a", 100), mark("a", 100), mark("a", 100)];
    assert_eq!(cuts(same, 100), ["a"]);
    let many: Vec<Mark> = (0..10_000).map(|n| mark(&format!("{n:05}"), 10)).collect();
    assert!(cuts(many, 10).len() as u64 <= MOST);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn turns_change_no_answer(
        commits in prop::collection::vec((1_i64..120, 0_i64..400), 1..9),
        merged in 0_usize..9,
        rows in 1_u64..60,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let lake = lake_of(folder.path(), &commits, merged).await;
            let (usual, turns) = both(&lake, rows).await;
            for query in ASKED {
                assert_eq!(answer(&turns, query).await, answer(&usual, query).await, "{query}");
            }
        });
    }
}
