//! What a run of the rules takes over one new day, beside ever more that is stored.
//!
//! `cargo build --release && cargo bench --workspace --bench rules`; of a debug build, `cargo build && cargo bench --workspace --bench rules
//! --profile dev`, which says something of what grows and nothing of how fast it is. `INSYN_RULES_NEW` (10,000) accesses come
//! on one day after `INSYN_RULES_DAYS` (30) days of as many, with `INSYN_RULES_RELATIONS` (50,000) care relations and
//! `INSYN_RULES_STAFF` (500) of staff; `INSYN_RULES_TIMES` (1,2,4,8) says how many times as many days are stored, `INSYN_RULES_RUNS` (3)
//! how often each is measured, `INSYN_RULES_FOLDER` where the worlds are kept for another run. The lake is written by the engine itself,
//! batch by batch, as reading logs would; the context tables are CSV. What is timed is `insyn rules run --new`, from start to end of the
//! process; the workflow database is put back before each run.
//!
//! Over the first of these worlds the same rules and explanations then run as plain SQL in DuckDB, on two threads with 4 GB
//! (`rules_duckdb.py`; `pip install duckdb deltalake`). Who is not there says so and is left out, but not with `CI=true`. A rule that
//! names other accesses there ends the bench: of a debug build that is what a run is for. The new day begins with a few hundred
//! accesses of which every rule has something to say, but `missing-numbers`, which no source here asks for.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Europe::Stockholm;
use insyn_benches::{Runs, Took, beside, command_of, high_water, setting};
use insyn_engine::event::AccessEvent;
use insyn_engine::lake::{Lacking, Lake, LakeError, SourceCommit};

/// Rows of a commit: a busy hospital's log of some minutes.
const BATCH: u64 = 50_000;
const HOUR: i64 = 3_600_000_000;
/// The new day.
const DAY: &str = "2026-10-15";
/// Where each explanation by itself is asked about the day, too: no larger days.
const SMALL: u64 = 100_000;

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
#[derive(Clone, Copy, Debug)]
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

    /// Somebody of a unit: persons are of the unit that their number says.
    fn of_unit(&self, unit: u64, nth: u64) -> u64 {
        nth % (self.subjects() / self.units()) * self.units() + unit % self.units()
    }

    /// Somebody of another unit than the user's, and of none that is near to it.
    fn stranger(&self, user: u64, nth: u64) -> u64 {
        self.of_unit(user + 1, nth)
    }

    /// Who the user is.
    fn person(&self, user: u64) -> u64 {
        mixed(user ^ 0x57AFF) % self.subjects()
    }

    fn child(&self, user: u64) -> u64 {
        self.stranger(user, 300 + user)
    }

    /// Two more of staff, who did nothing on the days before: the first last did months ago.
    fn dormant(&self) -> u64 {
        self.staff
    }

    fn searcher(&self) -> u64 {
        self.staff + 1
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
    let mut table = String::new();
    for (n, times) in times.split(',').map(|times| times.trim().parse::<u64>().unwrap()).enumerate() {
        // Persons, relations and staff stay as they are: only for how long they have been logged grows.
        let temporary = tempfile::tempdir().unwrap();
        let kept =
            std::env::var_os("INSYN_RULES_FOLDER").map(|kept| PathBuf::from(kept).join(times.to_string()));
        let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
        let (done, wanted) = (folder.join("prepared.txt"), format!("{world:?}"));
        if !fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
            fs::create_dir_all(&folder).unwrap();
            prepare(&folder, world, times);
            fs::write(done, wanted).unwrap();
        }
        let mut took = Runs::default();
        let mut said = String::new();
        for _ in 0..runs {
            put_back(&folder);
            let (run, stderr) = measured(&folder);
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
        if n == 0 {
            table = in_duckdb(&folder, world, took.median());
        }
    }
    println!("\n{table}");
}

