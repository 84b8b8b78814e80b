//! Character sets: which one a file is in, and a record's bytes as text without loss.

use std::borrow::Cow;

use encoding_rs::{ISO_8859_15, WINDOWS_1252};

use crate::error::{Fault, FormatError};
use crate::nearest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Windows1252,
    Latin1,
    Latin9,
    Utf16Le,
    Utf16Be,
}

const NAMES: &[(&str, Encoding)] = &[
    ("utf-8", Encoding::Utf8),
    ("utf8", Encoding::Utf8),
    ("windows-1252", Encoding::Windows1252),
    ("cp1252", Encoding::Windows1252),
    ("iso-8859-1", Encoding::Latin1),
    ("latin1", Encoding::Latin1),
    ("us-ascii", Encoding::Utf8),
    ("iso-8859-15", Encoding::Latin9),
    ("utf-16", Encoding::Utf16Le),
    ("utf-16le", Encoding::Utf16Le),
    ("utf-16be", Encoding::Utf16Be),
];

/// A prolog that has not ended after this many bytes is none.
const PROLOG: usize = 512;

impl Encoding {
    pub(crate) fn named(name: &str) -> Result<Encoding, FormatError> {
        known(name).ok_or_else(|| {
            let hint = nearest(name, NAMES.iter().map(|(n, _)| *n))
                .map(|n| format!(" (did you mean `{n}`?)"))
                .unwrap_or_default();
            let all = "utf-8, windows-1252, iso-8859-1, iso-8859-15, utf-16, utf-16le or utf-16be";
            FormatError::new("encoding", format!("`{name}`"), format!("{all}{hint}"))
        })
    }

    /// The encoding of a file by its first bytes, and the length of its byte order mark. None while they are too few
    /// to tell. A byte order mark wins over configuration, configuration over an XML prolog.
    pub(crate) fn of_file(
        configured: Option<Encoding>,
        head: &[u8],
        xml: bool,
        at_end: bool,
    ) -> Option<(Encoding, usize)> {
        let marks: [(&[u8], Encoding); 3] = [
            (b"\xEF\xBB\xBF", Encoding::Utf8),
            (b"\xFF\xFE", Encoding::Utf16Le),
            (b"\xFE\xFF", Encoding::Utf16Be),
        ];
        for (mark, encoding) in marks {
            if head.starts_with(mark) {
                return Some((encoding, mark.len()));
            }
            if !at_end && mark.starts_with(head) {
                return None;
            }
        }
        if let Some(configured) = configured {
            return Some((configured, 0));
        }
        if !xml {
            return Some((Encoding::Utf8, 0));
        }
        for (start, encoding) in [(b"<\0?\0", Encoding::Utf16Le), (b"\0<\0?", Encoding::Utf16Be)] {
            if head.starts_with(start) {
                return Some((encoding, 0));
            }
            if !at_end && start.starts_with(head) {
                return None;
            }
        }
        let Some(prolog) = head.trim_ascii_start().strip_prefix(b"<?xml") else {
            return Some((Encoding::Utf8, 0)).filter(|_| at_end || head.trim_ascii_start().len() >= 5);
        };
        match memchr::memmem::find(&prolog[..prolog.len().min(PROLOG)], b"?>") {
            Some(end) => Some((prolog_encoding(&prolog[..end]).unwrap_or(Encoding::Utf8), 0)),
            None if at_end || prolog.len() >= PROLOG => Some((Encoding::Utf8, 0)),
            None => None,
        }
    }

    /// Bytes in one unit that framing looks at.
    pub(crate) fn width(self) -> usize {
        match self {
            Encoding::Utf16Le | Encoding::Utf16Be => 2,
            _ => 1,
        }
    }

