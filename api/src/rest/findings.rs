//! The worklist, for programs.

#![allow(unused_qualifications, reason = "utoipa writes them into what it makes of `params`")]

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use insyn_review::{Filter, FindingView, HistoryEntry, Scope, findings_batch};
use insyn_rules::{FindingStatus, Level, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    forms::{Json, Parameters, Part, instant},
    guard::Caller,
    lang::rfc3339,
    look::{self, Seen},
    negotiate::{self, Form, Rows},
    problem::Problem,
};

/// Findings of a page when no `limit` is given, and at most.
const PAGE: usize = 100;
const MOST: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[allow(
    dead_code,
    reason = "read by utoipa; the handler takes parameters as they come, since some may repeat"
)]
pub(crate) struct FindingParameters {
    /// The rule's id.
    rule: Option<String>,
    /// informational, low, medium, high or critical; several separated by commas.
    level: Option<String>,
    /// new, assigned, asked, decided or closed; several separated by commas.
    status: Option<String>,
    /// none, authorised, authorised_wrong_routine, mistaken_opening, cannot_tell, suspected or confirmed.
    outcome: Option<String>,
    /// Whose accesses.
    user: Option<String>,
    /// Whose record.
    subject: Option<String>,
    /// From which unit.
    unit: Option<String>,
    /// Who answers for the record.
    controller: Option<String>,
    /// Findings with accesses from this time on: RFC 3339, or a local date.
    from: Option<String>,
    /// Findings with accesses before this time; a date means to the end of that day.
    to: Option<String>,
    /// True: also those that an earlier decision keeps out of the queue; false when not given.
    covered: Option<bool>,
    /// At least this score.
    min_score: Option<u8>,
    /// Findings of a page, at most 1 000; 100 when not given.
    limit: Option<usize>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
}

/// What somebody judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// authorised, authorised_wrong_routine, mistaken_opening, cannot_tell or suspected.
    #[schema(example = "authorised")]
    outcome: String,
    /// What the judgement rests on.
    comment: String,
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct FindingList {
    items: Vec<FindingBody>,
    /// Where the next page starts; null at the end.
    cursor: Option<String>,
}

/// A finding: what was seen between one user and one record in one calendar window.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct FindingBody {
    finding_id: String,
    rule_id: String,
    rule_version: u32,
    /// informational, low, medium, high or critical.
    level: String,
    /// 0 to 100.
    score: u8,
    /// new, assigned, asked, decided or closed.
    status: String,
    /// none, authorised, authorised_wrong_routine, mistaken_opening, cannot_tell, suspected or confirmed.
    outcome: String,
    /// Until then, records that come late may still explain it.
    settles_at: Option<String>,
    user_id: String,
    subject_id: Option<String>,
    care_unit_id: Option<String>,
    controller_id: Option<String>,
    first_at: String,
    last_at: String,
    event_count: u64,
    event_ids: Vec<String>,
    title_sv: String,
    title_en: String,
    reasons: Vec<ReasonBody>,
    created_at: String,
    /// The decided finding that this one follows.
    follows: Option<String>,
    assigned_to: Option<String>,
    assigned_name: Option<String>,
    decided_at: Option<String>,
    /// When records that came late explained it: closed then, and judged by nobody.
    settled_at: Option<String>,
    changed_at: String,
}

/// A sentence in both languages.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct ReasonBody {
    sv: String,
    en: String,
}

