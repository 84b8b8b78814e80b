//! Sign-in and sessions. A session's token is 256 random bits, known to the browser alone; here lies its hash.

use sqlx::Row;

use crate::{
    db::{Db, commit},
    error::{ReviewError, database},
    people::normal_login,
    principal::Principal,
    token::{hash, secret},
};

/// A session ends after this time without use. µs.
const IDLE: i64 = 30 * 60 * 1_000_000;
/// And after this time in any case.
const ABSOLUTE: i64 = 12 * 3600 * 1_000_000;
/// Use is noted at most this often, so that reading a page does not write each time: a session may so end a minute
/// early, never late.
const NOTE_USE: i64 = 60 * 1_000_000;

/// A successful sign-in.
#[derive(Clone)]
pub struct SignedIn {
    /// For the cookie; is not kept here and cannot be had again.
    pub token: String,
    pub principal: Principal,
    /// µs UTC; the session ends then at the latest.
    pub expires_at: i64,
}

impl Db {
    /// Signs a person in. `code` is the one-time code; it is looked at only where the user has set codes up, and a user
    /// who still has to gets a session that can do nothing else ([`Principal::enrolling`]).
    ///
    /// # Errors
    /// [`ReviewError::SignInRefused`] says the same for an unknown login, a wrong password, a wrong or spent code and a
    /// disabled user, after the same work; [`ReviewError::TooManyAttempts`] after ten failures.
    pub async fn sign_in(&self, login: &str, password: &str, code: &str) -> Result<SignedIn, ReviewError> {
        const DOING: &str = "signing in";
        let login = normal_login(login);
        self.reserve_attempt(&login).await?;
        let row = sqlx::query(
            "SELECT user_id, password, second_factor, totp_secret, disabled FROM users WHERE login = $1",
        )
        .bind(&login)
        .fetch_optional(self.readers())
        .await
        .map_err(database(DOING))?;
        let Some(row) = row else {
            self.verify_password(password, None).await?;
            return Err(ReviewError::SignInRefused);
        };
        let text = |column: &str| row.try_get::<Option<String>, _>(column).map_err(database(DOING));
        let user_id = text("user_id")?.unwrap_or_default();
        let right = self.verify_password(password, text("password")?).await?;
        let disabled = row.try_get::<i64, _>("disabled").map_err(database(DOING))? != 0;
        if !right || disabled {
            return Err(ReviewError::SignInRefused);
        }
        if text("second_factor")?.as_deref() == Some("totp") {
            let totp = text("totp_secret")?.unwrap_or_default();
            if totp.is_empty() || !self.spend_code(&user_id, &totp, code).await? {
                return Err(ReviewError::SignInRefused);
            }
        }
        self.forget_attempts(&login).await?;
        let (token, expires_at) = self.start_session(&user_id).await?;
        let principal = self.principal(&user_id).await?.ok_or(ReviewError::SignInRefused)?;
        Ok(SignedIn { token, principal, expires_at })
    }

    /// Who holds this session token; notes that it was used.
    ///
    /// # Errors
    /// [`ReviewError::NoSession`] when it is unknown, past its time, signed out, or the user was disabled.
    pub async fn session(&self, token: &str) -> Result<Principal, ReviewError> {
        const DOING: &str = "looking up a session";
        let now = self.now();
        let token_hash = hash(token);
        let row = sqlx::query("SELECT user_id, last_seen_at, expires_at FROM sessions WHERE token_hash = $1")
            .bind(&token_hash)
            .fetch_optional(self.readers())
            .await
            .map_err(database(DOING))?
            .ok_or(ReviewError::NoSession)?;
        let user_id: String = row.try_get(0).map_err(database(DOING))?;
        let last_seen: i64 = row.try_get(1).map_err(database(DOING))?;
        let expires: i64 = row.try_get(2).map_err(database(DOING))?;
        if now >= expires || now - last_seen >= IDLE {
            self.sign_out(token).await?;
            return Err(ReviewError::NoSession);
        }
        if now - last_seen >= NOTE_USE {
            let mut tx = self.write(DOING).await?;
            sqlx::query("UPDATE sessions SET last_seen_at = $1 WHERE token_hash = $2 AND last_seen_at < $1")
                .bind(now)
                .bind(&token_hash)
                .execute(&mut *tx)
                .await
                .map_err(database(DOING))?;
            commit(tx, DOING).await?;
        }
        self.principal(&user_id).await?.ok_or(ReviewError::NoSession)
    }

    /// Ends a session. An unknown token is no error: the aim is reached.
    pub async fn sign_out(&self, token: &str) -> Result<(), ReviewError> {
        const DOING: &str = "signing out";
        let mut tx = self.write(DOING).await?;
        sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
            .bind(hash(token))
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        commit(tx, DOING).await
    }

    async fn start_session(&self, user_id: &str) -> Result<(String, i64), ReviewError> {
        const DOING: &str = "starting a session";
        let (now, token) = (self.now(), secret());
        let mut tx = self.write(DOING).await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at <= $1 OR last_seen_at <= $2")
            .bind(now)
            .bind(now - IDLE)
            .execute(&mut *tx)
            .await
            .map_err(database(DOING))?;
        sqlx::query(
            "INSERT INTO sessions (token_hash, user_id, created_at, last_seen_at, expires_at) VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(hash(&token))
        .bind(user_id)
        .bind(now)
        .bind(now + ABSOLUTE)
        .execute(&mut *tx)
        .await
        .map_err(database(DOING))?;
        commit(tx, DOING).await?;
        Ok((token, now + ABSOLUTE))
    }
}
