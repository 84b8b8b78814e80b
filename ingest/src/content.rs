//! A log file's decompressed bytes, all from one open file: what happens to its name meanwhile changes nothing.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::sheet::{self, RowStyle, SheetText};

/// How a file is packed, by its first bytes, never by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// RFC 1952, also with several members.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The xz format.
    Xz,
    /// A workbook, where rows are asked for.
    Sheet,
}

impl Packing {
    fn of(first: &[u8]) -> Packing {
        match first {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::Plain,
        }
    }
}

/// An open file.
#[derive(Debug, Clone)]
pub struct Content {
    file: Arc<File>,
    packing: Packing,
    /// How a workbook's rows are written.
    rows: RowStyle,
    /// As if it ended here.
    end: u64,
}

/// Its bytes from some position on.
pub type Bytes = Box<dyn Read + Send>;

impl Content {
    /// Opens the file and looks how it is packed. `rows` says how the rows of a workbook are to be written, where the
    /// file may be one.
    pub fn open(path: &Path, rows: Option<RowStyle>) -> io::Result<Content> {
        let file = Arc::new(File::open(path)?);
        let mut first = [0; 6];
        let read = fill(&mut At { file: Arc::clone(&file), position: 0, end: u64::MAX }, &mut first)?;
        let packing = match Packing::of(first.get(..read).unwrap_or(&[])) {
            Packing::Plain if rows.is_some() && first.starts_with(sheet::FIRST) => Packing::Sheet,
            packing => packing,
        };
        let rows = rows.unwrap_or_default();
        Ok(Content { file, packing, rows, end: u64::MAX })
    }

    /// Whether nobody writes to it, by the lock that the writers of the spool hold; as long as this lives, none can.
    pub fn is_left(&self) -> bool {
        self.file.try_lock().is_ok()
    }

    /// Flushes what was written so far, and never reads beyond it: what a loss of power could still take back is not
    /// there yet.
    pub fn only_durable(self) -> io::Result<Content> {
        let end = self.file.metadata()?.len();
        self.file.sync_data()?;
        Ok(Content { end, ..self })
    }

    /// Whether it is packed: then it was closed before it came here, and its end is an end.
    pub fn is_packed(&self) -> bool {
        self.packing != Packing::Plain
    }

    /// The first bytes, at most `len`; fewer where there are no more, or the packing ends too early.
    pub fn head(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; len];
        let (filled, fault) = fill_some(&mut self.start()?, &mut head);
        head.truncate(filled);
        match fault {
            Some(fault) if !self.is_packed() || fault.kind() == io::ErrorKind::Unsupported => Err(fault),
            _ => Ok(head),
        }
    }

    /// The bytes from `from` to `to`, and what follows them; none where the file does not reach that far.
    pub fn split_at(&self, from: u64, to: u64) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        let mut bytes: Bytes = if self.is_packed() {
            let mut bytes = self.start()?;
            match io::copy(&mut (&mut bytes).take(from), &mut io::sink()) {
                Ok(skipped) if skipped == from => bytes,
                Ok(_) => return Ok(None),
                Err(_) => return Ok(None),
            }
        } else {
            Box::new(At { file: Arc::clone(&self.file), position: from, end: self.end })
        };
        let mut part = vec![0; to.saturating_sub(from) as usize];
        match fill(&mut bytes, &mut part) {
            Ok(read) if read == part.len() => Ok(Some((part, bytes))),
            Ok(_) => Ok(None),
            Err(_) if self.is_packed() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All bytes from the first.
    pub fn start(&self) -> io::Result<Bytes> {
        let raw = At { file: Arc::clone(&self.file), position: 0, end: self.end };
        let buffered = |raw| BufReader::with_capacity(1 << 16, raw);
        Ok(match self.packing {
            Packing::Plain => Box::new(raw),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(raw))),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffered(raw))?),
            Packing::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered(raw))),
            Packing::Sheet => Box::new(SheetText::of(raw, self.rows)?),
        })
    }
}

/// Reads until the buffer is full, the bytes end, or a fault; says how many came before it. Fewer without a fault
/// mean the present end.
pub fn fill_some(from: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    match fill_some(from, buffer) {
        (filled, None) => Ok(filled),
        (_, Some(error)) => Err(error),
    }
}

