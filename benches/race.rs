//! The same rows, the same questions, side by side: Insyn, DuckDB, Polars and chDB.
//!
//! `cargo build --release && cargo bench --workspace --bench race`. `INSYN_RACE_ROWS` (1,000,000) says how many accesses,
//! `INSYN_RACE_FOLDER` where they are kept for another run (a folder that goes away unless told), `INSYN_RACE_ASKED` (1,000)
//! how many records are asked for. The peers are taken from Python (`pip install duckdb polars chdb deltalake`); who is not
//! there says so and is left out, but not with `CI=true`; `INSYN_RACE_PEERS` (duckdb-time,duckdb,polars,chdb) says who races.
//! DuckDB over rows in order of time sorts all of them first, which takes several times their room. An answer that is not the same as another's ends the race; with
//! `INSYN_ANY_BUILD=1` that is all that a run is for, as in `.ci/run`: a debug build answers the same.
//!
//! A hundred million rows come by logs in an hour, most of it for order. `INSYN_RACE_LOADED=1` has the engine write them
//! instead, person by person, as an archive would be loaded: rows come in order and stay where they are, without `record`.
//!
//! Insyn is asked over HTTP by one client that keeps its connection, and writes down each look; the peers are asked inside
//! of their process. Each has two threads. `INSYN_RACE_LIVE` (0) says for how many seconds records are
//! asked for at last while a log of another source grows by 20 MB/s, over a copy that goes away.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use insyn_benches::{Serving, audit_event, command, high_water, setting};
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, SourceCommit};

const CONFIG: &str = r#"
[organisation]
id = "SE2321000016"
name = "Region Exempel"
[api]
listen = "127.0.0.1:0"
[[source]]
name = "journal"
format = "delimited"
path = ["logs/*.csv"]
delimiter = ";"
constants = { care_provider_id = "SE2321000016-VG" }
[source.fields]
event_id = "LoggId"
occurred_at = "Tidpunkt"
user_id = "Användare"
user_name = "Namn"
user_title = "Yrkesroll"
care_unit_id = "Enhet"
care_unit_name = "Enhetsnamn"
activity = "Åtgärd"
purpose = "Syfte"
subject_id = "Personnummer"
subject_name = "Patient"
activity_level = "Del"
"#;
/// A second source, whose log grows while records are asked for.
const LIVE: &str = r#"
[[source]]
name = "live"
format = "fhir-audit-event"
path = ["live/*.ndjson"]
"#;
const HEADER: &str =
    "LoggId;Tidpunkt;Användare;Namn;Yrkesroll;Enhet;Enhetsnamn;Åtgärd;Syfte;Personnummer;Patient;Del\n";
/// Rows of one log file.
const PIECE: u64 = 2_000_000;
/// 1 November 2024 in UTC, in seconds; the logs hold 24 months from it.
const FROM: i64 = 1_730_419_200;
const MONTHS_24: i64 = 730 * 86_400;
/// The columns of a record's page.
const COLUMNS: &str = "occurred_at,event_id,activity,activity_level,purpose,user_id,user_name,user_title,care_unit_id,care_unit_name";

const RECORD: &str = "first 100 rows of a record, ten columns";
const MONTH: &str = "30 days of a user by record, unit and day";
const FIRST: &str = "first 100 rows of a user, all columns but the record";
/// The 30 days: some in the middle of the two years.
const MONTH_FROM: &str = "2025-09-01T00:00:00Z";
const MONTH_TO: &str = "2025-10-01T00:00:00Z";

