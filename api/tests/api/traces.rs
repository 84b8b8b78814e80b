//! Each trace has a page, reached from where people stand; all rows of it can be kept, written while they are read.

use axum::http::{Request, StatusCode, header};

use crate::house::{ANNA, Answer, BO, House, MANY, MANY_ROWS, between, house};

async fn page(house: &House, who: &str, path: &str) -> String {
    let request = Request::builder().uri(path).header(header::ACCEPT_LANGUAGE, "en");
    let answer = house.ask(who, request, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.text()
}

/// A record's page, with its reason stated.
async fn record(house: &House, who: &str, number: &str) -> String {
    let answer = house.post_form(who, "/search", &format!("id={number}&of=record")).await;
    let address = answer.header("location").to_owned();
    house.post_form(who, &address, "reason=beg%C3%A4ran+7").await;
    address
}

fn link<'a>(page: &'a str, testid: &str) -> &'a str {
    let before = page.split(&format!("\" data-testid=\"{testid}\"")).next().unwrap();
    &before[before.rfind("href=\"").unwrap() + 6..]
}

fn no_person_in(address: &str) {
    let digits = address.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    assert!(address.starts_with("/traces/") && digits < 8 && !address.contains("SE100"), "{address}");
}

#[tokio::test]
async fn from_a_row_to_its_visit_its_time_signed_in_and_its_unit() {
    let house = house().await;
    let address = record(&house, "dso", "19121212-1212").await;
    let anna = page(&house, "dso", &address).await;
    assert!(anna.contains("Repeated ids"), "a record's page says how many rows repeat an id");
    let visit = link(&anna, "visit-link").to_owned();
    no_person_in(&visit);
    let before = house.looks().len();
    // The latest visit of the page: one look, an emergency.
    let shown = page(&house, "dso", &visit).await;
    for text in ["A visit", "Ulla", "Anna Alm", "19121212-1212", "begäran 7", "Emergency opening", "08:47:37"]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("07:07:37"), "an hour and more before is another visit");
    let longer = page(&house, "dso", &format!("{visit}?gap=240")).await;
    assert!(longer.contains("07:07:37") && !longer.contains("Bo Björk"), "unless the pause may be longer");
    assert!(house.looks()[before].contains("trace visit") && house.looks()[before].contains(ANNA));

    let session = link(&anna, "session-link").to_owned();
    no_person_in(&session);
    assert!(page(&house, "dso", &session).await.contains("name=\"reason\""), "others' records may be in it");
    house.post_form("dso", &session, "reason=tillsyn").await;
    let shown = page(&house, "dso", &session).await;
    for text in ["One time signed in", "Ulla", "Anna Alm", "Bo Björk", "s-SE100-U1"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("Nils Al"));

    let unit = format!("/traces/{}", between(&anna, "data-label=\"Unit\"><a href=\"/traces/", "\"").unwrap());
    no_person_in(&unit);
    assert!(page(&house, "dso", &unit).await.contains("name=\"reason\""), "a unit is another question");
    house.post_form("dso", &unit, "reason=tillsyn").await;
    let lately = page(&house, "dso", &unit).await;
    assert!(
        lately.contains("Accesses from a unit") && lately.contains("No accesses in the log."),
        "the last week"
    );
    let whole = page(&house, "dso", &format!("{unit}?from=&to=2026-09-30")).await;
    assert!(whole.contains("Ulla") && whole.contains("Vårdcentralen Linden"), "{whole}");
    // Somebody else's link is nobody's.
    assert_eq!(house.get("investigator", &unit).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_looked_in_both_is_asked_without_a_number_in_an_address() {
    let house = house().await;
    let address = record(&house, "investigator", "19121212-1212").await;
    assert!(page(&house, "investigator", &address).await.contains("data-testid=\"both-form\""));
    let empty = house.post_form("investigator", &format!("{address}/both"), "id=+").await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    let answer = house.post_form("investigator", &format!("{address}/both"), "id=20121212-1212").await;
    let both = answer.header("location").to_owned();
    no_person_in(&both);
    assert!(page(&house, "investigator", &both).await.contains("name=\"reason\""), "it is about another too");
    house.post_form("investigator", &both, "case=A-7").await;
    let before = house.looks().len();
    let shown = page(&house, "investigator", &both).await;
    for text in ["Those who looked in both", "Anna Alm 19121212-1212", "Bo Björk 20121212-1212", "Ulla"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    for text in ["Nils Al", "Eva Ny"] {
        assert!(!shown.contains(text), "{text} looked in one of them alone");
    }
    let look = &house.looks()[before];
    assert!(look.contains("trace both") && look.contains(ANNA) && look.contains(BO), "{look}");
}

#[tokio::test]
async fn a_unit_is_shown_page_by_page_and_each_row_once() {
    let house = house().await;
    let address = record(&house, "dso", MANY).await;
    let many = page(&house, "dso", &address).await;
    let unit = format!("/traces/{}", between(&many, "data-label=\"Unit\"><a href=\"/traces/", "\"").unwrap());
    house.post_form("dso", &unit, "reason=tillsyn").await;
    let mut next = format!("{unit}?from=2026-08-01&to=2026-12-31&activity=L%C3%A4sa");
    let mut times = Vec::new();
    for number in 0.. {
        assert!(number < 3, "no end");
        let shown = page(&house, "dso", &next).await;
        assert!(shown.contains(&format!(">{MANY_ROWS}<")), "what all come to stands on every page: {shown}");
        times.extend(shown.split("<time datetime=\"").skip(1).map(|rest| rest[..20].to_owned()));
        match between(&shown, "\" rel=\"next\"", ">") {
            Some(_) => {
                let before = shown.split("\" rel=\"next\"").next().unwrap();
                next = before[before.rfind("href=\"").unwrap() + 6..]
                    .replace("&amp;", "&")
                    .replace("&#38;", "&");
            }
            None => break,
        }
    }
    let mut once = times.clone();
    once.sort();
    once.dedup();
    assert_eq!((times.len(), once.len()), (MANY_ROWS, MANY_ROWS));
    assert_eq!(times, once, "in order of time");
    let none = page(&house, "dso", &format!("{unit}?from=2026-08-01&to=2026-12-31&activity=Skriva")).await;
    assert!(none.contains("No accesses in the log."));
}

#[tokio::test]
async fn all_rows_are_kept_as_a_file_and_the_look_names_everybody_in_it() {
    let house = house().await;
    let address = record(&house, "dso", "19121212-1212").await;
    let shown = page(&house, "dso", &address).await;
    for (form, kind) in [
        ("csv", "text/csv"),
        ("ndjson", "application/x-ndjson"),
        ("arrow", "application/vnd.apache.arrow.stream"),
        ("parquet", "application/vnd.apache.parquet"),
    ] {
        let rows = format!("{address}/rows?format={form}");
        assert!(shown.contains(&rows), "{form} is offered");
        let before = house.looks().len();
        let answer = house.get("dso", &rows).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, kind));
        assert_eq!(answer.header("insyn-rows"), "4");
        assert_eq!(
            answer.header("content-disposition"),
            format!("attachment; filename=\"insyn-records.{form}\"")
        );
        assert!(house.looks()[before].contains(ANNA), "{form}");
        if form == "csv" {
            assert_eq!(answer.text().lines().count(), 5);
            assert!(!answer.text().contains("{\"\"n\"\""), "not the record as it arrived");
        }
    }
    assert_eq!(house.get("dso", &format!("{address}/rows?format=xml")).await.status, StatusCode::BAD_REQUEST);
    let unstated = house.post_form("dso", "/search", "id=20121212-1212&of=record").await;
    let unstated = house.get("dso", &format!("{}/rows?format=csv", unstated.header("location"))).await;
    assert_eq!(unstated.status, StatusCode::UNPROCESSABLE_ENTITY, "not before a reason is stated");
}

