//! What held then, and what was known then, against what the loads said one by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use chrono::DateTime;
use insyn_engine::context::{self, KnownAt, Moment, over_time};
use insyn_engine::output::{self, Format};
use insyn_engine::session::{Scope, Session};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use crate::world::{World, ZONE, at, event};

const DAY: i64 = 86_400_000_000;

/// Loads these tables (name, CSV) as they were exported then; the load's name.
async fn load(world: &World, exported: i64, tables: &[(&str, String)]) -> String {
    let dir = world.path().join("context");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    for (name, csv) in tables {
        std::fs::write(dir.join(format!("{name}.csv")), csv).unwrap();
    }
    context::load_exported(&world.lake, &dir, ZONE, Some(exported)).await.unwrap().load
}

async fn session(world: &World, known: KnownAt, as_of: Option<i64>) -> Session {
    Session::at(&world.lake, ZONE, Scope::All, &Moment { known, as_of }).await.unwrap()
}

/// The rows of a query as lines, sorted.
async fn lines(session: &Session, query: &str) -> Vec<String> {
    let answer = session.sql(query).await.unwrap();
    let mut text = Vec::new();
    output::write(Format::Csv, &answer.schema, &answer.batches, ZONE, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What a table is like that the oracle knows.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    header: &'static str,
    /// How many of the first columns name one thing; none: the whole row does. Nothing else counts before it is known.
    key: Option<usize>,
    /// A column that tells of a day.
    fact: Option<usize>,
    /// Whether what is entered late was so before.
    always: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "subjects",
        header: "subject_id,address,deceased_on,valid_from,valid_to,name,postcode,protected_identity,public_figure",
        key: Some(1),
        fact: Some(2),
        always: false,
    },
    Shape {
        name: "accounts",
        header: "account_id,user_id,source,valid_from,valid_to",
        key: Some(1),
        fact: None,
        always: false,
    },
    Shape {
        name: "watchlist",
        header: "subject_id,reason,decided_by,valid_from,valid_to",
        key: None,
        fact: None,
        always: false,
    },
    Shape {
        name: "kinship",
        header: "subject_id,related_id,kind,valid_from,valid_to",
        key: None,
        fact: None,
        always: true,
    },
];

/// Three texts, and from when to when, as days.
type Row = (String, String, String, Option<i64>, Option<i64>);

fn rows(shape: Shape) -> impl Strategy<Value = Vec<Row>> {
    let period = prop_oneof![3 => Just((None, None)), 1 => (0..9i64, 0..9i64).prop_map(|(a, b)| (Some(a), Some(a + b))), 1 => (0..9i64).prop_map(|a| (None, Some(a)))];
    let third = match shape.fact {
        Some(_) => {
            prop_oneof![Just(String::new()), Just("2026-03-03".to_owned()), Just("2026-03-04".to_owned())]
                .boxed()
        }
        None if shape.name == "accounts" => Just("s".to_owned()).boxed(),
        None => prop_oneof![Just("x".to_owned()), Just("y".to_owned())].boxed(),
    };
    let row = (0..3u8, 0..3u8, third, period);
    let row =
        row.prop_map(|(one, two, three, (from, to))| (format!("P{one}"), format!("A{two}"), three, from, to));
    prop::collection::vec(row, 0..5)
}

/// One load: of each table its rows, or that it is not there.
fn loads() -> impl Strategy<Value = Vec<Vec<Option<Vec<Row>>>>> {
    let tables: Vec<_> = SHAPES.iter().map(|shape| prop::option::weighted(0.9, rows(*shape))).collect();
    prop::collection::vec(tables, 1..6)
}

fn day(n: i64) -> i64 {
    at("2026-01-01T00:00:00Z") + n * DAY
}

fn shown(at: Option<i64>) -> String {
    at.map(output_time).unwrap_or_default()
}

fn output_time(at: i64) -> String {
    let at = DateTime::from_timestamp_micros(at).unwrap();
    let form = if at.timestamp_subsec_micros() == 0 {
        chrono::SecondsFormat::Secs
    } else {
        chrono::SecondsFormat::Micros
    };
    at.to_rfc3339_opts(form, true)
}

fn csv(shape: Shape, rows: &[Row]) -> String {
    let more = shape.header.split(',').count() - 5;
    let rows = rows.iter().map(|(a, b, c, from, to)| {
        let (from, to) = (shown(from.map(day)), shown(to.map(day)));
        format!("{a},{b},{c},{from},{to}{}\n", ",".repeat(more))
    });
    format!("{}\n{}", shape.header, rows.collect::<String>())
}

