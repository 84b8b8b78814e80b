//! A second factor for an account that still lacks one: until then its session can do nothing else.

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use insyn_review::ReviewError;
use qrcode::{QrCode, render::svg};

use super::{Page, Visitor, html_with};
use crate::{app::App, forms::Fields, guard::Caller, problem::Problem, sessions};

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage {
    page: Page,
    fault: Option<&'static str>,
    secret: String,
    picture: String,
    csrf: String,
}

pub(crate) async fn form(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
) -> Result<Response, Problem> {
    if !caller.principal.enrolling {
        return Ok(Redirect::to("/").into_response());
    }
    shown(&app, &caller, &visitor, StatusCode::OK, None).await
}

pub(crate) async fn confirm(
    State(app): State<App>,
    caller: Caller,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, Problem> {
    if !caller.principal.enrolling {
        return Ok(Redirect::to("/").into_response());
    }
    let code: String = fields.get("code").chars().filter(|c| !c.is_whitespace()).collect();
    match app.db.confirm_enrolment(&caller.principal, &code).await {
        Ok(()) => {
            let mut response = Redirect::to("/sign-in?said=enrolled").into_response();
            if let Some(cookie) = sessions::clear(app.secure) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Err(ReviewError::BadCode | ReviewError::NoEnrolment) => {
            let wrong = visitor.lang.texts().enrol_wrong;
            shown(&app, &caller, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(wrong)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn shown(
    app: &App,
    caller: &Caller,
    visitor: &Visitor,
    status: StatusCode,
    fault: Option<&'static str>,
) -> Result<Response, Problem> {
    let enrolment = app.db.begin_enrolment(&caller.principal).await?;
    let picture = QrCode::new(enrolment.url.as_bytes())
        .map(|code| code.render::<svg::Color<'_>>().min_dimensions(200, 200).build())
        .map_err(|fault| Problem::internal("drawing the key", &fault))?;
    // Drawn inside the page: as an image it would need an address of its own.
    let picture = picture.split_once("?>").map(|(_, svg)| svg.to_owned()).unwrap_or(picture);
    let page = Page::new(app, visitor, visitor.lang.texts().enrol_title);
    Ok(html_with(status, &EnrolPage { page, fault, secret: enrolment.secret, picture, csrf: caller.csrf() }))
}
