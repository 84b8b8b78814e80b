//! The start page: sources, findings by level, what is not explained, the latest runs. It names nobody, so that it may
//! renew itself without each renewal being a look at personal data.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, response::Response};
use insyn_review::{Action, Count, ExplainedMonth, Filter, Role, Scope};
use insyn_rules::{FindingStatus, Level};

use super::{Figure, Page, Visitor, findings::Card, html, runs::RunRow, words};
use crate::{
    app::{App, now},
    forms::Parameters,
    guard::Caller,
    lang::{self, Lang},
    names::{Names, Wanted},
    problem::Problem,
    rest::{self, sources::Source},
    rows::Cells,
    texts::fill,
};

const DAY: i64 = 86_400_000_000;
/// How many findings are pointed out.
const TOP: usize = 5;
/// Units of which it is shown how much is explained.
const UNITS: usize = 5;
/// How many rules' runs are shown.
const RUNS: usize = 12;

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    page: Page,
    live: bool,
    now: String,
    figures: Option<Vec<Figure>>,
    levels: Option<Vec<LevelRow>>,
    /// How much is explained, by month, source and unit; nothing where nothing was counted.
    shares: Vec<Shares>,
    top: Vec<Card>,
    sources: Vec<SourceRow>,
    may_see_context: bool,
    runs: Option<Vec<RunRow>>,
}

struct LevelRow {
    key: &'static str,
    name: &'static str,
    count: String,
    /// 0 to 10, for the bar's width.
    share: u64,
}

/// How much is explained, by one thing.
struct Shares {
    title: &'static str,
    rows: Vec<ShareRow>,
}

struct ShareRow {
    name: String,
    share: String,
    note: String,
    /// 0 to 10, for the bar's width.
    width: u64,
}

struct SourceRow {
    name: String,
    format: String,
    state_key: &'static str,
    state: String,
    why: String,
    last_event: String,
    events: String,
    behind: String,
    quarantined: String,
    quarantine_warn: bool,
    gaps: String,
    gap_warn: bool,
}

pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let live = parameters.get("live") != Some("off");
    let mut page = Page::new(&app, &visitor, lang.texts().start_title);
    page.refresh = live.then(|| (10, "/".to_owned()));
    let sources =
        if caller.may(Action::SeeSources) { rest::sources::statuses(&app).await? } else { Vec::new() };
    let counts =
        if caller.may(Action::SeeCounts) { Some(app.db.counts(&caller.principal).await?) } else { None };
    let figures = match &counts {
        Some(counts) => Some(figures(&app, &caller, lang, counts).await?),
        None => None,
    };
    let top = if caller.may(Action::ReadFindings) { top(&app, &caller, lang).await? } else { Vec::new() };
    let runs = if caller.may(Action::SeeRuns) {
        let runs = app.db.runs(None, RUNS).await?;
        Some(super::runs::rows(&app, lang, &runs.items).into_iter().take(RUNS).collect())
    } else {
        None
    };
    let shares = if caller.may(Action::SeeCounts) { shares(&app, &caller, lang).await? } else { Vec::new() };
    let levels = counts.map(|counts| levels(lang, &counts));
    let sources = sources.iter().map(|source| source_row(&app, lang, source)).collect();
    let now = lang::second(app.zone(), now());
    Ok(html(&StartPage {
        page,
        live,
        now,
        figures,
        levels,
        shares,
        top,
        sources,
        may_see_context: caller.may(Action::SeeContext),
        runs,
    }))
}

fn is_open(status: FindingStatus) -> bool {
    !matches!(status, FindingStatus::Decided | FindingStatus::Closed)
}

fn levels(lang: Lang, counts: &[Count]) -> Vec<LevelRow> {
    let open = |level: Level| -> u64 {
        counts.iter().filter(|c| c.level == level && is_open(c.status)).map(|c| c.count).sum()
    };
    let most = Level::ALL.iter().map(|level| open(*level)).max().unwrap_or(0).max(1);
    Level::ALL
        .iter()
        .rev()
        .map(|level| {
            let count = open(*level);
            LevelRow {
                key: level.as_str(),
                name: words::level(lang.texts(), *level),
                count: lang.number(count),
                share: (count * 10).div_ceil(most),
            }
        })
        .collect()
}

