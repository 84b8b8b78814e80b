//! What could be judged, and what not. It names nobody.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use insyn_review::{Evaluated, EvaluatedAsk, EvaluatedPlace};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    app::{App, now},
    forms::Parameters,
    guard::Caller,
    lang,
    problem::Problem,
};

/// Days of an answer at most.
const MOST_DAYS: i64 = 92;
/// Days that are looked back on when nobody says.
const DAYS: i64 = 28;
/// Items of a page when no `limit` is given, and at most.
const PAGE: usize = 100;
const MOST: usize = 1_000;

/// A page of what could be judged.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct EvaluatedList {
    items: Vec<EvaluatedItem>,
    /// What became of each rule from one day to another, where nothing else is said of a unit.
    rules: Vec<RuleStretchBody>,
    /// Where the next page starts; null at the end.
    cursor: Option<String>,
}

/// Accesses of a day, source and unit, and what became of each rule there.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct EvaluatedItem {
    /// Local, as 2026-03-04.
    day: String,
    source: String,
    /// Null where the log does not say.
    care_unit_id: Option<String>,
    accesses: u64,
    /// A rule that no run has judged yet is not in it.
    rules: Vec<PlaceJudgedBody>,
}

/// What became of a rule in one place.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct PlaceJudgedBody {
    rule_id: String,
    /// evaluated, partly, not_evaluated or failed.
    state: String,
    /// Accesses of which it could say nothing.
    not_evaluated: u64,
    why: Option<String>,
}

/// What became of a rule from one day to another.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct RuleStretchBody {
    rule_id: String,
    first_day: String,
    /// With it.
    last_day: String,
    /// evaluated, not_evaluated or failed.
    state: String,
    /// Null also where a rule failed and the caller sees no runs.
    why: Option<String>,
}

/// What could be judged and what not, by rule, unit, source and day, as the runs said it last.
#[utoipa::path(get, path = "/api/v1/evaluated", tag = "rules", params(
    ("from" = Option<String>, Query, description = "From this local day on, as 2026-03-04; 28 days when not given"),
    ("to" = Option<String>, Query, description = "To this local day, with it; at most 92 days in all"),
    ("rule" = Option<String>, Query, description = "Of this rule alone"),
    ("limit" = Option<usize>, Query, description = "Items of a page, at most 1 000; 100 when not given"),
    ("cursor" = Option<String>, Query, description = "The `cursor` of the page before")), responses(
    (status = 200, description = "In order of day, source and unit, within what the caller counts", body = EvaluatedList),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&["from", "to", "rule", "limit", "cursor"], |_| false)?;
    let ask = asked(&app, &parameters)?;
    let limit = parameters.count("limit", MOST)?.unwrap_or(PAGE);
    let found = app.db.evaluated(&caller.principal, ask, Some((parameters.get("cursor"), limit))).await?;
    let items: Vec<Value> = found.places.iter().map(|place| body(&found, place)).collect();
    Ok(axum::Json(json!({ "items": items, "rules": found.rules, "cursor": found.next })).into_response())
}

fn body(found: &Evaluated, place: &EvaluatedPlace) -> Value {
    let mut body = serde_json::to_value(place).unwrap_or_default();
    body["rules"] = json!(found.at(place, &found.on(&place.day)));
    body
}

/// The days that are asked for, both with them, and of which rule.
pub(crate) fn asked<'a>(app: &'a App, parameters: &Parameters) -> Result<EvaluatedAsk<'a>, Problem> {
    let wrong = |what: String| Problem::bad_request("bad_parameter", what);
    let day = |name: &'static str| {
        let Some(text) = parameters.get(name) else { return Ok(None) };
        let day = (text.len() == 10).then(|| text.parse::<NaiveDate>().ok()).flatten();
        day.map(Some).ok_or_else(|| wrong(format!("{name}: expected a day as 2026-03-04")))
    };
    let today = || lang::date(app.zone(), now()).parse::<NaiveDate>().unwrap_or_default();
    let to = day("to")?.unwrap_or_else(today);
    let from = day("from")?.unwrap_or_else(|| to - chrono::Duration::days(DAYS - 1));
    if from > to || (to - from).num_days() >= MOST_DAYS {
        return Err(wrong(format!("to: expected a day from `from` on, at most {MOST_DAYS} days in all")));
    }
    let rule = parameters.get("rule").map(|id| super::rules::known(app, id)).transpose()?;
    Ok(EvaluatedAsk { from, to, rule: rule.map(|rule| rule.id.as_str()) })
}
