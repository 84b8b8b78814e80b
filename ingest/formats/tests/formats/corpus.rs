//! The folders under `tests/data`: `source.toml`, one log, `expected.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use insyn_formats::{Cut, Fault, Format, FormatConfig, Reader};

pub struct Case {
    pub name: String,
    pub dir: PathBuf,
    pub format: Format,
    pub log: Vec<u8>,
}

pub fn cases() -> Vec<Case> {
    let data = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/data");
    let mut dirs: Vec<PathBuf> = fs::read_dir(data).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.retain(|d| d.is_dir());
    dirs.sort();
    dirs.into_iter().map(case).collect()
}

fn case(dir: PathBuf) -> Case {
    let log = fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.file_stem().unwrap() == "log")
        .unwrap();
    Case {
        name: dir.file_name().unwrap().to_string_lossy().into_owned(),
        format: compile(&fs::read_to_string(dir.join("source.toml")).unwrap()),
        log: fs::read(log).unwrap(),
        dir,
    }
}

pub fn compile(text: &str) -> Format {
    let config: FormatConfig = toml::from_str(text).unwrap();
    Format::compile(&config, chrono_tz::Europe::Stockholm).unwrap()
}

/// What lies in a stream, blanks and envelopes left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Record { offset: usize, len: usize },
    Bad { offset: usize, len: usize, fault: Fault },
}

/// Cuts `log` as a caller does that gets `chunks` bytes at a time, from `from` on.
pub fn cut_all(
    reader: &mut Reader,
    log: &[u8],
    from: usize,
    mut chunks: impl FnMut() -> usize,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (from, from);
    loop {
        end = end.max(start);
        let at_end = end == log.len();
        if start == end && at_end {
            return pieces;
        }
        match reader.cut(&log[start..end], start as u64, at_end) {
            Cut::Record { skip, len } => {
                assert!(len > 0 && start + skip + len <= end);
                pieces.push(Piece::Record { offset: start + skip, len });
                start += skip + len;
            }
            Cut::Skip { len } => {
                assert!(len > 0 && start + len <= end);
                start += len;
            }
            Cut::Refused { .. } => unreachable!("only the spool has those"),
            Cut::Bad { len, fault } => {
                assert!(len > 0 && start + len <= end);
                pieces.push(Piece::Bad { offset: start, len, fault });
                start += len;
            }
            Cut::More => {
                assert!(!at_end, "more bytes wanted after the end, at {start}");
                end = (end + chunks().max(1)).min(log.len());
            }
        }
    }
}
