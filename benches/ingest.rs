//! How fast and in how much memory the release binary reads logs of each format into the lake, beside DuckDB.
//!
//! `cargo build --release && cargo bench --workspace --bench ingest`. The logs are the demo's, of a larger world, all
//! plain; what they weigh is what is counted. `INSYN_BENCH_LOOKS` (looks a day over 30 days, 24,000 unless told) and
//! `INSYN_BENCH_RUNS` (5) change the size. DuckDB is taken from Python (`pip install duckdb`); without it that part
//! says so and is left out. It writes one Parquet file, neither fsynced nor committed.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;
use insyn_benches::{Runs, insyn, run, setting};
use insyn_demo::{Scale, World};

fn main() {
    let (looks, times) = (setting("INSYN_BENCH_LOOKS", 24_000), setting("INSYN_BENCH_RUNS", 5));
    let folder = tempfile::tempdir().unwrap();
    let events = write_logs(folder.path(), looks);
    println!("{events} access events, {times} runs each, median (quickest to slowest)\n");
    println!("| format | MB | Insyn MB/s | rows/s | resident MiB | DuckDB MB/s | ratio |");
    println!("|---|---|---|---|---|---|---|");
    let config: toml::Table = fs::read_to_string(folder.path().join("insyn.toml")).unwrap().parse().unwrap();
    let sources = config["source"].as_array().unwrap().clone();
    for source in &sources {
        let name = source["name"].as_str().unwrap();
        measure(folder.path(), name, &config, std::slice::from_ref(source), times);
    }
    let json = as_json(folder.path(), &sources);
    measure(folder.path(), "json", &config, &[json], times);
    measure(folder.path(), "all five", &config, &sources, times);
}

/// The rows of the delimited source as one JSON object a line, and the source that reads them.
fn as_json(folder: &Path, sources: &[toml::Value]) -> toml::Value {
    let delimited = sources.iter().find(|source| source["format"].as_str() == Some("delimited")).unwrap();
    let dir = folder.join("logs/json");
    fs::create_dir_all(&dir).unwrap();
    for file in files(folder, delimited) {
        // windows-1252, of which the demo's Swedish uses what is Latin-1 too.
        let text: String = fs::read(&file).unwrap().into_iter().map(char::from).collect();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let rows =
            lines.map(|line| line.split(';').collect()).filter(|row: &Vec<&str>| row.len() == names.len());
        let objects = rows.map(|row| {
            let object: serde_json::Map<_, _> =
                names.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.into())).collect();
            serde_json::Value::Object(object).to_string() + "\n"
        });
        let name = Path::new(file.file_name().unwrap()).with_extension("ndjson");
        fs::write(dir.join(name), objects.collect::<String>()).unwrap();
    }
    let mut source = delimited.as_table().unwrap().clone();
    for (key, value) in [("name", "json"), ("format", "json"), ("encoding", "utf-8")] {
        source.insert(key.into(), value.into());
    }
    source.insert("path".into(), vec!["logs/json/*.ndjson"].into());
    source.remove("delimiter");
    for (_, field) in source["fields"].as_table_mut().unwrap().iter_mut() {
        let column = match field {
            toml::Value::Table(mapping) => &mut mapping["column"],
            name => name,
        };
        *column = format!("/{}", column.as_str().unwrap()).into();
    }
    source.into()
}

fn measure(folder: &Path, name: &str, config: &toml::Table, sources: &[toml::Value], times: usize) {
    let mut config = config.clone();
    config.insert("source".into(), toml::Value::Array(sources.to_vec()));
    config["lake"].as_table_mut().unwrap().insert("url".into(), "./bench-lake".into());
    config.insert(
        "spool".into(),
        toml::Value::Table([("dir".to_owned(), "bench-spool".into())].into_iter().collect()),
    );
    fs::write(folder.join("bench.toml"), config.to_string()).unwrap();
    let bytes: u64 = sources.iter().flat_map(|source| files(folder, source)).map(|file| size(&file)).sum();
    let megabytes = bytes as f64 / 1e6;

    let mut ours = Runs::default();
    for _ in 0..times {
        for left in ["bench-lake", "bench-spool"] {
            let _ = fs::remove_dir_all(folder.join(left));
        }
        let mut command = Command::new(insyn());
        ours.0.push(run(command.arg("--config").arg(folder.join("bench.toml")).args(["ingest", "--once"])));
    }
    let rows = rows(folder);
    let mut theirs = Runs::default();
    let format = sources.first().and_then(|source| source["format"].as_str()).unwrap_or_default();
    if sources.len() == 1 && has_duckdb() && matches!(format, "fhir-audit-event" | "delimited" | "json") {
        for _ in 0..times {
            let script = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo"))
                .join("duckdb_ingest.py");
            let logs = files(folder, &sources[0]);
            let mut command = Command::new("python3");
            theirs.0.push(run(command.arg(script).arg(format).arg(folder.join("peer.parquet")).args(logs)));
        }
    }
    let rate = |seconds: f64| megabytes / seconds;
    let (quickest, slowest) = ours.spread();
    let peer = match theirs.0.is_empty() {
        true => "–|–".to_owned(),
        false => {
            let (best, worst) = theirs.spread();
            let (peer, ratio) = (rate(theirs.median()), theirs.median() / ours.median());
            format!("{peer:.0} ({:.0}–{:.0})|{ratio:.2}", rate(worst), rate(best))
        }
    };
    println!(
        "|{name}|{megabytes:.0}|{:.0} ({:.0}–{:.0})|{:.0}|{}|{peer}|",
        rate(ours.median()),
        rate(slowest),
        rate(quickest),
        rows as f64 / ours.median(),
        ours.resident(),
    );
}

/// A world of 30 days, every file plain. Gives its events.
fn write_logs(folder: &Path, looks: usize) -> usize {
    let end = Utc::now().with_timezone(&chrono_tz::Europe::Stockholm);
    let world = World::generate(1, 30, end, Scale { accesses_per_day: looks, ..Scale::default() });
    let written = world.write(folder, "127.0.0.1:0").unwrap();
    for log in
        fs::read_dir(folder.join("logs")).unwrap().flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap())
    {
        let path = log.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "gz") {
            let mut packed = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
            std::io::copy(&mut packed, &mut fs::File::create(path.with_extension("")).unwrap()).unwrap();
            fs::remove_file(path).unwrap();
        }
    }
    written.events
}

/// The files of a source: each of the demo's has one glob, in one folder.
fn files(folder: &Path, source: &toml::Value) -> Vec<PathBuf> {
    let glob = source["path"][0].as_str().unwrap();
    let dir = folder.join(Path::new(glob).parent().unwrap());
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |data| data.len())
}

/// Rows in the lake of the last run.
fn rows(folder: &Path) -> u64 {
    let query = "SELECT count(*) AS n FROM access_events";
    let mut command = Command::new(insyn());
    command.arg("--config").arg(folder.join("bench.toml")).args(["sql", query, "--format", "csv"]);
    let out = command.output().unwrap();
    String::from_utf8_lossy(&out.stdout).lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

fn has_duckdb() -> bool {
    let found =
        Command::new("python3").args(["-c", "import duckdb"]).output().is_ok_and(|out| out.status.success());
    if !found {
        println!("DuckDB is not installed (pip install duckdb): no comparison");
    }
    found
}
