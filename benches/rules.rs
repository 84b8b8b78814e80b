//! What a run of the rules takes over one new day, beside ever more that is stored.
//!
//! `cargo build --release && cargo bench --workspace --bench rules`; of a debug build, `cargo build && cargo bench --workspace --bench rules
//! --profile dev`, which says something of what grows and nothing of how fast it is. `INSYN_RULES_NEW` (10,000) accesses come
//! on one day after `INSYN_RULES_DAYS` (30) days of as many, with `INSYN_RULES_RELATIONS` (50,000) care relations and
//! `INSYN_RULES_STAFF` (500) of staff; `INSYN_RULES_TIMES` (1,2,4,8) says how many times as many days are stored, `INSYN_RULES_RUNS` (3)
//! how often each is measured. The lake is written by the engine itself, batch by batch, as reading logs would; the context
//! tables are CSV. What is timed is `insyn rules run --new`, from start to end of the process; the workflow database is put back
//! before each run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Europe::Stockholm;
use insyn_benches::{Runs, Took, beside, command_of, high_water, setting};
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lake, SourceCommit};

/// Rows of a commit: a busy hospital's log of some minutes.
const BATCH: u64 = 50_000;
const HOUR: i64 = 3_600_000_000;

const CONFIG: &str = r#"
[organisation]
id = "SE2321000016"
name = "Region Exempel"
timezone = "Europe/Stockholm"

[rules.intrusive]
decided_by = "Bench"
decided_on = "2026-01-01"
assessment = "none: a bench"
"#;

/// How much there is of everything.
#[derive(Clone, Copy)]
struct World {
    /// Accesses of a day.
    new: u64,
    days: u64,
    relations: u64,
    staff: u64,
}

impl World {
    /// Fifty accesses a person, as in a lake of a region; at least so many that each relation has somebody of its own.
    fn subjects(&self) -> u64 {
        (self.new * self.days / 50).max(self.relations / 3).max(100)
    }

    fn units(&self) -> u64 {
        (self.staff / 25).max(4)
    }
}

fn main() {
    let world = World {
        new: setting("INSYN_RULES_NEW", 10_000),
        days: setting("INSYN_RULES_DAYS", 30),
        relations: setting("INSYN_RULES_RELATIONS", 50_000),
        staff: setting("INSYN_RULES_STAFF", 500),
    };
    let runs: usize = setting("INSYN_RULES_RUNS", 3);
    let times: String = setting("INSYN_RULES_TIMES", "1,2,4,8".to_owned());
    println!(
        "{} new accesses, {} care relations, {} of staff, {} runs each\n",
        world.new, world.relations, world.staff, runs
    );
    println!("| stored | run s | from–to s | resident MiB | what it says |\n|---|---|---|---|---|");
    for times in times.split(',').map(|times| times.trim().parse::<u64>().unwrap()) {
        // Persons, relations and staff stay as they are: only for how long they have been logged grows.
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path(), world, times);
        let mut took = Runs::default();
        let mut said = String::new();
        for _ in 0..runs {
            put_back(folder.path());
            let (run, stderr) = measured(folder.path());
            took.0.push(run);
            said = stderr;
        }
        let (least, most) = took.spread();
        println!(
            "| {} | {:.2} | {least:.2}–{most:.2} | {} | {} |",
            world.new * world.days * times,
            took.median(),
            took.resident(),
            said.lines().filter(|line| line.contains(" ms")).collect::<Vec<_>>().join("; ")
        );
    }
}

/// The lake up to the day before, judged; then the new day.
fn prepare(folder: &Path, world: World, times: u64) {
    fs::write(folder.join("insyn.toml"), CONFIG).unwrap();
    fs::create_dir(folder.join("context")).unwrap();
    let day = Stockholm.with_ymd_and_hms(2026, 10, 15, 0, 0, 0).unwrap();
    context(&folder.join("context"), &world, day.with_timezone(&Utc));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = day.timestamp_micros();
    let begun = Instant::now();
    let days = world.days * times;
    let stored = world.new * days;
    runtime.block_on(async {
        let lake = Lake::open("lake", folder).await.unwrap();
        let mut made = 0;
        let mut sequence = 0;
        while made < stored {
            let rows = BATCH.min(stored - made);
            let at = |n: u64| start - ((days - (made + n) / world.new) as i64) * 24 * HOUR;
            sequence += 1;
            commit(&lake, sequence, (0..rows).map(|n| access(&world, made + n, at(n)))).await;
            made += rows;
        }
        while lake.compact().await.unwrap().is_some() {}
    });
    command_of(&beside(), folder, &["context", "load"]);
    // What is stored counts as judged.
    command_of(&beside(), folder, &["rules", "run", "--new", "--from", "2026-10-15"]);
    for file in databases(folder) {
        fs::copy(folder.join(&file), folder.join(format!("{file}.before"))).unwrap();
    }
    runtime.block_on(async {
        let lake = Lake::open("lake", folder).await.unwrap();
        let mut sequence = stored.div_ceil(BATCH);
        for from in (0..world.new).step_by(BATCH as usize) {
            let rows = BATCH.min(world.new - from);
            sequence += 1;
            commit(&lake, sequence, (from..from + rows).map(|n| access(&world, stored + n, start))).await;
        }
        lake.rested().await;
    });
    eprintln!(
        "{stored} accesses and {} new ones written in {:.0} s",
        world.new,
        begun.elapsed().as_secs_f64()
    );
}

