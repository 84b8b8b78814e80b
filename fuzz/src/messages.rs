//! Messages that hold records: every record is where it was, and none is left out.

use std::sync::LazyLock;

use insyn_formats::message::bundle::{Body, Entry, MOST_ENTRIES, Other, read};
use insyn_formats::message::soap::posts;
use serde_json::Value;

use insyn_formats::Format;

use super::reading::{Piece, Source, cut_all, parse};
use super::within;

/// A Bundle's entries are those that another reading of the JSON finds.
pub fn bundle(body: &[u8]) {
    let Ok(Body::Batch(entries) | Body::Transaction(entries)) = within(body.len(), || read(body)) else {
        return;
    };
    assert!(entries.len() <= MOST_ENTRIES, "{} entries", entries.len());
    in_order(body, entries.iter().map(Entry::bytes));
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(whole["resourceType"], "Bundle");
    let listed = whole.get("entry").map_or(&[][..], |list| list.as_array().expect("a list"));
    assert_eq!(entries.len(), listed.len());
    for (entry, listed) in entries.iter().zip(listed) {
        match entry {
            Entry::Creates(bytes) => {
                let resource: Value = serde_json::from_slice(bytes).expect("a part of what is JSON");
                assert_eq!(&resource, &listed["resource"]);
                assert!(listed["request"]["method"].as_str().is_none_or(|method| method == "POST"));
            }
            Entry::Other(_, Other::NoResource) => assert!(listed["resource"].is_null(), "{listed}"),
            Entry::Other(_, Other::Request) => assert!(listed["request"].is_object(), "{listed}"),
            Entry::Other(..) => {}
        }
    }
}

/// The log posts of a call are what the format cuts of it, all of them or none.
pub fn soap(body: &[u8]) {
    static SOURCE: LazyLock<Source> = LazyLock::new(|| Source::new("format = \"rivta-log\""));
    let received = SOURCE.format.received();
    let judge = |post: &[u8]| received.parse(post).map(drop);
    let found = within(body.len(), || posts(&SOURCE.format, body, judge));
    if let Ok(posts) = &found {
        in_order(body, posts.iter().copied());
    }
    if std::str::from_utf8(body).is_err() {
        return assert!(found.is_err());
    }
    let Ok(mut reader) = SOURCE.format.open(&body[..body.len().min(Format::HEAD)]) else {
        return assert!(found.is_err());
    };
    let cut = cut_all(&mut reader, body, 0, || body.len());
    let expected: Option<Vec<&[u8]>> = cut
        .iter()
        .map(|piece| match piece {
            Piece::Record { offset, len } => Some(&body[*offset..offset + len]),
            Piece::Bad { .. } => None,
        })
        .collect();
    let expected =
        expected.filter(|posts| !posts.is_empty() && posts.iter().all(|post| parse(&received, post).is_ok()));
    assert_eq!(found.ok(), expected);
}

/// # Panics
/// When a part is not of the body, or begins before the one before it ends.
fn in_order<'a>(body: &[u8], parts: impl Iterator<Item = &'a [u8]>) {
    let mut end = 0;
    for part in parts {
        let at = (part.as_ptr() as usize).checked_sub(body.as_ptr() as usize).expect("of the body");
        assert!(at >= end && at + part.len() <= body.len(), "{at} after {end}");
        end = at + part.len();
    }
}
