//! The folders under `tests/data`: `source.toml`, one log, `expected.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use insyn_formats::Format;

use crate::fuzz::Source;
pub use crate::fuzz::{Piece, cut_all};

pub struct Case {
    pub name: String,
    pub dir: PathBuf,
    pub source: Source,
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
    let source = Source::new(&fs::read_to_string(dir.join("source.toml")).unwrap());
    Case {
        name: dir.file_name().unwrap().to_string_lossy().into_owned(),
        format: source.format.clone(),
        source,
        log: fs::read(log).unwrap(),
        dir,
    }
}

pub fn compile(text: &str) -> Format {
    Source::new(text).format
}
