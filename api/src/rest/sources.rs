//! The state of the sources, as `sources status` prints it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use insyn_ingest::status;
use serde_json::{Value, json};

use super::rules::List;
use crate::{app::App, problem::Problem};

/// What metrics and pages need of a source's state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) format: String,
    pub(crate) state: String,
    /// Why it is in that state, where there is something to say.
    pub(crate) why: String,
    pub(crate) last_event: Option<i64>,
    pub(crate) events: Option<f64>,
    pub(crate) quarantined: Option<f64>,
    pub(crate) gaps: Option<f64>,
    pub(crate) bytes_behind: Option<f64>,
    pub(crate) seconds_behind: Option<f64>,
}

/// State of each source: files, bytes and seconds behind, events, quarantine, gaps, last event.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources", responses(
    (status = 200, description = "The sources", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>) -> Result<Response, Problem> {
    Ok(axum::Json(json!({ "items": read(&app).await?, "cursor": null })).into_response())
}

/// The same, ready to be shown.
pub(crate) async fn statuses(app: &App) -> Result<Vec<Source>, Problem> {
    Ok(read(app).await?.iter().map(source).collect())
}

async fn read(app: &App) -> Result<Vec<Value>, Problem> {
    let statuses = status::status(&app.lake, &app.organisation, &app.sources, &app.base)
        .await
        .map_err(|fault| Problem::internal("reading the state of the sources", &fault))?;
    Ok(statuses.iter().map(|status| serde_json::to_value(status).unwrap_or_default()).collect())
}

fn source(status: &Value) -> Source {
    let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| status[name].as_f64();
    Source {
        name: text("name"),
        format: text("format"),
        state: text("state"),
        why: text("why"),
        last_event: status["last_event"]
            .as_str()
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.timestamp_micros()),
        events: number("events"),
        quarantined: number("quarantined"),
        gaps: number("gaps"),
        bytes_behind: number("bytes_behind"),
        seconds_behind: number("seconds_behind"),
    }
}