/// Questions over everything; the peers know them by their names.
const SUMS: [(&str, &str); 4] = [
    (
        "subjects of each user",
        "SELECT count(*) AS a, CAST(sum(n) AS BIGINT) AS b FROM \
         (SELECT user_id, count(DISTINCT subject_id) AS n FROM access_events GROUP BY user_id) AS x",
    ),
    (
        "subjects of each user",
        "SELECT count(*) AS a, CAST(sum(n) AS BIGINT) AS b FROM \
         (SELECT user_id, count(DISTINCT subject_id) AS n FROM user_accesses GROUP BY user_id) AS x",
    ),
    (
        "accesses by hour and action",
        "SELECT count(*) AS a, CAST(sum(n * n % 1000003) AS BIGINT) AS b FROM \
         (SELECT date_part('hour', occurred_at) AS h, action, count(*) AS n FROM access_events \
         GROUP BY date_part('hour', occurred_at), action) AS x",
    ),
    (
        "first time of each user in each unit",
        "SELECT count(*) AS a, CAST(sum(s % 1000003) AS BIGINT) AS b FROM \
         (SELECT user_id, care_unit_id, CAST(date_part('epoch', min(occurred_at)) AS BIGINT) AS s \
         FROM access_events GROUP BY user_id, care_unit_id) AS x",
    ),
];

fn main() {
    let rows: u64 = setting("INSYN_RACE_ROWS", 1_000_000);
    let asked: usize = setting("INSYN_RACE_ASKED", 1_000);
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("INSYN_RACE_FOLDER").map_or(temporary.path().to_owned(), PathBuf::from);
    let world = World { rows, subjects: (rows / 50).max(100), users: (rows / 12_500).clamp(50, 8_000) };
    prepare(&folder, &world);
    let subjects: Vec<String> =
        (0..asked as u64).map(|n| subject(mixed(n ^ 0xACE) % world.subjects)).collect();
    fs::write(folder.join("asked.txt"), subjects.join("\n")).unwrap();
    let users: Vec<String> =
        (0..asked.min(200) as u64).map(|n| user(mixed(n ^ 0xBEE) % world.users)).collect();
    fs::write(folder.join("asked_users.txt"), users.join("\n")).unwrap();

    println!("{rows} accesses, {} persons, {} users, 24 months\n", world.subjects, world.users);
    println!("| question | who | p50 ms | p95 ms | most ms | asked |\n|---|---|---|---|---|---|");
    let mut answers = insyn(&folder, &subjects, &users);
    let peers: String = setting("INSYN_RACE_PEERS", "duckdb-time,duckdb,polars,chdb".to_owned());
    for peer in peers.split(',').filter(|peer| !peer.is_empty()) {
        for line in peer_says(&folder, peer) {
            let [question, who, p50, p95, most, asked, answer] =
                line.split('|').collect::<Vec<_>>().try_into().expect("seven parts");
            println!("| {question} | {who} | {p50} | {p95} | {most} | {asked} |");
            let answer: u64 = answer.parse().unwrap();
            let known = *answers.entry(format!("{question} {asked}")).or_insert(answer);
            assert_eq!(known, answer, "{who} answers {question} otherwise");
        }
    }
    let seconds: u64 = setting("INSYN_RACE_LIVE", 0);
    if seconds > 0 {
        while_it_grows(&folder, &subjects, Duration::from_secs(seconds));
    }
}

struct World {
    rows: u64,
    subjects: u64,
    users: u64,
}

/// Logs are written and read piece by piece, as they would come; then the files are brought into order.
fn prepare(folder: &Path, world: &World) {
    let done = folder.join("prepared.txt");
    let wanted = format!("{} {} {}", world.rows, world.subjects, world.users);
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return;
    }
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::write(folder.join("insyn.toml"), CONFIG).unwrap();
    if setting("INSYN_RACE_LOADED", 0) == 1 {
        load(folder, world);
        fs::write(done, wanted).unwrap();
        return;
    }
    let (start, mut bytes, mut reading) = (Instant::now(), 0, 0.0);
    for from in (0..world.rows).step_by(PIECE as usize) {
        let log = folder.join(format!("logs/{from:012}.csv"));
        write_log(&log, from, (from + PIECE).min(world.rows), world);
        bytes += fs::metadata(&log).unwrap().len();
        let read = Instant::now();
        command(folder, &["ingest", "--once"]);
        reading += read.elapsed().as_secs_f64();
        fs::remove_file(&log).unwrap();
        eprintln!("{} rows read, {:.0} s", (from + PIECE).min(world.rows), start.elapsed().as_secs_f64());
    }
    let ordering = Instant::now();
    command(folder, &["compact"]);
    println!(
        "prepared: {:.1} GB of logs read in {reading:.0} s, {:.0} rows/s; files brought into order in {:.0} s",
        bytes as f64 / 1e9,
        world.rows as f64 / reading,
        ordering.elapsed().as_secs_f64()
    );
    fs::write(done, wanted).unwrap();
}

