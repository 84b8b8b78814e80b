//! The rules, as text that a data protection officer reads.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use insyn_review::Action;
use insyn_rules::{Rule, Status};

use super::{
    Page, Section, Visitor, html, html_with, paragraphs, quality,
    trial::{self, TrialForm, TrialRow},
    words,
};
use crate::{
    app::App,
    forms::Part,
    guard::Caller,
    lang::Lang,
    names::{Names, Wanted},
    problem::Problem,
};

#[derive(Template)]
#[template(path = "rules.html")]
struct RulesPage {
    page: Page,
    rules: Vec<RuleRow>,
    may_see_counts: bool,
}

#[derive(Template)]
#[template(path = "rule.html")]
struct RulePage {
    page: Page,
    rule: RuleRow,
    parts: Vec<Section>,
    params: Vec<Parameter>,
    sql: String,
    may_see_findings: bool,
    /// For those who may try another setting.
    trial_form: Option<TrialForm>,
    trials: Vec<TrialRow>,
    /// For those who may see counts.
    record: Option<quality::Record>,
    schedule: Option<String>,
    /// Of a rule in the shadow, for whoever may see counts.
    shadow: Option<Vec<ShadowRow>>,
}

struct ShadowRow {
    week: String,
    unit: String,
    findings: u64,
}

struct RuleRow {
    id: String,
    title: String,
    version: u32,
    level_key: &'static str,
    level: &'static str,
    status: &'static str,
    needs: String,
}

struct Parameter {
    name: String,
    value: String,
}

pub(crate) async fn list(State(app): State<App>, caller: Caller, visitor: Visitor) -> Response {
    let rules = app.pack.rules().iter().map(|rule| row(visitor.lang, rule)).collect();
    let page = Page::new(&app, &visitor, visitor.lang.texts().rules_title);
    html(&RulesPage { page, rules, may_see_counts: caller.may(Action::SeeCounts) })
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
) -> Result<Response, Problem> {
    let rule = app.pack.rule(&id).ok_or_else(|| Problem::not_found("rule"))?;
    let may_try = caller.may(Action::TryRules);
    let form = may_try.then(|| trial::form(&app, &caller, visitor.lang, rule, None));
    page(&app, &caller, &visitor, rule, StatusCode::OK, form).await
}

/// A rule's page, with the form as it is filled in.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    rule: &Rule,
    status: StatusCode,
    trial_form: Option<TrialForm>,
) -> Result<Response, Problem> {
    let page = Page::new(app, visitor, visitor.lang.of(&rule.title));
    let params = rule
        .params
        .iter()
        .map(|(name, param)| {
            let about = visitor.lang.of(&param.about);
            let value = if about.is_empty() {
                param.value.to_string()
            } else {
                format!("{} – {about}", param.value)
            };
            Parameter { name: name.clone(), value }
        })
        .collect();
    let counts = caller.may(Action::SeeCounts);
    let shadow = match counts && rule.status == Status::Shadow {
        true => Some(shadow(app, caller, &rule.id).await?),
        false => None,
    };
    Ok(html_with(
        status,
        &RulePage {
            schedule: rule
                .schedule
                .as_ref()
                .map(|schedule| format!("{} ({schedule})", visitor.lang.of(&schedule.said()))),
            shadow,
            page,
            rule: row(visitor.lang, rule),
            parts: parts(visitor.lang, rule),
            params,
            sql: rule.sql.trim().to_owned(),
            may_see_findings: caller.may(Action::ReadFindings),
            trials: match trial_form {
                Some(_) => trial::rows(app, caller, visitor.lang, rule),
                None => Vec::new(),
            },
            trial_form,
            record: match counts {
                true => Some(quality::record(app, caller, visitor.lang, rule).await?),
                false => None,
            },
        },
    ))
}

/// What a rule in the shadow would have found, the newest weeks first.
async fn shadow(app: &App, caller: &Caller, rule: &str) -> Result<Vec<ShadowRow>, Problem> {
    let weeks = app.db.shadow(&caller.principal, Some(rule)).await?;
    let units = weeks.iter().filter_map(|week| week.care_unit_id.clone()).collect();
    let session = crate::rest::session(app).await?;
    let names = Names::read(&session, &Wanted { units, ..Wanted::default() }).await;
    Ok(weeks
        .into_iter()
        .map(|week| ShadowRow {
            unit: week.care_unit_id.map_or_else(|| "–".to_owned(), |unit| names.unit(&unit)),
            week: week.week,
            findings: week.findings,
        })
        .collect())
}

/// What a rule says of itself.
pub(crate) fn parts(lang: Lang, rule: &Rule) -> Vec<Section> {
    let t = lang.texts();
    [
        (t.rule_description, &rule.description),
        (t.rule_ground, &rule.ground),
        (t.rule_errs, &rule.errs),
        (t.rule_runbook, &rule.runbook),
    ]
    .into_iter()
    .map(|(name, text)| Section { name, paragraphs: paragraphs(lang.of(text)) })
    .filter(|section| !section.paragraphs.is_empty())
    .collect()
}

fn row(lang: Lang, rule: &Rule) -> RuleRow {
    let t = lang.texts();
    let mut needs = rule.needs.clone();
    if !rule.needs_one_of.is_empty() {
        needs.push(rule.needs_one_of.join(" / "));
    }
    RuleRow {
        id: rule.id.clone(),
        title: lang.of(&rule.title).to_owned(),
        version: rule.version,
        level_key: rule.level.as_str(),
        level: words::level(t, rule.level),
        status: words::maturity(t, rule.status),
        needs: if needs.is_empty() { t.needs_nothing.to_owned() } else { needs.join(", ") },
    }
}
