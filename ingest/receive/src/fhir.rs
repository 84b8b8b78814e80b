//! FHIR R4 and R5 AuditEvents, one by one or in Bundles, as IHE BALP sends them. JSON only.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use insyn_formats::Fault;
use insyn_formats::message::bundle::{self, Body, BodyError, Entry, Other};
use insyn_ingest::event_id;
use insyn_ingest::spool::{Received, Stored};
use serde::Serialize;

use crate::answer::Refusal;
use crate::desk::{Desk, Way};
use crate::http::{Counter, Handed, reply, take};

const MEDIA_TYPE: &str = "application/fhir+json";

/// What went wrong, as a FHIR OperationOutcome.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Outcome {
    /// `OperationOutcome`.
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    /// One issue.
    issue: [Issue; 1],
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct Issue {
    /// `error`.
    severity: &'static str,
    /// `invalid`, `security`, `too-long`, `not-supported` or `transient`.
    code: &'static str,
    /// Column and fault, never the value.
    diagnostics: String,
}

impl Outcome {
    fn of(status: StatusCode, why: &str) -> Outcome {
        let code = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "security",
            StatusCode::PAYLOAD_TOO_LARGE => "too-long",
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::METHOD_NOT_ALLOWED => "not-supported",
            status if status.is_server_error() => "transient",
            _ => "invalid",
        };
        let issue = Issue { severity: "error", code, diagnostics: why.to_owned() };
        Outcome { resource_type: "OperationOutcome", issue: [issue] }
    }
}

/// Stores one AuditEvent. A Bundle is taken here too.
#[utoipa::path(
    post, path = "/fhir/AuditEvent", tag = "receiving",
    request_body(content = String, content_type = "application/fhir+json", description = "An AuditEvent, R4, R4B or R5"),
    responses(
        (status = 201, description = "On disk. `Location` names the event.", headers(("Location" = String, description = "/fhir/AuditEvent/ and the event's id"))),
        (status = 400, description = "Not JSON, or no body; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 401, description = "No token or certificate that holds", body = Outcome, content_type = "application/fhir+json"),
        (status = 403, description = "Not a sender of a source of this format", body = Outcome, content_type = "application/fhir+json"),
        (status = 413, description = "Longer than 16 MiB", body = Outcome, content_type = "application/fhir+json"),
        (status = 415, description = "Not JSON by its type; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 422, description = "No event can be made of it; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 503, description = "Nothing was stored; send it again later", body = Outcome, content_type = "application/fhir+json")
    )
)]
pub(crate) async fn create(state: State<Counter>, request: Request) -> Response {
    receive(state, request).await.unwrap_or_else(|refusal| refused(&refusal))
}

/// Stores a Bundle of AuditEvents: a batch, of which each entry is judged alone, or a transaction, all or none.
#[utoipa::path(
    post, path = "/fhir", tag = "receiving",
    request_body(content = String, content_type = "application/fhir+json", description = "A Bundle of type batch or transaction, or an AuditEvent"),
    responses(
        (status = 200, description = "A Bundle that answers each entry: 201 and where, or what is wrong with it. On disk.", content_type = "application/fhir+json", body = String),
        (status = 400, description = "Not JSON, or no body; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 401, description = "No token or certificate that holds", body = Outcome, content_type = "application/fhir+json"),
        (status = 403, description = "Not a sender of a source of this format", body = Outcome, content_type = "application/fhir+json"),
        (status = 413, description = "Longer than 16 MiB", body = Outcome, content_type = "application/fhir+json"),
        (status = 415, description = "Not JSON by its type; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 422, description = "No Bundle that can be stored; the bytes are in quarantine", body = Outcome, content_type = "application/fhir+json"),
        (status = 503, description = "Nothing was stored; send it again later", body = Outcome, content_type = "application/fhir+json")
    )
)]
pub(crate) async fn create_many(state: State<Counter>, request: Request) -> Response {
    receive(state, request).await.unwrap_or_else(|refusal| refused(&refusal))
}

