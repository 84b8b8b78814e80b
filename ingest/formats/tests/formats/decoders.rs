//! The bodies of the fuzz targets over all their seeds, and what the fuzz crate must not lean on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fuzz::{TARGETS, body};

fn root() -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..")
}

/// The seeds of a target, as `fuzz/run` has them: its own, else the cases of the format of that name, else all cases.
fn seeds(target: &str) -> Vec<PathBuf> {
    let own = root().join("fuzz/seeds").join(target);
    if own.is_dir() {
        return files(&own);
    }
    let all =
        ["data", "hostile"].map(|folder| files(&root().join("ingest/formats/tests").join(folder))).concat();
    let is_own = |file: &&PathBuf| {
        let folder = file.parent().and_then(Path::file_name).unwrap();
        folder.to_string_lossy().starts_with(target)
    };
    let of_format: Vec<PathBuf> = all.iter().filter(is_own).cloned().collect();
    if of_format.is_empty() { all } else { of_format }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

#[test]
fn every_decoder_holds_what_is_asked_of_it_over_its_seeds() {
    for (target, _) in TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            std::panic::catch_unwind(|| body(target)(&bytes))
                .unwrap_or_else(|_| panic!("{target} at {}", seed.display()));
        }
    }
}

#[test]
fn the_fuzz_crate_holds_a_target_for_each_body_and_no_database() {
    let read = |file: &str| fs::read_to_string(root().join("fuzz").join(file)).unwrap();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let listed: Vec<&str> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(listed, TARGETS.map(|(name, _)| name));
    for target in listed {
        let wrapper = read(&format!("fuzz_targets/{target}.rs"));
        assert!(wrapper.contains(&format!("body(\"{target}\")(data)")), "{wrapper}");
    }
    for name in ["datafusion", "deltalake", "object_store", "tokio"] {
        assert!(!read("Cargo.lock").contains(&format!("name = \"{name}\"")), "{name}");
    }
}