/// From which load to which a row was there.
#[derive(Debug, Clone)]
struct Stretch {
    row: Row,
    from: usize,
    to: Option<usize>,
    before: bool,
}

/// Load by load.
fn stretches(shape: Shape, loads: &[Option<Vec<Row>>]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let mut was_there = false;
    for (n, load) in loads.iter().enumerate() {
        let now = load.clone().unwrap_or_default();
        let mut open: BTreeMap<Row, Vec<usize>> = BTreeMap::new();
        for (i, stretch) in all.iter().enumerate().filter(|(_, stretch)| stretch.to.is_none()) {
            open.entry(stretch.row.clone()).or_default().push(i);
        }
        let of_key = |row: &Row, all: &[Stretch]| all.iter().any(|known| known.row.0 == row.0);
        let earlier = all.clone();
        let mut counts: BTreeMap<Row, usize> = BTreeMap::new();
        now.iter().for_each(|row| *counts.entry(row.clone()).or_default() += 1);
        for (row, ids) in &open {
            let stay = counts.get(row).copied().unwrap_or(0);
            for i in ids.iter().skip(stay) {
                all[*i].to = Some(n);
            }
        }
        for (row, count) in counts {
            let stay = open.get(&row).map_or(0, Vec::len);
            for _ in stay..count {
                let before = match (was_there, shape.key) {
                    (false, _) => true,
                    (true, Some(_)) => !of_key(&row, &earlier),
                    (true, None) => shape.always,
                };
                all.push(Stretch { row: row.clone(), from: n, to: None, before });
            }
        }
        was_there |= load.is_some();
    }
    all
}

/// What holds over time by the first `known` loads: columns and period, as lines.
fn over(shape: Shape, stretches: &[Stretch], known: usize) -> Vec<(Row, Option<i64>, Option<i64>)> {
    let mut out = Vec::new();
    for stretch in stretches.iter().filter(|stretch| stretch.from < known) {
        let over = stretch.to.filter(|to| *to < known);
        let (.., from, to) = &stretch.row;
        let mut row = stretch.row.clone();
        let is_dated = from.is_some() || to.is_some();
        if let (Some(_), true) = (over, is_dated) {
            continue;
        }
        if let (Some(_), Some(_)) = (over, shape.fact) {
            let now = stretches.iter().filter(|s| s.from < known && s.to.is_none_or(|to| to >= known));
            let facts: Vec<String> = now.filter(|s| s.row.0 == row.0).map(|s| s.row.2.clone()).collect();
            if !facts.is_empty() {
                let all = facts.iter().all(|fact| !fact.is_empty());
                row.2 = if all { facts.into_iter().max().unwrap() } else { String::new() };
            }
        }
        let begins = if stretch.before { None } else { Some(loaded(stretch.from)) };
        let period = match is_dated {
            true => (from.map(day), to.map(day)),
            false => (begins, over.map(|to| loaded(to) - 1)),
        };
        out.push((row, period.0, period.1));
    }
    out
}

/// When a load was exported: in the middle of the days that rows tell of.
fn loaded(n: usize) -> i64 {
    day(2 * n as i64) + 3_600_000_000
}

fn as_lines(rows: impl Iterator<Item = (Row, Option<i64>, Option<i64>)>) -> Vec<String> {
    let mut lines: Vec<String> =
        rows.map(|((a, b, c, ..), from, to)| format!("{a},{b},{c},{},{}", shown(from), shown(to))).collect();
    lines.sort();
    lines
}