/// The same rules over the same files in DuckDB: a table of what each took and named, beside what it took here.
fn in_duckdb(folder: &Path, world: World, seconds: f64) -> String {
    if world.new <= SMALL {
        let asked = ["rules", "explanations", "--from", DAY, "--to", DAY, "--format", "ndjson"];
        fs::write(folder.join("explanations.ndjson"), command_of(&beside(), folder, &asked)).unwrap();
    }
    let benches = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo")).to_owned();
    let (script, rules) = (benches.join("rules_duckdb.py"), benches.join("../rules"));
    let asked = Command::new("python3").arg(script).arg(folder).arg(rules).arg(DAY).output();
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    let (code, said, why) = match asked {
        Ok(asked) => (
            asked.status.code(),
            String::from_utf8_lossy(&asked.stdout).into_owned(),
            String::from_utf8_lossy(&asked.stderr).into_owned(),
        ),
        Err(error) => (Some(3), String::new(), format!("python3: {error}")),
    };
    if code == Some(3) && !is_ci {
        return format!("SKIPPED: DuckDB is left out: {}", why.trim());
    }
    assert_eq!(code, Some(0), "DuckDB answers otherwise:\n{said}{why}");
    let mut table =
        "| | DuckDB ms | accesses | waiting | Insyn ms | |\n|---|---|---|---|---|---|\n".to_owned();
    for line in said.lines().filter(|line| line.matches('|').count() > 1) {
        writeln!(table, "| {} |", line.replace('|', " | ")).unwrap();
    }
    let of_all = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('|'));
        line.and_then(|value| value.parse::<f64>().ok()).expect("the script says it")
    };
    let duckdb = of_all("total ms") / 1000.0;
    let (laying, explaining) = (of_all("laying ms") / 1000.0, of_all("explaining ms") / 1000.0);
    writeln!(
        table,
        "\nDuckDB, two threads, 4 GB: {duckdb:.2} s, of which {laying:.2} s laying out and {explaining:.2} s explaining, resident {} \
         MiB; Insyn, the median from start to end of the process: {seconds:.2} s; DuckDB takes {:.2} times as long",
        of_all("resident MiB"),
        duckdb / seconds
    )
    .unwrap();
    for line in said.lines().filter(|line| line.starts_with("NOT RUN")) {
        writeln!(table, "{line}").unwrap();
    }
    table
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
            commit(&lake, sequence, (0..rows).map(|n| access(&world, made + n, at(n))).collect()).await;
            made += rows;
        }
        commit(&lake, sequence + 1, long_ago(&world, start)).await;
        let lab = SourceCommit {
            source: "lab".into(),
            sequence: 1,
            events: of_lab(&world, start),
            ..SourceCommit::default()
        };
        lake.commit(lab).await.unwrap();
        in_order(&lake).await;
    });
    command_of(&beside(), folder, &["context", "load"]);
    // What is stored counts as judged.
    command_of(&beside(), folder, &["rules", "run", "--new", "--from", DAY]);
    for file in databases(folder) {
        fs::copy(folder.join(&file), folder.join(format!("{file}.before"))).unwrap();
    }
    runtime.block_on(async {
        let lake = Lake::open("lake", folder).await.unwrap();
        let mut sequence = stored.div_ceil(BATCH) + 1;
        let mut rows = Script::of(&world, stored, start).rows;
        let lacking = lacking(&rows[0]);
        let scripted = rows.len() as u64;
        assert!(scripted <= world.new, "at least {scripted} new accesses are needed");
        for from in (scripted..world.new.max(scripted + 1)).step_by(BATCH as usize) {
            rows.extend((from..world.new.min(from + BATCH)).map(|n| access(&world, stored + n, start)));
            sequence += 1;
            commit(&lake, sequence, std::mem::take(&mut rows)).await;
        }
        let noticed = SourceCommit {
            source: "journal".into(),
            sequence: i64::try_from(sequence + 1).unwrap(),
            lacking: vec![lacking],
            ..SourceCommit::default()
        };
        lake.commit(noticed).await.unwrap();
        lake.rested().await;
    });
    eprintln!(
        "{stored} accesses and {} new ones written in {:.0} s",
        world.new,
        begun.elapsed().as_secs_f64()
    );
}

