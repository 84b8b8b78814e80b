//! What both XML formats need: attributes and text, entities resolved, none but XML's own five known.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart};

use crate::columns::some;
use crate::error::Fault;

/// Elements inside each other that no log record has.
pub(crate) const DEEPEST: usize = 64;

pub(crate) fn reader(text: &str) -> Reader<&[u8]> {
    Reader::from_str(text)
}

pub(crate) fn fault(error: quick_xml::Error) -> Fault {
    // The library's own words may quote the document.
    let what = match error {
        quick_xml::Error::IllFormed(_) => "elements that do not match",
        quick_xml::Error::Syntax(_) => "markup that does not end",
        quick_xml::Error::InvalidAttr(_) => "a broken attribute",
        quick_xml::Error::Escape(_) => "an entity that is not defined",
        quick_xml::Error::Encoding(_) => "not valid UTF-8",
        _ => "broken markup",
    };
    Fault::new(format!("not valid XML: {what}"))
}

/// An attribute by name, case not counted. One with a prefix belongs to another namespace, or declares one.
pub(crate) fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, Fault> {
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| Fault::new("not valid XML: a broken attribute"))?;
        if attribute.key.as_ref().eq_ignore_ascii_case(name.as_bytes()) {
            let value = attribute.unescape_value().map_err(fault)?;
            return Ok(some(&value));
        }
    }
    Ok(None)
}

/// The text of `&…;`.
pub(crate) fn reference(reference: &BytesRef<'_>, into: &mut String) -> Result<(), Fault> {
    if let Some(c) = reference.resolve_char_ref().map_err(fault)? {
        into.push(c);
        return Ok(());
    }
    let name: &[u8] = reference;
    into.push(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        _ => return Err(Fault::new("not valid XML: an entity that is not defined")),
    });
    Ok(())
}