async fn check(loads: Vec<Vec<Option<Vec<Row>>>>, asked: Vec<(usize, i64)>) {
    let world = World::new().await;
    let mut names = Vec::new();
    for (n, tables) in loads.iter().enumerate() {
        let tables = SHAPES.iter().zip(tables);
        let files: Vec<(&str, String)> =
            tables.filter_map(|(shape, rows)| Some((shape.name, csv(*shape, rows.as_ref()?)))).collect();
        names.push(load(&world, loaded(n), &files).await);
    }
    for (known, when) in asked {
        let known = known % names.len() + 1;
        let as_of = day(when) + DAY / 3;
        let name = KnownAt::Load(names[known - 1].clone());
        let (now, then) =
            (session(&world, name.clone(), None).await, session(&world, name, Some(as_of)).await);
        for (n, shape) in SHAPES.iter().enumerate() {
            let of_table: Vec<Option<Vec<Row>>> = loads.iter().map(|load| load[n].clone()).collect();
            let stretches = stretches(*shape, &of_table);
            let columns: Vec<&str> = shape.header.split(',').take(5).collect();
            let query = |table: &str| format!("SELECT {} FROM {table}", columns.join(", "));
            let what = format!("{} known at {known} of {}", shape.name, names.len());
            let loaded = of_table[known - 1].clone().unwrap_or_default().into_iter();
            let loaded = as_lines(loaded.map(|row| (row.clone(), row.3.map(day), row.4.map(day))));
            assert_eq!(lines(&now, &query(shape.name)).await, loaded, "{what}");
            let all = over(*shape, &stretches, known);
            let over_time = over_time(shape.name);
            assert_eq!(
                lines(&now, &query(&over_time)).await,
                as_lines(all.iter().cloned()),
                "{what} over time"
            );
            let held = all.into_iter().filter(|(_, from, to)| {
                from.is_none_or(|from| from <= as_of) && to.is_none_or(|to| as_of <= to)
            });
            assert_eq!(lines(&then, &query(shape.name)).await, as_lines(held), "{what} as of day {when}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_held_and_what_was_known_is_what_the_loads_said(
        loads in loads(),
        asked in prop::collection::vec((0..9usize, 0..14i64), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(loads, asked));
    }
}

const SUBJECTS: &str = "subject_id,name,address,postcode,protected_identity,public_figure,deceased_on\n";
const ACCOUNTS: &str = "source,account_id,user_id,valid_from,valid_to\n";

#[tokio::test]
async fn an_account_without_dates_is_whose_it_was_then() {
    let world = World::new().await;
    world
        .commit(&[
            event("early", "omsorg", "2026-01-15T09:00:00Z", "anka01", "191212121212"),
            event("march", "omsorg", "2026-03-15T09:00:00Z", "anka01", "191212121212"),
            event("may", "omsorg", "2026-05-15T09:00:00Z", "anka01", "191212121212"),
            event("late", "omsorg", "2026-03-15T09:00:00Z", "bia", "191212121212"),
        ])
        .await;
    let accounts = |rows: &str| vec![("accounts", format!("{ACCOUNTS}{rows}"))];
    load(&world, at("2026-02-01T00:00:00Z"), &accounts(",anka01,SE-A,,\n")).await;
    load(&world, at("2026-04-01T00:00:00Z"), &accounts(",anka01,SE-B,,\n,bia,SE-C,,\n")).await;
    let actors = "SELECT event_id, actor_id FROM accesses";
    let now = world.session().await;
    assert_eq!(lines(&now, actors).await, ["early,SE-A", "late,SE-C", "march,SE-A", "may,SE-B"]);
    assert_eq!(lines(&now, "SELECT user_id FROM accounts").await, ["SE-B", "SE-C"]);
}

#[tokio::test]
async fn what_was_known_at_a_time_is_what_had_been_loaded_by_then() {
    let world = World::new().await;
    let units = "care_unit_id,name,care_provider_id,care_provider_name\n";
    world.load(&[("units", &format!("{units}U,First,P,P\n"))]).await;
    let between = chrono::Utc::now().timestamp_micros();
    world.load(&[("units", &format!("{units}U,Second,P,P\n"))]).await;
    let names = "SELECT name FROM units";
    for (known, name) in
        [(KnownAt::Now, "Second"), (KnownAt::Time(between), "First"), (KnownAt::Time(i64::MAX), "Second")]
    {
        assert_eq!(lines(&session(&world, known, None).await, names).await, [name]);
    }
    let before = session(&world, KnownAt::Time(between - DAY), None).await;
    assert!(
        lines(&before, names).await.is_empty() && before.context_load().is_none(),
        "nothing was loaded yet"
    );
    let unknown = KnownAt::Load("20200101T000000.000000Z-00000000".to_owned());
    let error = Session::at(&world.lake, ZONE, Scope::All, &Moment { known: unknown, as_of: None })
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the context load: found none of that name, expected one that was made and is kept"
    );
}

#[tokio::test]
async fn tables_of_long_ago_are_known_from_when_they_are_loaded() {
    let world = World::new().await;
    let subjects = |address: &str| vec![("subjects", format!("{SUBJECTS}191212121212,T,{address},1,,,\n"))];
    load(&world, at("2026-02-01T00:00:00Z"), &subjects("Old")).await;
    let before = chrono::Utc::now().timestamp_micros();
    load(&world, at("2026-04-01T00:00:00Z"), &subjects("New")).await;
    let address = "SELECT subject_id, address FROM subjects";
    for (known, as_of, found) in [
        (KnownAt::Now, None, "New"),
        (KnownAt::Now, Some(at("2026-03-01T00:00:00Z")), "Old"),
        (KnownAt::Now, Some(at("2025-03-01T00:00:00Z")), "Old"),
        (KnownAt::Time(before), None, "Old"),
        (KnownAt::Time(before), Some(at("2026-05-01T00:00:00Z")), "Old"),
    ] {
        let told = format!("{known:?} {as_of:?}");
        let session = session(&world, known, as_of).await;
        assert_eq!(lines(&session, address).await, [format!("191212121212,{found}")], "{told}");
    }
    let dir = world.path().join("context");
    for (exported, says) in [
        (
            at("2026-04-01T00:00:00Z"),
            "expected a time after the load before, which is of 2026-04-01T00:00:00Z",
        ),
        (i64::MAX / 4, "expected a time that has been"),
    ] {
        let error =
            context::load_exported(&world.lake, &dir, ZONE, Some(exported)).await.unwrap_err().to_string();
        assert!(error.ends_with(says), "{error}");
    }
}

/// Bytes and files below a folder of the lake's context.
fn files(world: &World, folder: &str) -> Vec<std::path::PathBuf> {
    let listed = std::fs::read_dir(world.path().join("lake/context").join(folder));
    let mut paths: Vec<_> = listed.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn many(changed: usize) -> Vec<(&'static str, String)> {
    let row =
        |n: usize| format!("{},Name,Street {},1,,,\n", 190_000_000_000 + n, if n == changed { 0 } else { n });
    vec![
        ("subjects", format!("{SUBJECTS}{}", (1..2000).map(row).collect::<String>())),
        ("accounts", format!("{ACCOUNTS},a,U,,\n")),
    ]
}

#[tokio::test]
async fn what_does_not_change_is_stored_once() {
    let world = World::new().await;
    load(&world, day(0), &many(1)).await;
    let first = files(&world, "tables");
    for n in 1..10 {
        load(&world, day(n), &many(1)).await;
    }
    assert_eq!(files(&world, "tables"), first, "ten loads of the same");
    assert_eq!((first.len(), files(&world, "history").len()), (2, 0));
    // The same rows in another order are no change either.
    let mut turned = many(1);
    let rows: Vec<&str> = turned[0].1.trim_end().lines().collect();
    let back = rows[1..].iter().rev().map(|row| format!("{row}\n")).collect::<String>();
    turned[0].1 = format!("{}\n{back}", rows[0]);
    load(&world, day(10), &turned).await;
    assert_eq!((files(&world, "tables").len(), files(&world, "history").len()), (2, 0));
    // Each of these changes two rows: where somebody lived and where they live.
    for n in 11..60 {
        load(&world, day(n), &many(n as usize)).await;
    }
    let current = world.session().await.context_load().unwrap().clone();
    let history = current.history.unwrap();
    let gone = &history.tables.iter().find(|table| table.table == "subjects").unwrap().gone;
    assert_eq!(gone.iter().map(|file| file.rows).sum::<u64>(), 2 * 49);
    assert!(gone.len() <= 6, "{} files", gone.len());
    let moved = lines(
        &session(&world, KnownAt::Now, Some(day(30) + 1)).await,
        "SELECT subject_id FROM subjects WHERE address = 'Street 0'",
    )
    .await;
    assert_eq!(moved, ["190000000030"]);
}

/// Makes files and manifests as old as they would be after these hours.
fn grow_old(world: &World, hours: i64) {
    let context = world.path().join("lake/context");
    let then = SystemTime::now() - Duration::from_secs(hours as u64 * 3600);
    for folder in std::fs::read_dir(context).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.ends_with("manifest.json") {
                let mut text: serde_json::Value =
                    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                let made = text["made_at"].as_i64().unwrap();
                text["made_at"] = (made - hours * 3_600_000_000).into();
                std::fs::write(&file, text.to_string()).unwrap();
            }
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_replaced_goes_when_nobody_reads_it_any_more_and_is_still_known() {
    let world = World::new().await;
    let first = load(&world, day(0), &many(1)).await;
    load(&world, day(1), &many(2)).await;
    assert_eq!(files(&world, "tables").len(), 3);
    let reading = session(&world, KnownAt::Load(first.clone()), None).await;
    grow_old(&world, 3);
    load(&world, day(2), &many(3)).await;
    assert_eq!(files(&world, "tables").len(), 4, "who began to read a while ago may go on");
    assert_eq!(
        lines(&reading, "SELECT subject_id FROM subjects WHERE address = 'Street 0'").await,
        ["190000000001"]
    );
    grow_old(&world, 7);
    load(&world, day(3), &many(4)).await;
    assert!(!world.path().join("lake/context").join(&first).join("manifest.json").exists());
    // Accounts as the first load brought them, subjects as the last two did.
    assert_eq!(files(&world, "tables").len(), 3);
    let then = session(&world, KnownAt::Load(first.clone()), None).await;
    assert_eq!(then.context_load().unwrap().id, first);
    assert_eq!(
        lines(&then, "SELECT subject_id FROM subjects WHERE address = 'Street 0'").await,
        ["190000000001"]
    );
    assert_eq!(lines(&then, "SELECT count(*) FROM subjects").await, ["1999"]);
}

/// Whether any file of the context has this text in it, decoded.
fn names(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => names(&path, text),
        false if path.extension().is_some_and(|ending| ending == "parquet") => {
            let file = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
            let statistics = format!("{:?}", file.metadata());
            let mut batches = file.build().unwrap().map(|batch| batch.unwrap());
            statistics.contains(text)
                || batches.any(|batch| {
                    let texts = batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
                    texts.flat_map(|column| column.iter().flatten()).any(|value| value.contains(text))
                })
        }
        false => String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text),
    })
}

