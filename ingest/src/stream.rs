//! A log file as decompressed bytes, from a position on.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

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
}

impl Packing {
    /// Tells by the magic number.
    pub fn of(first: &[u8]) -> Packing {
        match first {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            _ => Packing::Plain,
        }
    }
}

/// An open file.
pub struct Stream {
    inner: Box<dyn Read + Send>,
    /// How it is packed.
    pub packing: Packing,
}

impl Stream {
    /// Opens at a position in decompressed bytes. What lies before is read and thrown away where the packing does not
    /// allow to jump.
    pub fn open(path: &Path, position: u64) -> io::Result<Stream> {
        let mut file = File::open(path)?;
        let mut first = [0; 6];
        let read = fill(&mut file, &mut first)?;
        let packing = Packing::of(first.get(..read).unwrap_or(&[]));
        if packing == Packing::Plain {
            file.seek(SeekFrom::Start(position))?;
            return Ok(Stream { inner: Box::new(file), packing });
        }
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 16, file);
        let mut inner: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            _ => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        };
        let skipped = io::copy(&mut (&mut inner).take(position), &mut io::sink())?;
        if skipped < position {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Stream { inner, packing })
    }

    /// Fills the buffer as far as the file goes; fewer bytes mean its present end.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        fill(&mut self.inner, buffer)
    }
}

fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The first decompressed bytes, at most `len`; fewer where the file is shorter, or is packed and not whole yet.
pub fn head(path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let mut stream = Stream::open(path, 0)?;
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let Some(rest) = bytes.get_mut(filled..) else { break };
        match stream.inner.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if stream.packing != Packing::Plain => break,
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The bytes from `from` to `to`, or none where the file does not reach that far.
pub fn range(path: &Path, from: u64, to: u64) -> io::Result<Option<Vec<u8>>> {
    let mut stream = match Stream::open(path, from) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut bytes = vec![0; (to - from) as usize];
    match stream.fill(&mut bytes) {
        Ok(read) if read == bytes.len() => Ok(Some(bytes)),
        Ok(_) => Ok(None),
        Err(_) if stream.packing != Packing::Plain => Ok(None),
        Err(error) => Err(error),
    }
}