/// Rows of a commit where rows are loaded: those of some thousand persons.
const LOADED: u64 = 400_000;

/// Rows are written by the engine itself, person by person, each person's spread over the 24 months.
fn load(folder: &Path, world: &World) {
    let start = Instant::now();
    let (give, taken) = std::sync::mpsc::sync_channel::<Vec<AccessEvent>>(1);
    let each = (world.rows / world.subjects).max(1);
    let mut persons: Vec<(String, u64)> = (0..world.subjects).map(|who| (subject(who), who)).collect();
    persons.sort_unstable();
    let users = world.users;
    let making = std::thread::spawn(move || {
        let day = |n: u64| FROM + (mixed(n ^ 0xDA7E) % MONTHS_24 as u64) as i64;
        for some in persons.chunks((LOADED / each).max(1) as usize) {
            let rows = some.iter().flat_map(|(id, who)| {
                (who * each..(who + 1) * each).map(move |n| loaded(n, day(n), (id.as_str(), *who), users))
            });
            if give.send(rows.collect()).is_err() {
                break;
            }
        }
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let lake = Lake::open("lake", folder).await.unwrap();
        for (sequence, events) in (1..).zip(taken) {
            let batch =
                SourceCommit { source: "journal".into(), sequence, events, ..SourceCommit::default() };
            lake.commit(batch).await.unwrap();
        }
        lake.rested().await;
    });
    making.join().unwrap();
    // With it go merges beside: the command has the lake to itself.
    drop(runtime);
    let written = start.elapsed().as_secs_f64();
    command(folder, &["compact"]);
    println!("prepared: {written:.0} s written, {:.0} s with all in order", start.elapsed().as_secs_f64());
}

/// The `n`th row, which is about this person.
fn loaded(n: u64, at: i64, (id, who): (&str, u64), users: u64) -> AccessEvent {
    let (a, b) = (mixed(n), mixed(n ^ 0x5EED_0000_0000));
    let user = a % users;
    let unit = user % 400;
    let time = chrono::DateTime::from_timestamp(at, 0).unwrap();
    let activity = ACTIVITIES[(a >> 40) as usize % 10];
    AccessEvent {
        event_id: event_id(a, b),
        source: "journal".into(),
        organisation_id: "SE2321000016".into(),
        controller_id: "SE2321000016".into(),
        occurred_at: at * 1_000_000,
        occurred_at_raw: Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        year: time.format("%Y").to_string(),
        action: Some(if activity == "Läsa" { "R" } else { "U" }.into()),
        activity: Some(activity.into()),
        activity_level: Some(PARTS[(b >> 40) as usize % 6].into()),
        outcome: Some("success".into()),
        purpose: Some("Vård och behandling".into()),
        user_kind: Some("staff".into()),
        user_id: Some(self::user(user)),
        user_name: Some(format!("Namn {user}")),
        user_title: Some(TITLES[(user % 5) as usize].into()),
        care_provider_id: Some("SE2321000016-VG".into()),
        care_unit_id: Some(format!("SE2321000016-E{unit:03}")),
        care_unit_name: Some(format!("Enhet {unit}")),
        subject_id: Some(id.to_owned()),
        subject_name: Some(format!("Patient {who}")),
        file_id: format!("f{}", n / 2_000_000),
        file_offset: (n % 2_000_000 * 190) as i64,
        file_length: 190,
        ingested_at: (FROM + MONTHS_24) * 1_000_000 + (n / 24_000) as i64,
        ..AccessEvent::default()
    }
}

