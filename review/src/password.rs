//! Passwords: argon2id in PHC form, checked away from the async threads, at most two at a time.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};

use crate::{db::Db, error::ReviewError};

/// Shortest password that is accepted, in characters. Length is worth more than rules on kinds of characters.
pub(crate) const SHORTEST: usize = 12;
/// Longest, in bytes: hashing takes what it is given, so it is given an end.
pub(crate) const LONGEST: usize = 1024;

/// What one evaluation of argon2id costs. The default is that of the `argon2` crate (19 MiB, two passes), which is also
/// what OWASP recommends; tests take less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB.
    pub memory: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        PasswordCost {
            memory: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
        }
    }
}

impl PasswordCost {
    /// As little as argon2id takes: for tests only.
    pub fn least() -> Self {
        PasswordCost { memory: Params::MIN_M_COST, passes: 1, lanes: 1 }
    }

    fn hasher(self) -> Result<Argon2<'static>, ReviewError> {
        let params = Params::new(self.memory, self.passes, self.lanes, None).map_err(failed)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    fn hash(self, password: &str) -> Result<String, ReviewError> {
        let salt: [u8; 16] = rand::random();
        let salt = SaltString::encode_b64(&salt).map_err(failed)?;
        Ok(self.hasher()?.hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
    }

    /// The hash of a random password that nobody knows.
    pub(crate) fn decoy(self) -> Result<String, ReviewError> {
        self.hash(&crate::token::secret())
    }
}

/// Says whether the password may be used at all.
pub(crate) fn check_strength(password: &str, login: &str) -> Result<(), ReviewError> {
    if password.chars().count() < SHORTEST {
        return Err(ReviewError::WeakPassword("expected at least 12 characters"));
    }
    if password.len() > LONGEST {
        return Err(ReviewError::WeakPassword("expected at most 1024 bytes"));
    }
    let lower = password.to_lowercase();
    if lower.contains(&login.to_lowercase()) && lower.len() < 2 * login.len().max(SHORTEST) {
        return Err(ReviewError::WeakPassword("expected more than the login with something around it"));
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return Err(ReviewError::WeakPassword("expected more than one character repeated"));
    }
    Ok(())
}

impl Db {
    pub(crate) async fn hash_password(&self, password: &str) -> Result<String, ReviewError> {
        let (cost, password) = (self.cost(), password.to_owned());
        self.off_thread(move || cost.hash(&password)).await?
    }

    /// Checks against `stored`, or, where there is none, does the same work in vain and answers false.
    pub(crate) async fn verify_password(
        &self,
        password: &str,
        stored: Option<String>,
    ) -> Result<bool, ReviewError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy().to_owned());
        // An overlong password is cut before the work and refused after it.
        let fits = password.len() <= LONGEST;
        let password = password.as_bytes()[..password.len().min(LONGEST)].to_vec();
        let same = self
            .off_thread(move || -> Result<bool, ReviewError> {
                let hash = PasswordHash::new(&stored).map_err(|e| ReviewError::Stored {
                    table: "users",
                    column: "password",
                    what: e.to_string(),
                })?;
                Ok(Argon2::default().verify_password(&password, &hash).is_ok())
            })
            .await??;
        Ok(known && fits && same)
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReviewError> {
        // The semaphore is never closed; were it, going on unbounded would be the lesser harm.
        let _permit = self.hashing().acquire().await.ok();
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| ReviewError::Database { doing: "checking a password", what: e.to_string() })
    }
}

fn failed(error: impl std::fmt::Display) -> ReviewError {
    ReviewError::Database { doing: "hashing a password", what: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn production_cost_is_argon2id_as_recommended() {
        let hash = PasswordCost::default().hash("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }

    #[test]
    fn strength() {
        for (password, login, good) in [
            ("correct horse", "anna", true),
            ("kortkort", "anna", false),
            ("aaaaaaaaaaaaaaaa", "anna", false),
            ("anna.andersson1", "anna.andersson", false),
            ("åäöåäöåäöåäö", "anna", true),
            ("jag heter anna och tycker om kaffe", "anna", true),
        ] {
            assert_eq!(check_strength(password, login).is_ok(), good, "{password}");
        }
        assert!(check_strength(&"ab".repeat(600), "anna").is_err());
    }
}
