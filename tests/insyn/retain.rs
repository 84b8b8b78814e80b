//! What is past its time goes when somebody has decided it: from the lake, its log, the findings, the spool, and from a
//! backup that is put back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::json::LineDelimitedWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::house::{House, Running, audit_event, finish};

/// Staff who look at themselves: the rules find that.
const ANNA: &str = "191212121212";
const OLD: usize = 20;

/// Persons whose records were opened seven years ago, and lately.
fn person(n: usize, old: bool) -> String {
    format!("19{}{n:04}", if old { "500101" } else { "600101" })
}

fn old_persons() -> Vec<String> {
    (0..OLD).map(|n| person(n, true)).chain([ANNA.to_owned()]).collect()
}

/// Old and young accesses, a finding about an old one, an old look of Insyn's own.
fn world() -> House {
    let house = House::new();
    house.append("insyn.toml", b"\n[api]\nlisten = \"127.0.0.1:0\"\n[retention]\nlongest_years = 6\n");
    let staff = "user_id,person_id,name,title,address,postcode,employed_from,employed_to\n";
    house.write("context/staff.csv", format!("{staff}SE1-1,{ANNA},Anna Berg,,,,2010-01-01,\n").as_bytes());
    house.ok(&["context", "load"]);
    let mut lines = String::new();
    for n in 0..OLD {
        let at = format!("2019-03-{:02}T08:00:00+01:00", n % 28 + 1);
        lines += &audit_event(&format!("old{n}"), &at, "SE1-2", &person(n, true));
    }
    lines += &audit_event("own", "2019-04-02T08:00:00+01:00", "SE1-1", ANNA);
    house.append("logs/journal/a.ndjson", lines.as_bytes());
    house.ingest();
    let young = |n| {
        audit_event(
            &format!("young{n}"),
            "2026-03-02T08:00:00+01:00",
            "SE1-2",
            &person(n, n % 5 == 0 && n > 0),
        )
    };
    house.append("logs/journal/a.ndjson", (0..OLD / 2).map(young).collect::<String>().as_bytes());
    let look = audit_event("look", "2019-05-02T08:00:00+01:00", "os:root", &person(1, true));
    house.write("spool/insyn/own-2019-05-02.ndjson", look.as_bytes());
    house.ingest();
    house.ok(&["rules", "run", "--from", "2019-01-01", "--to", "2019-12-31"]);
    // Nobody of old is in the tables of today; what they said then is long superseded.
    for load in fs::read_dir(house.path("lake/context")).unwrap() {
        let manifest = load.unwrap().path().join("manifest.json");
        if let Ok(text) = fs::read(&manifest) {
            let mut text: serde_json::Value = serde_json::from_slice(&text).unwrap();
            text["loaded_at"] = 1_400_000_000_000_000_i64.into();
            fs::write(&manifest, text.to_string()).unwrap();
        }
    }
    house.write("context/staff.csv", format!("{staff}SE1-2,,Bo Ek,,,,2010-01-01,\n").as_bytes());
    house.ok(&["context", "load", "--exported", "2014-06-01"]);
    house
}

const DECIDE: [&str; 10] = [
    "retain",
    "decide",
    "--authority",
    "Regionarkivet",
    "--number",
    "2026-14",
    "--date",
    "2026-11-02",
    "--after-years",
    "5",
];

/// Rows of `access_events`, by source.
fn rows_of(house: &House, source: &str) -> usize {
    let query = format!("SELECT event_id FROM access_events WHERE source = '{source}'");
    house.rows(&["sql", "--own", &query]).len()
}

fn findings(house: &House) -> usize {
    house.rows(&["sql", "SELECT finding_id FROM findings"]).len()
}

/// Those of `ids` that stand somewhere in what is Insyn's.
fn named(house: &House, ids: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for place in ["lake", "spool", "state.db", "state.db-wal", "retention.json"] {
        let path = house.path(place);
        if path.exists() {
            search(&path, ids, &mut found);
        }
    }
    found
}

