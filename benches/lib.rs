//! Runs programs and tells what they took.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The number that the environment sets, or another.
#[must_use]
pub fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From start to end.
    pub time: Duration,
    /// The most memory that was resident, in MiB; where the system tells.
    pub resident: u64,
}

/// Runs a command to its end. Its output goes nowhere unless it fails.
///
/// # Panics
/// When it cannot be run or fails: then there is nothing to measure.
pub fn run(command: &mut Command) -> Took {
    let start = Instant::now();
    let mut child = match command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let mut resident = 0;
    let status = loop {
        resident = resident.max(high_water(child.id()));
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{command:?}: {error}"),
        }
    };
    let time = start.elapsed();
    if !status.success() {
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        panic!("{command:?} ended with {status}: {said}");
    }
    Took { time, resident }
}

/// The most that a process has had resident, in MiB.
#[must_use]
pub fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

/// The release binary beside the bench's own; of any build with `INSYN_ANY_BUILD=1`, where answers are compared and times
/// mean nothing.
///
/// # Panics
/// When it was not built, or is no release binary: the failpoints of the tests must not be in it.
pub fn insyn() -> PathBuf {
    // It is large: looking through it takes a second.
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let checked = || {
        let binary = beside();
        if setting("INSYN_ANY_BUILD", 0) == 1 {
            return binary;
        }
        let bytes = std::fs::read(&binary).unwrap_or_default();
        let failpoint = b"INSYN_CRASH_AT";
        assert!(!bytes.windows(failpoint.len()).any(|part| part == failpoint), "failpoints are compiled in");
        binary
    };
    BINARY.get_or_init(checked).clone()
}

/// The binary beside the bench's own, of whatever build: for benches that time nothing.
///
/// # Panics
/// When it was not built.
pub fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let binary = own.ancestors().nth(2).unwrap_or(Path::new(".")).join("insyn");
    assert!(binary.exists(), "build it first: cargo build, with the bench's profile");
    binary
}

/// Several runs of one thing.
#[derive(Debug, Clone, Default)]
pub struct Runs(pub Vec<Took>);

impl Runs {
    /// The one in the middle, in seconds.
    pub fn median(&self) -> f64 {
        let times = self.sorted();
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The quickest and the slowest, in seconds.
    pub fn spread(&self) -> (f64, f64) {
        let times = self.sorted();
        (times.first().copied().unwrap_or(f64::NAN), times.last().copied().unwrap_or(f64::NAN))
    }

    /// The most memory of all of them, in MiB.
    pub fn resident(&self) -> u64 {
        self.0.iter().map(|took| took.resident).max().unwrap_or(0)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self.0.iter().map(|took| took.time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// A FHIR R4 AuditEvent of some 1.2 kB, on one line.
#[must_use]
pub fn audit_event(id: &str, user: usize) -> String {
    format!(
        r#"{{"resourceType":"AuditEvent","id":"{id}","meta":{{"profile":["https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead"]}},"type":{{"system":"http://terminology.hl7.org/CodeSystem/audit-event-type","code":"rest","display":"RESTful Operation"}},"subtype":[{{"system":"http://hl7.org/fhir/restful-interaction","code":"read","display":"Läsa"}}],"action":"R","recorded":"2026-08-31T07:07:37.123+02:00","outcome":"0","purposeOfEvent":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}}]}}],"agent":[{{"type":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}}]}},"who":{{"identifier":{{"system":"urn:oid:1.2.752.29.6.2.1","value":"SE2321000016-U{user}"}},"display":"Berit Lindgren"}},"requestor":true,"location":{{"display":"Medicin 1"}},"network":{{"address":"10.0.0.7","type":"2"}}}}],"source":{{"site":"SE2321000016-A101","observer":{{"identifier":{{"value":"SE2321000016-JOURNAL"}},"display":"Journal"}}}},"entity":[{{"what":{{"identifier":{{"system":"urn:oid:1.2.752.129.2.1.3.1","value":"194607222389"}},"display":"Tolvan Ek"}},"type":{{"system":"http://terminology.hl7.org/CodeSystem/audit-entity-type","code":"1"}},"role":{{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"1"}}}}]}}"#
    )
}

/// `insyn serve` of the release binary.
pub struct Serving {
    /// The process.
    pub child: Child,
    /// Where it serves.
    pub address: String,
}

impl Serving {
    /// Starts it in a folder with an `insyn.toml`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(folder: &Path) -> Serving {
        let child = Command::new(insyn())
            .current_dir(folder)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { panic!("insyn serve cannot be started") };
        let Some(stderr) = child.stderr.take() else { panic!("its stderr is piped") };
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.strip_prefix("serving on ").map(str::to_owned));
        let Some(said) = said else { panic!("insyn serve ended before it served") };
        let address = said.split(';').next().unwrap_or_default().to_owned();
        // Its log goes on into nothing, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Serving { child, address }
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-INT", &pid]).status();
        if told.is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// Runs a command of the release binary to its end; what it printed.
///
/// # Panics
/// When it fails.
pub fn command(folder: &Path, arguments: &[&str]) -> String {
    command_of(&insyn(), folder, arguments)
}

/// The same by another build.
///
/// # Panics
/// When it fails.
pub fn command_of(binary: &Path, folder: &Path, arguments: &[&str]) -> String {
    match Command::new(binary).current_dir(folder).args(arguments).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{arguments:?}: {error}"),
    }
}

/// The body of an answer over plain HTTP.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn get(address: &str, path: &str, token: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: insyn\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) => answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default(),
        Err(error) => panic!("{path}: {error}"),
    }
}