async fn receive(state: State<Counter>, request: Request) -> Result<Response, Refusal> {
    let is_json = is_json(&request);
    let handed = take(&state, request, Way::Fhir).await?;
    if !is_json {
        let why = "expected the type application/fhir+json; FHIR in XML is not taken";
        return quarantine(&handed, StatusCode::UNSUPPORTED_MEDIA_TYPE, why).await;
    }
    match bundle::read(&handed.body) {
        Ok(Body::Resource) => one(&handed).await,
        Ok(Body::Batch(entries)) => batch(&handed, entries).await,
        Ok(Body::Transaction(entries)) => transaction(&handed, entries).await,
        Err(error) => {
            let status = match error {
                BodyError::NotJson => StatusCode::BAD_REQUEST,
                BodyError::Bundle(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            quarantine(&handed, status, &error.to_string()).await
        }
    }
}

async fn one(Handed { desk, body, .. }: &Handed<'_>) -> Result<Response, Refusal> {
    let judged = desk.judge(body).map_err(|fault| fault.to_string());
    let record = Received { record: body.to_vec(), refused: judged.as_ref().err().cloned() };
    let stored = desk.store(vec![record], true).await.map_err(|error| Refusal::disk(&error))?;
    match judged {
        Err(why) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
        Ok(own) => {
            let mut response = reply(StatusCode::CREATED, MEDIA_TYPE, Vec::new());
            if let Ok(location) = HeaderValue::from_str(&location(&own, &stored, 0)) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
    }
}

/// An entry's bytes, and the id of its event or why it is none.
struct Judged<'a> {
    bytes: &'a [u8],
    outcome: Result<String, Refusal>,
}

fn judge<'a>(desk: &Desk, entry: Entry<'a>) -> Judged<'a> {
    match entry {
        Entry::Creates(bytes) => {
            let refuse = |fault: Fault| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string());
            Judged { bytes, outcome: desk.judge(bytes).map_err(refuse) }
        }
        Entry::Other(bytes, other) => {
            let status = match other {
                Other::Request => StatusCode::METHOD_NOT_ALLOWED,
                Other::NoEntry | Other::NoResource => StatusCode::UNPROCESSABLE_ENTITY,
            };
            Judged { bytes, outcome: Err(Refusal::new(status, other.to_string())) }
        }
    }
}

async fn batch(handed: &Handed<'_>, entries: Vec<Entry<'_>>) -> Result<Response, Refusal> {
    let judged = entries.into_iter().map(|entry| judge(handed.desk, entry)).collect();
    let answers = store(handed.desk, judged).await?;
    Ok(bundle_of("batch-response", &answers))
}

async fn transaction(handed: &Handed<'_>, entries: Vec<Entry<'_>>) -> Result<Response, Refusal> {
    let judged: Vec<Judged<'_>> = entries.into_iter().map(|entry| judge(handed.desk, entry)).collect();
    let first = judged.iter().enumerate().find_map(|(n, entry)| Some((n, entry.outcome.as_ref().err()?)));
    if let Some((n, refusal)) = first {
        let why = format!("Bundle.entry[{n}]: {}; nothing of the transaction was stored", refusal.why);
        return quarantine(handed, StatusCode::UNPROCESSABLE_ENTITY, &why).await;
    }
    let answers = store(handed.desk, judged).await?;
    Ok(bundle_of("transaction-response", &answers))
}

/// Puts the entries on disk and answers each.
async fn store(desk: &Desk, entries: Vec<Judged<'_>>) -> Result<Vec<serde_json::Value>, Refusal> {
    let mut records = Vec::with_capacity(entries.len());
    let mut outcomes = Vec::with_capacity(entries.len());
    for Judged { bytes, outcome } in entries {
        let refused = outcome.as_ref().err().map(|refusal| refusal.why.clone());
        records.push(Received { record: bytes.to_vec(), refused });
        outcomes.push(outcome);
    }
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let stored = desk.store(records, true).await.map_err(|error| Refusal::disk(&error))?;
    let answers = outcomes.into_iter().enumerate().map(|(n, outcome)| match outcome {
        Ok(own) => serde_json::json!({
            "response": {"status": "201 Created", "location": location(&own, &stored, n)}
        }),
        Err(Refusal { status, why }) => serde_json::json!({
            "response": {"status": status.to_string(), "outcome": Outcome::of(status, &why)}
        }),
    });
    Ok(answers.collect())
}

fn bundle_of(kind: &str, entries: &[serde_json::Value]) -> Response {
    let bundle = serde_json::json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    reply(StatusCode::OK, MEDIA_TYPE, bundle.to_string().into_bytes())
}

/// Keeps the whole body, and says why it is no event.
async fn quarantine(
    Handed { desk, body, .. }: &Handed<'_>,
    status: StatusCode,
    why: &str,
) -> Result<Response, Refusal> {
    let record = Received { record: body.to_vec(), refused: Some(why.to_owned()) };
    desk.store(vec![record], true).await.map_err(|error| Refusal::disk(&error))?;
    Err(Refusal::new(status, why))
}

fn refused(refusal: &Refusal) -> Response {
    let outcome = Outcome::of(refusal.status, &refusal.why);
    reply(refusal.status, MEDIA_TYPE, serde_json::to_vec(&outcome).unwrap_or_default())
}

/// Where the event is, by its own id or by where it lies.
fn location(own: &str, stored: &Stored, n: usize) -> String {
    let id = match (own, stored.offsets.get(n)) {
        ("", Some(offset)) => event_id(&stored.file_id, *offset),
        (own, _) => own.to_owned(),
    };
    let mut location = "/fhir/AuditEvent/".to_owned();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => location.push(byte.into()),
            _ => location.push_str(&format!("%{byte:02X}")),
        }
    }
    location
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("?"));
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    kind.is_none_or(|kind| kind == "application/json" || kind.ends_with("+json"))
}
