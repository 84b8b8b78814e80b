//! Errors as RFC 9457 problem details. The code of each stays the same for programs; the detail is for people.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use insyn_engine::{error::EngineError, session::SqlError};
use insyn_review::{Refusal, ReviewError};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A name for this kind of problem: `urn:insyn:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:insyn:problem:reason_required")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, example = 422)]
    pub(crate) status: StatusCode,
    /// A name for programs; it never changes.
    #[schema(example = "reason_required")]
    pub(crate) code: &'static str,
    /// What was found and what was expected, for people.
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:insyn:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status,
            code,
            detail: detail.into(),
        }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn unauthenticated() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "found no session and no token, expected a session cookie or `Authorization: Bearer …`",
        )
    }

    pub(crate) fn forbidden() -> Problem {
        refusal(&Refusal::ForbiddenRole)
    }

    pub(crate) fn not_found(what: &'static str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}, or it is not yours to see"),
        )
    }

    pub(crate) fn reason_required() -> Problem {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "reason_required",
            "this looks into personal data: state `reason` or `case`, as a parameter, in the body, or as the header \
             Insyn-Reason or Insyn-Case",
        )
    }

    /// The fault goes to the program's own log, not to the one who asked.
    pub(crate) fn internal(doing: &'static str, fault: &dyn std::fmt::Display) -> Problem {
        tracing::error!("{doing}: {fault}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            format!("{doing} failed; the reason is in the program's log"),
        )
    }

    /// The problem for a status that some layer answered without a reason of its own.
    pub(crate) fn of_status(status: StatusCode, detail: String) -> Problem {
        let code = match status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            StatusCode::NOT_ACCEPTABLE => "not_acceptable",
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden_role",
            StatusCode::UNPROCESSABLE_ENTITY => "unprocessable",
            status if status.is_client_error() => "bad_request",
            _ => "internal",
        };
        let detail = if detail.trim().is_empty() {
            status.canonical_reason().unwrap_or("error").to_lowercase()
        } else {
            detail
        };
        Problem::new(status, code, detail)
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For the layer that shapes errors of pages as pages.
        response.extensions_mut().insert(self);
        response
    }
}

/// A refusal of the review room, with the status that says the same.
fn refusal(refused: &Refusal) -> Problem {
    let status = match refused {
        Refusal::ForbiddenRole
        | Refusal::OwnAccess
        | Refusal::OwnManager
        | Refusal::OtherUnit
        | Refusal::OtherController
        | Refusal::SamePerson => StatusCode::FORBIDDEN,
        Refusal::UnknownFinding
        | Refusal::UnknownRun
        | Refusal::UnknownUser
        | Refusal::UnknownDecision
        | Refusal::UnknownHold
        | Refusal::UnknownSuppression => StatusCode::NOT_FOUND,
        Refusal::AlreadyDecided
        | Refusal::NotDecided
        | Refusal::Closed
        | Refusal::CannotAssign(_)
        | Refusal::NotAuthorised
        | Refusal::NeverCovered
        | Refusal::AlreadyCovers
        | Refusal::SuppressionEnded => StatusCode::CONFLICT,
        Refusal::CommentMissing
        | Refusal::CommentTooLong { .. }
        | Refusal::UnknownOutcome
        | Refusal::BadMonths { .. }
        | Refusal::BadDecision { .. }
        | Refusal::BadHold
        | Refusal::ConfirmedNeedsCase => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::BadCursor | Refusal::BadFilter { .. } => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, refused.code(), refused.to_string())
}

impl From<Refusal> for Problem {
    fn from(refused: Refusal) -> Problem {
        refusal(&refused)
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Problem {
        match &error {
            ReviewError::Refused(refused) => refusal(refused),
            ReviewError::NoSession | ReviewError::BadToken => Problem::unauthenticated(),
            ReviewError::SignInRefused | ReviewError::BadCode => {
                Problem::new(StatusCode::UNAUTHORIZED, error.code(), error.to_string())
            }
            ReviewError::TooManyAttempts { .. } => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, error.code(), error.to_string())
            }
            _ if error.is_refusal() => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string())
            }
            ReviewError::DiskFull { .. } | ReviewError::Busy { .. } | ReviewError::ReadOnly { .. } => {
                tracing::error!("{error}");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), error.to_string())
            }
            _ => Problem::internal("the workflow database", &error),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        match &error {
            EngineError::UnknownColumn { .. } => Problem::bad_request("unknown_column", error.to_string()),
            EngineError::Question { .. } => Problem::bad_request("bad_question", error.to_string()),
            _ => Problem::internal("reading the lake", &error),
        }
    }
}

impl From<insyn_rules::RunError> for Problem {
    fn from(error: insyn_rules::RunError) -> Problem {
        Problem::internal("explaining accesses", &error)
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Problem {
        let (status, code) = match &error {
            SqlError::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "sql_refused"),
            SqlError::Limit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "sql_limit"),
            SqlError::Plan { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "sql_invalid"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "sql_failed"),
        };
        Problem::new(status, code, error.to_string())
    }
}
