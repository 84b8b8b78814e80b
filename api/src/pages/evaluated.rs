//! What could be judged, and what not, by unit, source and day, and why. It names rules and units, and nobody.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::EvaluatedDay;
use serde_json::Value;

use super::{Page, Visitor, html, words};
use crate::{
    app::App,
    forms::Parameters,
    guard::Caller,
    lang::Lang,
    names::{Names, Wanted},
    problem::Problem,
    rest::{self, evaluated::period},
    texts::fill,
};

/// Units and sources of the table.
const ROWS: usize = 200;
/// Units that are named of a rule.
const UNITS: usize = 5;

#[derive(Template)]
#[template(path = "evaluated.html")]
struct EvaluatedPage {
    page: Page,
    from: String,
    to: String,
    rows: Vec<PlaceRow>,
    more: String,
    rules: Vec<RuleRow>,
}

struct PlaceRow {
    unit: String,
    source: String,
    looks: String,
    share: String,
    days: Vec<DayMark>,
}

struct DayMark {
    /// How much could be judged: `all`, `most`, `some`, `none`.
    key: &'static str,
    text: String,
}

struct RuleRow {
    title: String,
    href: String,
    state_key: &'static str,
    state: String,
    notes: Vec<String>,
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let (from, to) = period(&app, &parameters)?;
    let (from, to) = (from.to_string(), to.to_string());
    let days = app.db.evaluated_days(&caller.principal, &from, &to).await?;
    let rules = rest::evaluated::rules(&app, &caller).await?;
    let mut wanted = Wanted::default();
    wanted.units.extend(days.iter().filter_map(|day| day.care_unit_id.clone()));
    wanted.units.extend(rules.iter().flat_map(units_of).take(ROWS).map(str::to_owned));
    let names = Names::read(&rest::session(&app).await?, &wanted).await;
    let mut rows = place_rows(lang, &names, &days);
    let all = rows.len();
    rows.truncate(ROWS);
    Ok(html(&EvaluatedPage {
        page: Page::new(&app, &visitor, t.evaluated_title),
        more: match all > ROWS {
            true => fill(t.evaluated_more, &[("n", &ROWS.to_string()), ("all", &lang.number(all as u64))]),
            false => String::new(),
        },
        rules: rules.iter().map(|rule| rule_row(&app, lang, &names, rule)).collect(),
        rows,
        from,
        to,
    }))
}

/// Each unit and source, where least could be judged first.
fn place_rows(lang: Lang, names: &Names, days: &[EvaluatedDay]) -> Vec<PlaceRow> {
    let t = lang.texts();
    let mut places: BTreeMap<(Option<&str>, &str), Vec<&EvaluatedDay>> = BTreeMap::new();
    for day in days {
        places.entry((day.care_unit_id.as_deref(), &day.source)).or_default().push(day);
    }
    let row = |((unit, source), days): ((Option<&str>, &str), Vec<&EvaluatedDay>)| {
        let looks: u64 = days.iter().map(|day| day.looks).sum();
        let judged: u64 = days.iter().map(|day| day.looks.saturating_sub(day.not_evaluated)).sum();
        let row = PlaceRow {
            unit: unit.map_or_else(|| t.unknown.to_owned(), |unit| names.unit(unit)),
            source: source.to_owned(),
            looks: lang.number(looks),
            share: lang.percent(judged, looks),
            days: days.iter().map(|day| mark(lang, day)).collect(),
        };
        (judged * 1000 / looks.max(1), row)
    };
    let mut rows: Vec<(u64, PlaceRow)> = places.into_iter().map(row).collect();
    rows.sort_by(|a, b| (a.0, &a.1.unit, &a.1.source).cmp(&(b.0, &b.1.unit, &b.1.source)));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn mark(lang: Lang, day: &EvaluatedDay) -> DayMark {
    let judged = day.looks.saturating_sub(day.not_evaluated);
    DayMark {
        key: match (judged, day.looks) {
            (judged, looks) if judged == looks => "all",
            (0, _) => "none",
            (judged, looks) if judged * 20 >= looks * 19 => "most",
            _ => "some",
        },
        text: format!("{}: {}", day.day, lang.percent(judged, day.looks)),
    }
}

fn units_of(rule: &Value) -> impl Iterator<Item = &str> {
    rule["not_evaluated"].as_array().into_iter().flatten().filter_map(|of| of["care_unit_id"].as_str())
}

/// What a rule could not judge: the units with most accesses first.
fn rule_row(app: &App, lang: Lang, names: &Names, rule: &Value) -> RuleRow {
    let t = lang.texts();
    let id = rule["rule_id"].as_str().unwrap_or_default();
    let known = app.pack.rule(id);
    let mut units: Vec<&Value> = rule["not_evaluated"].as_array().into_iter().flatten().collect();
    units.sort_by_key(|of| std::cmp::Reverse(of["accesses"].as_u64()));
    let (state_key, state) =
        words::run_state(t, rule["state"].as_str().unwrap_or_default(), !units.is_empty());
    let mut notes: Vec<String> = rule["why"].as_str().map(str::to_owned).into_iter().collect();
    notes.extend(units.iter().take(UNITS).map(|of| {
        let unit = of["care_unit_id"].as_str().map_or_else(|| t.unknown.to_owned(), |unit| names.unit(unit));
        let count = words::counted(lang, t.events_one, t.events_n, of["accesses"].as_u64().unwrap_or(0));
        format!("{unit}: {count}; {}", of["why"].as_str().unwrap_or_default())
    }));
    if units.len() > UNITS {
        notes.push(format!("+ {}", units.len() - UNITS));
    }
    RuleRow {
        title: known.map_or_else(|| id.to_owned(), |rule| lang.of(&rule.title).to_owned()),
        href: known.map(|rule| format!("/rules/{}", rule.id)).unwrap_or_default(),
        state_key,
        state,
        notes,
    }
}
