//! The pack as it is shipped, lint over broken rules, and what runs promise.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "pack/evaluated.rs"]
mod evaluated;
#[path = "pack/explain.rs"]
mod explain;
#[path = "pack/history.rs"]
mod history;
#[path = "pack/lint.rs"]
mod lint;
#[path = "pack/news.rs"]
mod news;
#[path = "pack/others.rs"]
mod others;
#[path = "pack/runs.rs"]
mod runs;
#[path = "pack/world.rs"]
mod world;

use insyn_rules::{Level, Pack};

#[test]
fn the_pack_is_the_folders() {
    let files = |folder: &str| -> Vec<String> {
        let room = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
        let entries = std::fs::read_dir(room.join(folder)).unwrap();
        let mut files: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    };
    let pack = Pack::builtin().unwrap();
    let of = |ids: Vec<&str>| -> Vec<String> { ids.iter().map(|id| format!("{id}.toml")).collect() };
    assert_eq!(files("pack"), of(pack.rules().iter().map(|r| r.id.as_str()).collect()));
    assert_eq!(files("explanations"), of(pack.explanations().map(|r| r.id.as_str()).collect()));
    assert!(pack.problems().is_empty(), "{:?}", pack.problems());
}

#[tokio::test]
async fn the_pack_has_nothing_that_lint_would_say() {
    let problems = insyn_rules::check(&Pack::builtin().unwrap()).await;
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_the_pack_holds() {
    let report = insyn_rules::test(&Pack::builtin().unwrap(), &[]).await;
    let failures: Vec<String> = report
        .failures()
        .map(|(rule, case)| {
            format!("{rule}, line {}: {}: {}", case.line, case.name, case.failure.as_deref().unwrap())
        })
        .collect();
    assert!(report.passed(), "{failures:#?}");
}

#[test]
fn every_rule_carries_positive_and_negative_cases() {
    for rule in Pack::builtin().unwrap().rules() {
        let finds = |c: &&insyn_rules::Case| !c.hits.is_empty() || c.findings.is_some_and(|n| n > 0);
        let positive = rule.cases.iter().filter(finds).count();
        let negative = rule.cases.iter().filter(|c| !finds(c) && !c.not_evaluated).count();
        assert!(positive >= 2 && negative >= 3, "{}: {positive} positive, {negative} negative", rule.id);
    }
}

#[test]
fn an_own_pack_changes_parameters_and_adds_rules() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("ours.toml", "override = \"emergency-without-note\"\nlevel = \"critical\"\n");
    write("visits.toml", "override = \"visit\"\n[parameters]\nbefore = \"7 days\"\n");
    write("bookings.toml", "override = \"booking\"\nstatus = \"deprecated\"\n");
    write("own-second.toml", &world::own_record().replace("\"own-record\"", "\"own-second\""));
    write("notes.txt", "not a rule");
    let pack = Pack::load(dir.path()).unwrap();
    assert!(pack.problems().is_empty(), "{:?}", pack.problems());
    assert_eq!(pack.rules().len(), Pack::builtin().unwrap().rules().len() + 1);
    assert_eq!(pack.rule("emergency-without-note").unwrap().level, Level::Critical);
    let visit = pack.explanations().find(|explanation| explanation.id == "visit").unwrap();
    assert_eq!(visit.params["before"].value.to_string(), "7 days");
    assert_eq!(visit.params["before"].default.to_string(), "14 days");
    assert!(pack.explanations().all(|explanation| explanation.id != "booking"), "it is switched off");
    let leans = pack.rule("no-care-relation").unwrap().leans_on.clone().unwrap();
    assert!(leans.contains("visit 1 after=30 days before=7 days") && !leans.contains("booking 1"), "{leans}");
}

#[test]
fn an_override_past_its_bounds_changes_nothing_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    for (text, line, column, says) in [
        (
            "override = \"visit\"\n[parameters]\nbefore = \"91 days\"\n",
            3,
            10,
            "expected between 0 days and 90 days",
        ),
        ("override = \"visit\"\n[parameters]\nbefore = 7\n", 3, 10, "expected a value like \"14 days\""),
        ("override = \"visit\"\n[parameters]\nbefor = \"7 days\"\n", 3, 9, "nearest: \"before\""),
        ("override = \"no-care-relations\"\n", 1, 12, "nearest: \"no-care-relation\""),
        ("override = \"own-record\"\nlevle = \"low\"\n", 2, 1, "nearest: `level`"),
        ("override = \"own-record\"\nlevel = \"hgih\"\n", 2, 9, "nearest: `high`"),
    ] {
        std::fs::write(dir.path().join("ours.toml"), text).unwrap();
        let pack = Pack::load(dir.path()).unwrap();
        let problem = &pack.problems()[0];
        assert!(problem.what.contains(says), "{problem}");
        assert_eq!((problem.line, problem.column), (line, column), "{problem}");
        assert!(problem.file.ends_with("ours.toml"));
        let builtin = Pack::builtin().unwrap();
        assert_eq!(pack.rules(), builtin.rules(), "{text}");
        assert!(pack.explanations().eq(builtin.explanations()), "{text}");
    }
}
