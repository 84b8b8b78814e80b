//! Signing in and out, and forms that only our own pages can post.

use axum::http::{Method, Request, StatusCode, header};
use insyn_review::{NewUser, Role, TotpSecret};

use crate::house::{House, PASSWORD, between, house};

#[tokio::test]
async fn signing_in_gives_a_session_and_signing_out_ends_it() {
    let house = house().await;
    let secret = TotpSecret::generate();
    let user = NewUser {
        login: "vera".into(),
        name: "Vera Vik".into(),
        roles: vec![Role::Dso],
        password: PASSWORD.into(),
        totp: Some(secret.clone()),
        ..NewUser::default()
    };
    house.db.create_user(&user).await.unwrap();
    let password = "en+l%C3%A5ng+hemlig+fras";
    let wrong = house
        .post_form_raw("nobody", "/sign-in", &format!("login=vera&password={password}&code=000000"))
        .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("role=\"alert\"") && wrong.headers.get(header::SET_COOKIE).is_none());

    let code = secret.code(chrono::Utc::now().timestamp_micros());
    let body = format!("login=Vera&password={password}&code={}+{}&next=%2Ffindings", &code[..3], &code[3..]);
    let answer = house.post_form_raw("nobody", "/sign-in", &body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(answer.header("location"), "/findings");
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let with =
        |method, path: &str| Request::builder().method(method).uri(path).header(header::COOKIE, &cookie);
    let page = house.ask("nobody", with(Method::GET, "/findings"), "").await;
    assert_eq!(page.status, StatusCode::OK);
    let csrf = between(&page.text(), "name=\"csrf\" value=\"", "\"").unwrap().to_owned();
    let form =
        with(Method::POST, "/sign-out").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let out = house.ask("nobody", form, &format!("csrf={csrf}")).await;
    assert_eq!(out.header("location"), "/sign-in?said=out");
    let after = house.ask("nobody", with(Method::GET, "/findings"), "").await;
    assert_eq!(after.header("location"), "/sign-in?next=/findings");
}

#[tokio::test]
async fn a_session_that_lacks_codes_can_do_nothing_but_set_them_up() {
    let house = house().await;
    let user = NewUser {
        login: "nya".into(),
        name: "Nya Ny".into(),
        roles: vec![Role::Dso],
        password: PASSWORD.into(),
        ..NewUser::default()
    };
    house.db.create_user(&user).await.unwrap();
    let answer =
        house.post_form_raw("nobody", "/sign-in", "login=nya&password=en+l%C3%A5ng+hemlig+fras&code=").await;
    assert_eq!(answer.header("location"), "/enrol");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let get = |path: &str| Request::builder().uri(path).header(header::COOKIE, &cookie);
    assert_eq!(house.ask("nobody", get("/findings"), "").await.header("location"), "/enrol");
    assert_eq!(house.ask("nobody", get("/api/v1/findings"), "").await.status, StatusCode::FORBIDDEN);
    let page = house.ask("nobody", get("/enrol"), "").await.text();
    assert!(page.contains("<svg"), "the key is shown as a picture");
    let secret = TotpSecret::parse(between(&page, "<code>", "</code>").unwrap()).unwrap();
    let csrf = between(&page, "name=\"csrf\" value=\"", "\"").unwrap();
    let post = Request::builder()
        .method(Method::POST)
        .uri("/enrol")
        .header(header::COOKIE, &cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let code = secret.code(chrono::Utc::now().timestamp_micros());
    let done = house.ask("nobody", post, &format!("csrf={csrf}&code={code}")).await;
    assert_eq!(done.header("location"), "/sign-in?said=enrolled", "{}", done.text());
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let house = house().await;
    let finding = House::finding("test-unit");
    let path = format!("/findings/{finding}/decisions");
    let fields = "outcome=authorised&comment=jourtj%C3%A4nst";
    let csrf = house.csrf("reviewer").await;
    let other = house.csrf("dso").await;
    let form = || {
        Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    };
    for (request, body) in [
        (form(), fields.to_owned()),
        (form(), format!("csrf={other}&{fields}")),
        (form().header("origin", "https://evil.example"), format!("csrf={csrf}&{fields}")),
        (form().header("sec-fetch-site", "cross-site"), format!("csrf={csrf}&{fields}")),
    ] {
        let answer = house.ask("reviewer", request, &body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text().contains("cross_site"));
    }
    let json = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("sec-fetch-site", "cross-site");
    let answer = house.ask("reviewer", json, "{\"outcome\":\"authorised\",\"comment\":\"c\"}").await;
    assert_eq!(answer.json()["code"], "cross_site");
    assert_eq!(house.get("dso", &format!("/api/v1/findings/{finding}")).await.json()["status"], "new");

    let answer = house.ask("reviewer", form(), &format!("csrf={csrf}&{fields}")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let decided = house.get("dso", &format!("/api/v1/findings/{finding}")).await.json();
    assert_eq!(
        (decided["status"].as_str(), decided["outcome"].as_str()),
        (Some("decided"), Some("authorised"))
    );
    assert_eq!(decided["history"][1]["comment"], "jourtjänst");
    let again = house.ask("reviewer", form(), &format!("csrf={csrf}&{fields}")).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_everywhere() {
    let house = house().await;
    for path in ["/api/v1/findings", "/sign-in", "/"] {
        for value in ["Bearer insyn_wrong", "Basic x"] {
            let request = Request::builder().uri(path).header(header::AUTHORIZATION, value);
            assert_eq!(
                house.ask("nobody", request, "").await.status,
                StatusCode::UNAUTHORIZED,
                "{path} {value}"
            );
        }
    }
}

#[tokio::test]
async fn to_confirm_is_refused_in_words_that_say_what_it_takes() {
    let house = house().await;
    let path = format!("/findings/{}/decisions", House::finding("test-unit"));
    let csrf = house.csrf("reviewer").await;
    for (lang, words) in [("sv", ["två personer", "misstänkt"]), ("en", ["two people", "suspected"])] {
        let form = Request::builder()
            .method(Method::POST)
            .uri(&path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT_LANGUAGE, lang);
        let body = format!("csrf={csrf}&outcome=confirmed&comment=klart");
        let answer = house.ask("reviewer", form, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let text = answer.text();
        let alert = text.split("role=\"alert\">").nth(1).and_then(|t| t.split('<').next()).unwrap();
        for word in words {
            assert!(alert.contains(word), "{lang}: {alert}");
        }
    }
}