fn search(path: &Path, ids: &[String], found: &mut BTreeSet<String>) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| search(&entry.unwrap().path(), ids, found));
        return;
    }
    // Whole pages of the database, free ones among them; entries of the log; lines of the spool.
    let mut text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    if path.extension().is_some_and(|ending| ending == "parquet") {
        let file = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        text += &format!("{:?}", file.metadata());
        for batch in file.build().unwrap() {
            let batch = batch.unwrap();
            for column in batch.columns().iter().filter_map(|column| column.as_binary_opt::<i32>()) {
                column.iter().flatten().for_each(|bytes| text += &String::from_utf8_lossy(bytes));
            }
            let mut lines = LineDelimitedWriter::new(Vec::new());
            lines.write(&batch).unwrap();
            text += &String::from_utf8(lines.into_inner()).unwrap();
        }
    }
    found.extend(ids.iter().filter(|id| text.contains(id.as_str())).cloned());
}

/// Who is only in accesses of old.
fn gone() -> Vec<String> {
    old_persons().into_iter().filter(|id| *id != person(5, true)).collect()
}

#[test]
fn nothing_goes_before_it_is_decided_and_then_what_is_past_its_time() {
    let house = world();
    let run = house.run(&["retain"]);
    assert!(run.stderr.contains("0 rows, 0 findings"), "{}", run.stderr);
    assert!(run.stderr.contains("22 rows are past their longest time"), "{}", run.stderr);
    let doctor = house.run(&["doctor"]).stdout;
    assert!(doctor.contains("look   retention: 22 rows are past their longest time"), "{doctor}");

    let id = house.ok(&DECIDE).trim().to_owned();
    let held = person(7, true);
    let hold = house.ok(&["retain", "hold", "--subject", &held, "--reason", "anmälan 7"]).trim().to_owned();
    let shares = house.rows(&["retain", "--dry-run"]);
    let told: Vec<_> =
        shares.iter().map(|s| (s["source"].as_str().unwrap(), s["rows"].as_u64().unwrap())).collect();
    assert_eq!(told, [("insyn", 1), ("journal", OLD as u64)]);
    assert_eq!((&shares[1]["held"], &shares[1]["year"]), (&1.into(), &"2019".into()));
    assert_eq!(shares[1]["grounds"][0], "Regionarkivet 2026-14, 2026-11-02");
    assert_eq!(shares[1]["oldest"], "2019-03-01T07:00:00Z");
    assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD + 1 + OLD / 2, 1));

    assert_eq!(house.rows(&["retain"]), shares);
    assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD / 2 + 1, 0));
    let told =
        house.rows(&["sql", "SELECT kind, removed, reason, amended_by FROM amendments ORDER BY source"]);
    assert_eq!(told.len(), 2);
    assert_eq!((&told[1]["kind"], &told[1]["removed"]), (&"retained".into(), &OLD.into()));
    assert_eq!(told[1]["reason"], "Regionarkivet 2026-14, 2026-11-02");
    house.ingest();
    let looks =
        "SELECT purpose, activity_args FROM access_events WHERE source = 'insyn' AND activity = 'retain'";
    let looks = house.rows(&["sql", "--own", looks]);
    assert_eq!((looks.len(), &looks[0]["purpose"]), (1, &"Regionarkivet 2026-14, 2026-11-02".into()));
    // Reading again what is kept brings nothing back, and invents nothing between what is left.
    house.ok(&["ingest", "--again", "journal", "--reason", "a test"]);
    assert_eq!(rows_of(&house, "journal"), OLD / 2 + 1);

    let decisions = house.rows(&["retain", "decisions"]);
    assert_eq!((&decisions[0]["id"], &decisions[0]["after_years"]), (&id.as_str().into(), &5.into()));
    assert_eq!(house.rows(&["retain", "holds"])[0]["subjects"][0], held.as_str());
    house.ok(&["retain", "withdraw", &id, "--reason", "mistaken"]);
    house.ok(&["retain", "release", &hold, "--reason", "decided"]);
    let holds = house.rows(&["retain", "holds"]);
    assert_eq!(
        (&holds[0]["released_why"], &holds[0]["subjects"]),
        (&"decided".into(), &serde_json::json!([]))
    );
    house.ok(&["retain"]);
    assert_eq!(rows_of(&house, "journal"), OLD / 2 + 1, "no decision is in force");
    house.ok(&DECIDE);
    house.ok(&["retain"]);
    assert_eq!(rows_of(&house, "journal"), OLD / 2);
}

