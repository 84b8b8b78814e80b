//! Who sends: a token that another room knows, or a certificate.

use std::future::Future;
use std::pin::Pin;

/// What a bearer token says, asked of whoever keeps tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// It holds and may send logs; its name.
    Sender(String),
    /// It holds, for something else.
    Other,
    /// It is unknown, expired or revoked.
    Unknown,
}

/// Knows tokens.
pub trait Gate: Send + Sync {
    /// What this token says.
    ///
    /// # Errors
    /// When it cannot be looked up now, as a sentence.
    fn token<'a>(
        &'a self,
        bearer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Token, String>> + Send + 'a>>;
}
