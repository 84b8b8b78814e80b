//! Another setting of a rule, tried before anybody is flagged: the form, and what came of it. Counts only.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use insyn_rules::{Backtest, Level, ParamValue, Rule, Status, Window};

use super::{Choice, Figure, Page, Visitor, html, rules, words};
use crate::{
    app::{App, now},
    forms::{Fields, Part, instant},
    guard::Caller,
    lang::{self, Lang},
    names::{Names, Wanted},
    problem::Problem,
    rest,
    texts::fill,
    trials::{self, State as Stage, Trial, Value},
};

const DAY: i64 = 86_400_000_000;
/// Days that the form proposes.
const PROPOSED: i64 = 28;
/// Units of the table.
const UNITS: usize = 50;

/// The form on a rule's page.
pub(crate) struct TrialForm {
    pub(crate) csrf: String,
    pub(crate) fault: Option<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) levels: Vec<Choice>,
    pub(crate) statuses: Vec<Choice>,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// One parameter in the form.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) help: String,
    pub(crate) is_number: bool,
    pub(crate) value: String,
    pub(crate) min: String,
    pub(crate) max: String,
    pub(crate) step: &'static str,
    /// Of a flag: yes and no, in place of a field to write in.
    pub(crate) flags: Vec<Choice>,
    /// Of a length of time.
    pub(crate) units: Vec<Choice>,
}

/// A trial in the list on a rule's page.
pub(crate) struct TrialRow {
    pub(crate) href: String,
    pub(crate) asked: String,
    pub(crate) by: String,
    pub(crate) what: String,
    pub(crate) state_key: &'static str,
    pub(crate) state: &'static str,
}

#[derive(Template)]
#[template(path = "trial.html")]
struct TrialPage {
    page: Page,
    rule_href: String,
    rule: String,
    state_key: &'static str,
    state: &'static str,
    is_over: bool,
    asked: String,
    period: String,
    changes: Vec<ChangeRow>,
    fault: Option<String>,
    figures: Vec<Figure>,
    levels: Vec<CountRow>,
    weeks: Vec<CountRow>,
    units: Vec<CountRow>,
    units_title: String,
    file: String,
}

struct ChangeRow {
    name: String,
    today: String,
    tried: String,
}

struct CountRow {
    name: String,
    today: String,
    tried: String,
}

pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    let rule = app.pack.rule(&id).ok_or_else(|| Problem::not_found("rule"))?;
    let lang = visitor.lang;
    let again = async |fault: String| -> Result<Response, Problem> {
        let form = form(&app, &caller, lang, rule, Some((&fields, fault)));
        rules::page(&app, &caller, &visitor, rule, StatusCode::UNPROCESSABLE_ENTITY, Some(form)).await
    };
    let Ok(window) = window(&app, &fields) else {
        return again(lang.texts().trial_bad_period.to_owned()).await;
    };
    let tried = match trials::set(&app, &id, &settings(rule, &fields)) {
        Ok(tried) => tried,
        Err((name, _)) => {
            let places = [("name", label(lang, rule, &name)), ("bounds", help(lang, rule, &name))];
            let places = places.each_ref().map(|(name, text)| (*name, text.as_str()));
            return again(fill(lang.texts().trial_bad_value, &places)).await;
        }
    };
    match trials::start(&app, &caller, &id, tried, window).await {
        Ok(trial) => Ok(Redirect::to(&format!("/trials/{}", trial.id)).into_response()),
        Err(problem) if problem.status == StatusCode::TOO_MANY_REQUESTS => {
            again(lang.texts().trial_too_many.to_owned()).await
        }
        Err(problem) => Err(problem),
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let trial = app.trials().find(&caller, &id).ok_or_else(|| Problem::not_found("trial"))?;
    let rule = app.pack.rule(&trial.rule.id).ok_or_else(|| Problem::not_found("rule"))?;
    let state = trial.state();
    let mut page = Page::new(&app, &visitor, fill(t.trial_title, &[("rule", lang.of(&rule.title))]));
    if !state.is_over() {
        page.refresh = Some((3, format!("/trials/{id}")));
    }
    let found = match &state {
        Stage::Done(found) => Some(Arc::clone(found)),
        _ => None,
    };
    let fault = match (&state, &found) {
        (Stage::Failed(why), _) => Some(fill(t.trial_failed_why, &[("why", why)])),
        (_, Some(found)) => found.failed.as_ref().map(|why| fill(t.trial_partly, &[("why", why)])),
        _ => None,
    };
    let names = unit_names(&app, found.as_deref()).await?;
    let found = found.as_deref();
    let units = found.map(|found| units(lang, &names, found)).unwrap_or_default();
    let (state_key, state_text) = stage(lang, &state);
    Ok(html(&TrialPage {
        page,
        rule_href: format!("/rules/{}", rule.id),
        rule: lang.of(&rule.title).to_owned(),
        state_key,
        state: state_text,
        is_over: state.is_over(),
        asked: fill(t.trial_asked, &[("by", &trial.by), ("at", &lang::minute(app.zone(), trial.asked_at))]),
        period: period(&app, lang, trial.window),
        changes: changes(lang, rule, &trial),
        fault,
        figures: found.map(|found| figures(lang, &trial, found)).unwrap_or_default(),
        levels: found.map(|found| levels(lang, found)).unwrap_or_default(),
        weeks: found.map(|found| weeks(lang, found)).unwrap_or_default(),
        units_title: match units.len() > UNITS {
            true => fill(t.trial_by_unit_first, &[("n", &UNITS.to_string())]),
            false => t.trial_by_unit.to_owned(),
        },
        units: units.into_iter().take(UNITS).collect(),
        file: match trial.changes(rule).is_empty() {
            true => String::new(),
            false => insyn_rules::as_override(&trial.rule, rule),
        },
    }))
}

