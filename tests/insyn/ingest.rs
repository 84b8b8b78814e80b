//! `insyn ingest --once`: what was written is in the lake, once.

use crate::house::{House, audit_event};

const ANNA: &str = "191212121212";

fn journal(house: &House, from: u32, to: u32) {
    let lines: String = (from..to)
        .map(|n| {
            audit_event(&format!("e{n:05}"), &format!("2026-03-02T08:{:02}:00+01:00", n % 60), "SE1-1", ANNA)
        })
        .collect();
    house.append("logs/journal/2026-03-02.ndjson", lines.as_bytes());
}

#[test]
fn a_second_run_adds_nothing_and_new_lines_are_added_once() {
    let house = House::new();
    journal(&house, 0, 100);
    assert_eq!(house.ingest()["events"], 100);
    assert_eq!(house.ingest()["events"], 0);
    journal(&house, 100, 130);
    let report = house.ingest();
    assert_eq!(report["events"], 30);
    assert_eq!(report["sources"][0]["name"], "journal");
    let rows =
        house.rows(&["sql", "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM access_events"]);
    assert_eq!(rows[0]["n"], 130);
    assert_eq!(rows[0]["ids"], 130);
}

#[test]
fn identical_lines_are_evidence_and_all_are_kept() {
    let house = House::new();
    let line = audit_event("same", "2026-03-02T08:00:00+01:00", "SE1-1", ANNA);
    house.append("logs/journal/a.ndjson", line.repeat(3).as_bytes());
    assert_eq!(house.ingest()["events"], 3);
    assert_eq!(house.ingest()["events"], 0);
}

#[test]
fn a_renamed_and_compressed_file_is_the_same_file() {
    let house = House::new();
    journal(&house, 0, 50);
    assert_eq!(house.ingest()["events"], 50);
    journal(&house, 50, 60);
    std::fs::rename(
        house.path("logs/journal/2026-03-02.ndjson"),
        house.path("logs/journal/2026-03-02.ndjson.1"),
    )
    .unwrap();
    let gzip = std::process::Command::new("gzip")
        .arg(house.path("logs/journal/2026-03-02.ndjson.1"))
        .status()
        .unwrap();
    assert!(gzip.success());
    assert_eq!(house.ingest()["events"], 10, "only what the plain file had not shown yet");
    assert_eq!(house.ingest()["events"], 0);
}

#[test]
fn what_cannot_be_read_goes_to_quarantine_with_its_place_and_the_rest_goes_on() {
    let house = House::new();
    journal(&house, 0, 2);
    house.append("logs/journal/2026-03-02.ndjson", b"{\"resourceType\":\"AuditEvent\",\"id\":\"broken\",\n");
    journal(&house, 2, 4);
    let report = house.ingest();
    assert_eq!((&report["events"], &report["quarantined"]), (&4.into(), &1.into()));
    let rows = house.rows(&["sql", "SELECT source, file_offset, reason FROM quarantine"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["source"], "journal");
    assert!(rows[0]["file_offset"].as_i64().unwrap() > 0);
    assert!(!rows[0]["reason"].as_str().unwrap().is_empty());
    assert_eq!(house.ingest()["quarantined"], 0);
}

#[test]
fn a_reason_names_column_and_fault_and_never_the_value() {
    let house = House::new();
    let bytes = encoding(
        "LoggId;Tidpunkt;Användare;Enhet;Åtgärd;Personnummer\n\
         1;2026-03-02 08:00:00;anna.berg;Äldreboende Åsen;Läsa;19121212-1212\n\
         2;i går kväll;anna.berg;Äldreboende Åsen;Läsa;19121212-1212\n",
    );
    house.write("logs/omsorg/2026-03-02.csv", &bytes);
    let report = house.ingest();
    assert_eq!((&report["events"], &report["quarantined"]), (&1.into(), &1.into()));
    let reason =
        house.rows(&["sql", "SELECT reason FROM quarantine"])[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("occurred_at") || reason.contains("Tidpunkt"), "{reason}");
    assert!(!reason.contains("går") && !reason.contains("1212"), "{reason}");
    let rows = house.rows(&["trace", "subject", "121212-1212"]);
    assert_eq!(rows.len(), 0, "in 2026 the short form means a person born in 2012");
    let rows = house.rows(&["trace", "subject", "19121212-1212"]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["care_unit_id"], "Äldreboende Åsen");
    assert_eq!(rows[0]["occurred_at"], "2026-03-02T07:00:00Z");
    assert_eq!(rows[0]["action"], "R");
}

/// windows-1252, as the systems of social services write.
fn encoding(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character of Latin-1")).collect()
}

#[test]
fn a_line_that_is_still_being_written_waits_for_its_end() {
    let house = House::new();
    house.write(
        "logs/omsorg/a.csv",
        &encoding("LoggId;Tidpunkt;Användare;Enhet;Åtgärd;Personnummer\n1;2026-03-02 08:00:00;a;E;Läsa;19121212-1212\n2;2026-03-02 08:0"),
    );
    assert_eq!(house.ingest()["events"], 1);
    house.append("logs/omsorg/a.csv", &encoding("1:00;a;E;Läsa;19121212-1212\n"));
    assert_eq!(house.ingest()["events"], 1);
    let rows = house.rows(&["sql", "SELECT count(*) AS n FROM quarantine"]);
    assert_eq!(rows[0]["n"], 0);
}
