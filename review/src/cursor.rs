//! Paging by place, not by number: a page goes on after the last row seen, whatever came or went before it.

use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// Rows of a page, at most.
pub(crate) const MOST: usize = 1000;

/// One page of a list, and where the next one starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opaque; `None` at the end.
    pub next: Option<String>,
}

/// A place in a list that is ordered by score, then time, both falling, then id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub score: i64,
    pub at: i64,
    pub id: String,
}

impl Place {
    /// Text that goes into an address; it names no person.
    pub fn encode(&self) -> String {
        let text = format!("{}.{}.{}", self.score, self.at, self.id);
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn decode(cursor: &str) -> Result<Place, Refusal> {
        let place = || -> Option<Place> {
            if cursor.len() > 400 || !cursor.len().is_multiple_of(2) || !cursor.is_ascii() {
                return None;
            }
            let bytes: Option<Vec<u8>> = (0..cursor.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&cursor[at..at + 2], 16).ok())
                .collect();
            let text = String::from_utf8(bytes?).ok()?;
            let mut parts = text.splitn(3, '.');
            Some(Place {
                score: parts.next()?.parse().ok()?,
                at: parts.next()?.parse().ok()?,
                id: parts.next().filter(|id| !id.is_empty())?.to_owned(),
            })
        };
        place().ok_or(Refusal::BadCursor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_nothing_else_is_taken() {
        let place = Place { score: 73, at: -5, id: "a.b.ö".to_owned() };
        assert_eq!(Place::decode(&place.encode()).unwrap(), place);
        for bad in ["", "0", "zz", "öö", "312e32", "312e322e", &"31".repeat(300), "+1"] {
            assert_eq!(Place::decode(bad), Err(Refusal::BadCursor), "{bad}");
        }
    }
}
