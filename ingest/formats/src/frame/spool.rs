//! Files of the spool: what was received, each record after its length, whatever bytes it has.
//!
//! `insyn-spool 1 ID` and a line feed, then for each record `LENGTH`, a blank, its bytes and a line feed: octet counting,
//! as syslog over TLS has it. Of a record that was refused: `LENGTH`, `!`, why, a line feed, its bytes and a line feed.
//! The first line makes every such file begin otherwise than every other one.

use super::skip_or_bad;
use crate::format::Cut;

const MAGIC: &[u8] = b"insyn-spool 1 ";
/// A count of more digits is none.
const DIGITS: usize = 9;
/// A reason has at most so many characters.
const REASON: usize = 500;
const NO_FRAME: &str = "no count stands where a received record should begin";
const CUT_SHORT: &str = "the file ends inside a received record, which nobody was told is stored";

/// The first line of a new file.
pub fn header(id: &str) -> Vec<u8> {
    [MAGIC, id.as_bytes(), b"\n"].concat()
}

/// The id of the file that begins so; none where it is no file of the spool.
pub fn id_of(head: &[u8]) -> Option<&str> {
    let rest = head.strip_prefix(MAGIC)?;
    let end = memchr::memchr(b'\n', rest)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

/// Writes one record at the end of `out`, and why it was refused if it was; gives the place of its first byte in `out`.
pub fn push(out: &mut Vec<u8>, record: &[u8], refused: Option<&str>) -> usize {
    out.extend_from_slice(record.len().to_string().as_bytes());
    match refused {
        None => out.push(b' '),
        Some(why) => {
            let line = |c: char| if c.is_control() { ' ' } else { c };
            out.push(b'!');
            out.extend_from_slice(why.chars().take(REASON).map(line).collect::<String>().as_bytes());
            out.push(b'\n');
        }
    }
    let at = out.len();
    out.extend_from_slice(record);
    out.push(b'\n');
    at
}

/// Cuts the next record. `offset` is where `view` begins in the file.
pub(crate) fn cut(view: &[u8], offset: u64, at_end: bool) -> Cut {
    if offset == 0 && view.starts_with(MAGIC) {
        return match memchr::memchr(b'\n', view) {
            Some(end) => Cut::Skip { len: end + 1 },
            None if at_end => skip_or_bad(0, view.len(), CUT_SHORT),
            None => Cut::More,
        };
    }
    let skip = view.iter().take_while(|byte| **byte == b'\n').count();
    let rest = &view[skip..];
    let digits = rest.iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let more = || match at_end {
        true if rest.is_empty() => Cut::Skip { len: skip },
        true => skip_or_bad(skip, rest.len(), CUT_SHORT),
        false => super::skip_or_more(skip),
    };
    if digits == rest.len() {
        return more();
    }
    let count = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<usize>().ok());
    match (count, rest[digits]) {
        (Some(len @ 1..), b' ') if rest.len() - digits > len => Cut::Record { skip: skip + digits + 1, len },
        (Some(1..), b' ') => more(),
        (Some(len @ 1..), b'!') => match memchr::memchr(b'\n', rest) {
            Some(line) if rest.len() - line - 1 > len => Cut::Refused {
                skip: skip + line + 1,
                len,
                reason: String::from_utf8_lossy(&rest[digits + 1..line]).into_owned(),
            },
            _ => more(),
        },
        _ if skip > 0 => Cut::Skip { len: skip },
        _ => super::bad_line(view, None, at_end, NO_FRAME),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What comes out of a file, however it is parted: records as they went in, then what is bad.
    fn read(file: &[u8], piece: usize, at_end: bool) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut records, mut bad) = (Vec::new(), Vec::new());
        let (mut at, mut seen) = (0, 0);
        loop {
            match cut(&file[at..seen], at as u64, at_end && seen == file.len()) {
                Cut::Record { skip, len } => {
                    records.push(file[at + skip..at + skip + len].to_vec());
                    at += skip + len;
                }
                Cut::Skip { len } => at += len,
                Cut::Refused { skip, len, reason } => {
                    bad.push([reason.as_bytes(), &file[at + skip..at + skip + len]].concat());
                    at += skip + len;
                }
                Cut::Bad { len, .. } => {
                    bad.push(file[at..at + len].to_vec());
                    at += len;
                }
                Cut::More if seen == file.len() => return (records, bad),
                Cut::More => seen = (seen + piece).min(file.len()),
            }
            if at == file.len() {
                return (records, bad);
            }
        }
    }

    #[test]
    fn what_went_in_comes_out_however_it_is_parted() {
        let records: [&[u8]; 5] = [b"{\n \"a\": 1}\n\n", b"12 x", b"\xff\0\n7 ", b"\n", b"insyn-spool 1 x\n"];
        let mut file = header("a-1");
        let places = records.map(|record| push(&mut file, record, None));
        for piece in 1..file.len() {
            assert_eq!(read(&file, piece, false), (records.map(<[u8]>::to_vec).to_vec(), vec![]), "{piece}");
        }
        assert_eq!(id_of(&file), Some("a-1"));
        assert_eq!(id_of(b"insyn-spool 1 a-1"), None);
        for (record, at) in records.iter().zip(places) {
            assert_eq!(&file[at..at + record.len()], *record);
        }
    }

    #[test]
    fn what_was_refused_comes_out_with_the_reason() {
        let mut file = header("a-1");
        push(&mut file, b"{no\nJSON", Some("not valid\nJSON"));
        push(&mut file, b"good", None);
        for piece in 1..file.len() {
            let read = read(&file, piece, true);
            assert_eq!(read, (vec![b"good".to_vec()], vec![b"not valid JSON{no\nJSON".to_vec()]));
        }
    }

    #[test]
    fn a_torn_end_waits_and_is_bad_when_nothing_will_follow() {
        let mut file = header("a-1");
        push(&mut file, b"whole", None);
        let whole = file.len();
        push(&mut file, b"torn record", None);
        for end in whole + 1..file.len() - 1 {
            let torn = &file[..end];
            assert_eq!(read(torn, 7, false), (vec![b"whole".to_vec()], vec![]), "{end}");
            assert_eq!(read(torn, 7, true), (vec![b"whole".to_vec()], vec![torn[whole..].to_vec()]), "{end}");
        }
    }

    #[test]
    fn what_is_no_frame_is_bad_to_the_end_of_its_line() {
        for wrong in ["x\n", "12x\n", "0 \n", " 3 abc\n", "9999999999 x\n"] {
            let mut file = header("a-1");
            file.extend_from_slice(wrong.as_bytes());
            push(&mut file, b"next", None);
            assert_eq!(read(&file, 5, true), (vec![b"next".to_vec()], vec![wrong.as_bytes().to_vec()]));
        }
    }
}