/// The form, as it was filled in where that could not be.
pub(crate) fn form(
    app: &App,
    caller: &Caller,
    lang: Lang,
    rule: &Rule,
    filled: Option<(&Fields, String)>,
) -> TrialForm {
    let written = |name: &str| filled.as_ref().map(|(fields, _)| fields.get(name).to_owned());
    let fields = rule.params.keys().filter_map(|name| field(lang, rule, name, &written)).collect();
    let level = written("level").unwrap_or_else(|| rule.level.as_str().into());
    let status = written("status").unwrap_or_else(|| rule.status.as_str().into());
    let choice = |key: &'static str, name: &str, chosen: &str| Choice {
        key,
        name: name.to_owned(),
        selected: key == chosen,
    };
    let t = lang.texts();
    TrialForm {
        csrf: caller.csrf(),
        fields,
        levels: Level::ALL.iter().map(|l| choice(l.as_str(), words::level(t, *l), &level)).collect(),
        statuses: Status::ALL.iter().map(|s| choice(s.as_str(), words::maturity(t, *s), &status)).collect(),
        from: written("from").unwrap_or_else(|| lang::date(app.zone(), now() - (PROPOSED - 1) * DAY)),
        to: written("to").unwrap_or_else(|| lang::date(app.zone(), now())),
        fault: filled.map(|(_, fault)| fault),
    }
}

/// The rule's trials that are kept.
pub(crate) fn rows(app: &App, caller: &Caller, lang: Lang, rule: &Rule) -> Vec<TrialRow> {
    let row = |trial: &Arc<Trial>| {
        let (state_key, state) = stage(lang, &trial.state());
        let what: Vec<String> = changes(lang, rule, trial)
            .iter()
            .map(|change| format!("{}: {} → {}", change.name, change.today, change.tried))
            .collect();
        TrialRow {
            href: format!("/trials/{}", trial.id),
            asked: lang::minute(app.zone(), trial.asked_at),
            by: trial.by.clone(),
            what: if what.is_empty() { lang.texts().trial_same_short.to_owned() } else { what.join("; ") },
            state_key,
            state,
        }
    };
    app.trials().of_rule(caller, &rule.id).iter().map(row).collect()
}

fn field(lang: Lang, rule: &Rule, name: &str, written: &dyn Fn(&str) -> Option<String>) -> Option<Field> {
    let t = lang.texts();
    let param = rule.params.get(name)?;
    let number = |value: &Option<ParamValue>| match value {
        Some(value @ (ParamValue::Integer(_) | ParamValue::Number(_))) => value.to_string(),
        _ => String::new(),
    };
    let (value, unit) = match &param.value {
        ParamValue::Duration(duration) => {
            let (n, unit) = parted(duration.minutes);
            (n.to_string(), unit)
        }
        value => (value.to_string(), ""),
    };
    let value = written(&format!("p.{name}")).unwrap_or(value);
    let unit = written(&format!("u.{name}")).unwrap_or_else(|| unit.to_owned());
    let choices = |all: &[(&'static str, &'static str)], chosen: &str| -> Vec<Choice> {
        let choice = |(key, name): &(&'static str, &'static str)| Choice {
            key,
            name: (*name).to_owned(),
            selected: *key == chosen,
        };
        all.iter().map(choice).collect()
    };
    let is_time = matches!(param.value, ParamValue::Duration(_));
    Some(Field {
        name: name.to_owned(),
        label: label(lang, rule, name),
        help: help(lang, rule, name),
        is_number: is_time || matches!(param.value, ParamValue::Integer(_) | ParamValue::Number(_)),
        min: if is_time { "0".into() } else { number(&param.min) },
        max: number(&param.max),
        step: if matches!(param.value, ParamValue::Number(_)) { "any" } else { "1" },
        flags: match &param.value {
            ParamValue::Flag(_) => choices(&[("true", t.yes), ("false", t.no)], &value),
            _ => Vec::new(),
        },
        units: match is_time {
            true => choices(&[("days", t.in_days), ("hours", t.in_hours), ("minutes", t.in_minutes)], &unit),
            false => Vec::new(),
        },
        value,
    })
}

