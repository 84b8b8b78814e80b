//! What may stand around records: all that reading passes over is checked here, by rules that know no framing.

use insyn_formats::{FormatConfig, FormatName, spool};

use super::Piece;

/// What lies before, between and after the pieces, and where.
pub fn gaps<'a>(log: &'a [u8], pieces: &[Piece]) -> Vec<(usize, &'a [u8])> {
    let mut from = 0;
    let ends = pieces.iter().map(|piece| (piece.offset(), piece.end())).chain([(log.len(), log.len())]);
    let gap = |(offset, end)| (std::mem::replace(&mut from, end), offset);
    ends.map(gap).filter(|(from, to)| from < to).map(|(from, to)| (from, &log[from..to])).collect()
}

/// # Panics
/// When something was passed over that is neither blank nor envelope.
pub fn check(config: &FormatConfig, log: &[u8], pieces: &[Piece]) {
    let gaps = gaps(log, pieces);
    if spool::id_of(log).is_some() {
        return gaps.iter().for_each(|(_, gap)| spooled(gap));
    }
    let high = high_byte(config, log);
    let passed: Vec<Vec<u8>> = gaps.into_iter().map(|(at, gap)| narrow(high, at, gap)).collect();
    match config.format {
        FormatName::Pattern => passed.iter().for_each(|gap| only(gap, b"")),
        FormatName::Json => passed.iter().for_each(|gap| only(gap, b",:[]}")),
        FormatName::FhirAuditEvent => passed.iter().for_each(|gap| fhir(gap)),
        FormatName::RivtaLog => passed.iter().for_each(|gap| xml(gap, &["log", "accesslog"])),
        FormatName::DicomAudit => passed.iter().for_each(|gap| xml(gap, &["auditmessage"])),
        FormatName::Delimited => delimited(config, &passed),
    }
}

/// One byte for each character, without the byte order mark that stands first.
fn narrow(high: Option<usize>, at: usize, gap: &[u8]) -> Vec<u8> {
    let (text, mark): (Vec<u8>, &[u8]) = match high {
        None => (gap.to_vec(), b"\xEF\xBB\xBF"),
        Some(high) => (gap.chunks(2).map(|unit| sign(unit, high)).collect(), b"\xFF"),
    };
    match text.strip_prefix(mark) {
        Some(rest) if at == 0 => rest.to_vec(),
        _ => text,
    }
}

fn sign(unit: &[u8], high: usize) -> u8 {
    match (unit.get(high), unit.get(1 - high)) {
        (Some(0), Some(low)) if low.is_ascii() => *low,
        _ => 0xFF,
    }
}

/// Which byte of a unit of UTF-16 is the high one; none where the log is not in UTF-16.
fn high_byte(config: &FormatConfig, log: &[u8]) -> Option<usize> {
    let xml = matches!(config.format, FormatName::RivtaLog | FormatName::DicomAudit);
    match (log, config.encoding.as_deref()) {
        ([0xEF, 0xBB, 0xBF, ..], _) => None,
        ([0xFF, 0xFE, ..], _) => Some(1),
        ([0xFE, 0xFF, ..], _) => Some(0),
        (_, Some("utf-16be")) => Some(0),
        ([b'<', 0, b'?', 0, ..], None) if xml => Some(1),
        ([0, b'<', 0, b'?', ..], None) if xml => Some(0),
        _ => None,
    }
}

fn only(gap: &[u8], signs: &[u8]) {
    let stray = gap.iter().find(|b| !b.is_ascii_whitespace() && !signs.contains(b));
    assert_eq!(stray, None, "passed over: {:?}", String::from_utf8_lossy(gap));
}

/// Counts, and of what was refused the reason.
fn spooled(gap: &[u8]) {
    for line in gap.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"insyn-spool 1 ")) {
        let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
        assert!(matches!(line[digits..], [] | [b' '] | [b'!', ..]), "passed over: {line:?}");
    }
}

