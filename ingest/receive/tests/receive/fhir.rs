//! FHIR AuditEvents and Bundles.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::house::House;

const JSON: &str = "application/fhir+json";

fn event(id: Option<&str>, system: &str) -> Value {
    let mut event = json!({
        "resourceType": "AuditEvent",
        "recorded": "2026-08-31T07:07:37+02:00",
        "action": "R",
        "agent": [{"requestor": true, "who": {"identifier": {"value": "SE1-U1"}}}],
        "source": {"observer": {"identifier": {"value": system}}},
        "entity": [{
            "what": {"identifier": {"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "194607222389"}},
            "type": {"code": "1"}, "role": {"code": "1"}
        }]
    });
    if let Some(id) = id {
        event["id"] = json!(id);
    }
    event
}

fn bundle(kind: &str, entries: Vec<Value>) -> String {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string()
}

fn entry(resource: Value) -> Value {
    json!({"resource": resource, "request": {"method": "POST", "url": "AuditEvent"}})
}

#[tokio::test]
async fn one_event_is_on_disk_before_it_is_acknowledged_and_comes_into_the_lake_once() {
    let mut house = House::new().await;
    let pretty = serde_json::to_string_pretty(&event(None, "SYS-A")).unwrap();
    let anonymous = house.post("cosmic", "/fhir/AuditEvent", JSON, pretty.clone()).await;
    assert_eq!(anonymous.status, StatusCode::CREATED, "{}", anonymous.text);
    let named =
        house.post("cosmic", "/fhir/AuditEvent", JSON, event(Some("own 1"), "SYS-A").to_string()).await;
    assert_eq!(named.headers["location"], "/fhir/AuditEvent/own%201");
    // As after a kill: another process reads what was acknowledged.
    assert_eq!(house.ingest().await.events, 2);
    let rows = house.rows("SELECT event_id, source, received_from, system_id, subject_id, record FROM access_events ORDER BY file_offset").await;
    let derived = anonymous.headers["location"].to_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(rows[0], format!("{derived}|journal|cosmic|SYS-A|194607222389|{pretty}"));
    assert!(rows[1].starts_with("own 1|journal|cosmic|SYS-A|194607222389|"));
    assert_eq!(house.ingest().await.events, 0);
    assert_eq!(house.files(), 1, "its writer may go on in it");
    house.restart();
    house.post("cosmic", "/fhir/AuditEvent", JSON, event(Some("own 1"), "SYS-A").to_string()).await;
    assert_eq!(
        house.ingest().await.events,
        1,
        "what is sent again is a row of its own: identical rows are evidence"
    );
    assert_eq!(house.files(), 1, "the file that its writer left is read and removed");
    assert_eq!((house.ingest().await.gaps, house.rows("SELECT * FROM gaps").await.len()), (0, 0));
    assert_eq!(house.rows("SELECT * FROM access_events").await.len(), 3);
}

#[tokio::test]
async fn a_batch_answers_each_entry_and_what_is_refused_goes_to_quarantine() {
    let house = House::new().await;
    let mut timeless = event(Some("b"), "SYS-A");
    timeless["recorded"] = json!("in the morning");
    let deletes = json!({"resource": event(Some("e"), "SYS-A"), "request": {"method": "DELETE", "url": "AuditEvent/1"}});
    let body = bundle(
        "batch",
        vec![
            entry(event(Some("a"), "SYS-A")),
            entry(timeless),
            entry(event(Some("c"), "SYS-B")),
            json!({"fullUrl": "urn:x"}),
            deletes,
            entry(event(Some("f"), "SYS-A")),
        ],
    );
    let answer = house.post("cosmic", "/fhir", JSON, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let answer: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(answer["type"], "batch-response");
    let entries = answer["entry"].as_array().unwrap();
    let statuses: Vec<&str> =
        entries.iter().map(|entry| &entry["response"]["status"].as_str().unwrap()[..3]).collect();
    assert_eq!(statuses, ["201", "422", "422", "422", "405", "201"]);
    let why = |n: usize| entries[n]["response"]["outcome"]["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(why(1).starts_with("occurred_at: ") && !why(1).contains("morning"), "{}", why(1));
    assert_eq!(why(2), "system_id: not a system that this sender may speak for");
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (2, 4));
    let quarantine =
        house.rows("SELECT reason, CAST(bytes AS VARCHAR) FROM quarantine ORDER BY file_offset").await;
    assert_eq!(quarantine[1], format!("{}|{}", why(2), event(Some("c"), "SYS-B")));
    assert!(quarantine[2].ends_with("{\"fullUrl\":\"urn:x\"}"));
    assert_eq!(house.rows("SELECT event_id FROM access_events ORDER BY event_id").await, ["a", "f"]);
}

#[tokio::test]
async fn a_transaction_is_stored_whole_or_not_at_all() {
    let house = House::new().await;
    let good =
        bundle("transaction", vec![entry(event(Some("a"), "SYS-A")), entry(event(Some("b"), "SYS-A"))]);
    let answer = house.post("cosmic", "/fhir", JSON, good).await;
    assert!(answer.text.contains("transaction-response"), "{}", answer.text);
    let bad = bundle("transaction", vec![entry(event(Some("c"), "SYS-A")), entry(event(Some("d"), "SYS-B"))]);
    let answer = house.post("cosmic", "/fhir", JSON, bad.clone()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("OperationOutcome") && answer.text.contains("entry[1]"), "{}", answer.text);
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (2, 1));
    assert_eq!(house.rows("SELECT CAST(bytes AS VARCHAR) FROM quarantine").await, [bad]);
}

#[tokio::test]
async fn nobody_sends_in_the_name_of_another() {
    let house = House::new().await;
    let event = event(Some("a"), "SYS-A").to_string();
    for (who, status) in [("", 401), ("unknown", 401), ("reader", 403), ("stranger", 403)] {
        let answer = house.post(who, "/fhir/AuditEvent", JSON, event.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{who}: {}", answer.text);
        assert!(answer.text.contains("OperationOutcome"));
    }
    let certificate =
        |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.der().to_vec();
    let answer = house.post_with(certificate("evil.example"), "/fhir/AuditEvent", event.clone()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = house.post_with(certificate("cosmic.example"), "/fhir/AuditEvent", event).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (1, 0), "what nobody vouches for is not kept");
}

#[tokio::test]
async fn what_is_no_fhir_is_refused_with_its_bytes_kept() {
    let house = House::new().await;
    for (kind, body, status) in [
        ("application/fhir+xml", "<AuditEvent/>", 415),
        (JSON, "{\"resourceType\": \"AuditEvent\", ", 400),
        (JSON, "[]", 400),
        (JSON, "{\"resourceType\": \"Patient\"}", 422),
        (JSON, "{\"resourceType\": \"Bundle\", \"type\": \"document\"}", 422),
        (JSON, "{\"resourceType\": \"Bundle\", \"type\": \"batch\", \"entry\": 7}", 422),
        (JSON, "\u{0}\u{1}\n\n", 400),
    ] {
        let answer = house.post("cosmic", "/fhir", kind, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
        let outcome: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
    }
    assert_eq!(house.post("cosmic", "/fhir", JSON, "").await.status, StatusCode::BAD_REQUEST);
    let long = vec![b' '; (16 << 20) + 1];
    assert_eq!(house.post("cosmic", "/fhir", JSON, long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let nested = "[".repeat(1 << 20);
    assert_eq!(house.post("cosmic", "/fhir", JSON, nested).await.status, StatusCode::BAD_REQUEST);
    let report = house.ingest().await;
    assert_eq!((report.events, report.quarantined), (0, 8));
    let quarantined =
        house.rows("SELECT reason FROM quarantine WHERE CAST(bytes AS VARCHAR) = '<AuditEvent/>'").await;
    assert_eq!(quarantined, ["expected the type application/fhir+json; FHIR in XML is not taken"]);
}

#[tokio::test]
async fn a_disk_that_refuses_is_said_and_nothing_is_acknowledged() {
    let house = House::new().await;
    // A file where the folder should be: no file can be begun.
    let folder = house.spool().join("received/journal/cosmic");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    let answer = house.post("cosmic", "/fhir/AuditEvent", JSON, event(Some("a"), "SYS-A").to_string()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "30");
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let answer = house.post("cosmic", "/fhir/AuditEvent", JSON, event(Some("a"), "SYS-A").to_string()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(house.ingest().await.events, 1);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_nothing_and_says_so() {
    let mut house = House::new().await;
    house.restart_keeping(u64::MAX);
    let answer = house.post("cosmic", "/fhir/AuditEvent", JSON, event(Some("a"), "SYS-A").to_string()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert_eq!(house.files(), 0);
}
