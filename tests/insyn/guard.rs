//! Guarded SQL in the real process: whatever is asked, the process stays within a stated size, and a question that nobody
//! waits for any more ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::house::{House, Running, audit_event};

const ANNA: &str = "191212121212";

/// What `insyn sql` may take at its highest, in kB; a debug build takes as much as a release.
const MOST_KB: u64 = 1 << 20;

/// Four thousand looks with records of a kilobyte, and one that is long.
fn house() -> House {
    let house = House::new();
    let look = |n: usize| {
        let line = audit_event(&format!("e{n}"), "2026-03-02T08:00:00+01:00", "SE1-1", ANNA);
        let note = "x".repeat(if n == 2000 { 4 << 20 } else { 400 });
        format!("{},\"note\":\"{note}\"}}\n", line.trim_end().strip_suffix('}').unwrap())
    };
    house.write("logs/journal/a.ndjson", (0..4000).map(look).collect::<String>().as_bytes());
    assert_eq!(house.ingest()["events"], 4000);
    house
}

/// How it ended, what it said, and how large it was at its highest, in kB.
fn peak(house: &House, query: &str) -> (Option<i32>, String, u64) {
    let mut command = house.command(&["sql", query, "--format", "csv"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let deadline = Instant::now() + Duration::from_secs(150);
    let mut highest = 0;
    let status = loop {
        // The kernel keeps the highest; it is gone with the process.
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            highest = highest.max(size.unwrap_or_default());
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("not ended within its time: {query}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    (status.code(), said.join().unwrap().unwrap(), highest)
}

#[test]
fn no_attack_makes_the_process_larger_than_is_stated() {
    let house = house();
    let copies =
        (0..30).map(|n| format!("max(length(upper(record || '{n}')))")).collect::<Vec<_>>().join(", ");
    let lists = "SELECT array_agg(a.event_id) l FROM access_events a";
    let attacks = [
        "SELECT sum(length(a.record) + length(b.event_id)) FROM access_events a, access_events b".to_owned(),
        "SELECT a.subject_id, a.record, b.record c FROM access_events a JOIN access_events b ON a.subject_id = b.subject_id".to_owned(),
        "SELECT count(*) FROM access_events a JOIN access_events b ON a.record < b.record".to_owned(),
        "SELECT sum(n) FROM (SELECT length(max(record) OVER ()) n FROM access_events)".to_owned(),
        "SELECT sum(n) FROM (SELECT length(last_value(record) OVER (ORDER BY event_id ROWS BETWEEN 9999 PRECEDING AND 9999 \
         FOLLOWING)) n FROM access_events)".to_owned(),
        "SELECT sum(length((SELECT string_agg(record, '') FROM access_events)) + length(event_id)) FROM access_events".to_owned(),
        "SELECT sum(length(u) + length(record)) FROM (SELECT unnest(l) u, record FROM (SELECT array_agg(event_id) l FROM \
         access_events) x, access_events)".to_owned(),
        format!("SELECT sum(array_length(l)) FROM ({lists}) x, access_events, access_events b"),
        format!("SELECT {copies} FROM access_events"),
        "SELECT length(string_agg(a.record, '')) FROM access_events a, access_events b".to_owned(),
        "SELECT array_length(array_agg(r)), array_length(array_agg(DISTINCT i)) FROM (SELECT left(record, 900) r FROM access_events) a, \
         (SELECT event_id i FROM access_events LIMIT 200) b".to_owned(),
        "SELECT count(*) FROM (SELECT DISTINCT r || b.event_id FROM (SELECT left(record, 900) r FROM access_events) a, \
         access_events b)".to_owned(),
        "SELECT max(length(replace(record, 'x', repeat('y', 9)))) FROM access_events".to_owned(),
        format!("SELECT max(length(replace(record, 'x', '{}'))) FROM access_events", "y".repeat(4000)),
        "SELECT max(levenshtein(record, record)) FROM access_events".to_owned(),
        "SELECT count(*) FROM access_events WHERE record ~ '((((x{1,9}){1,9}){1,9}){1,9}){1,9}z'".to_owned(),
        format!("SELECT count(*) FROM access_events WHERE event_id IN ({})", vec!["'e1'"; 3000].join(",")),
    ];
    let mut told = String::new();
    for query in attacks {
        let (code, said, highest) = peak(&house, &query);
        let short: String = query.chars().take(100).collect();
        told += &format!("{:>5} MB {short}\n", highest >> 10);
        match code {
            Some(0) => {}
            Some(1) => {
                let is_clear =
                    ["refused: ", "stopped: ", "Regex", "regex"].iter().any(|part| said.contains(part));
                assert!(is_clear, "{said}: {short}");
            }
            other => panic!("{other:?}: {said}: {short}"),
        }
        assert!(highest > 10_000 && highest < MOST_KB, "{} MB: {short}\n{told}", highest >> 10);
    }
    println!("{told}");
}

/// Every pair of every pair: nobody lives long enough.
const ENDLESS: &str = "WITH e AS (SELECT event_id FROM access_events) SELECT count(*) FROM e a, e b, e c, e d \
                       WHERE length(a.event_id || b.event_id || c.event_id || d.event_id) > 3";

#[test]
fn a_question_that_nobody_waits_for_any_more_ends() {
    let house = House::new();
    house.append("insyn.toml", b"\n[api]\nlisten = \"127.0.0.1:0\"\n");
    let look = |n| audit_event(&format!("e{n}"), "2026-03-02T08:00:00+01:00", "SE1-1", ANNA);
    house.write("logs/journal/a.ndjson", (0..2000).map(look).collect::<String>().as_bytes());
    house.ingest();
    let token = house.ok(&["token", "create", "--name", "utredning", "--role", "investigator"]);
    let mut command = house.command(&["serve"]);
    let mut serve = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let (said, lines) = mpsc::channel();
    let stderr = serve.0.stderr.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| drop(said.send(line)));
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let address = loop {
        let line =
            lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("it says where");
        if let Some(rest) = line.strip_prefix("serving on ") {
            break rest.trim_start_matches("http://").split([';', '/', ' ']).next().unwrap().to_owned();
        }
    };
    let ask = |query: &str| {
        let body = serde_json::json!({ "query": query, "reason": "prov" }).to_string();
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        write!(
            stream,
            "POST /api/v1/sql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            token.trim(),
            body.len()
        )
        .unwrap();
        stream
    };
    // More than may run at once, and each would take all of its minute.
    for _ in 0..8 {
        let asked = ask(ENDLESS);
        std::thread::sleep(Duration::from_millis(300));
        drop(asked);
    }
    let mut answer = String::new();
    ask("SELECT count(*) AS n FROM access_events").read_to_string(&mut answer).expect("a turn comes free");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"n\":2000"), "{answer}");
    // What a program may not see is refused by its name.
    let mut answer = String::new();
    ask("SELECT record FROM access_events").read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("column record"), "{answer}");
    // The question that was given up is a look of its own all the same, or none: nothing was shown.
    serve.kill();
    house.ingest();
    let looks = "SELECT activity_args FROM access_events WHERE source = 'insyn' AND activity = 'sql'";
    let looks = house.rows(&["sql", "--own", looks]);
    assert!(looks.len() >= 2, "{looks:?}");
}
