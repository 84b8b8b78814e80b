//! Whom no rule judges: the cases of every rule again, with their accesses made those of others.

use insyn_rules::{Kind, Pack};
use toml::{Table, Value};

use crate::world;

/// What each access of a case is changed to (`None`: the column is left out), and the rules that see such accesses too.
const CHANGES: [(&str, Option<&str>, &[&str]); 7] = [
    ("user_kind", Some("subject"), &[]),
    ("user_kind", Some("representative"), &[]),
    ("user_kind", Some("system"), &[]),
    ("source", Some("insyn"), &[]),
    ("user_id", None, &[]),
    ("subject_id", None, &["shared-account", "searches-without-opening"]),
    ("outcome", Some("serious-failure"), &["refused-attempts", "refused-at-block"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_people_at_work_in_the_record_of_a_person_is_judged() {
    // What an export lacks is lacking whoever looked; its own cases say whom it names. A source is nobody.
    let pack = Pack::builtin().unwrap();
    let of_people =
        pack.rules().iter().filter(|rule| rule.id != "export-lacks-row" && rule.kind != Kind::Source);
    for rule in of_people {
        let text = of_others(&world::pack_file(&rule.id), &rule.id);
        let pack = Pack::of(vec![(format!("{}.toml", rule.id), text)]);
        assert!(pack.problems().is_empty(), "{:?}", pack.problems());
        let report = insyn_rules::test(&pack, &[]).await;
        assert!(report.rules[0].cases.len() >= 2, "{}: too few cases", rule.id);
        let found: Vec<String> = report
            .failures()
            .map(|(rule, case)| {
                format!("{rule}: {}: {}", case.name, case.failure.as_deref().unwrap_or_default())
            })
            .collect();
        assert!(report.passed(), "{found:#?}");
    }
}

/// The rule with those of its cases that hit, each access once for each change, and nothing to be found.
fn of_others(text: &str, rule: &str) -> String {
    let mut file: Table = toml::from_str(text).unwrap();
    let cases = file["case"].as_array().unwrap().iter().filter_map(Value::as_table);
    let hitting = cases.filter(|case| case.contains_key("hits"));
    let changed: Vec<Value> = hitting
        .map(|case| {
            let mut case = case.clone();
            for key in ["hits", "says", "level", "findings"] {
                case.remove(key);
            }
            let accesses = changed(case["accesses"].as_array().unwrap(), rule);
            case.insert("accesses".to_owned(), Value::Array(accesses));
            Value::Table(case)
        })
        .collect();
    file.insert("case".to_owned(), Value::Array(changed));
    toml::to_string(&file).unwrap()
}

fn changed(accesses: &[Value], rule: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for (column, value, seen_by) in CHANGES {
        if seen_by.contains(&rule) {
            continue;
        }
        for access in accesses {
            let mut access = access.as_table().unwrap().clone();
            match value {
                Some(value) => access.insert(column.to_owned(), Value::String(value.to_owned())),
                None => access.remove(column),
            };
            // Each is an access of its own.
            access.insert("event_id".to_owned(), Value::String(format!("e{}", all.len())));
            all.push(Value::Table(access));
        }
    }
    all
}
