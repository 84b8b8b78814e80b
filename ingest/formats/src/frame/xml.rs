//! Elements of one name out of XML documents, whatever stands around them.

use memchr::{memchr, memchr2, memmem};

use super::{bad_line, skip_or_bad, skip_or_more};
use crate::error::Fault;
use crate::format::Cut;

const ENDS_INSIDE: &str = "the file ends inside a record";
const BROKEN: &str = "the record's element does not end before the next begins";
const TEXT: &str = "text outside of any element";
const NO_TAG: &str = "a tag that is broken off or has no name";
const ESCAPED: &str = "markup that is written as text";
const LOST: &str = "a part of a record whose beginning is not there";

/// What records are called, and elements that stand nowhere but inside of one. Local names.
pub(crate) struct Names {
    pub is_record: fn(&[u8]) -> bool,
    pub is_part: fn(&[u8]) -> bool,
}

/// Elements of a log that hold text.
const PARTS: &[&[u8]] = &[
    b"logId",
    b"systemId",
    b"systemName",
    b"activityType",
    b"activityLevel",
    b"activityArgs",
    b"startDate",
    b"purpose",
    b"userId",
    b"personId",
    b"assignment",
    b"resourceType",
    b"patientId",
    b"patientName",
    b"root",
    b"extension",
    b"careProviderId",
    b"careProviderName",
    b"careUnitId",
    b"careUnitName",
    b"accessDate",
    b"userName",
    b"userTitle",
];

const LOG: Names = Names {
    is_record: |name| name.eq_ignore_ascii_case(b"log") || name.eq_ignore_ascii_case(b"accessLog"),
    is_part: |name| PARTS.iter().any(|part| name.eq_ignore_ascii_case(part)),
};

/// Cuts the next `log` or `accessLog` element, by local name, in either spelling.
pub(crate) fn cut(view: &[u8], at_end: bool) -> Cut {
    cut_elements(view, at_end, &LOG)
}

/// Refuses files that are plainly something else.
pub(crate) fn refuse_other(head: &[u8]) -> Result<(), Fault> {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match head.first() {
        Some(b'{' | b'[') => Err(Fault::new("expected XML, the file begins like JSON")),
        Some(b'<') if head.len() > 4 && head[1..5].eq_ignore_ascii_case(b"html") => {
            Err(Fault::new("expected log elements, the file is an HTML page"))
        }
        _ => Ok(()),
    }
}

