//! Rows over HTTP: forms, pages, filters, columns.

use axum::http::{Request, StatusCode, header};

use insyn_review::{Action, NewToken, Role};

use crate::house::{ANNA, BO, CONTROLLER, House, house};

#[tokio::test]
async fn pages_by_cursor_give_each_row_once_whatever_their_size() {
    let house = house().await;
    for path in [format!("/api/v1/subjects/{BO}/accesses"), "/api/v1/users/SE100-U1/accesses".into()] {
        let whole = house.get("dso", &format!("{path}?reason=prov")).await.json();
        let expected = ids(&whole);
        assert_eq!(whole["cursor"], serde_json::Value::Null);
        for limit in 1..=expected.len() + 1 {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            for _ in 0..=expected.len() {
                let page =
                    house.get("dso", &format!("{path}?reason=prov&limit={limit}{cursor}")).await.json();
                let items = ids(&page);
                assert!(items.len() <= limit);
                found.extend(items);
                match page["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found, expected, "{path} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_personal_number_may_be_written_in_any_common_way() {
    let house = house().await;
    for written in [ANNA, "19121212-1212", "191212121212%20", "121212%2B1212"] {
        let answer =
            house.get("dso", &format!("/api/v1/subjects/{written}/accesses?reason=prov")).await.json();
        assert_eq!(ids(&answer), ["e1", "e2", "e3", "e4"], "{written}");
        assert_eq!(answer["summary"]["rows"], 4);
        assert_eq!(answer["summary"]["visits"], 3);
        assert_eq!(answer["summary"]["first"], "2026-08-31T05:07:37Z");
        assert_eq!(answer["summary"]["persons"], 2);
    }
}

#[tokio::test]
async fn columns_and_filters_narrow_the_rows() {
    let house = house().await;
    let path = format!("/api/v1/subjects/{ANNA}/accesses?reason=prov");
    let all = house.get("dso", &path).await.json();
    assert!(all["items"][0].get("record").is_none(), "the record comes only when it is asked for");
    assert_eq!(all["items"][0]["occurred_at"], "2026-08-31T05:07:37Z");
    let narrow =
        house.get("dso", &format!("{path}&columns=user_id,record&care_unit_id=SE100-E2")).await.json();
    assert_eq!(narrow["items"], serde_json::json!([{ "user_id": "SE100-U2", "record": "{\"n\":3}" }]));
    assert_eq!(narrow["summary"]["rows"], 1, "what is summed up is what is shown");
    for (period, expected) in [
        ("&from=2026-08-31&to=2026-08-31", 4),
        ("&from=2026-09-01", 0),
        ("&to=2026-08-30", 0),
        ("&from=2026-08-31T05:12:37Z&to=2026-08-31T05:27:37Z", 1),
    ] {
        assert_eq!(
            ids(&house.get("dso", &format!("{path}{period}")).await.json()).len(),
            expected,
            "{period}"
        );
    }
}

#[tokio::test]
async fn who_is_bound_to_a_controller_sees_and_counts_only_its_rows() {
    let house = house().await;
    for (controller, rows) in [(CONTROLLER, 4), ("SE100-OTHER", 0)] {
        let token = NewToken {
            name: controller.into(),
            role: Role::Service,
            allow: vec![Action::Trace],
            controllers: vec![controller.into()],
            units: Vec::new(),
            expires_at: None,
            created_by: "test".into(),
        };
        let token = house.db.create_token(&token).await.unwrap().token;
        let request = Request::builder()
            .uri(format!("/api/v1/subjects/{ANNA}/accesses?reason=prov"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = house.ask("nobody", request, "").await.json();
        assert_eq!(ids(&answer).len(), rows, "{controller}");
        assert_eq!(answer["summary"]["rows"], rows, "{controller}");
    }
}

#[tokio::test]
async fn a_users_days_are_counted_by_record_and_unit() {
    let house = house().await;
    let path = "/api/v1/users/SE100-U1/days?reason=prov&limit=1";
    let answer = house.get("dso", path).await.json();
    let of_anna = serde_json::json!({
        "subject_id": ANNA, "care_unit_id": "SE100-E1", "day": "2026-08-31", "n": 3,
        "first": "2026-08-31T05:07:37Z", "last": "2026-08-31T06:47:37Z",
    });
    let of_bo = serde_json::json!({
        "subject_id": BO, "care_unit_id": "SE100-E1", "day": "2026-08-31", "n": 1,
        "first": "2026-08-31T06:57:37Z", "last": "2026-08-31T06:57:37Z",
    });
    assert_eq!(answer["items"], serde_json::json!([of_anna, of_bo]), "a day is never cut");
    assert_eq!(answer["cursor"], serde_json::Value::Null);
    let summary = &answer["summary"];
    assert_eq!((&summary["rows"], &summary["counts"], &summary["days"]), (&4.into(), &2.into(), &1.into()));
    assert_eq!((&summary["persons"], &summary["last"]), (&2.into(), &"2026-08-31T06:57:37Z".into()));
    let one = house.get("dso", &format!("{path}&subject_id=20121212-1212")).await.json();
    assert_eq!(one["items"], serde_json::json!([of_bo]));
    for (wrong, code) in
        [("&gap=5", "unknown_parameter"), ("&activity=x", "bad_question"), ("&cursor=x", "bad_cursor")]
    {
        let answer = house.get("dso", &format!("{path}{wrong}")).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &code.into()),
            "{wrong}"
        );
    }
    let unstated = house.get("dso", "/api/v1/users/SE100-U1/days").await;
    assert!(unstated.status.is_client_error());
}

#[tokio::test]
async fn accept_picks_the_form_of_the_rows() {
    let house = house().await;
    let path = format!("/api/v1/subjects/{ANNA}/accesses?reason=prov&columns=event_id,occurred_at&limit=2");
    for (accept, start) in [
        ("application/x-ndjson", &b"{\"event_id\":\"e1\",\"occurred_at\":\"2026-08-31T05:07:37Z\"}\n"[..]),
        ("text/csv", b"event_id,occurred_at\r\n"),
        ("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff"),
        ("application/vnd.apache.parquet", b"PAR1"),
        ("application/json", b"{\"items\":["),
    ] {
        let answer = house.ask("dso", Request::builder().uri(&path).header(header::ACCEPT, accept), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{accept}: {}", answer.text());
        assert!(answer.header("content-type").starts_with(accept), "{accept}");
        assert!(answer.body.starts_with(start), "{accept}: {}", answer.text());
        assert_eq!(answer.header("insyn-rows"), "2");
        assert!(!answer.header("insyn-cursor").is_empty(), "{accept} says where it goes on");
    }
    for accept in ["application/x-ndjson", "text/csv", "application/vnd.apache.parquet"] {
        let request = Request::builder().uri("/api/v1/findings").header(header::ACCEPT, accept);
        let answer = house.ask("dso", request, "").await;
        assert_eq!((answer.status, answer.header("insyn-rows")), (StatusCode::OK, "3"), "{accept}");
    }
}

#[tokio::test]
async fn sql_sees_the_lake_and_the_findings() {
    let house = house().await;
    let ask = |query: &str| serde_json::json!({ "query": query, "reason": "prov" });
    let query = "SELECT f.rule_id, count(*) AS n FROM findings f JOIN access_events a ON a.user_id = f.user_id \
                 GROUP BY f.rule_id ORDER BY f.rule_id";
    let answer = house.post_json("dso", "/api/v1/sql", ask(query)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let expected =
        serde_json::json!([{ "rule_id": "test-other", "n": 1 }, { "rule_id": "test-unit", "n": 4 }]);
    assert_eq!(answer.json()["items"], expected);
    let none =
        house.post_json("investigator", "/api/v1/sql", ask("SELECT count(*) AS n FROM findings")).await;
    assert_eq!(none.json()["items"][0]["n"], 0, "who may not read the worklist finds nothing of it here");
}

#[tokio::test]
async fn sql_sees_the_context_as_it_was_known() {
    let house = house().await;
    let ask = |more: serde_json::Value| {
        let mut body = serde_json::json!({ "query": "SELECT count(*) AS n FROM staff", "reason": "prov" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let now = house.post_json("dso", "/api/v1/sql", ask(serde_json::json!({}))).await.json();
    assert!(now["items"][0]["n"].as_i64().unwrap() > 0, "{now}");
    for (more, same) in [
        (serde_json::json!({ "known_at": "2020-01-01" }), false),
        (serde_json::json!({ "known_at": "2120-01-01T00:00:00Z" }), true),
        (serde_json::json!({ "as_of": "2026-08-01" }), true),
    ] {
        let then = house.post_json("dso", "/api/v1/sql", ask(more.clone())).await;
        assert_eq!(then.status, StatusCode::OK, "{more}: {}", then.text());
        assert_eq!(then.json()["items"] == now["items"], same, "{more}");
    }
    for (more, code) in [
        (serde_json::json!({ "known_at": "i mars" }), "bad_time"),
        (serde_json::json!({ "context_load": "x" }), "bad_question"),
        (serde_json::json!({ "context_load": "x", "known_at": "2020-01-01" }), "bad_question"),
    ] {
        let refused = house.post_json("dso", "/api/v1/sql", ask(more)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::BAD_REQUEST, &code.into()));
    }
}

#[tokio::test]
async fn a_trace_goes_by_what_was_known() {
    let house = house().await;
    let search = |more: serde_json::Value| {
        let mut body = serde_json::json!({ "user": "SE100-U1", "reason": "prov" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for known in ["2020-01-01", "2120-01-01T00:00:00Z"] {
        let body = search(serde_json::json!({ "known_at": known }));
        let answer = house.post_json("dso", "/api/v1/accesses/search", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{known}: {}", answer.text());
        let path = format!("/api/v1/users/SE100-U1/accesses?known_at={known}&reason=prov");
        assert_eq!(house.get("dso", &path).await.status, StatusCode::OK, "{known}");
    }
    let refused = house
        .post_json("dso", "/api/v1/accesses/search", search(serde_json::json!({ "context_load": "x" })))
        .await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::BAD_REQUEST, &"bad_question".into()));
}

#[tokio::test]
async fn a_finding_has_the_fields_of_the_interfaces() {
    let house = house().await;
    let finding = house.get("dso", &format!("/api/v1/findings/{}", House::finding("test-unit"))).await.json();
    for field in [
        "finding_id",
        "rule_id",
        "rule_version",
        "level",
        "score",
        "status",
        "outcome",
        "settles_at",
        "user_id",
        "subject_id",
        "care_unit_id",
        "controller_id",
        "first_at",
        "last_at",
        "event_count",
        "event_ids",
        "title_sv",
        "title_en",
        "reasons",
        "created_at",
    ] {
        assert!(finding.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(finding["first_at"], "2026-08-31T05:07:37Z");
    assert_eq!(finding["reasons"][0]["en"], "There is no booking.");
}

fn ids(page: &serde_json::Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("no items: {page}"));
    items.iter().map(|item| item["event_id"].as_str().unwrap().to_owned()).collect()
}
