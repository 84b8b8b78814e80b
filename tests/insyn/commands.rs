//! Each command with good input, with none and with bad.

use crate::house::{House, audit_event, finish, insyn};

const ANNA: &str = "191212121212";

fn house_with_three_looks() -> House {
    let house = House::new();
    for (id, at, user) in [
        ("e1", "2026-03-02T08:00:00+01:00", "SE1-1"),
        ("e2", "2026-03-02T08:10:00+01:00", "SE1-1"),
        ("e3", "2026-03-05T23:30:00+01:00", "SE1-2"),
    ] {
        house.append("logs/journal/a.ndjson", audit_event(id, at, user, ANNA).as_bytes());
    }
    assert_eq!(house.ingest()["events"], 3);
    house
}

#[test]
fn a_record_is_traced_in_every_form_of_its_number_and_in_every_format() {
    let house = house_with_three_looks();
    for form in ["191212121212", "19121212-1212", "121212+1212"] {
        assert_eq!(house.rows(&["trace", "subject", form]).len(), 3, "{form}");
    }
    let ndjson =
        house.ok(&["trace", "subject", ANNA, "--format", "ndjson", "--columns", "event_id,occurred_at"]);
    assert_eq!(ndjson.lines().next().unwrap(), r#"{"event_id":"e1","occurred_at":"2026-03-02T07:00:00Z"}"#);
    let csv = house.ok(&["trace", "subject", ANNA, "--format", "csv", "--columns", "event_id,occurred_at"]);
    assert_eq!(csv.lines().nth(1).unwrap(), "e1,2026-03-02T07:00:00Z");
    let table =
        house.ok(&["trace", "subject", ANNA, "--format", "table", "--columns", "event_id,occurred_at"]);
    assert!(table.contains("2026-03-02 08:00:00"), "a table shows local time:\n{table}");
    assert_eq!(house.ok(&["trace", "subject", ANNA]).lines().count(), 3, "NDJSON when stdout is no terminal");
}

#[test]
fn a_trace_says_why_of_each_row() {
    let house = house_with_three_looks();
    let why = |more: &[&str]| house.rows(&[&["trace", "subject", ANNA, "--why"], more].concat());
    assert!(why(&[]).iter().all(|row| row["standing"].is_null()), "nothing is loaded that could tell");
    house.write(
        "context/care_relations.csv",
        format!(
            "subject_id,care_unit_id,user_id,kind,valid_from,valid_to\n{ANNA},,SE1-1,visit,2026-03-02,2026-03-02\n\
             {ANNA},E1,,visit,2025-03-05,2025-03-05\n"
        )
        .as_bytes(),
    );
    house.ok(&["context", "load"]);
    let rows = why(&["--columns", "event_id"]);
    let standing: Vec<&serde_json::Value> = rows.iter().map(|row| &row["standing"]).collect();
    assert_eq!(standing[..2], [&serde_json::json!("explained"); 2], "{rows:?}");
    assert!(
        rows[0]["why_en"].as_str().unwrap().len() > 5 && rows[0]["why_sv"] != rows[0]["why_en"],
        "{rows:?}"
    );
    assert!(rows[2]["why_en"].is_null(), "{rows:?}");
    assert!(rows[0].get("segment").is_none(), "what was not asked for is not shown");
}

#[test]
fn periods_and_limits_hold() {
    let house = house_with_three_looks();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let rows = house.rows(&[&["trace", "subject", ANNA], arguments].concat());
        rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--from", "2026-03-03"]), ["e3"]);
    assert_eq!(ids(&["--from", "2026-03-05", "--to", "2026-03-05"]), ["e3"], "a date is a whole local day");
    assert_eq!(ids(&["--to", "2026-03-02T07:10:00Z"]), ["e1"], "the end is not included");
    assert_eq!(ids(&["--limit", "2"]), ["e1", "e2"]);
    let users = house.rows(&["trace", "user", "SE1-2"]);
    assert_eq!(users.len(), 1);
    let days = house.rows(&["trace", "user", "SE1-2", "--by", "day"]);
    assert_eq!(days.len(), 1);
    assert_eq!((&days[0]["subject_id"], &days[0]["n"]), (&ANNA.into(), &1.into()));
    assert_eq!(days[0]["first"], users[0]["occurred_at"]);
    house.ok(&["compact"]);
    assert_eq!(
        house.rows(&["trace", "user", "SE1-2", "--by", "day"]),
        days,
        "by user_accesses as without it"
    );
    assert_eq!(house.rows(&["trace", "user", "SE1-2", "--limit", "5"]), users);
    assert_eq!(house.run(&["trace", "user", "SE1-2", "--by", "day", "--gap", "5"]).code, Some(2));
    assert_eq!(house.rows(&["trace", "event", "e2", "--source", "journal"]).len(), 1);
    assert_eq!(house.rows(&["trace", "event", "e2", "--source", "omsorg"]).len(), 0);
    assert_eq!(house.rows(&["trace", "visit", "e2"]).len(), 2);
    assert_eq!(
        house.rows(&["trace", "visit", "e2", "--gap", "10"]).len(),
        1,
        "ten minutes are not under ten"
    );
    assert_eq!(house.rows(&["trace", "session", "none"]).len(), 0);
    assert_eq!(house.rows(&["trace", "unit", "none"]).len(), 0);
}

#[test]
fn the_people_who_looked_in_both_records_are_found() {
    let house = house_with_three_looks();
    let bo = "201212121212";
    assert!(house.rows(&["trace", "both", ANNA, bo]).is_empty());
    house.append(
        "logs/journal/a.ndjson",
        audit_event("e4", "2026-03-09T09:00:00+01:00", "SE1-1", bo).as_bytes(),
    );
    // The same id again, from another place in the log.
    house.append(
        "logs/journal/a.ndjson",
        audit_event("e1", "2026-03-09T10:00:00+01:00", "SE1-3", bo).as_bytes(),
    );
    house.ingest();
    let run = house.run(&[
        "trace",
        "both",
        "19121212-1212",
        bo,
        "--format",
        "csv",
        "--columns",
        "event_id,user_id",
    ]);
    assert_eq!(
        run.stdout.lines().collect::<Vec<_>>(),
        ["event_id,user_id", "e1,SE1-1", "e2,SE1-1", "e4,SE1-1"],
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("3 rows in 2 visits, 1 persons"), "{}", run.stderr);
    let run = house.run(&["trace", "subject", bo]);
    assert!(!run.stderr.contains("repeat"), "{}", run.stderr);
    let run = house.run(&[
        "sql",
        "SELECT count(*) AS n FROM access_events WHERE event_id = 'e1' AND source = 'journal'",
    ]);
    assert!(run.stdout.contains("2"), "{}", run.stdout);
}

#[test]
fn whoever_looks_by_command_is_seen() {
    let house = house_with_three_looks();
    house.ok(&["trace", "subject", ANNA, "--reason", "anmälan 7"]);
    house.ingest();
    assert_eq!(house.rows(&["trace", "subject", ANNA]).len(), 3, "own looks are left out unless asked for");
    house.ingest();
    let rows = house.rows(&["trace", "subject", ANNA, "--own"]);
    let own: Vec<_> = rows.iter().filter(|row| row["source"] == "insyn").collect();
    assert_eq!(own.len(), 2);
    assert_eq!(own[0]["subject_id"], ANNA);
    assert!(own[0]["user_id"].as_str().unwrap().starts_with("os:"));
    assert!(own[0].to_string().contains("anmälan 7"), "the reason is kept: {}", own[0]);
}

#[test]
fn showing_personal_data_by_command_can_be_switched_off() {
    let house = house_with_three_looks();
    house.append("insyn.toml", b"\n[commands]\npersonal_data = false\n");
    for arguments in [
        vec!["trace", "subject", ANNA],
        vec!["sql", "SELECT subject_id FROM access_events"],
        vec!["findings", "list"],
    ] {
        let run = house.run(&arguments);
        assert_eq!(run.code, Some(1), "{arguments:?}");
        assert!(run.stdout.is_empty() && run.stderr.contains("personal_data"), "{}", run.stderr);
    }
    assert!(!house.ok(&["sources", "status"]).is_empty());
}

#[test]
fn sql_reads_and_only_reads() {
    let house = house_with_three_looks();
    let rows = house
        .rows(&["sql", "SELECT user_id, count(*) AS n FROM access_events GROUP BY user_id ORDER BY user_id"]);
    assert_eq!((&rows[0]["user_id"], &rows[0]["n"]), (&"SE1-1".into(), &2.into()));
    for query in [
        "DROP TABLE access_events",
        "COPY access_events TO 'x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT 1; SELECT 2",
        "SELECT repeat('x', 1000000000)",
    ] {
        let run = house.run(&["sql", query]);
        assert_eq!(run.code, Some(1), "{query}: {}", run.stdout);
        assert!(run.stdout.is_empty() && run.stderr.lines().count() == 1, "{query}: {}", run.stderr);
    }
    let run = house.run(&["sql", "SELECT user_idd FROM access_events"]);
    assert!(run.stderr.contains("user_id"), "the nearest name is offered: {}", run.stderr);
}

#[test]
fn sources_tell_how_far_they_are_read() {
    let house = house_with_three_looks();
    house.append(
        "logs/journal/a.ndjson",
        audit_event("e4", "2026-03-06T08:00:00+01:00", "SE1-1", ANNA).as_bytes(),
    );
    let table = house.ok(&["sources", "status", "--format", "csv"]);
    assert!(
        table.starts_with("name,format,files,bytes_behind,seconds_behind,events,quarantined,gaps,"),
        "{table}"
    );
    let rows = house.rows(&["sources", "status"]);
    let journal = rows.iter().find(|row| row["name"] == "journal").unwrap();
    assert_eq!(journal["events"], 3);
    assert_eq!(journal["last_event"], "2026-03-05T22:30:00Z");
    assert!(journal["bytes_behind"].as_i64().unwrap() > 0);
    house.ingest();
    let rows = house.rows(&["sources", "status"]);
    assert_eq!(rows.iter().find(|row| row["name"] == "journal").unwrap()["bytes_behind"], 0);
    // The same by SQL, beside everything else that can be asked.
    let query = "SELECT source, state, events, gaps_open, missing_numbers FROM source_health ORDER BY source";
    let rows = house.rows(&["sql", query]);
    assert_eq!(
        (&rows[0]["source"], &rows[0]["events"], &rows[0]["gaps_open"]),
        (&"journal".into(), &4.into(), &0.into())
    );
    assert_eq!((&rows[1]["source"], &rows[1]["state"]), (&"omsorg".into(), &"never".into()));
    let query = "SELECT c.day, c.field, h.state FROM coverage c JOIN source_health h ON h.source = c.source";
    assert!(house.rows(&["sql", query]).is_empty(), "nothing of the last 90 days is stored");
    assert!(house.rows(&["sql", "SELECT day, there, missing FROM coverage"]).is_empty());
}

#[test]
fn context_is_loaded_whole_or_not_at_all() {
    let house = house_with_three_looks();
    house.write(
        "context/units.csv",
        b"care_unit_id,name,care_provider_id,care_provider_name\nU1,Ward 1,P1,Region\n",
    );
    house.ok(&["context", "load"]);
    assert_eq!(house.rows(&["sql", "SELECT name FROM units"])[0]["name"], "Ward 1");
    house.write(
        "context/units.csv",
        b"care_unit_id,name,care_provider_id,care_provider_name\nU1,Ward 2,P1,Region\n",
    );
    house.write(
        "context/care_relations.csv",
        b"subject_id,care_unit_id,user_id,kind,valid_from,valid_to\n191212121212,U1,,visit,sometime,\n",
    );
    let run = house.run(&["context", "load"]);
    assert_eq!(run.code, Some(1));
    for part in ["care_relations.csv", "2", "valid_from"] {
        assert!(run.stderr.contains(part), "{part} is missing in: {}", run.stderr);
    }
    assert!(!run.stderr.contains("sometime"), "the value is not shown");
    assert_eq!(
        house.rows(&["sql", "SELECT name FROM units"])[0]["name"],
        "Ward 1",
        "the earlier load stands"
    );
}

#[test]
fn the_pack_is_listed_checked_and_tested_without_an_installation() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = insyn(folder.path());
        command.args(arguments);
        finish(command)
    };
    let list = run(&["rules", "list", "--format", "json"]);
    let rules: Vec<serde_json::Value> = serde_json::from_str(&list.stdout).expect("rules");
    assert!(rules.len() >= 8);
    // The cases of all of them take minutes in a debug build; they have a test of their own.
    for command in [["rules", "check"].as_slice(), &["rules", "test", "own-record", "visit"]] {
        let done = run(command);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let unknown = run(&["rules", "test", "own-recrod"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("own-record"), "{}", unknown.stderr);
}

#[test]
fn rules_run_and_findings_are_listed_and_running_again_changes_nothing() {
    let house = house_with_three_looks();
    house.write("context/staff.csv", format!("user_id,person_id,name,title,address,postcode,employed_from,employed_to\nSE1-1,{ANNA},Anna Berg,Sjuksköterska,,,2020-01-01,\n").as_bytes());
    house.ok(&["context", "load"]);
    house.ok(&["rules", "run", "--dry-run"]);
    assert!(house.rows(&["findings", "list"]).is_empty(), "a dry run keeps nothing");
    house.ok(&["rules", "run"]);
    let findings = house.rows(&["findings", "list", "--user", "SE1-1"]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["subject_id"], ANNA);
    assert_eq!(findings[0]["event_count"], 2);
    assert_eq!(findings[0]["status"], "new");
    assert_eq!(findings[0]["event_ids"], serde_json::json!(["e1", "e2"]));
    house.ok(&["rules", "run"]);
    assert_eq!(house.rows(&["findings", "list", "--user", "SE1-1"]), findings);
    let seen = house.rows(&["sql", "SELECT rule_id, event_count FROM findings WHERE user_id = 'SE1-1'"]);
    assert_eq!(seen[0]["event_count"], 2);
}

#[test]
fn another_setting_is_tried_beside_todays_and_keeps_nothing() {
    let house = house_with_three_looks();
    house.write(
        "context/subjects.csv",
        format!("subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n{ANNA},,,,,,2026-02-10\n").as_bytes(),
    );
    house.ok(&["context", "load"]);
    let tried = |settings: &[&str]| {
        let mut arguments = vec!["rules", "run", "--dry-run"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        house.run(&arguments)
    };
    // Three weeks after the death; a month is the default, so that only the shorter grace finds anything.
    let run = tried(&["deceased.grace=7 days"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["week"], &lines[0]["today"], &lines[0]["tried"]),
        (&"2026-03-02".into(), &0.into(), &2.into())
    );
    assert!(run.stderr.contains("deceased: 0 findings today, 2 as tried; 2 new, 0 gone"), "{}", run.stderr);
    assert!(house.rows(&["findings", "list"]).is_empty(), "nothing is kept");
    let same = tried(&["deceased.grace=30 days"]);
    assert!(same.stderr.contains("set today"), "{}", same.stderr);
    for (setting, expected) in [
        ("deceased.grce=7 days", "nearest: \"grace\""),
        ("deceasd.grace=7 days", "nearest: \"deceased\""),
        ("deceased.grace=soon", "expected a value like \"30 days\""),
        ("deceased.grace=9000 days", "expected between"),
        ("deceased.level=grave", "expected one of"),
        ("deceased", "RULE.PARAMETER=VALUE"),
    ] {
        let wrong = tried(&[setting]);
        assert_eq!(wrong.code, Some(1), "{setting}");
        assert!(wrong.stderr.contains(expected), "{setting}: {}", wrong.stderr);
    }
}

#[test]
fn help_is_complete() {
    let house = House::new();
    let help = house.ok(&["--help"]);
    for command in [
        "demo", "init", "ingest", "serve", "trace", "sql", "rules", "findings", "context", "sources", "user",
        "token", "doctor",
    ] {
        assert!(help.contains(command), "{command}");
        house.ok(&[command, "--help"]);
    }
}

#[test]
fn what_init_writes_is_a_valid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in
        [(vec!["init"], 0), (vec!["init"], 1), (vec!["ingest", "--once"], 0), (vec!["doctor"], 0)]
    {
        let mut command = insyn(folder.path());
        command.args(&arguments);
        let run = finish(command);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn a_misspelt_column_is_a_fault_of_the_source_and_swallows_nothing() {
    let house = House::new();
    let plain = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    house.write("insyn.toml", plain.replace("\"Tidpunkt\"", "\"Tidpunktt\"").as_bytes());
    let rows = "LoggId;Tidpunkt;Anv\u{e4}ndare;Enhet;\u{c5}tg\u{e4}rd;Personnummer\n1;2026-03-02 08:00:00;a;E;L\u{e4}sa;19121212-1212\n";
    let bytes: Vec<u8> = rows.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    house.write("logs/omsorg/a.csv", &bytes);
    let run = house.run(&["ingest", "--once"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("Tidpunktt") && run.stderr.contains("a.csv"), "{}", run.stderr);
    house.write("insyn.toml", plain.as_bytes());
    let report = house.ingest();
    assert_eq!((&report["events"], &report["quarantined"]), (&1.into(), &0.into()), "{report}");
}

#[test]
fn a_context_folder_that_lost_a_table_is_not_loaded_unless_asked() {
    let house = House::new();
    house.write(
        "context/units.csv",
        b"care_unit_id,name,care_provider_id,care_provider_name,colour\nE1,E,P,P,red\n",
    );
    let run = house.run(&["context", "load"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("colour"), "what has no place is said: {}", run.stderr);
    std::fs::remove_file(house.path("context/units.csv")).unwrap();
    let run = house.run(&["context", "load"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("units (1 rows in the load before)"), "{}", run.stderr);
    house.write("context/staff.csv", b"user_id,person_id,name,title,address,postcode,employed_from,employed_to\nse2321000016-anna,19121212-1212,A,T,,,,\n");
    assert_eq!(house.run(&["context", "load"]).code, Some(1));
    house.ok(&["context", "load", "--allow-missing"]);
    let status = house.ok(&["context", "status", "--format", "json"]);
    assert!(status.contains("\"loaded_at\":\"20"), "{status}");
    let rows = house.rows(&["sql", "SELECT user_id FROM staff"]);
    assert_eq!(rows[0]["user_id"], "SE2321000016-ANNA");
}

/// `user create` of a reviewer of a unit, who is `staff` in the logs.
fn new_reviewer<'a>(login: &'a str, name: &'a str, unit: &'a str, staff: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["user", "create", "--role", "reviewer"];
    arguments.extend(["--login", login, "--name", name, "--unit", unit, "--staff-user-id", staff]);
    arguments
}

#[test]
fn a_reviewer_is_known_by_every_account_that_is_theirs() {
    let house = House::new();
    house.write("context/accounts.csv", b"source,account_id,user_id,valid_from,valid_to\n,bo.ek,SE2321000016-BO,,\n,boek2,SE2321000016-BO,,\n");
    house.ok(&["context", "load"]);
    let run = house.run(&new_reviewer("bo", "Bo Ek", "E1", "bo.ek"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("bo.ek is an account of SE2321000016-BO"), "{}", run.stderr);
    let run = house.run(&new_reviewer("eva", "Eva", "E1", "nobody"));
    assert!(run.stderr.contains("neither in the table staff nor in accounts"), "{}", run.stderr);
}

#[test]
fn plain_http_beyond_this_machine_is_refused_unless_a_proxy_ends_tls() {
    let house = House::new();
    let plain = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    house.write("insyn.toml", format!("{plain}\n[api]\nlisten = \"0.0.0.0:0\"\n").as_bytes());
    let run = house.run(&["doctor"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("api.listen") && run.stderr.contains("behind_proxy"), "{}", run.stderr);
    house.write(
        "insyn.toml",
        format!("{plain}\n[api]\nlisten = \"0.0.0.0:0\"\nbehind_proxy = true\n").as_bytes(),
    );
    assert_eq!(house.run(&["doctor"]).code, Some(0));
}

#[cfg(unix)]
#[test]
fn what_is_written_is_for_its_account_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    house.write(
        "logs/journal/a.ndjson",
        audit_event("a", "2026-03-02T08:00:00Z", "SE1-1", "191212121212").as_bytes(),
    );
    house.ingest();
    house.ok(&["trace", "subject", "191212121212"]);
    for path in ["lake", "lake/access_events", "spool", "spool/insyn"] {
        let mode = std::fs::metadata(house.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path} is {mode:o}");
    }
}

#[test]
fn people_and_tokens_are_listed_shut_out_and_let_in_again() {
    let house = House::new();
    assert_eq!(house.rows(&["user", "list"]), Vec::<serde_json::Value>::new());
    assert_eq!(house.rows(&["token", "list"]), Vec::<serde_json::Value>::new());
    let first = house.ok(&new_reviewer("bo", "Bo Ek", "SE2321000016-A101", "SE2321000016-BO"));
    house.ok(&["user", "create", "--login", "anna", "--name", "Anna Berg", "--role", "dso"]);
    let users = house.rows(&["user", "list"]);
    assert_eq!((&users[0]["login"], &users[1]["login"]), (&"anna".into(), &"bo".into()), "{users:?}");
    assert_eq!(users[1]["roles"], serde_json::json!(["reviewer"]));
    assert_eq!(users[1]["units"], serde_json::json!(["SE2321000016-A101"]));
    house.ok(&["user", "disable", "--login", "BO"]);
    assert_eq!(house.rows(&["user", "list"])[1]["disabled"], true);
    house.ok(&["user", "enable", "--login", "bo"]);
    assert_eq!(house.rows(&["user", "list"])[1]["disabled"], false);
    let second = house.ok(&["user", "reset", "--login", "bo", "--codes"]);
    assert!(second.contains("password  ") && second != first, "{second}");
    let nobody = house.run(&["user", "disable", "--login", "nobody"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);

    let token =
        house.ok(&["token", "create", "--name", "cosmic", "--role", "service", "--allow", "send_logs"]);
    let listed = house.ok(&["token", "list", "--format", "ndjson"]);
    assert!(listed.contains("cosmic") && !listed.contains(token.trim()), "{listed}");
    assert_eq!(house.rows(&["token", "list"])[0]["revoked_at"], "");
    house.ok(&["token", "revoke", "--name", "cosmic"]);
    assert!(house.rows(&["token", "list"])[0]["revoked_at"].as_str().unwrap().starts_with("20"));
    let again = house.run(&["token", "revoke", "--name", "cosmic"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("cosmic"), "{}", again.stderr);
}
