//! Wrong settings are mended by command, from what the lake has kept.

use crate::house::{House, finish};

const ROWS: &str = "SELECT event_id, subject_id, file_id, file_offset, ingested_at FROM access_events \
                    WHERE source = 'omsorg' ORDER BY file_offset";

/// Twenty rows and one broken one, read with a wrong column; the file is gone.
fn misread() -> House {
    let house = House::new();
    let right = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    house.write("right.toml", right.as_bytes());
    let wrong = right.replace("subject_id = \"Personnummer\"", "subject_id = \"Enhet\"");
    house.write("insyn.toml", wrong.as_bytes());
    let mut text = String::from("LoggId;Tidpunkt;Användare;Enhet;Åtgärd;Personnummer\n");
    for n in 0..20 {
        text += &format!("{n};2026-03-02 08:00:{n:02};anna;SE1-{n};Läsa;19121212-1212\n");
    }
    text += "20;i morgon;anna;SE1-1;Läsa;19121212-1212\n";
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    house.write("logs/omsorg/a.csv", &bytes);
    let read = house.ingest();
    assert_eq!((&read["events"], &read["quarantined"]), (&20.into(), &1.into()));
    std::fs::remove_file(house.path("logs/omsorg/a.csv")).unwrap();
    house
}

fn mend_settings(house: &House) {
    std::fs::copy(house.path("right.toml"), house.path("insyn.toml")).unwrap();
}

const AGAIN: [&str; 5] = ["ingest", "--again", "omsorg", "--reason", "the columns were mixed up"];

#[test]
fn rows_are_replaced_and_who_did_it_is_kept() {
    let house = misread();
    let before = house.rows(&["sql", ROWS]);
    assert_eq!(before[3]["subject_id"], "SE1-3");
    mend_settings(&house);
    let dry: serde_json::Value =
        serde_json::from_str(&house.ok(&[&AGAIN[..], &["--dry-run", "--json"]].concat())).unwrap();
    assert_eq!(house.rows(&["sql", ROWS]), before, "a dry run changes nothing");
    let done: serde_json::Value =
        serde_json::from_str(&house.ok(&[&AGAIN[..], &["--json"]].concat())).unwrap();
    assert_eq!(done, dry);
    assert_eq!((&done["replaced"], &done["events"], &done["left"]), (&20.into(), &20.into(), &1.into()));
    let after = house.rows(&["sql", ROWS]);
    assert_eq!(before.len(), after.len());
    for (before, mut after) in before.into_iter().zip(after) {
        assert_eq!(after["subject_id"], "191212121212");
        after["subject_id"] = before["subject_id"].clone();
        assert_eq!(after, before, "event_id, file, offset and time of reading are kept");
    }
    let told = house.rows(&["sql", "SELECT kind, amended_by, reason, removed, added FROM amendments"]);
    assert_eq!(told.len(), 1);
    assert!(told[0]["amended_by"].as_str().unwrap().starts_with("os:"));
    assert_eq!((&told[0]["reason"], &told[0]["removed"]), (&"the columns were mixed up".into(), &20.into()));
    // What cannot be read is explained by somebody.
    let open = |house: &House| house.rows(&["sources", "status"])[1]["quarantine_open"].clone();
    assert_eq!(open(&house), 1);
    let doctor = house.run(&["doctor"]);
    assert!(doctor.stdout.contains("1 records in quarantine that nobody has explained"), "{}", doctor.stdout);
    house.ok(&["sources", "explain", "omsorg", "--quarantine", "--reason", "a test of the vendor's"]);
    assert_eq!(open(&house), 0);
    assert_eq!(house.ingest()["events"], 0, "nothing is read twice");
}

#[test]
fn what_is_asked_wrongly_is_refused_and_changes_nothing() {
    let house = misread();
    let before = house.rows(&["sql", ROWS]);
    for (arguments, says) in [
        (vec!["ingest"], "--once"),
        (vec!["ingest", "--once", "--again", "omsorg", "--reason", "x"], "cannot be used with"),
        (vec!["ingest", "--again", "omsorg"], "--reason"),
        (vec!["ingest", "--once", "--from", "2026-01-01"], "--again"),
        (vec!["sources", "explain", "omsorg", "--reason", "x"], "--quarantine"),
    ] {
        let run = house.run(&arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
    for (arguments, says) in [
        (vec!["ingest", "--again", "omsrg", "--reason", "x"], "did you mean \"omsorg\"?"),
        (vec!["ingest", "--again", "omsorg", "--reason", " "], "--reason is empty"),
        (vec!["ingest", "--again", "journal", "--reason", "x"], "nothing of it is stored"),
        (
            vec!["sources", "explain", "omsorg", "--gaps", "--reason", "x"],
            "nothing of what was asked for is open",
        ),
    ] {
        let run = house.run(&arguments);
        assert_ne!(run.code, Some(0), "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
    let other = std::fs::read_to_string(house.path("right.toml")).unwrap().replace("Personnummer", "Patient");
    house.write("insyn.toml", other.as_bytes());
    let run = house.run(&AGAIN);
    assert!(
        run.stderr.contains("no column `Patient`") && run.stderr.contains("nothing was changed"),
        "{}",
        run.stderr
    );
    assert_eq!(house.rows(&["sql", ROWS]), before);
    assert!(house.rows(&["sql", "SELECT * FROM amendments"]).is_empty());
}

#[test]
fn killed_at_any_step_it_is_done_whole_or_not_at_all() {
    for point in insyn_engine::failpoint::AMEND {
        let house = misread();
        mend_settings(&house);
        let mut command = house.command(&AGAIN);
        command.env("INSYN_CRASH_AT", point);
        assert_eq!(finish(command).code, None, "the process lived through {point}");
        let subjects = |house: &House| {
            let rows = house.rows(&["sql", ROWS]);
            assert_eq!(rows.len(), 20, "{point}");
            let right = rows.iter().filter(|row| row["subject_id"] == "191212121212").count();
            assert!(right == 0 || right == 20, "{point}: {right}");
            right
        };
        assert_eq!(subjects(&house), if point == "after-amended-commit" { 20 } else { 0 }, "{point}");
        house.ok(&AGAIN);
        assert_eq!(subjects(&house), 20, "{point}");
        assert_eq!(house.rows(&["sql", "SELECT state FROM quarantine"]).len(), 1, "{point}");
    }
}
