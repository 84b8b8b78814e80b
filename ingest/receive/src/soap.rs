//! RIV-TA StoreLog, 1.x (`ehr:log`) and 2.0 (`informationsecurity:auditing:log`), over SOAP: a system that logs to the
//! national log service can log here by changing an address. As the contract says, nothing of a call is stored when
//! something in it is wrong; its bytes go to quarantine.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use insyn_formats::message::soap::posts;
use insyn_ingest::spool::Received;
use quick_xml::escape::escape;

use crate::answer::Refusal;
use crate::desk::Way;
use crate::http::{Counter, Handed, reply, take};

const MEDIA_TYPE: &str = "text/xml; charset=utf-8";

/// The result codes of both contracts that can come from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Ok,
    Error,
    ValidationError,
    AccessDenied,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Code::Ok => "OK",
            Code::Error => "ERROR",
            Code::ValidationError => "VALIDATION_ERROR",
            Code::AccessDenied => "ACCESSDENIED",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Contract {
    One,
    Two,
}

/// Stores log posts, RIV-TA `ehr:log:store` 1.
#[utoipa::path(
    post, path = "/rivta/storelog/1", tag = "receiving",
    request_body(content = String, content_type = "text/xml", description = "A SOAP 1.1 envelope with a StoreLogRequest"),
    responses(
        (status = 200, description = "A StoreLogResponse; `ResultCode` OK after fsync, VALIDATION_ERROR, ACCESSDENIED or ERROR otherwise", body = String, content_type = "text/xml"),
        (status = 500, description = "A SOAP fault: there is no envelope", body = String, content_type = "text/xml")
    )
)]
pub(crate) async fn store_log_1(state: State<Counter>, request: Request) -> Response {
    store_log(state, request, Contract::One).await
}

/// Stores log posts, RIV-TA `informationsecurity:auditing:log` 2.0.
#[utoipa::path(
    post, path = "/rivta/storelog/2", tag = "receiving",
    request_body(content = String, content_type = "text/xml", description = "A SOAP 1.1 envelope with a StoreLog"),
    responses(
        (status = 200, description = "A StoreLogResponse; `resultCode` OK after fsync, VALIDATION_ERROR, ACCESSDENIED or ERROR otherwise", body = String, content_type = "text/xml"),
        (status = 500, description = "A SOAP fault: there is no envelope", body = String, content_type = "text/xml")
    )
)]
pub(crate) async fn store_log_2(state: State<Counter>, request: Request) -> Response {
    store_log(state, request, Contract::Two).await
}

async fn store_log(state: State<Counter>, request: Request, contract: Contract) -> Response {
    let handed = match take(&state, request, Way::Rivta).await {
        Ok(handed) => handed,
        Err(refusal) => return refused(contract, &refusal),
    };
    if memchr::memmem::find(&handed.body, b"Envelope").is_none() {
        let why = "the body is no SOAP envelope";
        return match quarantine(&handed, why).await {
            Ok(()) => fault(why),
            Err(refusal) => refused(contract, &refusal),
        };
    }
    match store(&handed).await {
        Ok(stored) => result(contract, Code::Ok, &format!("{stored} log posts are stored")),
        Err(refusal) => refused(contract, &refusal),
    }
}

/// Keeps the whole call, of which nothing becomes an event.
async fn quarantine(Handed { desk, body, .. }: &Handed<'_>, why: &str) -> Result<(), Refusal> {
    let record = Received { record: body.to_vec(), refused: Some(why.to_owned()) };
    desk.store(vec![record], true).await.map_err(|error| Refusal::disk(&error))?;
    Ok(())
}

/// Stores every log post of the call, or none; says how many.
async fn store(handed: &Handed<'_>) -> Result<usize, Refusal> {
    let Handed { desk, body, .. } = handed;
    let posts = match posts(desk.format(), body, |post| desk.judge(post).map(drop)) {
        Ok(posts) => posts,
        Err(why) => {
            quarantine(handed, &why).await?;
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
    };
    let records = posts.into_iter().map(|post| Received { record: post.to_vec(), refused: None }).collect();
    let stored = desk.store(records, true).await.map_err(|error| Refusal::disk(&error))?;
    Ok(stored.offsets.len())
}

fn refused(contract: Contract, refusal: &Refusal) -> Response {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Code::AccessDenied,
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => Code::Error,
        _ => Code::ValidationError,
    };
    result(contract, code, &refusal.why)
}

fn result(contract: Contract, code: Code, text: &str) -> Response {
    let (code, text) = (code.as_str(), escape(text));
    let answer = match contract {
        Contract::One => format!(
            r#"<StoreLogResponse xmlns="urn:riv:ehr:log:store:StoreLogResponder:1" xmlns:s="urn:riv:ehr:log:store:1"><ResultType><s:ResultCode>{code}</s:ResultCode><s:ResultText>{text}</s:ResultText></ResultType></StoreLogResponse>"#
        ),
        Contract::Two => format!(
            r#"<StoreLogResponse xmlns="urn:riv:informationsecurity:auditing:log:StoreLogResponder:2" xmlns:l="urn:riv:informationsecurity:auditing:log:2"><result><l:resultCode>{code}</l:resultCode><l:resultText>{text}</l:resultText></result></StoreLogResponse>"#
        ),
    };
    envelope(StatusCode::OK, &answer)
}

fn fault(text: &str) -> Response {
    let fault = format!(
        "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>{}</faultstring></soap:Fault>",
        escape(text)
    );
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &fault)
}

fn envelope(status: StatusCode, body: &str) -> Response {
    let text = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{body}</soap:Body></soap:Envelope>"#
    );
    reply(status, MEDIA_TYPE, text.into_bytes())
}