#[tokio::test]
async fn programs_get_every_row_in_one_answer() {
    let house = house().await;
    let path = "/api/v1/units/SE100-E3/accesses?reason=prov&all=true";
    for (accept, rows) in [
        (
            "application/json",
            Box::new(|answer: &Answer| answer.json()["items"].as_array().unwrap().len())
                as Box<dyn Fn(&Answer) -> usize>,
        ),
        ("application/x-ndjson", Box::new(|answer| answer.text().lines().count())),
        ("text/csv", Box::new(|answer| answer.text().lines().count() - 1)),
        ("application/vnd.apache.arrow.stream", Box::new(|_| MANY_ROWS)),
        ("application/vnd.apache.parquet", Box::new(|_| MANY_ROWS)),
    ] {
        let before = house.looks().len();
        let answer =
            house.ask("program", Request::builder().uri(path).header(header::ACCEPT, accept), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{accept}: {}", answer.text());
        assert_eq!(answer.header("insyn-rows"), MANY_ROWS.to_string(), "{accept}");
        assert_eq!(rows(&answer), MANY_ROWS, "{accept}");
        assert!(house.looks()[before].contains(MANY), "{accept}");
    }
    let whole = house.get("program", path).await.json();
    assert_eq!((&whole["summary"]["rows"], &whole["cursor"]), (&MANY_ROWS.into(), &serde_json::Value::Null));
    let body =
        serde_json::json!({ "unit": "SE100-E3", "all": true, "reason": "prov", "columns": ["event_id"] });
    let narrow = house.post_json("program", "/api/v1/accesses/search", body).await.json();
    assert_eq!(narrow["items"][0], serde_json::json!({ "event_id": "m0" }));
    assert_eq!(narrow["items"].as_array().unwrap().len(), MANY_ROWS);
}
