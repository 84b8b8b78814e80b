//! Receiving by the real binary: what was acknowledged is there after kill -9, and a real rsyslog sends to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::house::{House, Running, audit_event};

const RECEIVING: &str = r#"
[organisation]
id = "SE2321000016"
name = "Region Exempel"

[api]
listen = "127.0.0.1:0"
tls_cert = "tls/localhost.pem"
tls_key = "tls/localhost.key"
tls_client_ca = "tls/ca.pem"

[syslog]
tls = "127.0.0.1:0"
tls_cert = "tls/localhost.pem"
tls_key = "tls/localhost.key"
tls_client_ca = "tls/ca.pem"
udp = "127.0.0.1:0"

[[source]]
name = "journal"
format = "fhir-audit-event"
sender = [{ name = "cosmic", certificate = "cosmic.example" }]

[[source]]
name = "portal"
format = "pattern"
pattern = '''^<\d+>1 \S+ \S+ \S+ \S+ \S+ \S+\s+\x{feff}?(?P<event_id>\S+) (?P<occurred_at>\S+) (?P<user_id>\S+) (?P<activity>\S+) (?P<subject_id>\d{12})$'''
sender = [{ name = "rsyslog", certificate = "rsyslog.example" }]
"#;

/// `insyn serve`, until it is dropped or killed.
struct Serving {
    process: Running,
    api: String,
    syslog: String,
}

impl Serving {
    fn start(house: &House) -> Serving {
        Serving::crashing(house, "")
    }

    /// One that dies at a failpoint.
    fn crashing(house: &House, point: &str) -> Serving {
        let mut command = house.command(&["serve"]);
        command.env("INSYN_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running(command.spawn().expect("starts"));
        let (said, lines) = mpsc::channel();
        let stderr = process.0.stderr.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let (mut api, mut syslog) = (None, None);
        let deadline = Instant::now() + Duration::from_secs(60);
        while api.is_none() || syslog.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left).expect("it says where it listens");
            if let Some(address) = line.strip_prefix("serving on ") {
                api = address.split(';').next().map(str::to_owned);
            } else if let Some(address) = line.strip_prefix("receiving syslog over TLS on ") {
                syslog = Some(address.to_owned());
            }
        }
        Serving { process, api: api.expect("an address"), syslog: syslog.expect("an address") }
    }
}

/// Certificates as an operator would have them, below `tls/`.
fn certificates(house: &House) {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    house.write("tls/ca.pem", authority.self_signed(&key).expect("signs").pem().as_bytes());
    let issuer = Issuer::new(authority, key);
    for name in ["localhost", "cosmic.example", "rsyslog.example"] {
        let key = KeyPair::generate().expect("a key");
        let mut certificate = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        certificate.distinguished_name.push(DnType::CommonName, name);
        let certificate = certificate.signed_by(&key, &issuer).expect("signs");
        house.write(&format!("tls/{name}.pem"), certificate.pem().as_bytes());
        house.write(&format!("tls/{name}.key"), key.serialize_pem().as_bytes());
    }
}

fn receiving() -> House {
    let house = House::new();
    house.write("insyn.toml", RECEIVING.as_bytes());
    certificates(&house);
    house
}

/// A client that trusts the house's authority, and shows a certificate where one is named.
fn client(house: &House, shows: Option<&str>) -> ureq::Agent {
    use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
    let read = |name: &str| std::fs::read(house.path(&format!("tls/{name}"))).expect("reads");
    let root = Certificate::from_pem(&read("ca.pem")).expect("a certificate");
    let own = shows.map(|name| {
        let chain = [Certificate::from_pem(&read(&format!("{name}.pem"))).expect("a certificate")];
        let key = PrivateKey::from_pem(&read(&format!("{name}.key"))).expect("a key");
        ClientCert::new_with_certs(&chain, key)
    });
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).client_cert(own).build();
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .new_agent()
}

