//! Each fault in a rule file is named with its line, its column, and the nearest right name.

use insyn_rules::{Pack, Problem};

use crate::world;

/// Breaks `own-record` and gives what lint says; `marked` is where in the broken text the problem must point.
async fn lint(from: &str, to: &str) -> (String, Vec<Problem>) {
    let text = world::own_record();
    assert!(text.contains(from), "the rule has no longer {from}");
    let text = text.replacen(from, to, 1);
    let pack = Pack::of(vec![("own-record.toml".to_owned(), text.clone())]);
    (text, insyn_rules::check(&pack).await)
}

fn place(text: &str, marked: &str) -> (usize, usize) {
    let byte = text.find(marked).unwrap();
    let line = text[..byte].matches('\n').count() + 1;
    let column = text[..byte].rsplit('\n').next().unwrap().chars().count() + 1;
    (line, column)
}

#[tokio::test]
async fn faults_are_named_where_they_are() {
    // (what is replaced, by what, where the problem points, what it says)
    let faults = [
        ("version = 1", "version = 1\nlevle = \"low\"", "levle", "nearest: `level`"),
        ("\"medium\"", "\"medum\"", "\"medum\"", "nearest: `medium`"),
        ("window = \"week\"", "window = \"weak\"", "\"weak\"", "nearest: `week`"),
        ("needs = [\"staff\"]", "needs = [\"staf\"]", "\"staf\"", "nearest: \"staff\""),
        ("evidence = [\"staff\"]", "evidence = [\"stuff\"]", "\"stuff\"", "nearest: \"staff\""),
        ("a.subject_key\n", "a.subjekt_key\n", "a.subjekt_key\n", "nearest: \"subject_key\""),
        ("from looks a", "from look a", "look a", "nearest: \"looks\""),
        ("from looks a", "form looks a", "looks a", "Expected"),
        ("where subject_key", "where a.seq < $limt and subject_key", "$limt", "unknown parameter \"limt\""),
        ("select a.segment, a.seq,", "select a.segment,", "'''\nselect", "gives no column seq"),
        ("är samma person.", "är samma {persn}.", "persn}", "neither a column of the SQL nor a parameter"),
        (
            "Öppnade uppgifter om sig själv",
            "Olaglig öppning av egna uppgifter",
            "Olaglig",
            "a judgement belongs to people",
        ),
        ("are the same.\"", "are the same, unlawfully.\"", "unlawfully", "a judgement belongs to people"),
        ("id = \"own-record\"", "id = \"own-rekord\"", "\"own-rekord\"", "expected the same name"),
        (
            "subject_id = \"P2\" }]\nstaff",
            "subjct_id = \"P2\" }]\nstaff",
            "[[case]]\nname = \"somebody else's record\"",
            "nearest: \"subject_id\"",
        ),
        ("hits = [\"e1\"]", "hits = [\"e7\"]", "[[case]]", "which no access of it is"),
    ];
    for (from, to, marked, says) in faults {
        let (text, problems) = lint(from, to).await;
        let found = problems.iter().find(|p| p.what.contains(says));
        let found = found.unwrap_or_else(|| panic!("{to}: no problem says {says}: {problems:#?}"));
        assert_eq!((found.line, found.column), place(&text, marked), "{to}: {found}");
        assert_eq!(found.file, "own-record.toml");
    }
}

#[tokio::test]
async fn a_missing_language_is_a_fault() {
    let (_, problems) = lint("en = \"Opened their own record\"", "").await;
    assert!(problems[0].what.contains("missing field `en`"), "{problems:?}");
}

#[tokio::test]
async fn cases_of_one_kind_only_are_a_fault() {
    let text = world::own_record();
    let (head, _) = text.split_once("[[case]]").unwrap();
    let problems = insyn_rules::check(&Pack::of(vec![("own-record.toml".into(), head.into())])).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].what.contains("at least one of each"));
}

#[tokio::test]
async fn a_second_rule_of_the_same_id_is_a_fault_of_the_second() {
    let files = [("own-record.toml", world::own_record()), ("x/own-record.toml", world::own_record())];
    let pack = Pack::of(files.map(|(name, text)| (name.to_owned(), text)).to_vec());
    let problems = insyn_rules::check(&pack).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].file.as_str(), problems[0].line), ("x/own-record.toml", 1));
    assert_eq!(pack.rules().len(), 1);
}

#[tokio::test]
async fn sql_that_is_no_select_is_a_fault() {
    let text = world::own_record();
    let (head, rest) = text.split_once("sql = '''").unwrap();
    let (_, tail) = rest.split_once("'''").unwrap();
    let text = format!("{head}sql = '''drop table staff'''{tail}");
    let problems = insyn_rules::check(&Pack::of(vec![("own-record.toml".into(), text)])).await;
    assert!(problems.iter().any(|p| p.what.contains("one SELECT")), "{problems:?}");
}

#[tokio::test]
async fn a_failing_case_says_what_was_found_and_expected() {
    let text = world::own_record().replacen("hits = [\"e1\"]", "hits = []", 1);
    let report = insyn_rules::test(&Pack::of(vec![("own-record.toml".into(), text)]), &[]).await;
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures.len(), 1);
    let failure = failures[0].1.failure.as_deref().unwrap();
    assert!(failure.contains("{\"e1\"}") && failure.contains("expected {}"), "{failure}");
    assert!(!report.passed());
}

fn documentation() -> String {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    std::fs::read_to_string(std::path::Path::new(&crate_folder).join("../docs/rules.md")).unwrap()
}

/// The TOML of the documentation that begins so.
fn shown(text: &str, begins: &str) -> String {
    let blocks = text.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut blocks = blocks.filter(|block| block.starts_with(begins));
    blocks.next().unwrap().to_owned()
}

#[tokio::test]
async fn the_rule_of_the_documentation_is_one() {
    let text = documentation();
    let rule = shown(&text, "id = \"night-reads\"");
    let pack = Pack::of(vec![
        ("night-reads.toml".to_owned(), rule.clone()),
        ("no-care-relation.toml".to_owned(), world::pack_file("no-care-relation")),
        ("visit.toml".to_owned(), world::explanation_file("visit")),
        ("dialysis.toml".to_owned(), shown(&text, "id = \"dialysis\"")),
        ("ours.toml".to_owned(), shown(&text, "override")),
    ]);
    let problems = insyn_rules::check(&pack).await;
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(pack.explanations().any(|explanation| explanation.id == "dialysis"));
    let report = insyn_rules::test(&pack, &["night-reads".into()]).await;
    assert!(report.passed(), "{:#?}", report.rules);
    assert_eq!(report.rules[0].cases.len(), 2);
    // Every key that a rule file can have is shown.
    let known = Pack::of(vec![("x.toml".to_owned(), format!("zzz = 1\n{rule}"))]);
    let keys = known.problems()[0].what.clone();
    for key in keys.split('`').skip(3).step_by(2).filter(|key| !["zzz", "explains"].contains(key)) {
        let line = |line: &str| line.starts_with(&format!("{key} =")) || line.starts_with(&format!("[{key}"));
        assert!(rule.lines().any(line) || rule.contains(&format!("[[{key}]]")), "{key} is not shown: {keys}");
    }
}
