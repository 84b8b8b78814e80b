//! From "the line is written" to "a query sees it": FHIR AuditEvents appended to a log at some rate, while `insyn serve`
//! follows it and is asked how many events it has.
//!
//! `cargo build --release && cargo bench --workspace --bench latency`. `INSYN_BENCH_SECONDS` (20) and
//! `INSYN_BENCH_RATE` (megabytes a second, 85: half of what reading reaches) change the load. The writer and the asker
//! run on the same machine and take their share of it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use insyn_benches::{Serving, command, high_water, setting};

const CONFIG: &str = r#"
[organisation]
id = "SE1"
name = "Bench"
[api]
listen = "127.0.0.1:0"
[[source]]
name = "journal"
format = "fhir-audit-event"
path = ["logs/*.ndjson"]
"#;

fn main() {
    let (seconds, rate) = (setting("INSYN_BENCH_SECONDS", 20), setting("INSYN_BENCH_RATE", 85));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("insyn.toml"), CONFIG).unwrap();
    let token = command(
        folder.path(),
        &["token", "create", "--name", "bench", "--role", "service", "--allow", "see_sources"],
    );
    let mut serving = Serving::start(folder.path());
    let written = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (written, done, path) =
            (Arc::clone(&written), Arc::clone(&done), folder.path().join("logs/a.ndjson"));
        std::thread::spawn(move || {
            write(&path, rate as f64 * 1e6, Duration::from_secs(seconds), &written);
            done.store(true, Ordering::SeqCst);
        })
    };
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(seconds + 120);
    loop {
        let events = events(&serving.address, token.trim());
        seen.push((Instant::now(), events));
        let all = written.lock().unwrap().last().map_or(0, |(_, lines)| *lines);
        if done.load(Ordering::SeqCst) && events >= all || Instant::now() > give_up {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    writer.join().unwrap();
    let resident = high_water(serving.child.id());
    serving.stop();
    let written = written.lock().unwrap();
    let (last, lines) = *written.last().unwrap();
    let bytes = std::fs::metadata(folder.path().join("logs/a.ndjson")).unwrap().len();
    let took = last.duration_since(written[0].0).as_secs_f64();
    let mut waits: Vec<f64> = written
        .iter()
        .map(|(at, lines)| {
            let visible = seen.iter().find(|(_, events)| events >= lines).expect("every line is seen").0;
            visible.saturating_duration_since(*at).as_secs_f64()
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!("| written MB/s | lines/s | p50 s | p99 s | most s | resident MiB |\n|---|---|---|---|---|---|");
    println!(
        "| {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {resident} |",
        bytes as f64 / 1e6 / took,
        lines as f64 / took,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Appends lines at a rate, and notes after each piece how many are written.
fn write(path: &Path, rate: f64, length: Duration, written: &Mutex<Vec<(Instant, u64)>>) {
    let mut file = File::create(path).unwrap();
    let (start, mut lines, mut bytes) = (Instant::now(), 0u64, 0usize);
    while start.elapsed() < length {
        let due = (start.elapsed().as_secs_f64() * rate) as usize;
        if bytes >= due {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let mut piece = String::with_capacity(512 << 10);
        while piece.len() < 400 << 10 && bytes + piece.len() < due {
            lines += 1;
            piece.push_str(&insyn_benches::audit_event(&format!("e{lines}"), lines as usize % 5000));
            piece.push('\n');
        }
        file.write_all(piece.as_bytes()).unwrap();
        bytes += piece.len();
        written.lock().unwrap().push((Instant::now(), lines));
    }
}

/// How many events the source has, as whoever asks is told.
fn events(address: &str, token: &str) -> u64 {
    let text = insyn_benches::get(address, "/api/v1/sources", token);
    let rest = text.split("\"events\":").nth(1).unwrap();
    rest.split([',', '}']).next().unwrap().trim().parse().unwrap()
}
