//! The lake in a bucket of a real store: everything that a folder does, racing writers, kill -9, lost answers, a store
//! that is down.

mod server;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use insyn_engine::config::{LakeConfig, S3Config};
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, LakeError, SourceCommit};
use insyn_engine::session::{Scope, Session};
use insyn_engine::trace::{self, Of, Query};

use crate::house::{House, Running, audit_event, finish};
use server::{Fate, Line, Request};

const ANNA: &str = "191212121212";

/// An installation whose lake lies in `bucket`, behind `line`.
fn house(line: &Line, bucket: &str) -> House {
    let house = House::new();
    let lake = format!(
        "url = \"s3://{bucket}/region/my%20lake\"\n[lake.s3]\nendpoint = \"http://{}\"\nallow_http = true\n\
         access_key_id = \"insyn\"\nsecret_access_key_file = \"s3.secret\"",
        line.address
    );
    configure(&house, "url = \"./lake\"", &lake);
    house.write("s3.secret", b"not a secret\n");
    std::fs::set_permissions(house.path("s3.secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    house
}

fn configure(house: &House, from: &str, to: &str) {
    let config = std::fs::read_to_string(house.path("insyn.toml")).unwrap();
    assert!(config.contains(from), "{from} is not in\n{config}");
    house.write("insyn.toml", config.replace(from, to).as_bytes());
}

fn line_of(n: usize) -> String {
    let at = format!("2026-03-{:02}T08:{:02}:{:02}+01:00", 1 + n % 9, n / 60 % 60, n % 60);
    audit_event(&format!("e{n:05}"), &at, &format!("SE1-{}", n % 7), ANNA)
}

fn journal(house: &House, events: std::ops::Range<usize>) {
    house.append("logs/journal/a.ndjson", events.map(line_of).collect::<String>().as_bytes());
}

#[track_caller]
fn exactly(house: &House, events: usize) {
    let query = "SELECT event_id, count(*) AS n FROM access_events GROUP BY event_id LIMIT 100000";
    let rows = house.rows(&["sql", query]);
    let counted: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row["event_id"].as_str().unwrap(), row["n"].as_u64().unwrap())).collect();
    assert_eq!((counted.len(), counted.values().max()), (events, Some(&1)));
}

#[track_caller]
fn one_sentence(run: &crate::house::Run, says: &[&str]) {
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for part in says {
        assert!(run.stderr.contains(part), "{part} is missing in: {}", run.stderr);
    }
}

/// Whether the answer to a request, the n-th, is lost.
type Loses = Box<dyn Fn(&Request, usize) -> bool + Send>;

fn is_commit(request: &Request) -> bool {
    request.method == "PUT" && request.target.contains("access_events/_delta_log/") && request.conditional
}

/// What an installation says of its rows.
fn told(house: &House) -> Vec<String> {
    let questions = [
        "SELECT event_id, occurred_at, user_id, subject_id, year, file_offset, record FROM access_events \
         ORDER BY event_id LIMIT 1000",
        "SELECT source, file_offset, reason, state FROM quarantine",
        "SELECT rule_id, count(*) AS n FROM findings GROUP BY rule_id ORDER BY rule_id",
    ];
    let told = questions.iter().map(|query| house.ok(&["sql", query, "--format", "csv"]));
    let trace = house.rows(&["trace", "subject", ANNA]).len();
    told.chain([format!("{trace} rows of a trace")]).collect()
}