#[tokio::test]
async fn what_is_forgotten_is_in_no_file() {
    let world = World::new().await;
    let subjects = |ids: &[&str]| {
        let rows = ids.iter().map(|id| format!("{id},T,S,1,,,\n")).collect::<String>();
        vec![("subjects", format!("{SUBJECTS}{rows}"))]
    };
    let (old, later, now) = ("191212121212", "197010632391", "201212121212");
    load(&world, day(0), &subjects(&[old, later, now])).await;
    load(&world, day(10), &subjects(&[later, now])).await;
    load(&world, day(20), &subjects(&[now])).await;
    let context = world.path().join("lake/context");
    assert!([old, later, now].iter().all(|id| names(&context, id)));
    let aged = context::aged(&world.lake, day(15)).await.unwrap();
    assert_eq!((aged.loads.len(), aged.rows), (1, 1), "{aged:?}");
    context::forget(&world.lake, &aged).await.unwrap();
    assert!(context::aged(&world.lake, day(15)).await.unwrap().is_empty());
    assert_eq!([old, later, now].map(|id| names(&context, id)), [false, true, true]);
    let known =
        lines(&session(&world, KnownAt::Now, Some(day(12))).await, "SELECT subject_id FROM subjects").await;
    assert_eq!(known, [later, now]);
    let aged = context::aged(&world.lake, i64::MAX).await.unwrap();
    context::forget(&world.lake, &aged).await.unwrap();
    assert_eq!([old, later, now].map(|id| names(&context, id)), [false, false, true]);
    assert_eq!(lines(&world.session().await, "SELECT subject_id FROM subjects").await, [now]);
}

