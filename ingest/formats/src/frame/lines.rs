use regex::Regex;

use super::{Look, skip_or_more};
use crate::format::Cut;

/// Lines, or blocks of lines of which the first matches `start`.
#[derive(Debug)]
pub(crate) struct Lines {
    pub start: Option<Regex>,
}

impl Lines {
    pub(crate) fn cut(&self, look: Look<'_>) -> Cut {
        let skip = blank_lines(look.view, look.at_end);
        if skip == look.view.len() {
            return skip_or_more(skip);
        }
        let Some(mut end) = line_end(look.view, skip, look.at_end) else { return skip_or_more(skip) };
        if let Some(start) = &self.start {
            // The block ends before the next line that starts one; blank lines at its end are not its own.
            loop {
                let next = (end + 1).min(look.view.len());
                if next == look.view.len() && look.at_end {
                    break;
                }
                let Some(next_end) = line_end(look.view, next, look.at_end) else {
                    return skip_or_more(skip);
                };
                if look.text(next, trim(look.view, next, next_end)).is_ok_and(|line| start.is_match(&line)) {
                    break;
                }
                end = next_end;
            }
        }
        let len = trim(look.view, skip, end) - skip;
        Cut::Record { skip, len }
    }
}

/// Length of the blank lines that come first; at the end of the stream also of a last one without its feed.
pub(crate) fn blank_lines(view: &[u8], at_end: bool) -> usize {
    let mut whole = 0;
    for (i, b) in view.iter().enumerate() {
        match b {
            b'\n' => whole = i + 1,
            b'\r' | b' ' | b'\t' => {}
            _ => return whole,
        }
    }
    if at_end { view.len() } else { whole }
}

/// Where the line's feed is, or the end of the stream.
pub(crate) fn line_end(view: &[u8], from: usize, at_end: bool) -> Option<usize> {
    memchr::memchr(b'\n', &view[from..]).map(|i| from + i).or(at_end.then_some(view.len()))
}

/// The end without the carriage returns and line feeds before it.
pub(crate) fn trim(view: &[u8], from: usize, end: usize) -> usize {
    let kept = view[from..end].iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
    kept.map_or(from, |last| from + last + 1)
}
