//! Guarded, read-only SQL. Each query is itself a look: with its text, its reason, and whose records came back.

use axum::{extract::State, http::HeaderMap, response::Response};
use insyn_engine::session::Limits;
use insyn_ingest::tables::{Known, with_tables};
use insyn_review::{Action, Filter, Scope, hidden_columns};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{moment, must_be_stated, session_at, stated};
use crate::{
    app::App,
    forms::{Json, Parameters},
    guard::Caller,
    handles::Stated,
    look::{self, Seen},
    negotiate::{self, Form, Rows},
    problem::Problem,
    quiet, rows,
};

/// A query, and why it is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlRequest {
    /// One SELECT over `access_events`, `accesses`, `quarantine`, `gaps`, `amendments`, `exports`, `lacking`, `coverage`, `source_health`, `findings` and
    /// the context tables.
    #[schema(example = "SELECT source, count(*) AS n FROM access_events GROUP BY source ORDER BY source")]
    query: String,
    /// Why you look; or the header `Insyn-Reason`.
    #[serde(default)]
    reason: Option<String>,
    /// In which case you look; or the header `Insyn-Case`.
    #[serde(default)]
    case: Option<String>,
    /// With Insyn's own looks among `access_events`; without them when not given.
    #[serde(default)]
    own: bool,
    /// With in each context table what held at this time: RFC 3339, or a day, when it begins.
    #[serde(default)]
    as_of: Option<String>,
    /// With the context tables as they were known at this time: RFC 3339, or a day, at its end.
    #[serde(default)]
    known_at: Option<String>,
    /// The same when this load was the newest, as runs name it.
    #[serde(default)]
    context_load: Option<String>,
}

/// The rows.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "the shape of the JSON answer, for the OpenAPI document")]
pub(crate) struct SqlAnswer {
    items: Vec<Value>,
    cursor: Option<String>,
}

/// Asks in SQL. Read-only, bounded in time, memory and rows.
#[utoipa::path(post, path = "/api/v1/sql", tag = "sql", request_body = SqlRequest, responses(
    (status = 200, description = "The rows", content(
        (SqlAnswer = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn query(
    State(app): State<App>,
    caller: Caller,
    form: Form,
    headers: HeaderMap,
    Json(request): Json<SqlRequest>,
) -> Result<Response, Problem> {
    let stated = Stated::new(request.reason.as_deref(), request.case.as_deref())
        .or_else(|| stated(&Parameters(Vec::new()), &headers));
    must_be_stated(stated.as_ref(), Action::Sql)?;
    let (known_at, context_load) = (request.known_at.as_deref(), request.context_load.as_deref());
    let (moment, said) = moment(&app, known_at, context_load, request.as_of.as_deref())?;
    let mut session = session_at(&app, &moment).await?;
    if !request.own {
        session = session.without_own()?;
    }
    // Who may ask in SQL but not read the worklist sees no findings there either.
    if let Ok(scope) = Scope::of(&caller.principal) {
        let (schema, batch) = app.db.findings_table(&Filter::default(), &scope, None).await?;
        session = session.with_table("findings", schema, vec![batch])?;
    } else {
        session = session.with_table("findings", insyn_review::findings_schema(), Vec::new())?;
    }
    let known =
        Known { lake: &app.lake, organisation: &app.organisation, sources: &app.sources, base: &app.base };
    let recent = async { Ok(quiet::recent(&app).await) };
    let session = with_tables(session, &request.query, &known, recent)
        .await
        .map_err(|fault| Problem::internal("looking at the sources", &fault))?;
    let hidden = hidden_columns(&caller.principal).iter();
    let denied_columns = hidden.map(|column| (*column).to_owned()).collect();
    let session = session.with_limits(Limits { denied_columns, ..Limits::default() });
    let seen = |subjects, rows| Seen {
        activity: "sql",
        stated: stated.as_ref(),
        query: Some(format!("{}{said}", request.query)),
        subjects,
        rows,
    };
    let answer = match session.sql(&request.query).await {
        Ok(answer) => answer,
        Err(fault) => {
            // A refused query is a try at the data all the same.
            look::refused(&app, &caller, seen(Vec::new(), 0)).await?;
            return Err(fault.into());
        }
    };
    let rows = rows::count(&answer.batches) as u64;
    // Beside the columns that hold numbers, any text may have some in it: a quarantined record, say.
    let mut subjects = answer.subjects();
    subjects.extend(rows::subjects(&answer.batches));
    look::look(&app, &caller, seen(subjects, rows)).await?;
    let rows =
        Rows { schema: answer.schema, batches: answer.batches, about: Default::default(), cursor: None };
    negotiate::answer(form, app.zone(), rows)
}
