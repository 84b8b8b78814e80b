//! REST for programs. Every path here stands in the OpenAPI document; every error is a problem.

pub(crate) mod accesses;
pub(crate) mod context;
pub(crate) mod days;
pub(crate) mod evaluated;
pub(crate) mod explained;
pub(crate) mod findings;
pub(crate) mod paging;
pub(crate) mod quality;
pub(crate) mod rules;
pub(crate) mod sources;
pub(crate) mod sql;
pub(crate) mod suppressions;
pub(crate) mod trials;

use axum::http::HeaderMap;
use insyn_engine::context::{KnownAt, Moment};
use insyn_engine::session::{Scope, Session};
use insyn_review::{Action, Purpose, purpose};

use crate::{
    app::App,
    forms::{Parameters, instant},
    handles::Stated,
    problem::Problem,
};

/// A session over the newest version of the lake.
pub(crate) async fn session(app: &App) -> Result<Session, Problem> {
    Ok(Session::open(&app.lake, app.zone(), Scope::All).await?)
}

/// The same with the context as it was known, or held, at another moment.
pub(crate) async fn session_at(app: &App, moment: &Moment) -> Result<Session, Problem> {
    Ok(Session::at(&app.lake, app.zone(), Scope::All, moment).await?)
}

/// The moment that is asked for, and how it is said with the look.
pub(crate) fn moment(
    app: &App,
    known_at: Option<&str>,
    context_load: Option<&str>,
    as_of: Option<&str>,
) -> Result<(Moment, String), Problem> {
    let known = match (known_at, context_load) {
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request(
                "bad_question",
                "known_at and context_load are two ways to say one thing",
            ));
        }
        (Some(at), None) => KnownAt::Time(instant("known_at", at, app.zone(), true)?),
        (None, Some(load)) => KnownAt::Load(load.to_owned()),
        (None, None) => KnownAt::Now,
    };
    let said = [("as of", as_of), ("known at", known_at), ("by the context load", context_load)];
    let said = said.into_iter().filter_map(|(what, at)| at.map(|at| format!(" ({what} {at})"))).collect();
    let as_of = as_of.map(|at| instant("as_of", at, app.zone(), false)).transpose()?;
    Ok((Moment { known, as_of }, said))
}

/// What was stated as the reason: as parameters, else as headers.
pub(crate) fn stated(parameters: &Parameters, headers: &HeaderMap) -> Option<Stated> {
    let reason = parameters.get("reason").map(str::to_owned).or_else(|| header_text(headers, "insyn-reason"));
    let case = parameters.get("case").map(str::to_owned).or_else(|| header_text(headers, "insyn-case"));
    Stated::new(reason.as_deref(), case.as_deref())
}

/// Refuses where a reason has to be stated for this and none was.
pub(crate) fn must_be_stated(stated: Option<&Stated>, action: Action) -> Result<(), Problem> {
    match stated.is_none() && purpose(action) == Purpose::ReasonOrCase {
        true => Err(Problem::reason_required()),
        false => Ok(()),
    }
}

/// A header's text: UTF-8, else each byte a character of ISO 8859-1, as old clients send it.
fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_reason_may_be_stated_in_a_header_in_either_encoding() {
        for bytes in ["begärt utdrag".as_bytes(), b"beg\xe4rt utdrag"] {
            let mut headers = HeaderMap::new();
            headers.insert("insyn-reason", HeaderValue::from_bytes(bytes).unwrap());
            let stated = stated(&Parameters(Vec::new()), &headers).unwrap();
            assert_eq!(stated.reason.as_deref(), Some("begärt utdrag"));
        }
    }
}
