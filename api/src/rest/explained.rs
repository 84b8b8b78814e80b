//! How much of what was looked at is explained. It names nobody.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{app::App, forms::Parameters, guard::Caller, problem::Problem};

/// The share explained by month, source and unit, as the runs counted it.
#[utoipa::path(get, path = "/api/v1/explained", tag = "rules", params(
    ("from" = Option<String>, Query, description = "From this local day on, as 2026-03-04"),
    ("to" = Option<String>, Query, description = "To this local day, with it")), responses(
    (status = 200, description = "By month, source and unit: looks, and of these explained, only by the user's own doing, \
                                  and not to be known", body = super::rules::List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&["from", "to"], |_| false)?;
    let (from, to) = (day(&parameters, "from")?, day(&parameters, "to")?);
    let items = app.db.explained(&caller.principal, from, to).await?;
    Ok(axum::Json(json!({ "items": items, "cursor": null })).into_response())
}

fn day<'a>(parameters: &'a Parameters, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    let is_day = text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok();
    is_day
        .then_some(Some(text))
        .ok_or_else(|| Problem::bad_request("bad_parameter", format!("{name}: expected a day as 2026-03-04")))
}
