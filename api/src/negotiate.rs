//! In which form rows are answered, by `Accept`.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chrono_tz::Tz;
use insyn_engine::output;

use crate::problem::Problem;

/// A form that rows can be answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Ndjson,
    Csv,
    Arrow,
    Parquet,
}

const FORMS: [(Form, &str); 5] = [
    (Form::Json, "application/json"),
    (Form::Ndjson, "application/x-ndjson"),
    (Form::Csv, "text/csv"),
    (Form::Arrow, "application/vnd.apache.arrow.stream"),
    (Form::Parquet, "application/vnd.apache.parquet"),
];

/// What a page offers to be kept.
pub(crate) const NAMES: [(Form, &str); 4] =
    [(Form::Csv, "csv"), (Form::Ndjson, "ndjson"), (Form::Arrow, "arrow"), (Form::Parquet, "parquet")];

impl Form {
    pub(crate) fn media_type(self) -> &'static str {
        FORMS.iter().find(|(form, _)| *form == self).map(|(_, name)| *name).unwrap_or("application/json")
    }

    /// By its short name, as `csv`; the end of a file's name too.
    pub(crate) fn of_name(name: &str) -> Option<Form> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(form, _)| *form)
    }

    /// Its short name.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(form, _)| *form == self).map_or("json", |(_, name)| *name)
    }

    /// The first of the most wanted that we have. JSON where nothing is asked for.
    pub(crate) fn choose(headers: &HeaderMap) -> Option<Form> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Some(Form::Json) };
        let accept = accept.to_str().ok()?;
        let mut best: Option<(f32, Form)> = None;
        for part in accept.split(',') {
            let mut pieces = part.split(';');
            let name = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = pieces.find_map(|p| p.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            let form = match name.as_str() {
                "*/*" | "application/*" | "" => Some(Form::Json),
                "text/*" => Some(Form::Csv),
                "application/ndjson" | "application/jsonl" => Some(Form::Ndjson),
                other => FORMS.iter().find(|(_, known)| *known == other).map(|(form, _)| *form),
            };
            let Some(form) = form.filter(|_| weight > 0.0) else { continue };
            if best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, form));
            }
        }
        best.map(|(_, form)| form)
    }

    pub(crate) fn output(self) -> output::Format {
        match self {
            Form::Json => output::Format::Json,
            Form::Ndjson => output::Format::Ndjson,
            Form::Csv => output::Format::Csv,
            Form::Arrow => output::Format::Arrow,
            Form::Parquet => output::Format::Parquet,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Form {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Form, Problem> {
        Form::choose(&parts.headers).ok_or_else(|| {
            let names: Vec<&str> = FORMS.iter().map(|(_, name)| *name).collect();
            Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                format!("Accept: expected one of {}", names.join(", ")),
            )
        })
    }
}

/// Rows, what is said about them as a whole, and where the next page starts.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// Members beside `items` in JSON; elsewhere the cursor alone goes along, as a header.
    pub(crate) about: serde_json::Map<String, serde_json::Value>,
    pub(crate) cursor: Option<String>,
}

/// JSON is `{"items": […], …, "cursor": …}`; the other forms are the rows alone, with `Insyn-Cursor` and `Insyn-Rows`.
pub(crate) fn answer(form: Form, zone: Tz, rows: Rows) -> Result<Response, Problem> {
    let mut body = Vec::new();
    output::write(form.output(), &rows.schema, &rows.batches, zone, &mut body)
        .map_err(|fault| Problem::internal("writing the rows", &fault))?;
    let count = crate::rows::count(&rows.batches);
    if form == Form::Json {
        body = wrapped(&body, rows.about, rows.cursor.as_deref());
    }
    let mut response = ([(header::CONTENT_TYPE, form.media_type())], Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("insyn-rows"), HeaderValue::from(count));
    if let Some(cursor) = rows.cursor.and_then(|cursor| HeaderValue::from_str(&cursor).ok()) {
        headers.insert(HeaderName::from_static("insyn-cursor"), cursor);
    }
    Ok(response)
}

/// What stands before and after the rows: in JSON the object around them.
pub(crate) fn around(form: Form, about: serde_json::Map<String, serde_json::Value>) -> (Vec<u8>, Vec<u8>) {
    if form != Form::Json {
        return (Vec::new(), Vec::new());
    }
    (b"{\"items\":".to_vec(), rest(about, None))
}

/// The members after the rows, with the end of the object.
fn rest(mut about: serde_json::Map<String, serde_json::Value>, cursor: Option<&str>) -> Vec<u8> {
    about.insert("cursor".into(), cursor.map_or(serde_json::Value::Null, Into::into));
    let mut rest = serde_json::Value::Object(about).to_string().into_bytes();
    rest[0] = b',';
    rest
}

fn wrapped(items: &[u8], about: serde_json::Map<String, serde_json::Value>, cursor: Option<&str>) -> Vec<u8> {
    let rest = rest(about, cursor);
    let mut body = Vec::with_capacity(items.len() + rest.len() + 16);
    body.extend_from_slice(b"{\"items\":");
    let items = items.trim_ascii();
    body.extend_from_slice(if items.is_empty() { b"[]" } else { items });
    body.extend_from_slice(&rest);
    body
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses_the_form() {
        for (accept, form) in [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("text/html, application/xhtml+xml, */*;q=0.8"), Some(Form::Json)),
            (Some("text/csv"), Some(Form::Csv)),
            (Some("application/json;q=0.5, application/x-ndjson"), Some(Form::Ndjson)),
            (Some("application/vnd.apache.arrow.stream"), Some(Form::Arrow)),
            (Some("APPLICATION/vnd.apache.parquet"), Some(Form::Parquet)),
            (Some("image/png"), None),
            (Some("text/csv;q=0"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Form::choose(&headers), form, "{accept:?}");
        }
    }

    #[test]
    fn json_is_one_object_around_the_rows() {
        let about = serde_json::json!({"summary": {"rows": 1}});
        for (items, expected) in
            [("[{\"a\":1}]\n", serde_json::json!([{"a": 1}])), ("", serde_json::json!([]))]
        {
            let body = wrapped(items.as_bytes(), about.as_object().unwrap().clone(), Some("c"));
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, serde_json::json!({"items": expected, "summary": {"rows": 1}, "cursor": "c"}));
        }
    }
}
