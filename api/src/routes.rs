//! Every route with what it needs, as data: the router is built from this table and the tests read it.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::{MethodRouter, get, post},
};
use insyn_review::Action;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{app::App, assets, guard, health, openapi, pages, problem::Problem, rest, shape};

/// No body of ours is larger: forms, searches, queries.
const BODY: usize = 64 * 1024;

/// Who may use a route at all. What they get to see there is narrowed further by the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Open.
    Nobody,
    /// Anyone who has signed in, or a program with a token.
    SignedIn,
    /// Who may do at least one of these.
    Any(&'static [Action]),
    /// From this machine, or who may see health.
    NearOrToken,
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    pub method: &'static str,
    /// As axum and OpenAPI write it: `{id}` for a parameter.
    pub path: &'static str,
    pub needs: Needs,
}

/// Every route, for tests and documents.
pub fn route_table() -> Vec<RouteInfo> {
    routes().into_iter().map(|(info, _)| info).collect()
}

/// All routes over `app`. Layers are inside, so that another router (of receivers, say) can be merged beside it.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for (route, handler) in routes() {
        let state = guard::Guard { app: app.clone(), route };
        router = router.route(route.path, handler.route_layer(from_fn_with_state(state, guard::guard)));
    }
    router
        .fallback(|| async { Problem::not_found("page or resource") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the address exists, but not for this method: see /api/openapi.json",
            )
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn_with_state(app.clone(), shape::shape))
        .with_state(app)
}

