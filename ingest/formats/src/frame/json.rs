//! JSON values one after the other, in an array, or as entries of FHIR Bundles.

use memchr::{memchr3, memmem};

use super::{bad_line, skip_or_bad, skip_or_more};
use crate::error::Fault;
use crate::format::Cut;

/// Keys of a Bundle and of its entries whose values hold no record.
const ENVELOPE: &[&[u8]] = &[
    b"resourceType",
    b"id",
    b"meta",
    b"type",
    b"total",
    b"timestamp",
    b"identifier",
    b"signature",
    b"implicitRules",
    b"language",
    b"extension",
    b"modifierExtension",
    b"link",
    b"issues",
    b"fullUrl",
    b"request",
    b"response",
    b"search",
];

/// Keys that only a Bundle's entry has.
const ENTRY: &[&[u8]] = &[b"fullUrl", b"resource", b"request", b"response", b"search", b"link"];

const ENDS_INSIDE: &str = "the file ends inside a record";
const NO_JSON: &str = "neither a JSON object nor what may stand around one";
const BROKEN: &str = "the JSON object is broken off or lacks a comma";
const TOO_DEEP: &str = "the JSON object is nested too deep";

/// No reader of JSON goes deeper. It also bounds how often the same bytes are looked at.
const DEEPEST: usize = 128;

/// Cuts the next object. With `bundles`, an object that is a FHIR Bundle is opened and its entries' resources are cut.
/// `first`: nothing stands before `view`.
pub(crate) fn cut(view: &[u8], first: bool, at_end: bool, bundles: bool) -> Cut {
    let mut at = 0;
    loop {
        at += view[at..].iter().take_while(|b| is_between(**b)).count();
        let Some(byte) = view.get(at) else { return skip_or_more(at) };
        match byte {
            b'{' => match if bundles { kind(view, at) } else { Some(Kind::Record) } {
                Some(Kind::Envelope) => at += 1,
                Some(Kind::Record) => return object(view, at, at_end),
                None if at_end => return skip_or_bad(at, view.len(), ENDS_INSIDE),
                None => return skip_or_more(at),
            },
            // Before the first brace there is no envelope: the file begins inside a record.
            b'"' if bundles && !(first && at == 0) => match envelope_key(view, at) {
                Member::After(next) => at = next,
                Member::Unknown if at > 0 => return Cut::Skip { len: at },
                Member::Unknown => return bad_line(view, None, at_end, NO_JSON),
                Member::Open if at_end => return skip_or_bad(at, view.len(), ENDS_INSIDE),
                Member::Open => return skip_or_more(at),
            },
            _ if at > 0 => return Cut::Skip { len: at },
            _ => return bad_line(view, None, at_end, NO_JSON),
        }
    }
}

/// Refuses files that are plainly something else.
pub(crate) fn refuse_other(head: &[u8]) -> Result<(), Fault> {
    match head.trim_ascii_start().first() {
        Some(b'<') => Err(Fault::new("expected JSON, the file begins like XML")),
        _ => Ok(()),
    }
}

fn object(view: &[u8], at: usize, at_end: bool) -> Cut {
    let opening = opening(&view[at..]);
    match end_of(view, at, opening, at_end) {
        End::At(end) => Cut::Record { skip: at, len: end - at },
        End::Open if !at_end => skip_or_more(at),
        end if at > 0 && !matches!(end, End::Open) => Cut::Skip { len: at },
        end => {
            let what = match end {
                End::Open => ENDS_INSIDE,
                End::TooDeep => TOO_DEEP,
                _ => BROKEN,
            };
            match resume(view, at, opening) {
                Some(next) => skip_or_bad(at, next - at, what),
                None if at_end => skip_or_bad(at, view.len() - at, what),
                None => skip_or_more(at),
            }
        }
    }
}

/// Where a record may begin after a broken one: on a line that begins with an object, or at an object that begins with
/// the same key.
fn resume(view: &[u8], at: usize, opening: Option<&[u8]>) -> Option<usize> {
    let rest = &view[at + 1..];
    let line = memmem::find(rest, b"\n{").map(|i| i + 1);
    let before = &rest[..line.unwrap_or(rest.len())];
    let same = opening.and_then(|opening| memmem::find(before, opening));
    same.or(line).map(|i| at + 1 + i)
}

/// What may stand between records.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b':' | b'[' | b']' | b'}')
}

#[derive(Clone, Copy)]
enum Kind {
    Record,
    Envelope,
}

/// Whether the object is a record or something around records; none while it cannot be told.
fn kind(view: &[u8], at: usize) -> Option<Kind> {
    let mut at = at + 1;
    loop {
        at += view[at..].iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
        if *view.get(at)? != b'"' {
            return Some(Kind::Record);
        }
        let end = match string_end(view, at) {
            End::At(end) => end,
            End::Open => return None,
            _ => return Some(Kind::Record),
        };
        let key = &view[at + 1..end - 1];
        at = end + view[end..].iter().take_while(|b| b.is_ascii_whitespace() || **b == b':').count();
        let first = *view.get(at)?;
        match key {
            b"resourceType" if first == b'"' => {
                return match string_end(view, at) {
                    End::At(end) if &view[at..end] == b"\"Bundle\"" => Some(Kind::Envelope),
                    End::Open => None,
                    _ => Some(Kind::Record),
                };
            }
            b"entry" if first == b'[' => return Some(Kind::Envelope),
            key if ENTRY.contains(&key) => return Some(Kind::Envelope),
            key if ENVELOPE.contains(&key) || key == b"text" || key == b"contained" => {
                match value_end(view, at) {
                    End::At(end) => at = end,
                    End::Open => return None,
                    _ => return Some(Kind::Record),
                }
            }
            _ => return Some(Kind::Record),
        }
    }
}

