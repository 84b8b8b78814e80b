//! Bad configuration, a port in use, a folder that cannot be written, a disk that is full: one clear sentence.

use std::net::TcpListener;
use std::process::Command;

use crate::house::{House, audit_event, finish};

#[test]
fn a_wrong_configuration_says_where_and_exits_2() {
    let house = House::new();
    house.append("insyn.toml", b"\n[api]\nlisten = 8080\n");
    for arguments in [vec!["ingest", "--once"], vec!["sources", "status"], vec!["serve"]] {
        let run = house.run(&arguments);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        for part in ["insyn.toml:", "api.listen", "integer", "socket address"] {
            assert!(run.stderr.contains(part), "{part} is missing in: {}", run.stderr);
        }
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[test]
fn a_missing_configuration_and_wrong_usage_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [vec!["ingest", "--once"], vec!["ingest"], vec!["trace", "subject"], vec!["no-such-command"]]
    {
        let mut command = crate::house::insyn(folder.path());
        command.args(&arguments);
        let run = finish(command);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
    }
    let house = House::new();
    let run = house.run(&["trace", "subject", "191212121212", "--from", "31/8"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("--from"), "{}", run.stderr);
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let house = House::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    house.append("insyn.toml", format!("\n[api]\nlisten = \"{address}\"\n").as_bytes());
    let run = house.run(&["serve"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains(&address.to_string()) && run.stderr.lines().count() == 1, "{}", run.stderr);
}

#[test]
fn a_lake_that_cannot_be_made_is_one_sentence_and_the_next_run_goes_well() {
    let house = House::new();
    house.write(
        "logs/journal/a.ndjson",
        audit_event("e1", "2026-03-02T08:00:00Z", "SE1-1", "191212121212").as_bytes(),
    );
    house.write("lake", b"a file stands where the lake should be");
    let run = house.run(&["ingest", "--once"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    std::fs::remove_file(house.path("lake")).unwrap();
    assert_eq!(house.ingest()["events"], 1);
}

#[test]
fn a_full_disk_is_one_sentence_and_the_next_run_goes_well() {
    let house = House::new();
    // To the brim: reading does not stop before.
    let config = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    let config = config.replace("url = \"./lake\"", "url = \"./lake\"\nleast_free_mb = 0");
    house.write("insyn.toml", config.as_bytes());
    let lines: String = (0..20_000)
        .map(|n| {
            audit_event(
                &format!("event-{n:06}-{:x}", n * 7919),
                "2026-03-02T08:00:00Z",
                "SE1-1",
                "191212121212",
            )
        })
        .collect();
    house.write("logs/journal/a.ndjson", lines.as_bytes());
    std::fs::create_dir_all(house.path("lake")).unwrap();
    // A file system of its own, too small for the lake, in a namespace of its own.
    let script = "mount -t tmpfs -o size=200k insyn-test lake && exec \"$0\" ingest --once";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_insyn")]);
    command.current_dir(house.path(".")).env("NO_COLOR", "1");
    let run = finish(command);
    if run.stderr.contains("unshare") || run.stderr.contains("mount") && run.code != Some(1) {
        eprintln!("SKIPPED: no namespace can be made here: {}", run.stderr);
        return;
    }
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("No space left") || run.stderr.contains("full"), "{}", run.stderr);
    assert_eq!(house.ingest()["events"], 20_000, "with room, all is read, once");
}

#[test]
fn reading_stops_before_the_disk_is_full_and_goes_on_when_there_is_room() {
    let house = House::new();
    house.write(
        "logs/journal/a.ndjson",
        audit_event("a", "2026-03-02T08:00:00Z", "SE1-1", "191212121212").as_bytes(),
    );
    let plain = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    let config = plain.replace("url = \"./lake\"", "url = \"./lake\"\nleast_free_mb = 900000000");
    house.write("insyn.toml", config.as_bytes());
    let run = house.run(&["ingest", "--once"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("nothing is taken in below 900000000 MiB"), "{}", run.stderr);
    house.write("insyn.toml", plain.as_bytes());
    assert_eq!(house.ingest()["events"], 1);
}
