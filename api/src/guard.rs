//! Who is asking, and whether they may: run before every handler, by what its route needs.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use insyn_review::{Action, Principal, ReviewError, may};

use crate::{
    app::App,
    problem::Problem,
    routes::{Needs, RouteInfo},
    sessions,
};

/// Who asks, once the guard has let them in.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The session's token; `None` for a program.
    pub(crate) session: Option<String>,
    /// From which network address, where it is known.
    pub(crate) address: Option<String>,
}

impl Caller {
    pub(crate) fn may(&self, action: Action) -> bool {
        may(&self.principal, action)
    }

    pub(crate) fn must(&self, action: Action) -> Result<(), Problem> {
        if self.may(action) { Ok(()) } else { Err(Problem::forbidden()) }
    }

    /// What the session's forms carry.
    pub(crate) fn csrf(&self) -> String {
        self.session.as_deref().map(sessions::csrf).unwrap_or_default()
    }

    /// A name for the session, for handles.
    pub(crate) fn session_key(&self) -> String {
        self.session.as_deref().map(sessions::key).unwrap_or_default()
    }
}

/// The guard of one route.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) app: App,
    pub(crate) route: RouteInfo,
}

/// Lets a request through to its handler, with the [`Caller`] in its extensions, or answers why not.
pub(crate) async fn guard(
    State(Guard { app, route }): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let address = address(&request);
    let caller = match identify(&app, request.headers(), address).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let by_cookie = caller.as_ref().is_none_or(|caller| caller.session.is_some());
    if !method.is_safe() && by_cookie && !from_our_own_page(request.headers()) {
        return other_site().into_response();
    }
    if let Err(problem) = admit(route, caller.as_ref(), &request) {
        let asks_for_page = !is_api(route.path) && matches!(method, Method::GET | Method::HEAD);
        if asks_for_page && problem.status == StatusCode::UNAUTHORIZED {
            return Redirect::to(&sign_in_address(&request)).into_response();
        }
        if asks_for_page && caller.as_ref().is_some_and(|caller| caller.principal.enrolling) {
            return Redirect::to("/enrol").into_response();
        }
        return problem.into_response();
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

/// Whether a path belongs to programs rather than to people.
pub(crate) fn is_api(path: &str) -> bool {
    path.starts_with("/api/") || matches!(path, "/healthz" | "/readyz" | "/metrics") || path == "/api"
}

fn admit(route: RouteInfo, caller: Option<&Caller>, request: &Request) -> Result<(), Problem> {
    let signed_in = || caller.ok_or_else(Problem::unauthenticated);
    match route.needs {
        Needs::Nobody => Ok(()),
        Needs::SignedIn => signed_in().map(|_| ()),
        Needs::Any(actions) => {
            let caller = signed_in()?;
            if actions.iter().any(|action| caller.may(*action)) { Ok(()) } else { Err(Problem::forbidden()) }
        }
        Needs::NearOrToken if is_near(request) => Ok(()),
        Needs::NearOrToken => signed_in()?.must(Action::SeeHealth),
    }
}

/// By token, else by session. A token that does not hold is refused even where nobody needs one: the sender is mistaken.
pub(crate) async fn identify(
    app: &App,
    headers: &HeaderMap,
    address: Option<IpAddr>,
) -> Result<Option<Caller>, Problem> {
    let address = address.map(|address| address.to_string());
    if headers.contains_key(header::AUTHORIZATION) {
        let bearer = sessions::bearer(headers).ok_or_else(Problem::unauthenticated)?;
        let principal = app.db.token(bearer).await?;
        return Ok(Some(Caller { principal, session: None, address }));
    }
    let Some(token) = sessions::token(headers, app.secure) else { return Ok(None) };
    match app.db.session(token).await {
        Ok(principal) => Ok(Some(Caller { principal, session: Some(token.to_owned()), address })),
        Err(ReviewError::NoSession) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a posting request comes from a page of ours. Browsers say where a request starts (`Sec-Fetch-Site`, `Origin`);
/// a program that says neither holds no cookie by accident.
fn from_our_own_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (text("origin"), text("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
    }
}

pub(crate) fn other_site() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "the request came from another site, or the form was not made for this session: reload the page and try again",
    )
}

/// From this machine itself. A request that a proxy passed on comes from wherever the proxy says.
fn is_near(request: &Request) -> bool {
    let passed_on = ["x-forwarded-for", "forwarded", "x-real-ip"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    !passed_on && address(request).is_some_and(|address| address.to_canonical().is_loopback())
}

fn address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

fn sign_in_address(request: &Request) -> String {
    let next = request.uri().path();
    if next == "/" { "/sign-in".into() } else { format!("/sign-in?next={next}") }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Caller>, Problem> {
        Ok(parts.extensions.get::<Caller>().cloned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn posts_from_other_sites_are_told_apart() {
        for (fields, ours) in [
            (&[("host", "insyn:8080")][..], true),
            (&[("host", "insyn:8080"), ("origin", "http://insyn:8080")], true),
            (&[("host", "insyn:8080"), ("origin", "http://evil.example")], false),
            (&[("host", "insyn:8080"), ("origin", "null")], false),
            (&[("host", "insyn:8080"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "insyn:8080"), ("sec-fetch-site", "same-site")], false),
            (
                &[("host", "insyn:8080"), ("sec-fetch-site", "cross-site"), ("origin", "http://insyn:8080")],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(from_our_own_page(&headers), ours, "{fields:?}");
        }
    }
}