/// Brings all files into order. A merge that commits set going beside is waited for.
async fn in_order(lake: &Lake) {
    loop {
        match lake.compact().await {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(LakeError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn commit(lake: &Lake, sequence: u64, events: Vec<AccessEvent>) {
    let sequence = i64::try_from(sequence).unwrap();
    let batch = SourceCommit { source: "journal".into(), sequence, events, ..SourceCommit::default() };
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

/// 97 in a hundred look at people of their own unit; the rest at anybody. The `n`th row is the same whenever it is made.
fn access(world: &World, n: u64, day: i64) -> AccessEvent {
    let user = mixed(n) % world.staff;
    let unit = user % world.units();
    let subject = match mixed(n ^ 0xACCE55) % 100 {
        0..97 => {
            // As far as there are relations.
            let known = world.relations.min(world.subjects());
            let of_unit = (known / world.units()).max(1);
            (mixed(n ^ 0x5EED) % of_unit) * world.units() + unit
        }
        _ => mixed(n ^ 0xE15E) % world.subjects(),
    };
    let mut event = look(world, n, user, Some(subject), day, mixed(n ^ 0x71ED) % 86_400);
    match mixed(n ^ 0xACED) % 1_000 {
        // Nobody writes about those whose care has ended.
        0..120 if is_over(subject) => {}
        0..60 => event.action = Some("C".into()),
        60..120 => event.action = Some("U".into()),
        500 => event.outcome = Some("minor-failure".into()),
        501 => event.emergency = Some(true),
        510..515 => event.resource_care_provider_id = Some("SE2321000016-2".into()),
        520..522 => event.client_address = Some("192.0.2.9".into()),
        530..533 => event.purpose = Some("Kvalitetsregister".into()),
        540 => event.user_person_id = Some(subject_id(world.person(user))),
        980.. => event.activity = Some("Utskrift".into()),
        _ => {}
    }
    event
}

/// The `n`th row: a user of staff reads from the own unit, so many seconds into the day.
fn look(world: &World, n: u64, user: u64, subject: Option<u64>, day: i64, second: u64) -> AccessEvent {
    let unit = user % world.units();
    let at = day + second as i64 * 1_000_000;
    let instant = DateTime::from_timestamp_micros(at).unwrap();
    AccessEvent {
        event_id: format!("{:016x}{:016x}", mixed(n), mixed(n + 1)),
        source: "journal".into(),
        organisation_id: "SE2321000016".into(),
        controller_id: "SE2321000016".into(),
        occurred_at: at,
        year: instant.format("%Y").to_string(),
        action: Some("R".into()),
        activity: Some("Läsa".into()),
        outcome: Some("success".into()),
        purpose: Some("Vård och behandling".into()),
        user_kind: Some("staff".into()),
        user_id: Some(if has_account(user) { account_id(user) } else { user_id(user) }),
        user_title: Some(
            match user % 97 {
                11 => "Ekonom",
                12 => "Systemförvaltare",
                13 => "Student",
                _ => "Sjuksköterska",
            }
            .into(),
        ),
        care_unit_id: Some(unit_id(unit)),
        care_unit_name: Some(format!("Avdelning {unit}")),
        care_provider_id: Some("SE2321000016-1".into()),
        subject_id: subject.map(|subject| match has_other_id(subject) && n.is_multiple_of(2) {
            true => other_id(subject),
            false => subject_id(subject),
        }),
        resource_care_provider_id: Some("SE2321000016-1".into()),
        resource_care_unit_id: subject.map(|subject| unit_id(subject % world.units())),
        client_address: Some(format!("10.{}.{}.7", unit / 250, unit % 250)),
        file_id: "f".into(),
        file_offset: i64::try_from(n * 400).unwrap(),
        file_length: 400,
        record: Some(String::new()),
        ..AccessEvent::default()
    }
}

/// The last that the user did who then did nothing for months.
fn long_ago(world: &World, start: i64) -> Vec<AccessEvent> {
    let (user, day) = (world.dormant(), start - 120 * 24 * HOUR);
    (0..5).map(|n| look(world, (1 << 40) + n, user, Some(world.of_unit(user, n)), day, 60 * n)).collect()
}

/// A source that gave something on each day, and gives nothing on the new one.
fn of_lab(world: &World, start: i64) -> Vec<AccessEvent> {
    let each = |n: u64| {
        let (user, day) = (n % world.staff, start - (1 + n as i64 / 25) * 24 * HOUR);
        let event =
            look(world, (2 << 40) + n, user, Some(world.of_unit(user, n)), day, 9 * 3_600 + n % 25 * 60);
        AccessEvent { source: "lab".into(), ..event }
    };
    (0..25 * world.days.min(35)).map(each).collect()
}

fn lacking(event: &AccessEvent) -> Lacking {
    Lacking {
        source: event.source.clone(),
        file_id: event.file_id.clone(),
        export_file_id: "later".into(),
        file_offset: event.file_offset,
        occurred_at: event.occurred_at,
        noticed_at: event.occurred_at + 24 * HOUR,
    }
}

/// Accesses of the new day of which rules have something to say.
struct Script<'a> {
    world: &'a World,
    first: u64,
    start: i64,
    rows: Vec<AccessEvent>,
}

impl Script<'_> {
    fn of(world: &World, first: u64, start: i64) -> Script<'_> {
        let mut script = Script { world, first, start, rows: Vec::new() };
        script.many();
        script.of_persons();
        script.of_searches();
        script.of_accounts();
        script
    }

    fn adds(&mut self, user: u64, subject: u64, second: u64) -> &mut AccessEvent {
        self.puts(user, Some(subject), second)
    }

    fn puts(&mut self, user: u64, subject: Option<u64>, second: u64) -> &mut AccessEvent {
        let n = self.first + self.rows.len() as u64;
        self.rows.push(look(self.world, n, user, subject, self.start, second));
        self.rows.last_mut().unwrap()
    }

    /// Of many persons in a day.
    fn many(&mut self) {
        let world = self.world;
        // Strangers in the order of their numbers, ten in six minutes; and in that of their names.
        let mut numbered: Vec<u64> = (0..16).map(|n| world.stranger(30, n)).collect();
        numbered.sort_by_key(|subject| subject_id(*subject));
        for (n, subject) in (0..).zip(numbered) {
            self.adds(30, subject, 36_000 + 36 * n);
        }
        let mut named: Vec<u64> = (20..32).map(|n| world.stranger(31, n)).collect();
        named.sort_by_key(|subject| family_name(*subject / 3).to_lowercase() + ",");
        for (n, subject) in (0..).zip(named) {
            self.adds(31, subject, 39_600 + 120 * n);
        }
        // Six times as many as others, and as the same user on other days, and all of them printed.
        for n in 0..(6 * world.new / world.staff).max(60).min(world.subjects() / world.units()) {
            self.adds(54, world.of_unit(54, n), 25_200 + 20 * n).activity = Some("Utskrift".into());
        }
        for n in 0..3 {
            self.adds(51, world.of_unit(51, n), 36_000 + 60 * n).emergency = Some(true);
        }
        // Six users at one stranger, and one user at one stranger again and again.
        for n in 0..6 {
            self.adds(world.units() * n + 1 + n % 2, world.of_unit(0, 50), 43_200 + 60 * n);
        }
        for n in 0..3 {
            self.adds(57, world.stranger(57, 12), 32_400 + 2_400 * n);
        }
    }

    /// Of what one has to do with another, in private or at work.
    fn of_persons(&mut self) {
        let world = self.world;
        self.adds(1 + world.units(), world.child(1), 32_400);
        self.adds(1, world.child(1), 33_000);
        self.adds(40, world.person(40 + world.units()), 32_400);
        self.adds(3, world.person(3 + world.units()), 32_460);
        self.adds(41, world.person(41), 32_400).user_person_id = Some(subject_id(world.person(41)));
        self.adds(53, world.stranger(53, 70), 32_400);
        // A namesake; somebody in the same street; a relation that ended; a user who has left.
        self.adds(7, 21, 32_400);
        self.adds(5, 6, 32_400);
        self.adds(4, 4, 32_400);
        self.adds(19, world.of_unit(19, 1), 32_400);
        // Who has died, has protected identity, is watched.
        for (n, subject) in (0..).zip([13, 7, 11]) {
            self.adds(6, subject, 28_800 + 60 * n);
        }
        for user in [11, 12, 13] {
            self.adds(user, world.stranger(user, 10), 54_000);
        }
        self.adds(42, world.stranger(42, 60), 39_900);
        self.adds(61, world.stranger(61, 9), 32_400);
        self.adds(64, world.of_unit(66, 9), 32_400);
        self.adds(52, world.of_unit(52, 9), 32_400).purpose = Some("Kvalitetsregister".into());
        self.adds(60, world.of_unit(62, 9), 50_400).care_unit_id = Some(unit_id(61 % world.units()));
    }

    /// Of what was refused, and of searches.
    fn of_searches(&mut self) {
        let world = self.world;
        self.adds(6, 3, 32_405).outcome = Some("minor-failure".into());
        self.adds(6, 3, 57_600);
        self.adds(50, world.stranger(50, 5), 32_400).outcome = Some("minor-failure".into());
        self.adds(50, world.stranger(50, 5), 33_600).emergency = Some(true);
        for n in 0..3 {
            self.adds(56, world.stranger(56, 11), 32_400 + 60 * n).outcome = Some("serious-failure".into());
        }
        self.searches(55, 32_400, "namn=Namn7");
        self.adds(55, world.stranger(55, 8), 32_520);
        for n in 0..21 {
            self.searches(world.searcher(), 64_800 + 20 * n, "personnr=19");
        }
    }

    fn searches(&mut self, user: u64, second: u64, how: &str) {
        let event = self.puts(user, None, second);
        (event.activity, event.activity_args) = (Some("Sök".into()), Some(how.into()));
    }

    /// Of an account that was used after a long time, and of one in two places at once.
    fn of_accounts(&mut self) {
        let world = self.world;
        self.adds(world.dormant(), world.of_unit(world.dormant(), 3), 46_800);
        for n in 0..12 {
            let event = self.adds(59, world.of_unit(59, n), 68_400 + 50 * n);
            event.client_address = Some(format!("10.9.9.{}", 1 + n % 2));
            event.care_unit_id = Some(unit_id((59 + n % 2) % world.units()));
        }
    }
}

/// Whose relations ended long ago.
fn is_over(subject: u64) -> bool {
    subject % 1_000 == 4
}

/// Whom the log names by an account.
fn has_account(user: u64) -> bool {
    user % 100 == 21
}

fn account_id(user: u64) -> String {
    format!("konto{user}")
}

/// Who has another number besides.
fn has_other_id(subject: u64) -> bool {
    subject % 1_000 == 21
}

fn other_id(subject: u64) -> String {
    format!("R{}", subject_id(subject))
}

fn family_name(nth: u64) -> String {
    format!("Namn{nth}")
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
    let write = |name: &str, header: &str, rows: &str| {
        fs::write(folder.join(format!("{name}.csv")), format!("{header}\n{rows}")).unwrap();
    };
    let (mut units, mut places) = (String::new(), String::new());
    for unit in 0..world.units() {
        // Four parts each, but the first few stand for themselves.
        let above = if unit < 4 { String::new() } else { unit_id(unit / 4) };
        let leader = user_id(unit);
        writeln!(units, "{},Avdelning {unit},SE2321000016-1,Region Exempel,{above},{leader}", unit_id(unit))
            .unwrap();
        writeln!(places, "10.{}.{}.0/24,{}", unit / 250, unit % 250, unit_id(unit)).unwrap();
    }
    write(
        "units",
        "care_unit_id,name,care_provider_id,care_provider_name,parent_unit_id,manager_user_id",
        &units,
    );
    write("places", "address_range,care_unit_id", &places);
    staff(&write, world, day);
    relations(&write, world, day);
    subjects(&write, world, day);
}

fn staff(write: &impl Fn(&str, &str, &str), world: &World, day: DateTime<Utc>) {
    let (mut staff, mut assignments, mut schedule, mut accounts) =
        (String::new(), String::new(), String::new(), String::new());
    for user in 0..world.staff + 2 {
        let (id, unit) = (user_id(user), unit_id(user % world.units()));
        let person = subject_id(world.person(user));
        let left = if user % 1_000 == 19 { "2026-09-30" } else { "" };
        let (name, postcode) = (family_name(user), user % 90_000);
        writeln!(
            staff,
            "{id},{person},Anna {name},Sjuksköterska,Gatan {user},{postcode:05},2015-01-01,{left}"
        )
        .unwrap();
        writeln!(assignments, "{id},{unit},nurse,2015-01-01,").unwrap();
        if user % 25 == 2 {
            let other = unit_id((user + 1) % world.units());
            writeln!(assignments, "{id},{other},Kvalitetssamordnare,2015-01-01,").unwrap();
        }
        let mut shift = |unit: &str, days: i64, hours: i64, kind: &str| {
            let starts = day + chrono::TimeDelta::days(days);
            let ends = starts + chrono::TimeDelta::hours(hours);
            writeln!(schedule, "{id},{unit},{},{},{kind}", rfc3339(starts), rfc3339(ends)).unwrap();
        };
        // One in fifty is off on the new day.
        for days in (-1..2).filter(|days| *days != 0 || user % 50 != 3) {
            shift(&unit, days, 23, "shift");
        }
        if user % 10 == 4 {
            shift(&unit_id((user + 2) % world.units()), 0, 24, "on_call");
        }
        if has_account(user) {
            writeln!(accounts, "journal,{},{id},2015-01-01,", account_id(user)).unwrap();
        }
    }
    write("staff", "user_id,person_id,name,title,address,postcode,employed_from,employed_to", &staff);
    write("assignments", "user_id,care_unit_id,role,valid_from,valid_to", &assignments);
    write("schedule", "user_id,care_unit_id,starts_at,ends_at,kind", &schedule);
    write("accounts", "source,account_id,user_id,valid_from,valid_to", &accounts);
}

fn relations(write: &impl Fn(&str, &str, &str), world: &World, day: DateTime<Utc>) {
    const KINDS: [&str; 10] = [
        "visit",
        "admission",
        "booking",
        "referral",
        "home_care",
        "registration",
        "laboratory",
        "case",
        "enrolment",
        "other",
    ];
    let mut relations = String::new();
    for n in 0..world.relations {
        let subject = n % world.subjects();
        let kind = KINDS[(mixed(n) % KINDS.len() as u64) as usize];
        let ago = mixed(n ^ 1) % 60 + if is_over(subject) { 101 } else { 1 };
        let from = day - chrono::TimeDelta::days(ago as i64);
        let (from, to) = (rfc3339(from), rfc3339(from + chrono::TimeDelta::days(40)));
        let unit = subject % world.units();
        // Somebody there, whom a few relations name, or who made them.
        let somebody = user_id(mixed(n ^ 2) % (world.staff / world.units()) * world.units() + unit);
        let (user, by, made) = match (n % 20, n % 33) {
            (7, _) => (somebody.as_str(), "", ""),
            (_, 5) => ("", somebody.as_str(), from.as_str()),
            _ => ("", "", ""),
        };
        let (subject, unit) = (subject_id(subject), unit_id(unit));
        writeln!(relations, "{subject},{unit},{user},{kind},{from},{to},{by},{made}").unwrap();
    }
    let (subject, day) = (subject_id(world.stranger(61, 9)), rfc3339(day));
    writeln!(
        relations,
        "{subject},{},{},mistaken_opening,{day},{day},,",
        unit_id(61 % world.units()),
        user_id(61)
    )
    .unwrap();
    write(
        "care_relations",
        "subject_id,care_unit_id,user_id,kind,valid_from,valid_to,created_by,created_at",
        &relations,
    );
}

fn subjects(write: &impl Fn(&str, &str, &str), world: &World, day: DateTime<Utc>) {
    let (mut subjects, mut kinship, mut blocks, mut consents, mut watched, mut identities) =
        (String::new(), String::new(), String::new(), String::new(), String::new(), String::new());
    for subject in 0..world.subjects() {
        let (id, name) = (subject_id(subject), family_name(subject / 3));
        let protected = subject % 2_000 == 7;
        let died = if subject % 1_000 == 13 { "2026-01-01" } else { "" };
        // One in a hundred lives in the street where the user of staff before lives.
        let (street, postcode) = match subject % 100 {
            6 => ("Gatan", (subject - 1) % 90_000),
            _ => ("Vägen", subject % 90_000),
        };
        writeln!(subjects, "{id},Bo {name},{street} {subject},{postcode:05},{protected},false,{died}")
            .unwrap();
        let other = subject_id(mixed(subject ^ 0xF00D) % world.subjects());
        let unit = unit_id(subject % world.units());
        if subject % 5 == 0 {
            writeln!(kinship, "{id},{other},parent,2000-01-01,").unwrap();
        }
        if subject % 100 == 3 {
            writeln!(blocks, "{id},{unit},SE2321000016-1,,2020-01-01,").unwrap();
        }
        if subject % 50 == 9 {
            writeln!(consents, "{id},{unit},SE2321000016-1,,2020-01-01,,,").unwrap();
        }
        if subject % 20_000 == 11 {
            writeln!(watched, "{id},a bench,SE2321000016,2026-01-01,").unwrap();
        }
        if has_other_id(subject) {
            writeln!(identities, "{id},{},,", other_id(subject)).unwrap();
        }
    }
    for user in (1..world.staff).step_by(50) {
        let (parent, child) = (subject_id(world.person(user)), subject_id(world.child(user)));
        writeln!(kinship, "{parent},{child},child,2010-01-01,").unwrap();
    }
    let (one, other) = (subject_id(world.person(53)), subject_id(world.stranger(53, 70)));
    writeln!(kinship, "{one},{other},spouse,2000-01-01,2025-06-30").unwrap();
    let given = rfc3339(day + chrono::TimeDelta::hours(11));
    let (subject, unit, user) =
        (subject_id(world.stranger(42, 60)), unit_id(42 % world.units()), user_id(42));
    writeln!(consents, "{subject},{unit},SE2321000016-1,,{DAY},,{user},{given}").unwrap();
    write(
        "subjects",
        "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on",
        &subjects,
    );
    write("kinship", "subject_id,related_id,kind,valid_from,valid_to", &kinship);
    write("blocks", "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to", &blocks);
    write(
        "consents",
        "subject_id,care_unit_id,care_provider_id,kind,valid_from,valid_to,created_by,created_at",
        &consents,
    );
    write("watchlist", "subject_id,reason,decided_by,valid_from,valid_to", &watched);
    write("identities", "subject_id,other_id,other_id_type,valid_from", &identities);
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
