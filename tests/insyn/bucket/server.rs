//! A real store that speaks S3 (`moto`, a process), and a line to it on which answers can be lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Ends with the process that started it: then its standard input ends.
const MOTO: &str = "
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
";

/// The one store of all tests; each has a bucket of its own.
struct Store {
    address: SocketAddr,
    _process: Child,
}

static STORE: LazyLock<Option<Store>> = LazyLock::new(|| {
    let found = Command::new("python3").args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        let missing = "moto[s3,server] for Python is not installed";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        eprintln!("SKIPPED: {missing}; .ci/run installs it");
        return None;
    }
    let mut process = Command::new("python3")
        .args(["-c", MOTO])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 starts");
    let mut port = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut port).expect("moto says its port");
    let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("moto did not start: {port:?}"));
    Some(Store { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process })
});

/// What is asked of the store.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Bucket, key and query, as they are sent.
    pub target: String,
    pub conditional: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// The store does it, and the connection breaks before the answer.
    AnswerLost,
    /// The store does it, and something on the way says that it failed.
    AnsweredWith500,
    /// The connection breaks at once.
    Lost,
    /// It comes through without its conditions, as with a store that knows none.
    Unconditional,
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;

/// A line to the store: counts what is asked, and loses what a test says. Asks one thing at a time: `moto` looks
/// whether an object is there and puts it in two steps.
pub struct Line {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    rule: Arc<Mutex<Rule>>,
}

impl Line {
    /// A line, and a bucket of this name behind it. None, said aloud, where there is no store.
    pub fn to(bucket: &str) -> Option<Line> {
        let line = Line::to_nothing()?;
        let made = ureq::put(format!("http://{}/{bucket}", line.address)).send_empty();
        assert!(made.expect("the store answers").status().is_success());
        line.forget();
        Some(line)
    }

    /// The same without a bucket.
    pub fn to_nothing() -> Option<Line> {
        let store = STORE.as_ref()?.address;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Fate::Passes)));
        let (log, rules) = (Arc::clone(&asked), Arc::clone(&rule));
        // Both end with the test process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (log, rules) = (Arc::clone(&log), Arc::clone(&rules));
                std::thread::spawn(move || pass(client, store, &log, &rules));
            }
        });
        Some(Line { address, asked, rule })
    }

    /// From now on the rule decides what becomes of requests.
    pub fn when(&self, rule: impl FnMut(&Request) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    pub fn heals(&self) {
        self.when(|_| Fate::Passes);
    }

    pub fn forget(&self) {
        self.asked().clear();
    }

    pub fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of one client; the connection ends with it.
fn pass(
    mut client: TcpStream,
    store: SocketAddr,
    log: &Mutex<Vec<Request>>,
    rules: &Mutex<Rule>,
) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let named = |line: &str, name: &str| {
        line.split_once(':')
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = head
        .iter()
        .find_map(|line| named(line, "content-length"))
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let is_condition = |line: &str| named(line, "if-match").or(named(line, "if-none-match")).is_some();
    let mut first = head[0].split(' ');
    let request = Request {
        method: first.next()?.to_owned(),
        target: first.next()?.to_owned(),
        conditional: head.iter().any(|line| is_condition(line)),
    };
    // Held until the store has answered.
    let mut rule = rules.lock().unwrap_or_else(PoisonError::into_inner);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let fate = rule(&request);
    if fate == Fate::Lost {
        return None;
    }
    let mut upstream = TcpStream::connect(store).ok()?;
    let kept = head.iter().filter(|line| {
        named(line, "connection").is_none() && !(fate == Fate::Unconditional && is_condition(line))
    });
    let mut text: String = kept.map(|line| format!("{line}\r\n")).collect();
    text.push_str("Connection: close\r\n\r\n");
    upstream.write_all(text.as_bytes()).ok()?;
    upstream.write_all(&body).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    drop(rule);
    match fate {
        Fate::AnswerLost => {}
        Fate::AnsweredWith500 => client
            .write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
            .ok()?,
        _ => client.write_all(&answer).ok()?,
    }
    Some(())
}