/// In the largest unit that leaves nothing over.
fn parted(minutes: i64) -> (i64, &'static str) {
    match minutes {
        m if m % 1440 == 0 => (m / 1440, "days"),
        m if m % 60 == 0 => (m / 60, "hours"),
        m => (m, "minutes"),
    }
}

/// What a parameter is called in the form.
fn label(lang: Lang, rule: &Rule, name: &str) -> String {
    let t = lang.texts();
    match (name, rule.params.get(name).map(|param| lang.of(&param.about))) {
        ("level", None) => t.level.to_owned(),
        ("status", None) => t.maturity.to_owned(),
        (_, Some(about)) if !about.is_empty() => about.to_owned(),
        _ => name.to_owned(),
    }
}

/// Within what it may be set.
fn help(lang: Lang, rule: &Rule, name: &str) -> String {
    let t = lang.texts();
    let Some(param) = rule.params.get(name) else { return String::new() };
    let default = shown(lang, Value::Param(&param.default));
    let bound = |value: &Option<ParamValue>| {
        value.as_ref().map_or_else(|| "–".to_owned(), |value| shown(lang, Value::Param(value)))
    };
    let text = match (&param.min, &param.max) {
        (None, None) if matches!(param.value, ParamValue::Texts(_)) => t.trial_list,
        (None, None) => t.trial_default,
        _ => t.trial_bounds,
    };
    let (min, max) = (bound(&param.min), bound(&param.max));
    fill(text, &[("name", name), ("min", &min), ("max", &max), ("default", &default)])
}

/// A value as people read it.
fn shown(lang: Lang, value: Value<'_>) -> String {
    let t = lang.texts();
    match value {
        Value::Level(level) => words::level(t, level).to_owned(),
        Value::Status(status) => words::maturity(t, status).to_owned(),
        Value::Param(ParamValue::Flag(flag)) => if *flag { t.yes } else { t.no }.to_owned(),
        Value::Param(ParamValue::Duration(duration)) => match lang {
            Lang::Sv => duration.sv(),
            Lang::En => duration.en(),
        },
        Value::Param(other) => other.to_string(),
    }
}

/// What the form sets, as settings are written. A field that did not come is as today.
fn settings(rule: &Rule, fields: &Fields) -> Vec<(String, String)> {
    let param = |(name, param): (&String, &insyn_rules::Param)| {
        let value = fields.get(&format!("p.{name}"));
        let written = match &param.value {
            ParamValue::Duration(_) => format!("{value} {}", fields.get(&format!("u.{name}"))),
            _ => value.to_owned(),
        };
        (!value.is_empty()).then(|| (name.clone(), written))
    };
    let words = ["level", "status"].into_iter().filter_map(|name| {
        let word = fields.get(name);
        (!word.is_empty()).then(|| (name.to_owned(), word.to_owned()))
    });
    // A list may be emptied; every other value says something.
    let emptied = rule.params.iter().filter(|(name, param)| {
        matches!(param.value, ParamValue::Texts(_))
            && fields.has(&format!("p.{name}"))
            && fields.get(&format!("p.{name}")).is_empty()
    });
    let emptied = emptied.map(|(name, _)| (name.clone(), String::new()));
    rule.params.iter().filter_map(param).chain(emptied).chain(words).collect()
}

fn window(app: &App, fields: &Fields) -> Result<Window, Problem> {
    let time = |name, end| match fields.get(name) {
        "" => Ok(None),
        text => instant(name, text, app.zone(), end).map(Some),
    };
    let window = Window { from: time("from", false)?, to: time("to", true)? };
    match (window.from, window.to) {
        (Some(from), Some(to)) if to <= from => {
            Err(Problem::bad_request("bad_time", "to: expected a time after `from`"))
        }
        _ => Ok(window),
    }
}

fn period(app: &App, lang: Lang, window: Window) -> String {
    let day = |at: i64| lang::date(app.zone(), at);
    match (window.from, window.to) {
        (None, None) => lang.texts().everything.to_owned(),
        // The end is not part of it: the last day is that of the moment before.
        (from, to) => format!(
            "{} – {}",
            from.map(day).unwrap_or_default(),
            to.map(|to| day(to - 1)).unwrap_or_default()
        ),
    }
}