#[tokio::test]
async fn loads_of_an_earlier_version_are_kept_whole_and_what_changes_after_them_is_told() {
    let world = World::new().await;
    let rows = |address: &str| vec![("subjects", format!("{SUBJECTS}191212121212,T,{address},1,,,\n"))];
    // As an earlier version left them: each load with its own files, and no word of history.
    for (n, address) in [(0, "First"), (1, "Second")] {
        let id = load(&world, day(n), &rows(address)).await;
        let folder = world.path().join("lake/context").join(&id);
        let manifest = folder.join("manifest.json");
        let mut text: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
        let path = world.path().join("lake").join(text["tables"][0]["path"].as_str().unwrap());
        std::fs::rename(path, folder.join("subjects.parquet")).unwrap();
        text.as_object_mut().unwrap().remove("history");
        text.as_object_mut().unwrap().remove("made_at");
        let table = text["tables"][0].as_object_mut().unwrap();
        ["path", "print", "contradictions"].iter().for_each(|key| drop(table.remove(*key)));
        std::fs::write(&manifest, text.to_string()).unwrap();
    }
    let address = "SELECT subject_id, address FROM subjects";
    assert_eq!(lines(&world.session().await, address).await, ["191212121212,Second"]);
    load(&world, day(2), &rows("Third")).await;
    assert_eq!(lines(&world.session().await, address).await, ["191212121212,Third"]);
    let then = |n: i64| session(&world, KnownAt::Now, Some(day(n) + DAY / 2));
    assert_eq!(lines(&then(1).await, address).await, ["191212121212,Second"]);
    assert_eq!(lines(&then(2).await, address).await, ["191212121212,Third"]);
    let known = KnownAt::Time(day(0) + DAY / 2);
    assert_eq!(lines(&session(&world, known, None).await, address).await, ["191212121212,First"]);
}
