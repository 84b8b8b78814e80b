//! Where a trace goes on: after the last row of the page before, by time and place, so that rows which come meanwhile
//! neither repeat nor hide others. It names no person.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::problem::Problem;

/// How many rows at the instant of the last row have been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// µs UTC of the last row given.
    pub(crate) at: i64,
    /// The segment and the place in it of that row.
    pub(crate) segment: i64,
    pub(crate) seq: i64,
}

impl Cursor {
    pub(crate) fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("1.{}.{}.{}", self.at, self.segment, self.seq))
    }

    pub(crate) fn decode(text: &str) -> Result<Cursor, Problem> {
        let wrong = || Problem::bad_request("bad_cursor", "cursor: expected the `cursor` of the page before");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let mut parts = text.splitn(4, '.');
        let mut next = || parts.next().ok_or_else(wrong);
        if next()? != "1" {
            return Err(wrong());
        }
        let mut number = || next()?.parse::<i64>().map_err(|_| wrong());
        Ok(Cursor { at: number()?, segment: number()?, seq: number()? })
    }

    /// Whether a row comes after this place.
    pub(crate) fn is_before(self, at: i64, segment: i64, seq: i64) -> bool {
        (at, segment, seq) > (self.at, self.segment, self.seq)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_others_are_refused() {
        for cursor in [Cursor { at: 5, segment: 2, seq: 0 }, Cursor { at: -7, segment: i64::MAX, seq: 9 }] {
            assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }
        for text in ["", "x", "!!", &URL_SAFE_NO_PAD.encode("1.2.3"), &URL_SAFE_NO_PAD.encode("2.1.1.1")] {
            assert_eq!(Cursor::decode(text).unwrap_err().code, "bad_cursor", "{text}");
        }
    }

    #[test]
    fn order_is_time_then_segment_then_place() {
        let cursor = Cursor { at: 5, segment: 2, seq: 3 };
        for (row, after) in
            [((5, 2, 3), false), ((5, 2, 4), true), ((5, 1, 9), false), ((4, 9, 9), false), ((6, 0, 0), true)]
        {
            assert_eq!(cursor.is_before(row.0, row.1, row.2), after, "{row:?}");
        }
    }
}
