//! A backup made while logs grow and are read, everything lost, and put back: nothing is missing and nothing is there twice.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::house::{House, Running, audit_event};

const ANNA: &str = "191212121212";

fn event(n: usize) -> String {
    audit_event(&format!("e{n}"), "2026-03-02T08:00:00+01:00", "SE1-1", ANNA)
}

/// How often each event lies in the lake.
fn events(house: &House) -> BTreeMap<String, u64> {
    let query =
        "SELECT event_id, count(*) AS n FROM access_events WHERE source = 'journal' GROUP BY event_id";
    let rows = house.rows(&["sql", query]);
    rows.iter()
        .map(|row| (row["event_id"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap()))
        .collect()
}

fn lose_everything(house: &House) {
    for folder in ["lake", "spool"] {
        std::fs::remove_dir_all(house.path(folder)).unwrap();
    }
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(house.path(file));
    }
}

#[test]
fn what_was_lost_is_put_back_and_read_on() {
    let house = House::new();
    house.append("insyn.toml", b"\n[api]\nlisten = \"127.0.0.1:0\"\n");
    house.write(
        "context/staff.csv",
        format!("user_id,person_id,name,title,address,postcode,employed_from,employed_to\nSE1-1,{ANNA},Anna Berg,,,,2020-01-01,\n").as_bytes(),
    );
    house.ok(&["context", "load"]);
    house.append("logs/journal/a.ndjson", (0..200).map(event).collect::<String>().as_bytes());
    house.ingest();
    house.ok(&["rules", "run"]);
    house.ok(&["trace", "subject", ANNA, "--limit", "1"]);
    let findings = house.rows(&["findings", "list"]);
    assert!(!findings.is_empty());

    let mut command = house.command(&["serve"]);
    let serve = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut written = 200;
    let grow = |written: &mut usize, to: usize| {
        while *written < to {
            house.append("logs/journal/a.ndjson", event(*written).as_bytes());
            *written += 1;
        }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    grow(&mut written, 250);
    while events(&house).len() < 250 {
        assert!(Instant::now() < deadline, "serve reads nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| house.ok(&["backup", "backup"]));
        while !backup.is_finished() && written < 4000 {
            let next = written + 5;
            grow(&mut written, next);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    serve.kill();
    grow(&mut written, 4100);

    lose_everything(&house);
    house.ok(&["restore", "backup"]);
    let restored = events(&house);
    assert!(restored.len() >= 250 && restored.len() < written, "{}", restored.len());
    assert!(restored.values().all(|n| *n == 1));
    house.ingest();
    let all = events(&house);
    assert_eq!((all.len(), all.values().max()), (written, Some(&1)));
    assert_eq!(house.rows(&["findings", "list"]).len(), findings.len());
    let looks = house.rows(&[
        "sql",
        "--own",
        "SELECT activity FROM access_events WHERE source = 'insyn' AND activity = 'trace subject'",
    ]);
    assert!(looks.len() <= 1, "a look is not doubled");
    assert!(house.run(&["doctor"]).stdout.contains("ok     lake"));
}

#[test]
fn a_backup_that_was_changed_is_not_put_back_and_nothing_is_overwritten() {
    let house = House::new();
    house.append("logs/journal/a.ndjson", event(1).as_bytes());
    house.ingest();
    house.ok(&["backup", "backup"]);
    let refused = |arguments: &[&str], says: &str| {
        let run = house.run(arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    };
    refused(&["backup", "backup"], "is not empty");
    refused(&["restore", "backup"], "is not empty");
    refused(&["restore", "logs"], "is no backup");
    lose_everything(&house);
    let manifest = std::fs::read_to_string(house.path("backup/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let part = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|part| part["path"].as_str().unwrap().ends_with(".parquet"));
    let path = house.path("backup").join(part.unwrap()["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    refused(&["restore", "backup"], "is not what was written");
    assert!(!house.path("lake").exists(), "nothing is put back of it");
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    house.ok(&["restore", "backup"]);
    assert_eq!(events(&house).len(), 1);
    // A manifest that names a file elsewhere reads nothing there.
    lose_everything(&house);
    let text = std::fs::read_to_string(house.path("backup/manifest.json")).unwrap();
    let foreign = text.replacen("\"lake/", "\"../lake/", 1);
    house.write("backup/manifest.json", foreign.as_bytes());
    refused(&["restore", "backup"], "no file of a backup");
}