#[test]
fn a_bucket_does_what_a_folder_does_and_a_backup_moves_from_one_to_the_other() {
    let Some(line) = Line::to("insyn-all") else { return };
    let (local, remote) = (House::new(), house(&line, "insyn-all"));
    for house in [&local, &remote] {
        house.write(
            "context/staff.csv",
            format!("user_id,person_id,name,title,address,postcode,employed_from,employed_to\nSE1-1,{ANNA},Anna Berg,,,,2020-01-01,\n").as_bytes(),
        );
        for part in 0..70 {
            journal(house, part * 5..part * 5 + 5);
            if part == 30 {
                house.append("logs/journal/a.ndjson", b"this line is no JSON\n");
            }
            if part % 10 == 9 {
                house.ingest();
            }
        }
        house.ok(&["context", "load"]);
        house.ok(&["rules", "run"]);
        let compacted = house.run(&["compact"]);
        assert_eq!(compacted.code, Some(0), "{}", compacted.stderr);
        exactly(house, 350);
    }
    let findings = remote.rows(&["findings", "list"]).len();
    assert!(findings > 0);
    assert_eq!(told(&local), told(&remote));
    let doctor = remote.run(&["doctor"]).stdout;
    assert!(doctor.contains("ok     lake s3://insyn-all/region/my%20lake"), "{doctor}");
    assert!(!remote.path("lake").exists(), "nothing of the lake lies here");

    // From the bucket into a folder, and from the folder into another place of the bucket.
    remote.ok(&["backup", "backup"]);
    let back = House::new();
    std::fs::rename(remote.path("backup"), back.path("backup")).unwrap();
    back.ok(&["restore", "backup"]);
    exactly(&back, 350);
    assert_eq!(back.rows(&["findings", "list"]).len(), findings);
    let again = house(&line, "insyn-all");
    configure(&again, "region/my%20lake", "restored");
    back.ok(&["backup", "second"]);
    std::fs::rename(back.path("second"), again.path("second")).unwrap();
    again.ok(&["restore", "second"]);
    exactly(&again, 350);
    one_sentence(&again.run(&["restore", "second"]), &["s3://insyn-all/restored", "is not empty"]);
}

