//! Reads of what the system holds in memory already, on the thread that asks.
//!
//! Most of what a trace reads was read a while ago and is in the page cache: handing such a read to another thread takes
//! longer than the read. What would have to wait for the disk is not read here: it goes to a thread that may wait.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

/// More bytes than this are copied elsewhere: meanwhile nobody else gets on on this thread.
const MOST: u64 = 1 << 20;

/// The bytes of these ranges of a file; none where they are many, not all in memory, or anything else is in the way.
pub(super) fn read(path: &Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>();
    if bytes > MOST { None } else { held(path, ranges) }
}

#[cfg(target_os = "linux")]
fn held(path: &Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    use std::fs::File;
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    let file = File::open(path).ok()?;
    let range = |range: &Range<u64>| {
        let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = range.start.checked_add(filled as u64)?;
            match preadv2(&file, &mut [IoSliceMut::new(rest)], at, ReadWriteFlags::NOWAIT) {
                Ok(read) if read > 0 => filled += read,
                _ => return None,
            }
        }
        Some(Bytes::from(bytes))
    };
    ranges.iter().map(range).collect()
}

#[cfg(not(target_os = "linux"))]
fn held(_: &Path, _: &[Range<u64>]) -> Option<Vec<Bytes>> {
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_read_at_once_and_nothing_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        // Some file systems cannot say what is in memory: then nothing is read here.
        if let Some(read) = read(&path, &[2..5, 9..10, 4..4]) {
            assert_eq!(read, [Bytes::from("234"), Bytes::from("9"), Bytes::new()]);
        }
        assert_eq!(read(&path, &[8..12]), None, "beyond its end");
        assert_eq!(read(&path, &[0..MOST + 1]), None, "too much to copy here");
        assert_eq!(read(&folder.path().join("none"), &[0..1]), None);
    }
}
