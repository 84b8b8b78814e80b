//! The context tables: how old they are, how much they hold, and which period they cover, by unit. It names units and nobody.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_engine::context::{Contradiction, Contradicts, TableStatus, UnitPeriod};

use super::{Page, Visitor, html, words};
use crate::{
    app::{App, now},
    lang::{self, Lang},
    names::{Names, Wanted},
    problem::Problem,
    rest,
    texts::fill,
};

/// Units of the table.
const UNITS: usize = 200;
/// What covers a unit matters most of these, which rules lean on.
const BY_UNIT: [&str; 3] = ["care_relations", "schedule", "assignments"];

#[derive(Template)]
#[template(path = "context.html")]
struct ContextPage {
    page: Page,
    tables: Vec<TableRow>,
    /// By table, what its rows say against themselves or others.
    faults: Vec<(&'static str, Vec<Fault>)>,
    by_unit: Vec<&'static str>,
    units: Vec<UnitRow>,
    units_title: String,
}

struct TableRow {
    name: &'static str,
    is_loaded: bool,
    needed_by: String,
    age: String,
    loaded: String,
    rows: String,
    period: String,
    units: String,
}

/// Rows that contradict in one way, and their first lines.
struct Fault {
    what: String,
    lines: String,
}

struct UnitRow {
    name: String,
    id: String,
    /// One for each of `by_unit`.
    cells: Vec<UnitCell>,
}

struct UnitCell {
    table: &'static str,
    is_there: bool,
    text: String,
}

pub(crate) async fn show(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let tables = rest::context::tables(&app).await?;
    let by_unit: Vec<&TableStatus> =
        BY_UNIT.iter().filter_map(|name| tables.iter().find(|table| table.table == *name)).collect();
    let units: BTreeSet<&str> = by_unit
        .iter()
        .flat_map(|table| &table.units)
        .map(|unit| unit.care_unit_id.as_str())
        .filter(|unit| !unit.is_empty())
        .collect();
    let mut wanted = Wanted::default();
    wanted.units.extend(units.iter().take(UNITS).map(|unit| (*unit).to_owned()));
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    let covered: Vec<Covered<'_>> = by_unit.iter().map(|table| covered(table)).collect();
    let mut rows: Vec<UnitRow> =
        units.iter().take(UNITS).map(|unit| unit_row(&app, lang, &names, &covered, unit)).collect();
    // Where something is lacking first, then by name.
    rows.sort_by_key(|row| (row.cells.iter().filter(|cell| cell.is_there).count(), row.name.clone()));
    Ok(html(&ContextPage {
        page: Page::new(&app, &visitor, t.context_title),
        units_title: match units.len() > UNITS {
            true => fill(
                t.context_units_first,
                &[("n", &UNITS.to_string()), ("all", &lang.number(units.len() as u64))],
            ),
            false => t.context_units.to_owned(),
        },
        by_unit: by_unit.iter().map(|table| table.table).collect(),
        units: rows,
        tables: tables.iter().map(|table| table_row(&app, lang, table)).collect(),
        faults: faults(lang, &tables),
    }))
}

fn table_row(app: &App, lang: Lang, table: &TableStatus) -> TableRow {
    let t = lang.texts();
    let named = table.units.iter().filter(|unit| !unit.care_unit_id.is_empty()).count();
    TableRow {
        name: table.table,
        is_loaded: table.load.is_some(),
        needed_by: needed_by(app, lang, table.table),
        age: table
            .loaded_at
            .map_or_else(|| "–".to_owned(), |at| words::length(t, (now() - at).max(0) as f64 / 1e6)),
        loaded: table.loaded_at.map(|at| lang::minute(app.zone(), at)).unwrap_or_default(),
        rows: lang.number(table.rows),
        period: period(app, lang, table.rows, table.from, table.to),
        units: if named == 0 { "–".into() } else { lang.number(named as u64) },
    }
}

fn faults(lang: Lang, tables: &[TableStatus]) -> Vec<(&'static str, Vec<Fault>)> {
    let has_some = tables.iter().filter(|table| !table.contradicting.is_empty());
    has_some
        .map(|table| (table.table, table.contradicting.iter().map(|found| fault(lang, found)).collect()))
        .collect()
}

fn fault(lang: Lang, found: &Contradiction) -> Fault {
    let t = lang.texts();
    let what = match found.what {
        Contradicts::EndBeforeStart => t.context_end_before_start,
        Contradicts::Overlap => t.context_overlap,
        Contradicts::UnknownId => t.context_unknown_id,
        Contradicts::Circle => t.context_circle,
        Contradicts::NotCompared => t.context_not_compared,
    };
    let rows = words::counted(lang, t.row_one, t.row_n, found.rows);
    let expected = found.expected_in.as_deref().unwrap_or_default();
    let what = fill(what, &[("columns", &found.columns), ("expected", expected), ("n", &rows)]);
    let mut lines: Vec<String> = found.lines.iter().map(u64::to_string).collect();
    if found.rows > found.lines.len() as u64 {
        lines.push("…".to_owned());
    }
    Fault { what, lines: fill(t.context_lines, &[("lines", &lines.join(", "))]) }
}

/// How many rules cannot judge without it.
fn needed_by(app: &App, lang: Lang, table: &str) -> String {
    let needs = |rule: &&insyn_rules::Rule| rule.needs.iter().any(|name| name == table);
    match app.pack.rules().iter().filter(needs).count() {
        0 => "–".into(),
        n => words::counted(lang, lang.texts().rules_one, lang.texts().rules_n, n as u64),
    }
}

/// What a table says of each unit.
type Covered<'a> = (&'static str, BTreeMap<&'a str, &'a UnitPeriod>);

fn covered(table: &TableStatus) -> Covered<'_> {
    (table.table, table.units.iter().map(|of| (of.care_unit_id.as_str(), of)).collect())
}

fn unit_row(app: &App, lang: Lang, names: &Names, covered: &[Covered<'_>], unit: &str) -> UnitRow {
    let cell = |(table, of_unit): &Covered<'_>| match of_unit.get(unit) {
        Some(of) => UnitCell {
            table,
            is_there: true,
            text: format!("{} · {}", lang.number(of.rows), period(app, lang, of.rows, of.from, of.to)),
        },
        None => UnitCell { table, is_there: false, text: lang.texts().context_none.to_owned() },
    };
    UnitRow { name: names.unit(unit), id: unit.to_owned(), cells: covered.iter().map(cell).collect() }
}

/// From the first time that a row states to the last; an open end is said.
fn period(app: &App, lang: Lang, rows: u64, from: Option<i64>, to: Option<i64>) -> String {
    let day = |at: i64| lang::date(app.zone(), at);
    match (from, to) {
        _ if rows == 0 => "–".into(),
        (None, None) => lang.texts().context_no_period.to_owned(),
        (from, Some(to)) => format!("{} – {}", from.map(day).unwrap_or_default(), day(to)),
        (Some(from), None) => fill(lang.texts().context_from, &[("from", &day(from))]),
    }
}
