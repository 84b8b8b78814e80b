//! Context tables with their history, by the command: what held in March, what was known when, what contradicts itself.

use std::fs;

use crate::house::{House, audit_event, finish};

const SUBJECTS: &str = "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n";
const STAFF: &str = "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n";
const BO: &str = "197010632391";
const ANNA: &str = "191212121212";

fn subjects(house: &House, rows: &str) {
    house.write("context/subjects.csv", format!("{SUBJECTS}{rows}").as_bytes());
}

fn addresses(house: &House, arguments: &[&str]) -> Vec<String> {
    let query = "SELECT subject_id, address FROM subjects ORDER BY subject_id";
    let rows = house.rows(&[&["sql", query], arguments].concat());
    rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
}

/// The load that is current.
fn current(house: &House) -> String {
    let status = house.rows(&["context", "status"]);
    let load = status.iter().find_map(|table| table["load"].as_str());
    load.expect("something is loaded").to_owned()
}

#[test]
fn what_held_then_and_what_was_known_then_are_asked_for() {
    let house = House::new();
    subjects(&house, &format!("{BO},Bo,Storgatan 1,11122,,,\n"));
    house.ok(&["context", "load", "--exported", "2026-02-01"]);
    let first = current(&house);
    subjects(&house, &format!("{BO},Bo,Lillgatan 2,11133,,,\n"));
    house.ok(&["context", "load", "--exported", "2026-04-01"]);
    assert_eq!(addresses(&house, &[]), ["Lillgatan 2"]);
    assert_eq!(addresses(&house, &["--as-of", "2026-03-15"]), ["Storgatan 1"]);
    assert_eq!(addresses(&house, &["--as-of", "2026-04-01"]), ["Lillgatan 2"]);
    assert_eq!(
        addresses(&house, &["--as-of", "2020-01-01"]),
        ["Storgatan 1"],
        "before the first load it counts"
    );
    assert_eq!(addresses(&house, &["--context-load", &first]), ["Storgatan 1"]);
    assert!(addresses(&house, &["--known-at", "2026-03-15"]).is_empty(), "nothing was loaded yet then");
    let known = house.rows(&[
        "sql",
        "SELECT subject_id, address, valid_from, valid_to FROM subjects_over_time ORDER BY address",
    ]);
    assert_eq!(known[0]["valid_from"], "2026-03-31T22:00:00Z");
    assert_eq!(known[1]["valid_to"], "2026-03-31T21:59:59.999999Z");
    for (wrong, says) in [
        (["--known-at", "i mars"], "--known-at: found \"i mars\", expected RFC 3339"),
        (["--as-of", "i mars"], "--as-of: found \"i mars\", expected RFC 3339"),
        (["--context-load", "x"], "the context load: found none of that name"),
    ] {
        let run = house.run(&[&["sql", "SELECT 1"], &wrong[..]].concat());
        assert!(run.code != Some(0) && run.stderr.contains(says), "{}", run.stderr);
    }
    let run = house.run(&["context", "load", "--exported", "2026-03-01"]);
    assert!(
        run.stderr.contains("expected a time after the load before, which is of 2026-03-31T22:00:00Z"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_trace_is_by_the_accounts_as_they_were_known() {
    let house = House::new();
    let accounts = |user: &str| {
        let rows = format!("source,account_id,user_id,valid_from,valid_to\n,anka01,{user},,\n");
        house.write("context/accounts.csv", rows.as_bytes());
    };
    house.append(
        "logs/journal/a.ndjson",
        audit_event("e1", "2026-03-15T09:00:00+01:00", "anka01", ANNA).as_bytes(),
    );
    house.ingest();
    accounts("SE1-1");
    house.ok(&["context", "load", "--exported", "2026-02-01"]);
    let first = current(&house);
    accounts("SE1-2");
    house.ok(&["context", "load", "--exported", "2026-04-01"]);
    let who = |arguments: &[&str]| {
        let asked = ["trace", "subject", ANNA, "--columns", "actor_id"];
        house.rows(&[&asked, arguments].concat())[0]["actor_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(who(&[]), "SE1-1", "whose it was in March");
    assert_eq!(who(&["--context-load", &first]), "SE1-1");
    assert_eq!(who(&["--known-at", "2026-03-20"]), "anka01", "nobody had said so by then");
    house.ingest();
    let looks =
        house.rows(&["sql", "--own", "SELECT activity_args FROM access_events WHERE source = 'insyn'"]);
    let asked: String = looks.iter().map(|look| look["activity_args"].to_string()).collect();
    assert!(
        asked.contains("(known at 2026-03-20)") && asked.contains(&format!("(by the context load {first})")),
        "{asked}"
    );
}

#[test]
fn what_contradicts_is_told_of_by_lines_and_counted() {
    let house = House::new();
    subjects(&house, &format!("{BO},Bo,A,1,,,\n{BO},Bo,B,1,,,\n"));
    house.write(
        "context/kinship.csv",
        format!("subject_id,related_id,kind,valid_from,valid_to\n{BO},{ANNA},child,,\n").as_bytes(),
    );
    let run = house.run(&["context", "load"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for says in [
        "note: subjects.csv: 1 row that at the same time say something else of the same subject_id (line 3)",
        "note: kinship.csv: 1 row whose related_id is not in subjects or identities (line 2)",
    ] {
        assert!(run.stderr.contains(says), "{says} is missing in: {}", run.stderr);
    }
    assert!(!run.stderr.contains(BO) && !run.stderr.contains(ANNA), "{}", run.stderr);
    let status = house.ok(&["context", "status", "--format", "json"]);
    assert!(!status.contains(BO) && !status.contains(ANNA), "{status}");
    let status = house.rows(&["context", "status"]);
    let of = |name: &str| status.iter().find(|table| table["table"] == name).unwrap().clone();
    assert_eq!((&of("subjects")["contradictions"], &of("units")["contradictions"]), (&1.into(), &0.into()));
    assert_eq!(of("kinship")["contradicting"][0]["lines"][0], 2);
    assert!(of("subjects")["age_seconds"].as_i64().unwrap() < 600);
}

#[test]
fn killed_while_it_loads_the_load_before_stands_and_the_same_again_loads() {
    use insyn_engine::failpoint::{CONTEXT, STORE};
    // A table, the rows that are gone of it, the manifest.
    let puts = STORE.iter().flat_map(|point| (1..=3).map(move |nth| format!("{point}:{nth}")));
    for point in CONTEXT.iter().map(|point| (*point).to_owned()).chain(puts) {
        let house = House::new();
        subjects(&house, &format!("{BO},Bo,Storgatan 1,11122,,,\n"));
        house.ok(&["context", "load", "--exported", "2026-02-01"]);
        subjects(&house, &format!("{BO},Bo,Lillgatan 2,11133,,,\n"));
        let mut command = house.command(&["context", "load", "--exported", "2026-04-01"]);
        command.env("INSYN_CRASH_AT", &point);
        let run = finish(command);
        assert_eq!(run.code, None, "{point}: the process should have crashed: {}", run.stderr);
        let is_there = point == "context-published"
            || ["store-named:3", "store-folder-fsynced:3"].contains(&point.as_str());
        let address = if is_there { "Lillgatan 2" } else { "Storgatan 1" };
        assert_eq!(addresses(&house, &[]), [address], "{point}");
        house.ok(&["context", "load", "--exported", "2026-05-01"]);
        assert_eq!(addresses(&house, &[]), ["Lillgatan 2"], "{point}");
        assert_eq!(addresses(&house, &["--as-of", "2026-03-15"]), ["Storgatan 1"], "{point}");
    }
}

#[test]
fn loads_every_hour_do_not_fill_the_disk() {
    let house = House::new();
    let rows: String =
        (0..500).map(|n| format!("{},Name {n},Street {n},1,,,\n", 190_000_000_000_u64 + n)).collect();
    subjects(&house, &rows);
    house.write("context/staff.csv", format!("{STAFF}SE1-1,{ANNA},Anna,,,,,\n").as_bytes());
    let size = || {
        let folders = ["tables", "history"].map(|folder| house.path("lake/context").join(folder));
        let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    house.ok(&["context", "load"]);
    let one = size();
    for _ in 0..3 {
        house.ok(&["context", "load"]);
    }
    assert_eq!(size(), one);
}