/// Cuts the next element whose local name is a record's. Tags around records are passed over, with the text that
/// stands directly between a start tag and its end tag; other text goes to quarantine, and so does what has lost the
/// record that it was a part of.
pub(crate) fn cut_elements(view: &[u8], at_end: bool, names: &Names) -> Cut {
    // Everything before `safe` is done with and looks the same from there.
    let (mut at, mut safe) = (0, 0);
    let (mut in_leaf, mut has_text) = (false, false);
    loop {
        if !in_leaf {
            at += view[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
            safe = at;
            if view.get(at).is_some_and(|b| *b != b'<') {
                let open = memchr2(b'<', b'\n', &view[at..]).map(|i| at + i).filter(|i| view[*i] == b'<');
                return if at > 0 { Cut::Skip { len: at } } else { bad_line(view, open, at_end, TEXT) };
            }
        }
        let Some(open) = memchr(b'<', &view[at..]).map(|i| at + i) else {
            return match (in_leaf, at_end) {
                (false, _) => skip_or_more(view.len()),
                (true, true) => skip_or_bad(safe, view.len() - safe, "the file ends inside an element"),
                (true, false) => skip_or_more(safe),
            };
        };
        let text = &view[at..open];
        has_text |= !text.iter().all(u8::is_ascii_whitespace);
        if memmem::find(text, b"&lt;").is_some() {
            return skip_or_bad(safe, open - safe, ESCAPED);
        }
        let ends_leaf = match view.get(open + 1) {
            None if at_end => return skip_or_bad(safe, view.len() - safe, "the file ends inside a tag"),
            None => return skip_or_more(safe),
            Some(next) => matches!(next, b'/' | b'!' | b'?'),
        };
        if has_text && !ends_leaf {
            return skip_or_bad(safe, open - safe, TEXT);
        }
        if view[open + 1].is_ascii_digit() {
            // A syslog priority; whoever knows those looks again from here.
            return if open > 0 { Cut::Skip { len: open } } else { bad_line(view, None, at_end, TEXT) };
        }
        match markup(view, open) {
            Markup::Open if at_end => {
                return skip_or_bad(safe, view.len() - safe, "the file ends inside a tag");
            }
            Markup::Open => return skip_or_more(safe),
            Markup::Other(end) if view[open..].starts_with(b"<![CDATA[") => {
                return skip_or_bad(safe, end - safe, ESCAPED);
            }
            Markup::Other(end) => at = end,
            Markup::End(end) | Markup::Start { end, .. } if !is_tag(&view[open..end]) => {
                return skip_or_bad(safe, end - safe, NO_TAG);
            }
            Markup::End(end) if (names.is_record)(local(name_at(&view[open + 1..]))) => {
                return skip_or_bad(safe, end - safe, LOST);
            }
            Markup::End(end) => (at, in_leaf, has_text) = (end, false, false),
            Markup::Start { name, end, empty } if (names.is_record)(local(name)) => {
                if empty {
                    return Cut::Record { skip: open, len: end - open };
                }
                return match element_end(view, open, name, end) {
                    Element::Ends(end) => Cut::Record { skip: open, len: end - open },
                    Element::Broken(next) => skip_or_bad(open, next - open, BROKEN),
                    Element::Open if at_end => skip_or_bad(open, view.len() - open, ENDS_INSIDE),
                    Element::Open => skip_or_more(open),
                };
            }
            Markup::Start { name, .. } if (names.is_part)(local(name)) => {
                return match rest_of_record(view, open, names) {
                    Some(end) => skip_or_bad(open, end - open, LOST),
                    None if at_end => skip_or_bad(open, view.len() - open, LOST),
                    None => skip_or_more(open),
                };
            }
            Markup::Start { end, empty, .. } => {
                (at, safe, in_leaf) = (end, open, !empty);
            }
        }
    }
}

/// Where a record ends that has lost its beginning: after its end tag, or before the next one.
fn rest_of_record(view: &[u8], from: usize, names: &Names) -> Option<usize> {
    let mut at = from;
    loop {
        at += 1 + memchr(b'<', &view[at + 1..])?;
        let rest = &view[at + 1..];
        let name = name_at(rest);
        // Whether the name goes on cannot be told before something follows it.
        let whole = name.len() + usize::from(rest.first() == Some(&b'/')) < rest.len();
        match rest.first()? {
            b'0'..=b'9' => return Some(at),
            b'?' if rest.starts_with(b"?xml ") => return Some(at),
            b'?' | b'!' => match markup(view, at) {
                Markup::Other(end) => at = end - 1,
                _ => return None,
            },
            _ if !whole => return None,
            b'/' if (names.is_record)(local(name)) => {
                return match markup(view, at) {
                    Markup::End(end) => Some(end),
                    _ => None,
                };
            }
            b'/' => {}
            _ if (names.is_record)(local(name)) => return Some(at),
            _ => {}
        }
    }
}

/// Whether it has a name and its own end.
fn is_tag(tag: &[u8]) -> bool {
    let is_first = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b':' | 0x80..);
    tag.ends_with(b">") && name_at(&tag[1..]).first().is_some_and(is_first)
}

/// The name of the tag whose bytes after `<` these are.
fn name_at(tag: &[u8]) -> &[u8] {
    let tag = tag.strip_prefix(b"/").unwrap_or(tag);
    let stop = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'>' | b'<');
    &tag[..tag.iter().position(stop).unwrap_or(tag.len())]
}

pub(crate) enum Markup<'a> {
    /// It ends beyond the bytes.
    Open,
    /// A comment, CDATA, processing instruction or declaration.
    Other(usize),
    /// An end tag.
    End(usize),
    Start {
        name: &'a [u8],
        end: usize,
        empty: bool,
    },
}

