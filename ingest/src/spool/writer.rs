//! One thread that writes: what waits is written together, flushed once, and then each is told.

use std::io;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::error::IngestError;

/// Pieces that may wait for the disk; whoever comes then waits to be heard.
const WAITING: usize = 256;

/// Why nothing was written.
pub(super) struct Failed {
    pub path: PathBuf,
    pub error: io::Error,
}

/// Hands pieces `P` to the thread; for each it answers with a `T`. Clones hand to the same thread.
#[derive(Debug)]
pub(super) struct Writer<P, T> {
    waiting: mpsc::Sender<Waiting<P, T>>,
}

#[derive(Debug)]
struct Waiting<P, T> {
    piece: P,
    told: oneshot::Sender<Result<T, IngestError>>,
}

impl<P, T> Clone for Writer<P, T> {
    fn clone(&self) -> Writer<P, T> {
        Writer { waiting: self.waiting.clone() }
    }
}

impl<P: Send + 'static, T: Send + 'static> Writer<P, T> {
    /// Starts the thread. `write` puts all pieces on disk or none, and answers one for each.
    pub fn start(
        name: &str,
        mut write: impl FnMut(&[P]) -> Result<Vec<T>, Failed> + Send + 'static,
    ) -> io::Result<Writer<P, T>> {
        let (waiting, mut pieces) = mpsc::channel::<Waiting<P, T>>(WAITING);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(first) = pieces.blocking_recv() {
                let (mut group, mut tell) = (vec![first.piece], vec![first.told]);
                while let Ok(next) = pieces.try_recv() {
                    group.push(next.piece);
                    tell.push(next.told);
                }
                answer(write(&group), tell);
            }
        })?;
        Ok(Writer { waiting })
    }

    /// When this returns, the piece is on disk.
    pub async fn write(&self, piece: P) -> Result<T, IngestError> {
        let gone = || IngestError::Cut("the thread that writes to the spool has ended".to_owned());
        let (told, heard) = oneshot::channel();
        self.waiting.send(Waiting { piece, told }).await.map_err(|_| gone())?;
        heard.await.map_err(|_| gone())?
    }
}

/// Whoever asked may have gone; what they sent is written down all the same.
fn answer<T>(outcome: Result<Vec<T>, Failed>, tell: Vec<oneshot::Sender<Result<T, IngestError>>>) {
    match outcome {
        Ok(answers) => tell.into_iter().zip(answers).for_each(|(told, answer)| {
            let _ = told.send(Ok(answer));
        }),
        Err(Failed { path, error }) => tell.into_iter().for_each(|told| {
            let again = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            let _ = told.send(Err(IngestError::io("cannot write", path.clone())(again)));
        }),
    }
}
