//! What can go wrong with the lake, in sentences that an operator can act on.

use std::path::{Path, PathBuf};

use super::types::Table;
use crate::bucket::{BUCKET, BucketError};
use crate::store::{STORE, StoreError, explain};

/// An error of the lake: names the thing, what was found and what was expected, never a value out of a record.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The url is no folder and no store that this version can use.
    #[error("lake url \"{url}\": {found}; expected {expected}")]
    Url { url: String, found: String, expected: &'static str },

    /// Another process holds the lake.
    #[error("{lake}: held for {what} by {holder}; end that first, or let it do the work")]
    Locked { lake: String, what: String, holder: String },

    /// The source was committed by someone else since its progress was read, or the number is not the next one.
    #[error(
        "source \"{source_name}\": batch {given} was given, but the lake holds batch {counted} (by {writer}) and expects {}; \
         read the progress again before going on", counted + 1
    )]
    SequenceTaken { source_name: String, given: i64, counted: i64, writer: String },

    /// A batch that does not hold together: a fault of the caller's.
    #[error("source \"{source_name}\": {what}")]
    Batch { source_name: String, what: String },

    /// A folder or file could not be used.
    #[error("{}: {what}", path.display())]
    Io { path: PathBuf, what: String },

    /// The disk is full, or the folder is not writable.
    #[error("{0}")]
    Store(object_store::Error),

    /// The bucket is not there, cannot be reached, or refuses.
    #[error("{0}")]
    Bucket(String),

    /// Delta's log could not be read.
    #[error("Delta table {table}: {what}")]
    Delta { table: &'static str, what: String },

    /// The log of a table holds something that Insyn did not write and cannot keep right.
    #[error("Delta table {table}, version {version}: found {found}; expected {expected}")]
    Unexpected { table: &'static str, version: u64, found: String, expected: &'static str },

    /// Others kept committing; nothing of this batch was counted.
    #[error("Delta table {table}: {attempts} attempts to commit met other commits each time; try again")]
    Contended { table: &'static str, attempts: usize },

    /// Parquet or Arrow refused the rows.
    #[error("writing rows of {table}: {what}")]
    Encode { table: &'static str, what: String },
}

impl LakeError {
    pub(super) fn io(path: &Path, error: &std::io::Error) -> LakeError {
        LakeError::Io { path: path.to_path_buf(), what: explain(error) }
    }

    pub(super) fn delta(table: Table, error: impl std::fmt::Display) -> LakeError {
        LakeError::Delta { table: table.name(), what: error.to_string() }
    }

    pub(super) fn encode(table: Table, error: impl std::fmt::Display) -> LakeError {
        LakeError::Encode { table: table.name(), what: error.to_string() }
    }
}

impl From<object_store::Error> for LakeError {
    /// Our own stores' errors are sentences already; those of others keep their words.
    fn from(error: object_store::Error) -> LakeError {
        if let object_store::Error::Generic { store: STORE, source } = &error
            && let Some(own) = source.downcast_ref::<StoreError>()
        {
            return LakeError::io(&own.path, &own.source);
        }
        if let object_store::Error::Generic { store: BUCKET, source } = &error
            && let Some(own) = source.downcast_ref::<BucketError>()
        {
            return LakeError::Bucket(own.0.clone());
        }
        LakeError::Store(error)
    }
}
