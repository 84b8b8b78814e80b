//! The addresses that programs post to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;

use crate::answer::Refusal;
use crate::desk::{Desk, Receivers, Way};
use crate::flight::LONGEST;
use crate::gate::{Gate, Token};
use crate::{fhir, soap};

/// A body that does not arrive within this is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct Counter {
    pub receivers: Receivers,
    pub gate: Arc<dyn Gate>,
}

/// The addresses, described.
#[derive(utoipa::OpenApi)]
#[openapi(
    paths(fhir::create, fhir::create_many, soap::store_log_1, soap::store_log_2),
    components(schemas(fhir::Outcome))
)]
pub struct OpenApi;

impl OpenApi {
    /// The document, to be merged into the one that is served.
    #[must_use]
    pub fn document() -> utoipa::openapi::OpenApi {
        OpenApi::openapi()
    }
}

/// The certificate that a client showed and that was found to be good: an extension of its requests.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Option<CertificateDer<'static>>);

/// All addresses, to be merged into the router that is served.
pub fn router(receivers: Receivers, gate: Arc<dyn Gate>) -> Router {
    Router::new()
        .route("/fhir/AuditEvent", post(fhir::create))
        .route("/fhir", post(fhir::create_many))
        .route("/rivta/storelog/1", post(soap::store_log_1))
        .route("/rivta/storelog/2", post(soap::store_log_2))
        .layer(CatchPanicLayer::new())
        .with_state(Counter { receivers, gate })
}

/// A body that was taken from a known sender. Its room is held until it is on disk.
pub(crate) struct Handed<'a> {
    pub desk: &'a Desk,
    pub body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Who sends, and what.
pub(crate) async fn take<'a>(
    State(counter): &'a State<Counter>,
    request: Request,
    way: Way,
) -> Result<Handed<'a>, Refusal> {
    let claim = Claim::of(&request);
    let desk = sender(counter, claim, way).await?;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    let too_long =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 16 MiB; send it in parts");
    if announced.is_some_and(|len| len > LONGEST) {
        return Err(too_long());
    }
    let room = counter.receivers.flight.take(announced.unwrap_or(LONGEST)).await;
    let body: Body = request.into_body();
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, LONGEST)).await.map_err(|_| {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 60 seconds")
    })?;
    let body = body.map_err(|_| too_long())?;
    if body.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "found no body"));
    }
    Ok(Handed { desk, body, _room: room })
}

/// What a request says of who sends it.
struct Claim {
    bearer: Option<Result<String, Refusal>>,
    certificate: Option<CertificateDer<'static>>,
}

impl Claim {
    fn of(request: &Request) -> Claim {
        Claim {
            bearer: bearer(request.headers()),
            certificate: request.extensions().get::<PeerCertificate>().and_then(|shown| shown.0.clone()),
        }
    }
}

async fn sender(counter: &Counter, claim: Claim, way: Way) -> Result<&Desk, Refusal> {
    let receivers = &counter.receivers;
    if let Some(bearer) = claim.bearer {
        let token = counter.gate.token(&bearer?).await;
        let token = token.map_err(|why| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
        return match token {
            Token::Unknown => Err(unknown()),
            Token::Other => Err(Refusal::new(StatusCode::FORBIDDEN, "this token may not send logs")),
            Token::Sender(name) => receivers.of_token(&name, way).ok_or_else(|| no_source(way)),
        };
    }
    let certificate = claim.certificate.ok_or_else(unknown)?;
    receivers.of_certificate(&certificate, way).ok_or_else(|| no_source(way))
}

fn bearer(headers: &HeaderMap) -> Option<Result<String, Refusal>> {
    let value = headers.get(header::AUTHORIZATION)?;
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    Some(token.ok_or_else(unknown))
}

fn unknown() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "found no token or certificate that holds, expected `Authorization: Bearer …` or a client certificate",
    )
}

fn no_source(way: Way) -> Refusal {
    let why = format!("no source {way} has this sender; see [[source.sender]]");
    Refusal::new(StatusCode::FORBIDDEN, why)
}

/// An answer with a body of some type.
pub(crate) fn reply(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("30"));
    }
    response
}