/// Findings to look at first, without who and whose.
async fn top(app: &App, caller: &Caller, lang: Lang) -> Result<Vec<Card>, Problem> {
    let filter = Filter {
        status: vec![FindingStatus::New, FindingStatus::Assigned, FindingStatus::Asked],
        covered: Some(false),
        ..Filter::default()
    };
    let page = app.db.list(&filter, &Scope::of(&caller.principal)?, None, TOP).await?;
    Ok(page.items.iter().map(|view| Card::without_people(app, lang, &view.finding)).collect())
}

async fn figures(app: &App, caller: &Caller, lang: Lang, counts: &[Count]) -> Result<Vec<Figure>, Problem> {
    let t = lang.texts();
    let session = rest::session(app).await?;
    let month = now() - 30 * DAY;
    let (day_rows, day_people, _) = counted(&session, caller, now() - DAY).await;
    let (month_rows, _, month_users) = counted(&session, caller, month).await;
    let all: u64 = counts.iter().map(|c| c.count).sum();
    let open: u64 = counts.iter().filter(|c| is_open(c.status)).map(|c| c.count).sum();
    let mut figures = vec![
        Figure {
            value: lang.number(day_rows),
            name: t.figure_day,
            note: fill(t.figure_day_note, &[("people", &lang.number(day_people))]),
            warn: false,
            more: None,
        },
        Figure {
            value: lang.number(month_rows),
            name: t.figure_month,
            note: fill(t.figure_month_note, &[("users", &lang.number(month_users))]),
            warn: false,
            more: None,
        },
    ];
    figures.extend(explained(app, caller, lang, month).await?);
    figures.push(Figure {
        value: lang.number(open),
        name: t.figure_open,
        note: fill(t.figure_open_note, &[("all", &lang.number(all))]),
        warn: false,
        more: None,
    });
    Ok(figures)
}

/// How much is explained since a time, as the runs counted it; nothing where none did.
async fn explained(app: &App, caller: &Caller, lang: Lang, since: i64) -> Result<Option<Figure>, Problem> {
    let t = lang.texts();
    let from = lang::date(app.zone(), since);
    let months = app.db.explained(&caller.principal, Some(&from), None).await?;
    let sum = |of: fn(&ExplainedMonth) -> u64| months.iter().map(of).sum::<u64>();
    let (looks, by_others) = (sum(|month| month.looks), sum(|month| month.explained));
    let unexplained = lang.number(sum(super::explained::unexplained));
    Ok((looks > 0).then(|| Figure {
        value: lang.percent(by_others, looks),
        name: t.figure_explained,
        note: fill(t.figure_explained_note, &[("looks", &lang.number(looks)), ("unexplained", &unexplained)]),
        warn: false,
        more: Some(("/explained", t.explained_link)),
    }))
}

/// How much is explained: by month, and of the last month's days by source and by the units where most is not.
async fn shares(app: &App, caller: &Caller, lang: Lang) -> Result<Vec<Shares>, Problem> {
    let t = lang.texts();
    let day = |days: i64| lang::date(app.zone(), now() - days * DAY);
    let (months, lately) = (
        app.db.explained(&caller.principal, Some(&day(150)[..7]), None).await?,
        app.db.explained(&caller.principal, Some(&day(30)), None).await?,
    );
    let unit = |one: &ExplainedMonth| one.care_unit_id.clone().unwrap_or_default();
    let mut by_month = summed(&months, |one| one.month.clone());
    by_month.sort_by(|a, b| b.0.cmp(&a.0));
    let by_source = summed(&lately, |one| one.source.clone());
    let mut by_unit = summed(&lately, unit);
    by_unit.sort_by_key(|(_, of)| std::cmp::Reverse(super::explained::unexplained(of)));
    by_unit.truncate(UNITS);
    let mut wanted = Wanted::default();
    wanted.units.extend(by_unit.iter().map(|(id, _)| id.clone()).filter(|id| !id.is_empty()));
    let names = Names::read(&rest::session(app).await?, &wanted).await;
    let named = |(id, of): (String, ExplainedMonth)| {
        (if id.is_empty() { t.unknown.to_owned() } else { names.unit(&id) }, of)
    };
    let by_unit = by_unit.into_iter().map(named).collect();
    let parts = [(t.shares_month, by_month), (t.shares_source, by_source), (t.shares_unit, by_unit)];
    let shares = parts.into_iter().filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty());
    let rows = |rows: Vec<(String, ExplainedMonth)>| {
        rows.into_iter().map(|(name, of)| share_row(lang, name, &of)).collect()
    };
    Ok(shares.map(|(title, of)| Shares { title, rows: rows(of) }).collect())
}