async fn commit(lake: &Lake, sequence: u64, events: impl Iterator<Item = AccessEvent>) {
    let batch = SourceCommit {
        source: "journal".into(),
        sequence: i64::try_from(sequence).unwrap(),
        events: events.collect(),
        ..SourceCommit::default()
    };
    lake.commit(batch).await.unwrap();
}

fn databases(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("state.db") && !name.ends_with(".before")).collect()
}

fn put_back(folder: &Path) {
    for file in databases(folder) {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names.collect::<Vec<_>>() {
        if let Some(file) = name.strip_suffix(".before") {
            fs::copy(folder.join(&name), folder.join(file)).unwrap();
        }
    }
}

/// Runs the rules; what that took, and what was said.
fn measured(folder: &Path) -> (Took, String) {
    let said = folder.join("said.txt");
    let begun = Instant::now();
    let mut child = Command::new(beside())
        .current_dir(folder)
        .args(["rules", "run", "--new"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let mut resident = 0;
    let status = loop {
        resident = resident.max(high_water(child.id()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let took = Took { time: begun.elapsed(), resident };
    let said = fs::read_to_string(&said).unwrap();
    assert!(status.success(), "{said}");
    (took, said)
}

/// One of 97 in a hundred looks by staff at people of their own unit; the rest at anybody. The `n`th row is the same whenever it is made.
fn access(world: &World, n: u64, day: i64) -> AccessEvent {
    let user = mixed(n) % world.staff;
    let unit = user % world.units();
    let subject = match mixed(n ^ 0xACCE55) % 100 {
        0..97 => {
            // Persons are of the unit that their number says, as far as there are relations.
            let known = world.relations.min(world.subjects());
            let of_unit = (known / world.units()).max(1);
            (mixed(n ^ 0x5EED) % of_unit) * world.units() + unit
        }
        _ => mixed(n ^ 0xE15E) % world.subjects(),
    };
    let at = day + (mixed(n ^ 0x71ED) % 86_400) as i64 * 1_000_000;
    let instant = DateTime::from_timestamp_micros(at).unwrap();
    let kind = mixed(n ^ 0xACED) % 1_000;
    AccessEvent {
        event_id: format!("{:016x}{:016x}", mixed(n), mixed(n + 1)),
        source: "journal".into(),
        organisation_id: "SE2321000016".into(),
        controller_id: "SE2321000016".into(),
        occurred_at: at,
        year: instant.format("%Y").to_string(),
        action: Some(if kind < 120 { "U" } else { "R" }.into()),
        activity: Some(if kind >= 980 { "Utskrift" } else { "Läsa" }.into()),
        outcome: Some(if kind == 500 { "minor-failure" } else { "success" }.into()),
        emergency: (kind == 501).then_some(true),
        purpose: Some("Vård och behandling".into()),
        user_kind: Some("staff".into()),
        user_id: Some(user_id(user)),
        user_title: Some("Sjuksköterska".into()),
        care_unit_id: Some(unit_id(unit)),
        care_unit_name: Some(format!("Avdelning {unit}")),
        care_provider_id: Some("SE2321000016-1".into()),
        subject_id: Some(subject_id(subject)),
        resource_care_provider_id: Some("SE2321000016-1".into()),
        client_address: Some(format!("10.{}.{}.7", unit / 250, unit % 250)),
        file_id: "f".into(),
        file_offset: i64::try_from(n * 400).unwrap(),
        file_length: 400,
        record: Some(String::new()),
        ..AccessEvent::default()
    }
}

fn user_id(user: u64) -> String {
    format!("SE2321000016-U{user}")
}

fn unit_id(unit: u64) -> String {
    format!("SE2321000016-E{unit}")
}

/// Twelve digits of somebody born in the last century.
fn subject_id(subject: u64) -> String {
    let year = 1920 + subject % 80;
    format!("{year}{:02}{:02}{:04}", 1 + subject / 80 % 12, 1 + subject / 960 % 28, subject / 26_880 % 10_000)
}

/// Tables that every rule of the pack needs, with rows of those who occur.
fn context(folder: &Path, world: &World, day: DateTime<Utc>) {
    let (mut units, mut staff, mut assignments, mut schedule, mut places) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    for unit in 0..world.units() {
        writeln!(
            units,
            "{},Avdelning {unit},SE2321000016-1,Region Exempel,,{}",
            unit_id(unit),
            user_id(unit)
        )
        .unwrap();
        writeln!(places, "10.{}.{}.0/24,{}", unit / 250, unit % 250, unit_id(unit)).unwrap();
    }
    for user in 0..world.staff {
        let (id, unit) = (user_id(user), unit_id(user % world.units()));
        let person = subject_id(mixed(user ^ 0x57AFF) % world.subjects());
        writeln!(
            staff,
            "{id},{person},Anna Namn{user},Sjuksköterska,Gatan {user},{:05},2015-01-01,",
            user % 90_000
        )
        .unwrap();
        writeln!(assignments, "{id},{unit},nurse,2015-01-01,").unwrap();
        for shift in -1..2 {
            let starts = day + chrono::TimeDelta::days(shift);
            let ends = starts + chrono::TimeDelta::hours(23);
            writeln!(schedule, "{id},{unit},{},{},shift", rfc3339(starts), rfc3339(ends)).unwrap();
        }
    }
    let mut relations = String::new();
    let kinds = ["visit", "admission", "booking", "referral", "home_care", "registration"];
    for n in 0..world.relations {
        let subject = n % world.subjects();
        let kind = kinds[(mixed(n) % kinds.len() as u64) as usize];
        let from = day - chrono::TimeDelta::days((mixed(n ^ 1) % 60) as i64 + 1);
        let to = from + chrono::TimeDelta::days(40);
        let unit = unit_id(subject % world.units());
        writeln!(relations, "{},{unit},,{kind},{},{}", subject_id(subject), rfc3339(from), rfc3339(to))
            .unwrap();
    }
    let (mut subjects, mut kinship, mut blocks, mut consents, mut watched) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    for subject in 0..world.subjects() {
        let id = subject_id(subject);
        let protected = subject % 2_000 == 7;
        writeln!(
            subjects,
            "{id},Bo Namn{},Vägen {subject},{:05},{protected},false,",
            subject / 3,
            subject % 90_000
        )
        .unwrap();
        let other = subject_id(mixed(subject ^ 0xF00D) % world.subjects());
        if subject % 5 == 0 {
            writeln!(kinship, "{id},{other},parent,2000-01-01,").unwrap();
        }
        if subject % 500 == 3 {
            writeln!(blocks, "{id},{},SE2321000016-1,,2020-01-01,", unit_id(subject % world.units()))
                .unwrap();
        }
        if subject % 50 == 9 {
            writeln!(consents, "{id},{},SE2321000016-1,,2020-01-01,", unit_id(subject % world.units()))
                .unwrap();
        }
        if subject % 20_000 == 11 {
            writeln!(watched, "{id},a bench,SE2321000016,2026-01-01,").unwrap();
        }
    }
    let write = |name: &str, header: &str, rows: &str| {
        fs::write(folder.join(format!("{name}.csv")), format!("{header}\n{rows}")).unwrap();
    };
    write(
        "units",
        "care_unit_id,name,care_provider_id,care_provider_name,parent_unit_id,manager_user_id",
        &units,
    );
    write("staff", "user_id,person_id,name,title,address,postcode,employed_from,employed_to", &staff);
    write("assignments", "user_id,care_unit_id,role,valid_from,valid_to", &assignments);
    write("schedule", "user_id,care_unit_id,starts_at,ends_at,kind", &schedule);
    write("places", "address_range,care_unit_id", &places);
    write("care_relations", "subject_id,care_unit_id,user_id,kind,valid_from,valid_to", &relations);
    write(
        "subjects",
        "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on",
        &subjects,
    );
    write("kinship", "subject_id,related_id,kind,valid_from,valid_to", &kinship);
    write("blocks", "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to", &blocks);
    write("consents", "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to", &consents);
    write("watchlist", "subject_id,reason,decided_by,valid_from,valid_to", &watched);
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// SplitMix64: the same number each time.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
