//! What docs/ lists is what the code has: the tables between `<!-- … -->` and `<!-- end -->` are written from it.
//! With `INSYN_UPDATE=1` the files are rewritten.

use std::fmt::Write as _;

use insyn_engine::context::{self, Kind};
use insyn_engine::event::{self, COLUMNS};
use insyn_rules::Pack;

use crate::house::checkout;

#[test]
fn the_columns_of_access_events() {
    let mut table = String::from("| column | type | null | meaning | from |\n|---|---|---|---|---|\n");
    for column in COLUMNS {
        let kind = match column.kind {
            event::Kind::Text => "text",
            event::Kind::Time => "time",
            event::Kind::Flag => "bool",
            event::Kind::Long => "int64",
            event::Kind::Int => "int32",
        };
        let null = if column.nullable { "yes" } else { "" };
        let cell = |text: &str| text.replace('|', "\\|");
        let (meaning, origin) = (cell(column.meaning), cell(column.origin));
        writeln!(table, "| `{}` | {kind} | {null} | {meaning} | {origin} |", column.name).unwrap();
    }
    is_written("formats", "access_events", &table);
}

#[test]
fn the_columns_of_context_tables() {
    let mut table = String::from(
        "| file | columns that the header must have | columns it may have | period |\n|---|---|---|---|\n",
    );
    for context in context::TABLES.iter() {
        let names = |required: bool| {
            let columns = context.columns.iter().filter(|column| column.required == required);
            let names = columns.map(|column| {
                let filled = if column.filled { "!" } else { "" };
                let kind = match column.kind {
                    Kind::Text => "",
                    Kind::Person => " (number)",
                    Kind::Time => " (time)",
                    Kind::End => " (end)",
                    Kind::Date => " (date)",
                    Kind::Flag => " (flag)",
                };
                format!("`{}`{filled}{kind}", column.name)
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let (from, to) = context.period;
        writeln!(table, "| `{}` | {} | {} | `{from}` to `{to}` |", context.name, names(true), names(false))
            .unwrap();
    }
    is_written("formats", "context", &table);
}

#[test]
fn the_rules_of_the_pack() {
    let pack = Pack::builtin().unwrap();
    let mut table = String::from(
        "| rule | level | svenska | English | needs | not older than | keeps as evidence |\n|---|---|---|---|---|---|---|\n",
    );
    for rule in pack.rules() {
        let mut needs: Vec<String> = rule.needs.iter().map(|name| format!("`{name}`")).collect();
        if !rule.needs_one_of.is_empty() {
            let names: Vec<String> = rule.needs_one_of.iter().map(|name| format!("`{name}`")).collect();
            needs.push(format!("one of {}", names.join(", ")));
        }
        let evidence: Vec<String> = rule.evidence.iter().map(|name| format!("`{name}`")).collect();
        let (level, title) = (rule.level.as_str(), &rule.title);
        let (needs, evidence) = (needs.join(", "), evidence.join(", "));
        let age = rule.max_age_days.map_or_else(String::new, |days| format!("{days} days"));
        let (id, sv, en) = (&rule.id, &title.sv, &title.en);
        writeln!(table, "| `{id}` | {level} | {sv} | {en} | {needs} | {age} | {evidence} |").unwrap();
    }
    is_written("rules", "pack", &table);
}

#[test]
fn the_explanations_of_the_pack() {
    let mut table =
        String::from("| explanation | explains | svenska | English | errs |\n|---|---|---|---|---|\n");
    for one in Pack::builtin().unwrap().explanations() {
        let (explains, title) = (one.explains.unwrap().as_str(), &one.title);
        writeln!(table, "| `{}` | {explains} | {} | {} | {} |", one.id, title.sv, title.en, one.errs.en)
            .unwrap();
    }
    is_written("rules", "explanations", &table);
}

#[track_caller]
fn is_written(file: &str, mark: &str, table: &str) {
    let path = checkout().join(format!("docs/{file}.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- {mark} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/{file}.md lacks {begin}"));
    let (found, after) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("INSYN_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{begin}{table}<!-- end -->{after}")).unwrap();
    }
    assert_eq!(found, table, "docs/{file}.md: INSYN_UPDATE=1 rewrites it");
}