    /// The bytes as text, so that encoding the text again would give the same bytes.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
        match self {
            Encoding::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(_) => Err(Fault::new(format!("not valid UTF-8{}", guess(bytes)))),
            },
            Encoding::Windows1252 | Encoding::Latin1 | Encoding::Latin9 => self.decode_single(bytes),
            Encoding::Utf16Le => decode_utf16(bytes, u16::from_le_bytes),
            Encoding::Utf16Be => decode_utf16(bytes, u16::from_be_bytes),
        }
    }

    /// The bytes that [`Encoding::decode`] made this text of; none where it cannot have.
    pub(crate) fn encode(self, text: &str) -> Option<Vec<u8>> {
        let table = |encoding: &'static encoding_rs::Encoding| {
            let (bytes, _, unmappable) = encoding.encode(text);
            (!unmappable).then(|| bytes.into_owned())
        };
        match self {
            Encoding::Utf8 => Some(text.as_bytes().to_vec()),
            Encoding::Windows1252 => table(WINDOWS_1252),
            Encoding::Latin9 => table(ISO_8859_15),
            Encoding::Latin1 => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
            Encoding::Utf16Le => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Encoding::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        }
    }

    fn decode_single(self, bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
        if bytes.is_ascii()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return Ok(Cow::Borrowed(text));
        }
        if is_swedish_utf8(bytes) {
            return Err(Fault::new(format!("not {}; this looks like UTF-8", self.name())));
        }
        Ok(match self {
            Encoding::Latin9 => ISO_8859_15.decode_without_bom_handling(bytes).0,
            Encoding::Latin1 => encoding_rs::mem::decode_latin1(bytes),
            _ => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Windows1252 => "windows-1252",
            Encoding::Latin1 => "ISO-8859-1",
            Encoding::Latin9 => "ISO-8859-15",
            Encoding::Utf16Le => "UTF-16LE",
            Encoding::Utf16Be => "UTF-16BE",
        }
    }
}

fn known(name: &str) -> Option<Encoding> {
    NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, e)| *e)
}

fn prolog_encoding(prolog: &[u8]) -> Option<Encoding> {
    let text = std::str::from_utf8(prolog).ok()?;
    let value = text.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let name = value[1..].split(quote).next()?;
    // A prolog that can be read byte by byte is not in UTF-16, whatever it says.
    known(name).filter(|e| e.width() == 1)
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, Fault> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let fault = || Fault::new("not valid UTF-16");
    if !rest.is_empty() {
        return Err(fault());
    }
    let text = char::decode_utf16(pairs.iter().map(|p| unit(*p))).collect::<Result<String, _>>();
    text.map(Cow::Owned).map_err(|_| fault())
}

/// What bytes that are no UTF-8 look like.
fn guess(bytes: &[u8]) -> &'static str {
    let zeros = bytes.iter().filter(|b| **b == 0).count();
    if zeros * 4 > bytes.len() {
        return "; this looks like UTF-16";
    }
    // Letters, and the dashes and quotation marks that word processors write.
    let letter =
        |b: &u8| b.is_ascii() || matches!(b, 0xC0..=0xFF | 0x91..=0x97 | 0x80 | 0x85 | 0xA0 | 0xA7 | 0xB0);
    if bytes.iter().all(letter) { "; this looks like windows-1252" } else { "" }
}

/// Valid UTF-8 with å, ä, ö and their like and no other letters: in a one-byte encoding that would read `Ã¥`, which
/// nobody writes.
fn is_swedish_utf8(bytes: &[u8]) -> bool {
    let lead = |b: &&u8| matches!(**b, 0xC2..=0xF4);
    bytes.contains(&0xC3)
        && bytes.iter().filter(lead).all(|b| *b == 0xC3 || *b == 0xC2)
        && std::str::from_utf8(bytes).is_ok()
}

/// A UTF-16 stream as one byte a unit: ASCII as itself, everything else as a byte that no framing looks for. Kept
/// between calls, so that a buffer that is looked at many times is turned once.
#[derive(Debug, Default)]
pub(crate) struct Units {
    start: u64,
    bytes: Vec<u8>,
}

/// A byte that is neither ASCII nor looked for.
const OTHER: u8 = 0xFF;