#[test]
fn no_file_names_who_is_gone() {
    let house = world();
    let ids = gone();
    assert_eq!(named(&house, &ids).len(), ids.len());
    house.ok(&DECIDE);
    house.ok(&["retain"]);
    assert_eq!(named(&house, &ids), BTreeSet::new());
    assert_eq!(named(&house, &[person(5, true)]).len(), 1, "whose record was opened lately as well");
    assert!(!house.path("spool/insyn/own-2019-05-02.ndjson").exists());
    let loads = fs::read_dir(house.path("lake/context")).unwrap();
    assert_eq!(loads.filter(|load| load.as_ref().unwrap().path().join("manifest.json").exists()).count(), 1);
    house.ingest();
    assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD / 2, 0));
    assert!(house.run(&["doctor"]).stdout.contains("ok     retention"));
    house.ok(&["compact"]);
    assert_eq!(rows_of(&house, "journal"), OLD / 2);
}

#[test]
fn killed_at_any_step_the_same_again_does_the_rest() {
    use insyn_engine::failpoint::{PURGE, RETAIN};
    // There are no items whose time is over: those steps are the engine's own tests'.
    let without_items = RETAIN.iter().filter(|point| !point.contains("items"));
    for point in without_items.chain(&PURGE) {
        let house = world();
        house.ok(&DECIDE);
        let mut command = house.command(&["retain"]);
        command.env("INSYN_CRASH_AT", point);
        assert_eq!(finish(command).code, None, "the process lived through {point}");
        let left = rows_of(&house, "journal");
        assert!([OLD / 2, OLD / 2 + OLD + 1].contains(&left), "{point}: {left}");
        house.ok(&["retain"]);
        assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD / 2, 0), "{point}");
        assert_eq!(named(&house, &gone()), BTreeSet::new(), "{point}");
    }
}

