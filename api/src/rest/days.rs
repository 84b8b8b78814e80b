//! What a user opened, day by day.

#![allow(unused_qualifications, reason = "utoipa writes them into what it makes of `params`")]

use axum::{extract::State, http::HeaderMap, response::Response};
use insyn_engine::trace::{
    Of,
    days::{self, Days},
};
use insyn_review::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    accesses::{JoinedView, asked_for, joined, seen},
    must_be_stated, paging, session, stated,
};
use crate::{
    app::App,
    cursor::Cursor,
    forms::{Parameters, Part},
    guard::Caller,
    lang::rfc3339,
    look,
    negotiate::{self, Form, Rows},
    problem::Problem,
};

const KNOWN: &[&str] = &["from", "to", "limit", "own", "cursor", "reason", "case"];

#[derive(Debug, Deserialize, IntoParams)]
#[allow(
    dead_code,
    reason = "read by utoipa; the handler takes parameters as they come, since columns are some too"
)]
pub(crate) struct DayParameters {
    /// From this time on: RFC 3339, or a local date.
    from: Option<String>,
    /// Before this time; a date means to the end of that day.
    to: Option<String>,
    /// Rows of a page, at most 100 000; 1 000 when not given. A day is never cut: the rows of one come together.
    limit: Option<usize>,
    /// Also accesses through Insyn itself (source `insyn`).
    own: Option<bool>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// Why you look. A reason or a case has to be stated, here or as the header `Insyn-Reason`.
    reason: Option<String>,
    /// In which case you look; or the header `Insyn-Case`.
    case: Option<String>,
}

/// How often a user opened which record, from which unit, on which day; and where it goes on.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "the shape of the JSON answer, for the OpenAPI document; rows are written straight from Arrow"
)]
pub(crate) struct DaysView {
    /// In order of days, subjects and units.
    items: Vec<DayView>,
    summary: DaysSummary,
    joined: Vec<JoinedView>,
    /// Where the next page starts; null at the end.
    cursor: Option<String>,
}

/// One record, one unit, one day.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "as above")]
pub(crate) struct DayView {
    /// Null where the log names nobody.
    subject_id: Option<String>,
    care_unit_id: Option<String>,
    /// In the organisation's zone, as `2026-08-31`.
    day: String,
    /// Rows of `access_events`.
    n: u64,
    first: String,
    last: String,
}

/// What the days from here to the end of the period come to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DaysSummary {
    /// Rows of `access_events`.
    rows: u64,
    /// Items.
    counts: u64,
    days: u64,
    /// How many people's records.
    persons: u64,
    first: Option<String>,
    last: Option<String>,
}

/// What this user opened, day by day: how often which record from which unit, first and last.
#[utoipa::path(get, path = "/api/v1/users/{id}/days", tag = "accesses",
    params(("id" = String, Path, description = "The user's id, or one of their accounts"), DayParameters),
    responses(
        (status = 200, description = "Counts in order of days", content(
            (DaysView = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "4XX", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_user(
    State(app): State<App>,
    caller: Caller,
    Part(id): Part,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let ask = asked_for(&app, &parameters, KNOWN)?;
    let stated = stated(&parameters, &headers);
    must_be_stated(stated.as_ref(), Action::Trace)?;
    let of = Of::User(id);
    let found = days::days(&session(&app).await?, &paging::query(&caller, &of, &ask)).await?;
    let mut seen = seen(&of, &ask, stated.as_ref(), &found.batches);
    seen.query = seen.query.map(|query| format!("{query}, by day"));
    look::look(&app, &caller, seen).await?;
    let Days { schema, batches, summary, next, joined: names, .. } = found;
    let summary = DaysSummary {
        rows: summary.rows,
        counts: summary.counts,
        days: summary.days,
        persons: summary.persons,
        first: summary.first.map(rfc3339),
        last: summary.last.map(rfc3339),
    };
    let mut about = serde_json::Map::new();
    about.insert("summary".into(), serde_json::to_value(summary).unwrap_or_default());
    about.insert("joined".into(), serde_json::to_value(joined(&names)).unwrap_or_default());
    let cursor = next.map(|place| Cursor::at(place).encode());
    negotiate::answer(form, app.zone(), Rows { schema, batches, about, cursor })
}
