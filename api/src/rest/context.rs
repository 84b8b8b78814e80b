//! What is known of people, units and care: how old it is and what it covers. It names nobody.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use insyn_engine::context::{self, TableStatus};
use serde_json::json;

use crate::{app::App, problem::Problem};

/// The context tables: when each was loaded, how many rows it has, which period they cover, and the same by unit.
#[utoipa::path(get, path = "/api/v1/context", tag = "sources", responses(
    (status = 200, description = "Every table, those that are not loaded too, as `insyn context status` has them",
        body = super::rules::List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn status(State(app): State<App>) -> Result<Response, Problem> {
    Ok(axum::Json(json!({ "items": tables(&app).await?, "cursor": null })).into_response())
}

pub(crate) async fn tables(app: &App) -> Result<Vec<TableStatus>, Problem> {
    context::status(&app.lake).await.map_err(|fault| Problem::internal("reading the context tables", &fault))
}
