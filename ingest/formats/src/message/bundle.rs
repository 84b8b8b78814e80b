//! A body of FHIR: an AuditEvent, or a Bundle of type `batch` or `transaction` that creates some.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Each entry is judged, stored and answered: more of them than this are no Bundle of a log, but a way to ask for memory.
pub const MOST_ENTRIES: usize = 10_000;

/// What a body is.
#[derive(Debug)]
pub enum Body<'a> {
    /// One resource, which is the whole body.
    Resource,
    /// Of which each entry is judged alone.
    Batch(Vec<Entry<'a>>),
    /// Of which all entries are stored, or none.
    Transaction(Vec<Entry<'a>>),
}

/// One entry of a Bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// It creates this resource.
    Creates(&'a [u8]),
    /// It creates none, and this is the whole entry.
    Other(&'a [u8], Other),
}

impl<'a> Entry<'a> {
    /// What it creates, or the whole entry.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Entry::Creates(bytes) | Entry::Other(bytes, _) => bytes,
        }
    }
}

/// What an entry is that creates no AuditEvent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// Not an object as an entry is.
    NoEntry,
    /// It has no resource.
    NoResource,
    /// It asks for something else than to create an AuditEvent.
    Request,
}

/// Why a body is no FHIR that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is no JSON object.
    NotJson,
    /// It is a Bundle, of which this is wrong.
    Bundle(&'static str),
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Other::NoEntry => "expected an object with a resource",
            Other::NoResource => "expected a resource",
            Other::Request => "request: expected POST to AuditEvent; nothing else can be done with a log",
        })
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::NotJson => "the body is not a JSON object",
            BodyError::Bundle(why) => why,
        })
    }
}

/// Says what `body` is.
///
/// # Errors
/// When it is neither a JSON object nor a Bundle that can be taken apart.
pub fn read(body: &[u8]) -> Result<Body<'_>, BodyError> {
    let kind: Kind<'_> = serde_json::from_slice(body).map_err(|_| BodyError::NotJson)?;
    if kind.resource_type.as_deref() != Some("Bundle") {
        return Ok(Body::Resource);
    }
    match kind.bundle.map(RawValue::get) {
        Some("\"batch\"") => entries(body).map(Body::Batch),
        Some("\"transaction\"") => entries(body).map(Body::Transaction),
        _ => Err(BodyError::Bundle("Bundle.type: expected batch or transaction")),
    }
}

#[derive(serde::Deserialize)]
struct Kind<'a> {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    #[serde(borrow, rename = "type")]
    bundle: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Entries<'a>,
}

#[derive(serde::Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    request: Option<Request>,
}

#[derive(serde::Deserialize)]
struct Request {
    method: Option<String>,
    url: Option<String>,
}

fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, BodyError> {
    let bundle: Bundle<'_> =
        serde_json::from_slice(body).map_err(|_| BodyError::Bundle("Bundle.entry: expected a list"))?;
    match bundle.entry {
        Entries::All(entries) => Ok(entries.into_iter().map(entry).collect()),
        Entries::TooMany => {
            Err(BodyError::Bundle("Bundle.entry: more than 10000 entries; send them in several Bundles"))
        }
    }
}

fn entry(raw: &RawValue) -> Entry<'_> {
    let all = raw.get().as_bytes();
    let Ok(Written { resource, request }) = serde_json::from_str(raw.get()) else {
        return Entry::Other(all, Other::NoEntry);
    };
    match resource {
        None => Entry::Other(all, Other::NoResource),
        Some(_) if !request.is_none_or(|request| request.creates()) => Entry::Other(all, Other::Request),
        Some(resource) => Entry::Creates(resource.get().as_bytes()),
    }
}

impl Request {
    fn creates(&self) -> bool {
        self.method.as_ref().is_none_or(|method| method == "POST")
            && self.url.as_ref().is_none_or(|url| url.trim_end_matches('/').ends_with("AuditEvent"))
    }
}

/// A Bundle's list; what is beyond the bound is read and not kept.
enum Entries<'a> {
    All(Vec<&'a RawValue>),
    TooMany,
}

impl Default for Entries<'_> {
    fn default() -> Self {
        Entries::All(Vec::new())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < MOST_ENTRIES {
            match list.next_element()? {
                Some(entry) => entries.push(entry),
                None => return Ok(Entries::All(entries)),
            }
        }
        if list.next_element::<IgnoredAny>()?.is_none() {
            return Ok(Entries::All(entries));
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entries::TooMany)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_taken_apart() {
        let body = br#"{"resourceType": "Bundle", "type": "batch", "entry": [
            {"resource": {"id": "1"}}, {"resource": {"id": "2"}, "request": {"method": "POST", "url": "/fhir/AuditEvent/"}},
            {"resource": {"id": "3"}, "request": {"method": "DELETE", "url": "AuditEvent/3"}},
            {"fullUrl": "urn:uuid:4"}, 5, {"resource": null}]}"#;
        let Ok(Body::Batch(entries)) = read(body) else { panic!() };
        assert_eq!(entries[..2], [Entry::Creates(br#"{"id": "1"}"#), Entry::Creates(br#"{"id": "2"}"#)]);
        let others: Vec<Other> = entries[2..]
            .iter()
            .filter_map(|entry| match entry {
                Entry::Other(_, other) => Some(*other),
                Entry::Creates(_) => None,
            })
            .collect();
        assert_eq!(others, [Other::Request, Other::NoResource, Other::NoEntry, Other::NoResource]);
    }

    #[test]
    fn what_is_no_bundle_is_told() {
        let bundle = BodyError::Bundle;
        let kind = bundle("Bundle.type: expected batch or transaction");
        let list = bundle("Bundle.entry: expected a list");
        for (body, wrong) in [
            ("", BodyError::NotJson),
            ("[]", BodyError::NotJson),
            (r#"{"resourceType": "Bundle"}"#, kind),
            (r#"{"resourceType": "Bundle", "type": "searchset", "entry": []}"#, kind),
            (r#"{"resourceType": "Bundle", "type": "batch", "entry": {}}"#, list),
            (r#"{"resourceType": "Bundle", "type": "batch", "entry": null}"#, list),
        ] {
            assert_eq!(read(body.as_bytes()).unwrap_err(), wrong, "{body}");
        }
        assert!(matches!(read(br#"{"resourceType": "AuditEvent"}"#), Ok(Body::Resource)));
        assert!(
            matches!(read(br#"{"resourceType": "Bundle", "type": "transaction"}"#), Ok(Body::Transaction(none)) if none.is_empty())
        );
    }

    #[test]
    fn a_bundle_has_so_many_entries_at_most() {
        let of = |count: usize| {
            let entries = vec!["{}"; count].join(",");
            format!(r#"{{"resourceType": "Bundle", "type": "batch", "entry": [{entries}]}}"#)
        };
        assert!(
            matches!(read(of(MOST_ENTRIES).as_bytes()), Ok(Body::Batch(all)) if all.len() == MOST_ENTRIES)
        );
        let more = of(MOST_ENTRIES + 1);
        let Err(BodyError::Bundle(why)) = read(more.as_bytes()) else { panic!() };
        assert!(why.contains(&format!("more than {MOST_ENTRIES} entries")), "{why}");
    }
}
