//! Messages that hold records: every record is where it was, and none is left out.

use std::io::Cursor;
use std::sync::LazyLock;

use insyn_formats::message::bundle::{Body, Entry, MOST_ENTRIES, Other, read};
use insyn_formats::message::soap::posts;
use insyn_formats::workbook::{RowStyle, write};
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

/// A workbook's text is the same in whatever way it is written out, and every row has as many fields as the first, or
/// more. What it holds of memory is in proportion to what it unpacks to, which a target's bound on memory watches.
pub fn workbook(bytes: &[u8]) {
    let text_of = |style| {
        let mut text = Vec::new();
        let outcome = write(Cursor::new(bytes), style, |part| {
            text.extend(part);
            true
        });
        outcome.ok().map(|()| String::from_utf8(text).expect("text"))
    };
    let other = RowStyle { delimiter: b'\t', quote: b'\'' };
    let (text, again) = (text_of(RowStyle::default()), text_of(other));
    let rows = text.as_deref().map(|text| fields(text, RowStyle::default()));
    assert_eq!(rows, again.as_deref().map(|text| fields(text, other)));
    let rows = rows.unwrap_or_default();
    let width = rows.first().map_or(0, Vec::len);
    assert!(rows.iter().all(|row| row.len() >= width), "{rows:?}");
    // Whoever stops reading is not read to.
    let mut given = 0;
    let _ = write(Cursor::new(bytes), RowStyle::default(), |_| {
        given += 1;
        false
    });
    assert!(given <= 1);
}

/// The fields of each row, by the rules of RFC 4180.
fn fields(text: &str, style: RowStyle) -> Vec<Vec<String>> {
    let (delimiter, quote) = (char::from(style.delimiter), char::from(style.quote));
    let mut rows = vec![vec![String::new()]];
    let mut quoted = false;
    let mut signs = text.strip_prefix('\u{FEFF}').expect("a byte order mark").chars().peekable();
    while let Some(sign) = signs.next() {
        let row = rows.last_mut().expect("a row");
        match sign {
            sign if sign == quote && quoted && signs.peek() == Some(&quote) => {
                signs.next();
                row.last_mut().expect("a field").push(quote);
            }
            sign if sign == quote => quoted = !quoted,
            sign if sign == delimiter && !quoted => row.push(String::new()),
            '\n' if !quoted => rows.push(vec![String::new()]),
            sign => row.last_mut().expect("a field").push(sign),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]), "every row ends");
    rows
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