#[test]
fn two_who_read_the_same_logs_at_once_double_nothing() {
    let Some(line) = Line::to("insyn-two") else { return };
    let house = house(&line, "insyn-two");
    house.ingest();
    for round in 0..3 {
        journal(&house, round * 200..round * 200 + 200);
        let start = || {
            let mut command = house.command(&["ingest", "--once"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
        };
        let ended = [start(), start(), start()].map(|child| child.wait_with_output().expect("it ends"));
        assert!(ended.iter().any(|one| one.status.success()), "somebody reads");
        for one in ended.iter().filter(|one| !one.status.success()) {
            let said = String::from_utf8_lossy(&one.stderr);
            assert!(said.contains("held for ingest by insyn ingest, pid"), "{said}");
        }
        exactly(&house, (round + 1) * 200);
    }
}

fn lake_config(line: &Line, house: &House, bucket: &str) -> LakeConfig {
    LakeConfig {
        s3: Some(S3Config {
            endpoint: Some(format!("http://{}", line.address)),
            allow_http: true,
            access_key_id: Some("insyn".into()),
            secret_access_key_file: Some(house.path("s3.secret")),
            ..S3Config::default()
        }),
        ..LakeConfig::from(format!("s3://{bucket}/lake").as_str())
    }
}

fn batch(source: &str, sequence: i64) -> SourceCommit {
    let event = |n: i64| AccessEvent {
        event_id: format!("{source}-{sequence}-{n}"),
        source: source.into(),
        organisation_id: "SE1".into(),
        controller_id: "SE1".into(),
        occurred_at: 1_772_000_000_000_000 + sequence * 1_000_000 + n,
        subject_id: Some(ANNA.into()),
        user_id: Some(format!("SE1-{n}")),
        file_id: "f1".into(),
        ..AccessEvent::default()
    };
    let events = (0..3).map(event).collect();
    SourceCommit {
        source: source.into(),
        sequence,
        state: sequence.to_string(),
        events,
        ..Default::default()
    }
}

/// Nobody holds anything here: only the commits themselves keep writers apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committers_without_a_lease_race_and_each_batch_counts_once() {
    let Some(line) = Line::to("insyn-race") else { return };
    let house = house(&line, "insyn-race");
    let config = lake_config(&line, &house, "insyn-race");
    const EACH: i64 = 8;
    let commit = |own: &'static str, config: LakeConfig, base: std::path::PathBuf| async move {
        let lake = Lake::open(&config, &base).await.unwrap();
        let mut won = 0;
        for sequence in 1..=EACH {
            lake.commit(batch(own, sequence)).await.unwrap();
            // Everybody's: of each number one wins.
            let shared = lake.progress("shared").await.unwrap().sequence + 1;
            match lake.commit(batch("shared", shared)).await {
                Ok(_) => won += 1,
                Err(LakeError::SequenceTaken { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        won
    };
    let base = house.path(".");
    let all = ["a", "b", "c"].map(|own| tokio::spawn(commit(own, config.clone(), base.clone())));
    let mut won = 0;
    for one in all {
        won += one.await.unwrap();
    }
    let lake = Lake::open(&config, &base).await.unwrap();
    assert_eq!(lake.progress("shared").await.unwrap().sequence, won);
    let session = Session::open(&lake, chrono_tz::Tz::Europe__Stockholm, Scope::All).await.unwrap();
    let found = trace::trace(&session, &Query::new(Of::Subject(ANNA.into()))).await.unwrap();
    assert_eq!(found.rows() as i64, (3 * EACH + won) * 3, "no row is lost, none is doubled");
}

#[test]
fn kill_9_around_each_put_and_at_any_moment_loses_nothing_and_doubles_nothing() {
    let Some(line) = Line::to("insyn-kill") else { return };
    let house = house(&line, "insyn-kill");
    house.append("logs/journal/b.ndjson", b"this line is no JSON\n");
    journal(&house, 0..300);
    for point in insyn_engine::failpoint::BUCKET {
        for nth in 1..=9 {
            let mut command = house.command(&["ingest", "--once"]);
            command.env("INSYN_CRASH_AT", format!("{point}:{nth}"));
            let run = finish(command);
            // Once everything is stored there are fewer puts than that.
            if run.code == Some(0) {
                break;
            }
            assert!(run.code.is_none(), "{point}:{nth}: it should have crashed: {}", run.stderr);
        }
    }
    for kill_after in [100, 200, 300, 400, 600, 900] {
        let mut command = house.command(&["ingest", "--once"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        std::thread::sleep(Duration::from_millis(kill_after));
        let _ = child.kill();
        child.wait().expect("it ends");
    }
    // What the dead held is not in the way.
    house.ingest();
    exactly(&house, 300);
    assert_eq!(house.rows(&["sql", "SELECT count(*) AS n FROM quarantine"])[0]["n"], 1);
}

#[test]
fn a_commit_whose_answer_is_lost_counts_and_is_not_made_again() {
    let Some(line) = Line::to("insyn-lost") else { return };
    let house = house(&line, "insyn-lost");
    house.ingest();
    let mut events = 0;
    for fate in [Fate::AnswerLost, Fate::AnsweredWith500] {
        // The commit itself, everything that is put, and everything at random.
        let rules: [Loses; 3] = [
            Box::new(|request, _| is_commit(request)),
            Box::new(|request, _| request.method == "PUT"),
            Box::new(|_, n| n % 3 == 0),
        ];
        for is_lost in rules {
            journal(&house, events..events + 50);
            events += 50;
            let (mut n, mut seen) = (0, BTreeMap::new());
            line.when(move |request| {
                n += 1;
                // The same thing is asked for again: then it passes.
                let times = seen.entry((request.method.clone(), request.target.clone())).or_insert(0);
                *times += 1;
                if *times == 1 && is_lost(request, n) { fate } else { Fate::Passes }
            });
            let run = house.run(&["ingest", "--once"]);
            line.heals();
            assert_eq!(run.code, Some(0), "{fate:?} {events}: {}", run.stderr);
            exactly(&house, events);
        }
        // The files are there when they are read from the beginning, and after they were merged.
        house.ok(&["compact"]);
        exactly(&house, events);
    }
}

#[test]
fn compaction_whose_answer_is_lost_keeps_every_row() {
    let Some(line) = Line::to("insyn-compact") else { return };
    let house = house(&line, "insyn-compact");
    for part in 0..3 {
        journal(&house, part * 20..part * 20 + 20);
        house.ingest();
    }
    line.when({
        let mut times = 0;
        move |request| {
            times += usize::from(is_commit(request));
            if is_commit(request) && times == 1 { Fate::AnsweredWith500 } else { Fate::Passes }
        }
    });
    let run = house.run(&["compact"]);
    line.heals();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    exactly(&house, 60);
    house.ok(&["compact"]);
    exactly(&house, 60);
}

#[test]
fn a_store_that_is_down_is_one_sentence_and_nothing_is_lost() {
    let Some(line) = Line::to("insyn-down") else { return };
    let house = house(&line, "insyn-down");
    journal(&house, 0..100);
    line.when(|_| Fate::Lost);
    one_sentence(
        &house.run(&["ingest", "--once"]),
        &["the lake cannot be opened", "insyn-down", "cannot be used"],
    );
    one_sentence(&house.run(&["trace", "subject", ANNA]), &["insyn-down"]);
    line.heals();
    house.ingest();
    exactly(&house, 100);
    // It goes down while somebody reads, earlier or later.
    for passed in [10, 25, 40] {
        let from = 100 + passed * 10;
        journal(&house, from..from + 10);
        let mut asked = 0;
        line.when(move |_| {
            asked += 1;
            if asked > passed { Fate::Lost } else { Fate::Passes }
        });
        let run = house.run(&["ingest", "--once"]);
        line.heals();
        if run.code != Some(0) {
            one_sentence(&run, &["insyn-down"]);
        }
    }
    house.ingest();
    exactly(&house, 130);

    // A program that goes on waits for it.
    configure(&house, "[state]", "[api]\nlisten = \"127.0.0.1:0\"\n\n[state]");
    let mut command = house.command(&["serve"]);
    let serve = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let arrive = |events: u64| {
        let deadline = Instant::now() + Duration::from_secs(90);
        let count = || house.rows(&["sql", "SELECT count(*) AS n FROM access_events"])[0]["n"].as_u64();
        while count() != Some(events) {
            assert!(Instant::now() < deadline, "{:?} of {events}", count());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    journal(&house, 1000..1010);
    arrive(140);
    line.when(|_| Fate::Lost);
    journal(&house, 1010..1020);
    std::thread::sleep(Duration::from_secs(3));
    line.heals();
    arrive(150);
    serve.kill();
    house.ingest();
    exactly(&house, 150);
}

#[test]
fn what_is_wrong_with_a_bucket_is_one_sentence() {
    let Some(line) = Line::to_nothing() else { return };
    let missing = house(&line, "insyn-nowhere");
    one_sentence(
        &missing.run(&["ingest", "--once"]),
        &["there is no bucket \"insyn-nowhere\"", "make it first"],
    );

    configure(&missing, "allow_http = true\n", "");
    one_sentence(&missing.run(&["ingest", "--once"]), &["the endpoint is http", "allow_http"]);

    let loose = house(&line, "insyn-nowhere");
    std::fs::set_permissions(loose.path("s3.secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    one_sentence(&loose.run(&["ingest", "--once"]), &["s3.secret", "everybody may read it"]);
    configure(&loose, "secret_access_key_file = \"s3.secret\"", "");
    one_sentence(&loose.run(&["ingest", "--once"]), &["access_key_id", "expected both or neither"]);

    let azure = house(&line, "insyn-nowhere");
    configure(&azure, "s3://", "az://");
    one_sentence(&azure.run(&["ingest", "--once"]), &["\"az\" are not supported", "s3://bucket/lake"]);

    let folder = house(&line, "insyn-nowhere");
    configure(&folder, "s3://insyn-nowhere/region/my%20lake", "./lake");
    one_sentence(&folder.run(&["ingest", "--once"]), &["is a folder, and [lake.s3]"]);

    let wrong = house(&line, "insyn-nowhere");
    configure(&wrong, "allow_http = true", "allow_http = true\nregoin = \"eu-north-1\"");
    let run = wrong.run(&["ingest", "--once"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("lake") && run.stderr.contains("regoin"), "{}", run.stderr);
}

#[test]
fn a_store_that_knows_no_conditions_is_refused_before_anything_is_written() {
    let Some(line) = Line::to("insyn-unsafe") else { return };
    let house = house(&line, "insyn-unsafe");
    journal(&house, 0..10);
    line.when(|_| Fate::Unconditional);
    one_sentence(
        &house.run(&["ingest", "--once"]),
        &["does not refuse the second of two writers", "commits would be lost"],
    );
    let put: Vec<String> =
        line.asked().iter().filter(|asked| asked.method == "PUT").map(|asked| asked.target.clone()).collect();
    assert!(put.iter().all(|target| target.ends_with("/.insyn-lake")), "{put:?}");
}

/// In a bucket it is requests that cost: how many a trace makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_asks_the_store_for_little() {
    let Some(line) = Line::to("insyn-few") else { return };
    let house = house(&line, "insyn-few");
    let config = lake_config(&line, &house, "insyn-few");
    let lake = Lake::open(&config, &house.path(".")).await.unwrap();
    for sequence in 1..=5 {
        lake.commit(batch("a", sequence)).await.unwrap();
    }
    let requests = |what: &str| {
        let asked = std::mem::take(&mut *line.asked());
        eprintln!("{what}: {} requests", asked.len());
        asked.len()
    };
    requests("making and filling it");
    let traced = async |lake: &Lake| {
        let session = Session::open(lake, chrono_tz::Tz::Europe__Stockholm, Scope::All).await.unwrap();
        let mut query = Query::new(Of::Subject(ANNA.into()));
        query.limit = Some(100);
        trace::trace(&session, &query).await.unwrap().rows()
    };
    assert_eq!(traced(&lake).await, 15);
    let first = requests("the first trace");
    assert!(first <= 7 * 3 + 1 + 5 * 8 + 2, "{first}");
    assert_eq!(traced(&lake).await, 15);
    // Three looks into each of six logs, and once more into that of access_events; which context is current; and of
    // each of five files what is asked for, twice: once for the summary and once for the rows, the filter's column first.
    // No footer, no index.
    let warm = requests("a warm trace");
    assert!(warm <= 7 * 3 + 1 + 5 * 4, "{warm}");
    // A commit is few requests too, however many came before.
    lake.commit(batch("a", 6)).await.unwrap();
    let commit = requests("a commit");
    assert!(commit <= 24, "{commit}");
}

/// A hundred commits later, opening, a trace and a commit ask for as much as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_does_not_grow_with_the_number_of_commits() {
    let Some(line) = Line::to("insyn-many") else { return };
    let house = house(&line, "insyn-many");
    let (config, base) = (lake_config(&line, &house, "insyn-many"), house.path("."));
    let lake = Lake::open(&config, &base).await.unwrap();
    for sequence in 1..=5 {
        lake.commit(batch("a", sequence)).await.unwrap();
    }
    let mut sequence = 5;
    let mut costs = Vec::new();
    for until in [10, 110] {
        while sequence < until {
            sequence += 1;
            let moved = SourceCommit { events: Vec::new(), ..batch("a", sequence) };
            lake.commit(moved).await.unwrap();
            // Made here, none is made beside.
            if sequence % 50 == 10 {
                lake.checkpoint().await.unwrap();
            }
        }
        let cost = |line: &Line| std::mem::take(&mut *line.asked()).len();
        cost(&line);
        let other = Lake::open(&config, &base).await.unwrap();
        let opening = cost(&line);
        let session = Session::open(&lake, chrono_tz::Tz::Europe__Stockholm, Scope::All).await.unwrap();
        let pinning = cost(&line);
        let query = Query::new(Of::Subject(ANNA.into()));
        assert_eq!(trace::trace(&session, &query).await.unwrap().rows(), 15);
        line.forget();
        trace::trace(&session, &query).await.unwrap();
        let traced = cost(&line);
        sequence += 1;
        other.commit(SourceCommit { events: Vec::new(), ..batch("a", sequence) }).await.unwrap();
        costs.push((opening, pinning, traced, cost(&line)));
    }
    let [few, many] = costs[..] else { panic!("{costs:?}") };
    assert_eq!((few.2, few.3), (many.2, many.3), "a trace, a commit");
    assert!(many.0 <= few.0 + 4, "opening: {few:?}, {many:?}");
    // `user_accesses` follows when 64 commits came: no more of them are looked through, once.
    assert!(many.1 <= few.1 + 64, "pinning a snapshot: {few:?}, {many:?}");
}