fn counted(house: &House, source: &str) -> BTreeMap<String, i64> {
    let query = format!(
        "SELECT event_id, count(*) AS n FROM access_events WHERE source = '{source}' GROUP BY event_id LIMIT 100000"
    );
    let rows = house.rows(&["sql", &query]);
    rows.iter()
        .map(|row| (row["event_id"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap()))
        .collect()
}

#[test]
fn what_was_acknowledged_is_there_once_after_kill_9() {
    let house = receiving();
    let token =
        house.ok(&["token", "create", "--name", "cosmic", "--role", "service", "--allow", "send_logs"]);
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..3 {
        let serving = Serving::start(&house);
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                // Two by token, two by certificate.
                let shows = (sender % 2 == 0).then_some("cosmic.example");
                let (agent, token) = (client(&house, shows), token.trim().to_owned());
                let port = serving.api.rsplit(':').next().expect("a port").to_owned();
                std::thread::spawn(move || {
                    let mut stored = Vec::new();
                    for n in 0..100_000 {
                        let id = format!("r{round}-s{sender}-{n}");
                        let event = audit_event(&id, "2026-03-02T08:00:00+01:00", "SE1-1", "191212121212");
                        let mut request = agent
                            .post(format!("https://localhost:{port}/fhir/AuditEvent"))
                            .header("content-type", "application/fhir+json");
                        if shows.is_none() {
                            request = request.header("authorization", format!("Bearer {token}"));
                        }
                        match request.send(event) {
                            Ok(answer) if answer.status() == 201 => stored.push(id),
                            Ok(answer) => panic!("{}", answer.status()),
                            Err(_) => break,
                        }
                    }
                    stored
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(1500 + 400 * round));
        serving.process.kill();
        for sender in senders {
            acknowledged.extend(sender.join().expect("the sender ends"));
        }
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    house.ingest();
    let stored = counted(&house, "journal");
    let lost: Vec<_> = acknowledged.iter().filter(|id| stored.get(*id) != Some(&1)).collect();
    assert!(lost.is_empty(), "{} of {} not once: {:?}", lost.len(), acknowledged.len(), lost.first());
    assert!(stored.values().all(|n| *n == 1));
    let from = house.rows(&["sql", "SELECT DISTINCT received_from FROM access_events"]);
    assert_eq!(from.len(), 1);
    assert_eq!(from[0]["received_from"], "cosmic");
    assert_eq!(house.ingest()["events"], 0);
}

#[test]
fn a_crash_at_each_step_of_storing_loses_nothing_that_was_acknowledged() {
    let house = receiving();
    let mut acknowledged = Vec::new();
    for point in insyn_engine::failpoint::INBOX {
        for nth in [1, 4] {
            if point == "inbox-begun" && nth > 1 {
                // A process begins one file here.
                continue;
            }
            let serving = Serving::crashing(&house, &format!("{point}:{nth}"));
            let agent = client(&house, Some("cosmic.example"));
            let port = serving.api.rsplit(':').next().expect("a port").to_owned();
            let mut died = false;
            for n in 0..20 {
                let id = format!("{point}-{nth}-{n}");
                let event = audit_event(&id, "2026-03-02T08:00:00+01:00", "SE1-1", "191212121212");
                let request = agent
                    .post(format!("https://localhost:{port}/fhir/AuditEvent"))
                    .header("content-type", "application/fhir+json");
                match request.send(event) {
                    Ok(answer) if answer.status() == 201 => acknowledged.push(id),
                    _ => {
                        died = true;
                        break;
                    }
                }
            }
            assert!(died, "{point}:{nth}: the process should have crashed");
        }
    }
    assert_eq!(acknowledged.len(), 9, "three before each fourth time");
    house.ingest();
    let stored = counted(&house, "journal");
    for id in &acknowledged {
        assert_eq!(stored.get(id), Some(&1), "{id}");
    }
    assert!(stored.values().all(|n| *n == 1));
}

#[test]
fn a_real_rsyslog_sends_over_tls() {
    let installed =
        ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib64/rsyslog"]
            .iter()
            .any(|folder| std::path::Path::new(folder).join("lmnsd_ossl.so").exists());
    if !installed {
        let missing = "rsyslog and rsyslog-openssl are not installed";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        eprintln!("SKIPPED: {missing}; .ci/run installs them");
        return;
    }
    const LINES: usize = 2000;
    let house = receiving();
    let serving = Serving::start(&house);
    let lines: String = (0..LINES)
        .map(|n| {
            format!(
                "e{n} 2026-03-02T08:{:02}:{:02}+01:00 SE1-{} Läsa 191212121212\n",
                n / 60 % 60,
                n % 60,
                n % 9
            )
        })
        .collect();
    house.write("rsyslog/in.log", lines.as_bytes());
    let (folder, port) = (house.path(""), serving.syslog.rsplit(':').next().expect("a port").to_owned());
    let config = format!(
        r#"global(workDirectory="{0}/rsyslog" maxMessageSize="64k"
          defaultNetstreamDriver="ossl"
          defaultNetstreamDriverCAFile="{0}/tls/ca.pem"
          defaultNetstreamDriverCertFile="{0}/tls/rsyslog.example.pem"
          defaultNetstreamDriverKeyFile="{0}/tls/rsyslog.example.key")
module(load="imfile")
input(type="imfile" File="{0}/rsyslog/in.log" Tag="portal")
action(type="omfwd" target="localhost" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
  template="RSYSLOG_SyslogProtocol23Format" StreamDriver="ossl" StreamDriverMode="1"
  StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost" action.resumeRetryCount="-1")
"#,
        folder.display().to_string().trim_end_matches('/')
    );
    house.write("rsyslog/rsyslog.conf", config.as_bytes());
    let mut rsyslog = Command::new("/usr/sbin/rsyslogd")
        .args(["-n", "-i", "NONE", "-f"])
        .arg(house.path("rsyslog/rsyslog.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("rsyslog starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    let stored = loop {
        let stored = counted(&house, "portal");
        if stored.len() >= LINES || Instant::now() > deadline {
            break stored;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let _ = rsyslog.kill();
    let _ = rsyslog.wait();
    drop(serving);
    let refused = house.rows(&["sql", "SELECT reason FROM quarantine LIMIT 3"]);
    assert_eq!((stored.len(), refused), (LINES, Vec::new()));
    assert!(stored.values().all(|n| *n == 1));
    let rows = house.rows(&[
        "sql",
        "SELECT DISTINCT received_from, activity, subject_id FROM access_events WHERE source = 'portal'",
    ]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0]["received_from"].as_str(), rows[0]["activity"].as_str()),
        (Some("rsyslog"), Some("Läsa"))
    );
}
