//! The house holds its shape: arrows between rooms run down only.

use std::collections::BTreeMap;

use crate::house::checkout;

/// Room, its folder, and the rooms that it may lean on.
const ROOMS: &[(&str, &str, &[&str])] = &[
    ("insyn-event", "engine/event", &[]),
    ("insyn-engine", "engine", &["insyn-event"]),
    ("insyn-formats", "ingest/formats", &["insyn-event"]),
    ("insyn-ingest", "ingest", &["insyn-event", "insyn-engine", "insyn-formats"]),
    ("insyn-receive", "ingest/receive", &["insyn-engine", "insyn-formats", "insyn-ingest"]),
    ("insyn-rules", "rules", &["insyn-engine"]),
    ("insyn-review", "review", &["insyn-engine", "insyn-rules"]),
    ("insyn-api", "api", &["insyn-engine", "insyn-ingest", "insyn-receive", "insyn-rules", "insyn-review"]),
    ("insyn-demo", "demo", &[]),
    // The engine writes a lake that logs of hundreds of millions of rows would take too long to make.
    ("insyn-benches", "benches", &["insyn-demo", "insyn-engine"]),
    (
        "insyn",
        ".",
        &[
            "insyn-engine",
            "insyn-ingest",
            "insyn-receive",
            "insyn-rules",
            "insyn-review",
            "insyn-api",
            "insyn-demo",
        ],
    ),
];

/// Crates that a room must not lean on, whatever else it does.
const NEVER: &[(&str, &[&str])] = &[
    ("insyn-event", &["datafusion", "deltalake", "axum", "sqlx"]),
    ("insyn-formats", &["datafusion", "deltalake", "object_store", "tokio", "axum"]),
    ("insyn-engine", &["axum", "askama", "sqlx", "quick-xml"]),
    ("insyn-ingest", &["datafusion", "deltalake", "askama", "sqlx"]),
    ("insyn-receive", &["datafusion", "deltalake", "askama", "sqlx"]),
    ("insyn-rules", &["axum", "askama", "sqlx", "deltalake", "quick-xml"]),
    ("insyn-review", &["axum", "askama", "datafusion", "deltalake"]),
    ("insyn-api", &["datafusion", "deltalake", "sqlx", "quick-xml"]),
    ("insyn-demo", &["datafusion", "deltalake", "arrow"]),
];

fn manifest(folder: &str) -> toml::Table {
    let path = checkout().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies(folder: &str) -> Vec<String> {
    let table = manifest(folder);
    ["dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| table.get(*section)?.as_table())
        .flat_map(|section| section.keys().cloned())
        .collect()
}

#[test]
fn arrows_between_rooms_run_down_only() {
    for (room, folder, allowed) in ROOMS {
        for dependency in dependencies(folder).iter().filter(|name| name.starts_with("insyn")) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{room} leans on {dependency}; it may lean on {allowed:?} only"
            );
        }
    }
}

#[test]
fn no_room_knows_what_it_must_not_know() {
    for (room, banned) in NEVER {
        let (_, folder, _) = ROOMS.iter().find(|(name, ..)| name == room).expect("the room is listed");
        for dependency in dependencies(folder) {
            assert!(!banned.contains(&dependency.as_str()), "{room} must not know {dependency}");
        }
    }
}

#[test]
fn every_member_of_the_workspace_is_a_room_listed_here() {
    let members: Vec<String> = manifest(".")["workspace"]["members"]
        .as_array()
        .expect("members is a list")
        .iter()
        .map(|member| member.as_str().expect("a member is a folder").to_owned())
        .collect();
    let listed: BTreeMap<&str, &str> = ROOMS.iter().map(|(room, folder, _)| (*folder, *room)).collect();
    for member in &members {
        assert!(listed.contains_key(member.as_str()), "{member} is no room of this test's table");
    }
    assert_eq!(members.len(), ROOMS.len());
}

/// Name, version and features of every dependency, as one selection of crates asks for it.
fn features(selection: &[&str]) -> BTreeMap<String, String> {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p}|{f}"]);
    let out = command.args(selection).output().expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut features: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        if let Some((package, of)) = line.split_once('|')
            && !package.starts_with("insyn")
        {
            let of = of.trim_end_matches(" (*)");
            // A build script's dependency may have fewer features than the same crate elsewhere: all are listed.
            let all = features.entry(package.to_owned()).or_default();
            if !all.split(' ').any(|known| known == of) {
                all.push_str(of);
                all.push(' ');
            }
        }
    }
    features.values_mut().for_each(|all| {
        let mut sets: Vec<&str> = all.split(' ').collect();
        sets.sort_unstable();
        *all = sets.join(" ");
    });
    features
}

/// `cargo run` and `cargo test --workspace` share one build: no selection turns on a feature that the other lacks.
#[test]
fn running_and_testing_compile_the_same_dependencies() {
    let run = features(&["--edges", "normal,build"]);
    let test = features(&["--workspace", "--edges", "normal,build,dev"]);
    assert!(run.len() > 200, "{}", run.len());
    for (package, features) in run {
        assert_eq!(Some(&features), test.get(&package), "{package} would be compiled twice");
    }
}