enum Member {
    /// What follows stands here.
    After(usize),
    /// It ends beyond the bytes.
    Open,
    /// No key of an envelope.
    Unknown,
}

/// Passes over a key and, unless records may stand in it, its value.
fn envelope_key(view: &[u8], at: usize) -> Member {
    let end = match string_end(view, at) {
        End::At(end) => end,
        End::Open => return Member::Open,
        _ => return Member::Unknown,
    };
    let key = &view[at + 1..end - 1];
    let colon = end + view[end..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let value = match view.get(colon) {
        None => return Member::Open,
        Some(b':') => colon + 1 + view[colon + 1..].iter().take_while(|b| b.is_ascii_whitespace()).count(),
        Some(_) => return Member::Unknown,
    };
    let Some(first) = view.get(value) else { return Member::Open };
    match (key, first) {
        (b"resource", b'{') | (b"entry", b'[') => Member::After(value),
        // An event has a type too, but no code.
        (b"type", b'{' | b'[') => Member::Unknown,
        (key, _) if ENVELOPE.contains(&key) => match value_end(view, value) {
            End::At(end) if *first != b'"' && key != b"request" && has_event(&view[value..end]) => {
                Member::Unknown
            }
            End::At(end) => Member::After(end),
            End::Open => Member::Open,
            _ => Member::Unknown,
        },
        _ => Member::Unknown,
    }
}

/// Whether an event may be hidden in there.
fn has_event(value: &[u8]) -> bool {
    memmem::find(value, b"\"AuditEvent\"").is_some()
}

fn value_end(view: &[u8], at: usize) -> End {
    match view.get(at) {
        Some(b'{' | b'[') => end_of(view, at, None, false),
        Some(b'"') => string_end(view, at),
        _ => {
            let stop = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b'}' | b']');
            match view[at.min(view.len())..].iter().position(stop) {
                Some(length) => End::At(at + length),
                None => End::Open,
            }
        }
    }
}

/// The end of the string that begins at `at`. It is broken where the line ends before it does.
fn string_end(view: &[u8], at: usize) -> End {
    let mut at = at + 1;
    loop {
        match view.get(at..).and_then(|rest| memchr3(b'"', b'\\', b'\n', rest)).map(|i| at + i) {
            None => return End::Open,
            Some(found) => match view[found] {
                b'"' => return End::At(found + 1),
                b'\\' => at = found + 2,
                _ => return End::Broken(found),
            },
        }
    }
}

/// `{` and the first key, if they stand on one line: what the next record probably begins with too.
fn opening(object: &[u8]) -> Option<&[u8]> {
    let key = 1 + object[1..].iter().take(16).position(|b| *b != b' ')?;
    match string_end(object, key) {
        End::At(end) if object[key] == b'"' && end <= 64 => Some(&object[..end]),
        _ => None,
    }
}

#[derive(PartialEq)]
enum End {
    /// After the closing brace.
    At(usize),
    /// Not within the bytes.
    Open,
    /// What stands here cannot stand here.
    Broken(usize),
    TooDeep,
}

/// Follows braces, strings and commas from the brace at `at` to its partner.
fn end_of(view: &[u8], at: usize, opening: Option<&[u8]>, at_end: bool) -> End {
    let mut depth = 0usize;
    // True after a value: only a comma, a colon or a closing brace may follow.
    let mut after_value = false;
    let mut i = at;
    while let Some(byte) = view.get(i) {
        match byte {
            b'"' => {
                if after_value {
                    return End::Broken(i);
                }
                match string_end(view, i) {
                    End::At(end) => i = end,
                    broken => return broken,
                }
                after_value = true;
                continue;
            }
            b'{' | b'[' => {
                if after_value {
                    return End::Broken(i);
                }
                depth += 1;
                if depth > DEEPEST {
                    return End::TooDeep;
                }
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return End::At(i + 1);
                }
                after_value = true;
            }
            b',' | b':' => after_value = false,
            b'\n' => {
                if let Some(opening) = opening {
                    let next = &view[i + 1..];
                    if next.starts_with(opening) {
                        return End::Broken(i + 1);
                    }
                    if !at_end && opening.starts_with(next) {
                        return End::Open;
                    }
                }
            }
            b' ' | b'\t' | b'\r' => {}
            _ => {
                // A number or a word: all of it.
                if after_value {
                    return End::Broken(i);
                }
                let word = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'+' | b'-' | b'.');
                i += view[i..].iter().take_while(word).count().max(1);
                after_value = true;
                continue;
            }
        }
        i += 1;
    }
    End::Open
}
