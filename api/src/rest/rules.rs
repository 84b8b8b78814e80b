//! The pack, runs now and in the dry, and what ran.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use insyn_review::Action;
use insyn_rules::{FindingStore, Rule, Window};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    app::App,
    forms::{Json, Parameters, Part, instant},
    guard::Caller,
    look::{self, Seen},
    problem::Problem,
};

/// How many findings a dry run shows; all of them are counted.
const SHOWN: usize = 1_000;

/// Which period, and whether anything is kept.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunRequest {
    /// From this time on: RFC 3339, or a local date; from the first access when not given.
    from: Option<String>,
    /// Before this time; a date means to the end of that day.
    to: Option<String>,
    /// True: nothing is kept, and the findings are in the answer.
    dry_run: bool,
    /// With `dry_run`: a trial of another setting, by the names of parameters, `level` and `status`. It is judged in the
    /// background beside today's setting, and gives counts only.
    #[schema(example = json!({ "before": "7 days", "level": "low" }))]
    set: BTreeMap<String, Value>,
}

/// What a run came to.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct RunBody {
    /// The run's record: when, over what, and each rule with its state, why, rows and findings.
    record: Value,
    /// How many findings were new, joined others or changed nothing; null for a dry run.
    recorded: Option<Value>,
    /// Of a dry run: what would have been found, highest score first, at most 1 000.
    findings: Option<Vec<Value>>,
    finding_count: usize,
}

/// A list without pages.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct List {
    items: Vec<Value>,
    cursor: Option<String>,
}

/// The rules, with their texts in both languages.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", responses(
    (status = 200, description = "The pack", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>) -> Response {
    let items: Vec<Value> = app.pack.rules().iter().map(body).collect();
    axum::Json(json!({ "items": items, "cursor": null })).into_response()
}

/// One rule.
#[utoipa::path(get, path = "/api/v1/rules/{id}", tag = "rules",
    params(("id" = String, Path, description = "The rule's id")), responses(
    (status = 200, description = "The rule"),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(State(app): State<App>, Part(id): Part) -> Result<Response, Problem> {
    let rule = app.pack.rule(&id).ok_or_else(|| Problem::not_found("rule"))?;
    Ok(axum::Json(body(rule)).into_response())
}

/// A rule that a parameter names.
pub(crate) fn known<'a>(app: &'a App, id: &str) -> Result<&'a Rule, Problem> {
    app.pack
        .rule(id)
        .ok_or_else(|| Problem::bad_request("bad_parameter", format!("rule: {id:?} is none of the pack")))
}

/// Runs one rule, now and for good, or in the dry over a period; or tries another setting.
#[utoipa::path(post, path = "/api/v1/rules/{id}/runs", tag = "rules",
    params(("id" = String, Path, description = "The rule's id")), request_body = RunRequest, responses(
    (status = 200, description = "A dry run", body = RunBody),
    (status = 201, description = "A run whose findings were kept", body = RunBody),
    (status = 202, description = "A trial of another setting, under way; `Location` says where to ask for it",
        body = super::trials::TrialView),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn run(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    Json(request): Json<RunRequest>,
) -> Result<Response, Problem> {
    caller.must(if request.dry_run { Action::TryRules } else { Action::RunRules })?;
    if app.pack.rule(&id).is_none() {
        return Err(Problem::not_found("rule"));
    }
    if !request.set.is_empty() && !request.dry_run {
        return Err(Problem::bad_request(
            "set_needs_dry_run",
            "found `set` without `dry_run`: a setting is tried in the dry; what holds is set in the organisation's own rules",
        ));
    }
    let pack = (*app.pack).clone().only(|rule| rule.id == id);
    let time = |name, text: &Option<String>, end| {
        text.as_deref().map(|text| instant(name, text, app.zone(), end)).transpose()
    };
    let window = Window { from: time("from", &request.from, false)?, to: time("to", &request.to, true)? };
    if !request.set.is_empty() {
        return super::trials::start(&app, &caller, &id, &request.set, window).await;
    }
    // What is kept goes first; what is only tried takes turns.
    let _turn = if request.dry_run { Some(app.trials().turn().await?) } else { None };
    let session = super::session(&app).await?;
    let store: Option<&dyn FindingStore> = if request.dry_run { None } else { Some(&app.db) };
    let report = insyn_rules::run(&pack, &session, &app.organisation, window, store)
        .await
        .map_err(|fault| Problem::internal("the run", &fault))?;
    // A person who answers for one controller tries a rule on what that one answers for.
    let controllers = &caller.principal.controllers;
    let mine = |finding: &&insyn_rules::Finding| {
        controllers.is_empty() || finding.controller_id.as_ref().is_some_and(|id| controllers.contains(id))
    };
    let found: Vec<&insyn_rules::Finding> = report.findings.iter().filter(mine).collect();
    let mut answer = json!({
        "record": report.record, "recorded": report.recorded, "finding_count": found.len(), "findings": null,
    });
    if !request.dry_run {
        return Ok((StatusCode::CREATED, axum::Json(answer)).into_response());
    }
    let shown = &found[..found.len().min(SHOWN)];
    let seen = Seen {
        activity: "dry run",
        query: Some(format!("rule {id}")),
        subjects: shown.iter().filter_map(|finding| finding.subject_id.clone()).collect(),
        rows: shown.len() as u64,
        ..Seen::default()
    };
    look::look(&app, &caller, seen).await?;
    answer["findings"] = json!(shown);
    Ok(axum::Json(answer).into_response())
}

/// What ran, what was skipped and why, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "rules", params(
    ("limit" = Option<usize>, Query, description = "Runs of a page, at most 1 000; 100 when not given"),
    ("cursor" = Option<String>, Query, description = "The `cursor` of the page before")), responses(
    (status = 200, description = "Runs", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn runs(State(app): State<App>, parameters: Parameters) -> Result<Response, Problem> {
    parameters.only(&["limit", "cursor"], |_| false)?;
    let limit = parameters.count("limit", 1_000)?.unwrap_or(100);
    let page = app.db.runs(parameters.get("cursor"), limit).await?;
    Ok(axum::Json(json!({ "items": page.items, "cursor": page.next })).into_response())
}

/// A rule without its test cases and the place of its file.
fn body(rule: &Rule) -> Value {
    let mut body = serde_json::to_value(rule).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("cases");
        fields.remove("file");
    }
    body
}
