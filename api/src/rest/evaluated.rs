//! What could be judged, and what not. It names nobody.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use insyn_review::Action;
use serde_json::{Value, json};

use crate::{
    app::{App, now},
    forms::Parameters,
    guard::Caller,
    lang,
    problem::Problem,
};

/// Days of an answer at most.
const MOST: i64 = 92;
/// Days that are looked back on when nobody says.
const DAYS: i64 = 28;

/// What could be judged and what not: accesses by day, source and unit, and the rules of the latest run.
#[utoipa::path(get, path = "/api/v1/evaluated", tag = "rules", params(
    ("from" = Option<String>, Query, description = "From this local day on, as 2026-03-04; 28 days when not given"),
    ("to" = Option<String>, Query, description = "To this local day, with it; at most 92 days in all")), responses(
    (status = 200, description = "By day, source and unit: looks, and those of which nothing could be said; and in `rules`, for \
                                  those who see runs, what the latest run could not judge, for which units and why",
        body = super::rules::List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&["from", "to"], |_| false)?;
    let (from, to) = period(&app, &parameters)?;
    let days = app.db.evaluated_days(&caller.principal, &from.to_string(), &to.to_string()).await?;
    let rules = rules(&app, &caller).await?;
    Ok(axum::Json(json!({ "items": days, "rules": rules, "cursor": null })).into_response())
}

/// The rules that the latest run could not judge, or not for every unit; nothing for those who see no runs.
pub(crate) async fn rules(app: &App, caller: &Caller) -> Result<Vec<Value>, Problem> {
    if !caller.may(Action::SeeRuns) {
        return Ok(Vec::new());
    }
    let latest = app.db.runs(None, 1).await?.items;
    let lacks = |rule: &&Value| {
        rule["state"] != "evaluated"
            || rule["not_evaluated"].as_array().is_some_and(|units| !units.is_empty())
    };
    let rules = latest.first().and_then(|run| run.record["rules"].as_array());
    Ok(rules.into_iter().flatten().filter(lacks).cloned().collect())
}

/// The days that are asked for, both with them.
pub(crate) fn period(app: &App, parameters: &Parameters) -> Result<(NaiveDate, NaiveDate), Problem> {
    let wrong = |what: String| Problem::bad_request("bad_parameter", what);
    let day = |name: &'static str| {
        let Some(text) = parameters.get(name) else { return Ok(None) };
        let day = (text.len() == 10).then(|| text.parse::<NaiveDate>().ok()).flatten();
        day.map(Some).ok_or_else(|| wrong(format!("{name}: expected a day as 2026-03-04")))
    };
    let today = || lang::date(app.zone(), now()).parse::<NaiveDate>().unwrap_or_default();
    let to = day("to")?.unwrap_or_else(today);
    let from = day("from")?.unwrap_or_else(|| to - chrono::Duration::days(DAYS - 1));
    if from > to || (to - from).num_days() >= MOST {
        return Err(wrong(format!("to: expected a day from `from` on, at most {MOST} days in all")));
    }
    Ok((from, to))
}