fn stage(lang: Lang, state: &Stage) -> (&'static str, &'static str) {
    let t = lang.texts();
    match state {
        Stage::Waiting => ("running", t.trial_waiting),
        Stage::Running => ("running", t.trial_running),
        Stage::Done(_) => ("done", t.trial_done),
        Stage::Failed(_) => ("failed", t.trial_failed),
    }
}

fn changes(lang: Lang, today: &Rule, trial: &Trial) -> Vec<ChangeRow> {
    let row = |change: trials::Change<'_>| ChangeRow {
        name: label(lang, today, change.name),
        today: shown(lang, change.today),
        tried: shown(lang, change.tried),
    };
    trial.changes(today).into_iter().map(row).collect()
}

fn figures(lang: Lang, trial: &Trial, found: &Backtest) -> Vec<Figure> {
    let t = lang.texts();
    let weeks = weeks_of(trial.window, found);
    let figure = |count: u64, name: &'static str, note: String| Figure {
        value: lang.number(count),
        name,
        note,
        warn: false,
        more: None,
    };
    let a_week =
        |count: u64| fill(t.trial_a_week, &[("n", &lang.decimal(count as f64 / weeks.max(1.0 / 7.0)))]);
    vec![
        figure(found.found_today, t.trial_found_today, a_week(found.found_today)),
        figure(found.found_tried, t.trial_found_tried, a_week(found.found_tried)),
        figure(found.only_tried, t.trial_only_tried, t.trial_only_tried_note.to_owned()),
        figure(found.only_today, t.trial_only_today, t.trial_only_today_note.to_owned()),
    ]
}

/// How many weeks were judged; of an open period, those from the first finding's to the last's.
fn weeks_of(window: Window, found: &Backtest) -> f64 {
    if let (Some(from), Some(to)) = (window.from, window.to) {
        return (to.min(now()) - from) as f64 / (7 * DAY) as f64;
    }
    let day = |week: Option<&insyn_rules::BacktestWeek>| week?.week.parse::<chrono::NaiveDate>().ok();
    match (day(found.weeks.first()), day(found.weeks.last())) {
        (Some(first), Some(last)) => (last - first).num_days() as f64 / 7.0 + 1.0,
        _ => 1.0,
    }
}

async fn unit_names(app: &App, found: Option<&Backtest>) -> Result<Names, Problem> {
    let mut wanted = Wanted::default();
    wanted.units.extend(found.iter().flat_map(|one| &one.weeks).filter_map(|week| week.care_unit_id.clone()));
    if wanted.units.is_empty() {
        return Ok(Names::default());
    }
    Ok(Names::read(&rest::session(app).await?, &wanted).await)
}

fn count_row(lang: Lang, name: String, [today, tried]: [u64; 2]) -> CountRow {
    CountRow { name, today: lang.number(today), tried: lang.number(tried) }
}

fn levels(lang: Lang, found: &Backtest) -> Vec<CountRow> {
    let name = |level| words::level(lang.texts(), level).to_owned();
    found.levels.iter().map(|of| count_row(lang, name(of.level), [of.today, of.tried])).collect()
}

fn weeks(lang: Lang, found: &Backtest) -> Vec<CountRow> {
    let mut weeks: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for week in &found.weeks {
        let counts = weeks.entry(&week.week).or_default();
        *counts = [counts[0] + week.today, counts[1] + week.tried];
    }
    weeks.into_iter().rev().map(|(week, counts)| count_row(lang, week.to_owned(), counts)).collect()
}

/// Where most would be found first.
fn units(lang: Lang, names: &Names, found: &Backtest) -> Vec<CountRow> {
    let ids: BTreeSet<Option<&str>> = found.weeks.iter().map(|week| week.care_unit_id.as_deref()).collect();
    let of = |id: &Option<&str>| {
        let weeks = found.weeks.iter().filter(|week| week.care_unit_id.as_deref() == *id);
        weeks.fold([0, 0], |sum, week| [sum[0] + week.today, sum[1] + week.tried])
    };
    let mut units: Vec<(Option<&str>, [u64; 2])> = ids.iter().map(|id| (*id, of(id))).collect();
    units.sort_by_key(|(id, [today, tried])| (std::cmp::Reverse((*tried, *today)), *id));
    let name = |id: Option<&str>| id.map_or_else(|| lang.texts().unknown.to_owned(), |id| names.unit(id));
    units.into_iter().map(|(id, counts)| count_row(lang, name(id), counts)).collect()
}
