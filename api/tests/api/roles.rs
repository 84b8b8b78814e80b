//! Who may use which route: every route, every role, as data.

use axum::http::{Method, Request, StatusCode, header};
use insyn_api::{Needs, route_table};

use crate::house::{ANNA, House, ROLES, house};

/// `method path | who gets in`, in the order of the route table. Everyone else is refused.
const MATRIX: &str = "
GET / | dso coordinator reviewer investigator auditor operator program
GET /sign-in | nobody dso coordinator reviewer investigator auditor operator program
POST /sign-in | nobody dso coordinator reviewer investigator auditor operator program
POST /sign-out | dso coordinator reviewer investigator auditor operator program
GET /enrol | dso coordinator reviewer investigator auditor operator program
POST /enrol | dso coordinator reviewer investigator auditor operator program
GET /findings | dso coordinator reviewer
GET /findings/{id} | dso coordinator reviewer
POST /findings/{id}/decisions | reviewer
POST /findings/{id}/suppressions | coordinator reviewer
GET /suppressions | dso coordinator reviewer
POST /suppressions/{id}/reviews | coordinator reviewer
POST /search | dso investigator program
GET /records/{handle} | dso coordinator reviewer investigator program
POST /records/{handle} | dso coordinator reviewer investigator program
GET /users/{handle} | dso coordinator reviewer investigator program
POST /users/{handle} | dso coordinator reviewer investigator program
POST /records/{handle}/both | dso investigator program
GET /records/{handle}/rows | dso investigator program
GET /users/{handle}/rows | dso investigator program
GET /traces/{handle} | dso investigator program
POST /traces/{handle} | dso investigator program
GET /traces/{handle}/rows | dso investigator program
GET /rules | dso coordinator reviewer investigator auditor operator
GET /rules/{id} | dso coordinator reviewer investigator auditor operator
POST /rules/{id}/trials | dso coordinator
GET /trials/{id} | dso coordinator
GET /runs | dso coordinator auditor operator
GET /quality | dso coordinator reviewer auditor
GET /evaluated | dso coordinator reviewer auditor
GET /explained | dso coordinator reviewer auditor
GET /context | dso coordinator auditor operator
GET /sources/{name} | dso coordinator reviewer investigator auditor operator
GET /assets/{name} | nobody dso coordinator reviewer investigator auditor operator program
POST /api/v1/accesses/search | dso investigator program
GET /api/v1/subjects/{id}/accesses | dso investigator program
GET /api/v1/users/{id}/accesses | dso investigator program
GET /api/v1/users/{id}/days | dso investigator program
GET /api/v1/events/{event_id} | dso investigator program
GET /api/v1/events/{event_id}/visit | dso investigator program
GET /api/v1/sessions/{id}/accesses | dso investigator program
GET /api/v1/units/{id}/accesses | dso investigator program
GET /api/v1/findings | dso coordinator reviewer
GET /api/v1/findings/{id} | dso coordinator reviewer
POST /api/v1/findings/{id}/decisions | reviewer
POST /api/v1/findings/{id}/suppressions | coordinator reviewer
GET /api/v1/suppressions | dso coordinator reviewer
POST /api/v1/suppressions/{id}/reviews | coordinator reviewer
GET /api/v1/rules | dso coordinator reviewer investigator auditor operator
GET /api/v1/rules/{id} | dso coordinator reviewer investigator auditor operator
POST /api/v1/rules/{id}/runs | dso coordinator
GET /api/v1/trials/{id} | dso coordinator
GET /api/v1/runs | dso coordinator auditor operator
GET /api/v1/quality | dso coordinator reviewer auditor
GET /api/v1/evaluated | dso coordinator reviewer auditor
GET /api/v1/explained | dso coordinator reviewer auditor
GET /api/v1/context | dso coordinator auditor operator
GET /api/v1/sources | dso coordinator reviewer investigator auditor operator
GET /api/v1/sources/coverage | dso coordinator reviewer investigator auditor operator
GET /api/v1/sources/exports | dso coordinator reviewer investigator auditor operator
POST /api/v1/sql | dso investigator
GET /api/openapi.json | operator program
GET /healthz | operator program
GET /readyz | operator program
GET /metrics | operator program
";