/// Findings, highest score first.
#[utoipa::path(get, path = "/api/v1/findings", tag = "findings", params(FindingParameters), responses(
    (status = 200, description = "Findings within what the caller may read", content(
        (FindingList = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
    form: Form,
) -> Result<Response, Problem> {
    let filter = filter(&app, &parameters)?;
    let limit = parameters.count("limit", MOST)?.unwrap_or(PAGE);
    let scope = Scope::of(&caller.principal)?;
    let page = app.db.list(&filter, &scope, parameters.get("cursor"), limit).await?;
    look::look(&app, &caller, seen("findings", &page.items, None)).await?;
    if form == Form::Json {
        let items: Vec<Value> = page.items.iter().map(|view| body(view, &[])).collect();
        return Ok(axum::Json(json!({ "items": items, "cursor": page.next })).into_response());
    }
    let batch = findings_batch(&page.items)?;
    let rows =
        Rows { schema: batch.schema(), batches: vec![batch], about: Default::default(), cursor: page.next };
    negotiate::answer(form, app.zone(), rows)
}

/// One finding with its evidence and history.
#[utoipa::path(get, path = "/api/v1/findings/{id}", tag = "findings",
    params(("id" = String, Path, description = "The finding's id")), responses(
    (status = 200, description = "The finding, with `evidence` and `history`", body = FindingBody),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
) -> Result<Response, Problem> {
    let scope = Scope::of(&caller.principal)?;
    let view = app.db.get(&id, &scope).await?;
    let history = app.db.history(&id, &scope).await?;
    look::look(&app, &caller, seen("finding", std::slice::from_ref(&view), Some(&id))).await?;
    Ok(axum::Json(body(&view, &history)).into_response())
}

/// Judges a finding.
#[utoipa::path(post, path = "/api/v1/findings/{id}/decisions", tag = "findings",
    params(("id" = String, Path, description = "The finding's id")), request_body = Decision, responses(
    (status = 201, description = "The finding as judged", body = FindingBody),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn decide(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    Json(decision): Json<Decision>,
) -> Result<Response, Problem> {
    let outcome: Outcome =
        decision.outcome.parse().map_err(|_| Problem::from(insyn_review::Refusal::UnknownOutcome))?;
    let view = app.db.decide(&caller.principal, &id, outcome, &decision.comment).await?;
    look::look(&app, &caller, seen("decision", std::slice::from_ref(&view), Some(&id))).await?;
    Ok((StatusCode::CREATED, axum::Json(body(&view, &[]))).into_response())
}

/// What goes into the spool about findings that were shown.
pub(crate) fn seen<'a>(activity: &'a str, shown: &[FindingView], id: Option<&str>) -> Seen<'a> {
    Seen {
        activity,
        stated: None,
        query: id.map(|id| format!("finding {id}")),
        subjects: shown.iter().filter_map(|view| view.finding.subject_id.clone()).collect(),
        rows: shown.len() as u64,
    }
}

/// A finding as JSON: the fields of the interfaces, and where it stands in people's hands.
fn body(view: &FindingView, history: &[HistoryEntry]) -> Value {
    let mut body = serde_json::to_value(&view.finding).unwrap_or_default();
    let Some(fields) = body.as_object_mut() else { return body };
    if fields.get("evidence").is_some_and(Value::is_null) {
        fields.remove("evidence");
    }
    fields.insert("follows".into(), json!(view.follows));
    fields.insert("assigned_to".into(), json!(view.assigned_to));
    fields.insert("assigned_name".into(), json!(view.assigned_name));
    fields.insert("decided_at".into(), json!(view.decided_at.map(rfc3339)));
    fields.insert("settled_at".into(), json!(view.settled_at.map(rfc3339)));
    fields.insert("changed_at".into(), json!(rfc3339(view.changed_at)));
    if !history.is_empty() {
        let steps: Vec<Value> = history
            .iter()
            .map(|step| {
                json!({
                    "at": rfc3339(step.at), "kind": step.kind, "by": step.by_name,
                    "outcome": step.outcome, "comment": step.comment,
                })
            })
            .collect();
        fields.insert("history".into(), Value::Array(steps));
    }
    body
}

fn filter(app: &App, parameters: &Parameters) -> Result<Filter, Problem> {
    const KNOWN: &[&str] = &[
        "rule",
        "level",
        "status",
        "outcome",
        "user",
        "subject",
        "unit",
        "controller",
        "from",
        "to",
        "covered",
        "min_score",
        "limit",
        "cursor",
    ];
    parameters.only(KNOWN, |_| false)?;
    let text = |name| parameters.get(name).map(str::to_owned);
    let time = |name, end| parameters.get(name).map(|text| instant(name, text, app.zone(), end)).transpose();
    Ok(Filter {
        rule: text("rule"),
        level: parameters.words::<Level>("level")?,
        status: parameters.words::<FindingStatus>("status")?,
        outcome: parameters.words::<Outcome>("outcome")?,
        user: text("user"),
        subject: text("subject").map(|written| super::accesses::subject_id(&written)),
        unit: text("unit"),
        controller: text("controller"),
        from: time("from", false)?,
        to: time("to", true)?,
        covered: match parameters.get("covered") {
            None | Some("false") => Some(false),
            Some("true") => None,
            Some(_) => return Err(Problem::bad_request("bad_parameter", "covered: expected true or false")),
        },
        min_score: parameters
            .get("min_score")
            .map(|text| text.parse::<u8>().ok().filter(|score| *score <= 100))
            .map(|score| {
                score.ok_or_else(|| Problem::bad_request("bad_parameter", "min_score: expected 0 to 100"))
            })
            .transpose()?,
        ..Filter::default()
    })
}
