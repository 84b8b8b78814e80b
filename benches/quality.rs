//! How well the pack tells honest work from what was planted, over worlds of several seeds.
//!
//! `cargo build && cargo bench --workspace --bench quality --profile dev`, or both of a release. `INSYN_QUALITY_SEEDS` (5) says over how many worlds,
//! `INSYN_QUALITY_DAYS` (30) of how many days; `INSYN_QUALITY_KEEP` names a folder in which the worlds stay, to be looked into. Nothing here is timed. The generator keeps what it planted in a file that no
//! rule reads; its honest noise (bookings that come late or never, staff on loan, common names, couples at one workplace)
//! is described where it is made.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench that fails should say where"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::TimeZone;
use chrono_tz::Europe::Stockholm;
use insyn_benches::{beside, command_of, setting};
use insyn_demo::{Scale, World};
use serde_json::Value;

const CONFIG: &str = "world/insyn.toml";
/// Kinds of what is planted where there is no relation that could explain it.
const WITHOUT_RELATION: [&str; 2] = ["no_relation", "serial"];

/// A user and whose record.
type Pair = (String, String);

/// What one world showed.
struct Seen {
    /// By kind: planted, and named by some finding of level low or above.
    kinds: BTreeMap<String, (usize, usize)>,
    /// Findings at the top, as many as were planted, and how many of these are about what was planted.
    top: (usize, usize),
    /// Accesses to a known person's record that were not planted; of these explained by what the user could not have made,
    /// and by nothing but the user's own doing.
    honest: [u64; 3],
    /// All, the planted too, and how many would be explained by chance.
    by_chance: (u64, u64),
    /// Planted accesses where there is no relation, and those of them that something explains.
    unrelated: (u64, u64),
    /// Planted without a relation, and of these not named by the rule that looks for it.
    without: (usize, usize),
}

fn main() {
    let (seeds, days): (u64, u32) = (setting("INSYN_QUALITY_SEEDS", 5), setting("INSYN_QUALITY_DAYS", 30));
    let worlds: Vec<Seen> = (1..=seeds).map(|seed| look_at(seed, days)).collect();
    let kinds: BTreeSet<&String> = worlds.iter().flat_map(|seen| seen.kinds.keys()).collect();
    println!(
        "{seeds} worlds of {days} days\n\n| planted | found, of planted, by world | in all |\n|---|---|---|"
    );
    for kind in kinds {
        let of: Vec<(usize, usize)> =
            worlds.iter().map(|seen| seen.kinds.get(kind).copied().unwrap_or_default()).collect();
        let shown: Vec<String> = of.iter().map(|(planted, found)| format!("{found}/{planted}")).collect();
        let sum = |n: fn(&(usize, usize)) -> usize| of.iter().map(n).sum::<usize>();
        println!("| `{kind}` | {} | {} |", shown.join(", "), share(sum(|k| k.1), sum(|k| k.0)));
    }
    println!("\n| figure | by world |\n|---|---|");
    let line = |name: &str, of: &dyn Fn(&Seen) -> String| {
        println!("| {name} | {} |", worlds.iter().map(of).collect::<Vec<_>>().join(", "));
    };
    line("honest accesses to a known person's record", &|seen| seen.honest[0].to_string());
    line("of these explained by what the user could not have made", &|seen| {
        share(seen.honest[1], seen.honest[0])
    });
    line("by the user's own doing alone", &|seen| share(seen.honest[2], seen.honest[0]));
    line("all accesses, explained by chance in the fake log", &|seen| {
        share(seen.by_chance.1, seen.by_chance.0)
    });
    line("planted accesses without a relation, and explained all the same", &|seen| {
        format!("{}/{}", seen.unrelated.1, seen.unrelated.0)
    });
    line("planted without a relation and not named for it", &|seen| {
        format!("{}/{}", seen.without.1, seen.without.0)
    });
    line("planted among the pairs of highest score, as many as were planted", &|seen| {
        format!("{}/{}", seen.top.1, seen.top.0)
    });
}

