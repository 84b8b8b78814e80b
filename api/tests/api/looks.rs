//! Whoever reads is read: each look is on disk before its answer, and names whose records came back.

use axum::http::{Request, StatusCode};

use crate::house::{ANNA, BO, House, between, house};

/// `user SE100-U1, by day`, as a look has what was asked.
const BY_DAY: &str = "dXNlciBTRTEwMC1VMSwgYnkgZGF5";

/// Who, address, body, what the look must name, what it must not.
type Case = (&'static str, String, Option<serde_json::Value>, Vec<&'static str>, Vec<&'static str>);

#[tokio::test]
async fn each_way_to_personal_data_leaves_a_look_that_names_whose_records_came_back() {
    let house = house().await;
    let finding = House::finding("test-unit");
    let cases: Vec<Case> = vec![
        (
            "dso",
            format!("/api/v1/subjects/{ANNA}/accesses?reason=utdrag"),
            None,
            vec![ANNA, "utdrag"],
            vec![BO],
        ),
        ("dso", "/api/v1/users/SE100-U1/accesses?case=AB-12".into(), None, vec![ANNA, BO, "AB-12"], vec![]),
        ("dso", "/api/v1/users/SE100-U1/accesses?reason=x1&limit=2".into(), None, vec![ANNA], vec![BO]),
        ("dso", "/api/v1/users/SE100-U1/days?reason=prov".into(), None, vec![ANNA, BO, BY_DAY], vec![]),
        (
            "dso",
            "/api/v1/users/SE100-U1/days?reason=prov&to=2026-08-31T06:50:00Z".into(),
            None,
            vec![ANNA],
            vec![BO],
        ),
        ("dso", "/api/v1/events/e5?reason=prov".into(), None, vec![BO], vec![ANNA]),
        ("dso", "/api/v1/events/e1/visit?reason=prov".into(), None, vec![ANNA, "trace visit"], vec![BO]),
        ("dso", "/api/v1/units/SE100-E2/accesses?reason=prov".into(), None, vec![ANNA, BO], vec![]),
        ("dso", "/api/v1/sessions/none/accesses?reason=prov".into(), None, vec!["trace session"], vec![ANNA]),
        (
            "dso",
            "/api/v1/accesses/search".into(),
            // Nobody of this number was ever looked at, and that is told.
            Some(serde_json::json!({ "subject": ANNA, "also": "19121212-1220", "reason": "prov" })),
            vec![ANNA, "191212121220"],
            vec![BO],
        ),
        (
            "program",
            format!("/api/v1/subjects/{BO}/accesses?reason=arkiv"),
            None,
            vec![BO, "archive"],
            vec![ANNA],
        ),
        (
            "dso",
            "/api/v1/accesses/search".into(),
            Some(serde_json::json!({ "subject": "19121212-1212", "reason": "begäran" })),
            vec![ANNA],
            vec![BO],
        ),
        (
            "investigator",
            "/api/v1/sql".into(),
            Some(serde_json::json!({
                "query": "SELECT subject_id AS hidden FROM access_events WHERE event_id = 'e5'",
                "reason": "utredning",
            })),
            vec![BO],
            vec![ANNA],
        ),
        ("reviewer", "/api/v1/findings".into(), None, vec![ANNA, "SE100-U9"], vec![BO]),
        ("dso", format!("/api/v1/findings/{finding}"), None, vec![ANNA], vec![BO]),
        ("reviewer", "/findings".into(), None, vec![ANNA], vec![BO]),
        ("reviewer", format!("/findings/{finding}"), None, vec![ANNA], vec![BO]),
    ];
    for (who, path, body, named, not_named) in cases {
        let before = house.looks().len();
        let answer = match body {
            Some(body) => house.post_json(who, &path, body).await,
            None => house.get(who, &path).await,
        };
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let looks = house.looks();
        assert_eq!(looks.len(), before + 1, "{path} leaves one look");
        for text in named {
            assert!(looks[before].contains(text), "{path}: {text} is not in {}", looks[before]);
        }
        for text in not_named {
            assert!(!looks[before].contains(text), "{path}: {text} is in {}", looks[before]);
        }
    }
}

#[tokio::test]
async fn the_start_page_renews_itself_and_is_no_look() {
    let house = house().await;
    for who in ["dso", "reviewer", "coordinator"] {
        let page = house.get(who, "/").await.text();
        assert!(page.contains("http-equiv=\"refresh\""));
        for person in [ANNA, "19121212-1212", "Anna Alm", "Ulla", "SE100-U1"] {
            assert!(!page.contains(person), "{who} sees {person} on the start page");
        }
    }
    assert!(house.looks().is_empty());
}

#[tokio::test]
async fn where_the_look_cannot_be_written_nothing_is_shown() {
    let house = house().await;
    // A spool that cannot be written: its folder gives way to a file.
    std::fs::remove_dir_all(&house.spool).unwrap();
    std::fs::write(&house.spool, "").unwrap();
    let finding = House::finding("test-unit");
    for path in [
        format!("/api/v1/subjects/{ANNA}/accesses?reason=utdrag"),
        "/api/v1/findings".into(),
        format!("/findings/{finding}"),
    ] {
        let answer = house.ask("dso", Request::builder().uri(&path), "").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(!answer.text().contains(ANNA) && !answer.text().contains("19121212"), "{path}");
    }
}

#[tokio::test]
async fn a_refused_query_is_a_look_too() {
    let house = house().await;
    let body = serde_json::json!({ "query": "DROP TABLE access_events", "reason": "prov" });
    let answer = house.post_json("dso", "/api/v1/sql", body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.json()["code"], "sql_refused");
    assert_eq!(house.looks().len(), 1);
}

#[tokio::test]
async fn a_trace_on_a_page_asks_why_before_it_shows_a_row() {
    let house = house().await;
    let answer = house.post_form("investigator", "/search", "id=19121212-1212&of=record").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let address = answer.header("location").to_owned();
    assert!(address.starts_with("/records/") && !address.contains("1212"), "{address}");

    let page = house.get("investigator", &address).await;
    assert!(page.text().contains("name=\"reason\"") && !page.text().contains("Ulla"));
    let empty = house.post_form("investigator", &address, "reason=+&case=").await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(house.looks().is_empty(), "nothing was shown, so nothing was looked at");

    let answer = house.post_form("investigator", &address, "reason=beg%C3%A4rt+utdrag&case=A-7").await;
    assert_eq!(answer.header("location"), address);
    let page = house.get("investigator", &address).await.text();
    assert!(
        page.contains("Anna Alm") && page.contains("19121212-1212") && page.contains("Nils Al"),
        "{page}"
    );
    assert!(page.contains("begärt utdrag · A-7"));
    let looks = house.looks();
    assert_eq!(looks.len(), 1);
    assert!(looks[0].contains(ANNA));

    // On to one of the users: a handle of its own, and a reason of its own.
    let next = between(&page, "<a href=\"/users/", "\"").unwrap();
    let asked = house.get("investigator", &format!("/users/{next}")).await.text();
    assert!(asked.contains("name=\"reason\"") && !asked.contains("Bo Björk"));
    // And nobody else can use the link.
    assert_eq!(house.get("dso", &address).await.status, StatusCode::NOT_FOUND);
}