#[test]
fn beside_a_process_that_serves_the_rows_go_at_once_and_their_bytes_afterwards() {
    let house = world();
    house.ok(&DECIDE);
    let mut command = house.command(&["serve"]);
    let serve = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // It reads what is new: then it has the lake open.
    let fresh = audit_event("fresh", "2026-03-03T08:00:00+01:00", "SE1-2", &person(1, false));
    house.append("logs/journal/a.ndjson", fresh.as_bytes());
    let deadline = Instant::now() + Duration::from_secs(60);
    while rows_of(&house, "journal") < OLD + 2 + OLD / 2 {
        assert!(Instant::now() < deadline, "serve reads nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    let run = house.run(&["retain", "--wait", "0"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("run again") || run.stderr.contains("is run again"), "{}", run.stderr);
    assert_eq!(rows_of(&house, "journal"), OLD / 2 + 1);
    assert!(!named(&house, &gone()).is_empty());
    assert!(house.run(&["doctor"]).stdout.contains("files still hold what was removed"));
    serve.kill();
    house.ok(&["retain"]);
    assert_eq!(named(&house, &gone()), BTreeSet::new());
    assert_eq!(rows_of(&house, "journal"), OLD / 2 + 1);
}

fn lose_everything(house: &House) {
    for folder in ["lake", "spool"] {
        fs::remove_dir_all(house.path(folder)).unwrap();
    }
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(house.path(file));
    }
}

#[test]
fn a_backup_that_is_put_back_removes_again_before_it_answers() {
    use insyn_engine::failpoint::RESTORE;
    let house = world();
    house.ok(&["backup", "backup"]);
    // Decided and held after the backup was made.
    house.ok(&DECIDE);
    let held = person(7, true);
    house.ok(&["retain", "hold", "--subject", &held, "--reason", "anmälan 7"]);
    house.ok(&["retain"]);
    // While somebody is held, what was known of anybody then stays as well.
    let ids: Vec<String> = gone().into_iter().filter(|id| *id != held && *id != ANNA).collect();
    let is_without = |house: &House| {
        assert_eq!((rows_of(house, "journal"), findings(house)), (OLD / 2 + 1, 0));
        assert_eq!(named(house, &ids), BTreeSet::new());
        assert_eq!(named(house, std::slice::from_ref(&held)).len(), 1);
    };
    is_without(&house);
    lose_everything(&house);
    for point in RESTORE {
        let mut command = house.command(&["restore", "backup"]);
        command.env("INSYN_CRASH_AT", point);
        assert_eq!(finish(command).code, None, "the process lived through {point}");
        let run = house.run(&["sql", "SELECT count(*) FROM access_events"]);
        assert_eq!(run.code, Some(1), "{point}: it must not answer");
        assert!(run.stderr.contains("run `insyn restore` again"), "{}", run.stderr);
    }
    let run = house.run(&["restore", "backup"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("without 21 rows that were removed"), "{}", run.stderr);
    is_without(&house);
    assert_eq!(house.rows(&["retain", "decisions"]).len(), 1, "what was decided since is known again");
    house.ingest();
    is_without(&house);
    house.ok(&["retain"]);
    is_without(&house);
}

#[test]
fn without_the_record_a_backup_goes_by_its_own_decisions() {
    let house = world();
    house.ok(&DECIDE);
    house.ok(&["backup", "backup"]);
    house.ok(&["retain"]);
    lose_everything(&house);
    fs::remove_file(house.path("retention.json")).unwrap();
    let run = house.run(&["restore", "backup"]);
    assert!(run.stderr.contains("is taken from its decisions"), "{}", run.stderr);
    assert_eq!(rows_of(&house, "journal"), OLD / 2);
    assert_eq!(named(&house, &gone()), BTreeSet::new());
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let house = world();
    let refused = |arguments: &[&str], code: i32, says: &str| {
        let run = house.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    };
    let without_when = &DECIDE[..8];
    refused(without_when, 2, "--after-years");
    refused(&[&DECIDE[..], &["--source", "jornal"]].concat(), 2, "did you mean \"journal\"?");
    refused(&[&DECIDE[..], &["--legal-area", "x"]].concat(), 2, "expected one of health-care");
    refused(&[without_when, &["--before", "i fjol"]].concat(), 1, "expected a date as 2026-11-21");
    refused(&["retain", "hold", "--reason", "x"], 1, "at least one subject, user or case");
    refused(&["retain", "hold", "--subject", ANNA, "--reason", " "], 1, "--reason is empty");
    refused(&["retain", "release", "x", "--reason", "x"], 1, "no such hold in force");
    refused(&["retain", "withdraw", "x", "--reason", "x"], 1, "no such decision in force");
    house.append("insyn.toml", b"[[retention.rule]]\nsource = \"journal\"\nshortest_years = 2\n");
    refused(&["retain"], 2, "key `retention.rule.shortest_years`: found 2, expected at least 5");
}

#[test]
fn a_decision_covers_what_it_names_and_younger_accesses_never_go() {
    let house = world();
    house.append("insyn.toml", b"[[retention.rule]]\nsource = \"journal\"\nshortest_years = 50\n");
    house.ok(&DECIDE);
    house.ok(&[&DECIDE[..8], &["--before", "2030-01-01", "--source", "journal"]].concat());
    assert_eq!(house.rows(&["retain"]).len(), 1, "own looks only");
    assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD + 1 + OLD / 2, 1));
    let config = fs::read_to_string(house.path("insyn.toml")).unwrap();
    house.write("insyn.toml", config.replace("shortest_years = 50", "shortest_years = 5").as_bytes());
    house.ok(&["retain", "hold", "--user", "se1-2", "--reason", "x"]);
    house.ok(&["retain"]);
    assert_eq!((rows_of(&house, "journal"), findings(&house)), (OLD + OLD / 2, 0), "all but Anna's own look");
}

#[test]
fn an_old_log_that_comes_once_more_is_told_and_goes_once_more() {
    let house = world();
    house.ok(&DECIDE);
    house.ok(&["retain"]);
    let left = rows_of(&house, "journal");
    let doctor = house.run(&["doctor"]).stdout;
    assert!(!doctor.contains("rows may go"), "{doctor}");
    // Somebody finds the archive: the same accesses, in a file that begins otherwise.
    let mut lines = audit_event("new", "2026-03-03T08:00:00+01:00", "SE1-2", &person(0, false));
    lines += &audit_event("old0", "2019-03-01T08:00:00+01:00", "SE1-2", &person(0, true));
    house.write("logs/journal/archive.ndjson", lines.as_bytes());
    assert_eq!(house.ingest()["events"], 2);
    assert_eq!(rows_of(&house, "journal"), left + 2);
    let doctor = house.run(&["doctor"]).stdout;
    assert!(doctor.contains("look   retention: 1 rows may go (insyn retain)"), "{doctor}");
    house.ok(&["retain"]);
    assert_eq!(rows_of(&house, "journal"), left + 1);
    fs::remove_file(house.path("logs/journal/archive.ndjson")).unwrap();
    fs::remove_file(house.path("logs/journal/a.ndjson")).unwrap();
    assert_eq!(named(&house, &[person(0, true)]), BTreeSet::new());
}
