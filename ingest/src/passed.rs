//! What lay between a file's records: line feeds as a rule, of which only the kind is remembered; whatever else, as it
//! was, while it is little.

use serde::{Deserialize, Serialize};

/// So many bytes that are no plain line ends are remembered of a file.
const MOST: usize = 256;
/// At so many places.
const MOST_PLACES: usize = 16;

/// A line feed, without and with the carriage return before it.
type LineEnds = [&'static [u8]; 2];

/// What reading passed over, so that what lies around it can be laid out as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// How its lines end.
    #[serde(default)]
    ends: Ends,
    /// Where something else was passed over, and what, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other: Vec<(u64, Other)>,
    /// What was passed over behind this is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_from: Option<u64>,
}

/// Bytes that travel as text, each as the character of its number: they are white space and punctuation as a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Other(Vec<u8>);

impl From<String> for Other {
    fn from(text: String) -> Other {
        Other(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect())
    }
}

impl From<Other> for String {
    fn from(other: Other) -> String {
        other.0.into_iter().map(char::from).collect()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ends {
    /// No record was met yet. What stands before the first, as a header row does, lies between none.
    #[default]
    Unmet,
    /// A record was met, but no line feed after it.
    Unseen,
    Lf,
    Crlf,
}

impl Passed {
    /// Of a file of which nothing is remembered any more.
    pub fn forgotten() -> Passed {
        Passed { unknown_from: Some(0), ..Passed::default() }
    }

    /// A record, or something in its place.
    pub fn met(&mut self) {
        if self.ends == Ends::Unmet {
            self.ends = Ends::Unseen;
        }
    }

    /// Remembers `bytes` at `at`, which belong to no record.
    pub fn note(&mut self, at: u64, bytes: &[u8], ends: LineEnds) {
        if bytes.is_empty() || self.ends == Ends::Unmet || self.unknown_from.is_some() {
            return;
        }
        if self.ends == Ends::Unseen {
            self.ends = kind(bytes, ends);
        }
        let end = self.line_end(ends);
        if bytes.chunks(end.len()).all(|unit| unit == end) {
            return;
        }
        let held: usize = self.other.iter().map(|(_, Other(bytes))| bytes.len()).sum();
        let places = self.other.len();
        match self.other.last_mut() {
            _ if held + bytes.len() > MOST => self.unknown(at),
            Some((from, Other(last))) if *from + last.len() as u64 == at => last.extend(bytes),
            _ if places == MOST_PLACES => self.unknown(at),
            _ => self.other.push((at, Other(bytes.to_vec()))),
        }
    }

    /// Something that was read is not kept: what lies around it cannot be laid out.
    pub fn unknown(&mut self, at: u64) {
        self.unknown_from = Some(self.unknown_from.map_or(at, |known| known.min(at)));
    }

    /// Whether all that was passed over before `to` is known.
    pub fn is_known(&self, to: u64) -> bool {
        self.unknown_from.is_none_or(|unknown| to <= unknown)
    }

    /// What lay in this stretch between records; none where that is not known.
    pub fn between(&self, from: u64, to: u64, ends: LineEnds) -> Option<Vec<u8>> {
        if !self.is_known(to) {
            return None;
        }
        let (mut bytes, mut at) = (Vec::new(), from);
        while at < to {
            let next = self.other_at(at).unwrap_or_else(|| self.line_end(ends));
            bytes.extend(next);
            at += next.len() as u64;
        }
        (at == to).then_some(bytes)
    }

    /// Where the last that is no line end of the file's kind ends; 0 where there is none.
    pub fn end_of_other(&self) -> u64 {
        self.other.last().map_or(0, |(from, Other(bytes))| from + bytes.len() as u64)
    }

    fn other_at(&self, at: u64) -> Option<&[u8]> {
        let before = self.other.partition_point(|(from, _)| *from <= at).checked_sub(1)?;
        let (from, Other(bytes)) = self.other.get(before)?;
        bytes.get(usize::try_from(at - from).ok()?..).filter(|rest| !rest.is_empty())
    }

    fn line_end(&self, [feed, with_return]: LineEnds) -> &'static [u8] {
        if self.ends == Ends::Crlf { with_return } else { feed }
    }
}

/// How the first line ends.
fn kind(bytes: &[u8], [feed, with_return]: LineEnds) -> Ends {
    let Some(at) = bytes.chunks(feed.len()).position(|unit| unit == feed) else { return Ends::Unseen };
    match bytes.get(..(at + 1) * feed.len()).is_some_and(|bytes| bytes.ends_with(with_return)) {
        true => Ends::Crlf,
        false => Ends::Lf,
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    const PLAIN: LineEnds = [b"\n", b"\r\n"];
    const WIDE: LineEnds = [b"\n\0", b"\r\0\n\0"];

    fn noted(stretches: &[(u64, &[u8])], ends: LineEnds) -> Passed {
        let mut passed = Passed::default();
        passed.note(0, b"a header row\n", ends);
        passed.met();
        stretches.iter().for_each(|(at, bytes)| passed.note(*at, bytes, ends));
        passed
    }

    #[test]
    fn line_ends_of_the_files_kind_are_given_back_by_their_number() {
        for (first, ends, kept) in [
            (b"\n".as_slice(), PLAIN, b"\n\n".as_slice()),
            (b"\r\n", PLAIN, b"\r\n\r\n"),
            (b"\r\0\n\0", WIDE, b"\r\0\n\0\r\0\n\0"),
        ] {
            let passed = noted(&[(10, first), (20, kept)], ends);
            assert!(passed.other.is_empty(), "{passed:?}");
            assert_eq!(passed.between(40, 40 + kept.len() as u64, ends).as_deref(), Some(kept));
        }
        assert_eq!(noted(&[(10, b"\r\n")], PLAIN).between(40, 43, PLAIN), None, "half a line end");
    }

    #[test]
    fn anything_else_is_given_back_as_it_was_while_it_is_little() {
        let mut passed = noted(&[(10, b"\n"), (20, b"\n\r"), (22, b"\n"), (30, b" \t\n")], PLAIN);
        assert_eq!(passed.between(20, 23, PLAIN), Some(b"\n\r\n".to_vec()));
        assert_eq!(passed.between(21, 22, PLAIN), Some(b"\r".to_vec()));
        assert_eq!(passed.between(30, 34, PLAIN), Some(b" \t\n\n".to_vec()));
        passed.note(50, &[b' '; MOST], PLAIN);
        assert_eq!(
            passed.between(30, 50, PLAIN).map(|known| known.len()),
            Some(20),
            "up to there all is known"
        );
        assert_eq!(passed.between(30, 51, PLAIN), None);
        let kept = serde_json::to_string(&passed).expect("JSON");
        assert_eq!(serde_json::from_str::<Passed>(&kept).expect("the same"), passed, "{kept}");
        let many: Vec<(u64, &[u8])> = (0..100).map(|n| (n * 10, b",\n".as_slice())).collect();
        let many = noted(&many, PLAIN);
        assert_eq!((many.other.len(), many.unknown_from), (MOST_PLACES, Some(160)));
        assert_eq!(Passed::forgotten().between(0, 1, PLAIN), None);
    }
}
