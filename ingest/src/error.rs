//! Why reading stopped.

use std::path::PathBuf;

use insyn_engine::disk::LowDisk;
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
