//! Where a trace goes on: after the last row of the page before, by time and place, so that rows which come meanwhile
//! neither repeat nor hide others. It names no person.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use insyn_engine::trace::Place;

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

    /// The cursor after this row.
    pub(crate) fn at(row: Place) -> Cursor {
        Cursor { at: row.at, segment: row.segment, seq: row.seq.into() }
    }

    /// The row that it names.
    pub(crate) fn place(self) -> Place {
        // What no row has is after every row of its segment.
        Place { at: self.at, segment: self.segment, seq: i32::try_from(self.seq).unwrap_or(i32::MAX) }
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
}