/// The counts added up by what `key` says, in its order.
fn summed(
    months: &[ExplainedMonth],
    key: impl Fn(&ExplainedMonth) -> String,
) -> Vec<(String, ExplainedMonth)> {
    let mut sums: BTreeMap<String, ExplainedMonth> = BTreeMap::new();
    for one in months {
        match sums.get_mut(&key(one)) {
            Some(sum) => {
                sum.looks += one.looks;
                sum.explained += one.explained;
                sum.only_by_user += one.only_by_user;
                sum.unknown += one.unknown;
            }
            None => {
                sums.insert(key(one), one.clone());
            }
        }
    }
    sums.into_iter().collect()
}

fn share_row(lang: Lang, name: String, of: &ExplainedMonth) -> ShareRow {
    let unexplained = lang.number(super::explained::unexplained(of));
    ShareRow {
        name,
        share: lang.percent(of.explained, of.looks),
        note: fill(
            lang.texts().shares_note,
            &[("looks", &lang.number(of.looks)), ("unexplained", &unexplained)],
        ),
        width: (of.explained * 10).checked_div(of.looks).unwrap_or(0),
    }
}

/// Accesses, people and users since a time, within the caller's controllers. Nothing where it cannot be counted: a start
/// page without a figure is better than none.
async fn counted(session: &insyn_engine::session::Session, caller: &Caller, since: i64) -> (u64, u64, u64) {
    let controllers = &caller.principal.controllers;
    let within = if controllers.is_empty() {
        String::new()
    } else {
        let list: Vec<String> =
            controllers.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
        format!(" AND controller_id IN ({})", list.join(", "))
    };
    let within = within + &of_units(caller);
    let query = format!(
        "SELECT count(*) AS n, count(DISTINCT subject_id) AS people, count(DISTINCT user_id) AS users FROM access_events \
         WHERE source <> 'insyn' AND occurred_at >= TIMESTAMP '{}'{within}",
        lang::rfc3339(since)
    );
    let answer = match session.sql(&query).await {
        Ok(answer) => answer,
        Err(fault) => {
            tracing::warn!("the figures of the start page could not be counted: {fault}");
            return (0, 0, 0);
        }
    };
    let Some(batch) = answer.batches.iter().find(|batch| batch.num_rows() > 0) else { return (0, 0, 0) };
    let cells = Cells::of(batch);
    let number = |name| u64::try_from(cells.numbers(name).get(0)).unwrap_or(0);
    (number("n"), number("people"), number("users"))
}

/// A reviewer's figures are of the units that they answer for, like their findings.
fn of_units(caller: &Caller) -> String {
    let units = &caller.principal.units;
    if units.is_empty() || caller.principal.roles != [Role::Reviewer] {
        return String::new();
    }
    let list: Vec<String> = units.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
    format!(" AND care_unit_id IN ({})", list.join(", "))
}

fn source_row(app: &App, lang: Lang, source: &Source) -> SourceRow {
    let t = lang.texts();
    let (state_key, state) = words::source_state(t, &source.state);
    let whole =
        |number: Option<f64>| number.map_or_else(|| "–".to_owned(), |n| lang.number(n.max(0.0) as u64));
    SourceRow {
        name: source.name.clone(),
        format: source.format.clone(),
        state_key,
        state,
        why: source.why.clone(),
        last_event: source.last_event.map_or_else(|| "–".into(), |at| lang::minute(app.zone(), at)),
        events: whole(source.events),
        behind: match source.seconds_behind {
            Some(seconds) if seconds >= 1.0 => words::length(t, seconds),
            _ => t.none_behind.to_owned(),
        },
        quarantined: whole(source.quarantine_open),
        quarantine_warn: source.quarantine_open.is_some_and(|n| n > 0.0),
        gaps: whole(source.gaps_open),
        gap_warn: source.gaps_open.is_some_and(|n| n > 0.0),
    }
}
