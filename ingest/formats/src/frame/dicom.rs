//! Audit messages: bare elements, or syslog frames (RFC 5424, with or without octet counts) around them.

use memchr::memchr;

use super::xml::{self, Element, Markup};
use super::{skip_or_bad, skip_or_more};
use crate::format::Cut;

const NO_MESSAGE: &str = "a syslog line without an audit message";
const BROKEN: &str = "the audit message does not end before the next begins";
const ENDS_INSIDE: &str = "the file ends inside an audit message";

/// Cuts the next message, with its frame if it has one.
pub(crate) fn cut(view: &[u8], at_end: bool) -> Cut {
    let Some(at) = before_frame(view, at_end) else { return Cut::More };
    let frame = matches!((view.get(at), view.get(at + 1)), (Some(b'<'), Some(b'0'..=b'9')));
    if !frame {
        if at > 0 && at < view.len() {
            return Cut::Skip { len: at };
        }
        return xml::cut_elements(view, at_end, &MESSAGE);
    }
    match message(view, at, at_end) {
        Frame::Message { open, name, end, empty } => {
            if empty {
                return Cut::Record { skip: at, len: end - at };
            }
            match xml::element_end(view, open, name, end) {
                Element::Ends(end) => Cut::Record { skip: at, len: end - at },
                Element::Broken(next) => skip_or_bad(at, next - at, BROKEN),
                Element::Open if at_end => skip_or_bad(at, view.len() - at, ENDS_INSIDE),
                Element::Open => skip_or_more(at),
            }
        }
        Frame::Other(end) => skip_or_bad(at, end - at, NO_MESSAGE),
        Frame::Open if at_end => skip_or_bad(at, view.len() - at, ENDS_INSIDE),
        Frame::Open => skip_or_more(at),
    }
}

const MESSAGE: xml::Names = xml::Names { is_record: is_message, is_part };

fn is_message(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"AuditMessage")
}

fn is_part(name: &[u8]) -> bool {
    const PARTS: &[&[u8]] = &[
        b"EventIdentification",
        b"EventID",
        b"EventTypeCode",
        b"PurposeOfUse",
        b"ActiveParticipant",
        b"RoleIDCode",
    ];
    PARTS.contains(&name) || name.starts_with(b"AuditSource") || name.starts_with(b"ParticipantObject")
}

/// Length of blanks, byte order mark and octet count that stand first. None while that cannot be told.
fn before_frame(view: &[u8], at_end: bool) -> Option<usize> {
    let mut at = view.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let mark = b"\xEF\xBB\xBF";
    if view[at..].starts_with(mark) {
        at += mark.len();
    } else if !at_end && at < view.len() && mark.starts_with(&view[at..]) {
        return None;
    }
    let digits = view[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > 9 {
        // `<` alone may begin a frame or a tag.
        return if !at_end && view[at..] == *b"<" { None } else { Some(at) };
    }
    match view[at + digits..] {
        [b' ', b'<', b'0'..=b'9', ..] => Some(at + digits + 1),
        [] | [b' '] | [b' ', b'<'] if !at_end => None,
        _ => Some(at),
    }
}

enum Frame<'a> {
    Message {
        open: usize,
        name: &'a [u8],
        end: usize,
        empty: bool,
    },
    /// No message up to here.
    Other(usize),
    Open,
}

/// The message inside the frame at `at`. It begins on the frame's line, or with a tag on one of the next.
fn message(view: &[u8], at: usize, at_end: bool) -> Frame<'_> {
    let mut from = at + 1;
    loop {
        let tag = memchr(b'<', &view[from..]).map(|i| from + i);
        let line = memchr(b'\n', &view[from..tag.unwrap_or(view.len())]).map(|i| from + i + 1);
        if let Some(line) = line {
            match view[line..].iter().find(|b| !b.is_ascii_whitespace()) {
                Some(b'<') => {}
                Some(_) => return Frame::Other(line),
                None if at_end => return Frame::Other(line),
                None => return Frame::Open,
            }
        }
        let Some(tag) = tag else {
            return if at_end { Frame::Other(view.len()) } else { Frame::Open };
        };
        match view.get(tag + 1) {
            None if at_end => return Frame::Other(view.len()),
            None => return Frame::Open,
            Some(b'0'..=b'9') if line.is_some() => return Frame::Other(tag),
            Some(b'?' | b'!') => match xml::markup(view, tag) {
                Markup::Other(end) => from = end,
                _ => return Frame::Open,
            },
            Some(b) if b.is_ascii_alphabetic() || *b == b'_' => match xml::markup(view, tag) {
                Markup::Start { name, end, empty } if is_message(xml::local(name)) => {
                    return Frame::Message { open: tag, name, end, empty };
                }
                Markup::Open => return Frame::Open,
                _ => return other_line(view, tag, at_end),
            },
            // A sign that happens to stand in the header.
            Some(_) => from = tag + 1,
        }
    }
}

fn other_line(view: &[u8], from: usize, at_end: bool) -> Frame<'static> {
    match memchr(b'\n', &view[from..]) {
        Some(i) => Frame::Other(from + i + 1),
        None if at_end => Frame::Other(view.len()),
        None => Frame::Open,
    }
}