const TITLES: [&str; 5] = ["Läkare", "Sjuksköterska", "Undersköterska", "Medicinsk sekreterare", "Psykolog"];
const PARTS: [&str; 6] = ["Journaltext", "Läkemedel", "Provsvar", "Bokning", "Remiss", "Diagnos"];
const ACTIVITIES: [&str; 10] =
    ["Läsa", "Läsa", "Läsa", "Läsa", "Läsa", "Läsa", "Läsa", "Skriva", "Signera", "Utskrift"];

/// An id as a UUID.
fn event_id(a: u64, b: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xFFFF,
        a & 0xFFF,
        b >> 48 & 0xFFF,
        b & 0xFFFF_FFFF_FFFF
    )
}

fn write_log(path: &Path, from: u64, to: u64, world: &World) {
    let mut log = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    log.write_all(HEADER.as_bytes()).unwrap();
    let mut line = String::new();
    for n in from..to {
        let (a, b) = (mixed(n), mixed(n ^ 0x5EED_0000_0000));
        let user = a % world.users;
        // People are seen at a few units, and users work at one.
        let (who, unit) = (b % world.subjects, user % 400);
        let at = FROM + (n as i128 * i128::from(MONTHS_24) / i128::from(world.rows)) as i64;
        let time = chrono::DateTime::from_timestamp(at, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ");
        line.clear();
        let _ = writeln!(
            line,
            "{};{time};{};Namn {user};{};SE2321000016-E{unit:03};Enhet {unit};{};Vård och behandling;{};Patient {who};{}",
            event_id(a, b),
            self::user(user),
            TITLES[(user % 5) as usize],
            ACTIVITIES[(a >> 40) as usize % 10],
            subject(who),
            PARTS[(b >> 40) as usize % 6],
        );
        log.write_all(line.as_bytes()).unwrap();
    }
    log.flush().unwrap();
}

/// The n-th user.
fn user(n: u64) -> String {
    format!("SE2321000016-{n:05}")
}

/// The n-th personal number, with its check digit.
fn subject(n: u64) -> String {
    let (year, n) = (1930 + n % 90, n / 90);
    let (month, n) = (1 + n % 12, n / 12);
    let (day, number) = (1 + n % 28, n / 28 % 1000);
    let digits = format!("{year}{month:02}{day:02}{number:03}");
    let sum: u32 = digits[2..]
        .bytes()
        .enumerate()
        .map(|(at, digit)| u32::from(digit - b'0') * if at % 2 == 0 { 2 } else { 1 })
        .map(|product| product / 10 + product % 10)
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// SplitMix64.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Asks for each record by its first rows, then for whole rows, for what users did, and for sums by command; gives the
/// answers.
fn insyn(folder: &Path, subjects: &[String], users: &[String]) -> BTreeMap<String, u64> {
    let name = format!("race-{}", std::process::id());
    let token =
        command(folder, &["token", "create", "--name", &name, "--role", "service", "--allow", "trace"]);
    let mut serving = Serving::start(folder);
    let mut client = Client::connect(&serving.address, token.trim());
    let of_record = |subject: &str, columns: &str| {
        format!("/api/v1/subjects/{subject}/accesses?limit=100&reason=race{columns}")
    };
    let ten = format!("&columns={COLUMNS}");
    let first = subjects.iter().take(subjects.len() / 10);
    first.for_each(|subject| drop(client.get(&of_record(subject, &ten))));
    let mut answers = BTreeMap::new();
    for (question, columns) in [(RECORD, ten.as_str()), ("the same, all columns but the record", "")] {
        each(&mut client, question, subjects, &mut answers, |id| of_record(id, columns), count_rows);
    }
    let of_user = |id: &str| format!("/api/v1/users/{id}");
    let month =
        |id: &str| format!("{}/days?from={MONTH_FROM}&to={MONTH_TO}&limit=100000&reason=race", of_user(id));
    let rows = |id: &str| format!("{}/accesses?limit=100&reason=race", of_user(id));
    users.iter().take(users.len() / 10).for_each(|user| drop(client.get(&month(user))));
    each(&mut client, MONTH, users, &mut answers, month, sum_of_days);
    each(&mut client, FIRST, users, &mut answers, rows, sum_of_times);
    println!("| | Insyn resident: {} MiB | | | | |", high_water(serving.child.id()));
    serving.stop();
    for (question, query) in SUMS {
        let (mut times, mut sum) = (Vec::new(), 0);
        for _ in 0..3 {
            let start = Instant::now();
            let said = command(folder, &["sql", query, "--format", "json", "--reason", "race"]);
            times.push(start.elapsed().as_secs_f64() * 1000.0);
            let row: Vec<BTreeMap<String, u64>> = serde_json::from_str(&said).unwrap();
            sum += row[0].values().sum::<u64>();
        }
        let known = *answers.entry(format!("{question} 3")).or_insert(sum);
        assert_eq!(known, sum, "{question}: {query}");
        times.sort_by(f64::total_cmp);
        println!(
            "| {question} | Insyn, {}, `insyn sql` from start to end | {:.1} | {:.1} | {:.1} | 3 |",
            if query.contains("user_accesses") { "user_accesses" } else { "access_events" },
            times[1],
            times[2],
            times[2]
        );
    }
    answers
}

/// Asks for each, prints what it took, and keeps what the first, the first two, … come to.
fn each(
    client: &mut Client,
    question: &str,
    asked: &[String],
    answers: &mut BTreeMap<String, u64>,
    path: impl Fn(&str) -> String,
    read: impl Fn(&str) -> u64,
) {
    let (mut times, mut sum) = (Vec::new(), 0);
    for one in asked {
        let path = path(one);
        let start = Instant::now();
        let answer = client.get(&path);
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        sum += read(&answer);
        answers.insert(format!("{question} {}", times.len()), sum);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "| {question} | Insyn over HTTP, each look written down | {:.1} | {:.1} | {:.1} | {} |",
        at(0.5),
        at(0.95),
        at(1.0),
        times.len()
    );
}

/// Asks for records while a log grows beside: over a copy whose data files are the same ones on disk.
fn while_it_grows(folder: &Path, subjects: &[String], time: Duration) {
    let copy = folder.join("growing");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("live")).unwrap();
    let linked = Command::new("cp").arg("-al").args([&folder.join("lake"), &copy.join("lake")]).status();
    assert!(linked.unwrap().success(), "the lake cannot be copied");
    fs::write(copy.join("insyn.toml"), format!("{CONFIG}{LIVE}")).unwrap();
    let token =
        command(&copy, &["token", "create", "--name", "race", "--role", "service", "--allow", "trace"]);
    let mut serving = Serving::start(&copy);
    let mut client = Client::connect(&serving.address, token.trim());
    let path = |id: &str| format!("/api/v1/subjects/{id}/accesses?limit=100&reason=race&columns={COLUMNS}");
    subjects.iter().take(100).for_each(|subject| drop(client.get(&path(subject))));
    let (until, log) = (Instant::now() + time, copy.join("live/live.ndjson"));
    let people = subjects.to_vec();
    let writing = std::thread::spawn(move || grow(&log, &people, until));
    let mut times = Vec::new();
    for subject in subjects.iter().cycle().take_while(|_| Instant::now() < until) {
        let start = Instant::now();
        client.get(&path(subject));
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let (written, bytes) = writing.join().unwrap();
    let resident = high_water(serving.child.id());
    // What it had not read yet is read within a minute, or it did not keep up.
    let (patience, ended) = (Instant::now() + Duration::from_secs(60), Instant::now());
    let count = ["sql", "SELECT count(*) AS n FROM access_events WHERE source = 'live'", "--format", "json"];
    let stored = || -> u64 {
        let rows: Vec<BTreeMap<String, u64>> = serde_json::from_str(&command(&copy, &count)).unwrap();
        rows[0]["n"]
    };
    while stored() < written {
        assert!(Instant::now() < patience, "{written} lines were written, {} are stored", stored());
    }
    let behind = ended.elapsed().as_secs_f64();
    serving.stop();
    fs::remove_dir_all(&copy).unwrap();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "| {RECORD}, while a log grows by {:.0} MB/s ({written} lines, the last stored at most {behind:.1} s later; resident {resident} MiB) | Insyn over HTTP, each look written down | {:.1} | {:.1} | {:.1} | {} |",
        bytes as f64 / 1e6 / time.as_secs_f64(),
        at(0.5),
        at(0.95),
        at(1.0),
        times.len()
    );
}

/// Writes 20 MB of FHIR audit events a second about these people until then; how many lines, and bytes.
fn grow(log: &Path, people: &[String], until: Instant) -> (u64, u64) {
    let mut log = File::create(log).unwrap();
    let (mut written, mut bytes, start) = (0_u64, 0_u64, Instant::now());
    while Instant::now() < until {
        let mut lines = String::new();
        while bytes + lines.len() as u64 <= (start.elapsed().as_secs_f64() * 20e6) as u64
            && lines.len() < 1 << 20
        {
            let person = &people[(mixed(written) % people.len() as u64) as usize];
            let event = audit_event(&format!("live-{written}"), (written % 500) as usize);
            lines += &event.replace("194607222389", person);
            lines.push('\n');
            written += 1;
        }
        log.write_all(lines.as_bytes()).unwrap();
        bytes += lines.len() as u64;
        std::thread::sleep(Duration::from_millis(20));
    }
    (written, bytes)
}

fn count_rows(answer: &str) -> u64 {
    answer.matches("\"occurred_at\"").count() as u64
}

/// How many counts there are, what they come to, and seconds of the first and last of each.
fn sum_of_days(answer: &str) -> u64 {
    let day = |item: &serde_json::Value| {
        1 + item["n"].as_u64().unwrap() + seconds(&item["first"]) % 1000 + seconds(&item["last"]) % 1000
    };
    items(answer).iter().map(day).sum()
}

/// How many rows there are, and seconds of each.
fn sum_of_times(answer: &str) -> u64 {
    items(answer).iter().map(|item| 1 + seconds(&item["occurred_at"]) % 1000).sum()
}

fn items(answer: &str) -> Vec<serde_json::Value> {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    assert!(answer["items"].is_array(), "{answer}");
    answer["items"].as_array().cloned().unwrap_or_default()
}

fn seconds(time: &serde_json::Value) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    u64::try_from(time.timestamp()).unwrap()
}

