//! A disk that fails: reads and writes that do a part of what they were asked for, errors of reading, writing and
//! fsync, a disk that gets full. Whatever a run met, the next one on a sound disk has exactly what was written.

use std::path::PathBuf;

use crate::house::{House, audit_event, checkout, finish, rustc};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const LINES: usize = 60;
/// More calls of one kind than a run makes here: some twenty.
const MOST_CALLS: usize = 60;

/// What is wrong with the disk during one run.
struct Fault {
    under: &'static str,
    call: &'static str,
    how: String,
    nth: usize,
}

#[test]
fn parts_of_what_was_asked_for_make_the_whole() {
    let shim = Shim::build();
    for (under, call) in [("logs", "read"), ("lake", "read"), ("lake", "write")] {
        let house = house();
        let fault = Fault { under, call, how: "short".into(), nth: 1 };
        assert!(shim.ingests(&house, &fault).is_some_and(|code| code == 0), "{call} {under}");
        exactly_what_was_written(&house, &format!("{call} {under}"));
    }
}

#[test]
fn an_error_of_the_disk_at_any_call_loses_nothing_and_doubles_nothing() {
    let shim = Shim::build();
    for (under, call, how) in [
        ("logs", "read", format!("once:{EIO}")),
        ("lake", "write", format!("once:{EIO}")),
        ("lake", "write", format!("from:{ENOSPC}")),
        ("lake", "sync", format!("once:{EIO}")),
    ] {
        let mut failed = 0;
        for nth in 1..=MOST_CALLS {
            let house = house();
            let fault = Fault { under, call, how: how.clone(), nth };
            let Some(code) = shim.ingests(&house, &fault) else { break };
            assert!(nth < MOST_CALLS, "{call} {under}: more calls than are looked at");
            failed += usize::from(code == 1);
            exactly_what_was_written(&house, &format!("{call} {under} {how} at {nth}"));
        }
        assert!(failed > 2, "{call} {under} {how}: the disk's errors were never told ({failed})");
    }
}

fn house() -> House {
    let house = House::new();
    let lines: String = (0..LINES)
        .map(|n| {
            audit_event(&format!("e{n}"), &format!("2026-03-02T08:00:{n:02}+01:00"), "SE1-1", "191212121212")
        })
        .collect();
    house.write("logs/journal/a.ndjson", format!("{lines}this line is no JSON\n").as_bytes());
    house
}

#[track_caller]
fn exactly_what_was_written(house: &House, what: &str) {
    house.ingest();
    let rows = house.rows(&[
        "sql",
        "SELECT count(*) AS events, count(DISTINCT event_id) AS ids, (SELECT count(*) FROM quarantine) AS broken \
         FROM access_events WHERE source = 'journal'",
    ]);
    assert_eq!(rows[0], serde_json::json!({"events": LINES, "ids": LINES, "broken": 1}), "{what}");
}

/// The library that fails calls, built once a test.
struct Shim {
    folder: tempfile::TempDir,
}

impl Shim {
    fn build() -> Shim {
        let shim = Shim { folder: tempfile::tempdir().expect("a temporary folder") };
        let source = checkout().join("tests/insyn/faulty/shim.rs");
        rustc(&source, &shim.library(), &["--crate-type", "cdylib", "-D", "warnings"]);
        shim
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("libfaulty.so")
    }

    /// Ingests with the fault; gives the exit status, or `None` if the fault's call was never made.
    fn ingests(&self, house: &House, fault: &Fault) -> Option<i32> {
        let fired = house.path("fired");
        let mut command = house.command(&["ingest", "--once"]);
        command
            .env("LD_PRELOAD", self.library())
            .env("FAULTY_UNDER", house.path(fault.under))
            .env("FAULTY_CALL", fault.call)
            .env("FAULTY_HOW", &fault.how)
            .env("FAULTY_NTH", fault.nth.to_string())
            .env("FAULTY_FIRED", &fired);
        let run = finish(command);
        let Fault { under, call, how, nth } = fault;
        let what = format!("{call} {under} {how} at {nth}: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{what}");
        let code = run.code.unwrap_or_else(|| panic!("killed: {what}"));
        assert!(code == 0 || code == 1, "{code}: {what}");
        assert!(code == 0 || !run.stderr.trim().is_empty(), "it failed and did not say why: {what}");
        fired.exists().then_some(code)
    }
}
