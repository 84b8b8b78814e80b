//! One-time codes (RFC 6238: SHA-1, six digits, 30 seconds, as every authenticator app has them).

use serde::Serialize;
use sqlx::Row;
use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, Secret, TOTP};

use crate::{
    db::{Db, commit},
    error::{Refusal, ReviewError, database},
    principal::Principal,
};

const STEP: u64 = 30;
/// Clocks of phones differ: the step before and the one after are taken too.
const SKEW: u64 = 1;
const ISSUER: &str = "Insyn";

/// The secret that an authenticator app and the database share: 20 bytes, written in base32.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(String);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

impl TotpSecret {
    /// A new one.
    pub fn generate() -> TotpSecret {
        let bytes: [u8; 20] = rand::random();
        TotpSecret(Secret::Raw(bytes.to_vec()).to_encoded().to_string())
    }

    /// Takes base32 with or without blanks, at least 16 bytes long.
    pub fn parse(base32: &str) -> Result<TotpSecret, ReviewError> {
        let text: String = base32.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
        let bad = || ReviewError::BadUser {
            what: "totp",
            problem: "expected a secret of at least 16 bytes in base32".to_owned(),
        };
        let bytes = Secret::Encoded(text.clone()).to_bytes().map_err(|_| bad())?;
        if bytes.len() < 16 { Err(bad()) } else { Ok(TotpSecret(text)) }
    }

    /// As a person types it into an app.
    pub fn as_base32(&self) -> &str {
        &self.0
    }

    /// What the QR code says.
    pub fn url(&self, login: &str) -> String {
        let label = percent(login);
        format!(
            "otpauth://totp/{ISSUER}:{label}?secret={}&issuer={ISSUER}&algorithm=SHA1&digits=6&period={STEP}",
            self.0
        )
    }

    /// The code of a moment (µs UTC): for tests and for the demo, which has nobody's phone.
    pub fn code(&self, at: i64) -> String {
        let seconds = u64::try_from(at / 1_000_000).unwrap_or(0);
        self.generator().generate(seconds)
    }

    /// The step that `code` belongs to, when it is one of those around `at` (µs UTC). Compares all of them always.
    fn step_of(&self, code: &str, at: i64) -> Option<i64> {
        let given: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let now = u64::try_from(at / 1_000_000).unwrap_or(0) / STEP;
        let generator = self.generator();
        let mut found = None;
        for step in now.saturating_sub(SKEW)..=now + SKEW {
            if bool::from(generator.generate(step * STEP).as_bytes().ct_eq(given.as_bytes())) {
                found = i64::try_from(step).ok();
            }
        }
        found
    }

    fn generator(&self) -> TOTP {
        // `parse` and `generate` made it, so it decodes; were the stored text damaged, no code would ever fit.
        let bytes = Secret::Encoded(self.0.clone())
            .to_bytes()
            .unwrap_or_else(|_| rand::random::<[u8; 20]>().to_vec());
        TOTP::new_unchecked(Algorithm::SHA1, 6, 0, STEP, bytes)
    }
}

/// What a person sees when they set up one-time codes.
#[derive(Debug, Clone, Serialize)]
pub struct Enrolment {
    /// To type in by hand.
    pub secret: String,
    /// To show as a QR code.
    pub url: String,
}

impl Db {
    /// Makes a secret and keeps it aside until [`Db::confirm_enrolment`] shows that the app has it. The old one holds
    /// until then.
    pub async fn begin_enrolment(&self, principal: &Principal) -> Result<Enrolment, ReviewError> {
        const DOING: &str = "setting up one-time codes";
        let secret = TotpSecret::generate();
        let mut tx = self.write(DOING).await?;
        let done = sqlx::query("UPDATE users SET totp_pending = $1 WHERE user_id = $2 AND disabled = 0")
            .bind(secret.as_base32())
            .bind(&principal.user_id)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        if done.rows_affected() == 0 {
            return Err(Refusal::UnknownUser.into());
        }
        Ok(Enrolment { secret: secret.as_base32().to_owned(), url: secret.url(&principal.login) })
    }

    /// Takes the new secret into use when `code` shows that the app knows it. The code is spent by that.
    pub async fn confirm_enrolment(&self, principal: &Principal, code: &str) -> Result<(), ReviewError> {
        const DOING: &str = "setting up one-time codes";
        self.reserve_attempt(&principal.login).await?;
        let mut tx = self.write(DOING).await?;
        let row = sqlx::query("SELECT totp_pending FROM users WHERE user_id = $1 AND disabled = 0")
            .bind(&principal.user_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(database(DOING))?
            .ok_or(Refusal::UnknownUser)?;
        let pending: Option<String> = row.try_get(0).map_err(database(DOING))?;
        let secret = TotpSecret(pending.ok_or(ReviewError::NoEnrolment)?);
        let step = secret.step_of(code, self.now()).ok_or(ReviewError::BadCode)?;
        sqlx::query(
            "UPDATE users SET totp_secret = $1, totp_pending = NULL, totp_last_step = $2, second_factor = 'totp' \
             WHERE user_id = $3",
        )
        .bind(secret.as_base32())
        .bind(step)
        .bind(&principal.user_id)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        self.forget_attempts(&principal.login).await
    }

    /// Checks a code and spends it: the same code, or an older one, is never taken again.
    pub(crate) async fn spend_code(
        &self,
        user_id: &str,
        secret: &str,
        code: &str,
    ) -> Result<bool, ReviewError> {
        const DOING: &str = "checking a one-time code";
        let Some(step) = TotpSecret(secret.to_owned()).step_of(code, self.now()) else { return Ok(false) };
        let mut tx = self.write(DOING).await?;
        let done =
            sqlx::query("UPDATE users SET totp_last_step = $1 WHERE user_id = $2 AND totp_last_step < $1")
                .bind(step)
                .bind(user_id)
                .execute(&mut *tx)
                .await
                .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Percent-encodes what has a meaning in an address. Logins are short and mostly plain.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// The ASCII secret `12345678901234567890` of RFC 6238, appendix B.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_rfc_6238() {
        let secret = TotpSecret::parse(RFC).unwrap();
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(secret.code(seconds * 1_000_000), code);
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_further() {
        let secret = TotpSecret::parse(RFC).unwrap();
        let at = 1_111_111_109_000_000;
        let step = 1_111_111_109 / 30;
        for (seconds, found) in
            [(0, Some(step)), (30, Some(step)), (-30, Some(step)), (75, None), (-75, None)]
        {
            assert_eq!(secret.step_of("081 804", at + seconds * 1_000_000), found, "{seconds}");
        }
        assert_eq!(secret.step_of("", at), None);
    }

    #[test]
    fn secrets_are_random_and_stay_out_of_debug() {
        let (one, two) = (TotpSecret::generate(), TotpSecret::generate());
        assert_ne!(one, two);
        assert_eq!(TotpSecret::parse(one.as_base32()).unwrap(), one);
        assert!(!format!("{one:?}").contains(one.as_base32()));
        assert!(TotpSecret::parse("ABC").is_err());
        assert!(one.url("åsa k").starts_with("otpauth://totp/Insyn:%C3%A5sa%20k?secret="));
    }
}
