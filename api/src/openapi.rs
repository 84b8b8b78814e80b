//! The OpenAPI 3.1 document, made from the handlers' own descriptions.

use axum::{Json, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use crate::{health, problem::Problem, rest};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Insyn",
        description = "Who looked in this record, and why? Accesses, findings, rules and sources. Every look at personal \
                       data through this API is itself logged, with whose records came back. Errors are RFC 9457 problem \
                       details with a stable `code`. Rows come as JSON, NDJSON, CSV, Arrow IPC stream or Parquet by \
                       `Accept`; lists go on by `cursor`; times are RFC 3339.",
        license(name = "EUPL-1.2", identifier = "EUPL-1.2"),
    ),
    paths(
        rest::accesses::search, rest::accesses::of_subject, rest::accesses::of_user, rest::accesses::of_event,
        rest::accesses::of_visit, rest::accesses::of_session, rest::accesses::of_unit,
        rest::days::of_user,
        rest::findings::list, rest::findings::show, rest::findings::decide,
        rest::suppressions::list, rest::suppressions::make, rest::suppressions::review,
        rest::rules::list, rest::rules::show, rest::rules::run, rest::rules::runs, rest::trials::show,
        rest::explained::list, rest::quality::show, rest::evaluated::list,
        rest::context::status, rest::sources::list, rest::sources::coverage, rest::sources::exports, rest::sql::query,
        document, health::alive, health::ready, health::metrics,
    ),
    components(schemas(Problem)),
    modifiers(&Sign),
    security(("token" = []), ("session" = [])),
    tags(
        (name = "accesses", description = "Who did what. A reason or a case has to be stated."),
        (name = "findings", description = "What rules pointed out, and what people judged."),
        (name = "rules", description = "The pack, and what ran."),
        (name = "sources", description = "The logs."),
        (name = "receiving", description = "Where systems hand in their logs: by a token of the role `service` that may `send_logs`, or by certificate."),
        (name = "sql", description = "Free questions, read-only."),
        (name = "health", description = "For those who run the system: from the machine itself, or by token."),
    ),
)]
pub(crate) struct Document;

struct Sign;

impl Modify for Sign {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let cookie =
            ApiKeyValue::with_description("insyn_session", "A person's session; `__Host-insyn` over TLS.");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1")))]
pub(crate) async fn document() -> impl IntoResponse {
    Json(whole())
}

/// With the addresses where records are received.
fn whole() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(insyn_receive::OpenApi::document());
    document
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{guard, routes::route_table};

    #[test]
    fn every_route_for_programs_is_in_the_document_and_the_other_way_round() {
        let document = serde_json::to_value(whole()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path} says nothing");
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let routed: BTreeSet<(String, String)> = route_table()
            .into_iter()
            .filter(|route| guard::is_api(route.path))
            .map(|route| (route.method.to_owned(), route.path.to_owned()))
            .collect();
        let received = ["/fhir", "/fhir/AuditEvent", "/rivta/storelog/1", "/rivta/storelog/2"];
        let received = received.map(|path| ("POST".to_owned(), path.to_owned()));
        assert_eq!(described, routed.into_iter().chain(received).collect());
    }
}