/// How the bytes of one file stand to those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The first file's bytes are the beginning of the second's, or all of them.
    Begins,
    /// The first goes on where the second ends.
    Exceeds,
    /// Each has bytes that the other lacks.
    Differs,
}

/// Compares from the first byte on, as far as both go.
pub fn compare(first: &Content, second: &Content) -> io::Result<Likeness> {
    let (mut a, mut b) = (first.start()?, second.start()?);
    let mut buffers = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read_a = as_far_as_it_goes(first, fill_some(&mut a, &mut buffers.0))?;
        let read_b = as_far_as_it_goes(second, fill_some(&mut b, &mut buffers.1))?;
        let both = read_a.min(read_b);
        if buffers.0.get(..both) != buffers.1.get(..both) {
            return Ok(Likeness::Differs);
        }
        if read_a > read_b {
            return Ok(Likeness::Exceeds);
        }
        if read_a < buffers.0.len() {
            return Ok(Likeness::Begins);
        }
    }
}

/// A packing that ends too early ends there.
fn as_far_as_it_goes(content: &Content, (filled, fault): (usize, Option<io::Error>)) -> io::Result<usize> {
    match fault {
        Some(fault) if !content.is_packed() => Err(fault),
        _ => Ok(filled),
    }
}

/// Reads at places, so that several readers share one open file.
struct At {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Seek for At {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().min(self.end).checked_add_signed(by),
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or(&mut []), self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Plain | Packing::Sheet => text.to_vec(),
            Packing::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(text).unwrap();
                out.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(text, 1).unwrap(),
            Packing::Xz => {
                let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
                out.write_all(text).unwrap();
                out.finish().unwrap()
            }
        }
    }

    fn open(bytes: &[u8]) -> Content {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Content::open(file.path(), None).unwrap()
    }

    const EVERY: [Packing; 4] = [Packing::Plain, Packing::Gzip, Packing::Zstd, Packing::Xz];

    #[test]
    fn every_packing_gives_the_same_bytes() {
        let text: Vec<u8> = (0..300_000u64).map(|n| (n * n % 251) as u8).collect();
        for packing in EVERY {
            let content = open(&packed(packing, &text));
            assert_eq!(content.packing, packing);
            assert_eq!(content.head(5000).unwrap(), &text[..5000]);
            let (part, mut rest) = content.split_at(100_000, 100_010).unwrap().unwrap();
            assert_eq!(part, &text[100_000..100_010]);
            let mut after = Vec::new();
            rest.read_to_end(&mut after).unwrap();
            assert_eq!(after, &text[100_010..]);
            assert!(content.split_at(299_999, 300_001).unwrap().is_none(), "beyond the end");
            for other in EVERY {
                let whole = open(&packed(other, &text));
                let part = open(&packed(other, &text[..200_000]));
                assert_eq!(compare(&content, &whole).unwrap(), Likeness::Begins);
                assert_eq!(compare(&part, &content).unwrap(), Likeness::Begins);
                assert_eq!(compare(&content, &part).unwrap(), Likeness::Exceeds);
                let differs = open(&packed(other, &text[1..]));
                assert_eq!(compare(&content, &differs).unwrap(), Likeness::Differs);
            }
        }
    }

    #[test]
    fn a_packing_that_ends_too_early_gives_what_it_has() {
        let text: Vec<u8> =
            (0..300_000u64).map(|n| (n.wrapping_mul(n).wrapping_mul(2_654_435_761) >> 17) as u8).collect();
        for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz] {
            let whole = packed(packing, &text);
            let content = open(&whole[..whole.len() / 2]);
            let head = content.head(text.len()).unwrap();
            assert!(head.len() < text.len() && text.starts_with(&head), "{packing:?}");
            assert!(content.split_at(0, text.len() as u64).unwrap().is_none());
        }
    }

    #[test]
    fn a_name_that_goes_elsewhere_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"first").unwrap();
        let content = Content::open(&path, None).unwrap();
        std::fs::rename(&path, folder.path().join("b")).unwrap();
        std::fs::write(&path, b"other").unwrap();
        assert_eq!(content.head(10).unwrap(), b"first");
    }
}