fn routes() -> Vec<(RouteInfo, MethodRouter<App>)> {
    use Needs::{Any, NearOrToken, Nobody, SignedIn};
    const FINDINGS: Needs = Any(&[Action::ReadFindings]);
    const TRACE: Needs = Any(&[Action::Trace]);
    const LOOK: Needs = Any(&[Action::Trace, Action::TraceFinding]);
    const DECIDE: Needs = Any(&[Action::Decide]);
    const COVER: Needs = Any(&[Action::Decide, Action::Assign]);
    const TRY: Needs = Any(&[Action::TryRules]);
    const RUN: Needs = Any(&[Action::RunRules, Action::TryRules]);
    const RUNS: Needs = Any(&[Action::SeeRuns]);
    const COUNTS: Needs = Any(&[Action::SeeCounts]);
    const RULES: Needs = Any(&[Action::SeeRules]);
    const CONTEXT: Needs = Any(&[Action::SeeContext]);
    const SOURCES: Needs = Any(&[Action::SeeSources]);

    let of = |method, path, needs, handler| (RouteInfo { method, path, needs }, handler);
    vec![
        of("GET", "/", SignedIn, get(pages::start::start)),
        of("GET", "/sign-in", Nobody, get(pages::sign_in::form)),
        of("POST", "/sign-in", Nobody, post(pages::sign_in::sign_in)),
        of("POST", "/sign-out", SignedIn, post(pages::sign_in::sign_out)),
        of("GET", "/enrol", SignedIn, get(pages::enrol::form)),
        of("POST", "/enrol", SignedIn, post(pages::enrol::confirm)),
        of("GET", "/findings", FINDINGS, get(pages::findings::list)),
        of("GET", "/findings/{id}", FINDINGS, get(pages::finding::show)),
        of("POST", "/findings/{id}/decisions", DECIDE, post(pages::finding::decide)),
        of("POST", "/findings/{id}/suppressions", COVER, post(pages::finding::cover)),
        of("GET", "/suppressions", FINDINGS, get(pages::suppressions::list)),
        of("POST", "/suppressions/{id}/reviews", COVER, post(pages::suppressions::review)),
        of("POST", "/search", TRACE, post(pages::accesses::search)),
        of("GET", "/records/{handle}", LOOK, get(pages::accesses::trace)),
        of("POST", "/records/{handle}", LOOK, post(pages::accesses::state_trace)),
        of("GET", "/users/{handle}", LOOK, get(pages::accesses::trace)),
        of("POST", "/users/{handle}", LOOK, post(pages::accesses::state_trace)),
        of("POST", "/records/{handle}/both", TRACE, post(pages::accesses::both)),
        of("GET", "/records/{handle}/rows", TRACE, get(pages::accesses::rows)),
        of("GET", "/users/{handle}/rows", TRACE, get(pages::accesses::rows)),
        of("GET", "/traces/{handle}", TRACE, get(pages::accesses::trace)),
        of("POST", "/traces/{handle}", TRACE, post(pages::accesses::state_trace)),
        of("GET", "/traces/{handle}/rows", TRACE, get(pages::accesses::rows)),
        of("GET", "/rules", RULES, get(pages::rules::list)),
        of("GET", "/rules/{id}", RULES, get(pages::rules::show)),
        of("POST", "/rules/{id}/trials", TRY, post(pages::trial::start)),
        of("GET", "/trials/{id}", TRY, get(pages::trial::show)),
        of("GET", "/runs", RUNS, get(pages::runs::list)),
        of("GET", "/quality", COUNTS, get(pages::quality::show)),
        of("GET", "/evaluated", COUNTS, get(pages::evaluated::show)),
        of("GET", "/explained", COUNTS, get(pages::explained::show)),
        of("GET", "/context", CONTEXT, get(pages::context::show)),
        of("GET", "/sources/{name}", SOURCES, get(pages::source::show)),
        of("GET", "/assets/{name}", Nobody, get(assets::asset)),
        of("POST", "/api/v1/accesses/search", TRACE, post(rest::accesses::search)),
        of("GET", "/api/v1/subjects/{id}/accesses", TRACE, get(rest::accesses::of_subject)),
        of("GET", "/api/v1/users/{id}/accesses", TRACE, get(rest::accesses::of_user)),
        of("GET", "/api/v1/users/{id}/days", TRACE, get(rest::days::of_user)),
        of("GET", "/api/v1/events/{event_id}", TRACE, get(rest::accesses::of_event)),
        of("GET", "/api/v1/events/{event_id}/visit", TRACE, get(rest::accesses::of_visit)),
        of("GET", "/api/v1/sessions/{id}/accesses", TRACE, get(rest::accesses::of_session)),
        of("GET", "/api/v1/units/{id}/accesses", TRACE, get(rest::accesses::of_unit)),
        of("GET", "/api/v1/findings", FINDINGS, get(rest::findings::list)),
        of("GET", "/api/v1/findings/{id}", FINDINGS, get(rest::findings::show)),
        of("POST", "/api/v1/findings/{id}/decisions", DECIDE, post(rest::findings::decide)),
        of("POST", "/api/v1/findings/{id}/suppressions", COVER, post(rest::suppressions::make)),
        of("GET", "/api/v1/suppressions", FINDINGS, get(rest::suppressions::list)),
        of("POST", "/api/v1/suppressions/{id}/reviews", COVER, post(rest::suppressions::review)),
        of("GET", "/api/v1/rules", RULES, get(rest::rules::list)),
        of("GET", "/api/v1/rules/{id}", RULES, get(rest::rules::show)),
        of("POST", "/api/v1/rules/{id}/runs", RUN, post(rest::rules::run)),
        of("GET", "/api/v1/trials/{id}", TRY, get(rest::trials::show)),
        of("GET", "/api/v1/runs", RUNS, get(rest::rules::runs)),
        of("GET", "/api/v1/quality", COUNTS, get(rest::quality::show)),
        of("GET", "/api/v1/evaluated", COUNTS, get(rest::evaluated::list)),
        of("GET", "/api/v1/explained", COUNTS, get(rest::explained::list)),
        of("GET", "/api/v1/context", CONTEXT, get(rest::context::status)),
        of("GET", "/api/v1/sources", SOURCES, get(rest::sources::list)),
        of("GET", "/api/v1/sources/coverage", SOURCES, get(rest::sources::coverage)),
        of("GET", "/api/v1/sources/exports", SOURCES, get(rest::sources::exports)),
        of("POST", "/api/v1/sql", Any(&[Action::Sql]), post(rest::sql::query)),
        of("GET", "/api/openapi.json", NearOrToken, get(openapi::document)),
        of("GET", "/healthz", NearOrToken, get(health::alive)),
        of("GET", "/readyz", NearOrToken, get(health::ready)),
        of("GET", "/metrics", NearOrToken, get(health::metrics)),
    ]
}

fn on_panic(fault: Box<dyn std::any::Any + Send + 'static>) -> axum::response::Response {
    let what = fault
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| fault.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Problem::internal("the answer", &format_args!("panic: {what}")).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing_of_itself() {
        let router: Router = Router::new()
            .route(
                "/",
                get(|| async { std::hint::black_box(None::<u8>).map(|_| "").expect("19121212-1212") }),
            )
            .layer(CatchPanicLayer::custom(on_panic));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.extensions().get::<Problem>().unwrap().code, "internal");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("1212"));
    }
}