/// No event: neither by itself nor inside of what else is there.
fn fhir(gap: &[u8]) {
    for at in gap.iter().enumerate().filter(|(_, b)| **b == b'{').map(|(at, _)| at) {
        let mut values = serde_json::Deserializer::from_slice(&gap[at..]).into_iter::<serde_json::Value>();
        if let Some(Ok(value)) = values.next() {
            assert_ne!(value["resourceType"], "AuditEvent", "passed over: {value}");
        }
    }
}

/// Markup, and text between a start tag and its end tag; no record's tag, no markup that is written as text.
fn xml(gap: &[u8], records: &[&str]) {
    let gap = String::from_utf8_lossy(gap);
    let mut rest = &*gap;
    let mut leaf = false;
    while let Some(open) = rest.find('<') {
        let (text, tag) = rest.split_at(open);
        let blank = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{FEFF}').is_empty();
        let ends = ["</", "<!", "<?"].iter().any(|sign| tag.starts_with(sign));
        assert!(blank || leaf && ends, "passed over: {gap:?}");
        assert!(!text.contains("&lt;"), "passed over: {gap:?}");
        let end =
            |from: usize, sign: &str| tag[from..].find(sign).map_or(tag.len(), |at| from + at + sign.len());
        let end = match tag.as_bytes().get(1) {
            Some(b'?') => end(2, "?>"),
            Some(b'!') if tag.starts_with("<!--") => end(4, "-->"),
            Some(b'!') => {
                assert!(!tag.starts_with("<![CDATA["), "passed over: {gap:?}");
                let subset = tag.find('[').is_some_and(|at| at < end(0, ">"));
                end(0, if subset { "]>" } else { ">" })
            }
            _ => {
                let name = tag.strip_prefix("</").unwrap_or(&tag[1..]);
                let name =
                    name.split(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '<')).next();
                let local = name.unwrap_or("").rsplit(':').next().unwrap_or("").to_ascii_lowercase();
                assert!(!records.contains(&local.as_str()), "passed over: {gap:?}");
                let end = tag_end(tag);
                let named = name.is_some_and(|name| {
                    name.starts_with(|c: char| {
                        !c.is_ascii() || c.is_ascii_alphabetic() || matches!(c, '_' | ':')
                    })
                });
                assert!(named && tag[..end].ends_with('>'), "passed over: {gap:?}");
                leaf = !tag.starts_with("</") && !tag[..end].ends_with("/>");
                end
            }
        };
        rest = &tag[end..];
    }
    let rest = rest.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{FEFF}');
    // What is left may be the count of octets before a message of syslog.
    let count = records.contains(&"auditmessage") && rest.bytes().all(|b| b.is_ascii_digit());
    assert!(rest.is_empty() || count, "passed over: {gap:?}");
}

/// Where a tag ends, or the next begins; `>` may stand in quotes.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    for (at, c) in tag.char_indices().skip(1) {
        match (quote, c) {
            (_, '<') => return at,
            (None, '>') => return at + 1,
            (None, '"' | '\'') if !tag.starts_with("</") => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// Lines before the header row, the row itself, and later the same row again.
fn delimited(config: &FormatConfig, passed: &[Vec<u8>]) {
    let Some((first, others)) = passed.split_first() else { return };
    if config.columns.is_some() {
        return passed.iter().for_each(|gap| only(gap, b""));
    }
    let is_hint = |line: &&[u8]| line.len() == 5 && line.to_ascii_lowercase().starts_with(b"sep=");
    let header: Vec<&[u8]> =
        lines(first).skip(config.skip_lines.unwrap_or(0) as usize).skip_while(is_hint).collect();
    let quotes = header.concat().iter().filter(|b| **b == b'"').count();
    let one = header.iter().all(|line| *line == header[0]);
    // Only a quoted name may run over the line's end.
    assert!(one || quotes > 1, "passed over: {:?}", String::from_utf8_lossy(first));
    for gap in others {
        let stray = lines(gap).find(|line| !header.contains(line));
        assert_eq!(stray, None, "passed over: {:?}", String::from_utf8_lossy(gap));
    }
}

fn lines(gap: &[u8]) -> impl Iterator<Item = &[u8]> {
    gap.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}
