//! The state of the sources, as `sources status` prints it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use insyn_engine::exports::stated_days;
use insyn_ingest::{
    SourceConfig,
    law::{self, Coverage},
    status,
};
use serde_json::{Value, json};

use super::rules::List;
use crate::{
    app::{App, now},
    forms::{Parameters, instant},
    problem::Problem,
    quiet,
};

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
    pub(crate) quarantine_open: Option<f64>,
    pub(crate) gaps_open: Option<f64>,
    pub(crate) bytes_behind: Option<f64>,
    pub(crate) seconds_behind: Option<f64>,
    pub(crate) events_hour: Option<f64>,
    pub(crate) usual_hour: Option<f64>,
    pub(crate) missing_numbers: Option<f64>,
    pub(crate) repeated_ids: Option<f64>,
    pub(crate) events_ahead: Option<f64>,
    pub(crate) most_ahead_seconds: Option<f64>,
    pub(crate) copy_of: Vec<String>,
}

/// State of each source: files, bytes and seconds behind, events, quarantine and gaps (all, and those still open), last event.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources", responses(
    (status = 200, description = "The sources", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>) -> Result<Response, Problem> {
    Ok(axum::Json(json!({ "items": read(&app).await?, "cursor": null })).into_response())
}

/// How far back coverage goes unless told, in µs.
const DAYS_BACK: i64 = 14 * 86_400_000_000;

/// Which of the fields that each source's law asks for were really there, by source and day. Counts; no personal data.
#[utoipa::path(get, path = "/api/v1/sources/coverage", tag = "sources", params(
    ("source" = Option<String>, Query, description = "Only this source"),
    ("from" = Option<String>, Query, description = "RFC 3339 or a day in the organisation's zone; 14 days ago when not given"),
    ("to" = Option<String>, Query, description = "RFC 3339, exclusive, or a day, included")), responses(
    (status = 200, description = "Rows with `source`, `day`, `legal_area`, `act`, `field`, `rows`, and of these `there`, `constant` (only what configuration supplied), `one_value` (the same all day), `unresolved` (an id that nobody has, a doubtful time), `missing`", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn coverage(State(app): State<App>, parameters: Parameters) -> Result<Response, Problem> {
    parameters.only(&["source", "from", "to"], |_| false)?;
    let time = |name: &'static str, end| {
        parameters.get(name).map(|text| instant(name, text, app.zone(), end)).transpose()
    };
    let from = time("from", false)?.unwrap_or_else(|| now() - DAYS_BACK);
    let to = time("to", true)?.unwrap_or(i64::MAX / 2);
    let rows = covered(&app, parameters.get("source"), from, to).await?;
    Ok(axum::Json(json!({ "items": rows, "cursor": null })).into_response())
}

/// The same for one source, or all.
pub(crate) async fn covered(
    app: &App,
    source: Option<&str>,
    from: i64,
    to: i64,
) -> Result<Vec<Coverage>, Problem> {
    let chosen = app.sources.iter().filter(|known| source.is_none_or(|name| known.name == name));
    let chosen: Vec<SourceConfig> = chosen.cloned().collect();
    if chosen.is_empty() && source.is_some() {
        return Err(Problem::not_found("source"));
    }
    Ok(law::coverage(&super::session(app).await?, &chosen, from, to).await?)
}

/// Which days each export states, what of it was new, and how many rows of others it lacks. No personal data.
#[utoipa::path(get, path = "/api/v1/sources/exports", tag = "sources", params(
    ("source" = Option<String>, Query, description = "Only this source")), responses(
    (status = 200, description = "Rows with `source`, `file_id`, `path`, `day`, `first_event`, `last_event`, `rows`, and of these `stored` (nobody had stated them before), `lacking` (rows that others state of that time, and it does not), `read_at`", body = List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn exports(State(app): State<App>, parameters: Parameters) -> Result<Response, Problem> {
    parameters.only(&["source"], |_| false)?;
    let source = parameters.get("source");
    if source.is_some_and(|name| app.sources.iter().all(|known| known.name != name)) {
        return Err(Problem::not_found("source"));
    }
    let rows = stated_days(&super::session(&app).await?, source).await?;
    Ok(axum::Json(json!({ "items": rows, "cursor": null })).into_response())
}

/// The same, ready to be shown.
pub(crate) async fn statuses(app: &App) -> Result<Vec<Source>, Problem> {
    Ok(read(app).await?.iter().map(source).collect())
}

async fn read(app: &App) -> Result<Vec<Value>, Problem> {
    let recent = quiet::recent(app).await;
    let statuses = status::status(&app.lake, &app.organisation, &app.sources, &app.base, &recent)
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
        quarantine_open: number("quarantine_open"),
        gaps_open: number("gaps_open"),
        bytes_behind: number("bytes_behind"),
        seconds_behind: number("seconds_behind"),
        events_hour: number("events_hour"),
        usual_hour: number("usual_hour"),
        missing_numbers: number("missing_numbers"),
        repeated_ids: number("repeated_ids"),
        events_ahead: number("events_ahead"),
        most_ahead_seconds: number("most_ahead_seconds"),
        copy_of: status["copy_of"]
            .as_array()
            .map(|all| all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
            .unwrap_or_default(),
    }
}