fn share(part: impl TryInto<u64>, whole: impl TryInto<u64>) -> String {
    let (part, whole) = (part.try_into().unwrap_or_default(), whole.try_into().unwrap_or_default());
    if whole == 0 { "–".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

fn look_at(seed: u64, days: u32) -> Seen {
    let temporary = tempfile::tempdir().unwrap();
    let kept =
        std::env::var_os("INSYN_QUALITY_KEEP").map(|folder| Path::new(&folder).join(format!("{seed}")));
    let folder = kept.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).unwrap();
    let end = Stockholm.with_ymd_and_hms(2025, 11, 20, 12, 0, 0).single().unwrap();
    World::generate(seed, days, end, Scale::small()).write(&folder.join("world"), "127.0.0.1:0").unwrap();
    for arguments in [["ingest", "--once"], ["context", "load"], ["rules", "run"]] {
        let [first, second] = arguments;
        command_of(&beside(), folder, &["--config", CONFIG, first, second]);
    }
    let planted: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("world/truth/planted.json")).unwrap()).unwrap();
    let found = rows(folder, &["sql", "SELECT rule_id, user_id, subject_id, level, score FROM findings"]);
    let named = |of: &dyn Fn(&Value) -> bool| -> BTreeSet<Pair> {
        found.iter().filter(|finding| of(finding)).map(pair).collect()
    };
    let told = named(&|finding| finding["level"] != "informational");
    let unrelated = named(&|finding| finding["rule_id"] == "no-care-relation");
    let mut kinds: BTreeMap<String, BTreeSet<Pair>> = BTreeMap::new();
    for case in &planted {
        kinds.entry(case["kind"].as_str().unwrap().to_owned()).or_default().insert(pair(case));
    }
    let without: BTreeSet<Pair> =
        WITHOUT_RELATION.iter().filter_map(|kind| kinds.get(*kind)).flatten().cloned().collect();
    let all: BTreeSet<Pair> = kinds.values().flatten().cloned().collect();
    let mut scores: BTreeMap<Pair, i64> = BTreeMap::new();
    for finding in found.iter().filter(|finding| finding["subject_id"].is_string()) {
        let score = scores.entry(pair(finding)).or_default();
        *score = (*score).max(finding["score"].as_i64().unwrap_or_default());
    }
    let mut order: Vec<(&Pair, &i64)> = scores.iter().collect();
    order.sort_by_key(|(pair, score)| (-**score, (*pair).clone()));
    let top = order.iter().take(all.len()).filter(|(pair, _)| all.contains(pair)).count();
    let measured = rows(folder, &["rules", "explanations", "--totals"]);
    let number = |name: &str| measured[0][name].as_u64().unwrap();
    let standing = standing(folder);
    let is_planted = moments(&planted, &|_| true);
    let strangers = moments(&planted, &|kind| WITHOUT_RELATION.contains(&kind));
    let honest: Vec<&Stands> = standing.iter().filter(|stands| !is_planted.contains(&stands.look)).collect();
    let planted_there: Vec<&Stands> =
        standing.iter().filter(|stands| strangers.contains(&stands.look)).collect();
    let explained = |of: &[&Stands], how: &str| of.iter().filter(|stands| stands.how == how).count() as u64;
    Seen {
        kinds: kinds
            .iter()
            .map(|(kind, pairs)| (kind.clone(), (pairs.len(), pairs.intersection(&told).count())))
            .collect(),
        top: (all.len(), top),
        honest: [honest.len() as u64, explained(&honest, "explained"), explained(&honest, "only_by_user")],
        by_chance: (number("looks"), number("by_chance")),
        unrelated: (planted_there.len() as u64, explained(&planted_there, "explained")),
        without: (without.len(), without.difference(&unrelated).count()),
    }
}

/// One look: its source, whose record, and when (to the second).
type Look = (String, String, String);

/// A look, and how it stands by the data that the organisation has.
struct Stands {
    look: Look,
    how: String,
}

/// How each look stands, unit by unit, as whoever asks is told.
fn standing(folder: &Path) -> Vec<Stands> {
    let units =
        rows(folder, &["sql", "SELECT DISTINCT care_unit_id FROM accesses WHERE care_unit_id IS NOT NULL"]);
    let mut all = Vec::new();
    for unit in &units {
        let asked = ["trace", "unit", unit["care_unit_id"].as_str().unwrap(), "--why"];
        for row in rows(folder, &asked) {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            // Refused attempts are no looks, and have no standing.
            if let Some(how) = row["standing"].as_str() {
                let look = (text("source"), text("subject_id"), text("occurred_at")[..19].to_owned());
                all.push(Stands { look, how: how.to_owned() });
            }
        }
    }
    all
}

/// The looks of what was planted, of these kinds.
fn moments(planted: &[Value], of: &dyn Fn(&str) -> bool) -> BTreeSet<Look> {
    let mut all = BTreeSet::new();
    for case in planted.iter().filter(|case| of(case["kind"].as_str().unwrap())) {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        for at in case["occurred_at"].as_array().unwrap() {
            all.insert((text("source"), text("subject_id"), at.as_str().unwrap()[..19].to_owned()));
        }
    }
    all
}

fn rows(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["--config", CONFIG], arguments, &["--format", "json"]].concat();
    serde_json::from_str(&command_of(&beside(), folder, &arguments)).expect("rows")
}

fn pair(row: &Value) -> Pair {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (text("user_id"), text("subject_id"))
}
