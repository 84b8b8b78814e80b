//! Where a message of syslog ends in a stream: octet counting (RFC 5425, RFC 6587), else the line.

/// What is longer is no message.
pub const LONGEST: usize = 16 << 20;

/// What stands first.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A message after `skip` bytes.
    Message {
        /// Bytes before it: its count, and what may stand between messages.
        skip: usize,
        /// Its own bytes, without a line's end.
        len: usize,
    },
    /// It goes on beyond these bytes.
    More,
    /// Where the next message begins can never be told.
    Lost(&'static str),
}

/// Says what is first in `bytes`, which begin where a message may.
#[must_use]
pub fn cut(bytes: &[u8]) -> Piece {
    let between = |byte: &&u8| matches!(byte, b'\n' | b'\r' | b' ' | 0);
    let skip = bytes.iter().take_while(between).count();
    let rest = bytes.get(skip..).unwrap_or_default();
    match rest.first() {
        None => Piece::More,
        Some(b'1'..=b'9') => counted(skip, rest),
        Some(_) => match memchr::memchr(b'\n', rest) {
            Some(end) => {
                let line = rest.get(..end).unwrap_or_default();
                Piece::Message { skip, len: line.strip_suffix(b"\r").unwrap_or(line).len() }
            }
            None if rest.len() > LONGEST => Piece::Lost("a message longer than 16 MiB"),
            None => Piece::More,
        },
    }
}

fn counted(skip: usize, rest: &[u8]) -> Piece {
    let digits = rest.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let count = rest.get(..digits).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
    match (count, rest.get(digits)) {
        (_, None) if digits < 10 => Piece::More,
        (Some(len), Some(b' ')) if len > LONGEST => Piece::Lost("a message longer than 16 MiB"),
        (Some(len), Some(b' ')) if rest.len() > digits + len => {
            // Some count a line's end in, which is no more a part of the record than it is in a file.
            let message = rest.get(digits + 1..=digits + len).unwrap_or_default();
            let end = message.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
            Piece::Message { skip: skip + digits + 1, len: end.map_or(0, |last| last + 1) }
        }
        (Some(_), Some(b' ')) => Piece::More,
        _ => Piece::Lost("a count of octets without a blank after it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> (Vec<&[u8]>, Piece) {
        let (mut at, mut messages) = (0, Vec::new());
        loop {
            match cut(&bytes[at..]) {
                Piece::Message { skip, len } => {
                    messages.push(&bytes[at + skip..at + skip + len]);
                    at += skip + len;
                }
                other => return (messages, other),
            }
        }
    }

    #[test]
    fn counts_and_lines_are_told_apart() {
        let (messages, rest) = all(b"7 <13>1 a8 <1>b\nc\r\n2 \n\n<13>plain line\r\n\n<14>next\n<15>not yet");
        assert_eq!(messages, [&b"<13>1 a"[..], b"<1>b\nc", b"", b"<13>plain line", b"<14>next"]);
        assert_eq!(rest, Piece::More);
        for more in [&b""[..], b"\n", b"12", b"12 <13>", b"5 abcd"] {
            assert_eq!(cut(more), Piece::More, "{more:?}");
        }
        for lost in [&b"12x"[..], b"99999999999999", b"99999999 <"] {
            assert!(matches!(cut(lost), Piece::Lost(_)), "{lost:?}");
        }
    }
}
