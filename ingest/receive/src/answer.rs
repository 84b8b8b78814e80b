//! What a sender is told, whichever protocol says it.

use axum::http::StatusCode;
use insyn_ingest::IngestError;

/// Why something was not taken, in one sentence without a value of any record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub why: String,
}

impl Refusal {
    pub fn new(status: StatusCode, why: impl Into<String>) -> Refusal {
        Refusal { status, why: why.into() }
    }

    /// Nothing was stored; the same may be sent again later.
    pub fn disk(error: &IngestError) -> Refusal {
        tracing::error!("what was sent cannot be stored: {error}");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "nothing was stored, send it again later: the disk refuses",
        )
    }
}
