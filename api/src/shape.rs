//! The outermost layer: language, headers that every answer carries, and errors in the shape that the asker reads.

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{app::App, guard, lang::Lang, pages, problem, problem::Problem, sessions};

/// Nothing but our own style sheet and pictures; forms post to us alone; nobody frames us; no script at all.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// How much of a plain-text fault is read to become a detail.
const DETAIL: usize = 2048;

/// Chooses the language, runs the rest, and gives the answer its headers; errors become problems or pages.
pub(crate) async fn shape(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let lang = Lang::choose(request.uri().query(), request.headers());
    let chosen =
        request.uri().query().and_then(|query| crate::lang::parameter(query, "lang")).and_then(Lang::parse);
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let for_people = !guard::is_api(&path) && wants_page(request.headers());
    let asked = Asked {
        headers: request.headers().clone(),
        // An address that only takes forms shows nothing in another language.
        uri: if request.method().is_safe() { request.uri().clone() } else { Uri::from_static("/") },
    };
    request.extensions_mut().insert(lang);
    let address = Address(request.uri().clone());
    request.extensions_mut().insert(address);

    let mut response = next.run(request).await;
    app.counters().answered(matched.as_deref().unwrap_or("other"), response.status());
    if response.status().is_client_error() || response.status().is_server_error() {
        response = shaped(&app, lang, for_people.then_some(asked), response).await;
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // No answer is kept by browsers or proxies unless its handler says otherwise.
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.append(header::VARY, HeaderValue::from_static("accept, accept-language, cookie, authorization"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers
        .insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    if app.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Some(cookie) = chosen.and_then(|lang| sessions::set_language(lang.code(), app.secure)) {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// The address that was asked for, for links to the other language.
#[derive(Clone)]
pub(crate) struct Address(pub(crate) Uri);

/// True for browsers and for whoever does not say what they want.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accept.contains("text/html") || accept.contains("*/*")
}

/// What a page of error needs of the request.
struct Asked {
    headers: HeaderMap,
    uri: Uri,
}

async fn shaped(app: &App, lang: Lang, page: Option<Asked>, response: Response) -> Response {
    let is_page = content_type(&response).starts_with("text/html");
    if is_page {
        return response;
    }
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None if content_type(&response) == problem::MEDIA_TYPE => return response,
        None => from_plain(response).await,
    };
    let Some(Asked { headers, uri }) = page else { return problem.into_response() };
    let caller = guard::identify(app, &headers, None).await.ok().flatten();
    pages::error::page(app, &pages::Visitor { lang, caller, uri }, &problem)
}

/// What some layer or extractor of axum answered in plain text.
async fn from_plain(response: Response) -> Problem {
    let (parts, body) = response.into_parts();
    Problem::of_status(parts.status, text(body).await)
}

async fn text(body: Body) -> String {
    to_bytes(body, DETAIL).await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn content_type(response: &Response) -> &str {
    response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Lang {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Lang, StatusCode> {
        Ok(parts.extensions.get::<Lang>().copied().unwrap_or(Lang::Sv))
    }
}
