//! A small installation in a temporary folder, and the real binary run upon it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The configuration that the tests share: one source of each format that needs mapping, and plain ones.
const CONFIG: &str = r#"
[organisation]
id = "SE2321000016"
name = "Region Exempel"

[lake]
url = "./lake"

[state]
url = "sqlite://state.db"

[context]
dir = "context"

[[source]]
name = "journal"
format = "fhir-audit-event"
path = ["logs/journal/*.ndjson*"]

[[source]]
name = "omsorg"
format = "delimited"
path = ["logs/omsorg/*.csv*"]
encoding = "windows-1252"
delimiter = ";"
time_format = "%Y-%m-%d %H:%M:%S"
constants = { care_provider_id = "SE2120002001-B001" }
[source.fields]
event_id = "LoggId"
occurred_at = "Tidpunkt"
user_id = "Användare"
care_unit_id = "Enhet"
activity = "Åtgärd"
subject_id = "Personnummer"
"#;

pub struct House {
    folder: tempfile::TempDir,
}

impl House {
    pub fn new() -> House {
        let house = House { folder: tempfile::tempdir().expect("a temporary folder") };
        house.write("insyn.toml", CONFIG.as_bytes());
        house
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub fn append(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("opens");
        file.write_all(bytes).expect("appends");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = insyn(self.folder.path());
        command.args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments))
    }

    /// Runs and expects success; gives stdout.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "insyn {arguments:?}: {}", run.stderr);
        run.stdout
    }

    /// Runs with `--format json` and expects rows.
    #[track_caller]
    pub fn rows(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let text = self.ok(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    #[track_caller]
    pub fn ingest(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["ingest", "--once", "--json"])).expect("one JSON object")
    }
}

pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A process that goes on by itself; killed when it is dropped, a test that failed included.
pub struct Running(pub Child);

impl Running {
    pub fn kill(mut self) {
        self.0.kill().expect("kill -9");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn insyn(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insyn"));
    command.current_dir(folder).env("NO_COLOR", "1").env_remove("INSYN_LOG").stdin(Stdio::null());
    command
}

/// Where this checkout is now: what was compiled may lie in a cache that another one filled.
pub fn checkout() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo"))
}

/// Compiles one file that stands alone.
#[track_caller]
pub fn rustc(source: &Path, target: &Path, options: &[&str]) {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024"]).args(options).arg("-o").arg(target).arg(source);
    let built = finish(rustc);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
}

/// Waits for the command, at most five minutes: a debug build that shares its machine is slow.
#[track_caller]
pub fn finish(mut command: Command) -> Run {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let readers = (drain(child.stdout.take().expect("piped")), drain(child.stderr.take().expect("piped")));
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{command:?} did not end within five minutes");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let output =
        Output { status, stdout: readers.0.join().expect("reads"), stderr: readers.1.join().expect("reads") };
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe reads");
        bytes
    })
}

/// A FHIR R4 AuditEvent as one NDJSON line.
pub fn audit_event(id: &str, at: &str, user: &str, subject: &str) -> String {
    serde_json::json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "action": "R",
        "recorded": at,
        "outcome": "0",
        "agent": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "who": {"identifier": {"system": "urn:oid:1.2.752.29.6.2.1", "value": user}},
            "requestor": true
        }],
        "source": {"observer": {"display": "Journal"}},
        "entity": [{
            "what": {"identifier": {"system": "urn:oid:1.2.752.129.2.1.3.1", "value": subject}},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"}
        }]
    })
    .to_string()
        + "\n"
}
