//! Errors as a page.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::{Page, Visitor, html_with};
use crate::{app::App, problem::Problem};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    page: Page,
    status: u16,
    code: &'static str,
    heading: &'static str,
    detail: String,
}

/// Says in the reader's language what went wrong; the code is the one that programs get.
pub(crate) fn page(app: &App, visitor: &Visitor, problem: &Problem) -> Response {
    let t = visitor.lang.texts();
    let heading = match problem.status {
        StatusCode::UNAUTHORIZED => t.error_unauthenticated,
        StatusCode::FORBIDDEN => t.error_forbidden,
        StatusCode::NOT_FOUND => t.error_not_found,
        StatusCode::METHOD_NOT_ALLOWED => t.error_method,
        StatusCode::PAYLOAD_TOO_LARGE => t.error_too_large,
        StatusCode::CONFLICT => t.error_conflict,
        StatusCode::SERVICE_UNAVAILABLE => t.error_unavailable,
        status if status.is_client_error() => t.error_bad_request,
        _ => t.error_internal,
    };
    let detail = match problem.code {
        "cross_site" => t.detail_csrf.to_owned(),
        "own_log_unavailable" => t.detail_own_log.to_owned(),
        "own_access" => t.why_not_own.to_owned(),
        "other_unit" => t.why_not_unit.to_owned(),
        "own_manager" => t.why_not_manager.to_owned(),
        "confirmed_needs_case" => t.decide_confirmed.to_owned(),
        "handle_gone" => t.handle_gone.to_owned(),
        "search_empty" => t.search_empty.to_owned(),
        "forbidden_role" => t.detail_forbidden.to_owned(),
        "internal" => t.detail_internal.to_owned(),
        _ if problem.status == StatusCode::NOT_FOUND => t.detail_not_found.to_owned(),
        _ => problem.detail.clone(),
    };
    let page = Page::new(app, visitor, heading);
    html_with(
        problem.status,
        &ErrorPage { page, status: problem.status.as_u16(), code: problem.code, heading, detail },
    )
}
