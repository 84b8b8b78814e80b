use std::fmt;

/// A configuration that cannot be: which key, what stands there, what should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: found {found}, expected {expected}")]
pub struct FormatError {
    /// The key inside `[[source]]`, with dots: `fields.user_id`.
    pub key: String,
    /// What was found there.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

impl FormatError {
    pub(crate) fn new(
        key: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> FormatError {
        FormatError { key: key.into(), found: found.into(), expected: expected.into() }
    }
}

/// Why a record cannot be read. It names column and fault, never the value, so that an operator can mend the matter
/// without reading whose record it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The column that could not be filled, where it is one.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Fault {
        Fault { column: None, what: what.into() }
    }

    /// A fault of one column.
    pub fn of(column: &str, what: impl Into<String>) -> Fault {
        Fault { column: Some(column.to_string()), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Fault {}
