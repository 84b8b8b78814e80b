//! Errors: RFC 9457, with codes that stay; as pages for people.

use axum::http::{Method, Request, StatusCode, header};

use crate::house::{ANNA, House, house};

/// Who, method, address, type and text of the body, status, code.
type Case<'a> = (&'a str, &'a str, String, Option<(&'a str, &'a str)>, u16, &'a str);

#[tokio::test]
async fn each_fault_is_a_problem_with_its_code() {
    let house = house().await;
    let json = "application/json";
    let big = format!("{{\"query\":\"{}\"}}", "x".repeat(80_000));
    let finding = House::finding("test-unit");
    let decisions = format!("/api/v1/findings/{finding}/decisions");
    let anna = format!("/api/v1/subjects/{ANNA}/accesses");
    let cases: Vec<Case<'_>> = vec![
        ("dso", "GET", "/api/v1/nothing".into(), None, 404, "not_found"),
        ("dso", "DELETE", "/api/v1/findings".into(), None, 405, "method_not_allowed"),
        ("nobody", "GET", "/api/v1/findings".into(), None, 401, "unauthenticated"),
        ("operator", "GET", "/api/v1/findings".into(), None, 403, "forbidden_role"),
        ("dso", "GET", anna.clone(), None, 422, "reason_required"),
        ("dso", "GET", format!("{anna}?reason=+.+"), None, 422, "reason_required"),
        ("dso", "GET", format!("{anna}?reason=x1&from=igår"), None, 400, "bad_time"),
        ("dso", "GET", format!("{anna}?reason=x1&limit=0"), None, 400, "bad_parameter"),
        ("dso", "GET", format!("{anna}?reason=x1&limit=2000000"), None, 400, "bad_parameter"),
        ("dso", "GET", format!("{anna}?reason=x1&cursor=zz"), None, 400, "bad_cursor"),
        ("dso", "GET", format!("{anna}?reason=x1&columns=usr_id"), None, 400, "unknown_column"),
        ("dso", "GET", format!("{anna}?reason=x1&nonsense=1"), None, 400, "unknown_parameter"),
        ("dso", "GET", "/api/v1/findings?level=awful".into(), None, 400, "bad_parameter"),
        ("dso", "GET", "/api/v1/findings?cursor=zz".into(), None, 400, "bad_cursor"),
        ("dso", "GET", "/api/v1/findings/none".into(), None, 404, "unknown_finding"),
        ("dso", "GET", "/api/v1/rules/none".into(), None, 404, "not_found"),
        (
            "dso",
            "POST",
            "/api/v1/sql".into(),
            Some(("text/plain", "SELECT 1")),
            415,
            "unsupported_media_type",
        ),
        ("dso", "POST", "/api/v1/sql".into(), Some((json, "{")), 400, "bad_json"),
        ("dso", "POST", "/api/v1/sql".into(), Some((json, "{\"query\":7}")), 400, "bad_body"),
        ("dso", "POST", "/api/v1/sql".into(), Some((json, "{\"qurey\":\"x\"}")), 400, "bad_body"),
        ("dso", "POST", "/api/v1/sql".into(), Some((json, &big)), 413, "payload_too_large"),
        (
            "dso",
            "POST",
            "/api/v1/sql".into(),
            Some((json, "{\"query\":\"SELECT 1\"}")),
            422,
            "reason_required",
        ),
        (
            "dso",
            "POST",
            "/api/v1/sql".into(),
            Some((json, "{\"query\":\"SELECT nix FROM access_events\",\"reason\":\"prov\"}")),
            422,
            "sql_invalid",
        ),
        (
            "dso",
            "POST",
            "/api/v1/accesses/search".into(),
            Some((json, "{\"reason\":\"prov\"}")),
            400,
            "bad_search",
        ),
        (
            "reviewer",
            "POST",
            decisions.clone(),
            Some((json, "{\"outcome\":\"fine\",\"comment\":\"c\"}")),
            422,
            "unknown_outcome",
        ),
        (
            "reviewer",
            "POST",
            decisions.clone(),
            Some((json, "{\"outcome\":\"authorised\",\"comment\":\" \"}")),
            422,
            "comment_missing",
        ),
        (
            "reviewer",
            "POST",
            decisions,
            Some((json, "{\"outcome\":\"confirmed\",\"comment\":\"c\"}")),
            422,
            "confirmed_needs_case",
        ),
    ];
    for (who, method, path, body, status, code) in cases {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
        request = request.uri(path.replace("igår", "ig%C3%A5r"));
        if let Some((kind, _)) = body {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let answer = house.ask(who, request, body.map_or("", |(_, body)| body)).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{method} {path}: {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:insyn:problem:{code}"));
        assert!(
            problem["title"].is_string() && problem["detail"].as_str().is_some_and(|d| d.len() > 5),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn an_unacceptable_form_is_said_to_be_so() {
    let house = house().await;
    let request = Request::builder().uri("/api/v1/findings").header(header::ACCEPT, "image/png");
    let answer = house.ask("dso", request, "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (406, Some("not_acceptable")));
}

#[tokio::test]
async fn a_wrong_body_is_not_quoted() {
    let house = house().await;
    let body = serde_json::json!({ "subject": { "number": ANNA }, "reason": "prov" });
    let answer = house.post_json("dso", "/api/v1/accesses/search", body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.text().contains(ANNA), "{}", answer.text());
}

#[tokio::test]
async fn people_get_errors_as_pages_in_their_language() {
    let house = house().await;
    for (lang, word) in [("sv", "Finns inte"), ("en", "Not found")] {
        let request = Request::builder()
            .uri("/nowhere")
            .header(header::ACCEPT, "text/html")
            .header(header::ACCEPT_LANGUAGE, lang);
        let answer = house.ask("dso", request, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.header("content-type").starts_with("text/html"), "{}", answer.header("content-type"));
        assert!(answer.text().contains(word) && answer.text().contains(&format!("<html lang=\"{lang}\"")));
    }
    let answer = house
        .ask("operator", Request::builder().uri("/findings").header(header::ACCEPT, "text/html"), "")
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("forbidden_role"));
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_it_safe() {
    let house = house().await;
    for (who, path) in
        [("dso", "/"), ("nobody", "/sign-in"), ("dso", "/api/v1/findings"), ("nobody", "/api/v1/x")]
    {
        let answer = house.get(who, path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("script"),
            "{path}"
        );
    }
}
