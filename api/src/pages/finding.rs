//! One finding: what was seen, why it is here, what happened, what the rule says, and what people judged.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use insyn_engine::trace::{self, Of as TraceOf, Query, VISIT_GAP};
use insyn_review::{Action, Covers, HistoryEntry, HistoryKind, Refusal, Scope, may_decide, may_handle};
use insyn_rules::{Finding, Outcome};

use super::{
    Choice, Page, Section, Visitor,
    findings::{Card, want},
    html_with,
    visits::{VisitRow, visit_rows},
    words,
};
use crate::{
    app::App,
    forms::{Fields, Parameters, Part},
    guard::Caller,
    handles::{Around, Of, Target},
    lang::{self, Lang},
    look,
    names::{Names, Wanted},
    problem::Problem,
    rest,
    texts::fill,
    trail::{self, Access},
};

/// How far around a finding its record and user may be looked at by those who may trace nothing else. µs.
const AROUND: i64 = 30 * 86_400_000_000;

#[derive(Template)]
#[template(path = "finding.html")]
struct FindingPage {
    page: Page,
    f: Card,
    reasons: Vec<String>,
    settles: Option<String>,
    visits: Vec<VisitRow>,
    visits_count: String,
    may_decide: bool,
    may_cover_person: bool,
    may_cover_unit: bool,
    why_not: Option<&'static str>,
    fault: Option<String>,
    csrf: String,
    outcomes: Vec<Choice>,
    history: Vec<Step>,
    user_details: String,
    user_href: Option<String>,
    record_href: Option<String>,
    subject_protected: bool,
    controller: String,
    rule_id: String,
    rule_version: u32,
    rule_parts: Vec<Section>,
    score_parts: Vec<ScorePart>,
}

/// What adds to the score, or takes away.
struct ScorePart {
    points: String,
    text: String,
}

struct Step {
    what: String,
    who: String,
    at: String,
    comment: String,
}

pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let notice = match parameters.get("said") {
        Some("decided") => Some(visitor.lang.texts().decided_notice.to_owned()),
        Some("covered") => Some(visitor.lang.texts().covered_notice.to_owned()),
        _ => None,
    };
    shown(&app, &caller, &visitor, &id, notice, None).await
}

