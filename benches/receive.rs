//! How many FHIR AuditEvents a second the release binary stores: in Bundles of 100 and one by one, from 64 connections,
//! each acknowledged after fsync. The clients run on the same machine and take their share of it.
//!
//! `cargo build --release && cargo bench --workspace --bench receive`. `INSYN_BENCH_SECONDS` (10) and `INSYN_BENCH_RUNS`
//! (3) change the length. What was acknowledged is counted in the lake afterwards: a run that lost one fails.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use insyn_benches::{Serving, command, setting};

const CONNECTIONS: usize = 64;
const CONFIG: &str = r#"
[organisation]
id = "SE1"
name = "Bench"
[api]
listen = "127.0.0.1:0"
[[source]]
name = "journal"
format = "fhir-audit-event"
sender = [{ name = "bench" }]
"#;

fn main() {
    let (seconds, times) = (setting("INSYN_BENCH_SECONDS", 10), setting("INSYN_BENCH_RUNS", 3));
    println!("{CONNECTIONS} connections, {times} runs of {seconds} seconds each, median (least to most)\n");
    println!("| | events/s | requests/s | p50 ms | p99 ms | resident MiB |\n|---|---|---|---|---|---|");
    for (name, together) in [("Bundles of 100", 100), ("one by one", 1)] {
        let mut runs: Vec<Run> =
            (0..times).map(|_| measure(together, Duration::from_secs(seconds))).collect();
        runs.sort_by(|a, b| a.events.total_cmp(&b.events));
        let middle = &runs[runs.len() / 2];
        println!(
            "| {name} | {:.0} ({:.0}–{:.0}) | {:.0} | {:.1} | {:.1} | {} |",
            middle.events,
            runs[0].events,
            runs[runs.len() - 1].events,
            middle.events / together as f64,
            middle.p50,
            middle.p99,
            runs.iter().map(|run| run.resident).max().unwrap_or(0),
        );
    }
}

struct Run {
    /// A second.
    events: f64,
    p50: f64,
    p99: f64,
    resident: u64,
}

fn measure(together: usize, length: Duration) -> Run {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("insyn.toml"), CONFIG).unwrap();
    let token = command(
        folder.path(),
        &["token", "create", "--name", "bench", "--role", "service", "--allow", "send_logs"],
    );
    let mut serving = Serving::start(folder.path());
    let start = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (address, token) = (serving.address.clone(), token.trim().to_owned());
            std::thread::spawn(move || client(&address, &token, n, together, start + length))
        })
        .collect();
    let mut times: Vec<f64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let took = start.elapsed().as_secs_f64();
    let resident = insyn_benches::high_water(serving.child.id());
    serving.stop();
    times.sort_by(f64::total_cmp);
    let acknowledged = times.len() * together;
    command(folder.path(), &["ingest", "--once"]);
    let status = command(folder.path(), &["sources", "status", "--format", "json"]);
    let events = status.split("\"events\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).unwrap();
    assert_eq!(events.trim().parse(), Ok(acknowledged), "what was acknowledged is in the lake");
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1000.0;
    Run { events: acknowledged as f64 / took, p50: at(0.5), p99: at(0.99), resident }
}

/// Posts until the end; how long each request took, in seconds.
fn client(address: &str, token: &str, client: usize, together: usize, end: Instant) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let path = if together == 1 { "/fhir/AuditEvent" } else { "/fhir" };
    let mut times = Vec::new();
    while Instant::now() < end {
        let body = body(client, times.len(), together);
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: insyn\r\nAuthorization: Bearer {token}\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        request.push_str(&body);
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let status = answer(&mut answers);
        assert!(matches!(status, 200 | 201), "{status}");
        times.push(asked.elapsed().as_secs_f64());
    }
    times
}

fn answer(answers: &mut BufReader<TcpStream>) -> u16 {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        answers.read_line(&mut line).unwrap();
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).unwrap();
    status
}

/// Each event has an id of its own.
fn body(client: usize, request: usize, together: usize) -> String {
    let event = |n: usize| insyn_benches::audit_event(&format!("{client}-{request}-{n}"), client);
    if together == 1 {
        return event(0);
    }
    let mut bundle = r#"{"resourceType":"Bundle","type":"batch","entry":["#.to_owned();
    for n in 0..together {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(
            bundle,
            r#"{comma}{{"resource":{},"request":{{"method":"POST","url":"AuditEvent"}}}}"#,
            event(n)
        );
    }
    bundle.push_str("]}");
    bundle
}
