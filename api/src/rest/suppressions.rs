//! Decisions that cover later findings, and the second person's review of them.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use insyn_review::{Covers, Suppression};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    app::App,
    forms::{Json, Part},
    guard::Caller,
    lang::rfc3339,
    look::{self, Seen},
    problem::Problem,
};

/// What a decision is to cover.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cover {
    /// person: this user and record, whatever the rule; unit: this rule and unit, which a coordinator decides.
    #[schema(example = "person")]
    covers: String,
    /// For so many months, 1 to 12.
    months: u32,
    /// Why later accesses like these are justified.
    because: String,
}

/// A second person's review.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Review {
    /// False: it ends, and what it kept out of the queue comes back.
    keep: bool,
    /// What the review rests on.
    comment: String,
}

/// What is covered by earlier decisions: those that wait for a second person first.
#[utoipa::path(get, path = "/api/v1/suppressions", tag = "findings", responses(
    (status = 200, description = "Suppressions within what the caller may read, with how many findings each covers",
     body = super::rules::List),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    let all = app.db.suppressions(&caller.principal).await?;
    look::look(&app, &caller, seen(&all)).await?;
    let items: Vec<Value> = all.iter().map(body).collect();
    Ok(axum::Json(json!({ "items": items, "cursor": null })).into_response())
}

/// Lets the decision that a finding was authorised cover later findings like it.
#[utoipa::path(post, path = "/api/v1/findings/{id}/suppressions", tag = "findings",
    params(("id" = String, Path, description = "The finding's id")), request_body = Cover, responses(
    (status = 201, description = "Its id; it holds for thirty days without a second person's review"),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn make(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    Json(cover): Json<Cover>,
) -> Result<Response, Problem> {
    let covers: Covers =
        cover.covers.parse().map_err(|what: String| Problem::bad_request("bad_body", what))?;
    let made = app.db.suppress(&caller.principal, &id, covers, cover.months, &cover.because).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "suppression_id": made }))).into_response())
}

/// Reviews a suppression that somebody else made.
#[utoipa::path(post, path = "/api/v1/suppressions/{id}/reviews", tag = "findings",
    params(("id" = String, Path, description = "The suppression's id")), request_body = Review, responses(
    (status = 204, description = "Reviewed"),
    (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn review(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    Json(review): Json<Review>,
) -> Result<Response, Problem> {
    app.db.review_suppression(&caller.principal, &id, review.keep, &review.comment).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What goes into the spool about suppressions that were shown.
pub(crate) fn seen(shown: &[Suppression]) -> Seen<'static> {
    Seen {
        activity: "suppressions",
        subjects: shown.iter().filter_map(|one| one.subject_id.clone()).collect(),
        rows: shown.len() as u64,
        ..Seen::default()
    }
}

fn body(one: &Suppression) -> Value {
    let mut body = serde_json::to_value(one).unwrap_or_default();
    for (name, at) in [
        ("made_at", Some(one.made_at)),
        ("expires_at", Some(one.expires_at)),
        ("reviewed_at", one.reviewed_at),
    ] {
        body[name] = json!(at.map(rfc3339));
    }
    body
}
