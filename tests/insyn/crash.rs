//! kill -9 at any moment, and a new run gives exactly the rows that were written.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::house::{House, audit_event, checkout, finish, rustc};

const LINES: usize = 4000;

fn write_logs(house: &House) {
    for file in 0..4 {
        let lines: String = (0..LINES / 4)
            .map(|n| {
                let at = format!("2026-03-{:02}T08:{:02}:{:02}+01:00", 1 + file, n / 60 % 60, n % 60);
                audit_event(&format!("f{file}-{n}"), &at, &format!("SE1-{}", n % 7), "191212121212")
            })
            .collect();
        house.write(&format!("logs/journal/2026-03-{:02}.ndjson", 1 + file), lines.as_bytes());
    }
    house.append("logs/journal/2026-03-01.ndjson", b"this line is no JSON\n");
}

#[track_caller]
fn exactly_what_was_written(house: &House) {
    let rows = house
        .rows(&["sql", "SELECT event_id, count(*) AS n FROM access_events GROUP BY event_id LIMIT 100000"]);
    let counted: BTreeMap<&str, i64> =
        rows.iter().map(|row| (row["event_id"].as_str().unwrap(), row["n"].as_i64().unwrap())).collect();
    assert_eq!(counted.len(), LINES);
    assert!(counted.values().all(|n| *n == 1), "no row is doubled");
    let rows = house.rows(&["sql", "SELECT count(*) AS n FROM quarantine"]);
    assert_eq!(rows[0]["n"], 1, "the broken line is in quarantine once");
    assert_eq!(house.ingest()["events"], 0);
}

#[test]
fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    write_logs(&house);
    for kill_after in [30, 60, 90, 120, 160, 200, 260, 330, 420, 550] {
        let mut child = house.command(&["ingest", "--once"]).spawn().expect("the binary starts");
        std::thread::sleep(Duration::from_millis(kill_after));
        let _ = child.kill();
        child.wait().expect("it ends");
    }
    house.ingest();
    exactly_what_was_written(&house);
}

#[test]
fn a_crash_at_each_step_of_a_commit_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    write_logs(&house);
    let points = [
        "after-quarantine-commit",
        "before-events-put",
        "after-events-put",
        "before-log-commit",
        "after-log-commit",
    ];
    for point in points {
        let mut command = house.command(&["ingest", "--once"]);
        command.env("INSYN_CRASH_AT", point);
        let run = finish(command);
        // After the last point everything may already be stored: then there is no batch left to crash in.
        assert!(
            run.code != Some(0) || point == "after-log-commit",
            "{point}: the process should have crashed"
        );
        if point == "after-log-commit" {
            break;
        }
    }
    house.ingest();
    exactly_what_was_written(&house);
}

#[test]
fn a_crash_around_each_fsync_link_and_rename_loses_nothing_and_doubles_nothing() {
    for point in insyn_engine::failpoint::STORE {
        // Three make the tables of a new lake, four are of the batch: quarantine and its log, events and theirs.
        for nth in 1..=7 {
            let house = House::new();
            write_logs(&house);
            let mut command = house.command(&["ingest", "--once"]);
            command.env("INSYN_CRASH_AT", format!("{point}:{nth}"));
            let run = finish(command);
            assert!(run.code.is_none(), "{point}:{nth}: the process should have crashed: {}", run.stderr);
            house.ingest();
            exactly_what_was_written(&house);
        }
    }
}

#[test]
fn a_release_build_has_no_failpoints() {
    let folder = tempfile::tempdir().unwrap();
    let failpoint = checkout().join("engine/src/failpoint.rs");
    let main = format!(
        "#[path = {failpoint:?}] mod failpoint;\n\
         fn main() {{ for point in failpoint::STORE {{ failpoint::crash_at(point); }} println!(\"alive\"); }}"
    );
    std::fs::write(folder.path().join("main.rs"), main).unwrap();
    // As `cargo build --release` compiles (no debug assertions), and as `cargo test` does.
    for (assertions, survives) in [("no", true), ("yes", false)] {
        let binary = folder.path().join(assertions);
        let options = ["-C", &format!("debug-assertions={assertions}")];
        rustc(&folder.path().join("main.rs"), &binary, &options);
        let mut command = Command::new(&binary);
        command.env("INSYN_CRASH_AT", insyn_engine::failpoint::STORE[1]);
        let run = finish(command);
        assert_eq!(run.stdout == "alive\n", survives, "debug-assertions={assertions}");
    }
}
