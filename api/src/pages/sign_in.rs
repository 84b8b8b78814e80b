//! Signing in and out.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use insyn_review::ReviewError;

use super::{Page, Visitor, html_with};
use crate::{
    app::App,
    forms::{Fields, Parameters},
    guard::Caller,
    problem::Problem,
    sessions,
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    page: Page,
    fault: Option<&'static str>,
    login: String,
    next: String,
    demo: Vec<Account>,
}

/// A made-up account, as the demo shows it.
struct Account {
    name: String,
    what: String,
    login: String,
    password: String,
    code: String,
}

pub(crate) async fn form(State(app): State<App>, visitor: Visitor, parameters: Parameters) -> Response {
    if visitor.caller.as_ref().is_some_and(|caller| !caller.principal.enrolling) {
        return Redirect::to("/").into_response();
    }
    let t = visitor.lang.texts();
    let notice = match parameters.get("said") {
        Some("out") => Some(t.signed_out),
        Some("enrolled") => Some(t.enrol_done),
        _ => None,
    };
    shown(&app, &visitor, StatusCode::OK, None, "", own_path(parameters.get("next")), notice)
}

pub(crate) async fn sign_in(
    State(app): State<App>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    let t = visitor.lang.texts();
    let (login, next) = (fields.get("login"), own_path(Some(fields.get("next"))));
    // People type codes in groups of three.
    let code: String = fields.get("code").chars().filter(|c| !c.is_whitespace()).collect();
    let signed_in = match app.db.sign_in(login, fields.raw("password"), &code).await {
        Ok(signed_in) => signed_in,
        Err(ReviewError::TooManyAttempts { .. }) => {
            return Ok(shown(
                &app,
                &visitor,
                StatusCode::TOO_MANY_REQUESTS,
                Some(t.sign_in_wait),
                login,
                next,
                None,
            ));
        }
        Err(error) if error.is_refusal() => {
            return Ok(shown(
                &app,
                &visitor,
                StatusCode::UNAUTHORIZED,
                Some(t.sign_in_wrong),
                login,
                next,
                None,
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let to = if signed_in.principal.enrolling { "/enrol" } else { next };
    let mut response = Redirect::to(to).into_response();
    if let Some(cookie) = sessions::set(&signed_in.token, app.secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

pub(crate) async fn sign_out(
    State(app): State<App>,
    caller: Caller,
    _fields: Fields,
) -> Result<Response, Problem> {
    if let Some(token) = &caller.session {
        app.db.sign_out(token).await?;
        app.handles().forget(&caller.session_key());
    }
    let mut response = Redirect::to("/sign-in?said=out").into_response();
    if let Some(cookie) = sessions::clear(app.secure) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn shown(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    fault: Option<&'static str>,
    login: &str,
    next: &str,
    notice: Option<&'static str>,
) -> Response {
    let t = visitor.lang.texts();
    let mut page = Page::new(app, visitor, t.sign_in_title);
    page.person = None;
    page.notice = notice.map(str::to_owned);
    let demo = app
        .demo
        .iter()
        .map(|account| Account {
            name: account.name.clone(),
            what: visitor.lang.of(&account.what).to_owned(),
            login: account.login.clone(),
            password: account.password.clone(),
            code: (account.code)(),
        })
        .collect();
    html_with(status, &SignInPage { page, fault, login: login.to_owned(), next: next.to_owned(), demo })
}

/// A path on this site, so that signing in leads nowhere else.
fn own_path(next: Option<&str>) -> &str {
    let plain = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
    };
    next.filter(plain).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_but_here() {
        for (next, expected) in [
            (None, "/"),
            (Some("/findings/abc-1"), "/findings/abc-1"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a\r\nb"), "/"),
        ] {
            assert_eq!(own_path(next), expected, "{next:?}");
        }
    }
}