/// Turned bytes that lie behind the present place are let go when they are more than this.
const KEEP: usize = 1 << 20;

impl Units {
    pub(crate) fn view(&mut self, buf: &[u8], offset: u64, big_endian: bool) -> &[u8] {
        let behind = offset.checked_sub(self.start).filter(|b| b % 2 == 0).map(|b| (b / 2) as usize);
        let place = match behind {
            Some(place) if place <= self.bytes.len() => place,
            _ => {
                self.bytes.clear();
                self.start = offset;
                0
            }
        };
        let wanted = buf.len() / 2;
        let have = (self.bytes.len() - place).min(wanted);
        self.bytes.truncate(place + have);
        self.bytes.extend(buf[have * 2..wanted * 2].as_chunks::<2>().0.iter().map(|pair| {
            let [low, high] = if big_endian { [pair[1], pair[0]] } else { *pair };
            if high == 0 && low < 0x80 { low } else { OTHER }
        }));
        if place > KEEP {
            self.bytes.drain(..place);
            self.start = offset;
            return &self.bytes;
        }
        &self.bytes[place..]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wrong_guess_is_named() {
        let swedish = b"H\xE4lsov\xE5rd \x96 \xD6ster";
        let fault = Encoding::Utf8.decode(swedish).unwrap_err();
        assert_eq!(fault.to_string(), "not valid UTF-8; this looks like windows-1252");
        assert_eq!(Encoding::Windows1252.decode(swedish).unwrap(), "Hälsovård – Öster");
        let fault = Encoding::Windows1252.decode("Hälsovård".as_bytes()).unwrap_err();
        assert_eq!(fault.to_string(), "not windows-1252; this looks like UTF-8");
        let fault = Encoding::Utf8.decode(b"\xFFa\0b\0c\0d\0").unwrap_err();
        assert_eq!(fault.to_string(), "not valid UTF-8; this looks like UTF-16");
        assert_eq!(Encoding::Utf8.decode(b"\x81\x01").unwrap_err().to_string(), "not valid UTF-8");
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        for encoding in [Encoding::Windows1252, Encoding::Latin1, Encoding::Latin9] {
            let text = encoding.decode(&all).unwrap();
            assert_eq!(encoding.encode(&text).as_deref(), Some(&all[..]), "{encoding:?}");
            assert_eq!(encoding.encode("\u{1F600}"), None, "{encoding:?} has no such character");
        }
        for (_, encoding) in NAMES {
            assert_eq!(Encoding::named(encoding.name()).unwrap(), *encoding);
            let bytes = encoding.encode("Åsa; \"x\"\n").unwrap();
            assert_eq!(encoding.decode(&bytes).unwrap(), "Åsa; \"x\"\n");
        }
    }

    #[test]
    fn the_encoding_of_a_file() {
        let of = |head: &[u8], xml| Encoding::of_file(None, head, xml, false);
        assert_eq!(of(b"\xEF\xBB\xBFabc", false), Some((Encoding::Utf8, 3)));
        assert_eq!(of(b"\xEF\xBB", false), None);
        assert_eq!(of(b"", false), None);
        assert_eq!(of(b"\xFF\xFEa\0", false), Some((Encoding::Utf16Le, 2)));
        assert_eq!(of(b"a", false), Some((Encoding::Utf8, 0)));
        assert_eq!(of(b"<?xml version='1.0' encoding='ISO-8859-1'?>", true), Some((Encoding::Latin1, 0)));
        assert_eq!(of(b"<?xml version='1.0' enc", true), None);
        assert_eq!(of(b"<?xml version='1.0' encoding=\"UTF-16\"?>", true), Some((Encoding::Utf8, 0)));
        assert_eq!(of(b"<\0?\0x\0", true), Some((Encoding::Utf16Le, 0)));
        let configured =
            Encoding::of_file(Some(Encoding::Windows1252), b"<?xml encoding='utf-8'?>", true, false);
        assert_eq!(configured, Some((Encoding::Windows1252, 0)));
    }
}
