//! Trials of another setting: counts only.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use insyn_rules::Window;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    app::App,
    forms::Part,
    guard::Caller,
    lang::rfc3339,
    problem::Problem,
    trials::{self, State as Stage, Trial},
};

/// A trial: what is tried, how far it is, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialView {
    trial_id: String,
    rule_id: String,
    /// `waiting`, `running`, `done` or `failed`.
    state: &'static str,
    asked_at: String,
    /// Who asked: their name.
    asked_by: String,
    from: Option<String>,
    to: Option<String>,
    /// What differs from today's setting.
    changes: Vec<ChangeView>,
    /// Once it is done: findings by both settings, those that only one of them makes, the same by `weeks` (the Monday) and
    /// unit and by `levels`, and in `failed` why one of them could not judge.
    result: Option<Value>,
    /// Why it failed.
    why: Option<String>,
}

/// One thing that is set otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeView {
    /// A parameter, `level` or `status`.
    name: String,
    today: String,
    tried: String,
}

/// How far a trial is, and what came of it. Trials are kept for a day, while the process lives.
#[utoipa::path(get, path = "/api/v1/trials/{id}", tag = "rules",
    params(("id" = String, Path, description = "The trial's id")), responses(
    (status = 200, description = "The trial", body = TrialView),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
) -> Result<Response, Problem> {
    let trial = app.trials().find(&caller, &id).ok_or_else(|| Problem::not_found("trial"))?;
    Ok(axum::Json(view(&app, &trial)).into_response())
}

/// Starts a trial and says where to ask for it.
pub(super) async fn start(
    app: &App,
    caller: &Caller,
    rule: &str,
    set: &BTreeMap<String, Value>,
    window: Window,
) -> Result<Response, Problem> {
    let settings: Vec<(String, String)> = set
        .iter()
        .map(|(name, value)| Ok((name.clone(), text(name, value)?)))
        .collect::<Result<_, Problem>>()?;
    let tried = trials::set(app, rule, &settings).map_err(|(_, what)| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_setting", format!("set: {what}"))
    })?;
    let trial = trials::start(app, caller, rule, tried, window).await?;
    let mut response = (StatusCode::ACCEPTED, axum::Json(view(app, &trial))).into_response();
    if let Ok(address) = HeaderValue::from_str(&format!("/api/v1/trials/{}", trial.id)) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    Ok(response)
}

fn view(app: &App, trial: &Arc<Trial>) -> TrialView {
    let state = trial.state();
    let changes = app.pack.rule(&trial.rule.id).map(|today| trial.changes(today)).unwrap_or_default();
    TrialView {
        trial_id: trial.id.clone(),
        rule_id: trial.rule.id.clone(),
        state: state.as_str(),
        asked_at: rfc3339(trial.asked_at),
        asked_by: trial.by.clone(),
        from: trial.window.from.map(rfc3339),
        to: trial.window.to.map(rfc3339),
        changes: changes
            .iter()
            .map(|change| ChangeView {
                name: change.name.to_owned(),
                today: change.today.to_string(),
                tried: change.tried.to_string(),
            })
            .collect(),
        result: match &state {
            Stage::Done(found) => Some(json!(**found)),
            _ => None,
        },
        why: match state {
            Stage::Failed(why) => Some(why),
            _ => None,
        },
    }
}

/// A value as it is written in settings.
fn text(name: &str, value: &Value) -> Result<String, Problem> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let written = match value {
        Value::Array(values) => {
            values.iter().map(plain).collect::<Option<Vec<_>>>().map(|texts| texts.join(", "))
        }
        value => plain(value),
    };
    written.ok_or_else(|| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_setting",
            format!("set.{name}: expected a text, a number, true, false or a list of texts"),
        )
    })
}
