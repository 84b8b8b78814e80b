//! A workbook on its way to those who read a file: its text is made by a thread beside them.

use std::io::{self, BufReader, Read, Seek};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use insyn_formats::workbook;
pub use insyn_formats::workbook::{FIRST, RowStyle};

/// Text on its way from a workbook.
pub struct SheetText {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl SheetText {
    /// Begins to read the first sheet.
    pub fn of(workbook: impl Read + Seek + Send + 'static, style: RowStyle) -> io::Result<SheetText> {
        let (sender, chunks) = sync_channel(2);
        let work = move || {
            let give = |chunk| sender.send(Ok(chunk)).is_ok();
            if let Err(fault) = workbook::write(BufReader::new(workbook), style, give) {
                drop(sender.send(Err(fault)));
            }
        };
        thread::Builder::new().name("insyn-sheet".into()).spawn(work)?;
        Ok(SheetText { chunks, chunk: Vec::new(), at: 0 })
    }
}

impl Read for SheetText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let rest = self.chunk.get(self.at..).unwrap_or(&[]);
        let n = rest.len().min(buffer.len());
        let (to, from) = (buffer.get_mut(..n), rest.get(..n));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}
