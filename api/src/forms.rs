//! Bodies and queries, read so that every fault is a problem of ours.

use std::str::FromStr;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{
    guard::{Caller, other_site},
    problem::Problem,
    sessions,
};

/// The fields of a form of ours, in the order they came. Where there is a session, the form must be that session's.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The field's value without blanks around it, or nothing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// Whether the field came at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The field's value just as it came: for passwords.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Fields, Problem> {
        let session = request.extensions().get::<Caller>().and_then(|caller| caller.session.clone());
        let signing_in = request.uri().path() == "/sign-in";
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, state).await;
        let fields = form
            .map(|form| Fields(form.0))
            .map_err(|rejected| Problem::of_status(rejected.status(), "the form could not be read".into()))?;
        // Signing in needs no session, so it has no token to carry; the guard has looked at where it came from.
        match session {
            Some(token) if !signing_in && !sessions::same(&sessions::csrf(&token), fields.get("csrf")) => {
                Err(other_site())
            }
            _ => Ok(fields),
        }
    }
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(json) => Ok(Json(json.0)),
            Err(rejected) => Err(bad_body(rejected)),
        }
    }
}

/// Says place and fault. serde's own sentences quote what was found, which may be a personal number: only those about
/// names and shapes are passed on.
fn bad_body(rejected: JsonRejection) -> Problem {
    let status = rejected.status();
    match rejected {
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "expected a body of `Content-Type: application/json`",
        ),
        JsonRejection::JsonSyntaxError(_) => Problem::bad_request("bad_json", "the body is no JSON"),
        JsonRejection::JsonDataError(error) => {
            let text = error.body_text();
            let known = ["missing field", "unknown field", "duplicate field"];
            let detail = known
                .iter()
                .find_map(|what| text.find(what).map(|at| text[at..].to_owned()))
                .unwrap_or_else(|| "a field has another type than the OpenAPI document says".into());
            Problem::bad_request("bad_body", detail)
        }
        _ => Problem::of_status(status, "the body could not be read, or is larger than 64 kB".into()),
    }
}

/// The parameters of the query, in the order they came.
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

impl Parameters {
    /// The first value of a parameter that says something.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// As [`Parameters::get`], for a whole number of at least one.
    pub(crate) fn count(&self, name: &'static str, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(count) if (1..=most).contains(&count) => Ok(Some(count)),
            _ => Err(Problem::bad_request(
                "bad_parameter",
                format!("{name}: expected a whole number from 1 to {most}"),
            )),
        }
    }

    /// Every word of a parameter that may come several times, or once with commas.
    pub(crate) fn words<T: FromStr<Err = String>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        let values = self.0.iter().filter(|(key, _)| key == name).flat_map(|(_, value)| value.split(','));
        values.map(str::trim).filter(|word| !word.is_empty()).map(word).collect()
    }

    /// The one word of a parameter that a page's form sends.
    pub(crate) fn word<T: FromStr<Err = String>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(word).transpose()
    }

    /// `1`, `true`, `yes` or the bare name mean yes.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()) {
            None | Some("0" | "false" | "no") => Ok(false),
            Some("" | "1" | "true" | "yes") => Ok(true),
            Some(_) => Err(Problem::bad_request("bad_parameter", format!("{name}: expected true or false"))),
        }
    }

    /// Refuses names that are neither known here nor accepted by `other`.
    pub(crate) fn only(&self, known: &[&str], other: impl Fn(&str) -> bool) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str()) && !other(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                let detail = format!("found the parameter {name:?}, expected one of {}", known.join(", "));
                Err(Problem::bad_request("unknown_parameter", detail))
            }
        }
    }
}

fn word<T: FromStr<Err = String>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|fault: String| Problem::bad_request("bad_parameter", fault))
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters, Problem> {
        let query = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query
            .map(|query| Parameters(query.0))
            .map_err(|_| Problem::bad_request("bad_query", "the query could not be read"))
    }
}

/// A parameter of the path, decoded.
pub(crate) struct Part(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Part, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        path.map(|path| Part(path.0))
            .map_err(|_| Problem::bad_request("bad_path", "the address could not be read"))
    }
}

/// A point in time: RFC 3339, or a local date. As an end, a date means to the end of that day. µs UTC.
pub(crate) fn instant(
    name: &'static str,
    text: &str,
    zone: chrono_tz::Tz,
    end: bool,
) -> Result<i64, Problem> {
    // A `+` of an offset arrives as a blank when it was not escaped.
    let spaced = text.replace(' ', "+");
    if let Ok(time) =
        chrono::DateTime::parse_from_rfc3339(text).or_else(|_| chrono::DateTime::parse_from_rfc3339(&spaced))
    {
        return Ok(time.timestamp_micros());
    }
    let wrong = || {
        Problem::bad_request(
            "bad_time",
            format!("{name}: expected RFC 3339, as 2026-08-31T05:07:37Z, or a date, as 2026-08-31"),
        )
    };
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    let day = if end { day.succ_opt().ok_or_else(wrong)? } else { day };
    midnight(day, zone).ok_or_else(wrong)
}

/// The first instant of a local day: where midnight does not exist, the next hour that does.
pub(crate) fn midnight(day: chrono::NaiveDate, zone: chrono_tz::Tz) -> Option<i64> {
    use chrono::TimeZone;
    (0..4).find_map(|hour| {
        let local = day.and_hms_opt(hour, 0, 0)?;
        zone.from_local_datetime(&local).earliest().map(|time| time.timestamp_micros())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_instants_or_local_days() {
        let zone = chrono_tz::Tz::Europe__Stockholm;
        for (text, end, expected) in [
            ("2026-08-31T05:07:37Z", false, "2026-08-31T05:07:37Z"),
            ("2026-08-31T07:07:37+02:00", true, "2026-08-31T05:07:37Z"),
            ("2026-08-31T07:07:37 02:00", true, "2026-08-31T05:07:37Z"),
            ("2026-08-31", false, "2026-08-30T22:00:00Z"),
            ("2026-08-31", true, "2026-08-31T22:00:00Z"),
            ("2026-10-25", true, "2026-10-25T23:00:00Z"),
        ] {
            assert_eq!(
                crate::lang::rfc3339(instant("from", text, zone, end).unwrap()),
                expected,
                "{text} {end}"
            );
        }
        for text in ["", "yesterday", "2026-13-01", "2026-08-31T05:07:37"] {
            assert!(instant("from", text, zone, false).is_err(), "{text}");
        }
    }
}