#[tokio::test]
async fn each_route_lets_in_whom_it_names_and_nobody_else() {
    let house = house().await;
    let rows: Vec<(&str, &str, Vec<&str>)> = MATRIX
        .lines()
        .filter_map(|line| {
            let (route, allowed) = line.split_once(" | ")?;
            let (method, path) = route.split_once(' ')?;
            Some((method, path, allowed.split(' ').collect()))
        })
        .collect();
    let routes: Vec<(&str, &str)> = route_table().iter().map(|route| (route.method, route.path)).collect();
    let in_matrix: Vec<(&str, &str)> = rows.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(in_matrix, routes, "every route stands in the matrix, in order");

    for (method, path, allowed) in rows {
        // The session that a sign-out ends would be missed by the routes after it; it has a test of its own.
        if path == "/sign-out" {
            continue;
        }
        for who in ROLES {
            let answer = ask(&house, who, method, path).await;
            let refused = match answer.status {
                StatusCode::UNAUTHORIZED => path != "/sign-in",
                StatusCode::FORBIDDEN => true,
                StatusCode::SEE_OTHER => answer.header("location").starts_with("/sign-in"),
                status => {
                    assert!(
                        !status.is_server_error(),
                        "{method} {path} as {who}: {status} {}",
                        answer.text()
                    );
                    false
                }
            };
            assert_eq!(
                !refused,
                allowed.contains(who),
                "{method} {path} as {who}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}

async fn ask(house: &House, who: &str, method: &str, path: &str) -> crate::house::Answer {
    let finding = House::finding("test-unit");
    let id = match path {
        path if path.contains("findings") => finding.as_str(),
        path if path.contains("rules") => "no-such-rule",
        path if path.contains("users") => "SE100-U1",
        _ => ANNA,
    };
    let address = path
        .replace("{id}", id)
        .replace("{event_id}", "e1")
        .replace("{handle}", "x")
        .replace("{name}", "insyn.css");
    let address = if path.contains("access") || path.contains("events") {
        format!("{address}?reason=prov")
    } else {
        address
    };
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(address);
    if method == "GET" {
        return house.ask(who, request, "").await;
    }
    if path.starts_with("/api/") {
        let body = match path {
            "/api/v1/accesses/search" => serde_json::json!({ "subject": ANNA, "reason": "prov" }),
            "/api/v1/sql" => serde_json::json!({ "query": "SELECT 1 AS one", "reason": "prov" }),
            path if path.ends_with("/runs") => serde_json::json!({ "dry_run": true }),
            _ => serde_json::json!({ "outcome": "none", "comment": "prov" }),
        };
        return house
            .ask(who, request.header(header::CONTENT_TYPE, "application/json"), &body.to_string())
            .await;
    }
    let csrf = house.csrf(who).await;
    let body = format!("csrf={csrf}&id=19121212-1212&of=record&login=x&password=y");
    house.ask(who, request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"), &body).await
}

#[tokio::test]
async fn health_is_open_to_this_machine_unless_a_proxy_passed_it_on() {
    let house = house().await;
    let near = ([127, 0, 0, 1], 40_000).into();
    for route in route_table().into_iter().filter(|route| route.needs == Needs::NearOrToken) {
        let answer = house.ask_from(near, "nobody", Request::builder().uri(route.path), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}: {}", route.path, answer.text());
        let passed_on = Request::builder().uri(route.path).header("x-forwarded-for", "192.0.2.1");
        let answer = house.ask_from(near, "nobody", passed_on, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", route.path);
    }
    let metrics = house.ask_from(near, "nobody", Request::builder().uri("/metrics"), "").await.text();
    assert!(metrics.contains("insyn_http_answers_total{route=\"/healthz\",status=\"200\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_is_past_its_time_is_a_figure_once_it_is_counted() {
    let house = house().await;
    let near = ([127, 0, 0, 1], 40_000).into();
    for _ in 0..200 {
        let metrics = house.ask_from(near, "nobody", Request::builder().uri("/metrics"), "").await.text();
        if metrics.contains("insyn_retention") {
            assert!(metrics.contains("\ninsyn_retention_overdue_rows 7\n"), "{metrics}");
            assert!(metrics.contains("\ninsyn_retention_removable_rows 3\n"), "{metrics}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was not counted within four seconds");
}

#[tokio::test]
async fn a_reviewer_sees_their_units_findings_and_not_those_about_themself() {
    let house = house().await;
    let list = house.get("reviewer", "/api/v1/findings").await.json();
    let ids: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|f| f["rule_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["test-unit"]);
    for rule in ["test-own", "test-other"] {
        for path in ["/api/v1/findings", "/findings"] {
            let answer = house.get("reviewer", &format!("{path}/{}", House::finding(rule))).await;
            assert!(
                answer.status == StatusCode::NOT_FOUND || answer.status == StatusCode::FORBIDDEN,
                "{path} {rule}"
            );
            assert!(!answer.text().contains(ANNA), "{path} {rule}");
        }
        let decision = serde_json::json!({ "outcome": "authorised", "comment": "Jag behövde det." });
        let answer = house
            .post_json("reviewer", &format!("/api/v1/findings/{}/decisions", House::finding(rule)), decision)
            .await;
        assert!(answer.status.is_client_error(), "{rule}: {}", answer.text());
    }
    let all = house.get("dso", "/api/v1/findings").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_operator_meets_no_personal_data() {
    let house = house().await;
    for path in [
        "/",
        "/rules",
        "/runs",
        "/context",
        "/sources/journal",
        "/api/v1/context",
        "/api/v1/sources",
        "/api/v1/runs",
        "/api/v1/rules",
    ] {
        let text = house.get("operator", path).await.text();
        for secret in [ANNA, "19121212-1212", "Anna Alm", "SE100-U1", "Ulla"] {
            assert!(!text.contains(secret), "{path} shows {secret}");
        }
    }
    assert!(house.looks().is_empty(), "and so leaves no look behind");
}
