//! Another setting is tried before anybody is flagged: counts only, in the background, by page and by REST.

use std::time::Duration;

use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::house::{ANNA, BO, House, between, house};

/// What the form sends: three weeks after a death, where a month is the default.
const FORM: &str = "p.grace=7&u.grace=days&level=medium&status=stable&from=2026-08-01&to=2026-09-30";

/// Asks until the trial is over.
async fn over(house: &House, who: &str, id: &str) -> Value {
    for _ in 0..600 {
        let trial = house.get(who, &format!("/api/v1/trials/{id}")).await.json();
        if trial["state"] == "done" || trial["state"] == "failed" {
            return trial;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the trial did not come to an end within 30 seconds");
}

async fn page(house: &House, who: &str, path: &str, lang: &str) -> String {
    let request = Request::builder().uri(path).header(header::ACCEPT_LANGUAGE, lang);
    let answer = house.ask(who, request, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn a_setting_is_tried_beside_todays_and_names_nobody() {
    let house = house().await;
    let started = house.post_form("dso", "/rules/deceased/trials", FORM).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
    let address = started.header("location").to_owned();
    let id = address.strip_prefix("/trials/").unwrap();
    let under_way = page(&house, "dso", &address, "en").await;
    assert!(under_way.contains("http-equiv=\"refresh\"") || under_way.contains(">Done<"), "{under_way}");

    let trial = over(&house, "dso", id).await;
    assert_eq!(trial["state"], "done", "{trial}");
    assert_eq!(trial["changes"], json!([{ "name": "grace", "today": "30 days", "tried": "7 days" }]));
    let result = &trial["result"];
    assert_eq!(
        [&result["found_today"], &result["found_tried"], &result["only_tried"], &result["only_today"]],
        [0, 2, 2, 0]
    );
    let week = |unit: &str| json!({ "week": "2026-08-31", "care_unit_id": unit, "today": 0, "tried": 1 });
    assert_eq!(result["weeks"], json!([week("SE100-E1"), week("SE100-E2")]));
    assert_eq!(result["levels"], json!([{ "level": "medium", "today": 0, "tried": 2 }]));

    for (lang, shown) in [
        ("sv", ["Klar", "30 dagar", "7 dagar", "0,2 i veckan", "Vårdcentralen Linden"]),
        ("en", ["Done", "30 days", "7 days", "0.2 a week", "override = &#34;deceased&#34;"]),
    ] {
        let text = page(&house, "coordinator", &address, lang).await;
        for shown in shown {
            assert!(text.contains(shown), "{shown} in {lang}: {text}");
        }
        for person in [ANNA, BO, "20121212-1212", "Bo Björk", "SE100-U1", "SE100-U3", "Ulla"] {
            assert!(!text.contains(person), "{person} in {lang}");
        }
        assert!(!text.contains("http-equiv=\"refresh\""), "what is over stays as it is");
    }
    let of_rule = page(&house, "coordinator", "/rules/deceased", "en").await;
    assert!(of_rule.contains(&address) && of_rule.contains("30 days → 7 days"), "it is kept for a while");
    assert!(
        house.get("coordinator", "/api/v1/findings").await.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["rule_id"] != "deceased"),
        "and nothing is kept among the findings"
    );
    let look = house.looks().into_iter().find(|line| line.contains("trial")).expect("who tried what is told");
    assert!(!look.contains(BO), "{look}");
}

#[tokio::test]
async fn the_form_has_the_rules_parameters_with_their_bounds_and_says_what_cannot_be() {
    let house = house().await;
    for (lang, shown) in [
        ("sv", ["Tid för efterarbete", "grace: från 0 dagar till 365 dagar; från början 30 dagar", "dygn"]),
        (
            "en",
            [
                "Time for the work after a death",
                "grace: from 0 days to 365 days; 30 days to begin with",
                "hours",
            ],
        ),
    ] {
        let text = page(&house, "coordinator", "/rules/deceased", lang).await;
        for shown in shown {
            assert!(text.contains(shown), "{shown} in {lang}");
        }
        assert_eq!(between(&text, "id=\"p-grace\" name=\"p.grace\" value=\"", "\""), Some("30"));
    }
    for (who, has) in [("reviewer", false), ("operator", false), ("dso", true)] {
        let text = page(&house, who, "/rules/deceased", "en").await;
        assert_eq!(text.contains("data-testid=\"trial-form\""), has, "{who}");
    }
    for (form, alert) in [
        (FORM.replace("grace=7", "grace=9000"), "grace: från 0 dagar till 365 dagar"),
        (FORM.replace("u.grace=days", "u.grace=years"), "grace: från 0 dagar till 365 dagar"),
        (FORM.replace("level=medium", "level=grave"), "Nivå"),
        (FORM.replace("from=2026-08-01", "from=2026-10-01"), "Perioden går inte att använda"),
    ] {
        let answer = house.post_form("dso", "/rules/deceased/trials", &form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        let text = answer.text();
        let fault = between(&text, "role=\"alert\">", "</p>").unwrap_or_else(|| panic!("{form}: {text}"));
        assert!(fault.contains(alert), "{form}: {fault}");
        assert!(text.contains("value=\"2026-09-30\""), "what was filled in stays");
    }
}

#[tokio::test]
async fn programs_start_a_trial_and_ask_for_it() {
    let house = house().await;
    let runs = "/api/v1/rules/deceased/runs";
    let body =
        json!({ "dry_run": true, "set": { "grace": "7 days" }, "from": "2026-08-01", "to": "2026-09-30" });
    let started = house.post_json("coordinator", runs, body).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.text());
    let id = started.json()["trial_id"].as_str().unwrap().to_owned();
    assert_eq!(started.header("location"), format!("/api/v1/trials/{id}"));
    assert_eq!(over(&house, "coordinator", &id).await["result"]["found_tried"], 2);
    for (body, status, code, detail) in [
        (json!({ "set": { "grace": "7 days" } }), 400, "set_needs_dry_run", "dry_run"),
        (json!({ "dry_run": true, "set": { "grce": "7 days" } }), 422, "bad_setting", "nearest: \"grace\""),
        (json!({ "dry_run": true, "set": { "grace": {} } }), 422, "bad_setting", "set.grace: expected"),
        (json!({ "dry_run": true, "set": { "grace": "9000 days" } }), 422, "bad_setting", "expected between"),
    ] {
        let answer = house.post_json("coordinator", runs, body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        assert_eq!(answer.json()["code"], code, "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{}", answer.text());
    }
    assert_eq!(house.get("coordinator", "/api/v1/trials/none").await.status, StatusCode::NOT_FOUND);
}
