//! The style sheet and the mark, out of the binary itself: one file to install, nothing fetched from elsewhere.

use std::sync::LazyLock;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::{forms::Part, problem::Problem};

const STYLE: &str = include_str!("../assets/insyn.css");
const MARK: &str = include_str!("../assets/insyn.svg");

/// The address of the style sheet; it changes with its content, so that browsers may keep it.
pub(crate) fn stylesheet() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| {
        let digest = Sha256::digest(STYLE.as_bytes());
        let hex: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("/assets/insyn.css?v={hex}")
    });
    &ADDRESS
}

pub(crate) async fn asset(Part(name): Part) -> Response {
    let (kind, body) = match name.as_str() {
        "insyn.css" => ("text/css; charset=utf-8", STYLE),
        "insyn.svg" => ("image/svg+xml", MARK),
        _ => return Problem::not_found("asset").into_response(),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=86400")];
    (StatusCode::OK, headers, body).into_response()
}