fn peer_says(folder: &Path, peer: &str) -> Vec<String> {
    let script =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo")).join("race_peers.py");
    let output = Command::new("python3").arg(script).arg(folder).arg(peer).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{peer} does not race: {why}");
        eprintln!("SKIPPED: {peer} is left out: {}", why.lines().last().unwrap_or_default());
    }
    said.lines().map(str::to_owned).collect()
}

/// One connection that is kept.
struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    token: String,
}

impl Client {
    fn connect(address: &str, token: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { answers: BufReader::new(stream.try_clone().unwrap()), stream, token: token.to_owned() }
    }

    fn get(&mut self, path: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: insyn\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\r\n",
            self.token
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        let (mut line, mut length, mut chunked) = (String::new(), 0, false);
        self.answers.read_line(&mut line).unwrap();
        let is_ok = line.contains(" 200 ");
        loop {
            line.clear();
            self.answers.read_line(&mut line).unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(bytes) = header.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
            chunked |= header == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.answers.read_line(&mut line).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.answers.read_exact(&mut chunk).unwrap();
                if size == 0 {
                    break;
                }
                body.extend_from_slice(&chunk[..size]);
            }
        } else {
            body.resize(length, 0);
            self.answers.read_exact(&mut body).unwrap();
        }
        let text = String::from_utf8(body).unwrap();
        assert!(is_ok, "{path}: {text}");
        text
    }
}