pub(crate) async fn decide(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    let missing = || visitor.lang.texts().decide_missing.to_owned();
    let Ok(outcome) = fields.get("outcome").parse::<Outcome>() else {
        return shown(&app, &caller, &visitor, &id, None, Some(missing())).await;
    };
    match app.db.decide(&caller.principal, &id, outcome, fields.get("comment")).await {
        Ok(_) => Ok(Redirect::to(&format!("/findings/{id}?said=decided")).into_response()),
        Err(insyn_review::ReviewError::Refused(
            Refusal::CommentMissing | Refusal::CommentTooLong { .. } | Refusal::UnknownOutcome,
        )) => shown(&app, &caller, &visitor, &id, None, Some(missing())).await,
        Err(insyn_review::ReviewError::Refused(Refusal::ConfirmedNeedsCase)) => {
            let why = visitor.lang.texts().decide_confirmed.to_owned();
            shown(&app, &caller, &visitor, &id, None, Some(why)).await
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn cover(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    Part(id): Part,
    fields: Fields,
) -> Result<Response, Problem> {
    let missing = || visitor.lang.texts().cover_missing.to_owned();
    let (Ok(covers), Ok(months)) = (fields.get("covers").parse::<Covers>(), fields.get("months").parse())
    else {
        return shown(&app, &caller, &visitor, &id, None, Some(missing())).await;
    };
    match app.db.suppress(&caller.principal, &id, covers, months, fields.get("because")).await {
        Ok(_) => Ok(Redirect::to(&format!("/findings/{id}?said=covered")).into_response()),
        Err(insyn_review::ReviewError::Refused(
            Refusal::CommentMissing | Refusal::CommentTooLong { .. } | Refusal::BadMonths { .. },
        )) => shown(&app, &caller, &visitor, &id, None, Some(missing())).await,
        Err(error) => Err(error.into()),
    }
}

async fn shown(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    id: &str,
    notice: Option<String>,
    fault: Option<String>,
) -> Result<Response, Problem> {
    let lang = visitor.lang;
    let t = lang.texts();
    let scope = Scope::of(&caller.principal)?;
    let view = app.db.get(id, &scope).await?;
    let history = app.db.history(id, &scope).await?;
    let session = rest::session(app).await?;
    let accesses = happened(&session, &view.finding).await?;

    let mut wanted = Wanted::default();
    want(&mut wanted, &view.finding);
    wanted.users.extend(accesses.iter().map(|access| access.actor().to_owned()));
    wanted.subjects.extend(accesses.iter().map(|access| access.subject_id.clone()));
    wanted.units.extend(accesses.iter().map(|access| access.unit_id.clone()));
    let names = Names::read_at(&session, &wanted, Some(view.finding.last_at)).await;

    let mut seen = rest::findings::seen("finding", std::slice::from_ref(&view), Some(id));
    seen.subjects.extend(accesses.iter().map(|access| access.subject_id.clone()).filter(|id| !id.is_empty()));
    seen.rows = accesses.len() as u64;
    look::look(app, caller, seen).await?;

    let finding = &view.finding;
    let may_cover = view.may_cover() && history.iter().all(|entry| entry.kind != HistoryKind::Covers);
    let verdict = may_decide(&caller.principal, view.concern());
    let settled = finding.outcome != Outcome::None || view.settled_at.is_some();
    let why_not = match (&verdict, caller.may(Action::Decide)) {
        (Err(Refusal::OwnAccess), true) => Some(t.why_not_own),
        (Err(Refusal::OwnManager), true) => Some(t.why_not_manager),
        (Err(_), true) => Some(t.why_not_unit),
        _ => None,
    };
    let user_name =
        accesses.iter().rev().map(|access| access.user_name.as_str()).find(|name| !name.is_empty());
    let mut card = Card::of(app, lang, finding, &names);
    if card.user == finding.user_id {
        card.user = user_name.unwrap_or(&finding.user_id).to_owned();
    }
    let title = names.title(&finding.user_id);
    let details: Vec<&str> = [title, finding.user_id.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty() && *part != card.user)
        .collect();
    let visits = trail::visits(accesses, VISIT_GAP);
    let mut page = Page::new(app, visitor, card.title.clone());
    page.notice = notice;
    let status = if fault.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(html_with(
        status,
        &FindingPage {
            reasons: finding.reasons.iter().map(|reason| lang.of(reason).to_owned()).collect(),
            settles: finding
                .settles_at
                .filter(|at| *at > crate::app::now() && !settled)
                .map(|at| fill(t.settles, &[("day", &lang.day(app.zone(), at))])),
            visits_count: words::counted(lang, t.visits_one, t.visits_n, visits.len() as u64),
            visits: visit_rows(app, lang, &visits, &names, finding.subject_id.is_none()),
            may_decide: verdict.is_ok() && !settled,
            may_cover_person: verdict.is_ok() && may_cover && finding.subject_id.is_some(),
            may_cover_unit: may_cover
                && finding.care_unit_id.is_some()
                && may_handle(&caller.principal, Action::SetParameters, view.concern()).is_ok(),
            why_not,
            fault,
            csrf: caller.csrf(),
            outcomes: outcomes(lang),
            history: history.iter().map(|entry| step(app, lang, entry)).collect(),
            user_details: details.join(" · "),
            user_href: link(app, caller, finding, Of::User(finding.user_id.clone())),
            record_href: finding.subject_id.clone().and_then(|id| link(app, caller, finding, Of::Record(id))),
            subject_protected: finding.subject_id.as_deref().is_some_and(|id| names.is_protected(id)),
            controller: finding.controller_id.clone().unwrap_or_else(|| t.unknown.to_owned()),
            rule_id: finding.rule_id.clone(),
            score_parts: finding.score_parts().iter().map(|part| score_part(lang, part)).collect(),
            rule_version: finding.rule_version,
            rule_parts: app
                .pack
                .rule(&finding.rule_id)
                .map(|rule| super::rules::parts(lang, rule))
                .unwrap_or_default(),
            f: card,
            page,
        },
    ))
}

/// The accesses that the finding is about, out of the lake as it is now.
async fn happened(
    session: &insyn_engine::session::Session,
    finding: &Finding,
) -> Result<Vec<Access>, Problem> {
    let of = match &finding.subject_id {
        Some(id) => TraceOf::Subject(id.clone()),
        None => TraceOf::User(finding.user_id.clone()),
    };
    let query = Query {
        from: Some(finding.first_at),
        to: Some(finding.last_at.saturating_add(1)),
        columns: Some(trail::COLUMNS.iter().map(|name| (*name).to_owned()).collect()),
        ..Query::new(of)
    };
    let trace = trace::trace(session, &query).await?;
    let ids: BTreeSet<&str> = finding.event_ids.iter().map(String::as_str).collect();
    let mut accesses = trail::accesses(&trace.batches);
    accesses.retain(|access| ids.contains(access.event_id.as_str()));
    Ok(accesses)
}

/// A link to the record or the user; all of it for those who may trace, the time around the finding for others.
fn link(app: &App, caller: &Caller, finding: &Finding, of: Of) -> Option<String> {
    let around = if caller.may(Action::Trace) {
        None
    } else if caller.may(Action::TraceFinding) {
        Some(Around {
            finding: finding.finding_id.clone(),
            unit: finding.care_unit_id.clone(),
            from: finding.first_at.saturating_sub(AROUND),
            to: finding.last_at.saturating_add(AROUND),
        })
    } else {
        return None;
    };
    let folder = of.folder();
    let handle = app.handles().make(&caller.session_key(), Target { of, around });
    Some(format!("/{folder}/{handle}"))
}

fn outcomes(lang: Lang) -> Vec<Choice> {
    [
        Outcome::Authorised,
        Outcome::AuthorisedWrongRoutine,
        Outcome::MistakenOpening,
        Outcome::CannotTell,
        Outcome::Suspected,
    ]
    .into_iter()
    .map(|outcome| Choice {
        key: outcome.as_str(),
        name: words::outcome(lang.texts(), outcome).to_owned(),
        selected: false,
    })
    .collect()
}

fn step(app: &App, lang: Lang, entry: &HistoryEntry) -> Step {
    let t = lang.texts();
    let mut what = words::history(t, entry.kind).to_owned();
    if let Some(outcome) = entry.outcome.filter(|outcome| *outcome != Outcome::None) {
        what = format!("{what}: {}", words::outcome(t, outcome));
    }
    // A run signs with its id, which says nothing to people.
    let by_run = entry.by_user_id.is_none();
    Step {
        what,
        who: if by_run { t.by_insyn.to_owned() } else { entry.by_name.clone() },
        at: lang::minute(app.zone(), entry.at),
        comment: entry.comment.clone().unwrap_or_default(),
    }
}

/// With a true minus, as numbers are written in both languages.
fn score_part(lang: Lang, part: &insyn_rules::Part) -> ScorePart {
    let sign = if part.points < 0 { "\u{2212}" } else { "+" };
    ScorePart {
        points: format!("{sign}{}", part.points.unsigned_abs()),
        text: lang.of(&part.text).to_owned(),
    }
}