/// What begins with the `<` at `at`.
pub(crate) fn markup(view: &[u8], at: usize) -> Markup<'_> {
    let rest = &view[at..];
    let until = |start: usize, end: &[u8]| match rest.get(start..).and_then(|r| memmem::find(r, end)) {
        Some(i) => Markup::Other(at + start + i + end.len()),
        None => Markup::Open,
    };
    match rest.get(1) {
        None => Markup::Open,
        Some(b'?') => until(2, b"?>"),
        Some(b'!') => {
            let opens = |with: &[u8]| rest.starts_with(with) || with.starts_with(rest);
            if opens(b"<!--") {
                until(4, b"-->")
            } else if opens(b"<![CDATA[") {
                until(9, b"]]>")
            } else {
                // A declaration; its internal subset stands in brackets.
                match rest.iter().position(|b| matches!(b, b'>' | b'[')) {
                    Some(i) if rest[i] == b'[' => until(i, b"]>"),
                    Some(i) => Markup::Other(at + i + 1),
                    None => Markup::Open,
                }
            }
        }
        Some(b'/') => match memchr2(b'>', b'<', &rest[1..]) {
            // Broken off where the next tag begins.
            Some(i) => Markup::End(at + 1 + i + usize::from(rest[1 + i] == b'>')),
            None => Markup::Open,
        },
        Some(_) => match tag_end(rest) {
            Some(end) => {
                let empty = rest[..end].ends_with(b"/>");
                Markup::Start { name: name_at(&rest[1..]), end: at + end, empty }
            }
            None => Markup::Open,
        },
    }
}

/// The end of a start tag; `>` may stand in its attributes' values, `<` nowhere: there a broken tag ends.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += tag.get(at..)?.iter().position(|b| matches!(b, b'<' | b'>' | b'"' | b'\''))?;
        match tag[at] {
            b'>' => return Some(at + 1),
            b'<' => return Some(at),
            quote => {
                at += 1 + memchr2(quote, b'<', &tag[at + 1..])?;
                if tag[at] == b'<' {
                    return Some(at);
                }
                at += 1;
            }
        }
    }
}

pub(crate) fn local(name: &[u8]) -> &[u8] {
    name.iter().rposition(|b| *b == b':').map_or(name, |i| &name[i + 1..])
}

pub(crate) enum Element {
    Ends(usize),
    Open,
    /// Another record begins here, inside of it.
    Broken(usize),
}

/// The end of the element `name` that begins at `open` and whose start tag ends at `end`.
pub(crate) fn element_end(view: &[u8], open: usize, name: &[u8], end: usize) -> Element {
    let own = namespace(&view[open..end]);
    let mut depth = 1usize;
    let mut at = end;
    loop {
        let Some(next) = view.get(at..).and_then(|rest| memchr(b'<', rest)).map(|i| at + i) else {
            return Element::Open;
        };
        let rest = &view[next + 1..];
        match rest.first() {
            None => return Element::Open,
            Some(b'0'..=b'9') => return Element::Broken(next),
            Some(b'/') => {
                let Some(close) = memchr2(b'>', b'<', rest) else { return Element::Open };
                if rest[close] == b'<' {
                    at = next + 1 + close;
                    continue;
                }
                if rest[1..close].trim_ascii_end() == name {
                    depth -= 1;
                    if depth == 0 {
                        return Element::Ends(next + 1 + close + 1);
                    }
                }
                at = next + 1 + close + 1;
            }
            Some(b'?') if rest.starts_with(b"?xml ") => return Element::Broken(next),
            Some(b'?' | b'!') => match markup(view, next) {
                // Whether it is a prolog cannot be told before it is whole.
                Markup::Other(end) => at = end,
                _ => return Element::Open,
            },
            Some(_) if !may_be(rest, name) => at = next + 1,
            Some(_) => match markup(view, next) {
                Markup::Start { name: other, end: inner, empty } if other == name => {
                    if namespace(&view[next..inner]) == own {
                        return Element::Broken(next);
                    }
                    depth += usize::from(!empty);
                    at = inner;
                }
                Markup::Open => return Element::Open,
                _ => at = next + 1,
            },
        }
    }
}

/// Whether a tag may have this name, as far as it is seen.
fn may_be(tag: &[u8], name: &[u8]) -> bool {
    if tag.len() <= name.len() { name.starts_with(tag) } else { tag.starts_with(name) }
}

/// The default namespace that a start tag declares: an element of the same name in another is an extension.
fn namespace(tag: &[u8]) -> Option<&[u8]> {
    let place = memmem::find(tag, b"xmlns=")? + 6;
    let quote = *tag.get(place)?;
    let value = &tag[place + 1..];
    memchr(quote, value).map(|end| &value[..end])
}
