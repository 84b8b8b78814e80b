//! What ran, what could not be judged, and why.

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::{Action, RunView};
use serde_json::Value;

use super::{Page, Pager, Visitor, html, words};
use crate::{
    app::App,
    forms::Parameters,
    guard::Caller,
    lang::{self, Lang},
    problem::Problem,
    texts::fill,
};

/// Runs of a page.
const PAGE: usize = 20;
/// How many units that could not be judged are named.
const NOTES: usize = 3;

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    page: Page,
    may_see_counts: bool,
    runs: Vec<RunRow>,
    pager: Pager,
}

/// One rule in one run.
pub(crate) struct RunRow {
    pub(crate) rule: String,
    pub(crate) href: String,
    pub(crate) state_key: &'static str,
    pub(crate) state: String,
    pub(crate) notes: Vec<String>,
    pub(crate) started: String,
    pub(crate) window: String,
    pub(crate) findings: String,
    pub(crate) took: String,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let cursor = parameters.get("cursor");
    let found = app.db.runs(cursor, PAGE).await?;
    let pager = Pager {
        first: cursor.map(|_| "/runs".to_owned()),
        next: found.next.as_ref().map(|next| format!("/runs?cursor={next}")),
    };
    let runs = rows(&app, visitor.lang, &found.items);
    let page = Page::new(&app, &visitor, visitor.lang.texts().runs_title);
    Ok(html(&RunsPage { page, may_see_counts: caller.may(Action::SeeCounts), runs, pager }))
}

/// A row for each rule of each run: what failed or was not evaluated first.
pub(crate) fn rows(app: &App, lang: Lang, runs: &[RunView]) -> Vec<RunRow> {
    let mut all = Vec::new();
    for run in runs {
        let mut of_run: Vec<RunRow> = run.record["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| row(app, lang, run, rule))
            .collect();
        of_run.sort_by_key(|row| match row.state_key {
            "failed" => 0,
            "not_evaluated" => 1,
            "partly" => 2,
            _ => 3,
        });
        all.extend(of_run);
    }
    all
}

fn row(app: &App, lang: Lang, run: &RunView, rule: &Value) -> RunRow {
    let t = lang.texts();
    let id = rule["rule_id"].as_str().unwrap_or_default();
    let units = rule["not_evaluated"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (state_key, state) =
        words::run_state(t, rule["state"].as_str().unwrap_or_default(), !units.is_empty());
    let mut notes: Vec<String> = rule["why"].as_str().map(|why| words::why(lang, why)).into_iter().collect();
    notes.extend(units.iter().take(NOTES).map(|unit| {
        let name = unit["care_unit_id"].as_str().unwrap_or(t.unknown);
        format!("{name}: {}", words::why(lang, unit["why"].as_str().unwrap_or_default()))
    }));
    if units.len() > NOTES {
        notes.push(format!("+ {}", units.len() - NOTES));
    }
    let known = app.pack.rule(id);
    RunRow {
        rule: known.map_or_else(|| id.to_owned(), |rule| lang.of(&rule.title).to_owned()),
        href: known.map(|rule| format!("/rules/{}", rule.id)).unwrap_or_default(),
        state_key,
        state,
        notes,
        started: lang::minute(app.zone(), run.started_at),
        window: window(app, lang, &run.record),
        findings: lang.number(rule["findings"].as_u64().unwrap_or(0)),
        took: took(lang, rule["milliseconds"].as_u64().unwrap_or(0)),
    }
}

fn window(app: &App, lang: Lang, record: &Value) -> String {
    let at = |name: &str, before: i64| {
        record[name]
            .as_str()
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
            .map(|time| lang::date(app.zone(), time.timestamp_micros() - before))
    };
    // The end is not part of the period: the last day is that of the moment before.
    match (at("from", 0), at("to", 1)) {
        (None, None) => lang.texts().everything.to_owned(),
        (from, to) => format!("{} – {}", from.unwrap_or_default(), to.unwrap_or_default()),
    }
}

fn took(lang: Lang, milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        fill(lang.texts().seconds, &[("n", &format!("{:.1}", milliseconds as f64 / 1000.0))])
    }
}
