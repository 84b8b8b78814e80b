//! Why reading stopped.

use std::path::PathBuf;

use insyn_engine::disk::LowDisk;
use insyn_engine::error::EngineError;
use insyn_engine::lake::LakeError;

/// Why a source could not be read, as one sentence for whoever runs it. No value of a record is in it.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A source's configuration is wrong.
    #[error("source {name}: {fault}")]
    Config {
        /// Which source.
        name: String,
        /// What is wrong.
        fault: crate::SourceFault,
    },
    /// A file or folder could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as "cannot read".
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the lake remembers of a source cannot be understood.
    #[error("source {name}: its positions in the lake cannot be read: {source}")]
    State {
        /// Which source.
        name: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The disk is nearly full.
    #[error(transparent)]
    LowDisk(#[from] LowDisk),
    /// The lake refused or failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// What is stored could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such source.
    #[error("no source is called \"{name}\"")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// There is nothing that could be explained.
    #[error("source {name}: nothing of what was asked for is open")]
    NothingOpen {
        /// Which source.
        name: String,
    },
    /// What is kept of a source cannot be read again; nothing was changed.
    #[error("source {name} cannot be read again: {why}; nothing was changed")]
    Again {
        /// Which source.
        name: String,
        /// Why.
        why: String,
    },
    /// A worker ended without an answer.
    #[error("reading was cut off: {0}")]
    Cut(String),
}

impl IngestError {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> IngestError {
        let path = path.into();
        move |source| IngestError::Io { doing, path, source }
    }
}
