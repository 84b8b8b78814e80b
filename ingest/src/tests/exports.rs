//! Files that each state a whole period, in any order, overlapping, made by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{LATER, World};
use crate::once::SourceReport;

/// Rows have no id of their own: what tells them apart is what they say.
const EXPORT: &str = "delivery = \"export\"\nformat = \"delimited\"\ndelimiter = \";\"\n[fields]\noccurred_at = \"Tid\"\nuser_id = \"Vem\"\n";

/// A row: minutes into the month, and who.
type Row = (u32, u8);

fn text(rows: &[Row]) -> String {
    let line = |(minute, who): &Row| {
        format!("2026-03-{:02} {:02}:{:02}:00;{who}\n", 1 + minute / 1440, minute / 60 % 24, minute % 60)
    };
    format!("Tid;Vem\n{}", rows.iter().map(line).collect::<String>())
}

/// The same rows as somebody else would write them: columns the other way, and a comment in each.
fn by_hand(rows: &[Row]) -> String {
    let plain = text(rows);
    let turn = |line: &str| {
        let (time, who) = line.split_once(';').unwrap();
        format!("{who};{time}\n")
    };
    plain.lines().map(turn).collect()
}

impl World {
    fn export(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// How often each row lies in the lake.
    async fn stated(&self) -> BTreeMap<String, usize> {
        let query = "SELECT concat(user_id, ' ', CAST(occurred_at AS VARCHAR)) FROM access_events";
        self.counted(query).await
    }

    async fn all(&mut self) -> SourceReport {
        let report = self.ingest(LATER).await;
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        report
    }
}

#[tokio::test]
async fn what_two_state_counts_once_per_occurrence_in_the_fuller() {
    let mut world = World::new(EXPORT, "read").await;
    world.export("march-1.csv", &text(&[(0, 1), (5, 1), (5, 1), (9, 2)]));
    assert_eq!(world.all().await.events, 4);
    // One look more, one row twice as before, one a third time; other columns first.
    world.export("march-2.csv", &by_hand(&[(9, 2), (5, 1), (5, 1), (5, 1), (0, 1), (7, 3)]));
    assert_eq!(world.all().await.events, 2);
    assert_eq!(world.stated().await.values().sum::<usize>(), 6);
    world.restart();
    assert_eq!(world.all().await.events, 0, "nothing is read again after a restart");
    let days = "SELECT concat_ws(' ', day, rows, stored, lacking) FROM exports ORDER BY read_at";
    assert_eq!(world.counted(days).await.len(), 2);
    assert!(world.counted(days).await.contains_key("2026-03-01 6 2 0"));
    // The first one once more, renamed and packed: the same file.
    world.rename("march-1.csv", "old.csv");
    assert_eq!(world.all().await.events, 0);
    assert_eq!(world.counted(days).await.values().sum::<usize>(), 2);
}

#[tokio::test]
async fn rows_that_a_later_export_lacks_are_named() {
    let mut world = World::new(EXPORT, "read").await;
    world.export("a.csv", &text(&[(0, 1), (5, 2), (9, 3), (1500, 4)]));
    world.all().await;
    // It begins and ends where others have rows that it need not state.
    world.export("b.csv", &text(&[(0, 7), (3, 1), (9, 9)]));
    world.all().await;
    let lacking = "SELECT concat_ws(' ', e.user_id, l.export_file_id) FROM lacking l \
                   JOIN access_events e ON e.file_id = l.file_id AND e.file_offset = l.file_offset";
    assert_eq!(world.counted(lacking).await, BTreeMap::from([("2 s-000002".to_owned(), 1)]));
    let told = "SELECT concat_ws(' ', file_id, day, rows, stored, lacking) FROM exports ORDER BY 1";
    let told: Vec<String> = world.counted(told).await.into_keys().collect();
    assert_eq!(told, ["s-000001 2026-03-01 3 3 0", "s-000001 2026-03-02 1 1 0", "s-000002 2026-03-01 3 3 1"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_once_too() {
    let mut world = World::new(EXPORT, "read").await;
    world.export("a.csv", &format!("{}no time;4\n", text(&[(0, 1)])));
    world.export("b.csv", &format!("{}no time;4\nno time;4\n", text(&[(0, 1), (1, 1)])));
    let report = world.all().await;
    assert_eq!((report.events, report.quarantined), (2, 2));
}

#[tokio::test]
async fn an_export_that_is_being_written_waits() {
    let mut world = World::new(EXPORT, "read").await;
    world.export("a.csv", &text(&[(0, 1)]));
    let report = world.ingest(super::world::JUST_NOW).await;
    assert_eq!((report.files, report.events), (1, 0));
    world.append("a.csv", "2026-03-01 00:01:00;2");
    assert_eq!(world.all().await.events, 2, "its last line needs no end");
    // It was not done: rows are added to the same file.
    world.append("a.csv", "\n2026-03-01 00:02:00;3\n");
    assert_eq!(world.all().await.events, 1);
    let told = "SELECT concat_ws(' ', rows, stored) FROM exports";
    assert_eq!(world.counted(told).await.into_keys().collect::<Vec<_>>(), ["2 2", "3 3"]);
}

#[tokio::test]
async fn another_export_under_the_same_name_is_another_file() {
    let mut world = World::new(EXPORT, "read").await;
    for (n, rows) in [[(0, 1), (5, 1)], [(5, 1), (7, 1)], [(1, 2), (9, 2)]].iter().enumerate() {
        world.export("always.csv", &text(rows));
        let report = tokio::time::timeout(std::time::Duration::from_secs(60), world.all()).await.unwrap();
        assert_eq!(report.events, [2, 1, 2][n]);
    }
    assert_eq!(world.counted("SELECT file_id FROM exports").await.len(), 3);
}

#[tokio::test]
async fn an_export_that_cannot_be_read_is_named_and_stops_no_other() {
    let world = World::new(EXPORT, "read").await;
    world.export("a.csv", "Tid;Någon\n2026-03-01 00:00:00;1\n");
    world.export("b.csv", &text(&[(0, 1)]));
    let read = async { world.installation().once(&mut |_| {}).await.unwrap() };
    let report = tokio::time::timeout(std::time::Duration::from_secs(60), read).await.unwrap();
    let faults = &report.sources[0].faults;
    assert!(
        faults.iter().any(|fault| fault.contains("a.csv") && fault.contains("no column `Vem`")),
        "{faults:?}"
    );
    assert_eq!(report.events, 1, "the other is read");
}

#[tokio::test]
async fn a_large_one_that_is_cut_by_a_crash_goes_on() {
    let rows: Vec<Row> = (0..40_000).map(|n| (n / 10, (n % 7) as u8)).collect();
    let mut world = World::new(EXPORT, "read").await;
    world.export("half.csv", &text(&rows[..15_000]));
    assert_eq!(world.all().await.events, 15_000);
    world.export("all.csv", &text(&rows));
    // Known from the other, then a batch of its own; then the process dies.
    for _ in 0..2 {
        world.turns(1).await;
    }
    let before = world.stated().await.values().sum::<usize>();
    assert!((15_000..40_000).contains(&before), "{before}");
    world.restart();
    world.all().await;
    assert_eq!(world.stated().await.values().sum::<usize>(), 40_000);
    let told = "SELECT CAST(sum(rows) AS VARCHAR) FROM exports WHERE file_id = 's-000002'";
    assert!(world.counted(told).await.contains_key("40000"), "days are told of the whole file");
}

#[derive(Debug, Clone)]
struct Made {
    from: u32,
    to: u32,
    left_out: Vec<Index>,
    twice: Vec<Index>,
    by_hand: bool,
    restart: bool,
    alone: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let some = || prop::collection::vec(any::<Index>(), 0..3);
    (0..60_u32, 1..60_u32, some(), some(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(from, len, left_out, twice, by_hand, restart, alone)| Made {
            from,
            to: from + len,
            left_out,
            twice,
            by_hand,
            restart,
            alone,
        },
    )
}

/// However exports overlap: of each row as many as the one has that states most; and a later one's lacks are told.
async fn as_many_as_the_fullest(log: &[Row], exports: &[Made]) {
    let mut world = World::new(EXPORT, "read").await;
    let mut expected: BTreeMap<Row, usize> = BTreeMap::new();
    let mut lacking = 0;
    for (n, made) in exports.iter().enumerate() {
        let mut rows: Vec<Row> =
            log.iter().copied().filter(|row| (made.from..made.to).contains(&row.0)).collect();
        for index in made.left_out.iter().filter(|_| rows.len() > 1).collect::<Vec<_>>() {
            rows.remove(index.index(rows.len()).min(rows.len() - 1));
            if rows.len() == 1 {
                break;
            }
        }
        for index in made.twice.iter().filter(|_| !rows.is_empty()).collect::<Vec<_>>() {
            let row = rows[index.index(rows.len())];
            rows.insert(index.index(rows.len()), row);
        }
        if rows.is_empty() {
            continue;
        }
        let mut counts: BTreeMap<Row, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(*row).or_default() += 1);
        let (first, last) = (rows.iter().min().unwrap().0, rows.iter().max().unwrap().0);
        for (row, known) in &expected {
            if first < row.0 && row.0 < last {
                lacking += known.saturating_sub(counts.get(row).copied().unwrap_or(0));
            }
        }
        for (row, count) in counts {
            let known = expected.entry(row).or_default();
            *known = (*known).max(count);
        }
        let text = if made.by_hand { by_hand(&rows) } else { text(&rows) };
        // No two are the same file: a comment tells them apart.
        world.export(&format!("{n:03}.csv"), &format!("sep=;\n{}{text}", "\n".repeat(n)));
        if made.restart {
            world.restart();
        }
        if made.alone {
            world.all().await;
        } else {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    world.all().await;
    let found = world.stated().await;
    let expected: usize = expected.values().sum();
    assert_eq!(found.values().sum::<usize>(), expected);
    assert_eq!(world.counted("SELECT file_id FROM lacking").await.values().sum::<usize>(), lacking);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exports_overlap_in_any_way(
        log in prop::collection::vec((0..100_u32, 0..3_u8), 1..40),
        exports in prop::collection::vec(made(), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(as_many_as_the_fullest(&log, &exports));
    }
}
