//! Runs programs and tells what they took.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
            let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
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

/// The release binary beside the bench's own.
///
/// # Panics
/// When it was not built.
pub fn insyn() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let binary = own.ancestors().nth(2).unwrap_or(Path::new(".")).join("insyn");
    assert!(binary.exists(), "build it first: cargo build --release");
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
