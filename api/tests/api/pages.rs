//! Pages: what they show, in both languages, to whom.

use axum::http::{Request, StatusCode, header};

use crate::house::{ANNA, House, between, house};

/// A page in a language.
async fn page(house: &House, who: &str, path: &str, lang: &str) -> String {
    let request = Request::builder()
        .uri(path)
        .header(header::ACCEPT, "text/html")
        .header(header::ACCEPT_LANGUAGE, lang);
    let answer = house.ask(who, request, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path} as {who}: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn every_page_speaks_both_languages_and_keeps_to_plain_html() {
    let house = house().await;
    let finding = format!("/findings/{}", House::finding("test-unit"));
    let rule = house.get("dso", "/api/v1/rules").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    for (path, sv, en) in [
        ("/sign-in".to_owned(), "Lösenord", "Password"),
        ("/".into(), "Läget nu", "The state of things"),
        ("/findings".into(), "Ingen registrerad vårdrelation", "No registered care relation"),
        (finding, "Ingen bokning finns.", "There is no booking."),
        ("/rules".into(), "Mognad", "Maturity"),
        (format!("/rules/{rule}"), "Vad den vilar på", "What it rests on"),
        ("/runs".into(), "Ej bedömd", "Not evaluated"),
        ("/explained".into(), "Utan känd förklaring", "No known explanation"),
        ("/context".into(), "Underlag för förklaringar och regler", "Context for explanations and rules"),
        ("/evaluated?from=2026-08-01&to=2026-09-30".into(), "Vad som kunde bedömas", "What could be judged"),
        ("/quality".into(), "Hur reglerna träffar", "How the rules do"),
        ("/suppressions".into(), "Inget beslut täcker senare fynd.", "No decision covers later findings."),
        ("/sources/journal".into(), "Finns det som lagen frågar efter?", "Is what the law asks for there?"),
    ] {
        let who = if path == "/sign-in" { "nobody" } else { "dso" };
        for (lang, word, foreign) in [("sv", sv, en), ("en", en, sv)] {
            let text = page(&house, who, &path, lang).await;
            assert!(text.contains(&format!("<html lang=\"{lang}\">")), "{path}");
            assert!(text.contains(word), "{path} in {lang} lacks {word}");
            assert!(!text.contains(foreign), "{path} in {lang} says {foreign}");
            assert!(
                !text.contains("<script") && !text.contains(" style=\"") && !text.contains(" onclick"),
                "{path}"
            );
            assert!(text.contains("class=\"skip\"") && text.contains("<main id=\"main\""), "{path}");
            assert_eq!(text.matches("<h1").count(), 1, "{path} has one first heading");
            for input in text.split("<input ").skip(1).chain(text.split("<select ").skip(1)) {
                let tag = &input[..input.find('>').unwrap()];
                let labelled =
                    between(tag, "id=\"", "\"").is_some_and(|id| text.contains(&format!("for=\"{id}\"")));
                assert!(
                    labelled || tag.contains("hidden") || tag.contains("radio") || tag.contains("checkbox"),
                    "{path}: {tag}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_decision_covers_later_findings_once_and_somebody_else_reviews_it() {
    let house = house().await;
    let finding = format!("/findings/{}", House::finding("test-unit"));
    let decide = "outcome=authorised&comment=St%C3%B6dperson";
    house.post_form("reviewer", &format!("{finding}/decisions"), decide).await;
    let form = "Låt beslutet täcka senare fynd";
    assert!(page(&house, "reviewer", &finding, "sv").await.contains(form));
    let missing =
        house.post_form("reviewer", &format!("{finding}/suppressions"), "covers=person&months=13").await;
    assert_eq!(missing.status, StatusCode::UNPROCESSABLE_ENTITY);
    let cover = "covers=person&months=3&because=till+sommaren";
    let covered = house.post_form("reviewer", &format!("{finding}/suppressions"), cover).await;
    assert_eq!(covered.status, StatusCode::SEE_OTHER, "{}", covered.text());
    assert!(!page(&house, "reviewer", &finding, "sv").await.contains(form), "once is enough");
    let before = house.looks().len();
    let list = page(&house, "coordinator", "/suppressions", "sv").await;
    assert!(list.contains("till sommaren") && list.contains("Väntar på en andra person"), "{list}");
    assert!(house.looks().len() > before, "whom it is about was seen");
    let own = page(&house, "reviewer", "/suppressions", "sv").await;
    assert!(!own.contains("Låt gälla"), "nobody reviews their own");
    let id =
        house.get("coordinator", "/api/v1/suppressions").await.json()["items"][0]["suppression_id"].clone();
    let review = format!("/suppressions/{}/reviews", id.as_str().unwrap());
    assert_eq!(
        house.post_form("reviewer", &review, "keep=yes&comment=ja").await.status,
        StatusCode::FORBIDDEN
    );
    house.post_form("coordinator", &review, "keep=no&comment=uppdraget+%C3%A4r+slut").await;
    assert!(page(&house, "dso", "/suppressions", "en").await.contains("Ended"));
    let history = page(&house, "reviewer", &finding, "en").await;
    assert!(history.contains("Reviewed by a second person") && history.contains("uppdraget är slut"));
}

#[tokio::test]
async fn tables_that_contradict_are_told_of_by_their_lines() {
    let house = house().await;
    for (lang, what, line) in [
        ("sv", "care_unit_id finns inte i units: 1 rad", "rad 2"),
        ("en", "care_unit_id is not in units: 1 row", "line 2"),
    ] {
        let shown = page(&house, "dso", "/context", lang).await;
        let (_, told) = shown.split_once("data-testid=\"contradictions\"").unwrap();
        let told = told.split_once("</dl>").unwrap().0;
        assert!(told.contains("<code>places</code>") && told.contains(what) && told.contains(line), "{told}");
        assert!(!told.contains("SE100-E9"), "no value of the table is shown");
    }
}

#[tokio::test]
async fn a_reviewer_counts_within_their_units() {
    let house = house().await;
    let looks = async |who: &str| {
        let rows = house.get(who, "/api/v1/explained").await.json()["items"].clone();
        rows.as_array().unwrap().iter().map(|row| row["looks"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((looks("dso").await, looks("auditor").await, looks("reviewer").await), (20, 20, 10));
    let bad = house.get("dso", "/api/v1/explained?from=yesterday").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    let found = async |who: &str| {
        let rows = house.get(who, "/api/v1/quality?until=2026-09&months=2").await.json()["items"].clone();
        let months = |rule: &serde_json::Value| rule["months"].as_array().unwrap().clone();
        let of_rule = rows.as_array().unwrap().iter().flat_map(months).collect::<Vec<_>>();
        of_rule.iter().map(|month| month["found"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((found("dso").await, found("auditor").await, found("reviewer").await), (3, 3, 1));
}

const EVALUATED: &str = "/evaluated?from=2026-08-01&to=2026-09-30";

#[tokio::test]
async fn what_could_be_judged_is_told_by_rule_unit_source_and_day() {
    let house = house().await;
    let judged = async |who: &str, more: &str| {
        let list = house.get(who, &format!("/api/v1{EVALUATED}{more}")).await.json();
        let items = list["items"].as_array().unwrap().iter().map(|item| {
            let rules = item["rules"].as_array().unwrap().iter().map(|rule| {
                let state = rule["state"].as_str().unwrap();
                format!("{} {state} {}", rule["rule_id"].as_str().unwrap(), rule["not_evaluated"])
            });
            let unit = item["care_unit_id"].as_str().unwrap();
            format!("{} {unit}: {}", item["day"].as_str().unwrap(), rules.collect::<Vec<_>>().join(", "))
        });
        (items.collect::<Vec<_>>(), list)
    };
    let own = "2026-08-31 SE100-E1: no-care-relation evaluated 0, outside-schedule not_evaluated 10, own-record evaluated 0";
    let other = "2026-08-31 SE100-E2: no-care-relation not_evaluated 10, outside-schedule not_evaluated 10, own-record evaluated 0";
    for who in ["dso", "coordinator", "auditor"] {
        assert_eq!(judged(who, "").await.0, [own, other], "{who}");
    }
    assert_eq!(judged("reviewer", "").await.0, [own], "a reviewer sees their own units");
    assert_eq!(house.get("operator", &format!("/api/v1{EVALUATED}")).await.status, StatusCode::FORBIDDEN);
    let of_rule = judged("dso", "&rule=no-care-relation").await.0;
    assert_eq!(of_rule[1], "2026-08-31 SE100-E2: no-care-relation not_evaluated 10");
    let (first, list) = judged("dso", "&limit=1").await;
    assert_eq!(first, [own]);
    assert_eq!(list["rules"][1]["why"], "the context table schedule is empty or not loaded");
    let cursor = list["cursor"].as_str().unwrap();
    let (second, list) = judged("dso", &format!("&limit=1&cursor={cursor}")).await;
    assert_eq!((second, list["cursor"].is_null()), (vec![other.to_owned()], true));
    for bad in
        ["from=2026-01-01&to=2026-12-31", "from=2026-02-01&to=2026-01-01", "to=yesterday", "rule=awful"]
    {
        let answer = house.get("dso", &format!("/api/v1/evaluated?{bad}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn the_page_of_what_could_be_judged_says_where_when_and_why() {
    let house = house().await;
    let lacks = "no rows of care_relations for the unit in the calendar window";
    let schedule = "2026-08-31: the context table schedule is empty or not loaded";
    for (lang, words) in [
        (
            "sv",
            [
                "inga rader i care_relations för enheten i kalenderperioden",
                "2026-08-31: kontexttabellen schedule är tom eller inte inläst",
                "står med sina skäl under Regel för regel",
                "2026-08-31: 1 av 3 regler",
                "2026-08-31: 2 av 3 regler",
                "33,3\u{a0}%",
                "Delvis bedömd",
                "Ej bedömd",
            ],
        ),
        (
            "en",
            [
                lacks,
                schedule,
                "stand with their reasons under Rule by rule",
                "2026-08-31: 1 of 3 rules",
                "2026-08-31: 2 of 3 rules",
                "33.3%",
                "Partly evaluated",
                "Not evaluated",
            ],
        ),
    ] {
        let shown = page(&house, "dso", EVALUATED, lang).await;
        for text in words.iter().chain(&["Medicinkliniken"]) {
            assert!(shown.contains(text), "{lang} lacks {text}: {shown}");
        }
        // What holds of all accesses is said once, by its rule.
        assert_eq!(shown.matches(words[1].split_once(": ").unwrap().1).count(), 1, "{lang}: {shown}");
    }
    let own = page(&house, "reviewer", EVALUATED, "en").await;
    assert!(own.contains("2 of 3 rules") && own.contains(schedule));
    assert!(!own.contains(lacks) && !own.contains("Medicinkliniken"), "{own}");
    let of_rule = page(&house, "dso", &format!("{EVALUATED}&rule=own-record"), "en").await;
    assert!(of_rule.contains("1 of 1 rules") && !of_rule.contains(schedule), "{of_rule}");
    assert!(!of_rule.contains("stand with their reasons"), "{of_rule}");
}

#[tokio::test]
async fn a_page_of_error_keeps_the_way_on_for_whoever_is_signed_in() {
    let house = house().await;
    for (who, knows) in [("dso", true), ("nobody", false)] {
        let request = Request::builder().uri("/nowhere").header(header::ACCEPT, "text/html");
        let answer = house.ask(who, request, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.text().contains("href=\"/findings\""), knows, "{who}");
        assert!(answer.text().contains("/nowhere?lang=en"), "{who} may change the language");
    }
}

#[tokio::test]
async fn the_choice_of_language_is_remembered() {
    let house = house().await;
    let answer = house.get("nobody", "/sign-in?lang=en").await;
    assert!(answer.text().contains("<html lang=\"en\">"));
    assert!(answer.header("set-cookie").starts_with("insyn_lang=en;"));
    let request = Request::builder()
        .uri("/sign-in")
        .header(header::COOKIE, "insyn_lang=en")
        .header(header::ACCEPT_LANGUAGE, "sv");
    assert!(house.ask("nobody", request, "").await.text().contains("<html lang=\"en\">"));
}

#[tokio::test]
async fn a_finding_leads_to_the_records_accesses() {
    let house = house().await;
    let start = page(&house, "dso", "/", "en").await;
    let top = start.split("data-testid=\"finding-link\"").next().unwrap();
    let address = &top[top.rfind("href=\"").unwrap() + 6..top.rfind('"').unwrap()];
    assert_eq!(
        address,
        format!("/findings/{}", House::finding("test-own")),
        "the highest score stands first"
    );

    let finding = page(&house, "dso", &format!("/findings/{}", House::finding("test-unit")), "en").await;
    for shown in [
        "19121212-1212",
        "Anna Alm",
        "Protected identity",
        "Vårdcentralen Linden",
        "Ulla Ek",
        "07:07:37",
        "Emergency opening",
    ] {
        assert!(finding.contains(shown), "{shown}");
    }
    assert!(!finding.contains("<b>Ek</b>"), "what logs say is escaped");
    assert!(
        !finding.contains(&format!("/{ANNA}")) && !finding.contains("=\"/users/SE100"),
        "no id stands in an address"
    );
    assert!(!finding.contains("name=\"outcome\""), "a data protection officer does not judge");
    let record = link(&finding, "record-link");
    let answer = house.post_form("dso", &record, "reason=kontroll").await;
    assert_eq!(answer.header("location"), record);
    let accesses = page(&house, "dso", &record, "en").await;
    for shown in ["Nils Al", "Medicinkliniken", "kontroll", "Vård och behandling", "data-testid=\"accesses\""]
    {
        assert!(accesses.contains(shown), "{shown}");
    }
    let user = link(&finding, "user-link");
    house.post_form("dso", &user, "reason=kontroll").await;
    let accesses = page(&house, "dso", &user, "en").await;
    assert!(accesses.contains("Bo Björk") && accesses.contains("20121212-1212"));
}

#[tokio::test]
async fn a_reviewer_judges_and_looks_only_around_the_finding() {
    let house = house().await;
    let address = format!("/findings/{}", House::finding("test-unit"));
    let finding = page(&house, "reviewer", &address, "en").await;
    assert!(finding.contains("name=\"outcome\"") && finding.contains("name=\"comment\""));
    assert!(!finding.contains("action=\"/search\""), "no free search");
    let record = link(&finding, "record-link");
    house.post_form("reviewer", &record, "reason=bed%C3%B6mning").await;
    let accesses = page(&house, "reviewer", &record, "en").await;
    assert!(accesses.contains("Ulla"), "accesses from their own unit");
    assert!(!accesses.contains("Nils Al"), "and not those of another");

    let incomplete = house.post_form("reviewer", &format!("{address}/decisions"), "outcome=&comment=").await;
    assert_eq!(incomplete.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(incomplete.text().contains("role=\"alert\""));
    let done = house
        .post_form("reviewer", &format!("{address}/decisions"), "outcome=suspected&comment=ringde")
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let after = page(&house, "reviewer", &address, "en").await;
    assert!(
        after.contains("Suspected to be unjustified")
            && after.contains("ringde")
            && after.contains("Test reviewer")
    );
    assert!(!after.contains("name=\"outcome\""));
}

#[tokio::test]
async fn filters_and_the_demo_box_are_there() {
    let house = house().await;
    let high = page(&house, "dso", "/findings?level=high", "en").await;
    assert!(high.contains("test-unit") && !high.contains("(test-other)"));
    for wrong in ["level=awful", "status=awful", "rule=awful"] {
        let request =
            Request::builder().uri(format!("/findings?{wrong}")).header(header::ACCEPT, "text/html");
        let answer = house.ask("dso", request, "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(answer.text().contains("awful"), "{wrong}: {}", answer.text());
    }
    let signing_in = page(&house, "nobody", "/sign-in", "en").await;
    for shown in [
        "Dana Demo",
        "data protection officer",
        "123456",
        "name=\"login\"",
        "name=\"password\"",
        "name=\"code\"",
    ] {
        assert!(signing_in.contains(shown), "{shown}");
    }
}

fn link(page: &str, testid: &str) -> String {
    let before = page.split(&format!("\" data-testid=\"{testid}\"")).next().unwrap();
    before[before.rfind("href=\"").unwrap() + 6..].to_owned()
}
